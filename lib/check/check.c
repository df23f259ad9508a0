/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check - the run: the table of passes, the workers, reading, and what becomes of a finding.
 *
 * It does not know what any pass looks for.
 */
#include "config.h"

#include "check/check.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "image/icodec.h"

#define WINDOW_BYTES (256u << 10)

struct pass {
	unsigned number;   /* as result.seconds and the pass callback count */
	const char *title; /* NULL: belongs to the pass before */
	errcode_t (*run)(struct dafs_ck *ck);
};

static const struct pass passes[] = {
	{ 0, NULL, dafs_ck_pass0 },
	{ 0, NULL, dafs_ck_journal },
	{ 1, "inodes and block maps", dafs_ck_pass1 },
	{ 1, NULL, dafs_ck_pass1b },
	{ 2, "directories", dafs_ck_pass2 },
	{ 3, "connectivity", dafs_ck_pass3 },
	{ 4, "link counts", dafs_ck_pass4 },
	{ 5, "bitmaps and summaries", dafs_ck_pass5 },
	{ 5, NULL, dafs_ck_orphan_file },
	{ 5, NULL, dafs_ck_quota_check },
};

/* ---- findings ---- */

bool dafs_ck_find(struct dafs_ck_worker *w, const struct dafs_finding *f)
{
	const struct dafs_check_info *info = dafs_check_info(f->code);
	struct dafs_check_report *rep = w->ck->rep;

	if (w->scan) {
		w->put_off = true;
		return false;
	}
	rep->result.found[info->class]++;
	rep->result.left[info->class]++;
	if (rep->finding)
		rep->finding(rep->arg, f);
	return false;
}

int dafs_check_status(const struct dafs_check_opts *opts, const struct dafs_check_result *result)
{
	uint64_t left = result->left[DAFS_CHECK_DAMAGE];

	if (opts->strict)
		left += result->left[DAFS_CHECK_SUMMARY];
	return left ? 4 : 0;
}

/* ---- reading ---- */

static bool dev_read(struct dafs_ck *ck, uint64_t pblk, uint64_t count, void *buf)
{
	uint64_t off = pblk << ck->g.block_bits;
	uint64_t len = count << ck->g.block_bits;

	if (off > ck->dev->size_bytes || len > ck->dev->size_bytes - off)
		return false;
	if (dafs_dev_read(ck->dev, buf, len, off))
		return false;
	for (uint64_t i = 0; ck->overlay.n && i < count; i++) {
		const uint64_t *block = dafs_ck_map_get(&ck->overlay, pblk + i + 1);

		if (block)
			memcpy((uint8_t *)buf + (i << ck->g.block_bits), (void *)(uintptr_t)*block,
			       ck->g.block_size);
	}
	return true;
}

errcode_t dafs_ck_write(struct dafs_ck_worker *w, uint64_t pblk, const void *buf)
{
	struct dafs_ck *ck = w->ck;
	uint64_t *slot = dafs_ck_map_put(&ck->overlay, pblk + 1, NULL);
	void *copy;

	if (!slot)
		return ENOMEM;
	copy = *slot ? (void *)(uintptr_t)*slot : malloc(ck->g.block_size);
	if (!copy)
		return ENOMEM;
	memcpy(copy, buf, ck->g.block_size);
	*slot = (uintptr_t)copy;
	for (unsigned i = 0; i < ck->nworkers; i++)
		ck->workers[i].win_len = 0;
	return 0;
}

errcode_t dafs_ck_read(struct dafs_ck_worker *w, uint64_t pblk, uint64_t count, void *buf)
{
	struct dafs_ck *ck = w->ck;

	if (dev_read(ck, pblk, count, buf))
		return 0;
	for (uint64_t i = 0; i < count; i++) {
		uint8_t *at = (uint8_t *)buf + (i << ck->g.block_bits);
		bool made;

		if (count > 1 && dev_read(ck, pblk + i, 1, at))
			continue;
		memset(at, 0, ck->g.block_size);
		if (w->scan) {
			w->put_off = true;
			continue;
		}
		if (!dafs_ck_map_put(&ck->unreadable, pblk + i + 1, &made))
			return ENOMEM;
		if (made)
			DAFS_CK_FIND(w, READ_ERROR, .blk = pblk + i,
				     .text = pblk + i >= ck->dev->size_bytes >> ck->g.block_bits
						     ? "past the end of the device"
						     : "I/O error");
	}
	return 0;
}

errcode_t dafs_ck_read_window(struct dafs_ck_worker *w, uint64_t pblk, uint64_t run, uint8_t **buf)
{
	uint64_t most = WINDOW_BYTES >> w->ck->g.block_bits;
	errcode_t err = 0;

	if (pblk < w->win_start || pblk >= w->win_start + w->win_len) {
		if (run > most)
			run = most;
		if (!run)
			run = 1;
		w->win_start = pblk;
		w->win_len = run;
		err = dafs_ck_read(w, pblk, run, w->window);
		/* What was put off is looked at again: it must read the bad block itself. */
		if (w->put_off)
			w->win_len = 0;
	}
	*buf = w->window + ((pblk - w->win_start) << w->ck->g.block_bits);
	return err;
}

/* Where an inode lies. False: nowhere that could be read. */
static bool locate_inode(const struct dafs_ck *ck, uint32_t ino, uint64_t *blk, uint32_t *off)
{
	uint32_t grp, index;

	if (!ino || ino > ck->g.inodes)
		return false;
	grp = (ino - 1) / ck->g.ipg;
	index = (ino - 1) % ck->g.ipg;
	*blk = dafs_ck_gd_itable(ck, grp) + index / ck->g.inodes_per_blk;
	*off = index % ck->g.inodes_per_blk * ck->g.inode_size;
	return !(ck->gd_flags[grp] & DAFS_CKG_IT_BAD);
}

bool dafs_ck_read_inode(struct dafs_ck_worker *w, uint32_t ino, struct ext2_inode_large *raw)
{
	const struct dafs_ck *ck = w->ck;
	uint64_t blk;
	uint32_t off;
	errcode_t err;

	memset(raw, 0, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	if (!locate_inode(ck, ino, &blk, &off))
		return false;
	err = dafs_ck_read(w, blk, 1, w->tmp);
	if (err) {
		w->err = err;
		return false;
	}
	memcpy(raw, w->tmp + off, ck->g.inode_size);
	return true;
}

errcode_t dafs_ck_write_inode(struct dafs_ck_worker *w, uint32_t ino, struct ext2_inode_large *raw)
{
	uint64_t blk;
	uint32_t off;
	errcode_t err;

	if (!locate_inode(w->ck, ino, &blk, &off))
		return DAFS_ET_INTERNAL;
	dafs_icodec_checksum(&w->ck->img, ino, raw);
	err = dafs_ck_read(w, blk, 1, w->tmp);
	if (err)
		return err;
	memcpy(w->tmp + off, raw, w->ck->g.inode_size);
	return dafs_ck_write(w, blk, w->tmp);
}

/* ---- workers ---- */

struct crew {
	struct dafs_ck *ck;
	_Atomic uint64_t next;
	uint64_t n;
	dafs_ck_item_fn fn;
	_Atomic bool stop;
};

struct hand {
	struct crew *crew;
	struct dafs_ck_worker *w;
};

static void *crew_work(void *arg)
{
	struct hand *hand = arg;
	struct crew *crew = hand->crew;
	struct dafs_ck_worker *w = hand->w;

	w->scan = true;
	while (!crew->stop) {
		uint64_t item = atomic_fetch_add(&crew->next, 1);

		if (item >= crew->n)
			break;
		w->put_off = false;
		w->err = crew->fn(w, item);
		if (!w->err && crew->ck->ctx->cancel)
			w->err = DAFS_ET_CANCELLED;
		if (w->err)
			crew->stop = true;
	}
	w->scan = false;
	return NULL;
}

errcode_t dafs_ck_parallel(struct dafs_ck *ck, uint64_t n, dafs_ck_item_fn fn)
{
	struct crew crew = { .ck = ck, .n = n, .fn = fn };
	unsigned hands = ck->nworkers < n ? ck->nworkers : (unsigned)(n ? n : 1);
	struct hand *hand = calloc(hands, sizeof(*hand));
	pthread_t *threads = calloc(hands, sizeof(*threads));
	unsigned started = 1;
	errcode_t err = 0;

	if (!hand || !threads) {
		free(hand);
		free(threads);
		return ENOMEM;
	}
	for (unsigned i = 0; i < hands; i++)
		hand[i] = (struct hand){ &crew, &ck->workers[i] };
	/* A thread that cannot be had is one fewer: worker 0 is this one. */
	while (started < hands &&
	       !pthread_create(&threads[started], NULL, crew_work, &hand[started]))
		started++;
	crew_work(&hand[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < started && !err; i++)
		err = ck->workers[i].err;
	free(hand);
	free(threads);
	return err ? err : dafs_cancelled(ck->ctx);
}

static void worker_fini(struct dafs_ck_worker *w)
{
	dafs_ck_vec_fini(&w->claims);
	dafs_ck_vec_fini(&w->dexts);
	dafs_ck_vec_fini(&w->ea_refs);
	dafs_ck_map_fini(&w->seen);
	dafs_ck_vec_fini(&w->policies);
	for (unsigned i = 0; i < 3; i++) {
		dafs_ck_map_fini(&w->quota[i]);
		dafs_ck_vec_fini(&w->quota_sums[i]);
	}
	dafs_ck_vec_fini(&w->subdirs);
	dafs_ck_vec_fini(&w->refs);
	dafs_ck_vec_fini(&w->new_subdirs);
	dafs_ck_map_fini(&w->names);
	dafs_ck_vec_fini(&w->owners);
	dafs_ck_vec_fini(&w->later);
	free(w->level[0]);
	free(w->window);
}

static errcode_t worker_buffers(struct dafs_ck_worker *w)
{
	uint32_t bs = w->ck->g.block_size;

	w->level[0] = malloc((size_t)bs * 18);
	w->window = malloc(WINDOW_BYTES);
	if (!w->level[0] || !w->window)
		return ENOMEM;
	for (unsigned i = 1; i < 16; i++)
		w->level[i] = w->level[0] + (size_t)i * bs;
	w->xblk = w->level[0] + (size_t)16 * bs;
	w->tmp = w->level[0] + (size_t)17 * bs;
	return 0;
}

/* ---- the run ---- */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void run_fini(struct dafs_ck *ck)
{
	for (unsigned i = 0; ck->workers && i < ck->nworkers; i++)
		worker_fini(&ck->workers[i]);
	free(ck->workers);
	for (uint32_t grp = 0; grp < ck->g.groups; grp++) {
		if (ck->inos)
			free(ck->inos[grp]);
		if (ck->parts && ck->parts[grp]) {
			dafs_ck_vec_fini(&ck->parts[grp]->dirs);
			dafs_ck_vec_fini(&ck->parts[grp]->dexts);
			dafs_ck_vec_fini(&ck->parts[grp]->later);
			free(ck->parts[grp]);
		}
	}
	free(ck->inos);
	free(ck->parts);
	free(ck->dirs);
	free(ck->dexts);
	free(ck->gd);
	free(ck->gd_flags);
	free(ck->free_clusters);
	free(ck->free_inodes);
	free(ck->meta);
	dafs_ck_bits_fini(&ck->found);
	dafs_ck_bits_fini(&ck->dup);
	dafs_ck_map_fini(&ck->refs_over);
	dafs_ck_xattr_fini(ck);
	dafs_ck_map_fini(&ck->ea_inodes);
	dafs_ck_vec_fini(&ck->policies);
	dafs_ck_map_fini(&ck->bad_blocks);
	dafs_ck_map_fini(&ck->unreadable);
	for (size_t i = 0; i < ck->overlay.room; i++)
		if (ck->overlay.keys[i])
			free((void *)(uintptr_t)ck->overlay.vals[i]);
	dafs_ck_map_fini(&ck->overlay);
	for (unsigned i = 0; i < 3; i++) {
		dafs_ck_map_fini(&ck->quota[i]);
		dafs_ck_vec_fini(&ck->quota_sums[i]);
	}
	pthread_mutex_destroy(&ck->refs_lock);
	pthread_mutex_destroy(&ck->ea_lock);
}

/* What needs the geometry. */
static errcode_t run_init(struct dafs_ck *ck)
{
	const struct ext2_super_block *sb = &ck->sb;
	errcode_t err = dafs_ck_bits_init(&ck->found, ck->g.clusters);

	ck->fs.magic = EXT2_ET_MAGIC_EXT2FS_FILSYS;
	ck->fs.super = &ck->sb;
	ck->fs.blocksize = ck->g.block_size;
	ck->img = (struct dafs_image){ .ctx = ck->ctx,
				       .dev = ck->dev,
				       .fs = &ck->fs,
				       .block_size = ck->g.block_size,
				       .block_bits = ck->g.block_bits,
				       .cluster_bits = ck->g.cbits,
				       .inode_size = ck->g.inode_size,
				       .csum_seed = ck->g.csum_seed,
				       .blocks = ck->g.blocks,
				       .first_data_block = ck->g.first,
				       .has_csum = ck->g.csum,
				       .has_extents = ck->g.extents,
				       .has_inline_data = ck->g.inline_data,
				       .has_ea_inode = ck->g.ea_inode,
				       .has_filetype = ck->g.filetype,
				       .has_dir_index = ck->g.dir_index,
				       .has_large_dir = ck->g.large_dir,
				       .has_casefold = ck->g.casefold,
				       .has_64bit = ck->g.bit64,
				       .has_bigalloc = ck->g.bigalloc,
				       .has_huge_file = ck->g.huge_file };
	/* No time in the superblock may look like a link of the orphan list, else none can be told
	 * from one. */
	ck->low_dtime = !(sb->s_wtime && sb->s_wtime < ck->g.inodes) &&
			!(sb->s_mtime && sb->s_mtime < ck->g.inodes) &&
			!(sb->s_mkfs_time && sb->s_mkfs_time < ck->g.inodes);
	if (!err)
		err = dafs_ck_bits_init(&ck->dup, ck->g.clusters);
	ck->inos = calloc(ck->g.groups, sizeof(*ck->inos));
	ck->parts = calloc(ck->g.groups, sizeof(*ck->parts));
	if (!ck->inos || !ck->parts)
		return ENOMEM;
	for (unsigned i = 0; i < ck->nworkers && !err; i++)
		err = worker_buffers(&ck->workers[i]);
	ck->node_budget = ck->g.blocks / 4 + 65536;
	return err;
}

/* Marked clean, no errors, nothing to replay: e2fsck would not look either. */
static bool marked_clean(const struct dafs_ck *ck)
{
	const struct ext2_super_block *sb = &ck->sb;

	if (ck->opts->force || ck->opts->backup_sb || ck->rep->result.found[DAFS_CHECK_DAMAGE])
		return false;
	if ((sb->s_state & (EXT2_VALID_FS | EXT2_ERROR_FS)) != EXT2_VALID_FS)
		return false;
	if (sb->s_max_mnt_count > 0 && sb->s_mnt_count >= (uint16_t)sb->s_max_mnt_count)
		return false;
	return !sb->s_checkinterval ||
	       ck->ctx->now_sec < (int64_t)sb->s_lastcheck + sb->s_checkinterval;
}

static errcode_t run_passes(struct dafs_ck *ck)
{
	struct dafs_check_report *rep = ck->rep;
	errcode_t err = 0;

	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && !err; i++) {
		double begun = now();

		if (passes[i].number == 1 && passes[i].title && marked_clean(ck)) {
			rep->result.clean_skipped = true;
			break;
		}
		if (passes[i].title) {
			dafs_progress(ck->ctx, passes[i].title, 0, 0);
			if (rep->pass)
				rep->pass(rep->arg, passes[i].number, passes[i].title);
		}
		err = passes[i].run(ck);
		if (!err && (ck->found.nomem || ck->dup.nomem))
			err = ENOMEM;
		rep->result.seconds[passes[i].number] += now() - begun;
	}
	return err;
}

static void sum_stats(struct dafs_ck *ck)
{
	struct dafs_check_result *r = &ck->rep->result;
	const struct ext2_super_block *sb = &ck->sb;

	/* What the superblock says, right or wrong: e2fsck's summary line does the same. */
	r->inodes = sb->s_inodes_count;
	r->inodes_used = sb->s_inodes_count - sb->s_free_inodes_count;
	r->blocks = ck->g.blocks;
	r->blocks_used = ck->g.blocks - (sb->s_free_blocks_count |
					 (ck->g.bit64 ? (uint64_t)sb->s_free_blocks_hi << 32 : 0));

	for (unsigned i = 0; i < ck->nworkers; i++) {
		const struct dafs_ck_stats *s = &ck->workers[i].stats;

		r->dirs += s->dirs;
		r->regs += s->regs;
		r->links += s->links;
		r->fast_links += s->fast_links;
		r->chars += s->chars;
		r->block_devs += s->blocks;
		r->fifos += s->fifos;
		r->socks += s->socks;
		r->ind_blks += s->ind;
		r->dind_blks += s->dind;
		r->tind_blks += s->tind;
		r->fragmented += s->fragmented;
		for (unsigned d = 0; d < 8; d++)
			r->depth[d] += s->depth[d];
	}
}

errcode_t dafs_check_run(struct dafs_ctx *ctx, const char *address,
			 const struct dafs_check_opts *opts, struct dafs_check_report *report)
{
	struct dafs_ck ck = { .ctx = ctx, .opts = opts, .rep = report };
	errcode_t err;

	memset(&report->result, 0, sizeof(report->result));
	pthread_mutex_init(&ck.refs_lock, NULL);
	pthread_mutex_init(&ck.ea_lock, NULL);
	ck.nworkers = dafs_threads(ctx);
	ck.workers = calloc(ck.nworkers, sizeof(*ck.workers));
	err = ck.workers ? dafs_dev_open(ctx, address, 0, &ck.dev) : ENOMEM;
	if (err)
		goto out;
	for (unsigned i = 0; i < ck.nworkers; i++)
		ck.workers[i] = (struct dafs_ck_worker){ .ck = &ck, .index = i };
	ck.main = &ck.workers[0];
	err = dafs_ck_open_super(&ck);
	if (!err)
		err = run_init(&ck);
	if (err)
		goto out;
	report->result.opened = true;
	err = run_passes(&ck);
	sum_stats(&ck);
out:
	run_fini(&ck);
	if (ck.dev)
		dafs_dev_close(ck.dev);
	return err;
}
