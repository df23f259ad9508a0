/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * recover - what can still be read of a cache that is refused: damaged, short of its spool, or
 * of an image that was changed.
 *
 * It looks row by row and believes what its checksum vouches for; nothing is changed, and nothing
 * settled. A damaged table is read from both ends, and then between them, in ever smaller ranges.
 */
#ifndef DAFS_STORE_RECOVER_H
#define DAFS_STORE_RECOVER_H

#include "store/store.h"

struct dafs_recover_watch {
	/* A name of directory dir whose child is pending or was moved (name->id is not 0). NULL:
	 * not wanted. */
	errcode_t (*name)(void *arg, uint64_t dir, const struct dafs_ns_name *name);
	/* A pending inode with all that its rows say, for the time of the call. */
	errcode_t (*inode)(void *arg, const struct dafs_inode *inode);
	/* One line about what cannot be read. NULL: not wanted. */
	void (*lost)(void *arg, const char *line);
};

/* Open the cache of img whatever its state. *why: what an ordinary opening would refuse it for, 0
 * if nothing. ENOENT: there is none, or all of it is in the image. DAFS_ET_CACHE_VERSION,
 * DAFS_ET_CACHE_PLACE and a database that is none at all stay errors. */
errcode_t dafs_recover_open(struct dafs_image *img, const char *cache_dir, errcode_t *why,
			    struct dafs_store **ret);

/* Blocks that were read without a checksum, because spool.sum is lost or too short. */
uint64_t dafs_recover_unsummed_blks(const struct dafs_store *st);

/* All names, then all inodes. An error of a callback ends it. */
errcode_t dafs_recover_walk(struct dafs_store *st, const struct dafs_recover_watch *watch,
			    void *arg);

#endif
