/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ialloc - chooses inode numbers at flush time: a directory's children follow it in number, in the order they are asked for, so that
 * a walk reads the inode table forwards. Decides only, like mballoc.
 */
#ifndef DAFS_ALLOC_IALLOC_H
#define DAFS_ALLOC_IALLOC_H

#include "image/group.h"

struct dafs_ialloc;
errcode_t dafs_ialloc_new(struct dafs_image *img, struct dafs_ialloc **ret);
void dafs_ialloc_free(struct dafs_ialloc *ia);

/* A number for a new inode whose directory is parent_ino. DAFS_ET_NOINODES. */
errcode_t dafs_ialloc_pick(struct dafs_ialloc *ia, uint32_t parent_ino, bool is_dir, uint32_t *ino);

#endif
