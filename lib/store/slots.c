/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * slots - which slots of the spool are free between commands: table slot, runs that never touch
 * each other nor the spool's end.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>

struct run {
	uint64_t start, len;
};

/* One row of a look-up by which with this key. *found: false when there is none. */
static errcode_t look_up(struct dafs_store *st, enum dafs_db_stmt which, uint64_t key,
			 struct run *run, bool *found)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, which, &stmt);

	*found = false;
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)key);
	err = dafs_db_step(&st->db, stmt, found);
	if (err || !*found)
		return err;
	run->start = (uint64_t)sqlite3_column_int64(stmt, 0);
	run->len = (uint64_t)sqlite3_column_int64(stmt, 1);
	sqlite3_reset(stmt);
	if (!run->len || run->len > st->spool.end_blks ||
	    run->start > st->spool.end_blks - run->len)
		return dafs_db_damaged(&st->db, "free run of spool slots at", run->start);
	return 0;
}

static errcode_t delete_run(struct dafs_store *st, uint64_t start)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_SLOT_DEL, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)start);
	return dafs_db_run(&st->db, stmt);
}

errcode_t dafs_slots_more(void *arg, uint32_t n)
{
	struct dafs_store *st = arg;
	struct run run;
	bool found;
	errcode_t err;

	if (n >= st->no_slot_of)
		return 0;
	err = look_up(st, DAFS_DB_SLOT_FIT, n, &run, &found);
	if (err)
		return err;
	if (!found) {
		st->no_slot_of = n;
		return 0;
	}
	err = delete_run(st, run.start);
	return err ? err : dafs_spool_spare(&st->spool, run.start, run.len);
}

/* A run becomes free: one with its neighbours, or cut off when it is the last. */
static errcode_t free_run(struct dafs_store *st, struct run run)
{
	struct run other;
	sqlite3_stmt *stmt;
	bool found;
	errcode_t err = look_up(st, DAFS_DB_SLOT_BEFORE, run.start, &other, &found);

	if (!err && found && other.start + other.len > run.start)
		return dafs_db_damaged(&st->db, "spool slot in use that is free:", run.start);
	if (!err && found && other.start + other.len == run.start) {
		err = delete_run(st, other.start);
		run = (struct run){ other.start, other.len + run.len };
	}
	if (!err)
		err = look_up(st, DAFS_DB_SLOT_AT, run.start, &other, &found);
	if (!err && found && other.start < run.start + run.len)
		return dafs_db_damaged(&st->db, "spool slot in use that is free:", other.start);
	if (!err && found && other.start == run.start + run.len) {
		err = delete_run(st, other.start);
		run.len += other.len;
	}
	if (err)
		return err;
	if (run.start + run.len == st->spool.end_blks) {
		st->spool.end_blks = run.start;
		return 0;
	}
	err = dafs_db_use(&st->db, DAFS_DB_SLOT_PUT, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)run.start);
	sqlite3_bind_int64(stmt, 2, (int64_t)run.len);
	return dafs_db_run(&st->db, stmt);
}

static errcode_t free_all(struct dafs_store *st, const struct dafs_rangemap *map)
{
	errcode_t err = 0;

	for (const struct dafs_range *range = dafs_rangemap_first(map, 0); !err && range;
	     range = dafs_rangemap_next(range))
		err = free_run(st, (struct run){ range->start, range->len });
	return err;
}

errcode_t dafs_slots_save(struct dafs_store *st)
{
	errcode_t err = free_all(st, &st->spool.dropped);

	if (!err)
		err = free_all(st, &st->spool.spare);
	st->state.spool_blks = st->spool.end_blks;
	return err;
}
