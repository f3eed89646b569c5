/* storage/disk.h - the file operations of one commit log, behind a table so that the simulator can lose power.
 * Owns:    the implementation owns descriptors; segments are named by a 64-bit number the log chooses.
 * Thread:  append_*: the shard's worker. The blocking ones: open/recovery before the worker serves, and the storage thread
 *          for prepare (a spare segment) and retire.
 * Depends: core/ only.            Start at: storage/storage.h */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include "core/cursor.h"
#include "core/io.h"
#include "core/result.h"

struct disk;

/* An asynchronous durable write: done(write, OK) means the bytes are on the medium. Pinned until done. */
struct disk_write {
    void (*done)(struct disk_write *write, enum result result); /* FULL: no space; IO: anything else; never called nested */
    struct io_op op;                                            /* for the implementation */
    uint32_t len, step;
    void *implementation;
};

struct disk_ops {
    /* Blocking. Numbers of the live segments in ascending order; the caller frees *numbers. */
    enum result (*list)(struct disk *disk, uint64_t **numbers, uint32_t *count);
    /* Blocking. Reads up to len bytes at offset; *got may be short only at the end of the segment. */
    enum result (*read)(struct disk *disk, uint64_t number, uint64_t offset, void *data, uint32_t len, uint32_t *got);
    /* Blocking, any one thread at a time. Makes sure one more zeroed spare of the segment size is ready, directory synced. */
    enum result (*prepare_spare)(struct disk *disk);
    /* Blocking but short (a rename and a directory sync): turns a spare into segment `number`, made on the spot when none is ready. */
    enum result (*open_segment)(struct disk *disk, uint64_t number);
    /* Blocking. The segment's bytes are no longer needed: it becomes a spare, or is removed when enough spares wait. */
    enum result (*retire)(struct disk *disk, uint64_t number);
    /* Blocking; recovery only: overwrites a torn tail with zeros and syncs. */
    enum result (*zero)(struct disk *disk, uint64_t number, uint64_t offset, uint64_t len);
    /* Asynchronous. data, offset and len are multiples of block_size_bytes and stay unchanged until done. */
    void (*write_durable)(struct disk *disk, struct disk_write *write, uint64_t number, uint64_t offset, const void *data,
                          uint32_t len);
    void (*close)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
    uint32_t block_size_bytes; /* alignment of memory, offset and length: 512 or 4096 */
    uint64_t segment_size_bytes;
};

struct disk_options {
    const char *path;            /* directory of the segments, created when absent; copied */
    uint64_t segment_size_bytes; /* multiple of 4096 */
    uint32_t spare_count_max;    /* recycled segments kept */
};

/* The real one: O_DIRECT on pre-zeroed segments with RWF_DSYNC through `io`; buffered write + fdatasync where the file
 * system has no O_DIRECT. Failures write a message with the remedy to `text`. `io` may be NULL: then write_durable is
 * not available (offline inspection, recovery before the worker runs) until disk_attach_io(). */
NODISCARD enum result disk_open(struct disk **out, const struct disk_options *options, char *text, size_t text_size);
void disk_attach_io(struct disk *disk, struct io *io);

#endif
