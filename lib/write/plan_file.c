/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_file - what becomes of one file's mapping: what is cut off goes, what is delayed is placed,
 * unwritten blocks with bytes become written, and blocks of the image that get new bytes are
 * remapped or sent through the transaction.
 *
 * Of a file of the image the whole mapping is decoded, edited and kept in its extra (DESIGN.md
 * section 1, rule 5); a new file has no extra here, its runs are its mapping.
 */
#include "config.h"

#include "write/plan_int.h"

#include <stdlib.h>

/* Overwrites of up to this many blocks in a file are journaled even where remapping would not split
 * it. */
enum { SMALL_OVER_BLKS = 16 };

/* A hole of a sparse file, at its begin as well, up to this long is left free on disk too. */
enum { GAP_MOST_BLKS = 256 };

uint64_t dafs_plan_file_new_blks(const struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];

	if (inode->state & DAFS_I_WHOLE)
		return (inode->size + plan->img->block_size - 1) >> plan->img->block_bits;
	return inode->u.file ? inode->u.file->es.delayed_blks : 0;
}

/* Record placed pieces as the item's runs. */
static errcode_t record(struct dafs_plan *plan, size_t item, const struct dafs_extlist *pieces,
			enum dafs_run_kind kind)
{
	errcode_t err = 0;

	for (size_t i = 0; i < pieces->n && !err; i++) {
		const struct dafs_extent *e = &pieces->v[i];
		struct dafs_plan_run run = { .pblk = e->pblk,
					     .lblk = e->lblk,
					     .len = e->len,
					     .kind = e->unwritten ? DAFS_RUN_UNWRITTEN : kind };

		err = dafs_plan_run_add(plan, item, &run);
	}
	return err;
}

/* Behind prev, with room for the hole between them while holes are small and blocks are plenty:
 * once it is filled the file is in one piece (reference, 4.1: files are assumed to become dense). A
 * wider hole is not kept: *goal is right behind prev, and false is returned. */
static bool goal_behind(struct dafs_plan *plan, const struct dafs_extent *prev, uint32_t lblk,
			uint64_t *goal)
{
	uint32_t hole = lblk - dafs_extent_end(prev);
	bool kept = !hole ||
		    (hole <= GAP_MOST_BLKS && hole <= plan->gap_budget_blks && !plan->cluster_mask);

	*goal = prev->pblk + prev->len + (kept ? hole : 0);
	return kept;
}

/* Where a run belongs if the file is to stay in one piece, or become it: behind what comes before
 * it, or before what comes after it. 0: nothing is near it. */
static uint64_t goal_of(struct dafs_plan *plan, const struct dafs_extlist *map,
			const struct dafs_extlist *edits, const struct dafs_wb_run *run)
{
	size_t i = dafs_extlist_search(map, run->lblk);
	const struct dafs_extent *prev = i ? &map->v[i - 1] : NULL;
	const struct dafs_extent *next = i < map->n ? &map->v[i] : NULL;
	const struct dafs_extent *last = edits->n ? &edits->v[edits->n - 1] : NULL;
	uint32_t end = run->lblk + run->len;
	uint64_t goal;

	if (last && (!prev || last->lblk > prev->lblk))
		prev = last;
	if (prev && next && next->pblk > prev->pblk &&
	    next->pblk - prev->pblk == next->lblk - prev->lblk)
		return prev->pblk + (run->lblk - prev->lblk);
	if (prev && goal_behind(plan, prev, run->lblk, &goal))
		return goal;
	if (next && next->lblk - end <= GAP_MOST_BLKS && next->pblk > next->lblk - run->lblk)
		return next->pblk - (next->lblk - run->lblk);
	return 0;
}

/* A run was placed behind a hole: what the hole keeps free is budgeted. */
static void charge_gap(struct dafs_plan *plan, const struct dafs_extlist *edits, size_t had)
{
	const struct dafs_extent *prev = had ? &edits->v[had - 1] : NULL;
	uint64_t gap;

	if (!prev || edits->n == had || edits->v[had].pblk < prev->pblk + prev->len)
		return;
	gap = edits->v[had].pblk - (prev->pblk + prev->len);
	if (gap == edits->v[had].lblk - dafs_extent_end(prev))
		plan->gap_budget_blks -= gap < plan->gap_budget_blks ? gap : plan->gap_budget_blks;
}

uint32_t dafs_plan_more(const struct dafs_plan *plan, size_t item, const struct dafs_wb_run *run)
{
	const struct dafs_part *part = plan->cs->part;

	if (!part || part->inode != plan->cs->inodes[item] ||
	    run->lblk + run->len != part->cut_lblk)
		return 0;
	return part->more_blks;
}

/* Place one collected run; map NULL: the file is new. */
static errcode_t place(struct dafs_plan *plan, size_t item, const struct dafs_wb_run *run,
		       const struct dafs_extlist *map, struct dafs_extlist *edits)
{
	struct dafs_place_req req = { .old = map,
				      .edits = edits,
				      .lblk = run->lblk,
				      .len = run->len,
				      .flags = DAFS_ALLOC_DATA,
				      .unwritten = run->kind == DAFS_WB_UNWRITTEN,
				      .more = dafs_plan_more(plan, item, run),
				      .ino = plan->items[item].ino,
				      .item = (uint32_t)item };
	size_t had = edits->n;
	errcode_t err;

	if (had && !plan->tight)
		goal_behind(plan, &edits->v[had - 1], run->lblk, &req.goal);
	else if (run->lblk <= GAP_MOST_BLKS && run->lblk <= plan->gap_budget_blks)
		req.lead = run->lblk;
	plan->gap_budget_blks -= req.lead;
	plan->stats.runs++;
	err = dafs_plan_place_run(plan, &req);
	if (!err)
		charge_gap(plan, edits, had);
	return err;
}

/* As much of a run as is free right behind what the file has before it (plan_pack.c): blocks that
 * are no extent more. 0: nothing is. */
static uint32_t grows_by(const struct dafs_plan *plan, const struct dafs_place_req *req)
{
	const struct dafs_extlist *lists[] = { req->old, req->edits };
	uint32_t most = 0;

	for (size_t l = 0; l < 2; l++) {
		size_t i = dafs_extlist_search(lists[l], req->lblk);
		const struct dafs_extent *prev = i ? &lists[l]->v[i - 1] : NULL;

		if (prev && dafs_extent_end(prev) == req->lblk &&
		    prev->pblk + prev->len == req->goal && !prev->unwritten == !req->unwritten &&
		    prev->len < DAFS_EXT_MAX_UNWRITTEN)
			most = DAFS_EXT_MAX_UNWRITTEN - prev->len;
	}
	return most ? dafs_mballoc_run_at(plan->ma, req->goal, most < req->len ? most : req->len)
		    : 0;
}

/* A run of a file of the image: in place, or among the rest. */
static errcode_t grow(struct dafs_plan *plan, size_t item, const struct dafs_wb_run *run)
{
	struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	struct dafs_place_req req = { .old = &extra->map,
				      .edits = &extra->edits,
				      .lblk = run->lblk,
				      .len = run->len,
				      .flags = DAFS_ALLOC_DATA | DAFS_ALLOC_GOAL_ONLY,
				      .more = dafs_plan_more(plan, item, run),
				      .ino = plan->items[item].ino,
				      .unwritten = run->kind == DAFS_WB_UNWRITTEN };
	const struct dafs_extlist *edits = &extra->edits;
	struct dafs_wb_run *rest, left = *run;
	errcode_t err = 0;

	if (plan->cs->inodes[item]->state & DAFS_I_PART)
		req.flags |= DAFS_ALLOC_KEPT;
	req.goal = goal_of(plan, &extra->map, &extra->edits, run);
	/* With bigalloc only the second pass knows what a run's clusters are made of. */
	if (req.goal && !plan->cluster_mask)
		err = dafs_plan_place_run(plan, &req);
	if (err)
		return err;
	if (edits->n && dafs_extent_end(&edits->v[edits->n - 1]) == run->lblk + run->len) {
		plan->stats.runs++;
		return 0;
	}
	if (plan->pack_blks) {
		req.len = grows_by(plan, &req);
		req.more = 0;
		if (req.len)
			err = dafs_plan_place_run(plan, &req);
		if (err)
			return err;
		left.lblk += req.len;
		left.len -= req.len;
	}
	rest = reallocarray(extra->rest, extra->nrest + 1, sizeof(*rest));
	if (!rest)
		return ENOMEM;
	rest[extra->nrest++] = left;
	extra->rest = rest;
	return 0;
}

/* Where unwritten blocks end that go on from extent m, whatever their places: one chunk, as the
 * kernel's writeback collects it. */
static uint32_t unwritten_until(const struct dafs_extlist *map, size_t m, uint32_t end)
{
	uint32_t until = dafs_extent_end(&map->v[m]);

	while (until < end && ++m < map->n && map->v[m].unwritten && map->v[m].lblk == until)
		until = dafs_extent_end(&map->v[m]);
	return until < end ? until : end;
}

/* Bytes for blocks that have their place: chosen at the write, unwritten in the image, or written
 * there. */
static errcode_t over_run(struct dafs_plan *plan, size_t item, const struct dafs_wb_run *run,
			  const struct dafs_extlist *map, struct dafs_extlist *edits,
			  struct dafs_extlist *over)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	const struct dafs_file *file = inode->u.file;
	const struct dafs_extlist *placed = &file->placed;
	uint32_t end = run->lblk + run->len, stop, chunk_end = 0;
	errcode_t err = 0;

	for (uint32_t at = run->lblk; at < end && !err; at = stop) {
		size_t m = map ? dafs_extlist_search(map, at) : 0,
		       p = dafs_extlist_search(placed, at);
		const struct dafs_extent *e;

		if (p < placed->n && placed->v[p].lblk <= at) {
			e = &placed->v[p];
			stop = dafs_extent_end(e) < end ? dafs_extent_end(e) : end;
			err = dafs_extlist_append(edits, e->pblk + (at - e->lblk), at, stop - at,
						  false);
			if (!err)
				err = dafs_plan_range_add(&plan->taken, e->pblk + (at - e->lblk),
							  stop - at);
		} else if (map && m < map->n && map->v[m].lblk <= at) {
			e = &map->v[m];
			stop = dafs_extent_end(e) < end ? dafs_extent_end(e) : end;
			if (e->unwritten && run->kind == DAFS_WB_OVER) {
				if (at >= chunk_end) {
					chunk_end = unwritten_until(map, m, end);
					dafs_plan_trace_chunk(plan, plan->items[item].ino, at,
							      chunk_end - at, "U");
				}
				dafs_plan_trace_convert(plan, plan->items[item].ino, at, stop - at,
							e);
			}
			err = dafs_extlist_append(e->unwritten ? edits : over,
						  e->pblk + (at - e->lblk), at, stop - at, false);
		} else if (at >= file->going_lblk && at < file->going_end) {
			stop = file->going_end < end ? file->going_end : end;
		} else {
			return dafs_plan_fail(plan, inode, DAFS_ET_INTERNAL,
					      "a pending block without a place");
		}
	}
	return err;
}

/* A delayed run of a file of the image: the mapping has only what came back (dafs_plan_refill). */
static errcode_t old_run(struct dafs_plan *plan, size_t item, const struct dafs_wb_run *run,
			 struct dafs_plan_extra *extra)
{
	uint32_t end = run->lblk + run->len;
	errcode_t err = 0;

	for (uint32_t at = run->lblk; at < end && !err;) {
		size_t m = dafs_extlist_search(&extra->map, at);
		const struct dafs_extent *e = m < extra->map.n ? &extra->map.v[m] : NULL;
		bool back = e && e->lblk <= at;
		uint32_t stop = !e ? end : back ? dafs_extent_end(e) : e->lblk;
		struct dafs_wb_run part = { .lblk = at, .kind = run->kind };

		part.len = (stop < end ? stop : end) - at;
		if (!back)
			err = grow(plan, item, &part);
		else if (run->kind == DAFS_WB_NEW)
			err = over_run(plan, item, &part, &extra->map, &extra->edits, &extra->over);
		at += part.len;
	}
	return err;
}

/* extra NULL: the file is new. */
static errcode_t place_runs(struct dafs_plan *plan, size_t item, struct dafs_plan_extra *extra,
			    struct dafs_extlist *edits)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	errcode_t err;

	if (!inode->u.file)
		return 0;
	err = dafs_writeback_collect(inode->u.file, plan->opts.max_chunk_blks, &plan->wb);
	if (!err && extra)
		err = dafs_plan_refill(plan, item, extra);
	if (!err && plan->wb.n)
		dafs_plan_trace_file(plan, item);
	for (size_t i = 0; i < plan->wb.n && !err; i++) {
		const struct dafs_wb_run *run = &plan->wb.v[i];
		bool bytes = run->kind != DAFS_WB_UNWRITTEN;

		if (bytes)
			dafs_plan_trace_folios(plan, plan->items[item].ino, false, run->lblk,
					       run->len);
		if (run->kind == DAFS_WB_NEW)
			dafs_plan_trace_chunk(plan, plan->items[item].ino, run->lblk, run->len,
					      "0x100");
		if (run->kind == DAFS_WB_OVER)
			err = over_run(plan, item, run, extra ? &extra->map : NULL, edits,
				       extra ? &extra->over : NULL);
		else
			err = extra ? old_run(plan, item, run, extra)
				    : place(plan, item, run, NULL, edits);
		if (!err && bytes)
			dafs_plan_trace_folios(plan, plan->items[item].ino, true, run->lblk,
					       run->len);
	}
	return err;
}

static errcode_t new_file(struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	uint64_t blks = dafs_plan_file_new_blks(plan, item);
	uint32_t most = plan->opts.max_chunk_blks ? plan->opts.max_chunk_blks : UINT32_MAX;
	errcode_t err = 0;

	plan->edits.n = 0;
	if (inode->state & DAFS_I_WHOLE) {
		dafs_plan_trace_file(plan, item);
		for (uint32_t at = 0; at < blks && !err;) {
			struct dafs_wb_run run = { .lblk = at,
						   .len = blks - at < most ? (uint32_t)(blks - at)
									   : most,
						   .kind = DAFS_WB_NEW };

			dafs_plan_trace_folios(plan, plan->items[item].ino, false, run.lblk,
					       run.len);
			dafs_plan_trace_chunk(plan, plan->items[item].ino, run.lblk, run.len,
					      "0x100");
			err = place(plan, item, &run, NULL, &plan->edits);
			dafs_plan_trace_folios(plan, plan->items[item].ino, true, run.lblk,
					       run.len);
			at += run.len;
		}
	} else {
		err = place_runs(plan, item, NULL, &plan->edits);
	}
	return err ? err : record(plan, item, &plan->edits, DAFS_RUN_DATA);
}

/* What truncate and punch took from the image's mapping. */
static errcode_t cut(const struct dafs_inode *inode, struct dafs_plan_extra *extra)
{
	const struct dafs_file *file = inode->u.file;
	uint32_t end = file ? file->image_end_lblk : DAFS_RANGE_END;
	errcode_t err;

	if (inode->state & DAFS_I_TRUNC0)
		end = 0;
	err = dafs_extlist_clear(&extra->map, end, DAFS_RANGE_END, &extra->freed);
	if (!err && file)
		err = dafs_extlist_cut(&extra->map, &file->punched, &extra->freed);
	return err;
}

/* The image's mapping of the file, decoded into its extra. Indirect blocks are given back: the file
 * will have extents. */
static errcode_t load(struct dafs_plan *plan, size_t item, struct dafs_plan_extra **ret)
{
	struct dafs_plan_extra *extra;
	struct ext2_inode_large *raw;
	errcode_t err = dafs_plan_raw(plan, item, &raw);

	*ret = extra = dafs_plan_extra_of(plan, item);
	if (err)
		return err;
	extra->mapped = true;
	if (raw->i_flags & EXT4_INLINE_DATA_FL)
		return 0;
	err = dafs_etree_decode(plan->img, plan->items[item].ino, raw, &extra->map, &extra->nodes);
	extra->nold = extra->nodes.n;
	if (!err && !(raw->i_flags & EXT4_EXTENTS_FL)) {
		for (size_t i = 0; i < extra->nodes.n && !err; i++)
			err = dafs_plan_give_meta(plan, plan->items[item].ino, raw->i_mode,
						  extra->nodes.v[i]);
		extra->nodes.n = extra->nold = 0;
	}
	return err;
}

static int by_pblk(const void *a, const void *b)
{
	const struct dafs_extent *x = a, *y = b;

	return x->pblk < y->pblk ? -1 : x->pblk > y->pblk;
}

/* Record what was placed. With bigalloc a block that was punched and written again comes back to
 * its own place when the rest of its cluster stays: the image still maps it, its bytes are live. */
static errcode_t record_edits(struct dafs_plan *plan, size_t item, struct dafs_plan_extra *extra)
{
	errcode_t err = 0;

	if (!plan->cluster_mask || !extra->freed.n)
		return record(plan, item, &extra->edits, DAFS_RUN_DATA);
	qsort(extra->freed.v, extra->freed.n, sizeof(*extra->freed.v), by_pblk);
	for (size_t i = 0; i < extra->edits.n && !err; i++)
		err = dafs_plan_run_back(plan, item, &extra->edits.v[i], &extra->freed);
	return err;
}

errcode_t dafs_plan_file_grow(struct dafs_plan *plan, size_t item)
{
	struct dafs_plan_extra *extra;
	errcode_t err = load(plan, item, &extra);

	if (!err)
		err = cut(plan->cs->inodes[item], extra);
	return err ? err : place_runs(plan, item, extra, &extra->edits);
}

/* The runs that found no room next to the file's own blocks. */
static errcode_t place_rest(struct dafs_plan *plan, size_t item, struct dafs_plan_extra *extra)
{
	struct dafs_place_req req = { .old = &extra->map,
				      .also = &extra->edits,
				      .edits = &plan->edits,
				      .flags = DAFS_ALLOC_DATA,
				      .ino = plan->items[item].ino,
				      .item = (uint32_t)item };
	errcode_t err = 0;
	size_t had;

	plan->edits.n = 0;
	for (size_t i = 0; i < extra->nrest && !err; i++) {
		req.lblk = extra->rest[i].lblk;
		req.len = extra->rest[i].len;
		req.more = dafs_plan_more(plan, item, &extra->rest[i]);
		req.unwritten = extra->rest[i].kind == DAFS_WB_UNWRITTEN;
		req.goal = 0;
		had = plan->edits.n;
		if (had && !plan->tight)
			goal_behind(plan, &plan->edits.v[had - 1], req.lblk, &req.goal);
		plan->stats.runs++;
		err = dafs_plan_place_run(plan, &req);
		if (!err)
			charge_gap(plan, &plan->edits, had);
	}
	free(extra->rest);
	extra->rest = NULL;
	extra->nrest = 0;
	return err ? err : dafs_extlist_apply(&extra->edits, &plan->edits, NULL);
}

static errcode_t old_file(struct dafs_plan *plan, size_t item)
{
	struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	errcode_t err = place_rest(plan, item, extra);

	if (!err)
		err = dafs_extlist_apply(&extra->map, &extra->edits, &extra->freed);
	dafs_plan_trace_freed(plan, plan->items[item].ino, plan->cs->inodes[item]->mode,
			      &extra->freed, "");
	if (!err)
		err = dafs_plan_give_map(plan, &extra->freed, &extra->map, false);
	if (!err && extra->over.n) {
		/* Runs stand together: they are recorded when the rest is decided. */
		plan->any_over = true;
		return 0;
	}
	if (!err)
		err = record_edits(plan, item, extra);
	dafs_extlist_fini(&extra->edits);
	dafs_extlist_fini(&extra->freed);
	return err;
}

errcode_t dafs_plan_file(struct dafs_plan *plan, size_t item)
{
	return plan->cs->inodes[item]->state & DAFS_I_NEW ? new_file(plan, item)
							  : old_file(plan, item);
}

/* ---- overwritten blocks ---- */

/* May [lblk, end) leave its place without cutting an extent in two (or, with bigalloc, a cluster)?
 */
static bool comes_off_whole(const struct dafs_plan *plan, const struct dafs_extlist *map,
			    uint32_t lblk, uint32_t end)
{
	size_t first = dafs_extlist_search(map, lblk), last = dafs_extlist_search(map, end - 1);

	if (map->v[first].lblk != lblk || dafs_extent_end(&map->v[last]) != end)
		return false;
	if (!plan->cluster_mask)
		return true;
	if (lblk & plan->cluster_mask)
		return false;
	return last + 1 == map->n || map->v[last + 1].lblk > ((end - 1) | plan->cluster_mask);
}

/* One stretch of overwritten blocks: pieces over[from, to) that follow each other logically. */
static errcode_t decide(struct dafs_plan *plan, size_t item, size_t from, size_t to, bool small,
			struct dafs_extlist *moved, struct dafs_extlist *live)
{
	struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	const struct dafs_extent *v = extra->over.v;
	uint32_t lblk = v[from].lblk, end = dafs_extent_end(&v[to - 1]), len = end - lblk;
	bool whole = comes_off_whole(plan, &extra->map, lblk, end);
	bool fits = len <= plan->live_budget_blks;
	bool must = dafs_extlist_blocks(live) + len > plan->live_limit_blks;
	uint64_t clusters = ((uint64_t)len + plan->cluster_mask) >> plan->img->cluster_bits;
	bool room = dafs_mballoc_free_clusters(plan->ma) >= plan->keep_clusters + clusters + 4;
	errcode_t err = 0;

	/* With bigalloc only what comes off in whole clusters can move. */
	if (must || (room && (whole ? !(small && fits) : !fits && !plan->cluster_mask))) {
		struct dafs_place_req req = { .edits = moved,
					      .lblk = lblk,
					      .len = len,
					      .flags = DAFS_ALLOC_DATA,
					      .ino = plan->items[item].ino };

		if (!whole && plan->cluster_mask)
			return dafs_plan_fail(plan, plan->cs->inodes[item], DAFS_ET_NOSPC_ALLOC,
					      "too much is overwritten in place");
		/* What has to move was promised beside the metadata. */
		if (must)
			plan->meta_clusters += clusters;
		/* Moving may cut extents: leave room for that in the tree. */
		plan->keep_clusters += 2;
		return dafs_plan_place_run(plan, &req);
	}
	plan->live_budget_blks -= fits ? len : plan->live_budget_blks;
	for (size_t i = from; i < to && !err; i++)
		err = dafs_extlist_append(live, v[i].pblk, v[i].lblk, v[i].len, false);
	return err;
}

errcode_t dafs_plan_file_over(struct dafs_plan *plan, size_t item)
{
	struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	struct dafs_extlist moved = { 0 }, live = { 0 }, freed = { 0 };
	bool small = dafs_extlist_blocks(&extra->over) <= SMALL_OVER_BLKS;
	size_t to;
	errcode_t err = 0;

	plan->live_budget_blks += extra->refilled_blks;
	for (size_t from = 0; from < extra->over.n && !err; from = to) {
		for (to = from + 1; to < extra->over.n; to++) {
			if (dafs_extent_end(&extra->over.v[to - 1]) != extra->over.v[to].lblk)
				break;
		}
		err = decide(plan, item, from, to, small, &moved, &live);
	}
	if (!err)
		err = dafs_extlist_apply(&extra->map, &moved, &freed);
	dafs_plan_trace_freed(plan, plan->items[item].ino, plan->cs->inodes[item]->mode, &freed,
			      "");
	if (!err)
		err = dafs_plan_give_map(plan, &freed, &extra->map, false);
	if (!err)
		err = record_edits(plan, item, extra);
	if (!err)
		err = record(plan, item, &moved, DAFS_RUN_DATA);
	if (!err)
		err = record(plan, item, &live, DAFS_RUN_LIVE);
	plan->stats.live_blks += dafs_extlist_blocks(&live);
	dafs_extlist_fini(&extra->edits);
	dafs_extlist_fini(&extra->freed);
	dafs_extlist_fini(&extra->over);
	dafs_extlist_fini(&moved);
	dafs_extlist_fini(&live);
	dafs_extlist_fini(&freed);
	return err;
}
