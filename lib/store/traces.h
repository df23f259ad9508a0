/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * traces - who else was at the image since a flush was begun? What others leave behind, taken
 * before the flush and looked at by who settles it after a crash.
 *
 * Somebody who mounts the image or runs e2fsck after the crash replays its journal first, as they
 * must; that is not a change behind the cache's back. What tells a replay from more:
 *  1. the journal's sequence number. A flush takes one number and leaves one (so +2), who replays
 *     goes on by at most one more; every transaction of the kernel takes at least two. A mount that
 *     wrote nothing but superblocks takes none. A replay may have been cut off itself, and then
 *     comes again: the log has no commit block then but the flush's.
 *  2. the write time. e2fsck stamps it together with the time of the last check or a sequence
 *     number, a mount together with its own time; one that moved alone is that of another tool
 *     (debugfs, tune2fs).
 *  3. the sum of size, free counts and descriptors, as it was before or as the flush has put it
 *     into the image.
 * A redo record (of an image without a journal, or of a flush that its journal does not hold) is
 * not replayed by others: there nothing may have moved.
 */
#ifndef DAFS_STORE_TRACES_H
#define DAFS_STORE_TRACES_H

#include "image/image.h"

enum { DAFS_TRACES = 9 };

struct dafs_traces {
	int64_t mounts, mtime, checked; /* mount count, times of the last mount and check */
	int64_t wtime;			/* of the last write */
	int64_t wtime_after;		/* ... that the flush leaves */
	int64_t content, content_after; /* dafs_image_content_sum; what the last flush left */
	int64_t sequence;		/* the journal's; 0: it has none */
	int64_t blocks;			/* of the file system */
	bool by_redo;			/* the flush goes by a redo record all the same */
};

/* What the image says now, by_redo false. Errors: those of reading the journal. */
errcode_t dafs_traces_take(struct dafs_image *img, struct dafs_traces *out);

/* *ours: was nobody at the image but who replayed its journal? committed: whether the flush is in
 * it. Errors: those of reading the journal. */
errcode_t dafs_traces_ours(struct dafs_image *img, const struct dafs_traces *then,
			   const struct dafs_traces *now, bool committed, bool *ours);

/* What was done to the image in between, as far as it shows: "mounted", "resized", ... */
const char *dafs_traces_what(const struct dafs_traces *then, const struct dafs_traces *now);

/* As numbers in the order of the columns of tables flush and bound, and back. (by_redo is the sign
 * of sequence.) */
void dafs_traces_to_row(const struct dafs_traces *traces, int64_t row[DAFS_TRACES]);
void dafs_traces_from_row(const int64_t row[DAFS_TRACES], struct dafs_traces *traces);

#endif
