/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extract - files of the image onto the host: contents with their holes, modes, times, owners (as
 * root), xattrs, hard links.
 *
 * The image is not trusted. Invariants of a tree's extraction:
 *  1. every host object is made or opened relative to the open descriptor of its directory, with
 *     O_NOFOLLOW, new files with O_EXCL: no symlink, neither one from the image nor one that was
 *     there, is ever followed;
 *  2. a name that is not one plain path component ("", ".", "..", with a slash or a NUL) is left
 *     out and noted (DAFS_ET_UNSAFE_PATH);
 *  3. a directory of the image is entered once, whatever its entries say.
 */
#ifndef DAFS_JOB_EXTRACT_H
#define DAFS_JOB_EXTRACT_H

#include "job/inspect.h"

/* Write the contents of in (loaded, with data or inline) to fd. sparse: fd is a new regular file,
 * holes are left in it; else zeros are written for them. where names fd in messages. */
errcode_t dafs_extract_data(struct dafs_image *img, const struct dafs_inspect *in, int fd,
			    bool sparse, const char *where);

/* Owner of in for the open file or directory fd, as root only. Takes capabilities away: before
 * extended attributes. */
errcode_t dafs_extract_owner(struct dafs_image *img, const struct dafs_inspect *in, int fd,
			     const char *where);

/* Mode and times. Without root the set-id bits are left out. */
errcode_t dafs_extract_mode(struct dafs_image *img, const struct dafs_inspect *in, int fd,
			    const char *where);

struct dafs_extract_stats {
	uint64_t files, dirs, symlinks, specials, links, bytes;
	uint64_t xattrs_skipped; /* that the host does not take */
};

struct dafs_extract_request {
	uint32_t ino;	  /* what to extract, a tree if it is a directory */
	const char
		*name; /* its name in the target; NULL: a directory's contents go there directly */
	const char *target;
	/* Told of everything that could not be extracted as it is, with the detail in the context;
	 * the work goes on. */
	void (*note)(void *arg, errcode_t err);
	void *arg;
};

/* Extract into the directory target, which must exist. What is there under the same names: a
 * directory is merged, anything else replaced. Fails for what prevents all the rest only: target,
 * memory, being cancelled. */
errcode_t dafs_extract_tree(struct dafs_image *img, const struct dafs_extract_request *req,
			    struct dafs_extract_stats *stats);

#endif
