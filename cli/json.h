/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * json - what --json prints: json-c objects with a few conveniences.
 *
 * Out of memory is remembered by nobody but json-c: the add functions skip the member, and
 * dafs_cli_json_put() then still prints a valid text. Names from an image are bytes, JSON strings
 * are UTF-8: see dafs_cli_json_bytes().
 */
#ifndef DAFS_CLI_JSON_H
#define DAFS_CLI_JSON_H

#include <json-c/json.h>
#include <stdio.h>

#include "base/ctx.h"

/* text NULL: null. */
void dafs_cli_json_str(struct json_object *object, const char *key, const char *text);
void dafs_cli_json_u64(struct json_object *object, const char *key, uint64_t number);
void dafs_cli_json_i64(struct json_object *object, const char *key, int64_t number);
void dafs_cli_json_bool(struct json_object *object, const char *key, bool value);

/* A name or value from an image. UTF-8 goes in as it is; anything else goes in with U+FFFD in the
 * place of each bad byte, and a second member KEY_hex holds the bytes exactly. */
void dafs_cli_json_bytes(struct json_object *object, const char *key, const void *bytes,
			 size_t len);

/* A new object or array as a member of object. Borrowed: object owns it. */
struct json_object *dafs_cli_json_object(struct json_object *object, const char *key);
struct json_object *dafs_cli_json_array(struct json_object *object, const char *key);

/* Print value and a newline, and drop the caller's reference. A write error shows at
 * dafs_cli_finish(). */
void dafs_cli_json_put(FILE *out, struct json_object *value);

#endif
