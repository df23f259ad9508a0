/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devio - the io_manager that lets libext2fs work on a struct dafs_dev, under its overlay.
 *
 * Holds no cache and no position; a channel is a block size and a pointer to the device. libext2fs
 * finds the device by the name that dafs_dev_io_name makes, since its open call passes nothing but
 * a name.
 */
#include "config.h"

#include "image/dev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct channel_data {
	struct dafs_dev *dev;
	struct struct_io_stats stats;
};

static const char name_prefix[] = "dafs-dev-";

void dafs_dev_io_name(const struct dafs_dev *dev, char buf[32])
{
	snprintf(buf, 32, "%s%u", name_prefix, dev->id);
}

static struct channel_data *data_of(io_channel channel)
{
	return channel->private_data;
}

static errcode_t devio_open(const char *name, int flags, io_channel *ret)
{
	struct dafs_dev *dev = NULL;
	struct channel_data *data = NULL;
	io_channel channel = NULL;
	errcode_t err;

	*ret = NULL;
	if (name && strncmp(name, name_prefix, sizeof(name_prefix) - 1) == 0)
		dev = dafs_dev_by_id((unsigned)strtoul(name + sizeof(name_prefix) - 1, NULL, 10));
	if (!dev)
		return EXT2_ET_BAD_DEVICE_NAME;
	if ((flags & IO_FLAG_RW) && !dev->writable)
		return EROFS;
	err = ext2fs_get_memzero(sizeof(*channel), &channel);
	if (!err)
		err = ext2fs_get_memzero(sizeof(*data), &data);
	if (!err)
		err = ext2fs_get_mem(strlen(name) + 1, &channel->name);
	if (err) {
		ext2fs_free_mem(&data);
		ext2fs_free_mem(&channel);
		return err;
	}
	strcpy(channel->name, name);
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = dafs_dev_io_manager();
	channel->block_size = 1024;
	channel->refcount = 1;
	channel->flags = dev->is_block ? CHANNEL_FLAGS_BLOCK_DEVICE : CHANNEL_FLAGS_DISCARD_ZEROES;
	channel->private_data = data;
	data->dev = dev;
	data->stats.num_fields = 2;
	*ret = channel;
	return 0;
}

static errcode_t devio_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	ext2fs_free_mem(&channel->private_data);
	ext2fs_free_mem(&channel->name);
	ext2fs_free_mem(&channel);
	return 0;
}

static errcode_t devio_set_blksize(io_channel channel, int blksize)
{
	channel->block_size = blksize;
	return 0;
}

/* libext2fs counts blocks, or bytes when the count is negative. False: beyond what an offset can
 * hold. */
static bool byte_range(io_channel channel, unsigned long long block, long long count, uint64_t *off,
		       uint64_t *len)
{
	uint64_t size = (uint64_t)channel->block_size;

	if (block > (uint64_t)INT64_MAX / size)
		return false;
	*off = block * size;
	if (count >= 0 && (uint64_t)count > (uint64_t)INT64_MAX / size)
		return false;
	*len = count < 0 ? (uint64_t)-count : (uint64_t)count * size;
	return *len <= (uint64_t)INT64_MAX - *off;
}

static errcode_t devio_read_blk64(io_channel channel, unsigned long long block, int count,
				  void *buf)
{
	struct channel_data *data = data_of(channel);
	struct dafs_dev *dev = data->dev;
	uint64_t off, len;
	errcode_t err;

	if (!byte_range(channel, block, count, &off, &len))
		return EXT2_ET_SHORT_READ;
	err = dafs_dev_read(dev, buf, len, off);
	if (!err && dev->overlay)
		err = dev->overlay->patch(dev->overlay->arg, off, len, buf);
	if (err)
		return channel->read_error ? channel->read_error(channel, (unsigned long)block,
								 count, buf, len, 0, err)
					   : err;
	data->stats.bytes_read += len;
	return 0;
}

static errcode_t write_range(io_channel channel, uint64_t off, uint64_t len, const void *buf)
{
	struct channel_data *data = data_of(channel);
	struct dafs_dev *dev = data->dev;

	data->stats.bytes_written += len;
	if (dev->overlay)
		return dev->overlay->write(dev->overlay->arg, off, len, buf);
	return dafs_dev_write(dev, buf, len, off);
}

static errcode_t devio_write_blk64(io_channel channel, unsigned long long block, int count,
				   const void *buf)
{
	uint64_t off, len;
	errcode_t err;

	if (!byte_range(channel, block, count, &off, &len))
		return EXT2_ET_SHORT_WRITE;
	err = write_range(channel, off, len, buf);
	if (err && channel->write_error)
		return channel->write_error(channel, (unsigned long)block, count, buf, len, 0, err);
	return err;
}

static errcode_t devio_read_blk(io_channel channel, unsigned long block, int count, void *buf)
{
	return devio_read_blk64(channel, block, count, buf);
}

static errcode_t devio_write_blk(io_channel channel, unsigned long block, int count,
				 const void *buf)
{
	return devio_write_blk64(channel, block, count, buf);
}

static errcode_t devio_write_byte(io_channel channel, unsigned long offset, int count,
				  const void *buf)
{
	return count < 0 ? EINVAL : write_range(channel, offset, (uint64_t)count, buf);
}

static errcode_t devio_flush(io_channel channel)
{
	return dafs_dev_sync(data_of(channel)->dev);
}

static errcode_t devio_set_option(io_channel channel, const char *option, const char *arg)
{
	(void)channel;
	(void)option;
	(void)arg;
	return EXT2_ET_INVALID_ARGUMENT;
}

static errcode_t devio_get_stats(io_channel channel, io_stats *stats)
{
	if (stats)
		*stats = &data_of(channel)->stats;
	return 0;
}

/* Zero a range; what an overlay guards goes through it block by block. */
static errcode_t devio_zeroout(io_channel channel, unsigned long long block,
			       unsigned long long count)
{
	struct dafs_dev *dev = data_of(channel)->dev;
	errcode_t err = 0;
	uint64_t off, len;
	void *zeros = NULL;

	if (count > INT64_MAX || !byte_range(channel, block, (long long)count, &off, &len))
		return EXT2_ET_SHORT_WRITE;
	if (!dev->overlay)
		return dafs_dev_zero(dev, off, len);
	err = ext2fs_get_memzero((unsigned long)channel->block_size, &zeros);
	for (; count && !err; count--, off += (uint64_t)channel->block_size)
		err = write_range(channel, off, (uint64_t)channel->block_size, zeros);
	ext2fs_free_mem(&zeros);
	return err;
}

/* Discarding is only ever an optimisation, and a hole reads as zeros: the same as zeroing a plain
 * file. */
static errcode_t devio_discard(io_channel channel, unsigned long long block,
			       unsigned long long count)
{
	if (data_of(channel)->dev->is_block)
		return EXT2_ET_UNIMPLEMENTED;
	return devio_zeroout(channel, block, count);
}

static errcode_t devio_cache_readahead(io_channel channel, unsigned long long block,
				       unsigned long long count)
{
	(void)channel;
	(void)block;
	(void)count;
	return EXT2_ET_OP_NOT_SUPPORTED;
}

static struct struct_io_manager devio_manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "dafs device I/O manager",
	.open = devio_open,
	.close = devio_close,
	.set_blksize = devio_set_blksize,
	.read_blk = devio_read_blk,
	.write_blk = devio_write_blk,
	.flush = devio_flush,
	.write_byte = devio_write_byte,
	.set_option = devio_set_option,
	.get_stats = devio_get_stats,
	.read_blk64 = devio_read_blk64,
	.write_blk64 = devio_write_blk64,
	.discard = devio_discard,
	.cache_readahead = devio_cache_readahead,
	.zeroout = devio_zeroout,
};

io_manager dafs_dev_io_manager(void)
{
	return &devio_manager;
}
