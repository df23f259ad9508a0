/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * beside - where things that belong to an image lie when they are not in it: its offline cache, and
 * a redo record.
 *
 * IMAGE.SUFFIX beside an image file (IMAGE@START.SUFFIX for one that begins inside the file), by
 * its real name, whatever links
 * it was called by; $XDG_STATE_HOME/dafs/UUID.SUFFIX (~/.local/state where that is not set) for a
 * block device. It only names
 * places; who uses one checks that it is safe.
 */
#ifndef DAFS_IMAGE_BESIDE_H
#define DAFS_IMAGE_BESIDE_H

#include <stdint.h>

#include "image/dev.h"

#define DAFS_BESIDE_CACHE "dacache"

/* *ret: the path, malloc'ed; NULL on failure. make: make the folders above it where it is not
 * beside the image, 0700. ENOENT: a block device, and neither XDG_STATE_HOME nor HOME is set. */
errcode_t dafs_beside_path(struct dafs_dev *dev, const uint8_t uuid[16], const char *suffix,
			   bool make, char **ret);

#endif
