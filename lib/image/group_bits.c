/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * group_bits - bitmaps as they come from disk: read, verified, or worked out for a group whose
 * bitmap was never written.
 *
 * A bitmap is accepted when its descriptor and its own checksum hold, the static metadata in it is
 * marked, and its free bits are as many as the descriptor says (the kernel's tests before it
 * allocates from a group). The count holds for a bitmap that is worked out, too: a group in use
 * whose descriptor says by mistake that its bitmap was never written would be taken for free. So
 * does it that the journal's blocks are marked, where the journal is open (it is for who writes):
 * what was put there, the commit would write over. With DAFS_IMAGE_IGNORE_CSUM a bitmap is taken as
 * it is.
 */
#include "config.h"

#include "image/group_int.h"

#include <stdlib.h>
#include <string.h>

#include "image/journal_int.h"
#include "image/txn_int.h"

static errcode_t corrupt(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			 const char *why)
{
	return dafs_fail(img->ctx, DAFS_ET_CORRUPT_BITMAP, "%s: group %u: %s bitmap: %s",
			 img->dev->address, grp, kind == DAFS_BLOCK_BITS ? "block" : "inode", why);
}

static uint32_t bits_of(const struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind)
{
	return kind == DAFS_BLOCK_BITS ? dafs_group_clusters(img, grp)
				       : img->groups->inodes_per_group;
}

static bool checksum_ok(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			const uint8_t *bits)
{
	char *raw = (char *)(uintptr_t)bits;

	if (kind == DAFS_BLOCK_BITS)
		return ext2fs_block_bitmap_csum_verify(img->fs, grp, raw,
						       (int)(img->groups->clusters_per_group / 8));
	return ext2fs_inode_bitmap_csum_verify(img->fs, grp, raw,
					       (int)(img->groups->inodes_per_group / 8));
}

static errcode_t read_bits(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			   uint8_t *bits)
{
	uint64_t pblk = kind == DAFS_BLOCK_BITS ? ext2fs_block_bitmap_loc(img->fs, grp)
						: ext2fs_inode_bitmap_loc(img->fs, grp);

	if (pblk < img->first_data_block || pblk >= img->blocks)
		return dafs_fail(img->ctx, DAFS_ET_CORRUPT_GROUP,
				 "%s: group %u: bitmap outside the file system", img->dev->address,
				 grp);
	return dafs_image_read_blks(img, pblk, 1, bits);
}

/* As many free as the descriptor says? It is the committed one: a group is read before it is
 * changed. */
static errcode_t check_count(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			     const uint8_t *bits)
{
	uint32_t nbits = bits_of(img, grp, kind), nfree;

	nfree = kind == DAFS_BLOCK_BITS ? ext2fs_bg_free_blocks_count(img->fs, grp)
					: ext2fs_bg_free_inodes_count(img->fs, grp);
	if (dafs_bits_count_clear(bits, nbits) != nfree)
		return corrupt(img, grp, kind, "does not have as many free as its descriptor says");
	return 0;
}

/* The tests of a bitmap that was read. */
static errcode_t check_bits(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			    const uint8_t *bits)
{
	if (!checksum_ok(img, grp, kind, bits))
		return corrupt(img, grp, kind, "checksum");
	if (kind == DAFS_BLOCK_BITS && !dafs_meta_marked(img, grp, bits))
		return corrupt(img, grp, kind, "metadata is marked as free");
	return 0;
}

static bool journal_marked(const struct dafs_image *img, uint32_t grp, const uint8_t *bits)
{
	const struct dafs_journal *j = img->txn ? img->txn->journal : NULL;
	uint64_t first = dafs_group_first_pblk(img, grp);
	uint64_t end = first + ((uint64_t)dafs_group_clusters(img, grp) << img->cluster_bits);

	for (size_t i = 0; j && i < j->map.n; i++) {
		const struct dafs_extent *e = &j->map.v[i];
		uint64_t from = e->pblk > first ? e->pblk : first;
		uint64_t to = e->pblk + e->len < end ? e->pblk + e->len : end;
		uint32_t c = (uint32_t)((from - first) >> img->cluster_bits);

		if (from < to &&
		    !dafs_bits_are(bits, c,
				   (uint32_t)((to - 1 - first) >> img->cluster_bits) - c + 1, true))
			return false;
	}
	return true;
}

static errcode_t make_bits(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			   uint8_t **ret)
{
	uint16_t uninit = kind == DAFS_BLOCK_BITS ? EXT2_BG_BLOCK_UNINIT : EXT2_BG_INODE_UNINIT;
	uint32_t nbits = bits_of(img, grp, kind);
	uint8_t *bits = calloc(1, img->block_size);
	bool strict = !(img->flags & DAFS_IMAGE_IGNORE_CSUM);
	errcode_t err = bits ? 0 : ENOMEM;

	*ret = NULL;
	if (!err && kind == DAFS_BLOCK_BITS)
		err = dafs_meta_load(img);
	if (!err && dafs_grp_was_flag(img, grp, uninit)) {
		if (kind == DAFS_BLOCK_BITS)
			dafs_meta_mark(img, grp, bits);
	} else if (!err) {
		err = read_bits(img, grp, kind, bits);
		if (!err && strict)
			err = check_bits(img, grp, kind, bits);
	}
	if (!err && strict)
		err = check_count(img, grp, kind, bits);
	if (!err && strict && kind == DAFS_BLOCK_BITS && !journal_marked(img, grp, bits))
		err = corrupt(img, grp, kind, "the journal is marked as free");
	if (err) {
		free(bits);
		return err;
	}
	dafs_bits_set(bits, nbits, img->block_size * 8 - nbits, true);
	*ret = bits;
	return 0;
}

errcode_t dafs_grp_load(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			struct dafs_grp **ret)
{
	struct dafs_groups *g = img->groups;

	*ret = NULL;
	if (grp >= g->count)
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "%s: no group %u", img->dev->address,
				 grp);
	if (!g->v[grp]) {
		if (!(img->flags & DAFS_IMAGE_IGNORE_CSUM) &&
		    !ext2fs_group_desc_csum_verify(img->fs, grp))
			return dafs_fail(img->ctx, DAFS_ET_CORRUPT_GROUP,
					 "%s: group %u: descriptor checksum", img->dev->address,
					 grp);
		g->v[grp] = calloc(1, sizeof(**g->v));
		if (!g->v[grp])
			return ENOMEM;
	}
	if (!g->v[grp]->bits[kind]) {
		errcode_t err = make_bits(img, grp, kind, &g->v[grp]->bits[kind]);

		if (err)
			return err;
	}
	*ret = g->v[grp];
	return 0;
}
