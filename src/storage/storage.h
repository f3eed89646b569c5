/* storage/storage.h - bytes on disk. Knows shards by number and records by type number, nothing about messaging.
 * Read in this order:
 *   datadir.h     the data directory: lock, format version, shard count, keys
 *   disk.h        the few file operations the log needs; real (io_uring) or simulated
 *   commitlog.h   the ordered, durable record of every command of one shard
 *   store.h       what a shard knows, by key: batches in, reads out, through the storage thread
 *   rocks.h       for the storage thread: one RocksDB; rocks*.c are the files that call it
 *   valuelog.h    for rocks_apart.c: values that are written once and kept, beside RocksDB
 *   trims.h       for rocks_options.c: what compaction leaves out
 * Threads: commitlog on the shard's worker; store jobs run on the storage thread. Includes: core/ only. */
#ifndef STORAGE_STORAGE_H
#define STORAGE_STORAGE_H
#include "storage/commitlog.h"
#include "storage/datadir.h"
#include "storage/disk.h"
#include "storage/store.h"
#endif
