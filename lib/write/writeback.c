/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * writeback - see writeback.h.
 *
 * Two sorted streams are merged: delayed entries of the es tree (cut where falloc begins and ends),
 * and runs of the page cache that are not delayed. They never overlap.
 */
#include "config.h"

#include "write/writeback.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

static errcode_t add(struct dafs_wb_runs *runs, struct dafs_wb_run run)
{
	struct dafs_wb_run *last = runs->n ? &runs->v[runs->n - 1] : NULL;
	errcode_t err;

	if (last && last->kind == run.kind && last->lblk + last->len == run.lblk) {
		last->len += run.len;
		return 0;
	}
	err = dafs_array_grow(&runs->v, runs->n, &runs->room, sizeof(*runs->v));
	if (!err)
		runs->v[runs->n++] = run;
	return err;
}

/* The next delayed stretch from at on of one kind; false when there is none. */
static bool next_delayed(const struct dafs_file *file, uint32_t at, struct dafs_wb_run *out)
{
	struct dafs_es_extent ext;
	uint32_t end;
	size_t f;

	if (at >= DAFS_RANGE_END ||
	    !dafs_es_find(&file->es, DAFS_ES_DELAYED, at, DAFS_RANGE_END, &ext))
		return false;
	end = ext.lblk + ext.len;
	out->lblk = ext.lblk > at ? ext.lblk : at;
	out->kind = DAFS_WB_NEW;
	f = dafs_extlist_search(&file->falloc, out->lblk);
	if (f < file->falloc.n) {
		const struct dafs_extent *u = &file->falloc.v[f];

		if (u->lblk <= out->lblk) {
			out->kind = DAFS_WB_UNWRITTEN;
			end = dafs_extent_end(u) < end ? dafs_extent_end(u) : end;
		} else if (u->lblk < end) {
			end = u->lblk;
		}
	}
	out->len = end - out->lblk;
	return true;
}

/* The next run from at on that the page cache holds over blocks which have their place. */
static bool next_over(const struct dafs_file *file, uint32_t at, struct dafs_wb_run *out)
{
	struct dafs_page_run run;

	while (at < DAFS_RANGE_END && dafs_pagecache_find(&file->pages, at, DAFS_RANGE_END, &run)) {
		if (!(run.state & DAFS_PG_DELAY)) {
			*out = (struct dafs_wb_run){ .lblk = run.lblk,
						     .len = run.len,
						     .kind = DAFS_WB_OVER };
			return true;
		}
		at = run.lblk + run.len;
	}
	return false;
}

static errcode_t cut(struct dafs_wb_runs *runs, uint32_t max_len)
{
	struct dafs_wb_runs out = { 0 };
	errcode_t err = 0;

	for (size_t i = 0; i < runs->n && !err; i++) {
		struct dafs_wb_run rest = runs->v[i];

		while (rest.len && !err) {
			struct dafs_wb_run part = rest;

			if (part.len > max_len)
				part.len = max_len;
			/* add() would merge the pieces again. */
			part.kind |= 0x80;
			err = add(&out, part);
			if (!err)
				out.v[out.n - 1].kind &= 0x7f;
			rest.lblk += part.len;
			rest.len -= part.len;
		}
	}
	free(runs->v);
	*runs = out;
	return err;
}

errcode_t dafs_writeback_collect(const struct dafs_file *file, uint32_t max_len_blks,
				 struct dafs_wb_runs *runs)
{
	struct dafs_wb_run delayed, over;
	bool has_delayed = next_delayed(file, 0, &delayed);
	bool has_over = next_over(file, 0, &over);
	errcode_t err = 0;

	runs->n = 0;
	while (!err && (has_delayed || has_over)) {
		if (has_delayed && (!has_over || delayed.lblk < over.lblk)) {
			err = add(runs, delayed);
			has_delayed = next_delayed(file, delayed.lblk + delayed.len, &delayed);
		} else {
			err = add(runs, over);
			has_over = next_over(file, over.lblk + over.len, &over);
		}
	}
	if (!err && max_len_blks)
		err = cut(runs, max_len_blks);
	return err;
}

void dafs_writeback_fini(struct dafs_wb_runs *runs)
{
	free(runs->v);
	memset(runs, 0, sizeof(*runs));
}
