/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read - contents of files of the image: bytes by offset through the mapping, inline data, symlink targets. Holes and unwritten read as zeros.
 */
#ifndef DAFS_IMAGE_READ_H
#define DAFS_IMAGE_READ_H

#include "image/etree.h"

/* Read up to len bytes at off (short at end of file: *got). xl: the decoded mapping (dafs_etree_decode), or NULL for an inline file. */
errcode_t dafs_read_file(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw, const struct dafs_extlist *xl,
			 void *buf, size_t len, uint64_t off, size_t *got);

/* Target of a symlink (fast, long or inline), NUL-terminated, malloc'ed. */
errcode_t dafs_read_symlink(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw, char **target);

#endif
