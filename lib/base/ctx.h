/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctx - the surroundings of one piece of work: error detail, trace, progress, clock, cancel flag.
 *
 * Every handle (image, session, checker) is opened with a context and keeps the pointer; the
 * context outlives all of them. It does not do I/O by itself and holds no file-system state.
 *
 * Invariants:
 *  1. detail[] describes the last failure only: who receives a non-zero errcode_t prints "tool:
 *     detail: message".
 *  2. "now" is read once, when the context is made, so one command stamps one time everywhere.
 */
#ifndef DAFS_BASE_CTX_H
#define DAFS_BASE_CTX_H

#include <et/com_err.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "dafs/dafs_err.h"

struct dafs_trace;	/* base/trace.h */

/* Progress: stage is a short constant text; done of total (0: unknown) in the stage's own unit. */
typedef void (*dafs_progress_fn)(void *arg, const char *stage, uint64_t done, uint64_t total);

struct dafs_ctx {
	char detail[1024]; /* one line, no newline: path and cause of the last failure */
	struct dafs_trace *trace;	/* NULL: no tracing */
	dafs_progress_fn progress;	/* NULL: nobody watches */
	void *progress_arg;
	dafs_progress_fn
		notice; /* one-line notices (waiting for a lock, replaying): stage is the text */
	void *notice_arg;
	int64_t now_sec;		/* the time that new inodes and superblocks get */
	uint32_t now_nsec;
	bool fixed_time; /* SOURCE_DATE_EPOCH (or E2FSPROGS_FAKE_TIME): source times are clamped to now_sec */
	bool no_sync; /* --no-sync: ordering writes without waiting for the device */
	bool as_root; /* owner 0 may use root-reserved blocks: always true unless asked otherwise */
	unsigned threads;		/* worker threads wanted; 0: one per CPU */
	unsigned lock_timeout_ms;	/* how long to wait for another process; ~0u: for ever */
	volatile int cancel; /* set by a signal handler; long loops poll dafs_cancelled() */
};

/* Make a context with the clock read (SOURCE_DATE_EPOCH, then E2FSPROGS_FAKE_TIME, through
 * secure_getenv; else the host's clock). Never fails; ctx is caller's memory. A malformed
 * SOURCE_DATE_EPOCH is reported by dafs_ctx_init's return value (DAFS_ET_RANGE with detail) and the
 * host's clock is used. */
errcode_t dafs_ctx_init(struct dafs_ctx *ctx);

/* Record "what went wrong on which path" (printf-like) and return code, so that a caller writes
 * `return dafs_fail(ctx, code, "%s", path)`. ctx may be NULL (then only the code is passed on). */
errcode_t dafs_fail(struct dafs_ctx *ctx, errcode_t code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with a va_list. */
errcode_t dafs_vfail(struct dafs_ctx *ctx, errcode_t code, const char *fmt, va_list ap);

/* DAFS_ET_CANCELLED when the work should stop, else 0. Cheap enough for inner loops. */
errcode_t dafs_cancelled(struct dafs_ctx *ctx);

/* Report progress if somebody watches. */
void dafs_progress(struct dafs_ctx *ctx, const char *stage, uint64_t done, uint64_t total);

/* Say one line to the user through the notice callback (printf-like), if there is one. */
void dafs_notice(struct dafs_ctx *ctx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Worker threads to use: ctx->threads, or the CPUs available to the process (sched_getaffinity). At
 * least 1. */
unsigned dafs_threads(const struct dafs_ctx *ctx);

#endif
