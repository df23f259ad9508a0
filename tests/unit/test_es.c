/* SPDX-License-Identifier: GPL-2.0-or-later */
/* es: the rules one by one, then random operations against a flat array of blocks. */
#include "config.h"

#include "model/es.h"

#include "seeded.h"

#include <string.h>

static void put(struct dafs_es *es, uint32_t lblk, uint32_t len, uint64_t pblk, uint8_t type)
{
	struct dafs_es_extent e = { .lblk = lblk, .len = len, .pblk = pblk, .type = type };

	assert_ok(dafs_es_insert(es, &e, NULL));
	assert_true(dafs_es_verify(es));
}

static void expect(const struct dafs_es *es, uint32_t lblk, struct dafs_es_extent want)
{
	struct dafs_es_extent got;

	assert_true(dafs_es_lookup(es, lblk, &got));
	assert_int_equal(got.lblk, want.lblk);
	assert_int_equal(got.len, want.len);
	assert_int_equal(got.pblk, want.pblk);
	assert_int_equal(got.type, want.type);
}

static void test_merge(void **state)
{
	struct dafs_es es;

	(void)state;
	dafs_es_init(&es);
	put(&es, 10, 5, 100, DAFS_ES_WRITTEN);
	put(&es, 15, 5, 105, DAFS_ES_WRITTEN);
	assert_int_equal(dafs_es_entries(&es), 1);
	put(&es, 20, 5, 200, DAFS_ES_WRITTEN);	 /* contiguous logically only */
	put(&es, 25, 5, 205, DAFS_ES_UNWRITTEN); /* another type */
	assert_int_equal(dafs_es_entries(&es), 3);
	put(&es, 30, 5, 0, DAFS_ES_DELAYED);
	put(&es, 40, 5, 0, DAFS_ES_DELAYED);
	put(&es, 35, 5, 0, DAFS_ES_DELAYED); /* closes the gap */
	assert_int_equal(dafs_es_entries(&es), 4);
	expect(&es, 37, (struct dafs_es_extent){ 30, 15, 0, DAFS_ES_DELAYED });
	put(&es, 0, 10, 90, DAFS_ES_WRITTEN); /* joins from the left */
	expect(&es, 12, (struct dafs_es_extent){ 0, 20, 90, DAFS_ES_WRITTEN });
	assert_int_equal(es.delayed_blks, 15);
	dafs_es_fini(&es);
	assert_true(dafs_es_verify(&es));
}

static void test_replace_counts_delayed(void **state)
{
	struct dafs_es_extent e = { .lblk = 4, .len = 4, .pblk = 1000, .type = DAFS_ES_WRITTEN };
	uint64_t delayed = 99;
	struct dafs_es es;

	(void)state;
	dafs_es_init(&es);
	put(&es, 0, 10, 0, DAFS_ES_DELAYED);
	assert_ok(dafs_es_insert(&es, &e, &delayed));
	assert_int_equal(delayed, 4);
	assert_int_equal(es.delayed_blks, 6);
	expect(&es, 8, (struct dafs_es_extent){ 8, 2, 0, DAFS_ES_DELAYED });
	assert_int_equal(dafs_es_delayed_in(&es, 2, 9), 3);

	e = (struct dafs_es_extent){ .lblk = 0, .len = 10, .type = DAFS_ES_DELAYED };
	assert_ok(dafs_es_insert(&es, &e, &delayed));
	assert_int_equal(delayed, 0);
	assert_int_equal(es.delayed_blks, 10);
	assert_int_equal(dafs_es_entries(&es), 1);

	assert_ok(dafs_es_remove(&es, 3, 2, &delayed));
	assert_int_equal(delayed, 2);
	assert_int_equal(dafs_es_entries(&es), 2);
	dafs_es_fini(&es);
}

static void test_trim_advances_pblk(void **state)
{
	struct dafs_es_extent got;
	struct dafs_es es;

	(void)state;
	dafs_es_init(&es);
	put(&es, 100, 50, 5000, DAFS_ES_UNWRITTEN);
	put(&es, 110, 10, 0, DAFS_ES_HOLE);
	expect(&es, 105, (struct dafs_es_extent){ 100, 10, 5000, DAFS_ES_UNWRITTEN });
	expect(&es, 149, (struct dafs_es_extent){ 120, 30, 5020, DAFS_ES_UNWRITTEN });
	assert_true(dafs_es_find(&es, DAFS_ES_UNWRITTEN, 112, 1000, &got));
	assert_int_equal(got.lblk, 120);
	assert_false(dafs_es_find(&es, DAFS_ES_UNWRITTEN, 112, 120, &got));
	assert_int_equal(got.len, 0);
	assert_false(dafs_es_find(&es, DAFS_ES_DELAYED, 0, ~0u, &got));
	assert_false(dafs_es_lookup(&es, 99, &got));
	dafs_es_fini(&es);
}

static void test_limits(void **state)
{
	static const struct dafs_es_extent bad[] = {
		{ .lblk = 5, .len = 0, .type = DAFS_ES_HOLE },
		{ .lblk = 5, .len = 0xFFFFFFFF - 4, .type = DAFS_ES_HOLE },
		{ .lblk = 0xFFFFFFFF, .len = 1, .type = DAFS_ES_HOLE },
		{ .lblk = 5, .len = 1, .type = DAFS_ES_HOLE | DAFS_ES_DELAYED },
		{ .lblk = 5, .len = 1, .type = 0 },
	};
	struct dafs_es es;

	(void)state;
	dafs_es_init(&es);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(DAFS_ET_RANGE, dafs_es_insert(&es, &bad[i], NULL));
	assert_err(DAFS_ET_RANGE, dafs_es_remove(&es, 5, 0xFFFFFFFF, NULL));
	assert_int_equal(dafs_es_entries(&es), 0);
	put(&es, 0, 0xFFFFFFFF, 0, DAFS_ES_HOLE);
	put(&es, 0xFFFFFFFE, 1, 0, DAFS_ES_DELAYED);
	assert_int_equal(dafs_es_entries(&es), 2);
	dafs_es_fini(&es);
}

/* The model: one entry a block. */
#define BLOCKS 600u
struct block {
	uint64_t pblk;
	uint8_t type;
};

static struct dafs_es_extent random_extent(struct rng *rng)
{
	uint32_t at = rng_below(rng, BLOCKS), len = rng_len(rng, BLOCKS - at);
	struct dafs_es_extent e = { .lblk = at,
				    .len = len,
				    .type = (uint8_t)(1u << rng_below(rng, 4)) };

	/* Few origins, so that neighbours are physically contiguous often. */
	if (e.type <= DAFS_ES_UNWRITTEN)
		e.pblk = at + 10000 * (1 + rng_below(rng, 3));
	return e;
}

static uint64_t model_set(struct block *model, const struct dafs_es_extent *e)
{
	uint64_t delayed = 0;

	for (uint32_t i = 0; i < e->len; i++) {
		struct block *b = &model[e->lblk + i];

		delayed += b->type == DAFS_ES_DELAYED && e->type != DAFS_ES_DELAYED;
		b->type = e->type;
		b->pblk = e->type && e->type <= DAFS_ES_UNWRITTEN ? e->pblk + i : 0;
	}
	return delayed;
}

static void compare(const struct dafs_es *es, const struct block *model)
{
	uint64_t delayed = 0;

	assert_true(dafs_es_verify(es));
	for (uint32_t i = 0; i < BLOCKS; i++) {
		struct dafs_es_extent e;
		bool known = dafs_es_lookup(es, i, &e);

		assert_int_equal(known, model[i].type != 0);
		assert_int_equal(e.type, model[i].type);
		if (model[i].pblk)
			assert_int_equal(e.pblk + (i - e.lblk), model[i].pblk);
		delayed += model[i].type == DAFS_ES_DELAYED;
	}
	assert_int_equal(es->delayed_blks, delayed);
}

static void check_queries(const struct dafs_es *es, const struct block *model, struct rng *rng)
{
	uint32_t from = rng_below(rng, BLOCKS), to = from + rng_below(rng, BLOCKS - from + 1),
		 at = from;
	unsigned mask = 1 + rng_below(rng, 15);
	struct dafs_es_extent e;
	uint64_t delayed = 0;

	while (at < to && !(model[at].type & mask))
		at++;
	assert_int_equal(dafs_es_find(es, mask, from, to, &e), at < to);
	if (at < to)
		assert_true(e.lblk <= at && at < e.lblk + e.len && e.type == model[at].type);
	for (uint32_t i = from; i < to; i++)
		delayed += model[i].type == DAFS_ES_DELAYED;
	assert_int_equal(dafs_es_delayed_in(es, from, to), delayed);
}

static void random_round(struct rng *rng, void *arg)
{
	uint32_t steps = *(uint32_t *)arg, next = 0;
	struct block model[BLOCKS] = { 0 };
	struct dafs_es es;

	dafs_es_init(&es);
	for (uint32_t i = 0; i < steps; i++) {
		struct dafs_es_extent e = random_extent(rng);
		uint64_t got = 77;

		switch (rng_below(rng, 8)) {
		case 0:
		case 1:
			assert_ok(dafs_es_remove(&es, e.lblk, e.len, &got));
			e.type = 0;
			break;
		case 2:
		case 3: /* a sequential writer */
			e = (struct dafs_es_extent){ .lblk = next,
						     .len = 1,
						     .type = DAFS_ES_DELAYED };
			/* fall through */
		default:
			assert_ok(dafs_es_insert(&es, &e, &got));
			next = (e.lblk + e.len) % BLOCKS;
		}
		assert_int_equal(got, model_set(model, &e));
		check_queries(&es, model, rng);
		if (i % 64 == 0)
			compare(&es, model);
	}
	compare(&es, model);
	dafs_es_fini(&es);
}

/* m23 m24: a million steps with DAFS_TEST_LONG. */
static void test_m23_against_model(void **state)
{
	uint32_t steps = test_steps(30000, 1000000);

	(void)state;
	for_seeds(4, random_round, &steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_replace_counts_delayed),
		cmocka_unit_test(test_trim_advances_pblk),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_m23_against_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
