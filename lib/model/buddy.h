/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * buddy - the free clusters of one block group, as free runs that can be asked by place and by
 * length.
 *
 * Built from a group's bitmap (what the image has) minus what this flush took. Answers: is the run
 * at this place free and how long is it; the best-fitting run of at least n; the first run at or
 * after a place; the longest run; the counters that mballoc's criteria look at (free, fragments,
 * counters per order). Clusters are numbered from the group's start. Memory only; the bitmap is the
 * caller's and is not changed.
 *
 * Invariants (dafs_buddy_verify): runs disjoint, never adjacent, inside the group; sums agree;
 * equal to a bitmap that got the same marks.
 */
#ifndef DAFS_MODEL_BUDDY_H
#define DAFS_MODEL_BUDDY_H

#include "base/ctx.h"

struct dafs_buddy;

struct dafs_buddy_run {
	uint32_t start;
	uint32_t len;
};

/* Build from bitmap (bit set: in use, little-endian bit order as on disk; NULL: all free) of
 * nclusters > 0 clusters. Memory: one node a free run. ENOMEM. */
errcode_t dafs_buddy_new(const uint8_t *bitmap, uint32_t nclusters, struct dafs_buddy **ret);

/* Free it; NULL is fine. */
void dafs_buddy_free(struct dafs_buddy *b);

/* The counters, each O(1): clusters covered, clusters free, number of free runs, length of the
 * longest one (0: none). */
uint32_t dafs_buddy_clusters(const struct dafs_buddy *b);
uint32_t dafs_buddy_free_clusters(const struct dafs_buddy *b);
uint32_t dafs_buddy_fragments(const struct dafs_buddy *b);
uint32_t dafs_buddy_largest(const struct dafs_buddy *b);

/* The free run that holds cluster c: from c on if whole is false, else whole. len 0 when c is in
 * use. */
struct dafs_buddy_run dafs_buddy_run_at(const struct dafs_buddy *b, uint32_t c, bool whole);

/* Shortest run with len >= n (ties: lowest start). len 0 when none. O(log runs). */
struct dafs_buddy_run dafs_buddy_best_fit(const struct dafs_buddy *b, uint32_t n);

/* First run with len >= n whose start is >= from (a run that holds from counts from there on). len
 * 0 when none. O(log runs). */
struct dafs_buddy_run dafs_buddy_first_fit(const struct dafs_buddy *b, uint32_t from, uint32_t n);

/* Take [start, start+len): must be free and not empty (DAFS_ET_INTERNAL otherwise). O(log runs).
 * ENOMEM (a run cut in its middle). The buddy is unchanged after an error. */
errcode_t dafs_buddy_take(struct dafs_buddy *b, uint32_t start, uint32_t len);

/* Give back [start, start+len): must be in use and not empty (DAFS_ET_INTERNAL otherwise). O(log
 * runs). ENOMEM. Unchanged after an error. */
errcode_t dafs_buddy_give(struct dafs_buddy *b, uint32_t start, uint32_t len);

/* The longest run (ties: lowest start). len 0 when none. O(log runs). */
struct dafs_buddy_run dafs_buddy_longest(const struct dafs_buddy *b);

/* Free chunks of exactly order k <= max_order: the aligned power-of-two pieces that the free runs
 * are cut into greedily. ext4's max_order is log2(block size) + 1. */
void dafs_buddy_orders(const struct dafs_buddy *b, unsigned max_order, uint32_t counts[32]);

/* The smallest of these chunks that has at least the order (the lowest of its size); len 0 when
 * there is none. Linear in the runs. */
struct dafs_buddy_run dafs_buddy_chunk(const struct dafs_buddy *b, unsigned max_order,
				       unsigned order);

bool dafs_buddy_verify(const struct dafs_buddy *b);

#endif
