/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn_int - what the files behind txn.h share, and what group_write and image need of a transaction
 * beyond txn.h.
 */
#ifndef DAFS_IMAGE_TXN_INT_H
#define DAFS_IMAGE_TXN_INT_H

/* Out of memory is an error to return, not the end of the process. */
#ifndef HASH_NONFATAL_OOM
#define HASH_NONFATAL_OOM 1
#endif
#include <uthash.h>

#include "image/journal.h"
#include "image/txn.h"

enum dafs_tblk_kind {
	DAFS_TBLK_READ, /* a copy handed out for reading */
	DAFS_TBLK_LIVE, /* part of the transaction */
	DAFS_TBLK_NEW,	/* to be written in place before the commit */
};

struct dafs_tblk {
	uint64_t pblk;
	uint8_t *data;
	enum dafs_tblk_kind kind;
	bool pinned;   /* its data was handed out by dafs_txn_get */
	bool changing; /* ... for change: a new block is then held back until the commit */
	UT_hash_handle hh;
};

struct dafs_revoked {
	uint64_t pblk;
	UT_hash_handle hh;
};

struct dafs_txn {
	struct dafs_image *img;
	bool collecting, creating;
	bool replaying;		      /* a transaction that finishes a journal's replay */
	bool bypass;		      /* ... that goes by a redo record, not by the journal */
	struct dafs_tblk *blks;	      /* by pblk */
	struct dafs_revoked *revoked; /* by pblk */
	size_t n_live, n_new, n_revoked;
	struct dafs_replay_entry
		*base; /* blocks of an unrecovered journal, under a reader (sorted by pblk) */
	size_t n_base;
	struct dafs_journal *journal; /* NULL: none, or not for writing */
	const struct dafs_redo_ops *redo;
	void *redo_arg;
	struct dafs_dev_overlay overlay;
};

/* The table's row for a block, NULL when it has none. */
struct dafs_tblk *dafs_tblk_find(const struct dafs_txn *txn, uint64_t pblk);
/* What the device's reads and writes are to pass (txn_overlay.c). */
void dafs_txn_init_overlay(struct dafs_txn *txn);
/* A block as it is without the table: the device's, or what an unrecovered journal has. */
errcode_t dafs_txn_read_under(struct dafs_image *img, uint64_t pblk, uint8_t *data);

/* Give the image a transaction and set its device's overlay; creating: everything goes straight to
 * disk. */
errcode_t dafs_txn_attach(struct dafs_image *img, bool creating);
/* Drop the transaction and the overlay. Takes the journal with it. */
void dafs_txn_detach(struct dafs_image *img);
/* A reader's copy of a block that stands over the device (a redo record's). */
errcode_t dafs_txn_hold(struct dafs_image *img, uint64_t pblk, const void *data);
bool dafs_txn_creating(const struct dafs_image *img);

/* As dafs_txn_put_new for a block that is marked as in use, although nobody reads it yet (bitmaps
 * of groups without any). */
errcode_t dafs_txn_put_unused(struct dafs_image *img, uint64_t pblk, const void *buf);

/* Write the new blocks held back; those handed out for change only at the commit (all). */
errcode_t dafs_txn_flush_new(struct dafs_image *img, bool all);

/* A transaction that finishes a replay (fast commits): also on an image opened for reading. The
 * superblock keeps its write time. */
errcode_t dafs_txn_begin_replay(struct dafs_image *img);
/* Its end for a writer: into the journal instead of what was replayed from it, and checkpointed.
 * Where it does not fit beside that it is only checkpointed, as the kernel does. */
errcode_t dafs_txn_commit_replay(struct dafs_image *img, uint32_t tid);
/* Its end for a reader: what it would write stands over the device from now on. */
errcode_t dafs_txn_keep_replay(struct dafs_image *img);

/* End the transaction: drop the table, settle the groups. */
void dafs_txn_end(struct dafs_image *img, bool committed);

/* The superblock's place; its bytes in the transaction, for change; its checksum anew
 * (group_write.c). */
uint64_t dafs_super_pblk(const struct dafs_image *img);
errcode_t dafs_super_get(struct dafs_image *img, struct ext2_super_block **sb);
void dafs_super_seal(const struct dafs_image *img, struct ext2_super_block *sb);

/* Write blocks (sorted by pblk) in place, neighbours in one write. */
errcode_t dafs_txn_write_sorted(struct dafs_image *img, const struct dafs_journal_block *blocks,
				size_t n);

/* Put the blocks of one kind into a sorted array (malloc'ed). */
errcode_t dafs_txn_list(const struct dafs_txn *txn, enum dafs_tblk_kind kind,
			struct dafs_journal_block **list, size_t *n);

#endif
