/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * es - the extent status tree of one file: what every logical block is, as far as it is known.
 *
 * Entries are disjoint half-open ranges [lblk, lblk + len) of one type. WRITTEN and UNWRITTEN carry
 * the physical block and merely cache the image's extent tree; DELAYED lives nowhere else; HOLE
 * remembers a hole that was looked up. A block without an entry is unknown: ask the image.
 *
 * Invariants (dafs_es_verify):
 *  1. entries are disjoint, sorted, len > 0, end <= 0xFFFFFFFF;
 *  2. no two neighbours could be merged (same type, logically contiguous; W and U also physically
 *     contiguous);
 *  3. delayed_blks is the sum of the lengths of the DELAYED entries.
 * Rules: ext4's extent status tree.
 */
#ifndef DAFS_MODEL_ES_H
#define DAFS_MODEL_ES_H

#include "model/rangemap.h"

enum dafs_es_type {
	DAFS_ES_WRITTEN = 1,
	DAFS_ES_UNWRITTEN = 2,
	DAFS_ES_DELAYED = 4,
	DAFS_ES_HOLE = 8,
};
#define DAFS_ES_ANY 15u

struct dafs_es_extent {
	uint32_t lblk;
	uint32_t len;
	uint64_t pblk; /* first physical block of W and U; 0 otherwise */
	uint8_t type;  /* one of dafs_es_type */
};

struct dafs_es {
	struct dafs_rangemap map; /* tag: the type; base: the physical block */
	uint64_t delayed_blks;
};

/* Number of entries. */
static inline uint32_t dafs_es_entries(const struct dafs_es *es)
{
	return es->map.n;
}

/* An empty tree needs no memory: init never fails, and fini leaves an empty, usable tree behind. */
void dafs_es_init(struct dafs_es *es);
void dafs_es_fini(struct dafs_es *es);

/* The entry that holds lblk. False (and *out zeroed) when nothing is known of it. */
bool dafs_es_lookup(const struct dafs_es *es, uint32_t lblk, struct dafs_es_extent *out);

/* The first entry of a type in mask that intersects [lblk, end), whole (not clipped). False (and
 * *out zeroed) when there is none. */
bool dafs_es_find(const struct dafs_es *es, unsigned mask, uint32_t lblk, uint32_t end,
		  struct dafs_es_extent *out);

/* Insert ext over whatever is there: older entries are trimmed or split, then ext merges with its
 * neighbours. *delayed (may be NULL) gets the number of DELAYED blocks that were replaced (0 where
 * ext itself is DELAYED: they stay delayed). O(1) where it goes on from the last insert.
 * DAFS_ET_RANGE (empty, past 0xFFFFFFFF, not one type) or ENOMEM leave the tree as it was and
 * *delayed 0. */
errcode_t dafs_es_insert(struct dafs_es *es, const struct dafs_es_extent *ext, uint64_t *delayed);

/* Forget [lblk, lblk + len). *delayed (may be NULL) gets the number of DELAYED blocks removed. */
errcode_t dafs_es_remove(struct dafs_es *es, uint32_t lblk, uint32_t len, uint64_t *delayed);

/* Number of DELAYED blocks in [lblk, end). */
uint64_t dafs_es_delayed_in(const struct dafs_es *es, uint32_t lblk, uint32_t end);

/* True when the invariants above hold. */
bool dafs_es_verify(const struct dafs_es *es);

#endif
