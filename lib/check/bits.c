/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bits - bitmaps as pages of words, for maps that are mostly empty or mostly full.
 *
 * Setting is safe from several threads (each word changes atomically); clearing and counting are
 * for serial phases.
 *
 * Invariants:
 *  1. a page is NULL (all zeros), FULL (all ones) or 1 KiB of words; FULL is only left in serial
 *     phases or by losing a race to set bits that are set anyway;
 *  2. bits at and past nbits are never set.
 */
#include "config.h"

#include "check/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_WORDS (DAFS_CK_PAGE_BITS / 64)

static uint64_t full_page[1];
#define FULL (&full_page[0])

errcode_t dafs_ck_bits_init(struct dafs_ck_bits *bits, uint64_t nbits)
{
	memset(bits, 0, sizeof(*bits));
	bits->nbits = nbits;
	bits->npages = (nbits + DAFS_CK_PAGE_BITS - 1) / DAFS_CK_PAGE_BITS;
	bits->pages = calloc(bits->npages ? bits->npages : 1, sizeof(*bits->pages));
	return bits->pages ? 0 : ENOMEM;
}

void dafs_ck_bits_fini(struct dafs_ck_bits *bits)
{
	for (size_t i = 0; bits->pages && i < bits->npages; i++) {
		uint64_t *page = atomic_load_explicit(&bits->pages[i], memory_order_relaxed);

		if (page != FULL)
			free(page);
	}
	free(bits->pages);
	memset(bits, 0, sizeof(*bits));
}

static uint64_t *page_of(const struct dafs_ck_bits *bits, uint64_t bit)
{
	return atomic_load_explicit(&bits->pages[bit / DAFS_CK_PAGE_BITS], memory_order_acquire);
}

/* Bits of the page that exist. */
static uint64_t page_bits(const struct dafs_ck_bits *bits, size_t page)
{
	uint64_t left = bits->nbits - (uint64_t)page * DAFS_CK_PAGE_BITS;

	return left < DAFS_CK_PAGE_BITS ? left : DAFS_CK_PAGE_BITS;
}

/* The page's words, made when it has none. A page that is FULL stays FULL. */
static uint64_t *page_make(struct dafs_ck_bits *bits, size_t index)
{
	uint64_t *page = atomic_load_explicit(&bits->pages[index], memory_order_acquire);
	uint64_t *made;

	if (page)
		return page;
	made = calloc(PAGE_WORDS, sizeof(*made));
	if (!made) {
		bits->nomem = true;
		return NULL;
	}
	if (atomic_compare_exchange_strong(&bits->pages[index], &page, made))
		return made;
	free(made);
	return page;
}

/* Bits [from, to) of one word, 0 <= from < to <= 64. */
static uint64_t word_mask(unsigned from, unsigned to)
{
	uint64_t mask = to == 64 ? ~UINT64_C(0) : (UINT64_C(1) << to) - 1;

	return mask & ~((UINT64_C(1) << from) - 1);
}

/* Which of [start, start+len), all within one page, were set before. */
static bool page_set(struct dafs_ck_bits *bits, uint64_t start, uint64_t len,
		     struct dafs_ck_bits *dup)
{
	size_t index = start / DAFS_CK_PAGE_BITS;
	uint64_t *page = NULL;
	uint64_t end = start + len;
	bool some = false;

	if (len == page_bits(bits, index) &&
	    atomic_compare_exchange_strong(&bits->pages[index], &page, FULL))
		return false;
	page = page_make(bits, index);
	if (!page)
		return false;
	if (page == FULL) {
		if (dup)
			dafs_ck_bits_set(dup, start, len, NULL);
		return true;
	}
	while (start < end) {
		uint64_t word_end = (start | 63) + 1;
		uint64_t to = end < word_end ? end : word_end;
		uint64_t mask = word_mask(start & 63, to - (start & ~UINT64_C(63)));
		_Atomic uint64_t *word = (_Atomic uint64_t *)&page[start % DAFS_CK_PAGE_BITS / 64];
		uint64_t old = atomic_fetch_or_explicit(word, mask, memory_order_relaxed) & mask;

		some = some || old;
		for (; old && dup; old &= old - 1)
			dafs_ck_bits_set(dup, (start & ~UINT64_C(63)) + __builtin_ctzll(old), 1,
					 NULL);
		start = to;
	}
	return some;
}

bool dafs_ck_bits_set(struct dafs_ck_bits *bits, uint64_t start, uint64_t len,
		      struct dafs_ck_bits *dup)
{
	uint64_t end = start + len;
	bool some = false;

	if (end > bits->nbits)
		end = bits->nbits;
	while (start < end) {
		uint64_t stop = (start / DAFS_CK_PAGE_BITS + 1) * DAFS_CK_PAGE_BITS;

		if (stop > end)
			stop = end;
		some |= page_set(bits, start, stop - start, dup);
		start = stop;
	}
	return some;
}

/* Words in the place of FULL. */
static uint64_t *page_unfold(struct dafs_ck_bits *bits, size_t index)
{
	uint64_t n = page_bits(bits, index);
	uint64_t *page;

	atomic_store(&bits->pages[index], NULL);
	page = page_make(bits, index);
	for (uint64_t at = 0; page && at < n; at += 64)
		page[at / 64] = word_mask(0, n - at < 64 ? (unsigned)(n - at) : 64);
	return page;
}

void dafs_ck_bits_clear(struct dafs_ck_bits *bits, uint64_t start, uint64_t len)
{
	uint64_t end = start + len;

	if (end > bits->nbits)
		end = bits->nbits;
	for (; start < end; start++) {
		uint64_t *page = page_of(bits, start);

		if (!page) {
			start |= DAFS_CK_PAGE_BITS - 1;
			continue;
		}
		if (page == FULL) {
			page = page_unfold(bits, start / DAFS_CK_PAGE_BITS);
			if (!page)
				return;
		}
		page[start % DAFS_CK_PAGE_BITS / 64] &= ~(UINT64_C(1) << (start & 63));
	}
}

bool dafs_ck_bits_test(const struct dafs_ck_bits *bits, uint64_t bit)
{
	uint64_t *page;

	if (bit >= bits->nbits)
		return false;
	page = page_of(bits, bit);
	if (!page || page == FULL)
		return page != NULL;
	return page[bit % DAFS_CK_PAGE_BITS / 64] >> (bit & 63) & 1;
}

/* The word that holds bit, with invariant 2. */
static uint64_t word_at(const struct dafs_ck_bits *bits, uint64_t bit)
{
	uint64_t *page = page_of(bits, bit);
	uint64_t base = bit & ~UINT64_C(63);

	if (!page)
		return 0;
	if (page != FULL)
		return page[bit % DAFS_CK_PAGE_BITS / 64];
	return base + 64 <= bits->nbits ? ~UINT64_C(0) : word_mask(0, bits->nbits - base);
}

uint64_t dafs_ck_bits_next(const struct dafs_ck_bits *bits, uint64_t start, bool value)
{
	while (start < bits->nbits) {
		uint64_t *page = page_of(bits, start);
		uint64_t word;

		if (!page && value) {
			start = (start / DAFS_CK_PAGE_BITS + 1) * DAFS_CK_PAGE_BITS;
			continue;
		}
		word = word_at(bits, start);
		if (!value)
			word = ~word;
		word &= ~UINT64_C(0) << (start & 63);
		if (word) {
			uint64_t bit = (start & ~UINT64_C(63)) + __builtin_ctzll(word);

			return bit < bits->nbits ? bit : bits->nbits;
		}
		start = (start | 63) + 1;
	}
	return bits->nbits;
}

uint64_t dafs_ck_bits_count(const struct dafs_ck_bits *bits, uint64_t start, uint64_t len)
{
	uint64_t end = start + len, count = 0;

	if (end > bits->nbits)
		end = bits->nbits;
	while (start < end) {
		uint64_t word_end = (start | 63) + 1;
		uint64_t to = end < word_end ? end : word_end;

		count += (unsigned)__builtin_popcountll(
			word_at(bits, start) & word_mask(start & 63, to - (start & ~UINT64_C(63))));
		start = to;
	}
	return count;
}

void dafs_ck_bits_copy(const struct dafs_ck_bits *bits, uint64_t start, uint64_t len, uint8_t *out)
{
	uint64_t end = start + len;

	for (; start < end; start += 64, out += 8) {
		uint64_t word = start < bits->nbits ? word_at(bits, start) >> (start & 63) : 0;
		uint64_t left = end - start;

		if ((start & 63) && (start | 63) + 1 < bits->nbits)
			word |= word_at(bits, (start | 63) + 1) << (64 - (start & 63));
		if (left < 64) {
			word &= word_mask(0, (unsigned)left);
			memcpy(out, &word, (left + 7) / 8);
		} else {
			memcpy(out, &word, 8);
		}
	}
}

/* ---- arrays and maps ---- */

void *dafs_ck_vec_add(struct dafs_ck_vec *vec, size_t size)
{
	void *at;

	if (vec->n == vec->room) {
		size_t room = vec->room ? vec->room * 2 : 16;
		void *v = reallocarray(vec->v, room, size);

		if (!v)
			return NULL;
		vec->v = v;
		vec->room = room;
	}
	at = (char *)vec->v + vec->n++ * size;
	memset(at, 0, size);
	return at;
}

void dafs_ck_vec_fini(struct dafs_ck_vec *vec)
{
	free(vec->v);
	memset(vec, 0, sizeof(*vec));
}

static size_t map_slot(const struct dafs_ck_map *map, uint64_t key)
{
	size_t slot = (key * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (map->room - 1);

	while (map->keys[slot] && map->keys[slot] != key)
		slot = (slot + 1) & (map->room - 1);
	return slot;
}

static bool map_grow(struct dafs_ck_map *map)
{
	struct dafs_ck_map bigger = { .room = map->room ? map->room * 2 : 64 };

	bigger.keys = calloc(bigger.room, sizeof(*bigger.keys));
	bigger.vals = calloc(bigger.room, sizeof(*bigger.vals));
	if (!bigger.keys || !bigger.vals) {
		dafs_ck_map_fini(&bigger);
		return false;
	}
	for (size_t i = 0; i < map->room; i++) {
		size_t slot;

		if (!map->keys[i])
			continue;
		slot = map_slot(&bigger, map->keys[i]);
		bigger.keys[slot] = map->keys[i];
		bigger.vals[slot] = map->vals[i];
	}
	bigger.n = map->n;
	dafs_ck_map_fini(map);
	*map = bigger;
	return true;
}

uint64_t *dafs_ck_map_put(struct dafs_ck_map *map, uint64_t key, bool *made)
{
	size_t slot;
	bool absent;

	if ((map->n + 1) * 4 > map->room * 3 && !map_grow(map))
		return NULL;
	slot = map_slot(map, key);
	absent = !map->keys[slot];
	if (absent) {
		map->keys[slot] = key;
		map->vals[slot] = 0;
		map->n++;
	}
	if (made)
		*made = absent;
	return &map->vals[slot];
}

uint64_t *dafs_ck_map_get(const struct dafs_ck_map *map, uint64_t key)
{
	size_t slot;

	if (!map->n)
		return NULL;
	slot = map_slot(map, key);
	return map->keys[slot] ? &map->vals[slot] : NULL;
}

void dafs_ck_map_reset(struct dafs_ck_map *map)
{
	if (!map->n)
		return;
	if (map->room > 4096) {
		dafs_ck_map_fini(map);
		return;
	}
	memset(map->keys, 0, map->room * sizeof(*map->keys));
	map->n = 0;
}

void dafs_ck_map_fini(struct dafs_ck_map *map)
{
	free(map->keys);
	free(map->vals);
	memset(map, 0, sizeof(*map));
}
