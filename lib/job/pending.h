/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pending - what waits in an image's offline cache, for tools that are about other things: is there
 * any, and does it fit the image as it lies there?
 */
#ifndef DAFS_JOB_PENDING_H
#define DAFS_JOB_PENDING_H

#include "base/ctx.h"

#include <stdint.h>

struct dafs_pending {
	bool there;
	errcode_t err; /* why it cannot be used with the image as it is; 0: it fits */
	uint64_t inodes, names; /* that wait, when it fits */
	char place[4096];	/* the cache's folder */
};

/* Look into the cache in its usual place; nothing is changed, and no failure is recorded in ctx. An
 * image that cannot be opened has none that could be asked. */
void dafs_pending_look(struct dafs_ctx *ctx, const char *address, struct dafs_pending *pending);

#endif
