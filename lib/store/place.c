/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * place - see place.h.
 */
#include "config.h"

#include "store/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/beside.h"

errcode_t dafs_place_path(struct dafs_image *img, const char *cache_dir, char **ret)
{
	if (!cache_dir)
		return dafs_beside_path(img->dev, img->fs->super->s_uuid, DAFS_BESIDE_CACHE, true,
					ret);
	*ret = strdup(cache_dir);
	return *ret ? 0 : ENOMEM;
}

/* --- is it safe --- */

static errcode_t unsafe(struct dafs_ctx *ctx, const char *path, const char *name, const char *why)
{
	return dafs_fail(ctx, DAFS_ET_CACHE_PLACE, "%s%s%s: %s", path, name ? "/" : "",
			 name ? name : "", why);
}

static errcode_t check_owner(struct dafs_ctx *ctx, const char *path, const char *name,
			     const struct stat *st)
{
	if (st->st_uid != geteuid())
		return unsafe(ctx, path, name, "belongs to another user");
	if (st->st_mode & 077)
		return unsafe(ctx, path, name, "others have access to it");
	return 0;
}

static errcode_t open_dir(struct dafs_place *place, bool create)
{
	struct stat st;

	if (create && mkdir(place->path, 0700) == 0)
		place->made = true;
	else if (create && errno != EEXIST)
		return dafs_fail(place->ctx, errno, "%s", place->path);
	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (place->fd < 0 && errno == ENOENT)
		return ENOENT;
	if (place->fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return unsafe(place->ctx, place->path, NULL, "not a directory, or a symbolic link");
	if (place->fd < 0 || fstat(place->fd, &st))
		return dafs_fail(place->ctx, errno, "%s", place->path);
	return check_owner(place->ctx, place->path, NULL, &st);
}

/* The image's lock comes first, so that somebody else here means two images share a cache
 * directory. */
static errcode_t lock_dir(struct dafs_place *place, bool exclusive)
{
	errcode_t err = dafs_fd_lock(place->ctx, place->fd, exclusive, place->path);

	return err == ENOLCK ? 0 : err;
}

/* SQLite takes a path, and refuses one with symlinks in it. */
static errcode_t make_real(struct dafs_place *place)
{
	char *real = realpath(place->path, NULL);

	if (!real)
		return dafs_fail(place->ctx, errno, "%s", place->path);
	free(place->path);
	place->path = real;
	return 0;
}

/* The directory's name is durable with the one above it: whoever made it may have died before
 * that. */
static errcode_t sync_above(struct dafs_place *place)
{
	int fd;
	errcode_t err = 0;

	if (place->ctx->no_sync)
		return 0;
	fd = openat(place->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		err = dafs_fail(place->ctx, errno, "%s/..", place->path);
	if (fd >= 0)
		close(fd);
	return err;
}

errcode_t dafs_place_open(struct dafs_ctx *ctx, char *path, bool create, bool exclusive,
			  struct dafs_place *place)
{
	errcode_t err;

	*place = (struct dafs_place){ .ctx = ctx, .path = path, .fd = -1 };
	err = open_dir(place, create);
	if (!err)
		err = lock_dir(place, exclusive);
	if (!err)
		err = make_real(place);
	if (!err && create)
		err = sync_above(place);
	if (err)
		dafs_place_close(place, place->made);
	return err;
}

void dafs_place_close(struct dafs_place *place, bool remove)
{
	if (!place->path)
		return;
	if (remove)
		rmdir(place->path);
	if (place->fd >= 0)
		close(place->fd);
	free(place->path);
	place->path = NULL;
	place->fd = -1;
}

errcode_t dafs_place_file(struct dafs_place *place, const char *name, int flags, int *fd)
{
	struct stat st;
	errcode_t err;

	*fd = openat(place->fd, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (*fd < 0 && errno == ENOENT)
		return ENOENT;
	if (*fd < 0 && errno == ELOOP)
		return unsafe(place->ctx, place->path, name, "is a symbolic link");
	if (*fd < 0 || fstat(*fd, &st)) {
		err = dafs_fail(place->ctx, errno, "%s/%s", place->path, name);
	} else if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
		err = unsafe(place->ctx, place->path, name, "is not a file of its own");
	} else {
		err = check_owner(place->ctx, place->path, name, &st);
	}
	if (err && *fd >= 0)
		close(*fd);
	if (err)
		*fd = -1;
	return err;
}

errcode_t dafs_place_unlink(struct dafs_place *place, const char *name)
{
	if (unlinkat(place->fd, name, 0) && errno != ENOENT)
		return dafs_fail(place->ctx, errno, "%s/%s", place->path, name);
	return 0;
}

errcode_t dafs_place_sync(struct dafs_place *place)
{
	if (!place->ctx->no_sync && fsync(place->fd))
		return dafs_fail(place->ctx, errno, "%s", place->path);
	return 0;
}
