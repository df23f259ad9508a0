/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * closure - what must go to the image together, so that it is consistent when only a part of what
 * is pending is flushed.
 *
 * An inode goes with all its pending names, added and taken away (its link count then fits); a name
 * with the inode it leads to, the one it replaces, and its directory; a new directory therefore
 * with its own name, and so up to the image; a removed directory with all that was in it. Names of
 * other inodes in the same directories stay behind.
 *
 * Where the journal splits a flush (trees_cut), a removed directory that was not chosen itself
 * stays for now, LOSING the names of what goes: so a removed tree can go in any number of steps,
 * each of which leaves a tree.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>
#include <stdlib.h>

/* One pending name, listed under the inode it concerns. */
struct use {
	uint64_t id;
	struct dafs_inode *dir;
	const struct dafs_name *name;
};

struct closure {
	struct dafs_ns *ns;
	bool trees_cut; /* removed directories may lose their names one by one */
	struct use *uses;
	size_t nuses;
	struct dafs_inode **work;
	size_t nwork;
};

static bool has_pending_names(const struct dafs_inode *inode)
{
	return S_ISDIR(inode->mode) && inode->u.dir && (inode->state & DAFS_I_DIRTY) &&
	       !(inode->marks & DAFS_NS_FREED);
}

static int by_id(const void *a, const void *b)
{
	const struct use *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* The index, and room for every inode on the work list. */
static errcode_t make_index(struct closure *c)
{
	const struct dafs_name *record;
	struct dafs_inode *inode;
	size_t room = 1;
	uint32_t i, k;

	DAFS_PTAB_EACH(&c->ns->inodes, i, inode) {
		if (has_pending_names(inode))
			room += (size_t)inode->u.dir->names.n * 2;
	}
	c->uses = malloc(room * sizeof(*c->uses));
	c->work = malloc((c->ns->inodes.n + 1) * sizeof(*c->work));
	if (!c->uses || !c->work)
		return ENOMEM;
	DAFS_PTAB_EACH(&c->ns->inodes, i, inode) {
		if (!has_pending_names(inode))
			continue;
		DAFS_PTAB_EACH(&inode->u.dir->names, k, record) {
			if (!dafs_name_pending(record))
				continue;
			if (record->id)
				c->uses[c->nuses++] = (struct use){ record->id, inode, record };
			if (record->image_ino && record->image_ino != record->id)
				c->uses[c->nuses++] =
					(struct use){ record->image_ino, inode, record };
		}
	}
	qsort(c->uses, c->nuses, sizeof(*c->uses), by_id);
	return 0;
}

static void queue(struct closure *c, struct dafs_inode *inode)
{
	if (!inode || (inode->marks & DAFS_NS_FREED) || !(inode->state & DAFS_I_DIRTY))
		return;
	if ((inode->marks & DAFS_NS_QUEUED) && !(inode->marks & DAFS_NS_LOSING))
		return;
	inode->marks = (inode->marks & ~(uint32_t)DAFS_NS_LOSING) | DAFS_NS_QUEUED;
	c->work[c->nwork++] = inode;
}

/* A directory in which something that goes has a name. */
static void queue_dir(struct closure *c, struct dafs_inode *dir)
{
	if (!c->trees_cut || !(dir->state & DAFS_I_GONE))
		queue(c, dir);
	else if (!(dir->marks & DAFS_NS_QUEUED))
		dir->marks |= DAFS_NS_QUEUED | DAFS_NS_LOSING;
}

static void follow_uses(struct closure *c, uint64_t id)
{
	size_t lo = 0, hi = c->nuses;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->uses[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < c->nuses && c->uses[lo].id == id; lo++) {
		queue_dir(c, c->uses[lo].dir);
		queue(c, dafs_ns_find(c->ns, c->uses[lo].name->id));
		queue(c, dafs_ns_find(c->ns, c->uses[lo].name->image_ino));
	}
}

static void follow_removed(struct closure *c, const struct dafs_inode *dir)
{
	const struct dafs_name *record;
	uint32_t i;

	if (!S_ISDIR(dir->mode) || !(dir->state & DAFS_I_GONE) || !dir->u.dir)
		return;
	DAFS_PTAB_EACH(&dir->u.dir->names, i, record) {
		if (record->image_ino)
			queue(c, dafs_ns_find(c->ns, record->image_ino));
	}
}

errcode_t dafs_ns_close(struct dafs_ns *ns, bool trees_cut)
{
	struct closure c = { .ns = ns, .trees_cut = trees_cut };
	struct dafs_inode *inode;
	errcode_t err = make_index(&c);
	uint32_t i;

	if (!err) {
		DAFS_PTAB_EACH(&ns->inodes, i, inode) {
			if (inode->marks & DAFS_NS_QUEUED)
				c.work[c.nwork++] = inode;
		}
		while (c.nwork) {
			inode = c.work[--c.nwork];
			follow_uses(&c, inode->id);
			follow_removed(&c, inode);
		}
	}
	free(c.uses);
	free(c.work);
	return err;
}

static bool is_taken(const struct dafs_ns *ns, uint64_t id)
{
	const struct dafs_inode *inode = id ? dafs_ns_find(ns, id) : NULL;

	return inode && (inode->marks & DAFS_NS_TAKEN) && !(inode->marks & DAFS_NS_LOSING);
}

bool dafs_ns_name_taken(const struct dafs_ns *ns, const struct dafs_name *name)
{
	return is_taken(ns, name->id) || is_taken(ns, name->image_ino);
}
