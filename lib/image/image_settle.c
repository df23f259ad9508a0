/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image_settle - what an interrupted commit left, finished when an image is opened: by a writer on
 * disk, by a reader in memory.
 *
 * Three things may be found: a journal with transactions in it; a redo record beside the image;
 * and a superblock whose two halves (of 512 bytes, what a disk writes at once)
 * are not of one version, so that its checksum fails. The last is believed only as far as it takes
 * to find one of the first two, or to see that it was the flag needs_recovery that was being
 * written; otherwise it is a corrupt superblock.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/fc_int.h"
#include "image/group.h"
#include "image/image_int.h"
#include "image/redo.h"
#include "image/txn_int.h"

/* The image is settled: believe the superblock again, and only a good one. */
static errcode_t reload(struct dafs_image *img)
{
	img->super_torn = false;
	return dafs_image_reload(img);
}

/* The block with the superblock as readers see it (malloc'ed), and the superblock in it. */
static errcode_t read_super_block(struct dafs_image *img, uint8_t **block,
				  struct ext2_super_block **sb)
{
	errcode_t err;

	*block = malloc(img->block_size);
	if (!*block)
		return ENOMEM;
	*sb = (struct ext2_super_block *)(*block + (SUPERBLOCK_OFFSET & (img->block_size - 1)));
	err = dafs_image_read_blks(img, dafs_super_pblk(img), 1, *block);
	if (err) {
		free(*block);
		*block = NULL;
	}
	return err;
}

/* Give it new contents: on disk for a writer, over the disk for a reader. */
static errcode_t put_super_block(struct dafs_image *img, const uint8_t *block,
				 const struct ext2_super_block *sb)
{
	if (!(img->flags & DAFS_IMAGE_RW))
		return dafs_txn_hold(img, dafs_super_pblk(img), block);
	return dafs_dev_write(img->dev, sb, sizeof(*sb), SUPERBLOCK_OFFSET);
}

static errcode_t hold_block(void *arg, uint64_t pblk, const uint8_t *data)
{
	return dafs_txn_hold((struct dafs_image *)arg, pblk, data);
}

/* A redo record beside the image. (One with a journal gets it from repairs that could not use the
 * journal.) */
static errcode_t settle_redo(struct dafs_image *img)
{
	bool write = img->flags & DAFS_IMAGE_RW;
	uint8_t uuid[16];
	void *record;
	size_t len;
	errcode_t err;

	memcpy(uuid, img->fs->super->s_uuid, sizeof(uuid));
	err = dafs_redo_find_file(img->ctx, img->dev, uuid, write, &record, &len);
	if (err || !record)
		return err;
	if (write) {
		dafs_notice(img->ctx, "%s: finishing an interrupted commit", img->dev->address);
		err = dafs_redo_apply(img->ctx, img->dev, record, len);
		if (!err)
			err = dafs_redo_remove_file(img->ctx, img->dev, uuid);
	} else {
		err = dafs_redo_walk(img->ctx, img->dev, record, len, hold_block, img);
	}
	free(record);
	return err ? err : reload(img);
}

/* The kernel leaves an error number in the journal when it could not write the superblock any more.
 * */
static errcode_t take_over_errno(struct dafs_image *img)
{
	struct ext2_super_block sb;
	errcode_t err;

	if (!dafs_journal_errno(img->txn->journal))
		return 0;
	err = dafs_dev_read(img->dev, &sb, sizeof(sb), SUPERBLOCK_OFFSET);
	if (err)
		return err;
	sb.s_state |= EXT2_ERROR_FS;
	dafs_super_seal(img, &sb);
	return dafs_dev_write(img->dev, &sb, sizeof(sb), SUPERBLOCK_OFFSET);
}

static errcode_t write_entry(void *arg, uint64_t pblk, const uint8_t *data)
{
	struct dafs_image *img = arg;
	errcode_t err = dafs_cancelled(img->ctx);

	return err ? err : dafs_dev_write(img->dev, data, img->block_size, pblk << img->block_bits);
}

static errcode_t replay_to_disk(struct dafs_image *img)
{
	struct dafs_journal *j = img->txn->journal;
	errcode_t err;

	if (dafs_journal_needs_recovery(j) && !(img->flags & DAFS_IMAGE_SALVAGE))
		dafs_notice(img->ctx, "%s: replaying the journal", img->dev->address);
	err = dafs_journal_replay(j, write_entry, img);
	if (!err)
		err = take_over_errno(img);
	return err ? err : dafs_dev_sync(img->dev);
}

/* Whether a replay would write the superblock. */
static bool has_super(const struct dafs_image *img, const struct dafs_replay_entry *entries,
		      size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (entries[i].pblk == dafs_super_pblk(img))
			return true;
	}
	return false;
}

/* A torn superblock is replaced by the one in the log, or not at all. */
static errcode_t check_torn(struct dafs_image *img, struct dafs_journal *j)
{
	struct dafs_replay_entry *entries;
	size_t n;
	errcode_t err;

	if (!img->super_torn)
		return 0;
	err = dafs_journal_replay_map(j, &entries, &n);
	if (!err && !has_super(img, entries, n))
		err = dafs_fail(img->ctx, EXT2_ET_SB_CSUM_INVALID, "%s: superblock",
				img->dev->address);
	free(entries);
	return err;
}

/* The kernel brings the superblock's free counts up to date only when it unmounts; the descriptors
 * are right. */
static errcode_t refresh_counts(struct dafs_image *img)
{
	uint64_t free_blks = dafs_group_total_free_clusters(img) << img->cluster_bits;
	uint32_t free_inodes = (uint32_t)dafs_group_total_free_inodes(img);
	struct ext2_super_block *sb = img->fs->super;
	uint8_t *block;
	errcode_t err;

	if (ext2fs_free_blocks_count(sb) == free_blks && sb->s_free_inodes_count == free_inodes)
		return 0;
	ext2fs_free_blocks_count_set(sb, free_blks);
	sb->s_free_inodes_count = free_inodes;
	err = read_super_block(img, &block, &sb);
	if (!err) {
		ext2fs_free_blocks_count_set(sb, free_blks);
		sb->s_free_inodes_count = free_inodes;
		dafs_super_seal(img, sb);
		err = put_super_block(img, block, sb);
	}
	if (!err)
		err = dafs_dev_sync(img->dev);
	free(block);
	return err;
}

/* Fast commits come on top of what the log made of the image. */
static errcode_t settle_fast_commits(struct dafs_image *img)
{
	struct dafs_journal *j = img->txn->journal;
	bool found = false;
	uint32_t tid;
	errcode_t err;

	if (!dafs_journal_needs_recovery(j))
		return 0;
	err = dafs_journal_sequence(j, &tid);
	if (!err)
		err = dafs_txn_begin_replay(img);
	if (!err)
		err = dafs_fc_replay(img, j, tid - 1, &found);
	if (err || !found) {
		dafs_txn_end(img, false);
		return err;
	}
	j->next_tid = tid + 1;
	if (img->flags & DAFS_IMAGE_RW)
		return dafs_txn_commit_replay(img, tid);
	return dafs_txn_keep_replay(img);
}

/* A dirty journal. One that holds something although the superblock does not say so is not replayed
 * by the kernel, but is by e2fsck: a check should look first. */
static errcode_t settle_journal(struct dafs_image *img)
{
	bool write = img->flags & DAFS_IMAGE_RW;
	bool recover = ext2fs_has_feature_journal_needs_recovery(img->fs->super);
	struct dafs_txn *txn = img->txn;
	errcode_t err;

	if (!write && !recover)
		return 0;
	err = dafs_journal_open(img, &txn->journal);
	if (err)
		return err;
	if (write && !recover && dafs_journal_needs_recovery(txn->journal))
		return dafs_fail(img->ctx, DAFS_ET_FS_ERRORS, "%s: the journal is not empty",
				 img->dev->address);
	if (!recover)
		return 0;
	err = check_torn(img, txn->journal);
	if (!err && write)
		err = replay_to_disk(img);
	else if (!err)
		err = dafs_journal_replay_map(txn->journal, &txn->base, &txn->n_base);
	if (!err)
		err = reload(img);
	if (!err)
		err = settle_fast_commits(img);
	if (!err)
		err = refresh_counts(img);
	if (!err && write)
		err = dafs_journal_empty(txn->journal);
	return err;
}

/* Was it the flag needs_recovery whose write was torn? Then the superblock is right with the flag
 * as it was; the journal is empty whenever that flag is written. */
static errcode_t settle_flag(struct dafs_image *img)
{
	struct ext2_super_block *sb;
	uint8_t *block;
	errcode_t err = read_super_block(img, &block, &sb);

	if (err)
		return err;
	sb->s_feature_incompat ^= EXT3_FEATURE_INCOMPAT_RECOVER;
	if (ext2fs_superblock_csum_verify(img->fs, sb)) {
		err = put_super_block(img, block, sb);
		if (!err)
			err = reload(img);
	}
	free(block);
	return err;
}

errcode_t dafs_image_settle(struct dafs_image *img)
{
	errcode_t err = 0;

	if (img->flags & DAFS_IMAGE_NO_REPLAY)
		return 0;
	if (img->super_torn)
		err = settle_flag(img);
	if (!err)
		err = settle_redo(img);
	if (!err && img->has_journal)
		err = settle_journal(img);
	if (!err && img->super_torn)
		err = dafs_fail(img->ctx, EXT2_ET_SB_CSUM_INVALID, "%s: superblock",
				img->dev->address);
	return err;
}
