/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crc32c - see crc32c.h. isa-l picks the CPU's instruction at run time and falls back to a table.
 *
 * Most checksums here are over a few bytes to an inode's 256, and isa-l's folding pays for its
 * start only from some hundred bytes on: short ones go through the plain CRC instruction.
 */
#include "config.h"

#include "base/crc32c.h"

#include <isa-l/crc.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)

#define SHORT_BYTES 512

__attribute__((target("sse4.2"))) static uint32_t crc_short(uint32_t seed, const uint8_t *at,
							    size_t len)
{
	uint64_t crc = seed, word;

	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		crc = __builtin_ia32_crc32di(crc, word);
	}
	for (; len; at++, len--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *at);
	return (uint32_t)crc;
}

static bool short_works(void)
{
	return __builtin_cpu_supports("sse4.2");
}

#else

#define SHORT_BYTES 0

static uint32_t crc_short(uint32_t seed, const uint8_t *at, size_t len)
{
	return crc32_iscsi((unsigned char *)at, (int)len, seed);
}

static bool short_works(void)
{
	return false;
}

#endif

uint32_t dafs_crc32c(uint32_t seed, const void *buf, size_t len)
{
	unsigned char *at =
		(unsigned char *)buf; /* isa-l reads only, but its prototype lacks the const */

	if (len <= SHORT_BYTES && short_works())
		return crc_short(seed, at, len);
	for (; len > INT_MAX; len -= INT_MAX, at += INT_MAX)
		seed = crc32_iscsi(at, INT_MAX, seed);
	return crc32_iscsi(at, (int)len, seed);
}
