/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfs - the host's files for SQLite, with two things of our own.
 *
 * Each page of a database ends with a checksum of itself and its number, in bytes that SQLite
 * leaves to its VFS. A page that fails it is SQLITE_CORRUPT wherever it is read: rows have
 * checksums too, but a damaged key, index or schema makes a row that is there be not found, and
 * nothing would miss it. Not covered: the rollback journal (SQLite sums a part of it), and a
 * page that is a whole older one.
 *
 * A rollback journal that is there already is opened, not made: SQLite makes a folder durable
 * after it opened a journal with permission to create it, whether or not it did; with a journal
 * that is kept and a process a command, one sync of the folder a command for nothing.
 */
#ifndef DAFS_STORE_VFS_H
#define DAFS_STORE_VFS_H

#include <stdbool.h>

#include <sqlite3.h>

/* What a database has to be made with: PRAGMA page_size, SQLITE_FCNTL_RESERVE_BYTES. */
enum { DAFS_VFS_PAGE_BYTES = 4096, DAFS_VFS_SUM_BYTES = 4 };

/* Its name for sqlite3_open_v2; NULL (the default one) where there is nothing to build on. Not
 * checked: pages are taken as they are, to save what can be saved; those that are written get
 * their sums all the same. */
const char *dafs_vfs_name(bool checked);

#endif
