/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * command - one command, one transaction; and the stash that the write path puts pending bytes
 * into.
 *
 * Order of a commit: rows into the open transaction, spool and checksums durable, names of new
 * files durable, COMMIT (durable), then the spool may be cut.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <string.h>

static bool is_ephemeral(const struct dafs_store *st)
{
	return st->flags & DAFS_STORE_EPHEMERAL;
}

/* --- transactions --- */

errcode_t dafs_txn_open(struct dafs_store *st)
{
	sqlite3_stmt *stmt;
	errcode_t err = 0;

	if (st->failed)
		return dafs_fail(st->ctx, DAFS_ET_HANDLE_FAILED, "%s", st->place.path);
	/* A fresh database is in a transaction already, with its schema in it. */
	if (sqlite3_get_autocommit(st->db.handle) &&
	    !(err = dafs_db_use(&st->db, DAFS_DB_BEGIN, &stmt)))
		err = dafs_db_run(&st->db, stmt);
	st->committed = st->state;
	st->no_slot_of = UINT32_MAX;
	return err;
}

errcode_t dafs_txn_close(struct dafs_store *st)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_spool_sync(&st->spool);

	/* A database whose name may be lost holds nothing durable; behind the commit a failure
	 * could not be undone. */
	if (!err && st->fresh)
		err = dafs_place_sync(&st->place);
	if (!err)
		err = dafs_state_save(st);
	if (!err)
		err = dafs_db_use(&st->db, DAFS_DB_COMMIT, &stmt);
	if (err)
		return err;
	err = dafs_db_run(&st->db, stmt);
	if (err) {
		st->failed = true;
		return err;
	}
	st->fresh = false;
	dafs_spool_begin(&st->spool);
	dafs_spool_trim(&st->spool);
	return 0;
}

void dafs_txn_undo(struct dafs_store *st)
{
	if (st->db.handle && !sqlite3_get_autocommit(st->db.handle))
		sqlite3_exec(st->db.handle, "ROLLBACK", NULL, NULL, NULL);
	st->state = st->committed;
	dafs_spool_rollback(&st->spool);
}

/* --- commands --- */

errcode_t dafs_store_begin(struct dafs_store *st)
{
	errcode_t err = 0;

	if (st->in_command || (st->flags & DAFS_STORE_RDONLY))
		return dafs_fail(st->ctx, DAFS_ET_SEQUENCE, "dafs_store_begin");
	if (!is_ephemeral(st)) {
		if (!st->db.handle)
			err = dafs_store_make(st);
		if (!err)
			err = dafs_txn_open(st);
	}
	st->in_command = !err;
	return err;
}

/* A command may undo all that was pending: then there is no cache any more. */
static errcode_t drop_if_empty(struct dafs_store *st)
{
	int64_t any;
	errcode_t err = dafs_db_number(&st->db, "SELECT EXISTS(SELECT 1 FROM inode)", &any);

	return err || any ? err : dafs_store_drop(st);
}

errcode_t dafs_store_save(struct dafs_store *st, struct dafs_ns *ns, const struct dafs_reserve *rs)
{
	if (!st->in_command)
		return dafs_fail(st->ctx, DAFS_ET_SEQUENCE, "dafs_store_save");
	return is_ephemeral(st) ? 0 : dafs_save(st, ns, rs);
}

errcode_t dafs_store_commit(struct dafs_store *st, struct dafs_ns *ns,
			    const struct dafs_reserve *rs)
{
	errcode_t err;

	if (!st->in_command)
		return dafs_fail(st->ctx, DAFS_ET_SEQUENCE, "dafs_store_commit");
	if (is_ephemeral(st)) {
		st->in_command = false;
		return 0;
	}
	err = dafs_save(st, ns, rs);
	if (!err)
		err = dafs_slots_save(st);
	st->state.commands++;
	if (!err)
		err = dafs_txn_close(st);
	if (err)
		return err;
	st->in_command = false;
	return drop_if_empty(st);
}

void dafs_store_rollback(struct dafs_store *st)
{
	if (!st->in_command)
		return;
	st->in_command = false;
	if (is_ephemeral(st))
		return;
	dafs_txn_undo(st);
	if (st->fresh)
		dafs_store_drop(st);
}

/* --- stash --- */

errcode_t dafs_store_need_spool(struct dafs_store *st)
{
	if (st->spool.fd >= 0)
		return 0;
	if (is_ephemeral(st))
		return dafs_spool_open_ephemeral(
			&st->spool, st->img->dev->is_block ? NULL : st->img->dev->path);
	return dafs_spool_open(&st->spool, &st->place, st->state.spool_blks,
			       !(st->flags & DAFS_STORE_RDONLY));
}

static errcode_t may_put(struct dafs_store *st)
{
	if (!is_ephemeral(st) && !st->in_command)
		return dafs_fail(st->ctx, DAFS_ET_SEQUENCE, "pending bytes outside a command");
	return dafs_store_need_spool(st);
}

static errcode_t put(void *arg, const void *blocks, uint32_t nblks, struct dafs_source **src,
		     uint64_t *src_off_bytes)
{
	struct dafs_store *st = arg;
	errcode_t err = may_put(st);

	*src = &st->spool.source;
	return err ? err : dafs_spool_put(&st->spool, blocks, nblks, src_off_bytes);
}

static errcode_t put_fd(void *arg, int fd, uint64_t off, uint64_t len_bytes,
			struct dafs_source **src, uint64_t *src_off_bytes)
{
	struct dafs_store *st = arg;
	errcode_t err = may_put(st);

	*src = &st->spool.source;
	return err ? err : dafs_spool_put_fd(&st->spool, fd, off, len_bytes, src_off_bytes);
}

static void drop(void *arg, const struct dafs_page_run *gone)
{
	struct dafs_store *st = arg;

	dafs_spool_drop(&st->spool, gone);
}

const struct dafs_stash_ops *dafs_store_stash(void)
{
	static const struct dafs_stash_ops ops = { put, put_fd, drop };

	return &ops;
}
