/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan - steps 2 and 3 of a flush as one value (see flush.h and plan_int.h). This file makes, walks
 * and frees it.
 *
 * Leaves the image alone: inode numbers and blocks are known to the plan only, until
 * dafs_plan_execute.
 */
#include "config.h"

#include "write/plan_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "write/dareserve.h"
#include "base/trace.h"

/* Of what one file may send through the journal, this part goes there by preference. */
#define LIVE_PART_OF_LIMIT 2u

/* Of what is packed, the next try takes requests down to this part of the length as well. */
#define PACK_STEP 8u

/* What a plan works with: a table of items, and allocators over the image as it is committed. */
static errcode_t new_parts(struct dafs_plan *plan)
{
	struct dafs_image *img = plan->img;
	errcode_t err;

	plan->items = calloc(plan->cs->n ? plan->cs->n : 1, sizeof(*plan->items));
	if (!plan->items)
		return ENOMEM;
	/* Shaping decides what stands in its inode, and says so in the flags: not for good before
	 * the plan is executed. */
	if (img->has_inline_data) {
		plan->iflags = calloc(plan->cs->n ? plan->cs->n : 1, sizeof(*plan->iflags));
		if (!plan->iflags)
			return ENOMEM;
		for (size_t i = 0; i < plan->cs->n; i++)
			plan->iflags[i] = plan->cs->inodes[i]->iflags;
	}
	dafs_space_of_image(img, &plan->space);
	dafs_ispace_of_image(img, &plan->ispace);
	err = dafs_mballoc_new(img->ctx, &plan->space, &plan->ma);
	if (!err)
		err = dafs_ialloc_new(img->ctx, &plan->ispace, &plan->ia);
	return err;
}

/* What dafs_plan_new is asked for. */
struct question {
	struct dafs_image *img;
	const struct dafs_changeset *cs;
	const struct dafs_flush_opts *opts;
};

/* Which of the ways to plan. */
struct how {
	unsigned effort;    /* enum dafs_plan_effort */
	uint32_t pack_blks; /* struct dafs_plan */
};

static errcode_t make_plan(struct dafs_image *img, const struct dafs_changeset *cs,
			   const struct dafs_flush_opts *opts, struct how how,
			   struct dafs_plan **ret)
{
	struct dafs_plan *plan = calloc(1, sizeof(*plan));
	errcode_t err;

	*ret = NULL;
	if (!plan)
		return ENOMEM;
	plan->img = img;
	plan->cs = cs;
	plan->effort = how.effort;
	plan->pack_blks = how.pack_blks;
	plan->tight = how.effort >= DAFS_EFFORT_TIGHT;
	plan->cluster_mask = (1u << img->cluster_bits) - 1;
	if (opts)
		memcpy(&plan->opts, opts,
		       opts->size < sizeof(plan->opts) ? opts->size : sizeof(plan->opts));
	if (how.effort > DAFS_EFFORT_ASKED) {
		plan->opts.order_dirty = false;
		plan->opts.kernel_place = false;
		plan->opts.max_chunk_blks = 0;
	}
	plan->live_limit_blks = dafs_dareserve_live_limit(img);
	plan->live_budget_blks = plan->live_limit_blks / LIVE_PART_OF_LIMIT;
	err = cs->n >= UINT32_MAX ? DAFS_ET_RANGE : new_parts(plan);
	if (!err)
		err = dafs_plan_number(plan);
	for (size_t i = 0; !err && img->ctx->trace && i < cs->n; i++)
		dafs_plan_trace_inode(plan, i);
	if (!err)
		err = dafs_plan_shape(plan);
	if (!err)
		err = dafs_plan_place(plan);
	if (!err)
		err = dafs_quota_plan(plan);
	if (err)
		dafs_plan_free(plan);
	else
		*ret = plan;
	return err;
}

/* A plan in another way instead of *ret, and its trace instead of what it left behind mark. */
static errcode_t plan_again(const struct question *q, struct how how, size_t *mark,
			    struct dafs_plan **ret)
{
	struct dafs_trace *trace = q->img->ctx->trace;

	dafs_plan_free(*ret);
	dafs_trace_drop(trace, *mark);
	*mark = dafs_trace_hold(trace);
	return make_plan(q->img, q->cs, q->opts, how, ret);
}

/* Extents that the files of a plan will have. */
static uint64_t extents_of(const struct dafs_plan *plan)
{
	uint64_t n = 0;

	for (size_t i = 0; i < plan->cs->n; i++) {
		const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);

		if (dafs_plan_has_data(plan, i))
			n += extra && extra->mapped ? extra->map.n : plan->items[i].nruns;
	}
	return n;
}

/* A plan has cut files: look for one that needs fewer pieces. First what is as long as the shortest
 * that was cut is placed together, then shorter ones too, in the end all; the fewest pieces count,
 * and among equals the one that keeps most of the usual order. */
static errcode_t cut_less(const struct question *q, size_t *mark, struct dafs_plan **ret)
{
	struct how how = { .pack_blks = (*ret)->least_cut }, best = { 0 }, last = { 0 };
	uint64_t fewest = extents_of(*ret), least = 0, extents, longest = 0;
	errcode_t err = 0;

	for (;;) {
		err = plan_again(q, how, mark, ret);
		last = how;
		if (err && err != DAFS_ET_NOSPC_ALLOC)
			return err;
		if (!err) {
			extents = extents_of(*ret);
			longest = (*ret)->longest_blks;
			least = extents - (*ret)->data_pieces + (*ret)->least_pieces;
			if (extents < fewest) {
				fewest = extents;
				best = how;
			}
			if (fewest <= least)
				break;
		}
		if (how.pack_blks <= 1)
			break;
		how.pack_blks = how.pack_blks / PACK_STEP ? how.pack_blks / PACK_STEP : 1;
	}
	if (err || last.pack_blks != best.pack_blks)
		err = plan_again(q, best, mark, ret);
	if (!err) {
		(*ret)->stats.over_least = least && fewest > least ? fewest - least : 0;
		(*ret)->longest_blks = longest;
	}
	return err;
}

errcode_t dafs_plan_new(struct dafs_image *img, const struct dafs_changeset *cs,
			const struct dafs_flush_opts *opts, struct dafs_plan **ret)
{
	struct question q = { img, cs, opts };
	size_t mark = dafs_trace_hold(img->ctx->trace);
	errcode_t err = make_plan(img, cs, opts, (struct how){ .effort = DAFS_EFFORT_ASKED }, ret);

	if (!err && (*ret)->least_cut && dafs_plan_can_pack(*ret))
		err = cut_less(&q, &mark, ret);
	/* Files in their order may need more pieces, so more tree blocks, than the last room
	 * has. */
	for (unsigned effort = DAFS_EFFORT_USUAL;
	     err == DAFS_ET_NOSPC_ALLOC && effort <= DAFS_EFFORT_LAST; effort++)
		err = plan_again(&q, (struct how){ .effort = effort }, &mark, ret);
	dafs_trace_keep(img->ctx->trace);
	return err;
}

static void free_xattrs(struct dafs_plan_xattrs *xattrs)
{
	if (!xattrs)
		return;
	for (uint32_t i = 0; xattrs->bodies && i < xattrs->lay.nvalues; i++)
		dafs_plan_body_fini(&xattrs->bodies[i]);
	free(xattrs->bodies);
	free(xattrs->values);
	free(xattrs);
}

static void free_extra(struct dafs_plan_extra *extra)
{
	dafs_extlist_fini(&extra->map);
	dafs_extlist_fini(&extra->edits);
	free(extra->rest);
	dafs_extlist_fini(&extra->over);
	dafs_extlist_fini(&extra->freed);
	dafs_blklist_fini(&extra->nodes);
	free_xattrs(extra->xattrs);
	free(extra->raw);
	free(extra);
}

void dafs_plan_free(struct dafs_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; plan->items && i < plan->cs->n; i++) {
		if (plan->items[i].extra)
			dafs_plan_close_dir(plan, i);
	}
	for (size_t i = 0; i < plan->nextras; i++)
		free_extra(plan->extras[i]);
	dafs_quota_free(plan->quota);
	dafs_plan_pack_free(plan->pack);
	for (size_t i = 0; plan->iflags && !plan->executed && i < plan->cs->n; i++)
		plan->cs->inodes[i]->iflags = plan->iflags[i];
	free(plan->iflags);
	free(plan->extras);
	free(plan->items);
	free(plan->runs);
	free(plan->dirs);
	free(plan->taken.v);
	free(plan->given.v);
	free(plan->revoked.v);
	dafs_writeback_fini(&plan->wb);
	dafs_extlist_fini(&plan->pieces);
	dafs_extlist_fini(&plan->edits);
	dafs_mballoc_free(plan->ma);
	dafs_ialloc_free(plan->ia);
	free(plan);
}

errcode_t dafs_plan_extra(struct dafs_plan *plan, size_t item, struct dafs_plan_extra **ret)
{
	errcode_t err;

	*ret = dafs_plan_extra_of(plan, item);
	if (*ret)
		return 0;
	err = dafs_array_grow(&plan->extras, plan->nextras, &plan->extras_room,
			      sizeof(*plan->extras));
	if (err)
		return err;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return ENOMEM;
	plan->extras[plan->nextras++] = *ret;
	plan->items[item].extra = (uint32_t)plan->nextras;
	return 0;
}

errcode_t dafs_plan_raw(struct dafs_plan *plan, size_t item, struct ext2_inode_large **ret)
{
	struct dafs_plan_extra *extra;
	errcode_t err = dafs_plan_extra(plan, item, &extra);

	*ret = NULL;
	if (err)
		return err;
	if (!extra->raw) {
		/* Only as much as the image's inodes have, but at least the struct. */
		size_t room = plan->img->inode_size > sizeof(struct ext2_inode_large)
				      ? plan->img->inode_size
				      : sizeof(struct ext2_inode_large);

		extra->raw = calloc(1, room);
		if (!extra->raw)
			return ENOMEM;
		err = dafs_icodec_read(plan->img, plan->items[item].ino, &extra->raw->raw,
				       plan->img->inode_size);
	}
	*ret = &extra->raw->raw;
	return err;
}

errcode_t dafs_plan_range_add(struct dafs_plan_ranges *ranges, uint64_t pblk, uint64_t len)
{
	struct dafs_plan_range *last = ranges->n ? &ranges->v[ranges->n - 1] : NULL;
	errcode_t err;

	if (last && last->pblk + last->len == pblk) {
		last->len += len;
		return 0;
	}
	err = dafs_array_grow(&ranges->v, ranges->n, &ranges->room, sizeof(*ranges->v));
	if (err)
		return err;
	ranges->v[ranges->n++] = (struct dafs_plan_range){ .pblk = pblk, .len = len };
	return 0;
}

errcode_t dafs_plan_run_add(struct dafs_plan *plan, size_t item, const struct dafs_plan_run *run)
{
	struct dafs_plan_item *it = &plan->items[item];

	if (plan->nruns == plan->runs_room) {
		/* One run a file is the rule: ask for that at once. */
		size_t room =
			plan->runs_room ? plan->runs_room + plan->runs_room / 2 : plan->cs->n + 16;
		struct dafs_plan_run *v = reallocarray(plan->runs, room, sizeof(*v));

		if (!v || room >= UINT32_MAX)
			return ENOMEM;
		plan->runs = v;
		plan->runs_room = room;
	}
	if (!it->nruns)
		it->first_run = (uint32_t)plan->nruns;
	assert(it->first_run + it->nruns == plan->nruns);
	it->nruns++;
	plan->runs[plan->nruns] = *run;
	plan->runs[plan->nruns++].item = (uint32_t)item;
	return 0;
}

errcode_t dafs_plan_fail(struct dafs_plan *plan, const struct dafs_inode *inode, errcode_t code,
			 const char *what)
{
	char buf[4096];
	const char *path = plan->cs->path_of ? plan->cs->path_of(plan->cs->arg, inode, buf) : NULL;

	if (path)
		return dafs_fail(plan->img->ctx, code, "%s%s%s", path, what ? ": " : "",
				 what ? what : "");
	return dafs_fail(plan->img->ctx, code, "inode %llu%s%s", (unsigned long long)inode->id,
			 what ? ": " : "", what ? what : "");
}

errcode_t dafs_plan_walk(struct dafs_plan *plan,
			 errcode_t (*fn)(void *arg, const struct dafs_inode *inode, uint32_t ino,
					 const struct dafs_plan_extent *ext, size_t n_ext,
					 uint32_t n_runs),
			 void *arg)
{
	struct dafs_plan_extent *ext = NULL;
	size_t room = 0;
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		const struct dafs_plan_item *it = &plan->items[i];
		const struct dafs_plan_run *run = it->nruns ? &plan->runs[it->first_run] : NULL;
		uint32_t asked = 0;

		if (it->nruns > room) {
			struct dafs_plan_extent *v = reallocarray(ext, it->nruns, sizeof(*v));

			if (!v) {
				err = ENOMEM;
				break;
			}
			ext = v;
			room = it->nruns;
		}
		for (uint32_t r = 0; r < it->nruns; r++) {
			ext[r] = (struct dafs_plan_extent){ .lblk = run[r].lblk,
							    .len = run[r].len,
							    .pblk = run[r].pblk,
							    .unwritten = run[r].kind ==
									 DAFS_RUN_UNWRITTEN,
							    .live = run[r].kind == DAFS_RUN_LIVE };
			asked += !r || run[r - 1].lblk + run[r - 1].len != run[r].lblk;
		}
		err = fn(arg, plan->cs->inodes[i], it->ino, ext, it->nruns, asked);
	}
	free(ext);
	return err;
}

struct dafs_plan_room dafs_plan_room(const struct dafs_plan *plan)
{
	return (struct dafs_plan_room){ .longest_run_blks = plan->longest_blks,
					.over_least = plan->stats.over_least };
}

uint64_t dafs_plan_meta_clusters(const struct dafs_plan *plan)
{
	return plan->meta_clusters;
}

bool dafs_plan_bypasses_journal(const struct dafs_plan *plan)
{
	return plan->opts.bypass_journal;
}

uint64_t dafs_plan_taken_clusters(const struct dafs_plan *plan)
{
	uint64_t blks = 0;

	for (size_t i = 0; i < plan->taken.n; i++)
		blks += plan->taken.v[i].len;
	return blks >> plan->img->cluster_bits;
}

/* Extents that an item's runs take when none of them is cut by lack of room. */
static uint64_t least_extents(const struct dafs_plan *plan, const struct dafs_plan_item *it)
{
	const struct dafs_plan_run *run = plan->runs + it->first_run;
	uint64_t n = 0, len = 0;

	for (uint32_t r = 0; r < it->nruns; r++) {
		if (r && run[r - 1].lblk + run[r - 1].len != run[r].lblk) {
			n += (len + DAFS_EXT_MAX_WRITTEN - 1) / DAFS_EXT_MAX_WRITTEN;
			len = 0;
		}
		len += run[r].len;
	}
	return n + (len + DAFS_EXT_MAX_WRITTEN - 1) / DAFS_EXT_MAX_WRITTEN;
}

uint64_t dafs_plan_least_meta_clusters(const struct dafs_plan *plan)
{
	const uint32_t bs = plan->img->block_size;
	uint64_t more = 0;

	for (size_t i = 0; i < plan->cs->n; i++) {
		const struct dafs_plan_item *it = &plan->items[i];

		if (it->nruns && plan->cs->inodes[i]->state & DAFS_I_NEW)
			more += dafs_etree_blks(bs, it->nruns) -
				dafs_etree_blks(bs, least_extents(plan, it));
	}
	return plan->meta_clusters - more;
}
