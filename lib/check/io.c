/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * io - blocks and inodes as the run sees them: the device, and over it what repairs have changed.
 *
 * Reading never fails but for want of memory: a block that cannot be read is zeros and a finding.
 * Writing goes into the transaction of ck->img and is on the device after the commit.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/icodec.h"
#include "image/txn.h"

#define AHEAD_GAP_BLKS 8u

static bool dev_read(struct dafs_ck *ck, uint64_t pblk, uint64_t count, void *buf)
{
	const struct dafs_dev_overlay *over = ck->dev->overlay;
	uint64_t off = pblk << ck->g.block_bits;
	uint64_t len = count << ck->g.block_bits;

	if (off > ck->dev->size_bytes || len > ck->dev->size_bytes - off)
		return false;
	if (dafs_dev_read(ck->dev, buf, len, off))
		return false;
	return !over || !over->patch(over->arg, off, len, buf);
}

static void forget_windows(struct dafs_ck *ck)
{
	for (unsigned i = 0; i < ck->nworkers; i++)
		ck->workers[i].win_len = 0;
}

errcode_t dafs_ck_write(struct dafs_ck_worker *w, uint64_t pblk, const void *buf)
{
	forget_windows(w->ck);
	return dafs_txn_put(&w->ck->img, pblk, buf);
}

/* Does the device's own bitmap call the block free? */
static bool free_on_device(struct dafs_ck_worker *w, uint64_t pblk)
{
	struct dafs_ck *ck = w->ck;
	uint64_t cluster = dafs_ck_cluster(ck, pblk);
	uint32_t grp = (uint32_t)(cluster / ck->g.cpg), bit = (uint32_t)(cluster % ck->g.cpg);
	uint64_t at;
	uint8_t byte;

	/* (A group without a bitmap holds nothing, but its descriptor may be what is wrong.) */
	if (ck->gd_flags[grp] & DAFS_CKG_BB_BAD || ck->layout_moved ||
	    dafs_ck_gd(ck, grp)->bg_flags & EXT2_BG_BLOCK_UNINIT)
		return false;
	at = (dafs_ck_gd_block_bitmap(ck, grp) << ck->g.block_bits) + bit / 8;
	return !dafs_dev_read(ck->dev, &byte, 1, at) && !(byte >> bit % 8 & 1);
}

errcode_t dafs_ck_write_fresh(struct dafs_ck_worker *w, uint64_t pblk, const void *buf)
{
	struct dafs_ck *ck = w->ck;

	if (ck->g.cbits || ck->undo || ck->trial || !free_on_device(w, pblk))
		return dafs_ck_write(w, pblk, buf);
	forget_windows(ck);
	return dafs_dev_write(ck->dev, buf, ck->g.block_size, pblk << ck->g.block_bits);
}

struct ext2_inode_large *dafs_ck_raw_alloc(const struct dafs_ck *ck)
{
	return calloc(1, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
}

errcode_t dafs_ck_read(struct dafs_ck_worker *w, uint64_t pblk, uint64_t count, void *buf)
{
	struct dafs_ck *ck = w->ck;

	if (dev_read(ck, pblk, count, buf))
		return 0;
	for (uint64_t i = 0; i < count; i++) {
		uint8_t *at = (uint8_t *)buf + (i << ck->g.block_bits);
		bool made;

		if (count > 1 && dev_read(ck, pblk + i, 1, at))
			continue;
		memset(at, 0, ck->g.block_size);
		if (w->scan) {
			w->put_off = true;
			continue;
		}
		if (!dafs_ck_map_put(&ck->unreadable, pblk + i + 1, &made))
			return ENOMEM;
		if (made)
			DAFS_CK_FIND(w, READ_ERROR, .blk = pblk + i,
				     .text = pblk + i >= ck->dev->size_bytes >> ck->g.block_bits
						     ? "past the end of the device"
						     : "I/O error");
	}
	return 0;
}

void dafs_ck_ahead_flush(struct dafs_ck_worker *w)
{
	const struct dafs_ck *ck = w->ck;

	if (w->ahead_len)
		dafs_dev_ahead(ck->dev, w->ahead_start << ck->g.block_bits,
			       w->ahead_len << ck->g.block_bits);
	w->ahead_len = 0;
}

void dafs_ck_ahead(struct dafs_ck_worker *w, uint64_t pblk, uint64_t len)
{
	uint64_t end = w->ahead_start + w->ahead_len;

	if (!dafs_ck_blk_ok(w->ck, pblk) || !len)
		return;
	/* A small gap costs less to read than another request. */
	if (w->ahead_len && pblk >= w->ahead_start && pblk <= end + AHEAD_GAP_BLKS) {
		if (pblk + len > end)
			w->ahead_len = pblk + len - w->ahead_start;
		return;
	}
	dafs_ck_ahead_flush(w);
	w->ahead_start = pblk;
	w->ahead_len = len;
}

errcode_t dafs_ck_read_window(struct dafs_ck_worker *w, uint64_t pblk, uint64_t run, uint64_t more,
			      uint8_t **buf)
{
	uint64_t most = DAFS_CK_WINDOW_BYTES >> w->ck->g.block_bits;
	errcode_t err = 0;

	if (!dafs_ck_in_window(w, pblk)) {
		if (run > most)
			run = most;
		if (!run)
			run = 1;
		if (more > most - run)
			more = most - run;
		w->win_start = pblk;
		w->win_len = run + more;
		/* What is not wanted yet may as well fail. */
		if (!more || !dev_read(w->ck, pblk, run + more, w->window)) {
			w->win_len = run;
			err = dafs_ck_read(w, pblk, run, w->window);
		}
		/* What was put off is looked at again: it must read the bad block itself. */
		if (w->put_off)
			w->win_len = 0;
	}
	*buf = w->window + ((pblk - w->win_start) << w->ck->g.block_bits);
	return err;
}

/* Where an inode lies. False: nowhere that could be read. */
static bool locate_inode(const struct dafs_ck *ck, uint32_t ino, uint64_t *blk, uint32_t *off)
{
	uint32_t grp, index;

	if (!ino || ino > ck->g.inodes)
		return false;
	grp = (ino - 1) / ck->g.ipg;
	index = (ino - 1) % ck->g.ipg;
	*blk = dafs_ck_gd_itable(ck, grp) + index / ck->g.inodes_per_blk;
	*off = index % ck->g.inodes_per_blk * ck->g.inode_size;
	return !(ck->gd_flags[grp] & DAFS_CKG_IT_BAD);
}

bool dafs_ck_read_inode(struct dafs_ck_worker *w, uint32_t ino, struct ext2_inode_large *raw)
{
	const struct dafs_ck *ck = w->ck;
	uint64_t blk;
	uint32_t off;
	errcode_t err;

	memset(raw, 0, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	if (!locate_inode(ck, ino, &blk, &off))
		return false;
	err = dafs_ck_read(w, blk, 1, w->tmp);
	if (err) {
		w->err = err;
		return false;
	}
	memcpy(raw, w->tmp + off, ck->g.inode_size);
	return true;
}

errcode_t dafs_ck_write_inode(struct dafs_ck_worker *w, uint32_t ino, struct ext2_inode_large *raw)
{
	uint64_t blk;
	uint32_t off;
	errcode_t err;

	if (!locate_inode(w->ck, ino, &blk, &off))
		return DAFS_ET_INTERNAL;
	dafs_icodec_checksum(&w->ck->img, ino, raw);
	err = dafs_ck_read(w, blk, 1, w->tmp);
	if (err)
		return err;
	memcpy(w->tmp + off, raw, w->ck->g.inode_size);
	return dafs_ck_write(w, blk, w->tmp);
}

bool dafs_ck_inode_unchanged(struct dafs_ck *ck, uint32_t ino)
{
	struct ext2_inode was, is;
	uint64_t blk;
	uint32_t off;

	if (!locate_inode(ck, ino, &blk, &off) ||
	    dafs_dev_read(ck->dev, &was, sizeof(was), (blk << ck->g.block_bits) + off) ||
	    dafs_ck_read(ck->main, blk, 1, ck->main->tmp))
		return false;
	memcpy(&is, ck->main->tmp + off, sizeof(is));
	return was.i_mode == is.i_mode && was.i_size == is.i_size &&
	       was.i_size_high == is.i_size_high && was.i_flags == is.i_flags &&
	       was.i_links_count == is.i_links_count &&
	       !memcmp(was.i_block, is.i_block, sizeof(is.i_block));
}
