/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api - the part of the public header that is about contexts; operations are in session.c, edit.c,
 * import.c, mkfs and fsck. */
#include "config.h"

#include "dafs/dafs.h"

#include <errno.h>
#include <stdlib.h>

#include <ext2fs/ext2fs.h>

#include "base/ctx.h"

errcode_t dafs_ctx_new(struct dafs_ctx **ret)
{
	struct dafs_ctx *ctx = malloc(sizeof(*ctx));

	*ret = ctx;
	if (!ctx)
		return ENOMEM;
	initialize_ext2_error_table();
	initialize_dafs_error_table();
	return dafs_ctx_init(ctx);
}

void dafs_ctx_free(struct dafs_ctx *ctx)
{
	free(ctx);
}

const char *dafs_ctx_detail(const struct dafs_ctx *ctx)
{
	return ctx->detail;
}

void dafs_ctx_set_threads(struct dafs_ctx *ctx, unsigned threads)
{
	ctx->threads = threads;
}

void dafs_ctx_set_no_sync(struct dafs_ctx *ctx, bool no_sync)
{
	ctx->no_sync = no_sync;
}
