/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirhash - see dirhash.h. The hashes and the folding are libext2fs'.
 */
#include "config.h"

#include "image/dirhash.h"

#include <errno.h>
#include <string.h>

#define HASH_EOF 0xFFFFFFFEu	/* ext4 keeps this value for "end of directory" */

uint8_t dafs_dirhash_default(const struct dafs_image *img)
{
	return img->fs->super->s_def_hash_version;
}

errcode_t dafs_dirhash_init(struct dafs_image *img, uint32_t iflags, uint8_t disk_version,
			    struct dafs_dirhash *dh)
{
	struct ext2_super_block *sb = img->fs->super;

	memset(dh, 0, sizeof(*dh));
	if (disk_version == EXT2_HASH_SIPHASH)
		return dafs_fail(img->ctx, DAFS_ET_FEATURE, "directory hash siphash");
	if (disk_version > EXT2_HASH_TEA)
		return dafs_fail(img->ctx, DAFS_ET_FEATURE, "directory hash %u", disk_version);
	dh->disk_version = disk_version;
	dh->version = disk_version;
	if (sb->s_flags & EXT2_FLAGS_UNSIGNED_HASH)
		dh->version += EXT2_HASH_LEGACY_UNSIGNED;
	dh->seed = sb->s_hash_seed;
	if (!img->has_casefold || !(iflags & EXT4_CASEFOLD_FL))
		return 0;
	dh->nls = ext2fs_load_nls_table(sb->s_encoding);
	if (!dh->nls)
		return dafs_fail(img->ctx, DAFS_ET_FEATURE, "casefold encoding %u", sb->s_encoding);
	dh->casefold = true;
	dh->strict = sb->s_encoding_flags & EXT4_ENC_STRICT_MODE_FL;
	return 0;
}

errcode_t dafs_dirhash_name(const struct dafs_dirhash *dh, const char *name, size_t len,
			    uint32_t *hash, uint32_t *minor)
{
	errcode_t err = EINVAL;

	if (dh->casefold)
		err = ext2fs_dirhash2(dh->version, name, (int)len, dh->nls, EXT4_CASEFOLD_FL,
				      dh->seed, hash, minor);
	/* As the kernel does: what cannot be folded is hashed byte by byte. */
	if (err)
		err = ext2fs_dirhash2(dh->version, name, (int)len, NULL, 0, dh->seed, hash, minor);
	if (err)
		*hash = *minor = 0;
	else if (*hash == HASH_EOF)
		*hash = HASH_EOF - 2;
	return err;
}

bool dafs_dirhash_same(const struct dafs_dirhash *dh, const char *a, size_t a_len, const char *b,
		       size_t b_len)
{
	if (a_len == b_len && !memcmp(a, b, a_len))
		return true;
	return dh->casefold && !ext2fs_casefold_cmp(dh->nls, (const unsigned char *)a, a_len,
						    (const unsigned char *)b, b_len);
}

bool dafs_dirhash_valid(const struct dafs_dirhash *dh, const char *name, size_t len)
{
	char copy[256], *at = NULL;

	if (!dh->strict)
		return true;
	if (len > sizeof(copy))
		return false;
	memcpy(copy, name, len);
	return !ext2fs_check_encoded_name(dh->nls, copy, len, &at);
}
