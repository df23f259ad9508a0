/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dafs.h - make, fill, edit and check ext4 images offline, with delayed allocation in user space.
 *
 * A program makes a context, formats (dafs_mkfs) or opens (dafs_open) an image, issues operations
 * that are only pending, and ends with dafs_flush, which places and writes everything at once. All
 * functions return 0 or an error code of com_err (this library's table, libext2fs', or errno);
 * dafs_ctx_detail() then names path and cause. One handle is used by one thread at a time.
 */
#ifndef DAFS_DAFS_H
#define DAFS_DAFS_H

#include <et/com_err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "dafs/dafs_err.h"

#define DAFS_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

struct dafs_ctx;
struct dafs;

/* Make a context: error detail, clock (SOURCE_DATE_EPOCH is honoured), options. It must outlive
 * every handle opened with it. Loads dafs' error table into com_err. ENOMEM; a malformed
 * SOURCE_DATE_EPOCH is DAFS_ET_RANGE (the context exists all the same). */
DAFS_API errcode_t dafs_ctx_new(struct dafs_ctx **ret);
DAFS_API void dafs_ctx_free(struct dafs_ctx *ctx);
/* One line about the last failure: path and cause. Empty when there is none. Valid until the next
 * call on the context. */
DAFS_API const char *dafs_ctx_detail(const struct dafs_ctx *ctx);
DAFS_API void dafs_ctx_set_threads(struct dafs_ctx *ctx, unsigned threads);	/* 0: one per CPU */
DAFS_API void dafs_ctx_set_no_sync(struct dafs_ctx *ctx, bool no_sync);

/* What dafs_mkfs makes; zero everywhere: the defaults of mke2fs 1.47 for a file system of that
 * size. */
struct dafs_mkfs_params {
	size_t size;			/* sizeof(struct dafs_mkfs_params) */
	uint64_t fs_blocks; /* size in blocks of block_size; 0: fs_bytes, or the device's size */
	uint64_t fs_bytes;
	uint32_t block_size;		/* 1024, 2048, 4096, ... */
	const char *features;		/* as mke2fs -O */
	const char *usage_type;		/* as mke2fs -T */
	const char *label;		/* as -L */
	const char *uuid;		/* as -U */
	bool force;			/* overwrite what is there */
};
/* Format address (a file is made when absent). Nothing that mounts is left behind on failure. */
DAFS_API errcode_t dafs_mkfs(struct dafs_ctx *ctx, const char *address,
			     const struct dafs_mkfs_params *params);

enum dafs_open_flags {
	DAFS_OPEN_RW = 1, /* operations are allowed */
	DAFS_OPEN_CACHE =
		2, /* keep pending work in the offline cache beside the image across processes; otherwise in memory only */
};
/* Open an image. cache_dir NULL: the usual place. Pending work in a cache becomes visible (and an
 * interrupted flush is settled). */
DAFS_API errcode_t dafs_open(struct dafs_ctx *ctx, const char *address, int flags,
			     const char *cache_dir, struct dafs **ret);
/* Close. Memory-only pending work is dropped. NULL is fine. */
DAFS_API void dafs_close(struct dafs *fs);

/* A command bracket: with the offline cache, everything since dafs_begin becomes durable at
 * dafs_end, or none of it (dafs_cancel). */
DAFS_API errcode_t dafs_begin(struct dafs *fs);
DAFS_API errcode_t dafs_end(struct dafs *fs);
DAFS_API void dafs_cancel(struct dafs *fs);

/* Operations: pending until dafs_flush. Paths are absolute in the image. Each either succeeds or
 * changes nothing. */
DAFS_API errcode_t dafs_write(struct dafs *fs, const char *path, uint64_t off, const void *buf,
			      size_t len); /* makes the file when absent, 0:0 0644 */
DAFS_API errcode_t dafs_truncate(struct dafs *fs, const char *path, uint64_t size);
DAFS_API errcode_t dafs_fallocate(struct dafs *fs, const char *path, uint64_t off, uint64_t len,
				  bool keep_size);
DAFS_API errcode_t dafs_punch(struct dafs *fs, const char *path, uint64_t off, uint64_t len);
DAFS_API errcode_t dafs_mkdir(struct dafs *fs, const char *path, mode_t mode, bool parents);
DAFS_API errcode_t dafs_remove(struct dafs *fs, const char *path, bool recursive, bool missing_ok);
DAFS_API errcode_t dafs_rename(struct dafs *fs, const char *from, const char *to);
DAFS_API errcode_t dafs_link(struct dafs *fs, const char *target, const char *path);
DAFS_API errcode_t dafs_symlink(struct dafs *fs, const char *target, const char *path);
DAFS_API errcode_t dafs_mknod(struct dafs *fs, const char *path, mode_t mode, unsigned major,
			      unsigned minor);
DAFS_API errcode_t dafs_chmod(struct dafs *fs, const char *path, mode_t mode);
DAFS_API errcode_t dafs_chown(struct dafs *fs, const char *path, uint32_t uid, uint32_t gid);
DAFS_API errcode_t dafs_utimes(struct dafs *fs, const char *path,
			       const struct timespec times[2]); /* atime, mtime */
DAFS_API errcode_t dafs_setxattr(struct dafs *fs, const char *path, const char *name,
				 const void *value, size_t len); /* value NULL: remove */
/* Host sources into the image, with everything cp -a keeps. src: directory, tar file, "-" (tar on
 * stdin). */
DAFS_API errcode_t dafs_import(struct dafs *fs, const char *src, const char *dst_dir);
DAFS_API errcode_t dafs_put(struct dafs *fs, const char *src, const char *dst);

/* Reading, through what is pending. */
DAFS_API errcode_t dafs_read(struct dafs *fs, const char *path, uint64_t off, void *buf, size_t len,
			     size_t *got);
DAFS_API errcode_t dafs_stat(struct dafs *fs, const char *path, struct stat *st);	/* lstat */

/* Place and write everything pending; on return it is in the image. */
DAFS_API errcode_t dafs_flush(struct dafs *fs);

/* Check address read-only as dafsck -fn does. *problems gets the number of findings. */
DAFS_API errcode_t dafs_check(struct dafs_ctx *ctx, const char *address, uint64_t *problems);

#ifdef __cplusplus
}
#endif

#endif
