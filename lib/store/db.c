/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * db - see db.h.
 */
#include "config.h"

#include "store/db.h"

#include "store/vfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* "dafs", as file(1) may know it, and the schema's number. */
#define APPLICATION_ID 0x64616673
/* 1 to 3 were those of unreleased builds: other tables, pages without checksums. */
enum { SCHEMA_VERSION = 4, PAGE_CACHE_KIB = 16384, BUSY_MS = 2000 };
/* SQLite's header, as far as the numbers above. */
enum { HEADER_BYTES = 72, VERSION_AT = 60, APPLICATION_AT = 68 };

/* struct dafs_traces, of which two tables have one. */
#define TRACES                                                                                     \
	" mounts INTEGER NOT NULL, mtime INTEGER NOT NULL, checked INTEGER NOT NULL,"              \
	" wtime INTEGER NOT NULL, wtime_after INTEGER NOT NULL, content INTEGER NOT NULL,"         \
	" content_after INTEGER NOT NULL, sequence INTEGER NOT NULL, blocks INTEGER NOT NULL"

/* clang-format off */
static const char schema[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE state(one INTEGER PRIMARY KEY CHECK(one = 1), uuid BLOB NOT NULL,"
	" print INTEGER NOT NULL, block_size INTEGER NOT NULL,"
	" next_serial INTEGER NOT NULL, next_seq INTEGER NOT NULL,"
	" dirty INTEGER NOT NULL, promised INTEGER NOT NULL, bound INTEGER NOT NULL,"
	" inodes INTEGER NOT NULL, spool_blks INTEGER NOT NULL, commands INTEGER NOT NULL,"
	" own_dir INTEGER NOT NULL, sum INTEGER NOT NULL);"
	"CREATE TABLE inode(id INTEGER PRIMARY KEY, rec BLOB NOT NULL);"
	"CREATE TABLE run(id INTEGER NOT NULL, seg INTEGER NOT NULL, rec BLOB NOT NULL,"
	" PRIMARY KEY(id, seg)) WITHOUT ROWID;"
	"CREATE TABLE name(dir INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL,"
	" image INTEGER NOT NULL, kind INTEGER NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY(dir, name)) WITHOUT ROWID;"
	"CREATE TABLE quota(type INTEGER NOT NULL, id INTEGER NOT NULL, inodes INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL, blk_sec INTEGER NOT NULL, inode_sec INTEGER NOT NULL,"
	" sum INTEGER NOT NULL, PRIMARY KEY(type, id)) WITHOUT ROWID;"
	"CREATE TABLE origin(id INTEGER PRIMARY KEY, sum INTEGER NOT NULL);"
	"CREATE TABLE slot(start INTEGER PRIMARY KEY, len INTEGER NOT NULL);"
	"CREATE INDEX slot_len ON slot(len);"
	"CREATE TABLE flush(one INTEGER PRIMARY KEY CHECK(one = 1), tag BLOB NOT NULL,"
	" everything INTEGER NOT NULL," TRACES ");"
	"CREATE TABLE bound(one INTEGER PRIMARY KEY CHECK(one = 1)," TRACES ");"
	"CREATE TABLE flushed(id INTEGER PRIMARY KEY, ino INTEGER NOT NULL,"
	" cut INTEGER NOT NULL);";
/* clang-format on */

static const char *const text[DAFS_DB_STMTS] = {
	[DAFS_DB_BEGIN] = "BEGIN IMMEDIATE",
	[DAFS_DB_COMMIT] = "COMMIT",
	[DAFS_DB_ROLLBACK] = "ROLLBACK",
	[DAFS_DB_STATE_GET] = "SELECT uuid, print, block_size, next_serial, next_seq, dirty, "
			      "promised, bound, inodes,"
			      " spool_blks, commands, own_dir, sum FROM state",
	[DAFS_DB_STATE_SET] =
		"INSERT OR REPLACE INTO state VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[DAFS_DB_BOUND_GET] = ("SELECT mounts, mtime, checked, wtime, wtime_after, "
			       "content, content_after, sequence, blocks FROM bound"),
	[DAFS_DB_BOUND_PUT] = "INSERT OR REPLACE INTO bound VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[DAFS_DB_INODE_GET] = "SELECT rec FROM inode WHERE id = ?",
	[DAFS_DB_INODE_PUT] = "INSERT OR REPLACE INTO inode VALUES(?, ?)",
	[DAFS_DB_INODE_DEL] = "DELETE FROM inode WHERE id = ?",
	[DAFS_DB_INODE_ALL] = "SELECT id, rec FROM inode ORDER BY id",
	[DAFS_DB_RUN_GET] = "SELECT seg, rec FROM run WHERE id = ? ORDER BY seg",
	[DAFS_DB_RUN_PUT] = "INSERT OR REPLACE INTO run VALUES(?, ?, ?)",
	[DAFS_DB_RUN_ONE] = "SELECT rec FROM run WHERE id = ? AND seg = ?",
	[DAFS_DB_RUN_DEL] = "DELETE FROM run WHERE id = ? AND seg >= ? AND seg < ?",
	[DAFS_DB_RUN_DEL_ALL] = "DELETE FROM run WHERE id = ?",
	[DAFS_DB_NAME_GET] = "SELECT id, image, kind, sum FROM name WHERE dir = ? AND name = ?",
	[DAFS_DB_NAME_PUT] = "INSERT OR REPLACE INTO name VALUES(?, ?, ?, ?, ?, ?)",
	[DAFS_DB_NAME_DEL] = "DELETE FROM name WHERE dir = ? AND name = ?",
	[DAFS_DB_NAME_DEL_ALL] = "DELETE FROM name WHERE dir = ?",
	[DAFS_DB_NAME_DIR] =
		"SELECT id, image, kind, sum, name FROM name WHERE dir = ? ORDER BY name",
	[DAFS_DB_QUOTA_ALL] = "SELECT type, id, inodes, bytes, blk_sec, inode_sec, sum FROM quota",
	[DAFS_DB_QUOTA_PUT] = "INSERT OR REPLACE INTO quota VALUES(?, ?, ?, ?, ?, ?, ?)",
	[DAFS_DB_ORIGIN_GET] = "SELECT sum FROM origin WHERE id = ?",
	[DAFS_DB_ORIGIN_PUT] = "INSERT INTO origin VALUES(?, ?)",
	[DAFS_DB_ORIGIN_DEL] = "DELETE FROM origin WHERE id = ?",
	[DAFS_DB_SLOT_FIT] =
		"SELECT start, len FROM slot WHERE len >= ? ORDER BY len, start LIMIT 1",
	[DAFS_DB_SLOT_BEFORE] =
		"SELECT start, len FROM slot WHERE start < ? ORDER BY start DESC LIMIT 1",
	[DAFS_DB_SLOT_AT] = "SELECT start, len FROM slot WHERE start >= ? ORDER BY start LIMIT 1",
	[DAFS_DB_SLOT_PUT] = "INSERT INTO slot VALUES(?, ?)",
	[DAFS_DB_SLOT_DEL] = "DELETE FROM slot WHERE start = ?",
	[DAFS_DB_SLOT_ALL] = "SELECT start, len FROM slot ORDER BY start",
	[DAFS_DB_FLUSH_GET] =
		"SELECT tag, everything, mounts, mtime, checked, wtime, wtime_after, content,"
		" content_after, sequence, blocks FROM flush",
	[DAFS_DB_FLUSH_PUT] =
		"INSERT OR REPLACE INTO flush VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[DAFS_DB_FLUSH_DEL] = "DELETE FROM flush",
	[DAFS_DB_FLUSHED_PUT] = "INSERT OR REPLACE INTO flushed VALUES(?, ?, ?)",
	[DAFS_DB_FLUSHED_ALL] = "SELECT id, ino, cut FROM flushed ORDER BY id",
};

static errcode_t code_of(struct dafs_db *db, int rc)
{
	int host;

	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return DAFS_ET_LOCKED;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
	case SQLITE_MISMATCH:
	case SQLITE_CONSTRAINT:
	case SQLITE_ERROR: /* a table that is not there, or not as it should be */
	case SQLITE_TOOBIG:
		return DAFS_ET_CACHE_DAMAGED;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		host = db->handle ? sqlite3_system_errno(db->handle) : 0;
		/* A journal that cannot be made is tried for reading by SQLite, and is not there:
		 * that is not the cause, and ENOENT says "no cache" here. */
		return host && host != ENOENT ? host : EIO;
	default:
		return DAFS_ET_INTERNAL;
	}
}

errcode_t dafs_db_error(struct dafs_db *db, int rc)
{
	errcode_t err = code_of(db, rc);

	return dafs_fail(db->ctx, err, "%s/cache.db: %s", db->place,
			 db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc));
}

errcode_t dafs_db_damaged(struct dafs_db *db, const char *what, uint64_t id)
{
	return dafs_fail(db->ctx, DAFS_ET_CACHE_DAMAGED, "%s/cache.db: %s %llu", db->place, what,
			 (unsigned long long)id);
}

errcode_t dafs_db_verify(struct dafs_db *db)
{
	sqlite3_stmt *stmt = NULL;
	const char *text = NULL;
	bool row = false;
	errcode_t err = 0;
	int rc = sqlite3_prepare_v2(db->handle, "PRAGMA integrity_check(1)", -1, &stmt, NULL);

	if (rc != SQLITE_OK)
		err = dafs_db_error(db, rc);
	else
		err = dafs_db_step(db, stmt, &row);
	if (!err && row)
		text = (const char *)sqlite3_column_text(stmt, 0);
	if (!err && (!text || strcmp(text, "ok")))
		err = dafs_fail(db->ctx, DAFS_ET_CACHE_DAMAGED, "%s/cache.db: %s", db->place,
				text ? text : "nothing can be read");
	sqlite3_finalize(stmt);
	return err;
}

errcode_t dafs_db_exec(struct dafs_db *db, const char *sql)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : dafs_db_error(db, rc);
}

errcode_t dafs_db_number(struct dafs_db *db, const char *sql, int64_t *value)
{
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	errcode_t err;
	int rc;

	*value = 0;
	rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
	if (rc != SQLITE_OK)
		return dafs_db_error(db, rc);
	err = dafs_db_step(db, stmt, &row);
	if (!err && row)
		*value = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return err;
}

errcode_t dafs_db_make_schema(struct dafs_db *db)
{
	char pragmas[96];
	errcode_t err = dafs_db_exec(db, schema);

	snprintf(pragmas, sizeof(pragmas), "PRAGMA application_id = %d; PRAGMA user_version = %d;",
		 APPLICATION_ID, SCHEMA_VERSION);
	if (!err)
		err = dafs_db_exec(db, pragmas);
	/* The state row comes with the first command; until its commit the cache is not there. */
	return err;
}

static errcode_t other_version(struct dafs_db *db, int64_t version)
{
	return dafs_fail(db->ctx, DAFS_ET_CACHE_VERSION, "%s: version %lld, this program knows %d",
			 db->place, (long long)version, SCHEMA_VERSION);
}

static uint32_t be32_at(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

/* Another version has other pages, perhaps: it is told before the first of them is read. The two
 * numbers never change. */
static errcode_t check_header(struct dafs_db *db)
{
	uint8_t header[HEADER_BYTES];
	sqlite3_file *file = NULL;

	sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	if (!file || !file->pMethods ||
	    file->pMethods->xRead(file, header, sizeof(header), 0) != SQLITE_OK)
		return 0;
	if (be32_at(header + APPLICATION_AT) == APPLICATION_ID &&
	    be32_at(header + VERSION_AT) != SCHEMA_VERSION)
		return other_version(db, be32_at(header + VERSION_AT));
	return 0;
}

static errcode_t check_schema(struct dafs_db *db)
{
	int64_t application, version;
	errcode_t err = dafs_db_number(db, "PRAGMA application_id", &application);

	if (!err)
		err = dafs_db_number(db, "PRAGMA user_version", &version);
	if (err)
		return err;
	/* Rolled back to nothing: whoever made it died in the first commit. */
	if (!application && !version) {
		err = dafs_db_number(db, "SELECT count(*) FROM sqlite_master", &version);
		if (err || !version)
			return err ? err : ENOENT;
	}
	if (application != APPLICATION_ID || version < 1)
		return dafs_fail(db->ctx, DAFS_ET_CACHE_DAMAGED,
				 "%s/cache.db is not a cache of dafs", db->place);
	if (version != SCHEMA_VERSION)
		return other_version(db, version);
	return 0;
}

/* Pages as vfs.h wants them; before there are any. */
static errcode_t set_page_shape(struct dafs_db *db)
{
	char pragma[48];
	int reserve = DAFS_VFS_SUM_BYTES, rc;

	snprintf(pragma, sizeof(pragma), "PRAGMA page_size = %d", DAFS_VFS_PAGE_BYTES);
	rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
	return rc == SQLITE_OK ? dafs_db_exec(db, pragma) : dafs_db_error(db, rc);
}

static errcode_t configure(struct dafs_db *db, int how)
{
	char pragmas[256];
	errcode_t err = 0;
	int rc;

	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_busy_timeout(db->handle, BUSY_MS);
	/* A database made by somebody else cannot run anything in ours. */
	rc = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE,
				       !(how & DAFS_DB_SALVAGE), NULL);
	if (rc != SQLITE_OK)
		return dafs_db_error(db, rc);
	/* A file that is shorter than it says is refused whatever is asked for, but for who may
	 * mend it. */
	if (how & DAFS_DB_SALVAGE)
		err = dafs_db_exec(db, "PRAGMA writable_schema = ON");
	else if (how & DAFS_DB_FRESH)
		err = set_page_shape(db);
	if (err)
		return err;
	snprintf(
		pragmas, sizeof(pragmas),
		"PRAGMA cache_size = -%d; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;",
		PAGE_CACHE_KIB);
	err = dafs_db_exec(db, pragmas);
	if (err)
		return err;
	if (how & (DAFS_DB_RDONLY | DAFS_DB_SALVAGE))
		return dafs_db_exec(db, "PRAGMA query_only = ON");
	err = dafs_db_exec(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = PERSIST; "
			       "PRAGMA journal_size_limit = 1048576;");
	if (!err)
		err = dafs_db_exec(db, db->ctx->no_sync ? "PRAGMA synchronous = OFF"
							: "PRAGMA synchronous = FULL");
	return err;
}

errcode_t dafs_db_open(struct dafs_ctx *ctx, const char *place, int how, struct dafs_db *db)
{
	/* A reader may have to roll back what a killed writer left, so it opens for writing too
	 * where it may. */
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX;
	char *path;
	errcode_t err;
	int rc;

	*db = (struct dafs_db){ .ctx = ctx, .place = place };
	path = sqlite3_mprintf("%s/cache.db", place);
	if (!path)
		return ENOMEM;
	rc = sqlite3_open_v2(path, &db->handle, flags, dafs_vfs_name(!(how & DAFS_DB_SALVAGE)));
	sqlite3_free(path);
	if (rc != SQLITE_OK)
		err = dafs_db_error(db, rc);
	else
		err = check_header(db);
	if (!err)
		err = configure(db, how);
	if (!err)
		err = how & DAFS_DB_FRESH ? dafs_db_make_schema(db) : check_schema(db);
	if (err)
		dafs_db_close(db);
	return err;
}

void dafs_db_close(struct dafs_db *db)
{
	for (size_t i = 0; i < DAFS_DB_STMTS; i++) {
		sqlite3_finalize(db->stmt[i]);
		db->stmt[i] = NULL;
	}
	/* What is committed is durable; SQLite would sync the empty journal once more. */
	if (db->handle && sqlite3_get_autocommit(db->handle))
		sqlite3_exec(db->handle, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
	sqlite3_close(db->handle);
	db->handle = NULL;
}

errcode_t dafs_db_use(struct dafs_db *db, enum dafs_db_stmt which, sqlite3_stmt **ret)
{
	int rc;

	if (!db->stmt[which]) {
		rc = sqlite3_prepare_v3(db->handle, text[which], -1, SQLITE_PREPARE_PERSISTENT,
					&db->stmt[which], NULL);
		if (rc != SQLITE_OK) {
			*ret = NULL;
			return dafs_db_error(db, rc);
		}
	}
	*ret = db->stmt[which];
	sqlite3_reset(*ret);
	return 0;
}

errcode_t dafs_db_step(struct dafs_db *db, sqlite3_stmt *stmt, bool *row)
{
	int rc = sqlite3_step(stmt);
	errcode_t err;

	*row = rc == SQLITE_ROW;
	db->rows += *row;
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return 0;
	err = dafs_db_error(db, rc);
	sqlite3_reset(stmt);
	return err;
}

errcode_t dafs_db_run(struct dafs_db *db, sqlite3_stmt *stmt)
{
	bool row;
	errcode_t err = dafs_db_step(db, stmt, &row);

	if (!err)
		sqlite3_reset(stmt);
	return err;
}
