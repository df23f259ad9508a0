/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xattr_int - one area of extended attributes (the in-inode one, or a block) <-> a list of
 * entries; POSIX ACLs in both forms.
 *
 * An area is a list of entries that grows upwards, closed by four zero bytes, and values that
 * grow down from the area's end. Names here are what the disk has: an index that stands for the
 * prefix, and the rest of the name.
 */
#ifndef DAFS_IMAGE_XATTR_INT_H
#define DAFS_IMAGE_XATTR_INT_H

#include "image/image.h"
#include "model/inode.h"

#define DAFS_XATTR_MAGIC 0xEA020000u
#define DAFS_XATTR_BLOCK_HEADER 32u
#define DAFS_XATTR_MAX_REFCOUNT 1024u
#define DAFS_XATTR_MAX_VALUE (1u << 24)	/* what an inode of its own may hold */

enum dafs_xattr_index {
	DAFS_XATTR_USER = 1,
	DAFS_XATTR_ACL_ACCESS = 2,
	DAFS_XATTR_ACL_DEFAULT = 3,
	DAFS_XATTR_TRUSTED = 4,
	DAFS_XATTR_SECURITY = 6,
	DAFS_XATTR_SYSTEM = 7,
	DAFS_XATTR_RICHACL = 8,
	DAFS_XATTR_ENCRYPTION = 9,
	DAFS_XATTR_HURD = 10,
};

struct dafs_xattr_block {
	uint32_t magic;
	uint32_t refcount;
	uint32_t blocks;
	uint32_t hash;
	uint32_t checksum;
	uint32_t reserved[3];
};

struct dafs_xattr_ent {
	const char *name;		/* without the prefix, not terminated */
	const uint8_t *value;		/* NULL with value_ino */
	uint32_t value_len;
	uint32_t value_ino;		/* the inode that holds the value, or 0 */
	uint32_t value_hash;		/* of a value in an inode, for writing */
	uint8_t index;
	uint8_t name_len;
};

struct dafs_xattr_ents {
	struct dafs_xattr_ent *v;
	size_t n, room;
};
void dafs_xattr_ents_fini(struct dafs_xattr_ents *list);
errcode_t dafs_xattr_ents_add(struct dafs_xattr_ents *list, const struct dafs_xattr_ent *ent);

/* An area in memory: entries begin at base + first, values end at base + len; value offsets
 * count from base. */
struct dafs_xattr_area {
	uint8_t *base;
	uint32_t first;
	uint32_t len;
};

/* The in-inode area behind raw's extra fields; len 0 when there is no room for one. with_magic
 * (may be NULL): it has been written. */
struct dafs_xattr_area dafs_xattr_ibody(const struct dafs_image *img,
					const struct ext2_inode_large *raw, bool *with_magic);
struct dafs_xattr_area dafs_xattr_block_area(const struct dafs_image *img, uint8_t *block);

/* Bytes an entry takes in an area, and those an area offers to entries. */
uint32_t dafs_xattr_ent_bytes(const struct dafs_xattr_ent *ent);
uint32_t dafs_xattr_area_room(const struct dafs_xattr_area *area);

/* Take the area apart, behind what the list has already; names and values point into it.
 * Entries, names, offsets, sizes and overlaps are checked: DAFS_ET_CORRUPT_XATTR names the
 * inode. */
errcode_t dafs_xattr_area_parse(struct dafs_image *img, uint32_t ino,
				const struct dafs_xattr_area *area, struct dafs_xattr_ents *list);

/* Write the entries in list order into a zeroed area. hashed: with the entry hashes that a block
 * has. DAFS_ET_INTERNAL when they do not fit. */
errcode_t dafs_xattr_area_write(struct dafs_image *img, const struct dafs_xattr_area *area,
				const struct dafs_xattr_ent *ents, size_t n, bool hashed);

/* Replace the in-inode area of raw by these entries (whose names and values may lie in the old
 * one); none: no area, no magic. */
errcode_t dafs_xattr_ibody_write(struct dafs_image *img, struct ext2_inode_large *raw,
				 const struct dafs_xattr_ent *ents, size_t n);

/* Hash of a name and its value as entries carry it; as_signed: what old writers did with names
 * beyond ASCII. */
uint32_t dafs_xattr_hash(const char *name, size_t name_len, const void *value, size_t value_len,
			 bool as_signed);

/* Block checksum for its place, and whether it agrees. */
uint32_t dafs_xattr_block_csum(const struct dafs_image *img, uint64_t pblk, const uint8_t *block);

/* The whole name, prefix and all, of a disk entry; malloc'ed. NULL index or none:
 * DAFS_ET_XATTR_NAME. */
errcode_t dafs_xattr_full_name(struct dafs_image *img, uint32_t ino,
			       const struct dafs_xattr_ent *ent, char **name);

/* The entry for one attribute of an inode: index and rest of the name, value in ext4's form
 * (*owned: converted, to be freed; or NULL). path: for the message (NULL: the inode's number).
 * DAFS_ET_XATTR_NAME, DAFS_ET_XATTR_TOO_BIG. */
errcode_t dafs_xattr_to_ent(struct dafs_image *img, const struct dafs_inode *inode,
			    const struct dafs_xattr *attr, const char *path,
			    struct dafs_xattr_ent *ent, uint8_t **owned);

/* ACLs: the form of getxattr (version 2) <-> ext4's (version 1). malloc'ed; EINVAL: not an ACL
 * of that form. */
errcode_t dafs_xacl_to_disk(const uint8_t *value, uint32_t len, uint8_t **out, uint32_t *out_len);
errcode_t dafs_xacl_from_disk(const uint8_t *value, uint32_t len, uint8_t **out, uint32_t *out_len);

#endif
