/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfs - see vfs.h.
 */
#include "config.h"

#include "store/vfs.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/crc32c.h"

enum {
	PAGE_BYTES = DAFS_VFS_PAGE_BYTES,
	SUMMED_BYTES = PAGE_BYTES - DAFS_VFS_SUM_BYTES,
	/* SQLite looks at so much of page 1 before it rolled back what a killed writer left. */
	HEADER_BYTES = 100,
};

/* A database. The host's own part lies behind. */
struct file {
	sqlite3_file base;
	bool checked;
	sqlite3_file *host;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sqlite3_vfs checking, trusting;

/* --- pages --- */

static uint32_t sum_of(const uint8_t *page, sqlite3_int64 off)
{
	uint32_t number = (uint32_t)(off / PAGE_BYTES);
	const uint8_t key[4] = { (uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
				 (uint8_t)(number >> 24) };

	return dafs_crc32c(dafs_crc32c(~0u, key, sizeof(key)), page, SUMMED_BYTES);
}

static void put_sum(uint8_t *page, uint32_t sum)
{
	for (int i = 0; i < DAFS_VFS_SUM_BYTES; i++)
		page[SUMMED_BYTES + i] = (uint8_t)(sum >> 8 * i);
}

static bool is_sound(const uint8_t *page, sqlite3_int64 off)
{
	uint32_t sum = 0;

	for (int i = 0; i < DAFS_VFS_SUM_BYTES; i++)
		sum |= (uint32_t)page[SUMMED_BYTES + i] << 8 * i;
	return sum == sum_of(page, off);
}

/* A part of a page, which can only be told to be right with the whole of it. */
static int read_part(struct file *f, uint8_t *buf, int len, sqlite3_int64 off)
{
	uint8_t page[PAGE_BYTES];
	sqlite3_int64 from = off - off % PAGE_BYTES;
	int rc;

	if (off + len > from + PAGE_BYTES)
		return SQLITE_CORRUPT;
	rc = f->host->pMethods->xRead(f->host, page, PAGE_BYTES, from);
	if (rc == SQLITE_OK && !is_sound(page, from))
		rc = SQLITE_CORRUPT;
	memcpy(buf, page + (off - from), (size_t)len);
	return rc;
}

static int read_file(sqlite3_file *file, void *buf, int len, sqlite3_int64 off)
{
	struct file *f = (struct file *)file;
	int rc;

	if (f->checked && (len != PAGE_BYTES || off % PAGE_BYTES) && off + len > HEADER_BYTES)
		return read_part(f, buf, len, off);
	rc = f->host->pMethods->xRead(f->host, buf, len, off);
	if (rc == SQLITE_OK && f->checked && len == PAGE_BYTES && !is_sound(buf, off))
		rc = SQLITE_CORRUPT;
	return rc;
}

static int write_file(sqlite3_file *file, const void *buf, int len, sqlite3_int64 off)
{
	struct file *f = (struct file *)file;
	uint8_t page[PAGE_BYTES];

	if (len != PAGE_BYTES || off % PAGE_BYTES)
		return SQLITE_CORRUPT;
	memcpy(page, buf, SUMMED_BYTES);
	put_sum(page, sum_of(page, off));
	return f->host->pMethods->xWrite(f->host, page, len, off);
}

/* --- the rest is the host's --- */

static sqlite3_file *host_of(sqlite3_file *file)
{
	return ((struct file *)file)->host;
}

static int close_file(sqlite3_file *file)
{
	return host_of(file)->pMethods->xClose(host_of(file));
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size)
{
	return host_of(file)->pMethods->xTruncate(host_of(file), size);
}

static int sync_file(sqlite3_file *file, int flags)
{
	return host_of(file)->pMethods->xSync(host_of(file), flags);
}

static int size_of(sqlite3_file *file, sqlite3_int64 *size)
{
	return host_of(file)->pMethods->xFileSize(host_of(file), size);
}

static int lock_file(sqlite3_file *file, int level)
{
	return host_of(file)->pMethods->xLock(host_of(file), level);
}

static int unlock_file(sqlite3_file *file, int level)
{
	return host_of(file)->pMethods->xUnlock(host_of(file), level);
}

static int is_reserved(sqlite3_file *file, int *reserved)
{
	return host_of(file)->pMethods->xCheckReservedLock(host_of(file), reserved);
}

static int control(sqlite3_file *file, int op, void *arg)
{
	return host_of(file)->pMethods->xFileControl(host_of(file), op, arg);
}

static int sector_size(sqlite3_file *file)
{
	return host_of(file)->pMethods->xSectorSize(host_of(file));
}

static int characteristics(sqlite3_file *file)
{
	return host_of(file)->pMethods->xDeviceCharacteristics(host_of(file));
}

/* Version 1: no shared memory and no mapped pages, which would go past read_file. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = close_file,
	.xRead = read_file,
	.xWrite = write_file,
	.xTruncate = truncate_file,
	.xSync = sync_file,
	.xFileSize = size_of,
	.xLock = lock_file,
	.xUnlock = unlock_file,
	.xCheckReservedLock = is_reserved,
	.xFileControl = control,
	.xSectorSize = sector_size,
	.xDeviceCharacteristics = characteristics,
};

/* --- opening --- */

static int open_db(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out)
{
	sqlite3_vfs *host = self->pAppData;
	struct file *f = (struct file *)file;
	int rc;

	*f = (struct file){ .checked = self == &checking, .host = (sqlite3_file *)(f + 1) };
	rc = host->xOpen(host, name, f->host, flags, out);
	if (rc == SQLITE_OK)
		f->base.pMethods = &methods;
	return rc;
}

static int open_file(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out)
{
	sqlite3_vfs *host = self->pAppData;
	int rc = SQLITE_CANTOPEN;

	if (flags & SQLITE_OPEN_MAIN_DB)
		return open_db(self, name, file, flags, out);
	if (flags & SQLITE_OPEN_MAIN_JOURNAL)
		rc = host->xOpen(host, name, file, flags & ~SQLITE_OPEN_CREATE, out);
	return rc == SQLITE_CANTOPEN ? host->xOpen(host, name, file, flags, out) : rc;
}

/* The host's functions look at their own pAppData only in xOpen. */
static void make_one(sqlite3_vfs *vfs, sqlite3_vfs *host, const char *name)
{
	*vfs = *host;
	vfs->pNext = NULL;
	vfs->zName = name;
	vfs->pAppData = host;
	vfs->szOsFile = (int)sizeof(struct file) + host->szOsFile;
	vfs->xOpen = open_file;
	sqlite3_vfs_register(vfs, 0);
}

static void make(void)
{
	sqlite3_vfs *host = sqlite3_vfs_find(NULL);

	if (!host)
		return;
	make_one(&checking, host, "dafs");
	make_one(&trusting, host, "dafs-unchecked");
}

const char *dafs_vfs_name(bool checked)
{
	pthread_once(&once, make);
	return checked ? checking.zName : trusting.zName;
}
