/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn - see txn.h. The blocks of a transaction by number, what readers see through them, and the
 * writes in place. Committing is in txn_commit.c.
 *
 * Invariants:
 *  1. a block is in the table once: as a copy for reading, as live, or as new;
 *  2. a reader that comes through dafs_image_read_blks or libext2fs sees the table over the device;
 *  3. a new block is written before the commit, a live one never before it.
 */
#include "config.h"

#include "image/txn.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "image/group.h"
#include "image/group_int.h"
#include "image/txn_int.h"

enum {
	NEW_BYTES_MAX = 8 << 20, /* new blocks held back to be sorted and merged */
	DIRECT_BYTES = 1 << 20,	 /* a run of new blocks this long is written by itself */
	IOV_MAX_RUN = 1024,
};

/* --- the table --- */

struct dafs_tblk *dafs_tblk_find(const struct dafs_txn *txn, uint64_t pblk)
{
	struct dafs_tblk *blk;

	HASH_FIND(hh, txn->blks, &pblk, sizeof(pblk), blk);
	return blk;
}

static void forget(struct dafs_txn *txn, struct dafs_tblk *blk)
{
	txn->n_live -= blk->kind == DAFS_TBLK_LIVE;
	txn->n_new -= blk->kind == DAFS_TBLK_NEW;
	HASH_DEL(txn->blks, blk);
	free(blk->data);
	free(blk);
}

/* A new row of the table with unset contents. */
static struct dafs_tblk *add(struct dafs_txn *txn, uint64_t pblk, enum dafs_tblk_kind kind)
{
	struct dafs_tblk *blk = calloc(1, sizeof(*blk));

	if (!blk)
		return NULL;
	blk->data = malloc(txn->img->block_size);
	if (!blk->data) {
		free(blk);
		return NULL;
	}
	blk->pblk = pblk;
	blk->kind = kind;
	HASH_ADD(hh, txn->blks, pblk, sizeof(blk->pblk), blk);
	if (!blk->hh.tbl) {
		free(blk->data);
		free(blk);
		return NULL;
	}
	txn->n_live += kind == DAFS_TBLK_LIVE;
	txn->n_new += kind == DAFS_TBLK_NEW;
	return blk;
}

static void set_kind(struct dafs_txn *txn, struct dafs_tblk *blk, enum dafs_tblk_kind kind)
{
	txn->n_live -= blk->kind == DAFS_TBLK_LIVE;
	txn->n_new -= blk->kind == DAFS_TBLK_NEW;
	blk->kind = kind;
	txn->n_live += kind == DAFS_TBLK_LIVE;
	txn->n_new += kind == DAFS_TBLK_NEW;
}

static void forget_all(struct dafs_txn *txn)
{
	struct dafs_revoked *rev, *next_rev;
	struct dafs_tblk *blk, *next_blk;

	HASH_ITER(hh, txn->blks, blk, next_blk)
		forget(txn, blk);
	HASH_ITER(hh, txn->revoked, rev, next_rev) {
		HASH_DEL(txn->revoked, rev);
		free(rev);
	}
	txn->n_revoked = 0;
}

static int by_pblk(const void *a, const void *b)
{
	const struct dafs_journal_block *x = a, *y = b;

	return x->pblk < y->pblk ? -1 : x->pblk > y->pblk;
}

errcode_t dafs_txn_list(const struct dafs_txn *txn, enum dafs_tblk_kind kind,
			struct dafs_journal_block **list, size_t *n)
{
	size_t room = kind == DAFS_TBLK_LIVE ? txn->n_live : txn->n_new;
	struct dafs_tblk *blk, *next;

	*n = 0;
	*list = calloc(room ? room : 1, sizeof(**list));
	if (!*list)
		return ENOMEM;
	HASH_ITER(hh, txn->blks, blk, next) {
		if (blk->kind == kind)
			(*list)[(*n)++] = (struct dafs_journal_block){ blk->pblk, blk->data };
	}
	qsort(*list, *n, sizeof(**list), by_pblk);
	return 0;
}

/* --- writing in place --- */

errcode_t dafs_txn_write_sorted(struct dafs_image *img, const struct dafs_journal_block *blocks,
				size_t n)
{
	struct iovec iov[IOV_MAX_RUN];
	errcode_t err = 0;

	for (size_t at = 0; at < n && !err;) {
		size_t run = 0;

		do {
			iov[run].iov_base = (void *)(uintptr_t)blocks[at + run].data;
			iov[run].iov_len = img->block_size;
			run++;
		} while (run < IOV_MAX_RUN && at + run < n &&
			 blocks[at + run].pblk == blocks[at].pblk + run);
		err = dafs_dev_writev(img->dev, iov, (int)run, blocks[at].pblk << img->block_bits);
		at += run;
	}
	return err;
}

errcode_t dafs_txn_flush_new(struct dafs_image *img, bool all)
{
	struct dafs_txn *txn = img->txn;
	struct dafs_journal_block *list = NULL;
	struct dafs_tblk *blk, *next;
	errcode_t err;
	size_t n;

	if (!txn->n_new)
		return 0;
	err = dafs_txn_list(txn, DAFS_TBLK_NEW, &list, &n);
	if (!err)
		err = dafs_txn_write_sorted(img, list, n);
	free(list);
	if (err)
		return err;
	HASH_ITER(hh, txn->blks, blk, next) {
		if (blk->kind != DAFS_TBLK_NEW || (blk->changing && !all))
			continue;
		/* Somebody may still read through the pointer dafs_txn_get gave. */
		if (blk->pinned)
			set_kind(txn, blk, DAFS_TBLK_READ);
		else
			forget(txn, blk);
	}
	return 0;
}

static errcode_t need_collecting(struct dafs_image *img, const char *what)
{
	if (img->failed)
		return dafs_fail(img->ctx, DAFS_ET_HANDLE_FAILED, "%s", img->dev->address);
	if (!img->txn->collecting)
		return dafs_fail(img->ctx, DAFS_ET_SEQUENCE, "%s outside a transaction", what);
	return 0;
}

static errcode_t need_range(struct dafs_image *img, uint64_t pblk, uint64_t count)
{
	if (count > img->blocks || pblk > img->blocks - count)
		return dafs_fail(img->ctx, DAFS_ET_RANGE,
				 "%s: block %" PRIu64 " is outside the file system",
				 img->dev->address, pblk);
	return 0;
}

/* A block of the group's inode table that starts past its used mark. */
static bool unused_itable(struct dafs_image *img, uint32_t grp, uint64_t pblk)
{
	uint64_t table = dafs_group_itable_pblk(img, grp);
	uint32_t per_blk = img->block_size / img->inode_size;
	uint64_t used_blks = ((uint64_t)dafs_group_itable_mark(img, grp) + per_blk - 1) / per_blk;

	return pblk >= table + used_blks && pblk < table + img->fs->inode_blocks_per_group;
}

/* With flex_bg the table of a group lies near the first one of its flex group as a rule; nothing
 * says that it must. */
static bool in_unused_itable(struct dafs_image *img, uint64_t pblk)
{
	unsigned flex_bits = ext2fs_has_feature_flex_bg(img->fs->super)
				     ? img->fs->super->s_log_groups_per_flex
				     : 0;
	uint32_t count = dafs_group_count(img), own = dafs_group_of_pblk(img, pblk);
	uint32_t flex = flex_bits < 31 ? 1u << flex_bits : 1u << 31;
	uint32_t first = own & ~(flex - 1);

	for (uint32_t grp = first; grp < count && grp - first < flex; grp++) {
		if (unused_itable(img, grp, pblk))
			return true;
	}
	for (uint32_t grp = 0; flex > 1 && grp < count; grp++) {
		if (unused_itable(img, grp, pblk))
			return true;
	}
	return false;
}

errcode_t dafs_txn_check_new(struct dafs_image *img, uint64_t pblk, uint64_t count)
{
	errcode_t err = need_range(img, pblk, count);

	while (count && !err) {
		uint32_t grp = dafs_group_of_pblk(img, pblk), c;
		uint64_t first = dafs_group_first_pblk(img, grp);
		uint64_t room = ((uint64_t)dafs_group_clusters(img, grp) << img->cluster_bits) -
				(pblk - first);
		uint64_t n = count < room ? count : room;
		const uint8_t *bits;

		err = dafs_group_block_bits(img, grp, &bits);
		if (err)
			return err;
		c = (uint32_t)((pblk - first) >> img->cluster_bits);
		if (!dafs_bits_are(bits, c,
				   (uint32_t)((pblk + n - 1 - first) >> img->cluster_bits) - c + 1,
				   false)) {
			for (uint64_t i = 0; i < n; i++) {
				if (!in_unused_itable(img, pblk + i))
					return dafs_fail(
						img->ctx, DAFS_ET_INTERNAL,
						"block %" PRIu64
						" is in use and not to be written in place",
						pblk + i);
			}
		}
		pblk += n;
		count -= n;
	}
	return err;
}

/* Hold one block back for the next sorted write. */
static errcode_t hold_new(struct dafs_image *img, uint64_t pblk, const void *buf)
{
	struct dafs_txn *txn = img->txn;
	struct dafs_tblk *blk = dafs_tblk_find(txn, pblk);

	if (!blk)
		blk = add(txn, pblk, DAFS_TBLK_NEW);
	else
		set_kind(txn, blk, DAFS_TBLK_NEW);
	if (!blk)
		return ENOMEM;
	memcpy(blk->data, buf, img->block_size);
	if (!(img->flags & DAFS_IMAGE_RW))
		return 0;
	return txn->n_new >= (size_t)NEW_BYTES_MAX >> img->block_bits
		       ? dafs_txn_flush_new(img, false)
		       : 0;
}

errcode_t dafs_txn_put_unused(struct dafs_image *img, uint64_t pblk, const void *buf)
{
	return hold_new(img, pblk, buf);
}

static errcode_t put_each(struct dafs_image *img, uint64_t pblk, uint64_t count, const void *buf)
{
	errcode_t err = 0;

	for (uint64_t i = 0; i < count && !err; i++)
		err = dafs_txn_put(img, pblk + i, (const char *)buf + (i << img->block_bits));
	return err;
}

errcode_t dafs_txn_put_new(struct dafs_image *img, uint64_t pblk, uint64_t count, const void *buf)
{
	struct dafs_txn *txn = img->txn;
	errcode_t err = need_collecting(img, "put_new");

	if (!err)
		err = txn->creating ? need_range(img, pblk, count)
				    : dafs_txn_check_new(img, pblk, count);
	/* With bigalloc a cluster in use may have blocks that nothing refers to; the bitmap cannot
	 * tell them from others. */
	if (err == DAFS_ET_INTERNAL && img->cluster_bits)
		return put_each(img, pblk, count, buf);
	if (err)
		return err;
	if (count << img->block_bits < DIRECT_BYTES) {
		for (uint64_t i = 0; i < count && !err; i++)
			err = hold_new(img, pblk + i, (const char *)buf + (i << img->block_bits));
		return err;
	}
	for (uint64_t i = 0; i < count && txn->blks; i++) {
		struct dafs_tblk *blk = dafs_tblk_find(txn, pblk + i);

		if (blk)
			memcpy(blk->data, (const char *)buf + (i << img->block_bits),
			       img->block_size);
	}
	return dafs_dev_write(img->dev, buf, count << img->block_bits, pblk << img->block_bits);
}

/* --- live blocks --- */

static void unrevoke(struct dafs_txn *txn, uint64_t pblk)
{
	struct dafs_revoked *rev;

	HASH_FIND(hh, txn->revoked, &pblk, sizeof(pblk), rev);
	if (!rev)
		return;
	HASH_DEL(txn->revoked, rev);
	txn->n_revoked--;
	free(rev);
}

errcode_t dafs_txn_get(struct dafs_image *img, uint64_t pblk, bool for_change, uint8_t **buf)
{
	struct dafs_txn *txn = img->txn;
	struct dafs_tblk *blk;
	errcode_t err = need_collecting(img, "get");

	*buf = NULL;
	if (!err)
		err = need_range(img, pblk, 1);
	if (err)
		return err;
	blk = dafs_tblk_find(txn, pblk);
	if (!blk) {
		uint8_t *data;

		blk = add(txn, pblk, DAFS_TBLK_READ);
		if (!blk)
			return ENOMEM;
		data = blk->data;
		err = dafs_txn_read_under(img, pblk, data);
		if (err) {
			forget(txn, blk);
			return err;
		}
	}
	if (for_change && blk->kind == DAFS_TBLK_READ) {
		set_kind(txn, blk, DAFS_TBLK_LIVE);
		unrevoke(txn, pblk);
	}
	blk->pinned = true;
	blk->changing |= for_change;
	*buf = blk->data;
	return 0;
}

errcode_t dafs_txn_put(struct dafs_image *img, uint64_t pblk, const void *buf)
{
	struct dafs_txn *txn = img->txn;
	struct dafs_tblk *blk;
	errcode_t err = need_collecting(img, "put");

	if (!err)
		err = need_range(img, pblk, 1);
	if (err)
		return err;
	blk = dafs_tblk_find(txn, pblk);
	if (!blk)
		blk = add(txn, pblk, DAFS_TBLK_LIVE);
	else if (blk->kind == DAFS_TBLK_READ)
		set_kind(txn, blk, DAFS_TBLK_LIVE);
	if (!blk)
		return ENOMEM;
	if (blk->data != buf)
		memcpy(blk->data, buf, img->block_size);
	unrevoke(txn, pblk);
	return 0;
}

errcode_t dafs_txn_revoke(struct dafs_image *img, uint64_t pblk)
{
	struct dafs_txn *txn = img->txn;
	struct dafs_revoked *rev;
	struct dafs_tblk *blk;
	errcode_t err = need_collecting(img, "revoke");

	if (!err)
		err = need_range(img, pblk, 1);
	if (err)
		return err;
	blk = dafs_tblk_find(txn, pblk);
	if (blk && blk->kind == DAFS_TBLK_LIVE)
		set_kind(txn, blk, DAFS_TBLK_READ);
	HASH_FIND(hh, txn->revoked, &pblk, sizeof(pblk), rev);
	if (rev)
		return 0;
	rev = calloc(1, sizeof(*rev));
	if (!rev)
		return ENOMEM;
	rev->pblk = pblk;
	HASH_ADD(hh, txn->revoked, pblk, sizeof(rev->pblk), rev);
	if (!rev->hh.tbl) {
		free(rev);
		return ENOMEM;
	}
	txn->n_revoked++;
	return 0;
}

/* --- begin and end --- */

errcode_t dafs_txn_attach(struct dafs_image *img, bool creating)
{
	struct dafs_txn *txn = calloc(1, sizeof(*txn));

	if (!txn)
		return ENOMEM;
	txn->img = img;
	txn->creating = creating;
	dafs_txn_init_overlay(txn);
	img->txn = txn;
	img->dev->overlay = &txn->overlay;
	return 0;
}

void dafs_txn_detach(struct dafs_image *img)
{
	struct dafs_txn *txn = img->txn;

	if (!txn)
		return;
	img->dev->overlay = NULL;
	img->txn = NULL;
	forget_all(txn);
	dafs_journal_close(txn->journal);
	free(txn->base);
	free(txn);
}

errcode_t dafs_txn_hold(struct dafs_image *img, uint64_t pblk, const void *data)
{
	struct dafs_tblk *blk = dafs_tblk_find(img->txn, pblk);

	if (!blk)
		blk = add(img->txn, pblk, DAFS_TBLK_READ);
	if (!blk)
		return ENOMEM;
	memcpy(blk->data, data, img->block_size);
	return 0;
}

bool dafs_txn_creating(const struct dafs_image *img)
{
	return img->txn->creating;
}

void dafs_txn_set_redo(struct dafs_image *img, const struct dafs_redo_ops *ops, void *arg)
{
	img->txn->redo = ops;
	img->txn->redo_arg = arg;
}

void dafs_txn_bypass_journal(struct dafs_image *img)
{
	assert(img->txn->collecting);
	img->txn->bypass = true;
}

errcode_t dafs_txn_begin(struct dafs_image *img)
{
	if (img->failed)
		return dafs_fail(img->ctx, DAFS_ET_HANDLE_FAILED, "%s", img->dev->address);
	if (!(img->flags & DAFS_IMAGE_RW))
		return dafs_fail(img->ctx, EROFS, "%s", img->dev->address);
	if (img->txn->collecting)
		return dafs_fail(img->ctx, DAFS_ET_SEQUENCE, "a transaction is open already");
	img->txn->collecting = true;
	return 0;
}

errcode_t dafs_txn_begin_replay(struct dafs_image *img)
{
	img->txn->collecting = img->txn->replaying = true;
	return 0;
}

errcode_t dafs_txn_keep_replay(struct dafs_image *img)
{
	struct dafs_txn *txn = img->txn;
	struct dafs_tblk *blk, *next;
	errcode_t err = dafs_groups_encode(img);

	if (err)
		return err;
	HASH_ITER(hh, txn->blks, blk, next)
		set_kind(txn, blk, DAFS_TBLK_READ);
	txn->collecting = txn->replaying = false;
	dafs_groups_settle(img, true);
	return 0;
}

void dafs_txn_end(struct dafs_image *img, bool committed)
{
	forget_all(img->txn);
	img->txn->collecting = img->txn->replaying = img->txn->bypass = false;
	if (img->groups)
		dafs_groups_settle(img, committed);
}

void dafs_txn_abort(struct dafs_image *img)
{
	if (img->txn && img->txn->collecting)
		dafs_txn_end(img, false);
}

uint64_t dafs_txn_live_blks(const struct dafs_image *img)
{
	return img->txn->n_live;
}
