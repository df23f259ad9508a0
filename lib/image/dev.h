/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dev - the bytes an image lives in: a file, a block device, or a part of either. The one bottom of all image I/O.
 *
 * Everything that reads or writes an image goes through struct dafs_dev_ops, so that the fault tests can stack a device of
 * their own on it and see every operation (data, metadata, copies, syncs) in its order. Offsets are in bytes from the image's
 * start; a partition or ?offset= is added below. Bounds are checked here.
 *
 * Addresses: PATH, PATH?offset=N[KMGT], PATH:pN, PATH:PARTLABEL=NAME, or a block device (DESIGN.md section 7). A path that exists
 * as written wins over the address reading of its tail.
 */
#ifndef DAFS_IMAGE_DEV_H
#define DAFS_IMAGE_DEV_H

#include <sys/uio.h>
#include <ext2fs/ext2fs.h>

#include "base/ctx.h"

enum dafs_dev_flags {
	DAFS_DEV_RW = 1,
	DAFS_DEV_CREATE = 2,	/* make a regular file when absent */
	DAFS_DEV_EXCL = 4,	/* block device: O_EXCL and not mounted, else DAFS_ET_MOUNTED */
};

struct dafs_dev;
struct dafs_dev_ops {
	errcode_t (*pread)(struct dafs_dev *dev, void *buf, size_t len_bytes, uint64_t off);
	errcode_t (*pwritev)(struct dafs_dev *dev, const struct iovec *iov, int niov, uint64_t off);
	/* Copy len bytes from fd at src_off; may share blocks. EXDEV/EOPNOTSUPP/EINVAL: not possible, use pwritev. */
	errcode_t (*copy_from)(struct dafs_dev *dev, int fd, uint64_t src_off, uint64_t off, uint64_t len_bytes);
	errcode_t (*sync)(struct dafs_dev *dev);
	errcode_t (*zero)(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes);	/* reads as zeros afterwards */
	errcode_t (*resize)(struct dafs_dev *dev, uint64_t size_bytes);			/* regular files only */
	void (*close)(struct dafs_dev *dev);
};

struct dafs_dev {
	const struct dafs_dev_ops *ops;
	struct dafs_ctx *ctx;
	char *address;			/* as the user wrote it: for messages */
	char *path;			/* the file or device itself */
	int fd;
	uint64_t start_bytes;		/* of the image inside the file */
	uint64_t size_bytes;		/* of the image's room: partition size, or file size less start */
	bool is_block, writable, partition;
	uint64_t nreads, nwrites, read_bytes, written_bytes, nsyncs;	/* statistics */
};

/* Open an address. Errors name address and cause: DAFS_ET_ADDRESS, DAFS_ET_NO_PARTITION, DAFS_ET_MOUNTED, errno. */
errcode_t dafs_dev_open(struct dafs_ctx *ctx, const char *address, int flags, struct dafs_dev **ret);
void dafs_dev_close(struct dafs_dev *dev);

errcode_t dafs_dev_read(struct dafs_dev *dev, void *buf, size_t len_bytes, uint64_t off);
errcode_t dafs_dev_write(struct dafs_dev *dev, const void *buf, size_t len_bytes, uint64_t off);
errcode_t dafs_dev_writev(struct dafs_dev *dev, const struct iovec *iov, int niov, uint64_t off);
errcode_t dafs_dev_copy_from(struct dafs_dev *dev, int fd, uint64_t src_off, uint64_t off, uint64_t len_bytes);
errcode_t dafs_dev_zero(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes);
/* Durable when it returns; nothing with ctx->no_sync. */
errcode_t dafs_dev_sync(struct dafs_dev *dev);

/* Tests: called on every device just opened, may wrap its ops. */
extern errcode_t (*dafs_dev_wrap)(struct dafs_dev *dev);

/* An io_manager for libext2fs over an open device, with an optional transaction overlay (image.h wires it). The name to give
 * ext2fs_open2/ext2fs_initialize is made by dafs_dev_io_name. */
io_manager dafs_dev_io_manager(void);

#endif
