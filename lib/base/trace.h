/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * trace - the sink for events named after the kernel's ext4 tracepoints.
 *
 * One line an event: "NAME: dev 0,0 ino N FIELDS", the fields as the kernel prints them, so that a
 * run of dafs can be laid beside a kernel's trace. With no sink a call costs one test of a pointer.
 */
#ifndef DAFS_BASE_TRACE_H
#define DAFS_BASE_TRACE_H

#include "base/ctx.h"

/* Open a sink on path ("-": standard error), appending. The file is made 0644. Errors: errno. */
errcode_t dafs_trace_open(struct dafs_ctx *ctx, const char *path, struct dafs_trace **ret);

/* Flush and close; NULL is fine. Returns the first write error the sink met. */
errcode_t dafs_trace_close(struct dafs_trace *trace);

/* Write one event. ino is the image's inode number, or the pending id when none is placed yet.
 * Thread-safe. */
void dafs_trace_event(struct dafs_trace *trace, const char *name, uint64_t ino, const char *fmt,
		      ...) __attribute__((format(printf, 4, 5)));

/* The same for events that do not begin with an inode: the whole line but its end. */
void dafs_trace_line(struct dafs_trace *trace, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* From here on events are held back, until it is known whether what they tell of happens: the
 * caller ends it with dafs_trace_keep or dafs_trace_drop and the mark it got. Brackets may stand
 * inside each other; nothing is written before the outermost one is kept. NULL is fine in all
 * three. Without memory for them, events held back are lost and closing the sink says ENOMEM. */
size_t dafs_trace_hold(struct dafs_trace *trace);
void dafs_trace_keep(struct dafs_trace *trace);
void dafs_trace_drop(struct dafs_trace *trace, size_t mark);

/* The form to call: costs nothing without a sink. */
#define DAFS_TRACE(ctx, name, ino, ...)								\
	do {											\
		if ((ctx)->trace)								\
			dafs_trace_event((ctx)->trace, (name), (ino), __VA_ARGS__);		\
	} while (0)

#endif
