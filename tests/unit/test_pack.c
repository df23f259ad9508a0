/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pack: every answer is checked (everything placed once, in the runs, nothing twice); small ones
 * have as few pieces as a solver finds that tries everything (pack_model.h); larger ones are
 * never under the lower bound, and as good as one that was made up without a cut.
 */
#include "config.h"

#include "model/pack.h"
#include "pack_model.h"
#include "seeded.h"

#include <errno.h>

struct problem {
	uint64_t lens[4096];
	size_t n;
	struct dafs_pack_run runs[4096];
	size_t m;
};

static struct problem pb;

static void add_run(uint64_t len)
{
	struct dafs_pack_run *last = pb.m ? &pb.runs[pb.m - 1] : NULL;

	pb.runs[pb.m++] =
		(struct dafs_pack_run){ .start = last ? last->start + last->len + 1 + len % 3 : 17,
					.len = len };
}

static uint64_t room(void)
{
	uint64_t sum = 0;

	for (size_t r = 0; r < pb.m; r++)
		sum += pb.runs[r].len;
	return sum;
}

/* Solve and check; the number of pieces. */
static size_t solved(uint64_t *least)
{
	struct dafs_pack pack;
	uint64_t filled[4096] = { 0 };
	size_t n;

	assert_int_equal(dafs_pack_solve(pb.lens, pb.n, pb.runs, pb.m, &pack), 0);
	assert_int_equal(pack.n, pb.n);
	assert_int_equal(pack.first[0], 0);
	assert_int_equal(pack.first[pb.n], pack.npieces);
	for (size_t i = 0; i < pb.n; i++) {
		uint64_t sum = 0;

		for (size_t k = pack.first[i]; k < pack.first[i + 1]; k++) {
			const struct dafs_pack_run *e = &pack.pieces[k];
			size_t r = 0;

			while (r + 1 < pb.m && pb.runs[r + 1].start <= e->start)
				r++;
			/* Runs are filled from their begin, in order, without gaps. */
			assert_true(e->len > 0);
			assert_int_equal(e->start, pb.runs[r].start + filled[r]);
			filled[r] += e->len;
			assert_true(filled[r] <= pb.runs[r].len);
			assert_true(k == pack.first[i] || e[-1].start + e[-1].len < e->start);
			sum += e->len;
		}
		assert_int_equal(sum, pb.lens[i]);
	}
	*least = pack.least;
	n = pack.npieces;
	assert_true(pack.least <= n && pack.least >= pb.n);
	dafs_pack_fini(&pack);
	return n;
}

static unsigned fewest(unsigned at_most)
{
	struct pack_model pm = { .n = (unsigned)pb.n, .m = (unsigned)pb.m };

	for (size_t i = 0; i < pb.n; i++)
		pm.lens[i] = pb.lens[i];
	for (size_t r = 0; r < pb.m; r++)
		pm.runs[r] = pb.runs[r].len;
	return pm_fewest(&pm, at_most);
}

static void small_round(struct rng *rng, void *arg)
{
	for (uint32_t i = 0; i < *(uint32_t *)arg; i++) {
		uint32_t longest = 2 + rng_below(rng, 30), items = 1 + rng_below(rng, 5);
		uint64_t least, left;
		unsigned got, want;

		pb.n = pb.m = 0;
		for (uint32_t m = 1 + rng_below(rng, 7); m; m--)
			add_run(1 + rng_below(rng, longest));
		for (left = room(); pb.n < items && left; pb.n++) {
			pb.lens[pb.n] = 1 + rng_below(rng, (uint32_t)(left < 40 ? left : 40));
			left -= pb.lens[pb.n];
		}
		got = (unsigned)solved(&least);
		/* One that is as good is enough: the solver need not look further. */
		want = fewest(got);
		assert_int_equal(got, want);
		assert_int_equal(least, want);
		assert_true(dafs_pack_least(pb.lens, pb.n, pb.runs, pb.m) <= want);
	}
}

static void test_small_exact(void **state)
{
	uint32_t problems = test_steps(500, 20000);

	(void)state;
	for_seeds(6, small_round, &problems);
}

/* Few lengths, more runs than are solved at once: hardly ever more than the fewest. */
static void medium_round(struct rng *rng, void *arg)
{
	unsigned worse = 0;

	for (uint32_t i = 0; i < *(uint32_t *)arg; i++) {
		uint64_t least, left;
		unsigned got;

		pb.n = pb.m = 0;
		for (uint32_t m = 12 + rng_below(rng, 2); m; m--)
			add_run(1 + rng_below(rng, 12));
		for (left = room(); pb.n < 3 && left; pb.n++) {
			pb.lens[pb.n] = 1 + rng_below(rng, (uint32_t)(left < 20 ? left : 20));
			left -= pb.lens[pb.n];
		}
		got = (unsigned)solved(&least);
		if (got > least && got > fewest(got))
			worse++;
	}
	print_message("# %u of %u problems with more pieces than the fewest\n", worse,
		      *(uint32_t *)arg);
	assert_true(worse * 10 <= *(uint32_t *)arg);
}

static void test_medium_near(void **state)
{
	uint32_t problems = test_steps(40, 1000);

	(void)state;
	for_seeds(4, medium_round, &problems);
}

/* Free space with a past: runs of an exponential mix of lengths; the lengths take percent of it. */
static void age(struct rng *rng, uint32_t percent)
{
	uint64_t left;

	pb.n = pb.m = 0;
	for (uint32_t m = 300 + rng_below(rng, 300); m; m--)
		add_run(rng_len(rng, 200));
	for (left = room() * percent / 100; left && pb.n < 4000; pb.n++) {
		uint64_t len = rng_len(rng, 400);

		pb.lens[pb.n] = len < left ? len : left;
		left -= pb.lens[pb.n];
	}
}

static void aged_round(struct rng *rng, void *arg)
{
	static const uint32_t percents[] = { 30, 60, 90 };
	uint64_t least, pieces, all = 0, bounds = 0;

	(void)arg;
	for (int i = 0; i < 3; i++) {
		age(rng, percents[i]);
		pieces = solved(&least);
		print_message("# %u %%: %zu lengths, %zu runs: %" PRIu64 " pieces, bound %" PRIu64
			      "\n",
			      percents[i], pb.n, pb.m, pieces, least);
		all += pieces;
		bounds += least;
	}
	assert_true(all * 100 <= bounds * 107);
	/* To the last of it. */
	age(rng, 100);
	(void)solved(&least);
}

static void test_aged_near_bound(void **state)
{
	(void)state;
	for_seeds(test_steps(4, 100), aged_round, NULL);
}

/* Every run of five blocks: each length alone, whole runs first. */
static void test_comb(void **state)
{
	uint64_t least;

	(void)state;
	pb.n = pb.m = 0;
	for (int r = 0; r < 1000; r++)
		add_run(5);
	for (int i = 0; i < 100; i++)
		pb.lens[pb.n++] = i % 2 ? 12 : 7;
	pb.lens[pb.n++] = 64;
	assert_int_equal(solved(&least), 50 * 3 + 50 * 2 + 13);
	assert_int_equal(least, 50 * 3 + 50 * 2 + 13);
	/* Full to the last. */
	for (uint64_t left = room() - 50 * 19 - 64; left >= 5; left -= 5)
		pb.lens[pb.n++] = 5;
	(void)solved(&least);
}

static void test_refused(void **state)
{
	struct dafs_pack pack;

	(void)state;
	pb.n = pb.m = 0;
	add_run(3);
	add_run(4);
	pb.lens[pb.n++] = 8;
	assert_int_equal(dafs_pack_solve(pb.lens, 1, pb.runs, 2, &pack), DAFS_ET_NOSPC_ALLOC);
	assert_null(pack.pieces);
	pb.lens[0] = 7;
	assert_int_equal(dafs_pack_solve(pb.lens, 1, pb.runs, 2, &pack), 0);
	assert_int_equal(pack.npieces, 2);
	dafs_pack_fini(&pack);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_exact),	cmocka_unit_test(test_medium_near),
		cmocka_unit_test(test_aged_near_bound), cmocka_unit_test(test_comb),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
