/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store - see store.h: opening and closing, making and removing the cache, status.
 *
 * Transition -> function:
 *   closed -> dafs_store_open -> open (with or without a cache on disk)
 *   open -> dafs_store_begin -> in a command -> dafs_store_commit | dafs_store_rollback -> open
 *   open -> dafs_store_flush_begin -> flushing -> dafs_store_flush_end | dafs_store_flush_abort
 *   -> open
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

#define DB_FILE "cache.db"

/* --- making and removing --- */

static void set_up(struct dafs_store *st)
{
	dafs_spool_init(&st->spool, st->ctx, st->place.path ? st->place.path : "pending data",
			st->img->block_size);
	if (!(st->flags & DAFS_STORE_EPHEMERAL)) {
		st->spool.more = dafs_slots_more;
		st->spool.more_arg = st;
	}
}

static errcode_t open_place(struct dafs_store *st, bool create)
{
	char *path;
	errcode_t err;

	if (st->place.path)
		return 0;
	path = strdup(st->path);
	if (!path)
		return ENOMEM;
	err = dafs_place_open(st->ctx, path, create, !(st->flags & DAFS_STORE_RDONLY), &st->place);
	if (!err)
		set_up(st);
	return err;
}

static errcode_t remove_files(struct dafs_place *place)
{
	/* The database first: without it nothing is pending, whatever else is left behind. Its
	 * rollback journal says nothing about another database: it is empty but within a commit. */
	static const char *const files[] = { DB_FILE, DB_FILE "-journal", "spool", "spool.sum" };
	errcode_t err = 0;

	for (size_t i = 0; !err && i < sizeof(files) / sizeof(*files); i++)
		err = dafs_place_unlink(place, files[i]);
	return err;
}

errcode_t dafs_store_make(struct dafs_store *st)
{
	int fd;
	errcode_t err = open_place(st, true);

	/* What somebody left who died before a first commit, or while removing. */
	if (!err)
		err = remove_files(&st->place);
	if (!err)
		err = dafs_place_file(&st->place, DB_FILE, O_RDWR | O_CREAT | O_EXCL, &fd);
	if (err)
		return err;
	close(fd);
	st->fresh = true;
	err = dafs_db_open(st->ctx, st->place.path, DAFS_DB_FRESH, &st->db);
	if (!err)
		err = dafs_state_new(st);
	if (err)
		dafs_store_drop(st);
	return err;
}

errcode_t dafs_store_drop(struct dafs_store *st)
{
	bool own_dir = st->usual || st->place.made || st->state.own_dir;
	errcode_t err;

	dafs_db_close(&st->db);
	dafs_spool_fini(&st->spool);
	err = remove_files(&st->place);
	dafs_place_close(&st->place, !err && own_dir);
	memset(&st->state, 0, sizeof(st->state));
	st->fresh = false;
	set_up(st);
	return err;
}

errcode_t dafs_store_remove(struct dafs_image *img, const char *cache_dir)
{
	struct dafs_place place;
	char *path;
	errcode_t err = dafs_place_path(img, cache_dir, &path);

	if (!err)
		err = dafs_place_open(img->ctx, path, false, true, &place);
	if (err)
		return err;
	err = remove_files(&place);
	dafs_place_close(&place, !err);
	return err;
}

/* --- opening --- */

/* Is there a database with anything in it? ENOENT. */
static errcode_t look_for_db(struct dafs_place *place)
{
	struct stat st = { 0 };
	int fd;
	errcode_t err = dafs_place_file(place, DB_FILE, O_RDONLY, &fd);

	if (err)
		return err;
	if (fstat(fd, &st))
		err = dafs_fail(place->ctx, errno, "%s/%s", place->path, DB_FILE);
	close(fd);
	return !err && !st.st_size ? ENOENT : err;
}

static errcode_t open_db(struct dafs_store *st)
{
	int how = st->flags & DAFS_STORE_RDONLY ? DAFS_DB_RDONLY : 0;
	errcode_t err = open_place(st, false);

	if (!err)
		err = look_for_db(&st->place);
	return err ? err : dafs_db_open(st->ctx, st->place.path, how, &st->db);
}

/* *none: there is no cache, or one that nothing was ever committed to (ENOENT). */
static errcode_t open_existing(struct dafs_store *st, bool *none)
{
	errcode_t err = open_db(st);

	*none = err == ENOENT;
	if (!err)
		err = dafs_state_load(st);
	if (!err)
		err = dafs_state_check_uuid(st);
	if (!err && st->state.spool_blks)
		err = dafs_store_need_spool(st);
	if (!err)
		err = dafs_bracket_settle(st);
	if (err == ENOENT && !*none && !(st->flags & DAFS_STORE_RDONLY))
		err = dafs_fail(st->ctx, DAFS_ET_INTERNAL, "%s", st->path);
	return err;
}

/* There is no cache; what somebody left who died while making or removing one goes. */
static errcode_t clear_leftovers(struct dafs_store *st, bool create)
{
	errcode_t err = st->place.path ? dafs_store_drop(st) : 0;

	return err || create ? err : ENOENT;
}

static struct dafs_store *store_new(struct dafs_image *img, const char *cache_dir, int flags)
{
	struct dafs_store *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->ctx = img->ctx;
	st->img = img;
	st->flags = flags;
	st->usual = !cache_dir;
	st->place.fd = -1;
	set_up(st);
	return st;
}

errcode_t dafs_store_open_unjudged(struct dafs_image *img, const char *cache_dir, errcode_t *why,
				   struct dafs_store **ret)
{
	struct dafs_store *st = store_new(img, cache_dir, DAFS_STORE_RDONLY);
	errcode_t err;

	*ret = NULL;
	*why = 0;
	if (!st)
		return ENOMEM;
	err = dafs_place_path(img, cache_dir, &st->path);
	if (!err)
		err = open_db(st);
	if (!err)
		err = dafs_db_verify(&st->db);
	if (err == DAFS_ET_CACHE_DAMAGED) {
		*why = err;
		dafs_db_close(&st->db);
		err = dafs_db_open(st->ctx, st->place.path, DAFS_DB_SALVAGE, &st->db);
	}
	if (err)
		dafs_store_close(st);
	else
		*ret = st;
	return err;
}

errcode_t dafs_store_open(struct dafs_image *img, const char *cache_dir, int flags,
			  struct dafs_store **ret)
{
	struct dafs_store *st = store_new(img, cache_dir, flags);
	bool none = false;
	errcode_t err = 0;

	*ret = NULL;
	if (!st)
		return ENOMEM;
	if (!(flags & DAFS_STORE_EPHEMERAL)) {
		err = dafs_place_path(img, cache_dir, &st->path);
		if (!err)
			err = open_existing(st, &none);
		if (err == ENOENT && none && !(flags & DAFS_STORE_RDONLY))
			err = clear_leftovers(st, flags & DAFS_STORE_CREATE);
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
	dafs_store_rollback(st);
	dafs_db_close(&st->db);
	dafs_spool_fini(&st->spool);
	dafs_place_close(&st->place, false);
	dafs_rec_buf_fini(&st->buf);
	free(st->path);
	free(st);
}

const struct dafs_ns_backing *dafs_store_backing(void)
{
	return &dafs_load_backing;
}

errcode_t dafs_store_exists(struct dafs_image *img, const char *cache_dir, bool *exists)
{
	char *path, *file = NULL;
	struct stat st;
	errcode_t err = dafs_place_path(img, cache_dir, &path);

	*exists = false;
	if (!err && asprintf(&file, "%s/%s", path, DB_FILE) < 0)
		err = ENOMEM;
	if (!err)
		*exists = !lstat(file, &st) && (!S_ISREG(st.st_mode) || st.st_size);
	free(file);
	free(path);
	return err;
}

errcode_t dafs_store_status(struct dafs_store *st, struct dafs_store_status *out)
{
	struct dafs_store_status all = { .size = sizeof(all) };
	int64_t inodes = 0, names = 0, free_blks = 0;
	errcode_t err = 0;

	if (st->db.handle) {
		err = dafs_db_number(&st->db, "SELECT count(*) FROM inode", &inodes);
		if (!err)
			err = dafs_db_number(&st->db, "SELECT count(*) FROM name", &names);
		if (!err)
			err = dafs_db_number(&st->db, "SELECT coalesce(sum(len), 0) FROM slot",
					     &free_blks);
		strncpy(all.place, st->place.path, sizeof(all.place) - 1);
	}
	if (err)
		return err;
	all.inodes = (uint64_t)inodes;
	all.names = (uint64_t)names;
	all.spool_bytes = st->spool.end_blks * st->spool.block_size;
	all.free_bytes = (uint64_t)free_blks * st->spool.block_size;
	all.commands = st->state.commands;
	memcpy(out, &all, out->size < sizeof(all) ? out->size : sizeof(all));
	return 0;
}

void dafs_store_effort(struct dafs_store *st, struct dafs_store_effort *out)
{
	int pages = 0, high;

	*out = (struct dafs_store_effort){ 0 };
	if (!st->db.handle)
		return;
	out->rows = st->db.rows;
	for (size_t i = 0; i < DAFS_DB_STMTS; i++) {
		if (st->db.stmt[i])
			out->steps += (uint64_t)sqlite3_stmt_status(st->db.stmt[i],
								    SQLITE_STMTSTATUS_VM_STEP, 0);
	}
	sqlite3_db_status(st->db.handle, SQLITE_DBSTATUS_CACHE_MISS, &pages, &high, 0);
	out->pages = (uint64_t)pages;
}
