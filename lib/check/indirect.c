/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * indirect - files mapped by direct and indirect blocks: every block number judged, the sound ones
 * claimed.
 *
 * Illegal numbers become holes when repaired, by remap.c: a map block may be another file's data,
 * or metadata, and is not written before that is settled.
 *
 * Invariant: a map block is visited once per file (w->seen).
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>

#define ILLEGAL_SHOWN 12u /* findings of one kind for one inode; the rest is only counted */

struct map {
	struct dafs_ck_worker *w;
	struct dafs_ck_inode *in;
	uint64_t max_clusters;
	unsigned on_meta; /* the map block at hand lies on metadata */
	uint64_t own;	  /* the map block at hand */
	bool repair;	  /* last decision about an illegal number */
};

/* Does the file own the block? */
static bool claims_itself(const struct dafs_ck_inode *in, unsigned level)
{
	return in->ino != EXT2_RESIZE_INO || level == 2;
}

/* The code of what is wrong with the number; DAFS_CK_CODES: nothing. text: what is too small for
 * it. */
static unsigned judge(const struct map *m, uint64_t pblk, uint64_t lblk, unsigned level,
		      const char **text)
{
	const struct dafs_ck *ck = m->w->ck;
	const struct dafs_ck_inode *in = m->in;
	unsigned code = DAFS_CK_CODES;

	if (in->is_dir && !level && !ck->g.large_dir && !in->raw->i_size_high &&
	    lblk > UINT64_C(1) << (21 - ck->sb.s_log_block_size)) {
		code = DAFS_CK_BLK_TOOBIG;
		*text = "a directory";
	}
	if ((in->is_dir || in->is_reg) && in->clusters + 1 >= m->max_clusters) {
		code = DAFS_CK_BLK_TOOBIG;
		*text = in->is_dir ? "a directory" : "a file";
	}
	if (!in->is_dir && !in->is_reg && !level && lblk > 0) {
		code = DAFS_CK_BLK_TOOBIG;
		*text = "a symlink";
	}
	if (!level && pblk == m->own && in->ino != EXT2_RESIZE_INO && code == DAFS_CK_CODES)
		return DAFS_CK_BLK_OWN_MAP;
	return dafs_ck_blk_ok(ck, pblk) ? code : DAFS_CK_BLK_ILLEGAL;
}

static void claim(struct map *m, uint64_t pblk, uint64_t lblk, unsigned level)
{
	const struct dafs_ck *ck = m->w->ck;
	struct dafs_ck_inode *in = m->in;
	uint64_t mask = (UINT64_C(1) << ck->g.cbits) - 1;

	/* What the resize inode maps are the reserved descriptor blocks, which are metadata
	 * already. */
	if (in->ino == EXT2_RESIZE_INO) {
		if (claims_itself(in, level))
			dafs_ck_claim_blk(m->w, pblk);
		in->clusters++;
		return;
	}
	if (!(ck->g.cbits && in->prev_pblk && pblk >> ck->g.cbits == in->prev_pblk >> ck->g.cbits &&
	      !level && (pblk & mask) == (lblk & mask))) {
		dafs_ck_claim_blk(m->w, pblk);
		in->clusters++;
	} else if (dafs_ck_misaligned(ck, in, pblk, lblk)) {
		DAFS_CK_FIND(m->w, BLK_MISALIGNED, .ino = in->ino, .lblk = lblk, .blk = pblk);
		dafs_ck_claim_blk(m->w, pblk);
		dafs_ck_claim_blk(m->w, pblk);
	}
}

static void add_dir_block(struct map *m, uint64_t pblk, uint64_t lblk)
{
	struct dafs_ck_inode *in = m->in;

	if (in->last_dir_blk + 1 < (int64_t)lblk)
		dafs_ck_add_dext(m->w, 0, (uint64_t)(in->last_dir_blk + 1),
				 lblk - (uint64_t)(in->last_dir_blk + 1));
	if ((int64_t)lblk > in->last_dir_blk)
		dafs_ck_add_dext(m->w, pblk, lblk, 1);
	in->last_dir_blk = (int64_t)lblk;
}

/* Judge and claim *number (level 0: data; else a map block). False: it is a hole, or is left alone.
 * *changed: it became one. */
static bool look_number(struct map *m, uint32_t *number, uint64_t lblk, unsigned level,
			bool *changed)
{
	struct dafs_ck_worker *w = m->w;
	struct dafs_ck_inode *in = m->in;
	uint64_t pblk = *number;
	const char *text = NULL;
	unsigned code;

	if (!pblk)
		return false;
	if (in->prev_pblk && in->ino != EXT2_RESIZE_INO && in->prev_pblk + 1 != pblk)
		in->fragmented = true;
	code = judge(m, pblk, lblk, level, &text);
	if (code != DAFS_CK_CODES) {
		in->illegal++;
		if (m->on_meta)
			return false;
		/* What was said of the first ones goes for the rest. */
		if (in->illegal <= ILLEGAL_SHOWN)
			m->repair = dafs_ck_find(w, &(struct dafs_finding){ .code = (uint16_t)code,
									    .ino = in->ino,
									    .lblk = lblk,
									    .blk = pblk,
									    .text = text });
		if (m->repair) {
			*number = 0;
			*changed = true;
			/* Pass 2 is to fill the hole. */
			if (in->is_dir && !level && code == DAFS_CK_BLK_ILLEGAL)
				add_dir_block(m, 0, lblk);
		}
		return false;
	}
	claim(m, pblk, lblk, level);
	if (!level && w->flat && !dafs_ck_flat_add(&w->flat->xl, lblk, pblk, 1, false))
		w->err = ENOMEM;
	if (!level) {
		in->last_blk = (int64_t)lblk;
		if (in->is_dir)
			add_dir_block(m, pblk, lblk);
	}
	in->prev_pblk = pblk;
	return true;
}

/* The file blocks that a map block of the level covers. */
static uint64_t span(const struct dafs_ck *ck, unsigned level)
{
	uint64_t blks = 1;

	while (level--)
		blks *= ck->g.block_size / 4;
	return blks;
}

static void look_map(struct map *m, uint64_t pblk, uint64_t lblk, unsigned level)
{
	struct dafs_ck_worker *w = m->w;
	const struct dafs_ck *ck = w->ck;
	uint32_t *numbers = (uint32_t *)w->level[level];
	bool changed = false, on_meta = m->in->ino != EXT2_RESIZE_INO && dafs_ck_is_meta(ck, pblk),
	     made;

	if (!dafs_ck_map_put(&w->seen, pblk, &made)) {
		w->err = ENOMEM;
		return;
	}
	if (!made) {
		/* (For all other files a block that is claimed twice.) */
		if (m->in->ino == EXT2_RESIZE_INO)
			DAFS_CK_FIND(w, RESIZE_LOOP, .ino = m->in->ino, .blk = pblk);
		return;
	}
	if (on_meta)
		DAFS_CK_FIND(w, BLK_MAP_METADATA, .ino = m->in->ino, .blk = pblk);
	else if (w->flat)
		w->err = dafs_blklist_add(&w->flat->nodes, pblk);
	if (!w->err)
		w->err = dafs_ck_read(w, pblk, 1, numbers);
	m->on_meta += on_meta;
	for (uint32_t i = 0; i < ck->g.block_size / 4 && !w->err; i++) {
		uint64_t at = lblk + i * span(ck, level - 1);

		m->own = pblk;
		if (look_number(m, &numbers[i], at, level - 1, &changed) && level > 1)
			look_map(m, numbers[i], at, level - 1);
		if (w->put_off && w->scan)
			break;
	}
	m->on_meta -= on_meta;
	m->in->rebuild |= changed;
}

void dafs_ck_indirect(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;
	struct map m = { .w = w,
			 .in = in,
			 .max_clusters = UINT64_C(1) << (31 - ck->sb.s_log_block_size) };
	uint64_t lblk = EXT2_NDIR_BLOCKS;
	bool changed = false;

	dafs_ck_map_reset(&w->seen);
	/* Block 0 of a directory is looked at even when it is missing, or . and .. would be missing
	 * for ever. */
	if (in->is_dir && !raw->i_block[0])
		add_dir_block(&m, 0, 0);
	for (unsigned i = 0; i < EXT2_NDIR_BLOCKS && !w->err; i++)
		look_number(&m, &raw->i_block[i], i, 0, &changed);
	for (unsigned level = 1; level <= 3 && !w->err; level++) {
		if (look_number(&m, &raw->i_block[EXT2_NDIR_BLOCKS + level - 1], lblk, level,
				&changed))
			look_map(&m, raw->i_block[EXT2_NDIR_BLOCKS + level - 1], lblk, level);
		lblk += span(ck, level);
	}
	in->rebuild |= changed;
	in->last_init_blk = in->last_blk;
	if (in->illegal >= ILLEGAL_SHOWN && in->illegal > in->clusters &&
	    DAFS_CK_FIND(w, BLK_TOO_MANY, .ino = in->ino, .found = in->illegal))
		dafs_ck_inode_clear(w, in);
}
