/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostattr - see hostattr.h.
 */
#include "config.h"

#include "job/hostattr.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XATTR_PATH_ROOM 320		/* "/proc/self/fd/N/" and a name */

errcode_t dafs_hostattr_stat(struct dafs_ctx *ctx, struct dafs_hostent *ent)
{
	if (statx(ent->dir_fd, ent->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
		  &ent->st))
		return dafs_fail(ctx, errno, "%s", ent->path);
	return 0;
}

static struct dafs_time clamp(const struct dafs_ctx *ctx, const struct statx_timestamp *t)
{
	if (ctx->fixed_time &&
	    (t->tv_sec > ctx->now_sec || (t->tv_sec == ctx->now_sec && t->tv_nsec > ctx->now_nsec)))
		return dafs_time_at(ctx->now_sec, ctx->now_nsec);
	return dafs_time_at(t->tv_sec, t->tv_nsec);
}

void dafs_hostattr_fill(const struct dafs_ctx *ctx, const struct statx *st,
			struct dafs_inode *inode)
{
	inode->mode = (uint16_t)((inode->mode & S_IFMT) | (st->stx_mode & 07777));
	inode->mtime = clamp(ctx, &st->stx_mtime);
	inode->atime = ctx->fixed_time ? inode->mtime : clamp(ctx, &st->stx_atime);
	if (dafs_inode_is_dev(inode)) {
		inode->rdev_major = st->stx_rdev_major;
		inode->rdev_minor = st->stx_rdev_minor;
	}
}

errcode_t dafs_hostattr_apply(struct dafs *fs, const struct statx *st, struct dafs_inode *inode)
{
	dafs_hostattr_fill(fs->ctx, st, inode);
	return dafs_ns_chown(fs->ns, inode, st->stx_uid, st->stx_gid);
}

/* A path that names the entry without following it, however deep its directory lies. */
static const char *short_path(const struct dafs_hostent *ent, char *buf, size_t room)
{
	if (ent->dir_fd == AT_FDCWD)
		return ent->name;
	snprintf(buf, room, "/proc/self/fd/%d/%s", ent->dir_fd, ent->name);
	return buf;
}

static bool storable(const char *name)
{
	static const char *const prefixes[] = { "user.", "trusted.", "security." };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	}
	return !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

/* One attribute's value; grows *buf. A value that vanished meanwhile is left out. */
static errcode_t take_value(const char *path, const char *name, char **buf, size_t *room,
			    struct dafs_xattr **set)
{
	ssize_t len;

	for (;;) {
		len = lgetxattr(path, name, *buf, *room);
		if (len >= 0)
			return dafs_xattr_put(set, name, *room ? *buf : "", (uint32_t)len);
		if (errno == ENODATA)
			return 0;
		if (errno != ERANGE)
			return errno;
		len = lgetxattr(path, name, NULL, 0);
		if (len < 0)
			return errno;
		free(*buf);
		*room = (size_t)len + 64;
		*buf = malloc(*room);
		if (!*buf)
			return ENOMEM;
	}
}

static errcode_t take_values(const char *path, const char *names, size_t names_len,
			     struct dafs_xattr **set)
{
	size_t room = 4096;
	char *buf = malloc(room);
	errcode_t err = buf ? 0 : ENOMEM;

	for (const char *n = names; !err && n < names + names_len; n += strlen(n) + 1) {
		if (storable(n))
			err = take_value(path, n, &buf, &room, set);
	}
	free(buf);
	return err;
}

/* listxattrat(2), of Linux 6.13: without the walk through /proc, a tenth of the time of an import
 * of small files. C libraries that are older than it do not know its number. */
#if !defined(__NR_listxattrat) &&                                                                  \
	(defined(__aarch64__) || defined(__riscv) || (defined(__x86_64__) && defined(__LP64__)))
#define __NR_listxattrat 465
#endif

/* Has the entry no attributes at all? False also where that cannot be told so. */
static bool has_none(const struct dafs_hostent *ent)
{
#ifdef __NR_listxattrat
	static atomic_bool absent;
	long len;

	if (atomic_load_explicit(&absent, memory_order_relaxed))
		return false;
	len = syscall(__NR_listxattrat, ent->dir_fd, ent->name, AT_SYMLINK_NOFOLLOW, NULL,
		      (size_t)0);
	/* A sandbox may refuse what it does not know. */
	if (len < 0 && (errno == ENOSYS || errno == EPERM))
		atomic_store_explicit(&absent, true, memory_order_relaxed);
	return !len;
#else
	(void)ent;
	return false;
#endif
}

errcode_t dafs_hostattr_xattrs(struct dafs_ctx *ctx, const struct dafs_hostent *ent,
			       struct dafs_xattr **set)
{
	char path_buf[XATTR_PATH_ROOM], small[1024];
	char *names = small;
	const char *path;
	errcode_t err;
	ssize_t len;

	*set = NULL;
	if (has_none(ent))
		return 0;
	path = short_path(ent, path_buf, sizeof(path_buf));
	len = llistxattr(path, small, sizeof(small));
	if (len < 0 && errno == ENOENT && path != ent->path) {	/* no /proc here */
		path = ent->path;
		len = llistxattr(path, small, sizeof(small));
	}
	if (!len || (len < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)))
		return 0;
	if (len < 0 && errno == ERANGE) {
		names = malloc(XATTR_LIST_MAX);
		if (!names)
			return ENOMEM;
		len = llistxattr(path, names, XATTR_LIST_MAX);
	}
	err = len < 0 ? errno : take_values(path, names, (size_t)len, set);
	if (names != small)
		free(names);
	if (err) {
		dafs_xattr_free(set);
		return dafs_fail(ctx, err, "%s: extended attributes", ent->path);
	}
	return 0;
}

errcode_t dafs_hostattr_set_xattrs(struct dafs *fs, struct dafs_inode *inode,
				   struct dafs_xattr *set)
{
	errcode_t err = 0;

	if (fs->no_xattrs)
		dafs_xattr_free(&set);
	if (!set && !inode->xattrs && inode->state & DAFS_I_NEW)
		return 0;
	err = dafs_ns_replace_xattrs(fs->ns, inode, set);
	if (err)
		dafs_xattr_free(&set);
	return err;
}

errcode_t dafs_hostattr_data(struct dafs_ctx *ctx, int fd, const char *path, uint64_t size,
			     uint32_t block_size, struct dafs_extlist *data, bool *whole)
{
	uint64_t at = 0, blocks = (size + block_size - 1) / block_size, covered = 0;
	errcode_t err = 0;

	*whole = false;
	if (blocks >= UINT32_MAX)
		return dafs_fail(ctx, DAFS_ET_FILE_TOO_BIG, "%s", path);
	while (at < size && !err) {
		off_t from = lseek(fd, (off_t)at, SEEK_DATA), to;
		uint64_t first, end;

		if (from < 0 && errno == ENXIO)
			break;
		to = from < 0 ? -1 : lseek(fd, from, SEEK_HOLE);
		if (from < 0 || to < 0)
			return dafs_fail(ctx, errno, "%s", path);
		first = (uint64_t)from / block_size;
		end = ((uint64_t)to + block_size - 1) / block_size;
		if (end > blocks)
			end = blocks;
		if (covered > first)
			first = covered;
		/* pblk follows lblk, so that neighbours merge. */
		if (end > first)
			err = dafs_extlist_append(data, first + 1, (uint32_t)first,
						  (uint32_t)(end - first), false);
		covered = end > covered ? end : covered;
		at = (uint64_t)to;
	}
	if (!err && dafs_extlist_blocks(data) == blocks) {
		*whole = true;
		data->n = 0;
	}
	return err;
}
