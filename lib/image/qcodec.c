/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcodec - see qcodec.h.
 *
 * File: block 0 is the header, block 1 the root of the tree. Four levels of index blocks, each with
 * 256 references by one byte of the id, highest first; the references of the last level lead to
 * leaf blocks, which entries share in any mixture. A leaf that still has room is on a list that the
 * header begins.
 *
 * Encoding: entries come in ascending order, so the index path of the last entry is the only one
 * that grows and the last leaf the only one with room.
 */
#include "config.h"

#include "image/qcodec.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

enum {
	BLOCK_BYTES = 1024,
	ROOT_BLOCK = 1,
	LEVELS = 4,
	FILE_VERSION = 1,
	GRACE_SEC = 7 * 24 * 3600,
};

static const uint32_t magics[DAFS_QUOTA_TYPES] = { 0xd9c01f11, 0xd9c01927, 0xd9c03f14 };

struct disk_header {
	uint32_t magic, version;
	uint32_t blk_grace_sec, inode_grace_sec, flags;
	uint32_t blocks;     /* in the file */
	uint32_t free_block; /* list of unused blocks; 0: none */
	uint32_t free_entry; /* list of leaves with room; 0: none */
};

struct disk_leaf {
	uint32_t next_free, prev_free;
	uint16_t entries, pad1;
	uint32_t pad2;
};

struct disk_entry {
	uint32_t id, pad;
	uint64_t inode_hard, inode_soft, inodes;
	uint64_t blk_hard, blk_soft, bytes;
	uint64_t blk_sec, inode_sec;
};

static_assert(sizeof(struct disk_header) == 32, "layout of a quota file's header");
static_assert(sizeof(struct disk_leaf) == 16, "layout of a quota leaf");
static_assert(sizeof(struct disk_entry) == 72, "layout of a quota entry");

enum { LEAF_ENTRIES = (BLOCK_BYTES - sizeof(struct disk_leaf)) / sizeof(struct disk_entry) };

/* A file that grows. */
struct file {
	uint8_t *bytes;
	uint32_t blocks, room;
	uint32_t leaf; /* the one with room; 0: none */
};

static errcode_t add_block(struct file *file, uint32_t *block)
{
	if (file->blocks == file->room) {
		uint32_t room = file->room ? file->room * 2 : 8;
		uint8_t *bytes = realloc(file->bytes, (size_t)room * BLOCK_BYTES);

		if (!bytes)
			return ENOMEM;
		file->bytes = bytes;
		file->room = room;
	}
	*block = file->blocks++;
	memset(file->bytes + (size_t)*block * BLOCK_BYTES, 0, BLOCK_BYTES);
	return 0;
}

static void *block_at(const struct file *file, uint32_t block)
{
	return file->bytes + (size_t)block * BLOCK_BYTES;
}

/* Find or make the last-level index block of id. */
static errcode_t walk(struct file *file, uint32_t id, uint32_t *block)
{
	*block = ROOT_BLOCK;
	for (unsigned level = 0; level < LEVELS - 1; level++) {
		unsigned slot = (id >> (8 * (LEVELS - 1 - level))) & 0xff;
		uint32_t next = le32toh(((uint32_t *)block_at(file, *block))[slot]);

		if (!next) {
			errcode_t err = add_block(file, &next);

			if (err)
				return err;
			((uint32_t *)block_at(file, *block))[slot] = htole32(next);
		}
		*block = next;
	}
	return 0;
}

static void put_entry(struct file *file, const struct dafs_quota_entry *entry)
{
	struct disk_leaf *leaf = block_at(file, file->leaf);
	unsigned used = le16toh(leaf->entries);
	struct disk_entry *disk = (struct disk_entry *)(leaf + 1) + used;
	static const struct disk_entry zero;

	*disk = (struct disk_entry){
		.id = htole32(entry->id),
		.inode_hard = htole64(entry->inode_hard),
		.inode_soft = htole64(entry->inode_soft),
		.inodes = htole64(entry->inodes),
		.blk_hard = htole64(entry->blk_hard),
		.blk_soft = htole64(entry->blk_soft),
		.bytes = htole64(entry->bytes),
		.blk_sec = htole64(entry->blk_sec),
		.inode_sec = htole64(entry->inode_sec),
	};
	/* All zeros means "no entry"; the kernel marks such a one with a time. */
	if (!memcmp(disk, &zero, sizeof(zero)))
		disk->inode_sec = htole64(1);
	leaf->entries = htole16((uint16_t)(used + 1));
	if (used + 1 == LEAF_ENTRIES)
		file->leaf = 0;
}

static errcode_t insert(struct file *file, const struct dafs_quota_entry *entry)
{
	uint32_t index;
	errcode_t err = walk(file, entry->id, &index);

	if (!err && !file->leaf)
		err = add_block(file, &file->leaf);
	if (err)
		return err;
	((uint32_t *)block_at(file, index))[entry->id & 0xff] = htole32(file->leaf);
	put_entry(file, entry);
	return 0;
}

errcode_t dafs_qcodec_encode(struct dafs_ctx *ctx, enum dafs_quota_type type,
			     const struct dafs_quota_entry *entries, size_t n, uint8_t **ret,
			     size_t *len)
{
	struct file file = { 0 };
	errcode_t err = 0;
	uint32_t block;

	*ret = NULL;
	*len = 0;
	for (block = 0; block < ROOT_BLOCK && !err;)
		err = add_block(&file, &block);
	for (size_t i = 0; i < n && !err; i++) {
		if (i && entries[i].id <= entries[i - 1].id)
			err = DAFS_ET_SEQUENCE;
		else
			err = insert(&file, &entries[i]);
	}
	if (err) {
		free(file.bytes);
		return dafs_fail(ctx, err, "quota file");
	}
	*(struct disk_header *)file.bytes = (struct disk_header){
		.magic = htole32(magics[type]),
		.version = htole32(FILE_VERSION),
		.blk_grace_sec = htole32(GRACE_SEC),
		.inode_grace_sec = htole32(GRACE_SEC),
		.blocks = htole32(file.blocks),
		.free_entry = htole32(file.leaf),
	};
	*ret = file.bytes;
	*len = (size_t)file.blocks * BLOCK_BYTES;
	return 0;
}

void dafs_qcodec_put_grace(uint8_t *file, const struct dafs_quota_grace *grace)
{
	struct disk_header *header = (struct disk_header *)file;

	header->blk_grace_sec = htole32(grace->blk_sec);
	header->inode_grace_sec = htole32(grace->inode_sec);
	header->flags = htole32(grace->flags);
}

/* --- decoding --- */

/* A file that is read, and what was found in it. */
struct reader {
	struct dafs_ctx *ctx;
	const uint8_t *bytes;
	uint32_t blocks;
	uint8_t *seen; /* index blocks that were visited: a second visit is a loop */
	struct dafs_quota_entry *entries;
	size_t n, room;
};

static errcode_t corrupt(const struct reader *rd, const char *what, uint32_t id)
{
	return dafs_fail(rd->ctx, DAFS_ET_CORRUPT_QUOTA, "quota file: %s (id %u)", what, id);
}

/* The entry of id out of its leaf. */
static errcode_t take_entry(struct reader *rd, uint32_t block, uint32_t id)
{
	const struct disk_leaf *leaf =
		(const struct disk_leaf *)(rd->bytes + (size_t)block * BLOCK_BYTES);
	const struct disk_entry *disk = (const struct disk_entry *)(leaf + 1);
	static const struct disk_entry zero;
	struct dafs_quota_entry *e;
	unsigned at = 0;
	errcode_t err;

	/* Id 0 is also what an unused place says. */
	while (at < LEAF_ENTRIES &&
	       (le32toh(disk[at].id) != id || !memcmp(&disk[at], &zero, sizeof(zero))))
		at++;
	if (at == LEAF_ENTRIES)
		return corrupt(rd, "a reference leads to no entry", id);
	err = dafs_array_grow(&rd->entries, rd->n, &rd->room, sizeof(*rd->entries));
	if (err)
		return err;
	e = &rd->entries[rd->n++];
	*e = (struct dafs_quota_entry){
		.id = id,
		.inode_hard = le64toh(disk[at].inode_hard),
		.inode_soft = le64toh(disk[at].inode_soft),
		.inodes = le64toh(disk[at].inodes),
		.blk_hard = le64toh(disk[at].blk_hard),
		.blk_soft = le64toh(disk[at].blk_soft),
		.bytes = le64toh(disk[at].bytes),
		.blk_sec = le64toh(disk[at].blk_sec),
		.inode_sec = le64toh(disk[at].inode_sec),
	};
	/* The mark that keeps an entry of zeros from being none. */
	if (e->inode_sec == 1 && !e->inodes && !e->bytes)
		e->inode_sec = 0;
	return 0;
}

/* An index block: prefix is the id's upper bytes so far. */
static errcode_t read_index(struct reader *rd, uint32_t block, unsigned level, uint32_t prefix)
{
	const uint8_t *refs = rd->bytes + (size_t)block * BLOCK_BYTES;
	errcode_t err = 0;

	if (rd->seen[block]++)
		return corrupt(rd, "a block is in the tree twice", prefix);
	for (unsigned slot = 0; slot < BLOCK_BYTES / 4 && !err; slot++) {
		uint32_t id = prefix | slot << (8 * (LEVELS - 1 - level)), next;

		memcpy(&next, refs + slot * 4, 4);
		next = le32toh(next);
		if (!next)
			continue;
		if (next <= ROOT_BLOCK || next >= rd->blocks)
			return corrupt(rd, "a reference leads out of the file", id);
		err = level + 1 < LEVELS ? read_index(rd, next, level + 1, id)
					 : take_entry(rd, next, id);
	}
	return err;
}

errcode_t dafs_qcodec_decode(struct dafs_ctx *ctx, enum dafs_quota_type type, const uint8_t *file,
			     size_t len, struct dafs_quota_entry **entries, size_t *n,
			     struct dafs_quota_grace *grace)
{
	const struct disk_header *header = (const struct disk_header *)file;
	struct reader rd = { .ctx = ctx, .bytes = file };
	errcode_t err;

	*entries = NULL;
	*n = 0;
	if (len < 2 * BLOCK_BYTES || le32toh(header->magic) != magics[type] ||
	    le32toh(header->version) > FILE_VERSION)
		return corrupt(&rd, "not a quota file of its type", 0);
	rd.blocks = (uint32_t)(len / BLOCK_BYTES < UINT32_MAX ? len / BLOCK_BYTES : UINT32_MAX);
	*grace = (struct dafs_quota_grace){ .blk_sec = le32toh(header->blk_grace_sec),
					    .inode_sec = le32toh(header->inode_grace_sec),
					    .flags = le32toh(header->flags) };
	rd.seen = calloc(rd.blocks, 1);
	err = rd.seen ? read_index(&rd, ROOT_BLOCK, 0, 0) : ENOMEM;
	free(rd.seen);
	if (err) {
		free(rd.entries);
		return err;
	}
	*entries = rd.entries;
	*n = rd.n;
	return 0;
}
