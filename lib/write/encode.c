/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * encode - step 5 of a flush: inodes into their table blocks, one block after the other, each
 * encoded once.
 *
 * A table block before its group's used mark is live: it is changed in the transaction. Blocks at
 * and past the mark hold nothing yet; they are built in memory and written in place, those between
 * the mark and the first new inode as zeros (whoever scans the table up to the new mark must not
 * find what was on the disk before).
 */
#include "config.h"

#include "write/plan_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_BUFFER_BYTES = 1 << 20 };

struct slot { /* one inode to be encoded */
	uint32_t ino;
	uint32_t item;
	uint32_t value; /* index + 1 of an attribute's value; 0: the item itself */
};

struct table { /* the run of fresh table blocks being built */
	struct dafs_plan *plan;
	uint8_t *buf;
	uint32_t room_blks;
	uint64_t start, nblks; /* buf holds [start, start + nblks) */
	uint32_t grp;	       /* the group whose fresh blocks these are, and */
	uint64_t next;	       /* its first fresh block that was not built yet */
};

static errcode_t table_write(struct table *t)
{
	errcode_t err = 0;

	if (t->nblks)
		err = dafs_txn_put_new(t->plan->img, t->start, t->nblks, t->buf);
	t->plan->stats.meta_new_blks += t->nblks;
	t->start += t->nblks;
	t->nblks = 0;
	return err;
}

/* The bytes of a fresh table block; those before it that were passed over become zeros. */
static errcode_t table_fresh(struct table *t, uint64_t pblk, uint8_t **block)
{
	const uint32_t bs = t->plan->img->block_size;
	errcode_t err = 0;

	if (t->next != t->start + t->nblks) {
		err = table_write(t);
		t->start = t->next;
	}
	while (t->next <= pblk && !err) {
		if (t->nblks == t->room_blks)
			err = table_write(t);
		memset(t->buf + t->nblks * bs, 0, bs);
		t->nblks++;
		t->next++;
	}
	/* The block asked for is the last one built. */
	*block = t->buf + (pblk - t->start) * bs;
	return err;
}

/* First table block of a group that nothing live is in. */
static uint64_t first_fresh(const struct dafs_image *img, uint32_t grp)
{
	uint64_t bytes = (uint64_t)dafs_group_itable_mark(img, grp) * img->inode_size;

	return dafs_group_itable_pblk(img, grp) +
	       ((bytes + img->block_size - 1) >> img->block_bits);
}

/* Where an inode is to be encoded: in the transaction's copy of its block, or in a fresh one. */
static errcode_t find_raw(struct table *t, uint32_t ino, struct ext2_inode_large **raw)
{
	struct dafs_image *img = t->plan->img;
	uint32_t grp = (ino - 1) / img->fs->super->s_inodes_per_group, off;
	uint64_t pblk;
	uint8_t *block;
	bool live;
	errcode_t err = dafs_icodec_locate(img, ino, &pblk, &off, &live);

	if (err)
		return err;
	if (live) {
		err = dafs_txn_get(img, pblk, true, &block);
	} else {
		if (grp != t->grp) {
			t->grp = grp;
			t->next = first_fresh(img, grp);
		}
		/* Ascending numbers: the block is the last one built, or one further on. */
		if (pblk + 1 == t->next && t->nblks)
			block = t->buf + (t->nblks - 1) * img->block_size;
		else
			err = table_fresh(t, pblk, &block);
	}
	if (!err)
		*raw = (struct ext2_inode_large *)(block + off);
	return err;
}

/* Everything that has a slot in an inode table. Four bytes for each: a number below cs->n is that
 * item, one above a value. */
struct slots {
	const struct dafs_plan *plan;
	struct slot *values; /* of attributes, in inodes of their own */
	uint32_t nvalues;
	uint32_t *order; /* by inode number */
	uint32_t n;
};

static struct slot slot_at(const struct slots *s, uint32_t which)
{
	if (which >= s->plan->cs->n)
		return s->values[which - s->plan->cs->n];
	return (struct slot){ .ino = s->plan->items[which].ino, .item = which };
}

static int by_ino(const void *a, const void *b, void *arg)
{
	uint32_t x = slot_at(arg, *(const uint32_t *)a).ino,
		 y = slot_at(arg, *(const uint32_t *)b).ino;

	return x < y ? -1 : x > y;
}

static errcode_t list_values(struct slots *s)
{
	const struct dafs_plan *plan = s->plan;
	size_t room = 0;

	for (size_t i = 0; i < plan->nextras; i++)
		room += plan->extras[i]->xattrs ? plan->extras[i]->xattrs->lay.nvalues : 0;
	s->values = calloc(room + 1, sizeof(*s->values));
	if (!s->values)
		return ENOMEM;
	for (uint32_t i = 0; room && i < plan->cs->n; i++) {
		const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, i);

		for (uint32_t x = 0; extra && extra->xattrs && x < extra->xattrs->lay.nvalues; x++)
			s->values[s->nvalues++] =
				(struct slot){ extra->xattrs->values[x].ino, i, x + 1 };
	}
	return 0;
}

/* Was it made and removed while pending? */
static bool is_nothing(const struct slots *s, uint32_t which)
{
	const struct dafs_changeset *cs = s->plan->cs;

	return which < cs->n && (cs->inodes[which]->state & DAFS_I_GONE) &&
	       (cs->inodes[which]->state & DAFS_I_NEW);
}

/* By group first, since the numbers of one group mostly ascend already. first: where each group
 * begins, one more than groups. */
static void sort_slots(struct slots *s, uint32_t *first, uint32_t groups)
{
	const uint32_t per_group = s->plan->img->fs->super->s_inodes_per_group;
	const uint32_t all = (uint32_t)s->plan->cs->n + s->nvalues;

	for (uint32_t i = 0; i < all; i++) {
		if (!is_nothing(s, i))
			first[(slot_at(s, i).ino - 1) / per_group + 1]++;
	}
	for (uint32_t grp = 0; grp < groups; grp++)
		first[grp + 1] += first[grp];
	s->n = first[groups];
	for (uint32_t i = 0; i < all; i++) {
		if (!is_nothing(s, i))
			s->order[first[(slot_at(s, i).ino - 1) / per_group]++] = i;
	}
	/* Each entry of first has moved on to the end of its group. */
	for (uint32_t grp = 0, at = 0; grp < groups; at = first[grp++]) {
		bool sorted = true;

		for (uint32_t i = at + 1; i < first[grp] && sorted; i++)
			sorted = slot_at(s, s->order[i - 1]).ino < slot_at(s, s->order[i]).ino;
		if (!sorted)
			qsort_r(s->order + at, first[grp] - at, sizeof(*s->order), by_ino, s);
	}
}

static errcode_t list_slots(const struct dafs_plan *plan, struct slots *s)
{
	const uint32_t groups = plan->img->fs->group_desc_count;
	uint32_t *first = calloc(groups + 1, sizeof(*first));
	errcode_t err;

	*s = (struct slots){ .plan = plan };
	err = first ? list_values(s) : ENOMEM;
	if (!err) {
		s->order = malloc((plan->cs->n + s->nvalues + 1) * sizeof(*s->order));
		err = s->order ? 0 : ENOMEM;
	}
	if (!err)
		sort_slots(s, first, groups);
	free(first);
	return err;
}

/* Attribute values in inodes of their own that an inode of the image has. */
static errcode_t count_values(struct dafs_plan *plan, uint32_t ino,
			      const struct ext2_inode_large *raw, uint64_t *n)
{
	struct dafs_blklist inos = { 0 };
	errcode_t err = 0;

	if (plan->img->has_ea_inode)
		err = dafs_xcodec_value_inos(plan->img, ino, raw, &inos);
	*n = inos.n;
	dafs_blklist_fini(&inos);
	return err;
}

static errcode_t encode_slot(struct table *t, const struct slot *slot)
{
	struct dafs_plan *plan = t->plan;
	const struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, slot->item);
	const struct dafs_inode *inode = plan->cs->inodes[slot->item];
	bool fresh = slot->value || (inode->state & DAFS_I_NEW);
	struct dafs_quota_usage before = { 0 }, now = { 0 };
	struct ext2_inode_large *raw;
	uint64_t values = 0;
	errcode_t err = find_raw(t, slot->ino, &raw);

	if (!err && plan->quota && !fresh) {
		err = count_values(plan, slot->ino, raw, &values);
		dafs_quota_usage(plan->img, slot->ino, raw, values, &before);
	}
	if (err)
		return err;
	if (fresh) {
		memset(raw, 0, plan->img->inode_size);
		err = dafs_group_take_inode(plan->img, slot->ino,
					    !slot->value && S_ISDIR(inode->mode));
	}
	if (err)
		return err;
	if (slot->value)
		return dafs_encode_value(plan, slot->item, slot->value - 1, raw);
	if (inode->state & DAFS_I_GONE) {
		dafs_quota_charge(plan->quota, &before, NULL);
		return dafs_encode_gone(plan, slot->ino, raw);
	}
	err = dafs_encode_item(plan, slot->item, raw);
	if (!err && plan->quota) {
		if (inode->state & DAFS_I_XATTR || fresh)
			values = extra && extra->xattrs ? extra->xattrs->lay.nvalues : 0;
		dafs_quota_usage(plan->img, slot->ino, raw, values, &now);
		dafs_quota_charge(plan->quota, &before, &now);
	}
	return err;
}

errcode_t dafs_encode_inodes(struct dafs_plan *plan)
{
	struct table t = { .plan = plan,
			   .grp = UINT32_MAX,
			   .room_blks = TABLE_BUFFER_BYTES >> plan->img->block_bits };
	struct slots slots;
	errcode_t err = list_slots(plan, &slots);

	t.buf = malloc(TABLE_BUFFER_BYTES);
	if (!err && !t.buf)
		err = ENOMEM;
	for (uint32_t i = 0; i < slots.n && !err; i++) {
		struct slot slot = slot_at(&slots, slots.order[i]);

		if (!(i & 1023)) {
			dafs_progress(plan->img->ctx, "encoding", i, slots.n);
			err = dafs_cancelled(plan->img->ctx);
		}
		if (!err)
			err = encode_slot(&t, &slot);
	}
	if (!err)
		err = table_write(&t);
	free(t.buf);
	free(slots.order);
	free(slots.values);
	return err;
}
