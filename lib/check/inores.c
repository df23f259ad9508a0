/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inores - inodes whose number means something: bad blocks, root, journal, quota files, orphan
 * file, and those that are reserved for what nobody made.
 */
#include "config.h"

#include "check/check_int.h"

static bool holds_something(const struct ext2_inode_large *raw)
{
	return raw->i_links_count || raw->i_blocks || raw->i_block[0];
}

static void wipe(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	memset(in->raw, 0, w->ck->g.inode_size);
	in->links = 0;
	in->dirty = true;
}

/* A file that the superblock names (journal, quota, orphan file), or an inode reserved for one.
 * use: the feature is on. */
struct named {
	bool use;
	uint16_t mode_code, clear_code;
	const char *what;
	uint32_t *number; /* where the superblock has it; NULL: it is always that one */
};

/* A number among those of users' files, without the feature: it is the number that is wrong, and
 * the file that would pay for it. True: it is forgotten, and the file is one as any other. */
static bool forget_number(struct dafs_ck_worker *w, const struct dafs_ck_inode *in,
			  const struct named *named)
{
	if (!DAFS_CK_FIND(w, SB_STRAY, .ino = in->ino, .text = named->what))
		return false;
	*named->number = 0;
	w->ck->again = true;
	return true;
}

/* True: done with it. */
static bool look_named(struct dafs_ck_worker *w, struct dafs_ck_inode *in,
		       const struct named *named)
{
	in->cki |= DAFS_CKI_USED;
	if (named->use) {
		if (!LINUX_S_ISREG(in->raw->i_mode) &&
		    dafs_ck_find(w, &(struct dafs_finding){ .code = named->mode_code,
							    .ino = in->ino })) {
			in->raw->i_mode = LINUX_S_IFREG;
			in->dirty = true;
		}
		dafs_ck_inode_blocks(w, in, false);
		return true;
	}
	if (holds_something(in->raw) && in->raw->i_mode && named->number &&
	    in->ino >= w->ck->g.first_ino)
		return !forget_number(w, in, named) && !in->raw->i_links_count;
	if (holds_something(in->raw) &&
	    dafs_ck_find(w, &(struct dafs_finding){ .code = named->clear_code, .ino = in->ino }))
		wipe(w, in);
	return !in->raw->i_links_count;
}

static void look_bad_blocks(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;

	in->cki |= DAFS_CKI_USED;
	if ((in->csum_bad || raw->i_mode || raw->i_uid || raw->i_gid || raw->i_links_count ||
	     raw->i_file_acl || raw->i_flags & EXT4_INLINE_DATA_FL) &&
	    DAFS_CK_FIND(w, INO_BAD_BLOCKS, .ino = in->ino)) {
		memset(raw, 0, sizeof(struct ext2_inode));
		in->dirty = true;
		in->links = 0;
	}
	dafs_ck_bad_blocks(w, in);
}

/* False: the root was cleared. */
static bool look_root(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;

	if (!LINUX_S_ISDIR(raw->i_mode) &&
	    DAFS_CK_FIND(w, INO_ROOT_NODIR, .ino = in->ino, .found = raw->i_mode)) {
		dafs_ck_inode_clear(w, in);
		return false;
	}
	if (raw->i_dtime && raw->i_links_count && DAFS_CK_FIND(w, INO_ROOT_DTIME, .ino = in->ino)) {
		raw->i_dtime = 0;
		in->dirty = true;
	}
	return true;
}

static void look_reserved(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct ext2_inode_large *raw = in->raw;
	bool wrong = raw->i_mode != 0;

	in->cki |= DAFS_CKI_USED;
	if (in->ino == EXT2_BOOT_LOADER_INO)
		wrong = LINUX_S_ISDIR(raw->i_mode);
	else if (in->ino == EXT2_RESIZE_INO)
		wrong = raw->i_mode && !LINUX_S_ISREG(raw->i_mode);
	if (wrong && DAFS_CK_FIND(w, INO_RESERVED_MODE, .ino = in->ino, .found = raw->i_mode)) {
		raw->i_mode = 0;
		in->dirty = true;
	}
	dafs_ck_inode_blocks(w, in, false);
}

bool dafs_ck_is_quota_inum(const struct dafs_ck *ck, uint32_t ino)
{
	return ino == EXT4_USR_QUOTA_INO || ino == EXT4_GRP_QUOTA_INO ||
	       (ck->sb.s_prj_quota_inum && ino == ck->sb.s_prj_quota_inum);
}

bool dafs_ck_inode_numbered(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct dafs_ck *ck = w->ck;
	uint32_t ino = in->ino;

	if (ino == EXT2_BAD_INO) {
		look_bad_blocks(w, in);
		return true;
	}
	if (ino == EXT2_ROOT_INO)
		return !look_root(w, in);
	if (ino == EXT2_JOURNAL_INO)
		return look_named(w, in,
				  &(struct named){ ck->sb.s_journal_inum == EXT2_JOURNAL_INO,
						   DAFS_CK_INO_JNL_MODE, DAFS_CK_INO_JNL_CLEAR,
						   NULL, NULL });
	if (dafs_ck_is_quota_inum(ck, ino)) {
		bool use = false;

		for (unsigned type = 0; type < 3; type++)
			use |= ck->g.quota && dafs_ck_quota_inum(ck, type) == ino;
		return look_named(w, in,
				  &(struct named){ use, DAFS_CK_INO_QUOTA_MODE,
						   DAFS_CK_INO_QUOTA_CLEAR, "project quota file",
						   ino == ck->sb.s_prj_quota_inum
							   ? &ck->sb.s_prj_quota_inum
							   : NULL });
	}
	if (ck->sb.s_orphan_file_inum && ino == ck->sb.s_orphan_file_inum)
		return look_named(w, in,
				  &(struct named){ ext2fs_has_feature_orphan_file(&ck->sb),
						   DAFS_CK_INO_ORPHAN_MODE,
						   DAFS_CK_INO_ORPHAN_CLEAR, "orphan file",
						   &ck->sb.s_orphan_file_inum });
	if (ino < ck->g.first_ino) {
		look_reserved(w, in);
		return true;
	}
	return false;
}
