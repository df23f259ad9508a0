/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * works - the workloads that the faults strike at: a file system, what it holds before, and the
 * commands that are pending when it is flushed.
 */
#ifndef TESTS_FAULT_WORKS_H
#define TESTS_FAULT_WORKS_H

#include "job/mkfs.h"
#include "job/session.h"

enum { WORK_STEPS_MOST = 4 };

typedef errcode_t (*work_fn)(struct dafs *fs);

struct work {
	const char *name;
	struct dafs_mkfs_opts mkfs;
	work_fn before;		       /* flushed into the image */
	work_fn step[WORK_STEPS_MOST]; /* each a command of its own; NULL ends */
	const char *
		part; /* a path that can be flushed alone, or a number of bytes; NULL: no such test */
	work_fn again[2]; /* flushed after before, each by itself; NULL: nothing */
	bool split; /* more than the journal holds at once: a flush may be cut off between its transactions */
};

extern const struct work works[];
extern const size_t nworks;

#endif
