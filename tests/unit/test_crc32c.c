/* SPDX-License-Identifier: GPL-2.0-or-later */
/* crc32c against the polynomial bit by bit, for lengths on both sides of the short path's end. */
#include "config.h"

#include "base/crc32c.h"
#include "test.h"

static uint32_t by_bits(uint32_t crc, const uint8_t *at, size_t len)
{
	for (; len; at++, len--) {
		crc ^= *at;
		for (unsigned i = 0; i < 8; i++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return crc;
}

static void test_known(void **state)
{
	(void)state;
	/* The check value of CRC-32C (RFC 3720, B.4), before the final inversion. */
	assert_int_equal(dafs_crc32c(~0u, "123456789", 9), ~0xe3069283u);
	assert_int_equal(dafs_crc32c(7, "", 0), 7);
}

static void test_lengths(void **state)
{
	uint8_t buf[2003];

	(void)state;
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 2654435761u >> 13);
	for (size_t len = 0; len + 3 <= sizeof(buf); len++) {
		const uint8_t *at = buf + len % 4; /* not aligned as a rule */

		assert_int_equal(dafs_crc32c(0x1234567u, at, len), by_bits(0x1234567u, at, len));
	}
}

static void test_continues(void **state)
{
	uint8_t buf[1500];

	(void)state;
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i ^ i >> 3);
	for (size_t cut = 0; cut <= sizeof(buf); cut += 37)
		assert_int_equal(
			dafs_crc32c(dafs_crc32c(~0u, buf, cut), buf + cut, sizeof(buf) - cut),
			dafs_crc32c(~0u, buf, sizeof(buf)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_continues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
