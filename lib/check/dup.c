/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dup - pass 1b: who claims the blocks that were claimed more than once?
 *
 * Runs only when pass 1 found some. Every inode's blocks are walked again; the inodes that own such
 * a cluster are reported in order. Leaves for the next: no block with two owners. Repairs are in
 * clone.c.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

static void look_run(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
		     uint64_t len, bool map)
{
	const struct dafs_ck *ck = w->ck;
	struct dafs_ck_owner *owner = arg;
	uint64_t first = dafs_ck_cluster(ck, pblk), end = dafs_ck_cluster(ck, pblk + len - 1) + 1;
	uint64_t at = dafs_ck_bits_next(&ck->dup, first, true);

	(void)lblk;
	(void)map;
	if (at >= end)
		return;
	if (!owner->clusters) {
		uint64_t dup_pblk = ck->g.first + (at << ck->g.cbits);

		owner->first_pblk = dup_pblk < pblk ? pblk : dup_pblk;
	}
	owner->clusters += dafs_ck_bits_count(&ck->dup, first, end - first);
	for (; at < end && !owner->metadata; at = dafs_ck_bits_next(&ck->dup, at + 1, true))
		owner->metadata = dafs_ck_is_meta(ck, ck->g.first + (at << ck->g.cbits));
}

static errcode_t look_inode(struct dafs_ck_worker *w, uint32_t ino, struct ext2_inode_large *raw)
{
	struct dafs_ck *ck = w->ck;
	struct dafs_ck_owner owner = { .ino = ino }, *kept;
	uint64_t acl;

	if (!dafs_ck_read_inode(w, ino, raw))
		return w->err;
	dafs_ck_walk(w, ino, raw, look_run, &owner);
	acl = dafs_ck_acl(ck, raw);
	if (acl && ck->g.xattr && dafs_ck_blk_ok(ck, acl))
		look_run(w, &owner, 0, acl, 1, true);
	if (!owner.clusters || w->err)
		return w->err;
	kept = dafs_ck_vec_add(&w->owners, sizeof(*kept));
	if (!kept)
		return ENOMEM;
	*kept = owner;
	return 0;
}

static errcode_t look_group(struct dafs_ck_worker *w, uint64_t item)
{
	struct dafs_ck *ck = w->ck;
	struct ext2_inode_large *raw = malloc(ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	errcode_t err = raw ? 0 : ENOMEM;

	for (uint32_t i = 0; i < ck->g.ipg && !err; i++) {
		uint32_t ino = (uint32_t)item * ck->g.ipg + i + 1;
		unsigned flags = dafs_ck_ino_flags(ck, ino);

		/* The resize inode maps metadata by design. */
		if (flags & DAFS_CKI_USED && !(flags & DAFS_CKI_BB) && ino != EXT2_RESIZE_INO &&
		    ino != EXT2_BAD_INO)
			err = look_inode(w, ino, raw);
	}
	free(raw);
	return err;
}

static int owner_cmp(const void *a, const void *b)
{
	const struct dafs_ck_owner *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

errcode_t dafs_ck_pass1b(struct dafs_ck *ck)
{
	struct dafs_ck_vec all = { 0 };
	bool fix = false;
	errcode_t err;

	if (dafs_ck_bits_next(&ck->dup, 0, true) == ck->dup.nbits)
		return 0;
	err = dafs_ck_parallel(ck, ck->g.groups, look_group);
	for (unsigned i = 0; i < ck->nworkers; i++) {
		const struct dafs_ck_owner *from = ck->workers[i].owners.v;

		for (size_t k = 0; k < ck->workers[i].owners.n && !err; k++) {
			struct dafs_ck_owner *to = dafs_ck_vec_add(&all, sizeof(*to));

			if (to)
				*to = from[k];
			else
				err = ENOMEM;
		}
		dafs_ck_vec_fini(&ck->workers[i].owners);
	}
	if (all.n)
		qsort(all.v, all.n, sizeof(struct dafs_ck_owner), owner_cmp);
	for (size_t i = 0; i < all.n && !err; i++) {
		const struct dafs_ck_owner *owner = (struct dafs_ck_owner *)all.v + i;

		if (DAFS_CK_FIND(ck->main, DUP_INODE, .ino = owner->ino, .len = owner->clusters,
				 .blk = owner->first_pblk,
				 .text = owner->metadata ? "the file system's metadata"
							 : "another file"))
			fix = true;
	}
	if (fix && !err)
		err = dafs_ck_clone_all(ck, all.v, all.n);
	dafs_ck_vec_fini(&all);
	return err;
}
