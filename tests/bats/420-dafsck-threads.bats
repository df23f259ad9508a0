#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# dafsck says the same, in the same order, whatever the number of threads.

load helpers

# Many small groups, so that every thread gets some.
make_image() { # FILE MKE2FS-OPTION...
  local image=$1
  shift
  mkdir -p src
  for d in $(seq 1 60); do
    mkdir -p "src/d$d/sub"
    for f in $(seq 1 25); do echo "$d $f" >"src/d$d/file-$f"; done
    ln -f "src/d$d/file-1" "src/d$d/sub/link"
  done
  seq 1 90000 >src/large
  mke2fs -q -F -b 1024 -g 1024 -N 4000 -d src "$@" "$image" 48M >/dev/null 2>&1
}

# COUNT fields of inodes and COUNT / 4 bytes of directories, from SEED.
damage() { # IMAGE SEED COUNT
  awk -v seed="$2" -v count="$3" 'BEGIN {
    srand(seed)
    n = split("mode links_count size dtime block[0] block[2] block[5] flags blocks generation uid file_acl", field, " ")
    for (i = 0; i < count; i++)
      printf "sif <%d> %s %d\n", 11 + int(rand() * 1600), field[1 + int(rand() * n)], rand() < 0.5 ? int(rand() * 300) : int(rand() * 60000)
    for (i = 0; i < count / 4; i++)
      printf "zap_block -f /d%d -o %d -l 1 -p %d 0\n", 1 + int(rand() * 60), int(rand() * 600), int(rand() * 256)
    for (i = 0; i < count / 8; i++)
      printf "clri <%d>\n", 11 + int(rand() * 1600)
  }' | debugfs -w -f - "$1" >debugfs.log 2>&1 || true
}

@test "the same findings in the same order with 1, 2, 4 and 7 threads, over damaged images" {
  local seed set threads
  local -a sets=("-t ext4" "-t ext4 -O ^metadata_csum" "-t ext2 -O ^dir_index" "-t ext4 -O inline_data -I 256")
  for seed in $(seq 1 12); do
    set=${sets[seed % 4]}
    # shellcheck disable=SC2086 # a list of options
    [ -e "sound.$((seed % 4))" ] || make_image "sound.$((seed % 4))" $set
    cp "sound.$((seed % 4))" img
    damage img "$seed" 64
    for threads in 1 2 4 7; do
      echo "seed $seed ($set), $threads threads"
      dafsck -fn --json --threads "$threads" img >"out.$threads" 2>&1 || [ $? -eq 4 ]
      cmp out.1 "out.$threads"
    done
    # (Something is to be found.)
    [ "$(jq -s '[.. | objects | select(has("code"))] | length' out.1)" -gt 20 ]
  done
}

@test "repairs do not depend on threads either: the same image comes out" {
  local seed threads
  make_image sound -t ext4
  for seed in 1 2; do
    for threads in 1 4; do
      cp sound "img.$threads"
      damage "img.$threads" "$seed" 24
      # (All times the same: those of debugfs, and those of repairs.)
      debugfs -w -R "ssv wtime 20250101000000" "img.$threads" >/dev/null 2>&1
      SOURCE_DATE_EPOCH=1750000000 dafsck -fy --json --threads "$threads" "img.$threads" >"out.$threads" 2>&1 || [ $? -le 5 ]
    done
    sed -i 's/img\.[14]/img/g' out.1 out.4
    cmp out.1 out.4
    [ "$(jq -s '[.. | objects | select(has("code"))] | length' out.1)" -gt 20 ]
    cmp img.1 img.4
    run_tool 0 dafsck -fn img.1
  done
}
