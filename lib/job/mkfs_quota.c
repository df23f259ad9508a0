/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_quota - the quota files of a new file system, in which root and lost+found are accounted.
 *
 * What counts is what e2fsck counts: the root directory and the ordinary inodes in use so far; the
 * special files, quota files among them, belong to nobody.
 */
#include "config.h"

#include "job/mkfs_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/qcodec.h"

/* A new file system has root's owner and 0. */
struct usage {
	struct dafs_quota_entry entries[2];
	unsigned n;
};

static void add_usage(struct usage *usage, uint32_t id, uint64_t bytes)
{
	unsigned at = 0;

	while (at < usage->n && usage->entries[at].id < id)
		at++;
	if (at == usage->n || usage->entries[at].id != id) {
		for (unsigned i = usage->n++; i > at; i--)
			usage->entries[i] = usage->entries[i - 1];
		usage->entries[at] = (struct dafs_quota_entry){ .id = id };
	}
	usage->entries[at].inodes++;
	usage->entries[at].bytes += bytes;
}

static errcode_t count_usage(struct mkfs *mk, struct usage usages[DAFS_QUOTA_TYPES])
{
	ext2_ino_t counted[2] = { EXT2_ROOT_INO, 0 };
	struct ext2_inode inode;
	errcode_t err = ext2fs_lookup(mk->fs, EXT2_ROOT_INO, "lost+found", 10, NULL, &counted[1]);

	for (unsigned i = 0; i < 2 && !err; i++) {
		uint64_t bytes;

		err = ext2fs_read_inode(mk->fs, counted[i], &inode);
		if (err)
			break;
		bytes = ext2fs_get_stat_i_blocks(mk->fs, &inode) << 9;
		add_usage(&usages[DAFS_QUOTA_USER], inode_uid(inode), bytes);
		add_usage(&usages[DAFS_QUOTA_GROUP], inode_gid(inode), bytes);
		add_usage(&usages[DAFS_QUOTA_PROJECT], 0, bytes);
	}
	return err;
}

/* The inode of a type's file. Those of users and groups are reserved ones. */
static errcode_t take_inode(ext2_filsys fs, unsigned type, ext2_ino_t *ino)
{
	errcode_t err = 0;

	*ino = type == DAFS_QUOTA_USER ? EXT4_USR_QUOTA_INO : EXT4_GRP_QUOTA_INO;
	if (type == DAFS_QUOTA_PROJECT) {
		err = ext2fs_new_inode(fs, EXT2_ROOT_INO, LINUX_S_IFREG | 0600, NULL, ino);
		if (!err)
			ext2fs_inode_alloc_stats2(fs, *ino, +1, 0);
	}
	return err;
}

static errcode_t write_file(ext2_filsys fs, ext2_ino_t ino, const uint8_t *bytes, size_t len)
{
	struct ext2_inode inode = { .i_mode = LINUX_S_IFREG | 0600, .i_links_count = 1 };
	ext2_file_t file = NULL;
	unsigned written;
	errcode_t err, closed;

	if (ext2fs_has_feature_extents(fs->super)) {
		ext2_extent_handle_t handle;

		inode.i_flags |= EXT4_EXTENTS_FL;
		err = ext2fs_extent_open2(fs, ino, &inode, &handle);
		if (err)
			return err;
		ext2fs_extent_free(handle);
	}
	inode.i_flags |= EXT2_IMMUTABLE_FL;
	err = ext2fs_write_new_inode(fs, ino, &inode);
	if (!err)
		err = ext2fs_file_open(fs, ino, EXT2_FILE_WRITE, &file);
	if (err)
		return err;
	err = ext2fs_file_write(file, bytes, (unsigned)len, &written);
	if (!err && written != len)
		err = ENOSPC;
	closed = ext2fs_file_close(file);
	return err ? err : closed;
}

static void set_quota_inode(struct ext2_super_block *super, unsigned type, ext2_ino_t ino)
{
	if (type == DAFS_QUOTA_USER)
		super->s_usr_quota_inum = ino;
	else if (type == DAFS_QUOTA_GROUP)
		super->s_grp_quota_inum = ino;
	else
		super->s_prj_quota_inum = ino;
}

static errcode_t make_file(struct mkfs *mk, unsigned type, const struct usage *usage)
{
	ext2_ino_t ino;
	uint8_t *bytes;
	size_t len;
	errcode_t err = dafs_qcodec_encode(mk->ctx, type, usage->entries, usage->n, &bytes, &len);

	if (!err)
		err = take_inode(mk->fs, type, &ino);
	if (!err)
		err = write_file(mk->fs, ino, bytes, len);
	if (!err)
		set_quota_inode(mk->fs->super, type, ino);
	free(bytes);
	return err;
}

errcode_t mkfs_build_quota(struct mkfs *mk)
{
	struct usage usages[DAFS_QUOTA_TYPES] = { 0 };
	unsigned types = mk->set.quota_types;
	errcode_t err;

	if (!ext2fs_has_feature_quota(mk->fs->super))
		return 0;
	if (!types)
		types = MKFS_QUOTA_USER | MKFS_QUOTA_GROUP;
	if (ext2fs_has_feature_project(mk->fs->super))
		types |= MKFS_QUOTA_PROJECT;
	err = count_usage(mk, usages);
	for (unsigned type = 0; type < DAFS_QUOTA_TYPES && !err; type++) {
		if (types & (1u << type))
			err = make_file(mk, type, &usages[type]);
	}
	return err ? dafs_fail(mk->ctx, err, "%s: making quota files", mk->address) : 0;
}
