/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shrink - a file whose blocks lie in more groups than the journal holds bitmaps: what is to be freed of it goes from its end, a
 * piece a transaction, until the rest fits into one.
 *
 * The file is LOSING for the length of such a flush: in the change set it is one that was cut off, with the names and links that
 * the image has. Whatever is pending of it, its removal among that, waits.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>

#include "image/icodec.h"
#include "image/txn.h"
#include "write/part.h"

/* Blocks of the image from which on the flush frees all; DAFS_RANGE_END: it is not a file that is cut off. */
static uint32_t frees_from(const struct dafs_inode *inode)
{
	if (!S_ISREG(inode->mode) || (inode->state & DAFS_I_NEW))
		return DAFS_RANGE_END;
	if (inode->state & (DAFS_I_GONE | DAFS_I_TRUNC0))
		return 0;
	if ((inode->state & DAFS_I_WHOLE) || !inode->u.file)
		return DAFS_RANGE_END;
	return inode->u.file->image_end_lblk;
}

errcode_t dafs_ns_shrink_choose(struct dafs_ns *ns, struct dafs_inode *inode,
				struct dafs_ns_shrink *shrink)
{
	uint32_t from = frees_from(inode), cut;
	errcode_t err;

	shrink->inode = NULL;
	if (from == DAFS_RANGE_END)
		return 0;
	/* A bitmap a group, and as much again for descriptors and whatever else. */
	err = dafs_part_shrink(ns->img, inode->ino, from, dafs_txn_capacity_blks(ns->img) / 2, &cut);
	if (err || cut == DAFS_RANGE_END)
		return err;
	inode->marks |= DAFS_NS_QUEUED | DAFS_NS_LOSING;
	shrink->inode = inode;
	shrink->cut_lblk = cut;
	return 0;
}

errcode_t dafs_ns_shrink_begin(struct dafs_ns *ns, struct dafs_inode *inode,
			       struct dafs_ns_shrink *shrink)
{
	uint64_t most = (uint64_t)shrink->cut_lblk << ns->img->block_bits;
	struct dafs_file *file;
	union dafs_inode_buf buf;
	errcode_t err;

	shrink->inode = inode;
	shrink->any = inode->u.any;
	shrink->size = inode->size;
	shrink->nlink = inode->nlink;
	shrink->state = inode->state;
	inode->u.any = NULL;
	inode->state = (uint16_t)(DAFS_I_ATTR | DAFS_I_DATA | (inode->state & DAFS_I_XLOADED));
	err = dafs_icodec_read(ns->img, inode->ino, &buf.raw, sizeof(buf));
	if (!err)
		err = dafs_inode_file(inode, ns->img->block_size, ns->img->cluster_bits, &file);
	if (err) {
		dafs_ns_shrink_end(shrink);
		return err;
	}
	file->image_end_lblk = shrink->cut_lblk;
	inode->size = EXT2_I_SIZE(&buf.raw) < most ? EXT2_I_SIZE(&buf.raw) : most;
	inode->nlink = buf.raw.i_links_count;
	return 0;
}

void dafs_ns_shrink_end(struct dafs_ns_shrink *shrink)
{
	struct dafs_inode *inode = shrink->inode;

	dafs_file_free(inode->u.file);
	inode->u.any = shrink->any;
	inode->size = shrink->size;
	inode->nlink = shrink->nlink;
	inode->state = shrink->state;
	inode->marks &= ~(uint32_t)DAFS_NS_LOSING;
}
