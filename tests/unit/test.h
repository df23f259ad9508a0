/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test - what every unit test includes first: cmocka with the headers that it wants before it, and
 * a few asserts that say more. The random seed is printed when a test fails: DAFS_TEST_SEED=N
 * repeats a run.
 */
#ifndef DAFS_TEST_H
#define DAFS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <et/com_err.h>

/* err is 0, else the test fails with its message. */
#define assert_ok(call)                                                                            \
	do {                                                                                       \
		errcode_t test_err = (call);                                                       \
		if (test_err)                                                                      \
			fail_msg("%s: %s (%ld)", #call, error_message(test_err), (long)test_err);  \
	} while (0)

/* The call fails with this very code. */
#define assert_err(code, call)                                                                     \
	do {                                                                                       \
		errcode_t test_err = (call);                                                       \
		if (test_err != (code))                                                            \
			fail_msg("%s: %s (%ld), wanted %s", #call, error_message(test_err),        \
				 (long)test_err, error_message(code));                             \
	} while (0)

/* The run's seed: DAFS_TEST_SEED, else fixed_seed, so that a plain run is the same everywhere.
 * Print it in fail_msg. */
static inline uint64_t test_seed(uint64_t fixed_seed)
{
	const char *text = getenv("DAFS_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : fixed_seed;
}

/* splitmix64: the next number of a reproducible sequence. */
static inline uint64_t test_random(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15u;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

#endif
