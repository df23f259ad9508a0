/* SPDX-License-Identifier: GPL-2.0-or-later */
/* paths - see paths.h. One walk over all directories finds the names of all inodes in question. */
#include "config.h"

#include "dafsck/paths.h"

#include "job/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wanted {
	uint32_t *v; /* sorted */
	size_t n;
};

static int u32_cmp(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int name_cmp(const void *a, const void *b)
{
	const struct dafs_inspect_name *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static bool is_wanted(void *arg, uint32_t ino)
{
	const struct wanted *w = arg;

	return bsearch(&ino, w->v, w->n, sizeof(*w->v), u32_cmp) != NULL;
}

static uint32_t number_of(struct json_object *finding, const char *key)
{
	struct json_object *value = json_object_object_get(finding, key);

	return value ? (uint32_t)json_object_get_int64(value) : 0;
}

/* The inodes of all findings; directories are looked up by themselves. */
static bool collect(struct json_object *findings, struct wanted *w)
{
	size_t n = json_object_array_length(findings);

	w->v = calloc(n + 1, sizeof(*w->v));
	for (size_t i = 0; i < n && w->v; i++) {
		uint32_t ino = number_of(json_object_array_get_idx(findings, i), "inode");

		if (ino)
			w->v[w->n++] = ino;
	}
	if (w->n)
		qsort(w->v, w->n, sizeof(*w->v), u32_cmp);
	return w->v != NULL;
}

/* The path of dir, with a name behind it if there is one. */
static void put(struct dafs_image *img, struct json_object *finding, uint32_t dir, const char *name,
		size_t len)
{
	char *path, *whole;
	int n;

	if (dafs_inspect_dir_path(img, dir, &path))
		return;
	n = asprintf(&whole, "%s%s%.*s", path, len || !*path ? "/" : "", (int)len, name);
	free(path);
	if (n < 0)
		return;
	dafs_cli_json_bytes(finding, "path", whole, (size_t)n);
	free(whole);
}

static void add_path(struct dafs_image *img, struct json_object *finding,
		     const struct dafs_inspect_names *names)
{
	struct dafs_inspect_name key = { .ino = number_of(finding, "inode") }, *found = NULL;
	struct json_object *name = json_object_object_get(finding, "name");
	uint32_t dir = number_of(finding, "directory");

	if (key.ino == EXT2_ROOT_INO)
		put(img, finding, EXT2_ROOT_INO, "", 0);
	else if (key.ino && names->n)
		found = bsearch(&key, names->v, names->n, sizeof(key), name_cmp);
	if (found)
		put(img, finding, found->dir, found->name, strlen(found->name));
	else if (!key.ino && dir && name && !json_object_object_get(finding, "name_hex"))
		put(img, finding, dir, json_object_get_string(name),
		    (size_t)json_object_get_string_len(name));
	else if (!key.ino && dir)
		put(img, finding, dir, "", 0);
}

void dafsck_paths_add(const char *address, struct json_object *findings)
{
	const int flags = DAFS_IMAGE_IGNORE_CSUM | DAFS_IMAGE_ANY_FEATURE | DAFS_IMAGE_ANY_STATE |
			  DAFS_IMAGE_TRUNCATED_OK | DAFS_IMAGE_NO_REPLAY;
	struct dafs_inspect_names names = { 0 };
	struct wanted wanted = { 0 };
	struct dafs_image *img = NULL;
	struct dafs_ctx ctx; /* what fails here is nobody's failure */

	dafs_ctx_init(&ctx);
	if (!json_object_array_length(findings) || !collect(findings, &wanted) ||
	    dafs_image_open(&ctx, address, flags, 0, 0, &img))
		goto out;
	dafs_inspect_names_find(img, false, is_wanted, &wanted, &names);
	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), name_cmp);
	for (size_t i = 0; i < json_object_array_length(findings); i++)
		add_path(img, json_object_array_get_idx(findings, i), &names);
out:
	dafs_inspect_names_fini(&names);
	dafs_image_close(img);
	free(wanted.v);
}
