/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirplan_emit - a planned directory into its blocks, when every inode has its number and every
 * block its place. Old blocks are written through the transaction and only where their bytes
 * change, new ones in place.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "image/dirplan_int.h"
#include "image/icodec.h"
#include "image/txn.h"

struct emit {
	const struct dafs_dirplan *dp;
	struct dafs_image *img;
	const struct dafs_extlist *xl;
	uint32_t ino, parent;
	uint32_t seed;
	uint8_t *buf, *old;		/* a block each */
};

/* A chain of entries being written into buf. */
struct chain {
	uint8_t *buf;
	uint32_t room;
	uint32_t used;			/* bytes the entries so far need */
	uint32_t last;			/* offset of the last entry */
};

static errcode_t internal(const struct emit *e, const char *why)
{
	return dafs_fail(e->img->ctx, DAFS_ET_INTERNAL, "directory inode %u: %s", e->ino, why);
}

static errcode_t push(struct emit *e, struct chain *c, uint32_t ino, const char *name, uint8_t len,
		      uint8_t file_type)
{
	struct dafs_dirent_disk *de = (struct dafs_dirent_disk *)(c->buf + c->used);
	uint32_t need = dafs_dirblock_need(len);

	if (!ino || need > c->room - c->used)
		return internal(e, ino ? "entries overflow their block"
				       : "entry without an inode number");
	de->ino = ino;
	de->rec_len = (uint16_t)need;
	de->name_len = len;
	de->file_type = e->img->has_filetype ? file_type : 0;
	memcpy(de->name, name, len);
	c->last = c->used;
	c->used += need;
	return 0;
}

/* The last entry takes what is left; without one, an unused entry does. */
static void end_chain(const struct emit *e, struct chain *c)
{
	struct dafs_dirent_disk *de = (struct dafs_dirent_disk *)(c->buf + c->last);

	if (c->room)
		de->rec_len = dafs_dirblock_store_len(e->img->block_size, c->room - c->last);
}

static errcode_t push_item(struct emit *e, struct chain *c, const struct dirplan_item *item)
{
	const struct dafs_dirplan *dp = e->dp;

	if (item->old) {
		const struct dafs_dirent_disk *de = dp->olds[item->idx];

		return push(e, c, de->ino, de->name, de->name_len, de->file_type);
	} else {
		const struct dafs_dirent_add *add = &dp->req.add[item->idx];

		return push(e, c, add->child->ino, add->name, add->name_len,
			    dafs_icodec_file_type(add->child->mode));
	}
}

static errcode_t push_live(struct emit *e, struct chain *c, const uint8_t *buf, bool dots)
{
	errcode_t err = 0;

	for (uint32_t off = 0; off < c->room && !err;) {
		const struct dafs_dirent_disk *de = dafs_dirblock_at(buf, off);

		if (de->ino && !(dots && off < DAFS_DIR_DOTS_BYTES))
			err = push(e, c, de->ino, de->name, de->name_len, de->file_type);
		off += dafs_dirblock_len(e->img->block_size, de->rec_len);
	}
	return err;
}

/* ---- blocks ---- */

static errcode_t pblk_of(const struct emit *e, uint32_t lblk, uint64_t *pblk)
{
	size_t i = dafs_extlist_search(e->xl, lblk);

	*pblk = 0;
	if (i == e->xl->n || e->xl->v[i].lblk > lblk)
		return internal(e, "block without a place");
	*pblk = e->xl->v[i].pblk + (lblk - e->xl->v[i].lblk);
	return 0;
}

static errcode_t put_block(struct emit *e, uint32_t lblk)
{
	uint64_t pblk;
	errcode_t err = pblk_of(e, lblk, &pblk);

	if (err)
		return err;
	if (lblk >= e->dp->old_blks)
		return dafs_txn_put_new(e->img, pblk, 1, e->buf);
	err = dafs_image_read_blks(e->img, pblk, 1, e->old);
	if (!err && memcmp(e->old, e->buf, e->img->block_size))
		err = dafs_txn_put(e->img, pblk, e->buf);
	return err;
}

static errcode_t emit_leaf(struct emit *e, const struct dirplan_leaf *leaf)
{
	const struct dafs_dirplan *dp = e->dp;
	struct chain c = { .buf = e->buf, .room = dp->room };
	bool dots = !leaf->lblk;	/* only a linear directory has a leaf there */
	errcode_t err = 0;

	memset(e->buf, 0, e->img->block_size);
	if (dots)
		err = push(e, &c, e->ino, ".", 1, EXT2_FT_DIR);
	if (dots && !err)
		err = push(e, &c, e->parent, "..", 2, EXT2_FT_DIR);
	if (leaf->buf && !err)
		err = push_live(e, &c, leaf->buf, dots);
	for (size_t i = leaf->first; i < leaf->first + leaf->n && !err; i++)
		err = push_item(e, &c, &dp->items[i]);
	if (err)
		return err;
	end_chain(e, &c);
	dafs_dirblock_csum_set(e->img, e->seed, DAFS_DIRBLOCK_LEAF, e->buf);
	return put_block(e, leaf->lblk);
}

static errcode_t emit_index(struct emit *e)
{
	const struct dafs_dx *dx = &e->dp->dx;
	errcode_t err;

	dafs_dx_emit_root(e->img, dx, e->seed, e->ino, e->parent, e->buf);
	err = put_block(e, 0);
	for (unsigned level = 0; level < dx->levels; level++) {
		for (size_t i = 0; i < dx->nnodes[level] && !err; i++) {
			dafs_dx_emit_node(e->img, dx, e->seed, level, i, e->buf);
			err = put_block(e, dx->nodes[level][i].lblk);
		}
	}
	return err;
}

/* A new parent in a first block that is not written otherwise. */
static errcode_t patch_dotdot(struct emit *e)
{
	bool root = e->dp->shape == DIRPLAN_HTREE;
	struct dafs_dirent_disk *de = (struct dafs_dirent_disk *)(e->buf + 12);
	uint64_t pblk;
	errcode_t err = pblk_of(e, 0, &pblk);

	if (!err)
		err = dafs_image_read_blks(e->img, pblk, 1, e->buf);
	if (err)
		return err;
	de->ino = e->parent;
	if (e->dp->dir.has_index)
		root = true;
	dafs_dirblock_csum_set(e->img, e->seed, root ? DAFS_DIRBLOCK_ROOT : DAFS_DIRBLOCK_LEAF,
			       e->buf);
	return put_block(e, 0);
}

static errcode_t emit_blocks(struct emit *e)
{
	const struct dafs_dirplan *dp = e->dp;
	bool first_done = dp->write_index;
	errcode_t err = 0;

	e->buf = malloc(2 * (size_t)e->img->block_size);
	if (!e->buf)
		return ENOMEM;
	e->old = e->buf + e->img->block_size;
	for (size_t i = 0; i < dp->nleaves && !err; i++) {
		err = emit_leaf(e, &dp->leaves[i]);
		first_done |= !dp->leaves[i].lblk;
	}
	if (!err && dp->write_index)
		err = emit_index(e);
	if (!err && !first_done && dp->req.dotdot)
		err = patch_dotdot(e);
	free(e->buf);
	return err;
}

/* ---- inline ---- */

static errcode_t emit_inline(struct emit *e, struct ext2_inode_large *raw)
{
	const struct dafs_dirplan *dp = e->dp;
	size_t len = DAFS_INLINE_BODY + (size_t)dp->spill_len;
	uint8_t *body = calloc(1, len), *where = malloc(dp->nitems + 1);
	errcode_t err = body && where ? 0 : ENOMEM;

	if (!err && !dafs_dirplan_fit_inline(dp, where))
		err = internal(e, "names do not fit inline");
	if (!err) {
		struct chain chains[2] = {
			{ .buf = body + DAFS_DIRINLINE_PARENT,
			  .room = DAFS_INLINE_BODY - DAFS_DIRINLINE_PARENT },
			{ .buf = body + DAFS_INLINE_BODY, .room = dp->spill_len },
		};

		memcpy(body, &e->parent, sizeof(e->parent));
		for (size_t i = 0; i < dp->nitems && !err; i++)
			err = push_item(e, &chains[where[i]], &dp->items[i]);
		end_chain(e, &chains[0]);
		end_chain(e, &chains[1]);
	}
	if (!err)
		err = dafs_inline_put(e->img, e->ino, raw, body, len);
	free(body);
	free(where);
	return err;
}

errcode_t dafs_dirplan_emit(struct dafs_dirplan *dp, const struct dafs_inode *self,
			    const struct dafs_extlist *xl, struct ext2_inode_large *raw,
			    uint64_t *size_bytes)
{
	struct emit e = { .dp = dp, .img = dp->img, .xl = xl, .ino = self->ino };
	bool changes = dp->nleaves || dp->write_index;
	errcode_t err;

	*size_bytes = 0;
	e.seed = dafs_icodec_seed(dp->img, self->ino, self->generation);
	e.parent = dp->req.dotdot ? dp->req.dotdot->ino : dp->parent_ino;
	if (dp->shape == DIRPLAN_INLINE) {
		*size_bytes = DAFS_INLINE_BODY + dp->spill_len;
		raw->i_flags &= ~(uint32_t)EXT2_INDEX_FL;
		return emit_inline(&e, raw);
	}
	err = dafs_inline_drop(dp->img, self->ino, raw);
	if (!err)
		err = emit_blocks(&e);
	if (err)
		return err;
	if (dp->shape == DIRPLAN_HTREE)
		raw->i_flags |= EXT2_INDEX_FL;
	else if (changes)
		raw->i_flags &= ~(uint32_t)EXT2_INDEX_FL;
	*size_bytes = (uint64_t)dp->blks << dp->img->block_bits;
	return 0;
}
