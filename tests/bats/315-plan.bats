#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# `flush --dry-run` is what the flush then does: on random work over images whose free space is in short runs.

load helpers

setup() {
  dafs_setup
  need python3 jq
  head -c 1M /dev/urandom >pool
}

# An image of blocks of BLK bytes, nearly full of files of 1 to 9 blocks, some of which are removed: SEED BLK.
make_aged() {
  awk -v seed="$1" -v blk="$2" 'BEGIN {
    srand(seed)
    print "mkdir /old"
    for (i = 0; i < 500; i++) printf "write --from p%d /old/%d\n", 1 + int(9 * rand()), i
    print "flush"
    for (i = 0; i < 500; i++) if (rand() < 0.45) printf "rm /old/%d\n", i
  }' >past
  for n in 1 2 3 4 5 6 7 8 9; do head -c $((n * $2)) pool >p$n; done
  run_tool 0 mkdafs -q -F --no-sync -b "$2" -N 600 -O ^has_journal img $((2900 * $2 / 1024))K
  sed '/^flush/,$d' past >one
  sed '1,/^flush/d' past >two
  run_tool 0 dawrite -q --no-sync -f img script one
  run_tool 0 dawrite -q --no-sync -f img script two
}

# New files of many sizes, files that grow, holes, directories, links: SEED BLK.
make_pending() {
  awk -v seed="$1" -v blk="$2" 'BEGIN {
    srand(seed * 7)
    print "mkdir /new"
    for (i = 0; i < 12; i++) {
      printf "write --from p%d /new/f%d\n", 1 + int(9 * rand()), i
      for (k = int(12 * rand() * rand()); k > 0; k--) printf "write -a --from p%d /new/f%d\n", 1 + int(9 * rand()), i
      if (rand() < 0.3) printf "write -o %d --from p3 /new/f%d\n", blk * int(100 + 300 * rand()), i
      if (rand() < 0.2) printf "fallocate /new/f%d %d %d\n", i, blk * int(40 * rand()), blk * (1 + int(30 * rand()))
    }
    for (i = 1; i < 500; i += 50) printf "write -a --from p%d /old/%d\n", 1 + int(9 * rand()), i
    print "ln -s f1 /new/link"
  }' >pending
  # Files that were removed are made anew by the appends.
  run_tool 0 dawrite -q --no-sync img script pending
}

@test "every file's extents, the totals, what is cut and why" {
  local seed cut=0 seeds=8
  [ -z "${DAFS_TEST_LONG:-}" ] || seeds=200
  for seed in $(seq $seeds); do
    make_aged "$seed" $((seed % 2 ? 1024 : 4096))
    make_pending "$seed" $((seed % 2 ? 1024 : 4096))
    dawrite --json img flush --dry-run >plan
    dawrite img flush --dry-run >text
    dawrite --json img flush --dry-run >again
    cmp plan again
    dawrite --json img flush >flush
    run_tool 0 "$DAFS_SRCDIR/tests/lib/plancheck" plan flush img text || { echo "seed $seed"; return 1; }
    cut=$((cut + $(jq .extra_pieces plan)))
    assert_fsck_clean img
  done
  # The images were aged enough for it.
  [ "$cut" -gt 0 ]
}

@test "why a file is cut" {
  head -c 5120 pool >p5
  run_tool 0 mkdafs -q -b 1024 -N 128 -O ^has_journal,^resize_inode img 400K
  for i in $(seq 1 60); do echo "write --from p5 /c$i"; done >comb
  run_tool 0 dawrite -q -f img script comb
  for i in $(seq 1 2 60); do echo "rm /c$i"; done >every
  run_tool 0 dawrite -q -f img script every
  left=$(dumpe2fs -h img 2>/dev/null | awk '/^Free blocks/ { print $3 }')
  head -c $(((left - 12) * 1024)) pool >rest
  run_tool 0 dawrite -q img write --from rest /rest
  run_tool 0 dawrite img flush --dry-run
  grep -qE "^/rest: inode [0-9]+, file, [0-9]+ extents, cut: no free run holds $((left - 12)) blocks, the longest is of [0-9]+$" <<<"$output"
  has_output "No other placement has fewer extents."
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
}

@test "with bigalloc, of a file that gave blocks up, extents are told of and not blocks" {
  run_tool 0 mkdafs -q -b 1024 -O bigalloc -C 16384 img 32M
  head -c 64K pool >old
  head -c 100K pool | tac -rs . >new
  cp old want
  run_tool 0 dawrite -q -f img write --from old /f
  # Blocks 4 and 5 are punched and written again, in the cluster that stays; 64 and on are new.
  run_tool 0 dawrite -q img punch /f 4096 2048
  run_tool 0 dawrite -q img write -o 2048 --from new /f
  dd if=new of=want bs=1024 seek=2 conv=notrunc status=none
  run_tool 0 dawrite --json img flush --dry-run
  [ "$(jq '.inodes[] | select(.path == "/f") | .extents | length' <<<"$output")" -le 5 ]
  run_tool 0 dawrite -q img flush
  debugfs -R "dump /f got" img
  cmp want got
  assert_fsck_clean img
}
