/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reserve: who may take what, and that nothing moves on refusal. */
#include "config.h"

#include "model/reserve.h"

#include "seeded.h"

#include <string.h>

static void test_who_may_take(void **state)
{
	/* The figures of a 64 MiB file system: 14319 free, 819 for root, 327 in the pool. */
	struct dafs_reserve rs = { .free_clusters = 14319,
				   .root_clusters = 819,
				   .resv_clusters = 327 };

	(void)state;
	assert_err(DAFS_ET_NOSPC_RESERVE, dafs_reserve_take(&rs, 14319 - 1146 + 1, 0, false));
	assert_err(DAFS_ET_NOSPC_META, dafs_reserve_take(&rs, 14319 - 1146, 1, false));
	assert_int_equal(rs.dirty_clusters + rs.promised_clusters, 0);
	assert_ok(dafs_reserve_take(&rs, 14319 - 1146, 0, false));
	assert_err(DAFS_ET_NOSPC_RESERVE, dafs_reserve_take(&rs, 1, 0, false));
	assert_ok(dafs_reserve_take(&rs, 810, 9, true));
	assert_err(DAFS_ET_NOSPC_META, dafs_reserve_take(&rs, 0, 1, true));
	rs.resv_clusters = 0;
	assert_ok(dafs_reserve_take(&rs, 327, 0, true));
	assert_err(DAFS_ET_NOSPC_RESERVE, dafs_reserve_take(&rs, 1, 0, true));
	assert_int_equal(rs.dirty_clusters + rs.promised_clusters, 14319);
	assert_true(dafs_reserve_verify(&rs));
}

static void test_release_and_claim(void **state)
{
	struct dafs_reserve rs = { .free_clusters = 100 };

	(void)state;
	assert_ok(dafs_reserve_take(&rs, 60, 10, false));
	dafs_reserve_claim(&rs, 20);
	assert_int_equal(rs.free_clusters, 80);
	assert_int_equal(rs.dirty_clusters, 40);
	dafs_reserve_release(&rs, 40, 10);
	assert_err(DAFS_ET_NOSPC_RESERVE, dafs_reserve_take(&rs, 81, 0, false));
	assert_ok(dafs_reserve_take(&rs, 80, 0, false));
	assert_err(DAFS_ET_NOSPC_RESERVE, dafs_reserve_take(&rs, ~UINT64_C(0), 0, true));
	assert_err(DAFS_ET_NOSPC_META, dafs_reserve_take(&rs, 0, ~UINT64_C(0), true));
	rs.free_clusters = 79;
	assert_false(dafs_reserve_verify(&rs));
}

static void test_dry_plan_shrinks_promise(void **state)
{
	struct dafs_reserve rs = { .free_clusters = 100 };

	(void)state;
	assert_ok(dafs_reserve_take(&rs, 50, 30, false));
	assert_ok(dafs_reserve_take(&rs, 0, 20, false));
	rs.promised_clusters = 7; /* what a dry plan found */
	assert_true(dafs_reserve_verify(&rs));
	assert_ok(dafs_reserve_take(&rs, 43, 0, false));
	dafs_reserve_release(&rs, 0, 30);
	assert_int_equal(rs.promised_clusters, 7);
	dafs_reserve_release(&rs, 0, 20);
	assert_int_equal(rs.promised_clusters, 0);
	assert_int_equal(rs.bound_clusters, 0);
	assert_true(dafs_reserve_verify(&rs));
}

static void test_inodes(void **state)
{
	struct dafs_reserve rs = { .free_inodes = 5 };

	(void)state;
	assert_err(DAFS_ET_NOINODES, dafs_reserve_take_inodes(&rs, 6));
	assert_ok(dafs_reserve_take_inodes(&rs, 5));
	assert_err(DAFS_ET_NOINODES, dafs_reserve_take_inodes(&rs, 1));
	dafs_reserve_release_inodes(&rs, 2);
	assert_ok(dafs_reserve_take_inodes(&rs, 2));
	assert_int_equal(rs.promised_inodes, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_may_take),
		cmocka_unit_test(test_release_and_claim),
		cmocka_unit_test(test_dry_plan_shrinks_promise),
		cmocka_unit_test(test_inodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
