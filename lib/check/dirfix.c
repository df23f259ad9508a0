/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirfix - directories changed by name: an entry forgotten, a name added, .. set, a directory made.
 *
 * These work on the directory as it lies in the image at that moment (what earlier repairs made of
 * it), block by block, and on linear directories: an index that a new name would have to be in is
 * dropped first and built anew by reindex.c. What they change is counted in the next round.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/dirblock.h"
#include "image/icodec.h"
#include "image/xattr_int.h"

#define ENTRY_MIN 12u

/* A directory that is gone through. */
struct walk {
	struct dafs_ck *ck;
	uint32_t ino, seed;
	struct ext2_inode_large *raw;
	struct dafs_ck_flat flat;
};

static errcode_t walk_open(struct walk *d, struct dafs_ck *ck, uint32_t ino)
{
	*d = (struct walk){ .ck = ck, .ino = ino, .raw = dafs_ck_raw_alloc(ck) };
	if (!d->raw)
		return ENOMEM;
	if (!dafs_ck_read_inode(ck->main, ino, d->raw))
		return ck->main->err ? ck->main->err : EIO;
	d->seed = dafs_icodec_seed(&ck->img, ino, d->raw->i_generation);
	if (d->raw->i_flags & EXT4_INLINE_DATA_FL)
		return 0;
	return dafs_ck_flat_read(ck, ino, d->raw, &d->flat);
}

static void walk_close(struct walk *d)
{
	dafs_ck_flat_fini(&d->flat);
	free(d->raw);
}

static uint32_t leaf_room(const struct dafs_ck *ck)
{
	return ck->g.block_size - (ck->g.csum ? DAFS_DIR_TAIL_BYTES : 0);
}

static uint32_t entry_len(const struct dafs_ck *ck, const struct dafs_dirent_disk *de)
{
	return dafs_dirblock_len(ck->g.block_size, de->rec_len);
}

static bool entry_ok(const struct dafs_ck *ck, const uint8_t *buf, uint32_t off, uint32_t room)
{
	const struct dafs_dirent_disk *de;
	uint32_t len;

	if (off + sizeof(*de) > room)
		return false;
	de = (const void *)(buf + off);
	len = entry_len(ck, de);
	return len >= sizeof(*de) && len % 4 == 0 && len <= room - off &&
	       sizeof(*de) + de->name_len <= len;
}

/* ---- leaves ---- */

static void put_entry(const struct dafs_ck *ck, uint8_t *at, uint32_t ino, const char *name,
		      uint8_t len, unsigned type, uint32_t rec_len)
{
	struct dafs_dirent_disk *de = (struct dafs_dirent_disk *)at;

	memset(de, 0, sizeof(*de));
	de->ino = ino;
	de->rec_len = dafs_dirblock_store_len(ck->g.block_size, rec_len);
	de->name_len = len;
	de->file_type = ck->g.filetype ? (uint8_t)type : 0;
	memcpy(de->name, name, len);
}

void dafs_ck_leaf_make(const struct dafs_ck *ck, uint32_t dir, uint32_t generation, bool dots,
		       uint32_t parent, uint8_t *buf)
{
	uint32_t room = leaf_room(ck);

	memset(buf, 0, ck->g.block_size);
	if (dots) {
		put_entry(ck, buf, dir, ".", 1, EXT2_FT_DIR, ENTRY_MIN);
		put_entry(ck, buf + ENTRY_MIN, parent, "..", 2, EXT2_FT_DIR, room - ENTRY_MIN);
	} else {
		put_entry(ck, buf, 0, "", 0, 0, room);
	}
	dafs_dirblock_csum_set(&ck->img, dafs_icodec_seed(&ck->img, dir, generation),
			       DAFS_DIRBLOCK_LEAF, buf);
}

/* Put the name where a leaf has room for it. */
static bool leaf_add(struct dafs_ck *ck, uint8_t *buf, uint32_t room, const char *name, uint8_t len,
		     uint32_t ino, unsigned type)
{
	uint32_t need = dafs_dirblock_need(len);

	for (uint32_t off = 0; entry_ok(ck, buf, off, room);) {
		struct dafs_dirent_disk *de = (struct dafs_dirent_disk *)(buf + off);
		uint32_t have = entry_len(ck, de),
			 used = de->ino ? dafs_dirblock_need(de->name_len) : 0;

		if (have >= used + need) {
			if (used)
				de->rec_len = dafs_dirblock_store_len(ck->g.block_size, used);
			put_entry(ck, buf + off + used, ino, name, len, type, have - used);
			return true;
		}
		off += have;
	}
	return false;
}

/* What is looked for: a name, or (name NULL) an entry of an inode that is not . or .. */
struct wanted {
	const char *name;
	uint8_t len;
	uint32_t ino;
};

static bool is_wanted(const struct wanted *x, const struct dafs_dirent_disk *de)
{
	if (!de->ino)
		return false;
	if (x->name)
		return de->name_len == x->len && !memcmp(de->name, x->name, x->len);
	return de->ino == x->ino && !(de->name_len <= 2 && !memcmp(de->name, "..", de->name_len));
}

/* The offset of the entry in a chain; room: it is not there. */
static uint32_t chain_find(const struct dafs_ck *ck, const uint8_t *buf, uint32_t off,
			   uint32_t room, const struct wanted *x)
{
	while (entry_ok(ck, buf, off, room)) {
		const struct dafs_dirent_disk *de = (const void *)(buf + off);

		if (is_wanted(x, de))
			return off;
		off += entry_len(ck, de);
	}
	return room;
}

/* ---- inline directories ---- */

struct chains {
	uint8_t *buf[2];
	uint32_t first[2], room[2];
};

static void inline_chains(const struct walk *d, struct chains *c)
{
	uint32_t extra = 0;
	const uint8_t *value = dafs_ck_xattr_find(d->ck, d->raw, DAFS_XATTR_SYSTEM, "data", &extra);

	c->buf[0] = (uint8_t *)d->raw->i_block;
	c->first[0] = EXT4_INLINE_DATA_DOTDOT_SIZE;
	c->room[0] = sizeof(d->raw->i_block);
	c->buf[1] = (uint8_t *)(uintptr_t)value;
	c->first[1] = 0;
	c->room[1] = value ? extra & ~3u : 0;
}

/* An inline directory gets a block, with all its names. */
static errcode_t leave_inline(struct walk *d)
{
	struct dafs_ck *ck = d->ck;
	uint64_t pblk = dafs_ck_take(ck, dafs_ck_goal(ck, d->ino), 1);
	uint8_t *buf = ck->main->level[0];
	struct dafs_extlist xl = { 0 };
	struct chains c;
	errcode_t err;

	if (!pblk)
		return ENOSPC;
	inline_chains(d, &c);
	dafs_ck_leaf_make(ck, d->ino, d->raw->i_generation, true, d->raw->i_block[0], buf);
	for (unsigned i = 0; i < 2; i++) {
		for (uint32_t off = c.first[i]; entry_ok(ck, c.buf[i], off, c.room[i]);) {
			const struct dafs_dirent_disk *de = (const void *)(c.buf[i] + off);

			if (de->ino)
				leaf_add(ck, buf, leaf_room(ck), de->name, de->name_len, de->ino,
					 de->file_type);
			off += entry_len(ck, de);
		}
	}
	dafs_dirblock_csum_set(&ck->img, d->seed, DAFS_DIRBLOCK_LEAF, buf);
	err = dafs_ck_write(ck->main, pblk, buf);
	if (err || !dafs_ck_flat_add(&xl, 0, pblk, 1, false))
		return err ? err : ENOMEM;
	/* The attribute that held the rest stays behind empty-handed: it goes with the flag. */
	dafs_ck_xattr_drop(ck, d->raw, DAFS_XATTR_SYSTEM, "data");
	d->raw->i_flags &= ~(uint32_t)EXT4_INLINE_DATA_FL;
	if (ck->g.extents)
		d->raw->i_flags |= EXT4_EXTENTS_FL;
	memset(d->raw->i_block, 0, sizeof(d->raw->i_block));
	d->raw->i_size = ck->g.block_size;
	d->raw->i_size_high = 0;
	err = dafs_ck_flat_write(ck, d->ino, d->raw, &xl);
	dafs_extlist_fini(&xl);
	return err ? err : dafs_ck_flat_read(ck, d->ino, d->raw, &d->flat);
}

/* ---- indexes ---- */

bool dafs_ck_root_alone(const struct dafs_ck *ck, const uint8_t *buf)
{
	const struct dafs_dirent_disk *dot = (const void *)buf,
				      *dotdot = (const void *)(buf + ENTRY_MIN);

	return entry_len(ck, dot) == ENTRY_MIN &&
	       ENTRY_MIN + entry_len(ck, dotdot) >= leaf_room(ck);
}

bool dafs_ck_linearise(const struct dafs_ck *ck, uint32_t seed, bool root, uint8_t *buf)
{
	uint32_t room = leaf_room(ck), keep = root ? DAFS_DIR_DOTS_BYTES : 0;
	struct dafs_dirent_disk *last = (struct dafs_dirent_disk *)(buf + (root ? ENTRY_MIN : 0));

	if (root && !dafs_ck_root_alone(ck, buf))
		return false;
	memset(buf + keep, 0, ck->g.block_size - keep);
	last->rec_len = dafs_dirblock_store_len(ck->g.block_size, room - (root ? ENTRY_MIN : 0));
	dafs_dirblock_csum_set(&ck->img, seed, DAFS_DIRBLOCK_LEAF, buf);
	return true;
}

/* Root and nodes of an index become leaves without names. */
static errcode_t drop_index(struct walk *d)
{
	struct dafs_ck *ck = d->ck;
	uint8_t *buf = ck->main->level[0];
	uint32_t *ino;
	errcode_t err = 0;

	for (size_t i = 0; i < d->flat.xl.n && !err; i++) {
		const struct dafs_extent *e = &d->flat.xl.v[i];

		for (uint32_t b = 0; b < e->len && !err; b++) {
			bool root = !(e->lblk + b);

			err = dafs_ck_read(ck->main, e->pblk + b, 1, buf);
			if (err || (!root && !dafs_dirblock_looks_node(&ck->img, buf)))
				continue;
			if (dafs_ck_linearise(ck, d->seed, root, buf))
				err = dafs_ck_write(ck->main, e->pblk + b, buf);
		}
	}
	d->raw->i_flags &= ~(uint32_t)EXT2_INDEX_FL;
	if (!err)
		err = dafs_ck_write_inode(ck->main, d->ino, d->raw);
	ino = dafs_ck_vec_add(&ck->lost_index, sizeof(*ino));
	if (!ino)
		return ENOMEM;
	*ino = d->ino;
	return err;
}

/* ---- names ---- */

/* One more block at the end, with this name in it. */
static errcode_t grow(struct walk *d, const char *name, uint8_t len, uint32_t ino, unsigned type)
{
	struct dafs_ck *ck = d->ck;
	uint32_t n = d->flat.xl.n, lblk = n ? dafs_extent_end(&d->flat.xl.v[n - 1]) : 0;
	uint64_t pblk = dafs_ck_dir_blk(ck, d->ino, &d->flat.xl, lblk), size;
	uint8_t *buf = ck->main->level[0];
	struct dafs_extlist xl = { 0 };
	errcode_t err = 0;

	if (!pblk)
		return ENOSPC;
	dafs_ck_leaf_make(ck, d->ino, d->raw->i_generation, !lblk, EXT2_ROOT_INO, buf);
	leaf_add(ck, buf, leaf_room(ck), name, len, ino, type);
	dafs_dirblock_csum_set(&ck->img, d->seed, DAFS_DIRBLOCK_LEAF, buf);
	err = dafs_ck_write(ck->main, pblk, buf);
	for (size_t i = 0; i < n && !err; i++) {
		const struct dafs_extent *e = &d->flat.xl.v[i];

		err = dafs_extlist_append(&xl, e->pblk, e->lblk, e->len, false);
	}
	if (!err)
		err = dafs_extlist_append(&xl, pblk, lblk, 1, false);
	size = (uint64_t)(lblk + 1) << ck->g.block_bits;
	d->raw->i_size = (uint32_t)size;
	if (ck->g.large_dir)
		d->raw->i_size_high = (uint32_t)(size >> 32);
	if (!err)
		err = dafs_ck_flat_replace(ck, d->ino, d->raw, &d->flat, &xl);
	dafs_extlist_fini(&xl);
	return err;
}

static errcode_t add_to_blocks(struct walk *d, const char *name, uint8_t len, uint32_t ino,
			       unsigned type, bool *added)
{
	struct dafs_ck *ck = d->ck;
	uint8_t *buf = ck->main->level[0];
	errcode_t err = 0;

	/* From the end: that is where the room is as a rule. */
	for (size_t i = d->flat.xl.n; i-- > 0 && !*added && !err;) {
		const struct dafs_extent *e = &d->flat.xl.v[i];

		for (uint32_t b = e->len; b-- > 0 && !*added && !err;) {
			err = dafs_ck_read(ck->main, e->pblk + b, 1, buf);
			if (err || !leaf_add(ck, buf, leaf_room(ck), name, len, ino, type))
				continue;
			*added = true;
			dafs_dirblock_csum_set(&ck->img, d->seed, DAFS_DIRBLOCK_LEAF, buf);
			err = dafs_ck_write(ck->main, e->pblk + b, buf);
		}
	}
	return err;
}

errcode_t dafs_ck_dir_add(struct dafs_ck *ck, uint32_t dir, const char *name, uint8_t len,
			  uint32_t ino, unsigned type)
{
	struct walk d;
	bool added = false;
	errcode_t err = walk_open(&d, ck, dir);

	if (!err && d.raw->i_flags & EXT4_INLINE_DATA_FL)
		err = leave_inline(&d);
	if (!err && d.raw->i_flags & EXT2_INDEX_FL)
		err = drop_index(&d);
	if (!err)
		err = add_to_blocks(&d, name, len, ino, type, &added);
	if (!err && !added)
		err = grow(&d, name, len, ino, type);
	walk_close(&d);
	ck->again = true;
	return err;
}

static void find_inline(const struct walk *d, const struct wanted *x, struct dafs_ck_claim *claim)
{
	struct chains c;

	inline_chains(d, &c);
	for (unsigned i = 0; i < 2 && !claim->child; i++) {
		uint32_t off = chain_find(d->ck, c.buf[i], c.first[i], c.room[i], x);

		if (off < c.room[i])
			*claim = (struct dafs_ck_claim){ *(const uint32_t *)(c.buf[i] + off),
							 d->ino, 0, i, off };
	}
}

static errcode_t find(struct dafs_ck *ck, uint32_t dir, const struct wanted *x,
		      struct dafs_ck_claim *claim)
{
	uint8_t *buf = ck->main->level[0];
	uint32_t room = ck->g.block_size, off;
	struct walk d;
	errcode_t err = walk_open(&d, ck, dir);

	*claim = (struct dafs_ck_claim){ 0 };
	if (!err && d.raw->i_flags & EXT4_INLINE_DATA_FL)
		find_inline(&d, x, claim);
	for (size_t i = 0; i < d.flat.xl.n && !err && !claim->child; i++) {
		const struct dafs_extent *e = &d.flat.xl.v[i];

		for (uint32_t b = 0; b < e->len && !err && !claim->child; b++) {
			err = dafs_ck_read(ck->main, e->pblk + b, 1, buf);
			off = chain_find(ck, buf, 0, room, x);
			if (!err && off < room)
				*claim =
					(struct dafs_ck_claim){ *(const uint32_t *)(buf + off), dir,
								e->pblk + b, e->lblk + b, off };
		}
	}
	walk_close(&d);
	return err;
}

errcode_t dafs_ck_dir_find(struct dafs_ck *ck, uint32_t dir, const char *name, uint8_t len,
			   struct dafs_ck_claim *claim)
{
	return find(ck, dir, &(struct wanted){ name, len, 0 }, claim);
}

errcode_t dafs_ck_dir_find_ino(struct dafs_ck *ck, uint32_t dir, uint32_t ino,
			       struct dafs_ck_claim *claim)
{
	return find(ck, dir, &(struct wanted){ NULL, 0, ino }, claim);
}

static errcode_t chain_names(const struct dafs_ck *ck, const uint8_t *buf, uint32_t off,
			     uint32_t room, uint64_t (*key)(const char *name, size_t len),
			     struct dafs_ck_map *names)
{
	while (entry_ok(ck, buf, off, room)) {
		const struct dafs_dirent_disk *de = (const void *)(buf + off);

		if (de->ino && !dafs_ck_map_put(names, key(de->name, de->name_len), NULL))
			return ENOMEM;
		off += entry_len(ck, de);
	}
	return 0;
}

errcode_t dafs_ck_dir_names(struct dafs_ck *ck, uint32_t dir,
			    uint64_t (*key)(const char *name, size_t len),
			    struct dafs_ck_map *names)
{
	uint8_t *buf = ck->main->level[0];
	struct walk d;
	struct chains c = { 0 };
	errcode_t err = walk_open(&d, ck, dir);

	if (!err && d.raw->i_flags & EXT4_INLINE_DATA_FL)
		inline_chains(&d, &c);
	for (unsigned i = 0; i < 2 && !err; i++)
		err = chain_names(ck, c.buf[i], c.first[i], c.room[i], key, names);
	for (size_t i = 0; i < d.flat.xl.n && !err; i++) {
		const struct dafs_extent *e = &d.flat.xl.v[i];

		for (uint32_t b = 0; b < e->len && !err; b++) {
			err = dafs_ck_read(ck->main, e->pblk + b, 1, buf);
			if (!err)
				err = chain_names(ck, buf, 0, ck->g.block_size, key, names);
		}
	}
	walk_close(&d);
	return err;
}

errcode_t dafs_ck_entry_clear(struct dafs_ck *ck, const struct dafs_ck_claim *claim)
{
	uint8_t *buf = ck->main->level[0];
	struct walk d;
	struct chains c;
	errcode_t err = walk_open(&d, ck, claim->dir);

	if (err)
		goto out;
	if (!claim->pblk) {
		inline_chains(&d, &c);
		*(uint32_t *)(c.buf[claim->lblk] + claim->off) = 0;
		dafs_ck_xattr_rehash(ck, d.raw);
		err = dafs_ck_write_inode(ck->main, claim->dir, d.raw);
		goto out;
	}
	err = dafs_ck_read(ck->main, claim->pblk, 1, buf);
	if (err)
		goto out;
	*(uint32_t *)(buf + claim->off) = 0;
	dafs_dirblock_csum_set(&ck->img, d.seed, DAFS_DIRBLOCK_LEAF, buf);
	err = dafs_ck_write(ck->main, claim->pblk, buf);
out:
	walk_close(&d);
	return err;
}

/* ---- .. ---- */

errcode_t dafs_ck_dotdot_set(struct dafs_ck *ck, struct dafs_ck_dir *dir, uint32_t parent)
{
	uint8_t *buf = ck->main->level[0];
	enum dafs_dirblock_kind kind = DAFS_DIRBLOCK_LEAF;
	struct walk d;
	uint32_t off;
	errcode_t err = walk_open(&d, ck, dir->ino);

	if (err)
		goto out;
	if (d.raw->i_flags & EXT4_INLINE_DATA_FL) {
		d.raw->i_block[0] = parent;
		err = dafs_ck_write_inode(ck->main, dir->ino, d.raw);
		goto out;
	}
	if (!d.flat.xl.n || d.flat.xl.v[0].lblk)
		goto out;
	err = dafs_ck_read(ck->main, d.flat.xl.v[0].pblk, 1, buf);
	if (err || !entry_ok(ck, buf, 0, ck->g.block_size))
		goto out;
	off = entry_len(ck, (const struct dafs_dirent_disk *)buf);
	if (!entry_ok(ck, buf, off, ck->g.block_size))
		goto out;
	*(uint32_t *)(buf + off) = parent;
	if (ck->g.dir_index && d.raw->i_flags & EXT2_INDEX_FL)
		kind = DAFS_DIRBLOCK_ROOT;
	dafs_dirblock_csum_set(&ck->img, d.seed, kind, buf);
	err = dafs_ck_write(ck->main, d.flat.xl.v[0].pblk, buf);
out:
	walk_close(&d);
	dir->dotdot = parent;
	ck->again = true;
	return err;
}

/* ---- new directories ---- */

errcode_t dafs_ck_dir_make(struct dafs_ck *ck, uint32_t *ino, uint32_t parent, uint16_t mode)
{
	struct ext2_inode_large *raw = dafs_ck_raw_alloc(ck);
	struct dafs_extlist xl = { 0 };
	uint64_t pblk;
	errcode_t err = raw ? 0 : ENOMEM;

	if (!err && !*ino)
		err = dafs_ck_take_inode(ck, ino);
	if (err || !*ino) {
		free(raw);
		return err ? err : ENOSPC;
	}
	pblk = dafs_ck_take(ck, dafs_ck_goal(ck, *ino), 1);
	if (!pblk || !dafs_ck_flat_add(&xl, 0, pblk, 1, false)) {
		err = pblk ? ENOMEM : ENOSPC;
		goto out;
	}
	raw->i_mode = LINUX_S_IFDIR | mode;
	raw->i_links_count = 2;
	raw->i_size = ck->g.block_size;
	raw->i_atime = raw->i_ctime = raw->i_mtime = (uint32_t)ck->ctx->now_sec;
	if (ck->g.extents)
		raw->i_flags = EXT4_EXTENTS_FL;
	if (ck->g.inode_size > EXT2_GOOD_OLD_INODE_SIZE) {
		raw->i_extra_isize = ck->sb.s_want_extra_isize;
		raw->i_crtime = raw->i_ctime;
	}
	dafs_ck_leaf_make(ck, *ino, 0, true, parent ? parent : *ino, ck->main->level[0]);
	err = dafs_ck_write(ck->main, pblk, ck->main->level[0]);
	if (!err)
		err = dafs_ck_flat_write(ck, *ino, raw, &xl);
	if (!err)
		err = dafs_ck_bitmap_inode(ck, *ino, true, true);
	ck->again = true;
out:
	dafs_extlist_fini(&xl);
	free(raw);
	return err;
}
