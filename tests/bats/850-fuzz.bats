#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# The fuzzers' seeds and regressions through the decoders, and hostile images through the tools: a
# sample of what `make fuzz` does for hours.

load helpers

# What a target writes as seeds, and what was found with it before.
replay() { # TARGET
  local known=$DAFS_SRCDIR/tests/fuzz/corpus/$1
  export TMPDIR=$T
  mkdir -p seeds
  DAFS_FUZZ_SEEDS=seeds run_tool 0 "$DAFS_BUILDDIR/tests/fuzz/$1"
  [ -d "$known" ] || known=
  run_tool 0 timeout 300 "$DAFS_BUILDDIR/tests/fuzz/$1" seeds $known
  has_stderr " inputs"
  [ "${stderr%% *}" -ge 8 ]
}

@test "the images that fuzzing begins with are sound" {
  mkdir bases
  TMPDIR=$T DAFS_FUZZ_BASES=bases run_tool 0 "$DAFS_BUILDDIR/tests/fuzz/super"
  [ "$(ls bases | wc -l)" -ge 7 ]
  local base
  for base in bases/*; do assert_fsck_clean "$base"; done
}

@test "superblock, descriptors, bitmaps" { replay super; }
@test "extent trees and indirect maps" { replay extents; }
@test "directories and indexes" { replay dirs; }
@test "inodes and extended attributes" { replay inodes; }
@test "journals and fast commits" { replay journal; }
@test "the cache" { replay cache; }
@test "scripts" { replay script; }

@test "mutated images through dafsck, dafsdebug and dawrite" {
  TMPDIR=$T run_tool 0 timeout 600 "$DAFS_BUILDDIR/tests/fuzz/mutate" --count "${DAFS_TEST_MUTATIONS:-60}" --seed "${DAFS_TEST_SEED:-1}"
  has_output " images, 0 findings"
}

@test "memory ends: nothing crashes, nothing is half done" {
  [ -z "${DAFS_SANITIZED:-}" ] || skip "the sanitizer has a malloc of its own"
  TMPDIR=$T run_tool 0 timeout 600 "$DAFS_BUILDDIR/tests/fuzz/nomem" --stride "${DAFS_TEST_STRIDE:-97}"
  has_stderr " 0 failures"
}

@test "a directory that lies in itself is refused, not walked for ever" {
  run_tool 0 mkdafs -q img 8M
  run_tool 0 dawrite -f img mkdir -p /a/b
  debugfs -w -R "link a a/b/loop" img
  run_tool 1 timeout 20 dawrite img rm -r /a
  has_stderr "lies in itself"
  run_tool 0 timeout 20 dafsck -fy img || [ "$status" -eq 1 ]
  run_tool 0 dawrite -f img rm -r /a
}

@test "a tree of thousands of levels: extracted, not imported again, removed" {
  run_tool 0 mkdafs -q -N 8000 img 64M
  awk 'BEGIN { for (i = 0; i < 5000; i++) path = path "/d"; print "mkdir -p " path }' >script
  run_tool 0 dawrite -f img script script
  assert_fsck_clean img
  if [ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -gt 6000 ]; then
    mkdir out
    run_tool 0 dafsdebug -R "rdump /d out" img
    (ulimit -n "$(ulimit -Hn)" && run_tool 1 dawrite img import out / && has_stderr "directories deep")
    run_tool 0 dafsdebug -R "rdump /d/d/d out" img
  fi
  run_tool 0 dawrite img discard
  run_tool 0 dawrite -f img rm -r /d
  assert_fsck_clean img
}
