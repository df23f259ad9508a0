/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctx - see ctx.h. Holds no state of its own; everything is in the caller's struct.
 */
#include "config.h"

#include "base/ctx.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds from an environment variable: 1 taken, 0 not set, -1 malformed. */
static int env_seconds(const char *name, int64_t *sec)
{
	const char *text = secure_getenv(name);
	char *end;
	long long value;

	if (!text || !*text)
		return 0;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || *end)
		return -1;
	*sec = value;
	return 1;
}

errcode_t dafs_ctx_init(struct dafs_ctx *ctx)
{
	static const char *const clocks[] = { "SOURCE_DATE_EPOCH", "E2FSPROGS_FAKE_TIME" };
	struct timespec now;
	errcode_t err = 0;

	memset(ctx, 0, sizeof(*ctx));
	ctx->as_root = true;
	ctx->lock_timeout_ms = ~0u;
	/* The clock of time() and of the kernel's file systems: a finer one runs ahead of it by
	 * some milliseconds, and what is stamped with it lies in the future for them. */
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	ctx->now_sec = now.tv_sec;
	ctx->now_nsec = (uint32_t)now.tv_nsec;
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]) && !ctx->fixed_time; i++) {
		int got = env_seconds(clocks[i], &ctx->now_sec);

		if (got < 0)
			err = dafs_fail(ctx, DAFS_ET_RANGE, "%s", clocks[i]);
		if (got > 0) {
			ctx->fixed_time = true;
			ctx->now_nsec = 0;
		}
	}
	return err;
}

errcode_t dafs_vfail(struct dafs_ctx *ctx, errcode_t code, const char *fmt, va_list ap)
{
	if (!ctx)
		return code;
	vsnprintf(ctx->detail, sizeof(ctx->detail), fmt, ap);
	for (char *c = ctx->detail; *c; c++) {
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	}
	return code;
}

errcode_t dafs_fail(struct dafs_ctx *ctx, errcode_t code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	dafs_vfail(ctx, code, fmt, ap);
	va_end(ap);
	return code;
}

errcode_t dafs_cancelled(struct dafs_ctx *ctx)
{
	return ctx->cancel ? dafs_fail(ctx, DAFS_ET_CANCELLED, "interrupted") : 0;
}

void dafs_progress(struct dafs_ctx *ctx, const char *stage, uint64_t done, uint64_t total)
{
	if (ctx->progress)
		ctx->progress(ctx->progress_arg, stage, done, total);
}

void dafs_notice(struct dafs_ctx *ctx, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (!ctx->notice)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	ctx->notice(ctx->notice_arg, line, 0, 0);
}

unsigned dafs_threads(const struct dafs_ctx *ctx)
{
	cpu_set_t set;
	int cpus = 1;

	if (ctx->threads)
		return ctx->threads;
	if (!sched_getaffinity(0, sizeof(set), &set))
		cpus = CPU_COUNT(&set);
	return cpus > 0 ? (unsigned)cpus : 1;
}
