/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirblock - see dirblock.h.
 */
#include "config.h"

#include "image/dirblock.h"

#include <string.h>

#include "base/crc32c.h"

#define TAIL_TYPE 0xDE
#define MIN_ENTRY 12u
#define LEN_WHOLE 65535u	/* stored for "the whole block" */

struct tail {
	uint32_t zero;
	uint16_t rec_len;
	uint8_t zero_len;
	uint8_t type;
	uint32_t checksum;
};

struct dx_tail {
	uint32_t reserved;
	uint32_t checksum;
};

uint32_t dafs_dirblock_len(uint32_t block_size, uint16_t stored)
{
	if (block_size < 65536)
		return stored;
	if (stored == LEN_WHOLE || stored == 0)
		return block_size;
	return (stored & 65532u) | (stored & 3u) << 16;
}

uint16_t dafs_dirblock_store_len(uint32_t block_size, uint32_t len)
{
	if (len < 65536)
		return (uint16_t)len;
	return len == block_size ? LEN_WHOLE : (uint16_t)((len & 65532u) | (len >> 16 & 3u));
}

bool dafs_dirblock_looks_node(const struct dafs_image *img, const uint8_t *buf)
{
	const struct dafs_dirent_disk *de = dafs_dirblock_at(buf, 0);

	return !de->ino && !de->name_len &&
	       dafs_dirblock_len(img->block_size, de->rec_len) == img->block_size;
}

bool dafs_dirblock_name_ok(const char *name, size_t len)
{
	if (!len || len > DAFS_NAME_MAX || memchr(name, 0, len) || memchr(name, '/', len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

static const char *entry_problem(const struct dafs_image *img, const struct dafs_dirent_disk *de,
				 uint32_t off, bool opaque, bool dots)
{
	if (!de->ino)
		return NULL;
	if (de->ino > img->fs->super->s_inodes_count)
		return "inode number";
	if (dots && (off == 0 || off == MIN_ENTRY)) {
		bool first = off == 0;

		return de->name_len == (first ? 1 : 2) && !memcmp(de->name, "..", de->name_len) ?
			       NULL : "first entries are not . and ..";
	}
	if (!de->name_len)
		return "empty name";
	return opaque || dafs_dirblock_name_ok(de->name, de->name_len) ? NULL : "name";
}

const char *dafs_dirblock_problem(const struct dafs_image *img, const uint8_t *buf, uint32_t len,
				  bool opaque, bool dots)
{
	uint32_t off = 0, n = 0;

	while (off < len) {
		const struct dafs_dirent_disk *de = dafs_dirblock_at(buf, off);
		const char *problem;
		uint32_t rec_len;

		if (len - off < MIN_ENTRY)
			return "entry length";
		rec_len = dafs_dirblock_len(img->block_size, de->rec_len);
		if (rec_len < MIN_ENTRY || rec_len % 4 || rec_len > len - off ||
		    rec_len < dafs_dirblock_need(de->name_len))
			return "entry length";
		if (dots && (n == 0 ? !de->ino || rec_len != MIN_ENTRY : n == 1 && !de->ino))
			return "first entries are not . and ..";
		problem = entry_problem(img, de, off, opaque, dots);
		if (problem)
			return problem;
		off += rec_len;
		n++;
	}
	return dots && n < 2 ? "first entries are not . and .." : NULL;
}

/* ---- checksums ---- */

static struct tail *leaf_tail(const struct dafs_image *img, const uint8_t *buf)
{
	return (struct tail *)(uintptr_t)(buf + img->block_size - DAFS_DIR_TAIL_BYTES);
}

static uint32_t leaf_crc(const struct dafs_image *img, uint32_t seed, const uint8_t *buf)
{
	return dafs_crc32c(seed, buf, img->block_size - DAFS_DIR_TAIL_BYTES);
}

uint32_t dafs_dx_limit(const struct dafs_image *img, enum dafs_dirblock_kind kind)
{
	uint32_t room = img->block_size - dafs_dx_offset(kind);

	if (img->has_csum)
		room -= sizeof(struct dx_tail);
	return room / (uint32_t)sizeof(struct dafs_dx_entry);
}

/* Over what is in use, then the tail with its checksum taken as zero. The tail stands behind the
 * last entry there is room for. */
static uint32_t dx_crc(const struct dafs_image *img, uint32_t seed, enum dafs_dirblock_kind kind,
		       const uint8_t *buf, struct dx_tail **tail)
{
	const struct dafs_dx_count *count =
		(const struct dafs_dx_count *)(buf + dafs_dx_offset(kind));
	uint32_t limit = dafs_dx_limit(img, kind);
	uint32_t used = count->count < limit ? count->count : limit;
	struct dx_tail zeroed = { 0 };

	*tail = (struct dx_tail *)(uintptr_t)(buf + dafs_dx_offset(kind) +
					      limit * sizeof(struct dafs_dx_entry));
	zeroed.reserved = (*tail)->reserved;
	seed = dafs_crc32c(seed, buf, dafs_dx_offset(kind) + used * sizeof(struct dafs_dx_entry));
	return dafs_crc32c(seed, &zeroed, sizeof(zeroed));
}

void dafs_dirblock_csum_set(const struct dafs_image *img, uint32_t seed,
			    enum dafs_dirblock_kind kind, uint8_t *buf)
{
	struct dx_tail *dx_tail;
	uint32_t crc;

	if (!img->has_csum)
		return;
	if (kind == DAFS_DIRBLOCK_LEAF) {
		*leaf_tail(img, buf) = (struct tail){ .rec_len = DAFS_DIR_TAIL_BYTES,
						      .type = TAIL_TYPE,
						      .checksum = leaf_crc(img, seed, buf) };
		return;
	}
	crc = dx_crc(img, seed, kind, buf, &dx_tail);
	dx_tail->checksum = crc;
}

bool dafs_dirblock_csum_ok(const struct dafs_image *img, uint32_t seed,
			   enum dafs_dirblock_kind kind, const uint8_t *buf)
{
	struct dx_tail *dx_tail;

	if (!img->has_csum)
		return true;
	if (kind == DAFS_DIRBLOCK_LEAF) {
		const struct tail *tail = leaf_tail(img, buf);

		return !tail->zero && tail->rec_len == DAFS_DIR_TAIL_BYTES && !tail->zero_len &&
		       tail->type == TAIL_TYPE && tail->checksum == leaf_crc(img, seed, buf);
	}
	return dx_crc(img, seed, kind, buf, &dx_tail) == dx_tail->checksum;
}
