/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * space_model - a file system's free space as a flat array of clusters, with the struct dafs_space
 * over it: what the allocators are tested against.
 *
 * The array changes with what a test takes; the bitmaps that the allocator reads are those of
 * model_seal() (the "committed" ones).
 */
#ifndef DAFS_TESTS_SPACE_MODEL_H
#define DAFS_TESTS_SPACE_MODEL_H

#include "alloc/space.h"

#include "seeded.h"

#include <string.h>

struct space_model {
	struct dafs_space space;
	bool *used;	 /* a cluster each, now */
	uint8_t *bits;	 /* sealed; every group begins on a byte */
	uint32_t *claim; /* free clusters as the descriptors say */
	uint32_t group_bytes;
	unsigned looks;	  /* bitmaps read */
	uint32_t bad_grp; /* reading this one fails; ~0: none does */
};

static inline errcode_t model_bits(void *arg, uint32_t grp, const uint8_t **bits)
{
	struct space_model *m = arg;

	m->looks++;
	if (grp == m->bad_grp)
		return DAFS_ET_CORRUPT_BITMAP;
	*bits = m->bits + (size_t)grp * m->group_bytes;
	return 0;
}

static inline uint32_t model_free(void *arg, uint32_t grp)
{
	return ((struct space_model *)arg)->claim[grp];
}

/* All free. */
static inline void model_init(struct space_model *m, uint64_t clusters, uint32_t per_group,
			      unsigned flex)
{
	memset(m, 0, sizeof(*m));
	m->space.clusters = clusters;
	m->space.clusters_per_group = per_group;
	m->space.groups = (uint32_t)((clusters + per_group - 1) / per_group);
	m->space.flex_groups = flex;
	m->space.arg = m;
	m->space.bits = model_bits;
	m->space.free = model_free;
	m->group_bytes = (per_group + 7) / 8;
	m->used = calloc(clusters, sizeof(*m->used));
	m->bits = malloc((size_t)m->space.groups * m->group_bytes);
	m->claim = calloc(m->space.groups, sizeof(*m->claim));
	m->bad_grp = ~0u;
}

static inline void model_fini(struct space_model *m)
{
	free(m->used);
	free(m->bits);
	free(m->claim);
}

static inline void model_mark(struct space_model *m, uint64_t start, uint64_t n, bool used)
{
	for (uint64_t c = start; c < start + n; c++) {
		assert_true(c < m->space.clusters);
		assert_int_equal(m->used[c], !used);
		m->used[c] = used;
	}
}

/* The array becomes the committed state; the descriptors' counts are exact. */
static inline void model_seal(struct space_model *m)
{
	memset(m->bits, 0xff, (size_t)m->space.groups * m->group_bytes);
	memset(m->claim, 0, m->space.groups * sizeof(*m->claim));
	for (uint64_t c = 0; c < m->space.clusters; c++) {
		uint32_t grp = (uint32_t)(c / m->space.clusters_per_group);
		uint32_t at = (uint32_t)(c % m->space.clusters_per_group);
		uint8_t *byte = &m->bits[(size_t)grp * m->group_bytes + at / 8];

		if (!m->used[c]) {
			*byte = (uint8_t)(*byte & ~(1u << (at % 8)));
			m->claim[grp]++;
		}
	}
}

/* Random runs in use: percent of the space, in pieces of up to most clusters. Not sealed. */
static inline void model_age(struct space_model *m, struct rng *rng, uint32_t percent,
			     uint32_t most)
{
	uint64_t want = m->space.clusters * percent / 100;

	for (uint64_t n = 0; n < want;) {
		uint64_t c = rng_below(rng, (uint32_t)m->space.clusters);

		for (uint32_t len = rng_len(rng, most); len && c < m->space.clusters; len--, c++) {
			n += !m->used[c];
			m->used[c] = true;
		}
	}
}

static inline uint64_t model_free_clusters(const struct space_model *m)
{
	uint64_t n = 0;

	for (uint64_t c = 0; c < m->space.clusters; c++)
		n += !m->used[c];
	return n;
}

/* Free clusters from c on. */
static inline uint64_t model_run(const struct space_model *m, uint64_t c)
{
	uint64_t n = 0;

	while (c + n < m->space.clusters && !m->used[c + n])
		n++;
	return n;
}

/* Length of the longest free run; the first of that length begins at *start. */
static inline uint64_t model_longest(const struct space_model *m, uint64_t *start)
{
	uint64_t best = 0;

	for (uint64_t c = 0; c < m->space.clusters; c++) {
		uint64_t n = model_run(m, c);

		if (n > best) {
			best = n;
			*start = c;
		}
		c += n;
	}
	return best;
}

#endif
