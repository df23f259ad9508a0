/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirplan_build - items into leaves: linear blocks, or an htree in one go.
 *
 * Leaves of an htree are made about nine tenths full, so that later names find room without a
 * split; all of them when that saves a level of the index. They are balanced: the last one is
 * not a remainder.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "image/dirplan_int.h"

static uint64_t pool_bytes(const struct dafs_dirplan *dp)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < dp->nitems; i++)
		bytes += dafs_dirplan_bytes(dp, &dp->items[i]);
	return bytes;
}

size_t dafs_dirplan_want(const struct dafs_dirplan *dp, uint64_t bytes)
{
	uint64_t nine_tenths = (uint64_t)dp->room * 9 / 10;

	return (size_t)((bytes + nine_tenths - 1) / nine_tenths);
}

errcode_t dafs_dirplan_cut(struct dafs_dirplan *dp, size_t first, size_t n, size_t want)
{
	uint64_t left = 0;
	size_t at = first, end = first + n;
	errcode_t err = 0;

	for (size_t i = first; i < end; i++)
		left += dafs_dirplan_bytes(dp, &dp->items[i]);
	for (; at < end && !err; want -= want > 1) {
		struct dirplan_leaf leaf = { .first = at, .hash = dp->items[at].hash };
		uint64_t share = (left + want - 1) / want, used = 0;

		if (at == first)
			leaf.hash = 0;
		else if (dp->items[at - 1].hash == leaf.hash)
			leaf.hash |= 1;
		while (at < end && used < share) {
			uint32_t bytes = dafs_dirplan_bytes(dp, &dp->items[at]);

			/* Over the share only where that is nearer to it than to stop. */
			if (used + bytes > dp->room || (used && want > 1 && used + bytes > share &&
							used + bytes - share > share - used))
				break;
			used += bytes;
			at++;
		}
		leaf.n = at - leaf.first;
		left -= used;
		err = dafs_dirplan_add_leaf(dp, &leaf);
	}
	return err;
}

errcode_t dafs_dirplan_append(struct dafs_dirplan *dp, size_t first)
{
	errcode_t err = 0;

	dp->shape = DIRPLAN_LINEAR;
	do {
		struct dirplan_leaf leaf = { .lblk = dp->blks++, .first = first };
		uint32_t used = leaf.lblk ? 0 : DAFS_DIR_DOTS_BYTES;

		for (; first < dp->nitems; first++) {
			used += dafs_dirplan_bytes(dp, &dp->items[first]);
			if (used > dp->room)
				break;
		}
		leaf.n = first - leaf.first;
		err = dafs_dirplan_add_leaf(dp, &leaf);
	} while (first < dp->nitems && !err);
	return err;
}

/* How many leaves: comfortably filled ones, unless full ones save a level, and no fewer than
 * fill min_blks. */
static errcode_t count_leaves(struct dafs_dirplan *dp, uint32_t min_blks, size_t *want)
{
	uint64_t bytes = pool_bytes(dp);
	size_t tight = (size_t)(bytes / dp->room + 1);
	unsigned levels, tight_levels;
	uint32_t blks;
	errcode_t err;

	*want = dafs_dirplan_want(dp, bytes);
	err = dafs_dx_need(dp->img, tight, &tight_levels, &blks);
	if (err)
		return err;
	if (dafs_dx_need(dp->img, *want, &levels, &blks) || levels > tight_levels)
		*want = tight;
	err = dafs_dx_need(dp->img, *want, &levels, &blks);
	if (!err && *want + blks < min_blks)
		*want = min_blks - blks;
	return err;
}

errcode_t dafs_dirplan_htree(struct dafs_dirplan *dp, uint32_t min_blks)
{
	struct dafs_dx *dx = &dp->dx;
	uint32_t next = 1;
	size_t want;
	errcode_t err;

	dp->shape = DIRPLAN_HTREE;
	dp->write_index = true;
	dafs_dirplan_sort_hash(dp, dp->items, dp->nitems);
	err = count_leaves(dp, min_blks, &want);
	if (!err)
		err = dafs_dirplan_cut(dp, 0, dp->nitems, want);
	if (err)
		return err;
	dx->hash_version = dp->hash.disk_version;
	dx->nleaves = dp->nleaves;
	dx->leaves = calloc(dp->nleaves, sizeof(*dx->leaves));
	if (!dx->leaves)
		return ENOMEM;
	for (size_t i = 0; i < dp->nleaves; i++)
		dx->leaves[i].hash = dp->leaves[i].hash;
	err = dafs_dx_shape(dp->img, dx, &next);
	/* Nodes right behind the root: a walk by index reads them first. */
	for (size_t i = 0; i < dp->nleaves && !err; i++)
		dp->leaves[i].lblk = dx->leaves[i].lblk = next++;
	dp->blks = next;
	return err;
}

errcode_t dafs_dirplan_blocks(struct dafs_dirplan *dp)
{
	bool one = DAFS_DIR_DOTS_BYTES + pool_bytes(dp) <= dp->room;

	if (!one && dp->img->has_dir_index)
		return dafs_dirplan_htree(dp, 0);
	dafs_dirplan_sort_place(dp->items, dp->nitems);
	return dafs_dirplan_append(dp, 0);
}

bool dafs_dirplan_fit_inline(const struct dafs_dirplan *dp, uint8_t *chain)
{
	uint32_t room[2] = { DAFS_INLINE_BODY - DAFS_DIRINLINE_PARENT, dp->spill_len };

	for (size_t i = 0; i < dp->nitems; i++) {
		uint32_t bytes = dafs_dirplan_bytes(dp, &dp->items[i]);

		chain[i] = bytes > room[0];
		if (bytes > room[chain[i]])
			return false;
		room[chain[i]] -= bytes;
	}
	return true;
}
