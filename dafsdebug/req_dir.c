/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_dir - ls, cd, pwd. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dafsdebug/dafsdebug.h"

#define COLUMNS 80

struct ls {
	struct dafsdebug *dd;
	bool lng, parse;
	struct json_object *list; /* NULL: text */
	unsigned column;
};

/* The short form: entries side by side. */
static void print_short(struct ls *ls, const struct dafs_inspect_dirent *de)
{
	char name[DAFSDEBUG_NAME_ROOM], text[sizeof(name) + 64];
	unsigned width;

	if (de->tail)
		snprintf(text, sizeof(text), " 0  (dirblock checksum: 0x%08x)   ", de->csum);
	else
		snprintf(text, sizeof(text), "%c%u%c (%u) %s   ", de->deleted ? '<' : ' ', de->ino,
			 de->deleted ? '>' : ' ', de->rec_len,
			 dafsdebug_name_text(de->name, de->name_len, name));
	width = (unsigned)strlen(text);
	if (ls->column + width > COLUMNS) {
		putchar('\n');
		ls->column = 0;
	}
	fputs(text, stdout);
	ls->column += width;
}

static const char *when(const struct dafs_time *t, char text[32])
{
	time_t sec = (time_t)dafs_time_sec(*t);
	struct tm tm;

	if (!localtime_r(&sec, &tm) || !strftime(text, 32, "%e-%b-%Y %H:%M", &tm))
		snprintf(text, 32, "%17s", "");
	return text;
}

static void print_long(const struct dafs_inspect_dirent *de, const struct dafs_inspect *in)
{
	const struct dafs_inode *attr = &in->attr;
	char text[32], name[DAFSDEBUG_NAME_ROOM];

	if (de->tail) {
		printf("%7u       0 (dirblock checksum: 0x%08x)\n", 0, de->csum);
		return;
	}
	printf("%c%6u%c %6o (%u)  %5u  %5u   %5" PRIu64 " %s %s\n", de->deleted ? '<' : ' ',
	       de->ino, de->deleted ? '>' : ' ', attr->mode, de->file_type, attr->uid, attr->gid,
	       attr->size, in->ino ? when(&attr->mtime, text) : "                 ",
	       dafsdebug_name_text(de->name, de->name_len, name));
}

static void print_parse(const struct dafs_inspect_dirent *de, const struct dafs_inspect *in)
{
	const struct dafs_inode *attr = &in->attr;

	if (de->tail)
		return;
	printf("/%u/%06o/%u/%u/", de->deleted ? 0 : de->ino, attr->mode, attr->uid, attr->gid);
	fwrite(de->name, 1, de->name_len, stdout);
	if (S_ISDIR(attr->mode))
		puts("//");
	else
		printf("/%" PRIu64 "/\n", attr->size);
}

static void json_entry(struct ls *ls, const struct dafs_inspect_dirent *de,
		       const struct dafs_inspect *in)
{
	struct json_object *one = dafsdebug_json_element(ls->list);
	char mode[16];

	if (de->tail) {
		dafs_cli_json_u64(one, "block", de->lblk);
		dafs_cli_json_u64(one, "checksum", de->csum);
		return;
	}
	dafs_cli_json_u64(one, "inode", de->ino);
	dafs_cli_json_bytes(one, "name", de->name, de->name_len);
	dafs_cli_json_u64(one, "file_type", de->file_type);
	dafs_cli_json_u64(one, "record_length", de->rec_len);
	dafs_cli_json_bool(one, "deleted", de->deleted);
	if (!in->ino)
		return;
	snprintf(mode, sizeof(mode), "%06o", in->attr.mode);
	dafs_cli_json_str(one, "mode", mode);
	dafs_cli_json_u64(one, "uid", in->attr.uid);
	dafs_cli_json_u64(one, "gid", in->attr.gid);
	dafs_cli_json_u64(one, "size", in->attr.size);
	dafs_cli_json_i64(one, "mtime", dafs_time_sec(in->attr.mtime));
}

static errcode_t ls_entry(void *arg, const struct dafs_inspect_dirent *de)
{
	struct ls *ls = arg;
	struct dafs_inspect *in = calloc(1, sizeof(*in));
	errcode_t err = in ? 0 : ENOMEM;

	if (!err && de->ino && !de->deleted && (ls->lng || ls->parse || ls->list))
		err = dafsdebug_note(ls->dd, dafs_inspect_inode(ls->dd->img, de->ino, in));
	if (!err && ls->list)
		json_entry(ls, de, in);
	else if (!err && ls->parse)
		print_parse(de, in);
	else if (!err && ls->lng)
		print_long(de, in);
	else if (!err)
		print_short(ls, de);
	free(in);
	return err ? err : dafs_cancelled(&ls->dd->cli.ctx);
}

errcode_t dafsdebug_ls(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct ls ls = { .dd = dd,
			 .lng = dafs_cli_value(args, 'l'),
			 .parse = dafs_cli_value(args, 'p') };
	unsigned flags = (dafs_cli_value(args, 'd') ? DAFS_INSPECT_DELETED : 0) |
			 (dafs_cli_value(args, 'c') ? DAFS_INSPECT_TAILS : 0) |
			 (dd->cli.json ? 0 : DAFS_INSPECT_EMPTY);
	struct dafs_inspect in;
	errcode_t err = dafsdebug_load(dd, args->argc ? args->argv[0] : "", true, &in);

	if (!err && !S_ISDIR(in.attr.mode))
		err = dafs_fail(&dd->cli.ctx, ENOTDIR, "%s", args->argv[0]);
	if (!err && in.mapped) {
		ls.list = dd->cli.json ? json_object_new_array() : NULL;
		err = dafs_inspect_dir(dd->img, &in, flags, ls_entry, &ls);
		if (ls.list)
			dafsdebug_json_put(ls.list);
		else
			putchar('\n');
		err = dafsdebug_note(dd, err);
	}
	dafs_inspect_fini(&in);
	return err;
}

errcode_t dafsdebug_cd(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafs_inspect in;
	errcode_t err = dafsdebug_inode(dd, args->argv[0], true, &in);

	if (!err && !S_ISDIR(in.attr.mode))
		err = dafs_fail(&dd->cli.ctx, ENOTDIR, "%s", args->argv[0]);
	if (!err)
		dd->cwd = in.ino;
	return err;
}

errcode_t dafsdebug_pwd(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	char *path;
	errcode_t err = dafs_inspect_dir_path(dd->img, dd->cwd, &path);

	(void)args;
	if (err)
		return err;
	out = dafsdebug_json(dd);
	if (out) {
		dafs_cli_json_bytes(out, "path", *path ? path : "/", *path ? strlen(path) : 1);
		dafs_cli_json_u64(out, "inode", dd->cwd);
		dafsdebug_json_put(out);
	} else {
		printf("[pwd]   INODE: %6u  PATH: %s\n", dd->cwd, *path ? path : "/");
	}
	free(path);
	return 0;
}
