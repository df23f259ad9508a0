/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quota files: what was encoded is found again by walking the tree as the kernel does. */
#include "config.h"

#include "image/qcodec.h"

#include <endian.h>
#include <string.h>

#include "test.h"

static uint32_t word(const uint8_t *file, size_t off)
{
	uint32_t value;

	memcpy(&value, file + off, sizeof(value));
	return le32toh(value);
}

/* The entry of id, or NULL. */
static const uint8_t *walk(const uint8_t *file, size_t len, uint32_t id)
{
	uint32_t block = 1;
	const uint8_t *entry;

	for (int shift = 24; shift >= 0; shift -= 8) {
		block = word(file, (size_t)block * 1024 + 4 * ((id >> shift) & 0xff));
		if (!block)
			return NULL;
		assert_true(block < len / 1024);
	}
	entry = file + (size_t)block * 1024 + 16;
	for (unsigned i = 0; i < 14; i++, entry += 72) {
		static const uint8_t zero[72];

		if (word(entry, 0) == id && memcmp(entry, zero, 72))
			return entry;
	}
	fail_msg("id %u: its leaf has no entry for it", id);
	return NULL;
}

static void check(uint32_t *ids, size_t n)
{
	struct dafs_quota_entry *entries = calloc(n + 1, sizeof(*entries)), *back;
	struct dafs_quota_grace grace;
	size_t nback;
	uint8_t *file;
	size_t len;

	for (size_t i = 0; i < n; i++)
		entries[i] = (struct dafs_quota_entry){ .id = ids[i],
							.inodes = i + 1,
							.bytes = (uint64_t)i << 33,
							.blk_hard = 5,
							.inode_soft = 6 };
	assert_ok(dafs_qcodec_encode(NULL, DAFS_QUOTA_GROUP, entries, n, &file, &len));
	assert_int_equal(len % 1024, 0);
	assert_int_equal(word(file, 0), 0xd9c01927);
	assert_int_equal(word(file, 4), 1);
	assert_int_equal(word(file, 20), len / 1024);
	/* The list of leaves with room: there is one unless all are full. */
	assert_int_equal(word(file, 28) != 0, n % 14 != 0);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *entry = walk(file, len, ids[i]);

		assert_non_null(entry);
		assert_int_equal(word(entry, 16), 6);
		assert_int_equal(word(entry, 24), i + 1);
		assert_int_equal(word(entry, 32), 5);
		assert_int_equal(word(entry, 52), i << 1);
	}
	assert_null(walk(file, len, 1234567));
	assert_ok(dafs_qcodec_decode(NULL, DAFS_QUOTA_GROUP, file, len, &back, &nback, &grace));
	assert_int_equal(nback, n);
	assert_int_equal(grace.blk_sec, 7 * 24 * 3600);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(back[i].id, ids[i]);
		assert_int_equal(back[i].inodes, i + 1);
		assert_int_equal(back[i].bytes, (uint64_t)i << 33);
		assert_int_equal(back[i].blk_hard, 5);
		assert_int_equal(back[i].inode_soft, 6);
		assert_int_equal(back[i].inode_sec, 0);
	}
	free(back);
	free(file);
	free(entries);
}

static void test_trees(void **state)
{
	uint32_t few[] = { 0, 1, 255, 256, 65535, 65536, 70000, 16777216, 4294967294, 4294967295 };
	uint32_t *many = calloc(3000, sizeof(*many));
	(void)state;

	check(NULL, 0);
	check(few, 1);
	check(few, sizeof(few) / sizeof(few[0]));
	for (uint32_t i = 0; i < 3000; i++)
		many[i] = i * 37 + (i > 1500 ? 1u << 31 : 0);
	check(many, 14);
	check(many, 3000);
	free(many);
}

static void test_order(void **state)
{
	struct dafs_quota_entry entries[2] = { { .id = 7 }, { .id = 7 } };
	uint8_t *file;
	size_t len;
	(void)state;

	assert_err(DAFS_ET_SEQUENCE,
		   dafs_qcodec_encode(NULL, DAFS_QUOTA_USER, entries, 2, &file, &len));
	assert_null(file);
}

/* An entry of zeros would read as "no entry". */
static void test_zero_entry(void **state)
{
	struct dafs_quota_entry entry = { .id = 0 };
	uint8_t *file;
	size_t len;
	(void)state;

	assert_ok(dafs_qcodec_encode(NULL, DAFS_QUOTA_PROJECT, &entry, 1, &file, &len));
	assert_int_equal(len, 6 * 1024);
	assert_non_null(walk(file, len, 0));
	free(file);
}

/* Damaged files: refused, whatever the damage; no reference leads out, none in circles. */
static void test_damaged(void **state)
{
	struct dafs_quota_entry entries[40], *back;
	struct dafs_quota_grace grace;
	uint64_t rng = test_seed(1);
	uint8_t *file, *bad;
	size_t len, n;
	(void)state;

	for (uint32_t i = 0; i < 40; i++)
		entries[i] = (struct dafs_quota_entry){ .id = i * 1000003, .inodes = i };
	assert_ok(dafs_qcodec_encode(NULL, DAFS_QUOTA_USER, entries, 40, &file, &len));
	assert_err(DAFS_ET_CORRUPT_QUOTA,
		   dafs_qcodec_decode(NULL, DAFS_QUOTA_GROUP, file, len, &back, &n, &grace));
	assert_err(DAFS_ET_CORRUPT_QUOTA,
		   dafs_qcodec_decode(NULL, DAFS_QUOTA_USER, file, 1024, &back, &n, &grace));
	bad = malloc(len);
	for (int round = 0; round < 3000; round++) {
		memcpy(bad, file, len);
		for (int k = 0; k < 3; k++) {
			size_t at = 1024 + test_random(&rng) % (len - 1024);

			bad[at] = (uint8_t)test_random(&rng);
		}
		if (!dafs_qcodec_decode(NULL, DAFS_QUOTA_USER, bad, len, &back, &n, &grace))
			free(back);
		else
			assert_null(back);
	}
	/* A loop. */
	memcpy(bad, file, len);
	bad[2048] = 2;
	assert_err(DAFS_ET_CORRUPT_QUOTA,
		   dafs_qcodec_decode(NULL, DAFS_QUOTA_USER, bad, len, &back, &n, &grace));
	free(bad);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trees),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_zero_entry),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests_name("qcodec", tests, NULL, NULL);
}
