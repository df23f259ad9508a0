/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * source - where the bytes of pending blocks are until the flush reads them: the cache's spool, a
 * host file, memory.
 *
 * A source is reference-counted by its owner's rules only (the store owns the spool, an import owns
 * its host files); page runs point at it. read() must be thread-safe: the flush reads with several
 * threads.
 */
#ifndef DAFS_MODEL_SOURCE_H
#define DAFS_MODEL_SOURCE_H

#include "base/ctx.h"

struct dafs_source;

struct dafs_source_ops {
	/* Fill buf with len bytes from byte off. Bytes past the source's end read as zeros. Errors
	 * carry the detail (path). */
	errcode_t (*read)(struct dafs_source *src, struct dafs_ctx *ctx, void *buf, size_t len,
			  uint64_t off);
	/* A descriptor that copy_file_range may read at the same offsets, or -1 with errno-like
	 * *err when there is none. The caller gives it back with put_fd. May be NULL. */
	int (*get_fd)(struct dafs_source *src, struct dafs_ctx *ctx, errcode_t *err);
	void (*put_fd)(struct dafs_source *src, int fd);
	/* Are the len bytes from off what was kept? For who copies through get_fd what read would
	 * have verified. Thread-safe. NULL: nothing to verify. */
	errcode_t (*check)(struct dafs_source *src, struct dafs_ctx *ctx, uint64_t off,
			   uint64_t len);
	/* Let go of the source (called once, by its owner's container). May be NULL. */
	void (*release)(struct dafs_source *src);
};

struct dafs_source {
	const struct dafs_source_ops *ops;
};

#endif
