#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Trees and archives into an image: what cp -a keeps is kept, seen by dafs, e2fsprogs and the kernel.

load helpers

setup() {
  dafs_setup
  make_tree src
}

@test "import, flush, mount: the kernel sees the tree" {
  need_root_loop
  run_tool 0 mkdafs -q -b 4096 img 128M
  run_tool 0 dawrite img import src /
  run_tool 0 dawrite img flush
  assert_fsck_clean img
  mount_ro img m
  rmdir m/lost+found 2>/dev/null || true
  compare_trees src m
}

@test "put of single files and of trees, across many calls" {
  need_root_loop
  run_tool 0 mkdafs -q -b 4096 img 128M
  run_tool 0 dawrite img mkdir /dst
  run_tool 0 dawrite img put src/hello src/large /dst
  run_tool 0 dawrite img put src/deep /dst/renamed
  run_tool 0 dawrite img put src/holes /dst/holes2
  run_tool 1 dawrite img put src/hello src/large /dst/none
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  mount_ro img m
  cmp src/hello m/dst/hello
  cmp src/large m/dst/large
  cmp src/holes m/dst/holes2
  compare_trees src/deep m/dst/renamed
}

@test "import --flush, mkdafs -d and the cache give the same tree" {
  need_root_loop
  run_tool 0 mkdafs -q -b 4096 one 128M
  run_tool 0 dawrite -q --flush one import src /
  run_tool 0 mkdafs -q -b 4096 -d src two 128M
  assert_fsck_clean one
  assert_fsck_clean two
  [ ! -e one.dacache ]
  mount_ro one m1
  mount_ro two m2
  compare_trees src m1
  compare_trees src m2
}

@test "a tar file, compressed or on standard input, keeps what the tree has" {
  need_root_loop
  tar --xattrs --acls --format=pax -C src -cf src.tar .
  gzip -k src.tar
  run_tool 0 mkdafs -q -b 4096 img 128M
  run_tool 0 dawrite img import src.tar.gz /a
  run_tool 0 dawrite img import - /b <src.tar
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  mount_ro img m
  compare_trees -H 0 src m/a
  compare_trees -H 0 src m/b
}

@test "sync: adds, changes and deletes only what differs" {
  need_root_loop
  run_tool 0 mkdafs -q -b 4096 img 128M
  run_tool 0 dawrite -q -f img import src /t
  run_tool 0 dawrite --json img sync src /t
  lacks_output '"path"'
  echo new >src/new
  rm src/many/file-7
  printf 'Q' | dd of=src/large bs=1 seek=500000 conv=notrunc status=none
  chmod 0640 src/zero
  rm src/fast-link
  mkdir src/fast-link
  run_tool 0 dawrite img sync --delete --dry-run src /t
  has_output "/t/new"
  has_output "delete     /t/many/file-7"
  has_output "replace    /t/fast-link"
  run_tool 0 dawrite img sync --delete src /t
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  mount_ro img m
  compare_trees src m/t
}

@test "an unreadable or vanished source names itself and leaves nothing" {
  run_tool 0 mkdafs -q -b 4096 img 64M
  run_tool 1 dawrite img import none /
  has_stderr "none"
  echo 'not a tar' >noise
  run_tool 1 dawrite img import noise /
  has_stderr "noise"
  run_tool 0 dawrite img status
  has_output "nothing pending"
}
