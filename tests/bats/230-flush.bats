#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# What a flush does beyond one change set: several transactions, owners' quota, blocks chosen at the write.

load helpers

flushed() { run_tool 0 dawrite -q img flush && assert_fsck_clean img; }

@test "more live blocks than the journal holds go in several transactions" {
  run_tool 0 mkdafs -q -b 1024 -N 8192 -J size=1 img 32M
  mkdir src
  (cd src && seq 1 7000 | xargs touch)
  run_tool 0 dawrite img import src /
  flushed
  seq -f 'chown 5:6 /%.0f' 1 7000 >script
  run_tool 0 dawrite img script script
  run_tool 0 dawrite img flush
  has_output "transactions"
  assert_fsck_clean img
  run_tool 0 debugfs -R "stat /7000" img
  has_output "User:     5"
  run_tool 0 debugfs -R "stat /1" img
  has_output "User:     5"
  run_tool 0 dawrite img status
  has_output "nothing pending"
}

@test "quota: usage follows owners, sizes and removals" {
  run_tool 0 mkdafs -q -O quota,project img 64M
  head -c 300000 /dev/urandom >data
  run_tool 0 dawrite img put data /a
  run_tool 0 dawrite img put data /b
  run_tool 0 dawrite img chown 1000:100 /a
  flushed
  run_tool 0 dawrite img chown 2000:100 /b
  run_tool 0 dawrite img truncate /a 100
  flushed
  run_tool 0 dawrite img rm /a
  flushed
}

@test "without delayed allocation: other layout, same contents" {
  run_tool 0 mkdafs -q img 64M
  cp img delayed
  head -c 81920 /dev/urandom >one
  head -c 81920 /dev/urandom >two
  for at in $(seq 0 8192 73728); do
    for f in one two; do
      tail -c +$((at + 1)) $f | head -c 8192 >piece
      run_tool 0 dawrite --nodelalloc img write -o "$at" --from piece /$f
      run_tool 0 dawrite delayed write -o "$at" --from piece /$f
    done
  done
  run_tool 0 dawrite -q delayed flush
  flushed
  assert_fsck_clean delayed
  for image in img delayed; do
    for f in one two; do
      debugfs -R "dump /$f got" $image
      cmp got $f
    done
  done
  run_tool 0 debugfs -R "ex /one" delayed
  has_output " 0/ 0   1/  1     0 -    79"
  run_tool 0 debugfs -R "ex /one" img
  has_output "10/ 10"
}

@test "several blocks of descriptors, with bigalloc at 1 KiB blocks too, where they begin a block later" {
  local kind
  head -c 1M /dev/urandom >data
  for kind in "-g 1024" "-g 2048 -O bigalloc -C 2048" "-O bigalloc,meta_bg,^resize_inode -g 4096 -C 4096"; do
    # shellcheck disable=SC2086
    run_tool 0 mke2fs -q -F -t ext4 -b 1024 $kind img 256M
    run_tool 0 dawrite -q --no-sync img fallocate /all 0 200M
    run_tool 0 dawrite -q --no-sync img write --from data /data
    flushed
    run_tool 0 dawrite -q --no-sync img rm /all
    flushed
    debugfs -R "dump /data got" img && cmp data got
    rm -rf img img.dacache got
  done
}
