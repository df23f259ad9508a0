/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * write_fixture - a name space by hand, for the tests of the write path: inodes and names in
 * arrays, pending bytes in memory, flushes through dafs_plan_*. One session at a time.
 */
#ifndef TESTS_UNIT_WRITE_FIXTURE_H
#define TESTS_UNIT_WRITE_FIXTURE_H

#include "scratch.h"

#include <errno.h>

#include "image/group.h"
#include "image/icodec.h"
#include "write/delalloc.h"
#include "write/flush.h"

#define WF_MAX 4096

struct wf_name {
	struct dafs_inode *dir, *child;
	char name[256];
	bool del;
};

static struct wf {
	char path[256];
	struct dafs_image *img;
	struct dafs_reserve rs;
	struct dafs_write w;
	struct dafs_source src;
	uint8_t *bytes; /* the stash */
	size_t used, room;
	size_t dropped_blks;
	struct dafs_inode *inodes[WF_MAX];
	size_t n;
	struct wf_name names[WF_MAX];
	size_t nnames;
	uint64_t next_id;
	struct dafs_flush_stats stats;
	struct dafs_flush_opts opts;
} wf;

static errcode_t wf_src_read(struct dafs_source *src, struct dafs_ctx *ctx, void *buf, size_t len,
			     uint64_t off)
{
	(void)src;
	(void)ctx;
	assert_true(off + len <= wf.used);
	memcpy(buf, wf.bytes + off, len);
	return 0;
}

static const struct dafs_source_ops wf_src_ops = { .read = wf_src_read };

static uint8_t *wf_room(size_t len)
{
	if (wf.used + len > wf.room) {
		wf.room = (wf.used + len) * 2;
		wf.bytes = realloc(wf.bytes, wf.room);
		assert_non_null(wf.bytes);
	}
	wf.used += len;
	return wf.bytes + wf.used - len;
}

static errcode_t wf_put(void *arg, const void *blocks, uint32_t nblks, struct dafs_source **src,
			uint64_t *off)
{
	size_t len = (size_t)nblks * wf.img->block_size;
	(void)arg;

	memcpy(wf_room(len), blocks, len);
	*src = &wf.src;
	*off = wf.used - len;
	return 0;
}

static errcode_t wf_put_fd(void *arg, int fd, uint64_t off, uint64_t len, struct dafs_source **src,
			   uint64_t *src_off)
{
	size_t whole =
		(size_t)((len + wf.img->block_size - 1) / wf.img->block_size * wf.img->block_size);
	uint8_t *to = wf_room(whole);
	(void)arg;

	memset(to, 0, whole);
	*src = &wf.src;
	*src_off = wf.used - whole;
	return pread(fd, to, len, (off_t)off) == (ssize_t)len ? 0 : EIO;
}

static void wf_drop(void *arg, const struct dafs_page_run *gone)
{
	(void)arg;
	wf.dropped_blks += gone->len;
}

static const struct dafs_stash_ops wf_stash = { wf_put, wf_put_fd, wf_drop };

static inline void wf_open(const char *path)
{
	memset(&wf, 0, sizeof(wf));
	snprintf(wf.path, sizeof(wf.path), "%s", path);
	wf.next_id = DAFS_ID_NEW;
	wf.opts.size = sizeof(wf.opts);
	wf.src.ops = &wf_src_ops;
	scratch_ok(dafs_image_open(&scratch_ctx, path, DAFS_IMAGE_RW, 0, 0, &wf.img));
	wf.rs.free_clusters = dafs_group_total_free_clusters(wf.img);
	wf.rs.free_inodes = dafs_group_total_free_inodes(wf.img);
	wf.w = (struct dafs_write){
		.img = wf.img, .reserve = &wf.rs, .stash = &wf_stash, .privileged = true
	};
}

static inline void wf_forget_all(void)
{
	for (size_t i = 0; i < wf.n; i++) {
		struct dafs_inode *inode = wf.inodes[i];

		if (S_ISREG(inode->mode))
			dafs_delalloc_forget(&wf.w, inode);
		else if (S_ISLNK(inode->mode))
			free(inode->u.target);
		dafs_xattr_free(&inode->xattrs);
		free(inode);
	}
	wf.n = wf.nnames = 0;
}

static inline void wf_close(void)
{
	if (wf.img)
		wf_forget_all();
	dafs_image_close(wf.img);
	free(wf.bytes);
	wf.img = NULL;
	wf.bytes = NULL;
}

static inline struct dafs_inode *wf_add(void)
{
	assert_true(wf.n < WF_MAX);
	wf.inodes[wf.n] = calloc(1, sizeof(struct dafs_inode));
	assert_non_null(wf.inodes[wf.n]);
	return wf.inodes[wf.n++];
}

/* An inode of the image, once. */
static inline struct dafs_inode *wf_load(uint32_t ino)
{
	union dafs_inode_buf raw;
	struct dafs_inode *inode;

	for (size_t i = 0; i < wf.n; i++) {
		if (wf.inodes[i]->id == ino)
			return wf.inodes[i];
	}
	inode = wf_add();
	scratch_ok(dafs_icodec_read(wf.img, ino, &raw.raw, sizeof(raw)));
	scratch_ok(dafs_icodec_decode(wf.img, ino, &raw.raw, inode));
	return inode;
}

static inline struct dafs_inode *wf_root(void)
{
	return wf_load(2);
}

static inline struct dafs_inode *wf_lookup(struct dafs_inode *dir, const char *name)
{
	struct dafs_dirent_view de;
	union dafs_inode_buf raw;

	scratch_ok(dafs_icodec_read(wf.img, dir->ino, &raw.raw, sizeof(raw)));
	scratch_ok(
		dafs_dircodec_lookup(wf.img, dir->ino, &raw.raw, name, (uint8_t)strlen(name), &de));
	return wf_load(de.ino);
}

static inline void wf_name_add(struct dafs_inode *dir, const char *name, struct dafs_inode *child,
			       bool del)
{
	assert_true(wf.nnames < WF_MAX);
	wf.names[wf.nnames] = (struct wf_name){ .dir = dir, .child = child, .del = del };
	snprintf(wf.names[wf.nnames++].name, 256, "%s", name);
	dir->state |= DAFS_I_NAMES;
}

static inline struct dafs_inode *wf_new(struct dafs_inode *dir, const char *name, uint16_t mode)
{
	struct dafs_inode *inode = wf_add();

	inode->id = wf.next_id++;
	inode->mode = mode;
	inode->state = DAFS_I_NEW;
	inode->nlink = S_ISDIR(mode) ? 2 : 1;
	inode->parent = dir->id;
	inode->atime = inode->mtime = inode->ctime = inode->crtime = dafs_time_at(1700000000, 0);
	if (S_ISDIR(mode)) {
		dir->nlink++;
		inode->state |= DAFS_I_NAMES;
	}
	scratch_ok(dafs_reserve_take_inodes(&wf.rs, 1));
	wf_name_add(dir, name, inode, false);
	return inode;
}

/* Remove a name; the last one frees the inode. */
static inline void wf_unlink(struct dafs_inode *dir, const char *name, struct dafs_inode *inode)
{
	wf_name_add(dir, name, inode, true);
	if (S_ISREG(inode->mode))
		dafs_delalloc_forget(&wf.w, inode);
	if (S_ISDIR(inode->mode))
		dir->nlink--;
	inode->nlink = 0;
	inode->state |= DAFS_I_GONE;
}

/* ---- the change set ---- */

static errcode_t wf_dir_begin(void *arg, struct dafs_inode *dir, struct dafs_dirplan_req *req)
{
	struct dafs_dirent_add *add = calloc(wf.nnames + 1, sizeof(*add));
	struct dafs_dirent_del *del = calloc(wf.nnames + 1, sizeof(*del));
	(void)arg;

	for (size_t i = 0; i < wf.nnames; i++) {
		const struct wf_name *nm = &wf.names[i];

		if (nm->dir != dir)
			continue;
		if (nm->del)
			del[req->ndel++] =
				(struct dafs_dirent_del){ nm->name, (uint8_t)strlen(nm->name) };
		else
			add[req->nadd++] =
				(struct dafs_dirent_add){ nm->name, (uint8_t)strlen(nm->name),
							  nm->child };
	}
	req->add = add;
	req->del = del;
	if (dir->state & DAFS_I_NEW) {
		for (size_t i = 0; i < wf.n; i++) {
			if (wf.inodes[i]->id == dir->parent)
				req->dotdot = wf.inodes[i];
		}
	}
	return 0;
}

static void wf_dir_done(void *arg, struct dafs_inode *dir, struct dafs_dirplan_req *req)
{
	(void)arg;
	(void)dir;
	free((void *)req->add);
	free((void *)req->del);
}

static struct dafs_inode *wf_inode_of(void *arg, uint64_t id)
{
	(void)arg;
	for (size_t i = 0; i < wf.n; i++) {
		if (wf.inodes[i]->id == id)
			return wf.inodes[i];
	}
	return NULL;
}

static const char *wf_path_of(void *arg, const struct dafs_inode *inode, char *buf)
{
	(void)arg;
	snprintf(buf, 4096, "#%llu", (unsigned long long)inode->id);
	for (size_t i = 0; i < wf.nnames; i++) {
		if (wf.names[i].child == inode)
			snprintf(buf, 4096, "%s", wf.names[i].name);
	}
	return buf;
}

/* The dirty ones, in the order they were made. */
static inline void wf_changes(struct dafs_changeset *cs, struct dafs_inode **list)
{
	*cs = (struct dafs_changeset){ .inodes = list,
				       .dir_begin = wf_dir_begin,
				       .dir_done = wf_dir_done,
				       .inode_of = wf_inode_of,
				       .path_of = wf_path_of };
	for (size_t i = 0; i < wf.n; i++) {
		if (wf.inodes[i]->state & DAFS_I_DIRTY)
			list[cs->n++] = wf.inodes[i];
	}
}

static inline errcode_t wf_try_flush(void)
{
	static struct dafs_inode *list[WF_MAX];
	struct dafs_changeset cs;
	struct dafs_plan *plan;
	errcode_t err;

	wf_changes(&cs, list);
	err = dafs_plan_new(wf.img, &cs, &wf.opts, &plan);
	if (err)
		return err;
	err = dafs_plan_execute(plan, &wf.stats);
	dafs_plan_free(plan);
	return err;
}

/* Flush, forget everything and begin anew with the image as it is now. */
static inline void wf_flush(void)
{
	char path[256];

	strcpy(path, wf.path);
	scratch_ok(wf_try_flush());
	wf_close();
	scratch_fsck(path);
	wf_open(path);
}

/* For dafs_write.dry_plan. */
static inline errcode_t wf_dry_plan(void *arg, uint64_t *meta)
{
	static struct dafs_inode *list[WF_MAX];
	struct dafs_changeset cs;
	struct dafs_plan *plan;
	errcode_t err;
	(void)arg;

	wf_changes(&cs, list);
	err = dafs_plan_new(wf.img, &cs, &wf.opts, &plan);
	if (err)
		return err;
	*meta = dafs_plan_meta_clusters(plan);
	dafs_plan_free(plan);
	return 0;
}

/* Contents of a path of the image, by debugfs; malloc'ed. */
static inline uint8_t *wf_dump(const char *name, size_t *len)
{
	const char *out = scratch_path("dump");
	uint8_t *bytes;
	FILE *f;

	unlink(out);
	assert_int_equal(scratch_run("/sbin/debugfs -R 'dump \"%s\" %s' '%s' >/dev/null 2>&1", name,
				     out, wf.path),
			 0);
	f = fopen(out, "r");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	*len = (size_t)ftell(f);
	rewind(f);
	bytes = malloc(*len + 1);
	assert_int_equal(fread(bytes, 1, *len, f), *len);
	fclose(f);
	return bytes;
}

static inline void wf_expect(const char *name, const uint8_t *want, size_t want_len)
{
	size_t len;
	uint8_t *got = wf_dump(name, &len);

	assert_int_equal(scratch_run("/sbin/debugfs -R 'stat \"%s\"' '%s' 2>/dev/null | "
				     "grep -q ' Size: %zu$'",
				     name, wf.path, want_len),
			 0);
	/* Of a file in its inode debugfs gives all of i_block. */
	while (len > want_len && len <= 60) {
		len--;
		assert_int_equal(got[len], 0);
	}
	assert_int_equal(len, want_len);
	for (size_t i = 0; i < len; i++) {
		if (got[i] != want[i]) {
			print_error("%s: byte %zu of %zu is %02x, wanted %02x\n", name, i, len,
				    got[i], want[i]);
			fail();
		}
	}
	free(got);
}

/* Bytes that say where they are. */
static inline void wf_pattern(uint8_t *buf, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((i * 2654435761u >> 7) + seed * 97 + 1);
}

/* What `debugfs -R "REQUEST"` prints has this line fragment. */
static inline bool wf_debugfs_has(const char *request, const char *fragment)
{
	return scratch_run("/sbin/debugfs -R '%s' '%s' 2>/dev/null | grep -qF -e '%s'", request,
			   wf.path, fragment) == 0;
}

/* A file's first len bytes, by seed, written or expected. */
static inline void wf_fill(struct dafs_inode *f, size_t len, uint32_t seed)
{
	uint8_t *buf = malloc(len + 1);

	wf_pattern(buf, len, seed);
	scratch_ok(dafs_delalloc_write(&wf.w, f, 0, buf, len));
	free(buf);
}

static inline void wf_expect_fill(const char *name, size_t len, uint32_t seed)
{
	uint8_t *buf = malloc(len + 1);

	wf_pattern(buf, len, seed);
	wf_expect(name, buf, len);
	free(buf);
}

#endif
