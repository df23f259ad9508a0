/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edit - the single operations on paths: what dawrite's small commands and the public dafs_*
 * operations do.
 *
 * Every function changes pending state only, and either succeeds or changes nothing. Where the
 * public header has the same operation, that is the function (dafs_mkdir, dafs_truncate, ...); here
 * stand the ones with more to say. Paths: see ns.h. Failures carry a detail with the path.
 */
#ifndef DAFS_JOB_EDIT_H
#define DAFS_JOB_EDIT_H

#include "job/session.h"

/* Where to write: an offset, or the end of the file. */
#define DAFS_EDIT_APPEND UINT64_MAX

/* The regular file at path (symlinks followed). EISDIR, EINVAL for other kinds. */
errcode_t dafs_edit_file(struct dafs *fs, const char *path, struct dafs_inode **ret);

/* Write what fd gives until its end (a pipe too) to path at off. */
errcode_t dafs_edit_write_fd(struct dafs *fs, const char *path, uint64_t off, int fd);

/* rename(2), or a move into to when that is a directory. */
errcode_t dafs_edit_move(struct dafs *fs, const char *from, const char *to);

/* A hard link, or with symbolic a symlink with the text target; a path that is an existing
 * directory gets the target's name in it. */
errcode_t dafs_edit_link(struct dafs *fs, const char *target, const char *path, bool symbolic);

/* mode: a mode_t's permission bits and type: S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK. */
errcode_t dafs_edit_mknod(struct dafs *fs, const char *path, uint16_t mode, uint32_t major,
			  uint32_t minor);

/* Change times of path (not following a symlink): NULL leaves one as it is. make: an absent file is
 * made. */
errcode_t dafs_edit_times(struct dafs *fs, const char *path, const struct dafs_time *atime,
			  const struct dafs_time *mtime, bool make);

/* The directory at path, made with its parents when absent (0755, 0:0). made: says whether the last
 * one was. */
errcode_t dafs_edit_make_dirs(struct dafs *fs, const char *path, uint16_t mode,
			      struct dafs_inode **ret, bool *made);

/* Remove a name and everything under it. */
errcode_t dafs_edit_remove_tree(struct dafs *fs, struct dafs_inode *dir, const char *name,
				size_t name_len);

#endif
