/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * falloc [-n|-p] FILE OFFSET LENGTH - fallocate(2) and nothing else: fallocate(1) also calls fsync,
 * which would write back what a test wants to be pending.
 *
 *	-n  keep the size		-p  punch a hole (the size stays)
 *
 * FILE is made when absent. Numbers are in bytes.
 */
#include "config.h"

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int mode = 0, opt, fd;

	while ((opt = getopt(argc, argv, "np")) != -1) {
		if (opt == 'n')
			mode = FALLOC_FL_KEEP_SIZE;
		else if (opt == 'p')
			mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
		else
			return 2;
	}
	if (argc - optind != 3)
		errx(2, "FILE OFFSET LENGTH");
	fd = open(argv[optind], O_RDWR | O_CREAT, 0644);
	if (fd < 0)
		err(1, "%s", argv[optind]);
	if (fallocate(fd, mode, atoll(argv[optind + 1]), atoll(argv[optind + 2])))
		err(1, "%s", argv[optind]);
	return close(fd) ? 1 : 0;
}
