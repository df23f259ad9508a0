/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store_int - what the files of store share.
 *
 * store.c    open, close, status, removal       load.c     rows to inodes and names (the backing)
 * command.c  begin, commit, rollback; stash     save.c     inodes and names to rows
 * state.c    the state row                      slots.c    free slots of the spool
 * bracket.c  the flush: begin, end, settling    verify.c   everything checked
 * limits.c   what owners with quota limits take
 * traces.c   who else was at the image           origin.c   inodes of the image as work on them
 *                                                           began
 * recover.c  what is left of a refused cache
 * place.c, db.c, spool.c, rec.c: the parts
 */
#ifndef DAFS_STORE_STORE_INT_H
#define DAFS_STORE_STORE_INT_H

#include "store/db.h"
#include "store/place.h"
#include "store/rec.h"
#include "store/spool.h"
#include "store/store.h"
#include "store/traces.h"

enum { DAFS_STORE_TAG_BYTES = 16 };

/* The row of table state. */
struct dafs_store_state {
	uint8_t uuid[16];
	uint64_t print; /* the image's fingerprint */
	uint32_t block_size;
	struct dafs_ns_counters counters;
	uint64_t dirty, promised, bound, inodes; /* struct dafs_reserve's */
	uint64_t spool_blks;
	uint64_t commands;
	bool own_dir; /* the directory goes with the cache */
	bool rebound; /* the row of table bound is to be written */
};

struct dafs_store {
	struct dafs_ctx *ctx;
	struct dafs_image *img;
	int flags;
	char *path; /* where the cache is or would be; NULL: ephemeral */
	bool usual; /* in its usual place: the directory is the cache's own */
	struct dafs_place place;
	struct dafs_db db; /* handle NULL: nothing on disk */
	struct dafs_spool spool;
	struct dafs_store_state state, committed;
	bool fresh; /* nothing was committed yet */
	bool verified; /* the database was found whole, by this process */
	bool in_command;
	bool failed;	     /* a COMMIT failed: who knows what is on disk */
	uint32_t no_slot_of; /* no free run of so many slots is left in the table */
	uint8_t tag[DAFS_STORE_TAG_BYTES];
	struct dafs_rec_buf buf;
	/* The row that load_all is at, so that loading it does not look it up again. */
	uint64_t ahead_id;
	const void *ahead;
	size_t ahead_len;
};

/* state.c */
errcode_t dafs_state_new(struct dafs_store *st);
errcode_t dafs_state_load(struct dafs_store *st);
errcode_t dafs_state_save(struct dafs_store *st);
/* Does the cache belong to this image (DAFS_ET_CACHE_FOREIGN), as it is (DAFS_ET_CACHE_STALE)? */
errcode_t dafs_state_check_uuid(struct dafs_store *st);
errcode_t dafs_state_check_print(struct dafs_store *st);
/* Bind the cache to the image as it is now. */
errcode_t dafs_state_bind(struct dafs_store *st);
/* Traces as parameters of a statement, from number first on (1 is the first), and as columns of
 * a row (0 is the first). */
void dafs_state_bind_traces(sqlite3_stmt *stmt, int first, const struct dafs_traces *traces);
void dafs_state_column_traces(sqlite3_stmt *stmt, int first, struct dafs_traces *traces);

/* load.c */
extern const struct dafs_ns_backing dafs_load_backing;
struct dafs_rec_env dafs_store_env(struct dafs_store *st);
/* An inode (id set, all else zero) from its row, with the rows of its runs; what was filled in
 * on failure is the caller's to free. A name from a row (dir, id, image, kind, sum, name), good
 * until the next step. */
errcode_t dafs_load_row(struct dafs_store *st, const void *rec, size_t len,
			struct dafs_inode *inode);
errcode_t dafs_load_name_row(struct dafs_store *st, sqlite3_stmt *stmt, uint64_t dir,
			     struct dafs_ns_name *name);

/* save.c: rows of everything that changed in ns; ns' counters and rs into the state (not saved
 * yet). */
errcode_t dafs_save(struct dafs_store *st, struct dafs_ns *ns, const struct dafs_reserve *rs);
errcode_t dafs_save_delete(struct dafs_store *st, uint64_t id, bool runs, bool names);

/* limits.c: rows of table quota that changed. NULL: nobody has limits. */
errcode_t dafs_limits_save(struct dafs_store *st, struct dafs_qlimit *limits);

/* origin.c: the inodes of the image under pending ones, as work on them began. note: unless
 * there is a row. check: are those of cs as they were (DAFS_ET_CACHE_STALE)? forget: a flush of
 * ours changed it. */
errcode_t dafs_origin_note(struct dafs_store *st, uint64_t id);
errcode_t dafs_origin_check(struct dafs_store *st, const struct dafs_changeset *cs);
errcode_t dafs_origin_forget(struct dafs_store *st, uint64_t id);

/* slots.c: spare and dropped slots of the spool into the table, the end cut back. */
errcode_t dafs_slots_save(struct dafs_store *st);
/* The spool asks for a run of n slots (spool.more). */
errcode_t dafs_slots_more(void *arg, uint32_t n);

/* command.c: a transaction of its own. rollback after a failure in between or of commit. */
errcode_t dafs_txn_open(struct dafs_store *st);
errcode_t dafs_txn_close(struct dafs_store *st);
void dafs_txn_undo(struct dafs_store *st);
errcode_t dafs_store_need_spool(struct dafs_store *st);

/* store.c: the files go, the store is as if there had never been a cache. */
errcode_t dafs_store_drop(struct dafs_store *st);
/* Make place and database, with the state row's values but nothing committed. */
errcode_t dafs_store_make(struct dafs_store *st);

/* As a reader, without looking at what it says or at the image. *why: what the database is
 * refused for; 0: it is not. What is left of it can be read then. */
errcode_t dafs_store_open_unjudged(struct dafs_image *img, const char *cache_dir, errcode_t *why,
				   struct dafs_store **ret);

/* bracket.c: is there an interrupted flush that took everything, and is it in the image? */
errcode_t dafs_bracket_in_image(struct dafs_store *st, bool *in_image);

/* bracket.c: an interrupted flush. ENOENT: it took everything, and this is a reader. */
errcode_t dafs_bracket_settle(struct dafs_store *st);

#endif
