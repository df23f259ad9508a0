#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# What README.md shows of --nodelalloc is what comes out: the commands of that section are run, their output is compared.

load helpers

@test "README: the same script with and without delayed allocation, layouts and logs (m01 m08 m37)" {
  sed -n '/^## With and without delayed allocation$/,/^## The tools$/p' "$DAFS_SRCDIR/README.md" | sed -n 's/^    //p' >shown
  [ "$(grep -c '^\$ ' shown)" -ge 12 ]
  # Every command, then what it prints.
  while IFS= read -r line; do
    [[ "$line" == '$ '* ]] || continue
    printf '%s\n' "$line"
    bash -c "${line#\$ }" 2>&1 </dev/null | sed 's/ *$//'
  done <shown >came
  diff shown came
  for how in delayed direct; do
    assert_fsck_clean "$how.img"
    for f in one two; do
      debugfs -R "dump /$f got" "$how.img"
      cat line line line | cmp - got
    done
  done
}
