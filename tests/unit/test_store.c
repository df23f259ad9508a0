/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The offline cache: what many processes do equals what one does; what was acknowledged is there, what was not is gone; an
 * interrupted flush happens once; a damaged, stale or foreign cache is named, not used.
 */
#include "config.h"

#include "ns_fx.h"

#include <sqlite3.h>

#include "store/store_int.h"

static char cache_path[4096];

/* A fresh image called name, with equal bytes every time for equal options. */
static const char *fresh(const char *name, const char *options, const char *size)
{
	char all[512];

	snprintf(all, sizeof(all),
		 "-U 01234567-89ab-cdef-0123-456789abcdef -E "
		 "hash_seed=01234567-89ab-cdef-0123-456789abcdef %s",
		 options);
	scratch_run("rm -rf '%s.dacache'", scratch_path(name));
	snprintf(cache_path, sizeof(cache_path), "%s.dacache", scratch_path(name));
	return scratch_mke2fs(name, all, size);
}

static void host_dir(const char *path)
{
	assert_int_equal(scratch_run("rm -rf '%s' && mkdir -m 0755 '%s'", path, path), 0);
}

static bool has_cache(void)
{
	return access(cache_path, F_OK) == 0;
}

/* The cache verifies: its rows, slots, sums, and what they mean together. */
static void verify_store(struct fx *fx)
{
	uint64_t problems;

	scratch_ok(dafs_store_verify(fx->store, fx_say, NULL, &problems));
	assert_int_equal(problems, 0);
}

/* One command in a bracket: a failed one is rolled back. */
static void write_text(struct fx *fx, const char *path, const char *text)
{
	fx_begin(fx);
	scratch_ok(fx_write(fx, path, 0, text, strlen(text)));
	fx_end(fx);
}

static void expect_text(struct fx *fx, const char *path, const char *text)
{
	char buf[256];
	struct dafs_inode *inode;
	size_t got;

	scratch_ok(dafs_ns_lookup(fx->ns, path, 0, &inode));
	scratch_ok(dafs_delalloc_read(&fx->w, inode, buf, sizeof(buf), 0, &got));
	assert_int_equal(got, strlen(text));
	assert_memory_equal(buf, text, got);
}

/* --- many processes, one process --- */

struct cycles {
	const char *options, *size;
	uint32_t open_for;    /* operations between opening and closing */
	uint32_t flush_every; /* operations; 0: only at the end */
};

static void run_cycles(struct rng *rng, const struct cycles *c, const char *img, const char *host)
{
	uint32_t steps = test_steps(400, 5000);
	struct fx fx;

	host_dir(host);
	fx_open(&fx, img, true);
	for (uint32_t i = 1; i <= steps; i++) {
		fx_begin(&fx);
		fx_random_op(&fx, rng, host);
		fx_end(&fx);
		if (i % c->open_for == 0) {
			fx_close(&fx);
			fx_open(&fx, img, true);
		}
		if (i % 100 == 0)
			verify_store(&fx);
		if (c->flush_every && i % c->flush_every == 0) {
			fx_flush(&fx, NULL);
			assert_false(has_cache());
		}
	}
	verify_store(&fx);
	fx_verify(&fx);
	fx_same_tree(&fx, host, "");
	fx_flush(&fx, NULL);
	fx_close(&fx);
	assert_false(has_cache());
	scratch_fsck(img);
}

static void round_cycles(struct rng *rng, void *arg)
{
	struct cycles one = *(const struct cycles *)arg, many = one;
	uint64_t seed = rng->state;
	char copy[512];

	one.open_for = UINT32_MAX;
	snprintf(copy, sizeof(copy), "%s", scratch_path("one.img"));
	run_cycles(rng, &one, fresh("one.img", one.options, one.size), scratch_path("host"));
	rng->state = seed;
	run_cycles(rng, &many, fresh("many.img", many.options, many.size), scratch_path("host"));
	assert_int_equal(scratch_run("cmp '%s' '%s'", copy, scratch_path("many.img")), 0);
}

static void test_cycles(void **state)
{
	struct cycles c = { "-t ext4 -b 4096", "64M", 1, 0 };

	(void)state;
	for_seeds(2, round_cycles, &c);
	c = (struct cycles){ "-t ext4 -b 1024", "64M", 7, 150 };
	for_seeds(2, round_cycles, &c);
	c = (struct cycles){ "-t ext4 -O bigalloc,^has_journal -C 16384", "64M", 3, 90 };
	for_seeds(1, round_cycles, &c);
	c = (struct cycles){ "-t ext4 -O inline_data", "64M", 5, 200 };
	for_seeds(1, round_cycles, &c);
}

/* Partial flushes, with processes that end in between. */
static void round_parts(struct rng *rng, void *arg)
{
	const char *img = fresh("parts.img", arg, "64M"), *host = scratch_path("host");
	struct fx fx;

	host_dir(host);
	fx_open(&fx, img, true);
	for (uint32_t i = 1; i <= test_steps(500, 5000); i++) {
		fx_begin(&fx);
		fx_random_op(&fx, rng, host);
		fx_end(&fx);
		if (!rng_below(rng, 60)) {
			struct dafs_ns_selection sel = { .size = sizeof(sel),
							 .max_inodes = 1 + rng_below(rng, 8) };

			fx_flush(&fx, &sel);
			scratch_fsck(img);
			if (has_cache())
				verify_store(&fx);
		}
		if (!rng_below(rng, 20)) {
			fx_close(&fx);
			fx_open(&fx, img, true);
		}
	}
	verify_store(&fx);
	fx_same_tree(&fx, host, "");
	fx_flush(&fx, NULL);
	fx_same_tree(&fx, host, "");
	fx_close(&fx);
	scratch_fsck(img);
}

static void test_parts(void **state)
{
	(void)state;
	for_seeds(3, round_parts, (void *)"-t ext4 -b 1024");
	for_seeds(1, round_parts, (void *)"-t ext4 -b 4096 -O ^has_journal");
}

/* A large file in many pieces: segments of runs, slots that are used again. */
static void round_pieces(struct rng *rng, void *arg)
{
	const char *img = fresh("pieces.img", "-t ext4 -b 1024", "256M"),
		   *host = scratch_path("host");
	static uint8_t bytes[5000];
	char path[600];
	struct fx fx;
	struct dafs_store_status status = { .size = sizeof(status) };

	(void)arg;
	host_dir(host);
	snprintf(path, sizeof(path), "%s/big", host);
	fx_open(&fx, img, true);
	for (uint32_t i = 1; i <= test_steps(600, 4000); i++) {
		uint64_t off = (uint64_t)rng_below(rng, 60000) * 1024 + rng_below(rng, 3) * 200;
		size_t len = 1 + rng_below(rng, sizeof(bytes));

		memset(bytes, (int)i, len);
		fx_begin(&fx);
		assert_int_equal(fx_host_write(path, off, bytes, len), 0);
		scratch_ok(fx_write(&fx, "/big", off, bytes, len));
		if (!rng_below(rng, 50)) {
			off = (uint64_t)rng_below(rng, 60000) * 1024;
			assert_int_equal(truncate(path, (off_t)off), 0);
			scratch_ok(fx_truncate(&fx, "/big", off));
		}
		fx_end(&fx);
		if (i % 13 == 0) {
			fx_close(&fx);
			fx_open(&fx, img, true);
		}
	}
	verify_store(&fx);
	fx_same_tree(&fx, host, "");
	scratch_ok(dafs_store_status(fx.store, &status));
	assert_true(status.spool_bytes < (fx.rs.dirty_clusters + 64) * 1024 * 2);
	fx_flush(&fx, NULL);
	fx_close(&fx);
	scratch_fsck(img);
}

static void test_pieces(void **state)
{
	(void)state;
	for_seeds(2, round_pieces, NULL);
}

/* --- what was not committed is gone --- */

static void test_rollback(void **state)
{
	const char *img = fresh("rollback.img", "-t ext4", "64M");
	struct dafs_store_status status = { .size = sizeof(status) };
	struct dafs_inode *inode;
	struct fx fx;

	(void)state;
	fx_open(&fx, img, true);
	fx_begin(&fx);
	scratch_ok(fx_write(&fx, "/gone", 0, "gone", 4));
	fx_cancel(&fx);
	assert_false(has_cache());
	assert_err(ENOENT, dafs_ns_lookup(fx.ns, "/gone", 0, &inode));
	assert_int_equal(fx.rs.dirty_clusters + fx.rs.promised_clusters + fx.rs.promised_inodes, 0);

	write_text(&fx, "/kept", "first");
	assert_true(has_cache());
	fx_begin(&fx);
	scratch_ok(fx_write(&fx, "/kept", 0, "SECOND", 6));
	scratch_ok(fx_mkdir(&fx, "/dir"));
	scratch_ok(fx_rename(&fx, "/kept", "/dir/moved"));
	fx_cancel(&fx);
	expect_text(&fx, "/kept", "first");
	assert_err(ENOENT, dafs_ns_lookup(fx.ns, "/dir", 0, &inode));
	/* A process that dies in the middle: nothing but the commit counts. */
	fx_begin(&fx);
	scratch_ok(fx_write(&fx, "/kept", 0, "THIRD!", 6));
	fx_close(&fx);
	fx_open(&fx, img, true);
	expect_text(&fx, "/kept", "first");
	verify_store(&fx);
	/* Undone by hand: the file leaves nothing, its directory keeps the time. */
	fx_begin(&fx);
	scratch_ok(fx_remove(&fx, "/kept", false));
	fx_end(&fx);
	scratch_ok(dafs_store_status(fx.store, &status));
	assert_int_equal(status.inodes, 1);
	assert_int_equal(status.names + status.spool_bytes, 0);
	assert_int_equal(fx.rs.dirty_clusters + fx.rs.promised_clusters + fx.rs.promised_inodes, 0);
	fx_flush(&fx, NULL);
	assert_false(has_cache());
	fx_close(&fx);
	assert_err(ENOENT, fx_try_open(&fx, img, true, 0));
}

/* The folder of a new cache cannot be made durable: the command fails, and so it has left nothing. */
static void test_folder_not_durable(void **state)
{
	const char *img = fresh("durable.img", "-t ext4", "64M");
	struct fx fx;
	int fd, kept;

	(void)state;
	fx_open(&fx, img, true);
	fx_begin(&fx);
	scratch_ok(fx_mkdir(&fx, "/dir"));
	/* A folder that cannot be synced, in the place of the one that is locked. */
	kept = dup(fx.store->place.fd);
	fd = open("/proc/self", O_RDONLY | O_DIRECTORY);
	assert_true(kept >= 0 && fd >= 0);
	assert_true(dup2(fd, fx.store->place.fd) >= 0);
	scratch_ctx.no_sync = false;
	assert_int_not_equal(dafs_store_commit(fx.store, fx.ns, &fx.rs), 0);
	scratch_ctx.no_sync = true;
	assert_true(dup2(kept, fx.store->place.fd) >= 0);
	close(fd);
	close(kept);
	fx_cancel(&fx);
	assert_false(has_cache());
	fx_close(&fx);
	assert_err(ENOENT, fx_try_open(&fx, img, true, 0));
}

static void test_sequence(void **state)
{
	const char *img = fresh("sequence.img", "-t ext4", "64M");
	struct dafs_inode *inode;
	struct dafs_changeset cs;
	struct fx fx;

	(void)state;
	fx_open(&fx, img, true);
	write_text(&fx, "/f", "text");
	assert_err(DAFS_ET_SEQUENCE, fx_write(&fx, "/f", 0, "out of a command", 16));
	fx_begin(&fx);
	assert_err(DAFS_ET_SEQUENCE, dafs_store_begin(fx.store));
	fx_end(&fx);
	assert_err(DAFS_ET_SEQUENCE, dafs_store_commit(fx.store, fx.ns, &fx.rs));
	scratch_ok(dafs_ns_collect(fx.ns, NULL, &cs));
	assert_err(DAFS_ET_SEQUENCE, fx_mkdir(&fx, "/d"));
	scratch_ok(dafs_ns_lookup(fx.ns, "/f", 0, &inode));
	assert_err(DAFS_ET_SEQUENCE, dafs_ns_touch(fx.ns, inode, DAFS_I_ATTR));
	dafs_ns_uncollect(fx.ns, &cs);
	fx_close(&fx);
	/* Readers see it and cannot change it; two of them at a time. */
	scratch_ok(fx_try_open(&fx, img, true, DAFS_STORE_RDONLY));
	expect_text(&fx, "/f", "text");
	assert_err(DAFS_ET_SEQUENCE, dafs_store_begin(fx.store));
	fx_close(&fx);
}

/* --- an interrupted flush --- */

struct crash {
	const char *options;
	enum dafs_txn_stop stop;
	bool part;
};

static void round_crash(struct rng *rng, void *arg)
{
	const struct crash *c = arg;
	const char *img = fresh("crash.img", c->options, "64M"), *host = scratch_path("host");
	struct fx fx;

	host_dir(host);
	fx_open(&fx, img, true);
	for (uint32_t i = 1; i <= test_steps(250, 2500); i++) {
		fx_begin(&fx);
		fx_random_op(&fx, rng, host);
		fx_end(&fx);
		if (!rng_below(rng, 50)) {
			struct dafs_ns_selection sel = { .size = sizeof(sel),
							 .max_inodes = 1 + rng_below(rng, 6) };
			struct dafs_changeset cs;
			size_t n;

			scratch_ok(dafs_ns_collect(fx.ns, NULL, &cs));
			n = cs.n;
			dafs_ns_uncollect(fx.ns, &cs);
			if (!n)
				continue;
			dafs_txn_stop = c->stop;
			assert_int_not_equal(fx_try_flush(&fx, c->part ? &sel : NULL), 0);
			dafs_txn_stop = DAFS_TXN_STOP_NONE;
			fx_close(&fx);
			fx_open(&fx, img, true);
			fx_same_tree(&fx, host, "");
			if (has_cache())
				verify_store(&fx);
			fx_verify(&fx);
			scratch_fsck(img);
		}
	}
	fx_flush(&fx, NULL);
	fx_same_tree(&fx, host, "");
	fx_close(&fx);
	scratch_fsck(img);
}

static void test_crash(void **state)
{
	static const char *const options[] = { "-t ext4 -b 1024", "-t ext4 -O ^has_journal" };
	static const enum dafs_txn_stop stops[] = { DAFS_TXN_STOP_BEFORE_COMMIT,
						    DAFS_TXN_STOP_AFTER_COMMIT,
						    DAFS_TXN_STOP_IN_CHECKPOINT };

	(void)state;
	for (int o = 0; o < 2; o++) {
		for (int s = 0; s < 3; s++) {
			for (int part = 0; part < 2; part++) {
				struct crash c = { options[o], stops[s], part };

				print_message("# %s, stop %d, %s\n", options[o], stops[s],
					      part ? "a part" : "everything");
				for_seeds(1, round_crash, &c);
			}
		}
	}
}

/* Committed, but the cache was not told: copied away before, and put back after a flush that went well. */
static void test_copied_away(void **state)
{
	const char *img = fresh("copied.img", "-t ext4", "64M");
	struct dafs_ns_selection part = { .size = sizeof(part), .max_inodes = 1 };
	struct fx fx;

	(void)state;
	fx_open(&fx, img, true);
	write_text(&fx, "/a", "a");
	write_text(&fx, "/b", "b");
	fx_close(&fx);
	assert_int_equal(scratch_run("cp -a '%s' '%s.kept'", cache_path, cache_path), 0);
	fx_open(&fx, img, true);
	fx_flush(&fx, NULL);
	fx_close(&fx);
	/* That cache never heard of the flush: the image is not the one it knows. */
	assert_int_equal(scratch_run("cp -a '%s.kept' '%s'", cache_path, cache_path), 0);
	assert_err(DAFS_ET_CACHE_STALE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(scratch_run("rm -rf '%s'", cache_path), 0);

	/* Both copied while a flush of a part was going on, and both finished from there, on their own. */
	fx_open(&fx, img, true);
	write_text(&fx, "/c", "c");
	write_text(&fx, "/d", "d");
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	assert_int_not_equal(fx_try_flush(&fx, &part), 0);
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	fx_close(&fx);
	assert_int_equal(scratch_run("rm -rf '%s.kept'; cp -a '%s' '%s.kept'; cp -a '%s' '%s.kept'",
				     cache_path, cache_path, cache_path, img, img),
			 0);
	for (int again = 0; again < 2; again++) {
		fx_open(&fx, img, true);
		expect_text(&fx, "/c", "c");
		expect_text(&fx, "/d", "d");
		fx_flush(&fx, NULL);
		fx_close(&fx);
		scratch_fsck(img);
		assert_int_equal(
			scratch_run("rm -rf '%s'; cp -a '%s.kept' '%s'; cp -a '%s.kept' '%s'",
				    cache_path, cache_path, cache_path, img, img),
			0);
	}
}

/* The same work twice, at one time, on an image without a journal: the second flush is not taken for the first. */
static void test_same_again(void **state)
{
	const char *img = fresh("again.img", "-t ext4 -O ^has_journal", "64M");
	struct dafs_inode *inode;
	struct fx fx;

	(void)state;
	fx_open(&fx, img, true);
	write_text(&fx, "/f", "text");
	fx_flush(&fx, NULL);
	for (uint16_t mode = 0600; mode < 0610; mode++) {
		fx_begin(&fx);
		scratch_ok(fx_chmod(&fx, "/f", mode));
		fx_end(&fx);
		dafs_txn_stop = mode % 2 ? DAFS_TXN_STOP_BEFORE_COMMIT : DAFS_TXN_STOP_NONE;
		assert_int_equal(fx_try_flush(&fx, NULL) != 0, mode % 2);
		dafs_txn_stop = DAFS_TXN_STOP_NONE;
		fx_close(&fx);
		fx_open(&fx, img, true);
		scratch_ok(dafs_ns_lookup(fx.ns, "/f", 0, &inode));
		assert_int_equal(inode->mode & 07777, mode);
	}
	fx_close(&fx);
}

/* --- not to be used --- */

static void pending_image(struct fx *fx, const char *img)
{
	fx_open(fx, img, true);
	write_text(fx, "/f", "pending text");
	fx_begin(fx);
	scratch_ok(fx_mkdir(fx, "/dir"));
	scratch_ok(fx_symlink(fx, "target", "/dir/link"));
	scratch_ok(fx_setxattr(fx, "/f", "user.name", "value", 5));
	fx_end(fx);
	fx_close(fx);
}

static void test_refused(void **state)
{
	const char *img = fresh("refused.img", "-t ext4", "64M");
	struct fx fx;
	sqlite3 *db;

	(void)state;
	pending_image(&fx, img);
	/* A newer format, and something that is no cache. */
	snprintf(cache_path, sizeof(cache_path), "%s.dacache/cache.db", img);
	assert_int_equal(sqlite3_open(cache_path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 1000", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	assert_err(DAFS_ET_CACHE_VERSION, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(scratch_run("head -c 5000 /dev/urandom >'%s'", cache_path), 0);
	assert_err(DAFS_ET_CACHE_DAMAGED, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));

	/* The image was changed by somebody else. */
	img = fresh("refused.img", "-t ext4", "64M");
	pending_image(&fx, img);
	assert_int_equal(scratch_run("/sbin/debugfs -w -R 'mkdir other' '%s' >/dev/null 2>&1", img),
			 0);
	assert_err(DAFS_ET_CACHE_STALE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_err(DAFS_ET_CACHE_STALE, fx_try_open(&fx, img, true, DAFS_STORE_RDONLY));
	/* Another file system under the same name. */
	scratch_run("/sbin/mke2fs -q -F -t ext4 '%s' 64M >/dev/null 2>&1", img);
	assert_err(DAFS_ET_CACHE_FOREIGN, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	scratch_ok(dafs_image_open(&scratch_ctx, img, DAFS_IMAGE_RW, 0, 0, &fx.img));
	scratch_ok(dafs_store_remove(fx.img, NULL));
	assert_err(ENOENT, dafs_store_remove(fx.img, NULL));
	dafs_image_close(fx.img);
	assert_false(has_cache());
}

static void test_place(void **state)
{
	const char *img = fresh("place.img", "-t ext4", "64M"), *link = scratch_path("link.img");
	struct stat st;
	struct fx fx;

	(void)state;
	pending_image(&fx, img);
	assert_int_equal(stat(cache_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(scratch_run("test -z \"$(find '%s' -type f ! -perm 0600)\"", cache_path),
			 0);
	/* By another name it is the same image with the same cache. */
	unlink(link);
	assert_int_equal(symlink(img, link), 0);
	fx_open(&fx, link, true);
	expect_text(&fx, "/f", "pending text");
	fx_close(&fx);
	/* Open to others; a file that is a link; a folder that is a link. */
	assert_int_equal(chmod(cache_path, 0750), 0);
	assert_err(DAFS_ET_CACHE_PLACE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(chmod(cache_path, 0700), 0);
	assert_int_equal(scratch_run("cd '%s' && mv spool real && ln -s real spool", cache_path),
			 0);
	assert_err(DAFS_ET_CACHE_PLACE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(scratch_run("cd '%s' && mv real spool", cache_path), 0);
	assert_int_equal(scratch_run("mv '%s' '%s.real' && ln -s '%s.real' '%s'", cache_path,
				     cache_path, cache_path, cache_path),
			 0);
	assert_err(DAFS_ET_CACHE_PLACE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(
		scratch_run("rm '%s' && mv '%s.real' '%s'", cache_path, cache_path, cache_path), 0);
	fx_open(&fx, img, true);
	expect_text(&fx, "/f", "pending text");
	fx_close(&fx);
}

/* --- damage --- */

static void test_lost_spool(void **state)
{
	const char *img = fresh("lost.img", "-t ext4", "64M");
	struct fx fx;
	char buf[64];
	size_t got;
	struct dafs_inode *inode;
	uint64_t problems;

	(void)state;
	pending_image(&fx, img);
	assert_int_equal(scratch_run("cp -a '%s' '%s.kept'", cache_path, cache_path), 0);
	/* Bits flipped: the reader is told, the flush refuses and leaves the image alone. */
	assert_int_equal(
		scratch_run("printf X | dd of='%s/spool' bs=1 seek=3 conv=notrunc status=none",
			    cache_path),
		0);
	fx_open(&fx, img, true);
	scratch_ok(dafs_ns_lookup(fx.ns, "/f", 0, &inode));
	assert_err(DAFS_ET_CACHE_DATA, dafs_delalloc_read(&fx.w, inode, buf, sizeof(buf), 0, &got));
	scratch_ok(dafs_store_verify(fx.store, NULL, NULL, &problems));
	assert_true(problems);
	assert_err(DAFS_ET_CACHE_DATA, fx_try_flush(&fx, NULL));
	fx_close(&fx);
	scratch_fsck(img);
	/* Cut short, and gone. */
	assert_int_equal(truncate(scratch_path("lost.img.dacache/spool"), 100), 0);
	assert_err(DAFS_ET_CACHE_DAMAGED, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	unlink(scratch_path("lost.img.dacache/spool"));
	assert_err(DAFS_ET_CACHE_DAMAGED, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(
		scratch_run("rm -rf '%s' && mv '%s.kept' '%s'", cache_path, cache_path, cache_path),
		0);
	fx_open(&fx, img, true);
	fx_flush(&fx, NULL);
	expect_text(&fx, "/f", "pending text");
	fx_close(&fx);
	scratch_fsck(img);
}

/* Bytes of the database changed or cut off at random: nobody crashes, and what is flushed after all is right. */
static void round_damage(struct rng *rng, void *arg)
{
	const char *img = arg;
	char db[512], kept[600];
	struct stat st;
	struct fx fx;
	uint64_t problems;
	int fd;

	snprintf(db, sizeof(db), "%s.dacache/cache.db", img);
	snprintf(kept, sizeof(kept), "%s.kept", db);
	for (uint32_t i = 0; i < test_steps(150, 3000); i++) {
		assert_int_equal(scratch_run("cp -p '%s' '%s'; rm -f '%s-journal'", kept, db, db),
				 0);
		assert_int_equal(stat(db, &st), 0);
		fd = open(db, O_RDWR);
		for (uint32_t n = rng_len(rng, 8); n; n--) {
			uint8_t byte = (uint8_t)rng_below(rng, 256);

			assert_int_equal(pwrite(fd, &byte, 1, rng_below(rng, (uint32_t)st.st_size)),
					 1);
		}
		if (!rng_below(rng, 10))
			assert_int_equal(ftruncate(fd, rng_below(rng, (uint32_t)st.st_size)), 0);
		close(fd);
		if (fx_try_open(&fx, img, true, DAFS_STORE_RDONLY))
			continue;
		if (!dafs_store_verify(fx.store, NULL, NULL, &problems) && !problems) {
			struct dafs_changeset cs;

			scratch_ok(dafs_ns_collect(fx.ns, NULL, &cs));
			assert_int_equal(cs.n, 4);
			dafs_ns_uncollect(fx.ns, &cs);
			expect_text(&fx, "/f", "pending text");
		} else {
			struct dafs_changeset cs;

			if (!dafs_ns_collect(fx.ns, NULL, &cs))
				dafs_ns_uncollect(fx.ns, &cs);
		}
		fx_close(&fx);
	}
}

static void test_damage(void **state)
{
	char img[256];
	struct fx fx;

	(void)state;
	snprintf(img, sizeof(img), "%s", fresh("damage.img", "-t ext4", "64M"));
	pending_image(&fx, img);
	assert_int_equal(
		scratch_run("cp -p '%s/cache.db' '%s/cache.db.kept'", cache_path, cache_path), 0);
	for_seeds(2, round_damage, img);
}

/* mke2fs and dafs have one clock, so that equal work gives equal bytes; nothing waits for the disk. */
static int setup(void **state)
{
	char now[32];
	int ret = scratch_setup(state);

	snprintf(now, sizeof(now), "%lld", (long long)scratch_ctx.now_sec);
	setenv("E2FSPROGS_FAKE_TIME", now, 1);
	scratch_ctx.no_sync = true;
	return ret;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rollback),    cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_folder_not_durable),
		cmocka_unit_test(test_cycles),	    cmocka_unit_test(test_parts),
		cmocka_unit_test(test_pieces),	    cmocka_unit_test(test_crash),
		cmocka_unit_test(test_copied_away), cmocka_unit_test(test_same_again),
		cmocka_unit_test(test_refused),	    cmocka_unit_test(test_place),
		cmocka_unit_test(test_lost_spool),  cmocka_unit_test(test_damage),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, scratch_teardown);
}
