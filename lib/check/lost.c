/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lost - lost+found: found or made, and what was cut off linked there as #INO. Where there is none
 * and neither a block nor an inode to make it of, the root directory takes its place.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdio.h>

static const char lost_name[] = "lost+found";
#define LOST_LEN (sizeof(lost_name) - 1)

/* What has the name, if it will do. */
static void judge(struct dafs_ck *ck, uint32_t *ino, bool *unlink)
{
	unsigned flags = dafs_ck_ino_flags(ck, *ino);

	*unlink = false;
	if (*ino && (flags & DAFS_CKI_TYPE) != EXT2_FT_DIR)
		*unlink = DAFS_CK_FIND(ck->main, LPF_NOTDIR, .ino = *ino);
	else if (*ino && flags & DAFS_CKI_ENC)
		*unlink = DAFS_CK_FIND(ck->main, LPF_ENCRYPTED, .ino = *ino);
	else
		return;
	*ino = 0;
}

static errcode_t make(struct dafs_ck *ck, uint32_t *ino)
{
	uint32_t made = 0;
	errcode_t err = dafs_ck_dir_make(ck, &made, EXT2_ROOT_INO, 0700);

	if (!err)
		err = dafs_ck_dir_add(ck, EXT2_ROOT_INO, lost_name, LOST_LEN, made, EXT2_FT_DIR);
	/* (The root takes in what cannot be linked anywhere else.) */
	*ino = err ? EXT2_ROOT_INO : made;
	return err == ENOSPC ? 0 : err;
}

errcode_t dafs_ck_lost_found(struct dafs_ck *ck, uint32_t *ino)
{
	struct dafs_ck_claim claim;
	bool unlink;
	errcode_t err;

	*ino = ck->lost_found;
	if (*ino || ck->lost_tried)
		return 0;
	ck->lost_tried = true;
	err = dafs_ck_dir_find(ck, EXT2_ROOT_INO, lost_name, LOST_LEN, &claim);
	*ino = claim.child;
	if (err)
		return err;
	judge(ck, ino, &unlink);
	/* What had the name gets one by its number, as everything without a name. */
	if (unlink)
		err = dafs_ck_entry_clear(ck, &claim);
	ck->again |= unlink;
	/* A root that changed in this round is looked at again first. */
	if (!err && !*ino && !(ck->fixing && ck->again)) {
		if (!dafs_ck_room_for_dir(ck))
			*ino = EXT2_ROOT_INO;
		else if (DAFS_CK_FIND(ck->main, LPF_MISSING, .dir = EXT2_ROOT_INO))
			err = make(ck, ino);
	}
	ck->lost_found = *ino;
	return err;
}

/* ---- names in it ---- */

static uint64_t name_key(const char *name, size_t len)
{
	uint64_t key = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		key = (key ^ (unsigned char)name[i]) * 0x100000001b3u;
	return key ? key : 1;
}

/* A name that nobody has there (an earlier check may have used it). */
static errcode_t free_name(struct dafs_ck *ck, uint32_t ino, char *name, size_t room, int *len)
{
	bool made = false;
	errcode_t err = 0;

	if (!ck->lost_names.n)
		err = dafs_ck_dir_names(ck, ck->lost_found, name_key, &ck->lost_names);
	*len = snprintf(name, room, "#%u", ino);
	for (unsigned i = 0; !err; i++) {
		if (!dafs_ck_map_put(&ck->lost_names, name_key(name, (size_t)*len), &made))
			err = ENOMEM;
		if (made || err)
			break;
		*len = snprintf(name, room, "#%u.%u", ino, i);
	}
	return err;
}

static errcode_t add(struct dafs_ck *ck, uint32_t ino)
{
	char name[32];
	int len;
	errcode_t err = free_name(ck, ino, name, sizeof(name), &len);

	return err ? err
		   : dafs_ck_dir_add(ck, ck->lost_found, name, (uint8_t)len, ino,
				     dafs_ck_ino_flags(ck, ino) & DAFS_CKI_TYPE);
}

errcode_t dafs_ck_reconnect(struct dafs_ck *ck, uint32_t ino, bool *done)
{
	uint32_t lost;
	errcode_t err = dafs_ck_lost_found(ck, &lost);

	*done = false;
	if (err || !lost)
		return err;
	err = add(ck, ino);
	if (err == ENOSPC && lost != EXT2_ROOT_INO) {
		dafs_ck_map_fini(&ck->lost_names);
		ck->lost_found = EXT2_ROOT_INO;
		err = add(ck, ino);
	}
	if (err == ENOSPC) {
		dafs_ck_no_room(ck->main, lost_name);
		return 0;
	}
	*done = !err;
	return err;
}
