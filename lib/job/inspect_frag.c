/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inspect_frag - see inspect_frag.h. */
#include "config.h"

#include "job/inspect_frag.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/inline.h"
#include "job/inspect_int.h"

void dafs_pieces_fini(struct dafs_pieces *pieces)
{
	free(pieces->v);
	memset(pieces, 0, sizeof(*pieces));
}

static errcode_t add_piece(struct dafs_pieces *pieces, const struct dafs_piece *piece)
{
	errcode_t err = dafs_array_grow(&pieces->v, pieces->n, &pieces->room, sizeof(*piece));

	if (!err)
		pieces->v[pieces->n++] = *piece;
	return err;
}

/* ---- pieces ---- */

struct gathering {
	struct dafs_image *img;
	struct dafs_pieces *pieces;
	bool merged;	   /* asked for */
	bool block_map;
	bool joins;	   /* the next extent may be one with the last piece */
	uint64_t key_lblk; /* first block of the leaf we are in */
	bool leaf_begins;  /* no extent of it came yet */
};

static bool touches(const struct dafs_piece *before, const struct dafs_piece *piece)
{
	return before->flags == piece->flags &&
	       before->logical_bytes + before->len_bytes == piece->logical_bytes &&
	       before->physical_bytes + before->len_bytes == piece->physical_bytes;
}

/*
 * Is this extent reported by a look-up that read its leaf, or by the extent status tree that the
 * leaf was read into? A leaf is read by the look-up of its first extent, unless there is a hole
 * before that extent for which the look-up came to this leaf already: before the first extent of a
 * file, or between the key that the level above has for the leaf and the extent.
 */
static bool by_lookup(const struct gathering *g, const struct dafs_map_item *item)
{
	return g->leaf_begins && item->lblk == g->key_lblk;
}

static errcode_t gather(void *arg, const struct dafs_map_item *item)
{
	struct gathering *g = arg;
	struct dafs_pieces *pieces = g->pieces;
	unsigned bits = g->img->block_bits;
	struct dafs_piece piece = {
		.logical_bytes = item->lblk << bits,
		.physical_bytes = item->pblk << bits,
		.len_bytes = item->len << bits,
		.flags = (item->unwritten ? FIEMAP_EXTENT_UNWRITTEN : 0) |
			 (g->block_map ? FIEMAP_EXTENT_MERGED : 0),
	};
	bool alone;

	if (item->kind == DAFS_MAP_NODE) {
		g->key_lblk = item->lblk;
		g->leaf_begins = true;
		return 0;
	}
	alone = !g->merged && (g->block_map || by_lookup(g, item));
	g->leaf_begins = false;
	if (!alone && g->joins && pieces->n && touches(&pieces->v[pieces->n - 1], &piece)) {
		pieces->v[pieces->n - 1].len_bytes += piece.len_bytes;
		return 0;
	}
	g->joins = !alone;
	return add_piece(pieces, &piece);
}

/* The body stands in the inode: its place is the inode's in the inode table. */
static errcode_t inline_piece(struct dafs_image *img, const struct dafs_inspect *in,
			      struct dafs_pieces *pieces)
{
	struct dafs_piece piece = { .flags =
					    FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_NOT_ALIGNED };
	struct dafs_inline parts;
	uint64_t pblk;
	uint32_t off;
	errcode_t err = dafs_inline_find(img, in->ino, &in->buf.raw, &parts);

	if (!err)
		err = dafs_icodec_locate(img, in->ino, &pblk, &off, NULL);
	if (err)
		return err;
	piece.physical_bytes = (pblk << img->block_bits) + off +
			       offsetof(struct ext2_inode_large, i_block);
	piece.len_bytes = DAFS_INLINE_BODY + (uint64_t)parts.spill_len;
	if (piece.len_bytes > in->attr.size)
		piece.len_bytes = in->attr.size;
	return piece.len_bytes ? add_piece(pieces, &piece) : 0;
}

errcode_t dafs_inspect_pieces(struct dafs_image *img, const struct dafs_inspect *in, bool merged,
			      struct dafs_pieces *pieces)
{
	struct gathering g = { .img = img,
			       .pieces = pieces,
			       .merged = merged,
			       .block_map = !(in->buf.raw.i_flags & EXT4_EXTENTS_FL),
			       .leaf_begins = true };

	if (in->attr.iflags & EXT4_INLINE_DATA_FL)
		return inline_piece(img, in, pieces);
	return dafs_inspect_map(img, in, gather, &g);
}

bool dafs_inspect_follows(const struct dafs_pieces *pieces, size_t i, uint64_t *expected_bytes)
{
	const struct dafs_piece *piece = &pieces->v[i], *before = i ? piece - 1 : NULL;
	uint64_t physical = before ? before->physical_bytes + before->len_bytes : 0;
	uint64_t logical = before ? before->logical_bytes + before->len_bytes : 0;

	*expected_bytes = physical + (piece->logical_bytes - logical);
	return !piece->logical_bytes || piece->physical_bytes == *expected_bytes ||
	       piece->physical_bytes == physical;
}

uint64_t dafs_inspect_fragments(const struct dafs_pieces *pieces)
{
	uint64_t count = 0, expected;

	for (size_t i = 0; i < pieces->n; i++)
		count += !count || !dafs_inspect_follows(pieces, i, &expected);
	return count;
}

/* ---- the file system's size as statfs has it ---- */

static uint64_t journal_blks(struct dafs_image *img)
{
	struct dafs_inspect in;

	if (!img->has_journal || img->fs->super->s_journal_dev ||
	    dafs_inspect_inode(img, img->fs->super->s_journal_inum, &in))
		return 0;
	return in.attr.size >> img->block_bits;
}

uint64_t dafs_inspect_statfs_blks(struct dafs_image *img)
{
	const struct ext2_super_block *sb = img->fs->super;
	uint64_t overhead = img->first_data_block;
	uint32_t itable_blks = sb->s_inodes_per_group * img->inode_size / img->block_size;

	if (img->has_bigalloc) {
		overhead = (uint64_t)sb->s_overhead_clusters << img->cluster_bits;
		return overhead < img->blocks ? img->blocks - overhead : img->blocks;
	}
	for (uint32_t grp = 0; grp < dafs_group_count(img); grp++) {
		blk64_t super, old_desc, new_desc;

		ext2fs_super_and_bgd_loc2(img->fs, grp, &super, &old_desc, &new_desc, NULL);
		overhead += 2 + itable_blks;
		if (super || (!grp && !img->first_data_block))
			overhead++;
		if (old_desc)
			overhead += img->fs->desc_blocks + sb->s_reserved_gdt_blocks;
		if (new_desc)
			overhead++;
	}
	overhead += journal_blks(img);
	return overhead < img->blocks ? img->blocks - overhead : img->blocks;
}
