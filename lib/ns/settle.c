/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * settle - a change set is in the image: its inodes are inodes of the image now, with the names it
 * had.
 *
 * Everything here works on what is loaded and cannot fail. The backing's rows of the set's inodes,
 * and of names under directories that were new, go by dafs_ns_collected; single names of old
 * directories are reported as changed.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <assert.h>
#include <stdlib.h>

#include "image/group.h"

/* A taken name is as in the image now; true: the record is of no more use. */
static bool settle_name(struct dafs_ns *ns, struct dafs_name *record)
{
	const struct dafs_inode *child = record->id ? dafs_ns_find(ns, record->id) : NULL;

	if (child)
		record->id = child->ino;
	record->image_ino = (uint32_t)record->id;
	record->flags &= (uint8_t)~DAFS_NAME_RECASED;
	if (record->flags & DAFS_NAME_SAVED)
		record->flags |= DAFS_NAME_CHANGED;
	else
		record->flags &= (uint8_t)~DAFS_NAME_CHANGED;
	return !record->id && !(record->flags & DAFS_NAME_SAVED);
}

static void settle_names(struct dafs_ns *ns, const struct dafs_ns_collection *col,
			 struct dafs_inode *inode)
{
	struct dafs_dir *dir = inode->u.dir;

	for (uint32_t i = 0; i < dir->names.room; i++) {
		struct dafs_name *record;

		/* Dropping a record may bring another into its slot. */
		while ((record = dir->names.slot[i])) {
			/* A new directory's rows go by its old id: those left are written again
			 * under its number. */
			if (inode->state & DAFS_I_NEW)
				record->flags &= (uint8_t)~DAFS_NAME_SAVED;
			if (!dafs_name_pending(record))
				break;
			if (!col->all && !dafs_ns_name_taken(ns, record)) {
				if (inode->state & DAFS_I_NEW)
					record->flags |= DAFS_NAME_CHANGED;
				break;
			}
			if (!settle_name(ns, record))
				break;
			dafs_dir_drop(dir, &ns->pool, record);
		}
	}
	dafs_dir_recount(dir);
	dir->flags |= DAFS_DIR_CHANGED;
	if (dir->flags & DAFS_DIR_COMPLETE)
		dir->flags = (uint8_t)((dir->flags & ~DAFS_DIR_COMPLETE) | DAFS_DIR_IMAGE_ALL);
	if (dir->held_nlink) {
		inode->nlink = dir->held_nlink;
		dir->held_nlink = 0;
	}
	free(dir->raw);
	dir->raw = NULL;
}

/* Inodes outside the set that name one of its new directories as their parent. */
static void settle_parents(struct dafs_ns *ns)
{
	struct dafs_inode *inode;
	uint32_t i;

	DAFS_PTAB_EACH(&ns->inodes, i, inode) {
		const struct dafs_inode *parent =
			inode->parent >= DAFS_ID_NEW ? dafs_ns_find(ns, inode->parent) : NULL;

		if (!parent || !(parent->marks & DAFS_NS_TAKEN))
			continue;
		inode->parent = parent->ino;
		if (!(inode->marks & (DAFS_NS_TAKEN | DAFS_NS_FREED)))
			dafs_ns_mark(ns, inode, 0);
	}
}

static void settle_inode(struct dafs_ns *ns, struct dafs_ns_collection *col,
			 struct dafs_inode *inode)
{
	bool left = S_ISDIR(inode->mode) && inode->u.dir &&
		    (inode->u.dir->add_names || inode->u.dir->del_names);
	bool was_new = inode->state & DAFS_I_NEW;

	inode->marks &= ~(uint32_t)(DAFS_NS_TAKEN | DAFS_NS_SAVED);
	if (inode->marks & DAFS_NS_LOSING) {
		dafs_ns_end_losing(col, inode);
		dafs_ns_mark(ns, inode, 0);
		return;
	}
	if (inode->state & DAFS_I_GONE) {
		if (inode->marks & DAFS_NS_CHANGED) {
			dafs_ns_fini_inode(ns, inode);
			inode->state = 0;
			inode->marks |= DAFS_NS_FREED;
		} else {
			dafs_ns_free_inode(ns, inode);
		}
		return;
	}
	assert(inode->ino);
	inode->state &= (uint16_t) ~(DAFS_I_DIRTY | DAFS_I_TRUNC0 | DAFS_I_PART);
	if (was_new) {
		inode->state |= DAFS_I_XLOADED;
		dafs_ns_rehash(ns, inode, inode->ino);
	}
	if (left)
		dafs_ns_mark(ns, inode, DAFS_I_NAMES | DAFS_I_ATTR);
	else if (S_ISDIR(inode->mode) && inode->u.dir && (inode->u.dir->flags & DAFS_DIR_CHANGED))
		dafs_ns_mark(ns, inode, 0);
}

/* What is left of a directory's names keeps its promise, whatever the new bound is. */
static void promise_rest(struct dafs_ns *ns, const struct dafs_inode *inode)
{
	struct dafs_reserve *rs = ns->w->reserve;
	uint64_t clusters = dafs_ns_promised(ns->img, inode).clusters;
	uint64_t used = rs->dirty_clusters + rs->promised_clusters;
	uint64_t room = used < rs->free_clusters ? rs->free_clusters - used : 0;

	rs->bound_clusters += clusters;
	rs->promised_clusters += clusters < room ? clusters : room;
}

void dafs_ns_settled(struct dafs_ns *ns, struct dafs_changeset *cs)
{
	struct dafs_ns_collection *col = cs->arg;

	assert(!col->settled);
	dafs_reserve_release(ns->w->reserve, 0, col->promise.clusters);
	dafs_reserve_release_inodes(ns->w->reserve, col->promise.inodes);
	for (size_t i = 0; i < cs->n; i++) {
		if (S_ISREG(cs->inodes[i]->mode))
			dafs_delalloc_settled(ns->w, cs->inodes[i]);
	}
	for (size_t i = 0; i < cs->n; i++) {
		struct dafs_inode *inode = cs->inodes[i];

		if (S_ISDIR(inode->mode) && inode->u.dir && !(inode->state & DAFS_I_GONE))
			settle_names(ns, col, inode);
	}
	settle_parents(ns);
	ns->w->reserve->free_clusters = dafs_group_total_free_clusters(ns->img);
	ns->w->reserve->free_inodes = dafs_group_total_free_inodes(ns->img);
	for (size_t i = 0; i < cs->n; i++) {
		struct dafs_inode *inode = cs->inodes[i];
		bool gone = inode->state & DAFS_I_GONE;

		settle_inode(ns, col, inode);
		if (!gone && (inode->state & DAFS_I_NAMES))
			promise_rest(ns, inode);
	}
	if (cs->part) {
		dafs_ns_mark(ns, cs->part->inode, DAFS_I_DATA | DAFS_I_PART);
		dafs_part_settled(ns->w, &col->part);
	}
	if (col->all) {
		ns->next_serial = 0;
		ns->w->next_seq = 0;
	}
	dafs_ns_seed(ns);
	col->settled = true;
}
