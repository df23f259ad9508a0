# SPDX-License-Identifier: GPL-2.0-or-later
# Who may use an image at the same time: one writer or many readers, nobody beside the kernel.
load helpers

setup() {
  dafs_setup
  devices=()
}

teardown() {
  local dev dir
  for dir in "${mounted[@]}"; do umount "$dir" 2>/dev/null || true; done
  for dev in "${devices[@]}"; do losetup -d "$dev" || true; done
  dafs_teardown
}

loop_device() { # IMAGE: sets $dev
  dev=$(losetup -f --show "$1")
  devices+=("$dev")
}

@test "readers beside a writer see what was before a command or what was after it" {
  local i got readers=()
  mkdafs -q img 16M
  printf 'write --from 0 /a\nwrite --from 0 /b\n' >script.0
  echo 0 >0
  dawrite -q img script script.0
  for i in 1 2 3; do
    (
      while [ ! -e done ]; do
        got=$(dawrite -q --lock-timeout 600 img cat /a /b | sort -u | wc -l)
        [ "$got" = 1 ] || echo "$got" >>torn
      done
    ) 3>&- &
    readers+=($!)
  done
  for i in $(seq 1 12); do
    echo "$i" >"$i"
    printf 'truncate /a 0\nwrite --from %s /a\ntruncate /b 0\nwrite --from %s /b\n' "$i" "$i" >script
    dawrite -q --lock-timeout 600 img script script
    [ $((i % 4)) -ne 0 ] || dawrite -q --lock-timeout 600 img flush
  done
  touch done
  wait "${readers[@]}"
  [ ! -e torn ]
  [ "$(dawrite img cat /a)" = 12 ]
}

@test "a mounted device and one that somebody has for himself are refused; once free, it goes" {
  need_root_loop
  local holder
  mkdafs -q img 16M
  loop_device img
  mkdir mnt
  mount "$dev" mnt
  mounted+=("$PWD/mnt")
  run_tool 1 dawrite "$dev" mkdir /d
  has_stderr "mounted on"
  # The file under the device is the same image.
  run_tool 1 dawrite img mkdir /d
  has_stderr "mounted"
  umount mnt
  mkfifo pipe
  python3 -c '
import os, sys
os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)
open("held", "w").close()
open("pipe").read()
' "$dev" 3>&- &
  holder=$!
  until [ -e held ]; do kill -0 "$holder"; done
  run_tool 1 dawrite "$dev" mkdir /d
  has_stderr "in use by the system"
  : >pipe
  wait "$holder"
  run_tool 0 dawrite -q "$dev" mkdir /d
  run_tool 0 dawrite -q "$dev" flush
  assert_fsck_clean img
}

@test "an image where the host has no locks gets a warning, and the work is done" {
  need strace
  mkdafs -q img 8M
  run_tool 0 strace -f -qq -o trace -e trace=flock -e inject=flock:error=ENOLCK dawrite img mkdir /d
  has_stderr "has no locks"
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
}
