/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_tight - files in another order than that of reading, nothing grouped: by the time they were
 * first dirtied (--order dirty), or so that a nearly full image takes all of them.
 *
 * Blocks of data are counted before; what may not fit are the tree blocks for what is cut. A
 * mapping of up to four extents needs none, one of a leaf has room for all that the leaf holds: so
 * a file has slack, pieces that cost nothing. Files with little of it need long runs and come
 * first. Those that may be cut into single blocks come last, and use up the crumbs.
 */
#include "config.h"

#include "write/plan_int.h"

#include <stdlib.h>

/* A file and what it is sorted by. */
struct seq_item {
	uint64_t seq;
	size_t item;
	uint64_t blks;
	uint32_t runs;	/* delayed runs to be placed */
	uint32_t slack; /* pieces more than runs that cost nothing */
};

static int by_seq(const void *a, const void *b)
{
	const struct seq_item *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

static int by_blks(const void *a, const void *b)
{
	const struct seq_item *x = a, *y = b;

	if (x->blks != y->blks)
		return x->blks > y->blks ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

uint32_t dafs_plan_slack(const struct dafs_plan *plan, size_t n_extents)
{
	const size_t in_inode = 4, a_leaf = (plan->img->block_size - 12) / 12;

	if (n_extents <= in_inode)
		return (uint32_t)(in_inode - n_extents);
	return (uint32_t)((a_leaf - n_extents % a_leaf) % a_leaf);
}

static uint32_t delayed_runs(const struct dafs_file *file)
{
	struct dafs_es_extent ext;
	uint32_t n = 0;

	for (uint32_t at = 0; dafs_es_find(&file->es, DAFS_ES_DELAYED, at, DAFS_RANGE_END, &ext);
	     at = ext.lblk + ext.len)
		n++;
	return n;
}

/* What the item asks for: its blocks that have no place yet, and what it may be cut into. */
static void measure(const struct dafs_plan *plan, struct seq_item *it)
{
	const struct dafs_inode *inode = plan->cs->inodes[it->item];
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, it->item);
	size_t extents = extra && extra->mapped ? extra->map.n + extra->edits.n : 0;

	it->blks = dafs_plan_file_new_blks(plan, it->item);
	if (inode->state & DAFS_I_WHOLE || !inode->u.file)
		it->runs = it->blks > 0;
	else if (extra && extra->mapped)
		it->runs = (uint32_t)extra->nrest;
	else
		it->runs = delayed_runs(inode->u.file);
	it->slack = dafs_plan_slack(plan, extents + it->runs);
}

/* The largest files whose extents would be in the inode get a leaf to be cut for. */
static void give_leaves(const struct dafs_plan *plan, struct seq_item *order, size_t n)
{
	size_t left = plan->effort < DAFS_EFFORT_LEAVES
			      ? 0
			      : (size_t)1 << (plan->effort - DAFS_EFFORT_LEAVES);

	if (!left)
		return;
	qsort(order, n, sizeof(*order), by_blks);
	for (size_t i = 0; i < n && left; i++) {
		if (order[i].slack >= 4 || order[i].blks <= order[i].slack + order[i].runs)
			continue;
		order[i].slack += (plan->img->block_size - 12) / 12 - 4;
		left--;
	}
}

/* The length that runs must have so that the file fits its slack, longest first; what may be cut
 * into single blocks comes last, the smallest first. */
static uint64_t slack_key(const struct seq_item *it)
{
	uint64_t pieces = (uint64_t)it->runs + it->slack;

	if (it->blks <= pieces)
		return UINT64_MAX / 2 + it->blks;
	return UINT32_MAX - (it->blks << 8) / (pieces ? pieces : 1);
}

errcode_t dafs_plan_files_sorted(struct dafs_plan *plan,
				 errcode_t (*place)(struct dafs_plan *plan, size_t item))
{
	struct seq_item *order = calloc(plan->cs->n ? plan->cs->n : 1, sizeof(*order));
	bool slack = plan->effort >= DAFS_EFFORT_SLACK;
	size_t n = 0;
	errcode_t err = order ? 0 : ENOMEM;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		const struct dafs_inode *inode = plan->cs->inodes[i];

		if (!dafs_plan_has_data(plan, i))
			continue;
		order[n].item = i;
		if (slack)
			measure(plan, &order[n]);
		else if (plan->tight)
			order[n].seq = UINT64_MAX - dafs_plan_file_new_blks(plan, i);
		else if (!(inode->state & DAFS_I_WHOLE) && inode->u.file)
			order[n].seq = inode->u.file->dirtied_seq;
		n++;
	}
	if (!err && slack) {
		give_leaves(plan, order, n);
		for (size_t i = 0; i < n; i++)
			order[i].seq = slack_key(&order[i]);
	}
	if (!err)
		qsort(order, n, sizeof(*order), by_seq);
	/* What grows in place does so first: nobody else may take those blocks. */
	for (size_t i = 0; i < n && !err && !plan->tight; i++) {
		if (!(plan->cs->inodes[order[i].item]->state & DAFS_I_NEW))
			err = dafs_plan_file_grow(plan, order[i].item);
	}
	for (size_t i = 0; i < n && !err; i++) {
		bool crumbs = slack && order[i].blks <= (uint64_t)order[i].runs + order[i].slack;

		/* Given a leaf, the file takes all that it can of short runs. */
		if (slack && order[i].slack > 4)
			crumbs = true;
		plan->crumbs = crumbs ? order[i].slack : 0;
		err = place(plan, order[i].item);
	}
	plan->crumbs = 0;
	free(order);
	return err;
}
