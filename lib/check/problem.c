/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * problem - the problem table as data, and a finding as a line of text.
 */
#include "config.h"

#include "check/problem.h"

#include <stdio.h>
#include <string.h>

enum { NONE, SAFE, YES, LATER };

static const struct dafs_check_info table[] = {
#define ROW(name, id, class, repair, ask, message, help)                                           \
	[DAFS_CK_##name] = { id, DAFS_CHECK_##class, repair, ask, message, help },
	DAFS_CK_PROBLEMS(ROW)
#undef ROW
};

const struct dafs_check_info *dafs_check_info(unsigned code)
{
	return code < DAFS_CK_CODES ? &table[code] : NULL;
}

/* Text under construction; at counts on when the room is used up. */
struct line {
	char *buf;
	size_t room, at;
};

static void put_char(struct line *out, char c)
{
	if (out->at + 1 < out->room)
		out->buf[out->at] = c;
	out->at++;
}

static void put_text(struct line *out, const char *text)
{
	while (*text)
		put_char(out, *text++);
}

static void put_number(struct line *out, const char *format, uint64_t number)
{
	char digits[24];

	snprintf(digits, sizeof(digits), format, (unsigned long long)number);
	put_text(out, digits);
}

/* Names are bytes: what is not printable ASCII becomes \xHH, so that a terminal shows one line
 * whatever the image says. */
static void put_name(struct line *out, const struct dafs_finding *f)
{
	put_char(out, '\'');
	for (unsigned i = 0; f->name && i < f->name_len; i++) {
		unsigned char c = (unsigned char)f->name[i];

		if (c >= 0x20 && c < 0x7f && c != '\\')
			put_char(out, (char)c);
		else
			put_number(out, "\\x%02llx", c);
	}
	put_char(out, '\'');
}

static void put_field(struct line *out, const struct dafs_finding *f, char field)
{
	switch (field) {
	case 'i':
		put_number(out, "%llu", f->ino);
		break;
	case 'd':
		put_number(out, "%llu", f->dir);
		break;
	case 'g':
		put_number(out, "%llu", f->grp);
		break;
	case 'r':
		put_number(out, "%llu", f->ref);
		break;
	case 'b':
		put_number(out, "%llu", f->blk);
		break;
	case 'l':
		put_number(out, "%llu", f->lblk);
		break;
	case 'n':
		put_number(out, "%llu", f->len);
		break;
	case 'o':
		put_number(out, "%llu", f->off);
		break;
	case 'f':
		put_number(out, "%llu", f->found);
		break;
	case 'w':
		put_number(out, "%llu", f->want);
		break;
	case 'x':
		put_number(out, "0x%llx", f->found);
		break;
	case 'X':
		put_number(out, "0x%llx", f->want);
		break;
	case 'N':
		put_name(out, f);
		break;
	case 't':
		put_text(out, f->text ? f->text : "?");
		break;
	default:
		put_char(out, field);
	}
}

void dafs_check_format(const struct dafs_finding *f, char *buf, size_t len)
{
	const struct dafs_check_info *info = dafs_check_info(f->code);
	struct line out = { buf, len, 0 };

	if (!len)
		return;
	for (const char *at = info ? info->message : "?"; *at; at++) {
		if (*at == '%' && at[1])
			put_field(&out, f, *++at);
		else
			put_char(&out, *at);
	}
	buf[out.at < len ? out.at : len - 1] = 0;
}
