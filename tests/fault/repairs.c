/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * repairs - damaged images repaired by dafsck -y on a host that fails at every operation.
 *
 *	repairs [--fault NAME] [--at N] [--stride N] [--seed N] [--dir DIR] [--no-sync] IMAGE...
 *
 * For each image (a damaged one; the file itself is not changed), each fault and each operation: a
 * run that repairs meets the fault. Then, once what it left half done is finished (as any next
 * opening would), the image is as it was or repaired: its findings are those of before, or none.
 * Another run repairs it without faults; e2fsck and dafsck have nothing to say, and the tree is the
 * one of an undisturbed repair, so nothing was lost.
 *
 * Prints a line an image: operations, tries, failures; a line with the options that repeat it for
 * every try that failed. Exit status 1 when one failed.
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <stdarg.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check/check.h"
#include "tests/fault/digest.h"
#include "tests/fault/shim.h"
#include "tests/fault/snap.h"

enum { CHILD_SECONDS = 120, NOW_SEC = 1700000000, FAILURES_MOST = 20 };

static const char *const fault_names[FAULT_COUNT] = { "none", "eio",  "enospc", "torn",
						      "stop", "lose", "reorder" };

static struct {
	uint64_t at, stride, seed;
	const char *dir, *fault;
	bool no_sync;
} opts = { .stride = 1, .seed = 1 };

/* What a child tells. */
static struct told {
	uint64_t ops, findings;
	int status; /* dafs_check_status */
	char text[1536];
} * told;

static char folder[256], image[256 + 8];
static char why[1024];

/* What is done to the image by a child. */
struct job {
	struct dafs_check_opts check;
	enum fault fault;
	uint64_t at, seed;
	bool shim;
};

static void note(void *arg, const struct dafs_finding *f)
{
	(void)arg;
	if (!told->text[0])
		dafs_check_format(f, told->text, sizeof(told->text));
}

static errcode_t check(const struct job *job)
{
	struct dafs_check_report report = { .finding = note };
	struct dafs_ctx ctx;
	errcode_t err;

	dafs_ctx_init(&ctx);
	ctx.now_sec = NOW_SEC;
	ctx.threads = 1;
	ctx.no_sync = opts.no_sync;
	err = dafs_check_run(&ctx, image, &job->check, &report);
	if (err)
		snprintf(told->text, sizeof(told->text), "%s: %s", ctx.detail, error_message(err));
	for (unsigned class = DAFS_CHECK_SUMMARY; class <= DAFS_CHECK_FATAL; class ++)
		told->findings += report.result.found[class];
	told->status = dafs_check_status(&job->check, &report.result);
	return err;
}

/* Its exit status: 0, 1 (an error, told), SHIM_STOPPED, 256 + signal. */
static int run(const struct job *job)
{
	int status;
	pid_t pid;

	memset(told, 0, sizeof(*told));
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		err(2, "fork");
	if (!pid) {
		errcode_t bad;

		alarm(CHILD_SECONDS);
		if (job->shim)
			shim_arm(folder, image, job->fault, job->at, job->seed);
		bad = check(job);
		told->ops = shim_ops();
		if (job->shim)
			shim_end();
		_exit(bad ? 1 : 0);
	}
	if (waitpid(pid, &status, 0) != pid)
		err(2, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static struct job job_of(enum dafs_check_mode mode)
{
	return (struct job){ .check = { .size = sizeof(struct dafs_check_opts),
					.mode = mode,
					.force = true,
					.strict = true } };
}

__attribute__((format(printf, 1, 2))) static const char *say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return why;
}

static bool e2fsck_silent(void)
{
	char cmd[2 * PATH_MAX];

	snprintf(cmd, sizeof(cmd),
		 "PATH=$PATH:/sbin:/usr/sbin; e2fsck -fn %s >%s.e2fsck 2>/dev/null && "
		 "! grep -vE '^Pass [1-5]|: [0-9]+/[0-9]+ files|^$' %s.e2fsck",
		 image, folder, folder);
	return system(cmd) == 0;
}

/* Repaired without faults, and sound. */
static const char *repair(struct digest *out)
{
	struct job yes = job_of(DAFS_CHECK_YES), no = job_of(DAFS_CHECK_NO);
	errcode_t bad;
	int status = run(&yes);

	if (status || told->status & 4)
		return say("the repair ended with %d: %s", status ? status : told->status,
			   told->text);
	status = run(&no);
	if (status || told->status)
		return say("after the repair: %d: %s", status ? status : told->status, told->text);
	if (!e2fsck_silent())
		return say("e2fsck has findings (%s.e2fsck)", folder);
	bad = digest_image(image, out, NULL);
	return bad ? say("reading the image: %s", error_message(bad)) : NULL;
}

/* Finish what a run left half done, and count what is wrong. */
static const char *settle(uint64_t *findings)
{
	struct job settle = job_of(DAFS_CHECK_YES), no = job_of(DAFS_CHECK_NO);
	int status;

	settle.check.journal_only = true;
	status = run(&settle);
	if (status)
		return say("settling ended with %d: %s", status, told->text);
	status = run(&no);
	*findings = told->findings;
	return status > 1 ? say("looking ended with %d: %s", status, told->text) : NULL;
}

struct state {
	const char *path;
	struct snap *snap;
	uint64_t ops, findings;
	struct digest repaired;
	uint64_t tries, failures;
};

static const char *prepare(struct state *st)
{
	struct job yes = job_of(DAFS_CHECK_YES);
	const char *bad = settle(&st->findings);
	int status;

	snap_restore(st->snap, folder);
	yes.shim = true;
	status = bad ? 0 : run(&yes);
	st->ops = told->ops;
	if (bad || status)
		return bad ? bad : say("the first repair ended with %d: %s", status, told->text);
	if (!st->findings)
		return say("nothing is wrong with it");
	return repair(&st->repaired);
}

static const char *try_one(struct state *st, enum fault fault, uint64_t at, uint64_t seed)
{
	struct job job = job_of(DAFS_CHECK_YES);
	struct digest now;
	uint64_t findings;
	const char *bad;
	int status;

	snap_restore(st->snap, folder);
	job.shim = true;
	job.fault = fault;
	job.at = at;
	job.seed = seed;
	status = run(&job);
	if (status > 1 && status != SHIM_STOPPED)
		return say("the run ended with %d", status);
	bad = settle(&findings);
	if (!bad && findings && findings != st->findings)
		bad = say("%" PRIu64 " findings, before it were %" PRIu64, findings, st->findings);
	if (!bad)
		bad = repair(&now);
	if (!bad && now.tree != st->repaired.tree)
		bad = say("the tree is not that of an undisturbed repair");
	return bad;
}

static void try_all(struct state *st)
{
	for (enum fault f = FAULT_EIO; f < FAULT_COUNT; f++) {
		if (opts.fault && strcmp(opts.fault, fault_names[f]) != 0)
			continue;
		/* What strikes at the end is of use only to the faults that lose. */
		for (uint64_t at = 1; at <= st->ops + (f >= FAULT_LOSE); at += opts.stride) {
			uint64_t seed = opts.at ? opts.seed : opts.seed * 1000003 + at;
			const char *bad;

			if (opts.at && at != opts.at)
				continue;
			bad = try_one(st, f, at, seed);
			st->tries++;
			st->failures += bad != NULL;
			if (bad)
				printf("FAIL --fault %s --at %" PRIu64 " --seed %" PRIu64
				       " %s: %s\n",
				       fault_names[f], at, seed, st->path, bad);
			if (st->failures >= FAILURES_MOST)
				return;
		}
	}
}

static uint64_t run_image(const char *path)
{
	struct state st = { .path = path };
	char cmd[2 * PATH_MAX];
	const char *bad;

	snap_clear(folder);
	snprintf(cmd, sizeof(cmd), "cp '%s' %s", path, image);
	if (system(cmd))
		errx(2, "%s: cannot be copied", path);
	st.snap = snap_take(folder);
	bad = prepare(&st);
	if (bad) {
		printf("FAIL %s: %s\n", path, bad);
		st.failures++;
	} else {
		try_all(&st);
	}
	printf("%-24s %4" PRIu64 " findings %5" PRIu64 " operations %6" PRIu64 " tries %4" PRIu64
	       " failures\n",
	       path, st.findings, st.ops, st.tries, st.failures);
	fflush(stdout);
	snap_free(st.snap);
	return st.failures;
}

static const struct option longopts[] = {
	{ "fault", required_argument, NULL, 'f' },
	{ "at", required_argument, NULL, 'n' },
	{ "stride", required_argument, NULL, 't' },
	{ "seed", required_argument, NULL, 'r' },
	{ "dir", required_argument, NULL, 'd' },
	{ "no-sync", no_argument, NULL, 'u' },
	{ 0 },
};

static bool take_option(int c)
{
	switch (c) {
	case 'f':
		opts.fault = optarg;
		break;
	case 'n':
		opts.at = strtoull(optarg, NULL, 0);
		break;
	case 't':
		opts.stride = strtoull(optarg, NULL, 0);
		break;
	case 'r':
		opts.seed = strtoull(optarg, NULL, 0);
		break;
	case 'd':
		opts.dir = optarg;
		break;
	case 'u':
		opts.no_sync = true;
		break;
	default:
		return false;
	}
	return opts.stride != 0;
}

int main(int argc, char **argv)
{
	uint64_t failures = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", longopts, NULL)) >= 0) {
		if (!take_option(c))
			return 2;
	}
	if (optind == argc)
		errx(2, "no image is named");
	if (!opts.dir)
		opts.dir = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	snprintf(folder, sizeof(folder), "%s/dafs-repairs.%d", opts.dir, (int)getpid());
	snprintf(image, sizeof(image), "%s/image", folder);
	if (mkdir(folder, 0700))
		err(2, "%s", folder);
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED)
		err(2, "mmap");
	initialize_ext2_error_table();
	initialize_dafs_error_table();
	for (int i = optind; i < argc; i++)
		failures += run_image(argv[i]);
	snap_clear(folder);
	rmdir(folder);
	return failures != 0;
}
