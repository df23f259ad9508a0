/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inherit - what a new inode gets from its directory, by ext4's rules: flags, project, group, and
 * the default ACL, which becomes its access ACL and cuts its mode (POSIX 1003.1e draft 17, section
 * 23.1.5), and a directory's own default ACL.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INHERITED_FLAGS                                                                            \
	(EXT2_SECRM_FL | EXT2_UNRM_FL | EXT2_COMPR_FL | EXT2_SYNC_FL | EXT2_NODUMP_FL |            \
	 EXT2_NOATIME_FL | EXT2_NOCOMPR_FL | EXT3_JOURNAL_DATA_FL | EXT2_NOTAIL_FL |               \
	 EXT2_DIRSYNC_FL | EXT4_PROJINHERIT_FL | EXT4_CASEFOLD_FL | FS_DAX_FL)
/* Those that make sense for directories only. */
#define DIRECTORY_FLAGS (EXT2_DIRSYNC_FL | EXT4_PROJINHERIT_FL | EXT4_CASEFOLD_FL)
/* Those that symlinks, devices, fifos and sockets may have. */
#define OTHER_FLAGS (EXT2_NODUMP_FL | EXT2_NOATIME_FL)

static uint32_t inherited_flags(uint32_t from, uint16_t mode)
{
	uint32_t flags = from & INHERITED_FLAGS;

	if (S_ISREG(mode))
		return flags & ~(uint32_t)DIRECTORY_FLAGS;
	return S_ISDIR(mode) ? flags : flags & OTHER_FLAGS;
}

/* --- ACLs, in the form getxattr(2) gives: a version, then entries, all little endian --- */

enum { ACL_VERSION = 2, ACL_HEADER_BYTES = 4, ACL_ENTRY_BYTES = 8 };
enum {
	TAG_USER_OBJ = 1,
	TAG_USER = 2,
	TAG_GROUP_OBJ = 4,
	TAG_GROUP = 8,
	TAG_MASK = 16,
	TAG_OTHER = 32
};

struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

static struct acl_entry *entry_at(uint8_t *acl, uint32_t i)
{
	return (struct acl_entry *)(acl + ACL_HEADER_BYTES + (size_t)i * ACL_ENTRY_BYTES);
}

/* Cut one entry and one class of the mode to what both allow. */
static void cut(struct acl_entry *entry, uint16_t *mode, unsigned shift)
{
	uint16_t both = (uint16_t)(ext2fs_le16_to_cpu(entry->perm) & 7 & (*mode >> shift));

	entry->perm = ext2fs_cpu_to_le16(both);
	*mode = (uint16_t)((*mode & ~(7u << shift)) | (unsigned)both << shift);
}

/* The access ACL and mode of an inode made with mode under a default ACL. *needed: the ACL says
 * more than the mode. */
static errcode_t mask_acl(uint8_t *acl, uint32_t n, uint16_t *mode, bool *needed)
{
	struct acl_entry *group = NULL, *mask = NULL;

	*needed = false;
	for (uint32_t i = 0; i < n; i++) {
		struct acl_entry *entry = entry_at(acl, i);

		switch (ext2fs_le16_to_cpu(entry->tag)) {
		case TAG_USER_OBJ:
			cut(entry, mode, 6);
			break;
		case TAG_USER:
		case TAG_GROUP:
			*needed = true;
			break;
		case TAG_GROUP_OBJ:
			group = entry;
			break;
		case TAG_MASK:
			mask = entry;
			break;
		case TAG_OTHER:
			cut(entry, mode, 0);
			break;
		default:
			return DAFS_ET_CORRUPT_XATTR;
		}
	}
	if (!group)
		return DAFS_ET_CORRUPT_XATTR;
	if (mask)
		*needed = true;
	cut(mask ? mask : group, mode, 3);
	return 0;
}

static errcode_t inherit_acl(struct dafs_inode *inode, const struct dafs_xattr *acl)
{
	uint32_t n = (acl->value_len - ACL_HEADER_BYTES) / ACL_ENTRY_BYTES;
	uint8_t *copy;
	bool needed;
	errcode_t err;

	if (acl->value_len < ACL_HEADER_BYTES ||
	    (acl->value_len - ACL_HEADER_BYTES) % ACL_ENTRY_BYTES ||
	    dafs_xattr_value(acl)[0] != ACL_VERSION)
		return DAFS_ET_CORRUPT_XATTR;
	copy = malloc(acl->value_len);
	if (!copy)
		return ENOMEM;
	memcpy(copy, dafs_xattr_value(acl), acl->value_len);
	err = mask_acl(copy, n, &inode->mode, &needed);
	if (!err && needed)
		err = dafs_xattr_put(&inode->xattrs, "system.posix_acl_access", copy,
				     acl->value_len);
	if (!err && S_ISDIR(inode->mode))
		err = dafs_xattr_put(&inode->xattrs, "system.posix_acl_default",
				     dafs_xattr_value(acl), acl->value_len);
	if (!err && inode->xattrs)
		inode->state |= DAFS_I_XATTR;
	free(copy);
	return err;
}

errcode_t dafs_ns_inherit(struct dafs_ns *ns, struct dafs_inode *dir, struct dafs_inode *inode)
{
	const struct dafs_xattr *acl;
	errcode_t err;

	inode->iflags = inherited_flags(dir->iflags, inode->mode);
	if (ns->img->has_extents && (S_ISREG(inode->mode) || S_ISDIR(inode->mode)))
		inode->iflags |= EXT4_EXTENTS_FL;
	if (dir->iflags & EXT4_PROJINHERIT_FL)
		inode->projid = dir->projid;
	if (dir->mode & S_ISGID) {
		inode->gid = dir->gid;
		if (S_ISDIR(inode->mode))
			inode->mode |= S_ISGID;
	}
	if (S_ISLNK(inode->mode))
		return 0;
	err = dafs_ns_xattrs(ns, dir);
	if (err)
		return err;
	acl = dafs_xattr_get(dir->xattrs, "system.posix_acl_default");
	return acl ? inherit_acl(inode, acl) : 0;
}
