/* SPDX-License-Identifier: GPL-2.0-or-later */
/* extents - extent trees and indirect maps. */
#include "config.h"

#include "tests/fuzz/fuzz.h"

static void write_seeds(void)
{
	fuzz_seed_inodes(1u << FUZZ_EXTENTS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	fuzz_seeds(write_seeds);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_image(data, size);
	return 0;
}
