# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is done to a file system, for tests/kernel/compare. A workload is a function w_NAME with a line "# NAME: ..." above it. It
# calls the operations below, each of which is one command to dawrite and one action on the mounted file system:
#
#   at OFFSET LENGTH PATH    write LENGTH fresh bytes    end LENGTH PATH    the same at the end of the file
#   do_op WORD...            truncate, fallocate, punch, rm, mv, mkdir as dawrite(8) has them; flush
#
# and may set: size (of the image), mkfs (mke2fs options), mount_opts, dawrite_opts, until_full (see compare); designed=1 where the
# kernel cuts chunks at blocks that it has placed already; holds_more=1 where dafs may reserve what the flush then finds a better place for.

short_set="sequential backwards sparse overwrite truncate bigalloc"

# sequential: 20 MiB in writes of 256 KiB
w_sequential() {
  local i
  for i in $(seq 0 79); do at $((i * 262144)) 262144 /f; done
}

# small-blocks: the same shape with 1 KiB blocks, 3 MiB in writes of 10000 bytes
w_small-blocks() {
  local i
  mkfs="-b 1024"
  for i in $(seq 0 299); do at $((i * 10000)) 10000 /f; done
}

# backwards: 64 blocks, the last one first
w_backwards() {
  local i
  for i in $(seq 63 -1 0); do at $((i * 4096)) 4096 /f; done
}

# random: 64 blocks, each once, in an order of no pattern
w_random() {
  local i
  for i in $(seq 0 63); do at $((i * 27 % 64 * 4096)) 4096 /f; done
}

# sparse: runs with holes between them, the last far out
w_sparse() {
  at 0 16384 /f
  at 40960 12288 /f
  at 409600 4096 /f
  at 20480000 100 /f
  at 2000000 5000 /f
}

# overwrite: pending blocks again and again, whole and in part, then the same once more after a flush
w_overwrite() {
  at 0 40960 /f
  at 8192 16384 /f
  at 10000 50 /f
  at 40000 4000 /f
  do_op flush
  at 8192 16384 /f
  at 100 5 /f
  at 43000 10000 /f
}

# append: 3 rounds over 64 files, 6000 bytes to each
w_append() {
  local round i
  for round in 1 2 3; do
    for i in $(seq 64); do end $((5000 + round * 500)) "/f$i"; done
  done
}

# interleaved: 3 files of 6 MiB, 64 KiB to each in turn
w_interleaved() {
  local i f
  for i in $(seq 0 95); do
    for f in a b c; do at $((i * 65536)) 65536 "/$f"; done
  done
}

# truncate: cut while pending, to a block's border and inside one; grown again; to nothing
w_truncate() {
  at 0 40960 /f
  do_op truncate /f 16384
  at 0 40960 /g
  do_op truncate /g 10000
  do_op truncate /g 100000
  at 90000 100 /g
  at 0 500000 /h
  do_op truncate /h 0
  at 0 8192 /h
}

# unlink: removed while pending
w_unlink() {
  at 0 1000000 /f
  at 0 4096 /g
  do_op rm /f
  at 0 5000 /h
  do_op rm /g
}

# rename: a new version renamed over the old one that is on disk
w_rename() {
  at 0 20000 /f
  do_op flush
  at 0 30000 /f.new
  do_op mv /f.new /f
}

# punch: holes into what is pending, into what is on disk, and filled again
w_punch() {
  at 0 131072 /f
  do_op punch /f 16384 8192
  do_op punch /f 50000 20000
  do_op flush
  do_op punch /f 0 8192
  do_op punch /f 100000 20
  at 16384 4096 /f
  at 0 8192 /f
}

# fallocate: 256 blocks on disk unwritten, then writes into them
w_fallocate() {
  do_op fallocate /f 0 1048576
  do_op fallocate -n /g 0 65536
  do_op flush
  at 40960 12288 /f
  at 200000 100 /f
  at 0 4096 /g
}

# replace: truncated to nothing and written anew, on disk before
w_replace() {
  at 0 50000 /f
  do_op flush
  do_op truncate /f 0
  at 0 30000 /f
}

# holes: a comb on disk, then its gaps
w_holes() {
  local i
  for i in $(seq 0 2 40); do at $((i * 4096)) 4096 /f; done
  do_op flush
  for i in $(seq 1 2 39); do at $((i * 4096)) 4096 /f; done
}

# bigalloc: clusters of 64 KiB: blocks of one cluster, before and after it is allocated
w_bigalloc() {
  mkfs="-O bigalloc -C 65536"
  at 0 4096 /f
  at 20480 4096 /f
  at 57344 8192 /f
  at 65536 4096 /f
  do_op flush
  at 36864 4096 /f
  at 200000 70000 /f
  do_op truncate /f 205000
  do_op truncate /f 40000
}

# no-journal: files in directories, some removed again
w_no-journal() {
  local d i
  mkfs="-O ^has_journal"
  for d in a b c; do do_op mkdir "/$d"; done
  for i in $(seq 8); do
    for d in a b c; do at 0 $((i * 9000)) "/$d/$i"; done
  done
  do_op rm /b/3
  do_op truncate /c/5 4097
}

# direct: without delayed allocation on both sides, 20 blocks one by one
w_direct() {
  mount_opts=nodelalloc dawrite_opts=--nodelalloc
  at 0 81920 /f
}

# keep-size: blocks promised past the end, written up to them and into them; a size that ends inside a block
w_keep-size() {
  designed=1
  at 0 10000 /f
  do_op fallocate -n /f 8192 100000
  do_op flush
  at 10000 30000 /f
  at 90000 5000 /f
  do_op fallocate -n /g 0 40960
  at 5000 100 /g
  do_op flush
  at 0 5000 /g
  end 50000 /g
}

# refill: holes into what is on disk and what is pending, filled again in part, whole, and by unwritten blocks
w_refill() {
  designed=1
  at 0 400000 /f
  do_op flush
  do_op punch /f 100000 50000
  do_op punch /f 204800 40960
  at 110000 20000 /f
  at 204800 40960 /f
  do_op flush
  do_op punch /f 0 300000
  do_op fallocate /f 20480 81920
  at 30000 9000 /f
  do_op flush
  at 0 300000 /f
}

# mid-block: cut and grown inside blocks, pending and on disk, with writes on both sides
w_mid-block() {
  at 0 30000 /f
  do_op truncate /f 20001
  do_op truncate /f 20010
  at 20005 3 /f
  do_op flush
  do_op truncate /f 10001
  do_op truncate /f 50001
  at 49999 10 /f
  do_op truncate /f 49999
  do_op flush
  at 12000 100 /f
  do_op truncate /f 4096
  do_op truncate /f 4097
}

# mid-block-1k: the same, with 1 KiB blocks
w_mid-block-1k() {
  mkfs="-b 1024"
  w_mid-block
}

# inline: small files in their inodes, grown out of them
w_inline() {
  mkfs="-O inline_data -I 256" holds_more=1
  at 0 50 /a
  at 50 50 /a
  at 0 1000 /b
  do_op flush
  end 20 /a
  end 5000 /a
  at 0 30 /c
  do_op truncate /c 10
  do_op flush
  at 5 20 /c
  do_op truncate /a 0
}

# --- random operations: seed-N, and with another kind of file system seed-N-1k, seed-N-bigalloc, seed-N-nojournal ---

# A number below $1 into $r: the same everywhere for the same seed.
rnd() {
  lcg=$(((lcg * 1103515245 + 12345) & 0x7fffffff))
  r=$(((lcg >> 8) % $1))
}

random_range() { # into $off and $len: near the begin as a rule, whole blocks every third time
  rnd 5
  rnd $((4096 << (r * 2)))
  off=$r
  rnd 3
  case $r in
  0) rnd 9000 ;;
  1) rnd 60000 ;;
  *) rnd 200000 ;;
  esac
  len=$((r + 1))
  rnd 3
  [ "$r" -ne 0 ] || { off=$((off & ~4095)) len=$(((len + 4095) & ~4095)); }
}

random_op() {
  local -a files=(/a /b /c /d)
  local f off len
  rnd 4
  f=${files[r]}
  random_range
  rnd 100
  if [ "$r" -lt 45 ]; then
    at "$off" "$len" "$f" && there[$f]=1
  elif [ "$r" -lt 57 ]; then
    end "$len" "$f" && there[$f]=1
  elif [ "$r" -lt 65 ]; then
    do_op fallocate "$f" "$off" "$len" && there[$f]=1
  elif [ "$r" -lt 69 ]; then
    do_op fallocate -n "$f" "$off" "$len" && there[$f]=1
  elif [ -z "${there[$f]:-}" ]; then
    at 0 "$len" "$f" && there[$f]=1
  elif [ "$r" -lt 79 ]; then
    do_op truncate "$f" "$off"
  elif [ "$r" -lt 90 ]; then
    do_op punch "$f" "$off" "$len"
  elif [ "$r" -lt 93 ]; then
    do_op rm "$f"
    unset "there[$f]"
  elif [ "$r" -lt 95 ]; then
    do_op mv "$f" "$f$((nmoved++))"
    unset "there[$f]"
  else
    do_op flush
  fi
}

# The kernel writes a file back early that is renamed over another or written anew: not here.
random_workload() { # SEED KIND
  local lcg=$(($1 * 7919 + 17)) r nmoved=0 i
  local -A there=()
  mount_opts=noauto_da_alloc designed=1
  case ${2:-} in
  1k) mkfs="-b 1024" ;;
  bigalloc) mkfs="-O bigalloc -C 65536" ;;
  nojournal) mkfs="-O ^has_journal" ;;
  esac
  for i in $(seq "${DAFS_KERNEL_OPS:-60}"); do random_op; done
}

# near-full: 4 KiB at a time from almost full until it is refused
w_near-full() {
  size=16M until_full=400
}
