/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * badblocks - see badblocks.h.
 */
#include "config.h"

#include "dafsck/badblocks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ext2fs/ext2fs.h>

extern char **environ;

/* ---- numbers ---- */

static errcode_t add(uint64_t **blks, size_t *n, uint64_t blk)
{
	/* (Room grows by powers of two.) */
	if (!(*n & (*n - 1))) {
		uint64_t *more = realloc(*blks, (*n ? *n * 2 : 1) * sizeof(*more));

		if (!more)
			return ENOMEM;
		*blks = more;
	}
	(*blks)[(*n)++] = blk;
	return 0;
}

static errcode_t read_list(struct dafs_ctx *ctx, FILE *in, const char *path, uint64_t **blks,
			   size_t *n)
{
	char *line = NULL;
	size_t room = 0, number = 0;
	errcode_t err = 0;

	while (!err && getline(&line, &room, in) >= 0) {
		uint64_t blk;
		char end = 0;
		int got;

		number++;
		line[strcspn(line, "#\n")] = 0;
		got = sscanf(line, " %" SCNu64 " %c", &blk, &end);
		if (got == 1 && !strchr(line, '-'))
			err = add(blks, n, blk);
		else if (got != EOF)
			err = dafs_fail(ctx, DAFS_ET_RANGE, "%s, line %zu: no block number: %s",
					path, number, line);
	}
	if (!err && ferror(in))
		err = dafs_fail(ctx, EIO, "%s", path);
	free(line);
	return err;
}

errcode_t dafsck_badblocks_read(struct dafs_ctx *ctx, const char *path, uint64_t **blks, size_t *n)
{
	FILE *in = fopen(path, "re");
	errcode_t err;

	*blks = NULL;
	*n = 0;
	if (!in)
		return dafs_fail(ctx, errno, "%s", path);
	err = read_list(ctx, in, path, blks, n);
	fclose(in);
	if (err) {
		free(*blks);
		*blks = NULL;
		*n = 0;
	}
	return err;
}

/* ---- badblocks(8) ---- */

/* The block size and the number of blocks, as the first superblock has them. */
static errcode_t read_size(struct dafs_ctx *ctx, const char *path, unsigned *bs, uint64_t *blks)
{
	struct ext2_super_block sb;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0 && strpbrk(path, "?:"))
		return dafs_fail(ctx, DAFS_ET_USAGE, "-c takes a file or a device: %s", path);
	if (fd < 0 || fstat(fd, &st)) {
		errcode_t err = dafs_fail(ctx, errno, "%s", path);

		if (fd >= 0)
			close(fd);
		return err;
	}
	got = pread(fd, &sb, sizeof(sb), SUPERBLOCK_OFFSET);
	close(fd);
	if (got != (ssize_t)sizeof(sb) || sb.s_magic != EXT2_SUPER_MAGIC || sb.s_log_block_size > 6)
		return dafs_fail(ctx, DAFS_ET_NOT_EXT, "%s: how large are its blocks?", path);
	*bs = 1024u << sb.s_log_block_size;
	*blks = sb.s_blocks_count;
	if (ext2fs_has_feature_64bit(&sb))
		*blks |= (uint64_t)sb.s_blocks_count_hi << 32;
	return 0;
}

static errcode_t spawn(char **argv, int *from, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int ends[2], failed;

	if (pipe2(ends, O_CLOEXEC))
		return errno;
	failed = posix_spawn_file_actions_init(&actions);
	if (!failed) {
		failed = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (!failed)
			failed = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(ends[1]);
	*from = ends[0];
	if (failed)
		close(ends[0]);
	return failed;
}

/* What it prints, and how it ended. */
static errcode_t run(struct dafs_ctx *ctx, char **argv, uint64_t **blks, size_t *n)
{
	int from = -1, status;
	pid_t pid, ended;
	FILE *in;
	errcode_t err = spawn(argv, &from, &pid);

	if (err)
		return dafs_fail(ctx, err, "badblocks");
	in = fdopen(from, "r");
	err = in ? read_list(ctx, in, "badblocks", blks, n) : ENOMEM;
	if (in)
		fclose(in);
	else
		close(from);
	do
		ended = waitpid(pid, &status, 0);
	while (ended < 0 && errno == EINTR);
	if (!err && (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status)))
		err = dafs_fail(ctx, EIO, "badblocks did not come to its end");
	return err;
}

errcode_t dafsck_badblocks_search(struct dafs_ctx *ctx, const char *path, bool write,
				  uint64_t **blks, size_t *n)
{
	char size[16], last[24], name[] = "badblocks", b[] = "-b", keep[] = "-n", end[] = "--";
	char *argv[8], *copy;
	uint64_t count = 0;
	unsigned bs = 0, i = 0;
	errcode_t err;

	*blks = NULL;
	*n = 0;
	err = read_size(ctx, path, &bs, &count);
	if (err)
		return err;
	copy = strdup(path);
	if (!copy)
		return ENOMEM;
	snprintf(size, sizeof(size), "%u", bs);
	/* (It takes the last block, not their number.) */
	snprintf(last, sizeof(last), "%" PRIu64, count ? count - 1 : 0);
	argv[i++] = name;
	argv[i++] = b;
	argv[i++] = size;
	if (write)
		argv[i++] = keep;
	argv[i++] = end;
	argv[i++] = copy;
	argv[i++] = last;
	argv[i] = NULL;
	err = run(ctx, argv, blks, n);
	free(copy);
	if (err) {
		free(*blks);
		*blks = NULL;
		*n = 0;
	}
	return err;
}
