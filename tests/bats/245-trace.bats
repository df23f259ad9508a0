#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# The event log: every event that dawrite(8) lists comes, none comes that it does not list, and the fields tell the truth.

load helpers

put_bytes() { head -c "$1" /dev/urandom; }
traced() { run_tool 0 dawrite -q --no-sync --trace log "$@"; }

# One of everything that has an event.
everything() {
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 img 64M
  run_tool 0 mke2fs -q -F -t ext4 -b 4096 -O bigalloc -C 65536 big 64M
  put_bytes 3000000 >d
  put_bytes 5000 >e
  traced img write --from d /f
  traced img flush --max-bytes 1M
  traced img flush
  traced img fallocate /u 0 100000
  traced img write --from e /gone
  traced img rm /gone
  traced img flush
  traced img write -o 8192 --from e /u
  traced img truncate /f 1000000
  traced img punch /f 0 100000
  traced img flush
  traced --nodelalloc img write --from e /direct
  traced big write --from e /c
  traced big flush
  traced big write -o 20000 --from e /c
  traced big flush
  assert_fsck_clean img
  assert_fsck_clean big
}

@test "m29 the events are those of the manual page" {
  everything
  # Names of the table, "ext4_x_enter _exit" as two.
  sed -n '/^\.SH TRACE/,/^\.B dafsdebug trace/p' "$DAFS_SRCDIR/man/dawrite.8" | grep -A1 '^\.TP' |
    sed -n 's/^\.B \(\(ext4_\|block_\).*\)/\1/p' |
    awk '{ print $1; for (i = 2; i <= NF; i++) { n = $i; if (n ~ /^_/) { n = $1; sub(/_(enter|start)$/, $i, n) } print n } }' |
    sort -u >listed
  [ "$(wc -l <listed)" -gt 30 ]
  sed -n 's/^\([a-z0-9_]*\):.*/\1/p' log | grep -v '^dafs_inode$' | sort -u >seen
  diff listed seen
}

@test "events of the allocator: what was asked, what was chosen, who stands beside it" {
  everything
  # 3000000 bytes in passes of a MiB: 256 blocks, the rest kept behind them, and taken by the next pass.
  grep -q '^ext4_request_blocks: .* len 256 lblk 0 goal [0-9]* lleft 0 lright 0 pleft 0 pright 0$' log
  sed -n 's/^ext4_allocate_blocks: .* len 256 block \([0-9]*\) lblk 0 .*/\1/p' log >start
  start=$(cat start)
  grep -q "^ext4_mballoc_alloc: .* orig 0/[0-9]*/256@0 goal 0/[0-9]*/733@0 result 0/$start/256@0 .* tail 477 broken 0$" log
  grep -q "^ext4_mb_new_inode_pa: .* pstart $((start + 256)) len 477 lstart 256$" log
  grep -q "^ext4_request_blocks: .* len 477 lblk 256 goal $((start + 256)) lleft 255 lright 0 pleft $((start + 255)) pright 0$" log
  grep -q "^ext4_mballoc_prealloc: .* result 0/$((start + 256))/477@256$" log
  grep -q '^ext4_writepages: .* nr_to_write 256 .* writeback_index 0$' log
  grep -q '^ext4_writepages: .* writeback_index 256$' log
  # Two blocks of an unwritten extent of 25.
  grep -q '^ext4_ext_convert_to_initialized_enter: .* m_lblk 2 m_len 2 u_lblk 0 u_len 25 ' log
}

@test "--trace - is standard error, and nothing else is there" {
  run_tool 0 mke2fs -q -F -t ext4 img 16M
  printf abc >abc
  run_tool 0 dawrite -q --trace - img write --from abc /f
  grep -q '^ext4_da_reserve_space: ' <<<"$stderr"
  [ -z "$(grep -v '^ext4_' <<<"$stderr")" ]
  [ -z "$output" ]
  run_tool 1 dawrite --trace /absent/log img write /g
  has_stderr /absent/log
}
