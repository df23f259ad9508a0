/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rangemap - disjoint ranges of block numbers, each of one kind: what the es tree and the page
 * cache are made of.
 *
 * A range's blocks share tag and owner, and their "base" grows by step from block to block (a
 * physical block number, a byte offset in a source; step 0: no base). Two neighbours are one range
 * when kind and base go on from one to the other. What the fields mean is the business of the
 * module above; this one cuts, replaces and merges.
 *
 * Invariants (dafs_rangemap_verify):
 *  1. ranges are sorted, disjoint, len > 0, end <= DAFS_RANGE_END;
 *  2. no two neighbours could be merged;
 *  3. n is the number of ranges.
 * Reading functions change nothing (several threads may read at a time).
 */
#ifndef DAFS_MODEL_RANGEMAP_H
#define DAFS_MODEL_RANGEMAP_H

#include <bsd/sys/tree.h>

#include "base/ctx.h"

#define DAFS_RANGE_END 0xFFFFFFFFu /* no range goes past it: ext4's EXT_MAX_BLOCKS */

struct dafs_range {
	uint32_t start;
	uint32_t len;
	uint64_t base; /* of the first block; 0 with step 0 */
	void *owner;
	uint32_t step;
	uint32_t tag;
};

struct dafs_range_node;
RB_HEAD(dafs_range_tree, dafs_range_node);

struct dafs_rangemap {
	struct dafs_range_tree root;
	struct dafs_range_node
		*last; /* where the last change was: sequential writers go on there */
	uint32_t n;
};

/* Called for every piece of an older range that a change takes away, clipped to what goes. Must not
 * touch the map. */
typedef void (*dafs_rangemap_drop_fn)(void *arg, const struct dafs_range *gone);

static inline uint32_t dafs_range_end(const struct dafs_range *r)
{
	return r->start + r->len;
}

void dafs_rangemap_init(struct dafs_rangemap *map);

/* Free everything; the map is empty afterwards (and usable). drop is not called. */
void dafs_rangemap_fini(struct dafs_rangemap *map);

/* Put r in, replacing what covered its blocks (drop, unless NULL, gets the replaced pieces, equal
 * ones too), and merge it with its neighbours. DAFS_ET_RANGE (empty or past the end) and ENOMEM
 * leave the map as it was, drop not called. */
errcode_t dafs_rangemap_set(struct dafs_rangemap *map, const struct dafs_range *r,
			    dafs_rangemap_drop_fn drop, void *arg);

/* Take [start, end) out. ENOMEM (a range cut in its middle) leaves the map as it was. An empty
 * interval is fine. */
errcode_t dafs_rangemap_clear(struct dafs_rangemap *map, uint32_t start, uint32_t end,
			      dafs_rangemap_drop_fn drop, void *arg);

/* Set and clear bits in the tags of what lies in [start, end), merging where kinds became equal.
 * ENOMEM: unchanged. */
errcode_t dafs_rangemap_retag(struct dafs_rangemap *map, uint32_t start, uint32_t end, uint32_t set,
			      uint32_t clear);

/* The first range that ends past block start (whole; NULL when none), and the one after. Good until
 * the map changes. */
const struct dafs_range *dafs_rangemap_first(const struct dafs_rangemap *map, uint32_t start);
const struct dafs_range *dafs_rangemap_next(const struct dafs_range *r);

/* The part of r inside [start, end), base following. The two must intersect. */
struct dafs_range dafs_range_clip(const struct dafs_range *r, uint32_t start, uint32_t end);

bool dafs_rangemap_verify(const struct dafs_rangemap *map);

#endif
