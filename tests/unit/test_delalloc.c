/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The write path of one file: reserve, page states, partial blocks, ranges, undo; a seeded run of
 * everything beside a flat array. */
#include "config.h"

#include "seeded.h"
#include "write_fixture.h"
#include "write/daop.h"
#include "write/direct.h"

static struct dafs_inode *fresh_file(const char *options, const char *size)
{
	wf_open(scratch_mke2fs("d.img", options, size));
	return wf_new(wf_root(), "f", S_IFREG | 0644);
}

static void test_reserve_once(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 4096", "32M");
	uint8_t buf[12288];
	struct dafs_es_extent ext;
	struct dafs_page_run run;
	(void)state;

	wf_pattern(buf, sizeof(buf), 1);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, buf, sizeof(buf)));
	assert_int_equal(f->u.file->reserved_clusters, 3);
	assert_int_equal(wf.rs.dirty_clusters, 3);
	/* The same blocks again: nothing more; their old bytes are dropped. */
	scratch_ok(dafs_delalloc_write(&wf.w, f, 4096, buf, 4096));
	assert_int_equal(wf.rs.dirty_clusters, 3);
	assert_int_equal(wf.dropped_blks, 1);
	scratch_ok(dafs_delalloc_map(&wf.w, f, 1, &ext));
	assert_int_equal(ext.type, DAFS_ES_DELAYED);
	assert_true(dafs_pagecache_find(&f->u.file->pages, 0, 1, &run));
	assert_int_equal(run.state, DAFS_PG_UPTODATE | DAFS_PG_DIRTY | DAFS_PG_MAPPED |
					    DAFS_PG_NEW | DAFS_PG_DELAY);
	/* Cut to 1.5 blocks: one is given back; the tail of the second reads as zeros when the file
	 * grows again. */
	scratch_ok(dafs_delalloc_truncate(&wf.w, f, 6000));
	assert_int_equal(wf.rs.dirty_clusters, 2);
	scratch_ok(dafs_delalloc_truncate(&wf.w, f, 8192));
	size_t got;
	scratch_ok(dafs_delalloc_read(&wf.w, f, buf, 8192, 0, &got));
	assert_int_equal(got, 8192);
	for (size_t i = 6000; i < 8192; i++)
		assert_int_equal(buf[i], 0);
	dafs_delalloc_forget(&wf.w, f);
	assert_int_equal(wf.rs.dirty_clusters, 0);
	assert_int_equal(wf.rs.promised_clusters, 0);
	wf_close();
}

static void test_bigalloc_reserve(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -O bigalloc -C 65536 -b 4096", "64M");
	uint8_t buf[8192] = { 1 };
	(void)state;

	/* The kernel's trace of the same writes: 1, then 0 0 0, then 1 for the second cluster. */
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, buf, 4096));
	assert_int_equal(wf.rs.dirty_clusters, 1);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 5 * 4096, buf, 4096));
	scratch_ok(dafs_delalloc_write(&wf.w, f, 14 * 4096, buf, 8192));
	assert_int_equal(wf.rs.dirty_clusters, 1);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 16 * 4096, buf, 4096));
	assert_int_equal(wf.rs.dirty_clusters, 2);
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 0, 14 * 4096));
	assert_int_equal(wf.rs.dirty_clusters, 2);
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 14 * 4096, 8192));
	assert_int_equal(wf.rs.dirty_clusters, 1);
	wf_flush();
	/* Into a cluster that is allocated: nothing is reserved, the cluster is remembered. */
	f = wf_lookup(wf_root(), "f");
	scratch_ok(dafs_delalloc_write(&wf.w, f, 20 * 4096, buf, 4096));
	assert_int_equal(wf.rs.dirty_clusters, 0);
	assert_int_equal(f->u.file->npend, 1);
	assert_int_equal(f->u.file->pend[0], 1);
	wf_flush();
	assert_true(wf_debugfs_has("stat f", "Blockcount: 128"));
	wf_close();
}

/* The three states of a cluster, and what each way of giving up returns: the figures are those of
 * the kernel's rules (a cluster is paid for once; allocated ones are remembered as pending; the
 * last allocated block of such a one leaves a reserve behind). */
static void test_bigalloc_pending(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -O bigalloc -C 65536 -b 4096", "64M");
	static uint8_t buf[64 * 4096] = { 1 };
	(void)state;

	scratch_ok(dafs_delalloc_write(&wf.w, f, 16 * 4096, buf, 4096));
	scratch_ok(dafs_delalloc_write(&wf.w, f, 47 * 4096, buf, 2 * 4096));
	assert_int_equal(wf.rs.dirty_clusters, 3);
	wf_flush();
	f = wf_lookup(wf_root(), "f");
	/* Clusters 1 to 3 are allocated by a block or two; 0 is a hole. From 5 to 60 only 0
	 * costs. */
	scratch_ok(dafs_delalloc_write(&wf.w, f, 5 * 4096, buf, 56 * 4096));
	assert_int_equal(wf.rs.dirty_clusters, 1);
	assert_int_equal(f->u.file->npend, 3);
	/* The allocated block of cluster 1 goes, its delayed ones stay: now it costs. */
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 16 * 4096, 4096));
	assert_int_equal(wf.rs.dirty_clusters, 2);
	assert_int_equal(f->u.file->npend, 2);
	/* The delayed ones of cluster 2 go, its allocated one stays: no longer pending, nothing
	 * back. */
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 32 * 4096, 15 * 4096));
	assert_int_equal(wf.rs.dirty_clusters, 2);
	assert_int_equal(f->u.file->npend, 1);
	/* Ends of a range in clusters that keep delayed blocks outside it give nothing back. */
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 10 * 4096, 10 * 4096));
	assert_int_equal(wf.rs.dirty_clusters, 2);
	/* Truncate into cluster 1, then into 0, then all. */
	scratch_ok(dafs_delalloc_truncate(&wf.w, f, 21 * 4096));
	assert_int_equal(wf.rs.dirty_clusters, 2);
	assert_int_equal(f->u.file->npend, 0);
	scratch_ok(dafs_delalloc_truncate(&wf.w, f, 16 * 4096));
	assert_int_equal(wf.rs.dirty_clusters, 1);
	/* Fallocate over and around what is delayed: only what is not paid for yet. */
	scratch_ok(dafs_delalloc_fallocate(&wf.w, f, 0, 40 * 4096, false));
	assert_int_equal(wf.rs.dirty_clusters, 3);
	scratch_ok(dafs_delalloc_fallocate(&wf.w, f, 0, 40 * 4096, false));
	assert_int_equal(wf.rs.dirty_clusters, 3);
	dafs_delalloc_forget(&wf.w, f);
	assert_int_equal(wf.rs.dirty_clusters, 0);
	assert_int_equal(wf.rs.bound_clusters, 0);
	wf_close();
}

/* The same by counting: a cluster costs one where it has delayed blocks and none that is
 * allocated. */
static uint64_t count_clusters(struct dafs_inode *f, uint32_t blks)
{
	uint64_t n = 0;

	for (uint32_t c = 0; c << wf.img->cluster_bits < blks; c++) {
		unsigned seen = 0;

		for (uint32_t b = 0; b < 1u << wf.img->cluster_bits; b++) {
			struct dafs_es_extent ext;

			scratch_ok(
				dafs_delalloc_map(&wf.w, f, (c << wf.img->cluster_bits) + b, &ext));
			seen |= ext.type;
		}
		n += seen & DAFS_ES_DELAYED && !(seen & (DAFS_ES_WRITTEN | DAFS_ES_UNWRITTEN));
	}
	return n;
}

static errcode_t failing_put(void *arg, const void *blocks, uint32_t nblks,
			     struct dafs_source **src, uint64_t *off)
{
	static int calls;

	if (++calls % 2 == 0)
		return ENOSPC;
	return wf_put(arg, blocks, nblks, src, off);
}

static void test_undo(void **state)
{
	struct dafs_stash_ops failing = wf_stash;
	struct dafs_inode *f = fresh_file("-t ext4 -b 1024", "16M");
	uint8_t buf[10000], seen[4096], want[4096];
	struct dafs_reserve before;
	size_t got;
	(void)state;

	wf_pattern(buf, sizeof(buf), 3);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 100, buf, 3000));
	scratch_ok(dafs_delalloc_read(&wf.w, f, want, sizeof(want), 0, &got));
	before = wf.rs;
	failing.put = failing_put;
	wf.w.stash = &failing;
	/* The head block is kept, then the stash fails: as if nothing had been asked. */
	assert_err(ENOSPC, dafs_delalloc_write(&wf.w, f, 50, buf, 9000));
	assert_int_equal(f->size, 3100);
	assert_memory_equal(&before, &wf.rs, sizeof(before));
	assert_true(dafs_delalloc_verify(&wf.w, f));
	scratch_ok(dafs_delalloc_read(&wf.w, f, seen, sizeof(seen), 0, &got));
	assert_int_equal(got, 3100);
	assert_memory_equal(seen, want, 3100);
	wf_close();
}

static void test_nospc(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 1024 -m 0 -O ^has_journal", "1M");
	static uint8_t buf[1 << 20];
	uint64_t free_blks = wf.rs.free_clusters, size = 0;
	errcode_t err = 0;
	(void)state;

	wf.w.dry_plan = wf_dry_plan;
	assert_err(DAFS_ET_NOSPC_RESERVE, dafs_delalloc_write(&wf.w, f, 0, buf, sizeof(buf)));
	assert_int_equal(wf.rs.dirty_clusters, 0);
	assert_int_equal(f->size, 0);
	wf_pattern(buf, sizeof(buf), 9);
	while (!err) {
		err = dafs_delalloc_write(&wf.w, f, size, buf + size, 1024);
		size += err ? 0 : 1024;
	}
	if (err != DAFS_ET_NOSPC_RESERVE && err != DAFS_ET_NOSPC_META)
		fail_msg("%s", error_message(err));
	/* To the last block: what is left is what the metadata takes. */
	assert_true(size / 1024 + 2 >= free_blks);
	wf_flush();
	wf_expect("f", buf, size);
	assert_true(wf.rs.free_clusters <= 2);
	wf_close();
}

static void test_fd(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 4096", "32M");
	static uint8_t buf[3 << 20];
	const char *host = scratch_path("host");
	FILE *h = fopen(host, "w+");
	int pipe_fd[2];
	(void)state;

	wf_pattern(buf, sizeof(buf), 5);
	assert_int_equal(fwrite(buf, 1, sizeof(buf) - 77, h), sizeof(buf) - 77);
	fflush(h);
	/* A whole file, aligned: by descriptor. */
	scratch_ok(dafs_delalloc_write_fd(&wf.w, f, 0, fileno(h), 0, UINT64_MAX));
	assert_int_equal(f->size, sizeof(buf) - 77);
	/* Unaligned, from the middle. */
	scratch_ok(dafs_delalloc_write_fd(&wf.w, f, 5000, fileno(h), 123, 70000));
	memmove(buf + 5000, buf + 123, 70000);
	fclose(h);
	/* A pipe, to its end. */
	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(write(pipe_fd[1], "hello", 5), 5);
	close(pipe_fd[1]);
	scratch_ok(dafs_delalloc_write_fd(&wf.w, f, 1 << 20, pipe_fd[0], -1, UINT64_MAX));
	close(pipe_fd[0]);
	memcpy(buf + (1 << 20), "hello", 5);
	wf_flush();
	wf_expect("f", buf, sizeof(buf) - 77);
	wf_close();
}

/* m04: how far a file may reach, to the byte. */
static void test_m04_limits(void **state)
{
	struct dafs_inode *f = fresh_file("-t ext4 -b 1024", "16M");
	uint64_t most = UINT64_C(0xFFFFFFFF) * 1024;
	(void)state;

	assert_err(DAFS_ET_FILE_TOO_BIG, dafs_delalloc_write(&wf.w, f, most, "x", 1));
	assert_err(DAFS_ET_FILE_TOO_BIG, dafs_delalloc_write(&wf.w, f, UINT64_MAX, "xy", 2));
	assert_err(DAFS_ET_FILE_TOO_BIG, dafs_delalloc_truncate(&wf.w, f, most + 1));
	assert_err(DAFS_ET_FILE_TOO_BIG,
		   dafs_delalloc_fallocate(&wf.w, f, UINT64_MAX - 10, 20, false));
	assert_err(DAFS_ET_RANGE, dafs_delalloc_punch(&wf.w, f, 10, UINT64_MAX - 5));
	/* The very last byte is allowed. */
	scratch_ok(dafs_delalloc_write(&wf.w, f, most - 1, "x", 1));
	assert_int_equal(f->size, most);
	wf_flush();
	assert_true(wf_debugfs_has("ex f", "4294967294"));
	wf_close();
}

/* ---- everything, beside a flat array ---- */

#define MODEL_BYTES (384 << 10)

struct model {
	uint8_t bytes[MODEL_BYTES];
	size_t size;
};

static void model_step(struct rng *rng, struct model *m, struct dafs_inode *f, uint32_t step)
{
	static uint8_t buf[MODEL_BYTES], seen[MODEL_BYTES];
	size_t off = rng_below(rng, MODEL_BYTES - 1), len = rng_len(rng, MODEL_BYTES / 4), got, end;

	if (rng_below(rng, 3) == 0)
		off &= ~(size_t)4095;
	if (off + len > MODEL_BYTES)
		len = MODEL_BYTES - off;
	end = off + len;
	switch (rng_below(rng, 8)) {
	case 0:
	case 1:
	case 2:
		wf_pattern(buf, len, step);
		scratch_ok(dafs_delalloc_write(&wf.w, f, off, buf, len));
		memcpy(m->bytes + off, buf, len);
		m->size = end > m->size ? end : m->size;
		break;
	case 3:
		scratch_ok(dafs_delalloc_truncate(&wf.w, f, off));
		if (off < m->size)
			memset(m->bytes + off, 0, MODEL_BYTES - off);
		m->size = off;
		break;
	case 4:
		scratch_ok(dafs_delalloc_punch(&wf.w, f, off, len));
		memset(m->bytes + off, 0, len);
		break;
	case 5:
		scratch_ok(dafs_delalloc_fallocate(&wf.w, f, off, len, step & 1));
		if (!(step & 1))
			m->size = end > m->size ? end : m->size;
		break;
	default:
		scratch_ok(dafs_delalloc_read(&wf.w, f, seen, len, off, &got));
		assert_int_equal(got,
				 off < m->size ? (m->size - off < len ? m->size - off : len) : 0);
		for (size_t i = 0; i < got; i++) {
			if (seen[i] != m->bytes[off + i])
				fail_msg("step %u: byte %zu is %02x, wanted %02x", step, off + i,
					 seen[i], m->bytes[off + i]);
		}
	}
	assert_int_equal(f->size, m->size);
	assert_true(dafs_delalloc_verify(&wf.w, f));
	assert_int_equal(wf.rs.dirty_clusters, f->u.file ? f->u.file->reserved_clusters : 0);
	if (step % 8 == 0 && f->u.file)
		assert_int_equal(wf.rs.dirty_clusters,
				 count_clusters(f, 2 * MODEL_BYTES / wf.img->block_size));
}

static void model_round(struct rng *rng, void *options)
{
	static struct model m;
	struct dafs_inode *f = fresh_file(options, "24M");

	memset(&m, 0, sizeof(m));
	for (uint32_t step = 1; step <= test_steps(400, 20000); step++) {
		model_step(rng, &m, f, step);
		if (rng_below(rng, 40) == 0) {
			wf_flush();
			wf_expect("f", m.bytes, m.size);
			f = wf_lookup(wf_root(), "f");
		}
	}
	wf_flush();
	wf_expect("f", m.bytes, m.size);
	wf_close();
}

static void test_model_4k(void **state)
{
	(void)state;
	for_seeds(2, model_round, (void *)"-t ext4 -b 4096");
}

static void test_model_1k(void **state)
{
	(void)state;
	for_seeds(2, model_round, (void *)"-t ext4 -b 1024 -O ^has_journal");
}

static void test_model_bigalloc(void **state)
{
	(void)state;
	for_seeds(2, model_round, (void *)"-t ext4 -O bigalloc -b 1024 -C 8192");
}

static void test_model_inline(void **state)
{
	(void)state;
	for_seeds(1, model_round, (void *)"-t ext4 -b 4096 -O inline_data");
}

static void test_direct(void **state)
{
	static uint8_t buf[40960];
	struct dafs_inode *f = fresh_file("-t ext4 -b 4096", "32M");
	struct dafs_es_extent ext;
	struct dafs_inode *g;
	(void)state;

	scratch_ok(dafs_direct_open(&wf.w));
	wf_pattern(buf, sizeof(buf), 2);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, buf, sizeof(buf)));
	scratch_ok(dafs_delalloc_map(&wf.w, f, 3, &ext));
	assert_int_equal(ext.type, DAFS_ES_WRITTEN);
	assert_int_equal(wf.rs.dirty_clusters, 10);
	assert_int_equal(dafs_extlist_blocks(&f->u.file->placed), 10);
	scratch_ok(dafs_delalloc_truncate(&wf.w, f, 20480));
	assert_int_equal(wf.rs.dirty_clusters, 5);
	/* Another process: what is placed already is not placed again. */
	dafs_direct_close(&wf.w);
	scratch_ok(dafs_direct_open(&wf.w));
	scratch_ok(dafs_direct_adopt(&wf.w, f->u.file));
	g = wf_new(wf_root(), "g", S_IFREG | 0644);
	scratch_ok(dafs_delalloc_write(&wf.w, g, 0, buf + 20480, 20480));
	dafs_direct_close(&wf.w);
	wf_flush();
	wf_expect("f", buf, 20480);
	wf_expect("g", buf + 20480, 20480);
	wf_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reserve_once),
		cmocka_unit_test(test_bigalloc_reserve),
		cmocka_unit_test(test_bigalloc_pending),
		cmocka_unit_test(test_undo),
		cmocka_unit_test(test_nospc),
		cmocka_unit_test(test_fd),
		cmocka_unit_test(test_m04_limits),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_model_4k),
		cmocka_unit_test(test_model_1k),
		cmocka_unit_test(test_model_bigalloc),
		cmocka_unit_test(test_model_inline),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
