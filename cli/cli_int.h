/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli_int - ids of the rows that every tool has, for cli.c and tables.c. */
#ifndef DAFS_CLI_CLI_INT_H
#define DAFS_CLI_CLI_INT_H

#include "cli/cli.h"

enum shared_id {
	ID_QUIET = DAFS_CLI_ID_SHARED,
	ID_VERBOSE,
	ID_JSON,
	ID_THREADS,
	ID_NO_SYNC,
	ID_LOCK_TIMEOUT,
	ID_HELP,
	ID_VERSION,
	ID_COMPLETION,
};

#endif
