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
