/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pass5 - bitmaps and counts against what passes 1 to 4 found in use.
 *
 * Verifies: block and inode bitmaps with their padding and checksums, free counts and directories
 * of each group, the superblock's sums. Leaves for the caller: the numbers of the summary line.
 *
 * Groups are looked at by all workers; a group that differs is put off. Counts: with an image that
 * is only looked at, a count is compared with the bitmap on disk (what differs there was said
 * already), else with what is in use.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"

#define BATCH 16u /* groups an item: their bitmaps often lie side by side */

struct group {
	struct dafs_ck_worker *w;
	uint32_t grp;
	uint8_t *disk, *want; /* bitmaps, a block each */
	bool write;	      /* want is to take the place of disk */
	uint64_t free_clusters;
	uint32_t free_inodes, dirs;
};

static uint32_t group_clusters(const struct dafs_ck *ck, uint32_t grp)
{
	return (uint32_t)((dafs_ck_grp_blks(ck, grp) + (1u << ck->g.cbits) - 1) >> ck->g.cbits);
}

/* ---- comparing bits ---- */

struct diff {
	uint32_t n_used, first_used; /* in use, but free in the bitmap */
	uint32_t n_free, first_free; /* the other way round */
};

static struct diff compare(const uint8_t *disk, const uint8_t *want, uint32_t nbits)
{
	struct diff d = { 0 };

	for (uint32_t at = 0; at < nbits; at += 64) {
		uint64_t x = 0, y = 0, used, unused;
		uint32_t bits = nbits - at < 64 ? nbits - at : 64;

		memcpy(&x, disk + at / 8, (bits + 7) / 8);
		memcpy(&y, want + at / 8, (bits + 7) / 8);
		if (bits < 64) {
			x &= (UINT64_C(1) << bits) - 1;
			y &= (UINT64_C(1) << bits) - 1;
		}
		if (x == y)
			continue;
		used = y & ~x;
		unused = x & ~y;
		if (used && !d.n_used)
			d.first_used = at + (uint32_t)__builtin_ctzll(used);
		if (unused && !d.n_free)
			d.first_free = at + (uint32_t)__builtin_ctzll(unused);
		d.n_used += (uint32_t)__builtin_popcountll(used);
		d.n_free += (uint32_t)__builtin_popcountll(unused);
	}
	return d;
}

static uint32_t count_bits(const uint8_t *bits, uint32_t nbits)
{
	uint32_t count = 0, at = 0;
	uint64_t word;

	for (; at + 64 <= nbits; at += 64) {
		memcpy(&word, bits + at / 8, 8);
		count += (uint32_t)__builtin_popcountll(word);
	}
	for (; at < nbits; at++)
		count += bits[at / 8] >> (at % 8) & 1;
	return count;
}

/* Are the bits [from, to) all set? */
static bool padding_set(const uint8_t *bits, uint32_t from, uint32_t to)
{
	for (; from < to && from % 8; from++)
		if (!(bits[from / 8] >> (from % 8) & 1))
			return false;
	for (; from + 8 <= to; from += 8)
		if (bits[from / 8] != 0xff)
			return false;
	for (; from < to; from++)
		if (!(bits[from / 8] >> (from % 8) & 1))
			return false;
	return true;
}

static uint32_t stored_csum(const struct dafs_ck *ck, uint16_t lo, uint16_t hi)
{
	return lo | (ck->g.desc_size >= EXT2_MIN_DESC_SIZE_64BIT ? (uint32_t)hi << 16 : 0);
}

static bool csum_ok(const struct dafs_ck *ck, const uint8_t *bits, uint32_t len_bytes,
		    uint32_t stored)
{
	uint32_t crc = dafs_crc32c(ck->g.csum_seed, bits, len_bytes);

	if (ck->g.desc_size < EXT2_MIN_DESC_SIZE_64BIT)
		crc &= 0xffff;
	return crc == stored;
}

/* ---- block bitmaps ---- */

/* A descriptor that fails its checksum is not believed to be uninitialised: its bitmap is expected
 * to be there. */
static errcode_t look_doubtful(struct group *g, uint64_t blk, uint32_t n, unsigned code)
{
	errcode_t err = dafs_ck_read(g->w, blk, 1, g->w->level[2]);

	if (!err && !padding_set(g->w->level[2], n, g->w->ck->g.block_size * 8))
		dafs_ck_find(g->w, &(struct dafs_finding){ .code = (uint16_t)code, .grp = g->grp });
	return err;
}

/* Tables of groups without bitmaps count as in use here. */
static errcode_t add_tables(struct group *g, uint32_t n, struct diff *d)
{
	bool changed;
	errcode_t err = dafs_ck_add_tables(g->w->ck, g->grp, g->disk, &changed);

	if (err || !changed)
		return err;
	*d = compare(g->disk, g->want, n);
	g->write |= DAFS_CK_FIND(g->w, BMAP_TABLES, .grp = g->grp);
	return 0;
}

static bool find_blocks(struct group *g, const struct diff *d)
{
	const struct dafs_ck *ck = g->w->ck;
	uint64_t first = dafs_ck_grp_first(ck, g->grp);
	bool fix = false;

	if (d->n_used)
		fix |= DAFS_CK_FIND(g->w, BMAP_BLOCKS, .grp = g->grp, .len = d->n_used,
				    .text = "in use but free",
				    .blk = first + ((uint64_t)d->first_used << ck->g.cbits));
	if (d->n_free)
		fix |= DAFS_CK_FIND(g->w, BMAP_BLOCKS, .grp = g->grp, .len = d->n_free,
				    .text = "free but in use",
				    .blk = first + ((uint64_t)d->first_free << ck->g.cbits));
	return fix;
}

static void set_padding(uint8_t *bits, uint32_t from, uint32_t to)
{
	for (; from < to && from % 8; from++)
		bits[from / 8] |= (uint8_t)(1u << from % 8);
	if (from < to)
		memset(bits + from / 8, 0xff, (to - from) / 8);
}

/* g->want, padded, as the group's bitmap. */
static errcode_t write_blocks(struct group *g)
{
	struct dafs_ck *ck = g->w->ck;

	set_padding(g->want, group_clusters(ck, g->grp), ck->g.block_size * 8);
	dafs_ck_gd(ck, g->grp)->bg_flags &= (uint16_t)~EXT2_BG_BLOCK_UNINIT;
	dafs_ck_gd_set_bitmap_csum(ck, g->grp, false, g->want);
	dafs_ck_gd_seal(ck, g->grp);
	return dafs_ck_write(g->w, dafs_ck_gd_block_bitmap(ck, g->grp), g->want);
}

static errcode_t look_blocks(struct group *g)
{
	struct dafs_ck_worker *w = g->w;
	struct dafs_ck *ck = w->ck;
	const struct ext4_group_desc *gd = dafs_ck_gd(ck, g->grp);
	uint32_t n = group_clusters(ck, g->grp);
	bool there = !(ck->gd_flags[g->grp] & DAFS_CKG_BB_BAD);
	bool uninit =
		dafs_ck_block_uninit(ck, g->grp) || (!there && dafs_ck_flagged_uninit(ck, g->grp));
	bool read = !uninit && there;
	struct diff d;
	errcode_t err = 0;

	g->write = false;
	memset(g->want, 0, ck->g.block_size);
	dafs_ck_bits_copy(&ck->found, (uint64_t)g->grp * ck->g.cpg, n, g->want);
	if (read)
		err = dafs_ck_read(w, dafs_ck_gd_block_bitmap(ck, g->grp), 1, g->disk);
	else if (uninit)
		dafs_ck_uninit_blocks(ck, g->grp, g->disk);
	else
		memset(g->disk, 0, ck->g.block_size);
	if (err)
		return err;
	d = compare(g->disk, g->want, n);
	/* (A scan puts the group off for what differs.) */
	if (read && d.n_used && !w->scan)
		err = add_tables(g, n, &d);
	if (err)
		return err;
	/* (An uninitialised bitmap has no padding, and the last group may need some.) */
	if (uninit && g->grp == ck->g.groups - 1 && n < ck->g.cpg)
		DAFS_CK_FIND(w, BMAP_BLOCK_PAD, .grp = g->grp);
	if (uninit && d.n_used)
		g->write |= DAFS_CK_FIND(w, BMAP_BLOCK_UNINIT, .grp = g->grp,
					 .blk = dafs_ck_grp_first(ck, g->grp) +
						((uint64_t)d.first_used << ck->g.cbits));
	else
		g->write |= find_blocks(g, &d);
	if (read && !padding_set(g->disk, n, ck->g.block_size * 8))
		g->write |= DAFS_CK_FIND(w, BMAP_BLOCK_PAD, .grp = g->grp);
	/* (Of the bitmap with those tables: whoever writes it knows of them.) */
	if (read && ck->g.csum &&
	    !csum_ok(ck, g->disk, ck->g.cpg / 8,
		     stored_csum(ck, gd->bg_block_bitmap_csum_lo, gd->bg_block_bitmap_csum_hi)))
		g->write |= DAFS_CK_FIND(w, BMAP_BLOCK_CSUM, .grp = g->grp);
	g->free_clusters = n - count_bits(ck->fixing ? g->want : g->disk, n);
	if (g->write && !w->scan && !(ck->gd_flags[g->grp] & DAFS_CKG_BB_BAD))
		err = write_blocks(g);
	if (dafs_ck_gd_free_blks(ck, g->grp) != g->free_clusters &&
	    DAFS_CK_FIND(w, GRP_FREE_BLOCKS, .grp = g->grp,
			 .found = dafs_ck_gd_free_blks(ck, g->grp), .want = g->free_clusters)) {
		dafs_ck_gd_set_free_blks(ck, g->grp, (uint32_t)g->free_clusters);
		dafs_ck_gd_seal(ck, g->grp);
	}
	return err;
}

/* ---- inode bitmaps ---- */

/* False: none is in use. */
static bool want_inodes(struct group *g)
{
	const struct dafs_ck *ck = g->w->ck;
	uint32_t first = g->grp * ck->g.ipg + 1;
	bool some = false;

	memset(g->want, 0, ck->g.block_size);
	g->dirs = 0;
	for (uint32_t at = 0, n; at < ck->g.ipg; at += n) {
		uint64_t used;
		unsigned flags;

		n = 1;
		if (!(at % 8) && !((first + at - 1) % 64) && at + 64 <= ck->g.ipg) {
			n = 64;
			used = dafs_ck_ino_used_word(ck, first + at, &g->dirs);
			memcpy(g->want + at / 8, &used, 8);
			some |= used != 0;
			continue;
		}
		flags = dafs_ck_ino_flags(ck, first + at);
		if (!(flags & DAFS_CKI_USED))
			continue;
		some = true;
		g->want[at / 8] |= (uint8_t)(1u << at % 8);
		g->dirs += (flags & DAFS_CKI_TYPE) == EXT2_FT_DIR;
	}
	return some;
}

/* Directories are counted where the bitmap agrees that the inode is in use. */
static void count_dirs(struct group *g)
{
	const struct dafs_ck *ck = g->w->ck;

	g->dirs = 0;
	for (uint32_t i = 0; i < ck->g.ipg; i++) {
		unsigned flags = dafs_ck_ino_flags(ck, g->grp * ck->g.ipg + i + 1);

		g->dirs += (flags & DAFS_CKI_TYPE) == EXT2_FT_DIR && flags & DAFS_CKI_USED &&
			   g->disk[i / 8] >> (i % 8) & 1;
	}
}

static bool find_inodes(struct group *g, const struct diff *d)
{
	uint32_t first = g->grp * g->w->ck->g.ipg + 1;
	bool fix = false;

	if (d->n_used)
		fix |= DAFS_CK_FIND(g->w, BMAP_INODES, .grp = g->grp, .len = d->n_used,
				    .text = "in use but free", .ino = first + d->first_used);
	if (d->n_free)
		fix |= DAFS_CK_FIND(g->w, BMAP_INODES, .grp = g->grp, .len = d->n_free,
				    .text = "free but in use", .ino = first + d->first_free);
	return fix;
}

/* Inodes behind the last one in use. */
static uint32_t unused_tail(const uint8_t *bits, uint32_t n)
{
	uint32_t used = n;

	while (used && !(bits[(used - 1) / 8] >> (used - 1) % 8 & 1))
		used--;
	return n - used;
}

static errcode_t write_inodes(struct group *g)
{
	struct dafs_ck *ck = g->w->ck;
	struct ext4_group_desc *gd = dafs_ck_gd(ck, g->grp);
	uint32_t tail = unused_tail(g->want, ck->g.ipg);

	/* A group that begins to be in use hides no inode that is. */
	if (ck->g.gd_csum &&
	    (gd->bg_flags & EXT2_BG_INODE_UNINIT || dafs_ck_gd_unused(ck, g->grp) > tail))
		dafs_ck_gd_set_unused(ck, g->grp, tail);
	set_padding(g->want, ck->g.ipg & ~7u, ck->g.block_size * 8);
	gd->bg_flags &= (uint16_t)~EXT2_BG_INODE_UNINIT;
	dafs_ck_gd_set_bitmap_csum(ck, g->grp, true, g->want);
	dafs_ck_gd_seal(ck, g->grp);
	return dafs_ck_write(g->w, dafs_ck_gd_inode_bitmap(ck, g->grp), g->want);
}

static errcode_t look_inodes(struct group *g)
{
	struct dafs_ck_worker *w = g->w;
	struct dafs_ck *ck = w->ck;
	const struct ext4_group_desc *gd = dafs_ck_gd(ck, g->grp);
	uint32_t n = ck->g.ipg;
	bool uninit = ck->g.gd_csum && gd->bg_flags & EXT2_BG_INODE_UNINIT;
	bool read = !uninit && !(ck->gd_flags[g->grp] & DAFS_CKG_IB_BAD), pad_bad;
	struct diff d;
	errcode_t err = 0;

	g->write = false;
	if (uninit && ck->gd_flags[g->grp] & DAFS_CKG_CSUM_BAD &&
	    !(ck->gd_flags[g->grp] & DAFS_CKG_IB_BAD))
		err = look_doubtful(g, dafs_ck_gd_inode_bitmap(ck, g->grp), n,
				    DAFS_CK_BMAP_INODE_PAD);
	if (err)
		return err;
	if (!want_inodes(g) && uninit) {
		g->free_inodes = n;
		goto counts;
	}
	if (read)
		err = dafs_ck_read(w, dafs_ck_gd_inode_bitmap(ck, g->grp), 1, g->disk);
	else
		memset(g->disk, 0, ck->g.block_size);
	if (err)
		return err;
	/* (libext2fs knows whole bytes: bits of a last byte that is not full are padding.) */
	pad_bad = read && !padding_set(g->disk, n & ~7u, ck->g.block_size * 8);
	if (n % 8)
		g->disk[n / 8] = g->want[n / 8];
	d = compare(g->disk, g->want, n);
	if (uninit && d.n_used)
		g->write |= DAFS_CK_FIND(w, BMAP_INODE_UNINIT, .grp = g->grp,
					 .ino = g->grp * n + 1 + d.first_used);
	else
		g->write |= find_inodes(g, &d);
	if (pad_bad)
		g->write |= DAFS_CK_FIND(w, BMAP_INODE_PAD, .grp = g->grp);
	if (read && ck->g.csum &&
	    !csum_ok(ck, g->disk, n / 8,
		     stored_csum(ck, gd->bg_inode_bitmap_csum_lo, gd->bg_inode_bitmap_csum_hi)))
		g->write |= DAFS_CK_FIND(w, BMAP_INODE_CSUM, .grp = g->grp);
	if (!ck->fixing && (d.n_used || d.n_free))
		count_dirs(g);
	g->free_inodes = n - count_bits(ck->fixing ? g->want : g->disk, n);
	if (g->write && !w->scan && !(ck->gd_flags[g->grp] & DAFS_CKG_IB_BAD))
		err = write_inodes(g);
counts:
	if (dafs_ck_gd_free_inodes(ck, g->grp) != g->free_inodes &&
	    DAFS_CK_FIND(w, GRP_FREE_INODES, .grp = g->grp,
			 .found = dafs_ck_gd_free_inodes(ck, g->grp), .want = g->free_inodes)) {
		dafs_ck_gd_set_free_inodes(ck, g->grp, g->free_inodes);
		dafs_ck_gd_seal(ck, g->grp);
	}
	if (dafs_ck_gd_dirs(ck, g->grp) != g->dirs &&
	    DAFS_CK_FIND(w, GRP_DIRS, .grp = g->grp, .found = dafs_ck_gd_dirs(ck, g->grp),
			 .want = g->dirs)) {
		dafs_ck_gd_set_dirs(ck, g->grp, g->dirs);
		dafs_ck_gd_seal(ck, g->grp);
	}
	return err;
}

errcode_t dafs_ck_write_block_bitmap(struct dafs_ck *ck, uint32_t grp)
{
	struct group g = { .w = ck->main, .grp = grp, .want = ck->main->level[14] };
	uint32_t n = group_clusters(ck, grp);

	memset(g.want, 0, ck->g.block_size);
	dafs_ck_bits_copy(&ck->found, (uint64_t)grp * ck->g.cpg, n, g.want);
	dafs_ck_gd_set_free_blks(ck, grp, n - count_bits(g.want, n));
	return write_blocks(&g);
}

errcode_t dafs_ck_write_bitmaps(struct dafs_ck *ck, uint32_t grp)
{
	struct group g = { .w = ck->main, .grp = grp, .want = ck->main->level[14] };
	errcode_t err = dafs_ck_write_block_bitmap(ck, grp);

	if (err)
		return err;
	want_inodes(&g);
	return write_inodes(&g);
}

/* ---- the pass ---- */

static errcode_t look_group(struct dafs_ck_worker *w, uint32_t grp)
{
	struct group g = { .w = w, .grp = grp, .disk = w->level[0], .want = w->level[1] };
	errcode_t err = look_blocks(&g);

	if (!err)
		err = look_inodes(&g);
	if (err)
		return err;
	w->ck->free_clusters[g.grp] = (uint32_t)g.free_clusters;
	w->ck->free_inodes[g.grp] = g.free_inodes;
	if (w->scan && w->put_off)
		w->ck->gd_flags[g.grp] |= DAFS_CKG_LATER;
	return 0;
}

static errcode_t look_batch(struct dafs_ck_worker *w, uint64_t item)
{
	const struct dafs_ck *ck = w->ck;
	uint32_t grp = (uint32_t)item * BATCH;
	uint32_t end = ck->g.groups - grp > BATCH ? grp + BATCH : ck->g.groups;
	errcode_t err = 0;

	for (; grp < end && !err; grp++) {
		w->put_off = false;
		err = look_group(w, grp);
	}
	return err;
}

static void ahead_batch(struct dafs_ck_worker *w, uint64_t item)
{
	const struct dafs_ck *ck = w->ck;
	uint32_t from = (uint32_t)item * BATCH;
	uint32_t end = ck->g.groups - from > BATCH ? from + BATCH : ck->g.groups;

	for (uint32_t grp = from; grp < end; grp++)
		if (!(ck->g.gd_csum && dafs_ck_gd(ck, grp)->bg_flags & EXT2_BG_BLOCK_UNINIT))
			dafs_ck_ahead(w, dafs_ck_gd_block_bitmap(ck, grp), 1);
	for (uint32_t grp = from; grp < end; grp++)
		if (!(ck->g.gd_csum && dafs_ck_gd(ck, grp)->bg_flags & EXT2_BG_INODE_UNINIT))
			dafs_ck_ahead(w, dafs_ck_gd_inode_bitmap(ck, grp), 1);
}

static void check_sums(struct dafs_ck *ck)
{
	struct ext2_super_block *sb = &ck->sb;
	uint64_t free_clusters = 0, free_inodes = 0;
	uint64_t stored =
		sb->s_free_blocks_count | (ck->g.bit64 ? (uint64_t)sb->s_free_blocks_hi << 32 : 0);

	for (uint32_t grp = 0; grp < ck->g.groups; grp++) {
		free_clusters += ck->free_clusters[grp];
		free_inodes += ck->free_inodes[grp];
	}
	/* Groups count clusters, the superblock counts blocks. */
	free_clusters <<= ck->g.cbits;
	if (stored != free_clusters &&
	    DAFS_CK_FIND(ck->main, SB_FREE_BLOCKS, .found = stored, .want = free_clusters)) {
		sb->s_free_blocks_count = (uint32_t)free_clusters;
		if (ck->g.bit64)
			sb->s_free_blocks_hi = (uint32_t)(free_clusters >> 32);
	}
	if (sb->s_free_inodes_count != free_inodes &&
	    DAFS_CK_FIND(ck->main, SB_FREE_INODES, .found = sb->s_free_inodes_count,
			 .want = free_inodes))
		sb->s_free_inodes_count = (uint32_t)free_inodes;
}

errcode_t dafs_ck_pass5(struct dafs_ck *ck)
{
	errcode_t err;

	ck->free_clusters = calloc(ck->g.groups, sizeof(*ck->free_clusters));
	ck->free_inodes = calloc(ck->g.groups, sizeof(*ck->free_inodes));
	if (!ck->free_clusters || !ck->free_inodes)
		return ENOMEM;
	err = dafs_ck_parallel_ahead(ck, (ck->g.groups + BATCH - 1) / BATCH, look_batch,
				     ahead_batch);
	for (uint32_t grp = 0; grp < ck->g.groups && !err; grp++)
		if (ck->gd_flags[grp] & DAFS_CKG_LATER)
			err = look_group(ck->main, grp);
	if (!err)
		check_sums(ck);
	return err;
}
