/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * encode_body - one inode as it is to stand in its table block: attributes, body (mapping,
 * directory, symlink target), extended attributes, checksum; in the order that icodec.h asks for.
 * Blocks beside the inode go through the transaction on the way.
 */
#include "config.h"

#include "write/plan_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "image/inline.h"

#define BODY_BYTES sizeof(((struct ext2_inode_large *)NULL)->i_block)

/* 512-byte units of n clusters: what i_blocks counts in. */
static uint64_t clusters512(const struct dafs_image *img, uint64_t n)
{
	return n << (img->cluster_bits + img->block_bits - 9);
}

/* Attributes beyond the inode: a block, and the values that have inodes of their own (charged to
 * the owner, too). */
static uint64_t xattr512_new(const struct dafs_image *img, const struct dafs_plan_extra *extra)
{
	uint64_t cluster_bytes = (uint64_t)img->block_size << img->cluster_bits,
		 clusters = extra->xattrs->lay.use_block;

	for (uint32_t v = 0; v < extra->xattrs->lay.nvalues; v++)
		clusters += (extra->xattrs->values[v].attr->value_len + cluster_bytes - 1) /
			    cluster_bytes;
	return clusters512(img, clusters);
}

/* i_blocks of raw less its mapping and tree: what its attributes count. */
static errcode_t xattr512_old(struct dafs_plan *plan, uint32_t ino,
			      const struct ext2_inode_large *raw, uint64_t *map512,
			      uint64_t *xattr512)
{
	struct dafs_extlist map = { 0 };
	struct dafs_blklist nodes = { 0 };
	uint64_t all = dafs_icodec_blocks512(plan->img, raw);
	errcode_t err = 0;

	*map512 = 0;
	if (dafs_icodec_has_map(plan->img, raw)) {
		err = dafs_etree_decode(plan->img, ino, raw, &map, &nodes);
		*map512 = clusters512(plan->img, dafs_etree_clusters(plan->img, &map) + nodes.n);
	}
	*xattr512 = all > *map512 ? all - *map512 : 0;
	dafs_extlist_fini(&map);
	dafs_blklist_fini(&nodes);
	return err;
}

/* i_blocks that the inode is to have. map: its mapping where that is encoded, else NULL. */
static errcode_t blocks512_of(struct dafs_plan *plan, size_t item,
			      const struct ext2_inode_large *raw, const struct dafs_extlist *map,
			      uint64_t *ret)
{
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	const struct dafs_inode *inode = plan->cs->inodes[item];
	uint64_t map512 = 0, xattr512 = 0;
	errcode_t err = 0;

	if (!(inode->state & DAFS_I_NEW)) {
		if (!map && !(extra && extra->xattrs)) {
			*ret = dafs_icodec_blocks512(plan->img, raw);
			return 0;
		}
		err = xattr512_old(plan, inode->ino, raw, &map512, &xattr512);
	}
	if (map)
		map512 = clusters512(plan->img, dafs_etree_clusters(plan->img, map) +
							(extra ? extra->nodes.n : 0));
	if (extra && extra->xattrs)
		xattr512 = xattr512_new(plan->img, extra);
	if (extra && extra->target_pblk)
		map512 = clusters512(plan->img, 1);
	*ret = map512 + xattr512;
	return err;
}

/* ---- bodies ---- */

static errcode_t encode_map(struct dafs_plan *plan, size_t item, const struct dafs_extlist *map,
			    struct ext2_inode_large *raw)
{
	static const struct dafs_blklist none;
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	const struct dafs_inode *inode = plan->cs->inodes[item];
	errcode_t err = 0;

	if (raw->i_flags & EXT4_INLINE_DATA_FL) {
		err = dafs_inline_drop(plan->img, inode->ino, raw);
		memset(raw->i_block, 0, BODY_BYTES);
	}
	plan->stats.extents += map->n;
	return err ? err
		   : dafs_etree_encode(plan->img, inode->ino, inode->generation, map,
				       extra ? &extra->nodes : &none, extra ? extra->nold : 0, raw);
}

/* A new file's runs as a mapping: in place for the usual one, copied where there are more. */
static errcode_t runs_as_map(struct dafs_plan *plan, size_t item, struct dafs_extlist *map)
{
	const struct dafs_plan_item *it = &plan->items[item];
	errcode_t err = 0;

	plan->edits.n = 0;
	for (uint32_t r = 0; r < it->nruns && !err; r++) {
		const struct dafs_plan_run *run = &plan->runs[it->first_run + r];

		err = dafs_extlist_append(&plan->edits, run->pblk, run->lblk, run->len,
					  run->kind == DAFS_RUN_UNWRITTEN);
	}
	*map = plan->edits;
	return err;
}

static errcode_t encode_dir(struct dafs_plan *plan, size_t item, struct ext2_inode_large *raw)
{
	struct dafs_inode *inode = plan->cs->inodes[item];
	struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	uint64_t size = inode->size;
	errcode_t err = 0;

	if (extra->mapped)
		err = encode_map(plan, item, &extra->map, raw);
	if (!err)
		err = dafs_plan_open_dir(plan, item);
	if (err)
		return err;
	if (dafs_dirplan_blks(extra->dirplan) != extra->dir_blks)
		return dafs_plan_fail(plan, inode, DAFS_ET_INTERNAL,
				      "the directory's shape changed under way");
	err = dafs_dirplan_emit(extra->dirplan, inode, &extra->map, raw, &size);
	dafs_plan_close_dir(plan, item);
	inode->size = size;
	raw->i_size = (uint32_t)size;
	if (plan->img->has_large_dir)
		raw->i_size_high = (uint32_t)(size >> 32);
	return err;
}

static errcode_t encode_inline(struct dafs_plan *plan, size_t item, struct ext2_inode_large *raw)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	uint8_t *block;
	errcode_t err;

	if (dafs_inline_stays(inode))
		return 0;
	block = malloc(plan->img->block_size);
	err = block ? dafs_submit_first(plan, item, block) : ENOMEM;
	if (!err)
		err = dafs_inline_put(plan->img, inode->ino, raw, block, inode->size);
	free(block);
	return err;
}

static errcode_t encode_symlink(struct dafs_plan *plan, size_t item, struct ext2_inode_large *raw)
{
	static const struct dafs_blklist none;
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	const struct dafs_inode *inode = plan->cs->inodes[item];
	size_t len = strlen(inode->u.target);
	struct dafs_extent ext = { .len = 1 };
	struct dafs_extlist map = { .v = &ext, .n = 1, .room = 1 };
	uint8_t *block;
	errcode_t err;

	if (!extra || !extra->target_pblk) {
		assert(len < BODY_BYTES);
		memcpy(raw->i_block, inode->u.target, len);
		return 0;
	}
	block = calloc(1, plan->img->block_size);
	if (!block)
		return ENOMEM;
	memcpy(block, inode->u.target, len);
	ext.pblk = extra->target_pblk;
	err = dafs_txn_put_new(plan->img, ext.pblk, 1, block);
	if (!err)
		err = dafs_etree_encode(plan->img, inode->ino, inode->generation, &map, &none, 0,
					raw);
	free(block);
	return err;
}

/* ---- attributes ---- */

/* A value inode that lost its last owner. */
static errcode_t kill_value(struct dafs_plan *plan, uint32_t ino)
{
	struct ext2_inode_large *raw;
	uint64_t pblk;
	uint32_t off;
	uint8_t *block;
	errcode_t err = dafs_icodec_locate(plan->img, ino, &pblk, &off, NULL);

	if (!err)
		err = dafs_txn_get(plan->img, pblk, true, &block);
	if (err)
		return err;
	raw = (struct ext2_inode_large *)(block + off);
	err = dafs_plan_give_inode(plan, ino, raw);
	return err ? err : dafs_encode_gone(plan, ino, raw);
}

/* Let go of the attributes that raw has on disk. */
static errcode_t release_xattrs(struct dafs_plan *plan, uint32_t ino, struct ext2_inode_large *raw)
{
	struct dafs_blklist dead = { 0 };
	uint64_t pblk = 0;
	errcode_t err = dafs_xcodec_release(plan->img, ino, raw, &pblk, &dead);

	if (!err && pblk)
		err = dafs_plan_give_meta(plan, ino, raw->i_mode, pblk);
	for (size_t i = 0; i < dead.n && !err; i++)
		err = kill_value(plan, (uint32_t)dead.v[i]);
	dafs_blklist_fini(&dead);
	return err;
}

static errcode_t encode_xattrs(struct dafs_plan *plan, size_t item, struct ext2_inode_large *raw)
{
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	const struct dafs_inode *inode = plan->cs->inodes[item];
	uint8_t *block = NULL;
	errcode_t err = 0;

	if (!(inode->state & DAFS_I_NEW))
		err = release_xattrs(plan, inode->ino, raw);
	if (err)
		return err;
	if (!extra || !extra->xattrs)
		return dafs_xcodec_emit(plan->img, inode, NULL, 0, NULL, raw);
	if (extra->xattrs->lay.use_block) {
		block = calloc(1, plan->img->block_size);
		if (!block)
			return ENOMEM;
	}
	err = dafs_xcodec_emit(plan->img, inode, extra->xattrs->values, extra->xattrs->pblk, block,
			       raw);
	if (!err && block)
		err = dafs_txn_put_new(plan->img, extra->xattrs->pblk, 1, block);
	free(block);
	return err;
}

errcode_t dafs_encode_bytes(struct dafs_plan *plan, uint32_t ino, const struct dafs_plan_body *body,
			    const void *bytes, size_t len, struct ext2_inode_large *raw)
{
	const uint32_t bs = plan->img->block_size;
	uint8_t *block = malloc(bs);
	errcode_t err = block ? 0 : ENOMEM;

	for (size_t i = 0; i < body->map.n && !err; i++) {
		for (uint32_t b = 0; b < body->map.v[i].len && !err; b++) {
			size_t off = (size_t)(body->map.v[i].lblk + b) * bs;
			size_t n = len - off < bs ? len - off : bs;

			memcpy(block, (const uint8_t *)bytes + off, n);
			memset(block + n, 0, bs - n);
			err = dafs_txn_put_new(plan->img, body->map.v[i].pblk + b, 1, block);
		}
	}
	free(block);
	raw->i_size = (uint32_t)len;
	raw->i_blocks = (uint32_t)clusters512(
		plan->img, dafs_etree_clusters(plan->img, &body->map) + body->nodes.n);
	return err ? err
		   : dafs_etree_encode(plan->img, ino, raw->i_generation, &body->map, &body->nodes,
				       0, raw);
}

errcode_t dafs_encode_value(struct dafs_plan *plan, size_t item, uint32_t v,
			    struct ext2_inode_large *raw)
{
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	const struct dafs_xattr *attr = extra->xattrs->values[v].attr;
	errcode_t err;

	dafs_xcodec_value_raw(plan->img, plan->cs->inodes[item], attr, raw);
	err = dafs_encode_bytes(plan, extra->xattrs->values[v].ino, &extra->xattrs->bodies[v],
				dafs_xattr_value(attr), attr->value_len, raw);
	dafs_icodec_checksum(plan->img, extra->xattrs->values[v].ino, raw);
	return err;
}

/* ---- the whole inode ---- */

errcode_t dafs_encode_gone(struct dafs_plan *plan, uint32_t ino, struct ext2_inode_large *raw)
{
	bool is_dir = S_ISDIR(raw->i_mode);
	errcode_t err = release_xattrs(plan, ino, raw);

	if (!err)
		err = dafs_group_give_inode(plan->img, ino, is_dir);
	if (err)
		return err;
	raw->i_links_count = 0;
	raw->i_dtime = (uint32_t)plan->img->ctx->now_sec;
	raw->i_size = raw->i_size_high = 0;
	raw->i_blocks = 0;
	raw->osd2.linux2.l_i_blocks_hi = 0;
	raw->i_file_acl = 0;
	raw->osd2.linux2.l_i_file_acl_high = 0;
	raw->i_flags &= ~(uint32_t)DAFS_ICODEC_BODY_FLAGS;
	memset(raw->i_block, 0, BODY_BYTES);
	dafs_icodec_checksum(plan->img, ino, raw);
	plan->stats.removed++;
	return 0;
}

static errcode_t encode_body(struct dafs_plan *plan, size_t item, const struct dafs_extlist *map,
			     struct ext2_inode_large *raw)
{
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	const struct dafs_inode *inode = plan->cs->inodes[item];

	if (extra && extra->names)
		return encode_dir(plan, item, raw);
	if (dafs_plan_is_inline(inode))
		return encode_inline(plan, item, raw);
	if (S_ISREG(inode->mode) && map)
		return encode_map(plan, item, map, raw);
	if (S_ISLNK(inode->mode) && (inode->state & DAFS_I_NEW))
		return encode_symlink(plan, item, raw);
	return 0;
}

errcode_t dafs_encode_item(struct dafs_plan *plan, size_t item, struct ext2_inode_large *raw)
{
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);
	struct dafs_inode *inode = plan->cs->inodes[item];
	bool fresh = inode->state & DAFS_I_NEW;
	struct dafs_extlist runs;
	const struct dafs_extlist *map = extra && extra->mapped ? &extra->map : NULL;
	uint64_t blocks512;
	errcode_t err = 0;

	if (S_ISREG(inode->mode) && fresh && !dafs_plan_is_inline(inode)) {
		err = runs_as_map(plan, item, &runs);
		map = &runs;
	}
	if (!err)
		err = blocks512_of(plan, item, raw, map, &blocks512);
	if (!err)
		err = dafs_icodec_encode(plan->img, inode, blocks512, raw, plan->img->inode_size);
	if (!err)
		err = encode_body(plan, item, map, raw);
	if (!err && ((inode->state & DAFS_I_XATTR) || (fresh && inode->xattrs)))
		err = encode_xattrs(plan, item, raw);
	if (err)
		return err;
	dafs_icodec_checksum(plan->img, inode->ino, raw);
	if (S_ISREG(inode->mode))
		plan->stats.files++;
	else if (S_ISDIR(inode->mode))
		plan->stats.dirs++;
	else
		plan->stats.others++;
	return 0;
}
