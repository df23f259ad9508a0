/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions: what goes in place before the commit, what only with it, and that a stopped commit
 * is all or nothing for us, for e2fsck and for the kernel. */
#include "config.h"

#include "image/txn.h"

#include "txn_fx.h"

static const char *const journals[][2] = {
	{ "-t ext4 -b 4096", "64M" },		/* tags of 16 bytes with checksum v3 */
	{ "-t ext4 -O ^metadata_csum", "64M" }, /* 64 bits, no checksums */
	{ "-t ext4 -O ^metadata_csum,^64bit", "64M" },
	{ "-t ext4 -O ^64bit -b 1024", "64M" },
	{ "-t ext4 -b 2048 -J size=8", "64M" },
	{ "-t ext3 -b 1024", "40M" },
	{ "-t ext4 -O fast_commit", "64M" },
	{ "-t ext4 -O bigalloc", "256M" },
	{ "-t ext2", "64M" }, /* none: a redo record */
	{ "-t ext4 -O ^has_journal -b 1024", "64M" },
};

static void test_commit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++) {
		struct live live;
		const char *path = make_image("commit.img", journals[i][0], journals[i][1], &live);
		struct dafs_image *img = begin(path);

		put_live(img, &live, 20);
		assert_int_equal(dafs_txn_live_blks(img), 20);
		assert_image_live(img, &live, 20);
		assert_false(look_at_live(path, &live, 20));
		scratch_ok(dafs_txn_commit(img, "a tag", 5));
		assert_true(look_at_live(path, &live, 20));
		assert_true(dafs_txn_last_tag_is(img, "a tag", 5));
		scratch_ok(dafs_txn_begin(img));
		put_live(img, &live, PUT_BLKS);
		scratch_ok(dafs_txn_commit(img, NULL, 0));
		assert_true(look_at_live(path, &live, PUT_BLKS));
		dafs_image_close(img);
		scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
		assert_true(dafs_txn_last_tag_is(img, "a tag", 5));
		assert_false(dafs_txn_last_tag_is(img, "a tat", 5));
		dafs_image_close(img);
		scratch_fsck(path);
	}
}

static void test_abort(void **state)
{
	struct live live;
	const char *path = make_image("abort.img", "-t ext4 -b 4096", "64M", &live);
	struct dafs_image *img = begin(path);
	uint8_t *buf;
	(void)state;

	put_live(img, &live, 20);
	scratch_ok(dafs_txn_get(img, live.pblk[30], true, &buf));
	memset(buf, 'x', img->block_size);
	assert_int_equal(dafs_txn_live_blks(img), 21);
	dafs_txn_abort(img);
	assert_int_equal(dafs_txn_live_blks(img), 0);
	assert_err(DAFS_ET_SEQUENCE, dafs_txn_put(img, live.pblk[0], scratch_dir));
	assert_err(DAFS_ET_SEQUENCE, dafs_txn_commit(img, NULL, 0));
	dafs_image_close(img);
	assert_false(look_at_live(path, &live, 31));
	scratch_fsck(path);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_err(EROFS, dafs_txn_begin(img));
	dafs_image_close(img);
}

/* A stopped commit: what e2fsck makes of it, what we make of it reading and writing. */
static void stop_and_settle(const char *options, const char *size, enum dafs_txn_stop stop,
			    bool want_new)
{
	struct live live;
	const char *path = make_image("stop.img", options, size, &live);
	const char *copy = scratch_path("stop-copy.img"), *other = scratch_path("stop-e2fsck.img");
	bool journaled = !strstr(options, "ext2") && !strstr(options, "^has_journal");
	struct dafs_image *img = begin(path);

	put_live(img, &live, PUT_BLKS);
	dafs_txn_stop = stop;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "tag", 3));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	assert_err(DAFS_ET_HANDLE_FAILED, dafs_txn_begin(img));
	dafs_image_close(img);
	assert_int_equal(scratch_run("cp --sparse=always '%s' '%s' && cp --sparse=always '%s' '%s'",
				     path, copy, path, other),
			 0);
	if (journaled) {
		/* e2fsck: replays with 1 (or has nothing to do), then is content. */
		assert_true(scratch_run("/sbin/e2fsck -fy '%s' >/dev/null 2>&1", other) <= 1);
		assert_int_equal(look_at_live(other, &live, PUT_BLKS), want_new);
		scratch_fsck(other);
		scratch_ok(dafs_image_open(&scratch_ctx, other, 0, 0, 0, &img));
		assert_int_equal(dafs_txn_last_tag_is(img, "tag", 3), want_new);
		dafs_image_close(img);
	}

	/* Reading changes nothing and sees the settled state. */
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	if (want_new)
		assert_image_live(img, &live, PUT_BLKS);
	assert_int_equal(dafs_txn_last_tag_is(img, "tag", 3), want_new);
	dafs_image_close(img);
	assert_int_equal(scratch_run("cmp '%s' '%s'", path, copy), 0);

	/* Writing finishes it. */
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_int_equal(dafs_txn_last_tag_is(img, "tag", 3), want_new);
	dafs_image_close(img);
	assert_int_equal(look_at_live(path, &live, PUT_BLKS), want_new);
	scratch_fsck(path);
	assert_int_equal(scratch_run("test ! -e '%s.dafs-redo'", path), 0);
}

static void test_stopped_before(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++)
		stop_and_settle(journals[i][0], journals[i][1], DAFS_TXN_STOP_BEFORE_COMMIT, false);
}

static void test_stopped_after(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++)
		stop_and_settle(journals[i][0], journals[i][1], DAFS_TXN_STOP_AFTER_COMMIT, true);
}

static void test_stopped_in_checkpoint(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++)
		stop_and_settle(journals[i][0], journals[i][1], DAFS_TXN_STOP_IN_CHECKPOINT, true);
}

/* The kernel replays, keeps the mark of the tag, and is content with what it finds. */
static void test_kernel_replays(void **state)
{
	(void)state;
	if (geteuid() != 0 || scratch_run("losetup -f >/dev/null 2>&1"))
		skip();
	for (size_t i = 0; i < 8; i++) {
		struct live live;
		const char *path = make_image("kernel.img", journals[i][0], journals[i][1], &live);
		const char *mnt = scratch_path("mnt");
		struct dafs_image *img = begin(path);

		put_live(img, &live, PUT_BLKS);
		dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
		assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "tag", 3));
		dafs_txn_stop = DAFS_TXN_STOP_NONE;
		dafs_image_close(img);
		mkdir(mnt, 0700);
		assert_int_equal(
			scratch_run(
				"mount -o loop '%s' '%s' && touch '%s/new' && sync && umount '%s'",
				path, mnt, mnt, mnt),
			0);
		assert_true(look_at_live(path, &live, PUT_BLKS));
		scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
		assert_true(dafs_txn_last_tag_is(img, "tag", 3));
		/* And once more after the kernel used the journal. */
		scratch_ok(dafs_txn_begin(img));
		put_live(img, &live, 50);
		scratch_ok(dafs_txn_commit(img, "next", 4));
		dafs_image_close(img);
		scratch_fsck(path);
		assert_int_equal(
			scratch_run("mount -o loop '%s' '%s' && umount '%s'", path, mnt, mnt), 0);
		scratch_fsck(path);
	}
}

static void test_new_blocks(void **state)
{
	struct live live;
	uint64_t free_blk = 0;
	const char *path = make_image("new.img", "-t ext4 -b 1024", "64M", &live);
	struct dafs_image *img = begin(path);
	uint8_t block[1024], *big = malloc(2 << 20), *got = malloc(2 << 20);
	const uint8_t *bits;
	uint64_t writes;
	uint32_t grp = dafs_group_count(img) - 1;
	uint8_t *inside;
	(void)state;

	/* Live ones are refused; a whole free group takes them. */
	memset(block, 'n', sizeof(block));
	assert_err(DAFS_ET_INTERNAL, dafs_txn_put_new(img, live.pblk[0], 1, block));
	assert_err(DAFS_ET_INTERNAL, dafs_txn_check_new(img, 1, 1));
	assert_err(DAFS_ET_INTERNAL, dafs_txn_check_new(img, live.pblk[0], 2));
	assert_err(DAFS_ET_RANGE, dafs_txn_put_new(img, img->blocks, 1, block));
	scratch_ok(dafs_group_block_bits(img, grp, &bits));
	for (uint32_t c = 0; c < dafs_group_clusters(img, grp); c++) {
		if (!(bits[c >> 3] >> (c & 7) & 1)) {
			free_blk = dafs_group_first_pblk(img, grp) + c;
			break;
		}
	}
	assert_true(free_blk > 0);
	writes = img->dev->nwrites;
	/* Backwards one by one: one write in the end. */
	for (unsigned i = 500; i-- > 0;) {
		block[0] = (uint8_t)i;
		scratch_ok(dafs_txn_put_new(img, free_blk + i, 1, block));
	}
	assert_int_equal(img->dev->nwrites, writes);
	scratch_ok(dafs_image_read_blks(img, free_blk, 500, big));
	assert_int_equal(big[1024 * 300], 300 & 255);
	/* Changed after it was put. */
	scratch_ok(dafs_txn_get(img, free_blk + 3, true, &inside));
	memset(big, 'B', 2 << 20);
	scratch_ok(dafs_txn_put_new(img, free_blk + 1000, 2000, big));
	inside[1] = 'c';
	assert_int_equal(dafs_txn_live_blks(img), 0);
	scratch_ok(dafs_txn_commit(img, NULL, 0));
	scratch_ok(dafs_image_read_blks(img, free_blk, 2000, got));
	assert_int_equal(got[1024 * 3], 3);
	assert_int_equal(got[1024 * 3 + 1], 'c');
	assert_int_equal(got[1024 * 499], 499 & 255);
	assert_int_equal(got[1024 * 1999], 'B');
	dafs_image_close(img);
	free(big);
	free(got);
	scratch_fsck(path);
}

static void test_journal_full(void **state)
{
	struct live live;
	const char *path = make_image("full.img", "-t ext4 -b 1024 -J size=1", "40M", &live);
	struct dafs_image *img = begin(path);
	uint64_t capacity = dafs_txn_capacity_blks(img);
	uint8_t *block = calloc(1, img->block_size);
	(void)state;

	assert_in_range(capacity, 900, 1024);
	for (unsigned i = 0; i <= capacity; i++)
		scratch_ok(dafs_txn_put(img, live.pblk[i % FILE_BLKS], block));
	assert_err(DAFS_ET_JOURNAL_FULL, dafs_txn_commit(img, NULL, 0));
	assert_false(look_at_live(path, &live, 100));
	dafs_txn_abort(img);
	/* As many as fit, the superblock among them. */
	scratch_ok(dafs_txn_begin(img));
	put_live(img, &live, (unsigned)capacity - 1);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	assert_true(scratch_run("/sbin/e2fsck -fy '%s' >/dev/null 2>&1", path) <= 1);
	assert_true(look_at_live(path, &live, (unsigned)capacity - 1));
	scratch_fsck(path);
	free(block);
}

static void test_revoke(void **state)
{
	struct live live;
	const char *path = make_image("revoke.img", "-t ext4 -b 1024", "64M", &live);
	struct dafs_image *img = begin(path);
	(void)state;

	put_live(img, &live, 10);
	for (unsigned i = 0; i < 1000; i++)
		scratch_ok(dafs_txn_revoke(img, live.pblk[i]));
	assert_int_equal(dafs_txn_live_blks(img), 0);
	put_live(img, &live, 5);
	assert_int_equal(dafs_txn_live_blks(img), 5);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	assert_int_equal(
		scratch_run("/sbin/debugfs -R 'logdump' '%s' 2>/dev/null | grep -q 'revoke'", path),
		0);
	assert_true(scratch_run("/sbin/e2fsck -fy '%s' >/dev/null 2>&1", path) <= 1);
	assert_true(look_at_live(path, &live, 5));
	assert_false(look_at_range(path, &live, 5, 10));
	scratch_fsck(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_stopped_before),
		cmocka_unit_test(test_stopped_after),
		cmocka_unit_test(test_stopped_in_checkpoint),
		cmocka_unit_test(test_kernel_replays),
		cmocka_unit_test(test_new_blocks),
		cmocka_unit_test(test_journal_full),
		cmocka_unit_test(test_revoke),
	};

	return cmocka_run_group_tests_name("txn", tests, scratch_setup, scratch_teardown);
}
