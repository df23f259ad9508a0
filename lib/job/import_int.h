/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* import_int - what import.c (entries), hostscan.c (host trees) and tarin.c (archives) share. */
#ifndef DAFS_JOB_IMPORT_INT_H
#define DAFS_JOB_IMPORT_INT_H

#include "job/hostattr.h"
#include "job/hostsrc.h"
#include "job/import.h"
#include "job/names.h"

struct dafs_hardlink;

struct dafs_import {
	struct dafs *fs;
	struct dafs_import_stats *stats;
	struct dafs_hardlink *links; /* host (device, inode) -> id, of files with several links */
	unsigned depth;			/* directories on the way down */
};

/* Make, or find for merging, the entry called name of mode's type in dir. An existing non-directory
 * is replaced (unless keep_file: then it is emptied by the caller); EEXIST/ENOTDIR/EISDIR where a
 * directory and something else meet. made: new. */
errcode_t dafs_import_entry(struct dafs_import *imp, struct dafs_inode *dir, const char *name,
			    uint16_t mode, const char *target, struct dafs_inode **ret, bool *made);

/* Make the name a hard link to inode, replacing what is there. */
errcode_t dafs_import_link(struct dafs_import *imp, struct dafs_inode *dir, const char *name,
			   struct dafs_inode *inode);

/* A host entry (not followed) into dir under name; directories with all their contents. hostdir:
 * the entry's directory as a source, used where the session adopts host files. */
errcode_t dafs_hostscan_entry(struct dafs_import *imp, struct dafs_hostdir *hostdir,
			      struct dafs_hostent *ent, struct dafs_inode *dir, const char *name);

/* The contents and attributes of the open host directory into dir. */
errcode_t dafs_hostscan_dir(struct dafs_import *imp, struct dafs_hostdir *hostdir, int dir_fd,
			    const struct dafs_hostent *self, struct dafs_inode *dir);

/* A tar file into dir. */
errcode_t dafs_tarin_run(struct dafs_import *imp, const char *src, struct dafs_inode *dir);

void dafs_hostscan_done(struct dafs_import *imp);

#endif
