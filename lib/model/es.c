/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * es - see es.h. A rangemap whose tags are the entry types; what is added here is the meaning of
 * the types and the count of DELAYED blocks.
 */
#include "config.h"

#include "model/es.h"

#include <string.h>

void dafs_es_init(struct dafs_es *es)
{
	dafs_rangemap_init(&es->map);
	es->delayed_blks = 0;
}

void dafs_es_fini(struct dafs_es *es)
{
	dafs_rangemap_fini(&es->map);
	es->delayed_blks = 0;
}

static struct dafs_es_extent extent_of(const struct dafs_range *r)
{
	return (struct dafs_es_extent){
		.lblk = r->start, .len = r->len, .pblk = r->base, .type = (uint8_t)r->tag
	};
}

bool dafs_es_lookup(const struct dafs_es *es, uint32_t lblk, struct dafs_es_extent *out)
{
	const struct dafs_range *r = dafs_rangemap_first(&es->map, lblk);

	memset(out, 0, sizeof(*out));
	if (!r || r->start > lblk)
		return false;
	*out = extent_of(r);
	return true;
}

bool dafs_es_find(const struct dafs_es *es, unsigned mask, uint32_t lblk, uint32_t end,
		  struct dafs_es_extent *out)
{
	const struct dafs_range *r = dafs_rangemap_first(&es->map, lblk);

	memset(out, 0, sizeof(*out));
	for (; lblk < end && r && r->start < end; r = dafs_rangemap_next(r)) {
		if (r->tag & mask) {
			*out = extent_of(r);
			return true;
		}
	}
	return false;
}

static void count_delayed(void *arg, const struct dafs_range *gone)
{
	uint64_t *delayed = arg;

	if (gone->tag == DAFS_ES_DELAYED)
		*delayed += gone->len;
}

static bool has_pblk(unsigned type)
{
	return type == DAFS_ES_WRITTEN || type == DAFS_ES_UNWRITTEN;
}

errcode_t dafs_es_insert(struct dafs_es *es, const struct dafs_es_extent *ext, uint64_t *delayed)
{
	bool is_delayed = ext->type == DAFS_ES_DELAYED;
	struct dafs_range r = { .start = ext->lblk, .len = ext->len, .tag = ext->type };
	uint64_t replaced = 0;
	errcode_t err;

	if (delayed)
		*delayed = 0;
	if (has_pblk(ext->type)) {
		r.base = ext->pblk;
		r.step = 1;
	} else if (!is_delayed && ext->type != DAFS_ES_HOLE) {
		return DAFS_ET_RANGE;
	}
	err = dafs_rangemap_set(&es->map, &r, count_delayed, &replaced);
	if (err)
		return err;
	es->delayed_blks -= replaced;
	if (is_delayed)
		es->delayed_blks += ext->len;
	else if (delayed)
		*delayed = replaced;
	return 0;
}

errcode_t dafs_es_remove(struct dafs_es *es, uint32_t lblk, uint32_t len, uint64_t *delayed)
{
	uint64_t removed = 0;
	errcode_t err;

	if (delayed)
		*delayed = 0;
	if (len > DAFS_RANGE_END - lblk)
		return DAFS_ET_RANGE;
	err = dafs_rangemap_clear(&es->map, lblk, lblk + len, count_delayed, &removed);
	if (err)
		return err;
	es->delayed_blks -= removed;
	if (delayed)
		*delayed = removed;
	return 0;
}

uint64_t dafs_es_delayed_in(const struct dafs_es *es, uint32_t lblk, uint32_t end)
{
	const struct dafs_range *r = dafs_rangemap_first(&es->map, lblk);
	uint64_t sum = 0;

	for (; lblk < end && r && r->start < end; r = dafs_rangemap_next(r)) {
		if (r->tag == DAFS_ES_DELAYED)
			sum += dafs_range_clip(r, lblk, end).len;
	}
	return sum;
}

bool dafs_es_verify(const struct dafs_es *es)
{
	const struct dafs_range *r;
	uint64_t delayed = 0;

	if (!dafs_rangemap_verify(&es->map))
		return false;
	for (r = dafs_rangemap_first(&es->map, 0); r; r = dafs_rangemap_next(r)) {
		if (r->tag != DAFS_ES_DELAYED && r->tag != DAFS_ES_HOLE && !has_pblk(r->tag))
			return false;
		if (r->owner || r->step != has_pblk(r->tag) || (!r->step && r->base))
			return false;
		if (r->tag == DAFS_ES_DELAYED)
			delayed += r->len;
	}
	return delayed == es->delayed_blks;
}
