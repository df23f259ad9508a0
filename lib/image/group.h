/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * group - block groups as an open image has them: bitmaps (read one by one, when asked),
 * descriptors, free counts; and their changed versions on the way into the transaction.
 *
 * The bitmap that dafs_group_block_bits returns is the committed one: what is free there is free on
 * disk (rule 4). Changes made with take/give are collected beside it and become visible to readers
 * of the next commit only.
 *
 * Invariants: a group's free counts equal its next bitmaps; BLOCK_UNINIT and INODE_UNINIT groups
 * are materialised on first use; bg_itable_unused covers every inode ever used; checksums are set
 * when a group is encoded.
 */
#ifndef DAFS_IMAGE_GROUP_H
#define DAFS_IMAGE_GROUP_H

#include "image/image.h"

/* Set up img->groups (img->fs is open). Reads nothing: a few bytes a group, and the places of
 * static metadata. dafs_image_open does it. */
errcode_t dafs_groups_open(struct dafs_image *img);
void dafs_groups_close(struct dafs_image *img);

uint32_t dafs_group_count(const struct dafs_image *img);
uint32_t dafs_group_clusters(const struct dafs_image *img,
			     uint32_t grp); /* clusters in this group (the last may be short) */
uint64_t dafs_group_first_pblk(const struct dafs_image *img, uint32_t grp);
uint32_t dafs_group_of_pblk(const struct dafs_image *img, uint64_t pblk);

/* The block with descriptor block i of the primary table (0 <= i < fs->desc_blocks). */
uint64_t dafs_group_desc_pblk(const struct dafs_image *img, uint32_t i);

/* Committed bitmaps, bit set = in use, one bit a cluster / an inode, padding set. Validated against
 * checksum and static metadata; DAFS_ET_CORRUPT_BITMAP names the group. Good until the image closes
 * or commits. */
errcode_t dafs_group_block_bits(struct dafs_image *img, uint32_t grp, const uint8_t **bits);
errcode_t dafs_group_inode_bits(struct dafs_image *img, uint32_t grp, const uint8_t **bits);

/* Free counts from the descriptors, with this transaction's changes. */
uint32_t dafs_group_free_clusters(const struct dafs_image *img, uint32_t grp);
uint32_t dafs_group_free_inodes(const struct dafs_image *img, uint32_t grp);
uint32_t dafs_group_used_dirs(const struct dafs_image *img, uint32_t grp);
uint64_t dafs_group_total_free_clusters(const struct dafs_image *img);
uint64_t dafs_group_total_free_inodes(const struct dafs_image *img);

/* Inodes of the group that have ever been used (inodes_per_group - itable_unused, 0 for
 * INODE_UNINIT), committed state: inode-table blocks at and past this mark are not live. */
uint32_t dafs_group_itable_mark(const struct dafs_image *img, uint32_t grp);
uint64_t dafs_group_itable_pblk(const struct dafs_image *img, uint32_t grp);

/* Mark [pblk, pblk+len) used / free in the next state (cluster granular: with bigalloc the caller
 * passes cluster-aligned ranges). DAFS_ET_INTERNAL when a bit is not in the expected state. */
errcode_t dafs_group_take_blks(struct dafs_image *img, uint64_t pblk, uint64_t len);
errcode_t dafs_group_give_blks(struct dafs_image *img, uint64_t pblk, uint64_t len);
errcode_t dafs_group_take_inode(struct dafs_image *img, uint32_t ino, bool is_dir);
errcode_t dafs_group_give_inode(struct dafs_image *img, uint32_t ino, bool is_dir);

/* Encode all changed bitmaps, descriptors and the superblock (counts, features as in
 * img->fs->super, write time, checksums) into the transaction. dafs_txn_commit does it; calling it
 * before shows in dafs_txn_live_blks what it adds. May be called again. */
errcode_t dafs_groups_encode(struct dafs_image *img);

/* The next state becomes the committed one / is dropped. dafs_txn_commit and dafs_txn_abort do it;
 * nobody else needs to. */
void dafs_groups_settle(struct dafs_image *img, bool committed);

/* Do the free counts of every group looked into agree with its bitmaps? */
bool dafs_groups_verify(struct dafs_image *img);

#endif
