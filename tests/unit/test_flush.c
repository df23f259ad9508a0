/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole flushes, each followed by e2fsck -fn: new trees, growing directories, removal, attributes,
 * odd geometries, failures on the way. */
#include "config.h"

#include "seeded.h"
#include "write_fixture.h"

#include "image/txn.h"

static void fill_file(struct dafs_inode *f, size_t len, uint32_t seed)
{
	uint8_t *buf = malloc(len + 1);

	wf_pattern(buf, len, seed);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, buf, len));
	free(buf);
}

static void expect_file(const char *name, size_t len, uint32_t seed)
{
	uint8_t *buf = malloc(len + 1);

	wf_pattern(buf, len, seed);
	wf_expect(name, buf, len);
	free(buf);
}

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
		fill_file(wf_new(d, name, S_IFREG | 0644), (size_t)i * i * 37 + 1, (uint32_t)i);
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
	fill_file(f, 10, 3);
	f->nlink = 2;
	wf_name_add(d, "hard2", f, false);
	wf_flush();
	for (int i = 0; i < 40; i += 13) {
		snprintf(name, sizeof(name), "dir/%0*d", 1 + i * 6, i);
		expect_file(name, (size_t)i * i * 37 + 1, (uint32_t)i);
	}
	expect_file("dir/hard2", 10, 3);
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
	fill_file(wf_new(wf_root(), "f", S_IFREG | 0644), 3000, 1);
	wf_flush();
	blks = wf.rs.free_clusters;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		f = wf_lookup(wf_root(), "f");
		if (lens[i])
			scratch_ok(dafs_xattr_put(&f->xattrs, "user.a", value, lens[i]));
		f->state |= DAFS_I_XATTR | DAFS_I_XLOADED;
		wf_flush();
		expect_file("f", 3000, 1);
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

/* A source that fails in the middle of the data: named, nothing changed, and the same flush works
 * afterwards. */
static errcode_t sick_read(struct dafs_source *src, struct dafs_ctx *ctx, void *buf, size_t len,
			   uint64_t off)
{
	(void)src;
	(void)buf;
	(void)len;
	return off >= 1 << 20 ? dafs_fail(ctx, EIO, "the sick one") : 0;
}

static void test_source_fails(void **state)
{
	static const struct dafs_source_ops sick_ops = { .read = sick_read };
	static struct dafs_source sick = { .ops = &sick_ops };
	struct dafs_inode *f;
	(void)state;

	for (unsigned threads = 1; threads <= 4; threads += 3) {
		scratch_ctx.threads = threads;
		wf_open(scratch_mke2fs("sick.img", "-t ext4 -b 4096", "64M"));
		fill_file(wf_new(wf_root(), "good", S_IFREG | 0644), 6 << 20, 1);
		f = wf_new(wf_root(), "sick", S_IFREG | 0644);
		scratch_ok(dafs_delalloc_adopt(&wf.w, f, &sick, 20 << 20, NULL));
		assert_err(EIO, wf_try_flush());
		assert_non_null(strstr(scratch_ctx.detail, "the sick one"));
		assert_int_equal(f->ino, 0);
		scratch_fsck(wf.path);
		/* The handle is not failed: without the sick file the rest goes. */
		wf_unlink(wf_root(), "sick", f);
		f->state = 0;
		wf.nnames = 1;
		wf_flush();
		expect_file("good", 6 << 20, 1);
		wf_close();
	}
	scratch_ctx.threads = 0;
}

static void test_cancel(void **state)
{
	struct dafs_inode *f;
	(void)state;

	wf_open(scratch_mke2fs("cancel.img", "-t ext4 -b 4096", "64M"));
	f = wf_new(wf_root(), "f", S_IFREG | 0644);
	fill_file(f, 9 << 20, 1);
	scratch_ctx.cancel = 1;
	assert_err(DAFS_ET_CANCELLED, wf_try_flush());
	scratch_ctx.cancel = 0;
	scratch_fsck(wf.path);
	assert_int_equal(f->ino, 0);
	wf_flush();
	expect_file("f", 9 << 20, 1);
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
			fill_file(wf_new(dir, name, S_IFREG | 0644), (size_t)i, (uint32_t)i);
		}
		wf_flush();
	}
	expect_file("dir2/f499", 499, 499);
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
		fill_file(f, 1 + i * 1000, i);
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
			fill_file(f, 30000, 1);
		}
	}
	f = wf_lookup(d, "f59");
	f->state |= DAFS_I_XATTR | DAFS_I_XLOADED;
	wf_flush();
	wf_close();
}

/* More live blocks than the journal holds: refused before anything is read or written, and a part
 * of it goes. */
static void test_journal_full(void **state)
{
	struct dafs_inode *root, *f;
	char name[32];
	(void)state;

	wf_open(scratch_mke2fs("small.img", "-t ext4 -b 1024 -N 8192 -J size=1", "24M"));
	root = wf_root();
	for (int i = 0; i < 4000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		wf_new(root, name, S_IFREG | 0644);
	}
	wf_flush();
	for (int i = 0; i < 4000; i++) {
		f = wf_load((uint32_t)(12 + i));
		f->uid = 77;
		f->state |= DAFS_I_ATTR;
	}
	f = wf_new(wf_root(), "data", S_IFREG | 0644);
	fill_file(f, 100000, 1);
	assert_err(DAFS_ET_JOURNAL_FULL, wf_try_flush());
	scratch_fsck(wf.path);
	assert_int_equal(f->ino, 0);
	for (size_t i = 0; i < 3000; i++)
		wf.inodes[i]->state &= (uint16_t)~DAFS_I_ATTR;
	wf_flush();
	expect_file("data", 100000, 1);
	assert_true(wf_debugfs_has("stat f3999", "User:    77"));
	assert_false(wf_debugfs_has("stat f100", "User:    77"));
	wf_close();
}

/* No room to move anything, and more is overwritten than the journal takes: refused at the write,
 * not at the flush. */
static void test_overwrite_full(void **state)
{
	static uint8_t buf[4 << 20];
	struct dafs_inode *f, *g;
	uint64_t at = 0;
	errcode_t err = 0;
	(void)state;

	wf_open(scratch_mke2fs("full.img", "-t ext4 -b 1024 -m 0 -J size=1", "12M"));
	wf.w.dry_plan = wf_dry_plan;
	f = wf_new(wf_root(), "f", S_IFREG | 0644);
	fill_file(f, sizeof(buf), 1);
	g = wf_new(wf_root(), "g", S_IFREG | 0644);
	for (; !err; at += 1024)
		err = dafs_delalloc_write(&wf.w, g, at, buf, 1024);
	wf_flush();
	wf.w.dry_plan = wf_dry_plan;
	f = wf_lookup(wf_root(), "f");
	wf_pattern(buf, sizeof(buf), 1);
	/* In pieces, so that nothing comes off whole. */
	err = 0;
	for (at = 1024; !err && at + 2048 < sizeof(buf); at += 4096) {
		err = dafs_delalloc_write(&wf.w, f, at, (const uint8_t[2048]){ 7 }, 2048);
		if (!err)
			memcpy(buf + at, (const uint8_t[2048]){ 7 }, 2048);
	}
	if (err != DAFS_ET_NOSPC_META && err != DAFS_ET_NOSPC_RESERVE)
		fail_msg("%s", error_message(err));
	assert_true(at > 100000);
	wf_flush();
	wf_expect("f", buf, sizeof(buf));
	wf_close();
}

/* Random trees made and taken apart over many flushes. */
static void churn(struct rng *rng, void *options)
{
	char name[64];
	uint32_t made = 0;

	wf_open(scratch_mke2fs("churn.img", options, "32M"));
	for (uint32_t round = 0; round < test_steps(6, 100); round++) {
		struct dafs_inode *root = wf_root();
		uint32_t kill = made ? rng_below(rng, made) : 0;

		for (uint32_t i = 0; i < 30; i++) {
			snprintf(name, sizeof(name), "n%u", made++);
			fill_file(wf_new(root, name, S_IFREG | 0644), rng_len(rng, 60000), made);
		}
		for (uint32_t i = kill; i < kill + 12 && i + 30 < made; i++) {
			struct dafs_dirent_view de;
			union dafs_inode_buf raw;

			snprintf(name, sizeof(name), "n%u", i);
			scratch_ok(dafs_icodec_read(wf.img, 2, &raw.raw, sizeof(raw)));
			if (dafs_dircodec_lookup(wf.img, 2, &raw.raw, name, (uint8_t)strlen(name),
						 &de))
				continue;
			if (i & 1)
				wf_unlink(root, name, wf_load(de.ino));
			else
				scratch_ok(dafs_delalloc_truncate(&wf.w, wf_load(de.ino),
								  rng_below(rng, 70000)));
		}
		wf_flush();
	}
	wf_close();
}

static void test_churn(void **state)
{
	(void)state;
	for_seeds(1, churn, (void *)"-t ext4 -b 4096");
	for_seeds(1, churn, (void *)"-t ext4 -b 1024 -O bigalloc,^has_journal -C 4096");
	for_seeds(1, churn, (void *)"-t ext4 -b 1024 -O ^metadata_csum,uninit_bg");
}

/* A name that is pending, with the directory block it may need. */
static struct dafs_inode *new_promised(struct dafs_inode *dir, const char *name, errcode_t *err)
{
	struct dafs_inode *f;

	*err = dafs_reserve_verify(&wf.rs) ? 0 : DAFS_ET_INTERNAL;
	assert_ok(*err);
	if (wf.rs.promised_inodes == wf.rs.free_inodes) {
		*err = DAFS_ET_NOINODES;
		return NULL;
	}
	f = wf_new(dir, name, S_IFREG | 0644);
	*err = dafs_delalloc_take(&wf.w, 0, 2);
	if (*err) {
		dafs_reserve_release_inodes(&wf.rs, 1);
		wf.nnames--;
		free(wf.inodes[--wf.n]);
	}
	return f;
}

/* Leave holes all over the image's free space: small files, then every other one goes. */
static void make_fragments(struct rng *rng)
{
	char name[32];
	errcode_t err = 0;
	static uint8_t buf[16384];

	wf_pattern(buf, sizeof(buf), 1);
	for (int i = 0; !err && i < 1500; i++) {
		struct dafs_inode *f;

		snprintf(name, sizeof(name), "frag%04d", i);
		f = new_promised(wf_root(), name, &err);
		if (!err)
			err = dafs_delalloc_write(&wf.w, f, 0, buf, rng_len(rng, 12000));
	}
	wf_flush();
	for (int i = rng_below(rng, 2); i < 1500; i += 2) {
		struct dafs_dirent_view de;
		union dafs_inode_buf raw;

		snprintf(name, sizeof(name), "frag%04d", i);
		scratch_ok(dafs_icodec_read(wf.img, 2, &raw.raw, sizeof(raw)));
		if (!dafs_dircodec_lookup(wf.img, 2, &raw.raw, name, (uint8_t)strlen(name), &de))
			wf_unlink(wf_root(), name, wf_load(de.ino));
	}
	wf_flush();
}

/* What was accepted can be flushed: random writes until nothing more is taken, then the flush must
 * find a place for everything, and leave no room that a further block could have used. */
static void fill_up(struct rng *rng, void *options)
{
	static uint8_t buf[65536];
	struct dafs_inode *files[64];
	uint32_t n = 0, refused = 0, unusable;
	char name[32];
	errcode_t err;

	wf_open(scratch_mke2fs("fill.img", options, "6M"));
	wf_pattern(buf, sizeof(buf), 4);
	if (rng_below(rng, 2))
		make_fragments(rng);
	wf.w.dry_plan = wf_dry_plan;
	for (uint32_t step = 0; step < 1500; step++) {
		uint32_t which = rng_below(rng, 64);

		err = 0;
		if (which >= n) {
			snprintf(name, sizeof(name), "n%u", n);
			files[n] = new_promised(wf_root(), name, &err);
			n += !err;
		} else if (rng_below(rng, 12) == 0) {
			scratch_ok(dafs_delalloc_truncate(&wf.w, files[which],
							  rng_below(rng, 100000)));
		} else if (rng_below(rng, 6) == 0) {
			err = dafs_delalloc_fallocate(&wf.w, files[which], rng_below(rng, 300000),
						      rng_len(rng, 50000), false);
		} else {
			err = dafs_delalloc_write(&wf.w, files[which], rng_below(rng, 300000), buf,
						  rng_len(rng, sizeof(buf)));
		}
		if (err && err != DAFS_ET_NOSPC_RESERVE && err != DAFS_ET_NOSPC_META &&
		    err != DAFS_ET_NOINODES)
			scratch_ok(err);
	}
	/* A block at a time, until no file can take one more. */
	for (uint32_t i = 0; refused < n; i++) {
		struct dafs_inode *f = files[i % n];

		err = dafs_delalloc_write(&wf.w, f, f->size + 65536, buf, 1);
		refused = err ? refused + 1 : 0;
	}
	wf_flush();
	unusable = (uint32_t)wf.rs.free_clusters;
	print_message("# %s: %u clusters left\n", (const char *)options, unusable);
	assert_true(unusable <= 3);
	wf_close();
}

static void test_fill_up(void **state)
{
	(void)state;
	for_seeds(test_steps(2, 20), fill_up,
		  (void *)"-t ext4 -b 4096 -m 0 -J size=1 -N 2000 -O ^has_journal");
	for_seeds(test_steps(2, 20), fill_up, (void *)"-t ext4 -b 1024 -m 0 -N 2000");
	for_seeds(test_steps(1, 20), fill_up,
		  (void *)"-t ext4 -b 1024 -m 0 -N 2000 -O bigalloc,^has_journal -C 4096");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree_4k),		cmocka_unit_test(test_tree_1k),
		cmocka_unit_test(test_tree_no_journal), cmocka_unit_test(test_tree_bigalloc),
		cmocka_unit_test(test_tree_plain),	cmocka_unit_test(test_tree_inline),
		cmocka_unit_test(test_tree_meta_bg),	cmocka_unit_test(test_dir_growth),
		cmocka_unit_test(test_remove),		cmocka_unit_test(test_xattrs),
		cmocka_unit_test(test_block_mapped),	cmocka_unit_test(test_source_fails),
		cmocka_unit_test(test_cancel),		cmocka_unit_test(test_stale_tables),
		cmocka_unit_test(test_quota),		cmocka_unit_test(test_overwrite_full),
		cmocka_unit_test(test_journal_full),	cmocka_unit_test(test_churn),
		cmocka_unit_test(test_fill_up),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
