/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replay - a main for the fuzzers without libFuzzer: every file that is named, and every file of
 * every folder that is named, is one input. Says how many; a crash is the process's.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static unsigned long inputs;

static void run_file(const char *path)
{
	FILE *file = fopen(path, "r");
	struct stat st;
	uint8_t *data;

	if (!file || fstat(fileno(file), &st))
		fuzz_die(path, 0);
	/* As long as the input, so that reading past it is seen. */
	data = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!data || fread(data, 1, (size_t)st.st_size, file) != (size_t)st.st_size)
		fuzz_die(path, 0);
	fclose(file);
	if (getenv("DAFS_FUZZ_VERBOSE"))
		dprintf(STDERR_FILENO, "%s\n", path);
	LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	free(data);
	inputs++;
}

static void run_path(const char *path)
{
	struct dirent **entries;
	struct stat st;
	int n;

	if (stat(path, &st))
		fuzz_die(path, 0);
	if (!S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	n = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char *below;

		if (entries[i]->d_name[0] != '.' &&
		    asprintf(&below, "%s/%s", path, entries[i]->d_name) > 0) {
			run_path(below);
			free(below);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

int main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	dprintf(STDERR_FILENO, "%lu inputs\n", inputs);
	return 0;
}
