/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dir_fx - directories of a scratch image changed by plan and emit, beside a set of names that
 * says what must be in them. All names are links to a few files, whose link counts are put right
 * before e2fsck looks.
 */
#ifndef TESTS_UNIT_DIR_FX_H
#define TESTS_UNIT_DIR_FX_H

#include <ctype.h>
#include <uthash.h>

#include "codec_fx.h"
#include "image/dircodec.h"

struct dir_name {
	UT_hash_handle hh;
	uint32_t ino;
	uint8_t len;
	char name[256];
	char key[256];			/* folded where the directory is */
};

#define DIR_FX_FILES 4
struct dir_fx {
	struct fx fx;
	struct dafs_inode files[DIR_FX_FILES];
	struct dir_name *names;		/* what the directory must hold */
	uint32_t ino;			/* the directory */
	uint32_t iflags;
};

static inline void dir_fx_key(const struct dir_fx *d, const char *name, uint8_t len, char key[256])
{
	memset(key, 0, 256);
	for (int i = 0; i < len; i++)
		key[i] = d->iflags & EXT4_CASEFOLD_FL ? (char)tolower((unsigned char)name[i])
						      : name[i];
}

static inline struct dir_name *dir_fx_find(const struct dir_fx *d, const char *name, uint8_t len)
{
	struct dir_name *found;
	char key[256];

	dir_fx_key(d, name, len, key);
	HASH_FIND(hh, d->names, key, len, found);
	return found;
}

static inline void dir_fx_add(struct dir_fx *d, const char *name, uint8_t len,
			      struct dafs_inode *file)
{
	struct dir_name *n = calloc(1, sizeof(*n));

	assert_non_null(n);
	memcpy(n->name, name, len);
	n->len = len;
	n->ino = file->ino;
	file->nlink++;
	dir_fx_key(d, name, len, n->key);
	HASH_ADD(hh, d->names, key, len, n);
}

static inline void dir_fx_del(struct dir_fx *d, struct dir_name *n)
{
	for (int i = 0; i < DIR_FX_FILES; i++) {
		if (d->files[i].ino == n->ino)
			d->files[i].nlink--;
	}
	HASH_DEL(d->names, n);
	free(n);
}

/* One inode's new bytes: attributes, body as the plan has it. What a commit does, in small. */
static inline errcode_t dir_fx_apply(struct dir_fx *d, struct dafs_inode *self,
				     struct dafs_dirplan_req *req)
{
	struct dafs_image *img = d->fx.img;
	struct dafs_extlist xl = { 0 };
	struct dafs_blklist nodes = { 0 };
	union dafs_inode_buf buf = { 0 };
	struct dafs_dirplan *dp;
	uint32_t at;
	errcode_t err;

	if (req->ino) {
		scratch_ok(dafs_icodec_read(img, req->ino, &buf.raw, sizeof(buf)));
		scratch_ok(dafs_etree_decode(img, req->ino, &buf.raw, &xl, &nodes));
		scratch_ok(dafs_icodec_decode(img, req->ino, &buf.raw, self));
		req->raw = &buf.raw;
	}
	err = dafs_dirplan_new(img, req, &dp);
	if (err)
		goto out;
	assert_true(dafs_dirplan_verify(dp));
	at = dafs_dirplan_blks(dp) - dafs_dirplan_new_blks(dp);
	assert_int_equal(at, dafs_dirplan_blks(dp) ? dafs_extlist_blocks(&xl) : 0);
	for (; at < dafs_dirplan_blks(dp); at++)
		scratch_ok(dafs_extlist_append(&xl, fx_take_block(&d->fx), at, 1, false));
	scratch_ok(dafs_icodec_encode(img, self, 0, &buf.raw, img->inode_size));
	scratch_ok(dafs_dirplan_emit(dp, self, &xl, &buf.raw, &self->size));
	scratch_ok(dafs_icodec_encode(img, self, 0, &buf.raw, img->inode_size));
	if (dafs_dirplan_blks(dp))
		fx_map(&d->fx, self->ino, &xl, &nodes, &buf);
	fx_write_inode(&d->fx, self->ino, &buf);
	dafs_dirplan_free(dp);
out:
	dafs_extlist_fini(&xl);
	dafs_blklist_fini(&nodes);
	return err;
}

/* A new directory below parent, with these names in it. */
static inline errcode_t dir_fx_mkdir(struct dir_fx *d, uint32_t parent_ino, const char *name,
				     uint32_t iflags, const struct dafs_dirent_add *add,
				     size_t nadd, uint32_t *ino)
{
	struct dafs_inode parent = { 0 }, self = { .state = DAFS_I_NEW,
						   .mode = S_IFDIR | 0755,
						   .nlink = 2,
						   .iflags = iflags,
						   .generation = 17 };
	struct dafs_dirent_add entry = { name, (uint8_t)strlen(name), &self };
	struct dafs_dirplan_req up = { .ino = parent_ino, .add = &entry, .nadd = 1 };
	struct dafs_dirplan_req req = {
		.iflags = iflags, .add = add, .nadd = nadd, .dotdot = &parent
	};
	union dafs_inode_buf buf;
	errcode_t err;

	parent.ino = parent_ino;
	self.ino = fx_take_inode(&d->fx, true);
	err = dir_fx_apply(d, &self, &req);
	if (err)
		return err;
	*ino = self.ino;
	scratch_ok(dir_fx_apply(d, &parent, &up));
	scratch_ok(dafs_icodec_read(d->fx.img, parent_ino, &buf.raw, sizeof(buf)));
	buf.raw.i_links_count++;
	fx_write_inode(&d->fx, parent_ino, &buf);
	return 0;
}

/* The files that names are links to; the first name of each stands in the root directory. A
 * transaction stays open. */
static inline void dir_fx_open(struct dir_fx *d, const char *name, const char *options,
			       const char *hash, const char *size)
{
	const char *path = scratch_mke2fs(name, options, size);

	memset(d, 0, sizeof(*d));
	if (hash && !strcmp(hash, "unsigned"))
		assert_int_equal(
			scratch_run("debugfs -w -R 'ssv flags 2' '%s' >/dev/null 2>&1", path), 0);
	else if (hash)
		assert_int_equal(scratch_run("/sbin/tune2fs -E hash_alg=%s '%s' >/dev/null 2>&1",
					     hash, path),
				 0);
	fx_open(&d->fx, path, DAFS_IMAGE_RW);
	scratch_ok(dafs_txn_begin(d->fx.img));
	for (int i = 0; i < DIR_FX_FILES; i++) {
		struct dafs_inode *file = &d->files[i], root = { 0 };
		char text[16];
		struct dafs_dirent_add add = { text,
					       (uint8_t)snprintf(text, sizeof(text), "file%d", i),
					       file };
		struct dafs_dirplan_req req = { .ino = EXT2_ROOT_INO, .add = &add, .nadd = 1 };

		*file = (struct dafs_inode){ .state = DAFS_I_NEW,
					     .mode = S_IFREG | 0644,
					     .nlink = 1 };
		file->ino = fx_take_inode(&d->fx, false);
		scratch_ok(dir_fx_apply(d, &root, &req));
	}
}

/* Link counts into the files' inodes, and commit. */
static inline void dir_fx_commit(struct dir_fx *d)
{
	for (int i = 0; i < DIR_FX_FILES; i++) {
		union dafs_inode_buf buf = { 0 };
		struct dafs_blklist none = { 0 };
		struct dafs_extlist empty = { 0 };

		scratch_ok(dafs_icodec_encode(d->fx.img, &d->files[i], 0, &buf.raw,
					      d->fx.img->inode_size));
		scratch_ok(dafs_etree_encode(d->fx.img, d->files[i].ino, 0, &empty, &none, 0,
					     &buf.raw));
		fx_write_inode(&d->fx, d->files[i].ino, &buf);
	}
	fx_commit(&d->fx);
}

static inline void dir_fx_close(struct dir_fx *d)
{
	struct dir_name *n, *tmp;

	HASH_ITER(hh, d->names, n, tmp)
		dir_fx_del(d, n);
	fx_close(&d->fx);
}

struct dir_fx_count {
	struct dir_fx *d;
	uint32_t found, dots;
};

static inline errcode_t dir_fx_seen(void *arg, const struct dafs_dirent_view *de)
{
	struct dir_fx_count *c = arg;
	struct dir_name *n;

	if (de->name[0] == '.' && de->name_len <= 2 && (de->name_len == 1 || de->name[1] == '.')) {
		c->dots++;
		return 0;
	}
	n = dir_fx_find(c->d, de->name, de->name_len);
	assert_non_null(n);
	assert_int_equal(n->len, de->name_len);
	assert_memory_equal(n->name, de->name, de->name_len);
	assert_int_equal(n->ino, de->ino);
	assert_int_equal(de->file_type, c->d->fx.img->has_filetype ? EXT2_FT_REG_FILE : 0);
	c->found++;
	return 0;
}

/* Every name by walk and by look-up, and nothing else. */
static inline void dir_fx_compare(struct dir_fx *d)
{
	struct dir_fx_count c = { .d = d };
	struct dafs_dirent_view view;
	union dafs_inode_buf buf;
	struct dir_name *n, *tmp;

	scratch_ok(dafs_icodec_read(d->fx.img, d->ino, &buf.raw, sizeof(buf)));
	scratch_ok(dafs_dircodec_iterate(d->fx.img, d->ino, &buf.raw, dir_fx_seen, &c));
	assert_int_equal(c.found, HASH_COUNT(d->names));
	assert_int_equal(c.dots, 2);
	HASH_ITER(hh, d->names, n, tmp) {
		char other[256];

		memcpy(other, n->name, sizeof(other));
		if (d->iflags & EXT4_CASEFOLD_FL)
			other[0] = (char)toupper((unsigned char)other[0]);
		scratch_ok(dafs_dircodec_lookup(d->fx.img, d->ino, &buf.raw, other, n->len, &view));
		assert_int_equal(view.ino, n->ino);
	}
	assert_err(ENOENT,
		   dafs_dircodec_lookup(d->fx.img, d->ino, &buf.raw, "not there", 9, &view));
	scratch_ok(dafs_dircodec_lookup(d->fx.img, d->ino, &buf.raw, ".", 1, &view));
	assert_int_equal(view.ino, d->ino);
	scratch_ok(dafs_dircodec_lookup(d->fx.img, d->ino, &buf.raw, "..", 2, &view));
}

/* The directory's inode as it is now. */
static inline struct ext2_inode_large dir_fx_raw(struct dir_fx *d, union dafs_inode_buf *buf)
{
	scratch_ok(dafs_icodec_read(d->fx.img, d->ino, &buf->raw, sizeof(*buf)));
	return buf->raw;
}

#endif
