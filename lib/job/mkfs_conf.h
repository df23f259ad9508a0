/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_conf - mke2fs.conf: which features, sizes and ratios a file system gets when nobody says.
 *
 * Reads the file that mke2fs(8) reads, so that a builder's own configuration gives the same
 * file systems here. Values are looked up by a list of types (the -t type, then the -T types):
 * a later type wins over an earlier one, any type over [defaults].
 *
 * It knows the grammar only: which relations exist and what they mean is the caller's.
 *
 * Invariants:
 *  1. of several relations, or subsections, with one name in one section the first counts;
 *     parts of one section add up;
 *  2. a conf is read-only after the load; texts handed out live as long as it.
 */
#ifndef DAFS_JOB_MKFS_CONF_H
#define DAFS_JOB_MKFS_CONF_H

#include "base/ctx.h"

#define DAFS_MKFS_CONF_PATH "/etc/mke2fs.conf"

struct dafs_mkfs_conf;

/* Load the file that MKE2FS_CONFIG names, else /etc/mke2fs.conf; where there is none, the
 * built-in text that e2fsprogs 1.47 falls back to. DAFS_ET_SYNTAX with "path:line" in the detail;
 * errno when it is there and cannot be read. */
errcode_t dafs_mkfs_conf_load(struct dafs_ctx *ctx, struct dafs_mkfs_conf **ret);

/* The same from a text in memory; name stands for the path in messages. */
errcode_t dafs_mkfs_conf_parse(struct dafs_ctx *ctx, const char *name, const char *text,
			       struct dafs_mkfs_conf **ret);

/* Free; NULL is fine. */
void dafs_mkfs_conf_free(struct dafs_mkfs_conf *conf);

/* Is there a subsection called type in [fs_types]? */
bool dafs_mkfs_conf_has_type(const struct dafs_mkfs_conf *conf, const char *type);

/* The relation tag in [section], or in the subsection sub of it (NULL: in the section itself);
 * NULL when there is none. */
const char *dafs_mkfs_conf_raw(const struct dafs_mkfs_conf *conf, const char *section,
			       const char *sub, const char *tag);

/* A list of types that ends with NULL, and the conf it is looked up in. */
struct dafs_mkfs_types {
	const struct dafs_mkfs_conf *conf;
	const char *const *names;
};

/* The value of tag for these types: the last type that has it, else [defaults], else def. */
const char *dafs_mkfs_conf_str(const struct dafs_mkfs_types *types, const char *tag,
			       const char *def);

/* The same as a number (decimal, octal with 0, hexadecimal with 0x), a fraction or a boolean (as
 * mke2fs.conf(5) lists them). DAFS_ET_SYNTAX with tag and value in the detail when it does not
 * parse; *ret is def then. */
errcode_t dafs_mkfs_conf_int(struct dafs_ctx *ctx, const struct dafs_mkfs_types *types,
			     const char *tag, long def, long *ret);
errcode_t dafs_mkfs_conf_real(struct dafs_ctx *ctx, const struct dafs_mkfs_types *types,
			      const char *tag, double def, double *ret);
errcode_t dafs_mkfs_conf_bool(struct dafs_ctx *ctx, const struct dafs_mkfs_types *types,
			      const char *tag, bool def, bool *ret);

#endif
