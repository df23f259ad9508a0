/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extent - an inode's extent tree: every node and every extent judged, the sound ones claimed.
 *
 * Goes on after an error: what is wrong is left out, its neighbours are still looked at. Order of
 * judgement for one extent as in the problem table: place, order, bounds, length, end, overlap.
 *
 * Invariants:
 *  1. a node is visited once per tree (w->seen), so cycles and shared subtrees end;
 *  2. the depth falls by one with each level from what the root says, whatever the headers below
 *     say, so recursion is at most DAFS_CK_TREE_DEPTH_MAX deep.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>

#include "base/crc32c.h"
#include "image/icodec.h"

#define UNWRITTEN     DAFS_CK_UNWRITTEN
#define DEPTH_COUNTED 5u

struct tree {
	struct dafs_ck_worker *w;
	struct dafs_ck_inode *in;
	uint32_t seed; /* of node checksums */
	unsigned mute; /* below a node on metadata: nothing is judged, only claimed */
	unsigned depth;
	/* Entries there are and could be, by level from the root. */
	uint32_t entries[DEPTH_COUNTED], room[DEPTH_COUNTED];
};

/* A node at hand. */
struct node {
	struct ext3_extent_header *eh;
	unsigned depth;
	uint64_t pblk;	    /* 0: the root */
	uint64_t low, high; /* logical range [low, high) the parent grants; high 0: open */
	const struct ext3_extent_idx *next; /* the index entry that high comes from; NULL: none */
	bool csum_bad;
};

/* ---- leaves ---- */

struct extent {
	uint64_t pblk, lblk, len;
	bool unwritten;
};

static bool dir_too_far(const struct dafs_ck *ck, const struct dafs_ck_inode *in, uint64_t end_lblk)
{
	return in->is_dir && !in->raw->i_size_high && !ck->g.large_dir &&
	       end_lblk > UINT64_C(1) << (21 - ck->sb.s_log_block_size);
}

/* The first logical block of the node that an index entry leads to (read into buf), as the node has
 * it; UINT64_MAX: it leads to no node. */
static uint64_t first_lblk(struct tree *t, const struct ext3_extent_idx *ix, uint8_t *buf)
{
	uint64_t pblk = dafs_ck_index_pblk(ix);

	if (!pblk || !dafs_ck_blk_ok(t->w->ck, pblk))
		return UINT64_MAX;
	t->w->err = dafs_ck_read(t->w, pblk, 1, buf);
	if (t->w->err || dafs_ck_node_wrong(t->w->ck, (const void *)buf))
		return UINT64_MAX;
	/* Entries of both kinds begin with their logical block. */
	return *(const uint32_t *)(buf + sizeof(struct ext3_extent_header));
}

/* An extent that ends at end is too much for its node: the range may be what is wrong, where the
 * next index entry does not say what its node says. */
static void mend_range(struct tree *t, struct node *nd, uint64_t end)
{
	uint64_t first;

	if (!nd->next || t->mute)
		return;
	first = first_lblk(t, nd->next, t->w->tmp);
	nd->next = NULL;
	if (first != UINT64_MAX && first >= end)
		nd->high = first;
}

/* The code of what is wrong with an extent; DAFS_CK_CODES: nothing. */
static unsigned judge(struct tree *t, struct node *nd, const struct extent *ex)
{
	const struct dafs_ck *ck = t->w->ck;
	const struct dafs_ck_inode *in = t->in;

	if (!ex->pblk || !dafs_ck_blk_ok(ck, ex->pblk))
		return DAFS_CK_EXT_START;
	if (ex->lblk < nd->low)
		return DAFS_CK_EXT_ORDER;
	if (nd->high && ex->lblk + ex->len > nd->high)
		mend_range(t, nd, ex->lblk + ex->len);
	if (nd->high && ex->lblk + ex->len > nd->high)
		return DAFS_CK_EXT_BOUNDS;
	if (!ex->len)
		return DAFS_CK_EXT_LENGTH;
	if (ex->pblk + ex->len > ck->g.blocks)
		return DAFS_CK_EXT_END;
	if (ex->pblk == nd->pblk && ex->len == 1)
		return DAFS_CK_BLK_OWN_MAP;
	if (dir_too_far(ck, in, ex->lblk + ex->len))
		return DAFS_CK_BLK_TOOBIG;
	if (ex->lblk < in->next_lblk)
		return DAFS_CK_EXT_OVERLAP;
	return DAFS_CK_CODES;
}

static void claim_extent(struct tree *t, const struct extent *ex)
{
	const struct dafs_ck *ck = t->w->ck;
	struct dafs_ck_inode *in = t->in;
	uint64_t first = dafs_ck_cluster(ck, ex->pblk), end;

	if (dafs_ck_misaligned(ck, in, ex->pblk, ex->lblk)) {
		for (uint64_t i = 0; i < ex->len && i < 1u << 16; i++) {
			DAFS_CK_FIND(t->w, BLK_MISALIGNED, .ino = in->ino, .lblk = ex->lblk + i,
				     .blk = ex->pblk + i);
			/* Claimed twice on purpose: the file gets a copy of these blocks. */
			dafs_ck_claim_blk(t->w, ex->pblk + i);
			dafs_ck_claim_blk(t->w, ex->pblk + i);
		}
	}
	/* The cluster that the block before lies in is claimed already. */
	if (ck->g.cbits && in->prev_pblk && first == dafs_ck_cluster(ck, in->prev_pblk))
		first++;
	end = dafs_ck_cluster(ck, ex->pblk + ex->len - 1) + 1;
	if (first < end) {
		dafs_ck_claim(t->w, first, end - first);
		in->clusters += end - first;
	}
}

static void add_dir_blocks(struct tree *t, const struct extent *ex)
{
	struct dafs_ck_inode *in = t->in;

	if (in->last_dir_blk + 1 < (int64_t)ex->lblk)
		dafs_ck_add_dext(t->w, 0, (uint64_t)(in->last_dir_blk + 1),
				 ex->lblk - (uint64_t)(in->last_dir_blk + 1));
	dafs_ck_add_dext(t->w, ex->pblk, ex->lblk, ex->len);
	in->last_dir_blk = (int64_t)(ex->lblk + ex->len) - 1;
}

/* A directory has no holes: where this extent should begin. */
static void close_gap(struct tree *t, struct extent *ex)
{
	const struct dafs_ck *ck = t->w->ck;
	struct dafs_ck_inode *in = t->in;
	uint64_t mask = (UINT64_C(1) << ck->g.cbits) - 1, want = (uint64_t)(in->last_blk + 1);

	if (ck->g.cbits)
		want = ((want + mask) & ~mask) | (ex->pblk & mask);
	if (DAFS_CK_FIND(t->w, EXT_DIR_GAP, .ino = in->ino, .lblk = ex->lblk, .want = want)) {
		ex->lblk = want;
		in->rebuild = true;
	}
}

/* True: the extent is left out. Below a node on metadata only those are that cannot be claimed. */
static bool report_extent(struct tree *t, unsigned code, const struct extent *ex)
{
	if (t->mute)
		return code != DAFS_CK_EXT_ORDER && code != DAFS_CK_EXT_BOUNDS &&
		       code != DAFS_CK_EXT_OVERLAP && code != DAFS_CK_BLK_OWN_MAP;
	if (dafs_ck_find(t->w, &(struct dafs_finding){ .code = (uint16_t)code,
						       .ino = t->in->ino,
						       .lblk = ex->lblk,
						       .blk = ex->pblk,
						       .len = ex->len,
						       .text = "a directory" }))
		t->in->rebuild = true;
	return true;
}

/* One wrong start must not cost the extents behind it: of those that cannot be together this one
 * goes if it would take two or more others with it, or one in the file while it lies behind the
 * end. */
static bool misplaced(const struct tree *t, const struct node *nd, const struct ext3_extent *raw)
{
	const struct ext3_extent *end =
		(const struct ext3_extent *)(nd->eh + 1) + nd->eh->eh_entries;
	uint64_t len = raw->ee_len > UNWRITTEN ? raw->ee_len - UNWRITTEN : raw->ee_len;
	uint64_t size = dafs_ck_size(t->in->raw);
	unsigned bits = t->w->ck->g.block_bits;

	if (end - raw < 2 || raw[1].ee_block >= raw->ee_block ||
	    raw[1].ee_block < t->in->next_lblk || raw[1].ee_block < nd->low)
		return false;
	if ((uint64_t)raw->ee_block << bits >= size && (uint64_t)raw[1].ee_block << bits < size)
		return true;
	return end - raw > 2 && raw[2].ee_block < raw->ee_block + len &&
	       raw[1].ee_block < raw[2].ee_block;
}

/* Is it the length that is wrong: does it reach over two or more that follow in order, or over the
 * blocks of one of them? Then this one ends where they begin, and all of them stay. */
static void too_long(const struct tree *t, const struct node *nd, const struct ext3_extent *raw,
		     struct extent *ex)
{
	const struct ext3_extent *end =
		(const struct ext3_extent *)(nd->eh + 1) + nd->eh->eh_entries;
	uint64_t len = ex->len, prev = ex->lblk;
	unsigned over = 0;
	bool shared = false;

	if (raw + 1 >= end || raw[1].ee_block >= ex->lblk + ex->len)
		return;
	for (const struct ext3_extent *next = raw + 1; next < end; next++) {
		uint64_t pblk = dafs_ck_leaf_pblk(next);

		if (next->ee_block <= prev)
			return;
		prev = next->ee_block;
		if (prev < ex->lblk + ex->len) {
			over++;
			if (prev - ex->lblk < len)
				len = prev - ex->lblk;
		}
		if (pblk > ex->pblk && pblk < ex->pblk + ex->len) {
			shared = true;
			if (pblk - ex->pblk < len)
				len = pblk - ex->pblk;
		}
	}
	/* Nor does a file's data lie in the node that maps it. */
	if (nd->pblk > ex->pblk && nd->pblk < ex->pblk + len)
		len = nd->pblk - ex->pblk;
	if ((over < 2 && !shared) || t->mute)
		return;
	if (DAFS_CK_FIND(t->w, EXT_LONG, .ino = t->in->ino, .lblk = ex->lblk, .blk = ex->pblk,
			 .len = ex->len - len))
		t->in->rebuild = true;
	ex->len = len;
}

/* Behind the last block that a file can have: put where the file goes on, if its size has room for
 * that. False: the extent is left out. */
static bool place_far(struct tree *t, struct extent *ex)
{
	struct dafs_ck_inode *in = t->in;
	uint64_t mask = (UINT64_C(1) << t->w->ck->g.block_bits) - 1;
	uint64_t size_blks = (dafs_ck_size(in->raw) + mask) >> t->w->ck->g.block_bits;

	if (ex->unwritten || ex->lblk + ex->len <= UINT32_MAX || t->mute)
		return true;
	if (DAFS_CK_FIND(t->w, EXT_FAR, .ino = in->ino, .lblk = ex->lblk, .blk = ex->pblk,
			 .len = ex->len))
		in->rebuild = true;
	if (in->next_lblk + ex->len > size_blks)
		return false;
	ex->lblk = in->next_lblk;
	return true;
}

static void look_extent(struct tree *t, struct node *nd, const struct ext3_extent *raw)
{
	struct dafs_ck_inode *in = t->in;
	struct extent ex = { dafs_ck_leaf_pblk(raw), raw->ee_block, raw->ee_len,
			     raw->ee_len > UNWRITTEN };
	unsigned code;

	if (ex.unwritten)
		ex.len -= UNWRITTEN;
	if (ex.pblk && ex.lblk >= in->next_lblk && ex.lblk >= nd->low)
		too_long(t, nd, raw, &ex);
	if (!place_far(t, &ex))
		return;
	code = judge(t, nd, &ex);
	if (code == DAFS_CK_CODES && misplaced(t, nd, raw))
		code = DAFS_CK_EXT_ORDER;
	if (code == DAFS_CK_CODES)
		in->next_lblk = ex.lblk + ex.len;
	else if (report_extent(t, code, &ex))
		return;
	if (in->is_dir && ex.unwritten && !t->mute &&
	    DAFS_CK_FIND(t->w, EXT_DIR_UNWRITTEN, .ino = in->ino, .lblk = ex.lblk)) {
		ex.unwritten = false;
		in->rebuild = true;
	}
	if (in->prev_pblk && in->prev_pblk + 1 != ex.pblk)
		in->fragmented = true;
	if (in->is_dir) {
		if (in->last_blk + 1 < (int64_t)ex.lblk && !t->mute)
			close_gap(t, &ex);
		add_dir_blocks(t, &ex);
	}
	if (t->w->flat &&
	    !dafs_ck_flat_add(&t->w->flat->xl, ex.lblk, ex.pblk, ex.len, ex.unwritten))
		t->w->err = ENOMEM;
	claim_extent(t, &ex);
	in->last_blk = (int64_t)(ex.lblk + ex.len) - 1;
	in->prev_pblk = ex.pblk + ex.len - 1;
	nd->low = (uint64_t)in->last_blk;
	if (!in->is_dir && !ex.unwritten)
		in->last_init_blk = in->last_blk;
}

/* ---- nodes ---- */

static void look_node(struct tree *t, struct node *nd);

static bool node_csum_ok(const struct tree *t, const struct ext3_extent_header *eh)
{
	size_t len = sizeof(*eh) + (size_t)eh->eh_max * sizeof(struct ext3_extent);

	if (!t->w->ck->g.csum || len + 4 > t->w->ck->g.block_size)
		return true;
	return *(const uint32_t *)((const uint8_t *)eh + len) == dafs_crc32c(t->seed, eh, len);
}

static void bad_node(struct tree *t, const struct ext3_extent_idx *ix, const char *why)
{
	if (!t->mute &&
	    DAFS_CK_FIND(t->w, EXT_NODE, .ino = t->in->ino, .blk = dafs_ck_index_pblk(ix),
			 .lblk = ix->ei_block, .text = why))
		t->in->rebuild = true;
}

/* May the walk go into the block: not there yet, and not one of endless copies of another file's
 * tree? */
static bool may_enter(struct tree *t, uint64_t pblk)
{
	struct dafs_ck *ck = t->w->ck;
	bool made;

	if (!dafs_ck_map_put(&t->w->seen, pblk, &made)) {
		t->w->err = ENOMEM;
		return false;
	}
	if (!made)
		return false;
	if (t->w->flat || !dafs_ck_bits_test(&ck->found, dafs_ck_cluster(ck, pblk)))
		return true;
	if (!ck->node_budget)
		return false;
	atomic_fetch_sub(&ck->node_budget, 1);
	return true;
}

/* Where a node begins, as its entries have it (both kinds begin with their logical block); as the
 * index says, where it is the first entry that is out of place. */
static uint32_t node_first(const struct ext3_extent_header *eh, uint32_t said)
{
	const struct ext3_extent *ex = (const void *)(eh + 1);

	return eh->eh_entries > 1 && ex[1].ee_block < ex[0].ee_block && ex[1].ee_block >= said
		       ? said
		       : ex[0].ee_block;
}

static bool in_range(const struct node *nd, uint64_t lblk)
{
	return lblk >= nd->low && (!nd->high || lblk < nd->high);
}

static void look_index(struct tree *t, struct node *nd, const struct ext3_extent_idx *ix, bool last)
{
	struct dafs_ck_worker *w = t->w;
	struct dafs_ck *ck = w->ck;
	struct dafs_ck_inode *in = t->in;
	uint64_t pblk = dafs_ck_index_pblk(ix);
	struct node child = { .eh = (void *)w->level[nd->depth - 1],
			      .depth = nd->depth - 1,
			      .pblk = pblk,
			      .low = ix->ei_block,
			      .high = last ? nd->high : ix[1].ei_block,
			      .next = last ? nd->next : ix + 1 };
	const char *why;
	bool on_meta;
	uint32_t first;

	if (!pblk || !dafs_ck_blk_ok(ck, pblk)) {
		if (!t->mute &&
		    DAFS_CK_FIND(w, EXT_START, .ino = in->ino, .lblk = ix->ei_block, .blk = pblk))
			in->rebuild = true;
		return;
	}
	/* (Not its own place is what counts, but that of its node: see below.) */
	if (!t->mute &&
	    (!in_range(nd, ix->ei_block) || (child.high && ix->ei_block >= child.high)) &&
	    !in_range(nd, first_lblk(t, ix, (uint8_t *)child.eh))) {
		if (DAFS_CK_FIND(w, EXT_ORDER, .ino = in->ino, .lblk = ix->ei_block, .blk = pblk))
			in->rebuild = true;
		return;
	}
	if (!may_enter(t, pblk)) {
		bad_node(t, ix, "it is used twice");
		return;
	}
	on_meta = in->ino != EXT2_RESIZE_INO && dafs_ck_is_meta(ck, pblk);
	if (on_meta)
		DAFS_CK_FIND(w, BLK_MAP_METADATA, .ino = in->ino, .blk = pblk);
	w->err = dafs_ck_read(w, pblk, 1, child.eh);
	if (w->err)
		return;
	why = dafs_ck_node_wrong(ck, child.eh);
	if (why) {
		bad_node(t, ix, why);
		return;
	}
	t->mute += on_meta;
	child.csum_bad = !node_csum_ok(t, child.eh);
	/* Its place in the tree tells how deep it is; the kernel asks the header. */
	if (child.eh->eh_depth != child.depth && !t->mute &&
	    DAFS_CK_FIND(w, EXT_NODE_DEPTH, .ino = in->ino, .blk = pblk,
			 .found = child.eh->eh_depth, .want = child.depth))
		in->rebuild = true;
	first = node_first(child.eh, ix->ei_block);
	if (first != ix->ei_block && !t->mute) {
		if (DAFS_CK_FIND(w, EXT_INDEX, .ino = in->ino, .lblk = ix->ei_block, .want = first,
				 .blk = pblk))
			in->rebuild = true;
		child.low = first;
	}
	if (w->flat && !on_meta)
		w->err = dafs_blklist_add(&w->flat->nodes, pblk);
	look_node(t, &child);
	dafs_ck_claim_blk(w, pblk);
	in->clusters++;
	t->mute -= on_meta;
}

static void look_node(struct tree *t, struct node *nd)
{
	struct dafs_ck_worker *w = t->w;
	unsigned n = nd->eh->eh_entries, level = t->depth - nd->depth;

	if (level < DEPTH_COUNTED && !t->mute) {
		/* A node that was split by appending has one entry free: that is as good as full.
		 */
		t->entries[level] += n;
		t->room[level] += nd->eh->eh_max - (level && n < nd->eh->eh_max);
	}
	for (unsigned i = 0; i < n && !w->err; i++) {
		if (!nd->depth) {
			look_extent(t, nd, (const struct ext3_extent *)(nd->eh + 1) + i);
		} else {
			look_index(t, nd, (const struct ext3_extent_idx *)(nd->eh + 1) + i,
				   i + 1 == n);
		}
		/* In a scan one complaint is enough: all of it comes up again. */
		if (w->put_off && w->scan)
			return;
	}
	if (nd->csum_bad && !t->mute &&
	    DAFS_CK_FIND(w, EXT_CSUM, .ino = t->in->ino, .blk = nd->pblk))
		t->in->rebuild = true;
}

/* Depth that suffices for any file: 4 entries in the inode, the rest in blocks. */
static unsigned enough_depth(const struct dafs_ck *ck)
{
	unsigned per_blk = (ck->g.block_size - (unsigned)sizeof(struct ext3_extent_header)) /
			   sizeof(struct ext3_extent);

	return (31 - 2) / (31u - (unsigned)__builtin_clz(per_blk));
}

/* Would a smaller tree hold the same? As e2fsck decides it. */
static void look_slack(struct tree *t)
{
	uint32_t per_blk = (t->w->ck->g.block_size - (uint32_t)sizeof(struct ext3_extent_header)) /
			   sizeof(struct ext3_extent);
	const char *how = NULL;
	unsigned at = 0;

	for (unsigned i = 0; i <= t->depth && i < DEPTH_COUNTED && !how; i++) {
		at = i;
		if (t->room[i] - t->entries[i] > per_blk)
			how = "narrower";
		for (unsigned k = 0; k < i && !how; k++)
			if (t->entries[i] < t->room[k])
				how = "shorter";
	}
	if (how && !t->w->ck->opts->fixes_only &&
	    DAFS_CK_FIND(t->w, EXT_SLACK, .ino = t->in->ino, .found = at, .text = how))
		t->in->rebuild = true;
}

/* A tree that maps nothing has no levels. */
static void look_empty(struct tree *t, unsigned depth, unsigned enough)
{
	struct dafs_ck_inode *in = t->in;

	if (depth > enough
		    ? DAFS_CK_FIND(t->w, EXT_DEPTH, .ino = in->ino, .found = depth, .want = enough)
		    : DAFS_CK_FIND(t->w, EXT_SLACK, .ino = in->ino, .text = "shorter"))
		in->rebuild = true;
}

/* ---- the root ---- */

/* False: there is nothing (more) to be looked at. */
static bool look_root(struct tree *t, struct node *root)
{
	struct dafs_ck_inode *in = t->in;
	unsigned depth = dafs_ck_root_depth(t->w, root->eh);

	if (t->w->err)
		return false;
	root->depth = depth;
	if (depth == root->eh->eh_depth &&
	    (depth <= DAFS_CK_TREE_DEPTH_MAX || !root->eh->eh_entries))
		return true;
	if (!DAFS_CK_FIND(t->w, EXT_ROOT_DEPTH, .ino = in->ino, .found = root->eh->eh_depth,
			  .want = depth <= DAFS_CK_TREE_DEPTH_MAX ? depth : 0))
		return depth <= DAFS_CK_TREE_DEPTH_MAX;
	in->rebuild = true;
	if (depth > DAFS_CK_TREE_DEPTH_MAX) {
		/* No sense in it either way: an empty file is left. */
		root->eh->eh_entries = 0;
		depth = 0;
	}
	root->depth = depth;
	root->eh->eh_depth = (uint16_t)depth;
	return true;
}

void dafs_ck_extents(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;
	struct tree t = { .w = w, .in = in };
	struct node root = { .eh = (struct ext3_extent_header *)raw->i_block };
	unsigned enough = enough_depth(w->ck);

	if (!dafs_ck_extent_header_ok(root.eh, sizeof(raw->i_block))) {
		if (DAFS_CK_FIND(w, EXT_HEADER, .ino = in->ino))
			dafs_ck_inode_clear(w, in);
		return;
	}
	in->has_tree = true;
	if (!look_root(&t, &root))
		return;
	if (!root.eh->eh_entries && root.depth) {
		look_empty(&t, root.depth, enough);
		return;
	}
	in->depth = (uint8_t)root.depth;
	if (root.depth > enough &&
	    DAFS_CK_FIND(w, EXT_DEPTH, .ino = in->ino, .found = root.depth, .want = enough))
		in->rebuild = true;
	t.depth = root.depth;
	if (root.depth) {
		t.seed = dafs_icodec_seed(&w->ck->img, in->ino, raw->i_generation);
		dafs_ck_map_reset(&w->seen);
	}
	look_node(&t, &root);
	if (root.depth && !in->rebuild && !w->err && !(w->scan && w->put_off))
		look_slack(&t);
}
