#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# frag: byte for byte what filefrag -v prints for the same file under a fresh mount; and the summary of an image.

load helpers

# Every file and directory of the image, under a mount that nothing was read from.
same_as_filefrag() { # IMAGE
  local n=0 file quoted
  mount_ro "$1" mnt
  (cd mnt && find . \( -type f -o -type d -o -type l \) -print0 | sort -z) >files
  unmount mnt
  mount_ro "$1" mnt
  while IFS= read -r -d '' file; do
    [ -f "mnt/$file" ] || [ -d "mnt/$file" ] || continue
    [ ! -L "mnt/$file" ] || [ -f "mnt/$file" ] || continue
    (cd mnt && filefrag -v "$file") >theirs
    quoted=${file//\\/\\\\}
    dafsdebug -R "frag \"${quoted//\"/\\\"}\"" "$1" >ours
    cmp theirs ours || { diff -u theirs ours | cat -A | head -n 30; return 1; }
    n=$((n + 1))
  done <files
  unmount mnt
  echo "$1: $n files agree"
  [ "$n" -gt 5 ]
}

# Files that only a kernel makes: preallocated, punched, in many pieces.
make_pieces() { # DIR BLOCK-SIZE
  local dir=$1 bs=$2 i
  : >"$dir/empty"
  # Block maps have no unwritten blocks.
  if fallocate -l 300k "$dir/unwritten" 2>/dev/null; then
    fallocate -n -l 200k "$dir/empty"
    fallocate -l 200k "$dir/mixed"
  fi
  printf 'middle' | dd of="$dir/mixed" bs=1 seek=100000 conv=notrunc,fsync status=none
  truncate -s 100M "$dir/hole"
  head -c 400000 /dev/zero | tr '\0' x >"$dir/punched"
  fallocate -p -o $((bs * 3)) -l $((bs * 5)) "$dir/punched"
  for i in $(seq 0 2 900); do printf x | dd of="$dir/many" bs="$bs" seek="$i" conv=notrunc status=none; done
  for i in 9 3 7 1 5; do printf x | dd of="$dir/backwards" bs="$bs" seek="$i" conv=notrunc,fsync status=none; done
  printf x | dd of="$dir/far" bs="$bs" seek=10000000 conv=notrunc status=none 2>/dev/null || true
  mkdir "$dir/indexed" "$dir/small dir"
  (cd "$dir/indexed" && seq -f 'file_with_a_longer_name_%g' 1 400 | xargs touch)
  printf tiny >"$dir/small dir/it's \"tiny\""
  ln -s many "$dir/link"
  sync
}

kernel_image() { # MKE2FS-OPTION...
  truncate -s 200M img
  mke2fs -q -F -t ext4 "$@" img 2>/dev/null
  mount_rw img mnt
  make_pieces mnt "$(stat -f -c %S mnt)"
  unmount mnt
}

@test "4 KiB blocks" {
  need_root_loop
  kernel_image -b 4096
  same_as_filefrag img
}

@test "1 KiB blocks, deeper trees" {
  need_root_loop
  kernel_image -b 1024
  same_as_filefrag img
}

@test "block maps" {
  need_root_loop
  kernel_image -b 1024 -O ^extents,^64bit
  same_as_filefrag img
  dafsdebug -R "frag many" img | grep -q merged
}

@test "block maps without journal and resize inode, 128-byte inodes" {
  need_root_loop
  kernel_image -b 4096 -I 128 -O ^extents,^64bit,^has_journal,^resize_inode,^metadata_csum
  same_as_filefrag img
}

@test "inline data" {
  need_root_loop
  kernel_image -b 4096 -O inline_data
  same_as_filefrag img
  dafsdebug -R "frag \"small dir\"" img | grep -q inline
}

@test "bigalloc" {
  need_root_loop
  kernel_image -b 4096 -O bigalloc -C 16384
  same_as_filefrag img
}

@test "extents that touch: single at first, merged once the leaf was read, and with -m" {
  need_root_loop
  truncate -s 2G img
  mke2fs -q -F -t ext4 -b 4096 -O sparse_super2,^has_journal img
  mount_rw img mnt
  fallocate -l 400M mnt/long
  fallocate -o 10M -l 400M mnt/after-hole
  fallocate -l 300M mnt/deep
  for i in $(seq 0 3 2400); do printf x | dd of=mnt/deep bs=4096 seek="$i" conv=notrunc status=none; done
  for i in $(seq 0 3 1200); do printf x | dd of=mnt/deep bs=4096 seek="$((i + 1))" conv=notrunc status=none; done
  for i in 1 2 3; do : >mnt/$i; done
  unmount mnt
  same_as_filefrag img
  mount_ro img mnt
  cat mnt/long >/dev/null
  (cd mnt && filefrag -v long) >theirs
  unmount mnt
  dafsdebug -R "frag -m long" img | cmp - theirs
  [ "$(wc -l <theirs)" -lt "$(dafsdebug -R 'frag long' img | wc -l)" ]
}

@test "images of mkdafs and dawrite" {
  need_root_loop
  make_tree src
  for options in "-b 4096" "-b 4096 -O inline_data" "-b 1024"; do
    rm -f img
    # shellcheck disable=SC2086
    run_tool 0 mkdafs -q $options img 200M
    [ "$options" != "-b 1024" ] || setfattr -x user.large src/attr/file
    run_tool 0 dawrite -f img import src
    run_tool 0 dawrite -f img fallocate /unwritten 0 1M
    same_as_filefrag img
  done
}

@test "several files, and what has no extents" {
  run_tool 0 mkdafs -q -b 4096 img 64M
  printf 'hello' | run_tool 0 dawrite -f img write /f
  run_tool 0 dawrite -f img mknod /fifo p
  run_tool 0 dafsdebug -R "frag / f" img
  [ "$(grep -c 'Filesystem type is: ef53' <<<"$output")" -eq 1 ]
  has_output "File size of / is 4096 (1 block of 4096 bytes)"
  has_output "/: 1 extent found"
  has_output "f: 1 extent found"
  block=$(dafsdebug -R "bmap f 0" img)
  has_output "$(printf '   0:        0..       0: %10d..%10d:      1:             last,eof' "$block" "$block")"
  run_tool 1 dafsdebug -R "frag /fifo" img
  has_stderr "/fifo: Operation not supported"
  run_tool 1 dafsdebug -R "frag /nope" img
}

@test "the whole image in figures" {
  need jq
  run_tool 0 mkdafs -q -b 1024 img 64M
  mkdir src
  for i in $(seq 10 59); do head -c 3000 /dev/zero | tr '\0' "$((i % 10))" >src/f$i; done
  run_tool 0 dawrite -f img import src /d
  run_tool 0 dafsdebug --json -R frag img
  [ "$(jq -c '[.files, .file_blocks, .extents, .fragmented_files, .neighbours, .adjacent]' <<<"$output")" = "[50,150,50,0,49,49]" ]
  [ "$(jq '.free_blocks' <<<"$output")" -eq "$(dumpe2fs -h img 2>/dev/null | awk '/^Free blocks/ { print $3 }')" ]
  [ "$(jq '.free_runs' <<<"$output")" -eq "$(e2freefrag img | awk '/^Num. free extent/ { print $4 }')" ]
  run_tool 0 dafsdebug -R frag img
  has_output "Files:         50 with data: 150 blocks in 50 extents, 1.00 a file"
  has_output "In one piece:  50 (100.00%)"
  has_output "Side by side:  49 of 49 neighbours in a directory (100.00%)"
  lacks_output worst
  # A file in pieces is found, with its path.
  debugfs -w -R "punch /d/f20 1 1" img
  debugfs -w -R "bmap /d/f20 1 65000" img
  e2fsck -fy img || true
  run_tool 0 dafsdebug --json -R frag img
  [ "$(jq -r '.worst.path' <<<"$output")" = /d/f20 ]
  [ "$(jq -c '[.fragmented_files, .worst.fragments]' <<<"$output")" = "[1,3]" ]
}
