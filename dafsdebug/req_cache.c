/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * req_cache - es, cache, resv: what is pending in the offline cache. Each request opens the cache
 * anew, so that it shows the work of other processes meanwhile.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dafsdebug/dafsdebug.h"
#include "job/session.h"

static errcode_t open_session(struct dafsdebug *dd, struct dafs **fs)
{
	return dafs_session_open(&dd->cli.ctx, dd->img->dev->address, DAFS_SESSION_CACHE,
				 dd->cache_dir, fs);
}

/* ---- es ---- */

/* The inode behind path in the pending name space; a relative path begins at the shell's
 * directory. */
static errcode_t find(struct dafsdebug *dd, struct dafs *fs, const char *path,
		      struct dafs_inode **inode)
{
	const int flags = DAFS_NS_FOLLOW | DAFS_NS_INO;
	char *whole;
	errcode_t err;

	if (*path == '/' || *path == '<' || dd->cwd == EXT2_ROOT_INO)
		return dafs_session_fail(fs, dafs_ns_lookup(fs->ns, path, flags, inode), path);
	if (asprintf(&whole, "<%u>/%s", dd->cwd, path) < 0)
		return ENOMEM;
	err = dafs_session_fail(fs, dafs_ns_lookup(fs->ns, whole, flags, inode), path);
	free(whole);
	return err;
}

static const char *status_text(uint8_t type)
{
	switch (type) {
	case DAFS_ES_WRITTEN:
		return "written";
	case DAFS_ES_UNWRITTEN:
		return "unwritten";
	case DAFS_ES_DELAYED:
		return "delayed";
	default:
		return "hole";
	}
}

struct es_print {
	struct json_object *list; /* NULL: text */
	unsigned n;
};

static void put_entry(struct es_print *p, const struct dafs_es_extent *e)
{
	bool placed = e->type == DAFS_ES_WRITTEN || e->type == DAFS_ES_UNWRITTEN;

	if (p->list) {
		struct json_object *one = dafsdebug_json_element(p->list);

		dafs_cli_json_u64(one, "logical", e->lblk);
		dafs_cli_json_u64(one, "length", e->len);
		if (placed)
			dafs_cli_json_u64(one, "physical", e->pblk);
		dafs_cli_json_str(one, "status", status_text(e->type));
		return;
	}
	if (!p->n)
		puts(" es:     logical_offset:        physical_offset: length: status");
	printf("%4u: %8u..%8u: ", p->n++, e->lblk, e->lblk + e->len - 1);
	if (placed)
		printf("%10" PRIu64 "..%10" PRIu64 ":", e->pblk, e->pblk + e->len - 1);
	else
		printf("%22s:", "");
	printf(" %6u: %s\n", e->len, status_text(e->type));
}

/* The block behind everything known of a file: its size, what is pending, what the image maps. */
static errcode_t end_lblk(struct dafs *fs, const struct dafs_inode *inode, uint64_t *end)
{
	const struct dafs_file *file = S_ISREG(inode->mode) ? inode->u.file : NULL;
	struct dafs_inspect *in;
	struct dafs_es_extent e;
	errcode_t err;

	*end = (inode->size + fs->img->block_size - 1) >> fs->img->block_bits;
	for (uint64_t at = *end; file && dafs_es_find(&file->es, DAFS_ES_ANY & ~DAFS_ES_HOLE,
						      (uint32_t)at, UINT32_MAX, &e);
	     at = e.lblk + (uint64_t)e.len)
		*end = e.lblk + (uint64_t)e.len;
	if (inode->state & DAFS_I_NEW)
		return 0;
	in = malloc(sizeof(*in));
	if (!in)
		return ENOMEM;
	err = dafs_inspect_load(fs->img, (uint32_t)inode->id, in);
	if (!err && in->extents.n && dafs_extent_end(&in->extents.v[in->extents.n - 1]) > *end)
		*end = dafs_extent_end(&in->extents.v[in->extents.n - 1]);
	dafs_inspect_fini(in);
	free(in);
	return err;
}

/* A regular file: the tree over the whole of the file, neighbours that came from several look-ups
 * joined. */
static errcode_t walk_es(struct dafs *fs, struct dafs_inode *inode, uint64_t end,
			 struct es_print *p)
{
	struct dafs_es tree;
	struct dafs_es_extent e = { 0 };
	errcode_t err = 0;

	dafs_es_init(&tree);
	for (uint64_t at = 0; at < end && !err; at = e.lblk + (uint64_t)e.len) {
		err = dafs_delalloc_map(&fs->write, inode, (uint32_t)at, &e);
		if (!err && e.lblk + (uint64_t)e.len > end)
			e.len = (uint32_t)(end - e.lblk);
		if (!err)
			err = dafs_es_insert(&tree, &e, NULL);
		if (!err)
			err = dafs_cancelled(fs->ctx);
	}
	for (uint64_t at = 0;
	     !err && dafs_es_find(&tree, DAFS_ES_ANY, (uint32_t)at, UINT32_MAX, &e);
	     at = e.lblk + (uint64_t)e.len)
		put_entry(p, &e);
	dafs_es_fini(&tree);
	return err;
}

static void json_es(struct json_object *out, const char *path, const struct dafs_inode *inode)
{
	const struct dafs_file *file = inode->u.file;

	dafs_cli_json_bytes(out, "path", path, strlen(path));
	dafs_cli_json_u64(out, inode->state & DAFS_I_NEW ? "pending_id" : "inode", inode->id);
	dafs_cli_json_u64(out, "size", inode->size);
	dafs_cli_json_u64(out, "delayed_blocks", file ? file->es.delayed_blks : 0);
	dafs_cli_json_u64(out, "reserved_clusters", file ? file->reserved_clusters : 0);
	dafs_cli_json_u64(out, "promised_clusters", file ? file->promised_clusters : 0);
}

static void put_es(const char *path, const struct dafs_inode *inode)
{
	const struct dafs_file *file = inode->u.file;

	if (inode->state & DAFS_I_NEW)
		printf("%s: no inode yet, ", path);
	else
		printf("%s: inode %" PRIu64 ", ", path, inode->id);
	printf("%" PRIu64 " bytes, %" PRIu64 " blocks delayed, %" PRIu64
	       " clusters reserved, %u promised\n",
	       inode->size, file ? file->es.delayed_blks : 0, file ? file->reserved_clusters : 0,
	       file ? file->promised_clusters : 0);
}

static errcode_t es_of(struct dafsdebug *dd, struct dafs *fs, const char *path)
{
	struct json_object *out;
	struct es_print p = { 0 };
	struct dafs_inode *inode;
	uint64_t end = 0;
	errcode_t err = find(dd, fs, path, &inode);

	if (!err && !S_ISREG(inode->mode))
		err = dafs_fail(fs->ctx, EINVAL, "%s: only regular files are delayed", path);
	if (!err)
		err = end_lblk(fs, inode, &end);
	if (err)
		return err;
	out = dafsdebug_json(dd);
	if (out) {
		json_es(out, path, inode);
		p.list = dafs_cli_json_array(out, "entries");
	} else {
		put_es(path, inode);
	}
	err = walk_es(fs, inode, end, &p);
	dafsdebug_json_put(out);
	return dafs_session_fail(fs, err, path);
}

errcode_t dafsdebug_es(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafs *fs;
	errcode_t err = open_session(dd, &fs);

	if (!err)
		err = es_of(dd, fs, args->argv[0]);
	dafs_close(fs);
	return err;
}

/* ---- cache ---- */

struct pending {
	uint64_t new_inodes, changed, removed, dirty_blks, delayed_blks;
};

static const struct dafs_file *file_of(const struct dafs_inode *inode)
{
	return S_ISREG(inode->mode) && !(inode->state & DAFS_I_WHOLE) ? inode->u.file : NULL;
}

static void count(struct pending *sum, const struct dafs_inode *inode)
{
	const struct dafs_file *file = file_of(inode);

	sum->new_inodes += !!(inode->state & DAFS_I_NEW);
	sum->removed += !!(inode->state & DAFS_I_GONE);
	sum->changed += !(inode->state & (DAFS_I_NEW | DAFS_I_GONE));
	if (!file)
		return;
	sum->dirty_blks += file->pages.dirty_blks;
	sum->delayed_blks += file->es.delayed_blks;
}

/* One letter for each of dafs_inode_state that says what is pending. */
static const char *state_text(uint16_t state, char text[8])
{
	static const struct {
		uint16_t bit;
		char letter;
	} letters[] = {
		{ DAFS_I_NEW, 'n' },   { DAFS_I_ATTR, 'a' },  { DAFS_I_DATA, 'd' },
		{ DAFS_I_NAMES, 'e' }, { DAFS_I_XATTR, 'x' }, { DAFS_I_GONE, 'g' },
	};

	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		text[i] = state & letters[i].bit ? letters[i].letter : '-';
	text[sizeof(letters) / sizeof(letters[0])] = '\0';
	return text;
}

static void put_pending(const struct dafs_changeset *cs, const struct dafs_inode *inode,
			struct json_object *list)
{
	const struct dafs_file *file = file_of(inode);
	uint64_t dirty = file ? file->pages.dirty_blks : 0;
	uint64_t delayed = file ? file->es.delayed_blks : 0;
	char buf[4096], state[8];
	const char *path = cs->path_of(cs->arg, inode, buf);
	struct json_object *one;

	if (!list) {
		if (inode->state & DAFS_I_NEW)
			printf("%10s", "-");
		else
			printf("%10" PRIu64, inode->id);
		printf(" %s %06o %12" PRIu64 " %8" PRIu64 " %8" PRIu64 " %s\n",
		       state_text(inode->state, state), inode->mode, inode->size, dirty, delayed,
		       path);
		return;
	}
	one = dafsdebug_json_element(list);
	dafs_cli_json_u64(one, inode->state & DAFS_I_NEW ? "pending_id" : "inode", inode->id);
	dafs_cli_json_str(one, "state", state_text(inode->state, state));
	snprintf(state, sizeof(state), "%06o", inode->mode);
	dafs_cli_json_str(one, "mode", state);
	dafs_cli_json_u64(one, "size", inode->size);
	dafs_cli_json_u64(one, "dirty_blocks", dirty);
	dafs_cli_json_u64(one, "delayed_blocks", delayed);
	dafs_cli_json_bytes(one, "path", path, strlen(path));
}

static void put_cache(const struct dafs_store_status *st, const struct pending *sum)
{
	printf("Place:    %s\n", st->place);
	printf("Commands: %" PRIu64 "\n", st->commands);
	printf("Inodes:   %" PRIu64 ": %" PRIu64 " new, %" PRIu64 " changed, %" PRIu64 " removed\n",
	       st->inodes, sum->new_inodes, sum->changed, sum->removed);
	printf("Names:    %" PRIu64 "\n", st->names);
	printf("Data:     %" PRIu64 " blocks dirty, %" PRIu64 " of them delayed\n", sum->dirty_blks,
	       sum->delayed_blks);
	printf("Spool:    %" PRIu64 " bytes, %" PRIu64 " of them free\n", st->spool_bytes,
	       st->free_bytes);
}

static void json_cache(struct json_object *out, const struct dafs_store_status *st,
		       const struct pending *sum)
{
	dafs_cli_json_str(out, "place", st->place);
	dafs_cli_json_u64(out, "commands", st->commands);
	dafs_cli_json_u64(out, "inodes", st->inodes);
	dafs_cli_json_u64(out, "new_inodes", sum->new_inodes);
	dafs_cli_json_u64(out, "changed_inodes", sum->changed);
	dafs_cli_json_u64(out, "removed_inodes", sum->removed);
	dafs_cli_json_u64(out, "names", st->names);
	dafs_cli_json_u64(out, "dirty_blocks", sum->dirty_blks);
	dafs_cli_json_u64(out, "delayed_blocks", sum->delayed_blks);
	dafs_cli_json_u64(out, "spool_bytes", st->spool_bytes);
	dafs_cli_json_u64(out, "spool_free_bytes", st->free_bytes);
}

static errcode_t show_cache(struct dafsdebug *dd, struct dafs *fs, bool list_all)
{
	struct dafs_store_status st = { .size = sizeof(st) };
	struct json_object *out, *list = NULL;
	struct pending sum = { 0 };
	struct dafs_changeset cs;
	errcode_t err = dafs_store_status(fs->store, &st);

	if (!err)
		err = dafs_ns_collect(fs->ns, NULL, &cs);
	if (err)
		return err;
	for (size_t i = 0; i < cs.n; i++)
		count(&sum, cs.inodes[i]);
	out = dafsdebug_json(dd);
	if (out)
		json_cache(out, &st, &sum);
	else
		put_cache(&st, &sum);
	if (out && list_all)
		list = dafs_cli_json_array(out, "pending");
	else if (list_all)
		printf("\n%10s %-6s %6s %12s %8s %8s %s\n", "inode", "state", "mode", "size",
		       "dirty", "delayed", "path");
	for (size_t i = 0; i < cs.n && list_all; i++)
		put_pending(&cs, cs.inodes[i], list);
	dafs_ns_uncollect(fs->ns, &cs);
	dafsdebug_json_put(out);
	return 0;
}

errcode_t dafsdebug_cache(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	struct dafs *fs;
	errcode_t err = open_session(dd, &fs);

	if (!err && fs->cached) {
		err = show_cache(dd, fs, dafs_cli_value(args, 'l'));
	} else if (!err) {
		out = dafsdebug_json(dd);
		if (out)
			dafs_cli_json_u64(out, "inodes", 0);
		else
			puts("Nothing is pending.");
		dafsdebug_json_put(out);
	}
	dafs_close(fs);
	return err;
}

/* ---- resv ---- */

/* What the counters leave for new writes. */
static uint64_t left(const struct dafs_reserve *rs, uint64_t kept)
{
	uint64_t taken = rs->dirty_clusters + rs->promised_clusters + rs->resv_clusters + kept;

	return rs->free_clusters > taken ? rs->free_clusters - taken : 0;
}

static void put_resv(const struct dafs_reserve *rs)
{
	printf("Free clusters:     %" PRIu64 "\n", rs->free_clusters);
	printf("Reserved for data: %" PRIu64 "\n", rs->dirty_clusters);
	printf("For metadata:      %" PRIu64 " (upper bound %" PRIu64 ")\n", rs->promised_clusters,
	       rs->bound_clusters);
	printf("For root:          %" PRIu64 "\n", rs->root_clusters);
	printf("Pool:              %" PRIu64 "\n", rs->resv_clusters);
	printf("Left:              %" PRIu64 " for root, %" PRIu64 " for others\n", left(rs, 0),
	       left(rs, rs->root_clusters));
	printf("Free inodes:       %" PRIu64 ", %" PRIu64 " of them promised\n", rs->free_inodes,
	       rs->promised_inodes);
}

static void json_resv(struct json_object *out, const struct dafs_reserve *rs)
{
	dafs_cli_json_u64(out, "free_clusters", rs->free_clusters);
	dafs_cli_json_u64(out, "dirty_clusters", rs->dirty_clusters);
	dafs_cli_json_u64(out, "promised_clusters", rs->promised_clusters);
	dafs_cli_json_u64(out, "bound_clusters", rs->bound_clusters);
	dafs_cli_json_u64(out, "root_clusters", rs->root_clusters);
	dafs_cli_json_u64(out, "resv_clusters", rs->resv_clusters);
	dafs_cli_json_u64(out, "left_for_root", left(rs, 0));
	dafs_cli_json_u64(out, "left_for_others", left(rs, rs->root_clusters));
	dafs_cli_json_u64(out, "free_inodes", rs->free_inodes);
	dafs_cli_json_u64(out, "promised_inodes", rs->promised_inodes);
}

errcode_t dafsdebug_resv(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	struct dafs *fs;
	errcode_t err = open_session(dd, &fs);

	(void)args;
	if (!err) {
		out = dafsdebug_json(dd);
		if (out)
			json_resv(out, &fs->reserve);
		else
			put_resv(&fs->reserve);
		dafsdebug_json_put(out);
	}
	dafs_close(fs);
	return err;
}
