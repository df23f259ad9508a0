/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dircodec - directory blocks: entries in, entries out; htree indexes; checksums; inline
 * directories.
 *
 * Building is in two steps, because placement comes between: dafs_dirplan_* works out how many
 * blocks a directory will have (names and hashes suffice), dafs_dirplan_emit produces the blocks
 * when inode numbers and physical blocks are known. An existing directory is edited leaf by
 * leaf: only leaves that an added or removed name falls into are decoded and rewritten; a leaf
 * that overflows becomes two or more, the index is written anew from the flat list of (hash,
 * block).
 */
#ifndef DAFS_IMAGE_DIRCODEC_H
#define DAFS_IMAGE_DIRCODEC_H

#include "image/image.h"
#include "image/etree.h"
#include "model/inode.h"

struct dafs_dirent_view {
	const char *name;
	uint8_t name_len;
	uint8_t file_type;	/* EXT2_FT_* as stored; 0 without the filetype feature */
	uint32_t ino;
	uint32_t lblk;		/* directory block it lies in (0 for inline) */
};

/* Walk all entries of a directory of the image ("." and ".." included), validating every block.
 * fn non-zero stops and is returned. raw: inode_size bytes. Names come as stored (an encrypted
 * directory's as ciphertext) and are good during the call only. DAFS_ET_CORRUPT_DIR,
 * DAFS_ET_CORRUPT_EXTENT, ENOTDIR. */
errcode_t dafs_dircodec_iterate(struct dafs_image *img, uint32_t ino,
				const struct ext2_inode_large *raw,
				errcode_t (*fn)(void *arg, const struct dafs_dirent_view *de),
				void *arg);

/* Find one name (by index where there is one, casefolded where the directory is). ENOENT when
 * absent. out->name is the caller's name, whatever case the directory has. "." and ".." are
 * found too. */
errcode_t dafs_dircodec_lookup(struct dafs_image *img, uint32_t ino,
			       const struct ext2_inode_large *raw, const char *name,
			       uint8_t name_len, struct dafs_dirent_view *out);

/* One name to add; child is asked for its inode number at emit time only. */
struct dafs_dirent_add {
	const char *name;
	uint8_t name_len;
	const struct dafs_inode *child;
};
struct dafs_dirent_del {
	const char *name;
	uint8_t name_len;
};

struct dafs_dirplan;
struct dafs_dirplan_req {
	uint32_t ino;				/* existing directory; 0: a new one */
	const struct ext2_inode_large *raw;	/* of an existing one */
	uint32_t iflags;			/* new: CASEFOLD etc. */
	const struct dafs_dirent_add *add;
	size_t nadd;
	/* Names of the image to remove; a replaced name stands in both lists. */
	const struct dafs_dirent_del *del;
	size_t ndel;
	/* The parent of a new directory, or the new one of a moved directory; NULL: unchanged. */
	const struct dafs_inode *dotdot;
};

/* Work out the new shape. The request's arrays, names and raw must live until the plan is freed.
 * Names must be unique (EEXIST otherwise, casefold-aware); a name to remove that is not there is
 * ENOENT. DAFS_ET_DIR_FULL when the index has no more levels, DAFS_ET_NAME_BAD,
 * DAFS_ET_ENCRYPTED, DAFS_ET_FEATURE (a hash or an encoding that is not known). Reads the image
 * as the transaction has it; between plan and emit nothing else may change this directory.
 * 
 * Shapes: a new directory is inline where the image has inline_data and the names fit into
 * i_block; one block while they fit; then an htree (without dir_index: blocks in the order of
 * the request). An existing one keeps its shape until it outgrows it: inline to blocks, a linear
 * one without room to an htree. Leaves that no name falls into are not read or written. */
errcode_t dafs_dirplan_new(struct dafs_image *img, const struct dafs_dirplan_req *req,
			   struct dafs_dirplan **ret);
void dafs_dirplan_free(struct dafs_dirplan *dp);

/* Does the plan hold together: every addition in one leaf, no block twice? */
bool dafs_dirplan_verify(const struct dafs_dirplan *dp);

/* Blocks the directory will have, and how many of them are new (to be allocated; lblks [old
 * blocks, total)). 0 blocks: inline, it fits into the inode (then the inode's iflags have
 * EXT4_INLINE_DATA_FL, else not: set them before dafs_xcodec_plan). */
uint32_t dafs_dirplan_blks(const struct dafs_dirplan *dp);
uint32_t dafs_dirplan_new_blks(const struct dafs_dirplan *dp);

/* Emit: self is the directory (numbers placed), xl maps all its blocks (old and new; unused when
 * inline). Changed live blocks go through dafs_txn_put, new ones through dafs_txn_put_new. Sets
 * the flags INDEX and INLINE_DATA in raw as the result has them, the inline body where it is
 * inline, and i_size in *size_bytes (the caller's to put into the inode). raw comes from
 * dafs_icodec_encode; an etree_encode may come before or after. Not the inode's checksum. */
errcode_t dafs_dirplan_emit(struct dafs_dirplan *dp, const struct dafs_inode *self,
			    const struct dafs_extlist *xl, struct ext2_inode_large *raw,
			    uint64_t *size_bytes);

#endif
