/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs - make an ext4 file system with the geometry that mke2fs 1.47 gives for the same options.
 *
 * Numbers come from the options, then from mke2fs.conf's types, then from built-in defaults;
 * libext2fs lays out groups, tables and the journal. Nothing is written before everything has
 * been decided and announced, and the superblock is written last:
 *
 *	decide (options, configuration, size)   -> struct dafs_mkfs_info
 *	look for existing data                  -> DAFS_ET_EXISTS_DATA unless forced
 *	announce(info)
 *	old superblock away, discard
 *	tables, root, lost+found, resize inode, journal, mmp, orphan file, quota files
 *	[the caller fills the image, which ends with dafs_image_finish_create]
 *	bitmaps, descriptors, backup superblocks; sync; primary superblock; sync
 *
 * Invariants:
 *  1. a run that ends early, by error or by kill, leaves nothing at the place of the primary
 *     superblock that mounts;
 *  2. a regular file that the run made is removed again when it fails;
 *  3. a dry run opens for reading only, and makes no file.
 */
#ifndef DAFS_JOB_MKFS_H
#define DAFS_JOB_MKFS_H

#include "base/ctx.h"

struct dafs_image;

/* One file system that is being decided on: what dafs_mkfs_info tells. Texts live until the
 * callback returns. */
struct dafs_mkfs_info {
	const char *path; /* of the file or device */
	uint64_t blks;
	uint32_t block_size;
	uint32_t cluster_size; /* = block_size without bigalloc */
	uint32_t inodes;
	uint32_t inode_size;
	uint32_t groups;
	uint32_t blks_per_group;
	uint32_t inodes_per_group;
	uint32_t first_data_blk;
	uint32_t flex_groups; /* 0: no flex_bg */
	uint64_t reserved_blks;
	uint32_t stride_blks, stripe_blks;
	uint32_t journal_blks;	  /* the fast-commit area included; 0: no journal */
	uint64_t max_resize_blks; /* 0: not set */
	uint32_t root_uid, root_gid;
	char uuid[37];
	char label[17];
	const char *os;
	const char *types;	     /* types looked up in mke2fs.conf, separated by commas */
	const char *features;	     /* names, separated by commas */
	const uint64_t *backup_blks; /* where the backup superblocks are */
	uint32_t nbackups;
	bool file_made;			     /* path is a regular file that this run makes */
	bool has_root_owner, has_root_perms; /* -E gives them */
	uint16_t root_perms;
	bool no_xattrs; /* -E no_copy_xattrs */
};

/* What to make. Zero everywhere: an ext4 file system as mke2fs -t ext4 makes it, as large as the
 * device or file. Texts as on mke2fs's command line; NULL: not given. */
struct dafs_mkfs_opts {
	uint64_t fs_bytes;	    /* 0: the room there is */
	uint64_t type_bytes;	    /* the size that stands for a usage type; 0: fs_bytes */
	uint32_t block_size;	    /* -b; 0: by type */
	bool block_size_least;	    /* block_size is a lower bound (-b -SIZE) */
	uint32_t cluster_size;	    /* -C, bytes */
	uint32_t blks_per_group;    /* -g; clusters with bigalloc */
	uint32_t flex_groups;	    /* -G */
	uint32_t inode_ratio_bytes; /* -i */
	uint32_t inode_size;	    /* -I */
	uint64_t inodes;	    /* -N */
	bool has_reserved;	    /* reserved_percent is given */
	double reserved_percent;    /* -m */
	bool has_revision;
	uint32_t revision;	     /* -r: 0 or 1 */
	bool journal;		     /* -j */
	const char *journal_options; /* -J */
	const char *fs_type;	     /* -t; NULL: ext4 */
	const char *usage_types;     /* -T */
	const char *features;	     /* -O */
	const char *extended;	     /* -E */
	const char *label;	     /* -L */
	const char *last_mounted;    /* -M */
	const char *uuid;	     /* -U: a UUID, clear, random or time */
	const char *creator_os;	     /* -o */
	const char *errors;	     /* -e: continue, remount-ro or panic */
	bool force;		     /* -F: existing data and odd values are accepted */
	bool dry_run;		     /* -n: announce, then end */
	bool fill;		     /* the image is to be handed over (see dafs_mkfs_run) */
	/* Called once, when all is decided and before the first write. */
	void (*announce)(void *arg, const struct dafs_mkfs_info *info);
	void *announce_arg;
};

/* Make a file system at address. With opts->fill it is handed over in memory (image; else NULL),
 * root and lost+found made, for the caller to fill: nothing on the device mounts until
 * dafs_image_finish_create, and a file that the run made (info.file_made) is then the caller's to
 * remove when it fails. *image is NULL on failure and after a dry run.
 *
 * Errors: DAFS_ET_USAGE (options that do not go together, with the reason), DAFS_ET_RANGE,
 * DAFS_ET_SYNTAX (mke2fs.conf), DAFS_ET_FEATURE (by name), DAFS_ET_EXISTS_DATA (by name),
 * DAFS_ET_MOUNTED, libext2fs', errno. */
errcode_t dafs_mkfs_run(struct dafs_ctx *ctx, const char *address,
			const struct dafs_mkfs_opts *opts, struct dafs_image **image);

#endif
