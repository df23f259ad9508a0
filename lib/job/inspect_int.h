/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inspect_int - what the files of inspect share: damage that is noted and worked around.
 */
#ifndef DAFS_JOB_INSPECT_INT_H
#define DAFS_JOB_INSPECT_INT_H

#include "job/inspect.h"

/* What was found wrong: the first problem, with its detail, is what the walk returns at its end;
 * the ones behind it are said as notices, up to DAFS_DAMAGE_NOTICES. Zeroed: nothing yet. */
#define DAFS_DAMAGE_NOTICES 20
struct dafs_damage {
	errcode_t err;
	uint64_t more;
	char detail[sizeof(((struct dafs_ctx *)0)->detail)];
};

/* Is err something to go on after? Not so for lack of memory and for being cancelled. */
bool dafs_damage_passable(errcode_t err);

/* Note err (0: nothing happens) with the context's detail if it is passable, and return 0; else
 * return err. */
errcode_t dafs_damage_note(struct dafs_damage *damage, struct dafs_ctx *ctx, errcode_t err);

/* What to return at the end: err if it is one, else what was noted, its detail put back. */
errcode_t dafs_damage_end(const struct dafs_damage *damage, struct dafs_ctx *ctx, errcode_t err);

#endif
