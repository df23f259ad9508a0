/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* extract_tree - whole trees onto the host (see extract.h and its invariants). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Out of memory is an error to return, not the end of the process. */
#ifndef HASH_NONFATAL_OOM
#define HASH_NONFATAL_OOM 1
#endif
#include <uthash.h>

#include "base/array.h"
#include "job/extract.h"
#include "job/inspect_int.h"

/* A file with several links, by where its first name went. */
struct hardlink {
	uint32_t ino;
	char *path; /* below the target */
	UT_hash_handle hh;
};

struct extract {
	struct dafs_image *img;
	const struct dafs_extract_request *req;
	struct dafs_extract_stats *stats;
	ext2fs_inode_bitmap entered; /* directories */
	struct hardlink *links;
	int target_fd;
	bool root;
	/* Where the work is: below the target, and the directories on the way down. */
	char *path;
	size_t path_len, path_room;
	struct level *top;
};

/* One object to make: name in the open directory dir_fd; path is below the target. */
struct object {
	int dir_fd;
	const char *name;
	const char *path;
	struct dafs_inspect *in;
};

static errcode_t extract_entry(struct extract *x, int dir_fd, const char *name, uint32_t ino);

/* ---- telling ---- */

/* Pass on what is to be worked around; return the rest. */
static errcode_t note(struct extract *x, errcode_t err)
{
	if (!err || !dafs_damage_passable(err))
		return err;
	x->req->note(x->req->arg, err);
	return 0;
}

/* Note errno for a host path below the target. */
static errcode_t note_host(struct extract *x, const char *path)
{
	return note(x, dafs_fail(x->img->ctx, errno, "%s%s%s", x->req->target, *path ? "/" : "",
				 path));
}

/* ---- attributes ---- */

/* Set by descriptor, or by name where there is none (symlinks, devices: not to be opened). */
static int set_xattr(const struct object *ob, int fd, const struct dafs_xattr *attr)
{
	char at[64 + EXT2_NAME_LEN];

	if (fd >= 0)
		return fsetxattr(fd, attr->name, dafs_xattr_value(attr), attr->value_len, 0);
	snprintf(at, sizeof(at), "/proc/self/fd/%d/%s", ob->dir_fd, ob->name);
	return lsetxattr(at, attr->name, dafs_xattr_value(attr), attr->value_len, 0);
}

static errcode_t give_xattrs(struct extract *x, const struct object *ob, int fd)
{
	struct dafs_xattr *set = NULL;
	errcode_t err = note(x, dafs_xcodec_read(x->img, ob->in->ino, &ob->in->buf.raw, &set));

	for (const struct dafs_xattr *attr = set; attr && !err; attr = attr->next) {
		bool refused;

		if (!set_xattr(ob, fd, attr))
			continue;
		refused = errno == EPERM || errno == EOPNOTSUPP;
		/* The host refuses whole kinds of attributes: the first one says it for all. */
		if (!refused || !x->stats->xattrs_skipped)
			err = note(x, dafs_fail(x->img->ctx, errno, "%s/%s: attribute %s",
						x->req->target, ob->path, attr->name));
		x->stats->xattrs_skipped += refused;
	}
	dafs_xattr_free(&set);
	return err;
}

/* An open file or directory. Owner, attributes, mode and times, in this order. */
static errcode_t give_attrs(struct extract *x, const struct object *ob, int fd)
{
	errcode_t err = note(x, dafs_extract_owner(x->img, ob->in, fd, ob->path));

	if (!err)
		err = give_xattrs(x, ob, fd);
	return err ? err : note(x, dafs_extract_mode(x->img, ob->in, fd, ob->path));
}

/* What cannot be opened: its mode is right from the beginning. */
static errcode_t give_attrs_at(struct extract *x, const struct object *ob)
{
	const struct dafs_inode *attr = &ob->in->attr;
	const struct timespec times[2] = {
		{ .tv_sec = dafs_time_sec(attr->atime), .tv_nsec = attr->atime.nsec },
		{ .tv_sec = dafs_time_sec(attr->mtime), .tv_nsec = attr->mtime.nsec },
	};
	errcode_t err = 0;

	if (x->root && fchownat(ob->dir_fd, ob->name, attr->uid, attr->gid, AT_SYMLINK_NOFOLLOW))
		err = note_host(x, ob->path);
	if (!err)
		err = give_xattrs(x, ob, -1);
	if (!err && utimensat(ob->dir_fd, ob->name, times, AT_SYMLINK_NOFOLLOW))
		err = note_host(x, ob->path);
	return err;
}

/* ---- hard links ---- */

static struct hardlink *find_link(struct extract *x, uint32_t ino)
{
	struct hardlink *link;

	HASH_FIND(hh, x->links, &ino, sizeof(ino), link);
	return link;
}

static errcode_t remember_link(struct extract *x, const struct object *ob)
{
	struct hardlink *link;

	if (ob->in->attr.nlink < 2)
		return 0;
	link = calloc(1, sizeof(*link));
	if (!link || !(link->path = strdup(ob->path))) {
		free(link);
		return ENOMEM;
	}
	link->ino = ob->in->ino;
	HASH_ADD(hh, x->links, ino, sizeof(link->ino), link);
	if (link->hh.tbl)
		return 0;
	free(link->path);
	free(link);
	return ENOMEM;
}

/* Open the directory that path (below the target) is in, component by component. *name: the last
 * one. -1 with errno. */
static int open_dir_of(const struct extract *x, const char *path, const char **name)
{
	int fd = fcntl(x->target_fd, F_DUPFD_CLOEXEC, 0);
	const char *slash;

	while (fd >= 0 && (slash = strchr(path, '/')) != NULL) {
		char part[EXT2_NAME_LEN + 1];
		int next;

		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = '\0';
		next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(fd);
		fd = next;
		path = slash + 1;
	}
	*name = path;
	return fd;
}

static errcode_t make_link(struct extract *x, const struct object *ob, const struct hardlink *link)
{
	const char *name;
	int fd = open_dir_of(x, link->path, &name), failed;

	if (fd < 0)
		return note_host(x, link->path);
	failed = linkat(fd, name, ob->dir_fd, ob->name, 0);
	if (failed && errno == EEXIST && !unlinkat(ob->dir_fd, ob->name, 0))
		failed = linkat(fd, name, ob->dir_fd, ob->name, 0);
	close(fd);
	if (failed)
		return note_host(x, ob->path);
	x->stats->links++;
	return 0;
}

/* ---- kinds of files ---- */

static int create(const struct object *ob)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(ob->dir_fd, ob->name, flags, 0600);

	if (fd < 0 && errno == EEXIST && !unlinkat(ob->dir_fd, ob->name, 0))
		fd = openat(ob->dir_fd, ob->name, flags, 0600);
	return fd;
}

static errcode_t make_file(struct extract *x, const struct object *ob)
{
	int fd = create(ob);
	errcode_t err;

	if (fd < 0)
		return note_host(x, ob->path);
	err = note(x, dafs_extract_data(x->img, ob->in, fd, true, ob->path));
	if (!err)
		err = give_attrs(x, ob, fd);
	if (close(fd) && !err)
		err = note_host(x, ob->path);
	x->stats->files++;
	x->stats->bytes += ob->in->attr.size;
	return err ? err : remember_link(x, ob);
}

static errcode_t make_symlink(struct extract *x, const struct object *ob)
{
	char *target = NULL;
	errcode_t err = dafs_read_symlink(x->img, ob->in->ino, &ob->in->buf.raw, &target);
	int failed;

	if (err)
		return note(x, err);
	failed = symlinkat(target, ob->dir_fd, ob->name);
	if (failed && errno == EEXIST && !unlinkat(ob->dir_fd, ob->name, 0))
		failed = symlinkat(target, ob->dir_fd, ob->name);
	free(target);
	if (failed)
		return note_host(x, ob->path);
	x->stats->symlinks++;
	err = give_attrs_at(x, ob);
	return err ? err : remember_link(x, ob);
}

static errcode_t make_special(struct extract *x, const struct object *ob)
{
	const struct dafs_inode *attr = &ob->in->attr;
	mode_t mode = attr->mode & (S_IFMT | 0777);
	dev_t dev = makedev(attr->rdev_major, attr->rdev_minor);
	int failed = mknodat(ob->dir_fd, ob->name, mode, dev);
	errcode_t err;

	if (failed && errno == EEXIST && !unlinkat(ob->dir_fd, ob->name, 0))
		failed = mknodat(ob->dir_fd, ob->name, mode, dev);
	if (failed)
		return note_host(x, ob->path);
	x->stats->specials++;
	err = give_attrs_at(x, ob);
	return err ? err : remember_link(x, ob);
}

/* ---- directories ---- */

struct entry {
	uint32_t ino;
	char *name;
};

struct entries {
	struct extract *x;
	struct entry *v;
	size_t n, room;
};

static bool name_ok(const char *name, size_t len)
{
	return len && !memchr(name, '/', len) && !memchr(name, '\0', len) &&
	       !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

static errcode_t take_entry(void *arg, const struct dafs_inspect_dirent *de)
{
	struct entries *list = arg;
	bool dots = (de->name_len == 1 && de->name[0] == '.') ||
		    (de->name_len == 2 && !memcmp(de->name, "..", 2));

	if (dots)
		return 0;
	if (!name_ok(de->name, de->name_len))
		return note(list->x, dafs_fail(list->x->img->ctx, DAFS_ET_UNSAFE_PATH,
					       "inode %u: a name in /%s", de->ino, list->x->path));
	if (dafs_array_grow(&list->v, list->n, &list->room, sizeof(*list->v)))
		return ENOMEM;
	list->v[list->n].ino = de->ino;
	list->v[list->n].name = strndup(de->name, de->name_len);
	return list->v[list->n++].name ? 0 : ENOMEM;
}

/* A directory that is being gone through. Not by recursion: how deep a tree is, is the image's to
 * say. */
struct level {
	struct level *up;
	struct object ob; /* its own, but for path */
	int fd;
	size_t path_len;
	struct entries list;
	size_t at; /* next of list */
};

/* The path ends with name from now on; path_len from before takes it back (leave_path). */
static errcode_t enter_path(struct extract *x, const char *name)
{
	size_t len = strlen(name), need = x->path_len + len + 2;
	char *path;

	if (need > x->path_room) {
		path = realloc(x->path, need * 2);
		if (!path)
			return ENOMEM;
		x->path = path;
		x->path_room = need * 2;
	}
	if (x->path_len)
		x->path[x->path_len++] = '/';
	memcpy(x->path + x->path_len, name, len + 1);
	x->path_len += len;
	return 0;
}

static void leave_path(struct extract *x, size_t path_len)
{
	x->path_len = path_len;
	x->path[path_len] = '\0';
}

/* Go into the directory ob, open as fd: both are the level's from now on, with ob->in,
 * or (x->top is what it was) fd is closed and ob->in the caller's. */
static errcode_t enter_dir(struct extract *x, const struct object *ob, int fd)
{
	struct level *level = calloc(1, sizeof(*level));

	if (!level) {
		if (fd != x->target_fd)
			close(fd);
		return ENOMEM;
	}
	*level = (struct level){ .up = x->top, .ob = *ob, .fd = fd, .path_len = x->path_len };
	level->list.x = x;
	x->top = level;
	return note(x, dafs_inspect_dir(x->img, ob->in, 0, take_entry, &level->list));
}

static void leave_dir(struct extract *x)
{
	struct level *level = x->top;

	for (size_t i = 0; i < level->list.n; i++)
		free(level->list.v[i].name);
	free(level->list.v);
	if (level->fd != x->target_fd)
		close(level->fd);
	dafs_inspect_fini(level->ob.in);
	free(level->ob.in);
	x->top = level->up;
	free(level);
}

/* What is in the directories that were entered, after err; each gets its attributes when it is
 * full. */
static errcode_t fill_dirs(struct extract *x, errcode_t err)
{
	while (x->top) {
		struct level *level = x->top;

		leave_path(x, level->path_len);
		if (!err && level->at < level->list.n) {
			const struct entry *entry = &level->list.v[level->at++];

			err = extract_entry(x, level->fd, entry->name, entry->ino);
			continue;
		}
		level->ob.path = x->path;
		if (!err)
			err = give_attrs(x, &level->ob, level->fd);
		leave_dir(x);
	}
	return err;
}

static errcode_t make_dir(struct extract *x, const struct object *ob)
{
	int fd;

	if (ext2fs_mark_inode_bitmap2(x->entered, ob->in->ino))
		return note(x, dafs_fail(x->img->ctx, DAFS_ET_CORRUPT_DIR,
					 "inode %u: /%s: directory with two names", ob->in->ino,
					 ob->path));
	if (mkdirat(ob->dir_fd, ob->name, 0700) && errno != EEXIST)
		return note_host(x, ob->path);
	fd = openat(ob->dir_fd, ob->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return note_host(x, ob->path);
	x->stats->dirs++;
	return enter_dir(x, ob, fd);
}

static errcode_t make(struct extract *x, const struct object *ob)
{
	const struct hardlink *link = find_link(x, ob->in->ino);

	if (link)
		return make_link(x, ob, link);
	switch (ob->in->attr.mode & S_IFMT) {
	case S_IFREG:
		return make_file(x, ob);
	case S_IFDIR:
		return make_dir(x, ob);
	case S_IFLNK:
		return make_symlink(x, ob);
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return make_special(x, ob);
	default:
		return note(x, dafs_fail(x->img->ctx, DAFS_ET_CORRUPT_INODE,
					 "inode %u: /%s: file type", ob->in->ino, ob->path));
	}
}

static errcode_t extract_entry(struct extract *x, int dir_fd, const char *name, uint32_t ino)
{
	struct dafs_inspect *in = malloc(sizeof(*in));
	struct object ob = { .dir_fd = dir_fd, .name = name, .in = in };
	const struct level *was = x->top;
	errcode_t err = in ? enter_path(x, name) : ENOMEM;

	if (err) {
		free(in);
		return err;
	}
	ob.path = x->path;
	err = dafs_inspect_load(x->img, ino, in);
	if (!err)
		err = note(x, dafs_inspect_judge(x->img, in));
	err = err ? note(x, err) : make(x, &ob);
	if (!err)
		err = dafs_cancelled(x->img->ctx);
	dafs_progress(x->img->ctx, "extracting", x->stats->files + x->stats->dirs, 0);
	if (x->top == was) {
		dafs_inspect_fini(in);
		free(in);
	}
	return err;
}

/* The contents of a directory straight into the target, which takes its attributes. */
static errcode_t extract_into(struct extract *x, uint32_t ino)
{
	struct dafs_inspect *in = malloc(sizeof(*in));
	struct object ob = { .dir_fd = x->target_fd, .name = "", .in = in };
	errcode_t err = in ? enter_path(x, "") : ENOMEM;

	if (err) {
		free(in);
		return err;
	}
	ob.path = x->path;
	err = dafs_inspect_load(x->img, ino, in);
	if (!err && !S_ISDIR(in->attr.mode))
		err = dafs_fail(x->img->ctx, ENOTDIR, "inode %u", ino);
	if (!err)
		err = note(x, dafs_inspect_judge(x->img, in));
	if (!err) {
		ext2fs_mark_inode_bitmap2(x->entered, ino);
		x->stats->dirs++;
		err = enter_dir(x, &ob, x->target_fd);
	}
	if (!x->top) {
		dafs_inspect_fini(in);
		free(in);
	}
	return err;
}

/* A descriptor is open for every directory on the way down. */
static void allow_depth(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

errcode_t dafs_extract_tree(struct dafs_image *img, const struct dafs_extract_request *req,
			    struct dafs_extract_stats *stats)
{
	struct extract x = { .img = img, .req = req, .stats = stats, .root = !geteuid() };
	struct hardlink *link, *next;
	mode_t mask;
	errcode_t err;

	memset(stats, 0, sizeof(*stats));
	x.target_fd = open(req->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x.target_fd < 0)
		return dafs_fail(img->ctx, errno, "%s", req->target);
	allow_depth();
	mask = umask(0);
	err = ext2fs_allocate_inode_bitmap(img->fs, "directories entered", &x.entered);
	if (!err)
		err = req->name ? extract_entry(&x, x.target_fd, req->name, req->ino) :
				  extract_into(&x, req->ino);
	err = fill_dirs(&x, err);
	free(x.path);
	umask(mask);
	if (x.entered)
		ext2fs_free_inode_bitmap(x.entered);
	HASH_ITER(hh, x.links, link, next) {
		HASH_DEL(x.links, link);
		free(link->path);
		free(link);
	}
	close(x.target_fd);
	return err;
}
