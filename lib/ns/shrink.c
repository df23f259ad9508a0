/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shrink - a file of which blocks in more groups are freed than the journal holds bitmaps: they go
 * from its end, a piece a transaction, until the rest fits into one.
 *
 * The file is LOSING for the length of such a flush: in the change set it is one that was cut off
 * or punched, with the names and links that the image has. Whatever is pending of it, its removal
 * among that, waits.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>

#include "image/icodec.h"
#include "image/txn.h"
#include "write/part.h"

static struct dafs_part_freed freed_of(const struct dafs_inode *inode)
{
	struct dafs_part_freed what = { .end_lblk = DAFS_RANGE_END };

	if (!S_ISREG(inode->mode) || (inode->state & DAFS_I_NEW))
		return what;
	if (inode->state & (DAFS_I_GONE | DAFS_I_TRUNC0)) {
		what.end_lblk = 0;
	} else if (!(inode->state & DAFS_I_WHOLE) && inode->u.file) {
		what.end_lblk = inode->u.file->image_end_lblk;
		what.punched = &inode->u.file->punched;
	}
	return what;
}

errcode_t dafs_ns_shrink_choose(struct dafs_ns *ns, struct dafs_inode *inode,
				struct dafs_ns_shrink *shrink)
{
	struct dafs_part_freed what = freed_of(inode);
	uint32_t cut;
	errcode_t err;

	shrink->inode = NULL;
	if (what.end_lblk == DAFS_RANGE_END && (!what.punched || !what.punched->n))
		return 0;
	/* A bitmap a group, and as much again for descriptors and whatever else. */
	err = dafs_part_shrink(ns->img, inode->ino, &what, dafs_txn_capacity_blks(ns->img) / 2,
			       &cut);
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
	struct dafs_part_freed what = freed_of(inode);
	struct dafs_file *file;
	uint64_t most;
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
	if (!err)
		err = dafs_part_piece(&what, shrink->cut_lblk, file);
	if (err) {
		dafs_ns_shrink_end(shrink);
		return err;
	}
	most = file->image_end_lblk == DAFS_RANGE_END
		       ? UINT64_MAX
		       : (uint64_t)file->image_end_lblk << ns->img->block_bits;
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
