/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_meta - what of a flush is not file data: the directories' new blocks, which come first; tree
 * blocks, attribute blocks and long symlink targets, which come last and together; inodes that are
 * written whole; and what removed inodes give back. Order: plan_place.c.
 */
#include "config.h"

#include "write/plan_int.h"

#include <string.h>

/* ---- directories ---- */

static errcode_t place_dir(struct dafs_plan *plan, size_t item, struct dafs_plan_extra *extra)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	struct dafs_place_req req = { .old = &extra->map,
				      .edits = &extra->edits,
				      .lblk = extra->dir_blks - extra->dir_new_blks,
				      .len = extra->dir_new_blks,
				      .flags = DAFS_ALLOC_META,
				      .ino = plan->items[item].ino };
	struct ext2_inode_large *raw;
	errcode_t err = 0;

	if (!(inode->state & DAFS_I_NEW)) {
		err = dafs_plan_raw(plan, item, &raw);
		if (!err && !(raw->i_flags & EXT4_INLINE_DATA_FL))
			err = dafs_etree_decode(plan->img, inode->ino, raw, &extra->map,
						&extra->nodes);
		extra->nold = extra->nodes.n;
		/* A block-mapped directory becomes one of extents when it grows. */
		if (!err && extra->dir_new_blks && extra->nold &&
		    !(raw->i_flags & EXT4_EXTENTS_FL)) {
			for (size_t i = 0; i < extra->nold && !err; i++)
				err = dafs_plan_give_meta(plan, inode->ino, inode->mode,
							  extra->nodes.v[i]);
			extra->nodes.n = extra->nold = 0;
		}
		if (!err && extra->map.n)
			req.goal = extra->map.v[extra->map.n - 1].pblk +
				   extra->map.v[extra->map.n - 1].len;
	}
	if (err || !req.len)
		return err;
	extra->mapped = true;
	plan->stats.meta_new_blks += req.len;
	err = dafs_plan_place_run(plan, &req);
	if (!err)
		err = dafs_extlist_apply(&extra->map, &extra->edits, NULL);
	dafs_extlist_fini(&extra->edits);
	return err;
}

errcode_t dafs_plan_place_dirs(struct dafs_plan *plan)
{
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);

		if (!extra || !extra->names)
			continue;
		if (!plan->meta_goal)
			plan->meta_goal = dafs_plan_near_inode(plan, plan->items[i].ino);
		err = place_dir(plan, i, extra);
		if (err)
			dafs_plan_fail(plan, plan->cs->inodes[i], err, NULL);
	}
	return err;
}

/* ---- tree blocks and the rest of the metadata ---- */

/* Extents that an item's mapping will have; false when its mapping is left alone. */
static bool extents_of(const struct dafs_plan *plan, size_t item, size_t *n)
{
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	const struct dafs_inode *inode = plan->cs->inodes[item];

	*n = extra && extra->mapped ? extra->map.n + extra->edits.n : plan->items[item].nruns;
	return (extra && extra->mapped) || ((inode->state & DAFS_I_NEW) && *n);
}

/* Metadata clusters that are still to be asked for, at most. */
uint64_t dafs_plan_meta_to_come(const struct dafs_plan *plan)
{
	uint64_t blks = 0;
	size_t n;

	for (size_t i = 0; i < plan->cs->n; i++) {
		const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);
		const struct dafs_inode *inode = plan->cs->inodes[i];

		if (extents_of(plan, i, &n))
			blks += dafs_etree_blks(plan->img->block_size, n);
		if (extra && extra->xattrs)
			blks += extra->xattrs->lay.use_block +
				extra->xattrs->lay.value_blks + extra->xattrs->lay.nvalues;
		if (S_ISLNK(inode->mode) && (inode->state & DAFS_I_NEW))
			blks++;
	}
	return blks;
}

/* As many tree blocks as the mapping needs: the image's are kept, what is too much is given back.
 */
static errcode_t place_tree(struct dafs_plan *plan, size_t item, size_t extents)
{
	uint64_t need = dafs_etree_blks(plan->img->block_size, extents), pblk;
	struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	errcode_t err = 0;

	if (!need && !extra)
		return 0;
	err = dafs_plan_extra(plan, item, &extra);
	while (!err && extra->nodes.n > need) {
		err = dafs_plan_give_meta(plan, plan->items[item].ino,
					  plan->cs->inodes[item]->mode,
					  extra->nodes.v[--extra->nodes.n]);
		if (extra->nold > extra->nodes.n)
			extra->nold = extra->nodes.n;
	}
	while (!err && extra->nodes.n < need) {
		err = dafs_plan_place_meta(plan, plan->items[item].ino, &pblk);
		if (!err)
			err = dafs_blklist_add(&extra->nodes, pblk);
	}
	return err;
}

void dafs_plan_body_fini(struct dafs_plan_body *body)
{
	dafs_extlist_fini(&body->map);
	dafs_blklist_fini(&body->nodes);
}

errcode_t dafs_plan_place_body(struct dafs_plan *plan, uint32_t ino, uint64_t len_bytes,
			       struct dafs_plan_body *body)
{
	const uint32_t bs = plan->img->block_size;
	struct dafs_place_req req = { .edits = &body->map,
				      .flags = DAFS_ALLOC_META,
				      .ino = ino,
				      .len = (uint32_t)((len_bytes + bs - 1) / bs) };
	uint64_t pblk;
	errcode_t err = req.len ? dafs_plan_place_run(plan, &req) : 0;

	plan->stats.meta_new_blks += req.len;
	while (!err && body->nodes.n < dafs_etree_blks(bs, body->map.n)) {
		err = dafs_plan_place_meta(plan, ino, &pblk);
		if (!err)
			err = dafs_blklist_add(&body->nodes, pblk);
	}
	return err;
}

static errcode_t place_values(struct dafs_plan *plan, struct dafs_plan_extra *extra)
{
	errcode_t err = 0;

	for (uint32_t v = 0; v < extra->xattrs->lay.nvalues && !err; v++)
		err = dafs_plan_place_body(plan, extra->xattrs->values[v].ino,
					   extra->xattrs->values[v].attr->value_len,
					   &extra->xattrs->bodies[v]);
	return err;
}

errcode_t dafs_plan_place_meta_of(struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	struct dafs_plan_extra *extra;
	size_t extents;
	errcode_t err = 0;

	if (extents_of(plan, item, &extents))
		err = place_tree(plan, item, extents);
	if (!err && S_ISLNK(inode->mode) && (inode->state & DAFS_I_NEW) &&
	    strlen(inode->u.target) >= sizeof(((struct ext2_inode *)NULL)->i_block)) {
		err = dafs_plan_extra(plan, item, &extra);
		if (!err)
			err = dafs_plan_place_meta(plan, plan->items[item].ino,
						   &extra->target_pblk);
	}
	extra = dafs_plan_extra_of(plan, item);
	if (!err && extra && extra->xattrs) {
		if (extra->xattrs->lay.use_block)
			err = dafs_plan_place_meta(plan, plan->items[item].ino,
						   &extra->xattrs->pblk);
		if (!err)
			err = place_values(plan, extra);
	}
	return err;
}

/* What removed inodes map is given back; their attributes are let go of in the transaction. */
errcode_t dafs_plan_place_gone(struct dafs_plan *plan)
{
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		const struct dafs_inode *inode = plan->cs->inodes[i];
		struct ext2_inode_large *raw;

		if (!(inode->state & DAFS_I_GONE) || (inode->state & DAFS_I_NEW))
			continue;
		err = dafs_plan_raw(plan, i, &raw);
		if (!err)
			err = dafs_plan_give_inode(plan, inode->ino, raw);
	}
	return err;
}
