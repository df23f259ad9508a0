/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostsrc - see hostsrc.h.
 *
 * Sources and directories come from arenas and are freed all at once. An open directory stays open while somebody reads from
 * it (users > 0) and afterwards until MAX_OPEN others were used since.
 */
#include "config.h"

#include "job/hostsrc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define ARENA_BYTES	(256u * 1024)
#define MAX_OPEN	64u
#define MAX_DEPTH_PATH	4096u

struct arena {
	SLIST_ENTRY(arena) link;
	size_t used;
	char bytes[];
};

struct dafs_hostdir {
	struct dafs_hostsrcs *hosts;
	struct dafs_hostdir *parent;
	TAILQ_ENTRY(dafs_hostdir) lru;		/* in hosts->idle while open and unused */
	int fd;
	unsigned users;
	char name[];
};

/* There may be millions of them: the upper half of the size is kept for files that have one. */
struct hostsrc {
	struct dafs_source base;	/* hostsrc_ops or large_ops */
	struct dafs_hostdir *dir;
	uint32_t size_low;
	char rest[];			/* large_ops: the size's upper half; the name */
};

static const struct dafs_source_ops hostsrc_ops, large_ops;

static uint64_t size_of(const struct hostsrc *src)
{
	uint32_t high = 0;

	if (src->base.ops == &large_ops)
		memcpy(&high, src->rest, sizeof(high));
	return (uint64_t)high << 32 | src->size_low;
}

static const char *name_of(const struct hostsrc *src)
{
	return src->rest + (src->base.ops == &large_ops ? sizeof(uint32_t) : 0);
}

struct dafs_hostsrcs {
	pthread_mutex_t lock;
	SLIST_HEAD(, arena) arenas;
	TAILQ_HEAD(idle_list, dafs_hostdir) idle;
	unsigned nidle;
};

static void *arena_take(struct dafs_hostsrcs *hosts, size_t bytes)
{
	struct arena *a = SLIST_FIRST(&hosts->arenas);
	void *at;

	bytes = (bytes + 7) & ~(size_t)7;
	if (!a || a->used + bytes > ARENA_BYTES) {
		a = malloc(sizeof(*a) + (bytes > ARENA_BYTES ? bytes : ARENA_BYTES));
		if (!a)
			return NULL;
		a->used = 0;
		SLIST_INSERT_HEAD(&hosts->arenas, a, link);
	}
	at = a->bytes + a->used;
	a->used += bytes;
	return at;
}

errcode_t dafs_hostsrcs_new(struct dafs_hostsrcs **ret)
{
	struct dafs_hostsrcs *hosts = calloc(1, sizeof(*hosts));

	*ret = hosts;
	if (!hosts)
		return ENOMEM;
	pthread_mutex_init(&hosts->lock, NULL);
	SLIST_INIT(&hosts->arenas);
	TAILQ_INIT(&hosts->idle);
	return 0;
}

void dafs_hostsrcs_free(struct dafs_hostsrcs *hosts)
{
	struct dafs_hostdir *dir;
	struct arena *a;

	if (!hosts)
		return;
	TAILQ_FOREACH(dir, &hosts->idle, lru)
		close(dir->fd);
	while ((a = SLIST_FIRST(&hosts->arenas))) {
		SLIST_REMOVE_HEAD(&hosts->arenas, link);
		free(a);
	}
	pthread_mutex_destroy(&hosts->lock);
	free(hosts);
}

errcode_t dafs_hostdir_new(struct dafs_hostsrcs *hosts, struct dafs_hostdir *parent, const char *name,
			   struct dafs_hostdir **ret)
{
	size_t len = strlen(name) + 1;
	struct dafs_hostdir *dir = arena_take(hosts, sizeof(*dir) + len);

	*ret = dir;
	if (!dir)
		return ENOMEM;
	dir->hosts = hosts;
	dir->parent = parent;
	dir->fd = -1;
	dir->users = 0;
	memcpy(dir->name, name, len);
	return 0;
}

const char *dafs_hostdir_path(const struct dafs_hostdir *dir, const char *name, char *buf, size_t room)
{
	size_t at = room - 1;
	const char *part = name;

	buf[at] = '\0';
	for (;;) {
		size_t len = strlen(part);

		if (len + 1 > at)
			break;
		at -= len;
		memcpy(buf + at, part, len);
		if (!dir || part[0] == '/' || (!dir->parent && !strcmp(dir->name, ".")))
			break;
		if (dir->name[0] && dir->name[strlen(dir->name) - 1] != '/')
			buf[--at] = '/';
		part = dir->name;
		dir = dir->parent;
	}
	memmove(buf, buf + at, room - at);
	return buf;
}

static void close_oldest(struct dafs_hostsrcs *hosts)
{
	struct dafs_hostdir *dir = TAILQ_FIRST(&hosts->idle);

	TAILQ_REMOVE(&hosts->idle, dir, lru);
	hosts->nidle--;
	close(dir->fd);
	dir->fd = -1;
}

static void unuse_dir(struct dafs_hostdir *dir)
{
	struct dafs_hostsrcs *hosts = dir->hosts;

	if (--dir->users)
		return;
	TAILQ_INSERT_TAIL(&hosts->idle, dir, lru);
	if (++hosts->nidle > MAX_OPEN)
		close_oldest(hosts);
}

/* An open descriptor of dir, counted; lock held. Opens the parents that are not open by recursion: no path gets too long. */
static int use_dir(struct dafs_hostdir *dir)
{
	int up_fd = AT_FDCWD, saved;

	if (dir->fd >= 0) {
		if (!dir->users++) {
			TAILQ_REMOVE(&dir->hosts->idle, dir, lru);
			dir->hosts->nidle--;
		}
		return dir->fd;
	}
	if (dir->parent) {
		up_fd = use_dir(dir->parent);
		if (up_fd < 0)
			return -1;
	}
	dir->fd = openat(up_fd, dir->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	saved = errno;
	if (dir->parent)
		unuse_dir(dir->parent);
	errno = saved;
	if (dir->fd >= 0)
		dir->users = 1;
	return dir->fd;
}

static errcode_t fail_at(struct dafs_ctx *ctx, const struct hostsrc *src, errcode_t err)
{
	char path[MAX_DEPTH_PATH];

	return dafs_fail(ctx, err, "%s", dafs_hostdir_path(src->dir, name_of(src), path, sizeof(path)));
}

static int hostsrc_get_fd(struct dafs_source *base, struct dafs_ctx *ctx, errcode_t *err)
{
	struct hostsrc *src = (struct hostsrc *)base;
	struct dafs_hostsrcs *hosts = src->dir->hosts;
	int dir_fd, fd = -1;

	pthread_mutex_lock(&hosts->lock);
	dir_fd = use_dir(src->dir);
	pthread_mutex_unlock(&hosts->lock);
	if (dir_fd < 0) {
		*err = fail_at(ctx, src, errno);
		return -1;
	}
	fd = openat(dir_fd, name_of(src), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = openat(dir_fd, name_of(src), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	*err = fd < 0 ? fail_at(ctx, src, errno) : 0;
	pthread_mutex_lock(&hosts->lock);
	unuse_dir(src->dir);
	pthread_mutex_unlock(&hosts->lock);
	return fd;
}

static void hostsrc_put_fd(struct dafs_source *base, int fd)
{
	(void)base;
	close(fd);
}

static errcode_t hostsrc_read(struct dafs_source *base, struct dafs_ctx *ctx, void *buf, size_t len, uint64_t off)
{
	struct hostsrc *src = (struct hostsrc *)base;
	uint64_t size = size_of(src);
	size_t want = off >= size ? 0 : len;
	size_t done = 0;
	errcode_t err;
	int fd;

	if (want > size - off)
		want = size - off;
	memset((char *)buf + want, 0, len - want);
	if (!want)
		return 0;
	fd = hostsrc_get_fd(base, ctx, &err);
	if (fd < 0)
		return err;
	while (done < want && !err) {
		ssize_t got = pread(fd, (char *)buf + done, want - done, (off_t)(off + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			err = fail_at(ctx, src, errno);
		else if (!got)
			err = fail_at(ctx, src, DAFS_ET_SOURCE_CHANGED);
		else
			done += (size_t)got;
	}
	close(fd);
	return err;
}

#define FUNCTIONS .read = hostsrc_read, .get_fd = hostsrc_get_fd, .put_fd = hostsrc_put_fd

static const struct dafs_source_ops hostsrc_ops = { FUNCTIONS };
static const struct dafs_source_ops large_ops = { FUNCTIONS };

errcode_t dafs_hostsrc_new(struct dafs_hostsrcs *hosts, struct dafs_hostdir *dir, const char *name, uint64_t size_bytes,
			   struct dafs_source **ret)
{
	const uint32_t high = (uint32_t)(size_bytes >> 32);
	size_t high_bytes = high ? sizeof(high) : 0, len = strlen(name) + 1;
	struct hostsrc *src = arena_take(hosts, offsetof(struct hostsrc, rest) + high_bytes + len);

	*ret = NULL;
	if (!src)
		return ENOMEM;
	src->base.ops = high ? &large_ops : &hostsrc_ops;
	src->dir = dir;
	src->size_low = (uint32_t)size_bytes;
	memcpy(src->rest, &high, high_bytes);
	memcpy(src->rest + high_bytes, name, len);
	*ret = &src->base;
	return 0;
}
