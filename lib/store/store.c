/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store - see store.h: opening, commands, the flush bracket, status.
 *
 * Transition -> function:
 *   closed -> dafs_store_open -> open (with or without a database)
 *   open -> dafs_store_begin -> in a command -> dafs_store_commit | dafs_store_rollback -> open
 *   open -> dafs_store_flush_begin -> flushing -> dafs_store_flush_end | dafs_store_flush_abort -> open
 */
#include "config.h"

#include "store/store.h"

#include "store/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

errcode_t dafs_store_exists(struct dafs_image *img, const char *cache_dir, bool *exists)
{
	char *place;
	errcode_t err = dafs_place_name(img, cache_dir, &place);

	*exists = false;
	if (!err)
		err = dafs_place_has(place, DAFS_STORE_DB, exists);
	free(place);
	return err;
}

errcode_t dafs_store_remove(struct dafs_image *img, const char *cache_dir)
{
	char *place;
	errcode_t err = dafs_place_name(img, cache_dir, &place);

	if (!err)
		err = dafs_place_remove(img->ctx, place);
	free(place);
	return err;
}

/* Open what is there: database, binding, an interrupted flush, spool. */
static errcode_t open_existing(struct dafs_store *st)
{
	errcode_t err = dafs_place_check(st->ctx, st->place, false);

	if (!err)
		err = dafs_db_open(st, false);
	if (!err)
		err = dafs_spool_open(st, false);
	if (!err)
		err = dafs_settle(st);
	if (!err && !st->db)
		return ENOENT;
	if (!err && dafs_db_meta_get(st, "commands", &st->commands))
		st->commands = 0;
	return err;
}

errcode_t dafs_store_open(struct dafs_image *img, const char *cache_dir, int flags, struct dafs_store **ret)
{
	struct dafs_store *st = calloc(1, sizeof(*st));
	errcode_t err = 0;
	bool exists = false;

	*ret = NULL;
	if (!st)
		return ENOMEM;
	st->ctx = img->ctx;
	st->img = img;
	st->flags = flags;
	dafs_spool_init(st);
	if (!(flags & DAFS_STORE_EPHEMERAL)) {
		err = dafs_place_name(img, cache_dir, &st->place);
		if (!err)
			err = dafs_place_has(st->place, DAFS_STORE_DB, &exists);
		if (!err)
			err = exists ? open_existing(st) : flags & DAFS_STORE_CREATE ? 0 : ENOENT;
		/* An interrupted flush that had committed leaves nothing. */
		if (err == ENOENT && flags & DAFS_STORE_CREATE)
			err = 0;
	}
	if (err) {
		dafs_store_close(st);
		return err;
	}
	*ret = st;
	return 0;
}

void dafs_store_close(struct dafs_store *st)
{
	if (!st)
		return;
	if (st->in_command)
		dafs_store_rollback(st);
	dafs_spool_fini(&st->spool);
	if (st->db)
		dafs_db_close(st);
	free(st->place);
	free(st);
}

const struct dafs_ns_backing *dafs_store_backing(void)
{
	return &dafs_names_backing;
}

const struct dafs_stash_ops *dafs_store_stash(void)
{
	return dafs_spool_stash();
}

/* What of the counters is the cache's, and under which names. */
struct counter {
	const char *key;
	size_t offset;
};
static const struct counter counters[] = {
	{ "dirty", offsetof(struct dafs_reserve, dirty_clusters) },
	{ "promised", offsetof(struct dafs_reserve, promised_clusters) },
	{ "bound", offsetof(struct dafs_reserve, bound_clusters) },
	{ "promised_inodes", offsetof(struct dafs_reserve, promised_inodes) },
};
#define NCOUNTERS (sizeof(counters) / sizeof(counters[0]))

errcode_t dafs_store_load_reserve(struct dafs_store *st, struct dafs_reserve *rs)
{
	errcode_t err = 0;

	for (size_t i = 0; i < NCOUNTERS && st->db && !err; i++) {
		uint64_t value;

		err = dafs_db_meta_get(st, counters[i].key, &value);
		if (!err)
			*(uint64_t *)(void *)((char *)rs + counters[i].offset) += value;
		else if (err == ENOENT)
			err = 0;
	}
	if (!err && !dafs_reserve_verify(rs))
		err = dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: more is promised than the image has", st->place);
	return err;
}

errcode_t dafs_store_save_reserve(struct dafs_store *st, const struct dafs_reserve *rs)
{
	errcode_t err = 0;

	for (size_t i = 0; i < NCOUNTERS && !err; i++)
		err = dafs_db_meta_put(st, counters[i].key, *(const uint64_t *)(const void *)((const char *)rs + counters[i].offset));
	return err;
}

/* A new folder's name is durable before anything in it is promised to be. */
static errcode_t sync_folder(struct dafs_store *st)
{
	char *up = dafs_place_file(st->place, "..");
	const char *const dirs[] = { st->place, up };
	errcode_t err = up ? 0 : ENOMEM;

	for (int i = 0; i < 2 && !err && !st->ctx->no_sync; i++) {
		int fd = open(dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 || (fsync(fd) && errno != EINVAL))
			err = dafs_fail(st->ctx, errno, "%s", dirs[i]);
		if (fd >= 0)
			close(fd);
	}
	free(up);
	return err;
}

static errcode_t make_cache(struct dafs_store *st)
{
	errcode_t err = dafs_place_check(st->ctx, st->place, true);

	if (!err)
		err = dafs_db_open(st, true);
	if (!err)
		err = dafs_spool_open(st, true);
	return err ? err : sync_folder(st);
}

errcode_t dafs_store_begin(struct dafs_store *st)
{
	errcode_t err = 0;

	if (st->in_command || st->flags & DAFS_STORE_RDONLY)
		return dafs_fail(st->ctx, DAFS_ET_SEQUENCE, "dafs_store_begin");
	if (st->place && !st->db)
		err = make_cache(st);
	if (!err && st->db)
		err = dafs_db_exec(st, "BEGIN IMMEDIATE");
	st->in_command = !err;
	return err;
}

/* Is anything pending at all? */
static errcode_t is_empty(struct dafs_store *st, bool *empty)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_INODE_IDS, &stmt);

	*empty = false;
	if (err)
		return err;
	err = dafs_db_step(st, stmt);
	*empty = err == ENOENT;
	sqlite3_reset(stmt);
	return err == ENOENT ? 0 : err;
}

errcode_t dafs_store_drop(struct dafs_store *st)
{
	dafs_spool_fini(&st->spool);
	st->spool.end_slot = 0;
	dafs_db_close(st);
	st->commands = 0;
	return dafs_place_remove(st->ctx, st->place);
}

static errcode_t save(struct dafs_store *st, struct dafs_ns *ns, const struct dafs_reserve *rs)
{
	errcode_t err = dafs_names_save(st, ns);

	if (!err)
		err = dafs_spool_save(st);
	if (!err)
		err = dafs_store_save_reserve(st, rs);
	if (!err)
		err = dafs_db_meta_put(st, "commands", st->commands + 1);
	if (!err)
		err = dafs_db_exec(st, "COMMIT");
	if (err)
		return err;
	st->commands++;
	dafs_spool_saved(st);
	return 0;
}

errcode_t dafs_store_commit(struct dafs_store *st, struct dafs_ns *ns, const struct dafs_reserve *rs)
{
	bool empty = false;
	errcode_t err;

	if (!st->in_command)
		return dafs_fail(st->ctx, DAFS_ET_SEQUENCE, "dafs_store_commit");
	if (!st->db) {
		st->in_command = false;
		return 0;
	}
	err = save(st, ns, rs);
	if (err)
		return err;
	st->in_command = false;
	err = is_empty(st, &empty);
	return err || !empty ? err : dafs_store_drop(st);
}

void dafs_store_rollback(struct dafs_store *st)
{
	bool empty = false;

	if (!st->in_command)
		return;
	st->in_command = false;
	if (!st->db)
		return;
	sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
	dafs_spool_forget(st);
	if (!is_empty(st, &empty) && empty)
		dafs_store_drop(st);
}

errcode_t dafs_store_flush_end(struct dafs_store *st, const struct dafs_changeset *cs, struct dafs_ns *ns,
			       const struct dafs_reserve *rs)
{
	sqlite3_stmt *stmt;
	const uint64_t *ids;
	size_t n;
	errcode_t err;

	if (!st->db)
		return 0;
	if (dafs_ns_covers_all(cs))
		return dafs_store_drop(st);
	err = dafs_db_exec(st, "BEGIN IMMEDIATE");
	ids = dafs_ns_collected_ids(cs, &n);
	for (size_t i = 0; i < n && !err; i++) {
		err = dafs_db_stmt(st, DAFS_SQL_INODE_DEL, &stmt);
		if (!err) {
			sqlite3_bind_int64(stmt, 1, (sqlite3_int64)ids[i]);
			err = dafs_db_run(st, stmt);
		}
		if (!err)
			err = dafs_db_stmt(st, DAFS_SQL_NAMES_DEL_OF, &stmt);
		if (!err) {
			sqlite3_bind_int64(stmt, 1, (sqlite3_int64)ids[i]);
			err = dafs_db_run(st, stmt);
		}
	}
	if (!err)
		err = dafs_db_exec(st, "DELETE FROM flushing; DELETE FROM meta WHERE key IN ('flush_print', 'flush_count', 'flush_all')");
	if (!err)
		err = dafs_bind(st);
	if (!err)
		err = save(st, ns, rs);
	if (err)
		sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

static uint64_t query_u64(struct dafs_store *st, const char *sql)
{
	sqlite3_stmt *stmt;
	uint64_t value = 0;

	if (sqlite3_prepare_v2(st->db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
		value = (uint64_t)sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return value;
}

errcode_t dafs_store_status(struct dafs_store *st, struct dafs_store_status *out)
{
	struct stat sb;
	size_t size = out->size;

	memset(out, 0, size);
	out->size = size;
	if (!st->db)
		return 0;
	strncpy(out->place, st->place, sizeof(out->place) - 1);
	out->inodes = query_u64(st, "SELECT count(*) FROM inode");
	out->names = query_u64(st, "SELECT count(*) FROM name");
	out->free_bytes = query_u64(st, "SELECT total(n) FROM free") * st->spool.block_size;
	out->commands = st->commands;
	if (!fstat(st->spool.fd, &sb))
		out->spool_bytes = (uint64_t)sb.st_size;
	return 0;
}
