/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * orphan - the orphan file: empty blocks with a magic number, unless files were deleted while open
 * when the system went down.
 *
 * A run that repairs lets go of what list and file name before pass 1 (release.c), as a mount
 * would. Read-only, the list shows as odd deletion times (inode.c).
 *
 * Leaves for the next: nothing; the file's own blocks are pass 1's matter.
 *
 * Layout: each block is an array of inode numbers, a magic number and a checksum over inode,
 * generation, block number and the array.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "image/icodec.h"

struct look {
	struct dafs_ck *ck;
	uint32_t ino, seed;
	uint64_t next_lblk;
	bool bad;
	bool renew;				     /* the file is to be made anew */
	void (*entry)(struct look *l, uint32_t ino); /* NULL: the file is only judged */
};

static uint32_t *magic_of(const struct look *l, uint8_t *block)
{
	return (uint32_t *)(block + l->ck->g.block_size - sizeof(struct ext4_orphan_block_tail));
}

static uint32_t block_csum(const struct look *l, uint64_t pblk, const uint8_t *block)
{
	uint32_t crc = dafs_crc32c(l->seed, &pblk, sizeof(pblk));

	return dafs_crc32c(crc, block, l->ck->g.block_size - sizeof(struct ext4_orphan_block_tail));
}

/* Is something wrong to be repaired? Not while entries are collected. */
static bool find_block(struct look *l, uint64_t lblk, uint64_t pblk, const char *why)
{
	l->bad = true;
	return !l->entry && DAFS_CK_FIND(l->ck->main, ORPHAN_FILE, .ino = l->ino, .lblk = lblk,
					 .blk = pblk, .text = why);
}

/* The block without entries. */
static void clean_block(struct look *l, uint64_t pblk)
{
	struct dafs_ck_worker *w = l->ck->main;
	uint32_t *magic = magic_of(l, w->xblk);

	memset(w->xblk, 0, l->ck->g.block_size);
	magic[0] = EXT4_ORPHAN_BLOCK_MAGIC;
	magic[1] = l->ck->g.csum ? block_csum(l, pblk, w->xblk) : 0;
	w->err = dafs_ck_write(w, pblk, w->xblk);
}

static void look_block(struct look *l, uint64_t lblk, uint64_t pblk)
{
	struct dafs_ck_worker *w = l->ck->main;
	uint8_t *block = w->xblk;
	uint32_t *magic = magic_of(l, block);
	const uint32_t *entries = (const uint32_t *)block;

	w->err = dafs_ck_read(w, pblk, 1, block);
	if (w->err)
		return;
	if (magic[0] != EXT4_ORPHAN_BLOCK_MAGIC) {
		if (find_block(l, lblk, pblk, "no magic"))
			clean_block(l, pblk);
		return;
	}
	if (l->ck->g.csum && magic[1] != block_csum(l, pblk, block)) {
		if (find_block(l, lblk, pblk, "wrong checksum"))
			clean_block(l, pblk);
		return;
	}
	while (entries < magic && !*entries)
		entries++;
	if (entries == magic)
		return;
	if (l->entry) {
		uint32_t *copy = malloc(l->ck->g.block_size);
		size_t n = (size_t)((const uint8_t *)magic - block) / sizeof(*copy);

		if (!copy) {
			w->err = ENOMEM;
			return;
		}
		memcpy(copy, block, l->ck->g.block_size);
		clean_block(l, pblk);
		for (size_t i = 0; i < n && !w->err; i++)
			if (copy[i])
				l->entry(l, copy[i]);
		free(copy);
		return;
	}
	l->bad = true;
	if (DAFS_CK_FIND(w, ORPHAN_DIRTY, .ino = l->ino, .lblk = lblk, .blk = pblk,
			 .found = *entries))
		clean_block(l, pblk);
}

static void look_run(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
		     uint64_t len, bool map)
{
	struct look *l = arg;

	if (map)
		return;
	if (lblk != l->next_lblk && find_block(l, l->next_lblk, 0, "not mapped"))
		l->renew = true;
	for (uint64_t i = 0; i < len && !w->err; i++)
		look_block(l, lblk + i, pblk + i);
	l->next_lblk = lblk + len;
}

/* ---- the file ---- */

/* Without the file there is the list: nothing is lost with it. */
static errcode_t remove_file(struct dafs_ck *ck)
{
	uint32_t ino = ck->sb.s_orphan_file_inum;

	ck->sb.s_orphan_file_inum = 0;
	ext2fs_clear_feature_orphan_file(&ck->sb);
	ext2fs_clear_feature_orphan_present(&ck->sb);
	ck->backups = ck->again = true;
	return ino >= ck->g.first_ino && ino <= ck->g.inodes ? dafs_ck_inode_delete(ck, ino) : 0;
}

static void look_file(struct look *l, const struct ext2_inode_large *raw)
{
	struct dafs_ck *ck = l->ck;

	if (!raw->i_links_count || !LINUX_S_ISREG(raw->i_mode) ||
	    dafs_ck_size(raw) & (ck->g.block_size - 1)) {
		l->renew |= find_block(l, 0, 0, "its inode is wrong");
		return;
	}
	l->seed = dafs_icodec_seed(&ck->img, l->ino, raw->i_generation);
	dafs_ck_walk(ck->main, l->ino, raw, look_run, l);
	if (l->next_lblk < dafs_ck_size(raw) >> ck->g.block_bits)
		l->renew |= find_block(l, l->next_lblk, 0, "not mapped");
}

errcode_t dafs_ck_orphan_file(struct dafs_ck *ck)
{
	struct look l = { .ck = ck, .ino = ck->sb.s_orphan_file_inum };
	bool present = ext2fs_has_feature_orphan_present(&ck->sb);
	struct ext2_inode_large *raw;

	if (!ext2fs_has_feature_orphan_file(&ck->sb)) {
		if (present && DAFS_CK_FIND(ck->main, ORPHAN_FLAG))
			ext2fs_clear_feature_orphan_present(&ck->sb);
		return 0;
	}
	if (!ext2fs_has_feature_journal(&ck->sb) &&
	    DAFS_CK_FIND(ck->main, ORPHAN_NO_JOURNAL, .ino = l.ino))
		return remove_file(ck);
	raw = dafs_ck_raw_alloc(ck);
	if (!raw)
		return ENOMEM;
	if (!dafs_ck_read_inode(ck->main, l.ino, raw))
		l.renew = find_block(&l, 0, 0, "no such inode");
	else
		look_file(&l, raw);
	free(raw);
	if (ck->main->err)
		return ck->main->err;
	if (l.renew)
		return remove_file(ck);
	if (present && (!l.bad || ck->fixing) && DAFS_CK_FIND(ck->main, ORPHAN_FLAG, .ino = l.ino))
		ext2fs_clear_feature_orphan_present(&ck->sb);
	return 0;
}

/* ---- before pass 1: what was deleted while it was open ---- */

static void entry_release(struct look *l, uint32_t ino)
{
	errcode_t err;

	if (ino < l->ck->g.first_ino || ino > l->ck->g.inodes)
		return;
	err = dafs_ck_release(l->ck, ino, NULL);
	if (err)
		l->ck->main->err = err;
}

/* The file's entries. A file that is damaged is left to dafs_ck_orphan_file. */
static errcode_t release_file(struct dafs_ck *ck)
{
	struct look l = { .ck = ck, .ino = ck->sb.s_orphan_file_inum, .entry = entry_release };
	struct ext2_inode_large *raw;

	if (!ext2fs_has_feature_orphan_file(&ck->sb) || !ext2fs_has_feature_orphan_present(&ck->sb))
		return 0;
	raw = dafs_ck_raw_alloc(ck);
	if (!raw)
		return ENOMEM;
	if (dafs_ck_read_inode(ck->main, l.ino, raw))
		look_file(&l, raw);
	free(raw);
	if (!l.bad)
		ext2fs_clear_feature_orphan_present(&ck->sb);
	return ck->main->err;
}

/* The list runs through the inodes' deletion times. It ends where it makes no sense. */
static errcode_t release_list(struct dafs_ck *ck)
{
	uint32_t ino = ck->sb.s_last_orphan, prev = 0, next;
	errcode_t err = 0;

	for (uint32_t i = 0; ino && i < ck->g.inodes && !err; i++) {
		if (ino < ck->g.first_ino || ino > ck->g.inodes) {
			DAFS_CK_FIND(ck->main, ORPHAN_LIST, .ino = prev, .ref = ino);
			break;
		}
		err = dafs_ck_release(ck, ino, &next);
		prev = ino;
		ino = next;
	}
	ck->sb.s_last_orphan = 0;
	return err;
}

errcode_t dafs_ck_orphans(struct dafs_ck *ck)
{
	errcode_t err = 0;

	if (!ck->fixing || ck->round)
		return 0;
	if (ck->sb.s_last_orphan)
		err = release_list(ck);
	return err ? err : release_file(ck);
}
