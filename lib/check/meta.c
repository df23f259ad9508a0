/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * meta - group descriptors and the superblock as they change in memory, and into blocks at the end
 * of a run that repairs; then the commit.
 *
 * Descriptors and superblock are changed in ck->gd and ck->sb only; every change of a descriptor
 * ends with dafs_ck_gd_seal.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "image/image_int.h"
#include "image/journal.h"
#include "image/txn.h"

/* ---- one descriptor ---- */

#define WIDE(ck) ((ck)->g.desc_size >= EXT2_MIN_DESC_SIZE_64BIT)

void dafs_ck_gd_seal(struct dafs_ck *ck, uint32_t grp)
{
	if (ck->g.gd_csum)
		dafs_ck_gd(ck, grp)->bg_checksum = dafs_ck_gd_csum(ck, grp);
}

#define SETTER(field, type, shift, member)                                                         \
	void dafs_ck_gd_set_##field(struct dafs_ck *ck, uint32_t grp, type value)                  \
	{                                                                                          \
		struct ext4_group_desc *gd = dafs_ck_gd(ck, grp);                                  \
                                                                                                   \
		gd->member = (__typeof__(gd->member))value;                                        \
		if (WIDE(ck))                                                                      \
			gd->member##_hi = (__typeof__(gd->member##_hi))(value >> (shift));         \
	}

SETTER(block_bitmap, uint64_t, 32, bg_block_bitmap)
SETTER(inode_bitmap, uint64_t, 32, bg_inode_bitmap)
SETTER(itable, uint64_t, 32, bg_inode_table)
SETTER(free_blks, uint32_t, 16, bg_free_blocks_count)
SETTER(free_inodes, uint32_t, 16, bg_free_inodes_count)
SETTER(dirs, uint32_t, 16, bg_used_dirs_count)
SETTER(unused, uint32_t, 16, bg_itable_unused)

void dafs_ck_gd_set_bitmap_csum(struct dafs_ck *ck, uint32_t grp, bool inodes, const uint8_t *bits)
{
	struct ext4_group_desc *gd = dafs_ck_gd(ck, grp);
	uint32_t crc;

	if (!ck->g.csum)
		return;
	crc = dafs_crc32c(ck->g.csum_seed, bits, (inodes ? ck->g.ipg : ck->g.cpg) / 8);
	if (inodes)
		gd->bg_inode_bitmap_csum_lo = (uint16_t)crc;
	else
		gd->bg_block_bitmap_csum_lo = (uint16_t)crc;
	if (!WIDE(ck))
		return;
	if (inodes)
		gd->bg_inode_bitmap_csum_hi = (uint16_t)(crc >> 16);
	else
		gd->bg_block_bitmap_csum_hi = (uint16_t)(crc >> 16);
}

/* ---- into blocks ---- */

/* Write a block unless it is so already. */
static errcode_t put_block(struct dafs_ck *ck, uint64_t pblk, const uint8_t *buf)
{
	struct dafs_ck_worker *w = ck->main;
	errcode_t err;

	if ((pblk + 1) << ck->g.block_bits > ck->dev->size_bytes)
		return 0;
	err = dafs_ck_read(w, pblk, 1, w->tmp);
	if (!err && memcmp(w->tmp, buf, ck->g.block_size))
		err = dafs_ck_write(w, pblk, buf);
	return err;
}

static errcode_t put_descriptors(struct dafs_ck *ck, uint32_t grp)
{
	errcode_t err = 0;

	for (uint32_t i = 0; i < ck->g.desc_blks && !err; i++) {
		const uint8_t *block = ck->gd + ((size_t)i << ck->g.block_bits);
		uint64_t last = dafs_ck_desc_blk_last(ck, i);

		err = put_block(ck, dafs_ck_desc_blk(ck, grp, i), block);
		if (!err && grp && last)
			err = put_block(ck, last, block);
	}
	return err;
}

/* The superblock into its copy of a group; group 0's may share its block with the boot sector. */
static errcode_t put_super(struct dafs_ck *ck, uint32_t grp)
{
	uint64_t pblk = grp ? dafs_ck_grp_first(ck, grp) : SUPERBLOCK_OFFSET >> ck->g.block_bits;
	uint32_t off = grp ? 0 : SUPERBLOCK_OFFSET & (ck->g.block_size - 1);
	struct ext2_super_block sb = ck->sb;
	uint8_t *buf = ck->main->level[0];
	errcode_t err;

	if ((pblk + 1) << ck->g.block_bits > ck->dev->size_bytes)
		return 0;
	sb.s_block_group_nr = (uint16_t)grp;
	if (grp)
		ext2fs_clear_feature_journal_needs_recovery(&sb);
	if (ck->g.csum)
		sb.s_checksum = dafs_ck_sb_csum(&sb);
	err = dafs_ck_read(ck->main, pblk, 1, buf);
	if (err)
		return err;
	if (grp)
		memset(buf, 0, ck->g.block_size);
	memcpy(buf + off, &sb, sizeof(sb));
	return put_block(ck, pblk, buf);
}

/* The superblock after a check. */
static void finish_super(struct dafs_ck *ck)
{
	struct ext2_super_block *sb = &ck->sb;
	const size_t first = offsetof(struct ext2_super_block, s_error_count);
	const size_t end = offsetof(struct ext2_super_block, s_mount_opts);
	uint64_t now = (uint64_t)ck->ctx->now_sec;

	if (ck->left[DAFS_CHECK_DAMAGE]) {
		sb->s_state &= (uint16_t)~EXT2_VALID_FS;
	} else {
		ck->rep->result.made_valid = !(sb->s_state & EXT2_VALID_FS);
		sb->s_state = EXT2_VALID_FS;
		memset((uint8_t *)sb + first, 0, end - first);
	}
	sb->s_mnt_count = 0;
	sb->s_lastcheck = (uint32_t)now;
	sb->s_lastcheck_hi = (uint8_t)(now >> 32);
	if (!ck->changes)
		return;
	sb->s_wtime = (uint32_t)now;
	sb->s_wtime_hi = (uint8_t)(now >> 32);
}

static errcode_t encode(struct dafs_ck *ck)
{
	errcode_t err;

	finish_super(ck);
	err = put_super(ck, 0);
	if (!err)
		err = put_descriptors(ck, 0);
	for (uint32_t grp = 1; grp < ck->g.groups && ck->backups && !err; grp++) {
		if (!dafs_ck_has_super(ck, grp))
			continue;
		err = put_super(ck, grp);
		if (!err)
			err = put_descriptors(ck, grp);
	}
	return err;
}

/* ---- the commit ---- */

/* May the journal on the device carry the repairs? Only if whoever replays it finds it there and
 * sees the same blocks: its inode, its superblock and the descriptors are as they were. */
static bool journal_usable(struct dafs_ck *ck)
{
	uint8_t was[SUPERBLOCK_SIZE];
	const struct ext2_super_block *sb = (const void *)was;

	if (!ext2fs_has_feature_journal(&ck->sb) || !ck->sb.s_journal_inum || ck->sb_blk ||
	    ck->gd_grp || ck->layout_moved)
		return false;
	if (dafs_dev_read(ck->dev, was, sizeof(was), SUPERBLOCK_OFFSET))
		return false;
	if (sb->s_magic != EXT2_SUPER_MAGIC || sb->s_journal_inum != ck->sb.s_journal_inum ||
	    !ext2fs_has_feature_journal((struct ext2_super_block *)was) ||
	    memcmp(sb->s_uuid, ck->sb.s_uuid, sizeof(sb->s_uuid)))
		return false;
	if (!dafs_ck_inode_unchanged(ck, sb->s_journal_inum) || dafs_image_wrap_journal(&ck->img))
		return false;
	return dafs_image_journal_untouched(&ck->img);
}

/* Is there nothing to be written but the time of the check? */
static bool untouched(const struct dafs_ck *ck)
{
	const struct dafs_check_result *r = &ck->rep->result;

	return !ck->changes && !r->tidied && !r->bad_list && !r->unshared && !ck->sb_blk &&
	       ck->sb.s_state == EXT2_VALID_FS && !ck->sb.s_error_count;
}

errcode_t dafs_ck_commit(struct dafs_ck *ck)
{
	errcode_t err = 0;

	if (ck->rep->result.clean_skipped || (ck->opts->leave_sound && untouched(ck)))
		return 0;
	err = encode(ck);
	if (err || !dafs_txn_live_blks(&ck->img))
		return err;
	if (!journal_usable(ck) ||
	    dafs_txn_live_blks(&ck->img) + 1 > dafs_txn_capacity_blks(&ck->img))
		dafs_image_drop_journal(&ck->img);
	if (ck->undo)
		err = dafs_undo_save_txn(ck->undo, &ck->img);
	if (!err)
		err = dafs_txn_commit_blks(&ck->img);
	for (size_t i = 0; i < ck->zeros.n && !err; i++) {
		const struct dafs_ck_range *r = (struct dafs_ck_range *)ck->zeros.v + i;

		err = dafs_dev_zero(ck->dev, r->start << ck->g.block_bits,
				    r->len << ck->g.block_bits);
	}
	if (!err)
		err = dafs_dev_sync(ck->dev);
	ck->rep->result.committed = !err;
	return err;
}
