/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirblock - one directory block: entries, their lengths, checksums of leaves and of index
 * blocks. No I/O.
 *
 * A leaf is a chain of entries that fills the block, or (metadata_csum) the block less a tail of
 * 12 bytes that looks like an unused entry and carries the checksum. Index blocks look like one
 * unused entry (node) or like "." and ".." filling the block (root).
 */
#ifndef DAFS_IMAGE_DIRBLOCK_H
#define DAFS_IMAGE_DIRBLOCK_H

#include "image/image.h"

#define DAFS_DIR_TAIL_BYTES 12u
#define DAFS_DIR_DOTS_BYTES 24u		/* "." and ".." */
#define DAFS_NAME_MAX 255u

struct dafs_dirent_disk {
	uint32_t ino;			/* 0: unused */
	uint16_t rec_len;		/* as stored: dafs_dirblock_len() */
	uint8_t name_len;
	uint8_t file_type;
	char name[];
};

enum dafs_dirblock_kind {
	DAFS_DIRBLOCK_LEAF,
	DAFS_DIRBLOCK_ROOT,
	DAFS_DIRBLOCK_NODE,
};

/* Entry length <-> its 16 bits on disk, which with blocks of 64K cannot say 65536 plainly. */
uint32_t dafs_dirblock_len(uint32_t block_size, uint16_t stored);
uint16_t dafs_dirblock_store_len(uint32_t block_size, uint32_t len);

/* Bytes that an entry with a name of this length needs. */
static inline uint32_t dafs_dirblock_need(uint32_t name_len)
{
	return ((uint32_t)sizeof(struct dafs_dirent_disk) + name_len + 3) & ~3u;
}

/* Bytes of a leaf that entries may fill. */
static inline uint32_t dafs_dirblock_room(const struct dafs_image *img)
{
	return img->block_size - (img->has_csum ? DAFS_DIR_TAIL_BYTES : 0);
}

static inline const struct dafs_dirent_disk *dafs_dirblock_at(const uint8_t *buf, uint32_t off)
{
	return (const struct dafs_dirent_disk *)(buf + off);
}

/* Looks like an index node (or, without metadata_csum, like an empty leaf). */
bool dafs_dirblock_looks_node(const struct dafs_image *img, const uint8_t *buf);

/* Does a chain of entries fill [buf, buf + len) exactly, each of a sound length, number and
 * name? NULL, or why not. opaque: names are encrypted, any byte is allowed in them. dots: the
 * chain begins with "." and ".."; nowhere else may they stand. */
const char *dafs_dirblock_problem(const struct dafs_image *img, const uint8_t *buf, uint32_t len,
				  bool opaque, bool dots);

/* May this be the name of a new entry? Any bytes but / and NUL, 1 to 255 of them, not "." or
 * "..". */
bool dafs_dirblock_name_ok(const char *name, size_t len);

/* Checksum with the directory's seed (dafs_icodec_seed): set, in a leaf with its tail; verify.
 * True / nothing without metadata_csum. */
void dafs_dirblock_csum_set(const struct dafs_image *img, uint32_t seed,
			    enum dafs_dirblock_kind kind, uint8_t *buf);
bool dafs_dirblock_csum_ok(const struct dafs_image *img, uint32_t seed,
			   enum dafs_dirblock_kind kind, const uint8_t *buf);

/* Index blocks: entry 0 has the count and the limit where the others have their hash. */
struct dafs_dx_entry {
	uint32_t hash;
	uint32_t lblk;
};
struct dafs_dx_count {
	uint16_t limit;
	uint16_t count;
};
struct dafs_dx_info {
	uint32_t reserved;
	uint8_t hash_version;
	uint8_t info_length;
	uint8_t levels;			/* of nodes between root and leaves */
	uint8_t flags;
};
#define DAFS_DX_INFO_BYTES 8u
#define DAFS_DX_LBLK_MASK 0x0fffffffu

static inline uint32_t dafs_dx_offset(enum dafs_dirblock_kind kind)
{
	return kind == DAFS_DIRBLOCK_ROOT ? DAFS_DIR_DOTS_BYTES + DAFS_DX_INFO_BYTES :
					    (uint32_t)sizeof(struct dafs_dirent_disk);
}

/* Entries that an index block holds. */
uint32_t dafs_dx_limit(const struct dafs_image *img, enum dafs_dirblock_kind kind);

#endif
