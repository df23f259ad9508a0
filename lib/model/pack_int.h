/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pack_int - an answer as the files of pack share it: bits (a length's share of a run), without a
 * place in the run yet. A length has at most one bit in a run.
 */
#ifndef DAFS_MODEL_PACK_INT_H
#define DAFS_MODEL_PACK_INT_H

#include "model/pack.h"

#define DAFS_PACK_NONE UINT32_MAX

struct dafs_pack_problem {
	const uint64_t *lens;
	size_t n;
	const struct dafs_pack_run *runs;
	size_t m;
};

struct dafs_pack_bit {
	uint64_t len;
	uint32_t item, run;
};

struct dafs_pack_answer {
	struct dafs_pack_bit *v;
	size_t n, room;
};

/* How a greedy answer is made. Lengths go in falling order, each into the shortest run that holds
 * it. */
struct dafs_pack_rule {
	bool wait; /* what no run holds waits for the others */
	bool even; /* cut into as few pieces as can be, of runs about as long as each other; else the
		    * longest runs first */
};

/* ENOMEM. There is room for all (the caller counted). answer is replaced. */
errcode_t dafs_pack_greedy(const struct dafs_pack_problem *p, const struct dafs_pack_rule *rule,
			   struct dafs_pack_answer *answer);

/* A problem small enough to be solved exactly: so many lengths and runs in sum (its work is three
 * to that power at the most). */
enum { DAFS_PACK_EXACT_SUM = 14 };

/* share[i]: bits set for the runs of the group that length i belongs to; lengths with the same
 * set are a group. Returns pieces, or 0 when the runs hold less than the lengths. n + m is within
 * the limit above; lengths of 0 are not allowed, runs of 0 are. */
unsigned dafs_pack_exact(const uint64_t *lens, unsigned n, const uint64_t *runs, unsigned m,
			 uint16_t share[DAFS_PACK_EXACT_SUM]);

/* Solve small parts of an answer anew while that saves pieces and until it has least of them.
 * ENOMEM (the answer is still one). */
errcode_t dafs_pack_improve(const struct dafs_pack_problem *p, uint64_t least,
			    struct dafs_pack_answer *answer);

#endif
