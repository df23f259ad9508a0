/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * datrace - the write path's events, with the kernel's names and fields (dawrite(8), TRACE).
 *
 * Without a sink every function costs a test of a pointer; with one, i_blocks of an image's inode
 * is read for the line. Nothing here fails: what cannot be known is 0.
 */
#ifndef DAFS_WRITE_DATRACE_H
#define DAFS_WRITE_DATRACE_H

#include "base/trace.h"
#include "write/delalloc.h"

/* ext4_da_write_begin and _end, or ext4_write_begin and _end without delayed allocation: one piece
 * of a write, cut where blocks covered in part begin and end. */
void dafs_datrace_write(struct dafs_write *w, const struct dafs_inode *inode, bool end,
			uint64_t off, uint64_t len);

/* ext4_da_reserve_space: n clusters were taken, the file has so many now. */
void dafs_datrace_reserve(struct dafs_write *w, const struct dafs_inode *inode, uint64_t n,
			  uint64_t after);

/* ext4_da_release_space: n clusters of before go. Nothing for n 0, as in the kernel. */
void dafs_datrace_release(struct dafs_write *w, const struct dafs_inode *inode, uint64_t n,
			  uint64_t before);

/* ext4_es_insert_delayed_extent: [lblk, end) is delayed and reserved. With bigalloc the line says
 * whether its first and last cluster are allocated. */
void dafs_datrace_delayed(struct dafs_write *w, const struct dafs_inode *inode, uint32_t lblk,
			  uint32_t end);

/* ext4_es_insert_extent. */
void dafs_datrace_insert(struct dafs_write *w, const struct dafs_inode *inode,
			 const struct dafs_es_extent *ext);

/* ext4_es_lookup_extent_enter and _exit; found NULL: nothing is known. */
void dafs_datrace_lookup(struct dafs_write *w, const struct dafs_inode *inode, uint32_t lblk,
			 const struct dafs_es_extent *found);

/* ext4_ext_map_blocks_enter and _exit around a look into the image's mapping. found NULL: enter. */
void dafs_datrace_map(struct dafs_write *w, const struct dafs_inode *inode, uint32_t lblk,
		      const struct dafs_es_extent *found);

/* i_blocks as the kernel prints it: 512-byte units of what is placed. */
uint64_t dafs_datrace_i_blocks(struct dafs_write *w, const struct dafs_inode *inode);

/* The letter of an es type: W U D H. */
const char *dafs_datrace_es_type(uint8_t type);

#endif
