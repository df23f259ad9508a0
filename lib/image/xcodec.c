/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xcodec - extended attributes read from the image, and what an old set holds let go. Placing
 * and writing a set is in xplace.c.
 *
 * Invariants:
 *  1. A block that other inodes share is never changed but for its count.
 *  2. Values in inodes of their own are read up to a bound in sum, whatever the entries say.
 */
#include "config.h"

#include "image/xcodec.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/icodec.h"
#include "image/read.h"
#include "image/txn.h"
#include "image/xattr_int.h"

#define MAX_VALUES_BYTES (UINT64_C(1) << 26)

uint32_t dafs_xcodec_value_hash(const struct dafs_image *img, const void *value, size_t len)
{
	return dafs_crc32c(img->csum_seed, value, len);
}

static errcode_t corrupt(struct dafs_image *img, uint32_t ino, const char *why)
{
	return dafs_fail(img->ctx, DAFS_ET_CORRUPT_XATTR, "inode %u: attribute block: %s", ino,
			 why);
}

static uint64_t acl_pblk(const struct dafs_image *img, const struct ext2_inode_large *raw)
{
	uint64_t pblk = raw->i_file_acl;

	if (img->has_64bit)
		pblk |= (uint64_t)raw->osd2.linux2.l_i_file_acl_high << 32;
	return pblk;
}

/* Read and check the block of raw; *block stays NULL without one. */
static errcode_t read_block(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, uint8_t **block)
{
	uint64_t pblk = acl_pblk(img, raw);
	const struct dafs_xattr_block *head;
	errcode_t err;

	*block = NULL;
	if (!pblk)
		return 0;
	if (!dafs_image_data_range_ok(img, pblk, 1))
		return corrupt(img, ino, "outside the data blocks");
	*block = malloc(img->block_size);
	if (!*block)
		return ENOMEM;
	err = dafs_image_read_blks(img, pblk, 1, *block);
	head = (const struct dafs_xattr_block *)*block;
	if (!err && head->magic != DAFS_XATTR_MAGIC)
		err = corrupt(img, ino, "bad magic");
	if (!err && head->blocks != 1)
		err = corrupt(img, ino, "number of blocks");
	if (!err && (!head->refcount || head->refcount > DAFS_XATTR_MAX_REFCOUNT))
		err = corrupt(img, ino, "reference count");
	if (!err && img->has_csum && !(img->flags & DAFS_IMAGE_IGNORE_CSUM) &&
	    head->checksum != dafs_xattr_block_csum(img, pblk, *block))
		err = corrupt(img, ino, "checksum");
	if (err) {
		free(*block);
		*block = NULL;
	}
	return err;
}

/* All entries, those of the inode first; they point into raw and *block (to be freed by the
 * caller, on failure too). */
static errcode_t parse_all(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			   struct dafs_xattr_ents *list, uint8_t **block)
{
	struct dafs_xattr_area area;
	bool written;
	errcode_t err = 0;

	*block = NULL;
	area = dafs_xattr_ibody(img, raw, &written);
	if (written)
		err = dafs_xattr_area_parse(img, ino, &area, list);
	if (!err)
		err = read_block(img, ino, raw, block);
	if (err || !*block)
		return err;
	area = dafs_xattr_block_area(img, *block);
	return dafs_xattr_area_parse(img, ino, &area, list);
}

/* ---- reading ---- */

/* Does the value agree with the hashes of its inode and its entry? Files that Lustre made have
 * another scheme (their owner's number and generation stand in the inode), without hashes. */
static bool value_ok(const struct dafs_image *img, uint32_t ino,
		     const struct ext2_inode_large *owner, const struct ext2_inode_large *raw,
		     const struct dafs_xattr_ent *ent, const uint8_t *value)
{
	uint32_t hash = dafs_xcodec_value_hash(img, value, ent->value_len);

	if (img->flags & DAFS_IMAGE_IGNORE_CSUM)
		return true;
	if (raw->i_mtime == ino && raw->i_generation == owner->i_generation)
		return true;
	if (raw->i_atime != hash)
		return false;
	return ent->value_hash == dafs_xattr_hash(ent->name, ent->name_len, &hash, 4, false) ||
	       ent->value_hash == dafs_xattr_hash(ent->name, ent->name_len, &hash, 4, true);
}

static errcode_t read_value_inode(struct dafs_image *img, uint32_t ino,
				  const struct ext2_inode_large *owner,
				  const struct dafs_xattr_ent *ent, uint8_t **value)
{
	struct dafs_extlist xl = { 0 };
	union dafs_inode_buf buf;
	size_t got = 0;
	errcode_t err;

	*value = NULL;
	err = dafs_icodec_read(img, ent->value_ino, &buf.raw, sizeof(buf));
	if (err)
		return err;
	if (!(buf.raw.i_flags & EXT4_EA_INODE_FL) || !S_ISREG(buf.raw.i_mode) ||
	    dafs_icodec_size(img, &buf.raw) != ent->value_len)
		return corrupt(img, ino, "value in an inode that is not one for values");
	*value = malloc(ent->value_len ? ent->value_len : 1);
	if (!*value)
		return ENOMEM;
	err = dafs_etree_decode(img, ent->value_ino, &buf.raw, &xl, NULL);
	if (!err)
		err = dafs_read_file(img, ent->value_ino, &buf.raw, &xl, *value, ent->value_len, 0,
				     &got);
	if (!err && (got != ent->value_len || !value_ok(img, ino, owner, &buf.raw, ent, *value)))
		err = corrupt(img, ino, "value differs from its hash");
	dafs_extlist_fini(&xl);
	if (err) {
		free(*value);
		*value = NULL;
	}
	return err;
}

static bool is_acl(const struct dafs_xattr_ent *ent)
{
	return ent->index == DAFS_XATTR_ACL_ACCESS || ent->index == DAFS_XATTR_ACL_DEFAULT;
}

/* One entry into the set; the first of a name wins, as it does for ext4. */
static errcode_t take_ent(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			  const struct dafs_xattr_ent *ent, struct dafs_xattr **set)
{
	const uint8_t *value = ent->value;
	uint8_t *owned = NULL, *acl = NULL;
	uint32_t len = ent->value_len;
	char *name = NULL;
	errcode_t err = dafs_xattr_full_name(img, ino, ent, &name);

	if (!err && dafs_xattr_get(*set, name))
		goto out;
	if (!err && ent->value_ino) {
		err = read_value_inode(img, ino, raw, ent, &owned);
		value = owned;
	}
	if (!err && is_acl(ent)) {
		err = dafs_xacl_from_disk(value, len, &acl, &len);
		if (err == EINVAL)
			err = corrupt(img, ino, "not an ACL");
		value = acl;
	}
	if (!err)
		err = dafs_xattr_put(set, name, value, len);
out:
	free(owned);
	free(acl);
	free(name);
	return err;
}

errcode_t dafs_xcodec_read(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			   struct dafs_xattr **set)
{
	struct dafs_xattr_ents list = { 0 };
	uint64_t values_bytes = 0;
	uint8_t *block;
	errcode_t err;

	*set = NULL;
	err = parse_all(img, ino, raw, &list, &block);
	for (size_t i = 0; i < list.n && !err; i++) {
		const struct dafs_xattr_ent *ent = &list.v[i];

		if (ent->index == DAFS_XATTR_SYSTEM && ent->name_len == 4 &&
		    !memcmp(ent->name, "data", 4))
			continue;
		if (ent->value_ino)
			values_bytes += ent->value_len;
		if (values_bytes > MAX_VALUES_BYTES)
			err = corrupt(img, ino, "values too large in sum");
		else
			err = take_ent(img, ino, raw, ent, set);
	}
	if (err)
		dafs_xattr_free(set);
	dafs_xattr_ents_fini(&list);
	free(block);
	return err;
}

/* ---- letting go ---- */

errcode_t dafs_xcodec_block(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, uint64_t *pblk, bool *shared)
{
	uint8_t *block;
	errcode_t err = read_block(img, ino, raw, &block);

	*pblk = block ? acl_pblk(img, raw) : 0;
	*shared = block && ((const struct dafs_xattr_block *)block)->refcount > 1;
	free(block);
	return err;
}

errcode_t dafs_xcodec_value_inos(struct dafs_image *img, uint32_t ino,
				 const struct ext2_inode_large *raw, struct dafs_blklist *inos)
{
	struct dafs_xattr_ents list = { 0 };
	uint8_t *block;
	errcode_t err = parse_all(img, ino, raw, &list, &block);

	inos->n = 0;
	for (size_t i = 0; i < list.n && !err; i++) {
		if (list.v[i].value_ino)
			err = dafs_blklist_add(inos, list.v[i].value_ino);
	}
	if (err)
		inos->n = 0;
	dafs_xattr_ents_fini(&list);
	free(block);
	return err;
}

/* The count of a value inode has 64 bits: the upper half in i_ctime, the lower in i_version. */
static errcode_t drop_value_ref(struct dafs_image *img, uint32_t ino, struct dafs_blklist *dead)
{
	union dafs_inode_buf buf;
	struct ext2_inode_large *raw;
	uint64_t pblk, refs;
	uint8_t *block;
	uint32_t off;
	errcode_t err = dafs_icodec_read(img, ino, &buf.raw, sizeof(buf));

	if (err)
		return err;
	if (!(buf.raw.i_flags & EXT4_EA_INODE_FL))
		return corrupt(img, ino, "not an inode for values");
	refs = (uint64_t)buf.raw.i_ctime << 32 | buf.raw.osd1.linux1.l_i_version;
	if (refs <= 1)
		return dafs_blklist_add(dead, ino);
	err = dafs_icodec_locate(img, ino, &pblk, &off, NULL);
	if (!err)
		err = dafs_txn_get(img, pblk, true, &block);
	if (err)
		return err;
	raw = (struct ext2_inode_large *)(block + off);
	refs--;
	raw->i_ctime = (uint32_t)(refs >> 32);
	raw->osd1.linux1.l_i_version = (uint32_t)refs;
	dafs_icodec_checksum(img, ino, raw);
	return 0;
}

static errcode_t drop_block_ref(struct dafs_image *img, uint64_t pblk)
{
	struct dafs_xattr_block *head;
	uint8_t *block;
	errcode_t err = dafs_txn_get(img, pblk, true, &block);

	if (err)
		return err;
	head = (struct dafs_xattr_block *)block;
	head->refcount--;
	head->checksum = img->has_csum ? dafs_xattr_block_csum(img, pblk, block) : 0;
	return 0;
}

errcode_t dafs_xcodec_release(struct dafs_image *img, uint32_t ino,
			      const struct ext2_inode_large *raw, uint64_t *free_pblk,
			      struct dafs_blklist *dead)
{
	struct dafs_xattr_ents list = { 0 };
	uint64_t pblk = acl_pblk(img, raw);
	bool shared = false;
	uint8_t *block;
	errcode_t err;

	*free_pblk = 0;
	dead->n = 0;
	err = parse_all(img, ino, raw, &list, &block);
	if (err)
		goto out;
	if (block) {
		shared = ((const struct dafs_xattr_block *)block)->refcount > 1;
		if (shared)
			err = drop_block_ref(img, pblk);
		else
			*free_pblk = pblk;
	}
	for (size_t i = 0; i < list.n && !err; i++) {
		bool in_block = block && (const uint8_t *)list.v[i].name > block &&
				(const uint8_t *)list.v[i].name < block + img->block_size;

		/* Values of a shared block are held once, by the block. */
		if (list.v[i].value_ino && !(in_block && shared))
			err = drop_value_ref(img, list.v[i].value_ino, dead);
	}
out:
	if (err) {
		*free_pblk = 0;
		dead->n = 0;
	}
	dafs_xattr_ents_fini(&list);
	free(block);
	return err;
}
