/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * remap - an inode's block map written anew from its sound part: what pass 1 dropped is gone, holes
 * of directories are closed, trees are as small as they can be.
 *
 * The map is collected as a flat list by the same walkers that judge it in pass 1, with the
 * decisions of pass 1 repeated in silence; then it is encoded into the blocks that held it, and new
 * ones where it takes more.
 *
 * Runs when no block is claimed twice: a map block that is written here belongs to nobody else.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#define FILL_MOST 1024u /* blocks that are put into a directory's holes; more are closed up */

void dafs_ck_want_remap(struct dafs_ck_worker *w, uint32_t ino, unsigned what)
{
	struct dafs_ck_vec *vec = &w->ck->remaps;
	struct dafs_ck_remap *last = vec->n ? (struct dafs_ck_remap *)vec->v + vec->n - 1 : NULL;

	if (!last || last->ino != ino)
		last = dafs_ck_vec_add(vec, sizeof(*last));
	if (!last) {
		w->err = ENOMEM;
		return;
	}
	last->ino = ino;
	last->what |= what;
}

/* ---- reading ---- */

bool dafs_ck_flat_add(struct dafs_extlist *xl, uint64_t lblk, uint64_t pblk, uint64_t len,
		      bool unwritten)
{
	errcode_t err = 0;

	if (lblk > UINT32_MAX || len > UINT32_MAX - lblk)
		return true;
	err = dafs_extlist_append(xl, pblk, (uint32_t)lblk, (uint32_t)len, unwritten);
	return err != ENOMEM;
}

errcode_t dafs_ck_flat_read(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw,
			    struct dafs_ck_flat *flat)
{
	struct dafs_ck_worker *w = ck->main;
	struct dafs_ck_inode in = { .ino = ino, .raw = raw };
	bool quiet = w->quiet;

	memset(flat, 0, sizeof(*flat));
	in.is_dir = LINUX_S_ISDIR(raw->i_mode);
	in.is_reg = LINUX_S_ISREG(raw->i_mode);
	in.last_blk = in.last_init_blk = in.last_dir_blk = -1;
	w->claims.n = 0;
	w->dexts.n = 0;
	w->flat = flat;
	w->quiet = true;
	dafs_ck_walk_map(w, &in);
	w->quiet = quiet;
	w->flat = NULL;
	w->claims.n = 0;
	w->dexts.n = 0;
	flat->clusters = in.clusters;
	return w->err;
}

void dafs_ck_flat_fini(struct dafs_ck_flat *flat)
{
	dafs_extlist_fini(&flat->xl);
	dafs_blklist_fini(&flat->nodes);
}

/* ---- writing ---- */

static void add_blocks(const struct dafs_ck *ck, struct ext2_inode_large *raw, int64_t clusters)
{
	bool huge = ck->g.huge_file && raw->i_flags & EXT4_HUGE_FILE_FL;
	uint64_t blocks = raw->i_blocks;
	int64_t unit = huge ? 1 : ck->g.block_size / 512;

	if (ck->g.hurd)
		return;
	if (ck->g.huge_file)
		blocks |= (uint64_t)raw->osd2.linux2.l_i_blocks_hi << 32;
	blocks += (uint64_t)(clusters * (1 << ck->g.cbits) * unit);
	raw->i_blocks = (uint32_t)blocks;
	if (ck->g.huge_file)
		raw->osd2.linux2.l_i_blocks_hi = (uint16_t)(blocks >> 32);
}

/* Blocks for the new map: those of the old one that nobody else claims, then new ones. */
static errcode_t take_nodes(struct dafs_ck *ck, uint32_t ino, const struct dafs_ck_flat *flat,
			    uint64_t need, struct dafs_blklist *nodes)
{
	uint64_t goal = dafs_ck_goal(ck, ino);
	errcode_t err = 0;

	for (size_t i = 0; flat && i < flat->nodes.n && nodes->n < need && !err; i++) {
		uint64_t pblk = flat->nodes.v[i];

		if (!dafs_ck_bits_test(&ck->dup, dafs_ck_cluster(ck, pblk)) &&
		    !dafs_ck_is_meta(ck, pblk))
			err = dafs_blklist_add(nodes, pblk);
	}
	while (nodes->n < need && !err) {
		uint64_t pblk = dafs_ck_take(ck, goal, 1);

		if (!pblk)
			return ENOSPC;
		err = dafs_blklist_add(nodes, pblk);
		goal = pblk;
	}
	return err;
}

/* Blocks that held the old map and do not hold the new one are free. */
static errcode_t give_nodes(struct dafs_ck *ck, const struct dafs_ck_flat *flat,
			    const struct dafs_blklist *nodes)
{
	errcode_t err = 0;

	for (size_t i = 0, k = 0; flat && i < flat->nodes.n && !err; i++) {
		uint64_t pblk = flat->nodes.v[i];

		/* (The new list begins with those of the old one that stay, in their order.) */
		if (k < nodes->n && nodes->v[k] == pblk)
			k++;
		else if (!dafs_ck_bits_test(&ck->dup, dafs_ck_cluster(ck, pblk)) &&
			 !dafs_ck_is_meta(ck, pblk))
			err = dafs_ck_bitmap_blks(ck, pblk, 1, false);
	}
	return err;
}

static errcode_t encode(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw,
			const struct dafs_ck_flat *flat, const struct dafs_extlist *xl)
{
	bool extents = raw->i_flags & EXT4_EXTENTS_FL;
	uint64_t need =
		extents ? dafs_etree_blks(ck->g.block_size, xl->n) : dafs_ck_indirect_blks(ck, xl);
	struct dafs_blklist nodes = { 0 };
	errcode_t err = take_nodes(ck, ino, flat, need, &nodes);

	/* All of them count as live: nothing is written before the commit. */
	if (!err && extents)
		err = dafs_etree_encode(&ck->img, ino, raw->i_generation, xl, &nodes, nodes.n, raw);
	else if (!err)
		err = dafs_ck_indirect_encode(ck, xl, &nodes, raw);
	if (!err)
		err = give_nodes(ck, flat, &nodes);
	dafs_blklist_fini(&nodes);
	return err;
}

errcode_t dafs_ck_flat_replace(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw,
			       const struct dafs_ck_flat *flat, const struct dafs_extlist *xl)
{
	struct dafs_ck_flat is = { 0 };
	errcode_t err = encode(ck, ino, raw, flat, xl);

	if (!err)
		err = dafs_ck_flat_read(ck, ino, raw, &is);
	if (!err) {
		add_blocks(ck, raw, (int64_t)is.clusters - (int64_t)(flat ? flat->clusters : 0));
		err = dafs_ck_write_inode(ck->main, ino, raw);
	}
	dafs_ck_flat_fini(&is);
	return err;
}

errcode_t dafs_ck_flat_write(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw,
			     const struct dafs_extlist *xl)
{
	return dafs_ck_flat_replace(ck, ino, raw, NULL, xl);
}

/* ---- holes of directories ---- */

/* With bigalloc: the block that a logical cluster which is mapped in part has for lblk; 0: none. */
static uint64_t in_cluster(const struct dafs_ck *ck, const struct dafs_extlist *xl, uint32_t lblk)
{
	uint32_t mask = (1u << ck->g.cbits) - 1, first = lblk & ~mask, last = lblk | mask;

	for (size_t i = 0; ck->g.cbits && i < xl->n; i++) {
		const struct dafs_extent *e = &xl->v[i];
		uint32_t at = e->lblk > first ? e->lblk : first;

		if (e->lblk <= last && dafs_extent_end(e) > first)
			return ((e->pblk + (at - e->lblk)) & ~(uint64_t)mask) | (lblk & mask);
	}
	return 0;
}

uint64_t dafs_ck_dir_blk(struct dafs_ck *ck, uint32_t ino, const struct dafs_extlist *xl,
			 uint32_t lblk)
{
	uint64_t pblk = in_cluster(ck, xl, lblk);

	if (pblk)
		return pblk;
	pblk = dafs_ck_take(ck, dafs_ck_goal(ck, ino), 1);
	return pblk ? pblk | (lblk & ((1u << ck->g.cbits) - 1)) : 0;
}

/* A block for a directory's hole: next to the mapped ones, or to those just put there. */
static uint64_t take_dir_blk(struct dafs_ck *ck, uint32_t ino, const struct dafs_extlist *xl,
			     const struct dafs_extlist *out, uint32_t lblk)
{
	uint64_t pblk = in_cluster(ck, out, lblk);

	return pblk ? pblk : dafs_ck_dir_blk(ck, ino, xl, lblk);
}

/* A new block lblk of a directory, empty. ENOSPC. */
static errcode_t make_dir_blk(struct dafs_ck *ck, uint32_t ino, const struct ext2_inode_large *raw,
			      const struct dafs_extlist *xl, uint32_t lblk,
			      struct dafs_extlist *out)
{
	uint8_t *buf = ck->main->level[0];
	uint64_t pblk = take_dir_blk(ck, ino, xl, out, lblk);
	errcode_t err;

	if (!pblk)
		return ENOSPC;
	dafs_ck_leaf_make(ck, ino, raw->i_generation, !lblk, EXT2_ROOT_INO, buf);
	err = dafs_ck_write(ck->main, pblk, buf);
	return err ? err : dafs_extlist_append(out, pblk, lblk, 1, false);
}

/* Move all extents together, behind a new first block if there is none. */
static errcode_t close_up(struct dafs_ck *ck, uint32_t ino, const struct ext2_inode_large *raw,
			  const struct dafs_extlist *xl, struct dafs_extlist *out)
{
	uint32_t lblk = xl->n && !xl->v[0].lblk ? 0 : 1;
	errcode_t err = lblk ? make_dir_blk(ck, ino, raw, xl, 0, out) : 0;

	for (size_t i = 0; i < xl->n && !err; i++) {
		err = dafs_extlist_append(out, xl->v[i].pblk, lblk, xl->v[i].len, false);
		lblk += xl->v[i].len;
	}
	return err;
}

static errcode_t fill_holes(struct dafs_ck *ck, uint32_t ino, const struct ext2_inode_large *raw,
			    const struct dafs_extlist *xl, struct dafs_extlist *out)
{
	uint32_t lblk = 0;
	errcode_t err = 0;

	for (size_t i = 0; i <= xl->n && !err; i++) {
		uint32_t end = i < xl->n ? xl->v[i].lblk : lblk;

		/* (Also block 0 of a directory that has none.) */
		if (i == xl->n && !lblk)
			end = 1;
		for (; lblk < end && !err; lblk++)
			err = make_dir_blk(ck, ino, raw, xl, lblk, out);
		if (i == xl->n || err)
			break;
		err = dafs_extlist_append(out, xl->v[i].pblk, lblk, xl->v[i].len, false);
		lblk = dafs_extent_end(&xl->v[i]);
	}
	return err;
}

static errcode_t close_holes(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw,
			     struct dafs_extlist *xl)
{
	struct dafs_extlist out = { 0 };
	uint64_t mapped = dafs_extlist_blocks(xl);
	uint64_t end = xl->n ? dafs_extent_end(&xl->v[xl->n - 1]) : 0;
	bool many = end - mapped > FILL_MOST;
	errcode_t err;

	if (many && !ck->g.cbits)
		err = close_up(ck, ino, raw, xl, &out);
	else
		err = fill_holes(ck, ino, raw, xl, &out);
	if (!err && out.n) {
		uint64_t size = (uint64_t)dafs_extent_end(&out.v[out.n - 1]) << ck->g.block_bits;

		dafs_extlist_fini(xl);
		*xl = out;
		out = (struct dafs_extlist){ 0 };
		raw->i_size = (uint32_t)size;
		if (ck->g.large_dir)
			raw->i_size_high = (uint32_t)(size >> 32);
	}
	dafs_extlist_fini(&out);
	return err;
}

/* ---- the stage ---- */

static errcode_t remap(struct dafs_ck *ck, const struct dafs_ck_remap *want,
		       struct ext2_inode_large *raw)
{
	struct dafs_ck_flat flat = { 0 };
	struct dafs_extlist xl = { 0 };
	errcode_t err = 0;

	if (!dafs_ck_read_inode(ck->main, want->ino, raw))
		return ck->main->err;
	err = dafs_ck_flat_read(ck, want->ino, raw, &flat);
	for (size_t i = 0; i < flat.xl.n && !err; i++) {
		const struct dafs_extent *e = &flat.xl.v[i];

		err = dafs_extlist_append(&xl, e->pblk, e->lblk, e->len, e->unwritten);
	}
	if (!err && want->what & DAFS_CKR_FILL)
		err = close_holes(ck, want->ino, raw, &xl);
	if (want->what & DAFS_CKR_CONVERT)
		raw->i_flags |= EXT4_EXTENTS_FL;
	if (!err)
		err = dafs_ck_flat_replace(ck, want->ino, raw, &flat, &xl);
	if (err == ENOSPC) {
		dafs_ck_no_room(ck->main, "a block map");
		err = 0;
	}
	dafs_extlist_fini(&xl);
	dafs_ck_flat_fini(&flat);
	return err;
}

errcode_t dafs_ck_remap_all(struct dafs_ck *ck)
{
	struct ext2_inode_large *raw;
	errcode_t err = 0;

	if (!ck->remaps.n)
		return 0;
	raw = dafs_ck_raw_alloc(ck);
	if (!raw)
		return ENOMEM;
	for (size_t i = 0; i < ck->remaps.n && !err; i++)
		err = remap(ck, (struct dafs_ck_remap *)ck->remaps.v + i, raw);
	free(raw);
	ck->remaps.n = 0;
	ck->again = true;
	return err;
}
