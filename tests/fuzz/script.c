/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * script - what dawrite's script command is given: lines, words, quotes, every command with its
 * options, over a sound image, flushed at the end. dafsck has no finding afterwards.
 *
 * An input is one byte (which image) and text. Commands that read from the host get what is in a
 * folder of ours only: an input that names anything else is left out.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check/check.h"
#include "dawrite/dawrite.h"
#include "tests/fuzz/fuzz.h"

static const struct dafs_cli_tool tool = { .name = "fuzz" };
static int here = -1, host = -1;

/* --- what dawrite's main gives its commands --- */

errcode_t dawrite_open(struct dawrite *dw, bool rw)
{
	(void)rw;
	return dafs_fail(&dw->cli.ctx, DAFS_ET_SEQUENCE, "open already");
}

errcode_t dawrite_run_line(struct dawrite *dw, int argc, char **argv)
{
	const struct dafs_cli_cmd *cmd = dafs_cli_cmd_find(dawrite_cmds, argv[0]);

	if (cmd && (cmd->flags & DAWRITE_WHOLE || cmd->run == dawrite_script))
		return dafs_fail(&dw->cli.ctx, DAFS_ET_USAGE, "%s is not for scripts", argv[0]);
	return dafs_cli_cmd_run(&dw->cli.ctx, dawrite_cmds, dw, argc, argv);
}

/* --- no way out to the host --- */

static bool stays(const char *word)
{
	const char *value = strchr(word, '=');

	return word[0] != '/' && !strstr(word, "..") && strcmp(word, "-") != 0 &&
	       (!value || stays(value + 1));
}

static bool line_harmless(int argc, char **words)
{
	bool reads = !strcmp(words[0], "put") || !strcmp(words[0], "import") ||
		     !strcmp(words[0], "sync");
	int last = argc > 2 ? argc - 1 : argc;
	bool from = false;

	for (int i = 1; i < argc; i++)
		from |= !strncmp(words[i], "--f", 3);
	if (!reads && !(from && !strcmp(words[0], "write")))
		return true;
	for (int i = 1; i < last; i++)
		if (!stays(words[i]))
			return false;
	return reads || stays(words[argc - 1]);
}

static bool harmless(const char *text, size_t size)
{
	char *copy = strndup(text, size), *rest = copy, *line;
	bool fine = copy != NULL;

	while (fine && (line = strsep(&rest, "\n"))) {
		char **words;
		int argc;

		if (dafs_cli_split(&fuzz_ctx, line, &argc, &words))
			break;
		fine = !argc || line_harmless(argc, words);
		free(words);
	}
	free(copy);
	return fine;
}

static void make_host(void)
{
	char path[512];
	int fd;

	here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/host", fuzz_folder());
	mkdir(path, 0755);
	host = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(host, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (here < 0 || fd < 0 || write(fd, "a file of the host\n", 19) != 19 ||
	    ftruncate(fd, 50000) || mkdirat(host, "dir", 0755) ||
	    symlinkat("file", host, "dir/link"))
		fuzz_die(path, 0);
	close(fd);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, STDIN_FILENO);
	close(fd);
}

/* --- one script --- */

static void run(struct dafs *fs, const char *text, size_t size)
{
	struct dawrite dw = { .cli = { .tool = &tool }, .image = "image", .fs = fs };
	char dash[] = "-", *words[] = { dash, NULL };
	struct dafs_cli_args args = { .argc = 1, .argv = words };
	FILE *was = stdin;
	errcode_t err;

	dw.cli.ctx = fuzz_ctx;
	stdin = fmemopen((void *)(uintptr_t)text, size, "r");
	if (!stdin || dafs_begin(fs))
		fuzz_die("script", 0);
	err = dawrite_script(&dw, &args);
	fclose(stdin);
	stdin = was;
	if (err) {
		dafs_cancel(fs);
		return;
	}
	err = dafs_end(fs);
	if (!err && dafs_flush(fs))
		fuzz_die("what was accepted cannot be flushed", err);
}

static void must_be_sound(void)
{
	struct dafs_check_opts opts = { .size = sizeof(opts), .force = true };
	struct dafs_check_report report = { 0 };
	errcode_t err = dafs_check_run(&fuzz_ctx, fuzz_address(), &opts, &report);

	if (err || report.result.found[DAFS_CHECK_DAMAGE] || report.result.found[DAFS_CHECK_FATAL])
		fuzz_die("the image is damaged after the script", err);
}

static void write_seeds(void)
{
	static const char *const texts[] = {
		"mkdir -p /a/b/c\nwrite --from file f\nwrite -o 5000 --from file f\n",
		"put file /new\nput dir /d2\nimport dir /d3\nsync --delete dir d3\nsync -n dir "
		"d2\n",
		"# comment\n\nmkdir '/with space' \"/quo\\\"ted\"\nmv '/with space' /lin\nrm -r "
		"/big\n",
		"truncate /frag 5M\npunch /frag 1k 64k\nfallocate -n /tiny 0 100k\ntruncate /whole "
		"0\n",
		"ln -s target /s\nln /tiny /lin/hard\nmknod -m 600 /p p\nmknod /c c 5 1\nmknod /q "
		"b 8 0\n",
		"chmod u+s,g-w,o=rx /tiny\nchmod 0644 /whole\nchown 5:6 /tiny\nchown :7 /frag\n"
		"touch -d '2001-02-03 04:05:06' /tiny\ntouch /made\n",
		"setfattr -n user.a -v 0x00ff /tiny\nsetfattr -n user.b -v 0sQUJD /tiny\n"
		"setfattr -x -n user.a /tiny\nsetfattr -n system.posix_acl_access -v x /tiny\n",
		"cat /tiny\nls -l /lin\nstat /frag\nls\nstat /dev\nmv /frag /whole\nrm -f /none\n",
	};
	static struct fuzz_input in;
	char name[64];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		in.bytes[0] = (uint8_t)i;
		in.len = strlen(texts[i]) + 1;
		memcpy(in.bytes + 1, texts[i], in.len - 1);
		snprintf(name, sizeof(name), "script-%zu", i);
		fuzz_seed_input(name, &in);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	fuzz_seeds(write_seeds);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_mem *mem;
	struct dafs *fs;

	fuzz_begin();
	if (host < 0)
		make_host();
	if (size < 2 || !harmless((const char *)data + 1, size - 1))
		return 0;
	mem = fuzz_copy(data[0]);
	fuzz_mem_use(mem);
	if (dafs_session_open(&fuzz_ctx, fuzz_address(), DAFS_SESSION_RW, NULL, &fs))
		fuzz_die("script", 0);
	if (fchdir(host))
		fuzz_die("host", 0);
	run(fs, (const char *)data + 1, size - 1);
	if (fchdir(here))
		fuzz_die("here", 0);
	dafs_close(fs);
	must_be_sound();
	return 0;
}
