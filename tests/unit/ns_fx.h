/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ns_fx - what the tests of name space and cache share: an image opened with a store and a name
 * space over it, operations by path, the same operations on a host directory, and the comparison of
 * the two.
 *
 * fx_open -> operations, fx_begin/fx_end, fx_flush -> fx_close. Operations return error codes;
 * those of the host are made comparable by fx_errno. One world at a time may be open on an image.
 */
#ifndef TESTS_UNIT_NS_FX_H
#define TESTS_UNIT_NS_FX_H

#include "scratch.h"
#include "seeded.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/icodec.h"
#include "image/txn.h"
#include "ns/dir.h"
#include "store/store.h"

struct fx {
	struct dafs_image *img;
	struct dafs_store *store;
	struct dafs_ns *ns;
	struct dafs_reserve rs;
	struct dafs_write w;
	struct dafs_flush_stats stats;
	bool cached;
};

static inline errcode_t fx_dry_plan(void *arg, uint64_t *meta_clusters)
{
	struct fx *fx = arg;
	struct dafs_flush_opts opts = { .size = sizeof(opts) };
	struct dafs_changeset cs;
	struct dafs_plan *plan;
	errcode_t err = dafs_ns_collect(fx->ns, NULL, &cs);

	*meta_clusters = 0;
	if (err)
		return err;
	err = dafs_plan_new(fx->img, &cs, &opts, &plan);
	if (!err)
		*meta_clusters = dafs_plan_meta_clusters(plan);
	dafs_plan_free(plan);
	dafs_ns_uncollect(fx->ns, &cs);
	return err;
}

static inline errcode_t fx_names(struct fx *fx)
{
	errcode_t err;

	dafs_ns_reserve_init(fx->img, &fx->rs);
	err = dafs_store_load_reserve(fx->store, &fx->rs);
	if (err)
		return err;
	fx->w = (struct dafs_write){
		.img = fx->img,
		.reserve = &fx->rs,
		.stash = dafs_store_stash(),
		.stash_arg = fx->store,
		.dry_plan = fx_dry_plan,
		.dry_plan_arg = fx,
	};
	return dafs_ns_new(fx->img, &fx->w, fx->cached ? dafs_store_backing() : NULL, fx->store,
			   &fx->ns);
}

static inline void fx_close(struct fx *fx)
{
	dafs_ns_free(fx->ns);
	dafs_store_close(fx->store);
	dafs_image_close(fx->img);
	memset(fx, 0, sizeof(*fx));
}

/* Open path: with its cache, or (not cached) in memory only. */
static inline errcode_t fx_try_open(struct fx *fx, const char *path, bool cached, int store_flags)
{
	bool reads = store_flags & DAFS_STORE_RDONLY;
	errcode_t err;

	memset(fx, 0, sizeof(*fx));
	fx->cached = cached;
	scratch_ctx.detail[0] = '\0';
	err = dafs_image_open(&scratch_ctx, path, reads ? 0 : DAFS_IMAGE_RW, 0, 0, &fx->img);
	if (!err)
		err = dafs_store_open(fx->img, NULL, cached ? store_flags : DAFS_STORE_EPHEMERAL,
				      &fx->store);
	if (!err)
		err = fx_names(fx);
	if (err)
		fx_close(fx);
	return err;
}

static inline void fx_open(struct fx *fx, const char *path, bool cached)
{
	scratch_ok(fx_try_open(fx, path, cached, DAFS_STORE_CREATE));
}

static inline void fx_begin(struct fx *fx)
{
	scratch_ok(dafs_store_begin(fx->store));
}

static inline void fx_end(struct fx *fx)
{
	scratch_ok(dafs_store_commit(fx->store, fx->ns, &fx->rs));
}

static inline void fx_cancel(struct fx *fx)
{
	dafs_store_rollback(fx->store);
	dafs_ns_free(fx->ns);
	fx->ns = NULL;
	scratch_ok(fx_names(fx));
}

static inline void fx_say(void *arg, const char *line)
{
	(void)arg;
	print_message("# %s\n", line);
}

/* No invariant is broken. */
static inline void fx_verify(struct fx *fx)
{
	if (dafs_ns_check(fx->ns, DAFS_NS_VERIFY_ALL, fx_say, NULL))
		fail_msg("the name space has problems");
}

/* Flush what sel says (NULL: everything). Ends with what dafs_plan_execute says; settled unless
 * that failed. */
static inline errcode_t fx_try_flush(struct fx *fx, const struct dafs_ns_selection *sel)
{
	struct dafs_flush_opts opts = { .size = sizeof(opts) };
	struct dafs_changeset cs;
	struct dafs_plan *plan = NULL;
	errcode_t err;

	scratch_ok(dafs_ns_collect(fx->ns, sel, &cs));
	err = cs.n ? dafs_plan_new(fx->img, &cs, &opts, &plan) : 0;
	if (!err && plan)
		err = dafs_store_flush_begin(fx->store, &cs, plan, &cs.tag, &cs.tag_len);
	if (!err && plan) {
		err = dafs_plan_execute(plan, &fx->stats);
		if (!err) {
			dafs_ns_settled(fx->ns, &cs);
			err = dafs_store_flush_end(fx->store, &cs, fx->ns, &fx->rs);
		} else if (!fx->img->failed) {
			dafs_store_flush_abort(fx->store);
		}
	}
	dafs_plan_free(plan);
	dafs_ns_uncollect(fx->ns, &cs);
	return err;
}

static inline void fx_flush(struct fx *fx, const struct dafs_ns_selection *sel)
{
	scratch_ok(fx_try_flush(fx, sel));
}

/* --- operations by path --- */

static inline errcode_t fx_make(struct fx *fx, const char *path, uint16_t mode,
				struct dafs_inode **ret)
{
	struct dafs_inode *dir;
	const char *name;
	size_t len;
	errcode_t err = dafs_ns_parent(fx->ns, path, &dir, &name, &len);

	return err ? err : dafs_ns_create(fx->ns, dir, name, len, mode, ret);
}

static inline errcode_t fx_mkdir(struct fx *fx, const char *path)
{
	struct dafs_inode *inode;

	return fx_make(fx, path, S_IFDIR | 0755, &inode);
}

static inline errcode_t fx_symlink(struct fx *fx, const char *target, const char *path)
{
	struct dafs_inode *dir, *inode;
	const char *name;
	size_t len;
	errcode_t err = dafs_ns_parent(fx->ns, path, &dir, &name, &len);

	return err ? err : dafs_ns_symlink(fx->ns, dir, name, len, target, &inode);
}

static inline errcode_t fx_link(struct fx *fx, const char *from, const char *path)
{
	struct dafs_inode *dir, *inode;
	const char *name;
	size_t len;
	errcode_t err = dafs_ns_lookup(fx->ns, from, 0, &inode);

	if (!err)
		err = dafs_ns_parent(fx->ns, path, &dir, &name, &len);
	return err ? err : dafs_ns_link(fx->ns, dir, name, len, inode);
}

static inline errcode_t fx_remove(struct fx *fx, const char *path, bool dir_ok)
{
	struct dafs_inode *dir;
	const char *name;
	size_t len;
	errcode_t err = dafs_ns_parent(fx->ns, path, &dir, &name, &len);

	return err ? err : dafs_ns_unlink(fx->ns, dir, name, len, dir_ok);
}

static inline errcode_t fx_rename(struct fx *fx, const char *from, const char *to)
{
	struct dafs_ns_rename r;
	errcode_t err = dafs_ns_parent(fx->ns, from, &r.from_dir, &r.from, &r.from_len);

	if (!err)
		err = dafs_ns_parent(fx->ns, to, &r.to_dir, &r.to, &r.to_len);
	return err ? err : dafs_ns_rename(fx->ns, &r);
}

/* Write, making the file when it is absent. */
static inline errcode_t fx_write(struct fx *fx, const char *path, uint64_t off, const void *bytes,
				 size_t len)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fx->ns, path, DAFS_NS_FOLLOW, &inode);

	if (err == ENOENT)
		err = fx_make(fx, path, S_IFREG | 0644, &inode);
	if (!err && S_ISDIR(inode->mode))
		err = EISDIR;
	if (!err)
		err = dafs_ns_touch(fx->ns, inode, DAFS_I_DATA);
	return err ? err : dafs_delalloc_write(&fx->w, inode, off, bytes, len);
}

static inline errcode_t fx_truncate(struct fx *fx, const char *path, uint64_t size)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fx->ns, path, DAFS_NS_FOLLOW, &inode);

	if (!err && S_ISDIR(inode->mode))
		err = EISDIR;
	if (!err)
		err = dafs_ns_touch(fx->ns, inode, DAFS_I_DATA);
	return err ? err : dafs_delalloc_truncate(&fx->w, inode, size);
}

static inline errcode_t fx_chmod(struct fx *fx, const char *path, uint16_t mode)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fx->ns, path, DAFS_NS_FOLLOW, &inode);

	if (!err)
		err = dafs_ns_touch(fx->ns, inode, DAFS_I_ATTR);
	if (!err)
		inode->mode = (uint16_t)((inode->mode & S_IFMT) | mode);
	return err;
}

static inline errcode_t fx_setxattr(struct fx *fx, const char *path, const char *name,
				    const void *value, uint32_t len)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fx->ns, path, DAFS_NS_FOLLOW, &inode);

	return err ? err : dafs_ns_setxattr(fx->ns, inode, name, value, len);
}

/* dafs' code as the errno that the host gives for it. */
static inline int fx_errno(errcode_t err)
{
	switch (err) {
	case DAFS_ET_LOOP:
		return ELOOP;
	case DAFS_ET_NAME_TOO_LONG:
		return ENAMETOOLONG;
	case DAFS_ET_MLINK:
		return EMLINK;
	default:
		return (int)err;
	}
}

/* --- comparing --- */

struct fx_list {
	char names[512][256];
	size_t n;
};

static inline int fx_list_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

static inline errcode_t fx_list_one(void *arg, const char *name, uint8_t len, uint64_t id,
				    uint8_t type)
{
	struct fx_list *list = arg;

	(void)id;
	(void)type;
	assert_true(list->n < 512);
	memcpy(list->names[list->n], name, len);
	list->names[list->n++][len] = '\0';
	return 0;
}

static inline void fx_list_image(struct fx *fx, const char *path, struct fx_list *list)
{
	struct dafs_inode *dir;

	list->n = 0;
	scratch_ok(dafs_ns_lookup(fx->ns, path, 0, &dir));
	scratch_ok(dafs_ns_readdir(fx->ns, dir, fx_list_one, list));
	qsort(list->names, list->n, sizeof(list->names[0]), fx_list_order);
}

static inline void fx_list_host(const char *path, struct fx_list *list)
{
	DIR *dir = opendir(path);
	struct dirent *de;

	assert_non_null(dir);
	for (list->n = 0; (de = readdir(dir));) {
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			fx_list_one(list, de->d_name, (uint8_t)strlen(de->d_name), 0, 0);
	}
	closedir(dir);
	qsort(list->names, list->n, sizeof(list->names[0]), fx_list_order);
}

static inline void fx_same_bytes(struct fx *fx, struct dafs_inode *inode, const char *host,
				 const char *path)
{
	size_t size = inode->size, got = 0;
	char *ours = malloc(size + 1), *theirs = malloc(size + 1);
	int fd = open(host, O_RDONLY);

	assert_true(fd >= 0 && ours && theirs);
	assert_int_equal(read(fd, theirs, size), (ssize_t)size);
	close(fd);
	scratch_ok(dafs_delalloc_read(&fx->w, inode, ours, size, 0, &got));
	if (got != size || memcmp(ours, theirs, size)) {
		size_t at = 0;

		while (at < got && ours[at] == theirs[at])
			at++;
		fail_msg("%s: byte %zu of %zu differs", path, at, size);
	}
	free(ours);
	free(theirs);
}

static inline void fx_same_inode(struct fx *fx, const char *host, const char *path)
{
	struct dafs_inode *inode;
	struct stat st;
	char target[4096];
	ssize_t len;

	scratch_ok(dafs_ns_lookup(fx->ns, path, 0, &inode));
	assert_int_equal(lstat(host, &st), 0);
	if (inode->mode != st.st_mode)
		fail_msg("%s: mode 0%o, the host has 0%o", path, inode->mode, st.st_mode);
	if (inode->nlink != st.st_nlink)
		fail_msg("%s: %u links, the host has %u", path, inode->nlink,
			 (unsigned)st.st_nlink);
	if (!S_ISDIR(st.st_mode) && inode->size != (uint64_t)st.st_size)
		fail_msg("%s: size %llu, the host has %llu", path, (unsigned long long)inode->size,
			 (unsigned long long)st.st_size);
	if (S_ISREG(st.st_mode))
		fx_same_bytes(fx, inode, host, path);
	if (S_ISLNK(st.st_mode)) {
		scratch_ok(dafs_ns_target(fx->ns, inode));
		len = readlink(host, target, sizeof(target));
		if (len != (ssize_t)strlen(inode->u.target) ||
		    memcmp(target, inode->u.target, (size_t)len))
			fail_msg("%s: target %s", path, inode->u.target);
	}
}

/* The trees below a host directory and a path are equal; lost+found is nobody's. The root's own
 * mode is not compared. */
static inline void fx_same_tree(struct fx *fx, const char *host, const char *path)
{
	struct fx_list *ours = malloc(sizeof(*ours)), *theirs = malloc(sizeof(*theirs));
	char *host_sub = malloc(4096), *sub = malloc(4096);

	assert_true(ours && theirs && host_sub && sub);
	fx_list_image(fx, path[0] ? path : "/", ours);
	fx_list_host(host, theirs);
	for (size_t i = 0, k = 0; i < ours->n || k < theirs->n; i++, k++) {
		struct stat st;

		if (!path[0] && i < ours->n && !strcmp(ours->names[i], "lost+found")) {
			k--;
			continue;
		}
		if (i == ours->n || k == theirs->n || strcmp(ours->names[i], theirs->names[k]))
			fail_msg("%s/: %s here, %s on the host", path,
				 i < ours->n ? ours->names[i] : "nothing",
				 k < theirs->n ? theirs->names[k] : "nothing");
		snprintf(host_sub, 4096, "%s/%s", host, ours->names[i]);
		snprintf(sub, 4096, "%s/%s", path, ours->names[i]);
		fx_same_inode(fx, host_sub, sub);
		assert_int_equal(lstat(host_sub, &st), 0);
		if (S_ISDIR(st.st_mode))
			fx_same_tree(fx, host_sub, sub);
	}
	free(ours);
	free(theirs);
	free(host_sub);
	free(sub);
}

/* --- random operations, on both --- */

static inline void fx_random_path(struct rng *rng, char *path)
{
	static const char *const names[] = { "a", "b", "c", "dd", "e with space", "f" };
	uint32_t depth = 1 + rng_below(rng, 3);

	*path = '\0';
	while (depth--) {
		const char *name = names[rng_below(rng, 6)];

		path += sprintf(path, "/%s", name);
		if (!rng_below(rng, 40)) {
			memset(path, 'n', 200);
			path[200] = '\0';
			path += 200;
		}
	}
}

/* Does following path on the host pass through a symlink? Targets of the test's links are absolute
 * in the image. */
static inline bool fx_through_link(const char *host, const char *path)
{
	char at[8192];
	struct stat st;

	for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		int len = slash ? (int)(slash - path) : (int)strlen(path);

		snprintf(at, sizeof(at), "%s%.*s", host, len, path);
		if (lstat(at, &st))
			return false;
		if (S_ISLNK(st.st_mode))
			return true;
		if (!slash)
			return false;
	}
}

static inline int fx_host_write(const char *path, uint64_t off, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0644), err = 0;

	if (fd < 0)
		return errno;
	if (pwrite(fd, bytes, len, (off_t)off) != (ssize_t)len)
		err = errno;
	close(fd);
	return err;
}

/* One operation on fx and on the host directory; the outcome must be the same. */
static inline void fx_random_op(struct fx *fx, struct rng *rng, const char *host)
{
	static uint8_t bytes[20000];
	char a[2048], b[2048], ha[4096], hb[4096];
	uint64_t off = rng_below(rng, 4) ? rng_below(rng, 30000) : rng_below(rng, 400000);
	uint32_t what = rng_below(rng, 20), len = rng_len(rng, sizeof(bytes));
	uint16_t mode = (uint16_t)(0400 | rng_below(rng, 0400));
	errcode_t err = 0;
	int want = 0;

	if (geteuid()) /* the host's side must stay open to whoever runs this */
		mode |= 0300;
	fx_random_path(rng, a);
	fx_random_path(rng, b);
	snprintf(ha, sizeof(ha), "%s%s", host, a);
	snprintf(hb, sizeof(hb), "%s%s", host, b);
	/* The host would follow a link out of the tree; renaming and removing links themselves is
	 * fine. */
	if (fx_through_link(host, a) && what != 13 && what < 16)
		return;
	*strrchr(b, '/') = '\0';
	if (b[0] && fx_through_link(host, b))
		return;
	snprintf(b, sizeof(b), "%s", hb + strlen(host));
	if (what >= 13) {
		char up[2048];

		snprintf(up, sizeof(up), "%s", a);
		*strrchr(up, '/') = '\0';
		if (up[0] && fx_through_link(host, up))
			return;
	}
	for (uint32_t i = 0; i < len; i += 8)
		memcpy(bytes + i, &(uint64_t){ test_random(&rng->state) },
		       len - i < 8 ? len - i : 8);
	switch (what) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
		want = fx_host_write(ha, off, bytes, len);
		err = fx_write(fx, a, off, bytes, len);
		break;
	case 6:
		want = truncate(ha, (off_t)off) ? errno : 0;
		err = fx_truncate(fx, a, off);
		break;
	case 7:
	case 8:
	case 9:
		want = mkdir(ha, 0755) ? errno : 0;
		err = fx_mkdir(fx, a);
		break;
	case 10:
		want = symlink(b, ha) ? errno : 0;
		err = fx_symlink(fx, b, a);
		break;
	case 11:
	case 12:
		want = link(ha, hb) ? errno : 0;
		err = fx_link(fx, a, b);
		break;
	case 13:
	case 14:
		want = unlink(ha) ? errno : 0;
		err = fx_remove(fx, a, false);
		break;
	case 15:
		want = chmod(ha, mode) ? errno : 0;
		err = fx_chmod(fx, a, mode);
		break;
	case 16:
		want = rmdir(ha) ? errno : 0;
		err = fx_remove(fx, a, true);
		if (want == ENOTDIR) {
			/* Removes files too. */
			want = unlink(ha) ? errno : 0;
		}
		break;
	default:
		want = rename(ha, hb) ? errno : 0;
		err = fx_rename(fx, a, b);
	}
	if (fx_errno(err) != want)
		fail_msg("operation %u on %s, %s: %s (%s), the host says %s", what, a, b,
			 error_message(err), scratch_ctx.detail, strerror(want));
}

#endif
