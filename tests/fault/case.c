/* SPDX-License-Identifier: GPL-2.0-or-later */
/* case - see case.h. */
#include "config.h"

#include "tests/fault/case.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check/check.h"
#include "image/dev.h"
#include "store/store.h"
#include "tests/fault/snap.h"
#include "tests/fault/undo.h"

enum { CHILD_SECONDS = 60, SETUP_TIME = 1600000000, WORK_TIME = 1600001000 };

/* What a child tells its parent. */
struct told {
	uint64_t ops;
	unsigned acknowledged; /* steps, or 1 for a flush */
	uint64_t problems;
	char text[1200];
	struct digest states[STATES_MOST]; /* with watching: the image before each transaction of a flush */
	unsigned nstates;
};

static char folder[PATH_MAX], image[PATH_MAX], cache[PATH_MAX];
static struct told *told;
bool case_no_sync, case_others;
static bool watching;
static char finding[2048];

const char *case_folder(void)
{
	return folder;
}

int case_open(const char *where)
{
	snprintf(folder, sizeof(folder), "%s", where);
	if (mkdir(folder, 0700))
		return errno;
	if (snprintf(image, sizeof(image), "%s/img", where) >= (int)sizeof(image) ||
	    snprintf(cache, sizeof(cache), "%s/img.dacache", where) >= (int)sizeof(cache))
		return ENAMETOOLONG;
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return told == MAP_FAILED ? errno : 0;
}

void case_close(void)
{
	snap_clear(folder);
	rmdir(folder);
}

/* --- children --- */

static struct dafs_ctx *new_ctx(int64_t now_sec)
{
	struct dafs_ctx *ctx;

	if (dafs_ctx_new(&ctx))
		abort();
	ctx->now_sec = now_sec;
	ctx->now_nsec = 0;
	ctx->threads = 1;
	ctx->lock_timeout_ms = 2000;
	ctx->no_sync = case_no_sync;
	return ctx;
}

/* What a child does; an error is told with its text. */
typedef errcode_t (*child_fn)(struct dafs_ctx *ctx, const void *arg);

static errcode_t tell(struct dafs_ctx *ctx, errcode_t err)
{
	if (err)
		snprintf(told->text, sizeof(told->text), "%s: %s", ctx->detail, error_message(err));
	return err;
}

/* Run fn in a child: its exit status, or 256 + signal. t: the fault it meets, or NULL. */
static int in_child(child_fn fn, const void *arg, int64_t now_sec, const struct try *t)
{
	int status;
	pid_t pid;

	memset(told, 0, sizeof(*told));
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return 999;
	if (!pid) {
		struct dafs_ctx *ctx = new_ctx(now_sec);
		errcode_t err;

		alarm(CHILD_SECONDS);
		if (t)
			shim_arm(folder, image, t->fault, t->at, t->seed);
		err = tell(ctx, fn(ctx, arg));
		told->ops = shim_ops();
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

static errcode_t do_base(struct dafs_ctx *ctx, const void *arg)
{
	const struct work *work = arg;
	struct dafs *fs = NULL;
	errcode_t err = dafs_mkfs_run(ctx, image, &work->mkfs, NULL);

	if (!err)
		err = dafs_session_open(ctx, image, DAFS_SESSION_RW, NULL, &fs);
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

struct steps {
	const struct work *work;
	unsigned n;
};

/* Every step as a process of its own would do it. */
static errcode_t do_commands(struct dafs_ctx *ctx, const void *arg)
{
	const struct steps *steps = arg;
	errcode_t err = 0;

	for (unsigned i = 0; i < steps->n && !err; i++) {
		struct dafs *fs;

		err = dafs_session_open(ctx, image, DAFS_SESSION_RW | DAFS_SESSION_CACHE, NULL, &fs);
		if (err)
			break;
		err = one_step(fs, steps->work->step[i]);
		dafs_close(fs);
		if (!err)
			told->acknowledged++;
	}
	return err;
}

/* A transaction is about to be made: whatever was made before is in the image. One that is found too large comes by again. */
static errcode_t watch_state(void *arg, struct dafs *fs, struct dafs_plan *plan)
{
	struct digest *now = &told->states[told->nstates];
	errcode_t err;

	(void)arg, (void)fs, (void)plan;
	if (told->nstates == STATES_MOST)
		return ENOSPC;
	err = digest_image(image, now, NULL);
	if (!err && (!told->nstates || now[-1].tree != now->tree))
		told->nstates++;
	return err;
}

static errcode_t do_flush(struct dafs_ctx *ctx, const void *arg)
{
	char *path = (char *)(uintptr_t)arg;
	struct dafs_flush_request req = { .opts.size = sizeof(req.opts), .paths = &path,
					  .npaths = path ? 1 : 0, .plan_fn = watching ? watch_state : NULL };
	struct dafs_flush_stats stats;
	struct dafs *fs;
	errcode_t err = dafs_session_open(ctx, image, DAFS_SESSION_RW | DAFS_SESSION_CACHE, NULL, &fs);

	if (err)
		return err;
	if (path && path[0] != '/') {
		req.npaths = 0;
		req.opts.max_data_bytes = strtoull(path, NULL, 10);
	}
	err = dafs_session_flush(fs, &req, &stats);
	dafs_close(fs);
	told->acknowledged = !err;
	return err;
}

static errcode_t do_settle(struct dafs_ctx *ctx, const void *arg)
{
	struct dafs *fs;
	errcode_t err = dafs_session_open(ctx, image, DAFS_SESSION_RW | DAFS_SESSION_CACHE, NULL, &fs);

	(void)arg;
	if (!err)
		dafs_close(fs);
	return err;
}

static errcode_t do_memory(struct dafs_ctx *ctx, const void *arg)
{
	const struct steps *steps = arg;
	struct dafs_flush_request req = { .opts.size = sizeof(req.opts), .plan_fn = watching ? watch_state : NULL };
	struct dafs_flush_stats stats;
	struct dafs *fs;
	errcode_t err = dafs_session_open(ctx, image, DAFS_SESSION_RW, NULL, &fs);

	if (err)
		return err;
	for (unsigned i = 0; i < steps->n && !err; i++)
		err = one_step(fs, steps->work->step[i]);
	if (!err)
		err = dafs_session_flush(fs, &req, &stats);
	dafs_close(fs);
	told->acknowledged = !err;
	return err;
}

static void note_problem(void *arg, const char *line)
{
	(void)arg;
	snprintf(told->text, sizeof(told->text), "%s", line);
}

/* Open, which settles, and look at the cache. */
static errcode_t do_verify(struct dafs_ctx *ctx, const void *arg)
{
	struct dafs *fs;
	errcode_t err = dafs_session_open(ctx, image, DAFS_SESSION_RW | DAFS_SESSION_CACHE, NULL, &fs);

	(void)arg;
	if (err)
		return err;
	err = dafs_store_verify(fs->store, note_problem, NULL, &told->problems);
	if (!err)
		told->problems += dafs_ns_check(fs->ns, DAFS_NS_VERIFY_ALL, note_problem, NULL);
	dafs_close(fs);
	return err;
}

static void note_finding(void *arg, const struct dafs_finding *f)
{
	(void)arg;
	dafs_check_format(f, told->text, sizeof(told->text));
}

static errcode_t do_check(struct dafs_ctx *ctx, const void *arg)
{
	struct dafs_check_opts opts = { .size = sizeof(opts), .force = true, .strict = true };
	struct dafs_check_report report = { .finding = note_finding };
	errcode_t err = dafs_check_run(ctx, image, &opts, &report);

	(void)arg;
	if (!err)
		told->problems = (uint64_t)dafs_check_status(&opts, &report.result);
	return err;
}

/* --- judgements --- */

__attribute__((format(printf, 1, 2))) static const char *say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(finding, sizeof(finding), fmt, ap);
	va_end(ap);
	return finding;
}

static const char *need_clean_run(int status, const char *what)
{
	if (status)
		return say("%s ended with %d: %s", what, status, told->text);
	if (told->problems)
		return say("%s found: %s", what, told->text);
	return NULL;
}

/* e2fsck; findings go to FOLDER.e2fsck. */
static int run_e2fsck(const char *options, bool silent)
{
	char cmd[3 * PATH_MAX];
	int status;

	snprintf(cmd, sizeof(cmd), "PATH=$PATH:/sbin:/usr/sbin; e2fsck %s %s >%s.e2fsck 2>/dev/null", options,
		 image, folder);
	if (silent)
		snprintf(cmd + strlen(cmd), sizeof(cmd) - strlen(cmd),
			 " && ! grep -vE '^Pass [1-5]|: [0-9]+/[0-9]+ files|^$' %s.e2fsck", folder);
	status = system(cmd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 999;
}

/* The kernel has it for a moment, which replays the journal. What it says goes to FOLDER.e2fsck. */
static int mount_once(const char *options)
{
	char cmd[8 * PATH_MAX];
	int status;

	snprintf(cmd, sizeof(cmd),
		 "PATH=$PATH:/sbin:/usr/sbin; exec >%s.e2fsck 2>&1; dev=$(losetup -f --show %s) && mkdir %s.mnt && "
		 "mount -t ext4 -o %s $dev %s.mnt && umount %s.mnt; bad=$?; rmdir %s.mnt; losetup -d $dev; exit $bad",
		 folder, image, folder, options, folder, folder, folder);
	status = system(cmd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 999;
}

static const char *need_sound(void)
{
	const char *bad = need_clean_run(in_child(do_check, NULL, time(NULL), NULL), "dafsck");

	if (!bad && run_e2fsck("-fn", true))
		bad = say("e2fsck has findings (%s.e2fsck)", folder);
	return bad;
}

static const char *look(struct digest *now)
{
	errcode_t err = digest_image(image, now, NULL);

	return err ? say("reading the image: %s", error_message(err)) : NULL;
}

static bool same(const struct digest *a, const struct digest *b)
{
	return a->tree == b->tree;
}

/* An empty database is one that was never committed to. */
static bool cached(void)
{
	char path[PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/cache.db", cache);
	return !stat(path, &st) && st.st_size;
}

/* --- preparing --- */

static bool prepare_failed(const struct work *work, const char *what, int status)
{
	fprintf(stderr, "%s: %s ended with %d: %s\n", work->name, what, status, told->text);
	return false;
}

/* From the base: n steps pending, flushed, looked at. */
static bool undisturbed(struct prepared *prep, unsigned n)
{
	struct steps steps = { prep->work, n };
	const char *bad;
	int status;

	snap_restore(prep->base, folder);
	status = in_child(do_commands, &steps, WORK_TIME, NULL);
	if (status)
		return prepare_failed(prep->work, "commands", status);
	if (n == prep->nsteps)
		prep->pending = snap_take(folder);
	status = in_child(do_flush, NULL, WORK_TIME, NULL);
	if (status)
		return prepare_failed(prep->work, "flush", status);
	bad = need_sound();
	if (!bad)
		bad = look(&prep->after[n]);
	if (!bad && cached())
		bad = "the flush left a cache";
	if (bad)
		fprintf(stderr, "%s: undisturbed, %u steps: %s\n", prep->work->name, n, bad);
	return !bad;
}

static bool undisturbed_part(struct prepared *prep)
{
	const char *bad;
	int status;

	if (!prep->work->part)
		return true;
	snap_restore(prep->pending, folder);
	status = in_child(do_flush, prep->work->part, WORK_TIME, NULL);
	if (status)
		return prepare_failed(prep->work, "flush of a part", status);
	bad = need_sound();
	if (!bad)
		bad = look(&prep->part);
	if (bad)
		fprintf(stderr, "%s: a part flushed: %s\n", prep->work->name, bad);
	return !bad;
}

static void add_states(struct prepared *prep)
{
	for (unsigned i = 0; i < told->nstates && prep->nbetween < STATES_MOST; i++)
		prep->between[prep->nbetween++] = told->states[i];
}

/* Where a flush that the journal splits may be cut off, with a cache and without one. */
static bool undisturbed_between(struct prepared *prep)
{
	struct steps steps = { prep->work, prep->nsteps };
	int status;

	if (!prep->work->split)
		return true;
	watching = true;
	snap_restore(prep->pending, folder);
	status = in_child(do_flush, NULL, WORK_TIME, NULL);
	add_states(prep);
	if (!status) {
		snap_restore(prep->base, folder);
		status = in_child(do_memory, &steps, WORK_TIME, NULL);
		add_states(prep);
	}
	watching = false;
	if (status)
		return prepare_failed(prep->work, "a flush that is watched", status);
	if (prep->nbetween < 4) {
		fprintf(stderr, "%s: the journal does not split it\n", prep->work->name);
		return false;
	}
	return true;
}

bool case_prepare(const struct work *work, struct prepared *out)
{
	const char *bad;
	int status;

	memset(out, 0, sizeof(*out));
	out->work = work;
	while (out->nsteps < WORK_STEPS_MOST && work->step[out->nsteps])
		out->nsteps++;
	snap_clear(folder);
	status = in_child(do_base, work, SETUP_TIME, NULL);
	if (status)
		return prepare_failed(work, "making it", status);
	out->base = snap_take(folder);
	bad = need_sound();
	if (!bad)
		bad = look(&out->after[0]);
	if (bad) {
		fprintf(stderr, "%s: before: %s\n", work->name, bad);
		return false;
	}
	for (unsigned n = 1; n <= out->nsteps; n++) {
		if (!undisturbed(out, n))
			return false;
	}
	if (!undisturbed_part(out) || !undisturbed_between(out))
		return false;
	for (enum phase p = 0; p < PHASE_COUNT; p++) {
		struct try t = { .phase = p, .fault = FAULT_NONE };

		if (p == PHASE_SETTLE || (p == PHASE_PART && !work->part))
			continue;
		bad = case_try(out, &t, &out->ops[p]);
		if (bad) {
			fprintf(stderr, "%s: phase %d without a fault: %s\n", work->name, p, bad);
			return false;
		}
	}
	return true;
}

void case_release(struct prepared *prep)
{
	snap_free(prep->base);
	snap_free(prep->pending);
}

/* --- the try --- */

static int run_phase(const struct prepared *prep, const struct try *t)
{
	struct steps steps = { prep->work, prep->nsteps };
	struct try first = { .phase = PHASE_FLUSH, .fault = FAULT_STOP, .at = t->first };
	bool fresh = t->phase == PHASE_COMMANDS || t->phase == PHASE_MEMORY;

	snap_restore(fresh ? prep->base : prep->pending, folder);
	switch (t->phase) {
	case PHASE_COMMANDS:
		return in_child(do_commands, &steps, WORK_TIME, t);
	case PHASE_PART:
		return in_child(do_flush, prep->work->part, WORK_TIME, t);
	case PHASE_SETTLE:
		in_child(do_flush, NULL, WORK_TIME, &first);
		return in_child(do_settle, NULL, WORK_TIME, t);
	case PHASE_MEMORY:
		return in_child(do_memory, &steps, WORK_TIME, t);
	default:
		return in_child(do_flush, NULL, WORK_TIME, t);
	}
}

uint64_t case_settle_ops(const struct prepared *prep, uint64_t first)
{
	struct try t = { .phase = PHASE_SETTLE, .first = first };

	run_phase(prep, &t);
	return told->ops;
}

static bool is_between(const struct prepared *prep, const struct digest *now)
{
	for (unsigned i = 0; i < prep->nbetween; i++) {
		if (same(now, &prep->between[i]))
			return true;
	}
	return false;
}

/* The image, settled: is it in a state that the phase allows? */
static const char *judge_settled(const struct prepared *prep, const struct try *t, unsigned acked)
{
	const struct digest *before = &prep->after[0], *after = &prep->after[prep->nsteps];
	struct digest now;
	const char *bad = look(&now);

	if (bad)
		return bad;
	if (t->phase == PHASE_COMMANDS)
		return same(&now, before) ? NULL : "a command that only pends changed the image";
	if (t->phase == PHASE_PART)
		after = &prep->part;
	if (!same(&now, before) && !same(&now, after) && !is_between(prep, &now))
		return "the tree is neither the one before nor the one after";
	if (acked && !same(&now, after))
		return "the flush was acknowledged and is not there";
	if (t->phase == PHASE_MEMORY)
		return NULL;
	if (!same(&now, after) && !same(before, after) && !cached())
		return "what was pending is gone, and the image has not all of it";
	if (same(&now, after) && t->phase != PHASE_PART && cached())
		return "what was flushed is still pending";
	return NULL;
}

/* What is left, flushed: is it all there? */
static const char *judge_flushed(const struct prepared *prep, const struct try *t, unsigned acked)
{
	const struct digest *all = &prep->after[prep->nsteps];
	struct digest now;
	const char *bad = look(&now);

	if (bad)
		return bad;
	if (cached())
		return "a cache is left after the last flush";
	if (t->phase != PHASE_COMMANDS) {
		if (!same(&now, all))
			return "flushed again, the tree is not that of an undisturbed flush";
		if (t->phase != PHASE_PART && !prep->work->split && now.layout != all->layout)
			return "flushed again, the layout is not that of an undisturbed flush";
		return NULL;
	}
	if (same(&now, &prep->after[acked]))
		return NULL;
	if (acked < prep->nsteps && same(&now, &prep->after[acked + 1]))
		return NULL;
	return say("%u commands were acknowledged; flushed, the tree is another", acked);
}

/* Somebody else replays the journal first: who, the try's seed says. */
static const char *others(const struct try *t)
{
	static const char *const checks[] = { "-fy -E journal_only", "-p", "-fy" };
	static const char *const mounts[] = { "ro", "rw,noatime,noinit_itable" };
	bool sectors = t->fault == FAULT_TORN || t->fault == FAULT_REORDER;
	uint64_t random = t->seed;
	unsigned who = (unsigned)(undo_random(&random) >> 20) % (geteuid() ? 4 : 6);
	int status;

	if (!case_others || !who || !digest_needs_recovery(image))
		return NULL;
	if (who < 4) {
		status = run_e2fsck(checks[who - 1], false);
		/* A superblock torn by the sector is one that e2fsck does not open, and only dafs settles. */
		if (status > 1 && !(status == 8 && sectors))
			return say("e2fsck %s ended with %d (%s.e2fsck)", checks[who - 1], status, folder);
		return NULL;
	}
	status = mount_once(mounts[who - 4]);
	if (status && !sectors)
		return say("mounting %s ended with %d (%s.e2fsck)", mounts[who - 4], status, folder);
	return NULL;
}

static const char *judge(const struct prepared *prep, const struct try *t, unsigned acked)
{
	const char *bad = others(t);
	int status;

	if (!bad)
		bad = need_clean_run(in_child(do_verify, NULL, WORK_TIME, NULL), "settling");
	if (!bad)
		bad = need_sound();
	if (!bad)
		bad = judge_settled(prep, t, acked);
	if (bad || t->phase == PHASE_MEMORY)
		return bad;
	if (cached()) {
		status = in_child(do_flush, NULL, WORK_TIME, NULL);
		if (status)
			return say("flushing again ended with %d: %s", status, told->text);
		bad = need_sound();
	}
	return bad ? bad : judge_flushed(prep, t, acked);
}

void case_leave(const struct prepared *prep, const struct try *t)
{
	run_phase(prep, t);
}

const char *case_try(const struct prepared *prep, const struct try *t, uint64_t *ops)
{
	int status = run_phase(prep, t);
	unsigned acked = told->acknowledged;
	char text[sizeof(told->text)];

	*ops = told->ops;
	memcpy(text, told->text, sizeof(text));
	if (status != 0 && status != 1 && status != SHIM_STOPPED)
		return say("the run ended with %d: %s", status, text);
	if (status == 1 && t->fault != FAULT_EIO && t->fault != FAULT_ENOSPC)
		return say("the run failed by itself: %s", text);
	return judge(prep, t, acked);
}
