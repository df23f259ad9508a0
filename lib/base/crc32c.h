/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crc32c - the checksum of ext4 and jbd2 metadata: reflected polynomial 0x82F63B78, no final
 * inversion. Runs on the CPU's instruction where there is one (isa-l).
 */
#ifndef DAFS_BASE_CRC32C_H
#define DAFS_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue seed (~0 to begin) over len bytes. */
uint32_t dafs_crc32c(uint32_t seed, const void *buf, size_t len);

#endif
