/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dafsck - check an ext2/ext3/ext4 file system, with e2fsck's options and exit status.
 *
 * The flow; options are in options.c, what is printed is in report.c, all rules are the library's.
 */
#include "config.h"

#include <stdlib.h>

#include "dafsck/options.h"

static const struct dafs_cli_tool tool = {
	.name = "dafsck",
	.purpose = "Check an ext2, ext3 or ext4 file system, and repair it.",
	.synopsis = "[OPTION...] IMAGE",
	.opts = dafsck_options,
	.shared = DAFS_CLI_JSON | DAFS_CLI_VERBOSE | DAFS_CLI_THREADS,
	.notes = "Exit status, added up: 0 nothing wrong, 1 repaired, 4 damage left,\n"
		 "8 the check could not be done, 16 wrong usage, 32 cancelled.\n"
		 "IMAGE: PATH, PATH?offset=N[KMGT], PATH:pN, PATH:PARTLABEL=NAME, or a device.\n",
	.apply = dafsck_apply,
	.min_operands = 0,
	.max_operands = 1,
	.usage_status = 16,
	.failure_status = 8,
	.cancel_status = 32,
};

/* The check; its status beside 0, 8 and the like of err. */
static errcode_t check(struct dafs_cli *cli, struct dafsck_request *req, int *status)
{
	errcode_t err = dafsck_complete(cli, req);

	if (err)
		return err;
	dafsck_report_begin(&req->report, cli, &req->opts);
	/* (The time of a check would be a change behind the cache's back.) */
	req->opts.leave_sound = req->report.pending.there && !req->report.pending.err;
	err = dafs_check_run(&cli->ctx, cli->argv[0], &req->opts, &req->report.check);
	*status = dafs_check_status(&req->opts, &req->report.check.result);
	dafsck_report_end(&req->report, err, *status);
	return err;
}

int main(int argc, char **argv)
{
	struct dafsck_request req = { .opts.size = sizeof(req.opts) };
	struct dafs_cli cli;
	int status;
	errcode_t err = 0;

	if (!dafs_cli_start(&cli, &tool, &req, argc, argv, &status))
		return status;
	status = 0;
	if (req.codes)
		dafsck_report_codes(&cli);
	else
		err = check(&cli, &req, &status);
	free(req.undo_made);
	free(req.bad_blks);
	return dafs_cli_finish(&cli, err) | status;
}
