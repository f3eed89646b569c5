/* storage/valuelog.h - values that are written once and kept, beside RocksDB: there, every merge of files would write them again.
 * Owns:    the files values-NNNNNNNN in the store's directory, and the bytes that are not in them yet.
 * Thread:  one at a time, as rocks.h.
 * Depends: core/ only.            Start at: storage/rocks.h
 *
 * One sequence of bytes, cut into files of `file_size_bytes`: position p is byte p mod size of file p / size. Nothing stands between the
 * values, and no value lies in two files: one that does not fit begins the next file, and the one before stays shorter.
 *
 *   values-00000000  | value | value | value |        values-00000001  | value | value | ...
 *
 * Where a value lies, how long it is and its checksum is in a RocksDB row (rocks_apart.c draws it). So the state that RocksDB holds says up to where the
 * log is in use: what lies behind came after it, and an open cuts it off. For that to be the state after a crash, a row may be durable
 * only when its value is: whoever makes rows durable calls valuelog_sync() before. */
#ifndef STORAGE_VALUELOG_H
#define STORAGE_VALUELOG_H

#include "core/cursor.h"
#include "core/result.h"
#include <stdbool.h>

struct valuelog;

struct valuelog_options {
    const char *path; /* of the directory; copied */
    uint64_t file_size_bytes;
    uint64_t end;     /* the position up to which it is in use */
    bool read_only;   /* nothing is changed, every append is FULL */
};
struct valuelog_place {
    uint64_t position;
    uint32_t len, check;
};

/* OK; CORRUPT: a file is missing or shorter than it should be; IO; each with `text`. */
NODISCARD enum result valuelog_open(struct valuelog **out, const struct valuelog_options *options, char *text, size_t text_size);
/* What was not synced may be lost. NULL: nothing. */
void valuelog_close(struct valuelog *log);

/* Adds a value; it can be read from now on. FULL: no room on the disk (or read-only, or larger than a file), nothing was added. IO: the log
 * cannot be used any more. */
NODISCARD enum result valuelog_append(struct valuelog *log, struct slice value, struct valuelog_place *place);
/* All that was added is on the disk. FULL: not yet, try again. IO: what the disk holds is unknown. Blocks. */
NODISCARD enum result valuelog_sync(struct valuelog *log);
/* Appends the value to `out`. CORRUPT, IO: with `text`, which names the file and the place. */
NODISCARD enum result valuelog_read(const struct valuelog *log, const struct valuelog_place *place, struct writer *out, char *text, size_t text_size);
/* Behind the last value that was added. */
uint64_t valuelog_end(const struct valuelog *log);
/* Up to there all is on the disk. */
uint64_t valuelog_synced_end(const struct valuelog *log);

#endif
