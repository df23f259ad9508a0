/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fill_fx - random operations on an image that fills up, against a model of its tree
 * (tree_model.h): each is taken, or refused for want of room and then changes nothing. Flushes,
 * limits, and what must hold after them.
 *
 * st.fs is open (open_fs) while operations run; st.image, st.fill and st.rng are the caller's to
 * set.
 */
#ifndef TESTS_UNIT_FILL_FX_H
#define TESTS_UNIT_FILL_FX_H

#include <errno.h>

#include "job/session.h"
#include "seeded.h"
#include "tree_model.h"

#include "../lib/quotafile.h"

struct fill {
	const char *name, *options, *size;
	uint32_t steps;
	bool aged;   /* free space in pieces of a few blocks */
	bool split;   /* the journal is too small for what overwrites all */
	bool limited; /* owners have quota limits */
	bool cached; /* through the offline cache, opened anew now and then */
	/* clusters that stay free: with quota, where the files of usage are written anew by
	 * every flush */
	uint32_t unusable;
};

static struct state {
	struct dafs *fs;
	const char *image;
	const struct fill *fill;
	struct rng *rng;
	uint32_t serial;
	size_t accepted, refused, over;
} st;

/* Is this an owner's limit, where there are limits? */
static inline bool is_over(errcode_t err)
{
	return st.fill->limited && (err == DAFS_ET_QUOTA_SPACE || err == DAFS_ET_QUOTA_INODES);
}

/* Is this "no room", and not something that must not happen? */
static inline bool is_full(errcode_t err)
{
	return err == DAFS_ET_NOSPC_RESERVE || err == DAFS_ET_NOSPC_META ||
	       err == DAFS_ET_NOINODES || is_over(err);
}

static inline void open_fs(void)
{
	scratch_ok(dafs_open(&scratch_ctx, st.image,
			     DAFS_OPEN_RW | (st.fill->cached ? DAFS_OPEN_CACHE : 0), NULL, &st.fs));
}

static inline void reopen(void)
{
	dafs_close(st.fs);
	open_fs();
}

/* The end of an operation: true when it was accepted. */
static inline bool took(errcode_t err, const char *what, const char *path)
{
	if (err && !is_full(err) && err != DAFS_ET_XATTR_TOO_BIG)
		fail_msg("%s %s: %s: %s", what, path, scratch_ctx.detail, error_message(err));
	if (st.fill->cached) {
		if (err)
			dafs_cancel(st.fs);
		else
			scratch_ok(dafs_end(st.fs));
	}
	st.accepted += !err;
	st.refused += !!err;
	st.over += is_over(err);
	return !err;
}

static inline void begin(void)
{
	if (st.fill->cached)
		scratch_ok(dafs_begin(st.fs));
}

/* ---- which file, which name ---- */

static inline struct tm_entry *pick(unsigned type)
{
	size_t from = tm.n ? rng_below(st.rng, (uint32_t)tm.n) : 0;

	for (size_t i = 0; i < tm.n; i++) {
		struct tm_entry *e = &tm.v[(from + i) % tm.n];

		if (!type || e->obj->type == type)
			return e;
	}
	return NULL;
}

/* A name that is not in use, long now and then. */
static inline const char *new_path(void)
{
	static char path[700];
	struct tm_entry *dir = rng_below(st.rng, 3) ? pick(S_IFDIR) : NULL;
	int len;

	if (dir && strlen(dir->path) > 300)
		dir = NULL;
	len = snprintf(path, sizeof(path), "%s/%c%u", dir ? dir->path : "",
		       'a' + (int)rng_below(st.rng, 4), st.serial++);
	if (rng_below(st.rng, 12) == 0)
		snprintf(path + len, sizeof(path) - (size_t)len, "%0*d", 200, 1);
	return path;
}

/* ---- operations ---- */

static inline const uint8_t *pattern(size_t len)
{
	static uint8_t buf[TM_BYTES];

	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((i * 2654435761u >> 9) + st.serial * 29 + 1);
	return buf;
}

static inline bool write_at(const char *path, struct tm_object *obj, size_t off, size_t len)
{
	const uint8_t *bytes = pattern(len);

	begin();
	if (!took(dafs_write(st.fs, path, off, bytes, len), "write", path))
		return false;
	if (!obj) {
		obj = tm_object(S_IFREG);
		tm_add(path, obj);
	}
	if (off + len > obj->size)
		tm_resize(obj, off + len);
	memcpy(obj->bytes + off, bytes, len);
	return true;
}

static inline void op_write(void)
{
	struct tm_entry *e = rng_below(st.rng, 3) ? pick(S_IFREG) : NULL;
	size_t len = rng_len(st.rng, 96 << 10), off = 0;

	if (e && rng_below(st.rng, 2))
		off = e->obj->size; /* at the end */
	else if (e && e->obj->size && rng_below(st.rng, 4))
		off = rng_below(st.rng, (uint32_t)e->obj->size); /* over what is there */
	else if (rng_below(st.rng, 2))
		off = rng_below(st.rng, TM_BYTES / 2); /* behind a hole */
	if (off + len > TM_BYTES)
		off = TM_BYTES - len;
	if (e)
		write_at(e->path, e->obj, off, len);
	else
		write_at(new_path(), NULL, off, len);
}

static inline void op_truncate(void)
{
	struct tm_entry *e = pick(S_IFREG);
	size_t size = e && rng_below(st.rng, 3) ? rng_below(st.rng, TM_BYTES) : 0;

	if (!e)
		return;
	begin();
	if (took(dafs_truncate(st.fs, e->path, size), "truncate", e->path))
		tm_resize(e->obj, size);
	else
		assert_int_not_equal(size, 0);
}

static inline void op_punch(void)
{
	struct tm_entry *e = pick(S_IFREG);
	size_t off = rng_below(st.rng, TM_BYTES), len = rng_len(st.rng, 40000);

	if (!e)
		return;
	begin();
	if (!took(dafs_punch(st.fs, e->path, off, len), "punch", e->path) || off >= e->obj->size)
		return;
	if (len > e->obj->size - off)
		len = e->obj->size - off;
	memset(e->obj->bytes + off, 0, len);
}

static inline void op_fallocate(void)
{
	struct tm_entry *e = pick(S_IFREG);
	size_t off = rng_below(st.rng, TM_BYTES / 2), len = rng_len(st.rng, 60000);
	bool keep = rng_below(st.rng, 2);

	if (!e)
		return;
	begin();
	if (took(dafs_fallocate(st.fs, e->path, off, len, keep), "fallocate", e->path) && !keep &&
	    off + len > e->obj->size)
		tm_resize(e->obj, off + len);
}

static inline void op_mkdir(void)
{
	const char *path = new_path();

	begin();
	if (took(dafs_mkdir(st.fs, path, 0755, false), "mkdir", path))
		tm_add(path, tm_object(S_IFDIR));
}

static inline void op_symlink(void)
{
	const char *path = new_path();
	struct tm_object *obj;
	char target[1024];
	uint32_t len = 1 + rng_below(st.rng, rng_below(st.rng, 2) ? 59 : 1000);

	memset(target, 'a' + (int)(st.serial % 26), len);
	target[len] = '\0';
	begin();
	if (!took(dafs_symlink(st.fs, target, path), "symlink", path))
		return;
	obj = tm_object(S_IFLNK);
	tm_resize(obj, len);
	memcpy(obj->bytes, target, len);
	tm_add(path, obj);
}

static inline void op_link(void)
{
	struct tm_entry *e = pick(S_IFREG);
	const char *path = new_path();
	struct tm_object *obj = e ? e->obj : NULL;

	if (!e)
		return;
	begin();
	if (took(dafs_link(st.fs, e->path, path), "link", path))
		tm_add(path, obj);
}

/* To a new name, or over a file. */
static inline void op_rename(void)
{
	struct tm_entry *e = pick(0), *over = pick(S_IFREG);
	char from[1024], to[1024];
	size_t at;

	if (!e)
		return;
	snprintf(from, sizeof(from), "%s", e->path);
	if (S_ISREG(e->obj->type) && over && over->obj != e->obj && rng_below(st.rng, 2))
		snprintf(to, sizeof(to), "%s", over->path);
	else
		snprintf(to, sizeof(to), "%s", new_path());
	if (!strncmp(to, from, strlen(from)) && to[strlen(from)] == '/')
		return;
	begin();
	if (!took(dafs_rename(st.fs, from, to), "rename", from))
		return;
	at = tm_find(to);
	if (at < tm.n)
		tm_drop(at);
	tm_move(from, to);
}

static inline void op_remove(void)
{
	struct tm_entry *e = pick(0);

	if (!e || (S_ISDIR(e->obj->type) && tm_has_below(e->path)))
		return;
	begin();
	/* Taking away never needs room. */
	assert_true(
		took(dafs_remove(st.fs, e->path, S_ISDIR(e->obj->type), false), "remove", e->path));
	tm_drop((size_t)(e - tm.v));
}

/* Owners differ in whether they may use what is kept for root, and have their own quota entries. */
static inline void op_chown(void)
{
	struct tm_entry *e = pick(0);

	if (!e)
		return;
	begin();
	took(dafs_chown(st.fs, e->path, rng_below(st.rng, 3) * 500, 0), "chown", e->path);
}

static inline void op_xattr(void)
{
	static uint8_t value[65536];
	struct tm_entry *e = pick(rng_below(st.rng, 3) ? S_IFREG : S_IFDIR);
	uint32_t which = rng_below(st.rng, TM_XATTRS), len = 1 + rng_len(st.rng, 900);
	bool gone = e && e->obj->xattrs[which].len && rng_below(st.rng, 4) == 0;
	char name[16];

	if (!e)
		return;
	if (st.fs->img->has_ea_inode && rng_below(st.rng, 3) == 0)
		len = 1 + rng_below(st.rng, 9000);
	snprintf(name, sizeof(name), "user.x%u", which);
	tm_value(value, len, st.serial);
	begin();
	if (!took(dafs_setxattr(st.fs, e->path, name, gone ? NULL : value, len), "setfattr",
		  e->path))
		return;
	e->obj->xattrs[which].len = gone ? 0 : len;
	e->obj->xattrs[which].seed = st.serial++;
}

/* ---- flushes ---- */

static inline void report(void *arg, const char *line)
{
	(void)arg;
	printf("# %s\n", line);
}

/* What owners take is the sum over what is pending. */
static inline void check_limits(void)
{
	if (st.fill->limited)
		assert_int_equal(dafs_ns_check(st.fs->ns, DAFS_NS_VERIFY_ALL, report, NULL), 0);
}

/* Limits for the owners that op_chown chooses; group 0 has all files. */
static inline void set_limits(void)
{
	static const struct {
		enum dafs_quota_type type;
		struct dafs_quota_entry entry;
	} limits[] = {
		{ DAFS_QUOTA_USER, { .id = 500, .blk_hard = 300, .inode_hard = 12 } },
		{ DAFS_QUOTA_USER, { .id = 1000, .blk_hard = 150 } },
		{ DAFS_QUOTA_GROUP, { .id = 0, .blk_hard = 1500 } },
	};
	ext2_filsys fs = quotafile_open(st.image, true);

	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
		quotafile_set(fs, limits[i].type, &limits[i].entry);
	quotafile_ok(ext2fs_close(fs), st.image);
	scratch_fsck(st.image);
}

static inline void check_image(void)
{
	dafs_close(st.fs);
	scratch_fsck(st.image);
	tm_verify(st.image);
	open_fs();
}

static inline void flush_all(void)
{
	check_limits();
	scratch_ok(dafs_flush(st.fs));
	assert_int_equal(st.fs->reserve.dirty_clusters, 0);
	assert_int_equal(st.fs->reserve.promised_clusters, 0);
	check_image();
}

/* Some of it, up to a number of bytes: what was accepted and is still pending must stay
 * flushable. */
static inline void flush_part(void)
{
	struct dafs_flush_request req = { .opts.size = sizeof(req.opts) };
	struct dafs_flush_stats stats;

	req.opts.max_data_bytes = rng_len(st.rng, 1 << 20);
	scratch_ok(dafs_session_flush(st.fs, &req, &stats));
	check_limits();
}

#endif
