#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# On a host file system that can share blocks between files (XFS, btrfs), an image's data is shared with the files it is filled
# from, not copied: where blocks are aligned, which the data of large files is.

load helpers

# A fresh host file system of a kind at h; skips where it cannot be had.
host() { # KIND SIZE
  need_root_loop
  need "mkfs.$1" filefrag
  grep -qw "$1" /proc/filesystems || modprobe "$1" 2>/dev/null || skip "the kernel has no $1"
  truncate -s "$2" host.img
  "mkfs.$1" "$([ "$1" = xfs ] && echo -q || echo --quiet)" host.img || skip "mkfs.$1 fails here"
  mkdir h
  mount -o loop host.img h || skip "the kernel does not mount $1"
  mounted+=("$T/h")
  mkdir h/src
  for i in 1 2 3; do head -c 24M /dev/urandom >h/src/large$i; done
  head -c 5000001 /dev/urandom >h/src/odd
  for i in 1 2 3 4 5; do seq 1 $((i * 1000)) >h/src/small$i; done
  truncate -s 6M h/src/holes
  head -c 1M /dev/urandom | dd of=h/src/holes bs=1M seek=3 conv=notrunc status=none
  sync -f h
}

# Blocks of 4096 bytes that FILE shares with another one, as FIEMAP tells.
shared_blks() { filefrag -b4096 -v "$1" | awk -F: '/shared/ { gsub(/ /, "", $4); sum += $4 } END { print sum + 0 }'; }

used_kib() { df --output=used -k h | tail -n 1; }

check_shared() {
  local before
  # 80 MiB of data are 20480 blocks; what may not be shared: ends of files, and what is small.
  before=$(used_kib)
  run_tool 0 mkdafs -q -b 4096 -O ^has_journal -d h/src h/one 128M
  [ "$(shared_blks h/one)" -ge 19000 ]
  sync -f h
  [ $(($(used_kib) - before)) -lt 16384 ]
  assert_fsck_clean h/one
  # Through the cache: from the file into the spool, from there into the image.
  run_tool 0 mkdafs -q -b 4096 -O ^has_journal h/two 128M
  sync -f h
  before=$(used_kib)
  run_tool 0 dawrite -q h/two put h/src /
  sync -f h
  [ $(($(used_kib) - before)) -lt 16384 ]
  run_tool 0 dawrite -q h/two flush
  [ "$(shared_blks h/two)" -ge 19000 ]
  sync -f h
  [ $(($(used_kib) - before)) -lt 16384 ]
  assert_fsck_clean h/two
  mount_ro h/one m
  compare_trees h/src m
  unmount m
  mount_ro h/two m
  compare_trees h/src m/src
  unmount m
  # A source that changes afterwards leaves the image alone.
  sum=$(debugfs -R 'cat /large1' h/one 2>/dev/null | sha256sum)
  head -c 24M /dev/zero >h/src/large1
  [ "$(debugfs -R 'cat /large1' h/one 2>/dev/null | sha256sum)" = "$sum" ]
}

@test "XFS: data is shared" {
  host xfs 600M
  check_shared
}

@test "btrfs: data is shared" {
  host btrfs 600M
  check_shared
}
