/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mechanisms of delayed allocation that only show inside; mNN is the number in the list of 37 that
 * tests/bats/230-mechanisms.bats goes through, too.
 */
#include "config.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/trace.h"
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
	struct dafs_reserve rs = { .free_clusters = 14319,
				   .root_clusters = 819,
				   .resv_clusters = 327 };
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

/* m19: the kernel's formulas for low room, at their borders and with the figures that it was seen
 * with. */
static void test_m19_low(void **state)
{
	struct dafs_reserve rs = { .free_clusters = 431, .dirty_clusters = 192 };
	(void)state;

	assert_true(dafs_reserve_low(&rs, 0)); /* 431 < 192 + 256 */
	rs.free_clusters = 448;
	assert_false(dafs_reserve_low(&rs, 0));
	rs = (struct dafs_reserve){ .free_clusters = 899, .dirty_clusters = 600 };
	assert_true(dafs_reserve_low(&rs, 0)); /* 1798 < 1800 */
	rs.free_clusters = 900;
	assert_false(dafs_reserve_low(&rs, 0));
	/* Placed blocks are used, not reserved. */
	rs = (struct dafs_reserve){ .free_clusters = 1000, .dirty_clusters = 744 };
	assert_true(dafs_reserve_low(&rs, 100)); /* 1800 < 1932 */
	rs.dirty_clusters = 700;
	assert_true(dafs_reserve_low(&rs, 0));	  /* 2000 < 2100 */
	assert_false(dafs_reserve_low(&rs, 100)); /* 1800 < 1800, 900 < 856 */
}

static size_t runs_of(const char *name)
{
	struct dafs_inode *f = wf_lookup(wf_root(), name);
	struct dafs_es_extent ext;
	size_t n = 0;

	for (uint64_t at = 0; at << wf.img->block_bits < f->size;
	     at = (uint64_t)ext.lblk + ext.len) {
		scratch_ok(dafs_delalloc_map(&wf.w, f, (uint32_t)at, &ext));
		n += ext.type == DAFS_ES_WRITTEN;
	}
	return n;
}

/* Lines of the trace that begin with name and hold text. */
static size_t events(const char *name, const char *text)
{
	FILE *f = fopen(scratch_path("trace"), "r");
	char line[512];
	size_t n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += !strncmp(line, name, strlen(name)) && strstr(line, text);
	fclose(f);
	return n;
}

static void trace_on(void)
{
	unlink(scratch_path("trace"));
	scratch_ok(dafs_trace_open(&scratch_ctx, scratch_path("trace"), &scratch_ctx.trace));
}

static void trace_off(void)
{
	scratch_ok(dafs_trace_close(scratch_ctx.trace));
	scratch_ctx.trace = NULL;
}

/* m13: the image is asked once for each extent and each hole, whoever asks how often; the hole
 * around a miss is remembered whole. */
static void test_m13_cached(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 1024", "16M");
	struct rng rng = { .state = test_seed(13) };
	enum { PIECES = 30, BLKS = PIECES * 20, LOOKS = 3000 };
	uint8_t blk[1024] = { 1 };
	struct dafs_es_extent ext;
	(void)state;

	/* 7 blocks of data at every 20th. */
	for (uint32_t i = 0; i < BLKS; i++) {
		if (i % 20 < 7)
			scratch_ok(dafs_delalloc_write(&wf.w, f, (uint64_t)i * 1024, blk, 1024));
	}
	wf_flush();
	f = wf_lookup(wf_root(), "f");
	trace_on();
	for (uint32_t n = 0; n < LOOKS; n++) {
		uint32_t at = rng_below(&rng, BLKS), first = at - at % 20;

		scratch_ok(dafs_delalloc_map(&wf.w, f, at, &ext));
		assert_int_equal(ext.type, at % 20 < 7 ? DAFS_ES_WRITTEN : DAFS_ES_HOLE);
		if (ext.type == DAFS_ES_HOLE && at < BLKS - 20) {
			assert_int_equal(ext.lblk, first + 7);
			assert_int_equal(ext.len, 13);
		}
	}
	trace_off();
	assert_int_equal(events("ext4_es_lookup_extent_enter:", ""), LOOKS);
	assert_int_equal(events("ext4_es_lookup_extent_exit:", "found 0"), 2 * PIECES);
	assert_int_equal(events("ext4_es_lookup_extent_exit:", "found 1"), LOOKS - 2 * PIECES);
	assert_int_equal(events("ext4_ext_map_blocks_enter:", ""), 2 * PIECES);
	assert_int_equal(events("ext4_es_insert_extent:", ""), 2 * PIECES);
	wf_close();
}

/* m16: a tree of depth 2, edited, and back to a root in the inode (merge up). */
static void test_m16_depth(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 1024", "16M");
	enum { BLKS = 1000 };
	static uint8_t want[BLKS * 1024];
	(void)state;

	wf_pattern(want, sizeof(want), 16);
	for (uint32_t i = 0; i < BLKS; i += 2)
		scratch_ok(dafs_delalloc_write(&wf.w, f, i * 1024, want + i * 1024, 1024));
	wf_flush();
	/* 500 extents: more than 4 leaves of 84. */
	assert_true(wf_debugfs_has("ex f", " 2/ 2 "));
	assert_true(wf_debugfs_has("ex f", " 1/ 2 "));
	f = wf_lookup(wf_root(), "f");
	for (uint32_t i = 101; i < 300; i += 2)
		scratch_ok(dafs_delalloc_write(&wf.w, f, i * 1024, want + i * 1024, 1024));
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 600 * 1024, 50 * 1024));
	wf_flush();
	f = wf_lookup(wf_root(), "f");
	for (uint32_t i = 1; i < BLKS; i++) {
		if (i % 2 || (i >= 600 && i < 650))
			scratch_ok(dafs_delalloc_write(&wf.w, f, i * 1024, want + i * 1024, 1024));
	}
	wf_flush();
	wf_expect("f", want, sizeof(want));
	assert_true(wf_debugfs_has("ex f", " 0/ 0 "));
	assert_true(runs_of("f") <= 4);
	/* The tree's blocks are free again. */
	assert_true(wf_debugfs_has("stat f", "Blockcount: 2000"));
	wf_close();
}

/* m17: one call for a run, contiguous, and the bitmaps say the same. */
static void test_m17_one_call(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 1024", "32M");
	static uint8_t want[6000 * 1024];
	uint64_t before = wf.rs.free_clusters;
	char path[256];
	(void)state;

	/* More than fits a chunk of the kernel's, in a disorder that leaves no trace. */
	wf_pattern(want, sizeof(want), 17);
	for (uint32_t i = 0; i < 6000; i += 100) {
		uint32_t at = (i * 7) % 6000;

		scratch_ok(dafs_delalloc_write(&wf.w, f, at * 1024, want + at * 1024, 100 * 1024));
	}
	trace_on();
	scratch_ok(wf_try_flush());
	trace_off();
	assert_int_equal(events("ext4_request_blocks:", "HINT_DATA"), 1);
	assert_int_equal(events("ext4_allocate_blocks:", "len 6000 "), 1);
	strcpy(path, wf.path);
	wf_close();
	scratch_fsck(path);
	wf_open(path);
	assert_int_equal(wf.rs.free_clusters, before - 6000);
	wf_expect("f", want, sizeof(want));
	assert_int_equal(runs_of("f"), 1);
	wf_close();
}

static errcode_t fail_read(struct dafs_source *src, struct dafs_ctx *ctx, void *buf, size_t len,
			   uint64_t off)
{
	(void)src;
	(void)buf;
	(void)len;
	(void)off;
	return dafs_fail(ctx, EIO, "spool");
}

/* m29: a file's writeback says where it begins and ends; where it fails, everything stays
 * pending. */
static void test_m29_failure(void **state)
{
	static const struct dafs_source_ops failing = { .read = fail_read };
	struct dafs_inode *f = fresh_file("-t ext4 -b 4096", "32M");
	static uint8_t want[20 * 4096];
	(void)state;

	wf_pattern(want, sizeof(want), 29);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, want, sizeof(want)));
	wf.src.ops = &failing;
	assert_err(EIO, wf_try_flush());
	assert_int_equal(state_of(f, 5), CLEAN | DAFS_PG_NEW | DAFS_PG_DELAY);
	assert_int_equal(f->u.file->es.delayed_blks, 20);
	assert_int_equal(wf.rs.dirty_clusters, 20);
	scratch_fsck(wf.path);
	wf.src.ops = &wf_src_ops;
	/* The handle is not to be used any more when something had been written. */
	if (!wf.img->failed) {
		trace_on();
		scratch_ok(wf_try_flush());
		trace_off();
		assert_int_equal(events("ext4_writepages:", ""), 1);
		assert_int_equal(events("ext4_da_write_pages_extent:", ""), 1);
		assert_int_equal(events("ext4_writepages_result:", ""), 1);
		wf_expect("f", want, sizeof(want));
	}
	wf_close();
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

/* What the child does: 100 GiB promised, bytes in 2000 places of it, flushed. */
static int write_large(struct dafs_inode *f)
{
	const uint64_t step = (UINT64_C(100) << 30) / 2000;

	if (dafs_delalloc_fallocate(&wf.w, f, 0, UINT64_C(100) << 30, false))
		return 1;
	for (uint64_t i = 0; i < 2000; i++) {
		if (dafs_delalloc_write(&wf.w, f, i * step + i % 4096, "x", 1))
			return 2;
	}
	return wf_try_flush() ? 3 : 0;
}

/* m02 m23: a file costs what its ranges cost. 16 bytes for each of its 26 million blocks would be
 * 400 MiB; it takes about 40, with a sanitizer some more. */
static void test_m02_memory(void **state)
{
	enum { MOST_KIB = 300 << 10 };
	struct dafs_inode *f;
	struct rusage usage;
	int status;
	pid_t child;
	(void)state;

	f = fresh_file("-t ext4 -b 4096 -N 64 -O ^has_journal,^resize_inode,sparse_super2", "120G");
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(write_large(f));
	assert_int_equal(wait4(child, &status, 0, &usage), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	printf("# %ld KiB\n", usage.ru_maxrss);
	assert_true(usage.ru_maxrss < MOST_KIB);
	wf_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_m11_states),   cmocka_unit_test(test_m15_lookups),
		cmocka_unit_test(test_m25_refusals), cmocka_unit_test(test_m19_low),
		cmocka_unit_test(test_m13_cached),   cmocka_unit_test(test_m16_depth),
		cmocka_unit_test(test_m17_one_call), cmocka_unit_test(test_m29_failure),
		cmocka_unit_test(test_refill),	     cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_m02_memory),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
