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

#include <errno.h>

enum { UNKNOWN, ON_PATH, SETTLED };

static void settle_path(struct dafs_ck *ck, struct dafs_ck_dir *dir)
{
	while (dir && dir->state == ON_PATH) {
		dir->state = SETTLED;
		dir = dafs_ck_dir(ck, dir->parent);
	}
}

/* Link a directory that nobody names into lost+found. */
static errcode_t reconnect(struct dafs_ck *ck, struct dafs_ck_dir *dir)
{
	bool done;
	errcode_t err = dafs_ck_reconnect(ck, dir->ino, &done);

	if (!err && done) {
		dir->parent = ck->lost_found;
		err = dafs_ck_dotdot_set(ck, dir, ck->lost_found);
	}
	return err;
}

/* A circle of directories, each named by the next: one loses its name and goes to lost+found. */
static errcode_t cut_loop(struct dafs_ck *ck, struct dafs_ck_dir *dir)
{
	struct dafs_ck_claim claim;
	errcode_t err = dafs_ck_dir_find_ino(ck, dir->parent, dir->ino, &claim);

	if (!err && claim.child)
		err = dafs_ck_entry_clear(ck, &claim);
	return err ? err : reconnect(ck, dir);
}

/* Walk up from dir; the topmost one that cannot be reached is complained about. */
static errcode_t walk_up(struct dafs_ck *ck, struct dafs_ck_dir *dir)
{
	struct dafs_ck_dir *at = dir;
	struct dafs_ck_worker *w = ck->main;
	errcode_t err = 0;

	while (at->state == UNKNOWN) {
		struct dafs_ck_dir *up = at->parent ? dafs_ck_dir(ck, at->parent) : NULL;

		at->state = ON_PATH;
		if (at->ino == EXT2_ROOT_INO)
			break;
		if (!up || !(dafs_ck_ino_flags(ck, up->ino) & DAFS_CKI_USED)) {
			if (DAFS_CK_FIND(w, DIR_UNCONNECTED, .ino = at->ino, .dir = at->dotdot))
				err = reconnect(ck, at);
			break;
		}
		if (up->state == ON_PATH) {
			if (DAFS_CK_FIND(w, DIR_LOOP, .ino = at->ino, .dir = at->parent))
				err = cut_loop(ck, at);
			break;
		}
		at = up;
	}
	settle_path(ck, dir);
	return err;
}

static errcode_t make_root(struct dafs_ck *ck)
{
	uint32_t ino = EXT2_ROOT_INO;
	errcode_t err;

	if (!DAFS_CK_FIND(ck->main, ROOT_MISSING, .ino = EXT2_ROOT_INO))
		return 0;
	err = dafs_ck_dir_make(ck, &ino, 0, 0755);
	if (err == ENOSPC) {
		dafs_ck_no_room(ck->main, "the root directory");
		err = 0;
	}
	return err;
}

errcode_t dafs_ck_pass3(struct dafs_ck *ck)
{
	struct dafs_ck_worker *w = ck->main;
	uint32_t lost;
	errcode_t err;

	if (!(dafs_ck_ino_flags(ck, EXT2_ROOT_INO) & DAFS_CKI_USED) ||
	    !dafs_ck_dir(ck, EXT2_ROOT_INO))
		return make_root(ck);
	err = dafs_ck_lost_found(ck, &lost);
	for (size_t i = 0; i < ck->ndirs && !err; i++) {
		struct dafs_ck_dir *dir = &ck->dirs[i];

		if (!(dafs_ck_ino_flags(ck, dir->ino) & DAFS_CKI_USED))
			continue;
		err = walk_up(ck, dir);
		if (err || dir->parent == dir->dotdot)
			continue;
		if (DAFS_CK_FIND(w, DOTDOT_WRONG, .ino = dir->ino, .found = dir->dotdot,
				 .want = dir->parent) &&
		    dir->parent)
			err = dafs_ck_dotdot_set(ck, dir, dir->parent);
	}
	return err;
}
