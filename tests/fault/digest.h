/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * digest - what is in an image, as two numbers, read by libext2fs alone (none of dafs' own readers
 * takes part): the tree (every path with its attributes, contents, target, extended attributes) and
 * its layout (every path with its inode number and blocks).
 */
#ifndef TESTS_FAULT_DIGEST_H
#define TESTS_FAULT_DIGEST_H

#include <et/com_err.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct digest {
	uint64_t tree, layout;
};

/* Of the image at path, which needs no recovery. list: one line a path goes there (NULL:
 * nowhere). */
errcode_t digest_image(const char *path, struct digest *out, FILE *list);

/* Does its superblock say that the journal is to be replayed? */
bool digest_needs_recovery(const char *path);
/* Is its superblock torn, as its checksum tells? */
bool digest_super_torn(const char *path);

#endif
