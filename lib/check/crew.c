/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crew - the workers of a run and their scratch memory.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#define AHEAD_ITEMS 4u

struct crew {
	struct dafs_ck *ck;
	_Atomic uint64_t next;
	uint64_t n;
	dafs_ck_item_fn fn;
	dafs_ck_ahead_fn ahead; /* NULL: none */
	uint64_t distance;	/* items */
	_Atomic bool stop;
};

struct hand {
	struct crew *crew;
	struct dafs_ck_worker *w;
};

/* Say what is to be read for the item as far ahead as it goes; who takes the first one says what is
 * in between, too. */
static void look_ahead(struct crew *crew, struct dafs_ck_worker *w, uint64_t item)
{
	uint64_t at = item ? item + crew->distance : 0, end = item + crew->distance + 1;

	for (; at < end && at < crew->n; at++)
		crew->ahead(w, at);
	dafs_ck_ahead_flush(w);
}

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
		if (crew->ahead)
			look_ahead(crew, w, item);
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
	return dafs_ck_parallel_ahead(ck, n, fn, NULL);
}

errcode_t dafs_ck_parallel_ahead(struct dafs_ck *ck, uint64_t n, dafs_ck_item_fn fn,
				 dafs_ck_ahead_fn ahead)
{
	struct crew crew = {
		.ck = ck, .n = n, .fn = fn, .ahead = ahead, .distance = ck->nworkers + AHEAD_ITEMS
	};
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
	w->window = malloc(DAFS_CK_WINDOW_BYTES);
	if (!w->level[0] || !w->window)
		return ENOMEM;
	for (unsigned i = 1; i < 16; i++)
		w->level[i] = w->level[0] + (size_t)i * bs;
	w->xblk = w->level[0] + (size_t)16 * bs;
	w->tmp = w->level[0] + (size_t)17 * bs;
	return 0;
}

errcode_t dafs_ck_crew_init(struct dafs_ck *ck)
{
	errcode_t err = 0;

	for (unsigned i = 0; i < ck->nworkers && !err; i++)
		err = worker_buffers(&ck->workers[i]);
	return err;
}

void dafs_ck_crew_fini(struct dafs_ck *ck)
{
	for (unsigned i = 0; ck->workers && i < ck->nworkers; i++) {
		worker_fini(&ck->workers[i]);
		ck->workers[i] = (struct dafs_ck_worker){ .ck = ck, .index = i };
	}
}
