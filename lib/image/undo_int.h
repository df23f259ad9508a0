/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * undo_int - what undo.c (when something is saved) and undo_file.c (how it lies in the file) share.
 */
#ifndef DAFS_IMAGE_UNDO_INT_H
#define DAFS_IMAGE_UNDO_INT_H

#include "image/undo.h"

#include <pthread.h>

#include "image/txn_int.h"

enum {
	DAFS_UNDO_RUN_BYTES_MAX = 256 << 10, /* e2undo takes up to 512 blocks of the file a key */
	DAFS_UNDO_STATE_FINISHED = 1,
};

/* ---- layout: e2undo(8)'s "E2UNDO02", little-endian ---- */

struct dafs_undo_header {
	char magic[8];
	uint64_t num_keys;
	uint64_t super_offset, key_offset; /* in blocks of the file */
	uint32_t block_size, fs_block_size;
	uint32_t sb_crc;
	uint32_t state;
	uint32_t f_compat, f_incompat, f_rocompat;
	uint32_t pad;
	uint64_t fs_offset; /* in bytes */
	uint8_t padding[436];
	uint32_t crc;
};
_Static_assert(sizeof(struct dafs_undo_header) == 512, "layout of the undo header");

struct dafs_undo_key {
	uint64_t fsblk;
	uint32_t crc, size;
};

struct dafs_undo_keys {
	uint32_t magic, crc;
	uint64_t reserved;
	struct dafs_undo_key keys[];
};

struct dafs_undo {
	struct dafs_dev_ops ops; /* first: dev->ops points at it */
	const struct dafs_dev_ops *below;
	struct dafs_dev *dev;
	pthread_mutex_t lock;
	char *path;
	int fd;
	struct dafs_undo_header hdr; /* as on disk, but for num_keys */
	uint32_t bs, dev_bs;	     /* block sizes of file and device */
	uint64_t nkeys;		     /* in all */
	unsigned per_block;	     /* keys that a key block holds */
	struct dafs_undo_keys *keys; /* the last one, being filled */
	uint64_t keys_blk, end_blk;
	struct dafs_undo_page *saved; /* blocks of the device */
	uint8_t *buf;		      /* DAFS_UNDO_RUN_BYTES_MAX */
	bool waiting;		      /* something is not durable */
	errcode_t err;
};

/* ---- undo_file.c ---- */

/* The detail line for what went wrong with the file; err. */
errcode_t dafs_undo_fail(const struct dafs_undo *u, errcode_t err, const char *what);
/* Open u->path, made if absent. *made: it is empty. DAFS_ET_UNDO_FILE: no regular file, or the
 * image itself; errno. */
errcode_t dafs_undo_open(struct dafs_undo *u, bool *made);
/* Header, superblock and first key block of a new file, durable with its name. */
errcode_t dafs_undo_begin_new(struct dafs_undo *u);
/* Read what an earlier run saved, and mark the file as not finished. DAFS_ET_UNDO_FILE: damaged, or
 * not of this image in its present state. */
errcode_t dafs_undo_go_on(struct dafs_undo *u);
/* Append u->buf as the contents of size bytes from block blk of the device on. It counts when
 * dafs_undo_durable was there. */
errcode_t dafs_undo_add_key(struct dafs_undo *u, uint64_t blk, uint32_t size);
/* Everything saved so far is durable, then counts. */
errcode_t dafs_undo_durable(struct dafs_undo *u);
/* The superblock as it is on the device now. */
errcode_t dafs_undo_write_super(struct dafs_undo *u);

/* ---- undo.c ---- */

/* n blocks of the device are in the file. ENOMEM. */
errcode_t dafs_undo_mark(struct dafs_undo *u, uint64_t blk, uint64_t n);

#endif
