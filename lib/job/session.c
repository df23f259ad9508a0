/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * session - see session.h: wires image, cache, reserve, write path and name space together.
 *
 * Order of opening: image (lock, journal replay), cache (settles an interrupted flush), reserve,
 * write path, name space. Closing is the reverse. A cancelled command throws the name space away
 * and opens it anew over the cache; so does a long script in between, after its changes became rows
 * (dafs_session_relieve).
 */
#include "config.h"

#include "job/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/group.h"
#include "job/hostsrc.h"
#include "write/dareserve.h"
#include "write/direct.h"
#include "write/qlimit.h"

/* What everything pending needs in metadata clusters, exactly: a plan that is dropped again. */
static errcode_t dry_plan(void *arg, uint64_t *meta_clusters)
{
	struct dafs *fs = arg;
	struct dafs_flush_opts opts = { .size = sizeof(opts) };
	struct dafs_changeset cs;
	struct dafs_plan *plan;
	errcode_t err = dafs_ns_collect(fs->ns, NULL, &cs);

	*meta_clusters = 0;
	if (err)
		return err;
	err = dafs_plan_new(fs->img, &cs, &opts, &plan);
	if (!err)
		*meta_clusters = dafs_plan_meta_clusters(plan);
	dafs_plan_free(plan);
	dafs_ns_uncollect(fs->ns, &cs);
	return err;
}

static errcode_t new_names(struct dafs *fs)
{
	return dafs_ns_new(fs->img, &fs->write, fs->cached ? dafs_store_backing() : NULL, fs->store,
			   &fs->ns);
}

static errcode_t open_names(struct dafs *fs)
{
	errcode_t err;

	dafs_ns_reserve_init(fs->img, &fs->reserve);
	err = dafs_store_load_reserve(fs->store, &fs->reserve);
	if (err)
		return err;
	fs->write.img = fs->img;
	fs->write.reserve = &fs->reserve;
	fs->write.stash = dafs_store_stash();
	fs->write.stash_arg = fs->store;
	fs->write.dry_plan = dry_plan;
	fs->write.dry_plan_arg = fs;
	return dafs_ns_new(fs->img, &fs->write, fs->cached ? dafs_store_backing() : NULL, fs->store,
			   &fs->ns);
}

/* Owners with quota limits, and what they take by what is pending. */
static errcode_t open_limits(struct dafs *fs)
{
	errcode_t err;

	dafs_qlimit_free(fs->write.limits);
	err = dafs_qlimit_open(fs->img, &fs->write.limits);
	if (err || !fs->write.limits)
		return err;
	if (fs->ignore_quota)
		dafs_qlimit_ignore(fs->write.limits);
	return dafs_store_load_limits(fs->store, fs->write.limits);
}

static errcode_t refuse_pending(struct dafs *fs, const char *cache_dir, bool rw)
{
	bool exists;
	errcode_t err = dafs_store_exists(fs->img, cache_dir, &exists);

	if (err || !exists)
		return err;
	if (rw)
		return dafs_fail(fs->ctx, DAFS_ET_CACHE_PENDING, "%s", fs->img->dev->address);
	dafs_notice(fs->ctx,
		    "%s has pending work in its offline cache, which is not looked at here",
		    fs->img->dev->address);
	return 0;
}

/* The cache, or an ephemeral store where the cache is not wanted, or absent and not needed: by a
 * reader, or by a command that flushes before it ends. */
static errcode_t open_store(struct dafs *fs, int flags, const char *cache_dir)
{
	bool rw = flags & DAFS_SESSION_RW;
	bool make = rw && (flags & DAFS_SESSION_CACHE) && !(flags & DAFS_SESSION_ADOPT);
	int store_flags = make ? DAFS_STORE_CREATE : rw ? 0 : DAFS_STORE_RDONLY;
	errcode_t err = ENOENT;

	if (flags & DAFS_SESSION_CACHE)
		err = dafs_store_open(fs->img, cache_dir, store_flags, &fs->store);
	else if ((err = refuse_pending(fs, cache_dir, rw)) == 0)
		err = ENOENT;
	fs->cached = !err;
	/* Beside what is pending already, a command is saved as always, and flushed with it. */
	if (fs->cached)
		fs->adopt = false;
	if (err != ENOENT || make)
		return err;
	fs->ctx->detail[0] = '\0';
	return dafs_store_open(fs->img, NULL, DAFS_STORE_EPHEMERAL, &fs->store);
}

static struct dafs *session_alloc(struct dafs_ctx *ctx, struct dafs_image *img)
{
	struct dafs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return NULL;
	fs->ctx = ctx;
	fs->img = img;
	return fs;
}

static errcode_t open_session(struct dafs_ctx *ctx, const char *address, int flags,
			      const char *cache_dir, struct dafs **ret)
{
	struct dafs_image *img = NULL;
	struct dafs *fs;
	errcode_t err;

	*ret = NULL;
	err = dafs_image_open(ctx, address, flags & DAFS_SESSION_RW ? DAFS_IMAGE_RW : 0, 0, 0,
			      &img);
	if (!err && flags & DAFS_SESSION_RW)
		err = dafs_delalloc_supported(img);
	if (err) {
		dafs_image_close(img);
		return err;
	}
	fs = session_alloc(ctx, img);
	if (!fs) {
		dafs_image_close(img);
		return ENOMEM;
	}
	fs->adopt = flags & DAFS_SESSION_ADOPT || !(flags & DAFS_SESSION_CACHE);
	err = open_store(fs, flags, cache_dir);
	if (!err)
		err = open_names(fs);
	if (!err && flags & DAFS_SESSION_RW)
		err = open_limits(fs);
	if (err) {
		dafs_close(fs);
		return err;
	}
	*ret = fs;
	return 0;
}

errcode_t dafs_session_open(struct dafs_ctx *ctx, const char *address, int flags,
			    const char *cache_dir, struct dafs **ret)
{
	errcode_t err = open_session(ctx, address, flags, cache_dir, ret);

	/* A flush of a part was interrupted behind its commit: that is finished first, by a writer,
	 * also when this is a reader. */
	if (err != DAFS_ET_NEEDS_RECOVERY || flags & DAFS_SESSION_RW ||
	    !(flags & DAFS_SESSION_CACHE))
		return err;
	err = open_session(ctx, address, DAFS_SESSION_RW | DAFS_SESSION_CACHE, cache_dir, ret);
	if (err)
		return err;
	dafs_close(*ret);
	return open_session(ctx, address, flags, cache_dir, ret);
}

errcode_t dafs_session_adopt_image(struct dafs_ctx *ctx, struct dafs_image *img, struct dafs **ret)
{
	struct dafs *fs = session_alloc(ctx, img);
	errcode_t err;

	*ret = NULL;
	if (!fs) {
		dafs_image_close(img);
		return ENOMEM;
	}
	fs->adopt = true;
	err = dafs_store_open(img, NULL, DAFS_STORE_EPHEMERAL, &fs->store);
	if (!err)
		err = open_names(fs);
	if (err) {
		dafs_close(fs);
		return err;
	}
	/* Who makes a file system may fill it to the last block, as with mke2fs -d. */
	fs->reserve.root_clusters = 0;
	fs->reserve.resv_clusters = 0;
	fs->write.plan_decides = true;
	/* Small files may need no block in the end: only the plan knows. */
	if (img->has_inline_data)
		fs->reserve.free_clusters = UINT64_MAX / 2;
	*ret = fs;
	return 0;
}

/* Does the end of a command save it? Not where the flush follows in this process: what refers to
 * host files cannot be saved. */
static bool saves(const struct dafs *fs)
{
	return fs->cached && !fs->adopt;
}

errcode_t dafs_session_direct(struct dafs *fs, bool when_low)
{
	struct dafs_changeset cs;
	errcode_t err = dafs_direct_open(&fs->write);

	if (err)
		return err;
	fs->write.low_switch = when_low;
	/* Blocks that earlier commands chose are not to be chosen again. */
	err = dafs_ns_collect(fs->ns, NULL, &cs);
	for (size_t i = 0; i < cs.n && !err; i++) {
		const struct dafs_inode *inode = cs.inodes[i];

		if (S_ISREG(inode->mode) && !(inode->state & DAFS_I_WHOLE) && inode->u.file)
			err = dafs_direct_adopt(&fs->write, inode->u.file);
	}
	dafs_ns_uncollect(fs->ns, &cs);
	return err;
}

void dafs_close(struct dafs *fs)
{
	if (!fs)
		return;
	if (fs->in_command && saves(fs))
		dafs_store_rollback(fs->store);
	dafs_ns_free(fs->ns);
	dafs_qlimit_free(fs->write.limits);
	dafs_direct_close(&fs->write);
	dafs_store_close(fs->store);
	dafs_hostsrcs_free(fs->hosts);
	dafs_image_close(fs->img);
	free(fs);
}

errcode_t dafs_open(struct dafs_ctx *ctx, const char *address, int flags, const char *cache_dir,
		    struct dafs **ret)
{
	int mine = 0;

	if (flags & DAFS_OPEN_RW)
		mine |= DAFS_SESSION_RW;
	if (flags & DAFS_OPEN_CACHE)
		mine |= DAFS_SESSION_CACHE;
	return dafs_session_open(ctx, address, mine, cache_dir, ret);
}

errcode_t dafs_begin(struct dafs *fs)
{
	errcode_t err;

	if (fs->in_command)
		return dafs_fail(fs->ctx, DAFS_ET_SEQUENCE, "dafs_begin");
	if (fs->img->failed)
		return dafs_fail(fs->ctx, DAFS_ET_HANDLE_FAILED, "%s", fs->img->dev->address);
	fs->ctx->detail[0] = '\0';
	err = saves(fs) ? dafs_store_begin(fs->store) : 0;
	fs->in_command = !err;
	return err;
}

errcode_t dafs_end(struct dafs *fs)
{
	errcode_t err;

	if (!fs->in_command)
		return dafs_fail(fs->ctx, DAFS_ET_SEQUENCE, "dafs_end");
	err = saves(fs) ? dafs_store_commit(fs->store, fs->ns, &fs->reserve) : 0;
	if (err) {
		dafs_cancel(fs);
		return err;
	}
	fs->in_command = false;
	return 0;
}

void dafs_cancel(struct dafs *fs)
{
	char detail[sizeof(fs->ctx->detail)];

	if (!fs->in_command)
		return;
	memcpy(detail, fs->ctx->detail, sizeof(detail));
	if (saves(fs))
		dafs_store_rollback(fs->store);
	fs->in_command = false;
	dafs_ns_free(fs->ns);
	fs->ns = NULL;
	if (open_names(fs) || (fs->write.limits && open_limits(fs)))
		fs->img->failed = true;
	memcpy(fs->ctx->detail, detail, sizeof(detail));
}

errcode_t dafs_session_relieve(struct dafs *fs)
{
	errcode_t err;

	if (!fs->in_command || !saves(fs) || fs->write.direct)
		return 0;
	err = dafs_store_save(fs->store, fs->ns, &fs->reserve);
	if (err)
		return err;
	dafs_ns_free(fs->ns);
	fs->ns = NULL;
	return new_names(fs);
}

errcode_t dafs_session_fail(struct dafs *fs, errcode_t err, const char *path)
{
	if (err && !fs->ctx->detail[0])
		dafs_fail(fs->ctx, err, "%s", path);
	else
		return err;
	return dafs_qlimit_fail(fs->ctx, fs->write.limits, err, path);
}

void dafs_session_ignore_quota(struct dafs *fs)
{
	fs->ignore_quota = true;
	if (fs->write.limits)
		dafs_qlimit_ignore(fs->write.limits);
}

/* The plan is made: write it, with the cache's bracket around it. */
static errcode_t execute(struct dafs *fs, struct dafs_plan *plan, struct dafs_changeset *cs,
			 struct dafs_flush_stats *stats)
{
	errcode_t err = dafs_store_flush_begin(fs->store, cs, plan, &cs->tag, &cs->tag_len);

	if (err)
		return err;
	err = dafs_plan_execute(plan, stats);
	if (err) {
		if (!fs->img->failed)
			dafs_store_flush_abort(fs->store);
		return err;
	}
	dafs_ns_settled(fs->ns, cs);
	/* Where this fails the next command finishes the flush, as after a crash. */
	err = dafs_ns_recharge(fs->ns);
	if (err)
		fs->img->failed = true;
	return err ? err : dafs_store_flush_end(fs->store, cs, fs->ns, &fs->reserve);
}

/* A cache whose files hold more than it says in sum is damaged: nothing of it is flushed. */
static errcode_t check_held(struct dafs *fs, const struct dafs_changeset *cs)
{
	uint64_t held = 0;

	if (!fs->cached)
		return 0;
	for (size_t i = 0; i < cs->n; i++) {
		if (S_ISREG(cs->inodes[i]->mode))
			held += dafs_delalloc_held_clusters(fs->img, cs->inodes[i]);
	}
	if (held <= fs->reserve.dirty_clusters)
		return 0;
	return dafs_fail(fs->ctx, DAFS_ET_CACHE_DAMAGED, "%s: its files hold more than is reserved",
			 fs->img->dev->address);
}

/* How a flush goes about its next change set. */
struct way {
	struct dafs_ns_selection sel;
	struct dafs_flush_opts opts;
};

/* What one change set was. */
struct pass {
	size_t n;     /* inodes in it */
	bool piece;   /* of one file: so many are pending as before */
};

/* One change set: collected, planned, and executed unless this is a dry run. */
static errcode_t flush_once(struct dafs *fs, const struct dafs_flush_request *req,
			    const struct way *way, struct dafs_flush_stats *stats,
			    struct pass *pass)
{
	struct dafs_plan *plan = NULL;
	struct dafs_changeset cs;
	errcode_t err = dafs_ns_collect(fs->ns, &way->sel, &cs);

	*pass = (struct pass){ 0 };
	if (err)
		return err;
	pass->n = cs.n;
	pass->piece = cs.part || dafs_ns_shrinks(&cs);
	err = check_held(fs, &cs);
	if (!err && (cs.n || req->dry_run))
		err = dafs_plan_new(fs->img, &cs, &way->opts, &plan);
	if (!err && plan && req->plan_fn)
		err = req->plan_fn(req->plan_arg, fs, plan);
	if (!err && cs.n && !req->dry_run)
		err = execute(fs, plan, &cs, stats);
	dafs_plan_free(plan);
	dafs_ns_uncollect(fs->ns, &cs);
	return err;
}

static void add_stats(struct dafs_flush_stats *sum, const struct dafs_flush_stats *more)
{
	sum->files += more->files;
	sum->dirs += more->dirs;
	sum->others += more->others;
	sum->removed += more->removed;
	sum->runs += more->runs;
	sum->extents += more->extents;
	sum->split_runs += more->split_runs;
	sum->alloc_calls += more->alloc_calls;
	sum->data_blks += more->data_blks;
	sum->meta_new_blks += more->meta_new_blks;
	sum->live_blks += more->live_blks;
	sum->freed_blks += more->freed_blks;
	sum->data_writes += more->data_writes;
	sum->copied_bytes += more->copied_bytes;
	sum->shared_bytes += more->shared_bytes;
	sum->transactions += more->transactions;
}

/* Too much for the journal at once: in several transactions, each of them a whole set, or, where
 * one inode is too much by itself, a piece of it: of what is to be freed, or of what is to be
 * written. What is too much even so goes by a redo record: names that only make sense together,
 * say; if the caller lets it. False: that was too much as well. */
static bool ask_for_less(const struct dafs *fs, const struct dafs_flush_request *req,
			 struct way *way, size_t n)
{
	unsigned cluster_bits = fs->img->cluster_bits + fs->img->block_bits;
	struct dafs_ns_selection *sel = &way->sel;
	uint64_t all_bytes = way->opts.max_data_bytes;

	if (way->opts.bypass_journal)
		return false;
	sel->everything = false;
	if (n > 1 && sel->max_inodes != 1) {
		sel->max_inodes =
			sel->max_inodes && sel->max_inodes < n ? sel->max_inodes / 2 : n / 2;
		return true;
	}
	sel->max_inodes = 1;
	if (!sel->shrink) {
		sel->shrink = true;
		return true;
	}
	if (!sel->max_data_bytes)
		sel->max_data_bytes = fs->reserve.dirty_clusters << cluster_bits;
	sel->max_data_bytes /= 2;
	if (sel->max_data_bytes >> cluster_bits || !req->opts.bypass_journal)
		return sel->max_data_bytes >> cluster_bits;
	sel->max_data_bytes = all_bytes;
	sel->shrink = false;
	way->opts.bypass_journal = true;
	return true;
}

/* What was too much by itself is done: the rest may go with more at once again. */
static void ask_for_more(struct way *way)
{
	if (!way->sel.shrink && !way->opts.bypass_journal)
		return;
	way->sel.max_inodes = SIZE_MAX;
	way->sel.max_data_bytes = way->opts.max_data_bytes;
	way->sel.shrink = way->opts.bypass_journal = false;
}

errcode_t dafs_session_flush(struct dafs *fs, const struct dafs_flush_request *req,
			     struct dafs_flush_stats *stats)
{
	struct way way = {
		.sel = { .size = sizeof(way.sel),
			 .paths = req->npaths ? req->paths : NULL,
			 .npaths = req->npaths,
			 .max_data_bytes = req->opts.max_data_bytes,
			 .order_dirty = req->opts.order_dirty },
		.opts = req->opts,
	};
	struct dafs_flush_stats once;
	struct pass pass;
	size_t before;
	errcode_t err;

	if (fs->in_command)
		return dafs_fail(fs->ctx, DAFS_ET_SEQUENCE, "dafs_flush");
	way.opts.bypass_journal = false;
	/* Near full the promise is what a flush of everything needs, no more: a part of it might
	 * leave a rest that does not fit. */
	way.sel.everything = dafs_dareserve_is_exact(&fs->reserve);
	memset(stats, 0, sizeof(*stats));
	fs->ctx->detail[0] = '\0';
	for (;;) {
		memset(&once, 0, sizeof(once));
		before = dafs_ns_pending(fs->ns);
		err = flush_once(fs, req, &way, &once, &pass);
		if (err == DAFS_ET_JOURNAL_FULL && ask_for_less(fs, req, &way, pass.n))
			continue;
		add_stats(stats, &once);
		if (err || !way.sel.max_inodes || !pass.n ||
		    (req->opts.max_data_bytes && !way.sel.everything))
			return err;
		if (pass.piece)
			continue;
		/* A pass that leaves as much as it found would do so for ever. */
		if (dafs_ns_pending(fs->ns) == before)
			return dafs_fail(fs->ctx, DAFS_ET_JOURNAL_FULL,
					 "%s: what is left goes together", fs->img->dev->address);
		ask_for_more(&way);
	}
}

errcode_t dafs_flush(struct dafs *fs)
{
	struct dafs_flush_request req = { .opts.size = sizeof(req.opts) };
	struct dafs_flush_stats stats;

	return dafs_session_flush(fs, &req, &stats);
}

errcode_t dafs_session_discard(struct dafs_ctx *ctx, const char *address, const char *cache_dir)
{
	struct dafs_image *img;
	errcode_t err = dafs_image_open(ctx, address, DAFS_IMAGE_RW, 0, 0, &img);

	if (err)
		return err;
	err = dafs_store_remove(img, cache_dir);
	dafs_image_close(img);
	return err == ENOENT ? 0 : err;
}
