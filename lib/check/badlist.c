/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * badlist - a list of bad blocks from outside into inode 1, beside what is there or in its place.
 *
 * Only the list is written here. What lies on a block that became bad (a file's data, a bitmap, an
 * inode) is found by the next round, as in a list that was there before.
 *
 * Runs once, when pass 1b left no block claimed twice. The blocks that hold the list are never bad
 * ones.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

struct list {
	struct dafs_ck *ck;
	struct ext2_inode_large *raw;
	struct dafs_ck_vec blks;  /* uint64_t: the new list */
	struct dafs_ck_vec nodes; /* uint64_t: blocks that hold the old one */
};

static bool add(struct dafs_ck_vec *vec, uint64_t pblk)
{
	uint64_t *at = dafs_ck_vec_add(vec, sizeof(*at));

	if (at)
		*at = pblk;
	return at != NULL;
}

static int cmp(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* What inode 1 has by now. */
static void add_old(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk, uint64_t len,
		    bool map)
{
	struct list *l = arg;

	(void)lblk;
	if (!map && w->ck->opts->bad_replace)
		return;
	for (uint64_t i = 0; i < len && !w->err; i++)
		if (!add(map ? &l->nodes : &l->blks, pblk + i))
			w->err = ENOMEM;
}

static errcode_t collect(struct list *l)
{
	const struct dafs_check_opts *opts = l->ck->opts;
	uint64_t *v;
	size_t n = 0;

	dafs_ck_walk(l->ck->main, EXT2_BAD_INO, l->raw, add_old, l);
	for (size_t i = 0; i < opts->nbad && !l->ck->main->err; i++) {
		if (!dafs_ck_blk_ok(l->ck, opts->bad_blks[i]))
			dafs_notice(l->ck->ctx, "bad block %llu: the file system has no such block",
				    (unsigned long long)opts->bad_blks[i]);
		else if (opts->bad_blks[i] > UINT32_MAX)
			return dafs_fail(l->ck->ctx, DAFS_ET_RANGE,
					 "bad block %llu: the list has numbers of 32 bits only",
					 (unsigned long long)opts->bad_blks[i]);
		else if (!add(&l->blks, opts->bad_blks[i]))
			return ENOMEM;
	}
	v = l->blks.v;
	if (l->blks.n)
		qsort(v, l->blks.n, sizeof(*v), cmp);
	for (size_t i = 0; i < l->blks.n; i++)
		if (!n || v[n - 1] != v[i])
			v[n++] = v[i];
	l->blks.n = n;
	return l->ck->main->err;
}

/* (An empty list has no array.) */
static bool is_bad(const struct list *l, uint64_t pblk)
{
	return l->blks.n && bsearch(&pblk, l->blks.v, l->blks.n, sizeof(pblk), cmp);
}

/* Blocks that nobody uses by now are in use from here on, and the other way round. */
static errcode_t mark(struct list *l)
{
	struct dafs_ck *ck = l->ck;
	const uint64_t *v = l->blks.v, *nodes = l->nodes.v;
	errcode_t err = 0;

	for (size_t i = 0; i < l->blks.n && !err; i++) {
		uint64_t cluster = dafs_ck_cluster(ck, v[i]);

		if (dafs_ck_bits_test(&ck->found, cluster))
			continue;
		dafs_ck_bits_set(&ck->found, cluster, 1, NULL);
		err = dafs_ck_bitmap_blks(ck, v[i], 1, true);
	}
	for (size_t i = 0; i < l->nodes.n && !err; i++)
		if (!dafs_ck_is_meta(ck, nodes[i]) && !is_bad(l, nodes[i]))
			err = dafs_ck_bitmap_blks(ck, nodes[i], 1, false);
	return err;
}

/* Blocks that were bad and are not any more, and that nothing else lies on. */
static errcode_t release(struct list *l)
{
	struct dafs_ck *ck = l->ck;
	errcode_t err = 0;

	for (size_t i = 0; i < ck->bad_blocks.room && !err; i++) {
		uint64_t pblk = ck->bad_blocks.keys[i] - 1;

		if (!ck->bad_blocks.keys[i] || !dafs_ck_blk_ok(ck, pblk) ||
		    dafs_ck_is_meta(ck, pblk) || is_bad(l, pblk))
			continue;
		err = dafs_ck_bitmap_blks(ck, pblk, 1, false);
	}
	return err;
}

static errcode_t encode(struct list *l)
{
	struct dafs_ck *ck = l->ck;
	const uint64_t *v = l->blks.v;
	struct dafs_blklist nodes = { 0 };
	struct dafs_extlist xl = { 0 };
	uint64_t need, blks;
	errcode_t err = 0;

	for (size_t i = 0; i < l->blks.n && !err; i++)
		err = dafs_extlist_append(&xl, v[i], (uint32_t)i, 1, false);
	need = err ? 0 : dafs_ck_indirect_blks(ck, &xl);
	while (nodes.n < need && !err) {
		uint64_t pblk = dafs_ck_take(ck, ck->g.first, 1);

		err = pblk ? dafs_blklist_add(&nodes, pblk)
			   : dafs_fail(ck->ctx, ENOSPC, "no room for the list of bad blocks");
	}
	memset(l->raw->i_block, 0, sizeof(l->raw->i_block));
	if (!err)
		err = dafs_ck_indirect_encode(ck, &xl, &nodes, l->raw);
	blks = l->blks.n + need;
	l->raw->i_size = (uint32_t)((uint64_t)l->blks.n << ck->g.block_bits);
	l->raw->i_size_high = (uint32_t)((uint64_t)l->blks.n << ck->g.block_bits >> 32);
	l->raw->i_blocks = (uint32_t)(blks * (ck->g.block_size / 512));
	l->raw->i_mtime = l->raw->i_ctime = (uint32_t)ck->ctx->now_sec;
	if (!err)
		err = dafs_ck_write_inode(ck->main, EXT2_BAD_INO, l->raw);
	dafs_blklist_fini(&nodes);
	dafs_extlist_fini(&xl);
	return err;
}

/* Is every block of the new list in the old one, and as many? */
static bool same(const struct list *l)
{
	const uint64_t *v = l->blks.v;
	size_t n = 0;

	for (size_t i = 0; i < l->blks.n; i++)
		n += dafs_ck_map_get(&l->ck->bad_blocks, v[i] + 1) != NULL;
	return n == l->blks.n && n == l->ck->bad_blocks.n;
}

errcode_t dafs_ck_bad_list(struct dafs_ck *ck)
{
	struct list l = { .ck = ck };
	errcode_t err = 0;

	if ((!ck->opts->nbad && !ck->opts->bad_replace) || ck->listed || !ck->fixing)
		return 0;
	if (ck->g.bigalloc)
		return dafs_fail(ck->ctx, DAFS_ET_FEATURE, "bad blocks with bigalloc");
	ck->listed = true;
	l.raw = dafs_ck_raw_alloc(ck);
	if (!l.raw)
		return ENOMEM;
	if (dafs_ck_read_inode(ck->main, EXT2_BAD_INO, l.raw))
		err = collect(&l);
	if (!err && !same(&l)) {
		err = release(&l);
		if (!err)
			err = mark(&l);
		if (!err)
			err = encode(&l);
		ck->rep->result.bad_list = ck->again = true;
	}
	dafs_ck_vec_fini(&l.blks);
	dafs_ck_vec_fini(&l.nodes);
	free(l.raw);
	return err ? err : ck->main->err;
}
