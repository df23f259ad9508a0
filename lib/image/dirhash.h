/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirhash - how names of one directory are hashed and compared: the image's hash, seed and
 * signedness, folded where the directory is casefolded. A plain value; nothing to free.
 */
#ifndef DAFS_IMAGE_DIRHASH_H
#define DAFS_IMAGE_DIRHASH_H

#include "image/image.h"

struct dafs_dirhash {
	int version;			/* as libext2fs has it: signedness counted in */
	uint8_t disk_version;		/* as an index root has it */
	bool casefold;
	bool strict;			/* names must be valid in the encoding */
	const struct ext2fs_nls_table *nls;
	const uint32_t *seed;
};

/* For a directory with these inode flags whose index says disk_version (or is to: the
 * superblock's default is dafs_dirhash_default). DAFS_ET_FEATURE names a hash or an encoding
 * that is not known (siphash among them). */
errcode_t dafs_dirhash_init(struct dafs_image *img, uint32_t iflags, uint8_t disk_version,
			    struct dafs_dirhash *dh);
uint8_t dafs_dirhash_default(const struct dafs_image *img);

/* Hash of a name; the lowest bit of *hash is clear (an index uses it for "continued"). */
errcode_t dafs_dirhash_name(const struct dafs_dirhash *dh, const char *name, size_t len,
			    uint32_t *hash, uint32_t *minor);

/* Is it the same name to this directory? */
bool dafs_dirhash_same(const struct dafs_dirhash *dh, const char *a, size_t a_len, const char *b,
		       size_t b_len);

/* Strict encodings refuse names that are not valid in them. */
bool dafs_dirhash_valid(const struct dafs_dirhash *dh, const char *name, size_t len);

#endif
