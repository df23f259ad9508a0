/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ns - the pending name space over the image: what a reader would see after the flush.
 *
 * Inodes and directories are loaded when asked for: first from the backing (the offline cache's rows, or none), then from the image.
 * A directory of the image is an overlay: names added, names taken away, everything else looked up in the image, so that a command on a
 * directory of 100,000 names costs what it changes. Operations follow POSIX; each either succeeds whole or changes nothing.
 *
 * Paths are absolute in the image, "/" separated; "." and ".." are resolved by walking; a trailing slash wants a directory; symlinks in the
 * middle are followed inside the image (at most 40: DAFS_ET_LOOP); "<N>" addresses inode N where flags say so.
 *
 * Invariants (dafs_ns_verify): nlink equals names (plus ".." for directories); a directory has one parent; an inode without names is GONE or freed.
 */
#ifndef DAFS_NS_NS_H
#define DAFS_NS_NS_H

#include "write/delalloc.h"
#include "write/flush.h"

struct dafs_ns;

/* Where pending state is kept between processes. All NULL (no backing): memory only. */
struct dafs_ns_backing {
	/* Load a pending inode (attributes, xattrs, target, file part). ENOENT: the image's version is the truth. */
	errcode_t (*load_inode)(void *arg, uint64_t id, struct dafs_inode **ret);
	/* One pending name of a directory: *id gets the child, 0 when it is whited out; ENOENT: nothing pending of that name. */
	errcode_t (*load_name)(void *arg, uint64_t dir, const char *name, uint8_t name_len, uint64_t *id);
	/* All pending names of a directory (child 0: whiteout). */
	errcode_t (*load_names)(void *arg, uint64_t dir, errcode_t (*fn)(void *fn_arg, const char *name, uint8_t name_len, uint64_t id),
				void *fn_arg);
	/* All pending inode ids, for the flush. */
	errcode_t (*load_all)(void *arg, errcode_t (*fn)(void *fn_arg, uint64_t id), void *fn_arg);
};

errcode_t dafs_ns_new(struct dafs_image *img, struct dafs_write *w, const struct dafs_ns_backing *backing, void *backing_arg,
		      struct dafs_ns **ret);
void dafs_ns_free(struct dafs_ns *ns);

enum dafs_ns_flags {
	DAFS_NS_FOLLOW = 1,	/* follow a symlink at the end */
	DAFS_NS_INO = 2,	/* accept "<N>" */
};

/* The inode at path. The pointer is good until the inode is gone or the ns is freed. ENOENT, ENOTDIR, DAFS_ET_LOOP, DAFS_ET_NAME_TOO_LONG. */
errcode_t dafs_ns_lookup(struct dafs_ns *ns, const char *path, int flags, struct dafs_inode **ret);

/* The directory that holds path's last component, and that component (pointing into path; len without trailing slashes). */
errcode_t dafs_ns_parent(struct dafs_ns *ns, const char *path, struct dafs_inode **dir, const char **name, size_t *name_len);

/* One component. ENOENT. */
errcode_t dafs_ns_child(struct dafs_ns *ns, struct dafs_inode *dir, const char *name, size_t name_len, struct dafs_inode **ret);
errcode_t dafs_ns_inode(struct dafs_ns *ns, uint64_t id, struct dafs_inode **ret);

/* Make an inode of mode's type under name: times from ctx, owner 0:0, generation chosen; inherits what ext4 inherits from dir. EEXIST. */
errcode_t dafs_ns_create(struct dafs_ns *ns, struct dafs_inode *dir, const char *name, size_t name_len, uint16_t mode,
			 struct dafs_inode **ret);
/* As create, for bulk import in sorted order into a directory known to be new: no duplicate look-up in the image. */
errcode_t dafs_ns_symlink(struct dafs_ns *ns, struct dafs_inode *dir, const char *name, size_t name_len, const char *target,
			  struct dafs_inode **ret);
errcode_t dafs_ns_link(struct dafs_ns *ns, struct dafs_inode *dir, const char *name, size_t name_len, struct dafs_inode *inode);
/* Remove a name (rmdir for an empty directory with dir_ok; ENOTEMPTY). The last name of a file frees its pending data. */
errcode_t dafs_ns_unlink(struct dafs_ns *ns, struct dafs_inode *dir, const char *name, size_t name_len, bool dir_ok);
/* rename(2): replaces a file or an empty directory; refuses to move a directory into itself (EINVAL). */
errcode_t dafs_ns_rename(struct dafs_ns *ns, struct dafs_inode *from_dir, const char *from, size_t from_len,
			 struct dafs_inode *to_dir, const char *to, size_t to_len);

/* Names of a directory as a reader sees them, "." and ".." left out, in no order. fn non-zero stops. */
errcode_t dafs_ns_readdir(struct dafs_ns *ns, struct dafs_inode *dir,
			  errcode_t (*fn)(void *arg, const char *name, uint8_t name_len, uint64_t id, uint8_t file_type), void *arg);

/* Load what an attribute change or xattr change needs, and mark the inode dirty (state bits of dafs_inode_state). */
errcode_t dafs_ns_touch(struct dafs_ns *ns, struct dafs_inode *inode, unsigned state);
errcode_t dafs_ns_xattrs(struct dafs_ns *ns, struct dafs_inode *inode);	/* makes inode->xattrs valid */
errcode_t dafs_ns_target(struct dafs_ns *ns, struct dafs_inode *inode);	/* makes u.target valid */

/* The path of an inode (one of its names), for messages. */
const char *dafs_ns_path(struct dafs_ns *ns, const struct dafs_inode *inode, char *buf, size_t room);

/* Everything pending (paths NULL), or what those paths need, as a change set in reading order: directories in path order, each
 * followed by its files in name order. Lives until dafs_ns_settled or dafs_ns_uncollect. */
errcode_t dafs_ns_collect(struct dafs_ns *ns, char *const *paths, size_t npaths, struct dafs_changeset *cs);
void dafs_ns_uncollect(struct dafs_ns *ns, struct dafs_changeset *cs);
/* Step 7: the change set is in the image: pending state of these inodes is dropped (es D -> W where kept). */
void dafs_ns_settled(struct dafs_ns *ns, struct dafs_changeset *cs);

/* Dirty inodes since the last call, for the store to save: fn for each changed inode and each changed name. */
errcode_t dafs_ns_changed(struct dafs_ns *ns, errcode_t (*inode_fn)(void *arg, const struct dafs_inode *inode),
			  errcode_t (*name_fn)(void *arg, uint64_t dir, const char *name, uint8_t name_len, uint64_t id, bool gone), void *arg);

bool dafs_ns_verify(struct dafs_ns *ns);

#endif
