/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dareserve - see dareserve.h.
 *
 * With bigalloc a cluster of the file is in one of three states (ext4's rules): it holds a
 * delayed block already (costs nothing more), it is allocated (costs nothing, and is remembered in
 * pend), or neither (costs one). pend stays sorted and holds only clusters with at least one
 * DELAYED block.
 */
#include "config.h"

#include "write/dareserve.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "image/etree.h"
#include "image/txn.h"
#include "write/datrace.h"
#include "write/qlimit.h"

/* After a dry plan the promise is exact for what was pending then, and what comes later may shift
 * what others need. So half of what is left is held back, and when little is left every change is
 * planned. */
enum { EXACT_BELOW_CLUSTERS = 128 };

/* What a change may add to the exact need without raising any bound: a leaf and an index block for
 * a name, a block for attributes, a tree block for a piece more. */
enum { DRIFT_CLUSTERS = 8 };

static uint32_t cluster_of(const struct dafs_image *img, uint32_t lblk)
{
	return lblk >> img->cluster_bits;
}

/* Index of the first entry of pend that is >= cluster. */
static uint32_t pend_search(const struct dafs_file *file, uint32_t cluster)
{
	uint32_t lo = 0, hi = file->npend;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (file->pend[mid] < cluster)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static errcode_t pend_add(struct dafs_file *file, uint32_t cluster)
{
	uint32_t at = pend_search(file, cluster);
	uint32_t *v;

	if (at < file->npend && file->pend[at] == cluster)
		return 0;
	v = realloc(file->pend, (file->npend + 1) * sizeof(*v));
	if (!v)
		return ENOMEM;
	memmove(v + at + 1, v + at, (file->npend - at) * sizeof(*v));
	v[at] = cluster;
	file->pend = v;
	file->npend++;
	return 0;
}

static void pend_remove_at(struct dafs_file *file, uint32_t at)
{
	file->npend--;
	memmove(file->pend + at, file->pend + at + 1, (file->npend - at) * sizeof(*file->pend));
}

uint64_t dafs_dareserve_count(const struct dafs_image *img, const struct dafs_file *file,
			      uint32_t lblk, uint32_t end)
{
	struct dafs_es_extent ext;
	uint64_t clusters = 0, next = 0;
	uint32_t mask = (1u << img->cluster_bits) - 1;
	uint64_t to = ((uint64_t)end + mask) & ~(uint64_t)mask;

	if (end <= lblk)
		return 0;
	lblk &= ~mask;
	end = to > DAFS_LBLK_END ? DAFS_LBLK_END : (uint32_t)to;
	for (uint32_t at = lblk;
	     at < end && dafs_es_find(&file->es, DAFS_ES_DELAYED, at, end, &ext);
	     at = ext.lblk + ext.len) {
		uint64_t first = cluster_of(img, ext.lblk > lblk ? ext.lblk : lblk);
		uint32_t stop = ext.lblk + ext.len < end ? ext.lblk + ext.len : end;
		uint64_t past = (uint64_t)cluster_of(img, stop - 1) + 1;

		if (first < next)
			first = next;
		clusters += past > first ? past - first : 0;
		next = past;
	}
	if (file->npend)
		clusters -= pend_search(file, cluster_of(img, end - 1) + 1) -
			    pend_search(file, cluster_of(img, lblk));
	return clusters;
}

/* Does the file hold an allocated block in this cluster? */
static errcode_t cluster_allocated(struct dafs_write *w, struct dafs_inode *inode, uint32_t cluster,
				   bool *allocated)
{
	uint64_t at = (uint64_t)cluster << w->img->cluster_bits;
	uint64_t end = at + (1u << w->img->cluster_bits);
	struct dafs_es_extent ext;
	errcode_t err;

	*allocated = false;
	if (end > DAFS_LBLK_END)
		end = DAFS_LBLK_END;
	while (at < end && !*allocated) {
		err = dafs_delalloc_map(w, inode, (uint32_t)at, &ext);
		if (err)
			return err;
		*allocated = ext.type == DAFS_ES_WRITTEN || ext.type == DAFS_ES_UNWRITTEN;
		at = (uint64_t)ext.lblk + ext.len;
	}
	return 0;
}

/* The cluster gets its first delayed block: does it need a reserve, or is it allocated? */
static errcode_t cluster_enter(struct dafs_write *w, struct dafs_inode *inode, uint32_t cluster)
{
	struct dafs_file *file = inode->u.file;
	uint64_t start = (uint64_t)cluster << w->img->cluster_bits;
	uint64_t end = start + (1u << w->img->cluster_bits);
	bool allocated;
	errcode_t err;

	if (end > DAFS_LBLK_END)
		end = DAFS_LBLK_END;
	if (dafs_es_delayed_in(&file->es, (uint32_t)start, (uint32_t)end))
		return 0;
	err = cluster_allocated(w, inode, cluster, &allocated);
	return err || !allocated ? err : pend_add(file, cluster);
}

errcode_t dafs_dareserve_delay(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			       uint32_t end, uint64_t *more)
{
	struct dafs_file *file = inode->u.file;
	struct dafs_es_extent ext = { .lblk = lblk, .len = end - lblk, .type = DAFS_ES_DELAYED };
	uint64_t before;
	errcode_t err;

	*more = 0;
	before = dafs_dareserve_count(w->img, file, lblk, end);
	if (w->img->cluster_bits) {
		err = cluster_enter(w, inode, cluster_of(w->img, lblk));
		if (!err && cluster_of(w->img, end - 1) != cluster_of(w->img, lblk))
			err = cluster_enter(w, inode, cluster_of(w->img, end - 1));
		if (err)
			return err;
	}
	err = dafs_es_insert(&file->es, &ext, NULL);
	if (err)
		return err;
	*more = dafs_dareserve_count(w->img, file, lblk, end) - before;
	return 0;
}

/* Clusters in pend that [lblk, end) touches: drop those without delayed blocks, and those that are
 * no longer allocated. */
static errcode_t pend_review(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			     uint32_t end)
{
	struct dafs_file *file = inode->u.file;
	uint32_t past = cluster_of(w->img, end - 1);
	uint32_t at = pend_search(file, cluster_of(w->img, lblk));

	while (at < file->npend && file->pend[at] <= past) {
		uint64_t start = (uint64_t)file->pend[at] << w->img->cluster_bits;
		uint64_t stop = start + (1u << w->img->cluster_bits);
		bool keep;

		if (stop > DAFS_LBLK_END)
			stop = DAFS_LBLK_END;
		keep = dafs_es_delayed_in(&file->es, (uint32_t)start, (uint32_t)stop) > 0;
		if (keep) {
			errcode_t err = cluster_allocated(w, inode, file->pend[at], &keep);

			if (err)
				return err;
		}
		if (keep)
			at++;
		else
			pend_remove_at(file, at);
	}
	return 0;
}

errcode_t dafs_dareserve_unmap(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			       uint32_t end, int64_t *change)
{
	struct dafs_file *file = inode->u.file;
	struct dafs_es_extent ext = { .lblk = lblk, .len = end - lblk, .type = DAFS_ES_HOLE };
	uint64_t before;
	errcode_t err;

	*change = 0;
	if (end <= lblk)
		return 0;
	before = dafs_dareserve_count(w->img, file, lblk, end);
	err = dafs_es_insert(&file->es, &ext, NULL);
	if (!err && file->npend)
		err = pend_review(w, inode, lblk, end);
	if (err)
		return err;
	*change = (int64_t)dafs_dareserve_count(w->img, file, lblk, end) - (int64_t)before;
	DAFS_TRACE(w->img->ctx, "ext4_es_remove_extent", inode->id, "es [%u/%u)", lblk, end - lblk);
	if (*change < 0)
		dafs_datrace_release(w, inode, (uint64_t)-*change, file->reserved_clusters);
	return 0;
}

uint32_t dafs_delalloc_meta_bound(const struct dafs_image *img, uint64_t data_blks,
				  uint64_t changes)
{
	uint64_t extents = data_blks + 2 * changes + (changes ? 4 : 0);
	uint64_t blks = dafs_etree_blks(img->block_size, extents);

	/* An old tree that is full may need one index block more for whatever is added. */
	if (changes)
		blks++;
	return blks > UINT32_MAX ? UINT32_MAX : (uint32_t)blks;
}

/* Memory that one file's share of a transaction may take. */
#define LIVE_MOST_BYTES (UINT64_C(64) << 20)

uint64_t dafs_dareserve_live_limit(const struct dafs_image *img)
{
	uint64_t half = dafs_txn_capacity_blks(img) / 2;
	uint64_t most = LIVE_MOST_BYTES >> img->block_bits;

	return half < most ? half : most;
}

/* Blocks that are to be written over what the image has: more than a transaction takes are promised
 * a new place, all of them. */
static uint64_t over_bound(const struct dafs_image *img, const struct dafs_file *file)
{
	uint64_t waiting = dafs_extlist_blocks(&file->falloc);
	uint64_t fresh = file->es.delayed_blks > waiting ? file->es.delayed_blks - waiting : 0;
	uint64_t over = file->pages.dirty_blks > fresh ? file->pages.dirty_blks - fresh : 0;

	return over > dafs_dareserve_live_limit(img) ? over : 0;
}

uint32_t dafs_dareserve_bound(struct dafs_write *w, const struct dafs_inode *inode,
			      const struct dafs_file *file)
{
	const struct dafs_image *img = w->img;
	uint64_t delayed =
		img->cluster_bits ? file->reserved_clusters + file->npend : file->es.delayed_blks;
	uint64_t changes = 0, bound;

	if (!(inode->state & (DAFS_I_NEW | DAFS_I_TRUNC0)) && (file->dirtied_seq || delayed)) {
		changes = (uint64_t)dafs_pagecache_runs(&file->pages) + file->punched.n + 1;
		/* A block-mapped file becomes an extent file, its indirect blocks are free only
		 * afterwards. */
		if (!(inode->iflags & EXT4_EXTENTS_FL))
			delayed += (inode->size >> img->block_bits) + 1;
	}
	/* Written pieces inside what is to be unwritten split it. */
	if (file->falloc.n)
		delayed += file->falloc.n + dafs_pagecache_runs(&file->pages);
	if (!delayed && !changes)
		return 0;
	bound = dafs_delalloc_meta_bound(img, delayed, changes) + over_bound(img, file);
	return bound < UINT32_MAX ? (uint32_t)bound : UINT32_MAX;
}

errcode_t dafs_dareserve_settle(struct dafs_write *w, struct dafs_inode *inode, int64_t data_change)
{
	struct dafs_file *file = inode->u.file;
	uint64_t was = file->reserved_clusters;
	uint32_t bound;
	uint64_t take_data, take_meta;
	errcode_t err;

	assert(data_change >= 0 || (uint64_t)-data_change <= was);
	err = dafs_qlimit_reserve(w, inode, data_change);
	if (err)
		return err;
	file->reserved_clusters = was + (uint64_t)data_change;
	bound = dafs_dareserve_bound(w, inode, file);
	take_data = data_change > 0 ? (uint64_t)data_change : 0;
	take_meta = bound > file->promised_clusters ? bound - file->promised_clusters : 0;
	if (take_data || take_meta) {
		err = dafs_delalloc_take(w, take_data, take_meta);
		if (err) {
			file->reserved_clusters = was;
			dafs_qlimit_shift(w, inode, -data_change);
			return err;
		}
	}
	dafs_delalloc_release(w, data_change < 0 ? (uint64_t)-data_change : 0,
			      bound < file->promised_clusters ? file->promised_clusters - bound
							      : 0);
	file->promised_clusters = bound;
	return 0;
}

void dafs_dareserve_shrink(struct dafs_write *w, struct dafs_inode *inode, int64_t data_change,
			   uint64_t spare)
{
	struct dafs_file *file = inode->u.file;
	uint64_t was = file->reserved_clusters + spare;
	uint32_t bound;

	assert(data_change <= (int64_t)spare);
	/* What a cluster that the image had costs now, the image's blocks give back. */
	dafs_qlimit_shift(w, inode, data_change);
	file->reserved_clusters += (uint64_t)data_change;
	bound = dafs_dareserve_bound(w, inode, file);
	if (bound > file->promised_clusters)
		bound = file->promised_clusters;
	dafs_delalloc_release(w, was - file->reserved_clusters, file->promised_clusters - bound);
	file->promised_clusters = bound;
}

/* Neither counter has room by its bounds: plan everything pending, this change included, and see.
 */
static errcode_t take_exactly(struct dafs_write *w, uint64_t n, uint64_t m, errcode_t refusal)
{
	struct dafs_reserve *rs = w->reserve;
	const struct dafs_reserve old = *rs;
	/* Nothing of the pool: it is for what the bounds leave out (quota files), a plan has
	 * all. */
	uint64_t keep = w->privileged ? 0 : rs->root_clusters;
	struct dafs_trace *trace = w->img->ctx->trace;
	uint64_t meta, left;
	errcode_t err;

	if (rs->free_clusters < rs->dirty_clusters + n + keep)
		return refusal;
	rs->dirty_clusters += n;
	rs->bound_clusters += m;
	/* What a plan asks the allocator here is no event: nothing is placed. */
	w->img->ctx->trace = NULL;
	w->plans++;
	err = w->dry_plan(w->dry_plan_arg, &meta);
	w->img->ctx->trace = trace;
	if (err == DAFS_ET_NOSPC_ALLOC)
		err = refusal;
	if (!err && rs->free_clusters < rs->dirty_clusters + meta + keep)
		err = refusal;
	if (err) {
		*rs = old;
		return err;
	}
	left = rs->free_clusters - rs->dirty_clusters - meta;
	meta += left > EXACT_BELOW_CLUSTERS ? left / 2 : left;
	rs->promised_clusters = meta < rs->bound_clusters ? meta : rs->bound_clusters;
	return 0;
}

/* Are the counters exact where they would have to be bounds? keep: clusters that are not for
 * this. */
static bool is_close(const struct dafs_write *w, uint64_t keep)
{
	const struct dafs_reserve *rs = w->reserve;
	uint64_t held = rs->dirty_clusters + rs->promised_clusters + rs->resv_clusters + keep;

	return dafs_dareserve_is_exact(w->reserve) &&
	       rs->free_clusters < held + EXACT_BELOW_CLUSTERS / 2;
}

errcode_t dafs_delalloc_take(struct dafs_write *w, uint64_t n, uint64_t m)
{
	const struct dafs_reserve old = *w->reserve;
	errcode_t err = dafs_reserve_take(w->reserve, n, w->plan_decides ? 0 : m, w->privileged);

	if (w->plan_decides) {
		w->reserve->bound_clusters += err ? 0 : m;
		return err;
	}
	if (!w->dry_plan)
		return err;
	if (!err && is_close(w, w->privileged ? 0 : w->reserve->root_clusters)) {
		*w->reserve = old;
		err = DAFS_ET_NOSPC_META;
	}
	if (err != DAFS_ET_NOSPC_RESERVE && err != DAFS_ET_NOSPC_META)
		return err;
	return take_exactly(w, n, m, err);
}

bool dafs_dareserve_is_exact(const struct dafs_reserve *rs)
{
	return rs->promised_clusters < rs->bound_clusters;
}

errcode_t dafs_dareserve_recheck(struct dafs_write *w)
{
	struct dafs_reserve *rs = w->reserve;
	uint64_t drift = rs->bound_clusters - rs->promised_clusters;
	bool privileged = w->privileged;
	errcode_t err;

	if (!w->dry_plan || w->plan_decides || !drift)
		return 0;
	if (!is_close(w, 0)) {
		rs->promised_clusters += drift < DRIFT_CLUSTERS ? drift : DRIFT_CLUSTERS;
		return 0;
	}
	/* Nothing is taken by the bounds: that it all fits is enough, whoever asks. */
	w->privileged = true;
	err = take_exactly(w, 0, 0, DAFS_ET_NOSPC_META);
	w->privileged = privileged;
	return err;
}

void dafs_delalloc_release(struct dafs_write *w, uint64_t n, uint64_t m)
{
	if (n || m)
		dafs_reserve_release(w->reserve, n, m);
}
