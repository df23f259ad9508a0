/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_api - dafs_mkfs of dafs.h on top of job/mkfs.
 */
#include "config.h"

#include "dafs/dafs.h"

#include <string.h>

#include "job/mkfs.h"

errcode_t dafs_mkfs(struct dafs_ctx *ctx, const char *address,
		    const struct dafs_mkfs_params *params)
{
	struct dafs_mkfs_params known = { 0 };
	struct dafs_mkfs_opts opts;

	if (!params->size || params->size > sizeof(known))
		return dafs_fail(ctx, DAFS_ET_USAGE, "%s: parameters of a newer version", address);
	memcpy(&known, params, params->size);
	if (known.fs_blocks && !known.block_size)
		return dafs_fail(ctx, DAFS_ET_USAGE, "%s: blocks without a block size", address);
	opts = (struct dafs_mkfs_opts){
		.fs_bytes = known.fs_bytes,
		.block_size = known.block_size,
		.features = known.features,
		.usage_types = known.usage_type,
		.label = known.label,
		.uuid = known.uuid,
		.force = known.force,
	};
	if (known.fs_blocks &&
	    __builtin_mul_overflow(known.fs_blocks, known.block_size, &opts.fs_bytes))
		return dafs_fail(ctx, DAFS_ET_RANGE, "%s: too many blocks", address);
	return dafs_mkfs_run(ctx, address, &opts, NULL);
}
