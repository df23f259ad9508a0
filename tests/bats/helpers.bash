# SPDX-License-Identifier: GPL-2.0-or-later
# What every bats file loads first: `load helpers`.
#
# A test runs in a fresh folder, $T, with the built tools in PATH. The folder goes when the test passes and stays when it
# fails (its name is in the output). A file with a setup or teardown of its own calls dafs_setup and dafs_teardown in it.
#
#   run_tool STATUS COMMAND...   run, log, check the exit status; fills $output, $stderr and $status
#   assert_fsck_clean IMAGE      e2fsck -fn has nothing to say, and dafsck agrees
#   need COMMAND...              skip unless they are all there
#   need_root_loop               skip unless the kernel can be asked to mount
#   mount_ro|mount_rw IMAGE DIR [OPTIONS], unmount DIR
#   compare_trees [OPTION...] A B   content, modes, owners, times, xattrs, links, holes (tests/lib/treecmp)
#   make_tree DIR                one of everything that can be in a tree
#   has_output TEXT, has_stderr TEXT, lacks_output TEXT    fixed strings

bats_require_minimum_version 1.5.0
load /usr/lib/bats/bats-support/load.bash
load /usr/lib/bats/bats-assert/load.bash

if [ -z "${DAFS_SRCDIR:-}" ]; then
  DAFS_SRCDIR=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
fi
if [ -z "${DAFS_BUILDDIR:-}" ]; then
  DAFS_BUILDDIR=$PWD
  [ -f "$DAFS_BUILDDIR/config.status" ] || DAFS_BUILDDIR=$DAFS_SRCDIR/build
fi
[ -f "$DAFS_BUILDDIR/config.status" ] || { echo "run from a build folder, or set DAFS_BUILDDIR" >&2; exit 1; }

PATH=$DAFS_BUILDDIR/mkdafs:$DAFS_BUILDDIR/dawrite:$DAFS_BUILDDIR/dafsck:$DAFS_BUILDDIR/dafsdebug
PATH=$PATH:$DAFS_BUILDDIR/tests/lib:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DAFS_SRCDIR DAFS_BUILDDIR PATH
export LC_ALL=C.UTF-8 TZ=UTC
# A sanitizer's finding must not look like an expected failure.
export ASAN_OPTIONS=exitcode=99:detect_leaks=1 UBSAN_OPTIONS=exitcode=99:print_stacktrace=1
unset SOURCE_DATE_EPOCH E2FSPROGS_FAKE_TIME MKE2FS_CONFIG DEBUGFS_PAGER PAGER

setup() { dafs_setup; }
teardown() { dafs_teardown; }

dafs_setup() {
  T=$(mktemp -d "${TMPDIR:-/tmp}/dafs-test.XXXXXX")
  export T XDG_STATE_HOME=$T.state
  mounted=()
  cd "$T" || return
}

dafs_teardown() {
  local dir
  cd /
  for dir in "${mounted[@]}"; do umount "$dir" 2>/dev/null || umount -l "$dir" 2>/dev/null || true; done
  if [ "${BATS_TEST_COMPLETED:-}" = 1 ] || [ -n "${BATS_TEST_SKIPPED:-}" ]; then
    rm -rf --one-file-system "$T" "$T.state"
  else
    echo "kept: $T"
  fi
}

run_tool() {
  local want=$1
  shift
  printf '$'
  printf ' %q' "$@"
  printf '\n'
  status=0
  "$@" >"$BATS_TEST_TMPDIR/stdout" 2>"$BATS_TEST_TMPDIR/stderr" || status=$?
  output=$(tr -d '\0' <"$BATS_TEST_TMPDIR/stdout")
  stderr=$(tr -d '\0' <"$BATS_TEST_TMPDIR/stderr")
  [ -z "$output" ] || printf '%s\n' "$output" | head -n 100
  [ -z "$stderr" ] || printf '%s\n' "$stderr" | head -n 100
  [ "$status" -eq "$want" ] || { echo "exit status $status, wanted $want"; return 1; }
}

has_output() { grep -qF -- "$1" <<<"$output" || { echo "standard output lacks: $1"; return 1; }; }
has_stderr() { grep -qF -- "$1" <<<"$stderr" || { echo "standard error lacks: $1"; return 1; }; }
lacks_output() { ! grep -qF -- "$1" <<<"$output" || { echo "standard output has: $1"; return 1; }; }

assert_fsck_clean() {
  local image=$1 findings
  run_tool 0 e2fsck -fn "$image"
  findings=$(printf '%s\n%s\n' "$output" "$stderr" | grep -v \
    -e '^$' -e '^e2fsck [0-9]' -e '^Pass [1-5]: ' \
    -e ': [0-9]*/[0-9]* files ([0-9.]*% non-contiguous), [0-9]*/[0-9]* blocks$') || true
  [ -z "$findings" ] || { printf 'e2fsck finds:\n%s\n' "$findings"; return 1; }
  ! command -v dafsck >/dev/null || run_tool 0 dafsck -fn "$image"
}

need() {
  local cmd
  for cmd in "$@"; do
    command -v "$cmd" >/dev/null || skip "$cmd is not installed"
    # Leaks cannot be looked for in a traced process.
    [ "$cmd" != strace ] || export ASAN_OPTIONS=exitcode=99:detect_leaks=0
  done
}

need_root_loop() {
  [ "$(id -u)" -eq 0 ] || skip "mounting needs root"
  losetup -f >/dev/null 2>&1 || skip "no loop devices here"
  grep -qw ext4 /proc/filesystems || modprobe ext4 2>/dev/null || skip "the kernel has no ext4"
  # A container may have the devices and still not the right to mount.
  local probe=${BATS_FILE_TMPDIR:?}/probe
  [ -e "$probe.ok" ] && return
  truncate -s 1M "$probe.img"
  mke2fs -q -F -t ext4 -O ^has_journal "$probe.img"
  mkdir -p "$probe"
  mount -o loop,ro "$probe.img" "$probe" 2>/dev/null || skip "the kernel does not let us mount"
  umount "$probe"
  : >"$probe.ok"
}

mount_image() { # MODE IMAGE DIR [OPTIONS]
  local dev status=0 how=(-f --show)
  mkdir -p "$3"
  [ "$1" = rw ] || how+=(-r)
  # A loop device of its own: mount would take the one of an earlier mount for reading, which lives on as long as anybody looks
  # at it. Detached while it is mounted, it goes with the mount.
  dev=$(losetup "${how[@]}" "$2") || return 1
  mount -t ext4 -o "$1${4:+,$4}" "$dev" "$3" || status=1
  losetup -d "$dev"
  [ "$status" -eq 0 ] || { dmesg | tail -n 5; return 1; }
  mounted+=("$(realpath "$3")")
}
mount_ro() { mount_image ro "$@"; }
mount_rw() { mount_image rw "$@"; }
unmount() { umount "$1"; }

compare_trees() { run_tool 0 treecmp "$@"; }

# One of everything: names, links, modes, owners and devices (as root), times outside 32 bits, holes, attributes.
make_tree() {
  local dir=$1 i
  mkdir -p "$dir"/{empty,many,deep/a/b/c/d/e/f/g,attr}
  printf 'hello\n' >"$dir/hello"
  : >"$dir/zero"
  head -c 100 /dev/zero >"$dir/zeros"
  seq 1 200000 >"$dir/large"
  printf 'x' >"$dir/deep/a/b/c/d/e/f/g/leaf"
  for i in $(seq 1 300); do printf '%s' "$i" >"$dir/many/file-$i"; done
  printf 'n' >"$dir/many/$(printf 'n%.0s' $(seq 1 255))"
  printf 'b' >"$dir/many/"$'bytes \x01\xff\n\t*'
  printf 'u' >"$dir/many/žluťoučký kůň"
  truncate -s 5M "$dir/hole-all"
  truncate -s 3M "$dir/holes"
  printf 'middle' | dd of="$dir/holes" bs=1 seek=1048576 conv=notrunc status=none
  printf 'end' | dd of="$dir/holes" bs=1 seek=3145725 conv=notrunc status=none
  ln -s hello "$dir/fast-link"
  ln -s "$(printf '/long%.0s' $(seq 1 40))" "$dir/slow-link"
  ln -s "$(printf '%059d' 7)" "$dir/link-59"
  ln -s "$(printf '%060d' 7)" "$dir/link-60"
  ln "$dir/hello" "$dir/deep/hard-1"
  ln "$dir/hello" "$dir/many/hard-2"
  mkfifo "$dir/fifo"
  printf 's' >"$dir/setuid"
  chmod 4751 "$dir/setuid"
  chmod 1777 "$dir/empty"
  printf 'p' >"$dir/private"
  chmod 0600 "$dir/private"
  if [ "$(id -u)" -eq 0 ]; then
    mknod "$dir/char" c 5 1
    mknod "$dir/block" b 259 70000
    chown 1000:1001 "$dir/private"
    chown 70000:4000000000 "$dir/zero"
  fi
  printf 'a' >"$dir/attr/file"
  if setfattr -n user.small -v value "$dir/attr/file" 2>/dev/null; then
    setfattr -n user.large -v "$(printf 'v%.0s' $(seq 1 1500))" "$dir/attr/file"
    setfattr -n user.empty "$dir/attr/file"
    setfattr -n user.dir -v 1 "$dir/attr"
  fi
  if command -v setfacl >/dev/null; then
    setfacl -m u:1234:rw,g:77:r "$dir/hello" 2>/dev/null || true
    setfacl -d -m u:1234:rwx "$dir/empty" 2>/dev/null || true
  fi
  ! command -v setcap >/dev/null || setcap cap_net_raw+ep "$dir/setuid" 2>/dev/null || true
  touch -h -d '1960-02-03 04:05:06.123456789 UTC' "$dir/zero"
  touch -h -d '2100-12-31 23:59:59.999999999 UTC' "$dir/zeros"
  touch -h -d '2038-01-19 03:14:08.5 UTC' "$dir/fast-link"
  touch -d '2001-02-03 04:05:06.000000007 UTC' "$dir/deep/a" "$dir"
}

# many.tar, with small files that are never made on the host: PATTERN gets the number of the directory, of so many FILES each, and the
# file's.
many_tar() { # FILES PATTERN PER_DIRECTORY
  run_tool 0 python3 - "$@" <<'PY'
import io, sys, tarfile
files, pattern, each = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with tarfile.open("many.tar", "w", format=tarfile.GNU_FORMAT) as tar:
    for i in range(files):
        info = tarfile.TarInfo(pattern % (i // each, i))
        info.size = 10
        tar.addfile(info, io.BytesIO(b"%010d" % i))
PY
}
