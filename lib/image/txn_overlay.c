/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn_overlay - what readers see through a transaction, and what becomes of writes that come
 * through libext2fs: the table's blocks stand over those of a journal that was not replayed to
 * disk, and these over the device's.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/txn_int.h"

/* The entry of an unrecovered journal for a block, NULL when it has none. */
static const struct dafs_replay_entry *find_base(const struct dafs_txn *txn, uint64_t pblk)
{
	size_t at = dafs_array_search(txn->base, txn->n_base, sizeof(*txn->base), pblk);

	return at < txn->n_base && txn->base[at].pblk == pblk ? &txn->base[at] : NULL;
}

static errcode_t patch_base(struct dafs_txn *txn, const struct dafs_replay_entry *entry, void *at,
			    size_t from, size_t len)
{
	uint8_t *block = malloc(txn->img->block_size);
	errcode_t err = block ? dafs_journal_read_entry(txn->img, entry, block) : ENOMEM;

	if (!err)
		memcpy(at, block + from, len);
	free(block);
	return err;
}

static errcode_t overlay_patch(void *arg, uint64_t off, size_t len, void *buf)
{
	struct dafs_txn *txn = arg;
	uint32_t block_size = txn->img->block_size;
	errcode_t err = 0;

	if (!txn->blks && !txn->n_base)
		return 0;
	for (size_t done = 0, part; done < len && !err; done += part) {
		uint64_t pblk = (off + done) >> txn->img->block_bits;
		size_t from = (size_t)((off + done) & (block_size - 1));
		const struct dafs_replay_entry *entry;
		const struct dafs_tblk *blk;

		part = block_size - from < len - done ? block_size - from : len - done;
		blk = dafs_tblk_find(txn, pblk);
		if (blk) {
			memcpy((char *)buf + done, blk->data + from, part);
			continue;
		}
		entry = find_base(txn, pblk);
		if (entry)
			err = patch_base(txn, entry, (char *)buf + done, from, part);
	}
	return err;
}

/* A write through libext2fs: straight to an image being created, else into the transaction. */
static errcode_t overlay_write(void *arg, uint64_t off, size_t len, const void *buf)
{
	struct dafs_txn *txn = arg;
	struct dafs_image *img = txn->img;
	uint32_t block_size = img->block_size;

	for (size_t done = 0, part; done < len; done += part) {
		uint64_t pblk = (off + done) >> img->block_bits;
		size_t from = (size_t)((off + done) & (block_size - 1));
		struct dafs_tblk *blk = txn->creating ? dafs_tblk_find(txn, pblk) : NULL;
		uint8_t *block;
		errcode_t err;

		part = block_size - from < len - done ? block_size - from : len - done;
		if (blk)
			memcpy(blk->data + from, (const char *)buf + done, part);
		if (txn->creating)
			continue;
		err = dafs_txn_get(img, pblk, true, &block);
		if (err)
			return err;
		memcpy(block + from, (const char *)buf + done, part);
	}
	return txn->creating ? dafs_dev_write(img->dev, buf, len, off) : 0;
}

errcode_t dafs_txn_read_under(struct dafs_image *img, uint64_t pblk, uint8_t *data)
{
	const struct dafs_replay_entry *entry = find_base(img->txn, pblk);

	if (entry)
		return dafs_journal_read_entry(img, entry, data);
	return dafs_dev_read(img->dev, data, img->block_size, pblk << img->block_bits);
}

void dafs_txn_init_overlay(struct dafs_txn *txn)
{
	txn->overlay = (struct dafs_dev_overlay){ overlay_patch, overlay_write, txn };
}
