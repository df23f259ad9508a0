/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * load - rows of the cache as inodes and names: what the name space asks its backing for. Rows
 * are not trusted; nor is it that a walk over them ends, since pages may lead to one another in a
 * circle: rows have to come in their order.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <string.h>

struct dafs_rec_env dafs_store_env(struct dafs_store *st)
{
	return (struct dafs_rec_env){
		.spool = &st->spool.source,
		.block_size = st->img->block_size,
		.cluster_bits = st->img->cluster_bits,
		.spool_blks = st->spool.end_blks,
	};
}

static errcode_t load_counters(void *arg, struct dafs_ns_counters *counters)
{
	struct dafs_store *st = arg;

	*counters = st->state.counters; /* zero where there is no cache yet */
	return 0;
}

static errcode_t load_segments(struct dafs_store *st, struct dafs_inode *inode)
{
	const struct dafs_rec_env env = dafs_store_env(st);
	sqlite3_stmt *stmt;
	int64_t last = -1;
	bool row;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_RUN_GET, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)inode->id);
	while (!(err = dafs_db_step(&st->db, stmt, &row)) && row) {
		int64_t seg = sqlite3_column_int64(stmt, 0);
		const void *rec = sqlite3_column_blob(stmt, 1);
		int len = sqlite3_column_bytes(stmt, 1);

		err = seg <= last || seg > UINT32_MAX || !rec
			      ? DAFS_ET_CACHE_DAMAGED
			      : dafs_rec_get_seg(&env, rec, (size_t)len, inode, (uint32_t)seg);
		last = seg;
		if (err)
			break;
	}
	sqlite3_reset(stmt);
	return err;
}

/* Can there be an inode of this id, in the image or pending? */
static bool is_id(const struct dafs_store *st, uint64_t id)
{
	return id >= DAFS_ID_NEW || (id && id <= st->img->fs->super->s_inodes_count);
}

errcode_t dafs_load_row(struct dafs_store *st, const void *rec, size_t len,
			struct dafs_inode *inode)
{
	const struct dafs_rec_env env = dafs_store_env(st);
	bool segs;
	errcode_t err = rec && is_id(st, inode->id)
				? dafs_rec_get_inode(&env, rec, len, inode, &segs)
				: DAFS_ET_CACHE_DAMAGED;

	if (!err && inode->parent && !is_id(st, inode->parent))
		err = DAFS_ET_CACHE_DAMAGED;
	if (!err && segs)
		err = load_segments(st, inode);
	return err == DAFS_ET_CACHE_DAMAGED ? dafs_db_damaged(&st->db, "row of inode", inode->id)
					    : err;
}

static errcode_t load_inode(void *arg, struct dafs_inode *inode)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	bool row;
	errcode_t err;

	if (!st->db.handle)
		return ENOENT;
	if (st->ahead && st->ahead_id == inode->id)
		return dafs_load_row(st, st->ahead, st->ahead_len, inode);
	err = dafs_db_use(&st->db, DAFS_DB_INODE_GET, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)inode->id);
	err = dafs_db_step(&st->db, stmt, &row);
	if (!err && !row)
		err = ENOENT;
	if (!err)
		err = dafs_load_row(st, sqlite3_column_blob(stmt, 0),
				    (size_t)sqlite3_column_bytes(stmt, 0), inode);
	sqlite3_reset(stmt);
	return err;
}

/* Columns id, image, kind, sum of a name's row; name and name_len are set. */
static errcode_t read_name(struct dafs_store *st, sqlite3_stmt *stmt, int from, uint64_t dir,
			   struct dafs_ns_name *name)
{
	int64_t id = sqlite3_column_int64(stmt, from), image = sqlite3_column_int64(stmt, from + 1),
		kind = sqlite3_column_int64(stmt, from + 2);

	name->id = (uint64_t)id;
	name->image_ino = (uint32_t)image;
	name->file_type = (uint8_t)kind;
	name->recased = kind >> 8;
	if (id < 0 || image < 0 || image > UINT32_MAX || kind < 0 || kind > 0x1ff ||
	    (!id && !image) ||
	    (uint32_t)sqlite3_column_int64(stmt, from + 3) != dafs_rec_name_sum(dir, name))
		return dafs_db_damaged(&st->db, "row of a name in directory", dir);
	return 0;
}

static errcode_t load_name(void *arg, uint64_t dir, const char *name, uint8_t name_len,
			   struct dafs_ns_name *out)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	bool row;
	errcode_t err;

	if (!st->db.handle)
		return ENOENT;
	err = dafs_db_use(&st->db, DAFS_DB_NAME_GET, &stmt);
	if (err)
		return err;
	*out = (struct dafs_ns_name){ .name = name, .name_len = name_len };
	sqlite3_bind_int64(stmt, 1, (int64_t)dir);
	sqlite3_bind_blob(stmt, 2, name, name_len, SQLITE_STATIC);
	err = dafs_db_step(&st->db, stmt, &row);
	if (!err)
		err = row ? read_name(st, stmt, 0, dir, out) : ENOENT;
	sqlite3_reset(stmt);
	return err;
}

static bool is_name(const char *name, int len)
{
	return name && len > 0 && len <= EXT2_NAME_LEN && !memchr(name, '/', (size_t)len) &&
	       !memchr(name, '\0', (size_t)len);
}

/* A name's row with the name itself in column at, and the rest before it. */
static errcode_t named_row(struct dafs_store *st, sqlite3_stmt *stmt, int at, uint64_t dir,
			   struct dafs_ns_name *name)
{
	int len = sqlite3_column_bytes(stmt, at);

	*name = (struct dafs_ns_name){ .name = sqlite3_column_blob(stmt, at) };
	if (!is_name(name->name, len))
		return dafs_db_damaged(&st->db, "row of a name in directory", dir);
	name->name_len = (uint8_t)len;
	return read_name(st, stmt, at - 4, dir, name);
}

errcode_t dafs_load_name_row(struct dafs_store *st, sqlite3_stmt *stmt, uint64_t dir,
			     struct dafs_ns_name *name)
{
	return named_row(st, stmt, 5, dir, name);
}

/* The name that was read last, to see that the next one is behind it. */
struct last_name {
	uint8_t len;
	char name[EXT2_NAME_LEN];
};

static bool is_behind(const struct dafs_ns_name *name, struct last_name *last)
{
	int diff = memcmp(name->name, last->name,
			  name->name_len < last->len ? name->name_len : last->len);

	if (diff < 0 || (!diff && name->name_len <= last->len))
		return false;
	memcpy(last->name, name->name, name->name_len);
	last->len = name->name_len;
	return true;
}

static errcode_t load_names(void *arg, uint64_t dir, dafs_ns_name_fn fn, void *fn_arg)
{
	struct last_name last = { .len = 0 };
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	bool row;
	errcode_t err;

	if (!st->db.handle)
		return 0;
	err = dafs_db_use(&st->db, DAFS_DB_NAME_DIR, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)dir);
	while (!(err = dafs_db_step(&st->db, stmt, &row)) && row) {
		struct dafs_ns_name name;

		err = named_row(st, stmt, 4, dir, &name);
		if (!err && !is_behind(&name, &last))
			err = dafs_db_damaged(&st->db, "order of the names in directory", dir);
		if (!err)
			err = fn(fn_arg, &name);
		if (err)
			break;
	}
	sqlite3_reset(stmt);
	return err;
}

static errcode_t load_all(void *arg, errcode_t (*fn)(void *fn_arg, uint64_t id), void *fn_arg)
{
	struct dafs_store *st = arg;
	sqlite3_stmt *stmt;
	int64_t last = 0;
	bool row;
	errcode_t err;

	if (!st->db.handle)
		return 0;
	err = dafs_db_use(&st->db, DAFS_DB_INODE_ALL, &stmt);
	if (err)
		return err;
	while (!(err = dafs_db_step(&st->db, stmt, &row)) && row) {
		int64_t id = sqlite3_column_int64(stmt, 0);

		st->ahead_id = (uint64_t)id;
		st->ahead = sqlite3_column_blob(stmt, 1);
		st->ahead_len = (size_t)sqlite3_column_bytes(stmt, 1);
		err = id > last
			      ? fn(fn_arg, st->ahead_id)
			      : dafs_db_damaged(&st->db, "order of the row of inode", st->ahead_id);
		if (err)
			break;
		last = id;
	}
	st->ahead = NULL;
	sqlite3_reset(stmt);
	return err;
}

const struct dafs_ns_backing dafs_load_backing = {
	.load_counters = load_counters,
	.load_inode = load_inode,
	.load_name = load_name,
	.load_names = load_names,
	.load_all = load_all,
};
