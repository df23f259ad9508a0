/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_run - what is done with a patched image: what dafsdebug, dafsck and dawrite do. Any result
 * is fine; what must not be is a crash, a hang, a leak, a broken assertion.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/check.h"
#include "dafsdebug/dafsdebug.h"
#include "job/edit.h"
#include "tests/fuzz/fuzz.h"

enum { WATCHED = 8 };

/* Inodes that the records are about: those are looked at closely. */
struct watched {
	uint32_t ino[WATCHED];
	unsigned n;
};

static void watch(struct watched *w, uint32_t ino)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->ino[i] == ino)
			return;
	if (ino && w->n < WATCHED)
		w->ino[w->n++] = ino;
}

static void find_watched(const uint8_t *at, const uint8_t *end, struct watched *w)
{
	struct fuzz_record rec;

	while (fuzz_record_next(&at, end, &rec))
		watch(w, rec.kind == FUZZ_INODE ? rec.where : rec.owner);
}

static const struct dafs_cli_tool tool = { .name = "fuzz" };

static void request(struct dafsdebug *dd, const char *name, const char *option, const char *arg)
{
	char text[3][64];
	char *argv[4] = { text[0], text[1], text[2], NULL };
	int argc = 0;

	snprintf(text[argc++], sizeof(text[0]), "%s", name);
	if (option)
		snprintf(text[argc++], sizeof(text[0]), "%s", option);
	if (arg)
		snprintf(text[argc++], sizeof(text[0]), "%s", arg);
	argv[argc] = NULL;
	dafsdebug_run(dd, argc, argv);
}

/* A sparse file may be as large as it says: its zeros are no use to anybody here. */
static bool small(struct dafsdebug *dd, uint32_t ino)
{
	enum { LARGE = 1 << 20 };
	struct dafs_inspect in;

	return !dafs_inspect_inode(dd->img, ino, &in) && in.attr.size <= LARGE;
}

static void look(const struct watched *w, uint8_t what)
{
	static const char *const of_inode[][2] = {
		{ "stat", NULL }, { "ls", "-ldc" }, { "htree_dump", NULL }, { "ea_list", NULL },
		{ "frag", NULL }, { "ex", NULL }, { "blocks", NULL },
		{ "imap", NULL }, { "testi", NULL }, { "ncheck", "-c" },
	};
	struct dafsdebug dd = { .cli = { .tool = &tool, .json = what & FUZZ_JSON, .quiet = true },
				.cwd = EXT2_ROOT_INO };
	struct dafsdebug_how how = { .no_csum = what & FUZZ_NO_CSUM };
	char path[32];

	if (what & FUZZ_BACKUP)
		how.catastrophic = true;
	dd.cli.ctx = fuzz_ctx;
	if (!dafsdebug_open(&dd, fuzz_address(), &how)) {
		request(&dd, "stats", NULL, NULL);
		request(&dd, "logdump", "-S", "-a");
		request(&dd, "frag", NULL, NULL);
		request(&dd, "freefrag", NULL, NULL);
		request(&dd, "buddy", NULL, NULL);
		request(&dd, "icheck", NULL, "100");
		for (unsigned i = 0; i < w->n; i++) {
			snprintf(path, sizeof(path), "<%u>", w->ino[i]);
			if (small(&dd, w->ino[i]))
				request(&dd, "cat", NULL, path);
			for (size_t k = 0; k < sizeof(of_inode) / sizeof(of_inode[0]); k++) {
				bool number = !strcmp(of_inode[k][0], "ncheck");

				if (number)
					snprintf(path, sizeof(path), "%u", w->ino[i]);
				request(&dd, of_inode[k][0], of_inode[k][1], path);
			}
		}
	}
	dafsdebug_close(&dd);
}

static void hear(void *arg, const struct dafs_finding *f)
{
	char line[256];

	(void)arg;
	dafs_check_format(f, line, sizeof(line));
}

static void check(enum dafs_check_mode mode, uint8_t what, const struct fuzz_base *base)
{
	struct dafs_check_opts opts = { .size = sizeof(opts), .mode = mode, .force = true };
	struct dafs_check_report report = { .finding = hear };

	if (what & FUZZ_BACKUP && base->blks_per_group)
		opts.backup_sb = base->blks_per_group + 1;
	dafs_check_run(&fuzz_ctx, fuzz_address(), &opts, &report);
}

static errcode_t take_name(void *arg, const char *name, uint8_t name_len, uint64_t id,
			   uint8_t file_type)
{
	(void)arg, (void)name, (void)name_len, (void)id, (void)file_type;
	return 0;
}

/* Every operation on one path of the image; failures are as good as success. */
static void edit_path(struct dafs *fs, const char *path)
{
	char inside[64], buf[512];
	struct dafs_inode *inode;
	struct stat st;
	size_t got;

	dafs_stat(fs, path, &st);
	dafs_read(fs, path, 0, buf, sizeof(buf), &got);
	if (!dafs_ns_lookup(fs->ns, path, 0, &inode)) {
		dafs_ns_xattrs(fs->ns, inode);
		dafs_ns_target(fs->ns, inode);
		if (S_ISDIR(inode->mode))
			dafs_ns_readdir(fs->ns, inode, take_name, NULL);
	}
	dafs_write(fs, path, 5000, "new bytes", 9);
	dafs_punch(fs, path, 0, 3000);
	dafs_setxattr(fs, path, "user.new", "value", 5);
	snprintf(inside, sizeof(inside), "%s/new", path);
	dafs_mkdir(fs, inside, 0755, false);
	snprintf(inside, sizeof(inside), "%s/name3", path);
	dafs_remove(fs, inside, true, true);
	dafs_chmod(fs, path, 0700);
}

static void flush(struct dafs *fs)
{
	if (dafs_end(fs))
		return;
	dafs_flush(fs);
}

static void edit(void)
{
	static const char *const paths[] = { "/lin", "/big", "/lin/sub", "/frag", "/whole",
					     "/tiny", "/slow", "/fast", "/dev", "/far", "/" };
	struct dafs *fs;

	if (dafs_session_open(&fuzz_ctx, fuzz_address(), DAFS_SESSION_RW, NULL, &fs))
		return;
	if (!dafs_begin(fs)) {
		for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
			edit_path(fs, paths[i]);
		flush(fs);
	}
	if (!fs->img->failed && !dafs_begin(fs)) {
		dafs_truncate(fs, "/frag", 100000);
		dafs_rename(fs, "/tiny", "/big/tiny");
		for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) - 1; i++)
			dafs_remove(fs, paths[i], true, true);
		flush(fs);
	}
	dafs_close(fs);
}

void fuzz_image(const uint8_t *data, size_t size)
{
	struct watched w = { .n = 0 };
	struct fuzz_mem *mem;
	struct fuzz_base *base;
	uint8_t what;

	fuzz_begin();
	if (size < FUZZ_HEAD_BYTES)
		return;
	what = data[1];
	base = fuzz_base(data[0]);
	mem = fuzz_copy(data[0]);
	fuzz_patch(base, mem, what & FUZZ_FIX, data + FUZZ_HEAD_BYTES, data + size);
	find_watched(data + FUZZ_HEAD_BYTES, data + size, &w);
	fuzz_mem_use(mem);
	if (what & FUZZ_LOOK)
		look(&w, what);
	if (what & FUZZ_CHECK)
		check(DAFS_CHECK_NO, what, base);
	if (what & FUZZ_EDIT)
		edit();
	if (what & FUZZ_REPAIR)
		check(DAFS_CHECK_YES, what, base);
}
