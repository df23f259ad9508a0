/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * feature - see feature.h. One row a feature: what it is called, and how far dafs goes with it.
 */
#include "config.h"

#include "image/feature.h"

#include <stdio.h>

enum support { REFUSED, READ, WRITE };

struct feature_row {
	uint32_t bit;
	enum support support;
	const char *name;
};

static const struct feature_row compat_rows[] = {
	{ EXT2_FEATURE_COMPAT_DIR_PREALLOC, WRITE, "dir_prealloc" },
	{ EXT2_FEATURE_COMPAT_IMAGIC_INODES, READ, "imagic_inodes" },
	{ EXT3_FEATURE_COMPAT_HAS_JOURNAL, WRITE, "has_journal" },
	{ EXT2_FEATURE_COMPAT_EXT_ATTR, WRITE, "ext_attr" },
	{ EXT2_FEATURE_COMPAT_RESIZE_INODE, WRITE, "resize_inode" },
	{ EXT2_FEATURE_COMPAT_DIR_INDEX, WRITE, "dir_index" },
	{ EXT2_FEATURE_COMPAT_LAZY_BG, REFUSED, "lazy_bg" },
	{ EXT2_FEATURE_COMPAT_EXCLUDE_BITMAP, READ, "snapshot_bitmap" },
	{ EXT4_FEATURE_COMPAT_SPARSE_SUPER2, WRITE, "sparse_super2" },
	{ EXT4_FEATURE_COMPAT_FAST_COMMIT, WRITE, "fast_commit" },
	{ EXT4_FEATURE_COMPAT_STABLE_INODES, WRITE, "stable_inodes" },
	{ EXT4_FEATURE_COMPAT_ORPHAN_FILE, WRITE, "orphan_file" },
	{ 0, REFUSED, NULL },
};

static const struct feature_row incompat_rows[] = {
	{ EXT2_FEATURE_INCOMPAT_COMPRESSION, REFUSED, "compression" },
	{ EXT2_FEATURE_INCOMPAT_FILETYPE, WRITE, "filetype" },
	{ EXT3_FEATURE_INCOMPAT_RECOVER, WRITE, "needs_recovery" },
	{ EXT3_FEATURE_INCOMPAT_JOURNAL_DEV, REFUSED, "journal_dev" },
	{ EXT2_FEATURE_INCOMPAT_META_BG, WRITE, "meta_bg" },
	{ EXT3_FEATURE_INCOMPAT_EXTENTS, WRITE, "extent" },
	{ EXT4_FEATURE_INCOMPAT_64BIT, WRITE, "64bit" },
	{ EXT4_FEATURE_INCOMPAT_MMP, WRITE, "mmp" },
	{ EXT4_FEATURE_INCOMPAT_FLEX_BG, WRITE, "flex_bg" },
	{ EXT4_FEATURE_INCOMPAT_EA_INODE, WRITE, "ea_inode" },
	{ EXT4_FEATURE_INCOMPAT_DIRDATA, REFUSED, "dirdata" },
	{ EXT4_FEATURE_INCOMPAT_CSUM_SEED, WRITE, "metadata_csum_seed" },
	{ EXT4_FEATURE_INCOMPAT_LARGEDIR, WRITE, "large_dir" },
	{ EXT4_FEATURE_INCOMPAT_INLINE_DATA, WRITE, "inline_data" },
	{ EXT4_FEATURE_INCOMPAT_ENCRYPT, WRITE, "encrypt" },
	{ EXT4_FEATURE_INCOMPAT_CASEFOLD, WRITE, "casefold" },
	{ 0, REFUSED, NULL },
};

static const struct feature_row ro_compat_rows[] = {
	{ EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER, WRITE, "sparse_super" },
	{ EXT2_FEATURE_RO_COMPAT_LARGE_FILE, WRITE, "large_file" },
	{ EXT4_FEATURE_RO_COMPAT_HUGE_FILE, WRITE, "huge_file" },
	{ EXT4_FEATURE_RO_COMPAT_GDT_CSUM, WRITE, "uninit_bg" },
	{ EXT4_FEATURE_RO_COMPAT_DIR_NLINK, WRITE, "dir_nlink" },
	{ EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE, WRITE, "extra_isize" },
	{ EXT4_FEATURE_RO_COMPAT_HAS_SNAPSHOT, READ, "snapshot" },
	{ EXT4_FEATURE_RO_COMPAT_QUOTA, WRITE, "quota" },
	{ EXT4_FEATURE_RO_COMPAT_BIGALLOC, WRITE, "bigalloc" },
	{ EXT4_FEATURE_RO_COMPAT_METADATA_CSUM, WRITE, "metadata_csum" },
	{ EXT4_FEATURE_RO_COMPAT_REPLICA, READ, "replica" },
	{ EXT4_FEATURE_RO_COMPAT_READONLY, READ, "read-only" },
	{ EXT4_FEATURE_RO_COMPAT_PROJECT, WRITE, "project" },
	{ EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS, READ, "shared_blocks" },
	{ EXT4_FEATURE_RO_COMPAT_VERITY, WRITE, "verity" },
	{ EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT, WRITE, "orphan_present" },
	{ 0, REFUSED, NULL },
};

/* unknown: how far to go with a bit that has no row; the meaning of the three sets. */
static const struct {
	const struct feature_row *rows;
	char letter;
	enum support unknown;
} sets[] = {
	[DAFS_FEATURE_COMPAT] = { compat_rows, 'C', READ },
	[DAFS_FEATURE_INCOMPAT] = { incompat_rows, 'I', REFUSED },
	[DAFS_FEATURE_RO_COMPAT] = { ro_compat_rows, 'R', READ },
};

static const struct feature_row *find_row(enum dafs_feature_set set, uint32_t bit)
{
	const struct feature_row *row = sets[set].rows;

	while (row->name && row->bit != bit)
		row++;
	return row->name ? row : NULL;
}

const char *dafs_feature_to_text(enum dafs_feature_set set, uint32_t bit, char buf[16])
{
	const struct feature_row *row = find_row(set, bit);

	if (row)
		return row->name;
	snprintf(buf, 16, "FEATURE_%c%d", sets[set].letter, bit ? __builtin_ctz(bit) : 0);
	return buf;
}

static errcode_t check_set(struct dafs_ctx *ctx, const char *address, enum dafs_feature_set set,
			   uint32_t bits, enum support need)
{
	char buf[16];

	for (; bits; bits &= bits - 1) {
		uint32_t bit = bits & -bits;
		const struct feature_row *row = find_row(set, bit);

		if ((row ? row->support : sets[set].unknown) >= need)
			continue;
		return dafs_fail(ctx, DAFS_ET_FEATURE, "%s: %s%s", address,
				 dafs_feature_to_text(set, bit, buf),
				 need == WRITE ? " (for writing)" : "");
	}
	return 0;
}

errcode_t dafs_feature_check(struct dafs_ctx *ctx, const char *address,
			     const struct ext2_super_block *sb, bool for_write)
{
	uint32_t compat = ext2fs_le32_to_cpu(sb->s_feature_compat);
	uint32_t incompat = ext2fs_le32_to_cpu(sb->s_feature_incompat);
	uint32_t ro_compat = ext2fs_le32_to_cpu(sb->s_feature_ro_compat);
	enum support need = for_write ? WRITE : READ;
	errcode_t err;

	if (incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
		return dafs_fail(ctx, DAFS_ET_JOURNAL_EXTERNAL, "%s: is itself a journal device",
				 address);
	err = check_set(ctx, address, DAFS_FEATURE_INCOMPAT, incompat, need);
	if (!err)
		err = check_set(ctx, address, DAFS_FEATURE_RO_COMPAT, ro_compat, need);
	if (!err)
		err = check_set(ctx, address, DAFS_FEATURE_COMPAT, compat, need);
	if (!err && for_write && (compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) && !sb->s_journal_inum)
		err = dafs_fail(ctx, DAFS_ET_JOURNAL_EXTERNAL, "%s", address);
	return err;
}
