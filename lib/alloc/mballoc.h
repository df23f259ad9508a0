/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mballoc - chooses physical blocks: one request, one run, or the fewest pieces. It decides only;
 * nothing is marked in the image until the commit takes the result over.
 *
 * What is "free" here: free in the committed bitmap, and not taken by this allocator since. The
 * bitmaps are read group by group when a search has to know (spacemap.h).
 *
 * How a run is placed, first rule that applies:
 *  1. at the goal, where the run there is long enough;
 *  2. large data (256 blocks and more) and what is asked for tightly: in the shortest run that
 *     holds it, near the goal;
 *  3. else at the first place at or after the goal that holds it, going round at the end;
 *     data tries the groups that are not kept for metadata first, then all;
 *  4. no free run holds it: cut, by the longest runs first, each used in multiples of the longest
 *     extent where it is longer than that; so the extents are the fewest possible. The last piece
 *     goes where it fits best, as by rule 2. The pieces are in physical order.
 * Clusters are taken whole; with bigalloc a block stands at the same place in its physical cluster
 * as in its logical one, and the request must not share a logical cluster with blocks placed
 * before. Deterministic: same space, same requests, same answers. One thread at a time.
 */
#ifndef DAFS_ALLOC_MBALLOC_H
#define DAFS_ALLOC_MBALLOC_H

#include "alloc/space.h"
#include "model/extlist.h"
#include "model/pack.h"

struct dafs_mballoc;

/* An allocator over space, which is copied. ENOMEM. */
errcode_t dafs_mballoc_new(struct dafs_ctx *ctx, const struct dafs_space *space,
			   struct dafs_mballoc **ret);
void dafs_mballoc_free(struct dafs_mballoc *ma);

enum dafs_alloc_flags {
	/* file data: keep off the first group of a flex group while others have room */
	DAFS_ALLOC_DATA = 1,
	/* directory, extent, xattr blocks: the first place from the goal on, anywhere */
	DAFS_ALLOC_META = 2,
	/* at the goal or not at all (growing a file in place): 0 pieces is no error */
	DAFS_ALLOC_GOAL_ONLY = 4,
	/* nearly full: where it fits best, whatever the size, so that long runs stay whole */
	DAFS_ALLOC_TIGHT = 32,
	/* place as the kernel would (comparison mode): mb_kernel.h */
	DAFS_ALLOC_KERNEL = 8,
	/* no reserve stands behind this request (direct writes): for the trace only */
	DAFS_ALLOC_AT_ONCE = 16,
	/* what an earlier flush kept for this file is asked for: for the trace only */
	DAFS_ALLOC_KEPT = 64,
};

struct dafs_alloc_req {
	uint64_t goal;	/* pblk to try first; 0: none */
	uint32_t lblk;	/* first logical block of the run */
	uint32_t len;	/* blocks, > 0 */
	unsigned flags; /* dafs_alloc_flags */
	/* The run goes on for so many blocks that are placed another time: a place is chosen for
	 * all of it, and what is behind len stays taken from other requests of this allocator (the
	 * kernel's inode preallocation). Where that is not to be had, len alone. */
	uint32_t more;
	/* So many blocks before it are to stay free for what is written there another time, where a
	 * free run holds both. Not with bigalloc. */
	uint32_t lead;
	/* so many times the shortest free run of all is used up first, before rule 1: for a mapping
	 * that has room for pieces, so that long runs are left to those that have not */
	uint32_t crumbs;
	uint64_t ino; /* for the trace, with the nearest blocks that the file has to both sides */
	uint32_t lleft, lright;
	uint64_t pleft, pright;
};

/* Place one run. The pieces are appended to out in lblk order (their state: written; out must end
 * at or before req->lblk). DAFS_ET_NOSPC_ALLOC, DAFS_ET_RANGE (len 0, end past 0xFFFFFFFF), ENOMEM
 * and errors of the bitmaps leave allocator and out as they were. A call that places something is
 * one ext4_request_blocks line in the trace, and for each piece ext4_mballoc_alloc (with the rule
 * that chose it; ext4_mballoc_prealloc where the place was kept for the file) and
 * ext4_allocate_blocks. */
errcode_t dafs_mballoc_place(struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
			     struct dafs_extlist *out);

/* Take [pblk, pblk+len), which something else chose (blocks that a direct write was given), widened
 * to whole clusters. DAFS_ET_INTERNAL when it is not all free, DAFS_ET_RANGE: nothing has changed.
 */
errcode_t dafs_mballoc_take(struct dafs_mballoc *ma, uint64_t pblk, uint32_t len);

/* Give back what a place or take call took: whole pieces, or parts at cluster borders (a plan that
 * is dropped). DAFS_ET_INTERNAL, DAFS_ET_RANGE: nothing has changed. */
errcode_t dafs_mballoc_return(struct dafs_mballoc *ma, uint64_t pblk, uint32_t len);

/* Clusters free to this allocator: exact for the groups looked into, by descriptor for the others.
 */
uint64_t dafs_mballoc_free_clusters(const struct dafs_mballoc *ma);

/* All free runs as they are now, in blocks, ascending; *ret is to be freed. Not with bigalloc
 * (DAFS_ET_INTERNAL). Looks into every group. ENOMEM and errors of the bitmaps: *ret is NULL. */
errcode_t dafs_mballoc_runs(struct dafs_mballoc *ma, struct dafs_pack_run **ret, size_t *n);

/* How many blocks from pblk on are free, counting no further than max: where a file may grow. 0 for
 * a block that is none, or when a bitmap cannot be read. Not with bigalloc (0). */
uint32_t dafs_mballoc_run_at(struct dafs_mballoc *ma, uint64_t pblk, uint32_t max);

/* The first place for len_blks of data in one run, as by rule 3: where a batch of small files may
 * start. Takes nothing. 0 when no run holds that much (or a bitmap cannot be read: the place call
 * that needs it says so). */
uint64_t dafs_mballoc_find_window(struct dafs_mballoc *ma, uint64_t goal, uint64_t len_blks);

#endif
