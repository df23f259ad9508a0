/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Collecting runs, and placement: what goes side by side, what stays whole, what is remapped; a
 * plan changes nothing. */
#include "config.h"

#include "seeded.h"
#include "write_fixture.h"
#include "write/writeback.h"

/* The pieces of every file of a plan, by inode. */
struct seen {
	const struct dafs_inode *inode;
	struct dafs_plan_extent first;
	uint64_t end;
	size_t pieces;
};

static struct seen seen[WF_MAX];
static size_t nseen;

static errcode_t see(void *arg, const struct dafs_inode *inode, uint32_t ino,
		     const struct dafs_plan_extent *ext, size_t n, uint32_t runs)
{
	(void)arg;
	(void)runs;
	assert_true(ino > 0);
	if (!n)
		return 0;
	seen[nseen++] = (struct seen){ .inode = inode,
				       .first = ext[0],
				       .end = ext[n - 1].pblk + ext[n - 1].len,
				       .pieces = n };
	return 0;
}

/* Plan what is pending and look at it; nothing is executed. */
static struct dafs_plan *plan_now(void)
{
	static struct dafs_inode *list[WF_MAX];
	static struct dafs_changeset cs;
	struct dafs_plan *plan;

	wf_changes(&cs, list);
	scratch_ok(dafs_plan_new(wf.img, &cs, &wf.opts, &plan));
	nseen = 0;
	scratch_ok(dafs_plan_walk(plan, see, NULL));
	return plan;
}

static const struct seen *seen_of(const struct dafs_inode *inode)
{
	for (size_t i = 0; i < nseen; i++) {
		if (seen[i].inode == inode)
			return &seen[i];
	}
	fail_msg("inode %llu has no blocks in the plan", (unsigned long long)inode->id);
	return NULL;
}

static void test_collect(void **state)
{
	struct dafs_wb_runs runs = { 0 };
	struct dafs_inode *f;
	static uint8_t block[4096];
	(void)state;

	wf_open(scratch_mke2fs("c.img", "-t ext4 -b 4096", "64M"));
	f = wf_new(wf_root(), "f", S_IFREG | 0644);
	/* Backwards: one run. */
	for (int i = 63; i >= 0; i--)
		scratch_ok(dafs_delalloc_write(&wf.w, f, (uint64_t)i * 4096, block, 4096));
	scratch_ok(dafs_writeback_collect(f->u.file, 0, &runs));
	assert_int_equal(runs.n, 1);
	assert_int_equal(runs.v[0].len, 64);
	/* {0-3, 10-12}: two; an unwritten middle is a run of its own. */
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 4 * 4096, 6 * 4096));
	scratch_ok(dafs_delalloc_truncate(&wf.w, f, 13 * 4096));
	scratch_ok(dafs_delalloc_fallocate(&wf.w, f, 20 * 4096, 4 * 4096, false));
	scratch_ok(dafs_delalloc_write(&wf.w, f, 21 * 4096, block, 4096));
	scratch_ok(dafs_writeback_collect(f->u.file, 0, &runs));
	assert_int_equal(runs.n, 5);
	assert_int_equal(runs.v[1].lblk, 10);
	assert_int_equal(runs.v[2].kind, DAFS_WB_UNWRITTEN);
	assert_int_equal(runs.v[3].kind, DAFS_WB_NEW);
	assert_int_equal(runs.v[4].len, 2);
	/* The kernel's limit. */
	scratch_ok(dafs_delalloc_truncate(&wf.w, f, 0));
	scratch_ok(dafs_delalloc_fallocate(&wf.w, f, 0, 5000 * 4096, false));
	scratch_ok(dafs_writeback_collect(f->u.file, 2048, &runs));
	assert_int_equal(runs.n, 3);
	assert_int_equal(runs.v[2].len, 904);
	dafs_writeback_fini(&runs);
	wf_close();
}

/* Written round robin over directories: in the plan the files of a directory follow each other in
 * order. */
static void test_side_by_side(void **state)
{
	struct dafs_inode *dir[10], *f[300];
	struct dafs_plan *plan;
	uint64_t rng = 7;
	char name[16];
	(void)state;

	wf_open(scratch_mke2fs("s.img", "-t ext4 -b 4096", "256M"));
	for (int d = 0; d < 10; d++) {
		snprintf(name, sizeof(name), "d%d", d);
		dir[d] = wf_new(wf_root(), name, S_IFDIR | 0755);
		for (int i = 0; i < 30; i++) {
			snprintf(name, sizeof(name), "f%02d", i);
			f[d * 30 + i] = wf_new(dir[d], name, S_IFREG | 0644);
		}
	}
	for (int i = 0; i < 300; i++)
		wf_fill(f[i % 10 * 30 + i / 10],
			  1 + test_random(&rng) % (i % 50 ? 60000 : 9 << 20), (uint32_t)i);
	plan = plan_now();
	for (int i = 0; i < 300; i++) {
		assert_int_equal(seen_of(f[i])->pieces, 1);
		if (i % 30)
			assert_int_equal(seen_of(f[i])->first.pblk, seen_of(f[i - 1])->end);
	}
	dafs_plan_free(plan);
	/* A plan that was dropped left nothing behind: the flush of the same gives the same. */
	wf_flush();
	wf_close();
}

/* A file grows behind its last block where that is free, as a whole elsewhere where it is not. */
static void test_grow(void **state)
{
	struct dafs_inode *a, *b;
	struct dafs_plan *plan;
	static uint8_t buf[40960];
	uint64_t a_end, b_end;
	(void)state;

	wf_open(scratch_mke2fs("g.img", "-t ext4 -b 4096", "64M"));
	a = wf_new(wf_root(), "a", S_IFREG | 0644);
	b = wf_new(wf_root(), "b", S_IFREG | 0644);
	wf_fill(a, 40960, 1);
	wf_fill(b, 40960, 2);
	plan = plan_now();
	a_end = seen_of(a)->end;
	b_end = seen_of(b)->end;
	assert_int_equal(seen_of(b)->first.pblk, a_end);
	dafs_plan_free(plan);
	wf_flush();
	a = wf_lookup(wf_root(), "a");
	b = wf_lookup(wf_root(), "b");
	scratch_ok(dafs_delalloc_write(&wf.w, a, 40960, buf, 40960));
	scratch_ok(dafs_delalloc_write(&wf.w, b, 40960, buf, 8192));
	plan = plan_now();
	assert_int_equal(seen_of(b)->first.pblk, b_end);
	assert_int_equal(seen_of(b)->first.lblk, 10);
	assert_int_equal(seen_of(a)->pieces, 1);
	assert_true(seen_of(a)->first.pblk != a_end);
	dafs_plan_free(plan);
	wf_flush();
	assert_true(wf_debugfs_has("ex b", "0 -    11"));
	wf_close();
}

/* Few overwritten blocks go through the journal, a rewritten file moves as a whole, and stays in
 * one piece. */
static void test_overwrite(void **state)
{
	struct dafs_inode *f;
	struct dafs_plan *plan;
	static uint8_t buf[2 << 20];
	uint64_t was;
	(void)state;

	wf_open(scratch_mke2fs("o.img", "-t ext4 -b 4096", "64M"));
	f = wf_new(wf_root(), "f", S_IFREG | 0644);
	wf_fill(f, sizeof(buf), 1);
	plan = plan_now();
	was = seen_of(f)->first.pblk;
	dafs_plan_free(plan);
	wf_flush();
	wf_pattern(buf, sizeof(buf), 1);
	f = wf_lookup(wf_root(), "f");
	memset(buf + 5000, 'x', 10000);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 5000, buf + 5000, 10000));
	assert_int_equal(wf.rs.dirty_clusters, 0);
	plan = plan_now();
	assert_int_equal(seen_of(f)->first.pblk, was + 1);
	dafs_plan_free(plan);
	wf_flush();
	wf_expect("f", buf, sizeof(buf));
	f = wf_lookup(wf_root(), "f");
	wf_pattern(buf, sizeof(buf), 5);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, buf, sizeof(buf)));
	plan = plan_now();
	assert_int_equal(seen_of(f)->pieces, 1);
	assert_true(seen_of(f)->first.pblk != was);
	dafs_plan_free(plan);
	wf_flush();
	wf_expect("f", buf, sizeof(buf));
	assert_true(wf_debugfs_has("ex f", "0 -   511"));
	wf_close();
}

/* The same change set, the same plan: whatever the threads. */
static void test_stable(void **state)
{
	struct dafs_plan *plan;
	struct seen first[WF_MAX];
	size_t n;
	char name[16];
	(void)state;

	wf_open(scratch_mke2fs("t.img", "-t ext4 -b 1024", "64M"));
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		wf_fill(wf_new(wf_root(), name, S_IFREG | 0644), (size_t)i * 131 % 9000 + 1,
			  (uint32_t)i);
	}
	scratch_ctx.threads = 1;
	plan = plan_now();
	memcpy(first, seen, sizeof(seen));
	n = nseen;
	dafs_plan_free(plan);
	scratch_ctx.threads = 7;
	plan = plan_now();
	assert_int_equal(n, nseen);
	assert_memory_equal(first, seen, n * sizeof(*seen));
	dafs_plan_free(plan);
	wf_flush();
	scratch_ctx.threads = 0;
	wf_close();
}

static void test_order_dirty(void **state)
{
	struct dafs_inode *a, *b, *c;
	struct dafs_plan *plan;
	(void)state;

	wf_open(scratch_mke2fs("q.img", "-t ext4 -b 4096", "64M"));
	a = wf_new(wf_root(), "a", S_IFREG | 0644);
	b = wf_new(wf_root(), "b", S_IFREG | 0644);
	c = wf_new(wf_root(), "c", S_IFREG | 0644);
	wf_fill(c, 4096, 1);
	wf_fill(a, 4096, 2);
	wf_fill(b, 4096, 3);
	wf_fill(c, 4096, 4);
	wf.opts.order_dirty = true;
	plan = plan_now();
	assert_int_equal(seen_of(a)->first.pblk, seen_of(c)->end);
	assert_int_equal(seen_of(b)->first.pblk, seen_of(a)->end);
	dafs_plan_free(plan);
	wf_flush();
	wf_close();
}

static void test_once(void **state)
{
	static struct dafs_inode *list[WF_MAX];
	struct dafs_changeset cs;
	struct dafs_plan *plan;
	(void)state;

	wf_open(scratch_mke2fs("1.img", "-t ext4", "16M"));
	wf_fill(wf_new(wf_root(), "a", S_IFREG | 0644), 100, 1);
	wf_changes(&cs, list);
	scratch_ok(dafs_plan_new(wf.img, &cs, NULL, &plan));
	assert_int_equal(list[0]->ino, 2);
	assert_int_equal(list[1]->ino, 0);
	scratch_ok(dafs_plan_execute(plan, &wf.stats));
	assert_int_equal(list[1]->ino, 12);
	assert_err(DAFS_ET_SEQUENCE, dafs_plan_execute(plan, NULL));
	dafs_plan_free(plan);
	dafs_plan_free(NULL);
	wf_close();
}

static void test_refused(void **state)
{
	struct dafs_image *img;
	(void)state;

	scratch_ok(dafs_image_open(&scratch_ctx, scratch_mke2fs("x.img", "-t ext3", "16M"),
				   DAFS_IMAGE_RW, 0, 0, &img));
	assert_err(DAFS_ET_FEATURE, dafs_delalloc_supported(img));
	assert_non_null(strstr(scratch_ctx.detail, "extent"));
	dafs_image_close(img);
	scratch_ok(dafs_image_open(&scratch_ctx, scratch_mke2fs("x.img", "-t ext4", "16M"),
				   DAFS_IMAGE_RW, 0, 0, &img));
	scratch_ok(dafs_delalloc_supported(img));
	dafs_image_close(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_collect), cmocka_unit_test(test_side_by_side),
		cmocka_unit_test(test_grow),	cmocka_unit_test(test_overwrite),
		cmocka_unit_test(test_stable),	cmocka_unit_test(test_order_dirty),
		cmocka_unit_test(test_once),	cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
