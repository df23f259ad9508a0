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

@test "auto is as small as it can be, in every class of sizes" {
  mkdir src
  for size in 1K 1M 2500K 40M 520M; do
    head -c $size /dev/zero | tr "\0" x >src/file
    rm -f image
    run_tool 0 mkdafs -q --no-sync -d src image auto
    assert_fsck_clean image
    bs=$(blocks image 'Block size')
    spare=$((($(blocks image 'Free blocks') - $(blocks image 'Reserved block count')) * bs))
    total=$(stat -c %s image)
    echo "$size: image $total, spare $spare"
    # Free for ordinary users: not more than the step of the search, or the size is where its class begins.
    [ $spare -ge 0 ]
    [ $spare -le $((total / 1024 + 2 * 65536)) ] || [ "$total" -eq $((3 << 20)) ] || [ "$total" -eq $((512 << 20)) ]
    run_tool 0 mkdafs -q --no-sync -F -d src image auto+20M
    bs=$(blocks image 'Block size')
    [ $((($(blocks image 'Free blocks') - $(blocks image 'Reserved block count')) * bs)) -ge $((20 << 20)) ]
  done
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
      run_tool 0 dawrite "$image" cat /f6
      diff - want/f6 <<<"$output"
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
