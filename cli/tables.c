/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tables - what is made out of a tool's tables: the full set of rows, --help, shell completion. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_int.h"

static const struct {
	unsigned bit;
	struct dafs_cli_opt row;
} shared[] = {
	{ DAFS_CLI_QUIET, { ID_QUIET, 'q', "quiet", NULL, "Print nothing but errors.", NULL } },
	{ DAFS_CLI_VERBOSE,
	  { ID_VERBOSE, 'v', "verbose", NULL, "Say more; twice says even more.", NULL } },
	{ DAFS_CLI_JSON,
	  { ID_JSON, 0, "json", NULL, "Print the result as JSON on standard output.", NULL } },
	{ DAFS_CLI_THREADS,
	  { ID_THREADS, 0, "threads", "N",
	    "Worker threads; the result does not depend on it. Default: one a CPU.", NULL } },
	{ DAFS_CLI_NO_SYNC,
	  { ID_NO_SYNC, 0, "no-sync", NULL,
	    "Do not wait for the device: the result is safe against a crash of the program "
	    "but not of the machine.",
	    NULL } },
	{ DAFS_CLI_LOCK_TIMEOUT,
	  { ID_LOCK_TIMEOUT, 0, "lock-timeout", "SECONDS",
	    "How long to wait for another process that uses the image. Default: for ever.",
	    NULL } },
	{ ~0u, { ID_HELP, 0, "help", NULL, "Print this help and exit.", NULL } },
	{ ~0u, { ID_VERSION, 'V', "version", NULL, "Print the version and exit.", NULL } },
	{ ~0u, { ID_COMPLETION, 0, "completion", NULL, NULL, NULL } },
};
#define SHARED_ROWS (sizeof(shared) / sizeof(shared[0]))

struct dafs_cli_opt *dafs_cli_rows(const struct dafs_cli_tool *tool)
{
	unsigned own = dafs_cli_opts_count(tool->opts), n = own, i;
	struct dafs_cli_opt *rows = calloc(own + SHARED_ROWS + 1, sizeof(*rows));

	if (!rows)
		return NULL;
	if (own)
		memcpy(rows, tool->opts, own * sizeof(*rows));
	for (i = 0; i < SHARED_ROWS; i++) {
		if (shared[i].bit != ~0u && !(shared[i].bit & tool->shared))
			continue;
		rows[n] = shared[i].row;
		if (n == own)
			rows[n].group = "General";
		n++;
	}
	return rows;
}

errcode_t dafs_cli_verify(struct dafs_ctx *ctx, const struct dafs_cli_tool *tool)
{
	struct dafs_cli_opt *rows = dafs_cli_rows(tool);
	errcode_t err;

	if (!rows)
		return dafs_fail(ctx, ENOMEM, "option table");
	err = dafs_cli_opts_verify(ctx, rows);
	free(rows);
	if (!err && tool->cmds)
		err = dafs_cli_cmds_verify(ctx, tool->cmds);
	return err;
}

void dafs_cli_help(FILE *out, const struct dafs_cli_tool *tool)
{
	struct dafs_cli_opt *rows = dafs_cli_rows(tool);

	fprintf(out, "Usage: %s %s\n%s\n", tool->name, tool->synopsis, tool->purpose);
	dafs_cli_opts_help(out, rows);
	if (tool->cmds)
		dafs_cli_cmds_help(out, tool->cmds);
	if (tool->notes)
		fprintf(out, "\n%s", tool->notes);
	free(rows);
}

/* Placeholders whose arguments are names on the host. */
static bool names_a_file(const char *arg)
{
	static const char *const words[] = { "FILE", "DIR", "SRC", "IMAGE", "TAR" };
	unsigned i;

	for (i = 0; arg && i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(arg, words[i]))
			return true;
	return false;
}

static void put_spellings(FILE *out, const struct dafs_cli_opt *opt, const char *between)
{
	if (opt->letter)
		fprintf(out, "-%c", opt->letter);
	if (opt->letter && opt->name)
		fputs(between, out);
	if (opt->name)
		fprintf(out, "--%s", opt->name);
}

/* The branches of `case $prev`: an option's argument is a file name, or nothing that can be
 * guessed. */
static void put_arguments(FILE *out, const struct dafs_cli_opt *rows)
{
	for (; rows->letter || rows->name; rows++) {
		if (!rows->arg || !rows->help)
			continue;
		fputs("\t\t", out);
		put_spellings(out, rows, "|");
		fprintf(out, ") %s return ;;\n",
			names_a_file(rows->arg) ? "COMPREPLY=($(compgen -f -- \"$cur\"));" : "");
	}
}

static void put_words(FILE *out, const struct dafs_cli_opt *rows)
{
	for (; rows->letter || rows->name; rows++) {
		if (!rows->help)
			continue;
		put_spellings(out, rows, " ");
		fputc(' ', out);
	}
}

void dafs_cli_completion(FILE *out, const struct dafs_cli_tool *tool)
{
	struct dafs_cli_opt *rows = dafs_cli_rows(tool);
	const struct dafs_cli_cmd *cmd;

	if (!rows)
		return;
	fprintf(out, "# bash completion for %s, written by %s --completion\n_%s()\n{\n", tool->name,
		tool->name, tool->name);
	fputs("\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	      "\tCOMPREPLY=()\n\tcase $prev in\n",
	      out);
	put_arguments(out, rows);
	fputs("\tesac\n\tif [[ $cur == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W '", out);
	put_words(out, rows);
	fputs("' -- \"$cur\"))\n", out);
	if (tool->cmds) {
		/* A command follows the image, which is there as a file or a device. */
		fputs("\telif [[ -e ${prev%%[?:]*} && $prev != -* ]]; "
		      "then\n\t\tCOMPREPLY=($(compgen -W '",
		      out);
		for (cmd = tool->cmds; cmd->name; cmd++)
			fprintf(out, "%s ", cmd->name); /* aliases would only crowd the list */
		fputs("' -- \"$cur\"))\n", out);
	}
	fprintf(out,
		"\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}\n"
		"complete -o filenames -F _%s %s\n",
		tool->name, tool->name);
	free(rows);
}
