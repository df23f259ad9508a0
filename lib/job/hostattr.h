/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostattr - what the host knows of a file, as dafs keeps it: attributes, extended attributes,
 * where its data are.
 */
#ifndef DAFS_JOB_HOSTATTR_H
#define DAFS_JOB_HOSTATTR_H

#include "job/session.h"

/* A host file: an open directory and a name in it; path is for messages. */
struct dafs_hostent {
	int dir_fd;
	const char *name;
	const char *path;
	struct statx st;
};

/* Fill ent->st (the link itself, not its target). errno with the path. */
errcode_t dafs_hostattr_stat(struct dafs_ctx *ctx, struct dafs_hostent *ent);

/* Mode bits, times and device numbers into inode; the inode's type must be the entry's. Clamps
 * times (import.h). */
void dafs_hostattr_fill(const struct dafs_ctx *ctx, const struct statx *st,
			struct dafs_inode *inode);
/* The same of an inode of the session, and its owner, who may be refused more (dafs_ns_chown). */
errcode_t dafs_hostattr_apply(struct dafs *fs, const struct statx *st, struct dafs_inode *inode);

/* The entry's extended attributes that an ext4 image can hold, as a set. Names of other kinds of
 * file systems are left out. */
errcode_t dafs_hostattr_xattrs(struct dafs_ctx *ctx, const struct dafs_hostent *ent,
			       struct dafs_xattr **set);

/* Replace inode's set by set (taken over, on failure too). Checks that it fits:
 * DAFS_ET_XATTR_TOO_BIG names file and attribute. */
errcode_t dafs_hostattr_set_xattrs(struct dafs *fs, struct dafs_inode *inode,
				   struct dafs_xattr *set);

/* The block ranges of fd that hold data (SEEK_DATA), up to size; *whole when there is no hole at
 * all (list empty then). */
errcode_t dafs_hostattr_data(struct dafs_ctx *ctx, int fd, const char *path, uint64_t size,
			     uint32_t block_size, struct dafs_extlist *data, bool *whole);

#endif
