/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents of files and symlinks, as debugfs or the kernel's mke2fs put them there, against the
 * host's. */
#include "config.h"

#include "image/read.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "codec_fx.h"
#include "image/dircodec.h"
#include "image/inline.h"

#define MAX_BYTES (3u << 20)

struct host_file {
	const char *name;
	uint8_t *bytes;
	size_t size;
};

/* A tree of files with holes, ragged ends, all sizes around what is inline; symlinks of all
 * lengths. No zero bytes but in holes: mke2fs -d leaves out a last block of nothing else, and cuts
 * the size. */
static void make_tree(const char *dir)
{
	assert_int_equal(
		scratch_run(
			"mkdir -p '%s' && cd '%s' && "
			"for n in 0 1 59 60 61 127 128 129 1023 1024 1025 4095 4096 4097 70000; do "
			"head -c $n /dev/urandom | tr '\\0' x >r$n || exit; done; "
			"truncate -s 2M hole && for at in 3 5 6 100 511; do head -c 4096 "
			"/dev/urandom | "
			"dd of=hole bs=4K seek=$at conv=notrunc 2>/dev/null || exit; done; "
			"for n in 1 58 59 60 61 200 1000; do ln -s $(head -c $n /dev/zero | tr "
			"'\\0' x) l$n || exit; done",
			dir, dir),
		0);
}

static uint32_t find(struct fx *fx, const char *name)
{
	struct dafs_dirent_view view;
	union dafs_inode_buf buf;

	scratch_ok(dafs_icodec_read(fx->img, EXT2_ROOT_INO, &buf.raw, sizeof(buf)));
	scratch_ok(dafs_dircodec_lookup(fx->img, EXT2_ROOT_INO, &buf.raw, name,
					(uint8_t)strlen(name), &view));
	return view.ino;
}

static void load(struct host_file *f, const char *dir, const char *name)
{
	char path[512];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f->name = name;
	f->bytes = malloc(MAX_BYTES);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0 && f->bytes);
	got = read(fd, f->bytes, MAX_BYTES);
	assert_true(got >= 0);
	f->size = (size_t)got;
	close(fd);
}

/* Whole, and pieces at random places, past the end too. */
static void compare_file(struct rng *rng, struct fx *fx, const struct host_file *f)
{
	struct dafs_extlist xl = { 0 };
	union dafs_inode_buf buf;
	uint32_t ino = find(fx, f->name);
	uint8_t *mine = malloc(MAX_BYTES);
	size_t got;

	assert_non_null(mine);
	scratch_ok(dafs_icodec_read(fx->img, ino, &buf.raw, sizeof(buf)));
	scratch_ok(dafs_etree_decode(fx->img, ino, &buf.raw, &xl, NULL));
	assert_int_equal(dafs_icodec_size(fx->img, &buf.raw), f->size);
	for (int n = 0; n < 40; n++) {
		uint64_t off = n ? rng_below(rng, (uint32_t)f->size + 10) : 0;
		size_t len = n ? rng_len(rng, (uint32_t)f->size + 10) : MAX_BYTES, want = 0;

		memset(mine, 0xAA, len);
		if (off < f->size)
			want = f->size - off < len ? f->size - (size_t)off : len;
		scratch_ok(dafs_read_file(fx->img, ino, &buf.raw,
					  buf.raw.i_flags & EXT4_INLINE_DATA_FL ? NULL : &xl, mine,
					  len, off, &got));
		assert_int_equal(got, want);
		assert_memory_equal(mine, f->bytes + off, want);
	}
	dafs_extlist_fini(&xl);
	free(mine);
}

static void compare_symlink(struct fx *fx, uint32_t len)
{
	union dafs_inode_buf buf;
	char name[16], *target;
	uint32_t ino;

	snprintf(name, sizeof(name), "l%u", len);
	ino = find(fx, name);
	scratch_ok(dafs_icodec_read(fx->img, ino, &buf.raw, sizeof(buf)));
	scratch_ok(dafs_read_symlink(fx->img, ino, &buf.raw, &target));
	assert_int_equal(strlen(target), len);
	assert_int_equal(strspn(target, "x"), len);
	free(target);
	buf.raw.i_size = 0;
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_read_symlink(fx->img, ino, &buf.raw, &target));
	buf.raw.i_size = 0x7fffffff;
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_read_symlink(fx->img, ino, &buf.raw, &target));
	assert_null(target);
	buf.raw.i_mode = S_IFREG;
	assert_err(EINVAL, dafs_read_symlink(fx->img, ino, &buf.raw, &target));
}

static void compare_tree(struct rng *rng, struct fx *fx, const char *dir)
{
	static const char *const names[] = { "r0",    "r1",    "r59",	 "r60",	  "r61",   "r127",
					     "r128",  "r129",  "r1023",	 "r1024", "r1025", "r4095",
					     "r4096", "r4097", "r70000", "hole" };
	static const uint32_t links[] = { 1, 58, 59, 60, 61, 200, 1000 };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct host_file f;

		load(&f, dir, names[i]);
		compare_file(rng, fx, &f);
		free(f.bytes);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		compare_symlink(fx, links[i]);
}

static void test_contents(void **state)
{
	static const char *const options[] = { "-t ext4 -b 1024",
					       "-t ext4 -b 4096",
					       "-t ext2 -b 1024",
					       "-t ext4 -O inline_data",
					       "-t ext4 -b 4096 -O inline_data -I 1024",
					       "-t ext4 -O ea_inode -b 2048" };
	struct rng rng = { .state = test_seed(1) };
	char dir[256], all[512];
	(void)state;

	snprintf(dir, sizeof(dir), "%s", scratch_path("tree"));
	make_tree(dir);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct fx fx;

		printf("# %s\n", options[i]);
		snprintf(all, sizeof(all), "%s -d '%s'", options[i], dir);
		fx_open(&fx, scratch_mke2fs("read.img", all, "32M"), 0);
		compare_tree(&rng, &fx, dir);
		fx_close(&fx);
	}
}

/* Unwritten extents are zeros whatever lies in their blocks. */
static void test_unwritten(void **state)
{
	struct dafs_extlist xl = { 0 };
	union dafs_inode_buf buf = { 0 };
	uint8_t block[4096], got_bytes[3 * 4096];
	uint64_t pblk;
	struct fx fx;
	size_t got;
	(void)state;

	fx_make(&fx, "unwritten.img", "-t ext4 -b 4096", "16M");
	scratch_ok(dafs_txn_begin(fx.img));
	memset(block, 'z', sizeof(block));
	pblk = fx_take_block(&fx);
	scratch_ok(dafs_txn_put_new(fx.img, pblk, 1, block));
	scratch_ok(dafs_extlist_append(&xl, pblk, 0, 1, true));
	scratch_ok(dafs_extlist_append(&xl, pblk, 2, 1, false));
	buf.raw.i_mode = S_IFREG;
	buf.raw.i_size = 2 * 4096 + 100;
	scratch_ok(
		dafs_read_file(fx.img, 12, &buf.raw, &xl, got_bytes, sizeof(got_bytes), 0, &got));
	assert_int_equal(got, 2 * 4096 + 100);
	for (size_t i = 0; i < got; i++)
		assert_int_equal(got_bytes[i], i < 8192 ? 0 : 'z');
	dafs_extlist_fini(&xl);
	dafs_txn_abort(fx.img);
	fx_close(&fx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_unwritten),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
