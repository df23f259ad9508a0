/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirindex - directories of the image read block by block, and their index read as a list or
 * along one path. Shaping and writing an index is in dirshape.c.
 *
 * What an accepted index guarantees: every block of it lies in the directory and is named once,
 * hashes do not fall.
 */
#include "config.h"

#include "image/dirindex.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/etree.h"
#include "image/icodec.h"

#define INCOMPATIBLE_FLAG 1u	/* of the root's flags: an index of a later time */

errcode_t dafs_dir_corrupt(const struct dafs_dir *dir, uint32_t lblk, const char *why)
{
	return dafs_fail(dir->img->ctx, DAFS_ET_CORRUPT_DIR, "directory inode %u: block %u: %s",
			 dir->ino, lblk, why);
}

errcode_t dafs_dir_open(struct dafs_image *img, uint32_t ino, const struct ext2_inode_large *raw,
			struct dafs_dir *dir)
{
	uint64_t size = dafs_icodec_size(img, raw), next = 0;
	errcode_t err;

	memset(dir, 0, sizeof(*dir));
	dir->img = img;
	dir->ino = ino;
	if (!S_ISDIR(raw->i_mode))
		return ENOTDIR;
	dir->iflags = raw->i_flags;
	dir->csum_seed = dafs_icodec_seed(img, ino, raw->i_generation);
	dir->has_index = raw->i_flags & EXT2_INDEX_FL;
	dir->indexed = dir->has_index && img->has_dir_index;
	dir->opaque = raw->i_flags & EXT4_ENCRYPT_FL;
	if (!size || size & (img->block_size - 1) ||
	    size >> img->block_bits >= DAFS_ETREE_MAX_BLOCKS)
		return dafs_dir_corrupt(dir, 0, "size of the directory");
	dir->nblks = (uint32_t)(size >> img->block_bits);
	err = dafs_etree_decode(img, ino, raw, &dir->xl, NULL);
	for (size_t i = 0; i < dir->xl.n && next < dir->nblks && !err; i++) {
		const struct dafs_extent *ext = &dir->xl.v[i];

		if (ext->lblk != next)
			break;
		if (ext->unwritten)
			err = dafs_dir_corrupt(dir, ext->lblk, "unwritten");
		next += ext->len;
	}
	if (!err && next < dir->nblks)
		err = dafs_dir_corrupt(dir, (uint32_t)next, "hole");
	if (err)
		dafs_dir_close(dir);
	return err;
}

void dafs_dir_close(struct dafs_dir *dir)
{
	dafs_extlist_fini(&dir->xl);
}

uint32_t dafs_dir_chain_bytes(const struct dafs_dir *dir, enum dafs_dirblock_kind kind)
{
	return kind == DAFS_DIRBLOCK_LEAF ? dafs_dirblock_room(dir->img) : dir->img->block_size;
}

errcode_t dafs_dir_read(struct dafs_dir *dir, uint32_t lblk, const enum dafs_dirblock_kind *want,
			uint8_t *buf, enum dafs_dirblock_kind *kind)
{
	struct dafs_image *img = dir->img;
	enum dafs_dirblock_kind found = want ? *want : DAFS_DIRBLOCK_LEAF;
	size_t i = dafs_extlist_search(&dir->xl, lblk);
	const char *problem;
	errcode_t err;

	if (lblk >= dir->nblks)
		return dafs_dir_corrupt(dir, lblk, "past the end");
	err = dafs_image_read_blks(img, dir->xl.v[i].pblk + (lblk - dir->xl.v[i].lblk), 1, buf);
	if (err)
		return err;
	if (!want && dir->has_index) {
		if (!lblk)
			found = DAFS_DIRBLOCK_ROOT;
		else if (img->has_csum && dafs_dirblock_looks_node(img, buf))
			found = DAFS_DIRBLOCK_NODE;
	}
	if (!(img->flags & DAFS_IMAGE_IGNORE_CSUM) &&
	    !dafs_dirblock_csum_ok(img, dir->csum_seed, found, buf))
		return dafs_dir_corrupt(dir, lblk, "checksum");
	problem = dafs_dirblock_problem(img, buf, dafs_dir_chain_bytes(dir, found), dir->opaque,
					lblk == 0);
	if (problem)
		return dafs_dir_corrupt(dir, lblk, problem);
	if (!lblk && dafs_dirblock_at(buf, 0)->ino != dir->ino)
		return dafs_dir_corrupt(dir, lblk, "\".\" is another inode");
	if (kind)
		*kind = found;
	return 0;
}

/* ---- index blocks ---- */

/* Read an index block and find its entries. */
static errcode_t read_index(struct dafs_dir *dir, uint32_t lblk, uint8_t *buf,
			    struct dafs_dx_entry **entries, uint32_t *count)
{
	enum dafs_dirblock_kind kind = lblk ? DAFS_DIRBLOCK_NODE : DAFS_DIRBLOCK_ROOT;
	const struct dafs_dx_count *head;
	errcode_t err = dafs_dir_read(dir, lblk, &kind, buf, NULL);

	if (err)
		return err;
	if (lblk && !dafs_dirblock_looks_node(dir->img, buf))
		return dafs_dir_corrupt(dir, lblk, "not an index node");
	*entries = (struct dafs_dx_entry *)(buf + dafs_dx_offset(kind));
	head = (const struct dafs_dx_count *)*entries;
	*count = head->count;
	if (head->limit != dafs_dx_limit(dir->img, kind))
		return dafs_dir_corrupt(dir, lblk, "index limit");
	if (!head->count || head->count > head->limit)
		return dafs_dir_corrupt(dir, lblk, "index count");
	for (uint32_t i = 0; i < *count; i++) {
		uint32_t child = (*entries)[i].lblk & DAFS_DX_LBLK_MASK;

		if (!child || child >= dir->nblks)
			return dafs_dir_corrupt(dir, lblk, "index names a block past the end");
		if (i > 1 && (*entries)[i].hash < (*entries)[i - 1].hash)
			return dafs_dir_corrupt(dir, lblk, "index hashes out of order");
	}
	return 0;
}

/* The root's own fields; buf has been read as one. */
static errcode_t root_info(struct dafs_dir *dir, const uint8_t *buf, struct dafs_dx_info *info)
{
	uint32_t dotdot_len =
		dafs_dirblock_len(dir->img->block_size, dafs_dirblock_at(buf, 12)->rec_len);

	memcpy(info, buf + DAFS_DIR_DOTS_BYTES, sizeof(*info));
	if (dotdot_len != dir->img->block_size - 12 || info->reserved ||
	    info->info_length != DAFS_DX_INFO_BYTES)
		return dafs_dir_corrupt(dir, 0, "index root");
	if (info->flags & INCOMPATIBLE_FLAG)
		return dafs_fail(dir->img->ctx, DAFS_ET_FEATURE,
				 "directory inode %u: index flags 0x%x", dir->ino, info->flags);
	if (info->levels > (dir->img->has_large_dir ? 2 : 1))
		return dafs_dir_corrupt(dir, 0, "index levels");
	return 0;
}

void dafs_dx_fini(struct dafs_dx *dx)
{
	free(dx->leaves);
	free(dx->nodes[0]);
	free(dx->nodes[1]);
	memset(dx, 0, sizeof(*dx));
}

struct loader {
	struct dafs_dir *dir;
	struct dafs_dx *dx;
	uint8_t *bufs;			/* a block a level */
	uint8_t *seen;			/* a bit a block of the directory */
	uint32_t hash;			/* no key below this one any more */
	size_t leaves_room, nodes_room[2];
};

/* One child of an index block: depth 0 is a leaf. */
static errcode_t load_child(struct loader *ld, uint32_t parent, uint32_t lblk, uint32_t hash,
			    unsigned depth)
{
	struct dafs_dx *dx = ld->dx;
	errcode_t err;

	if (ld->seen[lblk / 8] & 1u << lblk % 8)
		return dafs_dir_corrupt(ld->dir, parent, "index names a block twice");
	ld->seen[lblk / 8] |= (uint8_t)(1u << lblk % 8);
	if (hash < ld->hash)
		return dafs_dir_corrupt(ld->dir, parent, "index hashes out of order");
	ld->hash = hash;
	if (!depth) {
		err = dafs_array_grow(&dx->leaves, dx->nleaves, &ld->leaves_room,
				      sizeof(*dx->leaves));
		if (err)
			return err;
		dx->leaves[dx->nleaves++] = (struct dafs_dx_leaf){
			hash, lblk, dx->nnodes[0] ? (uint32_t)dx->nnodes[0] - 1 : 0 };
		return 0;
	}
	err = dafs_array_grow(&dx->nodes[depth - 1], dx->nnodes[depth - 1],
			      &ld->nodes_room[depth - 1], sizeof(**dx->nodes));
	if (err)
		return err;
	dx->nodes[depth - 1][dx->nnodes[depth - 1]++] = (struct dafs_dx_node){
		lblk, depth == 1 && dx->nnodes[1] ? (uint32_t)dx->nnodes[1] - 1 : 0, 0 };
	return 0;
}

/* An index block and everything below; recursion is as deep as the index, at most three. */
static errcode_t load_index(struct loader *ld, uint32_t lblk, uint32_t hash, unsigned depth)
{
	struct dafs_dx_entry *entries;
	uint32_t count;
	errcode_t err;

	err = read_index(ld->dir, lblk, ld->bufs + (size_t)depth * ld->dir->img->block_size,
			 &entries, &count);
	for (uint32_t i = 0; i < count && !err; i++) {
		uint32_t child = entries[i].lblk & DAFS_DX_LBLK_MASK,
			 key = i ? entries[i].hash : hash;

		err = load_child(ld, lblk, child, key, depth);
		if (!err && depth)
			err = load_index(ld, child, key, depth - 1);
	}
	return err;
}

errcode_t dafs_dx_load(struct dafs_dir *dir, struct dafs_dx *dx)
{
	enum dafs_dirblock_kind root = DAFS_DIRBLOCK_ROOT;
	struct loader ld = { .dir = dir, .dx = dx };
	struct dafs_dx_info info;
	errcode_t err;

	memset(dx, 0, sizeof(*dx));
	ld.bufs = malloc(3 * (size_t)dir->img->block_size);
	ld.seen = calloc(1, (size_t)dir->nblks / 8 + 1);
	if (!ld.bufs || !ld.seen) {
		err = ENOMEM;
		goto out;
	}
	err = dafs_dir_read(dir, 0, &root, ld.bufs, NULL);
	if (!err)
		err = root_info(dir, ld.bufs, &info);
	if (err)
		goto out;
	dx->levels = info.levels;
	dx->hash_version = info.hash_version;
	err = load_index(&ld, 0, 0, info.levels);
out:
	free(ld.bufs);
	free(ld.seen);
	if (err)
		dafs_dx_fini(dx);
	return err;
}

size_t dafs_dx_find(const struct dafs_dx *dx, uint32_t hash)
{
	size_t lo = 0, hi = dx->nleaves;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (dx->leaves[mid].hash <= hash)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

bool dafs_dx_continues(const struct dafs_dx *dx, size_t i, uint32_t hash)
{
	return i < dx->nleaves && (dx->leaves[i].hash & ~1u) == hash;
}

/* ---- one path ---- */

struct step {
	uint8_t *buf;
	struct dafs_dx_entry *entries;
	uint32_t count;
	uint32_t at;
};

struct path {
	struct dafs_dir *dir;
	struct step steps[3];
	unsigned levels;
	uint8_t *leaf;
};

static uint32_t find_entry(const struct step *step, uint32_t hash)
{
	uint32_t lo = 0, hi = step->count;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (step->entries[mid].hash <= hash)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* Fill the steps below from on: at their first entry, or (hash) where it belongs. */
static errcode_t descend(struct path *path, unsigned from, const uint32_t *hash)
{
	errcode_t err = 0;

	for (unsigned i = from; i <= path->levels && !err; i++) {
		struct step *step = &path->steps[i], *above = step - 1;
		uint32_t lblk = i ? above->entries[above->at].lblk & DAFS_DX_LBLK_MASK : 0;

		if (i && !lblk)
			return dafs_dir_corrupt(path->dir, 0, "index");
		err = read_index(path->dir, lblk, step->buf, &step->entries, &step->count);
		if (!err)
			step->at = hash ? find_entry(step, *hash) : 0;
	}
	return err;
}

/* To the next leaf when names of hash go on there. */
static errcode_t next_leaf(struct path *path, uint32_t hash, bool *more)
{
	unsigned i = path->levels;

	*more = false;
	while (++path->steps[i].at == path->steps[i].count) {
		if (!i--)
			return 0;
	}
	if ((path->steps[i].entries[path->steps[i].at].hash & ~1u) != hash)
		return 0;
	*more = true;
	return descend(path, i + 1, NULL);
}

static errcode_t path_open(struct path *path, struct dafs_dir *dir, struct dafs_dirhash *dh)
{
	enum dafs_dirblock_kind root = DAFS_DIRBLOCK_ROOT;
	size_t block_size = dir->img->block_size;
	struct dafs_dx_info info;
	errcode_t err;

	memset(path, 0, sizeof(*path));
	path->dir = dir;
	path->leaf = malloc(4 * block_size);
	if (!path->leaf)
		return ENOMEM;
	for (int i = 0; i < 3; i++)
		path->steps[i].buf = path->leaf + (size_t)(i + 1) * block_size;
	err = dafs_dir_read(dir, 0, &root, path->leaf, NULL);
	if (!err)
		err = root_info(dir, path->leaf, &info);
	if (!err)
		err = dafs_dirhash_init(dir->img, dir->iflags, info.hash_version, dh);
	if (!err)
		path->levels = info.levels;
	return err;
}

errcode_t dafs_dx_walk(struct dafs_dir *dir, const char *name, size_t len,
		       errcode_t (*fn)(void *arg, uint32_t lblk, const uint8_t *buf, bool *stop),
		       void *arg)
{
	enum dafs_dirblock_kind want = DAFS_DIRBLOCK_LEAF;
	uint32_t hash, minor, visited = 0;
	struct dafs_dirhash dh;
	struct path path;
	bool stop = false, more = true;
	errcode_t err = path_open(&path, dir, &dh);

	if (!err)
		err = dafs_dirhash_name(&dh, name, len, &hash, &minor);
	if (!err)
		err = descend(&path, 0, &hash);
	while (!err && more && !stop) {
		const struct step *last = &path.steps[path.levels];
		uint32_t lblk = last->entries[last->at].lblk & DAFS_DX_LBLK_MASK;

		/* A damaged index may lead in circles. */
		if (visited++ == dir->nblks) {
			err = dafs_dir_corrupt(dir, lblk, "index leads in circles");
			break;
		}
		err = dafs_dir_read(dir, lblk, &want, path.leaf, NULL);
		if (!err)
			err = fn(arg, lblk, path.leaf, &stop);
		if (!err && !stop)
			err = next_leaf(&path, hash, &more);
	}
	free(path.leaf);
	return err;
}
