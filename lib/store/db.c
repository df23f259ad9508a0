/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * db - the cache's database: opening, schema, statements.
 *
 * Write-ahead log with full durability: one sync a command. The log is carried into the database, and emptied, by the
 * close that finds it over LOG_MOST_PAGES, not by every close, which would cost a command two more syncs. SQLite's own rule
 * (autocheckpoint) is off: what it has carried over is noted in shared memory only, so that with one short process after
 * another the log would never start anew, and each process reads all of it when it opens.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MOST_PAGES 256	/* what an open reads at most, and some fifty commands */

static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE inode(id INTEGER PRIMARY KEY, blob BLOB NOT NULL);"
	"CREATE TABLE name(dir INTEGER, name BLOB, id INTEGER NOT NULL, image_ino INTEGER NOT NULL, type INTEGER NOT NULL,"
	" recased INTEGER NOT NULL, PRIMARY KEY(dir, name)) WITHOUT ROWID;"
	"CREATE TABLE free(slot INTEGER PRIMARY KEY, n INTEGER NOT NULL);"
	"CREATE INDEX free_n ON free(n);"
	"CREATE TABLE sum(page INTEGER PRIMARY KEY, crcs BLOB NOT NULL);"
	"CREATE TABLE flushing(id INTEGER PRIMARY KEY, ino INTEGER NOT NULL);";

static const char *const texts[DAFS_SQL_COUNT] = {
	[DAFS_SQL_INODE_GET] = "SELECT blob FROM inode WHERE id = ?1",
	[DAFS_SQL_INODE_PUT] = "INSERT OR REPLACE INTO inode(id, blob) VALUES(?1, ?2)",
	[DAFS_SQL_INODE_DEL] = "DELETE FROM inode WHERE id = ?1",
	[DAFS_SQL_INODE_IDS] = "SELECT id FROM inode ORDER BY id",
	[DAFS_SQL_NAME_GET] = "SELECT id, image_ino, type, recased FROM name WHERE dir = ?1 AND name = ?2",
	[DAFS_SQL_NAME_PUT] = "INSERT OR REPLACE INTO name(dir, name, id, image_ino, type, recased) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
	[DAFS_SQL_NAME_DEL] = "DELETE FROM name WHERE dir = ?1 AND name = ?2",
	[DAFS_SQL_NAMES_OF] = "SELECT name, id, image_ino, type, recased FROM name WHERE dir = ?1",
	[DAFS_SQL_NAMES_DEL_OF] = "DELETE FROM name WHERE dir = ?1",
	[DAFS_SQL_META_GET] = "SELECT value FROM meta WHERE key = ?1",
	[DAFS_SQL_META_PUT] = "INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)",
	[DAFS_SQL_META_DEL] = "DELETE FROM meta WHERE key = ?1",
	[DAFS_SQL_FREE_FIT] = "SELECT slot, n FROM free WHERE n >= ?1 ORDER BY n LIMIT 1",
	[DAFS_SQL_FREE_PUT] = "INSERT OR REPLACE INTO free(slot, n) VALUES(?1, ?2)",
	[DAFS_SQL_FREE_DEL] = "DELETE FROM free WHERE slot = ?1",
	[DAFS_SQL_FREE_BEFORE] = "SELECT slot, n FROM free WHERE slot < ?1 ORDER BY slot DESC LIMIT 1",
	[DAFS_SQL_FREE_AT] = "SELECT n FROM free WHERE slot = ?1",
	[DAFS_SQL_SUM_GET] = "SELECT crcs FROM sum WHERE page = ?1",
	[DAFS_SQL_SUM_PUT] = "INSERT OR REPLACE INTO sum(page, crcs) VALUES(?1, ?2)",
	[DAFS_SQL_FLUSHING_PUT] = "INSERT OR REPLACE INTO flushing(id, ino) VALUES(?1, ?2)",
};

errcode_t dafs_db_fail(struct dafs_store *st)
{
	int code = sqlite3_errcode(st->db) & 0xff, sys = sqlite3_system_errno(st->db);

	switch (code) {
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR:
	case SQLITE_MISMATCH:
		return dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: %s", st->place, sqlite3_errmsg(st->db));
	case SQLITE_FULL:
		return dafs_fail(st->ctx, ENOSPC, "%s", st->place);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return dafs_fail(st->ctx, DAFS_ET_LOCKED, "%s", st->place);
	case SQLITE_READONLY:
		return dafs_fail(st->ctx, EROFS, "%s", st->place);
	default:
		return dafs_fail(st->ctx, sys ? sys : EIO, "%s: %s", st->place, sqlite3_errmsg(st->db));
	}
}

errcode_t dafs_db_exec(struct dafs_store *st, const char *sql)
{
	return sqlite3_exec(st->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : dafs_db_fail(st);
}

errcode_t dafs_db_stmt(struct dafs_store *st, enum dafs_sql which, sqlite3_stmt **ret)
{
	sqlite3_stmt **stmt = &st->stmt[which];

	*ret = NULL;
	if (!*stmt && sqlite3_prepare_v3(st->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) != SQLITE_OK)
		return dafs_db_fail(st);
	sqlite3_reset(*stmt);
	*ret = *stmt;
	return 0;
}

errcode_t dafs_db_step(struct dafs_store *st, sqlite3_stmt *stmt)
{
	int got = sqlite3_step(stmt);
	errcode_t err;

	if (got == SQLITE_ROW)
		return 0;
	err = got == SQLITE_DONE ? ENOENT : dafs_db_fail(st);
	sqlite3_reset(stmt);
	return err;
}

errcode_t dafs_db_run(struct dafs_store *st, sqlite3_stmt *stmt)
{
	errcode_t err = dafs_db_step(st, stmt);

	sqlite3_reset(stmt);
	return err == ENOENT ? 0 : err;
}

errcode_t dafs_db_meta_get(struct dafs_store *st, const char *key, uint64_t *value)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_META_GET, &stmt);

	*value = 0;
	if (err)
		return err;
	sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	err = dafs_db_step(st, stmt);
	if (err)
		return err;
	*value = (uint64_t)sqlite3_column_int64(stmt, 0);
	sqlite3_reset(stmt);
	return 0;
}

errcode_t dafs_db_meta_put(struct dafs_store *st, const char *key, uint64_t value)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_META_PUT, &stmt);

	if (err)
		return err;
	sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)value);
	return dafs_db_run(st, stmt);
}

/* The file itself, made 0600 by us: SQLite's own would follow the umask. Nothing but a regular file of ours is opened. */
static errcode_t claim_file(struct dafs_store *st, const char *path, bool make)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	struct stat sb;
	errcode_t err = 0;

	if (fd < 0)
		return errno == ENOENT ? ENOENT : dafs_fail(st->ctx, errno == ELOOP ? DAFS_ET_CACHE_PLACE : errno, "%s", path);
	if (fstat(fd, &sb))
		err = dafs_fail(st->ctx, errno, "%s", path);
	else if (!S_ISREG(sb.st_mode) || sb.st_uid != geteuid() || sb.st_mode & 077)
		err = dafs_fail(st->ctx, DAFS_ET_CACHE_PLACE, "%s", path);
	close(fd);
	return err;
}

static errcode_t pragma_number(struct dafs_store *st, const char *sql, int *value)
{
	sqlite3_stmt *stmt;

	*value = 0;
	if (sqlite3_prepare_v2(st->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return dafs_db_fail(st);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		*value = sqlite3_column_int(stmt, 0);
	return sqlite3_finalize(stmt) == SQLITE_OK ? 0 : dafs_db_fail(st);
}

/* New: make the schema. Old: is it one of ours, and not newer than we know? */
static errcode_t check_schema(struct dafs_store *st, bool make)
{
	char setup[128];
	int version, app;
	errcode_t err = pragma_number(st, "PRAGMA user_version", &version);

	if (!err)
		err = pragma_number(st, "PRAGMA application_id", &app);
	if (err)
		return err;
	if (!version && !app && make) {
		snprintf(setup, sizeof(setup), "PRAGMA application_id=%d; PRAGMA user_version=%d", DAFS_STORE_APP_ID, DAFS_STORE_FORMAT);
		err = dafs_db_exec(st, "BEGIN IMMEDIATE");
		if (!err)
			err = dafs_db_exec(st, schema);
		if (!err)
			err = dafs_db_exec(st, setup);
		if (!err)
			err = dafs_bind(st);
		return err ? err : dafs_db_exec(st, "COMMIT");
	}
	if (app != DAFS_STORE_APP_ID)
		return dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: not a cache's database", st->place);
	if (version > DAFS_STORE_FORMAT)
		return dafs_fail(st->ctx, DAFS_ET_CACHE_VERSION, "%s: format %d", st->place, version);
	return version ? 0 : dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: no format number", st->place);
}

/* After every commit: how long the log is now. */
static int note_log(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct dafs_store *st = arg;

	(void)db;
	(void)name;
	st->log_pages = pages;
	return SQLITE_OK;
}

errcode_t dafs_db_open(struct dafs_store *st, bool make)
{
	char *path = dafs_place_file(st->place, DAFS_STORE_DB);
	errcode_t err = path ? claim_file(st, path, make) : ENOMEM;

	if (!err && sqlite3_open_v2(path, &st->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		err = st->db ? dafs_db_fail(st) : ENOMEM;
	free(path);
	if (err)
		return err;
	sqlite3_busy_timeout(st->db, 10000);
	sqlite3_db_config(st->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(st->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(st->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	err = dafs_db_exec(st, "PRAGMA journal_mode=WAL; PRAGMA temp_store=MEMORY");
	st->log_pages = 0;
	sqlite3_wal_hook(st->db, note_log, st);
	if (!err)
		err = dafs_db_exec(st, st->ctx->no_sync ? "PRAGMA synchronous=OFF" : "PRAGMA synchronous=FULL");
	return err ? err : check_schema(st, make);
}

void dafs_db_close(struct dafs_store *st)
{
	for (size_t i = 0; i < DAFS_SQL_COUNT; i++) {
		sqlite3_finalize(st->stmt[i]);
		st->stmt[i] = NULL;
	}
	/* What fails here is tried again by the next command: the log holds everything. */
	if (st->log_pages > LOG_MOST_PAGES)
		sqlite3_wal_checkpoint_v2(st->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	sqlite3_close(st->db);
	st->db = NULL;
}
