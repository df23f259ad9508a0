/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The name space: against a host directory with random operations, over images, with whole and
 * partial flushes between. */
#include "config.h"

#include "ns_fx.h"

static void host_dir(const char *path)
{
	assert_int_equal(scratch_run("rm -rf '%s' && mkdir -m 0755 '%s'", path, path), 0);
}

/* --- tables --- */

static void round_dir(struct rng *rng, void *arg)
{
	struct dafs_pool pool;
	struct dafs_dir *dir = dafs_dir_new();
	bool there[300] = { false };
	char name[32];

	(void)arg;
	dafs_pool_init(&pool);
	for (uint32_t i = 0; i < test_steps(20000, 400000); i++) {
		uint32_t k = rng_below(rng, 300);
		uint8_t len = (uint8_t)snprintf(name, sizeof(name), "%u-%0*u", k, (int)(k % 17), k);
		struct dafs_name *record = dafs_dir_find(dir, NULL, name, len);

		assert_int_equal(record != NULL && record->id != 0, there[k]);
		if (!there[k]) {
			assert_int_equal(dafs_dir_get(dir, &pool, NULL, name, len, &record), 0);
			dafs_dir_set(dir, record, k + 1, 1);
		} else {
			assert_int_equal(record->id, k + 1);
			dafs_dir_set(dir, record, 0, 0);
			dafs_dir_drop(dir, &pool, record);
		}
		there[k] = !there[k];
		if (i % 512 == 0)
			assert_true(dafs_dir_verify(dir));
	}
	assert_true(dafs_dir_verify(dir));
	dafs_dir_free(dir, &pool);
	dafs_pool_fini(&pool);
}

static void test_dir_table(void **state)
{
	(void)state;
	for_seeds(3, round_dir, NULL);
}

/* --- against the host --- */

struct round {
	const char *options, *size;
	bool flushes;
};

static void round_model(struct rng *rng, void *arg)
{
	const struct round *r = arg;
	const char *img = scratch_mke2fs("model.img", r->options, r->size),
		   *host = scratch_path("host");
	uint32_t steps = test_steps(600, 6000);
	struct fx fx;

	host_dir(host);
	fx_open(&fx, img, false);
	for (uint32_t i = 0; i < steps; i++) {
		fx_random_op(&fx, rng, host);
		if (i % 50 == 49)
			fx_verify(&fx);
		if (r->flushes && rng_below(rng, 100) == 0) {
			struct dafs_ns_selection sel = { .size = sizeof(sel) };

			/* Everything, or some of it: what is left must be as if nothing had
			 * happened. */
			if (rng_below(rng, 3))
				sel.max_inodes = 1 + rng_below(rng, 12);
			fx_flush(&fx, &sel);
			scratch_fsck(img);
			fx_verify(&fx);
			fx_same_tree(&fx, host, "");
		}
	}
	fx_same_tree(&fx, host, "");
	fx_flush(&fx, NULL);
	fx_verify(&fx);
	fx_same_tree(&fx, host, "");
	fx_close(&fx);
	scratch_fsck(img);
	fx_open(&fx, img, false);
	fx_same_tree(&fx, host, "");
	fx_close(&fx);
}

static void test_model(void **state)
{
	struct round r = { "-t ext4 -b 4096", "64M", false };

	(void)state;
	for_seeds(3, round_model, &r);
}

static void test_model_flushes(void **state)
{
	struct round r = { "-t ext4 -b 1024", "64M", true };

	(void)state;
	for_seeds(4, round_model, &r);
	r.options = "-t ext4 -b 4096 -O inline_data,^has_journal";
	for_seeds(2, round_model, &r);
	r.options = "-t ext4 -O bigalloc -C 16384";
	for_seeds(2, round_model, &r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dir_table),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_model_flushes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
