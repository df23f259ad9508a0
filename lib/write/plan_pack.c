/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_pack - where requests go when some have to be cut: all that are not shorter than
 * plan->pack_blks are placed at once, by model/pack, so that the pieces in sum are the fewest
 * that can be found. What is shorter goes as usual, around them: files of a directory stay side
 * by side as far as the room allows. dafs_plan_new (plan.c) says when this is done, and with
 * which length.
 *
 * A file of the image grows into what is free right behind it first, even where that holds a part
 * of the run only: such a piece is no extent more, and whatever stood there otherwise can stand
 * where the part would be, cut as often as that was. So it never costs one.
 *
 * Not with bigalloc, where a request's ends may share clusters with what is placed before it.
 */
#include "config.h"

#include "write/plan_int.h"

#include "base/array.h"
#include "model/pack.h"

#include <errno.h>
#include <stdlib.h>

/* Bitmaps of so many groups are looked into for it at the most (128 MiB of 4 KiB blocks). */
enum { MOST_GROUPS = 32768 };

/* A request; its lengths (of one extent at the most each) are from first on, in the solution. */
struct request {
	uint32_t item, lblk, len;
	size_t first;
	bool unwritten, packed;
};

struct dafs_plan_pack {
	struct request *v;
	size_t n, room;
	struct dafs_pack solution;
};

bool dafs_plan_can_pack(const struct dafs_plan *plan)
{
	return !plan->cluster_mask && !plan->opts.order_dirty && !plan->opts.kernel_place &&
	       !plan->opts.max_chunk_blks && !plan->cs->part && !plan->tight &&
	       plan->space.groups <= MOST_GROUPS;
}

void dafs_plan_pack_free(struct dafs_plan_pack *pack)
{
	if (!pack)
		return;
	dafs_pack_fini(&pack->solution);
	free(pack->v);
	free(pack);
}

static errcode_t add_request(struct dafs_plan *plan, size_t item, const struct dafs_wb_run *run)
{
	struct dafs_plan_pack *pack = plan->pack;
	errcode_t err = dafs_array_grow(&pack->v, pack->n, &pack->room, sizeof(*pack->v));

	if (!err)
		pack->v[pack->n++] =
			(struct request){ .item = (uint32_t)item,
					  .lblk = run->lblk,
					  .len = run->len,
					  .unwritten = run->kind == DAFS_WB_UNWRITTEN };
	return err;
}

/* What an item will ask for: all of a new file's delayed blocks, what could not grow of others. */
static errcode_t requests_of(struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	struct dafs_wb_run whole = { .len = (uint32_t)dafs_plan_file_new_blks(plan, item),
				     .kind = DAFS_WB_NEW };
	errcode_t err = 0;

	if (!(inode->state & DAFS_I_NEW)) {
		for (size_t i = 0; i < extra->nrest && !err; i++)
			err = add_request(plan, item, &extra->rest[i]);
		return err;
	}
	if (inode->state & DAFS_I_WHOLE)
		return whole.len ? add_request(plan, item, &whole) : 0;
	if (inode->u.file)
		err = dafs_writeback_collect(inode->u.file, 0, &plan->wb);
	for (size_t i = 0; inode->u.file && i < plan->wb.n && !err; i++) {
		if (plan->wb.v[i].kind != DAFS_WB_OVER)
			err = add_request(plan, item, &plan->wb.v[i]);
	}
	return err;
}

/* The lengths of requests of at least min blocks, each at most as long as an extent. *ret is to be
 * freed. */
static errcode_t lengths(struct dafs_plan_pack *pack, uint32_t min, uint64_t **ret, size_t *n)
{
	size_t room = 0;
	errcode_t err = 0;

	*ret = NULL;
	*n = 0;
	for (size_t i = 0; i < pack->n && !err; i++) {
		struct request *req = &pack->v[i];

		req->packed = req->len >= min;
		req->first = *n;
		for (uint32_t at = 0; at < req->len && req->packed && !err;) {
			uint32_t len = req->len - at, most = DAFS_EXT_MAX_WRITTEN;

			if (req->unwritten)
				most = DAFS_EXT_MAX_UNWRITTEN;
			if (len > most)
				len = most;
			err = dafs_array_grow(ret, *n, &room, sizeof(**ret));
			if (!err)
				(*ret)[(*n)++] = len;
			at += len;
		}
	}
	return err;
}

/* Nobody else gets what the solution has. */
static errcode_t take_all(struct dafs_plan *plan, size_t n)
{
	const struct dafs_pack *solution = &plan->pack->solution;
	errcode_t err = 0;

	for (size_t k = 0; k < solution->first[n] && !err; k++)
		err = dafs_mballoc_take(plan->ma, solution->pieces[k].start,
					(uint32_t)solution->pieces[k].len);
	return err;
}

errcode_t dafs_plan_pack(struct dafs_plan *plan)
{
	struct dafs_pack_run *runs = NULL;
	uint64_t *lens = NULL;
	size_t nruns = 0, n = 0;
	errcode_t err = 0;

	plan->pack = calloc(1, sizeof(*plan->pack));
	if (!plan->pack)
		return ENOMEM;
	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		if (dafs_plan_has_data(plan, i))
			err = requests_of(plan, i);
	}
	if (!err)
		err = dafs_mballoc_runs(plan->ma, &runs, &nruns);
	for (size_t r = 0; r < nruns; r++) {
		if (runs[r].len > plan->longest_blks)
			plan->longest_blks = runs[r].len;
	}
	if (!err)
		err = lengths(plan->pack, 1, &lens, &n);
	if (!err)
		plan->least_pieces = dafs_pack_least(lens, n, runs, nruns);
	free(lens);
	lens = NULL;
	if (!err)
		err = lengths(plan->pack, plan->pack_blks, &lens, &n);
	if (!err && n)
		err = dafs_pack_solve(lens, n, runs, nruns, &plan->pack->solution);
	/* Solved exactly, it says more than the bound. */
	if (!err && n && plan->pack_blks <= 1 && plan->pack->solution.least > plan->least_pieces)
		plan->least_pieces = plan->pack->solution.least;
	if (!err && n)
		err = take_all(plan, n);
	free(lens);
	free(runs);
	return err;
}

static const struct request *find(const struct dafs_plan *plan, uint32_t item, uint32_t lblk)
{
	const struct dafs_plan_pack *pack = plan->pack;
	size_t lo = 0, hi = pack->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct request *r = &pack->v[mid];

		if (r->item < item || (r->item == item && r->lblk < lblk))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < pack->n && pack->v[lo].item == item && pack->v[lo].lblk == lblk ? &pack->v[lo]
										    : NULL;
}

errcode_t dafs_plan_packed(struct dafs_plan *plan, uint32_t item, const struct dafs_alloc_req *ask)
{
	const struct request *req = plan->pack ? find(plan, item, ask->lblk) : NULL;
	struct dafs_alloc_req part = *ask;
	const struct dafs_pack *solution;
	errcode_t err = 0;
	size_t k;

	if (!req || !req->packed || req->len != ask->len)
		return 0;
	solution = &plan->pack->solution;
	part.more = part.lead = 0;
	part.flags |= DAFS_ALLOC_GOAL_ONLY;
	for (k = solution->first[req->first]; part.lblk - ask->lblk < ask->len && !err; k++) {
		part.goal = solution->pieces[k].start;
		part.len = (uint32_t)solution->pieces[k].len;
		err = dafs_mballoc_return(plan->ma, part.goal, part.len);
		if (!err)
			err = dafs_mballoc_place(plan->ma, &part, &plan->pieces);
		part.lblk += part.len;
	}
	return err;
}
