/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole flushes, each followed by e2fsck -fn: new trees, growing directories, removal, attributes,
 * odd geometries, quota. */
#include "config.h"

#include "write_fixture.h"

static void set_target(struct dafs_inode *link, const char *target)
{
	link->u.target = strdup(target);
	link->size = strlen(target);
}

/* A little of everything, in one flush. */
static void tree(const char *options, const char *size)
{
	struct dafs_inode *d, *f, *l;
	char name[256], longer[301];

	wf_open(scratch_mke2fs("tree.img", options, size));
	d = wf_new(wf_root(), "dir", S_IFDIR | 0750);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "%0*d", 1 + i * 6, i);
		wf_fill(wf_new(d, name, S_IFREG | 0644), (size_t)i * i * 37 + 1, (uint32_t)i);
	}
	f = wf_new(wf_root(), "sparse", S_IFREG | 0600);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 1 << 20, "end", 3));
	scratch_ok(dafs_delalloc_write(&wf.w, f, 300000, "mid", 3));
	scratch_ok(dafs_delalloc_fallocate(&wf.w, f, 400000, 100000, true));
	l = wf_new(wf_root(), "fast", S_IFLNK | 0777);
	set_target(l, "dir/0");
	memset(longer, 'y', 300);
	longer[300] = 0;
	l = wf_new(wf_root(), "slow", S_IFLNK | 0777);
	set_target(l, longer);
	f = wf_new(wf_root(), "null", S_IFCHR | 0666);
	f->rdev_major = 1;
	f->rdev_minor = 3;
	wf_new(d, "pipe", S_IFIFO | 0600);
	f = wf_new(wf_root(), "hard", S_IFREG | 0644);
	wf_fill(f, 10, 3);
	f->nlink = 2;
	wf_name_add(d, "hard2", f, false);
	wf_flush();
	for (int i = 0; i < 40; i += 13) {
		snprintf(name, sizeof(name), "dir/%0*d", 1 + i * 6, i);
		wf_expect_fill(name, (size_t)i * i * 37 + 1, (uint32_t)i);
	}
	wf_expect_fill("dir/hard2", 10, 3);
	assert_true(wf_debugfs_has("stat slow", "Size: 300"));
	assert_true(wf_debugfs_has("stat fast", "Fast link dest: \"dir/0\""));
	assert_true(wf_debugfs_has("stat null", "Device major/minor number: 01:03"));
	wf_close();
}

static void test_tree_4k(void **state)
{
	(void)state;
	tree("-t ext4 -b 4096", "64M");
}

static void test_tree_1k(void **state)
{
	(void)state;
	tree("-t ext4 -b 1024", "32M");
}

static void test_tree_no_journal(void **state)
{
	(void)state;
	tree("-t ext4 -b 2048 -O ^has_journal", "32M");
}

static void test_tree_bigalloc(void **state)
{
	(void)state;
	tree("-t ext4 -b 4096 -O bigalloc -C 32768", "128M");
}

static void test_tree_plain(void **state)
{
	(void)state;
	tree("-t ext4 -b 4096 -O ^metadata_csum,^64bit,^flex_bg,^dir_index,^huge_file -I 128",
	     "64M");
}

static void test_tree_inline(void **state)
{
	(void)state;
	tree("-t ext4 -b 4096 -O inline_data,ea_inode", "64M");
}

static void test_tree_meta_bg(void **state)
{
	(void)state;
	tree("-t ext4 -b 1024 -O meta_bg,^resize_inode -g 2048", "64M");
}

/* A directory from nothing to an htree of many leaves, over several flushes, and down again. */
static void test_dir_growth(void **state)
{
	char name[64];
	int made = 0;
	(void)state;

	wf_open(scratch_mke2fs("dir.img", "-t ext4 -b 1024 -N 8192", "48M"));
	wf_new(wf_root(), "d", S_IFDIR | 0755);
	wf_flush();
	for (int round = 0; round < 4; round++) {
		struct dafs_inode *d = wf_lookup(wf_root(), "d");

		for (int i = 0; i < (round ? 1000 : 10); i++) {
			snprintf(name, sizeof(name), "a-rather-long-name-of-file-%06d", made++);
			wf_new(d, name, S_IFREG | 0644);
		}
		wf_flush();
	}
	assert_true(wf_debugfs_has("htree_dump d", "Number of entries"));
	for (int i = 0; i < made; i += 1500) {
		struct dafs_inode *d = wf_lookup(wf_root(), "d");

		for (int k = i; k < made && k < i + 1500; k++) {
			snprintf(name, sizeof(name), "a-rather-long-name-of-file-%06d", k);
			wf_unlink(d, name, wf_lookup(d, name));
		}
		wf_flush();
	}
	assert_int_equal(
		scratch_run("/sbin/debugfs -R 'ls d' '%s' 2>/dev/null | grep -q rather", wf.path),
		1);
	wf_close();
}

/* Everything removed: the image has as much room as before. */
static void test_remove(void **state)
{
	struct dafs_inode *d, *f;
	uint64_t blks, inos;
	(void)state;

	wf_open(scratch_mke2fs("rm.img", "-t ext4 -b 1024 -O ea_inode", "48M"));
	blks = wf.rs.free_clusters;
	inos = wf.rs.free_inodes;
	d = wf_new(wf_root(), "d", S_IFDIR | 0755);
	f = wf_new(d, "f", S_IFREG | 0644);
	/* Many extents: a tree. */
	for (int i = 0; i < 400; i++)
		scratch_ok(dafs_delalloc_write(&wf.w, f, (uint64_t)i * 4096, "x", 1));
	f = wf_new(d, "l", S_IFLNK | 0777);
	f->u.target = calloc(1, 200);
	memset(f->u.target, 'z', 150);
	f->size = 150;
	f = wf_new(d, "x", S_IFREG | 0644);
	static char value[9000];
	memset(value, 'v', sizeof(value));
	scratch_ok(dafs_xattr_put(&f->xattrs, "user.big", value, sizeof(value)));
	scratch_ok(dafs_xattr_put(&f->xattrs, "user.some", value, 500));
	f->state |= DAFS_I_XATTR;
	wf_flush();
	assert_true(wf_debugfs_has("ea_get d/x user.big", "vvvv"));
	assert_true(wf.rs.free_clusters < blks - 400);
	d = wf_lookup(wf_root(), "d");
	wf_unlink(d, "f", wf_lookup(d, "f"));
	wf_unlink(d, "l", wf_lookup(d, "l"));
	wf_unlink(d, "x", wf_lookup(d, "x"));
	wf_flush();
	d = wf_lookup(wf_root(), "d");
	wf_unlink(wf_root(), "d", d);
	wf_flush();
	assert_int_equal(wf.rs.free_clusters, blks);
	assert_int_equal(wf.rs.free_inodes, inos);
	wf_close();
}

/* Attributes of an image's file change place: in the inode, in a block, in inodes, and back. */
static void test_xattrs(void **state)
{
	static char value[60000];
	static const uint32_t lens[] = { 20, 600, 60000, 600, 20, 0 };
	struct dafs_inode *f;
	uint64_t blks;
	(void)state;

	memset(value, 'w', sizeof(value));
	wf_open(scratch_mke2fs("xa.img", "-t ext4 -b 1024 -O ea_inode", "32M"));
	wf_fill(wf_new(wf_root(), "f", S_IFREG | 0644), 3000, 1);
	wf_flush();
	blks = wf.rs.free_clusters;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		f = wf_lookup(wf_root(), "f");
		if (lens[i])
			scratch_ok(dafs_xattr_put(&f->xattrs, "user.a", value, lens[i]));
		f->state |= DAFS_I_XATTR | DAFS_I_XLOADED;
		wf_flush();
		wf_expect_fill("f", 3000, 1);
	}
	assert_int_equal(wf.rs.free_clusters, blks);
	wf_close();
}

/* A file of blocks mapped the old way is read, and has extents after a change. */
static void test_block_mapped(void **state)
{
	static uint8_t want[700000];
	struct dafs_inode *f;
	(void)state;

	scratch_mke2fs("bm.img", "-t ext3 -b 1024", "32M");
	assert_int_equal(
		scratch_run("head -c 700000 /dev/urandom >%s/src; /sbin/debugfs -w -R 'write "
			    "%s/src f' %s/bm.img "
			    ">/dev/null 2>&1; /sbin/tune2fs -O extent %s/bm.img >/dev/null 2>&1",
			    scratch_dir, scratch_dir, scratch_dir, scratch_dir),
		0);
	FILE *src = fopen(scratch_path("src"), "r");
	assert_int_equal(fread(want, 1, sizeof(want), src), sizeof(want));
	fclose(src);
	wf_open(scratch_path("bm.img"));
	f = wf_lookup(wf_root(), "f");
	memset(want + 100000, 'q', 5000);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 100000, want + 100000, 5000));
	scratch_ok(dafs_delalloc_write(&wf.w, f, 699000, want + 699000, 1000));
	scratch_ok(dafs_delalloc_punch(&wf.w, f, 204800, 10240));
	memset(want + 204800, 0, 10240);
	wf_flush();
	wf_expect("f", want, sizeof(want));
	assert_true(wf_debugfs_has("ex f", "0/ "));
	wf_close();
}

/* Many files into groups whose inode tables were never used: what the disk held there before must
 * not show. */
static void test_stale_tables(void **state)
{
	const char *path = scratch_path("stale.img");
	char name[32];
	(void)state;

	assert_int_equal(
		scratch_run(
			"yes garbage | head -c 48M >%s; /sbin/mke2fs -q -F -t ext4 -b 1024 -N 6000 "
			"-E lazy_itable_init=1,nodiscard %s >/dev/null 2>&1",
			path, path),
		0);
	wf_open(scratch_path("stale.img"));
	for (int d = 0; d < 3; d++) {
		struct dafs_inode *dir;

		snprintf(name, sizeof(name), "dir%d", d);
		dir = wf_new(wf_root(), name, S_IFDIR | 0755);
		for (int i = 0; i < 500; i++) {
			snprintf(name, sizeof(name), "f%d", i);
			wf_fill(wf_new(dir, name, S_IFREG | 0644), (size_t)i, (uint32_t)i);
		}
		wf_flush();
	}
	wf_expect_fill("dir2/f499", 499, 499);
	wf_close();
}

/* Usage by owner follows what is made, grows, changes hands and goes; e2fsck counts it anew. */
static void test_quota(void **state)
{
	static char value[5000];
	struct dafs_inode *f = NULL, *d;
	char name[32];
	(void)state;

	wf_open(scratch_mke2fs("quota.img",
			       "-t ext4 -b 1024 -O quota,project,ea_inode "
			       "-E quotatype=usrquota:grpquota:prjquota",
			       "48M"));
	d = wf_new(wf_root(), "d", S_IFDIR | 0755);
	d->uid = 1000;
	for (uint32_t i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		f = wf_new(d, name, S_IFREG | 0644);
		f->uid = i * 777777;
		f->gid = i % 3;
		f->projid = i & 1;
		wf_fill(f, 1 + i * 1000, i);
	}
	memset(value, 'q', sizeof(value));
	scratch_ok(dafs_xattr_put(&f->xattrs, "user.big", value, sizeof(value)));
	f->state |= DAFS_I_XATTR;
	wf_flush();
	d = wf_lookup(wf_root(), "d");
	for (uint32_t i = 0; i < 60; i += 3) {
		snprintf(name, sizeof(name), "f%u", i);
		f = wf_lookup(d, name);
		if (i % 2) {
			wf_unlink(d, name, f);
		} else {
			f->uid = 5;
			f->state |= DAFS_I_ATTR;
			wf_fill(f, 30000, 1);
		}
	}
	f = wf_lookup(d, "f59");
	f->state |= DAFS_I_XATTR | DAFS_I_XLOADED;
	wf_flush();
	wf_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree_4k),
		cmocka_unit_test(test_tree_1k),
		cmocka_unit_test(test_tree_no_journal),
		cmocka_unit_test(test_tree_bigalloc),
		cmocka_unit_test(test_tree_plain),
		cmocka_unit_test(test_tree_inline),
		cmocka_unit_test(test_tree_meta_bg),
		cmocka_unit_test(test_dir_growth),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_xattrs),
		cmocka_unit_test(test_block_mapped),
		cmocka_unit_test(test_stale_tables),
		cmocka_unit_test(test_quota),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
