/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostscan - host trees into the pending name space (import.h).
 *
 * One pass: a directory's names are read and sorted, each is looked at once (statx, xattrs), files
 * first in the pass as they come, a subdirectory's contents when its name is reached. Contents are
 * not read here where the session adopts host files. A directory's own attributes are set after its
 * contents, whose creation changes its times.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
/* Out of memory is an error to return, not the end of the process. */
#ifndef HASH_NONFATAL_OOM
#define HASH_NONFATAL_OOM 1
#endif
#include <uthash.h>

#include "job/import_int.h"

#define PROGRESS_EVERY	512u
/* A level costs stack and a descriptor. */
enum { DEPTH_MOST = 4096 };

struct dafs_hardlink {
	struct host_id {
		uint64_t dev, ino;
	} key;
	uint64_t id;
	UT_hash_handle hh;
};

static struct dafs_hardlink *find_link(struct dafs_import *imp, const struct statx *st)
{
	struct host_id key = { makedev(st->stx_dev_major, st->stx_dev_minor), st->stx_ino };
	struct dafs_hardlink *link;

	HASH_FIND(hh, imp->links, &key, sizeof(key), link);
	return link;
}

static errcode_t add_link(struct dafs_import *imp, const struct statx *st, uint64_t id)
{
	struct dafs_hardlink *link = calloc(1, sizeof(*link));

	if (!link)
		return ENOMEM;
	link->key = (struct host_id){ makedev(st->stx_dev_major, st->stx_dev_minor), st->stx_ino };
	link->id = id;
	HASH_ADD(hh, imp->links, key, sizeof(link->key), link);
	if (link->hh.tbl)
		return 0;
	free(link);
	return ENOMEM;
}

void dafs_hostscan_done(struct dafs_import *imp)
{
	struct dafs_hardlink *link, *next;

	HASH_ITER(hh, imp->links, link, next) {
		HASH_DEL(imp->links, link);
		free(link);
	}
}

/* Bytes of an open host file into the spool: its data ranges, then the size. */
static errcode_t spool_file(struct dafs_import *imp, int fd, const struct dafs_hostent *ent,
			    const struct dafs_extlist *data, bool whole, struct dafs_inode *inode)
{
	struct dafs_write *w = &imp->fs->write;
	uint64_t size = ent->st.stx_size, block_size = imp->fs->img->block_size;
	errcode_t err = 0;

	if (whole)
		return dafs_delalloc_write_fd(w, inode, 0, fd, 0, size);
	for (size_t i = 0; i < data->n && !err; i++) {
		uint64_t from = data->v[i].lblk * block_size,
			 to = from + data->v[i].len * block_size;

		err = dafs_delalloc_write_fd(w, inode, from, fd, (int64_t)from,
					     (to < size ? to : size) - from);
	}
	return err ? err : dafs_delalloc_truncate(w, inode, size);
}

static errcode_t file_data(struct dafs_import *imp, struct dafs_hostdir *hostdir,
			   const struct dafs_hostent *ent, struct dafs_inode *inode)
{
	struct dafs *fs = imp->fs;
	uint64_t size = ent->st.stx_size;
	bool whole = ent->st.stx_blocks >= (size + 511) / 512;
	struct dafs_extlist data = { 0 };
	struct dafs_source *src;
	errcode_t err = 0;
	int fd = -1;

	if (!size)
		return 0;
	if (!whole || !fs->adopt) {
		fd = openat(ent->dir_fd, ent->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return dafs_fail(fs->ctx, errno, "%s", ent->path);
	}
	if (!whole)
		err = dafs_hostattr_data(fs->ctx, fd, ent->path, size, fs->img->block_size, &data,
					 &whole);
	if (!err && !fs->adopt)
		err = spool_file(imp, fd, ent, &data, whole, inode);
	else if (!err)
		err = dafs_hostsrc_new(fs->hosts, hostdir, ent->name, size, &src);
	if (!err && fs->adopt)
		err = dafs_delalloc_adopt(&fs->write, inode, src, size, whole ? NULL : &data);
	if (fd >= 0)
		close(fd);
	dafs_extlist_fini(&data);
	imp->stats->files++;
	imp->stats->bytes += size;
	return dafs_session_fail(fs, err, ent->path);
}

/* malloc'ed: a directory's frame is on the stack once a level. */
static errcode_t read_target(struct dafs_ctx *ctx, const struct dafs_hostent *ent, char **target)
{
	enum { ROOM = 4097 };
	char *buf = malloc(ROOM);
	ssize_t len = buf ? readlinkat(ent->dir_fd, ent->name, buf, ROOM) : 0;

	*target = buf;
	if (!buf)
		return ENOMEM;
	if (len < 0)
		return dafs_fail(ctx, errno, "%s", ent->path);
	if (len >= ROOM)
		return dafs_fail(ctx, ENAMETOOLONG, "%s", ent->path);
	buf[len] = '\0';
	return 0;
}

static errcode_t descend(struct dafs_import *imp, struct dafs_hostdir *hostdir,
			 struct dafs_hostent *ent, struct dafs_inode *dir)
{
	struct dafs_hostdir *sub;
	int fd;
	errcode_t err;

	if (imp->depth == DEPTH_MOST)
		return dafs_fail(imp->fs->ctx, ENAMETOOLONG, "more than %d directories deep: %s",
				 DEPTH_MOST, ent->path);
	fd = openat(ent->dir_fd, ent->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return dafs_fail(imp->fs->ctx, errno, "%s", ent->path);
	imp->depth++;
	err = dafs_hostdir_new(imp->fs->hosts, hostdir, ent->name, &sub);
	if (!err)
		err = dafs_hostscan_dir(imp, sub, fd, ent, dir);
	imp->depth--;
	close(fd);
	return err;
}

/* A second name of a file that came before: *done says it was one. */
static errcode_t link_again(struct dafs_import *imp, const struct dafs_hostent *ent,
			    struct dafs_inode *dir, const char *name, bool *done)
{
	struct dafs_hardlink *link = NULL;
	struct dafs_inode *inode;
	errcode_t err;

	if (ent->st.stx_nlink > 1 && !S_ISDIR(ent->st.stx_mode))
		link = find_link(imp, &ent->st);
	*done = link;
	if (!link)
		return 0;
	err = dafs_ns_inode(imp->fs->ns, link->id, &inode);
	return err ? err : dafs_import_link(imp, dir, name, inode);
}

errcode_t dafs_hostscan_entry(struct dafs_import *imp, struct dafs_hostdir *hostdir,
			      struct dafs_hostent *ent, struct dafs_inode *dir, const char *name)
{
	struct dafs *fs = imp->fs;
	char *target = NULL;
	struct dafs_xattr *set;
	struct dafs_inode *inode;
	bool made, done;
	errcode_t err = dafs_cancelled(fs->ctx);

	if (!err)
		err = link_again(imp, ent, dir, name, &done);
	if (!err && done)
		return 0;
	if (!err && S_ISLNK(ent->st.stx_mode))
		err = read_target(fs->ctx, ent, &target);
	if (!err)
		err = dafs_import_entry(imp, dir, name, ent->st.stx_mode, target ? target : "",
					&inode, &made);
	free(target);
	if (err)
		return dafs_session_fail(fs, err, ent->path);
	if (++imp->stats->entries % PROGRESS_EVERY == 0)
		dafs_progress(fs->ctx, "scanning", imp->stats->entries, 0);
	if (S_ISDIR(ent->st.stx_mode))
		return descend(imp, hostdir, ent, inode);
	err = dafs_hostattr_apply(fs, &ent->st,
				  inode); /* the owner decides who pays for the blocks */
	if (!err && S_ISREG(ent->st.stx_mode) && ent->st.stx_size)
		err = dafs_ns_touch(fs->ns, inode, DAFS_I_DATA);
	if (!err && S_ISREG(ent->st.stx_mode))
		err = file_data(imp, hostdir, ent, inode);
	dafs_hostattr_fill(fs->ctx, &ent->st, inode);
	if (!err)
		err = dafs_hostattr_xattrs(fs->ctx, ent, &set);
	if (!err)
		err = dafs_hostattr_set_xattrs(fs, inode, set);
	if (!err && ent->st.stx_nlink > 1)
		err = add_link(imp, &ent->st, inode->id);
	return dafs_session_fail(fs, err, ent->path);
}

static errcode_t scan_names(struct dafs_import *imp, struct dafs_hostdir *hostdir, int dir_fd,
			    const char *dir_path, const struct dafs_names *names,
			    struct dafs_inode *dir)
{
	size_t path_len = strlen(dir_path);
	char *path = malloc(path_len + 258);
	struct dafs_hostent ent = { .dir_fd = dir_fd, .path = path };
	errcode_t err = path ? 0 : ENOMEM;

	if (path) {
		memcpy(path, dir_path, path_len);
		if (path_len && path[path_len - 1] != '/')
			path[path_len++] = '/';
	}
	for (size_t i = 0; i < names->n && !err; i++) {
		ent.name = dafs_names_get(names, i);
		strcpy(path + path_len, ent.name);
		err = dafs_hostattr_stat(imp->fs->ctx, &ent);
		if (!err)
			err = dafs_hostscan_entry(imp, hostdir, &ent, dir, ent.name);
	}
	free(path);
	return err;
}

errcode_t dafs_hostscan_dir(struct dafs_import *imp, struct dafs_hostdir *hostdir, int dir_fd,
			    const struct dafs_hostent *self, struct dafs_inode *dir)
{
	struct dafs_ctx *ctx = imp->fs->ctx;
	struct dafs_names names = { 0 };
	struct dafs_xattr *set;
	errcode_t err = dafs_names_read(ctx, dir_fd, self->path, &names);

	if (!err)
		err = scan_names(imp, hostdir, dir_fd, self->path, &names, dir);
	dafs_names_fini(&names);
	if (!err)
		err = dafs_ns_touch(imp->fs->ns, dir, DAFS_I_ATTR);
	if (!err)
		err = dafs_hostattr_xattrs(ctx, self, &set);
	if (!err)
		err = dafs_hostattr_set_xattrs(imp->fs, dir, set);
	if (!err)
		err = dafs_hostattr_apply(imp->fs, &self->st, dir);
	imp->stats->dirs++;
	return err;
}
