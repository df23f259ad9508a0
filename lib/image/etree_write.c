/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * etree_write - extent lists into the smallest valid tree: full leaves, least depth. Leaves are
 * laid out first and take the first blocks of the list, then the level above, and so on:
 * appending to a file rewrites its last leaf and little else.
 */
#include "config.h"

#include "image/etree.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/etree_int.h"
#include "image/icodec.h"
#include "image/txn.h"

uint64_t dafs_etree_blks(uint32_t block_size, uint64_t n_extents)
{
	uint64_t capacity = dafs_etree_capacity(block_size), total = 0;

	while (n_extents > DAFS_ETREE_ROOT_MAX) {
		n_extents = (n_extents + capacity - 1) / capacity;
		total += n_extents;
	}
	return total;
}

struct emit {
	struct dafs_image *img;
	uint32_t seed;
	const struct dafs_blklist *blks;
	size_t nold;
	size_t next;			/* next block of blks */
	uint8_t *node, *old;		/* a block each */
};

/* Fill the entry part of a node with extents. */
static void fill_leaf(struct dafs_etree_header *hdr, const struct dafs_extent *ext, size_t n)
{
	struct dafs_etree_entry *e = dafs_etree_entries(hdr);

	for (size_t i = 0; i < n; i++) {
		e[i].lblk = ext[i].lblk;
		e[i].leaf.len =
			(uint16_t)(ext[i].len + (ext[i].unwritten ? DAFS_EXT_MAX_WRITTEN : 0));
		e[i].leaf.start_hi = (uint16_t)(ext[i].pblk >> 32);
		e[i].leaf.start_lo = (uint32_t)ext[i].pblk;
	}
}

/* What the level above needs to know of a node. */
struct child {
	uint32_t lblk;			/* its first key */
	uint64_t pblk;
};

static void fill_index(struct dafs_etree_header *hdr, const struct child *child, size_t n)
{
	struct dafs_etree_entry *e = dafs_etree_entries(hdr);

	for (size_t i = 0; i < n; i++) {
		e[i].lblk = child[i].lblk;
		e[i].index.child_lo = (uint32_t)child[i].pblk;
		e[i].index.child_hi = (uint16_t)(child[i].pblk >> 32);
		e[i].index.unused = 0;
	}
}

static void set_header(struct dafs_etree_header *hdr, size_t entries, size_t max, unsigned depth)
{
	hdr->magic = DAFS_ETREE_MAGIC;
	hdr->entries = (uint16_t)entries;
	hdr->max = (uint16_t)max;
	hdr->depth = (uint16_t)depth;
	hdr->generation = 0;
}

/* Put the node that stands in e->node into the next block. */
static errcode_t put_node(struct emit *e, uint64_t *pblk)
{
	struct dafs_etree_header *hdr = (struct dafs_etree_header *)e->node;
	uint32_t *tail = dafs_etree_tail(hdr);
	bool live = e->next < e->nold;
	errcode_t err;

	*pblk = e->blks->v[e->next++];
	if (e->img->has_csum)
		*tail = dafs_crc32c(e->seed, hdr, (size_t)((uint8_t *)tail - e->node));
	if (!live)
		return dafs_txn_put_new(e->img, *pblk, 1, e->node);
	err = dafs_image_read_blks(e->img, *pblk, 1, e->old);
	if (!err && memcmp(e->node, e->old, e->img->block_size))
		err = dafs_txn_put(e->img, *pblk, e->node);
	return err;
}

/* Write one level of n entries (extents when depth is 0, else children) in nodes as full as they
 * get; the nodes' own references go to up, which may be children itself (nodes are fewer than
 * entries). */
static errcode_t put_level(struct emit *e, const struct dafs_extent *extents,
			   const struct child *children, size_t n, unsigned depth, struct child *up)
{
	size_t capacity = dafs_etree_capacity(e->img->block_size), made = 0;
	errcode_t err = 0;

	for (size_t at = 0; at < n && !err; at += capacity) {
		struct dafs_etree_header *hdr = (struct dafs_etree_header *)e->node;
		size_t take = n - at < capacity ? n - at : capacity;
		uint32_t key = depth ? children[at].lblk : extents[at].lblk;

		memset(e->node, 0, e->img->block_size);
		set_header(hdr, take, capacity, depth);
		if (depth)
			fill_index(hdr, children + at, take);
		else
			fill_leaf(hdr, extents + at, take);
		err = put_node(e, &up[made].pblk);
		up[made++].lblk = key;
	}
	return err;
}

errcode_t dafs_etree_encode(struct dafs_image *img, uint32_t ino, uint32_t generation,
			    const struct dafs_extlist *xl, const struct dafs_blklist *blks,
			    size_t nold, struct ext2_inode_large *raw)
{
	struct dafs_etree_header *root = (struct dafs_etree_header *)raw->i_block;
	struct emit e = { .img = img, .blks = blks, .nold = nold };
	size_t n = xl->n, capacity = dafs_etree_capacity(img->block_size),
	       nblks = blks ? blks->n : 0;
	struct child *children = NULL;
	unsigned depth = 0;
	errcode_t err = 0;

	if (!img->has_extents)
		return dafs_fail(img->ctx, DAFS_ET_FEATURE, "extent");
	if (nblks != dafs_etree_blks(img->block_size, n) || nold > nblks)
		return dafs_fail(img->ctx, DAFS_ET_INTERNAL,
				 "inode %u: %zu blocks for a tree of %zu extents", ino, nblks, n);
	if (nblks) {
		e.seed = dafs_icodec_seed(img, ino, generation);
		e.node = malloc(2 * (size_t)img->block_size);
		children = reallocarray(NULL, (n + capacity - 1) / capacity, sizeof(*children));
		if (!e.node || !children) {
			err = ENOMEM;
			goto out;
		}
		e.old = e.node + img->block_size;
	}
	for (; n > DAFS_ETREE_ROOT_MAX; depth++) {
		err = put_level(&e, xl->v, children, n, depth, children);
		if (err)
			goto out;
		n = (n + capacity - 1) / capacity;
	}
	memset(raw->i_block, 0, sizeof(raw->i_block));
	set_header(root, n, DAFS_ETREE_ROOT_MAX, depth);
	if (depth)
		fill_index(root, children, n);
	else
		fill_leaf(root, xl->v, n);
	raw->i_flags |= EXT4_EXTENTS_FL;
out:
	free(e.node);
	free(children);
	return err;
}
