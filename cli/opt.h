/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opt - option tables: one table drives parsing, --help, shell completion and the test that the man
 * page agrees.
 *
 * A table is an array of rows that ends with a row of zeros. Nothing here prints an error or exits:
 * a bad option is DAFS_ET_USAGE with the detail in the context.
 *
 * Invariants (dafs_cli_opts_verify):
 *  1. a row has a letter or a long name; no letter, long name or id occurs twice;
 *  2. a row with a help text shows up in --help; one without (help NULL) is accepted and not
 *     advertised.
 */
#ifndef DAFS_CLI_OPT_H
#define DAFS_CLI_OPT_H

#include <stdio.h>

#include "base/ctx.h"

struct dafs_cli_opt {
	int id;		   /* its name in code; 0: its letter. Long-only rows: 256 and up */
	char letter;	   /* 0: no short form */
	const char *name;  /* long name without the dashes; NULL: none */
	const char *arg;   /* placeholder; NULL: takes none. FILE, DIR, SRC: a host file */
	const char *help;  /* one sentence or two; wrapped by the printer */
	const char *group; /* heading that begins with this row; NULL: under the heading above */
};

/* The id of a row (its letter where it has no id of its own). */
int dafs_cli_opt_id(const struct dafs_cli_opt *opt);

/* Rows before the closing one; 0 for NULL. */
unsigned dafs_cli_opts_count(const struct dafs_cli_opt *opts);

/* Called for every option in the order of the command line. value is NULL where the row takes no
 * argument. */
typedef errcode_t (*dafs_cli_apply_fn)(void *arg, const struct dafs_cli_opt *opt,
				       const char *value);

struct dafs_cli_scan {
	const struct dafs_cli_opt *opts;
	bool permute; /* options may follow operands; else the first operand ends them */
	dafs_cli_apply_fn apply;
	void *arg;
};

/* Parse argv[1..argc) (argv[0] is skipped) and call scan->apply for each option. "--" ends the
 * options. argv is reordered when permute is set. *first gets the index of the first operand. Stops
 * at the first error: an unknown or ambiguous option and a missing or superfluous argument are
 * DAFS_ET_USAGE, else what apply returned. Not thread-safe (getopt_long). */
errcode_t dafs_cli_scan(struct dafs_ctx *ctx, const struct dafs_cli_scan *scan, int argc,
			char **argv, int *first);

/* Print the rows as --help shows them: grouped, aligned, wrapped at 80 columns. */
void dafs_cli_opts_help(FILE *out, const struct dafs_cli_opt *opts);

/* Print left, padded to the help column, and text wrapped behind it; left as wide as the column
 * gets its own line. */
void dafs_cli_help_row(FILE *out, const char *left, const char *text);

/* Check the invariants. DAFS_ET_INTERNAL with the row in the detail. */
errcode_t dafs_cli_opts_verify(struct dafs_ctx *ctx, const struct dafs_cli_opt *opts);

#endif
