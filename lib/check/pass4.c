/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pass4 - is every inode in use named as often as it says?
 *
 * Verifies: link counts, inodes without a name, reference counts of attribute values. Leaves for
 * the next: which inodes are in use.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#define LINK_MAX 65000u

struct look {
	struct dafs_ck *ck;
	struct ext2_inode_large *raw;
	bool many_links; /* a directory with more links than can be counted */
};

/* Inodes without names by design. */
static bool is_nameless(const struct dafs_ck *ck, uint32_t ino)
{
	return ino == EXT2_BAD_INO || (ino > EXT2_ROOT_INO && ino < ck->g.first_ino) ||
	       (ck->sb.s_prj_quota_inum && ino == ck->sb.s_prj_quota_inum) ||
	       (ck->sb.s_orphan_file_inum && ino == ck->sb.s_orphan_file_inum);
}

/* A value that attributes use counts as named once. */
static errcode_t look_value(struct look *l, uint32_t ino, uint32_t *refs)
{
	struct dafs_ck *ck = l->ck;
	const uint64_t *uses = dafs_ck_map_get(&ck->ea_inodes, ino);
	uint64_t stored;

	if (!uses)
		return 0;
	if (!dafs_ck_read_inode(ck->main, ino, l->raw))
		return ck->main->err;
	*refs = 1;
	/* The count is kept in ctime and version. Lustre's old values have none, and both times
	 * alike. */
	stored = ext2fs_get_ea_inode_ref((struct ext2_inode *)l->raw);
	if (stored == *uses || l->raw->i_ctime == l->raw->i_atime)
		return 0;
	if (!DAFS_CK_FIND(ck->main, EA_LINKS, .ino = ino, .found = stored, .want = *uses))
		return 0;
	ext2fs_set_ea_inode_ref((struct ext2_inode *)l->raw, *uses);
	return dafs_ck_write_inode(ck->main, ino, l->raw);
}

/* Is there nothing in it that anyone could miss? */
static bool is_empty(const struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	uint32_t room = ck->g.inode_size - EXT2_GOOD_OLD_INODE_SIZE, magic = 0;

	if (room && raw->i_extra_isize + sizeof(magic) <= room)
		memcpy(&magic, (const uint8_t *)raw + EXT2_GOOD_OLD_INODE_SIZE + raw->i_extra_isize,
		       sizeof(magic));
	return !raw->i_blocks && magic != EXT2_EXT_ATTR_MAGIC &&
	       (LINUX_S_ISREG(raw->i_mode) || LINUX_S_ISDIR(raw->i_mode));
}

/* An inode that no name leads to. True: done with it. */
static bool look_unattached(struct look *l, uint32_t ino, errcode_t *err)
{
	struct dafs_ck *ck = l->ck;
	struct dafs_ck_worker *w = ck->main;
	bool done;

	if (dafs_ck_ino_flags(ck, ino) & DAFS_CKI_BAD && dafs_ck_bad_inode(w, 0, ino))
		return true;
	if (!dafs_ck_read_inode(w, ino, l->raw)) {
		*err = w->err;
		return true;
	}
	if (is_empty(ck, l->raw)) {
		if (DAFS_CK_FIND(w, UNATTACHED_EMPTY, .ino = ino))
			*err = dafs_ck_inode_delete(ck, ino);
		return true;
	}
	if (!DAFS_CK_FIND(w, UNATTACHED, .ino = ino))
		return true;
	/* A value that no attribute uses any more is a file like others then. */
	if (l->raw->i_flags & EXT4_EA_INODE_FL) {
		l->raw->i_flags &= ~(uint32_t)EXT4_EA_INODE_FL;
		*err = dafs_ck_write_inode(w, ino, l->raw);
	}
	if (!*err)
		*err = dafs_ck_reconnect(ck, ino, &done);
	ck->again = true;
	return true;
}

static errcode_t look_links(struct look *l, uint32_t ino, uint32_t refs)
{
	struct dafs_ck *ck = l->ck;
	bool dir = (dafs_ck_ino_flags(ck, ino) & DAFS_CKI_TYPE) == EXT2_FT_DIR;
	uint32_t links = dafs_ck_ino_links(ck, ino);

	if (dir && refs > LINK_MAX) {
		l->many_links = true;
		/* The count overflowed: 1 means "many". It may also still be exact. */
		if (links == 1 || (links == refs && refs <= UINT16_MAX))
			return 0;
		refs = 1;
	}
	if (refs == links)
		return 0;
	/* An indexed directory's count stays at 1 once it overflowed. */
	if (!dafs_ck_read_inode(ck->main, ino, l->raw))
		return ck->main->err;
	if (dir && links == 1 && refs > 1 && l->raw->i_flags & EXT2_INDEX_FL &&
	    ext2fs_has_feature_dir_nlink(&ck->sb) && !ck->fixing)
		return 0;
	if (!DAFS_CK_FIND(ck->main, LINKS, .ino = ino, .found = l->raw->i_links_count,
			  .want = refs))
		return 0;
	l->raw->i_links_count = (uint16_t)refs;
	return dafs_ck_write_inode(ck->main, ino, l->raw);
}

static errcode_t look_inode(struct look *l, uint32_t ino)
{
	struct dafs_ck *ck = l->ck;
	uint32_t refs = dafs_ck_refs(ck, ino);
	errcode_t err = 0;

	if (is_nameless(ck, ino))
		return 0;
	if (!refs && ck->ea_inodes.n)
		err = look_value(l, ino, &refs);
	if (!refs && !err) {
		if (look_unattached(l, ino, &err))
			return err;
		refs = dafs_ck_refs(ck, ino);
	}
	return err ? err : look_links(l, ino, refs);
}

/* The common case: named as often as it says. */
static bool is_settled(const struct dafs_ck *ck, uint32_t ino)
{
	unsigned flags = dafs_ck_ino_flags(ck, ino);
	uint32_t refs;

	if (!(flags & DAFS_CKI_USED) || flags & (DAFS_CKI_IMAGIC | DAFS_CKI_BB))
		return true;
	refs = dafs_ck_refs(ck, ino);
	return refs == dafs_ck_ino_links(ck, ino) && refs && refs <= LINK_MAX &&
	       !(flags & DAFS_CKI_EA);
}

errcode_t dafs_ck_pass4(struct dafs_ck *ck)
{
	struct look l = { .ck = ck,
			  .raw = malloc(ck->g.inode_size < 256 ? 256 : ck->g.inode_size) };
	errcode_t err = l.raw ? 0 : ENOMEM;

	for (uint64_t at = 0; at < ck->g.inodes && !err; at += 64) {
		uint64_t some = dafs_ck_ino_unsettled_word(ck, (uint32_t)at + 1);

		for (; some && !err; some &= some - 1) {
			uint32_t ino = (uint32_t)at + 1 + (uint32_t)__builtin_ctzll(some);

			if (!is_settled(ck, ino))
				err = look_inode(&l, ino);
		}
	}
	if (!err && l.many_links && !ext2fs_has_feature_dir_nlink(&ck->sb) &&
	    DAFS_CK_FIND(ck->main, FEATURE_DIR_NLINK)) {
		ext2fs_set_feature_dir_nlink(&ck->sb);
		ck->backups = true;
	}
	free(l.raw);
	return err;
}
