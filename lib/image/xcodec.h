/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xcodec - extended attributes on disk: in the inode behind its extra fields, in one block,
 * large values in inodes of their own.
 *
 * Planning is apart from emitting, as with directories: placement happens between. Names carry
 * their prefix ("user.x", "system.posix_acl_access", ...); POSIX ACLs are converted between the
 * xattr form (version 2, what getxattr gives) and ext4's (version 1).
 *
 * Where an attribute goes depends on the inode's room: its extra size and, with
 * EXT4_INLINE_DATA_FL in inode->iflags, the spill of the inline body ("system.data"), which
 * comes first. So before dafs_xcodec_plan the caller has settled inode->iflags and size.
 *
 * Changing the attributes of an inode of the image: plan (beside the placement of data); then,
 * in the transaction, dafs_xcodec_release for what the old ones hold, dafs_xcodec_emit,
 * dafs_icodec_checksum. An inline body that changes at the same time: dafs_inline_drop, emit,
 * dafs_inline_put.
 */
#ifndef DAFS_IMAGE_XCODEC_H
#define DAFS_IMAGE_XCODEC_H

#include "image/etree.h"
#include "image/image.h"
#include "model/inode.h"

/* All attributes of an inode of the image. "system.data" of inline_data is not among them. raw:
 * inode_size bytes. The set is NULL on failure: DAFS_ET_CORRUPT_XATTR, DAFS_ET_XATTR_NAME (a
 * kind that dafs does not know), DAFS_ET_CORRUPT_EXTENT of a value inode. */
errcode_t dafs_xcodec_read(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			   struct dafs_xattr **set);

struct dafs_xattr_layout {
	bool use_block;		/* a block is needed */
	uint32_t nvalues;	/* values that need an inode of their own (ea_inode) */
	/* Blocks those take in sum; ext4 counts them (in whole clusters each) in the owner's
	 * i_blocks too. */
	uint64_t value_blks;
};
/* Where a set would go. path: for the message of DAFS_ET_XATTR_TOO_BIG / DAFS_ET_XATTR_NAME
 * (names file and attribute). Reads the inode when it is one of the image. */
errcode_t dafs_xcodec_plan(struct dafs_image *img, const struct dafs_inode *inode, const char *path,
			   struct dafs_xattr_layout *lay);

/* One value that goes into an inode of its own: the caller places the inode and its blocks and
 * writes them. */
struct dafs_xattr_value_inode {
	const struct dafs_xattr *attr;
	uint32_t ino;
};
/* Emit the set into raw's in-inode area and, where the layout says so, into block (block_size
 * bytes, checksummed for pblk). values: the layout's nvalues entries with their inodes filled
 * in. The block's bytes are the caller's to write; i_file_acl is set to pblk or 0. Keeps the
 * inline body of raw. The inode's checksum is not touched. */
errcode_t dafs_xcodec_emit(struct dafs_image *img, const struct dafs_inode *inode,
			   const struct dafs_xattr_value_inode *values, uint64_t pblk,
			   uint8_t *block, struct ext2_inode_large *raw);

/* Which attributes become value inodes, in emit order (nvalues of the layout). */
errcode_t dafs_xcodec_values(struct dafs_image *img, const struct dafs_inode *inode,
			     struct dafs_xattr_value_inode *values);

/* Set up the inode of one value (raw: zeros, inode_size bytes): type, owner, size, flags, hash,
 * one reference. The caller adds the mapping (dafs_etree_encode with generation 0), i_blocks and
 * the checksum. */
void dafs_xcodec_value_raw(const struct dafs_image *img, const struct dafs_inode *owner,
			   const struct dafs_xattr *attr, struct ext2_inode_large *raw);

/* Hash of a value as ea_inode stores it (crc32c of the value). */
uint32_t dafs_xcodec_value_hash(const struct dafs_image *img, const void *value, size_t len);

/* The attribute block of raw: *pblk 0 when there is none; *shared: other inodes refer to it, it
 * must not be changed in place. */
errcode_t dafs_xcodec_block(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, uint64_t *pblk, bool *shared);

/* Inodes that hold values of raw's attributes, those of its block included; into inos (emptied
 * first). */
errcode_t dafs_xcodec_value_inos(struct dafs_image *img, uint32_t ino,
				 const struct ext2_inode_large *raw, struct dafs_blklist *inos);

/* Let go of what raw's attributes hold, since the inode goes or gets a new set: a shared block
 * loses a reference, an unshared one is given back in *free_pblk (to be freed and revoked, or
 * written anew); value inodes lose a reference, those that lost their last go to dead (emptied
 * first) for the caller to free. Changes go through the open transaction; raw is not changed. */
errcode_t dafs_xcodec_release(struct dafs_image *img, uint32_t ino,
			      const struct ext2_inode_large *raw, uint64_t *free_pblk,
			      struct dafs_blklist *dead);

#endif
