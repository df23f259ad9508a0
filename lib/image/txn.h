/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn - one metadata transaction over an image: what live blocks are to become, and the blocks
 * written in place ahead of it.
 *
 * DESIGN.md section 1, rule 4: a block that the image refers to changes only through the
 * transaction; a block that nothing refers to yet is written in place before the commit. The caller
 * says which it is; dafs_txn_put_new checks it against the committed bitmap.
 *
 * Transition -> function:
 *   idle       -> dafs_txn_begin  -> collecting
 *   collecting -> dafs_txn_put, _put_new, _revoke, dafs_group_take_*, _give_* -> collecting
 *   collecting -> dafs_txn_commit -> idle (image as it was to become) or failed (image->failed)
 *   collecting -> dafs_txn_abort  -> idle (image as it was; blocks put as new are free ones)
 *
 * Commit order, with a journal (five syncs in all):
 *   1. new blocks in place, needs_recovery set, the transaction in the empty log; sync
 *   2. the journal superblock says where it begins; sync. This one block is the commit.
 *   3. checkpoint: the live blocks in place; sync
 *   4. the journal superblock says empty; sync
 *   5. needs_recovery is cleared; sync
 * Without a journal, and for a transaction that is larger than it and has no smaller parts
 * (dafs_txn_bypass_journal), a redo record takes the place of 1's log and of 2, and dropping it
 * that of 4 and 5: only these tools finish such a commit. An image that is being created has
 * nothing live: its commits just write.
 *
 * Exactly once: the tag of a commit leaves a mark in the superblock, which is part of every
 * transaction: 8 bytes of the tag's SHA-512 in s_snapshot_r_blocks_count, and in s_snapshot_id a
 * sum of the descriptors and free counts as the commit leaves them, two fields of a feature that
 * never came to be (no kernel and no e2fsprogs reads them while s_snapshot_inum is 0). So the mark
 * is there exactly when the transaction is, whoever replayed the journal, and it outlives mounts,
 * e2fsck, tune2fs and resize2fs; the next tagged commit replaces it.
 */
#ifndef DAFS_IMAGE_TXN_H
#define DAFS_IMAGE_TXN_H

#include "image/image.h"

struct dafs_txn;

/* Where the redo record of an image without a journal goes. The offline cache supplies a place;
 * without one it is the file that redo.h describes. */
struct dafs_redo_ops {
	errcode_t (*save)(void *arg, const void *record,
			  size_t len_bytes); /* durable when it returns */
	errcode_t (*drop)(void *arg);
};

/* Begin. EROFS on an image opened for reading, DAFS_ET_HANDLE_FAILED after a failed commit,
 * DAFS_ET_SEQUENCE inside a transaction. */
errcode_t dafs_txn_begin(struct dafs_image *img);
void dafs_txn_set_redo(struct dafs_image *img, const struct dafs_redo_ops *ops, void *arg);

/* The transaction that is collecting is to be committed by a redo record, although the image has a
 * journal; its capacity is that of an image without one. For what cannot be made small enough for
 * the journal. */
void dafs_txn_bypass_journal(struct dafs_image *img);

/* The block as this transaction has it (overlay, else disk). The pointer is good until the
 * transaction ends; *buf may be changed in place when for_change is set: the block is then part of
 * the transaction. Holds a copy of the block in memory until then: for reading many,
 * dafs_image_read_blks is better. */
errcode_t dafs_txn_get(struct dafs_image *img, uint64_t pblk, bool for_change, uint8_t **buf);

/* Give a live block new contents (copied). A block equal to what is on disk need not be put. */
errcode_t dafs_txn_put(struct dafs_image *img, uint64_t pblk, const void *buf);

/* Write count blocks that nothing refers to yet, in place, now or before the commit (they are
 * collected, sorted and merged into large writes). DAFS_ET_INTERNAL, nothing written: one of them
 * is in use in the committed bitmap and not an inode-table block past its group's mark; with
 * bigalloc, where a cluster in use may hold such a block, it becomes part of the transaction. */
errcode_t dafs_txn_put_new(struct dafs_image *img, uint64_t pblk, uint64_t count, const void *buf);

/* Whether rule 4 lets [pblk, pblk+count) be written in place now: free in the committed bitmap, or
 * inode table past its group's mark. Who writes data past the transaction asks here. 0,
 * DAFS_ET_INTERNAL with the blocks in the detail, or what reading the bitmap says. */
errcode_t dafs_txn_check_new(struct dafs_image *img, uint64_t pblk, uint64_t count);

/* A metadata block is freed: a journal replay must never write it again. A later put takes it back.
 * */
errcode_t dafs_txn_revoke(struct dafs_image *img, uint64_t pblk);

/* Live blocks collected so far, and how many one commit of this image can hold. What
 * dafs_txn_commit adds itself (dafs_groups_encode: bitmaps, descriptors, superblock) counts too;
 * call dafs_groups_encode first to have it in the figure. */
uint64_t dafs_txn_live_blks(const struct dafs_image *img);
uint64_t dafs_txn_capacity_blks(const struct dafs_image *img);

/* Encode the groups and the superblock, commit, checkpoint, settle the groups. tag (NULL, 0: none):
 * up to 64 bytes, kept with the commit for "exactly once" (the cache's flush id). Returns after the
 * checkpoint. DAFS_ET_JOURNAL_FULL leaves the transaction collecting, nothing written but new
 * blocks; any other failure leaves the handle failed and the image as before or replayable. */
errcode_t dafs_txn_commit(struct dafs_image *img, const void *tag, size_t tag_len);
void dafs_txn_abort(struct dafs_image *img);

/* As dafs_txn_commit, but of exactly the blocks that were put, superblock and bitmaps among them as
 * the caller made them: for repairs, where the groups are what is being repaired. */
errcode_t dafs_txn_commit_blks(struct dafs_image *img);

/* Did the last tagged commit of this image carry that tag? True only when the commit is in the
 * image for good (a journal that needed it was replayed by opening). */
bool dafs_txn_last_tag_is(const struct dafs_image *img, const void *tag, size_t tag_len);

/* What dafs_image_content_sum said of the image at its last tagged commit. */
uint32_t dafs_txn_last_content_sum(const struct dafs_image *img);

/* Finish a commit from a redo record (image without a journal) after a crash: idempotent. The image
 * is opened for writing, no transaction is open. DAFS_ET_CORRUPT_JOURNAL: damaged record;
 * DAFS_ET_CACHE_STALE: the image is neither in the state before that commit nor after it, nothing
 * was written. Reloads the image's superblock and groups. */
errcode_t dafs_txn_redo(struct dafs_image *img, const void *record, size_t len_bytes);

/* Tests: how far a commit goes before it stops with DAFS_ET_CANCELLED as if the process had died
 * there. 0: all the way. */
enum dafs_txn_stop {
	DAFS_TXN_STOP_NONE,
	DAFS_TXN_STOP_BEFORE_COMMIT,
	DAFS_TXN_STOP_AFTER_COMMIT,
	DAFS_TXN_STOP_IN_CHECKPOINT
};
extern enum dafs_txn_stop dafs_txn_stop;

#endif
