/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * db - the cache's SQLite database: opening it safely, the schema, prepared statements, errors
 * as error codes.
 *
 * Rollback journal kept between commands (PERSIST: no directory sync a command), synchronous
 * FULL, exclusive while open for writing. Each page has a checksum (vfs.h). Nothing here knows
 * what rows mean.
 */
#ifndef DAFS_STORE_DB_H
#define DAFS_STORE_DB_H

#include <sqlite3.h>

#include "base/ctx.h"

/* Statements that are used again and again; db.c has their text. */
enum dafs_db_stmt {
	DAFS_DB_BEGIN,
	DAFS_DB_COMMIT,
	DAFS_DB_ROLLBACK,
	DAFS_DB_STATE_GET,
	DAFS_DB_STATE_SET,
	DAFS_DB_BOUND_GET,
	DAFS_DB_BOUND_PUT,
	DAFS_DB_INODE_GET,
	DAFS_DB_INODE_PUT,
	DAFS_DB_INODE_DEL,
	DAFS_DB_INODE_ALL,
	DAFS_DB_RUN_GET,
	DAFS_DB_RUN_PUT,
	DAFS_DB_RUN_ONE,
	DAFS_DB_RUN_DEL,
	DAFS_DB_RUN_DEL_ALL,
	DAFS_DB_NAME_GET,
	DAFS_DB_NAME_PUT,
	DAFS_DB_NAME_DEL,
	DAFS_DB_NAME_DEL_ALL,
	DAFS_DB_NAME_DIR,
	DAFS_DB_QUOTA_ALL,
	DAFS_DB_QUOTA_PUT,
	DAFS_DB_ORIGIN_GET,
	DAFS_DB_ORIGIN_PUT,
	DAFS_DB_ORIGIN_DEL,
	DAFS_DB_SLOT_FIT,
	DAFS_DB_SLOT_BEFORE,
	DAFS_DB_SLOT_AT,
	DAFS_DB_SLOT_PUT,
	DAFS_DB_SLOT_DEL,
	DAFS_DB_SLOT_ALL,
	DAFS_DB_FLUSH_GET,
	DAFS_DB_FLUSH_PUT,
	DAFS_DB_FLUSH_DEL,
	DAFS_DB_FLUSHED_PUT,
	DAFS_DB_FLUSHED_ALL,
	DAFS_DB_STMTS
};

struct dafs_db {
	struct dafs_ctx *ctx;
	const char *place; /* for messages: the cache's directory */
	sqlite3 *handle;
	sqlite3_stmt *stmt[DAFS_DB_STMTS];
	uint64_t rows; /* that statements gave since it was opened */
};

enum dafs_db_how {
	DAFS_DB_RDONLY = 1,
	DAFS_DB_FRESH = 2,   /* its tables are made */
	/* To read what is left of a damaged one: short files and damaged pages are taken. */
	DAFS_DB_SALVAGE = 4,
};

/* Open place/cache.db, which exists (empty when fresh). fresh: make the schema, in a transaction
 * that is left open: the first command's commit makes it durable together with what the command
 * did. place must live as long. ENOENT: nothing was ever committed to it. DAFS_ET_CACHE_VERSION
 * for another schema, DAFS_ET_CACHE_DAMAGED for what is no cache, errno. */
errcode_t dafs_db_open(struct dafs_ctx *ctx, const char *place, int how, struct dafs_db *db);
/* The schema, in a transaction that is left open. */
errcode_t dafs_db_make_schema(struct dafs_db *db);
/* Close; an open transaction is rolled back. Safe on a zeroed struct. */
void dafs_db_close(struct dafs_db *db);

/* The statement, reset and ready to be bound. */
errcode_t dafs_db_use(struct dafs_db *db, enum dafs_db_stmt which, sqlite3_stmt **ret);

/* Step a statement: 0 and *row. Errors as below, with the statement reset. */
errcode_t dafs_db_step(struct dafs_db *db, sqlite3_stmt *stmt, bool *row);
/* Run a statement that gives no row, and reset it. */
errcode_t dafs_db_run(struct dafs_db *db, sqlite3_stmt *stmt);

/* A statement of its own, run once. */
errcode_t dafs_db_exec(struct dafs_db *db, const char *sql);
/* One that gives one number. */
errcode_t dafs_db_number(struct dafs_db *db, const char *sql, int64_t *value);

/* Is the file's structure whole: pages, the order of rows, indexes against tables (SQLite's
 * integrity_check)? A row that no look-up can reach has a right checksum and is lost all the same.
 * DAFS_ET_CACHE_DAMAGED with the first thing that is wrong. Reads the whole database. */
errcode_t dafs_db_verify(struct dafs_db *db);

/* SQLite's result as an error code, with its message and the place in the detail. */
errcode_t dafs_db_error(struct dafs_db *db, int rc);

/* A row that cannot be: DAFS_ET_CACHE_DAMAGED with the place and what it is. */
errcode_t dafs_db_damaged(struct dafs_db *db, const char *what, uint64_t id);

#endif
