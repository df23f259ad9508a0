/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_find - icheck and ncheck: from blocks to inodes, from inodes to names. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dafsdebug/dafsdebug.h"

/* ---- icheck ---- */

struct block {
	uint64_t pblk;
	uint32_t ino; /* 0: nobody found yet */
};

struct icheck {
	struct block *v; /* sorted by pblk */
	size_t n;
	uint32_t ino;
};

static int by_pblk(const void *a, const void *b)
{
	uint64_t x = ((const struct block *)a)->pblk, y = ((const struct block *)b)->pblk;

	return x < y ? -1 : x > y;
}

/* Whatever is asked for in [pblk, pblk + len) belongs to the inode, if nobody had it before. */
static void claim(struct icheck *ic, uint64_t pblk, uint64_t len)
{
	size_t lo = 0, hi = ic->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (ic->v[mid].pblk < pblk)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < ic->n && ic->v[lo].pblk - pblk < len; lo++)
		if (!ic->v[lo].ino)
			ic->v[lo].ino = ic->ino;
}

static errcode_t icheck_inode(void *arg, const struct dafs_inspect *in)
{
	const struct ext2_inode_large *raw = &in->buf.raw;
	uint64_t acl = raw->i_file_acl | (uint64_t)raw->osd2.linux2.l_i_file_acl_high << 32;
	struct icheck *ic = arg;

	ic->ino = in->ino;
	if (acl)
		claim(ic, acl, 1);
	for (size_t i = 0; i < in->nodes.n; i++)
		claim(ic, in->nodes.v[i], 1);
	for (size_t i = 0; i < in->extents.n; i++)
		claim(ic, in->extents.v[i].pblk, in->extents.v[i].len);
	return 0;
}

static uint32_t owner_of(const struct icheck *ic, uint64_t pblk)
{
	const struct block key = { .pblk = pblk };

	return ((const struct block *)bsearch(&key, ic->v, ic->n, sizeof(key), by_pblk))->ino;
}

static void print_owners(struct dafsdebug *dd, const struct icheck *ic, const uint64_t *asked)
{
	struct json_object *list = dd->cli.json ? json_object_new_array() : NULL;

	if (!list)
		puts("Block\tInode number");
	for (size_t i = 0; i < ic->n; i++) {
		uint32_t ino = owner_of(ic, asked[i]);

		if (list) {
			struct json_object *one = dafsdebug_json_element(list);

			dafs_cli_json_u64(one, "block", asked[i]);
			if (ino)
				dafs_cli_json_u64(one, "inode", ino);
		} else if (ino) {
			printf("%" PRIu64 "\t%u\n", asked[i], ino);
		} else {
			printf("%" PRIu64 "\t<block not found>\n", asked[i]);
		}
	}
	dafsdebug_json_put(list);
}

errcode_t dafsdebug_icheck(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct icheck ic = { .n = (size_t)args->argc };
	uint64_t *asked = calloc(ic.n, sizeof(*asked));
	errcode_t err = 0;

	ic.v = calloc(ic.n, sizeof(*ic.v));
	if (!ic.v || !asked)
		err = ENOMEM;
	for (size_t i = 0; i < ic.n && !err; i++) {
		err = dafsdebug_number(dd, args->argv[i], 0, UINT64_MAX, &asked[i]);
		ic.v[i].pblk = asked[i];
	}
	if (!err) {
		qsort(ic.v, ic.n, sizeof(*ic.v), by_pblk);
		err = dafs_inspect_each(dd->img, dd->how.catastrophic, icheck_inode, &ic);
		err = dafsdebug_note(dd, err);
	}
	if (!err)
		print_owners(dd, &ic, asked);
	free(asked);
	free(ic.v);
	return err;
}

/* ---- ncheck ---- */

struct ncheck {
	uint32_t *v; /* sorted */
	size_t n;
};

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool asked_for(void *arg, uint32_t ino)
{
	const struct ncheck *nc = arg;

	return bsearch(&ino, nc->v, nc->n, sizeof(ino), by_number);
}

/* With -c: does the entry say what the inode is? */
static errcode_t check_type(struct dafsdebug *dd, const struct dafs_inspect_name *name,
			    const char *path)
{
	struct dafs_inspect in;
	errcode_t err = dafs_inspect_inode(dd->img, name->ino, &in);

	if (!err && name->file_type != dafs_icodec_file_type(in.attr.mode))
		err = dafs_fail(&dd->cli.ctx, DAFS_ET_CORRUPT_DIR,
				"%s: file type %u, the inode's is %u", path, name->file_type,
				dafs_icodec_file_type(in.attr.mode));
	return dafsdebug_note(dd, err);
}

static errcode_t print_name(struct dafsdebug *dd, const struct dafs_inspect_name *name, bool types,
			    struct json_object *list)
{
	char *dir, *path;
	errcode_t err = dafs_inspect_dir_path(dd->img, name->dir, &dir);

	if (err)
		return err;
	if (asprintf(&path, "%s/%s", dir, name->name) < 0) {
		free(dir);
		return ENOMEM;
	}
	if (list) {
		struct json_object *one = dafsdebug_json_element(list);

		dafs_cli_json_u64(one, "inode", name->ino);
		dafs_cli_json_bytes(one, "path", path, strlen(path));
		dafs_cli_json_u64(one, "file_type", name->file_type);
	} else {
		printf("%u\t%s\n", name->ino, path);
	}
	if (types && dd->img->has_filetype)
		err = check_type(dd, name, path);
	free(path);
	free(dir);
	return err;
}

errcode_t dafsdebug_ncheck(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct ncheck nc = { .n = (size_t)args->argc };
	struct dafs_inspect_names names = { 0 };
	struct json_object *list = NULL;
	uint64_t number;
	errcode_t err = 0;

	nc.v = calloc(nc.n, sizeof(*nc.v));
	if (!nc.v)
		return ENOMEM;
	for (size_t i = 0; i < nc.n && !err; i++) {
		err = dafsdebug_number(dd, args->argv[i], 1, dd->img->fs->super->s_inodes_count,
				       &number);
		nc.v[i] = err ? 0 : (uint32_t)number;
	}
	if (err)
		goto out;
	qsort(nc.v, nc.n, sizeof(*nc.v), by_number);
	err = dafs_inspect_names_find(dd->img, dd->how.catastrophic, asked_for, &nc, &names);
	err = dafsdebug_note(dd, err);
	if (!err && dd->cli.json)
		list = json_object_new_array();
	if (!err && !list)
		puts("Inode\tPathname");
	for (size_t i = 0; i < names.n && !err; i++)
		err = print_name(dd, &names.v[i], dafs_cli_value(args, 'c'), list);
	dafsdebug_json_put(list);
out:
	dafs_inspect_names_fini(&names);
	free(nc.v);
	return err;
}
