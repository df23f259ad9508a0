#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Free space in short runs: a flush beside the kernel's delayed allocation on a copy of the same image.

load helpers

setup() {
  dafs_setup
  need_root_loop
  need filefrag
  head -c 8M /dev/urandom >pool
}

# Pieces of all regular files below a directory, in sum, as the kernel reports them: IMAGE DIR. Sets files and pieces.
count_pieces() {
  local list
  mount_ro "$1" m
  list=$(find "m$2" -type f -print0 | xargs -0 filefrag | awk '{ files++; pieces += $(NF - 2) } END { print files, pieces }')
  umount m
  read -r files pieces <<<"$list"
}

# A file system with a past, made by the kernel: IMAGE SEED PERCENT|comb (tests/lib/agefs).
age() {
  mke2fs -q -F -t ext4 -b 4096 -m 0 -N 8192 -J size=4 "$1" 96M
  mount_rw "$1" m
  mkdir m/age
  agefs "$2" m/age "$3"
  umount m
}

# The same files into two copies; ours may not have more pieces in sum.
compare_with_kernel() { # IMAGE PART-OF-FREE-PERCENT
  local left i n sizes=(1 2 3 4 5 8 10 16 30 30 64 100 300)
  left=$(($(dumpe2fs -h "$1" 2>/dev/null | awk '/^Free blocks/ { print $3 }') * $2 / 100))
  mkdir work
  for ((i = 0; left > 0; i++)); do
    n=${sizes[i * 7 % 13]}
    [ "$n" -le "$left" ] || n=$left
    head -c $((n * 4096)) pool >"work/$(printf 'w%04d' "$i")"
    left=$((left - n))
  done
  cp --sparse=always "$1" kernel
  mount_rw kernel m
  mkdir m/work
  cp work/* m/work
  sync -f m
  umount m
  run_tool 0 dawrite -q -f "$1" import work /work
  assert_fsck_clean "$1"
  count_pieces kernel /work
  local kernel_files=$files kernel_pieces=$pieces
  count_pieces "$1" /work
  echo "$files files: the kernel $kernel_pieces pieces, dafs $pieces"
  [ "$files" -eq "$kernel_files" ]
  [ "$pieces" -le "$kernel_pieces" ]
  mount_ro "$1" m
  diff -r work m/work
}

@test "every other file of five blocks deleted" {
  age img 1 comb
  compare_with_kernel img 60
}

@test "random deletes, 60 % full" {
  age img 2 60
  compare_with_kernel img 60
}

@test "random deletes, 80 % full" {
  age img 3 80
  compare_with_kernel img 60
}

@test "random deletes, 95 % full" {
  age img 4 95
  # The kernel keeps 2 % to itself.
  compare_with_kernel img 40
}

@test "aged images by seed: block sizes, mixes of sizes, files that grow" {
  need jq
  # Fast ones of each kind; all with DAFS_TEST_LONG.
  local seeds="2 9 11 27"
  [ -z "${DAFS_TEST_LONG:-}" ] || seeds=$(seq -s ' ' 100)
  DAFS_AGED_SEEDS=$seeds run_tool 0 "$DAFS_SRCDIR/tests/kernel/aged"
}
