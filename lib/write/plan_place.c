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

/* Files of more than this part of a group are placed after all others. */
enum { LARGE_PART_OF_GROUP = 4 };

/* This part of the room that a flush leaves may lie in gaps of sparse files. */
enum { GAP_PART_OF_ROOM = 4 };

/* The beginning of the group that an inode number belongs to. */
uint64_t dafs_plan_near_inode(const struct dafs_plan *plan, uint32_t ino)
{
	return dafs_group_first_pblk(
		plan->img, ino ? (ino - 1) / plan->img->fs->super->s_inodes_per_group : 0);
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
		plan->data_goal = dafs_plan_near_inode(plan, parent_ino);
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
		plan->data_goal = dafs_plan_near_inode(plan, plan->items[item].ino);
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

/* The first block that a file which waits is to write next, and where on disk that would go on;
 * false: it does not go on from anything. */
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
		err = dafs_plan_place_dirs(plan);
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
		plan->keep_clusters = dafs_plan_meta_to_come(plan);
	for (size_t i = 0; i < plan->cs->n && !err && plan->any_over; i++) {
		struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);

		if (extra && extra->over.n)
			err = dafs_plan_file_over(plan, i);
	}
	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		err = dafs_plan_place_meta_of(plan, i);
		if (err)
			dafs_plan_fail(plan, plan->cs->inodes[i], err, NULL);
	}
	return err ? err : dafs_plan_place_gone(plan);
}
