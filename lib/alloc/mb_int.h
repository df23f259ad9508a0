/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mb_int - what mballoc.c and mb_kernel.c share.
 */
#ifndef DAFS_ALLOC_MB_INT_H
#define DAFS_ALLOC_MB_INT_H

#include "alloc/mballoc.h"
#include "alloc/spacemap.h"

/* One physical piece, in clusters, already taken. */
struct dafs_mb_piece {
	uint64_t start, n;
};

struct dafs_mb_pieces {
	struct dafs_mb_piece *v;
	size_t n, room;
};

/* The rule of mballoc.h that placed the request at hand: for the trace. */
enum dafs_mb_rule {
	DAFS_MB_GOAL,
	DAFS_MB_BEST_FIT,
	DAFS_MB_FIRST_FIT,
	DAFS_MB_LONGEST,
	DAFS_MB_KERNEL,
};

struct dafs_mballoc {
	struct dafs_ctx *ctx;
	struct dafs_space space;
	struct dafs_spacemap *map;
	struct dafs_mb_pieces pieces; /* of the request at hand; the memory is kept */
	enum dafs_mb_rule rule;
	uint32_t looked; /* groups looked into before it */
	/* comparison mode: the window that small files are served from */
	uint64_t window, window_n;
};

/* Take [start, start+n) and note it as a piece. */
errcode_t dafs_mb_take(struct dafs_mballoc *ma, uint64_t start, uint64_t n);

/* Place n clusters for req as the kernel's allocator would: into ma->pieces. Approximation of
 * ext4's regular allocator as of Linux 6.12: small requests at a file's begin from a 512-block
 * window, the goal for what continues a file, chunks of the request's power of two, then group by
 * group the best of a bounded number of runs. Not modelled: inode preallocations, per-CPU state,
 * the order lists of large file systems. Partial results are left in ma->pieces on error. */
errcode_t dafs_mb_kernel_place(struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
			       uint64_t n);

#endif
