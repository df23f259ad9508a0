/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mapping - an inode's blocks as `stat` lists them (req_map.c). */
#ifndef DAFSDEBUG_MAPPING_H
#define DAFSDEBUG_MAPPING_H

#include "dafsdebug/dafsdebug.h"

/* Print "EXTENTS:" or "BLOCKS:" and the list. Damage is noted. */
errcode_t dafsdebug_print_mapping(struct dafsdebug *dd, const struct dafs_inspect *in);

/* Add "extents" and "nodes" to out. Damage is noted. */
errcode_t dafsdebug_json_mapping(struct dafsdebug *dd, struct json_object *out,
				 const struct dafs_inspect *in);

#endif
