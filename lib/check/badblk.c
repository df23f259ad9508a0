/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * badblk - inode 1, whose "data blocks" are the bad blocks of the device.
 *
 * The list is read once before pass 1 (inodes in bad blocks are not looked at), and judged with
 * inode 1 itself.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

struct list {
	struct dafs_ck_worker *w;
	struct dafs_ck_inode *in;
};

static bool drop(uint32_t *number, bool *changed)
{
	*number = 0;
	*changed = true;
	return false;
}

/* A bad block that is metadata: whose? */
static void look_bad_metadata(struct list *l, uint32_t *number, bool *changed)
{
	struct dafs_ck_worker *w = l->w;
	const struct dafs_ck *ck = w->ck;
	uint64_t pblk = *number;

	for (uint32_t grp = 0; grp < ck->g.groups; grp++) {
		struct dafs_ck_range runs[3];
		unsigned n = dafs_ck_grp_super_runs(ck, grp, runs);

		for (unsigned i = 0; i < n; i++) {
			if (pblk < runs[i].start || pblk >= runs[i].start + runs[i].len)
				continue;
			if (grp)
				DAFS_CK_FIND(w, BB_BACKUP, .grp = grp, .blk = pblk);
			else if (DAFS_CK_FIND(w, BB_PRIMARY, .blk = pblk))
				drop(number, changed);
			return;
		}
		if (pblk == dafs_ck_gd_block_bitmap(ck, grp)) {
			if (DAFS_CK_FIND(w, BB_BLOCK_BITMAP, .grp = grp, .blk = pblk))
				dafs_ck_want_move(w->ck, grp, DAFS_CKM_BB);
			return;
		}
		if (pblk == dafs_ck_gd_inode_bitmap(ck, grp)) {
			if (DAFS_CK_FIND(w, BB_INODE_BITMAP, .grp = grp, .blk = pblk))
				dafs_ck_want_move(w->ck, grp, DAFS_CKM_IB);
			return;
		}
	}
	/* What is left is an inode table: its inodes are skipped, nothing to say. */
}

/* True: a map block that can be followed. */
static bool look_number(struct list *l, uint32_t *number, unsigned level, bool *changed)
{
	struct dafs_ck_worker *w = l->w;
	const struct dafs_ck *ck = w->ck;
	uint64_t pblk = *number;
	bool made;

	if (!pblk)
		return false;
	if (!dafs_ck_blk_ok(ck, pblk)) {
		if (DAFS_CK_FIND(w, BB_ILLEGAL, .ino = EXT2_BAD_INO, .blk = pblk))
			drop(number, changed);
		return false;
	}
	if (level && dafs_ck_is_meta(ck, pblk)) {
		if (DAFS_CK_FIND(w, BB_MAP_METADATA, .ino = EXT2_BAD_INO, .blk = pblk))
			drop(number, changed);
		return false;
	}
	if (!level && dafs_ck_is_meta(ck, pblk)) {
		look_bad_metadata(l, number, changed);
		return false;
	}
	if (!dafs_ck_map_put(&w->seen, pblk, &made)) {
		w->err = ENOMEM;
		return false;
	}
	if (!made) {
		if (DAFS_CK_FIND(w, BB_MAP_CLAIMED, .ino = EXT2_BAD_INO, .blk = pblk))
			drop(number, changed);
		return false;
	}
	dafs_ck_claim_blk(w, pblk);
	return level > 0;
}

static void look_map(struct list *l, uint64_t pblk, unsigned level)
{
	struct dafs_ck_worker *w = l->w;
	uint32_t *numbers = (uint32_t *)w->level[level];
	bool changed = false;

	w->err = dafs_ck_read(w, pblk, 1, numbers);
	for (uint32_t i = 0; i < w->ck->g.block_size / 4 && !w->err; i++)
		if (look_number(l, &numbers[i], level - 1, &changed))
			look_map(l, numbers[i], level - 1);
	if (changed && !w->err)
		w->err = dafs_ck_write(w, pblk, numbers);
}

void dafs_ck_bad_blocks(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct list l = { w, in };
	bool changed = false;

	dafs_ck_map_reset(&w->seen);
	for (unsigned i = 0; i < EXT2_N_BLOCKS && !w->err; i++) {
		unsigned level = i < EXT2_NDIR_BLOCKS ? 0 : i - EXT2_NDIR_BLOCKS + 1;

		if (look_number(&l, &in->raw->i_block[i], level, &changed))
			look_map(&l, in->raw->i_block[i], level);
	}
	in->dirty |= changed;
}

static void add_bad_block(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
			  uint64_t len, bool map)
{
	(void)arg;
	(void)lblk;
	for (uint64_t i = 0; i < len && !map && !w->err; i++)
		if (!dafs_ck_map_put(&w->ck->bad_blocks, pblk + i + 1, NULL))
			w->err = ENOMEM;
}

errcode_t dafs_ck_bad_blocks_load(struct dafs_ck *ck)
{
	struct ext2_inode_large *raw = calloc(1, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	struct dafs_ck_worker *w = ck->main;

	if (!raw)
		return ENOMEM;
	if (dafs_ck_read_inode(w, EXT2_BAD_INO, raw))
		dafs_ck_walk(w, EXT2_BAD_INO, raw, add_bad_block, NULL);
	ck->rep->result.bad_blocks = ck->bad_blocks.n;
	/* The list cannot be read from a block that it calls bad. */
	if (ck->bad_blocks.n && !(ck->gd_flags[0] & DAFS_CKG_IT_BAD) &&
	    dafs_ck_map_get(&ck->bad_blocks, dafs_ck_gd_itable(ck, 0) + 1) &&
	    DAFS_CK_FIND(w, BB_SELF, .ino = EXT2_BAD_INO)) {
		memset(raw, 0, ck->g.inode_size);
		w->err = dafs_ck_write_inode(w, EXT2_BAD_INO, raw);
		dafs_ck_map_fini(&ck->bad_blocks);
	}
	free(raw);
	return w->err;
}
