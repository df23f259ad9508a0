/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quotalimit - limits and usage in the quota files of an image.
 *
 *   quotalimit IMAGE                    every entry, a line each: TYPE ID USAGE LIMITS ENDS
 *   quotalimit IMAGE TYPE ID LIMITS [ENDS]      set, in the image
 *   quotalimit -k DEVICE TYPE ID LIMITS         set, by the kernel, where it is mounted
 *   quotalimit -k DEVICE TYPE ID                USAGE, by the kernel
 *
 * TYPE is user, group or project. USAGE: KIB INODES. LIMITS: BLK_SOFT BLK_HARD INODE_SOFT
 * INODE_HARD, in KiB. ENDS of the grace times: BLK_END INODE_END, in seconds since the epoch.
 * Setting in the image is for files of few entries (quotafile.h).
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/quota.h>

#include "quotafile.h"

static const char *const names[DAFS_QUOTA_TYPES] = { "user", "group", "project" };

static unsigned type_of(const char *text)
{
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		if (!strcmp(text, names[t]))
			return t;
	}
	errx(2, "%s: not a type", text);
}

static uint64_t number(const char *text)
{
	return text ? strtoull(text, NULL, 10) : 0;
}

static void list(ext2_filsys fs)
{
	struct quota_file qf;

	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		if (!quotafile_load(fs, t, &qf))
			continue;
		for (size_t i = 0; i < qf.n; i++) {
			const struct dafs_quota_entry *e = &qf.v[i];

			printf("%s %u %llu %llu %llu %llu %llu %llu %llu %llu\n", names[t], e->id,
			       (unsigned long long)e->bytes >> 10, (unsigned long long)e->inodes,
			       (unsigned long long)e->blk_soft, (unsigned long long)e->blk_hard,
			       (unsigned long long)e->inode_soft, (unsigned long long)e->inode_hard,
			       (unsigned long long)e->blk_sec, (unsigned long long)e->inode_sec);
		}
		free(qf.v);
	}
}

static int ask_kernel(char **argv)
{
	struct dqblk usage;

	if (quotactl(QCMD(Q_GETQUOTA, (int)type_of(argv[1])), argv[0], (int)number(argv[2]),
		     (void *)&usage))
		err(1, "%s", argv[0]);
	printf("%llu %llu\n", (unsigned long long)usage.dqb_curspace >> 10,
	       (unsigned long long)usage.dqb_curinodes);
	return 0;
}

static int by_kernel(char **argv)
{
	struct dqblk limits = { .dqb_valid = QIF_LIMITS };
	int type = (int)type_of(argv[1]);

	limits.dqb_bsoftlimit = number(argv[3]);
	limits.dqb_bhardlimit = number(argv[4]);
	limits.dqb_isoftlimit = number(argv[5]);
	limits.dqb_ihardlimit = number(argv[6]);
	if (quotactl(QCMD(Q_SETQUOTA, type), argv[0], (int)number(argv[2]), (void *)&limits))
		err(1, "%s", argv[0]);
	return 0;
}

static int set(const char *path, char **argv)
{
	const struct dafs_quota_entry entry = {
		.id = (uint32_t)number(argv[1]),
		.blk_soft = number(argv[2]),
		.blk_hard = number(argv[3]),
		.inode_soft = number(argv[4]),
		.inode_hard = number(argv[5]),
		.blk_sec = number(argv[6]),
		.inode_sec = argv[6] ? number(argv[7]) : 0,
	};
	ext2_filsys fs = quotafile_open(path, true);

	quotafile_set(fs, type_of(argv[0]), &entry);
	quotafile_ok(ext2fs_close(fs), path);
	return 0;
}

int main(int argc, char **argv)
{
	bool kernel = argc > 1 && !strcmp(argv[1], "-k");
	ext2_filsys fs;

	if (kernel && argc == 5)
		return ask_kernel(argv + 2);
	if (kernel && argc == 9)
		return by_kernel(argv + 2);
	if (kernel || (argc != 2 && argc != 8 && argc != 10))
		errx(2,
		     "IMAGE [TYPE ID BLK_SOFT BLK_HARD INODE_SOFT INODE_HARD [BLK_END INODE_END]]");
	if (argc > 2)
		return set(argv[1], argv + 2);
	fs = quotafile_open(argv[1], false);
	list(fs);
	quotafile_ok(ext2fs_close(fs), argv[1]);
	return 0;
}
