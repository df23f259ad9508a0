/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmd - command tables (dawrite's commands, dafsdebug's requests): name, synopsis, bounds, options,
 * handler.
 *
 * A table ends with a row of zeros. dafs_cli_cmd_run() is all a tool needs: it finds the row,
 * parses the command's options, checks the number of operands and calls the handler. It prints only
 * what --help asks for.
 *
 * Invariants (dafs_cli_cmds_verify): every row has a name, a help text and a handler; no name or
 * alias occurs twice; min <= max unless max is DAFS_CLI_MANY; the option table of a row is in order
 * and not longer than DAFS_CLI_CMD_OPTS.
 */
#ifndef DAFS_CLI_CMD_H
#define DAFS_CLI_CMD_H

#include "cli/opt.h"

#define DAFS_CLI_MANY	  (-1)
#define DAFS_CLI_CMD_OPTS 24

/* What one command was given. Valid during the handler's call. */
struct dafs_cli_args {
	const struct dafs_cli_opt *opts;      /* the command's table */
	const char *value[DAFS_CLI_CMD_OPTS]; /* by row: NULL absent, "" a flag, else the text */
	const char *name;		      /* the command's name as it stands in the table */
	int argc;			      /* operands, NAME and options not counted */
	char **argv;
};

struct dafs_cli_cmd {
	const char *name;
	const char *alias;    /* further names, separated by blanks; NULL: none */
	const char *synopsis; /* what follows the name: "[-r] PATH..." */
	const char *help;     /* one line */
	const char *group;    /* heading that begins with this row; NULL: under the heading above */
	/* The command's options; NULL: takes none, and words with a dash are operands. Options may
	 * follow operands. */
	const struct dafs_cli_opt *opts;
	int min, max;	/* operands; max may be DAFS_CLI_MANY */
	unsigned flags; /* the tool's own */
	errcode_t (*run)(void *arg, const struct dafs_cli_args *args);
};

/* The row called name (or alias); NULL when there is none. */
const struct dafs_cli_cmd *dafs_cli_cmd_find(const struct dafs_cli_cmd *cmds, const char *name);

/* Run argv[0] with argv[1..argc). An unknown command, a bad option and a wrong number of operands
 * are DAFS_ET_USAGE with the command and its synopsis in the detail; else what the handler
 * returned. argv may be reordered. `COMMAND --help` prints the command's help to standard output
 * instead (commands with options only). */
errcode_t dafs_cli_cmd_run(struct dafs_ctx *ctx, const struct dafs_cli_cmd *cmds, void *arg,
			   int argc, char **argv);

/* The argument of an option by its id: NULL when it was not given, "" for a flag. */
const char *dafs_cli_value(const struct dafs_cli_args *args, int id);

/* Print the table as --help shows it; with name only that row and its options (false: no such
 * command). */
void dafs_cli_cmds_help(FILE *out, const struct dafs_cli_cmd *cmds);
bool dafs_cli_cmd_help(FILE *out, const struct dafs_cli_cmd *cmds, const char *name);

/* Split one line of a script into words, as a shell does: blanks separate, '...' and "..." and
 * \ quote, # at the beginning of a word starts a comment. The words point into one allocation that
 * *words begins; free(*words) frees all. No words is *argc 0. An open quote is DAFS_ET_SYNTAX. */
errcode_t dafs_cli_split(struct dafs_ctx *ctx, const char *line, int *argc, char ***words);

/* Check the invariants. DAFS_ET_INTERNAL with the row in the detail. */
errcode_t dafs_cli_cmds_verify(struct dafs_ctx *ctx, const struct dafs_cli_cmd *cmds);

#endif
