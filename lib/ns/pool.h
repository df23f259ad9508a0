/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pool - memory for the many small things of a name space (inodes, names): pieces cut from large
 * slabs, given back to free lists by size, all freed at once at the end. No header a piece, so the
 * caller says the size again when it gives one back.
 *
 * Under AddressSanitizer pieces that were given back are poisoned.
 */
#ifndef DAFS_NS_POOL_H
#define DAFS_NS_POOL_H

#include <stddef.h>

#define DAFS_POOL_MAX_BYTES 320u /* the largest piece: a name record of 255 bytes fits */

struct dafs_pool_slab;

struct dafs_pool {
	struct dafs_pool_slab *slabs;
	char *at, *end;				 /* what is uncut of the newest slab */
	void *free[DAFS_POOL_MAX_BYTES / 8 + 1]; /* by size in units of 8 bytes */
	size_t slab_bytes;			 /* of the next slab */
	size_t held_bytes;			 /* of all slabs */
};

/* Begin and end. fini frees everything that was ever got from the pool. */
void dafs_pool_init(struct dafs_pool *pool);
void dafs_pool_fini(struct dafs_pool *pool);

/* A zeroed piece of bytes (1 .. DAFS_POOL_MAX_BYTES), aligned to 8; NULL when there is no
 * memory. */
void *dafs_pool_get(struct dafs_pool *pool, size_t bytes);

/* Give a piece back, with the size it was got with. NULL is fine. */
void dafs_pool_put(struct dafs_pool *pool, void *piece, size_t bytes);

#endif
