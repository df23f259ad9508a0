/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dawrite - change an ext4 image offline: operations are pending in the cache until a flush places
 * and writes them all.
 */
#include "config.h"

#include "dawrite/dawrite.h"

#include <string.h>

#include "base/trace.h"

enum {
	OPT_NODELALLOC = 256,
	OPT_NONDA_SWITCH,
	OPT_ORDER,
	OPT_MAX_CHUNK,
	OPT_DIRTY_LIMIT,
	OPT_IGNORE_QUOTA,
	OPT_TRACE,
};

static const struct dafs_cli_opt opts[] = {
	{ .letter = 'f',
	  .name = "flush",
	  .help = "Flush after the command. What it imports is then read from the host only "
		  "once." },
	{ .letter = 'c',
	  .name = "cache",
	  .arg = "DIR",
	  .help = "Keep pending work in DIR instead of IMAGE.dacache." },
	{ .id = OPT_NODELALLOC,
	  .name = "nodelalloc",
	  .help = "Choose blocks at every write, one by one, and flush after the command: ext4 "
		  "without delayed allocation, to compare with." },
	{ .id = OPT_NONDA_SWITCH,
	  .name = "nonda-switch",
	  .help = "Choose blocks in the write, one by one, while room is low by the kernel's rule: "
		  "to compare with." },
	{ .id = OPT_ORDER,
	  .name = "order",
	  .arg = "ORDER",
	  .help = "Place files by the plan (plan) or as they became dirty (dirty)." },
	{ .id = OPT_MAX_CHUNK,
	  .name = "max-chunk",
	  .arg = "BLOCKS",
	  .help = "Ask for at most this many blocks at a time when a file is placed (the kernel: "
		  "2048; default: no limit)." },
	{ .id = OPT_DIRTY_LIMIT,
	  .name = "dirty-limit",
	  .arg = "SIZE",
	  .help = "Write back after the command when more data than this is pending." },
	{ .id = OPT_IGNORE_QUOTA,
	  .name = "ignore-quota",
	  .help = "Refuse nobody for a quota limit (usage is counted all the same)." },
	{ .id = OPT_TRACE,
	  .name = "trace",
	  .arg = "FILE",
	  .help = "Append a line an event, named after the kernel's tracepoints (-: standard "
		  "error)." },
	{ 0 }
};

static errcode_t set_max_chunk(struct dawrite *dw, const char *value)
{
	uint64_t blks;
	errcode_t err = dafs_cli_parse_u64(&dw->cli.ctx, value, 1, UINT32_MAX, &blks);

	if (!err)
		dw->flush_opts.max_chunk_blks = (uint32_t)blks;
	return err;
}

static errcode_t apply(struct dafs_cli *cli, void *arg, const struct dafs_cli_opt *opt,
		       const char *value)
{
	struct dawrite *dw = arg;

	switch (dafs_cli_opt_id(opt)) {
	case 'f':
		dw->flush = true;
		return 0;
	case 'c':
		dw->cache_dir = value;
		return 0;
	case OPT_NODELALLOC:
		dw->direct = true;
		return 0;
	case OPT_NONDA_SWITCH:
		dw->low_switch = true;
		return 0;
	case OPT_ORDER:
		dw->flush_opts.order_dirty = !strcmp(value, "dirty");
		return dw->flush_opts.order_dirty || !strcmp(value, "plan")
			       ? 0
			       : dafs_fail(&cli->ctx, DAFS_ET_USAGE, "%s", value);
	case OPT_MAX_CHUNK:
		return set_max_chunk(dw, value);
	case OPT_IGNORE_QUOTA:
		dw->ignore_quota = true;
		return 0;
	case OPT_DIRTY_LIMIT:
		return dafs_cli_parse_size(&cli->ctx, value, 1, &dw->dirty_limit_bytes);
	default:
		dw->trace = value;
		return 0;
	}
}

static const struct dafs_cli_tool tool = {
	.name = "dawrite",
	.purpose =
		"Change an ext4 image offline; what is written stays pending until it is flushed.",
	.synopsis = "[OPTION...] IMAGE COMMAND [ARGUMENT...]",
	.opts = opts,
	.shared = DAFS_CLI_JSON | DAFS_CLI_QUIET | DAFS_CLI_VERBOSE | DAFS_CLI_THREADS |
		  DAFS_CLI_NO_SYNC | DAFS_CLI_LOCK_TIMEOUT,
	.cmds = dawrite_cmds,
	.apply = apply,
	.min_operands = 2,
	.max_operands = DAFS_CLI_MANY,
	.options_first = true,
};

errcode_t dawrite_open(struct dawrite *dw, bool rw)
{
	int flags = DAFS_SESSION_CACHE;
	errcode_t err;

	if (rw)
		flags |= DAFS_SESSION_RW;
	if (rw && (dw->flush || dw->direct))
		flags |= DAFS_SESSION_ADOPT;
	err = dafs_session_open(&dw->cli.ctx, dw->image, flags, dw->cache_dir, &dw->fs);
	if (!err && dw->ignore_quota)
		dafs_session_ignore_quota(dw->fs);
	return err;
}

errcode_t dawrite_run_line(struct dawrite *dw, int argc, char **argv)
{
	const struct dafs_cli_cmd *cmd = dafs_cli_cmd_find(dawrite_cmds, argv[0]);

	if (cmd && (cmd->flags & DAWRITE_WHOLE || cmd->run == dawrite_script))
		return dafs_fail(&dw->cli.ctx, DAFS_ET_USAGE, "%s is not for scripts", argv[0]);
	return dafs_cli_cmd_run(&dw->cli.ctx, dawrite_cmds, dw, argc, argv);
}

/* Write back when more is pending than --dirty-limit allows. */
static errcode_t keep_limit(struct dawrite *dw)
{
	struct dafs_flush_request req = { .opts = dw->flush_opts };
	struct dafs_store_status st = { .size = sizeof(st) };
	uint64_t pending = (dw->fs->reserve.dirty_clusters << dw->fs->img->cluster_bits) *
			   dw->fs->img->block_size;
	errcode_t err;

	if (!dw->dirty_limit_bytes)
		return 0;
	/* What overwrites blocks has no reserve, what is only promised no bytes. */
	err = dafs_store_status(dw->fs->store, &st);
	if (err)
		return err;
	if (st.spool_bytes - st.free_bytes > pending)
		pending = st.spool_bytes - st.free_bytes;
	if (pending <= dw->dirty_limit_bytes)
		return 0;
	req.opts.max_data_bytes = pending - dw->dirty_limit_bytes;
	return dawrite_flush(dw, &req);
}

/* A command that changes: saved in the cache, or flushed at once. */
static errcode_t run_change(struct dawrite *dw, int argc, char **argv)
{
	struct dafs_flush_request req = { .opts = dw->flush_opts };
	errcode_t err = dawrite_open(dw, true);

	if (!err && (dw->direct || dw->low_switch))
		err = dafs_session_direct(dw->fs, dw->low_switch && !dw->direct);
	if (!err)
		err = dafs_begin(dw->fs);
	if (err)
		return err;
	err = dafs_cli_cmd_run(&dw->cli.ctx, dawrite_cmds, dw, argc, argv);
	if (err) {
		dafs_cancel(dw->fs);
		return err;
	}
	err = dafs_end(dw->fs);
	if (!err && (dw->flush || dw->direct))
		return dawrite_flush(dw, &req);
	return err ? err : keep_limit(dw);
}

static errcode_t run(struct dawrite *dw)
{
	const struct dafs_cli_cmd *cmd = dafs_cli_cmd_find(dawrite_cmds, dw->cli.argv[1]);
	int argc = dw->cli.argc - 1;
	char **argv = dw->cli.argv + 1;
	errcode_t err = 0;

	dw->image = dw->cli.argv[0];
	dw->flush_opts.size = sizeof(dw->flush_opts);
	if (dw->trace)
		err = dafs_trace_open(&dw->cli.ctx, dw->trace, &dw->cli.ctx.trace);
	if (err)
		return err;
	if (cmd && !(cmd->flags & (DAWRITE_READS | DAWRITE_WHOLE)))
		return run_change(dw, argc, argv);
	if (cmd && cmd->flags & DAWRITE_READS)
		err = dawrite_open(dw, false);
	return err ? err : dafs_cli_cmd_run(&dw->cli.ctx, dawrite_cmds, dw, argc, argv);
}

int main(int argc, char **argv)
{
	struct dawrite dw = { 0 };
	errcode_t err, trace_err;
	int status;

	if (!dafs_cli_start(&dw.cli, &tool, &dw, argc, argv, &status))
		return status;
	err = run(&dw);
	dafs_close(dw.fs);
	trace_err = dafs_trace_close(dw.cli.ctx.trace);
	dw.cli.ctx.trace = NULL;
	if (!err && trace_err)
		err = dafs_fail(&dw.cli.ctx, trace_err, "%s", dw.trace);
	return dafs_cli_finish(&dw.cli, err);
}
