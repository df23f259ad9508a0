/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * redo - see redo.h.
 */
#include "config.h"

#include "image/redo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "base/crc32c.h"

enum { SUPER_BYTES = 1024, HALF = SUPER_BYTES / 2, RECORD_VERSION = 1, CRC_BYTES = 4 };

static const char magic[8] = { 'd', 'a', 'f', 's', 'r', 'e', 'd', 'o' };

static void halves(const uint8_t *super, uint32_t crc[2])
{
	crc[0] = dafs_crc32c(~0u, super, HALF);
	crc[1] = dafs_crc32c(~0u, super + HALF, HALF);
}

errcode_t dafs_redo_make(struct dafs_image *img, const struct dafs_journal_block *blocks, size_t n,
			 const void *was, const void *is, void **record, size_t *len_bytes)
{
	size_t len = sizeof(struct dafs_redo_head) + n * (8 + (size_t)img->block_size) + CRC_BYTES;
	struct dafs_redo_head head = { .version = RECORD_VERSION,
				       .block_size = img->block_size,
				       .n = n };
	uint8_t *rec = malloc(len), *at = rec;
	uint32_t crc;

	*record = NULL;
	*len_bytes = 0;
	if (!rec)
		return ENOMEM;
	memcpy(head.magic, magic, sizeof(magic));
	memcpy(head.uuid, img->fs->super->s_uuid, sizeof(head.uuid));
	halves(was, head.was_crc);
	halves(is, head.is_crc);
	memcpy(at, &head, sizeof(head));
	at += sizeof(head);
	for (size_t i = 0; i < n; i++, at += 8)
		memcpy(at, &blocks[i].pblk, 8);
	for (size_t i = 0; i < n; i++, at += img->block_size)
		memcpy(at, blocks[i].data, img->block_size);
	crc = dafs_crc32c(~0u, rec, len - CRC_BYTES);
	memcpy(at, &crc, CRC_BYTES);
	*record = rec;
	*len_bytes = len;
	return 0;
}

/* Whole, of this version, and of a size that fits its own numbers. */
static bool record_ok(const uint8_t *rec, size_t len, struct dafs_redo_head *head)
{
	uint32_t crc;

	if (len < sizeof(*head) + CRC_BYTES)
		return false;
	memcpy(head, rec, sizeof(*head));
	memcpy(&crc, rec + len - CRC_BYTES, CRC_BYTES);
	len -= sizeof(*head) + CRC_BYTES;
	return memcmp(head->magic, magic, sizeof(magic)) == 0 && head->version == RECORD_VERSION &&
	       head->block_size >= 1024 && head->block_size <= 65536 &&
	       head->n == len / (8 + (uint64_t)head->block_size) &&
	       head->n * (8 + (uint64_t)head->block_size) == len &&
	       dafs_crc32c(~0u, rec, sizeof(*head) + len) == crc;
}

/* The image must stand where the record begins, where it ends, or between. */
static errcode_t check_place(struct dafs_ctx *ctx, struct dafs_dev *dev,
			     const struct dafs_redo_head *head)
{
	uint8_t super[SUPER_BYTES];
	uint32_t crc[2];
	errcode_t err = dafs_dev_read(dev, super, sizeof(super), SUPER_BYTES);

	if (err)
		return err;
	halves(super, crc);
	for (int i = 0; i < 2; i++) {
		if (crc[i] == head->was_crc[i] || crc[i] == head->is_crc[i])
			continue;
		if (memcmp(((struct ext2_super_block *)super)->s_uuid, head->uuid,
			   sizeof(head->uuid)))
			return dafs_fail(ctx, DAFS_ET_CORRUPT_JOURNAL,
					 "%s: redo record of another file system", dev->address);
		return dafs_fail(ctx, DAFS_ET_CACHE_STALE, "%s: redo record", dev->address);
	}
	return 0;
}

errcode_t dafs_redo_walk(struct dafs_ctx *ctx, struct dafs_dev *dev, const void *record,
			 size_t len_bytes,
			 errcode_t (*fn)(void *arg, uint64_t pblk, const uint8_t *data), void *arg)
{
	const uint8_t *rec = record, *numbers = rec + sizeof(struct dafs_redo_head), *blocks;
	struct dafs_redo_head head;
	errcode_t err;

	if (!record_ok(rec, len_bytes, &head))
		return dafs_fail(ctx, DAFS_ET_CORRUPT_JOURNAL, "%s: redo record", dev->address);
	err = check_place(ctx, dev, &head);
	blocks = numbers + head.n * 8;
	for (uint64_t i = 0; i < head.n && !err; i++) {
		uint64_t pblk;

		memcpy(&pblk, numbers + i * 8, 8);
		if (pblk >= dev->size_bytes / head.block_size)
			return dafs_fail(ctx, DAFS_ET_CORRUPT_JOURNAL,
					 "%s: redo record: block %" PRIu64, dev->address, pblk);
		err = fn(arg, pblk, blocks + i * head.block_size);
	}
	return err;
}

struct apply_arg {
	struct dafs_dev *dev;
	uint32_t block_size;
};

static errcode_t apply_block(void *arg, uint64_t pblk, const uint8_t *data)
{
	struct apply_arg *to = arg;

	return dafs_dev_write(to->dev, data, to->block_size, pblk * to->block_size);
}

errcode_t dafs_redo_apply(struct dafs_ctx *ctx, struct dafs_dev *dev, const void *record,
			  size_t len_bytes)
{
	struct apply_arg arg = { .dev = dev };
	struct dafs_redo_head head;
	errcode_t err;

	if (record_ok(record, len_bytes, &head))
		arg.block_size = head.block_size;
	err = dafs_redo_walk(ctx, dev, record, len_bytes, apply_block, &arg);
	return err ? err : dafs_dev_sync(dev);
}

/* --- the file --- */

/* Make the folders of path that are missing, 0700 each. Failure shows when the file is made. */
static void make_folders(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		(void)!mkdir(path, 0700);
		*at = '/';
	}
}

static char *device_path(const uint8_t uuid[16], bool make)
{
	const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
	char text[UUID_STR_LEN], *path = NULL;
	int len;

	uuid_unparse_lower(uuid, text);
	if (state && *state == '/')
		len = asprintf(&path, "%s/dafs/%s.dafs-redo", state, text);
	else
		len = asprintf(&path, "%s/.local/state/dafs/%s.dafs-redo",
			       home && *home == '/' ? home : "/root", text);
	if (len < 0)
		return NULL;
	if (make)
		make_folders(path);
	return path;
}

static char *file_path(const struct dafs_dev *dev, const uint8_t uuid[16], bool make)
{
	char *path = NULL;
	int len;

	if (dev->is_block)
		return device_path(uuid, make);
	if (dev->start_bytes)
		len = asprintf(&path, "%s@%" PRIu64 ".dafs-redo", dev->path, dev->start_bytes);
	else
		len = asprintf(&path, "%s.dafs-redo", dev->path);
	return len < 0 ? NULL : path;
}

/* The name of a file is durable when its folder is. */
static errcode_t sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder =
		slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	errcode_t err = 0;

	free(folder);
	if (fd < 0)
		return errno;
	if (fsync(fd) && errno != EINVAL)
		err = errno;
	close(fd);
	return err;
}

static errcode_t write_all(int fd, const void *buf, size_t len)
{
	const char *at = buf;

	while (len) {
		ssize_t put = write(fd, at, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : EIO;
		at += put;
		len -= (size_t)put;
	}
	return 0;
}

errcode_t dafs_redo_save_file(struct dafs_image *img, const void *record, size_t len_bytes)
{
	char *path = file_path(img->dev, img->fs->super->s_uuid, true);
	errcode_t err = 0;
	int fd;

	if (!path)
		return ENOMEM;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		err = errno;
	if (!err)
		err = write_all(fd, record, len_bytes);
	if (!err && !img->ctx->no_sync && fsync(fd))
		err = errno;
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	if (!err && !img->ctx->no_sync)
		err = sync_folder(path);
	if (err) {
		unlink(path);
		dafs_fail(img->ctx, err, "%s", path);
	}
	free(path);
	return err;
}

static errcode_t drop_path(struct dafs_ctx *ctx, const char *path)
{
	errcode_t err = 0;

	if (unlink(path))
		err = errno;
	if (!err && !ctx->no_sync)
		err = sync_folder(path);
	return err ? dafs_fail(ctx, err, "%s", path) : 0;
}

errcode_t dafs_redo_remove_file(struct dafs_ctx *ctx, struct dafs_dev *dev, const uint8_t uuid[16])
{
	char *path = file_path(dev, uuid, false);
	errcode_t err = path ? drop_path(ctx, path) : ENOMEM;

	free(path);
	return err;
}

/* All of a file; ENOENT when there is none. One that is not ours to trust (a link, another's) is
 * refused. */
static errcode_t read_file(struct dafs_ctx *ctx, const char *path, void **buf, size_t *len)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	errcode_t err = 0;
	struct stat st;
	ssize_t got;

	*buf = NULL;
	*len = 0;
	if (fd < 0)
		return errno == ENOENT ? ENOENT : dafs_fail(ctx, errno, "%s", path);
	if (fstat(fd, &st))
		err = errno;
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
		 (st.st_mode & (S_IWGRP | S_IWOTH)))
		err = DAFS_ET_CACHE_PLACE;
	if (!err) {
		*buf = malloc((size_t)st.st_size + 1);
		err = *buf ? 0 : ENOMEM;
	}
	while (!err && *len < (size_t)st.st_size) {
		got = read(fd, (char *)*buf + *len, (size_t)st.st_size - *len);
		if (got < 0 && errno != EINTR)
			err = errno;
		if (got == 0)
			break;
		*len += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	if (!err)
		return 0;
	free(*buf);
	*buf = NULL;
	return dafs_fail(ctx, err, "%s", path);
}

errcode_t dafs_redo_find_file(struct dafs_ctx *ctx, struct dafs_dev *dev, const uint8_t uuid[16],
			      bool write, void **record, size_t *len_bytes)
{
	char *path = file_path(dev, uuid, false);
	struct dafs_redo_head head;
	errcode_t err;

	*record = NULL;
	*len_bytes = 0;
	if (!path)
		return ENOMEM;
	err = read_file(ctx, path, record, len_bytes);
	if (!err && !record_ok(*record, *len_bytes, &head)) {
		/* It was being written when the process died: nothing of that commit is in the
		 * image. */
		if (write) {
			dafs_notice(ctx, "%s: incomplete, removed: that commit did not happen",
				    path);
			err = drop_path(ctx, path);
		}
		free(*record);
		*record = NULL;
	}
	free(path);
	return err == ENOENT ? 0 : err;
}
