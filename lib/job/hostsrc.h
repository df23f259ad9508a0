/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostsrc - host files as sources of pending blocks, for runs that flush in the same process.
 *
 * A million files cost a few words each: a source is its directory and its name; directories form a
 * tree and are opened when needed, the least recently used ones closed again. Reading is
 * thread-safe.
 *
 * Invariant: a file that is shorter at the flush than when it was scanned fails with
 * DAFS_ET_SOURCE_CHANGED and its path.
 */
#ifndef DAFS_JOB_HOSTSRC_H
#define DAFS_JOB_HOSTSRC_H

#include "model/source.h"

struct dafs_hostsrcs;
struct dafs_hostdir;

errcode_t dafs_hostsrcs_new(struct dafs_hostsrcs **ret);
/* Frees every directory and source made from it. NULL is fine. */
void dafs_hostsrcs_free(struct dafs_hostsrcs *hosts);

/* A directory: path relative to parent (one name), or any path without parent. */
errcode_t dafs_hostdir_new(struct dafs_hostsrcs *hosts, struct dafs_hostdir *parent,
			   const char *name, struct dafs_hostdir **ret);

/* The bytes [0, size) of the file name in dir. Nothing is opened. */
errcode_t dafs_hostsrc_new(struct dafs_hostsrcs *hosts, struct dafs_hostdir *dir, const char *name,
			   uint64_t size_bytes, struct dafs_source **ret);

/* The path of name in dir, for messages. Returns buf. */
const char *dafs_hostdir_path(const struct dafs_hostdir *dir, const char *name, char *buf,
			      size_t room);

#endif
