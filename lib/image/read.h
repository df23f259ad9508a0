/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read - contents of files of the image: bytes by offset through the mapping, inline data,
 * symlink targets. Holes and unwritten read as zeros. Encrypted files give their ciphertext;
 * whether that is of use is the caller's to say.
 */
#ifndef DAFS_IMAGE_READ_H
#define DAFS_IMAGE_READ_H

#include "image/etree.h"

/* Read up to len bytes at off (short at end of file: *got, 0 past it). xl: the decoded mapping
 * (dafs_etree_decode), or NULL for an inline file. raw: inode_size bytes when inline. On failure
 * *got is 0 and buf undefined. */
errcode_t dafs_read_file(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			 const struct dafs_extlist *xl, void *buf, size_t len, uint64_t off,
			 size_t *got);

/* Target of a symlink (fast, long or inline), NUL-terminated, malloc'ed. EINVAL: not a symlink.
 * DAFS_ET_ENCRYPTED. DAFS_ET_CORRUPT_INODE: empty, too long or with a zero byte in it. */
errcode_t dafs_read_symlink(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, char **target);

#endif
