/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dafsck - check an ext2/ext3/ext4 file system, with e2fsck's options and exit status.
 *
 * The option table and the flow; what is printed is in report.c, all rules are the library's.
 */
#include "config.h"

#include "check/check.h"
#include "cli/cli.h"
#include "cli/value.h"
#include "dafsck/report.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { OPT_STRICT = 256, OPT_CODES };

struct request {
	struct dafs_check_opts opts;
	bool codes;
	bool mode_set; /* -n, -p or -y */
	struct dafsck_report report;
};

static const struct dafs_cli_opt options[] = {
	{ .letter = 'n',
	  .name = "read-only",
	  .group = "What to do",
	  .help = "Change nothing. The default where there is no terminal to ask on." },
	{ .letter = 'p',
	  .name = "preen",
	  .help = "Repair what is safe to repair without asking; if there is anything else, repair "
		  "nothing and exit with 4." },
	{ .letter = 'a', .name = "auto", .help = "The same as -p." },
	{ .letter = 'y', .name = "yes", .help = "Repair everything." },
	{ .letter = 'f',
	  .name = "force",
	  .help = "Check even a file system that is marked clean." },
	{ .id = OPT_STRICT,
	  .name = "strict",
	  .help = "Exit with 4 for everything that is not as it should be, also for what e2fsck "
		  "reports and then passes "
		  "over: the superblock's counts and notes, a missing lost+found." },
	{ .letter = 'b',
	  .name = "superblock",
	  .arg = "BLOCK",
	  .group = "Where to begin",
	  .help = "Use the superblock copy in this block. Without it, copies are tried when the "
		  "first is bad." },
	{ .letter = 'B',
	  .name = "block-size",
	  .arg = "BYTES",
	  .help = "Block size, to find the copy that -b names." },
	{ .letter = 'C',
	  .name = "progress-fd",
	  .arg = "FD",
	  .group = "Output",
	  .help = "Write progress to this file descriptor, a line a step: pass, step, steps, "
		  "image. 0: as a terminal has it." },
	{ .letter = 't', .name = "timing", .help = "Print how long each pass took." },
	{ .id = OPT_CODES,
	  .name = "codes",
	  .help = "Print all findings that there are, one a line, and check nothing." },
	{ 0 }
};

static errcode_t set_mode(struct dafs_cli *cli, struct request *req, enum dafs_check_mode mode)
{
	if (req->mode_set && req->opts.mode != mode)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "only one of -n, -p and -y");
	req->mode_set = true;
	req->opts.mode = mode;
	return 0;
}

static errcode_t apply(struct dafs_cli *cli, void *arg, const struct dafs_cli_opt *opt,
		       const char *value)
{
	struct request *req = arg;
	uint64_t number;
	errcode_t err = 0;

	switch (dafs_cli_opt_id(opt)) {
	case 'n':
		err = set_mode(cli, req, DAFS_CHECK_NO);
		break;
	case 'p':
	case 'a':
		err = set_mode(cli, req, DAFS_CHECK_PREEN);
		break;
	case 'y':
		err = set_mode(cli, req, DAFS_CHECK_YES);
		break;
	case 'f':
		req->opts.force = true;
		break;
	case OPT_STRICT:
		req->opts.strict = true;
		break;
	case 'b':
		err = dafs_cli_parse_u64(&cli->ctx, value, 0, UINT64_MAX, &req->opts.backup_sb);
		break;
	case 'B':
		err = dafs_cli_parse_u64(&cli->ctx, value, 1024, 65536, &number);
		if (!err && number & (number - 1))
			err = dafs_fail(&cli->ctx, DAFS_ET_RANGE, "%s: no power of two", value);
		req->opts.backup_bs = err ? 0 : (uint32_t)number;
		break;
	case 'C':
		err = dafs_cli_parse_u64(&cli->ctx, value, 0, 1 << 20, &number);
		req->report.progress_fd = err ? 0 : (int)number;
		break;
	case OPT_CODES:
		req->codes = true;
		break;
	case 't':
		req->report.timing = true;
		break;
	}
	return err;
}

static const struct dafs_cli_tool tool = {
	.name = "dafsck",
	.purpose = "Check an ext2, ext3 or ext4 file system, and repair it.",
	.synopsis = "[OPTION...] IMAGE",
	.opts = options,
	.shared = DAFS_CLI_JSON | DAFS_CLI_VERBOSE | DAFS_CLI_THREADS,
	.notes = "Exit status, added up: 0 nothing wrong, 1 repaired, 4 damage left,\n"
		 "8 the check could not be done, 16 wrong usage, 32 cancelled.\n"
		 "IMAGE: PATH, PATH?offset=N[KMGT], PATH:pN, PATH:PARTLABEL=NAME, or a device.\n",
	.apply = apply,
	.min_operands = 0,
	.max_operands = 1,
	.usage_status = 16,
	.failure_status = 8,
	.cancel_status = 32,
};

/* The check; its status beside 0, 8 and the like of err. */
static errcode_t check(struct dafs_cli *cli, struct request *req, int *status)
{
	errcode_t err;

	if (!cli->argc)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "no image is named");
	/* Questions need somebody to answer them. */
	if (!req->mode_set && !cli->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		req->opts.mode = DAFS_CHECK_ASK;
	dafsck_report_begin(&req->report, cli, &req->opts);
	err = dafs_check_run(&cli->ctx, cli->argv[0], &req->opts, &req->report.check);
	*status = dafs_check_status(&req->opts, &req->report.check.result);
	dafsck_report_end(&req->report, err, *status);
	return err;
}

int main(int argc, char **argv)
{
	struct request req = { .opts.size = sizeof(req.opts) };
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
	return dafs_cli_finish(&cli, err) | status;
}
