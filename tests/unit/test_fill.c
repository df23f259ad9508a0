/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was accepted can be flushed: small images are filled with random operations until nothing
 * more is taken. Flushing never runs out of room, everything accepted is in the image, and nothing
 * is left there that one block more could have used.
 *
 * A round: operations (with flushes of all or a part between) -> flush -> only additions, until every
 * way to add a block is refused -> flush -> every way again. Refusals change nothing.
 */
#include "config.h"

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
	/* clusters that stay free: with quota, where the files of usage are written anew by every flush */
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
static bool is_over(errcode_t err)
{
	return st.fill->limited && (err == DAFS_ET_QUOTA_SPACE || err == DAFS_ET_QUOTA_INODES);
}

/* Is this "no room", and not something that must not happen? */
static bool is_full(errcode_t err)
{
	return err == DAFS_ET_NOSPC_RESERVE || err == DAFS_ET_NOSPC_META || err == DAFS_ET_NOINODES ||
	       is_over(err);
}

static void open_fs(void)
{
	scratch_ok(dafs_open(&scratch_ctx, st.image,
			     DAFS_OPEN_RW | (st.fill->cached ? DAFS_OPEN_CACHE : 0), NULL, &st.fs));
}

static void reopen(void)
{
	dafs_close(st.fs);
	open_fs();
}

/* The end of an operation: true when it was accepted. */
static bool took(errcode_t err, const char *what, const char *path)
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

static void begin(void)
{
	if (st.fill->cached)
		scratch_ok(dafs_begin(st.fs));
}

/* ---- which file, which name ---- */

static struct tm_entry *pick(unsigned type)
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
static const char *new_path(void)
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

static const uint8_t *pattern(size_t len)
{
	static uint8_t buf[TM_BYTES];

	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((i * 2654435761u >> 9) + st.serial * 29 + 1);
	return buf;
}

static bool write_at(const char *path, struct tm_object *obj, size_t off, size_t len)
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

static void op_write(void)
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

static void op_truncate(void)
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

static void op_punch(void)
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

static void op_fallocate(void)
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

static void op_mkdir(void)
{
	const char *path = new_path();

	begin();
	if (took(dafs_mkdir(st.fs, path, 0755, false), "mkdir", path))
		tm_add(path, tm_object(S_IFDIR));
}

static void op_symlink(void)
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

static void op_link(void)
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
static void op_rename(void)
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

static void op_remove(void)
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
static void op_chown(void)
{
	struct tm_entry *e = pick(0);

	if (!e)
		return;
	begin();
	took(dafs_chown(st.fs, e->path, rng_below(st.rng, 3) * 500, 0), "chown", e->path);
}

static void op_xattr(void)
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

static void report(void *arg, const char *line)
{
	(void)arg;
	printf("# %s\n", line);
}

/* What owners take is the sum over what is pending. */
static void check_limits(void)
{
	if (st.fill->limited)
		assert_int_equal(dafs_ns_check(st.fs->ns, DAFS_NS_VERIFY_ALL, report, NULL), 0);
}

/* Limits for the owners that op_chown chooses; group 0 has all files. */
static void set_limits(void)
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

static void check_image(void)
{
	dafs_close(st.fs);
	scratch_fsck(st.image);
	tm_verify(st.image);
	open_fs();
}

static void flush_all(void)
{
	check_limits();
	scratch_ok(dafs_flush(st.fs));
	assert_int_equal(st.fs->reserve.dirty_clusters, 0);
	assert_int_equal(st.fs->reserve.promised_clusters, 0);
	check_image();
}

/* Some of it, up to a number of bytes: what was accepted and is still pending must stay flushable. */
static void flush_part(void)
{
	struct dafs_flush_request req = { .opts.size = sizeof(req.opts) };
	struct dafs_flush_stats stats;

	req.opts.max_data_bytes = rng_len(st.rng, 1 << 20);
	scratch_ok(dafs_session_flush(st.fs, &req, &stats));
	check_limits();
}

/* ---- the round ---- */

static void step(void)
{
	static void (*const ops[])(void) = { op_write,	 op_write, op_write,	 op_write,
					     op_write,	 op_write, op_write,	 op_truncate,
					     op_punch,	 op_punch, op_fallocate, op_mkdir,
					     op_symlink, op_link,  op_rename,	 op_remove,
					     op_xattr,	 op_xattr, op_chown };

	if (tm.n > TM_ENTRIES - 8)
		op_remove();
	else
		ops[rng_below(st.rng, sizeof(ops) / sizeof(*ops))]();
	assert_true(dafs_reserve_verify(&st.fs->reserve));
	if (rng_below(st.rng, 20) == 0)
		check_limits();
	if (rng_below(st.rng, 150) == 0)
		flush_part();
	else if (rng_below(st.rng, 300) == 0)
		flush_all();
	else if (st.fill->cached && rng_below(st.rng, 30) == 0)
		reopen();
}

/* Free space in pieces of up to three blocks. */
static void age(void)
{
	uint32_t bs = st.fs->img->block_size, n = 0;
	char path[32];

	for (bool room = true; room && n < TM_ENTRIES / 2; n++) {
		snprintf(path, sizeof(path), "/age%u", n);
		room = write_at(path, NULL, 0, (1 + n % 3) * bs);
	}
	flush_all();
	for (uint32_t i = 0; i < n; i += 2) {
		size_t at;

		snprintf(path, sizeof(path), "/age%u", i);
		at = tm_find(path);
		if (at == tm.n)
			continue;
		begin();
		assert_true(took(dafs_remove(st.fs, path, false, false), "remove", path));
		tm_drop(at);
	}
	flush_all();
}

/* One block more, in every way there is: at the end of each file, in a new one. How many were taken. */
static uint32_t add_blocks(uint32_t most)
{
	uint32_t bs = st.fs->img->block_size, n = 0;
	bool any = true;

	while (any && n < most) {
		any = false;
		for (size_t i = 0; i < tm.n && n < most; i++) {
			struct tm_object *obj = tm.v[i].obj;
			size_t end = (obj->size + bs - 1) / bs * bs;

			if (!S_ISREG(obj->type) || end + bs > TM_BYTES)
				continue;
			while (n < most && end + bs <= TM_BYTES &&
			       write_at(tm.v[i].path, obj, end, bs)) {
				any = true;
				end += bs;
				n++;
			}
		}
		if (n < most && tm.n < TM_ENTRIES - 8 && write_at(new_path(), NULL, 0, bs)) {
			any = true;
			n++;
		}
	}
	return n;
}

/* What one file may have written anew in place, in an image with a journal of 1024 blocks of 1 KiB. */
enum { OVER_BYTES = 450 << 10 };

/* Rounds in which that did not fit the journal at once. */
static unsigned splits;

static void add_large(void)
{
	char path[32];

	for (uint32_t i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "/large%u", i);
		write_at(path, NULL, 0, OVER_BYTES);
	}
}

/* Every block of every file anew, and names, attributes and cuts between: on a full image more live blocks than
 * a small journal holds, so that the flush is split, and each part of it has to fit. */
static void overwrite_all(void)
{
	size_t anew = 0, len;

	for (size_t i = 0; i < tm.n; i++) {
		struct tm_entry *e = &tm.v[i];

		if (S_ISREG(e->obj->type) && e->obj->size) {
			st.serial++;
			/* More of one file would want a new place. */
			len = e->obj->size < OVER_BYTES ? e->obj->size : OVER_BYTES;
			if (write_at(e->path, e->obj, 0, len))
				anew += len / st.fs->img->block_size;
		}
		if (i % 5 == 0)
			op_xattr();
		if (i % 7 == 0)
			op_rename();
		if (i % 11 == 0)
			op_truncate();
	}
	if (st.fill->split) {
		struct dafs_flush_request req = { .opts.size = sizeof(req.opts) };
		struct dafs_flush_stats stats;

		scratch_ok(dafs_session_flush(st.fs, &req, &stats));
		printf("# %s: %zu blocks written anew, %llu live, %u transactions\n", st.fill->name,
		       anew, (unsigned long long)stats.live_blks, stats.transactions);
		splits += stats.transactions > 1;
	}
	flush_all();
}

static void round_fill(struct rng *rng, void *arg)
{
	uint64_t left, late;
	uint32_t steps;

	st = (struct state){ .fill = arg, .rng = rng };
	tm_clear();
	st.image = scratch_mke2fs("fill.img", st.fill->options, st.fill->size);
	if (st.fill->limited)
		set_limits();
	open_fs();
	if (st.fill->aged)
		age();
	if (st.fill->split)
		add_large();
	steps = test_steps(st.fill->steps, st.fill->steps * 10);
	for (uint32_t i = 0; i < steps; i++)
		step();
	flush_all();
	add_blocks(UINT32_MAX);
	flush_all();
	late = add_blocks(UINT32_MAX);
	flush_all();
	if (st.fill->split) {
		overwrite_all();
		add_blocks(UINT32_MAX);
		flush_all();
	}
	left = st.fs->reserve.free_clusters;
	printf("# %s: %zu accepted, %zu refused; %llu blocks taken only after a flush; %llu of "
	       "%llu "
	       "clusters left\n",
	       st.fill->name, st.accepted, st.refused, (unsigned long long)late,
	       (unsigned long long)left,
	       (unsigned long long)(st.fs->img->blocks >> st.fs->img->cluster_bits));
	if (st.refused < 10)
		fail_msg("the image did not become full");
	if (st.fill->limited && st.over < 5)
		fail_msg("nobody came to a limit");
	if (late || left > st.fill->unusable)
		fail_msg("room is left unused");
	dafs_close(st.fs);
	tm_clear();
}

static const struct fill fills[] = {
	{ .name = "1k",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "4k", .options = "-t ext4 -b 4096 -N 400 -m 0", .size = "12M", .steps = 250 },
	{ .name = "journal 1k",
	  .options = "-t ext4 -b 1024 -N 400 -m 0 -J size=1",
	  .size = "7M",
	  .steps = 250,
	  .split = true },
	{ .name = "bigalloc",
	  .options = "-t ext4 -O bigalloc,^has_journal -b 1024 -C 8192 -N 400 -m 0",
	  .size = "6M",
	  .steps = 250 },
	{ .name = "bigalloc 4k",
	  .options = "-t ext4 -O bigalloc -b 4096 -C 16384 -N 400 -m 0",
	  .size = "14M",
	  .steps = 200 },
	{ .name = "few inodes",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 48 -m 0",
	  .size = "2M",
	  .steps = 250 },
	{ .name = "aged 1k",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 1400 -m 0",
	  .size = "3M",
	  .steps = 200,
	  .aged = true },
	{ .name = "aged 4k",
	  .options = "-t ext4 -b 4096 -N 1400 -m 0",
	  .size = "12M",
	  .steps = 200,
	  .aged = true },
	{ .name = "inline data",
	  .options = "-t ext4 -O inline_data,^has_journal -b 1024 -I 256 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "quota",
	  .options = "-t ext4 -O quota,^has_journal -b 1024 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250,
	  .unusable = 16 },
	{ .name = "quota limits",
	  .options = "-t ext4 -O quota,^has_journal -b 1024 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250,
	  .unusable = 16,
	  .limited = true },
	{ .name = "quota limits bigalloc",
	  .options = "-t ext4 -O quota,bigalloc,ea_inode,^has_journal -b 1024 -C 4096 -N 400 -m 0",
	  .size = "6M",
	  .steps = 150,
	  .unusable = 16,
	  .limited = true,
	  .cached = true },
	{ .name = "ea inodes",
	  .options = "-t ext4 -O ea_inode,^has_journal -b 1024 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "small inodes",
	  .options = "-t ext4 -O ^has_journal,^metadata_csum,^64bit -b 1024 -I 128 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "root keeps some",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 400 -m 10",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "cached",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 400 -m 0",
	  .size = "2M",
	  .steps = 120,
	  .cached = true },
	{ .name = "cached bigalloc",
	  .options = "-t ext4 -O bigalloc,^has_journal -b 1024 -C 4096 -N 400 -m 0",
	  .size = "3M",
	  .steps = 120,
	  .cached = true },
};

static void test_fill(void **state)
{
	const char *only = getenv("DAFS_TEST_FILL");

	scratch_ctx.no_sync = true;
	for (size_t i = 0; i < sizeof(fills) / sizeof(*fills); i++) {
		if (!only || !strcmp(only, fills[i].name))
			for_seeds(test_steps(1, 4), round_fill, (void *)&fills[i]);
	}
	/* Seed 1 does; not every one does. */
	if (!only && !getenv("DAFS_TEST_SEED"))
		assert_int_not_equal(splits, 0);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
