/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * array - see array.h.
 */
#include "config.h"

#include "base/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

errcode_t dafs_array_grow(void *v_ptr, size_t n, size_t *room, size_t elem_bytes)
{
	size_t bigger = *room ? *room * 2 : 8;
	void *v;

	if (n < *room)
		return 0;
	memcpy(&v, v_ptr, sizeof(v));
	v = reallocarray(v, bigger, elem_bytes);
	if (!v)
		return ENOMEM;
	memcpy(v_ptr, &v, sizeof(v));
	*room = bigger;
	return 0;
}

size_t dafs_array_search(const void *v, size_t n, size_t elem_bytes, uint64_t key)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		uint64_t at;

		memcpy(&at, (const char *)v + mid * elem_bytes, sizeof(at));
		if (at < key)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}
