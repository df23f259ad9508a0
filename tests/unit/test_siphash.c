/* SPDX-License-Identifier: GPL-2.0-or-later */
/* siphash against values of its authors, and that a secret is one. */
#include "config.h"

#include "base/siphash.h"
#include "test.h"

static void test_known(void **state)
{
	/* Of the paper's appendix A and its reference code: bytes 0, 1, 2, .. under the key of
	 * bytes 0 to 15. */
	static const struct {
		size_t len;
		uint64_t hash;
	} known[] = {
		{ 0, UINT64_C(0x726fdb47dd0e0e31) },  { 1, UINT64_C(0x74f839c593dc67fd) },
		{ 7, UINT64_C(0xab0200f58b01d137) },  { 8, UINT64_C(0x93f5f5799a932462) },
		{ 15, UINT64_C(0xa129ca6149be45e5) }, { 63, UINT64_C(0x958a324ceb064572) },
	};
	struct dafs_siphash_key key = { { UINT64_C(0x0706050403020100),
					  UINT64_C(0x0f0e0d0c0b0a0908) } };
	uint8_t buf[64];

	(void)state;
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_true(dafs_siphash(&key, buf, known[i].len) == known[i].hash);
}

static void test_secret(void **state)
{
	struct dafs_siphash_key a = { { 0, 0 } }, b = { { 0, 0 } };

	(void)state;
	dafs_siphash_secret(&a);
	dafs_siphash_secret(&b);
	assert_true(a.k[0] != b.k[0] || a.k[1] != b.k[1]);
	assert_true(dafs_siphash(&a, "name", 4) != dafs_siphash(&b, "name", 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
