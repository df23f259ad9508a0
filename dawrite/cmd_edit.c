/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_edit - dawrite's small commands: file data, names, attributes. Each parses its words and
 * makes one job call a path. */
#include "config.h"

#include "dawrite/dawrite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job/edit.h"

static errcode_t size_of(struct dawrite *dw, const char *text, uint64_t *bytes)
{
	return dafs_cli_parse_size(&dw->cli.ctx, text, 1, bytes);
}

errcode_t dawrite_write(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	const char *from = dafs_cli_value(args, 'i'), *at = dafs_cli_value(args, 'o');
	uint64_t off = 0;
	errcode_t err = 0;
	int fd = STDIN_FILENO;

	if (at && dafs_cli_value(args, 'a'))
		return dafs_fail(&dw->cli.ctx, DAFS_ET_USAGE,
				 "write: -o and -a exclude each other");
	if (at)
		err = size_of(dw, at, &off);
	if (err)
		return err;
	if (dafs_cli_value(args, 'a'))
		off = DAFS_EDIT_APPEND;
	if (from) {
		fd = open(from, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return dafs_fail(&dw->cli.ctx, errno, "%s", from);
	}
	err = dafs_edit_write_fd(dw->fs, args->argv[0], off, fd);
	if (from)
		close(fd);
	return err;
}

errcode_t dawrite_truncate(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	uint64_t size;
	errcode_t err = size_of(dw, args->argv[1], &size);

	return err ? err : dafs_truncate(dw->fs, args->argv[0], size);
}

static errcode_t range_of(struct dawrite *dw, const struct dafs_cli_args *args, uint64_t *off,
			  uint64_t *len)
{
	errcode_t err = size_of(dw, args->argv[1], off);

	return err ? err : size_of(dw, args->argv[2], len);
}

errcode_t dawrite_fallocate(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	uint64_t off, len;
	errcode_t err = range_of(dw, args, &off, &len);

	return err ? err
		   : dafs_fallocate(dw->fs, args->argv[0], off, len, dafs_cli_value(args, 'n'));
}

errcode_t dawrite_punch(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	uint64_t off, len;
	errcode_t err = range_of(dw, args, &off, &len);

	return err ? err : dafs_punch(dw->fs, args->argv[0], off, len);
}

/* The mode that -m asks for, or the default. */
static errcode_t mode_of(struct dawrite *dw, const struct dafs_cli_args *args, mode_t plain,
			 mode_t *mode)
{
	const char *text = dafs_cli_value(args, 'm');

	*mode = plain;
	return text ? dafs_cli_parse_mode(&dw->cli.ctx, text, plain, mode) : 0;
}

errcode_t dawrite_mkdir(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	mode_t mode;
	errcode_t err = mode_of(dw, args, 0755, &mode);

	for (int i = 0; i < args->argc && !err; i++)
		err = dafs_mkdir(dw->fs, args->argv[i], mode, dafs_cli_value(args, 'p'));
	return err;
}

errcode_t dawrite_rm(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	errcode_t err = 0;

	for (int i = 0; i < args->argc && !err; i++)
		err = dafs_remove(dw->fs, args->argv[i], dafs_cli_value(args, 'r'),
				  dafs_cli_value(args, 'f'));
	return err;
}

errcode_t dawrite_mv(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;

	return dafs_edit_move(dw->fs, args->argv[0], args->argv[1]);
}

errcode_t dawrite_ln(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;

	return dafs_edit_link(dw->fs, args->argv[0], args->argv[1], dafs_cli_value(args, 's'));
}

errcode_t dawrite_mknod(void *arg, const struct dafs_cli_args *args)
{
	static const struct {
		const char *name;
		mode_t type;
		bool device;
	} kinds[] = { { "b", S_IFBLK, true },
		      { "c", S_IFCHR, true },
		      { "p", S_IFIFO, false },
		      { "s", S_IFSOCK, false } };
	struct dawrite *dw = arg;
	struct dafs_ctx *ctx = &dw->cli.ctx;
	uint64_t major = 0, minor = 0;
	size_t k = 0;
	mode_t mode;
	errcode_t err = mode_of(dw, args, 0644, &mode);

	if (err)
		return err;
	while (k < 4 && strcmp(kinds[k].name, args->argv[1]))
		k++;
	if (k == 4)
		return dafs_fail(ctx, DAFS_ET_USAGE, "mknod: type %s is none of b c p s",
				 args->argv[1]);
	if (args->argc != (kinds[k].device ? 4 : 2))
		return dafs_fail(ctx, DAFS_ET_USAGE, "mknod: type %s takes %s", kinds[k].name,
				 kinds[k].device ? "MAJ and MIN" : "no device numbers");
	if (kinds[k].device) {
		err = dafs_cli_parse_u64(ctx, args->argv[2], 0, 0xfff, &major);
		if (!err)
			err = dafs_cli_parse_u64(ctx, args->argv[3], 0, 0xfffff, &minor);
	}
	return err ? err
		   : dafs_mknod(dw->fs, args->argv[0], kinds[k].type | mode, (unsigned)major,
				(unsigned)minor);
}

errcode_t dawrite_chmod(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	errcode_t err = 0;

	for (int i = 1; i < args->argc && !err; i++) {
		struct dafs_inode *inode;
		mode_t mode;

		err = dafs_ns_lookup(dw->fs->ns, args->argv[i], DAFS_NS_FOLLOW | DAFS_NS_INO,
				     &inode);
		if (err)
			return dafs_session_fail(dw->fs, err, args->argv[i]);
		err = dafs_cli_parse_mode(&dw->cli.ctx, args->argv[0], inode->mode, &mode);
		if (!err)
			err = dafs_chmod(dw->fs, args->argv[i], mode);
	}
	return err;
}

errcode_t dawrite_chown(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	errcode_t err = 0;

	for (int i = 1; i < args->argc && !err; i++) {
		struct dafs_inode *inode;
		uint32_t uid, gid;

		err = dafs_ns_lookup(dw->fs->ns, args->argv[i], DAFS_NS_INO, &inode);
		if (err)
			return dafs_session_fail(dw->fs, err, args->argv[i]);
		uid = inode->uid;
		gid = inode->gid;
		err = dafs_cli_parse_owner(&dw->cli.ctx, args->argv[0], &uid, &gid);
		if (!err)
			err = dafs_chown(dw->fs, args->argv[i], uid, gid);
	}
	return err;
}

errcode_t dawrite_touch(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	const char *text = dafs_cli_value(args, 'd');
	struct timespec when = { dw->cli.ctx.now_sec, dw->cli.ctx.now_nsec };
	struct dafs_time time;
	errcode_t err = text ? dafs_cli_parse_time(&dw->cli.ctx, text, &when) : 0;

	time = dafs_time_at(when.tv_sec, (uint32_t)when.tv_nsec);
	for (int i = 0; i < args->argc && !err; i++)
		err = dafs_edit_times(dw->fs, args->argv[i], &time, &time, true);
	return err;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "0x..." as setfattr(1) takes it. -1: not hexadecimal. */
static ssize_t decode_hex(const char *text, uint8_t *out)
{
	size_t n = 0;

	for (; text[0]; text += 2) {
		int hi = hex_digit(text[0]), lo = text[1] ? hex_digit(text[1]) : -1;

		if (hi < 0 || lo < 0)
			return -1;
		out[n++] = (uint8_t)(hi << 4 | lo);
	}
	return (ssize_t)n;
}

/* "0s..." as setfattr(1) takes it. -1: not base64. */
static ssize_t decode_base64(const char *text, uint8_t *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	unsigned nbits = 0;
	size_t n = 0;

	for (; *text && *text != '='; text++) {
		const char *digit = strchr(digits, *text);

		if (!digit)
			return -1;
		bits = bits << 6 | (uint32_t)(digit - digits);
		nbits += 6;
		if (nbits >= 8) {
			nbits -= 8;
			out[n++] = (uint8_t)(bits >> nbits);
		}
	}
	return text[strspn(text, "=")] ? -1 : (ssize_t)n;
}

errcode_t dawrite_setfattr(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	struct dafs_ctx *ctx = &dw->cli.ctx;
	const char *name = dafs_cli_value(args, 'n'), *text = dafs_cli_value(args, 'v');
	bool remove = dafs_cli_value(args, 'x');
	ssize_t len;
	uint8_t *value;
	errcode_t err;

	if (!name || (text && remove))
		return dafs_fail(ctx, DAFS_ET_USAGE, "setfattr: %s",
				 name ? "-v and -x exclude each other" : "-n NAME is missing");
	if (remove)
		return dafs_setxattr(dw->fs, args->argv[0], name, NULL, 0);
	text = text ? text : "";
	value = malloc(strlen(text) + 1);
	if (!value)
		return ENOMEM;
	if (!strncmp(text, "0x", 2) || !strncmp(text, "0X", 2))
		len = decode_hex(text + 2, value);
	else if (!strncmp(text, "0s", 2) || !strncmp(text, "0S", 2))
		len = decode_base64(text + 2, value);
	else
		memcpy(value, text, (size_t)(len = (ssize_t)strlen(text)));
	err = len < 0 ? dafs_fail(ctx, DAFS_ET_USAGE, "setfattr: value %s", text)
		      : dafs_setxattr(dw->fs, args->argv[0], name, value, (size_t)len);
	free(value);
	return err;
}
