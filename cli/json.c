/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json - see json.h. */
#include "config.h"

#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

void dafs_cli_json_str(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, text ? json_object_new_string(text) : NULL);
}

void dafs_cli_json_u64(struct json_object *object, const char *key, uint64_t number)
{
	json_object_object_add(object, key, json_object_new_uint64(number));
}

void dafs_cli_json_i64(struct json_object *object, const char *key, int64_t number)
{
	json_object_object_add(object, key, json_object_new_int64(number));
}

void dafs_cli_json_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

/* Length of the UTF-8 sequence at p (RFC 3629: no surrogates, no overlong forms, at most
 * U+10FFFF); 0: none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
	uint32_t point;
	size_t i;

	if (len < 2)
		return len;
	if (len > left)
		return 0;
	point = *p & (0x7Fu >> len);
	for (i = 1; i < len; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		point = point << 6 | (p[i] & 0x3F);
	}
	if (point < least[len] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
		return 0;
	return len;
}

/* Replace bad bytes by U+FFFD. text has room for 3 * len bytes. True when there was none. */
static bool to_utf8(const unsigned char *bytes, size_t len, char *text, size_t *text_len)
{
	bool clean = true;
	size_t i, step;

	*text_len = 0;
	for (i = 0; i < len; i += step) {
		step = utf8_len(bytes + i, len - i);
		if (step) {
			memcpy(text + *text_len, bytes + i, step);
			*text_len += step;
			continue;
		}
		memcpy(text + *text_len, "\xEF\xBF\xBD", 3);
		*text_len += 3;
		step = 1;
		clean = false;
	}
	return clean;
}

static void add_hex(struct json_object *object, const char *key, const unsigned char *bytes,
		    size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *hex_key, *hex = malloc(2 * len);
	size_t i;

	if (asprintf(&hex_key, "%s_hex", key) < 0)
		hex_key = NULL;
	if (hex && hex_key) {
		for (i = 0; i < len; i++) {
			hex[2 * i] = digits[bytes[i] >> 4];
			hex[2 * i + 1] = digits[bytes[i] & 15];
		}
		json_object_object_add(object, hex_key,
				       json_object_new_string_len(hex, (int)(2 * len)));
	}
	free(hex);
	free(hex_key);
}

void dafs_cli_json_bytes(struct json_object *object, const char *key, const void *bytes, size_t len)
{
	char *text = malloc(3 * len + 1);
	size_t text_len;

	if (!text)
		return;
	if (!to_utf8(bytes, len, text, &text_len))
		add_hex(object, key, bytes, len);
	json_object_object_add(object, key, json_object_new_string_len(text, (int)text_len));
	free(text);
}

struct json_object *dafs_cli_json_object(struct json_object *object, const char *key)
{
	struct json_object *member = json_object_new_object();

	json_object_object_add(object, key, member);
	return member;
}

struct json_object *dafs_cli_json_array(struct json_object *object, const char *key)
{
	struct json_object *member = json_object_new_array();

	json_object_object_add(object, key, member);
	return member;
}

void dafs_cli_json_put(FILE *out, struct json_object *value)
{
	const char *text = json_object_to_json_string_ext(
		value,
		JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);

	fprintf(out, "%s\n", text ? text : "null");
	json_object_put(value);
}
