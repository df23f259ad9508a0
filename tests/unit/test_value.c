/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, numbers, modes, owners, times and lists of the command line. */
#include "config.h"

#include "tests/unit/test.h"

#include <string.h>

#include "cli/value.h"

static struct dafs_ctx ctx;

static void test_size(void **state)
{
	static const struct {
		const char *text;
		uint64_t unit_bytes, bytes;
	} good[] = {
		{ "0", 1024, 0 },
		{ "7", 1024, 7168 },
		{ "7", 1, 7 },
		{ "3s", 1024, 1536 },
		{ "1k", 1, 1024 },
		{ "1K", 4096, 1024 },
		{ "2m", 1, 2 << 20 },
		{ "1G", 1, 1 << 30 },
		{ "16T", 1, UINT64_C(16) << 40 },
		{ "1p", 1, UINT64_C(1) << 50 },
		{ "8KiB", 1, 8192 },
		{ "8MB", 1, 8 << 20 },
		{ "18446744073709551615", 1, UINT64_MAX },
	};
	static const char *const bad[] = { "",	  "k",	  "-1",	  " 1",	  "1 ", "1x",
					   "1kk", "1kib", "0x10", "1.5G", "+1" };
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(dafs_cli_parse_size(&ctx, good[i].text, good[i].unit_bytes, &bytes));
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bytes = 5;
		assert_err(DAFS_ET_USAGE, dafs_cli_parse_size(&ctx, bad[i], 1, &bytes));
		assert_int_equal(bytes, 0);
	}
	assert_err(DAFS_ET_RANGE, dafs_cli_parse_size(&ctx, "18446744073709551616", 1, &bytes));
	assert_err(DAFS_ET_RANGE, dafs_cli_parse_size(&ctx, "18446744073709551615k", 1, &bytes));
	assert_err(DAFS_ET_RANGE, dafs_cli_parse_size(&ctx, "16384P", 1, &bytes));
	assert_int_equal(bytes, 0);
}

static void test_number(void **state)
{
	uint64_t number;
	double real;

	(void)state;
	assert_ok(dafs_cli_parse_u64(&ctx, "10", 0, 10, &number));
	assert_int_equal(number, 10);
	assert_ok(dafs_cli_parse_u64(&ctx, "0xfF", 0, UINT64_MAX, &number));
	assert_int_equal(number, 255);
	assert_ok(dafs_cli_parse_u64(&ctx, "010", 0, 10, &number));
	assert_int_equal(number, 10);
	assert_err(DAFS_ET_RANGE, dafs_cli_parse_u64(&ctx, "11", 0, 10, &number));
	assert_err(DAFS_ET_RANGE, dafs_cli_parse_u64(&ctx, "0", 1, 10, &number));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_u64(&ctx, "0x", 0, 10, &number));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_u64(&ctx, "1a", 0, 10, &number));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_u64(&ctx, "", 0, 10, &number));
	assert_ok(dafs_cli_parse_real(&ctx, "0.5", 0, 50, &real));
	assert_true(real == 0.5);
	assert_err(DAFS_ET_RANGE, dafs_cli_parse_real(&ctx, "50.1", 0, 50, &real));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_real(&ctx, "nan", 0, 50, &real));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_real(&ctx, "1.2.3", 0, 50, &real));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_real(&ctx, "", 0, 50, &real));
}

static void test_mode(void **state)
{
	static const struct {
		mode_t old_mode;
		const char *text;
		mode_t mode;
	} good[] = {
		{ S_IFREG | 0644, "755", 0755 },      { S_IFREG | 0644, "7777", 07777 },
		{ S_IFREG | 0644, "0", 0 },	      { S_IFREG | 0644, "u+x", 0744 },
		{ S_IFREG | 0644, "+x", 0755 },	      { S_IFREG | 0644, "a-r,u+w", 0200 },
		{ S_IFREG | 0640, "o=g", 0644 },      { S_IFREG | 0644, "go=", 0600 },
		{ S_IFREG | 0644, "+X", 0644 },	      { S_IFREG | 0744, "+X", 0755 },
		{ S_IFDIR | 0644, "+X", 0755 },	      { S_IFREG | 0755, "u+s", 04755 },
		{ S_IFREG | 0755, "g+s,o+t", 03755 }, { S_IFREG | 06755, "ug-s", 0755 },
		{ S_IFREG | 04755, "u=rwx", 0755 },   { S_IFDIR | 02755, "g=rx", 02755 },
		{ S_IFDIR | 02755, "g-s", 0755 },     { S_IFREG | 0600, "u=r+x", 0500 },
	};
	static const char *const bad[] = { "",	   "8",	   "77777", "u",   "u+q",
					   "u+x,", "644x", "z+x",   ",u+x" };
	mode_t mode;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(dafs_cli_parse_mode(&ctx, good[i].text, good[i].old_mode, &mode));
		if (mode != good[i].mode)
			fail_msg("%o %s: %o, wanted %o", good[i].old_mode, good[i].text, mode,
				 good[i].mode);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(DAFS_ET_USAGE, dafs_cli_parse_mode(&ctx, bad[i], 0100644, &mode));
}

static void test_owner(void **state)
{
	uint32_t uid = 1, gid = 2;

	(void)state;
	assert_ok(dafs_cli_parse_owner(&ctx, "7", &uid, &gid));
	assert_int_equal(uid, 7);
	assert_int_equal(gid, 2);
	assert_ok(dafs_cli_parse_owner(&ctx, ":9", &uid, &gid));
	assert_int_equal(uid, 7);
	assert_int_equal(gid, 9);
	assert_ok(dafs_cli_parse_owner(&ctx, "4294967294:65536", &uid, &gid));
	assert_int_equal(uid, 4294967294u);
	assert_int_equal(gid, 65536);
	assert_err(DAFS_ET_RANGE, dafs_cli_parse_owner(&ctx, "4294967295:0", &uid, &gid));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_owner(&ctx, "", &uid, &gid));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_owner(&ctx, "root", &uid, &gid));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_owner(&ctx, "1:", &uid, &gid));
	assert_err(DAFS_ET_USAGE, dafs_cli_parse_owner(&ctx, "1:2:3", &uid, &gid));
	assert_int_equal(uid, 4294967294u);
}

static void test_time(void **state)
{
	static const struct {
		const char *text;
		int64_t sec;
		long nsec;
	} good[] = {
		{ "@0", 0, 0 },
		{ "@1700000000.5", 1700000000, 500000000 },
		{ "@-1.25", -2, 750000000 },
		{ "@-0.25", -1, 750000000 },
		{ "@-2147483649", INT64_C(-2147483649), 0 },
		{ "@1.1234567899", 1, 123456789 },
		{ "1970-01-02", 86400, 0 },
		{ "2040-02-29 12:00:00.000000001", INT64_C(2214129600), 1 },
		{ "1970-01-01T01:00+01:00", 0, 0 },
		{ "1970-01-01 00:00 -0130", 5400, 0 },
		{ "1901-12-13T20:45:52Z", INT64_C(-2147483648), 0 },
		{ "now", 123, 456 },
	};
	static const char *const bad[] = {
		"",
		"@",
		"@x",
		"@1x",
		"@1.",
		"12:00",
		"2023-02-29",
		"2023-13-01",
		"2023-1-1",
		"2023-01-01 25:00",
		"2023-01-01 10:00:00x",
		"2023-01-01T",
		"tomorrow",
	};
	struct timespec time;

	(void)state;
	ctx.now_sec = 123;
	ctx.now_nsec = 456;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(dafs_cli_parse_time(&ctx, good[i].text, &time));
		if (time.tv_sec != good[i].sec || time.tv_nsec != good[i].nsec)
			fail_msg("%s: %lld.%09ld", good[i].text, (long long)time.tv_sec,
				 time.tv_nsec);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(DAFS_ET_USAGE, dafs_cli_parse_time(&ctx, bad[i], &time));
}

/* Writes the items into one string: [^]name[=value]; */
static errcode_t note_item(void *arg, const struct dafs_cli_item *item)
{
	char *out = arg;

	if (!strcmp(item->name, "stop"))
		return DAFS_ET_FEATURE;
	strcat(out, item->negated ? "^" : "");
	strcat(out, item->name);
	if (item->value)
		strcat(strcat(out, "="), item->value);
	strcat(out, ";");
	return 0;
}

static void test_list(void **state)
{
	char out[128] = "";

	(void)state;
	assert_ok(dafs_cli_each(&ctx, "^64bit,bigalloc", note_item, out));
	assert_string_equal(out, "^64bit;bigalloc;");
	out[0] = '\0';
	assert_ok(dafs_cli_each(&ctx, "stride=16,discard,label=a=b", note_item, out));
	assert_string_equal(out, "stride=16;discard;label=a=b;");
	out[0] = '\0';
	assert_err(DAFS_ET_FEATURE, dafs_cli_each(&ctx, "a,stop,b", note_item, out));
	assert_string_equal(out, "a;");
	assert_err(DAFS_ET_USAGE, dafs_cli_each(&ctx, "a,,b", note_item, out));
	assert_err(DAFS_ET_USAGE, dafs_cli_each(&ctx, "", note_item, out));
	assert_err(DAFS_ET_USAGE, dafs_cli_each(&ctx, "=5", note_item, out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size), cmocka_unit_test(test_number),
		cmocka_unit_test(test_mode), cmocka_unit_test(test_owner),
		cmocka_unit_test(test_time), cmocka_unit_test(test_list),
	};

	initialize_dafs_error_table();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
