/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mb_kernel - the comparison mode of mballoc: what ext4 in the kernel would have chosen, near
 * enough to compare layouts (what is modelled and what is not: mb_int.h). The criteria carry the
 * kernel's names.
 */
#include "config.h"

#include "alloc/mb_int.h"

#define SMALL_BLKS   16u  /* mb_stream_req: up to here a file is served from a window */
#define WINDOW_BLKS  512u /* mb_group_prealloc */
#define WINDOW_LEAST 32u  /* ... in clusters, at least */
#define MAX_TO_SCAN  200u /* runs looked at for one request */
#define MIN_TO_SCAN  10u  /* ... once a run that holds it is known */

/* One request on its way through the groups. */
struct scan {
	struct dafs_mballoc *ma;
	uint64_t n;
	uint32_t first_grp;
	bool data;
	uint32_t seen; /* runs looked at */
	uint64_t best, best_n;
};

static uint32_t group_of(const struct dafs_mballoc *ma, uint64_t c)
{
	return (uint32_t)(c / ma->space.clusters_per_group);
}

static unsigned max_order(const struct dafs_mballoc *ma)
{
	unsigned order = 0;

	/* A group's bitmap is one block: log2(block size) + 1 of it. */
	while (ma->space.clusters_per_group >> (order + 1))
		order++;
	return order > 2 ? order - 2 : 0;
}

/* Groups in the order they are tried: from the first one round. */
static errcode_t nth_group(const struct scan *s, uint32_t i, uint32_t *grp,
			   const struct dafs_buddy **b)
{
	*grp = (s->first_grp + i) % s->ma->space.groups;
	return dafs_spacemap_buddy(s->ma->map, *grp, b);
}

static void found(struct scan *s, uint32_t grp, struct dafs_buddy_run run)
{
	s->best = (uint64_t)grp * s->ma->space.clusters_per_group + run.start;
	s->best_n = run.len;
}

/* CR_POWER2_ALIGNED: a chunk of the request's own size. */
static errcode_t by_power(struct scan *s)
{
	unsigned order = 0;

	while (UINT64_C(1) << order < s->n)
		order++;
	if (s->n < 2 || UINT64_C(1) << order != s->n || order > max_order(s->ma))
		return 0;
	for (uint32_t i = 0; i < s->ma->space.groups && !s->best_n; i++) {
		const struct dafs_buddy *b;
		uint32_t grp;
		errcode_t err = nth_group(s, i, &grp, &b);

		if (err)
			return err;
		if (s->data && s->ma->space.flex_groups >= 4 && grp % s->ma->space.flex_groups == 0)
			continue;
		if (dafs_buddy_largest(b) >= s->n)
			found(s, grp, dafs_buddy_chunk(b, max_order(s->ma), order));
	}
	if (s->best_n > s->n)
		s->best_n = s->n;
	return 0;
}

/* Is the search over? While nothing holds the request the longest run is best, then the shortest
 * that does. */
static bool is_enough(const struct scan *s)
{
	if (s->best_n == s->n || s->seen > MAX_TO_SCAN)
		return true;
	return s->best_n > s->n && s->seen > MIN_TO_SCAN;
}

static void scan_group(struct scan *s, uint32_t grp, const struct dafs_buddy *b, uint32_t least)
{
	struct dafs_buddy_run run = dafs_buddy_first_fit(b, 0, least);

	for (; run.len && !is_enough(s);
	     run = dafs_buddy_first_fit(b, run.start + run.len, least)) {
		s->seen++;
		if (s->best_n < s->n ? run.len > s->best_n : run.len >= s->n && run.len < s->best_n)
			found(s, grp, run);
		if (run.start + run.len >= dafs_buddy_clusters(b))
			break;
	}
}

/* CR_GOAL_LEN_FAST (groups whose average run holds the request), then CR_GOAL_LEN_SLOW (groups with
 * enough free clusters), then CR_ANY_FREE. */
static errcode_t by_scan(struct scan *s)
{
	enum { FAST, SLOW, ANY, CRITERIA };

	for (int cr = FAST; cr < CRITERIA && !s->best_n; cr++) {
		for (uint32_t i = 0; i < s->ma->space.groups && !is_enough(s); i++) {
			const struct dafs_buddy *b;
			uint32_t grp, runs, free;
			errcode_t err = nth_group(s, i, &grp, &b);

			if (err)
				return err;
			free = dafs_buddy_free_clusters(b);
			runs = dafs_buddy_fragments(b);
			if (!runs || (cr == FAST && free / runs < s->n) ||
			    (cr == SLOW && free < s->n))
				continue;
			scan_group(s, grp, b, cr == FAST ? (uint32_t)s->n : 1);
			if (s->best_n >= s->n)
				break;
		}
	}
	return 0;
}

/* The place for n clusters, or for as many as the kernel would take at once: *len 0 when nothing is
 * free. */
static errcode_t choose(struct dafs_mballoc *ma, uint64_t goal, bool data, uint64_t n,
			uint64_t *start, uint64_t *len)
{
	struct scan s = { .ma = ma, .n = n, .first_grp = group_of(ma, goal), .data = data };
	errcode_t err = by_power(&s);

	if (!err && !s.best_n)
		err = by_scan(&s);
	*start = s.best;
	*len = s.best_n < n ? s.best_n : n;
	return err;
}

static void drop_window(struct dafs_mballoc *ma)
{
	if (ma->window_n)
		dafs_spacemap_give(ma->map, ma->window, ma->window_n);
	ma->window_n = 0;
}

/* Serve a small file from the window, a new one where the old is used up. *served false: no window
 * to be had. */
static errcode_t from_window(struct dafs_mballoc *ma, uint64_t goal, uint64_t n, bool *served)
{
	uint64_t want = WINDOW_BLKS >> ma->space.cluster_bits, start, len;
	errcode_t err;

	*served = false;
	if (want < WINDOW_LEAST)
		want = WINDOW_LEAST;
	if (ma->window_n < n) {
		drop_window(ma);
		err = choose(ma, goal, true, want, &start, &len);
		if (err || len < n)
			return err;
		err = dafs_spacemap_take(ma->map, start, len);
		if (err)
			return err;
		ma->window = start;
		ma->window_n = len;
	}
	/* Out of the window and into the request's pieces: free for a moment only. */
	start = ma->window;
	err = dafs_spacemap_give(ma->map, start, n);
	if (err)
		return err;
	ma->window += n;
	ma->window_n -= n;
	*served = true;
	return dafs_mb_take(ma, start, n);
}

/* The block behind what the file has already, when it is free. */
static errcode_t at_goal(struct dafs_mballoc *ma, uint64_t goal, uint64_t n, bool *served)
{
	uint64_t len;
	errcode_t err = dafs_spacemap_run_at(ma->map, goal, n, &len);

	*served = !err && len == n;
	return *served ? dafs_mb_take(ma, goal, n) : err;
}

/* A file's first goal: its flex group, whose first group data keeps off. */
static uint64_t default_goal(const struct dafs_mballoc *ma, bool data)
{
	return data && ma->space.flex_groups >= 4 && ma->space.groups > 1
		       ? ma->space.clusters_per_group
		       : 0;
}

errcode_t dafs_mb_kernel_place(struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
			       uint64_t n)
{
	bool data = req->flags & DAFS_ALLOC_DATA, served = false;
	uint64_t goal = default_goal(ma, data), start, len;
	errcode_t err = 0;

	if (req->goal > ma->space.first_data_block)
		goal = (req->goal - ma->space.first_data_block) >> ma->space.cluster_bits;
	if (goal >= ma->space.clusters)
		goal = default_goal(ma, data);
	if (req->flags & DAFS_ALLOC_GOAL_ONLY)
		return req->goal ? at_goal(ma, goal, n, &served) : 0;
	if (data && (uint64_t)req->lblk + req->len <= SMALL_BLKS)
		err = from_window(ma, goal, n, &served);
	else if (req->lblk && req->goal)
		err = at_goal(ma, goal, n, &served);
	while (!err && !served && n) {
		err = choose(ma, goal, data, n, &start, &len);
		if (!err && !len && !ma->window_n)
			return DAFS_ET_NOSPC_ALLOC;
		if (!err && !len)
			drop_window(ma);
		else if (!err)
			err = dafs_mb_take(ma, start, len);
		n -= len;
		goal = len ? start + len : goal;
		if (goal >= ma->space.clusters)
			goal = default_goal(ma, data);
	}
	return err;
}
