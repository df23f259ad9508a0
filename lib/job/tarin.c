/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tarin - tar archives (ustar, pax, GNU; any compression libarchive knows) into the pending name
 * space.
 *
 * Entries come in any order: missing parents are made (0755, 0:0), a later entry replaces an
 * earlier one of its name, and directories get their attributes at the end, when their contents no
 * longer change their times. The archive is read once and cannot be read again, so contents go into
 * the spool.
 *
 * Names cannot lead out of the image; ".." components are refused (DAFS_ET_UNSAFE_PATH).
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "job/edit.h"
#include "job/import_int.h"
#include "job/tarlib.h"

#define READ_BYTES	(1u << 20)

/* A directory whose attributes are still to be set. */
struct late_dir {
	struct late_dir *next;
	uint64_t id;
	struct statx st;
	struct dafs_xattr *set;
};

struct tar_import {
	struct dafs_import *imp;
	struct archive *ar;
	const char *src;
	struct dafs_inode *root;
	struct late_dir *late;
};

static errcode_t fail_archive(struct tar_import *ti)
{
	const char *text = dafs_tarlib.error_string(ti->ar);

	return dafs_fail(ti->imp->fs->ctx, DAFS_ET_TAR, "%s: %s", ti->src,
			 text ? text : "unknown format");
}

/* A time of the archive. libarchive gives the fraction of a time before 1970 as what is to be taken
 * off, not added. */
static struct statx_timestamp entry_time(int64_t sec, long nsec)
{
	if (sec < 0 && nsec > 0)
		return (struct statx_timestamp){ .tv_sec = sec - 1,
						 .tv_nsec = (uint32_t)(1000000000 - nsec) };
	return (struct statx_timestamp){ .tv_sec = sec, .tv_nsec = (uint32_t)nsec };
}

static void entry_statx(struct archive_entry *ae, struct statx *st)
{
	memset(st, 0, sizeof(*st));
	st->stx_mode = (uint16_t)dafs_tarlib.entry_mode(ae);
	st->stx_uid = (uint32_t)dafs_tarlib.entry_uid(ae);
	st->stx_gid = (uint32_t)dafs_tarlib.entry_gid(ae);
	st->stx_mtime = entry_time(dafs_tarlib.entry_mtime(ae), dafs_tarlib.entry_mtime_nsec(ae));
	st->stx_atime = st->stx_mtime;
	if (dafs_tarlib.entry_atime_is_set(ae))
		st->stx_atime =
			entry_time(dafs_tarlib.entry_atime(ae), dafs_tarlib.entry_atime_nsec(ae));
	st->stx_rdev_major = (uint32_t)dafs_tarlib.entry_rdevmajor(ae);
	st->stx_rdev_minor = (uint32_t)dafs_tarlib.entry_rdevminor(ae);
}

/* One ACL in the form getxattr gives: version 2, then 8 bytes an entry. */
struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

static uint16_t acl_tag(int tag)
{
	switch (tag) {
	case ARCHIVE_ENTRY_ACL_USER_OBJ:
		return 0x01;
	case ARCHIVE_ENTRY_ACL_USER:
		return 0x02;
	case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
		return 0x04;
	case ARCHIVE_ENTRY_ACL_GROUP:
		return 0x08;
	case ARCHIVE_ENTRY_ACL_MASK:
		return 0x10;
	default:
		return 0x20;	/* ARCHIVE_ENTRY_ACL_OTHER */
	}
}

static int by_tag_and_id(const void *a, const void *b)
{
	const struct acl_entry *x = a, *y = b;

	if (x->tag != y->tag)
		return le16toh(x->tag) < le16toh(y->tag) ? -1 : 1;
	return le32toh(x->id) < le32toh(y->id) ? -1 : le32toh(x->id) > le32toh(y->id);
}

static errcode_t take_acl(struct archive_entry *ae, int type, const char *xattr,
			  struct dafs_xattr **set)
{
	int count = dafs_tarlib.entry_acl_reset(ae, type), perm, tag, id, n = 0;
	const char *name;
	uint8_t *value;
	struct acl_entry *v;
	errcode_t err;

	/* Three entries or less are the mode bits again. */
	if (count <= (type == ARCHIVE_ENTRY_ACL_TYPE_ACCESS ? 3 : 0))
		return 0;
	value = malloc(4 + (size_t)count * sizeof(*v));
	if (!value)
		return ENOMEM;
	*(uint32_t *)(void *)value = htole32(2);
	v = (struct acl_entry *)(void *)(value + 4);
	while (n < count &&
	       dafs_tarlib.entry_acl_next(ae, type, &type, &perm, &tag, &id, &name) == ARCHIVE_OK) {
		uint16_t t = acl_tag(tag);

		v[n++] = (struct acl_entry){ htole16(t), htole16((uint16_t)(perm & 7)),
					     htole32(t == 0x02 || t == 0x08 ? (uint32_t)id : ~0u) };
	}
	qsort(v, (size_t)n, sizeof(*v), by_tag_and_id);
	err = dafs_xattr_put(set, xattr, value, (uint32_t)(4 + (size_t)n * sizeof(*v)));
	free(value);
	return err;
}

/* libarchive keeps the owning group's permissions in the mode; in an inode that has an ACL, the
 * mask stands there (acl(5)). */
static void mask_mode(struct archive_entry *ae, struct statx *st)
{
	int type = ARCHIVE_ENTRY_ACL_TYPE_ACCESS, perm, tag, id;
	const char *name;

	if (dafs_tarlib.entry_acl_reset(ae, type) <= 3)
		return;
	while (dafs_tarlib.entry_acl_next(ae, type, &type, &perm, &tag, &id, &name) == ARCHIVE_OK) {
		if (tag == ARCHIVE_ENTRY_ACL_MASK)
			st->stx_mode =
				(uint16_t)((st->stx_mode & ~S_IRWXG) | (unsigned)(perm & 7) << 3);
	}
}

static errcode_t entry_xattrs(struct tar_import *ti, struct archive_entry *ae,
			      struct dafs_xattr **set)
{
	const char *name;
	const void *value;
	size_t len;
	errcode_t err = 0;

	*set = NULL;
	dafs_tarlib.entry_xattr_reset(ae);
	while (!err && dafs_tarlib.entry_xattr_next(ae, &name, &value, &len) == ARCHIVE_OK) {
		if (len > UINT32_MAX)
			err = dafs_fail(ti->imp->fs->ctx, DAFS_ET_XATTR_TOO_BIG, "%s: %s",
					dafs_tarlib.entry_pathname(ae), name);
		else
			err = dafs_xattr_put(set, name, value, (uint32_t)len);
	}
	if (!err)
		err = take_acl(ae, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", set);
	if (!err)
		err = take_acl(ae, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", set);
	if (err)
		dafs_xattr_free(set);
	return err;
}

/* The directory that a path of the archive lies in, and the path's last name in buf (256 bytes).
 * *name empty: the root itself. */
static errcode_t locate(struct tar_import *ti, const char *path, struct dafs_inode **dir,
			char *name)
{
	struct dafs *fs = ti->imp->fs;
	const char *at = path;

	*dir = ti->root;
	name[0] = '\0';
	for (;;) {
		size_t len;

		at += strspn(at, "/");
		len = strcspn(at, "/");
		if (!len)
			return 0;
		if (len > 255)
			return dafs_fail(fs->ctx, DAFS_ET_NAME_TOO_LONG, "%s: %s", ti->src, path);
		if (len == 2 && !memcmp(at, "..", 2))
			return dafs_fail(fs->ctx, DAFS_ET_UNSAFE_PATH, "%s: %s", ti->src, path);
		if (len == 1 && *at == '.') {
			at += len;
			continue;
		}
		if (name[0]) {	/* the name before this one is a directory on the way */
			struct dafs_inode *next;
			errcode_t err = dafs_ns_child(fs->ns, *dir, name, strlen(name), &next);

			if (err == ENOENT) {
				fs->ctx->detail[0] = '\0';
				err = dafs_ns_create(fs->ns, *dir, name, strlen(name),
						     S_IFDIR | 0755, &next);
			}
			if (!err && !S_ISDIR(next->mode))
				err = ENOTDIR;
			if (err)
				return dafs_fail(fs->ctx, err, "%s: %s", ti->src, path);
			*dir = next;
		}
		memcpy(name, at, len);
		name[len] = '\0';
		at += len;
	}
}

static errcode_t entry_data(struct tar_import *ti, struct archive_entry *ae,
			    struct dafs_inode *inode)
{
	struct dafs_write *w = &ti->imp->fs->write;
	uint64_t size = (uint64_t)dafs_tarlib.entry_size(ae);
	errcode_t err = 0;

	for (;;) {
		const void *buf;
		size_t len;
		int64_t off;
		int got = dafs_tarlib.read_data_block(ti->ar, &buf, &len, &off);

		if (got == ARCHIVE_EOF)
			break;
		if (got < ARCHIVE_WARN)
			return fail_archive(ti);
		if (len)
			err = dafs_delalloc_write(w, inode, (uint64_t)off, buf, len);
		if (!err)
			err = dafs_cancelled(ti->imp->fs->ctx);
		if (err)
			return err;
	}
	ti->imp->stats->files++;
	ti->imp->stats->bytes += size;
	return inode->size == size ? 0 : dafs_delalloc_truncate(w, inode, size);
}

static errcode_t entry_hardlink(struct tar_import *ti, const char *target, struct dafs_inode *dir,
				const char *name)
{
	struct dafs *fs = ti->imp->fs;
	struct dafs_inode *target_dir, *inode;
	char target_name[256];
	errcode_t err = locate(ti, target, &target_dir, target_name);

	if (!err)
		err = dafs_ns_child(fs->ns, target_dir, target_name, strlen(target_name), &inode);
	return err ? err : dafs_import_link(ti->imp, dir, name, inode);
}

static errcode_t keep_late(struct tar_import *ti, uint64_t id, const struct statx *st,
			   struct dafs_xattr *set)
{
	struct late_dir *late = calloc(1, sizeof(*late));

	if (!late) {
		dafs_xattr_free(&set);
		return ENOMEM;
	}
	late->id = id;
	late->st = *st;
	late->set = set;
	late->next = ti->late;
	ti->late = late;
	return 0;
}

static errcode_t import_entry(struct tar_import *ti, struct archive_entry *ae)
{
	struct dafs *fs = ti->imp->fs;
	const char *path = dafs_tarlib.entry_pathname(ae);
	struct dafs_inode *dir, *inode;
	struct dafs_xattr *set;
	struct statx st;
	char name[256];
	bool made;
	errcode_t err;

	if (!path)
		return fail_archive(ti);
	err = locate(ti, path, &dir, name);
	if (err)
		return err;
	entry_statx(ae, &st);
	mask_mode(ae, &st);
	if (dafs_tarlib.entry_hardlink(ae))
		return dafs_session_fail(
			fs, entry_hardlink(ti, dafs_tarlib.entry_hardlink(ae), dir, name), path);
	if (!(st.stx_mode & S_IFMT))
		return dafs_fail(fs->ctx, DAFS_ET_SOURCE_TYPE, "%s: %s", ti->src, path);
	inode = dir;
	if (name[0])
		err = dafs_import_entry(ti->imp, dir, name, st.stx_mode,
					dafs_tarlib.entry_symlink(ae), &inode, &made);
	else if (!S_ISDIR(st.stx_mode))
		err = EISDIR;
	if (!err)
		err = entry_xattrs(ti, ae, &set);
	if (err)
		return dafs_session_fail(fs, err, path);
	if (S_ISDIR(st.stx_mode))
		return keep_late(ti, inode->id, &st, set);
	err = dafs_hostattr_apply(fs, &st, inode);
	if (!err && S_ISREG(st.stx_mode))
		err = dafs_ns_touch(fs->ns, inode, DAFS_I_DATA);
	if (!err && S_ISREG(st.stx_mode))
		err = entry_data(ti, ae, inode);
	dafs_hostattr_fill(fs->ctx, &st, inode);
	if (err)
		dafs_xattr_free(&set);
	else
		err = dafs_hostattr_set_xattrs(fs, inode, set);
	return dafs_session_fail(fs, err, path);
}

/* Attributes of directories, the first seen last: the list is backwards, and a later entry of a
 * name must win. */
static errcode_t settle_dirs(struct tar_import *ti, errcode_t err)
{
	struct dafs *fs = ti->imp->fs;
	struct late_dir *forward = NULL, *late;

	while ((late = ti->late)) {
		ti->late = late->next;
		late->next = forward;
		forward = late;
	}
	while ((late = forward)) {
		struct dafs_inode *dir;

		forward = late->next;
		if (!err)
			err = dafs_ns_inode(fs->ns, late->id, &dir);
		if (!err)
			err = dafs_ns_touch(fs->ns, dir, DAFS_I_ATTR);
		if (!err) {
			err = dafs_hostattr_set_xattrs(fs, dir, late->set);
			late->set = NULL;
		}
		if (!err)
			err = dafs_hostattr_apply(fs, &late->st, dir);
		dafs_xattr_free(&late->set);
		free(late);
		ti->imp->stats->dirs++;
	}
	return err;
}

static errcode_t read_entries(struct tar_import *ti)
{
	struct dafs_ctx *ctx = ti->imp->fs->ctx;
	errcode_t err = 0;

	while (!err) {
		struct archive_entry *ae;
		int got = dafs_tarlib.read_next_header(ti->ar, &ae);

		if (got == ARCHIVE_EOF)
			return 0;
		if (got < ARCHIVE_WARN)
			return fail_archive(ti);
		err = import_entry(ti, ae);
		dafs_progress(ctx, "reading archive", ++ti->imp->stats->entries, 0);
	}
	return err;
}

errcode_t dafs_tarin_run(struct dafs_import *imp, const char *src, struct dafs_inode *dir)
{
	struct tar_import ti = { .imp = imp, .src = src, .root = dir };
	errcode_t err = dafs_tarlib_load(imp->fs->ctx);

	if (err)
		return err;
	ti.ar = dafs_tarlib.read_new();
	if (!ti.ar)
		return ENOMEM;
	dafs_tarlib.read_support_filter_all(ti.ar);
	dafs_tarlib.read_support_format_tar(ti.ar);
	dafs_tarlib.read_support_format_empty(ti.ar);
	if (dafs_tarlib.read_open_filename(ti.ar, strcmp(src, "-") ? src : NULL, READ_BYTES) !=
	    ARCHIVE_OK)
		err = fail_archive(&ti);
	if (!err)
		err = read_entries(&ti);
	err = settle_dirs(&ti, err);
	dafs_tarlib.read_free(ti.ar);
	return err;
}
