/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bits - what the checker keeps its books in: bitmaps, growing arrays, sets of numbers (bits.c).
 */
#ifndef DAFS_CHECK_BITS_H
#define DAFS_CHECK_BITS_H

#include "base/ctx.h"

#include <stdatomic.h>

/* ---- bitmaps: pages of words, made when first written; NULL is all zeros, FULL all ones ---- */
#define DAFS_CK_PAGE_BITS 8192u
struct dafs_ck_bits {
	uint64_t nbits;
	size_t npages;
	_Atomic(uint64_t *) *pages;
	_Atomic bool nomem; /* a page could not be made: the map is not to be trusted */
};
errcode_t dafs_ck_bits_init(struct dafs_ck_bits *bits, uint64_t nbits);
void dafs_ck_bits_fini(struct dafs_ck_bits *bits);
/* Set [start, start+len). Bits that were set before are set in dup too (may be NULL). True: there
 * were some. Thread-safe. */
bool dafs_ck_bits_set(struct dafs_ck_bits *bits, uint64_t start, uint64_t len,
		      struct dafs_ck_bits *dup);
void dafs_ck_bits_clear(struct dafs_ck_bits *bits, uint64_t start, uint64_t len);
bool dafs_ck_bits_test(const struct dafs_ck_bits *bits, uint64_t bit);
/* First bit at or after start that is value; nbits: none. */
uint64_t dafs_ck_bits_next(const struct dafs_ck_bits *bits, uint64_t start, bool value);
uint64_t dafs_ck_bits_count(const struct dafs_ck_bits *bits, uint64_t start, uint64_t len);
/* Copy [start, start+len) into out as bytes, bit 0 first; start a multiple of 8; unused bits of the
 * last byte are 0. */
void dafs_ck_bits_copy(const struct dafs_ck_bits *bits, uint64_t start, uint64_t len, uint8_t *out);

/* ---- growing arrays ---- */
struct dafs_ck_vec {
	void *v;
	size_t n, room;
};
/* Room for one more element of size bytes at the end, zeroed; NULL: no memory. */
void *dafs_ck_vec_add(struct dafs_ck_vec *vec, size_t size);
void dafs_ck_vec_fini(struct dafs_ck_vec *vec);

/* A set of 64-bit keys with a value each (open addressing; key 0 is not allowed). */
struct dafs_ck_map {
	uint64_t *keys;
	uint64_t *vals;
	size_t n, room;
};
/* The key's value, made (0) when absent; NULL: no memory. *made may be NULL. */
uint64_t *dafs_ck_map_put(struct dafs_ck_map *map, uint64_t key, bool *made);
uint64_t *dafs_ck_map_get(const struct dafs_ck_map *map, uint64_t key);
void dafs_ck_map_reset(struct dafs_ck_map *map); /* empty, memory kept when small */
void dafs_ck_map_fini(struct dafs_ck_map *map);

#endif
