/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * siphash - SipHash-2-4: a hash with a secret. Whoever does not know it cannot make up bytes that
 * have the same hash, so tables with keys out of an image stay fast, and two names are two.
 */
#ifndef DAFS_BASE_SIPHASH_H
#define DAFS_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct dafs_siphash_key {
	uint64_t k[2];
};

/* A secret that is good for one run; what it hashes must not show in any output. Never fails:
 * without random bytes from the host it is made of addresses and the time. */
void dafs_siphash_secret(struct dafs_siphash_key *key);

/* Hash of len bytes, as the paper of Aumasson and Bernstein (2012) has it. */
uint64_t dafs_siphash(const struct dafs_siphash_key *key, const void *buf, size_t len);

#endif
