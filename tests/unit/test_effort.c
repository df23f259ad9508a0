/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command on the offline cache costs what it changes: beside 50 pending names of its directory as
 * beside 5,000, in a directory of the image as in a new one. Counted, not timed: rows and pages
 * read from the cache's database, steps of SQLite's machine. Each command is a session of its own,
 * as with the tool.
 */
#include "config.h"

#include "scratch.h"

#include <sys/stat.h>

#include "job/edit.h"
#include "job/session.h"

/* Trees of the database get deeper by one page, and SQLite looks at the page beside the one it
 * divides. */
enum { FEW = 50, MANY = 5000, MORE_PAGES = 12, MORE_STEPS = 40 };

static struct dafs *open_image(const char *image)
{
	struct dafs *fs;

	scratch_ok(dafs_open(&scratch_ctx, image, DAFS_OPEN_RW | DAFS_OPEN_CACHE, NULL, &fs));
	return fs;
}

/* A host file of 6000 bytes called name. */
static const char *host_file(const char *name)
{
	const char *path = scratch_path(name);

	assert_int_equal(scratch_run("head -c 6000 /dev/zero | tr '\\0' x >'%s'", path), 0);
	return path;
}

typedef errcode_t (*command_fn)(struct dafs *fs, const char *dir);

static const char *below(const char *dir, const char *name)
{
	static char bufs[2][64];
	static unsigned turn;
	char *buf = bufs[turn++ % 2];

	snprintf(buf, sizeof(bufs[0]), "%s/%s", dir, name);
	return buf;
}

static errcode_t put_new(struct dafs *fs, const char *dir)
{
	return dafs_put(fs, scratch_path("one"), dir);
}

static errcode_t put_again(struct dafs *fs, const char *dir)
{
	return dafs_put(fs, scratch_path("one"), below(dir, "file7"));
}

static errcode_t make_dir(struct dafs *fs, const char *dir)
{
	return dafs_mkdir(fs, below(dir, "sub"), 0755, false);
}

static errcode_t make_dirs(struct dafs *fs, const char *dir)
{
	return dafs_mkdir(fs, below(dir, "a/b/c"), 0755, true);
}

static errcode_t write_new(struct dafs *fs, const char *dir)
{
	return dafs_write(fs, below(dir, "written"), 0, "text", 4);
}

static errcode_t append(struct dafs *fs, const char *dir)
{
	return dafs_write(fs, below(dir, "file9"), 4, "more", 4);
}

static errcode_t change_mode(struct dafs *fs, const char *dir)
{
	return dafs_chmod(fs, below(dir, "file3"), 0600);
}

static errcode_t move(struct dafs *fs, const char *dir)
{
	return dafs_rename(fs, below(dir, "file4"), below(dir, "moved"));
}

static errcode_t move_over(struct dafs *fs, const char *dir)
{
	return dafs_rename(fs, below(dir, "file5"), below(dir, "file6"));
}

static errcode_t link_name(struct dafs *fs, const char *dir)
{
	return dafs_link(fs, below(dir, "file8"), below(dir, "linked"));
}

static errcode_t remove_new(struct dafs *fs, const char *dir)
{
	return dafs_remove(fs, below(dir, "file2"), false, false);
}

static errcode_t remove_old(struct dafs *fs, const char *dir)
{
	errcode_t err = dafs_remove(fs, below(dir, "old1"), false, true);

	/* In the new directory there is none. */
	return err ? err : dafs_chmod(fs, "/ex", 0750);
}

static errcode_t refuse_taken(struct dafs *fs, const char *dir)
{
	assert_int_equal(dafs_mkdir(fs, below(dir, "file1"), 0755, false), EEXIST);
	return dafs_chmod(fs, "/ex", 0710);
}

static errcode_t refuse_full_dir(struct dafs *fs, const char *dir)
{
	assert_int_equal(dafs_rename(fs, "/empty", dir), ENOTEMPTY);
	return dafs_chmod(fs, "/ex", 0700);
}

static const struct command {
	const char *what;
	command_fn run;
} commands[] = {
	{ "put of a new name", put_new },
	{ "put over a file", put_again },
	{ "mkdir", make_dir },
	{ "mkdir -p", make_dirs },
	{ "write of a new file", write_new },
	{ "write -a", append },
	{ "chmod", change_mode },
	{ "mv", move },
	{ "mv over a file", move_over },
	{ "ln", link_name },
	{ "rm of a pending file", remove_new },
	{ "rm of an old file", remove_old },
	{ "mkdir of a name that is taken", refuse_taken },
	{ "mv over a directory with names", refuse_full_dir },
};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

/* An image with a directory /ex, and n names pending in it and in a new one, /new. */
static const char *pending_image(const char *name, unsigned n)
{
	const char *image = scratch_mke2fs(name, "-t ext4 -b 4096 -N 20000", "128M");
	struct dafs *fs;
	char path[64];

	scratch_run("rm -rf '%s.dacache'", image);
	fs = open_image(image);
	scratch_ok(dafs_begin(fs));
	scratch_ok(dafs_mkdir(fs, "/ex", 0755, false));
	scratch_ok(dafs_mkdir(fs, "/empty", 0755, false));
	for (unsigned i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "/ex/old%u", i);
		scratch_ok(dafs_write(fs, path, 0, "old", 3));
	}
	scratch_ok(dafs_end(fs));
	scratch_ok(dafs_flush(fs));
	dafs_close(fs);
	fs = open_image(image);
	scratch_ok(dafs_begin(fs));
	scratch_ok(dafs_mkdir(fs, "/new", 0755, false));
	for (unsigned i = 0; i < 2 * n; i++) {
		snprintf(path, sizeof(path), "/%s/file%u", i % 2 ? "new" : "ex", i / 2);
		scratch_ok(i < 40 ? dafs_write(fs, path, 0, "new", 3)
				  : dafs_mknod(fs, path, S_IFIFO | 0644, 0, 0));
	}
	scratch_ok(dafs_end(fs));
	dafs_close(fs);
	return image;
}

static void measure(const char *image, const char *dir, struct dafs_store_effort effort[COMMANDS])
{
	for (size_t i = 0; i < COMMANDS; i++) {
		struct dafs *fs = open_image(image);

		scratch_ok(dafs_begin(fs));
		scratch_ok(commands[i].run(fs, dir));
		scratch_ok(dafs_end(fs));
		dafs_store_effort(fs->store, &effort[i]);
		dafs_close(fs);
		assert_true(effort[i].rows > 0 && effort[i].steps > 0);
	}
}

static void compare(const char *what, const struct dafs_store_effort *few,
		    const struct dafs_store_effort *many)
{
	if (many->rows > few->rows || many->pages > few->pages + MORE_PAGES ||
	    many->steps > few->steps + MORE_STEPS)
		fail_msg("%s: %llu rows, %llu pages, %llu steps beside many names, %llu, %llu, "
			 "%llu beside few",
			 what, (unsigned long long)many->rows, (unsigned long long)many->pages,
			 (unsigned long long)many->steps, (unsigned long long)few->rows,
			 (unsigned long long)few->pages, (unsigned long long)few->steps);
}

static void test_names(void **state)
{
	static const char *const dirs[] = { "/ex", "/new" };
	struct dafs_store_effort few[2][COMMANDS], many[2][COMMANDS];
	const char *image = pending_image("few.img", FEW);

	(void)state;
	host_file("one");
	for (int d = 0; d < 2; d++)
		measure(image, dirs[d], few[d]);
	image = pending_image("many.img", MANY);
	for (int d = 0; d < 2; d++)
		measure(image, dirs[d], many[d]);
	for (int d = 0; d < 2; d++) {
		for (size_t i = 0; i < COMMANDS; i++)
			compare(commands[i].what, &few[d][i], &many[d][i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
