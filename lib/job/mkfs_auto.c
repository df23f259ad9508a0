/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_auto - how large a file system has to be for a source: see dafs_mkfs_auto in mkfs_fill.h.
 *
 * The source is imported into a scratch file system in memory that is large enough, and planned:
 * what its data and metadata need at the least in clusters, and how many inodes. Then file systems
 * are made in memory, over holes, to find the smallest that has so much free. In that one the
 * source is planned again, for real: little room and many groups may take more tree blocks than the
 * least. Where it does not fit, the next larger one is tried.
 *
 * What is free does not always grow with the size: a longer journal, more inodes, another group
 * take from it. So the search is no plain bisection. A stretch of sizes is given up only when even
 * its last size, with no more overhead than its first, has too little (see bound_free).
 *
 * Block size and inode ratio depend on the usage type and that on the size, so the classes of sizes
 * are searched one by one, from the smallest on.
 *
 * Nothing is written anywhere else.
 *
 * Invariants:
 *  1. the answer was planned: the run that follows does the same over the same geometry;
 *  2. every smaller size of its class was shown to be too small: by what is free, or by a plan.
 *     (Where LINEAR_STEPS plans in a row have failed, only the size before the answer.)
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

/* So many sizes in a row are planned one by one; then the steps grow, and the gap is halved. */
enum { LINEAR_STEPS = 8 };

struct need {
	uint64_t data_blks, meta_blks, least_meta_blks; /* in whole clusters */
	uint64_t files;					/* with data */
	uint64_t inodes;
};

/* What a file system of some size has before it is filled. */
struct size {
	uint64_t blks; /* asked for */
	uint64_t free_blks, overhead_blks;
	uint64_t free_inodes;
	uint32_t groups; /* 0: it cannot be made */
	bool fits;	 /* what is free is enough for the least need */
};

struct search {
	struct dafs_ctx *ctx;
	const char *address; /* of the image to be, for messages */
	const struct dafs_fill_opts *opts;
	struct dafs_mkfs_opts mkfs; /* with type_bytes of the class */
	struct need need;
	bool no_xattrs;
	uint32_t own_inodes; /* of the file system itself */
	uint32_t block_size;
	uint32_t unit_blks; /* sizes are multiples of this: a cluster */
	uint64_t slack_blks;
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

/* The plan of everything pending in fs. */
static errcode_t note_plan(void *arg, struct dafs *fs, struct dafs_plan *plan)
{
	struct need *need = arg;
	unsigned bits = fs->img->cluster_bits;

	need->meta_blks = dafs_plan_meta_clusters(plan) << bits;
	need->data_blks = (dafs_plan_taken_clusters(plan) << bits) - need->meta_blks;
	need->least_meta_blks = dafs_plan_least_meta_clusters(plan) << bits;
	need->inodes = fs->reserve.promised_inodes;
	return 0;
}

static errcode_t plan_source(struct search *s, struct dafs *fs, struct need *need)
{
	struct dafs_flush_request req = {
		.opts.size = sizeof(req.opts),
		.dry_run = true,
		.plan_fn = note_plan,
		.plan_arg = need,
	};
	struct dafs_import_stats stats;
	struct dafs_flush_stats flush;
	errcode_t err = dafs_begin(fs);

	fs->no_xattrs = s->no_xattrs;
	if (!err)
		err = dafs_import_run(fs, s->opts->src, "/", &stats);
	if (!err)
		err = dafs_end(fs);
	if (!err)
		err = dafs_session_flush(fs, &req, &flush);
	need->files = stats.files;
	return err;
}

/* Import and plan the source in img, which is taken over. */
static errcode_t plan_in(struct search *s, struct dafs_image *img, struct need *need)
{
	struct dafs *fs;
	errcode_t err = dafs_session_adopt_image(s->ctx, img, &fs);

	memset(need, 0, sizeof(*need));
	if (err)
		return err;
	err = plan_source(s, fs, need);
	dafs_close(fs);
	return err;
}

static bool is_too_small(errcode_t err)
{
	return err == DAFS_ET_NOSPC_RESERVE || err == DAFS_ET_NOSPC_META ||
	       err == DAFS_ET_NOSPC_ALLOC || err == DAFS_ET_NOINODES;
}

static void note_units(struct search *s, const struct dafs_image *img)
{
	uint64_t slack = (s->opts->slack_bytes + img->block_size - 1) / img->block_size;

	s->own_inodes = img->fs->super->s_inodes_count - img->fs->super->s_free_inodes_count;
	s->block_size = img->block_size;
	s->unit_blks = UINT32_C(1) << img->cluster_bits;
	s->slack_blks = (slack + s->unit_blks - 1) & ~((uint64_t)s->unit_blks - 1);
}

/* The least need of the source, and the units of the class. */
static errcode_t measure(struct search *s)
{
	errcode_t err = DAFS_ET_NOSPC_RESERVE;

	s->mkfs.inodes = s->opts->mkfs.inodes;
	for (uint64_t bytes = SCRATCH_FIRST; bytes <= SCRATCH_LAST && is_too_small(err);
	     bytes *= SCRATCH_FACTOR) {
		struct dafs_image *img;
		int fd;

		err = make_scratch(s, bytes, &fd, &img);
		if (!err) {
			note_units(s, img);
			err = plan_in(s, img, &s->need);
		}
		if (fd >= 0)
			close(fd);
		/* More room does not make more inodes where their number is given. */
		if (err == DAFS_ET_NOINODES && s->opts->mkfs.inodes)
			break;
	}
	return err;
}

/* libext2fs rounds the inodes of a group to eights, downwards. */
static uint64_t inodes_to_ask(uint64_t inodes, uint32_t groups)
{
	uint64_t per_group = (inodes + groups - 1) / groups;

	return (per_group + 7) / 8 * 8 * groups;
}

/* Make a file system of size->blks with inodes enough, where their number is free to choose:
 * s->mkfs.inodes, 0 for the usual number. *img is NULL where it cannot be made. */
static errcode_t make_at(struct search *s, struct size *size, int *fd, struct dafs_image **img)
{
	bool may_add_inodes = !s->opts->mkfs.inodes && !s->opts->mkfs.inode_ratio_bytes;

	s->mkfs.inodes = s->opts->mkfs.inodes;
	for (;;) {
		errcode_t err = make_scratch(s, size->blks * s->block_size, fd, img);
		struct ext2_super_block *super;

		if (err && (*fd < 0 || err == ENOMEM || dafs_cancelled(s->ctx)))
			return err;
		/* The usual number may be too small for the file system itself. */
		if (err && may_add_inodes && !s->mkfs.inodes) {
			s->mkfs.inodes = inodes_to_ask(s->own_inodes + s->need.inodes, 1);
			close(*fd);
			continue;
		}
		if (err)
			return 0;
		super = (*img)->fs->super;
		size->groups = (*img)->fs->group_desc_count;
		size->free_blks = ext2fs_free_blocks_count(super);
		size->overhead_blks = ext2fs_blocks_count(super) - size->free_blks;
		size->free_inodes = super->s_free_inodes_count;
		size->fits = size->free_inodes >= s->need.inodes;
		if (size->fits || !may_add_inodes || s->mkfs.inodes)
			break;
		s->mkfs.inodes = inodes_to_ask(s->own_inodes + s->need.inodes, size->groups);
		dafs_image_close(*img);
		close(*fd);
	}
	size->fits = size->fits && size->free_blks >= s->need.data_blks + s->need.least_meta_blks +
							  s->slack_blks;
	return 0;
}

static errcode_t try_size(struct search *s, struct size *size)
{
	struct dafs_image *img;
	int fd;
	errcode_t err = make_at(s, size, &fd, &img);

	dafs_image_close(img);
	if (fd >= 0)
		close(fd);
	return err;
}

/*
 * What sizes between a and b can have free at the most. Overhead (what a file system takes for
 * itself, blocks at its end that are not used aside) falls with a larger size for one reason only:
 * as many inodes over more groups may fill the blocks of their tables better, by less than a block
 * in each group.
 */
static uint64_t bound_free(const struct size *a, const struct size *b)
{
	uint64_t overhead = a->overhead_blks, slop = a->groups == b->groups ? 0 : b->groups;

	overhead -= slop < overhead ? slop : overhead;
	return b->blks > overhead ? b->blks - overhead : 0;
}

/* With a ratio given: no smaller size than b has inodes enough, however they are rounded. */
static bool too_few_inodes(const struct search *s, const struct size *b)
{
	return b->groups && b->free_inodes + 8 * (uint64_t)b->groups < s->need.inodes;
}

/* The smallest size that has enough free, of those between a (which has not) and b; 0 blks when
 * there is none. */
static errcode_t search_between(struct search *s, const struct size *a, const struct size *b,
				struct size *ret)
{
	uint64_t units = (b->blks - a->blks) / s->unit_blks;
	struct size middle = { .blks = a->blks + units / 2 * s->unit_blks };
	errcode_t err;

	ret->blks = 0;
	if (units < 2 || too_few_inodes(s, b) ||
	    bound_free(a, b) <= s->need.data_blks + s->need.least_meta_blks + s->slack_blks)
		return 0;
	err = try_size(s, &middle);
	if (!err)
		err = search_between(s, a, &middle, ret);
	if (err || ret->blks)
		return err;
	if (middle.fits) {
		*ret = middle;
		return 0;
	}
	return search_between(s, &middle, b, ret);
}

/* The smallest size from first to last that has enough free; 0 blks when there is none. */
static errcode_t search_class(struct search *s, uint64_t first_blks, uint64_t last_blks,
			      struct size *ret)
{
	uint64_t need = s->need.data_blks + s->need.least_meta_blks + s->slack_blks;
	struct size a = { .blks = first_blks > need ? first_blks : need }, b = { 0 };
	errcode_t err = 0;

	/* One before the first: it stands for nothing that fits. */
	a.blks -= a.blks % s->unit_blks;
	a.blks -= a.blks >= s->unit_blks ? s->unit_blks : 0;
	last_blks -= last_blks % s->unit_blks;
	ret->blks = 0;
	for (; !err && !ret->blks && a.blks < last_blks; a = b) {
		uint64_t step = a.blks / 16 + 64;

		memset(&b, 0, sizeof(b));
		b.blks = a.blks + step - step % s->unit_blks + s->unit_blks;
		if (b.blks > last_blks)
			b.blks = last_blks;
		err = try_size(s, &b);
		if (!err)
			err = search_between(s, &a, &b, ret);
		if (!err && !ret->blks && b.fits)
			*ret = b;
	}
	return err;
}

/* Does the source, planned in a file system of blks, leave the slack? */
static errcode_t plan_at(struct search *s, uint64_t blks, bool *fits)
{
	struct size size = { .blks = blks };
	struct dafs_image *img;
	struct need need;
	int fd;
	errcode_t err = make_at(s, &size, &fd, &img);

	*fits = false;
	if (!err && size.fits) {
		err = plan_in(s, img, &need);
		*fits = !err && need.data_blks + need.meta_blks + s->slack_blks <= size.free_blks;
		if (is_too_small(err))
			err = 0;
	} else {
		dafs_image_close(img);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

/* The smallest size from blks on in which the plan fits, 0 for none up to last_blks. What is before
 * blks has too little free. */
static errcode_t settle(struct search *s, uint64_t last_blks, uint64_t *blks)
{
	uint64_t low = *blks - s->unit_blks, step = s->unit_blks;
	bool fits;
	errcode_t err = plan_at(s, *blks, &fits);

	for (int i = 1; !err && !fits; i++) {
		low = *blks;
		*blks += step;
		if (*blks > last_blks) {
			*blks = 0;
			return 0;
		}
		if (i >= LINEAR_STEPS)
			step *= 2;
		err = plan_at(s, *blks, &fits);
	}
	while (!err && *blks - low > s->unit_blks) {
		uint64_t middle = low + (*blks - low) / s->unit_blks / 2 * s->unit_blks;

		err = plan_at(s, middle, &fits);
		if (fits)
			*blks = middle;
		else
			low = middle;
	}
	return err;
}

/* The smallest size of at least start_bytes and less than end_bytes; 0 when there is none. */
static errcode_t solve_range(struct search *s, uint64_t start_bytes, uint64_t end_bytes,
			     uint64_t *bytes)
{
	uint64_t first = (start_bytes + s->block_size - 1) / s->block_size;
	uint64_t last = (end_bytes - 1) / s->block_size, blks;
	struct size found;
	errcode_t err;

	*bytes = 0;
	if (end_bytes > SCRATCH_LAST)
		last = SCRATCH_LAST / s->block_size;
	err = search_class(s, first, last, &found);
	blks = found.blks;
	if (!err && blks)
		err = settle(s, last, &blks);
	if (!err && blks) {
		*bytes = blks * s->block_size;
		/* The number of inodes that belongs to it. */
		found = (struct size){ .blks = blks };
		err = try_size(s, &found);
	}
	return err;
}

/* The smallest class with an answer, and the answer. */
static errcode_t solve_classes(struct search *s, uint64_t *bytes)
{
	uint64_t least_bytes;
	unsigned measured = FIRST_CLASS;
	errcode_t err;

	s->mkfs.type_bytes = class_start[measured];
	err = measure(s);
	if (err)
		return err;
	/* Blocks of another size save less than one a file. */
	least_bytes = s->need.files * s->unit_blks;
	least_bytes = s->need.data_blks > least_bytes ? s->need.data_blks - least_bytes : 0;
	least_bytes = least_bytes * s->block_size + s->opts->slack_bytes;
	for (unsigned class = 0; class < CLASSES && !err && !*bytes; class ++) {
		if (class_start[class + 1] <= least_bytes)
			continue;
		s->mkfs.type_bytes = class_start[class] ? class_start[class] : 1;
		if (class != measured)
			err = measure(s);
		measured = class;
		if (!err)
			err = solve_range(s, class_start[class], class_start[class + 1], bytes);
		/* Small blocks may be what is in the way. */
		if (err == DAFS_ET_XATTR_TOO_BIG)
			err = 0;
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
			err = solve_range(&s, 0, UINT64_MAX, &bytes);
	}
	ctx->notice = notice;
	if (err)
		return err;
	if (!bytes)
		return dafs_fail(ctx, DAFS_ET_NOSPC_RESERVE,
				 "%s: no size holds it with these options", opts->src);
	mkfs->fs_bytes = bytes;
	mkfs->inodes = s.mkfs.inodes;
	return 0;
}
