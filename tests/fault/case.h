/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * case - one try: a workload in one phase with one fault at one operation, and what must hold
 * afterwards.
 *
 * Every step that touches the image runs in a child process, so that a stop is a real one and a
 * crash is a finding of its own. The folder of the case is put back from memory before each try.
 *
 * After the fault: with case_others somebody else replays the journal first; the next opening
 * settles; the cache verifies; e2fsck and dafsck have no finding; the tree is the one before or the
 * one after, or, where the journal splits the flush, one that an undisturbed flush has between two
 * transactions; what was acknowledged is there; flushing again gives the tree of an undisturbed
 * flush. With case_kernel the kernel mounts the image wherever e2fsck looks at it.
 */
#ifndef TESTS_FAULT_CASE_H
#define TESTS_FAULT_CASE_H

#include "tests/fault/digest.h"
#include "tests/fault/shim.h"
#include "tests/fault/works.h"

enum phase {
	PHASE_COMMANDS, /* each step is a command that is saved in the cache */
	PHASE_FLUSH,	/* all that is pending */
	PHASE_PART,	/* one path of it */
	PHASE_SETTLE,	/* the opening after a flush that was stopped at `first` */
	PHASE_MEMORY,	/* commands and flush in one process, without a cache */
	PHASE_COUNT,
};

enum { STATES_MOST = 64 };

struct snap;

/* A workload with its states and what must come out. */
struct prepared {
	const struct work *work;
	unsigned nsteps;
	struct snap *base, *pending;
	struct digest after[WORK_STEPS_MOST + 1]; /* flushed after so many steps */
	struct digest part;
	struct digest between
		[STATES_MOST]; /* a flush that the journal splits: before each of its transactions */
	unsigned nbetween;
	bool kernel_writes; /* the kernel of this host mounts it for writing */
	uint64_t ops[PHASE_COUNT]; /* of the undisturbed run; 0: no such phase */
};

struct try {
	enum phase phase;
	enum fault fault;
	uint64_t at, first, seed;
};

/* child_open first (child.h), which makes the folder that all cases use. */

/* Make the states of a workload. False: it failed, said on stderr. */
bool case_prepare(const struct work *work, struct prepared *out);
void case_release(struct prepared *prep);

/* Run one try. NULL: all held; else what did not (static text), and the folder is as it was left.
 * *ops: operations of the run. */
const char *case_try(const struct prepared *prep, const struct try *t, uint64_t *ops);

/* Run it, and do not judge: the folder is as the fault left it. */
void case_leave(const struct prepared *prep, const struct try *t);

/* Operations of the opening that settles a flush stopped at first. */
uint64_t case_settle_ops(const struct prepared *prep, uint64_t first);

/* Let others replay the journal before the next opening: e2fsck in three ways and, for root, the
 * kernel in two. */
extern bool case_others;
/* Whatever is found sound must be so for the kernel as well, which mounts it. For root. */
extern bool case_kernel;

#endif
