/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inode - one inode as dafs holds it in memory: pending ones, and those of the image that somebody
 * looked at.
 *
 * It belongs to the name space (ns), which makes and frees it; the write path works on its file
 * part, the commit encodes it. A million of these are held at once during an import: every byte
 * counts, and a file that is just "all of that host file" has no struct dafs_file at all.
 *
 * An inode's data, by state:
 *   S_ISREG, DAFS_I_WHOLE   u.whole: the bytes [0, size) of one source, no holes
 *   S_ISREG otherwise       u.file, or NULL: nothing known or pending beyond the image
 *   S_ISDIR                 u.dir, or NULL: not looked into yet (ns/dir.h)
 *   S_ISLNK                 u.target, NUL-terminated, or NULL: as in the image
 *   S_ISCHR/S_ISBLK         rdev_major, rdev_minor, in the place of u
 */
#ifndef DAFS_MODEL_INODE_H
#define DAFS_MODEL_INODE_H

#include <sys/stat.h>

#include "model/es.h"
#include "model/extlist.h"
#include "model/pagecache.h"

/* ids: an inode of the image is its number; a pending one is DAFS_ID_NEW + serial until the flush
 * places it. */
#define DAFS_ID_NEW  (UINT64_C(1) << 32)
#define DAFS_ID_ROOT UINT64_C(2)

enum dafs_inode_state {
	DAFS_I_NEW = 1,	      /* not in the image */
	DAFS_I_ATTR = 2,      /* attributes differ from the image */
	DAFS_I_DATA = 4,      /* file data or size differ */
	DAFS_I_NAMES = 8,     /* directory entries differ */
	DAFS_I_XATTR = 16,    /* xattrs differ; .xattrs is the whole new set */
	DAFS_I_GONE = 32,     /* last name removed: an image inode to be freed at the flush */
	DAFS_I_WHOLE = 64,    /* u.whole holds */
	DAFS_I_XLOADED = 128, /* .xattrs is valid (an image inode's were read) */
	DAFS_I_TRUNC0 = 256,  /* an image file whose old blocks all go (truncated to 0 once) */
	DAFS_I_PART =
		512, /* an image file that a flush wrote in part: what is pending goes on from there */
};
#define DAFS_I_DIRTY                                                                               \
	(DAFS_I_NEW | DAFS_I_ATTR | DAFS_I_DATA | DAFS_I_NAMES | DAFS_I_XATTR | DAFS_I_GONE)

/* A point in time that ext4 can hold, in the eight bytes that it takes there too: seconds from the
 * end of 1901 to 2446 (DAFS_TIME_MIN to _MAX), modulo 2^34, so that zeros are the epoch. By
 * dafs_time_at and dafs_time_sec only. */
struct dafs_time {
	uint64_t wrapped_sec : 34;
	uint64_t nsec : 30;
};
#define DAFS_TIME_MIN (-(INT64_C(1) << 31))
#define DAFS_TIME_MAX ((INT64_C(1) << 34) - (INT64_C(1) << 31) - 1)

/* A time outside of that becomes the nearest end, in whole seconds. nsec < 10^9. */
static inline struct dafs_time dafs_time_at(int64_t sec, uint32_t nsec)
{
	struct dafs_time t;
	bool out = sec < DAFS_TIME_MIN || sec > DAFS_TIME_MAX;

	if (out)
		sec = sec < 0 ? DAFS_TIME_MIN : DAFS_TIME_MAX;
	t.wrapped_sec = (uint64_t)sec & ((UINT64_C(1) << 34) - 1);
	t.nsec = out ? 0 : nsec & ((1u << 30) - 1);
	return t;
}

static inline int64_t dafs_time_sec(struct dafs_time t)
{
	int64_t sec = (int64_t)t.wrapped_sec;

	return sec > DAFS_TIME_MAX ? sec - (INT64_C(1) << 34) : sec;
}

/* One extended attribute, its name with prefix ("user.a"), value not terminated. A set is a singly
 * linked list sorted by nothing. */
struct dafs_xattr {
	struct dafs_xattr *next;
	uint32_t value_len;
	uint16_t name_len;
	char name[]; /* name_len bytes, NUL, then value_len value bytes: dafs_xattr_value() */
};

static inline const uint8_t *dafs_xattr_value(const struct dafs_xattr *x)
{
	return (const uint8_t *)x->name + x->name_len + 1;
}

/* Data of a regular file with pending work, or whose mapping was looked at. */
struct dafs_file {
	struct dafs_es es;
	struct dafs_pagecache pages;
	/* == delayed clusters in es that have a reserve (bigalloc: less the pending ones) */
	uint64_t reserved_clusters;
	uint32_t promised_clusters; /* metadata promised for this file in struct dafs_reserve */
	/* blocks of the image's mapping at and past this one are to be dropped (truncate);
	 * 0xFFFFFFFF: none */
	uint32_t image_end_lblk;
	uint64_t dirtied_seq; /* order of first dirtying; 0: clean */
	uint32_t *pend;	      /* bigalloc: sorted logical clusters with a pending reservation */
	uint32_t npend;
	/* logical ranges (pblk == lblk, so that neighbours merge): of the image's mapping to unmap
	 * at the flush; to allocate as unwritten at the flush */
	struct dafs_extlist punched;
	struct dafs_extlist falloc;
	struct dafs_extlist placed; /* direct path: ranges whose blocks are chosen already */
	/* Blocks [going_lblk, going_end) that the operation under way drops once it is accepted:
	 * unmapped already, so that it can be planned, but their bytes are still there. */
	uint32_t going_lblk, going_end;
};

struct dafs_dir; /* ns/dir.h */

struct dafs_inode {
	uint64_t id;
	uint64_t size;
	uint32_t ino;	/* in the image; 0 until the flush places it */
	uint16_t mode;	/* type and permissions */
	uint16_t state; /* dafs_inode_state bits */
	uint32_t uid, gid;
	uint32_t nlink;
	uint32_t generation;
	uint32_t iflags; /* EXT4_*_FL as on disk */
	uint32_t projid;
	uint32_t marks; /* ns: its own bits (ns/ns_int.h) */
	struct dafs_time atime, mtime, ctime, crtime;
	struct dafs_xattr *xattrs;
	uint64_t parent; /* a directory's parent; a file's directory at creation (for placement) */
	union {
		union {
			struct dafs_file *file;
			struct dafs_source *whole;
			struct dafs_dir *dir;
			char *target;
			void *any;
		} u;
		struct {
			uint32_t rdev_major, rdev_minor; /* of devices only */
		};
	};
};

static inline bool dafs_inode_is_dev(const struct dafs_inode *inode)
{
	return S_ISCHR(inode->mode) || S_ISBLK(inode->mode);
}

/* The file part of a regular file, made when absent: an empty one, or u.whole turned into it
 * (DAFS_I_WHOLE goes; one DELAYED entry, one page run over the source, reserved_clusters as
 * adopting took them; promised_clusters and dirtied_seq are the caller's to set). ENOMEM,
 * DAFS_ET_FILE_TOO_BIG (a whole source of more than 0xFFFFFFFF blocks) leave the inode as it was
 * and *ret NULL. */
errcode_t dafs_inode_file(struct dafs_inode *inode, uint32_t block_size, unsigned cluster_bits,
			  struct dafs_file **ret);

/* Free the file part's memory (not the reserve, not the sources). NULL is fine. */
void dafs_file_free(struct dafs_file *file);

/* Set, replace or (value NULL) remove one attribute in the set; the order of first setting is kept.
 * ENOMEM, DAFS_ET_XATTR_NAME (name longer than 65535) leave the set as it was; removing an absent
 * one: ENODATA. */
errcode_t dafs_xattr_put(struct dafs_xattr **set, const char *name, const void *value,
			 uint32_t value_len);

/* The attribute of that name, or NULL. Good until it is put again or the set is freed. */
const struct dafs_xattr *dafs_xattr_get(const struct dafs_xattr *set, const char *name);

/* Free the whole set; *set becomes NULL. */
void dafs_xattr_free(struct dafs_xattr **set);

#endif
