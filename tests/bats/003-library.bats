#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# The library as its users get it: installed files, pkg-config, examples.

load helpers

@test "make install puts everything in its place, make uninstall takes it away" {
  need make
  local prefix
  prefix=$T/root$(sed -n 's/^prefix=//p' "$DAFS_BUILDDIR/dafs.pc")
  run_tool 0 make -s -C "$DAFS_BUILDDIR" install DESTDIR="$T/root"
  for file in sbin/{mkdafs,dawrite,dafsck,dafsdebug} include/dafs/{dafs,dafs_err}.h lib/libdafs.so lib/pkgconfig/dafs.pc \
    share/man/man8/{mkdafs,dawrite,dafsck,dafsdebug}.8 share/man/man5/dafs.5 share/bash-completion/completions/mkdafs; do
    [ -s "$prefix/$file" ] || { echo "not installed: $file"; return 1; }
  done
  [[ $(readelf -d "$prefix/lib/libdafs.so") == *'soname: [libdafs.so.0]'* ]]
  run_tool 0 make -s -C "$DAFS_BUILDDIR" uninstall DESTDIR="$T/root"
  [ -z "$(find root -type f -o -type l)" ]
}

@test "every example builds an image that is clean" {
  [ -n "${DAFS_EXAMPLES-}" ] || skip "no examples in this build (run by make check)"
  for example in $DAFS_EXAMPLES; do
    rm -f example.img
    run_tool 0 "$DAFS_BUILDDIR/$example" example.img
    assert_fsck_clean example.img
  done
}
