/* SPDX-License-Identifier: GPL-2.0-or-later */
/* table - dafsdebug's requests: the one place that names them, their options and their bounds. */
#include "config.h"

#include "dafsdebug/dafsdebug.h"

static const struct dafs_cli_opt open_opts[] = {
	{ .letter = 'b', .arg = "SIZE", .help = "Block size, with -s." },
	{ .letter = 's', .arg = "BLOCK", .help = "Use the backup superblock at BLOCK." },
	{ .letter = 'n', .help = "Do not look at checksums." },
	{ .letter = 'c', .help = "Catastrophic mode, as the tool's option." },
	{ 0 }
};
static const struct dafs_cli_opt ls_opts[] = {
	{ .letter = 'l', .help = "Mode, type, owner, size and time of each." },
	{ .letter = 'p', .help = "/inode/mode/uid/gid/name/size/, for scripts." },
	{ .letter = 'd', .help = "Deleted entries too." },
	{ .letter = 'c', .help = "The checksum of each block too." },
	{ 0 }
};
static const struct dafs_cli_opt dump_opts[] = {
	{ .letter = 'p', .help = "Give OUT_FILE owner, mode and times too." },
	{ 0 }
};
static const struct dafs_cli_opt ex_opts[] = {
	{ .letter = 'n', .help = "Only the nodes of the tree." },
	{ .letter = 'l', .help = "Only the leaves' extents." },
	{ 0 }
};
static const struct dafs_cli_opt frag_opts[] = {
	{ .letter = 'm', .help = "Join extents that touch, as a kernel does that has read the file." },
	{ 0 }
};
static const struct dafs_cli_opt stats_opts[] = {
	{ .letter = 'h', .help = "Only the superblock, no groups." },
	{ 0 }
};
static const struct dafs_cli_opt freefrag_opts[] = {
	{ .letter = 'c', .arg = "KIB", .help = "Count the free aligned chunks of this size." },
	{ 0 }
};
static const struct dafs_cli_opt logdump_opts[] = {
	{ .letter = 'S', .help = "The journal's superblock first." },
	{ .letter = 'a', .help = "What each descriptor and revoke block lists." },
	{ .letter = 'b', .arg = "BLOCK", .help = "Only what is about this block." },
	{ 0 }
};
static const struct dafs_cli_opt cache_opts[] = {
	{ .letter = 'l', .help = "Every pending inode: n new, a attributes, d data, e entries, x xattrs, g gone." },
	{ 0 }
};
static const struct dafs_cli_opt ncheck_opts[] = {
	{ .letter = 'c', .help = "Say where the entry's file type is not the inode's." },
	{ 0 }
};

const struct dafs_cli_cmd dafsdebug_requests[] = {
	{ .name = "stats", .alias = "show_super_stats", .synopsis = "[-h]",
	  .help = "The superblock and the groups.", .group = "File system", .opts = stats_opts,
	  .flags = DAFSDEBUG_PAGED, .run = dafsdebug_stats },
	{ .name = "freefrag", .alias = "e2freefrag", .synopsis = "[-c KIB]",
	  .help = "How the free space is cut up.", .opts = freefrag_opts,
	  .flags = DAFSDEBUG_PAGED | DAFSDEBUG_BITMAPS, .run = dafsdebug_freefrag },
	{ .name = "buddy", .synopsis = "[GROUP...]",
	  .help = "Free chunks per order of two, as the kernel's mb_groups shows them.",
	  .max = DAFS_CLI_MANY, .flags = DAFSDEBUG_PAGED | DAFSDEBUG_BITMAPS,
	  .run = dafsdebug_buddy },
	{ .name = "testb", .synopsis = "BLOCK [COUNT]", .help = "Are blocks in use?", .min = 1,
	  .max = 2, .flags = DAFSDEBUG_BITMAPS, .run = dafsdebug_testb },
	{ .name = "testi", .synopsis = "PATH", .help = "Is the inode in use?", .min = 1, .max = 1,
	  .flags = DAFSDEBUG_BITMAPS, .run = dafsdebug_testi },
	{ .name = "icheck", .synopsis = "BLOCK...", .help = "Which inodes use these blocks?",
	  .min = 1, .max = DAFS_CLI_MANY, .flags = DAFSDEBUG_PAGED, .run = dafsdebug_icheck },
	{ .name = "ncheck", .synopsis = "[-c] INODE...", .help = "Which names have these inodes?",
	  .opts = ncheck_opts, .min = 1, .max = DAFS_CLI_MANY, .flags = DAFSDEBUG_PAGED,
	  .run = dafsdebug_ncheck },
	{ .name = "logdump", .synopsis = "[-S] [-a] [-b BLOCK]",
	  .help = "What the journal holds, replayed or not.", .opts = logdump_opts,
	  .flags = DAFSDEBUG_PAGED, .run = dafsdebug_logdump },
	{ .name = "ls", .alias = "list_files", .synopsis = "[-l|-p] [-d] [-c] [PATH]",
	  .help = "The entries of a directory.", .group = "Directories", .opts = ls_opts, .max = 1,
	  .flags = DAFSDEBUG_PAGED, .run = dafsdebug_ls },
	{ .name = "htree_dump", .alias = "htree", .synopsis = "PATH",
	  .help = "The index of a directory, its blocks and their entries.", .min = 1, .max = 1,
	  .flags = DAFSDEBUG_PAGED, .run = dafsdebug_htree_dump },
	{ .name = "cd", .alias = "change_working_directory", .synopsis = "PATH",
	  .help = "Paths begin at this directory from now on.", .min = 1, .max = 1,
	  .run = dafsdebug_cd },
	{ .name = "pwd", .alias = "print_working_directory", .help = "Where paths begin.",
	  .run = dafsdebug_pwd },
	{ .name = "stat", .alias = "show_inode_info", .synopsis = "PATH",
	  .help = "Everything in an inode.", .group = "Files", .min = 1, .max = 1,
	  .flags = DAFSDEBUG_PAGED, .run = dafsdebug_stat },
	{ .name = "ea_list", .synopsis = "PATH", .help = "Extended attributes.", .min = 1, .max = 1,
	  .flags = DAFSDEBUG_PAGED, .run = dafsdebug_ea_list },
	{ .name = "imap", .synopsis = "PATH", .help = "Where the inode lies.", .min = 1, .max = 1,
	  .run = dafsdebug_imap },
	{ .name = "cat", .synopsis = "PATH", .help = "Contents to standard output.", .min = 1,
	  .max = 1, .run = dafsdebug_cat },
	{ .name = "dump", .alias = "dump_inode", .synopsis = "[-p] PATH OUT_FILE",
	  .help = "Contents into a host file.", .opts = dump_opts, .min = 2, .max = 2,
	  .run = dafsdebug_dump },
	{ .name = "rdump", .synopsis = "PATH... DIR",
	  .help = "Trees, with everything that cp -a keeps, into a host directory.", .min = 2,
	  .max = DAFS_CLI_MANY, .run = dafsdebug_rdump },
	{ .name = "frag", .synopsis = "[-m] [PATH...]",
	  .help = "Where files lie, as filefrag -v shows it; without PATH the whole image in "
		  "figures.",
	  .group = "Layout", .opts = frag_opts, .max = DAFS_CLI_MANY, .flags = DAFSDEBUG_PAGED,
	  .run = dafsdebug_frag },
	{ .name = "ex", .alias = "extents dump_extents", .synopsis = "[-n|-l] PATH",
	  .help = "The extent tree.", .opts = ex_opts, .min = 1, .max = 1,
	  .flags = DAFSDEBUG_PAGED, .run = dafsdebug_ex },
	{ .name = "blocks", .synopsis = "PATH", .help = "Every block that the inode uses.",
	  .min = 1, .max = 1, .flags = DAFSDEBUG_PAGED, .run = dafsdebug_blocks },
	{ .name = "bmap", .synopsis = "PATH LOGICAL_BLOCK", .help = "The block behind a logical one.",
	  .min = 2, .max = 2, .run = dafsdebug_bmap },
	{ .name = "es", .synopsis = "PATH",
	  .help = "The extent status tree: written, unwritten, delayed, hole.",
	  .group = "Pending work", .min = 1, .max = 1,
	  .flags = DAFSDEBUG_PAGED | DAFSDEBUG_PENDING,
	  .run = dafsdebug_es },
	{ .name = "cache", .synopsis = "[-l]", .help = "The offline cache.", .opts = cache_opts,
	  .flags = DAFSDEBUG_PAGED | DAFSDEBUG_PENDING, .run = dafsdebug_cache },
	{ .name = "resv", .help = "The counters of space and inodes.", .flags = DAFSDEBUG_PENDING,
	  .run = dafsdebug_resv },
	{ .name = "trace", .synopsis = "FILE",
	  .help = "The sum of a log by dawrite --trace, or of a kernel's trace of ext4.", .min = 1,
	  .max = 1, .flags = DAFSDEBUG_NO_IMAGE | DAFSDEBUG_PAGED, .run = dafsdebug_trace },
	{ .name = "open", .synopsis = "[-c] [-n] [-b SIZE] [-s BLOCK] IMAGE",
	  .help = "Open another image.", .group = "The tool", .opts = open_opts, .min = 1, .max = 1,
	  .flags = DAFSDEBUG_NO_IMAGE, .run = dafsdebug_open_req },
	{ .name = "close", .help = "Close the image.", .run = dafsdebug_close_req },
	{ .name = "help", .alias = "list_requests", .synopsis = "[REQUEST]",
	  .help = "The requests, or one of them.", .max = 1,
	  .flags = DAFSDEBUG_NO_IMAGE | DAFSDEBUG_PAGED, .run = dafsdebug_help },
	{ .name = "quit", .alias = "q exit", .help = "End.", .flags = DAFSDEBUG_NO_IMAGE,
	  .run = dafsdebug_quit },
	{ 0 }
};
