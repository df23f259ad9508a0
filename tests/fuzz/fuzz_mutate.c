/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_mutate - mutations of record inputs: mostly of the bytes of one record, so that the others
 * stay where they are; sometimes of its head, of what is done, or of anything.
 */
#include "config.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static unsigned next(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* The records' beginnings; how many. */
static unsigned find(const uint8_t *data, size_t size, const uint8_t *at[FUZZ_PATCHES_MOST])
{
	const uint8_t *p = data + FUZZ_HEAD_BYTES, *was = p;
	struct fuzz_record rec;
	unsigned n = 0;

	while (n < FUZZ_PATCHES_MOST && fuzz_record_next(&p, data + size, &rec)) {
		at[n++] = was;
		was = p;
	}
	return n;
}

/* A number in the record's bytes becomes one of those that break things. */
static void set_number(uint8_t *bytes, size_t len, unsigned *seed)
{
	static const uint32_t odd[] = { 0, 1, 2, 8, 11, 0x7f, 0xff, 0x7fff, 0xffff, 0x10000,
					0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };
	size_t width = 1u << next(seed) % 3, at;
	uint32_t value = odd[next(seed) % (sizeof(odd) / sizeof(odd[0]))];

	if (len < width)
		return;
	at = next(seed) % (len - width + 1);
	if (next(seed) % 2)
		at -= at % width;
	if (next(seed) % 4 == 0) {
		memcpy(&value, bytes + at, width);
		value += next(seed) % 9 - 4;
	}
	memcpy(bytes + at, &value, width);
}

static size_t mutate_bytes(uint8_t *data, size_t size, size_t max_size, const uint8_t *record)
{
	uint8_t *head = data + (record - data), *bytes = head + FUZZ_RECORD_BYTES;
	const uint8_t *p = record;
	size_t room = max_size > size ? max_size - size : 0, len, now, behind;
	struct fuzz_record rec;
	uint16_t stored;

	if (!fuzz_record_next(&p, data + size, &rec))
		return size;
	len = rec.len;
	behind = size - (size_t)(bytes - data) - len;
	if (len + room > UINT16_MAX)
		room = UINT16_MAX - len;
	if (!(len + room)) /* libFuzzer would write a byte all the same */
		return size;
	/* What is behind moves to the end of the room, and back when the length is known. */
	memmove(bytes + len + room, bytes + len, behind);
	now = LLVMFuzzerMutate(bytes, len, len + room);
	memmove(bytes + now, bytes + len + room, behind);
	stored = (uint16_t)now;
	memcpy(head + 6, &stored, sizeof(stored));
	return size - len + now;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	const uint8_t *at[FUZZ_PATCHES_MOST];
	unsigned n = size < FUZZ_HEAD_BYTES ? 0 : find(data, size, at), what;
	uint8_t *record;
	uint16_t len;

	if (!n)
		return LLVMFuzzerMutate(data, size, max_size);
	what = next(&seed) % 16;
	record = data + (at[next(&seed) % n] - data);
	if (what == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	if (what == 1)
		data[1] ^= (uint8_t)(1u << next(&seed) % 8);
	else if (what == 2)
		record[next(&seed) % 6] = (uint8_t)next(&seed);
	else if (what == 3 && size > FUZZ_HEAD_BYTES)
		data[0] = (uint8_t)next(&seed);
	else if (what < 9) {
		memcpy(&len, record + 6, sizeof(len));
		if (len > data + size - record - FUZZ_RECORD_BYTES)
			len = (uint16_t)(data + size - record - FUZZ_RECORD_BYTES);
		for (unsigned k = next(&seed) % 3 + 1; k; k--)
			set_number(record + FUZZ_RECORD_BYTES, len, &seed);
	} else {
		return mutate_bytes(data, size, max_size, record);
	}
	return size;
}
