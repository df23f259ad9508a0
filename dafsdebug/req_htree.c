/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_htree - htree_dump: the index of a directory. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dafsdebug/dafsdebug.h"
#include "job/inspect_htree.h"

#define COLUMNS 80

/* ---- text ---- */

struct text {
	unsigned column;
};

static errcode_t text_entry(void *arg, const struct dafs_htree_node *node, uint32_t i)
{
	(void)arg;
	printf("Entry #%u: Hash 0x%08x%s, block %u\n", i, i ? node->entries[i].hash & ~1u : 0,
	       i && node->entries[i].hash & 1 ? " (*)" : "",
	       node->entries[i].lblk & DAFS_DX_LBLK_MASK);
	return 0;
}

static errcode_t text_node(void *arg, const struct dafs_htree_node *node)
{
	if (node->info)
		printf("Root node dump:\n\t Reserved zero: %u\n\t Hash Version: %u\n"
		       "\t Info length: %u\n\t Indirect levels: %u\n\t Flags: %u\n",
		       node->info->reserved, node->info->hash_version, node->info->info_length,
		       node->info->levels, node->info->flags);
	printf("Number of entries (count): %u\nNumber of entries (limit): %u\n", node->count,
	       node->limit);
	if (node->has_csum)
		printf("Checksum: 0x%08x\n", node->csum);
	for (uint32_t i = 0; i < node->count; i++)
		text_entry(arg, node, i);
	putchar('\n');
	return 0;
}

static errcode_t text_leaf(void *arg, uint32_t lblk, uint64_t pblk)
{
	struct text *text = arg;

	printf("Reading directory block %u, phys %" PRIu64 "\n", lblk, pblk);
	text->column = 0;
	return 0;
}

static errcode_t text_name(void *arg, const struct dafs_inspect_dirent *de, uint32_t hash,
			   uint32_t minor)
{
	char name[DAFSDEBUG_NAME_ROOM], line[sizeof(name) + 64];
	struct text *text = arg;
	unsigned width;

	if (de->tail)
		snprintf(line, sizeof(line), "leaf block checksum: 0x%08x  ", de->csum);
	else
		snprintf(line, sizeof(line), "%u 0x%08x-%08x (%u) %s   ", de->ino, hash, minor,
			 de->rec_len, dafsdebug_name_text(de->name, de->name_len, name));
	width = (unsigned)strlen(line);
	if (text->column + width > COLUMNS) {
		putchar('\n');
		text->column = 0;
	}
	fputs(line, stdout);
	text->column += width;
	return 0;
}

static errcode_t text_leaf_end(void *arg)
{
	(void)arg;
	putchar('\n');
	return 0;
}

static errcode_t text_node_end(void *arg)
{
	(void)arg;
	puts("---------------------");
	return 0;
}

static const struct dafs_htree_fns text_fns = {
	.node = text_node,
	.entry = text_entry,
	.leaf = text_leaf,
	.name = text_name,
	.leaf_end = text_leaf_end,
	.node_end = text_node_end,
};

/* ---- JSON ---- */

struct json {
	struct json_object *nodes, *leaves;
	struct json_object *names; /* of the leaf at hand */
};

static errcode_t json_node(void *arg, const struct dafs_htree_node *node)
{
	struct json *json = arg;
	struct json_object *one = dafsdebug_json_element(json->nodes), *list;

	dafs_cli_json_u64(one, "block", node->lblk);
	dafs_cli_json_u64(one, "level", node->level);
	if (node->info) {
		dafs_cli_json_u64(one, "hash_version", node->info->hash_version);
		dafs_cli_json_u64(one, "levels", node->info->levels);
	}
	dafs_cli_json_u64(one, "count", node->count);
	dafs_cli_json_u64(one, "limit", node->limit);
	list = dafs_cli_json_array(one, "entries");
	for (uint32_t i = 0; i < node->count; i++) {
		struct json_object *entry = dafsdebug_json_element(list);

		dafs_cli_json_u64(entry, "hash", i ? node->entries[i].hash & ~1u : 0);
		dafs_cli_json_u64(entry, "block", node->entries[i].lblk & DAFS_DX_LBLK_MASK);
	}
	return 0;
}

static errcode_t json_leaf(void *arg, uint32_t lblk, uint64_t pblk)
{
	struct json *json = arg;
	struct json_object *one = dafsdebug_json_element(json->leaves);

	dafs_cli_json_u64(one, "block", lblk);
	dafs_cli_json_u64(one, "physical", pblk);
	json->names = dafs_cli_json_array(one, "entries");
	return 0;
}

static errcode_t json_name(void *arg, const struct dafs_inspect_dirent *de, uint32_t hash,
			   uint32_t minor)
{
	struct json *json = arg;
	struct json_object *one;

	if (de->tail)
		return 0;
	one = dafsdebug_json_element(json->names);
	dafs_cli_json_bytes(one, "name", de->name, de->name_len);
	dafs_cli_json_u64(one, "inode", de->ino);
	dafs_cli_json_u64(one, "hash", hash);
	dafs_cli_json_u64(one, "minor_hash", minor);
	return 0;
}

static const struct dafs_htree_fns json_fns = {
	.node = json_node,
	.leaf = json_leaf,
	.name = json_name,
};

errcode_t dafsdebug_htree_dump(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	struct dafs_inspect in;
	struct text text = { 0 };
	struct json json;
	errcode_t err = dafsdebug_load(dd, args->argv[0], true, &in);

	if (!err && dd->cli.json) {
		out = json_object_new_object();
		json.nodes = dafs_cli_json_array(out, "nodes");
		json.leaves = dafs_cli_json_array(out, "leaves");
		err = dafs_inspect_htree(dd->img, &in, &json_fns, &json);
		if (json_object_array_length(json.nodes))
			dafsdebug_json_put(out);
		else
			json_object_put(out);
	} else if (!err) {
		err = dafs_inspect_htree(dd->img, &in, &text_fns, &text);
	}
	dafs_inspect_fini(&in);
	return dafsdebug_note(dd, err);
}
