/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * icodec - inodes on disk <-> struct dafs_inode's attributes; where an inode lies; checksums.
 *
 * Decoding validates (size, link count, checksum, extra size) and refuses what cannot be kept right. Encoding starts from the
 * inode's bytes on disk (an existing one) or zeros (a new one), so that fields dafs does not know survive.
 */
#ifndef DAFS_IMAGE_ICODEC_H
#define DAFS_IMAGE_ICODEC_H

#include "image/image.h"
#include "model/inode.h"

/* The inode's bytes (image->inode_size of them, at most 4096) as the transaction has them. Checks range and checksum. */
errcode_t dafs_icodec_read(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw, size_t raw_bytes);

/* Physical block and byte offset of an inode; live: the block lies before its group's used mark. */
errcode_t dafs_icodec_locate(struct dafs_image *img, uint32_t ino, uint64_t *pblk, uint32_t *off_bytes, bool *live);

/* Attributes of raw into inode (ids, times with their epoch bits, rdev, size, flags); not data, names or xattrs. */
errcode_t dafs_icodec_decode(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw, struct dafs_inode *inode);

/* Attributes into raw. blocks512: i_blocks in 512-byte units (huge_file handled). Times beyond the format are clamped as ext4 does. The body (i_block) and
 * i_file_acl are the caller's. Ends with the checksum. raw_bytes == image->inode_size. */
errcode_t dafs_icodec_encode(struct dafs_image *img, const struct dafs_inode *inode, uint64_t blocks512,
			     struct ext2_inode_large *raw, size_t raw_bytes);

/* Recompute the checksum of raw (after body or xattr changes). */
void dafs_icodec_checksum(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw);

/* Seed of checksums of blocks that belong to an inode (extent blocks, directory blocks). */
uint32_t dafs_icodec_seed(const struct dafs_image *img, uint32_t ino, uint32_t generation);

#endif
