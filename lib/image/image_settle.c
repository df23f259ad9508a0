/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image_settle - what an interrupted commit left, finished when an image is opened: by a writer on
 * disk, by a reader in memory.
 *
 * Three things may be found: a journal with transactions in it; a redo record beside an image
 * without a journal; and a superblock whose two halves (of 512 bytes, what a disk writes at once)
 * are not of one version, so that its checksum fails. The last is believed only as far as it takes
 * to find one of the first two, or to see that it was the flag needs_recovery that was being
 * written; otherwise it is a corrupt superblock.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_int.h"
#include "image/redo.h"
#include "image/txn_int.h"

/* The image is settled: believe the superblock again, and only a good one. */
static errcode_t reload(struct dafs_image *img)
{
	img->super_torn = false;
	return dafs_image_reload(img);
}

static errcode_t hold_block(void *arg, uint64_t pblk, const uint8_t *data)
{
	return dafs_txn_hold((struct dafs_image *)arg, pblk, data);
}

/* A redo record beside an image without a journal. */
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

	if (dafs_journal_needs_recovery(j))
		dafs_notice(img->ctx, "%s: replaying the journal", img->dev->address);
	err = dafs_journal_replay(j, write_entry, img);
	if (!err)
		err = take_over_errno(img);
	if (!err)
		err = dafs_dev_sync(img->dev);
	return err ? err : dafs_journal_empty(j);
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
	return err ? err : reload(img);
}

/* Was it the flag needs_recovery whose write was torn? Then the superblock is right with the flag
 * as it was; the journal is empty whenever that flag is written. */
static errcode_t settle_flag(struct dafs_image *img)
{
	uint64_t pblk = dafs_super_pblk(img);
	struct ext2_super_block *sb;
	uint8_t *block;
	errcode_t err;

	block = malloc(img->block_size);
	if (!block)
		return ENOMEM;
	err = dafs_image_read_blks(img, pblk, 1, block);
	sb = (struct ext2_super_block *)(block + (SUPERBLOCK_OFFSET & (img->block_size - 1)));
	if (!err) {
		sb->s_feature_incompat ^= EXT3_FEATURE_INCOMPAT_RECOVER;
		if (!ext2fs_superblock_csum_verify(img->fs, sb))
			goto out;
		if (img->flags & DAFS_IMAGE_RW)
			err = dafs_dev_write(img->dev, sb, sizeof(*sb), SUPERBLOCK_OFFSET);
		else
			err = dafs_txn_hold(img, pblk, block);
	}
	if (!err)
		err = reload(img);
out:
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
		err = img->has_journal ? settle_journal(img) : settle_redo(img);
	if (!err && img->super_torn)
		err = dafs_fail(img->ctx, EXT2_ET_SB_CSUM_INVALID, "%s: superblock",
				img->dev->address);
	return err;
}
