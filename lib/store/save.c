/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * save - what changed in the name space, as rows.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <string.h>

static errcode_t delete_by_id(struct dafs_store *st, enum dafs_db_stmt which, uint64_t id)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, which, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	return dafs_db_run(&st->db, stmt);
}

errcode_t dafs_save_delete(struct dafs_store *st, uint64_t id, bool runs, bool names)
{
	errcode_t err = delete_by_id(st, DAFS_DB_INODE_DEL, id);

	if (!err && runs)
		err = delete_by_id(st, DAFS_DB_RUN_DEL_ALL, id);
	if (!err && names)
		err = delete_by_id(st, DAFS_DB_NAME_DEL_ALL, id);
	return err;
}

/* --- segments: only those whose bytes changed are written --- */

/* Does the segment's row hold these bytes already? */
static errcode_t is_saved(struct dafs_store *st, uint64_t id, uint32_t seg, bool *same)
{
	sqlite3_stmt *stmt;
	bool row;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_RUN_ONE, &stmt);

	*same = false;
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	sqlite3_bind_int64(stmt, 2, seg);
	err = dafs_db_step(&st->db, stmt, &row);
	if (err)
		return err;
	*same = row && (size_t)sqlite3_column_bytes(stmt, 0) == st->buf.n &&
		!memcmp(sqlite3_column_blob(stmt, 0), st->buf.v, st->buf.n);
	sqlite3_reset(stmt);
	return 0;
}

static errcode_t put_segment(struct dafs_store *st, uint64_t id, uint32_t seg)
{
	sqlite3_stmt *stmt;
	bool same;
	errcode_t err = is_saved(st, id, seg, &same);

	if (err || same)
		return err;
	err = dafs_db_use(&st->db, DAFS_DB_RUN_PUT, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	sqlite3_bind_int64(stmt, 2, seg);
	sqlite3_bind_blob64(stmt, 3, st->buf.v, st->buf.n, SQLITE_STATIC);
	return dafs_db_run(&st->db, stmt);
}

/* Segments in [from, to) have nothing any more. */
static errcode_t delete_segments(struct dafs_store *st, uint64_t id, uint32_t from, uint32_t to)
{
	sqlite3_stmt *stmt;
	errcode_t err;

	if (from >= to)
		return 0;
	err = dafs_db_use(&st->db, DAFS_DB_RUN_DEL, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	sqlite3_bind_int64(stmt, 2, from);
	sqlite3_bind_int64(stmt, 3, to);
	return dafs_db_run(&st->db, stmt);
}

static errcode_t save_segments(struct dafs_store *st, const struct dafs_inode *inode)
{
	const struct dafs_rec_env env = dafs_store_env(st);
	uint32_t seg = 0, next, done = 0;
	errcode_t err = 0;

	for (; !err && seg != UINT32_MAX; seg = next) {
		err = dafs_rec_put_seg(&st->buf, &env, inode, seg, &next);
		if (err || !st->buf.n)
			continue;
		err = delete_segments(st, inode->id, done, seg);
		if (!err)
			err = put_segment(st, inode->id, seg);
		done = seg + 1;
	}
	return err ? err : delete_segments(st, inode->id, done, UINT32_MAX);
}

/* --- rows --- */

static errcode_t save_inode(void *arg, const struct dafs_inode *inode, enum dafs_ns_row row)
{
	struct dafs_store *st = arg;
	const struct dafs_rec_env env = dafs_store_env(st);
	sqlite3_stmt *stmt;
	bool segs;
	errcode_t err;

	if (row == DAFS_NS_ROW_GONE)
		return dafs_save_delete(st, inode->id, S_ISREG(inode->mode), S_ISDIR(inode->mode));
	err = dafs_origin_note(st, inode->id);
	if (!err)
		err = dafs_rec_put_inode(&st->buf, &env, inode, &segs);
	if (!err)
		err = dafs_db_use(&st->db, DAFS_DB_INODE_PUT, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)inode->id);
	sqlite3_bind_blob64(stmt, 2, st->buf.v, st->buf.n, SQLITE_STATIC);
	err = dafs_db_run(&st->db, stmt);
	if (err || !S_ISREG(inode->mode))
		return err;
	if (segs)
		return save_segments(st, inode);
	return row == DAFS_NS_ROW_CHANGED ? delete_by_id(st, DAFS_DB_RUN_DEL_ALL, inode->id) : 0;
}

static errcode_t save_name(void *arg, uint64_t dir, const struct dafs_ns_name *name,
			   enum dafs_ns_row row)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(
		&st->db, row == DAFS_NS_ROW_GONE ? DAFS_DB_NAME_DEL : DAFS_DB_NAME_PUT, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)dir);
	sqlite3_bind_blob(stmt, 2, name->name, name->name_len, SQLITE_STATIC);
	if (row != DAFS_NS_ROW_GONE) {
		sqlite3_bind_int64(stmt, 3, (int64_t)name->id);
		sqlite3_bind_int64(stmt, 4, name->image_ino);
		sqlite3_bind_int64(stmt, 5, name->file_type | (name->recased ? 256 : 0));
		sqlite3_bind_int64(stmt, 6, dafs_rec_name_sum(dir, name));
	}
	return dafs_db_run(&st->db, stmt);
}

errcode_t dafs_save(struct dafs_store *st, struct dafs_ns *ns, const struct dafs_reserve *rs)
{
	static const struct dafs_ns_change_ops ops = { save_inode, save_name };
	errcode_t err = dafs_ns_changed(ns, &ops, st);

	if (err == DAFS_ET_INTERNAL)
		return dafs_fail(st->ctx, err, "%s: pending data that are not in the spool",
				 st->place.path);
	dafs_ns_counters(ns, &st->state.counters);
	st->state.dirty = rs->dirty_clusters;
	st->state.promised = rs->promised_clusters;
	st->state.bound = rs->bound_clusters;
	st->state.inodes = rs->promised_inodes;
	return err ? err : dafs_limits_save(st, dafs_ns_writer(ns)->limits);
}
