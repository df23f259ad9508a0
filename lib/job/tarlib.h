/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tarlib - libarchive, loaded when the first tar file is read.
 *
 * It brings a dozen other libraries along, whose loading took half of the time of a command that
 * has nothing to do with tar.
 */
#ifndef DAFS_JOB_TARLIB_H
#define DAFS_JOB_TARLIB_H

#include <archive.h>
#include <archive_entry.h>

#include "base/ctx.h"

/* What is used of it, without the prefix archive_. */
#define DAFS_TARLIB_FUNCTIONS(F)                                                                   \
	F(entry_acl_next) F(entry_acl_reset) F(entry_atime) F(entry_atime_is_set)                  \
	F(entry_atime_nsec) F(entry_gid) F(entry_hardlink) F(entry_mode) F(entry_mtime)            \
	F(entry_mtime_nsec) F(entry_pathname) F(entry_rdevmajor) F(entry_rdevminor) F(entry_size)  \
	F(entry_symlink) F(entry_uid) F(entry_xattr_next) F(entry_xattr_reset) F(error_string)     \
	F(read_data_block) F(read_free) F(read_new) F(read_next_header) F(read_open_filename)      \
	F(read_support_filter_all) F(read_support_format_empty) F(read_support_format_tar)

struct dafs_tarlib {
#define DAFS_TARLIB_FIELD(name) __typeof__(&archive_##name) name;
	DAFS_TARLIB_FUNCTIONS(DAFS_TARLIB_FIELD)
#undef DAFS_TARLIB_FIELD
};

/* The functions; NULL before dafs_tarlib_load returned 0. */
extern struct dafs_tarlib dafs_tarlib;

/* Load the library, once a process; it stays. DAFS_ET_TAR with the loader's words in the detail.
 * Any thread. */
errcode_t dafs_tarlib_load(struct dafs_ctx *ctx);

#endif
