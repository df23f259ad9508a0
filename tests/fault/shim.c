/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shim - see shim.h: the functions that take the C library's place, and what happens at the Nth
 * operation. System calls are made by number: the library's functions are these here.
 */
#define _GNU_SOURCE
#include "tests/fault/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/fault/undo.h"

/* What an operation is, for the faults that tell them apart. */
enum kind { KIND_WRITE, KIND_SYNC, KIND_REMOVE };

static struct {
	bool armed;
	char *root, *image;
	size_t root_len;
	enum fault fault;
	uint64_t at, ops, random;
} shim;

void shim_arm(const char *root, const char *image, enum fault fault, uint64_t at, uint64_t seed)
{
	char *trash;

	if (asprintf(&trash, "%s.trash", root) < 0)
		abort();
	shim.root = strdup(root);
	shim.image = strdup(image);
	shim.root_len = strlen(root);
	shim.fault = fault;
	shim.at = at;
	shim.random = seed;
	undo_open(trash);
	free(trash);
	shim.armed = true;
}

uint64_t shim_ops(void)
{
	return shim.ops;
}

static bool loses(void)
{
	return shim.fault == FAULT_LOSE || shim.fault == FAULT_REORDER;
}

void shim_end(void)
{
	shim.armed = false;
	if (loses())
		undo_lose(shim.fault == FAULT_REORDER ? &shim.random : NULL);
}

static void stop(void)
{
	shim_end();
	_exit(SHIM_STOPPED);
}

/* --- what is watched --- */

/* The absolute path of a name, its folder resolved. */
static bool watched_path(const char *name, char path[PATH_MAX])
{
	char folder[PATH_MAX], *slash, *real;

	if (!shim.armed || strlen(name) >= PATH_MAX)
		return false;
	strcpy(folder, name);
	slash = strrchr(folder, '/');
	if (slash)
		*slash = '\0';
	real = realpath(slash ? (*folder ? folder : "/") : ".", NULL);
	if (!real)
		return false;
	snprintf(path, PATH_MAX, "%s/%s", real, slash ? slash + 1 : folder);
	free(real);
	return !strncmp(path, shim.root, shim.root_len) && path[shim.root_len] == '/';
}

static bool watched_fd(int fd, char path[PATH_MAX])
{
	char name[64];
	ssize_t n;

	if (!shim.armed)
		return false;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, path, PATH_MAX - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	/* A file without a name is nobody's after a crash. */
	if (n > 10 && !strcmp(path + n - 10, " (deleted)"))
		return false;
	return !strncmp(path, shim.root, shim.root_len) &&
	       (path[shim.root_len] == '/' || !path[shim.root_len]);
}

/* One operation more: 0 it may happen, an errno it fails, -1 it is to be torn. */
static int strike(enum kind kind)
{
	bool now = ++shim.ops == shim.at;

	switch (shim.fault) {
	case FAULT_EIO:
		return now ? EIO : 0;
	case FAULT_ENOSPC:
		return shim.at && shim.ops >= shim.at && kind == KIND_WRITE ? ENOSPC : 0;
	case FAULT_TORN:
		if (now && kind != KIND_WRITE)
			stop();
		return now ? -1 : 0;
	case FAULT_STOP:
	case FAULT_LOSE:
	case FAULT_REORDER:
		if (now)
			stop();
		return 0;
	default:
		return 0;
	}
}

/* How much of a write at off happens when it is torn. */
static size_t torn_len(const char *path, uint64_t off, size_t len)
{
	uint64_t end;

	if (len <= 1)
		return 0;
	if (strcmp(path, shim.image))
		return (size_t)(undo_random(&shim.random) % len);
	end = off + undo_random(&shim.random) % len;
	end -= end % SHIM_SECTOR_BYTES;
	return end > off ? (size_t)(end - off) : 0;
}

static long failed(int err)
{
	errno = err;
	return -1;
}

/* --- bytes --- */

static ssize_t put(int fd, const char *path, const void *buf, size_t len, uint64_t off)
{
	int what = strike(KIND_WRITE);
	long got;

	if (what > 0)
		return failed(what);
	if (what < 0)
		len = torn_len(path, off, len);
	if (loses())
		undo_before(fd, path, off, len);
	got = len ? syscall(SYS_pwrite64, fd, buf, len, off) : 0;
	if (loses())
		undo_after(fd);
	if (what < 0)
		stop();
	return got;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	char path[PATH_MAX];

	if (!watched_fd(fd, path))
		return syscall(SYS_pwrite64, fd, buf, len, off);
	return put(fd, path, buf, len, (uint64_t)off);
}

ssize_t write(int fd, const void *buf, size_t len)
{
	char path[PATH_MAX];
	ssize_t got;
	off_t at;

	if (!watched_fd(fd, path))
		return syscall(SYS_write, fd, buf, len);
	at = lseek(fd, 0, SEEK_CUR);
	got = put(fd, path, buf, len, (uint64_t)at);
	if (got > 0)
		lseek(fd, at + got, SEEK_SET);
	return got;
}

ssize_t pwritev(int fd, const struct iovec *iov, int niov, off_t off)
{
	char path[PATH_MAX];
	size_t len = 0, at = 0;
	ssize_t got;
	char *all;

	if (!watched_fd(fd, path))
		return syscall(SYS_pwritev, fd, iov, niov, off, 0);
	for (int i = 0; i < niov; i++)
		len += iov[i].iov_len;
	all = malloc(len + 1);
	if (!all)
		return failed(ENOMEM);
	for (int i = 0; i < niov; at += iov[i++].iov_len)
		memcpy(all + at, iov[i].iov_base, iov[i].iov_len);
	got = put(fd, path, all, len, (uint64_t)off);
	free(all);
	return got;
}

int ftruncate(int fd, off_t size)
{
	char path[PATH_MAX];
	struct stat st;
	int what;
	long got;

	if (!watched_fd(fd, path) || fstat(fd, &st))
		return (int)syscall(SYS_ftruncate, fd, size);
	what = strike(KIND_WRITE);
	if (what < 0)
		stop();
	if (what)
		return (int)failed(what);
	if (loses())
		undo_before(fd, path, (uint64_t)(size < st.st_size ? size : st.st_size),
			    UINT64_MAX);
	got = syscall(SYS_ftruncate, fd, size);
	if (loses())
		undo_after(fd);
	return (int)got;
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	char path[PATH_MAX];
	int what;
	long got;

	if (!watched_fd(fd, path))
		return (int)syscall(SYS_fallocate, fd, mode, off, len);
	what = strike(KIND_WRITE);
	if (what < 0)
		stop();
	if (what)
		return (int)failed(what);
	if (loses())
		undo_before(fd, path, (uint64_t)off, (uint64_t)len);
	got = syscall(SYS_fallocate, fd, mode, off, len);
	if (loses())
		undo_after(fd);
	return (int)got;
}

/* As a write of what is read: so that it can be torn and taken back. */
ssize_t copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t len, unsigned flags)
{
	char path[PATH_MAX];
	ssize_t got;
	void *buf;

	if (!watched_fd(out, path) || !in_off || !out_off)
		return syscall(SYS_copy_file_range, in, in_off, out, out_off, len, flags);
	len = len < 1 << 20 ? len : 1 << 20;
	buf = malloc(len);
	if (!buf)
		return failed(ENOMEM);
	got = pread(in, buf, len, *in_off);
	if (got > 0)
		got = put(out, path, buf, (size_t)got, (uint64_t)*out_off);
	free(buf);
	if (got > 0) {
		*in_off += got;
		*out_off += got;
	}
	return got;
}

/* --- syncs --- */

static int sync_fd(int fd, long number)
{
	char path[PATH_MAX];
	struct stat st;
	long got;
	int what;

	if (!watched_fd(fd, path))
		return (int)syscall(number, fd);
	what = strike(KIND_SYNC);
	if (what)
		return (int)failed(what);
	/* The image lies in memory as a rule, and here nothing is to outlive the host. */
	got = fstat(fd, &st);
	if (!got && loses() && S_ISDIR(st.st_mode))
		undo_synced_folder(path);
	else if (!got && loses())
		undo_synced(st.st_ino);
	return (int)got;
}

int fsync(int fd)
{
	return sync_fd(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return sync_fd(fd, SYS_fdatasync);
}

/* --- names --- */

/* An open that makes the file is one operation, one that empties it another. */
static int open_at(int dir, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	struct stat st;
	int what, fd;

	if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE ||
	    (dir != AT_FDCWD && *name != '/') || !watched_path(name, path))
		return (int)syscall(SYS_openat, dir, name, flags, mode);
	if (lstat(path, &st)) {
		what = strike(KIND_WRITE);
		if (what < 0)
			stop();
		if (what)
			return (int)failed(what);
		fd = (int)syscall(SYS_openat, dir, name, flags, mode);
		if (fd >= 0 && loses())
			undo_made(path);
		return fd;
	}
	fd = (int)syscall(SYS_openat, dir, name, flags & ~O_TRUNC, mode);
	if (fd >= 0 && flags & O_TRUNC && S_ISREG(st.st_mode) && ftruncate(fd, 0)) {
		int err = errno;

		syscall(SYS_close, fd);
		return (int)failed(err);
	}
	return fd;
}

#define OPEN_MODE(flags, mode)                                                                     \
	do {                                                                                       \
		va_list ap;                                                                        \
		va_start(ap, flags);                                                               \
		(mode) = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                 \
		va_end(ap);                                                                        \
	} while (0)

int open(const char *name, int flags, ...)
{
	mode_t mode;

	OPEN_MODE(flags, mode);
	return open_at(AT_FDCWD, name, flags, mode);
}

int openat(int dir, const char *name, int flags, ...)
{
	mode_t mode;

	OPEN_MODE(flags, mode);
	return open_at(dir, name, flags, mode);
}

/* The rest of the names go one way: asked, counted, done. 0, or an errno. */
static int change_name(enum kind kind)
{
	int what = strike(kind);

	if (what < 0)
		stop();
	return what;
}

int mkdir(const char *name, mode_t mode)
{
	char path[PATH_MAX];
	struct stat st;
	int what;
	long got;

	if (!watched_path(name, path) || !lstat(path, &st))
		return (int)syscall(SYS_mkdir, name, mode);
	what = change_name(KIND_WRITE);
	if (what)
		return (int)failed(what);
	got = syscall(SYS_mkdir, name, mode);
	if (!got && loses())
		undo_made(path);
	return (int)got;
}

int unlink(const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	int what;

	if (!watched_path(name, path) || lstat(path, &st))
		return (int)syscall(SYS_unlink, name);
	what = change_name(KIND_REMOVE);
	if (!what && !loses())
		return (int)syscall(SYS_unlink, name);
	if (!what)
		what = undo_remove(path);
	return what ? (int)failed(what) : 0;
}

int rmdir(const char *name)
{
	char path[PATH_MAX];
	int what;

	if (!watched_path(name, path))
		return (int)syscall(SYS_rmdir, name);
	what = change_name(KIND_REMOVE);
	if (!what && !loses())
		return (int)syscall(SYS_rmdir, name);
	if (!what)
		what = undo_rmdir(path);
	return what ? (int)failed(what) : 0;
}

int rename(const char *from, const char *to)
{
	char a[PATH_MAX], b[PATH_MAX];
	int what;

	if (!watched_path(from, a) || !watched_path(to, b))
		return (int)syscall(SYS_rename, from, to);
	what = change_name(KIND_WRITE);
	if (!what && !loses())
		return (int)syscall(SYS_rename, from, to);
	if (!what)
		what = undo_rename(a, b);
	return what ? (int)failed(what) : 0;
}

/* The names that large-file sources call. */
ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off) __attribute__((alias("pwrite")));
ssize_t pwritev64(int fd, const struct iovec *iov, int niov, off64_t off)
	__attribute__((alias("pwritev")));
int ftruncate64(int fd, off64_t size) __attribute__((alias("ftruncate")));
int fallocate64(int fd, int mode, off64_t off, off64_t len) __attribute__((alias("fallocate")));
int open64(const char *name, int flags, ...) __attribute__((alias("open")));
int openat64(int dir, const char *name, int flags, ...) __attribute__((alias("openat")));
