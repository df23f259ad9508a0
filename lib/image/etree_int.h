/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * etree_int - what the files of etree share: the layout of extent nodes, and the reading of
 * indirect maps.
 */
#ifndef DAFS_IMAGE_ETREE_INT_H
#define DAFS_IMAGE_ETREE_INT_H

#include "image/etree.h"

#define DAFS_ETREE_MAGIC 0xF30Au
#define DAFS_ETREE_ROOT_BYTES 60u	/* i_block */
#define DAFS_ETREE_ROOT_MAX 4u

struct dafs_etree_header {
	uint16_t magic;
	uint16_t entries;
	uint16_t max;
	uint16_t depth;			/* 0: leaf */
	uint32_t generation;
};

/* Leaf entries and index entries have one size, so that one shape serves both. */
struct dafs_etree_entry {
	uint32_t lblk;
	union {
		struct {
			uint16_t len;		/* above 0x8000: unwritten, len - 0x8000 */
			uint16_t start_hi;
			uint32_t start_lo;
		} leaf;
		struct {
			uint32_t child_lo;
			uint16_t child_hi;
			uint16_t unused;
		} index;
	};
};

static inline uint32_t dafs_etree_capacity(uint32_t block_size)
{
	return (uint32_t)((block_size - sizeof(struct dafs_etree_header)) /
			  sizeof(struct dafs_etree_entry));
}

static inline struct dafs_etree_entry *dafs_etree_entries(struct dafs_etree_header *hdr)
{
	return (struct dafs_etree_entry *)(hdr + 1);
}

/* The checksum's place: right behind the last entry that would fit. */
static inline uint32_t *dafs_etree_tail(struct dafs_etree_header *hdr)
{
	return (uint32_t *)(dafs_etree_entries(hdr) + hdr->max);
}

static inline uint64_t dafs_etree_child(const struct dafs_etree_entry *e)
{
	return (uint64_t)e->index.child_hi << 32 | e->index.child_lo;
}

/* May [pblk, pblk + len) hold a file's data or mapping? The resize and bad-block inodes map what
 * others may not. */
bool dafs_etree_range_ok(const struct dafs_image *img, uint32_t ino, uint64_t pblk, uint64_t len);

/* decode and lookup for inodes without the EXTENTS flag (etree_map.c). */
errcode_t dafs_etree_map_decode(struct dafs_image *img, uint32_t ino,
				const struct ext2_inode_large *raw, struct dafs_extlist *xl,
				struct dafs_blklist *nodes);
errcode_t dafs_etree_map_lookup(struct dafs_image *img, uint32_t ino,
				const struct ext2_inode_large *raw, uint32_t lblk,
				struct dafs_extent *ext, bool *hole);

#endif
