/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cli - the frame of a tool: context, options, signals, errors, exit status.
 *
 *	int main(int argc, char **argv)
 *	{
 *		struct mkdafs_request req = { 0 };	(the tool's own)
 *		struct dafs_cli cli;
 *		int status;
 *
 *		if (!dafs_cli_start(&cli, &tool, &req, argc, argv, &status))
 *			return status;
 *		return dafs_cli_finish(&cli, run(&cli, &req));
 *	}
 *
 * The tool's table row tells everything else: options, commands, operands, which of the shared
 * options it has.
 *
 * Invariants:
 *  1. one failure is one line on standard error: "tool: what went wrong on which path: message";
 *  2. SIGINT and SIGTERM set ctx.cancel once; the second one ends the process by its default;
 *  3. file descriptors 0, 1 and 2 are open, so that no image is ever opened as one of them;
 *  4. a failed write to standard output is a failure of the tool.
 */
#ifndef DAFS_CLI_CLI_H
#define DAFS_CLI_CLI_H

#include "cli/cmd.h"
#include "cli/opt.h"
#include "cli/progress.h"

/* The options that several tools share; a tool takes those whose bits stand in its row. */
#define DAFS_CLI_JSON	      0x01 /*     --json			cli.json */
#define DAFS_CLI_QUIET	      0x02 /* -q, --quiet			cli.quiet */
#define DAFS_CLI_VERBOSE      0x04 /* -v, --verbose		cli.verbose counts */
#define DAFS_CLI_THREADS      0x08 /*     --threads=N		ctx.threads */
#define DAFS_CLI_NO_SYNC      0x10 /*     --no-sync		ctx.no_sync */
#define DAFS_CLI_LOCK_TIMEOUT 0x20 /*     --lock-timeout=SECONDS	ctx.lock_timeout_ms */

/* Ids of a tool's own long-only options are in [256, DAFS_CLI_ID_SHARED). */
#define DAFS_CLI_ID_SHARED 0xF000

struct dafs_cli;

struct dafs_cli_tool {
	const char *name;		 /* "mkdafs" */
	const char *purpose;		 /* one sentence */
	const char *synopsis;		 /* what follows the name: "[OPTION...] IMAGE [SIZE]" */
	const struct dafs_cli_opt *opts; /* the tool's own options; NULL: none */
	unsigned shared;		 /* DAFS_CLI_* bits */
	const struct dafs_cli_cmd *cmds; /* commands for --help and completion; NULL: none */
	const char *notes; /* below the tables of --help, ends with a newline; NULL: none */
	/* One option; arg is dafs_cli_start's. The detail of a failure gets the option's name in
	 * front. */
	errcode_t (*apply)(struct dafs_cli *cli, void *arg, const struct dafs_cli_opt *opt,
			   const char *value);
	int min_operands;
	int max_operands;   /* DAFS_CLI_MANY: any number */
	bool options_first; /* options stand before the first operand (dawrite) */
	int usage_status;   /* exit status of wrong usage, bad option values too; 0: 1 */
	int failure_status; /* of every other failure; 0: 1 (dafsck: 8) */
	int cancel_status;  /* after SIGINT or SIGTERM; 0: 130 (dafsck: 32) */
};

struct dafs_cli {
	const struct dafs_cli_tool *tool;
	struct dafs_ctx ctx;
	struct dafs_cli_progress progress;
	void *arg;
	bool json;
	bool quiet;
	unsigned verbose;
	int argc; /* operands */
	char **argv;
};

/* Make the context (clock, error table, progress, notices), catch the signals, and parse the
 * command line into cli and through tool->apply. False: the tool ends now with *status, after
 * --help, --version, --completion or one error line. Once in a process; cli stays valid until
 * dafs_cli_finish() whatever is returned. */
bool dafs_cli_start(struct dafs_cli *cli, const struct dafs_cli_tool *tool, void *arg, int argc,
		    char **argv, int *status);

/* End: report err if it is one, flush standard output, restore the signals. Returns the exit
 * status; for err 0 that is 0 (a tool with statuses of its own, like dafsck, takes this for 0
 * only). */
int dafs_cli_finish(struct dafs_cli *cli, errcode_t err);

/* Print the one line of a failure now, and go on (dafsdebug's shell). Nothing for err 0. */
void dafs_cli_error(struct dafs_cli *cli, errcode_t err);

/* The exit status that err has in this tool. */
int dafs_cli_status(const struct dafs_cli *cli, errcode_t err);

/* Go on after an interrupt (a shell's next request): the cancel flag is taken back and SIGINT is
 * caught from now on, however often it comes. SIGTERM ends the process from the first call on. */
void dafs_cli_rearm(struct dafs_cli *cli);

/* Say something on standard output unless -q. The progress line is taken off first. */
void dafs_cli_say(struct dafs_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Print what --help and --completion print. */
void dafs_cli_help(FILE *out, const struct dafs_cli_tool *tool);
void dafs_cli_completion(FILE *out, const struct dafs_cli_tool *tool);

/* All rows of a tool, shared and standard ones included, in a new array that ends with a row of
 * zeros; NULL: no memory. */
struct dafs_cli_opt *dafs_cli_rows(const struct dafs_cli_tool *tool);

/* Check the tool's tables (opt.h, cmd.h). DAFS_ET_INTERNAL with the place in the detail. */
errcode_t dafs_cli_verify(struct dafs_ctx *ctx, const struct dafs_cli_tool *tool);

#endif
