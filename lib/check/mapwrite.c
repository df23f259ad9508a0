/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mapwrite - a flat list of extents into direct and indirect blocks.
 *
 * Map blocks are taken from a list in the order of a walk: each before what it maps, in logical
 * order. Blocks without anything mapped below are not made. Numbers have 32 bits: blocks behind
 * those count as no room.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>

struct put {
	struct dafs_ck *ck;
	const struct dafs_extlist *xl;
	size_t at;    /* extent */
	uint32_t off; /* in it */
	const struct dafs_blklist *nodes;
	size_t next; /* of nodes */
	bool dry;    /* only count */
	errcode_t err;
};

static uint64_t next_lblk(const struct put *p)
{
	return p->at < p->xl->n ? (uint64_t)p->xl->v[p->at].lblk + p->off : UINT64_MAX;
}

static uint64_t span(const struct dafs_ck *ck, unsigned level)
{
	uint64_t blks = 1;

	while (level--)
		blks *= ck->g.block_size / 4;
	return blks;
}

/* The number that goes where logical block base begins. */
static uint32_t put_level(struct put *p, unsigned level, uint64_t base)
{
	const struct dafs_ck *ck = p->ck;
	uint32_t per = ck->g.block_size / 4, *numbers = (uint32_t *)ck->main->level[level];
	uint64_t pblk = 0;

	if (p->err || next_lblk(p) >= base + span(ck, level))
		return 0;
	if (!level) {
		pblk = p->xl->v[p->at].pblk + p->off;
		if (++p->off == p->xl->v[p->at].len) {
			p->at++;
			p->off = 0;
		}
		if (pblk > UINT32_MAX)
			p->err = ENOSPC;
		return (uint32_t)pblk;
	}
	if (!p->dry && p->next >= p->nodes->n) {
		p->err = DAFS_ET_INTERNAL;
		return 0;
	}
	if (!p->dry)
		pblk = p->nodes->v[p->next];
	if (pblk > UINT32_MAX)
		p->err = ENOSPC;
	p->next++;
	for (uint32_t i = 0; i < per; i++) {
		uint32_t number = put_level(p, level - 1, base + i * span(ck, level - 1));

		/* (Deeper levels have buffers of their own.) */
		numbers[i] = number;
	}
	if (!p->dry && !p->err)
		p->err = dafs_ck_write(ck->main, pblk, numbers);
	return (uint32_t)pblk;
}

static void put_all(struct put *p, uint32_t *i_block)
{
	uint64_t base = EXT2_NDIR_BLOCKS;

	for (unsigned i = 0; i < EXT2_NDIR_BLOCKS; i++)
		i_block[i] = put_level(p, 0, i);
	for (unsigned level = 1; level <= 3; level++) {
		i_block[EXT2_NDIR_BLOCKS + level - 1] = put_level(p, level, base);
		base += span(p->ck, level);
	}
	/* What lies past the last level cannot be mapped; pass 1 let nothing such through. */
	if (!p->err && p->at < p->xl->n)
		p->err = DAFS_ET_INTERNAL;
}

uint64_t dafs_ck_indirect_blks(const struct dafs_ck *ck, const struct dafs_extlist *xl)
{
	struct put p = { .ck = (struct dafs_ck *)ck, .xl = xl, .dry = true };
	uint32_t unused[EXT2_N_BLOCKS];

	put_all(&p, unused);
	return p.next;
}

errcode_t dafs_ck_indirect_encode(struct dafs_ck *ck, const struct dafs_extlist *xl,
				  const struct dafs_blklist *nodes, struct ext2_inode_large *raw)
{
	struct put p = { .ck = ck, .xl = xl, .nodes = nodes };
	uint32_t i_block[EXT2_N_BLOCKS];

	put_all(&p, i_block);
	if (!p.err)
		memcpy(raw->i_block, i_block, sizeof(i_block));
	return p.err;
}
