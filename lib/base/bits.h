/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bits - bitmaps as ext4 has them on disk: bit n is bit n % 8 of byte n / 8.
 */
#ifndef DAFS_BASE_BITS_H
#define DAFS_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first bit at or after at that is set (or clear, as asked), or nbits when there is none. A
 * word at a time. The bitmap has (nbits + 7) / 8 bytes. */
uint32_t dafs_bits_next(const uint8_t *bits, uint32_t nbits, uint32_t at, bool set);

/* Are bits [start, start+len) all as asked? */
bool dafs_bits_are(const uint8_t *bits, uint32_t start, uint32_t len, bool set);

/* Set (or clear) bits [start, start+len). */
void dafs_bits_set(uint8_t *bits, uint32_t start, uint32_t len, bool set);

/* How many of the first nbits are clear. */
uint32_t dafs_bits_count_clear(const uint8_t *bits, uint32_t nbits);

#endif
