#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Random operations on a host directory and, as a script, on an image: the two must be equal. The seed is in the output.

load helpers

# model SEED STEPS PIECES MKDAFS-OPTION...: run the operations in PIECES scripts, with a flush after every second one.
model() {
  local seed=$1 steps=$2 pieces=$3 i times=
  shift 3
  [[ "$*" != *"-I 128"* ]] || times=coarse
  echo "seed $seed, $steps steps, mkdafs $*"
  mkdir -p host data
  chmod 0755 host
  randops "$seed" "$steps" "$T/host" "$T/data" $times >all.script
  run_tool 0 mkdafs -q "$@" img 96M
  split -n "l/$pieces" -d all.script piece.
  i=0
  for piece in piece.*; do
    run_tool 0 dawrite -q img script "$piece"
    if [ $((++i % 2)) = 0 ]; then
      run_tool 0 dawrite -q img flush
      assert_fsck_clean img
    fi
  done
  run_tool 0 dawrite img touch -d @1 /
  touch -d @1 host
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  if [ -n "${unmounted:-}" ]; then
    mkdir -p m
    run_tool 0 dafsdebug -R "rdump / m" img
    rm -rf m/lost+found
    touch -d @1 m # as it was before the removal
    compare_trees -H 0 host m
    rm -rf m
  else
    mount_ro img m
    compare_trees -H 0 host m
    unmount m
  fi
  rm -rf host data img piece.* all.script
}

@test "random operations, 4K blocks, with and without flushes between" {
  need_root_loop
  model 1 1500 1
  model 2 1500 6
  model "$((RANDOM + 100))" 800 9
}

@test "random operations, 1K blocks, no journal" {
  need_root_loop
  model 3 1200 5 -b 1024 -O ^has_journal
  model 4 600 40 -b 1024
}

@test "random operations, 2K blocks, and 64K blocks, which few kernels mount" {
  need_root_loop
  model 10 600 5 -b 2048
  local unmounted=1
  model 11 500 4 -F -b 65536
  model 12 300 3 -F -b 65536 -O ^has_journal
}

@test "random operations, bigalloc" {
  need_root_loop
  model 5 1000 6 -O bigalloc -C 16384
  model 6 1000 1 -O bigalloc -C 65536
}

@test "random operations, inline data, small inodes, no checksums, 32 bit" {
  need_root_loop
  model 7 800 4 -O inline_data
  model 10 800 40 -O inline_data,ea_inode -I 512 -b 1024
  model 8 800 4 -I 128 -O ^metadata_csum,^64bit,^flex_bg
  model 9 800 4 -O ^dir_index,^resize_inode
}
