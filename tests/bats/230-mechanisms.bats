#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# The mechanisms of ext4's delayed allocation as the tool shows them. mNN is the mechanism's number in the list of 37 that the write
# path is built after; those that only show inside are in tests/unit.

load helpers

setup() {
  dafs_setup
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 img 64M
}

put_bytes() { head -c "$1" /dev/urandom; }
traced() { run_tool 0 dawrite -q --no-sync --trace log img "$@"; }
events() { grep -c "^$1:" log || true; }
# The sum of a field over an event's lines.
sum_of() { awk -v e="$1:" -v f="$2" '$1 == e { for (i = 2; i < NF; i++) if ($i == f) n += $(i + 1) } END { print n + 0 }' log; }
data_calls() { grep -c '^ext4_request_blocks:.*HINT_DATA' log || true; }
extents_of() { debugfs -R "ex $1" img 2>/dev/null | awk '/^ *[0-9]+\/ *[0-9]+/ { sub(/\//, "/ "); if ($1 + 0 == $2 + 0) n++ } END { print n + 0 }'; }
blocks_of() { debugfs -R "stat $1" img 2>/dev/null | sed -n 's/.*Blockcount: \([0-9]*\).*/\1/p'; }

@test "m01 m09 without delayed allocation: look, allocate and insert at every block" {
  put_bytes 81920 >d
  run_tool 0 dawrite -q --no-sync --nodelalloc --trace log img write --from d /f
  [ "$(data_calls)" -eq 20 ]
  [ "$(events ext4_write_begin)" -ge 1 ]
  [ "$(events ext4_da_write_begin)" -eq 0 ]
  [ "$(events ext4_da_reserve_space)" -eq 0 ]
  # For one block: enter with CREATE, request, allocate, exit, insert as written.
  grep -A 40 'lblk 7 len 1 flags CREATE$' log | sed -n '1p;/request_blocks/p;/allocate_blocks/p;/CREATE lblk 7/p;/es_insert_extent/p' |
    head -n 5 | cut -d: -f1 >order
  printf '%s\n' ext4_ext_map_blocks_enter ext4_request_blocks ext4_allocate_blocks ext4_ext_map_blocks_exit ext4_es_insert_extent |
    diff - order
  debugfs -R "dump /f got" img && cmp d got
  assert_fsck_clean img
}

@test "m04 append and writes past the end" {
  printf 'abc' >want
  run_tool 0 dawrite -q img write --from want /f
  printf 'def' >>want
  printf 'def' | run_tool 0 dawrite -q img write -a /f
  printf 'far' | run_tool 0 dawrite -q img write -o 100000 /f
  printf 'far' | dd of=want bs=1 seek=100000 conv=notrunc status=none
  run_tool 0 dawrite -q img flush
  debugfs -R "dump /f got" img && cmp want got
  assert_fsck_clean img
}

@test "m05 size and time reach the image" {
  put_bytes 5000 >d
  SOURCE_DATE_EPOCH=1000000000 run_tool 0 dawrite -q img write --from d /f
  SOURCE_DATE_EPOCH=1000000000 run_tool 0 dawrite -q img flush
  run_tool 0 debugfs -R "stat /f" img
  has_output "Size: 5000"
  grep -q 'mtime: 0x3b9aca00' <<<"$output"
  # A later write brings a later time, over old bytes, behind them, and while it is pending.
  printf x | SOURCE_DATE_EPOCH=1000000001 run_tool 0 dawrite -q -f img write -o 7 /f
  run_tool 0 debugfs -R "stat /f" img
  has_output "Size: 5000"
  grep -q 'mtime: 0x3b9aca01' <<<"$output"
  printf x | SOURCE_DATE_EPOCH=1000000002 run_tool 0 dawrite -q img write -a /f
  printf x | SOURCE_DATE_EPOCH=1000000003 run_tool 0 dawrite -q img write -a /f
  SOURCE_DATE_EPOCH=1000000009 run_tool 0 dawrite -q img flush
  run_tool 0 debugfs -R "stat /f" img
  has_output "Size: 5002"
  grep -q 'mtime: 0x3b9aca03' <<<"$output"
}

@test "m06 m07 one byte, unaligned, many blocks: the same bytes, in pieces cut at blocks" {
  put_bytes 50000 >want
  run_tool 0 dawrite -q img write --from want /f
  while read -r off len; do
    put_bytes "$len" >d
    dd if=d of=want bs=64k seek="$off" oflag=seek_bytes conv=notrunc status=none
    traced write -o "$off" --from d /f
  done <<<$'0 1\n4095 2\n8191 1\n100 20000\n12288 4096\n49999 9000'
  # Pieces add up to what was written; none reaches over a block's border unless it is whole blocks.
  [ "$(sum_of ext4_da_write_begin len)" -eq $((1 + 2 + 1 + 20000 + 4096 + 9000)) ]
  [ "$(events ext4_da_write_begin)" -eq "$(events ext4_da_write_end)" ]
  awk '$1 == "ext4_da_write_begin:" { pos = $7; len = $9; if ((pos % 4096 || len % 4096) && int(pos / 4096) != int((pos + len - 1) / 4096)) exit 1 }' log
  run_tool 0 dawrite -q img flush
  debugfs -R "dump /f got" img && cmp want got
  assert_fsck_clean img
}

@test "m07 whole blocks go in one piece, the ends by themselves" {
  put_bytes 81920 >d
  traced write --from d /f
  [ "$(events ext4_da_write_begin)" -eq 1 ]
  rm log
  traced write -o 4000 --from d /f
  [ "$(events ext4_da_write_begin)" -eq 3 ]
  rm log
  run_tool 0 dawrite -q --no-sync --trace log img write /g <d
  [ "$(events ext4_da_write_begin)" -eq 1 ]
}

@test "m12 the direct mapper allocates once and finds afterwards, in the write, in the next and after the flush" {
  put_bytes 8192 >d
  printf 'write --from d /f\nwrite -o 100 --from d /f\nwrite --from d /f\n' >script
  run_tool 0 dawrite -q --no-sync --nodelalloc --trace log img script script
  [ "$(data_calls)" -eq 3 ]
  rm log
  run_tool 0 dawrite -q --no-sync --nodelalloc --trace log img write --from d /f
  [ "$(data_calls)" -eq 0 ]
  [ "$(blocks_of /f)" -eq 24 ]
  assert_fsck_clean img
}

@test "m08 both modes of one script: the same files, another layout" {
  cp img img2
  for i in $(seq 0 9); do
    for f in a b; do put_bytes 20000 >"d$f$i"; echo "write -o $((i * 20000)) --from d$f$i /$f" >>script; done
  done
  run_tool 0 dawrite -q --trace log -f img script script
  run_tool 0 dawrite -q --nodelalloc --trace log2 img2 script script
  for f in a b; do
    debugfs -R "dump /$f one" img && debugfs -R "dump /$f two" img2
    cmp one two
  done
  [ "$(extents_of /a)" -eq 1 ]
  ! diff <(debugfs -R "ex /b" img 2>/dev/null) <(debugfs -R "ex /b" img2 2>/dev/null) >/dev/null
  [ "$(grep -c '^ext4_request_blocks:.*HINT_DATA' log)" -eq 2 ]
  [ "$(grep -c '^ext4_request_blocks:.*HINT_DATA' log2)" -eq 98 ]
  assert_fsck_clean img
  assert_fsck_clean img2
}

@test "m18 m20 m22 m25 writing only reserves; what is reserved is not reserved again" {
  before=$(sha256sum <img)
  put_bytes 40960 >d
  traced write --from d /f
  [ "$before" = "$(sha256sum <img)" ]
  [ "$(sum_of ext4_da_reserve_space reserve_blocks)" -eq 10 ]
  [ "$(data_calls)" -eq 0 ]
  grep -q 'ext4_es_insert_delayed_extent: .* es \[0/10) mapped 0 status D allocated 0 0' log
  traced write -o 8192 --from d /f
  [ "$(sum_of ext4_da_reserve_space reserve_blocks)" -eq 12 ]
  run_tool 0 dawrite --json img status
  [ "$(jq .reserved_clusters <<<"$output")" -eq 12 ]
  # Unwritten blocks of the image hold their space already.
  run_tool 0 dawrite -q img fallocate /g 0 1M
  run_tool 0 dawrite -q img flush
  rm log
  traced write -o 40960 --from d /g
  [ "$(events ext4_da_reserve_space)" -eq 0 ]
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
}

@test "m19 the kind of begin; near full it stays delayed, and the last file is in one piece" {
  put_bytes 4096 >d
  free=$(dumpe2fs -h img 2>/dev/null | sed -n 's/^Free blocks: *//p')
  head -c $(((free - 300) * 4096)) /dev/zero | tr '\0' x >bulk
  run_tool 0 dawrite -q --no-sync img write --from bulk /bulk
  head -c $((250 * 4096)) bulk >last
  # The kernel would allocate at once here: free is below dirty and its margin.
  traced write --from last /last
  [ "$(events ext4_da_write_begin)" -ge 1 ]
  [ "$(events ext4_write_begin)" -eq 0 ]
  run_tool 0 dawrite -q --no-sync --trace log img flush
  [ "$(extents_of /last)" -le 2 ]
  assert_fsck_clean img
}

@test "m19 --nonda-switch: each block's begin is of the kind that the kernel's formulas say" {
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 -m 0 small 16M
  free=$(dumpe2fs -h small 2>/dev/null | sed -n 's/^Free blocks: *//p')
  head -c $(((free - 40) * 4096)) /dev/zero | tr '\0' x >bulk
  split -b $(((free - 40) / 3 * 4096)) bulk part.
  for p in part.*; do run_tool 0 dawrite -q --no-sync --nonda-switch --trace log small write -a --from "$p" /f; done
  awk -v free="$free" '
    /^ext4_da_write_begin:/ || /^ext4_write_begin:/ {
      low = 2 * (free - placed) < 3 * dirty || free - placed < dirty + 256
      if (low != ($1 == "ext4_write_begin:")) { print "free " free - placed " dirty " dirty ": " $0; exit 1 }
      if (low) placed++; else dirty++
      n[low]++
    }
    END { print n[0], n[1]; if (!n[0] || !n[1]) exit 1 }' log
  # One call for each block that was placed at once; what was delayed waited for the flush.
  [ "$(data_calls)" -eq "$(events ext4_write_begin)" ]
  run_tool 0 dawrite -q --no-sync small flush
  debugfs -R "dump /f got" small && cmp bulk got
  assert_fsck_clean small
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 -O bigalloc big 64M
  run_tool 1 dawrite -q --nonda-switch big write --from part.aa /f
  has_stderr bigalloc
}

@test "m25 who is refused when: root's blocks are kept from other owners' files" {
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 -m 5 -O ^has_journal kept 16M
  free=$(dumpe2fs -h kept 2>/dev/null | sed -n 's/^Free blocks: *//p')
  root=$(dumpe2fs -h kept 2>/dev/null | sed -n 's/^Reserved block count: *//p')
  [ "$root" -eq 204 ]
  printf 'write --from /dev/null /user\nchown 1000:1000 /user\n' >script
  run_tool 0 dawrite -q kept script script
  head -c $(((free - root + 1) * 4096)) /dev/zero | tr '\0' x >more
  head -c $(((free - root) * 4096)) more >most
  run_tool 1 dawrite -q kept write --from more /user
  has_stderr "No space left"
  run_tool 0 dawrite -q kept write --from most /user
  # Not one more for him; for root all that is kept, but no more either.
  run_tool 1 dawrite -q kept write -o $(((free - root) * 4096)) --from <(head -c 1 more) /user
  head -c $((root * 4096)) more >rest
  run_tool 1 dawrite -q kept write --from <(cat rest; printf x) /root
  run_tool 0 dawrite -q kept write --from rest /root
  run_tool 0 dawrite --json kept status
  [ "$(jq .reserved_clusters <<<"$output")" -eq "$free" ]
  run_tool 0 dawrite -q kept flush
  [ "$(dumpe2fs -h kept 2>/dev/null | sed -n 's/^Free blocks: *//p')" -eq 0 ]
  debugfs -R "dump /user got" kept && cmp most got
  assert_fsck_clean kept
}

@test "m37 as contiguous as possible: three files written in turns, one extent each; pieces without delayed allocation" {
  cp img img2
  put_bytes 4096 >d
  for i in $(seq 0 255); do for f in a b c; do echo "write -o $((i * 4096)) --from d /$f"; done; done >turns
  run_tool 0 dawrite -q --no-sync -f img script turns
  run_tool 0 dawrite -q --no-sync --nodelalloc img2 script turns
  for f in a b c; do [ "$(extents_of /$f)" -eq 1 ]; done
  mv img2 img
  [ $(($(extents_of /a) + $(extents_of /b) + $(extents_of /c))) -gt 30 ]
  assert_fsck_clean img
}

@test "m24 m36 released at truncate and unlink; merged, allocated, written, in that order" {
  put_bytes 40960 >d
  traced write --from d /f
  traced truncate /f 16384
  [ "$(sum_of ext4_da_release_space freed_blocks)" -eq 6 ]
  traced write --from d /g
  traced rm /g
  [ "$(sum_of ext4_da_release_space freed_blocks)" -eq 16 ]
  [ "$(data_calls)" -eq 0 ]
  rm log
  traced flush
  grep -E '^(ext4_da_write_pages_extent|ext4_request_blocks|ext4_allocate_blocks|block_bio_queue|ext4_da_update)' log |
    grep -v 'flags  len' | cut -d: -f1 | uniq >order
  printf '%s\n' ext4_da_write_pages_extent ext4_request_blocks ext4_allocate_blocks block_bio_queue ext4_da_update_reserve_space |
    diff - order
  [ "$(sum_of ext4_da_update_reserve_space used_blocks)" -eq 4 ]
}

@test "m26 m32 m33 after a flush nothing is delayed; a call a run, a write a contiguous range" {
  for i in 1 2 3; do put_bytes 40960 >"d$i"; traced write --from "d$i" "/f$i"; done
  rm log
  traced flush
  [ "$(data_calls)" -eq 3 ]
  [ "$(grep -c '^block_bio_queue: .* + 240 ' log)" -eq 1 ]
  [ "$(events block_bio_queue)" -eq 1 ]
  [ "$(sum_of ext4_da_update_reserve_space used_blocks)" -eq 30 ]
  run_tool 0 dawrite --json img status
  [ "$(jq .reserved_clusters <<<"$output")" -eq 0 ]
  for i in 1 2 3; do debugfs -R "dump /f$i got" img && cmp "d$i" got; done
  assert_fsck_clean img
  # What one flush wrote holds nothing while others wait, overwritten, appended to or new.
  run_tool 0 dawrite -q img write --from d1 /f1
  run_tool 0 dawrite -q img write -a --from d2 /f2
  run_tool 0 dawrite -q img write --from d3 /g
  run_tool 0 dawrite -q img flush /g /f1
  run_tool 0 dawrite --json img status
  [ "$(jq .reserved_clusters <<<"$output")" -eq 10 ]
  run_tool 0 dawrite -q img flush /f2
  [ "$(blocks_of /f2)" -eq 160 ]
  assert_fsck_clean img
}

@test "m27 --order dirty: first dirtied first, whatever is written later" {
  put_bytes 4096 >d
  for f in c a b c; do run_tool 0 dawrite -q --no-sync img write -a --from d "/$f"; done
  run_tool 0 dawrite -q --no-sync --order dirty --trace log img flush
  sed -n 's/^dafs_inode: dev 0,0 ino \([0-9]*\) .* path "\/\(.\)"$/\1 \2/p' log >names
  awk 'NR == FNR { name[$1] = $2; next } /^ext4_da_write_pages_extent:/ { printf "%s", name[$5] }' names log >order
  [ "$(cat order)" = cab ]
}

@test "m30 m34 chunks: the longest runs, whatever the order of writing" {
  put_bytes 4096 >d
  for b in 12 11 10 3 0 2 1; do run_tool 0 dawrite -q --no-sync img write -o $((b * 4096)) --from d /f; done
  put_bytes 20480000 >big
  run_tool 0 dawrite -q --no-sync img write --from big /big
  run_tool 0 dawrite -q --no-sync --max-chunk 2048 --trace log img flush
  sed -n 's/^ext4_da_write_pages_extent: .* lblk \([0-9]*\) len \([0-9]*\) .*/\1+\2/p' log | sort -n >chunks
  printf '%s\n' 0+4 0+2048 10+3 2048+2048 4096+904 | sort -n | diff - chunks
  [ "$(extents_of /f)" -eq 2 ]
  assert_fsck_clean img
}

@test "m31 fragmented space: the pieces are recorded and add up" {
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 -O ^has_journal img 16M
  put_bytes 4096 >d
  for i in $(seq 0 600); do echo "write --from d /s$i"; done >fill
  run_tool 0 dawrite -q --no-sync -f img script fill
  free=$(dumpe2fs -h img 2>/dev/null | sed -n 's/^Free blocks: *//p')
  head -c $(((free - 4) * 4096)) /dev/zero | tr '\0' x >bulk
  run_tool 0 dawrite -q --no-sync -f img write --from bulk /bulk
  for i in $(seq 0 2 600); do echo "rm /s$i"; done >holes
  run_tool 0 dawrite -q --no-sync -f img script holes
  put_bytes 122880 >d30
  traced write --from d30 /f
  traced flush
  [ "$(data_calls)" -eq 1 ]
  [ "$(grep -c '^ext4_allocate_blocks:.*HINT_DATA' log)" -gt 1 ]
  [ "$(awk '/^ext4_allocate_blocks:.*HINT_DATA/ { for (i = 1; i < NF; i++) if ($i == "len") n += $(i + 1) } END { print n }' log)" -eq 30 ]
  debugfs -R "dump /f got" img && cmp d30 got
  assert_fsck_clean img
}

@test "m35 holes stay holes" {
  printf x | run_tool 0 dawrite -q img write -o 1000000 /f
  run_tool 0 dawrite -q img flush
  [ "$(blocks_of /f)" -eq 8 ]
  head -c 1000000 /dev/zero >want
  printf x >>want
  debugfs -R "dump /f got" img && cmp want got
}

@test "m16 fallocated blocks split where they are written, and join when all are" {
  run_tool 0 dawrite -q -f img fallocate /f 0 1M
  put_bytes 12288 >d
  run_tool 0 dawrite -q -f img write -o 40960 --from d /f
  [ "$(extents_of /f)" -eq 3 ]
  [ "$(debugfs -R 'ex /f' img 2>/dev/null | grep -c Uninit)" -eq 2 ]
  put_bytes 1048576 >d
  run_tool 0 dawrite -q -f img write --from d /f
  [ "$(extents_of /f)" -eq 1 ]
  # A hole made and filled again leaves one extent, too: at once, and after a flush in between.
  run_tool 0 dawrite -q img punch /f 409600 40960
  head -c 40960 d >part
  run_tool 0 dawrite -q -f img write -o 409600 --from part /f
  [ "$(extents_of /f)" -eq 1 ]
  run_tool 0 dawrite -q -f img punch /f 409600 40960
  run_tool 0 dawrite -q -f img write -o 409600 --from part /f
  [ "$(extents_of /f)" -eq 1 ]
  assert_fsck_clean img
}

@test "m16 m22 m24 fallocate -n: blocks behind the end are held, written without a reservation, and given back" {
  put_bytes 10000 >d
  run_tool 0 dawrite -q img write --from d /f
  traced fallocate -n /f 0 1M
  [ "$(sum_of ext4_da_reserve_space reserve_blocks)" -eq 253 ]
  run_tool 0 dawrite -q img flush
  run_tool 0 debugfs -R "stat /f" img
  has_output "Size: 10000"
  [ "$(blocks_of /f)" -eq 2048 ]
  [ "$(extents_of /f)" -eq 2 ]
  assert_fsck_clean img
  # Appended to, in the place that was kept: nothing is reserved, and the file stays in one piece.
  rm log
  traced write -a --from d /f
  [ "$(events ext4_da_reserve_space)" -eq 0 ]
  traced flush
  [ "$(data_calls)" -eq 0 ]
  cat d d >want
  debugfs -R "dump /f got" img && cmp want got
  [ "$(blocks_of /f)" -eq 2048 ]
  [ "$(extents_of /f)" -eq 2 ]
  # Truncation, but for growth, gives the rest back; so it does while that is pending.
  run_tool 0 dawrite -q img truncate /f 30000
  run_tool 0 dawrite -q -f img truncate /f 18000
  truncate -s 18000 want
  debugfs -R "dump /f got" img && cmp want got
  [ "$(blocks_of /f)" -eq 40 ]
  rm log
  traced fallocate -n /f 0 1M
  traced truncate /f 18000
  [ "$(sum_of ext4_da_release_space freed_blocks)" -eq 251 ]
  run_tool 0 dawrite -q img flush
  [ "$(blocks_of /f)" -eq 40 ]
  assert_fsck_clean img
}

@test "dafsdebug trace: the sum of a log, by file too" {
  put_bytes 40960 >d
  traced write --from d /f
  traced truncate /f 16384
  traced write --from d /g
  traced flush
  run_tool 0 dafsdebug trace log
  has_output "reserved      20 in 2 events"
  has_output "released      6 in 1 events"
  has_output "/g"
  run_tool 0 dafsdebug --json trace log
  [ "$(jq '.chunks, .data_calls, .data_blocks, .writes' <<<"$output" | tr '\n' ' ')" = "2 2 14 1 " ]
  [ "$(jq -r '.files[] | select(.path == "/f") | .reserved, .released, .used, .extents' <<<"$output" | tr '\n' ' ')" = "10 6 4 1 " ]
  run_tool 1 dafsdebug trace d
  : >empty
  run_tool 1 dafsdebug -R "trace empty"
  has_stderr empty
}

@test "bad input in the middle of a script: the line is named, nothing is applied" {
  : >d
  while IFS= read -r line; do
    printf 'mkdir /before\nwrite --from d /before/plain\n%s\nmkdir /after\n' "$line" >bad
    run_tool 1 dawrite -q img script bad
    has_stderr "bad:3"
    [ "$(grep -c . <<<"$stderr")" -eq 1 ]
    run_tool 0 dawrite img ls /
    lacks_output before
    lacks_output after
  done <<EOF
write -o 16T --from img /f
truncate /lost+found/none 5
truncate /lost+found 5
truncate /x 17T
fallocate /f 16T 4096
fallocate /f 0 0
fallocate /f 18446744073709551615 5
punch /lost+found 0 5
write -o -5 --from img /f
punch /none 0 4096
write --from d /lost+found/a/b
write --from d /before/plain/x
mkdir /before/plain/x
mv /lost+found /before/plain/x
truncate /before/plain -1
fallocate /before/plain 5 -5
punch /before/plain 5 18446744073709551615
punch /before/plain -5 5
mkdir /$(printf 'n%.0s' $(seq 256))
frobnicate /x
mkdir
'unfinished
EOF
}

@test "bad input: a link too many" {
  { echo "touch /f"; seq 1 65000 | sed 's/.*/ln \/f \/l&/'; } >links
  run_tool 1 dawrite -q --no-sync img script links
  has_stderr "links:65001"
  run_tool 0 dawrite img ls /
  [ "$output" = lost+found ]
}
