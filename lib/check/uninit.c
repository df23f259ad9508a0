/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uninit - groups whose block bitmap was never written: what it stands for, and which blocks of
 * other groups are in use because a table of such a group lies there (flex_bg).
 *
 * Does not judge anything: that is pass 5's.
 *
 * Invariant: the list of those tables is made once a round, by the first group that asks, so that
 * all groups are judged by the descriptors as they were then.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

bool dafs_ck_flagged_uninit(const struct dafs_ck *ck, uint32_t grp)
{
	return ck->g.gd_csum && dafs_ck_gd(ck, grp)->bg_flags & EXT2_BG_BLOCK_UNINIT;
}

bool dafs_ck_block_uninit(const struct dafs_ck *ck, uint32_t grp)
{
	return dafs_ck_flagged_uninit(ck, grp) && !(ck->gd_flags[grp] & DAFS_CKG_CSUM_BAD);
}

/* The part of [start, start+len) that lies in the group is in use. True: something was free. */
static bool mark(const struct dafs_ck *ck, uint32_t grp, uint64_t start, uint64_t len,
		 uint8_t *bits)
{
	uint64_t first = dafs_ck_grp_first(ck, grp), end = first + dafs_ck_grp_blks(ck, grp);
	uint64_t stop = start + len < end ? start + len : end;
	bool changed = false;

	for (uint64_t at = start < first ? first : start; at < stop; at++) {
		uint64_t bit = (at - first) >> ck->g.cbits;

		changed |= !(bits[bit / 8] >> bit % 8 & 1);
		bits[bit / 8] |= (uint8_t)(1u << bit % 8);
	}
	return changed;
}

static void own_tables(const struct dafs_ck *ck, uint32_t grp, struct dafs_ck_range r[3])
{
	r[0] = (struct dafs_ck_range){ dafs_ck_gd_block_bitmap(ck, grp), 1 };
	r[1] = (struct dafs_ck_range){ dafs_ck_gd_inode_bitmap(ck, grp), 1 };
	r[2] = (struct dafs_ck_range){ dafs_ck_gd_itable(ck, grp), ck->g.itable_blks };
}

void dafs_ck_uninit_blocks(const struct dafs_ck *ck, uint32_t grp, uint8_t *bits)
{
	struct dafs_ck_range runs[3];
	unsigned n = dafs_ck_grp_super_runs(ck, grp, runs);

	memset(bits, 0, ck->g.block_size);
	for (unsigned i = 0; i < n; i++)
		mark(ck, grp, runs[i].start, runs[i].len, bits);
	own_tables(ck, grp, runs);
	for (unsigned i = 0; i < 3; i++)
		mark(ck, grp, runs[i].start, runs[i].len, bits);
}

static int range_cmp(const void *a, const void *b)
{
	const struct dafs_ck_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Neighbours become one, so that ends are in order as well. */
static void merge(struct dafs_ck_vec *vec)
{
	struct dafs_ck_range *v = vec->v;
	size_t n = 0;

	if (vec->n)
		qsort(v, vec->n, sizeof(*v), range_cmp);
	for (size_t i = 0; i < vec->n; i++) {
		uint64_t end = n ? v[n - 1].start + v[n - 1].len : 0;

		if (!n || v[i].start > end)
			v[n++] = v[i];
		else if (v[i].start + v[i].len > end)
			v[n - 1].len = v[i].start + v[i].len - v[n - 1].start;
	}
	vec->n = n;
}

static errcode_t list_tables(struct dafs_ck *ck)
{
	for (uint32_t grp = 0; grp < ck->g.groups; grp++) {
		struct dafs_ck_range own[3], *at;

		if (!dafs_ck_block_uninit(ck, grp) || ck->gd_flags[grp] & ~DAFS_CKG_LATER)
			continue;
		own_tables(ck, grp, own);
		for (unsigned i = 0; i < 3; i++) {
			at = dafs_ck_vec_add(&ck->uninit_tables, sizeof(*at));
			if (!at)
				return ENOMEM;
			*at = own[i];
		}
	}
	merge(&ck->uninit_tables);
	ck->uninit_listed = true;
	return 0;
}

errcode_t dafs_ck_add_tables(struct dafs_ck *ck, uint32_t grp, uint8_t *bits, bool *changed)
{
	uint64_t first = dafs_ck_grp_first(ck, grp), end = first + dafs_ck_grp_blks(ck, grp);
	errcode_t err = ck->uninit_listed ? 0 : list_tables(ck);
	const struct dafs_ck_range *v = ck->uninit_tables.v;
	size_t low = 0, high = ck->uninit_tables.n;

	*changed = false;
	/* The first one that ends behind the group's beginning. */
	while (low < high && !err) {
		size_t mid = low + (high - low) / 2;

		if (v[mid].start + v[mid].len > first)
			high = mid;
		else
			low = mid + 1;
	}
	for (; low < ck->uninit_tables.n && v[low].start < end && !err; low++)
		*changed |= mark(ck, grp, v[low].start, v[low].len, bits);
	return err;
}
