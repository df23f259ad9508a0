/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_fill - see mkfs_fill.h.
 */
#include "config.h"

#include "job/mkfs_fill.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job/mkfs_int.h"

struct fill {
	struct dafs_ctx *ctx;
	const char *address;
	const struct dafs_fill_opts *opts;
	struct dafs_mkfs_opts mkfs;
	struct dafs_fill_stats *stats;
	char *path;		    /* of the file that the run has made; NULL: none */
	struct stat made;	    /* ... and which one it is */
	char spooled[32];	    /* standard input as a file that can be read twice */
	int spool_fd;		    /* -1: none */
	struct dafs_mkfs_info info; /* numbers only: its texts are gone */
};

/* Stands between mkfs and the caller's callback: some of what -E said is for the import. */
static void note_info(void *arg, const struct dafs_mkfs_info *info)
{
	struct fill *fill = arg;

	fill->info = *info;
	if (info->file_made && !fill->mkfs.dry_run) {
		free(fill->path);
		fill->path = stat(info->path, &fill->made) ? NULL : strdup(info->path);
	}
	if (fill->opts->mkfs.announce)
		fill->opts->mkfs.announce(fill->opts->mkfs.announce_arg, info);
}

/* Is path the directory dir, or below it? Both resolved. */
static bool lies_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (!path[len] || path[len] == '/' || dir[len - 1] == '/');
}

/* An image file in the directory that it is filled from would be filled with itself. */
static errcode_t refuse_inside(struct fill *fill, const char *src)
{
	struct dafs_dev_address addr;
	char *dir, *place = NULL, *slash;
	struct stat st;
	errcode_t err = dafs_dev_address_parse(fill->ctx, fill->address, &addr);

	if (err)
		return err;
	dir = realpath(src, NULL);
	if (stat(addr.path, &st) || !S_ISBLK(st.st_mode)) {
		slash = strrchr(addr.path, '/');
		if (slash)
			slash[slash == addr.path] = '\0';
		/* A path that does not resolve is refused where it is opened. */
		place = realpath(slash ? addr.path : ".", NULL);
	}
	if (dir && place && lies_in(place, dir))
		err = dafs_fail(fill->ctx, DAFS_ET_USAGE, "%s lies in %s, which it is filled from",
				fill->address, src);
	free(place);
	free(dir);
	dafs_dev_address_fini(&addr);
	return err;
}

static errcode_t check_source(struct fill *fill)
{
	const char *src = fill->opts->src;
	struct stat st;

	if (!strcmp(src, "-"))
		return 0;
	if (stat(src, &st) || access(src, R_OK))
		return dafs_fail(fill->ctx, errno, "%s", src);
	return S_ISDIR(st.st_mode) ? refuse_inside(fill, src) : 0;
}

static errcode_t copy_stdin(struct fill *fill)
{
	static char buf[1 << 16];
	ssize_t got;

	while ((got = read(STDIN_FILENO, buf, sizeof(buf))) != 0) {
		errcode_t err = dafs_cancelled(fill->ctx);

		if (err)
			return err;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dafs_fail(fill->ctx, errno, "standard input");
		for (ssize_t done = 0, put; done < got; done += put) {
			put = write(fill->spool_fd, buf + done, (size_t)(got - done));
			if (put < 0)
				return dafs_fail(fill->ctx, errno, "copy of standard input");
		}
	}
	return 0;
}

/* To choose a size, the source is read before the file system is made: a pipe cannot be read
 * again. */
static errcode_t spool_stdin(struct fill *fill)
{
	const char *dir = secure_getenv("TMPDIR");

	fill->spool_fd = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fill->spool_fd < 0)
		return dafs_fail(fill->ctx, errno, "%s: room for standard input",
				 dir ? dir : "/var/tmp");
	snprintf(fill->spooled, sizeof(fill->spooled), "/proc/self/fd/%d", fill->spool_fd);
	return copy_stdin(fill);
}

/* What was said about root wins over what the source has. */
static errcode_t set_root(struct fill *fill, struct dafs *fs)
{
	errcode_t err = 0;

	if (fill->info.has_root_owner)
		err = dafs_chown(fs, "/", fill->info.root_uid, fill->info.root_gid);
	if (!err && fill->info.has_root_perms)
		err = dafs_chmod(fs, "/", fill->info.root_perms);
	return err;
}

static errcode_t import(struct fill *fill, struct dafs *fs)
{
	const char *src = *fill->spooled ? fill->spooled : fill->opts->src;
	errcode_t err = dafs_begin(fs);

	if (err)
		return err;
	fs->no_xattrs = fill->info.no_xattrs;
	err = dafs_import_run(fs, src, "/", &fill->stats->import);
	if (!err)
		err = set_root(fill, fs);
	if (err)
		return err;
	return dafs_end(fs);
}

/* Takes img over. */
static errcode_t fill_image(struct fill *fill, struct dafs_image *img)
{
	struct dafs_flush_request req = { .opts.size = sizeof(req.opts) };
	struct dafs *fs;
	errcode_t err = dafs_session_adopt_image(fill->ctx, img, &fs);

	if (err)
		return err;
	err = import(fill, fs);
	if (!err)
		err = dafs_session_flush(fs, &req, &fill->stats->flush);
	/* Nothing was promised before: for whom fills an image this is just a full one. */
	if (err == DAFS_ET_NOSPC_ALLOC)
		err = DAFS_ET_NOSPC_RESERVE;
	if (!err)
		err = dafs_image_finish_create(fs->img);
	dafs_close(fs);
	return err;
}

static errcode_t run_once(struct fill *fill)
{
	struct dafs_image *img;
	errcode_t err = dafs_mkfs_run(fill->ctx, fill->address, &fill->mkfs, &img);

	memset(fill->stats, 0, sizeof(*fill->stats));
	if (!err && img)
		err = fill_image(fill, img);
	if (err && fill->path)
		mkfs_unlink(fill->path, &fill->made);
	return err;
}

errcode_t dafs_mkfs_fill(struct dafs_ctx *ctx, const char *address,
			 const struct dafs_fill_opts *opts, struct dafs_fill_stats *stats)
{
	struct fill fill = {
		.ctx = ctx,
		.address = address,
		.opts = opts,
		.mkfs = opts->mkfs,
		.stats = stats,
		.spool_fd = -1,
	};
	struct dafs_fill_opts measured = *opts;
	errcode_t err;

	memset(stats, 0, sizeof(*stats));
	fill.mkfs.fill = true;
	fill.mkfs.announce = note_info;
	fill.mkfs.announce_arg = &fill;
	err = check_source(&fill);
	if (!err && opts->auto_size && !strcmp(opts->src, "-")) {
		err = spool_stdin(&fill);
		measured.src = fill.spooled;
	}
	if (!err && opts->auto_size)
		err = dafs_mkfs_auto(ctx, address, &measured, &fill.mkfs);
	if (!err)
		err = run_once(&fill);
	if (fill.spool_fd >= 0)
		close(fill.spool_fd);
	free(fill.path);
	return err;
}
