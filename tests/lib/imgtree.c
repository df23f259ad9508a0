/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * imgtree - the names and files of one image (imgtree.h).
 */
#include "config.h"

#include "imgtree.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH_MAX = 200 };

void *must(void *memory)
{
	if (!memory)
		err(2, NULL);
	return memory;
}

/* ---- names ---- */

static void add_run(struct file *f, uint64_t lblk, uint64_t pblk, uint64_t len)
{
	struct run *last = f->nruns ? &f->runs[f->nruns - 1] : NULL;

	if (last && last->lblk + last->len == lblk && last->pblk + last->len == pblk) {
		last->len += len;
		return;
	}
	if (f->nruns == f->room) {
		f->room = f->room ? 2 * f->room : 4;
		f->runs = must(reallocarray(f->runs, f->room, sizeof(*f->runs)));
	}
	f->runs[f->nruns++] = (struct run){ lblk, pblk, len };
}

static int add_block(ext2_filsys fs, blk64_t *blk, e2_blkcnt_t lblk, blk64_t ref, int at, void *arg)
{
	(void)fs;
	(void)ref;
	(void)at;
	if (lblk >= 0)
		add_run(arg, (uint64_t)lblk, *blk, 1);
	return 0;
}

static void load_extents(struct side *side, struct file *f)
{
	struct ext2fs_extent ex;
	ext2_extent_handle_t handle;
	errcode_t code;

	if (ext2fs_extent_open2(side->fs, f->ino, (void *)&f->raw, &handle))
		return;
	for (code = ext2fs_extent_get(handle, EXT2_EXTENT_ROOT, &ex); !code;
	     code = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT, &ex))
		if (ex.e_flags & EXT2_EXTENT_FLAGS_LEAF && !(ex.e_flags & EXT2_EXTENT_FLAGS_UNINIT))
			add_run(f, ex.e_lblk, ex.e_pblk, ex.e_len);
	ext2fs_extent_free(handle);
}

static void load_inline(struct side *side, struct file *f)
{
	size_t bytes = 0;

	f->inline_data = must(calloc(1, EXT2_INODE_SIZE(side->fs->super) + 65536));
	if (ext2fs_inline_data_get(side->fs, f->ino, (void *)&f->raw, f->inline_data, &bytes))
		bytes = 0;
}

static void load_content(struct side *side, struct file *f)
{
	if (!has_content(f))
		return;
	if (f->raw.i_flags & EXT4_INLINE_DATA_FL)
		load_inline(side, f);
	else if (f->raw.i_flags & EXT4_EXTENTS_FL)
		load_extents(side, f);
	else
		ext2fs_block_iterate3(side->fs, f->ino, BLOCK_FLAG_DATA_ONLY | BLOCK_FLAG_READ_ONLY,
				      NULL, add_block, f);
}

static struct file *get_file(struct side *side, uint32_t ino)
{
	struct file *f;

	HASH_FIND(hh, side->files, &ino, sizeof(ino), f);
	if (f)
		return f;
	f = must(calloc(1, sizeof(*f)));
	f->ino = ino;
	if (ext2fs_read_inode_full(side->fs, ino, (void *)&f->raw, sizeof(f->raw)))
		memset(&f->raw, 0, sizeof(f->raw));
	load_content(side, f);
	HASH_ADD(hh, side->files, ino, sizeof(f->ino), f);
	return f;
}

struct walk {
	struct side *side;
	const char *path;
	unsigned depth;
};

static void walk_dir(struct side *side, uint32_t ino, const char *path, unsigned depth);

static int add_name(ext2_ino_t dir, int entry, struct ext2_dir_entry *de, int offset, int blocksize,
		    char *buf, void *arg)
{
	struct walk *walk = arg;
	int len = ext2fs_dirent_name_len(de);
	struct name *name, *other;

	(void)dir;
	(void)entry;
	(void)offset;
	(void)blocksize;
	(void)buf;
	if (!de->inode || (len == 1 && de->name[0] == '.') ||
	    (len == 2 && !memcmp(de->name, "..", 2)))
		return 0;
	name = must(calloc(1, sizeof(*name)));
	if (asprintf(&name->path, "%s/%.*s", walk->path, len, de->name) < 0)
		err(2, NULL);
	name->lost = !strncmp(name->path, "/lost+found/", 12);
	name->file = get_file(walk->side, de->inode);
	HASH_FIND_STR(walk->side->names, name->path, other);
	if (other) {
		free(name->path);
		free(name);
		return 0;
	}
	HASH_ADD_KEYPTR(hh, walk->side->names, name->path, strlen(name->path), name);
	if (LINUX_S_ISDIR(name->file->raw.i_mode))
		walk_dir(walk->side, de->inode, name->path, walk->depth + 1);
	return 0;
}

static void walk_dir(struct side *side, uint32_t ino, const char *path, unsigned depth)
{
	struct walk walk = { side, path, depth };

	if (depth < DEPTH_MAX)
		ext2fs_dir_iterate2(side->fs, ino, 0, NULL, add_name, &walk);
}

void imgtree_load(struct side *side, const char *image)
{
	errcode_t code;

	side->image = image;
	side->fd = open(image, O_RDONLY | O_CLOEXEC);
	if (side->fd < 0)
		err(2, "%s", image);
	code = ext2fs_open(image, EXT2_FLAG_64BITS | EXT2_FLAG_IGNORE_CSUM_ERRORS, 0, 0,
			   unix_io_manager, &side->fs);
	if (code)
		errx(2, "%s: %s", image, error_message(code));
	side->block_size = side->fs->blocksize;
	walk_dir(side, EXT2_ROOT_INO, "", 0);
}

void imgtree_free(struct side *side)
{
	struct name *name, *next_name;
	struct file *f, *next_file;

	if (!side->image)
		return;
	HASH_ITER(hh, side->names, name, next_name) {
		HASH_DEL(side->names, name);
		free(name->path);
		free(name);
	}
	HASH_ITER(hh, side->files, f, next_file) {
		HASH_DEL(side->files, f);
		free(f->runs);
		free(f->inline_data);
		free(f);
	}
	ext2fs_free(side->fs);
	close(side->fd);
	memset(side, 0, sizeof(*side));
}

struct name *imgtree_name(struct side *side, const char *path)
{
	struct name *name = NULL;

	if (side->image)
		HASH_FIND_STR(side->names, path, name);
	return name;
}

struct file *imgtree_file(struct side *side, uint32_t ino)
{
	struct file *f = NULL;

	if (side->image)
		HASH_FIND(hh, side->files, &ino, sizeof(ino), f);
	return f;
}

/* ---- content ---- */

/* The bytes of one logical block; false: all zeros, and buf is. What is behind the size is
 * zeros. */
bool imgtree_read(struct side *side, const struct file *f, uint64_t lblk, uint8_t *buf)
{
	uint64_t at = lblk * side->block_size, size = size_of(f);
	size_t low = 0, high = f->nruns, mid;
	bool some = false;

	memset(buf, 0, side->block_size);
	if (at >= size)
		return false;
	if (f->inline_data) {
		if (size > 65536 || lblk)
			return false;
		memcpy(buf, f->inline_data, size < side->block_size ? size : side->block_size);
		return true;
	}
	while (low < high) {
		mid = (low + high) / 2;
		if (f->runs[mid].lblk + f->runs[mid].len <= lblk)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == f->nruns || f->runs[low].lblk > lblk)
		return false;
	if (pread(side->fd, buf, side->block_size,
		  (off_t)((f->runs[low].pblk + lblk - f->runs[low].lblk) * side->block_size)) < 0)
		err(2, "%s", side->image);
	if (size - at < side->block_size)
		memset(buf + (size - at), 0, side->block_size - (size - at));
	for (uint32_t i = 0; i < side->block_size && !some; i++)
		some = buf[i];
	return some;
}

/* The first mapped block at or after lblk that lies before the end; UINT64_MAX: none. */
uint64_t imgtree_next(const struct side *side, const struct file *f, uint64_t lblk)
{
	uint64_t end = size_of(f) / side->block_size + (size_of(f) % side->block_size != 0), at;

	if (f->inline_data)
		return lblk ? UINT64_MAX : 0;
	for (size_t i = 0; i < f->nruns; i++)
		if (f->runs[i].lblk + f->runs[i].len > lblk) {
			at = f->runs[i].lblk > lblk ? f->runs[i].lblk : lblk;
			return at < end ? at : UINT64_MAX;
		}
	return UINT64_MAX;
}

/* A symbolic link's target, ended by a zero. */
void imgtree_target(struct side *side, const struct file *f, uint8_t *buf)
{
	struct file reg = *f;

	memset(buf, 0, side->block_size + 1);
	if (f->raw.i_flags & EXT4_INLINE_DATA_FL) {
		size_t bytes = 0;

		if (size_of(f) < side->block_size)
			ext2fs_inline_data_get(side->fs, f->ino, (void *)&reg.raw, buf, &bytes);
	} else if (ext2fs_is_fast_symlink((void *)&reg.raw)) {
		memcpy(buf, f->raw.i_block, sizeof(f->raw.i_block));
	} else {
		reg.runs = NULL;
		reg.nruns = reg.room = 0;
		if (f->raw.i_flags & EXT4_EXTENTS_FL)
			load_extents(side, &reg);
		else
			add_run(&reg, 0, f->raw.i_block[0], 1);
		imgtree_read(side, &reg, 0, buf);
		free(reg.runs);
	}
	if (size_of(f) < side->block_size)
		memset(buf + size_of(f), 0, side->block_size - size_of(f));
}
