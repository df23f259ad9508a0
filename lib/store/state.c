/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * state - the one row that says which image the cache belongs to, what is promised in it, and
 * where its counters stand; and one that tells who was at an image that is not as it was.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

enum { NUMBERS = 11 };

/* The row's numbers in the order of its columns. */
static void to_numbers(const struct dafs_store_state *s, uint64_t v[NUMBERS])
{
	const uint64_t numbers[NUMBERS] = {
		s->print,
		s->block_size,
		s->counters.next_serial,
		s->counters.next_seq,
		s->dirty,
		s->promised,
		s->bound,
		s->inodes,
		s->spool_blks,
		s->commands,
		s->own_dir,
	};

	memcpy(v, numbers, sizeof(numbers));
}

static void from_numbers(const uint64_t v[NUMBERS], struct dafs_store_state *s)
{
	s->print = v[0];
	s->block_size = (uint32_t)v[1];
	s->counters.next_serial = v[2];
	s->counters.next_seq = v[3];
	s->dirty = v[4];
	s->promised = v[5];
	s->bound = v[6];
	s->inodes = v[7];
	s->spool_blks = v[8];
	s->commands = v[9];
	s->own_dir = v[10];
}

static uint32_t sum_of(const uint8_t uuid[16], const uint64_t v[NUMBERS])
{
	uint8_t bytes[NUMBERS * 8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(v[i / 8] >> 8 * (i % 8));
	return dafs_crc32c(dafs_crc32c(~0u, uuid, 16), bytes, sizeof(bytes));
}

void dafs_state_bind_traces(sqlite3_stmt *stmt, int first, const struct dafs_traces *traces)
{
	int64_t row[DAFS_TRACES];

	dafs_traces_to_row(traces, row);
	for (int i = 0; i < DAFS_TRACES; i++)
		sqlite3_bind_int64(stmt, first + i, row[i]);
}

void dafs_state_column_traces(sqlite3_stmt *stmt, int first, struct dafs_traces *traces)
{
	int64_t row[DAFS_TRACES];

	for (int i = 0; i < DAFS_TRACES; i++)
		row[i] = sqlite3_column_int64(stmt, first + i);
	dafs_traces_from_row(row, traces);
}

static errcode_t save_bound(struct dafs_store *st)
{
	struct dafs_traces traces;
	sqlite3_stmt *stmt;
	errcode_t err = dafs_traces_take(st->img, &traces);

	if (!err)
		err = dafs_db_use(&st->db, DAFS_DB_BOUND_PUT, &stmt);
	if (err)
		return err;
	dafs_state_bind_traces(stmt, 1, &traces);
	err = dafs_db_run(&st->db, stmt);
	st->state.rebound = err != 0;
	return err;
}

errcode_t dafs_state_save(struct dafs_store *st)
{
	uint64_t v[NUMBERS];
	sqlite3_stmt *stmt;
	errcode_t err = st->state.rebound ? save_bound(st) : 0;

	if (!err)
		err = dafs_db_use(&st->db, DAFS_DB_STATE_SET, &stmt);
	if (err)
		return err;
	to_numbers(&st->state, v);
	sqlite3_bind_blob(stmt, 1, st->state.uuid, sizeof(st->state.uuid), SQLITE_STATIC);
	for (int i = 0; i < NUMBERS; i++)
		sqlite3_bind_int64(stmt, i + 2, (int64_t)v[i]);
	sqlite3_bind_int64(stmt, NUMBERS + 2, sum_of(st->state.uuid, v));
	return dafs_db_run(&st->db, stmt);
}

/* Is that a row as save writes it, with numbers that can be? */
static bool sound(sqlite3_stmt *stmt, const uint64_t v[NUMBERS])
{
	return sqlite3_column_bytes(stmt, 0) == 16 &&
	       sqlite3_column_int64(stmt, NUMBERS + 1) == sum_of(sqlite3_column_blob(stmt, 0), v) &&
	       v[1] <= UINT32_MAX && v[2] <= INT64_MAX - DAFS_ID_NEW && v[8] <= UINT32_MAX;
}

errcode_t dafs_state_load(struct dafs_store *st)
{
	uint64_t v[NUMBERS];
	sqlite3_stmt *stmt;
	bool row;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_STATE_GET, &stmt);

	if (!err)
		err = dafs_db_step(&st->db, stmt, &row);
	if (err)
		return err;
	for (int i = 0; i < NUMBERS; i++)
		v[i] = (uint64_t)sqlite3_column_int64(stmt, i + 1);
	if (row && sound(stmt, v)) {
		memcpy(st->state.uuid, sqlite3_column_blob(stmt, 0), 16);
		from_numbers(v, &st->state);
	} else {
		err = dafs_db_damaged(&st->db, "state rows:", row);
	}
	sqlite3_reset(stmt);
	return err;
}

errcode_t dafs_state_new(struct dafs_store *st)
{
	st->state = (struct dafs_store_state){ .block_size = st->img->block_size,
					       .own_dir = st->place.made };
	return dafs_state_bind(st);
}

errcode_t dafs_state_bind(struct dafs_store *st)
{
	st->state.rebound = true;
	return dafs_image_fingerprint(st->img, st->state.uuid, &st->state.print);
}

errcode_t dafs_state_check_uuid(struct dafs_store *st)
{
	if (memcmp(st->state.uuid, st->img->fs->super->s_uuid, sizeof(st->state.uuid)))
		return dafs_fail(st->ctx, DAFS_ET_CACHE_FOREIGN, "%s (image %s)", st->place.path,
				 st->img->dev->address);
	return 0;
}

/* The print is another: why, as far as it can be told. */
static errcode_t stale(struct dafs_store *st)
{
	struct dafs_traces then, now;
	const char *what = "changed";
	sqlite3_stmt *stmt;
	bool row = false;
	errcode_t err = dafs_traces_take(st->img, &now);

	if (!err)
		err = dafs_db_use(&st->db, DAFS_DB_BOUND_GET, &stmt);
	if (!err)
		err = dafs_db_step(&st->db, stmt, &row);
	if (row) {
		dafs_state_column_traces(stmt, 0, &then);
		what = dafs_traces_what(&then, &now);
		sqlite3_reset(stmt);
	}
	return dafs_fail(st->ctx, DAFS_ET_CACHE_STALE,
			 "%s: %s since work on it began (its cache: %s)", st->img->dev->address,
			 what, st->place.path);
}

errcode_t dafs_state_check_print(struct dafs_store *st)
{
	uint8_t uuid[16];
	uint64_t print;
	errcode_t err = dafs_image_fingerprint(st->img, uuid, &print);

	if (!err && (print != st->state.print || st->state.block_size != st->img->block_size))
		err = stale(st);
	return err;
}

errcode_t dafs_store_load_reserve(struct dafs_store *st, struct dafs_reserve *rs)
{
	const struct dafs_store_state *s = &st->state;

	if (!st->db.handle)
		return 0;
	rs->from_cache = true;
	rs->dirty_clusters += s->dirty;
	rs->promised_clusters += s->promised;
	rs->bound_clusters += s->bound;
	rs->promised_inodes += s->inodes;
	if (!dafs_reserve_verify(rs))
		return dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED,
				 "%s: more is promised than the image has", st->place.path);
	return 0;
}
