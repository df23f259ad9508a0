/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * trace - see trace.h. A mutex keeps lines whole; stdio buffers them. What is held back stands in
 * memory, in the order in which it came.
 */
#include "config.h"

#include "base/trace.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dafs_trace {
	FILE *out;
	pthread_mutex_t lock;
	bool owned;
	bool lost;	/* no memory for what was held back */
	unsigned depth; /* brackets open */
	char *held;
	size_t held_bytes, held_room;
};

/* An own stream on path, made 0644 whatever the umask left of it. NULL with errno set. */
static FILE *open_stream(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	FILE *out;

	if (fd < 0)
		return NULL;
	out = fdopen(fd, "a");
	if (!out)
		close(fd);
	return out;
}

errcode_t dafs_trace_open(struct dafs_ctx *ctx, const char *path, struct dafs_trace **ret)
{
	struct dafs_trace *trace = calloc(1, sizeof(*trace));
	errcode_t err;

	*ret = NULL;
	if (!trace)
		return ENOMEM;
	trace->owned = strcmp(path, "-") != 0;
	trace->out = trace->owned ? open_stream(path) : stderr;
	if (!trace->out) {
		err = dafs_fail(ctx, errno, "%s", path);
		free(trace);
		return err;
	}
	pthread_mutex_init(&trace->lock, NULL);
	*ret = trace;
	return 0;
}

errcode_t dafs_trace_close(struct dafs_trace *trace)
{
	errcode_t err = 0;

	if (!trace)
		return 0;
	if (trace->lost)
		err = ENOMEM;
	free(trace->held);
	if (fflush(trace->out) || ferror(trace->out))
		err = errno ? errno : EIO;
	if (trace->owned && fclose(trace->out) && !err)
		err = errno;
	pthread_mutex_destroy(&trace->lock);
	free(trace);
	return err;
}

/* Room for n bytes more among what is held back. */
static bool held_room(struct dafs_trace *trace, size_t n)
{
	size_t room = trace->held_room ? trace->held_room : 4096;
	char *held;

	while (room - trace->held_bytes < n)
		room *= 2;
	if (room == trace->held_room)
		return true;
	held = realloc(trace->held, room);
	trace->lost |= !held;
	if (!held)
		return false;
	trace->held = held;
	trace->held_room = room;
	return true;
}

/* One formatted piece, written or held back. */
static void put(struct dafs_trace *trace, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	if (!trace->depth) {
		vfprintf(trace->out, fmt, ap);
		return;
	}
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0 && held_room(trace, (size_t)n + 1)) {
		vsnprintf(trace->held + trace->held_bytes, (size_t)n + 1, fmt, again);
		trace->held_bytes += (size_t)n;
	}
	va_end(again);
}

static void put_text(struct dafs_trace *trace, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void put_text(struct dafs_trace *trace, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(trace, fmt, ap);
	va_end(ap);
}

void dafs_trace_event(struct dafs_trace *trace, const char *name, uint64_t ino, const char *fmt,
		      ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&trace->lock);
	put_text(trace, "%s: dev 0,0 ino %" PRIu64 " ", name, ino);
	put(trace, fmt, ap);
	put_text(trace, "\n");
	pthread_mutex_unlock(&trace->lock);
	va_end(ap);
}

void dafs_trace_line(struct dafs_trace *trace, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&trace->lock);
	put(trace, fmt, ap);
	put_text(trace, "\n");
	pthread_mutex_unlock(&trace->lock);
	va_end(ap);
}

size_t dafs_trace_hold(struct dafs_trace *trace)
{
	size_t mark = 0;

	if (!trace)
		return 0;
	pthread_mutex_lock(&trace->lock);
	trace->depth++;
	mark = trace->held_bytes;
	pthread_mutex_unlock(&trace->lock);
	return mark;
}

static void end_bracket(struct dafs_trace *trace, size_t held_bytes)
{
	assert(trace->depth && held_bytes <= trace->held_bytes);
	trace->held_bytes = held_bytes;
	if (--trace->depth)
		return;
	if (trace->held_bytes)
		fwrite(trace->held, 1, trace->held_bytes, trace->out);
	trace->held_bytes = 0;
}

void dafs_trace_keep(struct dafs_trace *trace)
{
	if (!trace)
		return;
	pthread_mutex_lock(&trace->lock);
	end_bracket(trace, trace->held_bytes);
	pthread_mutex_unlock(&trace->lock);
}

void dafs_trace_drop(struct dafs_trace *trace, size_t mark)
{
	if (!trace)
		return;
	pthread_mutex_lock(&trace->lock);
	end_bracket(trace, mark);
	pthread_mutex_unlock(&trace->lock);
}
