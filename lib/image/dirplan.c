/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirplan - the new shape of a directory, worked out before anything is placed. Names are
 * checked and hashed in dirplan_names.c, put into leaves in dirplan_build.c, existing
 * directories are edited in dirplan_edit.c, and dirplan_emit.c writes.
 *
 * Invariants (dafs_dirplan_verify): leaves name blocks of the directory, none twice; every
 * addition lies in exactly one leaf, or the directory is inline.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/dirplan_int.h"

/* A new directory fits into its inode when the inode has an attribute area for the (empty)
 * spill, and i_block room for the names. */
static errcode_t try_inline(struct dafs_dirplan *dp, bool *fits)
{
	uint8_t *chain;

	*fits = false;
	chain = malloc(dp->nitems + 1);
	if (!chain)
		return ENOMEM;
	dafs_dirplan_sort_place(dp->items, dp->nitems);
	*fits = dafs_dirplan_fit_inline(dp, chain);
	free(chain);
	if (*fits)
		dp->shape = DIRPLAN_INLINE;
	return 0;
}

static errcode_t plan_new(struct dafs_dirplan *dp)
{
	static const struct dafs_inode bare;
	bool fits = false;
	errcode_t err = 0;

	if (!dp->req.dotdot)
		return dafs_fail(dp->img->ctx, DAFS_ET_INTERNAL,
				 "a new directory without a parent");
	if (dafs_inline_room(dp->img, &bare))
		err = try_inline(dp, &fits);
	if (err || fits)
		return err;
	return dafs_dirplan_blocks(dp);
}

/* Stays inline when all names fit into the room that it has; else it gets blocks. */
static errcode_t plan_inline(struct dafs_dirplan *dp)
{
	struct dafs_dirinline in;
	bool fits = false;
	errcode_t err = dafs_dirinline_find(dp->img, dp->req.ino, dp->req.raw, &in);

	dp->parent_ino = in.parent;
	dp->spill_len = in.chain[1].len;
	for (int i = 0; i < 2 && !err; i++) {
		uint32_t len = in.chain[i].len, gone, used;
		uint8_t *copy;

		err = dafs_dirplan_keep(dp, len, &copy);
		if (err)
			break;
		memcpy(copy, in.chain[i].buf, len);
		err = dafs_dirplan_meet(dp, copy, len, false, &gone, &used);
		if (!err)
			err = dafs_dirplan_adopt(dp, copy, len, false);
	}
	if (!err)
		err = dafs_dirplan_all_met(dp);
	if (!err)
		err = try_inline(dp, &fits);
	if (err || fits)
		return err;
	return dafs_dirplan_blocks(dp);
}

static errcode_t plan_existing(struct dafs_dirplan *dp)
{
	const struct ext2_inode_large *raw = dp->req.raw;
	uint8_t *first;
	errcode_t err;

	if (raw->i_flags & EXT4_INLINE_DATA_FL)
		return plan_inline(dp);
	if (dp->dir.indexed)
		return dafs_dirplan_edit_htree(dp);
	dp->shape = DIRPLAN_LINEAR;
	if (dp->req.nadd || dp->req.ndel)
		return dafs_dirplan_edit_linear(dp);
	/* Nothing but ".." changes: dirplan_emit does that in place, in a block that is sound. */
	err = dafs_dirplan_keep(dp, dp->img->block_size, &first);
	return err ? err : dafs_dir_read(&dp->dir, 0, NULL, first, NULL);
}

/* What an existing directory is, before its names are looked at: the hash depends on it. */
static errcode_t open_existing(struct dafs_dirplan *dp, uint32_t *iflags, uint8_t *version)
{
	const struct ext2_inode_large *raw = dp->req.raw;
	errcode_t err;

	if (!S_ISDIR(raw->i_mode))
		return ENOTDIR;
	if (raw->i_flags & EXT4_ENCRYPT_FL)
		return dafs_fail(dp->img->ctx, DAFS_ET_ENCRYPTED, "directory inode %u",
				 dp->req.ino);
	*iflags = raw->i_flags;
	if (raw->i_flags & EXT4_INLINE_DATA_FL)
		return 0;
	err = dafs_dir_open(dp->img, dp->req.ino, raw, &dp->dir);
	if (err)
		return err;
	dp->old_blks = dp->blks = dp->dir.nblks;
	if (dp->dir.indexed) {
		err = dafs_dx_load(&dp->dir, &dp->dx);
		*version = dp->dx.hash_version;
	}
	return err;
}

static errcode_t check_size(const struct dafs_dirplan *dp)
{
	if (dp->img->has_large_dir || (uint64_t)dp->blks << dp->img->block_bits <= UINT32_MAX)
		return 0;
	return dafs_fail(dp->img->ctx, DAFS_ET_DIR_FULL, "a directory of %u blocks", dp->blks);
}

errcode_t dafs_dirplan_new(struct dafs_image *img, const struct dafs_dirplan_req *req,
			   struct dafs_dirplan **ret)
{
	uint8_t version = dafs_dirhash_default(img);
	struct dafs_dirplan *dp = calloc(1, sizeof(*dp));
	uint32_t iflags = req->iflags;
	errcode_t err = 0;

	*ret = NULL;
	if (!dp)
		return ENOMEM;
	dp->img = img;
	dp->req = *req;
	dp->room = dafs_dirblock_room(img);
	if (req->ino)
		err = open_existing(dp, &iflags, &version);
	else if (iflags & EXT4_ENCRYPT_FL)
		err = dafs_fail(img->ctx, DAFS_ET_ENCRYPTED, "a new directory");
	if (!err)
		err = dafs_dirhash_init(img, iflags, version, &dp->hash);
	if (!err)
		err = dafs_dirplan_take_names(dp);
	if (!err)
		err = req->ino ? plan_existing(dp) : plan_new(dp);
	if (!err)
		err = check_size(dp);
	if (err) {
		dafs_dirplan_free(dp);
		return err;
	}
	assert(dafs_dirplan_verify(dp));
	*ret = dp;
	return 0;
}

void dafs_dirplan_free(struct dafs_dirplan *dp)
{
	if (!dp)
		return;
	for (size_t i = 0; i < dp->nbufs; i++)
		free(dp->bufs[i]);
	free(dp->bufs);
	free(dp->items);
	free(dp->dels);
	free(dp->removed);
	free(dp->olds);
	free(dp->leaves);
	dafs_dx_fini(&dp->dx);
	dafs_dir_close(&dp->dir);
	free(dp);
}

uint32_t dafs_dirplan_blks(const struct dafs_dirplan *dp)
{
	return dp->shape == DIRPLAN_INLINE ? 0 : dp->blks;
}

uint32_t dafs_dirplan_new_blks(const struct dafs_dirplan *dp)
{
	return dp->shape == DIRPLAN_INLINE ? 0 : dp->blks - dp->old_blks;
}

/* Count the additions of the leaves, and blocks named twice. */
static bool verify_leaves(const struct dafs_dirplan *dp, uint8_t *blocks, uint8_t *adds)
{
	size_t found = 0;

	for (size_t i = 0; i < dp->nleaves; i++) {
		const struct dirplan_leaf *leaf = &dp->leaves[i];

		if (leaf->lblk >= dp->blks || blocks[leaf->lblk]++)
			return false;
		for (size_t k = leaf->first; k < leaf->first + leaf->n; k++) {
			const struct dirplan_item *item = &dp->items[k];

			if (item->old)
				continue;
			if (item->idx >= dp->req.nadd || adds[item->idx]++)
				return false;
			found++;
		}
	}
	return found == dp->req.nadd;
}

bool dafs_dirplan_verify(const struct dafs_dirplan *dp)
{
	uint8_t *blocks, *adds;
	bool ok = true;

	if (dp->shape == DIRPLAN_INLINE)
		return dp->nleaves == 0;
	if (dp->blks < dp->old_blks || !dp->blks)
		return false;
	blocks = calloc(dp->blks, 1);
	adds = calloc(dp->req.nadd + 1, 1);
	if (blocks && adds)
		ok = verify_leaves(dp, blocks, adds);
	free(blocks);
	free(adds);
	return ok;
}
