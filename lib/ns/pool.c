/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pool - see pool.h. Slabs grow from 16 KiB to 1 MiB, so that a command that looks at one file
 * stays small.
 */
#include "config.h"

#include "ns/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#ifdef DAFS_SANITIZED
#include <sanitizer/asan_interface.h>
#define POISON(at, bytes)   ASAN_POISON_MEMORY_REGION(at, bytes)
#define UNPOISON(at, bytes) ASAN_UNPOISON_MEMORY_REGION(at, bytes)
#else
#define POISON(at, bytes)   ((void)(at), (void)(bytes))
#define UNPOISON(at, bytes) ((void)(at), (void)(bytes))
#endif

#define FIRST_SLAB_BYTES   ((size_t)16 << 10)
#define LARGEST_SLAB_BYTES ((size_t)1 << 20)

struct dafs_pool_slab {
	struct dafs_pool_slab *next;
	size_t bytes;
};

void dafs_pool_init(struct dafs_pool *pool)
{
	memset(pool, 0, sizeof(*pool));
	pool->slab_bytes = FIRST_SLAB_BYTES;
}

void dafs_pool_fini(struct dafs_pool *pool)
{
	struct dafs_pool_slab *slab, *next;

	for (slab = pool->slabs; slab; slab = next) {
		next = slab->next;
		UNPOISON(slab, slab->bytes);
		free(slab);
	}
	dafs_pool_init(pool);
}

static char *add_slab(struct dafs_pool *pool)
{
	struct dafs_pool_slab *slab = malloc(pool->slab_bytes);

	if (!slab)
		return NULL;
	slab->next = pool->slabs;
	slab->bytes = pool->slab_bytes;
	pool->slabs = slab;
	pool->held_bytes += slab->bytes;
	pool->at = (char *)(slab + 1);
	pool->end = (char *)slab + slab->bytes;
	POISON(pool->at, (size_t)(pool->end - pool->at));
	if (pool->slab_bytes < LARGEST_SLAB_BYTES)
		pool->slab_bytes *= 2;
	return pool->at;
}

void *dafs_pool_get(struct dafs_pool *pool, size_t bytes)
{
	size_t units = (bytes + 7) / 8;
	void *piece = pool->free[units];

	assert(bytes && bytes <= DAFS_POOL_MAX_BYTES);
	if (piece) {
		UNPOISON(piece, units * 8);
		memcpy(&pool->free[units], piece, sizeof(void *));
	} else {
		if ((size_t)(pool->end - pool->at) < units * 8 && !add_slab(pool))
			return NULL;
		piece = pool->at;
		pool->at += units * 8;
		UNPOISON(piece, units * 8);
	}
	return memset(piece, 0, units * 8);
}

void dafs_pool_put(struct dafs_pool *pool, void *piece, size_t bytes)
{
	size_t units = (bytes + 7) / 8;

	if (!piece)
		return;
	memcpy(piece, &pool->free[units], sizeof(void *));
	pool->free[units] = piece;
	POISON(piece, units * 8);
}
