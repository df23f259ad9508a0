/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mballoc - chooses physical blocks: one request, one run (or the fewest pieces) out of buddies that are built group by group
 * when first needed. It decides only; nothing is marked in the image until the commit takes the result over.
 *
 * What is "free" here: free in the committed bitmap, and not taken by this allocator since. Memory: a buddy for each group looked
 * into; groups whose descriptor says "all free" are one run without reading anything.
 * Policies of DESIGN.md section 5: a run is never split while some free run holds it; best fit for large runs, first fit near the goal
 * for small ones; when it must be split, the fewest pieces (largest runs first). Cluster-aligned with bigalloc.
 * Deterministic: same space, same requests, same answers.
 */
#ifndef DAFS_ALLOC_MBALLOC_H
#define DAFS_ALLOC_MBALLOC_H

#include "model/buddy.h"
#include "model/extlist.h"

/* The space to allocate from: an image (dafs_space_of_image) or a test's bitmap. */
struct dafs_space {
	uint32_t groups;
	uint32_t first_data_block;
	uint32_t clusters_per_group;
	unsigned cluster_bits;
	unsigned flex_groups;		/* groups in a flex group, 1 without flex_bg */
	void *arg;
	/* Committed bitmap of a group and its cluster count; *bits NULL: all but nothing... the group is entirely free. */
	errcode_t (*bits)(void *arg, uint32_t grp, const uint8_t **bits, uint32_t *nclusters);
	/* Free clusters by the descriptor, without reading the bitmap: a group with too few is not looked into. */
	uint32_t (*free)(void *arg, uint32_t grp);
};

struct dafs_mballoc;
errcode_t dafs_mballoc_new(struct dafs_ctx *ctx, const struct dafs_space *space, struct dafs_mballoc **ret);
void dafs_mballoc_free(struct dafs_mballoc *ma);

enum dafs_alloc_flags {
	DAFS_ALLOC_DATA = 1,	/* file data: keep off the first group of a flex group while others have room */
	DAFS_ALLOC_META = 2,	/* directory, extent, xattr blocks: near the front, packed together */
	DAFS_ALLOC_GOAL_ONLY = 4,	/* at the goal or not at all (growing a file in place): 0 pieces is no error */
	DAFS_ALLOC_KERNEL = 8,	/* place as the kernel would (comparison mode): goal, power of two first */
};

struct dafs_alloc_req {
	uint64_t goal;		/* pblk to try first; 0: none */
	uint32_t lblk;		/* first logical block of the run (for the pieces, and bigalloc's offset in the cluster) */
	uint32_t len;		/* blocks */
	unsigned flags;
	uint64_t ino;		/* for the trace */
};

/* Place one run. The pieces are appended to out in lblk order (their state: written). DAFS_ET_NOSPC_ALLOC leaves everything as
 * it was. One call is one ext4_request_blocks/ext4_allocate_blocks pair in the trace. */
errcode_t dafs_mballoc_place(struct dafs_mballoc *ma, const struct dafs_alloc_req *req, struct dafs_extlist *out);

/* Give back what a place call took (a plan that is dropped). */
errcode_t dafs_mballoc_return(struct dafs_mballoc *ma, uint64_t pblk, uint32_t len);

/* Clusters free to this allocator. */
uint64_t dafs_mballoc_free_clusters(const struct dafs_mballoc *ma);

/* Longest free run at or after goal's group that could take len blocks: where a batch of small files may start (whole
 * directories side by side). 0 when none. */
uint64_t dafs_mballoc_find_window(struct dafs_mballoc *ma, uint64_t goal, uint64_t len_blks);

#endif
