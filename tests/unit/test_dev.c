/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device below all image I/O: addresses, partitions, bounds, growth, zeroing, libext2fs'
 * channel. */
#include "config.h"

#include "image/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "scratch.h"

static void test_addresses(void **state)
{
	static const struct {
		const char *text, *path, *label;
		uint64_t offset;
		unsigned partno;
		errcode_t err;
	} rows[] = {
		{ "/nowhere/x.img", "/nowhere/x.img", NULL, 0, 0, 0 },
		{ "/nowhere/x.img:p3", "/nowhere/x.img", NULL, 0, 3, 0 },
		{ "/nowhere/x.img:p12", "/nowhere/x.img", NULL, 0, 12, 0 },
		{ "/nowhere/x.img:p", "/nowhere/x.img:p", NULL, 0, 0, 0 },
		{ "/nowhere/x.img:p3x", "/nowhere/x.img:p3x", NULL, 0, 0, 0 },
		{ "/nowhere/x:p1/y:p2", "/nowhere/x:p1/y", NULL, 0, 2, 0 },
		{ "/nowhere/x.img:PARTLABEL=root fs", "/nowhere/x.img", "root fs", 0, 0, 0 },
		{ "/nowhere/x.img:PARTLABEL=", NULL, NULL, 0, 0, DAFS_ET_ADDRESS },
		{ "/nowhere/x.img?offset=1M", "/nowhere/x.img", NULL, 1 << 20, 0, 0 },
		{ "/nowhere/x.img?offset=512", "/nowhere/x.img", NULL, 512, 0, 0 },
		{ "/nowhere/x.img?offset=3t", "/nowhere/x.img", NULL, 3ULL << 40, 0, 0 },
		{ "/nowhere/x.img?offset=1Q", NULL, NULL, 0, 0, DAFS_ET_ADDRESS },
		{ "/nowhere/x.img?offset=-1", NULL, NULL, 0, 0, DAFS_ET_ADDRESS },
		{ "/nowhere/x.img?offset=99999999T", NULL, NULL, 0, 0, DAFS_ET_ADDRESS },
		{ "?offset=1", NULL, NULL, 0, 0, DAFS_ET_ADDRESS },
		{ "", NULL, NULL, 0, 0, DAFS_ET_ADDRESS },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dafs_dev_address addr;

		assert_int_equal(dafs_dev_address_parse(&scratch_ctx, rows[i].text, &addr),
				 rows[i].err);
		if (rows[i].err)
			continue;
		assert_string_equal(addr.path, rows[i].path);
		assert_int_equal(addr.partno, rows[i].partno);
		assert_int_equal(addr.offset_bytes, rows[i].offset);
		if (rows[i].label)
			assert_string_equal(addr.partlabel, rows[i].label);
		else
			assert_null(addr.partlabel);
		dafs_dev_address_fini(&addr);
	}
}

static void test_existing_path_wins(void **state)
{
	const char *path = scratch_path("odd:p1");
	struct dafs_dev *dev;
	(void)state;

	assert_int_equal(scratch_run("truncate -s 5000 '%s'", path), 0);
	scratch_ok(dafs_dev_open(&scratch_ctx, path, 0, &dev));
	assert_int_equal(dev->size_bytes, 5000);
	assert_false(dev->partition);
	dafs_dev_close(dev);
}

static void test_io_and_bounds(void **state)
{
	const char *path = scratch_path("plain");
	char text[8192], back[8192];
	struct dafs_dev *dev;
	struct stat st;
	(void)state;

	assert_err(ENOENT, dafs_dev_open(&scratch_ctx, path, DAFS_DEV_RW, &dev));
	assert_null(dev);
	scratch_ok(dafs_dev_open(&scratch_ctx, path, DAFS_DEV_RW | DAFS_DEV_CREATE, &dev));
	memset(text, 'x', sizeof(text));
	scratch_ok(dafs_dev_write(dev, text, sizeof(text), 4096));
	assert_int_equal(dev->size_bytes, 12288);
	scratch_ok(dafs_dev_read(dev, back, sizeof(back), 4096));
	assert_memory_equal(text, back, sizeof(text));
	assert_err(DAFS_ET_TRUNCATED, dafs_dev_read(dev, back, sizeof(back), 8192));
	scratch_ok(dafs_dev_zero(dev, 6000, 1000));
	memset(text + 6000 - 4096, 0, 1000);
	scratch_ok(dafs_dev_read(dev, back, sizeof(back), 4096));
	assert_memory_equal(text, back, sizeof(text));
	scratch_ok(dafs_dev_zero(dev, 12000, 100000));
	assert_int_equal(dev->size_bytes, 112000);
	scratch_ok(dafs_dev_sync(dev));
	assert_int_equal(dev->nwrites, 3);
	dafs_dev_close(dev);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 112000);

	scratch_ok(dafs_dev_open(&scratch_ctx, path, 0, &dev));
	assert_err(EROFS, dafs_dev_write(dev, text, 1, 0));
	dafs_dev_close(dev);
	assert_err(DAFS_ET_ADDRESS, dafs_dev_open(&scratch_ctx, scratch_dir, 0, &dev));
}

static void test_many_vectors(void **state)
{
	const char *path = scratch_path("vectors");
	enum { N = 1500 };
	struct iovec iov[N];
	uint32_t numbers[N], back[N];
	struct dafs_dev *dev;
	(void)state;

	for (uint32_t i = 0; i < N; i++) {
		numbers[i] = i * 2654435761u;
		iov[i] = (struct iovec){ &numbers[i], sizeof(numbers[i]) };
	}
	scratch_ok(dafs_dev_open(&scratch_ctx, path, DAFS_DEV_RW | DAFS_DEV_CREATE, &dev));
	scratch_ok(dafs_dev_writev(dev, iov, N, 100));
	scratch_ok(dafs_dev_read(dev, back, sizeof(back), 100));
	assert_memory_equal(numbers, back, sizeof(back));
	dafs_dev_close(dev);
}

static void test_copy(void **state)
{
	const char *from = scratch_path("from"), *to = scratch_path("to");
	char text[5000], back[5000];
	struct dafs_dev *dev;
	errcode_t err;
	int fd;
	(void)state;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7);
	fd = open(from, O_RDWR | O_CREAT, 0600);
	assert_int_equal(pwrite(fd, text, sizeof(text), 123), sizeof(text));
	scratch_ok(dafs_dev_open(&scratch_ctx, to, DAFS_DEV_RW | DAFS_DEV_CREATE, &dev));
	err = dafs_dev_copy_from(dev, fd, 123, 777, sizeof(text));
	if (err != EXDEV && err != EOPNOTSUPP && err != ENOSYS && err != EINVAL) {
		scratch_ok(err);
		scratch_ok(dafs_dev_read(dev, back, sizeof(back), 777));
		assert_memory_equal(text, back, sizeof(text));
		assert_err(DAFS_ET_SOURCE_CHANGED, dafs_dev_copy_from(dev, fd, 5000, 0, 4000));
	}
	dafs_dev_close(dev);
	close(fd);
}

static void test_partitions(void **state)
{
	const char *disk = scratch_path("disk.img");
	char address[300], text[16] = "in the partition", back[16];
	struct dafs_dev *dev;
	(void)state;

	assert_int_equal(
		scratch_run("truncate -s 16M '%s' && printf 'label: gpt\\nstart=2048, size=4096, "
			    "name=\"boot: one\"\\nstart=8192, size=16384, name=root\\n' | "
			    "/sbin/sfdisk -q '%s' >/dev/null 2>&1",
			    disk, disk),
		0);
	snprintf(address, sizeof(address), "%s:p2", disk);
	scratch_ok(dafs_dev_open(&scratch_ctx, address, DAFS_DEV_RW | DAFS_DEV_EXCL, &dev));
	assert_int_equal(dev->start_bytes, 8192 * 512);
	assert_int_equal(dev->size_bytes, 16384 * 512);
	assert_true(dev->partition);
	scratch_ok(dafs_dev_write(dev, text, sizeof(text), dev->size_bytes - sizeof(text)));
	assert_err(ENOSPC, dafs_dev_write(dev, text, sizeof(text), dev->size_bytes - 8));
	assert_err(EINVAL, dafs_dev_resize(dev, dev->size_bytes + 1));
	dafs_dev_close(dev);

	snprintf(address, sizeof(address), "%s:PARTLABEL=root", disk);
	scratch_ok(dafs_dev_open(&scratch_ctx, address, 0, &dev));
	scratch_ok(dafs_dev_read(dev, back, sizeof(back), dev->size_bytes - sizeof(back)));
	assert_memory_equal(text, back, sizeof(text));
	dafs_dev_close(dev);

	snprintf(address, sizeof(address), "%s:PARTLABEL=boot: one", disk);
	scratch_ok(dafs_dev_open(&scratch_ctx, address, 0, &dev));
	assert_int_equal(dev->start_bytes, 1 << 20);
	dafs_dev_close(dev);

	snprintf(address, sizeof(address), "%s?offset=1M", disk);
	scratch_ok(dafs_dev_open(&scratch_ctx, address, 0, &dev));
	assert_int_equal(dev->size_bytes, 15 << 20);
	dafs_dev_close(dev);

	snprintf(address, sizeof(address), "%s:p7", disk);
	assert_err(DAFS_ET_NO_PARTITION, dafs_dev_open(&scratch_ctx, address, 0, &dev));
	assert_non_null(strstr(scratch_ctx.detail, ":p7"));
	snprintf(address, sizeof(address), "%s:p1", scratch_path("plain"));
	assert_err(DAFS_ET_NO_PARTITION, dafs_dev_open(&scratch_ctx, address, 0, &dev));
}

static void test_channel(void **state)
{
	const char *path = scratch_path("channel");
	char name[32], block[2048], back[2048];
	struct dafs_dev *dev;
	io_channel io;
	(void)state;

	assert_int_equal(scratch_run("truncate -s 1M '%s'", path), 0);
	scratch_ok(dafs_dev_open(&scratch_ctx, path, DAFS_DEV_RW, &dev));
	dafs_dev_io_name(dev, name);
	assert_err(EXT2_ET_BAD_DEVICE_NAME, dafs_dev_io_manager()->open("dafs-dev-0", 0, &io));
	scratch_ok(dafs_dev_io_manager()->open(name, IO_FLAG_RW, &io));
	scratch_ok(io_channel_set_blksize(io, 2048));
	memset(block, 'b', sizeof(block));
	scratch_ok(io_channel_write_blk64(io, 7, 1, block));
	scratch_ok(dafs_dev_read(dev, back, sizeof(back), 7 * 2048));
	assert_memory_equal(block, back, sizeof(back));
	scratch_ok(io_channel_write_blk64(io, 9, -10, block));
	scratch_ok(io_channel_read_blk64(io, 9, -11, back));
	assert_int_equal(back[9], 'b');
	assert_int_equal(back[10], 0);
	scratch_ok(io_channel_zeroout(io, 7, 1));
	scratch_ok(io_channel_read_blk64(io, 7, 1, back));
	assert_int_equal(back[100], 0);
	assert_int_equal(io_channel_read_blk64(io, 1ULL << 60, 1, back), EXT2_ET_SHORT_READ);
	assert_int_equal(io_channel_read_blk64(io, 512, 1, back), DAFS_ET_TRUNCATED);
	scratch_ok(io_channel_close(io));
	dafs_dev_close(dev);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),     cmocka_unit_test(test_existing_path_wins),
		cmocka_unit_test(test_io_and_bounds), cmocka_unit_test(test_many_vectors),
		cmocka_unit_test(test_copy),	      cmocka_unit_test(test_partitions),
		cmocka_unit_test(test_channel),
	};

	return cmocka_run_group_tests_name("dev", tests, scratch_setup, scratch_teardown);
}
