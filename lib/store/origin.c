/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * origin - what the inodes of the image that have pending work looked like when it began.
 *
 * The fingerprint sees who allocates, mounts or stamps the superblock. A tool that writes an inode and
 * nothing else (debugfs) shows here: a flush is refused when an inode it is to change is not the one
 * that the work was done on.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <inttypes.h>

#include "base/crc32c.h"
#include "image/icodec.h"

static errcode_t sum_of(struct dafs_store *st, uint64_t id, uint32_t *sum)
{
	union dafs_inode_buf buf;
	errcode_t err = dafs_icodec_read(st->img, (uint32_t)id, &buf.raw, sizeof(buf));

	*sum = err ? 0 : dafs_crc32c(~0u, buf.bytes, st->img->inode_size);
	return err;
}

/* *there: the row's sum is in *sum. */
static errcode_t get(struct dafs_store *st, uint64_t id, bool *there, uint32_t *sum)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_ORIGIN_GET, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	err = dafs_db_step(&st->db, stmt, there);
	*sum = !err && *there ? (uint32_t)sqlite3_column_int64(stmt, 0) : 0;
	sqlite3_reset(stmt);
	return err;
}

errcode_t dafs_origin_note(struct dafs_store *st, uint64_t id)
{
	sqlite3_stmt *stmt;
	uint32_t sum;
	bool there;
	errcode_t err = id < DAFS_ID_NEW ? get(st, id, &there, &sum) : 0;

	if (err || id >= DAFS_ID_NEW || there)
		return err;
	err = sum_of(st, id, &sum);
	if (!err)
		err = dafs_db_use(&st->db, DAFS_DB_ORIGIN_PUT, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	sqlite3_bind_int64(stmt, 2, sum);
	return dafs_db_run(&st->db, stmt);
}

static errcode_t check_one(struct dafs_store *st, uint64_t id)
{
	uint32_t was, is;
	bool there;
	errcode_t err = get(st, id, &there, &was);

	if (err || !there)
		return err;
	err = sum_of(st, id, &is);
	if (!err && is != was)
		err = dafs_fail(st->ctx, DAFS_ET_CACHE_STALE,
				"%s: inode %" PRIu64
				" is not as it was when work on it began (its cache: %s)",
				st->img->dev->address, id, st->place.path);
	return err;
}

errcode_t dafs_origin_check(struct dafs_store *st, const struct dafs_changeset *cs)
{
	size_t n;
	const struct dafs_ns_collected *set = dafs_ns_collected(cs, &n);
	errcode_t err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		if (set[i].id < DAFS_ID_NEW)
			err = check_one(st, set[i].id);
	}
	return err;
}

errcode_t dafs_origin_renew(struct dafs_store *st)
{
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	errcode_t err = dafs_db_exec(&st->db, "DELETE FROM origin");

	if (!err && sqlite3_prepare_v2(st->db.handle,
				       "SELECT id FROM inode WHERE id < 4294967296 ORDER BY id", -1,
				       &stmt, NULL) != SQLITE_OK)
		err = dafs_db_error(&st->db, sqlite3_errcode(st->db.handle));
	while (!err && !(err = dafs_db_step(&st->db, stmt, &row)) && row)
		err = dafs_origin_note(st, (uint64_t)sqlite3_column_int64(stmt, 0));
	sqlite3_finalize(stmt);
	return err;
}
