/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pack - see pack.h: the lower bound, the answers that are tried, and where everything stands in
 * its run at the end.
 */
#include "config.h"

#include "model/pack.h"

#include "base/array.h"
#include "model/pack_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Lengths that the lower bound is tried with. */
enum { BOUND_TRIES = 256 };

/* ---- the lower bound ---- */

static int rising(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Cuts that are needed for a unit t: cut in two, a length has no whole units less than before, or
 * one less; and pieces have not more of them than the runs. So what lengths have more than the
 * runs is cuts. The same holds for units a hair longer than t (minus 1). */
static uint64_t cuts_for(const struct dafs_pack_problem *p, uint64_t t, uint64_t minus)
{
	uint64_t need = 0, have = 0;

	for (size_t i = 0; i < p->n; i++)
		need += (p->lens[i] - minus) / t;
	for (size_t r = 0; r < p->m && have < need; r++)
		have += (p->runs[r].len - minus) / t;
	return need > have ? need - have : 0;
}

/* The units worth a try: what is asked for, and the runs. They are sorted; equal ones are left
 * out. 0: ENOMEM. */
static size_t bounds_to_try(const struct dafs_pack_problem *p, uint64_t **ret)
{
	uint64_t *v = malloc((p->n + p->m) * sizeof(*v));
	size_t n = 0;

	*ret = v;
	if (!v)
		return 0;
	memcpy(v, p->lens, p->n * sizeof(*v));
	for (size_t r = 0; r < p->m; r++)
		v[p->n + r] = p->runs[r].len;
	qsort(v, p->n + p->m, sizeof(*v), rising);
	for (size_t i = 0; i < p->n + p->m; i++) {
		if (!n || v[n - 1] != v[i])
			v[n++] = v[i];
	}
	return n;
}

uint64_t dafs_pack_least(const uint64_t *lens, size_t n, const struct dafs_pack_run *runs, size_t m)
{
	const struct dafs_pack_problem p = { lens, n, runs, m };
	uint64_t *tries, most = 0;
	size_t ntries = bounds_to_try(&p, &tries);
	size_t step = ntries / BOUND_TRIES + 1;

	for (size_t i = 0; i < ntries; i += step) {
		for (uint64_t minus = 0; minus < 2; minus++) {
			uint64_t cuts = cuts_for(&p, tries[ntries - 1 - i], minus);

			if (cuts > most)
				most = cuts;
		}
	}
	free(tries);
	return n + most;
}

/* ---- the answers ---- */

/* The whole problem is small enough to be solved at once. */
static errcode_t solve_exactly(const struct dafs_pack_problem *p, struct dafs_pack_answer *answer)
{
	uint64_t left[DAFS_PACK_EXACT_SUM];
	uint16_t share[DAFS_PACK_EXACT_SUM];
	errcode_t err = 0;

	for (size_t r = 0; r < p->m; r++)
		left[r] = p->runs[r].len;
	if (!dafs_pack_exact(p->lens, (unsigned)p->n, left, (unsigned)p->m, share))
		return DAFS_ET_NOSPC_ALLOC;
	answer->n = 0;
	for (uint32_t i = 0; i < p->n && !err; i++) {
		uint64_t len = p->lens[i];

		for (uint32_t r = 0; r < p->m && len && !err; r++) {
			uint64_t take = left[r] < len ? left[r] : len;

			if (!(share[i] >> r & 1) || !take)
				continue;
			err = dafs_array_grow(&answer->v, answer->n, &answer->room,
					      sizeof(*answer->v));
			if (err)
				break;
			answer->v[answer->n++] =
				(struct dafs_pack_bit){ .len = take, .item = i, .run = r };
			left[r] -= take;
			len -= take;
		}
	}
	return err;
}

/* The best of all rules, improved. */
static errcode_t solve_by_rules(const struct dafs_pack_problem *p, uint64_t least,
				struct dafs_pack_answer *best)
{
	static const struct dafs_pack_rule rules[] = {
		{ .wait = false, .even = false },
		{ .wait = true, .even = false },
		{ .wait = false, .even = true },
		{ .wait = true, .even = true },
	};
	struct dafs_pack_answer other = { 0 }, swap;
	errcode_t err = dafs_pack_greedy(p, &rules[0], best);

	for (size_t i = 1; i < sizeof(rules) / sizeof(*rules) && !err && best->n > least; i++) {
		err = dafs_pack_greedy(p, &rules[i], &other);
		if (!err && other.n < best->n) {
			swap = *best;
			*best = other;
			other = swap;
		}
	}
	free(other.v);
	return err || best->n <= least ? err : dafs_pack_improve(p, least, best);
}

/* ---- places ---- */

static int by_run(const void *a, const void *b)
{
	const struct dafs_pack_bit *x = a, *y = b;

	if (x->run != y->run)
		return x->run < y->run ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

/* Bits in runs become pieces, in order of place; then they are dealt out to their lengths. */
static errcode_t settle(const struct dafs_pack_problem *p, struct dafs_pack_answer *a,
			struct dafs_pack *ret)
{
	size_t *at = calloc(p->n + 1, sizeof(*at));
	uint64_t used = 0;

	ret->pieces = malloc(a->n * sizeof(*ret->pieces));
	ret->first = at;
	if (!at || !ret->pieces)
		return ENOMEM;
	ret->n = p->n;
	ret->npieces = a->n;
	qsort(a->v, a->n, sizeof(*a->v), by_run);
	for (size_t b = 0; b < a->n; b++)
		at[a->v[b].item + 1]++;
	for (size_t i = 0; i < p->n; i++)
		at[i + 1] += at[i];
	/* first[i] runs to the end of its pieces meanwhile. */
	for (size_t b = 0; b < a->n; b++) {
		const struct dafs_pack_bit *bit = &a->v[b];

		if (!b || bit[-1].run != bit->run)
			used = 0;
		ret->pieces[at[bit->item]++] =
			(struct dafs_pack_run){ .start = p->runs[bit->run].start + used,
						.len = bit->len };
		used += bit->len;
	}
	memmove(at + 1, at, p->n * sizeof(*at));
	at[0] = 0;
	return 0;
}

errcode_t dafs_pack_solve(const uint64_t *lens, size_t n, const struct dafs_pack_run *runs,
			  size_t m, struct dafs_pack *ret)
{
	const struct dafs_pack_problem p = { lens, n, runs, m };
	struct dafs_pack_answer answer = { 0 };
	uint64_t need = 0, have = 0;
	errcode_t err = n >= INT32_MAX || m >= INT32_MAX ? DAFS_ET_RANGE : 0;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < n; i++)
		need += lens[i];
	for (size_t r = 0; r < m; r++)
		have += runs[r].len;
	if (!err && need > have)
		err = DAFS_ET_NOSPC_ALLOC;
	if (err)
		return err;
	ret->least = dafs_pack_least(lens, n, runs, m);
	if (n + m <= DAFS_PACK_EXACT_SUM) {
		err = solve_exactly(&p, &answer);
		ret->least = answer.n;
	} else {
		err = solve_by_rules(&p, ret->least, &answer);
	}
	if (!err)
		err = settle(&p, &answer, ret);
	if (err)
		dafs_pack_fini(ret);
	free(answer.v);
	return err;
}

void dafs_pack_fini(struct dafs_pack *pack)
{
	free(pack->first);
	free(pack->pieces);
	memset(pack, 0, sizeof(*pack));
}
