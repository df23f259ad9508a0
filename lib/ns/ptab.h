/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ptab - a hash table of pointers: open addressing, linear probing, 8 bytes a slot and nothing
 * else. The items carry their keys; the caller compares them.
 *
 * Rooms grow by half: the tables of a million inodes and of a hundred thousand directories are
 * mostly full.
 *
 * Invariants: n <= 4/5 room; an item stands between its home slot and the next empty one.
 */
#ifndef DAFS_NS_PTAB_H
#define DAFS_NS_PTAB_H

#include "base/ctx.h"

struct dafs_ptab {
	void **slot;
	uint32_t n, room;
};

/* The hash an item was added with. */
typedef uint32_t (*dafs_ptab_hash_fn)(const void *item);

void dafs_ptab_fini(struct dafs_ptab *tab);

/* Make sure that one more item can be added without memory. ENOMEM. */
errcode_t dafs_ptab_reserve(struct dafs_ptab *tab, dafs_ptab_hash_fn hash_of);

/* Add an item that is not there; dafs_ptab_reserve came before. */
void dafs_ptab_add(struct dafs_ptab *tab, void *item, uint32_t hash);

/* Take out an item that is there. */
void dafs_ptab_remove(struct dafs_ptab *tab, const void *item, uint32_t hash,
		      dafs_ptab_hash_fn hash_of);

/* The slot where looking for a hash begins. */
static inline uint32_t dafs_ptab_home(const struct dafs_ptab *tab, uint32_t hash)
{
	return (uint32_t)((uint64_t)hash * tab->room >> 32);
}

/* Candidates for a hash, one by one: the caller compares keys. NULL: no more. *at keeps the
 * place. */
static inline void *dafs_ptab_next(const struct dafs_ptab *tab, uint32_t *at)
{
	*at = *at + 1 < tab->room ? *at + 1 : 0;
	return tab->slot[*at];
}

static inline void *dafs_ptab_first(const struct dafs_ptab *tab, uint32_t hash, uint32_t *at)
{
	if (!tab->room)
		return NULL;
	*at = dafs_ptab_home(tab, hash);
	return tab->slot[*at];
}

/* Every item, in no order. Items may be changed, not added or removed. */
#define DAFS_PTAB_EACH(tab, i, item)                                                               \
	for ((i) = 0; (i) < (tab)->room; (i)++)                                                    \
		if (((item) = (tab)->slot[i]))

#endif
