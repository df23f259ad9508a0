/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_fx - what the tests of the offline cache share: a fresh image, its cache's path, small
 * pieces of pending work.
 *
 * store_fx_setup (the group's setup) -> fresh -> fx_open .. fx_close (ns_fx.h). cache_path is
 * that of the last fresh image.
 */
#ifndef TESTS_UNIT_STORE_FX_H
#define TESTS_UNIT_STORE_FX_H

#include "ns_fx.h"

static char cache_path[4096];

/* A fresh image called name, with equal bytes every time for equal options. */
static inline const char *fresh(const char *name, const char *options, const char *size)
{
	char all[512];

	snprintf(all, sizeof(all),
		 "-U 01234567-89ab-cdef-0123-456789abcdef -E "
		 "hash_seed=01234567-89ab-cdef-0123-456789abcdef %s",
		 options);
	scratch_run("rm -rf '%s.dacache'", scratch_path(name));
	snprintf(cache_path, sizeof(cache_path), "%s.dacache", scratch_path(name));
	return scratch_mke2fs(name, all, size);
}

static inline void host_dir(const char *path)
{
	assert_int_equal(scratch_run("rm -rf '%s' && mkdir -m 0755 '%s'", path, path), 0);
}

static inline bool has_cache(void)
{
	return access(cache_path, F_OK) == 0;
}

/* The cache verifies: its rows, slots, sums, and what they mean together. */
static inline void verify_store(struct fx *fx)
{
	uint64_t problems;

	scratch_ok(dafs_store_verify(fx->store, fx_say, NULL, &problems));
	assert_int_equal(problems, 0);
}

/* One command in a bracket: a failed one is rolled back. */
static inline void write_text(struct fx *fx, const char *path, const char *text)
{
	fx_begin(fx);
	scratch_ok(fx_write(fx, path, 0, text, strlen(text)));
	fx_end(fx);
}

static inline void expect_text(struct fx *fx, const char *path, const char *text)
{
	char buf[256];
	struct dafs_inode *inode;
	size_t got;

	scratch_ok(dafs_ns_lookup(fx->ns, path, 0, &inode));
	scratch_ok(dafs_delalloc_read(&fx->w, inode, buf, sizeof(buf), 0, &got));
	assert_int_equal(got, strlen(text));
	assert_memory_equal(buf, text, got);
}

/* Something of every kind pending, and the cache closed. */
static inline void pending_image(struct fx *fx, const char *img)
{
	fx_open(fx, img, true);
	write_text(fx, "/f", "pending text");
	fx_begin(fx);
	scratch_ok(fx_mkdir(fx, "/dir"));
	scratch_ok(fx_symlink(fx, "target", "/dir/link"));
	scratch_ok(fx_setxattr(fx, "/f", "user.name", "value", 5));
	fx_end(fx);
	fx_close(fx);
}

/* mke2fs and dafs have one clock, so that equal work gives equal bytes; nothing waits for the
 * disk. */
static inline int store_fx_setup(void **state)
{
	char now[32];
	int ret = scratch_setup(state);

	snprintf(now, sizeof(now), "%lld", (long long)scratch_ctx.now_sec);
	setenv("E2FSPROGS_FAKE_TIME", now, 1);
	scratch_ctx.no_sync = true;
	return ret;
}

#endif
