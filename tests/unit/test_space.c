/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * space: an image's free space as the allocators see it, against libext2fs' own bitmaps; then every
 * free block and inode of the image is handed out once.
 */
#include "config.h"

#include "alloc/ialloc.h"
#include "alloc/mballoc.h"
#include "image/group.h"

#include "scratch.h"

static ext2_filsys open_reference(const char *path)
{
	ext2_filsys fs;

	scratch_ok(ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs));
	scratch_ok(ext2fs_read_bitmaps(fs));
	return fs;
}

/* All data space in one request: its pieces are the free blocks, no more, no less. */
static void take_all_blocks(struct dafs_image *img, ext2_filsys fs)
{
	struct dafs_alloc_req req = { .flags = DAFS_ALLOC_DATA, .ino = 12 };
	struct dafs_extlist xl = { 0 };
	struct dafs_space space;
	struct dafs_mballoc *ma;
	uint64_t free_blks;

	dafs_space_of_image(img, &space);
	scratch_ok(dafs_mballoc_new(&scratch_ctx, &space, &ma));
	free_blks = dafs_mballoc_free_clusters(ma) << space.cluster_bits;
	assert_int_equal(free_blks, ext2fs_free_blocks_count(fs->super));
	req.len = (uint32_t)free_blks;
	scratch_ok(dafs_mballoc_place(ma, &req, &xl));
	assert_int_equal(dafs_mballoc_free_clusters(ma), 0);
	for (size_t i = 0; i < xl.n; i++) {
		for (uint32_t b = 0; b < xl.v[i].len; b++) {
			assert_true(xl.v[i].pblk + b < img->blocks);
			assert_false(ext2fs_test_block_bitmap2(fs->block_map, xl.v[i].pblk + b));
		}
		assert_true(dafs_image_data_range_ok(img, xl.v[i].pblk, xl.v[i].len));
	}
	dafs_extlist_fini(&xl);
	dafs_mballoc_free(ma);
}

static void take_all_inodes(struct dafs_image *img, ext2_filsys fs)
{
	uint32_t last = 0, n = 0, ino;
	struct dafs_ispace space;
	struct dafs_ialloc *ia;

	dafs_ispace_of_image(img, &space);
	scratch_ok(dafs_ialloc_new(&scratch_ctx, &space, &ia));
	for (; !dafs_ialloc_pick(ia, EXT2_ROOT_INO, &ino); n++) {
		assert_true(ino > last && ino <= fs->super->s_inodes_count);
		assert_false(ext2fs_test_inode_bitmap2(fs->inode_map, ino));
		last = ino;
	}
	assert_int_equal(n, fs->super->s_free_inodes_count);
	dafs_ialloc_free(ia);
}

static void test_all_is_handed_out(void **state)
{
	static const struct {
		const char *opts, *size;
	} sets[] = {
		{ "-t ext4 -b 4096", "300M" },
		{ "-t ext4 -b 1024 -g 1024", "30M" },
		{ "-t ext4 -b 1024 -O ^has_journal,^flex_bg", "33333k" },
		{ "-t ext4 -b 4096 -O bigalloc -C 65536", "200M" },
		{ "-t ext4 -b 1024 -O bigalloc,^has_journal -C 16384", "50M" },
		{ "-t ext2 -b 2048", "40M" },
		{ "-t ext4 -b 4096 -O meta_bg,^resize_inode -G 4", "1G" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		const char *path = scratch_mke2fs("space.img", sets[i].opts, sets[i].size);
		struct dafs_image *img;
		ext2_filsys fs = open_reference(path);

		scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
		take_all_blocks(img, fs);
		take_all_inodes(img, fs);
		dafs_image_close(img);
		ext2fs_free(fs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_handed_out),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
