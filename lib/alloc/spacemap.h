/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spacemap - the free runs of a whole file system, found without looking at all of it.
 *
 * Every group has a buddy, built when somebody has to know. Above the groups stands a tree of
 * spans: how long a free run can begin at a range of groups, end there, and lie within. Of a group
 * that was not looked into, the descriptor's free count is the bound. A search goes down where the
 * bounds let a run be, builds the buddies that it meets, and starts again when one of them was
 * promised too much: so the answer is exact, and a search costs a descent plus the buddies that it
 * had to build. A run may go on from group to group.
 *
 * Clusters are numbered through the whole file system. The DATA view does not show the first group
 * of each flex group (kept for metadata while there is room elsewhere), the ALL view shows
 * everything.
 *
 * Invariants (dafs_spacemap_verify): a built group's spans equal its buddy; every inner span is the
 * sum of the two below it; free is the sum over the groups. Not thread-safe.
 */
#ifndef DAFS_ALLOC_SPACEMAP_H
#define DAFS_ALLOC_SPACEMAP_H

#include "alloc/space.h"
#include "model/buddy.h"

#define DAFS_NO_CLUSTER UINT64_MAX

struct dafs_spacemap;

enum dafs_spacemap_view {
	DAFS_VIEW_ALL,
	DAFS_VIEW_DATA,
};

/* A map of space, which must outlive it. Reads nothing but the free counts. ENOMEM. */
errcode_t dafs_spacemap_new(const struct dafs_space *space, struct dafs_spacemap **ret);
void dafs_spacemap_free(struct dafs_spacemap *sm);

/* Clusters free: exact for groups looked into, by the descriptor for the others. */
uint64_t dafs_spacemap_free_clusters(const struct dafs_spacemap *sm);

/* Groups whose bitmaps were looked into so far. */
uint32_t dafs_spacemap_looked(const struct dafs_spacemap *sm);

/* The group's buddy, for reading (take and give through the map). Errors of space->bits, ENOMEM. */
errcode_t dafs_spacemap_buddy(struct dafs_spacemap *sm, uint32_t grp,
			      const struct dafs_buddy **ret);

/* All functions below: errors of space->bits and ENOMEM leave what is taken as it was. */

/* *len: how many clusters from c on are free, counting no further than max. */
errcode_t dafs_spacemap_run_at(struct dafs_spacemap *sm, uint64_t c, uint64_t max, uint64_t *len);

/* *start: the first place at or after from where n > 0 clusters are free; after the end, from the
 * beginning. DAFS_NO_CLUSTER when there is none. */
errcode_t dafs_spacemap_first_fit(struct dafs_spacemap *sm, enum dafs_spacemap_view view,
				  uint64_t from, uint64_t n, uint64_t *start);

/* *start: begin of the shortest run that holds n > 0, among those of the groups nearest after from
 * (so many that a request costs a bounded number of looks). DAFS_NO_CLUSTER when none anywhere. */
errcode_t dafs_spacemap_best_fit(struct dafs_spacemap *sm, enum dafs_spacemap_view view,
				 uint64_t from, uint64_t n, uint64_t *start);

/* The longest free run (the first of that length). *len 0 when nothing is free. */
errcode_t dafs_spacemap_longest(struct dafs_spacemap *sm, uint64_t *start, uint64_t *len);

/* Take and give back [start, start+n). DAFS_ET_INTERNAL when it is not all free / in use,
 * DAFS_ET_RANGE when it is not inside; nothing has changed then. */
errcode_t dafs_spacemap_take(struct dafs_spacemap *sm, uint64_t start, uint64_t n);
errcode_t dafs_spacemap_give(struct dafs_spacemap *sm, uint64_t start, uint64_t n);

bool dafs_spacemap_verify(const struct dafs_spacemap *sm);

#endif
