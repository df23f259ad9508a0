/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * undo_file - the undo file: header, superblock, blocks of keys and what they are keys of; a new
 * one begun, an old one read. Does not know when something is to be saved. Layout: undo_int.h.
 */
#include "config.h"

#include "image/undo_int.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"

#define UNDO_MAGIC	"E2UNDO02"
#define KEY_BLOCK_MAGIC 0xCADECADEu

enum {
	BLOCK_BYTES = 4096, /* of files made here: blocks of the file, and of the device */
	BLOCK_BYTES_MIN = 1024,
	BLOCK_BYTES_MAX = 1 << 20,
	KEY_BYTES_MAX = 512, /* times the block size */
	COMPAT_FS_OFFSET = 1,
};

errcode_t dafs_undo_fail(const struct dafs_undo *u, errcode_t err, const char *what)
{
	return dafs_fail(u->dev->ctx, err, "%s: %s", u->path, what);
}

/* ---- bytes, header, keys ---- */

static errcode_t file_write(const struct dafs_undo *u, const void *buf, size_t len, uint64_t off)
{
	const char *at = buf;

	while (len) {
		ssize_t put = pwrite(u->fd, at, len, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return dafs_undo_fail(u, put < 0 ? errno : EIO, "writing the undo file");
		at += put;
		off += (uint64_t)put;
		len -= (size_t)put;
	}
	return 0;
}

/* All of it, or DAFS_ET_UNDO_FILE. */
static errcode_t file_read(const struct dafs_undo *u, void *buf, size_t len, uint64_t off)
{
	char *at = buf;

	while (len) {
		ssize_t got = pread(u->fd, at, len, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dafs_undo_fail(u, errno, "reading the undo file");
		if (!got)
			return dafs_undo_fail(u, DAFS_ET_UNDO_FILE, "cut short");
		at += got;
		off += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

static errcode_t file_sync(const struct dafs_undo *u)
{
	if (u->dev->ctx->no_sync || !fdatasync(u->fd))
		return 0;
	return dafs_undo_fail(u, errno, "writing the undo file");
}

static errcode_t write_header(struct dafs_undo *u)
{
	u->hdr.num_keys = htole64(u->nkeys);
	u->hdr.crc = htole32(dafs_crc32c(~0u, &u->hdr, offsetof(struct dafs_undo_header, crc)));
	return file_write(u, &u->hdr, sizeof(u->hdr), 0);
}

static errcode_t write_keys(const struct dafs_undo *u)
{
	u->keys->crc = 0;
	u->keys->crc = htole32(dafs_crc32c(~0u, u->keys, u->bs));
	return file_write(u, u->keys, u->bs, u->keys_blk * u->bs);
}

/* Everything saved so far is durable, then counts. */
errcode_t dafs_undo_durable(struct dafs_undo *u)
{
	errcode_t err;

	if (!u->waiting)
		return 0;
	err = write_keys(u);
	if (!err)
		err = file_sync(u);
	if (!err)
		err = write_header(u);
	if (!err)
		err = file_sync(u);
	u->waiting = err != 0;
	return err;
}

static void next_key_block(struct dafs_undo *u)
{
	memset(u->keys, 0, u->bs);
	u->keys->magic = htole32(KEY_BLOCK_MAGIC);
	u->keys_blk = u->end_blk++;
}

errcode_t dafs_undo_add_key(struct dafs_undo *u, uint64_t blk, uint32_t size)
{
	unsigned at = (unsigned)(u->nkeys % u->per_block);
	errcode_t err = 0;

	if (!at && u->nkeys) {
		err = write_keys(u);
		next_key_block(u);
	}
	if (!err)
		err = file_write(u, u->buf, size, u->end_blk * u->bs);
	if (err)
		return err;
	u->keys->keys[at] = (struct dafs_undo_key){ .fsblk = htole64(blk),
						    .crc = htole32(dafs_crc32c(~0u, u->buf, size)),
						    .size = htole32(size) };
	u->end_blk += (size + u->bs - 1) / u->bs;
	u->nkeys++;
	u->waiting = true;
	return 0;
}

/* Nothing but a file of its own: not the image, no device, no pipe. */
errcode_t dafs_undo_open(struct dafs_undo *u, bool *made)
{
	struct stat st, image;
	errcode_t err = 0;

	u->fd = open(u->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	if (u->fd < 0)
		return dafs_undo_fail(u, errno, "opening the undo file");
	if (fstat(u->fd, &st) || fstat(u->dev->fd, &image))
		return dafs_undo_fail(u, errno, "opening the undo file");
	if (!S_ISREG(st.st_mode))
		err = dafs_undo_fail(u, DAFS_ET_UNDO_FILE, "not a regular file");
	else if (st.st_dev == image.st_dev && st.st_ino == image.st_ino)
		err = dafs_undo_fail(u, DAFS_ET_UNDO_FILE, "is the image itself");
	*made = !err && !st.st_size;
	return err;
}

/* ---- a new file, an old one ---- */

/* The superblock as it is on the device, with its magic turned over so that the file is not taken
 * for a file system. */
static errcode_t read_super(struct dafs_undo *u, struct ext2_super_block *sb)
{
	errcode_t err = 0;

	memset(sb, 0, sizeof(*sb));
	if (u->dev->size_bytes >= SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE)
		err = u->below->pread(u->dev, sb, sizeof(*sb), SUPERBLOCK_OFFSET);
	if (err)
		return dafs_undo_fail(u, err, "the superblock cannot be read for the undo file");
	u->hdr.sb_crc = htole32(dafs_crc32c(~0u, sb, sizeof(*sb)));
	sb->s_magic = (uint16_t)~sb->s_magic;
	return 0;
}

errcode_t dafs_undo_write_super(struct dafs_undo *u)
{
	struct ext2_super_block sb;
	errcode_t err = read_super(u, &sb);

	return err ? err : file_write(u, &sb, sizeof(sb), le64toh(u->hdr.super_offset) * u->bs);
}

static errcode_t set_sizes(struct dafs_undo *u, uint32_t bs, uint32_t dev_bs)
{
	u->bs = bs;
	u->dev_bs = dev_bs;
	u->per_block = (unsigned)(bs / sizeof(struct dafs_undo_key) - 1);
	u->keys = calloc(1, bs);
	u->buf = malloc(DAFS_UNDO_RUN_BYTES_MAX);
	return u->keys && u->buf ? 0 : ENOMEM;
}

/* The new name must be there after a crash, or the saved blocks are for nothing. */
static errcode_t sync_folder(const struct dafs_undo *u)
{
	char *copy = strdup(u->path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	errcode_t err = 0;

	free(copy);
	/* (A folder that cannot be read cannot be synced; the file itself is.) */
	if (fd < 0)
		return 0;
	if (!u->dev->ctx->no_sync && fsync(fd) && errno != EINVAL)
		err = dafs_undo_fail(u, errno, "making its name durable");
	close(fd);
	return err;
}

errcode_t dafs_undo_begin_new(struct dafs_undo *u)
{
	errcode_t err = set_sizes(u, BLOCK_BYTES, BLOCK_BYTES);

	if (err)
		return err;
	memcpy(u->hdr.magic, UNDO_MAGIC, sizeof(u->hdr.magic));
	u->hdr.super_offset = htole64(1);
	u->hdr.key_offset = htole64(2);
	u->hdr.block_size = u->hdr.fs_block_size = htole32(BLOCK_BYTES);
	if (u->dev->start_bytes) {
		u->hdr.f_compat = htole32(COMPAT_FS_OFFSET);
		u->hdr.fs_offset = htole64(u->dev->start_bytes);
	}
	u->end_blk = 2;
	next_key_block(u);
	u->waiting = true;
	err = dafs_undo_write_super(u);
	if (!err)
		err = dafs_undo_durable(u);
	return err ? err : sync_folder(u);
}

static bool size_ok(uint32_t bytes)
{
	return bytes >= BLOCK_BYTES_MIN && bytes <= BLOCK_BYTES_MAX && !(bytes & (bytes - 1)) &&
	       bytes <= DAFS_UNDO_RUN_BYTES_MAX;
}

/* Is it an undo file, and the image as its run left it? */
static errcode_t judge_old(struct dafs_undo *u)
{
	struct ext2_super_block is, was;
	struct dafs_undo_header *h = &u->hdr;
	errcode_t err = file_read(u, h, sizeof(*h), 0);

	if (err)
		return err;
	if (memcmp(h->magic, UNDO_MAGIC, sizeof(h->magic)) ||
	    le32toh(h->crc) != dafs_crc32c(~0u, h, offsetof(struct dafs_undo_header, crc)))
		return dafs_undo_fail(u, DAFS_ET_UNDO_FILE, "not an undo file");
	if (h->f_incompat || h->f_rocompat || !size_ok(le32toh(h->block_size)) ||
	    !size_ok(le32toh(h->fs_block_size)))
		return dafs_undo_fail(u, DAFS_ET_UNDO_FILE, "of an unknown kind");
	if (le64toh(h->fs_offset) != u->dev->start_bytes)
		return dafs_undo_fail(u, DAFS_ET_UNDO_FILE,
				      "belongs to another place of the image's file");
	err = file_read(u, &was, sizeof(was), le64toh(h->super_offset) * le32toh(h->block_size));
	if (!err)
		err = read_super(u, &is);
	if (!err && memcmp(&was, &is, sizeof(is)))
		err = dafs_undo_fail(u, DAFS_ET_UNDO_FILE,
				     "belongs to another image, or to another state of this one");
	return err;
}

/* The keys of a block, and where their data ends. */
static errcode_t load_keys(struct dafs_undo *u, uint64_t first)
{
	errcode_t err = 0;

	for (uint64_t i = 0; i < u->per_block && first + i < u->nkeys && !err; i++) {
		uint64_t blk = le64toh(u->keys->keys[i].fsblk);
		uint32_t size = le32toh(u->keys->keys[i].size);

		if (size > (uint64_t)KEY_BYTES_MAX * u->bs || blk > UINT64_MAX / u->dev_bs)
			return dafs_undo_fail(u, DAFS_ET_UNDO_FILE, "a key out of range");
		u->end_blk += (size + u->bs - 1) / u->bs;
		err = dafs_undo_mark(u, blk, (size + u->dev_bs - 1) / u->dev_bs);
	}
	return err;
}

errcode_t dafs_undo_go_on(struct dafs_undo *u)
{
	errcode_t err = judge_old(u);

	if (!err)
		err = set_sizes(u, le32toh(u->hdr.block_size), le32toh(u->hdr.fs_block_size));
	if (err)
		return err;
	u->nkeys = le64toh(u->hdr.num_keys);
	u->end_blk = le64toh(u->hdr.key_offset);
	if (!u->nkeys)
		next_key_block(u);
	for (uint64_t first = 0; first < u->nkeys && !err; first += u->per_block) {
		uint32_t crc;

		u->keys_blk = u->end_blk++;
		err = file_read(u, u->keys, u->bs, u->keys_blk * u->bs);
		if (err)
			return err;
		crc = le32toh(u->keys->crc);
		u->keys->crc = 0;
		if (le32toh(u->keys->magic) != KEY_BLOCK_MAGIC ||
		    crc != dafs_crc32c(~0u, u->keys, u->bs))
			return dafs_undo_fail(u, DAFS_ET_UNDO_FILE, "a damaged block of keys");
		err = load_keys(u, first);
	}
	u->hdr.state = 0;
	u->waiting = true;
	return err ? err : dafs_undo_durable(u);
}
