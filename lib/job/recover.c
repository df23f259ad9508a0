/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * recover - see recover.h.
 *
 * Three walks over the cache: the first makes directories and files, the second what could lead out
 * of the target (symbolic links, devices), the third gives directories their attributes, times
 * among them. Everything is made under the target, which is new and the caller's alone.
 */
#include "config.h"

#include "job/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef HASH_NONFATAL_OOM
#define HASH_NONFATAL_OOM 1
#endif
#include <uthash.h>

#include "image/beside.h"
#include "job/extract.h"
#include "store/recover.h"

enum { DEPTH_MAX = 1024, CHUNK_BLKS = 64 };

/* The names of one inode. */
struct entry {
	uint64_t dir;
	struct entry *next;
	char name[EXT2_NAME_LEN + 1];
};
struct names {
	uint64_t id;
	bool seen; /* the inode is there */
	struct entry *first;
	UT_hash_handle hh;
};

struct recover {
	struct dafs_ctx *ctx;
	struct dafs_image *img;
	struct dafs_store *st;
	const struct dafs_recover_request *req;
	struct dafs_recover_stats *stats;
	struct names *names; /* by id */
	int dir_fd;	     /* the target */
	enum { FILES, LINKS, DIRS, WALKS } walk;
};

__attribute__((format(printf, 2, 3))) static void note(struct recover *r, const char *fmt, ...)
{
	char line[5000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (r->req->note)
		r->req->note(r->req->arg, line);
}

static void note_lost(void *arg, const char *line)
{
	struct recover *r = arg;

	if (r->walk != FILES)
		return;
	r->stats->lost++;
	note(r, "lost: %s", line);
}

/* --- paths --- */

static errcode_t take_name(void *arg, uint64_t dir, const struct dafs_ns_name *name)
{
	struct recover *r = arg;
	struct entry *entry, **at;
	struct names *of;

	if (r->walk != FILES ||
	    (name->name[0] == '.' &&
	     (name->name_len == 1 || (name->name_len == 2 && name->name[1] == '.'))))
		return 0;
	HASH_FIND(hh, r->names, &name->id, sizeof(name->id), of);
	if (!of) {
		of = calloc(1, sizeof(*of));
		if (!of)
			return ENOMEM;
		of->id = name->id;
		HASH_ADD(hh, r->names, id, sizeof(of->id), of);
		if (!of->hh.tbl) {
			free(of);
			return ENOMEM;
		}
	}
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return ENOMEM;
	entry->dir = dir;
	memcpy(entry->name, name->name, name->name_len);
	for (at = &of->first; *at; at = &(*at)->next)
		;
	*at = entry;
	return 0;
}

static void free_names(struct recover *r)
{
	struct names *of, *next;

	HASH_ITER(hh, r->names, of, next) {
		HASH_DEL(r->names, of);
		while (of->first) {
			struct entry *entry = of->first;

			of->first = entry->next;
			free(entry);
		}
		free(of);
	}
}

static bool is_one(void *arg, uint32_t ino)
{
	return ino == *(const uint32_t *)arg;
}

/* The path that the image has for one of its inodes, without the first slash; NULL: none. */
static char *image_path(struct recover *r, uint32_t ino)
{
	struct dafs_inspect_names found = { 0 };
	char *dir = NULL, *path = NULL;

	(void)!dafs_inspect_names_find(r->img, false, is_one, &ino, &found);
	if (found.n && !dafs_inspect_dir_path(r->img, found.v[0].dir, &dir) && dir[0] != '<' &&
	    asprintf(&path, "%s/%s", dir, found.v[0].name) < 0)
		path = NULL;
	if (path)
		memmove(path, path + 1, strlen(path));
	free(dir);
	dafs_inspect_names_fini(&found);
	return path;
}

static char *path_of(struct recover *r, uint64_t id, unsigned depth);

static char *path_in(struct recover *r, const struct entry *entry, unsigned depth)
{
	char *dir = path_of(r, entry->dir, depth + 1), *path;

	if (!dir || asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", entry->name) < 0)
		path = NULL;
	free(dir);
	return path;
}

/* Where an inode goes, relative to the target: by its first pending name, by the image's, or
 * without one. NULL: no memory. */
static char *path_of(struct recover *r, uint64_t id, unsigned depth)
{
	struct names *of;
	char *path = NULL;

	if (id == DAFS_ID_ROOT)
		return strdup("");
	HASH_FIND(hh, r->names, &id, sizeof(id), of);
	if (of && depth < DEPTH_MAX)
		return path_in(r, of->first, depth);
	if (!of && id < DAFS_ID_NEW && r->stats->why != DAFS_ET_CACHE_FOREIGN)
		path = image_path(r, (uint32_t)id);
	if (!path && asprintf(&path, "lost+found/#%" PRIu64, id) < 0)
		path = NULL;
	return path;
}

/* Make the directories above path. */
static errcode_t make_above(struct recover *r, char *path)
{
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		int bad;

		*slash = '\0';
		bad = mkdirat(r->dir_fd, path, 0700) && errno != EEXIST ? errno : 0;
		*slash = '/';
		if (bad)
			return dafs_fail(r->ctx, bad, "%s/%s", r->stats->target, path);
	}
	return 0;
}

/* --- contents --- */

/* Attributes of an open file or directory. What the host does not take is not worth losing the rest
 * for. */
static void set_attributes(struct recover *r, const struct dafs_inode *inode, int fd,
			   const char *path)
{
	struct dafs_inspect *as = calloc(1, sizeof(*as));

	if (!as)
		return;
	as->attr = *inode;
	if (S_ISDIR(inode->mode))
		as->attr.mode |= 0700;
	if (dafs_extract_owner(r->img, as, fd, path))
		note(r, "%s: its owner could not be set", path);
	for (const struct dafs_xattr *x = inode->xattrs; x; x = x->next) {
		if (fsetxattr(fd, x->name, dafs_xattr_value(x), x->value_len, 0))
			note(r, "%s: extended attribute %s could not be set", path, x->name);
	}
	if (dafs_extract_mode(r->img, as, fd, path))
		note(r, "%s: its mode or times could not be set", path);
	free(as);
}

/* The image's part of a file of which only some is pending. */
static errcode_t put_base(struct recover *r, const struct dafs_inode *inode, int fd,
			  const char *path)
{
	const struct dafs_file *file = inode->state & DAFS_I_WHOLE ? NULL : inode->u.file;
	struct dafs_inspect *in;
	errcode_t err;

	if (inode->id >= DAFS_ID_NEW || inode->state & (DAFS_I_TRUNC0 | DAFS_I_WHOLE) ||
	    r->stats->why == DAFS_ET_CACHE_FOREIGN)
		return 0;
	in = calloc(1, sizeof(*in));
	if (!in)
		return ENOMEM;
	err = dafs_inspect_load(r->img, (uint32_t)inode->id, in);
	if (!err && S_ISREG(in->attr.mode) && in->attr.generation == inode->generation)
		err = dafs_extract_data(r->img, in, fd, true, path);
	dafs_inspect_fini(in);
	free(in);
	note(r, "%s: put together from the image as it is now and what was pending%s", path,
	     err ? ", where the image could be read" : "");
	for (size_t i = 0; file && i < file->punched.n; i++) {
		const struct dafs_extent *e = &file->punched.v[i];

		(void)!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)((uint64_t)e->lblk << r->img->block_bits),
				 (off_t)((uint64_t)e->len << r->img->block_bits));
	}
	if (file && file->image_end_lblk != UINT32_MAX)
		(void)!ftruncate(fd, (off_t)((uint64_t)file->image_end_lblk << r->img->block_bits));
	return 0;
}

static errcode_t put_blocks(struct recover *r, const struct dafs_page_run *run, uint32_t from,
			    uint32_t n, int fd, uint8_t *buf)
{
	size_t len = (size_t)n << r->img->block_bits;
	uint64_t skip = (uint64_t)from << r->img->block_bits;
	off_t at = (off_t)(((uint64_t)run->lblk << r->img->block_bits) + skip);
	errcode_t err = 0;

	if (run->src)
		err = run->src->ops->read(run->src, r->ctx, buf, len, run->src_off_bytes + skip);
	else
		memset(buf, 0, len);
	if (!err && pwrite(fd, buf, len, at) != (ssize_t)len)
		return dafs_fail(r->ctx, errno ? errno : EIO, "%s", r->stats->target);
	if (!err)
		r->stats->bytes += len;
	return err == EIO || err == DAFS_ET_CACHE_DATA || err == DAFS_ET_CACHE_DAMAGED ||
			       err == EBADF
		       ? DAFS_ET_CACHE_DATA
		       : err;
}

/* Each block that can be read; what cannot is a hole, or what the image has there. */
static errcode_t put_run(struct recover *r, const struct dafs_page_run *run, int fd,
			 const char *path)
{
	uint8_t *buf = malloc((size_t)CHUNK_BLKS << r->img->block_bits);
	errcode_t err = buf ? 0 : ENOMEM;

	for (uint32_t at = 0; !err && at < run->len; at += CHUNK_BLKS) {
		uint32_t n = run->len - at < CHUNK_BLKS ? run->len - at : CHUNK_BLKS;

		err = put_blocks(r, run, at, n, fd, buf);
		if (err != DAFS_ET_CACHE_DATA)
			continue;
		err = 0;
		for (uint32_t i = 0; i < n && !err; i++) {
			err = put_blocks(r, run, at + i, 1, fd, buf);
			if (err != DAFS_ET_CACHE_DATA)
				continue;
			r->stats->lost++;
			note(r, "lost: %s: block %" PRIu64, path, (uint64_t)run->lblk + at + i);
			err = 0;
		}
	}
	free(buf);
	return err;
}

/* Bytes that nothing vouches for any more are worth having, for who knows that. */
static void note_unsummed(struct recover *r, uint64_t before, const char *path)
{
	uint64_t n = dafs_recover_unsummed_blks(r->st) - before;

	if (n)
		note(r, "not checked: %s: %" PRIu64 " blocks have lost their checksums", path, n);
	r->stats->unchecked += n;
}

static errcode_t put_contents(struct recover *r, const struct dafs_inode *inode, int fd,
			      const char *path)
{
	uint64_t unsummed = dafs_recover_unsummed_blks(r->st);
	struct dafs_page_run run;
	errcode_t err = put_base(r, inode, fd, path);

	if (!(inode->state & DAFS_I_WHOLE) && inode->u.file) {
		for (uint32_t at = 0;
		     !err && dafs_pagecache_find(&inode->u.file->pages, at, UINT32_MAX, &run);
		     at = run.lblk + run.len)
			err = put_run(r, &run, fd, path);
	}
	if (!err && ftruncate(fd, (off_t)inode->size))
		err = dafs_fail(r->ctx, errno, "%s", path);
	note_unsummed(r, unsummed, path);
	return err;
}

/* --- inodes --- */

static errcode_t save_file(struct recover *r, const struct dafs_inode *inode, char **path)
{
	int fd = openat(r->dir_fd, *path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);
	errcode_t err;
	char *other;

	/* Two of a name: one of them was to replace the other. */
	if (fd < 0 && (errno == EEXIST || errno == EISDIR) &&
	    asprintf(&other, "%s.#%" PRIu64, *path, inode->id) >= 0) {
		free(*path);
		*path = other;
		fd = openat(r->dir_fd, *path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
	}
	if (fd < 0)
		return dafs_fail(r->ctx, errno, "%s/%s", r->stats->target, *path);
	err = put_contents(r, inode, fd, *path);
	if (!err)
		set_attributes(r, inode, fd, *path);
	if (close(fd) && !err)
		err = dafs_fail(r->ctx, errno, "%s/%s", r->stats->target, *path);
	r->stats->files += !err;
	return err;
}

static errcode_t save_dir(struct recover *r, const struct dafs_inode *inode, const char *path)
{
	int fd;

	if (mkdirat(r->dir_fd, path, 0700) && errno != EEXIST)
		return dafs_fail(r->ctx, errno, "%s/%s", r->stats->target, path);
	fd = openat(r->dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return dafs_fail(r->ctx, errno, "%s/%s", r->stats->target, path);
	if (r->walk == DIRS)
		set_attributes(r, inode, fd, path);
	else
		r->stats->dirs++;
	close(fd);
	return 0;
}

/* Symbolic links, devices, pipes. */
static errcode_t save_other(struct recover *r, const struct dafs_inode *inode, const char *path)
{
	const struct timespec times[2] = {
		{ .tv_sec = dafs_time_sec(inode->atime), .tv_nsec = inode->atime.nsec },
		{ .tv_sec = dafs_time_sec(inode->mtime), .tv_nsec = inode->mtime.nsec },
	};
	dev_t dev = makedev(inode->rdev_major, inode->rdev_minor);
	int bad;

	if (S_ISLNK(inode->mode))
		bad = inode->u.target ? symlinkat(inode->u.target, r->dir_fd, path) : -1;
	else
		bad = mknodat(r->dir_fd, path, inode->mode, dev);
	if (bad) {
		r->stats->lost++;
		note(r, "lost: %s: %s", path,
		     S_ISLNK(inode->mode) ? "symbolic link" : "special file");
		return 0;
	}
	if (!geteuid())
		(void)!fchownat(r->dir_fd, path, inode->uid, inode->gid, AT_SYMLINK_NOFOLLOW);
	(void)!utimensat(r->dir_fd, path, times, AT_SYMLINK_NOFOLLOW);
	r->stats->others++;
	return 0;
}

/* The other names of a file. */
static errcode_t save_links(struct recover *r, const struct dafs_inode *inode, const char *path)
{
	const struct entry *entry;
	struct names *of;
	errcode_t err = 0;

	HASH_FIND(hh, r->names, &inode->id, sizeof(inode->id), of);
	for (entry = of ? of->first->next : NULL; entry && !err; entry = entry->next) {
		char *other = path_in(r, entry, 0);

		err = other ? make_above(r, other) : ENOMEM;
		if (!err && linkat(r->dir_fd, path, r->dir_fd, other, 0))
			note(r, "%s: could not be linked to %s", other, path);
		free(other);
	}
	return err;
}

static bool in_walk(const struct recover *r, const struct dafs_inode *inode)
{
	switch (r->walk) {
	case FILES:
		return S_ISREG(inode->mode) || S_ISDIR(inode->mode);
	case LINKS:
		return !S_ISREG(inode->mode) && !S_ISDIR(inode->mode);
	default:
		return S_ISDIR(inode->mode);
	}
}

/* Is there anything of it to be saved that the image does not have? */
static bool is_pending(const struct dafs_inode *inode)
{
	if (inode->state & DAFS_I_GONE)
		return false;
	return inode->state & (DAFS_I_NEW | DAFS_I_DATA);
}

static errcode_t save_inode(void *arg, const struct dafs_inode *inode)
{
	struct recover *r = arg;
	errcode_t err = dafs_cancelled(r->ctx);
	struct names *of;
	char *path;

	HASH_FIND(hh, r->names, &inode->id, sizeof(inode->id), of);
	if (of)
		of->seen = true;
	if (err || !is_pending(inode) || inode->id == DAFS_ID_ROOT || !in_walk(r, inode))
		return err;
	path = path_of(r, inode->id, 0);
	if (!path)
		return ENOMEM;
	err = make_above(r, path);
	if (!err && S_ISREG(inode->mode))
		err = save_file(r, inode, &path);
	else if (!err && S_ISDIR(inode->mode))
		err = save_dir(r, inode, path);
	else if (!err)
		err = save_other(r, inode, path);
	if (!err && !S_ISDIR(inode->mode))
		err = save_links(r, inode, path);
	free(path);
	return err;
}

/* --- the whole --- */

static errcode_t make_target(struct recover *r)
{
	char *path;
	errcode_t err = 0;

	if (r->req->target)
		path = strdup(r->req->target);
	else
		err = dafs_beside_path(r->img->dev, r->img->fs->super->s_uuid, "recovered", true,
				       &path);
	if (err)
		return err;
	if (!path)
		return ENOMEM;
	if (snprintf(r->stats->target, sizeof(r->stats->target), "%s", path) >=
	    (int)sizeof(r->stats->target))
		err = dafs_fail(r->ctx, ENAMETOOLONG, "%s", path);
	else if (mkdir(path, 0700))
		err = dafs_fail(r->ctx, errno, "%s", path);
	if (!err) {
		r->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (r->dir_fd < 0)
			err = dafs_fail(r->ctx, errno, "%s", path);
	}
	free(path);
	return err;
}

/* New names whose inode is not there any more. */
static errcode_t note_missing(struct recover *r)
{
	struct names *of, *next;

	HASH_ITER(hh, r->names, of, next) {
		char *path;

		if (of->seen || of->id < DAFS_ID_NEW)
			continue;
		path = path_of(r, of->id, 0);
		if (!path)
			return ENOMEM;
		r->stats->lost++;
		note(r, "lost: %s", path);
		free(path);
	}
	return 0;
}

static errcode_t walk(struct recover *r)
{
	const struct dafs_recover_watch watch = { .name = take_name,
						  .inode = save_inode,
						  .lost = note_lost };
	errcode_t err = 0;

	for (r->walk = FILES; r->walk < WALKS && !err; r->walk++) {
		err = dafs_recover_walk(r->st, &watch, r);
		if (!err && r->walk == FILES)
			err = note_missing(r);
	}
	if (!err && syncfs(r->dir_fd))
		err = dafs_fail(r->ctx, errno, "%s", r->stats->target);
	return err;
}

errcode_t dafs_recover_run(struct dafs_ctx *ctx, const char *address,
			   const struct dafs_recover_request *req, struct dafs_recover_stats *stats)
{
	struct recover r = { .ctx = ctx, .req = req, .stats = stats, .dir_fd = -1 };
	errcode_t err;

	memset(stats, 0, sizeof(*stats));
	err = dafs_image_open(ctx, address, 0, 0, 0, &r.img);
	if (!err)
		err = dafs_recover_open(r.img, req->cache_dir, &stats->why, &r.st);
	if (!err)
		err = make_target(&r);
	if (!err)
		err = walk(&r);
	if (r.dir_fd >= 0)
		close(r.dir_fd);
	free_names(&r);
	dafs_store_close(r.st);
	dafs_image_close(r.img);
	return err;
}
