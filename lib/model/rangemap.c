/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rangemap - see rangemap.h. Every change is the same three steps: cut the ranges at both ends of
 * the interval (the only step that needs memory, so it is taken first), work on whole ranges, merge
 * at the seams.
 */
#include "config.h"

#include "model/rangemap.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct dafs_range_node {
	RB_ENTRY(dafs_range_node) entry;
	struct dafs_range r;
};

static int compare(const struct dafs_range_node *a, const struct dafs_range_node *b)
{
	return a->r.start < b->r.start ? -1 : a->r.start > b->r.start;
}

RB_GENERATE_INTERNAL(dafs_range_tree, dafs_range_node, entry, compare,
		     static __attribute__((unused)))

static uint32_t end_of(const struct dafs_range_node *n)
{
	return dafs_range_end(&n->r);
}

/* Could b, which follows a, be part of it? */
static bool joins(const struct dafs_range *a, const struct dafs_range *b)
{
	return dafs_range_end(a) == b->start && a->tag == b->tag && a->owner == b->owner &&
	       a->step == b->step && a->base + (uint64_t)a->len * a->step == b->base;
}

struct dafs_range dafs_range_clip(const struct dafs_range *r, uint32_t start, uint32_t end)
{
	struct dafs_range part = *r;

	if (start > part.start) {
		part.base += (uint64_t)(start - part.start) * part.step;
		part.len -= start - part.start;
		part.start = start;
	}
	if (end < dafs_range_end(&part))
		part.len = end - part.start;
	return part;
}

void dafs_rangemap_init(struct dafs_rangemap *map)
{
	memset(map, 0, sizeof(*map));
	RB_INIT(&map->root);
}

void dafs_rangemap_fini(struct dafs_rangemap *map)
{
	struct dafs_range_node *n = RB_ROOT(&map->root);

	/* Leaves first, by way of the parents: no rebalancing, no recursion. */
	while (n) {
		struct dafs_range_node *next =
			RB_LEFT(n, entry) ? RB_LEFT(n, entry) : RB_RIGHT(n, entry);

		if (!next) {
			next = RB_PARENT(n, entry);
			if (next && RB_LEFT(next, entry) == n)
				RB_LEFT(next, entry) = NULL;
			else if (next)
				RB_RIGHT(next, entry) = NULL;
			free(n);
		}
		n = next;
	}
	dafs_rangemap_init(map);
}

/* The first node that ends past start. */
static struct dafs_range_node *node_past(const struct dafs_rangemap *map, uint32_t start)
{
	struct dafs_range_node *n = map->last, *found = NULL;

	if (n && start >= n->r.start) {
		if (start < end_of(n))
			return n;
		n = dafs_range_tree_RB_NEXT(n);
		if (!n || start < end_of(n))
			return n;
	}
	for (n = RB_ROOT(&map->root); n;) {
		if (start < end_of(n)) {
			found = n;
			n = RB_LEFT(n, entry);
		} else {
			n = RB_RIGHT(n, entry);
		}
	}
	return found;
}

const struct dafs_range *dafs_rangemap_first(const struct dafs_rangemap *map, uint32_t start)
{
	const struct dafs_range_node *n = node_past(map, start);

	return n ? &n->r : NULL;
}

const struct dafs_range *dafs_rangemap_next(const struct dafs_range *r)
{
	struct dafs_range_node *n =
		(struct dafs_range_node *)((uintptr_t)r - offsetof(struct dafs_range_node, r));

	n = dafs_range_tree_RB_NEXT(n);
	return n ? &n->r : NULL;
}

static void insert_node(struct dafs_rangemap *map, struct dafs_range_node *n)
{
	struct dafs_range_node *twin = dafs_range_tree_RB_INSERT(&map->root, n);

	assert(!twin);
	(void)twin;
	map->n++;
}

static void remove_node(struct dafs_rangemap *map, struct dafs_range_node *n)
{
	if (map->last == n)
		map->last = NULL;
	dafs_range_tree_RB_REMOVE(&map->root, n);
	map->n--;
	free(n);
}

/* Cut the node that has at in its middle; does nothing when none has. *spare is used up if it was
 * needed. */
static void cut_at(struct dafs_rangemap *map, uint32_t at, struct dafs_range_node **spare)
{
	struct dafs_range_node *n = node_past(map, at), *tail = *spare;

	if (!n || n->r.start >= at)
		return;
	tail->r = dafs_range_clip(&n->r, at, DAFS_RANGE_END);
	n->r.len = at - n->r.start;
	insert_node(map, tail);
	*spare = NULL;
}

static bool is_inside(const struct dafs_rangemap *map, uint32_t at)
{
	const struct dafs_range_node *n = node_past(map, at);

	return n && n->r.start < at;
}

/* Make start and end borders of ranges. ENOMEM changes nothing. */
static errcode_t cut_ends(struct dafs_rangemap *map, uint32_t start, uint32_t end)
{
	struct dafs_range_node *spare[2] = { NULL, NULL };
	const uint32_t at[2] = { start, end };

	for (int i = 0; i < 2; i++) {
		if (!is_inside(map, at[i]))
			continue;
		spare[i] = malloc(sizeof(*spare[i]));
		if (!spare[i]) {
			free(spare[0]);
			return ENOMEM;
		}
	}
	for (int i = 0; i < 2; i++)
		cut_at(map, at[i], &spare[i]);
	return 0;
}

/* Remove the ranges of [start, end), whose ends are borders. */
static void take_out(struct dafs_rangemap *map, uint32_t start, uint32_t end,
		     dafs_rangemap_drop_fn drop, void *arg)
{
	struct dafs_range_node *n = node_past(map, start), *next;

	for (; n && n->r.start < end; n = next) {
		next = dafs_range_tree_RB_NEXT(n);
		if (drop)
			drop(arg, &n->r);
		remove_node(map, n);
	}
}

/* Merge n with the one that follows it, if they join. */
static bool merge_next(struct dafs_rangemap *map, struct dafs_range_node *n)
{
	struct dafs_range_node *next = dafs_range_tree_RB_NEXT(n);

	if (!next || !joins(&n->r, &next->r))
		return false;
	n->r.len += next->r.len;
	remove_node(map, next);
	return true;
}

/* The common case: r goes on where the last change ended, into nothing. */
static bool extend_last(struct dafs_rangemap *map, const struct dafs_range *r)
{
	struct dafs_range_node *n = map->last, *next;

	if (!n || !joins(&n->r, r))
		return false;
	next = dafs_range_tree_RB_NEXT(n);
	if (next && next->r.start < dafs_range_end(r))
		return false;
	n->r.len += r->len;
	merge_next(map, n);
	return true;
}

errcode_t dafs_rangemap_set(struct dafs_rangemap *map, const struct dafs_range *r,
			    dafs_rangemap_drop_fn drop, void *arg)
{
	struct dafs_range_node *n, *left;
	errcode_t err;

	if (!r->len || r->len > DAFS_RANGE_END - r->start)
		return DAFS_ET_RANGE;
	if (extend_last(map, r))
		return 0;
	n = malloc(sizeof(*n));
	if (!n)
		return ENOMEM;
	err = cut_ends(map, r->start, dafs_range_end(r));
	if (err) {
		free(n);
		return err;
	}
	take_out(map, r->start, dafs_range_end(r), drop, arg);
	n->r = *r;
	insert_node(map, n);
	left = dafs_range_tree_RB_PREV(n);
	if (left && merge_next(map, left))
		n = left;
	merge_next(map, n);
	map->last = n;
	return 0;
}

errcode_t dafs_rangemap_clear(struct dafs_rangemap *map, uint32_t start, uint32_t end,
			      dafs_rangemap_drop_fn drop, void *arg)
{
	errcode_t err;

	if (start >= end)
		return 0;
	err = cut_ends(map, start, end);
	if (!err)
		take_out(map, start, end, drop, arg);
	return err;
}

errcode_t dafs_rangemap_retag(struct dafs_rangemap *map, uint32_t start, uint32_t end, uint32_t set,
			      uint32_t clear)
{
	struct dafs_range_node *n, *left;
	errcode_t err;

	if (start >= end)
		return 0;
	err = cut_ends(map, start, end);
	if (err)
		return err;
	n = node_past(map, start);
	left = n ? dafs_range_tree_RB_PREV(n) : NULL;
	for (struct dafs_range_node *p = n; p && p->r.start < end; p = dafs_range_tree_RB_NEXT(p))
		p->r.tag = (p->r.tag | set) & ~clear;
	if (left)
		n = left;
	while (n && n->r.start < end) {
		if (!merge_next(map, n))
			n = dafs_range_tree_RB_NEXT(n);
	}
	return 0;
}

bool dafs_rangemap_verify(const struct dafs_rangemap *map)
{
	const struct dafs_range *before = NULL, *r;
	bool last_seen = !map->last;
	uint32_t n = 0;

	for (r = dafs_rangemap_first(map, 0); r; r = dafs_rangemap_next(r)) {
		if (!r->len || r->len > DAFS_RANGE_END - r->start)
			return false;
		if (before && (dafs_range_end(before) > r->start || joins(before, r)))
			return false;
		if (map->last && r == &map->last->r)
			last_seen = true;
		before = r;
		n++;
	}
	return last_seen && n == map->n;
}
