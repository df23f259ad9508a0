/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * promise - how many clusters the flush may need for an inode's names, symlink target and
 * attributes: cheap upper bounds.
 *
 * They depend on nothing but the inode's pending state, so that the same figure that was taken is
 * given back later, in another process too. Extent trees of file data are the write path's
 * business.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <assert.h>

#include "image/icodec.h"
#include "write/dareserve.h"

/* Fast symlinks lie in the inode; longer ones take a block. */
enum { FAST_SYMLINK_BYTES = 60 };

static uint64_t div_up(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

/*
 * Blocks a directory grows by. Entries packed in hash order leave less than half of a leaf empty;
 * names that come into an old directory may each overflow a leaf of their own, but no more leaves
 * than there are; one that has no index yet is packed anew, less tightly. Index: two nodes for a
 * new level and a split, and what the new leaves fill at half load.
 */
static uint64_t dir_new_blks(const struct dafs_image *img, const struct dafs_inode *inode)
{
	const struct dafs_dir *dir = inode->u.dir;
	uint64_t usable = img->block_size - 12, per_node = img->block_size / 16;
	uint64_t names = dir ? dir->add_names : 0, bytes = dir ? dir->add_bytes : 0;
	uint64_t old = (inode->state & DAFS_I_NEW) ? 0 : inode->size >> img->block_bits;
	uint64_t leaves;

	if (!old && bytes + 24 <= usable && (inode->state & DAFS_I_NEW))
		return 1;
	if (!names)
		return 0;
	leaves = 2 * div_up(bytes + 24, usable) + (names < old ? names : old);
	if (old && !(inode->iflags & EXT2_INDEX_FL))
		leaves += old / 4 + 2;
	return leaves + 2 + div_up(leaves, per_node);
}

static uint64_t dir_clusters(const struct dafs_image *img, const struct dafs_inode *inode)
{
	uint64_t blks = dir_new_blks(img, inode);

	if (!blks)
		return 0;
	return div_up(blks, UINT64_C(1) << img->cluster_bits) +
	       dafs_delalloc_meta_bound(img, blks, !(inode->state & DAFS_I_NEW));
}

/* Room for attributes in an inode that dafs makes; none in one that may hold inline data or
 * another's layout. */
static uint64_t in_inode_bytes(const struct dafs_image *img, const struct dafs_inode *inode)
{
	uint64_t fixed = EXT2_GOOD_OLD_INODE_SIZE + dafs_icodec_new_extra(img) + 8;

	if (!(inode->state & DAFS_I_NEW) || img->has_inline_data || img->inode_size <= fixed)
		return 0;
	return img->inode_size - fixed;
}

static struct dafs_ns_promise xattr_promise(const struct dafs_image *img,
					    const struct dafs_inode *inode)
{
	struct dafs_ns_promise p = { 0 };
	uint64_t bytes = 0, values = 0, blks;

	for (const struct dafs_xattr *x = inode->xattrs; x; x = x->next) {
		bytes += 16 + ((x->name_len + 3u) & ~3u) +
			 (((uint64_t)x->value_len + 3) & ~UINT64_C(3));
		values++;
	}
	if (bytes <= in_inode_bytes(img, inode))
		return p;
	p.clusters = 1;
	if (!img->has_ea_inode || bytes + 36 <= img->block_size)
		return p;
	/* Any of them may have to go into an inode of its own. */
	p.inodes = (uint32_t)values;
	for (const struct dafs_xattr *x = inode->xattrs; x; x = x->next) {
		blks = div_up(x->value_len, img->block_size);
		p.clusters += div_up(blks, UINT64_C(1) << img->cluster_bits) +
			      dafs_delalloc_meta_bound(img, blks, 0);
	}
	return p;
}

struct dafs_ns_promise dafs_ns_promised(const struct dafs_image *img,
					const struct dafs_inode *inode)
{
	struct dafs_ns_promise p = { 0 };

	if (inode->state & DAFS_I_GONE)
		return p;
	if (inode->state & DAFS_I_XATTR)
		p = xattr_promise(img, inode);
	if (inode->state & DAFS_I_NEW)
		p.inodes++;
	if (S_ISDIR(inode->mode))
		p.clusters += dir_clusters(img, inode);
	else if (S_ISLNK(inode->mode) && (inode->state & DAFS_I_NEW) &&
		 inode->size >= FAST_SYMLINK_BYTES)
		p.clusters++;
	return p;
}

struct dafs_ns_promise dafs_ns_promise_add(struct dafs_ns_promise a, struct dafs_ns_promise b)
{
	a.clusters += b.clusters;
	a.inodes += b.inodes;
	return a;
}

/* May blocks kept for root go to this owner's files? */
static bool is_privileged(const struct dafs_ns *ns, const struct dafs_inode *owner)
{
	const struct ext2_super_block *sb = ns->img->fs->super;

	if (!ns->ctx->as_root)
		return false;
	return owner->uid == 0 || owner->uid == sb->s_def_resuid ||
	       (sb->s_def_resgid && owner->gid == sb->s_def_resgid);
}

void dafs_ns_act_for(struct dafs_ns *ns, const struct dafs_inode *owner)
{
	ns->w->privileged = is_privileged(ns, owner);
}

errcode_t dafs_ns_repromise(struct dafs_ns *ns, const struct dafs_inode *owner,
			    struct dafs_ns_promise before, struct dafs_ns_promise after)
{
	errcode_t err = 0;

	dafs_ns_act_for(ns, owner);
	if (after.inodes > before.inodes)
		err = dafs_reserve_take_inodes(ns->w->reserve, after.inodes - before.inodes);
	if (err)
		return err;
	if (after.clusters > before.clusters)
		err = dafs_delalloc_take(ns->w, 0, after.clusters - before.clusters);
	else
		err = dafs_dareserve_recheck(ns->w);
	if (err) {
		if (after.inodes > before.inodes)
			dafs_reserve_release_inodes(ns->w->reserve, after.inodes - before.inodes);
		return err;
	}
	dafs_ns_unpromise(ns, before, after);
	return 0;
}

void dafs_ns_unpromise(struct dafs_ns *ns, struct dafs_ns_promise before,
		       struct dafs_ns_promise after)
{
	if (after.clusters < before.clusters)
		dafs_delalloc_release(ns->w, 0, before.clusters - after.clusters);
	if (after.inodes < before.inodes)
		dafs_reserve_release_inodes(ns->w->reserve, before.inodes - after.inodes);
}
