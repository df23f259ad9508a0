/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snap - the files of a folder and of its folders, held in memory and put back. */
#ifndef TESTS_FAULT_SNAP_H
#define TESTS_FAULT_SNAP_H

struct snap;

/* All of them end the process when the host does not play along. */
struct snap *snap_take(const char *folder);
void snap_restore(const struct snap *snap, const char *folder);
void snap_free(struct snap *snap);

/* Empty the folder, and remove FOLDER.trash (shim.h) and FOLDER.e2fsck. */
void snap_clear(const char *folder);

#endif
