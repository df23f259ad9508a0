/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options - see options.h. Two tables: the options, and the extended ones behind -E.
 *
 * An option of e2fsck that has no meaning here is refused with a line that says why: nothing is
 * parsed and then ignored, but for -r and the extended options that ask for what is done anyway.
 */
#include "config.h"

#include "dafsck/options.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/value.h"
#include "dafsck/badblocks.h"

enum { OPT_STRICT = 256, OPT_CODES };

const struct dafs_cli_opt dafsck_options[] = {
	{ .letter = 'n',
	  .name = "read-only",
	  .group = "What to do (without any of these: ask, which takes a terminal)",
	  .help = "Change nothing." },
	{ .letter = 'p',
	  .name = "preen",
	  .help = "Repair what is safe to repair without asking; if there is anything else, repair "
		  "nothing and exit with 4." },
	{ .letter = 'a', .name = "auto", .help = "The same as -p." },
	{ .letter = 'y', .name = "yes", .help = "Repair everything." },
	{ .letter = 'f',
	  .name = "force",
	  .help = "Check even a file system that is marked clean." },
	{ .letter = 'D',
	  .name = "optimize-dirs",
	  .help = "Write directories anew that become smaller or get an index by it." },
	{ .letter = 'l',
	  .name = "add-bad-blocks",
	  .arg = "FILE",
	  .help = "Add the blocks that the file names, one a line, to the list of bad blocks." },
	{ .letter = 'L',
	  .name = "set-bad-blocks",
	  .arg = "FILE",
	  .help = "The file's blocks are the list of bad blocks from now on." },
	{ .letter = 'c',
	  .name = "search-bad-blocks",
	  .help = "Let badblocks(8) read the image; what it cannot read is the list of bad blocks "
		  "from now on. Twice: blocks are written too, and get their contents back." },
	{ .letter = 'k',
	  .name = "keep-bad-blocks",
	  .help = "With -c: what is in the list stays in it." },
	{ .letter = 'z',
	  .name = "undo",
	  .arg = "FILE",
	  .help = "Save what is changed to this file first, for e2undo(8). Empty: a file in "
		  "$E2FSPROGS_UNDO_DIR." },
	{ .letter = 'E',
	  .name = "extended",
	  .arg = "LIST",
	  .help = "Extended options, separated by commas: journal_only, discard, nodiscard, "
		  "fixes_only, optimize_extents, no_optimize_extents, bmap2extent, "
		  "check_encoding, unshare_blocks, ea_ver=2." },
	{ .id = OPT_STRICT,
	  .name = "strict",
	  .help = "Exit with 4 for everything that is not as it should be, also for what e2fsck "
		  "reports and then passes over: the superblock's counts and notes, a missing "
		  "lost+found." },
	{ .letter = 'r', .help = "Means nothing, as in e2fsck." },
	{ .letter = 'b',
	  .name = "superblock",
	  .arg = "BLOCK",
	  .group = "Where to begin",
	  .help = "Use the superblock copy in this block. Without it, copies are tried when the "
		  "first is bad." },
	{ .letter = 'B',
	  .name = "block-size",
	  .arg = "BYTES",
	  .help = "Block size, to find the copy that -b names." },
	{ .letter = 'F',
	  .name = "flush",
	  .help = "Let the host forget what it holds of the image in memory first, for timing." },
	{ .letter = 'C',
	  .name = "progress-fd",
	  .arg = "FD",
	  .group = "Output",
	  .help = "Write progress to this file descriptor, a line a step: pass, step, steps, "
		  "image. 0: as a terminal has it. Negative: nothing before SIGUSR1." },
	{ .letter = 't',
	  .name = "timing",
	  .help = "Print how long the check took and what it read; twice: each pass as well." },
	{ .letter = 'd',
	  .name = "debug",
	  .help = "Print how the run went: rounds, reads, writes." },
	{ .id = OPT_CODES,
	  .name = "codes",
	  .help = "Print all findings that there are, one a line, and check nothing." },
	/* e2fsck's, refused below */
	{ .letter = 'j', .arg = "DEVICE" },
	{ .letter = 's' },
	{ .letter = 'S' },
	{ 0 }
};

static const struct {
	char letter;
	const char *why;
} refused[] = {
	{ 'j', "an external journal is not replayed; mount the file system once, or run e2fsck" },
	{ 's', "the byte order is not changed; file systems of the other order no longer exist" },
	{ 'S', "the byte order is not changed; file systems of the other order no longer exist" },
};

static errcode_t refuse(struct dafs_cli *cli, char letter)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (refused[i].letter == letter)
			return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "%s", refused[i].why);
	return DAFS_ET_INTERNAL;
}

/* ---- -E ---- */

#define FLAG(name) offsetof(struct dafs_check_opts, name)

static const struct {
	const char *name;
	const char *value; /* the one that it must have; NULL: none */
	const char *why;   /* refused */
	size_t flag;	   /* set to on; 0: what is done anyway */
	bool on;
} extended[] = {
	{ "journal_only", .flag = FLAG(journal_only), .on = true },
	{ "discard", .flag = FLAG(discard), .on = true },
	{ "nodiscard", .flag = FLAG(discard), .on = false },
	{ "fixes_only", .flag = FLAG(fixes_only), .on = true },
	{ "no_optimize_extents", .flag = FLAG(fixes_only), .on = true },
	{ "optimize_extents", .flag = FLAG(fixes_only), .on = false },
	{ "bmap2extent", .flag = FLAG(to_extents), .on = true },
	{ "check_encoding", .flag = FLAG(check_encoding), .on = true },
	{ "ea_ver", .value = "2" },
	{ "fragcheck", .why = "`dafsdebug -R frag IMAGE' shows where files lie" },
	{ "unshare_blocks", .flag = FLAG(unshare), .on = true },
	{ "readahead_kb", .why = "how much is read ahead is not a matter of options here" },
	{ "inode_count_fullmap", .why = "counts of links are always kept in full" },
	{ "no_inode_count_fullmap", .why = "counts of links are always kept in full" },
};

static errcode_t apply_extended(void *arg, const struct dafs_cli_item *item)
{
	struct dafs_cli *cli = arg;
	struct dafsck_request *req = cli->arg;
	size_t i, n = sizeof(extended) / sizeof(extended[0]);

	for (i = 0; i < n && (item->negated || strcmp(extended[i].name, item->name)); i++)
		;
	if (i == n)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "unknown option '%s'", item->name);
	if (extended[i].why)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "%s: %s", item->name, extended[i].why);
	if (!extended[i].value != !item->value)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "%s takes %s value", item->name,
				 item->value ? "no" : "a");
	if (item->value && strcmp(extended[i].value, item->value))
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "%s can only be %s", item->name,
				 extended[i].value);
	if (extended[i].flag)
		*(bool *)((char *)&req->opts + extended[i].flag) = extended[i].on;
	return 0;
}

/* ---- the options ---- */

static errcode_t set_mode(struct dafs_cli *cli, struct dafsck_request *req,
			  enum dafs_check_mode mode)
{
	if (req->mode_set && req->opts.mode != mode)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "only one of -n, -p and -y");
	req->mode_set = true;
	req->opts.mode = mode;
	return 0;
}

static errcode_t set_progress(struct dafs_cli *cli, struct dafsck_request *req, const char *value)
{
	bool later = *value == '-';
	uint64_t fd;
	errcode_t err = dafs_cli_parse_u64(&cli->ctx, value + later, 0, INT_MAX, &fd);

	if (err)
		return err;
	req->report.progress_fd = (int)fd;
	dafsck_progress_on = !later;
	return 0;
}

static errcode_t apply_number(struct dafs_cli *cli, struct dafsck_request *req, int id,
			      const char *value)
{
	uint64_t number;
	errcode_t err;

	if (id == 'C')
		return set_progress(cli, req, value);
	if (id == 'b')
		return dafs_cli_parse_u64(&cli->ctx, value, 0, UINT64_MAX, &req->opts.backup_sb);
	err = dafs_cli_parse_u64(&cli->ctx, value, 1024, 65536, &number);
	if (!err && number & (number - 1))
		err = dafs_fail(&cli->ctx, DAFS_ET_RANGE, "%s: no power of two", value);
	req->opts.backup_bs = err ? 0 : (uint32_t)number;
	return err;
}

errcode_t dafsck_apply(struct dafs_cli *cli, void *arg, const struct dafs_cli_opt *opt,
		       const char *value)
{
	struct dafsck_request *req = arg;
	int id = dafs_cli_opt_id(opt);

	switch (id) {
	case 'n':
		return set_mode(cli, req, DAFS_CHECK_NO);
	case 'p':
	case 'a':
		return set_mode(cli, req, DAFS_CHECK_PREEN);
	case 'y':
		return set_mode(cli, req, DAFS_CHECK_YES);
	case 'f':
		req->opts.force = true;
		return 0;
	case 'z':
		req->undo = value;
		return 0;
	case 'D':
		req->opts.tidy_dirs = true;
		return 0;
	case 'l':
	case 'L':
		if (req->bad_file)
			return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "only one of -l and -L, once");
		req->bad_file = value;
		req->opts.bad_replace = id == 'L';
		return 0;
	case 'c':
		req->search++;
		return 0;
	case 'k':
		req->keep = true;
		return 0;
	case 'E':
		return dafs_cli_each(&cli->ctx, value, apply_extended, cli);
	case OPT_STRICT:
		req->opts.strict = true;
		return 0;
	case 'r':
		return 0;
	case 'b':
	case 'B':
	case 'C':
		return apply_number(cli, req, id, value);
	case 'F':
		req->opts.forget_cache = true;
		return 0;
	case 't':
		req->report.timing++;
		return 0;
	case 'd':
		req->report.debug = true;
		return 0;
	case OPT_CODES:
		req->codes = true;
		return 0;
	default:
		return refuse(cli, opt->letter);
	}
}

/* ---- when all are known ---- */

/* e2fsck's name for an undo file that was not given one; an older one of that name goes. */
static errcode_t name_undo(struct dafs_cli *cli, struct dafsck_request *req)
{
	const char *dir = getenv("E2FSPROGS_UNDO_DIR");
	char *copy, *path;
	int len;

	if (!dir)
		dir = "/var/lib/e2fsprogs";
	if (!*dir || !strcmp(dir, "none") || access(dir, W_OK))
		return dafs_fail(&cli->ctx, ENOENT,
				 "--undo: no folder for undo files (E2FSPROGS_UNDO_DIR=%s)", dir);
	copy = strdup(cli->argv[0]);
	len = copy ? asprintf(&path, "%s/e2fsck-%s.e2undo", dir, basename(copy)) : -1;
	free(copy);
	if (len < 0)
		return ENOMEM;
	req->undo = req->undo_made = path;
	if (unlink(path) && errno != ENOENT)
		return dafs_fail(&cli->ctx, errno, "%s", path);
	return 0;
}

static errcode_t check_together(struct dafs_cli *cli, const struct dafsck_request *req)
{
	const struct dafs_check_opts *o = &req->opts;

	if (o->fixes_only && o->to_extents)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE,
				 "-E: fixes_only and bmap2extent exclude each other");
	if (o->mode == DAFS_CHECK_NO && req->mode_set && (o->discard || o->to_extents))
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "-n changes nothing, and so does not %s",
				 o->discard ? "discard" : "convert");
	if (o->mode == DAFS_CHECK_NO && req->mode_set &&
	    (o->tidy_dirs || req->bad_file || req->search))
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE,
				 "-n changes nothing, and so does not go "
				 "with -D, -l, -L and -c");
	if (o->mode == DAFS_CHECK_PREEN && (req->bad_file || req->search))
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE,
				 "what lies on bad blocks takes a person to decide: not with -p");
	if (req->search && req->bad_file)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "only one of -c, -l and -L");
	if (req->keep && !req->search)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "-k goes with -c only");
	if (o->unshare && o->mode != DAFS_CHECK_YES)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "unshare_blocks goes with -y only");
	if (o->discard && req->undo)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE,
				 "what is discarded cannot be undone: discard or -z");
	return 0;
}

/* The blocks that are to be bad ones. */
static errcode_t complete_bad(struct dafs_cli *cli, struct dafsck_request *req)
{
	errcode_t err;

	if (req->search) {
		req->opts.bad_replace = !req->keep;
		err = dafsck_badblocks_search(&cli->ctx, cli->argv[0], req->search > 1,
					      &req->bad_blks, &req->opts.nbad);
	} else {
		err = dafsck_badblocks_read(&cli->ctx, req->bad_file, &req->bad_blks,
					    &req->opts.nbad);
	}
	req->opts.bad_blks = req->bad_blks;
	return err;
}

errcode_t dafsck_complete(struct dafs_cli *cli, struct dafsck_request *req)
{
	errcode_t err = check_together(cli, req);

	if (err)
		return err;
	if (!cli->argc)
		return dafs_fail(&cli->ctx, DAFS_ET_USAGE, "no image is named");
	if (!req->mode_set) {
		/* Questions need somebody to answer them. */
		if (cli->json || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
			return dafs_fail(&cli->ctx, ENOTTY,
					 "nobody to ask about repairs: say -n, -p or -y");
		req->opts.mode = DAFS_CHECK_ASK;
	}
	if (req->opts.mode == DAFS_CHECK_NO)
		return 0;
	if (req->undo && !*req->undo)
		err = name_undo(cli, req);
	req->opts.undo_path = req->undo;
	if (!err && (req->search || req->bad_file))
		err = complete_bad(cli, req);
	return err;
}
