/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rec - one pending inode as the bytes of its row in the cache: attributes, xattrs, symlink
 * target, directory counters, and the file part with its page runs. doc/FORMAT.md has the
 * layout.
 *
 * Encode and decode are exact inverses but for what is only a cache (es entries other than
 * DELAYED, names, marks). A row is not trusted: every number is bounded, every list is checked,
 * and a checksum covers it with its id; DAFS_ET_CACHE_DAMAGED otherwise. No I/O here.
 */
#ifndef DAFS_STORE_REC_H
#define DAFS_STORE_REC_H

#include "ns/ns.h"

struct dafs_rec_buf {
	uint8_t *v;
	size_t n, room;
	bool oom; /* some append failed: the contents are of no use */
};
void dafs_rec_buf_fini(struct dafs_rec_buf *buf);

/* A file's page runs and DELAYED ranges are kept in segments of so many blocks, by where they
 * start: a change in a large file with many runs rewrites the segments it touched. A file with
 * no more than DAFS_REC_INLINE entries has them in its inode's row. */
#define DAFS_REC_SEG_BLKS (UINT32_C(1) << 14)
#define DAFS_REC_INLINE	  64u

/* What the rows need to know about the spool. */
struct dafs_rec_env {
	struct dafs_source *spool;
	uint32_t block_size;
	unsigned cluster_bits;
	uint64_t spool_blks; /* runs must lie before this one */
};

/* An inode's row. *segs: its runs are in segment rows (dafs_rec_put_seg). DAFS_ET_INTERNAL for
 * bytes that are not in the spool. */
errcode_t dafs_rec_put_inode(struct dafs_rec_buf *buf, const struct dafs_rec_env *env,
			     const struct dafs_inode *inode, bool *segs);

/* Fill inode (id set, all else zero) from a row. What was filled in on failure is the caller's
 * to free. */
errcode_t dafs_rec_get_inode(const struct dafs_rec_env *env, const uint8_t *rec, size_t len,
			     struct dafs_inode *inode, bool *segs);

/* Segment seg of a file; buf stays empty when there is nothing in it. *next: the next segment
 * that has something (UINT32_MAX: none). */
errcode_t dafs_rec_put_seg(struct dafs_rec_buf *buf, const struct dafs_rec_env *env,
			   const struct dafs_inode *inode, uint32_t seg, uint32_t *next);
errcode_t dafs_rec_get_seg(const struct dafs_rec_env *env, const uint8_t *rec, size_t len,
			   struct dafs_inode *inode, uint32_t seg);

/* Checksum of a name's row. */
uint32_t dafs_rec_name_sum(uint64_t dir, const struct dafs_ns_name *name);

#endif
