#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Where a flush puts what was pending: fresh images, files that grow, what dafsdebug frag says of them.

load helpers

# One number of the image's summary.
layout() { # IMAGE FIELD
  dafsdebug --json -R frag "$1" | jq -r ".$2"
}

# FILES files of mixed size, most small, three over 8 MiB, from a seed: src/fNNN.
make_mixed() { # FILES
  mkdir -p src
  head -c 16M /dev/urandom >pool
  awk -v n="$1" 'BEGIN {
    srand(16)
    for (i = 0; i < n; i++) {
      size = int(exp(log(20000) + 1.9 * sqrt(-2 * log(1 - rand())) * cos(6.2831853 * rand())))
      if (i % 101 == 50) size = 9000000 + i * 10000
      else if (size > 8000000) size = 8000000
      print i, size + 1
    }
  }' | while read -r i size; do head -c "$size" pool >src/f"$(printf '%03d' "$i")"; done
}

# Every hole-free file of a fresh image is one piece for every 32768 blocks, and nothing is wrong with the image.
assert_whole() { # IMAGE
  assert_fsck_clean "$1"
  [ "$(layout "$1" fragmented_files)" -eq 0 ]
  [ "$(layout "$1" extents)" -eq "$(layout "$1" files)" ]
}

@test "files written round robin over ten directories: whole, and neighbours side by side" {
  need jq
  make_mixed 303
  {
    for d in 0 1 2 3 4 5 6 7 8 9; do echo "mkdir /d$d"; done
    for f in src/*; do
      n=${f#src/f} n=$((10#$n))
      echo "write --from $f /d$((n % 10))/${f#src/}"
    done
  } >robin
  run_tool 0 mkdafs -q -b 4096 img 1G
  run_tool 0 dawrite -q img script robin
  run_tool 0 dawrite -q img flush
  assert_whole img
  [ "$(layout img files)" -eq 303 ]
  [ "$(layout img neighbours)" -eq 293 ]
  [ $(($(layout img adjacent) * 100)) -ge $((293 * 99)) ]
  [ "$(layout img free_runs)" -le "$(layout img groups)" ]
}

@test "a tree of small and large files in one import: the same" {
  need jq
  make_mixed 303
  for d in 0 1 2 3 4 5 6 7 8 9; do mkdir -p tree/d$d/e && cp src/f??$d tree/d$d && cp src/f?${d}1 tree/d$d/e; done
  run_tool 0 mkdafs -q -b 4096 -d tree img 1G
  assert_whole img
  [ $(($(layout img adjacent) * 100)) -ge $(($(layout img neighbours) * 99)) ]
  [ "$(layout img free_runs)" -le "$(layout img groups)" ]
}

@test "a file of more than 32768 blocks has the fewest extents" {
  need jq
  truncate -s 300M big
  yes 'forty bytes of text so that it is no hole' | head -c 300M | dd of=big conv=notrunc status=none bs=1M
  run_tool 0 mkdafs -q -b 4096 -O ^resize_inode img 1G
  run_tool 0 dawrite -q -f img put big /big
  assert_fsck_clean img
  # 76800 blocks: extents of 32768, 32768 and 11264.
  debugfs -R "ex /big" img 2>/dev/null >ex
  [ "$(grep -c '^ 0/ 0' ex)" -eq 3 ]
  run_tool 0 dafsdebug --json -R "frag /big" img
  [ "$(jq '.[0].fragments' <<<"$output")" -le 3 ]
}

@test "files appended to in turn over many calls: one extent each" {
  need jq
  head -c 4096 /dev/urandom >block
  for f in $(seq 1 16); do for _ in 1 2 3 4; do echo "write -a --from block /f$f"; done; done >round
  shuf --random-source=block round >round.mixed
  run_tool 0 mkdafs -q -b 4096 img 256M
  for _ in $(seq 1 32); do run_tool 0 dawrite -q --no-sync img script round.mixed >/dev/null; done
  run_tool 0 dawrite img flush
  has_output "2048 blocks in 16 extents"
  assert_whole img
  [ "$(layout img file_blocks)" -eq 2048 ]
}

@test "without delayed allocation the same appends are in pieces" {
  need jq
  head -c 4096 /dev/urandom >block
  for _ in $(seq 1 64); do for f in 1 2 3 4; do echo "write -a --from block /f$f"; done; done >round
  run_tool 0 mkdafs -q -b 4096 img 256M
  run_tool 0 dawrite -q -f --nodelalloc img script round
  assert_fsck_clean img
  [ "$(layout img extents)" -gt 8 ]
}

@test "a file in the image grows in place" {
  need jq
  head -c 1M /dev/urandom >part
  run_tool 0 mkdafs -q -b 4096 img 256M
  for i in 1 2 3 4 5 6 7 8; do
    run_tool 0 dawrite -q -f img write -a --from part /log
    run_tool 0 dawrite -q -f img write --from part /other$i
    run_tool 0 dawrite -q -f img rm /other$i
  done
  assert_whole img
  [ "$(layout img file_blocks)" -eq 2048 ]
}

@test "directories and tree blocks stand together, inode numbers follow the directories" {
  for d in $(seq -w 1 40); do
    mkdir -p tree/d$d
    for f in $(seq -w 1 20); do printf '%s' "$d$f" >tree/d$d/f$f; done
  done
  run_tool 0 mkdafs -q -b 4096 -d tree img 64M
  assert_fsck_clean img
  # The directories' blocks: one run.
  for d in $(seq -w 1 40); do debugfs -R "blocks /d$d" img 2>/dev/null; done | tr ' ' '\n' | grep . | sort -n >blocks
  [ "$(wc -l <blocks)" -eq 40 ]
  [ $(($(tail -n 1 blocks) - $(head -n 1 blocks))) -eq 39 ]
  # Inode numbers rise along a walk in name order.
  for d in $(seq -w 1 40); do dafsdebug -R "ls -p /d$d" img | awk -F/ '$6 ~ /^f/ { print $6, $2 }' | sort | awk '{ print $2 }'; done >walk
  [ "$(wc -l <walk)" -eq 800 ]
  sort -nc walk
}

@test "trees of least depth, with full leaves" {
  # Four leaves of 340 fit under the root in the inode; one piece more, and there must be a level between.
  printf x >byte
  for i in $(seq 0 2 2718); do echo "write -o $((i * 4096)) --from byte /four"; done >script
  for i in $(seq 0 2 2720); do echo "write -o $((i * 4096)) --from byte /five"; done >>script
  run_tool 0 mkdafs -q -b 4096 img 64M
  run_tool 0 dawrite -q -f img script script
  assert_fsck_clean img
  debugfs -R "ex /four" img 2>/dev/null >four
  debugfs -R "ex /five" img 2>/dev/null >five
  [ "$(grep -c '^ 1/ 1' four)" -eq 1360 ]
  [ "$(grep -c '^ 0/ 1' four)" -eq 4 ]
  [ "$(grep -c '^ 2/ 2' five)" -eq 1361 ]
  [ "$(grep -c '^ 1/ 2' five)" -eq 5 ]
  [ "$(grep -c '^ 0/ 2' five)" -eq 1 ]
}
