/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_mem - an image in memory as a device, and what changed in it since it was sound. */
#include "config.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static struct fuzz_mem *in_use;
static char folder[256];
static pid_t owner;

static struct fuzz_mem *mem_of(struct dafs_dev *dev)
{
	return (struct fuzz_mem *)(uintptr_t)dev->ops;
}

static void touch(struct fuzz_mem *mem, uint64_t off, uint64_t len_bytes)
{
	uint64_t first = off / FUZZ_CHUNK_BYTES, last = (off + len_bytes - 1) / FUZZ_CHUNK_BYTES;

	if (len_bytes)
		memset(mem->dirty + first, 1, last - first + 1);
}

static errcode_t mem_pread(struct dafs_dev *dev, void *buf, size_t len_bytes, uint64_t off)
{
	struct fuzz_mem *mem = mem_of(dev);

	if (off > mem->size_bytes || len_bytes > mem->size_bytes - off)
		return DAFS_ET_TRUNCATED;
	memcpy(buf, mem->bytes + off, len_bytes);
	return 0;
}

static errcode_t grow(struct fuzz_mem *mem, uint64_t end)
{
	if (end > mem->room_bytes)
		return ENOSPC;
	if (end > mem->size_bytes)
		mem->size_bytes = end;
	return 0;
}

static errcode_t mem_pwritev(struct dafs_dev *dev, const struct iovec *iov, int niov, uint64_t off)
{
	struct fuzz_mem *mem = mem_of(dev);

	for (int i = 0; i < niov; i++) {
		errcode_t err = off > FUZZ_MOST_BYTES ? ENOSPC : grow(mem, off + iov[i].iov_len);

		if (err)
			return err;
		touch(mem, off, iov[i].iov_len);
		if (iov[i].iov_len)
			memcpy(mem->bytes + off, iov[i].iov_base, iov[i].iov_len);
		off += iov[i].iov_len;
	}
	return 0;
}

static errcode_t mem_copy_from(struct dafs_dev *dev, int fd, uint64_t src_off, uint64_t off,
			       uint64_t len_bytes)
{
	(void)dev, (void)fd, (void)src_off, (void)off, (void)len_bytes;
	return EXDEV;
}

static errcode_t mem_sync(struct dafs_dev *dev)
{
	(void)dev;
	return 0;
}

static errcode_t mem_zero(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	struct fuzz_mem *mem = mem_of(dev);

	if (off > mem->size_bytes || len_bytes > mem->size_bytes - off)
		return ENOSPC;
	touch(mem, off, len_bytes);
	memset(mem->bytes + off, 0, len_bytes);
	return 0;
}

static errcode_t mem_resize(struct dafs_dev *dev, uint64_t size_bytes)
{
	struct fuzz_mem *mem = mem_of(dev);

	if (size_bytes > mem->room_bytes)
		return ENOSPC;
	if (size_bytes < mem->size_bytes) {
		touch(mem, size_bytes, mem->size_bytes - size_bytes);
		memset(mem->bytes + size_bytes, 0, mem->size_bytes - size_bytes);
	}
	mem->size_bytes = size_bytes;
	return 0;
}

static void mem_close(struct dafs_dev *dev)
{
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

static const struct dafs_dev_ops mem_ops = {
	.pread = mem_pread,
	.pwritev = mem_pwritev,
	.copy_from = mem_copy_from,
	.sync = mem_sync,
	.zero = mem_zero,
	.resize = mem_resize,
	.close = mem_close,
};

static errcode_t wrap(struct dafs_dev *dev)
{
	dev->ops = &in_use->ops;
	dev->size_bytes = in_use->size_bytes;
	return 0;
}

void fuzz_mem_use(struct fuzz_mem *mem)
{
	in_use = mem;
	dafs_dev_wrap = wrap;
}

void fuzz_mem_init(struct fuzz_mem *mem, uint64_t size_bytes)
{
	mem->ops = mem_ops;
	mem->size_bytes = size_bytes;
	mem->room_bytes = size_bytes * 2 < FUZZ_MOST_BYTES ? size_bytes * 2 : FUZZ_MOST_BYTES;
	mem->bytes = calloc(1, mem->room_bytes);
	mem->dirty = calloc(1, mem->room_bytes / FUZZ_CHUNK_BYTES + 1);
	if (!mem->bytes || !mem->dirty)
		fuzz_die("memory for an image", ENOMEM);
}

void fuzz_mem_put(struct fuzz_mem *mem, uint64_t off, const void *bytes, size_t len_bytes)
{
	if (off >= mem->size_bytes || !len_bytes)
		return;
	if (len_bytes > mem->size_bytes - off)
		len_bytes = mem->size_bytes - off;
	touch(mem, off, len_bytes);
	memcpy(mem->bytes + off, bytes, len_bytes);
}

void fuzz_mem_reset(struct fuzz_mem *mem, const struct fuzz_mem *from)
{
	for (uint64_t off = 0; off < mem->room_bytes; off += FUZZ_CHUNK_BYTES) {
		uint64_t chunk = off / FUZZ_CHUNK_BYTES;

		if (!mem->dirty[chunk])
			continue;
		memcpy(mem->bytes + off, from->bytes + off, FUZZ_CHUNK_BYTES);
		mem->dirty[chunk] = 0;
	}
	mem->size_bytes = from->size_bytes;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

/* By who made it: not by a child. */
static void remove_folder(void)
{
	if (getpid() != owner)
		return;
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
	const char *above = getenv("TMPDIR");

	if (folder[0])
		return folder;
	if (!above)
		above = access("/dev/shm", W_OK | X_OK) ? "/tmp" : "/dev/shm";
	snprintf(folder, sizeof(folder), "%s/dafs-fuzz.XXXXXX", above);
	if (!mkdtemp(folder))
		fuzz_die(above, errno);
	owner = getpid();
	atexit(remove_folder);
	setenv("TMPDIR", folder, 1);
	return folder;
}

/* A file must be there to be opened and locked; its bytes are never looked at. */
const char *fuzz_address(void)
{
	static char path[512];
	FILE *file;

	if (path[0])
		return path;
	snprintf(path, sizeof(path), "%s/image", fuzz_folder());
	file = fopen(path, "w");
	if (!file || ftruncate(fileno(file), FUZZ_MOST_BYTES) || fclose(file))
		fuzz_die("a file", errno);
	return path;
}
