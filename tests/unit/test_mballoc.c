/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mballoc: the rules one by one; on random spaces every answer is checked against the flat array
 * (free, disjoint, aligned) and its number of pieces against an exact solver; the comparison mode
 * never does better in sum.
 */
#include "config.h"

#include "alloc/mballoc.h"

#include "space_model.h"

#include <time.h>

#define DATA DAFS_ALLOC_DATA

static struct dafs_ctx ctx;

static struct dafs_mballoc *allocator(struct space_model *m)
{
	struct dafs_mballoc *ma;

	model_seal(m);
	assert_ok(dafs_mballoc_new(&ctx, &m->space, &ma));
	return ma;
}

/* Blocks in the extents; with the model marked. Whole clusters are taken, each once. */
static uint64_t mark_taken(struct space_model *m, const struct dafs_extlist *xl)
{
	uint32_t ratio = UINT32_C(1) << m->space.cluster_bits;
	uint64_t blocks = 0;

	for (size_t i = 0; i < xl->n; i++) {
		const struct dafs_extent *e = &xl->v[i];
		uint64_t off = e->pblk - m->space.first_data_block;
		uint64_t first = off / ratio, past = (off + e->len - 1) / ratio + 1;

		assert_int_equal(off % ratio, e->lblk % ratio);
		/* A physically contiguous run longer than an extent may be cut inside a cluster. */
		if (i && (e->lblk % ratio) && e[-1].pblk + e[-1].len == e->pblk)
			first++;
		model_mark(m, first, past - first, true);
		blocks += e->len;
	}
	return blocks;
}

/* Place and check; returns the number of extents. */
static size_t place(struct dafs_mballoc *ma, struct space_model *m, struct dafs_alloc_req req,
		    uint64_t *first)
{
	struct dafs_extlist xl = { 0 };
	size_t n;

	assert_ok(dafs_mballoc_place(ma, &req, &xl));
	assert_true(dafs_extlist_verify(&xl));
	assert_int_equal(mark_taken(m, &xl), req.len);
	assert_int_equal(xl.v[0].lblk, req.lblk);
	assert_int_equal(dafs_extent_end(&xl.v[xl.n - 1]), req.lblk + req.len);
	for (size_t i = 1; i < xl.n && !(req.flags & DAFS_ALLOC_KERNEL); i++)
		assert_true(xl.v[i - 1].pblk < xl.v[i].pblk);
	assert_int_equal(dafs_mballoc_free_clusters(ma), model_free_clusters(m));
	*first = xl.v[0].pblk;
	n = xl.n;
	dafs_extlist_fini(&xl);
	return n;
}

static void expect_at(struct dafs_mballoc *ma, struct space_model *m, struct dafs_alloc_req req,
		      uint64_t want)
{
	uint64_t at;

	assert_int_equal(place(ma, m, req, &at), 1);
	assert_int_equal(at, want);
}

static void test_goal_first(void **state)
{
	struct dafs_extlist xl = { 0 };
	struct space_model m;
	struct dafs_mballoc *ma;

	(void)state;
	model_init(&m, 4 * 8192, 8192, 1);
	m.space.first_data_block = 1;
	model_mark(&m, 0, 300, true);
	model_mark(&m, 1000, 1, true);
	ma = allocator(&m);
	expect_at(ma, &m, (struct dafs_alloc_req){ .goal = 501, .len = 500, .flags = DATA }, 501);
	expect_at(ma, &m, (struct dafs_alloc_req){ .goal = 1001, .len = 7, .flags = DATA }, 1002);
	expect_at(ma, &m, (struct dafs_alloc_req){ .len = 7, .flags = DATA }, 301);
	/* Only there: nothing is no error. */
	assert_ok(dafs_mballoc_place(
		ma,
		&(struct dafs_alloc_req){
			.goal = 400, .len = 200, .flags = DATA | DAFS_ALLOC_GOAL_ONLY },
		&xl));
	assert_int_equal(xl.n, 0);
	expect_at(ma, &m,
		  (struct dafs_alloc_req){
			  .goal = 308, .len = 193, .flags = DATA | DAFS_ALLOC_GOAL_ONLY },
		  308);
	/* A goal outside counts as none. */
	expect_at(ma, &m, (struct dafs_alloc_req){ .goal = UINT64_MAX, .len = 8, .flags = DATA },
		  1009);
	dafs_mballoc_free(ma);
	model_fini(&m);
}

static void test_data_keeps_off_metadata_groups(void **state)
{
	struct space_model m;
	struct dafs_mballoc *ma;

	(void)state;
	model_init(&m, 8 * 1024, 1024, 4);
	ma = allocator(&m);
	expect_at(ma, &m, (struct dafs_alloc_req){ .len = 10, .flags = DATA }, 1024);
	expect_at(ma, &m, (struct dafs_alloc_req){ .len = 10, .flags = DAFS_ALLOC_META }, 0);
	expect_at(ma, &m,
		  (struct dafs_alloc_req){ .goal = 5000, .len = 10, .flags = DAFS_ALLOC_META },
		  5000);
	expect_at(ma, &m, (struct dafs_alloc_req){ .len = 3 * 1024, .flags = DATA }, 5 * 1024);
	expect_at(ma, &m, (struct dafs_alloc_req){ .len = 3 * 1024 - 10, .flags = DATA }, 1034);
	expect_at(ma, &m, (struct dafs_alloc_req){ .len = 1000, .flags = DATA },
		  10); /* no room elsewhere */
	dafs_mballoc_free(ma);
	model_fini(&m);
}

static void test_large_fit_best(void **state)
{
	struct space_model m;
	struct dafs_mballoc *ma;
	uint64_t at;

	(void)state;
	model_init(&m, 4 * 8192, 8192, 1);
	model_mark(&m, 0, 5000, true);
	model_mark(&m, 5100, 900, true);
	model_mark(&m, 6400, 12600, true); /* 400 free at 6000 */
	model_mark(&m, 19300, 1, true);	   /* 300 free at 19000 */
	ma = allocator(&m);
	expect_at(ma, &m, (struct dafs_alloc_req){ .len = 290, .flags = DATA }, 19000);
	expect_at(ma, &m, (struct dafs_alloc_req){ .len = 90, .flags = DATA }, 5000);
	assert_int_equal(place(ma, &m, (struct dafs_alloc_req){ .len = 400, .flags = DATA }, &at),
			 1);
	assert_int_equal(at, 6000);
	dafs_mballoc_free(ma);
	model_fini(&m);
}

/* 1 KiB blocks: a full extent needs four groups of 8192. */
static void test_extents_cross_groups(void **state)
{
	struct space_model m;
	struct dafs_mballoc *ma;
	uint64_t at;

	(void)state;
	model_init(&m, 64 * 8192, 8192, 1);
	m.space.first_data_block = 1;
	for (uint32_t g = 0; g < 64; g += 13)
		model_mark(&m, (uint64_t)g * 8192, 260, true);
	ma = allocator(&m);
	assert_int_equal(
		place(ma, &m, (struct dafs_alloc_req){ .len = 3 * 32768 + 5, .flags = DATA }, &at),
		4);
	/* More than any run holds: still one extent per 32768 blocks. */
	assert_int_equal(
		place(ma, &m, (struct dafs_alloc_req){ .len = 8 * 32768 + 1, .flags = DATA }, &at),
		9);
	dafs_mballoc_free(ma);
	model_fini(&m);
}

static void test_no_space_changes_nothing(void **state)
{
	struct dafs_extlist xl = { 0 };
	struct space_model m;
	struct dafs_mballoc *ma;
	uint64_t at;

	(void)state;
	model_init(&m, 2000, 500, 1);
	for (uint64_t c = 0; c < 2000; c += 2)
		model_mark(&m, c, 1, true);
	ma = allocator(&m);
	/* The descriptors promise more than there is. */
	m.claim[3] += 100;
	dafs_mballoc_free(ma);
	assert_ok(dafs_mballoc_new(&ctx, &m.space, &ma));
	assert_ok(dafs_extlist_append(&xl, 7, 0, 3, false));
	assert_err(DAFS_ET_NOSPC_ALLOC,
		   dafs_mballoc_place(
			   ma, &(struct dafs_alloc_req){ .lblk = 3, .len = 1001, .flags = DATA },
			   &xl));
	assert_err(DAFS_ET_NOSPC_ALLOC,
		   dafs_mballoc_place(
			   ma, &(struct dafs_alloc_req){ .lblk = 3, .len = ~0u - 3, .flags = DATA },
			   &xl));
	assert_err(
		DAFS_ET_RANGE,
		dafs_mballoc_place(
			ma, &(struct dafs_alloc_req){ .lblk = 3, .len = ~0u, .flags = DATA }, &xl));
	assert_err(DAFS_ET_RANGE,
		   dafs_mballoc_place(ma, &(struct dafs_alloc_req){ .lblk = 3 }, &xl));
	/* out does not end before lblk: taken blocks go back. */
	assert_err(DAFS_ET_RANGE,
		   dafs_mballoc_place(ma, &(struct dafs_alloc_req){ .lblk = 2, .len = 5 }, &xl));
	assert_int_equal(xl.n, 1);
	assert_int_equal(xl.v[0].len, 3);
	assert_int_equal(dafs_mballoc_free_clusters(ma), 1000);
	assert_int_equal(place(ma, &m, (struct dafs_alloc_req){ .len = 1000, .flags = DATA }, &at),
			 1000);
	dafs_extlist_fini(&xl);
	dafs_mballoc_free(ma);
	model_fini(&m);
}

static void test_take_what_others_chose(void **state)
{
	struct space_model m;
	struct dafs_mballoc *ma;

	(void)state;
	model_init(&m, 1024, 1024, 1);
	m.space.cluster_bits = 4;
	ma = allocator(&m);
	assert_ok(dafs_mballoc_take(ma, 100, 20)); /* clusters 6 and 7 */
	assert_int_equal(dafs_mballoc_free_clusters(ma), 1022);
	assert_err(DAFS_ET_INTERNAL, dafs_mballoc_take(ma, 127, 2));
	assert_err(DAFS_ET_RANGE, dafs_mballoc_take(ma, 1024 * 16, 1));
	assert_err(DAFS_ET_RANGE, dafs_mballoc_take(ma, 0, 0));
	model_mark(&m, 6, 2, true);
	expect_at(ma, &m, (struct dafs_alloc_req){ .goal = 96, .lblk = 3, .len = 16 }, 131);
	assert_ok(dafs_mballoc_return(ma, 96, 32));
	assert_int_equal(dafs_mballoc_free_clusters(ma), 1022);
	dafs_mballoc_free(ma);
	model_fini(&m);
}

static void test_window(void **state)
{
	struct space_model m;
	struct dafs_mballoc *ma;

	(void)state;
	model_init(&m, 4 * 1024, 1024, 4);
	model_mark(&m, 1024 + 100, 50, true);
	ma = allocator(&m);
	assert_int_equal(dafs_mballoc_find_window(ma, 0, 100), 1024);
	assert_int_equal(dafs_mballoc_find_window(ma, 0, 101), 1024 + 150);
	assert_int_equal(dafs_mballoc_find_window(ma, 3000, 1000), 3000);
	assert_int_equal(dafs_mballoc_find_window(ma, 3500, 1000), 1024 + 150);
	assert_int_equal(dafs_mballoc_find_window(ma, 0, 2923), 0);
	assert_int_equal(dafs_mballoc_find_window(ma, 0, 0), 0);
	assert_int_equal(dafs_mballoc_free_clusters(ma), model_free_clusters(&m));
	dafs_mballoc_free(ma);
	model_fini(&m);
}

/* Fewest runs that hold n of the free clusters: by clusters, not by runs, so as not to assume what
 * is to be shown. */
static size_t fewest_pieces(const struct space_model *m, uint64_t n)
{
	/* best[taken][in a piece]: pieces so far, the clusters up to here considered. */
	enum { NEVER = 1 << 30 };
	unsigned(*best)[2] = malloc((n + 1) * sizeof(*best));
	size_t fewest;

	for (uint64_t k = 0; k <= n; k++)
		best[k][0] = best[k][1] = NEVER;
	best[0][0] = 0;
	for (uint64_t c = 0; c < m->space.clusters; c++) {
		for (uint64_t k = n + 1; k-- > 0;) {
			unsigned out = best[k][0] < best[k][1] ? best[k][0] : best[k][1],
				 in = NEVER;

			if (!m->used[c] && k) {
				unsigned begin = best[k - 1][0] < best[k - 1][1] ? best[k - 1][0]
										 : best[k - 1][1];

				in = best[k - 1][1] < begin + 1 ? best[k - 1][1] : begin + 1;
			}
			best[k][0] = out;
			best[k][1] = in < NEVER ? in : NEVER;
		}
	}
	fewest = best[n][0] < best[n][1] ? best[n][0] : best[n][1];
	free(best);
	return fewest;
}

static struct dafs_alloc_req random_request(struct rng *rng, const struct space_model *m)
{
	static const unsigned flags[] = { 0, DATA, DATA, DAFS_ALLOC_META };
	uint64_t left = model_free_clusters(m), ratio = UINT64_C(1) << m->space.cluster_bits;
	struct dafs_alloc_req req = { .flags = flags[rng_below(rng, 4)], .ino = 12 };

	req.lblk = rng_below(rng, 50);
	/* At most what is free, in whole clusters. */
	req.len = rng_len(rng, (uint32_t)(left * ratio));
	while ((req.lblk + req.len - 1) / ratio - req.lblk / ratio + 1 > left)
		req.len--;
	if (rng_below(rng, 2))
		req.goal = rng_below(rng, (uint32_t)(m->space.clusters * ratio));
	return req;
}

static void fewest_round(struct rng *rng, void *arg)
{
	static const uint32_t per_group[] = { 8, 16, 64, 128 };

	for (uint32_t i = 0; i < *(uint32_t *)arg; i++) {
		struct dafs_mballoc *ma, *twin;
		struct space_model m;

		model_init(&m, 1 + rng_below(rng, 250), per_group[rng_below(rng, 4)],
			   rng_below(rng, 2) ? 4 : 1);
		m.space.cluster_bits = rng_below(rng, 3) ? 0 : 2;
		m.space.first_data_block = rng_below(rng, 2);
		model_age(&m, rng, rng_below(rng, 95), 1 + rng_below(rng, 20));
		ma = allocator(&m);
		assert_ok(dafs_mballoc_new(&ctx, &m.space, &twin));
		while (model_free_clusters(&m)) {
			struct dafs_alloc_req req = random_request(rng, &m);
			unsigned bits = m.space.cluster_bits;
			uint64_t n = ((req.lblk + req.len - 1) >> bits) - (req.lblk >> bits) + 1,
				 at;
			size_t want = fewest_pieces(&m, n);
			struct dafs_extlist same = { 0 };

			assert_int_equal(place(ma, &m, req, &at), want);
			/* Deterministic. */
			assert_ok(dafs_mballoc_place(twin, &req, &same));
			assert_int_equal(same.n, want);
			assert_int_equal(same.v[0].pblk, at);
			if (rng_below(rng, 3) == 0) { /* a plan that is dropped */
				for (size_t k = 0; k < same.n; k++) {
					const struct dafs_extent *e = &same.v[k];
					uint64_t off = e->pblk - m.space.first_data_block;

					assert_ok(dafs_mballoc_return(ma, e->pblk, e->len));
					assert_ok(dafs_mballoc_return(twin, e->pblk, e->len));
					model_mark(&m, off >> bits,
						   ((off + e->len - 1) >> bits) - (off >> bits) + 1,
						   false);
				}
			}
			dafs_extlist_fini(&same);
		}
		dafs_mballoc_free(ma);
		dafs_mballoc_free(twin);
		model_fini(&m);
	}
}

static void test_fewest_pieces(void **state)
{
	uint32_t spaces = test_steps(60, 3000);

	(void)state;
	for_seeds(4, fewest_round, &spaces);
}

/* Extents of a set of files on one aged space. */
static size_t extents_of(struct space_model *m, const uint32_t *lens, size_t n, unsigned flags)
{
	struct dafs_mballoc *ma;
	bool *before = malloc(m->space.clusters * sizeof(*before));
	size_t extents = 0;

	memcpy(before, m->used, m->space.clusters * sizeof(*before));
	assert_ok(dafs_mballoc_new(&ctx, &m->space, &ma));
	for (size_t i = 0; i < n; i++) {
		struct dafs_alloc_req req = { .len = lens[i], .flags = flags };
		struct dafs_extlist xl = { 0 };

		assert_ok(dafs_mballoc_place(ma, &req, &xl));
		assert_int_equal(mark_taken(m, &xl), lens[i]);
		extents += xl.n;
		dafs_extlist_fini(&xl);
	}
	dafs_mballoc_free(ma);
	memcpy(m->used, before, m->space.clusters * sizeof(*before));
	free(before);
	return extents;
}

static void kernel_round(struct rng *rng, void *arg)
{
	uint32_t lens[200];
	struct space_model m;

	(void)arg;
	model_init(&m, 8 * 8192, 8192, 4);
	model_age(&m, rng, 60 + rng_below(rng, 30), 1 + rng_below(rng, 60));
	model_seal(&m);
	for (size_t i = 0; i < 200; i++)
		lens[i] = rng_len(rng, 50);
	assert_true(extents_of(&m, lens, 200, DATA) <=
		    extents_of(&m, lens, 200, DATA | DAFS_ALLOC_KERNEL));
	model_fini(&m);
}

static void test_never_worse_than_kernel(void **state)
{
	(void)state;
	for_seeds(6, kernel_round, NULL);
}

/* What a kernel was seen to do: a new file system of 4 KiB blocks, group 1 begins with a backup of
 * the superblock. */
static void test_kernel_mode(void **state)
{
	struct dafs_alloc_req small = { .len = 3, .flags = DATA | DAFS_ALLOC_KERNEL };
	struct dafs_alloc_req large = { .len = 40, .flags = DATA | DAFS_ALLOC_KERNEL };
	struct dafs_extlist xl = { 0 };
	struct space_model m;
	struct dafs_mballoc *ma;

	(void)state;
	model_init(&m, 8 * 32768, 32768, 16);
	model_mark(&m, 0, 4000, true);
	model_mark(&m, 32768, 129, true);
	ma = allocator(&m);
	assert_ok(dafs_mballoc_place(ma, &small, &xl));
	assert_int_equal(xl.v[0].pblk, 33280); /* a window of 512 blocks */
	small.lblk = 3;
	assert_ok(dafs_mballoc_place(ma, &small, &xl));
	assert_int_equal(xl.n, 1);
	assert_int_equal(xl.v[0].len, 6);
	large.lblk = 20;
	assert_ok(dafs_mballoc_place(ma, &large, &xl));
	assert_int_equal(xl.v[1].pblk, 32897);
	dafs_extlist_fini(&xl);
	dafs_mballoc_free(ma);
	model_fini(&m);
}

/* Every other 5-block file deleted: the kernel cut 30 blocks in five, once, because it looks at 200
 * runs only. */
static void test_aged_minimum(void **state)
{
	struct space_model m;
	struct dafs_mballoc *ma;
	uint64_t at;

	(void)state;
	model_init(&m, 16384, 8192, 1);
	for (uint64_t c = 0; c + 10 <= 16384; c += 10)
		model_mark(&m, c, c == 12000 ? 1 : 5, true); /* one run of 9 far off */
	model_mark(&m, 16380, 4, true);
	ma = allocator(&m);
	assert_int_equal(place(ma, &m, (struct dafs_alloc_req){ .len = 29, .flags = DATA }, &at),
			 5);
	assert_int_equal(place(ma, &m, (struct dafs_alloc_req){ .len = 5, .flags = DATA }, &at), 1);
	dafs_mballoc_free(ma);
	model_fini(&m);
}

/* What is left after the longest runs goes where it fits best, not to the first place. */
static void test_last_piece_fits_best(void **state)
{
	struct dafs_alloc_req req = { .len = 12 };
	struct dafs_extlist xl = { 0 };
	struct space_model m;
	struct dafs_mballoc *ma;

	(void)state;
	model_init(&m, 64, 64, 1);
	model_mark(&m, 0, 5, true); /* free: 7 at 5, 10 at 20, 2 at 40 */
	model_mark(&m, 12, 8, true);
	model_mark(&m, 30, 10, true);
	model_mark(&m, 42, 22, true);
	ma = allocator(&m);
	assert_ok(dafs_mballoc_place(ma, &req, &xl));
	assert_int_equal(xl.n, 2);
	assert_int_equal(xl.v[0].pblk, 20);
	assert_int_equal(xl.v[0].len, 10);
	assert_int_equal(xl.v[1].pblk, 40);
	dafs_extlist_fini(&xl);
	dafs_mballoc_free(ma);
	model_fini(&m);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Small files back to back, as an import asks for them: on a new file system, and where every other
 * block is free. */
static void many_small(struct space_model *m, uint32_t n, const char *what)
{
	struct dafs_mballoc *ma = allocator(m);
	struct dafs_alloc_req req = { .len = 1, .flags = DATA };
	struct dafs_extlist xl = { 0 };
	double start = now();

	for (uint32_t i = 0; i < n; i++) {
		xl.n = 0;
		assert_ok(dafs_mballoc_place(ma, &req, &xl));
		assert_int_equal(xl.n, 1);
		req.goal = xl.v[0].pblk + 1;
	}
	print_message("# %s: %.0f ns a request\n", what, (now() - start) / n * 1e9);
	assert_int_equal(dafs_mballoc_free_clusters(ma), model_free_clusters(m) - n);
	dafs_extlist_fini(&xl);
	dafs_mballoc_free(ma);
}

static void test_many_small(void **state)
{
	uint32_t n = test_steps(100000, 1000000);
	struct space_model m;

	(void)state;
	model_init(&m, 80 * 32768, 32768, 16);
	many_small(&m, n, "free");
	for (uint64_t c = 0; c < m.space.clusters; c += 2)
		model_mark(&m, c, 1, true);
	many_small(&m, n, "every other block free");
	model_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goal_first),
		cmocka_unit_test(test_data_keeps_off_metadata_groups),
		cmocka_unit_test(test_large_fit_best),
		cmocka_unit_test(test_extents_cross_groups),
		cmocka_unit_test(test_no_space_changes_nothing),
		cmocka_unit_test(test_take_what_others_chose),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_fewest_pieces),
		cmocka_unit_test(test_never_worse_than_kernel),
		cmocka_unit_test(test_kernel_mode),
		cmocka_unit_test(test_aged_minimum),
		cmocka_unit_test(test_last_piece_fits_best),
		cmocka_unit_test(test_many_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
