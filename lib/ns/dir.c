/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dir - see dir.h.
 */
#include "config.h"

#include "ns/dir.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Eight bytes at a time, multiplied and folded: names are short and come by the million. */
static uint32_t hash_bytes(const char *name, uint8_t len)
{
	uint64_t h = len * UINT64_C(0x9E3779B97F4A7C15), word;
	size_t at = 0;

	for (; at + 8 <= len; at += 8) {
		memcpy(&word, name + at, 8);
		h = (h ^ word) * UINT64_C(0xD6E8FEB86659FD93);
		h ^= h >> 32;
	}
	word = 0;
	memcpy(&word, name + at, len - at);
	h = (h ^ word) * UINT64_C(0xD6E8FEB86659FD93);
	return (uint32_t)(h ^ h >> 32);
}

static uint32_t hash_name(const struct dafs_dirhash *fold, const char *name, uint8_t len)
{
	uint32_t hash, minor;

	if (!fold || dafs_dirhash_name(fold, name, len, &hash, &minor))
		return hash_bytes(name, len);
	return hash ^ minor;
}

static bool same_name(const struct dafs_dirhash *fold, const struct dafs_name *a, const char *name,
		      uint8_t len)
{
	if (a->len == len && !memcmp(a->name, name, len))
		return true;
	return fold && dafs_dirhash_same(fold, a->name, a->len, name, len);
}

static uint32_t hash_of(const void *item)
{
	return ((const struct dafs_name *)item)->hash;
}

static size_t record_bytes(uint8_t len)
{
	return offsetof(struct dafs_name, name) + len;
}

void dafs_name_free(struct dafs_pool *pool, struct dafs_name *name)
{
	if (name)
		dafs_pool_put(pool, name, record_bytes(name->len));
}

struct dafs_dir *dafs_dir_new(void)
{
	return calloc(1, sizeof(struct dafs_dir));
}

void dafs_dir_free(struct dafs_dir *dir, struct dafs_pool *pool)
{
	struct dafs_name *name;
	uint32_t i;

	if (!dir)
		return;
	DAFS_PTAB_EACH(&dir->names, i, name)
		dafs_name_free(pool, name);
	dafs_ptab_fini(&dir->names);
	free(dir->raw);
	free(dir);
}

static struct dafs_name *find_hashed(const struct dafs_dir *dir, const struct dafs_dirhash *fold,
				     const char *name, uint8_t len, uint32_t hash)
{
	struct dafs_name *record;
	uint32_t at;

	for (record = dafs_ptab_first(&dir->names, hash, &at); record;
	     record = dafs_ptab_next(&dir->names, &at)) {
		if (record->hash == hash && same_name(fold, record, name, len))
			return record;
	}
	return NULL;
}

struct dafs_name *dafs_dir_find(const struct dafs_dir *dir, const struct dafs_dirhash *fold,
				const char *name, uint8_t len)
{
	return find_hashed(dir, fold, name, len, hash_name(fold, name, len));
}

errcode_t dafs_dir_get(struct dafs_dir *dir, struct dafs_pool *pool,
		       const struct dafs_dirhash *fold, const char *name, uint8_t len,
		       struct dafs_name **ret)
{
	uint32_t hash = hash_name(fold, name, len);
	struct dafs_name *record = find_hashed(dir, fold, name, len, hash);

	*ret = record;
	if (record)
		return 0;
	if (dafs_ptab_reserve(&dir->names, hash_of))
		return ENOMEM;
	record = dafs_pool_get(pool, record_bytes(len));
	if (!record)
		return ENOMEM;
	record->hash = hash;
	record->len = len;
	memcpy(record->name, name, len);
	dafs_ptab_add(&dir->names, record, hash);
	*ret = record;
	return 0;
}

errcode_t dafs_dir_respell(struct dafs_dir *dir, struct dafs_pool *pool, struct dafs_name **name,
			   const char *text, uint8_t len, struct dafs_name **old)
{
	struct dafs_name *was = *name, *record = dafs_pool_get(pool, record_bytes(len));

	*old = NULL;
	if (!record)
		return ENOMEM;
	assert(!was->id);
	*record = *was;
	record->len = len;
	record->flags = DAFS_NAME_CHANGED | (was->image_ino ? DAFS_NAME_RECASED : 0);
	memcpy(record->name, text, len);
	dafs_ptab_remove(&dir->names, was, was->hash, hash_of);
	dafs_ptab_add(&dir->names, record, record->hash);
	dir->flags |= DAFS_DIR_CHANGED;
	*old = was;
	*name = record;
	return 0;
}

void dafs_dir_drop(struct dafs_dir *dir, struct dafs_pool *pool, struct dafs_name *name)
{
	assert(!dafs_name_pending(name));
	dafs_ptab_remove(&dir->names, name, name->hash, hash_of);
	dafs_name_free(pool, name);
}

/* Count a record in (sign 1) or out (sign -1). */
static void count(struct dafs_dir *dir, const struct dafs_name *name, int sign)
{
	if (!dafs_name_pending(name))
		return;
	if (name->id) {
		dir->add_names += (uint32_t)sign;
		dir->add_bytes += (uint64_t)(int64_t)(sign * (int)dafs_name_entry_bytes(name->len));
	}
	if (name->image_ino)
		dir->del_names += (uint32_t)sign;
}

void dafs_dir_set(struct dafs_dir *dir, struct dafs_name *name, uint64_t id, uint8_t type)
{
	count(dir, name, -1);
	name->id = id;
	name->type = type;
	count(dir, name, 1);
	name->flags |= DAFS_NAME_CHANGED;
	dir->flags |= DAFS_DIR_CHANGED;
}

void dafs_dir_recount(struct dafs_dir *dir)
{
	const struct dafs_name *name;
	uint32_t i;

	dir->add_names = dir->del_names = 0;
	dir->add_bytes = 0;
	DAFS_PTAB_EACH(&dir->names, i, name)
		count(dir, name, 1);
}

bool dafs_dir_counted(const struct dafs_dir *dir)
{
	struct dafs_dir copy = *dir;

	dafs_dir_recount(&copy);
	return copy.add_names == dir->add_names && copy.del_names == dir->del_names &&
	       copy.add_bytes == dir->add_bytes;
}

bool dafs_dir_verify(const struct dafs_dir *dir)
{
	const struct dafs_name *name;
	uint32_t i, n = 0, at;

	DAFS_PTAB_EACH(&dir->names, i, name) {
		const struct dafs_name *other = dafs_ptab_first(&dir->names, name->hash, &at);

		while (other && other != name &&
		       (other->hash != name->hash || other->len != name->len ||
			memcmp(other->name, name->name, name->len)))
			other = dafs_ptab_next(&dir->names, &at);
		if (other != name)
			return false;
		n++;
	}
	if (n != dir->names.n)
		return false;
	return !(dir->flags & DAFS_DIR_PENDING_ALL) || dafs_dir_counted(dir);
}
