/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shim - a host that fails on request: every call of this process that changes a file below one
 * folder is an operation, and the Nth of them is made to fail or to be the last one.
 *
 * It takes the place of the C library's own functions (write, pwrite, pwritev, ftruncate,
 * fallocate, copy_file_range, fsync, fdatasync, open, unlink, mkdir, rmdir, rename) for the whole
 * program, SQLite's library included: image, spool, database, redo record and the cache's folder
 * are one stream of operations in the order in which the kernel would see them, and nothing gets
 * past it. Memory maps are not seen; SQLite's shared-memory index is the only one, and is rebuilt.
 *
 * Faults, N counting from 1:
 *   EIO      operation N fails, once
 *   ENOSPC   operation N and all later ones that write or make something fail
 *   TORN     operation N is done in part (whole sectors of an image, any bytes elsewhere), then
 *            stop
 *   STOP     stop before operation N
 *   LOSE     as STOP, and every change since the last sync of its file or folder is taken back
 *   REORDER  as LOSE, but a random part of those changes is kept: writes whole, not at all or by
 *            the sector; names (made, removed, renamed) the first so many of them
 *
 * "Stop" ends the process with SHIM_STOPPED and nothing after it happens. N may be past the last
 * operation: LOSE and REORDER then strike at shim_end.
 *
 * Not for several threads, nor for several processes at once.
 */
#ifndef TESTS_FAULT_SHIM_H
#define TESTS_FAULT_SHIM_H

#include <stdbool.h>
#include <stdint.h>

enum fault {
	FAULT_NONE,
	FAULT_EIO,
	FAULT_ENOSPC,
	FAULT_TORN,
	FAULT_STOP,
	FAULT_LOSE,
	FAULT_REORDER,
	FAULT_COUNT,
};

enum { SHIM_STOPPED = 77, SHIM_SECTOR_BYTES = 512 };

/* Watch the folder root (no trailing slash; root.trash is used beside it) from now on. image: the
 * path of the file that is written by whole sectors. */
void shim_arm(const char *root, const char *image, enum fault fault, uint64_t at, uint64_t seed);

/* Operations since shim_arm. */
uint64_t shim_ops(void);

/* The work is done: what LOSE and REORDER would lose now is lost. The process should end next. */
void shim_end(void);

#endif
