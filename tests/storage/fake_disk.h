/* tests/storage/fake_disk.h - a disk in memory that can lose power; for the commit log's tests and the simulator.
 * Owns:    the medium: it outlives any number of logs opened on it, and every crash.
 * Thread:  one.                   Depends: storage/disk.h
 *
 * A durable write is under way until fake_disk_complete(); until then none of its bytes are on the medium. A crash leaves any
 * subset of its 512-byte sectors there, chosen by the seed. The blocking operations happen at once and survive.
 * After a write that failed with IO, some of its sectors may be in doubt: they read as it wrote them, over the end of the process too, and are what
 * they were before when power is lost. Only to write them again, and sync that, puts them on the medium. */
#ifndef TESTS_FAKE_DISK_H
#define TESTS_FAKE_DISK_H

#include "storage/disk.h"
#include <stdbool.h>

#define FAKE_DISK_SECTOR_SIZE 512

struct fake_disk_options {
    uint32_t block_size_bytes;
    uint64_t segment_size_bytes;
    uint32_t segments_max; /* live and spare; beyond it the disk is full. 0: no limit */
    uint64_t seed;
    void (*submitted)(void *context); /* a write was handed over: time to plan its completion. May be NULL */
    void (*retired)(void *context, uint64_t number, const uint8_t *bytes); /* about to become a spare. May be NULL */
    void *context;
};

struct fake_disk;

struct fake_disk *fake_disk_create(const struct fake_disk_options *options);
void fake_disk_destroy(struct fake_disk *disk);
/* What a log is opened on; its `close` does nothing, the medium stays. */
struct disk *fake_disk_base(struct fake_disk *disk);

/* Writes under way, all logs on this disk together (a log has at most one). */
uint32_t fake_disk_pending(const struct fake_disk *disk);
/* Completes the oldest write; false when there is none. */
bool fake_disk_complete(struct fake_disk *disk);
/* The next write to complete fails with `result` instead; which of its sectors got there, and with IO which are in doubt, is up to the
 * seed. */
void fake_disk_fail_next(struct fake_disk *disk, enum result result);
/* The next one of `len` bytes or more fails with IO. */
void fake_disk_fail_long(struct fake_disk *disk, uint32_t len);
/* One read fails with IO, after `operations` more; the next time that a segment is opened or retired, that does, before or after it has
 * happened, then with a name in doubt. */
void fake_disk_fail_read(struct fake_disk *disk, uint32_t operations);
void fake_disk_fail_making(struct fake_disk *disk);
/* The directory of that segment is not synced. */
void fake_disk_doubt_name(struct fake_disk *disk, uint64_t number);
bool fake_disk_read_failed(const struct fake_disk *disk); /* it was met, since it was armed */
/* A write, or the work on a segment, failed with IO since the last crash: nobody may go on. */
bool fake_disk_failed(const struct fake_disk *disk);
/* What was to fail does not. */
void fake_disk_no_faults(struct fake_disk *disk);
/* What no disk and no file system may do, or what stands for code that does not look. */
enum fake_disk_deceit {
    FAKE_DISK_SYNCS_SILENTLY = 1, /* a write that fails says OK; all of it is in doubt */
    FAKE_DISK_CUTS_ONLY = 2,      /* a cut does not write the last batch again and syncs no name */
    FAKE_DISK_READS_NOTHING = 4,  /* a read that fails gives zeros */
    FAKE_DISK_IS_NEVER_FULL = 8,  /* a write that has no room says OK */
};
void fake_disk_set_deceits(struct fake_disk *disk, uint32_t deceits); /* any of them together */
/* The disk says that a write is durable when it has only reached a cache, which the next write empties and a crash loses. */
void fake_disk_set_lying(struct fake_disk *disk, bool lying);
/* Power fails at the blocking operation after `operations` more: that one (a cut in part) and all later ones give IO, until the
 * next crash or fake_disk_mend(). */
void fake_disk_break_after(struct fake_disk *disk, uint32_t operations);
void fake_disk_mend(struct fake_disk *disk);
/* Power is lost: what was under way is torn, and its owners hear CLOSED so that they can be closed. What is in doubt is decided. */
void fake_disk_crash(struct fake_disk *disk);
/* The process ends and the machine goes on: the same, and what is in doubt stays so. */
void fake_disk_kill(struct fake_disk *disk);
/* The same with a chosen outcome: bit n of `sectors` says whether the n-th sector of each write under way survives. */
void fake_disk_crash_keeping(struct fake_disk *disk, uint64_t sectors);

/* Another medium with the same bytes on it. Nothing may be under way. */
struct fake_disk *fake_disk_clone(const struct fake_disk *disk);
/* What a bad disk does in silence to one block of a live segment: a bit of it changes, a write to it was lost (zeros), or it holds what was
 * meant for another one. False: there is no segment. */
bool fake_disk_rot(struct fake_disk *disk, uint64_t choice);

void fake_disk_set_segments_max(struct fake_disk *disk, uint32_t segments_max);
uint32_t fake_disk_segment_count(const struct fake_disk *disk);
uint32_t fake_disk_spare_count(const struct fake_disk *disk);

/* A backup, or what is restored from one: `to` holds what `from` does. Nothing may be under way on either (asserted). */
void fake_disk_copy(struct fake_disk *to, const struct fake_disk *from);

/* The bytes on the medium, to damage them; NULL when there is no such segment. */
uint8_t *fake_disk_bytes(struct fake_disk *disk, uint64_t number);
/* What was noted of the newest segment is gone; there is no room for another note. */
void fake_disk_forget_note(struct fake_disk *disk);
void fake_disk_refuse_notes(struct fake_disk *disk, bool refuse);
/* Removes a live segment; makes or replaces one with a copy of `bytes` (any length). */
void fake_disk_remove(struct fake_disk *disk, uint64_t number);
void fake_disk_put(struct fake_disk *disk, uint64_t number, const void *bytes, size_t len);

#endif
