/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_refill - blocks that a file gave up and filled again before the flush: punched or cut off in
 * the image's mapping, delayed now.
 *
 * The kernel, which frees at once, finds the old place free again. Here it is still in use on disk,
 * and new data would go elsewhere and leave the extent in pieces. So what was given up comes back
 * as an overwrite in place: its bytes go through the transaction like those of any live block. Only
 * where that keeps an extent whole (the old place continues a neighbour that stayed), and within
 * what the journal may carry; the rest is placed anew. Not with bigalloc, where a block has its
 * place in its cluster: there dafs_plan_run_back tells what came back to it.
 */
#include "config.h"

#include "write/plan_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

static int by_lblk(const void *a, const void *b)
{
	const struct dafs_extent *x = a, *y = b;

	return x->lblk < y->lblk ? -1 : x->lblk > y->lblk;
}

static bool continues(const struct dafs_extent *a, const struct dafs_extent *b)
{
	return dafs_extent_end(a) == b->lblk && a->pblk + a->len == b->pblk;
}

/* Does ext at its old place continue an extent that the file keeps, or what came back before it? */
static bool joins(const struct dafs_extlist *map, const struct dafs_extlist *back,
		  const struct dafs_extent *ext)
{
	size_t i = dafs_extlist_search(map, ext->lblk);

	return (i && continues(&map->v[i - 1], ext)) ||
	       (i < map->n && continues(ext, &map->v[i])) ||
	       (back->n && continues(&back->v[back->n - 1], ext));
}

/* The part of a freed extent that the run fills again, into back if it is worth it. more: what a
 * later flush adds to the run; by then the rest of the old place is free, and the file goes on into
 * it. */
static errcode_t consider(struct dafs_plan *plan, const struct dafs_extlist *map,
			  const struct dafs_extent *freed, const struct dafs_wb_run *run,
			  uint32_t more, struct dafs_extlist *back)
{
	uint32_t end = run->lblk + run->len;
	struct dafs_extent part = *freed, reach;

	if (run->lblk > part.lblk) {
		part.pblk += run->lblk - part.lblk;
		part.lblk = run->lblk;
	}
	if (dafs_extent_end(freed) < end)
		end = dafs_extent_end(freed);
	part.len = end - part.lblk;
	part.unwritten = run->kind == DAFS_WB_UNWRITTEN || freed->unwritten;
	reach = part;
	if (end == run->lblk + run->len)
		reach.len +=
			more < dafs_extent_end(freed) - end ? more : dafs_extent_end(freed) - end;
	if (!joins(map, back, &reach))
		return 0;
	if (!part.unwritten) {
		if (part.len > plan->live_budget_blks)
			return 0;
		plan->live_budget_blks -= part.len;
	}
	return dafs_extlist_append(back, part.pblk, part.lblk, part.len, part.unwritten);
}

/* freed (sorted) without what is in back. */
static errcode_t subtract(struct dafs_extlist *freed, const struct dafs_extlist *back)
{
	struct dafs_extlist rest = { 0 };
	errcode_t err = 0;
	size_t b = 0;

	for (size_t i = 0; i < freed->n && !err; i++) {
		const struct dafs_extent *f = &freed->v[i];
		uint32_t at = f->lblk;

		while (b < back->n && dafs_extent_end(&back->v[b]) <= at)
			b++;
		for (size_t k = b; !err && at < dafs_extent_end(f); k++) {
			uint32_t stop = k < back->n && back->v[k].lblk < dafs_extent_end(f)
						? back->v[k].lblk
						: dafs_extent_end(f);

			if (stop > at)
				err = dafs_extlist_append(&rest, f->pblk + (at - f->lblk), at,
							  stop - at, f->unwritten);
			if (stop == dafs_extent_end(f))
				break;
			at = dafs_extent_end(&back->v[k]);
		}
	}
	if (err) {
		dafs_extlist_fini(&rest);
		return err;
	}
	dafs_extlist_fini(freed);
	*freed = rest;
	return 0;
}

errcode_t dafs_plan_refill(struct dafs_plan *plan, size_t item, struct dafs_plan_extra *extra)
{
	const struct dafs_wb_runs *runs = &plan->wb;
	struct dafs_extlist back = { 0 };
	size_t f = 0;
	errcode_t err = 0;

	if (!extra->freed.n || plan->cluster_mask)
		return 0;
	qsort(extra->freed.v, extra->freed.n, sizeof(*extra->freed.v), by_lblk);
	for (size_t i = 0; i < runs->n && !err; i++) {
		const struct dafs_wb_run *run = &runs->v[i];

		if (run->kind == DAFS_WB_OVER)
			continue;
		while (f < extra->freed.n && dafs_extent_end(&extra->freed.v[f]) <= run->lblk)
			f++;
		for (size_t k = f; k < extra->freed.n && !err; k++) {
			if (extra->freed.v[k].lblk >= run->lblk + run->len)
				break;
			err = consider(plan, &extra->map, &extra->freed.v[k], run,
				       dafs_plan_more(plan, item, run), &back);
		}
	}
	if (!err && back.n) {
		extra->refilled_blks = dafs_extlist_blocks(&back);
		err = dafs_extlist_apply(&extra->map, &back, NULL);
	}
	if (!err && back.n)
		err = subtract(&extra->freed, &back);
	dafs_extlist_fini(&back);
	return err;
}

errcode_t dafs_plan_run_back(struct dafs_plan *plan, size_t item, const struct dafs_extent *e,
			     const struct dafs_extlist *freed)
{
	uint64_t end = e->pblk + e->len, stop;
	size_t f = dafs_array_search(freed->v, freed->n, sizeof(*freed->v), e->pblk);
	errcode_t err = 0;

	f -= f > 0;
	for (uint64_t at = e->pblk; at < end && !err; at = stop) {
		bool back;

		while (f < freed->n && freed->v[f].pblk + freed->v[f].len <= at)
			f++;
		back = f < freed->n && freed->v[f].pblk <= at;
		stop = f == freed->n ? end : freed->v[f].pblk + (back ? freed->v[f].len : 0);
		if (stop > end)
			stop = end;
		err = dafs_plan_run_add(
			plan, item,
			&(struct dafs_plan_run){ .pblk = at,
						 .lblk = e->lblk + (uint32_t)(at - e->pblk),
						 .len = (uint32_t)(stop - at),
						 .kind = e->unwritten ? DAFS_RUN_UNWRITTEN
							 : back	      ? DAFS_RUN_LIVE
								      : DAFS_RUN_DATA });
	}
	return err;
}
