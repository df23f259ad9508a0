/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dircodec - directories of the image read: all entries, or one name. Changing them is in
 * dirplan.c.
 */
#include "config.h"

#include "image/dircodec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/dirindex.h"
#include "image/dirinline.h"
#include "image/inline.h"

typedef errcode_t (*entry_fn)(void *arg, const struct dafs_dirent_view *de);

errcode_t dafs_dirinline_find(struct dafs_image *img, uint32_t ino,
			      const struct ext2_inode_large *raw, struct dafs_dirinline *out)
{
	struct dafs_inline parts;
	errcode_t err = dafs_inline_find(img, ino, raw, &parts);

	memset(out, 0, sizeof(*out));
	if (err)
		return err;
	memcpy(&out->parent, parts.body, sizeof(out->parent));
	out->chain[0].buf = parts.body + DAFS_DIRINLINE_PARENT;
	out->chain[0].len = DAFS_INLINE_BODY - DAFS_DIRINLINE_PARENT;
	out->chain[1].buf = parts.spill;
	out->chain[1].len = parts.spill_len;
	for (int i = 0; i < 2; i++) {
		const char *problem =
			dafs_dirblock_problem(img, out->chain[i].buf, out->chain[i].len,
					      raw->i_flags & EXT4_ENCRYPT_FL, false);

		if (problem)
			return dafs_fail(img->ctx, DAFS_ET_CORRUPT_DIR,
					 "directory inode %u: inline: %s", ino, problem);
	}
	if (!out->parent || out->parent > img->fs->super->s_inodes_count)
		return dafs_fail(img->ctx, DAFS_ET_CORRUPT_DIR,
				 "directory inode %u: inline: parent", ino);
	return 0;
}

/* All entries of a checked chain. */
static errcode_t walk_chain(const struct dafs_image *img, const uint8_t *buf, uint32_t len,
			    uint32_t lblk, entry_fn fn, void *arg)
{
	errcode_t err = 0;

	for (uint32_t off = 0; off < len && !err;) {
		const struct dafs_dirent_disk *de = dafs_dirblock_at(buf, off);
		struct dafs_dirent_view view = { .name = de->name,
						 .name_len = de->name_len,
						 .ino = de->ino,
						 .lblk = lblk,
						 .file_type =
							 img->has_filetype ? de->file_type : 0 };

		if (de->ino)
			err = fn(arg, &view);
		off += dafs_dirblock_len(img->block_size, de->rec_len);
	}
	return err;
}

static errcode_t walk_inline(struct dafs_image *img, uint32_t ino,
			     const struct ext2_inode_large *raw, entry_fn fn, void *arg)
{
	struct dafs_dirent_view dot = { .name = ".", .name_len = 1, .ino = ino,
					.file_type = img->has_filetype ? EXT2_FT_DIR : 0 };
	struct dafs_dirinline in;
	errcode_t err = dafs_dirinline_find(img, ino, raw, &in);

	if (!err)
		err = fn(arg, &dot);
	dot.name = "..";
	dot.name_len = 2;
	dot.ino = in.parent;
	if (!err)
		err = fn(arg, &dot);
	for (int i = 0; i < 2 && !err; i++)
		err = walk_chain(img, in.chain[i].buf, in.chain[i].len, 0, fn, arg);
	return err;
}

static errcode_t walk_blocks(struct dafs_dir *dir, entry_fn fn, void *arg)
{
	uint8_t *buf = malloc(dir->img->block_size);
	enum dafs_dirblock_kind kind;
	errcode_t err = buf ? 0 : ENOMEM;

	for (uint32_t lblk = 0; lblk < dir->nblks && !err; lblk++) {
		err = dafs_dir_read(dir, lblk, NULL, buf, &kind);
		if (!err)
			err = walk_chain(dir->img, buf, dafs_dir_chain_bytes(dir, kind), lblk, fn,
					 arg);
		if (!err && !(lblk & 1023))
			err = dafs_cancelled(dir->img->ctx);
	}
	free(buf);
	return err;
}

errcode_t dafs_dircodec_iterate(struct dafs_image *img, uint32_t ino,
				const struct ext2_inode_large *raw,
				errcode_t (*fn)(void *arg, const struct dafs_dirent_view *de),
				void *arg)
{
	struct dafs_dir dir;
	errcode_t err;

	if (S_ISDIR(raw->i_mode) && (raw->i_flags & EXT4_INLINE_DATA_FL))
		return walk_inline(img, ino, raw, fn, arg);
	err = dafs_dir_open(img, ino, raw, &dir);
	if (err)
		return err;
	err = walk_blocks(&dir, fn, arg);
	dafs_dir_close(&dir);
	return err;
}

/* ---- one name ---- */

#define FOUND (-1L)	/* ends the walk; never leaves this file */

struct search {
	struct dafs_image *img;
	struct dafs_dirhash hash;
	const char *name;
	uint8_t len;
	struct dafs_dirent_view *out;
};

static errcode_t match_entry(void *arg, const struct dafs_dirent_view *de)
{
	struct search *s = arg;

	if (!dafs_dirhash_same(&s->hash, de->name, de->name_len, s->name, s->len))
		return 0;
	*s->out = *de;
	s->out->name = s->name;
	s->out->name_len = s->len;
	return FOUND;
}

static errcode_t search_leaf(void *arg, uint32_t lblk, const uint8_t *buf, bool *stop)
{
	struct search *s = arg;
	errcode_t err = walk_chain(s->img, buf, dafs_dirblock_room(s->img), lblk, match_entry, s);

	*stop = err == FOUND;
	return *stop ? 0 : err;
}

static bool is_dots(const char *name, uint8_t len)
{
	return len && name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

static errcode_t search_dir(struct search *s, struct dafs_dir *dir)
{
	uint8_t *root;
	errcode_t err;

	if (dir->indexed && !is_dots(s->name, s->len))
		return dafs_dx_walk(dir, s->name, s->len, search_leaf, s);
	if (!is_dots(s->name, s->len))
		return walk_blocks(dir, match_entry, s);
	root = malloc(dir->img->block_size);
	if (!root)
		return ENOMEM;
	err = dafs_dir_read(dir, 0, NULL, root, NULL);
	if (!err)
		err = walk_chain(dir->img, root, DAFS_DIR_DOTS_BYTES, 0, match_entry, s);
	free(root);
	return err;
}

errcode_t dafs_dircodec_lookup(struct dafs_image *img, uint32_t ino,
			       const struct ext2_inode_large *raw, const char *name,
			       uint8_t name_len, struct dafs_dirent_view *out)
{
	struct search s = { .img = img, .name = name, .len = name_len, .out = out };
	struct dafs_dir dir;
	errcode_t err = 0;

	memset(out, 0, sizeof(*out));
	if (!(raw->i_flags & EXT4_ENCRYPT_FL) && (raw->i_flags & EXT4_CASEFOLD_FL))
		err = dafs_dirhash_init(img, raw->i_flags, EXT2_HASH_HALF_MD4, &s.hash);
	if (err)
		return err;
	if (S_ISDIR(raw->i_mode) && (raw->i_flags & EXT4_INLINE_DATA_FL)) {
		err = walk_inline(img, ino, raw, match_entry, &s);
	} else {
		err = dafs_dir_open(img, ino, raw, &dir);
		if (err)
			return err;
		err = search_dir(&s, &dir);
		dafs_dir_close(&dir);
	}
	if (err == FOUND || (!err && out->ino))
		return 0;
	memset(out, 0, sizeof(*out));
	return err ? err : ENOENT;
}
