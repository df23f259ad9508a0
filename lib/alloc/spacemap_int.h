/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spacemap_int - what spacemap.c (the map and its upkeep) and spacemap_search.c (finding places)
 * share.
 *
 * The span trees are complete binary trees in arrays: node 1 is the root, node i has the children
 * 2i and 2i+1, group g is node leaves+g; a node that covers width groups begins at group i*width -
 * leaves. Places past the last group are ranges of no clusters.
 */
#ifndef DAFS_ALLOC_SPACEMAP_INT_H
#define DAFS_ALLOC_SPACEMAP_INT_H

#include "alloc/spacemap.h"

/* What a range of groups can hold: the free run at its begin, at its end, and the longest anywhere.
 */
struct dafs_span {
	uint64_t prefix, suffix, longest;
};

struct dafs_spacemap_group {
	struct dafs_buddy *buddy; /* NULL: not looked into */
	uint32_t free;
};

struct dafs_spacemap {
	const struct dafs_space *space;
	struct dafs_spacemap_group *groups;
	uint32_t leaves; /* a power of two >= groups */
	struct dafs_span *all;
	struct dafs_span *data; /* == all when no group is kept for metadata */
	uint64_t free;
	uint32_t looked; /* groups with a buddy */
};

/* Look into a group: build its buddy, once. */
errcode_t dafs_spacemap_look(struct dafs_spacemap *sm, uint32_t grp);

static inline uint32_t dafs_spacemap_group_of(const struct dafs_spacemap *sm, uint64_t c)
{
	return (uint32_t)(c / sm->space->clusters_per_group);
}

static inline uint64_t dafs_spacemap_start(const struct dafs_spacemap *sm, uint32_t grp)
{
	return (uint64_t)grp * sm->space->clusters_per_group;
}

/* Clusters of the groups [lo, hi). */
static inline uint64_t dafs_spacemap_clusters(const struct dafs_spacemap *sm, uint32_t lo,
					      uint32_t hi)
{
	uint64_t start = dafs_spacemap_start(sm, lo), end = dafs_spacemap_start(sm, hi);

	if (end > sm->space->clusters)
		end = sm->space->clusters;
	return end > start ? end - start : 0;
}

#endif
