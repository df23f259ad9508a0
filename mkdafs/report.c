/* SPDX-License-Identifier: GPL-2.0-or-later */
/* report - see report.h. */
#include "config.h"

#include "mkdafs/report.h"

#include <inttypes.h>
#include <string.h>

#include "cli/json.h"

static unsigned log2_of(uint32_t size)
{
	return (unsigned)__builtin_ctz(size) - 10;
}

/* -v: everything that is not in the short form. */
static void say_details(struct dafs_cli *cli, const struct dafs_mkfs_info *info)
{
	bool clusters = info->cluster_size != info->block_size;
	double percent = info->blks ? 100.0 * (double)info->reserved_blks / (double)info->blks : 0;

	dafs_cli_say(cli, "Types in mke2fs.conf: %s\n", info->types);
	dafs_cli_say(cli, "Features: %s\n", info->features);
	dafs_cli_say(cli, "Filesystem label=%s\n", info->label);
	dafs_cli_say(cli, "OS type: %s\n", info->os);
	dafs_cli_say(cli, "Block size=%u (log=%u)\n", info->block_size, log2_of(info->block_size));
	dafs_cli_say(cli, "%s size=%u (log=%u)\n", clusters ? "Cluster" : "Fragment",
		     info->cluster_size, log2_of(info->cluster_size));
	dafs_cli_say(cli, "Stride=%u blocks, Stripe width=%u blocks\n", info->stride_blks,
		     info->stripe_blks);
	dafs_cli_say(cli, "%u inodes of %u bytes, %" PRIu64 " blocks\n", info->inodes,
		     info->inode_size, info->blks);
	dafs_cli_say(cli, "%" PRIu64 " blocks (%.2f%%) reserved for the super user\n",
		     info->reserved_blks, percent);
	dafs_cli_say(cli, "First data block=%u\n", info->first_data_blk);
	dafs_cli_say(cli, "Journal blocks=%u\n", info->journal_blks);
	if (info->root_uid || info->root_gid)
		dafs_cli_say(cli, "Root directory owner=%u:%u\n", info->root_uid, info->root_gid);
	if (info->max_resize_blks)
		dafs_cli_say(cli, "Maximum filesystem blocks=%" PRIu64 "\n", info->max_resize_blks);
	dafs_cli_say(cli, "%u block group%s\n", info->groups, info->groups == 1 ? "" : "s");
	dafs_cli_say(cli, "%u blocks per group, %u %s per group\n", info->blks_per_group,
		     info->blks_per_group / (info->cluster_size / info->block_size),
		     clusters ? "clusters" : "fragments");
	dafs_cli_say(cli, "%u inodes per group\n", info->inodes_per_group);
}

/* The list as mke2fs prints it, which scripts cut out: a tab, then numbers and commas that fill
 * 72 columns. */
static void say_backups(struct dafs_cli *cli, const struct dafs_mkfs_info *info)
{
	char number[32];
	int left = 0;

	dafs_cli_say(cli, "Superblock backups stored on blocks: ");
	for (uint32_t i = 0; i < info->nbackups; i++) {
		int need = snprintf(number, sizeof(number), "%" PRIu64, info->backup_blks[i]) + 2;

		if (i)
			dafs_cli_say(cli, ", ");
		if (need > left) {
			dafs_cli_say(cli, "\n\t");
			left = 72;
		}
		left -= need;
		dafs_cli_say(cli, "%s", number);
	}
	dafs_cli_say(cli, "\n");
}

static void say_plan(struct mkdafs_report *report, const struct dafs_mkfs_info *info)
{
	struct dafs_cli *cli = report->cli;

	if (report->dry_run)
		dafs_cli_say(cli, "Dry run: nothing is written to %s\n", info->path);
	else if (info->file_made)
		dafs_cli_say(cli, "Creating regular file %s\n", info->path);
	if (cli->verbose)
		say_details(cli, info);
	else
		dafs_cli_say(cli, "Creating filesystem with %" PRIu64 " %uk blocks and %u inodes\n",
			     info->blks, info->block_size / 1024, info->inodes);
	dafs_cli_say(cli, "Filesystem UUID: %s\n", info->uuid);
	if (info->nbackups)
		say_backups(cli, info);
	fflush(stdout);
}

static struct json_object *plan_as_json(const struct dafs_mkfs_info *info)
{
	struct json_object *object = json_object_new_object(), *backups;

	dafs_cli_json_bytes(object, "image", info->path, strlen(info->path));
	dafs_cli_json_bool(object, "created", info->file_made);
	dafs_cli_json_str(object, "uuid", info->uuid);
	dafs_cli_json_bytes(object, "label", info->label, strlen(info->label));
	dafs_cli_json_str(object, "types", info->types);
	dafs_cli_json_str(object, "features", info->features);
	dafs_cli_json_str(object, "creator_os", info->os);
	dafs_cli_json_u64(object, "blocks", info->blks);
	dafs_cli_json_u64(object, "block_size", info->block_size);
	dafs_cli_json_u64(object, "cluster_size", info->cluster_size);
	dafs_cli_json_u64(object, "first_data_block", info->first_data_blk);
	dafs_cli_json_u64(object, "reserved_blocks", info->reserved_blks);
	dafs_cli_json_u64(object, "journal_blocks", info->journal_blks);
	dafs_cli_json_u64(object, "inodes", info->inodes);
	dafs_cli_json_u64(object, "inode_size", info->inode_size);
	dafs_cli_json_u64(object, "groups", info->groups);
	dafs_cli_json_u64(object, "blocks_per_group", info->blks_per_group);
	dafs_cli_json_u64(object, "inodes_per_group", info->inodes_per_group);
	dafs_cli_json_u64(object, "flex_groups", info->flex_groups);
	dafs_cli_json_u64(object, "stride", info->stride_blks);
	dafs_cli_json_u64(object, "stripe_width", info->stripe_blks);
	backups = dafs_cli_json_array(object, "backup_superblocks");
	for (uint32_t i = 0; i < info->nbackups; i++)
		json_object_array_add(backups, json_object_new_uint64(info->backup_blks[i]));
	return object;
}

void mkdafs_report_plan(void *arg, const struct dafs_mkfs_info *info)
{
	struct mkdafs_report *report = arg;

	if (!report->cli->json) {
		/* A dry run is asked for what it says. */
		report->cli->quiet = report->cli->quiet && !report->dry_run;
		say_plan(report, info);
		return;
	}
	json_object_put(report->json); /* of an earlier try: auto */
	report->json = plan_as_json(info);
	dafs_cli_json_bool(report->json, "dry_run", report->dry_run);
}

static void add_fill(struct json_object *object, const struct dafs_fill_stats *stats)
{
	struct json_object *fill = dafs_cli_json_object(object, "contents");

	dafs_cli_json_u64(fill, "entries", stats->import.entries);
	dafs_cli_json_u64(fill, "files", stats->import.files);
	dafs_cli_json_u64(fill, "directories", stats->import.dirs);
	dafs_cli_json_u64(fill, "bytes", stats->import.bytes);
	dafs_cli_json_u64(fill, "extents", stats->flush.extents);
	dafs_cli_json_u64(fill, "data_blocks", stats->flush.data_blks);
	dafs_cli_json_u64(fill, "metadata_blocks", stats->flush.meta_new_blks);
}

void mkdafs_report_end(struct mkdafs_report *report, errcode_t err,
		       const struct dafs_fill_stats *stats)
{
	bool filled = stats && !err && !report->dry_run;

	if (filled && report->json)
		add_fill(report->json, stats);
	else if (filled)
		dafs_cli_say(report->cli,
			     "Copied %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64
			     " bytes\n",
			     stats->import.files, stats->import.dirs, stats->import.bytes);
	if (report->json && !err)
		dafs_cli_json_put(stdout, report->json);
	else
		json_object_put(report->json);
	report->json = NULL;
}
