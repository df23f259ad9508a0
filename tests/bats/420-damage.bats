# SPDX-License-Identifier: GPL-2.0-or-later
# dafsck beside e2fsck on damaged images of many feature sets: a sample; `make damage DAMAGE="1000 1"` tries more.
load helpers

bases=(ext2-1k ext3-1k ext4-1k ext4-4k ext4-inline ext4-bigalloc ext4-quota ext4-orphan-file ext4-ea-inode ext4-groups
  ext4-meta-bg dafs-4k)

@test "sound images of many feature sets: dafsck and e2fsck find nothing" {
  local image
  run_tool 0 "$DAFS_SRCDIR/tests/fsck-bases" "$T/bases" "${bases[@]}"
  for image in "${bases[@]}"; do run_tool 0 dafsck -fn --strict "$T/bases/$image.img"; done
}

@test "the same seed does the same damage" {
  truncate -s 16M one
  run_tool 0 mke2fs -q -F -t ext4 one
  cp one two
  run_tool 0 damage 7 one
  first=$output
  run_tool 0 damage 7 two
  assert_equal "$output" "$first"
  run_tool 0 cmp one two
}

@test "two dozen damaged images: e2fsck's verdict, repaired, nothing lost that e2fsck saves" {
  need perl
  run_tool 0 "$DAFS_SRCDIR/tests/fsck-random" -v 24 1 "${bases[@]}"
  has_output "24 agree, 0 differ"
}
