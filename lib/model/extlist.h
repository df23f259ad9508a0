/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extlist - a file's extents as a flat sorted array: what an extent tree is decoded to, edited as and encoded from.
 *
 * Merge rule (ext4, reference section 5): same state, logically and physically contiguous, at most 32768 blocks written or
 * 32767 unwritten in one extent.
 * Invariants (dafs_extlist_verify): sorted by lblk, disjoint, 1 <= len <= limit, no two neighbours could be merged further.
 */
#ifndef DAFS_MODEL_EXTLIST_H
#define DAFS_MODEL_EXTLIST_H

#include "base/ctx.h"

#define DAFS_EXT_MAX_WRITTEN 32768u
#define DAFS_EXT_MAX_UNWRITTEN 32767u

struct dafs_extent {
	uint64_t pblk;
	uint32_t lblk;
	uint32_t len : 31;
	uint32_t unwritten : 1;
};

struct dafs_extlist {
	struct dafs_extent *v;
	size_t n, room;
};

void dafs_extlist_fini(struct dafs_extlist *xl);

/* Append at the end (lblk must follow everything that is there), merging with the last one and cutting at the length limits:
 * [lblk, lblk+len) may be longer than one extent. O(1). */
errcode_t dafs_extlist_append(struct dafs_extlist *xl, uint64_t pblk, uint32_t lblk, uint32_t len, bool unwritten);

/* Map [lblk, lblk+len) to pblk, replacing what was mapped there; merges with the neighbours. The replaced physical ranges go to
 * freed (may be NULL) in lblk order. ENOMEM leaves both as they were. */
errcode_t dafs_extlist_set(struct dafs_extlist *xl, uint64_t pblk, uint32_t lblk, uint32_t len, bool unwritten,
			   struct dafs_extlist *freed);

/* Unmap [lblk, end); what was mapped goes to freed (may be NULL). */
errcode_t dafs_extlist_clear(struct dafs_extlist *xl, uint32_t lblk, uint32_t end, struct dafs_extlist *freed);

/* Index of the first extent whose end is past lblk (n when none): binary search. */
size_t dafs_extlist_search(const struct dafs_extlist *xl, uint32_t lblk);

/* Blocks mapped in all. */
uint64_t dafs_extlist_blocks(const struct dafs_extlist *xl);

bool dafs_extlist_verify(const struct dafs_extlist *xl);

#endif
