#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# The test tools themselves: what they must find, they find.

load helpers

@test "run-all adds up, and a crash, a bad plan and a failure are failures" {
  mkdir -p build/tests/unit src/tests/bats
  cp "$DAFS_SRCDIR/tests/run-all" src/tests/
  : >build/config.status
  printf '#!/bin/sh\necho 1..3; echo "ok 1 - a"; echo "not ok 2 - b # SKIP no b here"; echo "ok 3 - c"\n' >build/tests/unit/test_good
  printf '#!/bin/sh\necho 1..2; echo "ok 1 - a"; echo "not ok 2 - b"; exit 1\n' >build/tests/unit/test_bad
  printf '#!/bin/sh\necho 1..2; echo "ok 1 - a"; kill -SEGV $$\n' >build/tests/unit/test_crash
  printf '#!/bin/sh\necho 1..2; echo "ok 1 - a"\n' >build/tests/unit/test_short
  chmod +x build/tests/unit/*
  printf '@test "good" {\n:\n}\n@test "skips" {\nskip "not today"\n}\n' >src/tests/bats/100-a.bats
  printf '@test "bad (1+1)" {\nfalse\n}\n' >src/tests/bats/200-b.bats

  run_tool 1 env -u DAFS_UNIT_TESTS DAFS_SRCDIR="$T/src" DAFS_BUILDDIR="$T/build" src/tests/run-all --unit
  [ "${output##*$'\n'}" = "5 passed, 3 failed, 1 skipped" ]
  has_output "skipped: b # SKIP no b here"
  has_output "FAIL test_short"

  run_tool 1 env DAFS_SRCDIR="$T/src" DAFS_BUILDDIR="$T/build" src/tests/run-all --bats
  [ "${output##*$'\n'}" = "1 passed, 1 failed, 1 skipped" ]
  has_output "not today"
  run_tool 0 env DAFS_SRCDIR="$T/src" DAFS_BUILDDIR="$T/build" src/tests/run-all --bats '1*'
  [ "${output##*$'\n'}" = "1 passed, 0 failed, 1 skipped" ]
  # Every third of three tests is the last one, whose name is no regular expression.
  run_tool 1 env DAFS_SRCDIR="$T/src" DAFS_BUILDDIR="$T/build" DAFS_TEST_SAMPLE=3 src/tests/run-all --bats
  [ "${output##*$'\n'}" = "0 passed, 1 failed, 0 skipped" ]
}

@test "check-layers refuses what points upwards" {
  mkdir -p src/lib/{base,model} src/include/dafs src/cli
  printf 'lib/base\tinclude\nlib/model\tinclude lib/base\ncli\tinclude lib/base\n' >src/lib/LAYERS
  printf '#include "config.h"\n\n#include "model/a.h"\n\n#include <stdio.h>\n\n#include "base/b.h"\n' >src/lib/model/a.c
  printf '#include "base/b.h"\n' >src/lib/model/a.h
  printf '#include "dafs/dafs.h"\n' >src/lib/base/b.h
  run_tool 0 "$DAFS_SRCDIR/tests/check-layers" src

  printf '#include "model/a.h"\n' >>src/lib/base/b.h
  run_tool 1 "$DAFS_SRCDIR/tests/check-layers" src
  has_output 'lib/base/b.h:2: lib/base must not include lib/model ("model/a.h")'
  printf '#include <model/a.h>\n' >src/lib/base/b.h
  run_tool 1 "$DAFS_SRCDIR/tests/check-layers" src
  printf '#include "elsewhere/a.h"\n' >src/lib/base/b.h
  run_tool 1 "$DAFS_SRCDIR/tests/check-layers" src
  has_output 'is in no layer'
  : >src/lib/base/b.h
  printf '#include "base/b.h"\n' >src/cli/c.c
  run_tool 1 "$DAFS_SRCDIR/tests/check-layers" src
  has_output 'the first include of a .c file is config.h'
}

@test "check-budget refuses long files and functions" {
  mkdir -p src/{lib,cli,mkdafs,dawrite,dafsck,dafsdebug,examples,include,tests}
  { echo 'int f(void)'; echo '{'; yes '	x();' | head -n 120; echo '}'; } >src/lib/a.c
  run_tool 0 "$DAFS_SRCDIR/tests/check-budget" src
  has_output 'f(): 122 lines'
  { echo 'static int f(int a,'; echo '	     int b)'; echo '{'; yes '	x();' | head -n 149; echo '}'; } >src/lib/a.c
  run_tool 1 "$DAFS_SRCDIR/tests/check-budget" src
  has_output 'f(): 151 lines, over the limit of 150'
  yes '/* line */' | head -n 801 >src/lib/a.c
  run_tool 1 "$DAFS_SRCDIR/tests/check-budget" src
  has_output 'src/lib/a.c: 801 lines, over the limit' || has_output 'lib/a.c: 801 lines, over the limit'
}

@test "treecmp sees every kind of difference" {
  make_tree a
  cp -a a b
  compare_trees a b
  compare_trees -a a a

  # Each edit, what it is called, and back again.
  differs() { # TEXT COMMAND...
    local text=$1
    shift
    rm -rf c && cp -a b c
    "$@"
    run_tool 1 treecmp a c
    has_output "$text"
  }
  differs 'hello: mode' chmod 600 c/hello
  differs 'large: content differs' dd if=/dev/zero of=c/large bs=1 count=1 seek=1000000 conv=notrunc status=none
  differs 'zero: size' sh -c 'echo >c/zero'
  differs 'empty: mtime' touch c/empty
  differs "fast-link: target 'hello' and 'other'" ln -sfn other c/fast-link
  differs 'only in a' rm c/zeros
  differs 'extra: only in c' touch c/extra
  differs 'many/hard-2: link of' sh -c 'cp -a c/many/hard-2 c/tmp && mv c/tmp c/many/hard-2'
  differs 'holes: data in' dd if=/dev/zero of=c/holes bs=4096 count=1 conv=notrunc status=none
  differs 'fifo: mode' sh -c 'rm c/fifo && echo >c/fifo'
  if setfattr -n user.t -v 1 a/zeros 2>/dev/null; then
    differs 'zeros: attribute user.t only in a' :
    setfattr -x user.t a/zeros
    setfattr -n user.small -v other b/attr/file
    differs 'attr/file: attribute user.small has other values' :
  fi
  if [ "$(id -u)" -eq 0 ]; then
    differs 'private: owner' chown 7:7 c/private
    differs 'char: device' sh -c 'rm c/char && mknod c/char c 5 2'
  fi
}

@test "assert_fsck_clean passes what is clean and refuses wrong counts" {
  truncate -s 4M good.img
  mke2fs -q -F -t ext4 -L label good.img
  run_tool 0 e2fsck -fn good.img
  (PATH=/usr/sbin:/usr/bin:/sbin:/bin; assert_fsck_clean good.img)
  # e2fsck -fn exits 0 on this one.
  run_tool 0 debugfs -w -R 'ssv free_blocks_count 7' good.img
  if (PATH=/usr/sbin:/usr/bin:/sbin:/bin; assert_fsck_clean good.img); then
    echo "wrong free counts went unseen"
    return 1
  fi
}

@test "scripts pass shellcheck" {
  need shellcheck
  cd "$DAFS_SRCDIR"
  run_tool 0 shellcheck -S warning -x quickstart .ci/run tests/run-all tests/check-* tests/kernel/compare
  run_tool 0 shellcheck -S warning -s bash tests/bats/helpers.bash
}

@test "no common misspellings" {
  need codespell
  cd "$DAFS_SRCDIR"
  run_tool 0 codespell -q 3 -L nd,bu --ignore-regex '\\n[A-Z]\w+' configure.ac Makefile.am README.md CHANGELOG.md lib cli include \
    mkdafs dawrite dafsck dafsdebug examples man tests quickstart
}

@test "mount_ro shows what is in an image, and the test's end takes the mount away" {
  need_root_loop
  mkdir tree
  seq 1 5000 >tree/file
  truncate -s 8M image
  mke2fs -q -F -t ext4 -d tree image
  mount_ro image mnt
  run_tool 0 cmp tree/file mnt/file
  run_tool 1 touch mnt/file
  # mke2fs drops the nanoseconds; treecmp sees that.
  run_tool 1 treecmp tree mnt
  has_output 'file: mtime'
  (dafs_teardown)
  run_tool 1 grep -F "$T/mnt" /proc/mounts
}
