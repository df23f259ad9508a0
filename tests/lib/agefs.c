/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agefs SEED DIR PERCENT - gives the file system that DIR is on a past: files of lognormal sizes
 * (mean 36 KiB) until it is nearly full, then files chosen at random are removed until PERCENT of
 * it are used; four times over. With PERCENT "comb": files of five blocks of the file system until
 * it is nearly full, every other one removed. Synced after every 32 files, so that the kernel
 * places them in turn.
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { ROUNDS = 4, SYNC_EVERY = 32, MOST_FILES = 1 << 20, FULL_PERCENT = 97 };

static uint64_t state;
static int dir_fd;
static uint32_t *names;
static size_t nnames;
static uint32_t next_name;

static uint64_t rnd(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * UINT64_C(0x2545F4914F6CDD1D) >> 11) % n;
}

static size_t some_size(void)
{
	double u = (double)(rnd(1u << 30) + 1) / (1u << 30), v = (double)rnd(1u << 30) / (1u << 30);

	return (size_t)exp(9.2 + 1.6 * sqrt(-2 * log(u)) * cos(2 * M_PI * v)) + 1;
}

static bool full(unsigned percent)
{
	struct statvfs st;

	if (fstatvfs(dir_fd, &st))
		err(2, "statvfs");
	return (st.f_blocks - st.f_bfree) * 100 >= st.f_blocks * percent;
}

/* One file; false when there was no room for it. */
static bool make_file(size_t size)
{
	static const char bytes[65536] = "aged";
	char name[16];
	int fd;

	snprintf(name, sizeof(name), "%u", next_name);
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == ENOSPC)
		return false;
	if (fd < 0 || nnames == MOST_FILES)
		err(2, "%s", name);
	names[nnames++] = next_name++;
	while (size) {
		ssize_t put = write(fd, bytes, size < sizeof(bytes) ? size : sizeof(bytes));

		if (put < 0 && errno != ENOSPC)
			err(2, "%s", name);
		if (put < 0)
			break;
		size -= (size_t)put;
	}
	close(fd);
	return !size;
}

static void fill(size_t size)
{
	for (unsigned i = 0; make_file(size ? size : some_size()); i++) {
		if (i % SYNC_EVERY)
			continue;
		syncfs(dir_fd);
		if (full(FULL_PERCENT))
			break;
	}
	syncfs(dir_fd);
}

static void remove_file(size_t at)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", names[at]);
	if (unlinkat(dir_fd, name, 0))
		err(2, "%s", name);
	names[at] = names[--nnames];
}

static void comb(void)
{
	struct statvfs st;
	size_t end;

	if (fstatvfs(dir_fd, &st))
		err(2, "statvfs");
	fill(5 * st.f_frsize);
	/* Backwards: what takes a removed file's place in the list was looked at before. */
	end = nnames - nnames % 2;
	for (size_t at = end; at >= 2; at -= 2)
		remove_file(at - 1);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: agefs SEED DIR PERCENT|comb");
	state = strtoull(argv[1], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
	dir_fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	names = calloc(MOST_FILES, sizeof(*names));
	if (dir_fd < 0 || !names)
		err(2, "%s", argv[2]);
	if (!strcmp(argv[3], "comb")) {
		comb();
	} else {
		for (int round = 0; round < ROUNDS; round++) {
			fill(0);
			while (nnames && full((unsigned)atoi(argv[3])))
				remove_file(rnd(nnames));
			syncfs(dir_fd);
		}
	}
	syncfs(dir_fd);
	free(names);
	return close(dir_fd) ? 2 : 0;
}
