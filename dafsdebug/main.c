/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dafsdebug - look at an ext4 image: the command line. */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "dafsdebug/dafsdebug.h"

enum { OPT_CACHE = 256 };

static const struct dafs_cli_opt opts[] = {
	{ .letter = 'R', .name = "request", .arg = "REQUEST", .help = "Run one request and end." },
	{ .letter = 'f',
	  .name = "file",
	  .arg = "FILE",
	  .help = "Run the requests in FILE (-: standard input), one a line, up to the first that "
		  "fails." },
	{ .letter = 'k', .name = "keep-going", .help = "Go on after a request that failed." },
	{ .letter = 'b',
	  .name = "block-size",
	  .arg = "SIZE",
	  .help = "The file system's block size, with -s." },
	{ .letter = 's',
	  .name = "superblock",
	  .arg = "BLOCK",
	  .help = "Use the backup superblock at BLOCK." },
	{ .letter = 'n',
	  .name = "no-checksums",
	  .help = "Do not look at metadata checksums." },
	{ .letter = 'c',
	  .name = "catastrophic",
	  .help = "For an image with much damage: read no bitmaps, look at no checksums, leave the "
		  "journal alone." },
	{ .id = OPT_CACHE,
	  .name = "cache",
	  .arg = "DIR",
	  .help = "Where the offline cache is, for es, cache and resv; otherwise IMAGE.dacache." },
	{ 0 }
};

static errcode_t apply(struct dafs_cli *cli, void *arg, const struct dafs_cli_opt *opt,
		       const char *value)
{
	struct dafsdebug *dd = arg;
	uint64_t bytes;
	errcode_t err;

	switch (dafs_cli_opt_id(opt)) {
	case 'R':
		dd->request = value;
		return 0;
	case 'f':
		dd->script = value;
		return 0;
	case 'k':
		dd->keep_going = true;
		return 0;
	case 'b':
		err = dafs_cli_parse_size(&cli->ctx, value, 1, &bytes);
		if (!err && (bytes < 1024 || bytes > 65536 || bytes & (bytes - 1)))
			err = dafs_fail(&cli->ctx, DAFS_ET_RANGE, "%s", value);
		dd->how.bs = err ? 0 : (uint32_t)bytes;
		return err;
	case 's':
		return dafs_cli_parse_u64(&cli->ctx, value, 0, INT32_MAX, &dd->how.sb);
	case 'n':
		dd->how.no_csum = true;
		return 0;
	case OPT_CACHE:
		dd->cache_dir = value;
		return 0;
	default:
		dd->how.catastrophic = true;
		return 0;
	}
}

static const struct dafs_cli_tool tool = {
	.name = "dafsdebug",
	.purpose = "Look into an ext4 image: its structures, its layout, its pending work.",
	.synopsis = "[OPTION...] [IMAGE | trace FILE]",
	.opts = opts,
	.shared = DAFS_CLI_JSON | DAFS_CLI_QUIET | DAFS_CLI_LOCK_TIMEOUT,
	.cmds = dafsdebug_requests,
	.notes = "Without -R and -f requests are read from the terminal, or from standard input\n"
		 "as with -f -. Wherever a path goes, \"<N>\" is inode N.\n",
	.apply = apply,
	.max_operands = 2,
};

/* "dafsdebug trace FILE": a request that needs no image, in the image's place. */
static errcode_t run_operands(struct dafsdebug *dd)
{
	const struct dafs_cli_cmd *row = dafs_cli_cmd_find(dafsdebug_requests, dd->cli.argv[0]);
	errcode_t err;

	if (!dd->request && !dd->script && row && row->run == dafsdebug_trace)
		return dafsdebug_run(dd, 2, dd->cli.argv);
	err = dafs_fail(&dd->cli.ctx, DAFS_ET_USAGE, "%s: one image at a time", dd->cli.argv[1]);
	dafs_cli_error(&dd->cli, err);
	return err;
}

static errcode_t run(struct dafsdebug *dd)
{
	errcode_t err;

	if (dd->cli.argc == 2)
		return run_operands(dd);
	if (dd->request && dd->script)
		err = dafs_fail(&dd->cli.ctx, DAFS_ET_USAGE, "-R and -f exclude each other");
	else
		err = dd->cli.argc ? dafsdebug_open(dd, dd->cli.argv[0], &dd->how) : 0;
	if (err) {
		dafs_cli_error(&dd->cli, err);
		return err;
	}
	if (dd->request)
		return dafsdebug_run_line(dd, dd->request);
	if (dd->script)
		return dafsdebug_run_script(dd, dd->script);
	return isatty(STDIN_FILENO) ? dafsdebug_shell(dd) : dafsdebug_run_script(dd, "-");
}

int main(int argc, char **argv)
{
	struct dafsdebug dd = { .cwd = EXT2_ROOT_INO };
	errcode_t err;
	int status;

	if (!dafs_cli_start(&dd.cli, &tool, &dd, argc, argv, &status))
		return status;
	err = run(&dd);
	dafsdebug_close(&dd);
	status = dafs_cli_finish(&dd.cli, 0);
	return err ? dafs_cli_status(&dd.cli, err) : status;
}
