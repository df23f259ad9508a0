/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * delalloc - the write path: bytes become pending blocks; space is only promised. Nothing here touches the image but to read.
 *
 * Works on one struct dafs_inode at a time (regular files). Every function either succeeds whole or leaves inode, reserve and
 * stash as they were. Sizes and offsets in bytes; files end before block 0xFFFFFFFF and at most at the image's limit
 * (DAFS_ET_FILE_TOO_BIG). Trace: ext4_da_write_begin/_end, ext4_da_reserve_space, ext4_es_insert_delayed_extent, ...
 */
#ifndef DAFS_WRITE_DELALLOC_H
#define DAFS_WRITE_DELALLOC_H

#include "image/image.h"
#include "model/inode.h"
#include "model/reserve.h"

/* Where pending bytes are kept until the flush: the store's spool. Whole blocks only. */
struct dafs_stash_ops {
	/* Keep nblks blocks; says where. */
	errcode_t (*put)(void *arg, const void *blocks, uint32_t nblks, struct dafs_source **src, uint64_t *src_off_bytes);
	/* Keep len bytes of fd from off (rounded up to whole blocks, zero padded); may share instead of copy. */
	errcode_t (*put_fd)(void *arg, int fd, uint64_t off, uint64_t len_bytes, struct dafs_source **src, uint64_t *src_off_bytes);
	/* A run is no longer needed once the command is committed. */
	void (*drop)(void *arg, const struct dafs_page_run *gone);
};

struct dafs_write {
	struct dafs_image *img;
	struct dafs_reserve *reserve;
	const struct dafs_stash_ops *stash;
	void *stash_arg;
	uint64_t next_seq;		/* next dirtied_seq */
	/* Near full: exact metadata need of everything pending (a dry plan). NULL: the upper bounds decide. */
	errcode_t (*dry_plan)(void *arg, uint64_t *meta_clusters);
	void *dry_plan_arg;
	bool privileged;		/* may use root-reserved blocks for the current inode's owner */
};

errcode_t dafs_delalloc_write(struct dafs_write *w, struct dafs_inode *inode, uint64_t off, const void *buf, size_t len);

/* Write len bytes of fd (from fd_off; -1: from its current position, a pipe too) at off. */
errcode_t dafs_delalloc_write_fd(struct dafs_write *w, struct dafs_inode *inode, uint64_t off, int fd, int64_t fd_off, uint64_t len);

/* The file becomes size bytes of src; data ranges (in blocks: pblk unused) tell where there are bytes, the rest are holes;
 * data NULL: all of it. Nothing is copied: src must live until the flush. Only for an inode without data. */
errcode_t dafs_delalloc_adopt(struct dafs_write *w, struct dafs_inode *inode, struct dafs_source *src, uint64_t size,
			      const struct dafs_extlist *data);

errcode_t dafs_delalloc_truncate(struct dafs_write *w, struct dafs_inode *inode, uint64_t size);
errcode_t dafs_delalloc_punch(struct dafs_write *w, struct dafs_inode *inode, uint64_t off, uint64_t len);
errcode_t dafs_delalloc_fallocate(struct dafs_write *w, struct dafs_inode *inode, uint64_t off, uint64_t len, bool keep_size);

/* What a reader sees: pending bytes over the image's, holes as zeros. Short at end of file. */
errcode_t dafs_delalloc_read(struct dafs_write *w, struct dafs_inode *inode, void *buf, size_t len, uint64_t off, size_t *got);

/* Everything pending of this inode is dropped (last name removed): reserve released, stash runs dropped. */
void dafs_delalloc_forget(struct dafs_write *w, struct dafs_inode *inode);

/* What lblk is: from the es tree, else the image's mapping (then remembered, the hole around it included). */
errcode_t dafs_delalloc_map(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk, struct dafs_es_extent *out);

/* Upper bound of metadata clusters a file with these delayed blocks may need (extent tree at the worst split). */
uint32_t dafs_delalloc_meta_bound(const struct dafs_image *img, uint64_t data_blks, uint64_t runs);

#endif
