/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pack_improve - an answer with fewer pieces out of one: a length that is cut, together with a
 * few others and the runs they are in, is a problem of its own, small enough to be solved
 * exactly. Others that have pieces in these runs stay, and the runs are as much shorter.
 *
 * What is tried with a length that is cut: runs that would hold it, or most of it, without the
 * longest lengths in them, which go to where they fit; other lengths that are cut. Bounded:
 * BUDGET parts, each with at most PART_ITEMS lengths and PART_RUNS runs.
 *
 * Invariants: bits of a length are a list (item_next), bits in a run another (run_prev,
 * run_next); left[r] is the run's length less its bits.
 */
#include "config.h"

#include "model/pack_int.h"

#include "base/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUDGET = 6000, PART_ITEMS = 5, PART_RUNS = 8, TRIED_RUNS = 24, TRIED_ITEMS = 24 };

struct keyed {
	uint64_t key;
	uint32_t run;
};

struct improve {
	const struct dafs_pack_problem *p;
	struct dafs_pack_answer *answer;
	uint32_t *item_head, *item_next;	  /* by length; by bit */
	uint32_t *run_head, *run_prev, *run_next; /* by run; by bit */
	uint64_t *left;
	struct keyed *by_len;  /* runs, shortest first */
	struct keyed *by_left; /* runs by what is left of them, shortest first, when last sorted */
	uint32_t *cut;	       /* lengths that were cut at that time */
	size_t ncut;
	uint64_t pieces;
	unsigned budget;
};

/* A part: lengths and runs, and how long the runs are without others. */
struct part {
	uint32_t items[PART_ITEMS], runs[PART_RUNS];
	unsigned n, m, pieces;
};

/* ---- lists ---- */

static void link_bit(struct improve *im, uint32_t b)
{
	struct dafs_pack_bit *bit = &im->answer->v[b];

	im->item_next[b] = im->item_head[bit->item];
	im->item_head[bit->item] = b;
	im->run_prev[b] = DAFS_PACK_NONE;
	im->run_next[b] = im->run_head[bit->run];
	if (im->run_next[b] != DAFS_PACK_NONE)
		im->run_prev[im->run_next[b]] = b;
	im->run_head[bit->run] = b;
	im->left[bit->run] -= bit->len;
	im->pieces++;
}

/* All bits of a length; their indices are added to spare. */
static void unlink_item(struct improve *im, uint32_t item, uint32_t *spare, unsigned *n)
{
	for (uint32_t b = im->item_head[item]; b != DAFS_PACK_NONE; b = im->item_next[b]) {
		struct dafs_pack_bit *bit = &im->answer->v[b];

		if (im->run_prev[b] != DAFS_PACK_NONE)
			im->run_next[im->run_prev[b]] = im->run_next[b];
		else
			im->run_head[bit->run] = im->run_next[b];
		if (im->run_next[b] != DAFS_PACK_NONE)
			im->run_prev[im->run_next[b]] = im->run_prev[b];
		im->left[bit->run] += bit->len;
		bit->item = DAFS_PACK_NONE;
		im->pieces--;
		spare[(*n)++] = b;
	}
	im->item_head[item] = DAFS_PACK_NONE;
}

/* ---- parts ---- */

static bool part_has_run(const struct part *part, uint32_t run)
{
	for (unsigned j = 0; j < part->m; j++) {
		if (part->runs[j] == run)
			return true;
	}
	return false;
}

static bool part_add_run(struct part *part, uint32_t run)
{
	if (part_has_run(part, run))
		return true;
	if (part->m == PART_RUNS)
		return false;
	part->runs[part->m++] = run;
	return true;
}

/* A length with all runs it is in. False: too much; the part is of no use then. */
static bool part_add_item(const struct improve *im, struct part *part, uint32_t item)
{
	for (unsigned i = 0; i < part->n; i++) {
		if (part->items[i] == item)
			return true;
	}
	if (part->n == PART_ITEMS)
		return false;
	part->items[part->n++] = item;
	for (uint32_t b = im->item_head[item]; b != DAFS_PACK_NONE; b = im->item_next[b]) {
		if (!part_add_run(part, im->answer->v[b].run))
			return false;
		part->pieces++;
	}
	return true;
}

/* The run with the least room left that holds len, not in the part yet; the longest rest when len
 * is 0. */
static void part_add_room(const struct improve *im, struct part *part, uint64_t len)
{
	size_t at = len ? dafs_array_search(im->by_left, im->p->m, sizeof(*im->by_left), len)
			: im->p->m;

	if (!len) {
		while (at && part_has_run(part, im->by_left[at - 1].run))
			at--;
		if (at && im->left[im->by_left[at - 1].run])
			part_add_run(part, im->by_left[at - 1].run);
		return;
	}
	for (unsigned tries = 0; at < im->p->m && tries < PART_RUNS; at++, tries++) {
		uint32_t run = im->by_left[at].run;

		if (im->left[run] >= len && !part_has_run(part, run)) {
			part_add_run(part, run);
			return;
		}
	}
}

/* Put what the exact solution says in place of what is there. */
static void apply(struct improve *im, const struct part *part, const uint64_t *room,
		  const uint16_t *share)
{
	uint32_t spare[PART_ITEMS * PART_RUNS];
	uint64_t left[PART_RUNS];
	unsigned nspare = 0, b = 0;

	memcpy(left, room, sizeof(left));
	for (unsigned i = 0; i < part->n; i++)
		unlink_item(im, part->items[i], spare, &nspare);
	for (unsigned i = 0; i < part->n; i++) {
		uint64_t len = im->p->lens[part->items[i]];

		for (unsigned j = 0; j < part->m && len; j++) {
			uint64_t take = left[j] < len ? left[j] : len;

			if (!(share[i] >> j & 1) || !take)
				continue;
			im->answer->v[spare[b]] = (struct dafs_pack_bit){ .len = take,
									  .item = part->items[i],
									  .run = part->runs[j] };
			link_bit(im, spare[b++]);
			left[j] -= take;
			len -= take;
		}
	}
}

/* Solve the part; true when that saved pieces. */
static bool solve(struct improve *im, const struct part *part)
{
	uint64_t lens[PART_ITEMS], room[PART_RUNS];
	uint16_t share[DAFS_PACK_EXACT_SUM];
	unsigned pieces;

	if (part->pieces <= part->n || !im->budget)
		return false;
	im->budget--;
	for (unsigned j = 0; j < part->m; j++)
		room[j] = im->left[part->runs[j]];
	for (unsigned i = 0; i < part->n; i++) {
		lens[i] = im->p->lens[part->items[i]];
		for (uint32_t b = im->item_head[part->items[i]]; b != DAFS_PACK_NONE;
		     b = im->item_next[b]) {
			for (unsigned j = 0; j < part->m; j++) {
				if (part->runs[j] == im->answer->v[b].run)
					room[j] += im->answer->v[b].len;
			}
		}
	}
	pieces = dafs_pack_exact(lens, part->n, room, part->m, share);
	if (!pieces || pieces >= part->pieces)
		return false;
	apply(im, part, room, share);
	return true;
}

/* ---- what is tried ---- */

/* With the longest lengths that stand in a run: what is cut wants to be there. */
static bool try_run(struct improve *im, uint32_t item, uint32_t run)
{
	struct part part = { 0 };
	uint64_t below = UINT64_MAX;
	bool saved = false;

	if (!part_add_item(im, &part, item) || !part_add_run(&part, run))
		return false;
	for (unsigned more = 0; more < PART_ITEMS - 1 && !saved; more++) {
		uint32_t longest = DAFS_PACK_NONE;
		uint64_t len = 0;

		for (uint32_t b = im->run_head[run]; b != DAFS_PACK_NONE; b = im->run_next[b]) {
			const struct dafs_pack_bit *bit = &im->answer->v[b];

			if (bit->item != item && im->p->lens[bit->item] > len &&
			    im->p->lens[bit->item] < below) {
				len = im->p->lens[bit->item];
				longest = bit->item;
			}
		}
		if (longest == DAFS_PACK_NONE || !part_add_item(im, &part, longest))
			break;
		below = len;
		part_add_room(im, &part, len);
		saved = solve(im, &part);
	}
	return saved;
}

/* With another length that is cut, and the most room that is left somewhere. */
static bool try_pair(struct improve *im, uint32_t item, uint32_t other)
{
	struct part part = { 0 };

	if (!part_add_item(im, &part, item) || !part_add_item(im, &part, other))
		return false;
	part_add_room(im, &part, 0);
	part_add_room(im, &part, im->p->lens[other]);
	return solve(im, &part);
}

static unsigned bits_of(const struct improve *im, uint32_t item)
{
	unsigned n = 0;

	for (uint32_t b = im->item_head[item]; b != DAFS_PACK_NONE; b = im->item_next[b])
		n++;
	return n;
}

static bool try_item(struct improve *im, size_t at)
{
	uint32_t item = im->cut[at];
	unsigned bits = bits_of(im, item);
	uint64_t want = bits > 2 ? im->p->lens[item] / 2 : im->p->lens[item];
	size_t from = dafs_array_search(im->by_len, im->p->m, sizeof(*im->by_len), want);

	if (bits < 2 || bits > PART_RUNS - 2)
		return false;
	for (size_t r = from; r < im->p->m && r < from + TRIED_RUNS; r++) {
		if (try_run(im, item, im->by_len[r].run))
			return true;
	}
	for (size_t k = at + 1; k < im->ncut && k <= at + TRIED_ITEMS; k++) {
		if (bits_of(im, im->cut[k]) > 1 && try_pair(im, item, im->cut[k]))
			return true;
	}
	return false;
}

static int by_key(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->run < y->run ? -1 : x->run > y->run;
}

/* What is cut now, and how much is left where. */
static void look(struct improve *im)
{
	im->ncut = 0;
	for (uint32_t i = 0; i < im->p->n; i++) {
		if (im->item_next[im->item_head[i]] != DAFS_PACK_NONE)
			im->cut[im->ncut++] = i;
	}
	for (uint32_t r = 0; r < im->p->m; r++)
		im->by_left[r] = (struct keyed){ .key = im->left[r], .run = r };
	qsort(im->by_left, im->p->m, sizeof(*im->by_left), by_key);
}

static errcode_t start(struct improve *im)
{
	const struct dafs_pack_problem *p = im->p;
	size_t bits = im->answer->n;

	im->item_head = malloc(p->n * sizeof(uint32_t));
	im->item_next = malloc(bits * sizeof(uint32_t));
	im->run_head = malloc(p->m * sizeof(uint32_t));
	im->run_prev = malloc(bits * sizeof(uint32_t));
	im->run_next = malloc(bits * sizeof(uint32_t));
	im->left = malloc(p->m * sizeof(*im->left));
	im->by_len = malloc(p->m * sizeof(*im->by_len));
	im->by_left = malloc(p->m * sizeof(*im->by_left));
	im->cut = malloc(p->n * sizeof(*im->cut));
	if (!im->item_head || !im->item_next || !im->run_head || !im->run_prev || !im->run_next ||
	    !im->left || !im->by_len || !im->by_left || !im->cut)
		return ENOMEM;
	memset(im->item_head, 0xff, p->n * sizeof(uint32_t));
	memset(im->run_head, 0xff, p->m * sizeof(uint32_t));
	for (uint32_t r = 0; r < p->m; r++) {
		im->left[r] = p->runs[r].len;
		im->by_len[r] = (struct keyed){ .key = p->runs[r].len, .run = r };
	}
	qsort(im->by_len, p->m, sizeof(*im->by_len), by_key);
	for (uint32_t b = 0; b < bits; b++)
		link_bit(im, b);
	return 0;
}

/* Bits that are in use no more are taken out. */
static void squeeze(struct dafs_pack_answer *answer)
{
	size_t to = 0;

	for (size_t b = 0; b < answer->n; b++) {
		if (answer->v[b].item != DAFS_PACK_NONE)
			answer->v[to++] = answer->v[b];
	}
	answer->n = to;
}

errcode_t dafs_pack_improve(const struct dafs_pack_problem *p, uint64_t least,
			    struct dafs_pack_answer *answer)
{
	struct improve im = { .p = p, .answer = answer, .budget = BUDGET };
	uint64_t before = UINT64_MAX;
	errcode_t err = start(&im);

	while (!err && im.budget && im.pieces > least && im.pieces < before) {
		before = im.pieces;
		look(&im);
		for (size_t i = 0; i < im.ncut && im.budget && im.pieces > least; i++) {
			while (im.budget && try_item(&im, i))
				;
		}
	}
	if (!err)
		squeeze(answer);
	free(im.item_head);
	free(im.item_next);
	free(im.run_head);
	free(im.run_prev);
	free(im.run_next);
	free(im.left);
	free(im.by_len);
	free(im.by_left);
	free(im.cut);
	return err;
}
