/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * names - the names of a host directory in byte order, in one piece of memory.
 */
#ifndef DAFS_JOB_NAMES_H
#define DAFS_JOB_NAMES_H

#include "base/ctx.h"

struct dafs_names {
	char *bytes;		/* all names, each NUL-terminated */
	size_t used, room;
	uint32_t *at;		/* where each begins, sorted */
	size_t n, nroom;
};

/* Read all names of the open directory fd, which stays the caller's; "." and ".." are left out.
 * names: zeroed. errno with path. */
errcode_t dafs_names_read(struct dafs_ctx *ctx, int fd, const char *path, struct dafs_names *names);
const char *dafs_names_get(const struct dafs_names *names, size_t i);
void dafs_names_fini(struct dafs_names *names);

#endif
