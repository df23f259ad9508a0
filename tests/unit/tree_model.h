/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tree_model - a tree in memory that mirrors what was accepted, and its comparison with an image by
 * libext2fs alone: kinds, sizes, bytes, link counts, targets, attributes, and nothing else.
 *
 * Objects are what inodes are; entries are names. An object lives until its last entry goes.
 */
#ifndef TESTS_UNIT_TREE_MODEL_H
#define TESTS_UNIT_TREE_MODEL_H

#include "scratch.h"

#include <ext2fs/ext2fs.h>
#include <sys/stat.h>

enum { TM_ENTRIES = 2048, TM_XATTRS = 4, TM_BYTES = 1 << 20 };

struct tm_object {
	uint16_t type; /* S_IF* */
	uint32_t links;
	size_t size, room;
	uint8_t *bytes; /* of a file; the target of a symlink */
	struct {
		uint32_t len, seed; /* len 0: none */
	} xattrs[TM_XATTRS];
};

struct tm_entry {
	char *path; /* absolute */
	struct tm_object *obj;
};

static struct tm_tree {
	struct tm_entry v[TM_ENTRIES];
	size_t n;
} tm;

/* ---- the model ---- */

static struct tm_object *tm_object(uint16_t type)
{
	struct tm_object *obj = calloc(1, sizeof(*obj));

	assert_non_null(obj);
	obj->type = type;
	return obj;
}

static void tm_unref(struct tm_object *obj)
{
	if (--obj->links)
		return;
	free(obj->bytes);
	free(obj);
}

static void tm_add(const char *path, struct tm_object *obj)
{
	assert_true(tm.n < TM_ENTRIES);
	tm.v[tm.n].path = strdup(path);
	assert_non_null(tm.v[tm.n].path);
	tm.v[tm.n++].obj = obj;
	obj->links++;
}

static void tm_drop(size_t at)
{
	tm_unref(tm.v[at].obj);
	free(tm.v[at].path);
	tm.v[at] = tm.v[--tm.n];
}

static void tm_clear(void)
{
	while (tm.n)
		tm_drop(tm.n - 1);
}

static size_t tm_find(const char *path)
{
	size_t i = 0;

	while (i < tm.n && strcmp(tm.v[i].path, path))
		i++;
	return i;
}

/* Is there something below the directory at this path? */
static bool tm_has_below(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < tm.n; i++) {
		if (!strncmp(tm.v[i].path, path, len) && tm.v[i].path[len] == '/')
			return true;
	}
	return false;
}

/* Names follow a rename: of this path and of all below it. */
static void tm_move(const char *from, const char *to)
{
	size_t len = strlen(from);
	char path[1024];

	for (size_t i = 0; i < tm.n; i++) {
		char *old = tm.v[i].path;

		if (strncmp(old, from, len) || (old[len] && old[len] != '/'))
			continue;
		snprintf(path, sizeof(path), "%s%s", to, old + len);
		tm.v[i].path = strdup(path);
		assert_non_null(tm.v[i].path);
		free(old);
	}
}

static void tm_resize(struct tm_object *obj, size_t size)
{
	assert_true(size <= TM_BYTES);
	if (size > obj->room) {
		obj->room = size + size / 2;
		obj->bytes = realloc(obj->bytes, obj->room);
		assert_non_null(obj->bytes);
	}
	if (size > obj->size)
		memset(obj->bytes + obj->size, 0, size - obj->size);
	obj->size = size;
}

/* ---- beside an image ---- */

struct tm_check {
	ext2_filsys fs;
	const char *path; /* what is looked at */
	size_t entries;
};

/* In dir: names but "." and ".."; of the root's, lost+found is mke2fs'. */
static int tm_count(ext2_ino_t dir, int entry, struct ext2_dir_entry *dirent, int offset,
		    int blocksize, char *buf, void *arg)
{
	struct tm_check *c = arg;
	int len = ext2fs_dirent_name_len(dirent);
	(void)entry;
	(void)offset;
	(void)blocksize;
	(void)buf;

	if ((len == 1 && dirent->name[0] == '.') || (len == 2 && !memcmp(dirent->name, "..", 2)))
		return 0;
	c->entries +=
		!(dir == EXT2_ROOT_INO && len == 10 && !memcmp(dirent->name, "lost+found", 10));
	return 0;
}

static void tm_check_bytes(struct tm_check *c, ext2_ino_t ino, const struct tm_object *obj)
{
	static uint8_t seen[TM_BYTES];
	ext2_file_t file;
	unsigned got;
	size_t at = 0;

	assert_ok(ext2fs_file_open(c->fs, ino, 0, &file));
	while (at < obj->size) {
		assert_ok(ext2fs_file_read(file, seen + at, (unsigned)(obj->size - at), &got));
		if (!got)
			fail_msg("%s ends at %zu", c->path, at);
		at += got;
	}
	ext2fs_file_close(file);
	for (size_t i = 0; i < obj->size; i++) {
		if (seen[i] != obj->bytes[i])
			fail_msg("%s: byte %zu of %zu is %02x, wanted %02x", c->path, i, obj->size,
				 seen[i], obj->bytes[i]);
	}
}

static void tm_check_target(struct tm_check *c, ext2_ino_t ino, const struct ext2_inode *raw,
			    const struct tm_object *obj)
{
	if (raw->i_flags & EXT4_INLINE_DATA_FL || !ext2fs_is_fast_symlink((struct ext2_inode *)raw))
		tm_check_bytes(c, ino, obj);
	else
		assert_memory_equal(raw->i_block, obj->bytes, obj->size);
}

static void tm_value(uint8_t *value, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		value[i] = (uint8_t)(i * 31 + seed + 1);
}

static void tm_check_xattrs(struct tm_check *c, ext2_ino_t ino, const struct tm_object *obj)
{
	static uint8_t want[65536];
	struct ext2_xattr_handle *h;
	char name[16];
	size_t len;
	void *value;

	assert_ok(ext2fs_xattrs_open(c->fs, ino, &h));
	assert_ok(ext2fs_xattrs_read(h));
	for (unsigned i = 0; i < TM_XATTRS; i++) {
		errcode_t err;

		snprintf(name, sizeof(name), "user.x%u", i);
		err = ext2fs_xattr_get(h, name, &value, &len);
		if (!obj->xattrs[i].len) {
			assert_int_equal(err, EXT2_ET_EA_KEY_NOT_FOUND);
			continue;
		}
		if (err || len != obj->xattrs[i].len)
			fail_msg("%s: %s: %s, %zu bytes", c->path, name, error_message(err), len);
		tm_value(want, obj->xattrs[i].len, obj->xattrs[i].seed);
		assert_memory_equal(value, want, len);
		ext2fs_free_mem(&value);
	}
	ext2fs_xattrs_close(&h);
}

static void tm_check_entry(struct tm_check *c, const struct tm_entry *e)
{
	const struct tm_object *obj = e->obj;
	struct ext2_inode raw;
	ext2_ino_t ino;
	errcode_t err = ext2fs_namei(c->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, e->path, &ino);

	c->path = e->path;
	if (err)
		fail_msg("%s: %s", e->path, error_message(err));
	assert_ok(ext2fs_read_inode(c->fs, ino, &raw));
	assert_int_equal(raw.i_mode & S_IFMT, obj->type);
	if (!S_ISDIR(obj->type)) {
		assert_int_equal(raw.i_links_count, obj->links);
		assert_int_equal(EXT2_I_SIZE(&raw), obj->size);
	}
	if (S_ISDIR(obj->type))
		assert_ok(ext2fs_dir_iterate2(c->fs, ino, 0, NULL, tm_count, c));
	else if (S_ISLNK(obj->type))
		tm_check_target(c, ino, &raw, obj);
	else
		tm_check_bytes(c, ino, obj);
	tm_check_xattrs(c, ino, obj);
}

/* Everything that was accepted is in the image, and nothing else. */
static void tm_verify(const char *image)
{
	struct tm_check c = { 0 };

	assert_ok(ext2fs_open(image, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &c.fs));
	assert_ok(ext2fs_dir_iterate2(c.fs, EXT2_ROOT_INO, 0, NULL, tm_count, &c));
	for (size_t i = 0; i < tm.n; i++)
		tm_check_entry(&c, &tm.v[i]);
	assert_int_equal(c.entries, tm.n);
	ext2fs_close_free(&c.fs);
}

#endif
