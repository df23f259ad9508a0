/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dirplan_names - the names of a plan: checked, hashed, sorted, and met in the image's blocks.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/dirplan_int.h"

errcode_t dafs_dirplan_add_item(struct dafs_dirplan *dp, const struct dirplan_item *item)
{
	errcode_t err =
		dafs_array_grow(&dp->items, dp->nitems, &dp->items_room, sizeof(*dp->items));

	if (!err)
		dp->items[dp->nitems++] = *item;
	return err;
}

errcode_t dafs_dirplan_add_leaf(struct dafs_dirplan *dp, const struct dirplan_leaf *leaf)
{
	errcode_t err =
		dafs_array_grow(&dp->leaves, dp->nleaves, &dp->leaves_room, sizeof(*dp->leaves));

	if (!err)
		dp->leaves[dp->nleaves++] = *leaf;
	return err;
}

errcode_t dafs_dirplan_keep(struct dafs_dirplan *dp, size_t len, uint8_t **buf)
{
	errcode_t err = dafs_array_grow(&dp->bufs, dp->nbufs, &dp->bufs_room, sizeof(*dp->bufs));

	*buf = err ? NULL : malloc(len ? len : 1);
	if (!*buf)
		return ENOMEM;
	dp->bufs[dp->nbufs++] = *buf;
	return 0;
}

const char *dafs_dirplan_name(const struct dafs_dirplan *dp, const struct dirplan_item *item,
			      uint8_t *len)
{
	if (item->old) {
		*len = dp->olds[item->idx]->name_len;
		return dp->olds[item->idx]->name;
	}
	*len = dp->req.add[item->idx].name_len;
	return dp->req.add[item->idx].name;
}

uint32_t dafs_dirplan_bytes(const struct dafs_dirplan *dp, const struct dirplan_item *item)
{
	uint8_t len;

	dafs_dirplan_name(dp, item, &len);
	return dafs_dirblock_need(len);
}

/* ---- sorting ---- */

static int cmp_hash(const struct dirplan_item *a, const struct dirplan_item *b)
{
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	if (a->minor != b->minor)
		return a->minor < b->minor ? -1 : 1;
	return 0;
}

static int cmp_names(const char *a, uint8_t a_len, const char *b, uint8_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (int)a_len - (int)b_len;
}

static int cmp_items(const void *a, const void *b, void *arg)
{
	const struct dafs_dirplan *dp = arg;
	int order = cmp_hash(a, b);
	const char *a_name, *b_name;
	uint8_t a_len, b_len;

	if (order)
		return order;
	a_name = dafs_dirplan_name(dp, a, &a_len);
	b_name = dafs_dirplan_name(dp, b, &b_len);
	return cmp_names(a_name, a_len, b_name, b_len);
}

static int cmp_dels(const void *a, const void *b, void *arg)
{
	const struct dafs_dirplan *dp = arg;
	const struct dirplan_item *x = a, *y = b;
	int order = cmp_hash(x, y);

	if (order)
		return order;
	return cmp_names(dp->req.del[x->idx].name, dp->req.del[x->idx].name_len,
			 dp->req.del[y->idx].name, dp->req.del[y->idx].name_len);
}

static int cmp_place(const void *a, const void *b)
{
	const struct dirplan_item *x = a, *y = b;

	if (x->old != y->old)
		return x->old ? -1 : 1;
	return x->idx < y->idx ? -1 : x->idx > y->idx;
}

void dafs_dirplan_sort_hash(const struct dafs_dirplan *dp, struct dirplan_item *items, size_t n)
{
	if (n)
		qsort_r(items, n, sizeof(*items), cmp_items, (void *)(uintptr_t)dp);
}

void dafs_dirplan_sort_place(struct dirplan_item *items, size_t n)
{
	if (n)
		qsort(items, n, sizeof(*items), cmp_place);
}

/* ---- the request's names ---- */

static errcode_t exists(const struct dafs_dirplan *dp, const char *name, uint8_t len)
{
	return dafs_fail(dp->img->ctx, EEXIST, "%.*s", len, name);
}

static errcode_t hash_name(const struct dafs_dirplan *dp, const char *name, uint8_t len,
			   struct dirplan_item *item)
{
	uint32_t hash, minor;
	errcode_t err = dafs_dirhash_name(&dp->hash, name, len, &hash, &minor);

	item->hash = hash;
	item->minor = minor;
	return err;
}

/* Equal names have equal hashes, so they lie side by side; with folding, somewhere in a row of
 * equal hashes. */
static errcode_t refuse_twice(const struct dafs_dirplan *dp)
{
	for (size_t i = 1; i < dp->nitems; i++) {
		const struct dirplan_item *item = &dp->items[i];
		const char *name, *other;
		uint8_t len, other_len;

		for (size_t k = i; k-- && !cmp_hash(&dp->items[k], item);) {
			name = dafs_dirplan_name(dp, item, &len);
			other = dafs_dirplan_name(dp, &dp->items[k], &other_len);
			if (dafs_dirhash_same(&dp->hash, name, len, other, other_len))
				return exists(dp, name, len);
			if (!dp->hash.casefold)
				break;
		}
	}
	return 0;
}

errcode_t dafs_dirplan_take_names(struct dafs_dirplan *dp)
{
	const struct dafs_dirplan_req *req = &dp->req;
	errcode_t err = 0;

	dp->items_room = req->nadd;
	dp->items = reallocarray(NULL, req->nadd ? req->nadd : 1, sizeof(*dp->items));
	dp->dels = reallocarray(NULL, req->ndel ? req->ndel : 1, sizeof(*dp->dels));
	dp->removed = calloc(req->ndel ? req->ndel : 1, sizeof(*dp->removed));
	if (!dp->items || !dp->dels || !dp->removed || req->nadd > INT32_MAX ||
	    req->ndel > INT32_MAX)
		return ENOMEM;
	for (size_t i = 0; i < req->nadd && !err; i++) {
		const struct dafs_dirent_add *add = &req->add[i];
		struct dirplan_item item = { .idx = (uint32_t)i };

		if (!dafs_dirblock_name_ok(add->name, add->name_len) ||
		    !dafs_dirhash_valid(&dp->hash, add->name, add->name_len))
			return dafs_fail(dp->img->ctx, DAFS_ET_NAME_BAD, "%.*s", add->name_len,
					 add->name);
		err = hash_name(dp, add->name, add->name_len, &item);
		dp->items[dp->nitems++] = item;
	}
	for (size_t i = 0; i < req->ndel && !err; i++) {
		dp->dels[i] = (struct dirplan_item){ .idx = (uint32_t)i };
		err = hash_name(dp, req->del[i].name, req->del[i].name_len, &dp->dels[i]);
	}
	if (err)
		return err;
	dafs_dirplan_sort_hash(dp, dp->items, dp->nitems);
	if (req->ndel)
		qsort_r(dp->dels, req->ndel, sizeof(*dp->dels), cmp_dels, dp);
	return refuse_twice(dp);
}

/* ---- meeting them in the image ---- */

/* First of n sorted items that is not below key. */
static size_t lower_bound(const struct dirplan_item *items, size_t n,
			  const struct dirplan_item *key)
{
	size_t lo = 0;

	while (n) {
		size_t half = n / 2;

		if (cmp_hash(&items[lo + half], key) < 0) {
			lo += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return lo;
}

/* Is this entry one to remove? */
static bool take_removal(struct dafs_dirplan *dp, const struct dirplan_item *key,
			 const struct dafs_dirent_disk *de)
{
	size_t i = lower_bound(dp->dels, dp->req.ndel, key);

	for (; i < dp->req.ndel && !cmp_hash(&dp->dels[i], key); i++) {
		const struct dafs_dirent_del *del = &dp->req.del[dp->dels[i].idx];

		if (!dp->removed[i] &&
		    dafs_dirhash_same(&dp->hash, de->name, de->name_len, del->name, del->name_len))
			return dp->removed[i] = true;
	}
	return false;
}

static bool stands_in_adds(const struct dafs_dirplan *dp, const struct dirplan_item *key,
			   const struct dafs_dirent_disk *de)
{
	size_t i = lower_bound(dp->items, dp->req.nadd, key);

	for (; i < dp->req.nadd && !cmp_hash(&dp->items[i], key); i++) {
		const struct dafs_dirent_add *add = &dp->req.add[dp->items[i].idx];

		if (dafs_dirhash_same(&dp->hash, de->name, de->name_len, add->name, add->name_len))
			return true;
	}
	return false;
}

errcode_t dafs_dirplan_meet(struct dafs_dirplan *dp, uint8_t *buf, uint32_t len, bool dots,
			    uint32_t *gone, uint32_t *used)
{
	bool look = dp->req.nadd || dp->req.ndel;

	*gone = 0;
	*used = dots ? DAFS_DIR_DOTS_BYTES : 0;
	for (uint32_t off = 0; off < len;) {
		struct dafs_dirent_disk *de = (struct dafs_dirent_disk *)(buf + off);
		struct dirplan_item key = { 0 };
		bool skip = !de->ino || (dots && off < DAFS_DIR_DOTS_BYTES);
		errcode_t err = 0;

		off += dafs_dirblock_len(dp->img->block_size, de->rec_len);
		if (skip)
			continue;
		if (look)
			err = hash_name(dp, de->name, de->name_len, &key);
		if (err)
			return err;
		if (look && take_removal(dp, &key, de)) {
			de->ino = 0;
			++*gone;
			continue;
		}
		if (look && stands_in_adds(dp, &key, de))
			return exists(dp, de->name, de->name_len);
		*used += dafs_dirblock_need(de->name_len);
	}
	return 0;
}

errcode_t dafs_dirplan_all_met(struct dafs_dirplan *dp)
{
	for (size_t i = 0; i < dp->req.ndel; i++) {
		const struct dafs_dirent_del *del = &dp->req.del[dp->dels[i].idx];

		if (!dp->removed[i])
			return dafs_fail(dp->img->ctx, ENOENT, "%.*s", del->name_len, del->name);
	}
	return 0;
}

errcode_t dafs_dirplan_adopt(struct dafs_dirplan *dp, const uint8_t *buf, uint32_t len, bool dots)
{
	errcode_t err = 0;

	for (uint32_t off = 0; off < len && !err;) {
		const struct dafs_dirent_disk *de = dafs_dirblock_at(buf, off);
		struct dirplan_item item = { .idx = (uint32_t)dp->nolds, .old = 1 };
		bool skip = !de->ino || (dots && off < DAFS_DIR_DOTS_BYTES);

		off += dafs_dirblock_len(dp->img->block_size, de->rec_len);
		if (skip)
			continue;
		err = hash_name(dp, de->name, de->name_len, &item);
		if (!err)
			err = dafs_array_grow(&dp->olds, dp->nolds, &dp->olds_room,
					      sizeof(*dp->olds));
		if (!err) {
			dp->olds[dp->nolds++] = de;
			err = dafs_dirplan_add_item(dp, &item);
		}
	}
	return err;
}
