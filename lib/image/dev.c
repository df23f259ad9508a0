/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dev - see dev.h. The POSIX device: one file descriptor, positioned reads and writes, no cache of
 * its own.
 *
 * Invariants:
 *  1. no operation reaches outside [start, start + size) but writes that make a plain file grow;
 *  2. a short read or write is continued or reported, never passed on;
 *  3. statistics count what was asked of the ops, whatever device is stacked there.
 */
#include "config.h"

#include "image/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

errcode_t (*dafs_dev_wrap)(struct dafs_dev *dev);

static LIST_HEAD(, dafs_dev) open_devs = LIST_HEAD_INITIALIZER(open_devs);
static pthread_mutex_t open_devs_lock = PTHREAD_MUTEX_INITIALIZER;

enum { ZERO_CHUNK_BYTES = 1 << 20, IOV_AT_ONCE = 512 };

/* --- the POSIX operations --- */

static errcode_t posix_pread(struct dafs_dev *dev, void *buf, size_t len_bytes, uint64_t off)
{
	char *at = buf;

	while (len_bytes) {
		ssize_t got = pread(dev->fd, at, len_bytes, (off_t)(dev->start_bytes + off));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			return DAFS_ET_TRUNCATED;
		at += got;
		off += (uint64_t)got;
		len_bytes -= (size_t)got;
	}
	return 0;
}

/* Write one batch of at most IOV_AT_ONCE vectors; vec is consumed. */
static errcode_t write_batch(int fd, struct iovec *vec, int nvec, uint64_t at)
{
	while (nvec) {
		ssize_t put = pwritev(fd, vec, nvec, (off_t)at);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : EIO;
		at += (uint64_t)put;
		while (nvec && (size_t)put >= vec->iov_len) {
			put -= (ssize_t)vec->iov_len;
			vec++;
			nvec--;
		}
		if (nvec) {
			vec->iov_base = (char *)vec->iov_base + put;
			vec->iov_len -= (size_t)put;
		}
	}
	return 0;
}

static errcode_t posix_pwritev(struct dafs_dev *dev, const struct iovec *iov, int niov,
			       uint64_t off)
{
	struct iovec vec[IOV_AT_ONCE];

	while (niov > 0) {
		int n = niov < IOV_AT_ONCE ? niov : IOV_AT_ONCE;
		uint64_t bytes = 0;
		errcode_t err;

		memcpy(vec, iov, (size_t)n * sizeof(*vec));
		for (int i = 0; i < n; i++)
			bytes += vec[i].iov_len;
		err = write_batch(dev->fd, vec, n, dev->start_bytes + off);
		if (err)
			return err;
		iov += n;
		niov -= n;
		off += bytes;
	}
	return 0;
}

static errcode_t posix_copy_from(struct dafs_dev *dev, int fd, uint64_t src_off, uint64_t off,
				 uint64_t len_bytes)
{
	off_t in = (off_t)src_off, out = (off_t)(dev->start_bytes + off);

	while (len_bytes) {
		size_t ask = len_bytes < SSIZE_MAX / 2 ? (size_t)len_bytes : (size_t)SSIZE_MAX / 2;
		ssize_t got = copy_file_range(fd, &in, dev->fd, &out, ask, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			return DAFS_ET_SOURCE_CHANGED;
		len_bytes -= (uint64_t)got;
	}
	return 0;
}

static errcode_t posix_sync(struct dafs_dev *dev)
{
	return fdatasync(dev->fd) ? errno : 0;
}

static errcode_t write_zeros(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	char *zeros = calloc(1, ZERO_CHUNK_BYTES);
	errcode_t err = zeros ? 0 : ENOMEM;

	while (len_bytes && !err) {
		struct iovec iov = { zeros,
				     len_bytes < ZERO_CHUNK_BYTES ? len_bytes : ZERO_CHUNK_BYTES };

		err = posix_pwritev(dev, &iov, 1, off);
		off += iov.iov_len;
		len_bytes -= iov.iov_len;
	}
	free(zeros);
	return err;
}

static errcode_t posix_zero(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	off_t at = (off_t)(dev->start_bytes + off);
	int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (!len_bytes)
		return 0;
	/* A block device promises zeros for ZERO_RANGE only; a hole in it may be anything. */
	if (!dev->is_block && fallocate(dev->fd, hole, at, (off_t)len_bytes) == 0)
		return 0;
	if (fallocate(dev->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, (off_t)len_bytes) ==
	    0)
		return 0;
	return write_zeros(dev, off, len_bytes);
}

static errcode_t posix_discard(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	if (!len_bytes || !fallocate(dev->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     (off_t)(dev->start_bytes + off), (off_t)len_bytes))
		return 0;
	return errno;
}

static errcode_t posix_resize(struct dafs_dev *dev, uint64_t size_bytes)
{
	return ftruncate(dev->fd, (off_t)(dev->start_bytes + size_bytes)) ? errno : 0;
}

static void posix_close(struct dafs_dev *dev)
{
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

static const struct dafs_dev_ops posix_ops = {
	.pread = posix_pread,
	.pwritev = posix_pwritev,
	.copy_from = posix_copy_from,
	.sync = posix_sync,
	.zero = posix_zero,
	.discard = posix_discard,
	.resize = posix_resize,
	.close = posix_close,
};

/* --- opening --- */

/* Neither the device nor a loop device over the file may be mounted or otherwise held. */
static errcode_t check_unused(struct dafs_ctx *ctx, const char *address, const char *path)
{
	char place[PATH_MAX] = "";
	int used = 0;

	/* Where the mount table cannot be read, O_EXCL still guards block devices. */
	if (ext2fs_check_mount_point(path, &used, place, sizeof(place)))
		return 0;
	if (used & EXT2_MF_SWAP)
		return dafs_fail(ctx, DAFS_ET_MOUNTED, "%s: used as swap space", address);
	if (used & EXT2_MF_MOUNTED)
		return dafs_fail(ctx, DAFS_ET_MOUNTED, "%s: mounted%s%s", address,
				 *place ? " on " : "", place);
	if (used & EXT2_MF_BUSY)
		return dafs_fail(ctx, DAFS_ET_MOUNTED, "%s: in use by the system", address);
	return 0;
}

/* Open the file or device of addr: sets fd, is_block, writable, and size_bytes of the whole. */
static errcode_t open_path(struct dafs_dev *dev, int flags)
{
	int oflags = O_CLOEXEC | O_NOCTTY | (flags & DAFS_DEV_RW ? O_RDWR : O_RDONLY);
	bool exists;
	struct stat st;
	errcode_t err;

	exists = stat(dev->path, &st) == 0;
	if (exists && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return dafs_fail(dev->ctx, DAFS_ET_ADDRESS, "%s: neither a file nor a block device",
				 dev->address);
	if (!exists && errno == ENOENT && (flags & DAFS_DEV_CREATE))
		oflags |= O_CREAT;
	if (exists && (flags & DAFS_DEV_EXCL)) {
		err = check_unused(dev->ctx, dev->address, dev->path);
		if (err)
			return err;
		if (S_ISBLK(st.st_mode))
			oflags |= O_EXCL;
	}
	dev->fd = open(dev->path, oflags, 0666);
	if (dev->fd < 0 && errno == EBUSY)
		return dafs_fail(dev->ctx, DAFS_ET_MOUNTED, "%s: in use by the system",
				 dev->address);
	if (dev->fd < 0 || fstat(dev->fd, &st))
		return dafs_fail(dev->ctx, errno, "%s", dev->address);
	dev->is_block = S_ISBLK(st.st_mode);
	dev->writable = (flags & DAFS_DEV_RW) != 0;
	if (!dev->is_block)
		dev->size_bytes = (uint64_t)st.st_size;
	else if (ioctl(dev->fd, BLKGETSIZE64, &dev->size_bytes))
		return dafs_fail(dev->ctx, errno, "%s: cannot learn its size", dev->address);
	return 0;
}

/* Narrow the device to the partition or offset that addr names. */
static errcode_t narrow(struct dafs_dev *dev, const struct dafs_dev_address *addr)
{
	uint64_t whole_bytes = dev->size_bytes;
	errcode_t err;

	if (addr->has_offset) {
		dev->start_bytes = addr->offset_bytes;
		dev->size_bytes =
			whole_bytes > dev->start_bytes ? whole_bytes - dev->start_bytes : 0;
		return 0;
	}
	if (!addr->partno && !addr->partlabel)
		return 0;
	err = dafs_dev_find_partition(dev->ctx, dev->address, addr, dev->fd, &dev->start_bytes,
				      &dev->size_bytes);
	if (err)
		return err;
	if (dev->size_bytes > whole_bytes || dev->start_bytes > whole_bytes - dev->size_bytes)
		return dafs_fail(dev->ctx, DAFS_ET_NO_PARTITION,
				 "%s: the partition reaches past the end of %s", dev->address,
				 dev->path);
	dev->partition = true;
	return 0;
}

static void register_dev(struct dafs_dev *dev)
{
	static unsigned last_id;

	pthread_mutex_lock(&open_devs_lock);
	dev->id = ++last_id;
	LIST_INSERT_HEAD(&open_devs, dev, link);
	pthread_mutex_unlock(&open_devs_lock);
}

struct dafs_dev *dafs_dev_by_id(unsigned id)
{
	struct dafs_dev *dev;

	pthread_mutex_lock(&open_devs_lock);
	LIST_FOREACH(dev, &open_devs, link) {
		if (dev->id == id)
			break;
	}
	pthread_mutex_unlock(&open_devs_lock);
	return dev;
}

errcode_t dafs_dev_open(struct dafs_ctx *ctx, const char *address, int flags, struct dafs_dev **ret)
{
	struct dafs_dev_address addr;
	struct dafs_dev *dev;
	errcode_t err;

	*ret = NULL;
	err = dafs_dev_address_parse(ctx, address, &addr);
	if (err)
		return err;
	dev = calloc(1, sizeof(*dev));
	if (!dev) {
		dafs_dev_address_fini(&addr);
		return ENOMEM;
	}
	dev->ops = &posix_ops;
	dev->ctx = ctx;
	dev->fd = -1;
	register_dev(dev);
	dev->address = strdup(address);
	dev->path = strdup(addr.path);
	err = dev->address && dev->path ? open_path(dev, flags) : ENOMEM;
	if (!err)
		err = narrow(dev, &addr);
	if (!err && dafs_dev_wrap)
		err = dafs_dev_wrap(dev);
	dafs_dev_address_fini(&addr);
	if (err)
		dafs_dev_close(dev);
	else
		*ret = dev;
	return err;
}

void dafs_dev_close(struct dafs_dev *dev)
{
	if (!dev)
		return;
	pthread_mutex_lock(&open_devs_lock);
	LIST_REMOVE(dev, link);
	pthread_mutex_unlock(&open_devs_lock);
	dev->ops->close(dev);
	free(dev->address);
	free(dev->path);
	free(dev);
}

/* --- what everybody calls: bounds, statistics, messages --- */

static void count(uint64_t *statistic, uint64_t by)
{
	__atomic_fetch_add(statistic, by, __ATOMIC_RELAXED);
}

/* Whether [off, off+len) lies in the room. */
static bool in_room(const struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	uint64_t size_bytes = __atomic_load_n(&dev->size_bytes, __ATOMIC_RELAXED);

	return len_bytes <= size_bytes && off <= size_bytes - len_bytes;
}

/* A write of [off, off+len): refuse what cannot be, note the growth of a plain file. */
static errcode_t admit_write(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	if (!dev->writable)
		return dafs_fail(dev->ctx, EROFS, "%s", dev->address);
	if (in_room(dev, off, len_bytes))
		return 0;
	if (dev->partition || dev->is_block || off > INT64_MAX - len_bytes ||
	    dev->start_bytes > (uint64_t)INT64_MAX - off - len_bytes)
		return dafs_fail(dev->ctx, ENOSPC, "%s: write at %" PRIu64 " reaches past its end",
				 dev->address, off);
	return 0;
}

static void note_growth(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	uint64_t end = off + len_bytes, old = __atomic_load_n(&dev->size_bytes, __ATOMIC_RELAXED);

	while (end > old && !__atomic_compare_exchange_n(&dev->size_bytes, &old, end, false,
							 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static errcode_t io_failure(struct dafs_dev *dev, errcode_t err, const char *verb, uint64_t off,
			    uint64_t len_bytes)
{
	return dafs_fail(dev->ctx, err, "%s: %s of %" PRIu64 " bytes at %" PRIu64, dev->address,
			 verb, len_bytes, off);
}

errcode_t dafs_dev_read(struct dafs_dev *dev, void *buf, size_t len_bytes, uint64_t off)
{
	errcode_t err = in_room(dev, off, len_bytes) ? 0 : DAFS_ET_TRUNCATED;

	if (!err) {
		count(&dev->nreads, 1);
		count(&dev->read_bytes, len_bytes);
		err = dev->ops->pread(dev, buf, len_bytes, off);
	}
	return err ? io_failure(dev, err, "read", off, len_bytes) : 0;
}

void dafs_dev_ahead(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	if (off >= dev->size_bytes)
		return;
	if (len_bytes > dev->size_bytes - off)
		len_bytes = dev->size_bytes - off;
	(void)posix_fadvise(dev->fd, (off_t)(dev->start_bytes + off), (off_t)len_bytes,
			    POSIX_FADV_WILLNEED);
}

errcode_t dafs_dev_writev(struct dafs_dev *dev, const struct iovec *iov, int niov, uint64_t off)
{
	uint64_t len_bytes = 0;
	errcode_t err;

	for (int i = 0; i < niov; i++)
		len_bytes += iov[i].iov_len;
	err = admit_write(dev, off, len_bytes);
	if (err)
		return err;
	count(&dev->nwrites, 1);
	count(&dev->written_bytes, len_bytes);
	err = dev->ops->pwritev(dev, iov, niov, off);
	if (err)
		return io_failure(dev, err, "write", off, len_bytes);
	note_growth(dev, off, len_bytes);
	return 0;
}

errcode_t dafs_dev_write(struct dafs_dev *dev, const void *buf, size_t len_bytes, uint64_t off)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len_bytes };

	return dafs_dev_writev(dev, &iov, 1, off);
}

errcode_t dafs_dev_copy_from(struct dafs_dev *dev, int fd, uint64_t src_off, uint64_t off,
			     uint64_t len_bytes)
{
	errcode_t err = admit_write(dev, off, len_bytes);

	if (err)
		return err;
	err = dev->ops->copy_from(dev, fd, src_off, off, len_bytes);
	if (err == EXDEV || err == EOPNOTSUPP || err == EINVAL || err == ENOSYS)
		return err;
	if (err)
		return io_failure(dev, err, "copy", off, len_bytes);
	count(&dev->nwrites, 1);
	count(&dev->written_bytes, len_bytes);
	note_growth(dev, off, len_bytes);
	return 0;
}

bool dafs_dev_shares(const struct dafs_dev *dev)
{
	/* XFS, btrfs, bcachefs, OCFS2; NFS and SMB copy on the server. */
	static const uint32_t kinds[] = { 0x58465342, 0x9123683E, 0xCA451A4E,
					  0x7461636F, 0x6969,	  0xFE534D42 };
	struct statfs st;

	if (dev->is_block || fstatfs(dev->fd, &st))
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if ((uint32_t)st.f_type == kinds[i])
			return true;
	}
	return false;
}

errcode_t dafs_dev_zero(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	errcode_t err = admit_write(dev, off, len_bytes);

	if (err)
		return err;
	if (!dev->is_block && !dev->partition) {
		/* Past the end of a plain file everything is zero once the file is that long. */
		uint64_t end = off + len_bytes;

		if (end > dev->size_bytes) {
			uint64_t old_end = dev->size_bytes;

			err = dafs_dev_resize(dev, end);
			if (err || off >= old_end)
				return err;
			len_bytes = old_end - off;
		}
	}
	count(&dev->nwrites, 1);
	err = dev->ops->zero(dev, off, len_bytes);
	return err ? io_failure(dev, err, "zeroing", off, len_bytes) : 0;
}

errcode_t dafs_dev_discard(struct dafs_dev *dev, uint64_t off, uint64_t len_bytes)
{
	errcode_t err = admit_write(dev, off, len_bytes);

	if (err)
		return err;
	if (off > dev->size_bytes || len_bytes > dev->size_bytes - off)
		return 0;
	count(&dev->nwrites, 1);
	err = dev->ops->discard(dev, off, len_bytes);
	return err && err != EOPNOTSUPP ? io_failure(dev, err, "discarding", off, len_bytes) : err;
}

void dafs_dev_forget_cache(struct dafs_dev *dev)
{
	if (dev->is_block)
		ioctl(dev->fd, BLKFLSBUF, 0);
	else if (!fdatasync(dev->fd))
		posix_fadvise(dev->fd, 0, 0, POSIX_FADV_DONTNEED);
}

errcode_t dafs_dev_resize(struct dafs_dev *dev, uint64_t size_bytes)
{
	errcode_t err;

	if (!dev->writable)
		return dafs_fail(dev->ctx, EROFS, "%s", dev->address);
	if (dev->is_block || dev->partition) {
		if (size_bytes <= dev->size_bytes)
			return 0;
		return dafs_fail(dev->ctx, EINVAL,
				 "%s: holds %" PRIu64 " bytes, %" PRIu64 " are needed",
				 dev->address, dev->size_bytes, size_bytes);
	}
	err = dev->ops->resize(dev, size_bytes);
	if (err)
		return dafs_fail(dev->ctx, err, "%s: setting its size to %" PRIu64, dev->address,
				 size_bytes);
	dev->size_bytes = size_bytes;
	return 0;
}

errcode_t dafs_dev_sync(struct dafs_dev *dev)
{
	errcode_t err;

	if (dev->ctx->no_sync || !dev->writable)
		return 0;
	count(&dev->nsyncs, 1);
	err = dev->ops->sync(dev);
	return err ? dafs_fail(dev->ctx, err, "%s: sync", dev->address) : 0;
}
