/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * txn_fx - an image with a file whose blocks play the live ones of a transaction: new contents for
 * them, and whether the image has all of those or none.
 */
#ifndef TESTS_UNIT_TXN_FX_H
#define TESTS_UNIT_TXN_FX_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/group.h"
#include "image/txn.h"
#include "scratch.h"

enum { FILE_BLKS = 1100, PUT_BLKS = 900 };

/* The blocks of a file that play the live ones. */
struct live {
	uint64_t pblk[FILE_BLKS];
	uint32_t block_size;
};

/* An image with a file of at least FILE_BLKS blocks full of 'o'. */
static inline const char *make_image(const char *name, const char *options, const char *size,
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
static inline void fill(uint8_t *block, uint32_t block_size, unsigned i)
{
	static const uint8_t magic[4] = { 0xc0, 0x3b, 0x39, 0x98 };

	memset(block, 'A' + (int)(i % 26), block_size);
	memcpy(block + 8, &i, sizeof(i));
	if (i % 7 == 0)
		memcpy(block, magic, sizeof(magic));
}

static inline void put_live(struct dafs_image *img, const struct live *live, unsigned n)
{
	uint8_t *block = malloc(img->block_size);

	for (unsigned i = 0; i < n; i++) {
		fill(block, img->block_size, i);
		scratch_ok(dafs_txn_put(img, live->pblk[i], block));
	}
	free(block);
}

/* The live blocks of the file as pread finds them: are they all new (true), or all old? */
static inline bool look_at_range(const char *path, const struct live *live, unsigned from,
				 unsigned n)
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

static inline bool look_at_live(const char *path, const struct live *live, unsigned n)
{
	return look_at_range(path, live, 0, n);
}

static inline void assert_image_live(struct dafs_image *img, const struct live *live, unsigned n)
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

static inline struct dafs_image *begin(const char *path)
{
	struct dafs_image *img;

	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &img));
	scratch_ok(dafs_txn_begin(img));
	return img;
}

#endif
