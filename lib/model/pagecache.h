/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagecache - the pending blocks of one file: which blocks hold new bytes, in what state, and where
 * the bytes are.
 *
 * Whole blocks only: a partial write is completed (zero fill, or read-modify-write) before it comes
 * here. Neighbouring blocks of equal state whose bytes follow each other in the same source are one
 * run, so a 100 GiB file costs what its runs cost.
 *
 * Invariants (dafs_pagecache_verify): runs are sorted, disjoint, len > 0, no two neighbours could
 * be one run; dirty_blks is the sum over the runs that are DIRTY.
 * States are those of the kernel's buffers: Delay <=> DELAYED in the es tree.
 */
#ifndef DAFS_MODEL_PAGECACHE_H
#define DAFS_MODEL_PAGECACHE_H

#include "model/rangemap.h"
#include "model/source.h"

enum dafs_page_state {
	DAFS_PG_UPTODATE = 1,	/* the bytes are valid (always so here) */
	DAFS_PG_DIRTY = 2,	/* differs from the image */
	DAFS_PG_MAPPED = 4,	/* space is known or promised */
	DAFS_PG_NEW = 8,	/* not part of the file in the image */
	DAFS_PG_DELAY = 16,	/* promised, not placed */
	DAFS_PG_UNWRITTEN = 32, /* placed in an unwritten extent */
};

struct dafs_page_run {
	uint32_t lblk;
	uint32_t len;
	uint16_t state;		 /* dafs_page_state bits */
	struct dafs_source *src; /* NULL: zeros */
	uint64_t src_off_bytes;	 /* of the run's first byte in src */
};

struct dafs_pagecache {
	/* tag: the state; owner: the source; base: the byte offset in it */
	struct dafs_rangemap map;
	uint32_t block_size;
	uint64_t dirty_blks; /* blocks with DAFS_PG_DIRTY */
};

/* Number of runs. */
static inline uint32_t dafs_pagecache_runs(const struct dafs_pagecache *pc)
{
	return pc->map.n;
}

/* An empty cache needs no memory. fini leaves an empty, usable cache behind; sources are not
 * released. */
void dafs_pagecache_init(struct dafs_pagecache *pc, uint32_t block_size);
void dafs_pagecache_fini(struct dafs_pagecache *pc);

/* Called for every piece of an older run that an insert or remove takes away (the store frees its
 * spool slots there). */
typedef void (*dafs_pagecache_drop_fn)(void *arg, const struct dafs_page_run *gone);

/* Put run in, replacing what covered its blocks (drop, unless NULL, gets the replaced pieces, in
 * order). O(1) where it goes on from the last one. DAFS_ET_RANGE (empty, past block 0xFFFFFFFF) and
 * ENOMEM leave the cache as it was, drop not called. */
errcode_t dafs_pagecache_insert(struct dafs_pagecache *pc, const struct dafs_page_run *run,
				dafs_pagecache_drop_fn drop, void *arg);

/* Take [lblk, end) out. ENOMEM (a run cut in its middle) leaves the cache as it was. */
errcode_t dafs_pagecache_remove(struct dafs_pagecache *pc, uint32_t lblk, uint32_t end,
				dafs_pagecache_drop_fn drop, void *arg);

/* Set and clear state bits in [lblk, end) where runs exist. ENOMEM leaves the cache as it was. */
errcode_t dafs_pagecache_mark(struct dafs_pagecache *pc, uint32_t lblk, uint32_t end, uint16_t set,
			      uint16_t clear);

/* First run that intersects [lblk, end), clipped to it (src_off_bytes follows). False (and *out
 * zeroed) when none. */
bool dafs_pagecache_find(const struct dafs_pagecache *pc, uint32_t lblk, uint32_t end,
			 struct dafs_page_run *out);

bool dafs_pagecache_verify(const struct dafs_pagecache *pc);

#endif
