/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* recover - see recover.h. */
#include "config.h"

#include "store/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ns/dir.h"
#include "store/store_int.h"

/* --- opening --- */

/* As much of the spool as there is. A slot that is missing fails when it is read. */
static void open_spool(struct dafs_store *st, errcode_t *why)
{
	errcode_t err = dafs_store_need_spool(st);

	if (!*why)
		*why = err;
	if (err)
		dafs_spool_open(&st->spool, &st->place, 0, false);
	st->spool.end_blks = UINT32_MAX;
}

/* What an ordinary opening says; ENOENT: the image has everything. */
static errcode_t judge(struct dafs_store *st)
{
	bool in_image;
	errcode_t err = dafs_bracket_in_image(st, &in_image);

	if (!err && in_image)
		return ENOENT;
	if (!err)
		err = dafs_state_load(st);
	if (!err)
		err = dafs_state_check_uuid(st);
	if (!err)
		err = dafs_state_check_print(st);
	return err;
}

errcode_t dafs_recover_open(struct dafs_image *img, const char *cache_dir, errcode_t *why,
			    struct dafs_store **ret)
{
	struct dafs_store *st;
	errcode_t err = dafs_store_open_unjudged(img, cache_dir, &st);

	*ret = NULL;
	*why = 0;
	if (err)
		return err;
	*why = judge(st);
	if (*why == ENOENT) {
		dafs_store_close(st);
		return ENOENT;
	}
	open_spool(st, why);
	*ret = st;
	return 0;
}

/* --- walking --- */

struct walk {
	struct dafs_store *st;
	const struct dafs_recover_watch *watch;
	void *arg;
	/* The key that the way up has come to. */
	int64_t last_id;
	char last_name[EXT2_NAME_LEN];
	int last_len;
};

__attribute__((format(printf, 2, 3))) static void lost(const struct walk *w, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (!w->watch->lost)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	w->watch->lost(w->arg, line);
}

static void free_inode(struct dafs_inode *inode)
{
	if (S_ISREG(inode->mode) && !(inode->state & DAFS_I_WHOLE))
		dafs_file_free(inode->u.file);
	else if (S_ISDIR(inode->mode))
		dafs_dir_free(inode->u.dir,
			      NULL); /* it has no names: those are in rows of their own */
	else if (S_ISLNK(inode->mode))
		free(inode->u.target);
	dafs_xattr_free(&inode->xattrs);
}

static errcode_t take_inode(struct walk *w, sqlite3_stmt *stmt)
{
	struct dafs_inode inode = { .id = (uint64_t)sqlite3_column_int64(stmt, 0) };
	errcode_t err = dafs_load_row(w->st, sqlite3_column_blob(stmt, 1),
				      (size_t)sqlite3_column_bytes(stmt, 1), &inode);

	if (err == DAFS_ET_CACHE_DAMAGED) {
		lost(w, "inode %" PRIu64 ": %s", inode.id,
		     inode.mode ? "a part of its data" : "damaged");
		err = 0;
	}
	/* The attributes have a checksum of their own: where they are there, they are right. */
	if (!err && inode.mode)
		err = w->watch->inode(w->arg, &inode);
	free_inode(&inode);
	return err;
}

static errcode_t take_name(struct walk *w, sqlite3_stmt *stmt)
{
	uint64_t dir = (uint64_t)sqlite3_column_int64(stmt, 0);
	struct dafs_ns_name name;
	errcode_t err = dafs_load_name_row(w->st, stmt, dir, &name);

	if (err == DAFS_ET_CACHE_DAMAGED) {
		lost(w, "a name in directory %" PRIu64, dir);
		return 0;
	}
	return err || !name.id ? err : w->watch->name(w->arg, dir, &name);
}

struct table {
	const char *up, *down;
	errcode_t (*take)(struct walk *w, sqlite3_stmt *stmt);
};

static const struct table names_table = {
	"SELECT dir, id, image, kind, sum, name FROM name ORDER BY dir, name",
	"SELECT dir, id, image, kind, sum, name FROM name WHERE (dir, name) > (?1, ?2)"
	" ORDER BY dir DESC, name DESC",
	take_name,
};
static const struct table inodes_table = {
	"SELECT id, rec FROM inode ORDER BY id",
	"SELECT id, rec FROM inode WHERE id > ?1 ORDER BY id DESC",
	take_inode,
};

static void note_key(struct walk *w, sqlite3_stmt *stmt)
{
	int column = sqlite3_column_count(stmt) - 1, len = sqlite3_column_bytes(stmt, column);

	w->last_id = sqlite3_column_int64(stmt, 0);
	w->last_len = len > 0 && len <= EXT2_NAME_LEN ? len : 0;
	if (w->last_len)
		memcpy(w->last_name, sqlite3_column_blob(stmt, column), (size_t)len);
}

/* Rows in one direction. DAFS_ET_CACHE_DAMAGED: up to a page that is damaged. */
static errcode_t walk_rows(struct walk *w, const struct table *t, bool down)
{
	struct dafs_db *db = &w->st->db;
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	errcode_t err = 0;

	if (sqlite3_prepare_v2(db->handle, down ? t->down : t->up, -1, &stmt, NULL) != SQLITE_OK)
		return dafs_db_error(db, sqlite3_errcode(db->handle));
	if (down) {
		sqlite3_bind_int64(stmt, 1, w->last_id);
		if (sqlite3_bind_parameter_count(stmt) > 1)
			sqlite3_bind_blob(stmt, 2, w->last_name, w->last_len, SQLITE_STATIC);
	}
	while (!err && !(err = dafs_db_step(db, stmt, &row)) && row) {
		if (!down)
			note_key(w, stmt);
		err = t->take(w, stmt);
	}
	sqlite3_finalize(stmt);
	return err;
}

static errcode_t walk_table(struct walk *w, const struct table *t)
{
	errcode_t err;

	w->last_id = INT64_MIN;
	w->last_len = 0;
	err = walk_rows(w, t, false);
	if (err != DAFS_ET_CACHE_DAMAGED)
		return err;
	lost(w, "%s", w->st->ctx->detail);
	err = walk_rows(w, t, true);
	return err == DAFS_ET_CACHE_DAMAGED ? 0 : err;
}

errcode_t dafs_recover_walk(struct dafs_store *st, const struct dafs_recover_watch *watch,
			    void *arg)
{
	struct walk w = { .st = st, .watch = watch, .arg = arg };
	errcode_t err = watch->name ? walk_table(&w, &names_table) : 0;

	return err ? err : walk_table(&w, &inodes_table);
}
