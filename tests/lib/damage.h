/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage - what the files of the damage generator share (damage.c says what it is).
 *
 * Invariants:
 *  1. all that is done follows from the seed and the image: no times, no addresses;
 *  2. the catalogue is made before the first damage and not changed by any; bytes are read anew for
 *     each.
 */
#ifndef DAFS_TESTS_DAMAGE_H
#define DAFS_TESTS_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ext2fs/ext2fs.h>

enum kind {
	K_SUPER,
	K_SUPER_COPY,
	K_DESC,
	K_DESC_COPY,
	K_BLOCK_BITMAP,
	K_INODE_BITMAP,
	K_INO_SPECIAL,
	K_INO_FILE,
	K_INO_DIR,
	K_INO_LINK,
	K_INO_OTHER,
	K_INO_EA,
	K_INO_FREE,
	K_EXT_ROOT,
	K_EXT_INDEX,
	K_EXT_LEAF,
	K_INDIRECT,
	K_RESIZE_MAP,
	K_DIR,
	K_DX_ROOT,
	K_DX_NODE,
	K_INLINE_DIR,
	K_INLINE_DATA,
	K_XATTR_INODE,
	K_XATTR_BLOCK,
	K_JOURNAL_SUPER,
	K_JOURNAL_LOG,
	K_ORPHAN_FILE,
	K_QUOTA,
	K_MMP,
	K_DATA,
	K_KINDS
};

/* A place where a structure lies. */
struct place {
	uint8_t kind;
	uint32_t ino; /* whose it is, or 0 */
	uint32_t grp;
	uint64_t blk;	/* that it lies in */
	uint64_t off;	/* bytes from the start of the image */
	uint32_t bytes; /* its length */
};

enum type { T_NUM, T_BLK, T_INO, T_BITS, T_BYTES };

struct field {
	const char *name;
	uint16_t off, bytes;
	uint8_t type; /* enum type */
};

struct damage {
	ext2_filsys fs;
	int fd;
	uint64_t rng;
	int seal; /* checksums: 1 always made right, -1 never, 0 as the seed says */
	struct place *places;
	size_t nplaces, room;
	size_t first[K_KINDS], count[K_KINDS]; /* of places, which are sorted by kind */
};

/* damage_find.c: fill the catalogue. */
void dmg_find_all(struct damage *d);

/* damage_fields.c */
const char *dmg_kind_name(unsigned kind);
/* The fields of a kind's structure that starts at buf, as they lie in it; how many (at most
 * room). */
size_t dmg_fields(const struct damage *d, const struct place *p, const uint8_t *buf,
		  struct field *out, size_t room);

/* damage_seal.c: make the checksum of the structure in buf right again, in buf or, for bitmaps, in
 * the descriptor. False: it has none. */
bool dmg_seal(struct damage *d, const struct place *p, uint8_t *buf);

/* damage_cases.c: damages that take more than one change. False: nothing in this image suits. */
bool dmg_case(struct damage *d, bool seal);

/* damage.c */
uint64_t dmg_random(struct damage *d, uint64_t n);
void dmg_read(struct damage *d, uint64_t off, void *buf, size_t bytes);
void dmg_write(struct damage *d, uint64_t off, const void *buf, size_t bytes);
/* One place of a kind; NULL: there is none. */
const struct place *dmg_pick(struct damage *d, unsigned kind);
/* A block number or an inode number that means something, or not quite. */
uint64_t dmg_some_blk(struct damage *d, const struct place *p);
uint32_t dmg_some_ino(struct damage *d, const struct place *p);
uint64_t dmg_get(const uint8_t *buf, const struct field *f);
void dmg_put(uint8_t *buf, const struct field *f, uint64_t value);
/* Write a place's structure back, its checksum right or as it was. */
void dmg_store(struct damage *d, const struct place *p, uint8_t *buf, bool seal);
void dmg_say(const struct place *p, bool sealed, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
