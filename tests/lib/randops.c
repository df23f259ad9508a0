/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * randops SEED COUNT DIR DATADIR [coarse] - random file operations, done in DIR and printed as a
 * dawrite script.
 *
 * What the script does to an image is what was done to DIR, so that the two can be compared
 * afterwards. Only operations that succeed on the host are printed. Bytes to write are kept as
 * files in DATADIR, which the script reads. At the end every entry gets a time from the seed, in
 * both places; coarse: whole seconds before 2038, what small inodes can hold. Equal seeds give
 * equal scripts.
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_ENTRIES 4096
#define MAX_SIZE    (256u * 1024)

enum kind { K_FILE, K_DIR, K_LINK, K_FIFO };

struct entry {
	char *path;		/* relative to DIR, without a leading slash */
	enum kind kind;
};

static struct entry entries[MAX_ENTRIES];
static size_t count;
static uint64_t state;
static const char *data_dir;
static unsigned data_serial;

static uint64_t rnd(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * UINT64_C(0x2545F4914F6CDD1D) >> 11) % n;
}

static void put_quoted(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
	}
	putchar('\'');
}

static void put_path(const char *path)
{
	printf(" '/'");
	put_quoted(path);
}

static struct entry *pick(enum kind kind)
{
	for (int tries = 0; tries < 50 && count; tries++) {
		struct entry *e = &entries[rnd(count)];

		if (e->kind == kind)
			return e;
	}
	return NULL;
}

/* A path that is new most of the time, in some directory. */
static char *new_path(void)
{
	static const char *const odd[] = { " ",	   "'",	   "\"", "\\", "#",
					   "\x01", "\xff", "%",	 "*",  "\xc3\xa9" };
	struct entry *dir = rnd(4) ? pick(K_DIR) : NULL;
	char name[300], *path;
	int len = snprintf(name, sizeof(name), "%c%u", (int)('a' + rnd(6)), (unsigned)rnd(200));

	if (!rnd(8))
		len += snprintf(name + len, sizeof(name) - (size_t)len, "%s", odd[rnd(10)]);
	if (!rnd(30))
		snprintf(name + len, sizeof(name) - (size_t)len, "%0*d", 255 - len, 7);
	if (asprintf(&path, "%s%s%s", dir ? dir->path : "", dir ? "/" : "", name) < 0)
		err(2, "memory");
	return path;
}

static void add(char *path, enum kind kind)
{
	if (count < MAX_ENTRIES)
		entries[count++] = (struct entry){ path, kind };
}

/* Forget path and everything below it. */
static void forget(const char *path)
{
	size_t len = strlen(path), kept = 0;
	char *copy = strdup(path);

	for (size_t i = 0; i < count; i++) {
		if (!strncmp(entries[i].path, copy, len) &&
		    (entries[i].path[len] == '/' || !entries[i].path[len]))
			free(entries[i].path);
		else
			entries[kept++] = entries[i];
	}
	count = kept;
	free(copy);
}

static void op_mkdir(void)
{
	char *path = new_path();

	if (mkdir(path, 0755)) {
		free(path);
		return;
	}
	printf("mkdir");
	put_path(path);
	putchar('\n');
	add(path, K_DIR);
}

/* Small enough for a place in the inode (or just too large for it), ordinary, or large. */
static uint64_t some_size(uint64_t most)
{
	switch (rnd(4)) {
	case 0:
		return rnd(most);
	case 1:
		return rnd(170);
	default:
		return rnd(9000);
	}
}

/* Random bytes, kept in DATADIR too. Returns their length. */
static size_t make_data(char *buf, char *name, size_t room)
{
	size_t len = some_size(MAX_SIZE / 2) + 1;
	FILE *out;

	for (size_t i = 0; i < len; i++)
		buf[i] = (char)rnd(256);
	snprintf(name, room, "%s/%u", data_dir, data_serial++);
	out = fopen(name, "w");
	if (!out || fwrite(buf, 1, len, out) != len || fclose(out))
		err(2, "%s", name);
	return len;
}

static void op_write(void)
{
	static char buf[MAX_SIZE];
	struct entry *old = rnd(3) ? pick(K_FILE) : NULL;
	char *path = old ? old->path : new_path(), name[4096];
	uint64_t off = rnd(2) ? 0 : some_size(MAX_SIZE);
	bool append = !rnd(4);
	struct stat st;
	int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0644);
	bool fresh = !old;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		if (fd >= 0)
			close(fd);
		if (fresh)
			free(path);
		return;
	}
	if (fresh) {	/* the name may have existed all the same */
		for (size_t i = 0; i < count && fresh; i++)
			fresh = strcmp(entries[i].path, path);
	}
	size_t len = make_data(buf, name, sizeof(name));

	if (append)
		off = (uint64_t)st.st_size;
	if (pwrite(fd, buf, len, (off_t)off) != (ssize_t)len)
		err(2, "%s", path);
	close(fd);
	if (append)
		printf("write -a --from %s", name);
	else
		printf("write -o %llu --from %s", (unsigned long long)off, name);
	put_path(path);
	putchar('\n');
	if (fresh)
		add(path, K_FILE);
	else if (!old)
		free(path);
}

static void op_truncate(void)
{
	struct entry *e = pick(K_FILE);
	uint64_t size = rnd(4) ? some_size(MAX_SIZE) : 0;

	if (!e || truncate(e->path, (off_t)size))
		return;
	printf("truncate");
	put_path(e->path);
	printf(" %llu\n", (unsigned long long)size);
}

static void op_range(bool punch)
{
	struct entry *e = pick(K_FILE);
	uint64_t off = rnd(MAX_SIZE), len = rnd(40000) + 1;
	bool keep = punch || rnd(2);
	int fd = e ? open(e->path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK) : -1;
	int mode = punch  ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
		   : keep ? FALLOC_FL_KEEP_SIZE
			  : 0;

	if (fd < 0)
		return;
	if (!fallocate(fd, mode, (off_t)off, (off_t)len)) {
		printf(punch ? "punch" : keep ? "fallocate -n" : "fallocate");
		put_path(e->path);
		printf(" %llu %llu\n", (unsigned long long)off, (unsigned long long)len);
	}
	close(fd);
}

static void remove_tree(const char *path)
{
	/* The entries know what is below: deepest last in, first out. */
	for (size_t i = count; i-- > 0;) {
		size_t len = strlen(path);

		if (!strncmp(entries[i].path, path, len) && entries[i].path[len] == '/' &&
		    entries[i].kind != K_DIR)
			unlink(entries[i].path);
	}
	for (int again = 1; again;) {
		again = 0;
		for (size_t i = 0; i < count; i++) {
			size_t len = strlen(path);

			if (!strncmp(entries[i].path, path, len) && entries[i].path[len] == '/' &&
			    entries[i].kind == K_DIR)
				again |= !rmdir(entries[i].path);
		}
	}
	if (unlink(path) && rmdir(path))
		err(2, "rm %s", path);
}

static void op_rm(void)
{
	struct entry *e = count ? &entries[rnd(count)] : NULL;

	if (!e || (e->kind == K_DIR && rnd(4)))
		return;
	remove_tree(e->path);
	printf(e->kind == K_DIR ? "rm -r" : "rm");
	put_path(e->path);
	putchar('\n');
	forget(e->path);
}

/* The entries follow a rename. */
static void moved(const char *from, const char *to)
{
	size_t len = strlen(from);

	forget(to);
	for (size_t i = 0; i < count; i++) {
		char *path;

		if (strncmp(entries[i].path, from, len) ||
		    (entries[i].path[len] && entries[i].path[len] != '/'))
			continue;
		if (asprintf(&path, "%s%s", to, entries[i].path + len) < 0)
			err(2, "memory");
		free(entries[i].path);
		entries[i].path = path;
	}
}

static void op_mv(void)
{
	struct entry *e = count ? &entries[rnd(count)] : NULL;
	char *to = new_path(), *from;
	struct stat st;

	if (!e || (!lstat(to, &st) && (S_ISDIR(st.st_mode) || e->kind == K_DIR)) ||
	    rename(e->path, to)) {
		free(to);
		return;
	}
	printf("mv");
	put_path(e->path);
	put_path(to);
	putchar('\n');
	from = strdup(e->path);
	/* A rename of one link onto another of the same file leaves both. */
	if (from && strcmp(from, to) && lstat(from, &st))
		moved(from, to);
	free(from);
	free(to);
}

static void op_link(void)
{
	struct entry *e = pick(K_FILE);
	char *path = new_path();
	struct stat st;

	if (!e || !lstat(path, &st) || link(e->path, path)) {
		free(path);
		return;
	}
	printf("ln");
	put_path(e->path);
	put_path(path);
	putchar('\n');
	add(path, K_FILE);
}

static void op_symlink(void)
{
	char *path = new_path(), target[200];
	struct stat st;

	snprintf(target, sizeof(target), "%0*u", (int)rnd(120) + 1, (unsigned)rnd(1000));
	if (!lstat(path, &st) || symlink(target, path)) {
		free(path);
		return;
	}
	printf("ln -s %s", target);
	put_path(path);
	putchar('\n');
	add(path, K_LINK);
}

static void op_fifo(void)
{
	char *path = new_path();

	if (mkfifo(path, 0644)) {
		free(path);
		return;
	}
	printf("mknod");
	put_path(path);
	printf(" p\n");
	add(path, K_FIFO);
}

static void op_chmod(void)
{
	struct entry *e = pick(rnd(2) ? K_FILE : K_DIR);
	/* The owner keeps rights, so that the host run goes on without root too. */
	unsigned mode = 0700 | (unsigned)rnd(0100);

	if (!e || chmod(e->path, mode))
		return;
	printf("chmod %o", mode);
	put_path(e->path);
	putchar('\n');
}

static void op_xattr(void)
{
	struct entry *e = pick(rnd(2) ? K_FILE : K_DIR);
	char name[32], value[400];
	size_t len = rnd(rnd(3) ? 20 : 300) + 1;

	snprintf(name, sizeof(name), "user.x%u", (unsigned)rnd(4));
	for (size_t i = 0; i < len; i++)
		value[i] = (char)('a' + rnd(26));
	value[len] = '\0';
	if (!e || setxattr(e->path, name, value, len, 0))
		return;
	printf("setfattr -n %s -v %s", name, value);
	put_path(e->path);
	putchar('\n');
}

static void end_times(bool coarse)
{
	for (int dirs = 0; dirs < 2; dirs++) {
		for (size_t i = 0; i < count; i++) {
			struct timespec t[2];

			if ((entries[i].kind == K_DIR) != dirs)
				continue;
			t[0].tv_sec =
				(time_t)rnd(coarse ? UINT64_C(2000000000) : UINT64_C(4000000000));
			t[0].tv_nsec = coarse ? 0 : (long)rnd(1000000000);
			t[1] = t[0];
			if (utimensat(AT_FDCWD, entries[i].path, t, AT_SYMLINK_NOFOLLOW))
				err(2, "%s", entries[i].path);
			printf("touch -d @%lld.%09ld", (long long)t[0].tv_sec, t[0].tv_nsec);
			put_path(entries[i].path);
			putchar('\n');
		}
	}
}

int main(int argc, char **argv)
{
	static void (*const ops[])(void) = { op_mkdir,	  op_write, op_write, op_write,
					     op_truncate, op_rm,    op_mv,    op_link,
					     op_symlink,  op_fifo,  op_chmod, op_xattr };
	unsigned long steps;

	if (argc != 5 && (argc != 6 || strcmp(argv[5], "coarse")))
		errx(2, "usage: randops SEED COUNT DIR DATADIR [coarse]");
	state = strtoull(argv[1], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
	steps = strtoul(argv[2], NULL, 10);
	data_dir = argv[4];
	umask(022);
	if (chdir(argv[3]))
		err(2, "%s", argv[3]);
	for (unsigned long i = 0; i < steps; i++) {
		uint64_t which = rnd(14);

		if (which < 12)
			ops[which]();
		else
			op_range(which == 12);
	}
	end_times(argc == 6);
	for (size_t i = 0; i < count; i++)
		free(entries[i].path);
	return fflush(stdout) ? 2 : 0;
}
