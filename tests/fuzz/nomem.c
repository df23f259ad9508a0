/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nomem - the tools when memory ends: the Nth allocation of a run fails (once, or with all behind
 * it). No tool may crash, and what is left must be what it was or what it was to be: the cache
 * flushes afterwards, dafsck has no finding, what was acknowledged is there.
 *
 *	nomem [--stride S] [--work NAME]
 *
 * Every S-th allocation (1: all) of every workload, both ways. This program's malloc stands before
 * the C library's, so that libraries' allocations fail too; it is not for builds with sanitizers,
 * which have their own.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate.h"

/* --- memory --- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

/* Shared with children: what they count. */
static struct {
	unsigned long count, fail_at;
	bool for_good, armed;
} *memory;

static bool fails(void)
{
	unsigned long n;

	if (!memory || !memory->armed)
		return false;
	n = __atomic_add_fetch(&memory->count, 1, __ATOMIC_RELAXED);
	if (!memory->fail_at || (memory->for_good ? n < memory->fail_at : n != memory->fail_at))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return fails() ? NULL : __libc_realloc(old, size);
}

/* --- files --- */

static char folder[300];
static const char *const kept[] = { "image", "image.dacache/cache.db", "image.dacache/spool",
				    "image.dacache/spool.sum" };
enum { KEPT = sizeof(kept) / sizeof(kept[0]), MOST_CPU_SEC = 20 };

struct state {
	uint8_t *bytes[KEPT];
	size_t len[KEPT];
};

static void need(bool fine, const char *what)
{
	if (!fine)
		fuzz_die(what, errno);
}

static const char *path_of(const char *name)
{
	static char path[400];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_bytes(const char *name, const void *bytes, size_t len)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	need(fd >= 0 && write(fd, bytes, len) == (ssize_t)len, name);
	close(fd);
}

static void take_state(struct state *st)
{
	struct stat sb;

	for (size_t i = 0; i < KEPT; i++) {
		int fd = open(path_of(kept[i]), O_RDONLY | O_CLOEXEC);

		free(st->bytes[i]);
		st->bytes[i] = NULL;
		if (fd < 0)
			continue;
		need(fstat(fd, &sb) == 0, kept[i]);
		st->len[i] = (size_t)sb.st_size;
		st->bytes[i] = malloc(st->len[i] + 1);
		need(st->bytes[i] && read(fd, st->bytes[i], st->len[i]) == sb.st_size, kept[i]);
		close(fd);
	}
}

static void put_state(const struct state *st)
{
	static const char *const gone[] = { "image.dacache/cache.db-journal", "image.dafs-redo",
					    "made" };

	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		unlink(path_of(gone[i]));
	if (st->bytes[1])
		mkdir(path_of("image.dacache"), 0700);
	for (size_t i = 0; i < KEPT; i++) {
		if (st->bytes[i])
			write_bytes(kept[i], st->bytes[i], st->len[i]);
		else
			unlink(path_of(kept[i]));
	}
	if (!st->bytes[1])
		rmdir(path_of("image.dacache"));
}

/* --- runs --- */

struct run {
	int (*main)(int argc, char **argv);
	const char *words[10];
};

static void child(const struct run *run)
{
	char text[10][64], *argv[11];
	int argc = 0;

	need(chdir(folder) == 0, folder);
	need(dup2(fileno(stdout), STDOUT_FILENO) >= 0, folder);
	setrlimit(RLIMIT_CPU, &(struct rlimit){ MOST_CPU_SEC, MOST_CPU_SEC + 1 });
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	for (; run->words[argc]; argc++) {
		snprintf(text[argc], sizeof(text[0]), "%s", run->words[argc]);
		argv[argc] = text[argc];
	}
	argv[argc] = NULL;
	optind = 0;
	memory->armed = true;
	argc = run->main(argc, argv);
	memory->armed = false;
	exit(argc);
}

/* The run's status with an allocation failing (0: none). */
static int run_one(const struct run *run, unsigned long fail_at, bool for_good)
{
	int status = 0;
	pid_t pid;

	memory->count = 0;
	memory->fail_at = fail_at;
	memory->for_good = for_good;
	memory->armed = false;
	pid = fork();
	need(pid >= 0, "fork");
	if (!pid)
		child(run);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static const struct run flush = { mutate_dawrite, { "dawrite", "--no-sync", "image", "flush" } };
static const struct run check = { mutate_dafsck, { "dafsck", "-fn", "image" } };
static const struct run pend = { mutate_dawrite, { "dawrite", "--no-sync", "image", "script",
						   "commands" } };
static const struct run acknowledged = { mutate_dawrite, { "dawrite", "image", "stat",
							   "/acknowledged" } };

struct work {
	const char *name;
	size_t base;
	bool pending;	/* begins with a cache that holds something */
	bool changes;	/* the image or the cache: looked at afterwards */
	struct run run;
};

static const struct work works[] = {
	{ "script",
	  5,
	  false,
	  true,
	  { mutate_dawrite, { "dawrite", "--no-sync", "image", "script", "commands" } } },
	{ "more",
	  0,
	  true,
	  true,
	  { mutate_dawrite, { "dawrite", "--no-sync", "image", "script", "others" } } },
	{ "flush",
	  5,
	  true,
	  true,
	  { mutate_dawrite, { "dawrite", "--no-sync", "image", "flush" } } },
	{ "flush-nojournal",
	  2,
	  true,
	  true,
	  { mutate_dawrite, { "dawrite", "--no-sync", "image", "flush" } } },
	{ "import",
	  3,
	  false,
	  true,
	  { mutate_dawrite,
	    { "dawrite", "-f", "--no-sync", "image", "import", "host", "/imported" } } },
	{ "check", 2, false, false, { mutate_dafsck, { "dafsck", "-fn", "image" } } },
	{ "repair", 5, false, true, { mutate_dafsck, { "dafsck", "-fy", "image" } } },
	{ "debug",
	  0,
	  true,
	  false,
	  { mutate_dafsdebug, { "dafsdebug", "-k", "-f", "requests", "image" } } },
};

static unsigned long tries, bad;

static void report(const struct work *work, unsigned long at, bool for_good, const char *what,
		   int status)
{
	bad++;
	dprintf(STDERR_FILENO, "%s, allocation %lu%s: %s, status %#x\n", work->name, at,
		for_good ? " and all after it" : "", what, status);
}

static bool no_crash(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) <= 32;
}

/* One failure, and what must hold after it. */
static void try_at(const struct work *work, const struct state *st, unsigned long at, bool for_good)
{
	int status;

	put_state(st);
	status = run_one(&work->run, at, for_good);
	tries++;
	if (!no_crash(status)) {
		report(work, at, for_good, "crash", status);
		return;
	}
	if (!work->changes)
		return;
	if (work->pending && run_one(&acknowledged, 0, false))
		report(work, at, for_good, "what was acknowledged is not there", status);
	if (work->run.main == mutate_dawrite && (status = run_one(&flush, 0, false)))
		report(work, at, for_good, "it cannot be flushed afterwards", status);
	if (work->run.main == mutate_dawrite && (status = run_one(&check, 0, false)))
		report(work, at, for_good, "the image is damaged", status);
	if (work->run.main == mutate_dafsck && (status = run_one(&work->run, 0, false)) &&
	    WEXITSTATUS(status) != 1)
		report(work, at, for_good, "it cannot be repaired afterwards", status);
}

static void run_work(const struct work *work, unsigned long stride)
{
	struct state st = { .len = { 0 } };
	const struct fuzz_mem *mem = fuzz_copy(work->base);
	unsigned long total;

	dafs_dev_wrap = NULL;
	put_state(&st);
	write_bytes("image", mem->bytes, mem->size_bytes);
	if (work->run.main == mutate_dafsck && work->changes) {
		/* Something to repair: the block bitmap and a directory's first block are gone. */
		static const uint8_t zeros[1024];
		int fd = open(path_of("image"), O_WRONLY | O_CLOEXEC);
		ext2_filsys fs = fuzz_base(work->base)->img->fs;

		need(fd >= 0 && pwrite(fd, zeros, sizeof(zeros),
				       (off_t)(ext2fs_block_bitmap_loc(fs, 0) * fs->blocksize)) > 0,
		     "image");
		close(fd);
	}
	if (work->pending)
		need(run_one(&pend, 0, false) == 0, "pending work");
	take_state(&st);
	need(no_crash(run_one(&work->run, 0, false)), work->name);
	total = memory->count;
	for (unsigned long at = 1; at <= total; at += stride) {
		try_at(work, &st, at, false);
		try_at(work, &st, at, true);
	}
	dprintf(STDERR_FILENO, "%s: %lu allocations\n", work->name, total);
	put_state(&st);
	for (size_t i = 0; i < KEPT; i++)
		free(st.bytes[i]);
}

/* Not stats: it names the reserved blocks' owner, and the C library's look-up of users has an
 * assertion about memory of its own. */
static const char requests[] = "ls -l /lin\nhtree_dump /big\nfrag\nstat /frag\nea_list /whole\n"
			       "ex /frag\nfreefrag\nncheck 12\nicheck 100\ncache -l\nes /frag\n";
static const char commands[] = "mkdir /acknowledged\nwrite --from file /lin/new\nput host /put\n"
			       "punch /frag 1000 50000\nrm -r /big\nmv /fast /lin\n"
			       "setfattr -n user.more -v 0x0011 /tiny\n";
static const char others[] = "write -o 5000 --from file /lin/new\nrm -r /put\ntruncate /frag 10\n";

static void prepare(void)
{
	snprintf(folder, sizeof(folder), "%s/tools", fuzz_folder());
	need(mkdir(folder, 0700) == 0 && mkdir(path_of("host"), 0700) == 0, folder);
	write_bytes("file", "some text for a file of the image\n", 34);
	write_bytes("host/one", "one\n", 4);
	write_bytes("requests", requests, strlen(requests));
	write_bytes("commands", commands, strlen(commands));
	write_bytes("others", others, strlen(others));
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "stride", 1, NULL, 's' },
						 { "work", 1, NULL, 'w' },
						 { NULL, 0, NULL, 0 } };
	unsigned long stride = 1;
	const char *only = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			stride = strtoul(optarg, NULL, 10);
		else if (option == 'w')
			only = optarg;
		else
			return 2;
	}
	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED || !stride)
		return 2;
	fuzz_begin();
	prepare();
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		if (!only || !strcmp(only, works[i].name))
			run_work(&works[i], stride);
	dprintf(STDERR_FILENO, "%lu tries, %lu failures\n", tries, bad);
	return bad != 0;
}
