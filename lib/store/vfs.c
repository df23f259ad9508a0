/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfs - see vfs.h.
 */
#include "config.h"

#include "store/vfs.h"

#include <pthread.h>
#include <stddef.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sqlite3_vfs vfs;

static int open_file(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out)
{
	sqlite3_vfs *host = self->pAppData;
	int rc = SQLITE_CANTOPEN;

	if (flags & SQLITE_OPEN_MAIN_JOURNAL)
		rc = host->xOpen(host, name, file, flags & ~SQLITE_OPEN_CREATE, out);
	return rc == SQLITE_CANTOPEN ? host->xOpen(host, name, file, flags, out) : rc;
}

/* The host's functions look at their own pAppData only in xOpen. */
static void make(void)
{
	sqlite3_vfs *host = sqlite3_vfs_find(NULL);

	if (!host)
		return;
	vfs = *host;
	vfs.pNext = NULL;
	vfs.zName = "dafs";
	vfs.pAppData = host;
	vfs.xOpen = open_file;
	sqlite3_vfs_register(&vfs, 0);
}

const char *dafs_vfs_name(void)
{
	pthread_once(&once, make);
	return vfs.zName;
}
