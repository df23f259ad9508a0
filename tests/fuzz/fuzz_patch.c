/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_patch - records over a sound image, and right checksums for what they made.
 *
 * Checksums depend on what the base says (seeds, places, generations), not on what the records made
 * of it; but an inode's blocks follow the generation that its record gives it.
 */
#include "config.h"

#include <string.h>

#include "base/crc32c.h"
#include "image/dirblock.h"
#include "image/group.h"
#include "image/icodec.h"
#include "tests/fuzz/fuzz.h"

/* Where the structure lies that a record is about, and how long it is; 0: nowhere. */
static uint64_t place(const struct fuzz_base *base, const struct fuzz_record *rec, uint32_t *len)
{
	struct dafs_image *img = base->img;
	uint64_t pblk = rec->where;
	uint32_t off = 0;

	*len = img->block_size;
	switch (rec->kind) {
	case FUZZ_SUPER:
		*len = 1024;
		return 1024;
	case FUZZ_DESCS:
		pblk = dafs_group_desc_pblk(img, rec->where % (uint32_t)img->fs->desc_blocks);
		break;
	case FUZZ_INODE:
		*len = img->inode_size;
		if (dafs_icodec_locate(img, rec->where, &pblk, &off, NULL))
			return 0;
		break;
	case FUZZ_BBITMAP:
		pblk = ext2fs_block_bitmap_loc(img->fs, rec->where % dafs_group_count(img));
		break;
	case FUZZ_IBITMAP:
		pblk = ext2fs_inode_bitmap_loc(img->fs, rec->where % dafs_group_count(img));
		break;
	case FUZZ_LOG:
		return fuzz_log_off(base, rec->where);
	case FUZZ_FC:
		return 0;
	default:
		break;
	}
	return pblk << img->block_bits | off;
}

/* The inode's generation as the records have made it. */
static uint32_t generation(const struct fuzz_base *base, const struct fuzz_mem *mem, uint32_t ino)
{
	uint64_t pblk;
	uint32_t off, gen;

	if (dafs_icodec_locate(base->img, ino, &pblk, &off, NULL))
		return 0;
	memcpy(&gen, mem->bytes + (pblk << base->img->block_bits) + off +
			     offsetof(struct ext2_inode_large, i_generation), sizeof(gen));
	return gen;
}

static void fix_extents(const struct dafs_image *img, uint32_t seed, uint8_t *block)
{
	uint16_t max;
	uint32_t tail, crc;

	memcpy(&max, block + 4, sizeof(max));
	tail = 12 + (uint32_t)max * 12;
	if (!img->has_csum || tail > img->block_size - 4)
		return;
	crc = dafs_crc32c(seed, block, tail);
	memcpy(block + tail, &crc, sizeof(crc));
}

static void fix_xattrs(const struct dafs_image *img, uint64_t pblk, uint8_t *block)
{
	uint32_t crc, zero = 0;

	if (!img->has_csum)
		return;
	memcpy(block + 16, &zero, sizeof(zero));
	crc = dafs_crc32c(img->csum_seed, &pblk, sizeof(pblk));
	crc = dafs_crc32c(crc, block, img->block_size);
	memcpy(block + 16, &crc, sizeof(crc));
}

static void fix_super(uint8_t *bytes)
{
	uint32_t crc = dafs_crc32c(~0u, bytes, 1020), ro;

	memcpy(&ro, bytes + offsetof(struct ext2_super_block, s_feature_ro_compat), sizeof(ro));
	if (ro & EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)
		memcpy(bytes + 1020, &crc, sizeof(crc));
}

/* Descriptors of one block, by libext2fs over a copy. */
static void fix_descs(const struct fuzz_base *base, const struct fuzz_record *rec, uint8_t *block)
{
	ext2_filsys fs = base->img->fs;
	uint32_t per_block = EXT2_DESC_PER_BLOCK(fs->super);
	uint32_t first = rec->where % (uint32_t)fs->desc_blocks * per_block;
	uint8_t *own = (uint8_t *)fs->group_desc + (size_t)first * EXT2_DESC_SIZE(fs->super);
	uint8_t keep[65536];
	size_t len = base->img->block_size;

	memcpy(keep, own, len);
	memcpy(own, block, len);
	for (uint32_t i = 0; i < per_block && first + i < fs->group_desc_count; i++)
		ext2fs_group_desc_csum_set(fs, first + i);
	memcpy(block, own, len);
	memcpy(own, keep, len);
}

static void fix_bitmap(const struct fuzz_base *base, struct fuzz_mem *mem,
		       const struct fuzz_record *rec, const uint8_t *block)
{
	ext2_filsys fs = base->img->fs;
	uint32_t grp = rec->where % dafs_group_count(base->img);
	uint32_t per_block = EXT2_DESC_PER_BLOCK(fs->super);
	struct fuzz_record desc = { .kind = FUZZ_DESCS, .where = (uint16_t)(grp / per_block) };
	bool inodes = rec->kind == FUZZ_IBITMAP;
	uint32_t bits = inodes ? fs->super->s_inodes_per_group : fs->super->s_clusters_per_group;
	uint32_t crc = dafs_crc32c(base->img->csum_seed, block, bits / 8), len;
	uint8_t *at = mem->bytes + place(base, &desc, &len);
	size_t low = inodes ? offsetof(struct ext4_group_desc, bg_inode_bitmap_csum_lo) :
			      offsetof(struct ext4_group_desc, bg_block_bitmap_csum_lo);
	size_t high = inodes ? offsetof(struct ext4_group_desc, bg_inode_bitmap_csum_hi) :
			       offsetof(struct ext4_group_desc, bg_block_bitmap_csum_hi);
	size_t of_grp = (size_t)(grp % per_block) * EXT2_DESC_SIZE(fs->super);

	if (!base->img->has_csum)
		return;
	memcpy(at + of_grp + low, &crc, 2);
	if (EXT2_DESC_SIZE(fs->super) >= 64)
		memcpy(at + of_grp + high, (uint8_t *)&crc + 2, 2);
	fix_descs(base, &desc, at);
}

static void fix(const struct fuzz_base *base, struct fuzz_mem *mem, const struct fuzz_record *rec)
{
	struct dafs_image *img = base->img;
	uint32_t len, seed;
	uint64_t off = place(base, rec, &len);
	uint8_t *at = mem->bytes + off;

	if (!off || off > mem->size_bytes - len)
		return;
	seed = dafs_icodec_seed(img, rec->owner, generation(base, mem, rec->owner));
	switch (rec->kind) {
	case FUZZ_SUPER:
		fix_super(at);
		break;
	case FUZZ_DESCS:
		fix_descs(base, rec, at);
		break;
	case FUZZ_INODE:
		dafs_icodec_checksum(img, rec->where, (struct ext2_inode_large *)(void *)at);
		break;
	case FUZZ_EXTENTS:
		fix_extents(img, seed, at);
		break;
	case FUZZ_LEAF:
	case FUZZ_ROOT:
	case FUZZ_NODE:
		dafs_dirblock_csum_set(img, seed,
				       rec->kind == FUZZ_LEAF ? DAFS_DIRBLOCK_LEAF :
				       rec->kind == FUZZ_ROOT ? DAFS_DIRBLOCK_ROOT :
								DAFS_DIRBLOCK_NODE,
				       at);
		break;
	case FUZZ_XATTRS:
		fix_xattrs(img, rec->where, at);
		break;
	case FUZZ_BBITMAP:
	case FUZZ_IBITMAP:
		fix_bitmap(base, mem, rec, at);
		break;
	default:
		break;
	}
}

void fuzz_patch(const struct fuzz_base *base, struct fuzz_mem *mem, bool fixing, const uint8_t *at,
		const uint8_t *end)
{
	const uint8_t *from = at;
	struct fuzz_record rec;
	bool log = false;
	uint32_t len;

	for (int i = 0; i < FUZZ_PATCHES_MOST && fuzz_record_next(&at, end, &rec); i++) {
		uint64_t off = place(base, &rec, &len);

		if (rec.kind == FUZZ_LOG || rec.kind == FUZZ_FC)
			log = true;
		if (rec.kind == FUZZ_FC)
			off = fuzz_log_off(base, fuzz_log_fc_first(base) + rec.where);
		if (off && rec.off < len)
			fuzz_mem_put(mem, off + rec.off, rec.bytes,
				     rec.len < len - rec.off ? rec.len : len - rec.off);
	}
	if (!fixing)
		return;
	at = from;
	for (int i = 0; i < FUZZ_PATCHES_MOST && fuzz_record_next(&at, end, &rec); i++)
		fix(base, mem, &rec);
	if (log)
		fuzz_log_fix(base, mem);
}
