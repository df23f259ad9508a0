/* SPDX-License-Identifier: GPL-2.0-or-later */
/* time - dafs_cli_parse_time of value.h. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/value.h"

/* A fixed number of digits within [min, max]. */
static bool take_field(const char **p, int digits, int min, int max, int *number)
{
	*number = 0;
	while (digits--) {
		if (!isdigit((unsigned char)**p))
			return false;
		*number = *number * 10 + *(*p)++ - '0';
	}
	return *number >= min && *number <= max;
}

/* ".123" as nanoseconds; further digits are cut off. Nothing there is 0. */
static bool take_fraction(const char **p, long *nsec)
{
	long unit = 100000000;

	*nsec = 0;
	if (**p != '.' && **p != ',')
		return true;
	if (!isdigit((unsigned char)*++*p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++, unit /= 10)
		*nsec += (**p - '0') * unit;
	return true;
}

static bool take_epoch(const char *p, struct timespec *time)
{
	bool negative = *p == '-';
	char *end;

	if (!isdigit((unsigned char)p[negative]))
		return false;
	errno = 0;
	time->tv_sec = strtoll(p, &end, 10);
	p = end;
	if (errno || !take_fraction(&p, &time->tv_nsec) || *p)
		return false;
	/* -1.25 is second -2 and 0.75 behind it: nanoseconds count upwards. */
	if (negative && time->tv_nsec) {
		time->tv_sec--;
		time->tv_nsec = 1000000000 - time->tv_nsec;
	}
	return true;
}

/* "+HH:MM", "-HHMM", "Z" or nothing, as the seconds to take off. */
static bool take_zone(const char **p, int *zone_secs)
{
	int hours, minutes, sign = **p == '-' ? -1 : 1;

	*zone_secs = 0;
	if (**p == 'Z' || **p == 'z') {
		(*p)++;
		return true;
	}
	if (**p != '+' && **p != '-')
		return true;
	(*p)++;
	if (!take_field(p, 2, 0, 14, &hours))
		return false;
	if (**p == ':')
		(*p)++;
	if (!take_field(p, 2, 0, 59, &minutes))
		return false;
	*zone_secs = sign * (hours * 3600 + minutes * 60);
	return true;
}

static bool take_clock(const char **p, struct tm *tm, long *nsec)
{
	if (!take_field(p, 2, 0, 23, &tm->tm_hour) || *(*p)++ != ':' ||
	    !take_field(p, 2, 0, 59, &tm->tm_min))
		return false;
	if (**p != ':')
		return true;
	(*p)++;
	return take_field(p, 2, 0, 59, &tm->tm_sec) && take_fraction(p, nsec);
}

static bool take_calendar(const char *p, struct timespec *time)
{
	struct tm tm = { 0 }, want;
	int zone_secs = 0;

	if (!take_field(&p, 4, 0, 9999, &tm.tm_year) || *p++ != '-' ||
	    !take_field(&p, 2, 1, 12, &tm.tm_mon) || *p++ != '-' ||
	    !take_field(&p, 2, 1, 31, &tm.tm_mday))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (*p == 'T' || *p == ' ') {
		p++;
		if (!take_clock(&p, &tm, &time->tv_nsec))
			return false;
		p += strspn(p, " ");
		if (!take_zone(&p, &zone_secs))
			return false;
	}
	want = tm;
	time->tv_sec = timegm(&tm) - zone_secs;
	/* timegm turns 30 February into 1 or 2 March; we do not. */
	return !*p && want.tm_mday == tm.tm_mday;
}

errcode_t dafs_cli_parse_time(struct dafs_ctx *ctx, const char *text, struct timespec *time)
{
	bool good;

	*time = (struct timespec){ 0 };
	if (!strcmp(text, "now")) {
		*time = (struct timespec){ ctx->now_sec, ctx->now_nsec };
		return 0;
	}
	good = *text == '@' ? take_epoch(text + 1, time) : take_calendar(text, time);
	if (good)
		return 0;
	*time = (struct timespec){ 0 };
	return dafs_fail(ctx, DAFS_ET_USAGE, "'%s' is not a time (@SECONDS or YYYY-MM-DD HH:MM:SS)",
			 text);
}
