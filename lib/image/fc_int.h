/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fc_int - fast commits: what the kernel writes behind the log of a journal instead of a whole
 * transaction, as a list of "this inode looks like this, this name points there, these blocks are
 * that file's".
 *
 * fc_read.c finds the valid ones, fc_apply.c works out what inodes and directories they make,
 * fc_finish.c encodes that into a transaction. Nothing is known of blocks and inodes in use but
 * from there: bitmaps and counts follow from what each inode had and has.
 */
#ifndef DAFS_IMAGE_FC_INT_H
#define DAFS_IMAGE_FC_INT_H

/* Out of memory is an error to return, not the end of the process. */
#ifndef HASH_NONFATAL_OOM
#define HASH_NONFATAL_OOM 1
#endif
#include <uthash.h>

#include "image/etree.h"
#include "image/icodec.h"
#include "image/journal_int.h"

enum dafs_fc_kind {
	DAFS_FC_ADD_RANGE = 1,
	DAFS_FC_DEL_RANGE,
	DAFS_FC_CREAT,
	DAFS_FC_LINK,
	DAFS_FC_UNLINK,
	DAFS_FC_INODE,
	DAFS_FC_PAD,
	DAFS_FC_TAIL,
	DAFS_FC_HEAD,
};

/* One record; val points into a block of the log. */
struct dafs_fc_tag {
	uint16_t kind, len;
	const uint8_t *val;
};

struct dafs_fc_log {
	uint8_t **blocks;
	size_t n_blocks, room_blocks;
	struct dafs_fc_tag *tags; /* of complete fast commits, in order */
	size_t n, room;
};

/* Read the fast commits of transaction tid (the one after the last in the log). None: n is 0.
 * DAFS_ET_JOURNAL_FEATURE: their header asks for something unknown. */
errcode_t dafs_fc_read(struct dafs_journal *j, uint32_t tid, struct dafs_fc_log *log);
void dafs_fc_log_fini(struct dafs_fc_log *log);

/* A name of a directory that fast commits touched. */
struct dafs_fc_name {
	uint32_t ino, was_ino; /* 0: none */
	uint8_t len;
	char text[255];
	UT_hash_handle hh;
};

/* An inode that they touched, or a directory of one. */
struct dafs_fc_inode {
	uint32_t ino;
	bool was_used; /* in the image before */
	bool orphan;   /* without a name before already: somebody had it open */
	bool changed, is_new_dir;
	uint32_t was_mode;
	uint32_t parent; /* of a new directory */
	uint8_t *raw;	 /* inode_size bytes, at least sizeof(struct ext2_inode_large) */
	struct dafs_extlist map, was; /* data now and before */
	struct dafs_blklist nodes;    /* tree blocks before */
	struct dafs_fc_name *names;   /* by text */
	UT_hash_handle hh;
};

struct dafs_fc {
	struct dafs_image *img;
	struct dafs_fc_inode *inodes; /* by number */
	struct dafs_blklist zeroed;   /* blocks of inode tables used for the first time */
};

static inline struct ext2_inode_large *dafs_fc_raw(const struct dafs_fc_inode *fi)
{
	return (struct ext2_inode_large *)(void *)fi->raw;
}

/* Not an inode in use: free before and not made, or its last name is gone. */
static inline bool dafs_fc_absent(const struct dafs_fc_inode *fi)
{
	return !dafs_fc_raw(fi)->i_mode || (!dafs_fc_raw(fi)->i_links_count && !fi->orphan);
}

/* Work the tags out. What refers to inodes or directories that do not exist is passed over, as the
 * kernel does; what cannot be is DAFS_ET_CORRUPT_JOURNAL. */
errcode_t dafs_fc_apply(struct dafs_fc *fc, const struct dafs_fc_log *log);
/* Put the result into the transaction that is open. */
errcode_t dafs_fc_finish(struct dafs_fc *fc);
void dafs_fc_fini(struct dafs_fc *fc);

/* All three: read, apply, finish. *found: there were any. A transaction is open. */
errcode_t dafs_fc_replay(struct dafs_image *img, struct dafs_journal *j, uint32_t tid, bool *found);

#endif
