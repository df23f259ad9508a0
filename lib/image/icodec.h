/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * icodec - inodes on disk <-> struct dafs_inode's attributes; where an inode lies; checksums.
 *
 * Decoding validates (size, link count, checksum, extra size) and refuses what cannot be kept
 * right. Encoding starts from the inode's bytes on disk (an existing one) or zeros (a new one),
 * so that fields dafs does not know survive.
 *
 * A raw inode is image->inode_size bytes as on disk; struct ext2_inode_large is its beginning
 * (the first 128 bytes only with inodes of 128 bytes). Callers hold it in a union
 * dafs_inode_buf. Encoding an inode goes in this order:
 *   read or zeros -> dafs_icodec_encode -> body (etree, dircodec, inline, symlink) ->
 *   dafs_xcodec_emit -> dafs_icodec_checksum
 */
#ifndef DAFS_IMAGE_ICODEC_H
#define DAFS_IMAGE_ICODEC_H

#include "image/image.h"
#include "model/inode.h"

#define DAFS_INODE_MAX_BYTES 4096u
#define DAFS_LINK_MAX 65000u

/* Flags that say how i_block and i_blocks are to be read: they belong to whoever wrote the body
 * into raw, not to the attributes. */
#define DAFS_ICODEC_BODY_FLAGS                                                                     \
	(EXT4_EXTENTS_FL | EXT4_INLINE_DATA_FL | EXT2_INDEX_FL | EXT4_HUGE_FILE_FL)

union dafs_inode_buf {
	struct ext2_inode_large raw;
	uint8_t bytes[DAFS_INODE_MAX_BYTES];
};

/* The inode's bytes (image->inode_size of them, at most 4096) as the transaction has them.
 * Checks range and checksum (an inode of zeros has none). raw_bytes below inode_size gets the
 * beginning; above it the rest is zeroed. DAFS_ET_RANGE, DAFS_ET_CORRUPT_INODE. */
errcode_t dafs_icodec_read(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw,
			   size_t raw_bytes);

/* Physical block and byte offset of an inode; live (may be NULL): the block holds an inode
 * before its group's used mark. DAFS_ET_RANGE. */
errcode_t dafs_icodec_locate(struct dafs_image *img, uint32_t ino, uint64_t *pblk,
			     uint32_t *off_bytes, bool *live);

/* Attributes of raw into inode (ids, times with their epoch bits, rdev, size, flags); not data,
 * names or xattrs. Sets id and ino. A directory's nlink 1 means "too many to count" (dir_nlink).
 * DAFS_ET_CORRUPT_INODE with the reason. */
errcode_t dafs_icodec_decode(struct dafs_image *img, uint32_t ino,
			     const struct ext2_inode_large *raw, struct dafs_inode *inode);

/* The same without judging raw: what a damaged or free inode says of itself. inode should be
 * zeroed before. */
void dafs_icodec_attrs(const struct dafs_image *img, uint32_t ino,
		       const struct ext2_inode_large *raw, struct dafs_inode *inode);

/* Attributes into raw. blocks512: i_blocks in 512-byte units (huge_file handled). Times beyond
 * the format are clamped as ext4 does. The body (i_block but for devices,
 * DAFS_ICODEC_BODY_FLAGS) and i_file_acl are the caller's. inode->ino must be set; DAFS_I_NEW
 * gets the extra size of new inodes. A regular file past 2 GiB turns the superblock's large_file
 * feature on. Ends with the checksum. raw_bytes == image->inode_size. DAFS_ET_MLINK,
 * DAFS_ET_FILE_TOO_BIG, DAFS_ET_RANGE (device numbers). */
errcode_t dafs_icodec_encode(struct dafs_image *img, const struct dafs_inode *inode,
			     uint64_t blocks512, struct ext2_inode_large *raw, size_t raw_bytes);

/* Recompute the checksum of raw (after body or xattr changes). Nothing without metadata_csum. */
void dafs_icodec_checksum(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw);

/* Does raw's checksum agree? True without metadata_csum and for an inode of zeros. */
bool dafs_icodec_checksum_ok(const struct dafs_image *img, uint32_t ino,
			     const struct ext2_inode_large *raw);

/* Seed of checksums of blocks that belong to an inode (extent blocks, directory blocks). */
uint32_t dafs_icodec_seed(const struct dafs_image *img, uint32_t ino, uint32_t generation);

/* i_size as the kernel reads it: the high half counts for regular files, and for directories
 * with large_dir. */
uint64_t dafs_icodec_size(const struct dafs_image *img, const struct ext2_inode_large *raw);

/* i_blocks in 512-byte units. */
uint64_t dafs_icodec_blocks512(const struct dafs_image *img, const struct ext2_inode_large *raw);

/* The project's id, 0 where inodes have no room for one. */
uint32_t dafs_icodec_projid(const struct dafs_image *img, const struct ext2_inode_large *raw);

/* Does i_block hold a block map (extents or indirect)? Not so for devices, fifos, sockets, fast
 * symlinks and inline data. */
bool dafs_icodec_has_map(const struct dafs_image *img, const struct ext2_inode_large *raw);

/* A symlink whose target stands in i_block. */
bool dafs_icodec_fast_symlink(const struct dafs_image *img, const struct ext2_inode_large *raw);

/* i_extra_isize of new inodes: 32, or what the superblock wants beyond that. 0 with inodes of
 * 128 bytes. */
uint16_t dafs_icodec_new_extra(const struct dafs_image *img);

/* EXT2_FT_* of a mode, as directory entries carry it. */
uint8_t dafs_icodec_file_type(uint16_t mode);

#endif
