/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image_create - an image between its making in memory and its first valid superblock: nothing of
 * it is live, so everything is written in place, and the superblock last.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "image/group.h"
#include "image/image_int.h"
#include "image/txn_int.h"

errcode_t dafs_image_from_new(struct dafs_ctx *ctx, struct dafs_dev *dev, ext2_filsys fs,
			      struct dafs_image **ret)
{
	struct dafs_image *img = calloc(1, sizeof(*img));
	errcode_t err = 0;

	*ret = NULL;
	if (!img)
		return ENOMEM;
	img->ctx = ctx;
	img->dev = dev;
	img->fs = fs;
	img->flags = DAFS_IMAGE_RW;
	img->lock_fd = dev->fd;
	dafs_image_fill_numbers(img);
	/* From here on the bitmaps are the groups', as they are on disk. */
	if (fs->block_map || fs->inode_map)
		err = ext2fs_write_bitmaps(fs);
	if (err) {
		dafs_fail(ctx, err, "%s: bitmaps", dev->address);
	} else {
		ext2fs_free_block_bitmap(fs->block_map);
		ext2fs_free_inode_bitmap(fs->inode_map);
		fs->block_map = NULL;
		fs->inode_map = NULL;
		err = dafs_groups_open(img);
	}
	if (!err)
		err = dafs_txn_attach(img, true);
	if (!err) {
		*ret = img;
		return 0;
	}
	/* Not taken over: fs and dev stay the caller's. */
	img->fs = NULL;
	img->dev = NULL;
	dafs_groups_close(img);
	free(img);
	return err;
}

errcode_t dafs_image_finish_create(struct dafs_image *img)
{
	errcode_t err;

	if (!img->txn->creating || img->txn->collecting)
		return dafs_fail(img->ctx, DAFS_ET_SEQUENCE,
				 "%s: finish of an image that is not being created",
				 img->dev->address);
	if (img->failed)
		return dafs_fail(img->ctx, DAFS_ET_HANDLE_FAILED, "%s", img->dev->address);
	ext2fs_free_blocks_count_set(img->fs->super, dafs_group_total_free_clusters(img)
							     << img->cluster_bits);
	img->fs->super->s_free_inodes_count = (uint32_t)dafs_group_total_free_inodes(img);
	/* libext2fs writes descriptors and copies, syncs, writes the primary superblock, syncs: all
	 * that it refers to, data included, is durable before it is there. */
	img->fs->super->s_kbytes_written += img->dev->written_bytes >> 10;
	ext2fs_mark_super_dirty(img->fs);
	err = ext2fs_flush2(img->fs, 0);
	if (err)
		dafs_fail(img->ctx, err, "%s: superblock", img->dev->address);
	if (!err) {
		img->txn->creating = false;
		if (img->has_journal && img->fs->super->s_journal_inum)
			err = dafs_journal_open(img, &img->txn->journal);
	}
	if (err)
		img->failed = true;
	return err;
}
