/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * orphan - the orphan file: empty blocks with a magic number, unless files were deleted while open
 * when the system went down.
 *
 * (The older orphan list runs through the inodes' deletion times: see inode.c.)
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

static void find_block(struct look *l, uint64_t lblk, uint64_t pblk, const char *why)
{
	l->bad = true;
	DAFS_CK_FIND(l->ck->main, ORPHAN_FILE, .ino = l->ino, .lblk = lblk, .blk = pblk,
		     .text = why);
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
		find_block(l, lblk, pblk, "no magic");
		return;
	}
	if (l->ck->g.csum && magic[1] != block_csum(l, pblk, block)) {
		find_block(l, lblk, pblk, "wrong checksum");
		return;
	}
	while (entries < magic && !*entries)
		entries++;
	if (entries < magic) {
		l->bad = true;
		DAFS_CK_FIND(w, ORPHAN_DIRTY, .ino = l->ino, .lblk = lblk, .blk = pblk,
			     .found = *entries);
	}
}

static void look_run(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
		     uint64_t len, bool map)
{
	struct look *l = arg;

	if (map)
		return;
	if (lblk != l->next_lblk)
		find_block(l, l->next_lblk, 0, "not mapped");
	for (uint64_t i = 0; i < len && !w->err; i++)
		look_block(l, lblk + i, pblk + i);
	l->next_lblk = lblk + len;
}

errcode_t dafs_ck_orphan_file(struct dafs_ck *ck)
{
	struct look l = { .ck = ck, .ino = ck->sb.s_orphan_file_inum };
	bool present = ext2fs_has_feature_orphan_present(&ck->sb);
	struct ext2_inode_large *raw;

	if (!ext2fs_has_feature_orphan_file(&ck->sb)) {
		if (present)
			DAFS_CK_FIND(ck->main, ORPHAN_FLAG);
		return 0;
	}
	if (!ext2fs_has_feature_journal(&ck->sb))
		DAFS_CK_FIND(ck->main, ORPHAN_NO_JOURNAL, .ino = l.ino);
	raw = malloc(ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	if (!raw)
		return ENOMEM;
	if (!dafs_ck_read_inode(ck->main, l.ino, raw)) {
		find_block(&l, 0, 0, "no such inode");
	} else if (!raw->i_links_count || !LINUX_S_ISREG(raw->i_mode) ||
		   dafs_ck_size(raw) & (ck->g.block_size - 1)) {
		find_block(&l, 0, 0, "its inode is wrong");
	} else {
		l.seed = dafs_icodec_seed(&ck->img, l.ino, raw->i_generation);
		dafs_ck_walk(ck->main, l.ino, raw, look_run, &l);
		if (l.next_lblk < dafs_ck_size(raw) >> ck->g.block_bits)
			find_block(&l, l.next_lblk, 0, "not mapped");
	}
	if (present && !l.bad)
		DAFS_CK_FIND(ck->main, ORPHAN_FLAG, .ino = l.ino);
	free(raw);
	return ck->main->err;
}
