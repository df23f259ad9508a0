/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * settle - which image a cache belongs to, and what became of a flush that did not end.
 *
 * meta keys: uuid_hi, uuid_lo, print bind the cache. flush_print, flush_count are the tag of a flush under way (durable before
 * its commit), flush_all says whether it takes everything; otherwise the table flushing maps every id of its change set to the
 * inode number it was to get.
 *
 * An interrupted flush whose tag the image does not carry did not happen: the marks go, everything is pending still. One that
 * committed took everything: the cache goes. One that committed took a part: its inodes' rows go, what remains follows the
 * new numbers, and a name stays pending only if it differs from what the image has now.
 */
#include "config.h"

#include "store/store_int.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/dircodec.h"
#include "image/icodec.h"
#include "image/txn.h"
#include "ns/dir.h"

static void uuid_halves(const uint8_t uuid[16], uint64_t half[2])
{
	memcpy(half, uuid, 16);
	half[0] = be64toh(half[0]);
	half[1] = be64toh(half[1]);
}

errcode_t dafs_bind(struct dafs_store *st)
{
	uint8_t uuid[16];
	uint64_t print, half[2];
	errcode_t err = dafs_image_fingerprint(st->img, uuid, &print);

	if (err)
		return err;
	uuid_halves(uuid, half);
	err = dafs_db_meta_put(st, "uuid_hi", half[0]);
	if (!err)
		err = dafs_db_meta_put(st, "uuid_lo", half[1]);
	return err ? err : dafs_db_meta_put(st, "print", print);
}

static errcode_t meta_get(struct dafs_store *st, const char *key, uint64_t *value)
{
	errcode_t err = dafs_db_meta_get(st, key, value);

	return err == ENOENT ? dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: no %s", st->place, key) : err;
}

static errcode_t check_uuid(struct dafs_store *st, uint64_t *print_now)
{
	uint64_t want[2], have[2];
	uint8_t uuid[16];
	errcode_t err = dafs_image_fingerprint(st->img, uuid, print_now);

	if (!err)
		err = meta_get(st, "uuid_hi", &have[0]);
	if (!err)
		err = meta_get(st, "uuid_lo", &have[1]);
	if (err)
		return err;
	uuid_halves(uuid, want);
	if (memcmp(want, have, sizeof(want)))
		return dafs_fail(st->ctx, DAFS_ET_CACHE_FOREIGN, "%s", st->place);
	return 0;
}

static errcode_t check_print(struct dafs_store *st, uint64_t print_now)
{
	uint64_t print;
	errcode_t err = meta_get(st, "print", &print);

	if (!err && print != print_now)
		err = dafs_fail(st->ctx, DAFS_ET_CACHE_STALE, "%s (its cache: %s)", st->img->dev->address, st->place);
	return err;
}

static void make_tag(struct dafs_store *st, uint64_t print, uint64_t count)
{
	print = htole64(print);
	count = htole64(count);
	memcpy(st->tag, &print, 8);
	memcpy(st->tag + 8, &count, 8);
}

/* ---- the bracket ---- */

static errcode_t note_one(void *arg, const struct dafs_inode *inode, uint32_t ino, const struct dafs_plan_extent *ext, size_t n_ext,
			  uint32_t n_runs)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_FLUSHING_PUT, &stmt);

	(void)ext;
	(void)n_ext;
	(void)n_runs;
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)inode->id);
	sqlite3_bind_int64(stmt, 2, ino);
	return dafs_db_run(st, stmt);
}

errcode_t dafs_store_flush_begin(struct dafs_store *st, const struct dafs_changeset *cs, struct dafs_plan *plan, const void **tag,
				 size_t *tag_len)
{
	bool all = dafs_ns_covers_all(cs);
	uint8_t uuid[16];
	uint64_t print;
	errcode_t err;

	*tag = NULL;
	*tag_len = 0;
	if (!st->db)
		return 0;
	err = dafs_image_fingerprint(st->img, uuid, &print);
	if (!err)
		err = dafs_db_exec(st, "BEGIN IMMEDIATE; DELETE FROM flushing");
	if (!err)
		err = dafs_db_meta_put(st, "flush_print", print);
	if (!err)
		err = dafs_db_meta_put(st, "flush_count", st->commands);
	if (!err)
		err = dafs_db_meta_put(st, "flush_all", all);
	if (!err && !all)
		err = dafs_plan_walk(plan, note_one, st);
	if (!err)
		err = dafs_db_exec(st, "COMMIT");
	if (err) {
		sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
		return err;
	}
	make_tag(st, print, st->commands);
	*tag = st->tag;
	*tag_len = sizeof(st->tag);
	return 0;
}

static errcode_t drop_marks(struct dafs_store *st)
{
	return dafs_db_exec(st, "DELETE FROM flushing; DELETE FROM meta WHERE key IN ('flush_print', 'flush_count', 'flush_all')");
}

void dafs_store_flush_abort(struct dafs_store *st)
{
	if (!st->db)
		return;
	/* Left behind they do no harm: the image will say that this flush did not happen. */
	if (!sqlite3_exec(st->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) && drop_marks(st))
		sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
	else
		sqlite3_exec(st->db, "COMMIT", NULL, NULL, NULL);
}

/* ---- a part was flushed, and the process died before it could say so ---- */

/* The number that id got; id itself when it was not in that flush. */
static uint64_t renumbered(struct dafs_store *st, sqlite3_stmt *find, uint64_t id)
{
	uint64_t ino = id;

	(void)st;
	sqlite3_reset(find);
	sqlite3_bind_int64(find, 1, (sqlite3_int64)id);
	if (sqlite3_step(find) == SQLITE_ROW && sqlite3_column_int64(find, 0))
		ino = (uint64_t)sqlite3_column_int64(find, 0);
	sqlite3_reset(find);
	return ino;
}

/* What the image has under a name of directory ino: 0 for nothing. */
static errcode_t image_has(struct dafs_store *st, uint32_t ino, const char *name, uint8_t len, uint32_t *child)
{
	union {
		struct ext2_inode_large raw;
		uint8_t bytes[4096];
	} in;
	struct dafs_dirent_view de;
	errcode_t err = dafs_icodec_read(st->img, ino, &in.raw, st->img->inode_size);

	*child = 0;
	if (!err)
		err = dafs_dircodec_lookup(st->img, ino, &in.raw, name, len, &de);
	if (!err)
		*child = de.ino;
	return err == ENOENT ? 0 : err;
}

/* Pending rows under their new numbers, into a table of their own: a name that the image has by now is left out. */
static errcode_t copy_names(struct dafs_store *st, sqlite3_stmt *find)
{
	sqlite3_stmt *all = NULL, *put = NULL;
	errcode_t err = dafs_db_exec(st, "CREATE TEMP TABLE left_name AS SELECT * FROM name WHERE 0");

	if (err)
		return err;
	if (sqlite3_prepare_v2(st->db, "SELECT dir, name, id, type, recased FROM name", -1, &all, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(st->db, "INSERT INTO left_name(dir, name, id, image_ino, type, recased) VALUES(?1,?2,?3,?4,?5,?6)", -1,
			       &put, NULL) != SQLITE_OK)
		err = dafs_db_fail(st);
	while (!err && sqlite3_step(all) == SQLITE_ROW) {
		uint64_t dir = renumbered(st, find, (uint64_t)sqlite3_column_int64(all, 0));
		uint64_t id = renumbered(st, find, (uint64_t)sqlite3_column_int64(all, 2));
		int len = sqlite3_column_bytes(all, 1);
		uint32_t child = 0;

		if (dir < DAFS_ID_NEW)
			err = image_has(st, (uint32_t)dir, sqlite3_column_blob(all, 1), (uint8_t)len, &child);
		if (err || child == id)
			continue;
		sqlite3_reset(put);
		sqlite3_bind_int64(put, 1, (sqlite3_int64)dir);
		sqlite3_bind_blob(put, 2, sqlite3_column_blob(all, 1), len, SQLITE_TRANSIENT);
		sqlite3_bind_int64(put, 3, (sqlite3_int64)id);
		sqlite3_bind_int64(put, 4, child);
		sqlite3_bind_int64(put, 5, sqlite3_column_int64(all, 3));
		sqlite3_bind_int64(put, 6, sqlite3_column_int64(all, 4));
		err = sqlite3_step(put) == SQLITE_DONE ? 0 : dafs_db_fail(st);
	}
	sqlite3_finalize(all);
	sqlite3_finalize(put);
	return err ? err : dafs_db_exec(st, "DELETE FROM name; INSERT INTO name SELECT * FROM left_name; DROP TABLE left_name");
}

/* A directory's counters from the rows that are left. */
static errcode_t count_names(struct dafs_store *st, struct dafs_inode *dir)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_NAMES_OF, &stmt);

	if (err)
		return err;
	if (!dir->u.dir && !(dir->u.dir = dafs_dir_new()))
		return ENOMEM;
	dir->u.dir->add_bytes = dir->u.dir->add_names = dir->u.dir->del_names = 0;
	dir->u.dir->flags = 0;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)dir->id);
	while (!(err = dafs_db_step(st, stmt))) {
		if (sqlite3_column_int64(stmt, 1)) {
			dir->u.dir->add_names++;
			dir->u.dir->add_bytes += dafs_name_entry_bytes((uint8_t)sqlite3_column_bytes(stmt, 0));
		}
		dir->u.dir->del_names += sqlite3_column_int64(stmt, 2) != 0;
	}
	return err == ENOENT ? 0 : err;
}

/* One row of the inode table, after the names: dropped with its slots, kept under its new number, or kept as it is. */
static errcode_t carry_inode(struct dafs_store *st, sqlite3_stmt *find, uint64_t id, struct dafs_reserve *rs)
{
	struct dafs_inode inode = { .id = id };
	uint64_t ino = renumbered(st, find, id);
	bool flushed = ino != id;
	struct dafs_ns_promise promise;
	sqlite3_stmt *stmt;
	uint8_t *blob = NULL;
	size_t len;
	errcode_t err = dafs_names_backing.load_inode(st, &inode);

	/* An image inode of the set keeps its number: the table has it as its own. */
	if (!flushed) {
		sqlite3_reset(find);
		sqlite3_bind_int64(find, 1, (sqlite3_int64)id);
		flushed = sqlite3_step(find) == SQLITE_ROW;
		sqlite3_reset(find);
	}
	if (!err && flushed) {
		struct dafs_page_run run;

		for (uint32_t at = 0; S_ISREG(inode.mode) && inode.u.file &&
				      dafs_pagecache_find(&inode.u.file->pages, at, UINT32_MAX, &run);
		     at = run.lblk + run.len)
			dafs_spool_stash()->drop(st, &run);
		err = dafs_db_stmt(st, DAFS_SQL_INODE_DEL, &stmt);
		if (!err) {
			sqlite3_bind_int64(stmt, 1, (sqlite3_int64)id);
			err = dafs_db_run(st, stmt);
		}
		inode.id = ino;
		inode.ino = (uint32_t)ino;
	}
	if (!err && S_ISDIR(inode.mode) && flushed) {
		err = count_names(st, &inode);
		inode.state = DAFS_I_ATTR | DAFS_I_NAMES;
		flushed = !err && !inode.u.dir->add_names && !inode.u.dir->del_names;
	}
	if (!err && !flushed) {
		inode.parent = renumbered(st, find, inode.parent);
		promise = dafs_ns_promised(st->img, &inode);
		rs->promised_clusters += promise.clusters;
		rs->promised_inodes += promise.inodes;
		if (S_ISREG(inode.mode) && inode.u.file) {
			rs->dirty_clusters += inode.u.file->reserved_clusters;
			rs->promised_clusters += inode.u.file->promised_clusters;
		}
		err = dafs_blob_encode(st, &inode, &blob, &len);
		if (!err)
			err = dafs_db_stmt(st, DAFS_SQL_INODE_PUT, &stmt);
		if (!err) {
			sqlite3_bind_int64(stmt, 1, (sqlite3_int64)inode.id);
			sqlite3_bind_blob64(stmt, 2, blob, len, SQLITE_STATIC);
			err = dafs_db_run(st, stmt);
		}
		free(blob);
	}
	dafs_store_free_inode(&inode);
	return err;
}

struct id_list {
	uint64_t *v;
	size_t n, room;
};

static errcode_t add_id(void *arg, uint64_t id)
{
	struct id_list *list = arg;

	if (list->n == list->room) {
		size_t room = list->room ? list->room * 2 : 256;
		uint64_t *v = realloc(list->v, room * sizeof(*v));

		if (!v)
			return ENOMEM;
		list->v = v;
		list->room = room;
	}
	list->v[list->n++] = id;
	return 0;
}

static errcode_t carry_rest(struct dafs_store *st)
{
	struct dafs_reserve rs = { 0 };
	struct id_list ids = { 0 };
	sqlite3_stmt *find = NULL;
	errcode_t err = dafs_db_exec(st, "BEGIN IMMEDIATE");

	if (err)
		return err;
	if (sqlite3_prepare_v2(st->db, "SELECT ino FROM flushing WHERE id = ?1", -1, &find, NULL) != SQLITE_OK)
		err = dafs_db_fail(st);
	if (!err)
		err = dafs_names_backing.load_all(st, add_id, &ids);
	if (!err)
		err = copy_names(st, find);
	for (size_t i = 0; i < ids.n && !err; i++)
		err = carry_inode(st, find, ids.v[i], &rs);
	sqlite3_finalize(find);
	free(ids.v);
	rs.bound_clusters = rs.promised_clusters;
	if (!err)
		err = dafs_store_save_reserve(st, &rs);
	if (!err)
		err = dafs_spool_save(st);
	if (!err)
		err = drop_marks(st);
	if (!err)
		err = dafs_bind(st);
	if (!err)
		err = dafs_db_exec(st, "COMMIT");
	if (err)
		sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
	else
		dafs_spool_saved(st);
	return err;
}

static errcode_t forget_flush(struct dafs_store *st)
{
	errcode_t err = dafs_db_exec(st, "BEGIN IMMEDIATE");

	if (!err)
		err = drop_marks(st);
	return err ? err : dafs_db_exec(st, "COMMIT");
}

errcode_t dafs_settle(struct dafs_store *st)
{
	uint64_t print, flush_print, count, all, now;
	bool reader = st->flags & DAFS_STORE_RDONLY;
	errcode_t err = check_uuid(st, &now);

	if (err)
		return err;
	err = dafs_db_meta_get(st, "flush_print", &flush_print);
	if (err == ENOENT)
		return check_print(st, now);
	if (!err)
		err = meta_get(st, "flush_count", &count);
	if (!err)
		err = meta_get(st, "flush_all", &all);
	if (!err)
		err = meta_get(st, "print", &print);
	if (err)
		return err;
	make_tag(st, flush_print, count);
	if (!dafs_txn_last_tag_is(st->img, st->tag, sizeof(st->tag))) {
		err = check_print(st, now);
		return err || reader ? err : forget_flush(st);
	}
	if (all && reader)
		return ENOENT;
	if (all)
		return dafs_store_drop(st);
	if (reader)
		return dafs_fail(st->ctx, DAFS_ET_NEEDS_RECOVERY, "%s: an interrupted flush is finished by the next change", st->place);
	dafs_notice(st->ctx, "%s: finishing an interrupted flush", st->place);
	return carry_rest(st);
}
