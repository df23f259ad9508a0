# SPDX-License-Identifier: GPL-2.0-or-later
# The host fails at the Nth operation: a sample of what `make faults` tries in full.
load helpers

setup() {
  dafs_setup
  PATH=$DAFS_BUILDDIR/tests/fault:$PATH
}

@test "a sample of all faults: the tree is the one before or the one after, nothing acknowledged is lost" {
  [ -x "$DAFS_BUILDDIR/tests/fault/faults" ]
  run_tool 0 faults --sample "${DAFS_FAULT_SECONDS:-30}" --seed "${DAFS_TEST_SEED:-1}"
  has_output " 0 failures"
}

@test "replacing by rename and by truncate-and-write is never seen half done" {
  run_tool 0 faults --work rename-over --phase flush --stride 3
  has_output " 0 failures"
}

@test "a removed tree that the journal splits is sound between its transactions" {
  run_tool 0 faults --work tree-split --phase flush --fault stop --stride 17
  has_output " 0 failures"
  run_tool 0 faults --others --work tree-split --phase flush --fault lose --stride 41
  has_output " 0 failures"
}

@test "what only goes together and is more than the journal holds goes by a redo record, whole or not at all" {
  run_tool 0 faults --work names-together --phase flush --fault stop --stride 43
  has_output " 0 failures"
}

@test "the fault injector sees what is not durable: a flush with --no-sync loses" {
  # The test's own test: without syncs the same tries must fail.
  run_tool 1 faults --work fresh --phase commands --fault lose --no-sync
  has_output "FAIL --work fresh"
}
