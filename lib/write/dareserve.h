/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dareserve - what a file's pending blocks cost: clusters with a reserve, bigalloc's pending
 * reservations, metadata bounds.
 *
 * Counts and keeps struct dafs_file's reserve figures; it never touches bytes. Ranges are in
 * blocks, half open. Rules: the kernel's ext4_da_reserve_space, ext4_clu_alloc_state and
 * ext4_es_remove_extent.
 */
#ifndef DAFS_WRITE_DARESERVE_H
#define DAFS_WRITE_DARESERVE_H

#include "write/delalloc.h"

/* Past the last block that a file can have: es ends there too. */
#define DAFS_LBLK_END 0xFFFFFFFFu

/* Clusters touched by [lblk, end) that hold a DELAYED block and are not in pend. O(delayed entries
 * in the range). */
uint64_t dafs_dareserve_count(const struct dafs_image *img, const struct dafs_file *file,
			      uint32_t lblk, uint32_t end);

/* [lblk, end), holes until now, become DELAYED. *more gets the clusters that need a reserve for it;
 * pend learns of the clusters at both ends that the file has allocated already. Takes nothing from
 * the counters. On failure the tree is as it was. */
errcode_t dafs_dareserve_delay(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			       uint32_t end, uint64_t *more);

/* [lblk, end) becomes a HOLE, whatever it was. *change gets the clusters by which the reserve
 * changes: negative where it shrinks, positive where a cluster that was allocated (pend) loses its
 * last allocated block but still holds delayed ones. */
errcode_t dafs_dareserve_unmap(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			       uint32_t end, int64_t *change);

/* Bring the counters to the file's state: its data reserve changes by data_change clusters, its
 * metadata promise to today's bound; its owners' quota is charged. DAFS_ET_NOSPC_RESERVE,
 * DAFS_ET_NOSPC_META, DAFS_ET_QUOTA_SPACE: nothing was changed. */
errcode_t dafs_dareserve_settle(struct dafs_write *w, struct dafs_inode *inode,
				int64_t data_change);

/* After blocks were given up: the data reserve changes by data_change (by no more than spare
 * upwards: clusters that the caller took beforehand and that are given back here), the metadata
 * promise only ever falls. Cannot fail. */
void dafs_dareserve_shrink(struct dafs_write *w, struct dafs_inode *inode, int64_t data_change,
			   uint64_t spare);

/* Is less promised than the bounds ask for, by a dry plan's word? Then nothing that is pending can
 * be told apart from the rest. */
bool dafs_dareserve_is_exact(const struct dafs_reserve *rs);

/* After a change that took no more space by its bounds but may need more by its shape, while the
 * promise is exact: does everything pending still fit? With room, some is put aside for such
 * changes instead of planning for each. DAFS_ET_NOSPC_META: the caller undoes it. */
errcode_t dafs_dareserve_recheck(struct dafs_write *w);

/* How many overwritten blocks of one file a flush can send through the transaction: what goes
 * beyond that has to find a new place, and is promised room for it. */
uint64_t dafs_dareserve_live_limit(const struct dafs_image *img);

/* Metadata bound of the file as it is now. */
uint32_t dafs_dareserve_bound(struct dafs_write *w, const struct dafs_inode *inode,
			      const struct dafs_file *file);

#endif
