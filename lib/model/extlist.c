/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extlist - see extlist.h. Every edit rewrites the window of extents that it touches (one neighbour
 * more on each side) into a new array and then splices that in, so that nothing has changed when
 * memory runs out.
 */
#include "config.h"

#include "model/extlist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LBLK_END 0xFFFFFFFFu

/* One change: [start, end) becomes mapped to pblk, or unmapped. */
struct edit {
	uint64_t pblk;
	uint32_t start, end;
	bool map, unwritten;
};

/* The window being rewritten. */
struct rewrite {
	struct dafs_extlist out; /* has room for everything */
	bool touched; /* the last extent of out was edited: what follows may merge with it */
	struct dafs_extlist *freed; /* has room for everything, or NULL */
};

static uint32_t limit(bool unwritten)
{
	return unwritten ? DAFS_EXT_MAX_UNWRITTEN : DAFS_EXT_MAX_WRITTEN;
}

static bool joins(const struct dafs_extent *a, const struct dafs_extent *b)
{
	return a->unwritten == b->unwritten && dafs_extent_end(a) == b->lblk &&
	       a->pblk + a->len == b->pblk;
}

void dafs_extlist_fini(struct dafs_extlist *xl)
{
	free(xl->v);
	memset(xl, 0, sizeof(*xl));
}

static errcode_t need_room(struct dafs_extlist *xl, size_t more)
{
	size_t room = xl->room ? xl->room : 1;
	struct dafs_extent *v;

	if (more <= xl->room - xl->n)
		return 0;
	while (room - xl->n < more)
		room *= 2;
	if (room > UINT32_MAX)
		return ENOMEM;
	v = reallocarray(xl->v, room, sizeof(*v));
	if (!v)
		return ENOMEM;
	xl->v = v;
	xl->room = (uint32_t)room;
	return 0;
}

/* Extents that len blocks may need beside a last one that is filled up. */
static size_t pieces(uint32_t len, bool unwritten)
{
	return len / limit(unwritten) + 1;
}

/* Append a contiguous run of any length, filling the last extent up first. There is room. */
static void fill(struct dafs_extlist *xl, uint64_t pblk, uint32_t lblk, uint32_t len,
		 bool unwritten)
{
	struct dafs_extent e = { .pblk = pblk, .lblk = lblk, .len = 0, .unwritten = unwritten };
	uint32_t part;

	if (xl->n && joins(&xl->v[xl->n - 1], &e)) {
		struct dafs_extent *last = &xl->v[xl->n - 1];

		part = limit(unwritten) - last->len;
		if (part > len)
			part = len;
		last->len += part;
		e.pblk += part;
		e.lblk += part;
		len -= part;
	}
	for (; len; len -= part) {
		part = len < limit(unwritten) ? len : limit(unwritten);
		e.len = part;
		xl->v[xl->n++] = e;
		e.pblk += part;
		e.lblk += part;
	}
}

/* Append one extent, as part of the last one where the sum is allowed. There is room. */
static bool push_merging(struct dafs_extlist *xl, const struct dafs_extent *e)
{
	struct dafs_extent *last = xl->n ? &xl->v[xl->n - 1] : NULL;

	if (last && joins(last, e) && (uint32_t)last->len + e->len <= limit(e->unwritten)) {
		last->len += e->len;
		return true;
	}
	xl->v[xl->n++] = *e;
	return false;
}

static bool follows(const struct dafs_extlist *xl, uint32_t lblk)
{
	return !xl->n || dafs_extent_end(&xl->v[xl->n - 1]) <= lblk;
}

errcode_t dafs_extlist_push(struct dafs_extlist *xl, const struct dafs_extent *ext)
{
	errcode_t err;

	if (!ext->len || ext->len > limit(ext->unwritten) || ext->len > LBLK_END - ext->lblk ||
	    !follows(xl, ext->lblk))
		return DAFS_ET_RANGE;
	err = need_room(xl, 1);
	if (!err)
		xl->v[xl->n++] = *ext;
	return err;
}

errcode_t dafs_extlist_append(struct dafs_extlist *xl, uint64_t pblk, uint32_t lblk, uint32_t len,
			      bool unwritten)
{
	errcode_t err;

	if (!len || len > LBLK_END - lblk || !follows(xl, lblk))
		return DAFS_ET_RANGE;
	err = need_room(xl, pieces(len, unwritten));
	if (!err)
		fill(xl, pblk, lblk, len, unwritten);
	return err;
}

size_t dafs_extlist_search(const struct dafs_extlist *xl, uint32_t lblk)
{
	size_t lo = 0, hi = xl->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (dafs_extent_end(&xl->v[mid]) > lblk)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* The part of e inside [start, end); len 0 when there is none. */
static struct dafs_extent clip(const struct dafs_extent *e, uint32_t start, uint32_t end)
{
	struct dafs_extent part = *e;
	uint32_t from = e->lblk > start ? e->lblk : start;
	uint32_t to = dafs_extent_end(e) < end ? dafs_extent_end(e) : end;

	part.pblk += from - e->lblk;
	part.lblk = from;
	part.len = to > from ? to - from : 0;
	return part;
}

/* Keep the part of e inside [start, end). A whole extent merges only with one that was edited. */
static void keep(struct rewrite *rw, const struct dafs_extent *e, uint32_t start, uint32_t end)
{
	struct dafs_extent part = clip(e, start, end);
	bool cut = part.len != e->len;

	if (!part.len)
		return;
	if (cut || rw->touched) {
		rw->touched = push_merging(&rw->out, &part) || cut;
	} else {
		rw->out.v[rw->out.n++] = part;
	}
}

/* The part of e that the edit takes away. */
static void let_go(struct rewrite *rw, const struct dafs_extent *e, const struct edit *edit)
{
	struct dafs_extent part = clip(e, edit->start, edit->end);
	bool same = edit->map && part.pblk - part.lblk == edit->pblk - edit->start;

	if (part.len && rw->freed && !same)
		push_merging(rw->freed, &part);
}

/* Carry out k sorted, disjoint edits on the extents v[0..n), writing the result to rw->out. */
static void run_edits(struct rewrite *rw, const struct dafs_extent *v, size_t n,
		      const struct edit *edits, size_t k)
{
	uint32_t done = 0; /* blocks below are dealt with */
	size_t at = 0;

	for (size_t i = 0; i < k; i++) {
		for (; at < n && dafs_extent_end(&v[at]) <= edits[i].start; at++)
			keep(rw, &v[at], done, LBLK_END);
		if (at < n)
			keep(rw, &v[at], done, edits[i].start);
		for (; at < n && v[at].lblk < edits[i].end; at++) {
			let_go(rw, &v[at], &edits[i]);
			if (dafs_extent_end(&v[at]) > edits[i].end)
				break;
		}
		if (edits[i].map) {
			fill(&rw->out, edits[i].pblk, edits[i].start, edits[i].end - edits[i].start,
			     edits[i].unwritten);
			rw->touched = true;
		}
		done = edits[i].end;
	}
	for (; at < n; at++)
		keep(rw, &v[at], done, LBLK_END);
}

/* Put the n extents of in where xl has [at, past). There is room. */
static void splice(struct dafs_extlist *xl, size_t at, size_t past, const struct dafs_extlist *in)
{
	memmove(&xl->v[at + in->n], &xl->v[past], (xl->n - past) * sizeof(*xl->v));
	memcpy(&xl->v[at], in->v, in->n * sizeof(*xl->v));
	xl->n = xl->n - (past - at) + in->n;
}

static errcode_t change(struct dafs_extlist *xl, const struct edit *edits, size_t k,
			struct dafs_extlist *freed)
{
	struct rewrite rw = { .freed = freed };
	size_t first = dafs_extlist_search(xl, edits[0].start);
	size_t past = dafs_extlist_search(xl, edits[k - 1].end);
	size_t more = k; /* an edit may cut an extent in two */
	errcode_t err;

	/* A neighbour on the left; on the right one that may be cut, and the one that its rest may
	 * merge with. */
	if (first)
		first--;
	past = xl->n - past > 2 ? past + 2 : xl->n;
	for (size_t i = 0; i < k; i++)
		more += edits[i].map ? pieces(edits[i].end - edits[i].start, edits[i].unwritten)
				     : 0;
	err = need_room(xl, more);
	if (!err)
		err = need_room(&rw.out, past - first + more);
	if (!err && freed)
		err = need_room(freed, past - first + k);
	if (!err) {
		run_edits(&rw, &xl->v[first], past - first, edits, k);
		splice(xl, first, past, &rw.out);
	}
	dafs_extlist_fini(&rw.out);
	return err;
}

errcode_t dafs_extlist_set(struct dafs_extlist *xl, uint64_t pblk, uint32_t lblk, uint32_t len,
			   bool unwritten, struct dafs_extlist *freed)
{
	struct edit edit = {
		.pblk = pblk, .start = lblk, .end = lblk + len, .map = true, .unwritten = unwritten
	};

	if (!len || len > LBLK_END - lblk)
		return DAFS_ET_RANGE;
	return change(xl, &edit, 1, freed);
}

errcode_t dafs_extlist_clear(struct dafs_extlist *xl, uint32_t lblk, uint32_t end,
			     struct dafs_extlist *freed)
{
	struct edit edit = { .start = lblk, .end = end };

	return lblk < end ? change(xl, &edit, 1, freed) : 0;
}

static errcode_t change_all(struct dafs_extlist *xl, const struct dafs_extlist *edits, bool map,
			    struct dafs_extlist *freed)
{
	struct edit *all;
	errcode_t err;

	if (!edits->n)
		return 0;
	all = calloc(edits->n, sizeof(*all));
	if (!all)
		return ENOMEM;
	for (size_t i = 0; i < edits->n; i++) {
		const struct dafs_extent *e = &edits->v[i];

		all[i] = (struct edit){ .pblk = e->pblk,
					.start = e->lblk,
					.end = dafs_extent_end(e),
					.map = map,
					.unwritten = e->unwritten };
	}
	err = change(xl, all, edits->n, freed);
	free(all);
	return err;
}

errcode_t dafs_extlist_apply(struct dafs_extlist *xl, const struct dafs_extlist *edits,
			     struct dafs_extlist *freed)
{
	return change_all(xl, edits, true, freed);
}

errcode_t dafs_extlist_cut(struct dafs_extlist *xl, const struct dafs_extlist *cuts,
			   struct dafs_extlist *freed)
{
	return change_all(xl, cuts, false, freed);
}

uint64_t dafs_extlist_blocks(const struct dafs_extlist *xl)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < xl->n; i++)
		sum += xl->v[i].len;
	return sum;
}

bool dafs_extlist_verify(const struct dafs_extlist *xl)
{
	if (xl->n > xl->room)
		return false;
	for (size_t i = 0; i < xl->n; i++) {
		const struct dafs_extent *e = &xl->v[i];

		if (!e->len || e->len > limit(e->unwritten) || e->len > LBLK_END - e->lblk)
			return false;
		if (i && dafs_extent_end(e - 1) > e->lblk)
			return false;
	}
	return true;
}
