/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ptab - see ptab.h. Removing shifts what follows back instead of leaving tombstones, so a table
 * never degrades.
 */
#include "config.h"

#include "ns/ptab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_ROOM 4u

void dafs_ptab_fini(struct dafs_ptab *tab)
{
	free(tab->slot);
	tab->slot = NULL;
	tab->n = tab->room = 0;
}

static void put(struct dafs_ptab *tab, void *item, uint32_t hash)
{
	uint32_t at = dafs_ptab_home(tab, hash);

	while (tab->slot[at])
		at = at + 1 < tab->room ? at + 1 : 0;
	tab->slot[at] = item;
}

errcode_t dafs_ptab_reserve(struct dafs_ptab *tab, dafs_ptab_hash_fn hash_of)
{
	struct dafs_ptab grown = { 0 };

	if (tab->n < (uint64_t)tab->room * 4 / 5)
		return 0;
	if (tab->room >= UINT32_C(1) << 31)
		return ENOMEM;
	grown.room = tab->room ? tab->room + tab->room / 2 : FIRST_ROOM;
	grown.n = tab->n;
	grown.slot = calloc(grown.room, sizeof(*grown.slot));
	if (!grown.slot)
		return ENOMEM;
	for (uint32_t i = 0; i < tab->room; i++) {
		if (tab->slot[i])
			put(&grown, tab->slot[i], hash_of(tab->slot[i]));
	}
	free(tab->slot);
	*tab = grown;
	return 0;
}

void dafs_ptab_add(struct dafs_ptab *tab, void *item, uint32_t hash)
{
	assert(tab->n < tab->room);
	put(tab, item, hash);
	tab->n++;
}

static uint32_t after(const struct dafs_ptab *tab, uint32_t at)
{
	return at + 1 < tab->room ? at + 1 : 0;
}

/* Steps from one slot on to another, round the end. */
static uint32_t distance(const struct dafs_ptab *tab, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : tab->room - from + to;
}

void dafs_ptab_remove(struct dafs_ptab *tab, const void *item, uint32_t hash,
		      dafs_ptab_hash_fn hash_of)
{
	uint32_t hole = dafs_ptab_home(tab, hash);

	while (tab->slot[hole] != item) {
		assert(tab->slot[hole]);
		hole = after(tab, hole);
	}
	for (uint32_t at = after(tab, hole); tab->slot[at]; at = after(tab, at)) {
		uint32_t home = dafs_ptab_home(tab, hash_of(tab->slot[at]));

		/* May move back unless its home lies behind the hole. */
		if (distance(tab, home, at) >= distance(tab, hole, at)) {
			tab->slot[hole] = tab->slot[at];
			hole = at;
		}
	}
	tab->slot[hole] = NULL;
	tab->n--;
}
