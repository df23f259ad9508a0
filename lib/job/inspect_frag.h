/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inspect_frag - layout: where a file's pieces lie as the kernel's FIEMAP reports them, free runs,
 * and a summary of the whole image.
 */
#ifndef DAFS_JOB_INSPECT_FRAG_H
#define DAFS_JOB_INSPECT_FRAG_H

#include "job/inspect.h"

/* One piece as FIEMAP has it, in bytes. */
struct dafs_piece {
	uint64_t logical_bytes, physical_bytes, len_bytes;
	uint32_t flags; /* FIEMAP_EXTENT_* but LAST */
};
struct dafs_pieces {
	struct dafs_piece *v;
	size_t n, room;
};
void dafs_pieces_fini(struct dafs_pieces *pieces);

/* The pieces of in that a freshly mounted kernel reports: the first look-up into a leaf gives the
 * extent as it is, later ones come from the extent status tree, where neighbours are merged; block
 * maps are cut at the ends of indirect blocks. merged: as after the file was read once, all
 * neighbours merged. Into an empty list, to be finished on failure too. */
errcode_t dafs_inspect_pieces(struct dafs_image *img, const struct dafs_inspect *in, bool merged,
			      struct dafs_pieces *pieces);

/* filefrag's rule: does piece i follow the one before it (where there is a hole between them: right
 * behind it, or as far behind as the hole is long)? *expected_bytes: where it would have to
 * begin. */
bool dafs_inspect_follows(const struct dafs_pieces *pieces, size_t i, uint64_t *expected_bytes);

/* filefrag's count of fragments. */
uint64_t dafs_inspect_fragments(const struct dafs_pieces *pieces);

/* f_blocks of statfs(2) on a mount: all blocks less the static metadata and the journal. */
uint64_t dafs_inspect_statfs_blks(struct dafs_image *img);

/* Every free run of the image in order, in blocks; runs end at group ends unless joined. */
errcode_t dafs_inspect_free_runs(struct dafs_image *img, bool joined,
				 errcode_t (*fn)(void *arg, uint64_t pblk, uint64_t len),
				 void *arg);

/* The free clusters of one group, as the kernel's buddy sees them. */
struct dafs_group_free {
	uint32_t clusters, free, fragments;
	uint32_t first;	  /* first free cluster; clusters when there is none */
	uint32_t largest; /* length of the longest free run */
	unsigned norders; /* log2 of the block size, plus two */
	uint32_t orders[32]; /* free chunks of each order */
};
errcode_t dafs_inspect_group_free(struct dafs_image *img, uint32_t grp,
				  struct dafs_group_free *out);

/* Fragmentation of the whole image. Regular files other than the reserved inodes; block counts in
 * blocks. */
struct dafs_frag_summary {
	uint64_t files;	     /* with blocks */
	uint64_t fragmented; /* of those, in more than one fragment */
	uint64_t extents, fragments, blks;
	uint64_t dirs, dir_fragments, dir_blks; /* directories with blocks */
	uint64_t tree_blks;			/* extent tree and indirect blocks of all inodes */
	/* neighbours in name order within a directory, both with blocks; of those, the adjacent */
	uint64_t pairs, adjacent;
	uint64_t free_runs, free_blks, largest_free_blks;
	uint64_t damaged; /* inodes whose mapping or names cannot be read */
	uint64_t worst_fragments;
	uint32_t worst_ino; /* 0: no file is fragmented */
};
errcode_t dafs_inspect_summary(struct dafs_image *img, struct dafs_frag_summary *sum);

#endif
