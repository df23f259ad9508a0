/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * clone - pass 1b's repair: every inode that claims blocks which others claim too gets copies of
 * them, in order; the last claim that is left keeps the old ones. Blocks that are metadata or bad
 * are always copied.
 *
 * Copies are made by logical cluster, so that with bigalloc a file whose blocks broke the cluster
 * rule comes out in order. Nothing that anybody maps is written: a map that has to change goes into
 * blocks that nobody else claims.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/xattr_int.h"

struct clone {
	struct dafs_ck *ck;
	struct dafs_ck_map claims; /* cluster + 1 -> claims by inodes: left, and << 32 at first */
	/* Of the inode at hand. */
	struct dafs_ck_map copies; /* logical cluster + 1 -> first block of its copy */
	struct dafs_ck_map owned;  /* cluster + 1 -> logical cluster + 1 that it serves */
	struct dafs_ck_map homes;  /* logical cluster + 1 -> cluster + 1 */
	uint64_t goal;
};

static bool add_claim(struct clone *c, uint64_t cluster)
{
	uint64_t *claims = dafs_ck_map_put(&c->claims, cluster + 1, NULL);

	if (claims)
		*claims += 1 + (UINT64_C(1) << 32);
	return claims != NULL;
}

static void count_run(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
		      uint64_t len, bool map)
{
	struct clone *c = arg;
	const struct dafs_ck *ck = w->ck;
	uint64_t end = dafs_ck_cluster(ck, pblk + len - 1) + 1;

	(void)lblk;
	(void)map;
	for (uint64_t at = dafs_ck_bits_next(&ck->dup, dafs_ck_cluster(ck, pblk), true); at < end;
	     at = dafs_ck_bits_next(&ck->dup, at + 1, true))
		if (!add_claim(c, at))
			w->err = ENOMEM;
}

/* Must this inode leave the cluster to others? */
static bool shared(const struct clone *c, uint64_t pblk)
{
	const struct dafs_ck *ck = c->ck;
	uint64_t cluster = dafs_ck_cluster(ck, pblk);
	const uint64_t *claims;

	if (!dafs_ck_bits_test(&ck->dup, cluster))
		return false;
	if (dafs_ck_is_meta(ck, pblk) || dafs_ck_map_get(&ck->bad_blocks, pblk + 1))
		return true;
	claims = dafs_ck_map_get(&c->claims, cluster + 1);
	/* One inode alone: the other one who claims it is the file system. */
	return claims && ((uint32_t)*claims > 1 || *claims >> 32 == 1);
}

static void give_up_claim(struct clone *c, uint64_t pblk)
{
	uint64_t *claims = dafs_ck_map_get(&c->claims, dafs_ck_cluster(c->ck, pblk) + 1);

	if (claims && (uint32_t)*claims)
		--*claims;
}

static bool is_bitmap(const struct dafs_ck *ck, uint64_t pblk)
{
	if (!dafs_ck_is_meta(ck, pblk))
		return false;
	for (uint32_t grp = 0; grp < ck->g.groups; grp++)
		if (pblk == dafs_ck_gd_block_bitmap(ck, grp) ||
		    pblk == dafs_ck_gd_inode_bitmap(ck, grp))
			return true;
	return false;
}

static errcode_t copy_blks(struct clone *c, uint64_t from, uint64_t to, uint64_t n)
{
	struct dafs_ck *ck = c->ck;
	struct dafs_ck_worker *w = ck->main;
	errcode_t err = 0;

	for (uint64_t i = 0; i < n && !err; i++) {
		/* A file gets a bitmap as it was, not as the copies change it. */
		if (is_bitmap(ck, from + i))
			err = dafs_dev_read(ck->dev, w->level[13], ck->g.block_size,
					    (from + i) << ck->g.block_bits);
		else
			err = dafs_ck_read(w, from + i, 1, w->level[13]);
		if (!err)
			err = dafs_ck_write_fresh(w, to + i, w->level[13]);
	}
	return err;
}

/* Look at a piece within one logical cluster: when it cannot stay, the whole cluster is copied. */
static errcode_t judge_piece(struct clone *c, uint64_t lblk, uint64_t pblk)
{
	const struct dafs_ck *ck = c->ck;
	uint64_t mask = (UINT64_C(1) << ck->g.cbits) - 1, lc = lblk >> ck->g.cbits;
	uint64_t cluster = dafs_ck_cluster(ck, pblk);
	uint64_t *serves, *home;
	bool made;

	if (!ck->g.cbits && !dafs_ck_bits_test(&ck->dup, cluster))
		return 0;
	serves = dafs_ck_map_put(&c->owned, cluster + 1, &made);
	if (!serves)
		return ENOMEM;
	if (made)
		*serves = lc + 1;
	/* The inode itself may claim the cluster twice, or a logical one lie in two of them. */
	made = *serves != lc + 1 || shared(c, pblk) ||
	       (lblk & mask) != ((pblk - ck->g.first) & mask);
	home = dafs_ck_map_put(&c->homes, lc + 1, NULL);
	if (!home)
		return ENOMEM;
	made |= *home && *home != cluster + 1;
	*home = cluster + 1;
	return made && !dafs_ck_map_put(&c->copies, lc + 1, NULL) ? ENOMEM : 0;
}

/* Where the copy of a logical cluster begins. */
static errcode_t copy_of(struct clone *c, uint64_t lblk, uint64_t *pblk)
{
	struct dafs_ck *ck = c->ck;
	uint64_t *slot = dafs_ck_map_get(&c->copies, (lblk >> ck->g.cbits) + 1);

	if (!*slot) {
		*slot = dafs_ck_take(ck, c->goal, 1);
		if (!*slot)
			return ENOSPC;
		c->goal = *slot + (UINT64_C(1) << ck->g.cbits);
	}
	*pblk = *slot + (lblk & ((UINT64_C(1) << ck->g.cbits) - 1));
	return 0;
}

/* One piece: judge it (to NULL), or append it or its copy to the new map. */
static errcode_t put_piece(struct clone *c, uint64_t lblk, uint64_t pblk, uint64_t n,
			   bool unwritten, struct dafs_extlist *to)
{
	uint64_t copy = pblk;
	errcode_t err = 0;

	if (!to)
		return judge_piece(c, lblk, pblk);
	if (dafs_ck_map_get(&c->copies, (lblk >> c->ck->g.cbits) + 1)) {
		err = copy_of(c, lblk, &copy);
		if (!err)
			err = copy_blks(c, pblk, copy, n);
		if (!err)
			give_up_claim(c, pblk);
	}
	return err ? err : dafs_extlist_append(to, copy, (uint32_t)lblk, (uint32_t)n, unwritten);
}

static errcode_t each_piece(struct clone *c, const struct dafs_extlist *from,
			    struct dafs_extlist *to)
{
	uint64_t step = UINT64_C(1) << c->ck->g.cbits;
	errcode_t err = 0;

	for (size_t i = 0; i < from->n && !err; i++) {
		const struct dafs_extent *e = &from->v[i];

		for (uint64_t off = 0, n; off < e->len && !err; off += n) {
			n = step - ((e->lblk + off) & (step - 1));
			if (n > e->len - off)
				n = e->len - off;
			err = put_piece(c, e->lblk + off, e->pblk + off, n, e->unwritten, to);
		}
	}
	return err;
}

/* An attribute block of its own. */
static errcode_t clone_xattr_block(struct clone *c, struct ext2_inode_large *raw)
{
	struct dafs_ck *ck = c->ck;
	uint64_t blk = dafs_ck_acl(ck, raw), copy;
	struct dafs_xattr_block *head = (struct dafs_xattr_block *)ck->main->xblk;
	errcode_t err;

	if (!blk || !ck->g.xattr || !dafs_ck_blk_ok(ck, blk) || !shared(c, blk))
		return 0;
	copy = dafs_ck_take(ck, c->goal, 1);
	if (!copy)
		return ENOSPC;
	err = dafs_ck_read(ck->main, blk, 1, head);
	if (err)
		return err;
	head->refcount = 1;
	head->checksum = ck->g.csum ? dafs_xattr_block_csum(&ck->img, copy, (uint8_t *)head) : 0;
	raw->i_file_acl = (uint32_t)copy;
	if (ck->g.bit64 && !ck->g.hurd)
		raw->osd2.linux2.l_i_file_acl_high = (uint16_t)(copy >> 32);
	give_up_claim(c, blk);
	return dafs_ck_write(ck->main, copy, head);
}

static errcode_t clone_inode(struct clone *c, uint32_t ino, struct ext2_inode_large *raw)
{
	struct dafs_ck *ck = c->ck;
	struct dafs_ck_flat flat = { 0 };
	struct dafs_extlist xl = { 0 };
	errcode_t err = 0;

	dafs_ck_map_reset(&c->copies);
	dafs_ck_map_reset(&c->owned);
	dafs_ck_map_reset(&c->homes);
	c->goal = dafs_ck_goal(ck, ino);
	if (dafs_ck_has_blocks(ck, raw))
		err = dafs_ck_flat_read(ck, ino, raw, &flat);
	if (!err)
		err = each_piece(c, &flat.xl, NULL);
	if (!err)
		err = each_piece(c, &flat.xl, &xl);
	if (!err)
		err = clone_xattr_block(c, raw);
	/* (Map blocks that are claimed twice are not used again, see remap.c.) */
	for (size_t i = 0; i < flat.nodes.n && !err; i++)
		give_up_claim(c, flat.nodes.v[i]);
	if (!err && dafs_ck_has_blocks(ck, raw))
		err = dafs_ck_flat_replace(ck, ino, raw, &flat, &xl);
	else if (!err)
		err = dafs_ck_write_inode(ck->main, ino, raw);
	dafs_extlist_fini(&xl);
	dafs_ck_flat_fini(&flat);
	return err;
}

/* No room for the copies. */
static errcode_t drop_inode(struct dafs_ck *ck, const struct dafs_ck_owner *owner)
{
	ck->no_room = false;
	if (ck->unsharing)
		return dafs_fail(ck->ctx, ENOSPC, "no room to give every file blocks of its own");
	if (!DAFS_CK_FIND(ck->main, DUP_CLONE, .ino = owner->ino, .len = owner->clusters))
		return 0;
	return dafs_ck_inode_delete(ck, owner->ino);
}

errcode_t dafs_ck_clone_all(struct dafs_ck *ck, const struct dafs_ck_owner *owners, size_t n)
{
	struct ext2_inode_large *raw = dafs_ck_raw_alloc(ck);
	struct clone c = { .ck = ck };
	errcode_t err = raw ? 0 : ENOMEM;

	for (size_t i = 0; i < n && !err; i++) {
		uint64_t acl;

		if (!dafs_ck_read_inode(ck->main, owners[i].ino, raw))
			continue;
		dafs_ck_walk(ck->main, owners[i].ino, raw, count_run, &c);
		acl = dafs_ck_acl(ck, raw);
		if (acl && ck->g.xattr && dafs_ck_blk_ok(ck, acl))
			count_run(ck->main, &c, 0, acl, 1, true);
		err = ck->main->err;
	}
	for (size_t i = 0; i < n && !err; i++) {
		if (!dafs_ck_read_inode(ck->main, owners[i].ino, raw))
			continue;
		err = clone_inode(&c, owners[i].ino, raw);
		if (err == ENOSPC)
			err = drop_inode(ck, &owners[i]);
	}
	free(raw);
	dafs_ck_map_fini(&c.claims);
	dafs_ck_map_fini(&c.copies);
	dafs_ck_map_fini(&c.owned);
	dafs_ck_map_fini(&c.homes);
	ck->again = true;
	return err;
}
