/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * value - what options and operands mean: sizes, numbers, modes, owners, times, lists.
 *
 * Every parser takes the whole text or fails: DAFS_ET_USAGE for what does not parse, DAFS_ET_RANGE
 * for what is out of bounds, with the text in the detail. The out-parameter is zeroed on failure.
 */
#ifndef DAFS_CLI_VALUE_H
#define DAFS_CLI_VALUE_H

#include <sys/stat.h>
#include <time.h>

#include "base/ctx.h"

/* A size: decimal digits, then nothing (the number counts in units of unit_bytes), s (512 bytes),
 * or k, m, g, t, p in either case, powers of two, with an optional "iB" or "B" (e2fsprogs'
 * suffixes). */
errcode_t dafs_cli_parse_size(struct dafs_ctx *ctx, const char *text, uint64_t unit_bytes,
			      uint64_t *bytes);

/* A plain number in [min, max]: decimal, or hexadecimal with 0x. */
errcode_t dafs_cli_parse_u64(struct dafs_ctx *ctx, const char *text, uint64_t min, uint64_t max,
			     uint64_t *number);

/* A decimal fraction in [min, max], such as mke2fs's -m takes. */
errcode_t dafs_cli_parse_real(struct dafs_ctx *ctx, const char *text, double min, double max,
			      double *number);

/* A mode as chmod(1) takes it: octal up to 7777, or clauses such as u+rw,g=u,a-x,+X that change
 * old_mode (whose file type decides X). The result is the permission bits alone. Without "ugoa" a
 * clause means a: no umask. */
errcode_t dafs_cli_parse_mode(struct dafs_ctx *ctx, const char *text, mode_t old_mode,
			      mode_t *mode);

/* An owner as chown(1) takes it, numbers only (the host's names mean nothing in an image): UID,
 * UID:GID, :GID. What is absent stays as it was on entry. */
errcode_t dafs_cli_parse_owner(struct dafs_ctx *ctx, const char *text, uint32_t *uid,
			       uint32_t *gid);

/* A time: @SECONDS[.FRACTION] (may be negative), YYYY-MM-DD, YYYY-MM-DD[T ]HH:MM[:SS[.FRACTION]]
 * with Z, +HH:MM or -HH:MM behind it; without a zone UTC, so that the result does not depend on the
 * host. "now" is the context's. */
errcode_t dafs_cli_parse_time(struct dafs_ctx *ctx, const char *text, struct timespec *time);

/* One item of a list: "^name" is negated, "name=value" has a value (else NULL). */
struct dafs_cli_item {
	const char *name;
	const char *value;
	bool negated;
};
typedef errcode_t (*dafs_cli_item_fn)(void *arg, const struct dafs_cli_item *item);

/* Call fn for every item of a comma-separated list (-O ^feat,feat and -E key=value,...). Empty
 * items are DAFS_ET_USAGE. Stops at the first error that fn returns. */
errcode_t dafs_cli_each(struct dafs_ctx *ctx, const char *text, dafs_cli_item_fn fn, void *arg);

#endif
