/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * datrace - see datrace.h. The formats are those that the kernel's event directories give as "print
 * fmt" (6.18), with a space where ext4_da_reserve_space lacks one.
 */
#include "config.h"

#include "write/datrace.h"

#include "image/icodec.h"

typedef unsigned long long ull;

static bool is_on(const struct dafs_write *w)
{
	return w->img->ctx->trace;
}

uint64_t dafs_datrace_i_blocks(struct dafs_write *w, const struct dafs_inode *inode)
{
	uint64_t placed512 = 0;
	union dafs_inode_buf buf;

	if (S_ISREG(inode->mode) && !(inode->state & DAFS_I_WHOLE) && inode->u.file)
		placed512 = dafs_extlist_blocks(&inode->u.file->placed)
			    << (w->img->block_bits - 9);
	if ((inode->state & DAFS_I_NEW) ||
	    dafs_icodec_read(w->img, inode->ino, &buf.raw, sizeof(buf)))
		return placed512;
	return dafs_icodec_blocks512(w->img, &buf.raw) + placed512;
}

void dafs_datrace_write(struct dafs_write *w, const struct dafs_inode *inode, bool end,
			uint64_t off, uint64_t len)
{
	struct dafs_trace *trace = w->img->ctx->trace;

	if (!trace)
		return;
	if (end)
		dafs_trace_event(trace, w->at_once ? "ext4_write_end" : "ext4_da_write_end",
				 inode->id, "pos %llu len %llu copied %llu", (ull)off, (ull)len,
				 (ull)len);
	else
		dafs_trace_event(trace, w->at_once ? "ext4_write_begin" : "ext4_da_write_begin",
				 inode->id, "pos %llu len %llu", (ull)off, (ull)len);
}

void dafs_datrace_reserve(struct dafs_write *w, const struct dafs_inode *inode, uint64_t n,
			  uint64_t after)
{
	if (is_on(w) && n)
		dafs_trace_event(w->img->ctx->trace, "ext4_da_reserve_space", inode->id,
				 "mode 0%o i_blocks %llu reserve_blocks %llu "
				 "reserved_data_blocks %llu",
				 inode->mode, (ull)dafs_datrace_i_blocks(w, inode), (ull)n,
				 (ull)after);
}

void dafs_datrace_release(struct dafs_write *w, const struct dafs_inode *inode, uint64_t n,
			  uint64_t before)
{
	if (is_on(w) && n)
		dafs_trace_event(w->img->ctx->trace, "ext4_da_release_space", inode->id,
				 "mode 0%o i_blocks %llu freed_blocks %llu "
				 "reserved_data_blocks %llu",
				 inode->mode, (ull)dafs_datrace_i_blocks(w, inode), (ull)n,
				 (ull)before);
}

static bool is_allocated(const struct dafs_write *w, const struct dafs_inode *inode, uint32_t lblk)
{
	const struct dafs_file *file = inode->u.file;
	uint32_t cluster = lblk >> w->img->cluster_bits;

	for (uint32_t i = 0; !(inode->state & DAFS_I_WHOLE) && i < file->npend; i++) {
		if (file->pend[i] == cluster)
			return true;
	}
	return false;
}

void dafs_datrace_delayed(struct dafs_write *w, const struct dafs_inode *inode, uint32_t lblk,
			  uint32_t end)
{
	uint32_t bits = w->img->cluster_bits;
	bool at_end;

	if (!is_on(w) || end <= lblk)
		return;
	at_end = lblk >> bits != (end - 1) >> bits && is_allocated(w, inode, end - 1);
	dafs_trace_event(w->img->ctx->trace, "ext4_es_insert_delayed_extent", inode->id,
			 "es [%u/%u) mapped 0 status D allocated %d %d", lblk, end - lblk,
			 is_allocated(w, inode, lblk), at_end);
}

const char *dafs_datrace_es_type(uint8_t type)
{
	switch (type) {
	case DAFS_ES_WRITTEN:
		return "W";
	case DAFS_ES_UNWRITTEN:
		return "U";
	case DAFS_ES_DELAYED:
		return "D";
	case DAFS_ES_HOLE:
		return "H";
	default:
		return "";
	}
}

void dafs_datrace_insert(struct dafs_write *w, const struct dafs_inode *inode,
			 const struct dafs_es_extent *ext)
{
	DAFS_TRACE(w->img->ctx, "ext4_es_insert_extent", inode->id,
		   "es [%u/%u) mapped %llu status %s", ext->lblk, ext->len, (ull)ext->pblk,
		   dafs_datrace_es_type(ext->type));
}

void dafs_datrace_lookup(struct dafs_write *w, const struct dafs_inode *inode, uint32_t lblk,
			 const struct dafs_es_extent *found)
{
	static const struct dafs_es_extent none;
	const struct dafs_es_extent *e = found ? found : &none;

	if (!is_on(w))
		return;
	dafs_trace_event(w->img->ctx->trace, "ext4_es_lookup_extent_enter", inode->id, "lblk %u",
			 lblk);
	dafs_trace_event(w->img->ctx->trace, "ext4_es_lookup_extent_exit", inode->id,
			 "found %d [%u/%u) %llu %s", found != NULL, e->lblk, e->len, (ull)e->pblk,
			 dafs_datrace_es_type(e->type));
}

void dafs_datrace_map(struct dafs_write *w, const struct dafs_inode *inode, uint32_t lblk,
		      const struct dafs_es_extent *found)
{
	bool mapped;

	if (!is_on(w))
		return;
	if (!found) {
		dafs_trace_event(w->img->ctx->trace, "ext4_ext_map_blocks_enter", inode->id,
				 "lblk %u len 1 flags ", lblk);
		return;
	}
	mapped = found->type & (DAFS_ES_WRITTEN | DAFS_ES_UNWRITTEN);
	dafs_trace_event(w->img->ctx->trace, "ext4_ext_map_blocks_exit", inode->id,
			 "flags  lblk %u pblk %llu len 1 mflags %s ret %d", lblk,
			 (ull)(mapped ? found->pblk + (lblk - found->lblk) : 0),
			 found->type == DAFS_ES_WRITTEN ? "M" : mapped ? "U" : "", mapped);
}
