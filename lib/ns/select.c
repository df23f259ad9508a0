/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * select - which of everything that is pending goes into a change set: what is below given paths,
 * what a limit has room for, and the file at the limit in part.
 *
 * A limit takes in the order of sequence.c. What a chosen inode needs (closure.c) comes with it:
 * whole, but for removed directories where the journal splits a flush, which may lose a part of
 * their names and stay.
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

/* Only what is QUEUED stays in order. *whole: all of it is there, and goes whole. */
static size_t keep_queued(struct dafs_inode **order, size_t n, bool *whole)
{
	size_t kept = 0, losing = 0;

	for (size_t i = 0; i < n; i++) {
		if (!(order[i]->marks & DAFS_NS_QUEUED))
			continue;
		losing += (order[i]->marks & DAFS_NS_LOSING) != 0;
		order[kept++] = order[i];
	}
	*whole = kept == n && !losing;
	return kept;
}

/* May a reader find the file in part? Not where that is less than what it takes the place of. */
static bool replaces(const struct dafs_ns *ns, const struct dafs_inode *inode)
{
	const struct dafs_inode *dir;
	const struct dafs_name *record;
	uint32_t i, k;

	if (inode->state & DAFS_I_TRUNC0)
		return true;
	if (S_ISREG(inode->mode) && !(inode->state & (DAFS_I_NEW | DAFS_I_WHOLE)) &&
	    inode->u.file && !inode->u.file->image_end_lblk)
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

/* The chosen ones become QUEUED: those below the paths, as many as the limits allow (at least one),
 * the last of them cut where only a part of it fits. */
static errcode_t choose(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			struct dafs_inode *const *sequence, size_t n, struct dafs_part *part)
{
	uint64_t left = sel->max_data_bytes ? (sel->max_data_bytes + ns->img->block_size - 1) >>
						      ns->img->block_bits
					    : UINT64_MAX;
	size_t taken = 0;
	errcode_t err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		struct dafs_inode *inode = sequence[i];
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

/* The next of all, if it is to be taken by itself and piece by piece. */
static errcode_t choose_piece(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			      struct dafs_inode *const *sequence, size_t n,
			      struct dafs_ns_shrink *shrink)
{
	size_t i = 0;

	while (i < n && sel->npaths && !(sequence[i]->marks & DAFS_NS_INSIDE))
		i++;
	return i < n ? dafs_ns_shrink_choose(ns, sequence[i], shrink) : 0;
}

/* The chosen ones, and what they need. */
static errcode_t choose_in_turn(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
				const struct dafs_changeset *cs, struct dafs_ns_collection *col)
{
	struct dafs_inode **sequence;
	errcode_t err = dafs_ns_sequence(ns, sel, cs->inodes, cs->n, &sequence);

	if (!err && sel->shrink)
		err = choose_piece(ns, sel, sequence, cs->n, &col->shrink);
	if (!err && !col->shrink.inode)
		err = choose(ns, sel, sequence, cs->n, &col->part);
	if (!err && !col->shrink.inode)
		err = dafs_ns_close(ns, sel->max_inodes != 0);
	free(sequence);
	return err;
}

errcode_t dafs_ns_select(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			 struct dafs_changeset *cs, struct dafs_ns_collection *col)
{
	bool whole = true;
	errcode_t err = mark_paths(ns, sel);

	if (!err)
		err = dafs_ns_order(ns, &cs->inodes, &cs->n);
	if (!err && chooses(sel)) {
		err = choose_in_turn(ns, sel, cs, col);
		if (!err)
			cs->n = keep_queued(cs->inodes, cs->n, &whole);
	}
	col->all = whole && !col->part.inode;
	if (sel)
		clear_marks(ns, DAFS_NS_INSIDE | DAFS_NS_QUEUED);
	return err;
}

/* Can it have been flushed so? */
static bool fits(const struct dafs_inode *inode, const struct dafs_ns_flushed *flushed)
{
	if (!inode || !(inode->state & DAFS_I_DIRTY) || !flushed->ino ||
	    (inode->ino && inode->ino != flushed->ino))
		return false;
	if (flushed->cut_lblk == DAFS_RANGE_END)
		return true;
	if (S_ISDIR(inode->mode))
		return (inode->state & DAFS_I_GONE) && inode->u.dir && !flushed->cut_lblk;
	if (!S_ISREG(inode->mode))
		return false;
	if (!flushed->cut_lblk)
		return !(inode->state & DAFS_I_NEW);
	return inode->u.file && !(inode->state & DAFS_I_GONE);
}

errcode_t dafs_ns_reselect(struct dafs_ns *ns, const struct dafs_ns_flushed *flushed, size_t n,
			   struct dafs_changeset *cs, struct dafs_ns_collection *col)
{
	bool whole;
	size_t all;
	errcode_t err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		struct dafs_inode *inode = dafs_ns_find(ns, flushed[i].id);
		bool cut = flushed[i].cut_lblk != DAFS_RANGE_END;

		if (!fits(inode, &flushed[i]) ||
		    (cut && S_ISREG(inode->mode) && (col->part.inode || col->shrink.inode))) {
			err = dafs_fail(ns->ctx, DAFS_ET_CACHE_DAMAGED,
					"flushed inode %llu is not pending",
					(unsigned long long)flushed[i].id);
			break;
		}
		inode->ino = flushed[i].ino;
		inode->marks |= DAFS_NS_QUEUED;
		if (!flushed[i].cut_lblk) {
			inode->marks |= DAFS_NS_LOSING;
			if (S_ISREG(inode->mode))
				col->shrink.inode = inode;
		} else if (cut) {
			col->part.inode = inode;
			col->part.cut_lblk = flushed[i].cut_lblk;
		}
	}
	if (!err)
		err = dafs_ns_order(ns, &cs->inodes, &all);
	cs->n = err ? 0 : keep_queued(cs->inodes, all, &whole);
	clear_marks(ns, DAFS_NS_QUEUED);
	return err;
}
