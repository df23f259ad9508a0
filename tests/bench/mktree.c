/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mktree SEED DIR FILES MEAN_BYTES [flat] - a tree like a system's from a seed: FILES files of
 * lognormal sizes around MEAN_BYTES in one directory for eight files, nested; some symlinks and
 * hard links. flat: FILES files of exactly MEAN_BYTES in DIR.
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define POOL_BYTES (8u << 20)
#define SIGMA	   1.9		/* of the logarithm of sizes: what system trees have, roughly */

static uint64_t state;
static char *pool;

static uint64_t rnd(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * UINT64_C(0x2545F4914F6CDD1D) >> 11) % n;
}

static double normal(void)
{
	double u = (double)(rnd(1u << 30) + 1) / (1u << 30), v = (double)rnd(1u << 30) / (1u << 30);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static void make_file(const char *path, uint64_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, rnd(4) ? 0644 : 0755);

	if (fd < 0)
		err(2, "%s", path);
	while (size) {
		size_t part = size < POOL_BYTES / 2 ? size : POOL_BYTES / 2;

		if (write(fd, pool + rnd(POOL_BYTES / 2), part) != (ssize_t)part)
			err(2, "%s", path);
		size -= part;
	}
	close(fd);
}

static uint64_t some_size(double mean)
{
	double size = mean * exp(SIGMA * normal() - SIGMA * SIGMA / 2);

	return size > 64e6 ? 64000000 : (uint64_t)size;
}

/* Directory number n lies in directory n / 6, so that depth grows with the logarithm. */
static void dir_path(char *buf, size_t room, const char *top, uint64_t n)
{
	char parent[4096];

	if (!n) {
		snprintf(buf, room, "%s", top);
		return;
	}
	dir_path(parent, sizeof(parent), top, n / 6);
	if ((size_t)snprintf(buf, room, "%s/dir%llu", parent, (unsigned long long)n) >= room)
		errx(2, "path too long");
}

int main(int argc, char **argv)
{
	char dir[4096], path[8192], before[8192] = "";
	uint64_t files, last = ~UINT64_C(0);
	int flat = argc == 6 && !strcmp(argv[5], "flat");
	double mean;

	if (argc < 5 || (argc == 6 && !flat))
		errx(2, "usage: mktree SEED DIR FILES MEAN_BYTES [flat]");
	state = strtoull(argv[1], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
	files = strtoull(argv[3], NULL, 10);
	mean = strtod(argv[4], NULL);
	pool = malloc(POOL_BYTES);
	if (!pool)
		err(2, "memory");
	for (size_t i = 0; i < POOL_BYTES; i++)
		pool[i] = (char)(i % 97 < 60 ? (unsigned)'a' + rnd(26) : rnd(256));
	if (mkdir(argv[2], 0755) && errno != EEXIST)
		err(2, "%s", argv[2]);
	for (uint64_t i = 0; i < files; i++) {
		uint64_t n = flat ? 0 : i / 8;

		if (n != last)
			dir_path(dir, sizeof(dir), argv[2], n);
		if (n != last && mkdir(dir, 0755) && errno != EEXIST)
			err(2, "%s", dir);
		last = n;
		snprintf(path, sizeof(path), "%s/file%llu.%c", dir, (unsigned long long)i, (char)('a' + rnd(26)));
		if (!flat && !rnd(60) && before[0]) {
			if (link(before, path))
				err(2, "%s", path);
			continue;
		}
		if (!flat && !rnd(40)) {
			if (symlink("../somewhere/else", path))
				err(2, "%s", path);
			continue;
		}
		make_file(path, flat ? (uint64_t)mean : some_size(mean));
		snprintf(before, sizeof(before), "%s", path);
	}
	return 0;
}
