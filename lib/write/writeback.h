/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * writeback - step 2 of a flush: what of a file is to be written, as runs as long as they can be
 * (the kernel forms chunks so in mpage_prepare_extent_to_map).
 *
 * Pure: reads the es tree and the page cache, changes nothing, knows no image.
 */
#ifndef DAFS_WRITE_WRITEBACK_H
#define DAFS_WRITE_WRITEBACK_H

#include "model/inode.h"

enum dafs_wb_kind {
	DAFS_WB_NEW = 1,   /* delayed blocks with bytes: to be placed and written */
	DAFS_WB_UNWRITTEN, /* delayed blocks without: to be placed as unwritten */
	DAFS_WB_OVER,	   /* bytes over blocks that have their place, in the image or in placed */
};

struct dafs_wb_run {
	uint32_t lblk;
	uint32_t len;
	uint8_t kind;
};

struct dafs_wb_runs {
	struct dafs_wb_run *v;
	size_t n, room;
};

/* The runs of a file part in lblk order; none is followed by one of its kind that continues it
 * unless max_len_blks (0: no limit) cut it. runs is emptied first and may be used again and again.
 * ENOMEM. */
errcode_t dafs_writeback_collect(const struct dafs_file *file, uint32_t max_len_blks,
				 struct dafs_wb_runs *runs);

void dafs_writeback_fini(struct dafs_wb_runs *runs);

#endif
