/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage_seal - checksums of damaged structures, made right again: by libext2fs, so that they are
 * what e2fsck expects.
 */
#include "config.h"

#include "damage.h"

#include <stdlib.h>
#include <string.h>
#include <ext2fs/ext3_extents.h>

#define JOURNAL_CSUM_AT	    252
#define JOURNAL_HAS_CSUM    0x18 /* incompat: v2 and v3 */
#define JOURNAL_INCOMPAT_AT 40

static uint8_t *desc_of(struct damage *d, uint32_t grp)
{
	return (uint8_t *)ext2fs_group_desc(d->fs, d->fs->group_desc, grp);
}

static uint32_t desc_bytes(const struct damage *d)
{
	return EXT2_DESC_SIZE(d->fs->super);
}

static const struct place *desc_place(const struct damage *d, uint32_t grp)
{
	for (size_t i = 0; i < d->count[K_DESC]; i++) {
		const struct place *p = &d->places[d->first[K_DESC] + i];

		if (p->grp == grp)
			return p;
	}
	return NULL;
}

/* A descriptor's checksum, in buf. */
static void seal_desc(struct damage *d, uint32_t grp, uint8_t *buf)
{
	uint8_t *desc = desc_of(d, grp), kept[EXT2_MIN_DESC_SIZE_64BIT];
	uint32_t bytes = desc_bytes(d) < sizeof(kept) ? desc_bytes(d) : sizeof(kept);

	memcpy(kept, desc, bytes);
	memcpy(desc, buf, bytes);
	ext2fs_group_desc_csum_set(d->fs, grp);
	memcpy(buf, desc, bytes);
	memcpy(desc, kept, bytes);
}

/* A bitmap's checksum is in the descriptor on disk. */
static void seal_bitmap(struct damage *d, const struct place *p, uint8_t *bits)
{
	const struct place *at = desc_place(d, p->grp);
	bool inodes = p->kind == K_INODE_BITMAP;
	uint32_t nbits =
		inodes ? d->fs->super->s_inodes_per_group : d->fs->super->s_clusters_per_group;
	uint8_t *desc = desc_of(d, p->grp), buf[EXT2_MIN_DESC_SIZE_64BIT];
	uint32_t bytes = desc_bytes(d) < sizeof(buf) ? desc_bytes(d) : sizeof(buf);

	if (!at)
		return;
	dmg_read(d, at->off, buf, bytes);
	memcpy(desc, buf, bytes);
	if (inodes)
		ext2fs_inode_bitmap_csum_set(d->fs, p->grp, (char *)bits, (int)(nbits / 8));
	else
		ext2fs_block_bitmap_csum_set(d->fs, p->grp, (char *)bits, (int)(nbits / 8));
	ext2fs_group_desc_csum_set(d->fs, p->grp);
	dmg_write(d, at->off, desc, bytes);
}

static void seal_journal(uint8_t *buf)
{
	uint32_t sum;

	if (!(buf[JOURNAL_INCOMPAT_AT + 3] & JOURNAL_HAS_CSUM))
		return;
	memset(buf + JOURNAL_CSUM_AT, 0, 4);
	sum = ext2fs_cpu_to_be32(ext2fs_crc32c_le(~0u, buf, 1024));
	memcpy(buf + JOURNAL_CSUM_AT, &sum, 4);
}

static bool seal_block(struct damage *d, const struct place *p, uint8_t *buf)
{
	ext2_filsys fs = d->fs;

	if (!ext2fs_has_feature_metadata_csum(fs->super))
		return false;
	switch (p->kind) {
	case K_EXT_INDEX:
	case K_EXT_LEAF:
		/* (Its place follows from eh_max, which may be what was damaged.) */
		return ((struct ext3_extent_header *)(void *)buf)->eh_max ==
			       (fs->blocksize - sizeof(struct ext3_extent_header)) / 12 &&
		       !ext2fs_extent_block_csum_set(fs, p->ino, (void *)buf);
	case K_DIR:
	case K_DX_ROOT:
	case K_DX_NODE:
		return !ext2fs_dir_block_csum_set(fs, p->ino, (void *)buf);
	case K_XATTR_BLOCK:
		return !ext2fs_ext_attr_block_csum_set(fs, p->ino, p->blk, (void *)buf);
	case K_MMP:
		return !ext2fs_mmp_csum_set(fs, (void *)buf);
	case K_ORPHAN_FILE:
		return !ext2fs_orphan_file_block_csum_set(fs, p->ino, p->blk, (char *)buf);
	default:
		return false;
	}
}

bool dmg_seal(struct damage *d, const struct place *p, uint8_t *buf)
{
	switch (p->kind) {
	case K_SUPER:
	case K_SUPER_COPY:
		return ext2fs_has_feature_metadata_csum(d->fs->super) &&
		       !ext2fs_superblock_csum_set(d->fs, (void *)buf);
	case K_DESC:
	case K_DESC_COPY:
		seal_desc(d, p->grp, buf);
		return ext2fs_has_group_desc_csum(d->fs);
	case K_BLOCK_BITMAP:
	case K_INODE_BITMAP:
		seal_bitmap(d, p, buf);
		return ext2fs_has_feature_metadata_csum(d->fs->super);
	case K_INO_SPECIAL:
	case K_INO_FILE:
	case K_INO_DIR:
	case K_INO_LINK:
	case K_INO_OTHER:
	case K_INO_EA:
	case K_INO_FREE:
	case K_EXT_ROOT:
	case K_INLINE_DIR:
	case K_INLINE_DATA:
	case K_XATTR_INODE:
		return ext2fs_has_feature_metadata_csum(d->fs->super) &&
		       !ext2fs_inode_csum_set(d->fs, p->ino, (void *)buf);
	case K_JOURNAL_SUPER:
		seal_journal(buf);
		return true;
	default:
		return seal_block(d, p, buf);
	}
}
