/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_geom - the numbers of a file system to be, and which options go together.
 *
 * Source of the rules: mke2fs(8) and what mke2fs 1.47 accepts and refuses. What it asks about
 * on a terminal is refused here unless forced. libext2fs rounds the counts to whole groups
 * afterwards.
 */
#include "config.h"

#include "job/mkfs_int.h"

#include <errno.h>
#include <inttypes.h>

enum { MIN_GROUP_BLKS = 256, MAX_CLUSTER_TO_BLOCK = 16 };

static errcode_t refuse(struct mkfs *mk, const char *why)
{
	return dafs_fail(mk->ctx, DAFS_ET_USAGE, "%s", why);
}

/* Block numbers of 32 bits, and what cannot live beside longer ones. */
static errcode_t check_width(struct mkfs *mk)
{
	struct ext2_super_block *param = &mk->param;
	/* Without the feature, param has room for the lower half only. */
	uint64_t blks = mk->fs_bytes / mk->block_size;
	bool automatic = false;
	errcode_t err;

	if (blks <= UINT32_MAX)
		return 0;
	err = dafs_mkfs_conf_bool(mk->ctx, &mk->types, "auto_64-bit_support", false, &automatic);
	if (err)
		return err;
	if (automatic)
		ext2fs_set_feature_64bit(param);
	if (!ext2fs_has_feature_64bit(param))
		return dafs_fail(
			mk->ctx, DAFS_ET_USAGE,
			"%s: %" PRIu64
			" blocks of %u bytes need the feature 64bit or a larger block size",
			mk->address, blks, mk->block_size);
	ext2fs_blocks_count_set(param, blks);
	ext2fs_clear_feature_resize_inode(param);
	return 0;
}

static errcode_t choose_cluster(struct mkfs *mk)
{
	struct ext2_super_block *param = &mk->param;
	long size = mk->opts->cluster_size;
	errcode_t err = 0;

	if (!ext2fs_has_feature_bigalloc(param))
		return size ? refuse(mk, "-C needs the feature bigalloc") : 0;
	if (!ext2fs_has_feature_extents(param))
		return refuse(mk, "the feature bigalloc needs the feature extent");
	if (!size)
		err = dafs_mkfs_conf_int(mk->ctx, &mk->types, "cluster_size",
					 (long)mk->block_size * 16, &size);
	if (err)
		return err;
	if (size <= EXT2_MIN_CLUSTER_SIZE || size > EXT2_MAX_CLUSTER_SIZE || (size & (size - 1)))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "cluster size %ld: a power of two from %u to %u is needed", size,
				 2u * EXT2_MIN_CLUSTER_SIZE, EXT2_MAX_CLUSTER_SIZE);
	if (size < (long)mk->block_size)
		return refuse(mk, "a cluster cannot be smaller than a block");
	if (size > (long)mk->block_size * MAX_CLUSTER_TO_BLOCK)
		dafs_notice(mk->ctx,
			    "warning: clusters of more than 16 blocks are considered experimental");
	param->s_log_cluster_size =
		(uint32_t)__builtin_ctzl((unsigned long)size) - EXT2_MIN_CLUSTER_LOG_SIZE;
	return 0;
}

static errcode_t choose_group_size(struct mkfs *mk)
{
	uint32_t count = mk->opts->blks_per_group;

	if (!count)
		return 0;
	if (count % 8 || count < MIN_GROUP_BLKS || count > 8 * mk->block_size)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "-g %u: a multiple of 8 from %d to %u is needed", count,
				 MIN_GROUP_BLKS, 8 * mk->block_size);
	if (ext2fs_has_feature_bigalloc(&mk->param))
		mk->param.s_clusters_per_group = count;
	else
		mk->param.s_blocks_per_group = count;
	return 0;
}

static errcode_t choose_flex(struct mkfs *mk)
{
	long groups = mk->opts->flex_groups;
	errcode_t err = 0;

	if (!groups && ext2fs_has_feature_flex_bg(&mk->param))
		err = dafs_mkfs_conf_int(mk->ctx, &mk->types, "flex_bg_size", 16, &groups);
	if (err || !groups)
		return err;
	if (!ext2fs_has_feature_flex_bg(&mk->param))
		return refuse(mk, "-G needs the feature flex_bg");
	if (groups < 0 || groups > (long)1 << 31 || (groups & (groups - 1)))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "-G %ld: a power of two is needed",
				 groups);
	mk->param.s_log_groups_per_flex = (uint8_t)__builtin_ctzl((unsigned long)groups);
	return 0;
}

/* Project ids live behind the first 128 bytes of an inode. */
static errcode_t choose_inode_size(struct mkfs *mk, long *inode_size)
{
	struct ext2_super_block *param = &mk->param;
	long size = mk->opts->inode_size;
	bool warn = true;
	errcode_t err = 0;

	*inode_size = 0;
	if (mk->set.quota_types & MKFS_QUOTA_PROJECT)
		ext2fs_set_feature_project(param);
	if (size == EXT2_GOOD_OLD_INODE_SIZE && ext2fs_has_feature_project(param))
		return refuse(mk, "inodes of 128 bytes are too small for the feature project");
	if (!size)
		err = dafs_mkfs_conf_int(mk->ctx, &mk->types, "inode_size", 0, &size);
	if (!err)
		err = dafs_mkfs_conf_bool(mk->ctx, &mk->types, "warn_y2038_dates", true, &warn);
	if (err)
		return err;
	if (!mk->opts->inode_size && ext2fs_has_feature_project(param) &&
	    size < 2 * EXT2_GOOD_OLD_INODE_SIZE)
		size = 2 * EXT2_GOOD_OLD_INODE_SIZE;
	*inode_size = size ? size : EXT2_GOOD_OLD_INODE_SIZE;
	if (param->s_rev_level == EXT2_GOOD_OLD_REV || !size)
		return 0;
	if (size < EXT2_GOOD_OLD_INODE_SIZE || size > (long)mk->block_size || (size & (size - 1)))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "inode size %ld: a power of two from %d to %u is needed", size,
				 EXT2_GOOD_OLD_INODE_SIZE, mk->block_size);
	param->s_inode_size = (uint16_t)size;
	if (size == EXT2_GOOD_OLD_INODE_SIZE && ext2fs_has_feature_inline_data(param))
		return refuse(mk, "inodes of 128 bytes are too small for the feature inline_data");
	if (size == EXT2_GOOD_OLD_INODE_SIZE && warn)
		dafs_notice(mk->ctx, "warning: inodes of 128 bytes cannot hold dates beyond 2038");
	return 0;
}

static errcode_t choose_ratio(struct mkfs *mk, uint64_t *ratio_bytes)
{
	long ratio = mk->opts->inode_ratio_bytes, cluster = EXT2_CLUSTER_SIZE(&mk->param);
	errcode_t err;

	*ratio_bytes = (uint64_t)ratio;
	if (ratio) {
		if (ratio < EXT2_MIN_BLOCK_SIZE || ratio > EXT2_MAX_BLOCK_SIZE * 1024)
			return dafs_fail(mk->ctx, DAFS_ET_RANGE, "-i %ld (%d to %d)", ratio,
					 EXT2_MIN_BLOCK_SIZE, EXT2_MAX_BLOCK_SIZE * 1024);
		return 0;
	}
	err = dafs_mkfs_conf_int(mk->ctx, &mk->types, "inode_ratio", 8192, &ratio);
	if (ratio < (long)mk->block_size)
		ratio = mk->block_size;
	if (ratio < cluster)
		ratio = cluster;
	*ratio_bytes = (uint64_t)ratio;
	return err;
}

static errcode_t choose_inodes(struct mkfs *mk)
{
	struct ext2_super_block *param = &mk->param;
	uint64_t bytes = ext2fs_blocks_count(param) * mk->block_size, inodes = mk->opts->inodes,
		 ratio;
	long inode_size;
	errcode_t err = choose_ratio(mk, &ratio);

	if (!err)
		err = choose_inode_size(mk, &inode_size);
	if (err)
		return err;
	if (inodes > UINT32_MAX)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "-N %" PRIu64 ": fewer than 2^32 inodes are possible", inodes);
	if (!inodes)
		inodes = bytes / ratio;
	if (inodes > UINT32_MAX) {
		if (!ext2fs_has_feature_64bit(param))
			return dafs_fail(mk->ctx, DAFS_ET_USAGE,
					 "%" PRIu64 " inodes are too many: raise the ratio (-i)",
					 inodes);
		inodes = UINT32_MAX;
	}
	if (inodes * (uint64_t)inode_size >= bytes)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "%" PRIu64 " inodes of %ld bytes do not fit: raise the ratio (-i) "
				 "or lower the count (-N)",
				 inodes, inode_size);
	param->s_inodes_count = (uint32_t)inodes;
	return 0;
}

static errcode_t choose_reserved(struct mkfs *mk)
{
	double percent = mk->opts->reserved_percent;
	errcode_t err = 0;

	if (!mk->opts->has_reserved)
		err = dafs_mkfs_conf_real(mk->ctx, &mk->types, "reserved_ratio", 5.0, &percent);
	if (err)
		return err;
	if (!(percent >= 0 && percent <= 50))
		return dafs_fail(mk->ctx, DAFS_ET_RANGE, "reserved blocks: %g %% (0 to 50)",
				 percent);
	ext2fs_r_blocks_count_set(
		&mk->param, (blk64_t)(percent * (double)ext2fs_blocks_count(&mk->param) / 100.0));
	return 0;
}

/* Features that need or exclude each other. */
static errcode_t check_features(struct mkfs *mk)
{
	struct ext2_super_block *param = &mk->param;

	if (param->s_rev_level == EXT2_GOOD_OLD_REV &&
	    (param->s_feature_compat || param->s_feature_incompat || param->s_feature_ro_compat))
		return refuse(mk, "a file system of revision 0 has no features");
	if (ext2fs_has_feature_64bit(param) && !ext2fs_has_feature_extents(param))
		return refuse(mk, "the feature 64bit needs the feature extent");
	if (ext2fs_has_feature_resize_inode(param) && ext2fs_has_feature_meta_bg(param))
		return refuse(mk, "the features resize_inode and meta_bg exclude each other");
	if (ext2fs_has_feature_resize_inode(param) && !ext2fs_has_feature_sparse_super(param))
		return refuse(mk, "the feature resize_inode needs the feature sparse_super");
	if (ext2fs_has_feature_csum_seed(param) && !ext2fs_has_feature_metadata_csum(param))
		return refuse(mk, "the feature metadata_csum_seed needs the feature metadata_csum");
	if (ext2fs_has_feature_orphan_file(param) && !ext2fs_has_feature_journal(param))
		return refuse(mk, "the feature orphan_file needs the feature has_journal");
	return 0;
}

static errcode_t check_hugefiles(struct mkfs *mk)
{
	bool wanted;
	errcode_t err = dafs_mkfs_conf_bool(mk->ctx, &mk->types, "make_hugefiles", false, &wanted);

	if (!err && wanted)
		err = dafs_fail(mk->ctx, DAFS_ET_SYNTAX,
				"mke2fs.conf: make_hugefiles is not supported");
	return err;
}

errcode_t mkfs_choose_geometry(struct mkfs *mk)
{
	struct ext2_super_block *param = &mk->param;
	const char *first_meta_bg = secure_getenv("MKE2FS_FIRST_META_BG");
	static errcode_t (*const steps[])(struct mkfs * mk) = {
		check_width,	     choose_cluster,	 mkfs_probe_topology, choose_group_size,
		mkfs_parse_extended, mkfs_parse_journal, check_features,      choose_flex,
		choose_inodes,	     choose_reserved,	 check_hugefiles,
	};
	errcode_t err = 0;

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]) && !err; i++)
		err = steps[i](mk);
	if (err)
		return err;
	if (first_meta_bg && ext2fs_has_feature_meta_bg(param))
		param->s_first_meta_bg = (uint32_t)strtoul(first_meta_bg, NULL, 10);
	if (ext2fs_has_feature_sparse_super2(param)) {
		param->s_backup_bgs[0] = mk->set.backups >= 1 ? 1 : 0;
		param->s_backup_bgs[1] = mk->set.backups >= 2 ? ~0u : 0;
	}
	return 0;
}
