# SPDX-License-Identifier: GPL-2.0-or-later
# repair.bash: what the files about repairs share, loaded behind helpers: a tree, images of it, damage, and `row`, which asks
# everything of one damaged image.

setup() {
  dafs_setup
  mkdir -p src/dir/sub/deep src/big images
  seq 1 9000 >src/file
  seq 9000 -1 1 >src/other
  for i in $(seq 1 30); do echo "number $i" >"src/dir/n$i"; done
  for i in $(seq 1 150); do echo "entry $i" >"src/big/a-rather-long-name-for-an-entry-$i"; done
  echo deep >src/dir/sub/deep/down
  echo bad >src/dir/uniquename12
  echo worse >src/dir/uniquename13
  ln -s file src/link
  ln -s "$(printf '%0100d' 7)" src/long-link
}

# An image of src, kept for the next row that wants the same.
fresh() { # IMAGE MKE2FS-OPTION...
  local image=$1 key
  shift
  key=base.$(md5sum <<<"$*" | cut -c1-12)
  if [ ! -f "$key" ]; then
    mke2fs -q -F -t ext4 -b 1024 -d src "$@" "$key" 12M >mke2fs.log 2>&1 || { cat mke2fs.log; return 1; }
    # mke2fs -d does not count what it copies, nor makes indexes.
    e2fsck -fyD "$key" >/dev/null 2>&1 || true
  fi
  cp --sparse=always "$key" "$image"
}
db() { # IMAGE COMMAND...
  local image=$1
  shift
  printf '%s\n' "$@" | debugfs -w -f - "$image" >>debugfs.log 2>&1
}
pblk() { debugfs -R "bmap $2 ${3:-0}" "$1" 2>/dev/null; }           # IMAGE PATH [LBLK]
ino() { debugfs -R "stat $2" "$1" 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p'; } # IMAGE PATH
poke() { printf '%b' "$4" | dd of="$1" bs=1 seek=$(($2 * 1024 + $3)) conv=notrunc status=none; } # IMAGE BLOCK OFFSET BYTES
wipe() { dd if=/dev/zero of="$1" bs=1024 seek="$2" count="${3:-1}" conv=notrunc status=none; }  # IMAGE BLOCK [BLOCKS]

# Hashes of the regular files of an image, and of src without some of it.
hashes() { # IMAGE
  rm -rf tree && mkdir tree
  dafsdebug -R "rdump / tree" "$1" >/dev/null 2>&1
  find tree -type f -exec sha1sum {} + | cut -d' ' -f1 | sort
}
of_src() { # PATH... that may be gone
  local -a but=()
  local path
  for path in "$@"; do but+=(! -path "src/$path"); done
  find src -type f "${but[@]}" -exec sha1sum {} + | cut -d' ' -f1 | sort
}

# The image in place, damaged: found as CODE, repaired, nothing lost but what is named.
row() { # IMAGE CODE-REGEX [GONE...]
  local image=$1 code=$2 n=0
  shift 2
  echo "== $image"
  e2fsck -fn "$image" >/dev/null 2>&1 || n=$?
  cp --sparse=always "$image" "images/$image.img"
  printf '%s\t%s\t1\t0\n' "$image" "$n" >images/verdicts.tsv
  dafsck -fn --strict "$image" >found 2>&1 && { echo "nothing found"; return 1; }
  grep -q "\[$code\]" found || { echo "not found as $code:"; cat found; return 1; }
  local got=0
  dafsck -fn "$image" >/dev/null || got=$?
  [ $((n != 0)) -eq $((got != 0)) ] || { echo "e2fsck $n, dafsck $got"; return 1; }
  # (other: where both save things, but not the same: new names, and which of two extents is right.)
  [ -n "${other:-}" ] || "$DAFS_SRCDIR/tests/fsck-compare" -y -v images || return 1
  dafsck -fy "$image" >said 2>&1 || [ $? -eq 1 ]
  [ -z "${other:-}" ] || assert_fsck_clean "$image" >/dev/null
  [ -z "$(comm -23 <(of_src "$@") <(hashes "$image"))" ] || { echo "contents lost:"; cat said; return 1; }
  rm -f images/*.img "$image"
}
