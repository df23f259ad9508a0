/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * space - blocks and inodes for repairs, out of what passes 1 and 1b found to be free.
 *
 * Not the allocator of lib/alloc: that one believes the bitmaps. What is taken is marked in
 * ck->found and in the bitmaps as they lie in the image, so that pass 5 has nothing to say of it.
 *
 * Serial, after pass 1b.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

/* ---- the bitmaps in the image ---- */

/* Give bits a value; how many had the other one. */
static uint32_t change_bits(uint8_t *bits, uint32_t from, uint32_t len, bool value)
{
	uint32_t changed = 0;

	for (uint32_t bit = from; bit < from + len; bit++) {
		uint8_t mask = (uint8_t)(1u << bit % 8);

		changed += !(bits[bit / 8] & mask) == value;
		bits[bit / 8] = value ? bits[bit / 8] | mask : bits[bit / 8] & (uint8_t)~mask;
	}
	return changed;
}

static void add_free_blks(struct dafs_ck *ck, int64_t blks)
{
	uint64_t free_blks = ck->sb.s_free_blocks_count |
			     (ck->g.bit64 ? (uint64_t)ck->sb.s_free_blocks_hi << 32 : 0);

	free_blks += (uint64_t)blks;
	ck->sb.s_free_blocks_count = (uint32_t)free_blks;
	if (ck->g.bit64)
		ck->sb.s_free_blocks_hi = (uint32_t)(free_blks >> 32);
}

static errcode_t change_in_group(struct dafs_ck *ck, uint32_t grp, uint32_t bit, uint32_t len,
				 bool used)
{
	const struct ext4_group_desc *gd = dafs_ck_gd(ck, grp);
	uint8_t *bits = ck->main->level[14];
	int64_t n;
	errcode_t err;

	if (ck->gd_flags[grp] & (DAFS_CKG_BB_BAD | DAFS_CKG_BB_CLASH))
		return 0;
	if (ck->g.gd_csum && gd->bg_flags & EXT2_BG_BLOCK_UNINIT)
		return used ? dafs_ck_write_block_bitmap(ck, grp) : 0;
	err = dafs_ck_read(ck->main, dafs_ck_gd_block_bitmap(ck, grp), 1, bits);
	if (err)
		return err;
	n = change_bits(bits, bit, len, used);
	if (used)
		n = -n;
	dafs_ck_gd_set_free_blks(ck, grp, (uint32_t)(dafs_ck_gd_free_blks(ck, grp) + n));
	dafs_ck_gd_set_bitmap_csum(ck, grp, false, bits);
	dafs_ck_gd_seal(ck, grp);
	add_free_blks(ck, n * (1 << ck->g.cbits));
	return dafs_ck_write(ck->main, dafs_ck_gd_block_bitmap(ck, grp), bits);
}

errcode_t dafs_ck_bitmap_blks(struct dafs_ck *ck, uint64_t pblk, uint64_t len, bool used)
{
	uint64_t cluster = dafs_ck_cluster(ck, pblk), end = dafs_ck_cluster(ck, pblk + len - 1) + 1;
	errcode_t err = 0;

	while (cluster < end && !err) {
		uint32_t grp = (uint32_t)(cluster / ck->g.cpg),
			 bit = (uint32_t)(cluster % ck->g.cpg);
		uint64_t n = end - cluster < ck->g.cpg - bit ? end - cluster : ck->g.cpg - bit;

		err = change_in_group(ck, grp, bit, (uint32_t)n, used);
		cluster += n;
	}
	return err;
}

errcode_t dafs_ck_bitmap_inode(struct dafs_ck *ck, uint32_t ino, bool is_dir, bool used)
{
	uint32_t grp = (ino - 1) / ck->g.ipg;
	const struct ext4_group_desc *gd = dafs_ck_gd(ck, grp);
	uint8_t *bits = ck->main->level[14];
	uint32_t n, step;
	errcode_t err;

	if (ck->gd_flags[grp] & (DAFS_CKG_IB_BAD | DAFS_CKG_IB_CLASH) ||
	    (ck->g.gd_csum && gd->bg_flags & EXT2_BG_INODE_UNINIT))
		return 0;
	err = dafs_ck_read(ck->main, dafs_ck_gd_inode_bitmap(ck, grp), 1, bits);
	if (err)
		return err;
	n = change_bits(bits, (ino - 1) % ck->g.ipg, 1, used);
	step = used ? -n : n;
	dafs_ck_gd_set_free_inodes(ck, grp, dafs_ck_gd_free_inodes(ck, grp) + step);
	ck->sb.s_free_inodes_count += step;
	if (is_dir)
		dafs_ck_gd_set_dirs(ck, grp, dafs_ck_gd_dirs(ck, grp) - step);
	dafs_ck_gd_set_bitmap_csum(ck, grp, true, bits);
	dafs_ck_gd_seal(ck, grp);
	return dafs_ck_write(ck->main, dafs_ck_gd_inode_bitmap(ck, grp), bits);
}

/* ---- blocks ---- */

/* Clusters of the map that can be used: the last group may be short, the device shorter. */
static uint64_t end_cluster(const struct dafs_ck *ck)
{
	uint64_t dev_blks = ck->dev->size_bytes >> ck->g.block_bits;
	uint64_t blks = dev_blks < ck->g.blocks ? dev_blks : ck->g.blocks;

	return blks > ck->g.first ? (blks - ck->g.first) >> ck->g.cbits : 0;
}

/* The first n free clusters in a row within [from, to); to: none. */
static uint64_t find_run(const struct dafs_ck *ck, uint64_t from, uint64_t to, uint64_t n)
{
	while (from < to) {
		uint64_t start = dafs_ck_bits_next(&ck->found, from, false);
		uint64_t end;

		if (start >= to || n > to - start)
			return to;
		end = dafs_ck_bits_next(&ck->found, start, true);
		if (end - start >= n)
			return start;
		from = end;
	}
	return to;
}

static uint64_t take(struct dafs_ck *ck, uint64_t cluster, uint64_t n)
{
	uint64_t pblk = ck->g.first + (cluster << ck->g.cbits);
	errcode_t err;

	dafs_ck_bits_set(&ck->found, cluster, n, NULL);
	err = dafs_ck_bitmap_blks(ck, pblk, n << ck->g.cbits, true);
	if (err)
		ck->main->err = err;
	return pblk;
}

uint64_t dafs_ck_take_within(struct dafs_ck *ck, uint64_t from_pblk, uint64_t to_pblk,
			     uint64_t blks)
{
	uint64_t n = (blks + (UINT64_C(1) << ck->g.cbits) - 1) >> ck->g.cbits;
	uint64_t from = from_pblk <= ck->g.first ? 0 : dafs_ck_cluster(ck, from_pblk);
	uint64_t to = dafs_ck_cluster(ck, to_pblk), at;

	if (to > end_cluster(ck))
		to = end_cluster(ck);
	at = find_run(ck, from, to, n);
	return at < to ? take(ck, at, n) : 0;
}

uint64_t dafs_ck_take(struct dafs_ck *ck, uint64_t goal_pblk, uint64_t blks)
{
	uint64_t pblk;

	if (!dafs_ck_blk_ok(ck, goal_pblk))
		goal_pblk = ck->g.first;
	pblk = dafs_ck_take_within(ck, goal_pblk, ck->g.blocks, blks);
	if (!pblk)
		pblk = dafs_ck_take_within(ck, ck->g.first, ck->g.blocks, blks);
	ck->no_room |= !pblk;
	return pblk;
}

uint64_t dafs_ck_goal(const struct dafs_ck *ck, uint32_t ino)
{
	return dafs_ck_grp_first(ck, (ino - 1) / ck->g.ipg);
}

bool dafs_ck_no_room(struct dafs_ck_worker *w, const char *what)
{
	DAFS_CK_FIND(w, NO_ROOM, .text = what);
	w->ck->stuck = true;
	return false;
}

/* ---- inodes ---- */

/* Zeros for the table blocks of [from, to) of a group's inodes, which nothing has looked at: they
 * may hold anything. */
static errcode_t zero_inodes(struct dafs_ck *ck, uint32_t grp, uint32_t from, uint32_t to)
{
	uint32_t per = ck->g.inodes_per_blk;
	uint64_t table = dafs_ck_gd_itable(ck, grp);
	struct dafs_ck_worker *w = ck->main;
	errcode_t err = 0;

	for (uint32_t blk = from / per; blk <= (to - 1) / per && !err; blk++) {
		uint32_t first = blk * per;
		uint32_t keep = first < from ? (from - first) * ck->g.inode_size : 0;

		err = dafs_ck_read(w, table + blk, 1, w->tmp);
		memset(w->tmp + keep, 0, ck->g.block_size - keep);
		if (!err)
			err = dafs_ck_write(w, table + blk, w->tmp);
	}
	return err;
}

/* The first of a group's inodes that is not reserved; ipg: all are. */
static uint32_t first_usable(const struct dafs_ck *ck, uint32_t grp)
{
	uint64_t before = (uint64_t)grp * ck->g.ipg, first = ck->g.first_ino - 1;

	if (first <= before)
		return 0;
	return first - before < ck->g.ipg ? (uint32_t)(first - before) : ck->g.ipg;
}

/* A free inode that pass 1 has seen; ipg: none. */
static uint32_t free_seen(const struct dafs_ck *ck, uint32_t grp)
{
	uint32_t n = dafs_ck_grp_scan_inodes(ck, grp);

	for (uint32_t i = first_usable(ck, grp); i < n; i++)
		if (!(dafs_ck_ino_flags(ck, grp * ck->g.ipg + i + 1) & DAFS_CKI_USED))
			return i;
	return ck->g.ipg;
}

/* The group's mark moves behind one more inode. */
static errcode_t extend_mark(struct dafs_ck *ck, uint32_t grp, uint32_t *index)
{
	struct ext4_group_desc *gd = dafs_ck_gd(ck, grp);
	uint32_t n = dafs_ck_grp_scan_inodes(ck, grp), first = first_usable(ck, grp);

	*index = ck->g.ipg;
	if (n >= ck->g.ipg || first >= ck->g.ipg || ck->gd_flags[grp] & DAFS_CKG_IT_BAD)
		return 0;
	*index = n > first ? n : first;
	gd->bg_flags &= (uint16_t)~EXT2_BG_INODE_UNINIT;
	dafs_ck_gd_set_unused(ck, grp, ck->g.ipg - *index - 1);
	dafs_ck_gd_seal(ck, grp);
	return zero_inodes(ck, grp, n, *index + 1);
}

bool dafs_ck_room_for_dir(const struct dafs_ck *ck)
{
	if (dafs_ck_bits_next(&ck->found, 0, false) >= end_cluster(ck))
		return false;
	for (uint32_t grp = 0; grp < ck->g.groups; grp++) {
		uint32_t n = dafs_ck_grp_scan_inodes(ck, grp);

		if (free_seen(ck, grp) < ck->g.ipg ||
		    (n < ck->g.ipg && !(ck->gd_flags[grp] & DAFS_CKG_IT_BAD)))
			return true;
	}
	return false;
}

errcode_t dafs_ck_take_inode(struct dafs_ck *ck, uint32_t *ino)
{
	uint32_t index = ck->g.ipg, grp;
	errcode_t err = 0;

	*ino = 0;
	for (grp = 0; grp < ck->g.groups && index == ck->g.ipg; grp++)
		index = free_seen(ck, grp);
	for (uint32_t g = 0; g < ck->g.groups && index == ck->g.ipg && !err; g++) {
		err = extend_mark(ck, g, &index);
		grp = g + 1;
	}
	if (!err && index < ck->g.ipg)
		*ino = (grp - 1) * ck->g.ipg + index + 1;
	return err;
}
