/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * trace - see trace.h. A mutex keeps lines whole; stdio buffers them.
 */
#include "config.h"

#include "base/trace.h"

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
	if (fflush(trace->out) || ferror(trace->out))
		err = errno ? errno : EIO;
	if (trace->owned && fclose(trace->out) && !err)
		err = errno;
	pthread_mutex_destroy(&trace->lock);
	free(trace);
	return err;
}

void dafs_trace_event(struct dafs_trace *trace, const char *name, uint64_t ino, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&trace->lock);
	fprintf(trace->out, "%s: dev 0,0 ino %" PRIu64 " ", name, ino);
	va_start(ap, fmt);
	vfprintf(trace->out, fmt, ap);
	va_end(ap);
	fputc('\n', trace->out);
	pthread_mutex_unlock(&trace->lock);
}
