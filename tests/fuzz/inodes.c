/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inodes - inodes, extended attributes in them and in blocks. */
#include "config.h"

#include "tests/fuzz/fuzz.h"

static void write_seeds(void)
{
	fuzz_seed_inodes(1u << FUZZ_INODE | 1u << FUZZ_XATTRS);
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
