/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gather DIR OUT - the floor of filling an image: one pass over a tree, every file read, all bytes
 * written block-aligned into one file in 4 MiB writes, extended attributes listed. No sync.
 */
#include "config.h"

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BUF_BYTES (4u << 20)
#define BLOCK	  4096u

static char *buf;
static size_t used;
static int out;
static unsigned long long files, bytes;

static void flush_buf(void)
{
	for (size_t done = 0; done < used;) {
		ssize_t put = write(out, buf + done, used - done);

		if (put < 0)
			err(2, "write");
		done += (size_t)put;
	}
	used = 0;
}

static void gather_file(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		err(2, "%s", name);
	for (;;) {
		ssize_t got = read(fd, buf + used, BUF_BYTES - used);

		if (got < 0)
			err(2, "%s", name);
		if (!got)
			break;
		bytes += (unsigned long long)got;
		used += (size_t)got;
		if (used == BUF_BYTES)
			flush_buf();
	}
	close(fd);
	if (used % BLOCK) {
		size_t pad = BLOCK - used % BLOCK;

		memset(buf + used, 0, pad);
		used += pad;
		if (used == BUF_BYTES)
			flush_buf();
	}
	files++;
}

static void gather_dir(int fd)
{
	DIR *dir = fdopendir(fd);
	struct dirent *de;
	char list[1024], path[320];

	if (!dir)
		err(2, "directory");
	while ((de = readdir(dir))) {
		struct stat st;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW))
			err(2, "%s", de->d_name);
		snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", fd, de->d_name);
		(void)llistxattr(path, list, sizeof(list));
		if (S_ISREG(st.st_mode) && st.st_size)
			gather_file(fd, de->d_name);
		else if (S_ISDIR(st.st_mode))
			gather_dir(openat(fd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	}
	closedir(dir);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: gather DIR OUT");
	buf = malloc(BUF_BYTES);
	out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (!buf || out < 0)
		err(2, "%s", argv[2]);
	gather_dir(open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	flush_buf();
	if (close(out))
		err(2, "%s", argv[2]);
	printf("%llu files, %llu bytes\n", files, bytes);
	return 0;
}
