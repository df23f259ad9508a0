/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt - see opt.h. */
#include "config.h"

#include "cli/opt.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 28
#define HELP_WIDTH  80

/* getopt_long returns this plus the row's index for every long option, so that ids
 * never clash with '?' or ':'. */
#define LONG_BASE 0x10000

int dafs_cli_opt_id(const struct dafs_cli_opt *opt)
{
	return opt->id ? opt->id : (unsigned char)opt->letter;
}

unsigned dafs_cli_opts_count(const struct dafs_cli_opt *opts)
{
	unsigned n = 0;

	while (opts && (opts[n].letter || opts[n].name))
		n++;
	return n;
}

/* The two descriptions that getopt_long wants, out of the one table. */
struct getopt_tables {
	char *letters;
	struct option *longs;
};

static void free_tables(struct getopt_tables *tables)
{
	free(tables->letters);
	free(tables->longs);
}

static errcode_t make_tables(const struct dafs_cli_scan *scan, struct getopt_tables *tables)
{
	unsigned i, n = dafs_cli_opts_count(scan->opts), longs = 0;
	char *p;

	tables->letters = malloc(2 * n + 3);
	tables->longs = calloc(n + 1, sizeof(*tables->longs));
	if (!tables->letters || !tables->longs) {
		free_tables(tables);
		return ENOMEM;
	}
	p = tables->letters;
	if (!scan->permute)
		*p++ = '+';
	*p++ = ':';
	for (i = 0; i < n; i++) {
		const struct dafs_cli_opt *opt = &scan->opts[i];

		if (opt->letter) {
			*p++ = opt->letter;
			if (opt->arg)
				*p++ = ':';
		}
		if (opt->name)
			tables->longs[longs++] = (struct option){
				.name = opt->name,
				.has_arg = opt->arg ? required_argument : no_argument,
				.val = LONG_BASE + (int)i,
			};
	}
	*p = '\0';
	return 0;
}

static const struct dafs_cli_opt *find_row(const struct dafs_cli_opt *opts, int found)
{
	if (found >= LONG_BASE)
		return &opts[found - LONG_BASE];
	while (opts->letter != found)
		opts++;
	return opts;
}

/* What getopt_long refused, in words. text is the word that it was looking at. */
static errcode_t refuse(struct dafs_ctx *ctx, int found, const char *text)
{
	if (found == ':') {
		if (optopt < LONG_BASE)
			return dafs_fail(ctx, DAFS_ET_USAGE, "option -%c needs an argument",
					 optopt);
		return dafs_fail(ctx, DAFS_ET_USAGE, "option %s needs an argument", text);
	}
	if (optopt >= LONG_BASE)
		return dafs_fail(ctx, DAFS_ET_USAGE, "option %s takes no argument", text);
	if (optopt)
		return dafs_fail(ctx, DAFS_ET_USAGE, "unknown option -%c", optopt);
	return dafs_fail(ctx, DAFS_ET_USAGE, "unknown or ambiguous option %s", text);
}

errcode_t dafs_cli_scan(struct dafs_ctx *ctx, const struct dafs_cli_scan *scan, int argc,
			char **argv, int *first)
{
	struct getopt_tables tables;
	errcode_t err;
	int found;

	*first = 0;
	err = make_tables(scan, &tables);
	if (err)
		return dafs_fail(ctx, err, "option table");
	opterr = 0;
	optind = 0; /* glibc: start over, also after an earlier scan that stopped half way */
	while (!err &&
	       (found = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) != -1) {
		const struct dafs_cli_opt *opt;

		if (found == '?' || found == ':') {
			err = refuse(ctx, found, argv[optind - 1]);
			break;
		}
		opt = find_row(scan->opts, found);
		err = scan->apply(scan->arg, opt, opt->arg ? optarg : NULL);
	}
	*first = err ? 0 : optind;
	free_tables(&tables);
	return err;
}

void dafs_cli_help_row(FILE *out, const char *left, const char *text)
{
	int column = fprintf(out, "%s", left);

	if (column >= HELP_COLUMN - 1) {
		fputc('\n', out);
		column = 0;
	}
	column += fprintf(out, "%*s", HELP_COLUMN - column, "");
	while (*text) {
		int word = (int)strcspn(text, " ");

		if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
			fprintf(out, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		} else if (column > HELP_COLUMN) {
			column += fprintf(out, " ");
		}
		column += fprintf(out, "%.*s", word, text);
		text += word;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

void dafs_cli_opts_help(FILE *out, const struct dafs_cli_opt *opts)
{
	char left[128];

	for (; opts && (opts->letter || opts->name); opts++) {
		const char *arg = opts->arg ? opts->arg : "";

		if (opts->group)
			fprintf(out, "\n%s:\n", opts->group);
		if (!opts->help)
			continue;
		if (!opts->name)
			snprintf(left, sizeof(left), "  -%c%s%s", opts->letter, *arg ? " " : "",
				 arg);
		else if (!opts->letter)
			snprintf(left, sizeof(left), "      --%s%s%s", opts->name, *arg ? "=" : "",
				 arg);
		else
			snprintf(left, sizeof(left), "  -%c, --%s%s%s", opts->letter, opts->name,
				 *arg ? "=" : "", arg);
		dafs_cli_help_row(out, left, opts->help);
	}
}

errcode_t dafs_cli_opts_verify(struct dafs_ctx *ctx, const struct dafs_cli_opt *opts)
{
	unsigned i, j, n = dafs_cli_opts_count(opts);

	for (i = 0; i < n; i++) {
		if (!dafs_cli_opt_id(&opts[i]))
			return dafs_fail(ctx, DAFS_ET_INTERNAL, "option --%s has no id",
					 opts[i].name);
		for (j = 0; j < i; j++) {
			bool letter = opts[i].letter && opts[i].letter == opts[j].letter;
			bool name =
				opts[i].name && opts[j].name && !strcmp(opts[i].name, opts[j].name);

			if (letter || name ||
			    dafs_cli_opt_id(&opts[i]) == dafs_cli_opt_id(&opts[j]))
				return dafs_fail(ctx, DAFS_ET_INTERNAL,
						 "options %u and %u are the same", j, i);
		}
	}
	return 0;
}
