/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report - what mkdafs says: text on standard output, or one JSON object.
 *
 * The text goes out before the first write, as mke2fs's does; the JSON object when all is done,
 * so that it says how it ended.
 */
#ifndef MKDAFS_REPORT_H
#define MKDAFS_REPORT_H

#include "cli/cli.h"
#include "job/mkfs_fill.h"

struct json_object;

struct mkdafs_report {
	struct dafs_cli *cli;
	bool dry_run;
	struct json_object *json; /* --json, once the plan is known */
};

/* The announce callback of dafs_mkfs_run: arg is the report. Lines that scripts read keep
 * mke2fs's words. */
void mkdafs_report_plan(void *arg, const struct dafs_mkfs_info *info);

/* When all is done: say what was copied (stats NULL: nothing was to be), or print the JSON object
 * if err is 0. Frees it. */
void mkdafs_report_end(struct mkdafs_report *report, errcode_t err,
		       const struct dafs_fill_stats *stats);

#endif
