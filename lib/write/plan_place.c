/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_place - where everything of a flush goes, and in which order it is asked for (DESIGN.md
 * section 5): directories first and together; files in change-set order, the small ones of a
 * directory back to back from one window, the large ones afterwards; then what replaces blocks of
 * the image; then tree blocks, attribute blocks and long symlink targets, grouped.
 *
 * Space that the write path promised to data and metadata comes first: remapping of overwritten
 * blocks only takes what is left.
 */
#include "config.h"

#include "write/plan_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/trace.h"

/* Files of more than this part of a group are placed after all others. */
enum { LARGE_PART_OF_GROUP = 4 };

/* This part of the room that a flush leaves may lie in gaps of sparse files. */
enum { GAP_PART_OF_ROOM = 4 };

/* ---- one run ---- */

static errcode_t take_clusters(struct dafs_plan *plan, uint64_t pblk, uint64_t len, bool meta)
{
	uint64_t start = pblk & ~(uint64_t)plan->cluster_mask;
	uint64_t end = (pblk + len + plan->cluster_mask) & ~(uint64_t)plan->cluster_mask;

	if (meta)
		plan->meta_clusters += (end - start) >> plan->img->cluster_bits;
	return dafs_plan_range_add(&plan->taken, start, end - start);
}

/* The file's blocks nearest to a request, for the trace. */
static void name_neighbours(const struct dafs_place_req *req, struct dafs_alloc_req *ar)
{
	const struct dafs_extlist *lists[] = { req->old, req->also, req->edits };

	for (size_t l = 0; l < 3; l++) {
		const struct dafs_extlist *xl = lists[l];
		size_t at = xl ? dafs_extlist_search(xl, ar->lblk) : 0;

		if (xl && at && (!ar->pleft || dafs_extent_end(&xl->v[at - 1]) > ar->lleft)) {
			ar->lleft = dafs_extent_end(&xl->v[at - 1]) - 1;
			ar->pleft = xl->v[at - 1].pblk + xl->v[at - 1].len - 1;
		}
		if (xl && at < xl->n && (!ar->pright || xl->v[at].lblk < ar->lright)) {
			ar->lright = xl->v[at].lblk;
			ar->pright = xl->v[at].pblk;
		}
	}
}

/* Ask the allocator: at the goal first where there is one, else where the last of this kind ended.
 * Pieces into plan->pieces. */
static errcode_t ask(struct dafs_plan *plan, const struct dafs_place_req *req, uint32_t lblk,
		     uint32_t len)
{
	bool meta = req->flags & DAFS_ALLOC_META;
	uint64_t *next = meta ? &plan->meta_goal : &plan->data_goal;
	struct dafs_alloc_req ar = {
		.goal = req->goal, .lblk = lblk, .len = len, .flags = req->flags, .ino = req->ino
	};
	const struct dafs_extent *last;
	errcode_t err = 0;

	if (lblk + len == req->lblk + req->len)
		ar.more = req->more;
	if (lblk == req->lblk)
		ar.lead = req->lead;
	if (plan->img->ctx->trace)
		name_neighbours(req, &ar);

	if (plan->opts.kernel_place && !meta)
		ar.flags |= DAFS_ALLOC_KERNEL;
	if (plan->tight)
		ar.flags |= DAFS_ALLOC_TIGHT;
	plan->pieces.n = 0;
	if (plan->pack && !meta && !(req->flags & DAFS_ALLOC_GOAL_ONLY)) {
		err = dafs_plan_packed(plan, req->item, &ar);
		if (err || plan->pieces.n) {
			plan->stats.alloc_calls++;
			return err;
		}
	}
	if (ar.goal && !(ar.flags & DAFS_ALLOC_KERNEL)) {
		ar.flags |= DAFS_ALLOC_GOAL_ONLY;
		err = dafs_mballoc_place(plan->ma, &ar, &plan->pieces);
		ar.flags &= ~(unsigned)DAFS_ALLOC_GOAL_ONLY;
		ar.goal = *next;
	} else if (!ar.goal) {
		ar.goal = *next;
	}
	ar.crumbs = plan->crumbs;
	if (!err && !plan->pieces.n && !(req->flags & DAFS_ALLOC_GOAL_ONLY))
		err = dafs_mballoc_place(plan->ma, &ar, &plan->pieces);
	plan->stats.alloc_calls++;
	if (err || !plan->pieces.n)
		return err;
	if (plan->crumbs)
		plan->crumbs -= plan->pieces.n <= plan->crumbs ? (uint32_t)plan->pieces.n - 1
							       : plan->crumbs;
	last = &plan->pieces.v[plan->pieces.n - 1];
	*next = last->pblk + last->len;
	return 0;
}

static errcode_t place_new(struct dafs_plan *plan, const struct dafs_place_req *req, uint32_t lblk,
			   uint32_t len)
{
	bool meta = req->flags & DAFS_ALLOC_META;
	size_t mark = dafs_trace_hold(plan->img->ctx->trace);
	errcode_t err;

	dafs_plan_trace_map(plan, req, lblk, len);
	err = ask(plan, req, lblk, len);
	/* Nothing at the goal: that was no call. */
	if (err || !plan->pieces.n) {
		dafs_trace_drop(plan->img->ctx->trace, mark);
		return err;
	}
	dafs_trace_keep(plan->img->ctx->trace);
	if (!meta && !(req->flags & DAFS_ALLOC_GOAL_ONLY))
		plan->data_pieces += plan->pieces.n;
	if (!meta && plan->pieces.n > (len - 1) / DAFS_EXT_MAX_UNWRITTEN + 1 &&
	    (!plan->least_cut || len < plan->least_cut))
		plan->least_cut = len;
	for (size_t i = 0; i < plan->pieces.n && !err; i++) {
		const struct dafs_extent *e = &plan->pieces.v[i];

		err = dafs_extlist_append(req->edits, e->pblk, e->lblk, e->len, req->unwritten);
		if (!err)
			err = take_clusters(plan, e->pblk, e->len, meta);
		if (i && e->pblk != e[-1].pblk + e[-1].len)
			plan->stats.split_runs++;
		dafs_plan_trace_mapped(plan, req, e);
	}
	return err;
}

/* Where the cluster of lblk begins on disk, when map has a block in it. */
static bool cluster_pblk(const struct dafs_plan *plan, const struct dafs_extlist *map,
			 uint32_t lblk, uint64_t *pblk)
{
	uint32_t start = lblk & ~plan->cluster_mask;
	size_t i;

	if (!map)
		return false;
	i = dafs_extlist_search(map, start);
	if (i == map->n || map->v[i].lblk > (lblk | plan->cluster_mask))
		return false;
	*pblk = map->v[i].lblk > start ? map->v[i].pblk : map->v[i].pblk + (start - map->v[i].lblk);
	*pblk &= ~(uint64_t)plan->cluster_mask;
	return true;
}

static bool cluster_held(const struct dafs_plan *plan, const struct dafs_place_req *req,
			 uint32_t lblk, uint64_t *pblk)
{
	return cluster_pblk(plan, req->old, lblk, pblk) ||
	       cluster_pblk(plan, req->also, lblk, pblk) ||
	       cluster_pblk(plan, req->edits, lblk, pblk);
}

errcode_t dafs_plan_place_run(struct dafs_plan *plan, const struct dafs_place_req *req)
{
	const uint32_t mask = plan->cluster_mask;
	uint32_t end = req->lblk + req->len;
	errcode_t err = 0;

	if (!mask)
		return place_new(plan, req, req->lblk, req->len);
	/* Clusters at both ends may be allocated already: their blocks have their place (implied
	 * allocation). */
	for (uint32_t at = req->lblk; at < end && !err;) {
		uint64_t base;
		uint32_t stop = end;

		if (at > req->lblk && req->flags & DAFS_ALLOC_DATA && !req->unwritten)
			dafs_plan_trace_chunk(plan, req->ino, at, end - at, "0x100");
		if (cluster_held(plan, req, at, &base)) {
			if (stop > (at | mask) + 1)
				stop = (at | mask) + 1;
			dafs_plan_trace_implied(plan, req,
						&(struct dafs_extent){ .pblk = base + (at & mask),
								       .lblk = at,
								       .len = stop - at });
			err = dafs_extlist_append(req->edits, base + (at & mask), at, stop - at,
						  req->unwritten);
		} else {
			if ((end & mask) && (end & ~mask) > at &&
			    cluster_held(plan, req, end & ~mask, &base))
				stop = end & ~mask;
			err = place_new(plan, req, at, stop - at);
		}
		at = stop;
	}
	return err;
}

errcode_t dafs_plan_place_meta(struct dafs_plan *plan, uint64_t ino, uint64_t *pblk)
{
	struct dafs_place_req req = { .flags = DAFS_ALLOC_META, .ino = ino };
	errcode_t err = ask(plan, &req, 0, 1);

	if (err)
		return err;
	*pblk = plan->pieces.v[0].pblk;
	plan->stats.meta_new_blks++;
	return take_clusters(plan, *pblk, 1, true);
}

/* The beginning of the group that an inode number belongs to. */
static uint64_t near_inode(const struct dafs_plan *plan, uint32_t ino)
{
	return dafs_group_first_pblk(
		plan->img, ino ? (ino - 1) / plan->img->fs->super->s_inodes_per_group : 0);
}

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

static errcode_t place_dirs(struct dafs_plan *plan)
{
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);

		if (!extra || !extra->names)
			continue;
		if (!plan->meta_goal)
			plan->meta_goal = near_inode(plan, plan->items[i].ino);
		err = place_dir(plan, i, extra);
		if (err)
			dafs_plan_fail(plan, plan->cs->inodes[i], err, NULL);
	}
	return err;
}

/* ---- files ---- */

/* A file with blocks to be placed or written. */
bool dafs_plan_has_data(const struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];

	return S_ISREG(inode->mode) && (inode->state & DAFS_I_DATA) &&
	       !(inode->state & DAFS_I_GONE) && !dafs_plan_is_inline(inode);
}

static uint64_t large_blks(const struct dafs_plan *plan)
{
	return ((uint64_t)plan->space.clusters_per_group << plan->space.cluster_bits) /
	       LARGE_PART_OF_GROUP;
}

/* A directory's files begin at item: choose where its small ones may all stand in a row. */
static void choose_window(struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode **inodes = (const struct dafs_inode **)plan->cs->inodes;
	uint64_t parent = inodes[item]->parent, total = 0, most = large_blks(plan), window;
	uint32_t parent_ino = dafs_plan_dir_ino(plan, parent);

	for (size_t i = item; i < plan->cs->n && inodes[i]->parent == parent; i++) {
		uint64_t blks = dafs_plan_has_data(plan, i) ? dafs_plan_file_new_blks(plan, i) : 0;

		if (blks <= most)
			total += (blks + plan->cluster_mask) & ~(uint64_t)plan->cluster_mask;
	}
	/* Files of a directory that the image has go near it, those of new ones behind what was
	 * placed last. */
	if (!plan->data_goal || parent < DAFS_ID_NEW)
		plan->data_goal = near_inode(plan, parent_ino);
	window = total ? dafs_mballoc_find_window(plan->ma, plan->data_goal, total) : 0;
	if (window)
		plan->data_goal = window;
}

static errcode_t place_file(struct dafs_plan *plan, size_t item)
{
	errcode_t err = dafs_plan_file(plan, item);

	if (err == DAFS_ET_NOSPC_ALLOC || err == ENOMEM)
		dafs_plan_fail(plan, plan->cs->inodes[item], err, NULL);
	return err;
}

/* Files of the image first, where they can grow in place: nobody else may take those blocks. */
static errcode_t grow_files(struct dafs_plan *plan)
{
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		if (dafs_plan_has_data(plan, i) && !(plan->cs->inodes[i]->state & DAFS_I_NEW))
			err = dafs_plan_file_grow(plan, i);
	}
	return err;
}

static errcode_t place_files(struct dafs_plan *plan)
{
	uint64_t most = large_blks(plan), parent = 0;
	bool any_large = false;
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		if (!(i & 1023))
			err = dafs_cancelled(plan->img->ctx);
		if (err || !dafs_plan_has_data(plan, i))
			continue;
		if (dafs_plan_file_new_blks(plan, i) > most) {
			any_large = true;
			continue;
		}
		if (plan->cs->inodes[i]->parent != parent) {
			parent = plan->cs->inodes[i]->parent;
			choose_window(plan, i);
		}
		err = place_file(plan, i);
	}
	for (size_t i = 0; i < plan->cs->n && !err && any_large; i++) {
		if (dafs_plan_has_data(plan, i) && dafs_plan_file_new_blks(plan, i) > most)
			err = place_file(plan, i);
	}
	return err;
}

/* A file whose runs are unwritten in parts: where they may stand in a row. */
static void window_for(struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	uint64_t blks = dafs_plan_file_new_blks(plan, item), window;

	if (plan->opts.kernel_place || (inode->state & DAFS_I_WHOLE) || !inode->u.file ||
	    !inode->u.file->falloc.n)
		return;
	if (!plan->data_goal)
		plan->data_goal = near_inode(plan, plan->items[item].ino);
	window = dafs_mballoc_find_window(plan->ma, plan->data_goal, blks);
	if (window)
		plan->data_goal = window;
}

/* A file in an order of its own (dafs_plan_files_sorted). */
static errcode_t place_in_turn(struct dafs_plan *plan, size_t item)
{
	if (!plan->tight)
		window_for(plan, item);
	return place_file(plan, item);
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
static uint64_t meta_to_come(const struct dafs_plan *plan)
{
	uint64_t blks = 0;
	size_t n;

	for (size_t i = 0; i < plan->cs->n; i++) {
		const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);
		const struct dafs_inode *inode = plan->cs->inodes[i];

		if (extents_of(plan, i, &n))
			blks += dafs_etree_blks(plan->img->block_size, n);
		if (extra && extra->xattrs)
			blks += extra->xattrs->lay.use_block + extra->xattrs->lay.value_blks + extra->xattrs->lay.nvalues;
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

static errcode_t place_meta_of(struct dafs_plan *plan, size_t item)
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
			err = dafs_plan_place_meta(plan, plan->items[item].ino, &extra->xattrs->pblk);
		if (!err)
			err = place_values(plan, extra);
	}
	return err;
}

/* What removed inodes map is given back; their attributes are let go of in the transaction. */
static errcode_t place_gone(struct dafs_plan *plan)
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

/* Blocks that earlier, direct writes chose are not free to anybody else. */
static errcode_t keep_placed(struct dafs_plan *plan)
{
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		const struct dafs_inode *inode = plan->cs->inodes[i];

		if (!dafs_plan_has_data(plan, i) || (inode->state & DAFS_I_WHOLE) || !inode->u.file)
			continue;
		for (size_t p = 0; p < inode->u.file->placed.n && !err; p++)
			err = dafs_mballoc_take(plan->ma, inode->u.file->placed.v[p].pblk,
						inode->u.file->placed.v[p].len);
	}
	return err;
}

/* The first block that a file which waits is to write next, and where on disk that would go on; false:
 * it does not go on from anything. */
static errcode_t next_place(struct dafs_plan *plan, const struct dafs_inode *inode,
			    struct dafs_alloc_req *req)
{
	union dafs_inode_buf buf;
	struct dafs_extlist map = { 0 };
	struct dafs_blklist nodes = { 0 };
	struct dafs_es_extent ext;
	size_t at;
	errcode_t err;

	req->len = 0;
	if (!inode->u.file ||
	    !dafs_es_find(&inode->u.file->es, DAFS_ES_DELAYED, 0, DAFS_RANGE_END, &ext))
		return 0;
	err = dafs_icodec_read(plan->img, inode->ino, &buf.raw, sizeof(buf));
	if (!err && buf.raw.i_flags & EXT4_EXTENTS_FL)
		err = dafs_etree_decode(plan->img, inode->ino, &buf.raw, &map, &nodes);
	at = dafs_extlist_search(&map, ext.lblk);
	if (!err && at && dafs_extent_end(&map.v[at - 1]) == ext.lblk)
		*req = (struct dafs_alloc_req){ .goal = map.v[at - 1].pblk + map.v[at - 1].len,
						.lblk = ext.lblk,
						.len = ext.len,
						.flags = DAFS_ALLOC_DATA | DAFS_ALLOC_GOAL_ONLY };
	dafs_extlist_fini(&map);
	dafs_blklist_fini(&nodes);
	return err;
}

/* What files that were written in part can go on into is left alone by this flush, as far as it is
 * free: the whole rest, or a half of it, and so on. */
static errcode_t keep_waiting(struct dafs_plan *plan)
{
	struct dafs_trace *trace = plan->img->ctx->trace;
	errcode_t err = 0;

	/* Nothing is placed here. */
	plan->img->ctx->trace = NULL;
	for (size_t i = 0; i < plan->cs->nwaiting && !err && !plan->tight; i++) {
		struct dafs_alloc_req req = { 0 };

		err = next_place(plan, plan->cs->waiting[i], &req);
		plan->pieces.n = 0;
		for (; req.len && !err && !plan->pieces.n; req.len /= 2)
			err = dafs_mballoc_place(plan->ma, &req, &plan->pieces);
	}
	plan->img->ctx->trace = trace;
	return err;
}

/* Gaps are kept between runs of sparse files as long as they leave most of what will be free. */
static void budget_gaps(struct dafs_plan *plan)
{
	uint64_t room = dafs_mballoc_free_clusters(plan->ma) << plan->img->cluster_bits, need = 0;

	for (size_t i = 0; i < plan->cs->n; i++) {
		if (dafs_plan_has_data(plan, i))
			need += dafs_plan_file_new_blks(plan, i);
	}
	plan->gap_budget_blks = !plan->tight && room > need ? (room - need) / GAP_PART_OF_ROOM : 0;
}

errcode_t dafs_plan_place(struct dafs_plan *plan)
{
	bool in_turn = plan->opts.order_dirty && !plan->tight;
	errcode_t err = keep_placed(plan);

	if (!err)
		err = keep_waiting(plan);
	if (!err)
		err = place_dirs(plan);
	if (!err)
		budget_gaps(plan);
	if (!err && !in_turn)
		err = grow_files(plan);
	if (!err && plan->pack_blks)
		err = dafs_plan_pack(plan);
	if (!err)
		err = plan->opts.order_dirty || plan->tight
			      ? dafs_plan_files_sorted(plan, place_in_turn)
			      : place_files(plan);
	if (!err && plan->any_over)
		plan->keep_clusters = meta_to_come(plan);
	for (size_t i = 0; i < plan->cs->n && !err && plan->any_over; i++) {
		struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);

		if (extra && extra->over.n)
			err = dafs_plan_file_over(plan, i);
	}
	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		err = place_meta_of(plan, i);
		if (err)
			dafs_plan_fail(plan, plan->cs->inodes[i], err, NULL);
	}
	return err ? err : place_gone(plan);
}
