#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Limits in the quota files of an image: who would pass one is refused when the change is accepted, never at the flush.

load helpers

# An image whose /u belongs to 1000:1000, with 1 KiB blocks.
make_image() {
  run_tool 0 mkdafs -q -O quota,project -b 1024 img 16M
  run_tool 0 dawrite img mkdir /u
  run_tool 0 dawrite img chown 1000:1000 /u
  run_tool 0 dawrite -q img flush
  head -c 20000 /dev/urandom >data # 20 blocks
}

put_as() { # OWNER NAME: exit status of the whole
  printf 'touch /u/%s\nchown %s /u/%s\nwrite --from data /u/%s\n' "$2" "$1" "$2" "$2" >script
  dawrite -q img script script
}

usage() { quotalimit img | awk -v type="$1" -v id="$2" '$1 == type && $2 == id { print $3, $4 }'; }
flushed() { run_tool 0 dawrite -q img flush && assert_fsck_clean img; }

# A KiB less than the script takes is refused where the message says; then user 1000 has so many inodes.
script_needs() { # KIB INODES MESSAGE
  quotalimit img user 1000 0 $(($1 - 1)) 0 0
  run_tool 1 dawrite img script script
  has_stderr "user 1000, hard limit $(($1 - 1)) KiB"
  has_stderr "$3"
  quotalimit img user 1000 0 "$1" 0 0
  run_tool 0 dawrite img script script
  flushed
  [ "$(usage user 1000)" = "$1 $2" ]
}

@test "quota: space beyond a user's hard limit is refused, and named; the cache stays as it was" {
  make_image
  quotalimit img user 1000 0 50 0 0
  run_tool 0 put_as 1000:1000 a
  run_tool 0 put_as 1000:1000 b
  dawrite img status | grep -v commands >before
  run_tool 1 put_as 1000:1000 c
  has_stderr "/u/c: user 1000, hard limit 50 KiB"
  has_stderr "quota exceeded"
  dawrite img status | grep -v commands >after
  run_tool 0 diff before after
  # To the last block, and not one more; root may go on.
  head -c 9216 /dev/zero >nine
  run_tool 0 dawrite img write -o 20480 --from nine /u/a
  run_tool 1 dawrite img write -o 29696 --from data /u/a
  has_stderr "/u/a: user 1000"
  run_tool 1 dawrite img fallocate /u/a 1M 1K
  run_tool 0 put_as 0:0 root
  run_tool 1 dawrite img chown 1000:0 /u/root
  has_stderr "/u/root: user 1000"
  flushed
  [ "$(usage user 1000)" = "50 3" ]
  # What is in the image counts, and binds, the same.
  run_tool 1 dawrite img fallocate /u/a 1M 1K
  run_tool 1 dawrite img chown 1000:0 /u/root
}

@test "quota: what goes gives room at once: truncated, punched, removed, replaced, given away" {
  make_image
  quotalimit img user 1000 0 61 0 0
  for f in a b c; do run_tool 0 put_as 1000:1000 $f; done
  flushed
  run_tool 1 put_as 1000:1000 d
  for how in "truncate /u/a 0" "punch /u/b 0 20480" "rm /u/c" "mv /u/new1 /u/new2" "chown 7:7 /u/new3"; do
    # shellcheck disable=SC2086
    run_tool 0 dawrite img $how
    n=$((${n:-0} + 1))
    run_tool 0 put_as 1000:1000 new$n
    run_tool 1 put_as 1000:1000 more
  done
  flushed
  [ "$(usage user 1000)" = "61 6" ]
}

@test "quota: inodes, of files, directories and links; a pending one that goes counts no more" {
  make_image
  quotalimit img user 1000 0 0 0 3
  run_tool 0 put_as 1000:1000 a
  printf 'mkdir /u/d\nchown 1000:1000 /u/d\n' >script
  run_tool 0 dawrite img script script
  run_tool 1 put_as 1000:1000 b
  has_stderr "/u/b: user 1000, hard limit 3 inodes"
  printf 'ln -s t /u/s\nchown 1000:1000 /u/s\n' >script
  run_tool 1 dawrite img script script
  run_tool 0 dawrite img ln /u/a /u/hard # no inode more
  run_tool 0 dawrite img rm -r /u/d
  run_tool 0 dawrite img script script
  flushed
  [ "$(usage user 1000)" = "21 3" ]
}

@test "quota: a soft limit binds when its grace time is over; the flush keeps the time" {
  make_image
  quotalimit img user 1000 10 0 0 0
  run_tool 0 env SOURCE_DATE_EPOCH=1000000 dawrite img write --from data /u/a
  run_tool 0 env SOURCE_DATE_EPOCH=1000000 dawrite img chown 1000:1000 /u/a
  # Seven days after it was passed, and not after the flush.
  run_tool 0 env SOURCE_DATE_EPOCH=1600000 dawrite img write -a --from data /u/a
  run_tool 1 env SOURCE_DATE_EPOCH=1604800 dawrite img write -a --from data /u/a
  has_stderr "/u/a: user 1000, soft limit 10 KiB, grace time over"
  run_tool 0 env SOURCE_DATE_EPOCH=1600000 dawrite -q img flush
  assert_fsck_clean img
  [ "$(quotalimit img | awk '$1 == "user" && $2 == 1000 { print $9 }')" = 1604800 ]
  run_tool 1 env SOURCE_DATE_EPOCH=1604800 dawrite img write -a --from data /u/a
  # Under it, the time is forgotten.
  run_tool 0 env SOURCE_DATE_EPOCH=1604800 dawrite img truncate /u/a 0
  run_tool 0 env SOURCE_DATE_EPOCH=1604800 dawrite img write -a --from data /u/a
  run_tool 0 env SOURCE_DATE_EPOCH=1604800 dawrite img truncate /u/a 0
  run_tool 0 env SOURCE_DATE_EPOCH=1604800 dawrite -q img flush
  [ "$(quotalimit img | awk '$1 == "user" && $2 == 1000 { print $9 }')" = 0 ]
}

@test "quota: limits of groups and projects; files of root are exempt; --ignore-quota" {
  make_image
  quotalimit img group 2000 0 30 0 0
  run_tool 0 put_as 1000:1000 a
  run_tool 0 put_as 1000:2000 b
  run_tool 1 dawrite img chown 1000:2000 /u/a
  has_stderr "/u/a: group 2000, hard limit 30 KiB"
  run_tool 0 put_as 0:2000 c
  run_tool 0 dawrite --ignore-quota img chown 1000:2000 /u/a
  flushed
  [ "$(usage group 2000)" = "60 3" ]
  # A directory's project, which its files get.
  run_tool 0 debugfs -w -R "set_inode_field /u projid 77" img
  run_tool 0 debugfs -w -R "set_inode_field /u flags 0x20080000" img
  run_tool 1 e2fsck -fy img
  quotalimit img project 77 0 25 0 0
  run_tool 0 put_as 1000:1000 p
  run_tool 1 put_as 1000:1000 q
  has_stderr "/u/q: project 77, hard limit 25 KiB"
  flushed
}

@test "quota: directories and attributes; an import of many stops at the one that does not fit" {
  make_image
  # Four names a block, and an index: 26 blocks.
  for i in $(seq 1 100); do printf 'touch /d/%0200d\n' "$i"; done >names
  (echo 'mkdir /d' && echo 'chown 1000:1000 /d' && cat names) >script
  script_needs 27 2 "script:99: /d/0"
  head -c 1000 /dev/zero | tr '\0' v >value
  printf 'touch /u/a\nchown 1000:1000 /u/a\nsetfattr -n user.a -v %s /u/a\n' "$(head -c 900 value)" >script
  script_needs 28 3 "script:3: /u/a"
}

@test "quota: after a flush of a part, and one that was cut off, the rest is counted" {
  make_image
  quotalimit img user 1000 0 100 0 0
  for f in a b c d; do run_tool 0 put_as 1000:1000 $f; done
  run_tool 0 dawrite -q img flush --max-bytes 30000
  run_tool 1 put_as 1000:1000 e
  run_tool 0 dawrite img rm /u/d
  run_tool 0 put_as 1000:1000 e
  run_tool 1 put_as 1000:1000 f
  run_tool 0 dawrite -q img flush /u/e
  run_tool 1 put_as 1000:1000 f
  run_tool 0 dafsck -fn img
  flushed
  [ "$(usage user 1000)" = "81 5" ]
}

@test "quota: the kernel accepts and refuses the same" {
  need_root_loop
  need setpriv setfattr
  . "$DAFS_SRCDIR/tests/kernel/quota.bash"
  run_tool 0 mkdafs -q -O quota,project -b 4096 img 64M
  mkdir probe
  mount -o loop,usrquota,grpquota img probe 2>/dev/null || skip "this kernel keeps no quota"
  umount probe
  run_tool 0 dawrite img mkdir /u
  run_tool 0 dawrite img chown 1000:1000 /u
  run_tool 0 dawrite -q img flush
  quotalimit img user 1000 0 60 0 12
  quotalimit img group 2000 0 20 0 0
  # What uid 1000 has to get at.
  mkdir bin
  cp "$(command -v falloc)" bin
  PATH=$T/bin:$PATH
  chmod 755 "$T"
  setpriv --reuid 1000 --clear-groups test -x "$T/bin/falloc" || skip "the folder of tests is not open to others"
  for seed in 1 2; do
    cp img kernel
    cp img ours
    quota_ops $seed 80 >ops
    mount_rw kernel mnt usrquota,grpquota
    quota_kernel mnt <ops >kernel.said
    unmount mnt
    quota_dafs ours <ops >ours.said
    run_tool 0 diff kernel.said ours.said
    run_tool 0 dawrite -q ours flush
    assert_fsck_clean ours
    quotalimit kernel | grep -w -e 1000 -e 2000 >kernel.usage
    quotalimit ours | grep -w -e 1000 -e 2000 >ours.usage
    run_tool 0 diff kernel.usage ours.usage
  done
}
