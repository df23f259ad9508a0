/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ialloc - chooses inode numbers at flush time. It decides only, like mballoc.
 *
 * Rule: the lowest free number that is not reserved, in the group of the directory that the inode
 * is made in, else in the next group that has one, going round at the end. Directories are not
 * spread: asked for in the order in which a walk meets them, a tree's inodes follow one another,
 * and a walk reads the inode tables forwards. A number is given once; none comes back.
 * Deterministic. One thread at a time.
 */
#ifndef DAFS_ALLOC_IALLOC_H
#define DAFS_ALLOC_IALLOC_H

#include "alloc/space.h"

struct dafs_ialloc;

/* An allocator over space, which is copied. Bitmaps are read when a group is first needed. ENOMEM.
 */
errcode_t dafs_ialloc_new(struct dafs_ctx *ctx, const struct dafs_ispace *space,
			  struct dafs_ialloc **ret);
void dafs_ialloc_free(struct dafs_ialloc *ia);

/* A number for a new inode in the directory parent_ino (its own new number where it is new; 0:
 * none, as for the first group). Amortised O(1). DAFS_ET_NOINODES, or an error of space->bits; *ino
 * is 0 then. */
errcode_t dafs_ialloc_pick(struct dafs_ialloc *ia, uint32_t parent_ino, uint32_t *ino);

#endif
