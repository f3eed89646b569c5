/* storage/disk.h - the file operations of one commit log, behind a table so that the simulator can lose power.
 * Owns:    the implementation owns descriptors; segments are named by a 64-bit number the log chooses.
 * Thread:  write_durable: the shard's worker. The blocking ones: open/recovery before the worker serves, and the storage thread
 *          for prepare (a spare segment) and retire.
 * Depends: core/ only.            Start at: storage/storage.h */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include "core/cursor.h"
#include "core/io.h"
#include "core/result.h"
#include <inttypes.h>
#include <stdbool.h>

#define DISK_SEGMENT_NAME "%016" PRIx64 ".log" /* of a segment number; in messages too */

struct disk;

/* An asynchronous durable write: done(write, OK) means the bytes are on the medium. Pinned until done. */
struct disk_write {
    /* FULL: no space, may be tried again; CLOSED: the disk went away, nothing is known of the bytes; IO: anything else. Never
     * called nested. */
    void (*done)(struct disk_write *write, enum result result);
    struct io_op op; /* this and below: for the implementation */
    struct disk *disk;
    const uint8_t *data;
    uint64_t offset;
    uint32_t len, step;
    int fd;
};

struct disk_ops {
    /* Blocking. Numbers of the live segments in ascending order; the caller frees *numbers. */
    enum result (*list)(struct disk *disk, uint64_t **numbers, uint32_t *count);
    /* Blocking. Reads up to len bytes at offset; *got may be short only at the end of the segment. */
    enum result (*read)(struct disk *disk, uint64_t number, uint64_t offset, void *data, uint32_t len, uint32_t *got);
    /* Blocking, any one thread at a time. A bounded step towards one spare of the segment size: OK: it is there; BUSY: call
     * again; FULL: no space. */
    enum result (*prepare_spare)(struct disk *disk);
    /* Blocking, the same thread as prepare_spare. Turns a spare (made on the spot when none is ready) into segment `number` that
     * starts with the block `header`: header written and synced first, then the rename, then the directory synced. */
    enum result (*open_segment)(struct disk *disk, uint64_t number, const void *header);
    /* Blocking. The segment's bytes are no longer needed: it becomes a spare, or is removed when enough spares wait. */
    enum result (*retire)(struct disk *disk, uint64_t number);
    /* Blocking; recovery only. Writes `last`, which was read at `offset`, there again, overwrites what stands behind it up to `until` with
     * zeros, syncs the segment and then its name: it may be written now. (Any offset and length.) What a write whose sync failed has left
     * can be read and yet be on no medium, and a later sync says nothing of it. */
    enum result (*cut)(struct disk *disk, uint64_t number, uint64_t offset, struct slice last, uint64_t until);
    /* Blocking, the same thread as open_segment; survives what happens to the segments: `number` is the newest one. FULL and the like: what
     * was noted before is still. */
    enum result (*note_newest)(struct disk *disk, uint64_t number);
    /* Blocking; recovery only. MISSING: nothing was noted; CORRUPT: it is damaged. */
    enum result (*newest)(struct disk *disk, uint64_t *number);
    /* Asynchronous. data, offset and len are multiples of block_size_bytes and stay unchanged until done. */
    void (*write_durable)(struct disk *disk, struct disk_write *write, uint64_t number, uint64_t offset, const void *data,
                          uint32_t len);
    void (*close)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
    uint32_t block_size_bytes; /* alignment of memory, offset and length: 512 to 4096; the real disk: 4096 */
    uint64_t segment_size_bytes;
};

struct disk_options {
    const char *path;            /* directory of the segments, created when absent; copied */
    bool look_only;              /* only list and read are called, and nothing is changed: an absent directory is an empty one */
    uint64_t segment_size_bytes; /* multiple of 4096 */
    uint32_t spare_count_max;    /* recycled segments kept */
    bool buffered;               /* through the page cache even where O_DIRECT works */
};

/* The real one: O_DIRECT on pre-zeroed segments with RWF_DSYNC through `io`; buffered write + fdatasync where the file
 * system has no O_DIRECT. Failures write a message with the remedy to `text`. `io` may be NULL: then write_durable is
 * not available (offline inspection, recovery before the worker runs) until disk_attach_io(). */
NODISCARD enum result disk_open(struct disk **out, const struct disk_options *options, char *text, size_t text_size);
void disk_attach_io(struct disk *disk, struct io *io);

#endif
