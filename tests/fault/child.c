/* SPDX-License-Identifier: GPL-2.0-or-later */
/* child - see child.h. */
#include "config.h"

#include "tests/fault/child.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check/check.h"
#include "store/store.h"
#include "tests/fault/snap.h"

enum { CHILD_SECONDS = 60 };

char child_folder[PATH_MAX], child_image[PATH_MAX], child_cache[PATH_MAX];
struct told *child_told;
bool child_no_sync, child_watched;

int child_open(const char *where)
{
	snprintf(child_folder, sizeof(child_folder), "%s", where);
	if (mkdir(child_folder, 0700))
		return errno;
	if (snprintf(child_image, sizeof(child_image), "%s/img", where) >=
		    (int)sizeof(child_image) ||
	    snprintf(child_cache, sizeof(child_cache), "%s/img.dacache", where) >=
		    (int)sizeof(child_cache))
		return ENAMETOOLONG;
	child_told = mmap(NULL, sizeof(*child_told), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return child_told == MAP_FAILED ? errno : 0;
}

void child_close(void)
{
	snap_clear(child_folder);
	rmdir(child_folder);
}

static struct dafs_ctx *new_ctx(int64_t now_sec)
{
	struct dafs_ctx *ctx;

	if (dafs_ctx_new(&ctx))
		abort();
	ctx->now_sec = now_sec;
	ctx->now_nsec = 0;
	ctx->threads = 1;
	ctx->lock_timeout_ms = 2000;
	ctx->no_sync = child_no_sync;
	return ctx;
}

/* What a child does; an error is child_told with its text. */
typedef errcode_t (*child_fn)(struct dafs_ctx *ctx, const void *arg);

static errcode_t tell(struct dafs_ctx *ctx, errcode_t err)
{
	if (err)
		snprintf(child_told->text, sizeof(child_told->text), "%s: %s", ctx->detail,
			 error_message(err));
	return err;
}

/* Run fn in a child: its exit status, or 256 + signal. t: the fault it meets, or NULL. */
int child_run(child_fn fn, const void *arg, int64_t now_sec, const struct try *t)
{
	int status;
	pid_t pid;

	memset(child_told, 0, sizeof(*child_told));
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return 999;
	if (!pid) {
		struct dafs_ctx *ctx = new_ctx(now_sec);
		errcode_t err;

		alarm(CHILD_SECONDS);
		if (t)
			shim_arm(child_folder, child_image, t->fault, t->at, t->seed);
		err = tell(ctx, fn(ctx, arg));
		child_told->ops = shim_ops();
		if (t)
			shim_end();
		_exit(err ? 1 : 0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return 999;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static errcode_t one_step(struct dafs *fs, work_fn step)
{
	errcode_t err = dafs_begin(fs);

	if (err)
		return err;
	err = step(fs);
	if (err)
		dafs_cancel(fs);
	return err ? err : dafs_end(fs);
}

errcode_t child_base(struct dafs_ctx *ctx, const void *arg)
{
	const struct work *work = arg;
	struct dafs *fs = NULL;
	errcode_t err = dafs_mkfs_run(ctx, child_image, &work->mkfs, NULL);

	if (!err)
		err = dafs_session_open(ctx, child_image, DAFS_SESSION_RW, NULL, &fs);
	if (!err)
		err = one_step(fs, work->before);
	if (!err)
		err = dafs_flush(fs);
	for (unsigned i = 0; i < 2 && work->again[i] && !err; i++) {
		err = one_step(fs, work->again[i]);
		if (!err)
			err = dafs_flush(fs);
	}
	dafs_close(fs);
	return err;
}

/* Every step as a process of its own would do it. */
errcode_t child_commands(struct dafs_ctx *ctx, const void *arg)
{
	const struct child_steps *steps = arg;
	errcode_t err = 0;

	for (unsigned i = 0; i < steps->n && !err; i++) {
		struct dafs *fs;

		err = dafs_session_open(ctx, child_image, DAFS_SESSION_RW | DAFS_SESSION_CACHE,
					NULL, &fs);
		if (err)
			break;
		err = one_step(fs, steps->work->step[i]);
		dafs_close(fs);
		if (!err)
			child_told->acknowledged++;
	}
	return err;
}

static const struct dafs_flush_opts flush_opts = { .size = sizeof(flush_opts),
						   .bypass_journal = true };

/* A transaction is about to be made: whatever was made before is in the image. One that is found
 * too large comes by again. */
static errcode_t watch_state(void *arg, struct dafs *fs, struct dafs_plan *plan)
{
	struct digest *now = &child_told->states[child_told->nstates];
	errcode_t err;

	(void)arg, (void)fs, (void)plan;
	if (child_told->nstates == STATES_MOST)
		return ENOSPC;
	err = digest_image(child_image, now, NULL);
	if (!err && (!child_told->nstates || now[-1].tree != now->tree))
		child_told->nstates++;
	return err;
}

errcode_t child_flush(struct dafs_ctx *ctx, const void *arg)
{
	char *path = (char *)(uintptr_t)arg;
	struct dafs_flush_request req = { .opts = flush_opts,
					  .paths = &path,
					  .npaths = path ? 1 : 0,
					  .plan_fn = child_watched ? watch_state : NULL };
	struct dafs_flush_stats stats;
	struct dafs *fs;
	errcode_t err = dafs_session_open(ctx, child_image, DAFS_SESSION_RW | DAFS_SESSION_CACHE,
					  NULL, &fs);

	if (err)
		return err;
	if (path && path[0] != '/') {
		req.npaths = 0;
		req.opts.max_data_bytes = strtoull(path, NULL, 10);
	}
	err = dafs_session_flush(fs, &req, &stats);
	dafs_close(fs);
	child_told->acknowledged = !err;
	return err;
}

errcode_t child_settle(struct dafs_ctx *ctx, const void *arg)
{
	struct dafs *fs;
	errcode_t err = dafs_session_open(ctx, child_image, DAFS_SESSION_RW | DAFS_SESSION_CACHE,
					  NULL, &fs);

	(void)arg;
	if (!err)
		dafs_close(fs);
	return err;
}

errcode_t child_memory(struct dafs_ctx *ctx, const void *arg)
{
	const struct child_steps *steps = arg;
	struct dafs_flush_request req = { .opts = flush_opts,
					  .plan_fn = child_watched ? watch_state : NULL };
	struct dafs_flush_stats stats;
	struct dafs *fs;
	errcode_t err = dafs_session_open(ctx, child_image, DAFS_SESSION_RW, NULL, &fs);

	if (err)
		return err;
	for (unsigned i = 0; i < steps->n && !err; i++)
		err = one_step(fs, steps->work->step[i]);
	if (!err)
		err = dafs_session_flush(fs, &req, &stats);
	dafs_close(fs);
	child_told->acknowledged = !err;
	return err;
}

static void note_problem(void *arg, const char *line)
{
	(void)arg;
	snprintf(child_told->text, sizeof(child_told->text), "%s", line);
}

/* Open, which settles, and look at the cache. */
errcode_t child_verify(struct dafs_ctx *ctx, const void *arg)
{
	struct dafs *fs;
	errcode_t err = dafs_session_open(ctx, child_image, DAFS_SESSION_RW | DAFS_SESSION_CACHE,
					  NULL, &fs);

	(void)arg;
	if (err)
		return err;
	err = dafs_store_verify(fs->store, note_problem, NULL, &child_told->problems);
	if (!err)
		child_told->problems +=
			dafs_ns_check(fs->ns, DAFS_NS_VERIFY_ALL, note_problem, NULL);
	dafs_close(fs);
	return err;
}

static void note_finding(void *arg, const struct dafs_finding *f)
{
	(void)arg;
	dafs_check_format(f, child_told->text, sizeof(child_told->text));
}

errcode_t child_check(struct dafs_ctx *ctx, const void *arg)
{
	struct dafs_check_opts opts = { .size = sizeof(opts), .force = true, .strict = true };
	struct dafs_check_report report = { .finding = note_finding };
	errcode_t err = dafs_check_run(ctx, child_image, &opts, &report);

	(void)arg;
	if (!err)
		child_told->problems = (uint64_t)dafs_check_status(&opts, &report.result);
	return err;
}
