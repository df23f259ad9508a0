/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * walk - every block of an inode, without judging: what is unsound is skipped in silence.
 *
 * For those who need the blocks of inodes that pass 1 has judged (or will): blocks claimed twice,
 * the journal, the bad blocks, the quota files. Visits the same blocks that pass 1 claims, in
 * logical order, maps before what they map.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>

#define MAX_DEPTH 15u
#define UNWRITTEN (1u << 15)

struct walk {
	struct dafs_ck_worker *w;
	dafs_ck_run_fn fn;
	void *arg;
	uint64_t lblk, pblk, len; /* indirect maps: the run being collected */
};

static void flush_run(struct walk *x)
{
	if (x->len)
		x->fn(x->w, x->arg, x->lblk, x->pblk, x->len, false);
	x->len = 0;
}

/* First visit of a map block in this walk? */
static bool first_visit(struct walk *x, uint64_t pblk)
{
	bool made = false;

	if (!dafs_ck_map_put(&x->w->seen, pblk, &made))
		x->w->err = ENOMEM;
	return made;
}

static void walk_node(struct walk *x, const struct ext3_extent_header *eh, unsigned depth)
{
	const struct dafs_ck *ck = x->w->ck;

	for (unsigned i = 0; i < eh->eh_entries && !x->w->err; i++) {
		const struct ext3_extent *ex = (const struct ext3_extent *)(eh + 1) + i;
		const struct ext3_extent_idx *ix = (const void *)ex;
		uint64_t pblk = depth ? ix->ei_leaf | (uint64_t)ix->ei_leaf_hi << 32
				      : ex->ee_start | (uint64_t)ex->ee_start_hi << 32;
		uint64_t len = ex->ee_len > UNWRITTEN ? ex->ee_len - UNWRITTEN : ex->ee_len;
		struct ext3_extent_header *child;

		if (!pblk || !dafs_ck_blk_ok(ck, pblk))
			continue;
		if (!depth) {
			if (len && pblk + len <= ck->g.blocks)
				x->fn(x->w, x->arg, ex->ee_block, pblk, len, false);
			continue;
		}
		if (!first_visit(x, pblk))
			continue;
		child = (void *)x->w->level[depth - 1];
		x->fn(x->w, x->arg, ix->ei_block, pblk, 1, true);
		x->w->err = dafs_ck_read(x->w, pblk, 1, child);
		if (!x->w->err && dafs_ck_extent_header_ok(child, ck->g.block_size))
			walk_node(x, child, depth - 1);
	}
}

static void walk_number(struct walk *x, uint64_t pblk, uint64_t lblk, unsigned level);

static void walk_map(struct walk *x, uint64_t pblk, uint64_t lblk, unsigned level)
{
	const uint32_t *numbers = (const uint32_t *)x->w->level[level];
	uint32_t per = x->w->ck->g.block_size / 4;
	uint64_t step = 1;

	for (unsigned i = 1; i < level; i++)
		step *= per;
	flush_run(x);
	if (!first_visit(x, pblk))
		return;
	x->fn(x->w, x->arg, lblk, pblk, 1, true);
	x->w->err = dafs_ck_read(x->w, pblk, 1, x->w->level[level]);
	for (uint32_t i = 0; i < per && !x->w->err; i++)
		walk_number(x, numbers[i], lblk + i * step, level - 1);
}

static void walk_number(struct walk *x, uint64_t pblk, uint64_t lblk, unsigned level)
{
	if (!pblk || !dafs_ck_blk_ok(x->w->ck, pblk))
		return;
	if (level) {
		walk_map(x, pblk, lblk, level);
		return;
	}
	if (x->len && x->lblk + x->len == lblk && x->pblk + x->len == pblk) {
		x->len++;
		return;
	}
	flush_run(x);
	x->lblk = lblk;
	x->pblk = pblk;
	x->len = 1;
}

void dafs_ck_walk(struct dafs_ck_worker *w, uint32_t ino, const struct ext2_inode_large *raw,
		  dafs_ck_run_fn fn, void *arg)
{
	const struct dafs_ck *ck = w->ck;
	struct walk x = { .w = w, .fn = fn, .arg = arg };
	const struct ext3_extent_header *eh = (const void *)raw->i_block;
	uint64_t lblk = EXT2_NDIR_BLOCKS, per = ck->g.block_size / 4, span = 1;

	if (ino != EXT2_BAD_INO && !dafs_ck_has_blocks(ck, raw))
		return;
	dafs_ck_map_reset(&w->seen);
	if (ck->g.extents && raw->i_flags & EXT4_EXTENTS_FL) {
		if (dafs_ck_extent_header_ok(eh, sizeof(raw->i_block)) && eh->eh_depth <= MAX_DEPTH)
			walk_node(&x, eh, eh->eh_depth);
		return;
	}
	for (unsigned i = 0; i < EXT2_N_BLOCKS && !w->err; i++) {
		if (i < EXT2_NDIR_BLOCKS) {
			walk_number(&x, raw->i_block[i], i, 0);
			continue;
		}
		walk_number(&x, raw->i_block[i], lblk, i - EXT2_NDIR_BLOCKS + 1);
		span *= per;
		lblk += span;
	}
	flush_run(&x);
}

static void keep_first(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
		       uint64_t len, bool map)
{
	uint64_t *first = arg;

	(void)w;
	(void)len;
	if (!map && !lblk)
		*first = pblk;
}

uint64_t dafs_ck_first_blk(struct dafs_ck_worker *w, const struct ext2_inode_large *raw)
{
	const struct ext3_extent_header *eh = (const void *)raw->i_block;
	uint64_t first = 0;

	/* Not dafs_ck_walk: this is asked of inodes whose mode is in doubt. */
	if (raw->i_flags & EXT4_EXTENTS_FL) {
		struct walk x = { .w = w, .fn = keep_first, .arg = &first };

		dafs_ck_map_reset(&w->seen);
		if (dafs_ck_extent_header_ok(eh, sizeof(raw->i_block)) && eh->eh_depth <= MAX_DEPTH)
			walk_node(&x, eh, eh->eh_depth);
	} else {
		first = raw->i_block[0];
	}
	return first;
}
