/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extnode - one node of an extent tree by itself: is a block one, and how deep is the tree below a
 * root?
 *
 * Reports nothing; extent.c walks the tree and judges.
 */
#include "config.h"

#include "check/check_int.h"

bool dafs_ck_extent_header_ok(const void *header, size_t room_bytes)
{
	const struct ext3_extent_header *eh = header;
	size_t room = (room_bytes - sizeof(*eh)) / sizeof(struct ext3_extent);

	if (eh->eh_magic != EXT3_EXT_MAGIC || eh->eh_entries > eh->eh_max)
		return false;
	/* Room for a tail may have been left. */
	return eh->eh_max <= room && eh->eh_max + 2u >= room;
}

const char *dafs_ck_node_wrong(const struct dafs_ck *ck, const struct ext3_extent_header *eh)
{
	if (eh->eh_magic != EXT3_EXT_MAGIC)
		return "no magic";
	if (!dafs_ck_extent_header_ok(eh, ck->g.block_size))
		return "its counts are not possible";
	return eh->eh_entries ? NULL : "it is empty";
}

/* Could all entries of the root be extents; be index entries? */
static bool all_extents(const struct dafs_ck *ck, const struct ext3_extent_header *eh)
{
	const struct ext3_extent *ex = (const void *)(eh + 1);
	uint64_t end = 0, len;

	for (unsigned i = 0; i < eh->eh_entries; end = ex[i].ee_block + len, i++) {
		len = ex[i].ee_len > DAFS_CK_UNWRITTEN ? ex[i].ee_len - DAFS_CK_UNWRITTEN
						       : ex[i].ee_len;
		if (!dafs_ck_leaf_pblk(&ex[i]) || !dafs_ck_blk_ok(ck, dafs_ck_leaf_pblk(&ex[i])) ||
		    !len || dafs_ck_leaf_pblk(&ex[i]) + len > ck->g.blocks || ex[i].ee_block < end)
			return false;
	}
	return eh->eh_entries;
}

static bool all_indexes(const struct dafs_ck *ck, const struct ext3_extent_header *eh)
{
	const struct ext3_extent_idx *ix = (const void *)(eh + 1);

	for (unsigned i = 0; i < eh->eh_entries; i++)
		if (!dafs_ck_index_pblk(&ix[i]) ||
		    !dafs_ck_blk_ok(ck, dafs_ck_index_pblk(&ix[i])) ||
		    (i && ix[i].ei_block <= ix[i - 1].ei_block))
			return false;
	return eh->eh_entries;
}

unsigned dafs_ck_root_depth(struct dafs_ck_worker *w, const struct ext3_extent_header *eh)
{
	const struct ext3_extent_header *child = (const void *)w->level[0];
	const struct dafs_ck *ck = w->ck;

	if (!all_indexes(ck, eh))
		return all_extents(ck, eh) ? 0 : eh->eh_depth;
	if (all_extents(ck, eh) || (eh->eh_depth && eh->eh_depth <= DAFS_CK_TREE_DEPTH_MAX))
		return eh->eh_depth;
	w->err = dafs_ck_read(w, dafs_ck_index_pblk((const void *)(eh + 1)), 1, w->level[0]);
	if (w->err || dafs_ck_node_wrong(ck, child) || child->eh_depth >= DAFS_CK_TREE_DEPTH_MAX)
		return eh->eh_depth;
	return child->eh_depth + 1u;
}
