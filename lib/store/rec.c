/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rec - see rec.h: numbers, attributes, xattrs, targets, directories. The file part is in
 * rec_file.c.
 */
#include "config.h"

#include "store/rec.h"

#include "store/rec_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "ns/dir.h"

enum { REC_VERSION = 1, SUM_BYTES = 4 };
/* What of an inode's state is kept: what is loaded or how it is held is not. */
#define KEPT_STATE (DAFS_I_DIRTY | DAFS_I_TRUNC0 | DAFS_I_PART)
/* Far above what any image holds (64 KiB blocks, ea_inode values): a bound for what a damaged
 * row may ask for. */
#define MAX_XATTR_BYTES	 (UINT32_C(1) << 24)
#define MAX_TARGET_BYTES 65536u

/* --- numbers --- */

void dafs_rec_buf_fini(struct dafs_rec_buf *buf)
{
	free(buf->v);
	memset(buf, 0, sizeof(*buf));
}

static bool make_room(struct dafs_rec_buf *buf, size_t len)
{
	size_t room = buf->room ? buf->room : 256;
	uint8_t *v;

	if (buf->oom)
		return false;
	if (buf->room - buf->n >= len)
		return true;
	while (room - buf->n < len)
		room *= 2;
	v = realloc(buf->v, room);
	if (!v) {
		buf->oom = true;
		return false;
	}
	buf->v = v;
	buf->room = room;
	return true;
}

void dafs_rec_put_bytes(struct dafs_rec_buf *buf, const void *bytes, size_t len)
{
	if (!len || !make_room(buf, len))
		return;
	memcpy(buf->v + buf->n, bytes, len);
	buf->n += len;
}

void dafs_rec_put(struct dafs_rec_buf *buf, uint64_t value)
{
	uint8_t text[10];
	size_t n = 0;

	while (value > 127) {
		text[n++] = (uint8_t)(value | 128);
		value >>= 7;
	}
	text[n++] = (uint8_t)value;
	dafs_rec_put_bytes(buf, text, n);
}

void dafs_rec_put_signed(struct dafs_rec_buf *buf, int64_t value)
{
	dafs_rec_put(buf, value < 0 ? ~((uint64_t)value << 1) : (uint64_t)value << 1);
}

uint64_t dafs_rec_get(struct reader *r)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (r->bad || r->at == r->end)
			break;
		value |= (uint64_t)(*r->at & 127) << shift;
		if (!(*r->at++ & 128))
			return value;
	}
	r->bad = true;
	return 0;
}

int64_t dafs_rec_get_signed(struct reader *r)
{
	uint64_t folded = dafs_rec_get(r);

	return (int64_t)(folded & 1 ? ~(folded >> 1) : folded >> 1);
}

uint64_t dafs_rec_get_max(struct reader *r, uint64_t max)
{
	uint64_t value = dafs_rec_get(r);

	if (value <= max)
		return value;
	r->bad = true;
	return 0;
}

const uint8_t *dafs_rec_get_bytes(struct reader *r, size_t len)
{
	const uint8_t *bytes = r->at;

	if (r->bad || (size_t)(r->end - r->at) < len) {
		r->bad = true;
		return NULL;
	}
	r->at += len;
	return bytes;
}

static uint32_t sum_of(const void *bytes, size_t len, uint64_t key, uint64_t key2)
{
	uint8_t keys[16];

	for (unsigned i = 0; i < 8; i++) {
		keys[i] = (uint8_t)(key >> 8 * i);
		keys[8 + i] = (uint8_t)(key2 >> 8 * i);
	}
	return dafs_crc32c(dafs_crc32c(~0u, keys, sizeof(keys)), bytes, len);
}

void dafs_rec_put_sum(struct dafs_rec_buf *buf, uint64_t key, uint64_t key2)
{
	uint32_t sum = sum_of(buf->v, buf->n, key, key2);
	uint8_t bytes[SUM_BYTES] = { (uint8_t)sum, (uint8_t)(sum >> 8), (uint8_t)(sum >> 16),
				     (uint8_t)(sum >> 24) };

	dafs_rec_put_bytes(buf, bytes, sizeof(bytes));
}

bool dafs_rec_open(struct reader *r, const uint8_t *rec, size_t len, uint64_t key, uint64_t key2)
{
	uint32_t sum;

	if (len < SUM_BYTES)
		return false;
	*r = (struct reader){ rec, rec + len - SUM_BYTES, false };
	sum = sum_of(rec, len - SUM_BYTES, key, key2);
	rec += len - SUM_BYTES;
	return sum ==
	       (rec[0] | (uint32_t)rec[1] << 8 | (uint32_t)rec[2] << 16 | (uint32_t)rec[3] << 24);
}

uint32_t dafs_rec_name_sum(uint64_t dir, const struct dafs_ns_name *name)
{
	uint32_t sum = sum_of(name->name, name->name_len, dir, name->id);
	uint64_t rest =
		name->image_ino | (uint64_t)name->file_type << 32 | (uint64_t)name->recased << 40;

	return sum_of(&sum, sizeof(sum), rest, 0);
}

/* --- the inode --- */

static void put_time(struct dafs_rec_buf *buf, struct dafs_time t)
{
	dafs_rec_put_signed(buf, dafs_time_sec(t));
	dafs_rec_put(buf, t.nsec);
}

static struct dafs_time get_time(struct reader *r)
{
	int64_t sec = dafs_rec_get_signed(r);

	return dafs_time_at(sec, (uint32_t)dafs_rec_get_max(r, 999999999));
}

static void put_attributes(struct dafs_rec_buf *buf, const struct dafs_inode *inode)
{
	dafs_rec_put(buf, inode->mode);
	dafs_rec_put(buf, inode->state & KEPT_STATE);
	dafs_rec_put(buf, inode->size);
	dafs_rec_put(buf, inode->uid);
	dafs_rec_put(buf, inode->gid);
	dafs_rec_put(buf, inode->nlink);
	dafs_rec_put(buf, inode->generation);
	dafs_rec_put(buf, inode->iflags);
	dafs_rec_put(buf, inode->projid);
	dafs_rec_put(buf, dafs_inode_is_dev(inode) ? inode->rdev_major : 0);
	dafs_rec_put(buf, dafs_inode_is_dev(inode) ? inode->rdev_minor : 0);
	dafs_rec_put(buf, inode->parent);
	put_time(buf, inode->atime);
	put_time(buf, inode->mtime);
	put_time(buf, inode->ctime);
	put_time(buf, inode->crtime);
}

static void get_attributes(struct reader *r, struct dafs_inode *inode)
{
	uint32_t major, minor;

	inode->mode = (uint16_t)dafs_rec_get_max(r, UINT16_MAX);
	inode->state = (uint16_t)dafs_rec_get_max(r, UINT16_MAX);
	inode->size = dafs_rec_get_max(r, INT64_MAX);
	inode->uid = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	inode->gid = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	inode->nlink = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	inode->generation = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	inode->iflags = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	inode->projid = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	major = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	minor = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	if (dafs_inode_is_dev(inode)) {
		inode->rdev_major = major;
		inode->rdev_minor = minor;
	}
	inode->parent = dafs_rec_get(r);
	inode->atime = get_time(r);
	inode->mtime = get_time(r);
	inode->ctime = get_time(r);
	inode->crtime = get_time(r);
}

static void put_xattrs(struct dafs_rec_buf *buf, const struct dafs_inode *inode)
{
	uint64_t n = 0;

	if (!(inode->state & DAFS_I_XATTR))
		return;
	for (const struct dafs_xattr *x = inode->xattrs; x; x = x->next)
		n++;
	dafs_rec_put(buf, n);
	for (const struct dafs_xattr *x = inode->xattrs; x; x = x->next) {
		dafs_rec_put(buf, x->name_len);
		dafs_rec_put_bytes(buf, x->name, x->name_len);
		dafs_rec_put(buf, x->value_len);
		dafs_rec_put_bytes(buf, dafs_xattr_value(x), x->value_len);
	}
}

static errcode_t get_xattrs(struct reader *r, struct dafs_inode *inode)
{
	errcode_t err = 0;
	uint64_t n;

	if (!(inode->state & DAFS_I_XATTR))
		return 0;
	inode->state |= DAFS_I_XLOADED;
	n = dafs_rec_get(r);
	for (uint64_t i = 0; !err && !r->bad && i < n; i++) {
		uint64_t name_len = dafs_rec_get_max(r, UINT16_MAX), value_len;
		const uint8_t *name = dafs_rec_get_bytes(r, name_len), *value;
		char *text;

		value_len = dafs_rec_get_max(r, MAX_XATTR_BYTES);
		value = dafs_rec_get_bytes(r, value_len);
		if (r->bad || memchr(name, '\0', name_len))
			return DAFS_ET_CACHE_DAMAGED;
		text = strndup((const char *)name, name_len);
		if (!text)
			return ENOMEM;
		err = dafs_xattr_put(&inode->xattrs, text, value, (uint32_t)value_len);
		free(text);
	}
	return err;
}

static void put_target(struct dafs_rec_buf *buf, const struct dafs_inode *inode)
{
	size_t len = inode->u.target ? strlen(inode->u.target) : 0;

	dafs_rec_put(buf, len);
	dafs_rec_put_bytes(buf, inode->u.target, len);
}

static errcode_t get_target(struct reader *r, struct dafs_inode *inode)
{
	uint64_t len = dafs_rec_get_max(r, MAX_TARGET_BYTES);
	const uint8_t *text = dafs_rec_get_bytes(r, len);

	if (r->bad || memchr(text, '\0', len) || (!len && (inode->state & DAFS_I_NEW)))
		return DAFS_ET_CACHE_DAMAGED;
	if (!len)
		return 0;
	inode->u.target = strndup((const char *)text, len);
	return inode->u.target ? 0 : ENOMEM;
}

static void put_dir(struct dafs_rec_buf *buf, const struct dafs_inode *inode)
{
	const struct dafs_dir none = { 0 }, *dir = inode->u.dir ? inode->u.dir : &none;

	dafs_rec_put(buf, dir->add_names);
	dafs_rec_put(buf, dir->add_bytes);
	dafs_rec_put(buf, dir->del_names);
}

static errcode_t get_dir(struct reader *r, struct dafs_inode *inode)
{
	inode->u.dir = dafs_dir_new();
	if (!inode->u.dir)
		return ENOMEM;
	inode->u.dir->add_names = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	inode->u.dir->add_bytes = dafs_rec_get_max(r, (uint64_t)UINT32_MAX * 264);
	inode->u.dir->del_names = (uint32_t)dafs_rec_get_max(r, UINT32_MAX);
	return 0;
}

errcode_t dafs_rec_put_inode(struct dafs_rec_buf *buf, const struct dafs_rec_env *env,
			     const struct dafs_inode *inode, bool *segs)
{
	errcode_t err = 0;

	*segs = false;
	buf->n = 0;
	dafs_rec_put(buf, REC_VERSION);
	put_attributes(buf, inode);
	put_xattrs(buf, inode);
	if (S_ISREG(inode->mode))
		err = dafs_rec_put_file(buf, env, inode, segs);
	else if (S_ISDIR(inode->mode))
		put_dir(buf, inode);
	else if (S_ISLNK(inode->mode))
		put_target(buf, inode);
	dafs_rec_put_sum(buf, inode->id, 0);
	return err ? err : buf->oom ? ENOMEM : 0;
}

/* Is this an inode that can be pending under its id? */
static bool plausible(const struct dafs_inode *inode)
{
	bool is_new = inode->id >= DAFS_ID_NEW;

	if ((inode->state & ~KEPT_STATE) || !(inode->state & DAFS_I_DIRTY) ||
	    is_new != !!(inode->state & DAFS_I_NEW))
		return false;
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return !(inode->state & DAFS_I_NAMES);
	case S_IFDIR:
		return !(inode->state & (DAFS_I_DATA | DAFS_I_TRUNC0 | DAFS_I_PART));
	default:
		return false;
	}
}

errcode_t dafs_rec_get_inode(const struct dafs_rec_env *env, const uint8_t *rec, size_t len,
			     struct dafs_inode *inode, bool *segs)
{
	struct reader r;
	errcode_t err = 0;

	*segs = false;
	if (!dafs_rec_open(&r, rec, len, inode->id, 0) || dafs_rec_get(&r) != REC_VERSION)
		return DAFS_ET_CACHE_DAMAGED;
	get_attributes(&r, inode);
	inode->ino = inode->id < DAFS_ID_NEW ? (uint32_t)inode->id : 0;
	if (r.bad || !plausible(inode)) {
		/* Nothing was filled in yet that hangs on the type. */
		inode->mode = 0;
		return DAFS_ET_CACHE_DAMAGED;
	}
	err = get_xattrs(&r, inode);
	if (!err && S_ISREG(inode->mode))
		err = dafs_rec_get_file(&r, env, inode, segs);
	else if (!err && S_ISDIR(inode->mode))
		err = get_dir(&r, inode);
	else if (!err && S_ISLNK(inode->mode))
		err = get_target(&r, inode);
	if (!err && (r.bad || r.at != r.end))
		err = DAFS_ET_CACHE_DAMAGED;
	return err;
}
