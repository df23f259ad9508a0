/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lookup - paths: from text to inodes, following symlinks inside the image; and back to text for
 * messages.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/dircodec.h"

enum { MAX_SYMLINKS = 40, MAX_DEPTH = 4096 };

errcode_t dafs_ns_child(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			size_t name_len, struct dafs_inode **ret)
{
	struct dafs_name *record;
	struct dafs_inode *child;
	errcode_t err;

	*ret = NULL;
	if (!S_ISDIR(dir->mode))
		return ENOTDIR;
	if (name_len == 1 && name[0] == '.') {
		*ret = dir;
		return 0;
	}
	if (name_len == 2 && !memcmp(name, "..", 2))
		return dafs_ns_dotdot(ns, dir, ret);
	err = dafs_ns_name(ns, dir, name, name_len, &record);
	if (err)
		return err;
	if (!record || !record->id)
		return ENOENT;
	err = dafs_ns_inode(ns, record->id, &child);
	if (err == ENOENT)
		return dafs_fail(
			ns->ctx, DAFS_ET_CORRUPT_DIR,
			"directory inode %llu: a name leads to inode %llu, which is not in use",
			(unsigned long long)dir->id, (unsigned long long)record->id);
	if (err)
		return err;
	if (!child->parent)
		child->parent = dir->id;
	*ret = child;
	return 0;
}

/* "<N>" at the beginning of path: the inode, and what follows. False: path does not begin so. */
static bool parse_ino(const char *path, uint64_t *id, const char **rest)
{
	char *end;

	if (path[0] != '<' || !isdigit((unsigned char)path[1]))
		return false;
	errno = 0;
	*id = strtoull(path + 1, &end, 10);
	if (errno || *end != '>' || (end[1] && end[1] != '/'))
		return false;
	*rest = end + 1;
	return true;
}

struct walk {
	struct dafs_ns *ns;
	struct dafs_inode *at;
	const char *rest; /* what is still to be walked: the caller's path, or in buf */
	char *buf;
	unsigned links;
};

/* The link's target takes the place of the component it was found under. */
static errcode_t walk_symlink(struct walk *w, struct dafs_inode *link, const char *after)
{
	size_t target_len, after_len = strlen(after);
	errcode_t err;
	char *buf;

	if (++w->links > MAX_SYMLINKS)
		return DAFS_ET_LOOP;
	err = dafs_ns_target(w->ns, link);
	if (err)
		return err;
	target_len = strlen(link->u.target);
	if (!target_len)
		return ENOENT;
	buf = malloc(target_len + after_len + 1);
	if (!buf)
		return ENOMEM;
	memcpy(buf, link->u.target, target_len);
	memcpy(buf + target_len, after, after_len + 1);
	free(w->buf);
	w->buf = buf;
	w->rest = buf;
	return buf[0] == '/' ? dafs_ns_inode(w->ns, DAFS_ID_ROOT, &w->at) : 0;
}

static errcode_t walk_path(struct walk *w, bool follow)
{
	errcode_t err = 0;

	while (!err) {
		struct dafs_inode *child;
		size_t len;
		bool last;

		if (*w->rest == '/' && !S_ISDIR(w->at->mode))
			return ENOTDIR;
		w->rest += strspn(w->rest, "/");
		if (!*w->rest)
			break;
		len = strcspn(w->rest, "/");
		last = !w->rest[len];
		err = dafs_ns_child(w->ns, w->at, w->rest, len, &child);
		if (err)
			break;
		if (S_ISLNK(child->mode) && (!last || follow)) {
			err = walk_symlink(w, child, w->rest + len);
		} else {
			w->at = child;
			w->rest += len;
		}
	}
	return err;
}

errcode_t dafs_ns_lookup(struct dafs_ns *ns, const char *path, int flags, struct dafs_inode **ret)
{
	struct walk w = { .ns = ns, .rest = path };
	uint64_t id = DAFS_ID_ROOT;
	errcode_t err;

	*ret = NULL;
	if (!*path)
		return dafs_fail(ns->ctx, ENOENT, "empty path");
	ns->ctx->detail[0] = '\0';
	if (flags & DAFS_NS_INO)
		parse_ino(path, &id, &w.rest);
	err = dafs_ns_inode(ns, id, &w.at);
	if (!err && (w.at->state & DAFS_I_GONE))
		err = ENOENT;
	if (!err)
		err = walk_path(&w, flags & DAFS_NS_FOLLOW);
	free(w.buf);
	if (err)
		return ns->ctx->detail[0] ? err : dafs_fail(ns->ctx, err, "%s", path);
	*ret = w.at;
	return 0;
}

errcode_t dafs_ns_parent(struct dafs_ns *ns, const char *path, struct dafs_inode **dir,
			 const char **name, size_t *name_len)
{
	size_t end = strlen(path), start;
	errcode_t err;
	char *above;

	*dir = NULL;
	*name = path;
	*name_len = 0;
	if (!end)
		return dafs_fail(ns->ctx, ENOENT, "empty path");
	while (end && path[end - 1] == '/')
		end--;
	for (start = end; start && path[start - 1] != '/';)
		start--;
	if (!end)
		return dafs_fail(ns->ctx, EBUSY, "%s", path);
	if (path[start] == '.' &&
	    (end - start == 1 || (end - start == 2 && path[start + 1] == '.')))
		return dafs_fail(ns->ctx, EINVAL, "%s", path);
	if (end - start > EXT2_NAME_LEN)
		return dafs_fail(ns->ctx, DAFS_ET_NAME_TOO_LONG, "%s", path);
	above = start ? strndup(path, start) : strdup("/");
	if (!above)
		return ENOMEM;
	err = dafs_ns_lookup(ns, above, DAFS_NS_FOLLOW, dir);
	if (!err && !S_ISDIR((*dir)->mode))
		err = dafs_fail(ns->ctx, ENOTDIR, "%s", path);
	free(above);
	if (err) {
		*dir = NULL;
		return err;
	}
	*name = path + start;
	*name_len = end - start;
	return 0;
}

/* --- back to text --- */

struct find_name {
	uint32_t ino;
	char name[EXT2_NAME_LEN];
	uint8_t len;
};

static errcode_t match_ino(void *arg, const char *name, uint8_t name_len, uint64_t id,
			   uint8_t file_type)
{
	struct find_name *find = arg;

	(void)file_type;
	if (id != find->ino)
		return 0;
	memcpy(find->name, name, name_len);
	find->len = name_len;
	return EEXIST;
}

/* A name of child in dir, put before *at in buf with its "/". False: none found, or no room. */
static bool put_name(struct dafs_ns *ns, struct dafs_inode *dir, const struct dafs_inode *child,
		     char *buf, char **at)
{
	struct find_name find = { .ino = child->ino };
	const struct dafs_name *record;
	struct dafs_dir *names;
	uint32_t i;

	if (dafs_ns_dir(ns, dir, &names))
		return false;
	DAFS_PTAB_EACH(&names->names, i, record) {
		if (record->id == child->id) {
			memcpy(find.name, record->name, record->len);
			find.len = record->len;
			break;
		}
	}
	if (!find.len && child->id < DAFS_ID_NEW)
		dafs_ns_readdir(ns, dir, match_ino, &find);
	if (!find.len || (size_t)(*at - buf) < find.len + 1u)
		return false;
	*at -= find.len;
	memcpy(*at, find.name, find.len);
	*--*at = '/';
	return true;
}

const char *dafs_ns_path(struct dafs_ns *ns, const struct dafs_inode *inode, char *buf, size_t room)
{
	char detail[sizeof(ns->ctx->detail)], number[24];
	struct dafs_inode *at = (struct dafs_inode *)inode, *up;
	char *begin = buf + room - 1;
	unsigned depth = 0;
	size_t len;

	/* This serves messages about another failure: what goes wrong here must not take its
	 * place. */
	memcpy(detail, ns->ctx->detail, sizeof(detail));
	*begin = '\0';
	if (at->id == DAFS_ID_ROOT)
		*--begin = '/';
	while (at->id != DAFS_ID_ROOT && depth++ < MAX_DEPTH) {
		errcode_t err = S_ISDIR(at->mode) ? dafs_ns_dotdot(ns, at, &up)
						  : dafs_ns_inode(ns, at->parent, &up);

		if (err || !S_ISDIR(up->mode) || !put_name(ns, up, at, buf, &begin))
			break;
		at = up;
	}
	if (at->id != DAFS_ID_ROOT) {
		len = (size_t)snprintf(number, sizeof(number), "<%llu>",
				       (unsigned long long)at->id);
		if ((size_t)(begin - buf) < len)
			begin += len - (size_t)(begin - buf);
		begin -= len;
		memcpy(begin, number, len);
	}
	memmove(buf, begin, (size_t)(buf + room - begin));
	memcpy(ns->ctx->detail, detail, sizeof(detail));
	return buf;
}

errcode_t dafs_ns_fail(struct dafs_ns *ns, errcode_t code, const struct dafs_inode *dir,
		       const char *name, size_t name_len)
{
	char path[3072];
	size_t len;

	dafs_ns_path(ns, dir, path, sizeof(path) - EXT2_NAME_LEN - 2);
	len = strlen(path);
	snprintf(path + len, sizeof(path) - len, "%s%.*s", path[1] ? "/" : "",
		 (int)(name_len < EXT2_NAME_LEN ? name_len : EXT2_NAME_LEN), name);
	dafs_fail(ns->ctx, code, "%s", path);
	return dafs_qlimit_fail(ns->ctx, ns->w->limits, code, path);
}
