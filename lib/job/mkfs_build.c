/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_build - everything between the superblock in memory and the flush: group tables, the
 * first inodes, the special files.
 *
 * The order is mke2fs's, because the order decides which blocks and inodes a file gets: tables,
 * root, lost+found, reserved inodes, bad-block inode, resize inode, journal, mmp block, quota
 * files, orphan file.
 *
 * Where the device is known to read as zeros (a new file, holes), no zeros are written.
 */
#include "config.h"

#include "job/mkfs_int.h"

#include <errno.h>
#include <string.h>

/* lost+found is made large enough that a checker can put things there when nothing else can be
 * allocated. */
enum { LOST_FOUND_BYTES = 16 * 1024 };

/* Old metadata at the end of a device (RAID members keep it there) is wiped in units of this. */
enum { TAIL_BYTES = 64 * 1024 };

static errcode_t fail(struct mkfs *mk, errcode_t err, const char *what)
{
	return err ? dafs_fail(mk->ctx, err, "%s: %s", mk->address, what) : 0;
}

/* One kind of table for all groups, one behind the other from *goal on. */
static errcode_t pack_bitmaps(ext2_filsys fs, blk64_t *goal,
			      void (*set)(ext2_filsys fs, dgrp_t group, blk64_t blk))
{
	errcode_t err;

	for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
		err = ext2fs_new_block2(fs, *goal, NULL, goal);
		if (err)
			return err;
		ext2fs_block_alloc_stats2(fs, *goal, +1);
		set(fs, group, *goal);
	}
	return 0;
}

static errcode_t pack_inode_tables(ext2_filsys fs, blk64_t goal)
{
	blk64_t last = ext2fs_blocks_count(fs->super) - 1;
	errcode_t err;

	for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
		err = ext2fs_get_free_blocks2(fs, goal, last, (int)fs->inode_blocks_per_group,
					      fs->block_map, &goal);
		if (err)
			return err;
		ext2fs_block_alloc_stats_range(fs, goal, fs->inode_blocks_per_group, +1);
		ext2fs_inode_table_loc_set(fs, group, goal);
		ext2fs_group_desc_csum_set(fs, group);
	}
	return 0;
}

/* Without flexible groups libext2fs has counted every group's tables as used before they are placed
 * anywhere; packing counts them where they are. */
static void uncount_tables(ext2_filsys fs)
{
	uint64_t blks = 2 + (uint64_t)fs->inode_blocks_per_group;

	if (fs->super->s_log_groups_per_flex)
		return;
	for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
		uint64_t free_blks = ext2fs_bg_free_blocks_count(fs, group) + blks;

		ext2fs_bg_free_blocks_count_set(fs, group, (__u32)free_blks);
		ext2fs_free_blocks_count_add(fs->super, (blk64_t)blks);
	}
}

static errcode_t place_tables(struct mkfs *mk)
{
	ext2_filsys fs = mk->fs;
	blk64_t goal = 0;
	errcode_t err;

	fs->stride = (int)fs->super->s_raid_stride;
	if (!mk->set.packed_meta || !ext2fs_has_feature_flex_bg(fs->super))
		return fail(mk, ext2fs_allocate_tables(fs), "placing group tables");
	uncount_tables(fs);
	err = pack_bitmaps(fs, &goal, ext2fs_block_bitmap_loc_set);
	if (!err)
		err = pack_bitmaps(fs, &goal, ext2fs_inode_bitmap_loc_set);
	if (!err)
		err = pack_inode_tables(fs, goal);
	return fail(mk, err, "placing group tables");
}

static errcode_t count_overhead(struct mkfs *mk)
{
	ext2_filsys fs = mk->fs;
	blk64_t used = 0;
	errcode_t err = ext2fs_convert_subcluster_bitmap(fs, &fs->block_map);

	if (!err)
		err = ext2fs_count_used_clusters(fs, fs->super->s_first_data_block,
						 ext2fs_blocks_count(fs->super) - 1, &used);
	mk->overhead_clusters = used + fs->super->s_first_data_block;
	return fail(mk, err, "counting metadata");
}

static errcode_t wipe_tail(struct mkfs *mk)
{
	uint64_t unit = TAIL_BYTES / mk->block_size, blks = ext2fs_blocks_count(mk->fs->super),
		 start = blks & ~(unit - 1);

	if (mk->reads_zero)
		return 0;
	if (start > unit)
		start -= unit;
	return start ? dafs_dev_zero(mk->dev, start * mk->block_size,
				     (blks - start) * mk->block_size)
		     : 0;
}

/* Blocks of a group's inode table that have to be zero before the first mount. */
static uint64_t table_blks_to_zero(struct mkfs *mk, dgrp_t group)
{
	ext2_filsys fs = mk->fs;
	uint64_t used;

	if (mk->reads_zero || mk->itable_zeroed)
		return 0;
	if (!mk->set.lazy_itable)
		return fs->inode_blocks_per_group;
	used = fs->super->s_inodes_per_group - ext2fs_bg_itable_unused(fs, group);
	return ext2fs_div64_ceil(used * EXT2_INODE_SIZE(fs->super), mk->block_size);
}

static errcode_t zero_run(struct mkfs *mk, uint64_t start_blk, uint64_t len_blks)
{
	return len_blks ? dafs_dev_zero(mk->dev, start_blk * mk->block_size,
					len_blks * mk->block_size)
			: 0;
}

static errcode_t init_inode_tables(struct mkfs *mk)
{
	ext2_filsys fs = mk->fs;
	uint64_t start = 0, len = 0;
	errcode_t err = 0;

	for (dgrp_t group = 0; group < fs->group_desc_count && !err; group++) {
		uint64_t table = ext2fs_inode_table_loc(fs, group),
			 blks = table_blks_to_zero(mk, group);

		if (!mk->set.lazy_itable || mk->itable_zeroed) {
			ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
			ext2fs_group_desc_csum_set(fs, group);
		}
		if (blks && table == start + len) {
			len += blks;
			continue;
		}
		if (blks) {
			err = zero_run(mk, start, len);
			start = table;
			len = blks;
		}
		dafs_progress(mk->ctx, "inode tables", group, fs->group_desc_count);
		if (!err)
			err = dafs_cancelled(mk->ctx);
	}
	return err ? err : zero_run(mk, start, len);
}

/* Unused reserved inodes have a checksum of their own, too. */
static errcode_t write_reserved_inodes(struct mkfs *mk)
{
	int size = EXT2_INODE_SIZE(mk->fs->super);
	struct ext2_inode *inode = NULL;
	errcode_t err = ext2fs_get_memzero((unsigned long)size, &inode);

	for (ext2_ino_t ino = 1; ino < EXT2_FIRST_INO(mk->fs->super) && !err; ino++)
		err = ext2fs_write_inode_full(mk->fs, ino, inode, size);
	ext2fs_free_mem(&inode);
	return fail(mk, err, "writing reserved inodes");
}

static errcode_t make_root(struct mkfs *mk)
{
	ext2_filsys fs = mk->fs;
	struct ext2_inode inode;
	errcode_t err = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, 0);

	if (err || (!mk->set.root_uid && !mk->set.root_gid && !mk->set.has_root_perms))
		return fail(mk, err, "making the root directory");
	err = ext2fs_read_inode(fs, EXT2_ROOT_INO, &inode);
	if (!err) {
		inode.i_uid = (uint16_t)mk->set.root_uid;
		inode.i_gid = (uint16_t)mk->set.root_gid;
		inode.osd2.linux2.l_i_uid_high = (uint16_t)(mk->set.root_uid >> 16);
		inode.osd2.linux2.l_i_gid_high = (uint16_t)(mk->set.root_gid >> 16);
		if (mk->set.has_root_perms)
			inode.i_mode = (uint16_t)(LINUX_S_IFDIR | mk->set.root_perms);
		err = ext2fs_write_inode(fs, EXT2_ROOT_INO, &inode);
	}
	return fail(mk, err, "making the root directory");
}

static errcode_t make_lost_found(struct mkfs *mk)
{
	static const char name[] = "lost+found";
	ext2_filsys fs = mk->fs;
	unsigned bytes = mk->block_size;
	ext2_ino_t ino;
	errcode_t err;

	fs->umask = 077;
	err = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, name);
	if (!err)
		err = ext2fs_lookup(fs, EXT2_ROOT_INO, name, sizeof(name) - 1, NULL, &ino);
	/* At least two blocks, at most what a block-mapped directory reaches without indirect
	 * blocks. */
	for (int blks = 1; blks < EXT2_NDIR_BLOCKS && !err; blks++, bytes += mk->block_size) {
		if (bytes >= LOST_FOUND_BYTES && blks > 1)
			break;
		err = ext2fs_expand_dir(fs, ino);
	}
	return fail(mk, err, "making lost+found");
}

static errcode_t reserve_inodes(struct mkfs *mk)
{
	ext2_filsys fs = mk->fs;

	for (ext2_ino_t ino = EXT2_ROOT_INO + 1; ino < EXT2_FIRST_INO(fs->super); ino++)
		ext2fs_inode_alloc_stats2(fs, ino, +1, 0);
	ext2fs_inode_alloc_stats2(fs, EXT2_BAD_INO, +1, 0);
	return fail(mk, ext2fs_update_bb_inode(fs, NULL), "writing the bad-block inode");
}

static errcode_t make_resize_inode(struct mkfs *mk)
{
	if (!ext2fs_has_feature_resize_inode(mk->fs->super))
		return 0;
	return fail(mk, ext2fs_create_resize_inode(mk->fs),
		    "reserving descriptor blocks for growth");
}

static errcode_t make_journal(struct mkfs *mk)
{
	int flags = EXT2_MKJOURNAL_NO_MNT_CHECK;

	if (!ext2fs_has_feature_journal(mk->fs->super))
		return 0;
	if (mk->set.lazy_journal || mk->set.prezeroed || mk->reads_zero)
		flags |= EXT2_MKJOURNAL_LAZYINIT;
	if (mk->set.journal_v1)
		flags |= EXT2_MKJOURNAL_V1_SUPER;
	dafs_progress(mk->ctx, "journal", 0, 0);
	mk->overhead_clusters += (uint64_t)EXT2FS_NUM_B2C(
		mk->fs, mk->journal.num_journal_blocks + mk->journal.num_fc_blocks);
	return fail(
		mk,
		ext2fs_add_journal_inode3(mk->fs, &mk->journal, mk->set.journal_goal_blk, flags),
		"making the journal");
}

/* Host, device and time of the run would make images differ: they are written without them. */
static errcode_t anonymize_mmp(struct mkfs *mk)
{
	ext2_filsys fs = mk->fs;
	struct mmp_struct *mmp = fs->mmp_buf;
	errcode_t err;

	memset(mmp->mmp_nodename, 0, sizeof(mmp->mmp_nodename));
	memset(mmp->mmp_bdevname, 0, sizeof(mmp->mmp_bdevname));
	mmp->mmp_time = (__u64)mk->ctx->now_sec;
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		ext2fs_swap_mmp(mmp);
	err = ext2fs_mmp_csum_set(fs, mmp);
	if (!err)
		err = io_channel_write_blk64(fs->io, fs->super->s_mmp_block, 1, mmp);
	return err;
}

static errcode_t make_mmp(struct mkfs *mk)
{
	errcode_t err;

	if (!ext2fs_has_feature_mmp(mk->fs->super))
		return 0;
	err = ext2fs_mmp_init(mk->fs);
	if (!err && mk->reproducible)
		err = anonymize_mmp(mk);
	return fail(mk, err, "making the block of multiple mount protection");
}

/* libext2fs counts blocks while it allocates; with clusters the groups are counted anew from the
 * bitmap. */
static errcode_t recount_clusters(struct mkfs *mk)
{
	ext2_filsys fs = mk->fs;
	uint64_t total = 0;
	errcode_t err = 0;

	mk->fs->super->s_overhead_clusters = (uint32_t)mk->overhead_clusters;
	if (!ext2fs_has_feature_bigalloc(fs->super))
		return 0;
	for (dgrp_t group = 0; group < fs->group_desc_count && !err; group++) {
		blk64_t first = ext2fs_group_first_block2(fs, group),
			last = ext2fs_group_last_block2(fs, group), used = 0;
		uint64_t clusters = (uint64_t)EXT2FS_NUM_B2C(fs, last - first + 1);

		err = ext2fs_count_used_clusters(fs, first, last, &used);
		ext2fs_bg_free_blocks_count_set(fs, group, (__u32)(clusters - used));
		ext2fs_group_desc_csum_set(fs, group);
		total += clusters - used;
	}
	ext2fs_free_blocks_count_set(fs->super, (blk64_t)EXT2FS_C2B(fs, total));
	return fail(mk, err, "counting free clusters");
}

static errcode_t make_orphan_file(struct mkfs *mk)
{
	uint64_t blks = mk->set.orphan_file_blks;

	if (!ext2fs_has_feature_orphan_file(mk->fs->super))
		return 0;
	if (!blks)
		blks = (uint64_t)ext2fs_default_orphan_file_blocks(mk->fs);
	return fail(mk, ext2fs_create_orphan_file(mk->fs, (blk_t)blks), "making the orphan file");
}

errcode_t mkfs_build(struct mkfs *mk)
{
	static errcode_t (*const steps[])(struct mkfs * mk) = {
		place_tables,	       count_overhead,	 wipe_tail,	  init_inode_tables,
		write_reserved_inodes, make_root,	 make_lost_found, reserve_inodes,
		make_resize_inode,     make_journal,	 make_mmp,	  recount_clusters,
		mkfs_build_quota,      make_orphan_file,
	};
	errcode_t err = 0;

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]) && !err; i++) {
		err = dafs_cancelled(mk->ctx);
		if (!err)
			err = steps[i](mk);
	}
	return err;
}
