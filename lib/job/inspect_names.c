/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inspect_names - from inodes to names and paths. */
#include "config.h"

#include "job/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "job/inspect_int.h"

#define DEPTH_MAX 4096 /* of directories: a circle of them ends here */
#define FOUND     EEXIST /* stops a walk */

static bool is_dots(const struct dafs_inspect_dirent *de)
{
	return (de->name_len == 1 && de->name[0] == '.') ||
	       (de->name_len == 2 && !memcmp(de->name, "..", 2));
}

/* ---- the path of a directory ---- */

struct parent_seek {
	uint32_t parent;
};

static errcode_t take_dotdot(void *arg, const struct dafs_inspect_dirent *de)
{
	struct parent_seek *s = arg;

	if (de->name_len != 2 || memcmp(de->name, "..", 2))
		return 0;
	s->parent = de->ino;
	return FOUND;
}

struct name_seek {
	uint32_t ino;
	char *name; /* malloc'ed */
};

static errcode_t take_name(void *arg, const struct dafs_inspect_dirent *de)
{
	struct name_seek *s = arg;

	if (de->ino != s->ino || is_dots(de))
		return 0;
	s->name = strndup(de->name, de->name_len);
	return s->name ? FOUND : ENOMEM;
}

/* Call fn for the entries of directory ino until it stops. */
static errcode_t scan(struct dafs_image *img, uint32_t ino, dafs_inspect_dirent_fn fn, void *arg)
{
	struct dafs_inspect *in = malloc(sizeof(*in));
	errcode_t err;

	if (!in)
		return ENOMEM;
	err = dafs_inspect_load(img, ino, in);
	if (!err)
		err = dafs_inspect_dir(img, in, 0, fn, arg);
	dafs_inspect_fini(in);
	free(in);
	return err;
}

/* Parent and name of a directory; ENOENT: not to be found. */
static errcode_t up(struct dafs_image *img, uint32_t dir, uint32_t *parent, char **name)
{
	struct parent_seek ps = { 0 };
	struct name_seek ns = { .ino = dir };
	errcode_t err = scan(img, dir, take_dotdot, &ps);

	if (err == FOUND)
		err = scan(img, ps.parent, take_name, &ns);
	*parent = ps.parent;
	*name = ns.name;
	return err == FOUND ? 0 : err == ENOMEM ? err : ENOENT;
}

/* Put "/name" before *path. */
static errcode_t prepend(char **path, const char *slash, const char *name)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", slash, name, *path) < 0)
		return ENOMEM;
	free(*path);
	*path = longer;
	return 0;
}

errcode_t dafs_inspect_dir_path(struct dafs_image *img, uint32_t dir, char **path)
{
	char detail[sizeof(img->ctx->detail)], number[16], *name;
	uint32_t at = dir, parent, depth = 0;
	errcode_t err = 0;

	memcpy(detail, img->ctx->detail, sizeof(detail));
	*path = strdup("");
	if (!*path)
		return ENOMEM;
	while (at != EXT2_ROOT_INO && !err) {
		err = depth++ < DEPTH_MAX ? up(img, at, &parent, &name) : ENOENT;
		if (err)
			break;
		err = prepend(path, "/", name);
		free(name);
		at = parent;
	}
	memcpy(img->ctx->detail, detail, sizeof(detail));
	if (err == ENOENT) {
		snprintf(number, sizeof(number), "<%u>", at);
		err = prepend(path, "", number);
	}
	if (err) {
		free(*path);
		*path = NULL;
	}
	return err;
}

/* ---- names of inodes ---- */

struct finding {
	struct dafs_image *img;
	bool (*wanted)(void *arg, uint32_t ino);
	void *arg;
	struct dafs_inspect_names *names;
	uint32_t dir;
	struct dafs_damage damage;
};

static errcode_t find_in_block(void *arg, const struct dafs_inspect_dirent *de)
{
	struct finding *f = arg;
	struct dafs_inspect_names *names = f->names;
	char *name;

	if (is_dots(de) || !f->wanted(f->arg, de->ino))
		return 0;
	if (dafs_array_grow(&names->v, names->n, &names->room, sizeof(*names->v)))
		return ENOMEM;
	name = strndup(de->name, de->name_len);
	if (!name)
		return ENOMEM;
	names->v[names->n++] = (struct dafs_inspect_name){ de->ino, f->dir, de->file_type, name };
	return 0;
}

static errcode_t find_in_inode(void *arg, const struct dafs_inspect *in)
{
	struct finding *f = arg;
	errcode_t err;

	if (!S_ISDIR(in->attr.mode))
		return 0;
	f->dir = in->ino;
	err = dafs_inspect_dir(f->img, in, 0, find_in_block, f);
	return dafs_damage_note(&f->damage, f->img->ctx, err);
}

errcode_t dafs_inspect_names_find(struct dafs_image *img, bool all_tables,
				  bool (*wanted)(void *arg, uint32_t ino), void *arg,
				  struct dafs_inspect_names *names)
{
	struct finding f = { .img = img, .wanted = wanted, .arg = arg, .names = names };
	errcode_t err = dafs_inspect_each(img, all_tables, find_in_inode, &f);

	/* Mappings that cannot be read are a matter of each inode; only a directory's counts. */
	if (err == DAFS_ET_CORRUPT_EXTENT)
		err = 0;
	return dafs_damage_end(&f.damage, img->ctx, err);
}

void dafs_inspect_names_fini(struct dafs_inspect_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->v[i].name);
	free(names->v);
	memset(names, 0, sizeof(*names));
}
