/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * geom - the numbers of a file system, from a superblock that nobody has vouched for; where its
 * fixed structures lie.
 *
 * Layout rules: ext4 disk layout (sparse_super: groups 0, 1 and powers of 3, 5, 7 hold copies;
 * sparse_super2: two named groups; meta_bg: each meta group keeps its own descriptors in its first,
 * second and last group).
 *
 * Invariant: a geometry that was accepted has no product that overflows and no count of zero.
 */
#include "config.h"

#include "check/check_int.h"

#include "base/crc32c.h"

#define MAX_LOG_BLOCK 6 /* 64 KiB */

static bool power_of_2(uint32_t n)
{
	return n && !(n & (n - 1));
}

/* Sizes of blocks, clusters, inodes and descriptors. */
static const char *init_sizes(struct dafs_ck_geom *g, const struct ext2_super_block *sb)
{
	struct ext2_super_block *s =
		(struct ext2_super_block *)sb; /* libext2fs' readers are not const */

	if (sb->s_magic != EXT2_SUPER_MAGIC)
		return "magic";
	if (sb->s_rev_level > EXT2_MAX_SUPP_REV)
		return "rev_level";
	if (sb->s_log_block_size > MAX_LOG_BLOCK)
		return "log_block_size";
	g->block_bits = 10 + sb->s_log_block_size;
	g->block_size = 1u << g->block_bits;
	g->bigalloc = ext2fs_has_feature_bigalloc(s);
	if (sb->s_log_cluster_size < sb->s_log_block_size || sb->s_log_cluster_size > 19 ||
	    (!g->bigalloc && sb->s_log_cluster_size != sb->s_log_block_size))
		return "log_cluster_size";
	g->cbits = sb->s_log_cluster_size - sb->s_log_block_size;
	g->inode_size = sb->s_rev_level ? sb->s_inode_size : EXT2_GOOD_OLD_INODE_SIZE;
	if (g->inode_size < EXT2_GOOD_OLD_INODE_SIZE || g->inode_size > g->block_size ||
	    !power_of_2(g->inode_size))
		return "inode_size";
	g->bit64 = ext2fs_has_feature_64bit(s);
	g->desc_size = g->bit64 ? sb->s_desc_size : EXT2_MIN_DESC_SIZE;
	if (sb->s_desc_size & (sb->s_desc_size - 1) || sb->s_desc_size > EXT2_MAX_DESC_SIZE ||
	    (g->bit64 && sb->s_desc_size < EXT2_MIN_DESC_SIZE_64BIT))
		return "desc_size";
	if (ext2fs_has_feature_metadata_csum(s) && sb->s_checksum_type != EXT2_CRC32C_CHKSUM)
		return "checksum_type";
	return NULL;
}

static const char *init_groups(struct dafs_ck_geom *g, const struct ext2_super_block *sb)
{
	uint64_t ipg_max, groups, reserved;

	g->blocks = sb->s_blocks_count | (g->bit64 ? (uint64_t)sb->s_blocks_count_hi << 32 : 0);
	g->first = sb->s_first_data_block;
	g->bpg = sb->s_blocks_per_group;
	g->cpg = sb->s_clusters_per_group;
	g->ipg = sb->s_inodes_per_group;
	g->inodes_per_blk = g->block_size / g->inode_size;
	if (g->first != (g->block_bits == 10 && !g->cbits ? 1 : 0))
		return "first_data_block";
	if (g->blocks <= g->first || g->blocks > (UINT64_C(1) << 48) - 1)
		return "blocks_count";
	if (g->cpg < 8 || g->cpg > 8 * g->block_size || g->cpg > (1u << 16) - 8)
		return "clusters_per_group";
	if (g->bpg < 8 ||
	    (g->bigalloc ? g->bpg != (uint64_t)g->cpg << g->cbits : g->bpg != g->cpg) || g->cpg % 8)
		return "blocks_per_group";
	ipg_max = (uint64_t)g->inodes_per_blk * (g->bpg > 4 ? g->bpg - 4 : 1);
	if (ipg_max > (1u << 16) - g->inodes_per_blk)
		ipg_max = (1u << 16) - g->inodes_per_blk;
	if (g->ipg < g->inodes_per_blk || g->ipg > ipg_max || g->ipg > 8 * g->block_size)
		return "inodes_per_group";
	groups = (g->blocks - g->first + g->bpg - 1) / g->bpg;
	if (groups * g->ipg > UINT32_MAX)
		return "inodes_count";
	g->groups = (uint32_t)groups;
	g->inodes = g->groups * g->ipg;
	g->clusters = (uint64_t)g->groups * g->cpg;
	g->itable_blks = (g->ipg + g->inodes_per_blk - 1) / g->inodes_per_blk;
	g->descs_per_blk = g->block_size / g->desc_size;
	g->desc_blks = (g->groups + g->descs_per_blk - 1) / g->descs_per_blk;
	reserved = sb->s_r_blocks_count | (g->bit64 ? (uint64_t)sb->s_r_blocks_count_hi << 32 : 0);
	if (reserved > g->blocks / 2)
		return "r_blocks_count";
	if (sb->s_reserved_gdt_blocks > g->block_size / 4)
		return "reserved_gdt_blocks";
	g->first_ino = sb->s_rev_level ? sb->s_first_ino : EXT2_GOOD_OLD_FIRST_INO;
	if (g->first_ino < EXT2_GOOD_OLD_FIRST_INO || g->first_ino > g->inodes)
		return "first_ino";
	return NULL;
}

const char *dafs_ck_geom_init(struct dafs_ck_geom *g, const struct ext2_super_block *sb)
{
	struct ext2_super_block *s = (struct ext2_super_block *)sb;
	const char *bad;

	memset(g, 0, sizeof(*g));
	bad = init_sizes(g, sb);
	if (!bad)
		bad = init_groups(g, sb);
	if (bad)
		return bad;
	g->csum = ext2fs_has_feature_metadata_csum(s);
	g->gd_csum = g->csum || ext2fs_has_feature_gdt_csum(s);
	g->csum_seed = ext2fs_has_feature_csum_seed(s) ? sb->s_checksum_seed
						       : dafs_crc32c(~0u, sb->s_uuid, 16);
	g->extents = ext2fs_has_feature_extents(s);
	g->inline_data = ext2fs_has_feature_inline_data(s);
	g->filetype = ext2fs_has_feature_filetype(s);
	g->dir_index = ext2fs_has_feature_dir_index(s);
	g->large_dir = ext2fs_has_feature_largedir(s);
	g->ea_inode = ext2fs_has_feature_ea_inode(s);
	g->huge_file = ext2fs_has_feature_huge_file(s);
	g->flex_bg = ext2fs_has_feature_flex_bg(s);
	g->meta_bg = ext2fs_has_feature_meta_bg(s);
	g->xattr = ext2fs_has_feature_xattr(s);
	g->casefold = ext2fs_has_feature_casefold(s);
	g->encrypt = ext2fs_has_feature_encrypt(s);
	g->quota = ext2fs_has_feature_quota(s);
	g->imagic = ext2fs_has_feature_imagic_inodes(s);
	g->shared_blocks = ext2fs_has_feature_shared_blocks(s);
	g->hurd = sb->s_creator_os == EXT2_OS_HURD;
	return NULL;
}

uint32_t dafs_ck_sb_csum(const struct ext2_super_block *sb)
{
	return dafs_crc32c(~0u, sb, offsetof(struct ext2_super_block, s_checksum));
}

static bool power_of(uint32_t n, uint32_t base)
{
	while (n > 1 && n % base == 0)
		n /= base;
	return n == 1;
}

bool dafs_ck_has_super(const struct dafs_ck *ck, uint32_t grp)
{
	struct ext2_super_block *sb = (struct ext2_super_block *)&ck->sb;

	if (grp == 0)
		return true;
	if (ext2fs_has_feature_sparse_super2(sb))
		return grp == sb->s_backup_bgs[0] || grp == sb->s_backup_bgs[1];
	if (grp <= 1 || !ext2fs_has_feature_sparse_super(sb))
		return true;
	return (grp & 1) && (power_of(grp, 3) || power_of(grp, 5) || power_of(grp, 7));
}

uint64_t dafs_ck_grp_first(const struct dafs_ck *ck, uint32_t grp)
{
	return ck->g.first + (uint64_t)grp * ck->g.bpg;
}

uint64_t dafs_ck_grp_blks(const struct dafs_ck *ck, uint32_t grp)
{
	uint64_t left = ck->g.blocks - dafs_ck_grp_first(ck, grp);

	return left < ck->g.bpg ? left : ck->g.bpg;
}

/* Descriptor blocks kept in the old place, right behind the superblock. */
static uint32_t old_desc_blks(const struct dafs_ck *ck)
{
	uint32_t first_meta = ck->sb.s_first_meta_bg;

	if (!ck->g.meta_bg)
		return ck->g.desc_blks;
	return first_meta < ck->g.desc_blks ? first_meta : ck->g.desc_blks;
}

uint64_t dafs_ck_desc_blk(const struct dafs_ck *ck, uint32_t grp, uint32_t i)
{
	uint64_t at = dafs_ck_grp_first(ck, grp);
	uint32_t meta_grp;

	/* 1 KiB blocks with bigalloc begin at block 0, whose first half is the boot sector: group
	 * 0's superblock is block 1. */
	if (grp == 0 && ck->g.block_bits == 10 && ck->g.first == 0)
		at++;
	if (i < old_desc_blks(ck))
		return at + 1 + i;
	meta_grp = i * ck->g.descs_per_blk;
	at = dafs_ck_grp_first(ck, meta_grp);
	if (meta_grp == 0 && ck->g.block_bits == 10 && ck->g.first == 0)
		at++;
	if (grp) {
		/* A backup: the copy in the meta group's second group. */
		if (meta_grp + 1 < ck->g.groups)
			return dafs_ck_grp_first(ck, meta_grp + 1) +
			       dafs_ck_has_super(ck, meta_grp + 1);
	}
	return at + dafs_ck_has_super(ck, meta_grp);
}

uint64_t dafs_ck_desc_blk_last(const struct dafs_ck *ck, uint32_t i)
{
	uint64_t last = (uint64_t)(i + 1) * ck->g.descs_per_blk - 1;

	if (i < old_desc_blks(ck) || last >= ck->g.groups)
		return 0;
	return dafs_ck_grp_first(ck, (uint32_t)last) + dafs_ck_has_super(ck, (uint32_t)last);
}

unsigned dafs_ck_grp_super_runs(const struct dafs_ck *ck, uint32_t grp, struct dafs_ck_range *r)
{
	uint64_t at = dafs_ck_grp_first(ck, grp);
	bool super = dafs_ck_has_super(ck, grp);
	unsigned n = 0;

	if (grp == 0 && ck->g.block_bits == 10 && ck->g.first == 0)
		r[n++] = (struct dafs_ck_range){ at++, 1 };
	if (super)
		r[n++] = (struct dafs_ck_range){ at, 1 };
	if (!ck->g.meta_bg || grp / ck->g.descs_per_blk < ck->sb.s_first_meta_bg) {
		uint64_t len = ck->g.meta_bg ? ck->sb.s_first_meta_bg
					     : ck->g.desc_blks + ck->sb.s_reserved_gdt_blocks;

		/* (A first_meta_bg that is too large has been complained about.) */
		if (len > dafs_ck_grp_blks(ck, grp) - (at + 1 - dafs_ck_grp_first(ck, grp)))
			len = dafs_ck_grp_blks(ck, grp) - (at + 1 - dafs_ck_grp_first(ck, grp));
		if (super && len)
			r[n++] = (struct dafs_ck_range){ at + 1, len };
	} else {
		uint32_t in_meta = grp % ck->g.descs_per_blk;

		if (in_meta == 0 || in_meta == 1 || in_meta == ck->g.descs_per_blk - 1)
			r[n++] = (struct dafs_ck_range){ at + super, 1 };
	}
	return n;
}

struct ext4_group_desc *dafs_ck_gd(const struct dafs_ck *ck, uint32_t grp)
{
	return (struct ext4_group_desc *)(ck->gd + (size_t)grp * ck->g.desc_size);
}

/* The upper half of a field exists in large descriptors only. */
#define WIDE(ck) ((ck)->g.desc_size >= EXT2_MIN_DESC_SIZE_64BIT)
#define FIELD(ck, grp, type, lo, hi, shift)                                                        \
	((type)dafs_ck_gd(ck, grp)->lo | (WIDE(ck) ? (type)dafs_ck_gd(ck, grp)->hi << (shift) : 0))

uint64_t dafs_ck_gd_block_bitmap(const struct dafs_ck *ck, uint32_t grp)
{
	return FIELD(ck, grp, uint64_t, bg_block_bitmap, bg_block_bitmap_hi, 32);
}

uint64_t dafs_ck_gd_inode_bitmap(const struct dafs_ck *ck, uint32_t grp)
{
	return FIELD(ck, grp, uint64_t, bg_inode_bitmap, bg_inode_bitmap_hi, 32);
}

uint64_t dafs_ck_gd_itable(const struct dafs_ck *ck, uint32_t grp)
{
	return FIELD(ck, grp, uint64_t, bg_inode_table, bg_inode_table_hi, 32);
}

uint32_t dafs_ck_gd_free_blks(const struct dafs_ck *ck, uint32_t grp)
{
	return FIELD(ck, grp, uint32_t, bg_free_blocks_count, bg_free_blocks_count_hi, 16);
}

uint32_t dafs_ck_gd_free_inodes(const struct dafs_ck *ck, uint32_t grp)
{
	return FIELD(ck, grp, uint32_t, bg_free_inodes_count, bg_free_inodes_count_hi, 16);
}

uint32_t dafs_ck_gd_dirs(const struct dafs_ck *ck, uint32_t grp)
{
	return FIELD(ck, grp, uint32_t, bg_used_dirs_count, bg_used_dirs_count_hi, 16);
}

uint32_t dafs_ck_gd_unused(const struct dafs_ck *ck, uint32_t grp)
{
	return FIELD(ck, grp, uint32_t, bg_itable_unused, bg_itable_unused_hi, 16);
}

/* CRC-16 with polynomial 0xA001, as uninit_bg uses it. */
static uint16_t crc16(uint16_t crc, const void *buf, size_t len)
{
	const uint8_t *at = buf;

	while (len--) {
		crc ^= *at++;
		for (unsigned i = 0; i < 8; i++)
			crc = crc & 1 ? (uint16_t)(crc >> 1 ^ 0xA001) : crc >> 1;
	}
	return crc;
}

uint16_t dafs_ck_gd_csum(const struct dafs_ck *ck, uint32_t grp)
{
	const uint8_t *gd = (const uint8_t *)dafs_ck_gd(ck, grp);
	const size_t at = offsetof(struct ext4_group_desc, bg_checksum);
	const uint16_t zero = 0;

	if (ck->g.csum) {
		uint32_t crc = dafs_crc32c(ck->g.csum_seed, &grp, sizeof(grp));

		crc = dafs_crc32c(crc, gd, at);
		crc = dafs_crc32c(crc, &zero, 2);
		return (uint16_t)dafs_crc32c(crc, gd + at + 2, ck->g.desc_size - at - 2);
	}
	if (ck->g.gd_csum) {
		uint16_t crc = crc16(~0, ck->sb.s_uuid, 16);

		crc = crc16(crc, &grp, sizeof(grp));
		crc = crc16(crc, gd, at);
		if (ck->g.desc_size > at + 2)
			crc = crc16(crc, gd + at + 2, ck->g.desc_size - at - 2);
		return crc;
	}
	return 0;
}

uint32_t dafs_ck_grp_scan_inodes(const struct dafs_ck *ck, uint32_t grp)
{
	uint32_t unused;

	if (ck->gd_flags[grp] & DAFS_CKG_IT_BAD)
		return 0;
	if (!ck->g.gd_csum)
		return ck->g.ipg;
	if (dafs_ck_gd(ck, grp)->bg_flags & EXT2_BG_INODE_UNINIT)
		return 0;
	unused = dafs_ck_gd_unused(ck, grp);
	return unused > ck->g.ipg ? 0 : ck->g.ipg - unused;
}

bool dafs_ck_is_meta(const struct dafs_ck *ck, uint64_t pblk)
{
	size_t low = 0, high = ck->nmeta;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (pblk < ck->meta[mid].start)
			high = mid;
		else if (pblk >= ck->meta[mid].start + ck->meta[mid].len)
			low = mid + 1;
		else
			return true;
	}
	return false;
}
