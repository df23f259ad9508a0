#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Write-back in passes: flush --max-bytes and --dirty-limit write a part of a file and go on from there; flush PATH takes just
# what was named and what that needs. After every pass the image is sound, what it has of a file is the file's beginning, and
# reads through the cache see all of it.

load helpers

setup() {
  dafs_setup
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 img 96M
}

put_bytes() { head -c "$1" /dev/urandom; }
extents_of() { debugfs -R "ex $1" img 2>/dev/null | awk '/^ *[0-9]+\/ *[0-9]+/ { sub(/\//, "/ "); if ($1 + 0 == $2 + 0) n++ } END { print n + 0 }'; }
size_of() { debugfs -R "stat $1" img 2>/dev/null | sed -n 's/.*Size: \([0-9]*\)$/\1/p' | head -n 1; }
pending() { dawrite --json img status | jq ".$1"; }
# What the image alone has of a file is a beginning of FILE; a reader through the cache gets all of it.
assert_part() { # PATH FILE SIZE
  [ "$(size_of "$1")" -eq "$3" ]
  debugfs -R "dump $1 got" img
  head -c "$3" "$2" | cmp - got
  dawrite img cat "$1" | cmp - "$2"
}

@test "m28 a file in several passes: each goes on where the last one ended, in one extent" {
  put_bytes 30000000 >d
  run_tool 0 dawrite -q --no-sync img write --from d /f
  for i in 1 2 3; do
    run_tool 0 dawrite -q --no-sync --trace "log$i" img flush --max-bytes 8M
    assert_fsck_clean img
    assert_part /f d $((i * 8388608))
    [ "$(extents_of /f)" -eq 1 ]
    # What was written holds no reserve any more, the rest still does.
    [ "$(pending reserved_clusters)" -eq $((7325 - i * 2048)) ]
    [ "$(pending inodes)" -eq 1 ]
    grep -q "^ext4_da_write_pages_extent: .* lblk $(((i - 1) * 2048)) len 2048 " "log$i"
    [ "$(grep -c '^ext4_da_write_pages_extent:' "log$i")" -eq 1 ]
  done
  # Appended to between passes.
  put_bytes 5000 >more
  cat more >>d
  run_tool 0 dawrite -q --no-sync img write -a --from more /f
  run_tool 0 dawrite -q --no-sync img flush --max-bytes 80M
  assert_part /f d 30005000
  [ "$(extents_of /f)" -eq 1 ]
  [ "$(pending inodes)" -eq 0 ]
  assert_fsck_clean img
}

@test "m28 others between the passes leave the room behind it alone" {
  put_bytes 12000000 >d
  put_bytes 40960 >s
  run_tool 0 dawrite -q --no-sync img write --from d /f
  for i in 1 2 3 4 5 6 7 8 9 10 11; do
    run_tool 0 dawrite -q --no-sync img flush --max-bytes 1M /f
    run_tool 0 dawrite -q --no-sync img write --from s "/s$i"
    run_tool 0 dawrite -q --no-sync img flush "/s$i"
    assert_part "/s$i" s 40960
    assert_part /f d $((i * 1048576))
  done
  run_tool 0 dawrite -q --no-sync img flush
  [ "$(extents_of /f)" -eq 1 ]
  assert_part /f d 12000000
  assert_fsck_clean img
}

@test "--dirty-limit writes back down to the limit, parts of files included" {
  put_bytes 3000000 >d
  : >all
  for i in 1 2 3 4 5 6; do
    cat d >>all
    run_tool 0 dawrite -q --no-sync --dirty-limit 4M img write -a --from d /f
    [ "$(pending data_bytes)" -le 4194304 ]
    dawrite img cat /f | cmp - all
    assert_fsck_clean img
  done
  [ "$(pending data_bytes)" -gt 4100000 ]
  [ "$(extents_of /f)" -eq 1 ]
}

@test "--order dirty with a limit takes files by the time they were first dirtied" {
  put_bytes 409600 >d
  for f in c a b c; do run_tool 0 dawrite -q --no-sync img write -a --from d "/$f"; done
  run_tool 0 dawrite -q --no-sync --order dirty img flush --max-bytes 1M
  cat d d >dd
  assert_part /c dd 819200
  assert_part /a d $((1048576 - 819200))
  [ -z "$(size_of /b)" ]
  run_tool 0 dawrite -q --no-sync --order dirty img flush --max-bytes 200000
  assert_part /a d 409600
  assert_part /b d $((200704 - 409600 - 819200 + 1048576))
  assert_fsck_clean img
}

@test "overwrites, truncations, holes and unwritten blocks in passes" {
  put_bytes 4000000 >d
  # Room behind each of them.
  for f in over cut mixed; do
    run_tool 0 dawrite -q --no-sync -f img write --from d "/$f"
    run_tool 0 dawrite -q --no-sync -f img fallocate "/room.$f" 0 4M
  done
  run_tool 0 dawrite -q --no-sync -f img rm /room.over /room.cut /room.mixed
  put_bytes 2000000 >new
  # New bytes over old blocks, and past their end.
  cp d over
  dd if=new of=over bs=1M seek=3000000 oflag=seek_bytes conv=notrunc status=none
  run_tool 0 dawrite -q --no-sync img write -o 3000000 --from new /over
  # Cut off, and grown again.
  head -c 100000 d >cut
  cat new >>cut
  run_tool 0 dawrite -q --no-sync img truncate /cut 100000
  run_tool 0 dawrite -q --no-sync img write -a --from new /cut
  # Punched and filled in part, with unwritten blocks behind.
  cp d mixed
  run_tool 0 dawrite -q --no-sync img punch /mixed 1000000 2000000
  falloc -p mixed 1000000 2000000
  run_tool 0 dawrite -q --no-sync img write -o 1500000 --from cut /mixed
  dd if=cut of=mixed bs=1M seek=1500000 oflag=seek_bytes conv=notrunc status=none
  run_tool 0 dawrite -q --no-sync img fallocate /mixed 4000000 1000000
  truncate -s 5000000 mixed
  for i in $(seq 40); do
    run_tool 0 dawrite -q --no-sync img flush --max-bytes 200000
    run_tool 0 e2fsck -fn img
    for f in over cut mixed; do dawrite img cat "/$f" | cmp - "$f"; done
    # Nothing that was cut off comes back once that is in the image.
    debugfs -R "dump /cut got" img
    cmp -s got d || cmp -n "$(stat -c %s got)" got cut
    [ "$(pending inodes)" -ne 0 ] || break
  done
  [ "$i" -lt 40 ]
  [ "$i" -gt 15 ]
  for f in over cut mixed; do debugfs -R "dump /$f got" img && cmp got "$f"; done
  [ "$(extents_of /over)" -eq 1 ]
  [ "$(extents_of /cut)" -eq 1 ]
  [ "$(extents_of /mixed)" -eq 3 ]
  assert_fsck_clean img
}

@test "what takes the place of another file goes whole" {
  put_bytes 3000000 >old
  put_bytes 2000000 >new
  for f in renamed rewritten; do run_tool 0 dawrite -q --no-sync -f img write --from old "/$f"; done
  run_tool 0 dawrite -q --no-sync img write --from new /tmp
  run_tool 0 dawrite -q --no-sync img mv /tmp /renamed
  run_tool 0 dawrite -q --no-sync img truncate /rewritten 0
  run_tool 0 dawrite -q --no-sync img write --from new /rewritten
  for i in 1 2 3; do
    run_tool 0 dawrite -q --no-sync img flush --max-bytes 4096
    assert_fsck_clean img
    for f in renamed rewritten; do
      debugfs -R "dump /$f got" img
      cmp -s got old || cmp got new
    done
    [ "$(pending inodes)" -ne 0 ] || break
  done
  cmp got new
}

@test "links, renames, removal and a new file of the old name between passes" {
  put_bytes 3000000 >d
  put_bytes 500000 >e
  run_tool 0 dawrite -q --no-sync img mkdir -p /x/y
  run_tool 0 dawrite -q --no-sync img write --from d /x/f
  run_tool 0 dawrite -q --no-sync img ln /x/f /x/y/g
  run_tool 0 dawrite -q --no-sync img flush --max-bytes 1M
  assert_part /x/f d 1048576
  assert_part /x/y/g d 1048576
  run_tool 0 dawrite -q --no-sync img mv /x/f /h
  run_tool 0 dawrite -q --no-sync img rm /x/y/g
  run_tool 0 dawrite -q --no-sync img write --from e /x/f
  run_tool 0 dawrite -q --no-sync img flush --max-bytes 1M
  assert_fsck_clean img
  assert_part /h d 2097152
  dawrite img cat /x/f | cmp - e
  run_tool 0 dawrite -q --no-sync img rm /h
  run_tool 0 dawrite -q --no-sync img write --from e /h
  run_tool 0 dawrite -q --no-sync img flush /h
  assert_part /h e 500000
  assert_fsck_clean img
  run_tool 0 dawrite -q --no-sync img flush
  assert_part /x/f e 500000
  assert_fsck_clean img
}

@test "flush PATH: those, their directories, and nothing else" {
  put_bytes 100000 >d
  run_tool 0 dawrite -q --no-sync img mkdir -p /p/q/r
  run_tool 0 dawrite -q --no-sync img mkdir /other
  for f in /p/q/r/f /p/g /other/h; do run_tool 0 dawrite -q --no-sync img write --from d "$f"; done
  run_tool 0 dawrite -q --no-sync img flush /p/q/r/f
  assert_part /p/q/r/f d 100000
  for f in /p/g /other; do
    run_tool 0 debugfs -R "stat $f" img
    has_stderr "File not found"
  done
  assert_fsck_clean img
  run_tool 1 dawrite img flush /absent
  has_stderr "/absent"
  run_tool 0 dawrite -q --no-sync img flush /p /other/h
  assert_part /p/g d 100000
  assert_part /other/h d 100000
  [ "$(pending inodes)" -eq 0 ]
  assert_fsck_clean img
}

@test "a link in a removed directory goes with the other name's file" {
  put_bytes 5000 >d
  run_tool 0 dawrite -q --no-sync img mkdir -p /r/s
  run_tool 0 dawrite -q --no-sync img write --from d /r/s/f
  run_tool 0 dawrite -q --no-sync img ln /r/s/f /keep
  run_tool 0 dawrite -q --no-sync img flush
  run_tool 0 dawrite -q --no-sync img rm -r /r
  run_tool 0 dawrite -q --no-sync img write -a --from d /keep
  run_tool 0 dawrite -q --no-sync img flush /keep
  assert_fsck_clean img
  cat d d >dd
  assert_part /keep dd 10000
}

@test "near full a flush takes everything: no rest that does not fit" {
  run_tool 0 mke2fs -q -F -t ext4 -b 1024 -O ^has_journal img 4M
  put_bytes 1024 >d
  free=$(dumpe2fs -h img 2>/dev/null | sed -n 's/^Free blocks: *//p')
  put_bytes $(((free - 40) * 1024)) >bulk
  run_tool 0 dawrite -q --no-sync img write --from bulk /bulk
  n=0
  while dawrite -q --no-sync img write -o $((n * 2048)) --from d /comb 2>/dev/null; do n=$((n + 1)); done
  [ "$n" -gt 20 ]
  run_tool 0 dawrite -q --no-sync img flush --max-bytes 100K
  run_tool 0 dawrite -q --no-sync img flush
  debugfs -R "dump /bulk got" img && cmp got bulk
  assert_fsck_clean img
}

# random SEED STEPS LIMIT MKDAFS-OPTION...: random operations, a pass of about LIMIT bytes after each 20 of them.
random() {
  local seed=$1 steps=$2 limit=$3 order piece
  shift 3
  echo "seed $seed, $steps steps, $limit bytes a pass, mkdafs $*"
  mkdir -p host data
  chmod 0755 host
  randops "$seed" "$steps" "$T/host" "$T/data" >all.script
  rm -f img
  run_tool 0 mkdafs -q "$@" img 96M
  split -n "l/$((steps / 20))" -d -a 3 all.script piece.
  for piece in piece.*; do
    order=$([ $((seed++ % 2)) = 0 ] && echo dirty || echo plan)
    run_tool 0 dawrite -q --no-sync --order "$order" img script "$piece"
    run_tool 0 dawrite -q --no-sync --order "$order" img flush --max-bytes "$limit"
    run_tool 0 e2fsck -fn img
  done
  # All files as a reader sees them, pending or not.
  (cd host && find . -type f -print0 | sort -z | xargs -0r cat) | sha256sum >want
  (cd host && find . -type f -printf '/%P\0' | sed -z 's/^\///; s/^/.\//' | sort -z | xargs -0r dawrite "$T/img" cat) | sha256sum | diff want -
  run_tool 0 dawrite img touch -d @1 /
  touch -d @1 host
  while [ "$(pending inodes)" -ne 0 ]; do run_tool 0 dawrite -q --no-sync img flush --max-bytes $((limit * 8)); done
  assert_fsck_clean img
  mount_ro img m
  compare_trees -H 0 host m
  unmount m
  rm -rf host data img piece.* all.script
}

@test "random operations with passes between them" {
  need_root_loop
  random 21 600 60000
  random 22 600 300000 -b 1024
  random 23 500 100000 -O bigalloc -C 65536
  random "$((RANDOM + 100))" 400 20000
}

@test "m28 a GiB in passes of 100 MiB: an extent for each 32768 blocks (DAFS_TEST_LONG)" {
  [ -n "${DAFS_TEST_LONG:-}" ] || skip "DAFS_TEST_LONG is not set"
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 -O sparse_super2,^resize_inode img 4G
  head -c 1G /dev/zero | tr '\0' x >d
  run_tool 0 dawrite -q --no-sync img write --from d /f
  for _ in $(seq 11); do run_tool 0 dawrite -q --no-sync img flush --max-bytes 100M; done
  [ "$(pending inodes)" -eq 0 ]
  [ "$(extents_of /f)" -eq 8 ]
  debugfs -R "dump /f got" img && cmp d got
  assert_fsck_clean img
}
