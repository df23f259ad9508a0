/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * import - host trees and archives into the pending name space, with everything cp -a keeps.
 *
 * Content, holes, mode, owner, nanosecond times, xattrs (ACLs and capabilities among them), hard
 * links within one import, symlinks, devices, fifos, sockets. What exists in the image is merged: a
 * directory takes the source's attributes, anything else is replaced by the source's entry of that
 * name; a file never replaces a directory nor the other way round.
 *
 * With a fixed clock (SOURCE_DATE_EPOCH) times later than it are clamped to it, and access times
 * follow the modification times, so that equal sources give equal images.
 *
 * What is read when: names and attributes at once, in sorted order; file contents at the flush
 * where the session adopts host files, else at once into the spool.
 */
#ifndef DAFS_JOB_IMPORT_H
#define DAFS_JOB_IMPORT_H

#include "job/session.h"

struct dafs_import_stats {
	uint64_t entries, files, dirs, bytes;
};

/* The contents of directory src, or of the tar file src ("-": standard input), into dst_dir, which
 * is made when absent and takes the source's own attributes. Errors name the host path. On failure
 * the caller cancels the command (dafs_cancel). */
errcode_t dafs_import_run(struct dafs *fs, const char *src, const char *dst_dir,
			  struct dafs_import_stats *stats);

/* cp -a SRC... DST: one source may become DST itself; into DST under their own names where DST is a
 * directory. */
errcode_t dafs_put_run(struct dafs *fs, char *const *srcs, size_t nsrcs, const char *dst,
		       struct dafs_import_stats *stats);

#endif
