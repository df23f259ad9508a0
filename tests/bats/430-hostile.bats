#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Images that were made to mislead: sound ones that look damaged, small ones that ask for much, a journal that looks free.

load helpers

db() { # IMAGE COMMAND...
  local image=$1
  shift
  printf '%s\n' "$@" | debugfs -w -f - "$image" >>debugfs.log 2>&1
}
free_blk() { debugfs -R "ffb 1 $2" "$1" 2>/dev/null | sed -n 's/.*: \([0-9]*\).*/\1/p'; } # IMAGE GOAL
number() { # IMAGE BLOCK-OF-1K INDEX VALUE : of a map block
  printf '%b' "$(printf '\\x%02x' $(($4 & 255)) $(($4 >> 8 & 255)) $(($4 >> 16 & 255)) $(($4 >> 24)))" |
    dd of="$1" bs=1 seek=$(($2 * 1024 + $3 * 4)) conv=notrunc status=none
}

@test "two names of one directory are two, whatever a hash of them says" {
  mkdir -p src/d
  # Equal under a multiplication by 2^64 / phi and a shift by 29, 8 bytes at a time.
  echo one >'src/d/report-2abcdefgh'
  echo two >'src/d/Bfbort-2}vkJR^X<'
  truncate -s 8M image
  mke2fs -q -F -d src image
  assert_fsck_clean image
  run_tool 0 dafsck -fn --strict image
  run_tool 0 dafsck -fy image
  run_tool 0 debugfs -R "cat /d/report-2abcdefgh" image
  has_output one
  run_tool 0 debugfs -R "cat /d/Bfbort-2}vkJR^X<" image
  has_output two
}

@test "a directory with a block at its far end only gets no blocks for all that is not there" {
  local leaf map=() i
  truncate -s 256M image
  mke2fs -q -F -b 1024 -t ext2 -N 64 image
  echo name >name
  db image "mkdir d" "write name d/name"
  leaf=$(debugfs -R "bmap d 0" image 2>/dev/null)
  for i in 1 2; do map+=("$(free_blk image $((5000 * i)))"); done
  number image "${map[0]}" 255 "${map[1]}"
  number image "${map[1]}" 255 "$leaf"
  db image "setb ${map[0]}" "setb ${map[1]}" "sif d block[0] 0" "sif d block[DIND] ${map[0]}" "sif d blocks 6"
  run_tool 4 e2fsck -fn image
  run_tool 4 dafsck -fn image
  has_output "[dir.hole]"
  run_tool 1 dafsck -fy image
  assert_fsck_clean image
  run_tool 0 debugfs -R "stat d" image
  has_output "Size: 2048"
  run_tool 0 debugfs -R "cat d/name" image
  has_output name
}

@test "tables of groups without bitmaps, in a group whose bitmap does not know of them" {
  local block
  truncate -s 1G image
  mke2fs -q -F -b 4096 -t ext4 -E lazy_itable_init=1 image
  block=$(dumpe2fs image 2>/dev/null | sed -n 's/.*Block bitmap at \([0-9]*\) .*/\1/p' | head -n 1)
  dd if=/dev/zero of=image bs=4096 seek="$block" count=1 conv=notrunc status=none
  run_tool 4 dafsck -fn image
  has_output "[bitmap.tables]"
  run_tool 1 dafsck -fy image
  assert_fsck_clean image
  run_tool 0 dafsck -fn --strict image
}

@test "a bitmap that has the journal free is no room for files" {
  local start free
  truncate -s 16M image
  mke2fs -q -F -t ext4 -b 1024 -O ^flex_bg -J size=1 image
  start=$(debugfs -R "bmap <8> 0" image 2>/dev/null)
  [ "$(debugfs -R "bmap <8> 1023" image 2>/dev/null)" -eq $((start + 1023)) ]
  # All of it is in group 1, whose counts and checksums are made to agree.
  [ "$start" -gt 8192 ]
  free=$(dumpe2fs image 2>/dev/null | awk '/^Group 1:/ { at = 1 } at && /free blocks,/ { print $1; exit }')
  db image "freeb $start 1024" "set_bg 1 free_blocks_count $((free + 1024))" "set_bg 1 checksum calc"
  cp image before
  head -c 12M /dev/urandom >big
  run_tool 1 dawrite -q -f image write --from big /big
  has_stderr "group 1: block bitmap: the journal is marked as free"
  cmp before image
}
