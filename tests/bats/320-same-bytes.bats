#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Same input, same bytes: whatever the order in which the host lists names, the threads, the time, the user's settings.

load helpers

UUID=0d8c2f3e-5b1a-4c6d-9e7f-112233445566

setup() {
  dafs_setup
  make_tree src
  # A second copy made in another order: the host's directories list it differently, its inode numbers differ.
  local tar="tar --xattrs --acls --sparse --warning=no-timestamp"
  mkdir copy
  (cd src && find . ! -type d -print0 | sort -rz | $tar -c --null --no-recursion -T - -f ../others.tar)
  (cd src && find . -depth -type d -print0 | $tar -c --null --no-recursion -T - -f ../dirs.tar)
  $tar -C copy --xattrs-include='*' -xpf others.tar
  $tar -C copy --xattrs-include='*' -xpf dirs.tar
  treecmp src copy
  export SOURCE_DATE_EPOCH=1700000000
}

fill() { # IMAGE SRC [OPTION...]
  local image=$1 src=$2
  shift 2
  run_tool 0 mkdafs -q -F -b 4096 -U $UUID -E hash_seed=$UUID "$@" -d "$src" "$image" 64M
}

same() { cmp "$1" "$2" || { echo "$1 and $2 differ"; return 1; }; }

@test "mkdafs -d: two copies, threads, umask, locale, time zone, hour" {
  fill one src
  assert_fsck_clean one
  fill two copy
  same one two
  fill three src --threads 1
  same one three
  fill four copy --threads 7
  same one four
  (umask 0077 && fill five src)
  same one five
  sleep 1.1
  LC_ALL=C TZ=Pacific/Kiritimati fill six src
  same one six
  fill seven src --no-sync
  same one seven
}

@test "UUID and hash seed follow from the time when they are not given" {
  run_tool 0 mkdafs -q -b 4096 -d src one 64M
  sleep 1.1
  run_tool 0 mkdafs -q -b 4096 -d copy two 64M
  same one two
  SOURCE_DATE_EPOCH=1700000001 run_tool 0 mkdafs -q -b 4096 -d copy three 64M
  run_tool 1 cmp one three
}

@test "a tar archive gives the bytes of another one of the same entries" {
  tar -C src --sort=name --format=pax --xattrs --acls -cf one.tar .
  fill one one.tar
  fill two one.tar --threads 1
  same one two
  gzip -k one.tar
  fill three one.tar.gz
  same one three
}

@test "import into an image, at once or pending over several calls" {
  fill base src
  for image in one two three four; do cp --sparse=always base $image; done
  run_tool 0 dawrite -q -f one import src /again
  run_tool 0 dawrite -q -f --threads 1 two import copy /again
  same one two
  run_tool 0 dawrite -q three import src /again
  run_tool 0 dawrite -q three flush
  (umask 0027 && run_tool 0 dawrite -q four import copy /again)
  TZ=Asia/Tokyo run_tool 0 dawrite -q four flush
  same three four
  # Beside the first way only the mark of the commit and the checksums over it differ: in the superblocks.
  assert_fsck_clean one
  assert_fsck_clean three
  [ "$(cmp -l one three | wc -l)" -le 64 ]
}
