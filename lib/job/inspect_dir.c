/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inspect_dir - directories entry by entry as they lie, and paths. lib/image/dircodec.h is for
 * directories that are to be believed.
 */
#include "config.h"

#include "job/inspect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/dirblock.h"
#include "image/dirinline.h"
#include "image/inline.h"
#include "job/inspect_int.h"

#define DIRENT_HEAD   ((uint32_t)sizeof(struct dafs_dirent_disk))
#define SYMLINKS_MAX  40
#define TAIL_FILETYPE 0xDEu

struct dirwalk {
	struct dafs_image *img;
	const struct dafs_inspect *dir;
	unsigned flags;
	dafs_inspect_dirent_fn fn;
	void *arg;
	struct dafs_damage damage;
};

static errcode_t damaged(struct dirwalk *w, const struct dafs_inspect_dirent *at, const char *why)
{
	struct dafs_ctx *ctx = w->img->ctx;

	return dafs_damage_note(
		&w->damage, ctx,
		dafs_fail(ctx, DAFS_ET_CORRUPT_DIR, "inode %u: directory block %u, offset %u: %s",
			  w->dir->ino, at->lblk, at->off_bytes, why));
}

static bool is_tail(const struct dafs_image *img, const struct dafs_dirent_disk *de, uint32_t left)
{
	return img->has_csum && left == DAFS_DIR_TAIL_BYTES && !de->ino &&
	       de->rec_len == DAFS_DIR_TAIL_BYTES && !de->name_len &&
	       de->file_type == TAIL_FILETYPE;
}

static void fill(struct dafs_inspect_dirent *out, const struct dafs_dirent_disk *de, bool filetype)
{
	out->name = de->name;
	out->name_len = de->name_len;
	out->file_type = filetype ? de->file_type & 7 : 0;
	out->ino = de->ino;
}

/* What was deleted may still be readable in the slack behind a live entry. Its own length may go
 * over others that were deleted before it. */
static errcode_t walk_slack(struct dirwalk *w, struct dafs_inspect_dirent at, const uint8_t *block,
			    uint32_t off, uint32_t end)
{
	errcode_t err = 0;

	while (!err && off + DIRENT_HEAD <= end) {
		const struct dafs_dirent_disk *de = (const void *)(block + off);
		uint32_t need = dafs_dirblock_need(de->name_len);

		if (de->rec_len % 4 || de->rec_len < need || need > end - off ||
		    de->ino > w->img->fs->super->s_inodes_count)
			return 0;
		if (de->ino && de->name_len) {
			fill(&at, de, w->img->has_filetype);
			at.deleted = true;
			at.rec_len = de->rec_len;
			at.off_bytes = off;
			err = w->fn(w->arg, &at);
			off += need;
		} else {
			off += de->rec_len;
		}
	}
	return err;
}

static errcode_t walk_tail(struct dirwalk *w, struct dafs_inspect_dirent at,
			   const struct dafs_dirent_disk *de)
{
	if (!(w->flags & DAFS_INSPECT_TAILS))
		return 0;
	at.tail = true;
	at.rec_len = DAFS_DIR_TAIL_BYTES;
	memcpy(&at.csum, (const uint8_t *)de + DIRENT_HEAD, sizeof(at.csum));
	return w->fn(w->arg, &at);
}

static errcode_t walk_entry(struct dirwalk *w, struct dafs_inspect_dirent *at, const uint8_t *block,
			    const struct dafs_dirent_disk *de, uint32_t off)
{
	bool slack = w->flags & DAFS_INSPECT_DELETED, empty = w->flags & DAFS_INSPECT_EMPTY;
	uint32_t need = dafs_dirblock_need(de->name_len);
	errcode_t err = 0;

	fill(at, de, w->img->has_filetype);
	at->deleted = !de->ino && de->name_len;
	if (de->ino > w->img->fs->super->s_inodes_count)
		err = damaged(w, at, "inode number out of range");
	if (!err && (de->ino || empty || (slack && at->deleted)))
		err = w->fn(w->arg, at);
	if (!err && slack && de->ino)
		err = walk_slack(w, *at, block, off + need, off + at->rec_len);
	return err;
}

static errcode_t walk_block(struct dirwalk *w, const struct dafs_inspect_dirent *first,
			    const uint8_t *block, uint32_t len)
{
	struct dafs_inspect_dirent at = *first;
	errcode_t err = 0;

	for (uint32_t off = 0; off < len && !err; off += at.rec_len) {
		const struct dafs_dirent_disk *de = (const void *)(block + off);

		at.off_bytes = first->off_bytes + off;
		if (len - off < DIRENT_HEAD)
			return damaged(w, &at, "no room for an entry");
		at.rec_len = dafs_dirblock_len(w->img->block_size, de->rec_len);
		if (is_tail(w->img, de, len - off))
			return walk_tail(w, at, de);
		if (at.rec_len < DIRENT_HEAD || at.rec_len % 4 || at.rec_len > len - off ||
		    (de->ino && dafs_dirblock_need(de->name_len) > at.rec_len) ||
		    DIRENT_HEAD + de->name_len > at.rec_len)
			return damaged(w, &at, "entry length");
		err = walk_entry(w, &at, block, de, off);
	}
	return err;
}

errcode_t dafs_inspect_dirblock(struct dafs_image *img, const struct dafs_inspect *dir,
				const struct dafs_inspect_dirent *at, const uint8_t *block,
				uint32_t len, unsigned flags, dafs_inspect_dirent_fn fn, void *arg)
{
	struct dirwalk w = { .img = img, .dir = dir, .flags = flags, .fn = fn, .arg = arg };
	errcode_t err = walk_block(&w, at, block, len);

	return dafs_damage_end(&w.damage, img->ctx, err);
}

/* Inline: the parent's number, entries in the rest of i_block, entries in the attribute's value. */
static errcode_t walk_inline(struct dirwalk *w)
{
	const uint32_t skip = DAFS_DIRINLINE_PARENT;
	struct dafs_inspect_dirent at = { .name = ".", .name_len = 1, .ino = w->dir->ino };
	struct dafs_inline parts;
	errcode_t err = dafs_inline_find(w->img, w->dir->ino, &w->dir->buf.raw, &parts);

	if (err)
		return dafs_damage_note(&w->damage, w->img->ctx, err);
	at.file_type = w->img->has_filetype ? EXT2_FT_DIR : 0;
	at.rec_len = dafs_dirblock_need(1);
	err = w->fn(w->arg, &at);
	at.name = "..";
	at.name_len = 2;
	memcpy(&at.ino, parts.body, sizeof(at.ino));
	if (!err)
		err = w->fn(w->arg, &at);
	at.off_bytes = skip;
	if (!err)
		err = walk_block(w, &at, parts.body + skip, DAFS_INLINE_BODY - skip);
	at.off_bytes = DAFS_INLINE_BODY;
	if (!err && parts.spill_len)
		err = walk_block(w, &at, parts.spill, parts.spill_len);
	return err;
}

static enum dafs_dirblock_kind kind_of(const struct dirwalk *w, uint32_t lblk, const uint8_t *block)
{
	if (!(w->dir->attr.iflags & EXT2_INDEX_FL))
		return DAFS_DIRBLOCK_LEAF;
	if (!lblk)
		return DAFS_DIRBLOCK_ROOT;
	return dafs_dirblock_looks_node(w->img, block) ? DAFS_DIRBLOCK_NODE : DAFS_DIRBLOCK_LEAF;
}

static errcode_t walk_one(struct dirwalk *w, const struct dafs_inspect_dirent *at, uint8_t *block)
{
	uint32_t seed = dafs_icodec_seed(w->img, w->dir->ino, w->dir->attr.generation);
	errcode_t err = dafs_image_read_blks(w->img, at->pblk, 1, block);

	if (err)
		return dafs_damage_note(&w->damage, w->img->ctx, err);
	if (!(w->img->flags & DAFS_IMAGE_IGNORE_CSUM) &&
	    !dafs_dirblock_csum_ok(w->img, seed, kind_of(w, at->lblk, block), block))
		err = damaged(w, at, "checksum");
	return err ? err : walk_block(w, at, block, w->img->block_size);
}

static errcode_t walk_mapped(struct dirwalk *w)
{
	const struct dafs_inspect *dir = w->dir;
	uint64_t end = (dir->attr.size + w->img->block_size - 1) >> w->img->block_bits;
	uint8_t *block = malloc(w->img->block_size);
	errcode_t err = block ? 0 : ENOMEM;

	for (size_t i = 0; i < dir->extents.n && !err; i++) {
		const struct dafs_extent *e = &dir->extents.v[i];

		for (uint32_t k = 0; k < e->len && e->lblk + k < end && !err; k++) {
			struct dafs_inspect_dirent at = { .lblk = e->lblk + k,
							  .pblk = e->pblk + k };

			err = walk_one(w, &at, block);
		}
		if (!err)
			err = dafs_cancelled(w->img->ctx);
	}
	free(block);
	return err;
}

errcode_t dafs_inspect_dir(struct dafs_image *img, const struct dafs_inspect *dir, unsigned flags,
			   dafs_inspect_dirent_fn fn, void *arg)
{
	struct dirwalk w = { .img = img, .dir = dir, .flags = flags, .fn = fn, .arg = arg };
	errcode_t err;

	if (!S_ISDIR(dir->attr.mode))
		return dafs_fail(img->ctx, ENOTDIR, "inode %u", dir->ino);
	err = dir->attr.iflags & EXT4_INLINE_DATA_FL ? walk_inline(&w) : walk_mapped(&w);
	return dafs_damage_end(&w.damage, img->ctx, err);
}

/* ---- paths ---- */

struct seek {
	const char *name;
	size_t name_len;
	uint32_t ino;
};

#define FOUND EEXIST /* stops the walk */

static errcode_t is_it(void *arg, const struct dafs_inspect_dirent *de)
{
	struct seek *s = arg;

	if (de->name_len != s->name_len || memcmp(de->name, s->name, s->name_len))
		return 0;
	s->ino = de->ino;
	return FOUND;
}

/* One name in a directory: by its index, or, where that is damaged or does not lead there, among
 * all its entries. */
static errcode_t lookup(struct dafs_image *img, const struct dafs_inspect *dir, const char *name,
			size_t name_len, uint32_t *ino)
{
	struct seek s = { .name = name, .name_len = name_len };
	struct dafs_dirent_view de;
	errcode_t err;

	if (name_len > EXT2_NAME_LEN)
		return dafs_fail(img->ctx, DAFS_ET_NAME_TOO_LONG, "%.64s...", name);
	err = dafs_dircodec_lookup(img, dir->ino, &dir->buf.raw, name, (uint8_t)name_len, &de);
	if (!err) {
		*ino = de.ino;
		return 0;
	}
	err = dafs_inspect_dir(img, dir, 0, is_it, &s);
	*ino = s.ino;
	if (err == FOUND)
		return 0;
	if (err)
		return err;
	img->ctx->detail[0] = '\0'; /* the index may have complained: the name is not there */
	return ENOENT;
}

/* "<N>" at the beginning of path: *rest gets what follows. EINVAL: it is not there. */
static errcode_t parse_number(struct dafs_image *img, const char *path, uint32_t *ino,
			      const char **rest)
{
	unsigned long long number;
	char *end;

	if (path[0] != '<' || path[1] < '0' || path[1] > '9')
		return EINVAL;
	errno = 0;
	number = strtoull(path + 1, &end, 0);
	if (*end != '>' || (end[1] && end[1] != '/'))
		return EINVAL;
	if (errno || !number || number > img->fs->super->s_inodes_count)
		return dafs_fail(img->ctx, DAFS_ET_RANGE, "%s", path);
	*ino = (uint32_t)number;
	*rest = end + 1;
	return 0;
}

struct resolving {
	struct dafs_image *img;
	unsigned links; /* symlinks followed so far */
	uint32_t ino;	/* where we are */
};

static errcode_t walk_path(struct resolving *r, const char *path, bool follow);

/* One component from the directory r->ino. */
static errcode_t step(struct resolving *r, const char *name, size_t len, bool follow)
{
	uint32_t parent = r->ino;
	struct dafs_inspect in;
	char *target = NULL;
	errcode_t err = dafs_inspect_load(r->img, parent, &in);

	if (!err && !S_ISDIR(in.attr.mode))
		err = ENOTDIR;
	if (!err)
		err = lookup(r->img, &in, name, len, &r->ino);
	dafs_inspect_fini(&in);
	if (err || !follow)
		return err;
	err = dafs_inspect_inode(r->img, r->ino, &in);
	if (err || !S_ISLNK(in.attr.mode))
		return err;
	if (++r->links > SYMLINKS_MAX)
		return DAFS_ET_LOOP;
	err = dafs_read_symlink(r->img, r->ino, &in.buf.raw, &target);
	r->ino = parent;
	if (!err)
		err = walk_path(r, target, true);
	free(target);
	return err;
}

static errcode_t walk_path(struct resolving *r, const char *path, bool follow)
{
	errcode_t err = 0;

	if (*path == '/')
		r->ino = EXT2_ROOT_INO;
	while (!err) {
		size_t len;
		bool last;

		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (!len)
			break;
		last = !path[len];
		err = step(r, path, len, !last || follow);
		path += len;
	}
	return err;
}

errcode_t dafs_inspect_resolve(struct dafs_image *img, uint32_t cwd, const char *path, bool follow,
			       uint32_t *ino)
{
	struct resolving r = { .img = img, .ino = cwd };
	const char *rest = path;
	errcode_t err;

	*ino = 0;
	img->ctx->detail[0] = '\0';
	err = parse_number(img, path, &r.ino, &rest);
	if (err == EINVAL)
		err = 0;
	if (!err && rest != path && *rest)
		while (*rest == '/') /* relative to <N> */
			rest++;
	if (!err && *rest)
		err = walk_path(&r, rest, follow);
	if (!err)
		*ino = r.ino;
	else if (!img->ctx->detail[0])
		dafs_fail(img->ctx, err, "%s", path);
	return err;
}
