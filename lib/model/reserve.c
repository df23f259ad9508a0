/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reserve - see reserve.h. Counters only; who holds which part is kept per file.
 */
#include "config.h"

#include "model/reserve.h"

#include <assert.h>

/* What nobody holds yet; 0 when less than nothing (root or pool grew past what is free). */
static uint64_t unheld(const struct dafs_reserve *rs, bool privileged)
{
	uint64_t held = rs->dirty_clusters + rs->promised_clusters + rs->resv_clusters;

	if (!privileged)
		held += rs->root_clusters;
	return rs->free_clusters > held ? rs->free_clusters - held : 0;
}

errcode_t dafs_reserve_take(struct dafs_reserve *rs, uint64_t n, uint64_t m, bool privileged)
{
	uint64_t room = unheld(rs, privileged);

	assert(rs->from_cache || dafs_reserve_verify(rs));
	if (n > room)
		return DAFS_ET_NOSPC_RESERVE;
	if (m > room - n)
		return DAFS_ET_NOSPC_META;
	rs->dirty_clusters += n;
	rs->promised_clusters += m;
	rs->bound_clusters += m;
	return 0;
}

/* What may be taken from a counter: all of it is our own doing, or a cache says so, whose rows may
 * contradict each other. */
static uint64_t at_most(const struct dafs_reserve *rs, uint64_t n, uint64_t counter)
{
	assert(n <= counter || rs->from_cache);
	return n <= counter ? n : counter;
}

void dafs_reserve_release(struct dafs_reserve *rs, uint64_t n, uint64_t m)
{
	n = at_most(rs, n, rs->dirty_clusters);
	m = at_most(rs, m, rs->bound_clusters);
	rs->dirty_clusters -= n;
	rs->bound_clusters -= m;
	if (rs->promised_clusters > rs->bound_clusters)
		rs->promised_clusters = rs->bound_clusters;
}

void dafs_reserve_claim(struct dafs_reserve *rs, uint64_t n)
{
	n = at_most(rs, n, rs->dirty_clusters);
	n = at_most(rs, n, rs->free_clusters);
	rs->dirty_clusters -= n;
	rs->free_clusters -= n;
}

errcode_t dafs_reserve_take_inodes(struct dafs_reserve *rs, uint64_t n)
{
	assert(rs->from_cache || rs->promised_inodes <= rs->free_inodes);
	if (rs->promised_inodes > rs->free_inodes || n > rs->free_inodes - rs->promised_inodes)
		return DAFS_ET_NOINODES;
	rs->promised_inodes += n;
	return 0;
}

void dafs_reserve_release_inodes(struct dafs_reserve *rs, uint64_t n)
{
	rs->promised_inodes -= at_most(rs, n, rs->promised_inodes);
}

/* What the kernel's counters may be off by: 4 batches of 32 on each of two CPUs. */
enum { LOW_MARGIN_CLUSTERS = 256 };

bool dafs_reserve_low(const struct dafs_reserve *rs, uint64_t placed)
{
	uint64_t room = rs->free_clusters - placed, dirty = rs->dirty_clusters - placed;

	assert(placed <= rs->dirty_clusters && placed <= rs->free_clusters);
	return 2 * room < 3 * dirty || room < dirty + LOW_MARGIN_CLUSTERS;
}

bool dafs_reserve_verify(const struct dafs_reserve *rs)
{
	return rs->dirty_clusters <= rs->free_clusters &&
	       rs->promised_clusters <= rs->free_clusters - rs->dirty_clusters &&
	       rs->promised_clusters <= rs->bound_clusters &&
	       rs->promised_inodes <= rs->free_inodes;
}
