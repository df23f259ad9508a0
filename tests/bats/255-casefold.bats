#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Names of casefolded directories: one name whatever its spelling, and a new spelling by mv.

load helpers

setup() {
  dafs_setup
  run_tool 0 mkdafs -q -O casefold img 16M
  run_tool 0 dawrite img mkdir /D
  run_tool 0 dawrite -q img flush
  run_tool 0 debugfs -w -R "set_inode_field /D flags 0x40080000" img # casefolded, extents
}

names() { debugfs -R "ls -p /D" img 2>/dev/null | cut -d/ -f6 | grep -v '^[. ]*$' | sort; }
flushed() { run_tool 0 dawrite -q img flush && assert_fsck_clean img; }

@test "casefold: mv gives a file, a directory and a link another spelling, pending and in the image" {
  run_tool 0 dawrite img mkdir /D/sub
  run_tool 0 dawrite img touch /D/sub/inside /D/file
  run_tool 0 dawrite img ln -s t /D/link
  run_tool 0 dawrite img mv /D/sub /D/SuB
  run_tool 0 dawrite img mv /D/file /D/FILE
  run_tool 0 dawrite img mv /D/link /D/Link
  run_tool 0 dawrite img ls /D
  has_output SuB && lacks_output sub && has_output FILE && has_output Link
  flushed
  [ "$(names)" = $'FILE\nLink\nSuB' ]
  # What the image has, and back again.
  ino=$(debugfs -R "stat /D/FILE" img 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')
  run_tool 0 dawrite img mv /D/SuB /D/sUb
  run_tool 0 dawrite img mv /D/FILE /D/File
  run_tool 0 dawrite img mv /D/File /D/fiLE
  run_tool 0 dawrite img ls /D
  has_output sUb && has_output fiLE && lacks_output File
  flushed
  [ "$(names)" = $'Link\nfiLE\nsUb' ]
  [ "$(debugfs -R "stat /D/fiLE" img 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')" = "$ino" ]
  run_tool 0 dawrite img stat /D/SUB/inside
}

@test "casefold: the same spelling is nothing new; into another directory and over another name as always" {
  run_tool 0 dawrite img mkdir /D/sub /D/other
  run_tool 0 dawrite img touch /D/a /D/b
  run_tool 0 dawrite img mv /D/a /D/a
  run_tool 1 dawrite img mv /D/sub /D/sub
  has_stderr "Invalid argument"
  run_tool 1 dawrite img mv /D/sub /D/SUB/deeper
  run_tool 0 dawrite img mv /D/sub /D/OTHER
  run_tool 0 dawrite img mv /D/a /D/B
  flushed
  [ "$(names)" = $'b\nother' ]
  run_tool 0 dawrite img stat /D/other/sub
  # A directory whose names are compared bytewise has both.
  run_tool 0 dawrite img mkdir /P
  run_tool 0 dawrite img mkdir /P/x /P/X
  run_tool 0 dawrite img mv /P/x /P/X
  flushed
  run_tool 0 dawrite img stat /P/X/x
}
