/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_types - which types of mke2fs.conf apply, and what follows from them: features, mount
 * options, block size.
 *
 * Source of the rules: mke2fs(8), mke2fs.conf(5), and mke2fs 1.47 where they are silent.
 */
#include "config.h"

#include "job/mkfs_int.h"

#include <e2p/e2p.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

/* What mke2fs 1.47 lets be set, in the order compat, incompat, ro_compat. */
static __u32 settable[3] = {
	EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_RESIZE_INODE |
		EXT2_FEATURE_COMPAT_DIR_INDEX | EXT2_FEATURE_COMPAT_EXT_ATTR |
		EXT4_FEATURE_COMPAT_SPARSE_SUPER2 | EXT4_FEATURE_COMPAT_FAST_COMMIT |
		EXT4_FEATURE_COMPAT_STABLE_INODES | EXT4_FEATURE_COMPAT_ORPHAN_FILE,
	EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
		EXT3_FEATURE_INCOMPAT_JOURNAL_DEV | EXT2_FEATURE_INCOMPAT_META_BG |
		EXT4_FEATURE_INCOMPAT_FLEX_BG | EXT4_FEATURE_INCOMPAT_EA_INODE |
		EXT4_FEATURE_INCOMPAT_MMP | EXT4_FEATURE_INCOMPAT_64BIT |
		EXT4_FEATURE_INCOMPAT_INLINE_DATA | EXT4_FEATURE_INCOMPAT_ENCRYPT |
		EXT4_FEATURE_INCOMPAT_CASEFOLD | EXT4_FEATURE_INCOMPAT_CSUM_SEED |
		EXT4_FEATURE_INCOMPAT_LARGEDIR,
	EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
		EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
		EXT4_FEATURE_RO_COMPAT_GDT_CSUM | EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER |
		EXT4_FEATURE_RO_COMPAT_BIGALLOC | EXT4_FEATURE_RO_COMPAT_QUOTA |
		EXT4_FEATURE_RO_COMPAT_METADATA_CSUM | EXT4_FEATURE_RO_COMPAT_PROJECT |
		EXT4_FEATURE_RO_COMPAT_VERITY,
};

/* The usage type that a size stands for. */
static const char *type_of_size(uint64_t bytes)
{
	if (bytes < 3 * MIB)
		return "floppy";
	if (bytes < 512 * MIB)
		return "small";
	if (bytes < 4 * TIB)
		return "default";
	return bytes < 16 * TIB ? "big" : "huge";
}

static errcode_t add_type(struct mkfs *mk, const char *name)
{
	unsigned n = 0;

	while (mk->type_names[n])
		n++;
	if (n == MKFS_MAX_TYPES)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "-T %s: too many types",
				 mk->opts->usage_types);
	mk->type_names[n] = name;
	return 0;
}

/* The types named in mk->type_text[1], which is cut to pieces. */
static errcode_t add_usage_types(struct mkfs *mk)
{
	char *rest = mk->type_text[1], *name;
	errcode_t err = 0;

	while (!err && (name = strsep(&rest, ","))) {
		if (dafs_mkfs_conf_has_type(mk->conf, name))
			err = add_type(mk, name);
		else if (*name && strcmp(name, "default") && mk->opts->usage_types)
			dafs_notice(mk->ctx, "warning: type %s is not defined in mke2fs.conf",
				    name);
	}
	return err;
}

static errcode_t join_types(struct mkfs *mk)
{
	size_t room = 1;

	for (const char **name = mk->type_names; *name; name++)
		room += strlen(*name) + 1;
	mk->type_list = calloc(1, room);
	if (!mk->type_list)
		return ENOMEM;
	for (const char **name = mk->type_names; *name; name++) {
		if (*mk->type_list)
			strcat(mk->type_list, ",");
		strcat(mk->type_list, *name);
	}
	return 0;
}

errcode_t mkfs_choose_types(struct mkfs *mk)
{
	const char *fs_type = mk->opts->fs_type ? mk->opts->fs_type : "ext4";
	uint64_t bytes = mk->opts->type_bytes ? mk->opts->type_bytes : mk->fs_bytes;
	const char *usage = mk->opts->usage_types ? mk->opts->usage_types : type_of_size(bytes);
	errcode_t err;

	mk->types = (struct dafs_mkfs_types){ .conf = mk->conf, .names = mk->type_names };
	mk->type_text[0] = strdup(fs_type);
	mk->type_text[1] = strdup(usage);
	if (!mk->type_text[0] || !mk->type_text[1])
		return ENOMEM;
	/* ext2 is what is left when a type adds nothing, so nobody defines it. */
	if (strcmp(fs_type, "ext2") && !dafs_mkfs_conf_has_type(mk->conf, fs_type))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "mke2fs.conf does not define the type %s",
				 fs_type);
	err = add_type(mk, mk->type_text[0]);
	if (!err)
		err = add_usage_types(mk);
	return err ? err : join_types(mk);
}

static errcode_t edit_features(struct mkfs *mk, const char *list)
{
	__u32 *mask = &mk->param.s_feature_compat;

	/* The three masks lie one behind the other in a superblock, as e2p wants them. */
	if (list && *list && e2p_edit_feature(list, mask, settable))
		return dafs_fail(mk->ctx, DAFS_ET_FEATURE,
				 "-O %s: unknown, or not to be set at creation", list);
	return 0;
}

static errcode_t edit_mount_options(struct mkfs *mk)
{
	const char *list = dafs_mkfs_conf_str(&mk->types, "default_mntopts", "acl,user_xattr");

	if (*list && e2p_edit_mntopts(list, &mk->param.s_default_mount_opts, ~0u))
		return dafs_fail(mk->ctx, DAFS_ET_SYNTAX, "mke2fs.conf: default_mntopts = %s",
				 list);
	return 0;
}

errcode_t mkfs_choose_features(struct mkfs *mk)
{
	const char *last = NULL;
	errcode_t err = 0;

	mk->param.s_rev_level = mk->opts->has_revision ? mk->opts->revision : EXT2_DYNAMIC_REV;
	if (mk->param.s_rev_level > EXT2_DYNAMIC_REV)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "-r %u: no such revision",
				 mk->param.s_rev_level);
	if (mk->param.s_rev_level != EXT2_GOOD_OLD_REV) {
		err = edit_features(
			mk, dafs_mkfs_conf_str(
				    &mk->types, "base_features",
				    "sparse_super,large_file,filetype,resize_inode,dir_index"));
		if (!err)
			err = edit_mount_options(mk);
		for (const char **name = mk->type_names; *name && !err; name++)
			err = edit_features(
				mk, dafs_mkfs_conf_raw(mk->conf, "fs_types", *name, "features"));
		last = dafs_mkfs_conf_str(&mk->types, "default_features", NULL);
	}
	if (!err)
		err = edit_features(mk, mk->opts->features ? mk->opts->features : last);
	if (err)
		return err;
	if (mk->opts->journal || mk->opts->journal_options)
		ext2fs_set_feature_journal(&mk->param);
	/* Checksums of group descriptors are part of it. */
	if (ext2fs_has_feature_metadata_csum(&mk->param))
		ext2fs_clear_feature_gdt_csum(&mk->param);
	if (ext2fs_has_feature_journal_dev(&mk->param))
		return dafs_fail(mk->ctx, DAFS_ET_FEATURE,
				 "journal_dev: mkdafs makes no external journals");
	return 0;
}

/* A block size that the configuration asks for. */
static errcode_t configured_block_size(struct mkfs *mk, long *size)
{
	errcode_t err = dafs_mkfs_conf_int(mk->ctx, &mk->types, "blocksize", 4096, size);

	if (!err && *size < 0)
		*size = sysconf(_SC_PAGESIZE);
	return err;
}

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* Sizes that work somewhere, but not here or not well: refused without -F, as mke2fs would ask. */
static errcode_t check_block_size(struct mkfs *mk)
{
	long page = sysconf(_SC_PAGESIZE);

	if (mk->block_size < mk->sector_bytes)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "-b %u: smaller than the device's sectors of %u bytes",
				 mk->block_size, mk->sector_bytes);
	if (mk->opts->block_size && mk->block_size < mk->phys_sector_bytes &&
	    mk->phys_sector_bytes <= page)
		dafs_notice(mk->ctx,
			    "warning: blocks of %u bytes are smaller than the device's physical "
			    "sectors of %u",
			    mk->block_size, mk->phys_sector_bytes);
	if (mk->block_size <= page)
		return 0;
	if (!mk->opts->force)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "-b %u: larger than the system's pages of %ld bytes (-F makes it "
				 "all the same)",
				 mk->block_size, page);
	dafs_notice(mk->ctx,
		    "warning: blocks of %u bytes are larger than the system's pages of %ld",
		    mk->block_size, page);
	return 0;
}

errcode_t mkfs_choose_block_size(struct mkfs *mk)
{
	uint32_t asked = mk->opts->block_size;
	long size = asked;
	errcode_t err;

	if (!asked || mk->opts->block_size_least) {
		err = configured_block_size(mk, &size);
		if (err)
			return err;
		if (size < (long)mk->sector_bytes)
			size = mk->sector_bytes;
		if (size < (long)asked)
			size = asked;
	}
	if (size < EXT2_MIN_BLOCK_SIZE || size > EXT2_MAX_BLOCK_SIZE ||
	    !is_power_of_two((uint64_t)size))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "block size %ld: a power of two from %d to %d is needed", size,
				 EXT2_MIN_BLOCK_SIZE, EXT2_MAX_BLOCK_SIZE);
	mk->block_size = (uint32_t)size;
	mk->param.s_log_block_size =
		(uint32_t)__builtin_ctz(mk->block_size) - EXT2_MIN_BLOCK_LOG_SIZE;
	ext2fs_blocks_count_set(&mk->param, mk->fs_bytes / mk->block_size);
	return check_block_size(mk);
}
