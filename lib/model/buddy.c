/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * buddy - see buddy.h. Every free run is one node in two trees: by place, each node knowing the
 * longest run below it (first fit is one descent), and by length (best fit is one descent).
 */
#include "config.h"

#include "model/buddy.h"

#include "base/bits.h"

#include <assert.h>
#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct run {
	RB_ENTRY(run) place;
	RB_ENTRY(run) size;
	uint32_t start, len;
	uint32_t longest; /* of this node and those below it in the tree by place */
};

RB_HEAD(by_place, run);
RB_HEAD(by_size, run);

struct dafs_buddy {
	struct by_place places;
	struct by_size sizes;
	struct run *hot; /* where the last change was: sequential takers go on there */
	uint32_t nclusters, free, runs;
};

static int compare_size(const struct run *a, const struct run *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

static int compare_place(const struct run *a, const struct run *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

static uint32_t longest_of(const struct run *r)
{
	return r ? r->longest : 0;
}

static void update_longest(struct run *r)
{
	uint32_t left = longest_of(RB_LEFT(r, place)), right = longest_of(RB_RIGHT(r, place));

	r->longest = r->len;
	if (left > r->longest)
		r->longest = left;
	if (right > r->longest)
		r->longest = right;
}

#define OWN_TREE static __attribute__((unused))
RB_GENERATE_INTERNAL(by_size, run, size, compare_size, OWN_TREE)
/* Rotations keep longest right in the nodes they turn; the way up from a change is refresh_up's. */
#undef RB_AUGMENT
#define RB_AUGMENT(r) update_longest(r)
RB_GENERATE_INTERNAL(by_place, run, place, compare_place, OWN_TREE)

static void refresh_up(struct run *r)
{
	for (; r; r = RB_PARENT(r, place))
		update_longest(r);
}

static uint32_t run_end(const struct run *r)
{
	return r->start + r->len;
}

static void link_run(struct dafs_buddy *b, struct run *r, uint32_t start, uint32_t len)
{
	r->start = start;
	r->len = r->longest = len;
	by_place_RB_INSERT(&b->places, r);
	refresh_up(r);
	by_size_RB_INSERT(&b->sizes, r);
	b->runs++;
}

static void unlink_run(struct dafs_buddy *b, struct run *r)
{
	struct run *lowest = RB_PARENT(r, place);

	/* With two children the next run takes r's position: what it leaves is the lowest change.
	 */
	if (RB_LEFT(r, place) && RB_RIGHT(r, place)) {
		struct run *next = by_place_RB_NEXT(r);

		lowest = RB_PARENT(next, place) == r ? next : RB_PARENT(next, place);
	}
	by_place_RB_REMOVE(&b->places, r);
	refresh_up(lowest);
	by_size_RB_REMOVE(&b->sizes, r);
	b->runs--;
	if (b->hot == r)
		b->hot = NULL;
	free(r);
}

/* Move r's borders; it stays between its neighbours, so its place in the tree by place holds. */
static void resize_run(struct dafs_buddy *b, struct run *r, uint32_t start, uint32_t len)
{
	by_size_RB_REMOVE(&b->sizes, r);
	r->start = start;
	r->len = len;
	by_size_RB_INSERT(&b->sizes, r);
	refresh_up(r);
	b->hot = r;
}

errcode_t dafs_buddy_new(const uint8_t *bitmap, uint32_t nclusters, struct dafs_buddy **ret)
{
	struct dafs_buddy *b = calloc(1, sizeof(*b));
	uint32_t at = 0;

	*ret = NULL;
	if (!b)
		return ENOMEM;
	RB_INIT(&b->places);
	RB_INIT(&b->sizes);
	b->nclusters = nclusters;
	while (at < nclusters) {
		uint32_t start = bitmap ? dafs_bits_next(bitmap, nclusters, at, false) : 0;
		uint32_t end = nclusters;
		struct run *r;

		if (bitmap)
			end = dafs_bits_next(bitmap, nclusters, start, true);
		if (start == end)
			break;
		r = malloc(sizeof(*r));
		if (!r) {
			dafs_buddy_free(b);
			return ENOMEM;
		}
		link_run(b, r, start, end - start);
		b->free += end - start;
		at = end;
	}
	*ret = b;
	return 0;
}

void dafs_buddy_free(struct dafs_buddy *b)
{
	struct run *r, *next;

	if (!b)
		return;
	for (r = by_place_RB_MINMAX(&b->places, RB_NEGINF); r; r = next) {
		next = by_place_RB_NEXT(r);
		by_place_RB_REMOVE(&b->places, r);
		free(r);
	}
	free(b);
}

uint32_t dafs_buddy_clusters(const struct dafs_buddy *b)
{
	return b->nclusters;
}

uint32_t dafs_buddy_free_clusters(const struct dafs_buddy *b)
{
	return b->free;
}

uint32_t dafs_buddy_fragments(const struct dafs_buddy *b)
{
	return b->runs;
}

uint32_t dafs_buddy_largest(const struct dafs_buddy *b)
{
	return longest_of(RB_ROOT(&b->places));
}

static bool holds(const struct run *r, uint32_t c)
{
	return c >= r->start && c - r->start < r->len;
}

static struct run *run_holding(const struct dafs_buddy *b, uint32_t c)
{
	struct run *r = b->hot;

	if (r && holds(r, c))
		return r;
	r = RB_ROOT(&b->places);
	while (r && !holds(r, c))
		r = c < r->start ? RB_LEFT(r, place) : RB_RIGHT(r, place);
	return r;
}

static struct dafs_buddy_run answer(const struct run *r)
{
	struct dafs_buddy_run run = { 0, 0 };

	if (r) {
		run.start = r->start;
		run.len = r->len;
	}
	return run;
}

struct dafs_buddy_run dafs_buddy_run_at(const struct dafs_buddy *b, uint32_t c, bool whole)
{
	struct dafs_buddy_run run = answer(run_holding(b, c));

	if (run.len && !whole) {
		run.len -= c - run.start;
		run.start = c;
	}
	return run;
}

struct dafs_buddy_run dafs_buddy_best_fit(const struct dafs_buddy *b, uint32_t n)
{
	const struct run *r = RB_ROOT(&b->sizes), *best = NULL;

	while (r) {
		if (r->len >= n) {
			best = r;
			r = RB_LEFT(r, size);
		} else {
			r = RB_RIGHT(r, size);
		}
	}
	return answer(best);
}

struct dafs_buddy_run dafs_buddy_longest(const struct dafs_buddy *b)
{
	return dafs_buddy_best_fit(b, dafs_buddy_largest(b));
}

/* The first run of n or more that starts at or after from. At most one descent fails: right of the
 * place where it turns, every run is past from, so that longest is a promise. */
static const struct run *first_long(const struct run *top, uint32_t from, uint32_t n)
{
	while (top && top->longest >= n) {
		if (top->start >= from) {
			const struct run *r = first_long(RB_LEFT(top, place), from, n);

			if (r || top->len >= n)
				return r ? r : top;
		}
		top = RB_RIGHT(top, place);
	}
	return NULL;
}

struct dafs_buddy_run dafs_buddy_first_fit(const struct dafs_buddy *b, uint32_t from, uint32_t n)
{
	struct dafs_buddy_run run = dafs_buddy_run_at(b, from, false);

	if (run.len && run.len >= n)
		return run;
	return answer(first_long(RB_ROOT(&b->places), from, n));
}

errcode_t dafs_buddy_take(struct dafs_buddy *b, uint32_t start, uint32_t len)
{
	struct run *r = run_holding(b, start), *tail = NULL;
	uint32_t end;

	if (!len || !r || len > run_end(r) - start)
		return DAFS_ET_INTERNAL;
	end = run_end(r);
	if (start == r->start && len == r->len) {
		unlink_run(b, r);
	} else if (start == r->start) {
		resize_run(b, r, start + len, r->len - len);
	} else {
		if (start + len < end) {
			tail = malloc(sizeof(*tail));
			if (!tail)
				return ENOMEM;
		}
		resize_run(b, r, r->start, start - r->start);
		if (tail) {
			link_run(b, tail, start + len, end - (start + len));
			b->hot = tail;
		}
	}
	b->free -= len;
	return 0;
}

/* The first run that starts at or after c. */
static struct run *run_after(const struct dafs_buddy *b, uint32_t c)
{
	struct run *r = RB_ROOT(&b->places), *found = NULL;

	while (r) {
		if (r->start >= c) {
			found = r;
			r = RB_LEFT(r, place);
		} else {
			r = RB_RIGHT(r, place);
		}
	}
	return found;
}

errcode_t dafs_buddy_give(struct dafs_buddy *b, uint32_t start, uint32_t len)
{
	struct run *left, *right, *r;

	if (!len || start >= b->nclusters || len > b->nclusters - start || run_holding(b, start))
		return DAFS_ET_INTERNAL;
	right = run_after(b, start);
	if (right && right->start < start + len)
		return DAFS_ET_INTERNAL;
	if (right && right->start > start + len)
		right = NULL;
	left = start ? run_holding(b, start - 1) : NULL;
	if (left && right) {
		uint32_t end = run_end(right);

		unlink_run(b, right);
		resize_run(b, left, left->start, end - left->start);
	} else if (left) {
		resize_run(b, left, left->start, left->len + len);
	} else if (right) {
		resize_run(b, right, start, right->len + len);
	} else {
		r = malloc(sizeof(*r));
		if (!r)
			return ENOMEM;
		link_run(b, r, start, len);
	}
	b->free += len;
	return 0;
}

/* Order of the first chunk of a free run [at, at+left). */
static unsigned chunk_order(uint32_t at, uint32_t left, unsigned max_order)
{
	unsigned order = 31 - (unsigned)__builtin_clz(left);
	unsigned align = at ? (unsigned)__builtin_ctz(at) : 31;

	if (order > align)
		order = align;
	return order < max_order ? order : max_order;
}

void dafs_buddy_orders(const struct dafs_buddy *b, unsigned max_order, uint32_t counts[32])
{
	struct run *r;

	assert(max_order < 32);
	memset(counts, 0, 32 * sizeof(*counts));
	for (r = by_place_RB_MINMAX((struct by_place *)&b->places, RB_NEGINF); r;
	     r = by_place_RB_NEXT(r)) {
		for (uint32_t at = r->start; at < run_end(r);) {
			unsigned order = chunk_order(at, run_end(r) - at, max_order);

			counts[order]++;
			at += UINT32_C(1) << order;
		}
	}
}

struct dafs_buddy_run dafs_buddy_chunk(const struct dafs_buddy *b, unsigned max_order,
				       unsigned order)
{
	struct dafs_buddy_run best = { 0, 0 };
	struct run *r;

	assert(max_order < 32);
	for (r = by_place_RB_MINMAX((struct by_place *)&b->places, RB_NEGINF); r;
	     r = by_place_RB_NEXT(r)) {
		if (r->len >> order == 0)
			continue;
		for (uint32_t at = r->start; at < run_end(r);) {
			unsigned o = chunk_order(at, run_end(r) - at, max_order);
			uint32_t len = UINT32_C(1) << o;

			if (o >= order && (!best.len || len < best.len))
				best = (struct dafs_buddy_run){ at, len };
			at += len;
		}
	}
	return best;
}

bool dafs_buddy_verify(const struct dafs_buddy *b)
{
	struct run *r, *before = NULL;
	uint32_t sum = 0, n = 0, sized = 0;

	for (r = by_place_RB_MINMAX((struct by_place *)&b->places, RB_NEGINF); r;
	     r = by_place_RB_NEXT(r)) {
		uint32_t longest = r->longest;

		if (!r->len || r->len > b->nclusters || r->start > b->nclusters - r->len)
			return false;
		if (before && run_end(before) >= r->start)
			return false;
		update_longest(r);
		if (r->longest != longest)
			return false;
		sum += r->len;
		n++;
		before = r;
	}
	before = NULL;
	for (r = by_size_RB_MINMAX((struct by_size *)&b->sizes, RB_NEGINF); r;
	     r = by_size_RB_NEXT(r)) {
		if (before && compare_size(before, r) >= 0)
			return false;
		sized++;
		before = r;
	}
	return sum == b->free && n == b->runs && sized == n;
}
