/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mktar SEED FILES BYTES PER_DIR - a tree from a seed as a tar archive on stdout: FILES files of
 * lognormal sizes around BYTES, some symlinks, some hard links; with =BYTES only files, of exactly
 * this size. PER_DIR of them in each directory, directories nested six to one. For images too large
 * to go through a host tree first.
 */
#include "config.h"

#include <err.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIGMA	   1.2
#define MOST_BYTES 1e6

static uint64_t state;
static char pool[1 << 20];

static uint64_t rnd(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * UINT64_C(0x2545F4914F6CDD1D) >> 11) % n;
}

static uint64_t some_size(double mean, int exact)
{
	double u = (double)(rnd(1u << 30) + 1) / (1u << 30), v = (double)rnd(1u << 30) / (1u << 30);
	double size = mean * exp(SIGMA * sqrt(-2 * log(u)) * cos(2 * M_PI * v) - SIGMA * SIGMA / 2);

	return (uint64_t)(exact ? mean : size > MOST_BYTES ? MOST_BYTES : size);
}

static void put(const void *bytes, size_t len)
{
	if (fwrite(bytes, 1, len, stdout) != len)
		err(2, "standard output");
}

static void octal(char *field, int digits, uint64_t value)
{
	while (digits--) {
		field[digits] = (char)('0' + value % 8);
		value /= 8;
	}
}

/* A ustar header; link may be NULL. */
static void header(const char *name, char type, uint64_t size, const char *link)
{
	char h[512] = "";
	unsigned sum = 0;

	if (strlen(name) > 99)
		errx(2, "%s: too long", name);
	memcpy(h, name, strlen(name));
	octal(h + 100, 7, type == '5' || !rnd(4) ? 0755 : 0644);
	octal(h + 108, 7, 0);
	octal(h + 116, 7, 0);
	octal(h + 124, 11, size);
	octal(h + 136, 11, 1700000000 + rnd(10000000));
	memset(h + 148, ' ', 8);
	h[156] = type;
	if (link)
		memcpy(h + 157, link, strlen(link));
	memcpy(h + 257, "ustar", 5);
	memcpy(h + 263, "00", 2);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	octal(h + 148, 6, sum);
	put(h, sizeof(h));
}

/* Directory number n lies in directory n / 6, so that depth grows with the logarithm. */
static int dir_path(char *buf, size_t room, uint64_t n)
{
	int len = n ? dir_path(buf, room, n / 6) : snprintf(buf, room, ".");

	return n ? len + snprintf(buf + len, room - (size_t)len, "/d%llx", (unsigned long long)n) : len;
}

int main(int argc, char **argv)
{
	char dir[64], path[128], before[128] = "";
	uint64_t files, per_dir, last = ~UINT64_C(0);
	double mean;
	int exact;

	if (argc != 5)
		errx(2, "usage: mktar SEED FILES [=]BYTES PER_DIR");
	state = strtoull(argv[1], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
	files = strtoull(argv[2], NULL, 10);
	exact = argv[3][0] == '=';
	mean = strtod(argv[3] + exact, NULL);
	per_dir = strtoull(argv[4], NULL, 10);
	if (!per_dir || mean > MOST_BYTES)
		errx(2, "a number is out of range");
	for (size_t i = 0; i < sizeof(pool); i++)
		pool[i] = (char)(1 + rnd(255));
	for (uint64_t i = 0; i < files; i++) {
		uint64_t size = some_size(mean, exact), n = i / per_dir;

		if (n != last) {
			dir_path(dir, sizeof(dir), n);
			header(dir, '5', 0, NULL);
		}
		last = n;
		snprintf(path, sizeof(path), "%s/file%llu.%c", dir, (unsigned long long)i, (char)('a' + rnd(26)));
		if (!exact && !rnd(60) && before[0]) {
			header(path, '1', 0, before);
			continue;
		}
		if (!exact && !rnd(40)) {
			header(path, '2', 0, "../somewhere/else");
			continue;
		}
		header(path, '0', size, NULL);
		put(pool, (size + 511) / 512 * 512 > sizeof(pool) ? sizeof(pool) : (size + 511) / 512 * 512);
		memcpy(before, path, sizeof(before));
	}
	memset(pool, 0, 1024);
	put(pool, 1024);
	return fclose(stdout) ? 2 : 0;
}
