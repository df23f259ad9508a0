/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * attr - before an inode is changed: what refuses, what is loaded, what is marked; extended
 * attributes as a set.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/icodec.h"
#include "image/inline.h"
#include "image/read.h"
#include "image/xcodec.h"

errcode_t dafs_ns_may_change(struct dafs_ns *ns)
{
	return ns->collected ? dafs_fail(ns->ctx, DAFS_ET_SEQUENCE, "a change set is being flushed")
			     : 0;
}

errcode_t dafs_ns_inode_refuses(struct dafs_ns *ns, const struct dafs_inode *inode, bool append_ok)
{
	uint32_t first = EXT2_FIRST_INODE(ns->img->fs->super);

	if (inode->id < first && inode->id != DAFS_ID_ROOT)
		return EPERM;
	if (inode->iflags & EXT4_EA_INODE_FL)
		return EPERM;
	if (inode->iflags & (EXT2_IMMUTABLE_FL | (append_ok ? 0 : EXT2_APPEND_FL)))
		return DAFS_ET_IMMUTABLE;
	return 0;
}

void dafs_ns_stamp(struct dafs_ns *ns, struct dafs_inode *inode, bool content)
{
	inode->ctime = dafs_time_at(ns->ctx->now_sec, ns->ctx->now_nsec);
	if (content)
		inode->mtime = inode->ctime;
}

static errcode_t fail_inode(struct dafs_ns *ns, errcode_t code, const struct dafs_inode *inode)
{
	char path[1024];

	dafs_fail(ns->ctx, code, "%s", dafs_ns_path(ns, inode, path, sizeof(path)));
	return dafs_qlimit_fail(ns->ctx, ns->w->limits, code, path);
}

static errcode_t may_touch(struct dafs_ns *ns, const struct dafs_inode *inode, bool append_ok)
{
	errcode_t err = dafs_ns_may_change(ns);

	if (err)
		return err;
	err = (inode->state & DAFS_I_GONE) ? ENOENT : dafs_ns_inode_refuses(ns, inode, append_ok);
	return err ? fail_inode(ns, err, inode) : dafs_ns_reserve_changed(ns, 1);
}

errcode_t dafs_ns_touch(struct dafs_ns *ns, struct dafs_inode *inode, unsigned state)
{
	errcode_t err = may_touch(ns, inode, state & DAFS_NS_APPENDS);

	if (err)
		return err;
	dafs_ns_act_for(ns, inode);
	dafs_ns_mark(ns, inode, state & (DAFS_I_ATTR | DAFS_I_DATA));
	dafs_ns_stamp(ns, inode, state & DAFS_I_DATA);
	return 0;
}

static errcode_t read_raw(struct dafs_ns *ns, const struct dafs_inode *inode,
			  union dafs_inode_buf *buf)
{
	return dafs_icodec_read(ns->img, inode->ino, &buf->raw, sizeof(*buf));
}

errcode_t dafs_ns_xattrs(struct dafs_ns *ns, struct dafs_inode *inode)
{
	union dafs_inode_buf buf;
	errcode_t err;

	if (inode->state & (DAFS_I_XLOADED | DAFS_I_NEW | DAFS_I_XATTR))
		return 0;
	err = read_raw(ns, inode, &buf);
	if (!err)
		err = dafs_xcodec_read(ns->img, inode->ino, &buf.raw, &inode->xattrs);
	if (err) {
		dafs_xattr_free(&inode->xattrs);
		return err;
	}
	inode->state |= DAFS_I_XLOADED;
	return 0;
}

errcode_t dafs_ns_target(struct dafs_ns *ns, struct dafs_inode *inode)
{
	union dafs_inode_buf buf;
	errcode_t err;

	if (!S_ISLNK(inode->mode))
		return fail_inode(ns, EINVAL, inode);
	if (inode->u.target)
		return 0;
	err = read_raw(ns, inode, &buf);
	if (!err)
		err = dafs_read_symlink(ns->img, inode->ino, &buf.raw, &inode->u.target);
	if (err)
		inode->u.target = NULL;
	return err;
}

errcode_t dafs_ns_plan_xattrs(struct dafs_ns *ns, const struct dafs_inode *inode,
			      struct dafs_xattr_layout *lay)
{
	struct dafs_inode as_is = *inode;
	char path[1024];
	errcode_t err;

	/* A file that stands in the image's inode leaves it with new bytes and attributes both. */
	if (S_ISREG(inode->mode) && !dafs_inline_stays(inode))
		as_is.iflags &= ~(uint32_t)EXT4_INLINE_DATA_FL;
	err = dafs_xcodec_plan(ns->img, &as_is, "", lay);
	if (err != DAFS_ET_XATTR_TOO_BIG && err != DAFS_ET_XATTR_NAME)
		return err;
	return dafs_xcodec_plan(ns->img, &as_is, dafs_ns_path(ns, inode, path, sizeof(path)), lay);
}

errcode_t dafs_ns_replace_xattrs(struct dafs_ns *ns, struct dafs_inode *inode,
				 struct dafs_xattr *set)
{
	struct dafs_ns_promise before;
	struct dafs_ns_charge charge = { .ns = ns };
	struct dafs_xattr_layout lay;
	struct dafs_xattr *old = inode->xattrs;
	uint16_t state = inode->state;
	errcode_t err = may_touch(ns, inode, false);

	if (!err)
		err = dafs_ns_charge_add(&charge, inode);
	if (err)
		return err;
	before = dafs_ns_promised(ns->img, inode);
	inode->xattrs = set;
	err = dafs_ns_plan_xattrs(ns, inode, &lay);
	if (!err) {
		dafs_ns_mark(ns, inode, DAFS_I_XATTR | DAFS_I_XLOADED | DAFS_I_ATTR);
		err = dafs_ns_charge_take(&charge);
		if (!err)
			err = dafs_ns_repromise(ns, inode, before,
						dafs_ns_promised(ns->img, inode));
		if (err)
			fail_inode(ns, err, inode);
	}
	if (err) {
		dafs_ns_charge_undo(&charge);
		inode->xattrs = old;
		inode->state = state;
		return err;
	}
	dafs_xattr_free(&old);
	dafs_ns_stamp(ns, inode, false);
	return 0;
}

static errcode_t copy_set(const struct dafs_xattr *set, struct dafs_xattr **ret)
{
	errcode_t err = 0;

	*ret = NULL;
	for (; !err && set; set = set->next)
		err = dafs_xattr_put(ret, set->name, dafs_xattr_value(set), set->value_len);
	if (err)
		dafs_xattr_free(ret);
	return err;
}

errcode_t dafs_ns_setxattr(struct dafs_ns *ns, struct dafs_inode *inode, const char *name,
			   const void *value, uint32_t value_len)
{
	struct dafs_xattr *set;
	errcode_t err = dafs_ns_xattrs(ns, inode);

	if (!err)
		err = copy_set(inode->xattrs, &set);
	if (err)
		return err;
	err = dafs_xattr_put(&set, name, value, value_len);
	if (err)
		fail_inode(ns, err, inode);
	if (!err)
		err = dafs_ns_replace_xattrs(ns, inode, set);
	if (err)
		dafs_xattr_free(&set);
	return err;
}
