/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * listing - the names of a directory as a reader sees them, gathered and in byte order; and file
 * contents to a descriptor.
 */
#ifndef DAFS_JOB_LISTING_H
#define DAFS_JOB_LISTING_H

#include "job/session.h"

struct dafs_listing_entry {
	char *name;
	uint64_t id;
	uint8_t file_type;
};

struct dafs_listing {
	struct dafs_listing_entry *v;
	size_t n, room;
};

/* Fill an empty (zeroed) listing; "." and ".." are left out. What was gathered is there on failure
 * too: dafs_listing_fini. */
errcode_t dafs_listing_read(struct dafs *fs, struct dafs_inode *dir, struct dafs_listing *list);
void dafs_listing_fini(struct dafs_listing *list);

/* The entry called name, by binary search. NULL when there is none. */
const struct dafs_listing_entry *dafs_listing_find(const struct dafs_listing *list,
						   const char *name);

/* Write a regular file's bytes to fd (holes as zeros). where: for messages about fd. */
errcode_t dafs_listing_cat(struct dafs *fs, struct dafs_inode *inode, int fd, const char *where);

#endif
