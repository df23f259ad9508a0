/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_read - cat, ls, stat: what a reader would see after the flush. */
#include "config.h"

#include "dawrite/dawrite.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/json.h"
#include "job/edit.h"
#include "job/listing.h"

errcode_t dawrite_cat(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	errcode_t err = 0;

	fflush(stdout);
	for (int i = 0; i < args->argc && !err; i++) {
		struct dafs_inode *inode;

		err = dafs_edit_file(dw->fs, args->argv[i], &inode);
		if (!err)
			err = dafs_session_fail(
				dw->fs,
				dafs_listing_cat(dw->fs, inode, STDOUT_FILENO, "standard output"),
				args->argv[i]);
	}
	return err;
}

static char type_letter(uint16_t mode)
{
	static const struct {
		mode_t type;
		char letter;
	} letters[] = { { S_IFREG, '-' }, { S_IFDIR, 'd' }, { S_IFLNK, 'l' }, { S_IFCHR, 'c' },
			{ S_IFBLK, 'b' }, { S_IFIFO, 'p' }, { S_IFSOCK, 's' } };

	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
		if ((mode & S_IFMT) == letters[i].type)
			return letters[i].letter;
	}
	return '?';
}

static const char *mode_text(uint16_t mode, char text[11])
{
	static const char bits[] = "rwxrwxrwx";

	text[0] = type_letter(mode);
	for (int i = 0; i < 9; i++)
		text[1 + i] = mode & (0400 >> i) ? bits[i] : '-';
	if (mode & S_ISUID)
		text[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		text[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		text[9] = mode & S_IXOTH ? 't' : 'T';
	text[10] = '\0';
	return text;
}

/* UTC, so that the output does not depend on the host. */
static const char *time_text(const struct dafs_time *t, char text[64])
{
	time_t sec = (time_t)dafs_time_sec(*t);
	struct tm tm;
	size_t at;

	if (!gmtime_r(&sec, &tm))
		memset(&tm, 0, sizeof(tm));
	at = strftime(text, 40, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(text + at, 64 - at, ".%09u +0000", (unsigned)t->nsec);
	return text;
}

static void size_text(const struct dafs_inode *inode, char *text, size_t room)
{
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
		snprintf(text, room, "%u, %u", inode->rdev_major, inode->rdev_minor);
	else
		snprintf(text, room, "%" PRIu64, inode->size);
}

static void json_inode(struct json_object *out, const char *name, const struct dafs_inode *inode)
{
	char text[64];

	dafs_cli_json_bytes(out, "name", name, strlen(name));
	dafs_cli_json_u64(out, inode->state & DAFS_I_NEW ? "pending_id" : "inode", inode->id);
	snprintf(text, sizeof(text), "%06o", inode->mode);
	dafs_cli_json_str(out, "mode", text);
	dafs_cli_json_u64(out, "links", inode->nlink);
	dafs_cli_json_u64(out, "uid", inode->uid);
	dafs_cli_json_u64(out, "gid", inode->gid);
	dafs_cli_json_u64(out, "size", inode->size);
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
		dafs_cli_json_u64(out, "major", inode->rdev_major);
		dafs_cli_json_u64(out, "minor", inode->rdev_minor);
	}
	dafs_cli_json_str(out, "atime", time_text(&inode->atime, text));
	dafs_cli_json_str(out, "mtime", time_text(&inode->mtime, text));
	dafs_cli_json_str(out, "ctime", time_text(&inode->ctime, text));
	dafs_cli_json_str(out, "crtime", time_text(&inode->crtime, text));
	dafs_cli_json_bool(out, "pending", inode->state & DAFS_I_DIRTY);
	if (S_ISLNK(inode->mode) && inode->u.target)
		dafs_cli_json_bytes(out, "target", inode->u.target, strlen(inode->u.target));
}

static errcode_t print_entry(struct dawrite *dw, const char *name, struct dafs_inode *inode,
			     bool lng, struct json_object *array)
{
	char mode[11], size[32], when[64];
	errcode_t err =
		S_ISLNK(inode->mode) && (lng || array) ? dafs_ns_target(dw->fs->ns, inode) : 0;

	if (err)
		return err;
	if (array) {
		struct json_object *one = json_object_new_object();

		json_inode(one, name, inode);
		json_object_array_add(array, one);
		return 0;
	}
	if (!lng) {
		puts(name);
		return 0;
	}
	size_text(inode, size, sizeof(size));
	printf("%s %3u %5u %5u %12s %.19s %s", mode_text(inode->mode, mode), inode->nlink,
	       inode->uid, inode->gid, size, time_text(&inode->mtime, when), name);
	if (S_ISLNK(inode->mode))
		printf(" -> %s", inode->u.target);
	putchar('\n');
	return 0;
}

static errcode_t print_dir(struct dawrite *dw, struct dafs_inode *dir, bool lng,
			   struct json_object *array)
{
	struct dafs_listing list = { 0 };
	errcode_t err = dafs_listing_read(dw->fs, dir, &list);

	for (size_t i = 0; i < list.n && !err; i++) {
		struct dafs_inode *inode;

		err = dafs_ns_inode(dw->fs->ns, list.v[i].id, &inode);
		if (!err)
			err = print_entry(dw, list.v[i].name, inode, lng, array);
	}
	dafs_listing_fini(&list);
	return err;
}

errcode_t dawrite_ls(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	const char *path = args->argc ? args->argv[0] : "/";
	struct json_object *array = dw->cli.json ? json_object_new_array() : NULL;
	bool lng = dafs_cli_value(args, 'l');
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(dw->fs->ns, path, DAFS_NS_INO, &inode);

	if (!err)
		err = S_ISDIR(inode->mode) ? print_dir(dw, inode, lng, array)
					   : print_entry(dw, path, inode, lng, array);
	if (!err && array)
		dafs_cli_json_put(stdout, json_object_get(array));
	json_object_put(array);
	return dafs_session_fail(dw->fs, err, path);
}

static void print_stat(const char *path, const struct dafs_inode *inode)
{
	static const char *const kinds[16] = {
		[S_IFREG >> 12] = "regular file",
		[S_IFDIR >> 12] = "directory",
		[S_IFLNK >> 12] = "symbolic link",
		[S_IFCHR >> 12] = "character special file",
		[S_IFBLK >> 12] = "block special file",
		[S_IFIFO >> 12] = "fifo",
		[S_IFSOCK >> 12] = "socket",
	};
	char mode[11], when[64];

	printf("  File: %s", path);
	if (S_ISLNK(inode->mode))
		printf(" -> %s", inode->u.target);
	printf("\n  Size: %-15" PRIu64 " %s\n", inode->size,
	       kinds[inode->mode >> 12] ? kinds[inode->mode >> 12] : "unknown");
	if (inode->state & DAFS_I_NEW)
		printf(" Inode: none yet        Links: %u\n", inode->nlink);
	else
		printf(" Inode: %-15" PRIu64 " Links: %u\n", inode->id, inode->nlink);
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
		printf("Device: %u,%u\n", inode->rdev_major, inode->rdev_minor);
	printf("Access: (%04o/%s)  Uid: %u  Gid: %u\n", inode->mode & 07777u,
	       mode_text(inode->mode, mode), inode->uid, inode->gid);
	printf("Access: %s\n", time_text(&inode->atime, when));
	printf("Modify: %s\n", time_text(&inode->mtime, when));
	printf("Change: %s\n", time_text(&inode->ctime, when));
	printf(" Birth: %s\n", time_text(&inode->crtime, when));
	printf(" State: %s\n", inode->state & DAFS_I_DIRTY ? "pending" : "in the image");
	for (const struct dafs_xattr *x = inode->xattrs; x; x = x->next)
		printf(" Xattr: %s (%u bytes)\n", x->name, x->value_len);
}

errcode_t dawrite_stat(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	const char *path = args->argv[0];
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(dw->fs->ns, path, DAFS_NS_INO, &inode);

	if (!err && S_ISLNK(inode->mode))
		err = dafs_ns_target(dw->fs->ns, inode);
	if (!err)
		err = dafs_ns_xattrs(dw->fs->ns, inode);
	if (err)
		return dafs_session_fail(dw->fs, err, path);
	if (dw->cli.json) {
		struct json_object *out = json_object_new_object();

		json_inode(out, path, inode);
		dafs_cli_json_put(stdout, out);
	} else {
		print_stat(path, inode);
	}
	return 0;
}
