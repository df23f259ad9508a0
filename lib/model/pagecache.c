/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagecache - see pagecache.h. A rangemap whose bases are byte offsets in a source, and the count
 * of dirty blocks.
 */
#include "config.h"

#include "model/pagecache.h"

#include <string.h>

/* What one change takes away: told to the caller, and counted. */
struct drops {
	dafs_pagecache_drop_fn drop;
	void *arg;
	uint64_t dirty_blks;
};

void dafs_pagecache_init(struct dafs_pagecache *pc, uint32_t block_size)
{
	dafs_rangemap_init(&pc->map);
	pc->block_size = block_size;
	pc->dirty_blks = 0;
}

void dafs_pagecache_fini(struct dafs_pagecache *pc)
{
	dafs_rangemap_fini(&pc->map);
	pc->dirty_blks = 0;
}

static struct dafs_page_run run_of(const struct dafs_range *r)
{
	return (struct dafs_page_run){
		.lblk = r->start,
		.len = r->len,
		.state = (uint16_t)r->tag,
		.src = r->owner,
		.src_off_bytes = r->base,
	};
}

static void count_drop(void *arg, const struct dafs_range *gone)
{
	struct drops *drops = arg;

	if (gone->tag & DAFS_PG_DIRTY)
		drops->dirty_blks += gone->len;
	if (drops->drop) {
		struct dafs_page_run run = run_of(gone);

		drops->drop(drops->arg, &run);
	}
}

errcode_t dafs_pagecache_insert(struct dafs_pagecache *pc, const struct dafs_page_run *run,
				dafs_pagecache_drop_fn drop, void *arg)
{
	struct drops drops = { .drop = drop, .arg = arg };
	struct dafs_range r = {
		.start = run->lblk,
		.len = run->len,
		.tag = run->state,
		.owner = run->src,
		.base = run->src ? run->src_off_bytes : 0,
		.step = run->src ? pc->block_size : 0,
	};
	errcode_t err = dafs_rangemap_set(&pc->map, &r, count_drop, &drops);

	if (err)
		return err;
	pc->dirty_blks -= drops.dirty_blks;
	if (run->state & DAFS_PG_DIRTY)
		pc->dirty_blks += run->len;
	return 0;
}

errcode_t dafs_pagecache_remove(struct dafs_pagecache *pc, uint32_t lblk, uint32_t end,
				dafs_pagecache_drop_fn drop, void *arg)
{
	struct drops drops = { .drop = drop, .arg = arg };
	errcode_t err = dafs_rangemap_clear(&pc->map, lblk, end, count_drop, &drops);

	if (!err)
		pc->dirty_blks -= drops.dirty_blks;
	return err;
}

static uint64_t dirty_in(const struct dafs_pagecache *pc, uint32_t lblk, uint32_t end)
{
	const struct dafs_range *r = dafs_rangemap_first(&pc->map, lblk);
	uint64_t sum = 0;

	for (; lblk < end && r && r->start < end; r = dafs_rangemap_next(r)) {
		if (r->tag & DAFS_PG_DIRTY)
			sum += dafs_range_clip(r, lblk, end).len;
	}
	return sum;
}

errcode_t dafs_pagecache_mark(struct dafs_pagecache *pc, uint32_t lblk, uint32_t end, uint16_t set,
			      uint16_t clear)
{
	uint64_t before = dirty_in(pc, lblk, end);
	errcode_t err = dafs_rangemap_retag(&pc->map, lblk, end, set, clear);

	if (!err)
		pc->dirty_blks = pc->dirty_blks - before + dirty_in(pc, lblk, end);
	return err;
}

bool dafs_pagecache_find(const struct dafs_pagecache *pc, uint32_t lblk, uint32_t end,
			 struct dafs_page_run *out)
{
	const struct dafs_range *r = lblk < end ? dafs_rangemap_first(&pc->map, lblk) : NULL;
	struct dafs_range part;

	memset(out, 0, sizeof(*out));
	if (!r || r->start >= end)
		return false;
	part = dafs_range_clip(r, lblk, end);
	*out = run_of(&part);
	return true;
}

bool dafs_pagecache_verify(const struct dafs_pagecache *pc)
{
	const struct dafs_range *r;

	if (!dafs_rangemap_verify(&pc->map))
		return false;
	for (r = dafs_rangemap_first(&pc->map, 0); r; r = dafs_rangemap_next(r)) {
		if (r->tag > UINT16_MAX || r->step != (r->owner ? pc->block_size : 0) ||
		    (!r->owner && r->base))
			return false;
	}
	return dirty_in(pc, 0, DAFS_RANGE_END) == pc->dirty_blks;
}
