/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tracesum - what a trace tells in sum: one that `dawrite --trace` wrote, or the text of a kernel's
 * trace buffer with ext4's events.
 *
 * Lines that hold no known event are passed over; nothing in a line is trusted beyond its numbers.
 */
#ifndef DAFS_JOB_TRACESUM_H
#define DAFS_JOB_TRACESUM_H

#include "base/ctx.h"

/* One file, by inode number (a pending one's events are counted under the number that it got). */
struct dafs_tracesum_file {
	uint64_t ino;
	const char *path; /* NULL: no line tells it (a kernel's trace) */
	uint64_t reserved, released, used; /* clusters */
	uint64_t chunks;		   /* that writeback asked for */
	uint64_t calls;			   /* of the allocator, for data */
	uint64_t blks;			   /* that they gave */
	uint64_t extents;		   /* that these make */
};

struct dafs_tracesum {
	size_t size; /* sizeof(struct dafs_tracesum) */
	uint64_t events;
	uint64_t reserve_events, reserved, release_events, released, used;
	uint64_t chunks, chunk_blks;
	uint64_t data_calls, data_pieces, data_blks, meta_calls, meta_blks;
	uint64_t writes, written_bytes; /* data handed to the device */
	struct dafs_tracesum_file *files; /* that something above is about, by number */
	size_t nfiles;
	struct dafs_tracesum_state *state;
};

/* Read path ("-": standard input). DAFS_ET_SYNTAX: no events in it, or a line that is no text line.
 * sum->size is set before; dafs_tracesum_fini after, on failure too. */
errcode_t dafs_tracesum_read(struct dafs_ctx *ctx, const char *path, struct dafs_tracesum *sum);
void dafs_tracesum_fini(struct dafs_tracesum *sum);

#endif
