/* SPDX-License-Identifier: GPL-2.0-or-later */
/* buddy: building, every query against a scan of a bitmap, random takes and gives. */
#include "config.h"

#include "model/buddy.h"

#include "seeded.h"

#include <string.h>

static bool in_use(const uint8_t *bits, uint32_t c)
{
	return bits[c / 8] >> (c % 8) & 1;
}

static void mark(uint8_t *bits, uint32_t start, uint32_t len, bool used)
{
	for (uint32_t c = start; c < start + len; c++) {
		bits[c / 8] = (uint8_t)(bits[c / 8] & ~(1u << (c % 8)));
		bits[c / 8] = (uint8_t)(bits[c / 8] | (unsigned)used << (c % 8));
	}
}

static void expect_run(struct dafs_buddy_run got, uint32_t start, uint32_t len)
{
	if (len)
		assert_int_equal(got.start, start);
	assert_int_equal(got.len, len);
}

/* Free run from c on. */
static uint32_t free_from(const uint8_t *bits, uint32_t n, uint32_t c)
{
	uint32_t len = 0;

	while (c + len < n && !in_use(bits, c + len))
		len++;
	return len;
}

static void expect_all_equal(const struct dafs_buddy *b, const uint8_t *bits, uint32_t n)
{
	uint32_t free_sum = 0, runs = 0, largest = 0;

	assert_true(dafs_buddy_verify(b));
	for (uint32_t c = 0; c < n;) {
		uint32_t len = free_from(bits, n, c);

		expect_run(dafs_buddy_run_at(b, c, true), c, len);
		if (len > 1)
			expect_run(dafs_buddy_run_at(b, c + 1, false), c + 1, len - 1);
		free_sum += len;
		runs += len != 0;
		largest = len > largest ? len : largest;
		c += len + 1;
	}
	assert_int_equal(dafs_buddy_free_clusters(b), free_sum);
	assert_int_equal(dafs_buddy_fragments(b), runs);
	assert_int_equal(dafs_buddy_largest(b), largest);
	assert_int_equal(dafs_buddy_longest(b).len, largest);
}

static void expect_queries(const struct dafs_buddy *b, const uint8_t *bits, uint32_t n,
			   struct rng *rng)
{
	uint32_t from = rng_below(rng, n), want = rng_len(rng, n), len, c;
	struct dafs_buddy_run best = { 0, 0 };

	for (c = 0; c < n; c += len + 1) {
		len = free_from(bits, n, c);
		if (len >= want && (!best.len || len < best.len))
			best = (struct dafs_buddy_run){ c, len };
	}
	expect_run(dafs_buddy_best_fit(b, want), best.start, best.len);
	for (c = from; c < n; c += len + 1) {
		len = free_from(bits, n, c);
		if (len >= want)
			break;
	}
	expect_run(dafs_buddy_first_fit(b, from, want), c, c < n ? len : 0);
}

static void test_build_sizes(void **state)
{
	static const uint32_t sizes[] = { 1, 7, 8, 63, 64, 65, 1000, 8192, 32768 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *bits = calloc(1, (sizes[i] + 7) / 8);
		struct dafs_buddy *b;

		assert_ok(dafs_buddy_new(NULL, sizes[i], &b));
		expect_all_equal(b, bits, sizes[i]);
		assert_int_equal(dafs_buddy_clusters(b), sizes[i]);
		dafs_buddy_free(b);
		for (uint32_t c = 0; c < sizes[i]; c += 3)
			mark(bits, c, 1, true);
		assert_ok(dafs_buddy_new(bits, sizes[i], &b));
		expect_all_equal(b, bits, sizes[i]);
		dafs_buddy_free(b);
		memset(bits, 0xff, (sizes[i] + 7) / 8);
		assert_ok(dafs_buddy_new(bits, sizes[i], &b));
		expect_all_equal(b, bits, sizes[i]);
		assert_int_equal(dafs_buddy_best_fit(b, 1).len, 0);
		dafs_buddy_free(b);
		free(bits);
	}
	dafs_buddy_free(NULL);
}

static void test_misuse_changes_nothing(void **state)
{
	struct dafs_buddy *b;

	(void)state;
	assert_ok(dafs_buddy_new(NULL, 100, &b));
	assert_ok(dafs_buddy_take(b, 10, 10));
	assert_err(DAFS_ET_INTERNAL, dafs_buddy_take(b, 5, 6));
	assert_err(DAFS_ET_INTERNAL, dafs_buddy_take(b, 19, 2));
	assert_err(DAFS_ET_INTERNAL, dafs_buddy_take(b, 90, 11));
	assert_err(DAFS_ET_INTERNAL, dafs_buddy_take(b, 30, 0));
	assert_err(DAFS_ET_INTERNAL, dafs_buddy_give(b, 9, 2));
	assert_err(DAFS_ET_INTERNAL, dafs_buddy_give(b, 19, 2));
	assert_err(DAFS_ET_INTERNAL, dafs_buddy_give(b, 15, 0));
	assert_err(DAFS_ET_INTERNAL, dafs_buddy_give(b, 100, 1));
	assert_int_equal(dafs_buddy_free_clusters(b), 90);
	assert_int_equal(dafs_buddy_fragments(b), 2);
	assert_true(dafs_buddy_verify(b));
	dafs_buddy_free(b);
}

static void test_orders(void **state)
{
	uint32_t counts[32];
	struct dafs_buddy *b;

	(void)state;
	assert_ok(dafs_buddy_new(NULL, 32768, &b));
	dafs_buddy_orders(b, 13, counts);
	assert_int_equal(counts[13], 4); /* 4 KiB blocks: chunks of at most 8192 */
	assert_ok(dafs_buddy_take(b, 0, 3));
	dafs_buddy_orders(b, 13, counts);
	assert_int_equal(counts[13], 3);
	for (unsigned k = 2; k < 13; k++)
		assert_int_equal(counts[k], 1);
	assert_int_equal(counts[1], 0);
	assert_int_equal(counts[0], 1); /* cluster 3 */
	expect_run(dafs_buddy_chunk(b, 13, 0), 3, 1);
	expect_run(dafs_buddy_chunk(b, 13, 1), 4, 4);
	assert_ok(dafs_buddy_take(b, 16, 16));
	expect_run(dafs_buddy_chunk(b, 13, 4), 32, 32);
	expect_run(dafs_buddy_chunk(b, 13, 13), 8192, 8192);
	expect_run(dafs_buddy_chunk(b, 13, 14), 0, 0);
	dafs_buddy_free(b);
}

#define CLUSTERS 700u

static void random_step(struct rng *rng, struct dafs_buddy *b, uint8_t *bits)
{
	uint32_t c = rng_below(rng, CLUSTERS), len = rng_len(rng, rng_below(rng, 4) ? 12 : 200),
		 n = 0;
	bool used = in_use(bits, c);

	while (c + n < CLUSTERS && n < len && in_use(bits, c + n) == used)
		n++;
	if (used)
		assert_ok(dafs_buddy_give(b, c, n));
	else
		assert_ok(dafs_buddy_take(b, c, n));
	mark(bits, c, n, !used);
}

static void random_round(struct rng *rng, void *arg)
{
	uint32_t steps = *(uint32_t *)arg;
	uint8_t bits[(CLUSTERS + 7) / 8];
	struct dafs_buddy *b;

	for (size_t i = 0; i < sizeof(bits); i++)
		bits[i] = (uint8_t)(test_random(&rng->state) & test_random(&rng->state));
	assert_ok(dafs_buddy_new(bits, CLUSTERS, &b));
	expect_all_equal(b, bits, CLUSTERS);
	for (uint32_t i = 0; i < steps; i++) {
		random_step(rng, b, bits);
		expect_queries(b, bits, CLUSTERS, rng);
		if (i % 16 == 0)
			expect_all_equal(b, bits, CLUSTERS);
	}
	expect_all_equal(b, bits, CLUSTERS);
	dafs_buddy_free(b);
}

static void test_against_bitmap(void **state)
{
	uint32_t steps = test_steps(10000, 1000000);

	(void)state;
	for_seeds(4, random_round, &steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build_sizes),
		cmocka_unit_test(test_misuse_changes_nothing),
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_against_bitmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
