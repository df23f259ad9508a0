/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ialloc: order of the numbers, and on random bitmaps that every free one is given once, as the
 * rule says. */
#include "config.h"

#include "alloc/ialloc.h"

#include "seeded.h"

#include <string.h>

struct inodes {
	struct dafs_ispace space;
	uint8_t *bits;
	uint32_t bytes; /* a group */
	unsigned looks;
	uint32_t bad_grp;
	uint32_t empty_grp; /* its descriptor says that nothing is free */
};

static struct dafs_ctx ctx;

static errcode_t bits_of(void *arg, uint32_t grp, const uint8_t **bits)
{
	struct inodes *in = arg;

	in->looks++;
	if (grp == in->bad_grp)
		return DAFS_ET_CORRUPT_BITMAP;
	*bits = in->bits + (size_t)grp * in->bytes;
	return 0;
}

static uint32_t free_of(void *arg, uint32_t grp)
{
	struct inodes *in = arg;

	return grp == in->empty_grp ? 0 : in->space.inodes_per_group;
}

static void init(struct inodes *in, uint32_t groups, uint32_t per_group, uint32_t first_ino)
{
	*in = (struct inodes){
		.space = { .groups = groups,
			   .inodes_per_group = per_group,
			   .first_ino = first_ino,
			   .arg = in,
			   .bits = bits_of,
			   .free = free_of },
		.bytes = (per_group + 7) / 8,
		.bad_grp = ~0u,
		.empty_grp = ~0u,
	};
	in->bits = calloc(groups, in->bytes);
}

static bool is_used(const struct inodes *in, uint32_t ino)
{
	uint32_t grp = (ino - 1) / in->space.inodes_per_group;
	uint32_t at = (ino - 1) % in->space.inodes_per_group;

	return in->bits[(size_t)grp * in->bytes + at / 8] >> (at % 8) & 1;
}

static void use(struct inodes *in, uint32_t ino)
{
	uint32_t grp = (ino - 1) / in->space.inodes_per_group;
	uint32_t at = (ino - 1) % in->space.inodes_per_group;
	uint8_t *byte = &in->bits[(size_t)grp * in->bytes + at / 8];

	*byte = (uint8_t)(*byte | 1u << (at % 8));
}

static uint32_t pick(struct dafs_ialloc *ia, uint32_t parent)
{
	uint32_t ino;

	assert_ok(dafs_ialloc_pick(ia, parent, &ino));
	return ino;
}

static void test_new_tree_is_in_order(void **state)
{
	struct dafs_ialloc *ia;
	struct inodes in;

	(void)state;
	init(&in, 4, 64, 11);
	use(&in, 11); /* lost+found */
	assert_ok(dafs_ialloc_new(&ctx, &in.space, &ia));
	for (uint32_t ino = 12; ino <= 4 * 64; ino++)
		assert_int_equal(pick(ia, ino > 20 ? ino - 1 : 2), ino);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t ino = 77;

		assert_err(DAFS_ET_NOINODES, dafs_ialloc_pick(ia, 2, &ino));
		assert_int_equal(ino, 0);
	}
	assert_int_equal(in.looks, 4);
	dafs_ialloc_free(ia);
	free(in.bits);
}

static void test_near_the_directory(void **state)
{
	struct dafs_ialloc *ia;
	struct inodes in;

	(void)state;
	init(&in, 4, 64, 11);
	use(&in, 130);
	assert_ok(dafs_ialloc_new(&ctx, &in.space, &ia));
	assert_int_equal(pick(ia, 130), 129); /* group 2, lowest first */
	assert_int_equal(pick(ia, 130), 131);
	assert_int_equal(pick(ia, 2), 11);
	assert_int_equal(pick(ia, 0), 12);
	assert_int_equal(pick(ia, 131), 132);
	assert_int_equal(pick(ia, 100000), 13); /* no such directory */
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(pick(ia, 250), 193 + i);
	assert_int_equal(pick(ia, 250), 14); /* round the end */
	assert_int_equal(in.looks, 3);
	dafs_ialloc_free(ia);
	free(in.bits);
}

static void test_descriptors_and_errors(void **state)
{
	struct dafs_ialloc *ia;
	struct inodes in;
	uint32_t ino;

	(void)state;
	init(&in, 3, 16, 20); /* the reserved ones fill the first group */
	in.empty_grp = 1;
	in.bad_grp = 2;
	assert_ok(dafs_ialloc_new(&ctx, &in.space, &ia));
	assert_err(DAFS_ET_CORRUPT_BITMAP, dafs_ialloc_pick(ia, 2, &ino));
	assert_int_equal(ino, 0);
	in.bad_grp = ~0u;
	assert_int_equal(pick(ia, 2), 33);
	dafs_ialloc_free(ia);
	dafs_ialloc_free(NULL);
	free(in.bits);
}

/* The rule, by a scan. */
static uint32_t model_pick(const struct inodes *in, uint32_t parent)
{
	uint32_t per_group = in->space.inodes_per_group, all = in->space.groups * per_group;
	uint32_t start = parent ? (parent - 1) / per_group * per_group : 0;

	for (uint32_t i = 0; i < all; i++) {
		uint32_t ino = (start + i) % all + 1;

		if (ino >= in->space.first_ino && !is_used(in, ino))
			return ino;
	}
	return 0;
}

static void random_round(struct rng *rng, void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++) {
		uint32_t per_group = 8 * (1 + rng_below(rng, 20)), groups = 1 + rng_below(rng, 30);
		uint32_t percent = rng_below(rng, 101), ino;
		struct dafs_ialloc *ia;
		struct inodes committed, now;

		init(&committed, groups, per_group, 11);
		for (ino = 1; ino <= groups * per_group; ino++) {
			if (rng_below(rng, 100) < percent)
				use(&committed, ino);
		}
		init(&now, groups, per_group, 11);
		memcpy(now.bits, committed.bits, (size_t)groups * now.bytes);
		assert_ok(dafs_ialloc_new(&ctx, &committed.space, &ia));
		for (;;) {
			uint32_t parent = rng_below(rng, groups * per_group + 1);
			uint32_t want = model_pick(&now, parent);
			errcode_t err = dafs_ialloc_pick(ia, parent, &ino);

			assert_int_equal(ino, want);
			assert_int_equal(err, want ? 0 : DAFS_ET_NOINODES);
			if (err)
				break;
			use(&now, ino);
		}
		dafs_ialloc_free(ia);
		free(committed.bits);
		free(now.bits);
	}
}

static void test_against_model(void **state)
{
	(void)state;
	for_seeds(4, random_round, NULL);
}

/* A flat directory in a large image whose groups fill up one after the other. */
static void test_many(void **state)
{
	uint32_t n = test_steps(200000, 5000000);
	struct dafs_ialloc *ia;
	struct inodes in;

	(void)state;
	init(&in, n / 16 + 2, 16, 11);
	assert_ok(dafs_ialloc_new(&ctx, &in.space, &ia));
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(pick(ia, 2), 11 + i);
	dafs_ialloc_free(ia);
	free(in.bits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_tree_is_in_order),
		cmocka_unit_test(test_near_the_directory),
		cmocka_unit_test(test_descriptors_and_errors),
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
