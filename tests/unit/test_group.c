/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups against libext2fs over many layouts: bitmaps, counts, static metadata; changes through a
 * commit and back. */
#include "config.h"

#include "image/group.h"

#include "image/txn.h"
#include "scratch.h"

static const struct {
	const char *options, *size;
} layouts[] = {
	{ "-t ext4", "200M" },
	{ "-t ext4 -b 1024", "70M" },
	{ "-t ext4 -b 2048 -O ^64bit", "130M" },
	{ "-t ext4 -O ^flex_bg", "300M" },
	{ "-t ext4 -O ^metadata_csum,uninit_bg", "300M" },
	{ "-t ext4 -O ^metadata_csum,uninit_bg,^flex_bg -b 1024", "60M" },
	{ "-t ext4 -O ^metadata_csum,^uninit_bg,^flex_bg", "300M" },
	{ "-t ext4 -O meta_bg,^resize_inode -b 1024", "100M" },
	{ "-t ext4 -O sparse_super2 -b 1024", "100M" },
	{ "-t ext4 -O ^sparse_super,^resize_inode -b 1024", "60M" },
	{ "-t ext4 -O bigalloc -C 65536", "1G" },
	{ "-t ext4 -O bigalloc -b 1024 -C 16384", "400M" },
	{ "-t ext4 -G 4 -b 1024", "100M" },
	{ "-t ext4 -b 1024 -g 1024", "20M" },
	{ "-t ext2 -b 1024", "20M" },
	{ "-t ext3", "150M" },
	{ "-t ext4 -I 128 -N 100", "50M" },
	{ "-t ext4 -O mmp", "300M" },
	{ "-t ext4 -b 4096", "33000" },
	{ "-t ext4 -b 1024", "8200" },
	{ "-t ext4 -E lazy_itable_init=0 -O ^has_journal", "256M" },
};

static bool fs_bit(ext2fs_generic_bitmap map, uint64_t at)
{
	return ext2fs_test_generic_bmap(map, at) != 0;
}

static void compare_bits(struct dafs_image *img, ext2_filsys fs)
{
	uint64_t free_clusters = 0, free_inodes = 0;

	for (uint32_t grp = 0; grp < dafs_group_count(img); grp++) {
		uint64_t first = dafs_group_first_pblk(img, grp);
		const uint8_t *bits;

		scratch_ok(dafs_group_block_bits(img, grp, &bits));
		for (uint32_t c = 0; c < dafs_group_clusters(img, grp); c++) {
			bool used = bits[c >> 3] >> (c & 7) & 1;

			free_clusters += !used;
			if (used !=
			    fs_bit(fs->block_map, first + ((uint64_t)c << img->cluster_bits)))
				fail_msg("group %u cluster %u", grp, c);
		}
		scratch_ok(dafs_group_inode_bits(img, grp, &bits));
		for (uint32_t i = 0; i < fs->super->s_inodes_per_group; i++) {
			bool used = bits[i >> 3] >> (i & 7) & 1;

			free_inodes += !used;
			if (used !=
			    fs_bit(fs->inode_map, grp * fs->super->s_inodes_per_group + i + 1))
				fail_msg("group %u inode %u", grp, i);
		}
	}
	assert_int_equal(free_clusters, dafs_group_total_free_clusters(img));
	assert_int_equal(free_inodes, dafs_group_total_free_inodes(img));
	assert_true(dafs_groups_verify(img));
}

static void compare_layout(const char *path)
{
	struct dafs_image *img;
	ext2_filsys fs;

	scratch_ok(ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs));
	scratch_ok(ext2fs_read_bitmaps(fs));
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	compare_bits(img, fs);
	dafs_image_close(img);
	ext2fs_close_free(&fs);
}

static void test_layouts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		compare_layout(scratch_mke2fs("layout.img", layouts[i].options, layouts[i].size));
}

/* First free run of the group, at most max clusters; len 0: none. */
static uint32_t free_run(struct dafs_image *img, uint32_t grp, uint32_t max, uint32_t *start)
{
	const uint8_t *bits;
	uint32_t c = 0, n = 0, count = dafs_group_clusters(img, grp);

	scratch_ok(dafs_group_block_bits(img, grp, &bits));
	while (c < count && bits[c >> 3] >> (c & 7) & 1)
		c++;
	*start = c;
	for (; c + n < count && n < max && !(bits[(c + n) >> 3] >> ((c + n) & 7) & 1); n++)
		;
	return n;
}

/* In every group, take (or give back what was taken): a run of blocks, its last inode and one in
 * the middle. */
static void flip_all(struct dafs_image *img, uint64_t *taken, bool take)
{
	uint32_t per_group = img->fs->super->s_inodes_per_group;

	for (uint32_t grp = 0; grp < dafs_group_count(img); grp++) {
		uint32_t ino = grp * per_group + per_group, start, n;
		uint64_t pblk;

		if (take) {
			n = free_run(img, grp, 100, &start);
			pblk = dafs_group_first_pblk(img, grp) +
			       ((uint64_t)start << img->cluster_bits);
			taken[2 * grp] = pblk;
			taken[2 * grp + 1] = (uint64_t)n << img->cluster_bits;
			if (n)
				scratch_ok(dafs_group_take_blks(img, pblk, taken[2 * grp + 1]));
			scratch_ok(dafs_group_take_inode(img, ino, true));
			scratch_ok(dafs_group_take_inode(img, ino - per_group / 4, false));
			continue;
		}
		if (taken[2 * grp + 1])
			scratch_ok(dafs_group_give_blks(img, taken[2 * grp], taken[2 * grp + 1]));
		scratch_ok(dafs_group_give_inode(img, ino, true));
		scratch_ok(dafs_group_give_inode(img, ino - per_group / 4, false));
	}
	assert_true(dafs_groups_verify(img));
}

static void change_and_back(const char *path)
{
	struct dafs_image *img;
	uint64_t free_clusters, free_inodes, *taken;
	const uint8_t *bits;
	uint8_t before;

	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	taken = calloc(2 * (size_t)dafs_group_count(img), sizeof(*taken));
	free_clusters = dafs_group_total_free_clusters(img);
	free_inodes = dafs_group_total_free_inodes(img);

	/* Dropped: nothing changes. */
	scratch_ok(dafs_txn_begin(img));
	flip_all(img, taken, true);
	assert_true(dafs_group_total_free_inodes(img) < free_inodes);
	scratch_ok(dafs_group_block_bits(img, 0, &bits));
	before = bits[(taken[0] - dafs_group_first_pblk(img, 0)) >> img->cluster_bits >> 3];
	dafs_txn_abort(img);
	assert_int_equal(dafs_group_total_free_clusters(img), free_clusters);
	assert_int_equal(dafs_group_total_free_inodes(img), free_inodes);
	assert_true(dafs_groups_verify(img));

	/* Committed: as libext2fs reads it, and again after opening anew. */
	scratch_ok(dafs_txn_begin(img));
	flip_all(img, taken, true);
	scratch_ok(dafs_txn_commit(img, NULL, 0));
	scratch_ok(dafs_group_block_bits(img, 0, &bits));
	assert_int_not_equal(
		before, bits[(taken[0] - dafs_group_first_pblk(img, 0)) >> img->cluster_bits >> 3]);
	dafs_image_close(img);
	compare_layout(path);

	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	scratch_ok(dafs_txn_begin(img));
	flip_all(img, taken, false);
	scratch_ok(dafs_txn_commit(img, NULL, 0));
	assert_int_equal(dafs_group_total_free_clusters(img), free_clusters);
	assert_int_equal(dafs_group_total_free_inodes(img), free_inodes);
	dafs_image_close(img);
	free(taken);
	compare_layout(path);
	scratch_fsck(path);
}

static void test_changes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		/* Taking the MMP block would wait for eleven seconds a time. */
		if (strstr(layouts[i].options, "mmp"))
			continue;
		change_and_back(scratch_mke2fs("change.img", layouts[i].options, layouts[i].size));
	}
}

static void test_wrong_state(void **state)
{
	const char *path = scratch_mke2fs("wrong.img", "-t ext4", "64M");
	struct dafs_image *img;
	uint32_t start;
	uint64_t pblk;
	(void)state;

	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	scratch_ok(dafs_txn_begin(img));
	assert_true(free_run(img, 0, 10, &start) == 10);
	pblk = dafs_group_first_pblk(img, 0) + start;
	assert_err(DAFS_ET_INTERNAL, dafs_group_give_blks(img, pblk, 1));
	assert_err(DAFS_ET_INTERNAL, dafs_group_take_blks(img, 0, 1));
	assert_err(DAFS_ET_INTERNAL, dafs_group_take_blks(img, img->blocks - 1, 2));
	assert_err(DAFS_ET_INTERNAL, dafs_group_take_inode(img, 2, true));
	assert_err(DAFS_ET_INTERNAL, dafs_group_take_inode(img, 0, true));
	assert_err(DAFS_ET_INTERNAL, dafs_group_give_inode(img, 500, false));
	scratch_ok(dafs_group_take_blks(img, pblk, 10));
	assert_err(DAFS_ET_INTERNAL, dafs_group_take_blks(img, pblk + 9, 2));
	dafs_image_close(img);
	scratch_fsck(path);
}

static void test_data_ranges(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		const char *path =
			scratch_mke2fs("ranges.img", layouts[i].options, layouts[i].size);
		struct dafs_image *img;
		const uint8_t *bits;

		/* What is free is never metadata. */
		scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
		for (uint32_t grp = 0; grp < dafs_group_count(img); grp++) {
			scratch_ok(dafs_group_block_bits(img, grp, &bits));
			for (uint32_t c = 0; c < dafs_group_clusters(img, grp); c++) {
				uint64_t pblk = dafs_group_first_pblk(img, grp) +
						((uint64_t)c << img->cluster_bits);

				if (!(bits[c >> 3] >> (c & 7) & 1) &&
				    pblk + (1u << img->cluster_bits) <= img->blocks)
					assert_true(dafs_image_data_range_ok(
						img, pblk, 1u << img->cluster_bits));
			}
			assert_false(
				dafs_image_data_range_ok(img, dafs_group_itable_pblk(img, grp), 1));
			assert_false(dafs_image_data_range_ok(
				img, ext2fs_block_bitmap_loc(img->fs, grp), 1));
		}
		assert_false(dafs_image_data_range_ok(img, 1024 / img->block_size, 1));
		assert_false(dafs_image_data_range_ok(img, img->blocks - 1, 2));
		assert_false(dafs_image_data_range_ok(img, UINT64_MAX, 2));
		dafs_image_close(img);
	}
}

static void test_damaged_bitmap(void **state)
{
	const char *path = scratch_mke2fs("damaged.img", "-t ext4 -b 1024", "32M");
	struct dafs_image *img;
	const uint8_t *bits;
	uint64_t pblk;
	(void)state;

	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	pblk = ext2fs_block_bitmap_loc(img->fs, 0);
	dafs_image_close(img);
	assert_int_equal(
		scratch_run("printf '\\0' | dd of='%s' bs=1 seek=%llu conv=notrunc 2>/dev/null",
			    path, (unsigned long long)pblk * 1024 + 20),
		0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_err(DAFS_ET_CORRUPT_BITMAP, dafs_group_block_bits(img, 0, &bits));
	assert_null(bits);
	assert_non_null(strstr(scratch_ctx.detail, "group 0"));
	scratch_ok(dafs_group_inode_bits(img, 0, &bits));
	assert_err(DAFS_ET_RANGE, dafs_group_block_bits(img, 99, &bits));
	dafs_image_close(img);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_IGNORE_CSUM, 0, 0, &img));
	scratch_ok(dafs_group_block_bits(img, 0, &bits));
	dafs_image_close(img);
}

/* A group in use, whose descriptor says that its bitmaps were never written. */
static void test_falsely_uninit(void **state)
{
	const char *path = scratch_mke2fs("uninit.img", "-t ext4 -b 1024", "32M");
	struct dafs_image *img;
	const uint8_t *bits;
	(void)state;

	assert_int_equal(scratch_run("printf 'set_bg 0 flags 3\\nset_bg 0 checksum calc\\n' | "
				     "/sbin/debugfs -w -f - '%s' >/dev/null 2>&1",
				     path),
			 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_err(DAFS_ET_CORRUPT_BITMAP, dafs_group_block_bits(img, 0, &bits));
	assert_null(bits);
	assert_non_null(strstr(scratch_ctx.detail, "group 0: block bitmap"));
	assert_err(DAFS_ET_CORRUPT_BITMAP, dafs_group_inode_bits(img, 0, &bits));
	assert_null(bits);
	dafs_image_close(img);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),	       cmocka_unit_test(test_changes),
		cmocka_unit_test(test_wrong_state),    cmocka_unit_test(test_data_ranges),
		cmocka_unit_test(test_damaged_bitmap), cmocka_unit_test(test_falsely_uninit),
	};

	return cmocka_run_group_tests_name("group", tests, scratch_setup, scratch_teardown);
}
