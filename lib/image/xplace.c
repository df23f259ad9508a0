/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xplace - where each attribute of a set goes, and the bytes of the areas.
 *
 * The placement is a function of the set, the inode's flags and size and its extra size: plan,
 * values and emit each work it out and come to the same. All that fits goes into the inode, the
 * rest into the block; several orders are tried before a value is given an inode of its own, the
 * largest first.
 */
#include "config.h"

#include "image/xcodec.h"

#include <stdlib.h>
#include <string.h>

#include "image/icodec.h"
#include "image/inline.h"
#include "image/xattr_int.h"

#define SPILL_ENTRY 20u		/* "system.data" without its value */
#define VALUE_UNPLACED UINT32_MAX

struct place {
	struct dafs_xattr_ent ent;
	const struct dafs_xattr *attr;
	uint8_t *owned;
	bool in_block;
};

struct placement {
	struct dafs_image *img;
	struct place *v;		/* in the order of a block: index, name length, name */
	size_t n;
	uint32_t *by_size;		/* indexes into v, largest first */
	uint32_t ibody_room, block_room;
};

static void placement_fini(struct placement *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].owned);
	free(p->v);
	free(p->by_size);
}

static int cmp_name(const void *a, const void *b)
{
	const struct dafs_xattr_ent *x = &((const struct place *)a)->ent;
	const struct dafs_xattr_ent *y = &((const struct place *)b)->ent;

	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	if (x->name_len != y->name_len)
		return x->name_len < y->name_len ? -1 : 1;
	return memcmp(x->name, y->name, x->name_len);
}

static void sort_by_size(struct placement *p)
{
	for (size_t i = 0; i < p->n; i++) {
		uint32_t bytes = dafs_xattr_ent_bytes(&p->v[i].ent);
		size_t k = i;

		for (; k && dafs_xattr_ent_bytes(&p->v[p->by_size[k - 1]].ent) < bytes; k--)
			p->by_size[k] = p->by_size[k - 1];
		p->by_size[k] = (uint32_t)i;
	}
}

/* Bytes of the inode's attribute area that the inline body takes. */
static errcode_t spill_bytes(struct dafs_image *img, const struct dafs_inode *inode,
			     const struct ext2_inode_large *raw, uint32_t *bytes)
{
	uint64_t spill = 0;

	*bytes = 0;
	if (!(inode->iflags & EXT4_INLINE_DATA_FL))
		return 0;
	if (!S_ISDIR(inode->mode)) {
		spill = inode->size > DAFS_INLINE_BODY ? inode->size - DAFS_INLINE_BODY : 0;
	} else if (raw && (raw->i_flags & EXT4_INLINE_DATA_FL)) {
		struct dafs_inline parts;
		errcode_t err = dafs_inline_find(img, inode->ino, raw, &parts);

		if (err)
			return err;
		spill = parts.spill_len;
	}
	if (spill > img->inode_size)
		return dafs_fail(img->ctx, DAFS_ET_INTERNAL, "inode %u: %llu bytes inline",
				 inode->ino, (unsigned long long)inode->size);
	*bytes = SPILL_ENTRY + (((uint32_t)spill + 3) & ~3u);
	return 0;
}

/* Room of the inode's area. raw: the inode as it is (NULL: a new one, or to be read). */
static errcode_t ibody_room(struct placement *p, const struct dafs_inode *inode,
			    const struct ext2_inode_large *raw)
{
	struct dafs_image *img = p->img;
	struct dafs_xattr_area area;
	union dafs_inode_buf buf;
	uint32_t spill;
	errcode_t err;

	if (!raw && inode->ino && !(inode->state & DAFS_I_NEW)) {
		err = dafs_icodec_read(img, inode->ino, &buf.raw, sizeof(buf));
		if (err)
			return err;
		raw = &buf.raw;
	}
	err = spill_bytes(img, inode, raw, &spill);
	if (err)
		return err;
	if (!raw) {
		memset(&buf.raw, 0, sizeof(buf.raw));
		buf.raw.i_extra_isize = dafs_icodec_new_extra(img);
		raw = &buf.raw;
	}
	area = dafs_xattr_ibody(img, raw, NULL);
	p->ibody_room = dafs_xattr_area_room(&area);
	p->ibody_room = p->ibody_room > spill ? p->ibody_room - spill : 0;
	return 0;
}

/* Put every entry somewhere, in v's order or largest first, trying the block before the inode or
 * after it. The first that has no place is returned, NULL when all have one. */
static struct place *try_fit(struct placement *p, bool largest_first, bool block_first)
{
	uint32_t ibody = p->ibody_room, block = p->block_room;

	for (size_t i = 0; i < p->n; i++) {
		struct place *at = &p->v[largest_first ? p->by_size[i] : i];
		uint32_t bytes = dafs_xattr_ent_bytes(&at->ent);

		if (bytes > ibody && bytes > block)
			return at;
		at->in_block = block_first ? bytes <= block : bytes > ibody;
		if (at->in_block)
			block -= bytes;
		else
			ibody -= bytes;
	}
	return NULL;
}

/* The largest value that may go into an inode of its own: not an ACL, whose form there is not
 * the caller's. */
static struct place *largest_value(struct placement *p)
{
	struct place *best = NULL;

	for (size_t i = 0; i < p->n; i++) {
		struct place *at = &p->v[i];

		if (at->owned || at->ent.value_ino || !at->ent.value_len)
			continue;
		if (!best || at->ent.value_len > best->ent.value_len)
			best = at;
	}
	return best;
}

static void to_value_inode(const struct dafs_image *img, struct place *at)
{
	at->ent.value_hash = dafs_xcodec_value_hash(img, at->ent.value, at->ent.value_len);
	at->ent.value_ino = VALUE_UNPLACED;
}

static errcode_t place_all(struct placement *p, const struct dafs_inode *inode, const char *path)
{
	for (;;) {
		struct place *misfit = try_fit(p, false, false), *large;

		if (!misfit)
			return 0;
		sort_by_size(p);
		if (!try_fit(p, true, false) || !try_fit(p, true, true))
			return 0;
		large = p->img->has_ea_inode ? largest_value(p) : NULL;
		if (!large && path)
			return dafs_fail(p->img->ctx, DAFS_ET_XATTR_TOO_BIG, "%s: %s: %u bytes",
					 path, misfit->attr->name, misfit->attr->value_len);
		if (!large)
			return dafs_fail(p->img->ctx, DAFS_ET_XATTR_TOO_BIG,
					 "inode %u: %s: %u bytes", inode->ino, misfit->attr->name,
					 misfit->attr->value_len);
		to_value_inode(p->img, large);
	}
}

static errcode_t placement_init(struct placement *p, struct dafs_image *img,
				const struct dafs_inode *inode, const char *path,
				const struct ext2_inode_large *raw)
{
	uint32_t large = img->block_size - 20 - DAFS_XATTR_BLOCK_HEADER - 4;
	size_t n = 0;
	errcode_t err = 0;

	memset(p, 0, sizeof(*p));
	p->img = img;
	for (const struct dafs_xattr *x = inode->xattrs; x; x = x->next)
		n++;
	if (!n)
		return 0;
	p->block_room = img->block_size - DAFS_XATTR_BLOCK_HEADER - 4;
	p->v = calloc(n, sizeof(*p->v));
	p->by_size = calloc(n, sizeof(*p->by_size));
	if (!p->v || !p->by_size)
		err = ENOMEM;
	for (const struct dafs_xattr *x = inode->xattrs; x && !err; x = x->next) {
		struct place *at = &p->v[p->n];

		err = dafs_xattr_to_ent(img, inode, x, path, &at->ent, &at->owned);
		if (err)
			break;
		at->attr = x;
		p->n++;
		/* As ext4: what even an empty block could not hold goes out at once. */
		if (img->has_ea_inode && at->ent.value_len > large && !at->owned)
			to_value_inode(img, at);
	}
	if (!err)
		err = ibody_room(p, inode, raw);
	if (!err) {
		qsort(p->v, p->n, sizeof(*p->v), cmp_name);
		err = place_all(p, inode, path);
	}
	if (err) {
		placement_fini(p);
		memset(p, 0, sizeof(*p));
	}
	return err;
}

errcode_t dafs_xcodec_plan(struct dafs_image *img, const struct dafs_inode *inode, const char *path,
			   struct dafs_xattr_layout *lay)
{
	struct placement p;
	errcode_t err = placement_init(&p, img, inode, path, NULL);

	memset(lay, 0, sizeof(*lay));
	for (size_t i = 0; i < p.n; i++) {
		lay->use_block |= p.v[i].in_block;
		if (!p.v[i].ent.value_ino)
			continue;
		lay->nvalues++;
		lay->value_blks += (p.v[i].ent.value_len + img->block_size - 1) >> img->block_bits;
	}
	placement_fini(&p);
	return err;
}

errcode_t dafs_xcodec_values(struct dafs_image *img, const struct dafs_inode *inode,
			     struct dafs_xattr_value_inode *values)
{
	struct placement p;
	errcode_t err = placement_init(&p, img, inode, NULL, NULL);
	size_t made = 0;

	for (size_t i = 0; i < p.n; i++) {
		if (p.v[i].ent.value_ino)
			values[made++] = (struct dafs_xattr_value_inode){ .attr = p.v[i].attr };
	}
	placement_fini(&p);
	return err;
}

void dafs_xcodec_value_raw(const struct dafs_image *img, const struct dafs_inode *owner,
			   const struct dafs_xattr *attr, struct ext2_inode_large *raw)
{
	raw->i_mode = S_IFREG | 0600;
	raw->i_uid = (uint16_t)owner->uid;
	raw->osd2.linux2.l_i_uid_high = (uint16_t)(owner->uid >> 16);
	raw->i_gid = (uint16_t)owner->gid;
	raw->osd2.linux2.l_i_gid_high = (uint16_t)(owner->gid >> 16);
	raw->i_links_count = 1;
	raw->i_flags = EXT4_EA_INODE_FL;
	raw->i_size = attr->value_len;
	raw->i_atime = dafs_xcodec_value_hash(img, dafs_xattr_value(attr), attr->value_len);
	raw->osd1.linux1.l_i_version = 1;
	if (img->inode_size > EXT2_GOOD_OLD_INODE_SIZE)
		raw->i_extra_isize = dafs_icodec_new_extra(img);
}

/* ---- emitting ---- */

/* Numbers of the placed value inodes into the entries. */
static errcode_t number_values(struct placement *p, const struct dafs_xattr_value_inode *values)
{
	size_t used = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (!p->v[i].ent.value_ino)
			continue;
		if (!values || values[used].attr != p->v[i].attr || !values[used].ino)
			return dafs_fail(p->img->ctx, DAFS_ET_INTERNAL, "value inode of %s",
					 p->v[i].attr->name);
		p->v[i].ent.value_ino = values[used++].ino;
	}
	return 0;
}

static errcode_t emit_ibody(struct placement *p, uint32_t ino, struct ext2_inode_large *raw)
{
	struct dafs_xattr_ents list = { 0 };
	errcode_t err = 0;

	if (raw->i_flags & EXT4_INLINE_DATA_FL) {
		struct dafs_xattr_ent spill = { .name = "data",
						.name_len = 4,
						.index = DAFS_XATTR_SYSTEM };
		struct dafs_inline parts;

		err = dafs_inline_find(p->img, ino, raw, &parts);
		spill.value = parts.spill;
		spill.value_len = parts.spill_len;
		if (!err)
			err = dafs_xattr_ents_add(&list, &spill);
	}
	for (size_t i = 0; i < p->n && !err; i++) {
		if (!p->v[i].in_block)
			err = dafs_xattr_ents_add(&list, &p->v[i].ent);
	}
	if (!err)
		err = dafs_xattr_ibody_write(p->img, raw, list.v, list.n);
	dafs_xattr_ents_fini(&list);
	return err;
}

/* The block's own hash is over those of its entries, and 0 when one of them is. */
static uint32_t block_hash(const struct dafs_xattr_ent *ents, size_t n)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < n; i++) {
		const struct dafs_xattr_ent *e = &ents[i];
		uint32_t one = e->value_ino ? dafs_xattr_hash(e->name, e->name_len, &e->value_hash,
							      4, false)
					    : dafs_xattr_hash(e->name, e->name_len, e->value,
							      e->value_len, false);

		if (!one)
			return 0;
		hash = (hash << 16 | hash >> 16) ^ one;
	}
	return hash;
}

static errcode_t emit_block(struct placement *p, uint64_t pblk, uint8_t *block,
			    struct ext2_inode_large *raw)
{
	struct dafs_xattr_block *head = (struct dafs_xattr_block *)block;
	struct dafs_xattr_ents list = { 0 };
	struct dafs_xattr_area area;
	errcode_t err = 0;

	for (size_t i = 0; i < p->n && !err; i++) {
		if (p->v[i].in_block)
			err = dafs_xattr_ents_add(&list, &p->v[i].ent);
	}
	if (err || !list.n) {
		pblk = 0;
		goto out;
	}
	if (!pblk || !block) {
		err = dafs_fail(p->img->ctx, DAFS_ET_INTERNAL, "no block for extended attributes");
		goto out;
	}
	memset(block, 0, p->img->block_size);
	area = dafs_xattr_block_area(p->img, block);
	err = dafs_xattr_area_write(p->img, &area, list.v, list.n, true);
	head->magic = DAFS_XATTR_MAGIC;
	head->refcount = 1;
	head->blocks = 1;
	head->hash = block_hash(list.v, list.n);
	head->checksum = p->img->has_csum ? dafs_xattr_block_csum(p->img, pblk, block) : 0;
out:
	if (!err) {
		raw->i_file_acl = (uint32_t)pblk;
		raw->osd2.linux2.l_i_file_acl_high = (uint16_t)(pblk >> 32);
	}
	dafs_xattr_ents_fini(&list);
	return err;
}

errcode_t dafs_xcodec_emit(struct dafs_image *img, const struct dafs_inode *inode,
			   const struct dafs_xattr_value_inode *values, uint64_t pblk,
			   uint8_t *block, struct ext2_inode_large *raw)
{
	struct placement p;
	errcode_t err = placement_init(&p, img, inode, NULL, raw);

	if (!err)
		err = number_values(&p, values);
	if (!err)
		err = emit_block(&p, pblk, block, raw);
	if (!err)
		err = emit_ibody(&p, inode->ino, raw);
	placement_fini(&p);
	return err;
}
