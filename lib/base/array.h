/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * array - room for one more element in a growing array.
 */
#ifndef DAFS_BASE_ARRAY_H
#define DAFS_BASE_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#include <et/com_err.h>

/* v_ptr: address of the pointer to the elements, n of them in use, *room there are, each of
 * elem_bytes. After success *room > n. ENOMEM leaves the array as it was. */
errcode_t dafs_array_grow(void *v_ptr, size_t n, size_t *room, size_t elem_bytes);

/* Index of the first of n elements whose key is not below key (n when none). Each element begins
 * with its key, a uint64_t; they ascend. */
size_t dafs_array_search(const void *v, size_t n, size_t elem_bytes, uint64_t key);

#endif
