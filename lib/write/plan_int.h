/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_int - the plan as the files of the planner and of the commit share it.
 *
 * plan.c       makes and frees it, walks it, finds directories; the order of the steps
 * plan_inode.c inode numbers, directories' and attributes' shapes
 * plan_free.c  what mappings that go give back
 * plan_file.c  what becomes of one file's mapping
 * plan_place.c the order in which everything is placed
 * plan_ask.c   one run, from the allocator into the plan
 * plan_meta.c  places of what is not file data
 * plan_tight.c the order of files where room is little
 * plan_pack.c  the fewest pieces where files have to be cut
 * quota.c      usage by owner
 * plan_refill.c blocks of the image that are given up and filled again in one flush
 * plan_trace.c events
 * submit.c     the bytes of files
 * encode.c     inodes, directories, attributes, into the transaction
 * commit.c     dafs_plan_execute: the order of all that, and going back
 *
 * A plan of a million new files must stay small: one item (16 bytes) an inode, one run (24 bytes) a
 * placed piece; whatever else an inode needs (an old mapping, tree blocks, a directory's shape,
 * attributes in blocks) is in an extra that most do not have.
 *
 * Transition -> function: made (dafs_plan_new) -> [executed] (dafs_plan_execute, once) -> freed.
 */
#ifndef DAFS_WRITE_PLAN_INT_H
#define DAFS_WRITE_PLAN_INT_H

#include "alloc/ialloc.h"
#include "alloc/mballoc.h"
#include "image/group.h"
#include "image/icodec.h"
#include "image/txn.h"
#include "image/xcodec.h"
#include "write/flush.h"
#include "write/quota.h"
#include "write/writeback.h"

/* What is done with the bytes of a run. */
enum dafs_run_kind {
	DAFS_RUN_DATA = 1,  /* in place before the commit: blocks free or unwritten in the image */
	DAFS_RUN_UNWRITTEN, /* no bytes */
	DAFS_RUN_LIVE,	    /* blocks the image maps: through the transaction */
};

struct dafs_plan_run {
	uint64_t pblk;
	uint32_t lblk;
	uint32_t len;
	uint32_t item; /* whose */
	uint32_t kind;
};

/* One inode of the change set; its runs are plan->runs[first_run, first_run + nruns). */
struct dafs_plan_item {
	uint32_t ino;
	uint32_t first_run;
	uint32_t nruns;
	uint32_t extra; /* index + 1 into plan->extras; 0: none */
};

struct dafs_plan_range {
	uint64_t pblk;
	uint64_t len;
};

struct dafs_plan_ranges {
	struct dafs_plan_range *v;
	size_t n, room;
};

/* New blocks of an inode that is written whole: an attribute's value, a quota file. */
struct dafs_plan_body {
	struct dafs_extlist map;
	struct dafs_blklist nodes;
};

/* Attributes beyond the inode, or of an inode of the image. */
struct dafs_plan_xattrs {
	struct dafs_xattr_layout lay;
	uint64_t pblk;			       /* with lay.use_block */
	struct dafs_xattr_value_inode *values; /* lay.nvalues: which attribute, and its inode */
	struct dafs_plan_body *bodies;	       /* lay.nvalues: where it goes */
};

struct dafs_plan_extra {
	/* mapping: map is the whole one that an inode of the image is to have, valid (and to be
	 * encoded) with mapped; a new inode's mapping is its runs */
	bool mapped;
	struct dafs_extlist map;
	/* between the passes of placing: what is placed over map and not applied yet, runs without
	 * a place, what edits and cuts took from map, blocks of map that get new bytes */
	struct dafs_extlist edits;
	struct dafs_wb_run *rest;
	size_t nrest;
	struct dafs_extlist freed;
	struct dafs_extlist over;
	uint64_t refilled_blks;	   /* of the live budget, put aside for blocks that came back */
	struct dafs_blklist nodes; /* tree blocks: the first nold are the image's */
	uint32_t nold;
	/* directory */
	bool names;		      /* entries change */
	struct dafs_dirplan *dirplan; /* NULL with names: made again at the commit */
	struct dafs_dirplan_req *req; /* NULL: dir_done was called */
	uint32_t dir_blks, dir_new_blks;
	uint64_t size_before;
	struct dafs_plan_xattrs *xattrs; /* attributes are written anew */
	/* block of a long symlink target, 0: none */
	uint64_t target_pblk;
	/* the image's version of the inode; NULL: not needed yet */
	union dafs_inode_buf *raw;
};

struct dafs_plan_dir { /* id -> place in the change set, of directories */
	uint64_t id;
	uint32_t item;
};

/* How hard a plan tries to need few tree blocks. Each is tried when the one before finds no room,
 * in a dry plan and in a flush alike: what one of them accepted the other can place. */
enum dafs_plan_effort {
	DAFS_EFFORT_ASKED, /* in reading order, with the caller's options */
	DAFS_EFFORT_USUAL, /* in reading order */
	DAFS_EFFORT_TIGHT, /* largest first, where they fit best */
	/* Those first whose mapping has least room for pieces; those last that can be cut into as
	 * many as they have blocks: they use up the shortest free runs. */
	DAFS_EFFORT_SLACK,
	/* The same, and the largest 1, 2, 4, .. 32 files are given a leaf for that. */
	DAFS_EFFORT_LEAVES,
	DAFS_EFFORT_LAST = DAFS_EFFORT_LEAVES + 5,
};

struct dafs_plan {
	struct dafs_image *img;
	const struct dafs_changeset *cs;
	struct dafs_flush_opts opts;
	struct dafs_space space;
	struct dafs_ispace ispace;
	struct dafs_mballoc *ma;
	struct dafs_ialloc *ia;

	struct dafs_plan_item *items; /* cs->n */
	uint32_t *iflags; /* cs->n, as they were; NULL without inline_data */
	struct dafs_plan_run *runs;
	size_t nruns, runs_room;
	struct dafs_plan_extra **extras;
	size_t nextras, extras_room;
	struct dafs_plan_dir *dirs; /* open addressing, ndirs_slots a power of two */
	size_t dirs_slots, ndirs;

	struct dafs_plan_ranges taken;	 /* blocks that become used (whole clusters) */
	struct dafs_plan_ranges given;	 /* blocks that become free (whole clusters) */
	struct dafs_plan_ranges revoked; /* blocks of those that held metadata */

	unsigned effort;	   /* enum dafs_plan_effort */
	bool tight;		   /* little room: fewest tree blocks before all else */
	/* Requests of so many blocks and more are placed together (plan_pack.c); 0: none. */
	uint32_t pack_blks;
	struct dafs_plan_pack *pack;
	uint64_t longest_blks; /* the longest free run before that; 0: not known */
	uint64_t least_pieces; /* no packing of all requests has fewer pieces */
	uint64_t data_pieces;  /* of data that did not grow in place */
	uint32_t least_cut;    /* blocks of the shortest request that was cut; 0: none was */
	uint32_t crumbs; /* pieces that the mapping being placed has room for (effort SLACK) */
	bool any_over;		   /* some extra has blocks over the image's */
	uint64_t keep_clusters;	   /* what overwritten blocks that move must leave to metadata */
	uint64_t live_limit_blks;  /* of one file's data through the transaction, at the most */
	uint64_t live_budget_blks; /* of file data that may still go through the transaction */
	uint64_t gap_budget_blks; /* that may still be left free between the runs of sparse files */
	uint64_t meta_goal, data_goal; /* where the next of each kind would like to be */
	uint64_t meta_clusters;
	struct dafs_quota *quota;	   /* NULL: the image keeps none */
	struct dafs_wb_runs wb;		   /* scratch */
	struct dafs_extlist pieces, edits; /* scratch */
	size_t names_held;		   /* names in directory plans kept open */
	uint32_t cluster_mask;		   /* blocks a cluster less one */
	struct dafs_flush_stats stats;
	bool executed;
};

static inline struct dafs_plan_extra *dafs_plan_extra_of(const struct dafs_plan *plan, size_t item)
{
	uint32_t at = plan->items[item].extra;

	return at ? plan->extras[at - 1] : NULL;
}

/* The extra of an item, made when absent. ENOMEM. */
errcode_t dafs_plan_extra(struct dafs_plan *plan, size_t item, struct dafs_plan_extra **ret);

/* The image's bytes of an item's inode, read once. */
errcode_t dafs_plan_raw(struct dafs_plan *plan, size_t item, struct ext2_inode_large **ret);

/* Index of a directory in the change set; false: not in it. */
bool dafs_plan_find_dir(const struct dafs_plan *plan, uint64_t id, size_t *item);

/* The inode number of a directory by id, planned or in the image. 0: unknown. */
uint32_t dafs_plan_dir_ino(const struct dafs_plan *plan, uint64_t id);

/* Append to a list of ranges; one that continues the last is merged. */
errcode_t dafs_plan_range_add(struct dafs_plan_ranges *ranges, uint64_t pblk, uint64_t len);

errcode_t dafs_plan_run_add(struct dafs_plan *plan, size_t item, const struct dafs_plan_run *run);

/* Record a failure with the path of the inode that it is about: "path: " comes before what format
 * says. */
errcode_t dafs_plan_fail(struct dafs_plan *plan, const struct dafs_inode *inode, errcode_t code,
			 const char *what);

/* A file whose pending bytes are to stand in its inode (decided by dafs_plan_shape): nothing is
 * placed or written for it. */
static inline bool dafs_plan_is_inline(const struct dafs_inode *inode)
{
	return S_ISREG(inode->mode) && (inode->state & DAFS_I_DATA) &&
	       (inode->iflags & EXT4_INLINE_DATA_FL);
}

/* plan_inode.c: steps before placement. */
errcode_t dafs_plan_number(struct dafs_plan *plan);
errcode_t dafs_plan_shape(struct dafs_plan *plan);
/* The directory plan of an item, made again when it was let go; and letting it go. */
errcode_t dafs_plan_open_dir(struct dafs_plan *plan, size_t item);
void dafs_plan_close_dir(struct dafs_plan *plan, size_t item);

/* plan_free.c: what mappings and trees give back. kept: the mapping that stays (bigalloc: clusters
 * it still uses are not given), NULL: none. metadata: a journal may hold these blocks (directories,
 * tree blocks). */
errcode_t dafs_plan_give_map(struct dafs_plan *plan, const struct dafs_extlist *freed,
			     const struct dafs_extlist *kept, bool metadata);
/* One block of an inode's metadata. */
errcode_t dafs_plan_give_meta(struct dafs_plan *plan, uint32_t ino, uint16_t mode, uint64_t pblk);
/* Everything an inode of the image maps, and its tree. */
errcode_t dafs_plan_give_inode(struct dafs_plan *plan, uint32_t ino,
			       const struct ext2_inode_large *raw);

/* plan_place.c: where everything goes. */
errcode_t dafs_plan_place(struct dafs_plan *plan);
/* The beginning of the group that an inode number belongs to. */
uint64_t dafs_plan_near_inode(const struct dafs_plan *plan, uint32_t ino);

/* plan_meta.c, in the order of the calls. New blocks of all directories; metadata clusters that are
 * still to be asked for, at most; an item's tree blocks, attribute blocks and symlink target; what
 * removed inodes map. */
errcode_t dafs_plan_place_dirs(struct dafs_plan *plan);
uint64_t dafs_plan_meta_to_come(const struct dafs_plan *plan);
errcode_t dafs_plan_place_meta_of(struct dafs_plan *plan, size_t item);
errcode_t dafs_plan_place_gone(struct dafs_plan *plan);

/* plan_pack.c. Can requests of this plan be placed together? The groups are few enough, and nothing
 * asks for an order of its own. */
bool dafs_plan_can_pack(const struct dafs_plan *plan);
/* Choose places for all requests of at least plan->pack_blks, when files have grown and before
 * others are placed; they are taken. Sets plan->least_pieces. DAFS_ET_NOSPC_ALLOC, ENOMEM, errors
 * of the bitmaps: the plan is to be dropped. */
errcode_t dafs_plan_pack(struct dafs_plan *plan);
/* The pieces chosen for this request, appended to plan->pieces; none when it is not among them. */
errcode_t dafs_plan_packed(struct dafs_plan *plan, uint32_t item, const struct dafs_alloc_req *ask);
void dafs_plan_pack_free(struct dafs_plan_pack *pack);

/* plan_tight.c: files one by one through place, in the order that opts and effort ask for: first
 * dirtied first, or what needs long runs first; plan->crumbs is set for each. */
errcode_t dafs_plan_files_sorted(struct dafs_plan *plan,
				 errcode_t (*place)(struct dafs_plan *plan, size_t item));
/* Pieces that a mapping of n extents takes more of before its tree needs a block more. */
uint32_t dafs_plan_slack(const struct dafs_plan *plan, size_t n_extents);
/* Does this item have file data to place? */
bool dafs_plan_has_data(const struct dafs_plan *plan, size_t item);

/* plan_ask.c. Place [lblk, lblk + len) of an inode whose mapping is old (NULL: nothing) with edits
 * over it; the pieces are appended to edits. */
struct dafs_place_req {
	const struct dafs_extlist *old;
	const struct dafs_extlist *also; /* placed before, beside edits; NULL: nothing */
	struct dafs_extlist *edits;
	uint32_t lblk, len;
	uint32_t more;	/* blocks behind it that go another time (dafs_alloc_req) */
	uint32_t lead;	/* blocks before it that may come another time */
	uint64_t goal;	/* 0: the planner's own */
	unsigned flags; /* DAFS_ALLOC_DATA or _META; with _GOAL_ONLY: there or not at all */
	bool unwritten;
	uint64_t ino;
	uint32_t item; /* of data */
};
errcode_t dafs_plan_place_run(struct dafs_plan *plan, const struct dafs_place_req *req);

/* len_bytes for an inode, and the tree for them: all metadata. */
errcode_t dafs_plan_place_body(struct dafs_plan *plan, uint32_t ino, uint64_t len_bytes,
			       struct dafs_plan_body *body);
void dafs_plan_body_fini(struct dafs_plan_body *body);

/* One metadata block (a whole cluster with bigalloc). */
errcode_t dafs_plan_place_meta(struct dafs_plan *plan, uint64_t ino, uint64_t *pblk);

/* plan_file.c: a file of the change set, in three passes over all of them: what grows in place; the
 * other new blocks; what is to be remapped or journaled. A new file has the second only. */
errcode_t dafs_plan_file_grow(struct dafs_plan *plan, size_t item);
errcode_t dafs_plan_file(struct dafs_plan *plan, size_t item);
errcode_t dafs_plan_file_over(struct dafs_plan *plan, size_t item);
uint64_t dafs_plan_file_new_blks(const struct dafs_plan *plan, size_t item);
/* What follows a run in a later flush: blocks, when the file is cut at the run's end. */
uint32_t dafs_plan_more(const struct dafs_plan *plan, size_t item, const struct dafs_wb_run *run);

/* plan_refill.c: delayed runs (plan->wb) over blocks that the file gave up in this flush: what
 * keeps an extent whole comes back into the mapping, and leaves extra->freed. */
errcode_t dafs_plan_refill(struct dafs_plan *plan, size_t item, struct dafs_plan_extra *extra);
/* Record a placed piece as runs: live ones where it comes back to blocks that are in freed, which
 * is sorted by pblk (bigalloc). */
errcode_t dafs_plan_run_back(struct dafs_plan *plan, size_t item, const struct dafs_extent *e,
			     const struct dafs_extlist *freed);

/* plan_trace.c: what goes into the trace. An inode's number and path; a file's writeback begins; a
 * chunk of it, as the kernel's writeback tells of it: blocks that are to be mapped (flags 0x100:
 * delayed; what is left of them where a part was mapped by its cluster) or to become written (U); a
 * request's two ends and what its cluster implies; blocks that become free; a write of data; and
 * after the commit all that is true by it. */
void dafs_plan_trace_inode(const struct dafs_plan *plan, size_t item);
void dafs_plan_trace_file(const struct dafs_plan *plan, size_t item);
void dafs_plan_trace_chunk(const struct dafs_plan *plan, uint64_t ino, uint32_t lblk, uint32_t len,
			   const char *flags);
/* A stretch of a file is looked at for writing, and done with. */
void dafs_plan_trace_folios(const struct dafs_plan *plan, uint64_t ino, bool end, uint32_t lblk,
			    uint32_t len);
/* [lblk, lblk+len) of the unwritten extent e becomes written. */
void dafs_plan_trace_convert(const struct dafs_plan *plan, uint64_t ino, uint32_t lblk,
			     uint32_t len, const struct dafs_extent *e);
void dafs_plan_trace_map(const struct dafs_plan *plan, const struct dafs_place_req *req,
			 uint32_t lblk, uint32_t len);
void dafs_plan_trace_mapped(const struct dafs_plan *plan, const struct dafs_place_req *req,
			    const struct dafs_extent *e);
void dafs_plan_trace_implied(const struct dafs_plan *plan, const struct dafs_place_req *req,
			     const struct dafs_extent *e);
void dafs_plan_trace_freed(const struct dafs_plan *plan, uint32_t ino, uint16_t mode,
			   const struct dafs_extlist *freed, const char *flags);
void dafs_plan_trace_submit(const struct dafs_plan *plan, uint64_t pblk, uint64_t nblks);
void dafs_plan_trace_committed(const struct dafs_plan *plan);

/* submit.c */
errcode_t dafs_submit_data(struct dafs_plan *plan);
/* The first block of an item's file, zeros behind its end. */
errcode_t dafs_submit_first(struct dafs_plan *plan, size_t item, void *block);
/* The bytes of a part of a run, whatever its kind. */
errcode_t dafs_submit_read(struct dafs_plan *plan, const struct dafs_plan_run *run,
			   uint32_t off_blks, uint32_t nblks, void *buf);

/* encode.c: every inode of the change set, its directory, tree, attributes, into the open
 * transaction. Inodes have their numbers. */
errcode_t dafs_encode_inodes(struct dafs_plan *plan);

/* encode_body.c: raw is the inode as it stands in its table block (zeros for a new one). */
errcode_t dafs_encode_item(struct dafs_plan *plan, size_t item, struct ext2_inode_large *raw);
/* The inode of value v of an item, and its blocks. */
errcode_t dafs_encode_value(struct dafs_plan *plan, size_t item, uint32_t v,
			    struct ext2_inode_large *raw);
/* Write len bytes to the blocks of body and point raw at them: size, i_blocks, mapping. Not the
 * checksum. */
errcode_t dafs_encode_bytes(struct dafs_plan *plan, uint32_t ino, const struct dafs_plan_body *body,
			    const void *bytes, size_t len, struct ext2_inode_large *raw);
/* A removed inode: its attributes are let go, its slot is marked deleted. */
errcode_t dafs_encode_gone(struct dafs_plan *plan, uint32_t ino, struct ext2_inode_large *raw);

#endif
