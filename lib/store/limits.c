/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * limits - what owners with quota limits take by what is pending: a row each, written when it
 * changes.
 */
#include "config.h"

#include "store/store_int.h"

#include "base/crc32c.h"
#include "write/qlimit.h"

enum { NUMBERS = 6 };

static void to_numbers(const struct dafs_qlimit_row *row, int64_t v[NUMBERS])
{
	v[0] = row->type;
	v[1] = row->id;
	v[2] = row->inodes;
	v[3] = row->bytes;
	v[4] = (int64_t)row->blk_sec;
	v[5] = (int64_t)row->inode_sec;
}

static uint32_t sum_of(const int64_t v[NUMBERS])
{
	uint8_t bytes[NUMBERS * 8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)((uint64_t)v[i / 8] >> 8 * (i % 8));
	return dafs_crc32c(~0u, bytes, sizeof(bytes));
}

static errcode_t save_row(void *arg, const struct dafs_qlimit_row *row)
{
	struct dafs_store *st = arg;
	int64_t v[NUMBERS];
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_QUOTA_PUT, &stmt);

	if (err)
		return err;
	to_numbers(row, v);
	for (int i = 0; i < NUMBERS; i++)
		sqlite3_bind_int64(stmt, i + 1, v[i]);
	sqlite3_bind_int64(stmt, NUMBERS + 1, sum_of(v));
	return dafs_db_run(&st->db, stmt);
}

errcode_t dafs_limits_save(struct dafs_store *st, struct dafs_qlimit *limits)
{
	return limits ? dafs_qlimit_changed(limits, save_row, st) : 0;
}

errcode_t dafs_store_load_limits(struct dafs_store *st, struct dafs_qlimit *limits)
{
	sqlite3_stmt *stmt;
	bool row = false;
	errcode_t err;

	if (!st->db.handle)
		return 0;
	err = dafs_db_use(&st->db, DAFS_DB_QUOTA_ALL, &stmt);
	while (!err && !(err = dafs_db_step(&st->db, stmt, &row)) && row) {
		struct dafs_qlimit_row owner;
		int64_t v[NUMBERS];

		for (int i = 0; i < NUMBERS; i++)
			v[i] = sqlite3_column_int64(stmt, i);
		owner = (struct dafs_qlimit_row){ (uint32_t)v[0], (uint32_t)v[1], v[2],
						  v[3],		  (uint64_t)v[4], (uint64_t)v[5] };
		if (sqlite3_column_int64(stmt, NUMBERS) == sum_of(v))
			dafs_qlimit_restore(limits, &owner);
		else
			err = dafs_db_damaged(&st->db, "row of quota, owner", (uint64_t)v[1]);
	}
	sqlite3_reset(stmt);
	return err;
}
