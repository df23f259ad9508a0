/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image - an open ext4 file system: the device, libext2fs' handle, the transaction, the groups, and
 * the numbers everybody needs.
 *
 * Opening for writing takes the image's lock, replays a journal that needs it, and refuses by name
 * what dafs cannot keep right (features, an external journal, a mounted device) before anything is
 * changed. Opening for reading shares the lock; a journal that needs recovery is replayed into the
 * transaction's overlay in memory, so that a reader sees the settled state.
 *
 * States: closed -> open (dafs_image_open) -> [failed after a failed write-back: every write
 * refuses] -> closed (dafs_image_close).
 */
#ifndef DAFS_IMAGE_IMAGE_H
#define DAFS_IMAGE_IMAGE_H

#include "image/dev.h"

struct dafs_txn;
struct dafs_groups;

enum dafs_image_flags {
	DAFS_IMAGE_RW = 1,
	DAFS_IMAGE_NO_REPLAY = 2,   /* leave the journal alone (dafsck -n, logdump) */
	DAFS_IMAGE_IGNORE_CSUM = 4, /* dafsdebug -n, dafsck */
	DAFS_IMAGE_NO_LOCK = 8,
	DAFS_IMAGE_ANY_FEATURE = 16, /* reading: no feature is refused (who looks takes care) */
	DAFS_IMAGE_ANY_STATE =
		32, /* writing: even when it "has errors" or is "not clean" (repairs) */
	DAFS_IMAGE_TRUNCATED_OK = 64, /* reading: the file may be shorter than its file system */
	DAFS_IMAGE_SALVAGE = 128, /* replaying: what is damaged is left out (dafsck) */
};

struct dafs_image {
	struct dafs_ctx *ctx;
	struct dafs_dev *dev;
	ext2_filsys fs; /* superblock and descriptors; its bitmaps are not used */
	struct dafs_txn *txn;
	struct dafs_groups *groups;
	int lock_fd;
	int flags;
	bool failed; /* a write-back failed: DAFS_ET_HANDLE_FAILED from now on */

	bool mmp_taken;	  /* our sequence stands in the MMP block */
	bool super_torn;  /* opening: its checksum fails, a replay may bring a good one */
	uint64_t open_sb; /* where the superblock was read: 0, or a backup's block... */
	uint32_t open_bs; /* ...and block size */

	uint32_t block_size;
	unsigned block_bits;
	unsigned cluster_bits; /* log2 blocks a cluster; 0 without bigalloc */
	uint32_t inode_size;
	uint32_t csum_seed; /* fs seed of metadata checksums */
	uint64_t blocks;    /* s_blocks_count */
	uint32_t first_data_block;
	bool has_csum; /* metadata_csum */
	bool has_extents, has_inline_data, has_ea_inode, has_filetype, has_dir_index, has_large_dir;
	bool has_casefold, has_64bit, has_bigalloc, has_huge_file, has_dir_nlink, has_quota,
		has_journal;
};

/* Open address. backup_sb/backup_bs: 0, or a backup superblock's block number and block size
 * (e2fsck -b/-B). Errors (detail names address and cause): DAFS_ET_NOT_EXT, DAFS_ET_FEATURE with
 * the feature's name, DAFS_ET_LOCKED, ... */
errcode_t dafs_image_open(struct dafs_ctx *ctx, const char *address, int flags, uint64_t backup_sb,
			  uint32_t backup_bs, struct dafs_image **ret);

/* Close; what a transaction holds uncommitted is dropped. NULL is fine. */
void dafs_image_close(struct dafs_image *img);

/* Wrap a file system just made in memory by mkfs (ext2fs_initialize over dev): the same handle,
 * marked as being created: nothing is live, everything is written in place, the superblock last
 * (dafs_image_finish_create). Takes over fs and dev. */
errcode_t dafs_image_from_new(struct dafs_ctx *ctx, struct dafs_dev *dev, ext2_filsys fs,
			      struct dafs_image **ret);
errcode_t dafs_image_finish_create(struct dafs_image *img);

/* For the checker, which can name no file system that dafs_image_open accepts: make img (all zeros)
 * an image over an open device and a handle that the caller filled in by hand (super, group_desc
 * and the sizes; no io, no bitmaps). Nothing is read or judged. It has a transaction for
 * dafs_txn_commit_blks, and no groups. Undone by dafs_image_unwrap;
 * dev, fs and img stay the caller's. */
errcode_t dafs_image_wrap(struct dafs_ctx *ctx, struct dafs_dev *dev, ext2_filsys fs, int flags,
			  struct dafs_image *img);
/* Give a wrapped image its journal for the next commit (and groups, which that needs).
 * DAFS_ET_CORRUPT_JOURNAL and other errors of dafs_journal_open: it commits by a redo record. */
errcode_t dafs_image_wrap_journal(struct dafs_image *img);
/* Does no block of the transaction lie in that journal? Else the commit must do without it. */
bool dafs_image_journal_untouched(const struct dafs_image *img);
void dafs_image_drop_journal(struct dafs_image *img);
void dafs_image_unwrap(struct dafs_image *img);

/* Replay the journal of a wrapped image to the device and empty it, and clear the flag
 * needs_recovery; nothing to be done: 0.
 * *replayed: there was something. With DAFS_IMAGE_SALVAGE transactions are replayed up to the first
 * that is damaged, and single damaged blocks are left out: *torn says so. */
errcode_t dafs_image_replay(struct dafs_image *img, bool *replayed, bool *torn);
/* Would that leave something out? Looks only. */
bool dafs_image_journal_torn(struct dafs_image *img);

/* Read count blocks as the next committed state has them (transaction overlay first). DAFS_ET_RANGE
 * outside the file system. */
errcode_t dafs_image_read_blks(struct dafs_image *img, uint64_t pblk, uint64_t count, void *buf);

/* The sequence number of the image's journal: what an empty one has, a dirty one will have after
 * its replay. 0: there is no journal. Errors: dafs_journal_open's. */
errcode_t dafs_image_journal_sequence(struct dafs_image *img, uint32_t *sequence);

/* Does the image's journal hold the commit block of a transaction later than tid
 * (dafs_journal_commits_after)? */
errcode_t dafs_image_journal_commits_after(struct dafs_image *img, uint32_t tid, bool *later);

/* A checksum of how full the image is and where: size and free counts of sb (the image's superblock
 * or a copy), and the descriptors. Who allocates or frees anything changes it; a full e2fsck that
 * finds nothing does not, although it writes anew which bitmaps and parts of inode tables are in
 * use. */
uint32_t dafs_image_content_sum(const struct dafs_image *img, struct ext2_super_block *sb);

/* What identifies the image and its state for a cache bound to it: UUID, and a fingerprint over all
 * of the superblock (its counts as the descriptors have them; neither its checksum nor
 * needs_recovery), the descriptors and the journal's sequence number. */
errcode_t dafs_image_fingerprint(struct dafs_image *img, uint8_t uuid[16], uint64_t *print);

/* Is [pblk, pblk+len) inside the file system and clear of static metadata (superblocks,
 * descriptors, bitmaps, inode tables)? */
bool dafs_image_data_range_ok(const struct dafs_image *img, uint64_t pblk, uint64_t len);

#endif
