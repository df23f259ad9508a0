/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_auto - how large a file system has to be for a source: see dafs_mkfs_auto in mkfs_fill.h.
 *
 * The source is imported into a scratch file system in memory that is large enough, and planned:
 * what its data and its metadata need in clusters, and how many inodes. Then real file systems are
 * made in memory, over holes, until the smallest is found that has so much free. Block size and inode
 * ratio depend on the usage type and that on the size, so this is done for the type the answer lies
 * in.
 *
 * Nothing is written anywhere else.
 */
#include "config.h"

#include "job/mkfs_fill.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

/* The ranges of sizes that the usage types of mke2fs.conf stand for. */
static const uint64_t class_start[] = { 0, 3 * MIB, 512 * MIB, 4 * TIB, 16 * TIB, UINT64_MAX };
enum { CLASSES = 5, FIRST_CLASS = 2 };

/* Scratch file systems grow by this factor until the source fits. */
enum { SCRATCH_FACTOR = 16 };
#define SCRATCH_FIRST (16 * GIB)
#define SCRATCH_LAST  (256 * TIB)

/* Sizes are whole multiples of this, and for large ones of a 4096th part. */
#define UNIT_BYTES (64 * KIB)

struct need {
	uint64_t bytes; /* data and metadata, in whole clusters */
	uint64_t inodes;
};

struct search {
	struct dafs_ctx *ctx;
	const char *address; /* of the image to be, for messages */
	const struct dafs_fill_opts *opts;
	struct dafs_mkfs_opts mkfs; /* with type_bytes of the class */
	struct need need;
	bool no_xattrs;
};

static void note_info(void *arg, const struct dafs_mkfs_info *info)
{
	((struct search *)arg)->no_xattrs = info->no_xattrs;
}

/* A failure is told of the image to be, not of its scratch. */
static errcode_t rename_scratch(struct search *s, const char *path, errcode_t err)
{
	char detail[sizeof(s->ctx->detail)];
	size_t len = strlen(path);

	if (!err || strncmp(s->ctx->detail, path, len))
		return err;
	memcpy(detail, s->ctx->detail, sizeof(detail));
	return dafs_fail(s->ctx, err, "%s%s", s->address, detail + len);
}

/* Make a file system of bytes in memory. *fd is the caller's to close, *img too on success. */
static errcode_t make_scratch(struct search *s, uint64_t bytes, int *fd, struct dafs_image **img)
{
	struct dafs_mkfs_opts mkfs = s->mkfs;
	char path[32];

	*img = NULL;
	*fd = memfd_create("dafs-size", MFD_CLOEXEC);
	if (*fd < 0)
		return dafs_fail(s->ctx, errno, "scratch file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
	mkfs.fs_bytes = bytes;
	mkfs.dry_run = false;
	mkfs.force = true;
	mkfs.fill = true;
	mkfs.announce = note_info;
	mkfs.announce_arg = s;
	return rename_scratch(s, path, dafs_mkfs_run(s->ctx, path, &mkfs, img));
}

/* What is pending in fs, once it were flushed. */
static errcode_t count_need(struct dafs *fs, struct need *need)
{
	uint64_t meta, cluster_bytes = (uint64_t)fs->img->block_size << fs->img->cluster_bits;
	errcode_t err = fs->write.dry_plan(fs->write.dry_plan_arg, &meta);

	need->bytes = (fs->reserve.dirty_clusters + meta) * cluster_bytes;
	need->inodes = fs->reserve.promised_inodes;
	return err;
}

static errcode_t import_scratch(struct search *s, struct dafs_image *img)
{
	struct dafs_import_stats stats;
	struct dafs *fs;
	errcode_t err = dafs_session_adopt_image(s->ctx, img, &fs);

	if (err)
		return err;
	fs->no_xattrs = s->no_xattrs;
	err = dafs_begin(fs);
	if (!err)
		err = dafs_import_run(fs, s->opts->src, "/", &stats);
	if (!err)
		err = dafs_end(fs);
	if (!err)
		err = count_need(fs, &s->need);
	dafs_close(fs);
	return err;
}

static bool is_too_small(errcode_t err)
{
	return err == DAFS_ET_NOSPC_RESERVE || err == DAFS_ET_NOSPC_META || err == DAFS_ET_NOINODES;
}

static errcode_t measure(struct search *s)
{
	errcode_t err = DAFS_ET_NOSPC_RESERVE;

	for (uint64_t bytes = SCRATCH_FIRST; bytes <= SCRATCH_LAST && is_too_small(err);
	     bytes *= SCRATCH_FACTOR) {
		struct dafs_image *img;
		int fd;

		err = make_scratch(s, bytes, &fd, &img);
		if (!err)
			err = import_scratch(s, img);
		if (fd >= 0)
			close(fd);
		/* More room does not make more inodes where their number is given. */
		if (err == DAFS_ET_NOINODES && s->opts->mkfs.inodes)
			break;
	}
	return err;
}

/* Does a file system of bytes have room? *fits is false for sizes that cannot be made at all. */
static errcode_t try_size(struct search *s, uint64_t bytes, bool *fits)
{
	bool may_add_inodes = !s->opts->mkfs.inodes && !s->opts->mkfs.inode_ratio_bytes;
	struct ext2_super_block *super;
	struct dafs_image *img;
	uint64_t free_bytes, reserved_bytes;
	bool inodes_fit;
	int fd;

	*fits = false;
	s->mkfs.inodes = s->opts->mkfs.inodes;
	for (;;) {
		errcode_t err = make_scratch(s, bytes, &fd, &img);

		if (fd >= 0)
			close(fd);
		if (err)
			return err == ENOMEM ? err : dafs_cancelled(s->ctx);
		super = img->fs->super;
		free_bytes = ext2fs_free_blocks_count(super) * img->block_size;
		reserved_bytes = ext2fs_r_blocks_count(super) * img->block_size;
		inodes_fit = super->s_free_inodes_count >= s->need.inodes;
		dafs_image_close(img);
		if (inodes_fit || !may_add_inodes || s->mkfs.inodes)
			break;
		s->mkfs.inodes = s->need.inodes + s->need.inodes / 16 + 16;
	}
	*fits = inodes_fit && free_bytes >= reserved_bytes &&
		free_bytes - reserved_bytes >= s->need.bytes + s->opts->slack_bytes;
	return 0;
}

static uint64_t unit_of(uint64_t bytes)
{
	uint64_t unit = UNIT_BYTES;

	while (unit < bytes >> 12)
		unit *= 2;
	return unit;
}

/* The smallest size that fits, near enough; s->mkfs.inodes belongs to it. */
static errcode_t search_size(struct search *s, uint64_t *bytes)
{
	uint64_t low = 0, high = s->need.bytes + s->opts->slack_bytes + UNIT_BYTES, unit;
	bool fits = false;
	errcode_t err;

	high -= high % UNIT_BYTES;
	while (!(err = try_size(s, high, &fits)) && !fits) {
		low = high;
		high += high / 8 + UNIT_BYTES;
		high -= high % UNIT_BYTES;
		if (high > SCRATCH_LAST)
			return dafs_fail(s->ctx, DAFS_ET_NOSPC_RESERVE,
					 "%s: no size holds it with these options", s->opts->src);
	}
	unit = unit_of(high);
	while (!err && high - low > unit) {
		uint64_t middle = low + (high - low) / 2;

		middle -= middle % UNIT_BYTES;
		err = try_size(s, middle, &fits);
		if (fits)
			high = middle;
		else
			low = middle;
	}
	*bytes = high;
	return err ? err : try_size(s, high, &fits);
}

/* The answer for one class of sizes: not below its start. */
static errcode_t solve_class(struct search *s, unsigned class, uint64_t *bytes)
{
	bool fits;
	errcode_t err;

	s->mkfs.type_bytes = class_start[class] ? class_start[class] : 1;
	err = measure(s);
	if (!err)
		err = search_size(s, bytes);
	if (!err && *bytes < class_start[class]) {
		*bytes = class_start[class];
		err = try_size(s, *bytes, &fits);
	}
	return err;
}

/* The class that the answer lies in, and the answer. */
static errcode_t solve_classes(struct search *s, uint64_t *bytes)
{
	unsigned class = FIRST_CLASS;
	errcode_t err = solve_class(s, class, bytes);

	while (!err && class + 1 < CLASSES && *bytes >= class_start[class + 1])
		err = solve_class(s, ++class, bytes);
	/* At its class's start the size may belong into the class below. */
	while (!err && class > 0 && *bytes == class_start[class]) {
		uint64_t smaller;
		struct dafs_mkfs_opts larger = s->mkfs;

		err = solve_class(s, class - 1, &smaller);
		if (err || smaller >= class_start[class]) {
			s->mkfs = larger;
			break;
		}
		*bytes = smaller;
		class --;
	}
	return err;
}

errcode_t dafs_mkfs_auto(struct dafs_ctx *ctx, const char *address,
			 const struct dafs_fill_opts *opts, struct dafs_mkfs_opts *mkfs)
{
	dafs_progress_fn notice = ctx->notice;
	struct search s = { .ctx = ctx, .address = address, .opts = opts, .mkfs = opts->mkfs };
	uint64_t bytes = 0;
	errcode_t err;

	/* What there is to warn about is said when the file system is made. */
	ctx->notice = NULL;
	if (!opts->mkfs.usage_types) {
		err = solve_classes(&s, &bytes);
	} else {
		err = measure(&s);
		if (!err)
			err = search_size(&s, &bytes);
	}
	ctx->notice = notice;
	if (err)
		return err;
	mkfs->fs_bytes = bytes;
	mkfs->inodes = s.mkfs.inodes;
	return 0;
}
