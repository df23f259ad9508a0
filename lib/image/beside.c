/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* beside - see beside.h. */
#include "config.h"

#include "image/beside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uuid/uuid.h>

/* Make dir and those above it that a user's state lives in. */
static errcode_t make_above(struct dafs_ctx *ctx, const char *dir)
{
	char *path = strdup(dir), *slash;
	errcode_t err = 0;

	if (!path)
		return ENOMEM;
	for (slash = path; !err && (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
		*slash = '\0';
		if (mkdir(path, 0700) && errno != EEXIST && errno != EROFS && errno != EACCES)
			err = dafs_fail(ctx, errno, "%s", path);
	}
	if (!err && mkdir(path, 0700) && errno != EEXIST)
		err = dafs_fail(ctx, errno, "%s", path);
	free(path);
	return err;
}

static errcode_t state_path(struct dafs_dev *dev, const uint8_t uuid[16], const char *suffix,
			    bool make, char **ret)
{
	const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
	char text[UUID_STR_LEN], *dir = NULL;
	errcode_t err = 0;
	int got;

	uuid_unparse_lower(uuid, text);
	if (state && state[0] == '/')
		got = asprintf(&dir, "%s/dafs", state);
	else if (home && home[0] == '/')
		got = asprintf(&dir, "%s/.local/state/dafs", home);
	else
		return dafs_fail(dev->ctx, ENOENT,
				 "%s: neither XDG_STATE_HOME nor HOME says where its cache goes",
				 dev->address);
	if (got < 0)
		return ENOMEM;
	if (make)
		err = make_above(dev->ctx, dir);
	if (!err && asprintf(ret, "%s/%s.%s", dir, text, suffix) < 0)
		err = ENOMEM;
	free(dir);
	if (err)
		*ret = NULL;
	return err;
}

errcode_t dafs_beside_path(struct dafs_dev *dev, const uint8_t uuid[16], const char *suffix,
			   bool make, char **ret)
{
	char *real;
	int got;

	*ret = NULL;
	if (dev->is_block)
		return state_path(dev, uuid, suffix, make, ret);
	real = realpath(dev->path, NULL);
	if (!real && errno == ENOENT)
		real = strdup(dev->path);
	if (!real)
		return dafs_fail(dev->ctx, errno, "%s", dev->path);
	if (dev->start_bytes)
		got = asprintf(ret, "%s@%" PRIu64 ".%s", real, dev->start_bytes, suffix);
	else
		got = asprintf(ret, "%s.%s", real, suffix);
	free(real);
	if (got < 0) {
		*ret = NULL;
		return ENOMEM;
	}
	return 0;
}
