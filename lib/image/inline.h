/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inline - the body of an inode with inline_data: 60 bytes in i_block, the rest as the value of
 * the attribute "system.data" in the in-inode area. The attribute is there even when the rest is
 * empty (ext4 looks for it).
 *
 * Works on raw inodes in memory only. The spill shares the area with other attributes: xcodec
 * counts it in (see xcodec.h).
 */
#ifndef DAFS_IMAGE_INLINE_H
#define DAFS_IMAGE_INLINE_H

#include "image/image.h"
#include "model/inode.h"

#define DAFS_INLINE_BODY 60u	/* bytes in i_block */

struct dafs_inline {
	const uint8_t *body;	/* DAFS_INLINE_BODY bytes */
	const uint8_t *spill;
	uint32_t spill_len;
};

/* Are the bytes of a regular file those that its inode in the image holds? A pending change of them
 * (or of the size) has made them an ordinary pending block (DAFS_I_TRUNC0). */
static inline bool dafs_inline_stays(const struct dafs_inode *inode)
{
	return (inode->iflags & EXT4_INLINE_DATA_FL) &&
	       !(inode->state & (DAFS_I_NEW | DAFS_I_TRUNC0));
}

/* Find the parts in raw (they point into it). DAFS_ET_CORRUPT_XATTR, DAFS_ET_CORRUPT_INODE when
 * raw has no inline data. */
errcode_t dafs_inline_find(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			   struct dafs_inline *out);

/* Make len bytes raw's inline body (flag set, tail of i_block zeroed), keeping the other
 * attributes of the area. DAFS_ET_XATTR_TOO_BIG when the area has no room; raw is unchanged
 * then. len is at least DAFS_INLINE_BODY for a directory. */
errcode_t dafs_inline_put(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw,
			  const void *data, size_t len);

/* Take the attribute out and clear the flag; i_block is left alone. Nothing to do without the
 * flag. */
errcode_t dafs_inline_drop(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw);

/* Most bytes that a new inode with these attributes may hold inline (0: none: the attribute
 * itself does not fit beside them). */
uint32_t dafs_inline_room(struct dafs_image *img, const struct dafs_inode *inode);

#endif
