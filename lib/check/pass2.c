/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pass2 - every directory: read its blocks, look at them, count what they name.
 *
 * Verifies: directory blocks, entries, indexes. Leaves for the next: refs (how often each inode is
 * named), each directory's parent and what its .. says.
 *
 * A directory that two names claim: the first claim in the order of e2fsck (first blocks before
 * others, then by physical block) is kept.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#define BATCH	   16u /* directories an item */
#define AHEAD_RUNS 8u
#define AHEAD_BLKS 64u

/* ---- counting ---- */

static errcode_t publish(struct dafs_ck_worker *w)
{
	const uint32_t *refs = w->refs.v;
	const struct dafs_ck_claim *claims = w->new_subdirs.v;

	for (size_t i = 0; i < w->refs.n; i++)
		dafs_ck_refs_add(w->ck, refs[i]);
	for (size_t i = 0; i < w->new_subdirs.n; i++) {
		struct dafs_ck_claim *claim = dafs_ck_vec_add(&w->subdirs, sizeof(*claim));

		if (!claim)
			return ENOMEM;
		*claim = claims[i];
	}
	return 0;
}

/* ---- the pass ---- */

static errcode_t look_batch(struct dafs_ck_worker *w, uint64_t item)
{
	struct dafs_ck *ck = w->ck;
	size_t end = (item + 1) * BATCH < ck->ndirs ? (item + 1) * BATCH : ck->ndirs;
	errcode_t err = 0;

	for (size_t i = item * BATCH; i < end && !err; i++) {
		struct dafs_ck_dir *dir = &ck->dirs[ck->dir_order[i]];
		uint32_t dotdot = dir->dotdot, *later;

		if (!(dafs_ck_ino_flags(ck, dir->ino) & DAFS_CKI_USED))
			continue;
		w->dir_at = i;
		err = dafs_ck_dir_look(w, dir);
		if (err)
			break;
		if (!w->put_off) {
			err = publish(w);
			continue;
		}
		dir->dotdot = dotdot;
		later = dafs_ck_vec_add(&w->later, sizeof(*later));
		if (later)
			*later = ck->dir_order[i];
		else
			err = ENOMEM;
	}
	return err;
}

static void ahead_batch(struct dafs_ck_worker *w, uint64_t item)
{
	const struct dafs_ck *ck = w->ck;
	size_t end = (item + 1) * BATCH < ck->ndirs ? (item + 1) * BATCH : ck->ndirs;

	for (size_t i = item * BATCH; i < end; i++) {
		const struct dafs_ck_dir *dir = &ck->dirs[ck->dir_order[i]];
		const struct dafs_ck_dext *runs = ck->dexts + dir->dext;

		/* (Of a large one the host notices by itself that it is read on and on.) */
		for (uint32_t k = 0; k < dir->ndext && k < AHEAD_RUNS; k++)
			dafs_ck_ahead(w, runs[k].pblk,
				      runs[k].len < AHEAD_BLKS ? runs[k].len : AHEAD_BLKS);
	}
}

static uint64_t first_blk(const struct dafs_ck *ck, uint32_t index)
{
	const struct dafs_ck_dir *dir = &ck->dirs[index];

	return dir->ndext ? ck->dexts[dir->dext].pblk : 0;
}

static int place_cmp(const void *a, const void *b, void *arg)
{
	uint64_t x = first_blk(arg, *(const uint32_t *)a), y = first_blk(arg, *(const uint32_t *)b);

	return x < y ? -1 : x > y;
}

/* Directories are read in the order in which they lie, not in that of their numbers. */
static errcode_t order_dirs(struct dafs_ck *ck)
{
	bool sorted = true;

	ck->dir_order = malloc((ck->ndirs + 1) * sizeof(*ck->dir_order));
	if (!ck->dir_order)
		return ENOMEM;
	for (size_t i = 0; i < ck->ndirs; i++) {
		ck->dir_order[i] = (uint32_t)i;
		sorted &= !i || first_blk(ck, (uint32_t)i) >= first_blk(ck, (uint32_t)i - 1);
	}
	if (!sorted)
		qsort_r(ck->dir_order, ck->ndirs, sizeof(*ck->dir_order), place_cmp, ck);
	return 0;
}

static int index_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static errcode_t look_again_all(struct dafs_ck *ck)
{
	struct dafs_ck_vec all = { 0 };
	struct dafs_ck_worker *w = ck->main;
	errcode_t err = 0;

	for (unsigned i = 0; i < ck->nworkers && !err; i++) {
		const uint32_t *from = ck->workers[i].later.v;

		for (size_t k = 0; k < ck->workers[i].later.n; k++) {
			uint32_t *to = dafs_ck_vec_add(&all, sizeof(*to));

			if (!to) {
				err = ENOMEM;
				break;
			}
			*to = from[k];
		}
		dafs_ck_vec_fini(&ck->workers[i].later);
	}
	if (all.n)
		qsort(all.v, all.n, sizeof(uint32_t), index_cmp);
	for (size_t i = 0; i < all.n && !err; i++) {
		struct dafs_ck_dir *dir = &ck->dirs[((uint32_t *)all.v)[i]];

		if (!(dafs_ck_ino_flags(ck, dir->ino) & DAFS_CKI_USED))
			continue;
		err = dafs_ck_dir_look(w, dir);
		if (!err)
			err = publish(w);
	}
	dafs_ck_vec_fini(&all);
	return err;
}

/* ---- parents ---- */

static bool by_first_blks; /* qsort has no argument; set once a run by the serial caller */

static int claim_cmp(const void *a, const void *b)
{
	const struct dafs_ck_claim *x = a, *y = b;

	if (x->child != y->child)
		return x->child < y->child ? -1 : 1;
	if (by_first_blks && !x->lblk != !y->lblk)
		return x->lblk ? 1 : -1;
	if (x->pblk != y->pblk)
		return x->pblk < y->pblk ? -1 : 1;
	if (x->dir != y->dir)
		return x->dir < y->dir ? -1 : 1;
	return x->off < y->off ? -1 : x->off > y->off;
}

/* A second name of a directory. */
static errcode_t second_name(struct dafs_ck *ck, const struct dafs_ck_claim *claim)
{
	struct dafs_ck_worker *w = ck->main;
	uint8_t *buf = w->tmp;
	const struct ext2_dir_entry_2 *de = (const void *)(buf + claim->off);
	errcode_t err = 0;

	/* Inline directories have no block; their entry is named by its number only. */
	if (claim->pblk)
		err = dafs_ck_read(w, claim->pblk, 1, buf);
	if (err)
		return err;
	if (!DAFS_CK_FIND(w, ENT_LINK_DIR, .ino = claim->dir, .dir = claim->dir,
			  .ref = claim->child, .blk = claim->pblk, .lblk = claim->lblk,
			  .off = claim->off, .name = claim->pblk ? de->name : NULL,
			  .name_len = claim->pblk ? de->name_len : 0))
		return 0;
	ck->again = true;
	return dafs_ck_entry_clear(ck, claim);
}

static errcode_t settle_parents(struct dafs_ck *ck)
{
	struct dafs_ck_vec all = { 0 };
	const struct dafs_ck_claim *v;
	errcode_t err = 0;

	for (unsigned i = 0; i < ck->nworkers && !err; i++) {
		const struct dafs_ck_claim *from = ck->workers[i].subdirs.v;

		for (size_t k = 0; k < ck->workers[i].subdirs.n && !err; k++) {
			struct dafs_ck_claim *to = dafs_ck_vec_add(&all, sizeof(*to));

			if (to)
				*to = from[k];
			else
				err = ENOMEM;
		}
		dafs_ck_vec_fini(&ck->workers[i].subdirs);
	}
	by_first_blks = ck->g.dir_index;
	if (all.n)
		qsort(all.v, all.n, sizeof(*v), claim_cmp);
	v = all.v;
	for (size_t i = 0; i < all.n && !err; i++) {
		struct dafs_ck_dir *child = dafs_ck_dir(ck, v[i].child);

		if (i && v[i].child == v[i - 1].child)
			err = second_name(ck, &v[i]);
		else if (child)
			child->parent = v[i].dir;
	}
	dafs_ck_vec_fini(&all);
	return err;
}

static void check_features(struct dafs_ck *ck)
{
	uint64_t large_files = 0, large_dirs = 0;

	for (unsigned i = 0; i < ck->nworkers; i++) {
		large_files += ck->workers[i].stats.large_files;
		large_dirs += ck->workers[i].stats.large_dirs;
	}
	if (large_dirs && !ck->g.large_dir && DAFS_CK_FIND(ck->main, FEATURE_LARGE_DIR)) {
		ext2fs_set_feature_largedir(&ck->sb);
		ck->backups = ck->again = true;
	}
	if (large_files && !ext2fs_has_feature_large_file(&ck->sb) &&
	    DAFS_CK_FIND(ck->main, FEATURE_LARGE_FILE)) {
		ext2fs_set_feature_large_file(&ck->sb);
		ck->backups = true;
	}
}

errcode_t dafs_ck_pass2(struct dafs_ck *ck)
{
	struct dafs_ck_dir *root = dafs_ck_dir(ck, EXT2_ROOT_INO);
	errcode_t err;

	if (ck->g.casefold)
		ck->nls = ext2fs_load_nls_table(ck->sb.s_encoding);
	err = order_dirs(ck);
	if (!err)
		err = dafs_ck_parallel_ahead(ck, (ck->ndirs + BATCH - 1) / BATCH, look_batch,
					     ahead_batch);
	free(ck->dir_order);
	ck->dir_order = NULL;
	if (!err)
		err = look_again_all(ck);
	if (!err)
		err = settle_parents(ck);
	if (root)
		root->parent = EXT2_ROOT_INO;
	check_features(ck);
	/* Holes were asked to be filled. */
	if (!err && ck->remaps.n)
		err = dafs_ck_remap_all(ck);
	return err;
}
