/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_super - the superblock in memory: libext2fs' geometry, then identity, times, policies
 * and the journal's size.
 *
 * Reads and writes nothing on the device. What it leaves: mk->fs with an empty block map
 * (superblocks and descriptors reserved), mk->journal decided.
 */
#include "config.h"

#include "job/mkfs_int.h"

#include <e2p/e2p.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

/* Limits of a journal in blocks (jbd2; mke2fs(8)). */
enum { MIN_JOURNAL_BLKS = 1024, MAX_JOURNAL_BLKS = 10240000 };

/* Periodic checks, where mke2fs.conf asks for them: e2fsprogs' classic values. */
enum { CHECK_INTERVAL_SEC = 180 * 24 * 3600, CHECK_MOUNTS = 20 };

/* Namespace of UUIDs that are derived because the build is to be reproducible. */
static const uuid_t uuid_namespace = {
	0x6b, 0x0f, 0x51, 0x5e, 0x0a, 0x0d, 0x4c, 0x0e,
	0x9d, 0x4b, 0x64, 0x61, 0x66, 0x73, 0x6d, 0x6b,
};

static errcode_t set_uuid(struct mkfs *mk)
{
	const char *text = mk->opts->uuid;
	uint8_t *uuid = mk->fs->super->s_uuid;
	char name[256];

	if (text && (!strcmp(text, "clear") || !strcmp(text, "null"))) {
		uuid_clear(uuid);
	} else if (text && !strcmp(text, "time")) {
		uuid_generate_time(uuid);
	} else if (text && strcmp(text, "random")) {
		if (uuid_parse(text, uuid))
			return dafs_fail(mk->ctx, DAFS_ET_USAGE,
					 "-U %s: not a UUID, clear, random or time", text);
	} else if (mk->reproducible && !text) {
		snprintf(name, sizeof(name), "%" PRId64 " %llu %u %s", mk->ctx->now_sec,
			 (unsigned long long)ext2fs_blocks_count(mk->fs->super), mk->block_size,
			 mk->opts->label ? mk->opts->label : "");
		uuid_generate_sha1(uuid, uuid_namespace, name, strlen(name));
	} else {
		uuid_generate(uuid);
	}
	return 0;
}

static void set_hash_seed(struct mkfs *mk)
{
	static const char name[] = "hash seed";
	struct ext2_super_block *super = mk->fs->super;
	uint8_t *seed = (uint8_t *)super->s_hash_seed;

	if (!uuid_is_null((const uint8_t *)mk->param.s_hash_seed))
		memcpy(seed, mk->param.s_hash_seed, sizeof(super->s_hash_seed));
	else if (mk->reproducible)
		uuid_generate_sha1(seed, super->s_uuid, name, strlen(name));
	else
		uuid_generate(seed);
}

static errcode_t set_identity(struct mkfs *mk)
{
	struct ext2_super_block *super = mk->fs->super;
	errcode_t err = set_uuid(mk);

	if (err)
		return err;
	if (ext2fs_has_feature_metadata_csum(super))
		super->s_checksum_type = EXT2_CRC32C_CHKSUM;
	if (ext2fs_has_feature_encrypt(super)) {
		super->s_encrypt_algos[0] = EXT4_ENCRYPTION_MODE_AES_256_XTS;
		super->s_encrypt_algos[1] = EXT4_ENCRYPTION_MODE_AES_256_CTS;
	}
	if (ext2fs_has_feature_csum_seed(super))
		super->s_checksum_seed =
			ext2fs_crc32c_le(~0u, super->s_uuid, sizeof(super->s_uuid));
	ext2fs_init_csum_seed(mk->fs);
	set_hash_seed(mk);
	return 0;
}

/* One time everywhere: libext2fs stamps inodes and the write time with fs->now. */
static void set_times(struct mkfs *mk)
{
	struct ext2_super_block *super = mk->fs->super;
	uint64_t now = (uint64_t)mk->ctx->now_sec;

	mk->fs->now = (time_t)now;
	super->s_mkfs_time = super->s_lastcheck = super->s_wtime = (uint32_t)now;
	super->s_mkfs_time_hi = super->s_lastcheck_hi = super->s_wtime_hi = (uint8_t)(now >> 32);
}

static errcode_t set_errors(struct mkfs *mk)
{
	static const char *const words[] = { "continue", "remount-ro", "panic" };
	const char *word = mk->opts->errors ? mk->opts->errors
					    : dafs_mkfs_conf_str(&mk->types, "errors", NULL);

	if (!word)
		return 0;
	for (uint16_t i = 0; i < 3; i++) {
		if (!strcmp(word, words[i])) {
			mk->fs->super->s_errors = (uint16_t)(EXT2_ERRORS_CONTINUE + i);
			return 0;
		}
	}
	return dafs_fail(mk->ctx, DAFS_ET_USAGE, "-e %s: not continue, remount-ro or panic", word);
}

static errcode_t set_os(struct mkfs *mk)
{
	const char *name = mk->opts->creator_os;
	char *copy;
	int os;

	if (!name)
		name = dafs_mkfs_conf_raw(mk->conf, "defaults", NULL, "creator_os");
	if (!name)
		return 0;
	copy = strdup(name);
	if (!copy)
		return ENOMEM;
	os = e2p_string2os(copy);
	free(copy);
	if (os < 0 || os == EXT2_OS_HURD)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "-o %s: %s", name,
				 os < 0 ? "not an operating system that ext4 knows"
					: "not supported");
	mk->fs->super->s_creator_os = (uint32_t)os;
	return 0;
}

static errcode_t set_hash(struct mkfs *mk)
{
	char *name = strdup(dafs_mkfs_conf_str(&mk->types, "hash_alg", "half_md4"));
	int hash;

	if (!name)
		return ENOMEM;
	hash = e2p_string2hash(name);
	free(name);
	mk->fs->super->s_def_hash_version = (uint8_t)(hash >= 0 ? hash : EXT2_HASH_HALF_MD4);
	return 0;
}

static errcode_t set_checks(struct mkfs *mk)
{
	struct ext2_super_block *super = mk->fs->super;
	bool periodic;
	errcode_t err =
		dafs_mkfs_conf_bool(mk->ctx, &mk->types, "enable_periodic_fsck", false, &periodic);
	unsigned jitter = 0;

	super->s_max_mnt_count = -1;
	if (err || !periodic)
		return err;
	/* So that file systems made together are not all checked at the same boot. */
	for (unsigned i = 0; i < sizeof(super->s_uuid); i++)
		jitter += super->s_uuid[i];
	super->s_checkinterval = CHECK_INTERVAL_SEC;
	super->s_max_mnt_count = (int16_t)(CHECK_MOUNTS + jitter % CHECK_MOUNTS);
	return 0;
}

static errcode_t set_texts(struct mkfs *mk)
{
	struct ext2_super_block *super = mk->fs->super;
	const char *label = mk->opts->label, *mounted = mk->opts->last_mounted;

	if (label && strlen(label) > sizeof(super->s_volume_name))
		dafs_notice(mk->ctx, "warning: the label is cut to '%.*s'", EXT2_LABEL_LEN, label);
	if (label)
		memcpy(super->s_volume_name, label, strnlen(label, sizeof(super->s_volume_name)));
	if (mounted && strlen(mounted) >= sizeof(super->s_last_mounted))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "-M %s: longer than %zu bytes", mounted,
				 sizeof(super->s_last_mounted) - 1);
	if (mounted)
		memcpy(super->s_last_mounted, mounted, strlen(mounted));
	super->s_flags |= mk->param.s_flags & EXT2_FLAGS_TEST_FILESYS;
	super->s_kbytes_written = 1; /* 0 tells libext2fs not to count */
	return 0;
}

/* Sizes that were asked for, in blocks, and their limits. */
static errcode_t size_journal(struct mkfs *mk)
{
	struct ext2fs_journal_params *journal = &mk->journal;
	bool fast_commit = ext2fs_has_feature_fast_commit(mk->fs->super);
	uint64_t total;

	if (mk->set.fast_commit_kb && !fast_commit)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "-J fast_commit_size needs the feature fast_commit");
	if (!mk->set.journal_size_mb && !mk->set.fast_commit_kb)
		return 0;
	total = ((uint64_t)mk->set.journal_size_mb << 20) / mk->block_size;
	if (total > MAX_JOURNAL_BLKS)
		return dafs_fail(mk->ctx, DAFS_ET_RANGE,
				 "-J size=%u: a journal has at most %d blocks",
				 mk->set.journal_size_mb, MAX_JOURNAL_BLKS);
	if (total)
		journal->num_journal_blocks = (blk_t)total;
	if (mk->set.fast_commit_kb)
		journal->num_fc_blocks =
			(blk_t)(((uint64_t)mk->set.fast_commit_kb << 10) / mk->block_size);
	else if (!fast_commit)
		journal->num_fc_blocks = 0;
	total = (uint64_t)journal->num_journal_blocks + journal->num_fc_blocks;
	if (total < MIN_JOURNAL_BLKS || total > MAX_JOURNAL_BLKS)
		return dafs_fail(mk->ctx, DAFS_ET_RANGE,
				 "a journal of %" PRIu64 " blocks (%d to %d)", total,
				 MIN_JOURNAL_BLKS, MAX_JOURNAL_BLKS);
	if (total > ext2fs_free_blocks_count(mk->fs->super) / 2)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "a journal of %" PRIu64
				 " blocks is more than half of the file system",
				 total);
	return 0;
}

static errcode_t set_journal(struct mkfs *mk)
{
	struct ext2_super_block *super = mk->fs->super;

	if (!ext2fs_has_feature_journal(super))
		return 0;
	if (!ext2fs_get_journal_params(&mk->journal, mk->fs))
		return size_journal(mk);
	/* As mke2fs does: a file system that is too small for one is made without. */
	memset(&mk->journal, 0, sizeof(mk->journal));
	dafs_notice(mk->ctx, "warning: the file system is too small for a journal");
	ext2fs_clear_feature_journal(super);
	ext2fs_clear_feature_orphan_file(super);
	return 0;
}

static errcode_t check_inodes(struct mkfs *mk)
{
	struct ext2_super_block *super = mk->fs->super;
	uint32_t least = EXT2_FIRST_INO(super);

	if (super->s_inodes_count < least)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "%u inodes are too few: %u are needed (-N, -i)",
				 super->s_inodes_count, least);
	return 0;
}

/* libext2fs tells users (mmp's device name) what the file system is called. */
static errcode_t set_name(struct mkfs *mk)
{
	char *name = NULL;
	errcode_t err = ext2fs_get_mem(strlen(mk->path) + 1, &name);

	if (err)
		return err;
	strcpy(name, mk->path);
	ext2fs_free_mem(&mk->fs->device_name);
	mk->fs->device_name = name;
	return 0;
}

errcode_t mkfs_make_super(struct mkfs *mk)
{
	static errcode_t (*const steps[])(struct mkfs * mk) = {
		set_name,   check_inodes, set_errors, set_identity, set_hash,
		set_checks, set_os,	  set_texts,  set_journal,
	};
	char name[32] = "/dev/null";
	io_manager manager = unix_io_manager;
	errcode_t err;

	/* A dry run lays out groups over nothing: it needs no device, and none that can be
	 * written. */
	if (!mk->opts->dry_run) {
		dafs_dev_io_name(mk->dev, name);
		manager = dafs_dev_io_manager();
	}
	err = ext2fs_initialize(name, EXT2_FLAG_64BITS | EXT2_FLAG_RW, &mk->param, manager,
				&mk->fs);
	if (err)
		return dafs_fail(mk->ctx, err, "%s", mk->address);
	/* Where groups are too small for a descriptor table that grows, libext2fs turns to meta
	 * block groups; what is reserved for growth is nothing then, and e2fsck insists on it. */
	if (ext2fs_has_feature_meta_bg(mk->fs->super))
		mk->fs->super->s_reserved_gdt_blocks = 0;
	/* Half of the blocks is the most; whole clusters and groups may have made them fewer. */
	if (ext2fs_r_blocks_count(mk->fs->super) > ext2fs_blocks_count(mk->fs->super) / 2)
		ext2fs_r_blocks_count_set(mk->fs->super, ext2fs_blocks_count(mk->fs->super) / 2);
	set_times(mk);
	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]) && !err; i++)
		err = steps[i](mk);
	return err;
}

/* Names of all features that are set, separated by commas. */
static char *name_features(const struct ext2_super_block *super)
{
	const __u32 *masks = &super->s_feature_compat;
	size_t len = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (int i = 0; i < 3; i++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			if (masks[i] & (UINT32_C(1) << bit))
				fprintf(out, "%s%s", ftell(out) ? "," : "",
					e2p_feature2string(i, UINT32_C(1) << bit));
		}
	}
	fclose(out);
	return text;
}

static errcode_t tell_backups(ext2_filsys fs, struct dafs_mkfs_info *info)
{
	uint64_t *blks;
	uint32_t n = 0;

	for (dgrp_t group = 1; group < fs->group_desc_count; group++)
		n += ext2fs_bg_has_super(fs, group) ? 1 : 0;
	info->backup_blks = blks = calloc(n ? n : 1, sizeof(*blks));
	if (!blks)
		return ENOMEM;
	for (dgrp_t group = 1; group < fs->group_desc_count; group++) {
		if (ext2fs_bg_has_super(fs, group))
			blks[info->nbackups++] = ext2fs_group_first_block2(fs, group);
	}
	return 0;
}

errcode_t mkfs_tell(const struct mkfs *mk, struct dafs_mkfs_info *info)
{
	ext2_filsys fs = mk->fs;
	struct ext2_super_block *super = fs->super;
	uint64_t descs = (uint64_t)super->s_reserved_gdt_blocks + fs->desc_blocks;

	*info = (struct dafs_mkfs_info){
		.path = mk->path,
		.blks = ext2fs_blocks_count(super),
		.block_size = fs->blocksize,
		.cluster_size = (uint32_t)EXT2_CLUSTER_SIZE(super),
		.inodes = super->s_inodes_count,
		.inode_size = (uint32_t)EXT2_INODE_SIZE(super),
		.groups = fs->group_desc_count,
		.blks_per_group = super->s_blocks_per_group,
		.inodes_per_group = super->s_inodes_per_group,
		.first_data_blk = super->s_first_data_block,
		.flex_groups =
			ext2fs_has_feature_flex_bg(super) ? 1u << super->s_log_groups_per_flex : 0,
		.reserved_blks = ext2fs_r_blocks_count(super),
		.stride_blks = super->s_raid_stride,
		.stripe_blks = super->s_raid_stripe_width,
		.journal_blks = mk->journal.num_journal_blocks + mk->journal.num_fc_blocks,
		.root_uid = mk->set.root_uid,
		.root_gid = mk->set.root_gid,
		.has_root_owner = mk->set.has_root_owner,
		.has_root_perms = mk->set.has_root_perms,
		.root_perms = mk->set.root_perms,
		.no_xattrs = mk->set.no_xattrs,
		.os = e2p_os2string((int)super->s_creator_os),
		.types = mk->type_list,
		.features = name_features(super),
		.file_made = mk->file_made,
	};
	if (super->s_reserved_gdt_blocks)
		info->max_resize_blks =
			descs * EXT2_DESC_PER_BLOCK(super) * super->s_blocks_per_group;
	memcpy(info->label, super->s_volume_name, sizeof(super->s_volume_name));
	uuid_unparse_lower(super->s_uuid, info->uuid);
	if (!info->features || !info->os)
		return ENOMEM;
	return tell_backups(fs, info);
}

void mkfs_tell_fini(struct dafs_mkfs_info *info)
{
	free((char *)info->os);
	free((char *)info->features);
	free((uint64_t *)info->backup_blks);
	memset(info, 0, sizeof(*info));
}
