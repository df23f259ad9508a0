/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions: what goes in place before the commit, what only with it, and that a stopped commit
 * is all or nothing for us, for e2fsck and for the kernel. */
#include "config.h"

#include "image/txn.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/group.h"
#include "scratch.h"

enum { FILE_BLKS = 1100, PUT_BLKS = 900 };

/* The blocks of a file that play the live ones. */
struct live {
	uint64_t pblk[FILE_BLKS];
	uint32_t block_size;
};

/* An image with a file of at least FILE_BLKS blocks full of 'o'. */
static const char *make_image(const char *name, const char *options, const char *size,
			      struct live *live)
{
	const char *path = scratch_mke2fs(name, options, size);
	const char *content = scratch_path("content");
	struct dafs_image *img;
	unsigned n = 0;
	uint8_t *block;
	FILE *list;
	unsigned long long pblk;

	assert_int_equal(scratch_run("head -c %d /dev/zero | tr '\\0' o > '%s' && /sbin/debugfs -w "
				     "-R 'write %s f' "
				     "'%s' >/dev/null 2>&1",
				     FILE_BLKS * 4096, content, content, path),
			 0);
	assert_int_equal(scratch_run("/sbin/debugfs -R 'blocks f' '%s' 2>/dev/null >'%s'", path,
				     scratch_path("blocks")),
			 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	live->block_size = img->block_size;
	block = malloc(img->block_size);
	list = fopen(scratch_path("blocks"), "r");
	/* Indirect blocks are among them: they do not begin with 'o's. */
	while (n < FILE_BLKS && fscanf(list, "%llu", &pblk) == 1) {
		scratch_ok(dafs_image_read_blks(img, pblk, 1, block));
		if (block[0] == 'o' && block[1] == 'o')
			live->pblk[n++] = pblk;
	}
	fclose(list);
	free(block);
	dafs_image_close(img);
	assert_int_equal(n, FILE_BLKS);
	return path;
}

/* New contents of live block i: every seventh begins with the journal's magic. */
static void fill(uint8_t *block, uint32_t block_size, unsigned i)
{
	static const uint8_t magic[4] = { 0xc0, 0x3b, 0x39, 0x98 };

	memset(block, 'A' + (int)(i % 26), block_size);
	memcpy(block + 8, &i, sizeof(i));
	if (i % 7 == 0)
		memcpy(block, magic, sizeof(magic));
}

static void put_live(struct dafs_image *img, const struct live *live, unsigned n)
{
	uint8_t *block = malloc(img->block_size);

	for (unsigned i = 0; i < n; i++) {
		fill(block, img->block_size, i);
		scratch_ok(dafs_txn_put(img, live->pblk[i], block));
	}
	free(block);
}

/* The live blocks of the file as pread finds them: are they all new (true), or all old? */
static bool look_at_range(const char *path, const struct live *live, unsigned from, unsigned n)
{
	uint32_t block_size = live->block_size;
	uint8_t *want = malloc(block_size), *got = malloc(block_size);
	unsigned is_new = 0, is_old = 0;
	int fd = open(path, O_RDONLY);

	for (unsigned i = from; i < from + n; i++) {
		fill(want, block_size, i);
		assert_int_equal(pread(fd, got, block_size, (off_t)(live->pblk[i] * block_size)),
				 block_size);
		is_new += memcmp(got, want, block_size) == 0;
		memset(want, 'o', block_size);
		is_old += memcmp(got, want, block_size) == 0;
	}
	close(fd);
	free(want);
	free(got);
	if (is_new != n && is_old != n)
		fail_msg("%u blocks new, %u old of %u", is_new, is_old, n);
	return is_new == n;
}

static bool look_at_live(const char *path, const struct live *live, unsigned n)
{
	return look_at_range(path, live, 0, n);
}

static void assert_image_live(struct dafs_image *img, const struct live *live, unsigned n)
{
	uint8_t *want = malloc(img->block_size), *got = malloc(img->block_size);

	for (unsigned i = 0; i < n; i++) {
		fill(want, img->block_size, i);
		scratch_ok(dafs_image_read_blks(img, live->pblk[i], 1, got));
		assert_memory_equal(want, got, img->block_size);
	}
	free(want);
	free(got);
}

static const char *const journals[][2] = {
	{ "-t ext4 -b 4096", "64M" },		/* tags of 16 bytes with checksum v3 */
	{ "-t ext4 -O ^metadata_csum", "64M" }, /* 64 bits, no checksums */
	{ "-t ext4 -O ^metadata_csum,^64bit", "64M" },
	{ "-t ext4 -O ^64bit -b 1024", "64M" },
	{ "-t ext4 -b 2048 -J size=8", "64M" },
	{ "-t ext3 -b 1024", "40M" },
	{ "-t ext4 -O fast_commit", "64M" },
	{ "-t ext4 -O bigalloc", "256M" },
	{ "-t ext2", "64M" }, /* none: a redo record */
	{ "-t ext4 -O ^has_journal -b 1024", "64M" },
};

static struct dafs_image *begin(const char *path)
{
	struct dafs_image *img;

	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	scratch_ok(dafs_txn_begin(img));
	return img;
}

static void test_commit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++) {
		struct live live;
		const char *path = make_image("commit.img", journals[i][0], journals[i][1], &live);
		struct dafs_image *img = begin(path);

		put_live(img, &live, 20);
		assert_int_equal(dafs_txn_live_blks(img), 20);
		assert_image_live(img, &live, 20);
		assert_false(look_at_live(path, &live, 20));
		scratch_ok(dafs_txn_commit(img, "a tag", 5));
		assert_true(look_at_live(path, &live, 20));
		assert_true(dafs_txn_last_tag_is(img, "a tag", 5));
		scratch_ok(dafs_txn_begin(img));
		put_live(img, &live, PUT_BLKS);
		scratch_ok(dafs_txn_commit(img, NULL, 0));
		assert_true(look_at_live(path, &live, PUT_BLKS));
		dafs_image_close(img);
		scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
		assert_true(dafs_txn_last_tag_is(img, "a tag", 5));
		assert_false(dafs_txn_last_tag_is(img, "a tat", 5));
		dafs_image_close(img);
		scratch_fsck(path);
	}
}

static void test_abort(void **state)
{
	struct live live;
	const char *path = make_image("abort.img", "-t ext4 -b 4096", "64M", &live);
	struct dafs_image *img = begin(path);
	uint8_t *buf;
	(void)state;

	put_live(img, &live, 20);
	scratch_ok(dafs_txn_get(img, live.pblk[30], true, &buf));
	memset(buf, 'x', img->block_size);
	assert_int_equal(dafs_txn_live_blks(img), 21);
	dafs_txn_abort(img);
	assert_int_equal(dafs_txn_live_blks(img), 0);
	assert_err(DAFS_ET_SEQUENCE, dafs_txn_put(img, live.pblk[0], scratch_dir));
	assert_err(DAFS_ET_SEQUENCE, dafs_txn_commit(img, NULL, 0));
	dafs_image_close(img);
	assert_false(look_at_live(path, &live, 31));
	scratch_fsck(path);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	assert_err(EROFS, dafs_txn_begin(img));
	dafs_image_close(img);
}

/* A stopped commit: what e2fsck makes of it, what we make of it reading and writing. */
static void stop_and_settle(const char *options, const char *size, enum dafs_txn_stop stop,
			    bool want_new)
{
	struct live live;
	const char *path = make_image("stop.img", options, size, &live);
	const char *copy = scratch_path("stop-copy.img"), *other = scratch_path("stop-e2fsck.img");
	bool journaled = !strstr(options, "ext2") && !strstr(options, "^has_journal");
	struct dafs_image *img = begin(path);

	put_live(img, &live, PUT_BLKS);
	dafs_txn_stop = stop;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "tag", 3));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	assert_err(DAFS_ET_HANDLE_FAILED, dafs_txn_begin(img));
	dafs_image_close(img);
	assert_int_equal(scratch_run("cp --sparse=always '%s' '%s' && cp --sparse=always '%s' '%s'",
				     path, copy, path, other),
			 0);
	if (journaled) {
		/* e2fsck: replays with 1 (or has nothing to do), then is content. */
		assert_true(scratch_run("/sbin/e2fsck -fy '%s' >/dev/null 2>&1", other) <= 1);
		assert_int_equal(look_at_live(other, &live, PUT_BLKS), want_new);
		scratch_fsck(other);
		scratch_ok(dafs_image_open(&scratch_ctx, other, 0, 0, 0, &img));
		assert_int_equal(dafs_txn_last_tag_is(img, "tag", 3), want_new);
		dafs_image_close(img);
	}

	/* Reading changes nothing and sees the settled state. */
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	if (want_new)
		assert_image_live(img, &live, PUT_BLKS);
	assert_int_equal(dafs_txn_last_tag_is(img, "tag", 3), want_new);
	dafs_image_close(img);
	assert_int_equal(scratch_run("cmp '%s' '%s'", path, copy), 0);

	/* Writing finishes it. */
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_int_equal(dafs_txn_last_tag_is(img, "tag", 3), want_new);
	dafs_image_close(img);
	assert_int_equal(look_at_live(path, &live, PUT_BLKS), want_new);
	scratch_fsck(path);
	assert_int_equal(scratch_run("test ! -e '%s.dafs-redo'", path), 0);
}

static void test_stopped_before(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++)
		stop_and_settle(journals[i][0], journals[i][1], DAFS_TXN_STOP_BEFORE_COMMIT, false);
}

static void test_stopped_after(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++)
		stop_and_settle(journals[i][0], journals[i][1], DAFS_TXN_STOP_AFTER_COMMIT, true);
}

static void test_stopped_in_checkpoint(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++)
		stop_and_settle(journals[i][0], journals[i][1], DAFS_TXN_STOP_IN_CHECKPOINT, true);
}

/* The kernel replays, keeps the mark of the tag, and is content with what it finds. */
static void test_kernel_replays(void **state)
{
	(void)state;
	if (geteuid() != 0 || scratch_run("losetup -f >/dev/null 2>&1"))
		skip();
	for (size_t i = 0; i < 8; i++) {
		struct live live;
		const char *path = make_image("kernel.img", journals[i][0], journals[i][1], &live);
		const char *mnt = scratch_path("mnt");
		struct dafs_image *img = begin(path);

		put_live(img, &live, PUT_BLKS);
		dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
		assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "tag", 3));
		dafs_txn_stop = DAFS_TXN_STOP_NONE;
		dafs_image_close(img);
		mkdir(mnt, 0700);
		assert_int_equal(
			scratch_run(
				"mount -o loop '%s' '%s' && touch '%s/new' && sync && umount '%s'",
				path, mnt, mnt, mnt),
			0);
		assert_true(look_at_live(path, &live, PUT_BLKS));
		scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
		assert_true(dafs_txn_last_tag_is(img, "tag", 3));
		/* And once more after the kernel used the journal. */
		scratch_ok(dafs_txn_begin(img));
		put_live(img, &live, 50);
		scratch_ok(dafs_txn_commit(img, "next", 4));
		dafs_image_close(img);
		scratch_fsck(path);
		assert_int_equal(
			scratch_run("mount -o loop '%s' '%s' && umount '%s'", path, mnt, mnt), 0);
		scratch_fsck(path);
	}
}

static void test_new_blocks(void **state)
{
	struct live live;
	uint64_t free_blk = 0;
	const char *path = make_image("new.img", "-t ext4 -b 1024", "64M", &live);
	struct dafs_image *img = begin(path);
	uint8_t block[1024], *big = malloc(2 << 20), *got = malloc(2 << 20);
	const uint8_t *bits;
	uint64_t writes;
	uint32_t grp = dafs_group_count(img) - 1;
	uint8_t *inside;
	(void)state;

	/* Live ones are refused; a whole free group takes them. */
	memset(block, 'n', sizeof(block));
	assert_err(DAFS_ET_INTERNAL, dafs_txn_put_new(img, live.pblk[0], 1, block));
	assert_err(DAFS_ET_INTERNAL, dafs_txn_check_new(img, 1, 1));
	assert_err(DAFS_ET_INTERNAL, dafs_txn_check_new(img, live.pblk[0], 2));
	assert_err(DAFS_ET_RANGE, dafs_txn_put_new(img, img->blocks, 1, block));
	scratch_ok(dafs_group_block_bits(img, grp, &bits));
	for (uint32_t c = 0; c < dafs_group_clusters(img, grp); c++) {
		if (!(bits[c >> 3] >> (c & 7) & 1)) {
			free_blk = dafs_group_first_pblk(img, grp) + c;
			break;
		}
	}
	assert_true(free_blk > 0);
	writes = img->dev->nwrites;
	/* Backwards one by one: one write in the end. */
	for (unsigned i = 500; i-- > 0;) {
		block[0] = (uint8_t)i;
		scratch_ok(dafs_txn_put_new(img, free_blk + i, 1, block));
	}
	assert_int_equal(img->dev->nwrites, writes);
	scratch_ok(dafs_image_read_blks(img, free_blk, 500, big));
	assert_int_equal(big[1024 * 300], 300 & 255);
	/* Changed after it was put. */
	scratch_ok(dafs_txn_get(img, free_blk + 3, true, &inside));
	memset(big, 'B', 2 << 20);
	scratch_ok(dafs_txn_put_new(img, free_blk + 1000, 2000, big));
	inside[1] = 'c';
	assert_int_equal(dafs_txn_live_blks(img), 0);
	scratch_ok(dafs_txn_commit(img, NULL, 0));
	scratch_ok(dafs_image_read_blks(img, free_blk, 2000, got));
	assert_int_equal(got[1024 * 3], 3);
	assert_int_equal(got[1024 * 3 + 1], 'c');
	assert_int_equal(got[1024 * 499], 499 & 255);
	assert_int_equal(got[1024 * 1999], 'B');
	dafs_image_close(img);
	free(big);
	free(got);
	scratch_fsck(path);
}

static void test_journal_full(void **state)
{
	struct live live;
	const char *path = make_image("full.img", "-t ext4 -b 1024 -J size=1", "40M", &live);
	struct dafs_image *img = begin(path);
	uint64_t capacity = dafs_txn_capacity_blks(img);
	uint8_t *block = calloc(1, img->block_size);
	(void)state;

	assert_in_range(capacity, 900, 1024);
	for (unsigned i = 0; i <= capacity; i++)
		scratch_ok(dafs_txn_put(img, live.pblk[i % FILE_BLKS], block));
	assert_err(DAFS_ET_JOURNAL_FULL, dafs_txn_commit(img, NULL, 0));
	assert_false(look_at_live(path, &live, 100));
	dafs_txn_abort(img);
	/* As many as fit, the superblock among them. */
	scratch_ok(dafs_txn_begin(img));
	put_live(img, &live, (unsigned)capacity - 1);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	assert_true(scratch_run("/sbin/e2fsck -fy '%s' >/dev/null 2>&1", path) <= 1);
	assert_true(look_at_live(path, &live, (unsigned)capacity - 1));
	scratch_fsck(path);
	free(block);
}

static void test_revoke(void **state)
{
	struct live live;
	const char *path = make_image("revoke.img", "-t ext4 -b 1024", "64M", &live);
	struct dafs_image *img = begin(path);
	(void)state;

	put_live(img, &live, 10);
	for (unsigned i = 0; i < 1000; i++)
		scratch_ok(dafs_txn_revoke(img, live.pblk[i]));
	assert_int_equal(dafs_txn_live_blks(img), 0);
	put_live(img, &live, 5);
	assert_int_equal(dafs_txn_live_blks(img), 5);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	assert_int_equal(
		scratch_run("/sbin/debugfs -R 'logdump' '%s' 2>/dev/null | grep -q 'revoke'", path),
		0);
	assert_true(scratch_run("/sbin/e2fsck -fy '%s' >/dev/null 2>&1", path) <= 1);
	assert_true(look_at_live(path, &live, 5));
	assert_false(look_at_range(path, &live, 5, 10));
	scratch_fsck(path);
}

/* Give one half of the superblock (512 bytes) of path the bytes it has in other. */
static void tear_super(const char *path, const char *other, unsigned half)
{
	assert_int_equal(scratch_run("dd if='%s' of='%s' bs=512 skip=%u seek=%u count=1 "
				     "conv=notrunc 2>/dev/null",
				     other, path, 2 + half, 2 + half),
			 0);
}

/* Make an image file that has the superblock of path as its interrupted commit will make it. */
static void write_settled_super(const char *path, const char *to)
{
	struct dafs_image *img;
	uint8_t block[4096];
	int fd = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);

	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_read_blks(img, 1024 / img->block_size, 1, block));
	assert_int_equal(pwrite(fd, block + 1024 % img->block_size, 1024, 1024), 1024);
	dafs_image_close(img);
	close(fd);
}

/* The superblock's write was cut between its two sectors: before the commit (the flag), in the
 * checkpoint, after it. */
static void test_torn_super(void **state)
{
	static const char *const options[] = { "-t ext4 -b 4096", "-t ext4 -b 1024",
					       "-t ext4 -b 1024 -O ^has_journal" };
	(void)state;

	for (size_t o = 0; o < 3; o++) {
		struct live live;
		const char *path = make_image("torn.img", options[o], "64M", &live);
		char before[256], after[256], work[256];
		struct dafs_image *img;

		strcpy(before, scratch_path("torn-before.img"));
		strcpy(after, scratch_path("torn-after.img"));
		strcpy(work, scratch_path("torn-work.img"));
		assert_int_equal(scratch_run("cp --sparse=always '%s' '%s'", path, before), 0);
		img = begin(path);
		put_live(img, &live, 20);
		dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
		assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "tag", 3));
		dafs_txn_stop = DAFS_TXN_STOP_NONE;
		dafs_image_close(img);
		write_settled_super(path, after);
		for (unsigned half = 0; half < 2; half++) {
			/* In the checkpoint. */
			assert_int_equal(
				scratch_run("cp --sparse=always '%s' '%s' && "
					    "if test -e '%s.dafs-redo'; then cp -p '%s.dafs-redo' "
					    "'%s.dafs-redo'; fi",
					    path, work, path, path, work),
				0);
			tear_super(work, after, half);
			scratch_ok(dafs_image_open(&scratch_ctx, work, 0, 0, 0, &img));
			assert_true(dafs_txn_last_tag_is(img, "tag", 3));
			assert_image_live(img, &live, 20);
			dafs_image_close(img);
			scratch_ok(dafs_image_open(&scratch_ctx, work, DAFS_IMAGE_RW, 0, 0, &img));
			assert_true(dafs_txn_last_tag_is(img, "tag", 3));
			dafs_image_close(img);
			assert_true(look_at_live(work, &live, 20));
			scratch_fsck(work);
			if (o == 2)
				continue;
			/* While the flag was set: the log is written, the journal still empty. */
			assert_int_equal(scratch_run("cp --sparse=always '%s' '%s'", before, work),
					 0);
			tear_super(work, path, half);
			scratch_ok(dafs_image_open(&scratch_ctx, work, 0, 0, 0, &img));
			assert_false(dafs_txn_last_tag_is(img, "tag", 3));
			dafs_image_close(img);
			scratch_ok(dafs_image_open(&scratch_ctx, work, DAFS_IMAGE_RW, 0, 0, &img));
			dafs_image_close(img);
			assert_false(look_at_live(work, &live, 20));
			scratch_fsck(work);
		}
		/* Torn for no reason that can be found. */
		assert_int_equal(scratch_run("cp --sparse=always '%s' '%s' && printf '\\001' | dd "
					     "of='%s' bs=1 seek=1200 "
					     "conv=notrunc 2>/dev/null && cmp -s '%s' '%s'; test "
					     "$? = 1 && rm -f "
					     "'%s.dafs-redo'",
					     before, work, work, before, work, work),
				 0);
		assert_err(EXT2_ET_SB_CSUM_INVALID,
			   dafs_image_open(&scratch_ctx, work, DAFS_IMAGE_RW, 0, 0, &img));
		assert_err(EXT2_ET_SB_CSUM_INVALID,
			   dafs_image_open(&scratch_ctx, work, 0, 0, 0, &img));
	}
}

/* A redo record is for one state of one image. */
static void test_redo(void **state)
{
	struct live live;
	const char *path = make_image("redo.img", "-t ext4 -O ^has_journal", "64M", &live);
	const char *redo = scratch_path("redo.img.dafs-redo");
	struct dafs_image *img = begin(path);
	struct stat st;
	(void)state;

	put_live(img, &live, 30);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, "t", 1));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	assert_int_equal(stat(redo, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	/* Used by others in between: refused, nothing changed. */
	assert_int_equal(scratch_run("cp '%s' '%s.keep' && /sbin/tune2fs -C 7 '%s' >/dev/null",
				     path, path, path),
			 0);
	assert_err(DAFS_ET_CACHE_STALE,
		   dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_false(look_at_live(path, &live, 30));
	assert_int_equal(scratch_run("cp '%s.keep' '%s'", path, path), 0);

	/* Damaged: that commit did not happen. */
	assert_int_equal(scratch_run("cp '%s' '%s.keep' && truncate -s -1 '%s'", redo, redo, redo),
			 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	dafs_image_close(img);
	assert_int_equal(access(redo, F_OK), 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	dafs_image_close(img);
	assert_int_not_equal(access(redo, F_OK), 0);
	assert_false(look_at_live(path, &live, 30));

	/* Not ours to trust. */
	assert_int_equal(scratch_run("cp '%s.keep' '%s' && chmod 0666 '%s'", redo, redo, redo), 0);
	assert_err(DAFS_ET_CACHE_PLACE,
		   dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_int_equal(scratch_run("chmod 0600 '%s'", redo), 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	assert_true(dafs_txn_last_tag_is(img, "t", 1));
	dafs_image_close(img);
	assert_true(look_at_live(path, &live, 30));
	scratch_fsck(path);
}

struct kept {
	void *record;
	size_t len;
	unsigned drops;
};

static errcode_t keep_record(void *arg, const void *record, size_t len_bytes)
{
	struct kept *kept = arg;

	kept->record = malloc(len_bytes);
	memcpy(kept->record, record, len_bytes);
	kept->len = len_bytes;
	return 0;
}

static errcode_t drop_record(void *arg)
{
	((struct kept *)arg)->drops++;
	return 0;
}

static void test_redo_elsewhere(void **state)
{
	static const struct dafs_redo_ops ops = { keep_record, drop_record };
	struct live live;
	const char *path = make_image("elsewhere.img", "-t ext2 -b 1024", "32M", &live);
	struct dafs_image *img = begin(path);
	struct kept kept = { NULL, 0, 0 };
	(void)state;

	dafs_txn_set_redo(img, &ops, &kept);
	put_live(img, &live, 30);
	dafs_txn_stop = DAFS_TXN_STOP_IN_CHECKPOINT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	assert_int_equal(kept.drops, 0);
	dafs_image_close(img);
	assert_int_equal(scratch_run("test ! -e '%s.dafs-redo'", path), 0);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	((uint8_t *)kept.record)[kept.len / 2] ^= 1;
	assert_err(DAFS_ET_CORRUPT_JOURNAL, dafs_txn_redo(img, kept.record, kept.len));
	((uint8_t *)kept.record)[kept.len / 2] ^= 1;
	assert_err(DAFS_ET_CORRUPT_JOURNAL, dafs_txn_redo(img, kept.record, 3));
	scratch_ok(dafs_txn_redo(img, kept.record, kept.len));
	scratch_ok(dafs_txn_redo(img, kept.record, kept.len));
	dafs_image_close(img);
	assert_true(look_at_live(path, &live, 30));
	free(kept.record);
	scratch_fsck(path);
}

static void test_fingerprint(void **state)
{
	struct live live;
	uint64_t one, two, three;
	const char *path = make_image("print.img", "-t ext4 -b 4096", "64M", &live);
	struct dafs_image *img;
	uint8_t uuid[16], uuid2[16];
	(void)state;

	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &one));
	dafs_image_close(img);
	img = begin(path);
	scratch_ok(dafs_image_fingerprint(img, uuid2, &two));
	assert_int_equal(one, two);
	assert_memory_equal(uuid, uuid2, 16);
	put_live(img, &live, 3);
	scratch_ok(dafs_txn_commit(img, NULL, 0));
	scratch_ok(dafs_image_fingerprint(img, uuid, &two));
	assert_int_not_equal(one, two);
	dafs_image_close(img);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &three));
	assert_int_equal(two, three);
	dafs_image_close(img);

	/* The same before a replay and after it. */
	img = begin(path);
	put_live(img, &live, 4);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_err(DAFS_ET_CANCELLED, dafs_txn_commit(img, NULL, 0));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_image_close(img);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &one));
	dafs_image_close(img);
	assert_int_not_equal(one, three);
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &two));
	dafs_image_close(img);
	assert_int_equal(one, two);
	scratch_ok(dafs_image_open(&scratch_ctx, path, 0, 0, 0, &img));
	scratch_ok(dafs_image_fingerprint(img, uuid, &two));
	dafs_image_close(img);
	assert_int_equal(one, two);
	assert_int_equal(scratch_run("/sbin/tune2fs -L other '%s' >/dev/null", path), 0);
	scratch_fsck(path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_stopped_before),
		cmocka_unit_test(test_stopped_after),
		cmocka_unit_test(test_stopped_in_checkpoint),
		cmocka_unit_test(test_kernel_replays),
		cmocka_unit_test(test_new_blocks),
		cmocka_unit_test(test_journal_full),
		cmocka_unit_test(test_revoke),
		cmocka_unit_test(test_torn_super),
		cmocka_unit_test(test_redo),
		cmocka_unit_test(test_redo_elsewhere),
		cmocka_unit_test(test_fingerprint),
	};

	return cmocka_run_group_tests_name("txn", tests, scratch_setup, scratch_teardown);
}
