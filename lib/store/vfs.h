/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfs - the host's files for SQLite, but for one thing: a rollback journal that is there already is opened, not made.
 *
 * SQLite makes a folder durable after it opened a journal with permission to create it, whether or not it did: with a journal that
 * is kept and a process a command, one sync of the folder a command for nothing.
 */
#ifndef DAFS_STORE_VFS_H
#define DAFS_STORE_VFS_H

#include <sqlite3.h>

/* Its name for sqlite3_open_v2; NULL (the default one) where there is nothing to build on. */
const char *dafs_vfs_name(void);

#endif
