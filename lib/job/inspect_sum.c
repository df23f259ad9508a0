/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inspect_sum - free runs, and the layout of a whole image in figures (see inspect_frag.h). */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "job/inspect_frag.h"
#include "job/inspect_int.h"
#include "model/buddy.h"

/* ---- free runs ---- */

struct joining {
	bool joined;
	errcode_t (*fn)(void *arg, uint64_t pblk, uint64_t len);
	void *arg;
	uint64_t pblk, len; /* held back; len 0: nothing */
};

static errcode_t let_go(struct joining *j)
{
	uint64_t len = j->len;

	j->len = 0;
	return len ? j->fn(j->arg, j->pblk, len) : 0;
}

static errcode_t take_run(struct joining *j, uint64_t pblk, uint64_t len)
{
	errcode_t err;

	if (j->joined && j->len && j->pblk + j->len == pblk) {
		j->len += len;
		return 0;
	}
	err = let_go(j);
	j->pblk = pblk;
	j->len = len;
	return err;
}

static errcode_t group_runs(struct dafs_image *img, uint32_t grp, struct joining *j)
{
	uint64_t first = dafs_group_first_pblk(img, grp);
	struct dafs_buddy_run run = { 0 };
	struct dafs_buddy *buddy;
	const uint8_t *bits;
	errcode_t err = dafs_group_block_bits(img, grp, &bits);

	if (!err)
		err = dafs_buddy_new(bits, dafs_group_clusters(img, grp), &buddy);
	if (err)
		return err;
	while (!err && (run = dafs_buddy_first_fit(buddy, run.start + run.len, 1)).len) {
		uint64_t pblk = first + ((uint64_t)run.start << img->cluster_bits);
		uint64_t len = (uint64_t)run.len << img->cluster_bits;

		err = take_run(j, pblk, len < img->blocks - pblk ? len : img->blocks - pblk);
	}
	dafs_buddy_free(buddy);
	return err;
}

errcode_t dafs_inspect_free_runs(struct dafs_image *img, bool joined,
				 errcode_t (*fn)(void *arg, uint64_t pblk, uint64_t len), void *arg)
{
	struct joining j = { .joined = joined, .fn = fn, .arg = arg };
	struct dafs_damage damage = { 0 };
	errcode_t err = 0;

	for (uint32_t grp = 0; grp < dafs_group_count(img) && !err; grp++) {
		err = group_runs(img, grp, &j);
		if (err == DAFS_ET_CORRUPT_BITMAP || err == DAFS_ET_CORRUPT_GROUP)
			err = dafs_damage_note(&damage, img->ctx, err);
		if (!err)
			err = dafs_cancelled(img->ctx);
	}
	if (!err)
		err = let_go(&j);
	return dafs_damage_end(&damage, img->ctx, err);
}

errcode_t dafs_inspect_group_free(struct dafs_image *img, uint32_t grp, struct dafs_group_free *out)
{
	struct dafs_buddy_run first;
	struct dafs_buddy *buddy;
	const uint8_t *bits;
	errcode_t err;

	memset(out, 0, sizeof(*out));
	err = dafs_group_block_bits(img, grp, &bits);
	if (!err)
		err = dafs_buddy_new(bits, dafs_group_clusters(img, grp), &buddy);
	if (err)
		return err;
	first = dafs_buddy_first_fit(buddy, 0, 1);
	out->clusters = dafs_buddy_clusters(buddy);
	out->free = dafs_buddy_free_clusters(buddy);
	out->fragments = dafs_buddy_fragments(buddy);
	out->first = first.len ? first.start : out->clusters;
	out->largest = dafs_buddy_largest(buddy);
	out->norders = img->block_bits + 2;
	dafs_buddy_orders(buddy, img->block_bits + 1, out->orders);
	dafs_buddy_free(buddy);
	return 0;
}

/* ---- the summary ---- */

/* Where a file begins, and the block behind it. */
struct place {
	uint32_t ino;
	uint64_t pblk, end_pblk;
};

struct summing {
	struct dafs_image *img;
	struct dafs_frag_summary *sum;
	struct place *places; /* of the files with blocks, by inode number */
	size_t n, room;
};

static const struct place *place_of(const struct summing *s, uint32_t ino)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->places[mid].ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->n && s->places[lo].ino == ino ? &s->places[lo] : NULL;
}

static errcode_t sum_pieces(struct summing *s, const struct dafs_inspect *in, uint64_t *fragments)
{
	struct dafs_pieces pieces = { 0 };
	errcode_t err = dafs_inspect_pieces(s->img, in, true, &pieces);

	*fragments = dafs_inspect_fragments(&pieces);
	dafs_pieces_fini(&pieces);
	return err;
}

static errcode_t sum_file(struct summing *s, const struct dafs_inspect *in, uint64_t fragments)
{
	const struct dafs_extent *last = &in->extents.v[in->extents.n - 1];
	struct dafs_frag_summary *sum = s->sum;

	if (dafs_array_grow(&s->places, s->n, &s->room, sizeof(*s->places)))
		return ENOMEM;
	s->places[s->n++] =
		(struct place){ in->ino, in->extents.v[0].pblk, last->pblk + last->len };
	sum->files++;
	sum->extents += in->extents.n;
	sum->fragments += fragments;
	sum->fragmented += fragments > 1;
	sum->blks += dafs_extlist_blocks(&in->extents);
	if (fragments > 1 && fragments > sum->worst_fragments) {
		sum->worst_fragments = fragments;
		sum->worst_ino = in->ino;
	}
	return 0;
}

static errcode_t sum_inode(void *arg, const struct dafs_inspect *in)
{
	struct summing *s = arg;
	struct dafs_frag_summary *sum = s->sum;
	bool reserved = in->ino < EXT2_FIRST_INO(s->img->fs->super) && in->ino != EXT2_ROOT_INO;
	uint64_t fragments;
	errcode_t err;

	sum->tree_blks += in->nodes.n;
	if (!in->mapped && dafs_icodec_has_map(s->img, &in->buf.raw)) {
		sum->damaged++;
		return 0;
	}
	if (reserved || !in->extents.n)
		return 0;
	err = sum_pieces(s, in, &fragments);
	if (err)
		return dafs_damage_passable(err) ? 0 : err;
	if (S_ISDIR(in->attr.mode)) {
		sum->dirs++;
		sum->dir_fragments += fragments;
		sum->dir_blks += dafs_extlist_blocks(&in->extents);
	} else if (S_ISREG(in->attr.mode)) {
		err = sum_file(s, in, fragments);
	}
	return err;
}

static errcode_t sum_free(void *arg, uint64_t pblk, uint64_t len)
{
	struct dafs_frag_summary *sum = ((struct summing *)arg)->sum;

	(void)pblk;
	sum->free_runs++;
	sum->free_blks += len;
	if (len > sum->largest_free_blks)
		sum->largest_free_blks = len;
	return 0;
}

/* A directory's files with blocks, for sorting by name. */
struct neighbours {
	struct summing *s;
	struct neighbour {
		char name[EXT2_NAME_LEN + 1];
		const struct place *place;
	} *v;
	size_t n, room;
};

static errcode_t take_neighbour(void *arg, const struct dafs_inspect_dirent *de)
{
	struct neighbours *nb = arg;
	const struct place *place = place_of(nb->s, de->ino);

	if (!place)
		return 0;
	if (dafs_array_grow(&nb->v, nb->n, &nb->room, sizeof(*nb->v)))
		return ENOMEM;
	memcpy(nb->v[nb->n].name, de->name, de->name_len);
	nb->v[nb->n].name[de->name_len] = '\0';
	nb->v[nb->n++].place = place;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct neighbour *)a)->name, ((const struct neighbour *)b)->name);
}

static errcode_t sum_neighbours(void *arg, const struct dafs_inspect *in)
{
	struct neighbours nb = { .s = arg };
	struct summing *s = arg;
	errcode_t err;

	if (!S_ISDIR(in->attr.mode))
		return 0;
	err = dafs_inspect_dir(s->img, in, 0, take_neighbour, &nb);
	if (err && dafs_damage_passable(err)) {
		s->sum->damaged += in->mapped;
		err = 0;
	}
	if (nb.n)
		qsort(nb.v, nb.n, sizeof(*nb.v), by_name);
	for (size_t i = 1; i < nb.n; i++) {
		s->sum->pairs++;
		s->sum->adjacent += nb.v[i].place->pblk == nb.v[i - 1].place->end_pblk;
	}
	free(nb.v);
	return err;
}

errcode_t dafs_inspect_summary(struct dafs_image *img, struct dafs_frag_summary *sum)
{
	struct summing s = { .img = img, .sum = sum };
	struct dafs_damage damage = { 0 };
	errcode_t err;

	memset(sum, 0, sizeof(*sum));
	err = dafs_damage_note(&damage, img->ctx, dafs_inspect_each(img, false, sum_inode, &s));
	if (!err)
		err = dafs_damage_note(&damage, img->ctx,
				       dafs_inspect_each(img, false, sum_neighbours, &s));
	if (!err)
		err = dafs_damage_note(&damage, img->ctx,
				       dafs_inspect_free_runs(img, true, sum_free, &s));
	free(s.places);
	return dafs_damage_end(&damage, img->ctx, err);
}
