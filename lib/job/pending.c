/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pending - see pending.h.
 */
#include "config.h"

#include "job/pending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/place.h"
#include "store/store.h"

/* (What is wrong with the image is not asked here.) */
#define DAMAGED_FLAGS (DAFS_IMAGE_IGNORE_CSUM | DAFS_IMAGE_ANY_FEATURE | DAFS_IMAGE_TRUNCATED_OK)

static void look(struct dafs_image *img, struct dafs_pending *pending)
{
	struct dafs_store_status status = { .size = sizeof(status) };
	struct dafs_store *st = NULL;
	char *path = NULL;

	if (dafs_store_exists(img, NULL, &pending->there) || !pending->there)
		return;
	if (!dafs_place_path(img, NULL, &path))
		snprintf(pending->place, sizeof(pending->place), "%s", path);
	free(path);
	pending->err = dafs_store_open(img, NULL, DAFS_STORE_RDONLY, &st);
	if (!pending->err)
		pending->err = dafs_store_status(st, &status);
	pending->inodes = status.inodes;
	pending->names = status.names;
	dafs_store_close(st);
}

void dafs_pending_look(struct dafs_ctx *ctx, const char *address, struct dafs_pending *pending)
{
	struct dafs_image *img;

	memset(pending, 0, sizeof(*pending));
	if (!dafs_image_open(ctx, address, 0, 0, 0, &img) ||
	    !dafs_image_open(ctx, address, DAMAGED_FLAGS, 0, 0, &img)) {
		look(img, pending);
		dafs_image_close(img);
	}
	ctx->detail[0] = 0;
}
