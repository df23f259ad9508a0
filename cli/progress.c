/* SPDX-License-Identifier: GPL-2.0-or-later */
/* progress - see progress.h. */
#include "config.h"

#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_MS 100

static uint64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void dafs_cli_progress_init(struct dafs_cli_progress *progress, const char *tool, int fd,
			    bool force)
{
	*progress = (struct dafs_cli_progress){
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.tool = tool,
		.fd = force || isatty(fd) ? fd : -1,
		.clock_ms = monotonic_ms,
	};
}

void dafs_cli_progress_fini(struct dafs_cli_progress *progress)
{
	dafs_cli_progress_clear(progress);
	pthread_mutex_destroy(&progress->lock);
}

/* A progress line is not worth failing for: a terminal that went away just shows nothing. */
static void put(const struct dafs_cli_progress *progress, const char *text)
{
	if (write(progress->fd, text, strlen(text)) < 0)
		return;
}

static void draw(const struct dafs_cli_progress *progress, const char *stage, uint64_t done,
		 uint64_t total)
{
	char line[120];
	int len;

	if (total)
		len = snprintf(
			line, sizeof(line), "\r%s: %s: %3d %%\033[K", progress->tool, stage,
			(int)(100.0 * (double)(done < total ? done : total) / (double)total));
	else
		len = snprintf(line, sizeof(line), "\r%s: %s: %llu\033[K", progress->tool, stage,
			       (unsigned long long)done);
	if (len < (int)sizeof(line))
		put(progress, line);
}

void dafs_cli_progress_show(void *arg, const char *stage, uint64_t done, uint64_t total)
{
	struct dafs_cli_progress *progress = arg;
	uint64_t now_ms;

	if (progress->fd < 0 || pthread_mutex_trylock(&progress->lock))
		return;
	now_ms = progress->clock_ms();
	if (!progress->begun_ms)
		progress->begun_ms = now_ms;
	if (now_ms - progress->begun_ms >= DAFS_PROGRESS_AFTER_MS &&
	    now_ms - progress->drawn_ms >= REDRAW_MS) {
		draw(progress, stage, done, total);
		progress->drawn_ms = now_ms;
	}
	pthread_mutex_unlock(&progress->lock);
}

void dafs_cli_progress_clear(struct dafs_cli_progress *progress)
{
	if (progress->fd < 0)
		return;
	pthread_mutex_lock(&progress->lock);
	if (progress->drawn_ms) {
		put(progress, "\r\033[K");
		progress->drawn_ms = 0;
	}
	pthread_mutex_unlock(&progress->lock);
}
