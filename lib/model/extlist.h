/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extlist - a file's extents as a flat sorted array: what an extent tree is decoded to, edited as
 * and encoded from.
 *
 * Merge rule (ext4): same state, logically and physically contiguous, at most
 * 32768 blocks written or 32767 unwritten in one extent. What is appended fills the last extent up
 * first, so a contiguous run takes the fewest extents.
 *
 * Invariants (dafs_extlist_verify): sorted by lblk, disjoint, 1 <= len <= limit, end <= 0xFFFFFFFF.
 *
 * A list made by append, set, clear and apply alone holds no two neighbours that could be one
 * extent. One that was pushed together as found (an image's tree may hold such neighbours) keeps
 * them where no edit touches, so that an untouched leaf stays as it is.
 */
#ifndef DAFS_MODEL_EXTLIST_H
#define DAFS_MODEL_EXTLIST_H

#include "base/ctx.h"

#define DAFS_EXT_MAX_WRITTEN   32768u
#define DAFS_EXT_MAX_UNWRITTEN 32767u

struct dafs_extent {
	uint64_t pblk;
	uint32_t lblk;
	uint32_t len : 31;
	uint32_t unwritten : 1;
};

static inline uint32_t dafs_extent_end(const struct dafs_extent *e)
{
	return e->lblk + e->len;
}

struct dafs_extlist {
	struct dafs_extent *v;
	uint32_t n, room; /* no file has more extents than blocks */
};

/* An all-zero struct is an empty list. fini frees and leaves an empty list. */
void dafs_extlist_fini(struct dafs_extlist *xl);

/* Append one extent as it is, unmerged (decoders). DAFS_ET_RANGE: it does not follow the last one,
 * or its length is not allowed. */
errcode_t dafs_extlist_push(struct dafs_extlist *xl, const struct dafs_extent *ext);

/* Append at the end (lblk must follow everything that is there), merging with the last one and
 * cutting at the length limits: [lblk, lblk+len) may be longer than one extent. O(1). DAFS_ET_RANGE
 * (empty, not after the last, past 0xFFFFFFFF) and ENOMEM leave the list as it was. */
errcode_t dafs_extlist_append(struct dafs_extlist *xl, uint64_t pblk, uint32_t lblk, uint32_t len,
			      bool unwritten);

/* Map [lblk, lblk+len) to pblk, replacing what was mapped there; merges with the neighbours. The
 * replaced physical ranges are appended to freed (may be NULL), with their lblk, in lblk order of
 * this call; a block that is mapped to the same pblk again (unwritten to written, say) is not
 * freed. freed may hold anything before: it is a bag, not a mapping. DAFS_ET_RANGE and ENOMEM leave
 * both as they were. */
errcode_t dafs_extlist_set(struct dafs_extlist *xl, uint64_t pblk, uint32_t lblk, uint32_t len,
			   bool unwritten, struct dafs_extlist *freed);

/* Unmap [lblk, end); what was mapped goes to freed (may be NULL) as above. */
errcode_t dafs_extlist_clear(struct dafs_extlist *xl, uint32_t lblk, uint32_t end,
			     struct dafs_extlist *freed);

/* Unmap the ranges of cuts (their lblk and len), all at once in time linear in both lists. */
errcode_t dafs_extlist_cut(struct dafs_extlist *xl, const struct dafs_extlist *cuts,
			   struct dafs_extlist *freed);

/* All of edits at once, each as by dafs_extlist_set, in time linear in both lists. */
errcode_t dafs_extlist_apply(struct dafs_extlist *xl, const struct dafs_extlist *edits,
			     struct dafs_extlist *freed);

/* Index of the first extent whose end is past lblk (n when none): binary search. */
size_t dafs_extlist_search(const struct dafs_extlist *xl, uint32_t lblk);

/* Blocks mapped in all. */
uint64_t dafs_extlist_blocks(const struct dafs_extlist *xl);

bool dafs_extlist_verify(const struct dafs_extlist *xl);

#endif
