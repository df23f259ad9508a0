/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * badblocks - lists of bad blocks: out of a file, or from badblocks(8), which is run for it.
 */
#ifndef DAFSCK_BADBLOCKS_H
#define DAFSCK_BADBLOCKS_H

#include "base/ctx.h"

#include <stddef.h>
#include <stdint.h>

/* The numbers in a file, one a line; empty lines and what follows a # do not count. *blks is the
 * caller's to free, NULL on failure. errno; DAFS_ET_RANGE for a line that is no number. */
errcode_t dafsck_badblocks_read(struct dafs_ctx *ctx, const char *path, uint64_t **blks, size_t *n);

/* Run badblocks over the file system at path, a file or a device; write: also its test that writes
 * and restores. Nothing else may have the image open for writing meanwhile. DAFS_ET_NOT_EXT where
 * the first superblock does not tell the block size; DAFS_ET_USAGE for an address with an offset;
 * ENOENT where badblocks is not installed; EIO when it failed. */
errcode_t dafsck_badblocks_search(struct dafs_ctx *ctx, const char *path, bool write,
				  uint64_t **blks, size_t *n);

#endif
