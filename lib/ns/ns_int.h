/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ns_int - what the files of ns share.
 *
 * ns.c       the object, loading and freeing of inodes, marks, saving      lookup.c   paths
 * overlay.c  a directory's names: loading, one name, all names             edit.c     create, link,
 *            unlink; rename.c
 * inherit.c  what a new inode gets from its directory                      attr.c     touch,
 *            xattrs, targets
 * promise.c  upper bounds of metadata                                      collect.c  change sets:
 *            order.c, closure.c, settle.c
 * charge.c   what owners with quota limits take
 * select.c   which of them: sequence.c, shrink.c                                     verify.c   the
 *            invariants
 */
#ifndef DAFS_NS_NS_INT_H
#define DAFS_NS_NS_INT_H

#include "ns/dir.h"
#include "ns/ns.h"
#include "write/qlimit.h"

/* struct dafs_inode's marks. */
enum dafs_ns_marks {
	DAFS_NS_CHANGED = 1, /* in ns->changed: to be saved */
	DAFS_NS_SAVED = 2,   /* the backing has a row for it */
	DAFS_NS_FREED =
		4, /* was only pending and is no more: its row is to be deleted, then it is freed */
	DAFS_NS_REACHED = 8,   /* collect: some pending name leads to it */
	DAFS_NS_INVOLVED = 16, /* collect: to be visited */
	DAFS_NS_TAKEN = 32,    /* in the change set, from collect to settled or uncollect */
	DAFS_NS_INSIDE = 64,   /* collect: below a chosen path */
	DAFS_NS_QUEUED = 128,  /* closure: chosen */
	/* in the set as a directory that loses names, or a file that loses blocks; what is pending
	 * of it goes later */
	DAFS_NS_LOSING = 256,
	DAFS_NS_MARKS_END = 512
};

/* A row of the backing that no record stands for any more (another spelling took its place). */
struct dafs_ns_dead_row {
	uint64_t dir;
	struct dafs_name *name;
};

struct dafs_ns {
	struct dafs_image *img;
	struct dafs_ctx *ctx;
	struct dafs_write *w;
	const struct dafs_ns_backing *backing;
	void *backing_arg;
	struct dafs_pool pool;
	struct dafs_ptab inodes;
	struct dafs_inode **changed; /* with a backing: inodes to be saved, each once */
	size_t nchanged, changed_room;
	struct dafs_ns_dead_row *dead;
	size_t ndead;
	uint64_t next_serial;
	uint32_t generation_seed; /* of the image's state: of new inodes' generations */
	struct dafs_dirhash fold; /* of casefolded directories */
	bool collected;		  /* a change set is out */
};

/* The generation seed of the image's present state. */
void dafs_ns_seed(struct dafs_ns *ns);

/* Inodes in the table. */
struct dafs_inode *dafs_ns_find(const struct dafs_ns *ns, uint64_t id);
/* A fresh one with this id, in the table. NULL: no memory. */
struct dafs_inode *dafs_ns_new_inode(struct dafs_ns *ns, uint64_t id);
/* Out of the table, with all it owns; its promises were given back before. */
void dafs_ns_free_inode(struct dafs_ns *ns, struct dafs_inode *inode);
/* What an inode owns (file part, names, target, xattrs); the struct stays. */
void dafs_ns_fini_inode(struct dafs_ns *ns, struct dafs_inode *inode);
/* Its id becomes id. The table has room for it. */
void dafs_ns_rehash(struct dafs_ns *ns, struct dafs_inode *inode, uint64_t id);

/* Make room in ns->changed for n inodes more, so that marking cannot fail. ENOMEM. */
errcode_t dafs_ns_reserve_changed(struct dafs_ns *ns, size_t n);
/* Set state bits and queue it for saving; dafs_ns_reserve_changed came before. */
void dafs_ns_mark(struct dafs_ns *ns, struct dafs_inode *inode, unsigned state);

/* Record an error about a name in a directory, as its path. */
errcode_t dafs_ns_fail(struct dafs_ns *ns, errcode_t code, const struct dafs_inode *dir,
		       const char *name, size_t name_len);
/* DAFS_ET_SEQUENCE while a change set is out. */
errcode_t dafs_ns_may_change(struct dafs_ns *ns);
/* Refusals of a change of this inode's attributes, data, names or place. why: for the detail. 0,
 * EPERM, DAFS_ET_IMMUTABLE. */
errcode_t dafs_ns_inode_refuses(struct dafs_ns *ns, const struct dafs_inode *inode, bool append_ok);
void dafs_ns_stamp(struct dafs_ns *ns, struct dafs_inode *inode, bool content);

/* overlay.c */
/* How names of a directory compare (dir.h). */
const struct dafs_dirhash *dafs_ns_fold(const struct dafs_ns *ns, const struct dafs_inode *dir);
/* The directory part, made when absent. ENOTDIR. */
errcode_t dafs_ns_dir(struct dafs_ns *ns, struct dafs_inode *inode, struct dafs_dir **ret);
/* The record of a name, from table, backing or image, remembered; NULL: nobody has the name. */
errcode_t dafs_ns_name(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
		       size_t name_len, struct dafs_name **ret);
/* All pending names into the table. */
errcode_t dafs_ns_load_pending(struct dafs_ns *ns, struct dafs_inode *dir);
/* Everything pending, inodes and names. */
errcode_t dafs_ns_load_all(struct dafs_ns *ns);
/* The parent of a directory: known, or ".." of the image. A broken one is the root. */
errcode_t dafs_ns_dotdot(struct dafs_ns *ns, struct dafs_inode *dir, struct dafs_inode **ret);
/* What the image says ".." of a directory is (0 for a new one). */
errcode_t dafs_ns_image_dotdot(struct dafs_ns *ns, struct dafs_inode *dir, uint32_t *ino);
errcode_t dafs_ns_is_empty(struct dafs_ns *ns, struct dafs_inode *dir, bool *empty);

/* attr.c: where the inode's attributes would go; do they fit? The path is worked out for the
 * message only: finding it may mean searching a large directory. */
struct dafs_xattr_layout;
errcode_t dafs_ns_plan_xattrs(struct dafs_ns *ns, const struct dafs_inode *inode,
			      struct dafs_xattr_layout *lay);

/* inherit.c: flags, project, group, ACLs for a new inode whose mode, ids and times are set. */
errcode_t dafs_ns_inherit(struct dafs_ns *ns, struct dafs_inode *dir, struct dafs_inode *inode);

/* promise.c: a change was made; before is the sum of dafs_ns_promised over the inodes it touched,
 * as it was. Takes or gives back the difference for owner's sake; on failure the counters are as
 * before and the caller undoes its change. */
void dafs_ns_act_for(struct dafs_ns *ns,
		     const struct dafs_inode *owner); /* sets the write path's privileged */
struct dafs_ns_promise dafs_ns_promise_add(struct dafs_ns_promise a, struct dafs_ns_promise b);
errcode_t dafs_ns_repromise(struct dafs_ns *ns, const struct dafs_inode *owner,
			    struct dafs_ns_promise before, struct dafs_ns_promise after);
/* The same where something was only taken away: nothing is asked for, it cannot fail. */
void dafs_ns_unpromise(struct dafs_ns *ns, struct dafs_ns_promise before,
		       struct dafs_ns_promise after);

/* charge.c: what a change makes its owners take, for those with quota limits (write/qlimit.h).
 *
 * Before the change: add every inode whose use it may change, new what it makes (ids are set), last
 * what loses its last name by it. After it, and before it is asked for its promise: take, which may
 * refuse (DAFS_ET_QUOTA_SPACE, DAFS_ET_QUOTA_INODES; nothing is counted then); undo, when the
 * change is taken back after all. Without limits all of it does nothing. File data are the write
 * path's business. */
enum { DAFS_NS_CHARGE_MOST = 4 };
struct dafs_ns_charge {
	struct dafs_ns *ns;
	struct dafs_ns_charged {
		const struct dafs_inode *inode; /* NULL: after is known: nothing */
		struct dafs_qlimit_use before, after;
	} v[DAFS_NS_CHARGE_MOST];
	unsigned n, taken;
};
errcode_t dafs_ns_charge_add(struct dafs_ns_charge *c, const struct dafs_inode *inode);
void dafs_ns_charge_new(struct dafs_ns_charge *c, const struct dafs_inode *inode);
errcode_t dafs_ns_charge_last(struct dafs_ns_charge *c, const struct dafs_inode *inode);
errcode_t dafs_ns_charge_take(struct dafs_ns_charge *c);
void dafs_ns_charge_undo(struct dafs_ns_charge *c);
/* Instead of take, for a change that cannot be refused since it only takes away. Where a use cannot
 * be told any more, the one before stays counted. */
void dafs_ns_charge_give(struct dafs_ns_charge *c);

/* A file that goes piece by piece, as it was before. */
struct dafs_ns_shrink {
	struct dafs_inode *inode; /* NULL: none */
	void *any;		  /* its u */
	uint64_t size;
	uint32_t nlink;
	uint16_t state;
	uint32_t cut_lblk; /* blocks from here on go now */
};

/* A change set's other half (cs->arg). */
struct dafs_ns_collection {
	struct dafs_ns *ns;
	struct dafs_ns_collected *ids; /* of cs->inodes, as collected */
	bool all;
	struct dafs_part part;
	struct dafs_ns_shrink shrink;
	struct dafs_inode **waiting; /* cs->waiting */
	struct dafs_ns_promise
		promise; /* of all of them: the commit changes what it is reckoned from */
	bool settled;
};

/* collect.c: a LOSING inode of a set is what it was before: a directory GONE, a file with all that
 * is pending of it. */
void dafs_ns_end_losing(struct dafs_ns_collection *col, struct dafs_inode *inode);

/* shrink.c. choose: is inode a file of which more is to be freed than the journal holds at once?
 * Then it is QUEUED and LOSING, and shrink->inode. begin: for the length of the flush it is one cut
 * off at cut_lblk. end: it is what it was before, and no more LOSING. */
errcode_t dafs_ns_shrink_choose(struct dafs_ns *ns, struct dafs_inode *inode,
				struct dafs_ns_shrink *shrink);
errcode_t dafs_ns_shrink_begin(struct dafs_ns *ns, struct dafs_inode *inode,
			       struct dafs_ns_shrink *shrink);
void dafs_ns_shrink_end(struct dafs_ns_shrink *shrink);

/* order.c: every dirty inode in reading order. What lies below an inode marked INSIDE becomes
 * INSIDE. The array is the caller's. */
errcode_t dafs_ns_order(struct dafs_ns *ns, struct dafs_inode ***order, size_t *n);

/* select.c: the inodes of a change set, by selection or from a list; and the file that goes in
 * part. */
errcode_t dafs_ns_select(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			 struct dafs_changeset *cs, struct dafs_ns_collection *col);
errcode_t dafs_ns_reselect(struct dafs_ns *ns, const struct dafs_ns_flushed *flushed, size_t n,
			   struct dafs_changeset *cs, struct dafs_ns_collection *col);

/* sequence.c: order (n inodes) in the order in which sel's limits take them. The array is the
 * caller's. ENOMEM. */
errcode_t dafs_ns_sequence(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			   struct dafs_inode *const *order, size_t n, struct dafs_inode ***ret);

/* closure.c: from the inodes marked QUEUED to all that must go with them (QUEUED too). trees_cut:
 * what was in a removed directory may go before it (more is removed than the journal holds at
 * once); the directory is LOSING then. */
errcode_t dafs_ns_close(struct dafs_ns *ns, bool trees_cut);
/* Does a pending name go with the change set that is out? (Its child, or what it replaces, is
 * taken, and not only losing names.) */
bool dafs_ns_name_taken(const struct dafs_ns *ns, const struct dafs_name *name);

#endif
