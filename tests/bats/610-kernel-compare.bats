#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# The same work through the kernel's ext4, with its tracepoints on, and through dawrite: the short set of tests/kernel/compare.

load helpers

@test "beside the kernel: reservations, chunks, extents and bytes" {
  status=0
  "$DAFS_SRCDIR/tests/kernel/compare" -s >table 2>&1 || status=$?
  cat table
  [ "$status" -ne 77 ] || skip "$(sed -n 's/^skipped: //p' table)"
  [ "$status" -eq 0 ]
  [ "$(grep -c '| yes |$' table)" -eq 6 ]
}
