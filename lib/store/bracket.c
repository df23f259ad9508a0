/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bracket - around a flush: what makes it happen exactly once, whatever instant the process dies
 * at.
 *
 * The tag goes into table flush, durable, before the image is touched, and into the image with
 * the commit itself (txn.h). As long as the row is there, who opens the cache asks the image for
 * the tag. It is derived from the image's state, the last commit's mark among it: none comes
 * twice, and the same work gives the same image.
 *
 * Not committed: the row goes, everything is pending still. Committed, and it took everything:
 * the cache goes. Committed, and it took a part (table flushed has its inodes and the numbers
 * they got): settled as its own process would have done.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "image/txn.h"
#include "write/qlimit.h"

/* --- begin --- */

static errcode_t make_tag(struct dafs_store *st)
{
	const struct ext2_super_block *sb = st->img->fs->super;
	uint8_t uuid[16], from[20];
	uint64_t print;
	errcode_t err = dafs_image_fingerprint(st->img, uuid, &print);

	for (size_t i = 0; i < 8; i++)
		from[i] = (uint8_t)(print >> 8 * i);
	memcpy(from + 8, &sb->s_snapshot_r_blocks_count, 8);
	memcpy(from + 16, &sb->s_snapshot_id, 4);
	uuid_generate_sha1(st->tag, uuid, (const char *)from, sizeof(from));
	return err;
}

static errcode_t put_flush_row(struct dafs_store *st, bool everything, bool by_redo)
{
	struct dafs_traces traces;
	sqlite3_stmt *stmt;
	errcode_t err = dafs_traces_take(st->img, &traces);

	if (!err)
		err = dafs_db_use(&st->db, DAFS_DB_FLUSH_PUT, &stmt);
	if (err)
		return err;
	traces.by_redo = by_redo;
	sqlite3_bind_blob(stmt, 1, st->tag, sizeof(st->tag), SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, everything);
	dafs_state_bind_traces(stmt, 3, &traces);
	return dafs_db_run(&st->db, stmt);
}

static errcode_t put_flushed(struct dafs_store *st, const struct dafs_ns_flushed *flushed)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_FLUSHED_PUT, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)flushed->id);
	sqlite3_bind_int64(stmt, 2, flushed->ino);
	sqlite3_bind_int64(stmt, 3, flushed->cut_lblk);
	return dafs_db_run(&st->db, stmt);
}

struct planned {
	struct dafs_store *st;
	const struct dafs_changeset *cs;
};

static errcode_t put_planned(void *arg, const struct dafs_inode *inode, uint32_t ino,
			     const struct dafs_plan_extent *ext, size_t n_ext, uint32_t n_runs)
{
	const struct planned *planned = arg;

	(void)ext, (void)n_ext, (void)n_runs;
	return put_flushed(planned->st, &(struct dafs_ns_flushed){
						.id = inode->id,
						.ino = ino,
						.cut_lblk = dafs_ns_cut_of(planned->cs, inode),
					});
}

/* Every inode of the set with its number, which the plan knows, and where a file is cut. */
static errcode_t put_set(struct dafs_store *st, const struct dafs_changeset *cs,
			 struct dafs_plan *plan)
{
	struct planned planned = { st, cs };
	errcode_t err = dafs_db_exec(&st->db, "DELETE FROM flushed");

	return err ? err : dafs_plan_walk(plan, put_planned, &planned);
}

/* Before the first pass: what is loaded row by row does not miss a row that cannot be reached. */
static errcode_t verify_once(struct dafs_store *st)
{
	errcode_t err = st->verified ? 0 : dafs_db_verify(&st->db);

	st->verified = !err;
	return err;
}

errcode_t dafs_store_flush_begin(struct dafs_store *st, const struct dafs_changeset *cs,
				 struct dafs_plan *plan, const void **tag, size_t *tag_len)
{
	bool everything = dafs_ns_covers_all(cs);
	errcode_t err;

	*tag = NULL;
	*tag_len = 0;
	if (!st->db.handle)
		return 0;
	err = verify_once(st);
	if (!err)
		err = dafs_origin_check(st, cs);
	if (!err)
		err = dafs_txn_open(st);
	if (err)
		return err;
	err = make_tag(st);
	if (!err)
		err = put_flush_row(st, everything, dafs_plan_bypasses_journal(plan));
	if (!err && !everything)
		err = put_set(st, cs, plan);
	if (!err)
		err = dafs_txn_close(st);
	if (err) {
		dafs_txn_undo(st);
		return err;
	}
	dafs_spool_probe_clones(&st->spool);
	*tag = st->tag;
	*tag_len = sizeof(st->tag);
	return 0;
}

/* --- end --- */

static errcode_t clear_flush(struct dafs_store *st)
{
	return dafs_db_exec(&st->db, "DELETE FROM flush; DELETE FROM flushed");
}

static errcode_t delete_flushed(struct dafs_store *st, const struct dafs_changeset *cs)
{
	size_t n;
	const struct dafs_ns_collected *set = dafs_ns_collected(cs, &n);
	errcode_t err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		err = dafs_save_delete(st, set[i].id, true, set[i].rows);
		if (!err && set[i].id < DAFS_ID_NEW)
			err = dafs_origin_forget(st, set[i].id);
	}
	return err;
}

errcode_t dafs_store_flush_end(struct dafs_store *st, const struct dafs_changeset *cs,
			       struct dafs_ns *ns, const struct dafs_reserve *rs)
{
	errcode_t err;

	if (!st->db.handle)
		return 0;
	if (dafs_ns_covers_all(cs)) {
		dafs_ns_unchanged(ns);
		return dafs_store_drop(st);
	}
	err = dafs_txn_open(st);
	if (err)
		return err;
	err = delete_flushed(st, cs);
	if (!err)
		err = dafs_save(st, ns, rs);
	if (!err)
		err = dafs_slots_save(st);
	if (!err)
		err = clear_flush(st);
	if (!err)
		err = dafs_state_bind(st);
	if (!err)
		err = dafs_txn_close(st);
	if (err) {
		dafs_txn_undo(st);
		st->failed = true;
	}
	return err;
}

static errcode_t forget_flush(struct dafs_store *st)
{
	errcode_t err = dafs_txn_open(st);

	if (!err)
		err = clear_flush(st);
	if (!err)
		err = dafs_txn_close(st);
	if (err)
		dafs_txn_undo(st);
	return err;
}

void dafs_store_flush_abort(struct dafs_store *st)
{
	/* A row that is left behind does no harm: the image will say that this flush did not
	 * happen. */
	if (st->db.handle)
		forget_flush(st);
}

/* --- after a crash --- */

static errcode_t load_flushed(struct dafs_store *st, struct dafs_ns_flushed **list, size_t *n)
{
	sqlite3_stmt *stmt;
	int64_t count;
	bool row;
	errcode_t err = dafs_db_number(&st->db, "SELECT count(*) FROM flushed", &count);

	*n = 0;
	if (err)
		return err;
	*list = malloc(((size_t)count + 1) * sizeof(**list));
	if (!*list)
		return ENOMEM;
	err = dafs_db_use(&st->db, DAFS_DB_FLUSHED_ALL, &stmt);
	while (!err && *n < (size_t)count && !(err = dafs_db_step(&st->db, stmt, &row)) && row) {
		(*list)[(*n)++] = (struct dafs_ns_flushed){
			.id = (uint64_t)sqlite3_column_int64(stmt, 0),
			.ino = (uint32_t)sqlite3_column_int64(stmt, 1),
			.cut_lblk = (uint32_t)sqlite3_column_int64(stmt, 2),
		};
	}
	if (!err)
		sqlite3_reset(stmt);
	return err;
}

static errcode_t settle_part(struct dafs_store *st)
{
	struct dafs_reserve rs;
	struct dafs_write w = {
		.img = st->img, .reserve = &rs, .stash = dafs_store_stash(), .stash_arg = st
	};
	struct dafs_ns_flushed *list = NULL;
	struct dafs_changeset cs = { 0 };
	struct dafs_ns *ns = NULL;
	size_t n;
	errcode_t err = load_flushed(st, &list, &n);

	/* The counters are those from before, the image's from after: they come together when
	 * the set is settled. */
	dafs_ns_reserve_init(st->img, &rs);
	rs.free_clusters += st->state.dirty + st->state.promised;
	rs.free_inodes += st->state.inodes;
	if (!err)
		err = dafs_store_load_reserve(st, &rs);
	if (!err)
		err = dafs_qlimit_open(st->img, &w.limits);
	if (!err)
		err = dafs_ns_new(st->img, &w, &dafs_load_backing, st, &ns);
	if (!err)
		err = dafs_ns_recollect(ns, list, n, &cs);
	if (!err) {
		dafs_ns_settled(ns, &cs);
		err = dafs_ns_recharge(ns);
		if (!err)
			err = dafs_store_flush_end(st, &cs, ns, &rs);
		dafs_ns_uncollect(ns, &cs);
	}
	dafs_ns_free(ns);
	dafs_qlimit_free(w.limits);
	free(list);
	return err;
}

static errcode_t stale(struct dafs_store *st)
{
	return dafs_fail(st->ctx, DAFS_ET_CACHE_STALE,
			 "%s, after an interrupted flush (its cache: %s)", st->img->dev->address,
			 st->place.path);
}

struct flush_row {
	bool there, everything;
	struct dafs_traces traces;
};

static errcode_t load_flush_row(struct dafs_store *st, struct flush_row *flush)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_FLUSH_GET, &stmt);

	if (!err)
		err = dafs_db_step(&st->db, stmt, &flush->there);
	if (err || !flush->there)
		return err;
	if (sqlite3_column_bytes(stmt, 0) == DAFS_STORE_TAG_BYTES)
		memcpy(st->tag, sqlite3_column_blob(stmt, 0), sizeof(st->tag));
	else
		err = dafs_db_damaged(&st->db, "row of flush, tag bytes:",
				      (uint64_t)sqlite3_column_bytes(stmt, 0));
	flush->everything = sqlite3_column_int64(stmt, 1);
	dafs_state_column_traces(stmt, 2, &flush->traces);
	sqlite3_reset(stmt);
	return err;
}

/* It did not happen: everything is pending over the image as it was, unless somebody changed
 * that. */
static errcode_t settle_nothing(struct dafs_store *st)
{
	errcode_t err;

	if (st->flags & DAFS_STORE_RDONLY)
		return 0;
	err = dafs_state_bind(st);
	return err ? err : forget_flush(st);
}

static bool is_committed(const struct dafs_store *st)
{
	return dafs_txn_last_tag_is(st->img, st->tag, sizeof(st->tag));
}

errcode_t dafs_bracket_in_image(struct dafs_store *st, bool *in_image)
{
	struct flush_row flush;
	errcode_t err = load_flush_row(st, &flush);

	*in_image = !err && flush.there && flush.everything && is_committed(st);
	return err;
}

errcode_t dafs_bracket_settle(struct dafs_store *st)
{
	bool reader = st->flags & DAFS_STORE_RDONLY, committed, ours;
	struct dafs_traces now;
	struct flush_row flush;
	errcode_t err = load_flush_row(st, &flush);

	if (err)
		return err;
	if (!flush.there)
		return dafs_state_check_print(st);
	committed = is_committed(st);
	/* Nothing is left that another change could meet. */
	if (committed && flush.everything)
		return reader ? ENOENT : dafs_store_drop(st);
	err = dafs_traces_take(st->img, &now);
	if (!err)
		err = dafs_traces_ours(st->img, &flush.traces, &now, committed, &ours);
	if (err)
		return err;
	if (!ours)
		return stale(st);
	if (!committed)
		return settle_nothing(st);
	if (reader)
		return dafs_fail(st->ctx, DAFS_ET_NEEDS_RECOVERY,
				 "%s: an interrupted flush is finished by the next change",
				 st->place.path);
	dafs_notice(st->ctx, "%s: finishing an interrupted flush", st->place.path);
	return settle_part(st);
}
