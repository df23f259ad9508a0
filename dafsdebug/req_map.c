/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_map - ex, blocks, bmap, and the block list of stat. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "dafsdebug/mapping.h"

static unsigned digits(uint64_t number)
{
	unsigned n = 1;

	while (number /= 10)
		n++;
	return n;
}

/* ---- stat ---- */

struct listing {
	const struct dafs_inspect *in;
	bool extents;
	bool any;
	uint64_t total; /* blocks, nodes too */
};

static void list_node(const struct listing *l, const struct dafs_map_item *item)
{
	static const char *const names[] = { "", "IND", "DIND", "TIND" };

	if (l->extents)
		printf("(ETB%u):%" PRIu64, item->level, item->pblk);
	else
		printf("(%s):%" PRIu64, names[item->depth & 3], item->pblk);
}

static errcode_t list_item(void *arg, const struct dafs_map_item *item)
{
	struct listing *l = arg;
	uint64_t end = item->lblk + item->len - 1;
	const char *mark = item->unwritten ? "[u]" : "";

	if (l->any)
		printf(", ");
	l->any = true;
	if (item->kind == DAFS_MAP_NODE) {
		l->total++;
		list_node(l, item);
		return 0;
	}
	l->total += item->len;
	if (item->len == 1)
		printf("(%" PRIu64 "%s):%" PRIu64, item->lblk, mark, item->pblk);
	else
		printf("(%" PRIu64 "-%" PRIu64 "%s):%" PRIu64 "-%" PRIu64, item->lblk, end, mark,
		       item->pblk, item->pblk + item->len - 1);
	return 0;
}

errcode_t dafsdebug_print_mapping(struct dafsdebug *dd, const struct dafs_inspect *in)
{
	struct listing l = { .in = in, .extents = in->buf.raw.i_flags & EXT4_EXTENTS_FL };
	errcode_t err;

	puts(l.extents ? "EXTENTS:" : "BLOCKS:");
	err = dafs_inspect_map(dd->img, in, list_item, &l);
	if (l.any || !l.extents)
		putchar('\n');
	if (l.total && !l.extents)
		printf("TOTAL: %" PRIu64 "\n\n", l.total);
	return dafsdebug_note(dd, err);
}

struct json_lists {
	struct json_object *extents, *nodes;
};

static errcode_t json_item(void *arg, const struct dafs_map_item *item)
{
	struct json_lists *lists = arg;
	bool node = item->kind == DAFS_MAP_NODE;
	struct json_object *one = dafsdebug_json_element(node ? lists->nodes : lists->extents);

	dafs_cli_json_u64(one, "logical", item->lblk);
	dafs_cli_json_u64(one, "length", item->len);
	dafs_cli_json_u64(one, "physical", item->pblk);
	if (!node)
		dafs_cli_json_bool(one, "unwritten", item->unwritten);
	dafs_cli_json_u64(one, "level", item->level);
	return 0;
}

errcode_t dafsdebug_json_mapping(struct dafsdebug *dd, struct json_object *out,
				 const struct dafs_inspect *in)
{
	struct json_lists lists;

	lists.extents = dafs_cli_json_array(out, "extents");
	lists.nodes = dafs_cli_json_array(out, "nodes");
	return dafsdebug_note(dd, dafs_inspect_map(dd->img, in, json_item, &lists));
}

/* ---- ex ---- */

struct ex {
	bool nodes, leaves;
	int logical_width, physical_width;
};

static errcode_t ex_item(void *arg, const struct dafs_map_item *item)
{
	const struct ex *ex = arg;
	bool node = item->kind == DAFS_MAP_NODE;

	if (node ? !ex->nodes : !ex->leaves)
		return 0;
	printf("%2u/%2u %3u/%3u %*" PRIu64 " - %*" PRIu64 " %*" PRIu64, item->level, item->depth,
	       item->index, item->entries, ex->logical_width, item->lblk, ex->logical_width,
	       item->lblk + item->len - 1, ex->physical_width, item->pblk);
	if (node)
		printf(" %*s %6" PRIu64 "\n", ex->physical_width + 2, "", item->len);
	else
		printf(" - %*" PRIu64 " %6" PRIu64 " %s\n", ex->physical_width,
		       item->pblk + item->len - 1, item->len, item->unwritten ? "Uninit" : "");
	return 0;
}

/* Whether --json asks for the mapping of in; then it is printed, and *err tells how that went. */
static bool map_as_json(struct dafsdebug *dd, const struct dafs_inspect *in, errcode_t *err)
{
	struct json_object *out = dafsdebug_json(dd);

	if (!out)
		return false;
	dafs_cli_json_u64(out, "inode", in->ino);
	*err = dafsdebug_json_mapping(dd, out, in);
	dafsdebug_json_put(out);
	return true;
}

errcode_t dafsdebug_ex(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct ex ex = { .nodes = !dafs_cli_value(args, 'l'),
			 .leaves = !dafs_cli_value(args, 'n') };
	struct dafs_inspect in;
	uint64_t blks;
	errcode_t err = dafsdebug_inode(dd, args->argv[0], false, &in);

	if (err)
		return err;
	if (!(in.buf.raw.i_flags & EXT4_EXTENTS_FL))
		return dafs_fail(&dd->cli.ctx, EINVAL, "%s: does not use extents", args->argv[0]);
	if (map_as_json(dd, &in, &err))
		return err;
	blks = (in.attr.size + dd->img->block_size - 1) >> dd->img->block_bits;
	ex.logical_width = (int)(digits(blks) > 5 ? digits(blks) : 5);
	ex.physical_width = (int)(digits(dd->img->blocks) > 5 ? digits(dd->img->blocks) : 5);
	printf("Level Entries %*s %*s Length Flags\n", ex.logical_width * 2 + 3, "Logical",
	       ex.physical_width * 2 + 3, "Physical");
	return dafsdebug_note(dd, dafs_inspect_map(dd->img, &in, ex_item, &ex));
}

/* ---- blocks ---- */

static errcode_t print_blocks(void *arg, const struct dafs_map_item *item)
{
	uint64_t len = item->kind == DAFS_MAP_NODE ? 1 : item->len;

	(void)arg;
	for (uint64_t i = 0; i < len; i++)
		printf("%" PRIu64 " ", item->pblk + i);
	return 0;
}

errcode_t dafsdebug_blocks(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafs_inspect in;
	errcode_t err = dafsdebug_inode(dd, args->argv[0], false, &in);

	if (err)
		return err;
	if (map_as_json(dd, &in, &err))
		return err;
	err = dafs_inspect_map(dd->img, &in, print_blocks, NULL);
	putchar('\n');
	return dafsdebug_note(dd, err);
}

/* ---- bmap ---- */

errcode_t dafsdebug_bmap(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	struct dafs_extent ext;
	struct dafs_inspect in;
	uint64_t lblk, pblk;
	bool hole;
	errcode_t err = dafsdebug_inode(dd, args->argv[0], false, &in);

	if (!err)
		err = dafsdebug_number(dd, args->argv[1], 0, UINT32_MAX - 1, &lblk);
	if (!err && (in.buf.raw.i_flags & EXT4_INLINE_DATA_FL))
		err = dafs_fail(&dd->cli.ctx, EINVAL, "%s: inline, without blocks", args->argv[0]);
	if (!err)
		err = dafs_etree_lookup(dd->img, in.ino, &in.buf.raw, (uint32_t)lblk, &ext, &hole);
	if (err)
		return err;
	pblk = hole ? 0 : ext.pblk + (lblk - ext.lblk);
	out = dafsdebug_json(dd);
	if (out) {
		dafs_cli_json_u64(out, "logical", lblk);
		dafs_cli_json_u64(out, "physical", pblk);
		dafs_cli_json_bool(out, "unwritten", !hole && ext.unwritten);
		dafsdebug_json_put(out);
	} else {
		printf("%" PRIu64 "%s\n", pblk, !hole && ext.unwritten ? " (uninit)" : "");
	}
	return 0;
}
