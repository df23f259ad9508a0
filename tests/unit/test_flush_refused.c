/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flushes that fail before their commit: the image and the handle are as before. And overwriting
 * that is refused already at the write. */
#include "config.h"

#include "write_fixture.h"

/* A source that fails in the middle of the data: named, nothing changed, and the same flush works
 * afterwards. */
static errcode_t sick_read(struct dafs_source *src, struct dafs_ctx *ctx, void *buf, size_t len,
			   uint64_t off)
{
	(void)src;
	(void)buf;
	(void)len;
	return off >= 1 << 20 ? dafs_fail(ctx, EIO, "the sick one") : 0;
}

static void test_source_fails(void **state)
{
	static const struct dafs_source_ops sick_ops = { .read = sick_read };
	static struct dafs_source sick = { .ops = &sick_ops };
	struct dafs_inode *f;
	(void)state;

	for (unsigned threads = 1; threads <= 4; threads += 3) {
		scratch_ctx.threads = threads;
		wf_open(scratch_mke2fs("sick.img", "-t ext4 -b 4096", "64M"));
		wf_fill(wf_new(wf_root(), "good", S_IFREG | 0644), 6 << 20, 1);
		f = wf_new(wf_root(), "sick", S_IFREG | 0644);
		scratch_ok(dafs_delalloc_adopt(&wf.w, f, &sick, 20 << 20, NULL));
		assert_err(EIO, wf_try_flush());
		assert_non_null(strstr(scratch_ctx.detail, "the sick one"));
		assert_int_equal(f->ino, 0);
		scratch_fsck(wf.path);
		/* The handle is not failed: without the sick file the rest goes. */
		wf_unlink(wf_root(), "sick", f);
		f->state = 0;
		wf.nnames = 1;
		wf_flush();
		wf_expect_fill("good", 6 << 20, 1);
		wf_close();
	}
	scratch_ctx.threads = 0;
}

static void test_cancel(void **state)
{
	struct dafs_inode *f;
	(void)state;

	wf_open(scratch_mke2fs("cancel.img", "-t ext4 -b 4096", "64M"));
	f = wf_new(wf_root(), "f", S_IFREG | 0644);
	wf_fill(f, 9 << 20, 1);
	scratch_ctx.cancel = 1;
	assert_err(DAFS_ET_CANCELLED, wf_try_flush());
	scratch_ctx.cancel = 0;
	scratch_fsck(wf.path);
	assert_int_equal(f->ino, 0);
	wf_flush();
	wf_expect_fill("f", 9 << 20, 1);
	wf_close();
}

/* More live blocks than the journal holds: refused before anything is read or written, and a part
 * of it goes. */
static void test_journal_full(void **state)
{
	struct dafs_inode *root, *f;
	char name[32];
	(void)state;

	wf_open(scratch_mke2fs("small.img", "-t ext4 -b 1024 -N 8192 -J size=1", "24M"));
	root = wf_root();
	for (int i = 0; i < 4000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		wf_new(root, name, S_IFREG | 0644);
	}
	wf_flush();
	for (int i = 0; i < 4000; i++) {
		f = wf_load((uint32_t)(12 + i));
		f->uid = 77;
		f->state |= DAFS_I_ATTR;
	}
	f = wf_new(wf_root(), "data", S_IFREG | 0644);
	wf_fill(f, 100000, 1);
	assert_err(DAFS_ET_JOURNAL_FULL, wf_try_flush());
	scratch_fsck(wf.path);
	assert_int_equal(f->ino, 0);
	for (size_t i = 0; i < 3000; i++)
		wf.inodes[i]->state &= (uint16_t)~DAFS_I_ATTR;
	wf_flush();
	wf_expect_fill("data", 100000, 1);
	assert_true(wf_debugfs_has("stat f3999", "User:    77"));
	assert_false(wf_debugfs_has("stat f100", "User:    77"));
	wf_close();
}

/* No room to move anything, and more is overwritten than the journal takes: refused at the write,
 * not at the flush. */
static void test_overwrite_full(void **state)
{
	static uint8_t buf[4 << 20];
	struct dafs_inode *f, *g;
	uint64_t at = 0;
	errcode_t err = 0;
	(void)state;

	wf_open(scratch_mke2fs("full.img", "-t ext4 -b 1024 -m 0 -J size=1", "12M"));
	wf.w.dry_plan = wf_dry_plan;
	f = wf_new(wf_root(), "f", S_IFREG | 0644);
	wf_fill(f, sizeof(buf), 1);
	g = wf_new(wf_root(), "g", S_IFREG | 0644);
	for (; !err; at += 1024)
		err = dafs_delalloc_write(&wf.w, g, at, buf, 1024);
	wf_flush();
	wf.w.dry_plan = wf_dry_plan;
	f = wf_lookup(wf_root(), "f");
	wf_pattern(buf, sizeof(buf), 1);
	/* In pieces, so that nothing comes off whole. */
	err = 0;
	for (at = 1024; !err && at + 2048 < sizeof(buf); at += 4096) {
		err = dafs_delalloc_write(&wf.w, f, at, (const uint8_t[2048]){ 7 }, 2048);
		if (!err)
			memcpy(buf + at, (const uint8_t[2048]){ 7 }, 2048);
	}
	if (err != DAFS_ET_NOSPC_META && err != DAFS_ET_NOSPC_RESERVE)
		fail_msg("%s", error_message(err));
	assert_true(at > 100000);
	wf_flush();
	wf_expect("f", buf, sizeof(buf));
	wf_close();
}

/* No room for the leaf that one more hole would need: the punch is refused, and took nothing. */
static void test_punch_full(void **state)
{
	static uint8_t buf[200 << 10];
	struct dafs_inode *f, *g;
	unsigned holes = 0, refused = 0;
	errcode_t err = 0;
	(void)state;

	wf_open(scratch_mke2fs("punch.img", "-t ext4 -b 1024 -m 0 -O ^has_journal", "4M"));
	wf.w.dry_plan = wf_dry_plan;
	f = wf_new(wf_root(), "f", S_IFREG | 0644);
	wf_fill(f, sizeof(buf), 1);
	g = wf_new(wf_root(), "g", S_IFREG | 0644);
	for (uint64_t at = 0; !err; at += 1024)
		err = dafs_delalloc_write(&wf.w, g, at, buf, 1024);
	wf_flush();
	wf.w.dry_plan = wf_dry_plan;
	f = wf_lookup(wf_root(), "f");
	wf_pattern(buf, sizeof(buf), 1);
	for (size_t at = 3 << 10; at < sizeof(buf); at += 9 << 10) {
		err = dafs_delalloc_punch(&wf.w, f, at, 1024);
		if (!err) {
			memset(buf + at, 0, 1024);
			holes++;
		} else if (err == DAFS_ET_NOSPC_META || err == DAFS_ET_NOSPC_RESERVE) {
			refused++;
		} else {
			scratch_ok(err);
		}
	}
	assert_true(holes && refused);
	wf_flush();
	wf_expect("f", buf, sizeof(buf));
	wf_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source_fails),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_journal_full),
		cmocka_unit_test(test_overwrite_full),
		cmocka_unit_test(test_punch_full),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
