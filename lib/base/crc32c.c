/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crc32c - see crc32c.h. isa-l picks the CPU's instruction at run time and falls back to a table.
 */
#include "config.h"

#include "base/crc32c.h"

#include <isa-l/crc.h>
#include <limits.h>

uint32_t dafs_crc32c(uint32_t seed, const void *buf, size_t len)
{
	unsigned char *at = (unsigned char *)buf;	/* isa-l reads only, but its prototype lacks the const */

	for (; len > INT_MAX; len -= INT_MAX, at += INT_MAX)
		seed = crc32_iscsi(at, INT_MAX, seed);
	return crc32_iscsi(at, (int)len, seed);
}
