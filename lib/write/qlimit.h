/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qlimit - the limits of quota: may an owner take more? Usage is what the image's quota files say
 * plus what is pending.
 *
 * Holds an entry for each owner (user, group, project) that has a limit, and nothing in an image
 * where nobody has one: then all costs nothing. Changes are reported as they are accepted, before
 * and after; a sum over what is pending is never made. Nothing here knows inodes' contents but for
 * what the image's blocks of a file come to.
 *
 * Whom limits bind: the owner of what grows, as if that owner were the one who writes. What belongs
 * to uid 0 is exempt from all limits, of its group and project too (the kernel lets
 * CAP_SYS_RESOURCE pass), but counts.
 *
 * What is counted while it is pending: inodes (one more for each attribute value that has its own),
 * data clusters when they are reserved, symlinks and attribute blocks, directories as long as their
 * names make them. Extent tree blocks are not (nobody knows them before the placement; the kernel,
 * too, adds them when it writes back, whatever the limit): the flush charges what there is then,
 * and never refuses. What is removed or truncated is given back at once.
 *
 * Rules: the kernel's dquot_reserve_block, dquot_alloc_inode, dquot_transfer. A hard limit is never
 * passed; a soft limit is until its grace time has ended, which begins when it is passed.
 *
 * Transition -> function:
 *   image -> dafs_qlimit_open -> usage as in the image; nothing pending
 *         -> dafs_qlimit_restore (a cache's rows) or dafs_qlimit_move of all that is pending
 *   accepted change -> dafs_qlimit_change; taken back -> dafs_qlimit_move the other way
 *   flushed -> dafs_qlimit_reload, and dafs_qlimit_move of what still is pending
 */
#ifndef DAFS_WRITE_QLIMIT_H
#define DAFS_WRITE_QLIMIT_H

#include "image/qcodec.h"
#include "write/delalloc.h"

struct dafs_qlimit;

/* What something takes, and who pays for it. */
struct dafs_qlimit_use {
	uint32_t ids[DAFS_QUOTA_TYPES];
	uint64_t inodes, bytes;
};

/* Read the limits of img: *ret NULL where nobody has one. ENOMEM, DAFS_ET_CORRUPT_QUOTA, errors of
 * reading. */
errcode_t dafs_qlimit_open(struct dafs_image *img, struct dafs_qlimit **ret);
void dafs_qlimit_free(struct dafs_qlimit *ql);

/* The image was flushed: usage anew from it, nothing is pending. On failure as it was. */
errcode_t dafs_qlimit_reload(struct dafs_qlimit *ql);

/* From now on nobody is refused; usage is counted all the same. */
void dafs_qlimit_ignore(struct dafs_qlimit *ql);

/* Has an owner of this inode a limit, so that changes of it are to be reported? False for NULL. */
bool dafs_qlimit_binds(const struct dafs_qlimit *ql, const struct dafs_inode *inode);

/* Something took from until now and takes to from now on (NULL: nothing). DAFS_ET_QUOTA_SPACE,
 * DAFS_ET_QUOTA_INODES, without detail (dafs_qlimit_fail): an owner of to would get more than the
 * limit; nothing is changed then. Giving never fails. */
errcode_t dafs_qlimit_change(struct dafs_qlimit *ql, const struct dafs_qlimit_use *from,
			     const struct dafs_qlimit_use *to);
/* The same without asking. */
void dafs_qlimit_move(struct dafs_qlimit *ql, const struct dafs_qlimit_use *from,
		      const struct dafs_qlimit_use *to);

/* Record the last refusal as the detail: path, whose quota, which limit. Other codes pass through
 * and leave the detail. */
errcode_t dafs_qlimit_fail(struct dafs_ctx *ctx, const struct dafs_qlimit *ql, errcode_t err,
			   const char *path);

/* When the grace times of an owner end, if that is known better than from the image. */
void dafs_qlimit_times(const struct dafs_qlimit *ql, enum dafs_quota_type type, uint32_t id,
		       uint64_t *blk_sec, uint64_t *inode_sec);

/* --- files --- */

/* Bytes that the image's blocks of an inode take, its attribute block and tree included, without
 * those that pending truncation and punching let go. 0 for a new one. Reads the mapping only where
 * some of it is cut. */
errcode_t dafs_qlimit_held(struct dafs_image *img, const struct dafs_inode *inode, uint64_t *bytes);

/* A file's reserve changes by so many clusters: for dareserve and its users. reserve may refuse
 * (DAFS_ET_QUOTA_SPACE), shift does not ask. */
errcode_t dafs_qlimit_reserve(struct dafs_write *w, const struct dafs_inode *inode,
			      int64_t clusters);
void dafs_qlimit_shift(struct dafs_write *w, const struct dafs_inode *inode, int64_t clusters);

/* A file's blocks of the image went from held_before to held_now bytes (not more): given back. */
void dafs_qlimit_let_go(struct dafs_write *w, const struct dafs_inode *inode, uint64_t held_before,
			uint64_t held_now);

/* Owners of an inode. */
void dafs_qlimit_ids(const struct dafs_inode *inode, uint32_t ids[DAFS_QUOTA_TYPES]);

/* --- between processes --- */

/* One owner whose pending usage is not nothing, or is no longer what was saved. */
struct dafs_qlimit_row {
	uint32_t type, id;
	int64_t inodes, bytes; /* pending */
	uint64_t blk_sec, inode_sec;
};

/* Rows that changed since the last call that returned 0. */
errcode_t dafs_qlimit_changed(struct dafs_qlimit *ql,
			      errcode_t (*save)(void *arg, const struct dafs_qlimit_row *row),
			      void *arg);
/* A row as it was saved; one of an owner without limits is of no use and is left out. */
void dafs_qlimit_restore(struct dafs_qlimit *ql, const struct dafs_qlimit_row *row);

/* Is the same pending for the same owners? For verification. */
bool dafs_qlimit_same(const struct dafs_qlimit *a, const struct dafs_qlimit *b);

#endif
