/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pack_greedy - one answer by one rule: lengths in falling order, each into the shortest run that
 * holds it whole; what no run holds is cut, at once or when all others have their place.
 */
#include "config.h"

#include "model/pack_int.h"

#include "base/array.h"

#include <assert.h>
#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdlib.h>

/* What is left of a run. */
struct left {
	RB_ENTRY(left) link;
	uint64_t len;
	uint32_t run;
};

RB_HEAD(by_len, left);

static int compare_left(const struct left *a, const struct left *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return a->run < b->run ? -1 : a->run > b->run;
}

#define OWN_TREE static __attribute__((unused))
RB_GENERATE_INTERNAL(by_len, left, link, compare_left, OWN_TREE)

struct greedy {
	const struct dafs_pack_problem *p;
	struct left *nodes;
	struct by_len free;
	struct dafs_pack_answer *answer;
};

struct sorted {
	uint64_t len;
	uint32_t item;
};

static int falling(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;

	if (x->len != y->len)
		return x->len > y->len ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

/* The shortest that holds len; NULL: none does. */
static struct left *best_fit(struct greedy *g, uint64_t len)
{
	struct left key = { .len = len, .run = 0 };

	return RB_NFIND(by_len, &g->free, &key);
}

static errcode_t give(struct greedy *g, uint32_t item, struct left *node, uint64_t len)
{
	struct dafs_pack_answer *a = g->answer;
	errcode_t err = dafs_array_grow(&a->v, a->n, &a->room, sizeof(*a->v));

	if (err)
		return err;
	a->v[a->n++] = (struct dafs_pack_bit){ .len = len, .item = item, .run = node->run };
	RB_REMOVE(by_len, &g->free, node);
	node->len -= len;
	if (node->len)
		RB_INSERT(by_len, &g->free, node);
	return 0;
}

/* The fewest runs that hold len. */
static uint64_t fewest(struct greedy *g, uint64_t len)
{
	uint64_t n = 0, sum = 0;

	for (struct left *node = RB_MAX(by_len, &g->free); node && sum < len;
	     node = RB_PREV(by_len, &g->free, node)) {
		sum += node->len;
		n++;
	}
	return n;
}

/* Longest runs first, the end where it fits best; or all about as long as each other. */
static errcode_t cut(struct greedy *g, uint32_t item, uint64_t len, bool even)
{
	uint64_t n = even ? fewest(g, len) : 0;
	errcode_t err = 0;

	while (len && !err) {
		struct left *node = best_fit(g, n ? (len + n - 1) / n : len);
		uint64_t part;

		if (!node)
			node = RB_MAX(by_len, &g->free);
		assert(node);
		part = node->len < len ? node->len : len;
		err = give(g, item, node, part);
		len -= part;
		n -= n > 0;
	}
	return err;
}

/* All lengths in falling order. */
static errcode_t place_all(struct greedy *g, const struct dafs_pack_rule *rule,
			   struct sorted *order)
{
	size_t waiting = 0;
	errcode_t err = 0;

	for (size_t i = 0; i < g->p->n && !err; i++) {
		struct left *node = best_fit(g, order[i].len);

		if (node)
			err = give(g, order[i].item, node, order[i].len);
		else if (rule->wait)
			order[waiting++] = order[i];
		else
			err = cut(g, order[i].item, order[i].len, rule->even);
	}
	for (size_t i = 0; i < waiting && !err; i++)
		err = cut(g, order[i].item, order[i].len, rule->even);
	return err;
}

errcode_t dafs_pack_greedy(const struct dafs_pack_problem *p, const struct dafs_pack_rule *rule,
			   struct dafs_pack_answer *answer)
{
	struct greedy g = { .p = p, .free = RB_INITIALIZER(&g.free), .answer = answer };
	struct sorted *order = calloc(p->n, sizeof(*order));
	errcode_t err = 0;

	answer->n = 0;
	g.nodes = calloc(p->m, sizeof(*g.nodes));
	if (!order || !g.nodes)
		err = ENOMEM;
	for (size_t i = 0; i < p->n && !err; i++)
		order[i] = (struct sorted){ .len = p->lens[i], .item = (uint32_t)i };
	for (size_t r = 0; r < p->m && !err; r++) {
		g.nodes[r].len = p->runs[r].len;
		g.nodes[r].run = (uint32_t)r;
		RB_INSERT(by_len, &g.free, &g.nodes[r]);
	}
	if (!err) {
		qsort(order, p->n, sizeof(*order), falling);
		err = place_all(&g, rule, order);
	}
	free(order);
	free(g.nodes);
	return err;
}
