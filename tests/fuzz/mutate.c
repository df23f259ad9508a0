/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mutate - damaged images through the tools: none may crash, hang, leak or take memory or disk
 * without bound, whatever else it makes of them.
 *
 *	mutate [--count N] [--seed S] [--first N] [--keep FOLDER] [IMAGE...]
 *
 * N (1000) mutations of the sound images of fuzz_base.c: bits, numbers, runs of bytes, structures
 * put in each other's place; in half of the cases checksums are made right. Mutation number i of a
 * seed is always the same: --first i --count 1 makes it again. Images that are named are tried as
 * they are, instead.
 *
 * Each image goes through dafsck -fn, dafsdebug's requests, dawrite's commands and a flush, and as
 * it was again through dafsck -fy. The tools run in child processes with limits of time, memory
 * and file size; a build with sanitizers finds the rest. A finding is a line, and with --keep the
 * image and the tool's messages in FOLDER; one finding is exit status 1.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate.h"

enum {
	MOST_CPU_SEC = 10,
	MOST_RSS_KIB = 700 << 10,
	MOST_FILE_BYTES = 16 << 20,
	WORST_STATUS = 32, /* above: a signal's, a sanitizer's */
	STRUCTURES_MOST = 2048,
};

static struct {
	unsigned long count, first, seed, findings, images;
	const char *keep;
} run = { .count = 1000, .seed = 1 };

static char folder[300], image[320], report[320];

/* --- numbers --- */

static uint64_t state;

static uint32_t rnd(uint32_t below)
{
	state += 0x9e3779b97f4a7c15u;
	uint64_t z = state;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ (z >> 31)) % below);
}

/* --- structures and mutations --- */

struct structures {
	struct fuzz_record v[STRUCTURES_MOST];
	size_t n;
};
static struct structures all[16];

static void add_structure(void *arg, const struct fuzz_record *rec)
{
	struct structures *s = arg;

	if (s->n < STRUCTURES_MOST)
		s->v[s->n++] = *rec;
}

static struct structures *structures(size_t number)
{
	struct structures *s = &all[number];

	if (!s->n)
		fuzz_structures(number, add_structure, s);
	return s;
}

static void change_bits(uint8_t *bytes, size_t len)
{
	for (uint32_t k = rnd(4) + 1; k; k--)
		bytes[rnd((uint32_t)len)] ^= (uint8_t)(1u << rnd(8));
}

static void change_number(uint8_t *bytes, size_t len)
{
	static const uint32_t odd[] = { 0, 1, 2, 8, 11, 0x7f, 0xff, 0x7fff, 0xffff, 0x10000,
					0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };
	uint32_t value = odd[rnd(sizeof(odd) / sizeof(odd[0]))], width = 1u << rnd(3), at;

	if (len < 4)
		return;
	at = rnd((uint32_t)(len / width)) * width;
	if (rnd(3) == 0)
		value = rnd(4096);
	memcpy(bytes + at, &value, width);
}

static void change_run(uint8_t *bytes, size_t len)
{
	uint32_t at = rnd((uint32_t)len), n = rnd(rnd(2) ? 16 : (uint32_t)len) + 1;
	bool zero = rnd(2);

	for (uint32_t i = at; i < len && i < at + n; i++)
		bytes[i] = zero ? 0 : (uint8_t)rnd(256);
}

/* One structure of the image is changed, or takes another's contents. */
static void change_one(struct fuzz_input *in, const struct structures *s)
{
	static uint8_t bytes[65536];
	struct fuzz_record rec = s->v[rnd((uint32_t)s->n)];
	const struct fuzz_record *other = &s->v[rnd((uint32_t)s->n)];

	memcpy(bytes, rec.bytes, rec.len);
	switch (rnd(8)) {
	case 0:
		memcpy(bytes, other->bytes, other->len < rec.len ? other->len : rec.len);
		break;
	case 1:
	case 2:
		change_bits(bytes, rec.len);
		break;
	case 3:
		change_run(bytes, rec.len);
		break;
	default:
		for (uint32_t k = rnd(3) + 1; k; k--)
			change_number(bytes, rec.len);
	}
	rec.bytes = bytes;
	fuzz_input_add(in, &rec);
}

/* Mutation number n: the input and its image. */
static struct fuzz_mem *mutation(unsigned long n, struct fuzz_input *in)
{
	size_t number;
	struct fuzz_mem *mem;

	state = run.seed * 0x2545f4914f6cdd1du + n;
	number = rnd((uint32_t)fuzz_nbases);
	fuzz_input_begin(in, number, (uint8_t)rnd(2));
	for (uint32_t k = rnd(2) ? 1 : rnd(5) + 1; k; k--)
		change_one(in, structures(number));
	mem = fuzz_copy(number);
	fuzz_patch(fuzz_base(number), mem, in->bytes[1] & FUZZ_FIX, in->bytes + FUZZ_HEAD_BYTES,
		   in->bytes + in->len);
	return mem;
}

/* --- files --- */

static void need(bool fine, const char *what)
{
	if (!fine)
		fuzz_die(what, errno);
}

static void write_image(const struct fuzz_mem *mem)
{
	static const uint8_t zeros[FUZZ_CHUNK_BYTES];
	int fd = open(image, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	need(fd >= 0 && ftruncate(fd, (off_t)mem->size_bytes) == 0, image);
	for (uint64_t off = 0; off < mem->size_bytes; off += sizeof(zeros))
		if (memcmp(mem->bytes + off, zeros, sizeof(zeros)))
			need(pwrite(fd, mem->bytes + off, sizeof(zeros), (off_t)off) > 0, image);
	close(fd);
}

static void copy_file(const char *from, const char *to)
{
	static uint8_t buf[1 << 16], zeros[1 << 16];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct stat st;
	ssize_t got;
	off_t off = 0;

	need(in >= 0 && out >= 0 && fstat(in, &st) == 0 && ftruncate(out, st.st_size) == 0, from);
	for (; (got = read(in, buf, sizeof(buf))) > 0; off += got)
		if (memcmp(buf, zeros, (size_t)got))
			need(pwrite(out, buf, (size_t)got, off) == got, to);
	close(in);
	close(out);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

/* Files that the tools find in their folder, and what they left there. */
static const char *path_of(const char *name)
{
	static char path[400];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_text(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "w");

	need(file && fputs(text, file) >= 0 && fclose(file) == 0, name);
}

static const char requests[] =
	"stats\nls -ldc /\nls -l /lin\nls -d /big\nhtree_dump /big\nhtree_dump /lin/sub\nfrag\n"
	"frag /frag /whole\nstat /frag\nstat /whole\nstat /tiny\nstat /slow\nstat /dev\nstat <8>\n"
	"ea_list /whole\nea_list /tiny\nea_list /frag\nex /frag\nblocks /blocks\nblocks /far\n"
	"bmap /frag 100\nlogdump -S -a\nfreefrag\nbuddy\nncheck -c 12 17 22\nicheck 30 100 500\n"
	"testb 100 50\ntesti /tiny\nimap /whole\ndump /whole out/dumped\nrdump / out\n";
static const char commands[] =
	"ls -l /\nls -l /big\nstat /frag\nwrite --from file /lin/new\n"
	"write -o 5000 --from file /whole\nput file /put\nimport host /imported\n"
	"mkdir -p /lin/sub/deep/er\nfallocate /tiny 0 20000\npunch /frag 1000 50000\n"
	"truncate /far 100\nln /tiny /big/tiny2\nmv /slow /lin\nrm /fast\nrm -r /big\n"
	"setfattr -n user.more -v 0x0011 /tiny\nchmod 600 /whole\n";

static void prepare(void)
{
	snprintf(folder, sizeof(folder), "%s/tools", fuzz_folder());
	need(mkdir(folder, 0700) == 0, folder);
	snprintf(image, sizeof(image), "%s/image", folder);
	snprintf(report, sizeof(report), "%s/report", fuzz_folder());
	need(mkdir(path_of("host"), 0700) == 0, folder);
	write_text("file", "some text for a file of the image\n");
	write_text("host/one", "one\n");
	write_text("requests", requests);
	write_text("commands", commands);
}

static void tidy(bool cache)
{
	nftw(path_of("out"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mkdir(path_of("out"), 0700);
	if (cache) {
		nftw(path_of("image.dacache"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
		unlink(path_of("image.dafs-redo"));
	}
}

/* --- one tool --- */

struct tool {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *words[8];
};

static const struct tool looks[] = {
	{ "dafsck -fn", mutate_dafsck, { "dafsck", "-fn", "image" } },
	{ "dafsdebug -k -f", mutate_dafsdebug, { "dafsdebug", "-k", "-f", "requests", "image" } },
	{ "dafsdebug -c",
	  mutate_dafsdebug,
	  { "dafsdebug", "-c", "-k", "-f", "requests", "image" } },
	{ "dawrite script",
	  mutate_dawrite,
	  { "dawrite", "--no-sync", "image", "script", "commands" } },
	{ "dawrite write",
	  mutate_dawrite,
	  { "dawrite", "image", "write", "--from", "file", "/n" } },
	{ "dawrite rm", mutate_dawrite, { "dawrite", "image", "rm", "-r", "-f", "/lin" } },
	{ "dawrite status", mutate_dawrite, { "dawrite", "image", "status" } },
	{ "dafsdebug cache", mutate_dafsdebug, { "dafsdebug", "-R", "cache -l", "image" } },
	{ "dawrite flush", mutate_dawrite, { "dawrite", "--no-sync", "image", "flush" } },
	{ "dawrite import", mutate_dawrite, { "dawrite", "-f", "image", "import", "host", "/h" } },
	{ "dawrite cat", mutate_dawrite, { "dawrite", "image", "cat", "/n", "/h/one" } },
};
static const struct tool repairs[] = {
	{ "dafsck -fy", mutate_dafsck, { "dafsck", "-fy", "image" } },
	{ "dafsck -fn after it", mutate_dafsck, { "dafsck", "-fn", "image" } },
};

enum { NLOOKS = sizeof(looks) / sizeof(looks[0]), NREPAIRS = sizeof(repairs) / sizeof(repairs[0]) };

static uint64_t rss_kib(void)
{
	unsigned long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file && fscanf(file, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return (uint64_t)resident * (uint64_t)(sysconf(_SC_PAGESIZE) / 1024);
}

static void *watch(void *arg)
{
	const struct timespec nap = { .tv_nsec = 20000000 };

	for (;;) {
		nanosleep(&nap, NULL);
		if (rss_kib() > MOST_RSS_KIB) {
			dprintf(STDERR_FILENO, "more than %d KiB of memory\n", MOST_RSS_KIB);
			kill(getpid(), SIGABRT);
		}
	}
	return arg;
}

static void limit(unsigned times)
{
	int fd = open(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	pthread_t thread;

	need(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0 && chdir(folder) == 0, report);
	need(dup2(fileno(stdout), STDOUT_FILENO) >= 0, report); /* /dev/null (fuzz_begin) */
	setrlimit(RLIMIT_CPU, &(struct rlimit){ MOST_CPU_SEC * times, MOST_CPU_SEC * times + 1 });
	setrlimit(RLIMIT_FSIZE, &(struct rlimit){ MOST_FILE_BYTES, MOST_FILE_BYTES });
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	signal(SIGXFSZ, SIG_IGN);
	alarm(MOST_CPU_SEC * 12 * times); /* of the clock, where all wait for something */
	need(pthread_create(&thread, NULL, watch, NULL) == 0, "thread");
}

static int run_main(const struct tool *tool)
{
	char text[8][64], *argv[9];
	int argc = 0;

	for (; tool->words[argc]; argc++) {
		snprintf(text[argc], sizeof(text[0]), "%s", tool->words[argc]);
		argv[argc] = text[argc];
	}
	argv[argc] = NULL;
	optind = 0;
	return tool->main(argc, argv);
}

/* One after the other; the worst status. */
static int run_mains(const struct tool *tools, size_t n)
{
	int worst = 0;

	for (size_t i = 0; i < n; i++) {
		int own = run_main(&tools[i]);

		worst = own > worst ? own : worst;
		tidy(false);
	}
	return worst;
}

/* The tools in a child of their own; what became of it. */
static int run_child(const struct tool *tools, size_t n)
{
	int status = 0;
	pid_t pid;

	need(truncate(report, 0) == 0 || errno == ENOENT, report);
	pid = fork();
	need(pid >= 0, "fork");
	if (!pid) {
		limit(1);
		exit(run_mains(tools, n));
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void keep(const char *what)
{
	char path[600];

	if (!run.keep)
		return;
	snprintf(path, sizeof(path), "%s/%s.report", run.keep, what);
	copy_file(report, path);
	snprintf(path, sizeof(path), "%s/%s.img", run.keep, what);
	copy_file(path_of("before"), path);
}

static bool fine(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) <= WORST_STATUS;
}

static void found(const char *what, const char *tool, int status)
{
	run.findings++;
	dprintf(STDOUT_FILENO, "%s: %s: %s %d\n", what, tool,
		WIFEXITED(status) ? "status" : "signal",
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	keep(what);
}

/* The tools over the image that lies in the folder as "before"; after a failure again one by one,
 * which tells who it was. */
static void run_group(const struct tool *tools, size_t n, const char *what)
{
	int status, one;

	copy_file(path_of("before"), image);
	status = run_child(tools, n);
	tidy(true);
	if (fine(status))
		return;
	copy_file(path_of("before"), image);
	for (size_t i = 0; i < n; i++) {
		one = run_child(&tools[i], 1);
		if (!fine(one)) {
			found(what, tools[i].name, one);
			break;
		}
		if (i + 1 == n)
			found(what, "all of them", status);
	}
	tidy(true);
}

static void run_tools(const char *what)
{
	run_group(looks, NLOOKS, what);
	run_group(repairs, NREPAIRS, what);
	run.images++;
}

static void make_mutation(unsigned long n)
{
	static struct fuzz_input in;

	write_image(mutation(n, &in));
	need(rename(image, path_of("before")) == 0, image);
}

/* Many images in one child, which costs less; false: one of them was not well. */
static bool run_batch(unsigned long first, unsigned long end)
{
	int status = 0, worst = 0, own;
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (!pid) {
		limit((unsigned)(end - first));
		for (unsigned long n = first; n < end; n++) {
			make_mutation(n);
			copy_file(path_of("before"), image);
			own = run_mains(looks, NLOOKS);
			worst = own > worst ? own : worst;
			tidy(true);
			copy_file(path_of("before"), image);
			own = run_mains(repairs, NREPAIRS);
			worst = own > worst ? own : worst;
			tidy(true);
		}
		exit(worst);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return fine(status);
}

static void run_mutations(void)
{
	enum { BATCH = 25 };
	unsigned long last = run.first + run.count, end;
	char what[64];

	for (size_t i = 0; i < fuzz_nbases; i++)
		structures(i);
	dafs_dev_wrap = NULL;
	for (unsigned long first = run.first; first < last; first = end) {
		end = last - first < BATCH ? last : first + BATCH;
		if (run_batch(first, end)) {
			run.images += end - first;
			continue;
		}
		tidy(true);
		for (unsigned long n = first; n < end; n++) {
			make_mutation(n);
			snprintf(what, sizeof(what), "mutation-%lu-%lu", run.seed, n);
			run_tools(what);
		}
	}
}

static void run_image(const char *path)
{
	const char *name = strrchr(path, '/');
	char what[64];

	copy_file(path, path_of("before"));
	snprintf(what, sizeof(what), "%s", name ? name + 1 : path);
	run_tools(what);
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || !*text) {
		dprintf(STDERR_FILENO, "mutate: %s is no number\n", text);
		exit(2);
	}
	return value;
}

/* A sanitizer's finding must not look like a failure of the tool's own; it reads this at the
 * start. */
static void restart(char **argv)
{
	if (getenv("DAFS_MUTATE_STARTED"))
		return;
	setenv("DAFS_MUTATE_STARTED", "1", 1);
	setenv("ASAN_OPTIONS", "exitcode=99:detect_leaks=1:max_allocation_size_mb=512", 1);
	setenv("UBSAN_OPTIONS", "exitcode=99:print_stacktrace=1", 1);
	execv("/proc/self/exe", argv);
	need(false, "/proc/self/exe");
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "count", 1, NULL, 'c' },
						 { "first", 1, NULL, 'f' },
						 { "seed", 1, NULL, 's' },
						 { "keep", 1, NULL, 'k' },
						 { NULL, 0, NULL, 0 } };
	int out = dup(STDOUT_FILENO), option;

	restart(argv);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'c')
			run.count = number(optarg);
		else if (option == 'f')
			run.first = number(optarg);
		else if (option == 's')
			run.seed = number(optarg);
		else if (option == 'k')
			run.keep = realpath(optarg, NULL);
		else
			return 2;
	}
	fuzz_begin();
	dup2(out, STDOUT_FILENO);
	setrlimit(RLIMIT_FSIZE, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
	prepare();
	if (optind == argc)
		run_mutations();
	for (int i = optind; i < argc; i++)
		run_image(argv[i]);
	dprintf(STDOUT_FILENO, "%lu images, %lu findings\n", run.images, run.findings);
	return run.findings != 0;
}
