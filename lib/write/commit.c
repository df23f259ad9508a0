/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit - dafs_plan_execute: steps 4 to 6 of a flush in their order, and the way back.
 *
 * Until dafs_txn_commit nothing that the image refers to has changed: a failure before it leaves
 * the image as it was, with bytes in blocks that are free. After a failure in it the image handle
 * is failed (txn.h).
 */
#include "config.h"

#include "write/plan_int.h"

#include <stdlib.h>

/* New inodes know their numbers while directories are emitted, and those their sizes; a failed
 * flush takes both back. */
static void set_numbers(struct dafs_plan *plan, bool placed)
{
	for (size_t i = 0; i < plan->cs->n; i++) {
		struct dafs_inode *inode = plan->cs->inodes[i];

		const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);

		if (inode->state & DAFS_I_NEW)
			inode->ino = placed ? plan->items[i].ino : 0;
		if (extra && extra->names && !placed)
			inode->size = extra->size_before;
	}
}

/* Bytes for blocks that the image maps: through the transaction, as they are to become. */
static errcode_t put_live(struct dafs_plan *plan)
{
	uint8_t *block = malloc(plan->img->block_size);
	errcode_t err = block ? 0 : ENOMEM;

	for (size_t i = 0; i < plan->nruns && !err; i++) {
		const struct dafs_plan_run *run = &plan->runs[i];

		for (uint32_t b = 0; run->kind == DAFS_RUN_LIVE && b < run->len && !err; b++) {
			err = dafs_submit_read(plan, run, b, 1, block);
			if (!err)
				err = dafs_txn_put(plan->img, run->pblk + b, block);
		}
	}
	free(block);
	return err;
}

static int by_pblk(const void *a, const void *b)
{
	const struct dafs_plan_range *x = a, *y = b;

	return x->pblk < y->pblk ? -1 : x->pblk > y->pblk;
}

static void sort_ranges(struct dafs_plan_ranges *ranges)
{
	if (ranges->n > 1)
		qsort(ranges->v, ranges->n, sizeof(*ranges->v), by_pblk);
}

/* Bitmaps and counts: by place, so that a group is gone through once. */
static errcode_t account(struct dafs_plan *plan)
{
	errcode_t err = 0;

	sort_ranges(&plan->taken);
	for (size_t i = 0; i < plan->taken.n && !err; i++)
		err = dafs_group_take_blks(plan->img, plan->taken.v[i].pblk, plan->taken.v[i].len);
	sort_ranges(&plan->given);
	for (size_t i = 0; i < plan->given.n && !err; i++) {
		err = dafs_group_give_blks(plan->img, plan->given.v[i].pblk, plan->given.v[i].len);
		plan->stats.freed_blks += plan->given.v[i].len;
	}
	for (size_t i = 0; i < plan->revoked.n && !err; i++) {
		for (uint64_t b = 0; b < plan->revoked.v[i].len && !err; b++)
			err = dafs_txn_revoke(plan->img, plan->revoked.v[i].pblk + b);
	}
	return err;
}

/* Everything that is metadata, and the live blocks of files: encoded into the open transaction. It
 * comes before the data, so that a transaction that cannot be committed costs no reading. */
static errcode_t encode(struct dafs_plan *plan)
{
	struct dafs_image *img = plan->img;
	errcode_t err = put_live(plan);

	if (!err)
		err = dafs_encode_inodes(plan);
	if (!err)
		err = dafs_quota_write(plan);
	if (!err)
		err = account(plan);
	if (!err)
		err = dafs_groups_encode(img);
	if (err)
		return err;
	plan->stats.live_blks = dafs_txn_live_blks(img);
	if (plan->stats.live_blks > dafs_txn_capacity_blks(img))
		return dafs_fail(img->ctx, DAFS_ET_JOURNAL_FULL, "%s: %llu blocks, room for %llu",
				 img->dev->address, (unsigned long long)plan->stats.live_blks,
				 (unsigned long long)dafs_txn_capacity_blks(img));
	return 0;
}

errcode_t dafs_plan_execute(struct dafs_plan *plan, struct dafs_flush_stats *stats)
{
	struct dafs_image *img = plan->img;
	errcode_t err;

	if (plan->executed)
		return dafs_fail(img->ctx, DAFS_ET_SEQUENCE, "a plan is executed once");
	plan->executed = true;
	err = dafs_txn_begin(img);
	if (err)
		return err;
	if (plan->opts.bypass_journal)
		dafs_txn_bypass_journal(img);
	set_numbers(plan, true);
	err = encode(plan);
	if (!err)
		err = dafs_submit_data(plan);
	if (!err)
		err = dafs_txn_commit(img, plan->cs->tag, plan->cs->tag_len);
	if (err) {
		/* Ends what is still collecting; a commit that failed on its way has ended it. */
		dafs_txn_abort(img);
		set_numbers(plan, false);
		return err;
	}
	dafs_plan_trace_committed(plan);
	plan->stats.transactions = 1;
	if (stats)
		*stats = plan->stats;
	return 0;
}
