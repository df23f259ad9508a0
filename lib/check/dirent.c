/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirent - one directory entry: . and .., then any other against the inode that it names.
 *
 * Judged in the order: inode number, name, the inode's state, type, encryption, hash, uniqueness.
 * What a sound entry says is staged in the worker (references, subdirectories).
 */
#include "config.h"

#include "check/dir_int.h"

#include <errno.h>
#include <stdio.h>

/* ---- findings about entries ---- */

bool dafs_ck_find_entry(struct dafs_ck_look *l, unsigned code, uint32_t off, struct dafs_finding f)
{
	const struct dafs_dirent_disk *de = dafs_ck_entry(l, off);

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

/* ---- . and .. ---- */

static bool is_dots(const struct dafs_dirent_disk *de, unsigned dots)
{
	return de->name_len == dots && de->name[0] == '.' && (dots == 1 || de->name[1] == '.');
}

static void make_dots(struct dafs_ck_look *l, struct dafs_dirent_disk *de, unsigned dots,
		      uint32_t ino)
{
	de->ino = ino;
	de->name_len = (uint8_t)dots;
	de->file_type = l->w->ck->g.filetype ? EXT2_FT_DIR : 0;
	memset(de->name, 0, 4);
	memset(de->name, '.', dots);
	l->changed = true;
}

void dafs_ck_look_dot(struct dafs_ck_look *l, uint32_t off)
{
	struct dafs_dirent_disk *de = dafs_ck_entry(l, off), *rest;
	uint32_t len = dafs_ck_entry_len(l, de), ino = l->dir->ino, rest_len;
	bool make = false;

	if (!de->ino)
		make = DAFS_CK_FIND_ENTRY(l, DOT_MISSING, off);
	else if (!is_dots(de, 1))
		make = DAFS_CK_FIND_ENTRY(l, DOT_NOT_FIRST, off);
	else if (de->name[1])
		make = DAFS_CK_FIND_ENTRY(l, DOT_TERM, off, .text = ".");
	if (make)
		make_dots(l, de, 1, ino);
	if (de->ino != ino && de->ino && is_dots(de, 1) &&
	    DAFS_CK_FIND_ENTRY(l, DOT_INODE, off, .found = de->ino)) {
		de->ino = ino;
		l->changed = true;
	}
	/* Something may have been swallowed: room for another entry behind the dot. */
	if (len > 2 * DAFS_CK_ENTRY_MIN &&
	    (make || DAFS_CK_FIND_ENTRY(l, DOT_BIG, off, .found = len))) {
		dafs_ck_entry_set_len(l, de, DAFS_CK_ENTRY_MIN);
		rest = dafs_ck_entry(l, off + DAFS_CK_ENTRY_MIN);
		rest_len = dafs_ck_entry_len(l, rest);
		/* (What looks like .. is it, and the entries behind it are there as well.) */
		if (memcmp(rest->name, "..", 3) != 0 || rest_len < DAFS_CK_ENTRY_MIN ||
		    rest_len % 4 || rest_len > len - DAFS_CK_ENTRY_MIN) {
			memset(rest, 0, sizeof(*rest));
			dafs_ck_entry_set_len(l, rest, len - DAFS_CK_ENTRY_MIN);
		}
		l->changed = true;
	}
}

void dafs_ck_look_dotdot(struct dafs_ck_look *l, uint32_t off)
{
	struct dafs_dirent_disk *de = dafs_ck_entry(l, off);
	bool make = false;

	if (!de->ino)
		make = DAFS_CK_FIND_ENTRY(l, DOTDOT_MISSING, off);
	else if (!is_dots(de, 2))
		make = DAFS_CK_FIND_ENTRY(l, DOTDOT_NOT_SECOND, off);
	else if (de->name[2])
		make = DAFS_CK_FIND_ENTRY(l, DOT_TERM, off, .text = "..");
	/* The parent is not known yet: pass 3 puts it right. */
	if (make)
		make_dots(l, de, 2, is_dots(de, 2) && de->ino ? de->ino : EXT2_ROOT_INO);
	if (is_dots(de, 2))
		l->dir->dotdot = de->ino;
}

/* ---- one entry ---- */

/* Code of what is wrong with the number or name by themselves; DAFS_CK_CODES: nothing. */
static unsigned judge_plain(const struct dafs_ck_look *l, const struct dafs_dirent_disk *de)
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

/* Is the inode in a part of its table that is said not to be in use? With the feature for that,
 * pass 1 did not look at it; without, the descriptor is wrong (and was mended, if it may be). */
static bool is_hidden(const struct dafs_ck *ck, uint32_t ino)
{
	uint32_t grp = (ino - 1) / ck->g.ipg;
	uint32_t n = ck->g.ipg - dafs_ck_gd_unused(ck, grp);

	if (ck->gd_flags[grp] & DAFS_CKG_IT_BAD)
		return false;
	if (ck->g.gd_csum)
		n = dafs_ck_grp_scan_inodes(ck, grp);
	else if (dafs_ck_gd(ck, grp)->bg_flags & EXT2_BG_INODE_UNINIT)
		n = 0;
	return n <= ck->g.ipg && (ino - 1) % ck->g.ipg >= n;
}

/* The rest of the group's table is looked at in the next round. */
static void unhide(struct dafs_ck *ck, uint32_t grp)
{
	dafs_ck_gd(ck, grp)->bg_flags &= (uint16_t)~EXT2_BG_INODE_UNINIT;
	dafs_ck_gd_set_unused(ck, grp, 0);
	dafs_ck_gd_seal(ck, grp);
	ck->again = true;
}

static bool bad_name(const char *name, unsigned len)
{
	return memchr(name, '/', len) || memchr(name, 0, len);
}

/* Names of encrypted directories are bytes of any value, but not of any length. True: the entry is
 * to be cleared. */
static bool look_name(struct dafs_ck_look *l, uint32_t off)
{
	struct dafs_dirent_disk *de = dafs_ck_entry(l, off);
	unsigned len = de->name_len;

	if (l->dir->iflags & EXT4_ENCRYPT_FL)
		return l->dot_state > 1 && len < EXT4_CRYPTO_BLOCK_SIZE &&
		       DAFS_CK_FIND_ENTRY(l, ENT_SHORT_ENC, off);
	if (bad_name(de->name, len) && DAFS_CK_FIND_ENTRY(l, ENT_NAME, off)) {
		for (unsigned i = 0; i < len; i++)
			if (de->name[i] == '/' || !de->name[i])
				de->name[i] = '.';
		l->changed = true;
	}
	if (l->strict && l->dot_state > 1) {
		char *bad = NULL;

		if (ext2fs_check_encoded_name(l->w->ck->nls, de->name, len, &bad) &&
		    DAFS_CK_FIND_ENTRY(l, ENT_NAME_UTF8, off)) {
			for (unsigned i = 0; i < len; i++)
				if ((unsigned char)de->name[i] >= 0x80)
					de->name[i] = '.';
			l->changed = true;
		}
	}
	return false;
}

static void look_type(struct dafs_ck_look *l, uint32_t off)
{
	const struct dafs_ck *ck = l->w->ck;
	struct dafs_dirent_disk *de = dafs_ck_entry(l, off);
	unsigned want = ck->g.filetype ? dafs_ck_ino_flags(ck, de->ino) & DAFS_CKI_TYPE : 0;
	bool fix;

	if (de->file_type == want)
		return;
	if (!ck->g.filetype)
		fix = DAFS_CK_FIND_ENTRY(l, ENT_TYPE_SET, off, .found = de->file_type);
	else if (!de->file_type)
		fix = DAFS_CK_FIND_ENTRY(l, ENT_TYPE_UNSET, off, .want = want);
	else
		fix = DAFS_CK_FIND_ENTRY(l, ENT_TYPE, off, .found = de->file_type, .want = want);
	if (fix) {
		de->file_type = (uint8_t)want;
		l->changed = true;
	}
}

/* True: the entry is to be cleared. */
static bool look_policy(struct dafs_ck_look *l, uint32_t off)
{
	const struct dafs_dirent_disk *de = dafs_ck_entry(l, off);
	unsigned type = dafs_ck_ino_flags(l->w->ck, de->ino) & DAFS_CKI_TYPE;
	uint32_t id;

	/* Devices and the like are not encrypted themselves. */
	if (!l->policy || l->dot_state < 2 ||
	    (type != EXT2_FT_DIR && type != EXT2_FT_REG_FILE && type != EXT2_FT_SYMLINK))
		return false;
	id = dafs_ck_policy_id(l->w->ck, de->ino);
	if (!id || id == ~0u)
		return DAFS_CK_FIND_ENTRY(l, ENT_ENC_PLAIN, off);
	return id != l->policy && DAFS_CK_FIND_ENTRY(l, ENT_ENC_POLICY, off);
}

static bool stage(struct dafs_ck_look *l, uint32_t off)
{
	struct dafs_ck_worker *w = l->w;
	const struct dafs_dirent_disk *de = dafs_ck_entry(l, off);
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

/* Names of a casefolded directory that fold to the same have the same one; 0: it is not casefolded,
 * or its names cannot be read. */
static uint64_t folded_key(struct dafs_ck_look *l, const struct dafs_dirent_disk *de)
{
	uint32_t hash, minor;

	if (!(l->dir->iflags & EXT4_CASEFOLD_FL) || !l->w->ck->nls ||
	    l->dir->iflags & EXT4_ENCRYPT_FL ||
	    !dafs_ck_dx_hash(l->w->ck, l->dir, EXT2_HASH_HALF_MD4, de->name, de->name_len, &hash,
			     &minor))
		return 0;
	return ((uint64_t)hash << 32 | minor) + 1;
}

/* 64 bits that tell names of one directory apart, and that no image can know; equal names have
 * equal ones. */
static uint64_t name_key(const struct dafs_ck_look *l, const struct dafs_dirent_disk *de)
{
	uint64_t key = dafs_siphash(&l->w->ck->secret, de->name, de->name_len);

	return key ? key : 1;
}

static void rename_later(struct dafs_ck_look *l, const struct dafs_dirent_disk *de)
{
	struct dafs_ck_renamed *r = dafs_ck_vec_add(&l->renames, sizeof(*r));

	if (!r) {
		l->w->err = ENOMEM;
		return;
	}
	r->ino = de->ino;
	r->type = de->file_type;
	r->len = de->name_len;
	memcpy(r->name, de->name, de->name_len);
}

/* Encrypted names cannot be made up. The older entry goes, and its file to lost+found. */
static void drop_first(struct dafs_ck_look *l, const struct dafs_dirent_disk *de)
{
	struct dafs_ck *ck = l->w->ck;
	struct dafs_ck_claim claim;
	errcode_t err = dafs_ck_dir_find(ck, l->dir->ino, de->name, de->name_len, &claim);

	if (!err && claim.child && claim.pblk == l->pblk) {
		dafs_ck_entry(l, claim.off)->ino = 0;
		l->changed = true;
	} else if (!err && claim.child) {
		err = dafs_ck_entry_clear(ck, &claim);
	}
	l->w->err = err;
	ck->again = true;
}

/* Who had the name before: 0 if nobody did. False: no memory. */
static bool note_name(struct dafs_ck_look *l, uint64_t key, uint32_t ino, uint32_t *before)
{
	bool made;
	uint64_t *value = dafs_ck_map_put(&l->w->names, key, &made);

	if (!value) {
		l->w->err = ENOMEM;
		return false;
	}
	if (made)
		*value = ino;
	else
		*before = (uint32_t)*value;
	return true;
}

/* Has the directory (of an indexed one: the block) had this name before? True: the entry is to be
 * cleared, because another one with the same name leads to the same inode, or because it is added
 * again under another name when the directory is done. */
static bool look_twice(struct dafs_ck_look *l, uint32_t off)
{
	struct dafs_dirent_disk *de = dafs_ck_entry(l, off);
	uint32_t first = 0, folded = 0;
	uint64_t key;

	if (l->dot_state < 2)
		return false;
	if (!note_name(l, name_key(l, de), de->ino, &first))
		return false;
	key = folded_key(l, de);
	if (key && !note_name(l, key, de->ino, &folded))
		return false;
	if (first ? !DAFS_CK_FIND_ENTRY(l, ENT_DUP, off)
		  : !folded || !DAFS_CK_FIND_ENTRY(l, ENT_DUP_FOLDED, off))
		return false;
	if (first == de->ino || folded == de->ino)
		return true;
	if (l->dir->iflags & EXT4_ENCRYPT_FL) {
		drop_first(l, de);
		return false;
	}
	rename_later(l, de);
	return true;
}

/* Look at the entry at off. True: it is to be cleared. */
bool dafs_ck_look_entry(struct dafs_ck_look *l, uint32_t off)
{
	struct dafs_ck_worker *w = l->w;
	struct dafs_ck *ck = w->ck;
	struct dafs_dirent_disk *de = dafs_ck_entry(l, off);
	unsigned code = judge_plain(l, de);
	uint32_t hash, minor;

	if (code != DAFS_CK_CODES) {
		if (dafs_ck_find_entry(l, code, off, (struct dafs_finding){}))
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
		if (DAFS_CK_FIND_ENTRY(l, ENT_UNINIT, off, .grp = (de->ino - 1) / ck->g.ipg))
			unhide(ck, (de->ino - 1) / ck->g.ipg);
	} else if (!ck->again && !(dafs_ck_ino_flags(ck, de->ino) & DAFS_CKI_USED) &&
		   DAFS_CK_FIND_ENTRY(l, ENT_UNUSED, off)) {
		/* (A round that is to be repeated may not have looked at the inode.) */
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
/* NAME, NAME~0, NAME~1, ... until nobody has it. */
static bool other_name(struct dafs_ck_renamed *r, unsigned n)
{
	char tail[16];
	int len = snprintf(tail, sizeof(tail), "~%u", n);
	unsigned keep = r->len;

	if (len < 0)
		return false;
	if (keep + (unsigned)len > EXT2_NAME_LEN)
		keep = EXT2_NAME_LEN - (unsigned)len;
	memcpy(r->name + keep, tail, (size_t)len);
	r->len = (uint8_t)(keep + (unsigned)len);
	return true;
}

void dafs_ck_add_renamed(struct dafs_ck_look *l)
{
	struct dafs_ck_worker *w = l->w;

	for (size_t i = 0; i < l->renames.n && !w->err; i++) {
		const struct dafs_ck_renamed *from = (struct dafs_ck_renamed *)l->renames.v + i;
		struct dafs_ck_claim claim = { .child = 1 };
		struct dafs_ck_renamed r;

		for (unsigned n = 0; claim.child && n < 1000 && !w->err; n++) {
			r = *from;
			if (other_name(&r, n))
				w->err =
					dafs_ck_dir_find(w->ck, l->dir->ino, r.name, r.len, &claim);
		}
		/* (Without room the inode has no name and goes to lost+found.) */
		if (!w->err && !claim.child)
			w->err = dafs_ck_dir_add(w->ck, l->dir->ino, r.name, r.len, r.ino, r.type);
		if (w->err == ENOSPC)
			w->err = 0;
	}
}
