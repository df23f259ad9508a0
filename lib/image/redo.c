/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * redo - see redo.h.
 */
#include "config.h"

#include "image/redo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "image/beside.h"

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

enum { IN_CACHE, BESIDE, PLACES };

/* May a record be in that folder? As the cache's own rules: the caller's, and nobody else's to look
 * into. */
static bool folder_ok(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       !(st.st_mode & 077);
}

/* Where a record may be. *path NULL: not there. */
static errcode_t place_path(struct dafs_dev *dev, const uint8_t uuid[16], int place, bool make,
			    char **path)
{
	char *folder;
	errcode_t err;

	*path = NULL;
	if (place == BESIDE)
		return dafs_beside_path(dev, uuid, "dafs-redo", make, path);
	err = dafs_beside_path(dev, uuid, DAFS_BESIDE_CACHE, make, &folder);
	if (!err && folder_ok(folder) && asprintf(path, "%s/redo", folder) < 0) {
		*path = NULL;
		err = ENOMEM;
	}
	free(folder);
	return err;
}

/* Where a new one goes. */
static errcode_t new_path(struct dafs_dev *dev, const uint8_t uuid[16], char **path)
{
	errcode_t err = place_path(dev, uuid, IN_CACHE, true, path);

	return err || *path ? err : place_path(dev, uuid, BESIDE, true, path);
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
	char *path;
	errcode_t err = new_path(img->dev, img->fs->super->s_uuid, &path);
	int fd = -1;

	if (err)
		return err;
	/* Whatever is there was looked at when the image was opened, and is none. */
	if (!unlink(path) || errno == ENOENT)
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
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
		if (fd >= 0)
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
	errcode_t err = 0;

	for (int place = 0; place < PLACES && !err; place++) {
		char *path;

		err = place_path(dev, uuid, place, false, &path);
		if (!err && path && !access(path, F_OK))
			err = drop_path(ctx, path);
		free(path);
	}
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

/* The record at path; *record NULL: none that counts. */
static errcode_t find_at(struct dafs_ctx *ctx, const char *path, bool write, void **record,
			 size_t *len_bytes)
{
	struct dafs_redo_head head;
	errcode_t err = read_file(ctx, path, record, len_bytes);

	if (err || record_ok(*record, *len_bytes, &head))
		return err == ENOENT ? 0 : err;
	/* It was being written when the process died: nothing of that commit is in the image. */
	free(*record);
	*record = NULL;
	if (!write)
		return 0;
	dafs_notice(ctx, "%s: incomplete, removed: that commit did not happen", path);
	return drop_path(ctx, path);
}

errcode_t dafs_redo_find_file(struct dafs_ctx *ctx, struct dafs_dev *dev, const uint8_t uuid[16],
			      bool write, void **record, size_t *len_bytes)
{
	errcode_t err = 0;

	*record = NULL;
	*len_bytes = 0;
	for (int place = 0; place < PLACES && !err && !*record; place++) {
		char *path;

		err = place_path(dev, uuid, place, false, &path);
		if (err == ENOENT) /* no home: nothing was ever saved there */
			return 0;
		if (!err && path)
			err = find_at(ctx, path, write, record, len_bytes);
		free(path);
	}
	return err;
}
