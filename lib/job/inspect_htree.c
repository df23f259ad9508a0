/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inspect_htree - see inspect_htree.h.
 *
 * Invariant: a block is entered once; the walk is as deep as the root says, at most three levels.
 */
#include "config.h"

#include "job/inspect_htree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/dirhash.h"
#include "job/inspect_int.h"

#define LEVELS_MAX 3

struct htree {
	struct dafs_image *img;
	const struct dafs_inspect *dir;
	const struct dafs_htree_fns *fns;
	void *arg;
	struct dafs_dirhash hash;
	bool hashes; /* the hash is known */
	unsigned levels;
	uint32_t nblks;
	uint8_t *entered; /* a bit a block */
	struct dafs_damage damage;
};

static errcode_t damaged(struct htree *t, uint32_t lblk, const char *why)
{
	struct dafs_ctx *ctx = t->img->ctx;

	return dafs_damage_note(&t->damage, ctx,
				dafs_fail(ctx, DAFS_ET_CORRUPT_DIR,
					  "inode %u: directory block %u: %s", t->dir->ino, lblk,
					  why));
}

/* Read block lblk, once. *pblk 0: it is not to be walked. */
static errcode_t enter(struct htree *t, uint32_t lblk, uint8_t *buf, uint64_t *pblk)
{
	size_t i = dafs_extlist_search(&t->dir->extents, lblk);
	const struct dafs_extent *e = i < t->dir->extents.n ? &t->dir->extents.v[i] : NULL;
	errcode_t err;

	*pblk = 0;
	if (lblk >= t->nblks || !e || e->lblk > lblk)
		return damaged(t, lblk, "not in the directory");
	if (t->entered[lblk / 8] & (1u << (lblk % 8)))
		return damaged(t, lblk, "met twice in the index");
	t->entered[lblk / 8] |= (uint8_t)(1u << (lblk % 8));
	err = dafs_image_read_blks(t->img, e->pblk + (lblk - e->lblk), 1, buf);
	if (err)
		return dafs_damage_note(&t->damage, t->img->ctx, err);
	*pblk = e->pblk + (lblk - e->lblk);
	return 0;
}

static bool csum_ok(const struct htree *t, enum dafs_dirblock_kind kind, const uint8_t *buf)
{
	uint32_t seed = dafs_icodec_seed(t->img, t->dir->ino, t->dir->attr.generation);

	return (t->img->flags & DAFS_IMAGE_IGNORE_CSUM) ||
	       dafs_dirblock_csum_ok(t->img, seed, kind, buf);
}

/* ---- leaves ---- */

static errcode_t leaf_name(void *arg, const struct dafs_inspect_dirent *de)
{
	struct htree *t = arg;
	uint32_t hash = 0, minor = 0;

	if (!de->tail && t->hashes &&
	    dafs_dirhash_name(&t->hash, de->name, de->name_len, &hash, &minor))
		hash = minor = 0;
	return t->fns->name ? t->fns->name(t->arg, de, hash, minor) : 0;
}

static errcode_t walk_leaf(struct htree *t, uint32_t lblk)
{
	uint8_t *buf = malloc(t->img->block_size);
	struct dafs_inspect_dirent at = { .lblk = lblk };
	errcode_t err = buf ? enter(t, lblk, buf, &at.pblk) : ENOMEM;

	if (err || !at.pblk)
		goto out;
	if (!csum_ok(t, DAFS_DIRBLOCK_LEAF, buf))
		err = damaged(t, lblk, "checksum");
	if (!err && t->fns->leaf)
		err = t->fns->leaf(t->arg, lblk, at.pblk);
	if (err)
		goto out;
	err = dafs_inspect_dirblock(t->img, t->dir, &at, buf, t->img->block_size,
				    DAFS_INSPECT_TAILS, leaf_name, t);
	err = dafs_damage_note(&t->damage, t->img->ctx, err);
	if (!err && t->fns->leaf_end)
		err = t->fns->leaf_end(t->arg);
out:
	free(buf);
	return err;
}

/* ---- index blocks ---- */

static errcode_t walk_node(struct htree *t, uint32_t lblk, unsigned level);

static errcode_t walk_entries(struct htree *t, const struct dafs_htree_node *node)
{
	errcode_t err = 0;

	for (uint32_t i = 0; i < node->count && !err; i++) {
		uint32_t below = node->entries[i].lblk & DAFS_DX_LBLK_MASK;

		if (t->fns->entry)
			err = t->fns->entry(t->arg, node, i);
		if (!err)
			err = node->level < t->levels ? walk_node(t, below, node->level + 1) :
							walk_leaf(t, below);
		if (!err)
			err = dafs_cancelled(t->img->ctx);
	}
	return err;
}

/* Take the node's figures out of buf. NULL, or what is wrong with them; no entries then, unless it
 * is the checksum. */
static const char *read_node(struct htree *t, const uint8_t *buf, struct dafs_htree_node *node)
{
	enum dafs_dirblock_kind kind = node->level ? DAFS_DIRBLOCK_NODE : DAFS_DIRBLOCK_ROOT;
	uint32_t off = dafs_dx_offset(kind);
	const struct dafs_dx_count *count = (const void *)(buf + off);
	uint32_t room = (t->img->block_size - off) / (uint32_t)sizeof(struct dafs_dx_entry);

	node->entries = (const void *)(buf + off);
	node->count = count->count;
	node->limit = count->limit;
	if (kind == DAFS_DIRBLOCK_ROOT)
		node->info = (const void *)(buf + DAFS_DIR_DOTS_BYTES);
	if (node->limit > room || node->count > node->limit || !node->count) {
		node->count = 0;
		return "number of index entries";
	}
	/* The checksum stands behind the last entry that would fit, after four reserved bytes. */
	if (t->img->has_csum && node->limit < room) {
		node->has_csum = true;
		node->csum = node->entries[node->limit].lblk;
	}
	return csum_ok(t, kind, buf) ? NULL : "checksum";
}

static errcode_t walk_node(struct htree *t, uint32_t lblk, unsigned level)
{
	struct dafs_htree_node node = { .level = level, .lblk = lblk };
	uint8_t *buf = malloc(t->img->block_size);
	uint64_t pblk;
	const char *problem;
	errcode_t err = buf ? enter(t, lblk, buf, &pblk) : ENOMEM;

	if (err || !pblk)
		goto out;
	problem = read_node(t, buf, &node);
	if (problem)
		err = damaged(t, lblk, problem);
	if (err || !node.count)
		goto out;
	if (node.info) {
		t->levels = node.info->levels;
		t->hashes = !dafs_dirhash_init(t->img, t->dir->attr.iflags,
					       node.info->hash_version, &t->hash);
		if (t->levels >= LEVELS_MAX) {
			err = damaged(t, lblk, "levels");
			goto out;
		}
	}
	if (t->fns->node)
		err = t->fns->node(t->arg, &node);
	if (!err)
		err = walk_entries(t, &node);
	if (!err && t->fns->node_end)
		err = t->fns->node_end(t->arg);
out:
	free(buf);
	return err;
}

errcode_t dafs_inspect_htree(struct dafs_image *img, const struct dafs_inspect *dir,
			     const struct dafs_htree_fns *fns, void *arg)
{
	struct htree t = { .img = img, .dir = dir, .fns = fns, .arg = arg };
	errcode_t err;

	if (!S_ISDIR(dir->attr.mode))
		return dafs_fail(img->ctx, ENOTDIR, "inode %u", dir->ino);
	if (!(dir->attr.iflags & EXT2_INDEX_FL) || !dir->mapped || !dir->extents.n)
		return dafs_fail(img->ctx, EINVAL, "inode %u: directory without an index",
				 dir->ino);
	t.nblks = dafs_extent_end(&dir->extents.v[dir->extents.n - 1]);
	t.entered = calloc(1, t.nblks / 8 + 1);
	if (!t.entered)
		return ENOMEM;
	err = walk_node(&t, 0, 0);
	free(t.entered);
	return dafs_damage_end(&t.damage, img->ctx, err);
}
