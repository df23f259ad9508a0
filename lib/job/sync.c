/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sync - see sync.h. Walks source and image side by side; what is new goes the way of an import.
 */
#include "config.h"

#include "job/sync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job/edit.h"
#include "job/import_int.h"
#include "job/listing.h"

#define COMPARE_BYTES	(256u * 1024)

struct sync {
	struct dafs *fs;
	const struct dafs_sync_request *req;
	struct dafs_sync_stats *stats;
	struct dafs_import imp;
	struct dafs_import_stats imp_stats;
};

static void tell(struct sync *sy, enum dafs_sync_change what, const char *path)
{
	uint64_t *const counters[] = {
		[DAFS_SYNC_ADD] = &sy->stats->added, [DAFS_SYNC_UPDATE] = &sy->stats->updated,
		[DAFS_SYNC_ATTR] = &sy->stats->attrs, [DAFS_SYNC_REPLACE] = &sy->stats->replaced,
		[DAFS_SYNC_DELETE] = &sy->stats->deleted,
	};

	++*counters[what];
	if (sy->req->change)
		sy->req->change(sy->req->change_arg, what, path);
}

static bool same_time(struct dafs_time a, struct dafs_time b)
{
	return a.wrapped_sec == b.wrapped_sec && a.nsec == b.nsec;
}

static bool set_within(const struct dafs_xattr *a, const struct dafs_xattr *b)
{
	for (; a; a = a->next) {
		const struct dafs_xattr *other = dafs_xattr_get(b, a->name);

		if (!other || other->value_len != a->value_len ||
		    memcmp(dafs_xattr_value(a), dafs_xattr_value(other), a->value_len))
			return false;
	}
	return true;
}

/* Attributes as the image would have them after an import, beside those it has. */
static bool same_attrs(struct sync *sy, const struct dafs_hostent *ent,
		       const struct dafs_inode *inode)
{
	struct dafs_inode want = *inode;

	dafs_hostattr_fill(sy->fs->ctx, &ent->st, &want);
	if (dafs_inode_is_dev(inode) &&
	    (want.rdev_major != inode->rdev_major || want.rdev_minor != inode->rdev_minor))
		return false;
	return want.mode == inode->mode && ent->st.stx_uid == inode->uid &&
	       ent->st.stx_gid == inode->gid &&
	       (S_ISLNK(want.mode) || same_time(want.mtime, inode->mtime));
}

static errcode_t set_attrs(struct sync *sy, const struct dafs_hostent *ent,
			   struct dafs_inode *inode, struct dafs_xattr *set)
{
	errcode_t err = dafs_ns_touch(sy->fs->ns, inode, DAFS_I_ATTR);

	if (err) {
		dafs_xattr_free(&set);
		return err;
	}
	err = dafs_hostattr_set_xattrs(sy->fs, inode, set);
	if (!err)
		err = dafs_hostattr_apply(sy->fs, &ent->st, inode);
	return err;
}

/* Write the blocks of the host file that differ; then the size. Counts in *differ without writing
 * in a dry run. */
static errcode_t sync_data(struct sync *sy, const struct dafs_hostent *ent,
			   struct dafs_inode *inode, bool *differ)
{
	struct dafs *fs = sy->fs;
	struct dafs_write *w = &fs->write;
	uint64_t size = ent->st.stx_size;
	char *ours = malloc(COMPARE_BYTES), *theirs = malloc(COMPARE_BYTES);
	int fd = openat(ent->dir_fd, ent->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	errcode_t err = !ours || !theirs ? ENOMEM
			: fd < 0	 ? dafs_fail(fs->ctx, errno, "%s", ent->path)
					 : 0;

	*differ = inode->size != size;
	for (uint64_t off = 0; off < size && !err; off += COMPARE_BYTES) {
		ssize_t len = pread(fd, theirs, COMPARE_BYTES, (off_t)off);
		size_t got;

		if (len <= 0) {
			err = dafs_fail(fs->ctx, len ? errno : DAFS_ET_SOURCE_CHANGED, "%s",
					ent->path);
			break;
		}
		err = dafs_delalloc_read(w, inode, ours, (size_t)len, off, &got);
		if (err || (got == (size_t)len && !memcmp(ours, theirs, got)))
			continue;
		*differ = true;
		if (sy->req->dry_run)
			break;
		err = dafs_ns_touch(fs->ns, inode, DAFS_I_DATA | DAFS_I_ATTR);
		if (!err)
			err = dafs_delalloc_write(w, inode, off, theirs, (size_t)len);
		sy->stats->written_bytes += (uint64_t)len;
	}
	if (!err && inode->size != size && !sy->req->dry_run) {
		err = dafs_ns_touch(fs->ns, inode, DAFS_I_DATA | DAFS_I_ATTR);
		if (!err)
			err = dafs_delalloc_truncate(w, inode, size);
	}
	if (fd >= 0)
		close(fd);
	free(ours);
	free(theirs);
	return err;
}

static errcode_t same_target(struct sync *sy, const struct dafs_hostent *ent,
			     struct dafs_inode *inode, bool *same)
{
	char target[4097];
	ssize_t len = readlinkat(ent->dir_fd, ent->name, target, sizeof(target) - 1);
	errcode_t err;

	if (len < 0)
		return dafs_fail(sy->fs->ctx, errno, "%s", ent->path);
	target[len] = '\0';
	err = dafs_ns_target(sy->fs->ns, inode);
	if (!err)
		*same = !strcmp(target, inode->u.target);
	return err;
}

static errcode_t sync_dir(struct sync *sy, struct dafs_hostdir *hostdir,
			  const struct dafs_hostent *self, struct dafs_inode *dir,
			  const char *path);

/* Both sides have the name, with the same type. */
static errcode_t sync_same_type(struct sync *sy, const struct dafs_hostent *ent,
				struct dafs_inode *inode, const char *path)
{
	struct dafs_xattr *set;
	bool data = false, attrs;
	errcode_t err = 0;

	if (S_ISREG(inode->mode) &&
	    (inode->size != ent->st.stx_size ||
	     !same_time(inode->mtime,
			dafs_time_at(ent->st.stx_mtime.tv_sec, ent->st.stx_mtime.tv_nsec))))
		err = sync_data(sy, ent, inode, &data);
	if (!err)
		err = dafs_hostattr_xattrs(sy->fs->ctx, ent, &set);
	if (err)
		return err;
	err = dafs_ns_xattrs(sy->fs->ns, inode);
	attrs = !err && (!same_attrs(sy, ent, inode) || !set_within(set, inode->xattrs) ||
			 !set_within(inode->xattrs, set));
	if (data)
		tell(sy, DAFS_SYNC_UPDATE, path);
	else if (attrs)
		tell(sy, DAFS_SYNC_ATTR, path);
	else
		sy->stats->same++;
	if (!err && (data || attrs) && !sy->req->dry_run)
		return set_attrs(sy, ent, inode, set);
	dafs_xattr_free(&set);
	return err;
}

static errcode_t add_entry(struct sync *sy, struct dafs_hostdir *hostdir, struct dafs_hostent *ent,
			   struct dafs_inode *dir, const char *path)
{
	tell(sy, DAFS_SYNC_ADD, path);
	return sy->req->dry_run ? 0 : dafs_hostscan_entry(&sy->imp, hostdir, ent, dir, ent->name);
}

static errcode_t sync_entry(struct sync *sy, struct dafs_hostdir *hostdir, struct dafs_hostent *ent,
			    struct dafs_inode *dir, const struct dafs_listing_entry *have,
			    const char *path)
{
	struct dafs_hostdir *sub;
	struct dafs_inode *inode;
	bool same = true;
	errcode_t err = dafs_hostattr_stat(sy->fs->ctx, ent);

	if (err || !have)
		return err ? err : add_entry(sy, hostdir, ent, dir, path);
	err = dafs_ns_inode(sy->fs->ns, have->id, &inode);
	if (err)
		return err;
	if ((inode->mode & S_IFMT) != (ent->st.stx_mode & S_IFMT))
		same = false;
	else if (S_ISLNK(inode->mode))
		err = same_target(sy, ent, inode, &same);
	if (err)
		return err;
	if (!same) {
		tell(sy, DAFS_SYNC_REPLACE, path);
		if (sy->req->dry_run)
			return 0;
		err = dafs_edit_remove_tree(sy->fs, dir, ent->name, strlen(ent->name));
		return err ? err : dafs_hostscan_entry(&sy->imp, hostdir, ent, dir, ent->name);
	}
	if (!S_ISDIR(inode->mode))
		return sync_same_type(sy, ent, inode, path);
	err = dafs_hostdir_new(sy->fs->hosts, hostdir, ent->name, &sub);
	return err ? err : sync_dir(sy, sub, ent, inode, path);
}

/* Names of the image's directory that the source does not have. */
static errcode_t remove_extra(struct sync *sy, const struct dafs_listing *have, const bool *seen,
			      struct dafs_inode *dir, const char *path)
{
	char *sub;
	errcode_t err = 0;

	for (size_t i = 0; i < have->n && !err; i++) {
		/* Every ext4 root has a lost+found; a source has none. */
		if (seen[i] || (dir->id == DAFS_ID_ROOT && !strcmp(have->v[i].name, "lost+found")))
			continue;
		if (asprintf(&sub, "%s/%s", strcmp(path, "/") ? path : "", have->v[i].name) < 0)
			return ENOMEM;
		tell(sy, DAFS_SYNC_DELETE, sub);
		if (!sy->req->dry_run)
			err = dafs_edit_remove_tree(sy->fs, dir, have->v[i].name,
						    strlen(have->v[i].name));
		free(sub);
	}
	return err;
}

static errcode_t sync_names(struct sync *sy, struct dafs_hostdir *hostdir, int fd,
			    const struct dafs_hostent *self, struct dafs_inode *dir,
			    const char *path)
{
	struct dafs_listing have = { 0 };
	struct dafs_names names = { 0 };
	bool *seen = NULL;
	errcode_t err = dafs_listing_read(sy->fs, dir, &have);

	if (!err)
		err = dafs_names_read(sy->fs->ctx, fd, self->path, &names);
	if (!err && have.n && !(seen = calloc(have.n, sizeof(*seen))))
		err = ENOMEM;
	if (!err && sy->req->remove_extra) {
		for (size_t i = 0; i < names.n; i++) {
			const struct dafs_listing_entry *e =
				dafs_listing_find(&have, dafs_names_get(&names, i));

			if (e)
				seen[e - have.v] = true;
		}
		err = remove_extra(sy, &have, seen, dir, path);
	}
	for (size_t i = 0; i < names.n && !err; i++) {
		const char *name = dafs_names_get(&names, i);
		char *host = NULL, *sub = NULL;

		if (asprintf(&host, "%s/%s", self->path, name) < 0 ||
		    asprintf(&sub, "%s/%s", strcmp(path, "/") ? path : "", name) < 0)
			err = ENOMEM;
		if (!err) {
			struct dafs_hostent ent = { .dir_fd = fd, .name = name, .path = host };

			err = sync_entry(sy, hostdir, &ent, dir, dafs_listing_find(&have, name),
					 sub);
		}
		free(host);
		free(sub);
	}
	free(seen);
	dafs_names_fini(&names);
	dafs_listing_fini(&have);
	return err;
}

/* self names the host directory (dir_fd and name); its attributes come last. */
static errcode_t sync_dir(struct sync *sy, struct dafs_hostdir *hostdir,
			  const struct dafs_hostent *self, struct dafs_inode *dir, const char *path)
{
	struct dafs_hostent inside = *self;
	int fd = openat(self->dir_fd, self->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	errcode_t err;

	if (fd < 0)
		return dafs_fail(sy->fs->ctx, errno, "%s", self->path);
	inside.dir_fd = fd;
	inside.name = ".";
	err = sync_names(sy, hostdir, fd, self, dir, path);
	if (!err)
		err = sync_same_type(sy, &inside, dir, path);
	close(fd);
	return err;
}

errcode_t dafs_sync_run(struct dafs *fs, const struct dafs_sync_request *req,
			struct dafs_sync_stats *stats)
{
	struct sync sy = { .fs = fs, .req = req, .stats = stats };
	struct dafs_hostent self = { .dir_fd = AT_FDCWD, .name = req->src, .path = req->src };
	struct dafs_hostdir *hostdir;
	struct dafs_inode *dst;
	bool made = false;
	errcode_t err = 0;

	memset(stats, 0, sizeof(*stats));
	sy.imp = (struct dafs_import){ .fs = fs, .stats = &sy.imp_stats };
	if (statx(AT_FDCWD, req->src, 0, STATX_BASIC_STATS, &self.st))
		return dafs_fail(fs->ctx, errno, "%s", req->src);
	if (!S_ISDIR(self.st.stx_mode))
		return dafs_fail(fs->ctx, ENOTDIR, "%s", req->src);
	if (req->dry_run)
		err = dafs_ns_lookup(fs->ns, req->dst, DAFS_NS_FOLLOW, &dst);
	else
		err = dafs_edit_make_dirs(fs, req->dst, 0755, &dst, &made);
	if (!err && !fs->hosts)
		err = dafs_hostsrcs_new(&fs->hosts);
	if (!err)
		err = dafs_hostdir_new(fs->hosts, NULL, req->src, &hostdir);
	if (!err)
		err = sync_dir(&sy, hostdir, &self, dst, req->dst);
	dafs_hostscan_done(&sy.imp);
	return dafs_session_fail(fs, err, req->dst);
}
