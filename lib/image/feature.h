/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * feature - names of ext4's feature bits, and which of them dafs can read or keep right when it
 * writes.
 */
#ifndef DAFS_IMAGE_FEATURE_H
#define DAFS_IMAGE_FEATURE_H

#include <ext2fs/ext2fs.h>

#include "base/ctx.h"

enum dafs_feature_set {
	DAFS_FEATURE_COMPAT,
	DAFS_FEATURE_INCOMPAT,
	DAFS_FEATURE_RO_COMPAT,
};

/* The name e2fsprogs uses for one bit of a set ("64bit", "metadata_csum"); for a bit without one
 * "FEATURE_I21" (the set's letter and the bit's number), written into buf. */
const char *dafs_feature_to_text(enum dafs_feature_set set, uint32_t bit, char buf[16]);

/* Refuse what dafs does not know (for_write: what it cannot keep right): DAFS_ET_FEATURE, or
 * DAFS_ET_JOURNAL_EXTERNAL, with address and the feature's name in the detail. sb as on disk
 * (little endian). */
errcode_t dafs_feature_check(struct dafs_ctx *ctx, const char *address,
			     const struct ext2_super_block *sb, bool for_write);

#endif
