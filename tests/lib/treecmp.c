/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * treecmp [-a] [-o] [-x] [-H BYTES] A B - are two directory trees the same?
 *
 * Compares names, types, modes, owners, sizes, content, modification times (ns), symlink targets,
 * device numbers, extended attributes (ACLs and capabilities are such), which names are links to
 * one file, and where the holes are. A lost+found in the root of B that A has not is passed over,
 * and so is security.selinux.
 *
 *	-a  access times too
 *	-o  not the owners (a tree that was extracted without root)
 *	-x  not the extended attributes
 *	-H  granule of holes: data ranges are rounded outwards to BYTES before they are compared
 *	    (default 4096; 0: do not compare holes)
 *
 * Prints one line a difference, the path first. Exit status: 0 the same, 1 different, 2 trouble.
 */
#include "config.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <uthash.h>

#define MOST_SHOWN 40
#define CHUNK	   (1 << 18)

/* First path seen of a file with several links. */
struct link {
	uint64_t key[2];
	char *path;
	UT_hash_handle hh;
};

struct side {
	const char *root;
	struct link *links;
	char buf[CHUNK];
};

static struct side sides[2];
static uint64_t entries, differences;
static bool with_atime, without_owner, without_xattr;
static uint64_t hole_granule = 4096;

static void differ(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void differ(const char *path, const char *fmt, ...)
{
	va_list ap;

	if (++differences > MOST_SHOWN)
		return;
	va_start(ap, fmt);
	printf("%s: ", *path ? path : ".");
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
}

static void *must_alloc(void *memory)
{
	if (!memory)
		err(2, "memory");
	return memory;
}

static char *join(const char *folder, const char *name)
{
	char *path;

	if (asprintf(&path, "%s%s%s", folder, *folder ? "/" : "", name) < 0)
		err(2, "memory");
	return path;
}

static void compare_times(const char *path, const char *what, struct timespec a, struct timespec b)
{
	if (a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec)
		differ(path, "%s %lld.%09ld and %lld.%09ld", what, (long long)a.tv_sec, a.tv_nsec,
		       (long long)b.tv_sec, b.tv_nsec);
}

static void compare_stat(const char *path, const struct stat *a, const struct stat *b)
{
	if (a->st_mode != b->st_mode)
		differ(path, "mode %o and %o", a->st_mode, b->st_mode);
	if (!without_owner && (a->st_uid != b->st_uid || a->st_gid != b->st_gid))
		differ(path, "owner %u:%u and %u:%u", a->st_uid, a->st_gid, b->st_uid, b->st_gid);
	if ((S_ISREG(a->st_mode) || S_ISLNK(a->st_mode)) && a->st_size != b->st_size)
		differ(path, "size %lld and %lld", (long long)a->st_size, (long long)b->st_size);
	if ((S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode)) && a->st_rdev != b->st_rdev)
		differ(path, "device %u,%u and %u,%u", major(a->st_rdev), minor(a->st_rdev),
		       major(b->st_rdev), minor(b->st_rdev));
	compare_times(path, "mtime", a->st_mtim, b->st_mtim);
	if (with_atime)
		compare_times(path, "atime", a->st_atim, b->st_atim);
}

/* The path under which the file was seen first; "" for this time. */
static const char *first_seen(struct side *side, const struct stat *st, const char *path)
{
	struct link *link;
	uint64_t key[2] = { st->st_dev, st->st_ino };

	HASH_FIND(hh, side->links, key, sizeof(key), link);
	if (link)
		return link->path;
	link = must_alloc(calloc(1, sizeof(*link)));
	memcpy(link->key, key, sizeof(key));
	link->path = must_alloc(strdup(path));
	HASH_ADD(hh, side->links, key, sizeof(link->key), link);
	return "";
}

static void compare_links(const char *path, const struct stat *a, const struct stat *b)
{
	const char *first[2] = { "", "" };

	if (a->st_nlink > 1)
		first[0] = first_seen(&sides[0], a, path);
	if (b->st_nlink > 1)
		first[1] = first_seen(&sides[1], b, path);
	if (strcmp(first[0], first[1]))
		differ(path, "link of '%s' and of '%s'", first[0], first[1]);
}

static void compare_symlinks(const char *path, const int *dirs, const char *name)
{
	ssize_t len[2];

	for (int i = 0; i < 2; i++) {
		len[i] = readlinkat(dirs[i], name, sides[i].buf, CHUNK);
		if (len[i] < 0)
			err(2, "%s/%s", sides[i].root, path);
	}
	if (len[0] != len[1] || memcmp(sides[0].buf, sides[1].buf, (size_t)len[0]))
		differ(path, "target '%.*s' and '%.*s'", (int)len[0], sides[0].buf, (int)len[1],
		       sides[1].buf);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Attribute names of one file, sorted, in a vector that ends with NULL; *text is what the names
 * point into. */
static char **attr_names(const char *full, char **text)
{
	ssize_t len = llistxattr(full, NULL, 0);
	char **names, *name;
	size_t n = 0;

	if (len < 0 && errno == ENOTSUP)
		len = 0;
	*text = must_alloc(malloc((size_t)(len > 0 ? len : 0) + 1));
	if (len > 0)
		len = llistxattr(full, *text, (size_t)len);
	if (len < 0)
		err(2, "%s", full);
	names = must_alloc(calloc((size_t)len + 1, sizeof(*names)));
	for (name = *text; name < *text + len; name += strlen(name) + 1)
		if (strcmp(name, "security.selinux"))
			names[n++] = name;
	qsort(names, n, sizeof(*names), by_text);
	return names;
}

static void compare_attr_values(const char *path, char *const *full, const char *name)
{
	ssize_t len[2];

	for (int i = 0; i < 2; i++) {
		len[i] = lgetxattr(full[i], name, sides[i].buf, CHUNK);
		if (len[i] < 0)
			err(2, "%s: %s", full[i], name);
	}
	if (len[0] != len[1] || memcmp(sides[0].buf, sides[1].buf, (size_t)len[0]))
		differ(path, "attribute %s has other values (%zd and %zd bytes)", name, len[0],
		       len[1]);
}

static void compare_attrs(const char *path)
{
	char *full[2], *text[2], **names[2], **a, **b;

	for (int i = 0; i < 2; i++) {
		full[i] = join(sides[i].root, path);
		names[i] = attr_names(full[i], &text[i]);
	}
	for (a = names[0], b = names[1]; *a || *b;) {
		int order = !*a ? 1 : !*b ? -1 : strcmp(*a, *b);

		if (order < 0)
			differ(path, "attribute %s only in %s", *a, sides[0].root);
		else if (order > 0)
			differ(path, "attribute %s only in %s", *b, sides[1].root);
		else
			compare_attr_values(path, full, *a);
		a += order <= 0;
		b += order >= 0;
	}
	for (int i = 0; i < 2; i++) {
		free(full[i]);
		free(text[i]);
		free(names[i]);
	}
}

static size_t read_chunk(int fd, char *buf, off_t at, const char *path)
{
	size_t got = 0;

	while (got < CHUNK) {
		ssize_t len = pread(fd, buf + got, CHUNK - got, at + (off_t)got);

		if (len < 0)
			err(2, "%s", path);
		if (!len)
			break;
		got += (size_t)len;
	}
	return got;
}

/* Compare from the first byte that is data on either side; what is a hole on both needs no
 * reading. */
static void compare_content(const char *path, const int *fds)
{
	size_t got[2];
	off_t at = 0;

	do {
		off_t data[2] = { lseek(fds[0], at, SEEK_DATA), lseek(fds[1], at, SEEK_DATA) };

		if (data[0] < 0 && data[1] < 0)
			return;
		at = data[1] < 0 || (data[0] >= 0 && data[0] < data[1]) ? data[0] : data[1];
		for (int i = 0; i < 2; i++)
			got[i] = read_chunk(fds[i], sides[i].buf, at, path);
		if (got[0] != got[1] || memcmp(sides[0].buf, sides[1].buf, got[0])) {
			differ(path, "content differs in the %d bytes from %lld", CHUNK,
			       (long long)at);
			return;
		}
		at += CHUNK;
	} while (got[0] == CHUNK);
}

/* The next data range from *at on, rounded outwards, joined over gaps that the rounding closes. */
static bool next_data(int fd, off_t *at, off_t size, off_t *begin, off_t *end)
{
	off_t granule = (off_t)hole_granule, data = lseek(fd, *at, SEEK_DATA);

	if (data < 0 || data >= size)
		return false;
	*begin = data / granule * granule;
	do {
		*at = lseek(fd, data, SEEK_HOLE);
		*end = (*at + granule - 1) / granule * granule;
		data = *at < size ? lseek(fd, *at, SEEK_DATA) : -1;
	} while (data >= 0 && data / granule * granule <= *end);
	return true;
}

static void compare_holes(const char *path, const int *fds, off_t size)
{
	off_t at[2] = { 0 }, begin[2], end[2];
	bool more[2];

	do {
		for (int i = 0; i < 2; i++) {
			begin[i] = end[i] = size;
			more[i] = next_data(fds[i], &at[i], size, &begin[i], &end[i]);
		}
		if (begin[0] != begin[1] ||
		    (end[0] != end[1] && (end[0] < size || end[1] < size))) {
			differ(path, "data in [%lld, %lld) and [%lld, %lld)", (long long)begin[0],
			       (long long)end[0], (long long)begin[1], (long long)end[1]);
			return;
		}
	} while (more[0] || more[1]);
}

static void compare_files(const char *path, const int *dirs, const char *name, off_t size)
{
	int fds[2];

	for (int i = 0; i < 2; i++) {
		fds[i] = openat(dirs[i], name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fds[i] < 0)
			err(2, "%s/%s", sides[i].root, path);
	}
	if (hole_granule)
		compare_holes(path, fds, size);
	compare_content(path, fds);
	close(fds[0]);
	close(fds[1]);
}

static int not_dots(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
}

/* alphasort goes by the locale; bytes are what both sides agree on. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void compare_entry(const char *path, const int *dirs, const char *name);

/* Where b stands to a in a merge of two lists of which either may have ended (NULL). */
static int merge_order(const struct dirent *a, const struct dirent *b)
{
	return !a ? 1 : !b ? -1 : strcmp(a->d_name, b->d_name);
}

static void compare_lists(const char *path, const int *fds, struct dirent **const *list,
			  const int *count)
{
	int a = 0, b = 0;

	while (a < count[0] || b < count[1]) {
		const struct dirent *in_a = a < count[0] ? list[0][a] : NULL;
		const struct dirent *in_b = b < count[1] ? list[1][b] : NULL;
		int order = merge_order(in_a, in_b);
		const char *name = order <= 0 ? in_a->d_name : in_b->d_name;
		char *child = join(path, name);

		if (!order)
			compare_entry(child, fds, name);
		else if (order < 0 || strcmp(child, "lost+found"))
			differ(child, "only in %s", sides[order > 0].root);
		free(child);
		a += order <= 0;
		b += order >= 0;
	}
}

static void compare_dirs(const char *path, const int *dirs, const char *name)
{
	struct dirent **list[2];
	int fds[2], count[2];

	for (int i = 0; i < 2; i++) {
		fds[i] = openat(dirs[i], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		count[i] = fds[i] < 0 ? -1 : scandirat(fds[i], ".", &list[i], not_dots, by_bytes);
		if (count[i] < 0)
			err(2, "%s/%s", sides[i].root, path);
	}
	compare_lists(path, fds, list, count);
	for (int i = 0; i < 2; i++) {
		while (count[i])
			free(list[i][--count[i]]);
		free(list[i]);
		close(fds[i]);
	}
}

static void compare_entry(const char *path, const int *dirs, const char *name)
{
	struct stat st[2];

	entries++;
	for (int i = 0; i < 2; i++)
		if (fstatat(dirs[i], name, &st[i], AT_SYMLINK_NOFOLLOW))
			err(2, "%s/%s", sides[i].root, path);
	compare_stat(path, &st[0], &st[1]);
	if (!without_xattr)
		compare_attrs(path);
	if ((st[0].st_mode ^ st[1].st_mode) & S_IFMT)
		return;
	if (!S_ISDIR(st[0].st_mode))
		compare_links(path, &st[0], &st[1]);
	if (S_ISREG(st[0].st_mode))
		compare_files(path, dirs, name,
			      st[0].st_size < st[1].st_size ? st[0].st_size : st[1].st_size);
	else if (S_ISLNK(st[0].st_mode))
		compare_symlinks(path, dirs, name);
	else if (S_ISDIR(st[0].st_mode))
		compare_dirs(path, dirs, name);
}

static int usage(void)
{
	fprintf(stderr, "usage: treecmp [-a] [-o] [-x] [-H BYTES] A B\n");
	return 2;
}

int main(int argc, char **argv)
{
	int dirs[2], opt;

	while ((opt = getopt(argc, argv, "aoxH:")) != -1) {
		if (opt == 'a')
			with_atime = true;
		else if (opt == 'o')
			without_owner = true;
		else if (opt == 'x')
			without_xattr = true;
		else if (opt == 'H')
			hole_granule = strtoull(optarg, NULL, 10);
		else
			return usage();
	}
	if (argc - optind != 2)
		return usage();
	for (int i = 0; i < 2; i++) {
		sides[i].root = argv[optind + i];
		dirs[i] = open(sides[i].root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dirs[i] < 0)
			err(2, "%s", sides[i].root);
	}
	compare_entry("", dirs, ".");
	printf("%llu entries compared, %llu differences\n", (unsigned long long)entries,
	       (unsigned long long)differences);
	return differences ? 1 : 0;
}
