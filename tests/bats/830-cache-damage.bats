# SPDX-License-Identifier: GPL-2.0-or-later
# A cache that was damaged, or whose image was changed by others: noticed, never flushed, and what is left of it can be saved.
load helpers

# Something of every kind pending over an image with a file in it.
pending() {
  rm -rf src img img.dacache img.recovered
  mkdafs -q img 16M
  seq 1 20000 | dawrite -q img write /old
  dawrite -q img flush
  mkdir -p src/dir/sub
  seq 1 5000 >src/dir/one
  seq 5000 9000 >src/dir/sub/two
  ln src/dir/one src/dir/sub/again
  ln -s ../one src/dir/sub/link
  chmod 640 src/dir/one
  setfattr -n user.note -v words src/dir/sub/two
  dawrite -q img import src /
  printf 'XXXX' | dawrite -q img write -o 4096 /old
  dawrite -q img mkdir -m 0750 /empty
}

recovered_all() {
  compare_trees src/dir img.recovered/dir
  [ -d img.recovered/empty ]
  (seq 1 20000 | head -c 4096; printf XXXX; seq 1 20000 | tail -c +4101) | cmp - img.recovered/old
}

flip() { # FILE OFFSET
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  # shellcheck disable=SC2059
  printf "\\x$(printf %02x $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# The image is as it was, whatever was tried.
refused() { # MESSAGE
  local was
  was=$(cksum <img)
  run_tool 1 dawrite img flush
  has_stderr "$1"
  [ "$(cksum <img)" = "$was" ]
  [ -e img.dacache/cache.db ]
}

@test "a sound cache can be saved as well, and stays" {
  pending
  run_tool 0 dawrite img status --recover
  has_output "0 lost"
  recovered_all
  run_tool 1 dawrite img status --recover
  has_stderr "img.recovered"
  run_tool 0 dawrite img status --recover elsewhere
  compare_trees src/dir elsewhere/dir
  run_tool 2 dawrite img status elsewhere || run_tool 1 dawrite img status elsewhere
  dawrite -q img flush
  assert_fsck_clean img
  run_tool 0 dawrite img status --recover
  has_output "nothing pending"
}

@test "flipped bytes in the spool: the file is named, nothing is flushed, the rest is saved" {
  pending
  flip img.dacache/spool 10
  refused "fails its checksum"
  run_tool 0 dawrite img status --recover
  has_output "1 lost"
  has_stderr "block 0"
  cmp src/dir/sub/two img.recovered/dir/sub/two
  # Of the damaged file all but that block.
  cmp <(tail -c +4097 src/dir/one) <(tail -c +4097 img.recovered/dir/one)
}

@test "flipped bytes anywhere in the database are noticed or mean nothing" {
  local at i size step used whole noticed=0
  pending
  cp -r img.dacache kept
  cp img img.kept
  dawrite -q img flush
  dafsdebug -R 'rdump / whole' img || { mkdir whole && dafsdebug -R 'rdump / whole' img; }
  whole=$PWD/whole
  # Sixty of the bytes that say something (DAFS_TEST_LONG: all): most of the pages is room.
  size=$(stat -c %s kept/cache.db)
  mapfile -t used < <(cmp -l -n "$size" kept/cache.db /dev/zero | awk '$1 > 24 { print $1 - 1 }')
  step=$((${#used[@]} / 60))
  [ -z "${DAFS_TEST_LONG:-}" ] || step=1
  for ((i = 0; i < ${#used[@]}; i += step)); do
    at=${used[i]}
    rm -rf img img.dacache out
    cp img.kept img
    cp -r kept img.dacache
    flip img.dacache/cache.db "$at"
    if dawrite -q img flush 2>/dev/null; then
      mkdir out
      dafsdebug -R 'rdump / out' img
      diff -r --no-dereference out "$whole"
    else
      noticed=$((noticed + 1))
      [ "$(cksum <img)" = "$(cksum <img.kept)" ]
    fi
  done
  [ "$noticed" -gt 10 ]
}

@test "a flipped byte is noticed by the command that meets it, before it takes spool space that is in use" {
  local at
  pending
  # Free slots between others.
  seq 1 3000 | dawrite -q img write /gone
  seq 1 4000 | dawrite -q img write /kept
  dawrite -q img rm /gone
  # What says that a free run's start is its key: without it every run begins at slot 0.
  at=$(grep -abo 'PRIMARY KEY, len' img.dacache/cache.db | cut -d: -f1)
  flip img.dacache/cache.db $((at + 3))
  run_tool 1 dawrite -q img write /more <src/dir/one
  has_stderr damaged
  refused damaged
  run_tool 0 dawrite img status --recover
  recovered_all
  seq 1 4000 | cmp - img.recovered/kept
}

@test "a truncated database, a lost spool, lost checksums: refused, and what is left is saved" {
  local size
  pending
  size=$(stat -c %s img.dacache/cache.db)
  truncate -s $((size / 2 / 4096 * 4096)) img.dacache/cache.db
  refused "damaged"
  run_tool 0 dawrite img status --recover
  has_output "The offline cache is damaged"

  pending
  rm img.dacache/spool
  refused "damaged"
  run_tool 0 dawrite img status --recover
  has_stderr "lost"
  [ -d img.recovered/empty ]
  [ "$(readlink img.recovered/dir/sub/link)" = ../one ]

  # The bytes are there, and nothing to check them by: that is said, file by file.
  pending
  rm img.dacache/spool.sum
  refused "damaged"
  run_tool 0 dawrite img status --recover
  has_stderr "not checked: dir/one"
  has_output "0 lost"
  has_output "could not be checked"
  recovered_all
  pending
  truncate -s 8 img.dacache/spool.sum
  refused "damaged"
  run_tool 0 dawrite img status --recover
  has_stderr "not checked: "
  recovered_all

  pending
  truncate -s 4096 img.dacache/spool
  refused "damaged"
  run_tool 0 dawrite img status --recover
  has_stderr "lost: "
  cmp <(head -c 4096 src/dir/one) <(head -c 4096 img.recovered/dir/one)
}

# What is saved is right: at least so many files.
saved_rightly() { # FILES
  local file
  for file in $(cd img.recovered && find . -type f ! -path './lost+found/*' -printf '%P\n'); do
    cmp "src/$file" "img.recovered/$file"
  done
  [ "$(find img.recovered -type f | wc -l)" -ge "$1" ]
}

@test "a database cut in half, or with a hole in it: what is left is saved, what is not is named" {
  local dir file size page holes=0
  for dir in $(seq 10 29); do
    mkdir -p "src/d$dir"
    for file in $(seq 10 39); do echo "$dir $file" >"src/d$dir/file-$file"; done
  done
  mkdafs -q img 16M
  dawrite -q img import src /
  cp -r img.dacache whole
  size=$(stat -c %s whole/cache.db)
  truncate -s $((size / 2 / 4096 * 4096)) img.dacache/cache.db
  refused "damaged"
  run_tool 0 dawrite img status --recover
  has_stderr "lost: some inodes"
  # An inode that is lost, and its name is not.
  has_stderr "lost: d1"
  saved_rightly 100
  # Pages in the middle, of one table or another.
  for page in $(seq 6 5 $((size / 4096 - 3))); do
    rm -rf img.dacache img.recovered
    cp -r whole img.dacache
    dd if=/dev/zero of=img.dacache/cache.db bs=4096 seek=$page count=2 conv=notrunc status=none
    run_tool 0 dawrite img status --recover
    [[ $stderr != *"lost: some inodes"* ]] || holes=$((holes + 1))
    saved_rightly 100
  done
  [ "$holes" -ge 1 ]
}

@test "a row that is gone: the others are saved" {
  need sqlite3
  pending
  sqlite3 img.dacache/cache.db "UPDATE inode SET rec = zeroblob(20) WHERE id = (SELECT id FROM name WHERE CAST(name AS TEXT) = 'one')"
  refused "damaged"
  run_tool 0 dawrite img status --recover
  has_stderr "lost: inode"
  cmp src/dir/sub/two img.recovered/dir/sub/two
  [ ! -e img.recovered/dir/one ]
}

@test "the image was changed by others: refused by name, and what was pending can be saved" {
  pending
  debugfs -w -R 'mkdir by-others' img
  refused "changed behind its offline cache"
  has_stderr img
  run_tool 0 dawrite img status --recover
  has_output "changed behind its offline cache"
  recovered_all
  run_tool 0 dawrite -q img discard
  run_tool 0 dawrite -q img import img.recovered /
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  dawrite img cat /dir/one | cmp - src/dir/one

  # An inode alone, and nothing that the superblock would tell.
  pending
  debugfs -w -R 'set_inode_field /old mode 0100600' img
  refused "changed behind its offline cache"
  has_stderr "inode 12"
  # Entries of a directory alone: neither its inode nor the superblock tells.
  for request in 'ln /old /by-others' 'unlink /old'; do
    pending
    debugfs -w -R "$request" img
    refused "changed behind its offline cache"
    has_stderr "inode 2 is not as it was"
  done
  # The superblock alone, in whatever second.
  pending
  tune2fs -L others img
  refused "changed behind its offline cache"
  pending
  debugfs -w -R 'set_super_value mkfs_time 12345' img
  refused "changed behind its offline cache"
  pending
  resize2fs img 24M
  refused "changed behind its offline cache"
  has_stderr "img: resized since work on it began"
  for option in '-e remount-ro' '-c 7'; do
    pending
    # shellcheck disable=SC2086
    tune2fs $option img
    refused "changed behind its offline cache"
  done
  pending
  e2fsck -fyD img || [ $? -le 1 ]
  refused "changed behind its offline cache"
  pending
  tune2fs -U random img
  refused "belongs to another file system"
  pending
  E2FSCK_TIME=2000000000 e2fsck -fy img || [ $? -le 1 ]
  refused "changed behind its offline cache"
  has_stderr "img: checked by e2fsck"
}

@test "what leaves no trace where nothing is pending is kept, and so is what was pending" {
  mkdafs -q img 16M
  dawrite -q img mkdir -p /there /here
  seq 1 5000 | dawrite -q img write /there/file
  dawrite -q img flush
  seq 1 400 | dawrite -q img write /here/new
  debugfs -w -R 'set_inode_field /there/file mode 0100600' img
  debugfs -w -R 'ea_set /there/file user.by others' img
  e2fsck -fn img
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  [[ $(dawrite img stat /there/file) == *0600* ]]
  [[ $(debugfs -R 'ea_get /there/file user.by' img) == *others* ]]
  dawrite img cat /here/new | cmp - <(seq 1 400)
}

@test "e2undo took a change back: refused" {
  mkdafs -q img 16M
  dawrite -q img write /old <<<old
  dawrite -q img flush
  # What it takes back was there when the work began.
  tune2fs -z undo -L others img
  dawrite -q img write /new <<<new
  e2undo undo img
  refused "changed behind its offline cache"
}

@test "fuse2fs had it: refused" {
  local fuse
  need fuse2fs
  [ "$(id -u)" -eq 0 ] || skip "not root"
  pending
  mkdir mnt
  fuse2fs -f -o rw img mnt 3>&- &
  fuse=$!
  while ! mountpoint -q mnt; do
    kill -0 "$fuse" || skip "fuse2fs cannot mount here"
  done
  : >mnt/by-fuse
  umount mnt
  wait "$fuse"
  refused "changed behind its offline cache"
}

@test "the image was mounted for writing: refused; for reading: goes on" {
  need_root_loop
  pending
  mkdir mnt
  mount_ro img mnt
  unmount mnt
  run_tool 0 dawrite -q img flush
  pending
  mount_rw img mnt
  unmount mnt
  refused "changed behind its offline cache"
  has_stderr "img: mounted since work on it began"
}

@test "a cache of another version, open to others, a link, or another user's is refused" {
  need sqlite3
  pending
  [ "$(stat -c %a img.dacache)" = 700 ]
  [ "$(stat -c %a img.dacache/* | sort -u)" = 600 ]
  for version in 99 3 1; do
    sqlite3 img.dacache/cache.db "PRAGMA user_version = $version"
    refused "another version"
    run_tool 1 dawrite img status --recover
    has_stderr "another version"
  done

  pending
  chmod 0755 img.dacache
  refused "not safe"
  chmod 0700 img.dacache
  chmod 0644 img.dacache/spool
  refused "not safe"
  chmod 0600 img.dacache/spool
  mv img.dacache real
  ln -s real img.dacache
  refused "not safe"
  rm img.dacache
  mv real img.dacache
  mv img.dacache/spool real.spool
  ln -s ../real.spool img.dacache/spool
  refused "not safe"
  rm img.dacache/spool
  mv real.spool img.dacache/spool
  if [ "$(id -u)" = 0 ]; then
    chown 12345 img.dacache
    refused "belongs to another user"
    chown 0 img.dacache
    chown 12345 img.dacache/cache.db
    refused "belongs to another user"
    chown 0 img.dacache/cache.db
  fi
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
}
