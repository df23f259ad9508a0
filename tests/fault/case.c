/* SPDX-License-Identifier: GPL-2.0-or-later */
/* case - see case.h. */
#include "config.h"

#include "tests/fault/case.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/child.h"
#include "tests/fault/snap.h"
#include "tests/fault/undo.h"

enum { SETUP_TIME = 1600000000, WORK_TIME = 1600001000 };

bool case_others, case_kernel;
static char finding[2048];

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
		return say("%s ended with %d: %s", what, status, child_told->text);
	if (child_told->problems)
		return say("%s found: %s", what, child_told->text);
	return NULL;
}

/* e2fsck; findings go to FOLDER.e2fsck. */
static int run_e2fsck(const char *options, bool silent)
{
	char cmd[3 * PATH_MAX];
	int status;

	snprintf(cmd, sizeof(cmd),
		 "PATH=$PATH:/sbin:/usr/sbin; e2fsck %s %s >%s.e2fsck 2>/dev/null", options,
		 child_image, child_folder);
	if (silent)
		snprintf(cmd + strlen(cmd), sizeof(cmd) - strlen(cmd),
			 " && ! grep -vE '^Pass [1-5]|: [0-9]+/[0-9]+ files|^$' %s.e2fsck",
			 child_folder);
	status = system(cmd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 999;
}

/* The kernel has it for a moment, which replays the journal. What it says goes to FOLDER.e2fsck.
 * Of two that ask for a free loop device at once one may not get it: it asks again. */
static int mount_once(const char *options)
{
	char cmd[8 * PATH_MAX];
	int status;

	snprintf(cmd, sizeof(cmd),
		 "PATH=$PATH:/sbin:/usr/sbin; exec >%s.e2fsck 2>&1; n=0; "
		 "until dev=$(losetup -f --show %s); do [ $((n += 1)) -lt 20 ] || exit 1; done; "
		 "mkdir %s.mnt && "
		 "mount -t ext4 -o %s $dev %s.mnt && umount %s.mnt; bad=$?; rmdir %s.mnt; losetup "
		 "-d $dev; exit $bad",
		 child_folder, child_image, child_folder, options, child_folder, child_folder,
		 child_folder);
	status = system(cmd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 999;
}

static const char mount_rw[] = "rw,noatime,noinit_itable";

static const char *need_sound(void)
{
	const char *bad = need_clean_run(child_run(child_check, NULL, time(NULL), NULL), "dafsck");

	if (!bad && run_e2fsck("-fn", true))
		bad = say("e2fsck has findings (%s.e2fsck)", child_folder);
	if (!bad && case_kernel && mount_once("ro"))
		bad = say("the kernel does not mount it (%s.e2fsck)", child_folder);
	return bad;
}

static const char *look(struct digest *now)
{
	errcode_t err = digest_image(child_image, now, NULL);

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

	snprintf(path, sizeof(path), "%s/cache.db", child_cache);
	return !stat(path, &st) && st.st_size;
}

/* --- preparing --- */

static bool prepare_failed(const struct work *work, const char *what, int status)
{
	fprintf(stderr, "%s: %s ended with %d: %s\n", work->name, what, status, child_told->text);
	return false;
}

/* From the base: n steps pending, flushed, looked at. */
static bool undisturbed(struct prepared *prep, unsigned n)
{
	struct child_steps steps = { prep->work, n };
	const char *bad;
	int status;

	snap_restore(prep->base, child_folder);
	status = child_run(child_commands, &steps, WORK_TIME, NULL);
	if (status)
		return prepare_failed(prep->work, "commands", status);
	if (n == prep->nsteps)
		prep->pending = snap_take(child_folder);
	status = child_run(child_flush, NULL, WORK_TIME, NULL);
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
	snap_restore(prep->pending, child_folder);
	status = child_run(child_flush, prep->work->part, WORK_TIME, NULL);
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
	for (unsigned i = 0; i < child_told->nstates && prep->nbetween < STATES_MOST; i++)
		prep->between[prep->nbetween++] = child_told->states[i];
}

/* Where a flush that the journal splits may be cut off, with a cache and without one. */
static bool undisturbed_between(struct prepared *prep)
{
	struct child_steps steps = { prep->work, prep->nsteps };
	int status;

	if (!prep->work->split)
		return true;
	child_watched = true;
	snap_restore(prep->pending, child_folder);
	status = child_run(child_flush, NULL, WORK_TIME, NULL);
	add_states(prep);
	if (!status) {
		snap_restore(prep->base, child_folder);
		status = child_run(child_memory, &steps, WORK_TIME, NULL);
		add_states(prep);
	}
	child_watched = false;
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
	snap_clear(child_folder);
	status = child_run(child_base, work, SETUP_TIME, NULL);
	if (status)
		return prepare_failed(work, "making it", status);
	out->base = snap_take(child_folder);
	bad = need_sound();
	if (!bad)
		bad = look(&out->after[0]);
	if (bad) {
		fprintf(stderr, "%s: before: %s\n", work->name, bad);
		return false;
	}
	/* A kernel without quotas, say, has such an image for reading only. */
	out->kernel_writes = case_others && !geteuid() && !mount_once(mount_rw);
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
	struct child_steps steps = { prep->work, prep->nsteps };
	struct try first = { .phase = PHASE_FLUSH, .fault = FAULT_STOP, .at = t->first };
	bool fresh = t->phase == PHASE_COMMANDS || t->phase == PHASE_MEMORY;

	snap_restore(fresh ? prep->base : prep->pending, child_folder);
	switch (t->phase) {
	case PHASE_COMMANDS:
		return child_run(child_commands, &steps, WORK_TIME, t);
	case PHASE_PART:
		return child_run(child_flush, prep->work->part, WORK_TIME, t);
	case PHASE_SETTLE:
		child_run(child_flush, NULL, WORK_TIME, &first);
		return child_run(child_settle, NULL, WORK_TIME, t);
	case PHASE_MEMORY:
		return child_run(child_memory, &steps, WORK_TIME, t);
	default:
		return child_run(child_flush, NULL, WORK_TIME, t);
	}
}

uint64_t case_settle_ops(const struct prepared *prep, uint64_t first)
{
	struct try t = { .phase = PHASE_SETTLE, .first = first };

	run_phase(prep, &t);
	return child_told->ops;
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
static const char *others(const struct prepared *prep, const struct try *t)
{
	static const char *const checks[] = { "-fy -E journal_only", "-p", "-fy" };
	const char *mounts[] = { "ro", prep->kernel_writes ? mount_rw : "ro" };
	bool sectors = t->fault == FAULT_TORN || t->fault == FAULT_REORDER;
	uint64_t random = t->seed;
	unsigned who = (unsigned)(undo_random(&random) >> 20) % (geteuid() ? 4 : 6);
	int status;

	if (!case_others || !who || !digest_needs_recovery(child_image))
		return NULL;
	/* To e2fsck that is damage: it goes on with a backup, and the cache is refused for it. */
	if (sectors && digest_super_torn(child_image))
		return NULL;
	if (who < 4) {
		status = run_e2fsck(checks[who - 1], false);
		/* Nor does it open a journal whose superblock is torn. */
		if (status > 1 && !(status == 8 && sectors))
			return say("e2fsck %s ended with %d (%s.e2fsck)", checks[who - 1], status,
				   child_folder);
		return NULL;
	}
	status = mount_once(mounts[who - 4]);
	if (status && !sectors)
		return say("mounting %s ended with %d (%s.e2fsck)", mounts[who - 4], status,
			   child_folder);
	return NULL;
}

static const char *judge(const struct prepared *prep, const struct try *t, unsigned acked)
{
	const char *bad = others(prep, t);
	int status;

	if (!bad)
		bad = need_clean_run(child_run(child_verify, NULL, WORK_TIME, NULL), "settling");
	if (!bad)
		bad = need_sound();
	if (!bad)
		bad = judge_settled(prep, t, acked);
	if (bad || t->phase == PHASE_MEMORY)
		return bad;
	if (cached()) {
		status = child_run(child_flush, NULL, WORK_TIME, NULL);
		if (status)
			return say("flushing again ended with %d: %s", status, child_told->text);
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
	unsigned acked = child_told->acknowledged;
	char text[sizeof(child_told->text)];

	*ops = child_told->ops;
	memcpy(text, child_told->text, sizeof(text));
	if (status != 0 && status != 1 && status != SHIM_STOPPED)
		return say("the run ended with %d: %s", status, text);
	if (status == 1 && t->fault != FAULT_EIO && t->fault != FAULT_ENOSPC)
		return say("the run failed by itself: %s", text);
	return judge(prep, t, acked);
}
