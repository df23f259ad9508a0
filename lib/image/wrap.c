/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wrap - an image over what the checker knows of a file system, when nothing else may be believed.
 *
 * It gives the checker the transaction, the journal and the codecs that work on struct dafs_image,
 * without libext2fs reading anything. What the handle says is the caller's to have judged: sizes
 * and geometry must be possible.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "image/group.h"
#include "image/image_int.h"
#include "image/journal_int.h"
#include "image/txn_int.h"

errcode_t dafs_image_wrap(struct dafs_ctx *ctx, struct dafs_dev *dev, ext2_filsys fs, int flags,
			  struct dafs_image *img)
{
	memset(img, 0, sizeof(*img));
	img->ctx = ctx;
	img->dev = dev;
	img->fs = fs;
	img->flags = flags;
	img->lock_fd = dev->fd;
	dafs_image_fill_numbers(img);
	return dafs_txn_attach(img, false);
}

static errcode_t open_journal(struct dafs_image *img, struct dafs_journal **j)
{
	errcode_t err = img->groups ? 0 : dafs_groups_open(img);

	return err ? err : dafs_journal_open(img, j);
}

errcode_t dafs_image_wrap_journal(struct dafs_image *img)
{
	return img->txn->journal ? 0 : open_journal(img, &img->txn->journal);
}

bool dafs_image_journal_untouched(const struct dafs_image *img)
{
	const struct dafs_journal *j = img->txn->journal;
	struct dafs_tblk *blk, *next;

	HASH_ITER(hh, img->txn->blks, blk, next) {
		if (blk->kind != DAFS_TBLK_LIVE)
			continue;
		for (size_t i = 0; i < j->map.n; i++)
			if (blk->pblk >= j->map.v[i].pblk &&
			    blk->pblk < j->map.v[i].pblk + j->map.v[i].len)
				return false;
	}
	return true;
}

void dafs_image_drop_journal(struct dafs_image *img)
{
	dafs_journal_close(img->txn->journal);
	img->txn->journal = NULL;
}

static errcode_t write_entry(void *arg, uint64_t pblk, const uint8_t *data)
{
	struct dafs_image *img = arg;
	errcode_t err = dafs_cancelled(img->ctx);

	return err ? err : dafs_dev_write(img->dev, data, img->block_size, pblk << img->block_bits);
}

/* The log alone, where libext2fs cannot open the file system. */
static errcode_t replay_log(struct dafs_image *img, struct dafs_journal *j)
{
	errcode_t err = dafs_journal_replay(j, write_entry, img);

	if (!err)
		err = dafs_dev_sync(img->dev);
	return err ? err : dafs_journal_empty(j);
}

/* Log and fast commits, as opening the image for writing would. False: it cannot be opened. */
static bool settle(const struct dafs_image *wrapped, bool *torn, errcode_t *err)
{
	struct dafs_image img = { .ctx = wrapped->ctx,
				  .dev = wrapped->dev,
				  .lock_fd = wrapped->lock_fd,
				  .flags = wrapped->flags | DAFS_IMAGE_ANY_FEATURE |
					   DAFS_IMAGE_ANY_STATE };
	const struct dafs_dev_overlay *overlay = img.dev->overlay;
	bool opened;

	img.dev->overlay = NULL;
	opened = !dafs_image_open_fs(&img) && !dafs_txn_attach(&img, false);
	if (opened) {
		/* What the log holds counts even where the flag that says so was lost. */
		ext2fs_set_feature_journal_needs_recovery(img.fs->super);
		*err = dafs_image_settle(&img);
		*torn = img.txn->journal && img.txn->journal->torn;
	}
	dafs_txn_detach(&img);
	dafs_groups_close(&img);
	if (img.fs)
		ext2fs_free(img.fs);
	img.dev->overlay = overlay;
	return opened;
}

errcode_t dafs_image_replay(struct dafs_image *img, bool *replayed, bool *torn)
{
	bool flag = ext2fs_has_feature_journal_needs_recovery(img->fs->super);
	struct dafs_journal *j = NULL;
	errcode_t err = open_journal(img, &j);

	*torn = false;
	*replayed = !err && dafs_journal_needs_recovery(j);
	if (*replayed)
		dafs_notice(img->ctx, "%s: replaying the journal", img->dev->address);
	/* The flag alone is what an interrupted commit left behind its empty log. */
	if (!err && (*replayed || flag) && !settle(img, torn, &err)) {
		err = replay_log(img, j);
		*torn = j->torn;
	}
	dafs_journal_close(j);
	return err;
}

bool dafs_image_journal_torn(struct dafs_image *img)
{
	struct dafs_replay_entry *entries = NULL;
	struct dafs_journal *j = NULL;
	size_t n;
	bool torn =
		open_journal(img, &j) == 0 && (dafs_journal_replay_map(j, &entries, &n) || j->torn);

	free(entries);
	dafs_journal_close(j);
	return torn;
}

void dafs_image_unwrap(struct dafs_image *img)
{
	if (!img->dev)
		return;
	if (img->fs)
		dafs_mmp_give(img);
	dafs_txn_detach(img);
	dafs_groups_close(img);
	memset(img, 0, sizeof(*img));
}
