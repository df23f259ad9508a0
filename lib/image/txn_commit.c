/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn_commit - the commit: from "collecting" to "image as it was to become", by way of the journal
 * or a redo record. The order of the writes and syncs is in txn.h.
 */
#include "config.h"

#include "image/txn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "image/group.h"
#include "image/image_int.h"
#include "image/journal_int.h"
#include "image/redo.h"
#include "image/txn_int.h"

enum {
	MARK_BYTES = 8,
	TAG_BYTES_MAX = 64,
	/* Live blocks of one transaction without a journal: they stand in memory twice. */
	REDO_BYTES_MAX = 256 << 20,
};

enum dafs_txn_stop dafs_txn_stop;

/* --- the mark of a tag --- */

static void set_mark(struct dafs_image *img, struct ext2_super_block *sb,
		     const uint8_t mark[MARK_BYTES])
{
	sb->s_snapshot_id = dafs_image_content_sum(img, sb);
	memcpy(&sb->s_snapshot_r_blocks_count, mark, MARK_BYTES);
}

static void mark_of(const void *tag, size_t tag_len, uint8_t mark[MARK_BYTES])
{
	uint8_t digest[EXT2FS_SHA512_LENGTH];

	ext2fs_sha512(tag, tag_len, digest);
	memcpy(mark, digest, MARK_BYTES);
}

bool dafs_txn_last_tag_is(const struct dafs_image *img, const void *tag, size_t tag_len)
{
	const struct ext2_super_block *sb = img->fs->super;
	uint8_t mark[MARK_BYTES];

	mark_of(tag, tag_len, mark);
	return memcmp(&sb->s_snapshot_r_blocks_count, mark, MARK_BYTES) == 0;
}

uint32_t dafs_txn_last_content_sum(const struct dafs_image *img)
{
	return img->fs->super->s_snapshot_id;
}

/* --- the steps --- */

static bool by_journal(const struct dafs_txn *txn)
{
	return txn->journal && !txn->bypass;
}

uint64_t dafs_txn_capacity_blks(const struct dafs_image *img)
{
	const struct dafs_txn *txn = img->txn;

	if (by_journal(txn))
		return dafs_journal_capacity_blks(txn->journal, txn->n_revoked);
	return txn->creating ? UINT64_MAX : (uint64_t)REDO_BYTES_MAX >> img->block_bits;
}

/* Everything the superblock gets at the commit itself: the mark, and needs_recovery in the
 * journal's copy. */
static errcode_t finish_super(struct dafs_image *img, const void *tag, size_t tag_len)
{
	struct ext2_super_block *sb;
	uint8_t mark[MARK_BYTES];
	errcode_t err = dafs_super_get(img, &sb);

	if (err)
		return err;
	if (tag_len) {
		mark_of(tag, tag_len, mark);
		set_mark(img, sb, mark);
		set_mark(img, img->fs->super, mark);
	}
	if (by_journal(img->txn))
		sb->s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
	dafs_super_seal(img, sb);
	return 0;
}

static errcode_t stop_here(struct dafs_image *img)
{
	return dafs_fail(img->ctx, DAFS_ET_CANCELLED, "%s: stopped by a test", img->dev->address);
}

static errcode_t list_revokes(const struct dafs_txn *txn, uint64_t **list)
{
	struct dafs_revoked *rev, *next;
	size_t n = 0;

	*list = calloc(txn->n_revoked ? txn->n_revoked : 1, sizeof(**list));
	if (!*list)
		return ENOMEM;
	HASH_ITER(hh, txn->revoked, rev, next)
		(*list)[n++] = rev->pblk;
	return 0;
}

static errcode_t save_journal(struct dafs_image *img, const struct dafs_journal_block *live,
			      size_t n)
{
	uint64_t *revokes;
	errcode_t err = list_revokes(img->txn, &revokes);

	if (!err)
		err = dafs_journal_write(img->txn->journal, live, n, revokes, img->txn->n_revoked);
	free(revokes);
	return err;
}

static errcode_t save_redo(struct dafs_image *img, const struct dafs_journal_block *live, size_t n)
{
	uint8_t was[SUPERBLOCK_SIZE];
	struct ext2_super_block *is;
	void *record = NULL;
	size_t len;
	errcode_t err;

	/* New blocks are durable before the record that makes them count. */
	err = dafs_dev_sync(img->dev);
	if (!err)
		err = dafs_dev_read(img->dev, was, sizeof(was), SUPERBLOCK_OFFSET);
	if (!err)
		err = dafs_super_get(img, &is);
	if (!err)
		err = dafs_redo_make(img, live, n, was, is, &record, &len);
	if (!err && img->txn->redo)
		err = img->txn->redo->save(img->txn->redo_arg, record, len);
	else if (!err)
		err = dafs_redo_save_file(img, record, len);
	free(record);
	return err;
}

static errcode_t drop_saved(struct dafs_image *img)
{
	if (by_journal(img->txn))
		return dafs_journal_empty(img->txn->journal);
	if (img->txn->redo)
		return img->txn->redo->drop(img->txn->redo_arg);
	return dafs_redo_remove_file(img->ctx, img->dev, img->fs->super->s_uuid);
}

static errcode_t checkpoint(struct dafs_image *img, const struct dafs_journal_block *live, size_t n)
{
	errcode_t err;

	if (dafs_txn_stop == DAFS_TXN_STOP_IN_CHECKPOINT) {
		err = dafs_txn_write_sorted(img, live + n / 2, n - n / 2);
		return err ? err : stop_here(img);
	}
	err = dafs_txn_write_sorted(img, live, n);
	return err ? err : dafs_dev_sync(img->dev);
}

/* A created image: nothing to protect. */
static errcode_t commit_creating(struct dafs_image *img)
{
	struct dafs_journal_block *live = NULL;
	errcode_t err = dafs_txn_flush_new(img, true);
	size_t n = 0;

	if (!err)
		err = dafs_txn_list(img->txn, DAFS_TBLK_LIVE, &live, &n);
	if (!err)
		err = dafs_txn_write_sorted(img, live, n);
	free(live);
	return err;
}

static errcode_t commit_live(struct dafs_image *img)
{
	struct dafs_journal_block *live = NULL;
	errcode_t err = dafs_txn_flush_new(img, true);
	size_t n = 0;

	if (!err)
		err = dafs_txn_list(img->txn, DAFS_TBLK_LIVE, &live, &n);
	if (!err && dafs_txn_stop == DAFS_TXN_STOP_BEFORE_COMMIT)
		err = stop_here(img);
	if (!err)
		err = by_journal(img->txn) ? save_journal(img, live, n) : save_redo(img, live, n);
	if (!err && dafs_txn_stop == DAFS_TXN_STOP_AFTER_COMMIT)
		err = stop_here(img);
	if (!err)
		err = checkpoint(img, live, n);
	if (!err)
		err = drop_saved(img);
	free(live);
	return err;
}

errcode_t dafs_txn_commit(struct dafs_image *img, const void *tag, size_t tag_len)
{
	struct dafs_txn *txn = img->txn;
	errcode_t err;

	if (img->failed)
		return dafs_fail(img->ctx, DAFS_ET_HANDLE_FAILED, "%s", img->dev->address);
	if (!txn->collecting)
		return dafs_fail(img->ctx, DAFS_ET_SEQUENCE, "commit outside a transaction");
	if (tag_len > TAG_BYTES_MAX)
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "commit tag of %zu bytes", tag_len);
	err = dafs_groups_encode(img);
	if (!err && !txn->creating)
		err = finish_super(img, tag, tag_len);
	if (!err && txn->n_live > dafs_txn_capacity_blks(img))
		return dafs_fail(img->ctx, DAFS_ET_JOURNAL_FULL,
				 "%s: %zu blocks to change, room for %" PRIu64
				 " in one transaction",
				 img->dev->address, txn->n_live, dafs_txn_capacity_blks(img));
	if (!err)
		err = txn->creating ? commit_creating(img) : commit_live(img);
	if (err) {
		img->failed = true;
		dafs_txn_end(img, false);
		return err;
	}
	dafs_txn_end(img, true);
	return 0;
}

errcode_t dafs_txn_commit_replay(struct dafs_image *img, uint32_t tid)
{
	struct dafs_journal_block *live = NULL;
	struct ext2_super_block *sb;
	errcode_t err = dafs_groups_encode(img);
	size_t n = 0;

	if (!err)
		err = dafs_super_get(img, &sb);
	if (!err) {
		sb->s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
		dafs_super_seal(img, sb);
		err = dafs_txn_flush_new(img, true);
	}
	if (!err)
		err = dafs_txn_list(img->txn, DAFS_TBLK_LIVE, &live, &n);
	if (!err)
		err = dafs_journal_replace(img->txn->journal, tid, live, n);
	if (!err || err == DAFS_ET_JOURNAL_FULL)
		err = checkpoint(img, live, n);
	free(live);
	dafs_txn_end(img, !err);
	return err;
}

/* The superblock among the blocks says that the journal, which it will be read from, is in use. */
static errcode_t mark_super(struct dafs_image *img)
{
	struct ext2_super_block *sb;
	errcode_t err;

	if (!img->txn->journal)
		return 0;
	err = dafs_super_get(img, &sb);
	if (err)
		return err;
	sb->s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
	dafs_super_seal(img, sb);
	return 0;
}

errcode_t dafs_txn_commit_blks(struct dafs_image *img)
{
	struct dafs_txn *txn = img->txn;
	errcode_t err;

	if (img->failed)
		return dafs_fail(img->ctx, DAFS_ET_HANDLE_FAILED, "%s", img->dev->address);
	if (!txn->collecting || txn->creating)
		return dafs_fail(img->ctx, DAFS_ET_SEQUENCE, "commit outside a transaction");
	err = mark_super(img);
	/* (A redo record may be of any size here: there is no smaller step to take.) */
	if (!err && txn->journal && txn->n_live > dafs_txn_capacity_blks(img))
		return dafs_fail(img->ctx, DAFS_ET_JOURNAL_FULL, "%s: %zu blocks to change",
				 img->dev->address, txn->n_live);
	if (!err)
		err = commit_live(img);
	if (err)
		img->failed = true;
	dafs_txn_end(img, !err);
	return err;
}

errcode_t dafs_txn_redo(struct dafs_image *img, const void *record, size_t len_bytes)
{
	errcode_t err;

	if (img->txn->collecting || !(img->flags & DAFS_IMAGE_RW))
		return dafs_fail(img->ctx, DAFS_ET_SEQUENCE,
				 "redo inside a transaction or for reading");
	err = dafs_redo_apply(img->ctx, img->dev, record, len_bytes);
	return err ? err : dafs_image_reload(img);
}
