/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extent trees against random lists and against libext2fs; block maps; damaged nodes. */
#include "config.h"

#include "image/etree.h"

#include <fcntl.h>

#include "base/crc32c.h"
#include "codec_fx.h"
#include "image/etree_int.h"

#define INO 12u

struct tree {
	struct dafs_extlist xl;
	struct dafs_blklist nodes;
	union dafs_inode_buf buf;
};

static void tree_fini(struct tree *t)
{
	dafs_extlist_fini(&t->xl);
	dafs_blklist_fini(&t->nodes);
}

static void tree_init(struct tree *t)
{
	memset(t, 0, sizeof(*t));
	t->buf.raw.i_mode = S_IFREG | 0644;
	t->buf.raw.i_links_count = 1;
	t->buf.raw.i_generation = 4711;
	t->buf.raw.i_extra_isize = 32;
}

/* n extents in random places with random gaps. Physical blocks need not be free: nothing is
 * written there. */
static void random_list(struct rng *rng, struct fx *fx, uint32_t n, struct dafs_extlist *xl)
{
	uint64_t room = fx->img->blocks - 20000;
	uint32_t lblk = rng_below(rng, 3);

	xl->n = 0;
	while (xl->n < n) {
		uint32_t len = rng_len(rng, 900);
		uint64_t pblk = 10000 + (rng_below(rng, (uint32_t)(room - len)));

		if (!dafs_image_data_range_ok(fx->img, pblk, len))
			continue;
		scratch_ok(dafs_extlist_append(xl, pblk, lblk, len, rng_below(rng, 4) == 0));
		lblk += len + (rng_below(rng, 2) ? rng_len(rng, 100000) : 0);
	}
}

static void assert_lists(const struct dafs_extlist *a, const struct dafs_extlist *b)
{
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		assert_int_equal(a->v[i].lblk, b->v[i].lblk);
		assert_int_equal(a->v[i].len, b->v[i].len);
		assert_int_equal(a->v[i].pblk, b->v[i].pblk);
		assert_int_equal(a->v[i].unwritten, b->v[i].unwritten);
	}
}

/* Random places looked up, extents' edges too, against the list. */
static void compare_lookups(struct rng *rng, struct fx *fx, const struct tree *t)
{
	for (int n = 0; n < 60 && t->xl.n; n++) {
		const struct dafs_extent *near = &t->xl.v[rng_below(rng, (uint32_t)t->xl.n)];
		uint32_t lblk = near->lblk + rng_below(rng, near->len + 3) -
				(rng_below(rng, 2) && near->lblk);
		size_t i = dafs_extlist_search(&t->xl, lblk);
		struct dafs_extent got;
		bool hole;

		scratch_ok(dafs_etree_lookup(fx->img, INO, &t->buf.raw, lblk, &got, &hole));
		if (i < t->xl.n && t->xl.v[i].lblk <= lblk) {
			assert_false(hole);
			assert_int_equal(got.lblk, t->xl.v[i].lblk);
			assert_int_equal(got.len, t->xl.v[i].len);
			assert_int_equal(got.pblk, t->xl.v[i].pblk);
			continue;
		}
		assert_true(hole);
		assert_int_equal(got.pblk, 0);
		assert_true(got.lblk <= lblk && lblk < got.lblk + got.len);
		if (i < t->xl.n)
			assert_true(got.lblk + got.len <= t->xl.v[i].lblk);
		if (i > 0)
			assert_true(got.lblk >= t->xl.v[i - 1].lblk + t->xl.v[i - 1].len);
	}
}

/* What libext2fs says of the same inode, read from the file after the commit. */
static void compare_libext2fs(struct fx *fx, const struct tree *t)
{
	struct ext2fs_extent ext;
	ext2_extent_handle_t h;
	ext2_filsys fs;
	size_t i = 0;
	int op = EXT2_EXTENT_ROOT;
	errcode_t err;

	assert_ok(ext2fs_open(fx->path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs));
	assert_ok(ext2fs_extent_open2(fs, INO, (struct ext2_inode *)(uintptr_t)&t->buf.raw, &h));
	for (; !(err = ext2fs_extent_get(h, op, &ext)); op = EXT2_EXTENT_NEXT) {
		if (!(ext.e_flags & EXT2_EXTENT_FLAGS_LEAF) ||
		    (ext.e_flags & EXT2_EXTENT_FLAGS_SECOND_VISIT))
			continue;
		assert_true(i < t->xl.n);
		assert_int_equal(ext.e_lblk, t->xl.v[i].lblk);
		assert_int_equal(ext.e_len, t->xl.v[i].len);
		assert_int_equal(ext.e_pblk, t->xl.v[i].pblk);
		assert_int_equal(!!(ext.e_flags & EXT2_EXTENT_FLAGS_UNINIT), t->xl.v[i].unwritten);
		i++;
	}
	/* How an iteration ends; a tree without extents has no root to begin with. */
	assert_int_equal(err, EXT2_ET_EXTENT_NO_NEXT);
	assert_int_equal(i, t->xl.n);
	ext2fs_extent_free(h);
	ext2fs_free(fs);
}

/* Write the list over the tree there is, read it back. */
static void write_and_compare(struct rng *rng, struct fx *fx, struct tree *t)
{
	struct dafs_extlist back = { 0 };
	struct dafs_blklist nodes = { 0 };

	scratch_ok(dafs_txn_begin(fx->img));
	fx_map(fx, INO, &t->xl, &t->nodes, &t->buf);
	fx_write_inode(fx, INO, &t->buf);
	fx_commit(fx);
	scratch_ok(dafs_etree_decode(fx->img, INO, &t->buf.raw, &back, &nodes));
	assert_lists(&back, &t->xl);
	assert_int_equal(nodes.n, t->nodes.n);
	assert_memory_equal(nodes.v, t->nodes.v, nodes.n * sizeof(*nodes.v));
	compare_lookups(rng, fx, t);
	dafs_extlist_fini(&back);
	dafs_blklist_fini(&nodes);
}

static void random_trees(struct rng *rng, void *arg)
{
	/* With blocks of 1K: 84 to a node, so that 337 extents need two levels. */
	static const uint32_t sizes[] = { 1, 4, 5, 84, 85, 336, 337, 800, 3000, 3, 500, 0 };
	struct fx *fx = arg;
	struct tree t;

	tree_init(&t);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		random_list(rng, fx, sizes[i], &t.xl);
		write_and_compare(rng, fx, &t);
		assert_int_equal(((struct dafs_etree_header *)t.buf.raw.i_block)->depth,
				 sizes[i] <= 4 ? 0 : sizes[i] <= 336 ? 1 : 2);
		compare_libext2fs(fx, &t);
	}
	tree_fini(&t);
}

static void test_random_trees(void **state)
{
	struct fx fx;
	(void)state;

	fx_make(&fx, "trees.img", "-t ext4 -b 1024 -O ^has_journal", "256M");
	for_seeds(3, random_trees, &fx);
	fx_close(&fx);
}

/* Appending one extent writes the last leaf and nothing else that is live. */
static void test_unchanged_blocks(void **state)
{
	struct rng rng = { .state = 99 };
	struct fx fx;
	struct tree t;
	uint32_t end;
	(void)state;

	fx_make(&fx, "same.img", "-t ext4 -b 1024", "256M");
	tree_init(&t);
	random_list(&rng, &fx, 1000, &t.xl);
	write_and_compare(&rng, &fx, &t);
	scratch_ok(dafs_txn_begin(fx.img));
	scratch_ok(dafs_etree_encode(fx.img, INO, 4711, &t.xl, &t.nodes, t.nodes.n, &t.buf.raw));
	assert_int_equal(dafs_txn_live_blks(fx.img), 0);
	end = t.xl.v[t.xl.n - 1].lblk + t.xl.v[t.xl.n - 1].len;
	scratch_ok(dafs_extlist_append(&t.xl, 100000, end + 5, 1, false));
	scratch_ok(dafs_etree_encode(fx.img, INO, 4711, &t.xl, &t.nodes, t.nodes.n, &t.buf.raw));
	assert_int_equal(dafs_txn_live_blks(fx.img), 1);
	assert_err(DAFS_ET_INTERNAL, dafs_etree_encode(fx.img, INO, 4711, &t.xl, &t.nodes,
						       t.nodes.n + 1, &t.buf.raw));
	dafs_txn_abort(fx.img);
	tree_fini(&t);
	fx_close(&fx);
}

/* The longest extents there are, at the end of what a file may have. */
static void test_limits(void **state)
{
	struct dafs_extlist back = { 0 };
	struct dafs_blklist none = { 0 };
	struct dafs_extent ext;
	struct tree t;
	struct fx fx;
	bool hole;
	(void)state;

	fx_make(&fx, "limits.img",
		"-t ext4 -b 1024 -O sparse_super2,^resize_inode -E num_backup_sb=0", "256M");
	tree_init(&t);
	scratch_ok(dafs_extlist_append(&t.xl, 150000, 7, 32768, false));
	scratch_ok(dafs_extlist_append(&t.xl, 200000, 7 + 32768, 32767, true));
	scratch_ok(dafs_extlist_append(&t.xl, 240000, 0xFFFFFFFEu, 1, false));
	scratch_ok(dafs_etree_encode(fx.img, INO, 4711, &t.xl, &none, 0, &t.buf.raw));
	scratch_ok(dafs_etree_decode(fx.img, INO, &t.buf.raw, &back, NULL));
	assert_lists(&back, &t.xl);
	scratch_ok(dafs_etree_lookup(fx.img, INO, &t.buf.raw, 0, &ext, &hole));
	assert_true(hole && ext.lblk == 0 && ext.len == 7);
	scratch_ok(dafs_etree_lookup(fx.img, INO, &t.buf.raw, 3000000000u, &ext, &hole));
	assert_true(hole && ext.lblk <= 3000000000u && ext.lblk + ext.len > 3000000000u);
	scratch_ok(dafs_etree_lookup(fx.img, INO, &t.buf.raw, 0xFFFFFFFEu, &ext, &hole));
	assert_true(!hole && ext.pblk == 240000);
	assert_err(DAFS_ET_RANGE,
		   dafs_etree_lookup(fx.img, INO, &t.buf.raw, 0xFFFFFFFFu, &ext, &hole));
	dafs_extlist_fini(&back);
	tree_fini(&t);
	fx_close(&fx);
}

/* ---- block maps ---- */

static int take_block(ext2_filsys fs, blk64_t *pblk, e2_blkcnt_t lblk, blk64_t ref, int offset,
		      void *arg)
{
	(void)fs;
	(void)ref;
	(void)offset;
	if (lblk >= 0)
		scratch_ok(dafs_extlist_append(arg, *pblk, (uint32_t)lblk, 1, false));
	return 0;
}

/* A sparse file that reaches into the triple indirect block, made by debugfs, against libext2fs'
 * iterator. */
static void compare_map(struct fx *fx, uint32_t ino)
{
	struct dafs_extlist mine = { 0 }, theirs = { 0 };
	struct dafs_blklist nodes = { 0 };
	union dafs_inode_buf buf;
	uint64_t end;

	scratch_ok(dafs_icodec_read(fx->img, ino, &buf.raw, sizeof(buf)));
	scratch_ok(dafs_etree_decode(fx->img, ino, &buf.raw, &mine, &nodes));
	assert_ok(ext2fs_block_iterate3(fx->img->fs, ino, BLOCK_FLAG_READ_ONLY, NULL, take_block,
					&theirs));
	assert_lists(&mine, &theirs);
	assert_true(nodes.n >= 3);
	assert_true(mine.n > 12);
	end = mine.v[mine.n - 1].lblk + mine.v[mine.n - 1].len;
	for (uint64_t lblk = 0; lblk < end + 1000; lblk += lblk < 3000 ? 1 : 401) {
		struct dafs_extent ext;
		blk64_t pblk = 0;
		bool hole;

		scratch_ok(dafs_etree_lookup(fx->img, ino, &buf.raw, (uint32_t)lblk, &ext, &hole));
		assert_ok(ext2fs_bmap2(fx->img->fs, ino, NULL, NULL, 0, lblk, NULL, &pblk));
		assert_true(ext.lblk <= lblk && lblk - ext.lblk < ext.len);
		assert_int_equal(hole ? 0 : ext.pblk + (lblk - ext.lblk), pblk);
	}
	dafs_extlist_fini(&mine);
	dafs_extlist_fini(&theirs);
	dafs_blklist_fini(&nodes);
}

static void test_block_map(void **state)
{
	const char *path = scratch_mke2fs("map.img", "-t ext2 -b 1024", "64M"),
		   *src = scratch_path("sparse");
	struct fx fx;
	(void)state;

	assert_int_equal(
		scratch_run("for at in 0 1 2 5 11 12 13 100 266 267 268 269 300 4000 4001 65803 "
			    "65804 65805 70000 "
			    "131339 131340 200000 200001 200002 200003 200005 300000 700000; do "
			    "printf 'block %%s' $at | dd of=%s bs=1K seek=$at conv=notrunc "
			    "2>/dev/null || exit; done",
			    src),
		0);
	assert_int_equal(scratch_run("debugfs -w -R 'write %s f' %s >/dev/null 2>&1", src, path),
			 0);
	scratch_fsck(path);
	fx_open(&fx, path, 0);
	compare_map(&fx, INO);
	fx_close(&fx);
}

/* ---- damage ---- */

/* Any bytes in a node, checksums set right: no crash, no hang; and what is accepted is a sound
 * list. */
static void damage_nodes(struct rng *rng, void *arg)
{
	struct fx *fx = arg;
	struct tree t;

	tree_init(&t);
	random_list(rng, fx, 700, &t.xl);
	write_and_compare(rng, fx, &t);
	for (uint32_t n = test_steps(150, 20000); n; n--) {
		uint64_t pblk = t.nodes.v[rng_below(rng, (uint32_t)t.nodes.n)];
		struct dafs_extlist back = { 0 };
		struct dafs_extent ext;
		uint8_t *block;
		struct dafs_etree_header *hdr;
		bool hole;
		errcode_t err;

		scratch_ok(dafs_txn_begin(fx->img));
		scratch_ok(dafs_txn_get(fx->img, pblk, true, &block));
		hdr = (struct dafs_etree_header *)block;
		fx_damage(rng, block, rng_below(rng, 2) ? 36 : 1020);
		if (hdr->max <= 84)
			*dafs_etree_tail(hdr) = dafs_crc32c(dafs_icodec_seed(fx->img, INO, 4711),
							    block, 12 + 12u * hdr->max);
		err = dafs_etree_decode(fx->img, INO, &t.buf.raw, &back, NULL);
		assert_true(!err || err == DAFS_ET_CORRUPT_EXTENT);
		assert_true(dafs_extlist_verify(&back));
		dafs_etree_lookup(fx->img, INO, &t.buf.raw, rng_below(rng, 50000000), &ext, &hole);
		dafs_extlist_fini(&back);
		dafs_txn_abort(fx->img);
	}
	tree_fini(&t);
}

static void test_damaged_nodes(void **state)
{
	struct fx fx;
	(void)state;

	fx_make(&fx, "damage.img", "-t ext4 -b 1024", "256M");
	for_seeds(3, damage_nodes, &fx);
	fx_close(&fx);
}

/* A node that is its own child, one child under two keys, a depth that lies. */
static void test_loops(void **state)
{
	struct dafs_extlist back = { 0 };
	struct rng rng = { .state = 5 };
	struct dafs_etree_header *root, *node;
	struct dafs_etree_entry *e;
	uint8_t *block;
	struct tree t;
	struct fx fx;
	(void)state;

	fx_make(&fx, "loops.img", "-t ext4 -b 1024 -O ^metadata_csum", "256M");
	tree_init(&t);
	random_list(&rng, &fx, 400, &t.xl);
	write_and_compare(&rng, &fx, &t);
	root = (struct dafs_etree_header *)t.buf.raw.i_block;
	e = dafs_etree_entries(root);
	assert_int_equal(root->depth, 2);

	scratch_ok(dafs_txn_begin(fx.img));
	scratch_ok(dafs_txn_get(fx.img, dafs_etree_child(&e[0]), true, &block));
	node = (struct dafs_etree_header *)block;
	dafs_etree_entries(node)[1].index.child_lo = dafs_etree_entries(node)[0].index.child_lo;
	assert_err(DAFS_ET_CORRUPT_EXTENT, dafs_etree_decode(fx.img, INO, &t.buf.raw, &back, NULL));
	dafs_etree_entries(node)[0].index.child_lo = e[0].index.child_lo;
	assert_err(DAFS_ET_CORRUPT_EXTENT, dafs_etree_decode(fx.img, INO, &t.buf.raw, &back, NULL));
	node->depth = 2;
	assert_err(DAFS_ET_CORRUPT_EXTENT, dafs_etree_decode(fx.img, INO, &t.buf.raw, &back, NULL));
	dafs_txn_abort(fx.img);

	root->depth = 6;
	assert_err(DAFS_ET_CORRUPT_EXTENT, dafs_etree_decode(fx.img, INO, &t.buf.raw, &back, NULL));
	root->depth = 2;
	root->entries = 5;
	assert_err(DAFS_ET_CORRUPT_EXTENT, dafs_etree_decode(fx.img, INO, &t.buf.raw, &back, NULL));
	root->entries = 0;
	assert_err(DAFS_ET_CORRUPT_EXTENT, dafs_etree_decode(fx.img, INO, &t.buf.raw, &back, NULL));
	dafs_extlist_fini(&back);
	tree_fini(&t);
	fx_close(&fx);
}

/* Indirect blocks that name each other or themselves a thousand times. */
static void test_map_loops(void **state)
{
	struct dafs_extlist xl = { 0 };
	union dafs_inode_buf buf = { 0 };
	uint32_t table[256], a, b;
	struct fx fx;
	(void)state;

	fx_make(&fx, "maploop.img", "-t ext2 -b 1024", "64M");
	scratch_ok(dafs_txn_begin(fx.img));
	a = (uint32_t)fx_take_block(&fx);
	b = (uint32_t)fx_take_block(&fx);
	buf.raw.i_mode = S_IFREG;
	for (int i = 0; i < 256; i++)
		table[i] = b;
	scratch_ok(dafs_txn_put_new(fx.img, a, 1, table));
	scratch_ok(dafs_txn_put_new(fx.img, b, 1, table));
	for (int i = 13; i < 15; i++) {
		memset(buf.raw.i_block, 0, sizeof(buf.raw.i_block));
		buf.raw.i_block[i] = a;
		assert_err(DAFS_ET_CORRUPT_EXTENT,
			   dafs_etree_decode(fx.img, INO, &buf.raw, &xl, NULL));
		assert_int_equal(xl.n, 0);
	}
	memset(buf.raw.i_block, 0, sizeof(buf.raw.i_block));
	buf.raw.i_block[0] = 0xFFFFFFF0u;
	assert_err(DAFS_ET_CORRUPT_EXTENT, dafs_etree_decode(fx.img, INO, &buf.raw, &xl, NULL));
	buf.raw.i_block[0] = 1;
	assert_err(DAFS_ET_CORRUPT_EXTENT, dafs_etree_decode(fx.img, INO, &buf.raw, &xl, NULL));
	dafs_txn_abort(fx.img);
	dafs_extlist_fini(&xl);
	fx_close(&fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_trees), cmocka_unit_test(test_unchanged_blocks),
		cmocka_unit_test(test_limits),       cmocka_unit_test(test_block_map),
		cmocka_unit_test(test_damaged_nodes), cmocka_unit_test(test_loops),
		cmocka_unit_test(test_map_loops),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
