/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report - see report.h. Decides nothing: classes and numbers come from the library.
 */
#include "config.h"

#include "dafsck/report.h"

#include "cli/json.h"
#include "dafsck/paths.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const char *const class_names[] = { "note", "summary", "damage", "fatal" };

static const char *address(const struct dafsck_report *r)
{
	return r->cli->argv[0];
}

/* ---- progress ---- */

volatile sig_atomic_t dafsck_progress_on = 1;

static void on_usr(int number)
{
	dafsck_progress_on = number == SIGUSR1;
}

/* e2fsck's lines on a file descriptor: pass, step, steps, image. */
static void progress_line(void *arg, const char *stage, uint64_t done, uint64_t total)
{
	const struct dafsck_report *r = arg;

	(void)stage;
	if (total && dafsck_progress_on)
		dprintf(r->progress_fd, "%u %" PRIu64 " %" PRIu64 " %s\n", r->pass, done, total,
			address(r));
}

/* The terminal's line. */
static void progress_bar(void *arg, const char *stage, uint64_t done, uint64_t total)
{
	struct dafsck_report *r = arg;

	if (dafsck_progress_on)
		dafs_cli_progress_show(&r->cli->progress, stage, done, total);
	else
		dafs_cli_progress_clear(&r->cli->progress);
}

static void begin_pass(void *arg, unsigned pass, const char *title)
{
	struct dafsck_report *r = arg;

	r->pass = pass;
	if (!r->json)
		dafs_cli_say(r->cli, "Pass %u: %s\n", pass, title);
}

/* ---- findings ---- */

static bool has_field(const struct dafs_check_info *info, char field)
{
	for (const char *at = info->message; (at = strchr(at, '%')) != NULL; at += 2)
		if (at[1] == field)
			return true;
	return false;
}

static void json_finding(struct dafsck_report *r, const struct dafs_finding *f, const char *message)
{
	const struct dafs_check_info *info = dafs_check_info(f->code);
	struct json_object *object = json_object_new_object();
	const struct {
		const char *key;
		char field;
		uint64_t number;
	} numbers[] = {
		{ "inode", 'i', f->ino },	   { "directory", 'd', f->dir },
		{ "group", 'g', f->grp },	   { "block", 'b', f->blk },
		{ "logical_block", 'l', f->lblk }, { "count", 'n', f->len },
		{ "offset", 'o', f->off },	   { "refers_to", 'r', f->ref },
		{ "found", 'f', f->found },	   { "found", 'x', f->found },
		{ "expected", 'w', f->want },	   { "expected", 'X', f->want },
	};

	dafs_cli_json_str(object, "code", info->id);
	dafs_cli_json_str(object, "class", class_names[info->class]);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (has_field(info, numbers[i].field))
			dafs_cli_json_u64(object, numbers[i].key, numbers[i].number);
	if (f->name)
		dafs_cli_json_bytes(object, "name", f->name, f->name_len);
	if (f->text)
		dafs_cli_json_str(object, "detail", f->text);
	dafs_cli_json_str(object, "message", message);
	dafs_cli_json_str(object, "done", f->done == DAFS_CHECK_FIXED ? "fixed" : "nothing");
	json_object_array_add(r->json_findings, object);
}

static void show_finding(void *arg, const struct dafs_finding *f)
{
	struct dafsck_report *r = arg;
	const struct dafs_check_info *info = dafs_check_info(f->code);
	char message[1024];

	/* (Who reads JSON gets all of them.) */
	if (++r->shown[f->code] > DAFSCK_SHOWN && !r->json)
		return;
	dafs_check_format(f, message, sizeof(message));
	if (r->json)
		json_finding(r, f, message);
	else if (r->asked)
		r->asked = false; /* the question showed it */
	else if (f->done == DAFS_CHECK_FIXED)
		dafs_cli_say(r->cli, "%s [%s]: %s\n", message, info->id, info->ask);
	else
		dafs_cli_say(r->cli, "%s [%s]\n", message, info->id);
}

/* One answer: yes (also for the bare Enter), no, or yes to this and to all that follows. Without an
 * answer (end of input, interrupt) it is no, and nothing more is asked. */
static bool ask(void *arg, const struct dafs_finding *f)
{
	struct dafsck_report *r = arg;
	const struct dafs_check_info *info = dafs_check_info(f->code);
	char message[1024], line[64];

	if (r->all || r->silent)
		return r->all;
	dafs_check_format(f, message, sizeof(message));
	for (;;) {
		r->asked = true;
		dafs_cli_say(r->cli, "%s [%s]: %s<y>? ", message, info->id, info->ask);
		fflush(stdout);
		if (r->cli->ctx.cancel || !fgets(line, sizeof(line), stdin)) {
			dafs_cli_say(r->cli, "\n");
			r->silent = true;
			return false;
		}
		switch (*line) {
		case 'a':
		case 'A':
			r->all = true;
			return true;
		case 'y':
		case 'Y':
		case '\n':
			return true;
		case 'n':
		case 'N':
			return false;
		}
		dafs_cli_say(r->cli, "(y: yes, n: no, a: yes to all that follows, Enter: yes)\n");
	}
}

/* Findings of one kind beyond those shown. */
static void show_rest(struct dafsck_report *r)
{
	for (unsigned code = 0; dafs_check_info(code); code++)
		if (r->shown[code] > DAFSCK_SHOWN)
			dafs_cli_say(r->cli, "... and %u more [%s]\n",
				     r->shown[code] - DAFSCK_SHOWN, dafs_check_info(code)->id);
}

/* ---- the end ---- */

static unsigned permille(const struct dafs_check_result *res)
{
	uint64_t used = res->inodes_used ? res->inodes_used : 1;

	return (unsigned)((res->fragmented * 10000 / used + 5) / 10);
}

static void show_statistics(struct dafsck_report *r)
{
	const struct dafs_check_result *res = &r->check.result;
	const struct {
		const char *label;
		uint64_t number;
	} rows[] = {
		{ "regular files", res->regs },
		{ "directories", res->dirs },
		{ "character devices", res->chars },
		{ "block devices", res->block_devs },
		{ "fifos", res->fifos },
		{ "sockets", res->socks },
		{ "symbolic links", res->links },
		{ "of them in the inode", res->fast_links },
		{ "bad blocks", res->bad_blocks },
		{ "not contiguous", res->fragmented },
		{ "files with indirect blocks", res->ind_blks },
		{ "with double indirect blocks", res->dind_blks },
		{ "with triple indirect blocks", res->tind_blks },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		dafs_cli_say(r->cli, "%12" PRIu64 " %s\n", rows[i].number, rows[i].label);
	for (unsigned depth = 0; depth < 8; depth++)
		if (res->depth[depth])
			dafs_cli_say(r->cli, "%12" PRIu64 " extent trees of depth %u\n",
				     res->depth[depth], depth);
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* What e2fsck -t tells: memory, wall and CPU time, what was read and written. */
static void show_timing(struct dafsck_report *r)
{
	const struct dafs_check_result *res = &r->check.result;
	double seconds = now() - r->begun;
	struct rusage use = { 0 };

	for (unsigned pass = 0; pass < 6 && r->timing > 1; pass++)
		dafs_cli_say(r->cli, "pass %u: %.3f s\n", pass, res->seconds[pass]);
	getrusage(RUSAGE_SELF, &use);
	dafs_cli_say(r->cli, "memory: %.1f MiB, time: %.3f s (user %ld.%03ld, system %ld.%03ld)\n",
		     (double)use.ru_maxrss / 1024, seconds, (long)use.ru_utime.tv_sec,
		     (long)use.ru_utime.tv_usec / 1000, (long)use.ru_stime.tv_sec,
		     (long)use.ru_stime.tv_usec / 1000);
	dafs_cli_say(r->cli, "read: %.1f MiB, written: %.1f MiB, rate: %.1f MiB/s\n",
		     mib(res->read_bytes), mib(res->written_bytes),
		     seconds > 0 ? mib(res->read_bytes + res->written_bytes) / seconds : 0);
}

static void show_debug(struct dafsck_report *r)
{
	const struct dafs_check_result *res = &r->check.result;

	dafs_cli_say(r->cli,
		     "rounds: %u, threads: %u, reads: %" PRIu64 ", writes: %" PRIu64
		     ", syncs: %" PRIu64 "\n",
		     res->rounds + 1, dafs_threads(&r->cli->ctx), res->reads, res->writes,
		     res->syncs);
}

static void show_end(struct dafsck_report *r, errcode_t err, int status)
{
	const struct dafs_check_result *res = &r->check.result;

	show_rest(r);
	if (res->committed && (res->repairs || res->made_valid))
		dafs_cli_say(r->cli, "%s: REPAIRED: %" PRIu64 " findings\n", address(r),
			     res->fixed[DAFS_CHECK_DAMAGE] + res->fixed[DAFS_CHECK_SUMMARY] +
				     res->fixed[DAFS_CHECK_NOTE]);
	if (res->committed && res->tidied)
		dafs_cli_say(r->cli, "%s: %" PRIu64 " directories optimized\n", address(r),
			     res->tidied);
	if (res->committed && res->bad_list)
		dafs_cli_say(r->cli, "%s: the list of bad blocks was changed\n", address(r));
	if (res->committed && res->unshared)
		dafs_cli_say(r->cli, "%s: no blocks are shared any more\n", address(r));
	if (res->discarded_bytes)
		dafs_cli_say(r->cli, "%s: discarded %.1f MiB\n", address(r),
			     mib(res->discarded_bytes));
	if (r->timing)
		show_timing(r);
	if (r->debug)
		show_debug(r);
	if (r->cli->verbose && !err && !res->clean_skipped)
		show_statistics(r);
	if (status & 4)
		dafs_cli_say(r->cli, "%s: DAMAGED: %" PRIu64 " findings%s\n", address(r),
			     res->left[DAFS_CHECK_DAMAGE] + (r->opts->strict || res->refused
								     ? res->left[DAFS_CHECK_SUMMARY]
								     : 0),
			     err ? ", and the check could not be finished" : "");
	if (status & 4 && r->opts->mode == DAFS_CHECK_PREEN)
		dafs_cli_say(r->cli,
			     "%s: UNEXPECTED INCONSISTENCY; RUN dafsck MANUALLY "
			     "(without -p or -a).\n",
			     address(r));
	if (err || !res->opened)
		return;
	if (res->clean_skipped)
		dafs_cli_say(r->cli,
			     "%s: clean, %" PRIu64 "/%" PRIu64 " files, %" PRIu64 "/%" PRIu64
			     " blocks\n",
			     address(r), res->inodes_used, res->inodes, res->blocks_used,
			     res->blocks);
	else
		dafs_cli_say(r->cli,
			     "%s: %" PRIu64 "/%" PRIu64 " files (%u.%u%% non-contiguous), %" PRIu64
			     "/%" PRIu64 " blocks\n",
			     address(r), res->inodes_used, res->inodes, permille(res) / 10,
			     permille(res) % 10, res->blocks_used, res->blocks);
}

static void json_end(struct dafsck_report *r, errcode_t err, int status)
{
	const struct dafs_check_result *res = &r->check.result;
	struct json_object *counts;

	dafs_cli_json_str(r->json, "image", address(r));
	dafs_cli_json_i64(r->json, "status", err ? status | 8 : status);
	dafs_cli_json_bool(r->json, "finished", !err);
	dafs_cli_json_bool(r->json, "skipped_as_clean", res->clean_skipped);
	dafs_cli_json_bool(r->json, "needs_recovery", res->needs_recovery);
	dafsck_paths_add(address(r), r->json_findings);
	counts = dafs_cli_json_object(r->json, "findings_by_class");
	for (unsigned class = 0; class <= DAFS_CHECK_FATAL; class ++)
		dafs_cli_json_u64(counts, class_names[class], res->found[class]);
	counts = dafs_cli_json_object(r->json, "repaired_by_class");
	for (unsigned class = 0; class <= DAFS_CHECK_FATAL; class ++)
		dafs_cli_json_u64(counts, class_names[class], res->fixed[class]);
	dafs_cli_json_bool(r->json, "journal_replayed", res->replayed);
	dafs_cli_json_bool(r->json, "repaired", res->committed && (status & 1));
	dafs_cli_json_u64(r->json, "directories_optimized", res->committed ? res->tidied : 0);
	dafs_cli_json_bool(r->json, "bad_blocks_changed", res->committed && res->bad_list);
	dafs_cli_json_bool(r->json, "unshared", res->committed && res->unshared);
	if (res->opened && !err) {
		dafs_cli_json_u64(r->json, "inodes", res->inodes);
		dafs_cli_json_u64(r->json, "inodes_used", res->inodes_used);
		dafs_cli_json_u64(r->json, "blocks", res->blocks);
		dafs_cli_json_u64(r->json, "blocks_used", res->blocks_used);
		dafs_cli_json_u64(r->json, "files", res->regs);
		dafs_cli_json_u64(r->json, "directories", res->dirs);
		dafs_cli_json_u64(r->json, "not_contiguous", res->fragmented);
	}
	dafs_cli_json_put(stdout, r->json);
}

/* What waits in the offline cache, before anything is looked at. */
static void show_pending(struct dafsck_report *r)
{
	const struct dafs_pending *p = &r->pending;

	if (!p->there || r->json)
		return;
	if (p->err) {
		dafs_cli_say(r->cli, "%s: what is pending in %s does not fit the image: %s\n",
			     address(r), p->place, error_message(p->err));
		return;
	}
	dafs_cli_say(r->cli,
		     "%s: %" PRIu64 " inodes and %" PRIu64 " names are pending in %s, and fit\n",
		     address(r), p->inodes, p->names, p->place);
	if (r->opts->mode != DAFS_CHECK_NO)
		dafs_cli_say(r->cli,
			     "%s: a repair makes that useless; flush it first if it is needed\n",
			     address(r));
}

void dafsck_report_begin(struct dafsck_report *r, struct dafs_cli *cli,
			 const struct dafs_check_opts *opts)
{
	r->cli = cli;
	r->opts = opts;
	r->check.arg = r;
	r->check.pass = begin_pass;
	r->check.finding = show_finding;
	r->check.ask = ask;
	r->begun = now();
	cli->ctx.progress = r->progress_fd ? progress_line : progress_bar;
	cli->ctx.progress_arg = r;
	signal(SIGUSR1, on_usr);
	signal(SIGUSR2, on_usr);
	if (cli->json) {
		r->json = json_object_new_object();
		r->json_findings = dafs_cli_json_array(r->json, "findings");
	}
	dafs_pending_look(&cli->ctx, address(r), &r->pending);
	show_pending(r);
}

/* The same after a run that changed the image. */
static void look_again(struct dafsck_report *r)
{
	struct dafs_pending *p = &r->pending, after;

	if (!r->check.result.committed) {
		if (r->json && p->there)
			dafs_cli_json_bool(r->json, "pending_fits", !p->err);
		return;
	}
	dafs_pending_look(&r->cli->ctx, address(r), &after);
	if (r->json && after.there)
		dafs_cli_json_bool(r->json, "pending_fits", !after.err);
	else if (after.there && after.err && (!p->there || !p->err))
		dafs_cli_say(r->cli,
			     "%s: what is pending in %s does not fit the repaired image any more; "
			     "'dawrite %s status --recover DIR' saves it\n",
			     address(r), after.place, address(r));
}

void dafsck_report_end(struct dafsck_report *r, errcode_t err, int status)
{
	if (!err)
		look_again(r);
	dafs_cli_progress_clear(&r->cli->progress);
	if (r->json)
		json_end(r, err, status);
	else
		show_end(r, err, status);
}

void dafsck_report_codes(struct dafs_cli *cli)
{
	static const char *const repairs[] = { "-", "safe", "yes", "later" };
	const struct dafs_check_info *info;

	for (unsigned code = 0; (info = dafs_check_info(code)) != NULL; code++)
		dafs_cli_say(cli, "%-28s %-8s %-5s %s\n", info->id, class_names[info->class],
			     repairs[info->repair], info->help);
}
