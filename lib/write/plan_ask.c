/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_ask - one run, or one metadata block, from the allocator into the plan: where it is asked
 * for, what is noted as taken, what the trace tells of it. With bigalloc a run is cut where its
 * clusters are allocated already. Which run comes when is decided elsewhere (plan_place.c,
 * plan_meta.c).
 */
#include "config.h"

#include "write/plan_int.h"

#include "base/trace.h"

static errcode_t take_clusters(struct dafs_plan *plan, uint64_t pblk, uint64_t len, bool meta)
{
	uint64_t start = pblk & ~(uint64_t)plan->cluster_mask;
	uint64_t end = (pblk + len + plan->cluster_mask) & ~(uint64_t)plan->cluster_mask;

	if (meta)
		plan->meta_clusters += (end - start) >> plan->img->cluster_bits;
	return dafs_plan_range_add(&plan->taken, start, end - start);
}

/* The file's blocks nearest to a request, for the trace. */
static void name_neighbours(const struct dafs_place_req *req, struct dafs_alloc_req *ar)
{
	const struct dafs_extlist *lists[] = { req->old, req->also, req->edits };

	for (size_t l = 0; l < 3; l++) {
		const struct dafs_extlist *xl = lists[l];
		size_t at = xl ? dafs_extlist_search(xl, ar->lblk) : 0;

		if (xl && at && (!ar->pleft || dafs_extent_end(&xl->v[at - 1]) > ar->lleft)) {
			ar->lleft = dafs_extent_end(&xl->v[at - 1]) - 1;
			ar->pleft = xl->v[at - 1].pblk + xl->v[at - 1].len - 1;
		}
		if (xl && at < xl->n && (!ar->pright || xl->v[at].lblk < ar->lright)) {
			ar->lright = xl->v[at].lblk;
			ar->pright = xl->v[at].pblk;
		}
	}
}

/* Ask the allocator: at the goal first where there is one, else where the last of this kind ended.
 * Pieces into plan->pieces. */
static errcode_t ask(struct dafs_plan *plan, const struct dafs_place_req *req, uint32_t lblk,
		     uint32_t len)
{
	bool meta = req->flags & DAFS_ALLOC_META;
	uint64_t *next = meta ? &plan->meta_goal : &plan->data_goal;
	struct dafs_alloc_req ar = {
		.goal = req->goal, .lblk = lblk, .len = len, .flags = req->flags, .ino = req->ino
	};
	const struct dafs_extent *last;
	errcode_t err = 0;

	if (lblk + len == req->lblk + req->len)
		ar.more = req->more;
	if (lblk == req->lblk)
		ar.lead = req->lead;
	if (plan->img->ctx->trace)
		name_neighbours(req, &ar);

	if (plan->opts.kernel_place && !meta)
		ar.flags |= DAFS_ALLOC_KERNEL;
	if (plan->tight)
		ar.flags |= DAFS_ALLOC_TIGHT;
	plan->pieces.n = 0;
	if (plan->pack && !meta && !(req->flags & DAFS_ALLOC_GOAL_ONLY)) {
		err = dafs_plan_packed(plan, req->item, &ar);
		if (err || plan->pieces.n) {
			plan->stats.alloc_calls++;
			return err;
		}
	}
	if (ar.goal && !(ar.flags & DAFS_ALLOC_KERNEL)) {
		ar.flags |= DAFS_ALLOC_GOAL_ONLY;
		err = dafs_mballoc_place(plan->ma, &ar, &plan->pieces);
		ar.flags &= ~(unsigned)DAFS_ALLOC_GOAL_ONLY;
		ar.goal = *next;
	} else if (!ar.goal) {
		ar.goal = *next;
	}
	ar.crumbs = plan->crumbs;
	if (!err && !plan->pieces.n && !(req->flags & DAFS_ALLOC_GOAL_ONLY))
		err = dafs_mballoc_place(plan->ma, &ar, &plan->pieces);
	plan->stats.alloc_calls++;
	if (err || !plan->pieces.n)
		return err;
	if (plan->crumbs)
		plan->crumbs -= plan->pieces.n <= plan->crumbs ? (uint32_t)plan->pieces.n - 1
							       : plan->crumbs;
	last = &plan->pieces.v[plan->pieces.n - 1];
	*next = last->pblk + last->len;
	return 0;
}

static errcode_t place_new(struct dafs_plan *plan, const struct dafs_place_req *req, uint32_t lblk,
			   uint32_t len)
{
	bool meta = req->flags & DAFS_ALLOC_META;
	size_t mark = dafs_trace_hold(plan->img->ctx->trace);
	errcode_t err;

	dafs_plan_trace_map(plan, req, lblk, len);
	err = ask(plan, req, lblk, len);
	/* Nothing at the goal: that was no call. */
	if (err || !plan->pieces.n) {
		dafs_trace_drop(plan->img->ctx->trace, mark);
		return err;
	}
	dafs_trace_keep(plan->img->ctx->trace);
	if (!meta && !(req->flags & DAFS_ALLOC_GOAL_ONLY))
		plan->data_pieces += plan->pieces.n;
	if (!meta && plan->pieces.n > (len - 1) / DAFS_EXT_MAX_UNWRITTEN + 1 &&
	    (!plan->least_cut || len < plan->least_cut))
		plan->least_cut = len;
	for (size_t i = 0; i < plan->pieces.n && !err; i++) {
		const struct dafs_extent *e = &plan->pieces.v[i];

		err = dafs_extlist_append(req->edits, e->pblk, e->lblk, e->len, req->unwritten);
		if (!err)
			err = take_clusters(plan, e->pblk, e->len, meta);
		if (i && e->pblk != e[-1].pblk + e[-1].len)
			plan->stats.split_runs++;
		dafs_plan_trace_mapped(plan, req, e);
	}
	return err;
}

/* Where the cluster of lblk begins on disk, when map has a block in it. */
static bool cluster_pblk(const struct dafs_plan *plan, const struct dafs_extlist *map,
			 uint32_t lblk, uint64_t *pblk)
{
	uint32_t start = lblk & ~plan->cluster_mask;
	size_t i;

	if (!map)
		return false;
	i = dafs_extlist_search(map, start);
	if (i == map->n || map->v[i].lblk > (lblk | plan->cluster_mask))
		return false;
	*pblk = map->v[i].lblk > start ? map->v[i].pblk : map->v[i].pblk + (start - map->v[i].lblk);
	*pblk &= ~(uint64_t)plan->cluster_mask;
	return true;
}

static bool cluster_held(const struct dafs_plan *plan, const struct dafs_place_req *req,
			 uint32_t lblk, uint64_t *pblk)
{
	return cluster_pblk(plan, req->old, lblk, pblk) ||
	       cluster_pblk(plan, req->also, lblk, pblk) ||
	       cluster_pblk(plan, req->edits, lblk, pblk);
}

errcode_t dafs_plan_place_run(struct dafs_plan *plan, const struct dafs_place_req *req)
{
	const uint32_t mask = plan->cluster_mask;
	uint32_t end = req->lblk + req->len;
	errcode_t err = 0;

	if (!mask)
		return place_new(plan, req, req->lblk, req->len);
	/* Clusters at both ends may be allocated already: their blocks have their place (implied
	 * allocation). */
	for (uint32_t at = req->lblk; at < end && !err;) {
		uint64_t base;
		uint32_t stop = end;

		if (at > req->lblk && req->flags & DAFS_ALLOC_DATA && !req->unwritten)
			dafs_plan_trace_chunk(plan, req->ino, at, end - at, "0x100");
		if (cluster_held(plan, req, at, &base)) {
			if (stop > (at | mask) + 1)
				stop = (at | mask) + 1;
			dafs_plan_trace_implied(plan, req,
						&(struct dafs_extent){ .pblk = base + (at & mask),
								       .lblk = at,
								       .len = stop - at });
			err = dafs_extlist_append(req->edits, base + (at & mask), at, stop - at,
						  req->unwritten);
		} else {
			if ((end & mask) && (end & ~mask) > at &&
			    cluster_held(plan, req, end & ~mask, &base))
				stop = end & ~mask;
			err = place_new(plan, req, at, stop - at);
		}
		at = stop;
	}
	return err;
}

errcode_t dafs_plan_place_meta(struct dafs_plan *plan, uint64_t ino, uint64_t *pblk)
{
	struct dafs_place_req req = { .flags = DAFS_ALLOC_META, .ino = ino };
	errcode_t err = ask(plan, &req, 0, 1);

	if (err)
		return err;
	*pblk = plan->pieces.v[0].pblk;
	plan->stats.meta_new_blks++;
	return take_clusters(plan, *pblk, 1, true);
}
