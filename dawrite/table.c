/* SPDX-License-Identifier: GPL-2.0-or-later */
/* table - dawrite's commands: the one place that names them, their options and their bounds. */
#include "config.h"

#include "dawrite/dawrite.h"

static const struct dafs_cli_opt write_opts[] = {
	{ .letter = 'o', .name = "offset", .arg = "OFFSET", .help = "Write at this offset instead of 0." },
	{ .letter = 'a', .name = "append", .help = "Write at the end of the file." },
	{ .id = 'i', .name = "from", .arg = "FILE", .help = "Read FILE instead of standard input." },
	{ 0 }
};
static const struct dafs_cli_opt fallocate_opts[] = {
	{ .letter = 'n', .name = "keep-size", .help = "Leave the file's size as it is." },
	{ 0 }
};
static const struct dafs_cli_opt mkdir_opts[] = {
	{ .letter = 'p', .name = "parents", .help = "Make parents as needed; an existing directory is no error." },
	{ .letter = 'm', .name = "mode", .arg = "MODE", .help = "Permission bits (default 0755)." },
	{ 0 }
};
static const struct dafs_cli_opt rm_opts[] = {
	{ .letter = 'r', .name = "recursive", .help = "Remove directories with everything in them." },
	{ .letter = 'f', .name = "force", .help = "An absent path is no error." },
	{ 0 }
};
static const struct dafs_cli_opt ln_opts[] = {
	{ .letter = 's', .name = "symbolic", .help = "Make a symbolic link." },
	{ 0 }
};
static const struct dafs_cli_opt mknod_opts[] = {
	{ .letter = 'm', .name = "mode", .arg = "MODE", .help = "Permission bits (default 0644)." },
	{ 0 }
};
static const struct dafs_cli_opt touch_opts[] = {
	{ .letter = 'd', .name = "date", .arg = "TIME", .help = "Set this time instead of now." },
	{ 0 }
};
static const struct dafs_cli_opt setfattr_opts[] = {
	{ .letter = 'n', .name = "name", .arg = "NAME", .help = "The attribute, with its prefix." },
	{ .letter = 'v', .name = "value", .arg = "VALUE", .help = "Its value: text, 0x hexadecimal or 0s base64." },
	{ .letter = 'x', .name = "remove", .help = "Remove the attribute." },
	{ 0 }
};
static const struct dafs_cli_opt sync_opts[] = {
	{ .id = 'D', .name = "delete", .help = "Remove what the source does not have." },
	{ .letter = 'n', .name = "dry-run", .help = "Only say what would change." },
	{ 0 }
};
static const struct dafs_cli_opt ls_opts[] = {
	{ .letter = 'l', .help = "Long listing: mode, links, owner, size, time (UTC)." },
	{ 0 }
};
static const struct dafs_cli_opt status_opts[] = {
	{ .id = 'r', .name = "recover", .help = "Save what is pending into DIR (IMAGE.recovered), from a damaged cache what is left." },
	{ 0 }
};
static const struct dafs_cli_opt flush_opts[] = {
	{ .letter = 'n', .name = "dry-run", .help = "Print the plan and change nothing." },
	{ .id = 'r', .name = "redo", .help = "Commit by a redo record what only goes together and is more than the journal holds." },
	{ .id = 'm', .name = "max-bytes", .arg = "SIZE", .help = "Write back about this much data and keep the rest pending." },
	{ 0 }
};

const struct dafs_cli_cmd dawrite_cmds[] = {
	{ .name = "put", .synopsis = "SRC... DST", .help = "Copy host files and trees into the image, as cp -a does.",
	  .group = "Filling", .min = 2, .max = DAFS_CLI_MANY, .run = dawrite_put },
	{ .name = "import", .synopsis = "SRC [DSTDIR]", .help = "Put the contents of a directory or tar file (-: on stdin) into DSTDIR.",
	  .min = 1, .max = 2, .run = dawrite_import },
	{ .name = "sync", .synopsis = "[--delete] [--dry-run] SRCDIR DSTDIR", .help = "Make DSTDIR equal to SRCDIR, changing only what differs.",
	  .opts = sync_opts, .min = 2, .max = 2, .run = dawrite_sync },
	{ .name = "write", .synopsis = "[-o OFFSET | -a] [--from FILE] PATH", .help = "Write standard input into a file, made when absent.",
	  .group = "File data", .opts = write_opts, .min = 1, .max = 1, .run = dawrite_write },
	{ .name = "truncate", .synopsis = "PATH SIZE", .help = "Set a file's size.", .min = 2, .max = 2, .run = dawrite_truncate },
	{ .name = "fallocate", .synopsis = "[-n] PATH OFFSET LENGTH", .help = "Allocate unwritten blocks.", .opts = fallocate_opts,
	  .min = 3, .max = 3, .run = dawrite_fallocate },
	{ .name = "punch", .synopsis = "PATH OFFSET LENGTH", .help = "Make a hole; the size stays.", .min = 3, .max = 3, .run = dawrite_punch },
	{ .name = "mkdir", .synopsis = "[-p] [-m MODE] PATH...", .help = "Make directories.", .group = "Names", .opts = mkdir_opts,
	  .min = 1, .max = DAFS_CLI_MANY, .run = dawrite_mkdir },
	{ .name = "rm", .synopsis = "[-r] [-f] PATH...", .help = "Remove files or trees.", .opts = rm_opts,
	  .min = 1, .max = DAFS_CLI_MANY, .run = dawrite_rm },
	{ .name = "mv", .synopsis = "SRC DST", .help = "Rename, replacing DST, or move into the directory DST.",
	  .min = 2, .max = 2, .run = dawrite_mv },
	{ .name = "ln", .synopsis = "[-s] TARGET PATH", .help = "Make a hard or symbolic link.", .opts = ln_opts,
	  .min = 2, .max = 2, .run = dawrite_ln },
	{ .name = "mknod", .synopsis = "[-m MODE] PATH b|c|p|s [MAJOR MINOR]", .help = "Make a device, fifo or socket.",
	  .opts = mknod_opts, .min = 2, .max = 4, .run = dawrite_mknod },
	{ .name = "chmod", .synopsis = "MODE PATH...", .help = "Change permission bits.", .group = "Attributes",
	  .min = 2, .max = DAFS_CLI_MANY, .run = dawrite_chmod },
	{ .name = "chown", .synopsis = "UID:GID PATH...", .help = "Change the owner.", .min = 2, .max = DAFS_CLI_MANY, .run = dawrite_chown },
	{ .name = "touch", .synopsis = "[-d TIME] PATH...", .help = "Set times; an absent file is made.", .opts = touch_opts,
	  .min = 1, .max = DAFS_CLI_MANY, .run = dawrite_touch },
	{ .name = "setfattr", .synopsis = "-n NAME [-v VALUE | -x] PATH", .help = "Set or remove an extended attribute.",
	  .opts = setfattr_opts, .min = 1, .max = 1, .run = dawrite_setfattr },
	{ .name = "cat", .synopsis = "PATH...", .help = "Print files as they will be after the flush.", .group = "Reading",
	  .min = 1, .max = DAFS_CLI_MANY, .flags = DAWRITE_READS, .run = dawrite_cat },
	{ .name = "ls", .synopsis = "[-l] [PATH]", .help = "List a directory as it will be.", .opts = ls_opts,
	  .min = 0, .max = 1, .flags = DAWRITE_READS, .run = dawrite_ls },
	{ .name = "stat", .synopsis = "PATH", .help = "Print an inode as it will be.", .min = 1, .max = 1, .flags = DAWRITE_READS,
	  .run = dawrite_stat },
	{ .name = "script", .synopsis = "FILE|-", .help = "Run a command a line: all of them or none.", .group = "The cache",
	  .min = 1, .max = 1, .run = dawrite_script },
	{ .name = "flush", .synopsis = "[--dry-run] [--redo] [--max-bytes SIZE] [PATH...]", .help = "Place and write what is pending.",
	  .opts = flush_opts, .min = 0, .max = DAFS_CLI_MANY, .flags = DAWRITE_WHOLE, .run = dawrite_flush_cmd },
	{ .name = "status", .synopsis = "[--recover [DIR]]", .help = "Say what is pending, or save it from a cache that is refused.",
	  .opts = status_opts, .min = 0, .max = 1, .flags = DAWRITE_WHOLE, .run = dawrite_status },
	{ .name = "discard", .synopsis = "", .help = "Drop what is pending.", .min = 0, .max = 0, .flags = DAWRITE_WHOLE,
	  .run = dawrite_discard },
	{ 0 }
};
