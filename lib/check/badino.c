/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * badino - inodes with fields that cannot be (marked BAD in pass 1), complained about where their
 * name is known.
 *
 * An inode of an impossible type, device or target is cleared; other fields are set to what they
 * should be.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

struct bad {
	struct dafs_ck_worker *w;
	uint32_t ino, dir;
	struct ext2_inode_large *raw;
	bool changed, left; /* something was repaired; something was not */
};

/* True: repair it. */
static bool find_bad(struct bad *b, unsigned code, uint64_t found, const char *text)
{
	bool fix = dafs_ck_find(b->w, &(struct dafs_finding){ .code = (uint16_t)code,
							      .ino = b->ino,
							      .dir = b->dir,
							      .found = found,
							      .blk = found,
							      .text = text });

	if (fix)
		b->changed = true;
	else
		b->left = true;
	return fix;
}

/* Is it of no possible kind? Then there is nothing to keep. */
static bool look_kind(struct bad *b)
{
	static const char *const kinds[] = { [EXT2_FT_CHRDEV] = "character device",
					     [EXT2_FT_BLKDEV] = "block device",
					     [EXT2_FT_FIFO] = "fifo",
					     [EXT2_FT_SOCK] = "socket" };
	const struct ext2_inode_large *raw = b->raw;
	unsigned type = dafs_ck_type(raw->i_mode);

	switch (type) {
	case EXT2_FT_UNKNOWN:
		return find_bad(b, DAFS_CK_BAD_MODE, raw->i_mode, NULL);
	case EXT2_FT_CHRDEV:
	case EXT2_FT_BLKDEV:
	case EXT2_FT_FIFO:
	case EXT2_FT_SOCK:
		return !dafs_ck_device_ok(raw) && find_bad(b, DAFS_CK_BAD_DEVICE, 0, kinds[type]);
	case EXT2_FT_SYMLINK:
		return !dafs_ck_symlink_ok(b->w, b->ino, raw) &&
		       find_bad(b, DAFS_CK_BAD_SYMLINK, 0, NULL);
	default:
		return false;
	}
}

static void drop_acl(const struct dafs_ck *ck, struct ext2_inode_large *raw)
{
	raw->i_file_acl = 0;
	if (!ck->g.hurd)
		raw->osd2.linux2.l_i_file_acl_high = 0;
}

static void look_fields(struct bad *b)
{
	const struct dafs_ck *ck = b->w->ck;
	struct ext2_inode_large *raw = b->raw;
	uint64_t acl = dafs_ck_acl(ck, raw);

	if (raw->i_faddr && find_bad(b, DAFS_CK_BAD_FADDR, raw->i_faddr, NULL))
		raw->i_faddr = 0;
	if (ck->g.hurd) {
		if ((raw->osd2.hurd2.h_i_frag || raw->osd2.hurd2.h_i_fsize) &&
		    find_bad(b, DAFS_CK_BAD_FRAG, 0, NULL))
			raw->osd2.hurd2.h_i_frag = raw->osd2.hurd2.h_i_fsize = 0;
	} else {
		if (!ck->g.huge_file && raw->osd2.linux2.l_i_blocks_hi &&
		    find_bad(b, DAFS_CK_BAD_BLOCKS_HI, raw->osd2.linux2.l_i_blocks_hi, NULL))
			raw->osd2.linux2.l_i_blocks_hi = 0;
		if (!ck->g.bit64 && raw->osd2.linux2.l_i_file_acl_high &&
		    find_bad(b, DAFS_CK_BAD_ACL_HI, raw->osd2.linux2.l_i_file_acl_high, NULL))
			raw->osd2.linux2.l_i_file_acl_high = 0;
	}
	if (acl && !dafs_ck_blk_ok(ck, acl) && find_bad(b, DAFS_CK_BAD_ACL, acl, NULL))
		drop_acl(ck, raw);
	if (LINUX_S_ISDIR(raw->i_mode) && !ck->g.large_dir && raw->i_size_high &&
	    find_bad(b, DAFS_CK_BAD_SIZE_HIGH, raw->i_size_high, NULL))
		raw->i_size_high = 0;
}

bool dafs_ck_bad_inode(struct dafs_ck_worker *w, uint32_t dir, uint32_t ino)
{
	struct dafs_ck *ck = w->ck;
	struct bad b = { .w = w, .ino = ino, .dir = dir };
	bool cleared = false;

	b.raw = malloc(ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	if (!b.raw || !dafs_ck_read_inode(w, ino, b.raw)) {
		w->err = b.raw ? w->err : ENOMEM;
		goto out;
	}
	if (dafs_ck_acl(ck, b.raw) && !ck->g.xattr &&
	    find_bad(&b, DAFS_CK_BAD_ACL_FEATURE, dafs_ck_acl(ck, b.raw), NULL))
		drop_acl(ck, b.raw);
	if (look_kind(&b)) {
		cleared = true;
		w->err = dafs_ck_inode_delete(ck, ino);
		goto out;
	}
	look_fields(&b);
	if (b.changed) {
		w->err = dafs_ck_write_inode(w, ino, b.raw);
		/* What the inode owns may be another matter now. */
		ck->again = true;
	}
	if (!b.left && !w->err)
		w->err = dafs_ck_ino_change(ck, ino, 0, DAFS_CKI_BAD);
out:
	free(b.raw);
	return cleared;
}
