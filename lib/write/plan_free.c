/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_free - what mappings that go give back: whole clusters, each once, and never one that the
 * mapping which stays still uses.
 *
 * What is given here is free only after the commit; the allocator of this flush does not see it
 * (DESIGN.md section 1, rule 4).
 */
#include "config.h"

#include "write/plan_int.h"

#include <stdlib.h>

/* Does map still have a block in the physical cluster that holds pblk, as the cluster of lblk? */
static bool cluster_kept(const struct dafs_plan *plan, const struct dafs_extlist *map,
			 uint64_t pblk, uint32_t lblk)
{
	uint32_t start = lblk & ~plan->cluster_mask;
	uint64_t end = (uint64_t)start + plan->cluster_mask + 1;

	if (!map)
		return false;
	for (size_t i = dafs_extlist_search(map, start); i < map->n && map->v[i].lblk < end; i++) {
		const struct dafs_extent *e = &map->v[i];
		uint32_t at = e->lblk > start ? e->lblk : start;

		if ((e->pblk + (at - e->lblk)) >> plan->img->cluster_bits ==
		    pblk >> plan->img->cluster_bits)
			return true;
	}
	return false;
}

/* Physical block of the first block of its cluster. Clusters are counted from the first data block,
 * which is 0 with bigalloc. */
static uint64_t cluster_start(const struct dafs_plan *plan, uint64_t pblk)
{
	return pblk & ~(uint64_t)plan->cluster_mask;
}

static int by_pblk(const void *a, const void *b)
{
	const struct dafs_plan_range *x = a, *y = b;

	return x->pblk < y->pblk ? -1 : x->pblk > y->pblk;
}

/* The clusters of one freed extent, less those at its ends that stay in use. */
static errcode_t gather(struct dafs_plan *plan, const struct dafs_extent *e,
			const struct dafs_extlist *kept, struct dafs_plan_ranges *out)
{
	uint64_t first = cluster_start(plan, e->pblk);
	uint64_t last = cluster_start(plan, e->pblk + e->len - 1);
	uint64_t step = (uint64_t)plan->cluster_mask + 1;

	if (cluster_kept(plan, kept, e->pblk, e->lblk))
		first += step;
	if (first <= last && cluster_kept(plan, kept, e->pblk + e->len - 1, dafs_extent_end(e) - 1))
		last -= step;
	return first <= last ? dafs_plan_range_add(out, first, last - first + step) : 0;
}

errcode_t dafs_plan_give_map(struct dafs_plan *plan, const struct dafs_extlist *freed,
			     const struct dafs_extlist *kept, bool metadata)
{
	struct dafs_plan_ranges clusters = { 0 };
	uint64_t done = 0;
	errcode_t err = 0;

	for (size_t i = 0; i < freed->n && !err; i++) {
		if (metadata)
			err = dafs_plan_range_add(&plan->revoked, freed->v[i].pblk,
						  freed->v[i].len);
		if (err)
			break;
		if (plan->cluster_mask)
			err = gather(plan, &freed->v[i], kept, &clusters);
		else
			err = dafs_plan_range_add(&plan->given, freed->v[i].pblk, freed->v[i].len);
	}
	/* Two freed pieces may lie in one cluster. */
	if (clusters.n)
		qsort(clusters.v, clusters.n, sizeof(*clusters.v), by_pblk);
	for (size_t i = 0; i < clusters.n && !err; i++) {
		uint64_t start = clusters.v[i].pblk > done ? clusters.v[i].pblk : done;
		uint64_t end = clusters.v[i].pblk + clusters.v[i].len;

		if (end > start)
			err = dafs_plan_range_add(&plan->given, start, end - start);
		if (end > done)
			done = end;
	}
	free(clusters.v);
	return err;
}

errcode_t dafs_plan_give_meta(struct dafs_plan *plan, uint32_t ino, uint16_t mode, uint64_t pblk)
{
	struct dafs_extent block = { .pblk = pblk, .len = 1 };
	struct dafs_extlist list = { .v = &block, .n = 1, .room = 1 };
	errcode_t err = dafs_plan_range_add(&plan->revoked, pblk, 1);

	dafs_plan_trace_freed(plan, ino, mode, &list, "METADATA|FORGET");
	return err ? err
		   : dafs_plan_range_add(&plan->given, cluster_start(plan, pblk),
					 (uint64_t)plan->cluster_mask + 1);
}

errcode_t dafs_plan_give_inode(struct dafs_plan *plan, uint32_t ino,
			       const struct ext2_inode_large *raw)
{
	struct dafs_extlist map = { 0 };
	struct dafs_blklist nodes = { 0 };
	errcode_t err = 0;

	if (!dafs_icodec_has_map(plan->img, raw))
		return 0;
	err = dafs_etree_decode(plan->img, ino, raw, &map, &nodes);
	dafs_plan_trace_freed(plan, ino, raw->i_mode, &map,
			      S_ISREG(raw->i_mode) ? "" : "METADATA|FORGET");
	if (!err)
		err = dafs_plan_give_map(plan, &map, NULL, !S_ISREG(raw->i_mode));
	for (size_t i = 0; i < nodes.n && !err; i++)
		err = dafs_plan_give_meta(plan, ino, raw->i_mode, nodes.v[i]);
	dafs_extlist_fini(&map);
	dafs_blklist_fini(&nodes);
	return err;
}
