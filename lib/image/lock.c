/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lock - one writer or many readers at an image, among the processes of this machine (and of an NFS
 * with locks): flock on the image's own file descriptor, so that a killed process leaves nothing
 * behind.
 */
#include "config.h"

#include "image/image_int.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

enum { FIRST_NAP_MS = 2, LONGEST_NAP_MS = 50 };

static void nap(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* flock's timeout is ours to keep: a signal sets ctx->cancel, and a timeout is asked for in
 * milliseconds. */
static errcode_t wait_for(struct dafs_ctx *ctx, int fd, int how, const char *what)
{
	uint64_t since_ms = now_ms();
	unsigned nap_ms = FIRST_NAP_MS;
	errcode_t err;

	dafs_notice(ctx, "%s is in use by another process, waiting", what);
	for (;;) {
		if (flock(fd, how) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return dafs_fail(ctx, errno, "%s: lock", what);
		err = dafs_cancelled(ctx);
		if (err)
			return err;
		if (ctx->lock_timeout_ms != ~0u && now_ms() - since_ms >= ctx->lock_timeout_ms)
			return dafs_fail(ctx, DAFS_ET_LOCKED, "%s", what);
		nap(nap_ms);
		nap_ms = nap_ms * 2 < LONGEST_NAP_MS ? nap_ms * 2 : LONGEST_NAP_MS;
	}
}

errcode_t dafs_fd_lock(struct dafs_ctx *ctx, int fd, bool exclusive, const char *what)
{
	int how = (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;

	if (flock(fd, how) == 0)
		return 0;
	if (errno == EWOULDBLOCK || errno == EINTR)
		return wait_for(ctx, fd, how, what);
	if (errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
		return ENOLCK;
	return dafs_fail(ctx, errno, "%s: lock", what);
}

errcode_t dafs_dev_lock(struct dafs_dev *dev, bool exclusive)
{
	errcode_t err = dafs_fd_lock(dev->ctx, dev->fd, exclusive, dev->address);

	if (err != ENOLCK)
		return err;
	dafs_notice(dev->ctx,
		    "%s: the file system it is on has no locks; make sure that nobody else uses it",
		    dev->address);
	return 0;
}

errcode_t dafs_image_lock(struct dafs_image *img)
{
	if (img->flags & DAFS_IMAGE_NO_LOCK)
		return 0;
	return dafs_dev_lock(img->dev, img->flags & DAFS_IMAGE_RW);
}
