/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * import - see import.h: the entry points, and how one entry meets what the image has under its
 * name.
 */
#include "config.h"

#include "job/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job/edit.h"
#include "job/import_int.h"

/* What is called name now, NULL when nothing is. New directories have nothing in the image: ns
 * answers from memory. */
static errcode_t existing(struct dafs_import *imp, struct dafs_inode *dir, const char *name,
			  struct dafs_inode **ret)
{
	errcode_t err = dafs_ns_child(imp->fs->ns, dir, name, strlen(name), ret);

	if (err != ENOENT)
		return err;
	imp->fs->ctx->detail[0] = '\0';
	*ret = NULL;
	return 0;
}

errcode_t dafs_import_entry(struct dafs_import *imp, struct dafs_inode *dir, const char *name,
			    uint16_t mode, const char *target, struct dafs_inode **ret, bool *made)
{
	struct dafs_ns *ns = imp->fs->ns;
	size_t len = strlen(name);
	struct dafs_inode *old;
	errcode_t err = existing(imp, dir, name, &old);

	*made = false;
	if (err)
		return err;
	if (old && S_ISDIR(old->mode) && S_ISDIR(mode)) {
		*ret = old;
		return dafs_ns_touch(ns, old, DAFS_I_ATTR);
	}
	if (old && S_ISDIR(old->mode) != S_ISDIR(mode))
		return S_ISDIR(mode) ? ENOTDIR : EISDIR;
	if (old)
		err = dafs_ns_unlink(ns, dir, name, len, false);
	if (err)
		return err;
	*made = true;
	if (S_ISLNK(mode))
		return dafs_ns_symlink(ns, dir, name, len, target, ret);
	return dafs_ns_create(ns, dir, name, len, mode, ret);
}

errcode_t dafs_import_link(struct dafs_import *imp, struct dafs_inode *dir, const char *name,
			   struct dafs_inode *inode)
{
	struct dafs_inode *old;
	errcode_t err = existing(imp, dir, name, &old);

	if (err || old == inode)
		return err;
	if (old && S_ISDIR(old->mode))
		return EISDIR;
	if (old)
		err = dafs_ns_unlink(imp->fs->ns, dir, name, strlen(name), false);
	return err ? err : dafs_ns_link(imp->fs->ns, dir, name, strlen(name), inode);
}

static errcode_t need_hosts(struct dafs *fs)
{
	return fs->hosts ? 0 : dafs_hostsrcs_new(&fs->hosts);
}

/* The contents of the host directory that self names. */
static errcode_t import_dir(struct dafs_import *imp, const struct dafs_hostent *self,
			    struct dafs_inode *dst)
{
	struct dafs_ctx *ctx = imp->fs->ctx;
	struct dafs_hostdir *hostdir;
	int fd = open(self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dafs_hostent inside = *self;
	errcode_t err;

	if (fd < 0)
		return dafs_fail(ctx, errno, "%s", self->path);
	inside.dir_fd = fd;
	inside.name = ".";
	err = need_hosts(imp->fs);
	if (!err)
		err = dafs_hostdir_new(imp->fs->hosts, NULL, self->path, &hostdir);
	if (!err)
		err = dafs_hostscan_dir(imp, hostdir, fd, &inside, dst);
	close(fd);
	return err;
}

errcode_t dafs_import_run(struct dafs *fs, const char *src, const char *dst_dir,
			  struct dafs_import_stats *stats)
{
	struct dafs_import imp = { .fs = fs, .stats = stats };
	struct dafs_hostent self = { .dir_fd = AT_FDCWD, .name = src, .path = src };
	struct dafs_inode *dst;
	bool from_dir = false, made;
	errcode_t err;

	memset(stats, 0, sizeof(*stats));
	if (strcmp(src, "-")) {
		if (statx(AT_FDCWD, src, 0, STATX_BASIC_STATS, &self.st))
			return dafs_fail(fs->ctx, errno, "%s", src);
		from_dir = S_ISDIR(self.st.stx_mode);
	}
	err = dafs_edit_make_dirs(fs, dst_dir, 0755, &dst, &made);
	if (err)
		return err;
	err = from_dir ? import_dir(&imp, &self, dst) : dafs_tarin_run(&imp, src, dst);
	dafs_hostscan_done(&imp);
	return err;
}

errcode_t dafs_import(struct dafs *fs, const char *src, const char *dst_dir)
{
	struct dafs_import_stats stats;

	return dafs_import_run(fs, src, dst_dir, &stats);
}

/* The last component of a host path; "." where it has none of its own. */
static char *base_name(const char *path)
{
	size_t end = strlen(path), start;

	while (end > 1 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/'; start--)
		;
	return strndup(path + start, end - start);
}

static errcode_t put_one(struct dafs_import *imp, const char *src, struct dafs_inode *dir,
			 const char *name)
{
	struct dafs_hostent ent = { .dir_fd = AT_FDCWD, .name = src, .path = src };
	struct dafs_hostdir *hostdir = NULL;
	errcode_t err = dafs_hostattr_stat(imp->fs->ctx, &ent);

	if (err)
		return err;
	if (!strcmp(name, ".") || !strcmp(name, "..") || !*name || !strcmp(name, "/"))
		return dafs_fail(imp->fs->ctx, EINVAL, "%s has no name of its own", src);
	err = need_hosts(imp->fs);
	if (!err)
		err = dafs_hostdir_new(imp->fs->hosts, NULL, ".", &hostdir);
	return err ? err : dafs_hostscan_entry(imp, hostdir, &ent, dir, name);
}

/* Directory and name for the one source that may become dst itself. */
static errcode_t put_place(struct dafs *fs, const char *dst, struct dafs_inode **dir, char **name)
{
	const char *at;
	size_t len;
	errcode_t err = dafs_ns_parent(fs->ns, dst, dir, &at, &len);

	if (err)
		return dafs_session_fail(fs, err, dst);
	*name = strndup(at, len);
	return *name ? 0 : ENOMEM;
}

errcode_t dafs_put_run(struct dafs *fs, char *const *srcs, size_t nsrcs, const char *dst,
		       struct dafs_import_stats *stats)
{
	struct dafs_import imp = { .fs = fs, .stats = stats };
	struct dafs_inode *dir = NULL;
	size_t dst_len = strlen(dst);
	errcode_t err = dafs_ns_lookup(fs->ns, dst, DAFS_NS_FOLLOW, &dir);
	bool into = !err && S_ISDIR(dir->mode);

	memset(stats, 0, sizeof(*stats));
	if (err && err != ENOENT)
		return dafs_session_fail(fs, err, dst);
	if (!into && nsrcs > 1)
		return dafs_fail(fs->ctx, ENOTDIR, "%s", dst);
	if (err && dst_len && dst[dst_len - 1] == '/')
		return dafs_fail(fs->ctx, ENOENT, "%s", dst);
	fs->ctx->detail[0] = '\0';
	err = 0;
	for (size_t i = 0; i < nsrcs && !err; i++) {
		char *name = NULL;

		if (!into)
			err = put_place(fs, dst, &dir, &name);
		else if (!(name = base_name(srcs[i])))
			err = ENOMEM;
		if (!err)
			err = put_one(&imp, srcs[i], dir, name);
		free(name);
	}
	dafs_hostscan_done(&imp);
	return err;
}

errcode_t dafs_put(struct dafs *fs, const char *src, const char *dst)
{
	struct dafs_import_stats stats;
	char *const srcs[] = { (char *)src };

	return dafs_put_run(fs, srcs, 1, dst, &stats);
}
