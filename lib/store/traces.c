/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* traces - see traces.h. */
#include "config.h"

#include "store/traces.h"

#include <string.h>

#include "image/txn.h"

enum {
	FLUSH_SEQUENCE = 2, /* what a flush adds to the journal's sequence number */
	REPLAY_SEQUENCE = 1, /* what replaying adds at most, by whomever */
	REPLAYS_MOST = 64,
};

static int64_t time_of(uint32_t low, uint8_t high)
{
	return (int64_t)((uint64_t)high << 32 | low);
}

errcode_t dafs_traces_take(struct dafs_image *img, struct dafs_traces *out)
{
	struct ext2_super_block *sb = img->fs->super;
	uint32_t sequence;
	errcode_t err = dafs_image_journal_sequence(img, &sequence);

	*out = (struct dafs_traces){
		.mounts = sb->s_mnt_count,
		.mtime = time_of(sb->s_mtime, sb->s_mtime_hi),
		.checked = time_of(sb->s_lastcheck, sb->s_lastcheck_hi),
		.wtime = time_of(sb->s_wtime, sb->s_wtime_hi),
		.wtime_after = img->ctx->now_sec,
		.content = dafs_image_content_sum(img, sb),
		.content_after = dafs_txn_last_content_sum(img),
		.sequence = sequence,
		.blocks = (int64_t)img->blocks,
	};
	return err;
}

/* Where a journal stands after the flush, or without it; how far others have moved it. Numbers
 * wrap around. */
static uint32_t moved(const struct dafs_traces *then, const struct dafs_traces *now, bool committed)
{
	return (uint32_t)now->sequence - (uint32_t)then->sequence -
	       (committed ? FLUSH_SEQUENCE : 0);
}

/* All that a superblock and descriptors tell. */
static bool fits(const struct dafs_traces *then, const struct dafs_traces *now, bool committed)
{
	bool journal = then->sequence && now->sequence && !then->by_redo;
	bool mounted = then->mounts != now->mounts || then->mtime != now->mtime;
	bool checked = then->checked != now->checked;
	bool written = now->wtime != (committed ? then->wtime_after : then->wtime);

	if (now->content != (committed ? now->content_after : then->content))
		return false;
	if (!journal)
		return then->sequence == now->sequence && !mounted && !checked && !written;
	if (moved(then, now, committed) > REPLAYS_MOST * REPLAY_SEQUENCE)
		return false;
	return !written || mounted || checked || moved(then, now, committed);
}

errcode_t dafs_traces_ours(struct dafs_image *img, const struct dafs_traces *then,
			   const struct dafs_traces *now, bool committed, bool *ours)
{
	/* The flush's number; the log may hold its commit block before that counts. */
	uint32_t last = (uint32_t)then->sequence + 1;
	bool later = false;
	errcode_t err = 0;

	*ours = fits(then, now, committed);
	if (!*ours || !then->sequence || then->by_redo ||
	    moved(then, now, committed) <= REPLAY_SEQUENCE)
		return 0;
	/* What was mounted over a flush that never happened may have a transaction of its
	 * number. */
	if (committed || then->mtime == now->mtime)
		err = dafs_image_journal_commits_after(img, last, &later);
	else
		later = true;
	*ours = !err && !later;
	return err;
}

const char *dafs_traces_what(const struct dafs_traces *then, const struct dafs_traces *now)
{
	if (then->blocks != now->blocks)
		return "resized";
	if (then->mtime != now->mtime)
		return "mounted";
	if (then->checked != now->checked)
		return "checked by e2fsck or its like";
	return "written by another tool";
}

void dafs_traces_to_row(const struct dafs_traces *t, int64_t row[DAFS_TRACES])
{
	const int64_t numbers[DAFS_TRACES] = { t->mounts,	 t->mtime,	 t->checked,
					       t->wtime,	 t->wtime_after, t->content,
					       t->content_after,
					       t->by_redo ? -t->sequence : t->sequence,
					       t->blocks };

	memcpy(row, numbers, sizeof(numbers));
}

void dafs_traces_from_row(const int64_t row[DAFS_TRACES], struct dafs_traces *t)
{
	*t = (struct dafs_traces){ row[0], row[1], row[2], row[3], row[4],
				    row[5], row[6], row[7], row[8], row[7] < 0 };
	/* The least number has no opposite, and is none of ours. */
	if (t->by_redo)
		t->sequence = t->sequence == INT64_MIN ? 0 : -t->sequence;
}
