/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * direct - the path without delayed allocation (--nodelalloc): every new block is placed at the
 * write, one allocator call a block, as ext4 does with -o nodelalloc. For comparison: data and
 * metadata still reach the image at the flush, by the same code.
 *
 * A placed block is WRITTEN in the es tree, stands in struct dafs_file's placed list, and has its
 * dirty page run: the image knows nothing of it yet. It stays reserved (reserved_clusters counts
 * delayed and placed blocks): the image's free count still has it.
 * Not with bigalloc.
 */
#ifndef DAFS_WRITE_DIRECT_H
#define DAFS_WRITE_DIRECT_H

#include "write/delalloc.h"

/* Decide for the piece of a write that begins now: w->at_once. Always with w->direct alone, by the
 * kernel's rule (ext4_nonda_switch, dafs_reserve_low) with w->low_switch, never without
 * w->direct. */
void dafs_direct_decide(struct dafs_write *w);

/* Make the allocator of w's image for direct writes and set w->direct. DAFS_ET_FEATURE with
 * bigalloc. */
errcode_t dafs_direct_open(struct dafs_write *w);

/* Free it; w->direct becomes NULL. NULL is fine. */
void dafs_direct_close(struct dafs_write *w);

/* Tell the allocator of blocks that a pending file holds already (from an earlier process): before
 * the first write. */
errcode_t dafs_direct_adopt(struct dafs_write *w, const struct dafs_file *file);

/* A flush brought the file into the image: its placed blocks are no longer waiting. */
void dafs_direct_settled(struct dafs_write *w, const struct dafs_file *file);

/* [lblk, end), delayed just now, gets its blocks, one call each. DAFS_ET_NOSPC_ALLOC: what was
 * placed is, the rest is still delayed. */
errcode_t dafs_direct_place(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			    uint32_t end);

/* Placed blocks of [lblk, end) are free again; *nblks: how many that were. Es tree and counters are
 * the caller's. ENOMEM: unchanged. */
errcode_t dafs_direct_drop(struct dafs_write *w, struct dafs_file *file, uint32_t lblk,
			   uint32_t end, uint64_t *nblks);

#endif
