/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * relocate - structures that pass 0 asked for and that need room: bitmaps and inode tables in a
 * new place, the resize inode's map, the MMP block, a new journal.
 *
 * Runs when pass 1b left no block claimed twice, so that what is taken here is free. What was moved
 * counts from the next round on.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"

struct move {
	uint32_t grp;
	unsigned what; /* DAFS_CKM_* */
};

void dafs_ck_want_move(struct dafs_ck *ck, uint32_t grp, unsigned what)
{
	struct move *move = dafs_ck_vec_add(&ck->moves, sizeof(*move));

	if (move)
		*move = (struct move){ grp, what };
	else
		ck->main->err = ENOMEM;
}

/* Room for a structure of a group: in the group itself, or with flex_bg anywhere. */
static uint64_t take_for(struct dafs_ck *ck, uint32_t grp, uint64_t blks)
{
	uint64_t first = dafs_ck_grp_first(ck, grp);
	uint64_t pblk = dafs_ck_take_within(ck, first, first + dafs_ck_grp_blks(ck, grp), blks);

	if (!pblk && ck->g.flex_bg)
		pblk = dafs_ck_take(ck, first, blks);
	if (!pblk)
		dafs_ck_no_room(ck->main, "a group's bitmap or inode table");
	return pblk;
}

/* The table's old contents, where they are known to be its own. */
static errcode_t move_table(struct dafs_ck *ck, uint32_t grp)
{
	bool keep = !(ck->gd_flags[grp] & DAFS_CKG_IT_BAD);
	uint64_t from = dafs_ck_gd_itable(ck, grp), to = take_for(ck, grp, ck->g.itable_blks);
	struct dafs_ck_worker *w = ck->main;
	errcode_t err = 0;

	if (!to)
		return 0;
	for (uint32_t i = 0; i < ck->g.itable_blks && !err; i++) {
		memset(w->level[0], 0, ck->g.block_size);
		if (keep)
			err = dafs_ck_read(w, from + i, 1, w->level[0]);
		if (!err)
			err = dafs_ck_write(w, to + i, w->level[0]);
	}
	dafs_ck_gd_set_itable(ck, grp, to);
	if (!keep)
		dafs_ck_gd_set_unused(ck, grp, 0);
	return err;
}

static errcode_t move_group(struct dafs_ck *ck, const struct move *move)
{
	errcode_t err = 0;
	uint64_t pblk;

	if (move->what & DAFS_CKM_IT)
		err = move_table(ck, move->grp);
	if (move->what & DAFS_CKM_BB) {
		pblk = take_for(ck, move->grp, 1);
		if (pblk)
			dafs_ck_gd_set_block_bitmap(ck, move->grp, pblk);
		dafs_ck_gd(ck, move->grp)->bg_flags &= (uint16_t)~EXT2_BG_BLOCK_UNINIT;
	}
	if (move->what & DAFS_CKM_IB) {
		pblk = take_for(ck, move->grp, 1);
		if (pblk)
			dafs_ck_gd_set_inode_bitmap(ck, move->grp, pblk);
	}
	dafs_ck_gd_seal(ck, move->grp);
	ck->layout_moved = ck->backups = true;
	/* (In the table's new place nothing is known of its inodes yet.) */
	if (!err && !(move->what & DAFS_CKM_IT))
		err = dafs_ck_write_bitmaps(ck, move->grp);
	return err;
}

/* ---- the resize inode ---- */

/* One reserved descriptor block lists its copies. Returns how many there are. */
static errcode_t write_reserved(struct dafs_ck *ck, uint64_t pblk, uint32_t *copies)
{
	uint32_t *list = (uint32_t *)ck->main->level[1];

	memset(list, 0, ck->g.block_size);
	*copies = 0;
	for (uint32_t grp = 1; grp < ck->g.groups && *copies < ck->g.block_size / 4; grp++)
		if (dafs_ck_has_super(ck, grp))
			list[(*copies)++] = (uint32_t)(pblk + (uint64_t)grp * ck->g.bpg);
	return dafs_ck_write(ck->main, pblk, list);
}

static errcode_t make_resize_inode(struct dafs_ck *ck)
{
	uint32_t per_blk = ck->g.block_size / 4, at = ck->g.desc_blks, copies = 0, blks = 1;
	uint64_t pblk = dafs_ck_desc_blk(ck, 0, 0) + ck->g.desc_blks;
	uint64_t dind_blk = dafs_ck_take(ck, ck->g.first, 1), size;
	uint32_t *dind = (uint32_t *)ck->main->level[0];
	struct ext2_inode_large *raw;
	errcode_t err = 0;

	if (!dind_blk) {
		dafs_ck_no_room(ck->main, "the resize inode");
		return 0;
	}
	raw = calloc(1, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	if (!raw)
		return ENOMEM;
	memset(dind, 0, ck->g.block_size);
	for (uint32_t i = 0; i < ck->sb.s_reserved_gdt_blocks && !err; i++, at++, pblk++) {
		dind[at % per_blk] = (uint32_t)pblk;
		err = write_reserved(ck, pblk, &copies);
		blks += 1 + copies;
	}
	size = ((uint64_t)per_blk * per_blk + per_blk + EXT2_NDIR_BLOCKS) << ck->g.block_bits;
	raw->i_mode = LINUX_S_IFREG | 0600;
	raw->i_links_count = 1;
	raw->i_size = (uint32_t)size;
	raw->i_size_high = (uint32_t)(size >> 32);
	raw->i_blocks = blks * (ck->g.block_size / 512);
	raw->i_block[EXT2_DIND_BLOCK] = (uint32_t)dind_blk;
	raw->i_atime = raw->i_ctime = raw->i_mtime = (uint32_t)ck->ctx->now_sec;
	if (!err)
		err = dafs_ck_write(ck->main, dind_blk, dind);
	if (!err)
		err = dafs_ck_write_inode(ck->main, EXT2_RESIZE_INO, raw);
	free(raw);
	return err;
}

/* ---- multi-mount protection ---- */

errcode_t dafs_ck_write_mmp(struct dafs_ck *ck)
{
	struct mmp_struct *mmp = (struct mmp_struct *)ck->main->level[0];

	memset(mmp, 0, ck->g.block_size);
	mmp->mmp_magic = EXT4_MMP_MAGIC;
	mmp->mmp_seq = EXT4_MMP_SEQ_CLEAN;
	mmp->mmp_time = (uint64_t)ck->ctx->now_sec;
	mmp->mmp_check_interval = ck->sb.s_mmp_update_interval;
	if (mmp->mmp_check_interval < EXT4_MMP_MIN_CHECK_INTERVAL)
		mmp->mmp_check_interval = EXT4_MMP_MIN_CHECK_INTERVAL;
	if (ck->g.csum)
		mmp->mmp_checksum = dafs_crc32c(ck->g.csum_seed, mmp,
						offsetof(struct mmp_struct, mmp_checksum));
	return dafs_ck_write(ck->main, ck->sb.s_mmp_block, mmp);
}

static errcode_t make_mmp(struct dafs_ck *ck)
{
	ck->sb.s_mmp_block = dafs_ck_take(ck, ck->g.first, 1);
	if (ck->sb.s_mmp_block)
		return dafs_ck_write_mmp(ck);
	dafs_ck_no_room(ck->main, "the MMP block");
	return 0;
}

/* ---- the journal ---- */

/* Blocks for a new journal, in as few runs as the free space has. */
static bool take_journal(struct dafs_ck *ck, uint64_t want, struct dafs_extlist *xl)
{
	uint64_t run = want, goal = dafs_ck_grp_first(ck, ck->g.groups / 2), lblk = 0;
	bool ok = true;

	while (lblk < want && run && ok) {
		uint64_t len = want - lblk < run ? want - lblk : run;
		uint64_t pblk = dafs_ck_take(ck, goal, len);

		if (!pblk) {
			run /= 2;
			continue;
		}
		ok = dafs_ck_flat_add(xl, lblk, pblk, len, false);
		lblk += len;
		goal = pblk + len;
	}
	ck->no_room = false;
	return ok && lblk >= want;
}

static errcode_t make_journal(struct dafs_ck *ck)
{
	int want = ext2fs_default_journal_size(ck->g.blocks);
	struct dafs_extlist xl = { 0 };
	struct ext2_inode_large *raw;
	errcode_t err = 0;

	raw = calloc(1, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	if (!raw)
		return ENOMEM;
	/* (Too small a file system goes without.) */
	if (want <= 0)
		goto out;
	if (!take_journal(ck, (uint64_t)want, &xl)) {
		dafs_ck_no_room(ck->main, "the journal");
		goto out;
	}
	raw->i_mode = LINUX_S_IFREG | 0600;
	raw->i_links_count = 1;
	raw->i_size = (uint32_t)((uint64_t)want << ck->g.block_bits);
	raw->i_size_high = (uint32_t)((uint64_t)want << ck->g.block_bits >> 32);
	raw->i_atime = raw->i_ctime = raw->i_mtime = (uint32_t)ck->ctx->now_sec;
	if (ck->g.extents)
		raw->i_flags = EXT4_EXTENTS_FL;
	if (ck->g.inode_size > EXT2_GOOD_OLD_INODE_SIZE)
		raw->i_extra_isize = ck->sb.s_want_extra_isize;
	dafs_ck_journal_super(ck, (uint64_t)want, ck->main->level[0]);
	err = dafs_ck_write(ck->main, xl.v[0].pblk, ck->main->level[0]);
	if (!err)
		err = dafs_ck_flat_write(ck, EXT2_JOURNAL_INO, raw, &xl);
	/* What lies in the rest must not look like a log; nobody looks before the commit. */
	for (size_t i = 0; i < xl.n && !err; i++) {
		struct dafs_ck_range *r = dafs_ck_vec_add(&ck->zeros, sizeof(*r));

		if (r)
			*r = (struct dafs_ck_range){ xl.v[i].pblk + !i, xl.v[i].len - !i };
		else
			err = ENOMEM;
	}
	if (!err) {
		ck->sb.s_journal_inum = EXT2_JOURNAL_INO;
		ext2fs_set_feature_journal(&ck->sb);
		dafs_ck_journal_backup(ck, raw);
	}
out:
	dafs_extlist_fini(&xl);
	free(raw);
	return err;
}

errcode_t dafs_ck_relocate(struct dafs_ck *ck)
{
	errcode_t err = 0;

	if (!ck->moves.n && !ck->want)
		return 0;
	for (size_t i = 0; i < ck->moves.n && !err; i++)
		err = move_group(ck, (struct move *)ck->moves.v + i);
	/* (Where the first group's table is new only now, the next round asks again.) */
	if (!err && ck->want & DAFS_CKW_RESIZE && !(ck->gd_flags[0] & DAFS_CKG_IT_BAD))
		err = make_resize_inode(ck);
	if (!err && ck->want & DAFS_CKW_MMP)
		err = make_mmp(ck);
	if (!err && ck->want & DAFS_CKW_JOURNAL)
		err = make_journal(ck);
	ck->moves.n = 0;
	ck->want = 0;
	ck->again = true;
	return err;
}
