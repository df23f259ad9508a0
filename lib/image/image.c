/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image - see image.h. Opening is a row of steps, each of which refuses before anything is changed:
 * device, lock, superblock as it lies on disk, features, size, state; then libext2fs' handle over
 * the device.
 */
#include "config.h"

#include "image/image.h"

#include "image/feature.h"
#include "image/image_int.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
static errcode_t check_state(struct dafs_image *img, const struct ext2_super_block *sb)
{
	unsigned state = ext2fs_le16_to_cpu(sb->s_state);

	if (!(img->flags & DAFS_IMAGE_RW) || (img->flags & DAFS_IMAGE_ANY_STATE))
		return 0;
	if (state & EXT2_ERROR_FS)
		return dafs_fail(img->ctx, DAFS_ET_FS_ERRORS, "%s", img->dev->address);
	if (!(state & EXT2_VALID_FS))
		return dafs_fail(img->ctx, DAFS_ET_FS_ERRORS, "%s: not cleanly unmounted",
				 img->dev->address);
	return 0;
}

static errcode_t check_super(struct dafs_image *img, uint64_t sb_blk, uint32_t *bs)
{
	struct ext2_super_block sb;
	errcode_t err = read_super(img, sb_blk, bs, &sb);

	if (!err && !(img->flags & DAFS_IMAGE_ANY_FEATURE))
		err = dafs_feature_check(img->ctx, img->dev->address, &sb,
					 img->flags & DAFS_IMAGE_RW);
	if (!err)
		err = check_size(img, &sb);
	if (!err)
		err = check_state(img, &sb);
	return err;
}

/* Take the numbers everybody needs out of the superblock that libext2fs has accepted. */
static void fill_numbers(struct dafs_image *img)
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
static errcode_t open_fs(struct dafs_image *img, uint64_t sb_blk, uint32_t bs)
{
	int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP | EXT2_FLAG_SOFTSUPP_FEATURES;
	char name[32];
	errcode_t err;

	if (img->flags & DAFS_IMAGE_RW)
		flags |= EXT2_FLAG_RW;
	if (img->flags & DAFS_IMAGE_IGNORE_CSUM)
		flags |= EXT2_FLAG_IGNORE_CSUM_ERRORS;
	if (img->flags & DAFS_IMAGE_ANY_FEATURE)
		flags |= EXT2_FLAG_FORCE | EXT2_FLAG_JOURNAL_DEV_OK;
	dafs_dev_io_name(img->dev, name);
	err = ext2fs_open2(name, NULL, flags, (int)sb_blk, sb_blk ? bs : 0, dafs_dev_io_manager(),
			   &img->fs);
	if (err)
		return dafs_fail(img->ctx, err, "%s: superblock", img->dev->address);
	fill_numbers(img);
	return 0;
}

static errcode_t open_steps(struct dafs_image *img, const char *address, uint64_t sb_blk,
			    uint32_t bs)
{
	bool rw = img->flags & DAFS_IMAGE_RW;
	errcode_t err;

	if (sb_blk > INT32_MAX)
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "%s: backup superblock at block %" PRIu64,
				 address, sb_blk);
	err = dafs_dev_open(img->ctx, address, rw ? DAFS_DEV_RW | DAFS_DEV_EXCL : 0, &img->dev);
	if (err)
		return err;
	img->lock_fd = img->dev->fd;
	err = dafs_image_lock(img);
	if (!err)
		err = check_super(img, sb_blk, &bs);
	if (!err)
		err = open_fs(img, sb_blk, bs);
	if (!err && ext2fs_has_feature_journal_needs_recovery(img->fs->super) &&
	    !(img->flags & DAFS_IMAGE_NO_REPLAY))
		err = dafs_fail(img->ctx, DAFS_ET_NEEDS_RECOVERY, "%s", address);
	return err;
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
	err = open_steps(img, address, backup_sb, backup_bs);
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
	if (img->fs)
		ext2fs_free(img->fs);
	dafs_dev_close(img->dev);
	free(img);
}

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
