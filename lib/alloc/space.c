/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * space - see space.h: the space of an open image, by way of its groups.
 */
#include "config.h"

#include "alloc/space.h"

#include "base/trace.h"
#include "image/group.h"

static errcode_t block_bits(void *arg, uint32_t grp, const uint8_t **bits)
{
	struct dafs_image *img = arg;

	if (img->ctx->trace)
		dafs_trace_line(img->ctx->trace, "ext4_mb_bitmap_load: dev 0,0 group %u", grp);
	return dafs_group_block_bits(arg, grp, bits);
}

static uint32_t free_clusters(void *arg, uint32_t grp)
{
	return dafs_group_free_clusters(arg, grp);
}

static errcode_t inode_bits(void *arg, uint32_t grp, const uint8_t **bits)
{
	return dafs_group_inode_bits(arg, grp, bits);
}

static uint32_t free_inodes(void *arg, uint32_t grp)
{
	return dafs_group_free_inodes(arg, grp);
}

/* Groups in a flex group; a figure that no file system reaches counts as all of them. */
static unsigned flex_groups(const struct ext2_super_block *sb)
{
	unsigned bits = sb->s_feature_incompat & EXT4_FEATURE_INCOMPAT_FLEX_BG
				? sb->s_log_groups_per_flex
				: 0;

	return bits < 31 ? 1u << bits : 1u << 31;
}

void dafs_space_of_image(struct dafs_image *img, struct dafs_space *space)
{
	const struct ext2_super_block *sb = img->fs->super;
	uint32_t per_group = sb->s_blocks_per_group >> img->cluster_bits;
	/* Half a cluster at the end is nothing to allocate from. */
	uint64_t clusters = (img->blocks - img->first_data_block) >> img->cluster_bits;

	*space = (struct dafs_space){
		.clusters = clusters,
		.groups = (uint32_t)((clusters + per_group - 1) / per_group),
		.first_data_block = img->first_data_block,
		.clusters_per_group = per_group,
		.cluster_bits = img->cluster_bits,
		.flex_groups = flex_groups(sb),
		.arg = img,
		.bits = block_bits,
		.free = free_clusters,
	};
}

void dafs_ispace_of_image(struct dafs_image *img, struct dafs_ispace *space)
{
	const struct ext2_super_block *sb = img->fs->super;

	*space = (struct dafs_ispace){
		.groups = dafs_group_count(img),
		.inodes_per_group = sb->s_inodes_per_group,
		.first_ino = EXT2_FIRST_INODE(sb),
		.arg = img,
		.bits = inode_bits,
		.free = free_inodes,
	};
}
