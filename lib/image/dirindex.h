/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirindex - an open directory of the image, block by block, and its htree index: read whole as
 * a flat list, walked for one hash, shaped anew when leaves were added, and written as blocks.
 *
 * Shape: a root (block 0), up to two levels of nodes (three levels of index in all with
 * large_dir, two without), leaves. The flat list has every leaf with the lowest hash it may
 * hold; the lowest bit of that hash says that names of the same hash begin in the leaf before.
 */
#ifndef DAFS_IMAGE_DIRINDEX_H
#define DAFS_IMAGE_DIRINDEX_H

#include "image/dirblock.h"
#include "image/dirhash.h"
#include "model/extlist.h"

/* A directory with blocks (not an inline one), open for reading. */
struct dafs_dir {
	struct dafs_image *img;
	uint32_t ino;
	uint32_t iflags;
	uint32_t csum_seed;
	uint32_t nblks;
	bool has_index; /* the INDEX flag is set: block 0 is a root, others may be nodes */
	bool indexed;			/* and the image has dir_index: the index holds */
	bool opaque;			/* names are encrypted */
	struct dafs_extlist xl;
};

/* Open: size and mapping are checked (no holes, nothing unwritten). DAFS_ET_CORRUPT_DIR,
 * DAFS_ET_CORRUPT_EXTENT, ENOTDIR. */
errcode_t dafs_dir_open(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			struct dafs_dir *dir);
void dafs_dir_close(struct dafs_dir *dir);

/* Read and check block lblk: checksum and chain of entries. want: the kind that it must be; or
 * NULL: any, told in *kind. */
errcode_t dafs_dir_read(struct dafs_dir *dir, uint32_t lblk, const enum dafs_dirblock_kind *want,
			uint8_t *buf, enum dafs_dirblock_kind *kind);

/* Bytes of a block of this kind that the chain of entries fills. */
uint32_t dafs_dir_chain_bytes(const struct dafs_dir *dir, enum dafs_dirblock_kind kind);

/* Record DAFS_ET_CORRUPT_DIR for a block. */
errcode_t dafs_dir_corrupt(const struct dafs_dir *dir, uint32_t lblk, const char *why);

struct dafs_dx_leaf {
	uint32_t hash;
	uint32_t lblk;
	uint32_t node; /* index into nodes[0] of the node above; unused without levels */
};
struct dafs_dx_node {
	uint32_t lblk;
	uint32_t up;			/* index into nodes[1]; unused with one level */
	uint32_t first;			/* of its children, filled by dafs_dx_shape */
};
struct dafs_dx {
	unsigned levels;		/* of nodes: 0, 1 or 2 */
	uint8_t hash_version;
	struct dafs_dx_leaf *leaves;
	size_t nleaves;
	struct dafs_dx_node *nodes[2];	/* [0] above the leaves, [1] above those */
	size_t nnodes[2];
};
void dafs_dx_fini(struct dafs_dx *dx);

/* Read the whole index. Blocks named twice or out of range, wrong counts, hashes out of order:
 * DAFS_ET_CORRUPT_DIR. */
errcode_t dafs_dx_load(struct dafs_dir *dir, struct dafs_dx *dx);

/* Index of the leaf where names of a hash begin. */
size_t dafs_dx_find(const struct dafs_dx *dx, uint32_t hash);

/* Do names of this hash go on in leaf i (i past the end: no)? */
bool dafs_dx_continues(const struct dafs_dx *dx, size_t i, uint32_t hash);

/* Give the leaves of dx (whose number may have grown, children of one node side by side) a place
 * in the tree: nodes that still suffice stay as they are, else children are spread evenly, nodes
 * and levels are added with blocks from *next_lblk on. Levels and nodes never become fewer.
 * DAFS_ET_DIR_FULL. */
errcode_t dafs_dx_shape(struct dafs_image *img, struct dafs_dx *dx, uint32_t *next_lblk);

/* Index levels (nodes' levels) and blocks that n leaves need at least; levels above what the
 * image allows: DAFS_ET_DIR_FULL. */
errcode_t dafs_dx_need(struct dafs_image *img, size_t nleaves, unsigned *levels, uint32_t *blks);

/* Write one index block into buf (zeroed here): the root with "." and "..", or node i of a
 * level. Ends with the checksum. */
void dafs_dx_emit_root(const struct dafs_image *img, const struct dafs_dx *dx, uint32_t seed,
		       uint32_t ino, uint32_t parent, uint8_t *buf);
void dafs_dx_emit_node(const struct dafs_image *img, const struct dafs_dx *dx, uint32_t seed,
		       unsigned level, size_t i, uint8_t *buf);

/* Walk the leaves that may hold a hash, reading the path only: fn gets each leaf's block, *stop
 * ends the walk. */
errcode_t dafs_dx_walk(struct dafs_dir *dir, const char *name, size_t len,
		       errcode_t (*fn)(void *arg, uint32_t lblk, const uint8_t *buf, bool *stop),
		       void *arg);

#endif
