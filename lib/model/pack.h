/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pack - lengths into free runs with the fewest pieces, where not all of them fit in one.
 *
 * Draw a line from a length to each run that it has a piece in. Lengths and runs hang together in
 * groups then, and a group of k lengths in m runs, filled one after the other, has k + m - 1
 * pieces: so the pieces are the lengths and, for every group, its runs less one. Which lengths
 * share which runs is a packing problem (NP-hard). Small ones are solved exactly (pack_exact.c);
 * for others several greedy answers are made, and the best is improved by solving small parts of
 * it exactly (pack_improve.c). A lower bound that holds for every answer tells how much is left
 * to gain.
 *
 * pack.c         the verbs; the answers that are tried; from who shares what to places
 * pack_greedy.c  one answer by one rule
 * pack_exact.c   the exact solution of a small problem
 * pack_improve.c parts of an answer solved anew
 *
 * Memory only. Deterministic: the same problem has the same answer. Lengths and runs in units of
 * the caller (clusters); what the longest extent is, is the caller's business.
 */
#ifndef DAFS_MODEL_PACK_H
#define DAFS_MODEL_PACK_H

#include "base/ctx.h"

/* A free run, or a piece in one. */
struct dafs_pack_run {
	uint64_t start, len;
};

/* Where everything goes: length i has pieces[first[i]] up to pieces[first[i + 1]], by start. */
struct dafs_pack {
	size_t n;
	size_t *first; /* n + 1 */
	struct dafs_pack_run *pieces;
	size_t npieces;
	/* No answer has fewer pieces; equal to npieces where that is proven the best. */
	uint64_t least;
};

/* Solve: n > 0 lengths (each > 0) into m runs (disjoint, ascending, never adjacent, each > 0).
 * Lengths that share a run stand there in their order. DAFS_ET_NOSPC_ALLOC: the runs hold less
 * than that; DAFS_ET_RANGE: more than 2^31 of either; ENOMEM. *ret is empty after a failure. */
errcode_t dafs_pack_solve(const uint64_t *lens, size_t n, const struct dafs_pack_run *runs,
			  size_t m, struct dafs_pack *ret);

/* Frees what solve made; an all-zero struct is fine. */
void dafs_pack_fini(struct dafs_pack *pack);

/* No packing of the lengths into the runs has fewer pieces than this; at least n. A bound, not
 * always reached. */
uint64_t dafs_pack_least(const uint64_t *lens, size_t n, const struct dafs_pack_run *runs,
			 size_t m);

#endif
