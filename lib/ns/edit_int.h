/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edit_int - what creating, linking, removing and renaming share.
 */
#ifndef DAFS_NS_EDIT_INT_H
#define DAFS_NS_EDIT_INT_H

#include "ns/ns_int.h"

/* What an edit changes of an inode, to be put back when its promise does not fit. */
struct dafs_ns_undo {
	struct dafs_inode *inode;
	struct dafs_time mtime, ctime;
	uint64_t parent;
	uint32_t nlink;
	uint16_t state;
};
void dafs_ns_undo_keep(struct dafs_ns_undo *undo, struct dafs_inode *inode);
void dafs_ns_undo_apply(const struct dafs_ns_undo *undo);

/* May a name be added to dir: is it a live directory that takes names, and is the name one? */
errcode_t dafs_ns_may_add(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			  size_t name_len);
/* May names be taken from dir? */
errcode_t dafs_ns_may_take(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			   size_t name_len);
/* May one subdirectory more be counted in dir? DAFS_ET_MLINK. */
errcode_t dafs_ns_may_count(const struct dafs_ns *ns, const struct dafs_inode *dir);

/* The record a name will have (made where nobody has the name, in the spelling given): *record
 * leads nowhere. EEXIST. */
errcode_t dafs_ns_prepare(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			  size_t name_len, struct dafs_name **record);
/* The record leads to child (NULL: nowhere) from now on; dir is marked and stamped. */
void dafs_ns_put(struct dafs_ns *ns, struct dafs_inode *dir, struct dafs_name *record,
		 const struct dafs_inode *child);
/* Let go of a record that leads nowhere and that nothing needs. */
void dafs_ns_tidy(struct dafs_ns *ns, struct dafs_inode *dir, struct dafs_name *record);

/* A directory's count of links changes as ext4 keeps it: past 65000 it is 1 and stays so until it
 * is counted anew. */
void dafs_ns_count_subdir(struct dafs_inode *dir, int change);

/* Is its name the only one, so that it ends with it? */
bool dafs_ns_is_last_name(const struct dafs_inode *inode);

/* One name fewer; the last one ends the inode. Its promises are given back here. The struct may be
 * freed. */
void dafs_ns_lose_name(struct dafs_ns *ns, struct dafs_inode *inode);

#endif
