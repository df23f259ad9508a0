/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report - what dafsck prints: findings as they come, a summary line in e2fsck's shape; or all of
 * it as one JSON object.
 */
#ifndef DAFSCK_REPORT_H
#define DAFSCK_REPORT_H

#include "check/check.h"
#include "cli/cli.h"
#include "job/pending.h"

#include <signal.h>

/* Is progress shown? SIGUSR1 turns it on and SIGUSR2 off, as with e2fsck. */
extern volatile sig_atomic_t dafsck_progress_on;

#define DAFSCK_SHOWN 100u /* findings of one kind that are shown one by one */

struct dafsck_report {
	struct dafs_check_report check;
	struct dafs_cli *cli;
	const struct dafs_check_opts *opts;
	struct json_object *json, *json_findings; /* NULL without --json */
	uint32_t shown[512];			  /* by code */
	unsigned pass;
	int progress_fd; /* -C; 0: the terminal's own */
	unsigned timing; /* -t: how often */
	bool debug;	 /* -d */
	bool asked;	 /* the finding at hand was shown with its question */
	bool all;	 /* every further question is answered with yes */
	bool silent;	 /* ... with no: nobody answers any more */
	double begun;
	struct dafs_pending pending; /* before the check */
};

/* Wire the callbacks; cli must have been started and stays in use until the end. */
void dafsck_report_begin(struct dafsck_report *r, struct dafs_cli *cli,
			 const struct dafs_check_opts *opts);

/* Everything after the last finding. err: why the check ended early; status: dafs_check_status().
 */
void dafsck_report_end(struct dafsck_report *r, errcode_t err, int status);

/* --codes: the problem table. */
void dafsck_report_codes(struct dafs_cli *cli);

#endif
