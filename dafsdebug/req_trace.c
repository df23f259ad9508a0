/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_trace - trace: the sum of a log that dawrite --trace wrote, or of a kernel's trace. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "dafsdebug/dafsdebug.h"
#include "job/tracesum.h"

static double per(uint64_t n, uint64_t of)
{
	return of ? (double)n / (double)of : 0;
}

static void print_sum(const struct dafs_tracesum *sum)
{
	printf("events        %" PRIu64 ", about %zu file%s\n", sum->events, sum->nfiles,
	       sum->nfiles == 1 ? "" : "s");
	printf("reserved      %" PRIu64 " in %" PRIu64 " events\n", sum->reserved,
	       sum->reserve_events);
	printf("released      %" PRIu64 " in %" PRIu64 " events\n", sum->released,
	       sum->release_events);
	printf("used          %" PRIu64 "\n", sum->used);
	printf("chunks        %" PRIu64 " of %" PRIu64 " blocks\n", sum->chunks, sum->chunk_blks);
	printf("data          %" PRIu64 " allocator calls for %" PRIu64
	       " blocks, %.1f a call, in %" PRIu64 " pieces\n",
	       sum->data_calls, sum->data_blks, per(sum->data_blks, sum->data_calls),
	       sum->data_pieces);
	printf("metadata      %" PRIu64 " allocator calls for %" PRIu64 " blocks\n",
	       sum->meta_calls, sum->meta_blks);
	printf("writes        %" PRIu64 " of %" PRIu64 " KiB\n", sum->writes,
	       sum->written_bytes >> 10);
}

/* A trace may come from anywhere: nothing in it plays with the terminal. */
static void print_path(const char *path)
{
	for (; *path; path++)
		putchar((unsigned char)*path < 0x20 || *path == 0x7f ? '?' : *path);
	putchar('\n');
}

static void print_files(const struct dafs_tracesum *sum)
{
	printf("\n%9s %9s %9s %7s %7s %9s %7s  %s\n", "reserved", "released", "used", "chunks",
	       "calls", "blocks", "extents", "file");
	for (size_t i = 0; i < sum->nfiles; i++) {
		const struct dafs_tracesum_file *f = &sum->files[i];

		printf("%9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %7" PRIu64 " %7" PRIu64 " %9" PRIu64
		       " %7" PRIu64 "  ",
		       f->reserved, f->released, f->used, f->chunks, f->calls, f->blks, f->extents);
		if (f->path)
			print_path(f->path);
		else
			printf("<%" PRIu64 ">\n", f->ino);
	}
}

static void put_json(const struct dafs_tracesum *sum, struct json_object *out)
{
	struct json_object *files, *one;

	dafs_cli_json_u64(out, "events", sum->events);
	dafs_cli_json_u64(out, "reserve_events", sum->reserve_events);
	dafs_cli_json_u64(out, "reserved", sum->reserved);
	dafs_cli_json_u64(out, "release_events", sum->release_events);
	dafs_cli_json_u64(out, "released", sum->released);
	dafs_cli_json_u64(out, "used", sum->used);
	dafs_cli_json_u64(out, "chunks", sum->chunks);
	dafs_cli_json_u64(out, "chunk_blocks", sum->chunk_blks);
	dafs_cli_json_u64(out, "data_calls", sum->data_calls);
	dafs_cli_json_u64(out, "data_pieces", sum->data_pieces);
	dafs_cli_json_u64(out, "data_blocks", sum->data_blks);
	dafs_cli_json_u64(out, "metadata_calls", sum->meta_calls);
	dafs_cli_json_u64(out, "metadata_blocks", sum->meta_blks);
	dafs_cli_json_u64(out, "writes", sum->writes);
	dafs_cli_json_u64(out, "written_bytes", sum->written_bytes);
	files = dafs_cli_json_array(out, "files");
	for (size_t i = 0; i < sum->nfiles; i++) {
		const struct dafs_tracesum_file *f = &sum->files[i];

		one = dafsdebug_json_element(files);
		dafs_cli_json_u64(one, "inode", f->ino);
		if (f->path)
			dafs_cli_json_str(one, "path", f->path);
		dafs_cli_json_u64(one, "reserved", f->reserved);
		dafs_cli_json_u64(one, "released", f->released);
		dafs_cli_json_u64(one, "used", f->used);
		dafs_cli_json_u64(one, "chunks", f->chunks);
		dafs_cli_json_u64(one, "calls", f->calls);
		dafs_cli_json_u64(one, "blocks", f->blks);
		dafs_cli_json_u64(one, "extents", f->extents);
	}
}

errcode_t dafsdebug_trace(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafs_tracesum sum = { .size = sizeof(sum) };
	struct json_object *out;
	errcode_t err = dafs_tracesum_read(&dd->cli.ctx, args->argv[0], &sum);

	if (!err) {
		out = dafsdebug_json(dd);
		if (out) {
			put_json(&sum, out);
		} else {
			print_sum(&sum);
			print_files(&sum);
		}
		dafsdebug_json_put(out);
	}
	dafs_tracesum_fini(&sum);
	return err;
}
