/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flush - from pending to placed: collect, plan, submit, encode, commit (DESIGN.md section 1, steps
 * 2 to 6).
 *
 * The caller (ns) hands over a change set in reading order; the plan is a value that can be printed
 * and dropped. A flush either commits or leaves the image as it was; settling the pending state
 * (step 7) is the caller's, who gets every inode's number and mapping.
 *
 * Stages: writeback.c (collect: runs of a file), plan.c (place), submit.c (data: reader threads,
 * large sequential writes), commit.c (encode + txn).
 */
#ifndef DAFS_WRITE_FLUSH_H
#define DAFS_WRITE_FLUSH_H

#include "image/dircodec.h"
#include "model/inode.h"
#include "write/part.h"

struct dafs_qlimit;

/* What is to be flushed. Order matters: the planner places in this order (directories first is its
 * own business). */
struct dafs_changeset {
	struct dafs_inode **inodes; /* every dirty inode once: new, changed, gone */
	size_t n;
	void *arg;
	/* Names to add to and remove from a directory with DAFS_I_NAMES (or a new one). The arrays
	 * live until dir_done. */
	errcode_t (*dir_begin)(void *arg, struct dafs_inode *dir, struct dafs_dirplan_req *req);
	void (*dir_done)(void *arg, struct dafs_inode *dir, struct dafs_dirplan_req *req);
	/* The inode behind an id (a parent). */
	struct dafs_inode *(*inode_of)(void *arg, uint64_t id);
	/* A path for messages; buf at least 4096 bytes. */
	const char *(*path_of)(void *arg, const struct dafs_inode *inode, char *buf);
	const void *tag; /* kept with the commit: the cache's flush id */
	size_t tag_len;
	/* The file of the set that goes in part; NULL: none. */
	const struct dafs_part *part;
	/* Files that an earlier flush wrote in part and that are not in the set: where there is
	 * room, they can go on where they ended. */
	struct dafs_inode **waiting;
	size_t nwaiting;
	const struct dafs_qlimit
		*limits; /* owners with limits, as of what is pending; NULL: none */
};

struct dafs_flush_opts {
	size_t size;		 /* sizeof(struct dafs_flush_opts) */
	bool order_dirty;	 /* --order dirty */
	bool kernel_place;	 /* comparison mode */
	uint32_t max_chunk_blks; /* 0: unlimited; 2048 as the kernel does */
	uint64_t max_data_bytes; /* stop after about this much (flush --max-bytes); 0: all */
	bool bypass_journal; /* what only goes together and is more than the journal holds: by a redo record (image/txn.h) */
};

struct dafs_plan_extent { /* one placed piece, as printed by --dry-run */
	uint32_t lblk, len;
	uint64_t pblk;
	bool unwritten; /* no bytes go there */
	bool live;	/* the image maps it: its bytes go through the journal */
};

struct dafs_flush_stats {
	uint64_t files, dirs, others, removed;
	uint64_t runs, extents, split_runs, alloc_calls;
	uint64_t data_blks, meta_new_blks, live_blks, freed_blks;
	/* Extents more than every other placement would have, at the most (0: proven the fewest, or
	 * not looked into: placement by another's order). */
	uint64_t over_least;
	uint64_t data_writes, copied_bytes, shared_bytes;
	unsigned transactions;
};

struct dafs_plan;

/* Steps 2 and 3. Nothing is written. Inodes get their numbers (inode->ino) only in the plan until
 * commit. */
errcode_t dafs_plan_new(struct dafs_image *img, const struct dafs_changeset *cs,
			const struct dafs_flush_opts *opts, struct dafs_plan **ret);
void dafs_plan_free(struct dafs_plan *plan);

/* Walk the plan: every file with its number, and its pieces. */
errcode_t dafs_plan_walk(struct dafs_plan *plan,
			 errcode_t (*fn)(void *arg, const struct dafs_inode *inode, uint32_t ino,
					 const struct dafs_plan_extent *ext, size_t n_ext,
					 uint32_t n_runs),
			 void *arg);

/* What a plan that cuts files knows of the room it had; all 0 when none is cut, or when it was not
 * looked into (bigalloc, --order dirty and the like). */
struct dafs_plan_room {
	uint64_t longest_run_blks; /* the longest free run when files had grown in place */
	uint64_t over_least;	   /* as in dafs_flush_stats */
};
struct dafs_plan_room dafs_plan_room(const struct dafs_plan *plan);

/* Clusters of metadata that the plan takes (what delalloc's dry_plan wants to know). */
uint64_t dafs_plan_meta_clusters(const struct dafs_plan *plan);

/* All clusters that it takes, data and metadata. */
uint64_t dafs_plan_taken_clusters(const struct dafs_plan *plan);

/* Metadata once more, had lack of room cut no run of a new file: fewer can no image do with. */
uint64_t dafs_plan_least_meta_clusters(const struct dafs_plan *plan);

/* Was it asked to commit by a redo record (bypass_journal)? */
bool dafs_plan_bypasses_journal(const struct dafs_plan *plan);

/* Steps 4 to 6. On success every inode of the change set has its number and the image is as it was
 * to become. On failure inodes and image are as before, unless the commit itself failed (the image
 * handle is failed then). DAFS_ET_JOURNAL_FULL: too many live blocks for one transaction, found
 * before any data was read; a smaller change set may fit, and by a redo record all but the largest
 * do. */
errcode_t dafs_plan_execute(struct dafs_plan *plan, struct dafs_flush_stats *stats);

#endif
