/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * daop - see daop.h.
 *
 * Undo is a log: page runs that were put in, each with the runs it displaced, taken back in reverse
 * order. Going back needs memory only where a run was split; if even that fails, the bytes of the
 * displaced run are what is lost to the process, never the counters.
 */
#include "config.h"

#include "write/daop.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/icodec.h"
#include "image/inline.h"
#include "image/read.h"
#include "write/datrace.h"
#include "write/direct.h"
#include "write/qlimit.h"

static errcode_t ordinary_from_inline(struct dafs_daop *op);

static errcode_t refuse_unchangeable(struct dafs_write *w, const struct dafs_inode *inode)
{
	struct dafs_ctx *ctx = w->img->ctx;

	if (inode->state & DAFS_I_NEW)
		return 0;
	if (inode->iflags & EXT4_ENCRYPT_FL)
		return dafs_fail(ctx, DAFS_ET_ENCRYPTED, "inode %llu",
				 (unsigned long long)inode->id);
	if (inode->iflags & EXT4_VERITY_FL)
		return dafs_fail(ctx, DAFS_ET_VERITY, "inode %llu", (unsigned long long)inode->id);
	if (inode->iflags & EXT2_IMMUTABLE_FL)
		return dafs_fail(ctx, DAFS_ET_IMMUTABLE, "inode %llu",
				 (unsigned long long)inode->id);
	return 0;
}

errcode_t dafs_daop_begin(struct dafs_daop *op, struct dafs_write *w, struct dafs_inode *inode)
{
	errcode_t err;

	memset(op, 0, sizeof(*op));
	op->w = w;
	op->inode = inode;
	dafs_direct_decide(w);
	assert(S_ISREG(inode->mode));
	if (w->img->failed)
		return DAFS_ET_HANDLE_FAILED;
	err = refuse_unchangeable(w, inode);
	if (!err)
		err = dafs_delalloc_file(w, inode, &op->file);
	if (err)
		return err;
	op->reserved = op->file->reserved_clusters;
	op->promised = op->file->promised_clusters;
	op->size = inode->size;
	op->seq = op->file->dirtied_seq;
	op->state = inode->state;
	op->plans = w->plans;
	op->npend = op->file->npend;
	if (op->npend) {
		op->pend = malloc(op->npend * sizeof(*op->pend));
		if (!op->pend)
			return ENOMEM;
		memcpy(op->pend, op->file->pend, op->npend * sizeof(*op->pend));
	}
	/* Marked at once: a dry plan in the middle of the operation must find the file. */
	inode->state |= DAFS_I_DATA;
	if (!op->file->dirtied_seq)
		op->file->dirtied_seq = ++w->next_seq;
	if (dafs_inline_stays(inode)) {
		err = ordinary_from_inline(op);
		if (err)
			return dafs_daop_end(op, err);
	}
	return 0;
}

/* The bytes of an inline file become its pending block; the image has no mapping that would count.
 */
static errcode_t ordinary_from_inline(struct dafs_daop *op)
{
	struct dafs_image *img = op->w->img;
	uint8_t *block = calloc(1, img->block_size);
	union dafs_inode_buf buf;
	size_t got = 0;
	errcode_t err = block ? 0 : ENOMEM;

	if (!err)
		err = dafs_icodec_read(img, op->inode->ino, &buf.raw, sizeof(buf));
	if (!err && op->inode->size)
		err = dafs_read_file(img, op->inode->ino, &buf.raw, NULL, block, img->block_size, 0,
				     &got);
	if (!err) {
		op->inode->state |= DAFS_I_TRUNC0;
		op->file->image_end_lblk = 0;
		if (got)
			err = dafs_daop_put(op, 0, 1, block);
	}
	free(block);
	return err;
}

void dafs_daop_gone(void *arg, const struct dafs_page_run *gone)
{
	struct dafs_daop *op = arg;

	if (dafs_array_grow(&op->gone, op->ngone, &op->gone_room, sizeof(*op->gone)))
		op->oom = true;
	else
		op->gone[op->ngone++] = *gone;
}

/* The holes of [lblk, end) become delayed, and are listed in holes (pblk = lblk); nothing is
 * promised yet. */
static errcode_t delay_holes(struct dafs_daop *op, uint32_t lblk, uint32_t end,
			     struct dafs_extlist *holes, uint64_t *need)
{
	struct dafs_es_extent ext;
	errcode_t err = 0;

	*need = 0;
	for (uint32_t at = lblk; at < end && !err;) {
		uint64_t more;
		uint32_t stop;

		err = dafs_delalloc_map(op->w, op->inode, at, &ext);
		if (err)
			break;
		stop = ext.lblk + ext.len < end ? ext.lblk + ext.len : end;
		if (ext.type == DAFS_ES_HOLE) {
			err = dafs_extlist_append(holes, at, at, stop - at, false);
			if (!err)
				err = dafs_extlist_set(&op->fresh, at, at, stop - at, false, NULL);
			if (!err)
				err = dafs_dareserve_delay(op->w, op->inode, at, stop, &more);
			*need += err ? 0 : more;
		}
		at = stop;
	}
	/* With bigalloc new blocks may cost no cluster, but an extent. */
	op->splits |= holes->n && !*need;
	return err;
}

/* holes are delayed now, need clusters were taken for them. */
static void trace_delayed(const struct dafs_daop *op, const struct dafs_extlist *holes,
			  uint64_t need)
{
	dafs_datrace_reserve(op->w, op->inode, need, op->file->reserved_clusters);
	for (size_t i = 0; i < holes->n; i++)
		dafs_datrace_delayed(op->w, op->inode, holes->v[i].lblk,
				     dafs_extent_end(&holes->v[i]));
}

errcode_t dafs_daop_delay(struct dafs_daop *op, uint32_t lblk, uint32_t end)
{
	struct dafs_extlist holes = { 0 };
	uint64_t need;
	errcode_t err = delay_holes(op, lblk, end, &holes, &need);

	if (!err)
		err = dafs_dareserve_settle(op->w, op->inode, (int64_t)need);
	if (!err && !op->w->at_once)
		trace_delayed(op, &holes, need);
	/* Without delayed allocation the promise is redeemed at once, block by block. */
	for (size_t i = 0; i < holes.n && !err && op->w->at_once; i++)
		err = dafs_direct_place(op->w, op->inode, holes.v[i].lblk,
					dafs_extent_end(&holes.v[i]));
	dafs_extlist_fini(&holes);
	return err;
}

errcode_t dafs_daop_falloc(struct dafs_daop *op, uint32_t lblk, uint32_t end)
{
	struct dafs_extlist holes = { 0 };
	uint64_t need;
	errcode_t err = delay_holes(op, lblk, end, &holes, &need);

	for (size_t i = 0; i < holes.n && !err; i++) {
		const struct dafs_extent *h = &holes.v[i];

		err = dafs_extlist_set(&op->file->falloc, h->lblk, h->lblk, h->len, true, NULL);
		if (!err)
			err = dafs_extlist_set(&op->nowfalloc, h->lblk, h->lblk, h->len, true,
					       NULL);
	}
	if (!err)
		err = dafs_dareserve_settle(op->w, op->inode, (int64_t)need);
	if (!err)
		trace_delayed(op, &holes, need);
	dafs_extlist_fini(&holes);
	return err;
}

/* What a page of a block with this es type is. */
static uint16_t page_state(uint8_t es_type)
{
	const uint16_t all = DAFS_PG_UPTODATE | DAFS_PG_DIRTY | DAFS_PG_MAPPED;

	switch (es_type) {
	case DAFS_ES_DELAYED:
		return all | DAFS_PG_NEW | DAFS_PG_DELAY;
	case DAFS_ES_UNWRITTEN:
		return all | DAFS_PG_NEW | DAFS_PG_UNWRITTEN;
	default:
		return all;
	}
}

static void log_act(struct dafs_daop *op, const struct dafs_page_run *run, size_t gone_first)
{
	struct dafs_daop_act *last = op->nacts ? &op->acts[op->nacts - 1] : NULL;

	/* A stream of pieces that displaces nothing is one act. */
	if (last && last->gone_first == op->ngone && last->run.lblk + last->run.len == run->lblk &&
	    last->run.state == run->state && last->run.src == run->src &&
	    run->len <= UINT32_MAX - last->run.len &&
	    last->run.src_off_bytes + (uint64_t)last->run.len * op->w->img->block_size ==
		    run->src_off_bytes)
		last->run.len += run->len;
	else
		op->acts[op->nacts++] =
			(struct dafs_daop_act){ .run = *run, .gone_first = gone_first };
}

/* Enter kept bytes into the page cache, one run for each state that the blocks have; they are no
 * longer to be unwritten. */
static errcode_t enter_pages(struct dafs_daop *op, struct dafs_page_run run)
{
	uint32_t end = run.lblk + run.len;
	struct dafs_es_extent ext;
	size_t gone_first;
	errcode_t err = 0;

	for (uint32_t at = run.lblk; at < end && !err;) {
		struct dafs_page_run part = run;
		uint32_t stop;

		err = dafs_delalloc_map(op->w, op->inode, at, &ext);
		if (err)
			break;
		stop = ext.lblk + ext.len < end ? ext.lblk + ext.len : end;
		part.lblk = at;
		part.len = stop - at;
		part.state = page_state(ext.type);
		op->splits |= ext.type == DAFS_ES_UNWRITTEN;
		part.src_off_bytes += (uint64_t)(at - run.lblk) * op->w->img->block_size;
		gone_first = op->ngone;
		/* Room in the log first: what was put in is never without its record. */
		err = dafs_array_grow(&op->acts, op->nacts, &op->acts_room, sizeof(*op->acts));
		if (!err)
			err = dafs_pagecache_insert(&op->file->pages, &part, dafs_daop_gone, op);
		if (!err)
			log_act(op, &part, gone_first);
		if (!err && op->oom)
			err = ENOMEM;
		at = stop;
	}
	if (!err && op->file->falloc.n) {
		struct dafs_extlist out = { 0 };

		err = dafs_extlist_clear(&op->file->falloc, run.lblk, end, &out);
		op->splits |= out.n > 0;
		for (size_t i = 0; i < out.n && !err; i++)
			err = dafs_extlist_set(&op->unfalloc, out.v[i].lblk, out.v[i].lblk,
					       out.v[i].len, true, NULL);
		dafs_extlist_fini(&out);
	}
	return err;
}

/* Blocks that were kept in the stash enter the file; if they cannot, the stash forgets them. */
static errcode_t enter_kept(struct dafs_daop *op, const struct dafs_page_run *run)
{
	size_t had = op->nacts;
	errcode_t err = enter_pages(op, *run);

	if (err && op->nacts == had)
		op->w->stash->drop(op->w->stash_arg, run);
	return err;
}

errcode_t dafs_daop_put(struct dafs_daop *op, uint32_t lblk, uint32_t nblks, const void *blocks)
{
	struct dafs_page_run run = { .lblk = lblk, .len = nblks };
	errcode_t err;

	err = dafs_daop_delay(op, lblk, lblk + nblks);
	if (!err)
		err = op->w->stash->put(op->w->stash_arg, blocks, nblks, &run.src,
					&run.src_off_bytes);
	return err ? err : enter_kept(op, &run);
}

errcode_t dafs_daop_put_fd(struct dafs_daop *op, uint32_t lblk, int fd, uint64_t fd_off,
			   uint64_t len_bytes)
{
	uint32_t bs = op->w->img->block_size;
	struct dafs_page_run run = { .lblk = lblk, .len = (uint32_t)((len_bytes + bs - 1) / bs) };
	errcode_t err;

	err = dafs_daop_delay(op, lblk, lblk + run.len);
	if (!err)
		err = op->w->stash->put_fd(op->w->stash_arg, fd, fd_off, len_bytes, &run.src,
					   &run.src_off_bytes);
	return err ? err : enter_kept(op, &run);
}

errcode_t dafs_daop_patch(struct dafs_daop *op, uint32_t lblk, uint32_t from, uint32_t to,
			  const void *src)
{
	uint32_t bs = op->w->img->block_size;
	uint8_t *block = malloc(bs);
	errcode_t err = block ? 0 : ENOMEM;
	bool same = true;

	if (!err)
		err = dafs_daop_read_blk(op->w, op->inode, lblk, block);
	for (uint32_t i = from; i < to && same && !err && !src; i++)
		same = !block[i];
	if (!err && (src || !same)) {
		if (src)
			memcpy(block + from, src, to - from);
		else
			memset(block + from, 0, to - from);
		err = dafs_daop_put(op, lblk, 1, block);
	}
	free(block);
	return err;
}

errcode_t dafs_daop_zero_tail(struct dafs_daop *op)
{
	uint32_t bs = op->w->img->block_size;
	uint32_t in_blk = (uint32_t)(op->inode->size & (bs - 1));

	return in_blk ? dafs_daop_patch(op, (uint32_t)(op->inode->size >> op->w->img->block_bits),
					in_blk, bs, NULL)
		      : 0;
}

/* What of [lblk, end) is not punched yet, for undo. */
static errcode_t note_punch(struct dafs_daop *op, uint32_t lblk, uint32_t end)
{
	const struct dafs_extlist *punched = &op->file->punched;
	errcode_t err = 0;

	for (size_t i = dafs_extlist_search(punched, lblk); lblk < end && !err; i++) {
		uint32_t stop =
			i < punched->n && punched->v[i].lblk < end ? punched->v[i].lblk : end;

		if (lblk < stop)
			err = dafs_extlist_set(&op->punched, lblk, lblk, stop - lblk, false, NULL);
		lblk = stop < end ? dafs_extent_end(&punched->v[i]) : end;
	}
	return err;
}

errcode_t dafs_daop_unmap_image(struct dafs_daop *op, uint32_t lblk, uint32_t end)
{
	errcode_t err;

	if (op->inode->state & (DAFS_I_NEW | DAFS_I_TRUNC0))
		return 0;
	if (end > op->file->image_end_lblk)
		end = op->file->image_end_lblk;
	if (end <= lblk)
		return 0;
	op->cuts = op->splits = true;
	err = note_punch(op, lblk, end);
	return err ? err
		   : dafs_extlist_set(&op->file->punched, lblk, lblk, end - lblk, false, NULL);
}

/* Back to what was: newest first. */
static void undo(struct dafs_daop *op)
{
	struct dafs_file *file = op->file;
	size_t gone_end = op->ngone;
	uint64_t placed;

	for (size_t i = op->nacts; i-- > 0;) {
		const struct dafs_daop_act *act = &op->acts[i];

		dafs_pagecache_remove(&file->pages, act->run.lblk, act->run.lblk + act->run.len,
				      NULL, NULL);
		for (size_t g = act->gone_first; g < gone_end; g++)
			dafs_pagecache_insert(&file->pages, &op->gone[g], NULL, NULL);
		gone_end = act->gone_first;
	}
	for (size_t i = 0; i < op->punched.n; i++)
		dafs_extlist_clear(&file->punched, op->punched.v[i].lblk,
				   dafs_extent_end(&op->punched.v[i]), NULL);
	for (size_t i = 0; i < op->nowfalloc.n; i++)
		dafs_extlist_clear(&file->falloc, op->nowfalloc.v[i].lblk,
				   op->nowfalloc.v[i].lblk + op->nowfalloc.v[i].len, NULL);
	for (size_t i = 0; i < op->unfalloc.n; i++)
		dafs_extlist_set(&file->falloc, op->unfalloc.v[i].lblk, op->unfalloc.v[i].lblk,
				 op->unfalloc.v[i].len, true, NULL);
	for (size_t i = 0; i < op->fresh.n; i++)
		dafs_direct_drop(op->w, file, op->fresh.v[i].lblk, dafs_extent_end(&op->fresh.v[i]),
				 &placed);
	for (size_t i = 0; i < op->fresh.n; i++) {
		struct dafs_es_extent hole = { .lblk = op->fresh.v[i].lblk,
					       .len = op->fresh.v[i].len,
					       .type = DAFS_ES_HOLE };

		dafs_es_insert(&file->es, &hole, NULL);
	}
	free(file->pend);
	file->pend = op->pend;
	file->npend = op->npend;
	op->pend = NULL;
	dafs_qlimit_shift(op->w, op->inode,
			  (int64_t)op->reserved - (int64_t)file->reserved_clusters);
	dafs_delalloc_release(op->w, file->reserved_clusters - op->reserved,
			      file->promised_clusters > op->promised
				      ? file->promised_clusters - op->promised
				      : 0);
	file->reserved_clusters = op->reserved;
	if (file->promised_clusters > op->promised)
		file->promised_clusters = op->promised;
	file->dirtied_seq = op->seq;
	op->inode->size = op->size;
	op->inode->state = op->state;
	if (dafs_inline_stays(op->inode))
		file->image_end_lblk = DAFS_LBLK_END;
}

errcode_t dafs_daop_check(struct dafs_daop *op)
{
	bool mapped = !(op->inode->state & DAFS_I_NEW) && !(op->inode->iflags & EXT4_EXTENTS_FL);
	errcode_t err = 0;

	/* A block-mapped file of the image gets an extent tree by any change. */
	if (op->nacts || op->cuts || mapped)
		err = dafs_dareserve_settle(op->w, op->inode, 0);
	/* A plan that was made for what the operation took knows all of it but what it cuts. */
	if (!err && (op->splits || op->plans == op->w->plans))
		err = dafs_dareserve_recheck(op->w);
	op->checked = !err;
	return err;
}

errcode_t dafs_daop_end(struct dafs_daop *op, errcode_t err)
{
	struct dafs_write *w = op->w;

	if (!err && !op->checked)
		err = dafs_daop_check(op);
	if (err && op->file)
		undo(op);
	if (err) {
		for (size_t i = 0; i < op->nacts; i++)
			w->stash->drop(w->stash_arg, &op->acts[i].run);
	} else {
		for (size_t i = 0; i < op->ngone; i++)
			w->stash->drop(w->stash_arg, &op->gone[i]);
	}
	free(op->acts);
	free(op->gone);
	free(op->pend);
	dafs_extlist_fini(&op->fresh);
	dafs_extlist_fini(&op->unfalloc);
	dafs_extlist_fini(&op->nowfalloc);
	dafs_extlist_fini(&op->punched);
	memset(op, 0, sizeof(*op));
	return err;
}
