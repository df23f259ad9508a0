/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * group_write - changed groups into the transaction: bitmaps, descriptors, superblock, each with
 * its checksum.
 *
 * Bitmaps of groups that had none on disk (BLOCK_UNINIT, INODE_UNINIT) are written in place ahead
 * of the commit, since nothing reads them before the descriptor says so; everything else is live
 * and goes through the transaction. Only the primary superblock and descriptors are written, as the
 * kernel does; the copies are refreshed by a resize or a check. An image being created has no live
 * superblock and descriptors yet: dafs_image_finish_create writes them.
 */
#include "config.h"

#include "image/group_int.h"

#include <stddef.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/image_int.h"
#include "image/txn.h"
#include "image/txn_int.h"

static errcode_t encode_bits(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind)
{
	uint16_t uninit = kind == DAFS_BLOCK_BITS ? EXT2_BG_BLOCK_UNINIT : EXT2_BG_INODE_UNINIT;
	uint8_t *bits = img->groups->v[grp]->next[kind];
	ext2_filsys fs = img->fs;
	uint64_t pblk;
	errcode_t err;

	if (!bits)
		return 0;
	if (kind == DAFS_BLOCK_BITS) {
		err = ext2fs_block_bitmap_csum_set(fs, grp, (char *)bits,
						   (int)(img->groups->clusters_per_group / 8));
		pblk = ext2fs_block_bitmap_loc(fs, grp);
	} else {
		err = ext2fs_inode_bitmap_csum_set(fs, grp, (char *)bits,
						   (int)(img->groups->inodes_per_group / 8));
		pblk = ext2fs_inode_bitmap_loc(fs, grp);
	}
	if (err)
		return err;
	if (dafs_grp_was_flag(img, grp, uninit))
		return dafs_txn_put_unused(img, pblk, bits);
	return dafs_txn_put(img, pblk, bits);
}

static errcode_t encode_desc(struct dafs_image *img, uint32_t grp)
{
	ext2_filsys fs = img->fs;
	uint32_t per_blk = EXT2_DESC_PER_BLOCK(fs->super);
	uint64_t pblk = dafs_group_desc_pblk(img, grp / per_blk);
	size_t desc_bytes = EXT2_DESC_SIZE(fs->super);
	uint8_t *block;
	errcode_t err;

	ext2fs_group_desc_csum_set(fs, grp);
	if (dafs_txn_creating(img))
		return 0;
	err = dafs_txn_get(img, pblk, true, &block);
	if (!err)
		memcpy(block + (grp % per_blk) * desc_bytes,
		       ext2fs_group_desc(fs, fs->group_desc, grp), desc_bytes);
	return err;
}

uint64_t dafs_super_pblk(const struct dafs_image *img)
{
	return SUPERBLOCK_OFFSET >> img->block_bits;
}

errcode_t dafs_super_get(struct dafs_image *img, struct ext2_super_block **sb)
{
	uint8_t *block;
	errcode_t err = dafs_txn_get(img, dafs_super_pblk(img), true, &block);

	*sb = err ? NULL
		  : (struct ext2_super_block *)(block +
						(SUPERBLOCK_OFFSET & (img->block_size - 1)));
	return err;
}

void dafs_super_seal(const struct dafs_image *img, struct ext2_super_block *sb)
{
	if (img->has_csum)
		sb->s_checksum =
			dafs_crc32c(~0u, sb, offsetof(struct ext2_super_block, s_checksum));
}

/* Counts, features and the write time. Features may have grown (large_file with the first such
 * file). */
static void fill_super(struct dafs_image *img, struct ext2_super_block *sb)
{
	const struct ext2_super_block *next = img->fs->super;
	uint64_t now = (uint64_t)img->ctx->now_sec;

	ext2fs_free_blocks_count_set(sb, img->groups->free_clusters << img->cluster_bits);
	sb->s_free_inodes_count = (uint32_t)img->groups->free_inodes;
	sb->s_feature_compat = next->s_feature_compat;
	sb->s_feature_incompat = next->s_feature_incompat;
	sb->s_feature_ro_compat = next->s_feature_ro_compat;
	if (img->txn->replaying)
		return;
	sb->s_wtime = (uint32_t)now;
	sb->s_wtime_hi = (uint8_t)(now >> 32);
}

errcode_t dafs_groups_encode(struct dafs_image *img)
{
	struct dafs_groups *g = img->groups;
	struct ext2_super_block *sb;
	errcode_t err = 0;

	for (size_t i = 0; i < g->n_changed && !err; i++) {
		err = encode_bits(img, g->changed[i], DAFS_BLOCK_BITS);
		if (!err)
			err = encode_bits(img, g->changed[i], DAFS_INODE_BITS);
		if (!err)
			err = encode_desc(img, g->changed[i]);
	}
	if (err)
		return err;
	if (!g->super_encoded)
		g->was_super = *img->fs->super;
	g->super_encoded = true;
	fill_super(img, img->fs->super);
	if (dafs_txn_creating(img))
		return 0;
	err = dafs_super_get(img, &sb);
	if (!err) {
		fill_super(img, sb);
		dafs_super_seal(img, sb);
	}
	return err;
}
