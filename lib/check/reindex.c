/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reindex - directories written anew: those that lost their index in this run get one, when
 * everything else about them is in order; where it is asked for, all that become smaller or get an
 * index by it.
 *
 * All names of the directory are sorted by hash and dealt to its blocks anew. A directory that fits
 * into one block, or whose hash cannot be made, is linear: its names stay in their order.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/dirblock.h"
#include "image/dirindex.h"
#include "image/icodec.h"

#define DOT_BYTES 12u /* of the entry "." */

struct item {
	uint32_t hash, minor;
	uint32_t bytes; /* that the entry needs */
	uint32_t order; /* place in the directory */
	const struct dafs_dirent_disk *de;
};

struct job {
	struct dafs_ck *ck;
	struct ext2_inode_large *raw;
	struct dafs_ck_dir dir;
	struct dafs_ck_flat flat;
	uint32_t nblks, seed, parent, room, extra;
	uint8_t *old; /* all its blocks */
	struct dafs_ck_vec items;
	struct dafs_dx dx;
	size_t *first; /* of each leaf, in items */
	uint32_t used; /* blocks of the new directory; 0: it stays as it is */
	bool tidy;     /* asked for */
	bool indexed;  /* it has an index */
	bool linear;   /* it gets none */
};

static void job_fini(struct job *j)
{
	dafs_ck_flat_fini(&j->flat);
	dafs_ck_vec_fini(&j->items);
	dafs_dx_fini(&j->dx);
	free(j->first);
	free(j->old);
	free(j->raw);
}

static uint64_t pblk_of(const struct job *j, uint32_t lblk)
{
	const struct dafs_extent *e = &j->flat.xl.v[dafs_extlist_search(&j->flat.xl, lblk)];

	return e->pblk + (lblk - e->lblk);
}

/* The directory with all its blocks. False: there is nothing that could be done for it. */
static bool open_dir(struct job *j, uint32_t ino, errcode_t *err)
{
	struct dafs_ck *ck = j->ck;
	uint64_t blks;

	j->raw = dafs_ck_raw_alloc(ck);
	*err = j->raw ? 0 : ENOMEM;
	if (*err || !dafs_ck_read_inode(ck->main, ino, j->raw))
		return false;
	j->indexed = j->raw->i_flags & EXT2_INDEX_FL;
	if (!LINUX_S_ISDIR(j->raw->i_mode) || !j->raw->i_links_count ||
	    j->raw->i_flags & EXT4_INLINE_DATA_FL || (j->indexed && !j->tidy))
		return false;
	j->dir = (struct dafs_ck_dir){ .ino = ino,
				       .generation = j->raw->i_generation,
				       .iflags = j->raw->i_flags };
	*err = dafs_ck_flat_read(ck, ino, j->raw, &j->flat);
	if (*err)
		return false;
	blks = dafs_extlist_blocks(&j->flat.xl);
	if (blks < (j->tidy ? 2 : 3) || blks != dafs_extent_end(&j->flat.xl.v[j->flat.xl.n - 1]) ||
	    blks > UINT32_MAX >> ck->g.block_bits)
		return false;
	j->nblks = (uint32_t)blks;
	j->seed = dafs_icodec_seed(&ck->img, ino, j->raw->i_generation);
	j->room = dafs_dirblock_room(&ck->img);
	/* Encrypted and casefolded: the entry carries its hash. */
	if (j->raw->i_flags & EXT4_ENCRYPT_FL && j->raw->i_flags & EXT4_CASEFOLD_FL)
		j->extra = 8;
	j->old = malloc((size_t)blks << ck->g.block_bits);
	*err = j->old ? 0 : ENOMEM;
	for (uint32_t i = 0; i < j->nblks && !*err; i++)
		*err = dafs_ck_read(ck->main, pblk_of(j, i), 1,
				    j->old + ((size_t)i << ck->g.block_bits));
	return !*err;
}

static unsigned hash_version(const struct dafs_ck *ck, const struct job *j)
{
	unsigned version = ck->sb.s_def_hash_version;

	if (j->extra)
		return EXT2_HASH_SIPHASH;
	return version > EXT2_HASH_TEA ? EXT2_HASH_HALF_MD4 : version;
}

static bool add_item(struct job *j, const struct dafs_dirent_disk *de, errcode_t *err)
{
	const struct dafs_ck *ck = j->ck;
	struct item *item = dafs_ck_vec_add(&j->items, sizeof(*item));
	unsigned version = hash_version(ck, j);

	if (!item) {
		*err = ENOMEM;
		return false;
	}
	item->de = de;
	item->order = (uint32_t)j->items.n;
	item->bytes = dafs_dirblock_need(de->name_len) + j->extra;
	if (j->linear)
		return true;
	if (version <= EXT2_HASH_TEA && ck->sb.s_flags & EXT2_FLAGS_UNSIGNED_HASH)
		version += 3;
	j->linear = !dafs_ck_dx_hash(ck, &j->dir, version, de->name, de->name_len, &item->hash,
				     &item->minor);
	item->hash &= ~1u;
	return j->tidy || !j->linear;
}

/* False: the block is not in order, or a name cannot be hashed. */
static bool add_items(struct job *j, uint32_t lblk, errcode_t *err)
{
	struct dafs_ck *ck = j->ck;
	const uint8_t *buf = j->old + ((size_t)lblk << ck->g.block_bits);

	if (j->indexed && !lblk) {
		j->parent = dafs_dirblock_at(buf, DOT_BYTES)->ino;
		return true;
	}
	if (j->indexed && dafs_dirblock_looks_node(&ck->img, buf))
		return true;
	if (dafs_dirblock_problem(&ck->img, buf, j->room, j->raw->i_flags & EXT4_ENCRYPT_FL, !lblk))
		return false;
	for (uint32_t off = 0; off < j->room;) {
		const struct dafs_dirent_disk *de = dafs_dirblock_at(buf, off);

		off += dafs_dirblock_len(ck->g.block_size, de->rec_len);
		if (!lblk && off <= DAFS_DIR_DOTS_BYTES && de->name_len == 1)
			continue;
		if (!lblk && de->name_len == 2 && !memcmp(de->name, "..", 2)) {
			j->parent = de->ino;
			continue;
		}
		if (de->ino && !add_item(j, de, err))
			return false;
	}
	return true;
}

static int item_cmp(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->minor != y->minor)
		return x->minor < y->minor ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* Deal the items to leaves of up to room bytes, of which the first leaf has some taken; their
 * number, and with first where each begins. */
static size_t deal(const struct job *j, uint32_t room, uint32_t taken, size_t *first)
{
	const struct item *v = j->items.v;
	size_t n = taken ? 1 : 0;
	uint32_t used = taken ? taken : room + 1;

	if (taken && first)
		first[0] = 0;

	for (size_t i = 0; i < j->items.n; i++) {
		if (used + v[i].bytes > room) {
			if (first)
				first[n] = i;
			n++;
			used = 0;
		}
		used += v[i].bytes;
	}
	return n;
}

/* Blocks at the end, so that there are n. */
static errcode_t grow(struct job *j, uint32_t n)
{
	struct dafs_ck *ck = j->ck;
	errcode_t err = 0;

	while (j->nblks < n && !err) {
		uint64_t pblk = dafs_ck_dir_blk(ck, j->dir.ino, &j->flat.xl, j->nblks);

		if (!pblk)
			return ENOSPC;
		err = dafs_extlist_append(&j->flat.xl, pblk, j->nblks++, 1, false);
	}
	return err;
}

/* Without an index, in as few blocks as it takes. */
static errcode_t plan_linear(struct job *j)
{
	size_t n = deal(j, j->room, DAFS_DIR_DOTS_BYTES, NULL);

	j->linear = true;
	if (n >= j->nblks)
		return 0;
	j->first = calloc(n + 1, sizeof(*j->first));
	if (!j->first)
		return ENOMEM;
	deal(j, j->room, DAFS_DIR_DOTS_BYTES, j->first);
	j->first[n] = j->items.n;
	j->used = (uint32_t)n;
	return 0;
}

/* Work out leaves and nodes that fit into the blocks there are; when it is asked for, and there is
 * no index yet, into more. */
static errcode_t plan(struct job *j)
{
	struct dafs_ck *ck = j->ck;
	const struct item *v = j->items.v;
	uint32_t next = 1, blks = 0, room = j->room * 9 / 10;
	unsigned levels = 0;
	size_t n = deal(j, room, 0, NULL);
	errcode_t err = dafs_dx_need(&ck->img, n, &levels, &blks);

	if (!err && blks + n > j->nblks) {
		room = j->room;
		n = deal(j, room, 0, NULL);
		err = dafs_dx_need(&ck->img, n, &levels, &blks);
	}
	if (!err && j->tidy && !j->indexed && blks + n <= UINT32_MAX >> ck->g.block_bits)
		err = grow(j, (uint32_t)(blks + n));
	if (err || n < 2 || blks + n > j->nblks)
		return err == ENOMEM ? err : 0;
	j->first = calloc(n + 1, sizeof(*j->first));
	j->dx.leaves = calloc(n, sizeof(*j->dx.leaves));
	if (!j->first || !j->dx.leaves)
		return ENOMEM;
	deal(j, room, 0, j->first);
	j->first[n] = j->items.n;
	j->dx.nleaves = n;
	j->dx.hash_version = (uint8_t)hash_version(ck, j);
	for (size_t i = 0; i < n; i++) {
		uint32_t hash = v[j->first[i]].hash;

		if (i && v[j->first[i] - 1].hash == hash)
			hash |= 1;
		j->dx.leaves[i] = (struct dafs_dx_leaf){ i ? hash : 0, next++, 0 };
	}
	err = dafs_dx_shape(&ck->img, &j->dx, &next);
	if (!err && next <= (j->indexed ? j->nblks - 1 : j->nblks))
		j->used = next;
	return err == ENOMEM ? err : 0;
}

/* (The first leaf of a linear directory begins with . and ..) */
static void fill_leaf(const struct job *j, size_t leaf, uint8_t *buf)
{
	const struct dafs_ck *ck = j->ck;
	const struct item *v = j->items.v;
	struct dafs_dirent_disk *de = NULL;
	uint32_t off = 0;

	if (j->linear && !leaf) {
		dafs_ck_leaf_make(ck, j->dir.ino, j->dir.generation, true, j->parent, buf);
		de = (struct dafs_dirent_disk *)(buf + DOT_BYTES);
		off = DAFS_DIR_DOTS_BYTES;
		de->rec_len = dafs_dirblock_store_len(ck->g.block_size, off - DOT_BYTES);
	} else {
		memset(buf, 0, ck->g.block_size);
	}
	for (size_t i = j->first[leaf]; i < j->first[leaf + 1]; i++) {
		de = (struct dafs_dirent_disk *)(buf + off);
		memcpy(de, v[i].de, sizeof(*de) + v[i].de->name_len);
		if (j->extra)
			memcpy((uint8_t *)de + v[i].bytes - j->extra,
			       (const uint8_t *)v[i].de + v[i].bytes - j->extra, j->extra);
		de->rec_len = dafs_dirblock_store_len(ck->g.block_size, v[i].bytes);
		off += v[i].bytes;
	}
	if (de)
		de->rec_len = dafs_dirblock_store_len(ck->g.block_size,
						      j->room - (uint32_t)((uint8_t *)de - buf));
	dafs_dirblock_csum_set(&ck->img, j->seed, DAFS_DIRBLOCK_LEAF, buf);
}

static errcode_t emit_index(struct job *j)
{
	struct dafs_ck *ck = j->ck;
	struct dafs_ck_worker *w = ck->main;
	uint8_t *buf = w->level[0];
	errcode_t err;

	dafs_dx_emit_root(&ck->img, &j->dx, j->seed, j->dir.ino, j->parent, buf);
	err = dafs_ck_write(w, pblk_of(j, 0), buf);
	for (size_t i = 0; i < j->dx.nleaves && !err; i++) {
		fill_leaf(j, i, buf);
		err = dafs_ck_write(w, pblk_of(j, j->dx.leaves[i].lblk), buf);
	}
	for (unsigned level = 0; level < j->dx.levels; level++) {
		for (size_t i = 0; i < j->dx.nnodes[level] && !err; i++) {
			dafs_dx_emit_node(&ck->img, &j->dx, j->seed, level, i, buf);
			err = dafs_ck_write(w, pblk_of(j, j->dx.nodes[level][i].lblk), buf);
		}
	}
	return err;
}

static errcode_t emit_linear(struct job *j)
{
	uint8_t *buf = j->ck->main->level[0];
	errcode_t err = 0;

	for (uint32_t i = 0; i < j->used && !err; i++) {
		fill_leaf(j, i, buf);
		err = dafs_ck_write(j->ck->main, pblk_of(j, i), buf);
	}
	return err;
}

/* Blocks that are not needed any more are free; a cluster when none of its blocks is. */
static errcode_t give_tail(struct job *j)
{
	struct dafs_ck *ck = j->ck;
	uint32_t step = 1u << ck->g.cbits, lblk = (j->used + step - 1) & ~(step - 1);
	errcode_t err = 0;

	for (; lblk < j->nblks && !err; lblk += step)
		if (!dafs_ck_bits_test(&ck->dup, dafs_ck_cluster(ck, pblk_of(j, lblk))))
			err = dafs_ck_bitmap_blks(ck, pblk_of(j, lblk), 1, false);
	return err;
}

/* All blocks; those that are not needed any more go. */
static errcode_t emit(struct job *j)
{
	struct dafs_ck *ck = j->ck;
	struct dafs_extlist xl = { 0 };
	uint64_t size = (uint64_t)j->used << ck->g.block_bits;
	errcode_t err = j->linear ? emit_linear(j) : emit_index(j);

	for (uint32_t i = 0; i < j->used && !err; i++)
		err = dafs_extlist_append(&xl, pblk_of(j, i), i, 1, false);
	if (j->linear)
		j->raw->i_flags &= ~(uint32_t)EXT2_INDEX_FL;
	else
		j->raw->i_flags |= EXT2_INDEX_FL;
	j->raw->i_size = (uint32_t)size;
	if (ck->g.large_dir)
		j->raw->i_size_high = (uint32_t)(size >> 32);
	if (!err)
		err = give_tail(j);
	if (!err)
		err = dafs_ck_flat_replace(ck, j->dir.ino, j->raw, &j->flat, &xl);
	dafs_extlist_fini(&xl);
	return err;
}

/* True: it was written anew. */
static errcode_t rebuild(struct dafs_ck *ck, uint32_t ino, bool tidy, bool *done)
{
	struct job j = { .ck = ck, .tidy = tidy, .linear = !ck->g.dir_index };
	errcode_t err;
	bool sound = open_dir(&j, ino, &err);
	uint32_t had = j.nblks;

	for (uint32_t i = 0; i < j.nblks && sound; i++)
		sound = add_items(&j, i, &err);
	if (sound && tidy && (j.linear || deal(&j, j.room, DAFS_DIR_DOTS_BYTES, NULL) == 1)) {
		err = plan_linear(&j);
	} else if (sound && j.items.n) {
		qsort(j.items.v, j.items.n, sizeof(struct item), item_cmp);
		err = plan(&j);
	}
	*done = sound && !err && j.used;
	if (*done) {
		err = emit(&j);
	} else if (!err && j.nblks > had) {
		j.used = had;
		err = give_tail(&j);
	}
	job_fini(&j);
	return err;
}

errcode_t dafs_ck_reindex_all(struct dafs_ck *ck)
{
	const uint32_t *inos = ck->lost_index.v;
	errcode_t err = 0;
	bool done;

	if (!ck->lost_index.n || ck->again)
		return 0;
	for (size_t i = 0; i < ck->lost_index.n && !err && ck->g.dir_index; i++)
		err = rebuild(ck, inos[i], false, &done);
	ck->lost_index.n = 0;
	ck->again = true;
	return err;
}

errcode_t dafs_ck_tidy_dirs(struct dafs_ck *ck)
{
	errcode_t err = 0;
	bool done;

	/* (After a round that had nothing to repair, once.) */
	if (!ck->opts->tidy_dirs || !ck->fixing || ck->trial || ck->tidied || ck->round_sum ||
	    ck->again || ck->left[DAFS_CHECK_DAMAGE])
		return 0;
	ck->tidied = true;
	for (size_t i = 0; i < ck->ndirs && !err; i++) {
		/* (Its free blocks are there for the day when there is no room.) */
		if (ck->dirs[i].ino == ck->lost_found)
			continue;
		err = rebuild(ck, ck->dirs[i].ino, true, &done);
		if (!err && done)
			ck->rep->result.tidied++;
	}
	ck->again = ck->rep->result.tidied;
	return err;
}
