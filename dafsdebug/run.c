/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run - the image that is open, and requests run one by one, from a line, a script. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dafsdebug/dafsdebug.h"
#include "job/session.h"

/* Open; a journal that cannot be replayed is left alone. */
static errcode_t open_image(struct dafsdebug *dd, const char *address, int flags,
			    const struct dafsdebug_how *how)
{
	struct dafs_ctx *ctx = &dd->cli.ctx;
	char detail[sizeof(ctx->detail)];
	errcode_t err = dafs_image_open(ctx, address, flags, how->sb, how->bs, &dd->img);

	if (err != DAFS_ET_CORRUPT_JOURNAL && err != DAFS_ET_JOURNAL_FEATURE &&
	    err != DAFS_ET_JOURNAL_EXTERNAL)
		return err;
	memcpy(detail, ctx->detail, sizeof(detail));
	dafs_notice(ctx, "%s: %s; the journal is left alone", detail, error_message(err));
	return dafs_image_open(ctx, address, flags | DAFS_IMAGE_NO_REPLAY, how->sb, how->bs,
			       &dd->img);
}

errcode_t dafsdebug_open(struct dafsdebug *dd, const char *address,
			 const struct dafsdebug_how *how)
{
	int flags = DAFS_IMAGE_ANY_FEATURE | DAFS_IMAGE_TRUNCATED_OK;
	errcode_t err;

	dafsdebug_close(dd);
	if (how->no_csum || how->catastrophic)
		flags |= DAFS_IMAGE_IGNORE_CSUM;
	if (how->catastrophic)
		flags |= DAFS_IMAGE_NO_REPLAY;
	dd->how = *how;
	dd->cwd = EXT2_ROOT_INO;
	err = open_image(dd, address, flags, how);
	if (!err && dafs_store_exists(dd->img, dd->cache_dir, &dd->pending))
		dd->pending = false; /* es, cache and resv say what is wrong with it */
	return err;
}

void dafsdebug_close(struct dafsdebug *dd)
{
	dafs_image_close(dd->img);
	dd->img = NULL;
	dd->pending = false;
}

errcode_t dafsdebug_note(struct dafsdebug *dd, errcode_t err)
{
	if (!err || err == ENOMEM || err == DAFS_ET_CANCELLED)
		return err;
	dafs_cli_error(&dd->cli, err);
	dd->cli.ctx.detail[0] = '\0';
	if (!dd->noted)
		dd->noted = err;
	return 0;
}

static errcode_t run_row(struct dafsdebug *dd, const struct dafs_cli_cmd *row, int argc,
			 char **argv)
{
	struct dafs_ctx *ctx = &dd->cli.ctx;
	errcode_t err;

	if (row && !(row->flags & DAFSDEBUG_NO_IMAGE) && !dd->img)
		return dafs_fail(ctx, DAFS_ET_SEQUENCE, "%s: no image is open", argv[0]);
	if (row && row->flags & DAFSDEBUG_BITMAPS && dd->how.catastrophic)
		return dafs_fail(ctx, DAFS_ET_SEQUENCE, "%s: bitmaps are not read with -c",
				 argv[0]);
	if (row && dd->pending && !(row->flags & (DAFSDEBUG_PENDING | DAFSDEBUG_NO_IMAGE))) {
		dafs_notice(ctx, "%s has pending work, which only es, cache and resv look at",
			    dd->img->dev->address);
		dd->pending = false;
	}
	if (row && row->flags & DAFSDEBUG_PAGED)
		dafsdebug_pager_begin();
	err = dafs_cli_cmd_run(ctx, dafsdebug_requests, dd, argc, argv);
	dafsdebug_pager_end();
	return err;
}

errcode_t dafsdebug_run(struct dafsdebug *dd, int argc, char **argv)
{
	errcode_t err;

	dd->noted = 0;
	dd->cli.ctx.detail[0] = '\0';
	err = run_row(dd, dafs_cli_cmd_find(dafsdebug_requests, argv[0]), argc, argv);
	if (!err && (fflush(stdout) || ferror(stdout)))
		err = dafs_fail(&dd->cli.ctx, errno ? errno : EIO, "standard output");
	dafs_cli_error(&dd->cli, err);
	return err ? err : dd->noted;
}

errcode_t dafsdebug_run_line(struct dafsdebug *dd, const char *line)
{
	char **words;
	int argc;
	errcode_t err = dafs_cli_split(&dd->cli.ctx, line, &argc, &words);

	if (err) {
		dafs_cli_error(&dd->cli, err);
		return err;
	}
	err = argc ? dafsdebug_run(dd, argc, words) : 0;
	free(words);
	return err;
}

/* Run the lines of a script. Each is shown before its output, so that the outputs can be told
 * apart; with --json a request is a line of its own. */
static errcode_t run_lines(struct dafsdebug *dd, FILE *in, const char *file)
{
	unsigned long number = 0;
	errcode_t first = 0;
	char *line = NULL;
	size_t room = 0;

	while (!dd->quit && getline(&line, &room, in) >= 0) {
		errcode_t err;

		number++;
		line[strcspn(line, "\n")] = '\0';
		if (!line[strspn(line, " \t\r")] || line[strspn(line, " \t\r")] == '#')
			continue;
		if (!dd->cli.json && !dd->cli.quiet)
			printf("dafsdebug: %s\n", line);
		err = dafsdebug_run_line(dd, line);
		if (err && !first)
			first = err;
		if (!err || (dd->keep_going && err != DAFS_ET_CANCELLED))
			continue;
		fprintf(stderr, "dafsdebug: stopped at %s:%lu\n", file, number);
		break;
	}
	if (ferror(in) && !first) {
		first = dafs_fail(&dd->cli.ctx, errno, "%s", file);
		dafs_cli_error(&dd->cli, first);
	}
	free(line);
	return first;
}

errcode_t dafsdebug_run_script(struct dafsdebug *dd, const char *file)
{
	bool is_stdin = !strcmp(file, "-");
	FILE *in = is_stdin ? stdin : fopen(file, "re");
	errcode_t err;

	if (!in) {
		err = dafs_fail(&dd->cli.ctx, errno, "%s", file);
		dafs_cli_error(&dd->cli, err);
		return err;
	}
	err = run_lines(dd, in, is_stdin ? "standard input" : file);
	if (!is_stdin)
		fclose(in);
	return err;
}

/* ---- what handlers share ---- */

errcode_t dafsdebug_inode(struct dafsdebug *dd, const char *path, bool follow,
			  struct dafs_inspect *in)
{
	uint32_t ino;
	errcode_t err;

	memset(in, 0, sizeof(*in));
	err = dafs_inspect_resolve(dd->img, dd->cwd, path, follow, &ino);
	if (!err)
		err = dafs_inspect_inode(dd->img, ino, in);
	if (!err)
		err = dafsdebug_note(dd, dafs_inspect_judge(dd->img, in));
	return err;
}

errcode_t dafsdebug_load(struct dafsdebug *dd, const char *path, bool follow,
			 struct dafs_inspect *in)
{
	uint32_t ino;
	errcode_t err;

	memset(in, 0, sizeof(*in));
	err = dafs_inspect_resolve(dd->img, dd->cwd, path, follow, &ino);
	if (err)
		return err;
	err = dafs_inspect_load(dd->img, ino, in);
	if (err && !in->ino)
		return err;
	err = dafsdebug_note(dd, err);
	return err ? err : dafsdebug_note(dd, dafs_inspect_judge(dd->img, in));
}

struct json_object *dafsdebug_json(struct dafsdebug *dd)
{
	return dd->cli.json ? json_object_new_object() : NULL;
}

void dafsdebug_json_put(struct json_object *out)
{
	if (out)
		dafs_cli_json_put(stdout, out);
}

struct json_object *dafsdebug_json_element(struct json_object *array)
{
	struct json_object *one = json_object_new_object();

	json_object_array_add(array, one);
	return one;
}

const char *dafsdebug_name_text(const char *name, size_t len, char buf[DAFSDEBUG_NAME_ROOM])
{
	char *p = buf;

	for (size_t i = 0; i < len && i < EXT2_NAME_LEN; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c >= 0x20 && c < 0x7f && c != '\\')
			*p++ = (char)c;
		else
			p += sprintf(p, "\\x%02x", c);
	}
	*p = '\0';
	return buf;
}

errcode_t dafsdebug_number(struct dafsdebug *dd, const char *text, uint64_t min, uint64_t max,
			   uint64_t *number)
{
	return dafs_cli_parse_u64(&dd->cli.ctx, text, min, max, number);
}

/* ---- requests about the tool itself ---- */

errcode_t dafsdebug_open_req(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafsdebug_how how = { 0 };
	const char *sb = dafs_cli_value(args, 's'), *bs = dafs_cli_value(args, 'b');
	uint64_t number = 0;
	errcode_t err = 0;

	how.catastrophic = dafs_cli_value(args, 'c');
	how.no_csum = dafs_cli_value(args, 'n');
	if (sb)
		err = dafsdebug_number(dd, sb, 0, INT32_MAX, &how.sb);
	if (!err && bs)
		err = dafsdebug_number(dd, bs, 1024, 65536, &number);
	if (err)
		return err;
	how.bs = (uint32_t)number;
	return dafsdebug_open(dd, args->argv[0], &how);
}

errcode_t dafsdebug_close_req(void *arg, const struct dafs_cli_args *args)
{
	(void)args;
	dafsdebug_close(arg);
	return 0;
}

errcode_t dafsdebug_help(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;

	if (!args->argc)
		dafs_cli_cmds_help(stdout, dafsdebug_requests);
	else if (!dafs_cli_cmd_help(stdout, dafsdebug_requests, args->argv[0]))
		return dafs_fail(&dd->cli.ctx, DAFS_ET_USAGE, "unknown command '%s'",
				 args->argv[0]);
	return 0;
}

errcode_t dafsdebug_quit(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;

	(void)args;
	dd->quit = true;
	return 0;
}
