/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tracesum - see tracesum.h. Files stand in a table by number; the placed pieces of each are kept
 * as a mapping, so that extents are counted as they merge.
 */
#include "config.h"

#include "job/tracesum.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* Out of memory is an error to return, not the end of the process. */
#ifndef HASH_NONFATAL_OOM
#define HASH_NONFATAL_OOM 1
#endif
#include <uthash.h>

#include "model/extlist.h"

enum { LINE_ROOM = 1 << 15 };

struct entry {
	uint64_t ino;
	struct dafs_tracesum_file f;
	char *path;
	struct dafs_extlist map;
	UT_hash_handle hh;
};

struct dafs_tracesum_state {
	struct entry *table;
};

static struct entry *entry_of(struct dafs_tracesum *sum, uint64_t ino)
{
	struct entry *e;

	HASH_FIND(hh, sum->state->table, &ino, sizeof(ino), e);
	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->ino = e->f.ino = ino;
	HASH_ADD(hh, sum->state->table, ino, sizeof(e->ino), e);
	if (e->hh.tbl)
		return e;
	free(e);
	return NULL;
}

static void free_entry(struct entry *e)
{
	dafs_extlist_fini(&e->map);
	free(e->path);
	free(e);
}

/* The number behind " name "; 0 where there is none. */
static uint64_t field(const char *line, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = strstr(line, name); at; at = strstr(at + 1, name)) {
		if (at > line && at[-1] == ' ' && at[len] == ' ')
			return strtoull(at + len + 1, NULL, 10);
	}
	return 0;
}

static errcode_t on_reserve(struct dafs_tracesum *sum, struct entry *e, const char *line)
{
	uint64_t n = field(line, "reserve_blocks");

	sum->reserve_events++;
	sum->reserved += n;
	e->f.reserved += n;
	return 0;
}

static errcode_t on_release(struct dafs_tracesum *sum, struct entry *e, const char *line)
{
	uint64_t n = field(line, "freed_blocks");

	sum->release_events++;
	sum->released += n;
	e->f.released += n;
	return 0;
}

static errcode_t on_used(struct dafs_tracesum *sum, struct entry *e, const char *line)
{
	uint64_t n = field(line, "used_blocks");

	sum->used += n;
	e->f.used += n;
	return 0;
}

static errcode_t on_chunk(struct dafs_tracesum *sum, struct entry *e, const char *line)
{
	sum->chunks++;
	sum->chunk_blks += field(line, "len");
	e->f.chunks++;
	return 0;
}

static bool is_data(const char *line)
{
	return strstr(line, "HINT_DATA");
}

static errcode_t on_request(struct dafs_tracesum *sum, struct entry *e, const char *line)
{
	if (is_data(line)) {
		sum->data_calls++;
		e->f.calls++;
	} else {
		sum->meta_calls++;
	}
	return 0;
}

static errcode_t on_allocate(struct dafs_tracesum *sum, struct entry *e, const char *line)
{
	uint64_t len = field(line, "len"), lblk = field(line, "lblk");
	errcode_t err = 0;

	if (!is_data(line)) {
		sum->meta_blks += len;
		return 0;
	}
	sum->data_pieces++;
	sum->data_blks += len;
	e->f.blks += len;
	if (len && lblk <= UINT32_MAX && len <= UINT32_MAX - lblk)
		err = dafs_extlist_set(&e->map, field(line, "block"), (uint32_t)lblk, (uint32_t)len,
				       false, NULL);
	return err == DAFS_ET_RANGE ? 0 : err;
}

/* What was counted under the pending id belongs to the inode that it became. */
static errcode_t on_inode(struct dafs_tracesum *sum, struct entry *e, const char *line)
{
	uint64_t id = field(line, "id");
	const char *path = strstr(line, " path \"");
	struct entry *old = NULL;

	if (path) {
		size_t len = strlen(path + 7);

		free(e->path);
		e->path = strndup(path + 7, len ? len - 1 : 0);
		if (!e->path)
			return ENOMEM;
	}
	if (id != e->ino)
		HASH_FIND(hh, sum->state->table, &id, sizeof(id), old);
	if (!old)
		return 0;
	e->f.reserved += old->f.reserved;
	e->f.released += old->f.released;
	e->f.used += old->f.used;
	e->f.calls += old->f.calls;
	e->f.blks += old->f.blks;
	HASH_DEL(sum->state->table, old);
	if (!e->map.n) {
		dafs_extlist_fini(&e->map);
		e->map = old->map;
		memset(&old->map, 0, sizeof(old->map));
	}
	free_entry(old);
	return 0;
}

static const struct {
	const char *name;
	errcode_t (*run)(struct dafs_tracesum *sum, struct entry *e, const char *line);
} handlers[] = {
	{ "ext4_da_reserve_space", on_reserve },
	{ "ext4_da_release_space", on_release },
	{ "ext4_da_update_reserve_space", on_used },
	{ "ext4_da_write_pages_extent", on_chunk },
	{ "ext4_request_blocks", on_request },
	{ "ext4_allocate_blocks", on_allocate },
	{ "dafs_inode", on_inode },
};

static void on_write(struct dafs_tracesum *sum, const char *line)
{
	const char *plus = strstr(line, " + ");

	sum->writes++;
	if (plus)
		sum->written_bytes += strtoull(plus + 3, NULL, 10) * 512;
}

/* Where the event's name begins: a kernel's line has task, processor and time before it. */
static const char *event_of(const char *line)
{
	static const char *const begins[] = { "ext4_", "dafs_", "block_" };

	for (const char *at = line; at; at = strchr(at, ' ')) {
		at += strspn(at, " ");
		for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
			const char *colon = strchr(at, ':');

			if (!strncmp(at, begins[i], strlen(begins[i])) && colon &&
			    !memchr(at, ' ', (size_t)(colon - at)))
				return at;
		}
	}
	return NULL;
}

static errcode_t read_line(struct dafs_tracesum *sum, const char *line)
{
	const char *event = event_of(line);
	size_t len;
	struct entry *e;

	if (!event)
		return 0;
	len = strcspn(event, ":");
	sum->events++;
	if (!strncmp(event, "block_bio_queue:", len + 1)) {
		on_write(sum, event);
		return 0;
	}
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
		if (strlen(handlers[i].name) != len || memcmp(handlers[i].name, event, len))
			continue;
		e = entry_of(sum, field(event, "ino"));
		return e ? handlers[i].run(sum, e, event) : ENOMEM;
	}
	return 0;
}

static int by_ino(const void *a, const void *b)
{
	const struct dafs_tracesum_file *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static errcode_t list_files(struct dafs_tracesum *sum)
{
	struct entry *e, *next;

	sum->files = calloc(HASH_COUNT(sum->state->table) + 1, sizeof(*sum->files));
	if (!sum->files)
		return ENOMEM;
	HASH_ITER(hh, sum->state->table, e, next) {
		e->f.path = e->path;
		e->f.extents = e->map.n;
		if (e->f.reserved || e->f.released || e->f.used || e->f.chunks || e->f.calls)
			sum->files[sum->nfiles++] = e->f;
	}
	qsort(sum->files, sum->nfiles, sizeof(*sum->files), by_ino);
	return 0;
}

static errcode_t read_lines(struct dafs_ctx *ctx, FILE *in, const char *path,
			    struct dafs_tracesum *sum)
{
	char *line = malloc(LINE_ROOM);
	uint64_t number = 0;
	errcode_t err = line ? 0 : ENOMEM;

	while (!err && fgets(line, LINE_ROOM, in)) {
		size_t len = strlen(line);

		number++;
		if (!len || (line[len - 1] != '\n' && !feof(in)))
			err = dafs_fail(ctx, DAFS_ET_SYNTAX, "%s:%llu", path,
					(unsigned long long)number);
		else
			line[strcspn(line, "\n")] = '\0';
		if (!err)
			err = read_line(sum, line);
		if (!err && !(number & 1023))
			err = dafs_cancelled(ctx);
	}
	if (!err && ferror(in))
		err = dafs_fail(ctx, errno ? errno : EIO, "%s", path);
	free(line);
	return err;
}

errcode_t dafs_tracesum_read(struct dafs_ctx *ctx, const char *path, struct dafs_tracesum *sum)
{
	FILE *in = strcmp(path, "-") ? fopen(path, "re") : stdin;
	errcode_t err;

	*sum = (struct dafs_tracesum){ .size = sum->size };
	if (!in)
		return dafs_fail(ctx, errno, "%s", path);
	sum->state = calloc(1, sizeof(*sum->state));
	err = sum->state ? read_lines(ctx, in, path, sum) : ENOMEM;
	if (in != stdin)
		fclose(in);
	if (!err && !sum->events)
		err = dafs_fail(ctx, DAFS_ET_SYNTAX, "%s: no events", path);
	return err ? err : list_files(sum);
}

void dafs_tracesum_fini(struct dafs_tracesum *sum)
{
	struct entry *e, *next;

	free(sum->files);
	if (sum->state) {
		HASH_ITER(hh, sum->state->table, e, next) {
			HASH_DEL(sum->state->table, e);
			free_entry(e);
		}
	}
	free(sum->state);
	*sum = (struct dafs_tracesum){ .size = sum->size };
}
