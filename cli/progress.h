/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * progress - one line on a terminal for work that takes over a second, nothing anywhere else.
 *
 * Wired into a context by dafs_cli_start(). Calls may come from any thread; those that find the
 * line being drawn are dropped.
 *
 * Invariants:
 *  1. nothing is printed before DAFS_PROGRESS_AFTER_MS of the first call, nor more often than ten
 *     times a second;
 *  2. the line is the terminal's last one and is gone after dafs_cli_progress_clear(): whoever
 *     prints calls that first.
 */
#ifndef DAFS_CLI_PROGRESS_H
#define DAFS_CLI_PROGRESS_H

#include <pthread.h>

#include "base/ctx.h"

#define DAFS_PROGRESS_AFTER_MS 1000

struct dafs_cli_progress {
	pthread_mutex_t lock;
	const char *tool;
	int fd;			    /* -1: nobody watches */
	uint64_t begun_ms;	    /* 0: no call yet */
	uint64_t drawn_ms;	    /* 0: no line on the terminal */
	uint64_t (*clock_ms)(void); /* replaced by tests */
};

/* Watch on fd when it is a terminal (or force is set, for tests); else every call is a no-op. */
void dafs_cli_progress_init(struct dafs_cli_progress *progress, const char *tool, int fd,
			    bool force);
void dafs_cli_progress_fini(struct dafs_cli_progress *progress);

/* The context's callback: arg is the struct. */
void dafs_cli_progress_show(void *arg, const char *stage, uint64_t done, uint64_t total);

/* Take the line off the terminal. */
void dafs_cli_progress_clear(struct dafs_cli_progress *progress);

#endif
