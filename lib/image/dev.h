/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dev - the bytes an image lives in: a file, a block device, or a part of either. The one bottom of
 * all image I/O.
 *
 * Everything that reads or writes an image goes through struct dafs_dev_ops, so that the fault
 * tests can stack a device of their own on it and see every operation (data, metadata, copies,
 * syncs) in its order. Offsets are in bytes from the image's start; a partition or ?offset= is
 * added below. Bounds are checked here.
 *
 * Addresses: PATH, PATH?offset=N[KMGT], PATH:pN, PATH:PARTLABEL=NAME, or a block device (DESIGN.md
 * section 7). A path that exists as written wins over the address reading of its tail.
 */
#ifndef DAFS_IMAGE_DEV_H
#define DAFS_IMAGE_DEV_H

#include <sys/queue.h>
#include <sys/uio.h>
#include <ext2fs/ext2fs.h>

#include "base/ctx.h"

enum dafs_dev_flags {
	DAFS_DEV_RW = 1,
	DAFS_DEV_CREATE = 2, /* make a regular file when absent */
	/* Block device: O_EXCL. Neither it nor a loop device over the file may be mounted
	 * (DAFS_ET_MOUNTED). */
	DAFS_DEV_EXCL = 4,
};

struct dafs_dev;
struct dafs_dev_ops {
	errcode_t (*pread)(struct dafs_dev *dev, void *buf, size_t len_bytes, uint64_t off);
	errcode_t (*pwritev)(struct dafs_dev *dev, const struct iovec *iov, int niov, uint64_t off);
	/* Copy len bytes from fd at src_off; may share blocks. EXDEV/EOPNOTSUPP/EINVAL: not
	 * possible, use pwritev. */
	errcode_t (*copy_from)(struct dafs_dev *dev, int fd, uint64_t src_off, uint64_t off,
			       uint64_t len_bytes);
	errcode_t (*sync)(struct dafs_dev *dev);
	errcode_t (*zero)(struct dafs_dev *dev, uint64_t off,
			  uint64_t len_bytes); /* reads as zeros afterwards */
	/* The range holds nothing any more: a hole in a file, and what a device makes of it. */
	errcode_t (*discard)(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes);
	errcode_t (*resize)(struct dafs_dev *dev, uint64_t size_bytes); /* regular files only */
	void (*close)(struct dafs_dev *dev);
};

/*
 * What stands over the bytes of an image for readers and writers that come through libext2fs:
 * blocks a transaction or a replayed journal holds in memory. Set by txn.h; without one, I/O goes
 * straight to the device.
 */
struct dafs_dev_overlay {
	/* Replace in buf, which was just read from [off, off+len), what the overlay has. */
	errcode_t (*patch)(void *arg, uint64_t off, size_t len_bytes, void *buf);
	/* Take a write over. */
	errcode_t (*write)(void *arg, uint64_t off, size_t len_bytes, const void *buf);
	void *arg;
};

struct dafs_dev {
	const struct dafs_dev_ops *ops;
	const struct dafs_dev_overlay *overlay; /* NULL: none */
	unsigned id;				/* names the device to libext2fs */
	LIST_ENTRY(dafs_dev) link;
	struct dafs_ctx *ctx;
	char *address; /* as the user wrote it: for messages */
	char *path;    /* the file or device itself */
	int fd;
	uint64_t start_bytes; /* of the image inside the file */
	uint64_t size_bytes;  /* of the image's room: partition size, or file size less start */
	bool is_block, writable, partition;
	uint64_t nreads, nwrites, read_bytes, written_bytes, nsyncs; /* statistics */
};

/* Open an address. Errors name address and cause: DAFS_ET_ADDRESS, DAFS_ET_NO_PARTITION,
 * DAFS_ET_MOUNTED, errno. The context must outlive the device. */
errcode_t dafs_dev_open(struct dafs_ctx *ctx, const char *address, int flags,
			struct dafs_dev **ret);
/* Close; nothing is synced here. NULL is fine. */
void dafs_dev_close(struct dafs_dev *dev);

/* Read or write len bytes at off, all of them. Errors name the address and the place:
 * DAFS_ET_TRUNCATED for a read that reaches past the end of the image's room, ENOSPC for such a
 * write where the room cannot grow (a partition, a device), EROFS on a device opened for reading,
 * errno. A file grows by what is written past its end. Reads and writes may be issued by several
 * threads. */
errcode_t dafs_dev_read(struct dafs_dev *dev, void *buf, size_t len_bytes, uint64_t off);
/* A range will be read soon: the host may begin to. Only a hint; parts past the end do not
 * matter. */
void dafs_dev_ahead(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes);
errcode_t dafs_dev_write(struct dafs_dev *dev, const void *buf, size_t len_bytes, uint64_t off);
errcode_t dafs_dev_writev(struct dafs_dev *dev, const struct iovec *iov, int niov, uint64_t off);
/* Copy from a file descriptor (see copy_from above): EXDEV, EOPNOTSUPP, EINVAL or ENOSYS, without
 * detail, mean "use writes". */
errcode_t dafs_dev_copy_from(struct dafs_dev *dev, int fd, uint64_t src_off, uint64_t off,
			     uint64_t len_bytes);
/* May a copy from a file beside the image share its blocks, or at least not pass through this
 * machine? By the kind of the file system that the image's file lies on: elsewhere reading and
 * writing is faster than copying. False for a block device. */
bool dafs_dev_shares(const struct dafs_dev *dev);
/* Make a range read as zeros: a hole in a file where the host can, else zeros are written. */
errcode_t dafs_dev_zero(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes);
/* Give a range's space back to the host; what it reads as afterwards is anybody's guess.
 * EOPNOTSUPP (no detail): the host or the device cannot. */
errcode_t dafs_dev_discard(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes);
/* Let the host forget what it holds of the image in memory, as far as it does that. */
void dafs_dev_forget_cache(struct dafs_dev *dev);
/* Set the size of a regular file (of its part behind ?offset=); EINVAL for a partition or a block
 * device too small for it. */
errcode_t dafs_dev_resize(struct dafs_dev *dev, uint64_t size_bytes);
/* Durable when it returns; nothing with ctx->no_sync. */
errcode_t dafs_dev_sync(struct dafs_dev *dev);
/* Take the image's lock (lock.c): exclusive for who writes, shared for who reads, waiting with a
 * notice up to ctx->lock_timeout_ms. Released by closing. DAFS_ET_LOCKED, DAFS_ET_CANCELLED. */
errcode_t dafs_dev_lock(struct dafs_dev *dev, bool exclusive);
/* The same on any open file, called what in messages. ENOLCK (no detail): its file system has no
 * locks. */
errcode_t dafs_fd_lock(struct dafs_ctx *ctx, int fd, bool exclusive, const char *what);

/* Tests: called on every device just opened, may wrap its ops. */
extern errcode_t (*dafs_dev_wrap)(struct dafs_dev *dev);

/* The parts of an address (addr.c): the file's path (malloc'ed), and how its tail reads. */
struct dafs_dev_address {
	char *path;
	uint64_t offset_bytes; /* ?offset= */
	bool has_offset;
	unsigned partno; /* :pN; 0: none */
	char *partlabel; /* :PARTLABEL=, NULL: none; malloc'ed */
};
/* Split address. DAFS_ET_ADDRESS names what is wrong with it. */
errcode_t dafs_dev_address_parse(struct dafs_ctx *ctx, const char *address,
				 struct dafs_dev_address *out);
void dafs_dev_address_fini(struct dafs_dev_address *addr);
/* Find the partition that addr names in the table on fd. DAFS_ET_NO_PARTITION: no table, none of
 * that name, or an extended one. */
errcode_t dafs_dev_find_partition(struct dafs_ctx *ctx, const char *address,
				  const struct dafs_dev_address *addr, int fd,
				  uint64_t *start_bytes, uint64_t *size_bytes);

/* An io_manager for libext2fs over open devices (devio.c): reads pass the device's overlay, writes
 * are handed to it where it takes them. Closing a channel leaves the device open. Flush syncs. */
io_manager dafs_dev_io_manager(void);
/* The name under which ext2fs_open2/ext2fs_initialize find dev with that manager, as long as dev is
 * open. buf: 32 bytes. */
void dafs_dev_io_name(const struct dafs_dev *dev, char buf[32]);
/* The open device of an id, NULL when there is none (devio.c asks). */
struct dafs_dev *dafs_dev_by_id(unsigned id);

#endif
