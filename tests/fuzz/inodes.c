/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inodes - inodes, extended attributes in them and in blocks. */
#include "config.h"

#include "tests/fuzz/fuzz.h"

static void write_seeds(void)
{
	fuzz_seed_inodes(1u << FUZZ_INODE | 1u << FUZZ_XATTRS);
}

FUZZ_IMAGE_TARGET(write_seeds)
