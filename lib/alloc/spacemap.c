/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spacemap - see spacemap.h: the map itself and its upkeep.
 */
#include "config.h"

#include "alloc/spacemap.h"

#include "alloc/spacemap_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_kept_for_meta(const struct dafs_spacemap *sm, uint32_t grp)
{
	return sm->data != sm->all && grp % sm->space->flex_groups == 0;
}

/* The span of two ranges side by side, of left_total and right_total clusters. */
static struct dafs_span join(const struct dafs_span *left, uint64_t left_total,
			     const struct dafs_span *right, uint64_t right_total)
{
	uint64_t middle = left->suffix + right->prefix;
	struct dafs_span s = { left->prefix, right->suffix, left->longest };

	if (left->prefix == left_total)
		s.prefix += right->prefix;
	if (right->suffix == right_total)
		s.suffix += left->suffix;
	if (right->longest > s.longest)
		s.longest = right->longest;
	if (middle > s.longest)
		s.longest = middle;
	return s;
}

/* What node i (which covers width groups) must be, by its children. */
static struct dafs_span joined(const struct dafs_spacemap *sm, const struct dafs_span *tree,
			       uint32_t i, uint32_t width)
{
	uint32_t lo = i * width - sm->leaves, mid = lo + width / 2;

	return join(&tree[2 * i], dafs_spacemap_clusters(sm, lo, mid), &tree[2 * i + 1],
		    dafs_spacemap_clusters(sm, mid, lo + width));
}

static void update_up(struct dafs_spacemap *sm, struct dafs_span *tree, uint32_t grp,
		      struct dafs_span s)
{
	uint32_t i = sm->leaves + grp, width = 1;

	while (memcmp(&tree[i], &s, sizeof(s))) {
		tree[i] = s;
		if (i == 1)
			break;
		i /= 2;
		width *= 2;
		s = joined(sm, tree, i, width);
	}
}

static struct dafs_span leaf_span(const struct dafs_spacemap *sm, uint32_t grp)
{
	const struct dafs_spacemap_group *g = &sm->groups[grp];
	uint32_t last = (uint32_t)dafs_spacemap_clusters(sm, grp, grp + 1) - 1;

	if (!g->buddy)
		return (struct dafs_span){ g->free, g->free, g->free };
	return (struct dafs_span){ dafs_buddy_run_at(g->buddy, 0, true).len,
				   dafs_buddy_run_at(g->buddy, last, true).len,
				   dafs_buddy_largest(g->buddy) };
}

static void refresh(struct dafs_spacemap *sm, uint32_t grp)
{
	struct dafs_span s = leaf_span(sm, grp);

	update_up(sm, sm->all, grp, s);
	if (sm->data != sm->all && !is_kept_for_meta(sm, grp))
		update_up(sm, sm->data, grp, s);
}

static void fill_tree(struct dafs_spacemap *sm, struct dafs_span *tree)
{
	uint32_t width = 1;

	for (uint32_t g = 0; g < sm->space->groups; g++) {
		if (tree == sm->all || !is_kept_for_meta(sm, g))
			tree[sm->leaves + g] = leaf_span(sm, g);
	}
	for (uint32_t i = sm->leaves - 1; i > 0; i--) {
		if (((i + 1) & i) == 0)
			width *= 2;
		tree[i] = joined(sm, tree, i, width);
	}
}

errcode_t dafs_spacemap_new(const struct dafs_space *space, struct dafs_spacemap **ret)
{
	struct dafs_spacemap *sm = calloc(1, sizeof(*sm));

	*ret = NULL;
	if (!sm)
		return ENOMEM;
	sm->space = space;
	sm->leaves = 1;
	while (sm->leaves < space->groups)
		sm->leaves *= 2;
	sm->groups = calloc(space->groups, sizeof(*sm->groups));
	sm->all = calloc((size_t)sm->leaves * 2, sizeof(*sm->all));
	sm->data = space->flex_groups >= 4 ? calloc((size_t)sm->leaves * 2, sizeof(*sm->data))
					   : sm->all;
	if (!sm->groups || !sm->all || !sm->data) {
		dafs_spacemap_free(sm);
		return ENOMEM;
	}
	for (uint32_t g = 0; g < space->groups; g++) {
		uint64_t most = dafs_spacemap_clusters(sm, g, g + 1);
		uint32_t n = space->free(space->arg, g);

		sm->groups[g].free = n < most ? n : (uint32_t)most;
		sm->free += sm->groups[g].free;
	}
	fill_tree(sm, sm->all);
	if (sm->data != sm->all)
		fill_tree(sm, sm->data);
	*ret = sm;
	return 0;
}

void dafs_spacemap_free(struct dafs_spacemap *sm)
{
	if (!sm)
		return;
	for (uint32_t g = 0; sm->groups && g < sm->space->groups; g++)
		dafs_buddy_free(sm->groups[g].buddy);
	if (sm->data != sm->all)
		free(sm->data);
	free(sm->all);
	free(sm->groups);
	free(sm);
}

uint64_t dafs_spacemap_free_clusters(const struct dafs_spacemap *sm)
{
	return sm->free;
}

uint32_t dafs_spacemap_looked(const struct dafs_spacemap *sm)
{
	return sm->looked;
}

errcode_t dafs_spacemap_look(struct dafs_spacemap *sm, uint32_t grp)
{
	struct dafs_spacemap_group *g = &sm->groups[grp];
	const uint8_t *bits = NULL;
	errcode_t err;

	if (g->buddy)
		return 0;
	err = sm->space->bits(sm->space->arg, grp, &bits);
	if (!err)
		err = dafs_buddy_new(bits, (uint32_t)dafs_spacemap_clusters(sm, grp, grp + 1),
				     &g->buddy);
	if (err)
		return err;
	sm->free -= g->free;
	g->free = dafs_buddy_free_clusters(g->buddy);
	sm->free += g->free;
	sm->looked++;
	refresh(sm, grp);
	return 0;
}

errcode_t dafs_spacemap_buddy(struct dafs_spacemap *sm, uint32_t grp, const struct dafs_buddy **ret)
{
	errcode_t err = dafs_spacemap_look(sm, grp);

	*ret = err ? NULL : sm->groups[grp].buddy;
	return err;
}

errcode_t dafs_spacemap_run_at(struct dafs_spacemap *sm, uint64_t c, uint64_t max, uint64_t *len)
{
	*len = 0;
	while (*len < max && c < sm->space->clusters) {
		uint32_t grp = dafs_spacemap_group_of(sm, c),
			 at = (uint32_t)(c - dafs_spacemap_start(sm, grp)), run;
		errcode_t err = dafs_spacemap_look(sm, grp);

		if (err)
			return err;
		run = dafs_buddy_run_at(sm->groups[grp].buddy, at, false).len;
		*len += run;
		c += run;
		if (!run || at + run < dafs_buddy_clusters(sm->groups[grp].buddy))
			break;
	}
	if (*len > max)
		*len = max;
	return 0;
}

/* Take or give [start, start+n) group by group, up to the first error; *done clusters succeeded. */
static errcode_t change(struct dafs_spacemap *sm, uint64_t start, uint64_t n, bool take,
			uint64_t *done)
{
	errcode_t err = 0;

	for (*done = 0; *done < n;) {
		uint64_t c = start + *done;
		uint32_t grp = dafs_spacemap_group_of(sm, c),
			 at = (uint32_t)(c - dafs_spacemap_start(sm, grp));
		uint64_t part = dafs_spacemap_clusters(sm, grp, grp + 1) - at;
		struct dafs_spacemap_group *g = &sm->groups[grp];

		if (part > n - *done)
			part = n - *done;
		err = dafs_spacemap_look(sm, grp);
		if (!err)
			err = take ? dafs_buddy_take(g->buddy, at, (uint32_t)part)
				   : dafs_buddy_give(g->buddy, at, (uint32_t)part);
		if (err)
			break;
		sm->free -= g->free;
		g->free = dafs_buddy_free_clusters(g->buddy);
		sm->free += g->free;
		refresh(sm, grp);
		*done += part;
	}
	return err;
}

static errcode_t change_all(struct dafs_spacemap *sm, uint64_t start, uint64_t n, bool take)
{
	uint64_t done, undone;
	errcode_t err;

	if (!n || start >= sm->space->clusters || n > sm->space->clusters - start)
		return DAFS_ET_RANGE;
	err = change(sm, start, n, take, &done);
	if (err)
		change(sm, start, done, !take, &undone);
	return err;
}

errcode_t dafs_spacemap_take(struct dafs_spacemap *sm, uint64_t start, uint64_t n)
{
	return change_all(sm, start, n, true);
}

errcode_t dafs_spacemap_give(struct dafs_spacemap *sm, uint64_t start, uint64_t n)
{
	return change_all(sm, start, n, false);
}

static bool verify_tree(const struct dafs_spacemap *sm, const struct dafs_span *tree)
{
	uint32_t width = 1;

	for (uint32_t g = 0; g < sm->space->groups; g++) {
		struct dafs_span want = { 0, 0, 0 };

		if (tree == sm->all || !is_kept_for_meta(sm, g))
			want = leaf_span(sm, g);
		if (memcmp(&tree[sm->leaves + g], &want, sizeof(want)))
			return false;
	}
	for (uint32_t i = sm->leaves - 1; i > 0; i--) {
		struct dafs_span want;

		if (((i + 1) & i) == 0)
			width *= 2;
		want = joined(sm, tree, i, width);
		if (memcmp(&tree[i], &want, sizeof(want)))
			return false;
	}
	return true;
}

bool dafs_spacemap_verify(const struct dafs_spacemap *sm)
{
	uint64_t sum = 0;

	for (uint32_t g = 0; g < sm->space->groups; g++) {
		const struct dafs_spacemap_group *grp = &sm->groups[g];

		if (grp->buddy && (!dafs_buddy_verify(grp->buddy) ||
				   dafs_buddy_free_clusters(grp->buddy) != grp->free))
			return false;
		sum += grp->free;
	}
	return sum == sm->free && verify_tree(sm, sm->all) && verify_tree(sm, sm->data);
}
