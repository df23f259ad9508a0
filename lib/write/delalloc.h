/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * delalloc - the write path: bytes become pending blocks; space is only promised. Nothing here
 * touches the image but to read.
 *
 * Works on one struct dafs_inode at a time (regular files). Every function either succeeds whole or
 * leaves inode, reserve and stash as they were. Sizes and offsets in bytes; files end before block
 * 0xFFFFFFFF and at most at the image's limit (DAFS_ET_FILE_TOO_BIG). Trace:
 * ext4_da_write_begin/_end, ext4_da_reserve_space, ext4_es_insert_delayed_extent, ...
 *
 * What a block of a file is (struct dafs_file):
 *   DELAYED in es, dirty run in pages  new bytes, space promised
 *   DELAYED in es, in falloc           promised, reads as zeros, will be an unwritten extent
 *   WRITTEN in es, dirty run in pages  bytes that replace what the image has; nothing is promised
 *   UNWRITTEN in es, dirty run         bytes for space that the image holds already
 *   WRITTEN or UNWRITTEN, no run       as in the image (a cache only)
 *   HOLE                               reads as zeros; what the image still maps there is in
 *                                      punched, or past image_end_lblk
 *
 * Invariant (dafs_delalloc_verify): reserved_clusters == clusters that hold a DELAYED block, less
 * those in pend, and blocks in placed (direct.h).
 *
 * The caller fills struct dafs_write (image and counters belong together) and keeps it while
 * anything is pending; ns sets w->privileged before a call. Functions mark the inode (DAFS_I_DATA,
 * dirtied_seq, size); times are the caller's.
 */
#ifndef DAFS_WRITE_DELALLOC_H
#define DAFS_WRITE_DELALLOC_H

#include "image/image.h"
#include "model/inode.h"
#include "model/reserve.h"

/* Where pending bytes are kept until the flush: the store's spool. Whole blocks only. */
struct dafs_stash_ops {
	/* Keep nblks blocks; says where. */
	errcode_t (*put)(void *arg, const void *blocks, uint32_t nblks, struct dafs_source **src,
			 uint64_t *src_off_bytes);
	/* Keep len bytes of fd from off (rounded up to whole blocks, zero padded); may share
	 * instead of copy. */
	errcode_t (*put_fd)(void *arg, int fd, uint64_t off, uint64_t len_bytes,
			    struct dafs_source **src, uint64_t *src_off_bytes);
	/* A run is no longer needed once the command is committed. Called for runs of any source:
	 * those of others are ignored. */
	void (*drop)(void *arg, const struct dafs_page_run *gone);
};

struct dafs_write {
	struct dafs_image *img;
	struct dafs_reserve *reserve;
	const struct dafs_stash_ops *stash;
	void *stash_arg;
	uint64_t next_seq; /* last dirtied_seq given */
	/* Near full: exact metadata need of everything pending (a dry plan). NULL: the upper bounds
	 * decide. */
	errcode_t (*dry_plan)(void *arg, uint64_t *meta_clusters);
	void *dry_plan_arg;
	uint64_t plans; /* dry plans made so far */
	struct dafs_direct *direct; /* direct.h: place at the write (--nodelalloc); NULL: delayed */
	bool low_switch;	    /* with direct: only while room is low (direct.h) */
	bool at_once;		    /* the piece being written is placed now */
	bool privileged;	    /* may use root-reserved blocks for the current inode's owner */
	struct dafs_qlimit *limits; /* owners with quota limits (qlimit.h); NULL: none */
	bool plan_decides; /* all that is pending is flushed at once by this process, or dropped: no
			    * metadata is promised before, the flush's own plan finds room or not */
};

/* Can images like this be written? DAFS_ET_FEATURE with the feature's name in the detail: no
 * extents, quota, shared_blocks. For who opens an image for changes, before anything is accepted.
 */
errcode_t dafs_delalloc_supported(const struct dafs_image *img);

/* The file part of inode for this module's use: made when absent; u.whole becomes a file part with
 * the reserve it stands for. ENOMEM. (dafs_inode_file alone does not know the reserve.) */
errcode_t dafs_delalloc_file(struct dafs_write *w, struct dafs_inode *inode,
			     struct dafs_file **ret);

/* Promise n data and m metadata clusters for a change that has been made in memory already: where
 * the upper bounds do not fit, everything pending is planned (w->dry_plan) and the exact need
 * decides. DAFS_ET_NOSPC_RESERVE or DAFS_ET_NOSPC_META: counters as before, and the caller undoes
 * its change. Also for directories, xattrs and links (ns). */
errcode_t dafs_delalloc_take(struct dafs_write *w, uint64_t n, uint64_t m);
void dafs_delalloc_release(struct dafs_write *w, uint64_t n, uint64_t m);

/* Write len bytes at off; past the end the file grows. len 0 changes nothing. DAFS_ET_FILE_TOO_BIG,
 * DAFS_ET_ENCRYPTED, _VERITY, _IMMUTABLE. */
errcode_t dafs_delalloc_write(struct dafs_write *w, struct dafs_inode *inode, uint64_t off,
			      const void *buf, size_t len);

/* Write len bytes of fd (from fd_off; -1: from its current position, a pipe too) at off; fewer when
 * fd ends before that (UINT64_MAX: all there is). Streams in pieces of a MiB; whole blocks of a
 * regular file go to the stash's put_fd. */
errcode_t dafs_delalloc_write_fd(struct dafs_write *w, struct dafs_inode *inode, uint64_t off,
				 int fd, int64_t fd_off, uint64_t len);

/* The file becomes size bytes of src; data ranges (in blocks: pblk unused) tell where there are
 * bytes, the rest are holes; data NULL: all of it. Nothing is copied: src must live until the
 * flush. Only for an inode without data. */
errcode_t dafs_delalloc_adopt(struct dafs_write *w, struct dafs_inode *inode,
			      struct dafs_source *src, uint64_t size,
			      const struct dafs_extlist *data);

/* The file becomes size bytes. Pending blocks past the end are given back, the image's are dropped
 * at the flush, the rest of the last block is zeroed. */
errcode_t dafs_delalloc_truncate(struct dafs_write *w, struct dafs_inode *inode, uint64_t size);
/* Make [off, off+len) a hole as fallocate(2) does: whole blocks are unmapped, the bytes of blocks
 * covered in part are zeroed; the size stays. */
errcode_t dafs_delalloc_punch(struct dafs_write *w, struct dafs_inode *inode, uint64_t off,
			      uint64_t len);
/* Promise blocks for the holes of [off, off+len): they read as zeros and become unwritten extents.
 * Grows the file unless keep_size. */
errcode_t dafs_delalloc_fallocate(struct dafs_write *w, struct dafs_inode *inode, uint64_t off,
				  uint64_t len, bool keep_size);

/* What a reader sees: pending bytes over the image's, holes as zeros. Short at end of file. */
errcode_t dafs_delalloc_read(struct dafs_write *w, struct dafs_inode *inode, void *buf, size_t len,
			     uint64_t off, size_t *got);

/* Everything pending of this inode is dropped (last name removed): reserve released, stash runs
 * dropped. */
void dafs_delalloc_forget(struct dafs_write *w, struct dafs_inode *inode);

/* The same for an inode whose data a flush has brought into the image: what was reserved is used,
 * not given up (the trace tells so at the commit), and blocks that were placed at the write are the
 * file's. */
void dafs_delalloc_settled(struct dafs_write *w, struct dafs_inode *inode);

/* Clusters reserved for an inode's pending data. */
uint64_t dafs_delalloc_held_clusters(const struct dafs_image *img, const struct dafs_inode *inode);

/* What lblk is: from the es tree, else the image's mapping (then remembered, the hole around it
 * included). */
errcode_t dafs_delalloc_map(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			    struct dafs_es_extent *out);

/* Upper bound of metadata clusters a file may need beyond what it has (extent tree at the worst
 * split): data_blks delayed clusters, and changes places where a mapping that the image has is
 * changed (0 for a new file). */
uint32_t dafs_delalloc_meta_bound(const struct dafs_image *img, uint64_t data_blks,
				  uint64_t changes);

/* True when the invariants above hold. Linear in the file's pieces. */
bool dafs_delalloc_verify(struct dafs_write *w, const struct dafs_inode *inode);
/* What every operation asserts: the same for a file of up to some 1,000 pieces; of one with more
 * the sums alone, so that an operation costs what it changes. */
bool dafs_delalloc_verify_op(struct dafs_write *w, const struct dafs_inode *inode);

#endif
