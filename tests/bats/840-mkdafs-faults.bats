# SPDX-License-Identifier: GPL-2.0-or-later
# mkdafs is killed or fails at any of its writes: nothing is left that mounts until all of it is there.
load helpers

setup() {
  dafs_setup
  need strace
  mkdir -p src/dir
  seq 1 3000 >src/one
  seq 3000 9000 >src/dir/two
  ln -s one src/link
}

# What changes a file (but messages), all of it, and of each kind how many there are in a run: "CALL N" lines.
calls="pwrite64 pwritev pwritev2 copy_file_range ftruncate fallocate fdatasync fsync"

count_calls() { # MKDAFS-ARGUMENTS...
  local call
  rm -f img
  strace -f -qq -o trace -e trace="${calls// /,}" mkdafs -q --threads 1 "$@"
  for call in $calls; do echo "$call $(grep -c "[0-9] *$call(" trace)"; done >counts
}

with_fault() { # CALL N WHAT COMMAND...
  strace -f -qq -o trace -e trace="$1" -e inject="$1:$3:when=$2" "${@:4}"
}

# Either no file system at all, or the whole one.
none_or_whole() {
  if e2fsck -fn img >out 2>&1; then
    rm -rf got && mkdir got && dafsdebug -R 'rdump / got' img && cmp got/dir/two src/dir/two && cmp got/one src/one
  else
    ! grep -q '^Pass 1' out || { cat out; return 1; }
    ! dawrite img ls / >/dev/null 2>&1 || { echo "half made, and taken for a file system"; return 1; }
  fi
}

@test "killed before any of its writes, mkdafs -d leaves nothing or everything" {
  local call n at tries=0 whole=0
  count_calls -d src img 8M
  none_or_whole
  while read -r call n; do
    for ((at = 1; at <= n; at += 1 + n / 12)); do
      rm -f img
      with_fault "$call" "$at" signal=KILL mkdafs -q --threads 1 -d src img 8M || true
      tries=$((tries + 1))
      none_or_whole
      [ ! -s out ] || ! grep -q '^Pass 5' out || whole=$((whole + 1))
    done
  done <counts
  # It is there only towards the very end.
  [ "$tries" -gt 10 ]
  [ "$whole" -lt $((tries / 2)) ]
}

@test "a write that fails ends mkdafs with an error; of an old file system nothing can be mistaken" {
  local call n at error failed=0
  mkfs.ext4 -q -L old img 8M
  count_calls -F -d src img 8M
  while read -r call n; do
    for ((at = 1; at <= n; at += 1 + n / 6)); do
      for error in EIO ENOSPC; do
        rm -f img
        mkfs.ext4 -q -L old img 8M
        if with_fault "$call" "$at" error=$error mkdafs -q -F --threads 1 -d src img 8M 2>err; then
          none_or_whole
          continue
        fi
        failed=$((failed + 1))
        [ -s err ]
        # Before its first write the old one stands; then there is none until the new one is whole.
        [ "$(e2label img 2>/dev/null)" = old ] || none_or_whole
      done
    done
  done <counts
  [ "$failed" -gt 5 ]
}

@test "stopped, mkdafs -d takes away the file that it made, not one that took its place" {
  local tracer
  rm -f img trace
  strace -f -qq -o trace -e trace=ftruncate -e inject=ftruncate:signal=STOP:when=1 \
    mkdafs -q --threads 1 -d src img 8M 2>err &
  tracer=$!
  until grep -q 'stopped by SIGSTOP' trace 2>/dev/null; do
    kill -0 "$tracer" || break
    sleep 0.05
  done
  mv img theirs
  echo mine >img
  pkill -TERM -P "$tracer" -x mkdafs
  pkill -CONT -P "$tracer" -x mkdafs
  wait "$tracer" && return 1
  cat err
  [ "$(cat img)" = mine ]
}
