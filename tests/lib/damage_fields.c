/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage_fields - which fields each structure has, and where they lie in one that is at hand.
 */
#include "config.h"

#include "damage.h"

#include <string.h>
#include <ext2fs/ext2_ext_attr.h>
#include <ext2fs/ext3_extents.h>

#define ALL(type) (sizeof(type) / sizeof((type)[0]))
#define F(type, member, how)                                                                       \
	{                                                                                          \
#member, offsetof(struct type, member), sizeof(((struct type *)0)->member), how    \
	}

static const struct field super_fields[] = {
	F(ext2_super_block, s_inodes_count, T_NUM),
	F(ext2_super_block, s_blocks_count, T_NUM),
	F(ext2_super_block, s_r_blocks_count, T_NUM),
	F(ext2_super_block, s_free_blocks_count, T_NUM),
	F(ext2_super_block, s_free_inodes_count, T_NUM),
	F(ext2_super_block, s_first_data_block, T_BLK),
	F(ext2_super_block, s_log_block_size, T_NUM),
	F(ext2_super_block, s_log_cluster_size, T_NUM),
	F(ext2_super_block, s_blocks_per_group, T_NUM),
	F(ext2_super_block, s_clusters_per_group, T_NUM),
	F(ext2_super_block, s_inodes_per_group, T_NUM),
	F(ext2_super_block, s_mtime, T_NUM),
	F(ext2_super_block, s_wtime, T_NUM),
	F(ext2_super_block, s_mnt_count, T_NUM),
	F(ext2_super_block, s_max_mnt_count, T_NUM),
	F(ext2_super_block, s_magic, T_NUM),
	F(ext2_super_block, s_state, T_BITS),
	F(ext2_super_block, s_errors, T_NUM),
	F(ext2_super_block, s_minor_rev_level, T_NUM),
	F(ext2_super_block, s_lastcheck, T_NUM),
	F(ext2_super_block, s_checkinterval, T_NUM),
	F(ext2_super_block, s_creator_os, T_NUM),
	F(ext2_super_block, s_rev_level, T_NUM),
	F(ext2_super_block, s_def_resuid, T_NUM),
	F(ext2_super_block, s_first_ino, T_INO),
	F(ext2_super_block, s_inode_size, T_NUM),
	F(ext2_super_block, s_block_group_nr, T_NUM),
	F(ext2_super_block, s_feature_compat, T_BITS),
	F(ext2_super_block, s_feature_incompat, T_BITS),
	F(ext2_super_block, s_feature_ro_compat, T_BITS),
	F(ext2_super_block, s_uuid, T_BYTES),
	F(ext2_super_block, s_volume_name, T_BYTES),
	F(ext2_super_block, s_last_mounted, T_BYTES),
	F(ext2_super_block, s_prealloc_dir_blocks, T_NUM),
	F(ext2_super_block, s_reserved_gdt_blocks, T_NUM),
	F(ext2_super_block, s_journal_uuid, T_BYTES),
	F(ext2_super_block, s_journal_inum, T_INO),
	F(ext2_super_block, s_journal_dev, T_NUM),
	F(ext2_super_block, s_last_orphan, T_INO),
	F(ext2_super_block, s_hash_seed, T_BYTES),
	F(ext2_super_block, s_def_hash_version, T_NUM),
	F(ext2_super_block, s_jnl_backup_type, T_NUM),
	F(ext2_super_block, s_desc_size, T_NUM),
	F(ext2_super_block, s_default_mount_opts, T_BITS),
	F(ext2_super_block, s_first_meta_bg, T_NUM),
	F(ext2_super_block, s_mkfs_time, T_NUM),
	F(ext2_super_block, s_jnl_blocks, T_BYTES),
	F(ext2_super_block, s_blocks_count_hi, T_NUM),
	F(ext2_super_block, s_r_blocks_count_hi, T_NUM),
	F(ext2_super_block, s_free_blocks_hi, T_NUM),
	F(ext2_super_block, s_min_extra_isize, T_NUM),
	F(ext2_super_block, s_want_extra_isize, T_NUM),
	F(ext2_super_block, s_flags, T_BITS),
	F(ext2_super_block, s_raid_stride, T_NUM),
	F(ext2_super_block, s_mmp_update_interval, T_NUM),
	F(ext2_super_block, s_mmp_block, T_BLK),
	F(ext2_super_block, s_log_groups_per_flex, T_NUM),
	F(ext2_super_block, s_checksum_type, T_NUM),
	F(ext2_super_block, s_kbytes_written, T_NUM),
	F(ext2_super_block, s_snapshot_inum, T_INO),
	F(ext2_super_block, s_snapshot_list, T_INO),
	F(ext2_super_block, s_error_count, T_NUM),
	F(ext2_super_block, s_usr_quota_inum, T_INO),
	F(ext2_super_block, s_grp_quota_inum, T_INO),
	F(ext2_super_block, s_overhead_clusters, T_NUM),
	F(ext2_super_block, s_backup_bgs, T_NUM),
	F(ext2_super_block, s_encrypt_algos, T_BYTES),
	F(ext2_super_block, s_lpf_ino, T_INO),
	F(ext2_super_block, s_prj_quota_inum, T_INO),
	F(ext2_super_block, s_checksum_seed, T_NUM),
	F(ext2_super_block, s_wtime_hi, T_NUM),
	F(ext2_super_block, s_mtime_hi, T_NUM),
	F(ext2_super_block, s_encoding, T_NUM),
	F(ext2_super_block, s_encoding_flags, T_BITS),
	F(ext2_super_block, s_orphan_file_inum, T_INO),
	F(ext2_super_block, s_reserved, T_BYTES),
	F(ext2_super_block, s_checksum, T_NUM),
};

static const struct field desc_fields[] = {
	F(ext4_group_desc, bg_block_bitmap, T_BLK),
	F(ext4_group_desc, bg_inode_bitmap, T_BLK),
	F(ext4_group_desc, bg_inode_table, T_BLK),
	F(ext4_group_desc, bg_free_blocks_count, T_NUM),
	F(ext4_group_desc, bg_free_inodes_count, T_NUM),
	F(ext4_group_desc, bg_used_dirs_count, T_NUM),
	F(ext4_group_desc, bg_flags, T_BITS),
	F(ext4_group_desc, bg_exclude_bitmap_lo, T_NUM),
	F(ext4_group_desc, bg_block_bitmap_csum_lo, T_NUM),
	F(ext4_group_desc, bg_inode_bitmap_csum_lo, T_NUM),
	F(ext4_group_desc, bg_itable_unused, T_NUM),
	F(ext4_group_desc, bg_checksum, T_NUM),
	F(ext4_group_desc, bg_block_bitmap_hi, T_NUM),
	F(ext4_group_desc, bg_inode_bitmap_hi, T_NUM),
	F(ext4_group_desc, bg_inode_table_hi, T_NUM),
	F(ext4_group_desc, bg_free_blocks_count_hi, T_NUM),
	F(ext4_group_desc, bg_free_inodes_count_hi, T_NUM),
	F(ext4_group_desc, bg_used_dirs_count_hi, T_NUM),
	F(ext4_group_desc, bg_itable_unused_hi, T_NUM),
	F(ext4_group_desc, bg_block_bitmap_csum_hi, T_NUM),
	F(ext4_group_desc, bg_inode_bitmap_csum_hi, T_NUM),
};

static const struct field inode_fields[] = {
	F(ext2_inode_large, i_mode, T_BITS),
	F(ext2_inode_large, i_uid, T_NUM),
	F(ext2_inode_large, i_size, T_NUM),
	F(ext2_inode_large, i_atime, T_NUM),
	F(ext2_inode_large, i_dtime, T_INO),
	F(ext2_inode_large, i_gid, T_NUM),
	F(ext2_inode_large, i_links_count, T_NUM),
	F(ext2_inode_large, i_blocks, T_NUM),
	F(ext2_inode_large, i_flags, T_BITS),
	F(ext2_inode_large, osd1.linux1.l_i_version, T_NUM),
	F(ext2_inode_large, i_block[0], T_BLK),
	F(ext2_inode_large, i_block[1], T_BLK),
	F(ext2_inode_large, i_block[5], T_BLK),
	F(ext2_inode_large, i_block[11], T_BLK),
	F(ext2_inode_large, i_block[12], T_BLK),
	F(ext2_inode_large, i_block[13], T_BLK),
	F(ext2_inode_large, i_block[14], T_BLK),
	F(ext2_inode_large, i_generation, T_NUM),
	F(ext2_inode_large, i_file_acl, T_BLK),
	F(ext2_inode_large, i_size_high, T_NUM),
	F(ext2_inode_large, i_faddr, T_BLK),
	F(ext2_inode_large, osd2.linux2.l_i_blocks_hi, T_NUM),
	F(ext2_inode_large, osd2.linux2.l_i_file_acl_high, T_NUM),
	F(ext2_inode_large, osd2.linux2.l_i_uid_high, T_NUM),
	F(ext2_inode_large, osd2.linux2.l_i_checksum_lo, T_NUM),
	F(ext2_inode_large, osd2.linux2.l_i_reserved, T_NUM),
	F(ext2_inode_large, i_extra_isize, T_NUM),
	F(ext2_inode_large, i_checksum_hi, T_NUM),
	F(ext2_inode_large, i_ctime_extra, T_NUM),
	F(ext2_inode_large, i_mtime_extra, T_NUM),
	F(ext2_inode_large, i_atime_extra, T_NUM),
	F(ext2_inode_large, i_crtime, T_NUM),
	F(ext2_inode_large, i_crtime_extra, T_NUM),
	F(ext2_inode_large, i_version_hi, T_NUM),
	F(ext2_inode_large, i_projid, T_NUM),
};

static const struct field extent_head[] = {
	F(ext3_extent_header, eh_magic, T_NUM),	     F(ext3_extent_header, eh_entries, T_NUM),
	F(ext3_extent_header, eh_max, T_NUM),	     F(ext3_extent_header, eh_depth, T_NUM),
	F(ext3_extent_header, eh_generation, T_NUM),
};
static const struct field extent_leaf[] = {
	F(ext3_extent, ee_block, T_NUM),
	F(ext3_extent, ee_len, T_NUM),
	F(ext3_extent, ee_start_hi, T_NUM),
	F(ext3_extent, ee_start, T_BLK),
};
static const struct field extent_index[] = {
	F(ext3_extent_idx, ei_block, T_NUM),
	F(ext3_extent_idx, ei_leaf, T_BLK),
	F(ext3_extent_idx, ei_leaf_hi, T_NUM),
	F(ext3_extent_idx, ei_unused, T_NUM),
};

static const struct field dirent_fields[] = {
	{ "inode", 0, 4, T_INO },     { "rec_len", 4, 2, T_NUM }, { "name_len", 6, 1, T_NUM },
	{ "file_type", 7, 1, T_NUM }, { "name", 8, 4, T_BYTES },
};

static const struct field dx_root_fields[] = {
	{ "dot.inode", 0, 4, T_INO },	    { "dot.rec_len", 4, 2, T_NUM },
	{ "dot.name_len", 6, 1, T_NUM },    { "dotdot.inode", 12, 4, T_INO },
	{ "dotdot.rec_len", 16, 2, T_NUM }, { "dotdot.name", 20, 4, T_BYTES },
	{ "reserved_zero", 24, 4, T_NUM },  { "hash_version", 28, 1, T_NUM },
	{ "info_length", 29, 1, T_NUM },    { "indirect_levels", 30, 1, T_NUM },
	{ "unused_flags", 31, 1, T_BITS },  { "limit", 32, 2, T_NUM },
	{ "count", 34, 2, T_NUM },	    { "first.block", 36, 4, T_NUM },
};
static const struct field dx_node_fields[] = {
	{ "fake.inode", 0, 4, T_INO },	  { "fake.rec_len", 4, 2, T_NUM },
	{ "fake.name_len", 6, 1, T_NUM }, { "fake.file_type", 7, 1, T_NUM },
	{ "limit", 8, 2, T_NUM },	  { "count", 10, 2, T_NUM },
	{ "first.block", 12, 4, T_NUM },
};
static const struct field dx_entry[] = {
	{ "hash", 0, 4, T_NUM },
	{ "block", 4, 4, T_NUM },
};

static const struct field xattr_head[] = {
	F(ext2_ext_attr_header, h_magic, T_NUM),    F(ext2_ext_attr_header, h_refcount, T_NUM),
	F(ext2_ext_attr_header, h_blocks, T_NUM),   F(ext2_ext_attr_header, h_hash, T_NUM),
	F(ext2_ext_attr_header, h_checksum, T_NUM),
};
static const struct field xattr_entry[] = {
	F(ext2_ext_attr_entry, e_name_len, T_NUM),
	F(ext2_ext_attr_entry, e_name_index, T_NUM),
	F(ext2_ext_attr_entry, e_value_offs, T_NUM),
	F(ext2_ext_attr_entry, e_value_inum, T_INO),
	F(ext2_ext_attr_entry, e_value_size, T_NUM),
	F(ext2_ext_attr_entry, e_hash, T_NUM),
	{ "name", 16, 2, T_BYTES },
};

static const struct field mmp_fields[] = {
	F(mmp_struct, mmp_magic, T_NUM),	  F(mmp_struct, mmp_seq, T_NUM),
	F(mmp_struct, mmp_time, T_NUM),		  F(mmp_struct, mmp_nodename, T_BYTES),
	F(mmp_struct, mmp_check_interval, T_NUM), F(mmp_struct, mmp_checksum, T_NUM),
};

/* jbd2's superblock, big endian; flipped bits and random values do not mind. */
static const struct field journal_fields[] = {
	{ "h_magic", 0, 4, T_NUM },
	{ "h_blocktype", 4, 4, T_NUM },
	{ "h_sequence", 8, 4, T_NUM },
	{ "s_blocksize", 12, 4, T_NUM },
	{ "s_maxlen", 16, 4, T_NUM },
	{ "s_first", 20, 4, T_NUM },
	{ "s_sequence", 24, 4, T_NUM },
	{ "s_start", 28, 4, T_NUM },
	{ "s_errno", 32, 4, T_NUM },
	{ "s_feature_compat", 36, 4, T_BITS },
	{ "s_feature_incompat", 40, 4, T_BITS },
	{ "s_feature_ro_compat", 44, 4, T_BITS },
	{ "s_uuid", 48, 16, T_BYTES },
	{ "s_nr_users", 64, 4, T_NUM },
	{ "s_checksum_type", 80, 1, T_NUM },
	{ "s_num_fc_blks", 84, 4, T_NUM },
	{ "s_checksum", 252, 4, T_NUM },
	{ "s_users", 256, 16, T_BYTES },
};

static const char *const kind_names[K_KINDS] = {
	[K_SUPER] = "superblock",
	[K_SUPER_COPY] = "superblock-copy",
	[K_DESC] = "descriptor",
	[K_DESC_COPY] = "descriptor-copy",
	[K_BLOCK_BITMAP] = "block-bitmap",
	[K_INODE_BITMAP] = "inode-bitmap",
	[K_INO_SPECIAL] = "inode-reserved",
	[K_INO_FILE] = "inode-file",
	[K_INO_DIR] = "inode-directory",
	[K_INO_LINK] = "inode-symlink",
	[K_INO_OTHER] = "inode-other",
	[K_INO_EA] = "inode-value",
	[K_INO_FREE] = "inode-free",
	[K_EXT_ROOT] = "extent-root",
	[K_EXT_INDEX] = "extent-index",
	[K_EXT_LEAF] = "extent-leaf",
	[K_INDIRECT] = "indirect",
	[K_RESIZE_MAP] = "resize-map",
	[K_DIR] = "directory",
	[K_DX_ROOT] = "htree-root",
	[K_DX_NODE] = "htree-node",
	[K_INLINE_DIR] = "inline-directory",
	[K_INLINE_DATA] = "inline-data",
	[K_XATTR_INODE] = "xattr-inode",
	[K_XATTR_BLOCK] = "xattr-block",
	[K_JOURNAL_SUPER] = "journal-superblock",
	[K_JOURNAL_LOG] = "journal-log",
	[K_ORPHAN_FILE] = "orphan-file",
	[K_QUOTA] = "quota",
	[K_MMP] = "mmp",
	[K_DATA] = "data",
};

const char *dmg_kind_name(unsigned kind)
{
	return kind_names[kind];
}

/* ---- where they lie ---- */

struct list {
	struct field *v;
	size_t n, room;
	uint32_t bytes; /* of the structure: what does not fit is left out */
};

static void add(struct list *l, const struct field *from, size_t n, uint32_t base)
{
	for (size_t i = 0; i < n && l->n < l->room; i++) {
		struct field f = from[i];

		if (base + f.off + f.bytes > l->bytes)
			continue;
		f.off = (uint16_t)(f.off + base);
		l->v[l->n++] = f;
	}
}

static void add_records(struct list *l, const struct field *from, size_t n, uint32_t base,
			uint32_t step, uint32_t count)
{
	for (uint32_t i = 0; i < count && base + i * step < l->bytes; i++)
		add(l, from, n, base + i * step);
}

static void add_extents(struct list *l, const uint8_t *buf, uint32_t base)
{
	const struct ext3_extent_header *eh = (const void *)(buf + base);
	uint32_t count = eh->eh_entries < 40 ? eh->eh_entries : 40;

	/* Twice, so that the head is met often enough beside many entries. */
	for (unsigned i = 0; i < 2; i++)
		add(l, extent_head, ALL(extent_head), base);
	if (eh->eh_depth)
		add_records(l, extent_index, ALL(extent_index), base + 12, 12, count);
	else
		add_records(l, extent_leaf, ALL(extent_leaf), base + 12, 12, count);
}

static void add_dirents(struct list *l, const uint8_t *buf, uint32_t base, uint32_t end)
{
	while (base + 8 <= end && l->n < l->room) {
		uint32_t rec_len = buf[base + 4] | (uint32_t)buf[base + 5] << 8;

		add(l, dirent_fields, ALL(dirent_fields), base);
		if (rec_len < 8)
			break;
		base += rec_len;
	}
}

static void add_xattrs(struct list *l, const uint8_t *buf, uint32_t base)
{
	while (base + 16 <= l->bytes && (buf[base] || buf[base + 1])) {
		add(l, xattr_entry, ALL(xattr_entry), base);
		base += (16u + buf[base] + 3) & ~3u;
	}
}

static void add_words(struct list *l, const uint8_t *buf, unsigned type)
{
	static const char *const names[] = {
		[T_NUM] = "word", [T_BLK] = "block", [T_INO] = "inode"
	};
	uint32_t used = 0;

	/* Where there is something, and a little behind. */
	for (uint32_t i = 0; i + 4 <= l->bytes; i += 4)
		if (buf[i] || buf[i + 1] || buf[i + 2] || buf[i + 3])
			used = i + 4;
	for (uint32_t i = 0; i + 4 <= l->bytes && i < used + 16; i += 4)
		add(l, &(struct field){ names[type], 0, 4, (uint8_t)type }, 1, i);
}

static void add_dx(struct list *l, const uint8_t *buf, bool root)
{
	uint32_t at = root ? 32 : 8;
	uint32_t count = buf[at + 2] | (uint32_t)buf[at + 3] << 8;

	if (root)
		add(l, dx_root_fields, ALL(dx_root_fields), 0);
	else
		add(l, dx_node_fields, ALL(dx_node_fields), 0);
	add_records(l, dx_entry, ALL(dx_entry), at + 8, 8, count < 20 ? count : 20);
}

static void add_inode_kind(struct list *l, const struct damage *d, const struct place *p,
			   const uint8_t *buf)
{
	uint32_t extra = EXT2_GOOD_OLD_INODE_SIZE;

	if (d->fs->super->s_inode_size > EXT2_GOOD_OLD_INODE_SIZE)
		extra += buf[128] | (uint32_t)buf[129] << 8;
	switch (p->kind) {
	case K_EXT_ROOT:
		add_extents(l, buf, 40);
		break;
	case K_INLINE_DIR:
		add(l, &(struct field){ "dotdot", 40, 4, T_INO }, 1, 0);
		add_dirents(l, buf, 44, 100);
		break;
	case K_INLINE_DATA:
		add(l, &(struct field){ "size", 4, 4, T_NUM }, 1, 0);
		add(l, &(struct field){ "flags", 32, 4, T_BITS }, 1, 0);
		add(l, &(struct field){ "blocks", 28, 4, T_NUM }, 1, 0);
		add(l, &(struct field){ "data", 40, 4, T_BYTES }, 1, 0);
		break;
	case K_XATTR_INODE:
		add(l, &(struct field){ "magic", 0, 4, T_NUM }, 1, extra);
		add_xattrs(l, buf, extra + 4);
		break;
	default:
		add(l, inode_fields, ALL(inode_fields), 0);
	}
}

size_t dmg_fields(const struct damage *d, const struct place *p, const uint8_t *buf,
		  struct field *out, size_t room)
{
	struct list l = { out, 0, room, p->bytes };

	switch (p->kind) {
	case K_SUPER:
	case K_SUPER_COPY:
		add(&l, super_fields, ALL(super_fields), 0);
		break;
	case K_DESC:
	case K_DESC_COPY:
		add(&l, desc_fields, ALL(desc_fields), 0);
		break;
	case K_EXT_INDEX:
	case K_EXT_LEAF:
		add_extents(&l, buf, 0);
		break;
	case K_INDIRECT:
	case K_RESIZE_MAP:
		add_words(&l, buf, T_BLK);
		break;
	case K_DIR:
		add_dirents(&l, buf, 0, p->bytes);
		break;
	case K_DX_ROOT:
	case K_DX_NODE:
		add_dx(&l, buf, p->kind == K_DX_ROOT);
		break;
	case K_XATTR_BLOCK:
		add(&l, xattr_head, ALL(xattr_head), 0);
		add_xattrs(&l, buf, 32);
		break;
	case K_JOURNAL_SUPER:
		add(&l, journal_fields, ALL(journal_fields), 0);
		break;
	case K_MMP:
		add(&l, mmp_fields, ALL(mmp_fields), 0);
		break;
	case K_ORPHAN_FILE:
		add_words(&l, buf, T_INO);
		break;
	case K_BLOCK_BITMAP:
	case K_INODE_BITMAP:
	case K_JOURNAL_LOG:
	case K_QUOTA:
	case K_DATA:
		add_words(&l, buf, T_NUM);
		break;
	default:
		add_inode_kind(&l, d, p, buf);
	}
	return l.n;
}
