/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * child - the steps of a case, each in a process of its own, so that a stop is a real one and a
 * crash is a finding.
 *
 * One case at a time: its folder, image and cache, and what the last child told, are the program's.
 */
#ifndef TESTS_FAULT_CHILD_H
#define TESTS_FAULT_CHILD_H

#include <limits.h>

#include "tests/fault/case.h"

/* What a child tells its parent. */
struct told {
	uint64_t ops;
	unsigned acknowledged; /* steps, or 1 for a flush */
	uint64_t problems;
	char text[1200];
	struct digest states
		[STATES_MOST]; /* with child_watched: the image before each transaction of a flush */
	unsigned nstates;
};

extern char child_folder[PATH_MAX], child_image[PATH_MAX], child_cache[PATH_MAX];
extern struct told *child_told;
/* Work as with --no-sync. */
extern bool child_no_sync;
/* A flush notes the image before each of its transactions. */
extern bool child_watched;

/* The folder of all that follows is made. 0, or an errno. */
int child_open(const char *where);
void child_close(void);

/* What a child does; an error is told with its text. */
typedef errcode_t (*child_fn)(struct dafs_ctx *ctx, const void *arg);

/* Run fn in a child, at the time now_sec: its exit status, or 256 + signal. t: the fault it meets,
 * or NULL. */
int child_run(child_fn fn, const void *arg, int64_t now_sec, const struct try *t);

struct child_steps {
	const struct work *work;
	unsigned n; /* the first so many */
};

errcode_t child_base(struct dafs_ctx *ctx,
		     const void *arg); /* struct work: image and what it holds before */
errcode_t
child_commands(struct dafs_ctx *ctx,
	       const void *arg); /* struct child_steps: each as a process of its own would do it */
errcode_t child_memory(struct dafs_ctx *ctx,
		       const void *arg); /* struct child_steps: and flush, without a cache */
errcode_t
child_flush(struct dafs_ctx *ctx,
	    const void *arg); /* all, a path, or a number of bytes, as of struct work's part */
errcode_t child_settle(struct dafs_ctx *ctx, const void *arg);	 /* open and close */
errcode_t child_verify(struct dafs_ctx *ctx,
		       const void *arg); /* open, which settles, and look at the cache: problems */
errcode_t child_check(struct dafs_ctx *ctx, const void *arg);	 /* dafsck's status: problems */

#endif
