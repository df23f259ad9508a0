/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes: where they lie, their checksum, attributes there and back, times at the ends of the
 * format. */
#include "config.h"

#include "image/icodec.h"

#include <sys/stat.h>

#include "codec_fx.h"

/* libext2fs reads the same place and agrees with the checksum. */
static void test_locate_and_checksum(void **state)
{
	static const char *const options[] = { "-t ext4 -b 1024", "-t ext4 -b 4096 -I 512",
					       "-t ext4 -I 128", "-t ext2 -b 2048",
					       "-t ext4 -O meta_bg,^resize_inode" };
	(void)state;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct fx fx;

		fx_make(&fx, "icodec.img", options[i], "64M");
		for (uint32_t ino = 1; ino <= fx.img->fs->super->s_inodes_count;
		     ino += ino < 20 ? 1 : 997) {
			union dafs_inode_buf buf, theirs;

			memset(&theirs, 0, sizeof(theirs));
			scratch_ok(dafs_icodec_read(fx.img, ino, &buf.raw, sizeof(buf)));
			assert_ok(ext2fs_read_inode_full(fx.img->fs, ino,
							 (struct ext2_inode *)&theirs.raw,
							 (int)fx.img->inode_size));
			assert_memory_equal(buf.bytes, theirs.bytes, fx.img->inode_size);
			buf.raw.i_mode = S_IFREG;
			buf.raw.i_generation = ino * 77;
			assert_true(dafs_icodec_checksum_ok(fx.img, ino, &buf.raw) ==
				    !fx.img->has_csum);
			dafs_icodec_checksum(fx.img, ino, &buf.raw);
			assert_true(dafs_icodec_checksum_ok(fx.img, ino, &buf.raw));
			assert_true(ext2fs_inode_csum_verify(fx.img->fs, ino, &buf.raw));
		}
		assert_err(DAFS_ET_RANGE,
			   dafs_icodec_read(fx.img, 0, &(union dafs_inode_buf){ 0 }.raw, 256));
		assert_err(DAFS_ET_RANGE,
			   dafs_icodec_read(fx.img, fx.img->fs->super->s_inodes_count + 1,
					    &(union dafs_inode_buf){ 0 }.raw, 256));
		fx_close(&fx);
	}
}

static struct dafs_time random_time(struct rng *rng)
{
	int64_t sec = (int64_t)(test_random(&rng->state) & 0x3ffffffff) - INT64_C(0x80000000);

	return dafs_time_at(sec, rng_below(rng, 1000000000));
}

static void assert_time(struct dafs_time a, struct dafs_time b)
{
	assert_int_equal(dafs_time_sec(a), dafs_time_sec(b));
	assert_int_equal(a.nsec, b.nsec);
}

static void round_trip(struct rng *rng, void *arg)
{
	struct dafs_image *img = arg;

	for (uint32_t n = test_steps(500, 50000); n; n--) {
		static const uint16_t types[] = { S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK };
		struct dafs_inode in = { .ino = 12,
					 .state = DAFS_I_NEW,
					 .uid = (uint32_t)test_random(&rng->state),
					 .gid = (uint32_t)test_random(&rng->state),
					 .nlink = 1 + rng_below(rng, 65000),
					 .generation = (uint32_t)test_random(&rng->state),
					 .projid = (uint32_t)test_random(&rng->state),
					 .iflags = EXT2_NOATIME_FL | EXT2_NODUMP_FL },
				  out = { 0 };
		uint64_t blocks = test_random(&rng->state) >> (16 + rng_below(rng, 40));
		union dafs_inode_buf buf = { 0 };

		in.mode = types[rng_below(rng, 5)] | (uint16_t)rng_below(rng, 07777);
		in.atime = random_time(rng);
		in.mtime = random_time(rng);
		in.ctime = random_time(rng);
		in.crtime = random_time(rng);
		if (S_ISREG(in.mode))
			in.size = test_random(&rng->state) >> (22 + rng_below(rng, 40));
		if (S_ISCHR(in.mode) || S_ISBLK(in.mode)) {
			in.rdev_major = rng_below(rng, rng_below(rng, 2) ? 4096 : 256);
			in.rdev_minor = rng_below(rng, rng_below(rng, 2) ? 1 << 20 : 256);
		}
		buf.raw.i_flags = EXT4_EXTENTS_FL;
		blocks &= ~UINT64_C(7);
		scratch_ok(dafs_icodec_encode(img, &in, blocks, &buf.raw, img->inode_size));
		assert_true(dafs_icodec_checksum_ok(img, 12, &buf.raw));
		assert_int_equal(dafs_icodec_blocks512(img, &buf.raw), blocks);
		scratch_ok(dafs_icodec_decode(img, 12, &buf.raw, &out));
		assert_int_equal(out.mode, in.mode);
		assert_int_equal(out.uid, in.uid);
		assert_int_equal(out.gid, in.gid);
		assert_int_equal(out.nlink, in.nlink);
		assert_int_equal(out.generation, in.generation);
		assert_int_equal(out.projid, in.projid);
		assert_int_equal(out.size, in.size);
		assert_int_equal(out.iflags & ~(uint32_t)DAFS_ICODEC_BODY_FLAGS, in.iflags);
		assert_true(out.iflags & EXT4_EXTENTS_FL);
		if (dafs_inode_is_dev(&in)) {
			assert_int_equal(out.rdev_major, in.rdev_major);
			assert_int_equal(out.rdev_minor, in.rdev_minor);
		}
		assert_time(out.atime, in.atime);
		assert_time(out.mtime, in.mtime);
		assert_time(out.ctime, in.ctime);
		assert_time(out.crtime, in.crtime);
	}
}

static void test_round_trip(void **state)
{
	struct fx fx;
	(void)state;

	fx_make(&fx, "round.img", "-t ext4 -b 4096", "16M");
	for_seeds(4, round_trip, fx.img);
	fx_close(&fx);
}

/* What ext4 does at the ends: clamp, and whole seconds there. */
static void test_time_limits(void **state)
{
	static const struct {
		int64_t sec, large, small;
	} rows[] = {
		{ -1, -1, -1 },
		{ INT64_C(-0x80000001), INT32_MIN, INT32_MIN },
		{ INT64_MIN, INT32_MIN, INT32_MIN },
		{ INT64_C(0x7fffffff), INT64_C(0x7fffffff), INT32_MAX },
		{ INT64_C(0x80000000), INT64_C(0x80000000), INT32_MAX },
		{ INT64_C(0x37fffffff), INT64_C(0x37fffffff), INT32_MAX },
		{ INT64_C(0x380000000), INT64_C(0x37fffffff), INT32_MAX },
		{ INT64_MAX, INT64_C(0x37fffffff), INT32_MAX },
	};
	(void)state;

	for (int small = 0; small < 2; small++) {
		struct fx fx;

		fx_make(&fx, "times.img", small ? "-t ext4 -I 128" : "-t ext4", "16M");
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			struct dafs_inode in = { .ino = 12,
						 .state = DAFS_I_NEW,
						 .mode = S_IFREG,
						 .nlink = 1 },
					  out = { 0 };
			union dafs_inode_buf buf = { 0 };

			in.mtime = dafs_time_at(rows[i].sec, 5);
			scratch_ok(
				dafs_icodec_encode(fx.img, &in, 0, &buf.raw, fx.img->inode_size));
			scratch_ok(dafs_icodec_decode(fx.img, 12, &buf.raw, &out));
			assert_int_equal(dafs_time_sec(out.mtime),
					 small ? rows[i].small : rows[i].large);
			if (dafs_time_sec(out.mtime) != rows[i].sec || small)
				assert_int_equal(out.mtime.nsec, 0);
		}
		fx_close(&fx);
	}
}

static void test_refusals(void **state)
{
	struct dafs_inode in = { .ino = 12, .mode = S_IFREG | 0644, .nlink = 65001 }, out;
	union dafs_inode_buf buf = { 0 };
	struct fx fx;
	(void)state;

	fx_make(&fx, "refuse.img", "-t ext4 -O ^huge_file", "16M");
	assert_err(DAFS_ET_MLINK, dafs_icodec_encode(fx.img, &in, 0, &buf.raw, fx.img->inode_size));
	in.mode = S_IFDIR | 0755;
	scratch_ok(dafs_icodec_encode(fx.img, &in, 0, &buf.raw, fx.img->inode_size));
	assert_int_equal(buf.raw.i_links_count, 1);
	in.nlink = 2;
	assert_err(DAFS_ET_FILE_TOO_BIG, dafs_icodec_encode(fx.img, &in, UINT64_C(1) << 32,
							    &buf.raw, fx.img->inode_size));
	in.mode = S_IFCHR;
	in.rdev_minor = 1 << 20;
	assert_err(DAFS_ET_RANGE, dafs_icodec_encode(fx.img, &in, 0, &buf.raw, fx.img->inode_size));
	assert_err(DAFS_ET_INTERNAL, dafs_icodec_encode(fx.img, &in, 0, &buf.raw, 100));

	memset(&buf, 0, sizeof(buf));
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_icodec_decode(fx.img, 12, &buf.raw, &out));
	buf.raw.i_mode = S_IFREG;
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_icodec_decode(fx.img, 12, &buf.raw, &out));
	buf.raw.i_links_count = 1;
	scratch_ok(dafs_icodec_decode(fx.img, 12, &buf.raw, &out));
	buf.raw.i_extra_isize = 130;
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_icodec_decode(fx.img, 12, &buf.raw, &out));
	buf.raw.i_extra_isize = 132;
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_icodec_decode(fx.img, 12, &buf.raw, &out));
	buf.raw.i_extra_isize = 32;
	buf.raw.i_size_high = 0x80000000;
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_icodec_decode(fx.img, 12, &buf.raw, &out));
	fx_close(&fx);
}

/* A damaged inode is refused, and read when checksums are to be ignored. */
static void test_bad_checksum(void **state)
{
	union dafs_inode_buf buf;
	struct fx fx;
	uint64_t pblk;
	uint32_t off;
	uint8_t block[4096];
	(void)state;

	fx_make(&fx, "bad.img", "-t ext4 -b 4096", "16M");
	scratch_ok(dafs_icodec_locate(fx.img, 2, &pblk, &off, NULL));
	scratch_ok(dafs_image_read_blks(fx.img, pblk, 1, block));
	block[off + 200] ^= 1;
	scratch_ok(dafs_dev_write(fx.img->dev, block, sizeof(block), pblk * 4096));
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_icodec_read(fx.img, 2, &buf.raw, sizeof(buf)));
	fx_close(&fx);
	fx_open(&fx, fx.path, DAFS_IMAGE_IGNORE_CSUM);
	scratch_ok(dafs_icodec_read(fx.img, 2, &buf.raw, sizeof(buf)));
	fx_close(&fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locate_and_checksum), cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_time_limits), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bad_checksum),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
