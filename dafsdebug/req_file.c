/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_file - cat, dump, rdump: contents out of the image. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dafsdebug/dafsdebug.h"
#include "job/extract.h"

/* The inode with its data, or an error that names the path. */
static errcode_t load_data(struct dafsdebug *dd, const char *path, struct dafs_inspect *in)
{
	errcode_t err = dafsdebug_load(dd, path, false, in);
	uint16_t type = in->attr.mode & S_IFMT;

	if (err)
		return err;
	if (type == S_IFCHR || type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK)
		return dafs_fail(&dd->cli.ctx, EINVAL, "%s: has no contents", path);
	if (!in->mapped && !(in->attr.iflags & EXT4_INLINE_DATA_FL))
		return dafs_fail(&dd->cli.ctx, DAFS_ET_CORRUPT_EXTENT, "%s", path);
	return 0;
}

/* A fast symlink's target is its contents. */
static errcode_t put_data(struct dafsdebug *dd, const struct dafs_inspect *in, int fd, bool sparse,
			  const char *where)
{
	const struct ext2_inode_large *raw = &in->buf.raw;
	size_t len = strnlen((const char *)raw->i_block, sizeof(raw->i_block));

	if (!dafs_icodec_fast_symlink(dd->img, raw))
		return dafs_extract_data(dd->img, in, fd, sparse, where);
	if (write(fd, raw->i_block, len) != (ssize_t)len)
		return dafs_fail(&dd->cli.ctx, errno, "%s", where);
	return 0;
}

errcode_t dafsdebug_cat(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafs_inspect in;
	errcode_t err = load_data(dd, args->argv[0], &in);

	if (!err)
		fflush(stdout);
	if (!err)
		err = put_data(dd, &in, STDOUT_FILENO, false, "standard output");
	dafs_inspect_fini(&in);
	return err;
}

errcode_t dafsdebug_dump(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafs_ctx *ctx = &dd->cli.ctx;
	const char *host = args->argv[1];
	struct dafs_inspect in;
	struct stat st;
	errcode_t err = load_data(dd, args->argv[0], &in);
	int fd = -1;

	if (!err) {
		fd = open(host, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (fd < 0 || fstat(fd, &st))
			err = dafs_fail(ctx, errno, "%s", host);
	}
	if (!err)
		err = put_data(dd, &in, fd, S_ISREG(st.st_mode), host);
	if (!err && dafs_cli_value(args, 'p')) {
		err = dafs_extract_owner(dd->img, &in, fd, host);
		if (!err)
			err = dafs_extract_mode(dd->img, &in, fd, host);
	}
	if (fd >= 0 && close(fd) && !err)
		err = dafs_fail(ctx, errno, "%s", host);
	dafs_inspect_fini(&in);
	return err;
}

/* ---- rdump ---- */

static void note_problem(void *arg, errcode_t err)
{
	dafsdebug_note(arg, err);
}

/* What a path's tree is called in the target: its last component; NULL for the root, whose
 * contents go there directly. */
static const char *target_name(const char *path, char buf[EXT2_NAME_LEN + 1])
{
	size_t end = strlen(path), begin;

	while (end && path[end - 1] == '/')
		end--;
	for (begin = end; begin && path[begin - 1] != '/'; begin--)
		;
	snprintf(buf, EXT2_NAME_LEN + 1, "%.*s", (int)(end - begin), path + begin);
	return *buf && strcmp(buf, ".") && strcmp(buf, "..") ? buf : NULL;
}

static void add_stats(struct dafs_extract_stats *sum, const struct dafs_extract_stats *one)
{
	sum->files += one->files;
	sum->dirs += one->dirs;
	sum->symlinks += one->symlinks;
	sum->specials += one->specials;
	sum->links += one->links;
	sum->bytes += one->bytes;
	sum->xattrs_skipped += one->xattrs_skipped;
}

errcode_t dafsdebug_rdump(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafs_extract_request req = {
		.target = args->argv[args->argc - 1],
		.note = note_problem,
		.arg = dd,
	};
	struct dafs_extract_stats sum = { 0 }, one;
	struct json_object *out;
	errcode_t err = 0;

	for (int i = 0; i < args->argc - 1 && !err; i++) {
		char name[EXT2_NAME_LEN + 1];

		err = dafs_inspect_resolve(dd->img, dd->cwd, args->argv[i], false, &req.ino);
		if (err)
			break;
		req.name = target_name(args->argv[i], name);
		err = dafs_extract_tree(dd->img, &req, &one);
		add_stats(&sum, &one);
	}
	out = err ? NULL : dafsdebug_json(dd);
	if (out) {
		dafs_cli_json_u64(out, "files", sum.files);
		dafs_cli_json_u64(out, "directories", sum.dirs);
		dafs_cli_json_u64(out, "symlinks", sum.symlinks);
		dafs_cli_json_u64(out, "specials", sum.specials);
		dafs_cli_json_u64(out, "hard_links", sum.links);
		dafs_cli_json_u64(out, "bytes", sum.bytes);
		dafs_cli_json_u64(out, "xattrs_skipped", sum.xattrs_skipped);
	}
	dafsdebug_json_put(out);
	return err;
}
