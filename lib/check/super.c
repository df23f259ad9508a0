/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * super - pass 0: what the superblock, its copies and the group descriptors say of themselves; the
 * resize inode; MMP.
 *
 * It verifies fields against each other and against the device. What the descriptors count is
 * compared with the inodes and blocks found in pass 5; the journal has its own file.
 *
 * Class: what e2fsck reports before its first pass does not count in its exit status; neither does
 * it here (SUMMARY), except where the file system could not be used as it is.
 */
#include "config.h"

#include "check/check_int.h"

#include "base/crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <uuid/uuid.h>

#define EXTRA_ISIZE	 (sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE)
#define FLEX_LOG_USUAL	 4     /* what mke2fs takes */
#define FUTURE_GRACE_SEC 86400 /* hardware clocks that run in local time */

static void check_sizes(struct dafs_ck *ck)
{
	struct ext2_super_block *sb = &ck->sb;
	const struct dafs_ck_geom *g = &ck->g;
	uint64_t dev_blks = ck->dev->size_bytes >> g->block_bits;
	uint32_t most = g->inode_size - EXT2_GOOD_OLD_INODE_SIZE;
	struct dafs_ck_worker *w = ck->main;

	/* A look can go on as long as nothing is met that is cut off; nothing can be made whole. */
	if (dev_blks < g->blocks && ck->opts->mode == DAFS_CHECK_NO)
		DAFS_CK_FIND(w, SB_SHORT, .found = g->blocks, .want = dev_blks);
	else if (dev_blks < g->blocks)
		DAFS_CK_FIND(w, SB_SHORT_FIX, .found = g->blocks, .want = dev_blks);
	if (sb->s_inodes_count != g->inodes &&
	    DAFS_CK_FIND(w, SB_INODES, .found = sb->s_inodes_count, .want = g->inodes))
		sb->s_inodes_count = g->inodes;
	if (g->inode_size > EXT2_GOOD_OLD_INODE_SIZE) {
		uint32_t min = sb->s_min_extra_isize, want = sb->s_want_extra_isize;

		if (min && (min < DAFS_CK_EXTRA_ISIZE_MIN || min > most || min & 3) &&
		    DAFS_CK_FIND(w, SB_MIN_EXTRA, .found = min))
			sb->s_min_extra_isize = EXTRA_ISIZE;
		if (want && (want < DAFS_CK_EXTRA_ISIZE_MIN || want > most || want & 3) &&
		    DAFS_CK_FIND(w, SB_WANT_EXTRA, .found = want))
			sb->s_want_extra_isize = EXTRA_ISIZE;
	}
	if (sb->s_log_groups_per_flex > DAFS_CK_FLEX_LOG_MAX &&
	    DAFS_CK_FIND(w, SB_FLEX, .found = sb->s_log_groups_per_flex))
		sb->s_log_groups_per_flex = FLEX_LOG_USUAL;
	/* (The descriptors were read where they lie with all meta groups in the new place.) */
	if (g->meta_bg && sb->s_first_meta_bg > g->desc_blks &&
	    DAFS_CK_FIND(w, SB_FIRST_META_BG, .found = sb->s_first_meta_bg, .want = g->desc_blks))
		sb->s_first_meta_bg = 0;
}

static void check_features(struct dafs_ck *ck)
{
	struct ext2_super_block *sb = &ck->sb;
	struct dafs_ck_worker *w = ck->main;

	if (ext2fs_has_feature_metadata_csum(sb) && ext2fs_has_feature_gdt_csum(sb) &&
	    DAFS_CK_FIND(w, SB_TWO_CSUMS))
		ext2fs_clear_feature_gdt_csum(sb);
	if (!ext2fs_has_feature_metadata_csum(sb) && ext2fs_has_feature_csum_seed(sb) &&
	    DAFS_CK_FIND(w, SB_SEED)) {
		ext2fs_clear_feature_csum_seed(sb);
		sb->s_checksum_seed = 0;
	}
	if (ck->g.bit64 && !ck->g.extents && DAFS_CK_FIND(w, SB_64BIT)) {
		ext2fs_set_feature_extents(sb);
		ck->again = true;
	}
	if (ck->g.bigalloc && !ck->g.extents && DAFS_CK_FIND(w, SB_BIGALLOC)) {
		/* Clusters of one block mean nothing without the flag. */
		if (ck->g.cbits)
			ext2fs_set_feature_extents(sb);
		else
			ext2fs_clear_feature_bigalloc(sb);
		ck->again = true;
	}
	if (ck->g.hurd && ck->g.filetype && DAFS_CK_FIND(w, SB_HURD)) {
		ext2fs_clear_feature_filetype(sb);
		ck->again = true;
	}
	if (sb->s_rev_level == EXT2_GOOD_OLD_REV &&
	    (sb->s_feature_compat || sb->s_feature_incompat || sb->s_feature_ro_compat) &&
	    DAFS_CK_FIND(w, SB_REV)) {
		sb->s_rev_level = EXT2_DYNAMIC_REV;
		sb->s_first_ino = EXT2_GOOD_OLD_FIRST_INO;
		sb->s_inode_size = EXT2_GOOD_OLD_INODE_SIZE;
		ck->again = true;
	}
	if (ck->g.dir_index &&
	    !(sb->s_flags & (EXT2_FLAGS_SIGNED_HASH | EXT2_FLAGS_UNSIGNED_HASH)) &&
	    DAFS_CK_FIND(w, SB_HASH_HINT))
		sb->s_flags |= (char)0xff < 0 ? EXT2_FLAGS_SIGNED_HASH : EXT2_FLAGS_UNSIGNED_HASH;
}

static void check_time(struct dafs_ck *ck, uint32_t *low, uint8_t *high, const char *what)
{
	int64_t now = ck->ctx->now_sec;

	if (*low + ((int64_t)*high << 32) <= now + FUTURE_GRACE_SEC ||
	    !DAFS_CK_FIND(ck->main, SB_FUTURE, .found = *low, .text = what))
		return;
	*low = (uint32_t)now;
	*high = (uint8_t)(now >> 32);
}

static void check_times(struct dafs_ck *ck)
{
	struct ext2_super_block *sb = &ck->sb;
	static const uint8_t no_uuid[16];

	check_time(ck, &sb->s_mtime, &sb->s_mtime_hi, "the time of the last mount");
	check_time(ck, &sb->s_wtime, &sb->s_wtime_hi, "the time of the last write");
	if (!ck->g.csum && !memcmp(sb->s_uuid, no_uuid, sizeof(no_uuid)) &&
	    DAFS_CK_FIND(ck->main, SB_UUID)) {
		uuid_generate(sb->s_uuid);
		/* (Checksums of descriptors are over the UUID.) */
		for (uint32_t grp = 0; grp < ck->g.groups; grp++)
			dafs_ck_gd_seal(ck, grp);
	}
	/* (Copies are never marked.) */
	if (!(sb->s_state & EXT2_VALID_FS) && !ck->sb_blk && DAFS_CK_FIND(ck->main, SB_STATE))
		sb->s_state |= EXT2_VALID_FS;
	if (sb->s_last_orphan &&
	    (sb->s_last_orphan < ck->g.first_ino || sb->s_last_orphan > ck->g.inodes) &&
	    DAFS_CK_FIND(ck->main, ORPHAN_HEAD, .ino = sb->s_last_orphan))
		sb->s_last_orphan = 0;
}

/* ---- group descriptors ---- */

static void check_places(struct dafs_ck *ck, uint32_t grp)
{
	unsigned flags = ck->gd_flags[grp];
	struct dafs_ck_worker *w = ck->main;
	unsigned move = 0;

	if (flags & DAFS_CKG_BB_BAD &&
	    DAFS_CK_FIND(w, GD_BLOCK_BITMAP, .grp = grp, .blk = dafs_ck_gd_block_bitmap(ck, grp)))
		move |= DAFS_CKM_BB;
	if (flags & DAFS_CKG_IB_BAD &&
	    DAFS_CK_FIND(w, GD_INODE_BITMAP, .grp = grp, .blk = dafs_ck_gd_inode_bitmap(ck, grp)))
		move |= DAFS_CKM_IB;
	if (flags & DAFS_CKG_IT_BAD &&
	    DAFS_CK_FIND(w, GD_ITABLE, .grp = grp, .blk = dafs_ck_gd_itable(ck, grp)))
		move |= DAFS_CKM_IT;
	if (flags & DAFS_CKG_IT_CLASH &&
	    DAFS_CK_FIND(w, GD_IT_CONFLICT, .grp = grp, .blk = dafs_ck_gd_itable(ck, grp)))
		move |= DAFS_CKM_IT;
	if (flags & DAFS_CKG_BB_CLASH &&
	    DAFS_CK_FIND(w, GD_BB_CONFLICT, .grp = grp, .blk = dafs_ck_gd_block_bitmap(ck, grp)))
		move |= DAFS_CKM_BB;
	if (flags & DAFS_CKG_IB_CLASH &&
	    DAFS_CK_FIND(w, GD_IB_CONFLICT, .grp = grp, .blk = dafs_ck_gd_inode_bitmap(ck, grp)))
		move |= DAFS_CKM_IB;
	if (move)
		dafs_ck_want_move(ck, grp, move);
}

/* A descriptor that cannot be believed hides nothing any more. */
static void distrust(struct dafs_ck *ck, uint32_t grp, uint16_t flags)
{
	dafs_ck_gd(ck, grp)->bg_flags &= (uint16_t)~flags;
	dafs_ck_gd_set_unused(ck, grp, 0);
	dafs_ck_gd_seal(ck, grp);
}

static void check_descriptor(struct dafs_ck *ck, uint32_t grp)
{
	const uint16_t both = EXT2_BG_BLOCK_UNINIT | EXT2_BG_INODE_UNINIT;
	struct ext4_group_desc *gd = dafs_ck_gd(ck, grp);
	uint32_t unused = dafs_ck_gd_unused(ck, grp), free_inodes = dafs_ck_gd_free_inodes(ck, grp);
	uint16_t csum = dafs_ck_gd_csum(ck, grp);
	struct dafs_ck_worker *w = ck->main;

	if (ck->gd_flags[grp])
		check_places(ck, grp);
	if (ck->g.gd_csum && gd->bg_checksum != csum) {
		if (DAFS_CK_FIND(w, GD_CSUM, .grp = grp, .found = gd->bg_checksum, .want = csum))
			distrust(ck, grp, both);
		else
			ck->gd_flags[grp] |= DAFS_CKG_CSUM_BAD;
	}
	if (!ck->g.gd_csum && (gd->bg_flags & both || unused) &&
	    DAFS_CK_FIND(w, GD_UNINIT, .grp = grp))
		distrust(ck, grp, both);
	if (grp == ck->g.groups - 1 && gd->bg_flags & EXT2_BG_BLOCK_UNINIT &&
	    DAFS_CK_FIND(w, GD_UNINIT_LAST, .grp = grp)) {
		gd->bg_flags &= (uint16_t)~EXT2_BG_BLOCK_UNINIT;
		dafs_ck_gd_seal(ck, grp);
	}
	unused = dafs_ck_gd_unused(ck, grp);
	if (ck->g.gd_csum && (unused > free_inodes || unused > ck->g.ipg) &&
	    DAFS_CK_FIND(w, GD_UNUSED, .grp = grp, .found = unused, .want = free_inodes))
		distrust(ck, grp, EXT2_BG_INODE_UNINIT);
	/* The root is in use in any case: what hides it hides all files. */
	if (!grp && !ck->gd_flags[0] && dafs_ck_grp_scan_inodes(ck, 0) < EXT2_ROOT_INO &&
	    DAFS_CK_FIND(w, GD_ROOT_HIDDEN, .grp = grp))
		distrust(ck, grp, EXT2_BG_INODE_UNINIT);
}

/* ---- copies of the superblock ---- */

/* Flags that a running kernel sets in the primary superblock only. */
#define COPY_RO_COMPAT_IGNORED                                                                     \
	(EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |                    \
	 EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT)
#define COPY_INCOMPAT_IGNORED (EXT3_FEATURE_INCOMPAT_EXTENTS | EXT3_FEATURE_INCOMPAT_RECOVER)

static const char *copy_differs(const struct ext2_super_block *sb,
				const struct ext2_super_block *copy)
{
	if (copy->s_magic != EXT2_SUPER_MAGIC || copy->s_rev_level > EXT2_MAX_SUPP_REV)
		return "magic";
	if (copy->s_feature_compat != sb->s_feature_compat ||
	    (copy->s_feature_incompat ^ sb->s_feature_incompat) & ~COPY_INCOMPAT_IGNORED ||
	    (copy->s_feature_ro_compat ^ sb->s_feature_ro_compat) & ~COPY_RO_COMPAT_IGNORED)
		return "features";
	if (copy->s_blocks_count != sb->s_blocks_count ||
	    copy->s_blocks_count_hi != sb->s_blocks_count_hi)
		return "blocks_count";
	if (copy->s_inodes_count != sb->s_inodes_count)
		return "inodes_count";
	return memcmp(copy->s_uuid, sb->s_uuid, sizeof(sb->s_uuid)) ? "uuid" : NULL;
}

static void check_copies(struct dafs_ck *ck)
{
	/* (They are written at the end then.) */
	for (uint32_t grp = 1; grp < ck->g.groups && !ck->backups; grp++) {
		uint64_t off = dafs_ck_grp_first(ck, grp) << ck->g.block_bits;
		struct ext2_super_block copy;
		const char *what;

		if (!dafs_ck_has_super(ck, grp) || off + sizeof(copy) > ck->dev->size_bytes)
			continue;
		if (dafs_dev_read(ck->dev, &copy, sizeof(copy), off))
			continue;
		what = copy_differs(&ck->sb, &copy);
		if (what && DAFS_CK_FIND(ck->main, SB_BACKUP, .grp = grp, .text = what))
			ck->backups = true;
	}
}

/* ---- the resize inode ---- */

static bool indirect_read(struct dafs_ck *ck, uint64_t blk, uint32_t *buf)
{
	return dafs_ck_blk_ok(ck, blk) && !dafs_ck_read(ck->main, blk, 1, buf);
}

/* Groups but the first one that have a copy of the superblock, no more than most. */
static uint32_t super_groups(const struct dafs_ck *ck, uint32_t *groups, uint32_t most)
{
	uint32_t n = 0;

	for (uint32_t grp = 1; grp < ck->g.groups && n < most; grp++)
		if (dafs_ck_has_super(ck, grp))
			groups[n++] = grp;
	return n;
}

/* Every reserved descriptor block of group 0 is an indirect block that lists its copies. */
static const char *resize_map_wrong(struct dafs_ck *ck, uint64_t dind_blk)
{
	uint32_t per_blk = ck->g.block_size / 4;
	uint32_t *dind = (uint32_t *)ck->main->level[0], *ind = (uint32_t *)ck->main->level[1];
	/* (One more than a block can list, to see that there is.) */
	uint32_t *groups = (uint32_t *)ck->main->level[2];
	uint32_t n = super_groups(ck, groups, per_blk + 1);
	uint64_t pblk = dafs_ck_desc_blk(ck, 0, 0) + ck->g.desc_blks;
	uint32_t at = ck->g.desc_blks;

	if (!indirect_read(ck, dind_blk, dind))
		return "double indirect block";
	for (uint32_t i = ck->sb.s_reserved_gdt_blocks; i < per_blk; i++)
		if (dind[(at + i) % per_blk])
			return "double indirect block";
	for (uint32_t i = 0; i < ck->sb.s_reserved_gdt_blocks; i++, at++, pblk++) {
		at %= per_blk;
		if (dind[at] != pblk || !indirect_read(ck, pblk, ind))
			return "reserved block";
		for (uint32_t k = 0; k < n; k++)
			if (k == per_blk ||
			    ind[k] != (uint32_t)(pblk + (uint64_t)groups[k] * ck->g.bpg))
				return "copy of a reserved block";
	}
	return NULL;
}

static errcode_t clear_resize_inode(struct dafs_ck_worker *w, struct ext2_inode_large *raw)
{
	memset(raw, 0, w->ck->g.inode_size);
	return dafs_ck_write_inode(w, EXT2_RESIZE_INO, raw);
}

static errcode_t check_resize_inode(struct dafs_ck *ck)
{
	struct ext2_super_block *sb = &ck->sb;
	bool feature = ext2fs_has_feature_resize_inode(sb);
	struct ext2_inode_large *raw = calloc(1, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	struct dafs_ck_worker *w = ck->main;
	const char *why = NULL;
	bool others = false;
	errcode_t err = 0;

	if (!raw)
		return ENOMEM;
	if (feature && ck->g.meta_bg && DAFS_CK_FIND(w, SB_RESIZE_META)) {
		ext2fs_clear_feature_resize_inode(sb);
		sb->s_reserved_gdt_blocks = 0;
		feature = false;
	}
	if (!feature && sb->s_reserved_gdt_blocks &&
	    DAFS_CK_FIND(w, SB_RESERVED_GDT, .found = sb->s_reserved_gdt_blocks)) {
		sb->s_reserved_gdt_blocks = 0;
		ck->again = true;
	}
	if (!dafs_ck_read_inode(w, EXT2_RESIZE_INO, raw))
		goto out;
	for (unsigned i = 0; i < EXT2_N_BLOCKS; i++)
		others |= raw->i_block[i] && (!feature || i != EXT2_DIND_BLOCK);
	if (!feature) {
		if (others && DAFS_CK_FIND(w, RESIZE_CLEAR, .ino = EXT2_RESIZE_INO))
			err = clear_resize_inode(w, raw);
		goto out;
	}
	if (others || !raw->i_links_count || !(raw->i_mode & LINUX_S_IFREG) ||
	    !raw->i_block[EXT2_DIND_BLOCK] || !dafs_ck_blk_ok(ck, raw->i_block[EXT2_DIND_BLOCK]) ||
	    dafs_ck_is_meta(ck, raw->i_block[EXT2_DIND_BLOCK]))
		why = "the inode";
	else
		why = resize_map_wrong(ck, raw->i_block[EXT2_DIND_BLOCK]);
	if (why && DAFS_CK_FIND(w, RESIZE_INODE, .ino = EXT2_RESIZE_INO, .text = why)) {
		err = clear_resize_inode(w, raw);
		ck->want |= DAFS_CKW_RESIZE;
	}
out:
	free(raw);
	return err ? err : w->err;
}

/* ---- named inodes, MMP ---- */

static void check_quota_inodes(struct dafs_ck *ck)
{
	static const char *const names[] = { "user", "group", "project" };

	for (unsigned type = 0; type < 3; type++) {
		uint32_t ino = dafs_ck_quota_inum(ck, type);

		if (ino &&
		    (ino == EXT2_BAD_INO || ino == EXT2_ROOT_INO || ino == EXT2_BOOT_LOADER_INO ||
		     ino == EXT2_RESIZE_INO || ino == EXT2_JOURNAL_INO || ino > ck->g.inodes) &&
		    DAFS_CK_FIND(ck->main, QUOTA_INODE, .ino = ino, .text = names[type]))
			*dafs_ck_quota_slot(ck, type) = 0;
	}
}

static errcode_t check_mmp(struct dafs_ck *ck)
{
	uint64_t blk = ck->sb.s_mmp_block;
	const struct mmp_struct *mmp = (const void *)ck->main->level[0];
	errcode_t err;
	bool write = false;

	if (!ext2fs_has_feature_mmp(&ck->sb))
		return 0;
	if (blk <= ck->g.first || blk >= ck->g.blocks) {
		if (DAFS_CK_FIND(ck->main, MMP_BLOCK, .blk = blk)) {
			ck->sb.s_mmp_block = 0;
			ck->want |= DAFS_CKW_MMP;
		}
		return 0;
	}
	err = dafs_ck_read(ck->main, blk, 1, ck->main->level[0]);
	if (err)
		return err;
	if (mmp->mmp_magic != EXT4_MMP_MAGIC)
		write = DAFS_CK_FIND(ck->main, MMP_MAGIC, .blk = blk, .found = mmp->mmp_magic);
	else if (ck->g.csum &&
		 mmp->mmp_checksum != dafs_crc32c(ck->g.csum_seed, mmp,
						  offsetof(struct mmp_struct, mmp_checksum)))
		write = DAFS_CK_FIND(ck->main, MMP_CSUM, .blk = blk);
	return write ? dafs_ck_write_mmp(ck) : 0;
}

errcode_t dafs_ck_pass0(struct dafs_ck *ck)
{
	errcode_t err;

	check_sizes(ck);
	check_features(ck);
	for (uint32_t grp = 0; grp < ck->g.groups; grp++)
		check_descriptor(ck, grp);
	check_times(ck);
	check_quota_inodes(ck);
	check_copies(ck);
	err = dafs_ck_quota_numbers(ck);
	if (!err)
		err = check_mmp(ck);
	return err ? err : check_resize_inode(ck);
}
