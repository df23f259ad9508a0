/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inode - one inode's own fields: in use or not, flags that contradict each other,
 * type and its rules. Inodes whose number means something are in inores.c.
 *
 * It leaves the blocks to blocks.c and the attributes to xattr.c. Fields whose complaint should
 * show the file's name (mode, symlink target, fragment fields) only mark the inode BAD; badino.c
 * complains when pass 2 comes across the name, or pass 4 finds none.
 *
 * Contract with pass1.c: raw is a private copy; what is to be known of the inode later is left in
 * cki and links; with w->scan nothing shared is changed.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#define BOTH_FLAGS (EXT4_INLINE_DATA_FL | EXT4_EXTENTS_FL)

void dafs_ck_inode_clear(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;

	raw->i_flags = 0;
	raw->i_links_count = 0;
	raw->i_dtime = (uint32_t)w->ck->ctx->now_sec;
	/* Links are not looked at in reserved inodes: a map left behind would come up again. */
	if (in->ino < w->ck->g.first_ino)
		memset(raw->i_block, 0, sizeof(raw->i_block));
	if (in->ino == EXT2_BAD_INO)
		memset(raw, 0, sizeof(struct ext2_inode));
	in->cleared = true;
	in->dirty = true;
	in->cki = 0;
	in->links = 0;
	w->claims.n = 0;
	w->dexts.n = 0;
	w->ea_refs.n = 0;
}

errcode_t dafs_ck_inode_delete(struct dafs_ck *ck, uint32_t ino)
{
	struct ext2_inode_large *raw = dafs_ck_raw_alloc(ck);
	struct dafs_ck_inode in = { .ino = ino, .raw = raw };
	errcode_t err = raw ? 0 : ENOMEM;

	if (!err && !dafs_ck_read_inode(ck->main, ino, raw))
		err = ck->main->err;
	else if (!err) {
		dafs_ck_inode_clear(ck->main, &in);
		err = dafs_ck_write_inode(ck->main, ino, raw);
	}
	free(raw);
	if (!err)
		err = dafs_ck_ino_change(ck, ino, 0, ~0u);
	ck->again = true;
	return err;
}

bool dafs_ck_is_fast_symlink(const struct ext2_inode_large *raw)
{
	return LINUX_S_ISLNK(raw->i_mode) && dafs_ck_size(raw) &&
	       dafs_ck_size(raw) < sizeof(raw->i_block);
}

bool dafs_ck_has_blocks(const struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	if (!LINUX_S_ISDIR(raw->i_mode) && !LINUX_S_ISREG(raw->i_mode) &&
	    !LINUX_S_ISLNK(raw->i_mode))
		return false;
	if (LINUX_S_ISLNK(raw->i_mode)) {
		if (!dafs_ck_acl(ck, raw)) {
			if (!raw->i_blocks)
				return false;
		} else {
			/* i_blocks counts the attribute block too: the target's length has to tell.
			 */
			if (raw->i_size >= sizeof(raw->i_block))
				return true;
			return raw->i_size > 4 && raw->i_block[1] == 0;
		}
	}
	return !(raw->i_flags & EXT4_INLINE_DATA_FL);
}

bool dafs_ck_device_ok(const struct ext2_inode_large *raw)
{
	if (raw->i_flags & (EXT2_INDEX_FL | EXT4_EXTENTS_FL))
		return false;
	/* Kernels leave rubbish behind the device number, so this is only telling together with
	 * flags no device can have. */
	if (raw->i_flags & (EXT2_IMMUTABLE_FL | EXT2_APPEND_FL))
		for (unsigned i = 4; i < EXT2_N_BLOCKS; i++)
			if (raw->i_block[i])
				return false;
	return true;
}

/* The block of a symlink whose target does not fit into the inode; 0: none that would do. */
static uint64_t symlink_blk(const struct ext2_inode_large *raw)
{
	const struct ext3_extent_header *eh = (const void *)raw->i_block;
	const struct ext3_extent *ex = (const void *)(eh + 1);

	if (raw->i_flags & EXT4_EXTENTS_FL) {
		if (!dafs_ck_extent_header_ok(eh, sizeof(raw->i_block)) || eh->eh_entries != 1 ||
		    eh->eh_depth || ex->ee_block || ex->ee_len != 1)
			return 0;
		return ex->ee_start | (uint64_t)ex->ee_start_hi << 32;
	}
	for (unsigned i = 1; i < EXT2_N_BLOCKS; i++)
		if (raw->i_block[i])
			return 0;
	return raw->i_block[0];
}

bool dafs_ck_symlink_ok(struct dafs_ck_worker *w, uint32_t ino, const struct ext2_inode_large *raw)
{
	const struct dafs_ck *ck = w->ck;
	const char *target = (const char *)raw->i_block;
	uint32_t room = sizeof(raw->i_block), len, extra;

	(void)ino;
	if (raw->i_size_high || !raw->i_size || raw->i_flags & EXT2_INDEX_FL)
		return false;
	if (raw->i_flags & EXT4_INLINE_DATA_FL) {
		if (raw->i_flags & EXT4_EXTENTS_FL || !dafs_ck_inline_size(ck, raw, &extra))
			return false;
		return raw->i_size == room + extra;
	}
	if (dafs_ck_is_fast_symlink(raw)) {
		if (raw->i_flags & EXT4_EXTENTS_FL)
			return false;
	} else {
		uint64_t blk = symlink_blk(raw);

		if (!dafs_ck_blk_ok(ck, blk) || dafs_ck_read(w, blk, 1, w->tmp))
			return false;
		target = (const char *)w->tmp;
		room = ck->g.block_size;
	}
	if (raw->i_flags & EXT4_ENCRYPT_FL)
		len = ((const uint8_t *)target)[0] + ((uint32_t)((const uint8_t *)target)[1] << 8) +
		      2;
	else
		len = (uint32_t)strnlen(target, room);
	return len < room && len == raw->i_size;
}

/* ---- flags that contradict each other or the features ---- */

/* Numbers that could all be block numbers. */
static bool could_be_block_map(const struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	for (unsigned i = 0; i < EXT2_N_BLOCKS; i++)
		if (raw->i_block[i] >= ck->g.blocks)
			return false;
	return true;
}

static bool is_special(const struct ext2_inode_large *raw)
{
	return LINUX_S_ISCHR(raw->i_mode) || LINUX_S_ISBLK(raw->i_mode) ||
	       LINUX_S_ISFIFO(raw->i_mode) || LINUX_S_ISSOCK(raw->i_mode);
}

static void check_special_flags(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	if (!(in->raw->i_flags & BOTH_FLAGS) || !DAFS_CK_FIND(w, INO_SPECIAL_FLAGS, .ino = in->ino))
		return;
	in->raw->i_flags &= ~BOTH_FLAGS;
	in->dirty = true;
}

/* Both inline data and extents: which is it? False: neither, the inode was cleared. */
static bool resolve_both(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;
	uint32_t drop = BOTH_FLAGS;
	const char *looks = NULL;
	uint64_t room = 0;

	if (!ck->g.extents && !ck->g.inline_data)
		return true;
	if (is_special(raw)) {
		check_special_flags(w, in);
		return true;
	}
	if (ck->g.inode_size > EXT2_GOOD_OLD_INODE_SIZE &&
	    raw->i_extra_isize < ck->g.inode_size - EXT2_GOOD_OLD_INODE_SIZE)
		room = ck->g.inode_size - EXT2_GOOD_OLD_INODE_SIZE - raw->i_extra_isize;
	if (dafs_ck_extent_header_ok(raw->i_block, sizeof(raw->i_block))) {
		looks = "extents";
		drop = EXT4_INLINE_DATA_FL;
	} else if (dafs_ck_size(raw) < sizeof(raw->i_block) + room) {
		looks = "inline data";
		drop = EXT4_EXTENTS_FL;
	} else if (could_be_block_map(ck, raw)) {
		looks = "a block map";
	}
	if (!DAFS_CK_FIND(w, INO_EXT_AND_INLINE, .ino = in->ino, .text = looks ? looks : "neither"))
		return true;
	if (!looks) {
		dafs_ck_inode_clear(w, in);
		return false;
	}
	raw->i_flags &= ~drop;
	in->dirty = true;
	return true;
}

static bool check_inline_flag(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;
	uint32_t extra;
	bool has = dafs_ck_inline_size(ck, raw, &extra);

	if (!ck->g.inline_data) {
		if (has) {
			if (DAFS_CK_FIND(w, INO_INLINE_FEATURE, .ino = in->ino)) {
				ext2fs_set_feature_inline_data(&ck->sb);
				ck->g.inline_data = true;
				ck->backups = ck->again = true;
			}
		} else if (DAFS_CK_FIND(w, INO_INLINE_SET, .ino = in->ino)) {
			dafs_ck_inode_clear(w, in);
			return false;
		}
	} else if (!has && DAFS_CK_FIND(w, INO_INLINE_NO_ATTR, .ino = in->ino)) {
		raw->i_size = raw->i_size_high = 0;
		raw->i_flags &= ~EXT4_INLINE_DATA_FL;
		memset(raw->i_block, 0, sizeof(raw->i_block));
		in->dirty = true;
	}
	return true;
}

static bool check_extent_flag(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;
	uint32_t ino = in->ino;
	bool flag = raw->i_flags & EXT4_EXTENTS_FL;
	bool header = dafs_ck_extent_header_ok(raw->i_block, sizeof(raw->i_block));

	if (!raw->i_links_count && ino != EXT2_BAD_INO && ino != EXT2_ROOT_INO &&
	    ino != EXT2_JOURNAL_INO)
		return true;
	if (flag && !ck->g.extents) {
		if (header) {
			if (DAFS_CK_FIND(w, INO_EXT_FEATURE, .ino = ino)) {
				ext2fs_set_feature_extents(&ck->sb);
				ck->g.extents = true;
				ck->backups = ck->again = true;
			}
		} else if (DAFS_CK_FIND(w, INO_EXT_SET, .ino = ino)) {
			dafs_ck_inode_clear(w, in);
			return false;
		}
	}
	if (!flag && ck->g.extents && header && !(raw->i_flags & EXT4_INLINE_DATA_FL) &&
	    (LINUX_S_ISREG(raw->i_mode) || LINUX_S_ISDIR(raw->i_mode)) &&
	    DAFS_CK_FIND(w, INO_EXT_UNSET, .ino = ino)) {
		raw->i_flags |= EXT4_EXTENTS_FL;
		in->dirty = true;
	}
	return true;
}

/* False: the inode was cleared. */
static bool check_flags(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;

	if (raw->i_flags & EXT4_CASEFOLD_FL) {
		bool dir = LINUX_S_ISDIR(raw->i_mode);

		if ((!dir && DAFS_CK_FIND(w, INO_CASEFOLD_NODIR, .ino = in->ino)) ||
		    (!ck->g.casefold && DAFS_CK_FIND(w, INO_CASEFOLD_FEATURE, .ino = in->ino))) {
			raw->i_flags &= ~EXT4_CASEFOLD_FL;
			in->dirty = true;
		}
	}
	if ((raw->i_flags & BOTH_FLAGS) == BOTH_FLAGS && !resolve_both(w, in))
		return false;
	if (raw->i_flags & EXT4_INLINE_DATA_FL && in->ino >= ck->g.first_ino &&
	    !check_inline_flag(w, in))
		return false;
	return check_extent_flag(w, in);
}

/* ---- inodes in use ---- */

static void check_times(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;
	uint32_t *times[4][2] = { { &raw->i_atime, &raw->i_atime_extra },
				  { &raw->i_ctime, &raw->i_ctime_extra },
				  { &raw->i_mtime, &raw->i_mtime_extra },
				  { &raw->i_crtime, &raw->i_crtime_extra } };
	bool old = false;

	/* Epoch 3 with the sign bit is a date from 2310 on: more likely one before 1970, stored the
	 * wrong way. */
	for (unsigned i = 0; i < 4; i++)
		old |= *times[i][0] & 1u << 31 &&
		       (*times[i][1] & EXT4_EPOCH_MASK) == EXT4_EPOCH_MASK;
	if (!old || w->ck->ctx->now_sec >= 2 * (INT64_C(1) << 32) ||
	    !DAFS_CK_FIND(w, INO_OLD_TIMES, .ino = in->ino))
		return;
	for (unsigned i = 0; i < 4; i++)
		if (*times[i][0] & 1u << 31 && (*times[i][1] & EXT4_EPOCH_MASK) == EXT4_EPOCH_MASK)
			*times[i][1] &= ~(uint32_t)EXT4_EPOCH_MASK;
	in->dirty = true;
}

static void check_extra(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;
	uint32_t most = ck->g.inode_size - EXT2_GOOD_OLD_INODE_SIZE, extra = raw->i_extra_isize;

	if (!most)
		return;
	if (extra && (extra < DAFS_CK_EXTRA_ISIZE_MIN || extra > most || extra & 3)) {
		if (!DAFS_CK_FIND(w, INO_EXTRA_ISIZE, .ino = in->ino, .found = extra))
			return;
		raw->i_extra_isize = extra < DAFS_CK_EXTRA_ISIZE_MIN || extra > most
					     ? ck->sb.s_want_extra_isize
					     : (extra + 3) & ~3u;
		in->dirty = true;
	}
	if (raw->i_extra_isize >= most - sizeof(uint32_t))
		return;
	dafs_ck_xattr_ibody(w, in);
	if (raw->i_extra_isize >=
	    offsetof(struct ext2_inode_large, i_version_hi) - EXT2_GOOD_OLD_INODE_SIZE)
		check_times(w, in);
}

/* Fields that should be zero, or need a feature: complained about by name in pass 2. */
static void mark_bad_fields(const struct dafs_ck *ck, struct dafs_ck_inode *in)
{
	const struct ext2_inode_large *raw = in->raw;
	bool bad = raw->i_faddr ||
		   (!ck->g.large_dir && LINUX_S_ISDIR(raw->i_mode) && raw->i_size_high);

	if (ck->g.hurd)
		bad |= raw->osd2.hurd2.h_i_frag || raw->osd2.hurd2.h_i_fsize;
	else
		bad |= (!ck->g.bit64 && raw->osd2.linux2.l_i_file_acl_high) ||
		       (!ck->g.huge_file && raw->osd2.linux2.l_i_blocks_hi);
	if (bad)
		in->cki |= DAFS_CKI_BAD;
}

/* Does the first block read like that of a directory? */
static bool looks_like_dir(struct dafs_ck_worker *w, const struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	const struct ext2_inode_large *raw = in->raw;
	const struct ext2_dir_entry_2 *de;
	uint64_t blk = raw->i_block[0];
	bool no_device = false;

	if (raw->i_flags & EXT4_EXTENTS_FL && ck->g.extents) {
		blk = dafs_ck_first_blk(w, raw);
		no_device = true;
	} else {
		for (unsigned i = 0; i < EXT2_N_BLOCKS; i++) {
			if (!raw->i_block[i])
				continue;
			no_device |= i >= 4;
			if (!dafs_ck_blk_ok(ck, raw->i_block[i]) ||
			    dafs_ck_bits_test(&ck->found, dafs_ck_cluster(ck, raw->i_block[i])))
				return false;
		}
	}
	if ((LINUX_S_ISCHR(raw->i_mode) || LINUX_S_ISBLK(raw->i_mode)) && raw->i_links_count == 1 &&
	    !no_device)
		return false;
	/* Whether those blocks are free is only known when everything else was looked at. */
	if (w->scan) {
		w->put_off = true;
		return false;
	}
	if (!dafs_ck_blk_ok(ck, blk) || dafs_ck_read(w, blk, 1, w->tmp))
		return false;
	de = (const void *)w->tmp;
	if (de->name_len != 1 || de->name[0] != '.' || de->inode != in->ino || de->rec_len < 12 ||
	    de->rec_len % 4 || de->rec_len >= ck->g.block_size - 12)
		return false;
	de = (const void *)(w->tmp + de->rec_len);
	return de->name_len == 2 && de->name[0] == '.' && de->name[1] == '.' && de->rec_len >= 12 &&
	       de->rec_len % 4 == 0;
}

/* An inline "directory": parent number, then an entry. */
static bool looks_like_inline_dir(const struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	const struct ext2_dir_entry_2 *de = (const void *)(raw->i_block + 1);
	uint32_t extra, parent = raw->i_block[0];

	if (!dafs_ck_inline_size(ck, raw, &extra) || extra & 3)
		return false;
	return parent < ck->g.inodes && (parent >= ck->g.first_ino || parent == EXT2_ROOT_INO) &&
	       de->inode < ck->g.inodes && (de->inode >= ck->g.first_ino || !de->inode) &&
	       de->rec_len <= sizeof(raw->i_block) - EXT4_INLINE_DATA_DOTDOT_SIZE;
}

static void check_is_dir(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;
	bool dir;

	if (LINUX_S_ISDIR(raw->i_mode) || LINUX_S_ISREG(raw->i_mode) ||
	    LINUX_S_ISLNK(raw->i_mode) || !raw->i_block[0])
		return;
	if (w->ck->g.inline_data && raw->i_flags & EXT4_INLINE_DATA_FL)
		dir = looks_like_inline_dir(w->ck, raw);
	else
		dir = looks_like_dir(w, in);
	if (dir && DAFS_CK_FIND(w, INO_IS_DIR, .ino = in->ino, .found = raw->i_mode)) {
		raw->i_mode = (raw->i_mode & 07777) | LINUX_S_IFDIR;
		in->dirty = true;
	}
}

static void check_special(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;

	check_special_flags(w, in);
	if (raw->i_flags & (EXT2_IMMUTABLE_FL | EXT2_APPEND_FL) &&
	    DAFS_CK_FIND(w, INO_IMMUTABLE, .ino = in->ino)) {
		raw->i_flags &= ~(EXT2_IMMUTABLE_FL | EXT2_APPEND_FL);
		in->dirty = true;
	}
	if (dafs_ck_size(raw) &&
	    DAFS_CK_FIND(w, INO_SPECIAL_SIZE, .ino = in->ino, .found = dafs_ck_size(raw))) {
		raw->i_size = raw->i_size_high = 0;
		in->dirty = true;
	}
}

/* Rules of the file type. True: it has blocks to be looked at. */
static bool check_type(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;
	unsigned type = dafs_ck_type(raw->i_mode);
	bool ok = true;

	switch (type) {
	case EXT2_FT_DIR:
	case EXT2_FT_REG_FILE:
		break;
	case EXT2_FT_SYMLINK:
		ok = dafs_ck_symlink_ok(w, in->ino, raw);
		if (!ok)
			break;
		if (raw->i_flags & (EXT2_IMMUTABLE_FL | EXT2_APPEND_FL) &&
		    DAFS_CK_FIND(w, INO_IMMUTABLE, .ino = in->ino)) {
			raw->i_flags &= ~(EXT2_IMMUTABLE_FL | EXT2_APPEND_FL);
			in->dirty = true;
		}
		if (raw->i_flags & EXT4_INLINE_DATA_FL) {
			in->cki |= EXT2_FT_SYMLINK;
			return false;
		}
		break;
	case EXT2_FT_UNKNOWN:
		ok = false;
		break;
	default:
		ok = dafs_ck_device_ok(raw);
		if (!ok)
			break;
		check_special(w, in);
	}
	if (ok)
		in->cki |= (uint16_t)type;
	else
		in->cki |= DAFS_CKI_BAD;
	return true;
}

static void look_used(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;

	if (raw->i_dtime && DAFS_CK_FIND(w, INO_DTIME_SET, .ino = in->ino, .found = raw->i_dtime)) {
		raw->i_dtime = 0;
		in->dirty = true;
	}
	in->cki |= DAFS_CKI_USED;
	mark_bad_fields(ck, in);
	if (raw->i_flags & EXT2_IMAGIC_FL) {
		if (ck->g.imagic) {
			in->cki |= DAFS_CKI_IMAGIC;
		} else if (DAFS_CK_FIND(w, INO_IMAGIC, .ino = in->ino)) {
			raw->i_flags &= ~EXT2_IMAGIC_FL;
			in->dirty = true;
		}
	}
	check_extra(w, in);
	check_is_dir(w, in);
	if (ck->g.extents && raw->i_flags & EXT4_EXTENTS_FL && LINUX_S_ISLNK(raw->i_mode) &&
	    !dafs_ck_has_blocks(ck, raw) && DAFS_CK_FIND(w, INO_SYMLINK_EXT, .ino = in->ino)) {
		raw->i_flags &= ~EXT4_EXTENTS_FL;
		in->dirty = true;
	}
	if (raw->i_flags & EXT4_ENCRYPT_FL && !dafs_ck_policy_look(w, in))
		return;
	if (ck->g.casefold && raw->i_flags & EXT4_CASEFOLD_FL)
		in->cki |= DAFS_CKI_CASEFOLD;
	if (raw->i_flags & EXT4_EA_INODE_FL)
		in->cki |= DAFS_CKI_EA;
	if (check_type(w, in))
		dafs_ck_inode_blocks(w, in, true);
}

void dafs_ck_inode_look(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	const struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = in->raw;

	if (in->garbage && raw->i_links_count && DAFS_CK_FIND(w, INO_GARBAGE, .ino = in->ino)) {
		dafs_ck_inode_clear(w, in);
		return;
	}
	if (raw->i_dtime && ck->low_dtime && raw->i_dtime < ck->g.inodes &&
	    DAFS_CK_FIND(w, INO_ORPHAN, .ino = in->ino, .found = raw->i_dtime)) {
		raw->i_dtime = raw->i_links_count ? 0 : (uint32_t)ck->ctx->now_sec;
		in->dirty = true;
	}
	in->links = raw->i_links_count;
	if (!raw->i_links_count && in->ino >= ck->g.first_ino &&
	    !dafs_ck_is_quota_inum(ck, in->ino)) {
		if (!raw->i_dtime && raw->i_mode &&
		    DAFS_CK_FIND(w, INO_DTIME_ZERO, .ino = in->ino)) {
			raw->i_dtime = (uint32_t)ck->ctx->now_sec;
			in->dirty = true;
		}
	} else if (check_flags(w, in) && !dafs_ck_inode_numbered(w, in) && raw->i_links_count) {
		look_used(w, in);
	}
	/* Nothing else to complain about (a repaired inode gets its checksum anyway). */
	if (in->csum_bad && !in->cleared && !in->dirty && DAFS_CK_FIND(w, INO_CSUM, .ino = in->ino))
		in->dirty = true;
}
