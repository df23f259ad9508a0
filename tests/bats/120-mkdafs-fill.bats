#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# mkdafs -d: directories, archives, standard input, sizes by themselves, and what a failure leaves behind.

load helpers

blocks() { dumpe2fs -h "$1" 2>/dev/null | awk -F: -v key="$2" '$1 == key { print $2 + 0 }'; }

@test "a tree of everything comes out as it was" {
  make_tree src
  run_tool 0 mkdafs -b 4096 -d src image 64M
  has_output "Copied "
  assert_fsck_clean image
  need_root_loop
  mount_ro image mnt
  compare_trees src mnt
  unmount mnt
}

@test "the same for bigalloc, inline data, large inodes" {
  make_tree src
  for opts in "-O ^64bit" "-O bigalloc" "-O inline_data -I 512" "-O ^has_journal" "-O ea_inode,large_dir" "-O meta_bg,^resize_inode"; do
    rm -f image
    # shellcheck disable=SC2086
    run_tool 0 mkdafs -q -b 4096 $opts -d src image 128M
    assert_fsck_clean image
    if [ "$(id -u)" -eq 0 ] && losetup -f >/dev/null 2>&1; then
      mount_ro image mnt
      compare_trees src mnt
      unmount mnt
    fi
  done
}

@test "an archive, as a file and on standard input" {
  make_tree src
  # GNU tar and libarchive do not agree on fractions of seconds before 1970.
  touch -d '1960-02-03 04:05:06 UTC' src/zero
  tar -C src --xattrs --acls --sparse --format=posix -cf src.tar .
  run_tool 0 mkdafs -q -b 4096 -d src.tar one 64M
  assert_fsck_clean one
  run_tool 0 bash -c 'mkdafs -q -b 4096 -d - two auto <src.tar'
  assert_fsck_clean two
  run_tool 0 bash -c 'mkdafs -q -b 4096 -d - three 64M <src.tar'
  need_root_loop
  for image in one two three; do
    mount_ro $image mnt
    compare_trees src mnt
    unmount mnt
  done
}

@test "the same source gives the same bytes, with any number of threads" {
  make_tree src
  export SOURCE_DATE_EPOCH=2000000000
  run_tool 0 mkdafs -q -b 4096 --threads 1 -d src one 64M
  run_tool 0 mkdafs -q -b 4096 --threads 4 -d src two 64M
  cmp one two
  cp -a src copy
  run_tool 0 mkdafs -q -b 4096 -d copy three auto
  run_tool 0 mkdafs -q -b 4096 -d src four auto
  cmp three four
}

# The smallest there is: SRC into an image of its own size, not into one block less, with the same options and inodes; and what
# stays free is SPARE blocks of it at the most (those that are asked for, or that e2fsprogs wants at the least). Sets free.
exact_auto() { # SRC SPARE AUTO [OPTION...]
  local src=$1 spare=$2 auto=$3 n bs inodes
  shift 3
  rm -f image same less
  run_tool 0 mkdafs -q --no-sync "$@" -d "$src" image "$auto"
  assert_fsck_clean image
  n=$(blocks image 'Block count') bs=$(blocks image 'Block size') inodes=$(blocks image 'Inode count') free=$(blocks image 'Free blocks')
  [ "$(stat -c %s image)" -eq $((n * bs)) ]
  [ "$free" -le "$spare" ]
  run_tool 0 mkdafs -q --no-sync "$@" -b "$bs" -N "$inodes" -d "$src" same "$n"
  [ "$(blocks same 'Block count')" -eq "$n" ]
  # What is asked to be free is no business of the other.
  [ "$auto" = auto ] || return 0
  run_tool 1 mkdafs -q --no-sync "$@" -b "$bs" -N "$inodes" -d "$src" less $((n - 1))
  [ "$(wc -l <<<"$stderr")" -eq 1 ]
  has_stderr "pace"
  [ ! -e less ]
}

@test "auto is the smallest size, to the block" {
  local opts i
  make_tree tree
  mkdir tiny sizes
  echo x >tiny/file
  for i in 1 2 3 4 5 6 7 8 9; do head -c $((i * i * 300000)) /dev/zero | tr "\0" x >sizes/$i; done
  # Each option once; -g 1024 -G 1 makes many groups, so that files are in pieces and need tree blocks.
  for opts in "-b 1024" "-b 4096" "-b 4096 -O bigalloc -C 16384" "-O ^has_journal" "-O inline_data -I 512" "-J size=8" \
    "-i 8192" "-b 1024 -g 1024 -G 1" "-O ^flex_bg" "-O orphan_file" "-m 50"; do
    # shellcheck disable=SC2086
    exact_auto sizes 0 auto $opts
  done
  for opts in "-b 4096" "-O ea_inode" "-b 2048 -I 512" "-b 4096 -O inline_data"; do
    # shellcheck disable=SC2086
    exact_auto tree 0 auto $opts
  done
  # libext2fs makes nothing smaller.
  exact_auto tiny 50 auto
  exact_auto tiny 50 auto -N 5000
}

@test "auto in every class of sizes" {
  mkdir src
  # Just before a group's end some blocks have to be left over: the group that would hold them is not made.
  for size in 1M 2500K 40M; do
    head -c $size /dev/zero | tr "\0" x >src/file
    exact_auto src 1000 auto
  done
  head -c 520M /dev/zero | tr "\0" x >src/file
  run_tool 0 mkdafs -q --no-sync -F -d src image auto
  [ "$(blocks image 'Free blocks')" -eq 0 ]
  # A larger block holds what a smaller one does not, and begins where its class begins.
  rm src/file
  echo x >src/file
  setfattr -n user.a -v "$(head -c 2000 /dev/zero | tr "\0" v)" src/file || skip "no user attributes here"
  run_tool 0 mkdafs -q --no-sync -d src other auto
  [ "$(stat -c %s other)" -eq $((512 << 20)) ]
}

@test "auto: an attribute that small blocks cannot hold decides the class of sizes" {
  mkdir src
  echo x >src/file
  setfattr -n user.large -v "$(printf 'v%.0s' $(seq 3000))" src/file 2>/dev/null || skip "no attributes of 3000 bytes here"
  run_tool 0 mkdafs -q --no-sync -d src image auto
  assert_fsck_clean image
  [ "$(stat -c %s image)" -eq $((512 << 20)) ]
  run_tool 0 mkdafs -q --no-sync -d src same 512M
  run_tool 1 mkdafs -q --no-sync -d src less $(((512 << 10) - 1))K
  has_stderr "does not fit"
  exact_auto src 50 auto -b 4096
  [ "$(stat -c %s image)" -lt $((1 << 20)) ]
}

@test "auto+SLACK leaves that much free" {
  mkdir src
  seq 1 300000 >src/file
  exact_auto src 20480 auto+20M -b 1024
  [ "$free" -eq 20480 ]
  exact_auto src 1 auto+1 -b 4096
  [ "$free" -eq 1 ]
  exact_auto src 16 auto+3K -O bigalloc -b 1024
  [ "$free" -eq 16 ]
}

@test "a file system is filled to its last block, whoever the files belong to" {
  mkdir src
  head -c 3M /dev/zero | tr "\0" x >src/file
  [ "$(id -u)" -ne 0 ] || chown 7:8 src/file
  exact_auto src 0 auto -m 20
}

@test "auto makes inodes enough" {
  mkdir src
  (cd src && seq 1 3000 | xargs touch)
  run_tool 0 mkdafs -q -d src image auto
  assert_fsck_clean image
  [ "$(blocks image 'Inode count')" -ge 3011 ]
  run_tool 1 mkdafs -q -N 1000 -d src other auto
  has_stderr "No free inodes"
  [ ! -e other ]
  run_tool 0 mkdafs -n -d src other auto
  has_output "Creating filesystem with"
  [ ! -e other ]
}

@test "what -E says of the root directory wins over the source" {
  mkdir src
  chmod 0750 src
  echo x >src/file
  setfattr -n user.a -v b src/file 2>/dev/null || true
  run_tool 0 mkdafs -q -d src image 8M
  debugfs -R 'stat <2>' image 2>/dev/null | grep -qE 'Mode: +0750 '
  run_tool 0 mkdafs -q -F -d src -E root_owner=7:8,root_perms=0711,no_copy_xattrs image 8M
  debugfs -R 'stat <2>' image 2>/dev/null | grep -qE 'Mode: +0711 '
  debugfs -R 'stat <2>' image 2>/dev/null | grep -qE 'User: +7 +Group: +8 '
  ! debugfs -R 'ea_list /file' image 2>/dev/null | grep user.a
  assert_fsck_clean image
  run_tool 1 mkdafs -E no_copy_xattrs other 8M
  has_stderr "nothing is copied without -d"
}

@test "failures leave no file, and an old file system only where nothing was written" {
  mkdir src
  head -c 20M /dev/urandom >src/big
  run_tool 1 mkdafs -d src image 16M
  has_stderr "src/big: No space left"
  [ ! -e image ]
  run_tool 1 mkdafs -d none image 16M
  has_stderr "none: No such file or directory"
  run_tool 1 mkdafs -d src src/image auto
  has_stderr "src/image lies in src"
  run_tool 1 mkdafs -t ext2 -d src image 64M
  has_stderr "image: no extent feature"
  printf 'no archive' >text
  run_tool 1 mkdafs -d text image 64M
  has_stderr "text"
  run_tool 1 mkdafs image auto
  has_stderr "auto: needs -d"
  run_tool 1 mkdafs --threads 2 image 8M
  has_stderr "--threads needs -d"
  [ ! -e image ]
  run_tool 0 mkdafs -q -L old image 16M
  sum=$(sha256sum <image)
  run_tool 1 mkdafs -F -t ext2 -d src image
  [ "$(sha256sum <image)" = "$sum" ]
  run_tool 1 mkdafs -d src image
  has_stderr "labelled 'old'"
  [ "$(sha256sum <image)" = "$sum" ]
  run_tool 1 mkdafs -F -d src image
  run_tool 8 e2fsck -fn image
}

@test "quota files count what was copied" {
  mkdir src
  head -c 3M /dev/urandom >src/file
  [ "$(id -u)" -ne 0 ] || chown 7:8 src/file
  run_tool 0 mkdafs -q -O quota,project -d src image 32M
  assert_fsck_clean image
}

@test "killed at any moment, nothing mounts before all is there" {
  mkdir src
  for i in $(seq 1 200); do head -c 100000 /dev/urandom >src/$i; done
  for ms in 5 10 20 30 50 80; do
    rm -f image
    timeout -s KILL 0.0"$(printf %02d $ms)" mkdafs -q -d src image 64M || true
    [ ! -e image ] && continue
    # Without the magic number nothing mounts; with it, everything is there.
    if [ "$(od -An -tx2 -j1080 -N2 image | tr -d ' ')" = ef53 ]; then
      assert_fsck_clean image
      [ "$(debugfs -R 'ls -p /' image 2>/dev/null | grep -c '/100[67]..')" -eq 200 ]
    fi
  done
}

@test "--json tells what was copied" {
  need jq
  mkdir src
  echo x >src/a
  run_tool 0 mkdafs --json -d src image auto
  [ "$(jq -c '[.created, .contents.files, .contents.bytes]' <<<"$output")" = '[true,1,2]' ]
}

@test "inline data: small files stand in their inodes, before and after every kind of change" {
  need_root_loop
  mkdir src
  for n in $(seq 1 140) 1000; do head -c "$n" /dev/urandom >"src/f$n"; done
  cp src/f100 src/with_attr
  setfattr -n user.name -v "$(printf '%040d' 7)" src/with_attr
  mke2fs -q -t ext4 -O inline_data -d src theirs 16M
  run_tool 0 mkdafs -q -O inline_data -d src ours 16M
  assert_fsck_clean ours
  # The same files as mke2fs takes.
  for image in ours theirs; do
    for file in src/f*; do
      debugfs -R "stat ${file##*/}" "$image" 2>/dev/null | grep -q 'Flags: 0x10000000' && echo "${file##*/}"
    done >"$image.inline"
  done
  [ "$(wc -l <ours.inline)" -gt 100 ]
  diff ours.inline theirs.inline
  for image in ours theirs; do
    rm -rf want && cp -a src want
    for flush in "" -f; do
      echo more | tee -a want/f6 | run_tool 0 dawrite $flush "$image" write -a /f6
      seq 50 | tee -a want/f8 | run_tool 0 dawrite $flush "$image" write -a /f8
      echo in | dd of=want/f90 bs=1 seek=40 conv=notrunc status=none
      echo in | run_tool 0 dawrite $flush "$image" write -o 40 /f90
      truncate -s 20 want/f91 && run_tool 0 dawrite $flush "$image" truncate /f91 20
      truncate -s 200000 want/f92 && run_tool 0 dawrite $flush "$image" truncate /f92 200000
      run_tool 0 dawrite $flush "$image" write -a /f93 </dev/null
      run_tool 0 dawrite $flush "$image" chmod 0600 /f94 && chmod 0600 want/f94
      run_tool 0 dawrite $flush "$image" setfattr -n user.long -v "$(printf '%090d' 1)" /f95
      setfattr -n user.long -v "$(printf '%090d' 1)" want/f95
      dawrite "$image" cat /f6 | cmp - want/f6
    done
    run_tool 0 dawrite -f "$image" touch /f1
    assert_fsck_clean "$image"
    run_tool 0 dafsck -fn --strict "$image"
    mount_ro "$image" m
    for file in want/*; do cmp "$file" "m/${file##*/}"; done
    [ "$(getfattr -n user.long --only-values m/f95)" = "$(printf '%090d' 1)" ]
    [ "$(getfattr -n user.name --only-values m/with_attr)" = "$(printf '%040d' 7)" ]
    unmount m
  done
}
