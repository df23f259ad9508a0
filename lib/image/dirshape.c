/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirshape - the tree over a flat list of leaves: how many levels and nodes, which node holds
 * which leaf, and the bytes of index blocks.
 */
#include "config.h"

#include "image/dirindex.h"

#include <stdlib.h>
#include <string.h>

static errcode_t full(struct dafs_image *img, size_t nleaves)
{
	return dafs_fail(img->ctx, DAFS_ET_DIR_FULL, "an index of %zu leaves%s", nleaves,
			 img->has_large_dir ? "" : " (the feature large_dir would allow more)");
}

/* Leaves that an index with these levels of nodes can hold. */
static uint64_t capacity(const struct dafs_image *img, unsigned levels)
{
	uint64_t leaves = dafs_dx_limit(img, DAFS_DIRBLOCK_ROOT);

	while (levels--)
		leaves *= dafs_dx_limit(img, DAFS_DIRBLOCK_NODE);
	return leaves;
}

static errcode_t need_levels(struct dafs_image *img, size_t nleaves, unsigned *levels)
{
	unsigned max = img->has_large_dir ? 2 : 1;

	while (*levels <= max && capacity(img, *levels) < nleaves)
		++*levels;
	return *levels > max ? full(img, nleaves) : 0;
}

static size_t parents_of(const struct dafs_image *img, size_t children)
{
	size_t limit = dafs_dx_limit(img, DAFS_DIRBLOCK_NODE);

	return (children + limit - 1) / limit;
}

errcode_t dafs_dx_need(struct dafs_image *img, size_t nleaves, unsigned *levels, uint32_t *blks)
{
	size_t children = nleaves;
	errcode_t err;

	*levels = 0;
	*blks = 1;
	err = need_levels(img, nleaves, levels);
	for (unsigned i = 0; i < *levels && !err; i++) {
		children = parents_of(img, children);
		*blks += (uint32_t)children;
	}
	return err;
}

/* ---- who hangs where ---- */

/* A child's parent, at either level. */
static uint32_t *parent_slot(struct dafs_dx *dx, unsigned level, size_t i)
{
	return level ? &dx->nodes[0][i].up : &dx->leaves[i].node;
}

/* Where each node's children begin; false when one has more than it holds. */
static bool mark_firsts(const struct dafs_image *img, struct dafs_dx *dx, unsigned level)
{
	size_t n = level ? dx->nnodes[0] : dx->nleaves, run = 0;
	size_t limit = dafs_dx_limit(img, DAFS_DIRBLOCK_NODE);
	bool fits = true;

	for (size_t i = 0; i < n; i++) {
		uint32_t parent = *parent_slot(dx, level, i);

		if (i && parent == *parent_slot(dx, level, i - 1)) {
			run++;
		} else {
			dx->nodes[level][parent].first = (uint32_t)i;
			run = 1;
		}
		fits &= run <= limit;
	}
	return fits;
}

/* Spread the children of a level evenly over its nodes, of which there will be at least as many
 * as there are. */
static errcode_t spread(struct dafs_image *img, struct dafs_dx *dx, unsigned level,
			uint32_t *next_lblk)
{
	size_t children = level ? dx->nnodes[0] : dx->nleaves;
	size_t n = parents_of(img, children);

	if (n < dx->nnodes[level])
		n = dx->nnodes[level];
	if (n > dx->nnodes[level]) {
		struct dafs_dx_node *v = reallocarray(dx->nodes[level], n, sizeof(*v));

		if (!v)
			return ENOMEM;
		dx->nodes[level] = v;
		/* Where the level above is new too, its spread sets up. */
		for (size_t i = dx->nnodes[level]; i < n; i++)
			v[i] = (struct dafs_dx_node){ (*next_lblk)++, i ? v[i - 1].up : 0, 0 };
		dx->nnodes[level] = n;
	}
	for (size_t k = 0, i = 0; k < n; k++) {
		for (; i < (k + 1) * children / n; i++)
			*parent_slot(dx, level, i) = (uint32_t)k;
	}
	return 0;
}

/* One level of nodes: as it is when it suffices, else spread. */
static errcode_t shape_level(struct dafs_image *img, struct dafs_dx *dx, unsigned level, bool fresh,
			     uint32_t *next_lblk)
{
	errcode_t err = 0;

	if (!fresh && mark_firsts(img, dx, level))
		return 0;
	err = spread(img, dx, level, next_lblk);
	if (!err && !mark_firsts(img, dx, level))
		err = dafs_fail(img->ctx, DAFS_ET_INTERNAL, "index nodes overflow");
	return err;
}

errcode_t dafs_dx_shape(struct dafs_image *img, struct dafs_dx *dx, uint32_t *next_lblk)
{
	unsigned old = dx->levels;
	errcode_t err = need_levels(img, dx->nleaves, &dx->levels);
	size_t top;

	for (unsigned level = 0; level < dx->levels && !err; level++)
		err = shape_level(img, dx, level, level >= old, next_lblk);
	if (err)
		return err;
	top = dx->levels ? dx->nnodes[dx->levels - 1] : dx->nleaves;
	return top <= dafs_dx_limit(img, DAFS_DIRBLOCK_ROOT) ? 0 : full(img, dx->nleaves);
}

/* ---- blocks ---- */

static uint32_t child_lblk(const struct dafs_dx *dx, unsigned level, size_t i)
{
	return level ? dx->nodes[level - 1][i].lblk : dx->leaves[i].lblk;
}

static uint32_t child_hash(const struct dafs_dx *dx, unsigned level, size_t i)
{
	while (level--)
		i = dx->nodes[level][i].first;
	return dx->leaves[i].hash;
}

/* Entries for children [first, first + n) of a level (0: leaves, 1: nodes above them, ...). */
static void emit_entries(const struct dafs_image *img, const struct dafs_dx *dx, unsigned level,
			 size_t first, size_t n, enum dafs_dirblock_kind kind, uint8_t *buf)
{
	struct dafs_dx_entry *entries = (struct dafs_dx_entry *)(buf + dafs_dx_offset(kind));
	struct dafs_dx_count head = { (uint16_t)dafs_dx_limit(img, kind), (uint16_t)n };

	for (size_t i = 0; i < n; i++) {
		entries[i].hash = child_hash(dx, level, first + i);
		entries[i].lblk = child_lblk(dx, level, first + i);
	}
	memcpy(&entries[0].hash, &head, sizeof(head));
}

static void emit_dot(const struct dafs_image *img, uint8_t *buf, uint32_t off, uint32_t ino,
		     uint32_t rec_len, uint8_t name_len)
{
	struct dafs_dirent_disk *de = (struct dafs_dirent_disk *)(buf + off);

	de->ino = ino;
	de->rec_len = dafs_dirblock_store_len(img->block_size, rec_len);
	de->name_len = name_len;
	de->file_type = img->has_filetype ? EXT2_FT_DIR : 0;
	memset(de->name, '.', name_len);
}

void dafs_dx_emit_root(const struct dafs_image *img, const struct dafs_dx *dx, uint32_t seed,
		       uint32_t ino, uint32_t parent, uint8_t *buf)
{
	struct dafs_dx_info info = { .hash_version = dx->hash_version,
				     .info_length = DAFS_DX_INFO_BYTES,
				     .levels = (uint8_t)dx->levels };

	memset(buf, 0, img->block_size);
	emit_dot(img, buf, 0, ino, 12, 1);
	emit_dot(img, buf, 12, parent, img->block_size - 12, 2);
	memcpy(buf + DAFS_DIR_DOTS_BYTES, &info, sizeof(info));
	emit_entries(img, dx, dx->levels, 0, dx->levels ? dx->nnodes[dx->levels - 1] : dx->nleaves,
		     DAFS_DIRBLOCK_ROOT, buf);
	dafs_dirblock_csum_set(img, seed, DAFS_DIRBLOCK_ROOT, buf);
}

void dafs_dx_emit_node(const struct dafs_image *img, const struct dafs_dx *dx, uint32_t seed,
		       unsigned level, size_t i, uint8_t *buf)
{
	const struct dafs_dx_node *nodes = dx->nodes[level];
	size_t children = level ? dx->nnodes[level - 1] : dx->nleaves;
	size_t end = i + 1 < dx->nnodes[level] ? nodes[i + 1].first : children;
	struct dafs_dirent_disk *de = (struct dafs_dirent_disk *)buf;

	memset(buf, 0, img->block_size);
	de->rec_len = dafs_dirblock_store_len(img->block_size, img->block_size);
	emit_entries(img, dx, level, nodes[i].first, end - nodes[i].first, DAFS_DIRBLOCK_NODE, buf);
	dafs_dirblock_csum_set(img, seed, DAFS_DIRBLOCK_NODE, buf);
}
