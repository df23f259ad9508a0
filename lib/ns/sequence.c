/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sequence - in which order a limit takes what is pending.
 *
 * By turn: files that an earlier flush left in part, then reading order, or that of first dirtying.
 * Where the journal splits a flush, whatever must not come later than another comes before it on
 * top of that: what is in a directory before the directory, what a name replaces before what
 * replaces it. So a limit of any size finds a prefix that needs little more than itself
 * (closure.c), and a removed tree goes from its leaves to its root.
 *
 * Two that need each other, like a file that takes the name of the directory it came out of, cannot
 * be ordered: the one met second goes last, and with the other in the end.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>
#include <stdlib.h>

/* --- by turn --- */

struct turn {
	unsigned class;
	uint64_t seq;
	size_t at;
	struct dafs_inode *inode;
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

static struct turn turn_of(const struct dafs_ns_selection *sel, struct dafs_inode *inode, size_t at)
{
	bool data = S_ISREG(inode->mode) && (inode->state & DAFS_I_DATA) &&
		    !(inode->state & DAFS_I_GONE);
	struct turn turn = { .class = 1, .at = at, .inode = inode };

	if (inode->state & DAFS_I_PART)
		turn.class = 0;
	if (!sel->order_dirty)
		return turn;
	turn.class = data ? 0 : 2;
	if (data && !(inode->state & DAFS_I_WHOLE) && inode->u.file)
		turn.seq = inode->u.file->dirtied_seq;
	return turn;
}

static errcode_t sort_by_turn(const struct dafs_ns_selection *sel, struct dafs_inode **v, size_t n)
{
	struct turn *turns = malloc((n + 1) * sizeof(*turns));

	if (!turns)
		return ENOMEM;
	for (size_t i = 0; i < n; i++)
		turns[i] = turn_of(sel, v[i], i);
	qsort(turns, n, sizeof(*turns), by_turn);
	for (size_t i = 0; i < n; i++)
		v[i] = turns[i].inode;
	free(turns);
	return 0;
}

/* --- what must not come later than another --- */

enum { ON_STACK = DAFS_NS_INVOLVED, DONE = DAFS_NS_REACHED };

struct edge { /* first comes before the inode whose id this is */
	uint64_t id;
	struct dafs_inode *first;
};

struct edges {
	struct edge *v;
	size_t n;
};

static int by_edge(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->first->id < y->first->id ? -1 : x->first->id > y->first->id;
}

static bool has_names(const struct dafs_inode *inode)
{
	return S_ISDIR(inode->mode) && inode->u.dir && (inode->state & DAFS_I_DIRTY) &&
	       !(inode->marks & DAFS_NS_FREED);
}

static void add_edge(const struct dafs_ns *ns, struct edges *edges, uint64_t id, uint64_t first)
{
	struct dafs_inode *inode = id && first && id != first ? dafs_ns_find(ns, first) : NULL;

	if (inode && (inode->state & DAFS_I_DIRTY) && !(inode->marks & DAFS_NS_FREED))
		edges->v[edges->n++] = (struct edge){ id, inode };
}

static errcode_t find_edges(const struct dafs_ns *ns, struct edges *edges)
{
	const struct dafs_name *record;
	struct dafs_inode *inode;
	size_t room = 1;
	uint32_t i, k;

	DAFS_PTAB_EACH(&ns->inodes, i, inode) {
		if (has_names(inode))
			room += (size_t)inode->u.dir->names.n * 3;
	}
	edges->v = malloc(room * sizeof(*edges->v));
	if (!edges->v)
		return ENOMEM;
	DAFS_PTAB_EACH(&ns->inodes, i, inode) {
		if (!has_names(inode))
			continue;
		DAFS_PTAB_EACH(&inode->u.dir->names, k, record) {
			if (!dafs_name_pending(record))
				continue;
			add_edge(ns, edges, inode->id, record->id);
			add_edge(ns, edges, inode->id, record->image_ino);
			add_edge(ns, edges, record->id, record->image_ino);
		}
	}
	qsort(edges->v, edges->n, sizeof(*edges->v), by_edge);
	return 0;
}

static size_t first_edge(const struct edges *edges, uint64_t id)
{
	size_t lo = 0, hi = edges->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (edges->v[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct frame {
	struct dafs_inode *inode;
	size_t edge;  /* the next to be followed */
	size_t waits; /* for the frame so far down, or for none: its own place */
};

struct walk {
	struct edges edges;
	struct frame *stack;
	size_t depth;
	struct dafs_inode **out, **late; /* in order; those that go last */
	size_t nout, nlate;
};

static void enter(struct walk *w, struct dafs_inode *inode)
{
	inode->marks |= ON_STACK;
	w->stack[w->depth] =
		(struct frame){ inode, first_edge(&w->edges, inode->id), w->depth };
	w->depth++;
}

static void leave(struct walk *w)
{
	struct frame top = w->stack[--w->depth];

	top.inode->marks = (top.inode->marks & ~(uint32_t)ON_STACK) | DONE;
	if (top.waits == w->depth) {
		w->out[w->nout++] = top.inode;
		return;
	}
	w->late[w->nlate++] = top.inode;
	if (top.waits < w->stack[w->depth - 1].waits)
		w->stack[w->depth - 1].waits = top.waits;
}

/* The frame on top needs one that is further down. */
static void wait_for(struct walk *w, const struct dafs_inode *inode)
{
	struct frame *top = &w->stack[w->depth - 1];
	size_t at = w->depth - 1;

	while (w->stack[at].inode != inode)
		at--;
	if (at < top->waits)
		top->waits = at;
}

static void walk_from(struct walk *w, struct dafs_inode *start)
{
	if (start->marks & DONE)
		return;
	enter(w, start);
	while (w->depth) {
		struct frame *top = &w->stack[w->depth - 1];
		struct dafs_inode *first;

		if (top->edge == w->edges.n || w->edges.v[top->edge].id != top->inode->id) {
			leave(w);
			continue;
		}
		first = w->edges.v[top->edge++].first;
		if (first->marks & ON_STACK)
			wait_for(w, first);
		else if (!(first->marks & DONE))
			enter(w, first);
	}
}

static errcode_t sort_by_need(struct dafs_ns *ns, struct dafs_inode **v, size_t n)
{
	struct walk w = { 0 };
	errcode_t err = find_edges(ns, &w.edges);

	w.stack = malloc((n + 1) * sizeof(*w.stack));
	w.out = malloc((n + 1) * sizeof(struct dafs_inode *));
	w.late = malloc((n + 1) * sizeof(struct dafs_inode *));
	if (!err && (!w.stack || !w.out || !w.late))
		err = ENOMEM;
	for (size_t i = 0; i < n && !err; i++)
		walk_from(&w, v[i]);
	for (size_t i = 0; i < n && !err; i++) {
		v[i] = i < w.nout ? w.out[i] : w.late[i - w.nout];
		v[i]->marks &= ~(uint32_t)DONE;
	}
	free(w.edges.v);
	free(w.stack);
	free(w.out);
	free(w.late);
	return err;
}

errcode_t dafs_ns_sequence(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			   struct dafs_inode *const *order, size_t n, struct dafs_inode ***ret)
{
	struct dafs_inode **v = malloc((n + 1) * sizeof(*v));
	errcode_t err = v ? 0 : ENOMEM;

	for (size_t i = 0; i < n && !err; i++)
		v[i] = order[i];
	if (!err)
		err = sort_by_turn(sel, v, n);
	if (!err && sel->max_inodes)
		err = sort_by_need(ns, v, n);
	if (err) {
		free(v);
		v = NULL;
	}
	*ret = v;
	return err;
}
