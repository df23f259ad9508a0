/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inos - what is known of each inode: type, state, links on disk, names counted.
 *
 * Most inodes in use are regular files with one link and nothing else to be said of them. Such a
 * plain one is a bit, and that it was named is another one; all others have a row. Chunks hold
 * 1024 inodes and are made when the first one of them is in use.
 *
 * Threads: in pass 1 several may put inodes into one chunk (groups need not be multiples of it);
 * in pass 2 several count names; all other changes are made in serial phases.
 *
 * Invariants:
 *  1. an inode is plain or odd, not both; neither: not in use, nothing known;
 *  2. rows lie in the order of the odd bits, base[] counts the bits of the words in front;
 *  3. names beyond a plain inode's first, and a row's beyond 16 bits, are in refs_over.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#define PLAIN_FLAGS (DAFS_CKI_USED | EXT2_FT_REG_FILE)

errcode_t dafs_ck_inos_init(struct dafs_ck *ck)
{
	ck->nchunks = ck->g.inodes / DAFS_CK_INO_CHUNK + 1;
	ck->inos = calloc(ck->nchunks, sizeof(*ck->inos));
	return ck->inos ? 0 : ENOMEM;
}

void dafs_ck_inos_fini(struct dafs_ck *ck)
{
	for (size_t i = 0; ck->inos && i < ck->nchunks; i++) {
		struct dafs_ck_chunk *chunk = ck->inos[i];

		if (!chunk)
			continue;
		free(chunk->rows);
		free(chunk);
	}
	free(ck->inos);
	ck->inos = NULL;
	dafs_ck_map_fini(&ck->refs_over);
}

static struct dafs_ck_chunk *chunk_make(struct dafs_ck *ck, uint32_t ino)
{
	_Atomic(struct dafs_ck_chunk *) *at = &ck->inos[(ino - 1) / DAFS_CK_INO_CHUNK];
	struct dafs_ck_chunk *chunk = atomic_load_explicit(at, memory_order_acquire), *made;

	if (chunk)
		return chunk;
	made = calloc(1, sizeof(*made));
	if (!made || atomic_compare_exchange_strong(at, &chunk, made))
		return made;
	free(made);
	return chunk;
}

/* A row for an inode that has none, zeroed; NULL: no memory. */
static struct dafs_ck_ino *row_insert(struct dafs_ck_chunk *chunk, uint32_t ino)
{
	unsigned at = (ino - 1) % DAFS_CK_INO_CHUNK, word = at / 64;
	struct dafs_ck_ino *row;

	if (chunk->n == chunk->room) {
		unsigned room = chunk->room ? chunk->room * 2u : 8;
		struct dafs_ck_ino *rows = reallocarray(chunk->rows, room, sizeof(*rows));

		if (!rows)
			return NULL;
		chunk->rows = rows;
		chunk->room = (uint16_t)room;
	}
	row = chunk->rows + dafs_ck_ino_rank(chunk, at);
	memmove(row + 1, row, (size_t)(chunk->rows + chunk->n - row) * sizeof(*row));
	*row = (struct dafs_ck_ino){ 0 };
	chunk->n++;
	chunk->odd[word] |= UINT64_C(1) << at % 64;
	for (unsigned i = word + 1; i < DAFS_CK_INO_WORDS; i++)
		chunk->base[i]++;
	return row;
}

/* The row of an inode, made when it has none. */
static struct dafs_ck_ino *row_make(struct dafs_ck_chunk *chunk, uint32_t ino)
{
	unsigned at = (ino - 1) % DAFS_CK_INO_CHUNK, word = at / 64;
	uint64_t bit = UINT64_C(1) << at % 64;
	struct dafs_ck_ino *row = dafs_ck_ino_row(chunk, ino);

	if (row)
		return row;
	row = row_insert(chunk, ino);
	if (row && chunk->plain[word] & bit) {
		row->flags = PLAIN_FLAGS;
		row->links = 1;
		row->refs = chunk->named[word] & bit ? 1 : 0;
		atomic_fetch_and(&chunk->plain[word], ~bit);
		atomic_fetch_and(&chunk->named[word], ~bit);
	}
	return row;
}

errcode_t dafs_ck_ino_put(struct dafs_ck *ck, uint32_t ino, unsigned flags, uint16_t links)
{
	struct dafs_ck_chunk *chunk = chunk_make(ck, ino);
	unsigned at = (ino - 1) % DAFS_CK_INO_CHUNK;
	/* Only then may another group's worker be at the same chunk. */
	bool shared = ck->g.ipg % DAFS_CK_INO_CHUNK;
	struct dafs_ck_ino *row;
	errcode_t err = 0;

	if (!chunk)
		return ENOMEM;
	if (shared)
		pthread_mutex_lock(&ck->refs_lock);
	if (flags == PLAIN_FLAGS && links == 1 && !dafs_ck_ino_row(chunk, ino)) {
		uint64_t word = atomic_load_explicit(&chunk->plain[at / 64], memory_order_relaxed);

		atomic_store_explicit(&chunk->plain[at / 64], word | UINT64_C(1) << at % 64,
				      memory_order_relaxed);
	} else {
		row = row_make(chunk, ino);
		if (row) {
			row->flags = (uint16_t)flags;
			row->links = links;
		} else {
			err = ENOMEM;
		}
	}
	if (shared)
		pthread_mutex_unlock(&ck->refs_lock);
	return err;
}

errcode_t dafs_ck_ino_change(struct dafs_ck *ck, uint32_t ino, unsigned add, unsigned drop)
{
	unsigned flags = dafs_ck_ino_flags(ck, ino), want = (flags & ~drop) | add;

	return flags == want ? 0 : dafs_ck_ino_put(ck, ino, want, dafs_ck_ino_links(ck, ino));
}

uint16_t dafs_ck_ino_links(const struct dafs_ck *ck, uint32_t ino)
{
	const struct dafs_ck_chunk *chunk = dafs_ck_ino_chunk(ck, ino);
	const struct dafs_ck_ino *row = chunk ? dafs_ck_ino_row(chunk, ino) : NULL;

	if (row)
		return row->links;
	return dafs_ck_ino_flags(ck, ino) ? 1 : 0;
}

/* ---- names ---- */

static void refs_more(struct dafs_ck *ck, uint32_t ino, uint32_t n)
{
	uint64_t *over;

	pthread_mutex_lock(&ck->refs_lock);
	over = dafs_ck_map_put(&ck->refs_over, ino, NULL);
	if (over)
		*over += n;
	else
		ck->refs_nomem = true;
	pthread_mutex_unlock(&ck->refs_lock);
}

void dafs_ck_refs_add(struct dafs_ck *ck, uint32_t ino)
{
	struct dafs_ck_chunk *chunk = dafs_ck_ino_chunk(ck, ino);
	unsigned at = (ino - 1) % DAFS_CK_INO_CHUNK;
	uint64_t bit = UINT64_C(1) << at % 64;
	struct dafs_ck_ino *row;

	if (!chunk)
		return;
	if (atomic_load_explicit(&chunk->plain[at / 64], memory_order_relaxed) & bit) {
		if (atomic_fetch_or_explicit(&chunk->named[at / 64], bit, memory_order_relaxed) &
		    bit)
			refs_more(ck, ino, 1);
		return;
	}
	row = dafs_ck_ino_row(chunk, ino);
	/* 16 bits are enough for files; directories may have more subdirectories. */
	if (row && atomic_fetch_add_explicit(&row->refs, 1, memory_order_relaxed) == UINT16_MAX)
		refs_more(ck, ino, 1u << 16);
}

uint32_t dafs_ck_refs(const struct dafs_ck *ck, uint32_t ino)
{
	const struct dafs_ck_chunk *chunk = dafs_ck_ino_chunk(ck, ino);
	const struct dafs_ck_ino *row = chunk ? dafs_ck_ino_row(chunk, ino) : NULL;
	const uint64_t *over = dafs_ck_map_get(&ck->refs_over, ino);
	unsigned at = (ino - 1) % DAFS_CK_INO_CHUNK;
	uint32_t refs = 0;

	if (row)
		refs = row->refs;
	else if (chunk)
		refs = chunk->named[at / 64] >> at % 64 & 1;
	return refs + (over ? (uint32_t)*over : 0);
}

/* ---- 64 at once ---- */

uint64_t dafs_ck_ino_used_word(const struct dafs_ck *ck, uint32_t ino, unsigned *dirs)
{
	const struct dafs_ck_chunk *chunk = dafs_ck_ino_chunk(ck, ino);
	unsigned word = (ino - 1) % DAFS_CK_INO_CHUNK / 64;
	uint64_t used;

	if (!chunk)
		return 0;
	used = chunk->plain[word];
	for (uint64_t odd = chunk->odd[word]; odd; odd &= odd - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(odd);
		unsigned flags = dafs_ck_ino_row(chunk, ino + bit)->flags;

		if (!(flags & DAFS_CKI_USED))
			continue;
		used |= UINT64_C(1) << bit;
		*dirs += (flags & DAFS_CKI_TYPE) == EXT2_FT_DIR;
	}
	return used;
}

uint64_t dafs_ck_ino_unsettled_word(const struct dafs_ck *ck, uint32_t ino)
{
	const struct dafs_ck_chunk *chunk = dafs_ck_ino_chunk(ck, ino);
	unsigned word = (ino - 1) % DAFS_CK_INO_CHUNK / 64;
	uint64_t plain;

	if (!chunk)
		return 0;
	plain = chunk->plain[word];
	/* Some plain one may have been named again. */
	if (!ck->refs_over.n)
		plain &= ~chunk->named[word];
	return plain | chunk->odd[word];
}
