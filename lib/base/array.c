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
