/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * redo - the redo record: the live blocks of one transaction, for an image that has no journal to
 * put them in.
 *
 * A record is complete or worthless (a checksum over all of it). It says between which two states
 * of the superblock it stands, so that it is never applied to an image that was used by others
 * since: each half of the superblock (512 bytes, what a disk writes at once) must be as before the
 * commit or as after it.
 *
 * The record is a file of mode 0600: in the image's offline cache in its usual place when there is
 * one, so that image and cache can be moved together at any time; else IMAGE.dafs-redo beside the
 * image, or $XDG_STATE_HOME/dafs/UUID.dafs-redo for a block device (beside.h). Opening the image
 * for writing finishes what it says and removes it; opening for reading changes nothing and sees
 * the image as it was to become. dafs_txn_set_redo puts it elsewhere.
 *
 * Layout (little endian): struct dafs_redo_head; n block numbers of 8 bytes; n blocks; crc32c of
 * all that.
 */
#ifndef DAFS_IMAGE_REDO_H
#define DAFS_IMAGE_REDO_H

#include "image/journal.h"

struct dafs_redo_head {
	char magic[8];	  /* "dafsredo" */
	uint32_t version; /* 1 */
	uint32_t block_size;
	uint8_t uuid[16];
	uint64_t n;
	uint32_t was_crc[2]; /* crc32c of the superblock's halves before */
	uint32_t is_crc[2];  /* and after */
};

/* Make a record of blocks. was and is: the superblock's 1024 bytes before and after. *record is
 * malloc'ed. */
errcode_t dafs_redo_make(struct dafs_image *img, const struct dafs_journal_block *blocks, size_t n,
			 const void *was, const void *is, void **record, size_t *len_bytes);

/* Write a record's blocks to the device and sync. DAFS_ET_CORRUPT_JOURNAL: damaged, or of another
 * file system; DAFS_ET_CACHE_STALE: the superblock is in neither state. Neither writes anything. */
errcode_t dafs_redo_apply(struct dafs_ctx *ctx, struct dafs_dev *dev, const void *record,
			  size_t len_bytes);

/* Save a record in the file, durable. */
errcode_t dafs_redo_save_file(struct dafs_image *img, const void *record, size_t len_bytes);

/* The blocks of a record, one by one, after the same checks; stops at the first error of fn. */
errcode_t dafs_redo_walk(struct dafs_ctx *ctx, struct dafs_dev *dev, const void *record,
			 size_t len_bytes,
			 errcode_t (*fn)(void *arg, uint64_t pblk, const uint8_t *data), void *arg);

/* Look for the file of an image whose superblock says uuid, before it is opened. *record NULL:
 * there is none, or one that is damaged (its commit did not happen; for writing it is removed, with
 * a notice). Otherwise the whole record, malloc'ed: a writer applies it and removes the file
 * (dafs_redo_remove_file), a reader takes its blocks for the image's. */
errcode_t dafs_redo_find_file(struct dafs_ctx *ctx, struct dafs_dev *dev, const uint8_t uuid[16],
			      bool write, void **record, size_t *len_bytes);
errcode_t dafs_redo_remove_file(struct dafs_ctx *ctx, struct dafs_dev *dev, const uint8_t uuid[16]);

#endif
