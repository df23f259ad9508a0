/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image_int - what the files behind image.h share: the steps of opening an image.
 */
#ifndef DAFS_IMAGE_IMAGE_INT_H
#define DAFS_IMAGE_IMAGE_INT_H

#include "image/image.h"

/* dafs_dev_lock as the flags of the image ask for it; nothing with DAFS_IMAGE_NO_LOCK. */
errcode_t dafs_image_lock(struct dafs_image *img);

/* Let libext2fs read superblock and descriptors; open the groups. */
errcode_t dafs_image_open_fs(struct dafs_image *img);

/* Read superblock, descriptors and groups anew, after blocks under them changed (a replay). No
 * transaction is open. */
errcode_t dafs_image_reload(struct dafs_image *img);

/* Take the numbers everybody needs out of img->fs. */
void dafs_image_fill_numbers(struct dafs_image *img);

/* Finish what an interrupted commit left (image_settle.c): journal, redo record, torn superblock.
 * The image has its groups and its transaction. Opens the journal of an image for writing. */
errcode_t dafs_image_settle(struct dafs_image *img);

/* Multiple-mount protection (mmp.c), for writing: check that nobody uses the file system, take it,
 * and give it back. Taking waits for as long as the file system asks (twice its interval), with a
 * notice. DAFS_ET_MOUNTED names the node that has it. No-ops without the feature. */
errcode_t dafs_mmp_take(struct dafs_image *img);
void dafs_mmp_give(struct dafs_image *img);
/* Tests: how long a second of that waiting is, at most 1000. */
extern unsigned dafs_mmp_second_ms;

#endif
