/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * quota - usage by user, group and project, in an image with the feature quota: what a flush
 * changes of it.
 *
 * Order: dafs_quota_plan (before placement: which ids, how long the files will be),
 * dafs_quota_charge for every inode that is encoded or freed, dafs_quota_write (in the transaction,
 * after the last inode). Each file is written anew, to new blocks; its old ones are given back.
 *
 * Counted as the kernel and e2fsck do: an inode, its i_blocks, and one inode more for each value of
 * an attribute that has an inode of its own, with the owner; quota files and other reserved inodes
 * but the root not at all. Limits stop a change when it is accepted (qlimit.h), never a flush; a
 * flush keeps the times at which the grace of a soft limit ends.
 */
#ifndef DAFS_WRITE_QUOTA_H
#define DAFS_WRITE_QUOTA_H

#include "image/icodec.h"
#include "image/qcodec.h"

struct dafs_plan;
struct dafs_quota;

/* What one inode uses, and whose it is. */
struct dafs_quota_usage {
	uint32_t ids[3]; /* by enum dafs_quota_type */
	uint64_t inodes; /* 0: it does not count */
	uint64_t bytes;
};

/* Clusters that the next flush may need for the quota files beside their present ones: for
 * struct dafs_reserve's pool. 0 without the feature. */
uint64_t dafs_quota_keep_clusters(struct dafs_image *img);

/* The entries of one quota file, in ascending order of id (the caller frees them); none without the
 * feature or without a file of that type. */
errcode_t dafs_quota_read(struct dafs_image *img, enum dafs_quota_type which,
			  struct dafs_quota_entry **entries, size_t *n,
			  struct dafs_quota_grace *grace);

/* Read the quota files, and place what they will be. plan->quota stays NULL in an image without the
 * feature. */
errcode_t dafs_quota_plan(struct dafs_plan *plan);
void dafs_quota_free(struct dafs_quota *quota);

/* Usage of an inode as raw has it; values: its attribute values in inodes of their own. */
void dafs_quota_usage(const struct dafs_image *img, uint32_t ino,
		      const struct ext2_inode_large *raw, uint64_t values,
		      struct dafs_quota_usage *usage);

/* An inode's usage was before, and is now, this (NULL: none). Nothing without quota. */
void dafs_quota_charge(struct dafs_quota *quota, const struct dafs_quota_usage *before,
		       const struct dafs_quota_usage *now);

/* Write the files into the open transaction. */
errcode_t dafs_quota_write(struct dafs_plan *plan);

#endif
