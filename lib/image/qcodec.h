/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcodec - quota files: usage and limits by id, as one file's bytes.
 *
 * The format is the kernel's vfsv1 (revision 1 of the "v2" format) that the feature quota uses: a
 * header, then a radix tree over ids in blocks of 1024 bytes whose leaves hold the entries. A file
 * is read and written whole, as the smallest valid tree; it holds no positions that anybody else
 * keeps.
 *
 * It counts nothing: what an id uses is the caller's to say. Lengths are in bytes.
 */
#ifndef DAFS_IMAGE_QCODEC_H
#define DAFS_IMAGE_QCODEC_H

#include <stddef.h>

#include "base/ctx.h"

enum dafs_quota_type { DAFS_QUOTA_USER, DAFS_QUOTA_GROUP, DAFS_QUOTA_PROJECT, DAFS_QUOTA_TYPES };

/* One id of one type. Limits 0: none. */
struct dafs_quota_entry {
	uint32_t id;
	uint64_t inodes, inode_hard, inode_soft;
	uint64_t bytes;		     /* space that is used */
	uint64_t blk_hard, blk_soft; /* in units of 1024 bytes */
	uint64_t inode_sec, blk_sec; /* when the grace time of a soft limit ends; 0: not running */
};

/* Encode n entries in ascending order of id into a new file: *file (the caller frees it) of *len
 * bytes, a multiple of 1024. DAFS_ET_SEQUENCE when the order is wrong, ENOMEM; *file is NULL then.
 * Layout: the kernel's Documentation/filesystems/quota.rst and fs/quota/quotaio_v2.h. */
errcode_t dafs_qcodec_encode(struct dafs_ctx *ctx, enum dafs_quota_type type,
			     const struct dafs_quota_entry *entries, size_t n, uint8_t **file,
			     size_t *len);

/* What the header says beside the entries. */
struct dafs_quota_grace {
	uint32_t blk_sec, inode_sec, flags;
};

/* Decode a whole file of len bytes: *entries (the caller frees it) in ascending order of id.
 * DAFS_ET_CORRUPT_QUOTA names what is wrong, ENOMEM; *entries is NULL then. Work is bounded by
 * len. */
errcode_t dafs_qcodec_decode(struct dafs_ctx *ctx, enum dafs_quota_type type, const uint8_t *file,
			     size_t len, struct dafs_quota_entry **entries, size_t *n,
			     struct dafs_quota_grace *grace);

/* Put grace times into the header of an encoded file, in place of the defaults. */
void dafs_qcodec_put_grace(uint8_t *file, const struct dafs_quota_grace *grace);

#endif
