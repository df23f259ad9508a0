#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# dawrite's commands, one by one and across processes: pending first, in the image after the flush.

load helpers

setup() {
  dafs_setup
  run_tool 0 mkdafs -q -b 4096 img 64M
}

flushed() { run_tool 0 dawrite -q img flush && assert_fsck_clean img; }
in_image() { run_tool 0 debugfs -R "$1" img; }

@test "what is pending does not touch the image, and readers see it" {
  before=$(sha256sum <img)
  echo hello | run_tool 0 dawrite img write /hello
  run_tool 0 dawrite img mkdir -p /a/b
  [ "$before" = "$(sha256sum <img)" ]
  run_tool 0 dawrite img cat /hello
  [ "$output" = hello ]
  run_tool 0 dawrite img ls /a
  [ "$output" = b ]
  run_tool 0 dawrite img status
  has_output "pending in"
  flushed
  in_image "cat /hello"
  [ "$output" = hello ]
  run_tool 0 dawrite img status
  has_output "nothing pending"
  [ ! -e img.dacache ]
}

@test "write: offsets, append, partial blocks, overwrite of pending and of flushed bytes" {
  head -c 10000 /dev/urandom >want
  run_tool 0 dawrite img write --from want /f
  printf 'XYZ' | tee >(dd of=want bs=1 seek=4095 conv=notrunc status=none) | run_tool 0 dawrite img write -o 4095 /f
  printf 'tail' | tee -a want | run_tool 0 dawrite img write -a /f
  sleep 0.1
  run_tool 0 dawrite img cat /f
  dawrite img cat /f | cmp - want
  flushed
  printf 'again' | tee >(dd of=want bs=1 seek=8190 conv=notrunc status=none) | run_tool 0 dawrite img write -o 8190 /f
  printf 'far' | tee >(dd of=want bs=1 seek=1000000 conv=notrunc status=none) | run_tool 0 dawrite img write -o 1000000 /f
  sleep 0.1
  dawrite img cat /f | cmp - want
  flushed
  debugfs -R "dump /f got" img
  cmp got want
}

@test "truncate, punch and fallocate" {
  head -c 100000 /dev/urandom >want
  run_tool 0 dawrite img put want /f
  run_tool 0 dawrite img truncate /f 50001
  truncate -s 50001 want
  run_tool 0 dawrite img punch /f 5000 20000
  fallocate -p -o 5000 -l 20000 want
  flushed
  run_tool 0 dawrite img truncate /f 90000
  truncate -s 90000 want
  run_tool 0 dawrite img punch /f 30000 10000
  fallocate -p -o 30000 -l 10000 want
  run_tool 0 dawrite img fallocate /g 0 1M
  run_tool 0 dawrite img fallocate -n /h 0 64k
  printf mid | run_tool 0 dawrite img write -o 40960 /g
  dawrite img cat /f | cmp - want
  flushed
  debugfs -R "dump /f got" img
  cmp got want
  in_image "ex /g"
  has_output "Uninit"
  run_tool 0 dawrite img stat /h
  has_output "Size: 0 "
}

@test "names: mkdir, mv, ln, rm, mknod as a user of coreutils expects" {
  run_tool 0 dawrite img mkdir /d /d/e
  run_tool 1 dawrite img mkdir /d
  has_stderr "/d"
  run_tool 1 dawrite img mkdir /x/y
  echo 1 | run_tool 0 dawrite img write /d/one
  echo 2 | run_tool 0 dawrite img write /d/two
  run_tool 0 dawrite img mv /d/one /d/two
  run_tool 0 dawrite img cat /d/two
  [ "$output" = 1 ]
  run_tool 0 dawrite img mv /d/two /d/e
  run_tool 0 dawrite img ln /d/e/two /hard
  run_tool 0 dawrite img ln -s /d/e/two /soft
  run_tool 0 dawrite img cat /soft
  [ "$output" = 1 ]
  run_tool 1 dawrite img mv /d /d/e/inside
  run_tool 1 dawrite img rm /d
  run_tool 1 dawrite img rm /none
  run_tool 0 dawrite img rm -f /none
  run_tool 0 dawrite img mknod -m 600 /null c 1 3
  run_tool 0 dawrite img mknod /pipe p
  run_tool 0 dawrite img mknod /sock s
  run_tool 1 dawrite img mknod /bad b 1
  flushed
  in_image "stat /hard"
  has_output "Links: 2"
  run_tool 0 dawrite img rm -r /d
  flushed
  in_image "stat /hard"
  has_output "Links: 1"
}

@test "attributes: chmod, chown, touch with nanoseconds far away, setfattr" {
  : | run_tool 0 dawrite img write /f
  run_tool 0 dawrite img chmod u+s,go-r /f
  run_tool 0 dawrite img chown 70000:80000 /f
  run_tool 0 dawrite img touch -d 1901-12-14T00:00:00.123456789 /f
  run_tool 0 dawrite img touch -d @7258118400.987654321 /late
  run_tool 0 dawrite img setfattr -n user.a -v text /f
  run_tool 0 dawrite img setfattr -n user.b -v 0x00ff10 /f
  run_tool 0 dawrite img setfattr -n user.big -v "$(printf 'v%.0s' $(seq 1 2000))" /f
  flushed
  run_tool 0 dawrite img stat /f
  has_output "4600"
  has_output "Uid: 70000  Gid: 80000"
  has_output "Modify: 1901-12-14 00:00:00.123456789"
  run_tool 0 dawrite img stat /late
  has_output "2200-01-01 00:00:00.987654321"
  in_image "ea_get -x /f user.b"
  has_output "00 ff 10"
  run_tool 0 dawrite img setfattr -n user.a -x /f
  run_tool 1 dawrite img setfattr -n user.none -x /f
  run_tool 1 dawrite img setfattr -n user.huge -v "$(printf 'v%.0s' $(seq 1 5000))" /f
  has_stderr "/f"
  has_stderr "user.huge"
  flushed
}

@test "script: all or nothing, errors name the line" {
  cat >good <<'S'
# a comment
mkdir -p /x/y
ln -s "some where" '/x/a link'
touch /x/b\ c
S
  run_tool 0 dawrite img script good
  run_tool 0 dawrite img ls /x
  [ "$output" = $'a link\nb c\ny' ]
  printf 'mkdir /new\nrm /x/none\nmkdir /never\n' >bad
  run_tool 1 dawrite img script bad
  has_stderr "bad:2"
  run_tool 0 dawrite img ls /
  lacks_output new
  printf 'mkdir /new\nfrobnicate /x\n' >worse
  run_tool 1 dawrite img script - <worse
  has_stderr ":2"
  printf 'flush\n' | run_tool 1 dawrite img script -
  flushed
}

@test "a script of many lines gives up memory in between, and nothing else changes" {
  export SOURCE_DATE_EPOCH=1700000000
  seq 1 9000 >data
  cat >first <<'S'
mkdir /d /gone
write --from data /d/a
write --from data /d/b
write --from data /gone/x
ln /d/a /d/also
ln -s a /d/link
setfattr -n user.a -v one /d/b
rm /old
S
  cat >second <<'S'
write --from data -a /d/a
write --from data -o 4096 /d/also
punch /d/b 4096 8192
setfattr -n user.b -v two /d/b
mv /d/link /d/b2
rm -r /gone
mkdir /gone
mv /d/also /d/b2
write --from data /old
truncate /d/a 70000
S
  mkdafs -qF img 16M
  dawrite -q img write /old <data
  dawrite -q img flush
  dawrite -q img mkdir /before
  cp img plain
  cp -r img.dacache plain.dacache
  cat first second >short
  dawrite -q plain script short
  dawrite -q plain flush
  # What is held is counted in lines.
  { cat first; yes '' | head -n 65536; cat second; yes '' | head -n 65536; } >long
  { cat long; echo rm /d/none; } >bad
  run_tool 1 dawrite -q img script bad
  has_stderr bad:131091
  run_tool 0 dawrite img ls /
  [ "$output" = $'before\nlost+found\nold' ]
  dawrite -q img script long
  run_tool 0 dafsck -n img
  dawrite -q img flush
  assert_fsck_clean img
  cmp img plain
}

@test "discard drops what is pending" {
  before=$(sha256sum <img)
  run_tool 0 dawrite img mkdir /gone
  run_tool 0 dawrite img discard
  run_tool 0 dawrite img ls
  lacks_output gone
  run_tool 0 dawrite img flush
  [ "$before" = "$(sha256sum <img)" ]
}

@test "a pending file that is removed never touches the image" {
  before=$(sha256sum <img)
  head -c 1M /dev/urandom | run_tool 0 dawrite img write /f
  run_tool 0 dawrite img rm /f
  run_tool 0 dawrite img flush
  run_tool 0 dawrite img status
  has_output "nothing pending"
  # Only the root directory's times may differ.
  assert_fsck_clean img
  in_image "ls /"
  lacks_output " f"
}

@test "bad input is one line with path and cause, and nothing is left behind" {
  run_tool 1 dawrite none.img ls
  has_stderr "none.img"
  head -c 1M /dev/urandom >noise
  run_tool 1 dawrite noise mkdir /x
  has_stderr "noise"
  cp img cut
  truncate -s 1M cut
  run_tool 1 dawrite cut mkdir /x
  has_stderr "cut"
  run_tool 1 dawrite img put /nonexistent /x
  has_stderr "/nonexistent"
  run_tool 1 dawrite img write --from /nonexistent /x
  run_tool 1 dawrite img truncate /absent 5
  run_tool 1 dawrite img frobnicate
  : | run_tool 0 dawrite img write /file
  : | run_tool 1 dawrite img write /file/below
  run_tool 1 dawrite img mkdir "/$(printf 'n%.0s' $(seq 1 256))"
  run_tool 1 dawrite img truncate /file 17T
  truncate -s 80M big
  run_tool 1 dawrite img write --from big /toobig
  has_stderr "/toobig"
  run_tool 0 dawrite img ls
  lacks_output toobig
  flushed
}
