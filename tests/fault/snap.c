/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snap - see snap.h. */
#define _GNU_SOURCE
#include "tests/fault/snap.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is not a hole. */
struct piece {
	off_t off;
	size_t len;
	char *bytes;
};

struct entry {
	char *path; /* below the folder */
	mode_t mode;
	off_t len;
	struct piece *v;
	size_t n;
};

struct snap {
	struct entry *v;
	size_t n;
};

static struct snap *taking;
static size_t skip;

static void *need(void *p)
{
	if (!p)
		errx(1, "out of memory");
	return p;
}

static void read_all(const char *path, struct entry *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t start = 0, end;

	if (fd < 0)
		err(1, "%s", path);
	for (; (start = lseek(fd, start, SEEK_DATA)) >= 0; start = end) {
		struct piece *p;

		end = lseek(fd, start, SEEK_HOLE);
		e->v = need(realloc(e->v, (e->n + 1) * sizeof(*e->v)));
		p = &e->v[e->n++];
		*p = (struct piece){ .off = start, .len = (size_t)(end - start) };
		p->bytes = need(malloc(p->len));
		if (pread(fd, p->bytes, p->len, start) != (ssize_t)p->len)
			err(1, "%s", path);
	}
	if (errno != ENXIO)
		err(1, "%s", path);
	close(fd);
}

static int take_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	struct entry *e;

	(void)what;
	if (!ftw->level)
		return 0;
	taking->v = need(realloc(taking->v, (taking->n + 1) * sizeof(*taking->v)));
	e = &taking->v[taking->n++];
	*e = (struct entry){ .path = need(strdup(path + skip)), .mode = st->st_mode };
	if (S_ISREG(st->st_mode)) {
		e->len = st->st_size;
		read_all(path, e);
	}
	return 0;
}

struct snap *snap_take(const char *folder)
{
	taking = need(calloc(1, sizeof(*taking)));
	skip = strlen(folder);
	if (nftw(folder, take_one, 16, FTW_PHYS))
		err(1, "%s", folder);
	return taking;
}

static int drop_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	(void)ftw;
	return remove(path);
}

static int drop_below(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	return ftw->level ? remove(path) : 0;
}

void snap_clear(const char *folder)
{
	char beside[4096];

	nftw(folder, drop_below, 16, FTW_PHYS | FTW_DEPTH);
	snprintf(beside, sizeof(beside), "%s.trash", folder);
	nftw(beside, drop_one, 16, FTW_PHYS | FTW_DEPTH);
	snprintf(beside, sizeof(beside), "%s.e2fsck", folder);
	unlink(beside);
}

static void write_all(const char *path, const struct entry *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, e->mode & 0777);

	if (fd < 0 || ftruncate(fd, e->len))
		err(1, "%s", path);
	for (size_t i = 0; i < e->n; i++) {
		if (pwrite(fd, e->v[i].bytes, e->v[i].len, e->v[i].off) != (ssize_t)e->v[i].len)
			err(1, "%s", path);
	}
	close(fd);
}

void snap_restore(const struct snap *snap, const char *folder)
{
	char path[4096];

	snap_clear(folder);
	for (size_t i = 0; i < snap->n; i++) {
		const struct entry *e = &snap->v[i];

		snprintf(path, sizeof(path), "%s%s", folder, e->path);
		if (S_ISDIR(e->mode)) {
			if (mkdir(path, e->mode & 0777))
				err(1, "%s", path);
			continue;
		}
		write_all(path, e);
	}
}

void snap_free(struct snap *snap)
{
	for (size_t i = 0; snap && i < snap->n; i++) {
		free(snap->v[i].path);
		for (size_t p = 0; p < snap->v[i].n; p++)
			free(snap->v[i].v[p].bytes);
		free(snap->v[i].v);
	}
	if (snap)
		free(snap->v);
	free(snap);
}
