/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image_int - what the files behind image.h share: the steps of opening an image.
 */
#ifndef DAFS_IMAGE_IMAGE_INT_H
#define DAFS_IMAGE_IMAGE_INT_H

#include "image/image.h"

/* Take the image's lock (exclusive for writing, shared for reading), waiting with a notice up to
 * ctx->lock_timeout_ms. Released by closing the device. DAFS_ET_LOCKED when the time is over,
 * DAFS_ET_CANCELLED. */
errcode_t dafs_image_lock(struct dafs_image *img);

#endif
