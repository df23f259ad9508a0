/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * daop - one change of one file's pending blocks, that either happens whole or not at all.
 *
 * dafs_daop_begin -> any number of dafs_daop_put / _put_fd / _delay -> dafs_daop_end(err): with err
 * 0 the runs that were replaced are dropped from the stash; otherwise es tree, page cache, reserve
 * and the inode's marks go back to what they were and the new runs are dropped. Ranges are in
 * blocks, half open. One operation at a time on an inode.
 */
#ifndef DAFS_WRITE_DAOP_H
#define DAFS_WRITE_DAOP_H

#include "write/dareserve.h"

/* One run that was put in, and what it replaced: gone[gone_first, the next act's). */
struct dafs_daop_act {
	struct dafs_page_run run;
	size_t gone_first;
};

struct dafs_daop {
	struct dafs_write *w;
	struct dafs_inode *inode;
	struct dafs_file *file;
	struct dafs_daop_act *acts;
	size_t nacts, acts_room;
	struct dafs_page_run *gone;
	size_t ngone, gone_room;
	struct dafs_extlist fresh;     /* holes that became delayed (pblk = lblk) */
	struct dafs_extlist unfalloc;  /* ranges taken out of falloc (pblk = lblk) */
	struct dafs_extlist nowfalloc; /* ranges put into falloc (pblk = lblk) */
	struct dafs_extlist punched;   /* ranges newly punched (pblk = lblk), in any order */
	uint64_t plans;		       /* dry plans before */
	bool cuts;		       /* the image's mapping loses ranges: bound anew */
	uint32_t *pend;		       /* copy of the file's before */
	uint32_t npend;
	uint64_t reserved, size, seq; /* as they were */
	uint32_t promised;
	uint16_t state;
	bool splits;  /* more extents, though no more clusters */
	bool checked; /* dafs_daop_check said yes */
	bool oom;     /* the list of replaced runs could not grow */
};

/* Start. Refuses what cannot be changed (encrypted, verity, immutable); turns an inline file into
 * an ordinary one first. */
errcode_t dafs_daop_begin(struct dafs_daop *op, struct dafs_write *w, struct dafs_inode *inode);

/* Give every hole of [lblk, end) a reserve and make it delayed. */
errcode_t dafs_daop_delay(struct dafs_daop *op, uint32_t lblk, uint32_t end);

/* The holes of [lblk, end) become delayed blocks that stay unwritten. */
errcode_t dafs_daop_falloc(struct dafs_daop *op, uint32_t lblk, uint32_t end);

/* New contents for nblks blocks from lblk on: reserve what are holes, keep the bytes, enter them in
 * the page cache. */
errcode_t dafs_daop_put(struct dafs_daop *op, uint32_t lblk, uint32_t nblks, const void *blocks);

/* The same from len bytes of fd at fd_off; the last block is zero padded. */
errcode_t dafs_daop_put_fd(struct dafs_daop *op, uint32_t lblk, int fd, uint64_t fd_off,
			   uint64_t len_bytes);

/* Note that the image's blocks in [lblk, end) are to be unmapped at the flush: extents are cut, and
 * may need a tree block more. */
errcode_t dafs_daop_unmap_image(struct dafs_daop *op, uint32_t lblk, uint32_t end);

/* Change bytes [from, to) of one block (to at most the block size): the rest stays what a reader
 * sees. src NULL: zeros, and nothing is done where the block reads as zeros there anyway. */
errcode_t dafs_daop_patch(struct dafs_daop *op, uint32_t lblk, uint32_t from, uint32_t to,
			  const void *src);

/* Zero what is kept behind the end of file in its last block: before the file grows. */
errcode_t dafs_daop_zero_tail(struct dafs_daop *op);

/* Is there room for what was entered, beyond its blocks: places to move overwritten ones to, tree
 * blocks where extents are cut? dafs_daop_end asks if nobody did. DAFS_ET_NOSPC_RESERVE or _META.
 */
errcode_t dafs_daop_check(struct dafs_daop *op);

/* Finish or, with err, undo. Returns err, or why there is no room. After a successful
 * dafs_daop_check finishing cannot fail. */
errcode_t dafs_daop_end(struct dafs_daop *op, errcode_t err);

/* One block as a reader sees it (bytes past the end of file included, as they are kept). */
errcode_t dafs_daop_read_blk(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			     void *block);

/* Collects runs that leave the page cache (a dafs_pagecache_drop_fn; arg is the operation). */
void dafs_daop_gone(void *arg, const struct dafs_page_run *gone);

#endif
