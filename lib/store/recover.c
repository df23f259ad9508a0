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

enum {
	/* Pieces in which a damaged table is asked for what it still has. */
	RANGES_MOST = 1 << 15,
	NEW_IDS_GUESSED = 1 << 24, /* where the counter is lost as well */
};

/* --- opening --- */

/* As much of the spool as there is. A slot that is missing fails when it is read. */
static void open_spool(struct dafs_store *st, errcode_t *why)
{
	errcode_t err = dafs_store_need_spool(st);

	if (!*why)
		*why = err;
	/* Without any, its blocks fail one by one. */
	dafs_spool_open_salvage(&st->spool, &st->place);
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
	errcode_t verdict, err = dafs_store_open_unjudged(img, cache_dir, why, &st);

	*ret = NULL;
	if (err)
		return err;
	verdict = judge(st);
	if (verdict == ENOENT) {
		dafs_store_close(st);
		return ENOENT;
	}
	if (!*why)
		*why = verdict;
	open_spool(st, why);
	*ret = st;
	return 0;
}

/* --- walking --- */

struct walk {
	struct dafs_store *st;
	const struct dafs_recover_watch *watch;
	void *arg;
	/* The key that the walk has come to. */
	int64_t last_id;
	char last_name[EXT2_NAME_LEN];
	int last_len;
	bool any; /* it has come to one */
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
	const char *what;
	const char *up, *down;
	errcode_t (*take)(struct walk *w, sqlite3_stmt *stmt);
};

static const struct table names_table = {
	"names",
	"SELECT dir, id, image, kind, sum, name FROM name WHERE dir BETWEEN ?1 AND ?2"
	" ORDER BY dir, name",
	"SELECT dir, id, image, kind, sum, name FROM name WHERE dir BETWEEN ?1 AND ?2"
	" AND (dir, name) > (?3, ?4) ORDER BY dir DESC, name DESC",
	take_name,
};
static const struct table inodes_table = {
	"inodes",
	"SELECT id, rec FROM inode WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
	"SELECT id, rec FROM inode WHERE id BETWEEN ?1 AND ?2 AND id > ?3 ORDER BY id DESC",
	take_inode,
};

static void note_key(struct walk *w, sqlite3_stmt *stmt)
{
	int column = sqlite3_column_count(stmt) - 1, len = sqlite3_column_bytes(stmt, column);

	w->any = true;
	w->last_id = sqlite3_column_int64(stmt, 0);
	w->last_len = len > 0 && len <= EXT2_NAME_LEN ? len : 0;
	if (w->last_len)
		memcpy(w->last_name, sqlite3_column_blob(stmt, column), (size_t)len);
}

/* Keys of a table that are still to be read: [from, to]. */
struct range {
	int64_t from, to;
};

/* Rows of a range in one direction. DAFS_ET_CACHE_DAMAGED: up to a page that is damaged. */
static errcode_t walk_rows(struct walk *w, const struct table *t, const struct range *range,
			   bool down)
{
	struct dafs_db *db = &w->st->db;
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	errcode_t err = 0;

	if (sqlite3_prepare_v2(db->handle, down ? t->down : t->up, -1, &stmt, NULL) != SQLITE_OK)
		return dafs_db_error(db, sqlite3_errcode(db->handle));
	sqlite3_bind_int64(stmt, 1, range->from);
	sqlite3_bind_int64(stmt, 2, range->to);
	if (down) {
		sqlite3_bind_int64(stmt, 3, w->any ? w->last_id : range->from - 1);
		if (sqlite3_bind_parameter_count(stmt) > 3)
			sqlite3_bind_blob(stmt, 4, w->last_name, w->last_len, SQLITE_STATIC);
	}
	w->any = false;
	while (!err && !(err = dafs_db_step(db, stmt, &row)) && row) {
		note_key(w, stmt);
		err = t->take(w, stmt);
	}
	sqlite3_finalize(stmt);
	return err;
}

/* A range from both ends. What is between the rows at which both ended is *left (empty:
 * from > to). */
static errcode_t walk_range(struct walk *w, const struct table *t, const struct range *range,
			    struct range *left)
{
	errcode_t err;

	*left = (struct range){ 1, 0 };
	w->any = false;
	w->last_len = 0;
	err = walk_rows(w, t, range, false);
	if (err != DAFS_ET_CACHE_DAMAGED)
		return err;
	/* A damaged key may be any number, the last one too. */
	if (w->any && w->last_id == INT64_MAX)
		return 0;
	left->from = w->any ? w->last_id + 1 : range->from;
	left->to = range->to;
	err = walk_rows(w, t, range, true);
	if (err == DAFS_ET_CACHE_DAMAGED && w->any)
		left->to = w->last_id > INT64_MIN ? w->last_id - 1 : INT64_MIN;
	else if (!err)
		left->to = left->from - 1;
	return err == DAFS_ET_CACHE_DAMAGED ? 0 : err;
}

/* Ids of the image, and new ones as far as there can be some. */
static void whole_table(const struct walk *w, struct range ranges[2])
{
	uint64_t serials = w->st->state.counters.next_serial;

	if (!serials || serials > NEW_IDS_GUESSED)
		serials = NEW_IDS_GUESSED;
	ranges[0] = (struct range){ 1, INT64_C(0xFFFFFFFF) };
	ranges[1] = (struct range){ (int64_t)DAFS_ID_NEW, (int64_t)(DAFS_ID_NEW + serials) };
}

/* What is left of a range is halved, and halved again, as long as there are tries. */
static errcode_t walk_between(struct walk *w, const struct table *t, struct range *todo, size_t n)
{
	struct range left;
	errcode_t err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		int64_t mid;

		err = walk_range(w, t, &todo[i], &left);
		if (err || left.from > left.to || n + 2 > RANGES_MOST)
			continue;
		if (left.from == left.to && todo[i].from == todo[i].to)
			continue;
		mid = left.from + (left.to - left.from) / 2;
		todo[n++] = (struct range){ left.from, mid };
		if (mid < left.to)
			todo[n++] = (struct range){ mid + 1, left.to };
	}
	return err;
}

static errcode_t walk_table(struct walk *w, const struct table *t)
{
	struct range all = { INT64_MIN + 1, INT64_MAX }, left, ends[2], *todo;
	size_t n = 0;
	errcode_t err = walk_range(w, t, &all, &left);

	if (err || left.from > left.to)
		return err;
	lost(w, "some %s: %s", t->what, w->st->ctx->detail);
	todo = calloc(RANGES_MOST, sizeof(*todo));
	if (!todo)
		return ENOMEM;
	whole_table(w, ends);
	for (int i = 0; i < 2; i++) {
		struct range *r = &ends[i];

		r->from = r->from > left.from ? r->from : left.from;
		r->to = r->to < left.to ? r->to : left.to;
		if (r->from <= r->to)
			todo[n++] = *r;
	}
	err = walk_between(w, t, todo, n);
	free(todo);
	return err;
}

uint64_t dafs_recover_unsummed_blks(const struct dafs_store *st)
{
	return st->spool.unsummed_blks;
}

errcode_t dafs_recover_walk(struct dafs_store *st, const struct dafs_recover_watch *watch,
			    void *arg)
{
	struct walk w = { .st = st, .watch = watch, .arg = arg };
	errcode_t err = watch->name ? walk_table(&w, &names_table) : 0;

	return err ? err : walk_table(&w, &inodes_table);
}
