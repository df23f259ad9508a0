/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mkdafs - make an ext4 file system in a file or on a device, with mke2fs's options.
 *
 * The option table and what each option sets; all rules are the library's.
 */
#include "config.h"

#include "cli/cli.h"
#include "cli/value.h"
#include "job/mkfs_fill.h"
#include "mkdafs/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct request {
	struct dafs_fill_opts fill; /* fill.mkfs: what to make; fill.src: -d */
	char *features, *extended;  /* all -O and all -E, joined */
};

/* Later lists of the same option go behind earlier ones. */
static errcode_t join(struct dafs_cli *cli, char **list, const char *value)
{
	size_t old = *list ? strlen(*list) : 0;
	char *longer = realloc(*list, old + strlen(value) + 2);

	if (!longer)
		return dafs_fail(&cli->ctx, ENOMEM, "%s", value);
	*list = longer;
	if (old)
		longer[old++] = ',';
	strcpy(longer + old, value);
	return 0;
}

static errcode_t take_u32(struct dafs_cli *cli, const char *value, uint64_t min, uint32_t *number)
{
	uint64_t found;
	errcode_t err = dafs_cli_parse_u64(&cli->ctx, value, min, UINT32_MAX, &found);

	*number = (uint32_t)found;
	return err;
}

static errcode_t take_size32(struct dafs_cli *cli, const char *value, uint32_t *bytes)
{
	uint64_t found;
	errcode_t err = dafs_cli_parse_size(&cli->ctx, value, 1, &found);

	if (!err && (!found || found > UINT32_MAX))
		err = dafs_fail(&cli->ctx, DAFS_ET_RANGE, "%s", value);
	*bytes = err ? 0 : (uint32_t)found;
	return err;
}

static errcode_t take_block_size(struct dafs_cli *cli, const char *value,
				 struct dafs_mkfs_opts *opts)
{
	opts->block_size_least = *value == '-';
	return take_size32(cli, value + opts->block_size_least, &opts->block_size);
}

static errcode_t take_reserved(struct dafs_cli *cli, const char *value, struct dafs_mkfs_opts *opts)
{
	opts->has_reserved = true;
	return dafs_cli_parse_real(&cli->ctx, value, 0, 50, &opts->reserved_percent);
}

static errcode_t take_revision(struct dafs_cli *cli, const char *value, struct dafs_mkfs_opts *opts)
{
	opts->has_revision = true;
	return take_u32(cli, value, 0, &opts->revision);
}

static const struct dafs_cli_opt options[] = {
	{ .letter = 'b',
	  .name = "block-size",
	  .arg = "BYTES",
	  .group = "Geometry",
	  .help = "Block size: a power of two from 1024; with a minus sign: at least that." },
	{ .letter = 'C',
	  .name = "cluster-size",
	  .arg = "BYTES",
	  .help = "Cluster size with the feature bigalloc." },
	{ .letter = 'g',
	  .name = "blocks-per-group",
	  .arg = "N",
	  .help = "Blocks (or clusters) in a block group." },
	{ .letter = 'G',
	  .name = "flex-groups",
	  .arg = "N",
	  .help = "Groups whose tables lie together (flex_bg)." },
	{ .letter = 'i',
	  .name = "bytes-per-inode",
	  .arg = "BYTES",
	  .help = "One inode for so many bytes." },
	{ .letter = 'I', .name = "inode-size", .arg = "BYTES", .help = "Size of an inode." },
	{ .letter = 'N', .name = "inodes", .arg = "N", .help = "Number of inodes." },
	{ .letter = 'm',
	  .name = "reserved-percent",
	  .arg = "PERCENT",
	  .help = "Blocks kept for root [5]." },
	{ .letter = 'O',
	  .name = "features",
	  .arg = "[^]FEATURE,...",
	  .group = "Features",
	  .help = "Switch features on, or off with a caret; none clears all before it." },
	{ .letter = 'E',
	  .name = "extended",
	  .arg = "NAME[=VALUE],...",
	  .help = "Extended options; see mkdafs(8)." },
	{ .letter = 'j', .name = "journal", .help = "With a journal, whatever the type says." },
	{ .letter = 'J',
	  .name = "journal-options",
	  .arg = "NAME=VALUE,...",
	  .help = "size=MIB, location=BLOCK, fast_commit_size=KIB, v1_superblock." },
	{ .letter = 't',
	  .name = "type",
	  .arg = "TYPE",
	  .help = "File system type in mke2fs.conf [ext4]." },
	{ .letter = 'T',
	  .name = "usage",
	  .arg = "TYPE,...",
	  .help = "Usage types in mke2fs.conf [by size]." },
	{ .letter = 'r',
	  .name = "revision",
	  .arg = "N",
	  .help = "Revision of the format: 1, or 0 without features." },
	{ .letter = 'L',
	  .name = "label",
	  .arg = "TEXT",
	  .group = "Identity",
	  .help = "Volume label, 16 bytes at most." },
	{ .letter = 'U',
	  .name = "uuid",
	  .arg = "UUID",
	  .help = "UUID, or clear, random, time [random]." },
	{ .letter = 'M',
	  .name = "last-mounted",
	  .arg = "DIR",
	  .help = "Directory named as the last mount point." },
	{ .letter = 'e',
	  .name = "errors",
	  .arg = "POLICY",
	  .help = "On errors the kernel shall: continue, remount-ro, panic." },
	{ .letter = 'o',
	  .name = "creator-os",
	  .arg = "OS",
	  .help = "Name of the creating operating system." },
	{ .letter = 'd',
	  .name = "directory",
	  .arg = "SRC",
	  .group = "Contents",
	  .help = "Fill with a directory's contents, or with a tar file's (- for one on standard "
		  "input)." },
	{ .letter = 'n',
	  .name = "dry-run",
	  .group = "Running",
	  .help = "Say what would be made; touch nothing." },
	{ .letter = 'F', .name = "force", .help = "Overwrite existing data; accept odd values." },
	{ 0 },
};

static errcode_t apply_number(struct dafs_cli *cli, struct dafs_mkfs_opts *opts, int id,
			      const char *value)
{
	switch (id) {
	case 'b':
		return take_block_size(cli, value, opts);
	case 'C':
		return take_size32(cli, value, &opts->cluster_size);
	case 'g':
		return take_u32(cli, value, 1, &opts->blks_per_group);
	case 'G':
		return take_u32(cli, value, 1, &opts->flex_groups);
	case 'i':
		return take_size32(cli, value, &opts->inode_ratio_bytes);
	case 'I':
		return take_u32(cli, value, 1, &opts->inode_size);
	case 'N':
		return dafs_cli_parse_u64(&cli->ctx, value, 1, UINT64_MAX, &opts->inodes);
	case 'm':
		return take_reserved(cli, value, opts);
	default:
		return take_revision(cli, value, opts);
	}
}

static errcode_t apply(struct dafs_cli *cli, void *arg, const struct dafs_cli_opt *opt,
		       const char *value)
{
	struct request *req = arg;
	struct dafs_mkfs_opts *opts = &req->fill.mkfs;
	int id = dafs_cli_opt_id(opt);

	switch (id) {
	case 'd':
		req->fill.src = value;
		return 0;
	case 'O':
		return join(cli, &req->features, value);
	case 'E':
		return join(cli, &req->extended, value);
	case 'j':
		opts->journal = true;
		return 0;
	case 'J':
		opts->journal_options = value;
		return 0;
	case 't':
		opts->fs_type = value;
		return 0;
	case 'T':
		opts->usage_types = value;
		return 0;
	case 'L':
		opts->label = value;
		return 0;
	case 'U':
		opts->uuid = value;
		return 0;
	case 'M':
		opts->last_mounted = value;
		return 0;
	case 'e':
		opts->errors = value;
		return 0;
	case 'o':
		opts->creator_os = value;
		return 0;
	case 'n':
		opts->dry_run = true;
		return 0;
	case 'F':
		opts->force = true;
		return 0;
	default:
		return apply_number(cli, opts, id, value);
	}
}

static const struct dafs_cli_tool tool = {
	.name = "mkdafs",
	.purpose = "Make an ext4 file system in an image file or on a device.",
	.synopsis = "[OPTION...] IMAGE [SIZE|auto[+SLACK]]",
	.opts = options,
	.shared = DAFS_CLI_JSON | DAFS_CLI_THREADS | DAFS_CLI_QUIET | DAFS_CLI_VERBOSE |
		  DAFS_CLI_NO_SYNC | DAFS_CLI_LOCK_TIMEOUT,
	.notes = "SIZE counts KiB, or blocks with -b; with a suffix k, m, g or t it is a size.\n"
		 "Without it the file system is as large as the file or device.\n"
		 "auto: as large as what -d brings needs, with SLACK free.\n",
	.apply = apply,
	.min_operands = 1,
	.max_operands = 2,
};

/* SIZE, or auto[+SLACK]. */
static errcode_t take_size(struct dafs_cli *cli, struct request *req, const char *text)
{
	struct dafs_mkfs_opts *opts = &req->fill.mkfs;
	uint64_t unit_bytes = opts->block_size && !opts->block_size_least ? opts->block_size : 1024;
	bool is_auto = !strncmp(text, "auto", 4) && (!text[4] || text[4] == '+');
	errcode_t err = 0;

	if (is_auto && !req->fill.src)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "%s: needs -d", text);
	req->fill.auto_size = is_auto;
	if (!is_auto)
		err = dafs_cli_parse_size(&cli->ctx, text, unit_bytes, &opts->fs_bytes);
	else if (text[4])
		err = dafs_cli_parse_size(&cli->ctx, text + 5, unit_bytes, &req->fill.slack_bytes);
	if (!err && !is_auto && !opts->fs_bytes)
		err = dafs_fail(&cli->ctx, DAFS_ET_USAGE, "a size of 0");
	return err;
}

static errcode_t run(struct dafs_cli *cli, struct request *req)
{
	struct dafs_mkfs_opts *opts = &req->fill.mkfs;
	struct mkdafs_report report = { .cli = cli, .dry_run = opts->dry_run };
	struct dafs_fill_stats stats;
	errcode_t err = cli->argc > 1 ? take_size(cli, req, cli->argv[1]) : 0;

	if (err)
		return err;
	if (cli->ctx.threads && !req->fill.src)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "--threads needs -d");
	opts->features = req->features;
	opts->extended = req->extended;
	opts->announce = mkdafs_report_plan;
	opts->announce_arg = &report;
	if (req->fill.src)
		err = dafs_mkfs_fill(&cli->ctx, cli->argv[0], &req->fill, &stats);
	else
		err = dafs_mkfs_run(&cli->ctx, cli->argv[0], opts, NULL);
	mkdafs_report_end(&report, err, req->fill.src ? &stats : NULL);
	return err;
}

int main(int argc, char **argv)
{
	struct request req = { 0 };
	struct dafs_cli cli;
	int status;

	if (dafs_cli_start(&cli, &tool, &req, argc, argv, &status))
		status = dafs_cli_finish(&cli, run(&cli, &req));
	free(req.features);
	free(req.extended);
	return status;
}
