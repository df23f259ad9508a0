/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * place - the folder of an offline cache: where it is, whether it is safe, and its removal.
 *
 * Safe: a folder of our own (no symlink), open to nobody else; then nobody else can put anything into it either.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

static errcode_t device_place(struct dafs_image *img, char **place)
{
	const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
	char uuid[UUID_STR_LEN];
	int got;

	uuid_unparse_lower(img->fs->super->s_uuid, uuid);
	if (state && *state == '/')
		got = asprintf(place, "%s/dafs/%s.dacache", state, uuid);
	else if (home && *home == '/')
		got = asprintf(place, "%s/.local/state/dafs/%s.dacache", home, uuid);
	else
		return dafs_fail(img->ctx, DAFS_ET_CACHE_PLACE, "%s: neither XDG_STATE_HOME nor HOME is set", img->dev->address);
	return got < 0 ? ENOMEM : 0;
}

errcode_t dafs_place_name(struct dafs_image *img, const char *cache_dir, char **place)
{
	int got;

	*place = NULL;
	if (cache_dir)
		got = (*place = strdup(cache_dir)) ? 0 : -1;
	else if (img->dev->is_block)
		return device_place(img, place);
	else if (img->dev->start_bytes)
		got = asprintf(place, "%s@%" PRIu64 ".dacache", img->dev->path, img->dev->start_bytes);
	else
		got = asprintf(place, "%s.dacache", img->dev->path);
	if (got < 0) {
		*place = NULL;
		return ENOMEM;
	}
	return 0;
}

/* Make the folders above, as mkdir -p does, for the state folder of devices. */
static void make_parents(const char *place)
{
	char *copy = strdup(place);

	for (char *slash = copy ? strchr(copy + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(copy, 0700);
		*slash = '/';
	}
	free(copy);
}

errcode_t dafs_place_check(struct dafs_ctx *ctx, const char *place, bool make)
{
	struct stat st;

	if (make && mkdir(place, 0700) && errno == ENOENT) {
		make_parents(place);
		if (mkdir(place, 0700))
			return dafs_fail(ctx, errno, "%s", place);
	} else if (make && access(place, F_OK)) {
		return dafs_fail(ctx, errno, "%s", place);
	}
	if (lstat(place, &st))
		return errno == ENOENT ? ENOENT : dafs_fail(ctx, errno, "%s", place);
	if (!S_ISDIR(st.st_mode))
		return dafs_fail(ctx, DAFS_ET_CACHE_PLACE, "%s is not a folder", place);
	if (st.st_uid != geteuid())
		return dafs_fail(ctx, DAFS_ET_CACHE_PLACE, "%s belongs to user %u", place, st.st_uid);
	if (st.st_mode & 077)
		return dafs_fail(ctx, DAFS_ET_CACHE_PLACE, "%s is open to others (mode %04o)", place, st.st_mode & 07777u);
	return 0;
}

char *dafs_place_file(const char *place, const char *file)
{
	char *path;

	return asprintf(&path, "%s/%s", place, file) < 0 ? NULL : path;
}

errcode_t dafs_place_has(const char *place, const char *file, bool *has)
{
	char *path = dafs_place_file(place, file);
	struct stat st;

	*has = false;
	if (!path)
		return ENOMEM;
	*has = !lstat(path, &st);
	free(path);
	return 0;
}

errcode_t dafs_place_remove(struct dafs_ctx *ctx, const char *place)
{
	/* The database first: without it nothing is pending, whatever else is left behind. */
	static const char *const files[] = { DAFS_STORE_DB, DAFS_STORE_DB "-wal", DAFS_STORE_DB "-shm", DAFS_STORE_DB "-journal",
					     DAFS_STORE_SPOOL };
	errcode_t err = dafs_place_check(ctx, place, false);

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && !err; i++) {
		char *path = dafs_place_file(place, files[i]);

		if (!path)
			return ENOMEM;
		if (unlink(path) && errno != ENOENT)
			err = dafs_fail(ctx, errno, "%s", path);
		free(path);
	}
	if (!err && rmdir(place) && errno != ENOTEMPTY && errno != EEXIST && errno != EBUSY)
		err = dafs_fail(ctx, errno, "%s", place);
	return err;
}
