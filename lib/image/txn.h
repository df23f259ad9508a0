/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn - one metadata transaction over an image: what live blocks are to become, and the blocks written in place ahead of it.
 *
 * DESIGN.md section 1, rule 4: a block that the image refers to changes only through the transaction; a block that nothing refers
 * to yet is written in place before the commit. The caller says which it is; debug builds check it against the committed bitmap.
 *
 * Transition -> function:
 *   idle      -> dafs_txn_begin    -> collecting
 *   collecting: dafs_txn_put / dafs_txn_put_new / dafs_txn_revoke
 *   collecting -> dafs_txn_commit  -> idle (image as it was to become) or failed (image->failed)
 *   collecting -> dafs_txn_abort   -> idle (image as it was; blocks written with put_new are free ones)
 *
 * Commit order: data and new blocks durable, journal (or redo record) durable, checkpoint, durable, journal emptied.
 */
#ifndef DAFS_IMAGE_TXN_H
#define DAFS_IMAGE_TXN_H

#include "image/image.h"

struct dafs_txn;

/* Where the redo record of an image without a journal goes (the offline cache supplies it; NULL: an in-process run keeps it in a
 * file beside the image, removed after the checkpoint). */
struct dafs_redo_ops {
	errcode_t (*save)(void *arg, const void *record, size_t len_bytes);	/* durable when it returns */
	errcode_t (*drop)(void *arg);
};

errcode_t dafs_txn_begin(struct dafs_image *img);
void dafs_txn_set_redo(struct dafs_image *img, const struct dafs_redo_ops *ops, void *arg);

/* The block as this transaction has it (overlay, else disk). The pointer is good until the transaction ends; *buf may be
 * changed in place when for_change is set: the block is then part of the transaction. */
errcode_t dafs_txn_get(struct dafs_image *img, uint64_t pblk, bool for_change, uint8_t **buf);

/* Give a live block new contents (copied). A block equal to what is on disk need not be put. */
errcode_t dafs_txn_put(struct dafs_image *img, uint64_t pblk, const void *buf);

/* Write count blocks that nothing refers to yet, in place, now or before the commit (neighbouring calls are merged into large writes). */
errcode_t dafs_txn_put_new(struct dafs_image *img, uint64_t pblk, uint64_t count, const void *buf);

/* A metadata block is freed: a journal replay must never write it again. */
errcode_t dafs_txn_revoke(struct dafs_image *img, uint64_t pblk);

/* Live blocks collected so far, and how many one commit of this image can hold. */
uint64_t dafs_txn_live_blks(const struct dafs_image *img);
uint64_t dafs_txn_capacity_blks(const struct dafs_image *img);

/* tag: up to 64 bytes kept with the commit for "exactly once" (the cache's flush id); readable back with dafs_txn_last_tag when
 * the commit happened. Returns after the checkpoint. On failure the handle is failed; the image is as before or replayable. */
errcode_t dafs_txn_commit(struct dafs_image *img, const void *tag, size_t tag_len);
void dafs_txn_abort(struct dafs_image *img);

/* Finish a commit from a redo record (image without a journal) after a crash: idempotent. DAFS_ET_CORRUPT_JOURNAL: damaged record. */
errcode_t dafs_txn_redo(struct dafs_image *img, const void *record, size_t len_bytes);

#endif
