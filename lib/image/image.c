/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image - see image.h. Opening is a row of steps, each of which refuses before anything is changed:
 * device, lock, superblock as it lies on disk, features, size, state; then libext2fs' handle over
 * the device.
 */
#include "config.h"

#include "image/image.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/feature.h"
#include "image/group.h"
#include "image/image_int.h"
#include "image/txn_int.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "ext4's on-disk structures are used as they are");

enum { SUPER_BYTES = 1024, SUPER_OFF = 1024, MAX_LOG_BLOCK_SIZE = 6 };

/* What else lies there, for the message: the type libblkid sees, or nothing. */
static errcode_t not_ext(struct dafs_image *img)
{
	blkid_probe probe = blkid_new_probe();
	const char *type = NULL;
	errcode_t err;

	if (probe &&
	    blkid_probe_set_device(probe, img->dev->fd, (blkid_loff_t)img->dev->start_bytes,
				   (blkid_loff_t)img->dev->size_bytes) == 0 &&
	    blkid_do_safeprobe(probe) == 0)
		blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
	err = dafs_fail(img->ctx, DAFS_ET_NOT_EXT, "%s%s%s", img->dev->address,
			type ? ": contains " : "", type ? type : "");
	blkid_free_probe(probe);
	return err;
}

static bool super_magic_ok(const struct ext2_super_block *sb)
{
	return ext2fs_le16_to_cpu(sb->s_magic) == EXT2_SUPER_MAGIC &&
	       ext2fs_le32_to_cpu(sb->s_log_block_size) <= MAX_LOG_BLOCK_SIZE;
}

/* Read the superblock: the primary one, or the backup at block *sb_blk of *bs-byte blocks (*bs 0:
 * every size is tried). */
static errcode_t read_super(struct dafs_image *img, uint64_t sb_blk, uint32_t *bs,
			    struct ext2_super_block *sb)
{
	uint32_t try_bs = *bs ? *bs : 1024, last_bs = *bs ? *bs : 1024u << MAX_LOG_BLOCK_SIZE;
	errcode_t err;

	if (!sb_blk) {
		if (img->dev->size_bytes < SUPER_OFF + SUPER_BYTES)
			return not_ext(img);
		err = dafs_dev_read(img->dev, sb, SUPER_BYTES, SUPER_OFF);
		return err ? err : super_magic_ok(sb) ? 0 : not_ext(img);
	}
	for (; try_bs <= last_bs; try_bs *= 2) {
		if (sb_blk > (img->dev->size_bytes - SUPER_BYTES) / try_bs)
			break;
		err = dafs_dev_read(img->dev, sb, SUPER_BYTES, sb_blk * try_bs);
		if (err)
			return err;
		if (super_magic_ok(sb) &&
		    1024u << ext2fs_le32_to_cpu(sb->s_log_block_size) == try_bs) {
			*bs = try_bs;
			return 0;
		}
	}
	return dafs_fail(img->ctx, DAFS_ET_NOT_EXT, "%s: no backup superblock at block %" PRIu64,
			 img->dev->address, sb_blk);
}

/* The file system must fit into the room there is. */
static errcode_t check_size(struct dafs_image *img, const struct ext2_super_block *sb)
{
	uint32_t block_size = 1024u << ext2fs_le32_to_cpu(sb->s_log_block_size);
	uint64_t blocks = ext2fs_le32_to_cpu(sb->s_blocks_count);

	if (ext2fs_le32_to_cpu(sb->s_feature_incompat) & EXT4_FEATURE_INCOMPAT_64BIT)
		blocks |= (uint64_t)ext2fs_le32_to_cpu(sb->s_blocks_count_hi) << 32;
	if (img->flags & DAFS_IMAGE_TRUNCATED_OK)
		return 0;
	if (blocks > (uint64_t)INT64_MAX / block_size || blocks * block_size > img->dev->size_bytes)
		return dafs_fail(img->ctx, DAFS_ET_TRUNCATED,
				 "%s: %" PRIu64 " bytes, its file system has %" PRIu64
				 " blocks of %" PRIu32 " bytes",
				 img->dev->address, img->dev->size_bytes, blocks, block_size);
	return 0;
}

/* Not after a crash of others, and not with errors that a check should see first. */
static errcode_t check_state(struct dafs_image *img)
{
	unsigned state = img->fs->super->s_state;

	if (!(img->flags & DAFS_IMAGE_RW) || (img->flags & DAFS_IMAGE_ANY_STATE))
		return 0;
	if (state & EXT2_ERROR_FS)
		return dafs_fail(img->ctx, DAFS_ET_FS_ERRORS, "%s", img->dev->address);
	if (!(state & EXT2_VALID_FS))
		return dafs_fail(img->ctx, DAFS_ET_FS_ERRORS, "%s: not cleanly unmounted",
				 img->dev->address);
	return 0;
}

static errcode_t check_super(struct dafs_image *img, struct ext2_super_block *sb)
{
	errcode_t err = read_super(img, img->open_sb, &img->open_bs, sb);

	if (!err && !(img->flags & DAFS_IMAGE_ANY_FEATURE))
		err = dafs_feature_check(img->ctx, img->dev->address, sb,
					 img->flags & DAFS_IMAGE_RW);
	return err ? err : check_size(img, sb);
}

/* Take the numbers everybody needs out of the superblock that libext2fs has accepted. */
void dafs_image_fill_numbers(struct dafs_image *img)
{
	struct ext2_super_block *sb = img->fs->super;

	img->block_size = img->fs->blocksize;
	img->block_bits = sb->s_log_block_size + 10;
	img->cluster_bits = (unsigned)img->fs->cluster_ratio_bits;
	img->inode_size = EXT2_INODE_SIZE(sb);
	img->csum_seed = img->fs->csum_seed;
	img->blocks = ext2fs_blocks_count(sb);
	img->first_data_block = sb->s_first_data_block;
	img->has_csum = ext2fs_has_feature_metadata_csum(sb);
	img->has_extents = ext2fs_has_feature_extents(sb);
	img->has_inline_data = ext2fs_has_feature_inline_data(sb);
	img->has_ea_inode = ext2fs_has_feature_ea_inode(sb);
	img->has_filetype = ext2fs_has_feature_filetype(sb);
	img->has_dir_index = ext2fs_has_feature_dir_index(sb);
	img->has_large_dir = ext2fs_has_feature_largedir(sb);
	img->has_casefold = ext2fs_has_feature_casefold(sb);
	img->has_64bit = ext2fs_has_feature_64bit(sb);
	img->has_bigalloc = ext2fs_has_feature_bigalloc(sb);
	img->has_huge_file = ext2fs_has_feature_huge_file(sb);
	img->has_dir_nlink = ext2fs_has_feature_dir_nlink(sb);
	img->has_quota = ext2fs_has_feature_quota(sb);
	img->has_journal = ext2fs_has_feature_journal(sb);
}

/* libext2fs' handle. Its superblock checks are the second line: sizes, geometry, checksum. */
static errcode_t open_fs(struct dafs_image *img)
{
	int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP | EXT2_FLAG_SOFTSUPP_FEATURES;
	uint64_t sb_blk = img->open_sb;
	char name[32];
	errcode_t err;

	if (img->flags & DAFS_IMAGE_RW)
		flags |= EXT2_FLAG_RW;
	if ((img->flags & DAFS_IMAGE_IGNORE_CSUM) || img->super_torn)
		flags |= EXT2_FLAG_IGNORE_CSUM_ERRORS;
	if (img->flags & DAFS_IMAGE_ANY_FEATURE)
		flags |= EXT2_FLAG_FORCE | EXT2_FLAG_JOURNAL_DEV_OK;
	dafs_dev_io_name(img->dev, name);
	err = ext2fs_open2(name, NULL, flags, (int)sb_blk, sb_blk ? img->open_bs : 0,
			   dafs_dev_io_manager(), &img->fs);
	if (err)
		return dafs_fail(img->ctx, err, "%s: superblock", img->dev->address);
	dafs_image_fill_numbers(img);
	return 0;
}

errcode_t dafs_image_open_fs(struct dafs_image *img)
{
	errcode_t err = open_fs(img);

	return err ? err : dafs_groups_open(img);
}

errcode_t dafs_image_reload(struct dafs_image *img)
{
	dafs_groups_close(img);
	if (img->fs)
		ext2fs_free(img->fs);
	img->fs = NULL;
	return dafs_image_open_fs(img);
}

/* --- open and close --- */

static errcode_t open_steps(struct dafs_image *img, const char *address)
{
	bool write = img->flags & DAFS_IMAGE_RW;
	struct ext2_super_block sb;
	errcode_t err;

	if (img->open_sb > INT32_MAX)
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "%s: backup superblock at block %" PRIu64,
				 address, img->open_sb);
	err = dafs_dev_open(img->ctx, address, write ? DAFS_DEV_RW | DAFS_DEV_EXCL : 0, &img->dev);
	if (err)
		return err;
	img->lock_fd = img->dev->fd;
	err = dafs_image_lock(img);
	if (!err)
		err = check_super(img, &sb);
	if (!err)
		err = dafs_image_open_fs(img);
	if (err == EXT2_ET_SB_CSUM_INVALID && !(img->flags & DAFS_IMAGE_NO_REPLAY)) {
		/* A commit may have been cut off while it wrote the superblock. */
		img->super_torn = true;
		err = dafs_image_reload(img);
	}
	if (!err && write)
		err = dafs_mmp_take(img);
	if (!err)
		err = dafs_txn_attach(img, false);
	if (!err)
		err = dafs_image_settle(img);
	return err ? err : check_state(img);
}

errcode_t dafs_image_open(struct dafs_ctx *ctx, const char *address, int flags, uint64_t backup_sb,
			  uint32_t backup_bs, struct dafs_image **ret)
{
	struct dafs_image *img = calloc(1, sizeof(*img));
	errcode_t err;

	*ret = NULL;
	if (!img)
		return ENOMEM;
	img->ctx = ctx;
	img->flags = flags;
	img->lock_fd = -1;
	img->open_sb = backup_sb;
	img->open_bs = backup_bs;
	err = open_steps(img, address);
	if (err)
		dafs_image_close(img);
	else
		*ret = img;
	return err;
}

void dafs_image_close(struct dafs_image *img)
{
	if (!img)
		return;
	if (img->dev && img->fs)
		dafs_mmp_give(img);
	dafs_txn_detach(img);
	dafs_groups_close(img);
	if (img->fs)
		ext2fs_free(img->fs);
	dafs_dev_close(img->dev);
	free(img);
}

/* --- reading, and what identifies the state --- */

errcode_t dafs_image_read_blks(struct dafs_image *img, uint64_t pblk, uint64_t count, void *buf)
{
	const struct dafs_dev_overlay *over = img->dev->overlay;
	uint64_t off = pblk << img->block_bits, len = count << img->block_bits;
	errcode_t err;

	if (count > img->blocks || pblk > img->blocks - count)
		return dafs_fail(img->ctx, DAFS_ET_RANGE,
				 "%s: block %" PRIu64 " is outside the file system",
				 img->dev->address, pblk);
	err = dafs_dev_read(img->dev, buf, len, off);
	if (!err && over)
		err = over->patch(over->arg, off, len, buf);
	return err;
}

static uint64_t mix(uint64_t print, const void *data, size_t len)
{
	const uint8_t *at = data;

	/* FNV-1a. */
	for (size_t i = 0; i < len; i++)
		print = (print ^ at[i]) * 0x100000001b3u;
	return print;
}

/* A full e2fsck writes some of a descriptor anew although nothing has changed: that the bitmap of a
 * group with nothing in it is not in use, and how far the inode table is; with them go the
 * checksums of what is free throughout. */
static void reduce_desc(const struct dafs_image *img, uint32_t grp, struct ext4_group_desc *desc)
{
	bool wide = EXT2_DESC_SIZE(img->fs->super) >= EXT2_MIN_DESC_SIZE_64BIT;

	desc->bg_checksum = 0;
	desc->bg_itable_unused = 0;
	desc->bg_flags &= ~(uint32_t)(EXT2_BG_BLOCK_UNINIT | EXT2_BG_INODE_UNINIT);
	if (wide)
		desc->bg_itable_unused_hi = 0;
	if (ext2fs_bg_free_blocks_count(img->fs, grp) == dafs_group_clusters(img, grp)) {
		desc->bg_block_bitmap_csum_lo = 0;
		if (wide)
			desc->bg_block_bitmap_csum_hi = 0;
	}
	if (ext2fs_bg_free_inodes_count(img->fs, grp) == img->fs->super->s_inodes_per_group) {
		desc->bg_inode_bitmap_csum_lo = 0;
		if (wide)
			desc->bg_inode_bitmap_csum_hi = 0;
	}
}

uint32_t dafs_image_content_sum(const struct dafs_image *img, struct ext2_super_block *sb)
{
	const uint32_t counts[] = { sb->s_blocks_count, sb->s_blocks_count_hi,
				    sb->s_free_blocks_count, sb->s_free_blocks_hi,
				    sb->s_free_inodes_count };
	uint32_t sum = dafs_crc32c(~0u, counts, sizeof(counts));
	size_t len = EXT2_DESC_SIZE(sb);
	struct ext4_group_desc desc = { 0 };

	if (len > sizeof(desc))
		len = sizeof(desc);
	for (uint32_t grp = 0; grp < img->fs->group_desc_count; grp++) {
		memcpy(&desc, ext2fs_group_desc(img->fs, img->fs->group_desc, grp), len);
		reduce_desc(img, grp, &desc);
		sum = dafs_crc32c(sum, &desc, len);
	}
	return sum;
}

/* The image's journal, NULL where it has none; *own: opened for the caller, who closes it. */
static errcode_t journal_of(struct dafs_image *img, struct dafs_journal **j,
			    struct dafs_journal **own)
{
	errcode_t err;

	*j = img->txn->journal;
	*own = NULL;
	if (!img->has_journal || *j || (img->flags & DAFS_IMAGE_NO_REPLAY))
		return 0;
	err = dafs_journal_open(img, own);
	*j = *own;
	return err;
}

errcode_t dafs_image_journal_sequence(struct dafs_image *img, uint32_t *sequence)
{
	struct dafs_journal *j, *own;
	errcode_t err = journal_of(img, &j, &own);

	*sequence = 0;
	if (!err && j)
		err = dafs_journal_sequence(j, sequence);
	dafs_journal_close(own);
	return err;
}

errcode_t dafs_image_journal_commits_after(struct dafs_image *img, uint32_t tid, bool *later)
{
	struct dafs_journal *j, *own;
	errcode_t err = journal_of(img, &j, &own);

	*later = false;
	if (!err && j)
		err = dafs_journal_commits_after(j, tid, later);
	dafs_journal_close(own);
	return err;
}

/* All that whoever writes to the image leaves in the superblock, less what is the same in other
 * words. */
static uint32_t super_sum(const struct ext2_super_block *super)
{
	struct ext2_super_block sb = *super;

	/* The counts may be behind those of the descriptors, and the journal may be about to be
	 * emptied. */
	ext2fs_free_blocks_count_set(&sb, 0);
	sb.s_free_inodes_count = 0;
	sb.s_feature_incompat &= ~(uint32_t)EXT3_FEATURE_INCOMPAT_RECOVER;
	sb.s_checksum = 0;
	return dafs_crc32c(~0u, &sb, sizeof(sb));
}

errcode_t dafs_image_fingerprint(struct dafs_image *img, uint8_t uuid[16], uint64_t *print)
{
	struct ext2_super_block *sb = img->fs->super;
	uint64_t value = 0xcbf29ce484222325u;
	uint64_t free_clusters = dafs_group_total_free_clusters(img);
	uint64_t free_inodes = dafs_group_total_free_inodes(img);
	uint32_t sequence, descs, super = super_sum(sb);
	errcode_t err = dafs_image_journal_sequence(img, &sequence);

	*print = 0;
	memcpy(uuid, sb->s_uuid, 16);
	if (err)
		return err;
	descs = dafs_crc32c(~0u, img->fs->group_desc,
			    (size_t)img->fs->group_desc_count * EXT2_DESC_SIZE(sb));
	value = mix(value, &super, sizeof(super));
	value = mix(value, &free_clusters, sizeof(free_clusters));
	value = mix(value, &free_inodes, sizeof(free_inodes));
	value = mix(value, &sequence, sizeof(sequence));
	*print = mix(value, &descs, sizeof(descs));
	return 0;
}
