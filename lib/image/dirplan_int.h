/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirplan_int - a directory's new shape, as the files of dirplan share it.
 *
 * An item is a name with its hash: one to add (index into the request), or one of the image
 * (index into olds, which points into copies of blocks that the plan keeps). A leaf to be
 * written has its items side by side in the pool, and may keep the live entries of its old block
 * in front of them. Removing a name clears the number in the kept copy.
 */
#ifndef DAFS_IMAGE_DIRPLAN_INT_H
#define DAFS_IMAGE_DIRPLAN_INT_H

#include "image/dircodec.h"
#include "image/dirindex.h"
#include "image/dirinline.h"
#include "image/inline.h"

struct dirplan_item {
	uint32_t hash;
	uint32_t minor;
	uint32_t idx : 31;
	uint32_t old : 1;
};

struct dirplan_leaf {
	uint32_t lblk;
	uint32_t hash;			/* its key in an index */
	uint8_t *buf;			/* copy of the old block whose live entries stay; or NULL */
	size_t first, n;		/* in the pool */
};

enum dirplan_shape {
	DIRPLAN_INLINE,
	DIRPLAN_LINEAR,
	DIRPLAN_HTREE,
};

struct dafs_dirplan {
	struct dafs_image *img;
	struct dafs_dirplan_req req;
	enum dirplan_shape shape;
	bool write_index;		/* htree: root and nodes are to be written */
	uint32_t old_blks, blks;
	uint32_t parent_ino;		/* ".." as the image has it */
	uint32_t room;			/* of a leaf, in bytes */
	uint32_t spill_len;		/* of an existing inline directory */
	struct dafs_dirhash hash;
	struct dafs_dir dir;		/* the existing directory, where it has blocks */
	struct dirplan_item *items;	/* the pool: at first the nadd additions, sorted */
	size_t nitems, items_room;
	struct dirplan_item *dels;	/* ndel of them, sorted */
	bool *removed;			/* which of them have been met */
	const struct dafs_dirent_disk **olds;
	size_t nolds, olds_room;
	uint8_t **bufs;			/* kept copies */
	size_t nbufs, bufs_room;
	struct dirplan_leaf *leaves;	/* to be written */
	size_t nleaves, leaves_room;
	struct dafs_dx dx;		/* htree: the index as it will be */
};

/* ---- dirplan_names.c: items, names, and meeting them in the image ---- */

errcode_t dafs_dirplan_add_item(struct dafs_dirplan *dp, const struct dirplan_item *item);
errcode_t dafs_dirplan_add_leaf(struct dafs_dirplan *dp, const struct dirplan_leaf *leaf);

/* A buffer of len bytes that lives as long as the plan. */
errcode_t dafs_dirplan_keep(struct dafs_dirplan *dp, size_t len, uint8_t **buf);

/* An item's name, and the bytes its entry needs. */
const char *dafs_dirplan_name(const struct dafs_dirplan *dp, const struct dirplan_item *item,
			      uint8_t *len);
uint32_t dafs_dirplan_bytes(const struct dafs_dirplan *dp, const struct dirplan_item *item);

/* By hash (names decide ties); by place: those of the image first, then as requested. */
void dafs_dirplan_sort_hash(const struct dafs_dirplan *dp, struct dirplan_item *items, size_t n);
void dafs_dirplan_sort_place(struct dirplan_item *items, size_t n);

/* Check the request's names, hash and sort them, refuse names that stand twice. The pool has the
 * additions then. */
errcode_t dafs_dirplan_take_names(struct dafs_dirplan *dp);

/* Go through the live entries of a chain of the image (a kept copy, or one that is looked at
 * only): those to be removed get the number 0 in buf and count in *gone; one that is to be added
 * again is EEXIST. *used: bytes the others need. dots: skip the first two. */
errcode_t dafs_dirplan_meet(struct dafs_dirplan *dp, uint8_t *buf, uint32_t len, bool dots,
			    uint32_t *gone, uint32_t *used);

/* ENOENT for a removal that was not met. */
errcode_t dafs_dirplan_all_met(struct dafs_dirplan *dp);

/* The live entries of a kept chain as items into the pool. */
errcode_t dafs_dirplan_adopt(struct dafs_dirplan *dp, const uint8_t *buf, uint32_t len, bool dots);

/* ---- dirplan_build.c: the pool into leaves ---- */

/* Leaves that so many bytes of entries should have. */
size_t dafs_dirplan_want(const struct dafs_dirplan *dp, uint64_t bytes);

/* Cut the sorted items [first, first + n) into leaves about as full as each other, want of them
 * if they fit (more else); keys set, block numbers not. */
errcode_t dafs_dirplan_cut(struct dafs_dirplan *dp, size_t first, size_t n, size_t want);

/* Items from first on, in pool order, into linear blocks from dp->blks on. */
errcode_t dafs_dirplan_append(struct dafs_dirplan *dp, size_t first);

/* The whole pool as an htree of at least min_blks blocks where that is possible. */
errcode_t dafs_dirplan_htree(struct dafs_dirplan *dp, uint32_t min_blks);

/* The whole pool as what suits it: one block, an htree, or (without dir_index) linear blocks. */
errcode_t dafs_dirplan_blocks(struct dafs_dirplan *dp);

/* Where the pool's items go in an inline directory: chain[i] gets 0 or 1. False when they do not
 * fit. */
bool dafs_dirplan_fit_inline(const struct dafs_dirplan *dp, uint8_t *chain);

/* ---- dirplan_edit.c: existing directories with blocks ---- */

errcode_t dafs_dirplan_edit_linear(struct dafs_dirplan *dp);
errcode_t dafs_dirplan_edit_htree(struct dafs_dirplan *dp);

#endif
