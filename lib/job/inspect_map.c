/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inspect_map - the mapping of one inode walked as it lies: extent nodes and indirect blocks in
 * their order, damaged or not. lib/image/etree.h is for trees that are to be believed.
 *
 * Invariant: a block is entered at most once (the visited map), so that the walk ends.
 */
#include "config.h"

#include "job/inspect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "job/inspect_int.h"

#define MAX_DEPTH 5
#define NDIRECT	  12u

struct mapping {
	struct dafs_image *img;
	const struct dafs_inspect *in;
	dafs_map_fn fn;
	void *arg;
	ext2fs_block_bitmap visited;
	struct dafs_damage damage;
	unsigned depth;
	uint64_t end_lblk; /* of the file */
};

static errcode_t damaged(struct mapping *m, uint64_t pblk, const char *why)
{
	struct dafs_ctx *ctx = m->img->ctx;

	return dafs_damage_note(&m->damage, ctx,
				dafs_fail(ctx, DAFS_ET_CORRUPT_EXTENT, "inode %u: block %llu: %s",
					  m->in->ino, (unsigned long long)pblk, why));
}

/* A map of all blocks for the few that a mapping's tree has: as runs, not as bits, which would be
 * half a GiB for 16 TiB. */
static errcode_t need_visited(struct mapping *m)
{
	ext2_filsys fs = m->img->fs;
	int kind = fs->default_bitmap_type;
	errcode_t err;

	if (m->visited)
		return 0;
	fs->default_bitmap_type = EXT2FS_BMAP64_RBTREE;
	err = ext2fs_allocate_subcluster_bitmap(fs, "blocks of a mapping", &m->visited);
	fs->default_bitmap_type = kind;
	return err;
}

/* Read a block of the mapping, once. *skip: it is not to be walked. */
static errcode_t enter(struct mapping *m, uint64_t pblk, void *buf, bool *skip)
{
	errcode_t err;

	*skip = true;
	if (pblk < m->img->first_data_block || pblk >= m->img->blocks)
		return damaged(m, pblk, "outside the file system");
	err = need_visited(m);
	if (err)
		return err;
	if (ext2fs_mark_block_bitmap2(m->visited, pblk))
		return damaged(m, pblk, "met twice");
	err = dafs_image_read_blks(m->img, pblk, 1, buf);
	if (err)
		return dafs_damage_note(&m->damage, m->img->ctx, err);
	*skip = false;
	return 0;
}

/* ---- extent trees ---- */

static uint64_t leaf_pblk(const struct ext3_extent *e)
{
	return (uint64_t)e->ee_start_hi << 32 | e->ee_start;
}

static errcode_t walk_leaf(struct mapping *m, const struct ext3_extent_header *hdr, unsigned level)
{
	const struct ext3_extent *e = (const struct ext3_extent *)(hdr + 1);
	errcode_t err = 0;

	for (uint32_t i = 0; i < hdr->eh_entries && !err; i++, e++) {
		bool unwritten = e->ee_len > DAFS_EXT_MAX_WRITTEN;
		struct dafs_map_item item = {
			.kind = DAFS_MAP_EXTENT,
			.unwritten = unwritten,
			.level = level,
			.depth = m->depth,
			.index = i + 1,
			.entries = hdr->eh_entries,
			.lblk = e->ee_block,
			.len = unwritten ? e->ee_len - DAFS_EXT_MAX_WRITTEN : e->ee_len,
			.pblk = leaf_pblk(e),
		};

		if (!item.len || item.pblk < m->img->first_data_block ||
		    item.len > m->img->blocks || item.pblk > m->img->blocks - item.len)
			err = damaged(m, item.pblk, "extent outside the file system");
		if (!err && item.len)
			err = m->fn(m->arg, &item);
	}
	return err;
}

/* Is the node fit to be walked? */
static bool node_ok(const struct mapping *m, const struct ext3_extent_header *hdr, unsigned level)
{
	uint32_t room = level ? m->img->block_size : sizeof(m->in->buf.raw.i_block);
	uint32_t max = (room - (uint32_t)sizeof(*hdr)) / (uint32_t)sizeof(struct ext3_extent);

	return hdr->eh_magic == EXT3_EXT_MAGIC && hdr->eh_depth == m->depth - level &&
	       hdr->eh_max <= max && hdr->eh_entries <= hdr->eh_max;
}

static bool node_csum_ok(const struct mapping *m, const struct ext3_extent_header *hdr)
{
	size_t len = sizeof(*hdr) + hdr->eh_max * sizeof(struct ext3_extent);
	uint32_t seed;

	if (!m->img->has_csum || (m->img->flags & DAFS_IMAGE_IGNORE_CSUM) ||
	    len + sizeof(uint32_t) > m->img->block_size)
		return true;
	seed = dafs_icodec_seed(m->img, m->in->ino, m->in->buf.raw.i_generation);
	return dafs_crc32c(seed, hdr, len) == *(const uint32_t *)((const uint8_t *)hdr + len);
}

static errcode_t walk_node(struct mapping *m, const struct ext3_extent_header *hdr, unsigned level,
			   uint64_t end_lblk);

/* The node that an index entry names, and what is below it. */
static errcode_t walk_child(struct mapping *m, const struct dafs_map_item *item)
{
	struct ext3_extent_header *hdr = malloc(m->img->block_size);
	bool skip;
	errcode_t err;

	if (!hdr)
		return ENOMEM;
	err = enter(m, item->pblk, hdr, &skip);
	if (!err && !skip && !node_ok(m, hdr, item->level + 1)) {
		err = damaged(m, item->pblk, "not an extent node of this depth");
		skip = true;
	}
	if (!err && !skip && !node_csum_ok(m, hdr))
		err = damaged(m, item->pblk, "checksum");
	if (!err && !skip)
		err = walk_node(m, hdr, item->level + 1, item->lblk + item->len);
	free(hdr);
	return err;
}

/* Recursion is as deep as the tree, at most MAX_DEPTH. */
static errcode_t walk_node(struct mapping *m, const struct ext3_extent_header *hdr, unsigned level,
			   uint64_t end_lblk)
{
	const struct ext3_extent_idx *e = (const struct ext3_extent_idx *)(hdr + 1);
	errcode_t err = 0;

	if (!hdr->eh_depth)
		return walk_leaf(m, hdr, level);
	for (uint32_t i = 0; i < hdr->eh_entries && !err; i++, e++) {
		uint64_t next = i + 1 < hdr->eh_entries ? e[1].ei_block : end_lblk;
		struct dafs_map_item item = {
			.kind = DAFS_MAP_NODE,
			.level = level,
			.depth = m->depth,
			.index = i + 1,
			.entries = hdr->eh_entries,
			.lblk = e->ei_block,
			.len = next > e->ei_block ? next - e->ei_block : 0,
			.pblk = (uint64_t)e->ei_leaf_hi << 32 | e->ei_leaf,
		};

		err = m->fn(m->arg, &item);
		if (!err)
			err = walk_child(m, &item);
	}
	return err;
}

static errcode_t walk_extents(struct mapping *m)
{
	const struct ext3_extent_header *root = (const void *)m->in->buf.raw.i_block;

	m->depth = root->eh_depth;
	if (m->depth > MAX_DEPTH || !node_ok(m, root, 0))
		return damaged(m, 0, "extent root");
	return walk_node(m, root, 0, m->end_lblk);
}

/* ---- block maps ---- */

static uint64_t subtree_blks(const struct mapping *m, unsigned height)
{
	uint64_t blks = 1;

	while (height--)
		blks *= m->img->block_size / 4;
	return blks;
}

static errcode_t walk_table(struct mapping *m, const uint32_t *table, uint32_t n, uint64_t lblk,
			    unsigned height);

/* An indirect block of a height from 1 to 3, at pblk, whose first data block is lblk. */
static errcode_t walk_indirect(struct mapping *m, uint64_t pblk, uint64_t lblk, unsigned height)
{
	struct dafs_map_item item = {
		.kind = DAFS_MAP_NODE,
		.depth = height,
		.lblk = lblk,
		.len = subtree_blks(m, height),
		.pblk = pblk,
	};
	uint32_t *table;
	bool skip;
	errcode_t err = m->fn(m->arg, &item);

	if (err)
		return err;
	table = malloc(m->img->block_size);
	if (!table)
		return ENOMEM;
	err = enter(m, pblk, table, &skip);
	if (!err && !skip)
		err = walk_table(m, table, m->img->block_size / 4, lblk, height - 1);
	free(table);
	return err;
}

/* n entries that stand for height levels below (0: data). */
static errcode_t walk_table(struct mapping *m, const uint32_t *table, uint32_t n, uint64_t lblk,
			    unsigned height)
{
	uint64_t step = subtree_blks(m, height);
	errcode_t err = 0;
	uint32_t i, run;

	for (i = 0; i < n && !err; i += run) {
		struct dafs_map_item item = { .kind = DAFS_MAP_EXTENT,
					      .lblk = lblk + i * step,
					      .pblk = table[i] };

		run = 1;
		if (!table[i])
			continue;
		if (height) {
			err = walk_indirect(m, table[i], item.lblk, height);
			continue;
		}
		while (i + run < n && table[i + run] == table[i] + run)
			run++;
		item.len = run;
		if (item.pblk < m->img->first_data_block || item.pblk + run > m->img->blocks)
			err = damaged(m, item.pblk, "outside the file system");
		if (!err)
			err = m->fn(m->arg, &item);
	}
	return err;
}

static errcode_t walk_blocks(struct mapping *m)
{
	const uint32_t *roots = m->in->buf.raw.i_block;
	uint64_t lblk = NDIRECT;
	errcode_t err = walk_table(m, roots, NDIRECT, 0, 0);

	for (unsigned height = 1; height <= 3 && !err; height++) {
		if (roots[NDIRECT + height - 1])
			err = walk_indirect(m, roots[NDIRECT + height - 1], lblk, height);
		lblk += subtree_blks(m, height);
	}
	return err;
}

errcode_t dafs_inspect_map(struct dafs_image *img, const struct dafs_inspect *in, dafs_map_fn fn,
			   void *arg)
{
	struct mapping m = { .img = img, .in = in, .fn = fn, .arg = arg };
	errcode_t err;

	if (!dafs_icodec_has_map(img, &in->buf.raw))
		return 0;
	m.end_lblk = (in->attr.size + img->block_size - 1) >> img->block_bits;
	err = in->buf.raw.i_flags & EXT4_EXTENTS_FL ? walk_extents(&m) : walk_blocks(&m);
	ext2fs_free_block_bitmap(m.visited);
	return dafs_damage_end(&m.damage, img->ctx, err);
}
