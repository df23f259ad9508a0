/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * etree_map - block maps of ext2 and ext3: twelve direct blocks, then trees of one, two and
 * three levels of indirect blocks. Reading only: what dafs writes has extents.
 *
 * Invariants:
 *  1. A tree is read level by level, and a level that names a block twice is refused before it
 *     is read: the work is bounded by the blocks of the image whatever the disk says.
 *  2. Physically contiguous blocks become one run before they are checked and appended.
 */
#include "config.h"

#include "image/etree.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/etree_int.h"

#define NDIRECT 12u
#define MAP_LEVELS 3u

/* An indirect block that was named but not yet read. */
struct ref {
	uint64_t pblk;
	uint64_t lblk;			/* first logical block below it */
};

struct ref_list {
	struct ref *v;
	size_t n, room;
};

struct map_walk {
	struct dafs_image *img;
	uint32_t ino;
	uint32_t per_block;		/* addresses in an indirect block */
	uint32_t *buf;			/* one block */
	struct dafs_extlist *xl;
	struct dafs_blklist *nodes;	/* may be NULL */
	struct dafs_extent run;		/* data blocks not yet appended; len 0: none */
};

static errcode_t corrupt(const struct map_walk *w, uint64_t pblk, const char *why)
{
	return dafs_fail(w->img->ctx, DAFS_ET_CORRUPT_EXTENT, "inode %u: block map: block %llu %s",
			 w->ino, (unsigned long long)pblk, why);
}

static uint64_t span(const struct map_walk *w, unsigned level)
{
	uint64_t blocks = 1;

	while (level--)
		blocks *= w->per_block;
	return blocks;
}

static errcode_t add_ref(struct ref_list *list, uint64_t pblk, uint64_t lblk)
{
	errcode_t err = dafs_array_grow(&list->v, list->n, &list->room, sizeof(*list->v));

	if (!err)
		list->v[list->n++] = (struct ref){ pblk, lblk };
	return err;
}

static errcode_t end_run(struct map_walk *w)
{
	struct dafs_extent run = w->run;

	if (!run.len)
		return 0;
	w->run.len = 0;
	if (!dafs_etree_range_ok(w->img, w->ino, run.pblk, run.len))
		return corrupt(w, run.pblk, "outside the data blocks");
	return dafs_extlist_append(w->xl, run.pblk, run.lblk, run.len, false);
}

static errcode_t add_data(struct map_walk *w, uint64_t pblk, uint64_t lblk)
{
	errcode_t err;

	if (lblk >= DAFS_ETREE_MAX_BLOCKS)
		return corrupt(w, pblk, "past the end of all files");
	if (w->run.len && w->run.lblk + w->run.len == lblk && w->run.pblk + w->run.len == pblk &&
	    w->run.len < INT32_MAX) {
		w->run.len++;
		return 0;
	}
	err = end_run(w);
	w->run = (struct dafs_extent){ .pblk = pblk, .lblk = (uint32_t)lblk, .len = 1 };
	return err;
}

static errcode_t read_table(struct map_walk *w, uint64_t pblk)
{
	if (!dafs_etree_range_ok(w->img, w->ino, pblk, 1))
		return corrupt(w, pblk, "outside the data blocks");
	return dafs_image_read_blks(w->img, pblk, 1, w->buf);
}

static int cmp_pblk(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Invariant 1. */
static errcode_t refuse_twice(const struct map_walk *w, const struct ref_list *list)
{
	uint64_t *sorted;
	errcode_t err = 0;

	if (list->n < 2)
		return 0;
	sorted = reallocarray(NULL, list->n, sizeof(*sorted));
	if (!sorted)
		return ENOMEM;
	for (size_t i = 0; i < list->n; i++)
		sorted[i] = list->v[i].pblk;
	qsort(sorted, list->n, sizeof(*sorted), cmp_pblk);
	for (size_t i = 1; i < list->n && !err; i++) {
		if (sorted[i] == sorted[i - 1])
			err = corrupt(w, sorted[i], "named twice");
	}
	free(sorted);
	return err;
}

/* Read the indirect blocks of one level (1: their entries are data); what they name goes to
 * below. */
static errcode_t read_level(struct map_walk *w, const struct ref_list *list, unsigned level,
			    struct ref_list *below)
{
	uint64_t step = span(w, level - 1);
	errcode_t err = refuse_twice(w, list);

	for (size_t i = 0; i < list->n && !err; i++) {
		uint64_t lblk = list->v[i].lblk;

		err = read_table(w, list->v[i].pblk);
		if (!err && w->nodes)
			err = dafs_blklist_add(w->nodes, list->v[i].pblk);
		for (uint32_t k = 0; k < w->per_block && !err; k++, lblk += step) {
			if (!w->buf[k])
				continue;
			if (level == 1)
				err = add_data(w, w->buf[k], lblk);
			else
				err = add_ref(below, w->buf[k], lblk);
		}
	}
	return err;
}

/* The tree of a given height whose first logical block is lblk. */
static errcode_t read_tree(struct map_walk *w, uint64_t pblk, uint64_t lblk, unsigned height)
{
	struct ref_list list = { 0 }, below = { 0 };
	errcode_t err = add_ref(&list, pblk, lblk);

	for (unsigned level = height; level && !err; level--) {
		struct ref_list old = list;

		err = read_level(w, &list, level, &below);
		list = below;
		below = old;
		below.n = 0;
	}
	free(list.v);
	free(below.v);
	return err;
}

errcode_t dafs_etree_map_decode(struct dafs_image *img, uint32_t ino,
				const struct ext2_inode_large *raw, struct dafs_extlist *xl,
				struct dafs_blklist *nodes)
{
	struct map_walk w = { .img = img, .ino = ino, .per_block = img->block_size / 4, .xl = xl,
			      .nodes = nodes };
	uint64_t lblk = 0;
	errcode_t err = 0;

	w.buf = malloc(img->block_size);
	if (!w.buf)
		return ENOMEM;
	for (; lblk < NDIRECT && !err; lblk++) {
		if (raw->i_block[lblk])
			err = add_data(&w, raw->i_block[lblk], lblk);
	}
	for (unsigned height = 1; height <= MAP_LEVELS && !err; height++) {
		uint32_t top = raw->i_block[NDIRECT + height - 1];

		if (top)
			err = read_tree(&w, top, lblk, height);
		lblk += span(&w, height);
	}
	if (!err)
		err = end_run(&w);
	free(w.buf);
	return err;
}

/* ---- lookup ---- */

/* What entry at of a table says: the run of blocks, or of empty slots, around it. base: logical
 * block of entry 0; step: blocks an entry stands for. */
static void around(const uint32_t *table, uint32_t n, uint32_t at, uint64_t base, uint64_t step,
		   struct dafs_extent *ext)
{
	uint64_t start, end;
	uint32_t lo = at, hi = at + 1;

	while (lo && (table[at] ? table[lo - 1] == table[lo] - 1 : !table[lo - 1]))
		lo--;
	while (hi < n && (table[at] ? table[hi] == table[hi - 1] + 1 : !table[hi]))
		hi++;
	start = base + lo * step;
	end = base + hi * step;
	if (end > DAFS_ETREE_MAX_BLOCKS)
		end = DAFS_ETREE_MAX_BLOCKS;
	if (end - start > INT32_MAX) {
		start = base + at * step;
		if (end - start > INT32_MAX)
			end = start + INT32_MAX;
	}
	ext->lblk = (uint32_t)start;
	ext->len = (uint32_t)(end - start);
	ext->pblk = table[lo];
	ext->unwritten = 0;
}

static errcode_t lookup_tree(struct map_walk *w, const struct ext2_inode_large *raw, uint64_t lblk,
			     unsigned height, uint64_t base, struct dafs_extent *ext)
{
	const uint32_t *table = &raw->i_block[NDIRECT + height - 1];
	uint32_t n = 1, at = 0;

	for (unsigned level = height;; level--) {
		errcode_t err;

		if (!table[at] || !level) {
			around(table, n, at, base, span(w, level), ext);
			break;
		}
		err = read_table(w, table[at]);
		if (err)
			return err;
		base += at * span(w, level);
		table = w->buf;
		n = w->per_block;
		at = (uint32_t)((lblk - base) / span(w, level - 1));
	}
	return 0;
}

errcode_t dafs_etree_map_lookup(struct dafs_image *img, uint32_t ino,
				const struct ext2_inode_large *raw, uint32_t lblk,
				struct dafs_extent *ext, bool *hole)
{
	struct map_walk w = { .img = img, .ino = ino, .per_block = img->block_size / 4 };
	uint64_t base = NDIRECT;
	unsigned height = 1;
	errcode_t err = 0;

	w.buf = malloc(img->block_size);
	if (!w.buf)
		return ENOMEM;
	if (lblk < NDIRECT) {
		around(raw->i_block, NDIRECT, lblk, 0, 1, ext);
	} else {
		while (height <= MAP_LEVELS && lblk - base >= span(&w, height))
			base += span(&w, height++);
		if (height <= MAP_LEVELS)
			err = lookup_tree(&w, raw, lblk, height, base, ext);
		else
			*ext = (struct dafs_extent){ .lblk = lblk, .len = 1 };
	}
	*hole = !ext->pblk;
	if (!err && ext->pblk && !dafs_etree_range_ok(img, ino, ext->pblk, ext->len))
		err = corrupt(&w, ext->pblk, "outside the data blocks");
	if (err) {
		memset(ext, 0, sizeof(*ext));
		*hole = true;
	}
	free(w.buf);
	return err;
}
