/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xcodec - extended attributes on disk: in the inode behind its extra fields, in one block, large values in inodes of their own.
 *
 * Planning is apart from emitting, as with directories: placement happens between. Names carry their prefix ("user.x",
 * "system.posix_acl_access", ...); POSIX ACLs are converted between the xattr form (version 2, what getxattr gives) and ext4's (version 1).
 */
#ifndef DAFS_IMAGE_XCODEC_H
#define DAFS_IMAGE_XCODEC_H

#include "image/image.h"
#include "model/inode.h"

/* All attributes of an inode of the image. "system.data" of inline_data is not among them. */
errcode_t dafs_xcodec_read(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw, struct dafs_xattr **set);

struct dafs_xattr_layout {
	bool use_block;		/* a block is needed */
	uint32_t nvalues;	/* values that need an inode of their own (ea_inode) */
	uint64_t value_blks;	/* blocks those take in sum */
};
/* Where a set would go. path: for the message of DAFS_ET_XATTR_TOO_BIG / DAFS_ET_XATTR_NAME (names file and attribute). */
errcode_t dafs_xcodec_plan(struct dafs_image *img, const struct dafs_inode *inode, const char *path, struct dafs_xattr_layout *lay);

/* One value that goes into an inode of its own: the caller places the inode and its blocks and writes them. */
struct dafs_xattr_value_inode {
	const struct dafs_xattr *attr;
	uint32_t ino;
};
/* Emit the set into raw's in-inode area and, where the layout says so, into block (block_size bytes, checksummed for pblk). values: the
 * layout's nvalues entries with their inodes filled in. The block's bytes are the caller's to write; i_file_acl is set to pblk or 0. */
errcode_t dafs_xcodec_emit(struct dafs_image *img, const struct dafs_inode *inode, const struct dafs_xattr_value_inode *values,
			   uint64_t pblk, uint8_t *block, struct ext2_inode_large *raw);

/* Which attributes become value inodes, in emit order (nvalues of the layout). */
errcode_t dafs_xcodec_values(struct dafs_image *img, const struct dafs_inode *inode, struct dafs_xattr_value_inode *values);

/* Hash of a value as ea_inode stores it (crc32c of the value). */
uint32_t dafs_xcodec_value_hash(const struct dafs_image *img, const void *value, size_t len);

#endif
