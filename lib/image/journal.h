/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal - jbd2 on disk: read and verify the journal superblock, replay what a crash left, write
 * and empty a transaction.
 *
 * Knows the inode journal only (inode s_journal_inum, or the backup copy of its mapping in the
 * superblock); external journals are refused by name. Formats: v1/v2 superblock, tags of 32 and 64
 * bits, checksum v1/v2/v3, revoke, escape. What is in the fast-commit area is replayed, too
 * (fc_int.h); it is left without.
 *
 * The log holds at most one transaction of ours: it is written while the journal is empty, from
 * where the last one ended, round the end of the log, and made reachable by one write of the
 * journal superblock when all of it is durable. That write is the commit. The kernel and e2fsck can
 * replay at any moment after it, and see an empty journal at any moment before.
 *
 * Transition -> function:
 *   empty   -> dafs_journal_write  -> written (needs_recovery set in the superblock before)
 *   written -> dafs_journal_empty  -> empty   (needs_recovery cleared after)
 *   dirty (found at open) -> dafs_journal_replay / _replay_map, then dafs_journal_empty -> empty
 */
#ifndef DAFS_IMAGE_JOURNAL_H
#define DAFS_IMAGE_JOURNAL_H

#include "image/image.h"

struct dafs_journal;

struct dafs_journal_block {
	uint64_t pblk;
	const uint8_t *data;
};

/* One block that a replay writes: to pblk, from the log's block at log_pblk; escaped: its first
 * four bytes are the journal magic, which the log holds as zeros. */
struct dafs_replay_entry {
	uint64_t pblk;
	uint64_t log_pblk : 63;
	uint64_t escaped : 1;
};

/* Open the image's journal. Needs the groups (dafs_groups_open) for the checks of its mapping; the
 * image must outlive it. DAFS_ET_CORRUPT_JOURNAL (superblock, checksum, mapping with holes),
 * DAFS_ET_JOURNAL_FEATURE with the feature's name, DAFS_ET_JOURNAL_EXTERNAL. */
errcode_t dafs_journal_open(struct dafs_image *img, struct dafs_journal **ret);
void dafs_journal_close(struct dafs_journal *j);

/* Does the log hold anything to be replayed (s_start is set)? Whether it counts is the superblock's
 * needs_recovery flag's to say. */
bool dafs_journal_needs_recovery(const struct dafs_journal *j);

/* The sequence number that an empty journal has or, with a dirty one, will have after its replay.
 * */
errcode_t dafs_journal_sequence(struct dafs_journal *j, uint32_t *sequence);

/* Does the log, replayed or not, hold the commit block of a transaction later than tid? Reads the
 * head of every block. */
errcode_t dafs_journal_commits_after(struct dafs_journal *j, uint32_t tid, bool *later);

/* The error number that the kernel left in the journal (s_errno), 0 for none. */
int32_t dafs_journal_errno(const struct dafs_journal *j);

/* Work the replay out: every block of every complete transaction, last version, not revoked, sorted
 * by pblk; checksums verified. Nothing is written. *entries is malloc'ed. DAFS_ET_CORRUPT_JOURNAL:
 * a block of a committed transaction is damaged, or would be written outside the file system. */
errcode_t dafs_journal_replay_map(struct dafs_journal *j, struct dafs_replay_entry **entries,
				  size_t *n);

/* Read the contents of one entry. */
errcode_t dafs_journal_read_entry(struct dafs_image *img, const struct dafs_replay_entry *entry,
				  void *buf);

/* The map's blocks go to apply, in pblk order. */
errcode_t dafs_journal_replay(struct dafs_journal *j,
			      errcode_t (*apply)(void *arg, uint64_t pblk, const uint8_t *data),
			      void *arg);

/* What the log holds, block by block as it lies there. Any may be NULL; non-zero ends the walk. */
struct dafs_log_watch {
	/* A block with the magic and the expected sequence number: its place in the journal and its
	 * type (1 descriptor, 2 commit, 5 revoke). */
	errcode_t (*block)(void *arg, uint32_t lblk, uint32_t type, uint32_t tid);
	/* A block logged by the descriptor before; lblk: of its contents. */
	errcode_t (*tag)(void *arg, uint32_t tid, uint64_t pblk, uint32_t lblk, uint32_t flags);
	errcode_t (*revoke)(void *arg, uint32_t tid, uint64_t pblk, uint32_t lblk);
	/* Where the log ends: the first block that does not go on. */
	errcode_t (*end)(void *arg, uint32_t lblk);
};

/* Walk the log from its start, also one that was replayed meanwhile. Damage as in
 * dafs_journal_replay_map, after what is before it was shown. */
errcode_t dafs_journal_watch(struct dafs_journal *j, const struct dafs_log_watch *watch, void *arg);

/* The journal superblock, 1024 bytes, big-endian. */
const void *dafs_journal_super(const struct dafs_journal *j);

/* Blocks that one transaction may carry beside that many revokes. */
uint64_t dafs_journal_capacity_blks(const struct dafs_journal *j, uint64_t revokes);

/* Write one transaction (descriptors, data, revokes, commit) into the empty log and make it
 * reachable; durable when it returns, together with everything that was written before. Sets
 * needs_recovery in the superblock in place; a superblock among the blocks must carry the flag
 * already. DAFS_ET_SEQUENCE: the journal is not empty. DAFS_ET_JOURNAL_FULL: nothing was written.
 * After any other failure the journal is empty or the transaction is in it. */
errcode_t dafs_journal_write(struct dafs_journal *j, const struct dafs_journal_block *blocks,
			     size_t nblocks, const uint64_t *revokes, size_t nrevokes);

/* After the checkpoint (durable): mark the journal empty, durable; then clear needs_recovery in the
 * superblock, durable. */
errcode_t dafs_journal_empty(struct dafs_journal *j);

#endif
