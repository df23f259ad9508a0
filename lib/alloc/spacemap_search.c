/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spacemap_search - finding places in a spacemap (spacemap.h): descents through the span trees that
 * look into groups where the bounds alone do not decide.
 */
#include "config.h"

#include "alloc/spacemap_int.h"

#include <assert.h>

/* Groups that best_fit looks into for one request. */
#define BEST_FIT_GROUPS 32

/* Where a search is. */
struct walk {
	struct dafs_spacemap *sm;
	const struct dafs_span *view;
	uint64_t from, n;
	uint64_t carry;	      /* free run that ends where the walk is ... */
	uint64_t carry_start; /* ... and begins here */
	uint64_t found;	      /* HIT */
	uint32_t ask;	      /* ASK: the group to look into first */
};

enum verdict { MISS, HIT, ASK };

/* Candidate after candidate: from origin on, then round. */
struct tour {
	uint64_t origin, at, n;
	bool wrapped;
};

static const struct dafs_span *view_of(const struct dafs_spacemap *sm, enum dafs_spacemap_view view)
{
	return view == DAFS_VIEW_DATA ? sm->data : sm->all;
}

/* Nothing is known of the group's inside but the number of its free clusters. */
static bool is_unknown(const struct dafs_spacemap *sm, uint32_t grp)
{
	const struct dafs_spacemap_group *g = &sm->groups[grp];

	return !g->buddy && g->free && g->free != dafs_spacemap_clusters(sm, grp, grp + 1);
}

/* The range [base, base+total) of span s holds nothing: what ends in it may go on behind it. */
static void carry_over(struct walk *w, const struct dafs_span *s, uint64_t base, uint64_t total)
{
	uint64_t suffix = s->suffix;

	if (base >= w->from && s->prefix == total) {
		if (!w->carry)
			w->carry_start = base;
		w->carry += total;
		return;
	}
	if (base + total - suffix < w->from)
		suffix = base + total - w->from;
	w->carry = suffix;
	w->carry_start = base + total - suffix;
}

static enum verdict ask(struct walk *w, uint32_t grp)
{
	w->ask = grp;
	return ASK;
}

static enum verdict hit(struct walk *w, uint64_t at)
{
	w->found = at;
	return HIT;
}

static enum verdict visit_leaf(struct walk *w, const struct dafs_span *s, uint32_t grp,
			       uint64_t base, uint64_t total)
{
	const struct dafs_spacemap_group *g = &w->sm->groups[grp];
	uint64_t from = w->from > base ? w->from : base;
	uint64_t prefix = from == base ? s->prefix : 0;

	/* Bounds first: they hold for groups that nobody looked into, too. */
	if (w->carry + prefix >= w->n || s->longest >= w->n) {
		if (is_unknown(w->sm, grp))
			return ask(w, grp);
		if (w->carry && w->carry + prefix >= w->n) {
			uint32_t first = dafs_spacemap_group_of(w->sm, w->carry_start);

			return is_unknown(w->sm, first) ? ask(w, first) : hit(w, w->carry_start);
		}
		if (g->buddy) {
			struct dafs_buddy_run run = dafs_buddy_first_fit(
				g->buddy, (uint32_t)(from - base), (uint32_t)w->n);

			if (run.len)
				return hit(w, base + run.start);
		} else if (base + total - from >= w->n) {
			return hit(w, from);
		}
	}
	carry_over(w, s, base, total);
	return MISS;
}

/* Search the width groups under node i. */
static enum verdict visit(struct walk *w, uint32_t i, uint32_t width)
{
	uint32_t lo = i * width - w->sm->leaves;
	uint64_t base = dafs_spacemap_start(w->sm, lo),
		 total = dafs_spacemap_clusters(w->sm, lo, lo + width);
	const struct dafs_span *s = &w->view[i];
	enum verdict verdict;

	if (base + total <= w->from || !total)
		return MISS;
	if (base >= w->from && w->carry + s->prefix < w->n && s->longest < w->n) {
		carry_over(w, s, base, total);
		return MISS;
	}
	if (width == 1)
		return visit_leaf(w, s, lo, base, total);
	verdict = visit(w, 2 * i, width / 2);
	return verdict != MISS ? verdict : visit(w, 2 * i + 1, width / 2);
}

/* Look into all groups of [start, start+n); *sure: that found nothing but what was expected. */
static errcode_t confirm(struct dafs_spacemap *sm, uint64_t start, uint64_t n, bool *sure)
{
	*sure = true;
	for (uint32_t grp = dafs_spacemap_group_of(sm, start);
	     dafs_spacemap_start(sm, grp) < start + n; grp++) {
		uint32_t before = sm->groups[grp].free;
		errcode_t err = dafs_spacemap_look(sm, grp);

		if (err)
			return err;
		if (sm->groups[grp].free != before)
			*sure = false;
	}
	return 0;
}

/* First fit at or after from, without going round. */
static errcode_t search(struct dafs_spacemap *sm, const struct dafs_span *view, uint64_t from,
			uint64_t n, uint64_t *start)
{
	bool sure = false;
	errcode_t err = 0;

	*start = DAFS_NO_CLUSTER;
	while (!err && !sure) {
		struct walk w = { .sm = sm, .view = view, .from = from, .n = n };

		switch (visit(&w, 1, sm->leaves)) {
		case MISS:
			return 0;
		case ASK:
			err = dafs_spacemap_look(sm, w.ask);
			break;
		case HIT:
			err = confirm(sm, w.found, n, &sure);
			if (!err && sure)
				*start = w.found;
			break;
		}
	}
	return err;
}

errcode_t dafs_spacemap_first_fit(struct dafs_spacemap *sm, enum dafs_spacemap_view view,
				  uint64_t from, uint64_t n, uint64_t *start)
{
	errcode_t err = search(sm, view_of(sm, view), from, n, start);

	assert(n > 0);
	if (!err && *start == DAFS_NO_CLUSTER && from)
		err = search(sm, view_of(sm, view), 0, n, start);
	return err;
}

static bool is_full(const struct dafs_spacemap *sm, const struct dafs_span *view, uint32_t i,
		    uint32_t width)
{
	uint32_t lo = i * width - sm->leaves;

	return view[i].prefix == dafs_spacemap_clusters(sm, lo, lo + width);
}

/* The group nearest to grp, in direction right (+1) or left (-1), grp itself included, that is not
 * entirely free; or sm->leaves. */
static uint32_t nearest_not_full(const struct dafs_spacemap *sm, const struct dafs_span *view,
				 uint32_t grp, bool right)
{
	uint32_t i = sm->leaves + grp, width = 1;

	while (is_full(sm, view, i, width)) {
		/* Up while i is the last child in this direction, then to its sibling. */
		while (i > 1 && (i & 1) == right) {
			i /= 2;
			width *= 2;
		}
		if (i == 1)
			return sm->leaves;
		i += right ? 1u : -1u;
	}
	while (width > 1) {
		width /= 2;
		i = 2 * i + !right;
		if (is_full(sm, view, i, width))
			i ^= 1;
	}
	return i - sm->leaves;
}

/* How far the free run goes on from a group's border: right of the groups below grp, or left of the
 * groups past it. */
static errcode_t run_past(struct dafs_spacemap *sm, const struct dafs_span *view, uint32_t grp,
			  bool right, uint64_t *end)
{
	uint32_t g;

	for (;;) {
		errcode_t err;

		g = nearest_not_full(sm, view, grp, right);
		if (g == sm->leaves || !is_unknown(sm, g) || !view[sm->leaves + g].prefix)
			break;
		err = dafs_spacemap_look(sm, g);
		if (err)
			return err;
	}
	if (g == sm->leaves)
		*end = right ? sm->space->clusters : 0;
	else if (right)
		*end = dafs_spacemap_start(sm, g) + view[sm->leaves + g].prefix;
	else
		*end = dafs_spacemap_start(sm, g) + dafs_spacemap_clusters(sm, g, g + 1) -
		       view[sm->leaves + g].suffix;
	return 0;
}

/* Widen the run [*start, *end), which lies in one group, to what is free beyond the group's
 * borders. */
static errcode_t widen(struct dafs_spacemap *sm, const struct dafs_span *view, uint64_t *start,
		       uint64_t *end)
{
	uint32_t grp = dafs_spacemap_group_of(sm, *start);
	errcode_t err = 0;

	if (*end == dafs_spacemap_start(sm, grp) + dafs_spacemap_clusters(sm, grp, grp + 1) &&
	    grp + 1 < sm->space->groups)
		err = run_past(sm, view, grp + 1, true, end);
	if (!err && *start == dafs_spacemap_start(sm, grp) && grp)
		err = run_past(sm, view, grp - 1, false, start);
	return err;
}

/* The run to consider in the group that a first fit begins in: the group's best, or the one that
 * crosses its end. */
static errcode_t candidate(struct dafs_spacemap *sm, const struct dafs_span *view, uint64_t first,
			   uint64_t n, uint64_t *start, uint64_t *end)
{
	uint32_t grp = dafs_spacemap_group_of(sm, first);
	const struct dafs_buddy *b = sm->groups[grp].buddy;
	uint64_t base = dafs_spacemap_start(sm, grp);
	struct dafs_buddy_run run = { 0, 0 };

	if (n <= dafs_buddy_largest(b))
		run = dafs_buddy_best_fit(b, (uint32_t)n);
	if (!run.len)
		run = dafs_buddy_run_at(b, (uint32_t)(first - base), true);
	*start = base + run.start;
	*end = *start + run.len;
	return widen(sm, view, start, end);
}

/* The next place where n clusters are free, looked for in [at, end) and then once more from 0 up to
 * origin. */
static errcode_t next_candidate(struct dafs_spacemap *sm, const struct dafs_span *view,
				struct tour *t, uint64_t *first)
{
	errcode_t err = search(sm, view, t->at, t->n, first);

	if (!err && *first == DAFS_NO_CLUSTER && !t->wrapped && t->origin) {
		t->wrapped = true;
		err = search(sm, view, 0, t->n, first);
	}
	if (!err && t->wrapped && *first >= t->origin)
		*first = DAFS_NO_CLUSTER;
	return err;
}

/* The shortest run among the candidates, by what is known of the groups that it goes on into. */
static errcode_t best_candidate(struct dafs_spacemap *sm, const struct dafs_span *view,
				uint64_t from, uint64_t n, uint64_t *start)
{
	struct tour t = { .origin = dafs_spacemap_start(sm, dafs_spacemap_group_of(sm, from)),
			  .n = n };
	uint64_t first, a, b, best = UINT64_MAX;

	*start = DAFS_NO_CLUSTER;
	t.at = t.origin;
	for (int looked = 0; looked < BEST_FIT_GROUPS && best != n; looked++) {
		errcode_t err = next_candidate(sm, view, &t, &first);

		if (err)
			return err;
		if (first == DAFS_NO_CLUSTER)
			break;
		err = candidate(sm, view, first, n, &a, &b);
		if (err)
			return err;
		if (b - a < best) {
			*start = a;
			best = b - a;
		}
		t.at = dafs_spacemap_start(sm, dafs_spacemap_group_of(sm, first) + 1);
		if (b > t.at)
			t.at = b;
	}
	return 0;
}

errcode_t dafs_spacemap_best_fit(struct dafs_spacemap *sm, enum dafs_spacemap_view which,
				 uint64_t from, uint64_t n, uint64_t *start)
{
	const struct dafs_span *view = view_of(sm, which);
	uint64_t len = 0;
	errcode_t err = 0;

	assert(n > 0);
	/* A group that is said to be free throughout is believed as long as nothing begins in it;
	 * what a look finds instead may come too late for the candidates before it. */
	for (*start = 0; !err && len < n && *start != DAFS_NO_CLUSTER;) {
		err = best_candidate(sm, view, from, n, start);
		if (!err && *start != DAFS_NO_CLUSTER)
			err = dafs_spacemap_run_at(sm, *start, n, &len);
	}
	if (err)
		*start = DAFS_NO_CLUSTER;
	return err;
}

errcode_t dafs_spacemap_longest(struct dafs_spacemap *sm, uint64_t *start, uint64_t *len)
{
	errcode_t err = 0;

	/* The bound shrinks with every look that was promised too much. */
	for (*len = 0, *start = DAFS_NO_CLUSTER; !err && *start == DAFS_NO_CLUSTER;) {
		*len = sm->all[1].longest;
		if (!*len)
			break;
		err = search(sm, sm->all, 0, *len, start);
	}
	return err;
}
