/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * undo - see undo.h. Layout: e2undo(8)'s "E2UNDO02", little-endian.
 */
#include "config.h"

#include "image/undo.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "image/journal.h"
#include "image/txn_int.h"

#define UNDO_MAGIC "E2UNDO02"

enum {
	BLOCK_BYTES = 4096, /* of files made here: blocks of the file, and of the device */
	BLOCK_BYTES_MIN = 1024,
	BLOCK_BYTES_MAX = 1 << 20,
	RUN_BYTES_MAX = 256 << 10, /* e2undo takes up to 512 blocks of the file a key */
	KEY_BYTES_MAX = 512,	   /* ... times the block size */
	STATE_FINISHED = 1,
	COMPAT_FS_OFFSET = 1,
	PAGE_WORDS = 64,
	PAGE_BITS = PAGE_WORDS * 64,
};
#define KEY_BLOCK_MAGIC 0xCADECADEu

struct header {
	char magic[8];
	uint64_t num_keys;
	uint64_t super_offset, key_offset; /* in blocks of the file */
	uint32_t block_size, fs_block_size;
	uint32_t sb_crc;
	uint32_t state;
	uint32_t f_compat, f_incompat, f_rocompat;
	uint32_t pad;
	uint64_t fs_offset; /* in bytes */
	uint8_t padding[436];
	uint32_t crc;
};
_Static_assert(sizeof(struct header) == 512, "layout of the undo header");

struct key {
	uint64_t fsblk;
	uint32_t crc, size;
};

struct key_block {
	uint32_t magic, crc;
	uint64_t reserved;
	struct key keys[];
};

/* Which blocks of the device are saved. */
struct page {
	uint64_t index;
	uint64_t words[PAGE_WORDS];
	UT_hash_handle hh;
};

struct dafs_undo {
	struct dafs_dev_ops ops; /* first: dev->ops points at it */
	const struct dafs_dev_ops *below;
	struct dafs_dev *dev;
	pthread_mutex_t lock;
	char *path;
	int fd;
	struct header hdr;	/* as on disk, but for num_keys */
	uint32_t bs, dev_bs;	/* block sizes of file and device */
	uint64_t nkeys;		/* in all */
	unsigned per_block;	/* keys that a key block holds */
	struct key_block *keys; /* the last one, being filled */
	uint64_t keys_blk, end_blk;
	struct page *saved;
	uint8_t *buf; /* RUN_BYTES_MAX */
	bool waiting; /* something is not durable */
	errcode_t err;
};

static errcode_t fail(const struct dafs_undo *u, errcode_t err, const char *what)
{
	return dafs_fail(u->dev->ctx, err, "%s: %s", u->path, what);
}

/* ---- the file ---- */

static errcode_t file_write(const struct dafs_undo *u, const void *buf, size_t len, uint64_t off)
{
	const char *at = buf;

	while (len) {
		ssize_t put = pwrite(u->fd, at, len, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return fail(u, put < 0 ? errno : EIO, "writing the undo file");
		at += put;
		off += (uint64_t)put;
		len -= (size_t)put;
	}
	return 0;
}

/* All of it, or DAFS_ET_UNDO_FILE. */
static errcode_t file_read(const struct dafs_undo *u, void *buf, size_t len, uint64_t off)
{
	char *at = buf;

	while (len) {
		ssize_t got = pread(u->fd, at, len, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(u, errno, "reading the undo file");
		if (!got)
			return fail(u, DAFS_ET_UNDO_FILE, "cut short");
		at += got;
		off += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

static errcode_t file_sync(const struct dafs_undo *u)
{
	if (u->dev->ctx->no_sync || !fdatasync(u->fd))
		return 0;
	return fail(u, errno, "writing the undo file");
}

static errcode_t write_header(struct dafs_undo *u)
{
	u->hdr.num_keys = htole64(u->nkeys);
	u->hdr.crc = htole32(dafs_crc32c(~0u, &u->hdr, offsetof(struct header, crc)));
	return file_write(u, &u->hdr, sizeof(u->hdr), 0);
}

static errcode_t write_keys(const struct dafs_undo *u)
{
	u->keys->crc = 0;
	u->keys->crc = htole32(dafs_crc32c(~0u, u->keys, u->bs));
	return file_write(u, u->keys, u->bs, u->keys_blk * u->bs);
}

/* Everything saved so far is durable, then counts. */
static errcode_t make_durable(struct dafs_undo *u)
{
	errcode_t err;

	if (!u->waiting)
		return 0;
	err = write_keys(u);
	if (!err)
		err = file_sync(u);
	if (!err)
		err = write_header(u);
	if (!err)
		err = file_sync(u);
	u->waiting = err != 0;
	return err;
}

/* ---- what is saved ---- */

static struct page *page_of(const struct dafs_undo *u, uint64_t blk)
{
	uint64_t index = blk / PAGE_BITS;
	struct page *page;

	HASH_FIND(hh, u->saved, &index, sizeof(index), page);
	return page;
}

static bool is_saved(const struct dafs_undo *u, uint64_t blk)
{
	const struct page *page = page_of(u, blk);

	return page && page->words[blk % PAGE_BITS / 64] >> blk % 64 & 1;
}

static errcode_t mark_saved(struct dafs_undo *u, uint64_t blk, uint64_t n)
{
	for (; n; blk++, n--) {
		struct page *page = page_of(u, blk);

		if (!page) {
			page = calloc(1, sizeof(*page));
			if (!page)
				return ENOMEM;
			page->index = blk / PAGE_BITS;
			HASH_ADD(hh, u->saved, index, sizeof(page->index), page);
			if (!page->hh.tbl) {
				free(page);
				return ENOMEM;
			}
		}
		page->words[blk % PAGE_BITS / 64] |= UINT64_C(1) << blk % 64;
	}
	return 0;
}

static void next_key_block(struct dafs_undo *u)
{
	memset(u->keys, 0, u->bs);
	u->keys->magic = htole32(KEY_BLOCK_MAGIC);
	u->keys_blk = u->end_blk++;
}

static errcode_t add_key(struct dafs_undo *u, uint64_t blk, uint32_t size)
{
	unsigned at = (unsigned)(u->nkeys % u->per_block);
	errcode_t err = 0;

	if (!at && u->nkeys) {
		err = write_keys(u);
		next_key_block(u);
	}
	if (!err)
		err = file_write(u, u->buf, size, u->end_blk * u->bs);
	if (err)
		return err;
	u->keys->keys[at] = (struct key){ .fsblk = htole64(blk),
					  .crc = htole32(dafs_crc32c(~0u, u->buf, size)),
					  .size = htole32(size) };
	u->end_blk += (size + u->bs - 1) / u->bs;
	u->nkeys++;
	u->waiting = true;
	return 0;
}

static errcode_t save_run(struct dafs_undo *u, uint64_t blk, uint64_t n)
{
	uint64_t off = blk * u->dev_bs, size = n * u->dev_bs;
	errcode_t err;

	if (size > u->dev->size_bytes - off)
		size = u->dev->size_bytes - off;
	err = u->below->pread(u->dev, u->buf, size, off);
	if (err)
		return dafs_fail(u->dev->ctx, err,
				 "%s: block at byte %llu cannot be saved for the undo file",
				 u->dev->address, (unsigned long long)off);
	err = add_key(u, blk, (uint32_t)size);
	return err ? err : mark_saved(u, blk, n);
}

/* What is past the end of the device has no contents. */
static errcode_t save(struct dafs_undo *u, uint64_t off, uint64_t len)
{
	uint64_t most = (u->dev->size_bytes + u->dev_bs - 1) / u->dev_bs;
	uint64_t end = (off + len + u->dev_bs - 1) / u->dev_bs;
	uint64_t run_most = RUN_BYTES_MAX / u->dev_bs;

	if (end > most)
		end = most;
	for (uint64_t blk = off / u->dev_bs; blk < end && !u->err;) {
		uint64_t n = 0;

		while (n < run_most && blk + n < end && !is_saved(u, blk + n))
			n++;
		if (n)
			u->err = save_run(u, blk, n);
		blk += n ? n : 1;
	}
	return u->err;
}

/* Before a write. */
static errcode_t ahead(struct dafs_undo *u, uint64_t off, uint64_t len)
{
	errcode_t err;

	pthread_mutex_lock(&u->lock);
	err = save(u, off, len);
	if (!err)
		err = u->err = make_durable(u);
	pthread_mutex_unlock(&u->lock);
	return err;
}

errcode_t dafs_undo_save_txn(struct dafs_undo *u, struct dafs_image *img)
{
	struct dafs_journal_block *live = NULL;
	size_t n = 0;
	errcode_t err = dafs_txn_list(img->txn, DAFS_TBLK_LIVE, &live, &n);

	pthread_mutex_lock(&u->lock);
	for (size_t i = 0; i < n && !err; i++)
		err = save(u, live[i].pblk << img->block_bits, img->block_size);
	if (!err)
		err = u->err = make_durable(u);
	pthread_mutex_unlock(&u->lock);
	free(live);
	return err;
}

/* ---- the device's operations ---- */

static struct dafs_undo *of(const struct dafs_dev *dev)
{
	return (struct dafs_undo *)(uintptr_t)dev->ops;
}

static errcode_t undo_pread(struct dafs_dev *dev, void *buf, size_t len, uint64_t off)
{
	return of(dev)->below->pread(dev, buf, len, off);
}

static errcode_t undo_pwritev(struct dafs_dev *dev, const struct iovec *iov, int niov, uint64_t off)
{
	struct dafs_undo *u = of(dev);
	uint64_t len = 0;
	errcode_t err;

	for (int i = 0; i < niov; i++)
		len += iov[i].iov_len;
	err = ahead(u, off, len);
	return err ? err : u->below->pwritev(dev, iov, niov, off);
}

static errcode_t undo_copy_from(struct dafs_dev *dev, int fd, uint64_t src_off, uint64_t off,
				uint64_t len)
{
	struct dafs_undo *u = of(dev);
	errcode_t err = ahead(u, off, len);

	return err ? err : u->below->copy_from(dev, fd, src_off, off, len);
}

static errcode_t undo_sync(struct dafs_dev *dev)
{
	return of(dev)->below->sync(dev);
}

static errcode_t undo_zero(struct dafs_dev *dev, uint64_t off, uint64_t len)
{
	struct dafs_undo *u = of(dev);
	errcode_t err = ahead(u, off, len);

	return err ? err : u->below->zero(dev, off, len);
}

static errcode_t undo_discard(struct dafs_dev *dev, uint64_t off, uint64_t len)
{
	struct dafs_undo *u = of(dev);
	errcode_t err = ahead(u, off, len);

	return err ? err : u->below->discard(dev, off, len);
}

/* Bytes that a smaller file loses are saved; a file's size itself is not in the format. */
static errcode_t undo_resize(struct dafs_dev *dev, uint64_t size)
{
	struct dafs_undo *u = of(dev);
	errcode_t err = size < dev->size_bytes ? ahead(u, size, dev->size_bytes - size) : 0;

	return err ? err : u->below->resize(dev, size);
}

static void undo_close(struct dafs_dev *dev)
{
	of(dev)->below->close(dev);
}

/* ---- begin and end ---- */

/* The superblock as it is on the device, with its magic turned over so that the file is not taken
 * for a file system. */
static errcode_t read_super(struct dafs_undo *u, struct ext2_super_block *sb)
{
	errcode_t err = 0;

	memset(sb, 0, sizeof(*sb));
	if (u->dev->size_bytes >= SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE)
		err = u->below->pread(u->dev, sb, sizeof(*sb), SUPERBLOCK_OFFSET);
	if (err)
		return fail(u, err, "the superblock cannot be read for the undo file");
	u->hdr.sb_crc = htole32(dafs_crc32c(~0u, sb, sizeof(*sb)));
	sb->s_magic = (uint16_t)~sb->s_magic;
	return 0;
}

static errcode_t write_super(struct dafs_undo *u)
{
	struct ext2_super_block sb;
	errcode_t err = read_super(u, &sb);

	return err ? err : file_write(u, &sb, sizeof(sb), le64toh(u->hdr.super_offset) * u->bs);
}

static errcode_t set_sizes(struct dafs_undo *u, uint32_t bs, uint32_t dev_bs)
{
	u->bs = bs;
	u->dev_bs = dev_bs;
	u->per_block = (unsigned)(bs / sizeof(struct key) - 1);
	u->keys = calloc(1, bs);
	u->buf = malloc(RUN_BYTES_MAX);
	return u->keys && u->buf ? 0 : ENOMEM;
}

/* The new name must be there after a crash, or the saved blocks are for nothing. */
static errcode_t sync_folder(const struct dafs_undo *u)
{
	char *copy = strdup(u->path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	errcode_t err = 0;

	free(copy);
	/* (A folder that cannot be read cannot be synced; the file itself is.) */
	if (fd < 0)
		return 0;
	if (!u->dev->ctx->no_sync && fsync(fd) && errno != EINVAL)
		err = fail(u, errno, "making its name durable");
	close(fd);
	return err;
}

static errcode_t begin_new(struct dafs_undo *u)
{
	errcode_t err = set_sizes(u, BLOCK_BYTES, BLOCK_BYTES);

	if (err)
		return err;
	memcpy(u->hdr.magic, UNDO_MAGIC, sizeof(u->hdr.magic));
	u->hdr.super_offset = htole64(1);
	u->hdr.key_offset = htole64(2);
	u->hdr.block_size = u->hdr.fs_block_size = htole32(BLOCK_BYTES);
	if (u->dev->start_bytes) {
		u->hdr.f_compat = htole32(COMPAT_FS_OFFSET);
		u->hdr.fs_offset = htole64(u->dev->start_bytes);
	}
	u->end_blk = 2;
	next_key_block(u);
	u->waiting = true;
	err = write_super(u);
	if (!err)
		err = make_durable(u);
	return err ? err : sync_folder(u);
}

static bool size_ok(uint32_t bytes)
{
	return bytes >= BLOCK_BYTES_MIN && bytes <= BLOCK_BYTES_MAX && !(bytes & (bytes - 1)) &&
	       bytes <= RUN_BYTES_MAX;
}

/* Is it an undo file, and the image as its run left it? */
static errcode_t judge_old(struct dafs_undo *u)
{
	struct ext2_super_block is, was;
	struct header *h = &u->hdr;
	errcode_t err = file_read(u, h, sizeof(*h), 0);

	if (err)
		return err;
	if (memcmp(h->magic, UNDO_MAGIC, sizeof(h->magic)) ||
	    le32toh(h->crc) != dafs_crc32c(~0u, h, offsetof(struct header, crc)))
		return fail(u, DAFS_ET_UNDO_FILE, "not an undo file");
	if (h->f_incompat || h->f_rocompat || !size_ok(le32toh(h->block_size)) ||
	    !size_ok(le32toh(h->fs_block_size)))
		return fail(u, DAFS_ET_UNDO_FILE, "of an unknown kind");
	if (le64toh(h->fs_offset) != u->dev->start_bytes)
		return fail(u, DAFS_ET_UNDO_FILE, "belongs to another place of the image's file");
	err = file_read(u, &was, sizeof(was), le64toh(h->super_offset) * le32toh(h->block_size));
	if (!err)
		err = read_super(u, &is);
	if (!err && memcmp(&was, &is, sizeof(is)))
		err = fail(u, DAFS_ET_UNDO_FILE,
			   "belongs to another image, or to another state of this one");
	return err;
}

/* The keys of a block, and where their data ends. */
static errcode_t load_keys(struct dafs_undo *u, uint64_t first)
{
	errcode_t err = 0;

	for (uint64_t i = 0; i < u->per_block && first + i < u->nkeys && !err; i++) {
		uint64_t blk = le64toh(u->keys->keys[i].fsblk);
		uint32_t size = le32toh(u->keys->keys[i].size);

		if (size > (uint64_t)KEY_BYTES_MAX * u->bs || blk > UINT64_MAX / u->dev_bs)
			return fail(u, DAFS_ET_UNDO_FILE, "a key out of range");
		u->end_blk += (size + u->bs - 1) / u->bs;
		err = mark_saved(u, blk, (size + u->dev_bs - 1) / u->dev_bs);
	}
	return err;
}

static errcode_t go_on(struct dafs_undo *u)
{
	errcode_t err = judge_old(u);

	if (!err)
		err = set_sizes(u, le32toh(u->hdr.block_size), le32toh(u->hdr.fs_block_size));
	if (err)
		return err;
	u->nkeys = le64toh(u->hdr.num_keys);
	u->end_blk = le64toh(u->hdr.key_offset);
	if (!u->nkeys)
		next_key_block(u);
	for (uint64_t first = 0; first < u->nkeys && !err; first += u->per_block) {
		uint32_t crc;

		u->keys_blk = u->end_blk++;
		err = file_read(u, u->keys, u->bs, u->keys_blk * u->bs);
		if (err)
			return err;
		crc = le32toh(u->keys->crc);
		u->keys->crc = 0;
		if (le32toh(u->keys->magic) != KEY_BLOCK_MAGIC ||
		    crc != dafs_crc32c(~0u, u->keys, u->bs))
			return fail(u, DAFS_ET_UNDO_FILE, "a damaged block of keys");
		err = load_keys(u, first);
	}
	u->hdr.state = 0;
	u->waiting = true;
	return err ? err : make_durable(u);
}

static void undo_free(struct dafs_undo *u)
{
	struct page *page, *next;

	HASH_ITER(hh, u->saved, page, next) {
		HASH_DEL(u->saved, page);
		free(page);
	}
	if (u->fd >= 0)
		close(u->fd);
	pthread_mutex_destroy(&u->lock);
	free(u->keys);
	free(u->buf);
	free(u->path);
	free(u);
}

/* Nothing but a file of its own: not the image, no device, no pipe. */
static errcode_t open_file(struct dafs_undo *u, bool *made)
{
	struct stat st, image;
	errcode_t err = 0;

	u->fd = open(u->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	if (u->fd < 0)
		return fail(u, errno, "opening the undo file");
	if (fstat(u->fd, &st) || fstat(u->dev->fd, &image))
		return fail(u, errno, "opening the undo file");
	if (!S_ISREG(st.st_mode))
		err = fail(u, DAFS_ET_UNDO_FILE, "not a regular file");
	else if (st.st_dev == image.st_dev && st.st_ino == image.st_ino)
		err = fail(u, DAFS_ET_UNDO_FILE, "is the image itself");
	*made = !err && !st.st_size;
	return err;
}

static const struct dafs_dev_ops undo_ops = {
	.pread = undo_pread,
	.pwritev = undo_pwritev,
	.copy_from = undo_copy_from,
	.sync = undo_sync,
	.zero = undo_zero,
	.discard = undo_discard,
	.resize = undo_resize,
	.close = undo_close,
};

errcode_t dafs_undo_begin(struct dafs_dev *dev, const char *path, struct dafs_undo **ret)
{
	struct dafs_undo *u = calloc(1, sizeof(*u));
	bool made = false;
	errcode_t err;

	*ret = NULL;
	if (!u)
		return ENOMEM;
	pthread_mutex_init(&u->lock, NULL);
	u->fd = -1;
	u->dev = dev;
	u->below = dev->ops;
	u->ops = undo_ops;
	u->path = strdup(path);
	err = u->path ? open_file(u, &made) : ENOMEM;
	if (!err)
		err = made ? begin_new(u) : go_on(u);
	if (err) {
		if (made)
			unlink(path);
		undo_free(u);
		return err;
	}
	dev->ops = &u->ops;
	*ret = u;
	return 0;
}

errcode_t dafs_undo_end(struct dafs_undo *u)
{
	errcode_t err;

	if (!u)
		return 0;
	u->dev->ops = u->below;
	err = u->err;
	if (!err)
		err = write_super(u);
	if (!err) {
		u->hdr.state = htole32(STATE_FINISHED);
		u->waiting = true;
		err = make_durable(u);
	}
	undo_free(u);
	return err;
}
