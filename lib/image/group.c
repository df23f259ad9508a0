/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * group - see group.h. The state of the groups: committed beside next, take and give, settle.
 * Bitmaps come from group_bits.c, go to disk in group_write.c; group_meta.c knows where the static
 * metadata lies.
 *
 * Transition -> function: committed -> (first change of a group) -> changed -> dafs_groups_encode
 * -> changed, in the transaction -> dafs_groups_settle -> committed.
 */
#include "config.h"

#include "image/group.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/group_int.h"

static const struct ext4_group_desc *next_desc(const struct dafs_image *img, uint32_t grp)
{
	return (const struct ext4_group_desc *)ext2fs_group_desc(img->fs, img->fs->group_desc, grp);
}

static void save_features(struct dafs_image *img)
{
	img->groups->was_features[0] = img->fs->super->s_feature_compat;
	img->groups->was_features[1] = img->fs->super->s_feature_incompat;
	img->groups->was_features[2] = img->fs->super->s_feature_ro_compat;
}

errcode_t dafs_groups_open(struct dafs_image *img)
{
	struct dafs_groups *g = calloc(1, sizeof(*g));
	ext2_filsys fs = img->fs;

	if (!g)
		return ENOMEM;
	img->groups = g;
	g->count = fs->group_desc_count;
	g->clusters_per_group = fs->super->s_clusters_per_group;
	g->inodes_per_group = fs->super->s_inodes_per_group;
	if (g->clusters_per_group > img->block_size * 8 ||
	    g->inodes_per_group > img->block_size * 8)
		return dafs_fail(img->ctx, DAFS_ET_CORRUPT_SUPER, "%s: group size",
				 img->dev->address);
	g->v = calloc(g->count, sizeof(struct dafs_grp *));
	if (!g->v)
		return ENOMEM;
	for (uint32_t grp = 0; grp < g->count; grp++) {
		g->free_clusters += ext2fs_bg_free_blocks_count(fs, grp);
		g->free_inodes += ext2fs_bg_free_inodes_count(fs, grp);
	}
	g->was_free_clusters = g->free_clusters;
	g->was_free_inodes = g->free_inodes;
	save_features(img);
	return dafs_meta_load(img);
}

void dafs_groups_close(struct dafs_image *img)
{
	struct dafs_groups *g = img->groups;

	if (!g)
		return;
	for (uint32_t grp = 0; g->v && grp < g->count; grp++) {
		if (!g->v[grp])
			continue;
		for (int kind = 0; kind < 2; kind++) {
			free(g->v[grp]->bits[kind]);
			free(g->v[grp]->next[kind]);
		}
		free(g->v[grp]);
	}
	free(g->v);
	free(g->changed);
	free(g->meta);
	free(g);
	img->groups = NULL;
}

uint32_t dafs_group_count(const struct dafs_image *img)
{
	return img->groups->count;
}

uint64_t dafs_group_first_pblk(const struct dafs_image *img, uint32_t grp)
{
	return ext2fs_group_first_block2(img->fs, grp);
}

uint32_t dafs_group_of_pblk(const struct dafs_image *img, uint64_t pblk)
{
	return ext2fs_group_of_blk2(img->fs, pblk);
}

uint32_t dafs_group_clusters(const struct dafs_image *img, uint32_t grp)
{
	uint64_t blks;

	if (grp + 1 < img->groups->count)
		return img->groups->clusters_per_group;
	blks = img->blocks - dafs_group_first_pblk(img, grp);
	return (uint32_t)((blks + (1u << img->cluster_bits) - 1) >> img->cluster_bits);
}

const struct ext4_group_desc *dafs_grp_committed(const struct dafs_image *img, uint32_t grp)
{
	const struct dafs_grp *gp = img->groups->v[grp];

	return gp && gp->changed ? &gp->was : next_desc(img, grp);
}

bool dafs_grp_was_flag(const struct dafs_image *img, uint32_t grp, uint16_t flag)
{
	return ext2fs_has_group_desc_csum(img->fs) &&
	       (dafs_grp_committed(img, grp)->bg_flags & flag);
}

errcode_t dafs_group_block_bits(struct dafs_image *img, uint32_t grp, const uint8_t **bits)
{
	struct dafs_grp *gp;
	errcode_t err = dafs_grp_load(img, grp, DAFS_BLOCK_BITS, &gp);

	*bits = err ? NULL : gp->bits[DAFS_BLOCK_BITS];
	return err;
}

errcode_t dafs_group_inode_bits(struct dafs_image *img, uint32_t grp, const uint8_t **bits)
{
	struct dafs_grp *gp;
	errcode_t err = dafs_grp_load(img, grp, DAFS_INODE_BITS, &gp);

	*bits = err ? NULL : gp->bits[DAFS_INODE_BITS];
	return err;
}

uint32_t dafs_group_free_clusters(const struct dafs_image *img, uint32_t grp)
{
	return ext2fs_bg_free_blocks_count(img->fs, grp);
}

uint32_t dafs_group_free_inodes(const struct dafs_image *img, uint32_t grp)
{
	return ext2fs_bg_free_inodes_count(img->fs, grp);
}

uint32_t dafs_group_used_dirs(const struct dafs_image *img, uint32_t grp)
{
	return ext2fs_bg_used_dirs_count(img->fs, grp);
}

uint64_t dafs_group_total_free_clusters(const struct dafs_image *img)
{
	return img->groups->free_clusters;
}

uint64_t dafs_group_total_free_inodes(const struct dafs_image *img)
{
	return img->groups->free_inodes;
}

uint32_t dafs_group_itable_mark(const struct dafs_image *img, uint32_t grp)
{
	const struct ext4_group_desc *desc = dafs_grp_committed(img, grp);
	uint32_t per_group = img->groups->inodes_per_group, unused;

	if (!ext2fs_has_group_desc_csum(img->fs))
		return per_group;
	if (desc->bg_flags & EXT2_BG_INODE_UNINIT)
		return 0;
	unused = desc->bg_itable_unused;
	if (EXT2_DESC_SIZE(img->fs->super) >= EXT2_MIN_DESC_SIZE_64BIT)
		unused |= (uint32_t)desc->bg_itable_unused_hi << 16;
	return unused < per_group ? per_group - unused : 0;
}

uint64_t dafs_group_itable_pblk(const struct dafs_image *img, uint32_t grp)
{
	return ext2fs_inode_table_loc(img->fs, grp);
}

/* --- changes --- */

/* The group with a next bitmap of that kind; its committed descriptor is put aside at the first
 * change. */
static errcode_t change(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			struct dafs_grp **ret)
{
	struct dafs_groups *g = img->groups;
	size_t desc_bytes = EXT2_DESC_SIZE(img->fs->super);
	struct dafs_grp *gp;
	errcode_t err = dafs_grp_load(img, grp, kind, &gp);

	if (err)
		return err;
	if (dafs_array_grow(&g->changed, g->n_changed, &g->room_changed, sizeof(*g->changed)))
		return ENOMEM;
	if (!gp->next[kind]) {
		gp->next[kind] = malloc(img->block_size);
		if (!gp->next[kind])
			return ENOMEM;
		memcpy(gp->next[kind], gp->bits[kind], img->block_size);
	}
	if (!gp->changed) {
		memset(&gp->was, 0, sizeof(gp->was));
		memcpy(&gp->was, next_desc(img, grp),
		       desc_bytes < sizeof(gp->was) ? desc_bytes : sizeof(gp->was));
		gp->changed = true;
		g->changed[g->n_changed++] = grp;
	}
	*ret = gp;
	return 0;
}

/* The part of [pblk, end) in one group, marked as used or as free. */
static errcode_t flip_in_group(struct dafs_image *img, uint32_t grp, uint64_t pblk, uint64_t end,
			       bool used)
{
	uint64_t first = dafs_group_first_pblk(img, grp);
	uint32_t c = (uint32_t)((pblk - first) >> img->cluster_bits);
	uint32_t n = (uint32_t)((end - 1 - first) >> img->cluster_bits) - c + 1;
	struct dafs_grp *gp;
	errcode_t err = change(img, grp, DAFS_BLOCK_BITS, &gp);

	if (err)
		return err;
	if (!dafs_bits_are(gp->next[DAFS_BLOCK_BITS], c, n, !used))
		return dafs_fail(img->ctx, DAFS_ET_INTERNAL,
				 "blocks %" PRIu64 "..%" PRIu64 " are not all %s", pblk, end - 1,
				 used ? "free" : "in use");
	dafs_bits_set(gp->next[DAFS_BLOCK_BITS], c, n, used);
	ext2fs_bg_flags_clear(img->fs, grp, EXT2_BG_BLOCK_UNINIT);
	ext2fs_bg_free_blocks_count_set(
		img->fs, grp, ext2fs_bg_free_blocks_count(img->fs, grp) + (used ? -n : n));
	img->groups->free_clusters += used ? -(uint64_t)n : n;
	return 0;
}

static errcode_t flip_blks(struct dafs_image *img, uint64_t pblk, uint64_t len, bool used)
{
	uint64_t group_blks = (uint64_t)img->groups->clusters_per_group << img->cluster_bits;
	uint64_t end = pblk + len;
	errcode_t err = 0;

	if (pblk < img->first_data_block || len > img->blocks || pblk > img->blocks - len)
		return dafs_fail(img->ctx, DAFS_ET_INTERNAL,
				 "blocks %" PRIu64 "+%" PRIu64 " are outside the file system", pblk,
				 len);
	while (pblk < end && !err) {
		uint32_t grp = dafs_group_of_pblk(img, pblk);
		uint64_t group_end = dafs_group_first_pblk(img, grp) + group_blks;
		uint64_t to = end < group_end ? end : group_end;

		err = flip_in_group(img, grp, pblk, to, used);
		pblk = to;
	}
	return err;
}

errcode_t dafs_group_take_blks(struct dafs_image *img, uint64_t pblk, uint64_t len)
{
	return flip_blks(img, pblk, len, true);
}

errcode_t dafs_group_give_blks(struct dafs_image *img, uint64_t pblk, uint64_t len)
{
	return flip_blks(img, pblk, len, false);
}

/* The first inode of a group makes its tables come to life: the kernel then expects the block
 * bitmap to be written too. */
static errcode_t wake_group(struct dafs_image *img, uint32_t grp)
{
	struct dafs_grp *gp;
	errcode_t err;

	if (!ext2fs_has_group_desc_csum(img->fs) ||
	    !ext2fs_bg_flags_test(img->fs, grp, EXT2_BG_INODE_UNINIT))
		return 0;
	if (ext2fs_bg_flags_test(img->fs, grp, EXT2_BG_BLOCK_UNINIT)) {
		err = change(img, grp, DAFS_BLOCK_BITS, &gp);
		if (err)
			return err;
		ext2fs_bg_flags_clear(img->fs, grp, EXT2_BG_BLOCK_UNINIT);
	}
	ext2fs_bg_flags_clear(img->fs, grp, EXT2_BG_INODE_UNINIT);
	ext2fs_bg_itable_unused_set(img->fs, grp, img->groups->inodes_per_group);
	return 0;
}

static errcode_t flip_inode(struct dafs_image *img, uint32_t ino, bool is_dir, bool used)
{
	struct dafs_groups *g = img->groups;
	uint32_t grp = (ino - 1) / g->inodes_per_group, bit = (ino - 1) % g->inodes_per_group;
	ext2_filsys fs = img->fs;
	struct dafs_grp *gp;
	errcode_t err;

	if (!ino || ino > fs->super->s_inodes_count)
		return dafs_fail(img->ctx, DAFS_ET_INTERNAL, "no inode %u", ino);
	err = change(img, grp, DAFS_INODE_BITS, &gp);
	if (err)
		return err;
	if (!dafs_bits_are(gp->next[DAFS_INODE_BITS], bit, 1, !used))
		return dafs_fail(img->ctx, DAFS_ET_INTERNAL, "inode %u is not %s", ino,
				 used ? "free" : "in use");
	err = wake_group(img, grp);
	if (err)
		return err;
	dafs_bits_set(gp->next[DAFS_INODE_BITS], bit, 1, used);
	ext2fs_bg_free_inodes_count_set(fs, grp,
					ext2fs_bg_free_inodes_count(fs, grp) + (used ? -1u : 1u));
	g->free_inodes += used ? -(uint64_t)1 : 1;
	if (is_dir)
		ext2fs_bg_used_dirs_count_set(
			fs, grp, ext2fs_bg_used_dirs_count(fs, grp) + (used ? 1u : -1u));
	if (used && ext2fs_has_group_desc_csum(fs) &&
	    ext2fs_bg_itable_unused(fs, grp) > g->inodes_per_group - bit - 1)
		ext2fs_bg_itable_unused_set(fs, grp, g->inodes_per_group - bit - 1);
	return 0;
}

errcode_t dafs_group_take_inode(struct dafs_image *img, uint32_t ino, bool is_dir)
{
	return flip_inode(img, ino, is_dir, true);
}

errcode_t dafs_group_give_inode(struct dafs_image *img, uint32_t ino, bool is_dir)
{
	return flip_inode(img, ino, is_dir, false);
}

/* --- after the transaction --- */

static void settle_group(struct dafs_image *img, uint32_t grp, bool committed)
{
	struct dafs_grp *gp = img->groups->v[grp];
	size_t desc_bytes = EXT2_DESC_SIZE(img->fs->super);

	for (int kind = 0; kind < 2; kind++) {
		uint8_t *dropped = gp->next[kind];

		if (committed && dropped) {
			dropped = gp->bits[kind];
			gp->bits[kind] = gp->next[kind];
		}
		free(dropped);
		gp->next[kind] = NULL;
	}
	if (!committed)
		memcpy(ext2fs_group_desc(img->fs, img->fs->group_desc, grp), &gp->was,
		       desc_bytes < sizeof(gp->was) ? desc_bytes : sizeof(gp->was));
	gp->changed = false;
}

void dafs_groups_settle(struct dafs_image *img, bool committed)
{
	struct dafs_groups *g = img->groups;

	for (size_t i = 0; i < g->n_changed; i++)
		settle_group(img, g->changed[i], committed);
	g->n_changed = 0;
	if (g->super_encoded && !committed)
		*img->fs->super = g->was_super;
	g->super_encoded = false;
	if (committed) {
		g->was_free_clusters = g->free_clusters;
		g->was_free_inodes = g->free_inodes;
		save_features(img);
		return;
	}
	g->free_clusters = g->was_free_clusters;
	g->free_inodes = g->was_free_inodes;
	img->fs->super->s_feature_compat = g->was_features[0];
	img->fs->super->s_feature_incompat = g->was_features[1];
	img->fs->super->s_feature_ro_compat = g->was_features[2];
}

bool dafs_groups_verify(struct dafs_image *img)
{
	struct dafs_groups *g = img->groups;

	for (uint32_t grp = 0; grp < g->count; grp++) {
		struct dafs_grp *gp = g->v[grp];
		const uint8_t *blks = gp ? gp->next[0] ? gp->next[0] : gp->bits[0] : NULL;
		const uint8_t *inodes = gp ? gp->next[1] ? gp->next[1] : gp->bits[1] : NULL;

		if (blks && dafs_bits_count_clear(blks, dafs_group_clusters(img, grp)) !=
				    dafs_group_free_clusters(img, grp))
			return false;
		if (inodes && dafs_bits_count_clear(inodes, g->inodes_per_group) !=
				      dafs_group_free_inodes(img, grp))
			return false;
	}
	return true;
}
