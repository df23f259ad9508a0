/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * undo - a list of the changes made to files and folders, which of them are durable, and how to
 * take back or repeat the others. Part of the shim (shim.h); uses system calls only.
 *
 * Data of a file is durable with the file's sync; names are with their folder's. A folder that is
 * durably gone takes the names in it with it.
 */
#ifndef TESTS_FAULT_UNDO_H
#define TESTS_FAULT_UNDO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Removed things go to the folder trash instead. */
void undo_open(const char *trash);

/* Around a change of fd's bytes in [off, off+len) or of its size: before saves what is there, after
 * what it became (len UINT64_MAX: to the end of the file). */
void undo_before(int fd, const char *path, uint64_t off, uint64_t len);
void undo_after(int fd);

/* Names: made (file or folder), or to be removed, which is done here (errno-like). */
void undo_made(const char *path);
int undo_remove(const char *path);
int undo_rmdir(const char *path);
int undo_rename(const char *from, const char *to);

/* A sync of a file, or of a folder. */
void undo_synced(ino_t ino);
void undo_synced_folder(const char *path);

/* Take back what is not durable. keep: NULL, or the state of the random numbers that choose what
 * stays. */
void undo_lose(uint64_t *keep);

uint64_t undo_random(uint64_t *state);

#endif
