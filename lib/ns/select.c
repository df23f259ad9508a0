/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * select - which of everything that is pending goes into a change set: what is below given paths, what
 * a limit has room for, and the file at the limit in part.
 *
 * The order in which a limit takes: files that an earlier flush left in part, then reading order, or
 * that of first dirtying. What a chosen inode needs (closure.c) comes with it, whole.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool chooses(const struct dafs_ns_selection *sel)
{
	return sel && !sel->everything && (sel->npaths || sel->max_data_bytes || sel->max_inodes);
}

static errcode_t mark_paths(struct dafs_ns *ns, const struct dafs_ns_selection *sel)
{
	struct dafs_inode *inode;
	errcode_t err = 0;

	for (size_t i = 0; !err && sel && i < sel->npaths; i++) {
		err = dafs_ns_lookup(ns, sel->paths[i], 0, &inode);
		if (!err)
			inode->marks |= DAFS_NS_INSIDE;
	}
	return err;
}

size_t dafs_ns_pending(const struct dafs_ns *ns)
{
	const struct dafs_inode *inode;
	size_t n = 0;
	uint32_t i;

	DAFS_PTAB_EACH(&ns->inodes, i, inode)
		n += (inode->state & DAFS_I_DIRTY) && !(inode->marks & DAFS_NS_FREED);
	return n;
}

static void clear_marks(struct dafs_ns *ns, uint32_t marks)
{
	struct dafs_inode *inode;
	uint32_t i;

	DAFS_PTAB_EACH(&ns->inodes, i, inode)
		inode->marks &= ~marks;
}

/* Only what is QUEUED stays in order. */
static size_t keep_queued(struct dafs_inode **order, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (order[i]->marks & DAFS_NS_QUEUED)
			order[kept++] = order[i];
	}
	return kept;
}

/* An inode in the order of choosing: class, then dirtied_seq where that counts, then reading order. */
struct turn {
	unsigned class;
	uint64_t seq;
	size_t at;
};

static int by_turn(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;

	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static struct turn turn_of(const struct dafs_ns_selection *sel, const struct dafs_inode *inode,
			   size_t at)
{
	bool data = S_ISREG(inode->mode) && (inode->state & DAFS_I_DATA) &&
		    !(inode->state & DAFS_I_GONE);
	struct turn turn = { .class = 1, .at = at };

	if (inode->state & DAFS_I_PART)
		turn.class = 0;
	if (!sel->order_dirty)
		return turn;
	turn.class = data ? 0 : 2;
	if (data && !(inode->state & DAFS_I_WHOLE) && inode->u.file)
		turn.seq = inode->u.file->dirtied_seq;
	return turn;
}

/* May a reader find the file in part? Not where that is less than what it takes the place of. */
static bool replaces(const struct dafs_ns *ns, const struct dafs_inode *inode)
{
	const struct dafs_inode *dir;
	const struct dafs_name *record;
	uint32_t i, k;

	if (inode->state & DAFS_I_TRUNC0)
		return true;
	if (!(inode->state & DAFS_I_NEW) && !(inode->state & DAFS_I_WHOLE) && inode->u.file &&
	    !inode->u.file->image_end_lblk)
		return true;
	DAFS_PTAB_EACH(&ns->inodes, i, dir) {
		if (!S_ISDIR(dir->mode) || !dir->u.dir || (dir->state & DAFS_I_GONE))
			continue;
		DAFS_PTAB_EACH(&dir->u.dir->names, k, record) {
			if (record->id == inode->id && record->image_ino &&
			    record->image_ino != record->id)
				return true;
		}
	}
	return false;
}

/* The chosen ones become QUEUED: those below the paths, as many as the limits allow (at least one), the last of them cut where only
 * a part of it fits. */
static errcode_t choose(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			struct dafs_inode **order, const struct turn *turns, size_t n,
			struct dafs_part *part)
{
	uint64_t left = sel->max_data_bytes ? (sel->max_data_bytes + ns->img->block_size - 1) >>
						      ns->img->block_bits
					    : UINT64_MAX;
	size_t taken = 0;
	errcode_t err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		struct dafs_inode *inode = order[turns[i].at];
		uint64_t blks = inode->state & DAFS_I_GONE
					? 0
					: dafs_part_pending_blks(ns->img, inode);

		if (sel->npaths && !(inode->marks & DAFS_NS_INSIDE))
			continue;
		if (taken && ((sel->max_inodes && taken >= sel->max_inodes) || !left))
			break;
		part->cut_lblk = DAFS_RANGE_END;
		if (blks > left && !replaces(ns, inode))
			err = dafs_part_cut(ns->img, inode, left, &part->cut_lblk);
		if (part->cut_lblk != DAFS_RANGE_END)
			part->inode = inode;
		else if (blks > left && taken)
			break;
		inode->marks |= DAFS_NS_QUEUED;
		left -= blks < left ? blks : left;
		taken++;
		if (part->inode)
			break;
	}
	return err;
}

static errcode_t choose_in_turn(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
				struct dafs_inode **order, size_t n, struct dafs_part *part)
{
	struct turn *turns = malloc((n + 1) * sizeof(*turns));
	errcode_t err;

	if (!turns)
		return ENOMEM;
	for (size_t i = 0; i < n; i++)
		turns[i] = turn_of(sel, order[i], i);
	qsort(turns, n, sizeof(*turns), by_turn);
	err = choose(ns, sel, order, turns, n, part);
	free(turns);
	return err;
}

errcode_t dafs_ns_select(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			 struct dafs_changeset *cs, struct dafs_ns_collection *col)
{
	size_t n;
	errcode_t err = mark_paths(ns, sel);

	if (!err)
		err = dafs_ns_order(ns, &cs->inodes, &cs->n);
	n = cs->n;
	if (!err && chooses(sel)) {
		err = choose_in_turn(ns, sel, cs->inodes, cs->n, &col->part);
		if (!err)
			err = dafs_ns_close(ns, sel->max_inodes != 0);
		if (!err)
			cs->n = keep_queued(cs->inodes, cs->n);
	}
	col->all = cs->n == n && !col->part.inode;
	if (sel)
		clear_marks(ns, DAFS_NS_INSIDE | DAFS_NS_QUEUED);
	return err;
}

errcode_t dafs_ns_reselect(struct dafs_ns *ns, const struct dafs_ns_flushed *flushed, size_t n,
			   struct dafs_changeset *cs, struct dafs_ns_collection *col)
{
	size_t all;
	errcode_t err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		struct dafs_inode *inode = dafs_ns_find(ns, flushed[i].id);
		bool cut = flushed[i].cut_lblk != DAFS_RANGE_END;

		if (!inode || !flushed[i].ino || (inode->ino && inode->ino != flushed[i].ino) ||
		    (cut && (!S_ISREG(inode->mode) || !inode->u.file || col->part.inode ||
			     (inode->state & DAFS_I_GONE) || !flushed[i].cut_lblk))) {
			err = dafs_fail(ns->ctx, DAFS_ET_CACHE_DAMAGED,
					"flushed inode %llu is not pending",
					(unsigned long long)flushed[i].id);
			break;
		}
		inode->ino = flushed[i].ino;
		inode->marks |= DAFS_NS_QUEUED;
		if (cut) {
			col->part.inode = inode;
			col->part.cut_lblk = flushed[i].cut_lblk;
		}
	}
	if (!err)
		err = dafs_ns_order(ns, &cs->inodes, &all);
	cs->n = err ? 0 : keep_queued(cs->inodes, all);
	clear_marks(ns, DAFS_NS_QUEUED);
	return err;
}
