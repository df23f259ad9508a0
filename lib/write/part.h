/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * part - one file that is written back in part: what lies before a block goes now, the rest stays
 * pending and goes on from there in a later flush (the kernel's writeback_index).
 *
 * While a part is begun, the inode is as the image is to have it after this flush: its file part
 * holds what goes now, its size is what the kernel calls i_disksize, so that planner and commit
 * need to know nothing of the rest. Punched and cut-off blocks go now, all of them: the kernel
 * frees at once, and old bytes must not come back behind the end of what is written.
 *
 * Transition -> function:
 *   whole  -> dafs_part_begin -> begun: inode is the part, whole and later wait
 *   begun  -> dafs_part_cancel -> whole, as before
 *   begun  -> dafs_delalloc_settled (the part is in the image), dafs_part_settled -> later is the
 *          file
 *
 * Invariant: delayed blocks, page runs and reserve of the part and of later together are the
 * whole's.
 */
#ifndef DAFS_WRITE_PART_H
#define DAFS_WRITE_PART_H

#include "write/delalloc.h"

struct dafs_part {
	struct dafs_inode *inode; /* NULL: no part is begun */
	uint32_t cut_lblk;	  /* blocks from here on wait; at a cluster's border */
	/* of the run that is cut: how much of it waits; it wants to stand behind what goes now */
	uint32_t more_blks;
	struct dafs_file *whole; /* the file as it was */
	struct dafs_file *later; /* as it will be */
	uint64_t size;		 /* the inode's, as it was */
};

/* Blocks of a file that a flush would place or overwrite. */
uint64_t dafs_part_pending_blks(const struct dafs_image *img, const struct dafs_inode *inode);

/* Where to cut a file so that about max_blks (> 0) of its pending blocks go now; DAFS_RANGE_END:
 * they all do, or the file is of the kind that goes whole (blocks chosen at the write). ENOMEM. */
errcode_t dafs_part_cut(const struct dafs_image *img, const struct dafs_inode *inode,
			uint64_t max_blks, uint32_t *cut_lblk);

/* The inode becomes the part of it before cut_lblk (from dafs_part_cut). ENOMEM and errors of
 * reading the inode leave it as it was. */
errcode_t dafs_part_begin(struct dafs_write *w, struct dafs_inode *inode, uint32_t cut_lblk,
			  struct dafs_part *part);

/* Nothing happened: the inode is whole again. Nothing to do for one that is not begun. */
void dafs_part_cancel(struct dafs_part *part);

/* The part is in the image and settled, the reserve knows what is free now: what is left is
 * pending, DAFS_I_DATA and DAFS_I_PART say so, its metadata are promised anew (as far as there is
 * room). Cannot fail. */
void dafs_part_settled(struct dafs_write *w, struct dafs_part *part);

/* What a flush frees of a file of the image: the ranges punched, and all from end_lblk on. */
struct dafs_part_freed {
	const struct dafs_extlist *punched; /* NULL: none */
	uint32_t end_lblk;		    /* DAFS_RANGE_END: nothing is cut off */
};

/* From where on to free first, so that what goes lies in at most max_groups groups; DAFS_RANGE_END:
 * all of it does. Errors: those of reading the mapping. */
errcode_t dafs_part_shrink(struct dafs_image *img, uint32_t ino, const struct dafs_part_freed *what,
			   uint64_t max_groups, uint32_t *cut_lblk);

/* piece, an empty file part, loses what lies at or behind cut_lblk of what, and nothing else.
 * ENOMEM: piece is to be freed. */
errcode_t dafs_part_piece(const struct dafs_part_freed *what, uint32_t cut_lblk,
			  struct dafs_file *piece);

#endif
