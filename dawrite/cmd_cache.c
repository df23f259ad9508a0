/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_cache - script, flush, status, discard: the commands that are about the cache as a whole. */
#include "config.h"

#include "dawrite/dawrite.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "job/recover.h"

/* After so many lines what they left in memory goes into the cache's transaction: a script of
 * millions of lines takes no more than one of these. */
enum { LINES_HELD = 1 << 16 };

/* Put "FILE:LINE: " before the detail of what failed on that line. */
static errcode_t name_line(struct dawrite *dw, errcode_t err, const char *file, unsigned long line)
{
	char detail[sizeof(dw->cli.ctx.detail)];

	memcpy(detail, dw->cli.ctx.detail, sizeof(detail));
	return dafs_fail(&dw->cli.ctx, err, "%s:%lu%s%s", file, line, detail[0] ? ": " : "",
			 detail);
}

static errcode_t run_lines(struct dawrite *dw, FILE *in, const char *file)
{
	char *text = NULL, **words;
	size_t room = 0;
	unsigned long line = 0;
	errcode_t err = 0;
	ssize_t len;
	int argc;

	while (!err && (len = getline(&text, &room, in)) >= 0) {
		line++;
		dw->cli.ctx.detail[0] = '\0';
		if (len && text[len - 1] == '\n')
			text[--len] = '\0';
		if (strlen(text) != (size_t)len)
			err = dafs_fail(&dw->cli.ctx, DAFS_ET_SYNTAX, "NUL byte");
		if (!err)
			err = dafs_cli_split(&dw->cli.ctx, text, &argc, &words);
		if (err) {
			err = name_line(dw, err, file, line);
			break;
		}
		if (argc)
			err = dawrite_run_line(dw, argc, words);
		free(words);
		if (!err && line % LINES_HELD == 0)
			err = dafs_session_relieve(dw->fs);
		if (!err)
			err = dafs_cancelled(&dw->cli.ctx);
		if (err)
			err = name_line(dw, err, file, line);
	}
	if (!err && ferror(in))
		err = dafs_fail(&dw->cli.ctx, errno, "%s", file);
	free(text);
	return err;
}

errcode_t dawrite_script(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	const char *file = args->argv[0];
	FILE *in = strcmp(file, "-") ? fopen(file, "re") : stdin;
	errcode_t err;

	if (!in)
		return dafs_fail(&dw->cli.ctx, errno, "%s", file);
	err = run_lines(dw, in, file);
	if (in != stdin)
		fclose(in);
	return err;
}

static const char *kind_name(const struct dafs_inode *inode)
{
	return S_ISDIR(inode->mode)   ? "directory"
	       : S_ISREG(inode->mode) ? "file"
	       : S_ISLNK(inode->mode) ? "symlink"
				      : "special";
}

struct plan_print {
	struct dawrite *dw;
	struct dafs *fs;
	struct json_object *array;
	uint64_t inodes, extents, blocks, split;
	struct dafs_plan_room room;
};

/* Where what follows logically does not follow on disk, and the longest stretch that this happens
 * in. */
static uint64_t cuts_of(const struct dafs_plan_extent *ext, size_t n, uint64_t *longest)
{
	uint64_t cuts = 0, here = 0, len = 0;

	*longest = 0;
	for (size_t i = 0; i < n; i++) {
		bool goes_on = i && ext[i - 1].lblk + ext[i - 1].len == ext[i].lblk;

		if (!goes_on)
			here = len = 0;
		if (goes_on && ext[i - 1].pblk + ext[i - 1].len != ext[i].pblk)
			here++, cuts++;
		len += ext[i].len;
		if (here && len > *longest)
			*longest = len;
	}
	return cuts;
}

/* Why a file is cut. */
static const char *why_cut(const struct plan_print *pp, uint64_t longest, char *buf, size_t size)
{
	if (!pp->room.longest_run_blks)
		snprintf(buf, size, "no free run where it was to go holds %" PRIu64 " blocks",
			 longest);
	else if (longest > pp->room.longest_run_blks)
		snprintf(buf, size,
			 "no free run holds %" PRIu64 " blocks, the longest is of %" PRIu64,
			 longest, pp->room.longest_run_blks);
	else
		snprintf(buf, size,
			 "longer free runs of the %" PRIu64
			 " blocks it takes save pieces of other files",
			 longest);
	return buf;
}

static void plan_json(struct plan_print *pp, const char *path, const struct dafs_inode *inode,
		      uint32_t ino, const struct dafs_plan_extent *ext, size_t n, uint32_t runs)
{
	struct json_object *one = json_object_new_object(), *list;
	char why[160];
	uint64_t longest, cuts = cuts_of(ext, n, &longest);

	dafs_cli_json_bytes(one, "path", path, strlen(path));
	dafs_cli_json_str(one, "type", kind_name(inode));
	dafs_cli_json_u64(one, "inode", ino);
	dafs_cli_json_u64(one, "runs", runs);
	dafs_cli_json_u64(one, "cuts", cuts);
	if (cuts)
		dafs_cli_json_str(one, "why", why_cut(pp, longest, why, sizeof(why)));
	list = dafs_cli_json_array(one, "extents");
	for (size_t i = 0; i < n; i++) {
		struct json_object *e = json_object_new_object();

		dafs_cli_json_u64(e, "logical", ext[i].lblk);
		dafs_cli_json_u64(e, "physical", ext[i].pblk);
		dafs_cli_json_u64(e, "length", ext[i].len);
		dafs_cli_json_bool(e, "unwritten", ext[i].unwritten);
		dafs_cli_json_bool(e, "journaled", ext[i].live);
		json_object_array_add(list, e);
	}
	json_object_array_add(pp->array, one);
}

static errcode_t plan_one(void *arg, const struct dafs_inode *inode, uint32_t ino,
			  const struct dafs_plan_extent *ext, size_t n, uint32_t runs)
{
	struct plan_print *pp = arg;
	char buf[4096], why[160];
	uint64_t longest, cuts = cuts_of(ext, n, &longest);
	const char *path = dafs_ns_path(pp->fs->ns, inode, buf, sizeof(buf));

	pp->inodes++;
	pp->extents += n;
	for (size_t i = 0; i < n; i++)
		pp->blocks += ext[i].len;
	pp->split += cuts;
	if (pp->array) {
		plan_json(pp, path, inode, ino, ext, n, runs);
		return 0;
	}
	printf("%s: inode %u, %s, %zu extent%s%s%s\n", path, ino, kind_name(inode), n,
	       n == 1 ? "" : "s", cuts ? ", cut: " : "",
	       cuts ? why_cut(pp, longest, why, sizeof(why)) : "");
	for (size_t i = 0; i < n; i++)
		printf("  %10u .. %10u -> %12" PRIu64 " (%u)%s\n", ext[i].lblk,
		       ext[i].lblk + ext[i].len - 1, ext[i].pblk, ext[i].len,
		       ext[i].unwritten ? " unwritten"
		       : ext[i].live	? " journaled"
					: "");
	return 0;
}

/* --dry-run: the plan instead of the flush. */
static errcode_t print_plan(void *arg, struct dafs *fs, struct dafs_plan *plan)
{
	struct dawrite *dw = arg;
	struct plan_print pp = { .dw = dw, .fs = fs, .room = dafs_plan_room(plan) };
	struct json_object *out = dw->cli.json ? json_object_new_object() : NULL;
	errcode_t err;

	if (out)
		pp.array = dafs_cli_json_array(out, "inodes");
	err = dafs_plan_walk(plan, plan_one, &pp);
	if (out) {
		dafs_cli_json_u64(out, "extents", pp.extents);
		dafs_cli_json_u64(out, "blocks", pp.blocks);
		dafs_cli_json_u64(out, "extra_pieces", pp.split);
		dafs_cli_json_u64(out, "extents_over_least", pp.room.over_least);
		dafs_cli_json_u64(out, "metadata_clusters", dafs_plan_meta_clusters(plan));
		dafs_cli_json_put(stdout, out);
	} else if (!err) {
		printf("%" PRIu64 " inodes, %" PRIu64 " extents, %" PRIu64 " blocks, %" PRIu64
		       " extra pieces, %" PRIu64 " metadata clusters\n",
		       pp.inodes, pp.extents, pp.blocks, pp.split, dafs_plan_meta_clusters(plan));
		if (pp.split && pp.room.longest_run_blks && !pp.room.over_least)
			printf("No other placement has fewer extents.\n");
		else if (pp.split && pp.room.longest_run_blks)
			printf("Another placement has at most %" PRIu64 " extents less.\n",
			       pp.room.over_least);
	}
	return err;
}

static void say_flush(struct dawrite *dw, const struct dafs_flush_stats *st)
{
	struct json_object *out;

	if (!dw->cli.json) {
		dafs_cli_say(&dw->cli,
			     "flushed %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64
			     " others, %" PRIu64 " removed: %" PRIu64 " blocks in %" PRIu64
			     " extents, %" PRIu64 " allocator calls, %" PRIu64 " writes\n",
			     st->files, st->dirs, st->others, st->removed, st->data_blks,
			     st->extents, st->alloc_calls, st->data_writes);
		if (st->transactions > 1)
			dafs_cli_say(&dw->cli,
				     "more than the journal holds at once: %u transactions\n",
				     st->transactions);
		return;
	}
	out = json_object_new_object();
	dafs_cli_json_u64(out, "files", st->files);
	dafs_cli_json_u64(out, "directories", st->dirs);
	dafs_cli_json_u64(out, "others", st->others);
	dafs_cli_json_u64(out, "removed", st->removed);
	dafs_cli_json_u64(out, "data_blocks", st->data_blks);
	dafs_cli_json_u64(out, "runs", st->runs);
	dafs_cli_json_u64(out, "extents", st->extents);
	dafs_cli_json_u64(out, "extents_over_least", st->over_least);
	dafs_cli_json_u64(out, "allocator_calls", st->alloc_calls);
	dafs_cli_json_u64(out, "data_writes", st->data_writes);
	dafs_cli_json_u64(out, "shared_bytes", st->shared_bytes);
	dafs_cli_json_u64(out, "new_metadata_blocks", st->meta_new_blks);
	dafs_cli_json_u64(out, "journaled_blocks", st->live_blks);
	dafs_cli_json_u64(out, "freed_blocks", st->freed_blks);
	dafs_cli_json_u64(out, "transactions", st->transactions);
	dafs_cli_json_put(stdout, out);
}

errcode_t dawrite_flush(struct dawrite *dw, const struct dafs_flush_request *req)
{
	struct dafs_flush_stats st = { 0 };
	errcode_t err = dafs_session_flush(dw->fs, req, &st);

	if (!err && !req->dry_run)
		say_flush(dw, &st);
	return err;
}

errcode_t dawrite_flush_cmd(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;
	const char *max = dafs_cli_value(args, 'm');
	struct dafs_flush_request req = {
		.opts = dw->flush_opts, .paths = args->argv, .npaths = (size_t)args->argc,
		.dry_run = dafs_cli_value(args, 'n'),
	};
	errcode_t err = 0;

	req.opts.bypass_journal = dafs_cli_value(args, 'r');
	if (max)
		err = dafs_cli_parse_size(&dw->cli.ctx, max, 1, &req.opts.max_data_bytes);
	if (!err)
		err = dawrite_open(dw, !req.dry_run);
	if (err)
		return err;
	if (req.dry_run) {
		req.plan_fn = print_plan;
		req.plan_arg = dw;
	}
	err = dawrite_flush(dw, &req);
	if (err == DAFS_ET_JOURNAL_FULL && !req.opts.bypass_journal)
		dafs_notice(&dw->cli.ctx,
			    "%s: flush --redo commits without the journal what it does not hold; "
			    "what is left is pending still",
			    dw->image);
	return err;
}

static void status_json(struct dawrite *dw, const struct dafs_store_status *st)
{
	struct json_object *out = json_object_new_object();

	dafs_cli_json_str(out, "image", dw->image);
	dafs_cli_json_str(out, "cache", st->place);
	dafs_cli_json_u64(out, "inodes", st->inodes);
	dafs_cli_json_u64(out, "names", st->names);
	dafs_cli_json_u64(out, "data_bytes", st->spool_bytes - st->free_bytes);
	dafs_cli_json_u64(out, "spool_bytes", st->spool_bytes);
	dafs_cli_json_u64(out, "reserved_clusters", dw->fs->reserve.dirty_clusters);
	dafs_cli_json_u64(out, "promised_clusters", dw->fs->reserve.promised_clusters);
	dafs_cli_json_u64(out, "free_clusters", dw->fs->reserve.free_clusters);
	dafs_cli_json_u64(out, "commands", st->commands);
	dafs_cli_json_put(stdout, out);
}

static errcode_t status(struct dawrite *dw)
{
	struct dafs_store_status st = { .size = sizeof(st) };
	errcode_t err = dawrite_open(dw, false);
	const struct dafs_reserve *rs;

	if (!err)
		err = dafs_store_status(dw->fs->store, &st);
	if (err)
		return err;
	if (dw->cli.json) {
		status_json(dw, &st);
		return 0;
	}
	rs = &dw->fs->reserve;
	if (!st.inodes && !st.names) {
		printf("%s: nothing pending\n", dw->image);
		return 0;
	}
	printf("%s: pending in %s\n", dw->image, st.place);
	printf("  inodes %" PRIu64 ", names %" PRIu64 ", data %" PRIu64 " bytes (spool %" PRIu64
	       " bytes), %" PRIu64 " commands\n",
	       st.inodes, st.names, st.spool_bytes - st.free_bytes, st.spool_bytes, st.commands);
	printf("  clusters: %" PRIu64 " reserved, %" PRIu64 " promised for metadata, %" PRIu64
	       " free in the image\n",
	       rs->dirty_clusters, rs->promised_clusters, rs->free_clusters);
	return 0;
}

static void print_note(void *arg, const char *line)
{
	struct dawrite *dw = arg;

	fprintf(stderr, "%s: %s\n", dw->image, line);
}

static void recover_json(struct dawrite *dw, const struct dafs_recover_stats *st)
{
	struct json_object *out = json_object_new_object();

	dafs_cli_json_str(out, "image", dw->image);
	dafs_cli_json_str(out, "target", st->target);
	dafs_cli_json_str(out, "refused", st->why ? error_message(st->why) : "");
	dafs_cli_json_u64(out, "files", st->files);
	dafs_cli_json_u64(out, "directories", st->dirs);
	dafs_cli_json_u64(out, "others", st->others);
	dafs_cli_json_u64(out, "data_bytes", st->bytes);
	dafs_cli_json_u64(out, "lost", st->lost);
	dafs_cli_json_u64(out, "unchecked_blocks", st->unchecked);
	dafs_cli_json_put(stdout, out);
}

/* What is pending goes to a folder of the host, whatever state the cache is in. */
static errcode_t recover(struct dawrite *dw, const char *target)
{
	struct dafs_recover_request req = { .cache_dir = dw->cache_dir, .target = target,
					    .note = print_note, .arg = dw };
	struct dafs_recover_stats st;
	errcode_t err = dafs_recover_run(&dw->cli.ctx, dw->image, &req, &st);

	if (err == ENOENT && !st.target[0]) {
		printf("%s: nothing pending\n", dw->image);
		return 0;
	}
	if (err)
		return err;
	if (dw->cli.json) {
		recover_json(dw, &st);
		return 0;
	}
	if (st.why)
		printf("%s: %s\n", dw->image, error_message(st.why));
	printf("%s: saved %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " others, %" PRIu64
	       " bytes of pending data in %s; %" PRIu64 " lost\n",
	       dw->image, st.files, st.dirs, st.others, st.bytes, st.target, st.lost);
	if (st.unchecked)
		printf("%s: %" PRIu64 " blocks could not be checked\n", dw->image, st.unchecked);
	return 0;
}

errcode_t dawrite_status(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;

	if (dafs_cli_value(args, 'r'))
		return recover(dw, args->argc ? args->argv[0] : NULL);
	return args->argc ? dafs_fail(&dw->cli.ctx, DAFS_ET_USAGE, "%s", args->argv[0])
			  : status(dw);
}

errcode_t dawrite_discard(void *arg, const struct dafs_cli_args *args)
{
	struct dawrite *dw = arg;

	(void)args;
	return dafs_session_discard(&dw->cli.ctx, dw->image, dw->cache_dir);
}
