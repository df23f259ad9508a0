/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories planned and emitted, against a set of names, e2fsck and (as root) the kernel;
 * damaged blocks. */
#include "config.h"

#include "image/dircodec.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "dir_batch.h"
#include "image/dirindex.h"

/* ---- against the set and e2fsck ---- */

struct kind {
	const char *options;
	uint32_t iflags;
	uint32_t block_bytes;
	const char *hash; /* as tune2fs says it, or "unsigned"; NULL: the default */
};

static const struct kind kinds[] = {
	{ "-t ext4 -b 1024", 0, 1024, NULL },
	{ "-t ext4 -b 4096", 0, 4096, NULL },
	{ "-t ext4 -b 1024 -O ^metadata_csum,^64bit", 0, 1024, NULL },
	{ "-t ext4 -b 2048 -O ^dir_index", 0, 2048, NULL },
	{ "-t ext4 -b 1024 -O inline_data,^has_journal", 0, 1024, NULL },
	{ "-t ext4 -b 4096 -O inline_data -I 512", 0, 4096, NULL },
	{ "-t ext4 -b 1024 -O casefold -E encoding=utf8", EXT4_CASEFOLD_FL, 1024, NULL },
	{ "-t ext4 -b 1024 -O ^filetype,^metadata_csum", 0, 1024, NULL },
	{ "-t ext4 -b 1024 -O large_dir", 0, 1024, NULL },
	{ "-t ext4 -b 65536 -O ^resize_inode", 0, 65536, NULL },
	{ "-t ext4 -b 1024", 0, 1024, "tea" },
	{ "-t ext4 -b 1024", 0, 1024, "unsigned" },
	{ "-t ext4 -b 1024 -I 128", 0, 1024, "legacy" },
};

static void rounds(struct rng *rng, void *arg)
{
	const struct kind *kind = arg;
	unsigned style = rng_below(rng, 3);
	struct dir_fx d;

	dir_fx_open(&d, "dirs.img", kind->options, kind->hash,
		    kind->block_bytes > 4096 ? "512M" : "64M");
	d.iflags = kind->iflags;
	make_dir(rng, &d, rng_below(rng, 3) ? rng_len(rng, 1500) : rng_below(rng, 4), style);
	dir_fx_compare(&d);
	dir_fx_commit(&d);
	scratch_fsck(d.fx.path);
	for (uint32_t n = test_steps(8, 200); n; n--) {
		scratch_ok(dafs_txn_begin(d.fx.img));
		edit(rng, &d, rng_len(rng, 400) - 1, rng_below(rng, 3) ? 1 + rng_len(rng, 20) : 0,
		     style);
		dir_fx_compare(&d);
		dir_fx_commit(&d);
	}
	dir_fx_compare(&d);
	scratch_fsck(d.fx.path);
	dir_fx_close(&d);
}

static void test_random_edits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		printf("# %s\n", kinds[i].options);
		for_seeds(test_steps(1, 4), rounds, (void *)(uintptr_t)&kinds[i]);
	}
}

/* ---- the kernel ---- */

static void kernel_reads(struct dir_fx *d)
{
	const char *mnt = scratch_path("mnt");
	uint32_t found = 0;
	struct dirent *de;
	struct dir_name *n, *tmp;
	char path[512];
	struct stat st;
	DIR *dir;
	bool all = true;

	mkdir(mnt, 0700);
	scratch_mount(d->fx.path, mnt, "ro");
	snprintf(path, sizeof(path), "%s/dir", mnt);
	dir = opendir(path);
	while (dir && (de = readdir(dir)))
		found++;
	if (dir)
		closedir(dir);
	HASH_ITER(hh, d->names, n, tmp) {
		snprintf(path, sizeof(path), "%s/dir/%.*s", mnt, n->len, n->name);
		if (lstat(path, &st) || st.st_ino != n->ino)
			all = false;
	}
	snprintf(path, sizeof(path), "%s/dir/not there", mnt);
	all = all && lstat(path, &st) && errno == ENOENT;
	assert_int_equal(scratch_run("umount '%s'", mnt), 0);
	assert_true(all);
	assert_int_equal(found, HASH_COUNT(d->names) + 2);
}

/* The kernel adds and removes names in between, splitting leaves and nodes in its own way. */
static void kernel_changes(struct rng *rng, struct dir_fx *d, uint32_t nadd)
{
	const char *mnt = scratch_path("mnt");
	char from[512], to[512], name[256];
	struct dir_name *n, *tmp;
	bool ok = true;

	fx_close(&d->fx);
	mkdir(mnt, 0700);
	scratch_mount(d->fx.path, mnt, "rw");
	HASH_ITER(hh, d->names, n, tmp) {
		if (rng_below(rng, 4))
			continue;
		snprintf(to, sizeof(to), "%s/dir/%.*s", mnt, n->len, n->name);
		ok &= !unlink(to);
		dir_fx_del(d, n);
	}
	while (nadd--) {
		uint32_t file = rng_below(rng, DIR_FX_FILES);
		uint8_t len = random_name(rng, 0, name);

		if (dir_fx_find(d, name, len))
			continue;
		snprintf(from, sizeof(from), "%s/file%u", mnt, file);
		snprintf(to, sizeof(to), "%s/dir/%.*s", mnt, len, name);
		ok &= !link(from, to);
		dir_fx_add(d, name, len, &d->files[file]);
	}
	assert_int_equal(scratch_run("umount '%s'", mnt), 0);
	assert_true(ok);
	fx_open(&d->fx, d->fx.path, DAFS_IMAGE_RW);
	scratch_ok(dafs_txn_begin(d->fx.img));
}

static void test_kernel(void **state)
{
	static const struct kind mounted[] = {
		{ "-t ext4 -b 1024", 0, 1024, NULL },
		{ "-t ext4 -b 4096 -O inline_data", 0, 4096, NULL },
		{ "-t ext4 -b 1024 -O ^metadata_csum", 0, 1024, "tea" },
		{ "-t ext4 -b 1024", 0, 1024, "unsigned" },
	};
	(void)state;

	if (geteuid() || scratch_run("grep -qw ext4 /proc/filesystems && [ -e /dev/loop-control ]"))
		skip();
	for (size_t i = 0; i < sizeof(mounted) / sizeof(mounted[0]); i++) {
		static const uint32_t sizes[] = { 3, 700, 6000 };

		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			struct rng rng = { .state = i * 10 + k };
			struct dir_fx d;

			dir_fx_open(&d, "kernel.img", mounted[i].options, mounted[i].hash, "128M");
			make_dir(&rng, &d, sizes[k], 0);
			edit(&rng, &d, sizes[k] / 2, 4, 0);
			dir_fx_commit(&d);
			scratch_fsck(d.fx.path);
			kernel_reads(&d);
			kernel_changes(&rng, &d, sizes[k]);
			dir_fx_compare(&d);
			edit(&rng, &d, sizes[k] / 4, 10, 0);
			dir_fx_compare(&d);
			dir_fx_commit(&d);
			scratch_fsck(d.fx.path);
			kernel_reads(&d);
			dir_fx_close(&d);
		}
	}
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
	struct dafs_dirent_add add[3] = { { "one", 3, NULL },
					  { "two", 3, NULL },
					  { "one", 3, NULL } };
	struct dafs_dirent_del del = { "zero", 4 };
	struct dafs_inode self = { 0 };
	union dafs_inode_buf buf;
	struct dir_fx d;
	(void)state;

	dir_fx_open(&d, "refuse.img",
		    "-t ext4 -b 1024 -O casefold -E encoding=utf8,encoding_flags=strict", NULL,
		    "32M");
	dir_fx_commit(&d);
	scratch_ok(dafs_txn_begin(d.fx.img));
	for (int i = 0; i < 3; i++)
		add[i].child = &d.files[0];
	assert_err(EEXIST,
		   dir_fx_apply(&d, &self,
				&(struct dafs_dirplan_req){ .ino = 2, .add = add, .nadd = 3 }));
	assert_err(ENOENT,
		   dir_fx_apply(&d, &self,
				&(struct dafs_dirplan_req){ .ino = 2, .del = &del, .ndel = 1 }));
	add[0].name = "file0";
	add[0].name_len = 5;
	assert_err(EEXIST,
		   dir_fx_apply(&d, &self,
				&(struct dafs_dirplan_req){ .ino = 2, .add = add, .nadd = 1 }));
	for (int i = 0; i < 5; i++) {
		static const struct dafs_dirent_add bad[] = { { "", 0, NULL },
							      { ".", 1, NULL },
							      { "..", 2, NULL },
							      { "a/b", 3, NULL },
							      { "a\0b", 3, NULL } };

		assert_err(DAFS_ET_NAME_BAD,
			   dir_fx_apply(&d, &self,
					&(struct dafs_dirplan_req){
						.ino = 2, .add = &bad[i], .nadd = 1 }));
	}
	assert_err(ENOTDIR, dir_fx_apply(&d, &self,
					 &(struct dafs_dirplan_req){
						 .ino = d.files[0].ino, .add = add, .nadd = 1 }));

	d.iflags = EXT4_CASEFOLD_FL;
	scratch_ok(dir_fx_mkdir(&d, EXT2_ROOT_INO, "dir", d.iflags, NULL, 0, &d.ino));
	add[0] = (struct dafs_dirent_add){ "ONE", 3, &d.files[0] };
	assert_err(EEXIST,
		   dir_fx_apply(&d, &self,
				&(struct dafs_dirplan_req){ .ino = d.ino, .add = add, .nadd = 3 }));
	scratch_ok(dir_fx_apply(&d, &self,
				&(struct dafs_dirplan_req){ .ino = d.ino, .add = add, .nadd = 1 }));
	assert_err(EEXIST, dir_fx_apply(&d, &self,
					&(struct dafs_dirplan_req){
						.ino = d.ino, .add = add + 2, .nadd = 1 }));
	add[0] = (struct dafs_dirent_add){ "\xff\xfe", 2, &d.files[0] };
	assert_err(DAFS_ET_NAME_BAD,
		   dir_fx_apply(&d, &self,
				&(struct dafs_dirplan_req){ .ino = d.ino, .add = add, .nadd = 1 }));

	dir_fx_raw(&d, &buf);
	buf.raw.i_flags |= EXT4_ENCRYPT_FL;
	fx_write_inode(&d.fx, d.ino, &buf);
	assert_err(DAFS_ET_ENCRYPTED,
		   dir_fx_apply(&d, &self,
				&(struct dafs_dirplan_req){ .ino = d.ino, .add = add, .nadd = 1 }));
	buf.raw.i_flags &= ~(uint32_t)EXT4_ENCRYPT_FL;
	buf.raw.i_size += 1024;
	fx_write_inode(&d.fx, d.ino, &buf);
	assert_err(DAFS_ET_CORRUPT_DIR,
		   dafs_dircodec_iterate(d.fx.img, d.ino, &buf.raw, dir_fx_seen, NULL));
	dafs_txn_abort(d.fx.img);
	dir_fx_close(&d);
}

/* ---- damage ---- */

static errcode_t count_entry(void *arg, const struct dafs_dirent_view *de)
{
	assert_true(de->name_len > 0 && de->ino > 0);
	++*(uint32_t *)arg;
	return 0;
}

static void damage_blocks(struct rng *rng, void *arg)
{
	const struct kind *kind = arg;
	struct dafs_extlist xl = { 0 };
	union dafs_inode_buf buf;
	struct dir_fx d;

	dir_fx_open(&d, "damage.img", kind->options, NULL, "64M");
	make_dir(rng, &d, 800, 0);
	dir_fx_commit(&d);
	dir_fx_raw(&d, &buf);
	scratch_ok(dafs_etree_decode(d.fx.img, d.ino, &buf.raw, &xl, NULL));
	for (uint32_t n = test_steps(150, 20000); n; n--) {
		struct dafs_dirent_add add[2] = { { "new", 3, &d.files[0] },
						  { "newer", 5, &d.files[1] } };
		struct dafs_dirent_del del = { d.names->name, d.names->len };
		struct dafs_dirplan_req req = {
			.ino = d.ino, .raw = &buf.raw, .add = add, .nadd = 2, .del = &del, .ndel = 1
		};
		uint32_t lblk = rng_below(rng, 3)
					? rng_below(rng, 3)
					: rng_below(rng, (uint32_t)(buf.raw.i_size / 1024));
		enum dafs_dirblock_kind block_kind = DAFS_DIRBLOCK_LEAF;
		size_t i = dafs_extlist_search(&xl, lblk);
		struct dafs_dirent_view view;
		struct dafs_dirplan *dp = NULL;
		uint32_t found = 0;
		uint8_t *block;
		errcode_t err;

		scratch_ok(dafs_txn_begin(d.fx.img));
		scratch_ok(
			dafs_txn_get(d.fx.img, xl.v[i].pblk + (lblk - xl.v[i].lblk), true, &block));
		if (!lblk)
			block_kind = DAFS_DIRBLOCK_ROOT;
		else if (dafs_dirblock_looks_node(d.fx.img, block))
			block_kind = DAFS_DIRBLOCK_NODE;
		fx_damage(rng, block, rng_below(rng, 2) ? 48 : 1000);
		dafs_dirblock_csum_set(d.fx.img,
				       dafs_icodec_seed(d.fx.img, d.ino, buf.raw.i_generation),
				       block_kind, block);
		err = dafs_dircodec_iterate(d.fx.img, d.ino, &buf.raw, count_entry, &found);
		assert_true(!err || err == DAFS_ET_CORRUPT_DIR);
		err = dafs_dircodec_lookup(d.fx.img, d.ino, &buf.raw, d.names->name, d.names->len,
					   &view);
		assert_true(!err || err == ENOENT || err == DAFS_ET_CORRUPT_DIR ||
			    err == DAFS_ET_FEATURE);
		err = dafs_dirplan_new(d.fx.img, &req, &dp);
		assert_true(!err || err == ENOENT || err == DAFS_ET_CORRUPT_DIR ||
			    err == DAFS_ET_FEATURE);
		dafs_dirplan_free(dp);
		dafs_txn_abort(d.fx.img);
	}
	dafs_extlist_fini(&xl);
	dir_fx_close(&d);
}

static void test_damaged_blocks(void **state)
{
	static const struct kind damaged[] = { { "-t ext4 -b 1024", 0, 1024, NULL },
					       { "-t ext4 -b 1024 -O ^metadata_csum", 0, 1024,
						 NULL },
					       { "-t ext4 -b 1024 -O ^dir_index", 0, 1024, NULL } };
	(void)state;

	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++)
		for_seeds(2, damage_blocks, (void *)(uintptr_t)&damaged[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_edits),
		cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_damaged_blocks),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
