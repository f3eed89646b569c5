/* tests/storage/log_rig.h - a commit log on a fake disk with a clock of its own, and a memory of what
 * was appended last under each index.
 * Used by the tables of commitlog_test.c and the random runs of commitlog_crash_test.c. */
#ifndef TESTS_LOG_RIG_H
#define TESTS_LOG_RIG_H

#include "storage/commitlog.h"
#include "storage/fake_disk.h"

#define LOG_RIG_TEXT_SIZE 512
#define LOG_RIG_RECORDS_MAX 4096

struct log_rig {
    struct fake_disk *disk;
    struct commitlog *log;
    uint64_t now_ns, epoch_base;
    uint32_t pending_size_bytes_max;
    bool hold, made_before, look_only;
    uint64_t durable;        /* last told */
    uint32_t durable_calls;
    uint64_t first, last;    /* what the last open handed out; 0: nothing */
    uint32_t appended_count; /* by all lives: makes every content another */
    struct {
        uint32_t size_bytes, content;
    } records[LOG_RIG_RECORDS_MAX]; /* by index: what was appended last */
    struct metrics *metrics;        /* may be NULL */
    char text[LOG_RIG_TEXT_SIZE];
};

void log_rig_init(struct log_rig *rig, const struct fake_disk_options *options);
void log_rig_deinit(struct log_rig *rig);

/* Opens the log; every record handed out must be the one log_rig_append() made last for its index, in order. */
enum result log_rig_open(struct log_rig *rig, uint64_t after);
void log_rig_close(struct log_rig *rig);
/* As a stop in order does before it closes. */
void log_rig_seal(struct log_rig *rig);

/* A record of body_size bytes unlike those of any other. */
enum result log_rig_append(struct log_rig *rig, uint32_t body_size);
/* Flush, do all maintenance, complete writes, until nothing is left to do. */
void log_rig_settle(struct log_rig *rig);
void log_rig_maintain(struct log_rig *rig);
/* Appends that must succeed, one batch each, durable. */
void log_rig_commit(struct log_rig *rig, uint32_t count, uint32_t body_size);

#endif
