/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * undo - a file that takes back what was done to an image: e2fsprogs' undo format, for e2undo(8).
 *
 * While it is open it stands between the device and whoever writes to it: what a block holds is in
 * the file, durably, before the block is written for the first time. So it is of use after a crash
 * as well (e2undo then wants -f, since the superblock is neither of the two that the file knows).
 *
 * The file: a header, a copy of the superblock as the last run left it (by which e2undo knows that
 * nothing else changed the image since), then key blocks, each followed by the data of its keys.
 * A key is a run of blocks and its checksum. All key blocks but the last are full.
 *
 * Invariants:
 *  1. a block's first contents win: a key is never replaced;
 *  2. the header counts only keys that are durable;
 *  3. after an error of the undo file no write reaches the device any more.
 */
#ifndef DAFS_IMAGE_UNDO_H
#define DAFS_IMAGE_UNDO_H

#include "image/image.h"

struct dafs_undo;

/* Begin: make path, or go on with it where it is an undo file that an earlier run left for this
 * image in its present state (as e2fsprogs' tools do); an empty file counts as none. The device is
 * open for writing, and nobody else wraps its ops before dafs_undo_end. DAFS_ET_UNDO_FILE: the file
 * is something else, or belongs to another image or state, and is left as it is; errno. */
errcode_t dafs_undo_begin(struct dafs_dev *dev, const char *path, struct dafs_undo **ret);

/* Save all that a transaction is about to change, at once: one wait for the host instead of one a
 * write. Not needed for correctness. */
errcode_t dafs_undo_save_txn(struct dafs_undo *undo, struct dafs_image *img);

/* End: note the superblock as it is now, mark the file as complete, close it. The device is free
 * of it whatever is returned. NULL is fine. */
errcode_t dafs_undo_end(struct dafs_undo *undo);

#endif
