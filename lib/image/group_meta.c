/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * group_meta - where the static metadata of a file system lies: superblocks, descriptors (and those
 * reserved for growth), bitmaps, inode tables, the MMP block. As sorted disjoint ranges, worked out
 * from the descriptors when first asked for; with flex_bg that is a few thousand ranges for 16 TiB.
 */
#include "config.h"

#include "image/group_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"

struct range_list {
	struct dafs_meta_range *v;
	size_t n, room;
};

/* Append [start, start+len), cut to the file system; joined with the last range where it continues
 * it. */
static errcode_t add(struct range_list *list, uint64_t fs_blks, uint64_t start, uint64_t len)
{
	uint64_t end;

	if (start >= fs_blks || !len)
		return 0;
	end = len < fs_blks - start ? start + len : fs_blks;
	if (list->n && list->v[list->n - 1].end == start) {
		list->v[list->n - 1].end = end;
		return 0;
	}
	if (dafs_array_grow(&list->v, list->n, &list->room, sizeof(*list->v)))
		return ENOMEM;
	list->v[list->n++] = (struct dafs_meta_range){ start, end };
	return 0;
}

uint64_t dafs_group_desc_pblk(const struct dafs_image *img, uint32_t i)
{
	ext2_filsys fs = img->fs;
	/* With bigalloc, 1 KiB blocks begin at block 0, which is in front of the superblock.
	 * (libext2fs' own function has that right for the first descriptor block alone.) */
	uint64_t super = fs->blocksize == 1024 ? 1 : 0;

	if (!ext2fs_has_feature_meta_bg(fs->super) || i < fs->super->s_first_meta_bg)
		return super + 1 + i;
	return ext2fs_descriptor_block_loc2(fs, fs->super->s_first_data_block, i);
}

static errcode_t add_super(struct range_list *list, ext2_filsys fs, uint32_t grp)
{
	uint64_t blocks = ext2fs_blocks_count(fs->super), old_desc_blks;
	blk64_t super_blk, old_desc, new_desc;
	errcode_t err = 0;

	ext2fs_super_and_bgd_loc2(fs, grp, &super_blk, &old_desc, &new_desc, NULL);
	old_desc_blks = ext2fs_has_feature_meta_bg(fs->super)
				? fs->super->s_first_meta_bg
				: fs->desc_blocks + fs->super->s_reserved_gdt_blocks;
	if (super_blk || grp == 0)
		err = add(list, blocks, super_blk, 1);
	/* Bigalloc with 1K blocks: block 0 belongs to the first cluster, in front of the
	 * superblock. */
	if (!err && grp == 0 && fs->blocksize == 1024 && fs->cluster_ratio_bits)
		err = add(list, blocks, 0, 1);
	if (!err && old_desc)
		err = add(list, blocks, old_desc, old_desc_blks);
	if (!err && new_desc)
		err = add(list, blocks, new_desc, 1);
	return err;
}

static int by_start(const void *a, const void *b)
{
	const struct dafs_meta_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static size_t merge_sorted(struct dafs_meta_range *v, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept && v[i].start <= v[kept - 1].end) {
			if (v[i].end > v[kept - 1].end)
				v[kept - 1].end = v[i].end;
		} else {
			v[kept++] = v[i];
		}
	}
	return kept;
}

errcode_t dafs_meta_load(struct dafs_image *img)
{
	struct dafs_groups *g = img->groups;
	ext2_filsys fs = img->fs;
	/* A list a kind: each is nearly ascending by itself, so that neighbours join at once. */
	enum { SUPERS, BLOCK_BITMAPS, INODE_BITMAPS, ITABLES, KINDS };
	struct range_list lists[KINDS] = { { NULL, 0, 0 } }, all = { NULL, 0, 0 };
	errcode_t err = 0;

	if (g->meta)
		return 0;
	for (uint32_t grp = 0; grp < g->count && !err; grp++) {
		err = add_super(&lists[SUPERS], fs, grp);
		if (!err)
			err = add(&lists[BLOCK_BITMAPS], img->blocks,
				  ext2fs_block_bitmap_loc(fs, grp), 1);
		if (!err)
			err = add(&lists[INODE_BITMAPS], img->blocks,
				  ext2fs_inode_bitmap_loc(fs, grp), 1);
		if (!err)
			err = add(&lists[ITABLES], img->blocks, ext2fs_inode_table_loc(fs, grp),
				  fs->inode_blocks_per_group);
	}
	if (!err && ext2fs_has_feature_mmp(fs->super))
		err = add(&lists[SUPERS], img->blocks, fs->super->s_mmp_block, 1);
	for (int k = 0; k < KINDS; k++) {
		for (size_t i = 0; i < lists[k].n && !err; i++)
			err = add(&all, img->blocks, lists[k].v[i].start,
				  lists[k].v[i].end - lists[k].v[i].start);
		free(lists[k].v);
	}
	if (err) {
		free(all.v);
		return err;
	}
	if (all.n)
		qsort(all.v, all.n, sizeof(*all.v), by_start);
	g->meta = all.v;
	g->n_meta = merge_sorted(all.v, all.n);
	return 0;
}

/* Index of the first range that ends after pblk. */
static size_t first_after(const struct dafs_groups *g, uint64_t pblk)
{
	size_t at = dafs_array_search(g->meta, g->n_meta, sizeof(*g->meta), pblk);

	return at && g->meta[at - 1].end > pblk ? at - 1 : at;
}

bool dafs_image_data_range_ok(const struct dafs_image *img, uint64_t pblk, uint64_t len)
{
	const struct dafs_groups *g = img->groups;
	size_t at;

	if (pblk < img->first_data_block || len > img->blocks || pblk > img->blocks - len)
		return false;
	at = first_after(g, pblk);
	return at == g->n_meta || g->meta[at].start >= pblk + len;
}

/* Call fn with the cluster range of every piece of metadata in a group; stops when it returns
 * false. */
static bool each_in_group(struct dafs_image *img, uint32_t grp,
			  bool (*fn)(void *bits, uint32_t start, uint32_t len), void *bits)
{
	const struct dafs_groups *g = img->groups;
	uint64_t first = dafs_group_first_pblk(img, grp);
	uint64_t end = first + ((uint64_t)dafs_group_clusters(img, grp) << img->cluster_bits);

	for (size_t i = first_after(g, first); i < g->n_meta && g->meta[i].start < end; i++) {
		uint64_t from = g->meta[i].start > first ? g->meta[i].start : first;
		uint64_t to = g->meta[i].end < end ? g->meta[i].end : end;
		uint32_t c = (uint32_t)((from - first) >> img->cluster_bits);
		uint32_t last = (uint32_t)((to - 1 - first) >> img->cluster_bits);

		if (!fn(bits, c, last - c + 1))
			return false;
	}
	return true;
}

static bool mark(void *bits, uint32_t start, uint32_t len)
{
	dafs_bits_set(bits, start, len, true);
	return true;
}

static bool is_marked(void *bits, uint32_t start, uint32_t len)
{
	return dafs_bits_are(bits, start, len, true);
}

void dafs_meta_mark(struct dafs_image *img, uint32_t grp, uint8_t *bits)
{
	each_in_group(img, grp, mark, bits);
}

bool dafs_meta_marked(struct dafs_image *img, uint32_t grp, const uint8_t *bits)
{
	return each_in_group(img, grp, is_marked, (void *)(uintptr_t)bits);
}
