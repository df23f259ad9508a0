/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * darange - truncate, punch and fallocate of pending files (declared in delalloc.h).
 *
 * What the image maps in a range that goes is not touched: it is noted (image_end_lblk, punched)
 * and unmapped at the flush. Bytes of blocks that are covered only in part are zeroed first, as an
 * operation of its own that can be undone; what follows it can fail only for want of memory, and
 * then before anything was given back.
 */
#include "config.h"

#include "write/daop.h"

#include <assert.h>

#include "write/datrace.h"
#include "write/direct.h"
#include "write/qlimit.h"

/* The last moment to refuse: is there room for what was patched, and, with bigalloc, for clusters
 * at both ends that lose their allocated blocks but keep delayed ones? *spare clusters are taken
 * for those. */
static errcode_t ready_to_drop(struct dafs_daop *op, uint64_t *spare)
{
	errcode_t err = dafs_daop_check(op);

	*spare = op->w->img->cluster_bits && op->file->npend ? 2 : 0;
	if (!err && *spare)
		err = dafs_delalloc_take(op->w, *spare, 0);
	return err;
}

/* Blocks [lblk, end) go: pending bytes are dropped, delayed blocks given back. What the image has
 * there is noted by the caller. */
static errcode_t drop_range(struct dafs_daop *op, uint32_t lblk, uint32_t end, uint64_t spare)
{
	struct dafs_file *file = op->file;
	uint64_t placed = 0;
	int64_t change = 0;
	errcode_t err = 0;

	if (end > lblk)
		err = dafs_pagecache_remove(&file->pages, lblk, end, dafs_daop_gone, op);
	if (!err && end > lblk)
		err = dafs_extlist_clear(&file->falloc, lblk, end, NULL);
	if (!err && end > lblk)
		err = dafs_direct_drop(op->w, file, lblk, end, &placed);
	if (!err)
		err = dafs_dareserve_unmap(op->w, op->inode, lblk, end, &change);
	dafs_dareserve_shrink(op->w, op->inode, change - (int64_t)placed, spare);
	return err;
}

/* After drop_range there is nothing to go back to: keep what was done and only tidy up. */
static errcode_t finish(struct dafs_daop *op, errcode_t err)
{
	dafs_daop_end(op, 0);
	return err;
}

static bool in_image(const struct dafs_inode *inode)
{
	return !(inode->state & (DAFS_I_NEW | DAFS_I_TRUNC0));
}

/* What the image's blocks of the file come to, for its owners' quota: before and after a cut. */
struct held {
	uint64_t before, after;
};

/* The same for what the file is to become, while truncation can still be refused. */
static errcode_t hold_truncated(struct dafs_daop *op, uint64_t size, uint32_t end,
				struct held *held)
{
	struct dafs_inode *inode = op->inode;
	uint32_t image_end_lblk = op->file->image_end_lblk;
	uint16_t state = inode->state;
	errcode_t err;

	if (!dafs_qlimit_binds(op->w->limits, inode))
		return 0;
	err = dafs_qlimit_held(op->w->img, inode, &held->before);
	if (err)
		return err;
	if (image_end_lblk > end)
		op->file->image_end_lblk = end;
	if (!size && in_image(inode))
		inode->state |= DAFS_I_TRUNC0;
	err = dafs_qlimit_held(op->w->img, inode, &held->after);
	op->file->image_end_lblk = image_end_lblk;
	inode->state = state;
	return err;
}

/* [lblk, end) of the image's mapping is unmapped. */
static errcode_t hold_punched(struct dafs_daop *op, uint32_t lblk, uint32_t end, struct held *held)
{
	bool binds = dafs_qlimit_binds(op->w->limits, op->inode);
	errcode_t err = 0;

	if (binds)
		err = dafs_qlimit_held(op->w->img, op->inode, &held->before);
	if (!err)
		err = dafs_daop_unmap_image(op, lblk, end);
	if (!err && binds)
		err = dafs_qlimit_held(op->w->img, op->inode, &held->after);
	return err;
}

errcode_t dafs_delalloc_truncate(struct dafs_write *w, struct dafs_inode *inode, uint64_t size)
{
	const uint32_t bs = w->img->block_size;
	struct dafs_daop op = { 0 };
	struct held held = { 0 };
	uint32_t end = (uint32_t)((size + bs - 1) >> w->img->block_bits);
	uint64_t spare;
	errcode_t err;

	if (size > (uint64_t)DAFS_LBLK_END << w->img->block_bits)
		return dafs_fail(w->img->ctx, DAFS_ET_FILE_TOO_BIG, "%llu bytes",
				 (unsigned long long)size);
	DAFS_TRACE(w->img->ctx, "ext4_truncate_enter", inode->id, "blocks %llu",
		   (unsigned long long)dafs_datrace_i_blocks(w, inode));
	err = dafs_daop_begin(&op, w, inode);
	if (!err && size > inode->size)
		err = dafs_daop_zero_tail(&op);
	else if (!err && (size & (bs - 1)))
		err = dafs_daop_patch(&op, (uint32_t)(size >> w->img->block_bits),
				      (uint32_t)(size & (bs - 1)), bs, NULL);
	if (!err && size <= inode->size)
		err = hold_truncated(&op, size, end, &held);
	if (!err && size <= inode->size)
		err = ready_to_drop(&op, &spare);
	if (err)
		return dafs_daop_end(&op, err);
	if (size <= inode->size) {
		if (op.file->image_end_lblk > end)
			op.file->image_end_lblk = end;
		/* A range that stays in this list for want of memory is past image_end_lblk. */
		dafs_extlist_clear(&op.file->punched, end, DAFS_LBLK_END, NULL);
		err = drop_range(&op, end, DAFS_LBLK_END, spare);
		if (!size && in_image(inode))
			inode->state |= DAFS_I_TRUNC0;
		inode->size = size;
		err = finish(&op, err);
		dafs_qlimit_let_go(w, inode, held.before, held.after);
	} else {
		inode->size = size;
		err = dafs_daop_end(&op, 0);
	}
	if (!err)
		DAFS_TRACE(w->img->ctx, "ext4_truncate_exit", inode->id, "blocks %llu",
			   (unsigned long long)dafs_datrace_i_blocks(w, inode));
	assert(err || dafs_delalloc_verify_op(w, inode));
	return err;
}

errcode_t dafs_delalloc_punch(struct dafs_write *w, struct dafs_inode *inode, uint64_t off,
			      uint64_t len)
{
	const unsigned bits = w->img->block_bits;
	const uint32_t bs = w->img->block_size;
	struct dafs_daop op = { 0 };
	uint64_t stop = off + len, spare;
	struct held held = { 0 };
	uint32_t first, end;
	errcode_t err;

	if (stop < off)
		return dafs_fail(w->img->ctx, DAFS_ET_RANGE, "%llu bytes at %llu",
				 (unsigned long long)len, (unsigned long long)off);
	if (off >= inode->size || !len)
		return 0;
	/* Nothing is behind the end of file: its last block counts as covered to its end. */
	if (stop >= inode->size)
		stop = (inode->size + bs - 1) & ~(uint64_t)(bs - 1);
	DAFS_TRACE(w->img->ctx, "ext4_punch_hole", inode->id,
		   "offset %llu len %llu mode KEEP_SIZE|PUNCH_HOLE", (unsigned long long)off,
		   (unsigned long long)len);
	first = (uint32_t)((off + bs - 1) >> bits);
	end = (uint32_t)(stop >> bits);
	err = dafs_daop_begin(&op, w, inode);
	if (!err && (off & (bs - 1))) {
		uint64_t to = first > end ? stop & (bs - 1) : bs;

		err = dafs_daop_patch(&op, (uint32_t)(off >> bits), (uint32_t)(off & (bs - 1)),
				      (uint32_t)to, NULL);
	}
	if (!err && (stop & (bs - 1)) && end >= first)
		err = dafs_daop_patch(&op, end, 0, (uint32_t)(stop & (bs - 1)), NULL);
	if (err || end <= first) {
		err = dafs_daop_end(&op, err);
	} else {
		err = hold_punched(&op, first, end, &held);
		op.file->going_lblk = first;
		op.file->going_end = end;
		if (!err)
			err = ready_to_drop(&op, &spare);
		op.file->going_lblk = op.file->going_end = 0;
		if (err)
			return dafs_daop_end(&op, err);
		err = finish(&op, drop_range(&op, first, end, spare));
		dafs_qlimit_let_go(w, inode, held.before, held.after);
	}
	assert(err || dafs_delalloc_verify_op(w, inode));
	return err;
}

errcode_t dafs_delalloc_fallocate(struct dafs_write *w, struct dafs_inode *inode, uint64_t off,
				  uint64_t len, bool keep_size)
{
	const unsigned bits = w->img->block_bits;
	uint64_t most = (uint64_t)DAFS_LBLK_END << bits;
	struct dafs_daop op = { 0 };
	errcode_t err;

	if (!len)
		return dafs_fail(w->img->ctx, DAFS_ET_RANGE, "0 bytes");
	if (len > most || off > most - len)
		return dafs_fail(w->img->ctx, DAFS_ET_FILE_TOO_BIG, "%llu bytes at %llu",
				 (unsigned long long)len, (unsigned long long)off);
	DAFS_TRACE(w->img->ctx, "ext4_fallocate_enter", inode->id, "offset %llu len %llu mode %s",
		   (unsigned long long)off, (unsigned long long)len, keep_size ? "KEEP_SIZE" : "");
	err = dafs_daop_begin(&op, w, inode);
	if (!err && !keep_size && off + len > inode->size)
		err = dafs_daop_zero_tail(&op);
	if (!err)
		err = dafs_daop_falloc(&op, (uint32_t)(off >> bits),
				       (uint32_t)((off + len + w->img->block_size - 1) >> bits));
	if (!err && !keep_size && off + len > inode->size)
		inode->size = off + len;
	err = dafs_daop_end(&op, err);
	if (!err)
		DAFS_TRACE(w->img->ctx, "ext4_fallocate_exit", inode->id,
			   "pos %llu blocks %llu ret 0", (unsigned long long)off,
			   (unsigned long long)(((off + len - 1) >> bits) - (off >> bits) + 1));
	assert(err || dafs_delalloc_verify_op(w, inode));
	return err;
}
