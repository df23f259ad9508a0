/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faults - every workload, in every phase, with every fault at every operation; or a sample of it.
 *
 *	faults [--sample SECONDS] [--seed N] [--dir DIR] [--work NAME] [--phase NAME] [--fault NAME]
 *	       [--at N] [--first N] [--stride N] [--no-sync] [--others] [--kernel] [--keep] [--list]
 *	       [--leave]
 *
 * Prints a table workload x fault x tries, and for every try that failed a line with the options
 * that repeat it. Exit status 1 when one failed. --leave: the first try is run and not judged; what
 * it leaves is in the folder whose name is printed.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/case.h"
#include "tests/fault/child.h"
#include "tests/fault/undo.h"

enum { SETTLE_POINTS = 6, FAILURES_MOST = 20 };

static const char *const fault_names[FAULT_COUNT] = { "none", "eio",  "enospc", "torn",
						      "stop", "lose", "reorder" };
static const char *const phase_names[PHASE_COUNT] = { "commands", "flush", "part", "settle",
						      "memory" };

static struct {
	double sample_seconds; /* 0: everything */
	uint64_t seed, at, first, stride;
	const char *dir, *work, *phase, *fault;
	bool keep, list, leave;
} opts = { .seed = 1, .stride = 1 };

struct cell {
	uint64_t tries, failures;
};
struct row {
	uint64_t ops[PHASE_COUNT];
	struct cell cell[FAULT_COUNT];
};

static uint64_t failures;

static double now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool wanted(const char *want, const char *name)
{
	return !want || !strcmp(want, name);
}

static void try_one(const struct prepared *prep, const struct try *t, struct row *row)
{
	struct cell *cell = &row->cell[t->fault];
	const char *bad;
	uint64_t ops;

	if (opts.leave) {
		case_leave(prep, t);
		printf("%s\n", child_folder);
		exit(0);
	}
	bad = case_try(prep, t, &ops);
	cell->tries++;
	if (!bad)
		return;
	cell->failures++;
	failures++;
	printf("FAIL --work %s --phase %s --fault %s --at %" PRIu64 " --first %" PRIu64
	       " --seed %" PRIu64 ": %s\n",
	       prep->work->name, phase_names[t->phase], fault_names[t->fault], t->at, t->first,
	       t->seed, bad);
	fflush(stdout);
	if (opts.keep) {
		printf("kept: %s\n", child_folder);
		exit(1);
	}
	if (failures >= FAILURES_MOST) {
		printf("more than enough failures\n");
		child_close();
		exit(1);
	}
}

/* What strikes at the end is of use only to the faults that lose. */
static uint64_t last_op(enum fault fault, uint64_t ops)
{
	return ops + (fault == FAULT_LOSE || fault == FAULT_REORDER);
}

static void all_ops(const struct prepared *prep, struct try t, uint64_t ops, struct row *row)
{
	for (t.fault = FAULT_EIO; t.fault < FAULT_COUNT; t.fault++) {
		if (!wanted(opts.fault, fault_names[t.fault]))
			continue;
		for (t.at = 1; t.at <= last_op(t.fault, ops); t.at += opts.stride) {
			if (opts.at && t.at != opts.at)
				continue;
			/* One seed asked for is that one; else each operation has its own. */
			t.seed = opts.at ? opts.seed : opts.seed * 1000003 + t.at;
			try_one(prep, &t, row);
		}
	}
}

static void everything(const struct prepared *prep, struct row *row)
{
	for (enum phase p = 0; p < PHASE_COUNT; p++) {
		struct try t = { .phase = p };

		if (!wanted(opts.phase, phase_names[p]))
			continue;
		if (p != PHASE_SETTLE) {
			all_ops(prep, t, prep->ops[p], row);
			continue;
		}
		for (unsigned i = 0; i < SETTLE_POINTS; i++) {
			t.first = 1 + (prep->ops[PHASE_FLUSH] - 1) * (i + 1) / SETTLE_POINTS;
			if (opts.first)
				t.first = opts.first;
			all_ops(prep, t, case_settle_ops(prep, t.first), row);
			if (opts.first)
				break;
		}
	}
}

/* A random try of a workload. */
static void sample_one(const struct prepared *prep, uint64_t *random, struct row *row)
{
	struct try t = { .seed = undo_random(random) >> 16 };
	uint64_t ops;

	do {
		t.phase = (enum phase)(undo_random(random) % PHASE_COUNT);
		t.fault = (enum fault)(FAULT_EIO + undo_random(random) % (FAULT_COUNT - FAULT_EIO));
	} while (!wanted(opts.phase, phase_names[t.phase]) ||
		 !wanted(opts.fault, fault_names[t.fault]) ||
		 (t.phase == PHASE_PART && !prep->work->part));
	ops = prep->ops[t.phase];
	if (t.phase == PHASE_SETTLE) {
		t.first = 1 + undo_random(random) % prep->ops[PHASE_FLUSH];
		ops = case_settle_ops(prep, t.first);
	}
	t.at = 1 + undo_random(random) % (last_op(t.fault, ops) ? last_op(t.fault, ops) : 1);
	try_one(prep, &t, row);
}

/* --- the table --- */

static void print_head(void)
{
	if (opts.leave)
		return;
	printf("%-17s", "workload");
	for (enum phase p = 0; p < PHASE_COUNT; p++) {
		if (p != PHASE_SETTLE)
			printf(" %9s", phase_names[p]);
	}
	for (enum fault f = FAULT_EIO; f < FAULT_COUNT; f++)
		printf(" %8s", fault_names[f]);
	printf("   (operations of each phase; tries of each fault)\n");
}

static void print_row(const char *name, const struct row *row)
{
	printf("%-17s", name);
	for (enum phase p = 0; p < PHASE_COUNT; p++) {
		if (p != PHASE_SETTLE)
			printf(" %9" PRIu64, row->ops[p]);
	}
	for (enum fault f = FAULT_EIO; f < FAULT_COUNT; f++)
		printf(" %8" PRIu64, row->cell[f].tries);
	printf("\n");
	fflush(stdout);
}

static void add_row(struct row *sum, const struct row *row)
{
	for (enum phase p = 0; p < PHASE_COUNT; p++)
		sum->ops[p] += row->ops[p];
	for (enum fault f = 0; f < FAULT_COUNT; f++)
		sum->cell[f].tries += row->cell[f].tries;
}

/* One workload; false when it cannot even be prepared. */
static bool run_work(const struct work *work, uint64_t *random, double until, struct row *row)
{
	struct prepared prep;
	bool ok = case_prepare(work, &prep);

	if (ok) {
		memcpy(row->ops, prep.ops, sizeof(row->ops));
		if (!opts.sample_seconds)
			everything(&prep, row);
		while (opts.sample_seconds && now_seconds() < until)
			sample_one(&prep, random, row);
		print_row(work->name, row);
	} else {
		failures++;
	}
	case_release(&prep);
	return ok;
}

static uint64_t run_all(void)
{
	double begin = now_seconds();
	uint64_t random = opts.seed, total = 0;
	struct row sum = { 0 };
	size_t done = 0, many = 0;

	for (size_t i = 0; i < nworks; i++)
		many += wanted(opts.work, works[i].name);
	print_head();
	for (size_t i = 0; i < nworks; i++) {
		struct row row = { 0 };

		if (!wanted(opts.work, works[i].name))
			continue;
		done++;
		run_work(&works[i], &random,
			 begin + opts.sample_seconds * (double)done / (double)many, &row);
		add_row(&sum, &row);
	}
	print_row("all", &sum);
	for (enum fault f = 0; f < FAULT_COUNT; f++)
		total += sum.cell[f].tries;
	printf("%" PRIu64 " tries, %" PRIu64 " failures, seed %" PRIu64 ", %.0f s\n", total,
	       failures, opts.seed, now_seconds() - begin);
	return many;
}

static const struct option longopts[] = {
	{ "sample", required_argument, NULL, 's' }, { "seed", required_argument, NULL, 'r' },
	{ "dir", required_argument, NULL, 'd' },    { "work", required_argument, NULL, 'w' },
	{ "phase", required_argument, NULL, 'p' },  { "fault", required_argument, NULL, 'f' },
	{ "at", required_argument, NULL, 'n' },	    { "first", required_argument, NULL, '1' },
	{ "stride", required_argument, NULL, 't' }, { "keep", no_argument, NULL, 'k' },
	{ "list", no_argument, NULL, 'l' },	    { "no-sync", no_argument, NULL, 'u' },
	{ "others", no_argument, NULL, 'o' },	    { "kernel", no_argument, NULL, 'K' },
	{ "leave", no_argument, NULL, 'L' },	    { 0 },
};

static bool take_option(int c)
{
	switch (c) {
	case 's': opts.sample_seconds = strtod(optarg, NULL); break;
	case 'r': opts.seed = strtoull(optarg, NULL, 0); break;
	case 'd': opts.dir = optarg; break;
	case 'w': opts.work = optarg; break;
	case 'p': opts.phase = optarg; break;
	case 'f': opts.fault = optarg; break;
	case 'n': opts.at = strtoull(optarg, NULL, 0); break;
	case '1': opts.first = strtoull(optarg, NULL, 0); break;
	case 't': opts.stride = strtoull(optarg, NULL, 0); break;
	case 'k': opts.keep = true; break;
	case 'l': opts.list = true; break;
	case 'L': opts.leave = true; break;
	case 'o': case_others = true; break;
	case 'K': case_kernel = true; break;
	case 'u': child_no_sync = true; break;
	default: return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	char folder[128];
	uint64_t ran;
	int c, err;

	while ((c = getopt_long(argc, argv, "", longopts, NULL)) >= 0) {
		if (!take_option(c))
			return 2;
	}
	for (size_t i = 0; opts.list && i < nworks; i++)
		printf("%s\n", works[i].name);
	if (opts.list)
		return 0;
	if (!opts.dir)
		opts.dir = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	if (!opts.stride)
		opts.stride = 1;
	snprintf(folder, sizeof(folder), "%s/dafs-faults.%d", opts.dir, (int)getpid());
	err = child_open(folder);
	if (err) {
		fprintf(stderr, "faults: %s: %s\n", folder, strerror(err));
		return 2;
	}
	ran = run_all();
	child_close();
	return failures || !ran;
}
