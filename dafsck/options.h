/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options - dafsck's command line: e2fsck's options, what they mean here, and by name those that
 * mean nothing here.
 */
#ifndef DAFSCK_OPTIONS_H
#define DAFSCK_OPTIONS_H

#include "dafsck/report.h"

struct dafsck_request {
	struct dafs_check_opts opts;
	bool mode_set; /* -n, -p or -y */
	bool codes;
	const char *undo;     /* -z as given; NULL: none, "": a name of our own */
	char *undo_made;      /* that name: main frees it */
	const char *bad_file; /* -l, -L */
	unsigned search;      /* -c: how often */
	bool keep;	      /* -k */
	uint64_t *bad_blks;   /* what -l, -L and -c tell: main frees it */
	struct dafsck_report report;
};

/* The option table, and what each option does to the request (arg). */
extern const struct dafs_cli_opt dafsck_options[];
errcode_t dafsck_apply(struct dafs_cli *cli, void *arg, const struct dafs_cli_opt *opt,
		       const char *value);

/* What can be said only when all options are known: which mode it is, whether they go together, and
 * the undo file's name. DAFS_ET_USAGE; ENOTTY where questions would have to be asked and nobody is
 * there to answer; errno. */
errcode_t dafsck_complete(struct dafs_cli *cli, struct dafsck_request *req);

#endif
