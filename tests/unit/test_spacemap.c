/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spacemap: every search against a scan of a flat array, over groups that were looked into and
 * others. */
#include "config.h"

#include "alloc/spacemap.h"

#include "space_model.h"

static uint64_t first_from(const struct space_model *m, const bool *hidden, uint64_t from,
			   uint64_t n)
{
	uint64_t run = 0;

	for (uint64_t c = from; c < m->space.clusters; c++) {
		run = m->used[c] || hidden[c] ? 0 : run + 1;
		if (run == n)
			return c + 1 - n;
	}
	return DAFS_NO_CLUSTER;
}

static uint64_t model_first_fit(const struct space_model *m, const bool *hidden, uint64_t from,
				uint64_t n)
{
	uint64_t c = first_from(m, hidden, from, n);

	return c == DAFS_NO_CLUSTER ? first_from(m, hidden, 0, n) : c;
}

/* What a view does not show. */
static void hide(const struct space_model *m, enum dafs_spacemap_view view, bool *hidden)
{
	for (uint64_t c = 0; c < m->space.clusters; c++)
		hidden[c] = view == DAFS_VIEW_DATA && m->space.flex_groups >= 4 &&
			    c / m->space.clusters_per_group % m->space.flex_groups == 0;
}

static void check_searches(struct dafs_spacemap *sm, const struct space_model *m, bool *hidden,
			   struct rng *rng)
{
	enum dafs_spacemap_view view = rng_below(rng, 2) ? DAFS_VIEW_DATA : DAFS_VIEW_ALL;
	uint64_t total = m->space.clusters, from = rng_below(rng, (uint32_t)total);
	uint64_t n = rng_len(rng, (uint32_t)total), got, len, at = 0;

	hide(m, view, hidden);
	assert_ok(dafs_spacemap_first_fit(sm, view, from, n, &got));
	assert_int_equal(got, model_first_fit(m, hidden, from, n));
	assert_ok(dafs_spacemap_best_fit(sm, view, from, n, &got));
	assert_int_equal(got == DAFS_NO_CLUSTER, first_from(m, hidden, 0, n) == DAFS_NO_CLUSTER);
	if (got != DAFS_NO_CLUSTER)
		assert_int_equal(first_from(m, hidden, got, n), got);
	if (got != DAFS_NO_CLUSTER && got)
		assert_true(m->used[got - 1] || hidden[got - 1]); /* a whole run, not its middle */
	assert_ok(dafs_spacemap_run_at(sm, from, n, &len));
	assert_int_equal(len, model_run(m, from) < n ? model_run(m, from) : n);
	if (rng_below(rng, 8) == 0) {
		assert_ok(dafs_spacemap_longest(sm, &got, &len));
		assert_int_equal(len, model_longest(m, &at));
		assert_int_equal(len ? got : 0, len ? at : 0);
	}
}

static void change(struct dafs_spacemap *sm, struct space_model *m, struct rng *rng)
{
	uint64_t c = rng_below(rng, (uint32_t)m->space.clusters);
	uint64_t n = rng_len(rng, rng_below(rng, 4) ? 40 : 400);
	uint64_t same = 0;

	while (same < n && c + same < m->space.clusters && m->used[c + same] == m->used[c])
		same++;
	if (same < n) {
		/* Not all of one state, or past the end: refused, and nothing has changed. */
		assert_err(c + n > m->space.clusters ? DAFS_ET_RANGE : DAFS_ET_INTERNAL,
			   m->used[c] ? dafs_spacemap_give(sm, c, n)
				      : dafs_spacemap_take(sm, c, n));
	}
	if (m->used[c])
		assert_ok(dafs_spacemap_give(sm, c, same));
	else
		assert_ok(dafs_spacemap_take(sm, c, same));
	model_mark(m, c, same, !m->used[c]);
}

static void random_round(struct rng *rng, void *arg)
{
	static const uint32_t per_group[] = { 8, 64, 200, 1000 };
	static const unsigned flex[] = { 1, 4, 16 };
	uint32_t steps = *(uint32_t *)arg;

	for (uint32_t i = 0; i < 24; i++) {
		uint64_t clusters = 1 + rng_below(rng, 3000);
		bool *hidden = calloc(clusters, sizeof(*hidden));
		struct dafs_spacemap *sm;
		struct space_model m;

		model_init(&m, clusters, per_group[rng_below(rng, 4)], flex[rng_below(rng, 3)]);
		model_age(&m, rng, rng_below(rng, 100), 1 + rng_below(rng, 300));
		model_seal(&m);
		/* Descriptors that promise too much, sometimes a whole group. */
		for (uint32_t g = 0; g < m.space.groups; g++)
			m.claim[g] += rng_below(rng, 4) ? 0 : rng_below(rng, 2) ? 5 : 1u << 30;
		assert_ok(dafs_spacemap_new(&m.space, &sm));
		for (uint32_t k = 0; k < steps; k++) {
			check_searches(sm, &m, hidden, rng);
			change(sm, &m, rng);
			if (k % 16 == 0)
				assert_true(dafs_spacemap_verify(sm));
		}
		assert_true(dafs_spacemap_verify(sm));
		assert_true(m.looks <= m.space.groups);
		dafs_spacemap_free(sm);
		model_fini(&m);
		free(hidden);
	}
}

static void test_against_model(void **state)
{
	uint32_t steps = test_steps(100, 10000);

	(void)state;
	for_seeds(4, random_round, &steps);
}

static void test_runs_cross_groups(void **state)
{
	struct dafs_spacemap *sm;
	struct space_model m;
	uint64_t at, len;

	(void)state;
	model_init(&m, 16 * 8192, 8192, 1);
	model_mark(&m, 0, 100, true);
	model_mark(&m, 9 * 8192 - 50, 50, true);
	model_seal(&m);
	assert_ok(dafs_spacemap_new(&m.space, &sm));
	assert_ok(dafs_spacemap_first_fit(sm, DAFS_VIEW_ALL, 0, 32768, &at));
	assert_int_equal(at, 100);
	assert_ok(dafs_spacemap_take(sm, at, 32768));
	assert_ok(dafs_spacemap_longest(sm, &at, &len));
	assert_int_equal(at, 9 * 8192);
	assert_int_equal(len, 7 * 8192);
	assert_ok(dafs_spacemap_best_fit(sm, DAFS_VIEW_ALL, 0, 32768, &at));
	assert_int_equal(at, 32868); /* 40910 clusters, less than the seven groups */
	assert_int_equal(dafs_spacemap_free_clusters(sm), 16 * 8192 - 150 - 32768);
	dafs_spacemap_free(sm);
	model_fini(&m);
}

/* A small request in a large space reads a few bitmaps, not all. */
static void test_looks_are_few(void **state)
{
	struct dafs_spacemap *sm;
	struct space_model m;
	uint64_t at;

	(void)state;
	model_init(&m, 4096 * 64, 64, 16);
	for (uint32_t g = 0; g < 4096; g++)
		model_mark(&m, g * 64, 30, true);
	model_seal(&m);
	assert_ok(dafs_spacemap_new(&m.space, &sm));
	assert_int_equal(m.looks, 0);
	assert_ok(dafs_spacemap_first_fit(sm, DAFS_VIEW_DATA, 1000 * 64, 20, &at));
	assert_int_equal(at, 1000 * 64 + 30);
	assert_int_equal(m.looks, 1);
	assert_ok(dafs_spacemap_best_fit(sm, DAFS_VIEW_DATA, 2000 * 64, 20, &at));
	assert_true(m.looks <= 1 + 40);
	dafs_spacemap_free(sm);
	model_fini(&m);
}

/* A descriptor says that all of a group is free, and it is not: no run goes on into it unseen. */
static void test_a_group_said_to_be_free(void **state)
{
	struct dafs_spacemap *sm;
	struct space_model m;
	uint64_t at;

	(void)state;
	model_init(&m, 4 * 64, 64, 1);
	model_mark(&m, 0, 64, true);
	model_mark(&m, 64 + 20, 108, true);
	model_mark(&m, 3 * 64 + 5, 59, true);
	model_seal(&m);
	m.claim[0] = 64;
	assert_ok(dafs_spacemap_new(&m.space, &sm));
	assert_ok(dafs_spacemap_best_fit(sm, DAFS_VIEW_ALL, 64, 12, &at));
	assert_int_equal(at, 64);
	assert_ok(dafs_spacemap_take(sm, at, 12));
	dafs_spacemap_free(sm);
	model_fini(&m);
}

static void test_unreadable_bitmap(void **state)
{
	struct dafs_spacemap *sm;
	struct space_model m;
	uint64_t at, len;

	(void)state;
	model_init(&m, 10 * 64, 64, 1);
	model_mark(&m, 0, 1, true);
	model_mark(&m, 64, 1, true);
	model_seal(&m);
	m.bad_grp = 1;
	assert_ok(dafs_spacemap_new(&m.space, &sm));
	assert_ok(dafs_spacemap_first_fit(sm, DAFS_VIEW_ALL, 0, 63, &at));
	assert_int_equal(at, 1);
	assert_err(DAFS_ET_CORRUPT_BITMAP, dafs_spacemap_first_fit(sm, DAFS_VIEW_ALL, 64, 60, &at));
	assert_err(DAFS_ET_CORRUPT_BITMAP, dafs_spacemap_run_at(sm, 70, 3, &len));
	assert_err(DAFS_ET_CORRUPT_BITMAP, dafs_spacemap_take(sm, 60, 10));
	assert_int_equal(dafs_spacemap_free_clusters(sm), 10 * 64 - 2);
	assert_true(dafs_spacemap_verify(sm));
	dafs_spacemap_free(sm);
	model_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_cross_groups),
		cmocka_unit_test(test_looks_are_few),
		cmocka_unit_test(test_a_group_said_to_be_free),
		cmocka_unit_test(test_unreadable_bitmap),
		cmocka_unit_test(test_against_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
