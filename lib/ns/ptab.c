/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ptab - see ptab.h. Removing shifts what follows back instead of leaving tombstones, so a table never degrades.
 */
#include "config.h"

#include "ns/ptab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_ROOM 8u

void dafs_ptab_fini(struct dafs_ptab *tab)
{
	free(tab->slot);
	tab->slot = NULL;
	tab->n = tab->room = 0;
}

static void put(struct dafs_ptab *tab, void *item, uint32_t hash)
{
	uint32_t at = hash & (tab->room - 1);

	while (tab->slot[at])
		at = (at + 1) & (tab->room - 1);
	tab->slot[at] = item;
}

errcode_t dafs_ptab_reserve(struct dafs_ptab *tab, dafs_ptab_hash_fn hash_of)
{
	struct dafs_ptab grown = { 0 };

	if (tab->n + 1 <= tab->room / 4 * 3)
		return 0;
	if (tab->room >= UINT32_C(1) << 31)
		return ENOMEM;
	grown.room = tab->room ? tab->room * 2 : FIRST_ROOM;
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

void dafs_ptab_remove(struct dafs_ptab *tab, const void *item, uint32_t hash,
		      dafs_ptab_hash_fn hash_of)
{
	uint32_t mask = tab->room - 1, hole = hash & mask;

	while (tab->slot[hole] != item) {
		assert(tab->slot[hole]);
		hole = (hole + 1) & mask;
	}
	for (uint32_t at = (hole + 1) & mask; tab->slot[at]; at = (at + 1) & mask) {
		uint32_t home = hash_of(tab->slot[at]) & mask;

		/* May move back unless its home lies behind the hole. */
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			tab->slot[hole] = tab->slot[at];
			hole = at;
		}
	}
	tab->slot[hole] = NULL;
	tab->n--;
}
