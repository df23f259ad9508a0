/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * submit - step 4 of a flush: the bytes of files into the blocks that the plan chose, before
 * anything refers to them.
 *
 * The runs are taken in physical order and cut into jobs of a few MiB, each of which covers as many
 * small files as fit. Reader threads fill jobs' buffers from the sources; the caller's thread
 * writes them, strictly in physical order, one write for each stretch that is contiguous on disk. A
 * long run whose source has a descriptor is copied by the device (which may share blocks) instead.
 *
 * A job's way: free -> (claimed by a reader) filling -> filled -> (written by the caller) free.
 * Jobs are claimed and written in the order of their number; job n uses slot n modulo the number of
 * slots.
 *
 * Invariant: nothing is written but runs of kind DAFS_RUN_DATA, whose blocks are free or unwritten
 * in the committed image.
 */
#include "config.h"

#include "write/plan_int.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	JOB_BYTES = 2 << 20,
	JOB_ALIGN = 4096,
	READERS_MOST = 8,
	COPY_LEAST_BYTES = 1 << 20, /* below this a copy call costs more than it saves */
	COPY_MOST_BYTES = 64 << 20, /* at a time, so that cancelling is prompt */
};

struct cursor { /* a place in the ordered runs */
	size_t at;
	uint32_t off_blks;
};

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_FILLED };

struct slot {
	enum slot_state state;
	struct cursor from;
	uint32_t nblks;
	bool copy; /* no bytes in buf: one stretch for the device to copy */
	uint8_t *buf;
};

struct submit {
	struct dafs_plan *plan;
	uint32_t *order; /* indexes of DATA runs by pblk */
	size_t n;
	uint64_t total_blks;
	uint32_t job_blks;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct slot *slots;
	unsigned nslots;
	struct cursor next;	   /* first run that no job has */
	uint64_t claimed, written; /* jobs */
	bool no_copy;		   /* the device said it cannot */
	bool stop;
	errcode_t err;
	char detail[sizeof(((struct dafs_ctx *)NULL)->detail)];
};

static const struct dafs_plan_run *run_at(const struct submit *s, const struct cursor *c)
{
	return &s->plan->runs[s->order[c->at]];
}

static void advance(const struct submit *s, struct cursor *c, uint32_t blks)
{
	c->off_blks += blks;
	if (c->off_blks == run_at(s, c)->len) {
		c->at++;
		c->off_blks = 0;
	}
}

/* ---- order ---- */

static int by_pblk(const void *a, const void *b, void *arg)
{
	const struct dafs_plan_run *runs = arg;
	uint64_t x = runs[*(const uint32_t *)a].pblk, y = runs[*(const uint32_t *)b].pblk;

	return x < y ? -1 : x > y;
}

static errcode_t order_runs(struct submit *s)
{
	const struct dafs_plan *plan = s->plan;
	bool sorted = true;

	s->order = malloc((plan->nruns ? plan->nruns : 1) * sizeof(*s->order));
	if (!s->order)
		return ENOMEM;
	for (size_t i = 0; i < plan->nruns; i++) {
		if (plan->runs[i].kind != DAFS_RUN_DATA)
			continue;
		if (s->n && plan->runs[s->order[s->n - 1]].pblk > plan->runs[i].pblk)
			sorted = false;
		s->order[s->n++] = (uint32_t)i;
		s->total_blks += plan->runs[i].len;
	}
	/* A fresh image is placed in order: nothing to sort. */
	if (!sorted)
		qsort_r(s->order, s->n, sizeof(*s->order), by_pblk, plan->runs);
	return 0;
}

/* ---- reading ---- */

/* Bytes of [lblk, lblk+nblks) of a file part; what is behind the end of file stays zero. */
static errcode_t fill_from_pages(struct dafs_plan *plan, struct dafs_ctx *ctx,
				 const struct dafs_inode *inode, uint32_t lblk, uint32_t nblks,
				 uint8_t *buf)
{
	const unsigned bits = plan->img->block_bits;
	uint32_t end = lblk + nblks;
	errcode_t err = 0;

	for (uint32_t at = lblk; at < end && !err;) {
		uint8_t *to = buf + ((size_t)(at - lblk) << bits);
		uint64_t off = (uint64_t)at << bits, len;
		struct dafs_page_run run;

		if (!dafs_pagecache_find(&inode->u.file->pages, at, end, &run) || run.lblk != at)
			return dafs_fail(ctx, DAFS_ET_INTERNAL,
					 "inode %llu: block %u has a place but no bytes",
					 (unsigned long long)inode->id, at);
		len = (uint64_t)run.len << bits;
		if (off + len > inode->size)
			len = inode->size > off ? inode->size - off : 0;
		if (run.src && len)
			err = run.src->ops->read(run.src, ctx, to, (size_t)len, run.src_off_bytes);
		else
			len = 0;
		memset(to + len, 0, ((size_t)run.len << bits) - (size_t)len);
		at += run.len;
	}
	return err;
}

static errcode_t fill_piece(struct dafs_plan *plan, struct dafs_ctx *ctx,
			    const struct dafs_inode *inode, uint32_t lblk, uint32_t nblks,
			    uint8_t *buf)
{
	const unsigned bits = plan->img->block_bits;
	uint64_t off = (uint64_t)lblk << bits, len = (uint64_t)nblks << bits;
	errcode_t err;

	if (!(inode->state & DAFS_I_WHOLE))
		return fill_from_pages(plan, ctx, inode, lblk, nblks, buf);
	if (off + len > inode->size)
		len = inode->size - off;
	err = inode->u.whole->ops->read(inode->u.whole, ctx, buf, (size_t)len, off);
	memset(buf + len, 0, ((size_t)nblks << bits) - (size_t)len);
	return err;
}

errcode_t dafs_submit_first(struct dafs_plan *plan, size_t item, void *block)
{
	return fill_piece(plan, plan->img->ctx, plan->cs->inodes[item], 0, 1, block);
}

errcode_t dafs_submit_read(struct dafs_plan *plan, const struct dafs_plan_run *run,
			   uint32_t off_blks, uint32_t nblks, void *buf)
{
	return fill_piece(plan, plan->img->ctx, plan->cs->inodes[run->item], run->lblk + off_blks,
			  nblks, buf);
}

static errcode_t fill(struct submit *s, struct dafs_ctx *ctx, const struct slot *slot)
{
	struct cursor c = slot->from;
	uint8_t *to = slot->buf;
	errcode_t err = 0;

	for (uint32_t left = slot->nblks; left && !err;) {
		const struct dafs_plan_run *run = run_at(s, &c);
		uint32_t n = run->len - c.off_blks < left ? run->len - c.off_blks : left;

		err = fill_piece(s->plan, ctx, s->plan->cs->inodes[run->item],
				 run->lblk + c.off_blks, n, to);
		to += (size_t)n << s->plan->img->block_bits;
		left -= n;
		advance(s, &c, n);
	}
	return err;
}

/* ---- copying ---- */

/* The source behind a place in a run, and how many whole blocks from there on it has in one piece.
 */
static struct dafs_source *source_at(const struct submit *s, const struct cursor *c,
				     uint64_t *src_off, uint32_t *nblks)
{
	const struct dafs_plan_run *run = run_at(s, c);
	const struct dafs_inode *inode = s->plan->cs->inodes[run->item];
	const unsigned bits = s->plan->img->block_bits;
	uint32_t lblk = run->lblk + c->off_blks, n = run->len - c->off_blks;
	uint64_t whole = inode->size >> bits;
	struct dafs_page_run page;

	if (lblk >= whole)
		return NULL;
	if (n > whole - lblk)
		n = (uint32_t)(whole - lblk);
	*src_off = (uint64_t)lblk << bits;
	*nblks = n;
	if (inode->state & DAFS_I_WHOLE)
		return inode->u.whole;
	if (!dafs_pagecache_find(&inode->u.file->pages, lblk, lblk + n, &page) || page.lblk != lblk)
		return NULL;
	*src_off = page.src_off_bytes;
	*nblks = page.len;
	return page.src;
}

/* Is what comes next worth a copy call? Then *nblks says how much of it. */
static bool copyable(const struct submit *s, const struct cursor *c, uint32_t *nblks)
{
	const unsigned bits = s->plan->img->block_bits;
	struct dafs_source *src;
	uint64_t off;

	if (s->no_copy)
		return false;
	src = source_at(s, c, &off, nblks);
	if (!src || !src->ops->get_fd || (uint64_t)*nblks << bits < COPY_LEAST_BYTES)
		return false;
	if (*nblks > (uint32_t)(COPY_MOST_BYTES >> bits))
		*nblks = (uint32_t)(COPY_MOST_BYTES >> bits);
	return true;
}

static bool cannot_copy(errcode_t err)
{
	return err == EXDEV || err == EOPNOTSUPP || err == EINVAL || err == ENOSYS ||
	       err == ETXTBSY;
}

static errcode_t copy_job(struct submit *s, const struct slot *slot)
{
	struct dafs_image *img = s->plan->img;
	const struct dafs_plan_run *run = run_at(s, &slot->from);
	uint64_t src_off, len = (uint64_t)slot->nblks << img->block_bits;
	uint32_t most;
	struct dafs_source *src = source_at(s, &slot->from, &src_off, &most);
	errcode_t err = 0;
	int fd = src->ops->get_fd(src, img->ctx, &err);

	if (fd < 0)
		return err ? err : EOPNOTSUPP;
	if (src->ops->check)
		err = src->ops->check(src, img->ctx, src_off, len);
	if (!err)
		err = dafs_dev_copy_from(img->dev, fd, src_off,
					 (run->pblk + slot->from.off_blks) << img->block_bits, len);
	if (src->ops->put_fd)
		src->ops->put_fd(src, fd);
	if (!err) {
		s->plan->stats.copied_bytes += len;
		/* Hosts share whole blocks of their own, of 4 KiB as a rule. */
		if (!((src_off | (run->pblk + slot->from.off_blks) << img->block_bits) & 4095))
			s->plan->stats.shared_bytes += len;
	}
	if (!err)
		dafs_plan_trace_submit(s->plan, run->pblk + slot->from.off_blks, slot->nblks);
	return err;
}

/* One write call. */
static errcode_t put_blks(struct submit *s, const void *buf, uint64_t pblk, uint64_t nblks)
{
	struct dafs_image *img = s->plan->img;
	errcode_t err = dafs_dev_write(img->dev, buf, (size_t)nblks << img->block_bits,
				       pblk << img->block_bits);

	s->plan->stats.data_writes++;
	if (!err)
		dafs_plan_trace_submit(s->plan, pblk, nblks);
	return err;
}

/* The device cannot copy (other file system, say): read and write this job's blocks here, and ask
 * no more. */
static errcode_t copy_by_hand(struct submit *s, const struct slot *slot)
{
	const struct dafs_plan_run *run = run_at(s, &slot->from);
	uint8_t *buf = malloc(JOB_BYTES);
	errcode_t err = buf ? 0 : ENOMEM;

	for (uint32_t done = 0; done < slot->nblks && !err;) {
		uint32_t n = slot->nblks - done < s->job_blks ? slot->nblks - done : s->job_blks;
		uint32_t off = slot->from.off_blks + done;

		err = dafs_submit_read(s->plan, run, off, n, buf);
		if (!err)
			err = put_blks(s, buf, run->pblk + off, n);
		done += n;
	}
	free(buf);
	return err;
}

/* ---- jobs ---- */

/* Take the next job, if there is one (lock held; the slot is free). */
static bool claim(struct submit *s, struct slot *slot)
{
	uint32_t n;

	if (s->next.at == s->n)
		return false;
	slot->from = s->next;
	slot->nblks = 0;
	slot->copy = copyable(s, &s->next, &n);
	if (slot->copy) {
		slot->nblks = n;
		advance(s, &s->next, n);
		return true;
	}
	while (s->next.at < s->n && slot->nblks < s->job_blks &&
	       !(slot->nblks && copyable(s, &s->next, &n))) {
		const struct dafs_plan_run *run = run_at(s, &s->next);

		n = run->len - s->next.off_blks;
		if (n > s->job_blks - slot->nblks)
			n = s->job_blks - slot->nblks;
		slot->nblks += n;
		advance(s, &s->next, n);
	}
	return true;
}

/* Write what a job holds: one call for each stretch that is contiguous on disk. */
static errcode_t write_job(struct submit *s, const struct slot *slot)
{
	struct dafs_image *img = s->plan->img;
	struct cursor c = slot->from;
	const uint8_t *from = slot->buf;
	uint64_t start = 0, len = 0;
	errcode_t err = 0;

	if (slot->copy) {
		err = s->no_copy ? EOPNOTSUPP : copy_job(s, slot);
		if (!cannot_copy(err))
			return err;
		pthread_mutex_lock(&s->lock);
		s->no_copy = true;
		pthread_mutex_unlock(&s->lock);
		return copy_by_hand(s, slot);
	}
	for (uint32_t left = slot->nblks; left && !err;) {
		const struct dafs_plan_run *run = run_at(s, &c);
		uint32_t n = run->len - c.off_blks < left ? run->len - c.off_blks : left;
		uint64_t pblk = run->pblk + c.off_blks;

		if (len && start + len != pblk) {
			err = put_blks(s, from, start, len);
			from += len << img->block_bits;
			len = 0;
		}
		if (!len)
			start = pblk;
		len += n;
		left -= n;
		advance(s, &c, n);
	}
	return err || !len ? err : put_blks(s, from, start, len);
}

static void fail(struct submit *s, errcode_t err, const struct dafs_ctx *ctx)
{
	s->stop = true;
	if (s->err)
		return;
	s->err = err;
	memcpy(s->detail, ctx->detail, sizeof(s->detail));
}

/* A reader: claim a job, fill it, until there are none. It has a context of its own for the detail
 * of its errors. */
static void *reader(void *arg)
{
	struct submit *s = arg;
	struct dafs_ctx ctx = *s->plan->img->ctx;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		struct slot *slot = &s->slots[s->claimed % s->nslots];
		errcode_t err = 0;

		if (s->next.at == s->n)
			break;
		if (slot->state != SLOT_FREE) {
			pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		if (!claim(s, slot))
			break;
		s->claimed++;
		slot->state = SLOT_FILLING;
		pthread_mutex_unlock(&s->lock);
		if (!slot->copy)
			err = fill(s, &ctx, slot);
		pthread_mutex_lock(&s->lock);
		if (err)
			fail(s, err, &ctx);
		slot->state = SLOT_FILLED;
		pthread_cond_broadcast(&s->changed);
	}
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static errcode_t report(struct submit *s, uint64_t done_blks)
{
	struct dafs_ctx *ctx = s->plan->img->ctx;
	const unsigned bits = s->plan->img->block_bits;

	dafs_progress(ctx, "writing", done_blks << bits, s->total_blks << bits);
	return dafs_cancelled(ctx);
}

/* The caller's thread: jobs in their order. With the lock dropped around I/O. */
static void writer(struct submit *s)
{
	uint64_t done_blks = 0;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		struct slot *slot = &s->slots[s->written % s->nslots];
		errcode_t err;

		if (s->written == s->claimed && s->next.at == s->n)
			break;
		if (s->written == s->claimed || slot->state != SLOT_FILLED) {
			pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		err = write_job(s, slot);
		done_blks += slot->nblks;
		if (!err)
			err = report(s, done_blks);
		pthread_mutex_lock(&s->lock);
		if (err)
			fail(s, err, s->plan->img->ctx);
		slot->state = SLOT_FREE;
		s->written++;
		pthread_cond_broadcast(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
}

/* One thread: read and write in turn. */
static errcode_t alone(struct submit *s)
{
	struct slot *slot = &s->slots[0];
	uint64_t done_blks = 0;
	errcode_t err = 0;

	while (!err && claim(s, slot)) {
		if (!slot->copy)
			err = fill(s, s->plan->img->ctx, slot);
		if (!err)
			err = write_job(s, slot);
		done_blks += slot->nblks;
		if (!err)
			err = report(s, done_blks);
	}
	return err;
}

static errcode_t together(struct submit *s, unsigned readers)
{
	pthread_t thread[READERS_MOST];
	unsigned started = 0;

	while (started < readers && !pthread_create(&thread[started], NULL, reader, s))
		started++;
	if (!started)
		return alone(s);
	writer(s);
	for (unsigned i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	if (s->err)
		memcpy(s->plan->img->ctx->detail, s->detail, sizeof(s->detail));
	return s->err;
}

static errcode_t open_slots(struct submit *s, unsigned readers)
{
	/* One that is written, one for each reader, one that waits. */
	s->nslots = readers > 1 ? readers + 2 : readers ? 3 : 1;
	s->slots = calloc(s->nslots, sizeof(*s->slots));
	if (!s->slots)
		return ENOMEM;
	for (unsigned i = 0; i < s->nslots; i++) {
		s->slots[i].buf = aligned_alloc(JOB_ALIGN, JOB_BYTES);
		if (!s->slots[i].buf)
			return ENOMEM;
	}
	return 0;
}

errcode_t dafs_submit_data(struct dafs_plan *plan)
{
	struct submit s = { .plan = plan,
			    .job_blks = (uint32_t)(JOB_BYTES >> plan->img->block_bits) };
	unsigned readers = dafs_threads(plan->img->ctx);
	errcode_t err;

	s.no_copy = !dafs_dev_shares(plan->img->dev);
	pthread_mutex_init(&s.lock, NULL);
	pthread_cond_init(&s.changed, NULL);
	err = order_runs(&s);
	/* Little work is not worth threads, and neither is a single CPU. */
	if (readers == 1 || s.total_blks <= s.job_blks)
		readers = 0;
	if (readers > READERS_MOST)
		readers = READERS_MOST;
	if (!err && s.n)
		err = open_slots(&s, readers);
	if (!err && s.n)
		err = readers ? together(&s, readers) : alone(&s);
	plan->stats.data_blks = s.total_blks;
	for (unsigned i = 0; s.slots && i < s.nslots; i++)
		free(s.slots[i].buf);
	free(s.slots);
	free(s.order);
	pthread_cond_destroy(&s.changed);
	pthread_mutex_destroy(&s.lock);
	return err;
}
