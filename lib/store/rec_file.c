/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rec_file - the file part in a row: reserve figures, lists of ranges, and the runs (pages and
 * DELAYED entries), which large files keep in rows of their own, by segment.
 */
#include "config.h"

#include "store/rec_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PART_NONE, PART_INLINE, PART_SEGMENTS };
enum { RUN_ZEROS, RUN_SPOOL };
#define RUN_STATES                                                                                 \
	(DAFS_PG_UPTODATE | DAFS_PG_DIRTY | DAFS_PG_MAPPED | DAFS_PG_NEW | DAFS_PG_DELAY |         \
	 DAFS_PG_UNWRITTEN)

/* --- lists of ranges --- */

static void put_extlist(struct dafs_rec_buf *buf, const struct dafs_extlist *xl)
{
	uint32_t at = 0;

	dafs_rec_put(buf, xl->n);
	for (size_t i = 0; i < xl->n; i++) {
		dafs_rec_put(buf, xl->v[i].lblk - at);
		dafs_rec_put(buf, (uint64_t)xl->v[i].len << 1 | xl->v[i].unwritten);
		dafs_rec_put_signed(buf, (int64_t)(xl->v[i].pblk - xl->v[i].lblk));
		at = xl->v[i].lblk + xl->v[i].len;
	}
}

static errcode_t get_extlist(struct reader *r, struct dafs_extlist *xl)
{
	uint64_t n = dafs_rec_get_max(r, (uint64_t)(r->end - r->at)), at = 0;
	errcode_t err = 0;

	for (uint64_t i = 0; !err && !r->bad && i < n; i++) {
		uint64_t lblk = at + dafs_rec_get_max(r, DAFS_RANGE_END),
			 len = dafs_rec_get_max(r, UINT32_MAX);
		uint64_t pblk = lblk + (uint64_t)dafs_rec_get_signed(r);
		bool unwritten = len & 1;

		len >>= 1;
		if (r->bad || !len || lblk + len > DAFS_RANGE_END)
			return DAFS_ET_CACHE_DAMAGED;
		err = dafs_extlist_append(xl, pblk, (uint32_t)lblk, (uint32_t)len, unwritten);
		at = lblk + len;
	}
	return err;
}

static void put_pend(struct dafs_rec_buf *buf, const struct dafs_file *file)
{
	uint32_t at = 0;

	dafs_rec_put(buf, file->npend);
	for (uint32_t i = 0; i < file->npend; i++) {
		dafs_rec_put(buf, file->pend[i] - at);
		at = file->pend[i] + 1;
	}
}

static errcode_t get_pend(struct reader *r, struct dafs_file *file)
{
	uint32_t n = (uint32_t)dafs_rec_get_max(r, (uint64_t)(r->end - r->at));
	uint64_t at = 0;

	if (!n || r->bad)
		return 0;
	file->pend = malloc(n * sizeof(*file->pend));
	if (!file->pend)
		return ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		at += dafs_rec_get_max(r, DAFS_RANGE_END);
		if (r->bad || at >= DAFS_RANGE_END)
			return DAFS_ET_CACHE_DAMAGED;
		file->pend[file->npend++] = (uint32_t)at++;
	}
	return 0;
}

/* --- runs --- */

static uint32_t seg_end(uint32_t from)
{
	return from > DAFS_RANGE_END - DAFS_REC_SEG_BLKS ? DAFS_RANGE_END
							 : from + DAFS_REC_SEG_BLKS;
}

/* The first entry of map that starts at or after from; NULL: none before to. */
static const struct dafs_range *starts_in(const struct dafs_rangemap *map, uint32_t from,
					  uint32_t to)
{
	const struct dafs_range *range = dafs_rangemap_first(map, from);

	if (range && range->start < from)
		range = dafs_rangemap_next(range);
	return range && range->start < to ? range : NULL;
}

static const struct dafs_range *next_in(const struct dafs_range *range, uint32_t to)
{
	range = dafs_rangemap_next(range);
	return range && range->start < to ? range : NULL;
}

static errcode_t put_pages(struct dafs_rec_buf *buf, const struct dafs_rec_env *env,
			   const struct dafs_file *file, uint32_t from, uint32_t to, uint64_t *n)
{
	const struct dafs_rangemap *map = &file->pages.map;
	uint32_t at = from;

	for (const struct dafs_range *run = starts_in(map, from, to); run; run = next_in(run, to)) {
		if (run->owner && run->owner != env->spool)
			return DAFS_ET_INTERNAL;
		dafs_rec_put(buf, (uint64_t)(run->start - at) << 1 |
					  (run->owner ? RUN_SPOOL : RUN_ZEROS));
		dafs_rec_put(buf, run->len);
		dafs_rec_put(buf, run->tag);
		if (run->owner)
			dafs_rec_put(buf, run->base / env->block_size);
		at = run->start;
		++*n;
	}
	return 0;
}

/* Pages, then DELAYED entries, each list ended by its count (so that one pass writes it): counts
 * come first in the row. */
static errcode_t put_runs(struct dafs_rec_buf *buf, const struct dafs_rec_env *env,
			  const struct dafs_file *file, uint32_t from, uint32_t to)
{
	struct dafs_rec_buf pages = { 0 }, delayed = { 0 };
	uint64_t npages = 0, ndelayed = 0;
	uint32_t at = from;
	errcode_t err = put_pages(&pages, env, file, from, to, &npages);

	for (const struct dafs_range *e = starts_in(&file->es.map, from, to); e;
	     e = next_in(e, to)) {
		if (e->tag != DAFS_ES_DELAYED)
			continue;
		dafs_rec_put(&delayed, e->start - at);
		dafs_rec_put(&delayed, e->len);
		at = e->start;
		ndelayed++;
	}
	dafs_rec_put(buf, npages);
	dafs_rec_put_bytes(buf, pages.v, pages.n);
	dafs_rec_put(buf, ndelayed);
	dafs_rec_put_bytes(buf, delayed.v, delayed.n);
	buf->oom |= pages.oom | delayed.oom;
	dafs_rec_buf_fini(&pages);
	dafs_rec_buf_fini(&delayed);
	return err;
}

static errcode_t get_page(struct reader *r, const struct dafs_rec_env *env, struct dafs_file *file,
			  uint64_t *at, uint64_t to)
{
	uint64_t gap = dafs_rec_get(r), off_blks = 0;
	struct dafs_page_run run = { .src = NULL };

	run.len = (uint32_t)dafs_rec_get_max(r, DAFS_RANGE_END);
	run.state = (uint16_t)dafs_rec_get_max(r, RUN_STATES);
	*at += gap >> 1;
	if (gap & 1) {
		run.src = env->spool;
		off_blks = dafs_rec_get_max(r, env->spool_blks);
		run.src_off_bytes = off_blks * env->block_size;
	}
	if (r->bad || (gap >> 1) > DAFS_RANGE_END || *at >= to || *at + run.len > DAFS_RANGE_END ||
	    (run.src && off_blks + run.len > env->spool_blks))
		return DAFS_ET_CACHE_DAMAGED;
	run.lblk = (uint32_t)*at;
	return dafs_pagecache_insert(&file->pages, &run, NULL, NULL);
}

static errcode_t get_delayed(struct reader *r, struct dafs_file *file, uint64_t *at, uint64_t to)
{
	struct dafs_es_extent ext = { .type = DAFS_ES_DELAYED };

	*at += dafs_rec_get_max(r, DAFS_RANGE_END);
	ext.len = (uint32_t)dafs_rec_get_max(r, DAFS_RANGE_END);
	if (r->bad || *at >= to || *at + ext.len > DAFS_RANGE_END)
		return DAFS_ET_CACHE_DAMAGED;
	ext.lblk = (uint32_t)*at;
	return dafs_es_insert(&file->es, &ext, NULL);
}

static errcode_t get_runs(struct reader *r, const struct dafs_rec_env *env, struct dafs_file *file,
			  uint32_t from, uint64_t to)
{
	errcode_t err = 0;
	uint64_t n = dafs_rec_get(r), at = from;

	for (uint64_t i = 0; !err && !r->bad && i < n; i++)
		err = get_page(r, env, file, &at, to);
	n = dafs_rec_get(r);
	at = from;
	for (uint64_t i = 0; !err && !r->bad && i < n; i++)
		err = get_delayed(r, file, &at, to);
	/* A range that is empty or past the end was refused by the map itself. */
	return err == DAFS_ET_RANGE || r->bad ? DAFS_ET_CACHE_DAMAGED : err;
}

/* --- the part --- */

static bool has_part(const struct dafs_file *file)
{
	return file && (file->dirtied_seq || file->reserved_clusters || file->promised_clusters ||
			file->image_end_lblk != DAFS_RANGE_END || file->npend || file->punched.n ||
			file->placed.n || file->falloc.n || dafs_pagecache_runs(&file->pages) ||
			file->es.delayed_blks);
}

errcode_t dafs_rec_put_file(struct dafs_rec_buf *buf, const struct dafs_rec_env *env,
			    const struct dafs_inode *inode, bool *segs)
{
	const struct dafs_file *file = inode->u.file;

	if (inode->state & DAFS_I_WHOLE)
		return DAFS_ET_INTERNAL;
	if (!has_part(file)) {
		dafs_rec_put(buf, PART_NONE);
		return 0;
	}
	*segs = (uint64_t)dafs_pagecache_runs(&file->pages) + dafs_es_entries(&file->es) >
		DAFS_REC_INLINE;
	dafs_rec_put(buf, *segs ? PART_SEGMENTS : PART_INLINE);
	dafs_rec_put(buf, file->reserved_clusters);
	dafs_rec_put(buf, file->promised_clusters);
	dafs_rec_put(buf, file->image_end_lblk);
	dafs_rec_put(buf, file->dirtied_seq);
	put_pend(buf, file);
	put_extlist(buf, &file->punched);
	put_extlist(buf, &file->falloc);
	put_extlist(buf, &file->placed);
	return *segs ? 0 : put_runs(buf, env, file, 0, DAFS_RANGE_END);
}

/* Blocks that were placed already are known to the es tree only. */
static errcode_t remember_placed(struct dafs_file *file)
{
	errcode_t err = 0;

	for (size_t i = 0; !err && i < file->placed.n; i++) {
		const struct dafs_extent *e = &file->placed.v[i];
		struct dafs_es_extent ext = { e->lblk, e->len, e->pblk,
					      e->unwritten ? DAFS_ES_UNWRITTEN : DAFS_ES_WRITTEN };

		err = dafs_es_insert(&file->es, &ext, NULL);
	}
	return err;
}

errcode_t dafs_rec_get_file(struct reader *r, const struct dafs_rec_env *env,
			    struct dafs_inode *inode, bool *segs)
{
	uint64_t part = dafs_rec_get_max(r, PART_SEGMENTS);
	struct dafs_file *file;
	errcode_t err;

	if (part == PART_NONE)
		return 0;
	err = dafs_inode_file(inode, env->block_size, env->cluster_bits, &file);
	if (err)
		return err;
	*segs = part == PART_SEGMENTS;
	file->reserved_clusters = dafs_rec_get(r);
	file->promised_clusters = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	file->image_end_lblk = (uint32_t)dafs_rec_get_max(r, DAFS_RANGE_END);
	file->dirtied_seq = dafs_rec_get(r);
	err = get_pend(r, file);
	if (!err)
		err = get_extlist(r, &file->punched);
	if (!err)
		err = get_extlist(r, &file->falloc);
	if (!err)
		err = get_extlist(r, &file->placed);
	if (!err)
		err = remember_placed(file);
	if (!err && !*segs)
		err = get_runs(r, env, file, 0, DAFS_RANGE_END);
	return err;
}

errcode_t dafs_rec_put_seg(struct dafs_rec_buf *buf, const struct dafs_rec_env *env,
			   const struct dafs_inode *inode, uint32_t seg, uint32_t *next)
{
	const struct dafs_file *file = inode->u.file;
	uint32_t from = seg * DAFS_REC_SEG_BLKS, to = seg_end(from);
	const struct dafs_range *page = starts_in(&file->pages.map, from, DAFS_RANGE_END);
	const struct dafs_range *es = starts_in(&file->es.map, from, DAFS_RANGE_END);
	errcode_t err = 0;

	buf->n = 0;
	if ((page && page->start < to) || (es && es->start < to)) {
		err = put_runs(buf, env, file, from, to);
		dafs_rec_put_sum(buf, inode->id, (uint64_t)seg + 1);
	}
	page = starts_in(&file->pages.map, to, DAFS_RANGE_END);
	es = starts_in(&file->es.map, to, DAFS_RANGE_END);
	*next = UINT32_MAX;
	if (page)
		*next = page->start / DAFS_REC_SEG_BLKS;
	if (es && es->start / DAFS_REC_SEG_BLKS < *next)
		*next = es->start / DAFS_REC_SEG_BLKS;
	return err ? err : buf->oom ? ENOMEM : 0;
}

errcode_t dafs_rec_get_seg(const struct dafs_rec_env *env, const uint8_t *rec, size_t len,
			   struct dafs_inode *inode, uint32_t seg)
{
	struct reader r;
	uint32_t from = seg * DAFS_REC_SEG_BLKS;
	errcode_t err;

	if (seg > DAFS_RANGE_END / DAFS_REC_SEG_BLKS || !inode->u.file ||
	    !dafs_rec_open(&r, rec, len, inode->id, (uint64_t)seg + 1))
		return DAFS_ET_CACHE_DAMAGED;
	err = get_runs(&r, env, inode->u.file, from, seg_end(from));
	return !err && r.at != r.end ? DAFS_ET_CACHE_DAMAGED : err;
}
