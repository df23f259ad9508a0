/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * undo - see undo.h. The device's operations with the saving in front of them, and which blocks are
 * saved. The file itself is undo_file.c's.
 */
#include "config.h"

#include "image/undo.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/journal.h"
#include "image/undo_int.h"

enum {
	PAGE_WORDS = 64,
	PAGE_BITS = PAGE_WORDS * 64,
};

/* Which blocks of the device are saved. */
struct dafs_undo_page {
	uint64_t index;
	uint64_t words[PAGE_WORDS];
	UT_hash_handle hh;
};

/* ---- what is saved ---- */

static struct dafs_undo_page *page_of(const struct dafs_undo *u, uint64_t blk)
{
	uint64_t index = blk / PAGE_BITS;
	struct dafs_undo_page *page;

	HASH_FIND(hh, u->saved, &index, sizeof(index), page);
	return page;
}

static bool is_saved(const struct dafs_undo *u, uint64_t blk)
{
	const struct dafs_undo_page *page = page_of(u, blk);

	return page && page->words[blk % PAGE_BITS / 64] >> blk % 64 & 1;
}

errcode_t dafs_undo_mark(struct dafs_undo *u, uint64_t blk, uint64_t n)
{
	for (; n; blk++, n--) {
		struct dafs_undo_page *page = page_of(u, blk);

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
	err = dafs_undo_add_key(u, blk, (uint32_t)size);
	return err ? err : dafs_undo_mark(u, blk, n);
}

/* What is past the end of the device has no contents. */
static errcode_t save(struct dafs_undo *u, uint64_t off, uint64_t len)
{
	uint64_t most = (u->dev->size_bytes + u->dev_bs - 1) / u->dev_bs;
	uint64_t end = (off + len + u->dev_bs - 1) / u->dev_bs;
	uint64_t run_most = DAFS_UNDO_RUN_BYTES_MAX / u->dev_bs;

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
		err = u->err = dafs_undo_durable(u);
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
		err = u->err = dafs_undo_durable(u);
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

static void undo_free(struct dafs_undo *u)
{
	struct dafs_undo_page *page, *next;

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
	err = u->path ? dafs_undo_open(u, &made) : ENOMEM;
	if (!err)
		err = made ? dafs_undo_begin_new(u) : dafs_undo_go_on(u);
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
		err = dafs_undo_write_super(u);
	if (!err) {
		u->hdr.state = htole32(DAFS_UNDO_STATE_FINISHED);
		u->waiting = true;
		err = dafs_undo_durable(u);
	}
	undo_free(u);
	return err;
}
