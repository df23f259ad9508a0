/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inline - see inline.h.
 */
#include "config.h"

#include "image/inline.h"

#include <stdlib.h>
#include <string.h>

#include "image/icodec.h"
#include "image/xattr_int.h"

static const struct dafs_xattr_ent spill_ent = {
	.name = "data", .name_len = 4, .index = DAFS_XATTR_SYSTEM, .value = (const uint8_t *)""
};

static bool is_spill(const struct dafs_xattr_ent *ent)
{
	return ent->index == spill_ent.index && ent->name_len == spill_ent.name_len &&
	       !memcmp(ent->name, spill_ent.name, spill_ent.name_len);
}

/* The entries of the in-inode area; an area never written has none. */
static errcode_t parse_ibody(struct dafs_image *img, uint32_t ino,
			     const struct ext2_inode_large *raw, struct dafs_xattr_ents *list)
{
	bool written;
	struct dafs_xattr_area area = dafs_xattr_ibody(img, raw, &written);

	return written ? dafs_xattr_area_parse(img, ino, &area, list) : 0;
}

errcode_t dafs_inline_find(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			   struct dafs_inline *out)
{
	struct dafs_xattr_ents list = { 0 };
	errcode_t err = parse_ibody(img, ino, raw, &list);

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < list.n && !err && !out->body; i++) {
		if (!is_spill(&list.v[i]) || list.v[i].value_ino)
			continue;
		out->body = (const uint8_t *)raw->i_block;
		out->spill = list.v[i].value;
		out->spill_len = list.v[i].value_len;
	}
	if (!err && (!out->body || !(raw->i_flags & EXT4_INLINE_DATA_FL))) {
		memset(out, 0, sizeof(*out));
		err = dafs_fail(img->ctx, DAFS_ET_CORRUPT_INODE, "inode %u: no inline data", ino);
	}
	dafs_xattr_ents_fini(&list);
	return err;
}

/* Replace the spill by ent (NULL: take it out), which comes first. */
static errcode_t rewrite(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw,
			 const struct dafs_xattr_ent *spill)
{
	struct dafs_xattr_area area = dafs_xattr_ibody(img, raw, NULL);
	struct dafs_xattr_ents old = { 0 }, list = { 0 };
	uint32_t bytes = 0;
	errcode_t err = parse_ibody(img, ino, raw, &old);

	if (!err && spill)
		err = dafs_xattr_ents_add(&list, spill);
	for (size_t i = 0; i < old.n && !err; i++) {
		if (!is_spill(&old.v[i]))
			err = dafs_xattr_ents_add(&list, &old.v[i]);
	}
	for (size_t i = 0; i < list.n; i++)
		bytes += dafs_xattr_ent_bytes(&list.v[i]);
	if (!err && bytes > dafs_xattr_area_room(&area))
		err = dafs_fail(img->ctx, DAFS_ET_XATTR_TOO_BIG, "inode %u: inline data", ino);
	if (!err)
		err = dafs_xattr_ibody_write(img, raw, list.v, list.n);
	dafs_xattr_ents_fini(&old);
	dafs_xattr_ents_fini(&list);
	return err;
}

errcode_t dafs_inline_put(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw,
			  const void *data, size_t len)
{
	size_t head = len < DAFS_INLINE_BODY ? len : DAFS_INLINE_BODY;
	struct dafs_xattr_ent spill = spill_ent;
	errcode_t err;

	if (!img->has_inline_data || len - head > img->inode_size)
		return dafs_fail(img->ctx, DAFS_ET_XATTR_TOO_BIG, "inode %u: inline data", ino);
	if (len > head) {
		spill.value = (const uint8_t *)data + head;
		spill.value_len = (uint32_t)(len - head);
	}
	err = rewrite(img, ino, raw, &spill);
	if (err)
		return err;
	memset(raw->i_block, 0, sizeof(raw->i_block));
	memcpy(raw->i_block, data, head);
	raw->i_flags = (raw->i_flags & ~(uint32_t)EXT4_EXTENTS_FL) | EXT4_INLINE_DATA_FL;
	return 0;
}

errcode_t dafs_inline_drop(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw)
{
	errcode_t err;

	if (!(raw->i_flags & EXT4_INLINE_DATA_FL))
		return 0;
	err = rewrite(img, ino, raw, NULL);
	if (!err)
		raw->i_flags &= ~(uint32_t)EXT4_INLINE_DATA_FL;
	return err;
}

uint32_t dafs_inline_room(struct dafs_image *img, const struct dafs_inode *inode)
{
	union dafs_inode_buf buf;
	struct dafs_xattr_area area;
	uint32_t room, taken = dafs_xattr_ent_bytes(&spill_ent);

	memset(&buf.raw, 0, sizeof(buf.raw));
	if (!img->has_inline_data || img->inode_size <= EXT2_GOOD_OLD_INODE_SIZE)
		return 0;
	buf.raw.i_extra_isize = dafs_icodec_new_extra(img);
	area = dafs_xattr_ibody(img, &buf.raw, NULL);
	room = dafs_xattr_area_room(&area);
	if (room < taken)
		return 0;
	for (const struct dafs_xattr *x = inode->xattrs; x && taken <= room; x = x->next) {
		struct dafs_xattr_ent ent;
		uint8_t *owned;

		/* What cannot be stored at all is reported when the attributes are planned. */
		if (dafs_xattr_to_ent(img, inode, x, NULL, &ent, &owned))
			continue;
		taken += dafs_xattr_ent_bytes(&ent);
		free(owned);
	}
	return DAFS_INLINE_BODY + (taken < room ? room - taken : 0);
}
