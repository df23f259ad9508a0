/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * etree - extent trees read: whole ones into a list, single paths for a lookup. Writing is in
 * etree_write.c, block-mapped files are in etree_map.c.
 *
 * Invariants of a tree that is accepted:
 *  1. depth falls by one a level, from at most 5 to 0 in the leaves; nodes below the root are
 *     not empty;
 *  2. a node's first key is its parent's key, keys ascend over the whole tree, extents do not
 *     overlap. With this no block can be met twice, since it would come with the same first key
 *     again: a walk ends and costs what the tree has;
 *  3. every block number lies where data may lie.
 */
#include "config.h"

#include "image/etree.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/crc32c.h"
#include "image/etree_int.h"
#include "image/icodec.h"

void dafs_blklist_fini(struct dafs_blklist *bl)
{
	free(bl->v);
	memset(bl, 0, sizeof(*bl));
}

errcode_t dafs_blklist_add(struct dafs_blklist *bl, uint64_t pblk)
{
	errcode_t err = dafs_array_grow(&bl->v, bl->n, &bl->room, sizeof(*bl->v));

	if (!err)
		bl->v[bl->n++] = pblk;
	return err;
}

bool dafs_etree_range_ok(const struct dafs_image *img, uint32_t ino, uint64_t pblk, uint64_t len)
{
	if (ino == EXT2_RESIZE_INO || ino == EXT2_BAD_INO)
		return pblk >= img->first_data_block && len <= img->blocks &&
		       pblk <= img->blocks - len;
	return dafs_image_data_range_ok(img, pblk, len);
}

/* ---- nodes ---- */

struct walk {
	struct dafs_image *img;
	uint32_t ino;
	uint32_t seed;			/* of node checksums */
	uint32_t next;			/* no key below this one any more */
	uint8_t *bufs;			/* a block a level, level 1 first */
	struct dafs_extlist *xl;	/* decode only */
	struct dafs_blklist levels[DAFS_ETREE_MAX_DEPTH];	/* nodes by their depth */
};

static errcode_t corrupt(const struct walk *w, uint64_t pblk, const char *why)
{
	if (pblk)
		return dafs_fail(w->img->ctx, DAFS_ET_CORRUPT_EXTENT,
				 "inode %u: extent block %llu: %s", w->ino,
				 (unsigned long long)pblk, why);
	return dafs_fail(w->img->ctx, DAFS_ET_CORRUPT_EXTENT, "inode %u: extent root: %s", w->ino,
			 why);
}

/* pblk 0: the root, with room for four entries. */
static errcode_t check_header(const struct walk *w, struct dafs_etree_header *hdr, uint64_t pblk,
			      uint32_t depth)
{
	uint32_t max = pblk ? dafs_etree_capacity(w->img->block_size) : DAFS_ETREE_ROOT_MAX;

	if (hdr->magic != DAFS_ETREE_MAGIC)
		return corrupt(w, pblk, "bad magic");
	if (hdr->depth != depth)
		return corrupt(w, pblk, "depth");
	if (!hdr->max || hdr->max > max || hdr->entries > hdr->max)
		return corrupt(w, pblk, "number of entries");
	if (!hdr->entries && (pblk || depth))
		return corrupt(w, pblk, "no entries");
	if (!pblk || !w->img->has_csum || (w->img->flags & DAFS_IMAGE_IGNORE_CSUM))
		return 0;
	if (dafs_crc32c(w->seed, hdr, (size_t)((uint8_t *)dafs_etree_tail(hdr) - (uint8_t *)hdr)) !=
	    *dafs_etree_tail(hdr))
		return corrupt(w, pblk, "checksum");
	return 0;
}

/* One leaf entry as an extent, checked by itself. */
static errcode_t take_extent(const struct walk *w, uint64_t pblk, const struct dafs_etree_entry *e,
			     struct dafs_extent *ext)
{
	uint32_t len = e->leaf.len;

	ext->lblk = e->lblk;
	ext->pblk = (uint64_t)e->leaf.start_hi << 32 | e->leaf.start_lo;
	ext->unwritten = len > DAFS_EXT_MAX_WRITTEN;
	if (ext->unwritten)
		len -= DAFS_EXT_MAX_WRITTEN;
	ext->len = len;
	if (!len || e->lblk > DAFS_ETREE_MAX_BLOCKS - len)
		return corrupt(w, pblk, "extent length");
	if (!dafs_etree_range_ok(w->img, w->ino, ext->pblk, len))
		return corrupt(w, pblk, "extent outside the data blocks");
	return 0;
}

/* The node below an index entry, read into its level's buffer and checked. */
static errcode_t read_child(struct walk *w, uint64_t parent, const struct dafs_etree_entry *e,
			    uint32_t depth, struct dafs_etree_header **ret)
{
	uint64_t pblk = dafs_etree_child(e);
	struct dafs_etree_header *hdr;
	errcode_t err;

	if (!dafs_etree_range_ok(w->img, w->ino, pblk, 1))
		return corrupt(w, parent, "index entry outside the data blocks");
	hdr = (struct dafs_etree_header *)(w->bufs + (size_t)depth * w->img->block_size);
	err = dafs_image_read_blks(w->img, pblk, 1, hdr);
	if (!err)
		err = check_header(w, hdr, pblk, depth);
	if (!err && dafs_etree_entries(hdr)[0].lblk != e->lblk)
		err = corrupt(w, pblk, "first key differs from the parent's");
	*ret = hdr;
	return err;
}

static errcode_t walk_start(struct walk *w, struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, struct dafs_etree_header **root)
{
	errcode_t err;

	memset(w, 0, sizeof(*w));
	w->img = img;
	w->ino = ino;
	w->seed = dafs_icodec_seed(img, ino, raw->i_generation);
	*root = (struct dafs_etree_header *)(uintptr_t)raw->i_block;
	if ((*root)->depth > DAFS_ETREE_MAX_DEPTH)
		return corrupt(w, 0, "depth");
	err = check_header(w, *root, 0, (*root)->depth);
	if (err || !(*root)->depth)
		return err;
	w->bufs = malloc((size_t)(*root)->depth * img->block_size);
	return w->bufs ? 0 : ENOMEM;
}

static void walk_end(struct walk *w)
{
	free(w->bufs);
	for (int i = 0; i < DAFS_ETREE_MAX_DEPTH; i++)
		dafs_blklist_fini(&w->levels[i]);
}

/* ---- decode ---- */

static errcode_t decode_leaf(struct walk *w, struct dafs_etree_header *hdr, uint64_t pblk)
{
	const struct dafs_etree_entry *e = dafs_etree_entries(hdr);
	errcode_t err = 0;

	for (uint32_t i = 0; i < hdr->entries && !err; i++) {
		struct dafs_extent ext;

		if (e[i].lblk < w->next)
			return corrupt(w, pblk, "extents out of order");
		err = take_extent(w, pblk, &e[i], &ext);
		if (err)
			break;
		w->next = ext.lblk + ext.len;
		err = dafs_extlist_append(w->xl, ext.pblk, ext.lblk, ext.len, ext.unwritten);
	}
	return err;
}

/* A node and everything below it; recursion is as deep as the tree, at most five. */
static errcode_t decode_node(struct walk *w, struct dafs_etree_header *hdr, uint64_t pblk)
{
	const struct dafs_etree_entry *e = dafs_etree_entries(hdr);
	uint32_t depth = hdr->depth;
	errcode_t err = 0;

	if (!depth)
		return decode_leaf(w, hdr, pblk);
	for (uint32_t i = 0; i < hdr->entries && !err; i++) {
		struct dafs_etree_header *child;

		/* Strictly ascending, or the same child could be entered for ever. */
		if (e[i].lblk < w->next || (i && e[i].lblk <= e[i - 1].lblk))
			return corrupt(w, pblk, "index entries out of order");
		err = read_child(w, pblk, &e[i], depth - 1, &child);
		if (!err)
			err = dafs_blklist_add(&w->levels[depth - 1], dafs_etree_child(&e[i]));
		if (!err)
			err = decode_node(w, child, dafs_etree_child(&e[i]));
	}
	return err;
}

/* The levels' nodes into one list, leaves first. */
static errcode_t gather_nodes(const struct walk *w, struct dafs_blklist *nodes)
{
	errcode_t err = 0;

	for (int level = 0; level < DAFS_ETREE_MAX_DEPTH; level++) {
		for (size_t i = 0; i < w->levels[level].n && !err; i++)
			err = dafs_blklist_add(nodes, w->levels[level].v[i]);
	}
	return err;
}

errcode_t dafs_etree_decode(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, struct dafs_extlist *xl,
			    struct dafs_blklist *nodes)
{
	struct dafs_etree_header *root;
	struct walk w;
	errcode_t err;

	xl->n = 0;
	if (nodes)
		nodes->n = 0;
	if (!dafs_icodec_has_map(img, raw))
		return 0;
	if (!(raw->i_flags & EXT4_EXTENTS_FL)) {
		err = dafs_etree_map_decode(img, ino, raw, xl, nodes);
	} else {
		err = walk_start(&w, img, ino, raw, &root);
		w.xl = xl;
		if (!err)
			err = decode_node(&w, root, 0);
		if (!err && nodes)
			err = gather_nodes(&w, nodes);
		walk_end(&w);
	}
	if (err) {
		xl->n = 0;
		if (nodes)
			nodes->n = 0;
	}
	return err;
}

/* ---- lookup ---- */

/* Index of the last entry whose key is at or below lblk; 0 where none is. */
static uint32_t find_entry(struct dafs_etree_header *hdr, uint32_t lblk)
{
	const struct dafs_etree_entry *e = dafs_etree_entries(hdr);
	uint32_t lo = 0, hi = hdr->entries;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (e[mid].lblk <= lblk)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* A hole [start, end) around lblk; an extent's length has 31 bits, a hole may be longer. */
static void set_hole(struct dafs_extent *ext, uint32_t lblk, uint32_t start, uint32_t end)
{
	memset(ext, 0, sizeof(*ext));
	/* From its beginning, where that reaches lblk: it is remembered as it is found. */
	if (end - start > INT32_MAX && lblk - start >= INT32_MAX)
		start = lblk;
	ext->lblk = start;
	ext->len = end - start > INT32_MAX ? INT32_MAX : end - start;
}

/* What a leaf says of lblk; limit: the first key right of the leaf. */
static errcode_t lookup_leaf(const struct walk *w, struct dafs_etree_header *hdr, uint64_t pblk,
			     uint32_t limit, uint32_t lblk, struct dafs_extent *ext)
{
	const struct dafs_etree_entry *e = dafs_etree_entries(hdr);
	uint32_t at, start = 0;
	errcode_t err;

	if (!hdr->entries) {
		set_hole(ext, lblk, 0, limit);
		return 0;
	}
	at = find_entry(hdr, lblk);
	err = take_extent(w, pblk, &e[at], ext);
	if (err)
		return err;
	if (lblk >= ext->lblk && lblk - ext->lblk < ext->len)
		return 0;
	if (ext->lblk > lblk) {
		set_hole(ext, lblk, 0, ext->lblk);
		return 0;
	}
	start = ext->lblk + ext->len;
	if (at + 1u < hdr->entries)
		limit = e[at + 1].lblk;
	if (limit <= lblk)
		return corrupt(w, pblk, "extents out of order");
	set_hole(ext, lblk, start, limit);
	return 0;
}

static errcode_t lookup_extents(struct dafs_image *img, uint32_t ino,
				const struct ext2_inode_large *raw, uint32_t lblk,
				struct dafs_extent *ext)
{
	struct dafs_etree_header *hdr;
	uint32_t limit = DAFS_ETREE_MAX_BLOCKS;
	uint64_t pblk = 0;
	struct walk w;
	errcode_t err = walk_start(&w, img, ino, raw, &hdr);

	while (!err && hdr->depth) {
		const struct dafs_etree_entry *e = dafs_etree_entries(hdr);
		uint32_t at = find_entry(hdr, lblk);
		uint64_t parent = pblk;

		if (at + 1u < hdr->entries && e[at + 1].lblk < limit)
			limit = e[at + 1].lblk;
		pblk = dafs_etree_child(&e[at]);
		err = read_child(&w, parent, &e[at], hdr->depth - 1u, &hdr);
	}
	if (!err)
		err = lookup_leaf(&w, hdr, pblk, limit, lblk, ext);
	walk_end(&w);
	return err;
}

errcode_t dafs_etree_lookup(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, uint32_t lblk,
			    struct dafs_extent *ext, bool *hole)
{
	errcode_t err = 0;

	memset(ext, 0, sizeof(*ext));
	*hole = true;
	if (lblk >= DAFS_ETREE_MAX_BLOCKS)
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "inode %u: block %u", ino, lblk);
	if (!dafs_icodec_has_map(img, raw))
		set_hole(ext, lblk, 0, DAFS_ETREE_MAX_BLOCKS);
	else if (raw->i_flags & EXT4_EXTENTS_FL)
		err = lookup_extents(img, ino, raw, lblk, ext);
	else
		return dafs_etree_map_lookup(img, ino, raw, lblk, ext, hole);
	if (err)
		memset(ext, 0, sizeof(*ext));
	*hole = err || !ext->pblk;
	return err;
}

uint64_t dafs_etree_clusters(const struct dafs_image *img, const struct dafs_extlist *xl)
{
	uint64_t sum = 0, past = 0;

	if (!img->cluster_bits)
		return dafs_extlist_blocks(xl);
	for (size_t i = 0; i < xl->n; i++) {
		uint64_t first = xl->v[i].lblk >> img->cluster_bits;
		uint64_t end =
			(((uint64_t)dafs_extent_end(&xl->v[i]) - 1) >> img->cluster_bits) + 1;

		if (first < past)
			first = past;
		sum += end > first ? end - first : 0;
		past = end;
	}
	return sum;
}
