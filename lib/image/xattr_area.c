/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xattr_area - see xattr_int.h: one area of extended attributes taken apart and put together.
 *
 * What an accepted area guarantees: every entry and value lies inside, values lie behind the
 * entries and do not overlap, so that the sum of all values is below the area's size.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/crc32c.h"
#include "image/xattr_int.h"

#define MAX_AREA 65536u
#define TERMINATOR 4u

struct disk_entry {
	uint8_t name_len;
	uint8_t index;
	uint16_t value_offs;
	uint32_t value_ino;
	uint32_t value_size;
	uint32_t hash;
	char name[];
};

static uint32_t round4(uint32_t n)
{
	return (n + 3) & ~3u;
}

void dafs_xattr_ents_fini(struct dafs_xattr_ents *list)
{
	free(list->v);
	memset(list, 0, sizeof(*list));
}

errcode_t dafs_xattr_ents_add(struct dafs_xattr_ents *list, const struct dafs_xattr_ent *ent)
{
	errcode_t err = dafs_array_grow(&list->v, list->n, &list->room, sizeof(*list->v));

	if (!err)
		list->v[list->n++] = *ent;
	return err;
}

struct dafs_xattr_area dafs_xattr_ibody(const struct dafs_image *img,
					const struct ext2_inode_large *raw, bool *with_magic)
{
	struct dafs_xattr_area area = { 0 };
	uint32_t start;

	if (with_magic)
		*with_magic = false;
	if (img->inode_size <= EXT2_GOOD_OLD_INODE_SIZE)
		return area;
	start = EXT2_GOOD_OLD_INODE_SIZE + raw->i_extra_isize;
	if (raw->i_extra_isize % 4 || start + 4 + TERMINATOR > img->inode_size)
		return area;
	area.base = (uint8_t *)(uintptr_t)raw + start + 4;
	area.len = img->inode_size - start - 4;
	if (with_magic)
		*with_magic = *(uint32_t *)(area.base - 4) == DAFS_XATTR_MAGIC;
	return area;
}

struct dafs_xattr_area dafs_xattr_block_area(const struct dafs_image *img, uint8_t *block)
{
	return (struct dafs_xattr_area){ block, DAFS_XATTR_BLOCK_HEADER, img->block_size };
}

uint32_t dafs_xattr_ent_bytes(const struct dafs_xattr_ent *ent)
{
	uint32_t bytes = sizeof(struct disk_entry) + round4(ent->name_len);

	return ent->value_ino ? bytes : bytes + round4(ent->value_len);
}

uint32_t dafs_xattr_area_room(const struct dafs_xattr_area *area)
{
	return area->len > area->first + TERMINATOR ? area->len - area->first - TERMINATOR : 0;
}

/* ---- taking apart ---- */

static errcode_t corrupt(struct dafs_image *img, uint32_t ino, const char *why)
{
	return dafs_fail(img->ctx, DAFS_ET_CORRUPT_XATTR, "inode %u: extended attribute: %s", ino,
			 why);
}

/* Why an entry's own fields are wrong, or NULL. */
static const char *entry_problem(const struct dafs_image *img, const struct disk_entry *e)
{
	bool bare = e->index == DAFS_XATTR_ACL_ACCESS || e->index == DAFS_XATTR_ACL_DEFAULT ||
		    e->index == DAFS_XATTR_RICHACL;

	if (!e->name_len && !bare)
		return "empty name";
	if (memchr(e->name, 0, e->name_len))
		return "zero byte in a name";
	if (e->value_ino && !img->has_ea_inode)
		return "value in an inode without the feature ea_inode";
	if (e->value_ino && e->value_size > DAFS_XATTR_MAX_VALUE)
		return "value size";
	return NULL;
}

/* Entries up to the terminator; *end gets the offset behind it. */
static errcode_t parse_entries(struct dafs_image *img, uint32_t ino,
			       const struct dafs_xattr_area *area, struct dafs_xattr_ents *list,
			       uint32_t *end)
{
	uint32_t at = area->first;

	for (;;) {
		const struct disk_entry *e = (const struct disk_entry *)(area->base + at);
		struct dafs_xattr_ent ent = { 0 };
		const char *problem;
		errcode_t err;

		if (at + TERMINATOR > area->len)
			return corrupt(img, ino, "list without an end");
		if (!*(const uint32_t *)e)
			break;
		if (at + sizeof(*e) > area->len ||
		    at + sizeof(*e) + round4(e->name_len) > area->len)
			return corrupt(img, ino, "entry outside its area");
		problem = entry_problem(img, e);
		if (problem)
			return corrupt(img, ino, problem);
		ent = (struct dafs_xattr_ent){ .name = e->name,
					       .name_len = e->name_len,
					       .index = e->index,
					       .value_len = e->value_size,
					       .value_ino = e->value_ino,
					       .value_hash = e->hash };
		if (!e->value_ino)
			ent.value = area->base + (e->value_size ? e->value_offs : 0);
		err = dafs_xattr_ents_add(list, &ent);
		if (err)
			return err;
		at += (uint32_t)sizeof(*e) + round4(e->name_len);
	}
	*end = at + TERMINATOR;
	return 0;
}

/* Values inside the area, behind the entries, none over another. */
static errcode_t check_values(struct dafs_image *img, uint32_t ino,
			      const struct dafs_xattr_area *area, const struct dafs_xattr_ent *ents,
			      size_t n, uint32_t end)
{
	uint8_t used[MAX_AREA / 8] = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct dafs_xattr_ent *ent = &ents[i];
		uint32_t offs;

		if (!ent->value || !ent->value_len)
			continue;
		offs = (uint32_t)(ent->value - area->base);
		if (offs < end || offs > area->len || ent->value_len > area->len - offs)
			return corrupt(img, ino, "value outside its area");
		for (uint32_t at = offs; at < offs + ent->value_len; at++) {
			if (used[at / 8] & 1u << at % 8)
				return corrupt(img, ino, "values overlap");
			used[at / 8] |= (uint8_t)(1u << at % 8);
		}
	}
	return 0;
}

errcode_t dafs_xattr_area_parse(struct dafs_image *img, uint32_t ino,
				const struct dafs_xattr_area *area, struct dafs_xattr_ents *list)
{
	size_t before = list->n;
	uint32_t end = 0;
	errcode_t err = parse_entries(img, ino, area, list, &end);

	if (err || list->n == before)
		return err;
	return check_values(img, ino, area, list->v + before, list->n - before, end);
}

/* ---- putting together ---- */

uint32_t dafs_xattr_hash(const char *name, size_t name_len, const void *value, size_t value_len,
			 bool as_signed)
{
	const uint8_t *bytes = value;
	uint32_t hash = 0;

	for (size_t i = 0; i < name_len; i++) {
		uint32_t c = as_signed ? (uint32_t)(int32_t)(int8_t)name[i] : (uint8_t)name[i];

		hash = (hash << 5 | hash >> 27) ^ c;
	}
	for (size_t i = 0; i < value_len; i += 4) {
		uint32_t word = 0;

		memcpy(&word, bytes + i, value_len - i < 4 ? value_len - i : 4);
		hash = (hash << 16 | hash >> 16) ^ word;
	}
	return hash;
}

static uint32_t entry_hash(const struct dafs_xattr_ent *ent, bool hashed)
{
	if (ent->value_ino)
		return dafs_xattr_hash(ent->name, ent->name_len, &ent->value_hash, 4, false);
	return hashed ? dafs_xattr_hash(ent->name, ent->name_len, ent->value, ent->value_len, false)
		      : 0;
}

errcode_t dafs_xattr_area_write(struct dafs_image *img, const struct dafs_xattr_area *area,
				const struct dafs_xattr_ent *ents, size_t n, bool hashed)
{
	uint32_t at = area->first, floor = area->len, need = 0;

	for (size_t i = 0; i < n; i++)
		need += dafs_xattr_ent_bytes(&ents[i]);
	if (need > dafs_xattr_area_room(area))
		return dafs_fail(img->ctx, DAFS_ET_INTERNAL,
				 "%u bytes of extended attributes for %u", need,
				 dafs_xattr_area_room(area));
	for (size_t i = 0; i < n; i++) {
		const struct dafs_xattr_ent *ent = &ents[i];
		struct disk_entry *e = (struct disk_entry *)(area->base + at);

		e->name_len = ent->name_len;
		e->index = ent->index;
		e->value_ino = ent->value_ino;
		e->value_size = ent->value_len;
		e->hash = entry_hash(ent, hashed);
		memcpy(e->name, ent->name, ent->name_len);
		if (!ent->value_ino && ent->value_len) {
			floor -= round4(ent->value_len);
			e->value_offs = (uint16_t)floor;
			memcpy(area->base + floor, ent->value, ent->value_len);
		}
		at += (uint32_t)sizeof(*e) + round4(ent->name_len);
	}
	return 0;
}

errcode_t dafs_xattr_ibody_write(struct dafs_image *img, struct ext2_inode_large *raw,
				 const struct dafs_xattr_ent *ents, size_t n)
{
	struct dafs_xattr_area area = dafs_xattr_ibody(img, raw, NULL), copy;
	errcode_t err = 0;

	if (!area.len)
		return n ? dafs_fail(img->ctx, DAFS_ET_INTERNAL, "no in-inode attribute area") : 0;
	copy = area;
	copy.base = calloc(1, area.len);
	if (!copy.base)
		return ENOMEM;
	if (n)
		err = dafs_xattr_area_write(img, &copy, ents, n, false);
	if (!err) {
		*(uint32_t *)(area.base - 4) = n ? DAFS_XATTR_MAGIC : 0;
		memcpy(area.base, copy.base, area.len);
	}
	free(copy.base);
	return err;
}

uint32_t dafs_xattr_block_csum(const struct dafs_image *img, uint64_t pblk, const uint8_t *block)
{
	static const uint8_t zeros[4];
	const size_t at = offsetof(struct dafs_xattr_block, checksum);
	uint32_t crc = dafs_crc32c(img->csum_seed, &pblk, sizeof(pblk));

	crc = dafs_crc32c(crc, block, at);
	crc = dafs_crc32c(crc, zeros, sizeof(zeros));
	return dafs_crc32c(crc, block + at + 4, img->block_size - at - 4);
}
