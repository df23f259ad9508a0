/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pack_exact - the fewest pieces for a few lengths and runs, by trying all ways to put them in
 * groups.
 *
 * The best for lengths F in runs R (both sets, as bits): the first length of F is in some group;
 * over all groups that hold it and all sets of runs long enough for the group, one piece less
 * than runs, and the best for what remains. Tables over all pairs of sets, filled on demand.
 */
#include "config.h"

#include "model/pack_int.h"

#include <assert.h>
#include <string.h>

enum {
	SETS = 1 << DAFS_PACK_EXACT_SUM,
	NEVER = 100,
	UNKNOWN = 255,
};

struct exact {
	unsigned m;
	uint64_t sums[SETS];	      /* over sets of lengths, over sets of runs */
	const uint64_t *items, *runs; /* in them */
	/* by lengths and runs, as one number (pair) */
	uint8_t best[SETS];
	uint16_t group[SETS], with[SETS]; /* of the first length */
};

static unsigned pair(const struct exact *x, unsigned items, unsigned runs)
{
	return items << x->m | runs;
}

static void sums(const uint64_t *v, unsigned n, uint64_t *out)
{
	out[0] = 0;
	for (unsigned set = 1; set < 1u << n; set++)
		out[set] = out[set & (set - 1)] + v[__builtin_ctz(set)];
}

static unsigned solve(struct exact *x, unsigned items, unsigned runs);

/* Runs for a group of lengths, what remains in what remains: fewer than *best cuts? */
static void try_group(struct exact *x, unsigned items, unsigned runs, unsigned group,
		      unsigned *best)
{
	for (unsigned with = runs & -runs; with; with = (with - runs) & runs) {
		unsigned cuts = (unsigned)__builtin_popcount(with) - 1, weakest = with & -with;

		if (cuts >= *best || x->runs[with] < x->items[group])
			continue;
		/* A group that does without one of its runs is tried without it. */
		for (unsigned left = with; left; left &= left - 1) {
			unsigned one = left & -left;

			if (x->runs[one] < x->runs[weakest])
				weakest = one;
		}
		if (x->runs[with & ~weakest] >= x->items[group])
			continue;
		cuts += solve(x, items & ~group, runs & ~with);
		if (cuts < *best) {
			*best = cuts;
			x->group[pair(x, items, runs)] = (uint16_t)group;
			x->with[pair(x, items, runs)] = (uint16_t)with;
		}
	}
}

static unsigned solve(struct exact *x, unsigned items, unsigned runs)
{
	unsigned first = items & -items, others = items & ~first, best = NEVER;

	if (!items)
		return 0;
	if (x->runs[runs] < x->items[items])
		return NEVER;
	if (x->best[pair(x, items, runs)] != UNKNOWN)
		return x->best[pair(x, items, runs)];
	for (unsigned sub = 0;;) {
		try_group(x, items, runs, sub | first, &best);
		sub = (sub - others) & others;
		if (!sub || !best)
			break;
	}
	x->best[pair(x, items, runs)] = (uint8_t)best;
	return best;
}

unsigned dafs_pack_exact(const uint64_t *lens, unsigned n, const uint64_t *runs, unsigned m,
			 uint16_t share[DAFS_PACK_EXACT_SUM])
{
	struct exact x; /* large: only what is used is set */
	unsigned items = (1u << n) - 1, left = (1u << m) - 1, cuts;

	assert(n && n + m <= DAFS_PACK_EXACT_SUM);
	x.m = m;
	x.items = x.sums;
	x.runs = x.sums + (1u << n);
	sums(lens, n, x.sums);
	sums(runs, m, x.sums + (1u << n));
	memset(x.best, UNKNOWN, (size_t)1 << (n + m));
	cuts = solve(&x, items, left);
	if (cuts >= NEVER)
		return 0;
	while (items) {
		unsigned group = x.group[pair(&x, items, left)],
			 with = x.with[pair(&x, items, left)];

		for (unsigned i = 0; i < n; i++) {
			if (group >> i & 1)
				share[i] = (uint16_t)with;
		}
		items &= ~group;
		left &= ~with;
	}
	return n + cuts;
}
