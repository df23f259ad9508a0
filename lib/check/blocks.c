/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blocks - what an inode's blocks add up to: size, block count, quota; and the staging of claims.
 *
 * The maps themselves are walked by extent.c and indirect.c, which call back here for every block
 * they accept.
 *
 * Units: claims and in->clusters are clusters; i_blocks is 512-byte sectors, or blocks with the
 * huge-file flag.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>

/* ---- staging ---- */

void dafs_ck_claim(struct dafs_ck_worker *w, uint64_t cluster, uint64_t len)
{
	struct dafs_ck_range *last =
		w->claims.n ? (struct dafs_ck_range *)w->claims.v + w->claims.n - 1 : NULL;

	if (last && last->start + last->len == cluster) {
		last->len += len;
		return;
	}
	last = dafs_ck_vec_add(&w->claims, sizeof(*last));
	if (last)
		*last = (struct dafs_ck_range){ cluster, len };
	else
		w->err = ENOMEM;
}

void dafs_ck_claim_blk(struct dafs_ck_worker *w, uint64_t pblk)
{
	dafs_ck_claim(w, dafs_ck_cluster(w->ck, pblk), 1);
}

void dafs_ck_add_dext(struct dafs_ck_worker *w, uint64_t pblk, uint64_t lblk, uint64_t len)
{
	struct dafs_ck_dext *last =
		w->dexts.n ? (struct dafs_ck_dext *)w->dexts.v + w->dexts.n - 1 : NULL;

	if (last && last->lblk + last->len == lblk &&
	    (pblk ? last->pblk && last->pblk + last->len == pblk : !last->pblk)) {
		last->len += (uint32_t)len;
		return;
	}
	last = dafs_ck_vec_add(&w->dexts, sizeof(*last));
	if (last)
		*last = (struct dafs_ck_dext){ pblk, (uint32_t)lblk, (uint32_t)len };
	else
		w->err = ENOMEM;
}

bool dafs_ck_misaligned(const struct dafs_ck *ck, const struct dafs_ck_inode *in, uint64_t pblk,
			uint64_t lblk)
{
	uint64_t mask = (UINT64_C(1) << ck->g.cbits) - 1;

	if (!ck->g.cbits)
		return false;
	if ((lblk & mask) != (pblk & mask))
		return true;
	/* A logical cluster that continues in another physical one. */
	return in->prev_pblk && lblk & mask &&
	       lblk >> ck->g.cbits == (uint64_t)in->last_blk >> ck->g.cbits &&
	       pblk >> ck->g.cbits != in->prev_pblk >> ck->g.cbits;
}

/* ---- sums ---- */

/* Largest size that direct and indirect blocks can map. */
static uint64_t indirect_max_bytes(const struct dafs_ck *ck)
{
	uint64_t per = ck->g.block_size / 4;

	return (EXT2_NDIR_BLOCKS + per + per * per + per * per * per) << ck->g.block_bits;
}

/* Does a tree with levels map written blocks behind the size? No preening, as with e2fsck: either
 * may be wrong. The size is what is mended, for no block is lost then. */
static bool tree_beyond(const struct dafs_ck *ck, const struct dafs_ck_inode *in)
{
	const struct ext2_inode_large *raw = in->raw;

	return ck->g.extents && raw->i_flags & EXT4_EXTENTS_FL && in->depth &&
	       in->last_init_blk >= 0 &&
	       (uint64_t)in->last_init_blk * ck->g.block_size >= dafs_ck_size(raw) &&
	       !(raw->i_flags & EXT4_VERITY_FL);
}

/* Is the size impossible for the blocks that are mapped? *want gets one that is possible. */
static bool size_wrong(const struct dafs_ck *ck, const struct dafs_ck_inode *in, uint64_t *want)
{
	const struct ext2_inode_large *raw = in->raw;
	uint64_t size = dafs_ck_size(raw), bs = ck->g.block_size;
	bool extents = ck->g.extents && raw->i_flags & EXT4_EXTENTS_FL;
	uint32_t extra;

	*want = (uint64_t)(in->last_blk + 1) * bs;
	if (in->is_dir) {
		uint64_t blks, mapped = (uint64_t)(in->last_blk + 1);

		/* (The high half that no directory has is pass 2's matter.) */
		if (!ck->g.large_dir)
			size = raw->i_size;
		blks = size >> ck->g.block_bits;
		if (raw->i_flags & EXT4_INLINE_DATA_FL) {
			*want = dafs_ck_inline_size(ck, raw, &extra) ? sizeof(raw->i_block) + extra
								     : 0;
			return size != *want;
		}
		return size & (bs - 1) || blks > mapped ||
		       mapped - blks > ck->sb.s_prealloc_dir_blocks;
	}
	if (in->last_init_blk >= 0 && size < (uint64_t)in->last_init_blk * bs &&
	    !(raw->i_flags & EXT4_VERITY_FL))
		return true;
	if (tree_beyond(ck, in))
		return true;
	if (extents)
		return size > (UINT64_C(1) << (32 + ck->g.block_bits)) - 1;
	return size > indirect_max_bytes(ck);
}

static void check_size(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;
	bool tree = tree_beyond(w->ck, in);
	uint64_t want;

	/* A symlink's size is its target's length. */
	if (LINUX_S_ISLNK(raw->i_mode) || !size_wrong(w->ck, in, &want))
		return;
	/* (Unwritten blocks may lie behind the end.) */
	if (tree && in->is_reg)
		want = (uint64_t)(in->last_init_blk + 1) * w->ck->g.block_size;
	if (tree ? !DAFS_CK_FIND(w, INO_SIZE_TREE, .ino = in->ino, .found = dafs_ck_size(raw),
				 .want = want)
		 : !DAFS_CK_FIND(w, INO_SIZE, .ino = in->ino, .found = dafs_ck_size(raw),
				 .want = want))
		return;
	raw->i_size = (uint32_t)want;
	raw->i_size_high = (uint32_t)(want >> 32);
	if (!want && raw->i_flags & EXT4_INLINE_DATA_FL) {
		memset(raw->i_block, 0, sizeof(raw->i_block));
		raw->i_flags &= ~EXT4_INLINE_DATA_FL;
	}
	in->dirty = true;
}

static void check_count(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;
	bool huge = ck->g.huge_file && raw->i_flags & EXT4_HUGE_FILE_FL;
	uint64_t want = in->clusters << ck->g.cbits, found = raw->i_blocks;

	if (ck->g.hurd)
		return;
	if (!huge)
		want *= ck->g.block_size / 512;
	if (ck->g.huge_file)
		found |= (uint64_t)raw->osd2.linux2.l_i_blocks_hi << 32;
	if (found == want && !(huge && raw->osd2.linux2.l_i_blocks_hi))
		return;
	if (DAFS_CK_FIND(w, INO_BLOCKS, .ino = in->ino, .found = found, .want = want)) {
		raw->i_blocks = (uint32_t)want;
		raw->osd2.linux2.l_i_blocks_hi = (uint16_t)(want >> 32);
		in->dirty = true;
	}
}

/* Data blocks, less the attribute block. */
static bool has_data(const struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	return raw->i_blocks > (dafs_ck_acl(ck, raw) ? ck->g.block_size / 512 << ck->g.cbits : 0);
}

/* What the inode is to be charged for, once it is published. Nobody is charged for the quota files
 * themselves, nor for the orphan file. */
static void charge(const struct dafs_ck *ck, struct dafs_ck_inode *in)
{
	if (!ck->g.quota || in->raw->i_flags & EXT4_EA_INODE_FL ||
	    in->ino == dafs_ck_quota_inum(ck, 2) || in->ino == ck->sb.s_orphan_file_inum ||
	    (in->ino != EXT2_ROOT_INO && in->ino < ck->g.first_ino))
		return;
	in->quota_bytes = in->clusters << (ck->g.cbits + ck->g.block_bits);
	in->quota_inodes = 1 + in->ea_ibody_inodes + in->ea_block_inodes;
}

void dafs_ck_walk_map(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	const struct ext2_inode_large *raw = in->raw;

	if (ck->g.inline_data && raw->i_flags & EXT4_INLINE_DATA_FL)
		return;
	if (!dafs_ck_has_blocks(ck, raw))
		return;
	if (ck->g.extents && raw->i_flags & EXT4_EXTENTS_FL)
		dafs_ck_extents(w, in);
	else
		dafs_ck_indirect(w, in);
}

/* A block map where extents have to be, or are asked for. */
static void check_map_kind(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;

	if ((!in->is_reg && !in->is_dir) || !has_data(ck, in->raw) ||
	    (in->ino != EXT2_ROOT_INO && in->ino < ck->g.first_ino) ||
	    in->raw->i_flags & (EXT4_EXTENTS_FL | EXT4_INLINE_DATA_FL))
		return;
	if (ck->g.bigalloc)
		in->convert = DAFS_CK_FIND(w, INO_BIGALLOC_MAP, .ino = in->ino);
	else if (ck->opts->to_extents && ck->g.extents)
		in->convert = DAFS_CK_FIND(w, INO_BLOCK_MAP, .ino = in->ino);
	in->rebuild |= in->convert;
}

/* Whether the index is one is pass 2's matter; whether there can be one shows here. */
static void check_index_flag(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;
	bool fixed;

	if (!(raw->i_flags & EXT2_INDEX_FL))
		return;
	if (!in->is_dir)
		fixed = DAFS_CK_FIND(w, HT_NODIR, .ino = in->ino);
	else if (!ck->g.dir_index)
		fixed = DAFS_CK_FIND(w, HT_FEATURE, .ino = in->ino);
	else if (raw->i_flags & EXT4_INLINE_DATA_FL)
		fixed = DAFS_CK_FIND(w, HT_ROOT, .ino = in->ino);
	else
		return;
	if (fixed) {
		raw->i_flags &= ~(uint32_t)EXT2_INDEX_FL;
		in->dirty = true;
	}
}

/* A short target in the inode, but i_blocks says that there is a map: no block number is there. */
static bool is_target(const struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	const char *target = (const char *)raw->i_block;

	return dafs_ck_is_fast_symlink(raw) && dafs_ck_has_blocks(ck, raw) &&
	       !(raw->i_flags & (EXT4_EXTENTS_FL | EXT4_INLINE_DATA_FL)) &&
	       !dafs_ck_blk_ok(ck, raw->i_block[0]) &&
	       strnlen(target, sizeof(raw->i_block)) == dafs_ck_size(raw);
}

static void check_target(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;

	if (!is_target(w->ck, raw) ||
	    !DAFS_CK_FIND(w, INO_LINK_BLOCKS, .ino = in->ino, .found = raw->i_blocks))
		return;
	raw->i_blocks = (uint32_t)((in->clusters << w->ck->g.cbits) * (w->ck->g.block_size / 512));
	in->dirty = true;
}

void dafs_ck_inode_blocks(struct dafs_ck_worker *w, struct dafs_ck_inode *in, bool with_ea)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;

	in->is_dir = LINUX_S_ISDIR(raw->i_mode);
	in->is_reg = LINUX_S_ISREG(raw->i_mode);
	in->clusters = with_ea ? in->ea_ibody_blks >> ck->g.cbits : 0;
	in->last_blk = in->last_init_blk = in->last_dir_blk = -1;
	if (dafs_ck_xattr_block(w, in))
		in->clusters += in->ea_block_blks >> ck->g.cbits;
	check_target(w, in);
	dafs_ck_walk_map(w, in);
	if (in->cleared)
		return;
	in->fragmented = in->fragmented && in->clusters < ck->g.bpg;
	if (in->is_dir && !in->clusters && !(raw->i_flags & EXT4_INLINE_DATA_FL) &&
	    DAFS_CK_FIND(w, INO_EMPTY_DIR, .ino = in->ino)) {
		dafs_ck_inode_clear(w, in);
		return;
	}
	charge(ck, in);
	check_index_flag(w, in);
	check_size(w, in);
	check_count(w, in);
	check_map_kind(w, in);
}
