/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* store_int - what the store's files share. */
#ifndef DAFS_STORE_STORE_INT_H
#define DAFS_STORE_STORE_INT_H

#include <sqlite3.h>

#include "store/store.h"

#define DAFS_STORE_DB	  "cache.db"
#define DAFS_STORE_SPOOL  "spool"
#define DAFS_STORE_FORMAT 1	/* doc/FORMAT.md; in PRAGMA user_version */
#define DAFS_STORE_APP_ID 0x64616673

/* The statements that are kept prepared, in the order of their texts in db.c. */
enum dafs_sql {
	DAFS_SQL_INODE_GET,
	DAFS_SQL_INODE_PUT,
	DAFS_SQL_INODE_DEL,
	DAFS_SQL_INODE_IDS,
	DAFS_SQL_NAME_GET,
	DAFS_SQL_NAME_PUT,
	DAFS_SQL_NAME_DEL,
	DAFS_SQL_NAMES_OF,
	DAFS_SQL_NAMES_DEL_OF,
	DAFS_SQL_META_GET,
	DAFS_SQL_META_PUT,
	DAFS_SQL_META_DEL,
	DAFS_SQL_FREE_FIT,
	DAFS_SQL_FREE_PUT,
	DAFS_SQL_FREE_DEL,
	DAFS_SQL_FREE_BEFORE,
	DAFS_SQL_FREE_AT,
	DAFS_SQL_SUM_GET,
	DAFS_SQL_SUM_PUT,
	DAFS_SQL_FLUSHING_PUT,
	DAFS_SQL_COUNT,
};

/* A range of spool slots. */
struct dafs_slots {
	uint64_t slot;
	uint64_t n;
};

struct dafs_sum_page;		/* spool.c: 256 checksums */

struct dafs_spool {
	struct dafs_source source;	/* first: what page runs point at */
	struct dafs_store *st;
	int fd;				/* -1: not made yet */
	uint32_t block_size;
	uint64_t end_slot;		/* slots in use or free below this one */
	struct dafs_slots *dropped;	/* given up since begin: free with the commit */
	size_t ndropped, dropped_room;
	struct dafs_sum_page *pages;	/* checksums looked at, by page number (uthash) */
	bool wrote;			/* since begin */
	bool oom;
};

struct dafs_store {
	struct dafs_ctx *ctx;
	struct dafs_image *img;
	int flags;
	char *place;			/* NULL: ephemeral */
	sqlite3 *db;			/* NULL: ephemeral, or nothing on disk yet */
	sqlite3_stmt *stmt[DAFS_SQL_COUNT];
	int log_pages;			/* length of the write-ahead log, as of our last commit */
	struct dafs_spool spool;
	uint64_t commands;
	bool in_command;
	uint8_t tag[16];
};

/* place.c: the folder. */
errcode_t dafs_place_name(struct dafs_image *img, const char *cache_dir, char **place);
errcode_t dafs_place_check(struct dafs_ctx *ctx, const char *place, bool make);	/* ENOENT: absent */
errcode_t dafs_place_has(const char *place, const char *file, bool *has);
errcode_t dafs_place_remove(struct dafs_ctx *ctx, const char *place);
char *dafs_place_file(const char *place, const char *file);

/* db.c: the database. Every failure names the cache. */
errcode_t dafs_db_open(struct dafs_store *st, bool make);
void dafs_db_close(struct dafs_store *st);
errcode_t dafs_db_exec(struct dafs_store *st, const char *sql);
errcode_t dafs_db_fail(struct dafs_store *st);
/* A statement, reset and ready to be bound. */
errcode_t dafs_db_stmt(struct dafs_store *st, enum dafs_sql which, sqlite3_stmt **ret);
/* Step: 0 a row is there, ENOENT none is (and the statement is reset). */
errcode_t dafs_db_step(struct dafs_store *st, sqlite3_stmt *stmt);
/* Step a statement that gives no row, and reset it. */
errcode_t dafs_db_run(struct dafs_store *st, sqlite3_stmt *stmt);
errcode_t dafs_db_meta_get(struct dafs_store *st, const char *key, uint64_t *value);	/* ENOENT */
errcode_t dafs_db_meta_put(struct dafs_store *st, const char *key, uint64_t value);

/* blob.c: a pending inode as bytes. *blob is malloc'ed. decode: DAFS_ET_CACHE_DAMAGED. */
errcode_t dafs_blob_encode(struct dafs_store *st, const struct dafs_inode *inode, uint8_t **blob, size_t *len);
errcode_t dafs_blob_decode(struct dafs_store *st, const uint8_t *blob, size_t len, struct dafs_inode *inode);
void dafs_store_free_inode(struct dafs_inode *inode);		/* what decode made */

/* spool.c */
void dafs_spool_init(struct dafs_store *st);
void dafs_spool_fini(struct dafs_spool *sp);
errcode_t dafs_spool_open(struct dafs_store *st, bool make);
errcode_t dafs_spool_save(struct dafs_store *st);		/* durable bytes, checksums and free slots into the database */
void dafs_spool_forget(struct dafs_store *st);			/* rollback */
void dafs_spool_saved(struct dafs_store *st);			/* the commit happened */
const struct dafs_stash_ops *dafs_spool_stash(void);

/* names.c: the backing. */
extern const struct dafs_ns_backing dafs_names_backing;
errcode_t dafs_names_save(struct dafs_store *st, struct dafs_ns *ns);

/* store.c */
errcode_t dafs_store_save_reserve(struct dafs_store *st, const struct dafs_reserve *rs);
errcode_t dafs_store_drop(struct dafs_store *st);		/* nothing is pending: no cache */

/* settle.c: an interrupted flush. */
errcode_t dafs_settle(struct dafs_store *st);
errcode_t dafs_bind(struct dafs_store *st);			/* the image's state as it is now is the cache's */

#endif
