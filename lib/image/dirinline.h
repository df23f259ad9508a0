/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirinline - the two chains of entries of a directory that lies in its inode: i_block behind
 * the parent's number, and the spill. "." and ".." are not among them.
 */
#ifndef DAFS_IMAGE_DIRINLINE_H
#define DAFS_IMAGE_DIRINLINE_H

#include "image/dirblock.h"

#define DAFS_DIRINLINE_PARENT 4u	/* bytes of the parent's number */

struct dafs_dirinline {
	uint32_t parent;
	struct {
		const uint8_t *buf;	/* in raw */
		uint32_t len;
	} chain[2];
};

/* Find and check both chains. DAFS_ET_CORRUPT_DIR. */
errcode_t dafs_dirinline_find(struct dafs_image *img, uint32_t ino,
			      const struct ext2_inode_large *raw, struct dafs_dirinline *out);

#endif
