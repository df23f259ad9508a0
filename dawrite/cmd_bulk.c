/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_bulk - put, import, sync: host files into the pending name space; and what they did. */
#include "config.h"

#include "dawrite/dawrite.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/json.h"
#include "job/import.h"
#include "job/sync.h"

static void say_import(struct dawrite *dw, const struct dafs_import_stats *st)
{
	struct json_object *out;

	if (!dw->cli.json) {
		if (dw->cli.verbose)
			dafs_cli_say(&dw->cli,
				     "%" PRIu64 " entries, %" PRIu64 " directories, %" PRIu64
				     " files, %" PRIu64 " bytes\n",
				     st->entries, st->dirs, st->files, st->bytes);
		return;
	}
	out = json_object_new_object();
	dafs_cli_json_u64(out, "entries", st->entries);
	dafs_cli_json_u64(out, "directories", st->dirs);
	dafs_cli_json_u64(out, "files", st->files);
	dafs_cli_json_u64(out, "bytes", st->bytes);
	dafs_cli_json_put(stdout, out);
}

errcode_t dawrite_put(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	struct dafs_import_stats st;
	errcode_t err = dafs_put_run(dw->fs, args->argv, (size_t)args->argc - 1,
				     args->argv[args->argc - 1], &st);

	if (!err)
		say_import(dw, &st);
	return err;
}

errcode_t dawrite_import(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	struct dafs_import_stats st;
	errcode_t err =
		dafs_import_run(dw->fs, args->argv[0], args->argc > 1 ? args->argv[1] : "/", &st);

	if (!err)
		say_import(dw, &st);
	return err;
}

struct sync_report {
	struct dawrite *dw;
	struct json_object *changes;
};

static const char *const change_names[] = {
	[DAFS_SYNC_ADD] = "add", [DAFS_SYNC_UPDATE] = "update", [DAFS_SYNC_ATTR] = "attributes",
	[DAFS_SYNC_REPLACE] = "replace", [DAFS_SYNC_DELETE] = "delete",
};

static void say_change(void *arg, enum dafs_sync_change what, const char *path)
{
	struct sync_report *rep = arg;

	if (rep->changes) {
		struct json_object *one = json_object_new_object();

		dafs_cli_json_str(one, "change", change_names[what]);
		dafs_cli_json_str(one, "path", path);
		json_object_array_add(rep->changes, one);
	} else {
		dafs_cli_say(&rep->dw->cli, "%-10s %s\n", change_names[what], path);
	}
}

errcode_t dawrite_sync(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	struct sync_report rep = { .dw = dw };
	struct dafs_sync_request req = {
		.src = args->argv[0], .dst = args->argv[1],
		.remove_extra = dafs_cli_value(args, 'D'), .dry_run = dafs_cli_value(args, 'n'),
		.change_arg = &rep,
	};
	struct json_object *out = dw->cli.json ? json_object_new_object() : NULL;
	struct dafs_sync_stats st;
	errcode_t err;

	if (out)
		rep.changes = dafs_cli_json_array(out, "changes");
	if (out || req.dry_run || dw->cli.verbose)
		req.change = say_change;
	err = dafs_sync_run(dw->fs, &req, &st);
	if (!err && out) {
		dafs_cli_json_u64(out, "same", st.same);
		dafs_cli_json_u64(out, "written_bytes", st.written_bytes);
		dafs_cli_json_put(stdout, json_object_get(out));
	}
	json_object_put(out);
	return err;
}
