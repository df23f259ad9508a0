/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON members, bytes that are no UTF-8 among them. */
#include "config.h"

#include "tests/unit/test.h"

#include <string.h>

#include "cli/json.h"

/* What object says when it is printed in one line; the caller frees it. */
static char *plain(struct json_object *object)
{
	char *text = strdup(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));

	json_object_put(object);
	return text;
}

static void test_members(void **state)
{
	struct json_object *object = json_object_new_object(), *member;
	char *text;

	(void)state;
	dafs_cli_json_str(object, "s", "a\"b");
	dafs_cli_json_str(object, "n", NULL);
	dafs_cli_json_u64(object, "u", UINT64_MAX);
	dafs_cli_json_i64(object, "i", INT64_MIN);
	dafs_cli_json_bool(object, "b", true);
	member = dafs_cli_json_array(object, "a");
	json_object_array_add(member, json_object_new_int(1));
	member = dafs_cli_json_object(object, "o");
	dafs_cli_json_bool(member, "x", false);
	text = plain(object);
	assert_string_equal(text,
			    "{\"s\":\"a\\\"b\",\"n\":null,\"u\":18446744073709551615,"
			    "\"i\":-9223372036854775808,\"b\":true,\"a\":[1],\"o\":{\"x\":false}}");
	free(text);
}

static void test_bytes(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *json;
	} cases[] = {
		{ "plain", 5, "{\"k\":\"plain\"}" },
		{ "", 0, "{\"k\":\"\"}" },
		{ "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9,
		  "{\"k\":\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"}" },
		{ "a\xFFz", 3, "{\"k_hex\":\"61ff7a\",\"k\":\"a\xEF\xBF\xBDz\"}" },
		{ "\xC0\xAF", 2, "{\"k_hex\":\"c0af\",\"k\":\"\xEF\xBF\xBD\xEF\xBF\xBD\"}" },
		{ "\xED\xA0\x80", 3,
		  "{\"k_hex\":\"eda080\",\"k\":\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"}" },
		{ "\xE2\x82", 2, "{\"k_hex\":\"e282\",\"k\":\"\xEF\xBF\xBD\xEF\xBF\xBD\"}" },
		{ "\xF4\x90\x80\x80", 4,
		  "{\"k_hex\":\"f4908080\",\"k\":"
		  "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"}" },
		{ "\x01\n", 2, "{\"k\":\"\\u0001\\n\"}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_object *object = json_object_new_object();
		char *text;

		dafs_cli_json_bytes(object, "k", cases[i].bytes, cases[i].len);
		text = plain(object);
		assert_string_equal(text, cases[i].json);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
