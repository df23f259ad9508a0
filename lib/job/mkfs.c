/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs - see mkfs.h: the order of things, the device, and what is there already.
 */
#include "config.h"

#include "job/mkfs.h"

#include <e2p/e2p.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "job/mkfs_int.h"
#include "store/store.h"
#include "write/delalloc.h"

/* Boot block and the place of the superblock: what makes an old file system mountable. */
enum { HEAD_BYTES = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE };

/* A discard cannot be interrupted, so it is asked for in pieces. */
#define DISCARD_BYTES (UINT64_C(2) << 30)

static errcode_t learn_sectors(struct mkfs *mk)
{
	const char *logical = secure_getenv("MKE2FS_DEVICE_SECTSIZE");
	const char *physical = secure_getenv("MKE2FS_DEVICE_PHYS_SECTSIZE");
	int bytes = 0, phys_bytes = 0;
	errcode_t err = 0;

	if (mk->dev && mk->dev->is_block) {
		err = ext2fs_get_device_sectsize(mk->dev->path, &bytes);
		if (!err)
			err = ext2fs_get_device_phys_sectsize(mk->dev->path, &phys_bytes);
	}
	mk->sector_bytes = logical ? (uint32_t)strtoul(logical, NULL, 10) : (uint32_t)bytes;
	mk->phys_sector_bytes =
		physical ? (uint32_t)strtoul(physical, NULL, 10) : (uint32_t)phys_bytes;
	if (!mk->phys_sector_bytes)
		mk->phys_sector_bytes = mk->sector_bytes;
	return err ? dafs_fail(mk->ctx, err, "%s: cannot learn its sector size", mk->address) : 0;
}

/* Open the place; where it is a file that does not exist, make it (not in a dry run). */
static errcode_t open_place(struct mkfs *mk)
{
	bool dry = mk->opts->dry_run;
	struct dafs_dev_address addr;
	struct stat st;
	errcode_t err = mkfs_parse_offset(mk);

	if (!err)
		err = dafs_dev_address_parse(mk->ctx, mk->address, &addr);
	if (err)
		return err;
	mk->file_made = stat(addr.path, &st) && errno == ENOENT;
	if (mk->file_made && (addr.partno || addr.partlabel))
		err = dafs_fail(mk->ctx, ENOENT, "%s", mk->address);
	mk->path = addr.path;
	addr.path = NULL;
	dafs_dev_address_fini(&addr);
	if (!err && mk->file_made && !mk->opts->fs_bytes)
		err = dafs_fail(mk->ctx, ENOENT, "%s: no size is given", mk->address);
	if (err || (dry && mk->file_made))
		return err;
	err = dafs_dev_open(mk->ctx, mk->address,
			    dry ? 0 : DAFS_DEV_RW | DAFS_DEV_CREATE | DAFS_DEV_EXCL, &mk->dev);
	if (!err && !dry)
		err = dafs_dev_lock(mk->dev, true);
	if (err)
		return err;
	mk->locked = !dry;
	mk->room_bytes = mk->dev->size_bytes;
	return learn_sectors(mk);
}

static errcode_t choose_size(struct mkfs *mk)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), least = mk->opts->block_size;

	mk->fs_bytes = mk->opts->fs_bytes;
	if (mk->fs_bytes > INT64_MAX)
		return dafs_fail(mk->ctx, DAFS_ET_RANGE, "%s: %" PRIu64 " bytes", mk->address,
				 mk->fs_bytes);
	if (mk->fs_bytes) {
		if (mk->dev && (mk->dev->is_block || mk->dev->partition) &&
		    mk->fs_bytes > mk->room_bytes)
			return dafs_fail(mk->ctx, ENOSPC, "%s: has %" PRIu64 " bytes", mk->address,
					 mk->room_bytes);
		return 0;
	}
	if (!mk->room_bytes)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "%s: is empty, and no size is given",
				 mk->address);
	mk->fs_bytes = mk->room_bytes;
	/* Whole pages, so that a partition's last sectors never make a file system that the page
	 * cache cannot hold. */
	if (!least || mk->opts->block_size_least)
		least = EXT2_MIN_BLOCK_SIZE;
	if (page > least)
		mk->fs_bytes -= mk->fs_bytes % page;
	if (mk->set.has_offset)
		dafs_notice(mk->ctx, "warning: an offset without a size: the file system reaches "
				     "to the end of the file");
	return 0;
}

/* Settings that neither -E nor -J names. */
static errcode_t configure(struct mkfs *mk)
{
	bool kernel_is_lazy = !access("/sys/fs/ext4/features/lazy_itable_init", R_OK);
	struct mkfs_settings *set = &mk->set;
	const char *location;
	long backups = 2;
	errcode_t err;

	set->journal_goal_blk = ~UINT64_C(0);
	err = dafs_mkfs_conf_bool(mk->ctx, &mk->types, "lazy_itable_init", kernel_is_lazy,
				  &set->lazy_itable);
	if (!err)
		err = dafs_mkfs_conf_bool(mk->ctx, &mk->types, "lazy_journal_init", false,
					  &set->lazy_journal);
	if (!err)
		err = dafs_mkfs_conf_bool(mk->ctx, &mk->types, "discard", true, &set->discard);
	if (!err)
		err = dafs_mkfs_conf_bool(mk->ctx, &mk->types, "packed_meta_blocks", false,
					  &set->packed_meta);
	if (!err)
		err = dafs_mkfs_conf_int(mk->ctx, &mk->types, "num_backup_sb", 2, &backups);
	if (err)
		return err;
	if (backups < 0 || backups > 2)
		return dafs_fail(mk->ctx, DAFS_ET_SYNTAX, "mke2fs.conf: num_backup_sb = %ld",
				 backups);
	set->backups = (uint32_t)backups;
	location = dafs_mkfs_conf_str(&mk->types, "journal_location", "");
	if (*location)
		set->journal_goal_blk =
			parse_num_blocks2(location, (int)mk->param.s_log_block_size);
	return 0;
}

static errcode_t decide(struct mkfs *mk)
{
	static errcode_t (*const steps[])(struct mkfs * mk) = {
		open_place,
		choose_size,
		mkfs_choose_types,
		mkfs_choose_features,
		mkfs_choose_block_size,
		configure,
		mkfs_choose_geometry,
		mkfs_make_super,
	};
	errcode_t err = dafs_mkfs_conf_load(mk->ctx, &mk->conf);

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]) && !err; i++)
		err = steps[i](mk);
	return err;
}

/* What cannot be filled is refused before anything is written. */
static errcode_t check_fillable(struct mkfs *mk)
{
	struct ext2_super_block *super = mk->fs->super;
	struct dafs_dev dev = { .address = mk->address };
	struct dafs_image img = {
		.ctx = mk->ctx,
		.dev = &dev,
		.fs = mk->fs,
		.has_extents = ext2fs_has_feature_extents(super),
		.has_quota = ext2fs_has_feature_quota(super),
	};

	return mk->opts->fill ? dafs_delalloc_supported(&img) : 0;
}

/* Pending work of a file system that was here before would be lost, or stand in the way of the new
 * one: it is existing data, too. (A device's cache goes by UUID: it is not found by the new
 * one.) */
static errcode_t check_cache(struct mkfs *mk)
{
	struct dafs_image img = { .ctx = mk->ctx, .dev = mk->dev, .fs = mk->fs };
	errcode_t err = mk->dev->is_block ? 0 : dafs_store_exists(&img, NULL, &mk->cache_left);

	if (!err && mk->cache_left && !mk->opts->force)
		err = dafs_fail(mk->ctx, DAFS_ET_CACHE_PENDING, "%s (use -F to drop it)",
				mk->address);
	return err;
}

static errcode_t drop_cache(struct mkfs *mk)
{
	struct dafs_image img = { .ctx = mk->ctx, .dev = mk->dev, .fs = mk->fs };

	if (!mk->cache_left)
		return 0;
	dafs_notice(mk->ctx, "what was pending for the old file system in %s is dropped", mk->path);
	return dafs_store_remove(&img, NULL);
}

static errcode_t announce(struct mkfs *mk)
{
	uint64_t made = ext2fs_blocks_count(mk->fs->super), asked = ext2fs_blocks_count(&mk->param);
	struct dafs_mkfs_info info;
	errcode_t err = mkfs_tell(mk, &info);

	if (!err && made < asked)
		dafs_notice(mk->ctx, "warning: %" PRIu64 " blocks at the end are not used",
			    asked - made);
	if (!err && mk->opts->announce)
		mk->opts->announce(mk->opts->announce_arg, &info);
	mkfs_tell_fini(&info);
	return err;
}

/* Take away what would still mount or be found, and make it durable before anything else is
 * written. */
static errcode_t wipe(struct mkfs *mk)
{
	uint64_t room = mk->dev->size_bytes, head = room < HEAD_BYTES ? room : HEAD_BYTES;
	errcode_t err = head ? dafs_dev_zero(mk->dev, 0, head) : 0;

	for (unsigned i = 0; i < mk->nsignatures && !err; i++)
		err = dafs_dev_zero(mk->dev, mk->signatures[i].off, mk->signatures[i].len_bytes);
	return err || !head ? err : dafs_dev_sync(mk->dev);
}

static errcode_t discard_device(struct mkfs *mk)
{
	uint64_t bytes = mk->fs_bytes, done = 0;
	errcode_t err = 0;

	while (done < bytes && !err) {
		uint64_t range[2] = { mk->dev->start_bytes + done, bytes - done };

		if (range[1] > DISCARD_BYTES)
			range[1] = DISCARD_BYTES;
		/* Only ever a help for the device: one that cannot is left alone. */
		if (ioctl(mk->dev->fd, BLKDISCARD, range))
			return 0;
		done += range[1];
		dafs_progress(mk->ctx, "discard", done, bytes);
		err = dafs_cancelled(mk->ctx);
	}
	return err;
}

/* The room as the file system needs it: wiped, discarded where wanted, and as long as the file
 * system. */
static errcode_t prepare(struct mkfs *mk)
{
	uint64_t bytes = ext2fs_blocks_count(mk->fs->super) * mk->block_size;
	errcode_t err = wipe(mk);

	if (!err && bytes > mk->dev->size_bytes)
		err = dafs_dev_resize(mk->dev, bytes);
	if (!err && mk->set.discard && mk->room_bytes) {
		if (mk->dev->is_block)
			err = discard_device(mk);
		else
			err = dafs_dev_zero(mk->dev, 0, bytes);
		mk->itable_zeroed = !mk->dev->is_block;
	}
	/* As mke2fs flags it: a file that was empty is not known to be zero, although it is. */
	mk->reads_zero = !mk->room_bytes || mk->itable_zeroed;
	if (mk->set.prezeroed)
		mk->itable_zeroed = mk->reads_zero = true;
	return err;
}

/* Write what is in memory: libext2fs writes the primary superblock last, with a sync before it
 * and one behind it. */
static errcode_t finish(struct mkfs *mk, struct dafs_image **image)
{
	errcode_t err;

	if (mk->opts->fill) {
		err = dafs_image_from_new(mk->ctx, mk->dev, mk->fs, image);
		if (!err) {
			mk->dev = NULL;
			mk->fs = NULL;
		}
		return err;
	}
	dafs_progress(mk->ctx, "superblocks and bitmaps", 0, 0);
	err = ext2fs_close_free(&mk->fs);
	return err ? dafs_fail(mk->ctx, err, "%s: writing superblocks and bitmaps", mk->address)
		   : 0;
}

void mkfs_unlink(const char *path, const struct stat *made)
{
	struct stat st;

	if (!lstat(path, &st) && st.st_dev == made->st_dev && st.st_ino == made->st_ino)
		unlink(path);
}

/* What an error left behind must not mount, and its detail is what the user gets to see. */
static void unmake(struct mkfs *mk)
{
	char detail[sizeof(mk->ctx->detail)];
	struct stat made;

	if (mk->file_made) {
		if (mk->locked && !fstat(mk->dev->fd, &made))
			mkfs_unlink(mk->path, &made);
		return;
	}
	memcpy(detail, mk->ctx->detail, sizeof(detail));
	if (mk->started && !wipe(mk))
		dafs_dev_sync(mk->dev);
	memcpy(mk->ctx->detail, detail, sizeof(detail));
}

static errcode_t make(struct mkfs *mk, struct dafs_image **image)
{
	errcode_t err;

	mk->started = true;
	err = prepare(mk);
	if (!err)
		err = drop_cache(mk);

	if (!err)
		err = mkfs_build(mk);
	return err ? err : finish(mk, image);
}

static void fini(struct mkfs *mk, errcode_t err)
{
	if (mk->fs)
		ext2fs_free(mk->fs);
	if (err && mk->dev)
		unmake(mk);
	dafs_dev_close(mk->dev);
	dafs_mkfs_conf_free(mk->conf);
	free(mk->type_text[0]);
	free(mk->type_text[1]);
	free(mk->type_list);
	free(mk->options_text);
	free(mk->address);
	free(mk->path);
}

errcode_t dafs_mkfs_run(struct dafs_ctx *ctx, const char *address,
			const struct dafs_mkfs_opts *opts, struct dafs_image **image)
{
	struct mkfs mk = { .ctx = ctx, .opts = opts };
	errcode_t err;

	if (image)
		*image = NULL;
	mk.reproducible = ctx->fixed_time && secure_getenv("SOURCE_DATE_EPOCH");
	mk.address = strdup(address);
	if (!mk.address)
		return dafs_fail(ctx, ENOMEM, "%s", address);
	err = decide(&mk);
	if (!err)
		err = check_fillable(&mk);
	if (!err && !opts->dry_run)
		err = mkfs_probe(&mk);
	if (!err && !opts->dry_run)
		err = check_cache(&mk);
	if (!err)
		err = announce(&mk);
	if (!err && !opts->dry_run)
		err = make(&mk, image);
	fini(&mk, err);
	return err;
}
