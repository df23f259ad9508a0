/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Journals that others left dirty (the kernel, debugfs), replayed by us and by e2fsprogs; damaged
 * ones; the journal superblock. */
#include "config.h"

#include "image/journal.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/journal_int.h"
#include "image/txn.h"
#include "image/txn_int.h"
#include "scratch.h"

/* Whether two images are the same but for the superblocks' own fields: file system's and journal's.
 * */
static void compare_images(struct dafs_image *img, const char *one, const char *two)
{
	uint64_t journal_blk = dafs_journal_pblk(img->txn->journal, 0);
	uint8_t a[65536], b[65536];
	int fa = open(one, O_RDONLY), fb = open(two, O_RDONLY);

	for (uint64_t pblk = 0; pblk < img->blocks; pblk++) {
		size_t from = pblk == SUPERBLOCK_OFFSET / img->block_size
				      ? SUPERBLOCK_OFFSET % img->block_size
				      : 0;

		assert_int_equal(pread(fa, a, img->block_size, (off_t)(pblk * img->block_size)),
				 img->block_size);
		assert_int_equal(pread(fb, b, img->block_size, (off_t)(pblk * img->block_size)),
				 img->block_size);
		if (pblk == SUPERBLOCK_OFFSET / img->block_size)
			memset(a + from, 0, SUPERBLOCK_SIZE), memset(b + from, 0, SUPERBLOCK_SIZE);
		if (pblk != journal_blk && memcmp(a, b, img->block_size))
			fail_msg("block %llu differs", (unsigned long long)pblk);
	}
	close(fa);
	close(fb);
}

/* What a reader sees of a dirty image is what a writer made of its copy. */
static void compare_view(struct dafs_image *view, const char *settled)
{
	uint8_t a[65536], b[65536];
	int fd = open(settled, O_RDONLY);
	struct ext2_super_block *sb;

	for (uint64_t pblk = 0; pblk < view->blocks; pblk++) {
		scratch_ok(dafs_image_read_blks(view, pblk, 1, a));
		assert_int_equal(pread(fd, b, view->block_size, (off_t)(pblk * view->block_size)),
				 view->block_size);
		if (pblk == SUPERBLOCK_OFFSET / view->block_size) {
			/* Only the flag differs: the reader's image still needs recovery. */
			sb = (struct ext2_super_block *)(b + SUPERBLOCK_OFFSET % view->block_size);
			sb->s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
			sb->s_checksum = ((struct ext2_super_block *)(a + SUPERBLOCK_OFFSET %
										  view->block_size))
						 ->s_checksum;
		}
		if (pblk != dafs_journal_pblk(view->txn->journal, 0) &&
		    memcmp(a, b, view->block_size))
			fail_msg("block %llu differs", (unsigned long long)pblk);
	}
	close(fd);
}

/* The image at path is dirty. Replay it in all ways there are. */
static void compare_replays(const char *path)
{
	const char *ours = scratch_path("ours.img"), *theirs = scratch_path("theirs.img");
	struct dafs_image *img, *view;

	assert_int_equal(scratch_run("cp --sparse=always '%s' '%s' && cp --sparse=always '%s' '%s'",
				     path, ours, path, theirs),
			 0);
	/* debugfs runs e2fsck's replay and nothing else; e2fsck itself would go on with orphans. */
	assert_int_equal(scratch_run("/sbin/debugfs -w -R jr '%s' >/dev/null 2>&1", theirs), 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &view));
	if (!view->txn->n_base)
		fail_msg("%s: nothing to replay", path);
	scratch_ok(dafs_image_open(&scratch_ctx, ours, DAFS_IMAGE_RW, 0, 0, &img));
	compare_images(img, ours, theirs);
	compare_view(view, ours);
	dafs_image_close(view);
	dafs_image_close(img);
	assert_true(scratch_run("/sbin/e2fsck -fy '%s' >/dev/null 2>&1", ours) <= 1);
	scratch_fsck(ours);
}

/* Work under a mount, the image copied away before the unmount: full journals, gone round, with
 * revokes and escapes. */
static void test_kernel_journals(void **state)
{
	static const struct {
		const char *options, *mount;
		unsigned rounds;
	} rows[] = {
		{ "-t ext4 -b 1024 -J size=1", "defaults", 10 },
		{ "-t ext4 -b 4096", "data=journal", 12 },
		{ "-t ext4 -b 1024 -O ^metadata_csum,^64bit -J size=1", "data=journal", 12 },
		{ "-t ext4 -b 4096 -O ^metadata_csum", "journal_checksum", 5 },
		{ "-t ext4 -b 1024 -O ^metadata_csum", "journal_async_commit,data=writeback", 5 },
		{ "-t ext3 -b 1024", "data=ordered", 6 },
	};
	const char *path = scratch_path("dirty.img"), *mnt = scratch_path("mnt");
	(void)state;

	if (geteuid() != 0 || scratch_run("losetup -f >/dev/null 2>&1"))
		skip();
	mkdir(mnt, 0700);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *live = scratch_mke2fs("mounted.img", rows[i].options, "96M");

		assert_int_equal(
			scratch_run(
				"mount -o loop,%s '%s' '%s' && trap \"umount '%s'\" EXIT && cd "
				"'%s' && "
				"cp -r /usr/include/linux a && for i in $(seq %u); do mkdir b$i && "
				"cp -r a/netfilter* b$i && sync -f . && rm -rf b$((i / 2)); done "
				"&& "
				"printf '\\300\\073\\071\\230rest' >magic && sync -f . && rm -r "
				"a/usb && "
				"mkdir -p a/x && echo hi >a/x/y && sync -f . && cp --sparse=always "
				"'%s' '%s' && cd /",
				rows[i].mount, live, mnt, mnt, mnt, rows[i].rounds, live, path),
			0);
		compare_replays(path);
	}
}

/* Where fast commits have the end of the journal, a transaction of ours has to be found by those
 * who take the log for as long as the journal is, since it does not carry their flag. */
static void test_round_fast(void **state)
{
	enum { BLKS = 12, FIRST_PBLK = 40000, BEFORE_END = 5 };
	const char *path = scratch_mke2fs("round.img", "-t ext4 -b 1024 -O fast_commit", "64M");
	struct dafs_image *img;
	uint8_t block[1024];
	(void)state;

	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_true(img->txn->journal->last < img->txn->journal->maxlen);
	img->txn->journal->sb.head = htobe32(img->txn->journal->last - BEFORE_END);
	scratch_ok(dafs_txn_begin(img));
	for (unsigned i = 0; i < BLKS; i++) {
		memset(block, 'a' + (int)i, sizeof(block));
		scratch_ok(dafs_txn_put(img, FIRST_PBLK + i, block));
	}
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "", 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	compare_replays(path);
}

/* debugfs writes journals with and without checksums. */
static void test_debugfs_journals(void **state)
{
	static const struct {
		const char *options, *open;
	} rows[] = {
		{ "-t ext4 -b 1024 -O ^metadata_csum", "jo" },
		{ "-t ext4 -b 1024 -O ^metadata_csum,^64bit", "jo" },
		{ "-t ext4 -b 4096", "jo" },
		{ "-t ext4 -b 1024", "jo -c -v 2" },
		{ "-t ext4 -b 1024 -O ^64bit", "jo -c -v 3" },
		{ "-t ext4 -b 4096", "jo -c -v 3" },
	};
	const char *data = scratch_path("data"), *script = scratch_path("script");
	(void)state;

	assert_int_equal(
		scratch_run("head -c 2000000 /dev/urandom >'%s' && for at in 0 4 8 12 300; do "
			    "printf '\300\073\071\230' | dd of='%s' bs=1024 seek=$at conv=notrunc "
			    "2>/dev/null; done",
			    data, data),
		0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *path = scratch_mke2fs("debugfs.img", rows[i].options, "64M");
		FILE *out = fopen(script, "w");

		fprintf(out,
			"%s\njw -b 10000-10300 %s\njw -r 10007-10011\njw -b 10009,10002,10100 "
			"%s\njc\n",
			rows[i].open, data, data);
		fclose(out);
		assert_int_equal(
			scratch_run("/sbin/debugfs -w -f '%s' '%s' >/dev/null 2>&1", script, path),
			0);
		compare_replays(path);
	}
}

/* Our own transactions in journals whose checksums are of version 2, with tags of 10 and of 14
 * bytes. */
static void test_written_v2(void **state)
{
	static const char *const options[] = { "-t ext4 -b 1024 -O ^64bit", "-t ext4 -b 1024" };
	const char *script = scratch_path("script"), *data = scratch_path("data");
	(void)state;

	for (size_t o = 0; o < 2; o++) {
		const char *path = scratch_mke2fs("v2.img", options[o], "64M");
		struct dafs_image *img;
		uint8_t block[1024];
		FILE *out = fopen(script, "w");

		fprintf(out, "jo -c -v 2\njw -b 10000 %s\njc\n", data);
		fclose(out);
		assert_int_equal(
			scratch_run(
				"head -c 1024 /dev/urandom >'%s' && /sbin/debugfs -w -f '%s' '%s' "
				">/dev/null 2>&1",
				data, script, path),
			0);
		scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
		assert_true(img->txn->journal->csum_v2);
		assert_int_equal(img->txn->journal->tag_bytes, o ? 14 : 10);
		scratch_ok(dafs_txn_begin(img));
		for (unsigned i = 0; i < 500; i++) {
			memset(block, (int)i, sizeof(block));
			scratch_ok(dafs_txn_put(img, 20000 + i, block));
		}
		for (unsigned i = 0; i < 500; i++)
			scratch_ok(dafs_txn_revoke(img, 21000 + i));
		dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
		assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
		dafs_txn_stop = DAFS_TXN_STOP_NONE;
		dafs_image_close(img);
		compare_replays(path);
	}
}

static void dirty_image(const char *name, const char *options, char path[256])
{
	const char *script = scratch_path("script"), *data = scratch_path("data");
	FILE *out;

	strcpy(path, scratch_mke2fs(name, options, "16M"));
	assert_int_equal(scratch_run("head -c 40000 /dev/urandom >'%s'", data), 0);
	out = fopen(script, "w");
	fprintf(out, "jo\njw -b 9000-9030 %s\njw -r 9003-9007\njw -b 9009,9002 %s\njc\n", data,
		data);
	fclose(out);
	assert_int_equal(scratch_run("/sbin/debugfs -w -f '%s' '%s' >/dev/null 2>&1", script, path),
			 0);
}

/* One field of the journal superblock (1K blocks) set to a value; the image opened. */
static void expect_super(const char *path, size_t off, uint32_t value, errcode_t want)
{
	struct dafs_image *img;
	uint32_t be = htobe32(value), was;
	uint64_t at;
	int fd = open(path, O_RDWR);

	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	at = dafs_journal_pblk(img->txn->journal, 0) * 1024 + off;
	dafs_image_close(img);
	assert_int_equal(pread(fd, &was, 4, (off_t)at), 4);
	assert_int_equal(pwrite(fd, &be, 4, (off_t)at), 4);
	assert_err(want, dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_null(img);
	assert_err(want, dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_int_equal(pwrite(fd, &was, 4, (off_t)at), 4);
	close(fd);
}

static void test_bad_supers(void **state)
{
	char path[256];
	(void)state;

	dirty_image("supers.img", "-t ext4 -b 1024 -O ^metadata_csum", path);
	expect_super(path, offsetof(struct jbd2_super, header.magic), 1, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, header.blocktype), 7,
		     DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, blocksize), 4096, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, maxlen), 1 << 30, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, maxlen), 3, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, maxlen), 9000, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, first), 0, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, first), 1 << 30, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, start), 1 << 30, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, incompat), 0x40, DAFS_ET_JOURNAL_FEATURE);
	expect_super(path, offsetof(struct jbd2_super, incompat), 0x18, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, incompat), 0x10, DAFS_ET_CORRUPT_JOURNAL);
	expect_super(path, offsetof(struct jbd2_super, ro_compat), 1, DAFS_ET_JOURNAL_FEATURE);
	compare_replays(path);
}

/* The journal's inode is gone; the superblock has a copy of its mapping. */
static void test_backup_inode(void **state)
{
	const char *good = scratch_path("good.img");
	struct dafs_image *one, *two;
	uint8_t a[31 * 1024], b[31 * 1024];
	char path[256];
	(void)state;

	dirty_image("backup.img", "-t ext4 -b 1024", path);
	assert_int_equal(scratch_run("cp --sparse=always '%s' '%s' && /sbin/debugfs -w -R 'clri "
				     "<8>' '%s' 2>/dev/null",
				     path, good, path),
			 0);
	scratch_ok(dafs_image_open(&scratch_ctx, good, DAFS_IMAGE_RW, 0, 0, &one));
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &two));
	scratch_ok(dafs_image_read_blks(one, 9000, 31, a));
	scratch_ok(dafs_image_read_blks(two, 9000, 31, b));
	assert_memory_equal(a, b, sizeof(a));
	memset(b, 0, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	dafs_image_close(one);
	dafs_image_close(two);
}

/* The kernel would throw such a journal away, e2fsck would replay it: for reading as the kernel,
 * for writing not at all. */
static void test_flag_missing(void **state)
{
	struct dafs_image *img;
	char path[256];
	(void)state;

	dirty_image("flag.img", "-t ext4 -b 1024", path);
	assert_int_equal(
		scratch_run("/sbin/debugfs -w -R 'feature -needs_recovery' '%s' >/dev/null 2>&1",
			    path),
		0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_int_equal(img->txn->n_base, 0);
	dafs_image_close(img);
	assert_err(DAFS_ET_FS_ERRORS,
		   dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
}

/* Flipped bytes anywhere in the journal: whatever opening says, it says something, and soon. */
static void test_flipped_bytes(void **state)
{
	static const char *const options[] = { "-t ext4 -b 1024",
					       "-t ext4 -b 1024 -O ^metadata_csum",
					       "-t ext3 -b 1024" };
	uint64_t seed = test_seed(20240607);
	(void)state;

	for (size_t o = 0; o < 3; o++) {
		struct dafs_image *img;
		uint64_t log_at;
		char path[256];
		unsigned opened = 0;
		int fd;

		dirty_image("flipped.img", options[o], path);
		scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
		log_at = dafs_journal_pblk(img->txn->journal, 0) * 1024;
		dafs_image_close(img);
		fd = open(path, O_RDWR);
		for (unsigned i = 0; i < 1500; i++) {
			/* The superblock, the descriptors and what follows them. */
			uint64_t at = log_at + test_random(&seed) % (i % 3 ? 128 : 50 * 1024);
			uint8_t was, is = (uint8_t)test_random(&seed);

			assert_int_equal(pread(fd, &was, 1, (off_t)at), 1);
			assert_int_equal(pwrite(fd, &is, 1, (off_t)at), 1);
			if (dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img) == 0) {
				opened++;
				dafs_image_close(img);
			}
			assert_int_equal(pwrite(fd, &was, 1, (off_t)at), 1);
		}
		close(fd);
		assert_in_range(opened, 1, 1499);
		compare_replays(path);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel_journals),	 cmocka_unit_test(test_round_fast),
		cmocka_unit_test(test_debugfs_journals), cmocka_unit_test(test_written_v2),
		cmocka_unit_test(test_bad_supers),	 cmocka_unit_test(test_backup_inode),
		cmocka_unit_test(test_flag_missing),	 cmocka_unit_test(test_flipped_bytes),
	};

	return cmocka_run_group_tests_name("journal", tests, scratch_setup, scratch_teardown);
}
