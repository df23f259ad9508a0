/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pagecache: runs and their bytes, against a flat array. Every block of every source is told apart
 * by its (source, offset), so a run that points one block beside its bytes is found.
 */
#include "config.h"

#include "model/pagecache.h"

#include "seeded.h"

#include <string.h>

#define BLOCK_SIZE 4096u
#define BLOCKS	   600u

static struct dafs_source sources[3];

static void put(struct dafs_pagecache *pc, struct dafs_page_run run)
{
	assert_ok(dafs_pagecache_insert(pc, &run, NULL, NULL));
	assert_true(dafs_pagecache_verify(pc));
}

static void test_runs_merge(void **state)
{
	struct dafs_page_run got;
	struct dafs_pagecache pc;

	(void)state;
	dafs_pagecache_init(&pc, BLOCK_SIZE);
	put(&pc, (struct dafs_page_run){ 0, 4, DAFS_PG_DIRTY, &sources[0], 8192 });
	put(&pc, (struct dafs_page_run){ 4, 1, DAFS_PG_DIRTY, &sources[0], 8192 + 4 * BLOCK_SIZE });
	assert_int_equal(dafs_pagecache_runs(&pc), 1);
	put(&pc,
	    (struct dafs_page_run){ 5, 1, DAFS_PG_DIRTY, &sources[0], 0 }); /* bytes elsewhere */
	put(&pc, (struct dafs_page_run){ 6, 1, DAFS_PG_DIRTY, &sources[1],
					 BLOCK_SIZE }); /* another source */
	put(&pc,
	    (struct dafs_page_run){ 7, 1, 0, &sources[1], 2 * BLOCK_SIZE }); /* another state */
	put(&pc, (struct dafs_page_run){ 8, 1, 0, NULL, 12345 }); /* zeros have no offset */
	put(&pc, (struct dafs_page_run){ 9, 1, 0, NULL, 0 });
	assert_int_equal(dafs_pagecache_runs(&pc), 5);
	assert_int_equal(pc.dirty_blks, 7);
	assert_true(dafs_pagecache_find(&pc, 2, 100, &got));
	assert_int_equal(got.lblk, 2);
	assert_int_equal(got.len, 3);
	assert_int_equal(got.src_off_bytes, 8192 + 2 * BLOCK_SIZE);
	assert_ok(dafs_pagecache_mark(&pc, 0, 100, DAFS_PG_MAPPED, DAFS_PG_DIRTY));
	assert_int_equal(pc.dirty_blks, 0);
	assert_int_equal(dafs_pagecache_runs(&pc), 4); /* 6 and 7 became equal */
	assert_false(dafs_pagecache_find(&pc, 10, 100, &got));
	assert_false(dafs_pagecache_find(&pc, 5, 5, &got));
	dafs_pagecache_fini(&pc);
}

static void test_large_run_is_one(void **state)
{
	struct dafs_page_run got, bad = { 1, 0xFFFFFFFF, 0, NULL, 0 };
	struct dafs_pagecache pc;

	(void)state;
	dafs_pagecache_init(&pc, 1024);
	put(&pc, (struct dafs_page_run){ 0, 0xFFFFFFFF, DAFS_PG_DIRTY, &sources[2], 0 });
	assert_err(DAFS_ET_RANGE, dafs_pagecache_insert(&pc, &bad, NULL, NULL));
	assert_true(dafs_pagecache_find(&pc, 0xFFFFFFFE, 0xFFFFFFFF, &got));
	assert_int_equal(got.src_off_bytes, UINT64_C(0xFFFFFFFE) * 1024);
	assert_ok(dafs_pagecache_remove(&pc, 7, 0xFFFFFFF0, NULL, NULL));
	assert_int_equal(pc.dirty_blks, 7 + 15);
	assert_int_equal(dafs_pagecache_runs(&pc), 2);
	dafs_pagecache_fini(&pc);
}

struct block {
	bool there;
	uint16_t state;
	struct dafs_source *src;
	uint64_t off;
};

struct dropped {
	const struct block *model; /* as it was before the change */
	uint32_t lblk, end;
	uint32_t next, blks;
};

/* What is dropped is what was there, in order, inside the change. */
static void on_drop(void *arg, const struct dafs_page_run *gone)
{
	struct dropped *d = arg;

	assert_true(gone->len && gone->lblk >= d->next && gone->lblk >= d->lblk &&
		    gone->lblk + gone->len <= d->end);
	for (uint32_t i = 0; i < gone->len; i++) {
		const struct block *b = &d->model[gone->lblk + i];

		assert_true(b->there);
		assert_int_equal(gone->state, b->state);
		assert_ptr_equal(gone->src, b->src);
		assert_int_equal(gone->src_off_bytes + (gone->src ? i * BLOCK_SIZE : 0), b->off);
	}
	d->next = gone->lblk + gone->len;
	d->blks += gone->len;
}

static uint32_t blocks_there(const struct block *model, uint32_t from, uint32_t to)
{
	uint32_t n = 0;

	for (; from < to; from++)
		n += model[from].there;
	return n;
}

static void compare(const struct dafs_pagecache *pc, const struct block *model)
{
	uint64_t dirty = 0;

	assert_true(dafs_pagecache_verify(pc));
	for (uint32_t i = 0; i < BLOCKS; i++) {
		struct dafs_page_run run;
		bool found = dafs_pagecache_find(pc, i, i + 1, &run);

		assert_int_equal(found, model[i].there);
		if (!found)
			continue;
		assert_int_equal(run.lblk, i);
		assert_int_equal(run.len, 1);
		assert_int_equal(run.state, model[i].state);
		assert_ptr_equal(run.src, model[i].src);
		assert_int_equal(run.src_off_bytes, model[i].off);
		dirty += (run.state & DAFS_PG_DIRTY) != 0;
	}
	assert_int_equal(pc->dirty_blks, dirty);
}

static struct dafs_page_run random_run(struct rng *rng)
{
	uint32_t at = rng_below(rng, BLOCKS), src = rng_below(rng, 4);

	return (struct dafs_page_run){
		.lblk = at,
		.len = rng_len(rng, BLOCKS - at),
		.state = (uint16_t)rng_below(rng, 4),
		.src = src < 3 ? &sources[src] : NULL,
		/* Mostly at the same distance from the block, so that runs meet their continuation.
		 */
		.src_off_bytes =
			(at + (rng_below(rng, 4) ? 0 : rng_below(rng, 9))) * (uint64_t)BLOCK_SIZE,
	};
}

static void model_insert(struct block *model, const struct dafs_page_run *run)
{
	for (uint32_t i = 0; i < run->len; i++)
		model[run->lblk + i] =
			(struct block){ true, run->state, run->src,
					run->src ? run->src_off_bytes + i * BLOCK_SIZE : 0 };
}

static void step(struct rng *rng, struct dafs_pagecache *pc, struct block *model)
{
	struct dafs_page_run run = random_run(rng);
	uint32_t end = run.lblk + run.len, had = blocks_there(model, run.lblk, end);
	struct dropped d = { .model = model, .lblk = run.lblk, .end = end };
	uint16_t set = (uint16_t)rng_below(rng, 4), clear = (uint16_t)rng_below(rng, 4);

	switch (rng_below(rng, 4)) {
	case 0:
		assert_ok(dafs_pagecache_remove(pc, run.lblk, end, on_drop, &d));
		assert_int_equal(d.blks, had);
		memset(&model[run.lblk], 0, run.len * sizeof(*model));
		break;
	case 1:
		assert_ok(dafs_pagecache_mark(pc, run.lblk, end, set, clear));
		for (uint32_t i = run.lblk; i < end; i++)
			model[i].state = (uint16_t)((model[i].state | set) & ~clear);
		break;
	default:
		assert_ok(dafs_pagecache_insert(pc, &run, on_drop, &d));
		assert_int_equal(d.blks, had);
		model_insert(model, &run);
	}
}

static void random_round(struct rng *rng, void *arg)
{
	uint32_t steps = *(uint32_t *)arg;
	struct block model[BLOCKS] = { 0 };
	struct dafs_pagecache pc;

	dafs_pagecache_init(&pc, BLOCK_SIZE);
	for (uint32_t i = 0; i < steps; i++) {
		step(rng, &pc, model);
		if (i % 16 == 0)
			compare(&pc, model);
	}
	compare(&pc, model);
	dafs_pagecache_fini(&pc);
	assert_int_equal(dafs_pagecache_runs(&pc), 0);
}

static void test_against_model(void **state)
{
	uint32_t steps = test_steps(20000, 1000000);

	(void)state;
	for_seeds(4, random_round, &steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_merge),
		cmocka_unit_test(test_large_run_is_one),
		cmocka_unit_test(test_against_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
