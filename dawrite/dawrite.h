/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dawrite - what the tool's files share: the request, the open session, the command table. */
#ifndef DAWRITE_DAWRITE_H
#define DAWRITE_DAWRITE_H

#include "cli/cli.h"
#include "cli/value.h"
#include "job/session.h"

/* Flags of a command's row. */
#define DAWRITE_READS	0x1	/* looks at the image and what is pending; changes nothing */
#define DAWRITE_WHOLE	0x2	/* brackets and opens by itself; not allowed in a script */

struct dawrite {
	struct dafs_cli cli;
	const char *image;
	const char *cache_dir;		/* NULL: the usual place */
	bool flush;
	bool low_switch;	/* --nonda-switch */
	bool direct;
	bool ignore_quota;
	struct dafs_flush_opts flush_opts;
	uint64_t dirty_limit_bytes;	/* 0: none */
	const char *trace;
	struct dafs *fs;		/* open while a command runs */
};

extern const struct dafs_cli_cmd dawrite_cmds[];

/* Open dw->fs for reading or for changing (then adopting host files when the flush follows). */
errcode_t dawrite_open(struct dawrite *dw, bool rw);

/* Run one command of the table in the open session, without bracket and flush (a script's line). */
errcode_t dawrite_run_line(struct dawrite *dw, int argc, char **argv);

/* Flush as the options say, and print what was done. */
errcode_t dawrite_flush(struct dawrite *dw, const struct dafs_flush_request *req);

/* Handlers, by file. */
errcode_t dawrite_write(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_truncate(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_fallocate(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_punch(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_mkdir(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_rm(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_mv(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_ln(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_mknod(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_chmod(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_chown(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_touch(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_setfattr(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_put(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_import(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_sync(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_cat(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_ls(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_stat(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_script(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_flush_cmd(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_status(void *arg, const struct dafs_cli_args *args);
errcode_t dawrite_discard(void *arg, const struct dafs_cli_args *args);

#endif
