/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rename - one name takes the place of another, as rename(2) has it.
 */
#include "config.h"

#include "ns/edit_int.h"

#include <errno.h>
#include <string.h>

#include "image/icodec.h"

struct rename {
	const struct dafs_ns_rename *req;
	struct dafs_inode *inode, *victim; /* victim: what the new name led to; NULL: nothing */
	struct dafs_name *from, *to;
};

/* Is top dir itself or above it? */
static errcode_t is_above(struct dafs_ns *ns, const struct dafs_inode *top, struct dafs_inode *dir,
			  bool *above)
{
	errcode_t err = 0;

	*above = top == dir;
	/* No tree is deeper than it has inodes: a loop in a damaged image ends too. */
	for (uint64_t steps = 0; !err && !*above && dir->id != DAFS_ID_ROOT; steps++) {
		if (steps > UINT32_MAX)
			return DAFS_ET_CORRUPT_DIR;
		err = dafs_ns_dotdot(ns, dir, &dir);
		*above = !err && top == dir;
	}
	return err;
}

static errcode_t victim_problem(struct dafs_ns *ns, const struct rename *r)
{
	bool empty, above;
	errcode_t err;

	if (!r->victim)
		return 0;
	/* A directory on the way to what is moved holds at least that, whatever kind it is. */
	if (S_ISDIR(r->victim->mode)) {
		err = is_above(ns, r->victim, r->req->from_dir, &above);
		if (err || above)
			return err ? err : ENOTEMPTY;
	}
	if (S_ISDIR(r->victim->mode) && !S_ISDIR(r->inode->mode))
		return EISDIR;
	if (!S_ISDIR(r->victim->mode) && S_ISDIR(r->inode->mode))
		return ENOTDIR;
	err = dafs_ns_inode_refuses(ns, r->victim, false);
	if (err || !S_ISDIR(r->victim->mode))
		return err;
	if (r->victim->id == DAFS_ID_ROOT)
		return EBUSY;
	err = dafs_ns_is_empty(ns, r->victim, &empty);
	return err || empty ? err : ENOTEMPTY;
}

static errcode_t mover_problem(struct dafs_ns *ns, const struct rename *r)
{
	bool above;
	errcode_t err;

	if (r->inode->id == DAFS_ID_ROOT)
		return EBUSY;
	if ((r->req->to_dir->iflags & EXT4_PROJINHERIT_FL) &&
	    r->req->to_dir->projid != r->inode->projid)
		return EXDEV;
	err = dafs_ns_inode_refuses(ns, r->inode, false);
	if (err || !S_ISDIR(r->inode->mode))
		return err;
	err = is_above(ns, r->inode, r->req->to_dir, &above);
	if (err)
		return err;
	if (above)
		return EINVAL;
	if (r->req->to_dir == r->req->from_dir || r->victim)
		return 0;
	return dafs_ns_may_count(ns, r->req->to_dir);
}

/* Is the new name the old one in another spelling (of a casefolded directory)? */
static bool is_respelled(const struct dafs_ns *ns, const struct dafs_ns_rename *q)
{
	return q->from_dir == q->to_dir && dafs_ns_fold(ns, q->from_dir) &&
	       (q->from_len != q->to_len || memcmp(q->from, q->to, q->to_len));
}

/* The record of a name gets another spelling of it. */
static errcode_t spell(struct dafs_ns *ns, struct dafs_inode *dir, const struct dafs_inode *inode,
		       const char *name, size_t name_len, struct dafs_name **record)
{
	struct dafs_name *was = *record;
	errcode_t err;

	dafs_dir_set(dir->u.dir, was, 0, 0);
	err = dafs_ns_prepare(ns, dir, name, name_len, record);
	if (err) {
		*record = was;
		dafs_dir_set(dir->u.dir, was, inode->id, dafs_icodec_file_type(inode->mode));
		return err;
	}
	dafs_ns_put(ns, dir, *record, inode);
	return 0;
}

/* One name of one inode, spelled otherwise from now on. */
static errcode_t respell(struct dafs_ns *ns, const struct rename *r)
{
	const struct dafs_ns_rename *q = r->req;
	struct dafs_ns_promise before = dafs_ns_promised(ns->img, q->to_dir);
	struct dafs_ns_charge charge = { .ns = ns };
	struct dafs_ns_undo undo[2];
	struct dafs_name *record;
	errcode_t err = dafs_ns_reserve_changed(ns, 2);

	if (!err)
		err = dafs_ns_charge_add(&charge, q->to_dir);
	if (!err)
		err = dafs_ns_name(ns, q->to_dir, q->from, q->from_len, &record);
	if (err)
		return err;
	dafs_ns_undo_keep(&undo[0], q->to_dir);
	dafs_ns_undo_keep(&undo[1], r->inode);
	err = spell(ns, q->to_dir, r->inode, q->to, q->to_len, &record);
	if (err)
		return err;
	dafs_ns_stamp(ns, r->inode, false);
	dafs_ns_mark(ns, r->inode, DAFS_I_ATTR);
	err = dafs_ns_charge_take(&charge);
	if (!err)
		err = dafs_ns_repromise(ns, q->to_dir, before,
					dafs_ns_promised(ns->img, q->to_dir));
	if (err) {
		dafs_ns_charge_undo(&charge);
		spell(ns, q->to_dir, r->inode, q->from, q->from_len, &record);
		for (size_t i = 2; i-- > 0;)
			dafs_ns_undo_apply(&undo[i]);
	}
	return err;
}

/* Both ends looked up and allowed. *nothing: they are one inode. */
static errcode_t resolve(struct dafs_ns *ns, struct rename *r, bool *nothing)
{
	const struct dafs_ns_rename *q = r->req;
	errcode_t err;

	*nothing = false;
	err = dafs_ns_child(ns, q->from_dir, q->from, q->from_len, &r->inode);
	if (err)
		return dafs_ns_fail(ns, err, q->from_dir, q->from, q->from_len);
	err = dafs_ns_child(ns, q->to_dir, q->to, q->to_len, &r->victim);
	if (err == ENOENT)
		err = 0;
	*nothing = !err && r->victim == r->inode;
	if (*nothing)
		return 0;
	if (!err)
		err = mover_problem(ns, r);
	if (!err)
		err = victim_problem(ns, r);
	return err ? dafs_ns_fail(ns, err, q->to_dir, q->to, q->to_len) : 0;
}

/* Both records; the new one is made where nobody has the name. */
static errcode_t get_records(struct dafs_ns *ns, struct rename *r)
{
	const struct dafs_ns_rename *q = r->req;
	errcode_t err;

	if (r->victim)
		err = dafs_ns_name(ns, q->to_dir, q->to, q->to_len, &r->to);
	else
		err = dafs_ns_prepare(ns, q->to_dir, q->to, q->to_len, &r->to);
	if (!err)
		err = dafs_ns_name(ns, q->from_dir, q->from, q->from_len, &r->from);
	return err;
}

static struct dafs_ns_promise promised(const struct dafs_ns *ns, const struct dafs_ns_rename *q)
{
	struct dafs_ns_promise sum = dafs_ns_promised(ns->img, q->to_dir);

	if (q->from_dir != q->to_dir)
		sum = dafs_ns_promise_add(sum, dafs_ns_promised(ns->img, q->from_dir));
	return sum;
}

/* What is replaced gives room to what the names take. */
static errcode_t charge_ends(struct dafs_ns_charge *charge, const struct rename *r)
{
	errcode_t err = 0;

	if (r->victim && dafs_ns_is_last_name(r->victim))
		err = dafs_ns_charge_last(charge, r->victim);
	if (!err && r->req->from_dir != r->req->to_dir)
		err = dafs_ns_charge_add(charge, r->req->from_dir);
	return err ? err : dafs_ns_charge_add(charge, r->req->to_dir);
}

/* The change itself. */
static void move(struct dafs_ns *ns, const struct rename *r)
{
	const struct dafs_ns_rename *q = r->req;
	bool is_dir = S_ISDIR(r->inode->mode);

	dafs_ns_put(ns, q->from_dir, r->from, NULL);
	dafs_ns_put(ns, q->to_dir, r->to, r->inode);
	dafs_ns_stamp(ns, r->inode, false);
	dafs_ns_mark(ns, r->inode, DAFS_I_ATTR);
	if (is_dir) {
		dafs_ns_count_subdir(q->from_dir, -1);
		if (!r->victim)
			dafs_ns_count_subdir(q->to_dir, 1);
		/* Its ".." is a name like any other. */
		if (q->from_dir != q->to_dir)
			dafs_ns_mark(ns, r->inode, DAFS_I_NAMES);
	}
	if (is_dir || r->inode->parent == q->from_dir->id)
		r->inode->parent = q->to_dir->id;
}

errcode_t dafs_ns_rename(struct dafs_ns *ns, const struct dafs_ns_rename *q)
{
	struct dafs_ns_charge charge = { .ns = ns };
	struct rename r = { .req = q };
	struct dafs_ns_undo undo[3];
	struct dafs_ns_promise before;
	bool nothing;
	errcode_t err;

	err = dafs_ns_may_take(ns, q->from_dir, q->from, q->from_len);
	if (!err)
		err = dafs_ns_may_add(ns, q->to_dir, q->to, q->to_len);
	if (!err)
		err = resolve(ns, &r, &nothing);
	if (!err && nothing && is_respelled(ns, q)) {
		err = dafs_ns_inode_refuses(ns, r.inode, false);
		if (!err)
			err = respell(ns, &r);
		return err ? dafs_ns_fail(ns, err, q->to_dir, q->to, q->to_len) : 0;
	}
	if (err || nothing)
		return err;
	/* A replaced name is taken away too. */
	err = r.victim ? dafs_ns_may_take(ns, q->to_dir, q->to, q->to_len) : 0;
	if (err)
		return err;
	err = dafs_ns_reserve_changed(ns, 4);
	if (!err)
		err = charge_ends(&charge, &r);
	if (!err)
		err = get_records(ns, &r);
	if (err)
		return dafs_ns_fail(ns, err, q->to_dir, q->to, q->to_len);

	before = promised(ns, q);
	dafs_ns_undo_keep(&undo[0], q->from_dir);
	dafs_ns_undo_keep(&undo[1], q->to_dir);
	dafs_ns_undo_keep(&undo[2], r.inode);
	move(ns, &r);
	err = dafs_ns_charge_take(&charge);
	if (!err)
		err = dafs_ns_repromise(ns, q->to_dir, before, promised(ns, q));
	if (err) {
		dafs_ns_charge_undo(&charge);
		dafs_dir_set(q->from_dir->u.dir, r.from, r.inode->id, r.to->type);
		dafs_dir_set(q->to_dir->u.dir, r.to, r.victim ? r.victim->id : 0, 0);
		for (size_t i = 3; i-- > 0;)
			dafs_ns_undo_apply(&undo[i]);
		dafs_ns_tidy(ns, q->to_dir, r.to);
		return dafs_ns_fail(ns, err, q->to_dir, q->to, q->to_len);
	}
	dafs_ns_tidy(ns, q->from_dir, r.from);
	if (r.victim)
		dafs_ns_lose_name(ns, r.victim);
	return 0;
}
