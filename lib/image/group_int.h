/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * group_int - what the files behind group.h share: the groups of one image, loaded bitmaps, places
 * of static metadata.
 *
 * Invariants: v[grp] is NULL until the group is looked into; next[k] is NULL while the committed
 * bitmap holds; the descriptors in image->fs are the next ones, grp->was is the committed one of a
 * changed group.
 */
#ifndef DAFS_IMAGE_GROUP_INT_H
#define DAFS_IMAGE_GROUP_INT_H

#include "base/bits.h"
#include "image/group.h"

enum dafs_bits_kind { DAFS_BLOCK_BITS, DAFS_INODE_BITS };

struct dafs_grp {
	uint8_t *bits[2];	    /* committed; NULL: not read yet */
	uint8_t *next[2];	    /* changed version */
	struct ext4_group_desc was; /* committed descriptor, when changed */
	bool changed;
};

struct dafs_meta_range {
	uint64_t start, end;
};

struct dafs_groups {
	uint32_t count;
	uint32_t clusters_per_group, inodes_per_group;
	struct dafs_grp **v;
	uint32_t *changed; /* groups with grp->changed, in the order of their first change */
	size_t n_changed, room_changed;
	uint64_t free_clusters, free_inodes;	     /* with changes */
	uint64_t was_free_clusters, was_free_inodes; /* committed */
	uint32_t was_features[3];		     /* compat, incompat, ro_compat as committed */
	struct ext2_super_block was_super;	     /* before it was encoded, where it was */
	bool super_encoded;
	struct dafs_meta_range *meta; /* sorted, disjoint; NULL: not worked out yet */
	size_t n_meta;
};

/* The group with its committed bitmap of that kind loaded. */
errcode_t dafs_grp_load(struct dafs_image *img, uint32_t grp, enum dafs_bits_kind kind,
			struct dafs_grp **ret);

/* The committed descriptor of a group. */
const struct ext4_group_desc *dafs_grp_committed(const struct dafs_image *img, uint32_t grp);
/* A flag of the committed descriptor (BLOCK_UNINIT, INODE_UNINIT); false without descriptor
 * checksums, as in the kernel. */
bool dafs_grp_was_flag(const struct dafs_image *img, uint32_t grp, uint16_t flag);

/* Static metadata (group_meta.c): work its places out once; mark them in a group's bitmap; are they
 * all marked there? */
errcode_t dafs_meta_load(struct dafs_image *img);
void dafs_meta_mark(struct dafs_image *img, uint32_t grp, uint8_t *bits);
bool dafs_meta_marked(struct dafs_image *img, uint32_t grp, const uint8_t *bits);

#endif
