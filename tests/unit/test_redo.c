/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Beside a transaction: a superblock that was torn while it was committed, redo records in a file
 * or elsewhere, and the fingerprint by which a cache knows the image again. */
#include "config.h"

#include "image/txn.h"

#include "txn_fx.h"

/* Give one half of the superblock (512 bytes) of path the bytes it has in other. */
static void tear_super(const char *path, const char *other, unsigned half)
{
	assert_int_equal(scratch_run("dd if='%s' of='%s' bs=512 skip=%u seek=%u count=1 "
				     "conv=notrunc 2>/dev/null",
				     other, path, 2 + half, 2 + half),
			 0);
}

/* Make an image file that has the superblock of path as its interrupted commit will make it. */
static void write_settled_super(const char *path, const char *to)
{
	struct dafs_image *img;
	uint8_t block[4096];
	int fd = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);

	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_read_blks(img, 1024 / img->block_size, 1, block));
	assert_int_equal(pwrite(fd, block + 1024 % img->block_size, 1024, 1024), 1024);
	dafs_image_close(img);
	close(fd);
}

/* The superblock's write was cut between its two sectors: before the commit (the flag), in the
 * checkpoint, after it. */
static void test_torn_super(void **state)
{
	static const char *const options[] = { "-t ext4 -b 4096", "-t ext4 -b 1024",
					       "-t ext4 -b 1024 -O ^has_journal" };
	(void)state;

	for (size_t o = 0; o < 3; o++) {
		struct live live;
		const char *path = make_image("torn.img", options[o], "64M", &live);
		char before[256], after[256], work[256];
		struct dafs_image *img;

		strcpy(before, scratch_path("torn-before.img"));
		strcpy(after, scratch_path("torn-after.img"));
		strcpy(work, scratch_path("torn-work.img"));
		assert_int_equal(scratch_run("cp --sparse=always '%s' '%s'", path, before), 0);
		img = begin(path);
		put_live(img, &live, 20);
		dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
		assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "tag", 3));
		dafs_txn_stop = DAFS_TXN_STOP_NONE;
		dafs_image_close(img);
		write_settled_super(path, after);
		for (unsigned half = 0; half < 2; half++) {
			/* In the checkpoint. */
			assert_int_equal(
				scratch_run("cp --sparse=always '%s' '%s' && "
					    "if test -e '%s.dafs-redo'; then cp -p '%s.dafs-redo' "
					    "'%s.dafs-redo'; fi",
					    path, work, path, path, work),
				0);
			tear_super(work, after, half);
			scratch_ok(dafs_image_open(&scratch_ctx, work, 0, 0, 0, &img));
			assert_true(dafs_txn_last_tag_is(img, "tag", 3));
			assert_image_live(img, &live, 20);
			dafs_image_close(img);
			scratch_ok(dafs_image_open(&scratch_ctx, work, DAFS_IMAGE_RW, 0, 0, &img));
			assert_true(dafs_txn_last_tag_is(img, "tag", 3));
			dafs_image_close(img);
			assert_true(look_at_live(work, &live, 20));
			scratch_fsck(work);
			if (o == 2)
				continue;
			/* While the flag was set: the log is written, the journal still empty. */
			assert_int_equal(scratch_run("cp --sparse=always '%s' '%s'", before, work),
					 0);
			tear_super(work, path, half);
			scratch_ok(dafs_image_open(&scratch_ctx, work, 0, 0, 0, &img));
			assert_false(dafs_txn_last_tag_is(img, "tag", 3));
			dafs_image_close(img);
			scratch_ok(dafs_image_open(&scratch_ctx, work, DAFS_IMAGE_RW, 0, 0, &img));
			dafs_image_close(img);
			assert_false(look_at_live(work, &live, 20));
			scratch_fsck(work);
		}
		/* Torn for no reason that can be found. */
		assert_int_equal(scratch_run("cp --sparse=always '%s' '%s' && printf '\\001' | dd "
					     "of='%s' bs=1 seek=1200 "
					     "conv=notrunc 2>/dev/null && cmp -s '%s' '%s'; test "
					     "$? = 1 && rm -f "
					     "'%s.dafs-redo'",
					     before, work, work, before, work, work),
				 0);
		assert_err(EXT2_ET_SB_CSUM_INVALID,
			   dafs_image_open(&scratch_ctx, work, DAFS_IMAGE_RW, 0, 0, &img));
		assert_err(EXT2_ET_SB_CSUM_INVALID,
			   dafs_image_open(&scratch_ctx, work, 0, 0, 0, &img));
	}
}

/* A redo record is for one state of one image. */
static void test_redo(void **state)
{
	struct live live;
	const char *path = make_image("redo.img", "-t ext4 -O ^has_journal", "64M", &live);
	const char *redo = scratch_path("redo.img.dafs-redo");
	struct dafs_image *img = begin(path);
	struct stat st;
	(void)state;

	put_live(img, &live, 30);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "t", 1));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	assert_int_equal(stat(redo, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	/* Used by others in between: refused, nothing changed. */
	assert_int_equal(scratch_run("cp '%s' '%s.keep' && /sbin/tune2fs -C 7 '%s' >/dev/null",
				     path, path, path),
			 0);
	assert_err(DAFS_ET_CACHE_STALE,
		   dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_false(look_at_live(path, &live, 30));
	assert_int_equal(scratch_run("cp '%s.keep' '%s'", path, path), 0);

	/* Damaged: that commit did not happen. */
	assert_int_equal(scratch_run("cp '%s' '%s.keep' && truncate -s -1 '%s'", redo, redo, redo),
			 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	dafs_image_close(img);
	assert_int_equal(access(redo, F_OK), 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	dafs_image_close(img);
	assert_int_not_equal(access(redo, F_OK), 0);
	assert_false(look_at_live(path, &live, 30));

	/* Not ours to trust. */
	assert_int_equal(scratch_run("cp '%s.keep' '%s' && chmod 0666 '%s'", redo, redo, redo), 0);
	assert_err(DAFS_ET_CACHE_PLACE,
		   dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_int_equal(scratch_run("chmod 0600 '%s'", redo), 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_true(dafs_txn_last_tag_is(img, "t", 1));
	dafs_image_close(img);
	assert_true(look_at_live(path, &live, 30));
	scratch_fsck(path);
}

struct kept {
	void *record;
	size_t len;
	unsigned drops;
};

static errcode_t keep_record(void *arg, const void *record, size_t len_bytes)
{
	struct kept *kept = arg;

	kept->record = malloc(len_bytes);
	memcpy(kept->record, record, len_bytes);
	kept->len = len_bytes;
	return 0;
}

static errcode_t drop_record(void *arg)
{
	((struct kept *)arg)->drops++;
	return 0;
}

static void test_redo_elsewhere(void **state)
{
	static const struct dafs_redo_ops ops = { keep_record, drop_record };
	struct live live;
	const char *path = make_image("elsewhere.img", "-t ext2 -b 1024", "32M", &live);
	struct dafs_image *img = begin(path);
	struct kept kept = { NULL, 0, 0 };
	(void)state;

	dafs_txn_set_redo(img, &ops, &kept);
	put_live(img, &live, 30);
	dafs_txn_stop = DAFS_TXN_STOP_IN_CHECKPOINT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	assert_int_equal(kept.drops, 0);
	dafs_image_close(img);
	assert_int_equal(scratch_run("test ! -e '%s.dafs-redo'", path), 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	((uint8_t *)kept.record)[kept.len / 2] ^= 1;
	assert_err(DAFS_ET_CORRUPT_JOURNAL, dafs_txn_redo(img, kept.record, kept.len));
	((uint8_t *)kept.record)[kept.len / 2] ^= 1;
	assert_err(DAFS_ET_CORRUPT_JOURNAL, dafs_txn_redo(img, kept.record, 3));
	scratch_ok(dafs_txn_redo(img, kept.record, kept.len));
	scratch_ok(dafs_txn_redo(img, kept.record, kept.len));
	dafs_image_close(img);
	assert_true(look_at_live(path, &live, 30));
	free(kept.record);
	scratch_fsck(path);
}

static void test_fingerprint(void **state)
{
	struct live live;
	uint64_t one, two, three;
	const char *path = make_image("print.img", "-t ext4 -b 4096", "64M", &live);
	struct dafs_image *img;
	uint8_t uuid[16], uuid2[16];
	(void)state;

	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &one));
	dafs_image_close(img);
	img = begin(path);
	scratch_ok(dafs_image_fingerprint(img, uuid2, &two));
	assert_int_equal(one, two);
	assert_memory_equal(uuid, uuid2, 16);
	put_live(img, &live, 3);
	scratch_ok(dafs_txn_commit(img, NULL, 0));
	scratch_ok(dafs_image_fingerprint(img, uuid, &two));
	assert_int_not_equal(one, two);
	dafs_image_close(img);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &three));
	assert_int_equal(two, three);
	dafs_image_close(img);

	/* The same before a replay and after it. */
	img = begin(path);
	put_live(img, &live, 4);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &one));
	dafs_image_close(img);
	assert_int_not_equal(one, three);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &two));
	dafs_image_close(img);
	assert_int_equal(one, two);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &two));
	dafs_image_close(img);
	assert_int_equal(one, two);
	assert_int_equal(scratch_run("/sbin/tune2fs -L other '%s' >/dev/null", path), 0);
	scratch_fsck(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_torn_super),
		cmocka_unit_test(test_redo),
		cmocka_unit_test(test_redo_elsewhere),
		cmocka_unit_test(test_fingerprint),
	};

	return cmocka_run_group_tests_name("redo", tests, scratch_setup, scratch_teardown);
}
