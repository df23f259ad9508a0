/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ns - the pending name space over the image: what a reader would see after the flush.
 *
 * Inodes and directories are loaded when asked for: first from the backing (the offline cache's
 * rows, or none), then from the image. A directory of the image is an overlay: names added, names
 * taken away, everything else looked up in the image, so that a command on a directory of 100,000
 * names costs what it changes. Operations follow POSIX as root sees it; each either succeeds whole
 * or changes nothing.
 *
 * Paths are absolute in the image, "/" separated (a leading "/" may be left out); "." and ".." are
 * resolved by walking; a trailing slash wants a directory; symlinks in the middle are followed
 * inside the image (at most 40: DAFS_ET_LOOP); "<N>" addresses inode N where flags say so.
 *
 * Space: every new inode, name, symlink target and xattr block is promised for when it is accepted
 * (promise.c), through dafs_delalloc_take; what is dropped while pending gives its promise back and
 * leaves no trace.
 *
 * Invariants (dafs_ns_verify):
 *  1. a new inode's nlink equals its pending names (plus "." and the ".." of its subdirectories for
 *     a directory);
 *  2. a name is pending exactly when it differs from what the image has under it;
 *  3. a directory's counters equal its pending names; a pending directory has one name;
 *  4. an inode without names is GONE (the image has it) or freed (it was only pending).
 *
 * An inode's life:
 *   -> dafs_ns_create, _symlink        NEW
 *   -> dafs_ns_inode (loaded)          clean, or as the backing has it
 *   clean -> dafs_ns_touch             dirty (ATTR, DATA, NAMES, XATTR)
 *   NEW -> last dafs_ns_unlink         freed
 *   clean, dirty -> last unlink        GONE
 *   dirty, NEW -> dafs_ns_settled      clean (id becomes the inode number); GONE -> freed, or GONE
 *   with fewer names
 */
#ifndef DAFS_NS_NS_H
#define DAFS_NS_NS_H

#include "write/delalloc.h"
#include "write/flush.h"

struct dafs_ns;

/* One pending name of a directory, as it travels between ns and its backing. */
struct dafs_ns_name {
	uint64_t id; /* the child; 0: whited out */
	const char *name;
	uint32_t image_ino; /* what the image has under that name; 0: nothing */
	uint8_t name_len;
	uint8_t file_type; /* EXT2_FT_* of the child; 0 when whited out */
	bool recased;	   /* casefolded directory: the image has the name in another spelling */
};

/* What goes on from process to process. */
struct dafs_ns_counters {
	uint64_t next_serial; /* of the next new inode: its id is DAFS_ID_NEW + serial */
	uint64_t next_seq;    /* struct dafs_write's */
};

typedef errcode_t (*dafs_ns_name_fn)(void *arg, const struct dafs_ns_name *name);

/* Where pending state is kept between processes. A NULL backing: memory only. */
struct dafs_ns_backing {
	errcode_t (*load_counters)(void *arg, struct dafs_ns_counters *counters);
	/* Fill a pending inode (attributes, xattrs, target, file part; of a directory u.dir with
	 * its counters, see ns/dir.h); id is set, all else zero. ENOENT: nothing pending, the
	 * image's version is the truth. On failure ns frees what was filled in. */
	errcode_t (*load_inode)(void *arg, struct dafs_inode *inode);
	/* One pending name of a directory; ENOENT: nothing pending of that name. out->name is the
	 * caller's. */
	errcode_t (*load_name)(void *arg, uint64_t dir, const char *name, uint8_t name_len,
			       struct dafs_ns_name *out);
	/* All pending names of a directory. */
	errcode_t (*load_names)(void *arg, uint64_t dir, dafs_ns_name_fn fn, void *fn_arg);
	/* All pending inode ids, for the flush, in ascending order. */
	errcode_t (*load_all)(void *arg, errcode_t (*fn)(void *fn_arg, uint64_t id), void *fn_arg);
};

/* A name space over img, writing through w (which must outlive it and belong to img). The backing
 * may be NULL. ENOMEM, or what load_counters says. */
errcode_t dafs_ns_new(struct dafs_image *img, struct dafs_write *w,
		      const struct dafs_ns_backing *backing, void *backing_arg,
		      struct dafs_ns **ret);
/* Free it with everything in it; pending state that was not saved is lost, the reserve is left as
 * it is. NULL is fine. */
void dafs_ns_free(struct dafs_ns *ns);

struct dafs_image *dafs_ns_image(struct dafs_ns *ns);
struct dafs_write *dafs_ns_writer(struct dafs_ns *ns);
void dafs_ns_counters(const struct dafs_ns *ns, struct dafs_ns_counters *out);

/* How many of the inodes in memory are dirty: after dafs_ns_collect, all that are pending. Looks at
 * each. */
size_t dafs_ns_pending(const struct dafs_ns *ns);

/* The counters of an image with nothing pending: free clusters and inodes, root-reserved
 * clusters. */
void dafs_ns_reserve_init(struct dafs_image *img, struct dafs_reserve *rs);

enum dafs_ns_flags {
	DAFS_NS_FOLLOW = 1, /* follow a symlink at the end */
	DAFS_NS_INO = 2,    /* accept "<N>", alone or as the beginning of a path */
};

/* The inode at path. The pointer is good until the inode is gone, the change set it was in is
 * settled, or the ns is freed. ENOENT, ENOTDIR, DAFS_ET_LOOP, DAFS_ET_NAME_TOO_LONG (the detail
 * names the path). */
errcode_t dafs_ns_lookup(struct dafs_ns *ns, const char *path, int flags, struct dafs_inode **ret);

/* The directory that holds path's last component, and that component (pointing into path; len
 * without trailing slashes, which the caller finds behind it). A last component "." or ".." is
 * EINVAL, the root itself EBUSY. */
errcode_t dafs_ns_parent(struct dafs_ns *ns, const char *path, struct dafs_inode **dir,
			 const char **name, size_t *name_len);

/* One component ("." and ".." too). ENOENT (without detail: asking is cheap), ENOTDIR,
 * DAFS_ET_NAME_TOO_LONG. */
errcode_t dafs_ns_child(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			size_t name_len, struct dafs_inode **ret);
/* An inode by id: an inode number, or DAFS_ID_NEW + serial. ENOENT: not in use. */
errcode_t dafs_ns_inode(struct dafs_ns *ns, uint64_t id, struct dafs_inode **ret);

/* Make an inode of mode's type under name: times from ctx, owner 0:0, generation chosen. Inherits
 * from dir what ext4 lets a new inode inherit: the flags of EXT4_FL_INHERITED, the project, the
 * group of a setgid directory, the default ACL (which masks mode). An importer that brings its own
 * attributes sets them afterwards. A directory's parent must not be GONE. EEXIST, DAFS_ET_NAME_BAD,
 * DAFS_ET_MLINK, DAFS_ET_NOINODES, DAFS_ET_NOSPC_META, DAFS_ET_QUOTA_*, DAFS_ET_IMMUTABLE,
 * DAFS_ET_ENCRYPTED, ENOTDIR. */
errcode_t dafs_ns_create(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			 size_t name_len, uint16_t mode, struct dafs_inode **ret);
/* As create, a symlink (0777). Targets are 1 to block size - 1 bytes: ENOENT,
 * DAFS_ET_NAME_TOO_LONG. */
errcode_t dafs_ns_symlink(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			  size_t name_len, const char *target, struct dafs_inode **ret);
/* One name more for a file. EPERM for a directory, DAFS_ET_MLINK at 65000, EXDEV between
 * projects. */
errcode_t dafs_ns_link(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
		       size_t name_len, struct dafs_inode *inode);
/* Remove a name. A directory: EISDIR without dir_ok, ENOTEMPTY unless it is empty, EBUSY for the
 * root. The last name of a file frees its pending data. */
errcode_t dafs_ns_unlink(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			 size_t name_len, bool dir_ok);

/* rename(2): replaces a file or an empty directory (EISDIR, ENOTDIR, ENOTEMPTY); refuses to move a
 * directory into itself (EINVAL); both names of one inode: nothing happens, but that one name of a
 * casefolded directory gets the new spelling. */
struct dafs_ns_rename {
	struct dafs_inode *from_dir;
	const char *from;
	size_t from_len;
	struct dafs_inode *to_dir;
	const char *to;
	size_t to_len;
};
errcode_t dafs_ns_rename(struct dafs_ns *ns, const struct dafs_ns_rename *req);

/* Names of a directory as a reader sees them, "." and ".." left out, in no order. fn non-zero stops
 * and is returned. fn must not change the directory. */
errcode_t dafs_ns_readdir(struct dafs_ns *ns, struct dafs_inode *dir,
			  errcode_t (*fn)(void *arg, const char *name, uint8_t name_len,
					  uint64_t id, uint8_t file_type),
			  void *arg);

/* Before a change of attributes or data: refuses what may not be changed (reserved inodes EPERM,
 * DAFS_ET_IMMUTABLE), marks the inode dirty with the state bits given, stamps ctime (and mtime for
 * DAFS_I_DATA), and says to the write path whether this owner may use root-reserved blocks. Call it
 * before every dafs_delalloc_* call that changes, after the owner is set. */
errcode_t dafs_ns_touch(struct dafs_ns *ns, struct dafs_inode *inode, unsigned state);
#define DAFS_NS_APPENDS                                                                            \
	0x10000u /* with DAFS_I_DATA: bytes are only added at the end (an append-only file allows that) */

/* Make inode->xattrs, or a symlink's u.target, valid. */
errcode_t dafs_ns_xattrs(struct dafs_ns *ns, struct dafs_inode *inode);
errcode_t dafs_ns_target(struct dafs_ns *ns, struct dafs_inode *inode);

/* Set, replace or (value NULL) remove one attribute; a name by its full spelling ("user.a").
 * Removing an absent one: ENODATA. DAFS_ET_XATTR_NAME, DAFS_ET_XATTR_TOO_BIG (detail names file and
 * attribute), DAFS_ET_NOSPC_META. Setting system.posix_acl_access does not touch the mode: the
 * caller brings both. */
errcode_t dafs_ns_setxattr(struct dafs_ns *ns, struct dafs_inode *inode, const char *name,
			   const void *value, uint32_t value_len);
/* The whole set at once (an import). On success the ns owns set, on failure the caller still
 * does. */
errcode_t dafs_ns_replace_xattrs(struct dafs_ns *ns, struct dafs_inode *inode,
				 struct dafs_xattr *set);

/* The path of an inode (one of its names), for messages: "<N>" where it is not to be had. room >=
 * 32. Returns buf. */
const char *dafs_ns_path(struct dafs_ns *ns, const struct dafs_inode *inode, char *buf,
			 size_t room);

/*
 * Change sets. Between collect and settled or uncollect nothing may be changed (DAFS_ET_SEQUENCE).
 *
 * A change set is in reading order: directories in path order, each followed by its files in name
 * order (bytewise); files and directories of the image whose names did not change come before the
 * changed names of their directory, by inode number.
 */

/* Which pending work to take. */
struct dafs_ns_selection {
	size_t size;	    /* sizeof(struct dafs_ns_selection) */
	char *const *paths; /* these (directories with all below); NULL: everything */
	size_t npaths;
	/* The first inodes in order up to about so many pending bytes, the last file perhaps in
	 * part; 0: no limit. */
	uint64_t max_data_bytes;
	/* The same by number, and where more is removed than that, directory by directory from the
	 * leaves of the tree on: until its turn comes a removed directory only loses names. 0: no
	 * limit. */
	size_t max_inodes;
	/* The next one does not fit into the journal by itself: where it is a file of which too
	 * much is to be freed, take a piece of that, and of nothing else. */
	bool shrink;
	bool order_dirty;  /* "in order" is by first dirtying; what has no data comes behind */
	bool everything;   /* paths are looked up and limits read, but all goes */
};

/* Everything that sel (NULL: all) names, and what it needs: new parents, all names of each inode,
 * what those names replace, all of a removed directory's children. Files that were written in part
 * before come first where a limit is set. A file goes in part (cs->part) only where that shows no
 * reader less than before: not one that takes the place of another, by name or by truncation. Link
 * counts of directories are those of the image after this change set. Memory: about 50 bytes an
 * inode beside what is loaded. ENOENT for a path; cs->n == 0 when there is nothing. */
errcode_t dafs_ns_collect(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			  struct dafs_changeset *cs);
/* Drop the set, nothing happened. */
void dafs_ns_uncollect(struct dafs_ns *ns, struct dafs_changeset *cs);
/* Does the set hold everything that is pending? */
bool dafs_ns_covers_all(const struct dafs_changeset *cs);
/* The ids the set's inodes had when it was collected; none without a backing. rows: after settling,
 * names that the backing has under that id as a directory go too (it was new, or is removed); an
 * old directory's names are reported one by one. */
struct dafs_ns_collected {
	uint64_t id : 63; /* ids are well below it: 2^32 + serial */
	uint64_t rows : 1;
};
const struct dafs_ns_collected *dafs_ns_collected(const struct dafs_changeset *cs, size_t *n);
/* Does it hold nothing but a piece of a file that is to be freed? Then everything is as pending
 * afterwards as before. */
bool dafs_ns_shrinks(const struct dafs_changeset *cs);
/* How much of an inode of the set goes, as struct dafs_ns_flushed has it. */
uint32_t dafs_ns_cut_of(const struct dafs_changeset *cs, const struct dafs_inode *inode);
/* Step 7: the change set is in the image (every inode of it has its number): pending state of these
 * inodes is dropped, new ones become inodes of the image, the reserve is brought up to date. Cannot
 * fail. Pointers to GONE inodes die here. The set itself lives on until dafs_ns_uncollect (the
 * store needs its ids for dafs_store_flush_end). */
void dafs_ns_settled(struct dafs_ns *ns, struct dafs_changeset *cs);
/* A change set again, after its process died and the image turned out to have it: from the ids it
 * had and the numbers they got (of an inode of the image, its own), ready for dafs_ns_settled.
 * DAFS_ET_CACHE_DAMAGED when they do not fit what is pending. */
struct dafs_ns_flushed {
	uint64_t id;
	uint32_t ino;
	/* Of a file that went in part: how far; of a removed directory that only lost names, or a
	 * file that only lost blocks: 0; DAFS_RANGE_END: the others. */
	uint32_t cut_lblk;
};
errcode_t dafs_ns_recollect(struct dafs_ns *ns, const struct dafs_ns_flushed *flushed, size_t n,
			    struct dafs_changeset *cs);

/* What changed since the last call, for the store to save: each inode and each name of a directory.
 * Nothing is forgotten unless all calls returned 0: a failed save can be repeated. Names of one
 * directory come in name order. */
enum dafs_ns_row {
	DAFS_NS_ROW_NEW, /* the backing has none */
	DAFS_NS_ROW_CHANGED,
	DAFS_NS_ROW_GONE, /* to be deleted; of a directory with all its names */
};
struct dafs_ns_change_ops {
	errcode_t (*inode)(void *arg, const struct dafs_inode *inode, enum dafs_ns_row row);
	errcode_t (*name)(void *arg, uint64_t dir, const struct dafs_ns_name *name,
			  enum dafs_ns_row row);
};
errcode_t dafs_ns_changed(struct dafs_ns *ns, const struct dafs_ns_change_ops *ops, void *arg);
/* The same for a backing that was emptied: everything counts as saved. */
void dafs_ns_unchanged(struct dafs_ns *ns);

/* Another owner. With quota, what the inode takes goes from the old one's account to the new one's:
 * DAFS_ET_QUOTA_SPACE, DAFS_ET_QUOTA_INODES (detail: path and limit); DAFS_ET_NOSPC_META. The inode
 * was touched. */
errcode_t dafs_ns_chown(struct dafs_ns *ns, struct dafs_inode *inode, uint32_t uid, uint32_t gid);

/* What owners with quota limits take by what is pending, anew from the image and all of that, which
 * must have been loaded (by dafs_ns_collect): after dafs_ns_settled. Looks at memory only: the
 * backing's rows may be of before. */
errcode_t dafs_ns_recharge(struct dafs_ns *ns);

/* Clusters and inodes that are promised for an inode's own metadata (names, target, xattrs; not the
 * file part's). */
struct dafs_ns_promise {
	uint64_t clusters;
	uint32_t inodes;
};
struct dafs_ns_promise dafs_ns_promised(const struct dafs_image *img,
					const struct dafs_inode *inode);

/* Check the invariants on everything that is loaded (with DAFS_NS_VERIFY_ALL: load everything
 * pending first). Problems go to report (may be NULL), one line each; returns how many. */
enum { DAFS_NS_VERIFY_ALL = 1 };
uint64_t dafs_ns_check(struct dafs_ns *ns, int flags, void (*report)(void *arg, const char *line),
		       void *arg);
bool dafs_ns_verify(struct dafs_ns *ns);

#endif
