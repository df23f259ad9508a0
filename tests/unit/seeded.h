/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * seeded - random numbers for model tests: every run says its seed, and can be repeated with it.
 *
 * DAFS_TEST_SEED=N runs that one seed instead of the built-in ones; DAFS_TEST_LONG=1 takes the long
 * number of steps. A failing assertion is preceded by the line "seed N" of the round it failed in
 * (tests/run-all shows the log of what failed).
 */
#ifndef DAFS_TESTS_SEEDED_H
#define DAFS_TESTS_SEEDED_H

#include "test.h"

#include <inttypes.h>
#include <stdio.h>

struct rng {
	uint64_t state;
};

/* A number in [0, n). */
static inline uint32_t rng_below(struct rng *rng, uint32_t n)
{
	return (uint32_t)(((test_random(&rng->state) >> 32) * n) >> 32);
}

/* A number in [1, n], small ones as likely as large ones. */
static inline uint32_t rng_len(struct rng *rng, uint32_t n)
{
	uint32_t bits = 0;

	while (n >> bits)
		bits++;
	n = (n - 1) & ((UINT32_C(2) << rng_below(rng, bits)) - 1);
	return 1 + rng_below(rng, n + 1);
}

/* Steps of one round. */
static inline uint32_t test_steps(uint32_t quick, uint32_t lengthy)
{
	const char *text = getenv("DAFS_TEST_LONG");

	return text && *text && *text != '0' ? lengthy : quick;
}

/* Run round(rng, arg) for seeds 1 to n, or for the one that was asked for. */
static inline void for_seeds(unsigned n, void (*round)(struct rng *rng, void *arg), void *arg)
{
	const char *text = getenv("DAFS_TEST_SEED");

	for (unsigned i = 1; i <= (text ? 1 : n); i++) {
		struct rng rng = { .state = text ? strtoull(text, NULL, 0) : i };

		printf("# seed %" PRIu64 "\n", rng.state);
		fflush(stdout);
		round(&rng, arg);
	}
}

#endif
