/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bits - see bits.h.
 */
#include "config.h"

#include "base/bits.h"

#include <endian.h>
#include <string.h>

/* The eight bytes that hold bit at; past the bitmap's end they are zeros. */
static uint64_t word_at(const uint8_t *bits, uint32_t nbits, uint32_t at)
{
	size_t first = at / 64 * 8, bytes = ((size_t)nbits + 7) / 8 - first;
	uint64_t word = 0;

	memcpy(&word, bits + first, bytes < sizeof(word) ? bytes : sizeof(word));
	return le64toh(word);
}

uint32_t dafs_bits_next(const uint8_t *bits, uint32_t nbits, uint32_t at, bool set)
{
	for (uint64_t c = at; c < nbits; c = c / 64 * 64 + 64) {
		uint64_t word = word_at(bits, nbits, (uint32_t)c);

		word = (set ? word : ~word) >> (c % 64);
		if (word) {
			c += (uint64_t)__builtin_ctzll(word);
			return c < nbits ? (uint32_t)c : nbits;
		}
	}
	return nbits;
}

bool dafs_bits_are(const uint8_t *bits, uint32_t start, uint32_t len, bool set)
{
	return dafs_bits_next(bits, start + len, start, !set) == start + len;
}

void dafs_bits_set(uint8_t *bits, uint32_t start, uint32_t len, bool set)
{
	uint32_t at = start, end = start + len;

	while (at < end) {
		if (!(at & 7) && end - at >= 8) {
			memset(bits + (at >> 3), set ? 0xff : 0, (end - at) >> 3);
			at += (end - at) & ~7u;
			continue;
		}
		if (set)
			bits[at >> 3] |= (uint8_t)(1u << (at & 7));
		else
			bits[at >> 3] &= (uint8_t) ~(1u << (at & 7));
		at++;
	}
}

uint32_t dafs_bits_count_clear(const uint8_t *bits, uint32_t nbits)
{
	uint32_t set = 0;

	for (uint32_t at = 0; at < nbits; at += 64) {
		uint64_t word = word_at(bits, nbits, at);

		if (nbits - at < 64)
			word &= (1ull << (nbits - at)) - 1;
		set += (uint32_t)__builtin_popcountll(word);
	}
	return nbits - set;
}
