/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * htree - a directory's hash index: its root and nodes, and whether each name lies in the block
 * that the index says.
 *
 * Works on one directory while its blocks go by in order: roots and nodes are taken apart, leaves
 * leave the range of their hashes, and the end compares the two. An index that is wrong anywhere is
 * cleared as a whole; names are never touched here.
 *
 * Layout: ext4 htree. Hashes have their lowest bit clear; an index entry's lowest bit says
 * "continued from the block before".
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#define DOTS_BYTES 24u /* . and .. in a root */
#define NODE_BYTES 8u  /* the empty entry in a node */
#define MAX_HASH   0xfffffffeu

enum {
	REFERENCED = 1,
	TWICE = 2,
	FIRST = 4, /* of its node */
	LAST = 8,
};

void dafs_ck_dx_begin(struct dafs_ck_worker *w, struct dafs_ck_dx *dx, uint32_t nblks)
{
	memset(dx, 0, sizeof(*dx));
	dx->blks = calloc(nblks ? nblks : 1, sizeof(*dx->blks));
	if (!dx->blks) {
		w->err = ENOMEM;
		return;
	}
	dx->nblks = nblks;
	for (uint32_t i = 0; i < nblks; i++)
		dx->blks[i].min = ~0u;
}

void dafs_ck_dx_end(struct dafs_ck_dx *dx)
{
	free(dx->blks);
	memset(dx, 0, sizeof(*dx));
}

/* Entries a block of the kind holds, checksum tail and all. */
static uint32_t limit_of(const struct dafs_ck *ck, uint32_t first_bytes)
{
	uint32_t room = ck->g.block_size - first_bytes;

	if (ck->g.csum)
		room -= sizeof(struct ext2_dx_tail);
	return room / sizeof(struct ext2_dx_entry);
}

enum dafs_ck_dx_kind dafs_ck_dx_kind(const struct dafs_ck *ck, const struct dafs_ck_dx *dx,
				     uint32_t lblk, const uint8_t *buf)
{
	const struct ext2_dir_entry_2 *de = (const void *)buf;
	const struct ext2_dx_countlimit *cl = (const void *)(buf + NODE_BYTES);

	if (!dx->nblks || dx->bad || lblk >= dx->nblks)
		return DAFS_CK_DX_LEAF;
	if (lblk == 0)
		return DAFS_CK_DX_ROOT;
	if (de->inode == 0 && de->name_len == 0 && de->rec_len == (uint16_t)ck->g.block_size &&
	    cl->limit == limit_of(ck, NODE_BYTES))
		return DAFS_CK_DX_NODE;
	return DAFS_CK_DX_LEAF;
}

/* Find something wrong with the index as a whole; it is given up when it is to be cleared. */
static void give_up(struct dafs_ck_worker *w, struct dafs_ck_dx *dx, const struct dafs_finding *f)
{
	if (dafs_ck_find(w, f))
		dx->bad = true;
}
#define GIVE_UP(w, dx, name, ...)                                                                  \
	give_up(w, dx, &(struct dafs_finding){ .code = DAFS_CK_##name, ##__VA_ARGS__ })

static void look_root(struct dafs_ck_worker *w, const struct dafs_ck_dir *dir,
		      struct dafs_ck_dx *dx, const uint8_t *buf)
{
	const struct dafs_ck *ck = w->ck;
	const struct ext2_dx_root_info *root = (const void *)(buf + DOTS_BYTES);
	unsigned version = root->hash_version;
	bool in_entry = dir->iflags & EXT4_ENCRYPT_FL && dir->iflags & EXT4_CASEFOLD_FL;

	if (root->reserved_zero || root->info_length < 8)
		GIVE_UP(w, dx, HT_ROOT, .ino = dir->ino);
	if ((version > EXT2_HASH_TEA && version != EXT2_HASH_SIPHASH) ||
	    in_entry != (version == EXT2_HASH_SIPHASH))
		GIVE_UP(w, dx, HT_HASH, .ino = dir->ino, .found = version);
	if (root->unused_flags & EXT2_HASH_FLAG_INCOMPAT)
		GIVE_UP(w, dx, HT_FLAGS, .ino = dir->ino);
	if (root->indirect_levels >= (ck->g.large_dir ? 3 : 2))
		GIVE_UP(w, dx, HT_DEPTH, .ino = dir->ino, .found = root->indirect_levels);
	dx->hash_version = version;
	if (version <= EXT2_HASH_TEA && ck->sb.s_flags & EXT2_FLAGS_UNSIGNED_HASH)
		dx->hash_version += 3;
	dx->depth = root->indirect_levels + 1u;
	dx->blks[0].flags |= FIRST | LAST | REFERENCED;
	if (dir->size > INT32_MAX)
		w->stats.large_dirs++;
}

/* Note that entry i of the node refers to a block. */
static void note_child(struct dafs_ck_dx *dx, uint32_t parent, const struct ext2_dx_entry *ent,
		       uint32_t i, uint32_t count)
{
	struct dafs_ck_dx_blk *child = &dx->blks[ent[i].block & EXT4_DX_BLOCK_MASK];

	if (child->flags & REFERENCED)
		child->flags |= TWICE;
	else
		child->parent = parent;
	child->flags |= REFERENCED;
	child->node_min = i ? ent[i].hash & ~1u : 0;
	if (i + 1 < count) {
		child->node_max = ent[i + 1].hash & ~1u;
	} else {
		child->node_max = MAX_HASH;
		child->flags |= LAST;
	}
	if (!i)
		child->flags |= FIRST;
}

void dafs_ck_dx_block(struct dafs_ck_worker *w, const struct dafs_ck_dir *dir,
		      struct dafs_ck_dx *dx, uint32_t lblk, const uint8_t *buf)
{
	const struct dafs_ck *ck = w->ck;
	struct dafs_ck_dx_blk *blk = &dx->blks[lblk];
	uint32_t first = NODE_BYTES, limit, count, last = 0;
	const struct ext2_dx_entry *ent;
	const struct ext2_dx_countlimit *cl;

	if (!lblk) {
		look_root(w, dir, dx, buf);
		if (dx->bad)
			return;
		first = DOTS_BYTES +
			((const struct ext2_dx_root_info *)(buf + DOTS_BYTES))->info_length;
	}
	limit = limit_of(ck, first);
	ent = (const void *)(buf + (first & ~3u));
	cl = (const void *)ent;
	count = cl->count;
	if (cl->limit != limit)
		GIVE_UP(w, dx, HT_LIMIT, .ino = dir->ino, .lblk = lblk, .found = cl->limit,
			.want = limit);
	if (!count)
		GIVE_UP(w, dx, HT_INVALID, .ino = dir->ino, .lblk = lblk,
			.text = "it has no entry");
	if (count > limit) {
		GIVE_UP(w, dx, HT_COUNT, .ino = dir->ino, .lblk = lblk, .found = count);
		count = limit;
	}
	blk->min = ~0u;
	blk->max = 0;
	for (uint32_t i = 0; i < count && !dx->bad; i++) {
		uint32_t hash = i ? ent[i].hash & ~1u : 0;

		if ((ent[i].block & EXT4_DX_BLOCK_MASK) >= dx->nblks) {
			GIVE_UP(w, dx, HT_BLOCK, .ino = dir->ino, .lblk = lblk,
				.found = ent[i].block & EXT4_DX_BLOCK_MASK);
			continue;
		}
		if (hash < last)
			GIVE_UP(w, dx, HT_ORDER, .ino = dir->ino, .lblk = lblk);
		last = hash;
		note_child(dx, lblk, ent, i, count);
		if (hash < blk->min)
			blk->min = hash;
		if (hash > blk->max)
			blk->max = hash;
	}
}

void dafs_ck_dx_name(struct dafs_ck_dx *dx, uint32_t lblk, uint32_t hash)
{
	struct dafs_ck_dx_blk *blk = &dx->blks[lblk];

	if (hash < blk->min)
		blk->min = hash;
	if (hash > blk->max)
		blk->max = hash;
}

static unsigned depth_of(const struct dafs_ck_dx *dx, uint32_t lblk)
{
	unsigned depth = 0;

	while (dx->blks[lblk].kind != DAFS_CK_DX_ROOT && depth < 8) {
		lblk = dx->blks[lblk].parent;
		depth++;
	}
	return depth;
}

/* Why block b does not fit the index; NULL: it does. */
static const char *block_wrong(const struct dafs_ck_dx *dx, uint32_t b)
{
	const struct dafs_ck_dx_blk *blk = &dx->blks[b];

	if (!(blk->flags & REFERENCED))
		return "not reached";
	if (blk->flags & TWICE)
		return "reached twice";
	if (blk->kind == DAFS_CK_DX_UNSEEN)
		return "missing";
	if (!(blk->flags & FIRST) && blk->min < blk->node_min)
		return "a name's hash is too low";
	if (b && blk->max > blk->node_max)
		return "a name's hash is too high";
	if (blk->kind == DAFS_CK_DX_LEAF && depth_of(dx, b) != dx->depth)
		return "at the wrong depth";
	return NULL;
}

/* A node's first and last children may reach beyond its own entries: what those of a kind hold
 * counts as the node's. */
static void reach_up(struct dafs_ck_dx *dx, enum dafs_ck_dx_kind kind)
{
	for (uint32_t b = 0; b < dx->nblks; b++) {
		const struct dafs_ck_dx_blk *blk = &dx->blks[b];
		struct dafs_ck_dx_blk *parent = &dx->blks[blk->parent];

		if (blk->kind != kind)
			continue;
		if (blk->flags & FIRST)
			parent->min = blk->min;
		if (blk->flags & LAST)
			parent->max = blk->max;
	}
}

void dafs_ck_dx_judge(struct dafs_ck_worker *w, const struct dafs_ck_dir *dir,
		      struct dafs_ck_dx *dx)
{
	reach_up(dx, DAFS_CK_DX_LEAF);
	/* (With large_dir there are nodes of nodes.) */
	reach_up(dx, DAFS_CK_DX_NODE);
	for (uint32_t b = 0; b < dx->nblks && !dx->bad; b++) {
		const char *why = block_wrong(dx, b);

		if (why)
			GIVE_UP(w, dx, HT_INVALID, .ino = dir->ino, .lblk = b, .text = why);
		if (why)
			break;
	}
}

bool dafs_ck_dx_hash(const struct dafs_ck *ck, const struct dafs_ck_dir *dir, unsigned version,
		     const char *name, uint8_t len, uint32_t *hash, uint32_t *minor)
{
	/* A casefolded and encrypted directory carries its hashes in the entries, behind the padded
	 * name. */
	if (dir->iflags & EXT4_ENCRYPT_FL && dir->iflags & EXT4_CASEFOLD_FL) {
		const uint32_t *stored = (const void *)(name + ((len + 3u) & ~3u));

		*hash = stored[0];
		*minor = stored[1];
		return true;
	}
	return !ext2fs_dirhash2((int)version, name, len, ck->nls,
				dir->iflags & EXT4_CASEFOLD_FL ? EXT4_CASEFOLD_FL : 0,
				ck->sb.s_hash_seed, hash, minor);
}
