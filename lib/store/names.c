/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* names - the cache as the backing of a name space: rows in, rows out. */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static errcode_t load_counters(void *arg, struct dafs_ns_counters *counters)
{
	struct dafs_store *st = arg;
	errcode_t err;

	memset(counters, 0, sizeof(*counters));
	if (!st->db)
		return 0;
	err = dafs_db_meta_get(st, "next_serial", &counters->next_serial);
	if (!err || err == ENOENT)
		err = dafs_db_meta_get(st, "next_seq", &counters->next_seq);
	return err == ENOENT ? 0 : err;
}

static errcode_t load_inode(void *arg, struct dafs_inode *inode)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	errcode_t err;

	if (!st->db)
		return ENOENT;
	err = dafs_db_stmt(st, DAFS_SQL_INODE_GET, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)inode->id);
	err = dafs_db_step(st, stmt);
	if (err)
		return err;
	err = dafs_blob_decode(st, sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0), inode);
	sqlite3_reset(stmt);
	return err;
}

/* The columns id, image_ino, type, recased, from column first on. */
static void read_name(sqlite3_stmt *stmt, int first, struct dafs_ns_name *out)
{
	out->id = (uint64_t)sqlite3_column_int64(stmt, first);
	out->image_ino = (uint32_t)sqlite3_column_int64(stmt, first + 1);
	out->file_type = (uint8_t)sqlite3_column_int(stmt, first + 2);
	out->recased = sqlite3_column_int(stmt, first + 3) != 0;
}

static errcode_t load_name(void *arg, uint64_t dir, const char *name, uint8_t name_len, struct dafs_ns_name *out)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	errcode_t err;

	if (!st->db)
		return ENOENT;
	err = dafs_db_stmt(st, DAFS_SQL_NAME_GET, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)dir);
	sqlite3_bind_blob(stmt, 2, name, name_len, SQLITE_STATIC);
	err = dafs_db_step(st, stmt);
	if (err)
		return err;
	out->name = name;
	out->name_len = name_len;
	read_name(stmt, 0, out);
	sqlite3_reset(stmt);
	return 0;
}

static errcode_t load_names(void *arg, uint64_t dir, dafs_ns_name_fn fn, void *fn_arg)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	errcode_t err;

	if (!st->db)
		return 0;
	err = dafs_db_stmt(st, DAFS_SQL_NAMES_OF, &stmt);
	if (!err)
		sqlite3_bind_int64(stmt, 1, (sqlite3_int64)dir);
	while (!err && !(err = dafs_db_step(st, stmt))) {
		int len = sqlite3_column_bytes(stmt, 0);
		struct dafs_ns_name name = { .name = sqlite3_column_blob(stmt, 0), .name_len = (uint8_t)len };

		read_name(stmt, 1, &name);
		if (len < 1 || len > 255)
			err = dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: a name of %d bytes", st->place, len);
		else
			err = fn(fn_arg, &name);
	}
	if (stmt)
		sqlite3_reset(stmt);
	return err == ENOENT ? 0 : err;
}

static errcode_t load_all(void *arg, errcode_t (*fn)(void *fn_arg, uint64_t id), void *fn_arg)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	errcode_t err;

	if (!st->db)
		return 0;
	err = dafs_db_stmt(st, DAFS_SQL_INODE_IDS, &stmt);
	while (!err && !(err = dafs_db_step(st, stmt)))
		err = fn(fn_arg, (uint64_t)sqlite3_column_int64(stmt, 0));
	if (stmt)
		sqlite3_reset(stmt);
	return err == ENOENT ? 0 : err;
}

const struct dafs_ns_backing dafs_names_backing = {
	.load_counters = load_counters,
	.load_inode = load_inode,
	.load_name = load_name,
	.load_names = load_names,
	.load_all = load_all,
};

static errcode_t save_inode(void *arg, const struct dafs_inode *inode, enum dafs_ns_row row)
{
	struct dafs_store *st = arg;
	bool gone = row == DAFS_NS_ROW_GONE;
	sqlite3_stmt *stmt;
	uint8_t *blob = NULL;
	size_t len = 0;
	errcode_t err = dafs_db_stmt(st, gone ? DAFS_SQL_INODE_DEL : DAFS_SQL_INODE_PUT, &stmt);

	if (!err && !gone)
		err = dafs_blob_encode(st, inode, &blob, &len);
	if (!err) {
		sqlite3_bind_int64(stmt, 1, (sqlite3_int64)inode->id);
		if (!gone)
			sqlite3_bind_blob64(stmt, 2, blob, len, SQLITE_STATIC);
		err = dafs_db_run(st, stmt);
	}
	free(blob);
	if (!err && gone && S_ISDIR(inode->mode)) {
		err = dafs_db_stmt(st, DAFS_SQL_NAMES_DEL_OF, &stmt);
		if (err)
			return err;
		sqlite3_bind_int64(stmt, 1, (sqlite3_int64)inode->id);
		err = dafs_db_run(st, stmt);
	}
	return err;
}

static errcode_t save_name(void *arg, uint64_t dir, const struct dafs_ns_name *name, enum dafs_ns_row row)
{
	struct dafs_store *st = arg;
	bool gone = row == DAFS_NS_ROW_GONE;
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, gone ? DAFS_SQL_NAME_DEL : DAFS_SQL_NAME_PUT, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)dir);
	sqlite3_bind_blob(stmt, 2, name->name, name->name_len, SQLITE_STATIC);
	if (!gone) {
		sqlite3_bind_int64(stmt, 3, (sqlite3_int64)name->id);
		sqlite3_bind_int64(stmt, 4, name->image_ino);
		sqlite3_bind_int(stmt, 5, name->file_type);
		sqlite3_bind_int(stmt, 6, name->recased);
	}
	return dafs_db_run(st, stmt);
}

errcode_t dafs_names_save(struct dafs_store *st, struct dafs_ns *ns)
{
	static const struct dafs_ns_change_ops ops = { .inode = save_inode, .name = save_name };
	struct dafs_ns_counters counters;
	errcode_t err = dafs_ns_changed(ns, &ops, st);

	if (err)
		return err;
	dafs_ns_counters(ns, &counters);
	err = dafs_db_meta_put(st, "next_serial", counters.next_serial);
	return err ? err : dafs_db_meta_put(st, "next_seq", counters.next_seq);
}
