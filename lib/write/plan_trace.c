/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_trace - a flush's events, with the kernel's names and fields (dawrite(8), TRACE).
 *
 * The plan tells of inodes, chunks and requests as it makes them; what the commit makes true
 * (extents written, reserves used, files done) is told after it. Only with a sink does any of this
 * cost more than a test.
 */
#include "config.h"

#include "write/plan_int.h"

#include <string.h>

#include "write/datrace.h"

typedef unsigned long long ull;

/* "\ooo" for what would break a line or end the quotes. */
static void quote(const char *text, char *buf, size_t room)
{
	size_t n = 0;

	for (; *text && n + 5 < room; text++) {
		unsigned char c = (unsigned char)*text;

		if (c > ' ' && c != '"' && c != '\\' && c != 0x7f) {
			buf[n++] = (char)c;
			continue;
		}
		buf[n++] = '\\';
		buf[n++] = (char)('0' + (c >> 6));
		buf[n++] = (char)('0' + (c >> 3 & 7));
		buf[n++] = (char)('0' + (c & 7));
	}
	buf[n] = '\0';
}

void dafs_plan_trace_inode(const struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	struct dafs_trace *trace = plan->img->ctx->trace;
	uint32_t ino = plan->items[item].ino;
	char path[4096], quoted[16384];
	const char *p = NULL;

	if (!trace)
		return;
	if (plan->cs->path_of)
		p = plan->cs->path_of(plan->cs->arg, inode, path);
	quote(p ? p : "?", quoted, sizeof(quoted));
	dafs_trace_event(trace, "dafs_inode", ino, "id %llu path \"%s\"", (ull)inode->id, quoted);
	if (inode->state & DAFS_I_NEW)
		dafs_trace_event(trace, "ext4_allocate_inode", ino, "dir %u mode 0%o",
				 dafs_plan_dir_ino(plan, inode->parent), inode->mode);
}

void dafs_plan_trace_file(const struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	ull quota = INT64_MAX, index = 0;

	if (plan->opts.max_data_bytes)
		quota = plan->opts.max_data_bytes >> plan->img->block_bits;
	/* A file in passes goes on where the last one ended. */
	if ((inode->state & DAFS_I_PART) && plan->wb.n)
		index = plan->wb.v[0].lblk;
	DAFS_TRACE(plan->img->ctx, "ext4_writepages", plan->items[item].ino,
		   "nr_to_write %llu pages_skipped 0 range_start 0 range_end %lld sync_mode 1 "
		   "for_kupdate 0 range_cyclic 0 writeback_index %llu",
		   quota, (long long)INT64_MAX, index);
}

void dafs_plan_trace_folios(const struct dafs_plan *plan, uint64_t ino, bool end, uint32_t lblk,
			    uint32_t len)
{
	const unsigned bits = plan->img->block_bits;

	if (end)
		DAFS_TRACE(plan->img->ctx, "ext4_da_write_folios_end", ino,
			   "start_pos 0x%llx next_pos 0x%llx nr_to_write %lld ret 0",
			   (ull)lblk << bits, (ull)(lblk + (uint64_t)len) << bits,
			   (long long)INT64_MAX - len);
	else
		DAFS_TRACE(plan->img->ctx, "ext4_da_write_folios_start", ino,
			   "start_pos 0x%llx next_pos 0x%llx nr_to_write %lld sync_mode 1",
			   (ull)lblk << bits, (ull)(lblk + (uint64_t)len) << bits,
			   (long long)INT64_MAX);
}

void dafs_plan_trace_convert(const struct dafs_plan *plan, uint64_t ino, uint32_t lblk,
			     uint32_t len, const struct dafs_extent *e)
{
	DAFS_TRACE(plan->img->ctx, "ext4_ext_convert_to_initialized_enter", ino,
		   "m_lblk %u m_len %u u_lblk %u u_len %u u_pblk %llu", lblk, len, e->lblk,
		   (unsigned)e->len, (ull)e->pblk);
}

void dafs_plan_trace_chunk(const struct dafs_plan *plan, uint64_t ino, uint32_t lblk, uint32_t len,
			   const char *flags)
{
	DAFS_TRACE(plan->img->ctx, "ext4_da_write_pages_extent", ino, "lblk %u len %u flags %s",
		   lblk, len, flags);
}

static const char *map_flags(const struct dafs_place_req *req)
{
	return req->unwritten ? "CREATE|UNWRIT|NO_NORMALIZE"
			      : "CREATE|DELALLOC|METADATA_NOFAIL|IO_SUBMIT|EX_NOCACHE";
}

void dafs_plan_trace_map(const struct dafs_plan *plan, const struct dafs_place_req *req,
			 uint32_t lblk, uint32_t len)
{
	if (req->flags & DAFS_ALLOC_DATA)
		DAFS_TRACE(plan->img->ctx, "ext4_ext_map_blocks_enter", req->ino,
			   "lblk %u len %u flags %s", lblk, len, map_flags(req));
}

void dafs_plan_trace_mapped(const struct dafs_plan *plan, const struct dafs_place_req *req,
			    const struct dafs_extent *e)
{
	if (req->flags & DAFS_ALLOC_DATA)
		DAFS_TRACE(plan->img->ctx, "ext4_ext_map_blocks_exit", req->ino,
			   "flags %s lblk %u pblk %llu len %u mflags %s ret %u", map_flags(req),
			   e->lblk, (ull)e->pblk, (unsigned)e->len, req->unwritten ? "NU" : "NM",
			   (unsigned)e->len);
}

void dafs_plan_trace_implied(const struct dafs_plan *plan, const struct dafs_place_req *req,
			     const struct dafs_extent *e)
{
	if (plan->img->ctx->trace && req->flags & DAFS_ALLOC_DATA)
		dafs_trace_line(
			plan->img->ctx->trace,
			"ext4_get_implied_cluster_alloc_exit: dev 0,0 m_lblk %u m_pblk %llu "
			"m_len %u m_flags M ret 1",
			e->lblk, (ull)e->pblk, (unsigned)e->len);
}

void dafs_plan_trace_freed(const struct dafs_plan *plan, uint32_t ino, uint16_t mode,
			   const struct dafs_extlist *freed, const char *flags)
{
	for (size_t i = 0; plan->img->ctx->trace && i < freed->n; i++)
		dafs_trace_event(plan->img->ctx->trace, "ext4_free_blocks", ino,
				 "mode 0%o block %llu count %u flags %s", mode,
				 (ull)freed->v[i].pblk, (unsigned)freed->v[i].len, flags);
}

void dafs_plan_trace_submit(const struct dafs_plan *plan, uint64_t pblk, uint64_t nblks)
{
	unsigned shift = plan->img->block_bits - 9;

	if (plan->img->ctx->trace)
		dafs_trace_line(plan->img->ctx->trace, "block_bio_queue: 0,0 W %llu + %llu [dafs]",
				(ull)(pblk << shift), (ull)(nblks << shift));
}

/* What the inode counts by now. */
static uint64_t i_blocks_of(const struct dafs_plan *plan, size_t item)
{
	union dafs_inode_buf buf;

	if (dafs_icodec_read(plan->img, plan->items[item].ino, &buf.raw, sizeof(buf)))
		return 0;
	return dafs_icodec_blocks512(plan->img, &buf.raw);
}

/* One file is in the image: its new extents, the reserve they used up, the end of its writeback. */
static void trace_done(const struct dafs_plan *plan, size_t item)
{
	const struct dafs_inode *inode = plan->cs->inodes[item];
	const struct dafs_plan_item *it = &plan->items[item];
	struct dafs_trace *trace = plan->img->ctx->trace;
	uint64_t used = 0, written = 0, before;
	uint32_t end = 0;

	for (uint32_t r = 0; r < it->nruns; r++) {
		const struct dafs_plan_run *run = &plan->runs[it->first_run + r];

		if (run->kind != DAFS_RUN_LIVE) {
			dafs_trace_event(trace, "ext4_es_insert_extent", it->ino,
					 "es [%u/%u) mapped %llu status %s", run->lblk, run->len,
					 (ull)run->pblk, run->kind == DAFS_RUN_DATA ? "W" : "U");
		}
		if (run->kind != DAFS_RUN_UNWRITTEN)
			written += run->len;
		end = run->lblk + run->len > end ? run->lblk + run->len : end;
	}
	used = dafs_delalloc_held_clusters(plan->img, inode);
	if (!(inode->state & DAFS_I_WHOLE) && inode->u.file)
		used -= dafs_extlist_blocks(&inode->u.file->placed);
	before = used;
	if (plan->cs->part && plan->cs->part->inode == inode)
		before += plan->cs->part->later->reserved_clusters;
	if (used)
		dafs_trace_event(
			trace, "ext4_da_update_reserve_space", it->ino,
			"mode 0%o i_blocks %llu used_blocks %llu reserved_data_blocks %llu "
			"quota_claim 1",
			inode->mode, (ull)i_blocks_of(plan, item), (ull)used, (ull)before);
	if (it->nruns)
		dafs_trace_event(trace, "ext4_writepages_result", it->ino,
				 "ret 0 pages_written %llu pages_skipped 0 sync_mode 1 "
				 "writeback_index %u",
				 (ull)written, end);
}

void dafs_plan_trace_committed(const struct dafs_plan *plan)
{
	if (!plan->img->ctx->trace)
		return;
	for (size_t i = 0; i < plan->cs->n; i++) {
		if (S_ISREG(plan->cs->inodes[i]->mode) &&
		    !(plan->cs->inodes[i]->state & DAFS_I_GONE))
			trace_done(plan, i);
	}
	dafs_trace_line(plan->img->ctx->trace, "ext4_sync_fs: dev 0,0 wait 1");
}
