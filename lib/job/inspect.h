/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inspect - looking at an image as it lies there: inodes, mappings, directories, free space.
 *
 * For people who debug: a damaged inode, tree or directory is shown as far as it can be read, and
 * the first thing found wrong is the function's return value at the end ("go on, then say"); the
 * ones behind it go to the context's notices. Reads the image only; what is pending in a cache is a
 * session's business.
 *
 * Every function is bounded by the size of the image, whatever the disk says: no block is walked
 * twice, no inode is entered twice.
 */
#ifndef DAFS_JOB_INSPECT_H
#define DAFS_JOB_INSPECT_H

#include "image/dircodec.h"
#include "image/etree.h"
#include "image/group.h"
#include "image/icodec.h"
#include "image/inline.h"
#include "image/journal.h"
#include "image/read.h"
#include "image/xcodec.h"

/* One inode: its bytes, its attributes, its mapping. About 4.5 KiB. */
struct dafs_inspect {
	uint32_t ino;
	bool csum_ok;
	bool mapped; /* extents and nodes are valid (both empty for what has no mapping) */
	union dafs_inode_buf buf;
	struct dafs_inode attr; /* as the bytes say, not judged; no data, names or xattrs */
	struct dafs_extlist extents;
	struct dafs_blklist nodes; /* blocks that hold the mapping, leaves first */
};

/* Read inode ino, a free or damaged one too: bytes and attributes, no mapping. A wrong checksum is
 * only noted in csum_ok. Needs no fini. DAFS_ET_RANGE, I/O errors. */
errcode_t dafs_inspect_inode(struct dafs_image *img, uint32_t ino, struct dafs_inspect *in);

/* The same with the mapping. in is to be finished with dafs_inspect_fini, on failure too. On
 * DAFS_ET_CORRUPT_EXTENT everything but the mapping is there (mapped is false). */
errcode_t dafs_inspect_load(struct dafs_image *img, uint32_t ino, struct dafs_inspect *in);
void dafs_inspect_fini(struct dafs_inspect *in);

/* DAFS_ET_CORRUPT_INODE, with a detail, when in's checksum is wrong; else 0. */
errcode_t dafs_inspect_judge(struct dafs_image *img, const struct dafs_inspect *in);

/* Call fn for every used inode, in number order, each loaded with its mapping (mapped false: the
 * mapping is damaged). Used is what the inode bitmap says; where that cannot be read, and with
 * all_tables for the whole image, whatever has links. fn non-zero stops and is returned; else the
 * first damage. */
typedef errcode_t (*dafs_inspect_inode_fn)(void *arg, const struct dafs_inspect *in);
errcode_t dafs_inspect_each(struct dafs_image *img, bool all_tables, dafs_inspect_inode_fn fn,
			    void *arg);

/* ---- names ---- */

/* One directory entry as it lies in its block. name is not terminated. */
struct dafs_inspect_dirent {
	const char *name;
	uint8_t name_len;
	uint8_t file_type; /* EXT2_FT_*; 0 without the filetype feature */
	bool deleted;	   /* in the slack of another entry, or without a number but with a name */
	bool tail;	   /* the checksum at a block's end; csum is valid, the rest is not */
	uint32_t ino;
	uint32_t rec_len;
	uint32_t lblk; /* 0 for inline directories */
	uint32_t off_bytes;
	uint64_t pblk;
	uint32_t csum;
};

enum dafs_inspect_dir_flags {
	DAFS_INSPECT_DELETED = 1, /* deleted entries too */
	DAFS_INSPECT_TAILS = 2,	  /* the checksums of blocks too */
	DAFS_INSPECT_EMPTY = 4,	  /* entries without an inode number too */
};

/* Call fn for every entry of the loaded directory dir, "." and ".." included, in the order they lie
 * in. A damaged block ends at the damage, the next one goes on. Returns what fn returned when that
 * is not 0, else the first damage (DAFS_ET_CORRUPT_DIR names inode and block). ENOTDIR. */
typedef errcode_t (*dafs_inspect_dirent_fn)(void *arg, const struct dafs_inspect_dirent *de);
errcode_t dafs_inspect_dir(struct dafs_image *img, const struct dafs_inspect *dir, unsigned flags,
			   dafs_inspect_dirent_fn fn, void *arg);

/* The entries of one directory block (inline part) of len bytes. at gives inode, lblk, pblk and
 * off_bytes of the first entry for the caller's sake. Checks everything against len. */
errcode_t dafs_inspect_dirblock(struct dafs_image *img, const struct dafs_inspect *dir,
				const struct dafs_inspect_dirent *at, const uint8_t *block,
				uint32_t len, unsigned flags, dafs_inspect_dirent_fn fn, void *arg);

/* The inode that path names: absolute, or relative to directory cwd; "<N>" is inode N, at the
 * beginning of a path. Symlinks in the middle are followed, at the end only with follow (at most
 * 40: DAFS_ET_LOOP). ENOENT, ENOTDIR, DAFS_ET_RANGE ("<N>" out of range) name the path. */
errcode_t dafs_inspect_resolve(struct dafs_image *img, uint32_t cwd, const char *path, bool follow,
			       uint32_t *ino);

/* The path of directory dir, by its ".." and its name in the parent; "" for the root. Where that
 * does not lead to the root the path begins with "<N>", the directory it does not go on from.
 * malloc'ed; ENOMEM is the only error. */
errcode_t dafs_inspect_dir_path(struct dafs_image *img, uint32_t dir, char **path);

/* One name of an inode that was asked for. */
struct dafs_inspect_name {
	uint32_t ino, dir;
	uint8_t file_type;
	char *name; /* NUL-terminated */
};
struct dafs_inspect_names {
	struct dafs_inspect_name *v;
	size_t n, room;
};

/* Find the names of the inodes that wanted selects ("." and ".." left out), in the order of their
 * directories' numbers. Walks all directories once. all_tables as in dafs_inspect_each. Damage is
 * the return value; what was found is there all the same. names: zeroed; to be finished. */
errcode_t dafs_inspect_names_find(struct dafs_image *img, bool all_tables,
				  bool (*wanted)(void *arg, uint32_t ino), void *arg,
				  struct dafs_inspect_names *names);
void dafs_inspect_names_fini(struct dafs_inspect_names *names);

/* ---- mappings ---- */

/* One thing that a walk over a mapping meets. */
enum dafs_map_kind {
	DAFS_MAP_NODE,	 /* a tree block or indirect block; what lies below follows */
	DAFS_MAP_EXTENT, /* data */
};
struct dafs_map_item {
	enum dafs_map_kind kind;
	bool unwritten;
	unsigned level; /* of the node the item stands in: 0 is the inode */
	unsigned depth; /* of the whole tree; block maps: of the node named (1: IND .. 3: TIND) */
	uint32_t index; /* of the item in its node, from 1; 0 in block maps */
	uint32_t entries;
	uint64_t lblk;
	uint64_t len; /* a node's is up to the next one's lblk, or the end of its parent's */
	uint64_t pblk;
};
typedef errcode_t (*dafs_map_fn)(void *arg, const struct dafs_map_item *item);

/* Walk the mapping of in as it lies there, depth first, each node before what is below it; in needs
 * not to be mapped. Physically contiguous blocks of block maps come as one item. Damage ends the
 * walk of the node it is in. Returns as dafs_inspect_dir does: DAFS_ET_CORRUPT_EXTENT. */
errcode_t dafs_inspect_map(struct dafs_image *img, const struct dafs_inspect *in, dafs_map_fn fn,
			   void *arg);

#endif
