/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scratch - what unit tests that need real images share: a temporary folder per program, shell
 * commands, small images by mke2fs. The folder is left behind when a test failed.
 */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include "test.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ctx.h"

static char scratch_dir[64];
static struct dafs_ctx scratch_ctx;

/* Group set-up: makes the folder and a context. */
static inline int scratch_setup(void **state)
{
	(void)state;
	strcpy(scratch_dir, "/tmp/dafs-unit-XXXXXX");
	if (!mkdtemp(scratch_dir))
		return -1;
	initialize_dafs_error_table();
	dafs_ctx_init(&scratch_ctx);
	/* A test that failed may have left an image open, and its lock with it. */
	scratch_ctx.lock_timeout_ms = 3000;
	return 0;
}

/* Run a command made printf-like; its exit status, or -1. */
__attribute__((format(printf, 1, 2))) static inline int scratch_run(const char *fmt, ...)
{
	char cmd[4096];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	status = system(cmd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Group tear-down. */
static inline int scratch_teardown(void **state)
{
	(void)state;
	return scratch_run("rm -rf '%s'", scratch_dir) ? -1 : 0;
}

/* A path in the folder; good until the 128th call after it. */
static inline const char *scratch_path(const char *name)
{
	static char bufs[128][256];
	static unsigned turn;
	char *buf = bufs[turn++ % 128];

	snprintf(buf, sizeof(bufs[0]), "%s/%s", scratch_dir, name);
	return buf;
}

/* Make an image with mke2fs: options and size as on its command line. */
static inline const char *scratch_mke2fs(const char *name, const char *options, const char *size)
{
	const char *path = scratch_path(name);

	unlink(path);
	assert_int_equal(
		scratch_run("/sbin/mke2fs -q -F %s '%s' %s >/dev/null 2>&1", options, path, size),
		0);
	return path;
}

/* Mount an image: options "ro" or "rw". (mount -o loop takes a device that still has the file from
 * a mount before, and that may be read-only. What others do with loop devices may get in
 * between.) */
static inline void scratch_mount(const char *path, const char *mnt, const char *options)
{
	assert_int_equal(
		scratch_run(
			"PATH=$PATH:/sbin:/usr/sbin; i=0; "
			"until dev=$(losetup -f --show '%s') && { mount -o %s $dev '%s'; bad=$?; "
			"losetup -d $dev; [ $bad = 0 ]; }; do "
			"i=$((i + 1)); [ $i -lt 50 ] || exit 1; sleep 0.1; done 2>/dev/null",
			path, options, mnt),
		0);
}

/* e2fsck -fn must end with 0 and print no finding: five lines of passes and the summary. */
static inline void scratch_fsck(const char *path)
{
	if (scratch_run("/sbin/e2fsck -fn '%s' >%s/fsck.log 2>/dev/null && "
			"! grep -vE '^Pass [1-5]|: [0-9]+/[0-9]+ files|^$' %s/fsck.log",
			path, scratch_dir, scratch_dir) != 0)
		fail_msg("e2fsck has findings on %s:", path);
}

/* As assert_ok, and shows the detail of scratch_ctx. */
#define scratch_ok(call)                                                                           \
	do {                                                                                       \
		errcode_t scratch_err = (call);                                                    \
		if (scratch_err)                                                                   \
			fail_msg("%s: %s: %s", #call, scratch_ctx.detail,                          \
				 error_message(scratch_err));                                      \
	} while (0)

#endif
