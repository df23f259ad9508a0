/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reserve - the image-wide space counters of delayed allocation, in clusters.
 *
 * A write takes clusters here (reserve), a flush turns them into allocations (claim), truncate,
 * punch and unlink give them back (release). Metadata that the flush will need is promised beside
 * the data. Per-file figures live in struct dafs_file; the sum over files equals dirty (checked by
 * the cache's verification).
 *
 * Each holder asks with an upper bound; near full, a dry plan finds the exact need of all of them
 * together and promised shrinks to that (lib/write/dareserve.h), while bound stays the sum of what
 * was asked, so that every holder can give its own figure back.
 *
 * Invariants (dafs_reserve_verify): free >= dirty + promised; promised <= bound; promised_inodes <=
 * free_inodes.
 * Rules: the kernel's ext4_da_reserve_space and ext4_has_free_clusters.
 */
#ifndef DAFS_MODEL_RESERVE_H
#define DAFS_MODEL_RESERVE_H

#include "base/ctx.h"

struct dafs_reserve {
	uint64_t free_clusters;	 /* free in the image, frees that are only pending not counted */
	uint64_t dirty_clusters; /* reserved for delayed data */
	/* for metadata the flush will need: extent, directory, xattr blocks */
	uint64_t promised_clusters;
	/* sum of the upper bounds that asked for the promise; only a dry plan makes promised less
	 */
	uint64_t bound_clusters;
	uint64_t root_clusters; /* s_r_blocks_count in clusters */
	/* the pool the kernel keeps: min(2 %, 4096); dafs promises exactly, so 0 unless asked */
	uint64_t resv_clusters;
	uint64_t free_inodes;
	uint64_t promised_inodes; /* inodes that pending new files will take */
	/* A cache's figures are among these: where its rows contradict each other no assertion
	 * fails, and as much is given back as there is. */
	bool from_cache;
};

/* Reserve n data clusters and m metadata clusters (promised and bound rise) at once, or nothing.
 * privileged: may use the root-reserved clusters. Needs free >= n + m + dirty + promised + resv,
 * and + root unless privileged. DAFS_ET_NOSPC_RESERVE (the data do not fit) or DAFS_ET_NOSPC_META
 * (the data alone would) leave everything as it was. */
errcode_t dafs_reserve_take(struct dafs_reserve *rs, uint64_t n, uint64_t m, bool privileged);

/* Give back n data and m metadata clusters that were reserved (asserts that they were, but see
 * from_cache): bound falls
 * by m, promised to bound at most. */
void dafs_reserve_release(struct dafs_reserve *rs, uint64_t n, uint64_t m);

/* A flush allocated n of the reserved data clusters: dirty and free both fall (asserts that they
 * were reserved). */
void dafs_reserve_claim(struct dafs_reserve *rs, uint64_t n);

/* Inodes for n new files. DAFS_ET_NOINODES leaves everything as it was. */
errcode_t dafs_reserve_take_inodes(struct dafs_reserve *rs, uint64_t n);

/* Give back n promised inodes (asserts that they were). */
void dafs_reserve_release_inodes(struct dafs_reserve *rs, uint64_t n);

/* Is room so low that the kernel would not delay a write any more? Of the free clusters, those that
 * placed says are chosen already count as used. Rule: ext4_nonda_switch, with the margin of its
 * counters on two CPUs (256). */
bool dafs_reserve_low(const struct dafs_reserve *rs, uint64_t placed);

bool dafs_reserve_verify(const struct dafs_reserve *rs);

#endif
