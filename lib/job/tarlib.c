/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tarlib - see tarlib.h.
 */
#include "config.h"

#include "job/tarlib.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* The number of its interface since version 3.0 (2011); what is declared in the headers is checked
 * against them by the compiler. */
#define SONAME "libarchive.so.13"

struct dafs_tarlib dafs_tarlib;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char problem[256]; /* "": it is loaded */

static void *symbol(void *lib, const char *name)
{
	void *at = lib ? dlsym(lib, name) : NULL;
	const char *why = at ? NULL : dlerror();

	if (!at && !problem[0])
		snprintf(problem, sizeof(problem), "%s", why ? why : name);
	return at;
}

static void load(void)
{
	void *lib = dlopen(SONAME, RTLD_LAZY | RTLD_LOCAL);
	void *at;

	/* A function's address is not a void pointer to ISO C, but to POSIX. */
#define DAFS_TARLIB_LOAD(name)                                                                     \
	at = symbol(lib, "archive_" #name);                                                        \
	memcpy(&dafs_tarlib.name, &at, sizeof(at));
	DAFS_TARLIB_FUNCTIONS(DAFS_TARLIB_LOAD)
#undef DAFS_TARLIB_LOAD
}

errcode_t dafs_tarlib_load(struct dafs_ctx *ctx)
{
	if (pthread_once(&once, load))
		return ENOMEM;
	return problem[0] ? dafs_fail(ctx, DAFS_ET_TAR, "%s", problem) : 0;
}
