/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mechanisms of delayed allocation that only show inside; mNN is the number in the list of 37 that
 * tests/bats/230-mechanisms.bats goes through, too.
 */
#include "config.h"

#include "seeded.h"
#include "write_fixture.h"

#define CLEAN (DAFS_PG_UPTODATE | DAFS_PG_DIRTY | DAFS_PG_MAPPED)

static struct dafs_inode *fresh_file(const char *options, const char *size)
{
	wf_open(scratch_mke2fs("m.img", options, size));
	return wf_new(wf_root(), "f", S_IFREG | 0644);
}

static uint16_t state_of(struct dafs_inode *f, uint32_t lblk)
{
	struct dafs_page_run run;

	if (!dafs_pagecache_find(&f->u.file->pages, lblk, lblk + 1, &run))
		return 0;
	return run.state;
}

/* m02 m03 m10 m11 m21: every state that a block can be in, covered whole and in part. */
static void test_m11_states(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 4096", "32M");
	static uint8_t buf[8 * 4096], want[8 * 4096];
	size_t got;
	(void)state;

	wf_pattern(want, 2 * 4096, 1);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, want, 2 * 4096));
	scratch_ok(dafs_delalloc_fallocate(&wf.w, f, 2 * 4096, 2 * 4096, false));
	wf_flush();
	f = wf_lookup(wf_root(), "f");
	/* 0 1 written, 2 3 unwritten, 4.. holes: one byte into the middle of each kind. */
	for (uint32_t lblk = 0; lblk < 6; lblk += 2) {
		want[lblk * 4096 + 100] = 'x';
		scratch_ok(dafs_delalloc_write(&wf.w, f, lblk * 4096 + 100, "x", 1));
	}
	assert_int_equal(state_of(f, 0), CLEAN);
	assert_int_equal(state_of(f, 1), 0);
	assert_int_equal(state_of(f, 2), CLEAN | DAFS_PG_NEW | DAFS_PG_UNWRITTEN);
	assert_int_equal(state_of(f, 4), CLEAN | DAFS_PG_NEW | DAFS_PG_DELAY);
	assert_int_equal(wf.rs.dirty_clusters, 1);
	assert_int_equal(f->u.file->es.delayed_blks, 1);
	/* Again, whole: the states stay, nothing more is reserved. */
	for (uint32_t lblk = 0; lblk < 6; lblk += 2) {
		wf_pattern(want + lblk * 4096, 4096, lblk);
		scratch_ok(dafs_delalloc_write(&wf.w, f, lblk * 4096, want + lblk * 4096, 4096));
	}
	assert_int_equal(state_of(f, 0), CLEAN);
	assert_int_equal(state_of(f, 4), CLEAN | DAFS_PG_NEW | DAFS_PG_DELAY);
	assert_int_equal(wf.rs.dirty_clusters, 1);
	scratch_ok(dafs_delalloc_read(&wf.w, f, buf, sizeof(buf), 0, &got));
	assert_int_equal(got, 5 * 4096);
	assert_memory_equal(buf, want, got);
	wf_flush();
	wf_expect("f", want, 5 * 4096);
	wf_close();
}

/* m12 m13 m14 m15: what a block is: the same from the es tree, from the image, and by brute force;
 * looking takes no space. */
static void test_m15_lookups(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 1024", "16M");
	struct rng rng = { .state = test_seed(15) };
	enum { BLKS = 400 };
	uint8_t kind[BLKS + 1] = { 0 }, blk[1024] = { 1 };
	struct dafs_es_extent ext, again;
	uint64_t free_before;
	(void)state;

	for (uint32_t i = 0; i < BLKS; i++) {
		kind[i] = (uint8_t)(rng_below(&rng, 4) == 0 ? 0 : 1);
		if (kind[i])
			scratch_ok(dafs_delalloc_write(&wf.w, f, (uint64_t)i * 1024, blk, 1024));
	}
	wf_flush();
	f = wf_lookup(wf_root(), "f");
	free_before = wf.rs.free_clusters - wf.rs.dirty_clusters;
	for (uint32_t n = 0; n < 2000; n++) {
		uint32_t at = rng_below(&rng, BLKS), first = at, end = at;

		while (first && kind[first - 1] == kind[at])
			first--;
		while (end < BLKS && kind[end] == kind[at])
			end++;
		scratch_ok(dafs_delalloc_map(&wf.w, f, at, &ext));
		assert_int_equal(ext.type, kind[at] ? DAFS_ES_WRITTEN : DAFS_ES_HOLE);
		assert_true(ext.lblk >= first && ext.lblk <= at);
		assert_true(ext.lblk + ext.len > at);
		if (end < BLKS)
			assert_true(ext.lblk + ext.len <= end);
		scratch_ok(dafs_delalloc_map(&wf.w, f, at, &again));
		assert_int_equal(again.pblk + (at - again.lblk), ext.pblk + (at - ext.lblk));
	}
	assert_true(dafs_es_verify(&f->u.file->es));
	assert_int_equal(wf.rs.free_clusters - wf.rs.dirty_clusters, free_before);
	wf_close();
}

/* m25: who is refused when: the figures of a 64 MiB file system with 819 blocks for root and a pool
 * of 327. */
static void test_m25_refusals(void **state)
{
	struct dafs_reserve rs = { .free_clusters = 14319, .root_clusters = 819, .resv_clusters = 327 };
	uint64_t n = 0;
	(void)state;

	while (!dafs_reserve_take(&rs, 1, 0, false))
		n++;
	assert_int_equal(rs.free_clusters - n, 1146);
	while (!dafs_reserve_take(&rs, 1, 0, true))
		n++;
	assert_int_equal(rs.free_clusters - n, 327);
	rs.resv_clusters = 0;
	while (!dafs_reserve_take(&rs, 1, 0, true))
		n++;
	assert_int_equal(rs.free_clusters - n, 0);
	dafs_reserve_release(&rs, n, 0);
	assert_int_equal(rs.dirty_clusters, 0);
}

static size_t runs_of(const char *name)
{
	struct dafs_inode *f = wf_lookup(wf_root(), name);
	struct dafs_es_extent ext;
	size_t n = 0;

	for (uint64_t at = 0; at << wf.img->block_bits < f->size; at = (uint64_t)ext.lblk + ext.len) {
		scratch_ok(dafs_delalloc_map(&wf.w, f, (uint32_t)at, &ext));
		n += ext.type == DAFS_ES_WRITTEN;
	}
	return n;
}

/* A hole made and filled before one flush leaves the file in one piece; so do small holes filled
 * after it. */
static void test_refill(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 4096", "32M");
	static uint8_t want[64 * 4096];
	(void)state;

	wf_pattern(want, sizeof(want), 7);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, want, sizeof(want)));
	wf_flush();
	f = wf_lookup(wf_root(), "f");
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 10 * 4096, 20 * 4096));
	wf_pattern(want + 10 * 4096, 20 * 4096, 9);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 10 * 4096, want + 10 * 4096, 20 * 4096));
	scratch_ok(dafs_delalloc_truncate(&wf.w, f, 50 * 4096 + 5));
	memset(want + 50 * 4096 + 5, 0, sizeof(want) - 50 * 4096 - 5);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 60 * 4096, want + 60 * 4096, 4 * 4096));
	wf_flush();
	wf_expect("f", want, sizeof(want));
	assert_true(runs_of("f") <= 2);
	/* What stays punched is a hole, and its blocks are free. */
	f = wf_lookup(wf_root(), "f");
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 0, 8 * 4096));
	memset(want, 0, 8 * 4096);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 4096, "y", 1));
	want[4096] = 'y';
	wf_flush();
	wf_expect("f", want, sizeof(want));
	wf_close();
}

static void test_gaps(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 4096", "32M");
	static uint8_t want[41 * 4096];
	(void)state;

	wf_pattern(want, sizeof(want), 3);
	for (uint32_t i = 0; i <= 40; i += 2)
		scratch_ok(dafs_delalloc_write(&wf.w, f, i * 4096, want + i * 4096, 4096));
	wf_flush();
	f = wf_lookup(wf_root(), "f");
	for (uint32_t i = 1; i < 40; i += 2)
		scratch_ok(dafs_delalloc_write(&wf.w, f, i * 4096, want + i * 4096, 4096));
	wf_flush();
	wf_expect("f", want, sizeof(want));
	/* In one piece where the free run it was begun in is long enough. */
	assert_true(runs_of("f") <= 3);
	wf_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_m11_states),   cmocka_unit_test(test_m15_lookups),
		cmocka_unit_test(test_m25_refusals), cmocka_unit_test(test_refill),
		cmocka_unit_test(test_gaps),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
