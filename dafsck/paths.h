/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * paths - the paths of what findings are about, for --json: looked up once, after the check, in
 * what the image is then.
 */
#ifndef DAFSCK_PATHS_H
#define DAFSCK_PATHS_H

#include "cli/json.h"

/* Add "path" to each of the findings (objects with "inode", "directory" and "name") whose inode, or
 * else directory entry or directory, has a name. Best effort: in a file system that cannot be
 * opened, or is too damaged to be walked, there are no paths, or some. */
void dafsck_paths_add(const char *address, struct json_object *findings);

#endif
