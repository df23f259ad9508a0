/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * space - what the allocators allocate from: an image, or a test's bitmaps.
 *
 * Both structs are plain values that the caller fills (by hand, or by the *_of_image functions).
 * Bitmaps are the committed ones: bit set = in use, bit 0 first, and they stay the same while an
 * allocator uses them.
 */
#ifndef DAFS_ALLOC_SPACE_H
#define DAFS_ALLOC_SPACE_H

#include "image/image.h"

/* Clusters. All groups hold clusters_per_group of them but the last, which may hold fewer. */
struct dafs_space {
	uint64_t clusters;	   /* in all groups together */
	uint32_t groups;	   /* > 0 */
	uint32_t first_data_block; /* the first block of group 0 */
	uint32_t clusters_per_group;
	unsigned cluster_bits; /* log2 of blocks a cluster */
	unsigned flex_groups;  /* groups in a flex group, 1 without flex_bg */
	void *arg;
	/* The bitmap of a group; *bits NULL: all of it is free. Called once a group. */
	errcode_t (*bits)(void *arg, uint32_t grp, const uint8_t **bits);
	/* Free clusters of a group as its descriptor says, without reading the bitmap: what it
	 * cannot hold is not looked for in it. A figure too high costs a look, no more. */
	uint32_t (*free)(void *arg, uint32_t grp);
};

/* Inodes, numbered from 1. */
struct dafs_ispace {
	uint32_t groups; /* > 0 */
	uint32_t inodes_per_group;
	uint32_t first_ino; /* the first that is not reserved */
	void *arg;
	errcode_t (*bits)(void *arg, uint32_t grp, const uint8_t **bits);
	uint32_t (*free)(void *arg, uint32_t grp);
};

/* The space of an open image. What this transaction took or gave so far is not seen: one allocator
 * serves one transaction, from its beginning. The image outlives the allocators. */
void dafs_space_of_image(struct dafs_image *img, struct dafs_space *space);
void dafs_ispace_of_image(struct dafs_image *img, struct dafs_ispace *space);

#endif
