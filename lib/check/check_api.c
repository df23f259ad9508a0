/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check_api - dafs_check of dafs.h on top of check.
 */
#include "config.h"

#include "dafs/dafs.h"

#include "check/check.h"

errcode_t dafs_check(struct dafs_ctx *ctx, const char *address, uint64_t *problems)
{
	struct dafs_check_opts opts = { .size = sizeof(opts), .force = true };
	struct dafs_check_report report = { 0 };
	errcode_t err = dafs_check_run(ctx, address, &opts, &report);

	*problems = report.result.found[DAFS_CHECK_DAMAGE] + report.result.found[DAFS_CHECK_FATAL];
	return err;
}
