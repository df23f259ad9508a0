/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mballoc - see mballoc.h. Works in clusters numbered through the file system; blocks appear at the
 * borders only.
 */
#include "config.h"

#include "alloc/mballoc.h"

#include "alloc/mb_int.h"
#include "base/array.h"
#include "base/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From here on a run is worth a search for the place that fits best. */
#define LARGE_BLKS 256u

errcode_t dafs_mballoc_new(struct dafs_ctx *ctx, const struct dafs_space *space,
			   struct dafs_mballoc **ret)
{
	struct dafs_mballoc *ma = calloc(1, sizeof(*ma));
	errcode_t err;

	*ret = NULL;
	if (!ma)
		return ENOMEM;
	ma->ctx = ctx;
	ma->space = *space;
	err = dafs_spacemap_new(&ma->space, &ma->map);
	if (err)
		dafs_mballoc_free(ma);
	else
		*ret = ma;
	return err;
}

void dafs_mballoc_free(struct dafs_mballoc *ma)
{
	if (!ma)
		return;
	dafs_spacemap_free(ma->map);
	free(ma->pieces.v);
	free(ma);
}

uint64_t dafs_mballoc_free_clusters(const struct dafs_mballoc *ma)
{
	return dafs_spacemap_free_clusters(ma->map);
}

static uint32_t cluster_mask(const struct dafs_mballoc *ma)
{
	return (UINT32_C(1) << ma->space.cluster_bits) - 1;
}

static uint64_t first_pblk(const struct dafs_mballoc *ma, uint64_t cluster)
{
	return (cluster << ma->space.cluster_bits) + ma->space.first_data_block;
}

/* The cluster that lblk should go to by the goal; the first one when there is none or it is
 * nonsense. */
static uint64_t goal_cluster(const struct dafs_mballoc *ma, uint64_t goal, uint32_t lblk,
			     bool *given)
{
	uint64_t off, c;

	*given = false;
	if (goal < ma->space.first_data_block || !goal)
		return 0;
	off = goal - ma->space.first_data_block;
	c = off >> ma->space.cluster_bits;
	/* A goal in the middle of a cluster is the end of something, unless lblk belongs there. */
	if ((off & cluster_mask(ma)) != (lblk & cluster_mask(ma)) && (off & cluster_mask(ma)))
		c++;
	if (c >= ma->space.clusters)
		return 0;
	*given = true;
	return c;
}

errcode_t dafs_mb_take(struct dafs_mballoc *ma, uint64_t start, uint64_t n)
{
	struct dafs_mb_pieces *p = &ma->pieces;
	errcode_t err;

	err = dafs_array_grow(&p->v, p->n, &p->room, sizeof(*p->v));
	if (!err)
		err = dafs_spacemap_take(ma->map, start, n);
	if (!err)
		p->v[p->n++] = (struct dafs_mb_piece){ start, n };
	return err;
}

static void give_back(struct dafs_mballoc *ma)
{
	while (ma->pieces.n) {
		const struct dafs_mb_piece *p = &ma->pieces.v[--ma->pieces.n];

		dafs_spacemap_give(ma->map, p->start, p->n);
	}
}

/* A place for n clusters in one run, where it fits best or at the first place from goal on:
 * DAFS_NO_CLUSTER when no run holds them. */
static errcode_t find_run(struct dafs_mballoc *ma, unsigned flags, bool best, uint64_t goal,
			  uint64_t n, uint64_t *start)
{
	enum dafs_spacemap_view view = flags & DAFS_ALLOC_DATA ? DAFS_VIEW_DATA : DAFS_VIEW_ALL;
	errcode_t err;

	for (;;) {
		err = best ? dafs_spacemap_best_fit(ma->map, view, goal, n, start)
			   : dafs_spacemap_first_fit(ma->map, view, goal, n, start);
		if (err || *start != DAFS_NO_CLUSTER || view == DAFS_VIEW_ALL)
			return err;
		view = DAFS_VIEW_ALL;
	}
}

static int compare_pieces(const void *a, const void *b)
{
	const struct dafs_mb_piece *p = a, *q = b;

	return p->start < q->start ? -1 : p->start > q->start;
}

/* No run holds n clusters. What remains after the longest runs goes where it fits best. */
static errcode_t place_split(struct dafs_mballoc *ma, unsigned flags, uint64_t goal, uint64_t n)
{
	uint64_t most = DAFS_EXT_MAX_WRITTEN >> ma->space.cluster_bits, start, len;
	errcode_t err = 0;

	if (!most)
		most = 1;
	while (!err && n) {
		err = dafs_spacemap_longest(ma->map, &start, &len);
		if (err)
			break;
		if (!len)
			return DAFS_ET_NOSPC_ALLOC;
		if (len >= n) {
			len = n;
			err = find_run(ma, flags, true, goal, n, &start);
		} else if (len > most) {
			len -= len % most;
		}
		if (!err)
			err = dafs_mb_take(ma, start, len);
		n -= len;
	}
	return err;
}

/* The shortest runs, as many as are asked for. *left: clusters that are still to be placed. */
static errcode_t place_crumbs(struct dafs_mballoc *ma, uint32_t crumbs, uint64_t *left)
{
	uint64_t start, len;
	errcode_t err = 0;

	for (; crumbs && *left && !err; crumbs--) {
		err = dafs_spacemap_best_fit(ma->map, DAFS_VIEW_ALL, 0, 1, &start);
		if (err || start == DAFS_NO_CLUSTER)
			break;
		err = dafs_spacemap_run_at(ma->map, start, *left, &len);
		if (!err)
			err = dafs_mb_take(ma, start, len);
		*left -= err ? 0 : len;
	}
	return err;
}

/* Place n clusters by the rules in mballoc.h. */
static errcode_t place_clusters(struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
				uint64_t n)
{
	uint64_t goal, start, len;
	bool given, large;
	errcode_t err;

	goal = goal_cluster(ma, req->goal, req->lblk, &given);
	ma->rule = DAFS_MB_GOAL;
	if (given) {
		err = dafs_spacemap_run_at(ma->map, goal, n, &len);
		if (err)
			return err;
		if (len >= n)
			return dafs_mb_take(ma, goal, n);
	}
	if (req->flags & DAFS_ALLOC_GOAL_ONLY)
		return 0;
	if (n > dafs_spacemap_free_clusters(ma->map))
		return DAFS_ET_NOSPC_ALLOC;
	if (req->crumbs) {
		err = place_crumbs(ma, req->crumbs, &n);
		if (err || !n)
			return err;
	}
	large = req->flags & DAFS_ALLOC_TIGHT ||
		(req->flags & DAFS_ALLOC_DATA && n << ma->space.cluster_bits >= LARGE_BLKS);
	err = find_run(ma, req->flags, large, goal, n, &start);
	if (err)
		return err;
	ma->rule = large ? DAFS_MB_BEST_FIT : DAFS_MB_FIRST_FIT;
	if (start != DAFS_NO_CLUSTER)
		return dafs_mb_take(ma, start, n);
	ma->rule = DAFS_MB_LONGEST;
	return place_split(ma, req->flags, goal, n);
}

static const char *flag_names(unsigned flags)
{
	static const char *const names[] = {
		"",
		"HINT_DATA|DELALLOC_RESV",
		"HINT_GOAL_ONLY",
		"HINT_DATA|HINT_GOAL_ONLY|DELALLOC_RESV",
	};

	if (flags & DAFS_ALLOC_AT_ONCE)
		return flags & DAFS_ALLOC_GOAL_ONLY ? "HINT_DATA|HINT_GOAL_ONLY" : "HINT_DATA";

	return names[(flags & DAFS_ALLOC_DATA ? 1 : 0) | (flags & DAFS_ALLOC_GOAL_ONLY ? 2 : 0)];
}

static void trace_request(const struct dafs_mballoc *ma, const struct dafs_alloc_req *req)
{
	DAFS_TRACE(ma->ctx, "ext4_request_blocks", req->ino,
		   "flags %s len %u lblk %u goal %" PRIu64 " lleft %u lright %u pleft %" PRIu64
		   " pright %" PRIu64,
		   flag_names(req->flags), req->len, req->lblk, req->goal, req->lleft, req->lright,
		   req->pleft, req->pright);
}

/* "group/start/len@logical", as the kernel tells of an extent: in clusters. */
struct place_text {
	char text[64];
};

static struct place_text place_text(const struct dafs_mballoc *ma, uint64_t pblk, uint64_t len,
				    uint32_t lblk)
{
	struct place_text p;
	uint64_t first = ma->space.first_data_block;
	uint64_t c = pblk > first ? (pblk - first) >> ma->space.cluster_bits : 0;
	unsigned bits = ma->space.cluster_bits;

	snprintf(p.text, sizeof(p.text), "%" PRIu64 "/%" PRIu64 "/%" PRIu64 "@%u",
		 c / ma->space.clusters_per_group, c % ma->space.clusters_per_group,
		 (len + cluster_mask(ma)) >> bits, lblk >> bits);
	return p;
}

/* Who chose: the criteria's names are ours (mballoc.h, "how a run is placed"). */
static void trace_choice(const struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
			 uint64_t pblk, uint32_t lblk, uint32_t len, uint64_t kept)
{
	static const char *const rules[] = { "GOAL", "BEST_FIT", "FIRST_FIT", "LONGEST", "KERNEL" };
	struct place_text orig = place_text(ma, req->goal, req->len, req->lblk);
	struct place_text goal =
		place_text(ma, req->goal, (uint64_t)req->len + req->more, req->lblk);
	struct place_text got = place_text(ma, pblk, len, lblk);

	if (!ma->ctx->trace)
		return;
	if (req->flags & DAFS_ALLOC_KEPT && ma->rule == DAFS_MB_GOAL)
		dafs_trace_line(ma->ctx->trace,
				"ext4_mballoc_prealloc: dev 0,0 inode %" PRIu64
				" orig %s result %s",
				req->ino, orig.text, got.text);
	else
		dafs_trace_line(ma->ctx->trace,
				"ext4_mballoc_alloc: dev 0,0 inode %" PRIu64
				" orig %s goal %s result %s blks %zu grps %u cr %s flags %s"
				" tail %" PRIu64 " broken 0",
				req->ino, orig.text, goal.text, got.text, ma->pieces.n,
				dafs_spacemap_looked(ma->map) - ma->looked, rules[ma->rule],
				flag_names(req->flags), kept >> ma->space.cluster_bits);
}

static void trace_piece(const struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
			uint64_t pblk, uint32_t lblk, uint32_t len)
{
	DAFS_TRACE(ma->ctx, "ext4_allocate_blocks", req->ino,
		   "flags %s len %u block %" PRIu64 " lblk %u goal %" PRIu64
		   " lleft %u lright %u pleft %" PRIu64 " pright %" PRIu64,
		   flag_names(req->flags), len, pblk, lblk, req->goal, req->lleft, req->lright,
		   req->pleft, req->pright);
}

/* What stays behind the last block of the request: [pblk, pblk+len) for lblk on. */
static void trace_kept(const struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
		       uint64_t pblk, uint64_t len)
{
	DAFS_TRACE(ma->ctx, "ext4_mb_new_inode_pa", req->ino,
		   "pstart %" PRIu64 " len %" PRIu64 " lstart %u", pblk, len, req->lblk + req->len);
}

/* The pieces as blocks, appended to out. */
static errcode_t append_pieces(const struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
			       uint32_t lead, struct dafs_extlist *out)
{
	struct dafs_extent last = { 0 };
	uint32_t lblk = req->lblk, end = req->lblk + req->len;
	size_t before = out->n;

	if (before)
		last = out->v[before - 1];
	if (ma->pieces.n)
		trace_request(ma, req);
	for (size_t i = 0; i < ma->pieces.n && lblk < end; i++) {
		const struct dafs_mb_piece *p = &ma->pieces.v[i];
		uint32_t off = (lblk & cluster_mask(ma)) + (i ? 0 : lead);
		uint64_t pblk = first_pblk(ma, p->start) + off;
		uint64_t len = (p->n << ma->space.cluster_bits) - off, kept = 0;
		errcode_t err;

		if (len > end - lblk) {
			kept = req->more ? len - (end - lblk) : 0;
			len = end - lblk;
		}
		err = dafs_extlist_append(out, pblk, lblk, (uint32_t)len, false);
		if (err) {
			out->n = before;
			if (before)
				out->v[before - 1] = last;
			return err;
		}
		trace_choice(ma, req, pblk, lblk, (uint32_t)len, kept);
		trace_piece(ma, req, pblk, lblk, (uint32_t)len);
		if (kept)
			trace_kept(ma, req, pblk + len, kept);
		lblk += (uint32_t)len;
	}
	return 0;
}

static errcode_t place_blks(struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
			    uint64_t blks)
{
	unsigned bits = ma->space.cluster_bits;
	uint64_t n = ((req->lblk + blks - 1) >> bits) - (req->lblk >> bits) + 1;

	ma->pieces.n = 0;
	ma->rule = DAFS_MB_KERNEL;
	if (req->flags & DAFS_ALLOC_KERNEL)
		return dafs_mb_kernel_place(ma, req, n);
	return place_clusters(ma, req, n);
}

/* Requests that take what they ask for and nothing beside it. */
#define PLAIN_FLAGS (DAFS_ALLOC_KERNEL | DAFS_ALLOC_TIGHT | DAFS_ALLOC_GOAL_ONLY)

/* The request with its lead and what follows it, in one run; no piece where none holds them. */
static errcode_t place_behind(struct dafs_mballoc *ma, const struct dafs_alloc_req *req)
{
	struct dafs_alloc_req all = *req;
	errcode_t err;

	if (!req->lead || req->lead > req->lblk)
		return 0;
	all.lblk -= req->lead;
	err = place_blks(ma, &all, (uint64_t)req->lead + req->len + req->more);
	if (err == DAFS_ET_NOSPC_ALLOC || (!err && ma->pieces.n > 1)) {
		give_back(ma);
		err = 0;
	}
	return err;
}

errcode_t dafs_mballoc_place(struct dafs_mballoc *ma, const struct dafs_alloc_req *req,
			     struct dafs_extlist *out)
{
	bool more = req->more && !(req->flags & (DAFS_ALLOC_KERNEL | DAFS_ALLOC_TIGHT));
	uint32_t lead = 0;
	errcode_t err = 0;

	if (!req->len || req->len > UINT32_MAX - req->lblk)
		return DAFS_ET_RANGE;
	ma->looked = dafs_spacemap_looked(ma->map);
	ma->pieces.n = 0;
	if (!ma->space.cluster_bits && !(req->flags & PLAIN_FLAGS)) {
		err = place_behind(ma, req);
		if (err || ma->pieces.n)
			lead = req->lead;
	}
	if (!err && !ma->pieces.n)
		err = place_blks(ma, req, (uint64_t)req->len + (more ? req->more : 0));
	if (more && (err == DAFS_ET_NOSPC_ALLOC || (!err && !ma->pieces.n))) {
		give_back(ma);
		err = place_blks(ma, req, req->len);
	}
	if (!err && ma->pieces.n > 1 && !(req->flags & DAFS_ALLOC_KERNEL))
		qsort(ma->pieces.v, ma->pieces.n, sizeof(*ma->pieces.v), compare_pieces);
	if (!err)
		err = append_pieces(ma, req, lead, out);
	if (err)
		give_back(ma);
	if (err == DAFS_ET_NOSPC_ALLOC)
		dafs_fail(ma->ctx, err, "%u blocks for inode %" PRIu64, req->len, req->ino);
	return err;
}

/* The clusters [*start, *start + *n) that hold [pblk, pblk+len). */
static errcode_t clusters_of(const struct dafs_mballoc *ma, uint64_t pblk, uint32_t len,
			     uint64_t *start, uint64_t *n)
{
	unsigned bits = ma->space.cluster_bits;
	uint64_t off;

	if (!len || pblk < ma->space.first_data_block)
		return DAFS_ET_RANGE;
	off = pblk - ma->space.first_data_block;
	*start = off >> bits;
	*n = ((off + len - 1) >> bits) + 1 - *start;
	return 0;
}

errcode_t dafs_mballoc_take(struct dafs_mballoc *ma, uint64_t pblk, uint32_t len)
{
	uint64_t start, n;
	errcode_t err = clusters_of(ma, pblk, len, &start, &n);

	return err ? err : dafs_spacemap_take(ma->map, start, n);
}

errcode_t dafs_mballoc_return(struct dafs_mballoc *ma, uint64_t pblk, uint32_t len)
{
	uint64_t start, n;
	errcode_t err = clusters_of(ma, pblk, len, &start, &n);

	return err ? err : dafs_spacemap_give(ma->map, start, n);
}

errcode_t dafs_mballoc_runs(struct dafs_mballoc *ma, struct dafs_pack_run **ret, size_t *n)
{
	size_t room = 0;
	errcode_t err = ma->space.cluster_bits ? DAFS_ET_INTERNAL : 0;

	*ret = NULL;
	*n = 0;
	for (uint32_t grp = 0; grp < ma->space.groups && !err; grp++) {
		uint64_t base = first_pblk(ma, (uint64_t)grp * ma->space.clusters_per_group);
		const struct dafs_buddy *b;
		struct dafs_buddy_run run;
		uint32_t at = 0;

		err = dafs_spacemap_buddy(ma->map, grp, &b);
		while (!err && (run = dafs_buddy_first_fit(b, at, 1)).len) {
			struct dafs_pack_run *last = *n ? *ret + *n - 1 : NULL;

			at = run.start + run.len;
			if (last && last->start + last->len == base + run.start) {
				last->len += run.len;
				continue;
			}
			err = dafs_array_grow(ret, *n, &room, sizeof(**ret));
			if (err)
				break;
			(*ret)[(*n)++] = (struct dafs_pack_run){ base + run.start, run.len };
		}
	}
	if (err) {
		free(*ret);
		*ret = NULL;
		*n = 0;
	}
	return err;
}

uint32_t dafs_mballoc_run_at(struct dafs_mballoc *ma, uint64_t pblk, uint32_t max)
{
	uint64_t len, c = pblk - ma->space.first_data_block;

	if (ma->space.cluster_bits || pblk < ma->space.first_data_block ||
	    c >= ma->space.clusters || dafs_spacemap_run_at(ma->map, c, max, &len))
		return 0;
	return (uint32_t)len;
}

uint64_t dafs_mballoc_find_window(struct dafs_mballoc *ma, uint64_t goal, uint64_t len_blks)
{
	uint64_t n = (len_blks + cluster_mask(ma)) >> ma->space.cluster_bits, start;
	bool given;

	goal = goal_cluster(ma, goal, 0, &given);
	if (!n || n > dafs_spacemap_free_clusters(ma->map) ||
	    find_run(ma, DAFS_ALLOC_DATA, false, goal, n, &start) || start == DAFS_NO_CLUSTER)
		return 0;
	return first_pblk(ma, start);
}
