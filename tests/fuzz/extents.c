/* SPDX-License-Identifier: GPL-2.0-or-later */
/* extents - extent trees and indirect maps. */
#include "config.h"

#include "tests/fuzz/fuzz.h"

static void write_seeds(void)
{
	fuzz_seed_inodes(1u << FUZZ_EXTENTS);
}

FUZZ_IMAGE_TARGET(write_seeds)
