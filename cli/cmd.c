/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd - see cmd.h. */
#include "config.h"

#include "cli/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HELP_ID 0xFFFF

/* Is name one of the blank-separated words? */
static bool is_word_of(const char *words, const char *name)
{
	size_t len = strlen(name);

	while (words && *words) {
		size_t word = strcspn(words, " ");

		if (word == len && !memcmp(words, name, len))
			return true;
		words += word;
		words += strspn(words, " ");
	}
	return false;
}

const struct dafs_cli_cmd *dafs_cli_cmd_find(const struct dafs_cli_cmd *cmds, const char *name)
{
	for (; cmds->name; cmds++)
		if (!strcmp(cmds->name, name) || is_word_of(cmds->alias, name))
			return cmds;
	return NULL;
}

/* Parsing one command's options: its rows and --help behind them. */
struct cmd_scan {
	struct dafs_cli_opt rows[DAFS_CLI_CMD_OPTS + 2];
	struct dafs_cli_args *args;
	bool help;
};

static errcode_t apply(void *arg, const struct dafs_cli_opt *opt, const char *value)
{
	struct cmd_scan *scan = arg;

	if (opt->id == HELP_ID)
		scan->help = true;
	else
		scan->args->value[opt - scan->rows] = value ? value : "";
	return 0;
}

static errcode_t scan_options(struct dafs_ctx *ctx, struct cmd_scan *state, int argc, char **argv,
			      int *first)
{
	unsigned n = dafs_cli_opts_count(state->args->opts);
	struct dafs_cli_scan scan = {
		.opts = state->rows,
		.permute = true,
		.apply = apply,
		.arg = state,
	};

	memcpy(state->rows, state->args->opts, n * sizeof(state->rows[0]));
	state->rows[n] = (struct dafs_cli_opt){ .id = HELP_ID, .name = "help" };
	return dafs_cli_scan(ctx, &scan, argc, argv, first);
}

static errcode_t wrong_usage(struct dafs_ctx *ctx, const struct dafs_cli_cmd *cmd, const char *why)
{
	const char *synopsis = cmd->synopsis ? cmd->synopsis : "";

	return dafs_fail(ctx, DAFS_ET_USAGE, "%s: %s; usage: %s%s%s", cmd->name, why, cmd->name,
			 *synopsis ? " " : "", synopsis);
}

errcode_t dafs_cli_cmd_run(struct dafs_ctx *ctx, const struct dafs_cli_cmd *cmds, void *arg,
			   int argc, char **argv)
{
	const struct dafs_cli_cmd *cmd = dafs_cli_cmd_find(cmds, argv[0]);
	struct dafs_cli_args args = { 0 };
	struct cmd_scan scan = { .args = &args };
	char why[sizeof(ctx->detail)];
	int first = 1;
	errcode_t err;

	if (!cmd)
		return dafs_fail(ctx, DAFS_ET_USAGE, "unknown command '%s'", argv[0]);
	args.name = cmd->name;
	args.opts = cmd->opts;
	if (cmd->opts) {
		err = scan_options(ctx, &scan, argc, argv, &first);
		if (err == DAFS_ET_USAGE) {
			memcpy(why, ctx->detail, sizeof(why));
			return wrong_usage(ctx, cmd, why);
		}
		if (err)
			return err;
	} else if (argc > 1 && !strcmp(argv[1], "--")) {
		first = 2;
	}
	if (scan.help) {
		dafs_cli_cmd_help(stdout, cmds, cmd->name);
		return 0;
	}
	args.argc = argc - first;
	args.argv = argv + first;
	if (args.argc < cmd->min)
		return wrong_usage(ctx, cmd, "too few arguments");
	if (cmd->max != DAFS_CLI_MANY && args.argc > cmd->max)
		return wrong_usage(ctx, cmd, "too many arguments");
	return cmd->run(arg, &args);
}

const char *dafs_cli_value(const struct dafs_cli_args *args, int id)
{
	unsigned i, n = dafs_cli_opts_count(args->opts);

	for (i = 0; i < n; i++)
		if (dafs_cli_opt_id(&args->opts[i]) == id)
			return args->value[i];
	return NULL;
}

static void print_row(FILE *out, const struct dafs_cli_cmd *cmd)
{
	char left[256];
	const char *alias = cmd->alias;
	int len = snprintf(left, sizeof(left), "  %s", cmd->name);

	while (alias && *alias && len < (int)sizeof(left)) {
		int word = (int)strcspn(alias, " ");

		len += snprintf(left + len, sizeof(left) - (size_t)len, ", %.*s", word, alias);
		alias += word;
		alias += strspn(alias, " ");
	}
	if (cmd->synopsis && len < (int)sizeof(left))
		snprintf(left + len, sizeof(left) - (size_t)len, " %s", cmd->synopsis);
	dafs_cli_help_row(out, left, cmd->help);
}

void dafs_cli_cmds_help(FILE *out, const struct dafs_cli_cmd *cmds)
{
	for (; cmds->name; cmds++) {
		if (cmds->group)
			fprintf(out, "\n%s:\n", cmds->group);
		print_row(out, cmds);
	}
}

bool dafs_cli_cmd_help(FILE *out, const struct dafs_cli_cmd *cmds, const char *name)
{
	const struct dafs_cli_cmd *cmd = dafs_cli_cmd_find(cmds, name);

	if (!cmd)
		return false;
	print_row(out, cmd);
	dafs_cli_opts_help(out, cmd->opts);
	return true;
}

/* One word of a script line, unquoted into *out. Leaves *in behind it. False: an open quote. */
static bool take_word(const char **in, char **out)
{
	const char *p = *in;
	char *q = *out, quote = 0;

	for (; *p && (quote || !strchr(" \t\r\n", *p)); p++) {
		if (quote == '\'' && *p != '\'') {
			*q++ = *p;
		} else if (*p == quote) {
			quote = 0;
		} else if (!quote && (*p == '\'' || *p == '"')) {
			quote = *p;
		} else if (*p == '\\' && p[1] && (!quote || strchr("\\\"$`", p[1]))) {
			*q++ = *++p;
		} else {
			*q++ = *p;
		}
	}
	*q++ = '\0';
	*in = p;
	*out = q;
	return !quote;
}

errcode_t dafs_cli_split(struct dafs_ctx *ctx, const char *line, int *argc, char ***words)
{
	/* A word takes a byte and a blank of the line at least; its text never grows. */
	size_t len = strlen(line), most = len / 2 + 2;
	char **vec, *text;
	int n = 0;

	*argc = 0;
	*words = NULL;
	vec = malloc(most * sizeof(*vec) + len + 2);
	if (!vec)
		return dafs_fail(ctx, ENOMEM, "a line of %zu bytes", len);
	text = (char *)(vec + most);
	for (;;) {
		line += strspn(line, " \t\r\n");
		if (!*line || *line == '#')
			break;
		vec[n++] = text;
		if (!take_word(&line, &text)) {
			free(vec);
			return dafs_fail(ctx, DAFS_ET_SYNTAX, "a quote is not closed");
		}
	}
	vec[n] = NULL;
	*argc = n;
	*words = vec;
	return 0;
}

static bool in_order(struct dafs_ctx *ctx, const struct dafs_cli_cmd *cmd)
{
	return cmd->help && cmd->run && (cmd->max == DAFS_CLI_MANY || cmd->min <= cmd->max) &&
	       dafs_cli_opts_count(cmd->opts) <= DAFS_CLI_CMD_OPTS &&
	       !dafs_cli_opts_verify(ctx, cmd->opts);
}

errcode_t dafs_cli_cmds_verify(struct dafs_ctx *ctx, const struct dafs_cli_cmd *cmds)
{
	const struct dafs_cli_cmd *cmd, *other;

	for (cmd = cmds; cmd->name; cmd++) {
		if (!in_order(ctx, cmd))
			return dafs_fail(ctx, DAFS_ET_INTERNAL, "command %s", cmd->name);
		for (other = cmds; other < cmd; other++)
			if (!strcmp(other->name, cmd->name) ||
			    is_word_of(other->alias, cmd->name) ||
			    is_word_of(cmd->alias, other->name))
				return dafs_fail(ctx, DAFS_ET_INTERNAL, "command %s occurs twice",
						 cmd->name);
	}
	return 0;
}
