/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * etree - extent trees (and, for reading, indirect block maps) <-> flat extent lists.
 *
 * Decode reads a whole tree; encode writes the smallest valid tree: up to 4 extents in the
 * inode, else full leaves at least depth. Blocks of the old tree are reused (they are live: they
 * go into the transaction), further ones are new. A block whose bytes did not change is not
 * written. Rules and layout: reference, section 5.
 */
#ifndef DAFS_IMAGE_ETREE_H
#define DAFS_IMAGE_ETREE_H

#include "image/image.h"
#include "model/extlist.h"

/* Blocks that a tree of n extents takes grow with it; a file ends before this logical block. */
#define DAFS_ETREE_MAX_DEPTH 5
#define DAFS_ETREE_MAX_BLOCKS 0xFFFFFFFFu

struct dafs_blklist {		/* physical blocks of tree nodes (or indirect blocks) */
	uint64_t *v;
	size_t n, room;
};
void dafs_blklist_fini(struct dafs_blklist *bl);
errcode_t dafs_blklist_add(struct dafs_blklist *bl, uint64_t pblk);

/* Decode the mapping of raw (extents or indirect blocks) into xl, the blocks that hold it into
 * nodes (may be NULL): leaves in logical order first, then the levels above, each left to right.
 * That is the order encode takes them in, so that a leaf keeps its block. Both lists are emptied
 * first. An inode without a mapping (dafs_icodec_has_map) has an empty one. Every node is
 * checked: magic, depth, bounds, order, keys, physical ranges, checksum. DAFS_ET_CORRUPT_EXTENT
 * names the inode; both lists are empty then. Work is bounded by the blocks of the image: no
 * node is read twice. */
errcode_t dafs_etree_decode(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, struct dafs_extlist *xl,
			    struct dafs_blklist *nodes);

/* One lookup without decoding all: the extent that holds lblk (mapped), or the hole around it
 * (*hole, pblk 0; as far as the blocks on the path tell, at most 2^31 - 1 blocks). Reads only
 * the path. */
errcode_t dafs_etree_lookup(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, uint32_t lblk,
			    struct dafs_extent *ext, bool *hole);

/* Tree blocks that n extents need beside the inode: 0 for n <= 4. */
uint64_t dafs_etree_blks(uint32_t block_size, uint64_t n_extents);

/* Clusters that a mapping uses; two extents may meet in one. */
uint64_t dafs_etree_clusters(const struct dafs_image *img, const struct dafs_extlist *xl);

/* Encode xl into raw's i_block (flag EXTENTS set) using blks: the first nold of them are blocks
 * of the old tree (in decode's order, the leftover ones are the caller's to free and revoke).
 * blks->n must be exactly dafs_etree_blks(). Old blocks go through dafs_txn_put when their bytes
 * change, others through dafs_txn_put_new, with checksums for (ino, generation). DAFS_ET_FEATURE
 * without the feature extents. */
errcode_t dafs_etree_encode(struct dafs_image *img, uint32_t ino, uint32_t generation,
			    const struct dafs_extlist *xl, const struct dafs_blklist *blks,
			    size_t nold, struct ext2_inode_large *raw);

#endif
