/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inspect_htree - the index of a directory as it lies: root, nodes, leaves, entries with their
 * hashes.
 */
#ifndef DAFS_JOB_INSPECT_HTREE_H
#define DAFS_JOB_INSPECT_HTREE_H

#include "image/dirblock.h"
#include "job/inspect.h"

/* A block of the index. Good during the call. */
struct dafs_htree_node {
	unsigned level; /* 0: the root */
	uint32_t lblk;
	const struct dafs_dx_info *info; /* of the root; NULL elsewhere */
	uint16_t count, limit;
	bool has_csum;
	uint32_t csum;
	const struct dafs_dx_entry *entries; /* count of them; the first one has no hash */
};

/* What the walk meets, depth first. Any may be NULL. Non-zero stops the walk and is returned. */
struct dafs_htree_fns {
	errcode_t (*node)(void *arg, const struct dafs_htree_node *node);
	/* Entry i of a node, before what is below it. */
	errcode_t (*entry)(void *arg, const struct dafs_htree_node *node, uint32_t i);
	errcode_t (*leaf)(void *arg, uint32_t lblk, uint64_t pblk);
	/* An entry of a leaf; de->tail: the block's checksum, without hashes. */
	errcode_t (*name)(void *arg, const struct dafs_inspect_dirent *de, uint32_t hash,
			  uint32_t minor);
	errcode_t (*leaf_end)(void *arg);
	errcode_t (*node_end)(void *arg);
};

/* Walk the index of the loaded directory dir. EINVAL: it has none. Damage is worked around and
 * returned at the end, as in inspect.h. */
errcode_t dafs_inspect_htree(struct dafs_image *img, const struct dafs_inspect *dir,
			     const struct dafs_htree_fns *fns, void *arg);

#endif
