/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inspect - see inspect.h: inodes, one by one and all of them. */
#include "config.h"

#include "job/inspect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "job/inspect_int.h"

#define TABLE_READ_BYTES (256u << 10)

bool dafs_damage_passable(errcode_t err)
{
	return err != ENOMEM && err != DAFS_ET_CANCELLED;
}

errcode_t dafs_damage_note(struct dafs_damage *damage, struct dafs_ctx *ctx, errcode_t err)
{
	if (!err || !dafs_damage_passable(err))
		return err;
	if (!damage->err) {
		damage->err = err;
		memcpy(damage->detail, ctx->detail, sizeof(damage->detail));
	} else if (damage->more++ < DAFS_DAMAGE_NOTICES) {
		dafs_notice(ctx, "%s: %s", ctx->detail, error_message(err));
	}
	return 0;
}

errcode_t dafs_damage_end(const struct dafs_damage *damage, struct dafs_ctx *ctx, errcode_t err)
{
	if (err || !damage->err)
		return err;
	if (damage->more > DAFS_DAMAGE_NOTICES)
		dafs_notice(ctx, "%llu problems more",
			    (unsigned long long)damage->more - DAFS_DAMAGE_NOTICES);
	return dafs_fail(ctx, damage->err, "%s", damage->detail);
}

/* Fill in from the inode's bytes. */
static void take_bytes(struct dafs_image *img, uint32_t ino, const uint8_t *bytes,
		       struct dafs_inspect *in)
{
	memset(in, 0, sizeof(*in));
	in->ino = ino;
	memcpy(in->buf.bytes, bytes, img->inode_size);
	in->csum_ok = dafs_icodec_checksum_ok(img, ino, &in->buf.raw);
	dafs_icodec_attrs(img, ino, &in->buf.raw, &in->attr);
}

errcode_t dafs_inspect_inode(struct dafs_image *img, uint32_t ino, struct dafs_inspect *in)
{
	uint8_t *block;
	uint64_t pblk;
	uint32_t off;
	errcode_t err;

	memset(in, 0, sizeof(*in));
	err = dafs_icodec_locate(img, ino, &pblk, &off, NULL);
	if (err)
		return err;
	block = malloc(img->block_size);
	if (!block)
		return ENOMEM;
	err = dafs_image_read_blks(img, pblk, 1, block);
	if (!err)
		take_bytes(img, ino, block + off, in);
	free(block);
	return err;
}

static errcode_t load_mapping(struct dafs_image *img, struct dafs_inspect *in)
{
	errcode_t err = dafs_etree_decode(img, in->ino, &in->buf.raw, &in->extents, &in->nodes);

	in->mapped = !err;
	return err;
}

errcode_t dafs_inspect_load(struct dafs_image *img, uint32_t ino, struct dafs_inspect *in)
{
	errcode_t err = dafs_inspect_inode(img, ino, in);

	return err ? err : load_mapping(img, in);
}

void dafs_inspect_fini(struct dafs_inspect *in)
{
	dafs_extlist_fini(&in->extents);
	dafs_blklist_fini(&in->nodes);
}

errcode_t dafs_inspect_judge(struct dafs_image *img, const struct dafs_inspect *in)
{
	if (in->csum_ok || (img->flags & DAFS_IMAGE_IGNORE_CSUM))
		return 0;
	return dafs_fail(img->ctx, DAFS_ET_CORRUPT_INODE, "inode %u: checksum", in->ino);
}

/* ---- all of them ---- */

struct each {
	struct dafs_image *img;
	dafs_inspect_inode_fn fn;
	void *arg;
	bool all_tables;
	uint8_t *table; /* read_bytes() of it */
	struct dafs_damage damage;
};

static size_t read_bytes(const struct dafs_image *img)
{
	return TABLE_READ_BYTES > img->block_size ? TABLE_READ_BYTES : img->block_size;
}

static errcode_t visit(struct each *ea, uint32_t ino, const uint8_t *bytes)
{
	struct dafs_inspect in;
	errcode_t err;

	take_bytes(ea->img, ino, bytes, &in);
	err = dafs_damage_note(&ea->damage, ea->img->ctx, load_mapping(ea->img, &in));
	if (!err)
		err = ea->fn(ea->arg, &in);
	dafs_inspect_fini(&in);
	return err;
}

/* The inodes that bits name (NULL: those with links) among the first n of a group. */
static errcode_t visit_table(struct each *ea, uint32_t grp, const uint8_t *bits, uint32_t n)
{
	struct dafs_image *img = ea->img;
	uint32_t first = grp * img->fs->super->s_inodes_per_group;
	uint32_t size = img->inode_size;
	uint32_t per_read = (uint32_t)(read_bytes(img) / size);
	errcode_t err = 0;

	for (uint32_t i = 0; i < n && !err; i++) {
		const struct ext2_inode_large *raw;
		uint32_t at = i % per_read;

		if (!at) {
			uint32_t count = n - i < per_read ? n - i : per_read;
			uint64_t pblk = dafs_group_itable_pblk(img, grp) +
					((uint64_t)i * size >> img->block_bits);
			uint64_t blks = ((uint64_t)count * size + img->block_size - 1) >>
					img->block_bits;

			err = dafs_image_read_blks(img, pblk, blks, ea->table);
			if (err) /* the table is not there */
				return dafs_damage_note(&ea->damage, img->ctx, err);
		}
		raw = (const struct ext2_inode_large *)(ea->table + (size_t)at * size);
		if (bits ? bits[i / 8] & (1u << (i % 8)) : raw->i_links_count)
			err = visit(ea, first + i + 1, (const uint8_t *)raw);
	}
	return err;
}

static errcode_t visit_group(struct each *ea, uint32_t grp)
{
	uint32_t all = ea->img->fs->super->s_inodes_per_group;
	uint32_t mark = dafs_group_itable_mark(ea->img, grp);
	const uint8_t *bits;
	errcode_t err;

	if (ea->all_tables)
		return visit_table(ea, grp, NULL, all);
	if (!mark)
		return 0;
	err = dafs_group_inode_bits(ea->img, grp, &bits);
	if (!err)
		return visit_table(ea, grp, bits, mark < all ? mark : all);
	err = dafs_damage_note(&ea->damage, ea->img->ctx, err);
	return err ? err : visit_table(ea, grp, NULL, all);
}

errcode_t dafs_inspect_each(struct dafs_image *img, bool all_tables, dafs_inspect_inode_fn fn,
			    void *arg)
{
	struct each ea = { .img = img, .fn = fn, .arg = arg, .all_tables = all_tables };
	uint32_t groups = dafs_group_count(img);
	errcode_t err = 0;

	ea.table = malloc(read_bytes(img));
	if (!ea.table)
		return ENOMEM;
	for (uint32_t grp = 0; grp < groups && !err; grp++) {
		err = visit_group(&ea, grp);
		if (!err)
			err = dafs_cancelled(img->ctx);
		dafs_progress(img->ctx, "reading inodes", grp, groups);
	}
	free(ea.table);
	return dafs_damage_end(&ea.damage, img->ctx, err);
}
