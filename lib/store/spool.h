/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spool - the bytes of pending blocks: one file, in slots of the image's block size, with a
 * checksum a slot in a second file.
 *
 * It keeps and verifies; which slots are free between commands is told to it (slots.h). Within a
 * command slots come from spare (free now) or from the end; a slot given back goes to spare when
 * the same command took it, else to dropped: only when the command that gave it back is durable
 * may it be used again.
 *
 *   begin:  committed end, empty spare and dropped       put: spare or end grows        drop:
 *   spare or dropped (a drop between commands waits for the next commit)
 *   commit: the owner saves end, spare and dropped as free slots
 *   rollback: end as it was
 *
 * Ephemeral: one unnamed file, no checksums, every slot given back is spare at once.
 * Reads may come from several threads at a time; the rest from one.
 */
#ifndef DAFS_STORE_SPOOL_H
#define DAFS_STORE_SPOOL_H

#include "model/pagecache.h"
#include "store/place.h"

struct dafs_spool {
	struct dafs_source source; /* what page runs point at */
	struct dafs_ctx *ctx;
	const char *name; /* for messages */
	int fd, sum_fd;	  /* -1: not there yet */
	uint32_t block_size;
	bool ephemeral;
	bool clones;	   /* the host shares blocks between files: get_fd gives a descriptor */
	bool dirty;	   /* something is not synced yet */
	bool salvage;	   /* blocks whose checksums are lost are read all the same, and counted: */
	uint64_t unsummed_blks;
	uint64_t end_blks; /* slots in all */
	/* end_blks when the command began: what lies at or past it is this command's own */
	uint64_t command_blks;
	struct dafs_rangemap spare, dropped;
	/* Checksums not written yet: of slots [sum_first, sum_first + sum_n). */
	uint64_t sum_first;
	uint32_t sum_n;
	uint32_t sums[1024];
	/* Asked when spare has no run of n slots: add some to spare (dafs_spool_spare). Done
	 * when it has none of that length. */
	errcode_t (*more)(void *arg, uint32_t n);
	void *more_arg;
};

/* Set up without files. name must live as long. */
void dafs_spool_init(struct dafs_spool *sp, struct dafs_ctx *ctx, const char *name,
		     uint32_t block_size);
void dafs_spool_fini(struct dafs_spool *sp);

/* Open place's spool and spool.sum, made when absent and create is set; end_blks slots are in
 * use or free. DAFS_ET_CACHE_DAMAGED when a file is shorter than that; ENOENT (when end_blks is
 * 0 and create is not set, both may be missing). */
errcode_t dafs_spool_open(struct dafs_spool *sp, struct dafs_place *place, uint64_t end_blks,
			  bool create);

/* What there is of place's spool and spool.sum, to read what can be read (salvage). ENOENT:
 * there is no spool. */
errcode_t dafs_spool_open_salvage(struct dafs_spool *sp, struct dafs_place *place);

/* Make it an unnamed file, now: beside the file of that name (NULL: none), in TMPDIR or in
 * /var/tmp. */
errcode_t dafs_spool_open_ephemeral(struct dafs_spool *sp, const char *beside);

/* Keep nblks blocks; *off_bytes says where. ENOSPC, EIO: nothing was kept. */
errcode_t dafs_spool_put(struct dafs_spool *sp, const void *blocks, uint32_t nblks,
			 uint64_t *off_bytes);
/* Keep len bytes of fd from off, zero padded to whole blocks; shared with fd's file where the
 * host can. DAFS_ET_SOURCE_CHANGED when fd ends before that. */
errcode_t dafs_spool_put_fd(struct dafs_spool *sp, int fd, uint64_t off, uint64_t len_bytes,
			    uint64_t *off_bytes);
/* Slots of a run are no longer needed. Runs of other sources are ignored. */
void dafs_spool_drop(struct dafs_spool *sp, const struct dafs_page_run *gone);
/* Slots [first, first+n) are free to use (for more). ENOMEM. */
errcode_t dafs_spool_spare(struct dafs_spool *sp, uint64_t first, uint64_t n);

/* A command begins, with everything before it committed. */
void dafs_spool_begin(struct dafs_spool *sp);
/* What was put is durable when it returns (nothing waits with ctx->no_sync). */
errcode_t dafs_spool_sync(struct dafs_spool *sp);
/* The command is undone. */
void dafs_spool_rollback(struct dafs_spool *sp);
/* Cut the files to end_blks slots (after that was committed). Failure does no harm and is not
 * reported. */
void dafs_spool_trim(struct dafs_spool *sp);

/* Verify slots [first, first+n): DAFS_ET_CACHE_DATA names the first bad one. */
errcode_t dafs_spool_check(struct dafs_spool *sp, uint64_t first, uint64_t n);
/* Find out whether the host can share blocks. */
void dafs_spool_probe_clones(struct dafs_spool *sp);

#endif
