#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# The rules of placement by machine, on random trees and edits: tests/lib/layoutcheck reads the images by itself. A sample by
# default; 300 trees and 60 histories with DAFS_TEST_LONG.

load helpers

lib=$DAFS_SRCDIR/tests/lib

many() { # SAMPLE LONG: how many
  [ -n "${DAFS_TEST_LONG:-}" ] && echo "$2" || echo "$1"
}

setup() {
  dafs_setup
  need python3
}

@test "fresh images: one extent for 32768 blocks, one free run a group, trees of least depth" {
  local seed options
  for seed in $(seq 1 "$(many 12 300)"); do
    options=$("$lib/layoutcase" tree "$seed" tree.tar)
    # shellcheck disable=SC2086
    run_tool 0 mkdafs -q -F --no-sync -d tree.tar ${options% *} img "${options##* }"
    # shellcheck disable=SC2086
    run_tool 0 mkdafs -q -F --no-sync ${options% *} empty "${options##* }"
    assert_fsck_clean img
    run_tool 0 "$lib/layoutcheck" --fresh empty img || { echo "seed $seed"; return 1; }
  done
}

@test "images that are edited, grow and shrink: trees and indexes of least depth" {
  local seed round block
  for seed in $(seq 1 "$(many 3 60)"); do
    block=$((seed % 2 ? 1024 : 4096))
    for n in 1 3; do head -c $((n * block)) /dev/urandom >piece$n; done
    run_tool 0 mkdafs -q -F --no-sync -b $block -N 8192 img 96M
    for round in 0 1 2 3; do
      "$lib/layoutcase" edits "$seed" "$round" $block >script
      run_tool 0 dawrite -q --no-sync -f img script script
      assert_fsck_clean img
      run_tool 0 "$lib/layoutcheck" img || { echo "seed $seed, round $round"; return 1; }
    done
  done
}

@test "64 files appended to in turn, 4 KiB a time, 16 MiB each, over many calls: 64 extents" {
  need jq
  head -c 4096 /dev/urandom >block
  # A call appends a block to each file, 256 times, in turn; 16 calls.
  for _ in $(seq 256); do for f in $(seq 1 64); do echo "write -a --from block /f$f"; done; done >turns
  run_tool 0 mkdafs -q --no-sync -b 4096 img 1200M
  for _ in $(seq 16); do run_tool 0 dawrite -q --no-sync img script turns; done
  run_tool 0 dawrite --json --no-sync img flush
  [ "$(jq .data_blocks <<<"$output")" -eq $((64 * 4096)) ]
  run_tool 0 dafsdebug --json -R frag img
  [ "$(jq .files <<<"$output")" -eq 64 ]
  [ "$(jq .extents <<<"$output")" -eq 64 ]
  run_tool 0 mkdafs -q -F --no-sync -b 4096 empty 1200M
  run_tool 0 "$lib/layoutcheck" --fresh empty img
  assert_fsck_clean img
}
