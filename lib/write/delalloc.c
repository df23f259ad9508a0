/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * delalloc - see delalloc.h: writes, adoption of host files, forgetting. Ranges (truncate, punch,
 * fallocate) are in darange.c, reading in damap.c, what it all costs in dareserve.c, doing and
 * undoing in daop.c.
 */
#include "config.h"

#include "write/delalloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "write/daop.h"
#include "write/datrace.h"
#include "write/direct.h"
#include "write/qlimit.h"

enum {
	VERIFIED_PIECES = 1024,
	PIECE_BYTES = 4 << 20,	/* what is kept in one go from memory or a regular file */
	STREAM_BYTES = 1 << 20, /* and from a pipe */
};

errcode_t dafs_delalloc_supported(const struct dafs_image *img)
{
	const char *name = NULL;

	if (!img->has_extents)
		name = "no extent feature";
	else if (ext2fs_has_feature_shared_blocks(img->fs->super))
		name = "shared_blocks";
	if (!name)
		return 0;
	return dafs_fail(img->ctx, DAFS_ET_FEATURE, "%s: %s (writing)", img->dev->address, name);
}

/* Clusters of a file without holes. */
static uint64_t whole_clusters(const struct dafs_image *img, uint64_t size)
{
	uint64_t cluster_bytes = (uint64_t)img->block_size << img->cluster_bits;

	return (size + cluster_bytes - 1) / cluster_bytes;
}

errcode_t dafs_delalloc_file(struct dafs_write *w, struct dafs_inode *inode, struct dafs_file **ret)
{
	bool whole = inode->state & DAFS_I_WHOLE;
	bool fresh = whole || !inode->u.file;
	errcode_t err = dafs_inode_file(inode, w->img->block_size, w->img->cluster_bits, ret);

	if (err || !fresh)
		return err;
	if (inode->state & (DAFS_I_NEW | DAFS_I_TRUNC0))
		(*ret)->image_end_lblk = 0;
	if (whole) {
		(*ret)->promised_clusters =
			dafs_delalloc_meta_bound(w->img, (*ret)->reserved_clusters, 0);
		if (!(*ret)->dirtied_seq)
			(*ret)->dirtied_seq = ++w->next_seq;
	}
	return 0;
}

/* Would a file that ends at end fit the format? */
static errcode_t check_end(struct dafs_write *w, uint64_t off, uint64_t len)
{
	uint64_t most = (uint64_t)DAFS_LBLK_END << w->img->block_bits;

	if (len > most || off > most - len)
		return dafs_fail(w->img->ctx, DAFS_ET_FILE_TOO_BIG,
				 "%llu bytes at %llu, at most %llu", (unsigned long long)len,
				 (unsigned long long)off, (unsigned long long)most);
	return 0;
}

/* Put [off, off+len) from buf in: a block covered in part is completed first. */
static errcode_t put_bytes(struct dafs_daop *op, uint64_t off, const uint8_t *buf, size_t len)
{
	const uint32_t bs = op->w->img->block_size;
	errcode_t err = 0;

	while (len && !err) {
		uint32_t lblk = (uint32_t)(off >> op->w->img->block_bits);
		uint32_t in_blk = (uint32_t)(off & (bs - 1));
		bool part = in_blk || len < bs;
		size_t n = len < PIECE_BYTES ? len & ~(size_t)(bs - 1) : PIECE_BYTES;

		if (part)
			n = bs - in_blk < len ? bs - in_blk : len;
		else if (op->w->low_switch)
			n = bs;
		dafs_direct_decide(op->w);
		dafs_datrace_write(op->w, op->inode, false, off, n);
		if (part)
			err = dafs_daop_patch(op, lblk, in_blk, in_blk + (uint32_t)n, buf);
		else
			err = dafs_daop_put(op, lblk, (uint32_t)(n >> op->w->img->block_bits), buf);
		if (!err)
			dafs_datrace_write(op->w, op->inode, true, off, n);
		off += n;
		buf += n;
		len -= n;
		if (!err && off > op->inode->size)
			op->inode->size = off;
	}
	return err;
}

/* What a write that begins at off needs first: nothing old may show between the end of file and it.
 */
static errcode_t begin_write(struct dafs_daop *op, struct dafs_write *w, struct dafs_inode *inode,
			     uint64_t off)
{
	errcode_t err = dafs_daop_begin(op, w, inode);

	if (!err && off > inode->size)
		err = dafs_daop_zero_tail(op);
	return err;
}

errcode_t dafs_delalloc_write(struct dafs_write *w, struct dafs_inode *inode, uint64_t off,
			      const void *buf, size_t len)
{
	struct dafs_daop op = { 0 };
	errcode_t err = check_end(w, off, len);

	if (err || !len)
		return err;
	err = begin_write(&op, w, inode, off);
	if (!err)
		err = put_bytes(&op, off, buf, len);
	err = dafs_daop_end(&op, err);
	assert(err || dafs_delalloc_verify_op(w, inode));
	return err;
}

/* Fill buf as far as fd goes. */
static errcode_t read_full(struct dafs_ctx *ctx, int fd, int64_t fd_off, uint8_t *buf, size_t len,
			   size_t *got)
{
	*got = 0;
	while (*got < len) {
		ssize_t n = fd_off < 0 ? read(fd, buf + *got, len - *got)
				       : pread(fd, buf + *got, len - *got, fd_off + (off_t)*got);
		errcode_t err = dafs_cancelled(ctx);

		if (err)
			return err;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (!n)
			break;
		*got += (size_t)n;
	}
	return 0;
}

/* Bytes that come one after the other: pieces end at block borders, so that only the ends are
 * patched. */
static errcode_t put_stream(struct dafs_daop *op, uint64_t off, int fd, int64_t fd_off,
			    uint64_t len)
{
	const uint32_t bs = op->w->img->block_size;
	uint8_t *buf = malloc(STREAM_BYTES);
	errcode_t err = buf ? 0 : ENOMEM;
	size_t got = 1;

	while (len && got && !err) {
		size_t want = STREAM_BYTES - (size_t)(off & (bs - 1));

		if (want > len)
			want = (size_t)len;
		err = read_full(op->w->img->ctx, fd, fd_off, buf, want, &got);
		if (!err)
			err = check_end(op->w, off, got);
		if (!err)
			err = put_bytes(op, off, buf, got);
		off += got;
		len -= got;
		if (fd_off >= 0)
			fd_off += (int64_t)got;
	}
	free(buf);
	return err;
}

/* Whole blocks of a regular file go to the stash by descriptor: it may share them. Ends where the
 * rest is for put_stream. */
static errcode_t put_shared(struct dafs_daop *op, uint64_t *off, int fd, int64_t *fd_off,
			    uint64_t *len)
{
	const uint32_t bs = op->w->img->block_size;
	const uint64_t most = UINT64_C(1) << 30;
	struct stat st;
	errcode_t err = 0;

	if (!op->w->stash->put_fd || op->w->low_switch || (*off & (bs - 1)) || fstat(fd, &st) ||
	    !S_ISREG(st.st_mode))
		return 0;
	if (*fd_off < 0)
		*fd_off = lseek(fd, 0, SEEK_CUR);
	if (*fd_off < 0 || *fd_off >= st.st_size)
		return 0;
	if (*len > (uint64_t)(st.st_size - *fd_off))
		*len = (uint64_t)(st.st_size - *fd_off);
	err = check_end(op->w, *off, *len);
	while (*len && !err) {
		uint64_t n = *len < most ? *len : most;

		/* The padding of a last block may only cover what nothing is behind. */
		if (n & (bs - 1) && *off + n < op->inode->size)
			n &= ~(uint64_t)(bs - 1);
		if (!n)
			break;
		dafs_direct_decide(op->w);
		dafs_datrace_write(op->w, op->inode, false, *off, n);
		err = dafs_daop_put_fd(op, (uint32_t)(*off >> op->w->img->block_bits), fd,
				       (uint64_t)*fd_off, n);
		if (!err)
			dafs_datrace_write(op->w, op->inode, true, *off, n);
		*off += n;
		*fd_off += (int64_t)n;
		*len -= n;
		if (!err && *off > op->inode->size)
			op->inode->size = *off;
		if (!err)
			err = dafs_cancelled(op->w->img->ctx);
	}
	return err;
}

errcode_t dafs_delalloc_write_fd(struct dafs_write *w, struct dafs_inode *inode, uint64_t off,
				 int fd, int64_t fd_off, uint64_t len)
{
	struct dafs_daop op = { 0 };
	uint64_t at = off;
	errcode_t err = check_end(w, off, 0);

	if (err || !len)
		return err;
	err = begin_write(&op, w, inode, off);
	if (!err)
		err = put_shared(&op, &at, fd, &fd_off, &len);
	if (!err)
		err = put_stream(&op, at, fd, fd_off, len);
	err = dafs_daop_end(&op, err);
	assert(err || dafs_delalloc_verify_op(w, inode));
	return err;
}

/* One range of an adopted source becomes delayed blocks that point at it. */
static errcode_t adopt_range(struct dafs_write *w, struct dafs_inode *inode,
			     struct dafs_source *src, uint32_t lblk, uint32_t end, uint64_t *need)
{
	struct dafs_page_run run = { .lblk = lblk,
				     .len = end - lblk,
				     .src = src,
				     .src_off_bytes = (uint64_t)lblk << w->img->block_bits,
				     .state = DAFS_PG_UPTODATE | DAFS_PG_DIRTY | DAFS_PG_MAPPED |
					      DAFS_PG_NEW | DAFS_PG_DELAY };
	uint64_t more;
	errcode_t err = dafs_dareserve_delay(w, inode, lblk, end, &more);

	if (err)
		return err;
	*need += more;
	return dafs_pagecache_insert(&inode->u.file->pages, &run, NULL, NULL);
}

static void trace_adopted(struct dafs_write *w, const struct dafs_inode *inode, uint64_t need)
{
	const struct dafs_es *es = &inode->u.file->es;
	struct dafs_es_extent ext;

	dafs_datrace_reserve(w, inode, need, inode->u.file->reserved_clusters);
	for (uint32_t at = 0; w->img->ctx->trace && at < DAFS_LBLK_END; at = ext.lblk + ext.len) {
		if (!dafs_es_find(es, DAFS_ES_DELAYED, at, DAFS_LBLK_END, &ext))
			break;
		dafs_datrace_delayed(w, inode, ext.lblk, ext.lblk + ext.len);
	}
}

/* With holes, or over a file of the image: ranges in a file part. The file is empty, so going back
 * is forgetting. */
static errcode_t adopt_ranges(struct dafs_write *w, struct dafs_inode *inode,
			      struct dafs_source *src, uint64_t size,
			      const struct dafs_extlist *data)
{
	uint32_t blks = (uint32_t)((size + w->img->block_size - 1) >> w->img->block_bits);
	struct dafs_daop op = { 0 };
	int64_t change;
	uint64_t need = 0;
	errcode_t err = dafs_daop_begin(&op, w, inode);

	for (size_t i = 0; !err && data && i < data->n; i++) {
		uint32_t end = data->v[i].lblk + data->v[i].len;

		if (data->v[i].lblk < blks)
			err = adopt_range(w, inode, src, data->v[i].lblk, end < blks ? end : blks,
					  &need);
	}
	if (!err && !data && blks)
		err = adopt_range(w, inode, src, 0, blks, &need);
	if (!err)
		err = dafs_dareserve_settle(w, inode, (int64_t)need);
	if (!err) {
		inode->size = size;
		trace_adopted(w, inode, need);
	} else if (op.file) {
		dafs_pagecache_remove(&op.file->pages, 0, DAFS_LBLK_END, NULL, NULL);
		dafs_dareserve_unmap(w, inode, 0, DAFS_LBLK_END, &change);
	}
	return dafs_daop_end(&op, err);
}

errcode_t dafs_delalloc_adopt(struct dafs_write *w, struct dafs_inode *inode,
			      struct dafs_source *src, uint64_t size,
			      const struct dafs_extlist *data)
{
	uint64_t clusters = whole_clusters(w->img, size);
	errcode_t err = check_end(w, size, 0);

	if (err)
		return err;
	assert(!(inode->state & DAFS_I_WHOLE) && !inode->size);
	if (data || !size || inode->u.file || !(inode->state & DAFS_I_NEW))
		return adopt_ranges(w, inode, src, size, data);
	err = dafs_qlimit_reserve(w, inode, (int64_t)clusters);
	if (err)
		return err;
	inode->u.whole = src;
	inode->size = size;
	inode->state |= DAFS_I_WHOLE | DAFS_I_DATA;
	err = dafs_delalloc_take(w, clusters, dafs_delalloc_meta_bound(w->img, clusters, 0));
	if (err) {
		dafs_qlimit_shift(w, inode, -(int64_t)clusters);
		inode->u.whole = NULL;
		inode->size = 0;
		inode->state &= (uint16_t) ~(DAFS_I_WHOLE | DAFS_I_DATA);
		return err;
	}
	dafs_datrace_reserve(w, inode, clusters, clusters);
	dafs_datrace_delayed(w, inode, 0,
			     (uint32_t)((size + w->img->block_size - 1) >> w->img->block_bits));
	return 0;
}

uint64_t dafs_delalloc_held_clusters(const struct dafs_image *img, const struct dafs_inode *inode)
{
	if (inode->state & DAFS_I_WHOLE)
		return whole_clusters(img, inode->size);
	return inode->u.file ? inode->u.file->reserved_clusters : 0;
}

void dafs_delalloc_settled(struct dafs_write *w, struct dafs_inode *inode)
{
	struct dafs_file *file = inode->u.file;
	uint64_t clusters = dafs_delalloc_held_clusters(w->img, inode);
	struct dafs_page_run run;

	if (inode->state & DAFS_I_WHOLE) {
		dafs_delalloc_release(w, clusters, dafs_delalloc_meta_bound(w->img, clusters, 0));
	} else if (file) {
		dafs_direct_settled(w, file);
		dafs_delalloc_release(w, clusters, file->promised_clusters);
		for (uint32_t at = 0; dafs_pagecache_find(&file->pages, at, DAFS_LBLK_END, &run);
		     at = run.lblk + run.len)
			w->stash->drop(w->stash_arg, &run);
		dafs_file_free(file);
	}
	inode->u.file = NULL;
	inode->state &= (uint16_t) ~(DAFS_I_WHOLE | DAFS_I_DATA);
}

void dafs_delalloc_forget(struct dafs_write *w, struct dafs_inode *inode)
{
	uint64_t clusters = dafs_delalloc_held_clusters(w->img, inode), placed;

	DAFS_TRACE(w->img->ctx, "ext4_evict_inode", inode->id, "nlink 0");
	if (clusters)
		DAFS_TRACE(w->img->ctx, "ext4_es_remove_extent", inode->id, "es [0/%u)",
			   DAFS_LBLK_END);
	dafs_datrace_release(w, inode, clusters, clusters);
	if (!(inode->state & DAFS_I_WHOLE) && inode->u.file)
		dafs_direct_drop(w, inode->u.file, 0, DAFS_LBLK_END, &placed);
	dafs_delalloc_settled(w, inode);
}

bool dafs_delalloc_verify(struct dafs_write *w, const struct dafs_inode *inode)
{
	const struct dafs_file *file = inode->u.file;

	if ((inode->state & DAFS_I_WHOLE) || !file)
		return true;
	return dafs_es_verify(&file->es) && dafs_pagecache_verify(&file->pages) &&
	       dafs_reserve_verify(w->reserve) &&
	       dafs_dareserve_count(w->img, file, 0, DAFS_LBLK_END) +
			       dafs_extlist_blocks(&file->placed) ==
		       file->reserved_clusters;
}

bool dafs_delalloc_verify_op(struct dafs_write *w, const struct dafs_inode *inode)
{
	const struct dafs_file *file = inode->u.file;

	if (!(inode->state & DAFS_I_WHOLE) && file &&
	    (uint64_t)file->es.map.n + file->pages.map.n > VERIFIED_PIECES)
		return dafs_reserve_verify(w->reserve);
	return dafs_delalloc_verify(w, inode);
}
