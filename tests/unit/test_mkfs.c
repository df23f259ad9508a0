/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mkfs: the reader of mke2fs.conf, and what is left behind when the device fails at any
 * operation. */
#include "config.h"

#include "job/mkfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/image.h"
#include "job/mkfs_conf.h"
#include "scratch.h"

static struct dafs_mkfs_conf *parse(const char *text)
{
	struct dafs_mkfs_conf *conf;

	scratch_ok(dafs_mkfs_conf_parse(&scratch_ctx, "text", text, &conf));
	return conf;
}

static void test_conf_values(void **state)
{
	static const char *const names[] = { "ext4", "small", NULL };
	struct dafs_mkfs_conf *conf = parse("# comment\n"
					    "[defaults]\n"
					    "\tblocksize = 4096 ; behind a value\n"
					    "\tblocksize = 1024\n"
					    "\tratio = 2.5\n"
					    "\tquoted = \"a \\\"b\\\"\\tc\" junk\n"
					    "[fs_types] # behind a section\n"
					    " ext4 = { # behind a brace\n"
					    "  inode_size = 0x200\n"
					    "  lazy = Off\n"
					    "  deeper = {\n   inode_size = 1\n  }\n"
					    " }\n"
					    " small =\n"
					    " {\n"
					    "  inode_size=128\n"
					    "  lazy = maybe\n"
					    " }\n"
					    " ext4 = {\n  ratio = 9\n }\n"
					    "[defaults]\n"
					    "late = yes\n");
	struct dafs_mkfs_types both = { conf, names }, second = { conf, names + 1 },
			       none = { conf, names + 2 };
	long number;
	double real;
	bool flag;
	(void)state;

	assert_true(dafs_mkfs_conf_has_type(conf, "ext4"));
	assert_false(dafs_mkfs_conf_has_type(conf, "ext3"));
	scratch_ok(dafs_mkfs_conf_int(&scratch_ctx, &both, "blocksize", 1, &number));
	assert_int_equal(number, 4096);
	scratch_ok(dafs_mkfs_conf_int(&scratch_ctx, &both, "inode_size", 1, &number));
	assert_int_equal(number, 128);
	scratch_ok(dafs_mkfs_conf_int(&scratch_ctx, &none, "inode_size", 7, &number));
	assert_int_equal(number, 7);
	scratch_ok(dafs_mkfs_conf_real(&scratch_ctx, &both, "ratio", 1, &real));
	assert_true(real == 2.5);
	assert_string_equal(dafs_mkfs_conf_str(&none, "quoted", ""), "a \"b\"\tc");
	scratch_ok(dafs_mkfs_conf_bool(&scratch_ctx, &none, "late", false, &flag));
	assert_true(flag);
	assert_err(DAFS_ET_SYNTAX, dafs_mkfs_conf_bool(&scratch_ctx, &second, "lazy", true, &flag));
	assert_true(flag);
	assert_err(DAFS_ET_SYNTAX, dafs_mkfs_conf_int(&scratch_ctx, &none, "quoted", 3, &number));
	assert_string_equal(dafs_mkfs_conf_raw(conf, "fs_types", "ext4", "inode_size"), "0x200");
	assert_null(dafs_mkfs_conf_raw(conf, "fs_types", "ext4", "ratio"));
	dafs_mkfs_conf_free(conf);
	dafs_mkfs_conf_free(NULL);
}

static void test_conf_errors(void **state)
{
	static const struct {
		const char *text, *place;
	} bad[] = {
		{ "x = y\n", "text:1" },
		{ "[a]\n\n[b\n", "text:3" },
		{ "[a] b\n", "text:1" },
		{ "[a]\nb\n", "text:2" },
		{ "[a]\n= b\n", "text:2" },
		{ "[a]\n}\n", "text:2" },
		{ "[a]\nb =\nc = d\n", "text:3" },
		{ "[a]\nb =\n", "text:3" },
		{ "[a]\nb = {\n[c]\n", "text:3" },
		{ "[a]\nb = {\nb = {\nb = {\nb = {\nb = {\nb = {\nb = {\nb = {\nb = {\n",
		  "text:10" },
	};
	struct dafs_mkfs_conf *conf;
	(void)state;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_err(DAFS_ET_SYNTAX,
			   dafs_mkfs_conf_parse(&scratch_ctx, "text", bad[i].text, &conf));
		assert_null(conf);
		if (strncmp(scratch_ctx.detail, bad[i].place, strlen(bad[i].place)))
			fail_msg("%s: %s", bad[i].text, scratch_ctx.detail);
	}
}

/* Any bytes are a configuration or an error, never a crash. */
static void test_conf_noise(void **state)
{
	static const char alphabet[] = "[]{}=\"\\#;* \n\n\nab";
	uint64_t seed = test_seed(7);
	char text[200];
	(void)state;

	for (unsigned round = 0; round < 20000; round++) {
		struct dafs_mkfs_conf *conf;
		size_t len = test_random(&seed) % (sizeof(text) - 1);

		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[test_random(&seed) % (sizeof(alphabet) - 1)];
		text[len] = '\0';
		if (!dafs_mkfs_conf_parse(&scratch_ctx, "noise", text, &conf))
			dafs_mkfs_conf_free(conf);
	}
}

/* A device that is dead from its Nth changing operation on. */
static const struct dafs_dev_ops *real_ops;
static struct dafs_dev_ops dying_ops;
static unsigned ops_done, ops_allowed;

static bool dies(void)
{
	return ops_done++ >= ops_allowed;
}

static errcode_t dying_pwritev(struct dafs_dev *dev, const struct iovec *iov, int niov,
			       uint64_t off)
{
	return dies() ? EIO : real_ops->pwritev(dev, iov, niov, off);
}

static errcode_t dying_zero(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	return dies() ? EIO : real_ops->zero(dev, off, len_bytes);
}

static errcode_t dying_resize(struct dafs_dev *dev, uint64_t size_bytes)
{
	return dies() ? EIO : real_ops->resize(dev, size_bytes);
}

static errcode_t dying_sync(struct dafs_dev *dev)
{
	return dies() ? EIO : real_ops->sync(dev);
}

static errcode_t make_mortal(struct dafs_dev *dev)
{
	real_ops = dev->ops;
	dying_ops = *real_ops;
	dying_ops.pwritev = dying_pwritev;
	dying_ops.zero = dying_zero;
	dying_ops.resize = dying_resize;
	dying_ops.sync = dying_sync;
	dev->ops = &dying_ops;
	return 0;
}

static bool has_magic(const char *path)
{
	int fd = open(path, O_RDONLY);
	uint8_t magic[2] = { 0 };
	bool there;

	there = fd >= 0 && pread(fd, magic, 2, 1080) == 2 && magic[0] == 0x53 && magic[1] == 0xef;
	close(fd);
	return there;
}

static void run_faults(const char *path, bool keep_old)
{
	struct dafs_mkfs_opts opts = {
		.fs_bytes = 4 << 20,
		.block_size = 1024,
		.features = "orphan_file,quota,^resize_inode",
		.force = true,
	};
	unsigned total;
	struct stat st;

	dafs_dev_wrap = make_mortal;
	ops_done = 0;
	ops_allowed = ~0u;
	scratch_ok(dafs_mkfs_run(&scratch_ctx, path, &opts, NULL));
	total = ops_done;
	for (unsigned n = 0; n < total; n++) {
		errcode_t err;

		if (!keep_old)
			unlink(path);
		ops_done = 0;
		ops_allowed = n;
		err = dafs_mkfs_run(&scratch_ctx, path, &opts, NULL);
		/* libext2fs has codes of its own for some writes that fail. */
		if (!err)
			fail_msg("operation %u of %u failed, and nobody noticed", n, total);
		if (!keep_old)
			assert_int_equal(stat(path, &st), -1);
		/* The last operation is the sync behind the superblock: who knows. */
		else if (has_magic(path) != (n == 0) && n + 1 < total)
			fail_msg("operation %u of %u: the superblock is %s", n, total,
				 n ? "still there" : "gone");
		if (keep_old) {
			ops_allowed = ~0u;
			scratch_ok(dafs_mkfs_run(&scratch_ctx, path, &opts, NULL));
		}
	}
	dafs_dev_wrap = NULL;
}

static void test_faults_new_file(void **state)
{
	(void)state;
	run_faults(scratch_path("new.img"), false);
}

static void test_faults_old_file(void **state)
{
	const char *path = scratch_path("old.img");
	(void)state;
	run_faults(path, true);
	scratch_fsck(path);
}

static void test_cancel(void **state)
{
	struct dafs_mkfs_opts opts = { .fs_bytes = 4 << 20 };
	const char *path = scratch_path("cancel.img");
	struct stat st;
	(void)state;

	scratch_ctx.cancel = 1;
	assert_err(DAFS_ET_CANCELLED, dafs_mkfs_run(&scratch_ctx, path, &opts, NULL));
	scratch_ctx.cancel = 0;
	assert_int_equal(stat(path, &st), -1);
}

/* Handing the image over and finishing it at once gives what a plain run gives. */
static void test_hand_over(void **state)
{
	struct dafs_mkfs_opts opts = {
		.fs_bytes = 16 << 20,
		.uuid = "11111111-2222-3333-4444-555555555555",
		.extended = "hash_seed=11111111-2222-3333-4444-555555555556",
	};
	const char *plain = scratch_path("plain.img"), *handed = scratch_path("handed.img");
	struct dafs_image *img;
	(void)state;

	scratch_ok(dafs_mkfs_run(&scratch_ctx, plain, &opts, NULL));
	opts.fill = true;
	scratch_ok(dafs_mkfs_run(&scratch_ctx, handed, &opts, &img));
	assert_false(has_magic(handed));
	scratch_ok(dafs_image_finish_create(img));
	dafs_image_close(img);
	scratch_fsck(handed);
	assert_int_equal(scratch_run("for i in '%s' '%s'; do dumpe2fs $i 2>/dev/null | "
				     "grep -v -e Lifetime -e ^Checksum: >$i.txt; done; "
				     "diff '%s.txt' '%s.txt'",
				     plain, handed, plain, handed),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf_values),	cmocka_unit_test(test_conf_errors),
		cmocka_unit_test(test_conf_noise),	cmocka_unit_test(test_faults_new_file),
		cmocka_unit_test(test_faults_old_file), cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_hand_over),
	};

	return cmocka_run_group_tests_name("mkfs", tests, scratch_setup, scratch_teardown);
}
