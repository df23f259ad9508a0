# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is done to a file system, for tests/kernel/compare. A workload is a function w_NAME with a line "# NAME: ..." above it. It
# calls the operations below, each of which is one command to dawrite and one action on the mounted file system:
#
#   at OFFSET LENGTH PATH    write LENGTH fresh bytes    end LENGTH PATH    the same at the end of the file
#   do_op WORD...            truncate, fallocate, punch, rm, mv, mkdir as dawrite(8) has them; flush
#
# and may set: size (of the image), mkfs (mke2fs options), mount_opts, dawrite_opts, until_full (see compare).

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

# near-full: 4 KiB at a time from almost full until it is refused
w_near-full() {
  size=16M until_full=400
}
