/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inspect - what dafsdebug asks of an image: one inode with its mapping, fragmentation, free space, names.
 *
 * Reads only. Works on the image as it is (with the journal replayed in memory); what is pending is asked of a session.
 */
#ifndef DAFS_JOB_INSPECT_H
#define DAFS_JOB_INSPECT_H

#include "image/etree.h"
#include "job/session.h"

/* One inode of the image: its bytes, its attributes, its mapping. */
struct dafs_inspect {
	uint32_t ino;
	union {
		struct ext2_inode_large raw;
		uint8_t bytes[4096];
	};
	struct dafs_inode attr;
	struct dafs_extlist extents;	/* empty for inline data, devices, fast symlinks */
	struct dafs_blklist nodes;	/* tree or indirect blocks */
	bool mapped;			/* the mapping was decoded: a file, directory or long symlink */
};

/* Load inode ino. Errors name the inode; the struct is to be finished with dafs_inspect_fini on failure too. */
errcode_t dafs_inspect_load(struct dafs_image *img, uint32_t ino, struct dafs_inspect *in);
void dafs_inspect_fini(struct dafs_inspect *in);

/* The inode that path (or "<N>") names in the image itself; fs is a session without a cache. ENOENT and so on name the path. */
errcode_t dafs_inspect_resolve(struct dafs *fs, const char *path, bool follow, uint32_t *ino);

/* filefrag's count: pieces that do not follow the one before, holes allowed for. */
uint32_t dafs_inspect_pieces(const struct dafs_extlist *xl);

/* Where an extent would have to begin to follow the one before it; 0 for the first one at block 0. */
uint64_t dafs_inspect_expected(const struct dafs_extlist *xl, size_t i);

/* Every used inode of the image in number order; in is loaded and finished here. Damaged inodes are passed over when
 * tolerant; fn non-zero stops and is returned. */
errcode_t dafs_inspect_each(struct dafs_image *img, bool tolerant, errcode_t (*fn)(void *arg, const struct dafs_inspect *in), void *arg);

/* Every free run of the image in order, in clusters from a group's start. */
errcode_t dafs_inspect_free_runs(struct dafs_image *img, errcode_t (*fn)(void *arg, uint32_t grp, uint32_t start, uint32_t len), void *arg);

/* Fragmentation of the whole image. */
struct dafs_frag_summary {
	uint64_t files, fragmented, extents, pieces, blocks;	/* regular files with blocks */
	uint64_t dirs, dir_pieces, tree_blks;
	uint64_t free_runs, free_blks, largest_free_blks;
	uint64_t pairs, adjacent;	/* same-directory neighbours in name order; of those the physically adjacent */
	uint32_t most_pieces, most_ino;	/* the most fragmented file */
};
errcode_t dafs_inspect_summary(struct dafs *fs, struct dafs_frag_summary *sum);

/* Walk every name of the image from the root: fn gets the directory's path ("" for the root), the name and the inode. */
errcode_t dafs_inspect_names(struct dafs *fs, errcode_t (*fn)(void *arg, const char *dir_path, const char *name, uint32_t ino), void *arg);

#endif
