/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command tables: finding, parsing and running commands; splitting the lines of a script. */
#include "config.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"

static struct dafs_ctx ctx;
static char seen[256];

/* Notes what a handler got: name -o=value -r operands. */
static errcode_t note(void *arg, const struct dafs_cli_args *args)
{
	const char *offset = dafs_cli_value(args, 'o'), *from = dafs_cli_value(args, 300);
	int n = snprintf(seen, sizeof(seen), "%s", args->name);

	(void)arg;
	if (offset)
		n += snprintf(seen + n, sizeof(seen) - (size_t)n, " o=%s", offset);
	if (from)
		n += snprintf(seen + n, sizeof(seen) - (size_t)n, " from=%s", from);
	if (dafs_cli_value(args, 'a'))
		n += snprintf(seen + n, sizeof(seen) - (size_t)n, " append");
	for (int i = 0; i < args->argc; i++)
		n += snprintf(seen + n, sizeof(seen) - (size_t)n, " [%s]", args->argv[i]);
	return 0;
}

static errcode_t refuse(void *arg, const struct dafs_cli_args *args)
{
	(void)arg;
	return dafs_fail(&ctx, DAFS_ET_MLINK, "%s", args->argv[0]);
}

static const struct dafs_cli_opt write_opts[] = {
	{ 0, 'o', NULL, "OFFSET", "Where to write.", NULL },
	{ 0, 'a', "append", NULL, "Write at the end.", NULL },
	{ 300, 0, "from", "FILE", "Read from FILE.", NULL },
	{ 0 },
};

static const struct dafs_cli_cmd cmds[] = {
	{ .name = "write",
	  .alias = "w wr",
	  .synopsis = "[-o OFFSET | -a] [--from FILE] PATH",
	  .help = "Write.",
	  .group = "Files",
	  .opts = write_opts,
	  .min = 1,
	  .max = 1,
	  .run = note },
	{ .name = "chmod",
	  .synopsis = "MODE PATH...",
	  .help = "Change modes.",
	  .min = 2,
	  .max = DAFS_CLI_MANY,
	  .run = note },
	{ .name = "ln",
	  .synopsis = "TARGET PATH",
	  .help = "Link.",
	  .group = "Names",
	  .min = 2,
	  .max = 2,
	  .run = refuse },
	{ 0 },
};

/* Run one line of words. */
static errcode_t run(const char *line)
{
	char **words;
	errcode_t err;
	int argc;

	seen[0] = '\0';
	err = dafs_cli_split(&ctx, line, &argc, &words);
	assert_ok(err);
	err = dafs_cli_cmd_run(&ctx, cmds, NULL, argc, words);
	free(words);
	return err;
}

static void test_run(void **state)
{
	(void)state;
	assert_ok(run("write -o 5 /a"));
	assert_string_equal(seen, "write o=5 [/a]");
	assert_ok(run("w /a --from=x --append"));
	assert_string_equal(seen, "write from=x append [/a]");
	assert_ok(run("wr -a -- -a"));
	assert_string_equal(seen, "write append [-a]");
	assert_ok(run("chmod -x /a /b"));
	assert_string_equal(seen, "chmod [-x] [/a] [/b]");
	assert_ok(run("chmod -- -x /a"));
	assert_string_equal(seen, "chmod [-x] [/a]");
	assert_err(DAFS_ET_MLINK, run("ln a b"));
}

static void test_usage(void **state)
{
	(void)state;
	assert_err(DAFS_ET_USAGE, run("wri /a"));
	assert_string_equal(ctx.detail, "unknown command 'wri'");
	assert_err(DAFS_ET_USAGE, run("write"));
	assert_string_equal(
		ctx.detail,
		"write: too few arguments; usage: write [-o OFFSET | -a] [--from FILE] PATH");
	assert_err(DAFS_ET_USAGE, run("write a b"));
	assert_err(DAFS_ET_USAGE, run("write -z a"));
	assert_non_null(strstr(ctx.detail, "unknown option -z"));
	assert_err(DAFS_ET_USAGE, run("write a -o"));
	assert_non_null(strstr(ctx.detail, "option -o needs an argument"));
	assert_err(DAFS_ET_USAGE, run("write a --append=3"));
	assert_non_null(strstr(ctx.detail, "takes no argument"));
	assert_err(DAFS_ET_USAGE, run("ln a"));
	assert_string_equal(seen, "");
}

static void test_split(void **state)
{
	static const struct {
		const char *line;
		int argc;
		const char *words[4];
	} good[] = {
		{ "", 0, { NULL } },
		{ "  # all of it", 0, { NULL } },
		{ "a b\tc\n", 3, { "a", "b", "c" } },
		{ "a#b # c", 1, { "a#b" } },
		{ "'a b' \"c 'd\" e\\ f", 3, { "a b", "c 'd", "e f" } },
		{ "'' x", 2, { "", "x" } },
		{ "a'b'\"c\"d", 1, { "abcd" } },
		{ "\"\\\"\\n\\\\\" '\\'", 2, { "\"\\n\\", "\\" } },
		{ "\\#x \\'", 2, { "#x", "'" } },
		{ "x\\", 1, { "x\\" } },
		{ "\xff\xfe \x01", 2, { "\xff\xfe", "\x01" } },
	};
	char **words;
	int argc;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(dafs_cli_split(&ctx, good[i].line, &argc, &words));
		if (argc != good[i].argc)
			fail_msg("<%s>: %d words", good[i].line, argc);
		for (int j = 0; j < argc; j++)
			assert_string_equal(words[j], good[i].words[j]);
		assert_null(words[argc]);
		free(words);
	}
	assert_err(DAFS_ET_SYNTAX, dafs_cli_split(&ctx, "a 'b", &argc, &words));
	assert_null(words);
	assert_err(DAFS_ET_SYNTAX, dafs_cli_split(&ctx, "\"", &argc, &words));
}

static void test_help(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	dafs_cli_cmds_help(out, cmds);
	assert_true(dafs_cli_cmd_help(out, cmds, "wr"));
	assert_false(dafs_cli_cmd_help(out, cmds, "nothing"));
	fclose(out);
	assert_string_equal(text, "\nFiles:\n"
				  "  write, w, wr [-o OFFSET | -a] [--from FILE] PATH\n"
				  "                            Write.\n"
				  "  chmod MODE PATH...        Change modes.\n"
				  "\nNames:\n"
				  "  ln TARGET PATH            Link.\n"
				  "  write, w, wr [-o OFFSET | -a] [--from FILE] PATH\n"
				  "                            Write.\n"
				  "  -o OFFSET                 Where to write.\n"
				  "  -a, --append              Write at the end.\n"
				  "      --from=FILE           Read from FILE.\n");
	free(text);
}

static void test_verify(void **state)
{
	struct dafs_cli_cmd twice[] = { cmds[0], cmds[1], cmds[2], { 0 } };

	(void)state;
	assert_ok(dafs_cli_cmds_verify(&ctx, twice));
	twice[2].alias = "write";
	assert_err(DAFS_ET_INTERNAL, dafs_cli_cmds_verify(&ctx, twice));
	twice[2].alias = NULL;
	twice[2].name = "wr";
	assert_err(DAFS_ET_INTERNAL, dafs_cli_cmds_verify(&ctx, twice));
	twice[2] = cmds[2];
	twice[2].max = 1;
	assert_err(DAFS_ET_INTERNAL, dafs_cli_cmds_verify(&ctx, twice));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run),    cmocka_unit_test(test_usage),
		cmocka_unit_test(test_split),  cmocka_unit_test(test_help),
		cmocka_unit_test(test_verify),
	};

	initialize_dafs_error_table();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
