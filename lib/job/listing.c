/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* listing - see listing.h. */
#include "config.h"

#include "job/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"

#define CAT_BYTES (1u << 20)

static errcode_t gather(void *arg, const char *name, uint8_t name_len, uint64_t id,
			uint8_t file_type)
{
	struct dafs_listing *list = arg;

	if (dafs_array_grow(&list->v, list->n, &list->room, sizeof(*list->v)))
		return ENOMEM;
	list->v[list->n] = (struct dafs_listing_entry){ strndup(name, name_len), id, file_type };
	return list->v[list->n++].name ? 0 : ENOMEM;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct dafs_listing_entry *)a)->name,
		      ((const struct dafs_listing_entry *)b)->name);
}

errcode_t dafs_listing_read(struct dafs *fs, struct dafs_inode *dir, struct dafs_listing *list)
{
	errcode_t err = dafs_ns_readdir(fs->ns, dir, gather, list);

	if (!err && list->n)
		qsort(list->v, list->n, sizeof(*list->v), by_name);
	return err;
}

void dafs_listing_fini(struct dafs_listing *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->v[i].name);
	free(list->v);
	memset(list, 0, sizeof(*list));
}

const struct dafs_listing_entry *dafs_listing_find(const struct dafs_listing *list,
						   const char *name)
{
	struct dafs_listing_entry key = { .name = (char *)name };

	if (!list->n)
		return NULL;
	return bsearch(&key, list->v, list->n, sizeof(*list->v), by_name);
}

static errcode_t write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t put = write(fd, buf, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno;
		buf += put;
		len -= (size_t)put;
	}
	return 0;
}

errcode_t dafs_listing_cat(struct dafs *fs, struct dafs_inode *inode, int fd, const char *where)
{
	char *buf = malloc(CAT_BYTES);
	errcode_t err = buf ? 0 : ENOMEM;
	size_t got;

	for (uint64_t off = 0; !err && off < inode->size; off += got) {
		err = dafs_delalloc_read(&fs->write, inode, buf, CAT_BYTES, off, &got);
		if (!err && !got)
			break;
		if (!err && write_all(fd, buf, got))
			err = dafs_fail(fs->ctx, errno, "%s", where);
		if (!err)
			err = dafs_cancelled(fs->ctx);
	}
	free(buf);
	return err;
}
