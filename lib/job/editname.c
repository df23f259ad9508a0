/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * editname - the part of edit.h that makes, moves and removes names.
 */
#include "config.h"

#include "job/edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Out of memory is an error to return, not the end of the process. */
#ifndef HASH_NONFATAL_OOM
#define HASH_NONFATAL_OOM 1
#endif
#include <uthash.h>

#include "job/listing.h"

static errcode_t make_dir(struct dafs *fs, const char *path, uint16_t mode, struct dafs_inode **ret)
{
	struct dafs_inode *dir;
	const char *name;
	size_t len;
	errcode_t err = dafs_ns_parent(fs->ns, path, &dir, &name, &len);

	if (err)
		return err;
	return dafs_ns_create(fs->ns, dir, name, len, (uint16_t)(S_IFDIR | (mode & 07777)), ret);
}

/* The directory at path, made when absent; its parent is there. */
static errcode_t need_dir(struct dafs *fs, const char *path, uint16_t mode, struct dafs_inode **ret,
			  bool *made)
{
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_FOLLOW, ret);

	if (!err && !S_ISDIR((*ret)->mode))
		return dafs_fail(fs->ctx, ENOTDIR, "%s", path);
	if (err != ENOENT)
		return dafs_session_fail(fs, err, path);
	fs->ctx->detail[0] = '\0';
	err = make_dir(fs, path, mode, ret);
	*made = !err;
	return dafs_session_fail(fs, err, path);
}

errcode_t dafs_edit_make_dirs(struct dafs *fs, const char *path, uint16_t mode,
			      struct dafs_inode **ret, bool *made)
{
	size_t len = strlen(path), at = 0;
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_FOLLOW, ret);
	char *part;

	*made = false;
	if (err != ENOENT)
		return !err && !S_ISDIR((*ret)->mode) ? dafs_fail(fs->ctx, ENOTDIR, "%s", path)
						      : dafs_session_fail(fs, err, path);
	fs->ctx->detail[0] = '\0';
	part = strdup(path);
	if (!part)
		return ENOMEM;
	while (len > 1 && part[len - 1] == '/')
		part[--len] = '\0';
	/* From the top: each part that ends before a slash, then the whole. */
	err = len ? 0 : ENOENT;
	while (!err && at < len) {
		at += strspn(part + at, "/");
		at += strcspn(part + at, "/");
		part[at] = '\0';
		err = need_dir(fs, part, at == len ? mode : 0755, ret, made);
		if (at < len)
			part[at] = '/';
	}
	free(part);
	return err;
}

errcode_t dafs_mkdir(struct dafs *fs, const char *path, mode_t mode, bool parents)
{
	struct dafs_inode *inode;
	bool made;

	if (parents)
		return dafs_edit_make_dirs(fs, path, (uint16_t)mode, &inode, &made);
	return dafs_session_fail(fs, make_dir(fs, path, (uint16_t)mode, &inode), path);
}

/* A directory on the way down: its names, and how far they are gone through. */
struct level {
	uint64_t id;
	struct level *up;
	struct dafs_inode *dir;	/* holds name */
	const char *name;
	size_t name_len;
	struct dafs_inode *inode;
	struct dafs_listing list;
	size_t at;
	UT_hash_handle hh;
};

/* The way from the tree's root to where the removal is. A damaged image may have a directory in
 * itself. */
struct way {
	struct dafs *fs;
	struct level *top, *all;
};

static errcode_t enter(struct way *way, struct dafs_inode *dir, const char *name, size_t name_len,
		       struct dafs_inode *inode)
{
	struct level *level, *again;

	HASH_FIND(hh, way->all, &inode->id, sizeof(inode->id), again);
	if (again)
		return dafs_fail(way->fs->ctx, DAFS_ET_CORRUPT_DIR,
				 "%.*s: a directory that lies in itself", (int)name_len, name);
	level = calloc(1, sizeof(*level));
	if (!level)
		return ENOMEM;
	*level = (struct level){ .id = inode->id,
				 .up = way->top,
				 .dir = dir,
				 .name = name,
				 .name_len = name_len,
				 .inode = inode };
	HASH_ADD(hh, way->all, id, sizeof(level->id), level);
	if (!level->hh.tbl) {
		free(level);
		return ENOMEM;
	}
	way->top = level;
	return dafs_listing_read(way->fs, inode, &level->list);
}

static void leave(struct way *way)
{
	struct level *level = way->top;

	way->top = level->up;
	HASH_DEL(way->all, level);
	dafs_listing_fini(&level->list);
	free(level);
}

/* One name: taken away, or entered when it is a directory's. */
static errcode_t remove_name(struct way *way, struct dafs_inode *dir, const char *name,
			     size_t name_len)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_child(way->fs->ns, dir, name, name_len, &inode);

	if (err)
		return err;
	if (S_ISDIR(inode->mode))
		return enter(way, dir, name, name_len, inode);
	return dafs_ns_unlink(way->fs->ns, dir, name, name_len, true);
}

/* Not by recursion: how deep a tree is, is the image's to say. */
errcode_t dafs_edit_remove_tree(struct dafs *fs, struct dafs_inode *dir, const char *name,
				size_t name_len)
{
	struct way way = { .fs = fs };
	errcode_t err = remove_name(&way, dir, name, name_len);

	while (!err && way.top) {
		struct level *level = way.top;

		if (level->at < level->list.n) {
			const char *next = level->list.v[level->at++].name;

			err = remove_name(&way, level->inode, next, strlen(next));
			continue;
		}
		err = dafs_ns_unlink(fs->ns, level->dir, level->name, level->name_len, true);
		leave(&way);
	}
	while (way.top)
		leave(&way);
	return err;
}

errcode_t dafs_remove(struct dafs *fs, const char *path, bool recursive, bool missing_ok)
{
	struct dafs_inode *dir, *inode;
	const char *name;
	size_t len;
	errcode_t err = dafs_ns_parent(fs->ns, path, &dir, &name, &len);

	if (!err)
		err = dafs_ns_child(fs->ns, dir, name, len, &inode);
	if (err == ENOENT && missing_ok) {
		fs->ctx->detail[0] = '\0';
		return 0;
	}
	if (!err && S_ISDIR(inode->mode) && !recursive)
		return dafs_fail(fs->ctx, EISDIR, "%s", path);
	if (!err)
		err = dafs_edit_remove_tree(fs, dir, name, len);
	return dafs_session_fail(fs, err, path);
}

/* The last component of a path, without trailing slashes. */
static void last_name(const char *path, const char **name, size_t *len)
{
	size_t end = strlen(path), start;

	while (end > 1 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/'; start--)
		;
	*name = path + start;
	*len = end - start;
}

/* Directory and name for something that is to be called path, or, when path is a directory, from's
 * last name in it. */
static errcode_t target_place(struct dafs *fs, const char *path, const char *from,
			      struct dafs_inode **dir, const char **name, size_t *len)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_FOLLOW, &inode);

	if (!err && S_ISDIR(inode->mode)) {
		*dir = inode;
		last_name(from, name, len);
		return *len ? 0 : dafs_fail(fs->ctx, EINVAL, "%s", from);
	}
	if (err && err != ENOENT)
		return err;
	fs->ctx->detail[0] = '\0';
	return dafs_ns_parent(fs->ns, path, dir, name, len);
}

static errcode_t rename_at(struct dafs *fs, const char *from, struct dafs_inode *to_dir,
			   const char *to_name, size_t to_len)
{
	struct dafs_ns_rename req = { .to_dir = to_dir, .to = to_name, .to_len = to_len };
	errcode_t err = dafs_ns_parent(fs->ns, from, &req.from_dir, &req.from, &req.from_len);

	return err ? err : dafs_ns_rename(fs->ns, &req);
}

errcode_t dafs_rename(struct dafs *fs, const char *from, const char *to)
{
	struct dafs_inode *dir;
	const char *name;
	size_t len;
	errcode_t err = dafs_ns_parent(fs->ns, to, &dir, &name, &len);

	if (err)
		return dafs_session_fail(fs, err, to);
	return dafs_session_fail(fs, rename_at(fs, from, dir, name, len), from);
}

/* Is what a casefolded directory has under path the very thing called from? Then path is another
 * spelling of its name, and no directory to move it into. */
static bool is_spelling(struct dafs *fs, const char *from, const char *path,
			struct dafs_inode **dir, const char **name, size_t *len)
{
	struct dafs_inode *from_dir, *inode, *same;
	const char *from_name;
	size_t from_len;

	return !dafs_ns_parent(fs->ns, from, &from_dir, &from_name, &from_len) &&
	       !dafs_ns_parent(fs->ns, path, dir, name, len) && from_dir == *dir &&
	       ((*dir)->iflags & EXT4_CASEFOLD_FL) &&
	       (from_len != *len || memcmp(from_name, *name, *len)) &&
	       !dafs_ns_child(fs->ns, from_dir, from_name, from_len, &inode) &&
	       !dafs_ns_child(fs->ns, from_dir, *name, *len, &same) && inode == same &&
	       S_ISDIR(inode->mode);
}

errcode_t dafs_edit_move(struct dafs *fs, const char *from, const char *to)
{
	struct dafs_inode *dir;
	const char *name;
	size_t len;
	errcode_t err = is_spelling(fs, from, to, &dir, &name, &len)
				? 0
				: target_place(fs, to, from, &dir, &name, &len);

	if (err)
		return dafs_session_fail(fs, err, to);
	return dafs_session_fail(fs, rename_at(fs, from, dir, name, len), from);
}

errcode_t dafs_edit_link(struct dafs *fs, const char *target, const char *path, bool symbolic)
{
	struct dafs_inode *dir, *inode;
	const char *name;
	size_t len;
	errcode_t err = target_place(fs, path, target, &dir, &name, &len);

	if (err)
		return dafs_session_fail(fs, err, path);
	if (symbolic)
		return dafs_session_fail(
			fs, dafs_ns_symlink(fs->ns, dir, name, len, target, &inode), path);
	err = dafs_ns_lookup(fs->ns, target, DAFS_NS_INO, &inode);
	if (err)
		return dafs_session_fail(fs, err, target);
	return dafs_session_fail(fs, dafs_ns_link(fs->ns, dir, name, len, inode), path);
}

errcode_t dafs_link(struct dafs *fs, const char *target, const char *path)
{
	return dafs_edit_link(fs, target, path, false);
}

errcode_t dafs_symlink(struct dafs *fs, const char *target, const char *path)
{
	return dafs_edit_link(fs, target, path, true);
}

errcode_t dafs_edit_mknod(struct dafs *fs, const char *path, uint16_t mode, uint32_t major,
			  uint32_t minor)
{
	struct dafs_inode *dir, *inode;
	const char *name;
	size_t len;
	errcode_t err;

	/* The on-disk form has 12 bits of major and 20 of minor number. */
	if (major > 0xfff || minor > 0xfffff)
		return dafs_fail(fs->ctx, DAFS_ET_RANGE, "%s: device %u,%u", path, major, minor);
	err = dafs_ns_parent(fs->ns, path, &dir, &name, &len);
	if (!err)
		err = dafs_ns_create(fs->ns, dir, name, len, mode, &inode);
	if (err)
		return dafs_session_fail(fs, err, path);
	if (dafs_inode_is_dev(inode)) {
		inode->rdev_major = major;
		inode->rdev_minor = minor;
	}
	return 0;
}

errcode_t dafs_mknod(struct dafs *fs, const char *path, mode_t mode, unsigned major, unsigned minor)
{
	return dafs_edit_mknod(fs, path, (uint16_t)mode, major, minor);
}
