/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fill - format an image and fill it, through dafs.h alone: fill IMAGE [HOSTDIR] */
#include <dafs/dafs.h>
#include <stdio.h>
#include <string.h>

static errcode_t fill(struct dafs *fs, const char *host_dir)
{
	static const char text[] = "written through libdafs\n";
	errcode_t err = dafs_mkdir(fs, "/etc/dafs", 0755, true);

	if (!err)
		err = dafs_write(fs, "/etc/dafs/motd", 0, text, strlen(text));
	if (!err)
		err = dafs_symlink(fs, "dafs/motd", "/etc/motd");
	if (!err && host_dir)
		err = dafs_import(fs, host_dir, "/host");
	return err ? err : dafs_flush(fs);		/* until here the image was not touched */
}

int main(int argc, char **argv)
{
	struct dafs_mkfs_params params = { .size = sizeof(params),
					   .fs_bytes = 64 << 20,
					   .label = "example" };
	struct dafs_ctx *ctx = NULL;
	struct dafs *fs = NULL;
	uint64_t problems = 0;
	errcode_t err;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: fill IMAGE [HOSTDIR]\n");
		return 2;
	}
	err = dafs_ctx_new(&ctx);
	if (!err)
		err = dafs_mkfs(ctx, argv[1], &params);
	if (!err)
		err = dafs_open(ctx, argv[1], DAFS_OPEN_RW, NULL, &fs);
	if (!err)
		err = fill(fs, argc > 2 ? argv[2] : NULL);
	dafs_close(fs);
	if (!err)
		err = dafs_check(ctx, argv[1], &problems);
	if (err)
		fprintf(stderr, "fill: %s: %s\n", ctx ? dafs_ctx_detail(ctx) : "",
			error_message(err));
	else
		printf("%s: filled, %llu problems\n", argv[1], (unsigned long long)problems);
	dafs_ctx_free(ctx);
	return err || problems;
}
