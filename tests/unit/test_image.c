/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images: what is accepted, what is refused by name, locks. */
#include "config.h"

#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "image/image_int.h"
#include "scratch.h"

static void test_open(void **state)
{
	const char *path = scratch_mke2fs("plain.img", "-t ext4 -b 4096", "64M");
	struct dafs_image *img;
	uint8_t block[4096], file[4096];
	int fd;
	(void)state;

	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_int_equal(img->block_size, 4096);
	assert_int_equal(img->block_bits, 12);
	assert_int_equal(img->blocks, 16384);
	assert_int_equal(img->first_data_block, 0);
	assert_int_equal(img->inode_size, 256);
	assert_true(img->has_csum && img->has_extents && img->has_64bit && img->has_journal);
	assert_false(img->has_bigalloc || img->has_quota || img->has_casefold);
	scratch_ok(dafs_image_read_blks(img, 1, 1, block));
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, file, sizeof(file), 4096), sizeof(file));
	close(fd);
	assert_memory_equal(block, file, sizeof(file));
	assert_err(DAFS_ET_RANGE, dafs_image_read_blks(img, 16384, 1, block));
	assert_err(DAFS_ET_RANGE, dafs_image_read_blks(img, 16383, UINT64_MAX, block));
	dafs_image_close(img);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	dafs_image_close(img);
	scratch_fsck(path);
}

static void test_backup_super(void **state)
{
	const char *path = scratch_mke2fs("backup.img", "-t ext4 -b 1024", "32M");
	struct dafs_image *img;
	(void)state;

	assert_int_equal(
		scratch_run("dd if=/dev/zero of='%s' bs=1k seek=1 count=1 conv=notrunc 2>/dev/null",
			    path),
		0);
	assert_err(DAFS_ET_NOT_EXT, dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_null(img);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_NO_REPLAY, 8193, 1024, &img));
	dafs_image_close(img);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_NO_REPLAY, 8193, 0, &img));
	assert_int_equal(img->block_size, 1024);
	dafs_image_close(img);
	assert_err(DAFS_ET_NOT_EXT, dafs_image_open(&scratch_ctx, path, 0, 8194, 0, &img));
}

static void test_refusals(void **state)
{
	const char *path = scratch_path("refused.img");
	struct dafs_image *img;
	(void)state;

	assert_err(ENOENT, dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_int_equal(scratch_run("truncate -s 100 '%s'", path), 0);
	assert_err(DAFS_ET_NOT_EXT, dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_int_equal(scratch_run("truncate -s 20M '%s' && /sbin/mkswap '%s' >/dev/null 2>&1",
				     path, path),
			 0);
	assert_err(DAFS_ET_NOT_EXT, dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_non_null(strstr(scratch_ctx.detail, "swap"));

	path = scratch_mke2fs("truncated.img", "-t ext4", "64M");
	assert_int_equal(scratch_run("truncate -s 63M '%s'", path), 0);
	assert_err(DAFS_ET_TRUNCATED, dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_TRUNCATED_OK, 0, 0, &img));
	dafs_image_close(img);

	path = scratch_mke2fs("errors.img", "-t ext4", "16M");
	assert_int_equal(scratch_run("/sbin/debugfs -w -R 'ssv state 3' '%s' 2>/dev/null", path),
			 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	dafs_image_close(img);
	assert_err(DAFS_ET_FS_ERRORS,
		   dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW | DAFS_IMAGE_ANY_STATE, 0, 0,
				   &img));
	dafs_image_close(img);
}

static void expect_feature(const char *set_field, const char *value, int flags, errcode_t want,
			   const char *name)
{
	const char *path = scratch_mke2fs("feature.img", "-t ext4 -O ^metadata_csum", "16M");
	struct dafs_image *img;

	assert_int_equal(scratch_run("/sbin/debugfs -w -R 'ssv %s %s' '%s' 2>/dev/null", set_field,
				     value, path),
			 0);
	assert_int_equal(dafs_image_open(&scratch_ctx, path, flags, 0, 0, &img), want);
	if (want)
		assert_non_null(strstr(scratch_ctx.detail, name));
	dafs_image_close(img);
}

static void test_features(void **state)
{
	(void)state;
	expect_feature("feature_incompat", "0x1000c2", 0, DAFS_ET_FEATURE, "FEATURE_I20");
	expect_feature("feature_incompat", "0x2c3", 0, DAFS_ET_FEATURE, "compression");
	expect_feature("feature_incompat", "0x12c2", 0, DAFS_ET_FEATURE, "dirdata");
	expect_feature("feature_incompat", "0x12c2", DAFS_IMAGE_ANY_FEATURE, 0, NULL);
	expect_feature("feature_ro_compat", "0x406b", 0, 0, NULL);
	expect_feature("feature_ro_compat", "0x406b", DAFS_IMAGE_RW, DAFS_ET_FEATURE,
		       "shared_blocks");
	expect_feature("feature_ro_compat", "0x106b", DAFS_IMAGE_RW, DAFS_ET_FEATURE, "read-only");
	expect_feature("feature_ro_compat", "0x8000006b", DAFS_IMAGE_RW, DAFS_ET_FEATURE,
		       "FEATURE_R31");
	expect_feature("feature_incompat", "0x2ca", 0, DAFS_ET_JOURNAL_EXTERNAL, "journal device");
	expect_feature("journal_inum", "0", DAFS_IMAGE_RW, DAFS_ET_JOURNAL_EXTERNAL, "feature.img");
}

static int notices;

static void count_notice(void *arg, const char *stage, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	assert_non_null(strstr(stage, "lock.img"));
	notices++;
}

static void test_locks(void **state)
{
	const char *path = scratch_mke2fs("lock.img", "-t ext4", "16M");
	struct dafs_image *one, *two;
	(void)state;

	scratch_ctx.lock_timeout_ms = 30;
	scratch_ctx.notice = count_notice;
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &one));
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &two));
	dafs_image_close(two);
	assert_int_equal(notices, 0);
	assert_err(DAFS_ET_LOCKED, dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &two));
	assert_int_equal(notices, 1);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW | DAFS_IMAGE_NO_LOCK, 0, 0,
				   &two));
	dafs_image_close(two);
	dafs_image_close(one);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &one));
	assert_err(DAFS_ET_LOCKED, dafs_image_open(&scratch_ctx, path, 0, 0, 0, &two));
	scratch_ctx.lock_timeout_ms = 60000;
	scratch_ctx.cancel = 1;
	assert_err(DAFS_ET_CANCELLED, dafs_image_open(&scratch_ctx, path, 0, 0, 0, &two));
	scratch_ctx.cancel = 0;
	scratch_ctx.notice = NULL;
	dafs_image_close(one);
}

static uint32_t mmp_seq(const char *path)
{
	struct mmp_struct mmp;
	ext2_filsys fs;
	int fd = open(path, O_RDONLY);

	scratch_ok(ext2fs_open(path, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0, 0, unix_io_manager,
			       &fs));
	assert_int_equal(
		pread(fd, &mmp, sizeof(mmp), (off_t)(fs->super->s_mmp_block * fs->blocksize)),
		sizeof(mmp));
	ext2fs_close_free(&fs);
	close(fd);
	return mmp.mmp_seq;
}

static void test_mmp(void **state)
{
	const char *path = scratch_mke2fs("mmp.img", "-t ext4 -O mmp", "32M");
	struct dafs_image *one, *two;
	(void)state;

	dafs_mmp_second_ms = 1;
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &one));
	dafs_image_close(one);
	assert_int_equal(mmp_seq(path), EXT4_MMP_SEQ_CLEAN);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &one));
	assert_int_equal(mmp_seq(path), EXT4_MMP_SEQ_FSCK);
	/* What another machine would see: no lock, but the sign. */
	assert_err(DAFS_ET_MOUNTED,
		   dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW | DAFS_IMAGE_NO_LOCK, 0, 0,
				   &two));
	assert_non_null(strstr(scratch_ctx.detail, "being checked"));
	/* e2fsprogs sees it, too. */
	assert_int_not_equal(scratch_run("/sbin/debugfs -w -R 'ls' '%s' 2>&1 | grep -q lost", path),
			     0);
	dafs_image_close(one);
	assert_int_equal(mmp_seq(path), EXT4_MMP_SEQ_CLEAN);
	scratch_fsck(path);

	/* A sign that nobody moves is a dead one; one of ours is known by its name. */
	assert_int_equal(scratch_run("cp '%s' '%s.keep'", path, path), 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &one));
	one->mmp_taken = false;
	dafs_image_close(one);
	assert_int_equal(mmp_seq(path), EXT4_MMP_SEQ_FSCK);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &one));
	dafs_image_close(one);
	assert_int_equal(mmp_seq(path), EXT4_MMP_SEQ_CLEAN);
	dafs_mmp_second_ms = 1000;
}

static void test_mounted(void **state)
{
	const char *path = scratch_mke2fs("mounted.img", "-t ext4", "16M"),
		   *mnt = scratch_path("mnt");
	struct dafs_image *img;
	errcode_t err, reading;
	(void)state;

	if (geteuid() != 0 || scratch_run("losetup -f >/dev/null 2>&1"))
		skip();
	assert_int_equal(scratch_run("mkdir '%s' && mount -o loop '%s' '%s'", mnt, path, mnt), 0);
	err = dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img);
	dafs_image_close(img);
	reading = dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img);
	dafs_image_close(img);
	assert_int_equal(scratch_run("umount '%s'", mnt), 0);
	assert_int_equal(err, DAFS_ET_MOUNTED);
	assert_int_equal(reading, 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	dafs_image_close(img);
}

static void test_block_device(void **state)
{
	const char *path = scratch_mke2fs("device.img", "-t ext4", "16M"),
		   *mnt = scratch_path("mnt2");
	struct dafs_image *img, *two;
	errcode_t err, mounted;
	char loop[64] = "";
	FILE *out;
	(void)state;

	if (geteuid() != 0 ||
	    scratch_run("losetup -f --show '%s' >'%s'", path, scratch_path("loop")))
		skip();
	out = fopen(scratch_path("loop"), "r");
	assert_non_null(fgets(loop, sizeof(loop), out));
	fclose(out);
	loop[strcspn(loop, "\n")] = 0;
	err = dafs_image_open(&scratch_ctx, loop, DAFS_IMAGE_RW, 0, 0, &img);
	if (!err) {
		assert_true(img->dev->is_block);
		assert_int_equal(img->dev->size_bytes, 16 << 20);
		scratch_ctx.lock_timeout_ms = 1;
		assert_int_not_equal(dafs_image_open(&scratch_ctx, loop, DAFS_IMAGE_RW, 0, 0, &two),
				     0);
	}
	dafs_image_close(img);
	assert_int_equal(scratch_run("mkdir -p '%s' && mount '%s' '%s'", mnt, loop, mnt), 0);
	mounted = dafs_image_open(&scratch_ctx, loop, DAFS_IMAGE_RW, 0, 0, &img);
	assert_int_equal(scratch_run("umount '%s'; losetup -d '%s'", mnt, loop), 0);
	scratch_ok(err);
	assert_int_equal(mounted, DAFS_ET_MOUNTED);
	scratch_fsck(path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),	 cmocka_unit_test(test_backup_super),
		cmocka_unit_test(test_refusals), cmocka_unit_test(test_features),
		cmocka_unit_test(test_locks),	 cmocka_unit_test(test_mmp),
		cmocka_unit_test(test_mounted),	 cmocka_unit_test(test_block_device),
	};

	return cmocka_run_group_tests_name("image", tests, scratch_setup, scratch_teardown);
}
