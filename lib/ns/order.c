/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * order - all pending inodes in reading order, whatever order they were made or loaded in.
 *
 * A walk from the root over the directories that matter: those with something pending below. A
 * directory's children are found by its pending names; what has no pending name (inodes of the
 * image that changed in place, removed ones, directories on the way) is listed by its parent
 * ("extra") and comes first, by inode number.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

struct extra {
	uint64_t parent;
	struct dafs_inode *inode;
};

struct inodes {
	struct dafs_inode **v;
	size_t n, room;
};

struct order {
	struct dafs_ns *ns;
	struct inodes dirty; /* by id */
	struct inodes out;
	struct inodes todo; /* directories to visit: a stack */
	struct extra *extra;
	size_t nextra, extra_room;
};

static errcode_t push(struct inodes *list, struct dafs_inode *inode)
{
	errcode_t err = dafs_array_grow(&list->v, list->n, &list->room, sizeof(*list->v));

	if (!err)
		list->v[list->n++] = inode;
	return err;
}

static int by_id(const void *a, const void *b)
{
	const struct dafs_inode *x = *(struct dafs_inode *const *)a,
				*y = *(struct dafs_inode *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* All dirty inodes, and marks on those that a pending name leads to. */
static errcode_t find_dirty(struct order *o)
{
	const struct dafs_name *record;
	struct dafs_inode *inode, *child;
	errcode_t err = 0;
	uint32_t i, k;

	DAFS_PTAB_EACH(&o->ns->inodes, i, inode) {
		if (!(inode->state & DAFS_I_DIRTY) || (inode->marks & DAFS_NS_FREED))
			continue;
		err = push(&o->dirty, inode);
		if (err)
			return err;
		if (!S_ISDIR(inode->mode) || !inode->u.dir || (inode->state & DAFS_I_GONE))
			continue;
		DAFS_PTAB_EACH(&inode->u.dir->names, k, record) {
			if (!record->id || !dafs_name_pending(record))
				continue;
			child = dafs_ns_find(o->ns, record->id);
			if (child)
				child->marks |= DAFS_NS_REACHED;
		}
	}
	if (o->dirty.n)
		qsort(o->dirty.v, o->dirty.n, sizeof(*o->dirty.v), by_id);
	return 0;
}

/* Where an inode without a pending name is listed: its directory, or the root when that is not
 * known any more. */
static errcode_t home_of(struct dafs_ns *ns, struct dafs_inode *inode, struct dafs_inode **ret)
{
	errcode_t err = ENOENT;

	if (S_ISDIR(inode->mode))
		err = dafs_ns_dotdot(ns, inode, ret);
	else if (inode->parent)
		err = dafs_ns_inode(ns, inode->parent, ret);
	if (err == ENOMEM)
		return err;
	if (err || !S_ISDIR((*ret)->mode) || *ret == inode)
		return dafs_ns_inode(ns, DAFS_ID_ROOT, ret);
	return 0;
}

/* The walk is to come by here: the inode, and the directories above it. */
static errcode_t involve(struct order *o, struct dafs_inode *inode)
{
	errcode_t err = 0;

	while (!err && !(inode->marks & DAFS_NS_INVOLVED)) {
		struct dafs_inode *home;

		inode->marks |= DAFS_NS_INVOLVED;
		if (inode->id == DAFS_ID_ROOT || (inode->marks & DAFS_NS_REACHED))
			break;
		err = home_of(o->ns, inode, &home);
		if (!err)
			err = dafs_array_grow(&o->extra, o->nextra, &o->extra_room,
					      sizeof(*o->extra));
		if (err)
			break;
		o->extra[o->nextra++] = (struct extra){ home->id, inode };
		inode = home;
	}
	return err;
}

static int by_parent(const void *a, const void *b)
{
	const struct extra *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return x->inode->id < y->inode->id ? -1 : x->inode->id > y->inode->id;
}

static int by_name(const void *a, const void *b)
{
	const struct dafs_name *x = *(struct dafs_name *const *)a,
			       *y = *(struct dafs_name *const *)b;
	int diff = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);

	return diff ? diff : (int)x->len - (int)y->len;
}

/* First of the extras listed under parent. */
static size_t first_extra(const struct order *o, uint64_t parent)
{
	size_t lo = 0, hi = o->nextra;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (o->extra[mid].parent < parent)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* One child of a visited directory: files come out now, directories when everything here is
 * done. */
static errcode_t meet(struct order *o, const struct dafs_inode *dir, struct dafs_inode *child)
{
	if (dir->marks & DAFS_NS_INSIDE)
		child->marks |= DAFS_NS_INSIDE;
	if (!(child->marks & DAFS_NS_INVOLVED))
		return 0;
	if (S_ISDIR(child->mode))
		return push(&o->todo, child);
	child->marks &= ~(uint32_t)DAFS_NS_INVOLVED;
	return (child->state & DAFS_I_DIRTY) ? push(&o->out, child) : 0;
}

static errcode_t meet_names(struct order *o, const struct dafs_inode *dir)
{
	const struct dafs_name *record, **sorted;
	size_t n = 0;
	errcode_t err = 0;
	uint32_t i;

	if (!dir->u.dir || !dir->u.dir->add_names || (dir->state & DAFS_I_GONE))
		return 0;
	sorted = malloc(dir->u.dir->names.n * sizeof(*sorted));
	if (!sorted)
		return ENOMEM;
	DAFS_PTAB_EACH(&dir->u.dir->names, i, record) {
		if (record->id && dafs_name_pending(record))
			sorted[n++] = record;
	}
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (size_t k = 0; !err && k < n; k++) {
		struct dafs_inode *child = dafs_ns_find(o->ns, sorted[k]->id);

		if (child)
			err = meet(o, dir, child);
	}
	free(sorted);
	return err;
}

static errcode_t visit(struct order *o, struct dafs_inode *dir)
{
	size_t first = o->todo.n;
	errcode_t err = 0;

	if (!(dir->marks & DAFS_NS_INVOLVED))
		return 0;
	dir->marks &= ~(uint32_t)DAFS_NS_INVOLVED;
	if (dir->state & DAFS_I_DIRTY)
		err = push(&o->out, dir);
	for (size_t i = first_extra(o, dir->id);
	     !err && i < o->nextra && o->extra[i].parent == dir->id; i++)
		err = meet(o, dir, o->extra[i].inode);
	if (!err)
		err = meet_names(o, dir);
	/* The stack gives the last first. */
	for (size_t i = first, k = o->todo.n; i + 1 < k; i++) {
		struct dafs_inode *other = o->todo.v[--k];

		o->todo.v[k] = o->todo.v[i];
		o->todo.v[i] = other;
	}
	return err;
}

static errcode_t walk(struct order *o)
{
	struct dafs_inode *root;
	errcode_t err = dafs_ns_inode(o->ns, DAFS_ID_ROOT, &root);

	if (!err)
		err = push(&o->todo, root);
	while (!err && o->todo.n)
		err = visit(o, o->todo.v[--o->todo.n]);
	/* What a damaged image keeps from being reached from the root comes last. */
	for (size_t i = 0; !err && i < o->dirty.n; i++) {
		if (o->dirty.v[i]->marks & DAFS_NS_INVOLVED)
			err = push(&o->out, o->dirty.v[i]);
	}
	return err;
}

errcode_t dafs_ns_order(struct dafs_ns *ns, struct dafs_inode ***order, size_t *n)
{
	struct order o = { .ns = ns };
	errcode_t err = find_dirty(&o);

	*order = NULL;
	*n = 0;
	for (size_t i = 0; !err && i < o.dirty.n; i++)
		err = involve(&o, o.dirty.v[i]);
	if (!err && o.nextra)
		qsort(o.extra, o.nextra, sizeof(*o.extra), by_parent);
	if (!err)
		err = walk(&o);
	for (size_t i = 0; i < o.dirty.n; i++)
		o.dirty.v[i]->marks &= ~(uint32_t)(DAFS_NS_REACHED | DAFS_NS_INVOLVED);
	for (size_t i = 0; i < o.nextra; i++)
		o.extra[i].inode->marks &= ~(uint32_t)(DAFS_NS_REACHED | DAFS_NS_INVOLVED);
	free(o.dirty.v);
	free(o.todo.v);
	free(o.extra);
	if (err) {
		free(o.out.v);
		return err;
	}
	*order = o.out.v;
	*n = o.out.n;
	return 0;
}
