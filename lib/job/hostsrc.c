/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostsrc - see hostsrc.h.
 *
 * Sources and directories come from arenas and are freed all at once. An open directory stays open
 * while somebody reads from it (users > 0) and afterwards until MAX_OPEN others were used since.
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
	struct dafs_hostdir *parent;
	struct open_dir *open;		/* NULL: it is not */
	char name[];
};

/* A directory without a parent. */
struct root_dir {
	struct dafs_hostsrcs *hosts;
	struct dafs_hostdir dir;
};

struct open_dir {
	struct dafs_hostdir *dir;
	TAILQ_ENTRY(open_dir) lru;	/* in hosts->idle while unused */
	int fd;
	unsigned users;
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
	TAILQ_HEAD(idle_list, open_dir) idle;
	unsigned nidle;
};

static struct dafs_hostsrcs *hosts_of(const struct dafs_hostdir *dir)
{
	while (dir->parent)
		dir = dir->parent;
	return ((const struct root_dir *)((const char *)dir - offsetof(struct root_dir, dir)))
		->hosts;
}

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

static void close_oldest(struct dafs_hostsrcs *hosts)
{
	struct open_dir *open = TAILQ_FIRST(&hosts->idle);

	TAILQ_REMOVE(&hosts->idle, open, lru);
	hosts->nidle--;
	close(open->fd);
	open->dir->open = NULL;
	free(open);
}

void dafs_hostsrcs_free(struct dafs_hostsrcs *hosts)
{
	struct arena *a;

	if (!hosts)
		return;
	while (hosts->nidle)
		close_oldest(hosts);
	while ((a = SLIST_FIRST(&hosts->arenas))) {
		SLIST_REMOVE_HEAD(&hosts->arenas, link);
		free(a);
	}
	pthread_mutex_destroy(&hosts->lock);
	free(hosts);
}

errcode_t dafs_hostdir_new(struct dafs_hostsrcs *hosts, struct dafs_hostdir *parent,
			   const char *name, struct dafs_hostdir **ret)
{
	size_t len = strlen(name) + 1;
	size_t before = parent ? 0 : offsetof(struct root_dir, dir);
	char *at = arena_take(hosts, before + sizeof(struct dafs_hostdir) + len);
	struct dafs_hostdir *dir;

	*ret = NULL;
	if (!at)
		return ENOMEM;
	if (!parent)
		((struct root_dir *)at)->hosts = hosts;
	*ret = dir = (struct dafs_hostdir *)(at + before);
	dir->parent = parent;
	dir->open = NULL;
	memcpy(dir->name, name, len);
	return 0;
}

const char *dafs_hostdir_path(const struct dafs_hostdir *dir, const char *name, char *buf,
			      size_t room)
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

static void unuse_dir(struct dafs_hostsrcs *hosts, struct dafs_hostdir *dir)
{
	if (--dir->open->users)
		return;
	TAILQ_INSERT_TAIL(&hosts->idle, dir->open, lru);
	if (++hosts->nidle > MAX_OPEN)
		close_oldest(hosts);
}

static int open_dir(struct dafs_hostdir *dir, int up_fd)
{
	struct open_dir *open = malloc(sizeof(*open));
	int saved;

	if (!open) {
		errno = ENOMEM;
		return -1;
	}
	*open = (struct open_dir){ .dir = dir, .users = 1 };
	open->fd = openat(up_fd, dir->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (open->fd < 0) {
		saved = errno;
		free(open);
		errno = saved;
		return -1;
	}
	dir->open = open;
	return open->fd;
}

/* An open descriptor of dir, counted; lock held. Opens the parents that are not open by recursion:
 * no path gets too long. */
static int use_dir(struct dafs_hostsrcs *hosts, struct dafs_hostdir *dir)
{
	int up_fd = AT_FDCWD, fd, saved;

	if (dir->open) {
		if (!dir->open->users++) {
			TAILQ_REMOVE(&hosts->idle, dir->open, lru);
			hosts->nidle--;
		}
		return dir->open->fd;
	}
	if (dir->parent) {
		up_fd = use_dir(hosts, dir->parent);
		if (up_fd < 0)
			return -1;
	}
	fd = open_dir(dir, up_fd);
	saved = errno;
	if (dir->parent)
		unuse_dir(hosts, dir->parent);
	errno = saved;
	return fd;
}

static errcode_t fail_at(struct dafs_ctx *ctx, const struct hostsrc *src, errcode_t err)
{
	char path[MAX_DEPTH_PATH];

	return dafs_fail(ctx, err, "%s",
			 dafs_hostdir_path(src->dir, name_of(src), path, sizeof(path)));
}

static int hostsrc_get_fd(struct dafs_source *base, struct dafs_ctx *ctx, errcode_t *err)
{
	struct hostsrc *src = (struct hostsrc *)base;
	struct dafs_hostsrcs *hosts = hosts_of(src->dir);
	int dir_fd, fd = -1;

	pthread_mutex_lock(&hosts->lock);
	dir_fd = use_dir(hosts, src->dir);
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
	unuse_dir(hosts, src->dir);
	pthread_mutex_unlock(&hosts->lock);
	return fd;
}

static void hostsrc_put_fd(struct dafs_source *base, int fd)
{
	(void)base;
	close(fd);
}

static errcode_t hostsrc_read(struct dafs_source *base, struct dafs_ctx *ctx, void *buf, size_t len,
			      uint64_t off)
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

errcode_t dafs_hostsrc_new(struct dafs_hostsrcs *hosts, struct dafs_hostdir *dir, const char *name,
			   uint64_t size_bytes, struct dafs_source **ret)
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
