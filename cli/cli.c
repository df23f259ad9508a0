/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli - see cli.h. */
#include "config.h"

#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <ext2fs/ext2_err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_int.h"
#include "cli/value.h"

/* The one thing that a signal handler can reach. */
static volatile int *cancel_flag;

static void on_signal(int number)
{
	(void)number;
	*cancel_flag = 1;
}

/* No SA_RESTART: a command that waits for its input or for a lock is woken up. */
static void catch_signal(struct dafs_cli *cli, int number, int flags)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };

	cancel_flag = &cli->ctx.cancel;
	sigemptyset(&action.sa_mask);
	sigaction(number, &action, NULL);
}

static void catch_signals(struct dafs_cli *cli)
{
	catch_signal(cli, SIGINT, (int)SA_RESETHAND);
	catch_signal(cli, SIGTERM, (int)SA_RESETHAND);
}

void dafs_cli_rearm(struct dafs_cli *cli)
{
	cli->ctx.cancel = 0;
	catch_signal(cli, SIGINT, 0);
	signal(SIGTERM, SIG_DFL);
}

static void release_signals(void)
{
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

/* A closed descriptor 0, 1 or 2 would be the next file's, and printf would write into an image. */
static bool open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void say_notice(void *arg, const char *text, uint64_t done, uint64_t total)
{
	struct dafs_cli *cli = arg;

	(void)done;
	(void)total;
	if (cli->quiet)
		return;
	dafs_cli_progress_clear(&cli->progress);
	fprintf(stderr, "%s: %s\n", cli->tool->name, text);
}

static void show_progress(void *arg, const char *stage, uint64_t done, uint64_t total)
{
	struct dafs_cli *cli = arg;

	if (!cli->quiet)
		dafs_cli_progress_show(&cli->progress, stage, done, total);
}

/* What parsing the command line wants to come back with. */
struct parse {
	struct dafs_cli *cli;
	int print; /* ID_HELP, ID_VERSION or ID_COMPLETION; 0: go on */
};

static errcode_t apply_lock_timeout(struct dafs_cli *cli, const char *value)
{
	uint64_t seconds;
	errcode_t err = dafs_cli_parse_u64(&cli->ctx, value, 0, UINT32_MAX / 1000 - 1, &seconds);

	if (!err)
		cli->ctx.lock_timeout_ms = (unsigned)seconds * 1000;
	return err;
}

static errcode_t apply_threads(struct dafs_cli *cli, const char *value)
{
	uint64_t threads;
	errcode_t err = dafs_cli_parse_u64(&cli->ctx, value, 1, 1024, &threads);

	if (!err)
		cli->ctx.threads = (unsigned)threads;
	return err;
}

static errcode_t apply_shared(struct parse *parse, const struct dafs_cli_opt *opt,
			      const char *value)
{
	struct dafs_cli *cli = parse->cli;

	switch (opt->id) {
	case ID_QUIET:
		cli->quiet = true;
		return 0;
	case ID_VERBOSE:
		cli->verbose++;
		return 0;
	case ID_JSON:
		cli->json = true;
		return 0;
	case ID_NO_SYNC:
		cli->ctx.no_sync = true;
		return 0;
	case ID_THREADS:
		return apply_threads(cli, value);
	case ID_LOCK_TIMEOUT:
		return apply_lock_timeout(cli, value);
	default:
		if (!parse->print)
			parse->print = opt->id;
		return 0;
	}
}

/* Put the option's name before what its parser complained about. */
static errcode_t name_option(struct dafs_ctx *ctx, const struct dafs_cli_opt *opt, errcode_t err)
{
	char detail[sizeof(ctx->detail)];

	memcpy(detail, ctx->detail, sizeof(detail));
	if (opt->name)
		return dafs_fail(ctx, err, "--%s: %s", opt->name, detail);
	return dafs_fail(ctx, err, "-%c: %s", opt->letter, detail);
}

static errcode_t apply(void *arg, const struct dafs_cli_opt *opt, const char *value)
{
	struct parse *parse = arg;
	struct dafs_cli *cli = parse->cli;
	errcode_t err;

	cli->ctx.detail[0] = '\0';
	if (opt->id >= DAFS_CLI_ID_SHARED)
		err = apply_shared(parse, opt, value);
	else
		err = cli->tool->apply(cli, cli->arg, opt, value);
	return err ? name_option(&cli->ctx, opt, err) : 0;
}

static errcode_t parse_options(struct parse *parse, int argc, char **argv)
{
	struct dafs_cli *cli = parse->cli;
	struct dafs_cli_opt *rows = dafs_cli_rows(cli->tool);
	struct dafs_cli_scan scan = {
		.opts = rows,
		.permute = !cli->tool->options_first,
		.apply = apply,
		.arg = parse,
	};
	errcode_t err;
	int first;

	if (!rows)
		return dafs_fail(&cli->ctx, ENOMEM, "option table");
	err = dafs_cli_scan(&cli->ctx, &scan, argc, argv, &first);
	free(rows);
	if (err || parse->print)
		return err;
	cli->argc = argc - first;
	cli->argv = argv + first;
	if (cli->argc < cli->tool->min_operands)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "too few operands");
	if (cli->tool->max_operands != DAFS_CLI_MANY && cli->argc > cli->tool->max_operands)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "unexpected operand '%s'",
				 cli->argv[cli->tool->max_operands]);
	return 0;
}

static void print_about(const struct dafs_cli_tool *tool, int what)
{
	if (what == ID_HELP)
		dafs_cli_help(stdout, tool);
	else if (what == ID_VERSION)
		printf("%s (dafs) %s\n", tool->name, PACKAGE_VERSION);
	else
		dafs_cli_completion(stdout, tool);
}

bool dafs_cli_start(struct dafs_cli *cli, const struct dafs_cli_tool *tool, void *arg, int argc,
		    char **argv, int *status)
{
	struct parse parse = { .cli = cli };
	errcode_t err;

	*cli = (struct dafs_cli){ .tool = tool, .arg = arg };
	*status = 0;
	if (!open_standard_fds()) {
		*status = tool->failure_status ? tool->failure_status : 1;
		return false;
	}
	dafs_cli_progress_init(&cli->progress, tool->name, STDERR_FILENO, false);
	initialize_ext2_error_table();
	initialize_dafs_error_table();
	err = dafs_ctx_init(&cli->ctx);
	cli->ctx.progress = show_progress;
	cli->ctx.progress_arg = cli;
	cli->ctx.notice = say_notice;
	cli->ctx.notice_arg = cli;
	if (!err)
		err = dafs_cli_verify(&cli->ctx, tool);
	assert(err != DAFS_ET_INTERNAL); /* the tables are our own */
	if (!err)
		err = parse_options(&parse, argc, argv);
	if (!err && !parse.print) {
		catch_signals(cli);
		return true;
	}
	if (!err)
		print_about(tool, parse.print);
	*status = dafs_cli_finish(cli, err);
	if (err && tool->usage_status) /* whatever is wrong with an option is wrong usage */
		*status = tool->usage_status;
	return false;
}

void dafs_cli_error(struct dafs_cli *cli, errcode_t err)
{
	const char *name = cli->tool->name, *detail = cli->ctx.detail;

	if (!err)
		return;
	dafs_cli_progress_clear(&cli->progress);
	fflush(stdout);
	if (err == DAFS_ET_USAGE && *detail) /* the detail says it all */
		fprintf(stderr, "%s: %s (try %s --help)\n", name, detail, name);
	else if (*detail)
		fprintf(stderr, "%s: %s: %s\n", name, detail, error_message(err));
	else
		fprintf(stderr, "%s: %s\n", name, error_message(err));
}

int dafs_cli_status(const struct dafs_cli *cli, errcode_t err)
{
	const struct dafs_cli_tool *tool = cli->tool;

	if (!err)
		return 0;
	if (err == DAFS_ET_CANCELLED)
		return tool->cancel_status ? tool->cancel_status : 130;
	if (err == DAFS_ET_USAGE && tool->usage_status)
		return tool->usage_status;
	return tool->failure_status ? tool->failure_status : 1;
}

int dafs_cli_finish(struct dafs_cli *cli, errcode_t err)
{
	release_signals();
	dafs_cli_error(cli, err);
	if ((fflush(stdout) || ferror(stdout)) && !err) {
		err = errno ? errno : EIO;
		dafs_fail(&cli->ctx, err, "standard output");
		dafs_cli_error(cli, err);
	}
	dafs_cli_progress_fini(&cli->progress);
	return dafs_cli_status(cli, err);
}

void dafs_cli_say(struct dafs_cli *cli, const char *fmt, ...)
{
	va_list ap;

	if (cli->quiet)
		return;
	dafs_cli_progress_clear(&cli->progress);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}
