#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# What dafsck changes because it is asked to: directories optimized, bad blocks, blocks no longer shared.

load helpers

make() { # IMAGE MKE2FS-OPTION...
  local image=$1
  shift
  rm -f "$image"
  truncate -s 12M "$image"
  mke2fs -q -F -b 1024 -N 2000 "$@" "$image"
}

names() { # IMAGE DIRECTORY
  debugfs -R "ls -l $2" "$1" 2>/dev/null | awk '$1 > 0 && $NF !~ /^<|^\.+$/ { print $1, $NF }' | sort
}

size() { # IMAGE DIRECTORY
  debugfs -R "stat $2" "$1" 2>/dev/null | sed -n 's/^User.* Size: //p'
}

fill_dirs() { # IMAGE
  local i
  {
    printf 'mkdir many\nmkdir few\nmkdir some\ncd many\n'
    for i in {1..700}; do printf 'mknod a-name-of-some-length-%s p\n' "$i"; done
    printf 'cd /few\n'
    for i in {1..60}; do printf 'mknod a-name-of-some-length-and-more-%s p\n' "$i"; done
    for i in {1..57}; do printf 'rm a-name-of-some-length-and-more-%s\n' "$i"; done
    printf 'cd /some\n'
    for i in {1..45}; do printf 'mknod a-name-of-some-length-%s p\n' "$i"; done
  } | debugfs -w -f - "$1" >/dev/null 2>&1
  # (debugfs keeps no quota.)
  dafsck -fy "$1" >/dev/null 2>&1 || true
  names "$1" many >many
  names "$1" few >few
  names "$1" some >some
  [ "$(wc -l <many)" -eq 700 ]
  [ "$(wc -l <few)" -eq 3 ]
}

@test "-D: directories get an index or become smaller, names stay" {
  local -a kinds=("-O none,filetype,dir_index" "-O none,filetype" "-O none,filetype,extent,bigalloc,dir_index -C 4096"
    "-O none,filetype,extent,dir_index,metadata_csum,64bit,quota,has_journal")
  local kind dir
  for kind in "${kinds[@]}"; do
    # shellcheck disable=SC2086
    make image $kind
    fill_dirs image
    assert_fsck_clean image
    run_tool 1 dafsck -fyD image
    case $kind in
      *dir_index*) has_output "3 directories optimized" ;;
      *) has_output "1 directories optimized" ;;
    esac
    assert_fsck_clean image
    run_tool 0 dafsck -fn --strict image
    for dir in many few some; do
      [ "$(names image "$dir")" = "$(cat "$dir")" ] || { echo "$kind: names of $dir differ"; return 1; }
    done
    [ "$(size image few)" -eq 1024 ]
    cp image before
    e2fsck -fyD before >/dev/null 2>&1 || true
    [ "$(size image many)" -le "$(size before many)" ]
    case $kind in
      *dir_index*)
        run_tool 0 debugfs -R "htree_dump many" image
        has_output "Root node dump"
        run_tool 0 debugfs -R "htree_dump some" image
        has_output "Root node dump"
        ;;
    esac
    # There is nothing more to be had.
    cp image before
    run_tool 0 dafsck -fyD image
    lacks_output optimized
  done
}

@test "-D leaves nothing half done, and not without being asked" {
  make image -O none,filetype,dir_index
  fill_dirs image
  run_tool 16 dafsck -fnD image
  cp image before
  run_tool 0 dafsck -fy image
  [ "$(size image many)" = "$(size before many)" ]
  run_tool 1 dafsck -pD image
  has_output "directories optimized"
  assert_fsck_clean image
  cp before image
  run_tool 1 dafsck -fyD -z undo image
  run_tool 0 e2undo undo image
  cmp image before
}

# Where the blocks named in a file of bad blocks ended up.
bad() { dumpe2fs -b "$1" 2>/dev/null; }

@test "-l, -L: the list of bad blocks; what lay there is moved" {
  local kind i
  seq 1 40000 >data
  for kind in "-O none,filetype,sparse_super" "-t ext4"; do
    # shellcheck disable=SC2086
    make image $kind
    printf 'write data file\nwrite data other\n' | debugfs -w -f - image >/dev/null 2>&1
    {
      echo "# found by somebody"
      debugfs -R "blocks file" image 2>/dev/null | tr ' ' '\n' | sed -n '4p;21p'
      echo
      for ((i = 9000; i < 9100; i += 3)); do echo "$i"; done
      dumpe2fs image 2>/dev/null | sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p' | head -n 1
    } >list
    run_tool 1 dafsck -fy -l list image
    has_output "the list of bad blocks was changed"
    assert_fsck_clean image
    run_tool 0 dafsck -fn --strict image
    [ "$(bad image)" = "$(grep '^[0-9]' list | sort -n)" ]
    debugfs -R "dump file got" image 2>/dev/null
    cmp got data
    run_tool 0 dafsck -fy -l list image
    lacks_output "was changed"
    echo 9100 >list
    run_tool 1 dafsck -fy -L list image
    assert_fsck_clean image
    run_tool 0 dafsck -fn --strict image
    [ "$(bad image)" = 9100 ]
    : >list
    run_tool 1 dafsck -fy -L list image
    assert_fsck_clean image
    [ -z "$(bad image)" ]
  done
  echo 99999999 >list
  run_tool 0 dafsck -fy -l list image
  has_stderr "no such block"
  echo 5x >list
  run_tool 8 dafsck -fy -l list image
  run_tool 8 dafsck -fy -l absent image
  run_tool 16 dafsck -fp -l list image
  run_tool 16 dafsck -fn -l list image
}

@test "-c: badblocks is asked" {
  need badblocks
  make image -O none,filetype
  echo 9100 >list
  run_tool 1 dafsck -fy -l list image
  run_tool 0 dafsck -fy -c -k image
  [ "$(bad image)" = 9100 ]
  run_tool 1 dafsck -fy -c image
  [ -z "$(bad image)" ]
  assert_fsck_clean image
  # What it says is taken; the real one is of no use for that without bad blocks.
  mkdir bin
  printf '#!/bin/sh\necho "$@" >said\necho 9001\necho 9002\n' >bin/badblocks
  chmod +x bin/badblocks
  PATH=$PWD/bin:$PATH run_tool 1 dafsck -fy -cc image
  [ "$(cat said)" = "-b 1024 -n -- image 12287" ]
  [ "$(bad image)" = "9001
9002" ]
  printf '#!/bin/sh\nexit 1\n' >bin/badblocks
  PATH=$PWD/bin:$PATH run_tool 8 dafsck -fy -c image
  run_tool 16 dafsck -fy -c 'image?offset=0'
  run_tool 16 dafsck -fy -k image
}

share() { # IMAGE : files f and g have the same blocks, as the feature shared_blocks allows
  local image=$1 first
  {
    printf 'write data f\nwrite data g\n'
  } | debugfs -w -f - "$image" >/dev/null 2>&1
  first=$(debugfs -R "bmap f 0" "$image" 2>/dev/null)
  printf 'sif g block[5] %s\n' "$first" | debugfs -w -f - "$image" >/dev/null 2>&1
  printf '\100' | dd of="$image" bs=1 seek=$((1024 + 101)) conv=notrunc status=none
  e2fsck -fy "$image" >/dev/null 2>&1 || true
}

@test "-E unshare_blocks: every file has blocks of its own, or nothing is changed" {
  head -c 300000 /dev/zero | tr '\0' x >data
  make image -O none,filetype,extent,sparse_super
  share image
  run_tool 0 dafsck -fn image
  run_tool 16 dafsck -fp -E unshare_blocks image
  run_tool 1 dafsck -fy -E unshare_blocks image
  has_output "no blocks are shared any more"
  assert_fsck_clean image
  run_tool 0 dafsck -fn --strict image
  run_tool 0 dumpe2fs -h image
  lacks_output shared_blocks
  debugfs -R "dump g got" image 2>/dev/null
  cmp got data
  # Too full.
  truncate -s 0 full
  truncate -s 700K full
  mke2fs -q -F -b 1024 -m 0 -N 16 -O none,filetype,extent full
  share full
  {
    head -c 200000 data >rest
    printf 'write rest rest\nwrite rest more\n'
  } | debugfs -w -f - full >/dev/null 2>&1
  cp full before
  run_tool 8 dafsck -fy -E unshare_blocks full
  cmp full before
}

@test "what is pending in the offline cache: compared, kept by a check, and named when a repair makes it useless" {
  seq 1 1000 >data
  truncate -s 12M image
  mke2fs -q -F -t ext4 -b 1024 image
  run_tool 0 dafsck -fn image
  lacks_output pending
  run_tool 0 dawrite image put data /file
  cp image before
  run_tool 0 dafsck -fn image
  has_output "names are pending in $T/image.dacache, and fit"
  run_tool 0 dafsck -fn --json image
  has_output '"pending_fits": true'
  # Nothing to repair: nothing is written, and the flush goes on as if nobody had looked.
  run_tool 0 dafsck -fy image
  has_output "and fit"
  cmp image before
  run_tool 0 dafsck -fp image
  cmp image before
  run_tool 0 dawrite image status
  debugfs -w -R "sif <11> links_count 7" image >/dev/null 2>&1
  cp image damaged
  run_tool 4 dafsck -fn image
  run_tool 1 dafsck -fy image
  has_output "pending in $T/image.dacache"
  run_tool 1 dawrite image status
  run_tool 0 dawrite image status --recover saved
  find saved -name file -exec cmp {} data \;
  [ -n "$(find saved -name file)" ]
}

@test "a repair behind a cache that fitted says that it does not any more" {
  seq 1 1000 >data
  truncate -s 12M image
  mke2fs -q -F -t ext4 -b 1024 -O ^metadata_csum image
  debugfs -w -R "sif <11> links_count 7" image >/dev/null 2>&1
  run_tool 0 dawrite image put data /file
  run_tool 4 dafsck -fn image
  has_output "and fit"
  run_tool 1 dafsck -fy image
  has_output "a repair makes that useless"
  has_output "does not fit the repaired image any more"
  assert_fsck_clean image
}
