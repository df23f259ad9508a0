/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spool - see spool.h.
 */
#include "config.h"

#include "store/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"

#define COPY_BYTES ((size_t)1 << 20)
/* Looking through more free runs than this costs more than the space they are. */
enum { RUNS_LOOKED_AT = 64 };
/* Cutting the file is worth a system call from here on. */
#define TRIM_BYTES (UINT64_C(4) << 20)

static errcode_t read_blocks(struct dafs_source *src, struct dafs_ctx *ctx, void *buf, size_t len,
			     uint64_t off);
static errcode_t check_bytes(struct dafs_source *src, struct dafs_ctx *ctx, uint64_t off,
			     uint64_t len);
static int get_fd(struct dafs_source *src, struct dafs_ctx *ctx, errcode_t *err);

static const struct dafs_source_ops source_ops = {
	.read = read_blocks,
	.get_fd = get_fd,
	.check = check_bytes,
};

static struct dafs_spool *spool_of(struct dafs_source *src)
{
	return (struct dafs_spool *)((char *)src - offsetof(struct dafs_spool, source));
}

/* --- files --- */

void dafs_spool_init(struct dafs_spool *sp, struct dafs_ctx *ctx, const char *name,
		     uint32_t block_size)
{
	memset(sp, 0, sizeof(*sp));
	sp->source.ops = &source_ops;
	sp->ctx = ctx;
	sp->name = name;
	sp->fd = sp->sum_fd = -1;
	sp->block_size = block_size;
	dafs_rangemap_init(&sp->spare);
	dafs_rangemap_init(&sp->dropped);
}

void dafs_spool_fini(struct dafs_spool *sp)
{
	if (sp->fd >= 0)
		close(sp->fd);
	if (sp->sum_fd >= 0)
		close(sp->sum_fd);
	sp->fd = sp->sum_fd = -1;
	dafs_rangemap_fini(&sp->spare);
	dafs_rangemap_fini(&sp->dropped);
}

static errcode_t check_length(struct dafs_spool *sp, int fd, uint64_t least_bytes, const char *what)
{
	struct stat st;

	if (fstat(fd, &st))
		return dafs_fail(sp->ctx, errno, "%s/%s", sp->name, what);
	if ((uint64_t)st.st_size < least_bytes)
		return dafs_fail(sp->ctx, DAFS_ET_CACHE_DAMAGED,
				 "%s/%s is %lld bytes long, pending data need %llu", sp->name, what,
				 (long long)st.st_size, (unsigned long long)least_bytes);
	return 0;
}

static errcode_t lost(struct dafs_spool *sp, const char *what)
{
	return dafs_fail(sp->ctx, DAFS_ET_CACHE_DAMAGED,
			 "%s/%s, which holds pending data, is missing", sp->name, what);
}

errcode_t dafs_spool_open(struct dafs_spool *sp, struct dafs_place *place, uint64_t end_blks,
			  bool create)
{
	/* A lost spool is not to be replaced by an empty one. */
	int flags = (create ? O_RDWR : O_RDONLY) | (create && !end_blks ? O_CREAT : 0);
	errcode_t err = 0;

	if (sp->fd >= 0)
		return 0;
	err = dafs_place_file(place, "spool", flags, &sp->fd);
	if (err == ENOENT)
		err = end_blks ? lost(sp, "spool") : ENOENT;
	if (!err) {
		err = dafs_place_file(place, "spool.sum", flags, &sp->sum_fd);
		if (err == ENOENT)
			err = end_blks ? lost(sp, "spool.sum") : ENOENT;
	}
	if (!err)
		err = check_length(sp, sp->fd, end_blks * sp->block_size, "spool");
	if (!err)
		err = check_length(sp, sp->sum_fd, end_blks * sizeof(uint32_t), "spool.sum");
	if (!err && (flags & O_CREAT))
		err = dafs_place_sync(place);
	if (err) {
		dafs_spool_fini(sp);
		return err;
	}
	sp->end_blks = sp->command_blks = end_blks;
	return 0;
}

errcode_t dafs_spool_open_salvage(struct dafs_spool *sp, struct dafs_place *place)
{
	errcode_t err;

	dafs_spool_fini(sp);
	err = dafs_place_file(place, "spool", O_RDONLY, &sp->fd);
	if (err)
		return err;
	err = dafs_place_file(place, "spool.sum", O_RDONLY, &sp->sum_fd);
	sp->salvage = true;
	sp->end_blks = sp->command_blks = UINT32_MAX;
	return err == ENOENT ? 0 : err;
}

errcode_t dafs_spool_open_ephemeral(struct dafs_spool *sp, const char *beside)
{
	const char *tmp = secure_getenv("TMPDIR");
	char *copy = beside ? strdup(beside) : NULL;
	const char *const dirs[] = { copy ? dirname(copy) : NULL, tmp && *tmp ? tmp : NULL,
				     "/var/tmp" };

	sp->ephemeral = true;
	for (size_t i = 0; sp->fd < 0 && i < sizeof(dirs) / sizeof(*dirs); i++) {
		if (dirs[i])
			sp->fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	}
	free(copy);
	return sp->fd < 0 ? dafs_fail(sp->ctx, errno, "no temporary file for pending data") : 0;
}

/* --- slots --- */

static errcode_t add_range(struct dafs_rangemap *map, uint64_t first, uint64_t n)
{
	const struct dafs_range range = { .start = (uint32_t)first, .len = (uint32_t)n };

	return n ? dafs_rangemap_set(map, &range, NULL, NULL) : 0;
}

errcode_t dafs_spool_spare(struct dafs_spool *sp, uint64_t first, uint64_t n)
{
	return add_range(&sp->spare, first, n);
}

/* A run of n slots from spare. */
static bool take_spare(struct dafs_spool *sp, uint32_t n, uint64_t *first)
{
	const struct dafs_range *range = dafs_rangemap_first(&sp->spare, 0);

	for (unsigned i = 0; range && i < RUNS_LOOKED_AT; i++, range = dafs_rangemap_next(range)) {
		if (range->len < n)
			continue;
		*first = range->start;
		/* From the front: no range is cut in two, so there is nothing to go wrong. */
		return !dafs_rangemap_clear(&sp->spare, range->start, range->start + n, NULL, NULL);
	}
	return false;
}

static errcode_t take_slots(struct dafs_spool *sp, uint32_t n, uint64_t *first)
{
	errcode_t err;

	if (take_spare(sp, n, first))
		return 0;
	if (sp->more) {
		err = sp->more(sp->more_arg, n);
		if (err)
			return err;
		if (take_spare(sp, n, first))
			return 0;
	}
	if (sp->end_blks + n > DAFS_RANGE_END)
		return dafs_fail(sp->ctx, ENOSPC, "%s: more pending data than a cache can hold",
				 sp->name);
	*first = sp->end_blks;
	sp->end_blks += n;
	return 0;
}

/* Slots of the command that runs may be used again at once: no committed row knows them. */
static void give_slots(struct dafs_spool *sp, uint64_t first, uint64_t n)
{
	uint64_t committed = sp->ephemeral ? 0 : sp->command_blks;
	uint64_t old = first < committed ? committed - first : 0;

	if (old > n)
		old = n;
	/* Without memory the slots are lost to this process only: they are no row's, and found
	 * again by counting. */
	add_range(&sp->dropped, first, old);
	add_range(&sp->spare, first + old, n - old);
}

void dafs_spool_drop(struct dafs_spool *sp, const struct dafs_page_run *gone)
{
	if (gone->src == &sp->source)
		give_slots(sp, gone->src_off_bytes / sp->block_size, gone->len);
}

/* --- checksums --- */

static errcode_t full_pwrite(struct dafs_spool *sp, int fd, const void *buf, size_t len,
			     uint64_t off)
{
	const char *at = buf;

	while (len) {
		ssize_t n = pwrite(fd, at, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return dafs_fail(sp->ctx, n ? errno : EIO, "%s: writing the spool",
					 sp->name);
		at += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static errcode_t full_pread(struct dafs_spool *sp, struct dafs_ctx *ctx, int fd, void *buf,
			    size_t len, uint64_t off)
{
	char *at = buf;

	while (len) {
		ssize_t n = pread(fd, at, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return dafs_fail(ctx, errno, "%s: reading the spool", sp->name);
		if (!n)
			return dafs_fail(ctx, DAFS_ET_CACHE_DATA, "%s: the spool ends early",
					 sp->name);
		at += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static errcode_t write_sums(struct dafs_spool *sp)
{
	errcode_t err = 0;

	if (sp->sum_n)
		err = full_pwrite(sp, sp->sum_fd, sp->sums, sp->sum_n * sizeof(*sp->sums),
				  sp->sum_first * sizeof(*sp->sums));
	if (!err)
		sp->sum_n = 0;
	return err;
}

/* Checksums of nblks blocks that stand in slots from first on. */
static errcode_t note_sums(struct dafs_spool *sp, uint64_t first, const void *blocks,
			   uint32_t nblks)
{
	const char *at = blocks;
	errcode_t err = 0;

	if (sp->ephemeral)
		return 0;
	for (uint32_t i = 0; !err && i < nblks; i++, at += sp->block_size) {
		if (sp->sum_n == sizeof(sp->sums) / sizeof(*sp->sums) ||
		    (sp->sum_n && sp->sum_first + sp->sum_n != first + i))
			err = write_sums(sp);
		if (err)
			break;
		if (!sp->sum_n)
			sp->sum_first = first + i;
		sp->sums[sp->sum_n++] = ext2fs_cpu_to_le32(dafs_crc32c(~0u, at, sp->block_size));
	}
	return err;
}

/* --- keeping --- */

static errcode_t store_blocks(struct dafs_spool *sp, uint64_t first, const void *blocks,
			      uint32_t nblks)
{
	errcode_t err = full_pwrite(sp, sp->fd, blocks, (size_t)nblks * sp->block_size,
				    first * sp->block_size);

	sp->dirty = true;
	return err ? err : note_sums(sp, first, blocks, nblks);
}

errcode_t dafs_spool_put(struct dafs_spool *sp, const void *blocks, uint32_t nblks,
			 uint64_t *off_bytes)
{
	uint64_t first;
	errcode_t err = take_slots(sp, nblks, &first);

	*off_bytes = 0;
	if (err)
		return err;
	err = store_blocks(sp, first, blocks, nblks);
	if (err) {
		add_range(&sp->spare, first, nblks);
		return err;
	}
	*off_bytes = first * sp->block_size;
	return 0;
}

/* Share whole blocks with fd's file. What was shared is then read once, from here, for its
 * checksums: the source may change, this copy does not. Returns how many blocks are in place. */
static uint32_t clone_blocks(struct dafs_spool *sp, int fd, uint64_t off, uint64_t len_bytes,
			     uint64_t first)
{
	struct file_clone_range range = {
		.src_fd = fd,
		.src_offset = off,
		.src_length = len_bytes / sp->block_size * sp->block_size,
		.dest_offset = first * sp->block_size,
	};

	if (!range.src_length || ioctl(sp->fd, FICLONERANGE, &range))
		return 0;
	sp->dirty = true;
	return (uint32_t)(range.src_length / sp->block_size);
}

/* Read len bytes of a source that must have them. */
static errcode_t read_source(struct dafs_spool *sp, int fd, char *buf, size_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (!n)
			return dafs_fail(sp->ctx, DAFS_ET_SOURCE_CHANGED,
					 "the source ended at byte %llu", (unsigned long long)off);
		buf += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static errcode_t copy_blocks(struct dafs_spool *sp, int fd, uint64_t off, uint64_t len_bytes,
			     uint64_t first, uint32_t cloned)
{
	uint64_t done = (uint64_t)cloned * sp->block_size;
	char *buf = malloc(COPY_BYTES);
	errcode_t err = buf ? 0 : ENOMEM;

	for (uint64_t at = 0; !err && at < len_bytes;) {
		bool shared = at < done;
		uint64_t end = shared ? done : len_bytes;
		size_t n = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
		uint32_t nblks = (uint32_t)((n + sp->block_size - 1) / sp->block_size);

		if (shared) {
			err = full_pread(sp, sp->ctx, sp->fd, buf, n, first * sp->block_size + at);
			if (!err)
				err = note_sums(sp, first + at / sp->block_size, buf, nblks);
		} else {
			err = read_source(sp, fd, buf, n, off + at);
			memset(buf + n, 0, (size_t)nblks * sp->block_size - n);
			if (!err)
				err = store_blocks(sp, first + at / sp->block_size, buf, nblks);
		}
		at += n;
	}
	free(buf);
	return err;
}

errcode_t dafs_spool_put_fd(struct dafs_spool *sp, int fd, uint64_t off, uint64_t len_bytes,
			    uint64_t *off_bytes)
{
	uint64_t first, nblks = (len_bytes + sp->block_size - 1) / sp->block_size;
	errcode_t err;

	*off_bytes = 0;
	if (nblks > DAFS_RANGE_END)
		return DAFS_ET_FILE_TOO_BIG;
	err = take_slots(sp, (uint32_t)nblks, &first);
	if (err)
		return err;
	err = copy_blocks(sp, fd, off, len_bytes, first,
			  clone_blocks(sp, fd, off, len_bytes, first));
	if (err) {
		add_range(&sp->spare, first, nblks);
		return err;
	}
	*off_bytes = first * sp->block_size;
	return 0;
}

/* --- reading --- */

/* How many of n checksums from slot first on are still there. */
static uint64_t sums_left(const struct dafs_spool *sp, uint64_t first, uint64_t n)
{
	struct stat st;
	uint64_t there;

	if (sp->sum_fd < 0 || fstat(sp->sum_fd, &st))
		return 0;
	there = (uint64_t)st.st_size / sizeof(uint32_t);
	return there <= first ? 0 : there - first < n ? there - first : n;
}

/* Whole slots into buf, verified. */
static errcode_t read_slots(struct dafs_spool *sp, struct dafs_ctx *ctx, uint64_t first, uint64_t n,
			    uint8_t *buf)
{
	uint32_t sums[256];
	errcode_t err =
		full_pread(sp, ctx, sp->fd, buf, n * sp->block_size, first * sp->block_size);

	if (err || sp->ephemeral)
		return err;
	if (sp->salvage) {
		uint64_t left = sums_left(sp, first, n);

		sp->unsummed_blks += n - left;
		n = left;
	}
	for (uint64_t at = 0; !err && at < n; at += sizeof(sums) / sizeof(*sums)) {
		uint64_t some = n - at < sizeof(sums) / sizeof(*sums)
					? n - at
					: sizeof(sums) / sizeof(*sums);

		err = full_pread(sp, ctx, sp->sum_fd, sums, some * sizeof(*sums),
				 (first + at) * sizeof(*sums));
		for (uint64_t i = 0; !err && i < some; i++) {
			if (dafs_crc32c(~0u, buf + (at + i) * sp->block_size, sp->block_size) !=
			    ext2fs_le32_to_cpu(sums[i]))
				err = dafs_fail(ctx, DAFS_ET_CACHE_DATA,
						"%s: block %llu of the spool", sp->name,
						(unsigned long long)(first + at + i));
		}
	}
	return err;
}

static errcode_t read_blocks(struct dafs_source *src, struct dafs_ctx *ctx, void *buf, size_t len,
			     uint64_t off)
{
	struct dafs_spool *sp = spool_of(src);
	uint64_t first = off / sp->block_size,
		 end = (off + len + sp->block_size - 1) / sp->block_size;
	uint8_t *whole;
	errcode_t err;

	if (!len)
		return 0;
	/* A single thread puts and reads back; while several read, nothing is put. */
	if (sp->sum_n) {
		err = write_sums(sp);
		if (err)
			return err;
	}
	if (off % sp->block_size == 0 && len % sp->block_size == 0)
		return read_slots(sp, ctx, first, end - first, buf);
	whole = malloc((end - first) * sp->block_size);
	if (!whole)
		return ENOMEM;
	err = read_slots(sp, ctx, first, end - first, whole);
	if (!err)
		memcpy(buf, whole + off % sp->block_size, len);
	free(whole);
	return err;
}

errcode_t dafs_spool_check(struct dafs_spool *sp, uint64_t first, uint64_t n)
{
	uint64_t at_once = COPY_BYTES / sp->block_size;
	uint8_t *buf = malloc(COPY_BYTES);
	errcode_t err = buf ? write_sums(sp) : ENOMEM;

	for (uint64_t at = 0; !err && at < n; at += at_once)
		err = read_slots(sp, sp->ctx, first + at, n - at < at_once ? n - at : at_once, buf);
	free(buf);
	return err;
}

static errcode_t check_bytes(struct dafs_source *src, struct dafs_ctx *ctx, uint64_t off,
			     uint64_t len)
{
	struct dafs_spool *sp = spool_of(src);
	uint64_t first = off / sp->block_size;

	(void)ctx;
	return dafs_spool_check(sp, first,
				(off + len + sp->block_size - 1) / sp->block_size - first);
}

static int get_fd(struct dafs_source *src, struct dafs_ctx *ctx, errcode_t *err)
{
	struct dafs_spool *sp = spool_of(src);

	(void)ctx;
	/* Copied by the host without sharing, the bytes would be read twice: once to verify,
	 * once to copy. */
	*err = sp->clones ? 0 : EOPNOTSUPP;
	return sp->clones ? sp->fd : -1;
}

void dafs_spool_probe_clones(struct dafs_spool *sp)
{
	/* The first slot to behind all slots, then cut off again. */
	struct file_clone_range range = {
		.src_fd = sp->fd,
		.src_length = sp->block_size,
		.dest_offset = sp->end_blks * sp->block_size,
	};

	sp->clones = false;
	if (sp->fd < 0 || !sp->end_blks || ioctl(sp->fd, FICLONERANGE, &range))
		return;
	sp->clones = ftruncate(sp->fd, (off_t)range.dest_offset) == 0;
}

/* --- commands --- */

void dafs_spool_begin(struct dafs_spool *sp)
{
	sp->command_blks = sp->end_blks;
	if (sp->ephemeral)
		return;
	dafs_rangemap_fini(&sp->spare);
	dafs_rangemap_fini(&sp->dropped);
}

/* Both files durable. Writing of both is begun before the first is waited for: the host's file
 * system then makes both durable with one commit of its journal, and the second sync finds
 * nothing left to do. */
static errcode_t sync_files(struct dafs_spool *sp)
{
	/* Only a hint: the syncs decide. */
	(void)sync_file_range(sp->sum_fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	(void)sync_file_range(sp->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (fdatasync(sp->fd) || fdatasync(sp->sum_fd))
		return dafs_fail(sp->ctx, errno, "%s: syncing the spool", sp->name);
	return 0;
}

errcode_t dafs_spool_sync(struct dafs_spool *sp)
{
	errcode_t err;

	if (!sp->dirty || sp->ephemeral)
		return 0;
	err = write_sums(sp);
	if (!err && !sp->ctx->no_sync)
		err = sync_files(sp);
	if (!err)
		sp->dirty = false;
	return err;
}

void dafs_spool_rollback(struct dafs_spool *sp)
{
	if (sp->ephemeral)
		return;
	sp->end_blks = sp->command_blks;
	sp->sum_n = 0;
	sp->dirty = false;
	dafs_rangemap_fini(&sp->spare);
	dafs_rangemap_fini(&sp->dropped);
}

void dafs_spool_trim(struct dafs_spool *sp)
{
	struct stat st;

	if (sp->fd < 0 || sp->ephemeral || fstat(sp->fd, &st))
		return;
	if ((uint64_t)st.st_size < sp->end_blks * sp->block_size + TRIM_BYTES && sp->end_blks)
		return;
	if (ftruncate(sp->fd, (off_t)(sp->end_blks * sp->block_size)) == 0 &&
	    ftruncate(sp->sum_fd, (off_t)(sp->end_blks * sizeof(uint32_t))))
		return;
}
