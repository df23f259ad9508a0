/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * recover - what is pending in a cache that is refused, saved into a folder of the host.
 *
 * Files, directories, links and devices (as root) get the paths, modes, times, owners (as root) and
 * extended attributes they were to have. A file of the image of which a part is pending is the
 * image's as it is now with that part in it. What has lost its name is lost+found/#ID. Image and
 * cache are left as they are.
 */
#ifndef DAFS_JOB_RECOVER_H
#define DAFS_JOB_RECOVER_H

#include "job/session.h"

struct dafs_recover_request {
	const char *cache_dir; /* NULL: the usual place */
	const char *target;    /* made here; NULL: IMAGE.recovered */
	/* Told of everything that is lost, and of files put together with the image: one line
	 * each. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

struct dafs_recover_stats {
	uint64_t files, dirs, others, bytes; /* saved; bytes: pending ones */
	uint64_t lost;			     /* findings */
	uint64_t unchecked;		     /* blocks saved whose checksums are lost */
	errcode_t why;			     /* what the cache is refused for; 0: it is not */
	char target[4096];
};

/* ENOENT: nothing is pending. EEXIST: the target is there already. */
errcode_t dafs_recover_run(struct dafs_ctx *ctx, const char *address,
			   const struct dafs_recover_request *req,
			   struct dafs_recover_stats *stats);

#endif
