/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_int - what the files of mkfs share: the file system that is being made.
 *
 *	mkfs.c		the order of things, existing data and the device
 *	mkfs_types.c	types, features and block size out of options and mke2fs.conf
 *	mkfs_geom.c	numbers: inodes, reserved blocks, group sizes, what goes together
 *	mkfs_ext.c	-E and -J
 *	mkfs_probe.c	what is on the device already
 *	mkfs_super.c	superblock in memory: identity, policies, the journal's size
 *	mkfs_build.c	tables and the first inodes
 *	mkfs_quota.c	quota files
 */
#ifndef DAFS_JOB_MKFS_INT_H
#define DAFS_JOB_MKFS_INT_H

#include <ext2fs/ext2fs.h>
#include <sys/stat.h>

#include "image/dev.h"
#include "job/mkfs.h"
#include "job/mkfs_conf.h"

#define MKFS_MAX_TYPES 16

/* Settings of -E, -J and of mke2fs.conf that have no place in a superblock. */
struct mkfs_settings {
	bool lazy_itable, lazy_journal, discard, prezeroed, packed_meta;
	bool journal_v1;
	uint64_t journal_goal_blk; /* ~0: libext2fs' choice */
	uint32_t journal_size_mb;  /* 0: by size of the file system */
	uint32_t fast_commit_kb;   /* 0: by size of the journal */
	uint64_t orphan_file_blks; /* 0: by size of the file system */
	unsigned quota_types;	   /* 1 << USRQUOTA ...; 0: user and group */
	uint32_t backups;	   /* sparse_super2: 0 to 2 */
	bool has_root_owner, has_root_perms, no_xattrs;
	uint32_t root_uid, root_gid;
	uint16_t root_perms;
	bool has_offset;
	const char *encoding_flags; /* of -E, applied once the encoding is known */
	const char *resize;	    /* of -E, applied once desc_size is known */
};

enum { MKFS_QUOTA_USER = 1, MKFS_QUOTA_GROUP = 2, MKFS_QUOTA_PROJECT = 4 };

/* One thing that libblkid found, and where its signature is. */
struct mkfs_signature {
	uint64_t off;
	uint32_t len_bytes;
};

struct mkfs {
	struct dafs_ctx *ctx;
	const struct dafs_mkfs_opts *opts;
	char *address;	   /* with -E offset= in it */
	char *path;	   /* of the file or device, without what the address says more */
	bool reproducible; /* SOURCE_DATE_EPOCH is set: the same input gives the same bytes */

	struct dafs_mkfs_conf *conf;
	struct dafs_mkfs_types types;
	const char *type_names[MKFS_MAX_TYPES + 1];
	char *type_text[2]; /* storage of the names: -t, -T */
	char *type_list;    /* "ext4,small" */
	char *options_text; /* storage that settings point into */

	struct dafs_dev *dev; /* NULL in a dry run on a file that does not exist */
	bool file_made;
	bool locked; /* nobody else has the file: it may be taken away again */
	uint64_t room_bytes; /* file or device, before anything was done to it */
	uint32_t sector_bytes, phys_sector_bytes; /* 0: not a device */
	struct mkfs_signature signatures[16];
	unsigned nsignatures;

	uint64_t fs_bytes; /* asked for, or the room */
	uint32_t block_size;
	struct ext2_super_block param; /* what ext2fs_initialize gets */
	struct mkfs_settings set;

	ext2_filsys fs;
	struct ext2fs_journal_params journal;
	bool cache_left;    /* pending work of an old file system lies beside the file */
	bool started;	    /* something was written */
	bool reads_zero;    /* the whole room does, at the moment */
	bool itable_zeroed; /* group flags say that inode tables are zero */
	uint64_t overhead_clusters;
};

/* Types (-t, -T, size), features and mount options, block size: needs conf and fs_bytes; sets
 * types, param's features, block_size. */
errcode_t mkfs_choose_types(struct mkfs *mk);
errcode_t mkfs_choose_features(struct mkfs *mk);
errcode_t mkfs_choose_block_size(struct mkfs *mk);

/* -E, of mke2fs.conf (the types' "options") and of the command line; -J. Needs the block size. */
errcode_t mkfs_parse_extended(struct mkfs *mk);
errcode_t mkfs_parse_journal(struct mkfs *mk);
/* The offset= of -E alone: it decides what is opened. */
errcode_t mkfs_parse_offset(struct mkfs *mk);

/* The rest of param: counts, ratios, and every rule on what goes together. DAFS_ET_USAGE says
 * which. */
errcode_t mkfs_choose_geometry(struct mkfs *mk);

/* Look for file systems, partition tables and other members with libblkid. DAFS_ET_EXISTS_DATA
 * names the first; with force the places of all signatures are kept for mkfs_wipe. */
errcode_t mkfs_probe(struct mkfs *mk);
/* Stride and stripe of a block device into param, where the device tells. */
errcode_t mkfs_probe_topology(struct mkfs *mk);

/* fs in memory: ext2fs_initialize over the device (or over nothing in a dry run), UUID, seeds,
 * times, labels, journal size. */
errcode_t mkfs_make_super(struct mkfs *mk);
/* Fill info from fs; *backups gets the array that info points to, features its names. Both are
 * the caller's to free. */
errcode_t mkfs_tell(const struct mkfs *mk, struct dafs_mkfs_info *info);
void mkfs_tell_fini(struct dafs_mkfs_info *info);

/* Remove the file that a run made, which is known by made (fstat or stat while it was locked). Who
 * put another file in its place meanwhile keeps it. */
void mkfs_unlink(const char *path, const struct stat *made);

/* Everything between the superblock in memory and the flush. */
errcode_t mkfs_build(struct mkfs *mk);
/* Quota files, in which the files made so far count. */
errcode_t mkfs_build_quota(struct mkfs *mk);

#endif
