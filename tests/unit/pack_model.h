/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pack_model - the fewest pieces for a few lengths in a few runs, found by trying every way to
 * give each length a set of runs. Lengths can be spread over their sets exactly when no lengths
 * together have less room than they need (Hall); each then has one piece in every run of its set
 * at the most.
 */
#ifndef DAFS_TESTS_PACK_MODEL_H
#define DAFS_TESTS_PACK_MODEL_H

#include "model/pack.h"

#include <stdint.h>

enum { PM_ITEMS = 5, PM_RUNS = 16 };

struct pack_model {
	uint64_t lens[PM_ITEMS];
	uint64_t runs[PM_RUNS];
	/* Bit set of one run: this length goes on at the begin of it, and a piece there is none.
	 * Each run is that of one length at the most. */
	uint16_t grows[PM_ITEMS];
	unsigned n, m;
	/* the search */
	uint16_t sets[PM_ITEMS];
	unsigned best;
};

/* Do the lengths up to i, with their sets, fit? Those before i do. */
static inline bool pm_fits(const struct pack_model *pm, unsigned i)
{
	for (unsigned with = 0; with < 1u << i; with++) {
		uint64_t need = pm->lens[i], have = 0;
		unsigned runs = pm->sets[i];

		for (unsigned k = 0; k < i; k++) {
			if (with >> k & 1) {
				need += pm->lens[k];
				runs |= pm->sets[k];
			}
		}
		for (unsigned r = 0; r < pm->m; r++)
			have += runs >> r & 1 ? pm->runs[r] : 0;
		if (have < need)
			return false;
	}
	return true;
}

static inline void pm_search(struct pack_model *pm, unsigned i, unsigned pieces)
{
	unsigned others = 0;

	if (i == pm->n) {
		pm->best = pieces;
		return;
	}
	for (unsigned k = i + 1; k < pm->n; k++)
		others += !pm->grows[k];
	for (unsigned set = 1; set < 1u << pm->m; set++) {
		unsigned more = (unsigned)__builtin_popcount(set & ~(unsigned)pm->grows[i]);

		pm->sets[i] = (uint16_t)set;
		if (pieces + more + others < pm->best && pm_fits(pm, i))
			pm_search(pm, i + 1, pieces + more);
	}
}

/* The fewest, or at_most + 1 when it takes more than that. */
static inline unsigned pm_fewest(struct pack_model *pm, unsigned at_most)
{
	pm->best = at_most + 1;
	pm_search(pm, 0, 0);
	return pm->best;
}

#endif
