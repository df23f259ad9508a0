/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* names - see names.h. */
#include "config.h"

#include "job/names.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"

void dafs_names_fini(struct dafs_names *names)
{
	free(names->bytes);
	free(names->at);
	memset(names, 0, sizeof(*names));
}

const char *dafs_names_get(const struct dafs_names *names, size_t i)
{
	return names->bytes + names->at[i];
}

static errcode_t names_add(struct dafs_names *names, const char *name)
{
	size_t len = strlen(name) + 1;

	if (names->used + len > names->room) {
		size_t room = names->room ? names->room * 2 : 4096;
		char *bytes = realloc(names->bytes, room);

		if (!bytes)
			return ENOMEM;
		names->bytes = bytes;
		names->room = room;
	}
	if (dafs_array_grow(&names->at, names->n, &names->nroom, sizeof(*names->at)))
		return ENOMEM;
	names->at[names->n++] = (uint32_t)names->used;
	memcpy(names->bytes + names->used, name, len);
	names->used += len;
	return 0;
}

static int by_name(const void *a, const void *b, void *bytes)
{
	return strcmp((char *)bytes + *(const uint32_t *)a, (char *)bytes + *(const uint32_t *)b);
}

errcode_t dafs_names_read(struct dafs_ctx *ctx, int fd, const char *path, struct dafs_names *names)
{
	int own = dup(fd);
	DIR *dir = own < 0 ? NULL : fdopendir(own);
	struct dirent *de;
	errcode_t err = 0;

	if (!dir) {
		err = dafs_fail(ctx, errno, "%s", path);
		if (own >= 0)
			close(own);
		return err;
	}
	while (!err && (errno = 0, de = readdir(dir))) {
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			err = names_add(names, de->d_name);
	}
	if (!err && errno)
		err = dafs_fail(ctx, errno, "%s", path);
	closedir(dir);
	if (!err && names->n)
		qsort_r(names->at, names->n, sizeof(*names->at), by_name, names->bytes);
	return err;
}
