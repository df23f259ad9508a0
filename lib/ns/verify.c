/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify - the invariants of ns.h and of the space counters (DESIGN.md, section 4), on what is
 * loaded or on everything pending.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "image/icodec.h"

/* While checking, names are counted in the upper bits of an inode's marks: all, and those of
 * subdirectories. */
enum { NAME_SHIFT = 9 };
#define ONE_NAME  (UINT32_C(1) << NAME_SHIFT)
_Static_assert(ONE_NAME == DAFS_NS_MARKS_END, "marks and the count of names share a word");
#define MARK_BITS (ONE_NAME - 1)

struct check {
	struct dafs_ns *ns;
	void (*report)(void *arg, const char *line);
	void *arg;
	uint64_t problems;
	bool all; /* everything pending is loaded */
	uint64_t reserved, bound, inodes;
};

static void problem(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct check *c, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	c->problems++;
	if (!c->report)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	c->report(c->arg, line);
}

static void check_name(struct check *c, const struct dafs_inode *dir,
		       const struct dafs_name *record)
{
	struct dafs_inode *child;

	if (!record->id || !dafs_name_pending(record))
		return;
	child = dafs_ns_find(c->ns, record->id);
	if (!child || (child->marks & DAFS_NS_FREED)) {
		if (c->all || (child && (child->marks & DAFS_NS_FREED)))
			problem(c,
				"directory %" PRIu64 ": name \"%.*s\" leads to inode %" PRIu64
				", which is not pending",
				dir->id, record->len, record->name, record->id);
		return;
	}
	child->marks += ONE_NAME;
	if (child->state & DAFS_I_GONE)
		problem(c, "directory %" PRIu64 ": name \"%.*s\" leads to a removed inode", dir->id,
			record->len, record->name);
	if (S_ISDIR(child->mode) && child->parent && child->parent != dir->id)
		problem(c,
			"directory %" PRIu64 " has its name in %" PRIu64
			" but its parent is %" PRIu64,
			child->id, dir->id, child->parent);
	if (record->type && record->type != dafs_icodec_file_type(child->mode))
		problem(c, "directory %" PRIu64 ": name \"%.*s\" has type %u, its inode mode 0%o",
			dir->id, record->len, record->name, record->type, child->mode);
}

static void check_dir(struct check *c, const struct dafs_inode *inode)
{
	const struct dafs_dir *dir = inode->u.dir;
	const struct dafs_name *record;
	uint32_t i;

	if (!dafs_dir_verify(dir))
		problem(c, "directory %" PRIu64 ": counters do not fit its names", inode->id);
	if ((dir->add_names || dir->del_names) &&
	    !(inode->state & (DAFS_I_NAMES | DAFS_I_NEW | DAFS_I_GONE)))
		problem(c, "directory %" PRIu64 " has pending names but is not marked so",
			inode->id);
	DAFS_PTAB_EACH(&dir->names, i, record) {
		if (inode->state & DAFS_I_GONE) {
			if (record->id)
				problem(c, "directory %" PRIu64 " is removed but has a name",
					inode->id);
			continue;
		}
		check_name(c, inode, record);
	}
}

static uint32_t count_subdirs(const struct dafs_ns *ns, const struct dafs_inode *inode)
{
	const struct dafs_name *record;
	uint32_t i, n = 0;

	if (!inode->u.dir)
		return 0;
	DAFS_PTAB_EACH(&inode->u.dir->names, i, record) {
		const struct dafs_inode *child = record->id ? dafs_ns_find(ns, record->id) : NULL;

		n += child && S_ISDIR(child->mode);
	}
	return n;
}

/* Names were counted: does the link count agree? */
static void check_links(struct check *c, const struct dafs_inode *inode)
{
	uint32_t names = inode->marks >> NAME_SHIFT, links;

	if ((inode->marks & (DAFS_NS_FREED | DAFS_NS_TAKEN)) || !(inode->state & DAFS_I_NEW) ||
	    !c->all)
		return;
	if (S_ISDIR(inode->mode)) {
		links = count_subdirs(c->ns, inode) + 2;
		if (names != 1)
			problem(c, "pending directory %" PRIu64 " has %" PRIu32 " names", inode->id,
				names);
		if (inode->nlink != links && inode->nlink != 1)
			problem(c,
				"pending directory %" PRIu64 " has %" PRIu32
				" links, its names make %" PRIu32,
				inode->id, inode->nlink, links);
	} else if (!names || names != inode->nlink) {
		problem(c, "pending inode %" PRIu64 " has %" PRIu32 " links and %" PRIu32 " names",
			inode->id, inode->nlink, names);
	}
}

static void check_space(struct check *c, const struct dafs_inode *inode)
{
	struct dafs_ns_promise promise = dafs_ns_promised(c->ns->img, inode);

	c->bound += promise.clusters;
	c->inodes += promise.inodes;
	if (!S_ISREG(inode->mode))
		return;
	if (inode->state & DAFS_I_WHOLE) {
		uint64_t bytes = UINT64_C(1) << (c->ns->img->block_bits + c->ns->img->cluster_bits);

		uint64_t clusters = (inode->size + bytes - 1) / bytes;

		c->reserved += clusters;
		c->bound += dafs_delalloc_meta_bound(c->ns->img, clusters, 0);
		return;
	}
	if (!inode->u.file)
		return;
	c->reserved += inode->u.file->reserved_clusters;
	c->bound += inode->u.file->promised_clusters;
	if (!dafs_delalloc_verify(c->ns->w, inode))
		problem(c, "inode %" PRIu64 ": reserved clusters do not fit its delayed blocks",
			inode->id);
}

static void check_sums(struct check *c)
{
	const struct dafs_reserve *rs = c->ns->w->reserve;

	if (!dafs_reserve_verify(rs))
		problem(c,
			"space: %" PRIu64 " free clusters for %" PRIu64 " delayed and %" PRIu64
			" promised, %" PRIu64 " free inodes for %" PRIu64 " promised",
			rs->free_clusters, rs->dirty_clusters, rs->promised_clusters,
			rs->free_inodes, rs->promised_inodes);
	if (!c->all)
		return;
	if (c->reserved != rs->dirty_clusters)
		problem(c,
			"space: %" PRIu64 " clusters reserved by files, %" PRIu64 " in the counter",
			c->reserved, rs->dirty_clusters);
	if (c->bound != rs->bound_clusters)
		problem(c,
			"space: %" PRIu64 " clusters promised to inodes, %" PRIu64
			" in the counter",
			c->bound, rs->bound_clusters);
	if (c->inodes != rs->promised_inodes)
		problem(c, "space: %" PRIu64 " new inodes, %" PRIu64 " in the counter", c->inodes,
			rs->promised_inodes);
}

/* What owners with quota limits take, against the sum over all that is pending. */
static void check_limits(struct check *c)
{
	struct dafs_qlimit *counted = c->ns->w->limits, *summed = NULL;
	errcode_t err;

	if (!counted || !c->all)
		return;
	err = dafs_qlimit_open(c->ns->img, &summed);
	c->ns->w->limits = summed;
	if (!err)
		err = dafs_ns_recharge(c->ns);
	c->ns->w->limits = counted;
	if (err)
		problem(c, "%s: %s", error_message(err), c->ns->ctx->detail);
	else if (!dafs_qlimit_same(counted, summed))
		problem(c, "owners with quota limits take other than what is counted");
	dafs_qlimit_free(summed);
}

uint64_t dafs_ns_check(struct dafs_ns *ns, int flags, void (*report)(void *arg, const char *line),
		       void *arg)
{
	struct check c = { .ns = ns, .report = report, .arg = arg };
	struct dafs_inode *inode;
	uint32_t i, n = 0;

	if (flags & DAFS_NS_VERIFY_ALL) {
		errcode_t err = dafs_ns_load_all(ns);

		if (err)
			problem(&c, "%s: %s", error_message(err), ns->ctx->detail);
		c.all = !err;
	}
	c.all = c.all || !ns->backing;
	DAFS_PTAB_EACH(&ns->inodes, i, inode) {
		n++;
		if (inode->marks & DAFS_NS_FREED)
			continue;
		if (S_ISDIR(inode->mode) && inode->u.dir)
			check_dir(&c, inode);
		check_space(&c, inode);
	}
	if (n != ns->inodes.n)
		problem(&c, "the inode table holds %" PRIu32 " inodes, not %" PRIu32, n,
			ns->inodes.n);
	DAFS_PTAB_EACH(&ns->inodes, i, inode) {
		check_links(&c, inode);
		inode->marks &= MARK_BITS;
	}
	check_sums(&c);
	check_limits(&c);
	return c.problems;
}

bool dafs_ns_verify(struct dafs_ns *ns)
{
	return !dafs_ns_check(ns, 0, NULL, NULL);
}
