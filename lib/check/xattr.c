/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xattr - extended attributes: the area in the inode, attribute blocks and who shares them, values
 * in inodes of their own.
 *
 * An attribute block is judged once, by the first inode that refers to it, and kept in a table;
 * later inodes only count. A damaged block is not entered, so that each inode that refers to it is
 * asked about its own reference.
 *
 * Invariants:
 *  1. a table entry is claimed and its value inodes are counted when the first published inode
 *     refers to it (seen 0 -> 1);
 *  2. nothing of an entry is read before its place in the area was found free and inside.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/xattr_int.h"

struct ea_block {
	uint64_t blk;
	uint32_t stated, seen; /* reference counts */
	uint64_t quota_blks;
	uint32_t quota_inodes;
	uint32_t nrefs;
	uint32_t *refs; /* value inodes */
};

/* An area being judged. */
struct area {
	const uint8_t *base; /* value offsets count from here */
	uint32_t len;
	uint32_t first; /* entries begin here */
	bool in_inode;
	uint64_t taken[65536 / 64]; /* bytes */
};

/* Take [off, off+len): false when it is not inside or not free. */
static bool take(struct area *a, uint64_t off, uint64_t len)
{
	if (!len || off > a->len || len > a->len - off)
		return false;
	for (uint64_t i = off; i < off + len; i++) {
		if (a->taken[i / 64] >> (i % 64) & 1)
			return false;
		a->taken[i / 64] |= UINT64_C(1) << (i % 64);
	}
	return true;
}

static const struct ext2_ext_attr_entry *entry_at(const struct area *a, uint32_t off)
{
	return (const struct ext2_ext_attr_entry *)(a->base + off);
}

static bool is_last(const struct area *a, uint32_t off)
{
	return off + 4 > a->len || *(const uint32_t *)(a->base + off) == 0;
}

/* ---- values in inodes ---- */

#define VALUE_HASH_SHIFT 16

/* Hash of an entry whose value lies in an inode: over the name, then the value's own hash, kept in
 * that inode's atime. */
static uint32_t large_hash(const struct ext2_ext_attr_entry *e,
			   const struct ext2_inode_large *value, bool as_signed)
{
	uint32_t hash = dafs_xattr_hash((const char *)(e + 1), e->e_name_len, NULL, 0, as_signed);

	return hash << VALUE_HASH_SHIFT ^ hash >> (32 - VALUE_HASH_SHIFT) ^ value->i_atime;
}

/* The code of what is wrong with a value's inode; DAFS_CK_CODES: nothing. *blks: what it charges to
 * the owner's quota. */
static unsigned judge_large(struct dafs_ck_worker *w, const struct dafs_ck_inode *in,
			    const struct ext2_ext_attr_entry *e, uint64_t *blks)
{
	struct dafs_ck *ck = w->ck;
	uint32_t ino = e->e_value_inum;
	uint64_t buf[4096 / 8];
	struct ext2_inode_large *value = (struct ext2_inode_large *)buf;
	uint64_t cluster = (uint64_t)ck->g.block_size << ck->g.cbits;
	struct ext2_inode_large *big = NULL;
	unsigned code = DAFS_CK_CODES;

	*blks = 0;
	if (ino < ck->g.first_ino || ino > ck->g.inodes)
		return DAFS_CK_EA_INODE;
	if (ck->g.inode_size > sizeof(buf)) {
		value = big = malloc(ck->g.inode_size);
		if (!big) {
			w->err = ENOMEM;
			return DAFS_CK_CODES;
		}
	}
	if (!dafs_ck_read_inode(w, ino, value)) {
		code = DAFS_CK_EA_INODE;
	} else if (e->e_hash == large_hash(e, value, false) ||
		   e->e_hash == large_hash(e, value, true)) {
		*blks = ((e->e_value_size + cluster - 1) / cluster) << ck->g.cbits;
	} else if (value->i_mtime != in->ino || value->i_generation != in->raw->i_generation) {
		/* (Lustre's old form names its owner in mtime and generation, and has no hash.) */
		code = value->i_flags & EXT4_EA_INODE_FL ? DAFS_CK_EA_HASH : DAFS_CK_EA_INODE;
	}
	if (code == DAFS_CK_CODES && !(value->i_flags & EXT4_EA_INODE_FL)) {
		if (DAFS_CK_FIND(w, EA_INODE_FLAG, .ino = in->ino, .ref = ino)) {
			value->i_flags |= EXT4_EA_INODE_FL;
			w->err = dafs_ck_write_inode(w, ino, value);
			if (!w->err)
				w->err = dafs_ck_ino_change(ck, ino, DAFS_CKI_EA, 0);
		} else {
			code = DAFS_CK_EA_INODE;
		}
	}
	free(big);
	return code;
}

/* ---- one entry ---- */

struct verdict {
	unsigned code; /* DAFS_CK_CODES: sound */
	uint64_t found;
	uint64_t quota_blks;
};

static bool hash_ok(const struct area *a, const struct ext2_ext_attr_entry *e)
{
	const char *name = (const char *)(e + 1);
	const uint8_t *value = a->base + e->e_value_offs;
	/* Over whole words, whatever is in the bytes behind the value. */
	uint32_t len = (e->e_value_size + 3) & ~3u;

	if (e->e_value_offs + len > a->len)
		len = e->e_value_size;
	/* Attributes in inodes had no hash once. */
	if (a->in_inode && !e->e_hash)
		return true;
	return e->e_hash == dafs_xattr_hash(name, e->e_name_len, value, len, false) ||
	       e->e_hash == dafs_xattr_hash(name, e->e_name_len, value, len, true);
}

static struct verdict judge_entry(struct dafs_ck_worker *w, const struct dafs_ck_inode *in,
				  struct area *a, uint32_t off, uint32_t *remain)
{
	const struct ext2_ext_attr_entry *e = entry_at(a, off);
	struct verdict v = { .code = DAFS_CK_CODES };
	uint32_t name_room;

	if (off + sizeof(*e) > a->len || !take(a, off, EXT2_EXT_ATTR_LEN(e->e_name_len))) {
		v.code = DAFS_CK_EA_COLLISION;
		return v;
	}
	if (a->in_inode) {
		name_room = EXT2_EXT_ATTR_SIZE(e->e_name_len);
		*remain -= sizeof(*e);
		if (name_room > *remain)
			return (struct verdict){ DAFS_CK_EA_NAME_LEN, e->e_name_len, 0 };
		*remain -= name_room;
	} else if (!e->e_name_index) {
		v.code = DAFS_CK_EA_NAME;
		return v;
	}
	if (e->e_value_inum) {
		v.code = judge_large(w, in, e, &v.quota_blks);
		v.found = v.code == DAFS_CK_EA_HASH ? e->e_hash : e->e_value_inum;
		return v;
	}
	if (a->in_inode && e->e_value_size > *remain)
		return (struct verdict){ DAFS_CK_EA_VALUE_SIZE, e->e_value_size, 0 };
	if (!a->in_inode && (uint64_t)e->e_value_offs + e->e_value_size > a->len)
		return (struct verdict){ DAFS_CK_EA_VALUE, e->e_value_size, 0 };
	if (e->e_value_size && !take(a, e->e_value_offs, EXT2_EXT_ATTR_SIZE(e->e_value_size)))
		return (struct verdict){ DAFS_CK_EA_COLLISION, 0, 0 };
	if (!hash_ok(a, e))
		return (struct verdict){ DAFS_CK_EA_HASH, e->e_hash, 0 };
	if (a->in_inode)
		*remain -= e->e_value_size;
	return v;
}

/* ---- the area in the inode ---- */

/* Area behind the extra fields, value offsets counting from behind the magic. False: none, or no
 * room for one. */
static bool ibody_area(const struct dafs_ck *ck, const struct ext2_inode_large *raw, struct area *a)
{
	uint32_t most = ck->g.inode_size - EXT2_GOOD_OLD_INODE_SIZE;
	const uint8_t *head;

	if (!most || raw->i_extra_isize >= most - sizeof(uint32_t) || raw->i_extra_isize & 3)
		return false;
	head = (const uint8_t *)raw + EXT2_GOOD_OLD_INODE_SIZE + raw->i_extra_isize;
	if (*(const uint32_t *)head != EXT2_EXT_ATTR_MAGIC)
		return false;
	a->base = head + sizeof(uint32_t);
	a->len = most - raw->i_extra_isize - sizeof(uint32_t);
	a->first = 0;
	a->in_inode = true;
	memset(a->taken, 0, (a->len + 63) / 64 * 8);
	return true;
}

void dafs_ck_xattr_ibody(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct area a;
	uint32_t off = 0, remain;
	struct verdict v = { .code = DAFS_CK_CODES };
	size_t mark = w->ea_refs.n;

	if (!ibody_area(w->ck, in->raw, &a))
		return;
	remain = a.len;
	while (remain >= sizeof(struct ext2_ext_attr_entry) && !is_last(&a, off) &&
	       v.code == DAFS_CK_CODES) {
		const struct ext2_ext_attr_entry *e = entry_at(&a, off);

		v = judge_entry(w, in, &a, off, &remain);
		if (v.code != DAFS_CK_CODES)
			break;
		if (e->e_value_inum) {
			uint32_t *ref = dafs_ck_vec_add(&w->ea_refs, sizeof(*ref));

			if (!ref) {
				w->err = ENOMEM;
				return;
			}
			*ref = e->e_value_inum;
			in->ea_ibody_blks += v.quota_blks;
			in->ea_ibody_inodes++;
		}
		off += EXT2_EXT_ATTR_LEN(e->e_name_len);
	}
	if (v.code == DAFS_CK_CODES && !take(&a, off, 4))
		v.code = DAFS_CK_EA_COLLISION;
	if (v.code == DAFS_CK_CODES ||
	    !dafs_ck_find(w, &(struct dafs_finding){ .code = (uint16_t)v.code,
						     .ino = in->ino,
						     .found = v.found,
						     .ref = (uint32_t)v.found }))
		return;
	/* The list cannot be followed past the damage: all of it goes. */
	*(uint32_t *)(uintptr_t)(a.base - sizeof(uint32_t)) = 0;
	w->ea_refs.n = mark;
	in->ea_ibody_blks = in->ea_ibody_inodes = 0;
	in->dirty = true;
}

const uint8_t *dafs_ck_xattr_find(const struct dafs_ck *ck, const struct ext2_inode_large *raw,
				  unsigned index, const char *name, uint32_t *value_len)
{
	struct area a;
	uint32_t off = 0;
	size_t name_len = strlen(name);

	if (!ibody_area(ck, raw, &a))
		return NULL;
	while (!is_last(&a, off)) {
		const struct ext2_ext_attr_entry *e = entry_at(&a, off);

		if (off + sizeof(*e) > a.len || EXT2_EXT_ATTR_LEN(e->e_name_len) > a.len - off)
			return NULL;
		if (e->e_name_index == index && e->e_name_len == name_len &&
		    !memcmp(e + 1, name, name_len)) {
			*value_len = e->e_value_size;
			if (e->e_value_inum || (uint64_t)e->e_value_offs + e->e_value_size > a.len)
				return NULL;
			return a.base + e->e_value_offs;
		}
		off += EXT2_EXT_ATTR_LEN(e->e_name_len);
	}
	return NULL;
}

void dafs_ck_xattr_drop(const struct dafs_ck *ck, struct ext2_inode_large *raw, unsigned index,
			const char *name)
{
	uint32_t len, off = 0, end = 0, entry_len;
	const uint8_t *value = dafs_ck_xattr_find(ck, raw, index, name, &len);
	struct area a;
	uint8_t *base;

	if (!value || !ibody_area(ck, raw, &a))
		return;
	base = (uint8_t *)(uintptr_t)a.base;
	memset((uint8_t *)(uintptr_t)value, 0, EXT2_EXT_ATTR_SIZE(len));
	while (!is_last(&a, end))
		end += EXT2_EXT_ATTR_LEN(entry_at(&a, end)->e_name_len);
	if (end > a.len)
		return;
	while (entry_at(&a, off)->e_name_index != index ||
	       entry_at(&a, off)->e_name_len != strlen(name) ||
	       memcmp(entry_at(&a, off) + 1, name, strlen(name)))
		off += EXT2_EXT_ATTR_LEN(entry_at(&a, off)->e_name_len);
	entry_len = EXT2_EXT_ATTR_LEN(entry_at(&a, off)->e_name_len);
	memmove(base + off, base + off + entry_len, end - off - entry_len);
	memset(base + end - entry_len, 0, entry_len);
}

void dafs_ck_xattr_rehash(const struct dafs_ck *ck, struct ext2_inode_large *raw)
{
	uint32_t len, off = 0;
	const uint8_t *value = dafs_ck_xattr_find(ck, raw, DAFS_XATTR_SYSTEM, "data", &len);
	struct area a;

	if (!value || !ibody_area(ck, raw, &a))
		return;
	while (a.base + entry_at(&a, off)->e_value_offs != value ||
	       entry_at(&a, off)->e_name_index != DAFS_XATTR_SYSTEM)
		off += EXT2_EXT_ATTR_LEN(entry_at(&a, off)->e_name_len);
	if (entry_at(&a, off)->e_hash)
		((struct ext2_ext_attr_entry *)(uintptr_t)entry_at(&a, off))->e_hash =
			dafs_xattr_hash("data", 4, value, len, false);
}

bool dafs_ck_inline_size(const struct dafs_ck *ck, const struct ext2_inode_large *raw,
			 uint32_t *extra_bytes)
{
	*extra_bytes = 0;
	return dafs_ck_xattr_find(ck, raw, DAFS_XATTR_SYSTEM, "data", extra_bytes) != NULL;
}

/* ---- attribute blocks ---- */

static struct ea_block *ea_info(struct dafs_ck *ck, uint64_t blk)
{
	const uint64_t *index = dafs_ck_map_get(&ck->ea_blocks, blk);

	return index ? (struct ea_block *)ck->ea_infos.v + *index - 1 : NULL;
}

/* Enter a judged block; when another worker was faster, its entry stays. */
static void ea_enter(struct dafs_ck_worker *w, struct ea_block *info)
{
	struct dafs_ck *ck = w->ck;
	struct ea_block *entry;
	uint64_t *index;
	bool made = false;

	pthread_mutex_lock(&ck->ea_lock);
	index = dafs_ck_map_put(&ck->ea_blocks, info->blk, &made);
	entry = index && made ? dafs_ck_vec_add(&ck->ea_infos, sizeof(*entry)) : NULL;
	if (entry) {
		*entry = *info;
		info->refs = NULL;
		*index = ck->ea_infos.n;
	} else if (!index || made) {
		w->err = ENOMEM;
	}
	pthread_mutex_unlock(&ck->ea_lock);
	free(info->refs);
}

static bool ea_known(struct dafs_ck *ck, uint64_t blk, struct ea_block *copy)
{
	struct ea_block *info;

	pthread_mutex_lock(&ck->ea_lock);
	info = ea_info(ck, blk);
	if (info)
		*copy = *info;
	pthread_mutex_unlock(&ck->ea_lock);
	return info != NULL;
}

static bool add_value_ref(struct ea_block *info, uint32_t ino)
{
	uint32_t *refs = realloc(info->refs, (info->nrefs + 1) * sizeof(*refs));

	if (!refs)
		return false;
	info->refs = refs;
	refs[info->nrefs++] = ino;
	return true;
}

/* Report; true: the reference is to be dropped. */
static bool ea_drop(struct dafs_ck_worker *w, const struct dafs_ck_inode *in, uint64_t blk,
		    const struct verdict *v)
{
	return dafs_ck_find(w, &(struct dafs_finding){ .code = (uint16_t)v->code,
						       .ino = in->ino,
						       .blk = blk,
						       .found = v->found,
						       .ref = (uint32_t)v->found });
}

/* Judge the block in w->xblk. False: the reference is to be dropped. */
static bool judge_block(struct dafs_ck_worker *w, struct dafs_ck_inode *in, struct ea_block *info)
{
	const struct dafs_ck *ck = w->ck;
	struct dafs_xattr_block *head = (struct dafs_xattr_block *)w->xblk;
	struct area a = { .base = w->xblk, .len = ck->g.block_size, .first = sizeof(*head) };
	uint32_t off = a.first, unused = 0;
	struct verdict v = { .code = DAFS_CK_CODES };

	if (head->magic != DAFS_XATTR_MAGIC &&
	    DAFS_CK_FIND(w, EA_MAGIC, .ino = in->ino, .blk = info->blk, .found = head->magic))
		return false;
	if (head->blocks != 1 &&
	    DAFS_CK_FIND(w, EA_BLOCKS, .ino = in->ino, .blk = info->blk, .found = head->blocks))
		return false;
	take(&a, 0, sizeof(*head));
	while (off < a.len && !is_last(&a, off) && !w->err) {
		const struct ext2_ext_attr_entry *e = entry_at(&a, off);

		v = judge_entry(w, in, &a, off, &unused);
		if (v.code != DAFS_CK_CODES) {
			if (ea_drop(w, in, info->blk, &v))
				return false;
			break;
		}
		if (e->e_value_inum) {
			if (!add_value_ref(info, e->e_value_inum))
				w->err = ENOMEM;
			info->quota_blks += v.quota_blks;
			info->quota_inodes++;
		}
		off += EXT2_EXT_ATTR_LEN(e->e_name_len);
	}
	if (v.code == DAFS_CK_CODES && !take(&a, off, 4) &&
	    DAFS_CK_FIND(w, EA_COLLISION, .ino = in->ino, .blk = info->blk))
		return false;
	if (ck->g.csum && head->checksum != dafs_xattr_block_csum(&ck->img, info->blk, w->xblk) &&
	    DAFS_CK_FIND(w, EA_CSUM, .ino = in->ino, .blk = info->blk)) {
		head->checksum = dafs_xattr_block_csum(&ck->img, info->blk, w->xblk);
		w->err = dafs_ck_write(w, info->blk, w->xblk);
	}
	info->stated = head->refcount;
	return true;
}

bool dafs_ck_xattr_block(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct dafs_ck *ck = w->ck;
	uint64_t blk = dafs_ck_acl(ck, in->raw);
	struct ea_block info = { .blk = blk, .quota_blks = UINT64_C(1) << ck->g.cbits };

	if (!blk)
		return false;
	if (!ck->g.xattr || !dafs_ck_blk_ok(ck, blk)) {
		in->cki |= DAFS_CKI_BAD;
		return false;
	}
	if (!ea_known(ck, blk, &info)) {
		w->err = dafs_ck_read(w, blk, 1, w->xblk);
		if (w->err)
			return false;
		if (!judge_block(w, in, &info)) {
			free(info.refs);
			in->raw->i_file_acl = 0;
			if (!ck->g.hurd)
				in->raw->osd2.linux2.l_i_file_acl_high = 0;
			in->dirty = true;
			return false;
		}
		if (w->scan && w->put_off) {
			free(info.refs);
			return true;
		}
		in->ea_block_blks = info.quota_blks;
		in->ea_block_inodes = info.quota_inodes;
		ea_enter(w, &info);
	} else {
		in->ea_block_blks = info.quota_blks;
		in->ea_block_inodes = info.quota_inodes;
	}
	in->ea_blk = blk;
	return true;
}

static bool count_value(struct dafs_ck *ck, uint32_t ino)
{
	uint64_t *refs = dafs_ck_map_put(&ck->ea_inodes, ino, NULL);

	if (refs)
		++*refs;
	return refs != NULL;
}

void dafs_ck_xattr_publish(struct dafs_ck_worker *w, const struct dafs_ck_inode *in)
{
	struct dafs_ck *ck = w->ck;
	const uint32_t *refs = w->ea_refs.v;
	struct ea_block *info = NULL;

	if (!in->ea_blk && !w->ea_refs.n)
		return;
	pthread_mutex_lock(&ck->ea_lock);
	if (in->ea_blk)
		info = ea_info(ck, in->ea_blk);
	if (info && info->seen++ == 0) {
		dafs_ck_claim_blk(w, in->ea_blk);
		for (uint32_t i = 0; i < info->nrefs; i++)
			if (!count_value(ck, info->refs[i]))
				w->err = ENOMEM;
	}
	for (size_t i = 0; i < w->ea_refs.n; i++)
		if (!count_value(ck, refs[i]))
			w->err = ENOMEM;
	pthread_mutex_unlock(&ck->ea_lock);
}

static int ea_cmp(const void *a, const void *b)
{
	const struct ea_block *x = a, *y = b;

	return x->blk < y->blk ? -1 : x->blk > y->blk;
}

errcode_t dafs_ck_xattr_finish(struct dafs_ck *ck)
{
	struct ea_block *infos = ck->ea_infos.v;
	struct dafs_ck_worker *w = ck->main;
	errcode_t err = 0;

	/* Workers entered them in any order. The map's indexes are of no use from here on. */
	if (ck->ea_infos.n)
		qsort(infos, ck->ea_infos.n, sizeof(*infos), ea_cmp);
	for (size_t i = 0; i < ck->ea_infos.n && !err; i++) {
		struct dafs_xattr_block *head = (struct dafs_xattr_block *)w->xblk;

		if (!infos[i].seen || infos[i].seen == infos[i].stated)
			continue;
		if (!DAFS_CK_FIND(w, EA_REFS, .blk = infos[i].blk, .found = infos[i].stated,
				  .want = infos[i].seen))
			continue;
		err = dafs_ck_read(w, infos[i].blk, 1, w->xblk);
		if (err)
			break;
		head->refcount = infos[i].seen;
		head->checksum =
			ck->g.csum ? dafs_xattr_block_csum(&ck->img, infos[i].blk, w->xblk) : 0;
		err = dafs_ck_write(w, infos[i].blk, w->xblk);
	}
	dafs_ck_xattr_fini(ck);
	return err;
}

void dafs_ck_xattr_fini(struct dafs_ck *ck)
{
	struct ea_block *infos = ck->ea_infos.v;

	for (size_t i = 0; i < ck->ea_infos.n; i++)
		free(infos[i].refs);
	dafs_ck_vec_fini(&ck->ea_infos);
	dafs_ck_map_fini(&ck->ea_blocks);
}
