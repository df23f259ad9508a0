/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * icodec - see icodec.h.
 *
 * Invariants:
 *  1. raw holds the bytes of the disk: structures are used in place, so the host is
 *     little-endian (asserted below).
 *  2. Fields past i_extra_isize are never read or written: they may be extended attributes.
 */
#include "config.h"

#include "image/icodec.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/group.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "on-disk structures are used in place");

#define NSEC_MAX 999999999u

/* Does raw reach to the end of a field of its extra part? */
#define HAS_EXTRA(img, raw, field)                                                                 \
	((img)->inode_size > EXT2_GOOD_OLD_INODE_SIZE &&                                           \
	 (size_t)(raw)->i_extra_isize + EXT2_GOOD_OLD_INODE_SIZE >=                                \
		 offsetof(struct ext2_inode_large, field) + sizeof((raw)->field))

uint32_t dafs_icodec_seed(const struct dafs_image *img, uint32_t ino, uint32_t generation)
{
	uint32_t seed = dafs_crc32c(img->csum_seed, &ino, sizeof(ino));

	return dafs_crc32c(seed, &generation, sizeof(generation));
}

/* The checksum over raw with its own two fields taken as zero. */
static uint32_t inode_crc(const struct dafs_image *img, uint32_t ino,
			  const struct ext2_inode_large *raw)
{
	static const uint8_t zeros[2];
	const uint8_t *bytes = (const uint8_t *)raw;
	const size_t lo = offsetof(struct ext2_inode_large, osd2.linux2.l_i_checksum_lo);
	const size_t hi = offsetof(struct ext2_inode_large, i_checksum_hi);
	uint32_t crc = dafs_icodec_seed(img, ino, raw->i_generation);
	size_t at = lo + 2;

	crc = dafs_crc32c(crc, bytes, lo);
	crc = dafs_crc32c(crc, zeros, 2);
	if (HAS_EXTRA(img, raw, i_checksum_hi)) {
		crc = dafs_crc32c(crc, bytes + at, hi - at);
		crc = dafs_crc32c(crc, zeros, 2);
		at = hi + 2;
	}
	return dafs_crc32c(crc, bytes + at, img->inode_size - at);
}

void dafs_icodec_checksum(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw)
{
	uint32_t crc;

	if (!img->has_csum)
		return;
	crc = inode_crc(img, ino, raw);
	raw->osd2.linux2.l_i_checksum_lo = (uint16_t)crc;
	if (HAS_EXTRA(img, raw, i_checksum_hi))
		raw->i_checksum_hi = (uint16_t)(crc >> 16);
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, len - 1));
}

bool dafs_icodec_checksum_ok(const struct dafs_image *img, uint32_t ino,
			     const struct ext2_inode_large *raw)
{
	uint32_t crc, stored;

	if (!img->has_csum)
		return true;
	crc = inode_crc(img, ino, raw);
	stored = raw->osd2.linux2.l_i_checksum_lo;
	if (HAS_EXTRA(img, raw, i_checksum_hi))
		stored |= (uint32_t)raw->i_checksum_hi << 16;
	else
		crc &= 0xffff;
	return crc == stored || all_zero((const uint8_t *)raw, img->inode_size);
}

errcode_t dafs_icodec_locate(struct dafs_image *img, uint32_t ino, uint64_t *pblk,
			     uint32_t *off_bytes, bool *live)
{
	const struct ext2_super_block *sb = img->fs->super;
	uint32_t grp, index, first;
	uint64_t off;

	*pblk = 0;
	*off_bytes = 0;
	if (ino == 0 || ino > sb->s_inodes_count)
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "inode %u of %u", ino,
				 sb->s_inodes_count);
	grp = (ino - 1) / sb->s_inodes_per_group;
	index = (ino - 1) % sb->s_inodes_per_group;
	if (grp >= dafs_group_count(img)) /* a journal device may claim inodes; it has no groups */
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "inode %u: group %u of %u", ino, grp,
				 dafs_group_count(img));
	off = (uint64_t)index * img->inode_size;
	*pblk = dafs_group_itable_pblk(img, grp) + (off >> img->block_bits);
	*off_bytes = (uint32_t)(off & (img->block_size - 1));
	if (live) {
		first = (uint32_t)((off & ~(uint64_t)(img->block_size - 1)) / img->inode_size);
		*live = first < dafs_group_itable_mark(img, grp);
	}
	return 0;
}

errcode_t dafs_icodec_read(struct dafs_image *img, uint32_t ino, struct ext2_inode_large *raw,
			   size_t raw_bytes)
{
	size_t take = raw_bytes < img->inode_size ? raw_bytes : img->inode_size;
	uint8_t *block;
	uint32_t off;
	uint64_t pblk;
	errcode_t err;

	memset(raw, 0, raw_bytes);
	err = dafs_icodec_locate(img, ino, &pblk, &off, NULL);
	if (err)
		return err;
	block = malloc(img->block_size);
	if (!block)
		return ENOMEM;
	err = dafs_image_read_blks(img, pblk, 1, block);
	if (err)
		goto out;
	if (!(img->flags & DAFS_IMAGE_IGNORE_CSUM) &&
	    !dafs_icodec_checksum_ok(img, ino, (const struct ext2_inode_large *)(block + off))) {
		err = dafs_fail(img->ctx, DAFS_ET_CORRUPT_INODE, "inode %u: checksum", ino);
		goto out;
	}
	memcpy(raw, block + off, take);
out:
	free(block);
	return err;
}

uint64_t dafs_icodec_size(const struct dafs_image *img, const struct ext2_inode_large *raw)
{
	uint64_t size = raw->i_size;

	if (S_ISREG(raw->i_mode) || (S_ISDIR(raw->i_mode) && img->has_large_dir))
		size |= (uint64_t)raw->i_size_high << 32;
	return size;
}

uint64_t dafs_icodec_blocks512(const struct dafs_image *img, const struct ext2_inode_large *raw)
{
	uint64_t blocks = raw->i_blocks;

	if (img->has_huge_file) {
		blocks |= (uint64_t)raw->osd2.linux2.l_i_blocks_hi << 32;
		if (raw->i_flags & EXT4_HUGE_FILE_FL)
			blocks <<= img->block_bits - 9;
	}
	return blocks;
}

uint32_t dafs_icodec_projid(const struct dafs_image *img, const struct ext2_inode_large *raw)
{
	return HAS_EXTRA(img, raw, i_projid) ? raw->i_projid : 0;
}

bool dafs_icodec_fast_symlink(const struct dafs_image *img, const struct ext2_inode_large *raw)
{
	uint64_t acl_blocks512 = 0;

	if (!S_ISLNK(raw->i_mode) || (raw->i_flags & EXT4_INLINE_DATA_FL))
		return false;
	/* With ea_inode i_blocks also counts the blocks of value inodes, so that the size alone
	 * decides. */
	if (img->has_ea_inode)
		return raw->i_size && raw->i_size < sizeof(raw->i_block);
	if (raw->i_file_acl || raw->osd2.linux2.l_i_file_acl_high)
		acl_blocks512 = (uint64_t)1 << (img->block_bits + img->cluster_bits - 9);
	return dafs_icodec_blocks512(img, raw) == acl_blocks512 &&
	       raw->i_size <= sizeof(raw->i_block);
}

bool dafs_icodec_has_map(const struct dafs_image *img, const struct ext2_inode_large *raw)
{
	if (raw->i_flags & EXT4_INLINE_DATA_FL)
		return false;
	switch (raw->i_mode & S_IFMT) {
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return false;
	case S_IFLNK:
		return !dafs_icodec_fast_symlink(img, raw);
	default:
		return true;
	}
}

uint16_t dafs_icodec_new_extra(const struct dafs_image *img)
{
	const struct ext2_super_block *sb = img->fs->super;
	uint32_t room = img->inode_size - EXT2_GOOD_OLD_INODE_SIZE;
	uint32_t extra = sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;

	if (img->inode_size <= EXT2_GOOD_OLD_INODE_SIZE)
		return 0;
	if (ext2fs_has_feature_extra_isize(img->fs->super)) {
		if (sb->s_want_extra_isize > extra && sb->s_want_extra_isize <= room)
			extra = sb->s_want_extra_isize;
		if (sb->s_min_extra_isize > extra && sb->s_min_extra_isize <= room)
			extra = sb->s_min_extra_isize;
	}
	return (uint16_t)((extra < room ? extra : room) & ~3u);
}

uint8_t dafs_icodec_file_type(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EXT2_FT_REG_FILE;
	case S_IFDIR:
		return EXT2_FT_DIR;
	case S_IFCHR:
		return EXT2_FT_CHRDEV;
	case S_IFBLK:
		return EXT2_FT_BLKDEV;
	case S_IFIFO:
		return EXT2_FT_FIFO;
	case S_IFSOCK:
		return EXT2_FT_SOCK;
	case S_IFLNK:
		return EXT2_FT_SYMLINK;
	default:
		return EXT2_FT_UNKNOWN;
	}
}

/* ---- decoding ---- */

static struct dafs_time decode_time(uint32_t sec, bool has_extra, uint32_t extra)
{
	uint32_t nsec = extra >> 2;

	if (!has_extra)
		return dafs_time_at((int32_t)sec, 0);
	return dafs_time_at((int32_t)sec + ((int64_t)(extra & 3) << 32),
			    nsec < NSEC_MAX ? nsec : NSEC_MAX);
}

static void decode_times(const struct dafs_image *img, const struct ext2_inode_large *raw,
			 struct dafs_inode *inode)
{
	bool has;

	has = HAS_EXTRA(img, raw, i_atime_extra);
	inode->atime = decode_time(raw->i_atime, has, has ? raw->i_atime_extra : 0);
	has = HAS_EXTRA(img, raw, i_mtime_extra);
	inode->mtime = decode_time(raw->i_mtime, has, has ? raw->i_mtime_extra : 0);
	has = HAS_EXTRA(img, raw, i_ctime_extra);
	inode->ctime = decode_time(raw->i_ctime, has, has ? raw->i_ctime_extra : 0);
	if (HAS_EXTRA(img, raw, i_crtime)) {
		has = HAS_EXTRA(img, raw, i_crtime_extra);
		inode->crtime = decode_time(raw->i_crtime, has, has ? raw->i_crtime_extra : 0);
	}
}

/* Device numbers: the old form in the first word, the wide one in the second. */
static void decode_rdev(const struct ext2_inode_large *raw, struct dafs_inode *inode)
{
	uint32_t word = raw->i_block[0];

	if (word) {
		inode->rdev_major = (word >> 8) & 0xff;
		inode->rdev_minor = word & 0xff;
		return;
	}
	word = raw->i_block[1];
	inode->rdev_major = (word >> 8) & 0xfff;
	inode->rdev_minor = (word & 0xff) | ((word >> 12) & 0xfff00);
}

/* Largest size of a file: what 2^32 - 1 logical blocks hold with extents, three levels of
 * indirection without. */
static bool size_ok(const struct dafs_image *img, const struct ext2_inode_large *raw, uint64_t size)
{
	uint64_t per_block = img->block_size / 4, blocks = UINT32_MAX;

	if (S_ISDIR(raw->i_mode) && !(raw->i_flags & EXT4_INLINE_DATA_FL))
		return size && !(size & (img->block_size - 1)) &&
		       size >> img->block_bits <= UINT32_MAX;
	if (S_ISLNK(raw->i_mode))
		return size && size <= img->block_size;
	if (!(raw->i_flags & EXT4_EXTENTS_FL)) {
		uint64_t mapped = 12 + per_block + per_block * per_block +
				  per_block * per_block * per_block;

		if (mapped < blocks)
			blocks = mapped;
	}
	return size <= blocks << img->block_bits;
}

/* Why raw cannot be taken, or NULL. */
static const char *raw_problem(const struct dafs_image *img, uint32_t ino,
			       const struct ext2_inode_large *raw)
{
	bool special = ino < EXT2_FIRST_INO(img->fs->super) && ino != EXT2_ROOT_INO;
	uint16_t extra = img->inode_size > EXT2_GOOD_OLD_INODE_SIZE ? raw->i_extra_isize : 0;

	if (extra % 4 || EXT2_GOOD_OLD_INODE_SIZE + (uint32_t)extra > img->inode_size)
		return "extra size";
	if (dafs_icodec_file_type(raw->i_mode) == EXT2_FT_UNKNOWN && !special)
		return "file type";
	if (!raw->i_links_count && !special)
		return "link count 0";
	if (!size_ok(img, raw, dafs_icodec_size(img, raw)) && !special)
		return "size";
	if ((raw->i_flags & EXT4_EXTENTS_FL) && (raw->i_flags & EXT4_INLINE_DATA_FL))
		return "both extents and inline data";
	if ((raw->i_flags & EXT4_INLINE_DATA_FL) && !img->has_inline_data)
		return "inline data without the feature";
	if ((raw->i_flags & EXT4_EXTENTS_FL) && !img->has_extents)
		return "extents without the feature";
	return NULL;
}

void dafs_icodec_attrs(const struct dafs_image *img, uint32_t ino,
		       const struct ext2_inode_large *raw, struct dafs_inode *inode)
{
	inode->id = ino;
	inode->ino = ino;
	inode->mode = raw->i_mode;
	inode->uid = inode_uid(*raw);
	inode->gid = inode_gid(*raw);
	inode->nlink = raw->i_links_count;
	inode->generation = raw->i_generation;
	inode->iflags = raw->i_flags;
	inode->size = dafs_icodec_size(img, raw);
	inode->projid = dafs_icodec_projid(img, raw);
	if (S_ISCHR(raw->i_mode) || S_ISBLK(raw->i_mode))
		decode_rdev(raw, inode);
	decode_times(img, raw, inode);
}

errcode_t dafs_icodec_decode(struct dafs_image *img, uint32_t ino,
			     const struct ext2_inode_large *raw, struct dafs_inode *inode)
{
	const char *problem = raw_problem(img, ino, raw);

	if (problem)
		return dafs_fail(img->ctx, DAFS_ET_CORRUPT_INODE, "inode %u: %s", ino, problem);
	dafs_icodec_attrs(img, ino, raw, inode);
	return 0;
}

/* ---- encoding ---- */

/* Seconds into the low word, epoch bits and nanoseconds into *extra; clamped to what the format
 * holds, whole seconds at the ends. */
static uint32_t encode_time(struct dafs_time time, bool has_extra, uint32_t *extra)
{
	int64_t max = has_extra ? DAFS_TIME_MAX : INT32_MAX, sec = dafs_time_sec(time);
	uint32_t nsec = time.nsec;

	if (sec <= INT32_MIN || sec >= max) {
		sec = sec < 0 ? INT32_MIN : max;
		nsec = 0;
	}
	*extra = (uint32_t)((sec - (int32_t)sec) >> 32 & 3) | nsec << 2;
	return (uint32_t)sec;
}

static void encode_times(const struct dafs_image *img, const struct dafs_inode *inode,
			 struct ext2_inode_large *raw)
{
	uint32_t extra;
	bool has;

	has = HAS_EXTRA(img, raw, i_atime_extra);
	raw->i_atime = encode_time(inode->atime, has, &extra);
	if (has)
		raw->i_atime_extra = extra;
	has = HAS_EXTRA(img, raw, i_mtime_extra);
	raw->i_mtime = encode_time(inode->mtime, has, &extra);
	if (has)
		raw->i_mtime_extra = extra;
	has = HAS_EXTRA(img, raw, i_ctime_extra);
	raw->i_ctime = encode_time(inode->ctime, has, &extra);
	if (has)
		raw->i_ctime_extra = extra;
	if (HAS_EXTRA(img, raw, i_crtime)) {
		has = HAS_EXTRA(img, raw, i_crtime_extra);
		raw->i_crtime = encode_time(inode->crtime, has, &extra);
		if (has)
			raw->i_crtime_extra = extra;
	}
}

static errcode_t encode_blocks(struct dafs_image *img, uint32_t ino, uint64_t blocks512,
			       struct ext2_inode_large *raw)
{
	raw->i_flags &= ~(uint32_t)EXT4_HUGE_FILE_FL;
	raw->osd2.linux2.l_i_blocks_hi = 0;
	if (blocks512 <= UINT32_MAX) {
		raw->i_blocks = (uint32_t)blocks512;
		return 0;
	}
	if (!img->has_huge_file)
		return dafs_fail(img->ctx, DAFS_ET_FILE_TOO_BIG,
				 "inode %u: 2 TiB need the feature huge_file", ino);
	if (blocks512 >> 48) {
		raw->i_flags |= EXT4_HUGE_FILE_FL;
		blocks512 >>= img->block_bits - 9;
	}
	raw->i_blocks = (uint32_t)blocks512;
	raw->osd2.linux2.l_i_blocks_hi = (uint16_t)(blocks512 >> 32);
	return 0;
}

static errcode_t encode_links(struct dafs_image *img, const struct dafs_inode *inode,
			      struct ext2_inode_large *raw)
{
	raw->i_links_count = (uint16_t)inode->nlink;
	if (inode->nlink <= DAFS_LINK_MAX)
		return 0;
	if (!S_ISDIR(inode->mode) || !img->has_dir_nlink)
		return dafs_fail(img->ctx, DAFS_ET_MLINK, "inode %u: %u links", inode->ino,
				 inode->nlink);
	raw->i_links_count = 1;
	return 0;
}

static errcode_t encode_rdev(struct dafs_image *img, const struct dafs_inode *inode,
			     struct ext2_inode_large *raw)
{
	uint32_t major = inode->rdev_major, minor = inode->rdev_minor;

	if (major > 0xfff || minor > 0xfffff)
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "inode %u: device %u:%u", inode->ino,
				 major, minor);
	memset(raw->i_block, 0, sizeof(raw->i_block));
	if (major < 256 && minor < 256)
		raw->i_block[0] = major << 8 | minor;
	else
		raw->i_block[1] = (minor & 0xff) | major << 8 | (minor & 0xfff00) << 12;
	return 0;
}

static void encode_size(struct dafs_image *img, const struct dafs_inode *inode,
			struct ext2_inode_large *raw)
{
	struct ext2_super_block *sb = img->fs->super;

	raw->i_size = (uint32_t)inode->size;
	if (S_ISREG(inode->mode) || (S_ISDIR(inode->mode) && img->has_large_dir))
		raw->i_size_high = (uint32_t)(inode->size >> 32);
	if (S_ISREG(inode->mode) && inode->size > INT32_MAX && !ext2fs_has_feature_large_file(sb)) {
		ext2fs_set_feature_large_file(sb);
		ext2fs_mark_super_dirty(img->fs);
	}
}

errcode_t dafs_icodec_encode(struct dafs_image *img, const struct dafs_inode *inode,
			     uint64_t blocks512, struct ext2_inode_large *raw, size_t raw_bytes)
{
	errcode_t err;

	if (raw_bytes != img->inode_size || !inode->ino)
		return dafs_fail(img->ctx, DAFS_ET_INTERNAL, "encoding inode %u into %zu bytes",
				 inode->ino, raw_bytes);
	if ((inode->state & DAFS_I_NEW) && img->inode_size > EXT2_GOOD_OLD_INODE_SIZE)
		raw->i_extra_isize = dafs_icodec_new_extra(img);
	raw->i_mode = inode->mode;
	raw->i_uid = (uint16_t)inode->uid;
	raw->osd2.linux2.l_i_uid_high = (uint16_t)(inode->uid >> 16);
	raw->i_gid = (uint16_t)inode->gid;
	raw->osd2.linux2.l_i_gid_high = (uint16_t)(inode->gid >> 16);
	raw->i_generation = inode->generation;
	raw->i_flags = (inode->iflags & ~(uint32_t)DAFS_ICODEC_BODY_FLAGS) |
		       (raw->i_flags & DAFS_ICODEC_BODY_FLAGS);
	encode_size(img, inode, raw);
	encode_times(img, inode, raw);
	if (HAS_EXTRA(img, raw, i_projid))
		raw->i_projid = inode->projid;
	err = encode_links(img, inode, raw);
	if (!err)
		err = encode_blocks(img, inode->ino, blocks512, raw);
	if (!err && (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)))
		err = encode_rdev(img, inode, raw);
	if (!err)
		dafs_icodec_checksum(img, inode->ino, raw);
	return err;
}
