/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dir - one directory: its blocks, the chain of entries in each, every entry against the inode it
 * names.
 *
 * What a sound directory says is staged (references, subdirectories, its parent) and published by
 * pass2.c. Entries are judged in the order: length, . and .., inode number, name, the inode's
 * state, type, encryption. A repair changes the block in memory; it is written once, with its
 * checksum, when its last entry was looked at.
 *
 * Invariant: entries are only read where a sound length says there is one.
 */
#include "config.h"

#include "check/dir_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/icodec.h"

#define NEAR_BLKS 4u /* between directories: read over */

/* ---- chains of entries ---- */

static bool length_ok(const struct dafs_ck_look *l, uint32_t off)
{
	const struct dafs_dirent_disk *de = dafs_ck_entry(l, off);
	uint32_t len, need = DAFS_CK_ENTRY_MIN;

	if (off + sizeof(*de) > l->room)
		return false;
	len = dafs_ck_entry_len(l, de);
	if (de->name_len || de->ino)
		need = dafs_dirblock_need(de->name_len) +
		       (l->in_entry_hash && l->dot_state > 1 ? 8 : 0);
	if (need < DAFS_CK_ENTRY_MIN)
		need = DAFS_CK_ENTRY_MIN;
	return len >= need && len % 4 == 0 && off + len <= l->room;
}

/* Put the chain in order at off, where the length is wrong; before: offset of the entry in front,
 * ~0: none. True: look at off again; false: it was swallowed, *off moved on. */
static bool salvage(struct dafs_ck_look *l, uint32_t *off, uint32_t before)
{
	struct dafs_dirent_disk *de = dafs_ck_entry(l, *off);
	uint32_t left = l->room - *off, len = left >= sizeof(*de) ? dafs_ck_entry_len(l, de) : 0;

	l->changed = true;
	/* An entry of 8 bytes with room behind it: close the gap. */
	if (len == 8 && left >= 8 + DAFS_CK_ENTRY_MIN) {
		memmove(de, (uint8_t *)de + 8, left - 8);
		memset((uint8_t *)de + left - 8, 0, 8);
		return true;
	}
	/* Only its end is wrong: the name fits, the number is possible. */
	if (len > left && left >= DAFS_CK_ENTRY_MIN && left % 4 == 0 &&
	    sizeof(*de) + de->name_len <= left && de->name_len && de->ino <= l->w->ck->g.inodes &&
	    strnlen(de->name, de->name_len) == de->name_len) {
		dafs_ck_entry_set_len(l, de, left);
		return true;
	}
	if (before != ~0u) {
		struct dafs_dirent_disk *prev = dafs_ck_entry(l, before);
		uint32_t take = len && len % 4 == 0 && len <= left ? len : left;

		dafs_ck_entry_set_len(l, prev, dafs_ck_entry_len(l, prev) + take);
		*off += take;
		return false;
	}
	if (left >= DAFS_CK_ENTRY_MIN) {
		memset(de, 0, sizeof(*de));
		dafs_ck_entry_set_len(l, de, left);
		return true;
	}
	*off = l->room;
	return false;
}

/* All entries of [off, room) of the block. */
static void look_chain(struct dafs_ck_look *l, uint32_t off)
{
	uint32_t before = ~0u;
	struct dafs_ck_worker *w = l->w;

	while (off < l->room && !w->err) {
		struct dafs_dirent_disk *de = dafs_ck_entry(l, off);

		if (!length_ok(l, off)) {
			if (!DAFS_CK_FIND(w, DIR_CORRUPT, .ino = l->dir->ino, .lblk = l->lblk,
					  .blk = l->pblk, .off = off))
				return;
			salvage(l, &off, before);
			continue;
		}
		if (l->dot_state == 0)
			dafs_ck_look_dot(l, off);
		else if (l->dot_state == 1)
			dafs_ck_look_dotdot(l, off);
		else if (de->ino == l->dir->ino && DAFS_CK_FIND_ENTRY(l, ENT_DOT, off)) {
			de->ino = 0;
			l->changed = true;
		}
		if (de->ino && dafs_ck_look_entry(l, off)) {
			de->ino = 0;
			l->changed = true;
		}
		/* In a scan one complaint is enough: all of it comes up again. */
		if (w->scan && w->put_off)
			return;
		before = off;
		off += dafs_ck_entry_len(l, de);
		if (l->dot_state < 2)
			l->dot_state++;
	}
}

/* ---- blocks ---- */

static enum dafs_dirblock_kind disk_kind(const struct dafs_ck_look *l)
{
	return l->kind == DAFS_CK_DX_ROOT   ? DAFS_DIRBLOCK_ROOT
	       : l->kind == DAFS_CK_DX_NODE ? DAFS_DIRBLOCK_NODE
					    : DAFS_DIRBLOCK_LEAF;
}

/* Does the leaf end with the entry that carries the checksum? */
static bool has_tail(const struct dafs_ck *ck, const uint8_t *buf)
{
	const struct ext2_dir_entry_tail *tail =
		(const void *)(buf + ck->g.block_size - sizeof(*tail));

	return !tail->det_reserved_zero1 && tail->det_rec_len == sizeof(*tail) &&
	       tail->det_reserved_name_len == EXT2_DIR_NAME_LEN_CSUM;
}

/* A block that was written without checksums: its last entry makes room for the one that carries
 * the checksum, if it has that to spare. */
static void shorten_last(struct dafs_ck_look *l)
{
	const uint32_t bs = l->w->ck->g.block_size, room = l->room;
	uint32_t off = 0, need, len;

	l->room = bs;
	while (length_ok(l, off) && off + dafs_ck_entry_len(l, dafs_ck_entry(l, off)) < bs)
		off += dafs_ck_entry_len(l, dafs_ck_entry(l, off));
	if (length_ok(l, off)) {
		struct dafs_dirent_disk *de = dafs_ck_entry(l, off);

		need = dafs_dirblock_need(de->ino ? de->name_len : 1) + (l->in_entry_hash ? 8 : 0);
		len = dafs_ck_entry_len(l, de);
		if (off + len == bs && len >= need + DAFS_DIR_TAIL_BYTES)
			de->rec_len = dafs_dirblock_store_len(bs, len - DAFS_DIR_TAIL_BYTES);
	}
	l->room = room;
}

/* Checksum of the block. True: it fails (and a leaf's own complaint waits until its entries were
 * looked at). */
static bool look_csum(struct dafs_ck_look *l)
{
	struct dafs_ck_worker *w = l->w;
	const struct dafs_ck *ck = w->ck;

	if (!ck->g.csum || dafs_dirblock_csum_ok(&ck->img, l->seed, disk_kind(l), l->buf))
		return false;
	if (l->kind != DAFS_CK_DX_LEAF) {
		bool root = l->kind == DAFS_CK_DX_ROOT;

		if (root ? DAFS_CK_FIND(w, HT_ROOT_CSUM, .ino = l->dir->ino)
			 : DAFS_CK_FIND(w, HT_NODE_CSUM, .ino = l->dir->ino, .lblk = l->lblk))
			l->dx->bad = true;
		return false;
	}
	if (has_tail(ck, l->buf))
		return true;
	if (DAFS_CK_FIND(w, DIR_NO_CSUM, .ino = l->dir->ino, .lblk = l->lblk, .blk = l->pblk)) {
		shorten_last(l);
		l->changed = true;
	} else {
		l->room = ck->g.block_size;
	}
	return false;
}

static void finish_block(struct dafs_ck_look *l, bool csum_bad)
{
	struct dafs_ck_worker *w = l->w;
	struct dafs_ck *ck = w->ck;

	if (csum_bad && !l->changed &&
	    DAFS_CK_FIND(w, DIR_CSUM, .ino = l->dir->ino, .lblk = l->lblk, .blk = l->pblk))
		l->changed = true;
	if (!l->changed || w->err)
		return;
	/* An index that is given up leaves its root and nodes behind as leaves: the repair of the
	 * index writes them. */
	dafs_dirblock_csum_set(&ck->img, l->seed, disk_kind(l), l->buf);
	w->err = dafs_ck_write(w, l->pblk, l->buf);
}

static void look_block(struct dafs_ck_look *l)
{
	const struct dafs_ck *ck = l->w->ck;
	bool csum_bad;

	l->changed = false;
	l->dot_state = l->lblk ? 2 : 0;
	l->kind = l->dx ? dafs_ck_dx_kind(ck, l->dx, l->lblk, l->buf) : DAFS_CK_DX_LEAF;
	l->room = ck->g.block_size;
	if (l->kind == DAFS_CK_DX_LEAF && ck->g.csum)
		l->room -= DAFS_DIR_TAIL_BYTES;
	if (l->dx && l->lblk < l->dx->nblks) {
		l->dx->blks[l->lblk].kind = (uint8_t)l->kind;
		dafs_ck_map_reset(&l->w->names);
	}
	/* A node of an index that was given up further in front. */
	if (l->dx && l->dx->bad && l->lblk && ck->fixing && !l->w->scan &&
	    dafs_dirblock_looks_node(&ck->img, l->buf))
		l->changed = dafs_ck_linearise(ck, l->seed, false, l->buf);
	csum_bad = look_csum(l);
	if (l->kind != DAFS_CK_DX_LEAF && !l->dx->bad)
		dafs_ck_dx_block(l->w, l->dir, l->dx, l->lblk, l->buf);
	/* Names behind the dots: the directory has no index, whatever its flag says. */
	if (l->kind == DAFS_CK_DX_ROOT && l->dx->bad && !dafs_ck_root_alone(ck, l->buf)) {
		l->kind = DAFS_CK_DX_LEAF;
		l->dx->blks[0].kind = DAFS_CK_DX_LEAF;
		l->room -= ck->g.csum ? DAFS_DIR_TAIL_BYTES : 0;
		csum_bad = look_csum(l);
	}
	look_chain(l, 0);
	if (l->kind != DAFS_CK_DX_LEAF && l->dx->bad &&
	    dafs_ck_linearise(ck, l->seed, !l->lblk, l->buf)) {
		l->kind = DAFS_CK_DX_LEAF;
		l->dx->blks[l->lblk].kind = DAFS_CK_DX_LEAF;
		l->changed = true;
	}
	finish_block(l, csum_bad);
}

/* The index was given up: what blocks of it are left become leaves, and the flag goes. */
static void drop_index(struct dafs_ck_look *l)
{
	struct dafs_ck_worker *w = l->w;
	struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = dafs_ck_raw_alloc(ck);
	uint32_t *lost = dafs_ck_vec_add(&ck->lost_index, sizeof(*lost));

	if (!raw || !lost) {
		w->err = ENOMEM;
		free(raw);
		return;
	}
	*lost = l->dir->ino;
	for (uint32_t i = 0; i < l->dir->ndext && !w->err; i++) {
		struct dafs_ck_dext run = ck->dexts[l->dir->dext + i];

		for (uint32_t b = 0; run.pblk && b < run.len && !w->err; b++) {
			uint32_t lblk = run.lblk + b;

			if (l->dx && l->dx->blks && lblk < l->dx->nblks &&
			    (l->dx->blks[lblk].kind == DAFS_CK_DX_UNSEEN ||
			     l->dx->blks[lblk].kind == DAFS_CK_DX_LEAF))
				continue;
			w->err = dafs_ck_read(w, run.pblk + b, 1, w->level[0]);
			/* (Nothing is known of an index that was not looked at.) */
			if (lblk && !dafs_dirblock_looks_node(&ck->img, w->level[0]))
				continue;
			if (!w->err && dafs_ck_linearise(ck, l->seed, !lblk, w->level[0]))
				w->err = dafs_ck_write(w, run.pblk + b, w->level[0]);
		}
	}
	if (!w->err && dafs_ck_read_inode(w, l->dir->ino, raw)) {
		raw->i_flags &= ~(uint32_t)EXT2_INDEX_FL;
		w->err = dafs_ck_write_inode(w, l->dir->ino, raw);
	}
	l->dir->iflags &= ~(uint32_t)EXT2_INDEX_FL;
	free(raw);
}

/* How many blocks behind the run are those of directories that come next. */
static uint64_t next_blks(const struct dafs_ck_look *l, struct dafs_ck_dext run)
{
	const struct dafs_ck *ck = l->w->ck;
	uint64_t end = run.pblk + run.len, from = end;

	if (!l->w->scan || l->dir->ndext != 1)
		return 0;
	for (size_t i = l->w->dir_at + 1; i < ck->ndirs; i++) {
		const struct dafs_ck_dir *next = &ck->dirs[ck->dir_order[i]];
		const struct dafs_ck_dext *ext = &ck->dexts[next->dext];

		if (!next->ndext || ext->pblk < end || ext->pblk - end > NEAR_BLKS ||
		    ext->pblk - from > DAFS_CK_WINDOW_BYTES >> ck->g.block_bits)
			break;
		end = ext->pblk + ext->len;
	}
	return end - from;
}

static void look_blocks(struct dafs_ck_look *l)
{
	struct dafs_ck_worker *w = l->w;
	struct dafs_ck *ck = w->ck;

	for (uint32_t i = 0; i < l->dir->ndext && !w->err; i++) {
		struct dafs_ck_dext run = ck->dexts[l->dir->dext + i];

		if (!run.pblk &&
		    DAFS_CK_FIND(w, DIR_HOLE, .ino = l->dir->ino, .lblk = run.lblk, .len = run.len))
			dafs_ck_want_remap(w, l->dir->ino, DAFS_CKR_FILL);
		for (uint32_t b = 0; run.pblk && b < run.len && !w->err; b++) {
			l->lblk = run.lblk + b;
			l->pblk = run.pblk + b;
			w->err = dafs_ck_read_window(
				w, l->pblk, run.len - b,
				b || dafs_ck_in_window(w, l->pblk) ? 0 : next_blks(l, run),
				&l->buf);
			if (!w->err && !w->put_off)
				look_block(l);
			if (w->scan && w->put_off)
				return;
		}
	}
}

/* ---- inline directories ---- */

/* The parent's number, then entries to the end of i_block; more of them in an attribute's value. */
static void look_inline(struct dafs_ck_look *l)
{
	struct dafs_ck_worker *w = l->w;
	const struct dafs_ck *ck = w->ck;
	uint32_t ino = l->dir->ino, extra = 0;
	struct ext2_inode_large *raw = malloc(ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	const uint8_t *value;
	uint32_t *ref;

	if (!raw || !dafs_ck_read_inode(w, ino, raw)) {
		w->err = raw ? w->err : ENOMEM;
		free(raw);
		return;
	}
	l->dot_state = 2;
	l->kind = DAFS_CK_DX_LEAF;
	value = dafs_ck_xattr_find(ck, raw, 7, "data", &extra);
	if ((extra & 3) && DAFS_CK_FIND(w, DIR_INLINE_SIZE, .ino = ino, .found = dafs_ck_size(raw)))
		extra &= ~3u;
	l->dir->dotdot = raw->i_block[0];
	ref = dafs_ck_vec_add(&w->refs, sizeof(*ref));
	if (ref)
		*ref = ino;
	if (l->dir->dotdot && l->dir->dotdot <= ck->g.inodes &&
	    (ref = dafs_ck_vec_add(&w->refs, sizeof(*ref))) != NULL)
		*ref = l->dir->dotdot;
	l->buf = (uint8_t *)raw->i_block;
	l->room = sizeof(raw->i_block);
	l->changed = false;
	look_chain(l, EXT4_INLINE_DATA_DOTDOT_SIZE);
	if (value && extra && !(w->scan && w->put_off)) {
		l->buf = (uint8_t *)(uintptr_t)value;
		l->room = extra;
		l->lblk = 1;
		look_chain(l, 0);
	}
	if (l->changed && !w->err) {
		dafs_ck_xattr_rehash(ck, raw);
		w->err = dafs_ck_write_inode(w, ino, raw);
	}
	free(raw);
}

/* Blocks of an indexed directory. False: there is no index, or one that reaches far beyond what is
 * mapped. */
static bool index_blks(struct dafs_ck_look *l, uint32_t *nblks, bool *drop)
{
	const struct dafs_ck *ck = l->w->ck;
	const struct dafs_ck_dext *runs = ck->dexts + l->dir->dext;
	uint64_t mapped = 0, end;

	if (!ck->g.dir_index || !(l->dir->iflags & EXT2_INDEX_FL) || !l->dir->ndext)
		return false;
	for (uint32_t i = 0; i < l->dir->ndext; i++)
		mapped += runs[i].pblk ? runs[i].len : 0;
	end = (uint64_t)runs[l->dir->ndext - 1].lblk + runs[l->dir->ndext - 1].len;
	*nblks = (uint32_t)end;
	if (end <= 2 * mapped + 64)
		return true;
	*drop = DAFS_CK_FIND(l->w, HT_INVALID, .ino = l->dir->ino, .lblk = end - 1,
			     .text = "most blocks are missing");
	return false;
}

errcode_t dafs_ck_dir_look(struct dafs_ck_worker *w, struct dafs_ck_dir *dir)
{
	struct dafs_ck *ck = w->ck;
	struct dafs_ck_dx dx = { 0 };
	struct dafs_ck_look l = { .w = w, .dir = dir };
	bool drop = false;
	uint32_t nblks;

	w->refs.n = 0;
	w->new_subdirs.n = 0;
	w->put_off = false;
	dafs_ck_map_reset(&w->names);
	l.seed = dafs_icodec_seed(&ck->img, dir->ino, dir->generation);
	l.in_entry_hash = dir->iflags & EXT4_ENCRYPT_FL && dir->iflags & EXT4_CASEFOLD_FL;
	if (dir->iflags & EXT4_ENCRYPT_FL)
		l.policy = dafs_ck_policy_id(ck, dir->ino);
	l.strict =
		ck->nls && dir->iflags & EXT4_CASEFOLD_FL &&
		(ck->opts->check_encoding || ck->sb.s_encoding_flags & EXT4_ENC_STRICT_MODE_FL) &&
		!(dir->iflags & EXT4_ENCRYPT_FL);
	if (ck->g.inline_data && dir->iflags & EXT4_INLINE_DATA_FL) {
		look_inline(&l);
		return w->err;
	}
	if (index_blks(&l, &nblks, &drop)) {
		dafs_ck_dx_begin(w, &dx, nblks);
		l.dx = &dx;
	}
	if (!w->err)
		look_blocks(&l);
	if (l.dx && !dx.bad && !w->err && !(w->scan && w->put_off))
		dafs_ck_dx_judge(w, dir, &dx);
	if ((drop || dx.bad) && !w->err && !w->scan)
		drop_index(&l);
	if (l.renames.n && !w->err)
		dafs_ck_add_renamed(&l);
	dafs_ck_vec_fini(&l.renames);
	dafs_ck_dx_end(&dx);
	return w->err;
}
