/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagecache - the pending blocks of one file: which blocks hold new bytes, in what state, and where the bytes are.
 *
 * Whole blocks only: a partial write is completed (zero fill, or read-modify-write) before it comes here. Neighbouring blocks
 * of equal state whose bytes follow each other in the same source are one run, so a 100 GiB file costs what its runs cost.
 *
 * Invariants (dafs_pagecache_verify): runs are sorted, disjoint, len > 0, and no two neighbours could be one run.
 * States are those of the kernel's buffers (reference, section 2.2): Delay <=> DELAYED in the es tree.
 */
#ifndef DAFS_MODEL_PAGECACHE_H
#define DAFS_MODEL_PAGECACHE_H

#include <bsd/sys/tree.h>

#include "model/source.h"

enum dafs_page_state {
	DAFS_PG_UPTODATE = 1,	/* the bytes are valid (always so here) */
	DAFS_PG_DIRTY = 2,	/* differs from the image */
	DAFS_PG_MAPPED = 4,	/* space is known or promised */
	DAFS_PG_NEW = 8,	/* not part of the file in the image */
	DAFS_PG_DELAY = 16,	/* promised, not placed */
	DAFS_PG_UNWRITTEN = 32,	/* placed in an unwritten extent */
};

struct dafs_page_run {
	uint32_t lblk;
	uint32_t len;
	uint16_t state;			/* dafs_page_state bits */
	struct dafs_source *src;	/* NULL: zeros */
	uint64_t src_off_bytes;		/* of the run's first byte in src */
};

struct dafs_page_node;
RB_HEAD(dafs_page_root, dafs_page_node);

struct dafs_pagecache {
	struct dafs_page_root root;
	uint32_t runs;
	uint32_t block_size;
	uint64_t dirty_blks;
};

void dafs_pagecache_init(struct dafs_pagecache *pc, uint32_t block_size);
void dafs_pagecache_fini(struct dafs_pagecache *pc);

/* Called for every piece of an older run that an insert or remove takes away (the store frees its spool slots there). */
typedef void (*dafs_pagecache_drop_fn)(void *arg, const struct dafs_page_run *gone);

/* Put run in, replacing what covered its blocks. ENOMEM leaves the cache as it was. */
errcode_t dafs_pagecache_insert(struct dafs_pagecache *pc, const struct dafs_page_run *run,
				dafs_pagecache_drop_fn drop, void *arg);

/* Take [lblk, end) out. */
errcode_t dafs_pagecache_remove(struct dafs_pagecache *pc, uint32_t lblk, uint32_t end,
				dafs_pagecache_drop_fn drop, void *arg);

/* Set and clear state bits in [lblk, end) where runs exist. */
errcode_t dafs_pagecache_mark(struct dafs_pagecache *pc, uint32_t lblk, uint32_t end, uint16_t set, uint16_t clear);

/* First run that intersects [lblk, end), clipped to it (src_off_bytes follows). False when none. */
bool dafs_pagecache_find(const struct dafs_pagecache *pc, uint32_t lblk, uint32_t end, struct dafs_page_run *out);

bool dafs_pagecache_verify(const struct dafs_pagecache *pc);

#endif
