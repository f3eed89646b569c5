/* perf/floor/grouplog.h - one log with group commit: what arrives while a group is being written is the next group.
 *
 * A file of zeros that is written round and round, so that a write changes no file system metadata; O_DIRECT, RWF_DSYNC, one write in
 * flight. Nothing reads it back: it is there for what it costs.
 *
 *   group   magic u64 | group number u64 | checksum u64 (XXH3 of the records) | records size u32 | record count u32, records, zeros to 4096
 *   record  body size u32 | first byte of the PUBLISH u8 | its body */
#ifndef FLOOR_GROUPLOG_H
#define FLOOR_GROUPLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;
struct floor;
struct grouplog;

/* Makes or reuses the file. Ends the program when it cannot. */
struct grouplog *grouplog_open(const char *path, size_t size_bytes);
/* Adds a PUBLISH to the group that is being collected. A full group ends the program: no workload has so much under way. */
void grouplog_append(struct grouplog *log, struct connection *publisher, uint8_t flags, const void *body, size_t body_len);
/* Starts the next write, if there is something to write and none is in flight. */
void grouplog_write(struct grouplog *log, struct floor *floor);
/* The write has ended: every message of the group is on disk. A failed write ends the program. */
void grouplog_on_written(struct grouplog *log, struct floor *floor, int result);

#endif
