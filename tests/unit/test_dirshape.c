/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What directories look like after an edit: linear or indexed, how full, how deep, and that an edit
 * touches no more than it must. */
#include "config.h"

#include "image/dircodec.h"

#include <errno.h>

#include "dir_batch.h"
#include "image/dirindex.h"

static unsigned index_levels(struct dir_fx *d)
{
	union dafs_inode_buf buf;
	struct dafs_dir dir;
	struct dafs_dx dx;
	unsigned levels;

	dir_fx_raw(d, &buf);
	scratch_ok(dafs_dir_open(d->fx.img, d->ino, &buf.raw, &dir));
	scratch_ok(dafs_dx_load(&dir, &dx));
	levels = dx.levels;
	dafs_dx_fini(&dx);
	dafs_dir_close(&dir);
	return levels;
}

/* One block while names fit, an htree after; leaves about nine tenths full; least levels. */
static void test_shapes(void **state)
{
	struct rng rng = { .state = 3 };
	union dafs_inode_buf buf;
	struct dir_fx d;
	struct dafs_dir dir;
	struct dafs_dx dx;
	uint64_t bytes = 0;
	struct dir_name *n, *tmp;
	(void)state;

	dir_fx_open(&d, "shapes.img", "-t ext4 -b 1024", NULL, "64M");
	make_dir(&rng, &d, 10, 1);
	assert_false(dir_fx_raw(&d, &buf).i_flags & EXT2_INDEX_FL);
	assert_int_equal(dir_fx_raw(&d, &buf).i_size, 1024);
	edit(&rng, &d, 200, 0, 1);
	assert_true(dir_fx_raw(&d, &buf).i_flags & EXT2_INDEX_FL);
	edit(&rng, &d, 6000, 0, 2);
	HASH_ITER(hh, d.names, n, tmp)
		bytes += dafs_dirblock_need(n->len);
	dir_fx_raw(&d, &buf);
	scratch_ok(dafs_dir_open(d.fx.img, d.ino, &buf.raw, &dir));
	scratch_ok(dafs_dx_load(&dir, &dx));
	assert_int_equal(dx.levels, 1);
	/* Names of some 230 bytes: four fill a leaf, and about nine tenths of one. */
	assert_in_range(bytes * 100 / dx.nleaves / 1012, 70, 95);
	dafs_dx_fini(&dx);
	dafs_dir_close(&dir);
	dir_fx_commit(&d);
	scratch_fsck(d.fx.path);
	dir_fx_close(&d);
}

/* Adding a name to a large directory touches its leaf, the inode and no more. */
static void test_small_edit(void **state)
{
	struct rng rng = { .state = 4 };
	struct dir_fx d;
	(void)state;

	dir_fx_open(&d, "small.img", "-t ext4 -b 4096", NULL, "64M");
	make_dir(&rng, &d, 20000, 0);
	dir_fx_commit(&d);
	scratch_ok(dafs_txn_begin(d.fx.img));
	edit(&rng, &d, 1, 0, 1);
	assert_in_range(dafs_txn_live_blks(d.fx.img), 2, 4);
	dir_fx_commit(&d);
	scratch_fsck(d.fx.path);
	dir_fx_close(&d);
}

/* Three levels of index where large_dir allows them; refused by name where not. */
static void test_levels(void **state)
{
	(void)state;

	for (int large = 0; large < 2; large++) {
		struct rng rng = { .state = 8 };
		struct batch b = { 0 };
		struct dafs_inode self = { 0 };
		struct dir_fx d;
		errcode_t err;

		dir_fx_open(&d, "levels.img",
			    large ? "-t ext4 -b 1024 -O large_dir,^has_journal"
				  : "-t ext4 -b 1024 -O ^large_dir",
			    NULL, "128M");
		make_dir(&rng, &d, 1000, 2);
		batch_adds(&rng, &d, 70000, 2, &b);
		err = dir_fx_apply(
			&d, &self,
			&(struct dafs_dirplan_req){ .ino = d.ino, .add = b.add, .nadd = b.nadd });
		if (large) {
			scratch_ok(err);
			assert_int_equal(index_levels(&d), 2);
			edit(&rng, &d, 5000, 10, 2);
			dir_fx_compare(&d);
			dir_fx_commit(&d);
			scratch_fsck(d.fx.path);
		} else {
			assert_int_equal(err, DAFS_ET_DIR_FULL);
		}
		batch_fini(&b);
		dir_fx_close(&d);
	}
}

/* lost+found as mke2fs makes it: several linear blocks, which stay, and stay linear while there
 * is room. */
static void test_preallocated(void **state)
{
	struct rng rng = { .state = 12 };
	union dafs_inode_buf buf;
	struct dir_fx d;
	uint32_t size;
	(void)state;

	dir_fx_open(&d, "lost.img", "-t ext4 -b 1024", NULL, "64M");
	d.ino = 11;
	size = dir_fx_raw(&d, &buf).i_size;
	assert_true(size > 4096);
	edit(&rng, &d, 200, 0, 1);
	dir_fx_compare(&d);
	assert_int_equal(dir_fx_raw(&d, &buf).i_size, size);
	assert_false(buf.raw.i_flags & EXT2_INDEX_FL);
	edit(&rng, &d, 0, 1, 1);
	assert_int_equal(HASH_COUNT(d.names), 0);
	assert_int_equal(dir_fx_raw(&d, &buf).i_size, size);
	edit(&rng, &d, 1500, 0, 1);
	assert_true(dir_fx_raw(&d, &buf).i_flags & EXT2_INDEX_FL);
	dir_fx_compare(&d);
	dir_fx_commit(&d);
	scratch_fsck(d.fx.path);
	dir_fx_close(&d);
}

/* b moves into a: ".." in every shape. */
static void test_move(void **state)
{
	static const struct {
		const char *options;
		uint32_t names;
	} rows[] = { { "-t ext4 -b 1024", 2 },
		     { "-t ext4 -b 1024", 900 },
		     { "-t ext4 -b 1024 -O ^dir_index", 900 },
		     { "-t ext4 -O inline_data", 2 },
		     { "-t ext4 -O ^metadata_csum", 3 } };
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rng rng = { .state = i };
		struct dafs_inode root = { 0 }, a = { 0 }, b = { 0 };
		struct dafs_dirent_del del = { "dir", 3 };
		struct dafs_dirent_add add = { "moved", 5, &b };
		union dafs_inode_buf buf;
		struct dir_fx d;
		uint32_t a_ino;

		dir_fx_open(&d, "move.img", rows[i].options, NULL, "32M");
		scratch_ok(dir_fx_mkdir(&d, EXT2_ROOT_INO, "a", 0, NULL, 0, &a_ino));
		make_dir(&rng, &d, rows[i].names, 1);
		a.ino = a_ino;
		scratch_ok(dir_fx_apply(&d, &b,
					&(struct dafs_dirplan_req){ .ino = d.ino, .dotdot = &a }));
		scratch_ok(dir_fx_apply(
			&d, &root, &(struct dafs_dirplan_req){ .ino = 2, .del = &del, .ndel = 1 }));
		scratch_ok(dir_fx_apply(
			&d, &a,
			&(struct dafs_dirplan_req){ .ino = a_ino, .add = &add, .nadd = 1 }));
		for (int k = 0; k < 2; k++) {
			uint32_t ino = k ? a_ino : EXT2_ROOT_INO;

			scratch_ok(dafs_icodec_read(d.fx.img, ino, &buf.raw, sizeof(buf)));
			buf.raw.i_links_count = (uint16_t)(buf.raw.i_links_count + (k ? 1 : -1));
			fx_write_inode(&d.fx, ino, &buf);
		}
		dir_fx_compare(&d);
		dir_fx_commit(&d);
		scratch_fsck(d.fx.path);
		dir_fx_close(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes), cmocka_unit_test(test_small_edit),
		cmocka_unit_test(test_levels), cmocka_unit_test(test_preallocated),
		cmocka_unit_test(test_move),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
