/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blob - a pending inode as bytes (doc/FORMAT.md, "inode.blob") and back.
 *
 * Numbers are LEB128, signed ones zigzag; lists store differences, so that a run costs a few bytes. A crc32c ends the blob.
 * Decoding trusts nothing: every length is checked against what is left, every range against the model's own rules.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "ns/dir.h"

#define BLOB_FORMAT 1

enum source_kind { SOURCE_ZEROS, SOURCE_SPOOL };

/* ---- writing ---- */

struct out {
	uint8_t *v;
	size_t n, room;
	bool oom;
};

static void put_bytes(struct out *o, const void *bytes, size_t len)
{
	if (o->n + len > o->room) {
		size_t room = (o->room ? o->room * 2 : 256) + len;
		uint8_t *v = realloc(o->v, room);

		if (!v) {
			o->oom = true;
			return;
		}
		o->v = v;
		o->room = room;
	}
	memcpy(o->v + o->n, bytes, len);
	o->n += len;
}

static void put(struct out *o, uint64_t value)
{
	uint8_t bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
		value >>= 7;
	} while (bytes[n++] & 0x80);
	put_bytes(o, bytes, n);
}

static void put_signed(struct out *o, int64_t value)
{
	put(o, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
}

static void put_time(struct out *o, const struct dafs_time *t)
{
	put_signed(o, t->sec);
	put(o, t->nsec);
}

static void put_attrs(struct out *o, const struct dafs_inode *in)
{
	const uint64_t numbers[] = { in->mode, in->state, in->size, in->ino, in->uid, in->gid, in->nlink, in->generation, in->iflags,
				     in->projid, in->rdev_major, in->rdev_minor, in->parent };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		put(o, numbers[i]);
	put_time(o, &in->atime);
	put_time(o, &in->mtime);
	put_time(o, &in->ctime);
	put_time(o, &in->crtime);
}

static void put_xattrs(struct out *o, const struct dafs_xattr *set)
{
	uint64_t n = 0;

	for (const struct dafs_xattr *x = set; x; x = x->next)
		n++;
	put(o, n);
	for (const struct dafs_xattr *x = set; x; x = x->next) {
		put(o, x->name_len);
		put_bytes(o, x->name, x->name_len);
		put(o, x->value_len);
		put_bytes(o, dafs_xattr_value(x), x->value_len);
	}
}

static void put_ranges(struct out *o, const struct dafs_extlist *xl)
{
	uint32_t at = 0;

	put(o, xl->n);
	for (size_t i = 0; i < xl->n; i++) {
		put(o, xl->v[i].lblk - at);
		put(o, xl->v[i].len);
		at = xl->v[i].lblk + xl->v[i].len;
	}
}

static void put_delayed(struct out *o, const struct dafs_es *es)
{
	struct dafs_es_extent e;
	uint32_t at = 0;

	for (uint32_t from = 0; dafs_es_find(es, DAFS_ES_DELAYED, from, UINT32_MAX, &e); from = at) {
		put(o, e.len);
		put(o, e.lblk - at);
		at = e.lblk + e.len;
	}
	put(o, 0);
}

static errcode_t put_runs(struct dafs_store *st, struct out *o, const struct dafs_pagecache *pages)
{
	struct dafs_page_run run;
	int64_t slot_before = 0;
	uint32_t at = 0;

	for (uint32_t from = 0; dafs_pagecache_find(pages, from, UINT32_MAX, &run); from = at) {
		int64_t slot = (int64_t)(run.src_off_bytes / pages->block_size);

		if (run.src && run.src != &st->spool.source)
			return dafs_fail(st->ctx, DAFS_ET_SEQUENCE, "%s: pending bytes that are not in the spool", st->place);
		put(o, run.len);
		put(o, run.lblk - at);
		put(o, run.state);
		put(o, run.src ? SOURCE_SPOOL : SOURCE_ZEROS);
		if (run.src) {
			put_signed(o, slot - slot_before);
			slot_before = slot + run.len;
		}
		at = run.lblk + run.len;
	}
	put(o, 0);
	return 0;
}

static errcode_t put_file(struct dafs_store *st, struct out *o, const struct dafs_file *file)
{
	uint32_t before = 0;

	put(o, file->reserved_clusters);
	put(o, file->promised_clusters);
	put(o, file->image_end_lblk);
	put(o, file->dirtied_seq);
	put(o, file->npend);
	for (uint32_t i = 0; i < file->npend; i++) {
		put(o, file->pend[i] - before);
		before = file->pend[i];
	}
	put_ranges(o, &file->punched);
	put_ranges(o, &file->falloc);
	put_delayed(o, &file->es);
	return put_runs(st, o, &file->pages);
}

static errcode_t put_part(struct dafs_store *st, struct out *o, const struct dafs_inode *in)
{
	put(o, in->u.any != NULL);
	if (!in->u.any)
		return 0;
	if (S_ISDIR(in->mode)) {
		put(o, in->u.dir->add_bytes);
		put(o, in->u.dir->add_names);
		put(o, in->u.dir->del_names);
	} else if (S_ISLNK(in->mode)) {
		put(o, strlen(in->u.target));
		put_bytes(o, in->u.target, strlen(in->u.target));
	} else if (in->state & DAFS_I_WHOLE) {
		return dafs_fail(st->ctx, DAFS_ET_SEQUENCE, "%s: pending bytes that are not in the spool", st->place);
	} else {
		return put_file(st, o, in->u.file);
	}
	return 0;
}

errcode_t dafs_blob_encode(struct dafs_store *st, const struct dafs_inode *inode, uint8_t **blob, size_t *len)
{
	struct out o = { 0 };
	errcode_t err;
	uint32_t crc;

	put(&o, BLOB_FORMAT);
	put_attrs(&o, inode);
	put_xattrs(&o, inode->xattrs);
	err = put_part(st, &o, inode);
	crc = dafs_crc32c(~0u, o.v, o.n);
	for (int i = 0; i < 4; i++)
		put_bytes(&o, &(uint8_t){ (uint8_t)(crc >> (8 * i)) }, 1);
	if (!err && o.oom)
		err = ENOMEM;
	if (err)
		free(o.v);
	*blob = err ? NULL : o.v;
	*len = err ? 0 : o.n;
	return err;
}

/* ---- reading ---- */

struct in {
	const uint8_t *at, *end;
	bool bad;
};

static uint64_t get(struct in *in)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
		uint8_t byte = *in->at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	in->bad = true;
	return 0;
}

static uint64_t get_max(struct in *in, uint64_t max)
{
	uint64_t value = get(in);

	if (value > max) {
		in->bad = true;
		return 0;
	}
	return value;
}

static int64_t get_signed(struct in *in)
{
	uint64_t value = get(in);

	return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

static const uint8_t *get_bytes(struct in *in, uint64_t len)
{
	const uint8_t *at = in->at;

	if (len > (uint64_t)(in->end - in->at)) {
		in->bad = true;
		return NULL;
	}
	in->at += len;
	return at;
}

static struct dafs_time get_time(struct in *in)
{
	struct dafs_time t;

	t.sec = get_signed(in);
	t.nsec = (uint32_t)get_max(in, 999999999);
	return t;
}

static void get_attrs(struct in *in, struct dafs_inode *inode)
{
	inode->mode = (uint16_t)get_max(in, UINT16_MAX);
	inode->state = (uint16_t)get_max(in, UINT16_MAX);
	inode->size = get(in);
	inode->ino = (uint32_t)get_max(in, UINT32_MAX);
	inode->uid = (uint32_t)get_max(in, UINT32_MAX);
	inode->gid = (uint32_t)get_max(in, UINT32_MAX);
	inode->nlink = (uint32_t)get_max(in, UINT32_MAX);
	inode->generation = (uint32_t)get_max(in, UINT32_MAX);
	inode->iflags = (uint32_t)get_max(in, UINT32_MAX);
	inode->projid = (uint32_t)get_max(in, UINT32_MAX);
	inode->rdev_major = (uint32_t)get_max(in, UINT32_MAX);
	inode->rdev_minor = (uint32_t)get_max(in, UINT32_MAX);
	inode->parent = get(in);
	inode->atime = get_time(in);
	inode->mtime = get_time(in);
	inode->ctime = get_time(in);
	inode->crtime = get_time(in);
}

static errcode_t get_xattrs(struct in *in, struct dafs_inode *inode)
{
	uint64_t n = get(in);
	errcode_t err = 0;

	for (uint64_t i = 0; i < n && !in->bad && !err; i++) {
		uint64_t name_len = get_max(in, UINT16_MAX), value_len;
		const uint8_t *bytes = get_bytes(in, name_len), *value;
		char name[512];

		value_len = get_max(in, UINT32_MAX);
		value = get_bytes(in, value_len);
		if (in->bad || !name_len || name_len >= sizeof(name) || memchr(bytes, 0, name_len)) {
			in->bad = true;
			break;
		}
		memcpy(name, bytes, name_len);
		name[name_len] = '\0';
		err = dafs_xattr_put(&inode->xattrs, name, value, (uint32_t)value_len);
	}
	return err;
}

/* A gap and a length behind at: false (and bad) when the range leaves the file. */
static bool get_range(struct in *in, uint64_t len, uint32_t *at, uint32_t *lblk)
{
	uint64_t gap = get_max(in, UINT32_MAX);

	if (in->bad || !len || *at + gap + len > UINT32_MAX) {
		in->bad = true;
		return false;
	}
	*lblk = (uint32_t)(*at + gap);
	*at = (uint32_t)(*lblk + len);
	return true;
}

static errcode_t get_ranges(struct in *in, struct dafs_extlist *xl)
{
	uint64_t n = get(in);
	uint32_t at = 0;
	errcode_t err = 0;

	for (uint64_t i = 0; i < n && !in->bad && !err; i++) {
		uint64_t gap = get_max(in, UINT32_MAX), len = get_max(in, UINT32_MAX);

		if (in->bad || !len || at + gap + len > UINT32_MAX) {
			in->bad = true;
			break;
		}
		at += (uint32_t)gap;
		err = dafs_extlist_append(xl, at, at, (uint32_t)len, false);
		at += (uint32_t)len;
	}
	return err;
}

static errcode_t get_delayed(struct in *in, struct dafs_es *es)
{
	uint32_t at = 0, lblk;
	errcode_t err = 0;
	uint64_t len;

	while (!err && (len = get_max(in, UINT32_MAX)) && get_range(in, len, &at, &lblk)) {
		struct dafs_es_extent e = { .lblk = lblk, .len = (uint32_t)len, .type = DAFS_ES_DELAYED };

		err = dafs_es_insert(es, &e, NULL);
	}
	return err;
}

static errcode_t get_runs(struct dafs_store *st, struct in *in, struct dafs_pagecache *pages)
{
	int64_t slot = 0;
	uint32_t at = 0, lblk;
	errcode_t err = 0;
	uint64_t len;

	while (!err && (len = get_max(in, UINT32_MAX)) && get_range(in, len, &at, &lblk)) {
		struct dafs_page_run run = { .lblk = lblk, .len = (uint32_t)len };

		run.state = (uint16_t)get_max(in, UINT16_MAX);
		if (get_max(in, SOURCE_SPOOL) == SOURCE_SPOOL) {
			slot += get_signed(in);
			if (slot < 0 || (uint64_t)slot + len > st->spool.end_slot) {
				in->bad = true;
				break;
			}
			run.src = &st->spool.source;
			run.src_off_bytes = (uint64_t)slot * pages->block_size;
			slot += (int64_t)len;
		}
		if (!in->bad)
			err = dafs_pagecache_insert(pages, &run, NULL, NULL);
	}
	return err;
}

static errcode_t get_file(struct dafs_store *st, struct in *in, struct dafs_inode *inode)
{
	struct dafs_file *file;
	uint32_t before = 0;
	errcode_t err = dafs_inode_file(inode, st->img->block_size, st->img->cluster_bits, &file);

	if (err)
		return err;
	file->reserved_clusters = get(in);
	file->promised_clusters = (uint32_t)get_max(in, UINT32_MAX);
	file->image_end_lblk = (uint32_t)get_max(in, UINT32_MAX);
	file->dirtied_seq = get(in);
	file->npend = (uint32_t)get_max(in, (uint64_t)(in->end - in->at));
	if (file->npend && !(file->pend = calloc(file->npend, sizeof(*file->pend)))) {
		file->npend = 0;
		return ENOMEM;
	}
	for (uint32_t i = 0; i < file->npend; i++) {
		before += (uint32_t)get_max(in, UINT32_MAX);
		file->pend[i] = before;
	}
	err = get_ranges(in, &file->punched);
	if (!err)
		err = get_ranges(in, &file->falloc);
	if (!err)
		err = get_delayed(in, &file->es);
	return err ? err : get_runs(st, in, &file->pages);
}

static errcode_t get_part(struct dafs_store *st, struct in *in, struct dafs_inode *inode)
{
	if (!get_max(in, 1))
		return 0;
	if (S_ISDIR(inode->mode)) {
		inode->u.dir = dafs_dir_new();
		if (!inode->u.dir)
			return ENOMEM;
		inode->u.dir->add_bytes = get(in);
		inode->u.dir->add_names = (uint32_t)get_max(in, UINT32_MAX);
		inode->u.dir->del_names = (uint32_t)get_max(in, UINT32_MAX);
		if (inode->state & DAFS_I_NEW)
			inode->u.dir->flags |= DAFS_DIR_COMPLETE;
	} else if (S_ISLNK(inode->mode)) {
		uint64_t len = get(in);
		const uint8_t *bytes = get_bytes(in, len);

		if (!bytes)
			return 0;
		inode->u.target = strndup((const char *)bytes, len);
		return inode->u.target ? 0 : ENOMEM;
	} else if (S_ISREG(inode->mode)) {
		return get_file(st, in, inode);
	} else {
		in->bad = true;
	}
	return 0;
}

errcode_t dafs_blob_decode(struct dafs_store *st, const uint8_t *blob, size_t len, struct dafs_inode *inode)
{
	struct in in = { .at = blob, .end = blob + (len < 4 ? 0 : len - 4) };
	uint32_t crc = 0;
	errcode_t err;

	for (int i = 3; i >= 0 && len >= 4; i--)
		crc = crc << 8 | in.end[i];
	if (len < 4 || crc != dafs_crc32c(~0u, blob, len - 4) || get(&in) != BLOB_FORMAT)
		return dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: inode %" PRIu64, st->place, inode->id);
	get_attrs(&in, inode);
	err = get_xattrs(&in, inode);
	if (!err)
		err = get_part(st, &in, inode);
	if (!err && (in.bad || in.at != in.end))
		err = dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: inode %" PRIu64, st->place, inode->id);
	return err;
}

void dafs_store_free_inode(struct dafs_inode *inode)
{
	dafs_xattr_free(&inode->xattrs);
	if (S_ISDIR(inode->mode))
		dafs_dir_free(inode->u.dir, NULL);
	else if (S_ISREG(inode->mode))
		dafs_file_free(inode->u.file);
	else if (S_ISLNK(inode->mode))
		free(inode->u.target);
}
