/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mode - dafs_cli_parse_mode of value.h: modes as chmod(1) takes them. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "cli/value.h"

#define ALL_BITS 07777u

/* The classes of one clause: their rwx bits, and the special bit that goes with each. */
struct who {
	mode_t rwx;
	mode_t special;
};

static struct who take_who(const char **p)
{
	struct who who = { 0 };

	for (;; (*p)++) {
		switch (**p) {
		case 'u':
			who.rwx |= S_IRWXU;
			who.special |= S_ISUID;
			break;
		case 'g':
			who.rwx |= S_IRWXG;
			who.special |= S_ISGID;
			break;
		case 'o':
			who.rwx |= S_IRWXO;
			who.special |= S_ISVTX;
			break;
		case 'a':
			who = (struct who){ 0777, S_ISUID | S_ISGID | S_ISVTX };
			break;
		default:
			if (!who.rwx)
				who = (struct who){ 0777, S_ISUID | S_ISGID | S_ISVTX };
			return who;
		}
	}
}

/* The bits that a letter behind the operator stands for, in all three classes. */
static bool letter_bits(char letter, mode_t mode, mode_t *bits)
{
	switch (letter) {
	case 'r':
		*bits |= 0444;
		return true;
	case 'w':
		*bits |= 0222;
		return true;
	case 'x':
		*bits |= 0111;
		return true;
	case 'X':
		if (S_ISDIR(mode) || (mode & 0111))
			*bits |= 0111;
		return true;
	case 's':
		*bits |= S_ISUID | S_ISGID;
		return true;
	case 't':
		*bits |= S_ISVTX;
		return true;
	case 'u':
		*bits |= (mode >> 6 & 7) * 0111;
		return true;
	case 'g':
		*bits |= (mode >> 3 & 7) * 0111;
		return true;
	case 'o':
		*bits |= (mode & 7) * 0111;
		return true;
	}
	return false;
}

/* One clause: [ugoa...](op letters...)+. Leaves *p behind it. */
static bool take_clause(const char **p, mode_t *mode)
{
	struct who who = take_who(p);
	mode_t mask = who.rwx | who.special;

	if (!**p || !strchr("+-=", **p))
		return false;
	while (**p && strchr("+-=", **p)) {
		char op = *(*p)++;
		mode_t bits = 0;

		while (letter_bits(**p, *mode, &bits))
			(*p)++;
		bits &= mask;
		if (op == '+')
			*mode |= bits;
		else if (op == '-')
			*mode &= ~bits;
		else /* a directory keeps its set-id bits, as with chmod(1) */
			*mode = (*mode & ~(mask & (S_ISDIR(*mode) ? 01777 : ALL_BITS))) | bits;
	}
	return true;
}

errcode_t dafs_cli_parse_mode(struct dafs_ctx *ctx, const char *text, mode_t old_mode, mode_t *mode)
{
	const char *p = text;
	char *end;

	*mode = 0;
	if (*p >= '0' && *p <= '7') {
		unsigned long number = strtoul(text, &end, 8);

		if (*end || number > ALL_BITS)
			return dafs_fail(ctx, DAFS_ET_USAGE, "'%s' is not a mode", text);
		*mode = (mode_t)number;
		return 0;
	}
	do {
		if (!take_clause(&p, &old_mode))
			return dafs_fail(ctx, DAFS_ET_USAGE, "'%s' is not a mode", text);
	} while (*p == ',' && p++);
	if (*p)
		return dafs_fail(ctx, DAFS_ET_USAGE, "'%s' is not a mode", text);
	*mode = old_mode & ALL_BITS;
	return 0;
}
