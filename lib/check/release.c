/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * release - an inode that was deleted or being truncated when the system went down: finish that,
 * and give its blocks back in the bitmaps as they are.
 *
 * Before pass 1, so nothing is known of the inode: its map is walked with bounds checked. What does
 * not fit (a bit that is free already) is left to the passes.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/xattr_int.h"

static void give_run(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
		     uint64_t len, bool map)
{
	(void)arg;
	(void)lblk;
	(void)map;
	w->err = dafs_ck_bitmap_blks(w->ck, pblk, len, false);
}

/* One user fewer of an attribute block; the last one gives it back. */
static errcode_t drop_xattr_block(struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	uint64_t blk = dafs_ck_acl(ck, raw);
	struct dafs_xattr_block *head = (struct dafs_xattr_block *)ck->main->xblk;
	errcode_t err;

	if (!blk || !ck->g.xattr || !dafs_ck_blk_ok(ck, blk))
		return 0;
	err = dafs_ck_read(ck->main, blk, 1, head);
	if (err || head->magic != DAFS_XATTR_MAGIC)
		return err;
	if (head->refcount <= 1)
		return dafs_ck_bitmap_blks(ck, blk, 1, false);
	head->refcount--;
	head->checksum = ck->g.csum ? dafs_xattr_block_csum(&ck->img, blk, (uint8_t *)head) : 0;
	return dafs_ck_write(ck->main, blk, head);
}

static errcode_t finish_delete(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw)
{
	errcode_t err;

	dafs_ck_walk(ck->main, ino, raw, give_run, NULL);
	err = ck->main->err;
	if (!err)
		err = drop_xattr_block(ck, raw);
	if (!err)
		err = dafs_ck_bitmap_inode(ck, ino, LINUX_S_ISDIR(raw->i_mode), false);
	raw->i_dtime = (uint32_t)ck->ctx->now_sec;
	return err ? err : dafs_ck_write_inode(ck->main, ino, raw);
}

/* Blocks of a map behind the end: out of the list, and given back cluster by cluster. */
static errcode_t cut(struct dafs_ck *ck, const struct dafs_extlist *from, uint64_t end_lblk,
		     struct dafs_extlist *to)
{
	uint64_t mask = (UINT64_C(1) << ck->g.cbits) - 1, give_lblk = (end_lblk + mask) & ~mask;
	errcode_t err = 0;

	for (size_t i = 0; i < from->n && !err; i++) {
		const struct dafs_extent *e = &from->v[i];
		uint64_t end = dafs_extent_end(e);
		uint64_t keep = end_lblk <= e->lblk ? 0
				: end_lblk < end    ? end_lblk - e->lblk
						    : e->len;
		uint64_t give = give_lblk <= e->lblk ? 0 : give_lblk - e->lblk;

		if (keep)
			err = dafs_extlist_append(to, e->pblk, e->lblk, (uint32_t)keep,
						  e->unwritten);
		if (!err && give < e->len)
			err = dafs_ck_bitmap_blks(ck, e->pblk + give, e->len - give, false);
	}
	return err;
}

static errcode_t finish_truncate(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw)
{
	uint64_t end = (dafs_ck_size(raw) + ck->g.block_size - 1) >> ck->g.block_bits;
	struct dafs_ck_flat flat = { 0 };
	struct dafs_extlist xl = { 0 };
	errcode_t err = 0;

	raw->i_dtime = 0;
	if (dafs_ck_has_blocks(ck, raw))
		err = dafs_ck_flat_read(ck, ino, raw, &flat);
	if (!err && flat.xl.n && dafs_extent_end(&flat.xl.v[flat.xl.n - 1]) > end) {
		err = cut(ck, &flat.xl, end, &xl);
		if (!err)
			err = dafs_ck_flat_replace(ck, ino, raw, &flat, &xl);
	} else if (!err) {
		err = dafs_ck_write_inode(ck->main, ino, raw);
	}
	dafs_ck_flat_fini(&flat);
	dafs_extlist_fini(&xl);
	return err;
}

errcode_t dafs_ck_release(struct dafs_ck *ck, uint32_t ino, uint32_t *next)
{
	struct ext2_inode_large *raw = dafs_ck_raw_alloc(ck);
	errcode_t err = 0;

	if (next)
		*next = 0;
	if (!raw)
		return ENOMEM;
	if (!dafs_ck_read_inode(ck->main, ino, raw)) {
		err = ck->main->err;
		goto out;
	}
	if (next)
		*next = raw->i_dtime;
	/* An inode that was never used is on no list. */
	if (!raw->i_mode)
		goto out;
	if (!DAFS_CK_FIND(ck->main, ORPHAN_INODE, .ino = ino,
			  .text = raw->i_links_count ? "being truncated" : "deleted while open"))
		goto out;
	err = raw->i_links_count ? finish_truncate(ck, ino, raw) : finish_delete(ck, ino, raw);
out:
	free(raw);
	return err;
}
