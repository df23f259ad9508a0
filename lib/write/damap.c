/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * damap - what the blocks of a file are, and reading them: the es tree first, then the image's
 * mapping (then remembered, with the hole around it), pending bytes over the image's.
 *
 * Declared in delalloc.h. Does not change what is pending: entries that it adds to the es tree are
 * a cache of the image.
 */
#include "config.h"

#include "write/daop.h"

#include <stdlib.h>
#include <string.h>

#include "image/icodec.h"
#include "image/inline.h"
#include "image/read.h"
#include "write/datrace.h"

/* Does the image's mapping count for this inode at all? */
static bool image_counts(const struct dafs_inode *inode)
{
	if (inode->state & (DAFS_I_NEW | DAFS_I_TRUNC0))
		return false;
	return !(inode->iflags & EXT4_INLINE_DATA_FL);
}

/* What the image has at lblk, what was punched or cut off since taken as hole; the entry holds
 * lblk. */
static errcode_t from_image(struct dafs_write *w, const struct dafs_inode *inode, uint32_t lblk,
			    struct dafs_es_extent *out)
{
	const struct dafs_file *file = inode->u.file;
	const struct dafs_extlist *punched = &file->punched;
	union dafs_inode_buf buf;
	struct dafs_extent ext;
	uint64_t start, end;
	bool hole;
	errcode_t err;
	size_t at;

	if (!image_counts(inode) || lblk >= file->image_end_lblk) {
		start = image_counts(inode) ? file->image_end_lblk : 0;
		*out = (struct dafs_es_extent){ .lblk = (uint32_t)start,
						.len = DAFS_LBLK_END - (uint32_t)start,
						.type = DAFS_ES_HOLE };
		return 0;
	}
	at = dafs_extlist_search(punched, lblk);
	if (at < punched->n && punched->v[at].lblk <= lblk) {
		*out = (struct dafs_es_extent){ .lblk = punched->v[at].lblk,
						.len = punched->v[at].len,
						.type = DAFS_ES_HOLE };
		return 0;
	}
	err = dafs_icodec_read(w->img, inode->ino, &buf.raw, sizeof(buf));
	if (!err)
		err = dafs_etree_lookup(w->img, inode->ino, &buf.raw, lblk, &ext, &hole);
	if (err)
		return err;
	start = ext.lblk;
	end = (uint64_t)ext.lblk + ext.len;
	if (end > file->image_end_lblk)
		end = file->image_end_lblk;
	if (at < punched->n && end > punched->v[at].lblk)
		end = punched->v[at].lblk;
	if (at > 0 && start < (uint64_t)punched->v[at - 1].lblk + punched->v[at - 1].len)
		start = (uint64_t)punched->v[at - 1].lblk + punched->v[at - 1].len;
	out->lblk = (uint32_t)start;
	out->len = (uint32_t)(end - start);
	out->type = hole ? DAFS_ES_HOLE : ext.unwritten ? DAFS_ES_UNWRITTEN : DAFS_ES_WRITTEN;
	out->pblk = hole ? 0 : ext.pblk + (start - ext.lblk);
	return 0;
}

errcode_t dafs_delalloc_map(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			    struct dafs_es_extent *out)
{
	struct dafs_es_extent known;
	struct dafs_file *file;
	uint32_t end;
	errcode_t err;

	memset(out, 0, sizeof(*out));
	if (lblk >= DAFS_LBLK_END)
		return DAFS_ET_RANGE;
	err = dafs_delalloc_file(w, inode, &file);
	if (err)
		return err;
	if (dafs_es_lookup(&file->es, lblk, out)) {
		dafs_datrace_lookup(w, inode, lblk, out);
		return 0;
	}
	dafs_datrace_lookup(w, inode, lblk, NULL);
	dafs_datrace_map(w, inode, lblk, NULL);
	err = from_image(w, inode, lblk, out);
	if (err)
		return err;
	dafs_datrace_map(w, inode, lblk, out);
	/* Only what is unknown may be filled in: entries on both sides stay. The left side is
	 * looked at only as a whole, so that a file written backwards costs one look per write. */
	end = out->lblk + out->len;
	if (out->lblk < lblk && dafs_es_find(&file->es, DAFS_ES_ANY, out->lblk, lblk, &known)) {
		if (out->type & (DAFS_ES_WRITTEN | DAFS_ES_UNWRITTEN))
			out->pblk += lblk - out->lblk;
		out->lblk = lblk;
	}
	if (dafs_es_find(&file->es, DAFS_ES_ANY, lblk, end, &known))
		end = known.lblk;
	out->len = end - out->lblk;
	err = dafs_es_insert(&file->es, out, NULL);
	if (!err)
		dafs_datrace_insert(w, inode, out);
	return err;
}

/* Bytes [off, off+len) of a run that the page cache holds. */
static errcode_t read_run(struct dafs_write *w, const struct dafs_page_run *run, void *buf,
			  size_t len, uint64_t off)
{
	uint64_t in_run = off - ((uint64_t)run->lblk << w->img->block_bits);

	if (!run->src) {
		memset(buf, 0, len);
		return 0;
	}
	return run->src->ops->read(run->src, w->img->ctx, buf, len, run->src_off_bytes + in_run);
}

/* Bytes inside mapped blocks of the image, any alignment. */
static errcode_t read_mapped(struct dafs_image *img, uint64_t pblk, uint32_t in_blk, uint8_t *buf,
			     size_t len)
{
	size_t head = in_blk ? img->block_size - in_blk : 0;
	uint8_t *block = NULL;
	errcode_t err = 0;

	if (head > len)
		head = len;
	if (head || len & (img->block_size - 1)) {
		block = malloc(img->block_size);
		if (!block)
			return ENOMEM;
	}
	if (head) {
		err = dafs_image_read_blks(img, pblk, 1, block);
		if (!err)
			memcpy(buf, block + in_blk, head);
		buf += head;
		len -= head;
		pblk++;
	}
	if (!err && len >= img->block_size) {
		uint64_t whole = len >> img->block_bits;

		err = dafs_image_read_blks(img, pblk, whole, buf);
		buf += whole << img->block_bits;
		len -= whole << img->block_bits;
		pblk += whole;
	}
	if (!err && len) {
		err = dafs_image_read_blks(img, pblk, 1, block);
		if (!err)
			memcpy(buf, block, len);
	}
	free(block);
	return err;
}

/* One stretch from off on that comes from one place; *got bytes of it. */
static errcode_t read_stretch(struct dafs_write *w, struct dafs_inode *inode, uint8_t *buf,
			      size_t len, uint64_t off, size_t *got)
{
	const unsigned bits = w->img->block_bits;
	uint32_t lblk = (uint32_t)(off >> bits);
	struct dafs_es_extent ext;
	struct dafs_page_run run;
	uint64_t end;
	errcode_t err;

	err = dafs_delalloc_map(w, inode, lblk, &ext);
	if (err)
		return err;
	end = (uint64_t)ext.lblk + ext.len;
	if (dafs_pagecache_find(&inode->u.file->pages, lblk, (uint32_t)end, &run)) {
		if (run.lblk > lblk)
			end = run.lblk;
		else
			end = (uint64_t)run.lblk + run.len;
	} else {
		run.lblk = DAFS_LBLK_END;
	}
	end <<= bits;
	*got = end - off < len ? (size_t)(end - off) : len;
	if (run.lblk <= lblk)
		return read_run(w, &run, buf, *got, off);
	if (ext.type == DAFS_ES_WRITTEN)
		return read_mapped(w->img, ext.pblk + (lblk - ext.lblk),
				   (uint32_t)(off & (w->img->block_size - 1)), buf, *got);
	memset(buf, 0, *got);
	return 0;
}

errcode_t dafs_daop_read_blk(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			     void *block)
{
	size_t got;

	return read_stretch(w, inode, block, w->img->block_size,
			    (uint64_t)lblk << w->img->block_bits, &got);
}

static errcode_t read_inline(struct dafs_write *w, const struct dafs_inode *inode, void *buf,
			     size_t len, uint64_t off)
{
	union dafs_inode_buf raw;
	size_t got = 0;
	errcode_t err = dafs_icodec_read(w->img, inode->ino, &raw.raw, sizeof(raw));

	if (err)
		return err;
	err = dafs_read_file(w->img, inode->ino, &raw.raw, NULL, buf, len, off, &got);
	if (!err && got < len)
		memset((uint8_t *)buf + got, 0, len - got);
	return err;
}

errcode_t dafs_delalloc_read(struct dafs_write *w, struct dafs_inode *inode, void *buf, size_t len,
			     uint64_t off, size_t *got)
{
	uint8_t *to = buf;
	errcode_t err = 0;

	*got = 0;
	if (off >= inode->size)
		return 0;
	if (len > inode->size - off)
		len = (size_t)(inode->size - off);
	if (inode->state & DAFS_I_WHOLE) {
		err = inode->u.whole->ops->read(inode->u.whole, w->img->ctx, buf, len, off);
		*got = err ? 0 : len;
		return err;
	}
	if (dafs_inline_stays(inode)) {
		err = read_inline(w, inode, buf, len, off);
		*got = err ? 0 : len;
		return err;
	}
	while (len && !err) {
		size_t n = 0;

		err = read_stretch(w, inode, to, len, off, &n);
		if (err)
			break;
		to += n;
		off += n;
		len -= n;
		*got += n;
	}
	return err;
}
