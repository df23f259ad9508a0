/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pass3 - can every directory be reached from the root, and does its .. say so?
 *
 * Verifies: the root exists, no directory is unreachable or its own ancestor, .. is the parent.
 * Leaves for the next: the final parents.
 *
 * Each directory is walked up once: a walk ends at one that was settled before, so the whole pass
 * is linear.
 */
#include "config.h"

#include "check/check_int.h"

enum { UNKNOWN, ON_PATH, SETTLED };

static void settle_path(struct dafs_ck *ck, struct dafs_ck_dir *dir)
{
	while (dir && dir->state == ON_PATH) {
		dir->state = SETTLED;
		dir = dafs_ck_dir(ck, dir->parent);
	}
}

/* Walk up from dir; the topmost one that cannot be reached is complained about. */
static void walk_up(struct dafs_ck *ck, struct dafs_ck_dir *dir)
{
	struct dafs_ck_dir *at = dir;
	struct dafs_ck_worker *w = ck->main;

	while (at->state == UNKNOWN) {
		struct dafs_ck_dir *up = at->parent ? dafs_ck_dir(ck, at->parent) : NULL;

		at->state = ON_PATH;
		if (at->ino == EXT2_ROOT_INO)
			break;
		if (!up || !(dafs_ck_ino_flags(ck, up->ino) & DAFS_CKI_USED)) {
			DAFS_CK_FIND(w, DIR_UNCONNECTED, .ino = at->ino, .dir = at->dotdot);
			break;
		}
		if (up->state == ON_PATH) {
			DAFS_CK_FIND(w, DIR_LOOP, .ino = at->ino, .dir = at->parent);
			break;
		}
		at = up;
	}
	settle_path(ck, dir);
}

errcode_t dafs_ck_pass3(struct dafs_ck *ck)
{
	struct dafs_ck_worker *w = ck->main;

	if (!(dafs_ck_ino_flags(ck, EXT2_ROOT_INO) & DAFS_CKI_USED) ||
	    !dafs_ck_dir(ck, EXT2_ROOT_INO)) {
		DAFS_CK_FIND(w, ROOT_MISSING, .ino = EXT2_ROOT_INO);
		return 0;
	}
	for (size_t i = 0; i < ck->ndirs; i++) {
		struct dafs_ck_dir *dir = &ck->dirs[i];

		if (!(dafs_ck_ino_flags(ck, dir->ino) & DAFS_CKI_USED))
			continue;
		walk_up(ck, dir);
		if (dir->parent != dir->dotdot)
			DAFS_CK_FIND(w, DOTDOT_WRONG, .ino = dir->ino, .found = dir->dotdot,
				     .want = dir->parent);
	}
	return 0;
}
