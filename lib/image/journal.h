/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal - jbd2 on disk: read and verify the journal superblock, replay what a crash left, write and empty a transaction.
 *
 * Knows the inode journal only (inode s_journal_inum, or the backup copy of its mapping in the superblock); external journals are
 * refused by name. Formats: v1/v2 superblock, tags of 32 and 64 bits, checksum v1/v2/v3, revoke, escape, fast-commit area (replayed, left empty).
 */
#ifndef DAFS_IMAGE_JOURNAL_H
#define DAFS_IMAGE_JOURNAL_H

#include "image/image.h"

struct dafs_journal;

struct dafs_journal_block {
	uint64_t pblk;
	const uint8_t *data;
};

errcode_t dafs_journal_open(struct dafs_image *img, struct dafs_journal **ret);
void dafs_journal_close(struct dafs_journal *j);

/* Does it hold transactions to be replayed? */
bool dafs_journal_needs_recovery(const struct dafs_journal *j);
uint32_t dafs_journal_sequence(const struct dafs_journal *j);

/* Replay: every block of every complete transaction, last version, not revoked, goes to apply (journal order is settled inside). */
errcode_t dafs_journal_replay(struct dafs_journal *j,
			      errcode_t (*apply)(void *arg, uint64_t pblk, const uint8_t *data), void *arg);

/* Blocks that one transaction may carry. */
uint64_t dafs_journal_capacity_blks(const struct dafs_journal *j, uint64_t revokes);

/* Write one transaction (descriptors, data, revokes, commit) after making it reachable from the journal superblock, durable. */
errcode_t dafs_journal_write(struct dafs_journal *j, const struct dafs_journal_block *blocks, size_t nblocks,
			     const uint64_t *revokes, size_t nrevokes);

/* After the checkpoint: mark the journal empty, durable; also clears needs_recovery in the superblock where it was set. */
errcode_t dafs_journal_empty(struct dafs_journal *j);

#endif
