/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fc_apply - what fast commits make of inodes and directories, in memory.
 *
 * Records may say what is so already (a part of it reached the disk, or an earlier replay was cut
 * off): a name that is there, a range that is mapped. Link counts of files come with their inode's
 * record, which follows the names; those of directories are counted here.
 */
#include "config.h"

#include "image/fc_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "image/dircodec.h"
#include "image/group.h"
#include "image/inline.h"

static errcode_t corrupt(struct dafs_fc *fc, uint32_t ino, const char *why)
{
	return dafs_fail(fc->img->ctx, DAFS_ET_CORRUPT_JOURNAL,
			 "%s: fast commit: inode %" PRIu32 ": %s", fc->img->dev->address, ino, why);
}

static void free_names(struct dafs_fc_inode *fi)
{
	struct dafs_fc_name *name, *next;

	HASH_ITER(hh, fi->names, name, next) {
		HASH_DEL(fi->names, name);
		free(name);
	}
}

static void free_inode(struct dafs_fc_inode *fi)
{
	free_names(fi);
	free(fi->raw);
	dafs_extlist_fini(&fi->map);
	dafs_extlist_fini(&fi->was);
	dafs_blklist_fini(&fi->nodes);
	free(fi);
}

void dafs_fc_fini(struct dafs_fc *fc)
{
	struct dafs_fc_inode *fi, *next;

	HASH_ITER(hh, fc->inodes, fi, next) {
		HASH_DEL(fc->inodes, fi);
		free_inode(fi);
	}
	dafs_blklist_fini(&fc->zeroed);
}

static errcode_t copy_map(struct dafs_extlist *to, const struct dafs_extlist *from)
{
	errcode_t err = 0;

	for (size_t i = 0; i < from->n && !err; i++)
		err = dafs_extlist_push(to, &from->v[i]);
	return err;
}

/* What the image has of an inode. */
static errcode_t load_inode(struct dafs_fc *fc, struct dafs_fc_inode *fi)
{
	struct dafs_image *img = fc->img;
	uint32_t per_group = img->fs->super->s_inodes_per_group, bit = (fi->ino - 1) % per_group;
	const uint8_t *bits;
	errcode_t err = dafs_group_inode_bits(img, (fi->ino - 1) / per_group, &bits);

	if (err)
		return err;
	fi->was_used = dafs_bits_are(bits, bit, 1, true);
	if (!fi->was_used)
		return 0;
	err = dafs_icodec_read(img, fi->ino, dafs_fc_raw(fi), img->inode_size);
	if (err)
		return err;
	fi->was_mode = dafs_fc_raw(fi)->i_mode;
	fi->orphan = !dafs_fc_raw(fi)->i_links_count;
	if (!dafs_icodec_has_map(img, dafs_fc_raw(fi)))
		return 0;
	err = dafs_etree_decode(img, fi->ino, dafs_fc_raw(fi), &fi->was, &fi->nodes);
	return err ? err : copy_map(&fi->map, &fi->was);
}

/* The inode as it is by now. Only those that users have, and the root, may be in a fast commit. */
static errcode_t get_inode(struct dafs_fc *fc, uint32_t ino, struct dafs_fc_inode **ret)
{
	const struct ext2_super_block *sb = fc->img->fs->super;
	size_t bytes = fc->img->inode_size;
	struct dafs_fc_inode *fi;
	errcode_t err;

	HASH_FIND(hh, fc->inodes, &ino, sizeof(ino), fi);
	*ret = fi;
	if (fi)
		return 0;
	if (ino > sb->s_inodes_count || (ino < EXT2_FIRST_INODE(sb) && ino != EXT2_ROOT_INO))
		return corrupt(fc, ino, "not one of a file");
	fi = calloc(1, sizeof(*fi));
	if (!fi)
		return ENOMEM;
	fi->ino = ino;
	fi->raw = calloc(1, bytes > sizeof(struct ext2_inode_large)
				    ? bytes
				    : sizeof(struct ext2_inode_large));
	err = fi->raw ? load_inode(fc, fi) : ENOMEM;
	if (!err) {
		HASH_ADD(hh, fc->inodes, ino, sizeof(fi->ino), fi);
		err = fi->hh.tbl ? 0 : ENOMEM;
	}
	if (err) {
		free_inode(fi);
		return err;
	}
	*ret = fi;
	return 0;
}

/* The last name is gone. Its number may be that of another file, or directory, later on. */
static void drop_inode(struct dafs_fc_inode *fi)
{
	dafs_extlist_fini(&fi->map);
	dafs_fc_raw(fi)->i_links_count = 0;
	fi->changed = true;
	fi->orphan = fi->is_new_dir = false;
	free_names(fi);
}

/* --- inodes and their blocks --- */

/* The record has the inode as it was in memory. Its mapping comes by ranges; other bodies (targets,
 * device numbers, inline data) stand in i_block. */
static errcode_t apply_inode(struct dafs_fc *fc, const uint8_t *val, size_t len)
{
	enum {
		BODY = offsetof(struct ext2_inode_large, i_block),
		PAST = offsetof(struct ext2_inode_large, i_generation)
	};
	struct dafs_fc_inode *fi;
	uint32_t ino, was_flags, flags;
	bool fresh, mapped;
	errcode_t err;

	memcpy(&ino, val, 4);
	val += 4;
	len -= 4;
	err = get_inode(fc, ino, &fi);
	if (err)
		return err;
	fresh = dafs_fc_absent(fi);
	was_flags = dafs_fc_raw(fi)->i_flags;
	if (fresh)
		memset(fi->raw, 0, fc->img->inode_size);
	memcpy(&flags, val + offsetof(struct ext2_inode_large, i_flags), sizeof(flags));
	/* A body that left the inode took its attribute along. */
	if (!(flags & EXT4_INLINE_DATA_FL))
		err = dafs_inline_drop(fc->img, ino, dafs_fc_raw(fi));
	if (err)
		return err;
	memcpy(fi->raw, val, BODY);
	memcpy(fi->raw + PAST, val + PAST, len - PAST);
	fi->changed = true;
	mapped = dafs_fc_raw(fi)->i_flags & EXT4_EXTENTS_FL;
	if (mapped && (fresh || !(was_flags & EXT4_EXTENTS_FL)))
		memset(fi->raw + BODY, 0, PAST - BODY);
	if (!mapped)
		memcpy(fi->raw + BODY, val + BODY, PAST - BODY);
	if (!mapped && dafs_icodec_has_map(fc->img, dafs_fc_raw(fi)))
		return corrupt(fc, ino, "is mapped by blocks");
	if (!mapped || fresh)
		dafs_extlist_fini(&fi->map);
	return 0;
}

static errcode_t get_mapped(struct dafs_fc *fc, uint32_t ino, struct dafs_fc_inode **fi)
{
	errcode_t err = get_inode(fc, ino, fi);

	/* The ranges of a body that leaves its inode come before the record that says so. */
	if (!err && !(dafs_fc_raw(*fi)->i_flags & (EXT4_EXTENTS_FL | EXT4_INLINE_DATA_FL)))
		*fi = NULL;
	if (!err && *fi)
		(*fi)->changed = true;
	return err;
}

static errcode_t apply_add(struct dafs_fc *fc, const uint8_t *val)
{
	struct {
		uint32_t ino, lblk;
		uint16_t len, start_hi;
		uint32_t start_lo;
	} add;
	struct dafs_fc_inode *fi;
	bool unwritten;
	uint64_t pblk;
	uint32_t len;
	errcode_t err;

	memcpy(&add, val, sizeof(add));
	err = get_mapped(fc, add.ino, &fi);
	if (err || !fi)
		return err;
	pblk = (uint64_t)add.start_hi << 32 | add.start_lo;
	unwritten = add.len > DAFS_EXT_MAX_WRITTEN;
	len = unwritten ? add.len - DAFS_EXT_MAX_WRITTEN : add.len;
	if (!len || add.lblk > DAFS_ETREE_MAX_BLOCKS - len ||
	    !dafs_image_data_range_ok(fc->img, pblk, len))
		return corrupt(fc, add.ino, "bad range");
	return dafs_extlist_set(&fi->map, pblk, add.lblk, len, unwritten, NULL);
}

static errcode_t apply_del(struct dafs_fc *fc, const uint8_t *val)
{
	struct {
		uint32_t ino, lblk, len;
	} del;
	struct dafs_fc_inode *fi;
	uint32_t end;
	errcode_t err;

	memcpy(&del, val, sizeof(del));
	err = get_mapped(fc, del.ino, &fi);
	if (err || !fi)
		return err;
	end = del.len < DAFS_ETREE_MAX_BLOCKS - del.lblk ? del.lblk + del.len
							 : DAFS_ETREE_MAX_BLOCKS;
	return del.lblk < end ? dafs_extlist_clear(&fi->map, del.lblk, end, NULL) : 0;
}

/* --- names --- */

struct entry {
	uint32_t parent, ino;
	const char *name;
	uint8_t len;
};

/* The name's row in its directory, with what the image has under it. */
static errcode_t find_name(struct dafs_fc *fc, struct dafs_fc_inode *dir, const struct entry *e,
			   struct dafs_fc_name **ret)
{
	struct dafs_dirent_view view;
	struct dafs_fc_name *name;
	errcode_t err = ENOENT;

	HASH_FIND(hh, dir->names, e->name, e->len, *ret);
	if (*ret)
		return 0;
	if (memchr(e->name, 0, e->len) || memchr(e->name, '/', e->len))
		return corrupt(fc, dir->ino, "bad name");
	if (dir->was_used && !dir->is_new_dir)
		err = dafs_dircodec_lookup(fc->img, dir->ino, dafs_fc_raw(dir), e->name, e->len,
					   &view);
	if (err && err != ENOENT)
		return err;
	name = calloc(1, sizeof(*name));
	if (!name)
		return ENOMEM;
	name->len = e->len;
	memcpy(name->text, e->name, e->len);
	name->ino = name->was_ino = err ? 0 : view.ino;
	HASH_ADD(hh, dir->names, text, name->len, name);
	if (!name->hh.tbl) {
		free(name);
		return ENOMEM;
	}
	*ret = name;
	return 0;
}

/* Directory, child and row of a record about a name; *name NULL: one of them is not there. */
static errcode_t get_entry(struct dafs_fc *fc, const struct dafs_fc_tag *tag, struct entry *e,
			   struct dafs_fc_inode **dir, struct dafs_fc_inode **child,
			   struct dafs_fc_name **name)
{
	errcode_t err;

	*name = NULL;
	memcpy(&e->parent, tag->val, 4);
	memcpy(&e->ino, tag->val + 4, 4);
	e->name = (const char *)tag->val + 8;
	e->len = (uint8_t)(tag->len - 8);
	err = get_inode(fc, e->parent, dir);
	if (!err)
		err = get_inode(fc, e->ino, child);
	if (err || dafs_fc_absent(*dir) || !LINUX_S_ISDIR(dafs_fc_raw(*dir)->i_mode) ||
	    !dafs_fc_raw(*child)->i_mode)
		return err;
	return find_name(fc, *dir, e, name);
}

/* A directory with too many of them to count says 1 (dir_nlink), for good. */
static void count_subdir(const struct dafs_fc *fc, struct ext2_inode_large *dir)
{
	uint16_t links = dir->i_links_count;

	if (fc->img->has_dir_nlink && (links == 1 || links >= EXT2_LINK_MAX))
		dir->i_links_count = 1;
	else if (links < UINT16_MAX)
		dir->i_links_count++;
}

static void begin_dir(const struct dafs_fc *fc, struct dafs_fc_inode *dir,
		      struct dafs_fc_inode *child)
{
	child->is_new_dir = true;
	child->parent = dir->ino;
	dafs_extlist_fini(&child->map);
	dafs_fc_raw(child)->i_links_count = 2;
	count_subdir(fc, dafs_fc_raw(dir));
}

static errcode_t apply_link(struct dafs_fc *fc, const struct dafs_fc_tag *tag)
{
	struct dafs_fc_inode *dir, *child;
	struct dafs_fc_name *name;
	struct entry e;
	errcode_t err = get_entry(fc, tag, &e, &dir, &child, &name);

	if (err || !name || name->ino)
		return err;
	if (dafs_fc_raw(child)->i_links_count == UINT16_MAX)
		return corrupt(fc, e.ino, "has too many links");
	name->ino = e.ino;
	dir->changed = child->changed = true;
	if (tag->kind == DAFS_FC_CREAT && LINUX_S_ISDIR(dafs_fc_raw(child)->i_mode))
		begin_dir(fc, dir, child);
	else if (tag->kind == DAFS_FC_LINK || !dafs_fc_raw(child)->i_links_count)
		dafs_fc_raw(child)->i_links_count++;
	return 0;
}

static errcode_t apply_unlink(struct dafs_fc *fc, const struct dafs_fc_tag *tag)
{
	struct dafs_fc_inode *dir, *child;
	struct dafs_fc_name *name;
	struct entry e;
	errcode_t err = get_entry(fc, tag, &e, &dir, &child, &name);

	if (err || !name || name->ino != e.ino)
		return err;
	name->ino = 0;
	dir->changed = child->changed = true;
	if (LINUX_S_ISDIR(dafs_fc_raw(child)->i_mode)) {
		if (dafs_fc_raw(dir)->i_links_count > 2)
			dafs_fc_raw(dir)->i_links_count--;
		drop_inode(child);
		return 0;
	}
	if (dafs_fc_raw(child)->i_links_count <= 1)
		drop_inode(child);
	else
		dafs_fc_raw(child)->i_links_count--;
	return 0;
}

errcode_t dafs_fc_apply(struct dafs_fc *fc, const struct dafs_fc_log *log)
{
	errcode_t err = 0;

	for (size_t i = 0; i < log->n && !err; i++) {
		const struct dafs_fc_tag *tag = &log->tags[i];

		switch (tag->kind) {
		case DAFS_FC_ADD_RANGE:
			err = apply_add(fc, tag->val);
			break;
		case DAFS_FC_DEL_RANGE:
			err = apply_del(fc, tag->val);
			break;
		case DAFS_FC_INODE:
			err = apply_inode(fc, tag->val, tag->len);
			break;
		case DAFS_FC_UNLINK:
			err = apply_unlink(fc, tag);
			break;
		default:
			err = apply_link(fc, tag);
			break;
		}
	}
	return err;
}
