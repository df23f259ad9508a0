/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * quota - see quota.h.
 */
#include "config.h"

#include "write/quota.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/qcodec.h"
#include "image/read.h"
#include "write/plan_int.h"
#include "write/qlimit.h"

struct type {			    /* one quota file */
	uint32_t ino;		    /* 0: there is none of this type */
	struct dafs_quota_entry *v; /* ascending ids: those it had, and those of this flush */
	size_t n, room;
	struct dafs_quota_grace grace;
	struct dafs_plan_body body; /* where it will be */
};

struct dafs_quota {
	struct type types[DAFS_QUOTA_TYPES];
};

void dafs_quota_free(struct dafs_quota *quota)
{
	for (unsigned t = 0; quota && t < DAFS_QUOTA_TYPES; t++) {
		free(quota->types[t].v);
		dafs_plan_body_fini(&quota->types[t].body);
	}
	free(quota);
}

static int by_id(const void *a, const void *b)
{
	const struct dafs_quota_entry *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static struct dafs_quota_entry *find(const struct type *type, size_t n, uint32_t id)
{
	struct dafs_quota_entry key = { .id = id };

	return n ? bsearch(&key, type->v, n, sizeof(*type->v), by_id) : NULL;
}

/* The inode of each type, 0 where there is none. */
static void quota_inos(const struct dafs_image *img, uint32_t inos[DAFS_QUOTA_TYPES])
{
	const struct ext2_super_block *sb = img->fs->super;

	inos[DAFS_QUOTA_USER] = sb->s_usr_quota_inum;
	inos[DAFS_QUOTA_GROUP] = sb->s_grp_quota_inum;
	inos[DAFS_QUOTA_PROJECT] =
		ext2fs_has_feature_project(img->fs->super) ? sb->s_prj_quota_inum : 0;
}

/* The file as the image has it. */
static errcode_t read_entries(struct dafs_image *img, struct type *type, enum dafs_quota_type which,
			      const struct ext2_inode_large *raw)
{
	struct dafs_extlist map = { 0 };
	uint8_t *file = NULL;
	size_t len = 0;
	errcode_t err = dafs_etree_decode(img, type->ino, raw, &map, NULL);

	/* A file has no more bytes than its blocks. */
	if (!err && dafs_icodec_size(img, raw) > dafs_extlist_blocks(&map) << img->block_bits)
		err = dafs_fail(img->ctx, DAFS_ET_CORRUPT_QUOTA, "inode %u: size", type->ino);
	if (!err) {
		len = (size_t)dafs_icodec_size(img, raw);
		file = malloc(len + 1);
		err = file ? 0 : ENOMEM;
	}
	if (!err)
		err = dafs_read_file(img, type->ino, raw, &map, file, len, 0, &len);
	if (!err)
		err = dafs_qcodec_decode(img->ctx, which, file, len, &type->v, &type->n,
					 &type->grace);
	type->room = type->n;
	dafs_extlist_fini(&map);
	free(file);
	return err;
}

errcode_t dafs_quota_read(struct dafs_image *img, enum dafs_quota_type which,
			  struct dafs_quota_entry **entries, size_t *n,
			  struct dafs_quota_grace *grace)
{
	uint32_t inos[DAFS_QUOTA_TYPES];
	struct type type = { 0 };
	union dafs_inode_buf raw;
	errcode_t err = 0;

	quota_inos(img, inos);
	type.ino = img->has_quota ? inos[which] : 0;
	if (type.ino)
		err = dafs_icodec_read(img, type.ino, &raw.raw, sizeof(raw));
	if (!err && type.ino)
		err = read_entries(img, &type, which, &raw.raw);
	*entries = type.v;
	*n = type.n;
	*grace = type.grace;
	return err;
}

/* The same for a flush: its blocks and its tree are given back. */
static errcode_t load(struct dafs_plan *plan, struct type *type, enum dafs_quota_type which)
{
	union dafs_inode_buf raw;
	errcode_t err = dafs_icodec_read(plan->img, type->ino, &raw.raw, sizeof(raw));

	if (!err)
		err = read_entries(plan->img, type, which, &raw.raw);
	return err ? err : dafs_plan_give_inode(plan, type->ino, &raw.raw);
}

static uint32_t id_of(const struct dafs_inode *inode, unsigned which)
{
	return which == DAFS_QUOTA_USER	   ? inode->uid
	       : which == DAFS_QUOTA_GROUP ? inode->gid
					   : inode->projid;
}

/* Owners in this flush get an entry if they have none. */
static errcode_t add_ids(struct dafs_plan *plan, struct type *type, unsigned which)
{
	size_t had = type->n, kept = 0;
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		uint32_t id = id_of(plan->cs->inodes[i], which);

		if ((type->n > had && type->v[type->n - 1].id == id) || find(type, had, id))
			continue;
		err = dafs_array_grow(&type->v, type->n, &type->room, sizeof(*type->v));
		if (!err)
			type->v[type->n++] = (struct dafs_quota_entry){ .id = id };
	}
	if (err || type->n == had)
		return err;
	qsort(type->v, type->n, sizeof(*type->v), by_id);
	for (size_t i = 1; i < type->n; i++) {
		if (type->v[i].id != type->v[kept].id)
			type->v[++kept] = type->v[i];
	}
	type->n = kept + 1;
	return 0;
}

/* The shape of the file depends on its ids only: its length is known before the figures are. */
static errcode_t place(struct dafs_plan *plan, struct type *type, enum dafs_quota_type which)
{
	uint8_t *file;
	size_t len;
	errcode_t err = dafs_qcodec_encode(plan->img->ctx, which, type->v, type->n, &file, &len);

	free(file);
	return err ? err : dafs_plan_place_body(plan, type->ino, len, &type->body);
}

/* New owners that a flush may bring, for what is kept free: each costs at most a path in the tree.
 */
enum { KEEP_OWNERS = 8, OWNER_BYTES = 4096 };

uint64_t dafs_quota_keep_clusters(struct dafs_image *img)
{
	uint32_t inos[DAFS_QUOTA_TYPES];
	union dafs_inode_buf raw;
	uint64_t clusters = 0;

	if (!img->has_quota)
		return 0;
	quota_inos(img, inos);
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		uint64_t bytes = KEEP_OWNERS * OWNER_BYTES;

		if (!inos[t])
			continue;
		if (!dafs_icodec_read(img, inos[t], &raw.raw, sizeof(raw)))
			bytes += dafs_icodec_size(img, &raw.raw);
		clusters += (bytes >> (img->block_bits + img->cluster_bits)) + 2;
	}
	return clusters;
}

errcode_t dafs_quota_plan(struct dafs_plan *plan)
{
	uint32_t inos[DAFS_QUOTA_TYPES];
	errcode_t err = 0;

	if (!plan->img->has_quota || !plan->cs->n)
		return 0;
	quota_inos(plan->img, inos);
	plan->quota = calloc(1, sizeof(*plan->quota));
	if (!plan->quota)
		return ENOMEM;
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES && !err; t++) {
		struct type *type = &plan->quota->types[t];

		type->ino = inos[t];
		if (!type->ino)
			continue;
		err = load(plan, type, t);
		if (!err)
			err = add_ids(plan, type, t);
		if (!err)
			err = place(plan, type, t);
	}
	return err;
}

void dafs_quota_usage(const struct dafs_image *img, uint32_t ino,
		      const struct ext2_inode_large *raw, uint64_t values,
		      struct dafs_quota_usage *usage)
{
	const struct ext2_super_block *sb = img->fs->super;

	memset(usage, 0, sizeof(*usage));
	if ((ino < EXT2_FIRST_INO(sb) && ino != EXT2_ROOT_INO) || ino == sb->s_prj_quota_inum)
		return;
	usage->ids[DAFS_QUOTA_USER] = inode_uid(*raw);
	usage->ids[DAFS_QUOTA_GROUP] = inode_gid(*raw);
	usage->ids[DAFS_QUOTA_PROJECT] = dafs_icodec_projid(img, raw);
	usage->inodes = 1 + values;
	usage->bytes = dafs_icodec_blocks512(img, raw) << 9;
}

/* Figures that the image had wrong do not go below nothing. */
static void change(uint64_t *figure, uint64_t by, bool up)
{
	if (up)
		*figure += by;
	else
		*figure -= by < *figure ? by : *figure;
}

static void charge(struct dafs_quota *quota, const struct dafs_quota_usage *usage, bool up)
{
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		struct type *type = &quota->types[t];
		struct dafs_quota_entry *entry =
			type->ino ? find(type, type->n, usage->ids[t]) : NULL;

		if (!entry)
			continue;
		change(&entry->inodes, usage->inodes, up);
		change(&entry->bytes, usage->bytes, up);
	}
}

void dafs_quota_charge(struct dafs_quota *quota, const struct dafs_quota_usage *before,
		       const struct dafs_quota_usage *now)
{
	if (quota && before && before->inodes)
		charge(quota, before, false);
	if (quota && now && now->inodes)
		charge(quota, now, true);
}

/* When a grace time ends: it runs from where the soft limit was passed until usage is back under
 * it. */
static uint64_t grace_end(uint64_t used, uint64_t soft, uint64_t pending, uint64_t fresh)
{
	if (!soft || used <= soft)
		return 0;
	return pending ? pending : fresh;
}

static void set_times(const struct dafs_plan *plan, struct type *type, enum dafs_quota_type which)
{
	uint64_t now = (uint64_t)plan->img->ctx->now_sec;

	for (size_t i = 0; i < type->n; i++) {
		struct dafs_quota_entry *e = &type->v[i];
		uint64_t blk_sec = e->blk_sec, inode_sec = e->inode_sec;

		dafs_qlimit_times(plan->cs->limits, which, e->id, &blk_sec, &inode_sec);
		e->blk_sec =
			grace_end(e->bytes, e->blk_soft << 10, blk_sec, now + type->grace.blk_sec);
		e->inode_sec = grace_end(e->inodes, e->inode_soft, inode_sec,
					 now + type->grace.inode_sec);
	}
}

static errcode_t write_file(struct dafs_plan *plan, struct type *type, enum dafs_quota_type which)
{
	struct dafs_image *img = plan->img;
	struct ext2_inode_large *raw;
	uint8_t *file = NULL, *block;
	uint64_t pblk;
	uint32_t off;
	size_t len;
	errcode_t err = dafs_icodec_locate(img, type->ino, &pblk, &off, NULL);

	if (!err)
		err = dafs_txn_get(img, pblk, true, &block);
	if (!err)
		set_times(plan, type, which);
	if (!err)
		err = dafs_qcodec_encode(img->ctx, which, type->v, type->n, &file, &len);
	if (err)
		return err;
	dafs_qcodec_put_grace(file, &type->grace);
	raw = (struct ext2_inode_large *)(block + off);
	raw->i_mtime = raw->i_ctime = (uint32_t)img->ctx->now_sec;
	err = dafs_encode_bytes(plan, type->ino, &type->body, file, len, raw);
	dafs_icodec_checksum(img, type->ino, raw);
	free(file);
	return err;
}

errcode_t dafs_quota_write(struct dafs_plan *plan)
{
	errcode_t err = 0;

	for (unsigned t = 0; plan->quota && t < DAFS_QUOTA_TYPES && !err; t++) {
		if (plan->quota->types[t].ino)
			err = write_file(plan, &plan->quota->types[t], t);
	}
	return err;
}
