/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sync - make a directory of the image equal to a host directory, touching only what differs.
 *
 * An entry is left alone when type, size, modification time, mode, owner, device and xattrs agree.
 * Where only attributes differ they are set; where size or time differ contents are compared block
 * by block and only differing blocks are written. With remove_extra, names that the source does not
 * have go. Hard links of the source are kept as in an import.
 */
#ifndef DAFS_JOB_SYNC_H
#define DAFS_JOB_SYNC_H

#include "job/session.h"

enum dafs_sync_change {
	DAFS_SYNC_ADD,
	DAFS_SYNC_UPDATE,	/* contents */
	DAFS_SYNC_ATTR,		/* attributes only */
	DAFS_SYNC_REPLACE,	/* of another type */
	DAFS_SYNC_DELETE,
};

struct dafs_sync_request {
	const char *src, *dst;
	bool remove_extra;
	bool dry_run;
	/* Told of every change, before it is made. NULL: nobody. path: in the image. */
	void (*change)(void *arg, enum dafs_sync_change what, const char *path);
	void *change_arg;
};

struct dafs_sync_stats {
	uint64_t added, updated, attrs, replaced, deleted, same, written_bytes;
};

/* Run it. On failure the caller cancels the command (dafs_cancel). */
errcode_t dafs_sync_run(struct dafs *fs, const struct dafs_sync_request *req,
			struct dafs_sync_stats *stats);

#endif
