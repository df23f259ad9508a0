/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* siphash - see siphash.h. */
#include "config.h"

#include "base/siphash.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are little-endian");

enum { COMPRESS_ROUNDS = 2, END_ROUNDS = 4 };

static uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static void mix(uint64_t v[4], unsigned rounds)
{
	while (rounds--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static void take(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v, COMPRESS_ROUNDS);
	v[0] ^= word;
}

uint64_t dafs_siphash(const struct dafs_siphash_key *key, const void *buf, size_t len)
{
	/* "somepseudorandomlygeneratedbytes" */
	uint64_t v[4] = { key->k[0] ^ UINT64_C(0x736f6d6570736575),
			  key->k[1] ^ UINT64_C(0x646f72616e646f6d),
			  key->k[0] ^ UINT64_C(0x6c7967656e657261),
			  key->k[1] ^ UINT64_C(0x7465646279746573) };
	const uint8_t *at = buf;
	uint64_t word, last = (uint64_t)len << 56;

	for (; len >= 8; at += 8, len -= 8) {
		memcpy(&word, at, 8);
		take(v, word);
	}
	word = 0;
	if (len)
		memcpy(&word, at, len);
	take(v, last | word);
	v[2] ^= 0xff;
	mix(v, END_ROUNDS);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void dafs_siphash_secret(struct dafs_siphash_key *key)
{
	struct timespec now;

	if (getrandom(key, sizeof(*key), GRND_NONBLOCK) == (ssize_t)sizeof(*key))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	key->k[0] = (uint64_t)(uintptr_t)key ^ (uint64_t)now.tv_nsec << 32;
	key->k[1] = (uint64_t)(uintptr_t)&now ^ (uint64_t)now.tv_sec << 32;
}
