/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirplan_edit - existing directories with blocks: which leaves names fall into, what becomes of
 * those leaves.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/dirplan_int.h"

/* A kept copy of a leaf. */
static errcode_t keep_block(struct dafs_dirplan *dp, uint32_t lblk,
			    const enum dafs_dirblock_kind *want, uint8_t **buf)
{
	errcode_t err = dafs_dirplan_keep(dp, dp->img->block_size, buf);

	return err ? err : dafs_dir_read(&dp->dir, lblk, want, *buf, NULL);
}

/* ---- linear ---- */

struct linear {
	struct dafs_dirplan *dp;
	uint32_t *used;			/* a block: bytes of its entries */
	uint8_t **copy;			/* a block: kept because it must be rewritten; or NULL */
	uint8_t *buf;
};

/* What is in a block; kept when something in it goes, or when it is an index block without an
 * index to be part of. */
static errcode_t look_at(struct linear *l, uint32_t lblk)
{
	struct dafs_dirplan *dp = l->dp;
	enum dafs_dirblock_kind kind;
	uint32_t gone;
	errcode_t err = dafs_dir_read(&dp->dir, lblk, NULL, l->buf, &kind);

	if (!err)
		err = dafs_dirplan_meet(dp, l->buf, dafs_dir_chain_bytes(&dp->dir, kind), !lblk,
					&gone, &l->used[lblk]);
	if (err)
		return err;
	if (!lblk)
		dp->parent_ino = dafs_dirblock_at(l->buf, 12)->ino;
	if (!gone && kind == DAFS_DIRBLOCK_LEAF)
		return 0;
	err = dafs_dirplan_keep(dp, dp->img->block_size, &l->copy[lblk]);
	if (!err)
		memcpy(l->copy[lblk], l->buf, dp->img->block_size);
	return err;
}

/* Additions into the room that blocks have, in request order. The first that finds none is the
 * return value's. */
static errcode_t fill_room(struct linear *l, size_t *next)
{
	struct dafs_dirplan *dp = l->dp;
	errcode_t err = 0;

	*next = 0;
	for (uint32_t lblk = 0; lblk < dp->old_blks && !err; lblk++) {
		struct dirplan_leaf leaf = { .lblk = lblk, .first = *next };
		uint32_t used = l->used[lblk];

		for (; *next < dp->nitems; ++*next) {
			used += dafs_dirplan_bytes(dp, &dp->items[*next]);
			if (used > dp->room)
				break;
		}
		leaf.n = *next - leaf.first;
		if (leaf.n && !l->copy[lblk])
			err = keep_block(dp, lblk, NULL, &l->copy[lblk]);
		leaf.buf = l->copy[lblk];
		if (!err && leaf.buf)
			err = dafs_dirplan_add_leaf(dp, &leaf);
	}
	return err;
}

/* Everything into an htree over the same blocks and more. */
static errcode_t to_htree(struct linear *l)
{
	struct dafs_dirplan *dp = l->dp;
	errcode_t err = 0;

	for (uint32_t lblk = 0; lblk < dp->old_blks && !err; lblk++) {
		if (!l->copy[lblk])
			err = keep_block(dp, lblk, NULL, &l->copy[lblk]);
		if (!err)
			err = dafs_dirplan_adopt(dp, l->copy[lblk], dp->room, !lblk);
	}
	return err ? err : dafs_dirplan_htree(dp, dp->old_blks);
}

/* Names and leaves as before an attempt. */
static void start_over(struct dafs_dirplan *dp)
{
	size_t n = 0;

	for (size_t i = 0; i < dp->nitems; i++) {
		if (!dp->items[i].old)
			dp->items[n++] = dp->items[i];
	}
	dp->nitems = n;
	dp->nolds = 0;
	dp->nleaves = 0;
	dp->write_index = false;
	dp->blks = dp->old_blks;
	dp->shape = DIRPLAN_LINEAR;
	dafs_dx_fini(&dp->dx);
	dafs_dirplan_sort_place(dp->items, dp->nitems);
}

static errcode_t shape_linear(struct linear *l)
{
	struct dafs_dirplan *dp = l->dp;
	size_t next;
	errcode_t err;

	start_over(dp);
	err = fill_room(l, &next);
	if (err || next == dp->nitems)
		return err;
	if (dp->img->has_dir_index) {
		start_over(dp);
		err = to_htree(l);
		/* Blocks cannot be given back: an index over fewer than there are would leave
		 * some outside it. */
		if (err || dp->blks >= dp->old_blks)
			return err;
		start_over(dp);
		err = fill_room(l, &next);
	}
	return err ? err : dafs_dirplan_append(dp, next);
}

errcode_t dafs_dirplan_edit_linear(struct dafs_dirplan *dp)
{
	struct linear l = { .dp = dp };
	errcode_t err = 0;

	l.used = calloc(dp->old_blks, sizeof(*l.used));
	l.copy = calloc(dp->old_blks, sizeof(*l.copy));
	l.buf = malloc(dp->img->block_size);
	if (!l.used || !l.copy || !l.buf)
		err = ENOMEM;
	for (uint32_t lblk = 0; lblk < dp->old_blks && !err; lblk++)
		err = look_at(&l, lblk);
	if (!err)
		err = dafs_dirplan_all_met(dp);
	if (!err)
		err = shape_linear(&l);
	free(l.used);
	free(l.copy);
	free(l.buf);
	return err;
}

/* ---- htree ---- */

struct split {
	size_t leaf;			/* in the old list */
	size_t first, n;		/* its pieces, in dp->leaves */
};

struct edit {
	struct dafs_dirplan *dp;
	uint8_t *touched;		/* a bit a leaf */
	struct split *splits;
	size_t nsplits, splits_room;
	size_t next_add;
};

/* The leaves where a name of this hash may be. */
static void touch(struct edit *e, uint32_t hash)
{
	size_t i = dafs_dx_find(&e->dp->dx, hash);

	do {
		e->touched[i / 8] |= (uint8_t)(1u << i % 8);
	} while (dafs_dx_continues(&e->dp->dx, ++i, hash));
}

/* A leaf that overflows: all its names, sorted, cut into pieces. The first keeps the block. */
static errcode_t split_leaf(struct edit *e, size_t i, const uint8_t *buf, size_t first_add,
			    size_t nadds, uint32_t used)
{
	struct dafs_dirplan *dp = e->dp;
	size_t first = dp->nitems, first_leaf = dp->nleaves;
	errcode_t err = dafs_dirplan_adopt(dp, buf, dp->room, false);

	for (size_t k = 0; k < nadds && !err; k++) {
		/* Not by pointer: the pool may move. */
		struct dirplan_item item = dp->items[first_add + k];

		err = dafs_dirplan_add_item(dp, &item);
	}
	if (err)
		return err;
	dafs_dirplan_sort_hash(dp, dp->items + first, dp->nitems - first);
	err = dafs_dirplan_cut(dp, first, dp->nitems - first, dafs_dirplan_want(dp, used));
	if (err)
		return err;
	dp->leaves[first_leaf].lblk = dp->dx.leaves[i].lblk;
	for (size_t k = first_leaf + 1; k < dp->nleaves; k++)
		dp->leaves[k].lblk = dp->blks++;
	err = dafs_array_grow(&e->splits, e->nsplits, &e->splits_room, sizeof(*e->splits));
	if (!err)
		e->splits[e->nsplits++] = (struct split){ i, first_leaf, dp->nleaves - first_leaf };
	return err;
}

/* One touched leaf: names go, names come. Additions are sorted, so that each leaf's lie side by
 * side. */
static errcode_t edit_leaf(struct edit *e, size_t i)
{
	enum dafs_dirblock_kind leaf_kind = DAFS_DIRBLOCK_LEAF;
	struct dafs_dirplan *dp = e->dp;
	struct dirplan_leaf leaf = { .lblk = dp->dx.leaves[i].lblk, .first = e->next_add };
	uint32_t gone, used;
	errcode_t err = keep_block(dp, leaf.lblk, &leaf_kind, &leaf.buf);

	if (!err)
		err = dafs_dirplan_meet(dp, leaf.buf, dp->room, false, &gone, &used);
	if (err)
		return err;
	while (e->next_add < dp->req.nadd &&
	       dafs_dx_find(&dp->dx, dp->items[e->next_add].hash) == i)
		used += dafs_dirplan_bytes(dp, &dp->items[e->next_add++]);
	leaf.n = e->next_add - leaf.first;
	if (used > dp->room)
		return split_leaf(e, i, leaf.buf, leaf.first, leaf.n, used);
	if (gone || leaf.n)
		return dafs_dirplan_add_leaf(dp, &leaf);
	free(dp->bufs[--dp->nbufs]);
	return 0;
}

/* Put the pieces of split leaves into the flat list, behind each other in the node where the
 * leaf was. */
static errcode_t insert_pieces(struct edit *e)
{
	struct dafs_dirplan *dp = e->dp;
	struct dafs_dx *dx = &dp->dx;
	size_t total = dx->nleaves, out = 0, s = 0;
	struct dafs_dx_leaf *v;

	for (size_t i = 0; i < e->nsplits; i++)
		total += e->splits[i].n - 1;
	v = calloc(total, sizeof(*v));
	if (!v)
		return ENOMEM;
	for (size_t i = 0; i < dx->nleaves; i++) {
		v[out++] = dx->leaves[i];
		if (s == e->nsplits || e->splits[s].leaf != i)
			continue;
		for (size_t k = 1; k < e->splits[s].n; k++) {
			const struct dirplan_leaf *piece = &dp->leaves[e->splits[s].first + k];

			v[out++] = (struct dafs_dx_leaf){ piece->hash, piece->lblk,
							  dx->leaves[i].node };
		}
		s++;
	}
	free(dx->leaves);
	dx->leaves = v;
	dx->nleaves = total;
	dp->write_index = true;
	return dafs_dx_shape(dp->img, dx, &dp->blks);
}

static errcode_t edit_leaves(struct edit *e)
{
	struct dafs_dirplan *dp = e->dp;
	errcode_t err = 0;

	for (size_t i = 0; i < dp->req.nadd; i++)
		touch(e, dp->items[i].hash);
	for (size_t i = 0; i < dp->req.ndel; i++)
		touch(e, dp->dels[i].hash);
	for (size_t i = 0; i < dp->dx.nleaves && !err; i++) {
		if (e->touched[i / 8] & 1u << i % 8)
			err = edit_leaf(e, i);
	}
	if (!err)
		err = dafs_dirplan_all_met(dp);
	if (!err && e->nsplits)
		err = insert_pieces(e);
	return err;
}

errcode_t dafs_dirplan_edit_htree(struct dafs_dirplan *dp)
{
	enum dafs_dirblock_kind root = DAFS_DIRBLOCK_ROOT;
	struct edit e = { .dp = dp };
	uint8_t *buf = malloc(dp->img->block_size);
	errcode_t err = buf ? dafs_dir_read(&dp->dir, 0, &root, buf, NULL) : ENOMEM;

	dp->shape = DIRPLAN_HTREE;
	if (!err)
		dp->parent_ino = dafs_dirblock_at(buf, 12)->ino;
	free(buf);
	if (err || !(dp->req.nadd || dp->req.ndel))
		return err;
	e.touched = calloc(1, dp->dx.nleaves / 8 + 1);
	err = e.touched ? edit_leaves(&e) : ENOMEM;
	free(e.touched);
	free(e.splits);
	return err;
}
