/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frame of a tool: option tables, shared options, help, exit statuses, progress. */
#include "config.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/value.h"

#define ID_LONG 256

struct seen {
	uint64_t block_bytes;
	char text[128];
};

static errcode_t apply(struct dafs_cli *cli, void *arg, const struct dafs_cli_opt *opt,
		       const char *value)
{
	struct seen *seen = arg;

	if (dafs_cli_opt_id(opt) == 'b')
		return dafs_cli_parse_size(&cli->ctx, value, 1, &seen->block_bytes);
	strcat(seen->text, opt->name ? opt->name : "F");
	strcat(seen->text, ";");
	return 0;
}

static const struct dafs_cli_opt opts[] = {
	{ 0, 'b', "block-size", "BYTES",
	  "Size of a block, which is a power of two between 1024 and 65536 bytes.", "Format" },
	{ 0, 'F', NULL, NULL, "Force.", NULL },
	{ ID_LONG, 0, "order", "plan|dirty", "Order of placement.", "Layout" },
	{ ID_LONG + 1, 0, "hidden", NULL, NULL, NULL },
	{ 0 },
};

static const struct dafs_cli_tool tool = {
	.name = "tool",
	.purpose = "Does nothing.",
	.synopsis = "[OPTION...] IMAGE [SIZE]",
	.opts = opts,
	.shared = DAFS_CLI_JSON | DAFS_CLI_QUIET | DAFS_CLI_VERBOSE | DAFS_CLI_THREADS |
		  DAFS_CLI_LOCK_TIMEOUT,
	.apply = apply,
	.min_operands = 1,
	.max_operands = 2,
	.usage_status = 16,
	.failure_status = 8,
	.cancel_status = 32,
};

/* Start with the words of a line; standard output and error go to /dev/null meanwhile. */
static bool start(struct dafs_cli *cli, const struct dafs_cli_tool *which, struct seen *seen,
		  char *line, int *status)
{
	static char *argv[16];
	int argc = 0, out = dup(1), err = dup(2);
	bool going;

	memset(seen, 0, sizeof(*seen));
	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	fflush(stdout);
	assert_non_null(freopen("/dev/null", "w", stdout));
	assert_non_null(freopen("/dev/null", "w", stderr));
	going = dafs_cli_start(cli, which, seen, argc, argv, status);
	fflush(stdout);
	fflush(stderr);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	return going;
}

static void test_options(void **state)
{
	char line[] = "tool img -b 4k -FF --order=plan --threads 3 -vvq 10m --json --lock-timeout "
		      "5 --hidden";
	struct dafs_cli cli;
	struct seen seen;
	int status;

	(void)state;
	assert_true(start(&cli, &tool, &seen, line, &status));
	assert_int_equal(seen.block_bytes, 4096);
	assert_string_equal(seen.text, "F;F;order;hidden;");
	assert_int_equal(cli.ctx.threads, 3);
	assert_int_equal(cli.verbose, 2);
	assert_true(cli.quiet && cli.json);
	assert_int_equal(cli.ctx.lock_timeout_ms, 5000);
	assert_int_equal(cli.argc, 2);
	assert_string_equal(cli.argv[0], "img");
	assert_string_equal(cli.argv[1], "10m");
	assert_int_equal(dafs_cli_finish(&cli, 0), 0);
}

static void test_options_first(void **state)
{
	struct dafs_cli_tool first = tool;
	char line[] = "tool -q img write -b";
	struct dafs_cli cli;
	struct seen seen;
	int status;

	(void)state;
	first.options_first = true;
	first.max_operands = DAFS_CLI_MANY;
	assert_true(start(&cli, &first, &seen, line, &status));
	assert_int_equal(cli.argc, 3);
	assert_string_equal(cli.argv[2], "-b");
	assert_int_equal(dafs_cli_finish(&cli, 0), 0);
}

static void test_statuses(void **state)
{
	static const struct {
		const char *line;
		int status;
		const char *detail;
	} cases[] = {
		{ "tool --help", 0, "" },
		{ "tool --version", 0, "" },
		{ "tool -V img", 0, "" },
		{ "tool --completion", 0, "" },
		{ "tool", 16, "too few operands" },
		{ "tool a b c", 16, "unexpected operand 'c'" },
		{ "tool -z a", 16, "unknown option -z" },
		{ "tool --zz a", 16, "unknown or ambiguous option --zz" },
		{ "tool a -b", 16, "option -b needs an argument" },
		{ "tool a --order", 16, "option --order needs an argument" },
		{ "tool a -b x", 16, "--block-size: 'x' is not a number" },
		{ "tool a --no-sync", 16, "unknown or ambiguous option --no-sync" },
		{ "tool a --threads=0", 16, "--threads: 0 (1 to 1024)" },
	};
	struct dafs_cli cli;
	struct seen seen;
	char line[64];
	int status;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(line, sizeof(line), "%s", cases[i].line);
		assert_false(start(&cli, &tool, &seen, line, &status));
		assert_string_equal(cli.ctx.detail, cases[i].detail);
		assert_int_equal(status, cases[i].status);
	}
	assert_int_equal(dafs_cli_status(&cli, DAFS_ET_CANCELLED), 32);
	assert_int_equal(dafs_cli_status(&cli, ENOENT), 8);
	assert_int_equal(dafs_cli_status(&cli, 0), 0);
}

static void test_cancel(void **state)
{
	char line[] = "tool img";
	struct dafs_cli cli;
	struct sigaction action;
	struct seen seen;
	int status;

	(void)state;
	assert_true(start(&cli, &tool, &seen, line, &status));
	assert_ok(dafs_cancelled(&cli.ctx));
	raise(SIGTERM);
	assert_err(DAFS_ET_CANCELLED, dafs_cancelled(&cli.ctx));
	/* The next one would end the process. */
	sigaction(SIGTERM, NULL, &action);
	assert_true(action.sa_handler == SIG_DFL);
	assert_int_equal(dafs_cli_finish(&cli, 0), 0);
	sigaction(SIGINT, NULL, &action);
	assert_true(action.sa_handler == SIG_DFL);
}

static void test_help(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	dafs_cli_help(out, &tool);
	fclose(out);
	assert_non_null(strstr(
		text,
		"Usage: tool [OPTION...] IMAGE [SIZE]\nDoes nothing.\n\nFormat:\n"
		"  -b, --block-size=BYTES    Size of a block, which is a power of two between\n"
		"                            1024 and 65536 bytes.\n"
		"  -F                        Force.\n"
		"\nLayout:\n"
		"      --order=plan|dirty    Order of placement.\n"
		"\nGeneral:\n"
		"  -q, --quiet               Print nothing but errors.\n"));
	assert_null(strstr(text, "hidden"));
	assert_null(strstr(text, "no-sync"));
	assert_null(strstr(text, "completion"));
	free(text);
}

static void test_verify(void **state)
{
	struct dafs_cli_opt rows[] = { opts[0], opts[1], { 0 } };
	struct dafs_cli_tool wrong = tool;
	struct dafs_ctx ctx = { 0 };

	(void)state;
	assert_ok(dafs_cli_verify(&ctx, &tool));
	wrong.opts = rows;
	rows[1].letter = 'q'; /* --quiet's */
	assert_err(DAFS_ET_INTERNAL, dafs_cli_verify(&ctx, &wrong));
	rows[1] = (struct dafs_cli_opt){ 0, 0, "long", NULL, "No id.", NULL };
	assert_err(DAFS_ET_INTERNAL, dafs_cli_verify(&ctx, &wrong));
	rows[1] = (struct dafs_cli_opt){ 0, 'x', "block-size", NULL, "Same name.", NULL };
	assert_err(DAFS_ET_INTERNAL, dafs_cli_verify(&ctx, &wrong));
}

static uint64_t fake_ms = 1;

static uint64_t fake_clock(void)
{
	return fake_ms;
}

/* Everything that is in the pipe now. */
static const char *drain(int fd)
{
	static char text[512];
	ssize_t len = read(fd, text, sizeof(text) - 1);

	text[len > 0 ? len : 0] = '\0';
	return text;
}

static void test_progress(void **state)
{
	struct dafs_cli_progress progress;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	dafs_cli_progress_init(&progress, "tool", fds[1], false);
	assert_int_equal(progress.fd, -1); /* a pipe is no terminal */
	dafs_cli_progress_fini(&progress);

	dafs_cli_progress_init(&progress, "tool", fds[1], true);
	progress.clock_ms = fake_clock;
	dafs_cli_progress_show(&progress, "writing", 1, 4);
	fake_ms += DAFS_PROGRESS_AFTER_MS - 1;
	dafs_cli_progress_show(&progress, "writing", 2, 4);
	fake_ms += 1;
	dafs_cli_progress_show(&progress, "writing", 3, 4);
	fake_ms += 50;
	dafs_cli_progress_show(&progress, "writing", 4, 4); /* too soon after the last one */
	assert_string_equal(drain(fds[0]), "\rtool: writing:  75 %\033[K");
	fake_ms += 100;
	dafs_cli_progress_show(&progress, "scanning", 7, 0);
	dafs_cli_progress_clear(&progress);
	dafs_cli_progress_clear(&progress);
	assert_string_equal(drain(fds[0]), "\rtool: scanning: 7\033[K\r\033[K");
	dafs_cli_progress_fini(&progress);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),	 cmocka_unit_test(test_options_first),
		cmocka_unit_test(test_statuses), cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_help),	 cmocka_unit_test(test_verify),
		cmocka_unit_test(test_progress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
