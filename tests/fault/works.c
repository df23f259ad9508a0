/* SPDX-License-Identifier: GPL-2.0-or-later */
/* works - see works.h. Contents are made from their path and a number, so that no two are alike. */
#include "config.h"

#include "tests/fault/works.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1024u * 1024u)

/* The first error of a row of calls. */
#define TRY(call)                                                                                  \
	do {                                                                                       \
		errcode_t try_err = (call);                                                        \
		if (try_err)                                                                       \
			return try_err;                                                            \
	} while (0)

static errcode_t fill(struct dafs *fs, const char *path, uint64_t off, size_t len, unsigned version)
{
	uint8_t *buf = malloc(len + 8);
	uint64_t x = version * 0x9E3779B97F4A7C15u + 1;
	errcode_t err;

	if (!buf)
		return ENOMEM;
	for (const char *at = path; *at; at++)
		x = (x ^ (uint8_t)*at) * 0x100000001b3u;
	for (size_t i = 0; i < len; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(buf + i, &x, 8);
	}
	err = dafs_write(fs, path, off, buf, len);
	free(buf);
	return err;
}

/* n files "DIR/STEMi" of about len bytes each. */
static errcode_t fill_many(struct dafs *fs, const char *stem, unsigned from, unsigned to, size_t len,
			   unsigned version)
{
	char path[256];

	for (unsigned i = from; i < to; i++) {
		snprintf(path, sizeof(path), "%s%03u", stem, i);
		TRY(fill(fs, path, 0, len + i % 7 * (len / 3), version));
	}
	return 0;
}

static errcode_t remove_many(struct dafs *fs, const char *stem, unsigned from, unsigned to)
{
	char path[256];

	for (unsigned i = from; i < to; i++) {
		snprintf(path, sizeof(path), "%s%03u", stem, i);
		TRY(dafs_remove(fs, path, false, false));
	}
	return 0;
}

static errcode_t some_files(struct dafs *fs)
{
	TRY(dafs_mkdir(fs, "/d/sub", 0755, true));
	TRY(fill_many(fs, "/d/f", 0, 12, 3000, 1));
	TRY(fill_many(fs, "/d/sub/g", 0, 6, 500, 1));
	TRY(fill(fs, "/big", 0, 2 * MIB, 1));
	TRY(fill(fs, "/conf", 0, 9000, 1));
	TRY(dafs_link(fs, "/conf", "/d/conf.link"));
	return dafs_symlink(fs, "d/f001", "/sym");
}

/* --- fresh files --- */

static errcode_t fresh_1(struct dafs *fs)
{
	TRY(dafs_mkdir(fs, "/new/a", 0750, true));
	TRY(fill_many(fs, "/new/a/x", 0, 20, 2500, 1));
	TRY(fill(fs, "/new/long", 0, 700000, 1));
	return dafs_setxattr(fs, "/new/long", "user.note", "a few words", 11);
}

static errcode_t fresh_2(struct dafs *fs)
{
	char target[200];

	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	TRY(dafs_symlink(fs, target, "/new/slow"));
	TRY(dafs_symlink(fs, "a/x001", "/new/fast"));
	TRY(dafs_mknod(fs, "/new/dev", S_IFCHR | 0600, 5, 1));
	TRY(dafs_link(fs, "/new/long", "/new/a/hard"));
	TRY(dafs_fallocate(fs, "/new/kept", 0, 300000, false));
	return fill(fs, "/new/sparse", 5 * MIB, 4000, 1);
}

/* --- overwrites --- */

static errcode_t small_1(struct dafs *fs)
{
	TRY(fill(fs, "/big", 4097, 100, 2));
	TRY(fill(fs, "/big", 900000, 3000, 2));
	return fill(fs, "/conf", 10, 20, 2);
}

static errcode_t small_2(struct dafs *fs)
{
	TRY(fill(fs, "/d/f003", 0, 512, 2));
	return fill(fs, "/big", 2 * MIB - 50, 100, 3);
}

static errcode_t large_1(struct dafs *fs)
{
	TRY(fill(fs, "/big", 300000, 1200000, 2));
	return fill(fs, "/d/f005", 0, 3000, 2);
}

static errcode_t all_1(struct dafs *fs)
{
	return fill(fs, "/big", 0, 2 * MIB, 2);
}

/* A flush of 300000 bytes ends inside the new file. */
static errcode_t passes_1(struct dafs *fs)
{
	TRY(fill(fs, "/conf", 5000, 90000, 2));
	TRY(dafs_truncate(fs, "/big", 700000));
	TRY(fill(fs, "/a", 0, 600000, 2));
	return fill(fs, "/big", 690000, 400000, 2);
}

/* The image has no room for a second copy: the old blocks are written over. */
static errcode_t tight_before(struct dafs *fs)
{
	TRY(some_files(fs));
	return fill(fs, "/ballast", 0, 4 * MIB + 400000, 1);
}

static errcode_t tight_1(struct dafs *fs)
{
	TRY(fill(fs, "/big", 0, 600000, 2));
	return fill(fs, "/ballast", 100000, 250000, 2);
}

/* --- names --- */

static errcode_t rename_1(struct dafs *fs)
{
	TRY(fill(fs, "/conf.new", 0, 11000, 2));
	TRY(dafs_rename(fs, "/conf.new", "/conf"));
	TRY(dafs_truncate(fs, "/d/f002", 0));
	return fill(fs, "/d/f002", 0, 6000, 2);
}

static errcode_t rename_2(struct dafs *fs)
{
	TRY(dafs_rename(fs, "/d/sub", "/moved"));
	TRY(dafs_rename(fs, "/d/f007", "/moved/f007"));
	TRY(dafs_rename(fs, "/d/f008", "/d/f009"));
	return dafs_chmod(fs, "/d/f009", 0600);
}

static errcode_t recreate_1(struct dafs *fs)
{
	TRY(remove_many(fs, "/d/f", 0, 12));
	TRY(fill_many(fs, "/d/f", 4, 16, 2000, 2));
	TRY(dafs_remove(fs, "/big", false, false));
	return dafs_remove(fs, "/d/sub", true, false);
}

static errcode_t recreate_2(struct dafs *fs)
{
	TRY(dafs_mkdir(fs, "/big", 0700, false));
	TRY(fill_many(fs, "/big/n", 0, 5, 1500, 2));
	TRY(fill(fs, "/d/sub", 0, 40000, 2));
	return dafs_remove(fs, "/sym", false, false);
}

static errcode_t split_before(struct dafs *fs)
{
	TRY(dafs_mkdir(fs, "/wide", 0755, false));
	return fill_many(fs, "/wide/a-rather-long-name-of-a-file-", 0, 15, 10, 1);
}

static errcode_t split_1(struct dafs *fs)
{
	return fill_many(fs, "/wide/a-rather-long-name-of-a-file-", 15, 150, 10, 2);
}

static errcode_t split_2(struct dafs *fs)
{
	TRY(fill_many(fs, "/wide/another-long-name-of-a-file-", 0, 120, 10, 2));
	return remove_many(fs, "/wide/a-rather-long-name-of-a-file-", 3, 90);
}

/* --- extent trees --- */

static errcode_t every_other(struct dafs *fs, const char *path, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		TRY(fill(fs, path, (uint64_t)i * 2048, 1024, i));
	return 0;
}

static errcode_t grow_before(struct dafs *fs)
{
	TRY(every_other(fs, "/holes", 0, 4));
	return every_other(fs, "/deep", 0, 300);
}

static errcode_t grow_1(struct dafs *fs)
{
	TRY(every_other(fs, "/holes", 4, 120));
	return every_other(fs, "/deep", 300, 420);
}

static errcode_t grow_2(struct dafs *fs)
{
	TRY(dafs_punch(fs, "/deep", 100000, 200000));
	return dafs_truncate(fs, "/holes", 40000);
}

/* --- extended attributes in blocks --- */

static errcode_t set_value(struct dafs *fs, const char *path, char fill_with, size_t len)
{
	char value[900];

	memset(value, fill_with, sizeof(value));
	return dafs_setxattr(fs, path, "user.block", value, len);
}

static errcode_t xattr_before(struct dafs *fs)
{
	TRY(fill_many(fs, "/x", 0, 8, 100, 1));
	TRY(set_value(fs, "/x000", 'a', 600));
	TRY(set_value(fs, "/x001", 'a', 600));
	TRY(set_value(fs, "/x002", 'a', 600));
	return set_value(fs, "/x003", 'b', 500);
}

static errcode_t xattr_1(struct dafs *fs)
{
	TRY(set_value(fs, "/x001", 'c', 700));
	TRY(set_value(fs, "/x004", 'a', 600));
	TRY(set_value(fs, "/x003", 'b', 501));
	return dafs_setxattr(fs, "/x002", "user.block", NULL, 0);
}

static errcode_t xattr_2(struct dafs *fs)
{
	TRY(set_value(fs, "/x005", 'b', 501));
	TRY(dafs_remove(fs, "/x000", false, false));
	return dafs_setxattr(fs, "/x006", "user.second", "v", 1);
}

/* --- clusters --- */

static errcode_t cluster_before(struct dafs *fs)
{
	TRY(some_files(fs));
	TRY(fill(fs, "/part", 0, 5000, 1));
	return fill(fs, "/gaps", 40000, 100, 1);
}

static errcode_t cluster_1(struct dafs *fs)
{
	TRY(fill(fs, "/part", 5000, 30000, 2));
	TRY(fill(fs, "/gaps", 10000, 3000, 2));
	TRY(fill(fs, "/gaps", 47000, 3000, 2));
	return dafs_punch(fs, "/big", 100000, 300000);
}

static errcode_t cluster_2(struct dafs *fs)
{
	TRY(fill(fs, "/big", 150000, 8000, 2));
	return fill_many(fs, "/d/n", 0, 10, 4000, 2);
}

/* --- a transaction about as large as the journal --- */

static errcode_t wrap_before(struct dafs *fs)
{
	TRY(dafs_mkdir(fs, "/w", 0755, false));
	return fill_many(fs, "/w/f", 0, 800, 1000, 1);
}

/* Each file's block is live, so each is journaled. */
static errcode_t touch_blocks(struct dafs *fs, unsigned n, unsigned version)
{
	char path[64];

	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/w/f%03u", i);
		TRY(fill(fs, path, 100, 50, version));
	}
	return 0;
}

static errcode_t wrap_1(struct dafs *fs)
{
	return touch_blocks(fs, 800, 2);
}

/* The log's head goes near its end, so that the next transaction goes round. */
static errcode_t round_before(struct dafs *fs)
{
	TRY(dafs_mkdir(fs, "/w", 0755, false));
	TRY(fill_many(fs, "/w/f", 0, 800, 1000, 1));
	return some_files(fs);
}

static errcode_t round_again(struct dafs *fs)
{
	return touch_blocks(fs, 600, 3);
}

static errcode_t round_more(struct dafs *fs)
{
	return touch_blocks(fs, 600, 4);
}

static errcode_t round_1(struct dafs *fs)
{
	TRY(touch_blocks(fs, 250, 2));
	TRY(remove_many(fs, "/d/f", 0, 12));
	return fill_many(fs, "/d/f", 4, 16, 2000, 2);
}

/* --- a removed tree that the journal does not hold: an inode a block, more of them than it has
 * --- */

static errcode_t tree_before(struct dafs *fs)
{
	char path[600] = "/t/deep";

	TRY(dafs_mkdir(fs, "/t/out/in", 0755, true));
	TRY(dafs_mkdir(fs, "/u/sub", 0755, true));
	TRY(dafs_mkdir(fs, "/over", 0755, false));
	TRY(fill_many(fs, "/t/a-name-that-fills-the-directory-", 0, 700, 10, 1));
	TRY(fill_many(fs, "/t/out/in/f", 0, 5, 2000, 1));
	TRY(fill_many(fs, "/u/sub/f", 0, 150, 10, 1));
	TRY(fill_many(fs, "/u/f", 0, 20, 3000, 1));
	for (unsigned i = 0; i < 120; i++) {
		strcat(path, "/d");
		TRY(dafs_mkdir(fs, path, 0755, true));
		if (i % 10 == 0)
			TRY(fill_many(fs, path, i, i + 3, 10, 1));
	}
	for (unsigned i = 0; i < 60; i++) {
		char name[64], link[32];

		snprintf(name, sizeof(name), "/t/a-name-that-fills-the-directory-%03u", i * 11);
		snprintf(link, sizeof(link), "/over/h%03u", i);
		TRY(dafs_link(fs, name, link));
	}
	return set_value(fs, "/t/out", 'o', 600);
}

/* A directory and a file move out of the dying tree, the file into the place of another directory
 * that goes. */
static errcode_t tree_1(struct dafs *fs)
{
	TRY(dafs_rename(fs, "/t/out", "/kept"));
	TRY(dafs_rename(fs, "/u/f007", "/f007"));
	TRY(dafs_remove(fs, "/t", true, false));
	TRY(dafs_remove(fs, "/u", true, false));
	return dafs_rename(fs, "/f007", "/u");
}

static errcode_t tree_2(struct dafs *fs)
{
	TRY(dafs_mkdir(fs, "/t/deep", 0700, true));
	TRY(fill_many(fs, "/t/deep/n", 0, 12, 1500, 2));
	TRY(dafs_remove(fs, "/kept/in/f001", false, false));
	return dafs_rename(fs, "/kept/in", "/t/in");
}

/* --- a file of which blocks in more groups are freed than the journal holds bitmaps --- */

static errcode_t piece_before(struct dafs *fs)
{
	TRY(dafs_fallocate(fs, "/f", 0, 300 * MIB, false));
	for (unsigned i = 0; i < 18; i++)
		TRY(fill(fs, "/f", i * 16ull * MIB + 5000, 3000, i));
	return fill(fs, "/kept", 0, 9000, 1);
}

static errcode_t piece_1(struct dafs *fs)
{
	TRY(dafs_punch(fs, "/f", MIB + 500, 280ull * MIB));
	return fill(fs, "/f", 3 * MIB, 70000, 20);
}

static errcode_t piece_2(struct dafs *fs)
{
	TRY(dafs_truncate(fs, "/f", 286ull * MIB));
	TRY(fill(fs, "/more", 0, 3000, 1));
	return dafs_rename(fs, "/kept", "/moved");
}

/* --- names that only go together, in more blocks than the journal holds: by a redo record --- */

enum { WIDE_DIRS = 540 };

static errcode_t wide_before(struct dafs *fs)
{
	char path[64];

	for (unsigned i = 0; i < WIDE_DIRS; i++) {
		snprintf(path, sizeof(path), "/w/d%03u", i);
		TRY(dafs_mkdir(fs, path, 0755, true));
	}
	return fill(fs, "/f", 0, 3000, 1);
}

static errcode_t wide_1(struct dafs *fs)
{
	char path[64];

	for (unsigned i = 0; i < WIDE_DIRS; i++) {
		snprintf(path, sizeof(path), "/w/d%03u/f", i);
		TRY(dafs_link(fs, "/f", path));
	}
	return fill(fs, "/f", 2000, 4000, 2);
}

static errcode_t wide_2(struct dafs *fs)
{
	TRY(dafs_rename(fs, "/w/d007", "/seven"));
	return fill(fs, "/other", 0, 2000, 1);
}

/* --- quota files, and values in inodes of their own --- */

static errcode_t give_away(struct dafs *fs, const char *stem, unsigned from, unsigned to, unsigned id)
{
	char path[256];

	for (unsigned i = from; i < to; i++) {
		snprintf(path, sizeof(path), "%s%03u", stem, i);
		TRY(dafs_chown(fs, path, id + i % 3, id));
	}
	return 0;
}

static errcode_t quota_before(struct dafs *fs)
{
	TRY(some_files(fs));
	return give_away(fs, "/d/f", 0, 12, 1000);
}

static errcode_t quota_1(struct dafs *fs)
{
	TRY(fill_many(fs, "/n", 0, 12, 4000, 1));
	TRY(give_away(fs, "/n", 0, 12, 2000));
	TRY(give_away(fs, "/d/f", 3, 6, 3000));
	return dafs_chown(fs, "/big", 70000, 70000);
}

static errcode_t quota_2(struct dafs *fs)
{
	TRY(remove_many(fs, "/d/f", 0, 5));
	TRY(dafs_truncate(fs, "/big", 300000));
	return dafs_rename(fs, "/n001", "/d/f007");
}

static errcode_t set_large(struct dafs *fs, const char *path, char fill_with, size_t len)
{
	char value[8000];

	memset(value, fill_with, sizeof(value));
	return dafs_setxattr(fs, path, "user.large", value, len);
}

static errcode_t ea_before(struct dafs *fs)
{
	TRY(fill_many(fs, "/x", 0, 6, 100, 1));
	TRY(set_large(fs, "/x000", 'a', 6000));
	TRY(set_large(fs, "/x001", 'a', 6000));
	return set_large(fs, "/x002", 'b', 8000);
}

static errcode_t ea_1(struct dafs *fs)
{
	TRY(set_large(fs, "/x003", 'a', 6000));
	TRY(set_large(fs, "/x001", 'c', 5000));
	return dafs_setxattr(fs, "/x002", "user.large", NULL, 0);
}

static errcode_t ea_2(struct dafs *fs)
{
	TRY(dafs_remove(fs, "/x000", false, false));
	TRY(set_value(fs, "/x002", 'd', 300));
	return set_large(fs, "/x004", 'e', 2000);
}

static errcode_t inline_before(struct dafs *fs)
{
	TRY(dafs_mkdir(fs, "/d/sub", 0755, true));
	TRY(fill_many(fs, "/d/f", 0, 3, 20, 1));
	return fill(fs, "/conf", 0, 30, 1);
}

static errcode_t inline_1(struct dafs *fs)
{
	TRY(fill(fs, "/conf", 10, 10, 2));
	TRY(fill_many(fs, "/d/f", 3, 30, 15, 2));
	return fill(fs, "/d/f001", 0, 5000, 2);
}

#define UUID "5e1ec7ed-0000-4000-8000-0123456789ab"
#define FS(size, block, ...) FS_OF(size, block, 1024, __VA_ARGS__)
#define FS_OF(size, block, how_many_inodes, ...)                                                   \
	{                                                                                          \
		.fs_bytes = (size)*MIB, .block_size = (block), .uuid = UUID,                       \
		.extended = "hash_seed=" UUID ",lazy_itable_init=1", .has_reserved = true,         \
		.inodes = (how_many_inodes), __VA_ARGS__                                           \
	}

const struct work works[] = {
	{ "fresh", FS(8, 1024), some_files, { fresh_1, fresh_2 }, "/new/a", { NULL }, false },
	{ "overwrite-small", FS(8, 1024), some_files, { small_1, small_2 }, "/big", { NULL }, false },
	{ "overwrite-large", FS(16, 4096), some_files, { large_1 }, "/d", { NULL }, false },
	{ "in-passes", FS(8, 1024), some_files, { passes_1, rename_2 }, "300000", { NULL }, false },
	{ "overwrite-all", FS(16, 1024), some_files, { all_1 }, NULL, { NULL }, false },
	{ "overwrite-tight", FS(9, 1024), tight_before, { tight_1 }, "/big", { NULL }, false },
	{ "rename-over", FS(8, 1024), some_files, { rename_1, rename_2 }, "/conf", { NULL }, false },
	{ "recreate", FS(8, 1024), some_files, { recreate_1, recreate_2 }, "/d", { NULL }, false },
	{ "dir-split", FS(8, 1024), split_before, { split_1, split_2 }, NULL, { NULL }, false },
	{ "extents-grow", FS(8, 1024), grow_before, { grow_1, grow_2 }, "/holes", { NULL }, false },
	{ "xattr-block", FS(8, 1024, .inode_size = 128), xattr_before, { xattr_1, xattr_2 }, "/x001", { NULL }, false },
	{ "bigalloc", FS(16, 1024, .cluster_size = 16384, .features = "bigalloc"), cluster_before,
	  { cluster_1, cluster_2 }, "/part", { NULL }, false },
	{ "no-journal", FS(8, 1024, .features = "^has_journal"), some_files,
	  { small_1, recreate_1, fresh_1 }, "/new", { NULL }, false },
	{ "no-journal-tight", FS(8, 1024, .features = "^has_journal"), tight_before, { tight_1 }, "/big", { NULL }, false },
	{ "no-csum", FS(8, 1024, .features = "^metadata_csum,^64bit"), some_files,
	  { rename_1, recreate_1 }, "/conf", { NULL }, false },
	{ "journal-full", FS(8, 1024), wrap_before, { wrap_1 }, NULL, { NULL }, false },
	{ "journal-wrap", FS(8, 1024), round_before, { round_1 }, "/d", { round_again, round_more }, false },
	{ "tree-split", FS_OF(16, 1024, 2048, .inode_size = 1024, .journal = true, .journal_options = "size=1"), tree_before, { tree_1, tree_2 }, NULL,
	  { NULL }, true },
	{ "file-split", FS(400, 1024, .blks_per_group = 256, .journal = true, .journal_options = "size=1"), piece_before,
	  { piece_1, piece_2 }, NULL, { NULL }, true },
	{ "names-together", FS_OF(8, 1024, 1024, .inode_size = 1024, .journal = true, .journal_options = "size=1"), wide_before,
	  { wide_1, wide_2 }, NULL, { NULL }, true },
	{ "quota", FS(8, 1024, .features = "quota"), quota_before, { quota_1, quota_2 }, "/n003", { NULL }, false },
	{ "ea-inode", FS(8, 1024, .features = "ea_inode"), ea_before, { ea_1, ea_2 }, "/x001", { NULL }, false },
	{ "inline", FS(8, 1024, .features = "inline_data"), inline_before, { inline_1 }, "/d", { NULL }, false },
	{ "orphan-file", FS(8, 1024, .features = "orphan_file"), some_files,
	  { small_1, recreate_1 }, "/d", { NULL }, false },
};
const size_t nworks = sizeof(works) / sizeof(works[0]);
