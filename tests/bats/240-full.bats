#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Room: what was accepted can be flushed, and what is pending costs what its ranges cost. The property test is tests/unit/test_fill.c.

load helpers

setup() { dafs_setup; }

@test "an overwrite larger than the journal is refused when it is written, or flushed" {
  run_tool 0 mke2fs -q -F -t ext4 -b 1024 -J size=1 -m 0 img 16M
  head -c 2M /dev/urandom >old
  head -c 2M /dev/urandom >new
  run_tool 0 dawrite -q -f img write --from old /f
  free=$(dumpe2fs -h img 2>/dev/null | sed -n 's/^Free blocks: *//p')
  # Overwritten blocks move, where there is room for them; 2048 and a leaf or two are needed.
  for left in 0 1000 2040 2047 2048 2060 3000; do
    cp img try
    head -c $(((free - left) * 1024)) /dev/zero | tr '\0' x >bulk
    run_tool 0 dawrite -q --no-sync -f try write --from bulk /bulk
    want=new
    dawrite -q --no-sync try write --from new /f 2>err || want=old
    if [ $want = old ]; then
      grep -q 'No space left' err
      [ "$left" -lt 2060 ]
    else
      [ "$left" -ge 2048 ]
    fi
    run_tool 0 dawrite -q --no-sync try flush
    debugfs -R "dump /f got" try && cmp $want got
    debugfs -R "dump /bulk got" try && cmp bulk got
    assert_fsck_clean try
    rm -rf try try.dacache
  done
}

@test "100 GiB pending cost what their ranges cost" {
  run_tool 0 mkdafs -q img 200G
  run_tool 0 dawrite -q --no-sync img fallocate /f 0 100G
  printf x | run_tool 0 dawrite -q --no-sync img write -o 50G /f
  printf x | run_tool 0 dawrite -q --no-sync img write -o 99G /sparse
  run_tool 0 dawrite --json img status
  [ "$(jq .reserved_clusters <<<"$output")" -eq $((100 * 262144 + 1)) ]
  [ "$(du -k img.dacache | cut -f1 | tail -n1)" -lt 1024 ]
  run_tool 0 dafsdebug -R "es /f" img
  [ "$(wc -l <<<"$output")" -lt 20 ]
  # Given back as ranges, too.
  run_tool 0 dawrite -q --no-sync img punch /f 1M 98G
  run_tool 0 dawrite --json img status
  [ "$(jq .reserved_clusters <<<"$output")" -eq $((2 * 262144 + 1)) ]
  run_tool 0 dawrite -q --no-sync img rm /f /sparse
  run_tool 0 dawrite --json img status
  [ "$(jq .reserved_clusters <<<"$output")" -eq 0 ]
}

@test "with no room left, a hole over pending overwrites is accepted" {
  run_tool 0 mke2fs -q -F -t ext4 -b 1024 -m 0 img 8M
  head -c 300K /dev/urandom >f
  run_tool 0 dawrite -q --no-sync -f img write --from f /f
  # Filled until the counters have to be exact.
  for size in 4M 1M 256K 64K 16K 4K 1K; do
    while dawrite -q --no-sync img fallocate /fill.$size.$((n += 1)) 0 $size 2>err; do :; done
    grep -q 'No space left' err
  done
  run_tool 0 dawrite -q --no-sync img flush
  for at in 3000 90000 150001; do
    head -c 40000 /dev/urandom >new
    run_tool 0 dawrite -q --no-sync img write -o $at --from new /f
    dd if=new of=f bs=64K seek=$at oflag=seek_bytes conv=notrunc status=none
    run_tool 0 dawrite -q --no-sync img punch /f $((at - 2000)) 30000
    fallocate -p -o $((at - 2000)) -l 30000 f
    run_tool 0 dawrite -q --no-sync img punch /f $((at + 20000)) 15000
    fallocate -p -o $((at + 20000)) -l 15000 f
  done
  run_tool 0 dawrite -q --no-sync img cat /f
  run_tool 0 dawrite -q --no-sync img flush
  assert_fsck_clean img
  debugfs -R "dump /f got" img && cmp f got
}
