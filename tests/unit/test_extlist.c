/* SPDX-License-Identifier: GPL-2.0-or-later */
/* extlist: the merge rule at its limits, then random edits against a flat array of blocks. */
#include "config.h"

#include "model/extlist.h"

#include "seeded.h"

#include <string.h>

static bool is_merged(const struct dafs_extlist *xl)
{
	for (size_t i = 1; i < xl->n; i++) {
		const struct dafs_extent *a = &xl->v[i - 1], *b = &xl->v[i];
		uint32_t most = a->unwritten ? DAFS_EXT_MAX_UNWRITTEN : DAFS_EXT_MAX_WRITTEN;

		if (a->unwritten == b->unwritten && dafs_extent_end(a) == b->lblk &&
		    a->pblk + a->len == b->pblk && (uint32_t)a->len + b->len <= most)
			return false;
	}
	return true;
}

static void expect(const struct dafs_extlist *xl, const struct dafs_extent *want, size_t n)
{
	assert_true(dafs_extlist_verify(xl));
	assert_int_equal(xl->n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(xl->v[i].lblk, want[i].lblk);
		assert_int_equal(xl->v[i].len, want[i].len);
		assert_int_equal(xl->v[i].pblk, want[i].pblk);
		assert_int_equal(xl->v[i].unwritten, want[i].unwritten);
	}
}
#define EXPECT(xl, ...)                                                                            \
	expect((xl), (const struct dafs_extent[]){ __VA_ARGS__ },                                  \
	       sizeof((const struct dafs_extent[]){ __VA_ARGS__ }) / sizeof(struct dafs_extent))

static void test_append_fills_up(void **state)
{
	struct dafs_extlist xl = { 0 };

	(void)state;
	assert_ok(dafs_extlist_append(&xl, 1000, 0, 30000, false));
	assert_ok(dafs_extlist_append(&xl, 31000, 30000, 40000, false));
	EXPECT(&xl, { .pblk = 1000, .lblk = 0, .len = 32768 },
	       { .pblk = 33768, .lblk = 32768, .len = 32768 },
	       { .pblk = 66536, .lblk = 65536, .len = 4464 });
	assert_ok(dafs_extlist_append(&xl, 71000, 70000, 32768, true));
	assert_int_equal(xl.v[3].len, 32767);
	assert_int_equal(xl.v[4].len, 1);
	assert_err(DAFS_ET_RANGE, dafs_extlist_append(&xl, 1, 5, 1, false));
	assert_err(DAFS_ET_RANGE, dafs_extlist_append(&xl, 1, 0xFFFFFFFF, 1, false));
	assert_err(DAFS_ET_RANGE, dafs_extlist_append(&xl, 1, 200000, 0, false));
	assert_int_equal(dafs_extlist_blocks(&xl), 102768);
	assert_int_equal(dafs_extlist_search(&xl, 32767), 0);
	assert_int_equal(dafs_extlist_search(&xl, 32768), 1);
	assert_int_equal(dafs_extlist_search(&xl, 200000), xl.n);
	dafs_extlist_fini(&xl);
}

static void test_set_splits_and_frees(void **state)
{
	struct dafs_extlist xl = { 0 }, freed = { 0 };

	(void)state;
	assert_ok(dafs_extlist_append(&xl, 1000, 0, 100, false));
	assert_ok(dafs_extlist_set(&xl, 5000, 40, 20, false, &freed));
	EXPECT(&xl, { .pblk = 1000, .lblk = 0, .len = 40 }, { .pblk = 5000, .lblk = 40, .len = 20 },
	       { .pblk = 1060, .lblk = 60, .len = 40 });
	EXPECT(&freed, { .pblk = 1040, .lblk = 40, .len = 20 });
	freed.n = 0;
	assert_ok(dafs_extlist_set(&xl, 1040, 40, 20, false, &freed)); /* back again: one */
	EXPECT(&xl, { .pblk = 1000, .lblk = 0, .len = 100 });
	EXPECT(&freed, { .pblk = 5000, .lblk = 40, .len = 20 });
	freed.n = 0;
	assert_ok(dafs_extlist_clear(&xl, 90, 0xFFFFFFFF, &freed));
	EXPECT(&xl, { .pblk = 1000, .lblk = 0, .len = 90 });
	EXPECT(&freed, { .pblk = 1090, .lblk = 90, .len = 10 });
	dafs_extlist_fini(&freed);
	assert_ok(dafs_extlist_clear(&xl, 0, 1000, NULL));
	assert_int_equal(xl.n, 0);
	dafs_extlist_fini(&xl);
	assert_ok(dafs_extlist_clear(&xl, 0, 1000, NULL)); /* an empty list */
	dafs_extlist_fini(&xl);
}

static void test_same_block_is_not_freed(void **state)
{
	struct dafs_extlist xl = { 0 }, freed = { 0 };

	(void)state;
	assert_ok(dafs_extlist_append(&xl, 700, 10, 100, true));
	assert_ok(dafs_extlist_set(&xl, 710, 20, 30, false, &freed));
	assert_int_equal(freed.n, 0);
	EXPECT(&xl, { .pblk = 700, .lblk = 10, .len = 10, .unwritten = 1 },
	       { .pblk = 710, .lblk = 20, .len = 30 },
	       { .pblk = 740, .lblk = 50, .len = 60, .unwritten = 1 });
	dafs_extlist_fini(&xl);
	dafs_extlist_fini(&freed);
}

static void test_pushed_stay_apart(void **state)
{
	static const struct dafs_extent found[] = {
		{ .pblk = 100, .lblk = 0, .len = 10 },
		{ .pblk = 110, .lblk = 10, .len = 10 },
		{ .pblk = 120, .lblk = 20, .len = 10 },
		{ .pblk = 900, .lblk = 50, .len = 10 },
	};
	struct dafs_extent bad = { .pblk = 1, .lblk = 100, .len = 32768, .unwritten = 1 };
	struct dafs_extlist xl = { 0 };

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_ok(dafs_extlist_push(&xl, &found[i]));
	assert_err(DAFS_ET_RANGE, dafs_extlist_push(&xl, &found[3]));
	assert_err(DAFS_ET_RANGE, dafs_extlist_push(&xl, &bad));
	assert_ok(dafs_extlist_set(&xl, 800, 60, 5, false, NULL));
	assert_int_equal(xl.n, 5);
	assert_ok(dafs_extlist_clear(&xl, 65, 70, NULL));
	assert_int_equal(xl.n, 5);
	/* An edit merges what it touches: its left neighbour, and what its right neighbour's rest
	 * goes on into. */
	assert_ok(dafs_extlist_clear(&xl, 9, 11, NULL));
	EXPECT(&xl, { .pblk = 100, .lblk = 0, .len = 9 }, { .pblk = 111, .lblk = 11, .len = 19 },
	       { .pblk = 900, .lblk = 50, .len = 10 }, { .pblk = 800, .lblk = 60, .len = 5 });
	dafs_extlist_fini(&xl);
}

/* The model. BLOCKS exceeds the length limits so that cuts at them happen. */
#define BLOCKS 140000u
struct model {
	uint64_t pblk[BLOCKS]; /* 0: not mapped */
	bool unwritten[BLOCKS];
};

static struct dafs_extent random_extent(struct rng *rng, uint32_t from, uint32_t to, uint32_t *len)
{
	uint32_t at = from + rng_below(rng, to - from);

	*len = rng_len(rng, to - at);
	return (struct dafs_extent){ .lblk = at,
				     .pblk = at + 1000000u * (1 + rng_below(rng, 2)),
				     .unwritten = rng_below(rng, 4) == 0 };
}

/* What the change must free, block by block, is compared with what it said it freed. */
static void model_set(struct model *m, uint32_t lblk, uint32_t end, const struct dafs_extent *to,
		      const struct dafs_extlist *freed)
{
	size_t at = 0;
	uint32_t off = 0;

	for (uint32_t i = lblk; i < end; i++) {
		uint64_t pblk = to ? to->pblk + (i - to->lblk) : 0;

		if (m->pblk[i] && m->pblk[i] != pblk) {
			assert_true(at < freed->n);
			assert_int_equal(freed->v[at].lblk + off, i);
			assert_int_equal(freed->v[at].pblk + off, m->pblk[i]);
			if (++off == freed->v[at].len) {
				at++;
				off = 0;
			}
		}
		m->pblk[i] = pblk;
		m->unwritten[i] = to && to->unwritten;
	}
	assert_int_equal(at, freed->n);
}

static void compare(const struct model *m, const struct dafs_extlist *xl)
{
	uint32_t next = 0;

	assert_true(dafs_extlist_verify(xl));
	assert_true(is_merged(xl));
	for (size_t i = 0; i < xl->n; i++) {
		const struct dafs_extent *e = &xl->v[i];

		for (; next < e->lblk; next++)
			assert_int_equal(m->pblk[next], 0);
		for (; next < dafs_extent_end(e); next++) {
			if (m->pblk[next] != e->pblk + (next - e->lblk) ||
			    m->unwritten[next] != e->unwritten)
				fail_msg("block %u", next);
		}
	}
	for (; next < BLOCKS; next++)
		assert_int_equal(m->pblk[next], 0);
}

/* Several edits at once must do what one after the other does. */
static void apply_some(struct rng *rng, struct dafs_extlist *xl, struct model *m)
{
	struct dafs_extlist edits = { 0 }, freed = { 0 }, one_by_one = { 0 }, freed_one = { 0 };
	uint32_t at = 0, len;

	for (size_t i = 0; i < xl->n; i++)
		assert_ok(dafs_extlist_push(&one_by_one, &xl->v[i]));
	while (at < BLOCKS - 20000) {
		struct dafs_extent e = random_extent(rng, at, at + 10000, &len);

		assert_ok(dafs_extlist_append(&edits, e.pblk, e.lblk, len, e.unwritten));
		at = e.lblk + len;
	}
	assert_ok(dafs_extlist_apply(xl, &edits, &freed));
	for (size_t i = 0; i < edits.n; i++) {
		const struct dafs_extent *e = &edits.v[i];

		freed_one.n = 0;
		assert_ok(dafs_extlist_set(&one_by_one, e->pblk, e->lblk, e->len, e->unwritten,
					   &freed_one));
		model_set(m, e->lblk, dafs_extent_end(e), e, &freed_one);
		for (size_t k = 0; k < freed_one.n; k++) {
			for (uint32_t b = 0; b < freed_one.v[k].len; b++) {
				size_t f = 0;

				while (f < freed.n &&
				       dafs_extent_end(&freed.v[f]) <= freed_one.v[k].lblk + b)
					f++;
				assert_true(f < freed.n &&
					    freed.v[f].lblk <= freed_one.v[k].lblk + b);
			}
		}
	}
	assert_int_equal(dafs_extlist_blocks(&one_by_one), dafs_extlist_blocks(xl));
	compare(m, xl);
	dafs_extlist_fini(&edits);
	dafs_extlist_fini(&freed);
	dafs_extlist_fini(&one_by_one);
	dafs_extlist_fini(&freed_one);
}

static void random_round(struct rng *rng, void *arg)
{
	uint32_t steps = *(uint32_t *)arg;
	struct model *m = calloc(1, sizeof(*m));
	struct dafs_extlist xl = { 0 }, freed = { 0 };

	for (uint32_t i = 0; i < steps; i++) {
		uint32_t len;
		struct dafs_extent e = random_extent(rng, 0, BLOCKS, &len);

		freed.n = 0;
		if (rng_below(rng, 3)) {
			assert_ok(dafs_extlist_set(&xl, e.pblk, e.lblk, len, e.unwritten, &freed));
			model_set(m, e.lblk, e.lblk + len, &e, &freed);
		} else {
			assert_ok(dafs_extlist_clear(&xl, e.lblk, e.lblk + len, &freed));
			model_set(m, e.lblk, e.lblk + len, NULL, &freed);
		}
		assert_true(dafs_extlist_verify(&xl));
		assert_true(is_merged(&xl));
		if (i % 256 == 0)
			compare(m, &xl);
		if (i % 1000 == 999)
			apply_some(rng, &xl, m);
	}
	compare(m, &xl);
	dafs_extlist_fini(&xl);
	dafs_extlist_fini(&freed);
	free(m);
}

static void test_against_model(void **state)
{
	uint32_t steps = test_steps(4000, 100000);

	(void)state;
	for_seeds(4, random_round, &steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_fills_up),
		cmocka_unit_test(test_set_splits_and_frees),
		cmocka_unit_test(test_same_block_is_not_freed),
		cmocka_unit_test(test_pushed_stay_apart),
		cmocka_unit_test(test_against_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
