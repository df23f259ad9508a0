/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dirs - directory blocks, inline directories, indexes. */
#include "config.h"

#include "tests/fuzz/fuzz.h"

static void write_seeds(void)
{
	fuzz_seed_inodes(1u << FUZZ_LEAF);
}

FUZZ_IMAGE_TARGET(write_seeds)
