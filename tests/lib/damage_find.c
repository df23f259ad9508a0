/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage_find - the catalogue: every structure of a sound image and where it lies.
 *
 * The image is sound when this runs; still nothing is followed without bounds, for images may be
 * damaged more than once.
 */
#include "config.h"

#include "damage.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <ext2fs/ext2_ext_attr.h>
#include <ext2fs/ext3_extents.h>

#define DATA_MAX 4u  /* blocks of contents an inode that are worth a damage */
#define LOG_MAX	 64u /* blocks of a journal */

static void add(struct damage *d, struct place p)
{
	uint64_t size = ext2fs_blocks_count(d->fs->super) * d->fs->blocksize;

	if (!p.bytes || p.off + p.bytes > size)
		return;
	if (d->nplaces == d->room) {
		d->room = d->room ? d->room * 2 : 1024;
		d->places = reallocarray(d->places, d->room, sizeof(*d->places));
		if (!d->places)
			err(2, NULL);
	}
	d->places[d->nplaces++] = p;
}

static void add_blk(struct damage *d, unsigned kind, uint32_t ino, uint64_t blk)
{
	add(d, (struct place){ .kind = (uint8_t)kind,
			       .ino = ino,
			       .blk = blk,
			       .off = blk * d->fs->blocksize,
			       .bytes = d->fs->blocksize });
}

/* ---- groups ---- */

static void find_group(struct damage *d, uint32_t grp)
{
	ext2_filsys fs = d->fs;
	uint32_t per = EXT2_DESC_PER_BLOCK(fs->super), size = EXT2_DESC_SIZE(fs->super);
	blk64_t blk = ext2fs_descriptor_block_loc2(fs, fs->super->s_first_data_block, grp / per);
	blk64_t first = ext2fs_group_first_block2(fs, grp), copy;

	add(d, (struct place){ K_DESC, 0, grp, blk, blk * fs->blocksize + grp % per * size, size });
	if (!ext2fs_bg_flags_test(fs, grp, EXT2_BG_BLOCK_UNINIT)) {
		blk = ext2fs_block_bitmap_loc(fs, grp);
		add(d, (struct place){ K_BLOCK_BITMAP, 0, grp, blk, blk * fs->blocksize,
				       fs->super->s_clusters_per_group / 8 });
	}
	if (!ext2fs_bg_flags_test(fs, grp, EXT2_BG_INODE_UNINIT)) {
		blk = ext2fs_inode_bitmap_loc(fs, grp);
		add(d, (struct place){ K_INODE_BITMAP, 0, grp, blk, blk * fs->blocksize,
				       fs->super->s_inodes_per_group / 8 });
	}
	if (!grp || !ext2fs_bg_has_super(fs, (int)grp))
		return;
	add(d, (struct place){ K_SUPER_COPY, 0, grp, first, first * fs->blocksize, 1024 });
	copy = ext2fs_descriptor_block_loc2(fs, first, 0);
	add(d, (struct place){ K_DESC_COPY, 0, 0, copy, copy * fs->blocksize, size });
}

/* ---- what an inode points to ---- */

struct visit {
	struct damage *d;
	uint32_t ino;
	bool is_dir, indexed;
	uint8_t kind; /* of its leaves */
	uint32_t data, most;
	uint8_t *buf;
};

static unsigned dir_kind(const struct visit *v, blk64_t blk, e2_blkcnt_t lblk)
{
	uint32_t bs = v->d->fs->blocksize;
	unsigned rec_len;

	if (!v->indexed)
		return K_DIR;
	if (!lblk)
		return K_DX_ROOT;
	dmg_read(v->d, blk * bs, v->buf, 8);
	rec_len = v->buf[4] | (unsigned)v->buf[5] << 8;
	/* (A block that is one unused entry: a node, as there is no empty leaf in a sound
	 * index.) */
	return !v->buf[0] && !v->buf[1] && !v->buf[2] && !v->buf[3] && !v->buf[6] &&
			       (rec_len == bs || !rec_len || rec_len == 65535)
		       ? K_DX_NODE
		       : K_DIR;
}

static int visit_blk(ext2_filsys fs, blk64_t *blk, e2_blkcnt_t lblk, blk64_t ref, int off,
		     void *arg)
{
	struct visit *v = arg;
	struct ext3_extent_header eh;
	unsigned kind = v->kind;

	(void)ref;
	(void)off;
	if (lblk < 0) {
		dmg_read(v->d, *blk * fs->blocksize, &eh, sizeof(eh));
		if (v->ino == EXT2_RESIZE_INO)
			kind = K_RESIZE_MAP;
		else if (eh.eh_magic == EXT3_EXT_MAGIC)
			kind = eh.eh_depth ? K_EXT_INDEX : K_EXT_LEAF;
		else
			kind = K_INDIRECT;
		add_blk(v->d, kind, v->ino, *blk);
		return 0;
	}
	if (v->is_dir)
		kind = dir_kind(v, *blk, lblk);
	else if (v->data++ >= v->most)
		return BLOCK_ABORT;
	else if (kind == K_JOURNAL_LOG && !lblk)
		kind = K_JOURNAL_SUPER;
	add_blk(v->d, kind, v->ino, *blk);
	if (kind == K_JOURNAL_SUPER)
		v->d->places[v->d->nplaces - 1].bytes = 1024;
	return 0;
}

/* What a file without a name is for. */
static uint8_t content_kind(const struct ext2_super_block *sb, uint32_t ino)
{
	if (ino == sb->s_journal_inum)
		return K_JOURNAL_LOG;
	if (ino == sb->s_usr_quota_inum || ino == sb->s_grp_quota_inum ||
	    ino == sb->s_prj_quota_inum)
		return K_QUOTA;
	return ino == sb->s_orphan_file_inum ? K_ORPHAN_FILE : K_DATA;
}

static void find_blocks(struct damage *d, uint32_t ino, struct ext2_inode *raw)
{
	struct visit v = { .d = d,
			   .ino = ino,
			   .is_dir = LINUX_S_ISDIR(raw->i_mode),
			   .indexed = raw->i_flags & EXT2_INDEX_FL,
			   .kind = content_kind(d->fs->super, ino) };

	v.most = v.kind == K_DATA ? DATA_MAX : LOG_MAX;
	v.buf = malloc(d->fs->blocksize);
	if (!v.buf)
		err(2, NULL);
	ext2fs_block_iterate3(d->fs, ino, BLOCK_FLAG_READ_ONLY, NULL, visit_blk, &v);
	free(v.buf);
}

/* ---- inodes ---- */

static unsigned inode_kind(const struct damage *d, uint32_t ino, const struct ext2_inode *raw)
{
	if (!raw->i_links_count && ino >= EXT2_FIRST_INODE(d->fs->super))
		return K_INO_FREE;
	if (ino < EXT2_FIRST_INODE(d->fs->super))
		return K_INO_SPECIAL;
	if (raw->i_flags & EXT4_EA_INODE_FL)
		return K_INO_EA;
	if (LINUX_S_ISREG(raw->i_mode))
		return K_INO_FILE;
	if (LINUX_S_ISDIR(raw->i_mode))
		return K_INO_DIR;
	return LINUX_S_ISLNK(raw->i_mode) ? K_INO_LINK : K_INO_OTHER;
}

static bool has_ibody_xattrs(const struct damage *d, const uint8_t *raw)
{
	uint32_t size = d->fs->super->s_inode_size, at, magic;

	if (size <= EXT2_GOOD_OLD_INODE_SIZE)
		return false;
	at = EXT2_GOOD_OLD_INODE_SIZE + (raw[128] | (uint32_t)raw[129] << 8);
	if (at + sizeof(magic) > size)
		return false;
	memcpy(&magic, raw + at, sizeof(magic));
	return magic == EXT2_EXT_ATTR_MAGIC;
}

static void find_inode(struct damage *d, uint32_t ino, const uint8_t *buf)
{
	ext2_filsys fs = d->fs;
	struct ext2_inode raw;
	uint32_t grp = (ino - 1) / fs->super->s_inodes_per_group;
	uint32_t at = (ino - 1) % fs->super->s_inodes_per_group * fs->super->s_inode_size;
	struct place p = { .ino = ino, .grp = grp, .bytes = fs->super->s_inode_size };
	bool is_dir;
	blk64_t acl;

	memcpy(&raw, buf, sizeof(raw));
	is_dir = LINUX_S_ISDIR(raw.i_mode);
	p.off = ext2fs_inode_table_loc(fs, grp) * fs->blocksize + at;
	p.blk = p.off / fs->blocksize;
	p.kind = (uint8_t)inode_kind(d, ino, &raw);
	/* (A table has many free ones.) */
	if (p.kind != K_INO_FREE || d->nplaces % 16 == 0)
		add(d, p);
	if (!raw.i_links_count && ino != EXT2_BAD_INO)
		return;
	if (has_ibody_xattrs(d, buf)) {
		p.kind = K_XATTR_INODE;
		add(d, p);
	}
	acl = ext2fs_file_acl_block(fs, &raw);
	if (acl)
		add_blk(d, K_XATTR_BLOCK, ino, acl);
	if (raw.i_flags & EXT4_INLINE_DATA_FL) {
		p.kind = is_dir ? K_INLINE_DIR : K_INLINE_DATA;
		add(d, p);
		return;
	}
	if (!ext2fs_inode_has_valid_blocks2(fs, &raw))
		return;
	if (raw.i_flags & EXT4_EXTENTS_FL) {
		p.kind = K_EXT_ROOT;
		add(d, p);
	}
	find_blocks(d, ino, &raw);
}

static void find_inodes(struct damage *d)
{
	uint32_t size = d->fs->super->s_inode_size, ino;
	uint8_t *raw = malloc(size);
	ext2_inode_scan scan;

	if (!raw || ext2fs_open_inode_scan(d->fs, 0, &scan))
		errx(2, "inode scan");
	while (!ext2fs_get_next_inode_full(scan, &ino, (void *)raw, (int)size) && ino)
		find_inode(d, ino, raw);
	ext2fs_close_inode_scan(scan);
	free(raw);
}

/* ---- all ---- */

static int by_kind(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

void dmg_find_all(struct damage *d)
{
	const struct ext2_super_block *sb = d->fs->super;

	add(d, (struct place){ K_SUPER, 0, 0, 0, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE });
	for (uint32_t grp = 0; grp < d->fs->group_desc_count; grp++)
		find_group(d, grp);
	find_inodes(d);
	if (ext2fs_has_feature_mmp(d->fs->super) && sb->s_mmp_block) {
		add_blk(d, K_MMP, 0, sb->s_mmp_block);
		d->places[d->nplaces - 1].bytes = sizeof(struct mmp_struct);
	}
	qsort(d->places, d->nplaces, sizeof(*d->places), by_kind);
	for (size_t i = d->nplaces; i-- > 0;) {
		d->first[d->places[i].kind] = i;
		d->count[d->places[i].kind]++;
	}
}
