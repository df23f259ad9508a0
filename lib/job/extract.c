/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* extract - see extract.h: contents and attributes of one file. */
#include "config.h"

#include "job/extract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES (1u << 20)

static errcode_t write_all(int fd, const uint8_t *buf, size_t len, int64_t off)
{
	while (len) {
		ssize_t put = off < 0 ? write(fd, buf, len) : pwrite(fd, buf, len, off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno;
		buf += put;
		len -= (size_t)put;
		off += off < 0 ? 0 : put;
	}
	return 0;
}

/* Bytes [from, end) of in to fd, at the same place where sparse is set. */
static errcode_t copy_range(struct dafs_image *img, const struct dafs_inspect *in, int fd,
			    bool sparse, uint64_t from, uint64_t end, const char *where)
{
	uint8_t *buf = malloc(CHUNK_BYTES);
	errcode_t err = buf ? 0 : ENOMEM;

	while (!err && from < end) {
		size_t want = end - from < CHUNK_BYTES ? (size_t)(end - from) : CHUNK_BYTES, got;

		err = dafs_read_file(img, in->ino, &in->buf.raw, in->mapped ? &in->extents : NULL,
				     buf, want, from, &got);
		if (err || !got)
			break;
		if (write_all(fd, buf, got, sparse ? (int64_t)from : -1))
			err = dafs_fail(img->ctx, errno, "%s", where);
		from += got;
		if (!err)
			err = dafs_cancelled(img->ctx);
	}
	free(buf);
	return err;
}

errcode_t dafs_extract_data(struct dafs_image *img, const struct dafs_inspect *in, int fd,
			    bool sparse, const char *where)
{
	uint64_t size = in->attr.size;
	errcode_t err = 0;

	if (!sparse || (in->attr.iflags & EXT4_INLINE_DATA_FL))
		return copy_range(img, in, fd, sparse, 0, size, where);
	if (ftruncate(fd, (off_t)size))
		return dafs_fail(img->ctx, errno, "%s", where);
	for (size_t i = 0; i < in->extents.n && !err; i++) {
		const struct dafs_extent *e = &in->extents.v[i];
		uint64_t from = (uint64_t)e->lblk << img->block_bits;
		uint64_t end = from + ((uint64_t)e->len << img->block_bits);

		if (!e->unwritten)
			err = copy_range(img, in, fd, true, from, end < size ? end : size, where);
	}
	return err;
}

errcode_t dafs_extract_owner(struct dafs_image *img, const struct dafs_inspect *in, int fd,
			     const char *where)
{
	if (!geteuid() && fchown(fd, in->attr.uid, in->attr.gid))
		return dafs_fail(img->ctx, errno, "%s", where);
	return 0;
}

errcode_t dafs_extract_mode(struct dafs_image *img, const struct dafs_inspect *in, int fd,
			    const char *where)
{
	const struct timespec times[2] = {
		{ .tv_sec = dafs_time_sec(in->attr.atime), .tv_nsec = in->attr.atime.nsec },
		{ .tv_sec = dafs_time_sec(in->attr.mtime), .tv_nsec = in->attr.mtime.nsec },
	};

	if (fchmod(fd, in->attr.mode & (geteuid() ? 01777 : 07777)) || futimens(fd, times))
		return dafs_fail(img->ctx, errno, "%s", where);
	return 0;
}
