/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read - see read.h. Whole blocks go straight into the caller's buffer, run by run; only ragged
 * ends are copied.
 */
#include "config.h"

#include "image/read.h"

#include <stdlib.h>
#include <string.h>

#include "image/icodec.h"
#include "image/inline.h"

/* Copy [off, off + len) out of the inline body; what lies behind it reads as zeros. */
static errcode_t read_inline(struct dafs_image *img, uint32_t ino,
			     const struct ext2_inode_large *raw, uint8_t *buf, size_t len,
			     uint64_t off)
{
	struct dafs_inline parts;
	errcode_t err = dafs_inline_find(img, ino, raw, &parts);
	uint8_t *all;
	size_t have;

	if (err)
		return err;
	memset(buf, 0, len);
	have = DAFS_INLINE_BODY + (size_t)parts.spill_len;
	if (off >= have)
		return 0;
	all = malloc(have);
	if (!all)
		return ENOMEM;
	memcpy(all, parts.body, DAFS_INLINE_BODY);
	memcpy(all + DAFS_INLINE_BODY, parts.spill, parts.spill_len);
	memcpy(buf, all + off, len < have - off ? len : have - (size_t)off);
	free(all);
	return 0;
}

/* Bytes of one mapped run from byte offset skip of its first block on. */
static errcode_t read_run(struct dafs_image *img, uint64_t pblk, uint32_t skip, uint8_t *buf,
			  size_t len)
{
	size_t block_size = img->block_size;
	uint8_t *bounce = NULL;
	errcode_t err = 0;

	while (len && !err) {
		size_t take = block_size - skip;

		if (!skip && len >= block_size) {
			uint64_t count = len >> img->block_bits;

			err = dafs_image_read_blks(img, pblk, count, buf);
			take = (size_t)count << img->block_bits;
			pblk += count;
		} else {
			if (take > len)
				take = len;
			if (!bounce && !(bounce = malloc(block_size)))
				return ENOMEM;
			err = dafs_image_read_blks(img, pblk++, 1, bounce);
			if (!err)
				memcpy(buf, bounce + skip, take);
			skip = 0;
		}
		buf += take;
		len -= take;
	}
	free(bounce);
	return err;
}

static errcode_t read_mapped(struct dafs_image *img, const struct dafs_extlist *xl, uint8_t *buf,
			     size_t len, uint64_t off)
{
	errcode_t err = 0;

	for (size_t i = dafs_extlist_search(xl, (uint32_t)(off >> img->block_bits)); len && !err;
	     i++) {
		uint64_t start = UINT64_MAX, end = UINT64_MAX;
		size_t take;

		if (i < xl->n) {
			start = (uint64_t)xl->v[i].lblk << img->block_bits;
			end = start + ((uint64_t)xl->v[i].len << img->block_bits);
		}
		if (start > off) {
			take = start - off < len ? (size_t)(start - off) : len;
			memset(buf, 0, take);
			buf += take;
			off += take;
			len -= take;
		}
		take = end - off < len ? (size_t)(end - off) : len;
		if (!take)
			continue;
		if (xl->v[i].unwritten)
			memset(buf, 0, take);
		else
			err = read_run(img, xl->v[i].pblk + ((off - start) >> img->block_bits),
				       (uint32_t)(off & (img->block_size - 1)), buf, take);
		buf += take;
		off += take;
		len -= take;
	}
	return err;
}

errcode_t dafs_read_file(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			 const struct dafs_extlist *xl, void *buf, size_t len, uint64_t off,
			 size_t *got)
{
	uint64_t size = dafs_icodec_size(img, raw);
	errcode_t err;

	*got = 0;
	if (off >= size || !len)
		return 0;
	if (len > size - off)
		len = (size_t)(size - off);
	if (raw->i_flags & EXT4_INLINE_DATA_FL)
		err = read_inline(img, ino, raw, buf, len, off);
	else if (!xl || size > (uint64_t)DAFS_ETREE_MAX_BLOCKS << img->block_bits)
		err = dafs_fail(img->ctx, DAFS_ET_CORRUPT_INODE, "inode %u: size", ino);
	else
		err = read_mapped(img, xl, buf, len, off);
	if (!err)
		*got = len;
	return err;
}

errcode_t dafs_read_symlink(struct dafs_image *img, uint32_t ino,
			    const struct ext2_inode_large *raw, char **target)
{
	struct dafs_extlist xl = { 0 };
	size_t size = raw->i_size, got = 0;
	char *text;
	errcode_t err = 0;

	*target = NULL;
	if (!S_ISLNK(raw->i_mode))
		return EINVAL;
	if (raw->i_flags & EXT4_ENCRYPT_FL)
		return dafs_fail(img->ctx, DAFS_ET_ENCRYPTED, "inode %u", ino);
	if (!size || size > img->block_size)
		return dafs_fail(img->ctx, DAFS_ET_CORRUPT_INODE, "inode %u: symlink of %zu bytes",
				 ino, size);
	text = calloc(1, size + 1);
	if (!text)
		return ENOMEM;
	if (dafs_icodec_fast_symlink(img, raw)) {
		memcpy(text, raw->i_block, size);
		got = size;
	} else {
		err = dafs_etree_decode(img, ino, raw, &xl, NULL);
		if (!err)
			err = dafs_read_file(img, ino, raw, &xl, text, size, 0, &got);
		dafs_extlist_fini(&xl);
	}
	if (!err && (got != size || memchr(text, 0, size)))
		err = dafs_fail(img->ctx, DAFS_ET_CORRUPT_INODE, "inode %u: symlink target", ino);
	if (err)
		free(text);
	else
		*target = text;
	return err;
}
