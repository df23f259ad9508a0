/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The offline cache: what many processes do equals what one does; what was acknowledged is
 * there, what was not is gone. Beside it: test_store_crash (interrupted flushes),
 * test_store_refused (damage, other images, unsafe places).
 */
#include "config.h"

#include "store_fx.h"

#include "store/store_int.h"

/* --- many processes, one process --- */

struct cycles {
	const char *options, *size;
	uint32_t open_for;    /* operations between opening and closing */
	uint32_t flush_every; /* operations; 0: only at the end */
	uint32_t save_every;  /* operations, all of them in one command; 0: each is one */
};

/* What a long command has changed so far goes out of memory. */
static void relieve(struct fx *fx)
{
	scratch_ok(dafs_store_save(fx->store, fx->ns, &fx->rs));
	dafs_ns_free(fx->ns);
	fx->ns = NULL;
	scratch_ok(fx_names(fx));
}

static void one_command(struct fx *fx, struct rng *rng, const struct cycles *c, const char *host)
{
	uint32_t steps = test_steps(400, 5000);

	fx_begin(fx);
	for (uint32_t i = 1; i <= steps; i++) {
		fx_random_op(fx, rng, host);
		if (i % c->save_every == 0)
			relieve(fx);
	}
	fx_end(fx);
}

static void many_commands(struct fx *fx, struct rng *rng, const struct cycles *c, const char *img,
			  const char *host)
{
	uint32_t steps = test_steps(400, 5000);

	for (uint32_t i = 1; i <= steps; i++) {
		fx_begin(fx);
		fx_random_op(fx, rng, host);
		fx_end(fx);
		if (i % c->open_for == 0) {
			fx_close(fx);
			fx_open(fx, img, true);
		}
		if (i % 100 == 0)
			verify_store(fx);
		if (c->flush_every && i % c->flush_every == 0) {
			fx_flush(fx, NULL);
			assert_false(has_cache());
		}
	}
}

static void run_cycles(struct rng *rng, const struct cycles *c, const char *img, const char *host)
{
	struct fx fx;

	host_dir(host);
	fx_open(&fx, img, true);
	if (c->save_every)
		one_command(&fx, rng, c, host);
	else
		many_commands(&fx, rng, c, img, host);
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
	one.save_every = 0;
	snprintf(copy, sizeof(copy), "%s", scratch_path("one.img"));
	run_cycles(rng, &one, fresh("one.img", one.options, one.size), scratch_path("host"));
	rng->state = seed;
	run_cycles(rng, &many, fresh("many.img", many.options, many.size), scratch_path("host"));
	assert_int_equal(scratch_run("cmp '%s' '%s'", copy, scratch_path("many.img")), 0);
}

static void test_cycles(void **state)
{
	struct cycles c = { "-t ext4 -b 4096", "64M", 1, 0, 0 };

	(void)state;
	for_seeds(2, round_cycles, &c);
	c = (struct cycles){ "-t ext4 -b 1024", "64M", 7, 150, 0 };
	for_seeds(2, round_cycles, &c);
	c = (struct cycles){ "-t ext4 -O bigalloc,^has_journal -C 16384", "64M", 3, 90, 0 };
	for_seeds(1, round_cycles, &c);
	c = (struct cycles){ "-t ext4 -O inline_data", "64M", 5, 200, 0 };
	for_seeds(1, round_cycles, &c);
}

/* One command that saves what it did now and then is as good as many. */
static void test_long_command(void **state)
{
	struct cycles c = { .options = "-t ext4 -b 1024", .size = "64M", .save_every = 1 };

	(void)state;
	for_seeds(2, round_cycles, &c);
	c.save_every = 13;
	for_seeds(2, round_cycles, &c);
	c.options = "-t ext4 -O bigalloc,^has_journal -C 16384";
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

/* The folder of a new cache cannot be made durable: the command fails, and has left nothing. */
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
	assert_err(DAFS_ET_SEQUENCE, dafs_store_save(fx.store, fx.ns, &fx.rs));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rollback),
		cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_folder_not_durable),
		cmocka_unit_test(test_cycles),
		cmocka_unit_test(test_long_command),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_pieces),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, store_fx_setup, scratch_teardown);
}
