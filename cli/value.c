/* SPDX-License-Identifier: GPL-2.0-or-later */
/* value - see value.h. */
#include "config.h"

#include "cli/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static errcode_t bad(struct dafs_ctx *ctx, const char *what, const char *text)
{
	return dafs_fail(ctx, DAFS_ET_USAGE, "'%s' is not %s", text, what);
}

/* Digits only: no sign, no blanks, which strtoull would take. *end is behind them. */
static errcode_t take_digits(struct dafs_ctx *ctx, const char *text, int base, const char **end,
			     uint64_t *number)
{
	char *stop;

	*number = 0;
	if (base == 16 ? !isxdigit((unsigned char)*text) : !isdigit((unsigned char)*text))
		return bad(ctx, "a number", text);
	errno = 0;
	*number = strtoull(text, &stop, base);
	*end = stop;
	if (!errno)
		return 0;
	*number = 0;
	return dafs_fail(ctx, DAFS_ET_RANGE, "%s", text);
}

/* The unit that a suffix names; 0: none that we know. */
static uint64_t suffix_unit(const char *suffix, uint64_t unit_bytes)
{
	static const char letters[] = "kmgtp";
	const char *letter;

	if (!*suffix)
		return unit_bytes;
	if (!strcasecmp(suffix, "s"))
		return 512;
	letter = strchr(letters, tolower((unsigned char)*suffix));
	if (!letter || (suffix[1] && strcmp(suffix + 1, "B") && strcmp(suffix + 1, "iB")))
		return 0;
	return UINT64_C(1) << (10 * (letter - letters + 1));
}

errcode_t dafs_cli_parse_size(struct dafs_ctx *ctx, const char *text, uint64_t unit_bytes,
			      uint64_t *bytes)
{
	uint64_t number, unit;
	const char *suffix;
	errcode_t err;

	*bytes = 0;
	err = take_digits(ctx, text, 10, &suffix, &number);
	if (err)
		return err;
	unit = suffix_unit(suffix, unit_bytes);
	if (!unit)
		return bad(ctx, "a size", text);
	if (__builtin_mul_overflow(number, unit, bytes)) {
		*bytes = 0;
		return dafs_fail(ctx, DAFS_ET_RANGE, "%s", text);
	}
	return 0;
}

errcode_t dafs_cli_parse_u64(struct dafs_ctx *ctx, const char *text, uint64_t min, uint64_t max,
			     uint64_t *number)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *end;
	uint64_t found;
	errcode_t err;

	*number = 0;
	err = take_digits(ctx, hex ? text + 2 : text, hex ? 16 : 10, &end, &found);
	if (err)
		return err;
	if (*end)
		return bad(ctx, "a number", text);
	if (found < min || found > max)
		return dafs_fail(ctx, DAFS_ET_RANGE, "%s (%llu to %llu)", text,
				 (unsigned long long)min, (unsigned long long)max);
	*number = found;
	return 0;
}

errcode_t dafs_cli_parse_real(struct dafs_ctx *ctx, const char *text, double min, double max,
			      double *number)
{
	double found;
	char *end;

	*number = 0;
	/* No "inf", "nan", hexadecimal or blanks, which strtod would take. */
	if (!*text || strspn(text, "+-.0123456789") != strlen(text))
		return bad(ctx, "a number", text);
	found = strtod(text, &end);
	if (*end || end == text)
		return bad(ctx, "a number", text);
	if (found < min || found > max)
		return dafs_fail(ctx, DAFS_ET_RANGE, "%s (%g to %g)", text, min, max);
	*number = found;
	return 0;
}

errcode_t dafs_cli_parse_owner(struct dafs_ctx *ctx, const char *text, uint32_t *uid, uint32_t *gid)
{
	const uint32_t most = UINT32_MAX - 1; /* (uid_t)-1 means "no change" to the kernel */
	uint64_t number[2] = { *uid, *gid };
	const char *p = text;
	errcode_t err = 0;

	if (*p != ':')
		err = take_digits(ctx, p, 10, &p, &number[0]);
	if (!err && *p == ':')
		err = take_digits(ctx, p + 1, 10, &p, &number[1]);
	if (!err && (*p || p == text))
		err = bad(ctx, "an owner (UID:GID)", text);
	if (!err && (number[0] > most || number[1] > most))
		err = dafs_fail(ctx, DAFS_ET_RANGE, "%s", text);
	if (err)
		return err;
	*uid = (uint32_t)number[0];
	*gid = (uint32_t)number[1];
	return 0;
}

/* One item, which lies in writable memory. */
static errcode_t do_item(struct dafs_ctx *ctx, char *text, dafs_cli_item_fn fn, void *arg)
{
	struct dafs_cli_item item = { 0 };
	char *equals = strchr(text, '=');

	if (equals) {
		*equals = '\0';
		item.value = equals + 1;
	}
	item.negated = *text == '^';
	item.name = text + item.negated;
	if (!*item.name)
		return dafs_fail(ctx, DAFS_ET_USAGE, "a name is missing in the list");
	return fn(arg, &item);
}

errcode_t dafs_cli_each(struct dafs_ctx *ctx, const char *text, dafs_cli_item_fn fn, void *arg)
{
	char *copy = strdup(text), *rest = copy, *item;
	errcode_t err = 0;

	if (!copy)
		return dafs_fail(ctx, ENOMEM, "%s", text);
	while (!err && (item = strsep(&rest, ",")))
		err = do_item(ctx, item, fn, arg);
	free(copy);
	return err;
}
