/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_fill - make a file system and fill it from the host, in one process: mkdafs -d.
 *
 * mkfs hands the image over in memory, the import makes everything pending over it (host files are
 * only referred to), one flush places and writes it, and the superblock comes last. Nothing is
 * spooled but what comes out of an archive.
 *
 *	[auto: measure the source, choose the size]
 *	dafs_mkfs_run -> session over the image -> import -> root's attributes -> flush -> finish
 *
 * Invariant: a run that fails or is killed leaves nothing that mounts; a file that it made is gone.
 */
#ifndef DAFS_JOB_MKFS_FILL_H
#define DAFS_JOB_MKFS_FILL_H

#include "job/import.h"
#include "job/mkfs.h"

struct dafs_fill_opts {
	struct dafs_mkfs_opts mkfs; /* fill is set by this module */
	const char *src;	    /* directory, archive, or "-": an archive on standard input */
	bool auto_size;		    /* mkfs.fs_bytes is chosen: what src needs */
	uint64_t slack_bytes; /* with auto_size: free beside that, reserved blocks among it */
};

struct dafs_fill_stats {
	struct dafs_import_stats import;
	struct dafs_flush_stats flush;
};

/* Make and fill a file system at address. The root directory takes the attributes of src where it
 * has them, unless -E root_owner or root_perms say otherwise. stats is zero after a dry run.
 * Errors: those of dafs_mkfs_run and dafs_import_run; DAFS_ET_FEATURE for features that cannot be
 * filled, DAFS_ET_USAGE for an image that lies in the tree it is filled from. */
errcode_t dafs_mkfs_fill(struct dafs_ctx *ctx, const char *address,
			 const struct dafs_fill_opts *opts, struct dafs_fill_stats *stats);

/* Choose the smallest number of blocks for which src fits with opts->slack_bytes to spare: sets
 * mkfs->fs_bytes. Geometry is that of a file system of this size and these options; where the usual
 * number of inodes is too small, it is what src needs: sets mkfs->inodes (0: the usual number).
 * address is for messages. src is read several times (names and attributes; an archive to its end),
 * and has to stay as it is until it is written. DAFS_ET_NOSPC_*, DAFS_ET_NOINODES where no size
 * helps. */
errcode_t dafs_mkfs_auto(struct dafs_ctx *ctx, const char *address,
			 const struct dafs_fill_opts *opts, struct dafs_mkfs_opts *mkfs);

#endif
