/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flush that is interrupted happens once, whoever goes on from the cache, and a copy of it.
 */
#include "config.h"

#include "store_fx.h"

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

/* Committed, but the cache was not told: copied away before, and put back after a flush that
 * went well. */
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

	/* Both copied while a flush of a part was going on, and both finished from there, on
	 * their own. */
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

/* The same work twice, at one time, on an image without a journal: the second flush is not taken
 * for the first. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_copied_away),
		cmocka_unit_test(test_same_again),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, store_fx_setup, scratch_teardown);
}
