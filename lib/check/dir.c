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

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/dirblock.h"
#include "image/icodec.h"

#define ENTRY_MIN 12u

struct look {
	struct dafs_ck_worker *w;
	struct dafs_ck_dir *dir;
	struct dafs_ck_dx *dx; /* NULL: not indexed, or given up */
	uint32_t seed;
	uint32_t policy;    /* encryption policy of the directory; 0: none */
	bool in_entry_hash; /* entries carry their hash */
	bool strict;	    /* names must be UTF-8 */
	/* the block at hand */
	uint64_t pblk;
	uint32_t lblk;
	uint8_t *buf;
	uint32_t room;	    /* bytes that entries fill */
	unsigned dot_state; /* 0: . comes next, 1: .., 2: neither */
	enum dafs_ck_dx_kind kind;
	bool changed;
};

static struct dafs_dirent_disk *entry_at(const struct look *l, uint32_t off)
{
	return (struct dafs_dirent_disk *)(l->buf + off);
}

static uint32_t entry_len(const struct look *l, const struct dafs_dirent_disk *de)
{
	return dafs_dirblock_len(l->w->ck->g.block_size, de->rec_len);
}

static void entry_set_len(const struct look *l, struct dafs_dirent_disk *de, uint32_t len)
{
	de->rec_len = dafs_dirblock_store_len(l->w->ck->g.block_size, len);
}

/* ---- findings about entries ---- */

static bool find_entry(struct look *l, unsigned code, uint32_t off, struct dafs_finding f)
{
	const struct dafs_dirent_disk *de = entry_at(l, off);

	f.code = (uint16_t)code;
	f.ino = f.dir = l->dir->ino;
	f.lblk = l->lblk;
	f.blk = l->pblk;
	f.off = off;
	f.ref = de->ino;
	f.name = de->name;
	f.name_len = off + sizeof(*de) + de->name_len <= l->room ? de->name_len : 0;
	return dafs_ck_find(l->w, &f);
}
#define FIND_ENTRY(l, name, off, ...)                                                              \
	find_entry(l, DAFS_CK_##name, off, (struct dafs_finding){ __VA_ARGS__ })

/* ---- . and .. ---- */

static bool is_dots(const struct dafs_dirent_disk *de, unsigned dots)
{
	return de->name_len == dots && de->name[0] == '.' && (dots == 1 || de->name[1] == '.');
}

static void make_dots(struct look *l, struct dafs_dirent_disk *de, unsigned dots, uint32_t ino)
{
	de->ino = ino;
	de->name_len = (uint8_t)dots;
	de->file_type = l->w->ck->g.filetype ? EXT2_FT_DIR : 0;
	memset(de->name, 0, 4);
	memset(de->name, '.', dots);
	l->changed = true;
}

static void look_dot(struct look *l, uint32_t off)
{
	struct dafs_dirent_disk *de = entry_at(l, off), *rest;
	uint32_t len = entry_len(l, de), ino = l->dir->ino;
	bool make = false;

	if (!de->ino)
		make = FIND_ENTRY(l, DOT_MISSING, off);
	else if (!is_dots(de, 1))
		make = FIND_ENTRY(l, DOT_NOT_FIRST, off);
	else if (de->name[1])
		make = FIND_ENTRY(l, DOT_TERM, off, .text = ".");
	if (make)
		make_dots(l, de, 1, ino);
	if (de->ino != ino && de->ino && is_dots(de, 1) &&
	    FIND_ENTRY(l, DOT_INODE, off, .found = de->ino)) {
		de->ino = ino;
		l->changed = true;
	}
	/* Something may have been swallowed: room for another entry behind the dot. */
	if (len > 2 * ENTRY_MIN && (make || FIND_ENTRY(l, DOT_BIG, off, .found = len))) {
		entry_set_len(l, de, ENTRY_MIN);
		rest = entry_at(l, off + ENTRY_MIN);
		memset(rest, 0, sizeof(*rest));
		entry_set_len(l, rest, len - ENTRY_MIN);
		l->changed = true;
	}
}

static void look_dotdot(struct look *l, uint32_t off)
{
	struct dafs_dirent_disk *de = entry_at(l, off);
	bool make = false;

	if (!de->ino)
		make = FIND_ENTRY(l, DOTDOT_MISSING, off);
	else if (!is_dots(de, 2))
		make = FIND_ENTRY(l, DOTDOT_NOT_SECOND, off);
	else if (de->name[2])
		make = FIND_ENTRY(l, DOT_TERM, off, .text = "..");
	/* The parent is not known yet: pass 3 puts it right. */
	if (make)
		make_dots(l, de, 2, is_dots(de, 2) && de->ino ? de->ino : EXT2_ROOT_INO);
	if (is_dots(de, 2))
		l->dir->dotdot = de->ino;
}

/* ---- one entry ---- */

/* Code of what is wrong with the number or name by themselves; DAFS_CK_CODES: nothing. */
static unsigned judge_plain(const struct look *l, const struct dafs_dirent_disk *de)
{
	const struct dafs_ck *ck = l->w->ck;

	if ((de->ino != EXT2_ROOT_INO && de->ino < ck->g.first_ino) || de->ino > ck->g.inodes)
		return DAFS_CK_ENT_INODE;
	if (dafs_ck_ino_flags(ck, de->ino) & DAFS_CKI_BB)
		return DAFS_CK_ENT_BAD_BLOCK;
	if (l->dot_state < 2)
		return DAFS_CK_CODES;
	if (is_dots(de, 1) || is_dots(de, 2))
		return DAFS_CK_ENT_DUP_DOT;
	if (de->ino == EXT2_ROOT_INO)
		return DAFS_CK_ENT_LINK_ROOT;
	return de->name_len ? DAFS_CK_CODES : DAFS_CK_ENT_EMPTY;
}

/* Is the inode in a part of its table that pass 1 did not look at? */
static bool is_hidden(const struct dafs_ck *ck, uint32_t ino)
{
	uint32_t grp = (ino - 1) / ck->g.ipg;

	return ck->g.gd_csum && !(ck->gd_flags[grp] & DAFS_CKG_IT_BAD) &&
	       (ino - 1) % ck->g.ipg >= dafs_ck_grp_scan_inodes(ck, grp);
}

static bool bad_name(const char *name, unsigned len)
{
	return memchr(name, '/', len) || memchr(name, 0, len);
}

/* Names of encrypted directories are bytes of any value, but not of any length. True: the entry is
 * to be cleared. */
static bool look_name(struct look *l, uint32_t off)
{
	struct dafs_dirent_disk *de = entry_at(l, off);
	unsigned len = de->name_len;

	if (l->dir->iflags & EXT4_ENCRYPT_FL)
		return l->dot_state > 1 && len < EXT4_CRYPTO_BLOCK_SIZE &&
		       FIND_ENTRY(l, ENT_SHORT_ENC, off);
	if (bad_name(de->name, len) && FIND_ENTRY(l, ENT_NAME, off)) {
		for (unsigned i = 0; i < len; i++)
			if (de->name[i] == '/' || !de->name[i])
				de->name[i] = '.';
		l->changed = true;
	}
	if (l->strict && l->dot_state > 1) {
		char *bad = NULL;

		if (ext2fs_check_encoded_name(l->w->ck->nls, de->name, len, &bad) &&
		    FIND_ENTRY(l, ENT_NAME_UTF8, off)) {
			for (unsigned i = 0; i < len; i++)
				if ((unsigned char)de->name[i] >= 0x80)
					de->name[i] = '.';
			l->changed = true;
		}
	}
	return false;
}

static void look_type(struct look *l, uint32_t off)
{
	const struct dafs_ck *ck = l->w->ck;
	struct dafs_dirent_disk *de = entry_at(l, off);
	unsigned want = ck->g.filetype ? dafs_ck_ino_flags(ck, de->ino) & DAFS_CKI_TYPE : 0;
	bool fix;

	if (de->file_type == want)
		return;
	if (!ck->g.filetype)
		fix = FIND_ENTRY(l, ENT_TYPE_SET, off, .found = de->file_type);
	else if (!de->file_type)
		fix = FIND_ENTRY(l, ENT_TYPE_UNSET, off, .want = want);
	else
		fix = FIND_ENTRY(l, ENT_TYPE, off, .found = de->file_type, .want = want);
	if (fix) {
		de->file_type = (uint8_t)want;
		l->changed = true;
	}
}

/* True: the entry is to be cleared. */
static bool look_policy(struct look *l, uint32_t off)
{
	const struct dafs_dirent_disk *de = entry_at(l, off);
	unsigned type = dafs_ck_ino_flags(l->w->ck, de->ino) & DAFS_CKI_TYPE;
	uint32_t id;

	/* Devices and the like are not encrypted themselves. */
	if (!l->policy || l->dot_state < 2 ||
	    (type != EXT2_FT_DIR && type != EXT2_FT_REG_FILE && type != EXT2_FT_SYMLINK))
		return false;
	id = dafs_ck_policy_id(l->w->ck, de->ino);
	if (!id || id == ~0u)
		return FIND_ENTRY(l, ENT_ENC_PLAIN, off);
	return id != l->policy && FIND_ENTRY(l, ENT_ENC_POLICY, off);
}

static bool stage(struct look *l, uint32_t off)
{
	struct dafs_ck_worker *w = l->w;
	const struct dafs_dirent_disk *de = entry_at(l, off);
	uint32_t *ref = dafs_ck_vec_add(&w->refs, sizeof(*ref));
	struct dafs_ck_claim *claim;

	if (!ref)
		return false;
	*ref = de->ino;
	if (l->dot_state < 2 || (dafs_ck_ino_flags(w->ck, de->ino) & DAFS_CKI_TYPE) != EXT2_FT_DIR)
		return true;
	claim = dafs_ck_vec_add(&w->new_subdirs, sizeof(*claim));
	if (claim)
		*claim = (struct dafs_ck_claim){ de->ino, l->dir->ino, l->pblk, l->lblk, off };
	return claim != NULL;
}

/* 64 bits that tell names of one directory apart; equal names (folded where the directory is) have
 * equal ones. */
static uint64_t name_key(struct look *l, const struct dafs_dirent_disk *de)
{
	uint64_t key = de->name_len, word;
	uint32_t hash, minor;
	unsigned at = 0;

	if (l->dir->iflags & EXT4_CASEFOLD_FL && l->w->ck->nls &&
	    !(l->dir->iflags & EXT4_ENCRYPT_FL)) {
		if (dafs_ck_dx_hash(l->w->ck, l->dir, EXT2_HASH_HALF_MD4, de->name, de->name_len,
				    &hash, &minor))
			return ((uint64_t)hash << 32 | minor) + 1;
	}
	for (; at + 8 <= de->name_len; at += 8) {
		memcpy(&word, de->name + at, 8);
		key = (key ^ word) * UINT64_C(0x9E3779B97F4A7C15);
		key ^= key >> 29;
	}
	word = 0;
	memcpy(&word, de->name + at, de->name_len - at);
	key = (key ^ word) * UINT64_C(0xBF58476D1CE4E5B9);
	key ^= key >> 32;
	return key ? key : 1;
}

/* Has the directory (of an indexed one: the block) had this name before? True: the entry is to be
 * cleared. */
static bool look_twice(struct look *l, uint32_t off)
{
	struct dafs_dirent_disk *de = entry_at(l, off);
	bool made;

	if (l->dot_state < 2)
		return false;
	if (!dafs_ck_map_put(&l->w->names, name_key(l, de), &made)) {
		l->w->err = ENOMEM;
		return false;
	}
	return !made && FIND_ENTRY(l, ENT_DUP, off);
}

/* Look at the entry at off. True: it is to be cleared. */
static bool look_entry(struct look *l, uint32_t off)
{
	struct dafs_ck_worker *w = l->w;
	struct dafs_ck *ck = w->ck;
	struct dafs_dirent_disk *de = entry_at(l, off);
	unsigned code = judge_plain(l, de);
	uint32_t hash, minor;

	if (code != DAFS_CK_CODES) {
		if (find_entry(l, code, off, (struct dafs_finding){}))
			return true;
		if (code == DAFS_CK_ENT_INODE || w->scan)
			return false;
	}
	if (dafs_ck_ino_flags(ck, de->ino) & DAFS_CKI_BAD) {
		w->put_off = w->put_off || w->scan;
		if (w->scan)
			return false;
		if (dafs_ck_bad_inode(w, l->dir->ino, de->ino))
			return true;
	}
	if (is_hidden(ck, de->ino)) {
		FIND_ENTRY(l, ENT_UNINIT, off, .grp = (de->ino - 1) / ck->g.ipg);
	} else if (!(dafs_ck_ino_flags(ck, de->ino) & DAFS_CKI_USED) &&
		   FIND_ENTRY(l, ENT_UNUSED, off)) {
		return true;
	}
	if (look_name(l, off))
		return true;
	/* (An unused inode has no type to compare with.) */
	if (dafs_ck_ino_flags(ck, de->ino) & DAFS_CKI_USED)
		look_type(l, off);
	if (look_policy(l, off))
		return true;
	if (l->kind == DAFS_CK_DX_LEAF && l->dx && !l->dx->bad && l->lblk < l->dx->nblks &&
	    dafs_ck_dx_hash(ck, l->dir, l->dx->hash_version, de->name, de->name_len, &hash, &minor))
		dafs_ck_dx_name(l->dx, l->lblk, hash);
	if (look_twice(l, off))
		return true;
	if (!stage(l, off))
		w->err = ENOMEM;
	return false;
}

/* ---- chains of entries ---- */

static bool length_ok(const struct look *l, uint32_t off)
{
	const struct dafs_dirent_disk *de = entry_at(l, off);
	uint32_t len, need = ENTRY_MIN;

	if (off + sizeof(*de) > l->room)
		return false;
	len = entry_len(l, de);
	if (de->name_len || de->ino)
		need = dafs_dirblock_need(de->name_len) +
		       (l->in_entry_hash && l->dot_state > 1 ? 8 : 0);
	if (need < ENTRY_MIN)
		need = ENTRY_MIN;
	return len >= need && len % 4 == 0 && off + len <= l->room;
}

/* Put the chain in order at off, where the length is wrong; before: offset of the entry in front,
 * ~0: none. True: look at off again; false: it was swallowed, *off moved on. */
static bool salvage(struct look *l, uint32_t *off, uint32_t before)
{
	struct dafs_dirent_disk *de = entry_at(l, *off);
	uint32_t left = l->room - *off, len = left >= sizeof(*de) ? entry_len(l, de) : 0;

	l->changed = true;
	/* An entry of 8 bytes with room behind it: close the gap. */
	if (len == 8 && left >= 8 + ENTRY_MIN) {
		memmove(de, (uint8_t *)de + 8, left - 8);
		memset((uint8_t *)de + left - 8, 0, 8);
		return true;
	}
	/* Only its end is wrong: the name fits, the number is possible. */
	if (len > left && left >= ENTRY_MIN && left % 4 == 0 &&
	    sizeof(*de) + de->name_len <= left && de->name_len && de->ino <= l->w->ck->g.inodes &&
	    strnlen(de->name, de->name_len) == de->name_len) {
		entry_set_len(l, de, left);
		return true;
	}
	if (before != ~0u) {
		struct dafs_dirent_disk *prev = entry_at(l, before);
		uint32_t take = len && len % 4 == 0 && len <= left ? len : left;

		entry_set_len(l, prev, entry_len(l, prev) + take);
		*off += take;
		return false;
	}
	if (left >= ENTRY_MIN) {
		memset(de, 0, sizeof(*de));
		entry_set_len(l, de, left);
		return true;
	}
	*off = l->room;
	return false;
}

/* All entries of [off, room) of the block. */
static void look_chain(struct look *l, uint32_t off)
{
	uint32_t before = ~0u;
	struct dafs_ck_worker *w = l->w;

	while (off < l->room && !w->err) {
		struct dafs_dirent_disk *de = entry_at(l, off);

		if (!length_ok(l, off)) {
			if (!DAFS_CK_FIND(w, DIR_CORRUPT, .ino = l->dir->ino, .lblk = l->lblk,
					  .blk = l->pblk, .off = off))
				return;
			salvage(l, &off, before);
			continue;
		}
		if (l->dot_state == 0)
			look_dot(l, off);
		else if (l->dot_state == 1)
			look_dotdot(l, off);
		else if (de->ino == l->dir->ino && FIND_ENTRY(l, ENT_DOT, off)) {
			de->ino = 0;
			l->changed = true;
		}
		if (de->ino && look_entry(l, off)) {
			de->ino = 0;
			l->changed = true;
		}
		/* In a scan one complaint is enough: all of it comes up again. */
		if (w->scan && w->put_off)
			return;
		before = off;
		off += entry_len(l, de);
		if (l->dot_state < 2)
			l->dot_state++;
	}
}

/* ---- blocks ---- */

static enum dafs_dirblock_kind disk_kind(const struct look *l)
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

/* Checksum of the block. True: it fails (and a leaf's own complaint waits until its entries were
 * looked at). */
static bool look_csum(struct look *l)
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
	if (DAFS_CK_FIND(w, DIR_NO_CSUM, .ino = l->dir->ino, .lblk = l->lblk, .blk = l->pblk))
		l->changed = true;
	else
		l->room = ck->g.block_size;
	return false;
}

static void finish_block(struct look *l, bool csum_bad)
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

static void look_block(struct look *l)
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
	csum_bad = look_csum(l);
	if (l->kind != DAFS_CK_DX_LEAF && !l->dx->bad)
		dafs_ck_dx_block(l->w, l->dir, l->dx, l->lblk, l->buf);
	look_chain(l, 0);
	finish_block(l, csum_bad);
}

static void look_blocks(struct look *l)
{
	struct dafs_ck_worker *w = l->w;
	struct dafs_ck *ck = w->ck;

	for (uint32_t i = 0; i < l->dir->ndext && !w->err; i++) {
		struct dafs_ck_dext run = ck->dexts[l->dir->dext + i];

		if (!run.pblk) {
			DAFS_CK_FIND(w, DIR_HOLE, .ino = l->dir->ino, .lblk = run.lblk,
				     .len = run.len);
		}
		for (uint32_t b = 0; run.pblk && b < run.len && !w->err; b++) {
			l->lblk = run.lblk + b;
			l->pblk = run.pblk + b;
			w->err = dafs_ck_read_window(w, l->pblk, run.len - b, &l->buf);
			if (!w->err && !w->put_off)
				look_block(l);
			if (w->scan && w->put_off)
				return;
		}
	}
}

/* ---- inline directories ---- */

/* The parent's number, then entries to the end of i_block; more of them in an attribute's value. */
static void look_inline(struct look *l)
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
	if (l->changed && !w->err)
		w->err = dafs_ck_write_inode(w, ino, raw);
	free(raw);
}

/* Blocks of an indexed directory. False: there is no index, or one that reaches far beyond what is
 * mapped. */
static bool index_blks(const struct look *l, uint32_t *nblks)
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
	DAFS_CK_FIND(l->w, HT_INVALID, .ino = l->dir->ino, .lblk = end - 1,
		     .text = "most blocks are missing");
	return false;
}

errcode_t dafs_ck_dir_look(struct dafs_ck_worker *w, struct dafs_ck_dir *dir)
{
	struct dafs_ck *ck = w->ck;
	struct dafs_ck_dx dx = { 0 };
	struct look l = { .w = w, .dir = dir };
	uint32_t nblks;

	w->refs.n = 0;
	w->new_subdirs.n = 0;
	w->put_off = false;
	dafs_ck_map_reset(&w->names);
	l.seed = dafs_icodec_seed(&ck->img, dir->ino, dir->generation);
	l.in_entry_hash = dir->iflags & EXT4_ENCRYPT_FL && dir->iflags & EXT4_CASEFOLD_FL;
	if (dir->iflags & EXT4_ENCRYPT_FL)
		l.policy = dafs_ck_policy_id(ck, dir->ino);
	l.strict = ck->nls && dir->iflags & EXT4_CASEFOLD_FL &&
		   ck->sb.s_encoding_flags & EXT4_ENC_STRICT_MODE_FL &&
		   !(dir->iflags & EXT4_ENCRYPT_FL);
	if (ck->g.inline_data && dir->iflags & EXT4_INLINE_DATA_FL) {
		look_inline(&l);
		return w->err;
	}
	if (index_blks(&l, &nblks)) {
		dafs_ck_dx_begin(w, &dx, nblks);
		l.dx = &dx;
	}
	if (!w->err)
		look_blocks(&l);
	if (l.dx && !dx.bad && !w->err && !(w->scan && w->put_off))
		dafs_ck_dx_judge(w, dir, &dx);
	dafs_ck_dx_end(&dx);
	return w->err;
}
